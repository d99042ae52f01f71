"""PSIS event queries: requests read and judged, answers written around the stored bytes, and the client's side of both.

Spec: 20 §2-§9, §12.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from lxml import etree

from openscr.codes import (
    DOCUMENT_QUERIES,
    DOCUMENT_RETRIEVALS,
    DOCUMENT_TYPES,
    EVENT,
    EVENT_ANSWER,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    EVENT_STATUSES,
    HL7_NS,
    OID_DISSENT_OVERRIDE,
    OID_EVENT_STATUS,
    OID_INTERACTION,
    OID_NHS_NUMBER,
    OID_SNOMED,
    PSIS_NS,
    QUERY_FAILED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
    SUBJECT_ACCESS_ANSWER,
)
from openscr.errors import GENERAL, UnreadableMessage
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.rules.expressions import Variables
from openscr.hl7.rules.queries import EVENT_LIST_QUERY, EVENT_QUERY, QUERIED_PATIENT, QUERY_WRAPPER
from openscr.hl7.wrapper import (
    HL7,
    Finding,
    Heading,
    Wrapper,
    attributes_of,
    child,
    local_name,
    write_acknowledgement_element,
    write_message,
    write_reasons,
)
from openscr.identifiers import LONDON, addressed_number, hl7_timestamp
from openscr.spine import (
    AckType,
    Consent,
    DissentOverride,
    DocumentListQuery,
    DocumentQuery,
    Event,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    EventStatus,
    MessageIds,
    Outcome,
    Person,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
)
from openscr.transport.xml import escape, outermost, text_of, write_element

PSIS = f"{{{PSIS_NS}}}"
WRAPPERS = {
    EVENT: "eventQueryResponse",
    SUBJECT_ACCESS: "patientQueryResponse",
    SCR_PERMISSIONS: "scraPermissionsQueryResponse",
    **{
        name: "documentQueryResponse" if name in DOCUMENT_RETRIEVALS else "documentListQueryResponse"
        for name in DOCUMENT_QUERIES
    },
}
"""Element around the answer, by request; all others get `EVENT_LIST_WRAPPER`. Spec: 20 §2.4."""
EVENT_LIST_WRAPPER = "eventListQueryResponse"


Query = EventListQuery | EventQuery | SubjectAccessQuery | DocumentListQuery | DocumentQuery | ScrPermissionsQuery
"""What a query asks for."""


UNREADABLE = Outcome(AckType.ERROR, (GENERAL["400"],))
"""What a query is answered whose payload is no XML: over ebXML nobody waits for a fault. Spec: 20 §9.2, 40 §8."""


@dataclass(frozen=True, slots=True)
class HeaderFacts:
    """What the rules compare with the body: the interaction after the first ``/`` of ``wsa:Action``, and the ASIDs."""

    action_interaction: str
    receiver_asid: str
    sender_asid: str

    @property
    def variables(self) -> Variables:
        """The same as rules name it."""
        return {"action": self.action_interaction, "receiver": self.receiver_asid, "sender": self.sender_asid}


@dataclass(frozen=True, slots=True)
class QueryMessage:
    """What was read from a query.

    ``unanswerable`` is the location of the missing message id: without it only a SOAP fault can answer (rule B1).
    ``request`` is there when no finding forbids it. Spec: 20 §9.2, §12.
    """

    wrapper: Wrapper
    nhs_number: str | None
    findings: tuple[Finding, ...] = ()
    unanswerable: str | None = None
    request: Query | None = None

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that the message's own faults decide, or none when it may be processed. Spec: 20 §9.2."""
        if not self.findings or self.unanswerable is not None:
            return None
        issues = dict.fromkeys((GENERAL["400"], *(finding.issue for finding in self.findings)))
        return Outcome(AckType.ERROR, tuple(issues))


def read_query(wrapper: Wrapper, header: HeaderFacts) -> QueryMessage:
    """Read an event list, event or subject access query whose wrapper was read already. Nothing is raised.

    Spec: 20 §5, §12.
    """
    unanswerable = None if wrapper.message_id else f"/SOAP:Envelope/SOAP:Body/hl7:{wrapper.name}/hl7:id"
    findings = QUERY_WRAPPER.judge(wrapper.root, header.variables)
    query = single_query(wrapper)
    if query is None:
        return QueryMessage(wrapper, None, tuple(findings), unanswerable)
    findings += (EVENT_QUERY if wrapper.name == EVENT else EVENT_LIST_QUERY).judge_document(query)
    numbers = queried_numbers(query)
    nhs_number = addressed_number(numbers)
    findings = findings or QUERIED_PATIENT.judge_document(query)
    if findings:
        return QueryMessage(wrapper, nhs_number, tuple(findings), unanswerable)
    ids = MessageIds(wrapper.message_id, wrapper.name)
    override = read_override(query)
    request: EventListQuery | EventQuery | SubjectAccessQuery
    if wrapper.name == EVENT:
        records = [v for e in query.iterfind(f"{HL7}eventRecord") for v in e.iterfind(f"{HL7}value")]
        event_id = next(root for root in attributes_of(records, "root") if root)
        request = EventQuery(ids, numbers[0], event_id.upper(), override)
    elif wrapper.name == SUBJECT_ACCESS:
        request = SubjectAccessQuery(ids, numbers[0], override)
    else:
        request = EventListQuery(ids, numbers[0], override, current_only=wrapper.name == EVENT_LIST_SM)
    return QueryMessage(wrapper, numbers[0], (), None, request)


def single_query(wrapper: Wrapper) -> etree._Element | None:
    """Return the one ``query`` of a message, or none when there is not one, or nothing in it."""
    if wrapper.control_act is None:
        return None
    queries = list(wrapper.control_act.iterchildren(f"{HL7}query"))
    return queries[0] if len(queries) == 1 and child(queries[0], "*") is not None else None


def queried_numbers(query: etree._Element) -> list[str]:
    """Return what stands where the NHS number of a query should be: one, when the message is in order. Spec: 20 §5."""
    holders = query.iterchildren(f"{HL7}nHSNumber")
    values = [v for h in holders for v in h.iterchildren(f"{HL7}value") if v.get("root") == OID_NHS_NUMBER]
    return attributes_of(values, "extension")


def read_override(query: etree._Element) -> DissentOverride:
    """Return the dissent override of a query that breaks no rule. Spec: 20 §6."""
    for holder in query.iterchildren(f"{HL7}dissentOverride"):
        for value in holder.iterchildren(f"{HL7}value"):
            if value.get("codeSystem") == OID_DISSENT_OVERRIDE and (code := value.get("code")):
                return DissentOverride(code, text_of(child(value, f"{HL7}originalText")).strip())
    return DissentOverride()


# --- answers --------------------------------------------------------------------------------------------------------


def wrap(interaction: str, message: bytes, wrapper: str | None) -> bytes:
    """Put the answer to ``interaction`` into its wrapper element, or in ``wrapper`` for who wants another one."""
    name = wrapper or WRAPPERS.get(interaction, EVENT_LIST_WRAPPER)
    return b"".join((f"<{name}>".encode(), message, f"</{name}>".encode()))


def write_query_failed(
    interaction: str, heading: Heading, outcome: Outcome, reference: str, wrapper: str | None = None
) -> bytes:
    """Write ``QUQI_IN010000UK14`` in the wrapper of its request: the refusal of a query. Spec: 20 §8."""
    return wrap(interaction, write_refusal(heading, outcome, reference), wrapper)


def write_refusal(heading: Heading, outcome: Outcome, reference: str, prefix: str = "") -> bytes:
    """Write ``QUQI_IN010000UK14`` alone; ``prefix`` is the namespace declaration where no envelope has it."""
    act = write_reasons(outcome.issues) + query_ack("ID")
    acknowledgement = write_acknowledgement_element(outcome.ack.value, reference)
    return write_message(QUERY_FAILED, heading, act.encode(), acknowledgement=acknowledgement, prefix=prefix)


def query_ack(code: str) -> str:
    """Write what a query came to: ``OK``, ``NF`` or ``ID``. Spec: 20 §3.3."""
    return f'<queryAck type="QueryAck"><queryResponseCode code="{code}"/></queryAck>'


_RECORD_TARGET = (
    f'<psis:recordTarget><psis:patient><psis:id root="{OID_NHS_NUMBER}" extension="{{}}"/></psis:patient>'
    "</psis:recordTarget>"
)
_ASSERTION = (
    "<accessControlAssertion><permission>{value}</permission><resource><type>SCR</type><Id>{number}</Id></resource>"
    "<function><context>Consent</context><code>{code}</code></function><accessor><type>Everyone</type><accessorId>"
    "<name>Everyone</name></accessorId></accessor></accessControlAssertion>"
)


def write_event_facts(event: Event, prefix: str = "psis:") -> str:
    """Write what every list and every answer says of an event, by ``prefix``. Spec: 20 §7.1, §11.2."""
    withdrawing = (
        f'<{prefix}withdrawingEventID root="{escape(event.withdrawing_event_id)}"/>'
        if event.withdrawing_event_id
        else ""
    )
    event_type = escape(event.event_type)
    return (
        f'<{prefix}eventID root="{escape(event.event_id)}"/>{withdrawing}'
        f'<{prefix}payloadID root="{OID_INTERACTION}" extension="{event.payload_id}"/>'
        f'<{prefix}persistenceDate value="{hl7_timestamp(event.stored_at)}"/>'
        f'<{prefix}eventStatus code="{int(event.status)}" codeSystem="{OID_EVENT_STATUS}" '
        f'displayName="{EVENT_STATUSES[event.status]}"/>'
        f'<{prefix}eventType code="{event_type}" codeSystem="{OID_SNOMED}" '
        f'displayName="{DOCUMENT_TYPES.get(event.event_type, "")}"/>'
    )


def write_event_list(
    interaction: str, heading: Heading, answer: EventListOutcome, reference: str, wrapper: str | None = None
) -> bytes:
    """Write the event list, for SM04 with the ``permissions`` block. Spec: 20 §7.1, §7.3."""
    pieces: list[bytes] = [
        b'<subject typeCode="SUBJ"><psis:queryResponseEventList>',
        _RECORD_TARGET.format(answer.nhs_number).encode(),
    ]
    for event in answer.events:
        pieces += (b"<psis:event>", write_event_facts(event).encode())
        if event.author:
            pieces += (b"<psis:author>", event.author, b"</psis:author>")
        pieces.append(b"</psis:event>")
    name = EVENT_LIST_ANSWER
    if interaction == EVENT_LIST_SM:
        name = EVENT_LIST_SM_ANSWER
        assertions = "".join(
            _ASSERTION.format(value=answer.consent.value, number=answer.nhs_number, code=code)
            for code in ("Store", "View")
        )
        pieces.append(
            f'<permissions><resourceContext root="{OID_NHS_NUMBER}" extension="{answer.nhs_number}"/>{assertions}'
            "</permissions>".encode()
        )
    pieces.append(f"</psis:queryResponseEventList></subject>{query_ack('OK')}".encode())
    acknowledgement = write_acknowledgement_element("AA", reference)
    return wrap(interaction, write_message(name, heading, *pieces, acknowledgement=acknowledgement), wrapper)


def write_event(heading: Heading, answer: EventOutcome, reference: str, wrapper: str | None = None) -> bytes:
    """Write the event with its document spliced in as stored. Spec: 20 §7.2."""
    if answer.event is None:
        raise ValueError("an accepted event query has an event")
    before = (
        f'<subject typeCode="SUBJ"><psis:queryResponseEvent>{_RECORD_TARGET.format(answer.nhs_number)}'
        f"<psis:event>{write_event_facts(answer.event)}<psis:hl7Data>"
    )
    after = f"</psis:hl7Data></psis:event></psis:queryResponseEvent></subject>{query_ack('OK')}"
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(
        EVENT_ANSWER, heading, before.encode(), answer.document, after.encode(), acknowledgement=acknowledgement
    )
    return wrap(EVENT, message, wrapper)


def write_record(heading: Heading, answer: SubjectAccessOutcome, reference: str, wrapper: str | None = None) -> bytes:
    """Write every event with its document spliced in as stored. Spec: 20 §7.2."""
    pieces: list[bytes] = [
        b'<subject typeCode="SUBJ"><psis:queryResponsePatient>',
        _RECORD_TARGET.format(answer.nhs_number).encode(),
    ]
    for event, document in answer.events:
        pieces += (
            f"<psis:event>{write_event_facts(event)}<psis:hl7Data>".encode(),
            document,
            b"</psis:hl7Data></psis:event>",
        )
    pieces.append(f"</psis:queryResponsePatient></subject>{query_ack('OK')}".encode())
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(SUBJECT_ACCESS_ANSWER, heading, *pieces, acknowledgement=acknowledgement)
    return wrap(SUBJECT_ACCESS, message, wrapper)


# --- the client's side ----------------------------------------------------------------------------------------------


def write_query(
    heading: Heading, query: EventListQuery | EventQuery | SubjectAccessQuery, person: Person | None
) -> bytes:
    """Write an event list, event or subject access query: parameters in schema order, value before semanticsText.

    Spec: 20 §5.
    """
    text = f"<originalText>{escape(query.override.text)}</originalText>" if query.override.text else ""
    parameters = (
        f'<query><dissentOverride><value code="{escape(query.override.code)}" codeSystem="{OID_DISSENT_OVERRIDE}"'
        f"{f'>{text}</value>' if text else '/>'}<semanticsText>DissentOverride</semanticsText></dissentOverride>"
    )
    if isinstance(query, EventQuery):
        parameters += (
            f'<eventRecord><value root="{escape(query.event_id)}"/><semanticsText>EventRecord</semanticsText>'
            "</eventRecord>"
        )
    parameters += (
        f'<nHSNumber><value root="{OID_NHS_NUMBER}" extension="{escape(query.nhs_number)}"/>'
        "<semanticsText>NHSNumber</semanticsText></nHSNumber></query>"
    )
    return write_message(
        query.ids.interaction, heading, parameters.encode(), person=person, prefix=f' xmlns="{HL7_NS}"'
    )


def read_event(element: etree._Element, namespace: str = PSIS, *, with_author: bool = True) -> Event:
    """Read the facts of one event whose children are in ``namespace`` (Clark notation). Raises: `UnreadableMessage`."""

    def attribute(name: str, key: str) -> str:
        child = element.find(f"{namespace}{name}")
        return (child.get(key) or "") if child is not None else ""

    author = element.find(f"{PSIS}author") if with_author else None
    inner = next(iter(author), None) if author is not None else None
    try:
        status = EventStatus(int(attribute("eventStatus", "code")))
        stored_at = datetime.strptime(attribute("persistenceDate", "value")[:14], "%Y%m%d%H%M%S").replace(tzinfo=LONDON)
    except ValueError:
        raise UnreadableMessage("an event has no readable status or persistence date") from None
    return Event(
        event_id=attribute("eventID", "root"),
        event_type=attribute("eventType", "code"),
        payload_id=attribute("payloadID", "extension"),
        status=status,
        stored_at=stored_at,
        withdrawing_event_id=attribute("withdrawingEventID", "root") or None,
        author=write_element(inner) if inner is not None else b"",
    )


def read_event_list_answer(root: etree._Element, nhs_number: str) -> EventListOutcome:
    """Read a list, a refusal or a "no record": `Outcome` tells which. Raises: `UnreadableMessage`. Spec: 20 §16."""
    outcome, _ = read_outcome(root)
    events = tuple(read_event(e) for e in outermost(root, f"{PSIS}event"))
    return EventListOutcome(outcome, nhs_number, events, read_consent(outermost(root, "{*}accessControlAssertion")))


def read_consent(assertions: Iterable[etree._Element]) -> Consent:
    """Return the one consent that assertions tell of, whatever their namespace: a No in any of them is a dissent.

    Another Spine may hold different values for Store and View; where neither is No, that for View counts. Raises:
    `UnreadableMessage`. Spec: 20 §8, 30 §8.3.
    """
    told: dict[str, Consent] = {}
    for assertion in assertions:
        words = {local_name(e): text_of(e).strip() for e in assertion.iter("*")}
        try:
            told.setdefault(words.get("code", ""), Consent(words.get("permission", "")))
        except ValueError:
            raise UnreadableMessage("unknown permission word") from None
        if words.get("permission") == Consent.NO.value:
            return Consent.NO
    return told.get("View", next(iter(told.values()), Consent.ASK))


def read_event_answer(root: etree._Element, nhs_number: str) -> EventOutcome:
    """Read an event with its document, or a refusal. Raises: `UnreadableMessage`. Spec: 20 §16."""
    outcome, _ = read_outcome(root)
    element = next(root.iter(f"{PSIS}event"), None)
    if element is None:
        return EventOutcome(outcome, nhs_number)
    return EventOutcome(outcome, nhs_number, read_event(element), _read_document(element))


def read_record_answer(root: etree._Element, nhs_number: str) -> SubjectAccessOutcome:
    """Read every event with its document, or a refusal. Raises: `UnreadableMessage`. Spec: 20 §7.2, §16."""
    outcome, _ = read_outcome(root)
    events = outermost(root, f"{PSIS}event")
    return SubjectAccessOutcome(outcome, nhs_number, tuple((read_event(e), _read_document(e)) for e in events))


def _read_document(element: etree._Element) -> bytes:
    data = element.find(f"{PSIS}hl7Data")
    document = next((c for c in data if isinstance(c.tag, str)), None) if data is not None else None
    if document is None:
        raise UnreadableMessage("the event has no document")
    return write_element(document)
