"""Fresh request bodies of the demo world, so that `curl` needs no file; and the demo patients put into a record.

Spec: 00 §3.1, §5.
"""

from dataclasses import dataclass
from datetime import datetime

from openscr.codes import (
    ACS_SET,
    EVENT,
    EVENT_LIST,
    GP_INITIAL_SUMMARY,
    INITIAL_UPLOAD,
    SERVICE_PREFIX,
    UPLOAD,
    VERSION_CODE,
    WITHDRAW,
    WITHDRAW_INITIAL,
)
from openscr.directory.demo import (
    GP_ASID,
    GP_ROLE_PROFILE,
    GP_USER,
    OWN_ASID,
    OWN_PARTY,
    PRACTICE_PARTY,
    PSIS_CPA,
)
from openscr.hl7.gp_summary import read_summary_message, write_upload, write_withdrawal
from openscr.hl7.psis import write_query
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import ebxml_timestamp, hl7_timestamp
from openscr.record.record import Reception, Record
from openscr.spine import (
    Caller,
    ConsentChange,
    DissentOverride,
    EventListQuery,
    EventQuery,
    MessageIds,
    Person,
    Withdrawal,
)
from openscr.store.interface import RawMessage
from openscr.testbench.stories import Step, StepKind, SyntheticPatient
from openscr.transport.ebxml import Reliability, write_user_message
from openscr.transport.mime import CLIENT_CONTENT_TYPE, write_multipart
from openscr.transport.wsa import write_request
from openscr.transport.xml import read_xml

GP_PERSON = Person(GP_USER, GP_ROLE_PROFILE, "S8000:G8000:R8000")
"""The demo's GP: sender of every sample and author of the population. Spec: 35 §9.5."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A request body that is ready to be posted, with the headers to send."""

    body: bytes
    content_type: str
    soap_action: str


def _heading(message_id: str, now: datetime) -> Heading:
    return Heading(message_id, hl7_timestamp(now), VERSION_CODE, OWN_ASID, GP_ASID)


def sample_upload(document: bytes, message_id: str, now: datetime) -> Sample:
    """Return a reliable upload of ``document`` by the demo's GP system."""
    payload = write_upload(UPLOAD, _heading(message_id, now), document, GP_PERSON)
    envelope = write_user_message(
        from_party=PRACTICE_PARTY,
        to_party=OWN_PARTY,
        cpa_id=PSIS_CPA,
        conversation_id=message_id,
        service=f"{SERVICE_PREFIX}psis",
        action=UPLOAD,
        message_id=message_id,
        timestamp=ebxml_timestamp(now),
        ref_to_message_id=None,
        reliability=Reliability.RELIABLE,
        spine=False,
    )
    body = write_multipart(
        (
            ("ebXMLHeader@spine.nhs.uk", "text/xml; charset=UTF-8", envelope),
            (f"{message_id}@spine.nhs.uk", "text/xml; charset=UTF-8", payload),
        )
    )
    return Sample(body, CLIENT_CONTENT_TYPE, f"{SERVICE_PREFIX}psis/{UPLOAD}")


def _sample_query(query: EventListQuery | EventQuery, now: datetime, url: str) -> Sample:
    message_id = query.ids.message_id
    action = f"{SERVICE_PREFIX}psisquery/{query.ids.interaction}"
    body = write_request(
        message_id=message_id,
        action=action,
        to=url,
        from_address="127.0.0.1",
        receiver_asid=OWN_ASID,
        sender_asid=GP_ASID,
        body=write_query(_heading(message_id, now), query, GP_PERSON),
    )
    return Sample(body, "text/xml", action)


def sample_list(nhs_number: str, message_id: str, now: datetime, url: str) -> Sample:
    """Return an event list query by the demo's GP system."""
    return _sample_query(EventListQuery(MessageIds(message_id, EVENT_LIST), nhs_number), now, url)


def sample_event(nhs_number: str, event_id: str, message_id: str, now: datetime, url: str) -> Sample:
    """Return an event query by the demo's GP system."""
    query = EventQuery(MessageIds(message_id, EVENT), nhs_number, event_id, DissentOverride())
    return _sample_query(query, now, url)


async def put_patient(record: Record, patient: SyntheticPatient) -> None:
    """Bring a demo patient's story into the record, as the GP system would have, at the times of the story."""
    for step in patient.steps:
        await _put_step(record, patient.nhs_number, step)


async def _put_step(record: Record, nhs_number: str, step: Step) -> None:
    caller = Caller(GP_ASID, PRACTICE_PARTY, GP_PERSON)
    heading = _heading(step.event_id, step.at)
    if step.kind is StepKind.CONSENT and step.consent is not None:
        ids = MessageIds(step.event_id, ACS_SET, step.event_id)
        reception = Reception(PRACTICE_PARTY, step.event_id, RawMessage(b""), step.at)
        change = ConsentChange(ids, nhs_number, step.consent)
        await record.receive(reception, caller, ids, change, nhs_number=nhs_number)
        return
    if step.kind in (StepKind.UPLOAD, StepKind.INITIAL):
        interaction = INITIAL_UPLOAD if step.kind is StepKind.INITIAL else UPLOAD
        payload = write_upload(interaction, heading, step.document, GP_PERSON)
    elif step.kind is StepKind.WITHDRAW:
        interaction = WITHDRAW_INITIAL if step.target_type == GP_INITIAL_SUMMARY else WITHDRAW
        withdrawal = Withdrawal(
            ids=MessageIds(step.event_id, interaction),
            nhs_number=nhs_number,
            event_id=step.event_id,
            event_type=step.target_type,
            effective_time=hl7_timestamp(step.at),
            target=step.target,
            reason=step.reason,
        )
        payload = write_withdrawal(interaction, heading, withdrawal, GP_PERSON)
    else:
        return
    root = read_xml(payload)
    message = read_summary_message(root, read_wrapper(root), payload, interaction)
    reception = Reception(PRACTICE_PARTY, step.event_id, RawMessage(payload, 0, len(payload)), step.at)
    ids = MessageIds(step.event_id, interaction, step.event_id)
    await record.receive(
        reception, caller, ids, message.request, nhs_number=message.nhs_number, refusal=message.refusal
    )
