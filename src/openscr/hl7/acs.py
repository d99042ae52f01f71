"""Access Control Service: SET and GET read and judged, answers written, and the client's side of both.

Spec: 30 §3-§6, §10.
"""

from dataclasses import dataclass, replace

from lxml import etree

from openscr.codes import (
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_HAS,
    ACS_SET,
    CRS_NS,
    HL7_NS,
    OID_NHS_NUMBER,
    VERSION_CODE_3,
)
from openscr.errors import GENERAL, SUPERSEDED, WRAPPER_ERRORS, detail_issue
from openscr.hl7.acknowledgement import read_outcome, write_acknowledgement
from openscr.hl7.psis import HeaderFacts, read_consent
from openscr.hl7.rules.consent import (
    ASKED_PATIENT,
    GET_REQUEST,
    HAS_REQUEST,
    PERMISSION_WORD,
    SET_REQUEST,
)
from openscr.hl7.rules.consent_wrapper import CONSENT_WRAPPERS, PAYLOADS
from openscr.hl7.wrapper import (
    Finding,
    Heading,
    Wrapper,
    attributes_of,
    descend,
    local_name,
    write_acknowledgement_element,
    write_message,
    write_reasons,
)
from openscr.identifiers import has_ten_digits
from openscr.spine import (
    AckType,
    AskedPermission,
    Consent,
    ConsentChange,
    ConsentCriteria,
    ConsentOutcome,
    ConsentQuery,
    MessageIds,
    Outcome,
    PermissionQuery,
    Person,
)
from openscr.transport.xml import escape, text_of

CRS = f"{{{CRS_NS}}}"
WRAPPERS = {
    ACS_SET: "setResourcePermissionsResponse",
    ACS_GET: "getResourcePermissionsResponse",
    ACS_HAS: "hasResourcePermissionsResponse",
}
"""Element around the answer, by request. Spec: 40 §4.3."""

_PERMISSION_WORDS = {"Yes": Consent.YES, "No": Consent.NO, "Clear": Consent.ASK, "Ask": Consent.ASK}
"""What the words of a SET mean that no rule forbids: a word of which the rules know nothing is a mistake of ours."""


@dataclass(frozen=True, slots=True)
class ConsentMessage:
    """What was read from a SET, a GET or a HAS.

    ``rejected`` are findings of the wrapper (AR), ``findings`` those of the payload (AE); the second group is looked at
    only when the first is empty. ``request`` is there when neither has any. Spec: 30 §9.2.
    """

    wrapper: Wrapper
    nhs_number: str | None
    rejected: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    request: ConsentChange | ConsentQuery | PermissionQuery | None = None

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that the message's own faults decide, or none when it may be processed. Spec: 30 §6.1, §7.3."""
        if self.rejected:
            issues = dict.fromkeys((WRAPPER_ERRORS["202"], GENERAL["400"], *(f.issue for f in self.rejected)))
            return Outcome(AckType.REJECTED, tuple(issues))
        if self.findings:
            return Outcome(AckType.ERROR, tuple(dict.fromkeys((GENERAL["400"], *(f.issue for f in self.findings)))))
        return None


UNREADABLE = Outcome(
    AckType.REJECTED,
    (WRAPPER_ERRORS["202"], GENERAL["400"], detail_issue("99720", key="HL7_VALIDATION_ERROR")),
)
"""Outcome of an ebXML payload that is not well-formed XML; an AR of ACS always has reasons. Spec: 10 §14, 30 §6.1."""


def check_acs_wrapper(wrapper: Wrapper, interaction: str, header: HeaderFacts | None) -> list[Finding]:
    """Judge the wrapper by rules 9-21; ``header`` is none over ebXML, and a SET is not compared with one. 30 §3."""
    rules = CONSENT_WRAPPERS[interaction, header is not None]
    return rules.judge(wrapper.root, header.variables if header is not None else {"interaction": interaction})


def payload_of(wrapper: Wrapper, interaction: str) -> etree._Element | None:
    """Return the single non-empty payload element, or none."""
    if wrapper.control_act is None:
        return None
    found = wrapper.control_act.findall(f"{CRS}{PAYLOADS[interaction]}")
    return found[0] if len(found) == 1 and len(found[0]) else None


def steps(path: str) -> tuple[str, ...]:
    """Return the tags of a path through elements of the Access Control Service."""
    return tuple([CRS + name for name in path.split("/")])


def word_at(element: etree._Element, path: str) -> str:
    """Return what the first element at a path says, as the rules read it: whatever comments stand in it or around it.

    Rules and readers must see the same word: a dissent that one of them overlooks would be lost.
    """
    found = descend(element, *steps(path))
    return " ".join(text_of(found[0]).split()) if found else ""


def read_consent_message(
    wrapper: Wrapper, interaction: str, header: HeaderFacts | None = None, *, accept_ask: bool = False
) -> ConsentMessage:
    """Read a SET or GET whose wrapper was read already. Nothing is raised.

    ``header`` is none for a SET over ebXML. ``accept_ask`` takes ``Ask`` in a SET for ``Clear``. Spec: 30 §5, §9.2.
    """
    judged = judge_consent_message(wrapper, interaction, header, accept_ask=accept_ask)
    payload = payload_of(wrapper, interaction)
    if judged.rejected or judged.findings or payload is None:
        return judged
    ids, number = MessageIds(wrapper.message_id, interaction), stated_number(payload, interaction)
    if interaction == ACS_SET:
        word = word_at(payload, "permissions/accessControlAssertion/permission")
        return replace(judged, request=ConsentChange(ids, number, _PERMISSION_WORDS[word]))
    return replace(judged, request=ConsentQuery(ids, number, _criteria(payload)))


def judge_consent_message(
    wrapper: Wrapper, interaction: str, header: HeaderFacts | None, *, accept_ask: bool = False
) -> ConsentMessage:
    """Judge a SET, GET or HAS by all its rules: the wrapper's and, when they are kept, the payload's. Spec: 30 §9.2."""
    payload = payload_of(wrapper, interaction)
    number = stated_number(payload, interaction)
    nhs_number = number if has_ten_digits(number) else None
    rejected = check_acs_wrapper(wrapper, interaction, header)
    if rejected or payload is None:
        return ConsentMessage(wrapper, nhs_number, tuple(rejected))
    findings = _judge_payload(payload, interaction, number, accept_ask=accept_ask)
    return ConsentMessage(wrapper, nhs_number, (), tuple(findings))


def stated_number(payload: etree._Element | None, interaction: str) -> str:
    """Return the first NHS number that a payload names, whatever it looks like; empty when there is none."""
    if payload is None:
        return ""
    body = "permissions" if interaction == ACS_SET else "accessControlQuery"
    return next(iter(attributes_of(descend(payload, *steps(f"{body}/resourceContext")), "extension")), "")


def _judge_payload(
    payload: etree._Element, interaction: str, number: str, *, accept_ask: bool = False
) -> list[Finding]:
    """Judge a payload by its rules and, when it breaks none, by what business logic looks at. Spec: 30 §5, §9.2."""
    variables = {"number": number, "context": "", "ask": "Clear" if accept_ask else ""}
    if interaction == ACS_SET:
        return SET_REQUEST.judge_document(payload, variables) or PERMISSION_WORD.judge_document(payload, variables)
    variables["context"] = word_at(payload, "accessControlQuery/queryCriteria/function/context")
    request = GET_REQUEST if interaction == ACS_GET else HAS_REQUEST
    return request.judge_document(payload, variables) or ASKED_PATIENT[interaction].judge_document(payload)


def _criteria(payload: etree._Element) -> ConsentCriteria:
    """Read ``queryCriteria`` as a filter: no code means View and Store, a type other than SCR nothing.

    What is not said filters nothing: an answer without assertions would read as if no dissent were stored. 30 §5.2.
    """
    criteria = descend(payload, *steps("accessControlQuery/queryCriteria"))
    if not criteria:
        return ConsentCriteria()
    code = word_at(criteria[0], "function/code")
    consent = word_at(criteria[0], "function/context") in ("", "Consent")
    types = [word_at(resource, "type") for resource in criteria[0].iterchildren(f"{CRS}resource")]
    return ConsentCriteria((code,) if code else ("Store", "View"), consent and (not types or "SCR" in types))


# --- answers --------------------------------------------------------------------------------------------------------


def write_assertion(word: str, number: str, asked: AskedPermission) -> str:
    """Write an assertion: the permission word, what it is for, and who has it. Spec: 30 §4.1."""
    return (
        f"<crs:accessControlAssertion><crs:permission>{word}</crs:permission>{write_asked(number, asked)}"
        "</crs:accessControlAssertion>"
    )


def write_asked(number: str, asked: AskedPermission) -> str:
    """Write resource, function and accessor, which an assertion and a question have alike. Spec: 30 §4.1, §4.3 D1."""
    accessor = asked.accessor
    identity = f"<crs:name>{escape(accessor.name)}</crs:name>"
    if accessor.root:
        identity = f'<crs:id root="{escape(accessor.root)}" extension="{escape(accessor.extension)}"/>'
    return (
        f"<crs:resource><crs:type>{escape(asked.resource_type)}</crs:type>"
        f"<crs:Id>{escape(asked.resource_id or number)}</crs:Id></crs:resource>"
        f"<crs:function><crs:context>{escape(asked.context)}</crs:context><crs:code>{escape(asked.code)}</crs:code>"
        f"</crs:function><crs:accessor><crs:type>{escape(accessor.type)}</crs:type>"
        f"<crs:accessorId>{identity}</crs:accessorId></crs:accessor>"
    )


def write_context(number: str) -> str:
    """Write whose permissions are spoken of. Spec: 30 §4.1."""
    return f'<crs:resourceContext root="{OID_NHS_NUMBER}" extension="{escape(number)}"/>'


def write_permissions(payload: str, number: str, assertions: str, *, superseded: bool, namespace: bool) -> str:
    """Write what the control act of a GET or HAS answer holds: a warning, the permissions, and the query's end.

    ``payload`` is the name of the payload element; without ``namespace`` it is in none, as the messages of the national
    test harness are. Spec: 30 §4.3 D3, §6.1.
    """
    body = f"<crs:{payload}><crs:permissions>{write_context(number)}{assertions}</crs:permissions></crs:{payload}>"
    if not namespace:
        # These are tags and nothing else: a value has been escaped, and holds no "<".
        body = body.replace("</crs:", "</").replace("<crs:", "<").replace(f"<{payload}>", f'<{payload} xmlns="">', 1)
    warnings = write_reasons((SUPERSEDED,)) if superseded else ""
    return (
        f'{warnings}<subject typeCode="SUBJ">{body}</subject>'
        '<queryAck type="QueryAck"><queryResponseCode code="OK"/></queryAck>'
    )


def wrap(interaction: str, message: bytes, wrapper: str | None = None) -> bytes:
    """Put an answer into the wrapper element of its request. Spec: 40 §4.3."""
    name = wrapper or WRAPPERS[interaction]
    return b"".join((f"<{name}>".encode(), message, f"</{name}>".encode()))


def write_outcome(
    interaction: str, heading: Heading, outcome: Outcome, reference: str, wrapper: str | None = None
) -> bytes:
    """Write the acknowledgement of a SET, or the refusal of any ACS request, wrapped for SOAP. Spec: 30 §6.1."""
    return wrap(interaction, write_acknowledgement(heading, outcome, reference, interaction, enveloped=True), wrapper)


def write_get_answer(
    heading: Heading,
    answer: ConsentOutcome,
    criteria: ConsentCriteria,
    reference: str,
    wrapper: str | None = None,
    *,
    namespace: bool = True,
) -> bytes:
    """Write the stored consent, Ask left out; ``namespace`` as `write_permissions`. Spec: 30 §4.2, §6.1."""
    codes = criteria.codes if criteria.scr_wanted and answer.consent is not Consent.ASK else ()
    assertions = "".join(
        write_assertion(answer.consent.value, answer.nhs_number, AskedPermission(code))
        for code in ("Store", "View")
        if code in codes
    )
    act = write_permissions(
        WRAPPERS[ACS_GET], answer.nhs_number, assertions, superseded=answer.superseded, namespace=namespace
    )
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(ACS_GET_ANSWER, heading, act.encode(), acknowledgement=acknowledgement)
    return wrap(ACS_GET, message, wrapper)


# --- the client's side ----------------------------------------------------------------------------------------------

NAMESPACES = f' xmlns="{HL7_NS}" xmlns:crs="{CRS_NS}"'
VERSION_OF_REQUEST = VERSION_CODE_3
"""``versionCode`` of ACS requests. Spec: 30 §3."""


def write_set(heading: Heading, change: ConsentChange, person: Person | None) -> bytes:
    """Write a SET with a Store and a View assertion of the same value. Spec: 30 §4."""
    word = "Clear" if change.value is Consent.ASK else change.value.value
    assertions = "".join(write_assertion(word, change.nhs_number, AskedPermission(code)) for code in ("Store", "View"))
    payload = (
        f"<crs:setResourcePermissionsRequest><crs:permissions>{write_context(change.nhs_number)}{assertions}"
        "</crs:permissions></crs:setResourcePermissionsRequest>"
    )
    return write_message(ACS_SET, heading, payload.encode(), person=person, prefix=NAMESPACES)


def write_get(heading: Heading, query: ConsentQuery, person: Person | None) -> bytes:
    """Write a GET without criteria. Spec: 30 §4."""
    payload = (
        f"<crs:getResourcePermissionsRequest><crs:accessControlQuery>{write_context(query.nhs_number)}"
        "</crs:accessControlQuery></crs:getResourcePermissionsRequest>"
    )
    return write_message(ACS_GET, heading, payload.encode(), person=person, prefix=NAMESPACES)


def read_get_answer(root: etree._Element, nhs_number: str) -> ConsentOutcome:
    """Read the answer to a GET, whatever namespace its payload is in. Raises: `UnreadableMessage`. Spec: 30 §4.3."""
    outcome, _ = read_outcome(root)
    consent = read_consent(e for e in root.iter("*") if local_name(e) == "accessControlAssertion")
    superseded = any(issue.code == SUPERSEDED.code for issue in outcome.issues)
    return ConsentOutcome(outcome, nhs_number, consent, superseded)
