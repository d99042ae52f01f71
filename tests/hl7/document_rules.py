"""The rules of document queries and of SCR applications as rows, like those of `hl7.rules`.

The rows of document queries change the bare payloads of the examples, as they travel over ebXML.

Spec: 20 §4, §9.2, §11.1, §12; 30 §5.4.
"""

from .mutation import Change, add, both, drop, empty, put, repeat, say, without
from .rules import ACT as SOAP_ACT
from .rules import ANY, GENERAL_400, HEADER, MISSING, SECOND_SYSTEM, Row

ACT = "h:ControlActEvent"
QUERY = f"{ACT}/h:query"
FILTER = f"{QUERY}/h:filterParameters"
LIST, ONE = "QUPC_IN160101UK05_request_payload", "QUPC_IN160103UK05_request_payload"
BY_TYPE, BY_DATE = "QUPC_IN160107UK05_request_payload", "QUPC_IN160109UK05_request_payload"
SCRA = "HAS_SCRA_PERMISSIONS_INSM01_request_soap"

K1732 = "ErrorBase1732."
FILTER_MISSING = "ErrorBase1733.MANDATORY_FILTER_PARAMETER_MISSING"
COMBINATION = "ErrorBase1733.SET_ID_NOT_ALLOWED_WITH_OTHER_PARAMS"
CONSISTENCY = f"{K1732}INCONSISTENT_HL7_INTERACTION_ID[checkHeaderBodyConsistency."

SET = '<setId><semanticsText>SetId</semanticsText><value root="{0}"/></setId>'
SOME_SET = SET.format("9A1C2E34-0000-4000-8000-00000000AB01")


def row(label: str, change: Change, fields: str, *faults: tuple[str, str] | tuple[str, str, str], base: str) -> Row:
    """Faults, each (rule, key) or with its text: one second reason for each field name, in order."""
    found = tuple(
        (fault[0] if "-P" in fault[0] else f"psis-{fault[0]}", fault[1], fault[2] if len(fault) == 3 else "")
        for fault in faults
    )
    issues = [GENERAL_400]
    issues += [
        ("35160", f"[PSIS-35160] - Invalid input message. Mandatory field {name} is missing or incorrect")
        for name in fields.split("|")
    ]
    return Row(label, change, found, tuple(issues), base)


def only(*changes: Change) -> Change:
    """Leave nothing in the filter, then make these changes."""
    return both(empty(FILTER), *changes)


F6_LOW = ("F6", f"{FILTER_MISSING}[checkQueryDocumentDate.missingLow]")
F6_HIGH = ("F6", f"{FILTER_MISSING}[checkQueryDocumentDate.missingHigh]")
F3 = ("F3", f"{FILTER_MISSING}[checkQuerySetID.missingSetID]")
F7 = ("F7", f"{FILTER_MISSING}[checkQueryDocumentID.missingDocumentID]")
F1 = ("F1", f"{COMBINATION}[checkFilterParameters.invalidCombination]")

DOCUMENT_RULES = (
    row("B1", drop("h:id"), "Id", ("B1", f"{K1732}INVALID_ID"), base=LIST),
    row("B2", drop("h:creationTime"), "Creation Time", ("B2", f"{K1732}INVALID_CREATION_TIME"), base=ONE),
    row("B7", empty(QUERY), "Query", ("B7", f"{K1732}CONTROL_ACT_QUERY_INVALID"), base=LIST),
    row(
        "C3",
        put("h:interactionId", "extension", "QUPC_IN160109UK05"),
        "Interaction Id",
        ("C3", f"{CONSISTENCY}invalidInteractionIdDoesNotMatchAction]"),
        ("C4", f"{CONSISTENCY}invalidInteractionIdDoesNotMatchBodyRoot]"),
        base=LIST,
    ),
    row(
        "C5",
        drop("h:communicationFunctionRcv"),
        "Receiver",
        ("C5", f"{K1732}INCONSISTENT_COMM_FUNC_RCV"),
        base=LIST,
    ),
    row("C6", drop("h:communicationFunctionSnd"), "Sender", ("C6", f"{K1732}INCONSISTENT_COMM_FUNC_SND"), base=LIST),
    row(
        "A2",
        drop(f"{ACT}/h:author//h:agentPersonSDS/h:id"),
        "Author",
        ("A2", f"{K1732}CONTROL_ACT_AUTHOR_INVALID[checkAuthorPerson.invalidAgentPersonID]"),
        ("P1", MISSING),
        base=LIST,
    ),
    row(
        "P1",
        add(ACT, SECOND_SYSTEM.format('<id root="1.2.3" extension="workstation"/>')),
        "Author System",
        ("P1", MISSING),
        base=LIST,
    ),
    row(
        "P1",
        repeat("h:interactionId"),
        "Interaction Id",
        ("C1", f"{CONSISTENCY}invalidNumberInteractionIdElements]"),
        ("C2", f"{CONSISTENCY}invalidInteractionCodeSystem]"),
        ("C3", f"{CONSISTENCY}invalidInteractionIdDoesNotMatchAction]"),
        ("C4", f"{CONSISTENCY}invalidInteractionIdDoesNotMatchBodyRoot]"),
        ("P1", "ErrorBase1733.INVALID_DOCUMENT_DATA"),
        base=ONE,
    ),
    row(
        "Q1",
        without(f"{QUERY}/h:dissentOverride/h:value", "code"),
        "DissentOverride",
        ("Q1", f"{MISSING}[checkQuery.missingDissentOverride]"),
        base=LIST,
    ),
    row(
        "Q1",
        put(f"{QUERY}/h:dissentOverride/h:value", "code", "7"),
        "DissentOverride",
        ("Q1", f"{MISSING}[checkQuery.missingDissentOverride]"),
        base=ONE,
    ),
    row(
        "Q2",
        drop(f"{QUERY}/h:nHSNumber"),
        "NHS Number",
        ("Q2", f"{MISSING}[checkQuery.missingNhsNumber]"),
        base=BY_DATE,
    ),
    row(
        "Q2",
        repeat(f"{QUERY}/h:nHSNumber"),
        "NHS Number",
        ("Q2", f"{MISSING}[checkQuery.missingNhsNumber]"),
        base=LIST,
    ),
    row(
        "nhs-number",
        put(f"{QUERY}/h:nHSNumber/h:value", "extension", "9990012319"),
        "NHS Number",
        ("nhs-number", MISSING, "NHS number is not valid"),
        base=LIST,
    ),
    row("F1", add(FILTER, SOME_SET), "SetId", F1, base=LIST),
    row("F1", both(drop(f"{FILTER}/h:date"), add(FILTER, SOME_SET)), "SetId", F1, base=LIST),
    row("F1", only(add(FILTER, SOME_SET), add(FILTER, SOME_SET.replace("setId", "setID"))), "SetId", F1, base=LIST),
    row("F2", empty(FILTER), "DocumentID", ("F2", COMBINATION), base=ONE),
    row("F2", drop(FILTER), "DocumentID", ("F2", COMBINATION), base=ONE),
    row("F2", add(FILTER, SOME_SET), "SetId", ("F2", COMBINATION), base=ONE),
    row("F2", repeat(f"{FILTER}/h:documentID"), "SetId", ("F2", COMBINATION), base=ONE),
    row("F3", only(add(FILTER, SET.format(""))), "SetId", F3, base=LIST),
    row("F3", only(add(FILTER, SET.format("").replace("setId", "setID"))), "SetId", F3, base=ONE),
    row(
        "F4",
        without(f"{FILTER}/h:documentType/h:value", "code"),
        "DocumentType",
        ("F4", f"{FILTER_MISSING}[checkQueryDocumentType.missingDocumentTypeCode]"),
        base=LIST,
    ),
    row(
        "F5",
        put(f"{FILTER}/h:documentType/h:value", "codeSystem", ""),
        "DocumentType",
        ("F5", f"{FILTER_MISSING}[checkQueryDocumentType.missingDocumentTypeCodeSystem]"),
        base=LIST,
    ),
    row("F6", drop(f"{FILTER}/h:date//h:low"), "Date", F6_LOW, base=LIST),
    row("F6", put(f"{FILTER}/h:date//h:high", "value", ""), "Date", F6_HIGH, base=BY_TYPE),
    row("F6", put(f"{FILTER}/h:date//h:high", "value", "tomorrow"), "Date", F6_HIGH, base=BY_DATE),
    row("F6", put(f"{FILTER}/h:date//h:low", "value", "202"), "Date", F6_LOW, base=BY_DATE),
    row("F6", empty(FILTER), "Date", F6_LOW, F6_HIGH, base=BY_DATE),
    row("F7", put(f"{FILTER}/h:documentID/h:value", "root", ""), "DocumentID", F7, base=ONE),
    row("F7", drop(f"{FILTER}/h:documentID/h:value"), "DocumentID", F7, base=ONE),
    row("cREType", drop(f"{FILTER}/h:cREType"), "CREType", ("cREType", FILTER_MISSING, "cREType"), base=BY_TYPE),
    row(
        "cREType",
        put(f"{FILTER}/h:cREType/h:value", "code", ""),
        "CREType",
        ("cREType", FILTER_MISSING, "cREType"),
        base=BY_TYPE,
    ),
    row(
        "several",
        both(
            drop(f"{FILTER}/h:cREType"),
            drop(f"{QUERY}/h:nHSNumber"),
            drop("h:versionCode"),
            put(f"{FILTER}/h:date//h:low", "value", ""),
        ),
        "Version Code|NHS Number|Date|CREType",
        ("B3", f"{K1732}INVALID_VERSION_CODE"),
        ("Q2", f"{MISSING}[checkQuery.missingNhsNumber]"),
        F6_LOW,
        ("cREType", FILTER_MISSING, "cREType"),
        base=BY_TYPE,
    ),
)

SCRA_QUERY = f"{SOAP_ACT}/h:query"
GROUP = (
    '<AgentWorkgroupSDS classCode="AGNT"><id root="1.2.826.0.1285.0.2.0.109" extension="555000000333"/>'
    "</AgentWorkgroupSDS>"
)

SCRA_RULES = (
    row("B3", drop(f"{ANY}/h:versionCode"), "Version Code", ("B3", f"{K1732}INVALID_VERSION_CODE"), base=SCRA),
    row(
        "C6",
        put(f"{ANY}/h:communicationFunctionSnd//h:id", "extension", "1"),
        "Sender",
        ("C6", f"{K1732}INCONSISTENT_COMM_FUNC_SND"),
        base=SCRA,
    ),
    row(
        "C3",
        say(f"{HEADER}/wsa:Action", "urn:nhs:names:services:psisquery/QUPC_IN190000UK04"),
        "Interaction Id",
        ("C3", f"{CONSISTENCY}invalidInteractionIdDoesNotMatchAction]"),
        base=SCRA,
    ),
    *(
        row(label, change, field, (rule, MISSING, text), base=SCRA)
        for label, change, field, rule, text in (
            ("author", drop(f"{SCRA_QUERY}/h:author"), "Author", "acs-P1", "author"),
            ("two authors", repeat(f"{SCRA_QUERY}/h:author"), "Author", "acs-P1", "author"),
            (
                "author without id",
                put(f"{SCRA_QUERY}/h:author//h:id", "root", "1.2.3"),
                "Author",
                "acs-P1",
                "author",
            ),
            ("subject", drop(f"{SCRA_QUERY}/h:subject"), "Subject", "acs-P2", "subject"),
            ("subjects", add(f"{SCRA_QUERY}/h:subject", GROUP), "Subject", "acs-P2", "subject"),
            ("empty", empty(f"{SCRA_QUERY}/h:subject"), "Subject", "acs-P2", "subject"),
            ("subject's id", drop(f"{SCRA_QUERY}/h:subject//h:id"), "Subject", "acs-P3", "subject"),
            (
                "workgroup's id",
                both(
                    empty(f"{SCRA_QUERY}/h:subject"),
                    add(f"{SCRA_QUERY}/h:subject", GROUP.replace("0.109", "0.110")),
                ),
                "Subject",
                "acs-P5",
                "subject",
            ),
            ("P6", drop(f"{SCRA_QUERY}/h:nHSNumber"), "NHS Number", "acs-P6", "nhsNumber"),
            (
                "nhs-number",
                put(f"{SCRA_QUERY}/h:nHSNumber/h:value", "extension", "99900123"),
                "NHS Number",
                "nhs-number",
                "NHS number is not valid",
            ),
        )
    ),
)
"""The question of an SCR application; who takes part in its control act is only counted."""
