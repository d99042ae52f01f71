"""Every rule of the rule books as a row: how to break it, what is found, what is answered.

Spec: 10 §11, §14; 20 §12; 30 §5.1, §5.2; 40 §4.2.
"""

from dataclasses import dataclass

from openscr.errors import WRAPPER_ERRORS
from shared import MESSAGES

from .mutation import Change, before, both, drop, empty, put, rename, repeat, say, without

PSIS_SYSTEM = "2.16.840.1.113883.2.1.3.2.4.17.33"
TMS_SYSTEM = "2.16.840.1.113883.2.1.3.2.4.17.32"

INVALID = "ErrorBase1733.INVALID_DOCUMENT_DATA"
MISSING = "ErrorBase1733.MANDATORY_FIELD_MISSING"


def message(folder: str, name: str) -> bytes:
    """Read the one example of a folder whose name begins so."""
    (path,) = sorted((MESSAGES / folder).glob(f"{name}*"))
    return path.read_bytes()


@dataclass(frozen=True)
class Row:
    """One way to break one rule.

    ``label`` is the rule's in the specification. ``found`` are (rule id, key, text) of every finding, ``issues`` are
    (code, text) of the answer in order. ``location`` is the XPath of a SOAP fault instead.
    """

    label: str
    change: Change
    found: tuple[tuple[str, str, str], ...] = ()
    issues: tuple[tuple[str, str], ...] = ()
    base: str = ""
    location: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.label


# --- GP summary (10 §11) --------------------------------------------------------------------------------------------

GENERAL_400 = ("400", "Invalid Request")
NHS_NUMBER = ("35160", "[PSIS-35160] - Invalid input message. Mandatory field NHS Number is missing or incorrect")

DOCUMENT = "h:ControlActEvent/h:subject/h:GPSummary"
AUTHOR = f"{DOCUMENT}/h:author"
HOLDER = f"{AUTHOR}/*[contains(local-name(), 'Agent')]"
WITHDRAWAL = "h:ControlActEvent/h:subject/h:MessageWithdrawal"

ROLE_TEXT = "A single author roleProfileID attribute of root codeSystem 1.2.826.0.1285.0.2.0.67 must be provided"
USER_TEXT = "A single author personSDS ID attribute of root codeSystem 1.2.826.0.1285.0.2.0.65 must be provided"
ORGANISATION_TEXT = (
    "A single organizationSDS ID attribute of root codeSystem 1.2.826.0.1285.0.1.10 or 1.2.826.0.1285.0.2.0.109 must "
    "be provided"
)
AGENT_TEXT = "Either a single agentPersonSDS or agentOrganizationSDS must be provided as the event author"
NUMBER_TEXT = "A single nhsNumber should be provided in hl7:{0}/hl7:recordTarget/hl7:patient/hl7:id/@extension"
REPLACES_TEXT = "zero or one replacementOf targets may be provided"
REASON_TEXT = (
    "A single justifyingReason code of codeSystem 2.16.840.1.113883.2.1.3.2.4.17.143 should be provided in "
    "hl7:MessageWithdrawal/hl7:reason/hl7:justifyingReason/hl7:code"
)


def summary(label: str, change: Change, *faults: tuple[str, str, str], base: str = "02") -> Row:
    """A fault of the common stage or of the GP summary rules: AE with a second reason for each distinct text."""
    issues = [GENERAL_400]
    for rule, _, text in faults:
        issue = NHS_NUMBER if rule in {"gp-G6", "wd-W6", "gp-nhs-number", "wd-nhs-number"} else ("400", text)
        if issue not in issues:
            issues.append(issue)
    return Row(label, change, faults, tuple(issues), base)


def single(path: str) -> str:
    return f"A single hl7:{path} must be provided"


SUMMARY_RULES = (
    summary(
        "C1",
        drop("h:ControlActEvent/h:author1//h:agentSystemSDS/h:id"),
        ("gp-C1", MISSING, "Agent System SDS ID missing"),
    ),
    summary(
        "C1",
        put("h:ControlActEvent/h:author1//h:agentSystemSDS/h:id", "root", "1.2.3"),
        ("gp-C1", MISSING, "Agent System SDS ID missing"),
    ),
    summary(
        "C2",
        drop("h:ControlActEvent/h:author/h:AgentPersonSDS/h:id"),
        ("gp-C2", MISSING, "Author agent org person role profile ID missing"),
    ),
    summary(
        "C3",
        drop("h:ControlActEvent/h:author//h:agentPersonSDS/h:id"),
        ("gp-C3", MISSING, "Author agent person SDS ID missing"),
    ),
    summary(
        "C4",
        drop("h:ControlActEvent/h:author//h:partSDSRole/h:id"),
        ("gp-C4", MISSING, "Author agent person Job Role ID missing"),
    ),
    summary("G1", drop(DOCUMENT), ("gp-G1", INVALID, "hl7:GPSummary root not found")),
    summary("G1", repeat(DOCUMENT), ("gp-G1", INVALID, "hl7:GPSummary root not found")),
    summary("G1", drop("h:ControlActEvent/h:subject"), ("gp-G1", INVALID, "hl7:GPSummary root not found")),
    summary("G2", drop(f"{DOCUMENT}/h:id"), ("gp-G2", INVALID, single("GPSummary/hl7:id/@root"))),
    summary("G2", repeat(f"{DOCUMENT}/h:id"), ("gp-G2", INVALID, single("GPSummary/hl7:id/@root"))),
    summary("G3", without(f"{DOCUMENT}/h:code", "code"), ("gp-G3", INVALID, single("GPSummary/hl7:code/@code"))),
    summary(
        "G4", without(f"{DOCUMENT}/h:statusCode", "code"), ("gp-G4", INVALID, single("GPSummary/hl7:statusCode/@code"))
    ),
    summary(
        "G5",
        drop(f"{DOCUMENT}/h:effectiveTime"),
        ("gp-G5", INVALID, single("GPSummary/hl7:effectiveTime/@value")),
    ),
    summary(
        "G6", drop(f"{DOCUMENT}/h:recordTarget/h:patient/h:id"), ("gp-G6", INVALID, NUMBER_TEXT.format("GPSummary"))
    ),
    summary("G6", repeat(f"{DOCUMENT}/h:recordTarget"), ("gp-G6", INVALID, NUMBER_TEXT.format("GPSummary"))),
    summary("G7", repeat(f"{DOCUMENT}/h:replacementOf"), ("gp-G7", INVALID, REPLACES_TEXT)),
    summary(
        "G7",
        both(repeat(f"{DOCUMENT}/h:replacementOf"), repeat(f"{DOCUMENT}/h:replacementOf")),
        ("gp-G7", INVALID, REPLACES_TEXT),
    ),
    summary("G8", drop(f"{AUTHOR}/h:time"), ("gp-G8", INVALID, single("GPSummary/hl7:author/hl7:time/@value"))),
    summary(
        "G9",
        drop(f"{HOLDER}/h:agentPersonSDS"),
        ("gp-G9", INVALID, AGENT_TEXT),
        ("gp-G11", INVALID, ROLE_TEXT),
    ),
    summary(
        "G9",
        repeat(f"{HOLDER}/h:agentPersonSDS"),
        ("gp-G9", INVALID, AGENT_TEXT),
        ("gp-G11", INVALID, ROLE_TEXT),
        ("gp-G13", INVALID, "A single author Name must be provided"),
    ),
    summary("G10", drop(f"{HOLDER}/h:agentOrganizationSDS/h:id"), ("gp-G10", INVALID, ORGANISATION_TEXT), base="01"),
    summary(
        "G10",
        put(f"{HOLDER}/h:agentOrganizationSDS/h:id", "root", "1.2.3"),
        ("gp-G10", INVALID, ORGANISATION_TEXT),
        base="01",
    ),
    summary("G11", drop(f"{HOLDER}/h:id"), ("gp-G11", INVALID, ROLE_TEXT)),
    summary("G12", drop(f"{HOLDER}/h:agentPersonSDS/h:id"), ("gp-G12", INVALID, USER_TEXT)),
    summary(
        "G13",
        drop(f"{HOLDER}/h:agentPersonSDS/h:name"),
        ("gp-G13", INVALID, "A single author Name must be provided"),
    ),
    summary(
        "G13",
        repeat(f"{HOLDER}/h:agentOrganizationSDS/h:name"),
        ("gp-G13", INVALID, "A single author Name must be provided"),
        base="01",
    ),
    summary(
        "NHS number",
        put(f"{DOCUMENT}/h:recordTarget/h:patient/h:id", "extension", "9990001031"),
        ("gp-nhs-number", INVALID, "NHS number is not valid"),
    ),
    summary(
        "NHS number",
        put(f"{DOCUMENT}/h:recordTarget/h:patient/h:id", "extension", "999000103"),
        ("gp-nhs-number", INVALID, "NHS number is not valid"),
    ),
    # Several faults at once are all told, in document order.
    summary(
        "several",
        both(drop("h:ControlActEvent/h:author//h:partSDSRole/h:id"), drop(f"{AUTHOR}/h:time"), drop(f"{HOLDER}/h:id")),
        ("gp-C4", MISSING, "Author agent person Job Role ID missing"),
        ("gp-G8", INVALID, single("GPSummary/hl7:author/hl7:time/@value")),
        ("gp-G11", INVALID, ROLE_TEXT),
    ),
    summary("W1", drop(WITHDRAWAL), ("wd-W1", INVALID, "hl7:MessageWithdrawal root not found"), base="04"),
    summary("W3", drop(f"{WITHDRAWAL}/h:id"), ("wd-W3", INVALID, single("MessageWithdrawal/hl7:id/@root")), base="04"),
    summary(
        "W4", drop(f"{WITHDRAWAL}/h:code"), ("wd-W4", INVALID, single("MessageWithdrawal/hl7:code/@code")), base="04"
    ),
    summary(
        "W5",
        drop(f"{WITHDRAWAL}/h:effectiveTime"),
        ("wd-W5", INVALID, single("MessageWithdrawal/hl7:effectiveTime/@value")),
        base="04",
    ),
    summary(
        "W6",
        drop(f"{WITHDRAWAL}/h:recordTarget"),
        ("wd-W6", INVALID, NUMBER_TEXT.format("MessageWithdrawal")),
        base="04",
    ),
    summary(
        "W7",
        put(f"{WITHDRAWAL}/h:reason/h:justifyingReason/h:code", "codeSystem", "1.2.3"),
        ("wd-W7", INVALID, REASON_TEXT),
        base="04",
    ),
    summary("W7", drop(f"{WITHDRAWAL}/h:reason"), ("wd-W7", INVALID, REASON_TEXT), base="04"),
    summary("W8", repeat(f"{WITHDRAWAL}/h:subject"), ("wd-W8", INVALID, REPLACES_TEXT), base="04"),
    summary(
        "W9",
        drop(f"{WITHDRAWAL}/h:author//h:agentPersonSDS"),
        ("wd-W9", INVALID, "A single agentPersonSDS must be provided as the event author"),
        ("wd-W10", INVALID, ROLE_TEXT),
        base="04",
    ),
    summary("W10", drop(f"{WITHDRAWAL}/h:author/h:AgentPersonSDS/h:id"), ("wd-W10", INVALID, ROLE_TEXT), base="04"),
    summary("W11", drop(f"{WITHDRAWAL}/h:author//h:agentPersonSDS/h:id"), ("wd-W11", INVALID, USER_TEXT), base="04"),
    summary(
        "NHS number",
        put(f"{WITHDRAWAL}/h:recordTarget/h:patient/h:id", "extension", "9990001031"),
        ("wd-nhs-number", INVALID, "NHS number is not valid"),
        base="04",
    ),
)

# --- the wrapper of asynchronous messages (10 §14) ------------------------------------------------------------------


def wrapper(label: str, change: Change, *codes: str, base: str = "02") -> Row:
    """Wrapper errors: AR with a detail for each."""
    return Row(label, change, (), tuple((code, WRAPPER_ERRORS[code].display) for code in codes), base)


WRAPPER_RULES = (
    wrapper("501", drop("h:id"), "501"),
    wrapper("501", without("h:id", "root"), "501"),
    wrapper("502", drop("h:creationTime"), "502"),
    wrapper("502", put("h:creationTime", "value", ""), "502"),
    wrapper("503", drop("h:versionCode"), "503"),
    wrapper("504", drop("h:ControlActEvent"), "504"),
    wrapper("504", repeat("h:ControlActEvent"), "504"),
    wrapper("506", drop("h:communicationFunctionRcv"), "506"),
    wrapper("507", drop("h:communicationFunctionSnd"), "507"),
    wrapper("508", repeat("h:ControlActEvent/h:author"), "508"),
    wrapper("509", drop("h:ControlActEvent/h:author1"), "509"),
    wrapper("509", both(repeat("h:ControlActEvent/h:author1"), repeat("h:ControlActEvent/h:author1")), "509"),
    wrapper("515", drop("h:interactionId"), "515"),
    wrapper("515", put("h:interactionId", "extension", "REPC_IN150018UK02"), "515"),
    wrapper("515", rename(".", "REPC_IN150015UK05"), "515"),
    # C5 and W2 are the same test: the wrapper's own answer comes first.
    wrapper("C5", drop("h:interactionId"), "515"),
    wrapper("W2", drop("h:interactionId"), "515", base="04"),
    # All failed checks are told, in the order of their codes, and end the checks: no rule of the domain is looked at.
    wrapper(
        "several",
        both(drop("h:versionCode"), drop("h:id"), drop(f"{AUTHOR}/h:time"), drop("h:interactionId")),
        "501",
        "503",
        "515",
    ),
)

# --- PSIS event queries (20 §12) ------------------------------------------------------------------------------------

BODY = "/soap:Envelope/soap:Body"
HEADER = "/soap:Envelope/soap:Header"
ANY = f"{BODY}/*"
ACT = f"{ANY}/h:ControlActEvent"
QUERY = f"{ACT}/h:query"
K1732 = "ErrorBase1732."
LIST = "QUPC_IN180000UK04_request_soap"
EVENT = "QUPC_IN190000UK04_request_soap"
CONSISTENCY = f"{K1732}INCONSISTENT_HL7_INTERACTION_ID[checkHeaderBodyConsistency."


def query(
    label: str, change: Change, field: str, *keys: tuple[str, str], base: str = LIST, further: tuple[str, ...] = ()
) -> Row:
    """A fault of a query: one second reason for each field name. ``keys`` are (key, text), by default under ``label``.

    ``further`` are rules that the same change breaks too, one for each key after the first.
    """
    rules = (label, *further)
    found = tuple((f"psis-{rule}", key, text) for rule, (key, text) in zip(rules, keys, strict=True))
    fields = dict.fromkeys(field.split("|"))
    issues = [GENERAL_400]
    issues += [
        ("35160", f"[PSIS-35160] - Invalid input message. Mandatory field {name} is missing or incorrect")
        for name in fields
    ]
    return Row(label, change, found, tuple(issues), base)


def fault(label: str, change: Change, *location: str, base: str = LIST) -> Row:
    """A fault of the envelope: SOAP fault 201 with these locations."""
    return Row(label, change, base=base, location=location)


FUNCTION = "/SOAP:Envelope/SOAP:Header/hl7:communicationFunction{0}/hl7:device/hl7:id"
SECOND_SYSTEM = (
    '<author1 typeCode="AUT"><AgentSystemSDS classCode="AGNT"><agentSystemSDS classCode="DEV" '
    'determinerCode="INSTANCE">{0}</agentSystemSDS></AgentSystemSDS></author1>'
)

QUERY_RULES = (
    fault("S0", repeat(BODY), "/SOAP:Envelope/SOAP:Body"),
    fault(
        "S0",
        repeat(HEADER),
        "/SOAP:Envelope/SOAP:Header",
        "/SOAP:Envelope/SOAP:Header/wsa:MessageID",
        "/SOAP:Envelope/SOAP:Header/wsa:Action",
        "/SOAP:Envelope/SOAP:Header/wsa:To",
        FUNCTION.format("Rcv"),
        FUNCTION.format("Snd"),
    ),
    fault("S1", drop(f"{HEADER}/wsa:MessageID"), "/SOAP:Envelope/SOAP:Header/wsa:MessageID"),
    fault(
        "S1",
        say(f"{HEADER}/wsa:MessageID", "3FCF0020-2DEA-5107-A1DF-048798B9ACB7"),
        "/SOAP:Envelope/SOAP:Header/wsa:MessageID",
    ),
    fault("S2", drop(f"{HEADER}/wsa:Action"), "/SOAP:Envelope/SOAP:Header/wsa:Action"),
    fault("S2", say(f"{HEADER}/wsa:Action", "x"), "/SOAP:Envelope/SOAP:Header/wsa:Action"),
    fault("S3", say(f"{HEADER}/wsa:To", ""), "/SOAP:Envelope/SOAP:Header/wsa:To"),
    fault("S4", drop(f"{HEADER}/h:communicationFunctionRcv"), FUNCTION.format("Rcv")),
    fault("S5", put(f"{HEADER}/h:communicationFunctionSnd/h:device/h:id", "extension", ""), FUNCTION.format("Snd")),
    fault(
        "several",
        both(drop(f"{HEADER}/wsa:To"), drop(f"{HEADER}/wsa:MessageID"), drop(f"{ANY}/h:id")),
        "/SOAP:Envelope/SOAP:Header/wsa:MessageID",
        "/SOAP:Envelope/SOAP:Header/wsa:To",
    ),
    fault("B1", drop(f"{ANY}/h:id"), "/SOAP:Envelope/SOAP:Body/hl7:QUPC_IN180000UK04/hl7:id"),
    fault("B1", put(f"{ANY}/h:id", "root", ""), "/SOAP:Envelope/SOAP:Body/hl7:QUPC_IN190000UK04/hl7:id", base=EVENT),
    query("B2", drop(f"{ANY}/h:creationTime"), "Creation Time", (f"{K1732}INVALID_CREATION_TIME", "")),
    query("B3", drop(f"{ANY}/h:versionCode"), "Version Code", (f"{K1732}INVALID_VERSION_CODE", "")),
    query(
        "B4",
        repeat(ACT),
        "Control Act|Author System|Query",
        (f"{K1732}INVALID_CONTROL_ACT", ""),
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID_CARDINALITY", ""),
        (f"{K1732}CONTROL_ACT_QUERY_INVALID", ""),
        further=("B6", "B7"),
    ),
    query(
        "B5",
        repeat(f"{ACT}/h:author"),
        "Author",
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID[checkBody.invalidNumberAuthorElements]", ""),
    ),
    query(
        "B6",
        both(repeat(f"{ACT}/h:author1"), repeat(f"{ACT}/h:author1")),
        "Author System",
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID_CARDINALITY", ""),
    ),
    query("B7", empty(QUERY), "Query", (f"{K1732}CONTROL_ACT_QUERY_INVALID", "")),
    query("B7", repeat(QUERY), "Query", (f"{K1732}CONTROL_ACT_QUERY_INVALID", "")),
    query(
        "C1",
        repeat(f"{ANY}/h:interactionId"),
        "Interaction Id",
        (f"{CONSISTENCY}invalidNumberInteractionIdElements]", ""),
        (f"{CONSISTENCY}invalidInteractionCodeSystem]", ""),
        (f"{CONSISTENCY}invalidInteractionIdDoesNotMatchAction]", ""),
        (f"{CONSISTENCY}invalidInteractionIdDoesNotMatchBodyRoot]", ""),
        further=("C2", "C3", "C4"),
    ),
    query(
        "C2",
        put(f"{ANY}/h:interactionId", "root", "1.2.3"),
        "Interaction Id",
        (f"{CONSISTENCY}invalidInteractionCodeSystem]", ""),
    ),
    query(
        "C3",
        say(f"{HEADER}/wsa:Action", "urn:nhs:names:services:psisquery/QUPC_IN190000UK04"),
        "Interaction Id",
        (f"{CONSISTENCY}invalidInteractionIdDoesNotMatchAction]", ""),
    ),
    query(
        "C4",
        both(
            put(f"{ANY}/h:interactionId", "extension", "QUPC_IN190000UK04"),
            say(f"{HEADER}/wsa:Action", "urn:nhs:names:services:psisquery/QUPC_IN190000UK04"),
        ),
        "Interaction Id",
        (f"{CONSISTENCY}invalidInteractionIdDoesNotMatchBodyRoot]", ""),
    ),
    query(
        "C5",
        put(f"{ANY}/h:communicationFunctionRcv//h:id", "extension", "200000000100"),
        "Receiver",
        (f"{K1732}INCONSISTENT_COMM_FUNC_RCV", ""),
    ),
    query("C6", drop(f"{ANY}/h:communicationFunctionSnd"), "Sender", (f"{K1732}INCONSISTENT_COMM_FUNC_SND", "")),
    query(
        "A1",
        drop(f"{ACT}/h:author/h:AgentPersonSDS/h:id"),
        "Author",
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID[checkAuthorPerson.invalidAgentRoleID]", ""),
    ),
    query(
        "A2",
        put(f"{ACT}/h:author//h:agentPersonSDS/h:id", "extension", ""),
        "Author",
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID[checkAuthorPerson.invalidAgentPersonID]", ""),
    ),
    query(
        "A3",
        drop(f"{ACT}/h:author//h:partSDSRole"),
        "Author",
        (f"{K1732}CONTROL_ACT_AUTHOR_INVALID[checkAuthorPerson.invalidPartSDSRoleID]", ""),
    ),
    query(
        "A4",
        put(f"{ACT}/h:author1//h:id", "root", "1.2.3"),
        "Author System",
        (f"{K1732}CONTROL_ACT_AUTHOR_AGENT_INVALID", ""),
    ),
    query(
        "A5",
        before(QUERY, SECOND_SYSTEM.format('<id root="1.2.3"/>')),
        "Author Device",
        (f"{K1732}CONTROL_ACT_AUTHOR_AGENT2_INVALID", ""),
    ),
    query(
        "Q1",
        put(f"{QUERY}/h:dissentOverride/h:value", "codeSystem", "1.2.3"),
        "DissentOverride",
        (MISSING, "dissentOverride"),
    ),
    query("Q1", without(f"{QUERY}/h:dissentOverride/h:value", "code"), "DissentOverride", (MISSING, "dissentOverride")),
    query(
        "Q1",
        put(f"{QUERY}/h:dissentOverride/h:value", "code", "6"),
        "DissentOverride",
        (MISSING, "dissentOverride outside 0-5"),
    ),
    query("Q2", drop(f"{QUERY}/h:nHSNumber/h:value"), "NHS Number", (MISSING, "nhsNumber")),
    query("Q2", put(f"{QUERY}/h:nHSNumber/h:value", "root", "1.2.3"), "NHS Number", (MISSING, "nhsNumber")),
    query("Q3", repeat(f"{QUERY}/h:dissentOverride"), "DissentOverride", (MISSING, "")),
    query("Q3", both(repeat(f"{QUERY}/h:nHSNumber"), empty(f"{QUERY}/h:nHSNumber[2]")), "NHS Number", (MISSING, "")),
    query("eventRecord", drop(f"{QUERY}/h:eventRecord"), "EventRecord", (MISSING, "eventRecord"), base=EVENT),
    query(
        "nhs-number",
        put(f"{QUERY}/h:nHSNumber/h:value", "extension", "9990012319"),
        "NHS Number",
        (MISSING, "NHS number is not valid"),
    ),
    query(
        "nhs-number",
        put(f"{QUERY}/h:nHSNumber/h:value", "extension", ""),
        "NHS Number",
        (MISSING, "NHS number is not valid"),
    ),
    query(
        "B2",
        both(drop(f"{ANY}/h:creationTime"), drop(f"{QUERY}/h:dissentOverride"), drop(f"{QUERY}/h:nHSNumber")),
        "Creation Time|DissentOverride|NHS Number",
        (f"{K1732}INVALID_CREATION_TIME", ""),
        (MISSING, "dissentOverride"),
        (MISSING, "nhsNumber"),
        (MISSING, ""),
        (MISSING, ""),
        further=("Q1", "Q2", "Q3", "Q3"),
        base=EVENT,
    ),
)

# --- ACS (30 §5, 40 §4.2) -------------------------------------------------------------------------------------------

K1712 = "ErrorBase1712."
SET, SET_ONE, GET, GET_CRITERIA = "01-", "02-", "06-", "07-"
SET_PAYLOAD = f"{ACT}/crs:setResourcePermissionsRequest"
PERMISSIONS = f"{SET_PAYLOAD}/crs:permissions"
ASSERTION = f"{PERMISSIONS}/crs:accessControlAssertion"
GET_PAYLOAD = f"{ACT}/crs:getResourcePermissionsRequest"
ACCESS_QUERY = f"{GET_PAYLOAD}/crs:accessControlQuery"
CRITERIA = f"{ACCESS_QUERY}/crs:queryCriteria"

CONTEXT = ("35506", "[ACS-35506] - Invalid input message. Mandatory field Resource Ctx missing or incorrect.")
ACS_TEXTS = {
    "MANDATORY_DATA_MISSING": ("99701", "[ACS-99701] - Mandatory data missing: {0}"),
    "INVALID_ACA_CARDINALITY": ("99702", "[ACS-99702] - Invalid number of access control assertions: {0}"),
    "INVALID_COMBINATION_FC_RC_RI": (
        "99703",
        "[ACS-99703] - Function context, resource context and resource id do not agree",
    ),
    "INVALID_FUNCTION_CONTEXT": ("99705", "[ACS-99705] - Invalid function context"),
    "INVALID_FUNCTION_CODE": ("99706", "[ACS-99706] - Invalid function code"),
    "INVALID_ACCESSOR_TYPE": ("99707", "[ACS-99707] - Invalid accessor type"),
    "MISSING_PERMISSIONS_IN_SET": ("99708", "[ACS-99708] - Permission missing in set request"),
    "ACCESSOR_ID_EMPTY": ("99709", "[ACS-99709] - Accessor id missing"),
    "ACR_CANNOT_BE_USED_AS_LRTYPE": ("99711", "[ACS-99711] - Function code missing"),
    "FUNCTION_CONTEXT_EMPTY": ("99710", "[ACS-99710] - Function context missing"),
    "RESOURCE_TYPE_EMPTY": ("99712", "[ACS-99712] - Resource type missing"),
    "RESOURCE_ID_EMPTY": ("99713", "[ACS-99713] - Resource id missing"),
}
CONTEXT_RULES = {"S1", "S9", "S10", "G1", "G3", "G5", "G6", "H1", "H3", "H5", "H6"}


def acs(label: str, change: Change, *faults: tuple[str, str, str], base: str) -> Row:
    """Faults of an ACS payload, each (rule, key, parameter): AE with one second reason for each distinct one."""
    issues = [GENERAL_400]
    for rule, key, parameter in faults:
        if rule in CONTEXT_RULES:
            issue = CONTEXT
        elif key == "INVALID_COMBINATION_FC_RT":
            context, _, kind = parameter.partition("|")
            issue = ("99704", f"[ACS-99704] - Function context {context} not valid with resource type {kind}")
        else:
            code, text = ACS_TEXTS[key]
            issue = (code, text.format(parameter))
        if issue not in issues:
            issues.append(issue)
    return Row(label, change, tuple((f"acs-{r}", K1712 + k, p) for r, k, p in faults), tuple(issues), base)


def acs_wrapper(number: str, key: str, change: Change, *further: tuple[str, str], base: str = GET) -> Row:
    """Faults of an ACS wrapper: AR with 202, then 400 and one 99720 for each key."""
    pairs = ((number, key), *further)
    keys = dict.fromkeys(key for _, key in pairs)
    return Row(
        number,
        change,
        tuple((f"soap-{n}", K1732 + k, "") for n, k in pairs),
        (
            ("202", "HL7 Validation Error"),
            GENERAL_400,
            *(("99720", f"[ACS-99720] - HL7 wrapper invalid: {k}") for k in keys),
        ),
        base,
    )


SCR_ONLY = "MANDATORY_DATA_MISSING"
STORE_ASSERTION = f"{ASSERTION}[crs:function/crs:code = 'Store']"
CARDINALITY_TEXT = "At least one and no more than two accessControlAssertion must be provided"
ONE_OF_TEXT = "One of View or Store permission must be provided"
INCONSISTENT_TEXT = "Inconsistent Permission to View and Store"
ROOT_TEXT = "Permission ResourceContext root=2.16.840.1.113883.2.1.4.1 not found"
EXTENSION_TEXT = "Permission ResourceContext extension not found"
QUERY_ROOT_TEXT = "accessControlQuery.resourceContext with root OID=2.16.840.1.113883.2.1.4.1"

SET_RULES = (
    acs(
        "S1",
        drop(f"{PERMISSIONS}/crs:resourceContext"),
        ("S1", SCR_ONLY, "Resource Context not found"),
        ("S6", "INVALID_COMBINATION_FC_RC_RI", ""),
        ("S9", SCR_ONLY, ROOT_TEXT),
        ("S10", SCR_ONLY, EXTENSION_TEXT),
        base=SET_ONE,
    ),
    acs(
        "S2",
        both(repeat(STORE_ASSERTION)),
        ("S2", "INVALID_ACA_CARDINALITY", CARDINALITY_TEXT),
        ("S3", "INVALID_ACA_CARDINALITY", "Only 1 Store permission can be provided"),
        base=SET,
    ),
    acs(
        "S3",
        say(f"{ASSERTION}/crs:function/crs:code", "Store"),
        ("S3", "INVALID_ACA_CARDINALITY", "Only 1 Store permission can be provided"),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S8", SCR_ONLY, INCONSISTENT_TEXT),
        base=SET,
    ),
    acs(
        "S4",
        say(f"{ASSERTION}/crs:function/crs:code", "View"),
        ("S4", "INVALID_ACA_CARDINALITY", "Only 1 View permission can be provided"),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S8", SCR_ONLY, INCONSISTENT_TEXT),
        base=SET,
    ),
    acs(
        "S5",
        say(f"{ASSERTION}/crs:function/crs:code", "Read"),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S13", "INVALID_FUNCTION_CODE", ""),
        base=SET_ONE,
    ),
    acs(
        "S6",
        say(f"{ASSERTION}/crs:resource/crs:Id", "9990012024"),
        ("S6", "INVALID_COMBINATION_FC_RC_RI", ""),
        base=SET_ONE,
    ),
    acs(
        "S7",
        drop(ASSERTION),
        ("S2", "INVALID_ACA_CARDINALITY", CARDINALITY_TEXT),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S7", SCR_ONLY, "Permission to Store or View not provided "),
        base=SET_ONE,
    ),
    acs("S8", say(f"{STORE_ASSERTION}/crs:permission", "No"), ("S8", SCR_ONLY, INCONSISTENT_TEXT), base=SET),
    acs("S9", put(f"{PERMISSIONS}/crs:resourceContext", "root", "1.2.3"), ("S9", SCR_ONLY, ROOT_TEXT), base=SET_ONE),
    acs(
        "S10",
        without(f"{PERMISSIONS}/crs:resourceContext", "extension"),
        ("S6", "INVALID_COMBINATION_FC_RC_RI", ""),
        ("S10", SCR_ONLY, EXTENSION_TEXT),
        base=SET_ONE,
    ),
    acs(
        "S11",
        say(f"{ASSERTION}/crs:resource/crs:type", "Document"),
        ("S11", "INVALID_COMBINATION_FC_RT", "Consent|Document"),
        base=SET_ONE,
    ),
    acs(
        "S12",
        say(f"{ASSERTION}/crs:function/crs:context", "Sealing"),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S12", "INVALID_FUNCTION_CONTEXT", "1234"),
        base=SET_ONE,
    ),
    acs(
        "S13",
        drop(f"{ASSERTION}/crs:function/crs:code"),
        ("S5", "INVALID_ACA_CARDINALITY", ONE_OF_TEXT),
        ("S13", "INVALID_FUNCTION_CODE", ""),
        base=SET_ONE,
    ),
    acs(
        "S14", say(f"{ASSERTION}/crs:accessor/crs:type", "User Id"), ("S14", "INVALID_ACCESSOR_TYPE", ""), base=SET_ONE
    ),
    acs(
        "S15",
        say(f"{ASSERTION}/crs:accessor/crs:accessorId/crs:name", "Someone"),
        ("S15", "INVALID_ACCESSOR_TYPE", ""),
        base=SET_ONE,
    ),
    acs(
        "S15",
        drop(f"{ASSERTION}/crs:accessor"),
        ("S14", "INVALID_ACCESSOR_TYPE", ""),
        ("S15", "INVALID_ACCESSOR_TYPE", ""),
        base=SET_ONE,
    ),
    acs("S16", say(f"{ASSERTION}/crs:permission", ""), ("S16", "MISSING_PERMISSIONS_IN_SET", ""), base=SET_ONE),
    Row(
        "S17",
        before(SET_PAYLOAD, '<subject typeCode="SUBJ"/>'),
        (("acs-S17", INVALID, "hl7:GPSummary root not found"),),
        (GENERAL_400, ("99715", "[ACS-99715] - Invalid document data")),
        SET_ONE,
    ),
    Row(
        "permission",
        say(f"{ASSERTION}/crs:permission", "Perhaps"),
        (("acs-permission", f"{K1712}INVALID_PERMISSION", ""),),
        (GENERAL_400, ("99716", "[ACS-99716] - Invalid permission value Perhaps")),
        SET_ONE,
    ),
    Row(
        "permission",
        say(f"{ASSERTION}/crs:permission", "Ask"),
        (("acs-permission", f"{K1712}INVALID_PERMISSION", ""),),
        (GENERAL_400, ("99716", "[ACS-99716] - Invalid permission value Ask")),
        SET_ONE,
    ),
    Row(
        "NHS number",
        both(
            put(f"{PERMISSIONS}/crs:resourceContext", "extension", "999001201"),
            say(f"{ASSERTION}/crs:resource/crs:Id", "999001201"),
        ),
        (("acs-nhs-number", f"{K1712}MANDATORY_DATA_MISSING", "NHS number is not valid"),),
        (GENERAL_400, NHS_NUMBER),
        SET_ONE,
    ),
)

# The parameter of G5 and G6 is the number and its right length; ours leaves out the number, which no text may hold.
GET_RULES = (
    acs(
        "G1",
        drop(f"{ACCESS_QUERY}/crs:resourceContext"),
        ("G1", SCR_ONLY, "accessControlQuery.resourceContext"),
        ("G3", SCR_ONLY, QUERY_ROOT_TEXT),
        ("G4", "INVALID_ACA_CARDINALITY", ""),
        ("G5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        base=GET,
    ),
    acs("G2", repeat(CRITERIA), ("G2", "INVALID_ACA_CARDINALITY", ""), base=GET_CRITERIA),
    acs("G3", put(f"{ACCESS_QUERY}/crs:resourceContext", "root", "1.2.3"), ("G3", SCR_ONLY, QUERY_ROOT_TEXT), base=GET),
    acs(
        "G4",
        without(f"{ACCESS_QUERY}/crs:resourceContext", "extension"),
        ("G4", "INVALID_ACA_CARDINALITY", ""),
        ("G5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        base=GET,
    ),
    acs(
        "G5",
        put(f"{ACCESS_QUERY}/crs:resourceContext", "extension", "999001201"),
        ("G5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        base=GET,
    ),
    acs(
        "G6",
        put(f"{ACCESS_QUERY}/crs:resourceContext", "extension", "99900120160"),
        ("G6", "RESOURCE_CONTEXT_TOO_LONG", "10"),
        base=GET,
    ),
    acs(
        "G7",
        say(f"{CRITERIA}/crs:resource/crs:Id", "9990012024"),
        ("G7", "INVALID_COMBINATION_FC_RC_RI", ""),
        base=GET_CRITERIA,
    ),
    acs("G8", drop(f"{CRITERIA}/crs:function/crs:context"), ("G8", "FUNCTION_CONTEXT_EMPTY", ""), base=GET_CRITERIA),
    acs("G9", drop(f"{CRITERIA}/crs:resource/crs:type"), ("G9", "RESOURCE_TYPE_EMPTY", ""), base=GET_CRITERIA),
    acs("G10", repeat(f"{CRITERIA}/crs:resource/crs:Id"), ("G10", "RESOURCE_ID_EMPTY", ""), base=GET_CRITERIA),
    Row(
        "NHS number",
        put(f"{ACCESS_QUERY}/crs:resourceContext", "extension", "9990012017"),
        (("acs-nhs-number", f"{K1712}MANDATORY_DATA_MISSING", "NHS number is not valid"),),
        (GENERAL_400, NHS_NUMBER),
        GET,
    ),
)

HAS = "11-"
HAS_QUERY = f"{ACT}/crs:hasResourcePermissionsRequest/crs:accessControlQuery"
FIRST = f"{HAS_QUERY}/crs:accessControlSet[1]"
HAS_RULES = (
    acs(
        "H1",
        drop(f"{HAS_QUERY}/crs:resourceContext"),
        ("H1", SCR_ONLY, "accessControlQuery.resourceContext"),
        ("H3", SCR_ONLY, QUERY_ROOT_TEXT),
        ("H4", "INVALID_ACA_CARDINALITY", ""),
        ("H5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        ("H7", "INVALID_COMBINATION_FC_RC_RI", ""),
        ("H7", "INVALID_COMBINATION_FC_RC_RI", ""),
        base=HAS,
    ),
    acs("H2", drop(f"{HAS_QUERY}/crs:accessControlSet"), ("H2", "INVALID_ACA_CARDINALITY", ""), base=HAS),
    acs("H3", put(f"{HAS_QUERY}/crs:resourceContext", "root", "1.2.3"), ("H3", SCR_ONLY, QUERY_ROOT_TEXT), base=HAS),
    acs(
        "H4",
        without(f"{HAS_QUERY}/crs:resourceContext", "extension"),
        ("H4", "INVALID_ACA_CARDINALITY", ""),
        ("H5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        ("H7", "INVALID_COMBINATION_FC_RC_RI", ""),
        ("H7", "INVALID_COMBINATION_FC_RC_RI", ""),
        base=HAS,
    ),
    acs(
        "H5",
        both(
            put(f"{HAS_QUERY}/crs:resourceContext", "extension", "999001201"),
            say(f"{HAS_QUERY}/crs:accessControlSet/crs:resource/crs:Id", "999001201"),
        ),
        ("H5", "RESOURCE_CONTEXT_TOO_SHORT", "10"),
        base=HAS,
    ),
    acs(
        "H6",
        both(
            put(f"{HAS_QUERY}/crs:resourceContext", "extension", "99900120160"),
            say(f"{HAS_QUERY}/crs:accessControlSet/crs:resource/crs:Id", "99900120160"),
        ),
        ("H6", "RESOURCE_CONTEXT_TOO_LONG", "10"),
        base=HAS,
    ),
    acs("H7", say(f"{FIRST}/crs:resource/crs:Id", "9990012024"), ("H7", "INVALID_COMBINATION_FC_RC_RI", ""), base=HAS),
    acs("H8", drop(f"{FIRST}/crs:accessor/crs:type"), ("H8", "INVALID_ACCESSOR_TYPE", ""), base=HAS),
    acs("H9", empty(f"{FIRST}/crs:accessor/crs:accessorId"), ("H9", "ACCESSOR_ID_EMPTY", ""), base=HAS),
    acs("H10", drop(f"{FIRST}/crs:function/crs:context"), ("H10", "FUNCTION_CONTEXT_EMPTY", ""), base=HAS),
    acs("H11", drop(f"{FIRST}/crs:function/crs:code"), ("H11", "ACR_CANNOT_BE_USED_AS_LRTYPE", ""), base=HAS),
    acs("H12", drop(f"{FIRST}/crs:resource/crs:type"), ("H12", "RESOURCE_TYPE_EMPTY", ""), base=HAS),
    acs("H13", repeat(f"{FIRST}/crs:resource/crs:Id"), ("H13", "RESOURCE_ID_EMPTY", ""), base=HAS),
    Row(
        "NHS number",
        both(
            put(f"{HAS_QUERY}/crs:resourceContext", "extension", "9990012017"),
            say(f"{HAS_QUERY}/crs:accessControlSet/crs:resource/crs:Id", "9990012017"),
        ),
        (("acs-nhs-number", f"{K1712}MANDATORY_DATA_MISSING", "NHS number is not valid"),),
        (GENERAL_400, NHS_NUMBER),
        HAS,
    ),
)
"""Rules of HAS. Spec: 30 §5.3."""

ACS_WRAPPER_RULES = (
    acs_wrapper("9", "INVALID_ID", drop(f"{ANY}/h:id")),
    acs_wrapper("9", "INVALID_ID", put(f"{ANY}/h:id", "root", ""), base=SET),
    acs_wrapper("10", "INVALID_CREATION_TIME", put(f"{ANY}/h:creationTime", "value", "")),
    acs_wrapper("11", "INVALID_VERSION_CODE", drop(f"{ANY}/h:versionCode"), base=SET),
    acs_wrapper(
        "12",
        "INVALID_CONTROL_ACT",
        repeat(ACT),
        ("14", "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY"),
        ("15", "CONTROL_ACT_QUERY_INVALID"),
    ),
    acs_wrapper("13", "CONTROL_ACT_AUTHOR_INVALID", repeat(f"{ACT}/h:author"), base=SET),
    acs_wrapper("14", "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY", drop(f"{ACT}/h:author1")),
    acs_wrapper("15", "CONTROL_ACT_QUERY_INVALID", empty(GET_PAYLOAD)),
    acs_wrapper("15", "CONTROL_ACT_QUERY_INVALID", repeat(SET_PAYLOAD), base=SET),
    acs_wrapper("16", "INCONSISTENT_HL7_INTERACTION_ID", put(f"{ANY}/h:interactionId", "extension", "OTHER")),
    acs_wrapper("16", "INCONSISTENT_HL7_INTERACTION_ID", say(f"{HEADER}/wsa:Action", "urn:x/OTHER")),
    acs_wrapper(
        "17", "INCONSISTENT_COMM_FUNC_RCV", put(f"{ANY}/h:communicationFunctionRcv//h:id", "extension", "200000000100")
    ),
    acs_wrapper(
        "18", "INCONSISTENT_COMM_FUNC_SND", put(f"{ANY}/h:communicationFunctionSnd//h:id", "extension", "200000000116")
    ),
    acs_wrapper("19", "CONTROL_ACT_AUTHOR_INVALID", drop(f"{ACT}/h:author//h:partSDSRole"), base=SET),
    acs_wrapper(
        "19", "CONTROL_ACT_AUTHOR_INVALID", put(f"{ACT}/h:author//h:agentPersonSDS/h:id", "root", "1.2.3"), base=SET
    ),
    acs_wrapper("20", "CONTROL_ACT_AUTHOR_AGENT_INVALID", drop(f"{ACT}/h:author1//h:id")),
    acs_wrapper(
        "21",
        "CONTROL_ACT_AUTHOR_AGENT2_INVALID",
        before(GET_PAYLOAD, SECOND_SYSTEM.format('<id root="1.2.3" extension=""/>')),
    ),
)

ACS_HEADER_RULES = (
    fault(
        "1",
        rename("/soap:Envelope", "Letter"),
        "/SOAP:Envelope",
        "/SOAP:Envelope/SOAP:Header",
        "/SOAP:Envelope/SOAP:Body",
        "/SOAP:Envelope/SOAP:Header/wsa:MessageID",
        "/SOAP:Envelope/SOAP:Header/wsa:Action",
        "/SOAP:Envelope/SOAP:Header/wsa:To",
        FUNCTION.format("Rcv"),
        FUNCTION.format("Snd"),
        base=SET,
    ),
    fault(
        "2",
        repeat(HEADER),
        "/SOAP:Envelope/SOAP:Header",
        "/SOAP:Envelope/SOAP:Header/wsa:MessageID",
        "/SOAP:Envelope/SOAP:Header/wsa:Action",
        "/SOAP:Envelope/SOAP:Header/wsa:To",
        FUNCTION.format("Rcv"),
        FUNCTION.format("Snd"),
        base=GET,
    ),
    fault("3", repeat(BODY), "/SOAP:Envelope/SOAP:Body", base=GET),
    fault("4", say(f"{HEADER}/wsa:MessageID", "uuid:1"), "/SOAP:Envelope/SOAP:Header/wsa:MessageID", base=SET),
    fault("5", repeat(f"{HEADER}/wsa:Action"), "/SOAP:Envelope/SOAP:Header/wsa:Action", base=GET),
    fault("6", drop(f"{HEADER}/wsa:To"), "/SOAP:Envelope/SOAP:Header/wsa:To", base=SET),
    fault("7", drop(f"{HEADER}/h:communicationFunctionRcv/h:device"), FUNCTION.format("Rcv"), base=GET),
    fault("8", drop(f"{HEADER}/h:communicationFunctionSnd"), FUNCTION.format("Snd"), base=SET),
)
