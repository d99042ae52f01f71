"""Requests of client systems, made with the writers of the product; patients are fresh numbers of the 999 range."""

import asyncio
import base64
import itertools
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from urllib.parse import urlsplit

from journeys.wire import PATIENCE, QUERIES, RELIABLE, SYNC, Answer, connected, post, request_bytes
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET,
    ACS_HAS,
    ACS_SET,
    ALERT,
    DOCUMENT,
    DOCUMENT_LIST,
    EVENT,
    EVENT_LIST,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    INITIAL_UPLOAD,
    SCR_PERMISSIONS,
    SERVICE_PREFIX,
    SUBJECT_ACCESS,
    UPLOAD,
    VERSION_CODE,
    WITHDRAW,
    WITHDRAW_INITIAL,
)
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.hl7.acs import write_get, write_set
from openscr.hl7.alert import write_alert
from openscr.hl7.document_query import write_document_query
from openscr.hl7.gp_summary import write_upload, write_withdrawal
from openscr.hl7.permission_check import write_has
from openscr.hl7.psis import write_query
from openscr.hl7.scr_application import write_permissions_query
from openscr.hl7.wrapper import Heading
from openscr.identifiers import ebxml_timestamp, hl7_timestamp, mint_uuid
from openscr.spine import (
    Alert,
    AskedPermission,
    Consent,
    ConsentChange,
    ConsentQuery,
    DissentOverride,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    EventListQuery,
    EventQuery,
    MessageIds,
    PermissionQuery,
    Person,
    ScrPermissionsQuery,
    SubjectAccessQuery,
    Withdrawal,
)
from openscr.testbench.population import fresh_number, synthetic_patient
from openscr.testbench.stories import State
from openscr.testbench.world import HOSPITAL_PARTY, OWN_ASID, OWN_PARTY, PRACTICE_PARTY
from openscr.transport.ebxml import Reliability, write_user_message
from openscr.transport.mime import CLIENT_CONTENT_TYPE, CLIENT_PART_TYPE, HEADER_CONTENT_ID
from openscr.transport.wsa import write_request
from openscr.transport.xml import read_xml

PSIS_CPA = "S20001A000182"
LRS_CPA = "S20004A000405"
CPA_OF = {"psis": PSIS_CPA, "lrs": LRS_CPA, "psisquery": "S20003A000304", "alerts": "S20005A000506"}
GP = Person("555000000101", "555000000102", "S8000:G8000:R8000")
OVERRIDER = Person("555000000501", "555000000502", "S8000:G8000:R8000")

ALL = DocumentFilter()

_numbers = itertools.count(600_000)
_taken: set[str] = set()


def fresh_patient() -> str:
    """Return a valid number of the test range that no test has used."""
    number = fresh_number(next(_numbers), _taken)
    _taken.add(number)
    return number


def initial_document(nhs_number: str, event_id: str) -> bytes:
    """Return an initial summary of a patient."""
    (step,) = synthetic_patient(nhs_number, State.INITIAL_ONLY, datetime.now(UTC).date()).steps
    return step.document.replace(step.event_id.encode(), event_id.encode())


def dissent_document(nhs_number: str, event_id: str, replaces: str) -> bytes:
    """Return the blank summary of a patient who has opted out. Spec: 10 §9.2."""
    steps = synthetic_patient(nhs_number, State.OPTED_OUT, datetime.now(UTC).date()).steps
    # The last step is the dissent itself, which has no document.
    step = [step for step in steps if step.document][-1]
    targets = re.findall(rb'<priorMessageRef[^>]*><id root="([^"]+)"', step.document)
    found = step.document.replace(step.event_id.encode(), event_id.encode())
    for target in targets:
        found = found.replace(target, replaces.encode())
    return found


@cache
def _pattern() -> tuple[str, str, bytes]:
    """Return number, event id and document of a summary that the others are made from."""
    patient = synthetic_patient("9990000018", State.CORE, datetime.now(UTC).date())
    (step,) = patient.steps
    return patient.nhs_number, step.event_id, step.document


def document(nhs_number: str, event_id: str, *replaces: str) -> bytes:
    """Return a summary of a patient, replacing whatever is asked for."""
    number, event, pattern = _pattern()
    found = pattern.replace(number.encode(), nhs_number.encode()).replace(event.encode(), event_id.encode())
    links = "".join(
        '<replacementOf typeCode="RPLC"><priorMessageRef classCode="COMPOSITION" moodCode="EVN">'
        f'<id root="{target}"/></priorMessageRef></replacementOf>'
        for target in replaces
    )
    return found.replace(b"</GPSummary>", f"{links}</GPSummary>".encode())


@dataclass(frozen=True)
class Post:
    """A request body with the headers and the path to send it with; ``message_id`` is the transport's."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    path: str
    message_id: str
    event_id: str = ""

    async def to(self, base: str, tls: object = None) -> Answer:
        """Send it on a connection of its own."""
        return await post(base, self.path, self.body, self.headers, tls)  # type: ignore[arg-type]

    def raw(self) -> bytes:
        """Return the whole HTTP request."""
        return request_bytes(self.path, self.body, self.headers)

    def with_headers(self, **changes: str | None) -> "Post":
        """Return it with other values of headers (underscores stand for hyphens); none leaves a header out."""
        names = {name.replace("_", "-").lower(): value for name, value in changes.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in names]
        return replace(self, headers=(*kept, *((n, v) for n, v in names.items() if v is not None)))


@dataclass(frozen=True)
class Mail:
    """An ebXML message before it is packed: its two parts can still be changed."""

    envelope: bytes
    payload: bytes
    message_id: str
    soap_action: str
    event_id: str = ""
    path: str = RELIABLE

    def changed(self, old: str, new: str, *, part: str = "envelope") -> "Mail":
        """Return the message with a text of one part changed, which must be there."""
        before: bytes = getattr(self, part)
        assert old.encode() in before, f"{old!r} is not in the {part}"
        return replace(self, **{part: before.replace(old.encode(), new.encode())})

    def post(self, *, end: bytes = b"\r\n", close: bytes = b"----=_MIME-Boundary--", encoding: str = "8bit") -> Post:
        """Pack it: line ends, closing delimiter and transfer encoding of the payload as clients of the field do."""
        payload = base64.encodebytes(self.payload).replace(b"\n", end) if encoding == "base64" else self.payload
        written = []
        for content_id, coding, content in (
            (HEADER_CONTENT_ID, "8bit", self.envelope),
            (f"{self.message_id}@spine.nhs.uk", encoding, payload),
        ):
            head = (
                b"----=_MIME-Boundary",
                f"Content-Id: <{content_id}>".encode(),
                f"Content-Type: {CLIENT_PART_TYPE}".encode(),
                f"Content-Transfer-Encoding: {coding}".encode(),
                b"",
                content,
            )
            written.append(end.join(head))
        body = end.join((*written, close)) + (end if close else b"")
        headers = (("SOAPAction", f'"{self.soap_action}"'), ("Content-Type", CLIENT_CONTENT_TYPE))
        return Post(body, headers, self.path, self.message_id, self.event_id)


@dataclass(frozen=True)
class Client:
    """A client system: party key, ASID, and the person who works with it."""

    party_key: str = PRACTICE_PARTY
    asid: str = "200000000115"
    person: Person = GP

    def _heading(self, message_id: str, version: str = VERSION_CODE) -> Heading:
        return Heading(message_id, hl7_timestamp(datetime.now(UTC)), version, OWN_ASID, self.asid)

    def mail(
        self, payload: bytes, interaction: str, message_id: str, *, service: str = "psis", event_id: str = ""
    ) -> Mail:
        """Put a payload into its envelope."""
        envelope = write_user_message(
            from_party=self.party_key,
            to_party=OWN_PARTY,
            cpa_id=CPA_OF[service],
            conversation_id=message_id,
            service=SERVICE_PREFIX + service,
            action=interaction,
            message_id=message_id,
            timestamp=ebxml_timestamp(datetime.now(UTC)),
            ref_to_message_id=None,
            reliability=Reliability.EXPRESS if service == "psisquery" else Reliability.RELIABLE,
            spine=False,
        )
        path = QUERIES if service == "psisquery" else RELIABLE
        return Mail(envelope, payload, message_id, f"{SERVICE_PREFIX}{service}/{interaction}", event_id, path)

    def upload(
        self, nhs_number: str, *replaces: str, event_id: str = "", message_id: str = "", wrapper_id: str = ""
    ) -> Mail:
        """Return an upload of a fresh summary."""
        event_id, message_id = event_id or mint_uuid(), message_id or mint_uuid()
        summary = document(nhs_number, event_id, *replaces)
        payload = write_upload(UPLOAD, self._heading(wrapper_id or message_id), summary, self.person)
        return self.mail(payload, UPLOAD, message_id, event_id=event_id)

    def dissent(self, nhs_number: str, replaces: str) -> Mail:
        """Return the upload of a blank summary in the place of another."""
        event_id, message_id = mint_uuid(), mint_uuid()
        summary = dissent_document(nhs_number, event_id, replaces)
        payload = write_upload(UPLOAD, self._heading(message_id), summary, self.person)
        return self.mail(payload, UPLOAD, message_id, event_id=event_id)

    def initial_upload(self, nhs_number: str) -> Mail:
        """Return an initial upload, the organisation's own: text only, nobody logged in."""
        event_id, message_id = mint_uuid(), mint_uuid()
        payload = write_upload(
            INITIAL_UPLOAD, self._heading(message_id), initial_document(nhs_number, event_id), person=None
        )
        return self.mail(payload, INITIAL_UPLOAD, message_id, event_id=event_id)

    def withdrawal(self, nhs_number: str, target: str, reason: str = "01", *, initial: bool = False) -> Mail:
        """Return the withdrawal of an event, an initial summary or an ordinary one."""
        message_id = mint_uuid()
        now = hl7_timestamp(datetime.now(UTC))
        interaction = WITHDRAW_INITIAL if initial else WITHDRAW
        event_type = GP_INITIAL_SUMMARY if initial else GP_SUMMARY
        withdrawal = Withdrawal(
            MessageIds(message_id, interaction), nhs_number, mint_uuid(), event_type, now, target, reason
        )
        payload = write_withdrawal(interaction, self._heading(message_id), withdrawal, self.person)
        return self.mail(payload, interaction, message_id, event_id=withdrawal.event_id)

    def consent_mail(self, nhs_number: str, value: Consent) -> Mail:
        """Return a SET over reliable messaging."""
        message_id = mint_uuid()
        change = ConsentChange(MessageIds(message_id, ACS_SET), nhs_number, value)
        payload = write_set(self._heading(message_id, "V3NPfIT3.0"), change, self.person)
        return self.mail(payload, ACS_SET, message_id, service="lrs")

    def alert_mail(self, alert: Alert, *, message_id: str = "") -> Mail:
        """Return a privacy alert over reliable messaging."""
        message_id = message_id or mint_uuid()
        payload = write_alert(self._heading(message_id), alert, self.person, mint_uuid)
        return self.mail(payload, ALERT, message_id, service="alerts")

    def _soap(self, service: str, interaction: str, message_id: str, payload: bytes) -> Post:
        action = f"{SERVICE_PREFIX}{service}/{interaction}"
        body = write_request(
            message_id=message_id,
            action=action,
            to="https://spine.test/sync-service",
            from_address="192.0.2.10",
            receiver_asid=OWN_ASID,
            sender_asid=self.asid,
            body=payload,
        )
        return Post(body, (("SOAPAction", action), ("Content-Type", "text/xml")), SYNC, message_id)

    def event_list(
        self,
        nhs_number: str,
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
        interaction: str = EVENT_LIST,
    ) -> Post:
        """Return the query for all events of a patient."""
        message_id = mint_uuid()
        query = EventListQuery(MessageIds(message_id, interaction), nhs_number, override)
        payload = write_query(self._heading(message_id), query, self.person)
        return self._soap("psisquery", interaction, message_id, payload)

    def event(
        self,
        nhs_number: str,
        event_id: str,
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
    ) -> Post:
        """Return the query for one event."""
        message_id = mint_uuid()
        query = EventQuery(MessageIds(message_id, EVENT), nhs_number, event_id, override)
        return self._soap("psisquery", EVENT, message_id, write_query(self._heading(message_id), query, self.person))

    def document_query(
        self,
        nhs_number: str,
        wanted: DocumentFilter | str = ALL,
        interaction: str = "",
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
        message_id: str = "",
    ) -> tuple[str, str, bytes]:
        """Return message id, interaction and payload of a document query: a filter's list, or the document of an id."""
        message_id = message_id or mint_uuid()
        interaction = interaction or (DOCUMENT if isinstance(wanted, str) else DOCUMENT_LIST)
        ids = MessageIds(message_id, interaction)
        query: DocumentQuery | DocumentListQuery
        if isinstance(wanted, str):
            query = DocumentQuery(ids, nhs_number, wanted, override=override)
        else:
            query = DocumentListQuery(ids, nhs_number, override, wanted)
        payload = write_document_query(self._heading(message_id, "3NPfIT7.2.02"), query, self.person)
        return message_id, interaction, payload

    def documents(
        self,
        nhs_number: str,
        wanted: DocumentFilter | str = ALL,
        interaction: str = "",
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
    ) -> Post:
        """Return a document query over SOAP."""
        message_id, interaction, payload = self.document_query(nhs_number, wanted, interaction, override)
        return self._soap("psisquery", interaction, message_id, payload)

    def express(
        self,
        nhs_number: str,
        wanted: DocumentFilter | str = ALL,
        interaction: str = "",
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
    ) -> Mail:
        """Return a document query as an express message."""
        message_id, interaction, payload = self.document_query(nhs_number, wanted, interaction, override)
        return self.mail(payload, interaction, message_id, service="psisquery")

    def subject_access(
        self,
        nhs_number: str,
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
    ) -> Post:
        """Return the query for all that is held of a patient."""
        message_id = mint_uuid()
        query = SubjectAccessQuery(MessageIds(message_id, SUBJECT_ACCESS), nhs_number, override)
        payload = write_query(self._heading(message_id), query, self.person)
        return self._soap("psisquery", SUBJECT_ACCESS, message_id, payload)

    def scr_permissions(self, nhs_number: str, service: str = "psisquery") -> Post:
        """Return the question of an SCR application about the person of this client."""
        message_id = mint_uuid()
        asker = self.person.role_profile_id
        query = ScrPermissionsQuery(
            MessageIds(message_id, SCR_PERMISSIONS), nhs_number, asker, asker, ("555000000333",)
        )
        payload = write_permissions_query(self._heading(message_id), query, self.person)
        return self._soap(service, SCR_PERMISSIONS, message_id, payload)

    def set_consent(self, nhs_number: str, value: Consent, message_id: str = "") -> Post:
        """Return a SET over SOAP."""
        message_id = message_id or mint_uuid()
        change = ConsentChange(MessageIds(message_id, ACS_SET), nhs_number, value)
        return self._soap(
            "lrs", ACS_SET, message_id, write_set(self._heading(message_id, "V3NPfIT3.0"), change, self.person)
        )

    def get_consent(self, nhs_number: str) -> Post:
        """Return a GET."""
        message_id = mint_uuid()
        query = ConsentQuery(MessageIds(message_id, ACS_GET), nhs_number)
        return self._soap(
            "lrsquery", ACS_GET, message_id, write_get(self._heading(message_id, "V3NPfIT3.0"), query, self.person)
        )

    def has_permissions(self, nhs_number: str, *asked: AskedPermission) -> Post:
        """Return a HAS."""
        message_id = mint_uuid()
        query = PermissionQuery(MessageIds(message_id, ACS_HAS), nhs_number, asked)
        payload = write_has(self._heading(message_id, "V3NPfIT3.0"), query, self.person)
        return self._soap("lrsquery", ACS_HAS, message_id, payload)


PRACTICE = Client()
HOSPITAL = Client(HOSPITAL_PARTY, "200000000116", OVERRIDER)


# --- what the demo's collector has received -------------------------------------------------------------------------


async def get(base: str, path: str) -> Answer:
    """Fetch a page of the web listener."""
    async with connected(base) as connection:
        return await connection.exchange(request_bytes(path, b"", (), method="GET"))


async def collected(web: str, message_id: str, party_key: str = PRACTICE_PARTY) -> list[dict[str, str]]:
    """Return what the demo's collector has received in answer to a message."""
    inbox = json.loads((await get(web, f"/demo/inbox/{party_key}")).body)
    return [message for message in inbox["messages"] if message["ref_to_message_id"] == message_id]


async def answer_to(web: str, message_id: str, party_key: str = PRACTICE_PARTY) -> Acknowledgement:
    """Return the application acknowledgement of a message once the demo's collector has it."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await collected(web, message_id, party_key)):
            pass
    assert len(found) == 1
    assert found[0]["action"] == ACKNOWLEDGEMENT
    assert urlsplit(web).hostname
    return read_acknowledgement(read_xml(found[0]["payload"].encode()))


def codes_of(acknowledgement: Acknowledgement) -> tuple[str, list[str]]:
    """Return type and codes of an acknowledgement, in the order of the wire."""
    return acknowledgement.outcome.ack.value, [issue.code for issue in acknowledgement.outcome.issues]
