"""What an SCR application asks and is told: `HAS_SCRA_PERMISSIONS_INSM01` both ways, and the extended event list.

There is no schema of these; what stands here is what Spine's rules and readers of them look at.

Spec: 20 §11; 30 §5.4.
"""

from typing import Final

from lxml import etree

from openscr.codes import (
    EXTENDED_LIST_ANSWER,
    OID_ASID,
    OID_JOB_ROLE,
    OID_NHS_NUMBER,
    OID_ORGANISATION_12,
    OID_ROLE_PROFILE,
    OID_USER,
    SCR_PERMISSIONS,
)
from openscr.errors import UnreadableMessage
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.psis import (
    PSIS,
    HeaderFacts,
    QueryMessage,
    queried_numbers,
    query_ack,
    read_event,
    single_query,
    wrap,
    write_event_facts,
)
from openscr.hl7.rules.queries import QUERIED_PATIENT
from openscr.hl7.rules.scr_application import PERMISSIONS_QUERY, PERMISSIONS_WRAPPER
from openscr.hl7.wrapper import (
    HL7,
    NAMESPACE,
    Heading,
    Wrapper,
    attributes_of,
    child,
    descend,
    extensions,
    write_acknowledgement_element,
    write_message,
)
from openscr.identifiers import addressed_number
from openscr.spine import (
    Consent,
    EventAuthor,
    ExtendedListOutcome,
    LegitimateRelationship,
    ListedEvent,
    MessageIds,
    PermissionToView,
    Person,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
)
from openscr.transport.xml import escape, outermost, text_of

EXTENDED_WRAPPER: Final = "extendedQueryResponse"
"""Element around the extended event list. Spec: 20 §2.4."""

_AUTHOR = f"{HL7}author"
_SUBJECT = f"{HL7}subject"
_PERSON = f"{HL7}AgentPersonSDS"
_WORKGROUP = f"{HL7}AgentWorkgroupSDS"
_ID = f"{HL7}id"


# --- the request ----------------------------------------------------------------------------------------------------


def read_permissions_query(wrapper: Wrapper, header: HeaderFacts) -> QueryMessage:
    """Read the question of an SCR application. Nothing is raised. Spec: 20 §11.1, 30 §5.4."""
    unanswerable = None if wrapper.message_id else f"/SOAP:Envelope/SOAP:Body/hl7:{wrapper.name}/hl7:id"
    findings = PERMISSIONS_WRAPPER.judge(wrapper.root, header.variables)
    query = single_query(wrapper)
    if query is None:
        return QueryMessage(wrapper, None, tuple(findings), unanswerable)
    findings += PERMISSIONS_QUERY.judge_document(query)
    numbers = queried_numbers(query)
    known = addressed_number(numbers)
    findings = findings or QUERIED_PATIENT.judge_document(query)
    if findings:
        return QueryMessage(wrapper, known, tuple(findings), unanswerable)
    persons = descend(query, _SUBJECT, _PERSON)
    request = ScrPermissionsQuery(
        MessageIds(wrapper.message_id, SCR_PERMISSIONS),
        numbers[0],
        _identified(descend(query, _AUTHOR, _PERSON), OID_ROLE_PROFILE),
        _identified(persons, OID_ROLE_PROFILE),
        tuple(attributes_of([group for each in persons for group in each.iterchildren(f"{HL7}workgroups")], "id")),
        _identified(descend(query, _SUBJECT, _WORKGROUP), OID_ORGANISATION_12),
    )
    return QueryMessage(wrapper, known, (), None, request)


def _identified(agents: list[etree._Element], root: str) -> str:
    return next((extension for agent in agents for extension in extensions(agent, _ID, root)), "")


def write_permissions_query(heading: Heading, query: ScrPermissionsQuery, person: Person | None) -> bytes:
    """Write the question of an SCR application. Spec: 20 §11.1."""
    if query.workgroup:
        subject = (
            f'<AgentWorkgroupSDS classCode="AGNT"><id root="{OID_ORGANISATION_12}" '
            f'extension="{escape(query.workgroup)}"/></AgentWorkgroupSDS>'
        )
    else:
        groups = "".join(f'<workgroups id="{escape(group)}"/>' for group in query.workgroups)
        subject = _write_agent(query.role_profile, groups)
    written = (
        f'<query><author typeCode="AUT">{_write_agent(query.asker)}</author><subject>{subject}</subject>'
        f'<nHSNumber><value root="{OID_NHS_NUMBER}" extension="{escape(query.nhs_number)}"/>'
        "<semanticsText>NHSNumber</semanticsText></nHSNumber></query>"
    )
    return write_message(SCR_PERMISSIONS, heading, written.encode(), person=person, prefix=NAMESPACE)


def _write_agent(role_profile: str, rest: str = "") -> str:
    return (
        f'<AgentPersonSDS classCode="AGNT"><id root="{OID_ROLE_PROFILE}" extension="{escape(role_profile)}"/>{rest}'
        "</AgentPersonSDS>"
    )


# --- the answers ----------------------------------------------------------------------------------------------------


def _truth(value: bool) -> str:
    return "true" if value else "false"


def _attributes(**values: str | bool) -> str:
    return "".join(
        f' {name}="{_truth(value) if isinstance(value, bool) else escape(value)}"' for name, value in values.items()
    )


def write_permissions(
    heading: Heading, answer: ScrPermissionsOutcome, reference: str, wrapper: str | None = None
) -> bytes:
    """Write what an SCR application is told. Spec: 20 §11.2, 30 §5.4."""
    events = "".join(
        f"<event>{write_event_facts(each.event, '')}{_write_person(each.author)}</event>" for each in answer.events
    )
    permission, relationship = answer.permission, answer.relationship
    stands = _attributes(
        exists=permission.exists,
        claimed=permission.claimed,
        referred=permission.referred,
        start=permission.start,
        end=permission.end,
        author=permission.author,
        assessorID=permission.assessor_id,
        assessorGR=permission.assessor_group,
    )
    involved = _attributes(
        exists=relationship.exists,
        claimed=relationship.claimed,
        referred=relationship.referred,
        start=relationship.start,
        end=relationship.end,
        reason=relationship.reason,
        staff=relationship.staff,
    )
    act = (
        f'<subject typeCode="SUBJ"><hasSCRaPermissionsResponse>{events}'
        f'<consent><values type="Store" value="{answer.store.value}"/><values type="View" value="{answer.view.value}"/>'
        f"</consent><permissionToView{stands}/><legitimateRelationships{involved}/>"
        f'<hasActiveCPO value="{_truth(answer.protection_order)}"/></hasSCRaPermissionsResponse></subject>'
        f"{query_ack('OK')}"
    )
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(SCR_PERMISSIONS, heading, act.encode(), acknowledgement=acknowledgement)
    return wrap(SCR_PERMISSIONS, message, wrapper)


def _write_person(author: EventAuthor) -> str:
    name = f"<name><family>{escape(author.family_name)}</family></name>" if author.family_name else ""
    return (
        f'<author><time value="{escape(author.time)}"/><AgentPersonSDS classCode="AGNT">'
        f'<id root="{OID_ROLE_PROFILE}" extension="{escape(author.role_profile_id)}"/>'
        '<agentPersonSDS classCode="PSN" determinerCode="INSTANCE">'
        f'<id root="{OID_USER}" extension="{escape(author.user_id)}"/>{name}</agentPersonSDS></AgentPersonSDS></author>'
    )


def write_extended_list(heading: Heading, answer: ExtendedListOutcome, reference: str) -> bytes:
    """Write the extended event list in its wrapper; the envelope declares ``psis``. Spec: 20 §11.3."""
    events = "".join(
        f"<psis:event>{write_event_facts(each.event)}{_write_identity(each.author)}</psis:event>"
        for each in answer.events
    )
    act = (
        '<subject typeCode="SUBJ"><psis:extendedQueryResponse><psis:recordTarget><psis:patient>'
        f'<psis:id root="{OID_NHS_NUMBER}" extension="{escape(answer.nhs_number)}"/></psis:patient></psis:recordTarget>'
        f'{events}<psis:hasActiveCPO value="{_truth(answer.protection_order)}"/></psis:extendedQueryResponse></subject>'
        f"{query_ack('OK')}"
    )
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(EXTENDED_LIST_ANSWER, heading, act.encode(), acknowledgement=acknowledgement)
    return wrap(EXTENDED_LIST_ANSWER, message, EXTENDED_WRAPPER)


def _write_identity(author: EventAuthor) -> str:
    """Write ``psis:author``: the person as far as one is known, and the system that sent the event."""
    person = system = ""
    if author.role_profile_id or author.user_id:
        role = ""
        if author.job_role:
            role = (
                f'<psis:partSDSRole><psis:id root="{OID_JOB_ROLE}" extension="{escape(author.job_role)}"/>'
                "</psis:partSDSRole>"
            )
        person = (
            f'<psis:AgentPersonSDS><psis:id root="{OID_ROLE_PROFILE}" extension="{escape(author.role_profile_id)}"/>'
            f'<psis:agentPersonSDS><psis:id root="{OID_USER}" extension="{escape(author.user_id)}"/>'
            f"</psis:agentPersonSDS>{role}</psis:AgentPersonSDS>"
        )
    if author.asid:
        system = (
            '<UKCT_MT160018UK01.AgentSystemSDS classCode="AGNT"><agentSystemSDS classCode="DEV" '
            f'determinerCode="INSTANCE"><id root="{OID_ASID}" extension="{escape(author.asid)}"/></agentSystemSDS>'
            "</UKCT_MT160018UK01.AgentSystemSDS>"
        )
    if not person and not system:
        return ""
    return f'<psis:author><psis:time value="{escape(author.time)}"/>{person}{system}</psis:author>'


# --- the client's side of the answers -------------------------------------------------------------------------------


def read_permissions_answer(root: etree._Element, nhs_number: str) -> ScrPermissionsOutcome:
    """Read what an SCR application is told, or a refusal. Raises: `UnreadableMessage`. Spec: 20 §11.2."""
    outcome, _ = read_outcome(root)
    told = root.find(f"{HL7}ControlActEvent/{HL7}subject/{HL7}hasSCRaPermissionsResponse")
    if told is None:
        return ScrPermissionsOutcome(outcome, nhs_number)
    words = {each.get("type"): each.get("value") for each in descend(told, f"{HL7}consent", f"{HL7}values")}
    try:
        store, view = Consent(words.get("Store") or "Ask"), Consent(words.get("View") or "Ask")
    except ValueError:
        raise UnreadableMessage("unknown permission word") from None
    ptv, relationship = child(told, f"{HL7}permissionToView"), child(told, f"{HL7}legitimateRelationships")
    return ScrPermissionsOutcome(
        outcome,
        nhs_number,
        tuple(
            ListedEvent(read_event(e, HL7, with_author=False), _read_person(child(e, _AUTHOR)))
            for e in told.iterchildren(f"{HL7}event")
        ),
        store,
        view,
        PermissionToView(
            exists=_is_true(ptv, "exists"),
            claimed=_is_true(ptv, "claimed"),
            referred=_is_true(ptv, "referred"),
            start=_said(ptv, "start"),
            end=_said(ptv, "end"),
            author=_said(ptv, "author"),
            assessor_id=_said(ptv, "assessorID"),
            assessor_group=_said(ptv, "assessorGR"),
        ),
        LegitimateRelationship(
            exists=_is_true(relationship, "exists"),
            claimed=_is_true(relationship, "claimed"),
            referred=_is_true(relationship, "referred"),
            start=_said(relationship, "start"),
            end=_said(relationship, "end"),
            reason=_said(relationship, "reason"),
            staff=_said(relationship, "staff"),
        ),
        _is_true(child(told, f"{HL7}hasActiveCPO"), "value"),
    )


def read_extended_list(root: etree._Element, nhs_number: str) -> ExtendedListOutcome:
    """Read the extended event list, or a refusal. Raises: `UnreadableMessage`. Spec: 20 §11.3."""
    outcome, _ = read_outcome(root)
    told = next(root.iter(f"{PSIS}extendedQueryResponse"), None)
    if told is None:
        return ExtendedListOutcome(outcome, nhs_number)
    events = tuple(
        ListedEvent(read_event(each, PSIS, with_author=False), _read_identity(child(each, f"{PSIS}author")))
        for each in outermost(told, f"{PSIS}event")
    )
    return ExtendedListOutcome(outcome, nhs_number, events, _is_true(child(told, f"{PSIS}hasActiveCPO"), "value"))


def _read_person(author: etree._Element | None) -> EventAuthor:
    if author is None:
        return EventAuthor()
    person = f"{HL7}agentPersonSDS"
    return EventAuthor(
        time=_said(child(author, f"{HL7}time"), "value"),
        user_id=_extension(author, _PERSON, person, _ID),
        role_profile_id=_extension(author, _PERSON, _ID),
        family_name=text_of(author.find(f"{_PERSON}/{person}/{HL7}name/{HL7}family")),
    )


def _read_identity(author: etree._Element | None) -> EventAuthor:
    if author is None:
        return EventAuthor()
    agent, person = f"{PSIS}AgentPersonSDS", f"{PSIS}agentPersonSDS"
    system = (f"{HL7}UKCT_MT160018UK01.AgentSystemSDS", f"{HL7}agentSystemSDS", _ID)
    return EventAuthor(
        time=_said(child(author, f"{PSIS}time"), "value"),
        user_id=_extension(author, agent, person, f"{PSIS}id"),
        role_profile_id=_extension(author, agent, f"{PSIS}id"),
        job_role=_extension(author, agent, f"{PSIS}partSDSRole", f"{PSIS}id"),
        asid=_extension(author, *system),
    )


def _extension(element: etree._Element, *path: str) -> str:
    return next((stated for each in descend(element, *path) if (stated := each.get("extension"))), "")


def _said(element: etree._Element | None, name: str) -> str:
    return (element.get(name) or "") if element is not None else ""


def _is_true(element: etree._Element | None, name: str) -> bool:
    return _said(element, name) in ("true", "1")
