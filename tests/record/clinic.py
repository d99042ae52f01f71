"""A record on a real store, and those who use it: what they send is written, and read again, by the real message code.

Numbers are of the test range, persons and systems those of the demo's directory.
"""

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, TypeVar

import pytest

from openscr.access.matrix import load_matrix, with_claim_activity
from openscr.access.policy import AccessPolicy
from openscr.codes import (
    ACS_GET,
    ACS_SET,
    DOCUMENT_TYPES,
    EVENT,
    EVENT_LIST,
    EVENT_LIST_SM,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    INITIAL_UPLOAD,
    OID_SNOMED,
    UPLOAD,
    WITHDRAW,
)
from openscr.directory.form import build_directory, read_directory
from openscr.directory.model import CurrentDirectory, Directory
from openscr.errors import OutcomeUnknown
from openscr.hl7.gp_summary import read_summary_message, write_upload, write_withdrawal
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import check_digit, hl7_timestamp, slot_of
from openscr.record.consent import ConsentSubscriber
from openscr.record.decision import RecordRules
from openscr.record.record import Received, Reception, Record
from openscr.record.standings import StandingRecords
from openscr.spine import (
    Caller,
    Consent,
    ConsentChange,
    ConsentOutcome,
    ConsentQuery,
    DissentOverride,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    MessageIds,
    Outcome,
    Person,
    Withdrawal,
)
from openscr.standing import PermissionRequest, RecordedOutcome, RelationshipRequest, StandingOutcome, StandingQuery
from openscr.store.chain import read_row
from openscr.store.interface import (
    NOTHING,
    AuditEntry,
    ConsentRow,
    Foreseen,
    OutboxRow,
    PatientEntry,
    PatientState,
    RawMessage,
    Store,
    Transaction,
)
from openscr.store.opening import open_store
from openscr.testbench.world import OWN_ASID, PRACTICE_PARTY, demo_directory
from openscr.transport.xml import read_xml

T = TypeVar("T")

GP_SYSTEM = "200000000115"
HOSPITAL_SYSTEM = "200000000116"
HOSPITAL_PARTY = "RZZ01-0000001"

GP = Caller(GP_SYSTEM, PRACTICE_PARTY, Person("555000000101", "555000000102", "R8000"))
"""May do everything but override by law; has the emergency right."""
CLERK = Caller(GP_SYSTEM, PRACTICE_PARTY, Person("555000000201", "555000000202", "R8008"))
"""May view, no more."""
LAWYER = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000501", "555000000502", "R8000"))
"""A doctor at the hospital with the legal override."""
NURSE = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000301", "555000000302", "R8001"))
"""May view at the hospital, no more."""
PORTER = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000301", "555000000303", "R8003"))
"""The same person in a role without any right to a record."""
FORMER = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000701", "555000000702", "R8000"))
"""A role that is closed."""
STRANGER = Caller(GP_SYSTEM, PRACTICE_PARTY, Person("979603625513", "055888118514", "R0260"))
"""Nobody knows this person."""
SYSTEM = Caller(GP_SYSTEM, PRACTICE_PARTY)
"""Nobody is present."""

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DISSENT = (
    "Following discussion with a member of the practice staff this patient has chosen not to store their clinical "
    "information"
)

DOCUMENT = """<GPSummary xmlns="urn:hl7-org:v3" classCode="COMPOSITION" moodCode="EVN"><id root="{event_id}"/>
<code code="{event_type}" codeSystem="2.16.840.1.113883.2.1.3.2.4.15" displayName="{display}"/>
<effectiveTime value="{effective}"/><statusCode code="{status}"/>
<author typeCode="AUT" contextControlCode="OP"><time value="{effective}"/>
<UKCT_MT160018UK01.AgentPersonSDS classCode="AGNT"><id root="1.2.826.0.1285.0.2.0.67" extension="555000000102"/>
<agentPersonSDS classCode="PSN" determinerCode="INSTANCE"><id root="1.2.826.0.1285.0.2.0.65" extension="555000000101"/>
<name>Dr Gita Demopractice</name></agentPersonSDS></UKCT_MT160018UK01.AgentPersonSDS></author>
<excerptFrom typeCode="XCRPT"><UKCT_MT144051UK01.CareProfessionalDocumentationCRE><component><presentationText>
<value><html xmlns="xhtml:NPfIT:PresentationText"><head/><body><h3>{text}</h3></body></html></value></presentationText>
</component></UKCT_MT144051UK01.CareProfessionalDocumentationCRE></excerptFrom>
<pertinentInformation2><pertinentCREType/></pertinentInformation2>
<recordTarget typeCode="RCT"><patient classCode="PAT">
<id root="2.16.840.1.113883.2.1.4.1" extension="{nhs_number}"/></patient></recordTarget>{replacement}</GPSummary>"""
REPLACEMENT = (
    '<replacementOf typeCode="RPLC"><priorMessageRef classCode="COMPOSITION" moodCode="EVN"><id root="{}"/>'
    "</priorMessageRef></replacementOf>"
)


def patient(number: int) -> str:
    """Return the valid test number that stands for a small number."""
    prefixes = (f"9990{prefix:05d}" for prefix in range(70000, 99999))
    valid = (f"{prefix}{check_digit(prefix)}" for prefix in prefixes if check_digit(prefix) < 10)
    return next(found for index, found in enumerate(valid) if index == number)


def uuid(number: int) -> str:
    """Return the UUID that stands for a number."""
    return f"00000000-0000-4000-8000-{number:012X}"


PATIENT = patient(0)


class Clinic:
    """Those who use the record, and what they can see of it.

    Every message gets an id of its own unless one is given.
    """

    def __init__(self, store: Store, directory: CurrentDirectory, policy: AccessPolicy, rules: RecordRules) -> None:
        self.store = store
        self.directory = directory
        self._policy, self._rules = policy, rules
        self.record = Record(store, directory, policy, rules, clock=self.clock, mint=self.mint)
        self.standings = StandingRecords(
            store, directory, policy, rules, clock=self.clock, mint=self.mint, organisation_hours={"RZZ01": 168}
        )
        self.now = NOON
        self.documents: dict[str, bytes] = {}
        self.file = Path()
        self._minted = 1_000_000

    def clock(self) -> datetime:
        """Every reading of the clock is a second after the one before."""
        self.now += timedelta(seconds=1)
        return self.now

    def mint(self) -> str:
        """A fresh id."""
        self._minted += 1
        return uuid(self._minted)

    # --- how things are ---------------------------------------------------------------------------------------------

    def subscribe(self, *subscribers: ConsentSubscriber) -> None:
        """Let others be told of every consent that is set from now on."""
        self.record = Record(
            self.store,
            self.directory,
            self._policy,
            self._rules,
            clock=self.clock,
            mint=self.mint,
            on_consent=subscribers,
        )

    def register(self, asid: str, **changes: bool) -> None:
        """Change what the directory says of a system."""
        known = self.directory.snapshot
        systems = {**known.systems, asid: replace(known.systems[asid], **changes)}
        self.directory.snapshot = Directory(
            contracts=known.contracts.values(),
            parties=known.parties.values(),
            systems=systems.values(),
            endpoints=known.endpoints,
            users=known.users.values(),
        )

    @contextmanager
    def commits_break_off(self, *, kept: bool) -> Iterator[None]:
        """Lose the connection at the next commit, before it was made or after it."""
        store, transact = self.store, self.store.transact
        left = [1]

        async def broken(slot: int, work: Callable[[Transaction], Awaitable[T]], foreseen: Foreseen = NOTHING) -> T:
            if not left:
                return await transact(slot, work, foreseen)
            left.clear()

            async def undone(transaction: Transaction) -> T:
                await work(transaction)
                raise OutcomeUnknown("lost")

            if not kept:
                return await transact(slot, undone)
            await transact(slot, work)
            raise OutcomeUnknown("lost")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(store, "transact", broken)
            yield

    # --- what is sent -----------------------------------------------------------------------------------------------

    async def upload(
        self,
        event_id: str,
        *,
        nhs_number: str = PATIENT,
        caller: Caller = GP,
        interaction: str = UPLOAD,
        event_type: str = GP_SUMMARY,
        replaces: str | None = None,
        effective: str | None = None,
        status: str = "active",
        text: str = "Nothing remarkable",
        heading_code: str = "",
        wrapper_id: str | None = None,
        message_id: str | None = None,
    ) -> Received:
        """Send a summary as the practice's system does."""
        document = DOCUMENT.format(
            event_id=event_id,
            event_type=event_type,
            display=DOCUMENT_TYPES.get(event_type, ""),
            effective=effective or hl7_timestamp(self.now),
            status=status,
            text=text,
            nhs_number=nhs_number,
            replacement=REPLACEMENT.format(replaces) if replaces else "",
        ).encode()
        if heading_code:
            code = f'<pertinentCREType><code code="{heading_code}" codeSystem="{OID_SNOMED}"/></pertinentCREType>'
            document = document.replace(b"<pertinentCREType/>", code.encode())
        heading = self._heading(wrapper_id or self.mint(), caller)
        payload = write_upload(interaction, heading, document, caller.person)
        received = await self.send(payload, interaction, caller, message_id)
        if received.outcome is not None and received.outcome.accepted:
            self.documents[event_id] = document
        return received

    async def upload_initially(self, event_id: str) -> Received:
        """Send an initial summary."""
        return await self.upload(event_id, interaction=INITIAL_UPLOAD, event_type=GP_INITIAL_SUMMARY)

    async def withdraw(
        self,
        target: str,
        *,
        nhs_number: str = PATIENT,
        caller: Caller = GP,
        interaction: str = WITHDRAW,
        event_id: str | None = None,
        wrapper_id: str | None = None,
        message_id: str | None = None,
    ) -> Received:
        """Send a withdrawal."""
        heading = self._heading(wrapper_id or self.mint(), caller)
        withdrawal = Withdrawal(
            ids=MessageIds(heading.message_id, interaction),
            nhs_number=nhs_number,
            event_id=event_id or self.mint(),
            event_type=GP_SUMMARY,
            effective_time=hl7_timestamp(self.now),
            target=target,
            reason="01",
            reason_text="Sent by mistake",
        )
        person = caller.person or Person("555000000101", "555000000102", "R8000")
        payload = write_withdrawal(interaction, heading, withdrawal, person)
        return await self.send(payload, interaction, caller, message_id)

    async def send(self, payload: bytes, interaction: str, caller: Caller, message_id: str | None = None) -> Received:
        """Hand a payload to the record as the ebXML endpoint does."""
        root = read_xml(payload)
        wrapper = read_wrapper(root)
        read = read_summary_message(root, wrapper, payload, interaction)
        transport_id = message_id or self.mint()
        reception = self.reception(transport_id, payload, caller, read.nhs_number)
        ids = MessageIds(wrapper.message_id, interaction, transport_id)
        return await self.record.receive(
            reception, caller, ids, read.request, nhs_number=read.nhs_number, refusal=read.refusal
        )

    def reception(self, transport_id: str, payload: bytes, caller: Caller, nhs_number: str | None) -> Reception:
        """How a message arrived over reliable messaging; the answer is an outbox row."""

        def answer(outcome: Outcome) -> OutboxRow:
            return OutboxRow(
                slot=slot_of(nhs_number or caller.party_key),
                id=self.mint(),
                to_party=caller.party_key,
                service="psis",
                interaction="MCCI_IN010000UK13",
                conversation_id=transport_id,
                ref_to_message_id=transport_id,
                created_at=self.now,
                answer=b'{"ack":"%s"}' % outcome.ack.value.encode(),
            )

        return Reception(
            from_party=caller.party_key,
            message_id=transport_id,
            raw=RawMessage(payload, 0, len(payload)),
            received_at=self.clock(),
            signal=f"signal of {transport_id}".encode(),
            digest=hashlib.sha256(payload).digest(),
            answer=answer,
        )

    async def set_consent(
        self,
        value: Consent,
        *,
        nhs_number: str = PATIENT,
        caller: Caller = GP,
        wrapper_id: str | None = None,
        wsa_id: str | None = None,
        soap: bool = True,
        content: bytes | None = None,
    ) -> Received:
        """Send a SET over SOAP, or over reliable messaging. ``content`` stands for the message itself."""
        wrapper_id = wrapper_id or self.mint()
        transport_id = wsa_id or wrapper_id
        ids = MessageIds(wrapper_id, ACS_SET, transport_id)
        raw = content or f"{nhs_number} {value} {wrapper_id}".encode()
        digest = hashlib.sha256(raw)
        if soap:
            reception = Reception(
                from_party=caller.party_key,
                message_id=f"SOAP {transport_id} {digest.hexdigest()}",
                raw=RawMessage(raw, 0, len(raw)),
                received_at=self.clock(),
                signal_status=200,
                digest=digest.digest(),
                reply=lambda outcome: f"{outcome.ack} {self.mint()}".encode(),
            )
        else:
            reception = self.reception(self.mint(), raw, caller, nhs_number)
        change = ConsentChange(ids, nhs_number, value)
        return await self.record.receive(reception, caller, ids, change, nhs_number=nhs_number)

    async def list_events(
        self,
        *,
        nhs_number: str = PATIENT,
        caller: Caller = GP,
        override: DissentOverride = DissentOverride(),  # noqa: B008 frozen
        current_only: bool = False,
    ) -> EventListOutcome:
        """Ask for the list of events."""
        ids = MessageIds(self.mint(), EVENT_LIST_SM if current_only else EVENT_LIST)
        return await self.record.list_events(
            caller, EventListQuery(ids, nhs_number, override, current_only=current_only)
        )

    async def retrieve(
        self,
        event_id: str,
        *,
        nhs_number: str = PATIENT,
        caller: Caller = GP,
        override: DissentOverride = DissentOverride(),  # noqa: B008 frozen
    ) -> EventOutcome:
        """Ask for one event."""
        query = EventQuery(MessageIds(self.mint(), EVENT), nhs_number, event_id, override)
        return await self.record.retrieve_event(caller, query)

    async def get_consent(self, *, nhs_number: str = PATIENT, caller: Caller = GP) -> ConsentOutcome:
        """Ask for the stored consent."""
        return await self.record.get_consent(caller, ConsentQuery(MessageIds(self.mint(), ACS_GET), nhs_number))

    def _heading(self, message_id: str, caller: Caller) -> Heading:
        return Heading(message_id, hl7_timestamp(self.now), "V3NPfIT4.2.00", OWN_ASID, caller.asid)

    # --- what is there ----------------------------------------------------------------------------------------------

    async def permit(self, caller: Caller, **changes: object) -> RecordedOutcome:
        """Record a permission to view of `PATIENT`."""
        values: dict[str, object] = {"ids": MessageIds(self.mint(), "record permission"), "nhs_number": PATIENT}
        return await self.standings.record_permission(caller, PermissionRequest(**{**values, **changes}))  # type: ignore[arg-type]

    async def relate(self, caller: Caller, **changes: object) -> RecordedOutcome:
        """Record a relationship to `PATIENT`, or claim one."""
        values: dict[str, object] = {"ids": MessageIds(self.mint(), "record relationship"), "nhs_number": PATIENT}
        return await self.standings.record_relationship(caller, RelationshipRequest(**{**values, **changes}))  # type: ignore[arg-type]

    async def standing(self, caller: Caller, nhs_number: str = PATIENT) -> StandingOutcome:
        """Ask what is in force."""
        return await self.standings.standing(caller, StandingQuery(MessageIds(self.mint(), "standing"), nhs_number))

    async def index(self, *entries: PatientEntry) -> None:
        """Tell the patient index."""
        await self.store.write_patients(entries)

    async def state(self, nhs_number: str = PATIENT) -> PatientState:
        """Everything that a decision about a patient sees."""

        async def read(transaction: Transaction) -> PatientState:
            return await transaction.read_patient(nhs_number)

        return await self.store.transact(slot_of(nhs_number), read)

    async def statuses(self, nhs_number: str = PATIENT) -> dict[str, str]:
        """Each event's status by its id."""
        return {event.event_id: event.status.name for event in (await self.state(nhs_number)).events}

    async def consents(self, nhs_number: str = PATIENT) -> tuple[ConsentRow, ...]:
        """All versions of a consent."""

        async def read(transaction: Transaction) -> tuple[ConsentRow, ...]:
            return await transaction.consent_history(nhs_number)

        return await self.store.transact(slot_of(nhs_number), read)

    async def audit(self) -> list[AuditEntry]:
        """The whole audit, in the order of time."""
        return sorted([row.entry async for row in self.store.read_audit()], key=lambda entry: entry.occurred_at)

    async def last_audit_of(self, nhs_number: str) -> AuditEntry:
        """The latest row of one patient's audit, from the file itself: the store reads a chain from its beginning."""
        with closing(sqlite3.connect(self.file)) as connection:
            row = connection.execute(
                "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
                " WHERE slot = ? AND nhs_number = ? ORDER BY sequence DESC LIMIT 1",
                (slot_of(nhs_number), nhs_number),
            ).fetchone()
        return read_row(*row).entry

    async def last_audit(self) -> AuditEntry:
        """The latest row of the audit."""
        return (await self.audit())[-1]


def codes(outcome: Outcome | None) -> tuple[str, ...]:
    """Return the codes of an outcome in their order; ``AA`` stands for acceptance."""
    assert outcome is not None, "the message was taken for a duplicate"
    if outcome.accepted:
        assert outcome.issues == ()
        return ("AA",)
    assert outcome.ack == "AE"
    return tuple(issue.code for issue in outcome.issues)


@asynccontextmanager
async def open_clinic(
    folder: Path,
    rules: RecordRules | None = None,
    *,
    unknown_author: Literal["accept", "refuse"] = "accept",
    require_person_for_query: bool = False,
    claim_activity: tuple[str, ...] = (),
    **enforced: bool,
) -> AsyncIterator[Clinic]:
    """Open a clinic whose store is in ``folder``; ``enforced`` are further switches of the policy."""
    rules = rules or RecordRules(open_index=True)
    store = open_store(str(folder / "openscr.db"))
    await store.open()
    try:
        rows = [(entry[0], entry[1], entry[2]) for entry in read_directory(demo_directory())]
        directory = CurrentDirectory(Directory())
        directory.snapshot = build_directory(rows, 1)
        policy = AccessPolicy(
            matrix=with_claim_activity(load_matrix(), claim_activity),
            unknown_author=unknown_author,
            require_person_for_query=require_person_for_query,
            override_vocabulary="4.2.00" if rules.override_vocabulary == "4.2.00" else "7.2.02",
            clock=lambda: NOON,
            **enforced,
        )
        clinic = Clinic(store, directory, policy, rules)
        clinic.file = folder / "openscr.db"
        yield clinic
    finally:
        await store.close()
