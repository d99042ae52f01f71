"""Access Control Service: SET and GET read and judged, answers written, and the client's side of both.

Spec: 30 §3-§6, §10.
"""

from dataclasses import dataclass

from lxml import etree

from openscr.codes import (
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_HAS,
    ACS_SET,
    CRS_NS,
    HL7_NS,
    OID_ASID,
    OID_NHS_NUMBER,
    VERSION_CODE_3,
)
from openscr.errors import GENERAL, SUPERSEDED, WRAPPER_ERRORS, UnreadableMessage, detail_issue
from openscr.hl7.acknowledgement import read_outcome, write_acknowledgement
from openscr.hl7.psis import HeaderFacts
from openscr.hl7.wrapper import (
    HL7,
    Finding,
    Heading,
    Wrapper,
    attributes_of,
    count_person_ids,
    descend,
    local_name,
    nearest,
    system_ids,
    write_acknowledgement_element,
    write_message,
    write_reasons,
)
from openscr.identifiers import has_ten_digits, is_nhs_number
from openscr.spine import (
    AckType,
    Consent,
    ConsentChange,
    ConsentCriteria,
    ConsentOutcome,
    ConsentQuery,
    MessageIds,
    Outcome,
    Person,
)
from openscr.transport.xml import escape

CRS = f"{{{CRS_NS}}}"
WRAPPERS = {ACS_SET: "setResourcePermissionsResponse", ACS_GET: "getResourcePermissionsResponse"}
"""Element around the answer, by request. Spec: 40 §4.3."""

_PAYLOADS = {
    ACS_SET: "setResourcePermissionsRequest",
    ACS_GET: "getResourcePermissionsRequest",
    ACS_HAS: "hasResourcePermissionsRequest",
}
_K = "ErrorBase1712."
_W = "ErrorBase1732."
_ASSERTION_PARAMETER_KEYS = {
    "MANDATORY_DATA_MISSING": "99701",
    "INVALID_ACA_CARDINALITY": "99702",
    "INVALID_COMBINATION_FC_RC_RI": "99703",
    "INVALID_FUNCTION_CONTEXT": "99705",
    "INVALID_FUNCTION_CODE": "99706",
    "INVALID_ACCESSOR_TYPE": "99707",
    "MISSING_PERMISSIONS_IN_SET": "99708",
    "ACCESSOR_ID_EMPTY": "99709",
    "FUNCTION_CONTEXT_EMPTY": "99710",
    "ACR_CANNOT_BE_USED_AS_LRTYPE": "99711",
    "RESOURCE_TYPE_EMPTY": "99712",
    "RESOURCE_ID_EMPTY": "99713",
}
_PERMISSION_WORDS = {"Yes": Consent.YES, "No": Consent.NO, "Clear": Consent.ASK}


@dataclass(frozen=True, slots=True)
class ConsentMessage:
    """What was read from a SET or GET.

    ``rejected`` are findings of the wrapper (AR), ``findings`` those of the payload (AE); the second group is looked at
    only when the first is empty. ``request`` is there when neither has any. Spec: 30 §9.2.
    """

    wrapper: Wrapper
    nhs_number: str | None
    rejected: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    request: ConsentChange | ConsentQuery | None = None

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


_ID = f"{HL7}id"
_ACT = f"{HL7}ControlActEvent"
_DEVICE_ID = (f"{HL7}device", _ID)
_SYSTEM_ID = (f"{HL7}AgentSystemSDS", f"{HL7}agentSystemSDS", _ID)


def _wrapper_finding(number: int, key: str, place: etree._Element) -> Finding:
    return Finding(f"soap-{number}", _W + key, "", detail_issue("99720", key=key), place)


def check_acs_wrapper(wrapper: Wrapper, interaction: str, header: HeaderFacts | None) -> list[Finding]:
    """Rules 9-21 of the wrapper. SET is not compared with the SOAP header; ``header`` is none over ebXML. 30 §3."""
    found = check_wrapper_head(wrapper)
    if _payload(wrapper, interaction) is None:
        place = nearest(wrapper.root, _ACT, f"{CRS}{_PAYLOADS[interaction]}")
        found.append(_wrapper_finding(15, "CONTROL_ACT_QUERY_INVALID", place))
    if header is None:
        found += check_wrapper_alone(wrapper, interaction)
    elif interaction != ACS_SET:
        if not wrapper.interaction == wrapper.name == header.action_interaction:
            found.append(_wrapper_finding(16, "INCONSISTENT_HL7_INTERACTION_ID", _place_of_interaction(wrapper)))
        if not wrapper.receiver_asid or wrapper.receiver_asid != header.receiver_asid:
            found.append(_wrapper_finding(17, "INCONSISTENT_COMM_FUNC_RCV", _place_of_function(wrapper, "Rcv")))
        if not wrapper.sender_asid or wrapper.sender_asid != header.sender_asid:
            found.append(_wrapper_finding(18, "INCONSISTENT_COMM_FUNC_SND", _place_of_function(wrapper, "Snd")))
    return found + check_participants(wrapper)


def check_wrapper_head(wrapper: Wrapper) -> list[Finding]:
    """Rules 9-14, which look at the wrapper of every interaction in the same way. Spec: 40 §4.2."""
    root = wrapper.root
    found: list[Finding] = []
    if not wrapper.message_id:
        found.append(_wrapper_finding(9, "INVALID_ID", nearest(root, _ID)))
    if not wrapper.creation_time:
        found.append(_wrapper_finding(10, "INVALID_CREATION_TIME", nearest(root, f"{HL7}creationTime")))
    if not wrapper.version_code:
        found.append(_wrapper_finding(11, "INVALID_VERSION_CODE", nearest(root, f"{HL7}versionCode")))
    if wrapper.control_acts != 1:
        found.append(_wrapper_finding(12, "INVALID_CONTROL_ACT", nearest(root, _ACT)))
    if len(wrapper.authors) > 1:
        found.append(_wrapper_finding(13, "CONTROL_ACT_AUTHOR_INVALID", wrapper.authors[-1]))
    if not 1 <= len(wrapper.systems) <= 2:
        place = nearest(root, _ACT, f"{HL7}author1")
        found.append(_wrapper_finding(14, "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY", place))
    return found


def check_wrapper_alone(wrapper: Wrapper, interaction: str) -> list[Finding]:
    """Rules 16-18 where no header is there to compare with: the ids are there, the root is the interaction's.

    Spec: 40 §5.6.
    """
    found: list[Finding] = []
    if not wrapper.name == wrapper.interaction == interaction:
        found.append(_wrapper_finding(16, "INCONSISTENT_HL7_INTERACTION_ID", _place_of_interaction(wrapper)))
    if not wrapper.receiver_asid:
        found.append(_wrapper_finding(17, "INVALID_COMM_FUNC_RCV", _place_of_function(wrapper, "Rcv")))
    if not wrapper.sender_asid:
        found.append(_wrapper_finding(18, "INVALID_COMM_FUNC_SND", _place_of_function(wrapper, "Snd")))
    return found


def check_participants(wrapper: Wrapper) -> list[Finding]:
    """Rules 19-21: who is the author, and which systems. Spec: 40 §4.2."""
    found: list[Finding] = []
    if wrapper.authors:
        person = wrapper.person or Person("", "", "")
        complete = person.role_profile_id and person.user_id and person.job_role
        if not complete or any(count != 1 for count in count_person_ids(wrapper.authors[0])):
            found.append(_wrapper_finding(19, "CONTROL_ACT_AUTHOR_INVALID", wrapper.authors[0]))
    if wrapper.systems and not any(
        i.get("root") == OID_ASID and i.get("extension") for i in system_ids(wrapper.systems[0])
    ):
        place = nearest(wrapper.systems[0], *_SYSTEM_ID)
        found.append(_wrapper_finding(20, "CONTROL_ACT_AUTHOR_AGENT_INVALID", place))
    if len(wrapper.systems) == 2:
        second = system_ids(wrapper.systems[1])
        if len(second) != 1 or not second[0].get("root") or not second[0].get("extension"):
            place = nearest(wrapper.systems[1], *_SYSTEM_ID)
            found.append(_wrapper_finding(21, "CONTROL_ACT_AUTHOR_AGENT2_INVALID", place))
    return found


def _place_of_interaction(wrapper: Wrapper) -> etree._Element:
    return nearest(wrapper.root, f"{HL7}interactionId")


def _place_of_function(wrapper: Wrapper, direction: str) -> etree._Element:
    return nearest(wrapper.root, f"{HL7}communicationFunction{direction}", *_DEVICE_ID)


def _payload(wrapper: Wrapper, interaction: str) -> etree._Element | None:
    """Return the single non-empty payload element, or none."""
    if wrapper.control_act is None:
        return None
    found = wrapper.control_act.findall(f"{CRS}{_PAYLOADS[interaction]}")
    return found[0] if len(found) == 1 and len(found[0]) else None


def _text(element: etree._Element | None, path: str) -> str:
    if element is None:
        return ""
    return (element.findtext("/".join(CRS + name for name in path.split("/"))) or "").strip()


def _finding(rule: str, key: str, place: etree._Element, parameter: str = "") -> Finding:
    issue = detail_issue(_ASSERTION_PARAMETER_KEYS[key], parameter=parameter)
    return Finding(f"acs-{rule}", _K + key, parameter, issue, place)


def _context_finding(rule: str, key: str, place: etree._Element, parameter: str = "") -> Finding:
    return Finding(f"acs-{rule}", _K + key, parameter, detail_issue("35506"), place)


def _at(element: etree._Element, path: str) -> etree._Element:
    return nearest(element, *(CRS + name for name in path.split("/")))


def read_consent_message(
    wrapper: Wrapper, interaction: str, header: HeaderFacts | None = None, *, accept_ask: bool = False
) -> ConsentMessage:
    """Read a SET or GET whose wrapper was read already. Nothing is raised.

    ``header`` is none for a SET over ebXML. ``accept_ask`` takes ``Ask`` in a SET for ``Clear``. Spec: 30 §5, §9.2.
    """
    payload = _payload(wrapper, interaction)
    path = f"{CRS}permissions" if interaction == ACS_SET else f"{CRS}accessControlQuery"
    body = payload.find(path) if payload is not None else None
    contexts = body.findall(f"{CRS}resourceContext") if body is not None else []
    number = next(iter(attributes_of(contexts, "extension")), "")
    nhs_number = number if has_ten_digits(number) else None
    rejected = check_acs_wrapper(wrapper, interaction, header)
    if rejected:
        return ConsentMessage(wrapper, nhs_number, tuple(rejected))
    # What is missing is missing there.
    within = next((each for each in (body, payload) if each is not None), wrapper.root)
    ids = MessageIds(wrapper.message_id, interaction)
    request: ConsentChange | ConsentQuery | None
    if interaction == ACS_SET:
        findings, value = _check_set(wrapper, within, body, contexts, number, accept_ask=accept_ask)
        request = ConsentChange(ids, number, value) if value is not None else None
    else:
        findings = _check_get(within, body, contexts, number)
        request = ConsentQuery(ids, number, _criteria(body))
    if not findings and not is_nhs_number(number):
        issue = detail_issue("35160", field="NHS Number")
        findings.append(
            Finding("acs-nhs-number", f"{_K}MANDATORY_DATA_MISSING", "NHS number is not valid", issue, contexts[0])
        )
    return ConsentMessage(wrapper, nhs_number, (), tuple(findings), None if findings else request)


def _check_set(
    wrapper: Wrapper,
    within: etree._Element,
    body: etree._Element | None,
    contexts: list[etree._Element],
    number: str,
    *,
    accept_ask: bool,
) -> tuple[list[Finding], Consent | None]:
    """Rules S1-S17, then the permission word; the value is that of the first assertion. Spec: 30 §5.1."""
    assertions = body.findall(f"{CRS}accessControlAssertion") if body is not None else []
    consents = [a for a in assertions if _text(a, "function/context") == "Consent"]
    stores = [a for a in consents if _text(a, "function/code") == "Store"]
    views = [a for a in consents if _text(a, "function/code") == "View"]
    context = contexts[-1] if contexts else within
    last = assertions[-1] if assertions else within
    found: list[Finding] = []
    if len(contexts) != 1:
        found.append(_context_finding("S1", "MANDATORY_DATA_MISSING", context, "Resource Context not found"))
    cardinality = "INVALID_ACA_CARDINALITY"
    if not 1 <= len(assertions) <= 2:
        text = "At least one and no more than two accessControlAssertion must be provided"
        found.append(_finding("S2", cardinality, last, text))
    if len(stores) > 1:
        found.append(_finding("S3", cardinality, stores[-1], "Only 1 Store permission can be provided"))
    if len(views) > 1:
        found.append(_finding("S4", cardinality, views[-1], "Only 1 View permission can be provided"))
    if len(views) != 1 and len(stores) != 1:
        found.append(_finding("S5", cardinality, last, "One of View or Store permission must be provided"))
    found += [
        _finding("S6", "INVALID_COMBINATION_FC_RC_RI", _at(assertion, "resource/Id"))
        for assertion in assertions
        if _text(assertion, "function/context") != "Sealing"
        and (_text(assertion, "resource/Id") != number or not contexts)
    ]
    if not assertions:
        found.append(_finding("S7", "MANDATORY_DATA_MISSING", within, "Permission to Store or View not provided "))
    words = [_text(assertion, "permission") for assertion in assertions]
    if len(assertions) == 2 and (words[0] != words[1] or len(stores) != 1 or len(views) != 1):
        text = "Inconsistent Permission to View and Store"
        found.append(_finding("S8", "MANDATORY_DATA_MISSING", _at(last, "permission"), text))
    if OID_NHS_NUMBER not in attributes_of(contexts, "root"):
        text = f"Permission ResourceContext root={OID_NHS_NUMBER} not found"
        found.append(_context_finding("S9", "MANDATORY_DATA_MISSING", context, text))
    if not attributes_of(contexts, "extension"):
        text = "Permission ResourceContext extension not found"
        found.append(_context_finding("S10", "MANDATORY_DATA_MISSING", context, text))
    for assertion, word in zip(assertions, words, strict=True):
        found += _check_assertion(assertion, word)
    subjects = wrapper.control_act.findall(f"{HL7}subject") if wrapper.control_act is not None else []
    empty = [subject for subject in subjects if len(subject.findall(f"{HL7}GPSummary")) != 1]
    if empty:
        key = "ErrorBase1733.INVALID_DOCUMENT_DATA"
        found.append(Finding("acs-S17", key, "hl7:GPSummary root not found", detail_issue("99715"), empty[0]))
    if found:
        return found, None
    value = _PERMISSION_WORDS.get(words[0]) or (Consent.ASK if accept_ask and words[0] == "Ask" else None)
    if value is None:
        issue = detail_issue("99716", value=words[0][:40])
        found.append(Finding("acs-permission", f"{_K}INVALID_PERMISSION", "", issue, _at(assertions[0], "permission")))
    return found, value


def _check_assertion(assertion: etree._Element, word: str) -> list[Finding]:
    found: list[Finding] = []
    context = _text(assertion, "function/context")
    resource_type = _text(assertion, "resource/type")
    if resource_type != "SCR":
        issue = detail_issue("99704", context=context[:40], type=resource_type[:40])
        parameter = f"{context[:40]}|{resource_type[:40]}"
        place = _at(assertion, "resource/type")
        found.append(Finding("acs-S11", f"{_K}INVALID_COMBINATION_FC_RT", parameter, issue, place))
    if context != "Consent":
        found.append(_finding("S12", "INVALID_FUNCTION_CONTEXT", _at(assertion, "function/context"), "1234"))
    if _text(assertion, "function/code") not in ("Store", "View"):
        found.append(_finding("S13", "INVALID_FUNCTION_CODE", _at(assertion, "function/code")))
    if word != "Clear":
        if _text(assertion, "accessor/type") != "Everyone":
            found.append(_finding("S14", "INVALID_ACCESSOR_TYPE", _at(assertion, "accessor/type")))
        if _text(assertion, "accessor/accessorId/name") != "Everyone":
            found.append(_finding("S15", "INVALID_ACCESSOR_TYPE", _at(assertion, "accessor/accessorId/name")))
    if not word:
        found.append(_finding("S16", "MISSING_PERMISSIONS_IN_SET", _at(assertion, "permission")))
    return found


def _check_get(
    within: etree._Element, body: etree._Element | None, contexts: list[etree._Element], number: str
) -> list[Finding]:
    """Rules G1-G10. Spec: 30 §5.2."""
    context = contexts[-1] if contexts else within
    found: list[Finding] = []
    if len(contexts) != 1:
        found.append(_context_finding("G1", "MANDATORY_DATA_MISSING", context, "accessControlQuery.resourceContext"))
    criteria = body.findall(f"{CRS}queryCriteria") if body is not None else []
    if len(criteria) > 1:
        found.append(_finding("G2", "INVALID_ACA_CARDINALITY", criteria[-1]))
    if OID_NHS_NUMBER not in attributes_of(contexts, "root"):
        text = f"accessControlQuery.resourceContext with root OID={OID_NHS_NUMBER}"
        found.append(_context_finding("G3", "MANDATORY_DATA_MISSING", context, text))
    if not attributes_of(contexts, "extension"):
        found.append(_finding("G4", "INVALID_ACA_CARDINALITY", context))
    if len(number) < 10:
        found.append(_context_finding("G5", "RESOURCE_CONTEXT_TOO_SHORT", context, "10"))
    if len(number) > 10:
        found.append(_context_finding("G6", "RESOURCE_CONTEXT_TOO_LONG", context, "10"))
    for criterion in criteria:
        functions = criterion.findall(f"{CRS}function/{CRS}context")
        # Looked for once: there may be as many resources as a message has room for.
        function_place = _at(criterion, "function/context") if len(functions) != 1 else criterion
        sealing = bool(functions) and (functions[0].text or "").strip() == "Sealing"
        for resource in criterion.iterfind(f"{CRS}resource"):
            if not sealing and _text(resource, "Id") != number:
                found.append(_finding("G7", "INVALID_COMBINATION_FC_RC_RI", _at(resource, "Id")))
            if len(functions) != 1:
                found.append(_finding("G8", "FUNCTION_CONTEXT_EMPTY", function_place))
            if len(resource.findall(f"{CRS}type")) != 1:
                found.append(_finding("G9", "RESOURCE_TYPE_EMPTY", _at(resource, "type")))
            if len(resource.findall(f"{CRS}Id")) != 1:
                found.append(_finding("G10", "RESOURCE_ID_EMPTY", _at(resource, "Id")))
    return found


def check_has(wrapper: Wrapper, header: HeaderFacts | None = None) -> list[Finding]:
    """Judge a HAS: rules 9-21 of the wrapper, and when it is in order H1-H13 and the NHS number. Spec: 30 §5.3.

    The service does not answer HAS; whoever is to send one to Spine can have it checked.
    """
    rejected = check_acs_wrapper(wrapper, ACS_HAS, header)
    payload = _payload(wrapper, ACS_HAS)
    if rejected or payload is None:
        return rejected
    body = payload.find(f"{CRS}accessControlQuery")
    contexts = body.findall(f"{CRS}resourceContext") if body is not None else []
    sets = body.findall(f"{CRS}accessControlSet") if body is not None else []
    number = next(iter(attributes_of(contexts, "extension")), "")
    within = body if body is not None else payload
    context = contexts[-1] if contexts else within
    found: list[Finding] = []
    if len(contexts) != 1:
        found.append(_context_finding("H1", "MANDATORY_DATA_MISSING", context, "accessControlQuery.resourceContext"))
    if not sets:
        found.append(_finding("H2", "INVALID_ACA_CARDINALITY", within))
    if OID_NHS_NUMBER not in attributes_of(contexts, "root"):
        text = f"accessControlQuery.resourceContext with root OID={OID_NHS_NUMBER}"
        found.append(_context_finding("H3", "MANDATORY_DATA_MISSING", context, text))
    if not attributes_of(contexts, "extension"):
        found.append(_finding("H4", "INVALID_ACA_CARDINALITY", context))
    if len(number) < 10:
        found.append(_context_finding("H5", "RESOURCE_CONTEXT_TOO_SHORT", context, "10"))
    if len(number) > 10:
        found.append(_context_finding("H6", "RESOURCE_CONTEXT_TOO_LONG", context, "10"))
    for one in sets:
        found += _check_access_control_set(one, number)
    if not found and not is_nhs_number(number):
        issue = detail_issue("35160", field="NHS Number")
        key = f"{_K}MANDATORY_DATA_MISSING"
        found.append(Finding("acs-nhs-number", key, "NHS number is not valid", issue, context))
    return found


def _check_access_control_set(one: etree._Element, number: str) -> list[Finding]:
    """Rules H7-H13."""
    found: list[Finding] = []
    if _text(one, "function/context") != "Sealing" and _text(one, "resource/Id") != number:
        found.append(_finding("H7", "INVALID_COMBINATION_FC_RC_RI", _at(one, "resource/Id")))
    if _count(one, "accessor/type") != 1:
        found.append(_finding("H8", "INVALID_ACCESSOR_TYPE", _at(one, "accessor/type")))
    ids = descend(one, f"{CRS}accessor", f"{CRS}accessorId", f"{CRS}Id")
    names = _count(one, "accessor/accessorId/name")
    if names != 1 and not any(each.get("root") and each.get("extension") for each in ids):
        found.append(_finding("H9", "ACCESSOR_ID_EMPTY", _at(one, "accessor/accessorId")))
    for rule, path, key in (
        ("H10", "function/context", "FUNCTION_CONTEXT_EMPTY"),
        ("H11", "function/code", "ACR_CANNOT_BE_USED_AS_LRTYPE"),
        ("H12", "resource/type", "RESOURCE_TYPE_EMPTY"),
        ("H13", "resource/Id", "RESOURCE_ID_EMPTY"),
    ):
        if _count(one, path) != 1:
            found.append(_finding(rule, key, _at(one, path)))
    return found


def _count(element: etree._Element, path: str) -> int:
    return len(descend(element, *(CRS + name for name in path.split("/"))))


def _criteria(body: etree._Element | None) -> ConsentCriteria:
    """Read ``queryCriteria`` as a filter: no code means View and Store, a type other than SCR nothing. 30 §5.2."""
    criterion = body.find(f"{CRS}queryCriteria") if body is not None else None
    if criterion is None:
        return ConsentCriteria()
    code = _text(criterion, "function/code")
    consent = _text(criterion, "function/context") == "Consent"
    types = [_text(resource, "type") for resource in criterion.iterfind(f"{CRS}resource")]
    return ConsentCriteria((code,) if code else ("Store", "View"), consent and "SCR" in types)


# --- answers --------------------------------------------------------------------------------------------------------

_ASSERTION = (
    "<crs:accessControlAssertion><crs:permission>{value}</crs:permission><crs:resource><crs:type>SCR</crs:type>"
    "<crs:Id>{number}</crs:Id></crs:resource><crs:function><crs:context>Consent</crs:context>"
    "<crs:code>{code}</crs:code></crs:function>{accessor}</crs:accessControlAssertion>"
)
_ACCESSOR = (
    "<crs:accessor><crs:type>Everyone</crs:type><crs:accessorId><crs:name>Everyone</crs:name></crs:accessorId>"
    "</crs:accessor>"
)


def _context(number: str) -> str:
    return f'<crs:resourceContext root="{OID_NHS_NUMBER}" extension="{escape(number)}"/>'


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
    heading: Heading, answer: ConsentOutcome, criteria: ConsentCriteria, reference: str, wrapper: str | None = None
) -> bytes:
    """Write the stored consent; a value of Ask is left out. Spec: 30 §4.2, §6.1."""
    codes = criteria.codes if criteria.scr_wanted and answer.consent is not Consent.ASK else ()
    assertions = "".join(
        _ASSERTION.format(value=answer.consent.value, number=answer.nhs_number, code=code, accessor=_ACCESSOR)
        for code in ("Store", "View")
        if code in codes
    )
    warnings = write_reasons((SUPERSEDED,)) if answer.superseded else ""
    act = (
        f'{warnings}<subject typeCode="SUBJ"><crs:getResourcePermissionsResponse><crs:permissions>'
        f"{_context(answer.nhs_number)}{assertions}</crs:permissions></crs:getResourcePermissionsResponse></subject>"
        '<queryAck type="QueryAck"><queryResponseCode code="OK"/></queryAck>'
    )
    acknowledgement = write_acknowledgement_element("AA", reference)
    message = write_message(ACS_GET_ANSWER, heading, act.encode(), acknowledgement=acknowledgement)
    return wrap(ACS_GET, message, wrapper)


# --- the client's side ----------------------------------------------------------------------------------------------

_NAMESPACES = f' xmlns="{HL7_NS}" xmlns:crs="{CRS_NS}"'
VERSION_OF_REQUEST = VERSION_CODE_3
"""``versionCode`` of ACS requests. Spec: 30 §3."""


def write_set(heading: Heading, change: ConsentChange, person: Person | None) -> bytes:
    """Write a SET with a Store and a View assertion of the same value. Spec: 30 §4."""
    word = "Clear" if change.value is Consent.ASK else change.value.value
    assertions = "".join(
        _ASSERTION.format(value=word, number=escape(change.nhs_number), code=code, accessor=_ACCESSOR)
        for code in ("Store", "View")
    )
    payload = (
        f"<crs:setResourcePermissionsRequest><crs:permissions>{_context(change.nhs_number)}{assertions}"
        "</crs:permissions></crs:setResourcePermissionsRequest>"
    )
    return write_message(ACS_SET, heading, payload.encode(), person=person, prefix=_NAMESPACES)


def write_get(heading: Heading, query: ConsentQuery, person: Person | None) -> bytes:
    """Write a GET without criteria. Spec: 30 §4."""
    payload = (
        f"<crs:getResourcePermissionsRequest><crs:accessControlQuery>{_context(query.nhs_number)}"
        "</crs:accessControlQuery></crs:getResourcePermissionsRequest>"
    )
    return write_message(ACS_GET, heading, payload.encode(), person=person, prefix=_NAMESPACES)


def read_get_answer(root: etree._Element, nhs_number: str) -> ConsentOutcome:
    """Read the answer to a GET, whatever namespace its payload is in. Raises: `UnreadableMessage`. Spec: 30 §4.3."""
    outcome, _ = read_outcome(root)
    consent = Consent.ASK
    for element in root.iter():
        if local_name(element) == "accessControlAssertion":
            word = next(((e.text or "").strip() for e in element.iter() if local_name(e) == "permission"), "")
            try:
                consent = Consent(word)
            except ValueError:
                raise UnreadableMessage("unknown permission word") from None
            break
    superseded = any(issue.code == SUPERSEDED.code for issue in outcome.issues)
    return ConsentOutcome(outcome, nhs_number, consent, superseded)
