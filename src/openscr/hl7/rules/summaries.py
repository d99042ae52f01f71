"""The rules of GP Summary uploads and withdrawals: common stage, summary, withdrawal.

Where Spine counts twice or forgets (G7, G8), the row says what we do.

Spec: 10 §11.1, §11.2, §11.3, §14.
"""

from typing import Final

from openscr.codes import (
    OID_ODS,
    OID_ORGANISATION_12,
    OID_ROLE_PROFILE,
    OID_USER,
    OID_WITHDRAWAL_REASON,
    UPLOADS,
    WITHDRAWALS,
)
from openscr.hl7.rules.asynchronous import wrapper_rules
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.participants import (
    FILLED,
    INTERACTION,
    IS_HL7,
    JOB_ROLE_ID,
    JOB_ROLE_PLACE,
    NO_JOB_ROLE,
    NO_ROLE_PROFILE,
    NO_SYSTEM,
    NO_USER,
    NOT_AN_NHS_NUMBER,
    PATIENT,
    ROLE_PROFILE_ID,
    ROLE_PROFILE_PLACE,
    SYSTEM_ID,
    SYSTEM_PLACE,
    USER_ID,
    USER_PLACE,
)

LONGEST_ID: Final = 64
"""Characters of an event id at most; a UUID has 36."""

INVALID: Final = "ErrorBase1733.INVALID_DOCUMENT_DATA"
MISSING: Final = "ErrorBase1733.MANDATORY_FIELD_MISSING"

_USABLE: Final = (
    f" and h:id[string-length(@root) > 0][string-length(@root) <= {LONGEST_ID}]"
    "[string-length(translate(@root, ' \t\r\n', '')) = string-length(@root)]"
)
"""An event can be kept under any word of sensible length: level `spine` asks for no UUID."""

_HOLDER: Final = "h:author/*[local-name() != 'time']"
_NUMBER: Final = "h:recordTarget/h:patient/h:id"
_ROLE_TEXT: Final = (
    "A single author roleProfileID attribute of root codeSystem 1.2.826.0.1285.0.2.0.67 must be provided"
)
_USER_TEXT: Final = "A single author personSDS ID attribute of root codeSystem 1.2.826.0.1285.0.2.0.65 must be provided"
_TARGETS_TEXT: Final = "zero or one replacementOf targets may be provided"


def _common(interaction_id: str) -> tuple[Rule, ...]:
    """Return C1-C5; C5, and W2 of withdrawals, is a wrapper error (515) before it is looked at. Spec: 10 §14."""
    author = "h:ControlActEvent/h:author/h:AgentPersonSDS"
    return (
        Rule(
            "gp-C1",
            "//h:author1/h:AgentSystemSDS",
            f"count({SYSTEM_ID}/@extension) = 1",
            MISSING,
            NO_SYSTEM,
            "Agent System SDS ID missing",
            place=SYSTEM_PLACE,
        ),
        Rule(
            "gp-C2",
            author,
            f"count({ROLE_PROFILE_ID}/@extension) = 1",
            MISSING,
            NO_ROLE_PROFILE,
            "Author agent org person role profile ID missing",
            place=ROLE_PROFILE_PLACE,
        ),
        Rule(
            "gp-C3",
            author,
            f"count({USER_ID}/@extension) = 1",
            MISSING,
            NO_USER,
            "Author agent person SDS ID missing",
            place=USER_PLACE,
        ),
        Rule(
            "gp-C4",
            author,
            f"count({JOB_ROLE_ID}/@extension) = 1",
            MISSING,
            NO_JOB_ROLE,
            "Author agent person Job Role ID missing",
            place=JOB_ROLE_PLACE,
        ),
        Rule(
            interaction_id,
            ".",
            "count(h:interactionId) = 1",
            INVALID,
            INTERACTION,
            "a single interactionID root and extension must be provided",
            place="h:interactionId",
        ),
    )


def _single(label: str, document: str, name: str, attribute: str, wrong: str, mend: str, further: str = "") -> Rule:
    path = "/".join(f"h:{step}" for step in name.split("/"))
    text = f"A single hl7:{document}/{path.replace('h:', 'hl7:')}/@{attribute} must be provided"
    return Rule(label, ".", f"count({path}/@{attribute}) = 1{further}", INVALID, Words(wrong, mend), text, place=path)


def _one_patient(label: str, document: str, wrong: str) -> tuple[Rule, ...]:
    """Return G6 or W6, and the format and check digit, which share one issue. Spec: 10 §14."""
    prefix = label.partition("-")[0]
    field = {"field": "NHS Number"}
    return (
        Rule(
            label,
            ".",
            f"count({_NUMBER}/@extension) = 1",
            INVALID,
            Words(wrong, f"Write recordTarget/patient/id {PATIENT}"),
            f"A single nhsNumber should be provided in hl7:{document}/hl7:recordTarget/hl7:patient/hl7:id/@extension",
            "35160",
            _NUMBER,
            field,
        ),
        Rule(
            f"{prefix}-nhs-number",
            ".",
            f"count({_NUMBER}/@extension) != 1 or scr:is-nhs-number({_NUMBER}/@extension)",
            INVALID,
            NOT_AN_NHS_NUMBER,
            "NHS number is not valid",
            "35160",
            _NUMBER,
            field,
        ),
    )


def _author_ids(role: str, user: str) -> tuple[Rule, Rule]:
    """Return G11 and G12, or W10 and W11: as many ids as persons."""
    person = "h:author/*/h:agentPersonSDS"
    return (
        Rule(
            role,
            ".",
            f"count({person}) = count(h:author/*/h:id[@root='{OID_ROLE_PROFILE}']{FILLED})",
            INVALID,
            Words(
                "The document's author has not one role profile id for its one person.",
                f"Write id with root {OID_ROLE_PROFILE} and the role profile id as extension in AgentPersonSDS, beside "
                "agentPersonSDS.",
            ),
            _ROLE_TEXT,
            place=f"{_HOLDER}/h:id",
        ),
        Rule(
            user,
            ".",
            f"count({person}) = count({person}/h:id[@root='{OID_USER}']{FILLED})",
            INVALID,
            Words(
                "The document's author has not one user id for its one person.",
                f"Write id with root {OID_USER} and the SDS user id as extension in agentPersonSDS.",
            ),
            _USER_TEXT,
            place=f"{person}/h:id",
        ),
    )


_AGENT_KINDS: Final = ("agentPersonSDS", "agentPerson", "agentOrganizationSDS", "agentOrganization")
_IS_AGENT: Final = " or ".join(f"local-name() = '{kind}'" for kind in _AGENT_KINDS)
_AGENT: Final = f"h:author/*/*[{IS_HL7}][{_IS_AGENT}]"
"""Whoever the author is, by kind."""

_ORGANISATION: Final = "h:author/*/h:agentOrganizationSDS"

UPLOAD_WRAPPER: Final = RuleSet(*wrapper_rules("gp"), interactions=UPLOADS)
"""What makes an upload unanswerable in its own terms: AR."""

UPLOAD_COMMON: Final = RuleSet(*_common("gp-C5"), interactions=UPLOADS)
"""The common stage of uploads."""

UPLOAD_SUBJECT: Final = RuleSet(
    Rule(
        "gp-G1",
        ".",
        "count(h:ControlActEvent/h:subject) = 1 and count(h:ControlActEvent/h:subject/h:GPSummary) = 1",
        INVALID,
        Words(
            "The message must carry exactly one GPSummary.",
            "Write it once, in the one subject of ControlActEvent, in the namespace urn:hl7-org:v3.",
        ),
        "hl7:GPSummary root not found",
        place="h:ControlActEvent/h:subject",
    ),
    interactions=UPLOADS,
)
"""What an upload carries."""

SUMMARY: Final = RuleSet(
    _single(
        "gp-G2",
        "GPSummary",
        "id",
        "root",
        "The summary must have exactly one id, without spaces and of at most 64 characters: the id of the event.",
        "Write GPSummary/id with a fresh UUID in its root attribute.",
        _USABLE,
    ),
    _single(
        "gp-G3",
        "GPSummary",
        "code",
        "code",
        "The summary must say what it is, exactly once.",
        "Write GPSummary/code with code 196981000000101 (initial summary: 196971000000103).",
    ),
    _single(
        "gp-G4",
        "GPSummary",
        "statusCode",
        "code",
        "The summary must have exactly one status, and the code must be written out although the schema has a default.",
        "Write statusCode with code active.",
    ),
    _single(
        "gp-G5",
        "GPSummary",
        "effectiveTime",
        "value",
        "The summary must have exactly one time of its own.",
        "Write GPSummary/effectiveTime with the time in its value attribute.",
    ),
    *_one_patient("gp-G6", "GPSummary", "The summary must name exactly one patient."),
    # Spine itself faults only at three; at two it silently forgets both. Spec: 10 §11.2.
    Rule(
        "gp-G7",
        ".",
        "count(h:replacementOf/h:priorMessageRef/h:id/@root) <= 1",
        INVALID,
        Words(
            "A summary may replace one earlier summary, not several.",
            "Leave the one replacementOf that names the summary which is current. Spine itself loses both of two "
            "silently.",
        ),
        _TARGETS_TEXT,
        place="h:replacementOf/h:priorMessageRef/h:id",
    ),
    _single(
        "gp-G8",
        "GPSummary",
        "author/time",
        "value",
        "The summary's author must have exactly one time.",
        "Write GPSummary/author/time with the time in its value attribute.",
    ),
    Rule(
        "gp-G9",
        ".",
        f"count({_AGENT}) = 1",
        INVALID,
        Words(
            "The summary's author must be exactly one person or one organisation.",
            "Below the agent of GPSummary/author write one of agentPersonSDS, agentPerson, agentOrganizationSDS and "
            "agentOrganization.",
        ),
        "Either a single agentPersonSDS or agentOrganizationSDS must be provided as the event author",
        place=_HOLDER,
    ),
    Rule(
        "gp-G10",
        ".",
        f"count({_ORGANISATION}) = "
        f"count({_ORGANISATION}/h:id[@root='{OID_ODS}' or @root='{OID_ORGANISATION_12}']{FILLED})",
        INVALID,
        Words(
            "The authoring organisation has no id that Spine knows, or more than one.",
            f"Write agentOrganizationSDS/id with root {OID_ODS} (ODS code) or {OID_ORGANISATION_12} as root, "
            "and an extension, once.",
        ),
        "A single organizationSDS ID attribute of root codeSystem 1.2.826.0.1285.0.1.10 or 1.2.826.0.1285.0.2.0.109 "
        "must be provided",
        place=f"{_ORGANISATION}/h:id",
    ),
    *_author_ids("gp-G11", "gp-G12"),
    Rule(
        "gp-G13",
        ".",
        f"not({_AGENT}) or count({_AGENT}/h:name) = 1",
        INVALID,
        Words("The author must have exactly one name.", "Write name once in the person or organisation."),
        "A single author Name must be provided",
        place=f"{_AGENT}/h:name",
    ),
    interactions=UPLOADS,
    base="h:ControlActEvent/h:subject/h:GPSummary",
)
"""The rules of a summary, wherever it stands."""

WITHDRAWAL_WRAPPER: Final = RuleSet(*wrapper_rules("wd"), interactions=WITHDRAWALS)
WITHDRAWAL_COMMON: Final = RuleSet(*_common("wd-W2"), interactions=WITHDRAWALS)
WITHDRAWAL_SUBJECT: Final = RuleSet(
    Rule(
        "wd-W1",
        ".",
        "count(h:ControlActEvent/h:subject) = 1 and count(h:ControlActEvent/h:subject/h:MessageWithdrawal) = 1",
        INVALID,
        Words(
            "The message must carry exactly one MessageWithdrawal.",
            "Write it once, in the one subject of ControlActEvent, in the namespace urn:hl7-org:v3.",
        ),
        "hl7:MessageWithdrawal root not found",
        place="h:ControlActEvent/h:subject",
    ),
    interactions=WITHDRAWALS,
)
_REASON_CODE: Final = "h:reason/h:justifyingReason/h:code"
WITHDRAWAL: Final = RuleSet(
    _single(
        "wd-W3",
        "MessageWithdrawal",
        "id",
        "root",
        "The withdrawal must have exactly one id of its own, without spaces and of at most 64 characters.",
        "Write MessageWithdrawal/id with a fresh UUID in its root attribute.",
        _USABLE,
    ),
    _single(
        "wd-W4",
        "MessageWithdrawal",
        "code",
        "code",
        "The withdrawal must say what is withdrawn, exactly once.",
        "Write MessageWithdrawal/code with the code of the summary: 196981000000101 or, initial, 196971000000103.",
    ),
    _single(
        "wd-W5",
        "MessageWithdrawal",
        "effectiveTime",
        "value",
        "The withdrawal must have exactly one time.",
        "Write MessageWithdrawal/effectiveTime with the time in its value attribute.",
    ),
    *_one_patient("wd-W6", "MessageWithdrawal", "The withdrawal must name exactly one patient."),
    Rule(
        "wd-W7",
        ".",
        f"count({_REASON_CODE}[@codeSystem='{OID_WITHDRAWAL_REASON}']/@code) = 1",
        INVALID,
        Words(
            "The withdrawal must give exactly one coded reason.",
            f"Write reason/justifyingReason/code with codeSystem {OID_WITHDRAWAL_REASON} and code 01 (sent in "
            "error), 02 (wrong patient) or 03 (incorrect information).",
        ),
        f"A single justifyingReason code of codeSystem {OID_WITHDRAWAL_REASON} should be provided in "
        "hl7:MessageWithdrawal/hl7:reason/hl7:justifyingReason/hl7:code",
        place=_REASON_CODE,
    ),
    Rule(
        "wd-W8",
        ".",
        "count(h:subject/h:messageRef/h:id/@root) <= 1",
        INVALID,
        Words(
            "A withdrawal withdraws one event, not several.",
            "Leave one subject/messageRef/id, and send a withdrawal for each event.",
        ),
        _TARGETS_TEXT,
        place="h:subject/h:messageRef/h:id",
    ),
    Rule(
        "wd-W9",
        ".",
        "count(h:author/*/h:agentPersonSDS) = 1",
        INVALID,
        Words(
            "Exactly one person withdraws a summary.",
            "Write one agentPersonSDS in AgentPersonSDS of MessageWithdrawal/author.",
        ),
        "A single agentPersonSDS must be provided as the event author",
        place=_HOLDER,
    ),
    *_author_ids("wd-W10", "wd-W11"),
    interactions=WITHDRAWALS,
    base="h:ControlActEvent/h:subject/h:MessageWithdrawal",
)
