"""A whole service in the test's own process: the real store, record, Spine paths and outbox, over real HTTP.

What is real: the SQLite file, the directory (the demo world with the examples' directory imported over it), every
request over a socket on loopback, every answer delivered to a listening client. What is not: certificates, which the
loopback listener of a demo does without.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import aiohttp
from lxml import etree

from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy
from openscr.admission.work import Admission
from openscr.codes import ACS_SET, DOCUMENT_QUERIES, SERVICE_PREFIX, UPLOADS, WITHDRAWALS
from openscr.delivery.carriers import HttpCarrier
from openscr.delivery.outbox import Outbox
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.model import CurrentDirectory, Directory
from openscr.faces.spine.application import SpineApplication
from openscr.faces.spine.context import SpineContext
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.hl7.wrapper import read_wrapper
from openscr.http_protocol import Limits
from openscr.identifiers import ebxml_timestamp, mint_uuid, slot_of, utc_now
from openscr.listeners import Listener, bind
from openscr.metrics import Metrics
from openscr.record.decision import RecordRules
from openscr.record.record import Record
from openscr.settings import Address
from openscr.spine import Caller, Consent, ConsentChange, MessageIds, Person
from openscr.store.interface import AuditEntry, PatientEntry, PatientState, Store, Transaction
from openscr.store.opening import open_store
from openscr.testbench.world import OWN_ASID, OWN_PARTY, PRACTICE_PARTY, demo_directory
from openscr.transport.ebxml import Reliability, write_user_message
from openscr.transport.mime import CLIENT_CONTENT_TYPE, write_multipart
from openscr.transport.wsa import write_request
from openscr.transport.xml import read_xml
from shared import MESSAGES

from .clients import Clients, Delivery

PUBLIC_URL = "https://spine.example.test/sync-service"
RELIABLE = "/reliablemessaging/reliablerequest"
SYNC = "/sync-service"

GP_ASID = "200000000115"
GP = Person("555000000101", "555000000102", "S8000:G8000:R8000")
"""The demo's GP: may view, upload, withdraw and set consent."""

EXAMPLE_PATIENTS = {"9990012326": Consent.NO}
MERGED = PatientEntry("9990012342", "merged", "9990012318")


class SettableClock:
    """The present instant, or the one that a test has set."""

    def __init__(self) -> None:
        self.now: datetime | None = None

    def __call__(self) -> datetime:
        return self.now or utc_now()


def world(callback: str) -> list[tuple[str, str, bytes]]:
    """The demo's directory with that of the examples over it; every callback leads to ``callback``."""
    form: dict[str, Any] = json.loads((MESSAGES / "directory.json").read_bytes())
    demo: dict[str, Any] = json.loads(demo_directory())
    for endpoint in (*form["endpoints"], *demo["endpoints"]):
        if endpoint["party_key"] != OWN_PARTY:
            endpoint["address"] = f"{callback}/{endpoint['party_key'].lower()}/{endpoint['service']}"
    entries = merge([], read_directory(json.dumps(demo).encode()), replace=True)
    merged = merge(entries, read_directory(json.dumps(form).encode()), replace=False)
    return [(entry[0], entry[1], entry[2]) for entry in merged]


@dataclass(frozen=True)
class Answer:
    """What the service answered over HTTP. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def root(self) -> etree._Element:
        """The body as XML."""
        return read_xml(self.body)


def service_of(interaction: str) -> str:
    """The short service that an interaction belongs to."""
    if interaction in UPLOADS | WITHDRAWALS:
        return "psis"
    if interaction.startswith(("QUPC_", "HAS_SCRA_")):
        return "psisquery"
    return "lrs" if interaction == ACS_SET else "lrsquery"


class Harness:
    """The running service as a test uses it."""

    def __init__(
        self, store: Store, directory: CurrentDirectory, record: Record, clients: Clients, clock: SettableClock
    ) -> None:
        self.store = store
        self.directory = directory
        self.record = record
        self.clients = clients
        self.clock = clock
        self.url = ""
        self.outbox: Outbox
        self.http: aiohttp.ClientSession

    # --- requests ---------------------------------------------------------------------------------------------------

    async def post(
        self,
        path: str,
        body: bytes,
        *,
        soap_action: str | None,
        content_type: str = "text/xml",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post a body as a client would."""
        sent = {"Content-Type": content_type, **(headers or {})}
        if soap_action is not None:
            sent["SOAPAction"] = soap_action
        async with self.http.post(self.url + path, data=body, headers=sent) as response:
            received = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, received, await response.read())

    async def ask(self, envelope: bytes, *, action: str | None = None) -> Answer:
        """Post a SOAP envelope; its ``wsa:Action`` is the SOAPAction unless another one is given."""
        if action is None:
            action = read_xml(envelope).findtext(".//{http://schemas.xmlsoap.org/ws/2004/08/addressing}Action")
        return await self.post(SYNC, envelope, soap_action=action)

    def envelope_of(self, payload: bytes, *, message_id: str, interaction: str, from_party: str) -> bytes:
        """Write part 1 of a reliable message around a bare payload, by our own client's writer."""
        service = service_of(interaction)
        endpoint = self.directory.snapshot.endpoint(OWN_PARTY, service, interaction)
        assert endpoint is not None
        return write_user_message(
            from_party=from_party,
            to_party=OWN_PARTY,
            cpa_id=endpoint.cpa_id,
            conversation_id=message_id,
            service=SERVICE_PREFIX + service,
            action=interaction,
            message_id=message_id,
            timestamp=ebxml_timestamp(self.clock()),
            ref_to_message_id=None,
            reliability=Reliability.EXPRESS if interaction in DOCUMENT_QUERIES else Reliability.RELIABLE,
            spine=False,
        )

    async def express(self, payload: bytes, *, interaction: str | None = None) -> Delivery:
        """Send a document query as an express message; return the message that answers it."""
        answer, sent_as = await self.send(payload, interaction=interaction)
        assert (answer.status, answer.body, answer.headers["content-type"]) == (202, b"", "text/xml")
        return await self.clients.answer_to(sent_as)

    async def send(
        self,
        payload: bytes,
        *,
        interaction: str | None = None,
        message_id: str | None = None,
        from_party: str | None = None,
    ) -> tuple[Answer, str]:
        """Send a bare payload reliably; return the transport's answer and the message id that it travelled under."""
        if interaction is None or from_party is None:
            wrapper = read_wrapper(read_xml(payload))
            interaction = interaction or wrapper.name
            system = self.directory.snapshot.systems.get(wrapper.sender_asid)
            from_party = from_party or (system.party_key if system else PRACTICE_PARTY)
        message_id = message_id or mint_uuid()
        envelope = self.envelope_of(payload, message_id=message_id, interaction=interaction, from_party=from_party)
        body = write_multipart(
            (
                ("ebXMLHeader@spine.nhs.uk", "text/xml; charset=UTF-8", envelope),
                (f"{message_id}@spine.nhs.uk", "text/xml; charset=UTF-8", payload),
            )
        )
        answer = await self.post(
            RELIABLE,
            body,
            soap_action=f'"{SERVICE_PREFIX}{service_of(interaction)}/{interaction}"',
            content_type=CLIENT_CONTENT_TYPE,
        )
        return answer, message_id

    async def deliver(
        self,
        payload: bytes,
        *,
        interaction: str | None = None,
        message_id: str | None = None,
        from_party: str | None = None,
    ) -> tuple[Delivery, Acknowledgement]:
        """Send a payload that transport must accept, and wait for its application acknowledgement."""
        answer, sent_as = await self.send(
            payload, interaction=interaction, message_id=message_id, from_party=from_party
        )
        assert answer.status == 202, answer.body
        delivery = await self.clients.answer_to(sent_as)
        return delivery, read_acknowledgement(delivery.root)

    def in_soap(self, payload: bytes, *, interaction: str, receiver: str = OWN_ASID, sender: str = GP_ASID) -> bytes:
        """Put a bare request of ours into its SOAP envelope."""
        wrapper_id = read_wrapper(read_xml(payload)).message_id or mint_uuid()
        return write_request(
            message_id=wrapper_id,
            action=f"{SERVICE_PREFIX}{service_of(interaction)}/{interaction}",
            to=PUBLIC_URL,
            from_address="192.0.2.10",
            receiver_asid=receiver,
            sender_asid=sender,
            body=payload,
        )

    # --- what the store holds ---------------------------------------------------------------------------------------

    async def state(self, nhs_number: str) -> PatientState:
        """Everything that a decision about this patient would see."""

        async def read(transaction: Transaction) -> PatientState:
            return await transaction.read_patient(nhs_number)

        return await self.store.transact(slot_of(nhs_number), read)

    async def audit(self, *, nhs_number: str | None = None) -> list[AuditEntry]:
        """The audit of the slot of a patient, oldest first; of everybody without a number."""
        slot = slot_of(nhs_number) if nhs_number is not None else None
        entries = [row.entry async for row in self.store.read_audit(slot)]
        return [entry for entry in entries if nhs_number is None or entry.nhs_number == nhs_number]

    async def set_consent(self, nhs_number: str, value: Consent) -> None:
        """Set a patient's consent as the demo's GP."""
        message_id = mint_uuid()
        change = ConsentChange(MessageIds(message_id, ACS_SET, message_id), nhs_number, value)
        outcome = await self.record.set_consent(Caller(GP_ASID, PRACTICE_PARTY, GP), change)
        assert outcome.accepted, outcome


@asynccontextmanager
async def running(
    folder: Path,
    *,
    rules: RecordRules | None = None,
    unknown_author: Literal["accept", "refuse"] = "accept",
    require_person_for_query: bool = False,
    accept_ask_in_set: bool = False,
    max_body_bytes: int = 5_242_880,
    examples: bool = True,
    admission: Admission | None = None,
    limits: Limits | None = None,
) -> AsyncIterator[Harness]:
    """Run a service whose data are in ``folder``; with ``examples`` the patients of the examples are known to it."""
    clock = SettableClock()
    store = open_store(str(folder / "openscr.db"))
    await store.open()
    carrier = HttpCarrier(None, timeout=PATIENT_TIMEOUT)
    listener: Listener | None = None
    outbox: Outbox | None = None
    try:
        async with Clients() as clients, aiohttp.ClientSession() as http:
            await store.write_directory(world(clients.url), replace=True)
            directory = CurrentDirectory(Directory())
            directory.snapshot = build_directory(await store.read_directory(), await store.directory_revision())
            policy = AccessPolicy(
                matrix=load_matrix(),
                unknown_author=unknown_author,
                require_person_for_query=require_person_for_query,
                clock=clock,
            )
            record = Record(store, directory, policy, rules or RecordRules(open_index=True), clock=clock)
            harness = Harness(store, directory, record, clients, clock)
            outbox = harness.outbox = Outbox(store, directory, {"http": carrier}, clock=clock, poll=0.05)
            harness.http = http
            context = SpineContext(
                record=record,
                outbox=outbox,
                directory=directory,
                metrics=Metrics(),
                public_url=PUBLIC_URL,
                max_body_bytes=max_body_bytes,
                accept_ask_in_set=accept_ask_in_set,
                clock=clock,
                admission=admission or Admission(),
            )
            application = SpineApplication(context, mutual_tls=False)
            listener = Listener(
                application,
                bind(Address("127.0.0.1", 0), "web"),
                tls=None,
                grace=2,
                limits=limits or Limits(),
                refusal=application.no_room,
            )
            outbox.start()
            await listener.start()
            harness.url = listener.url
            if examples:
                await store.write_patients([MERGED])
                for number, consent in EXAMPLE_PATIENTS.items():
                    await harness.set_consent(number, consent)
            yield harness
            await http.close()
            listener.stop_accepting()
            await listener.stopped()
            listener = None
            await outbox.stop(2)
            outbox = None
    finally:
        if listener is not None:
            listener.stop_accepting()
            await listener.stopped()
        if outbox is not None:
            await outbox.stop(0)
        await carrier.close()
        await store.close()


PATIENT_TIMEOUT = 10.0
"""Seconds for one delivery attempt."""
