"""The rules of document queries: what may be asked for, and how; and of payloads that came without a SOAP header.

Both spellings of the set are one: ``setId`` (the schema's) and ``setID`` (Spine's own rules). A date is read from
elements as the schema has it, or from attributes as one file of Spine's wants it.

Spec: 20 §4, §9.2, §12.
"""

from dataclasses import replace
from typing import Final

from openscr.codes import (
    DOCUMENT_LIST,
    DOCUMENT_LIST_ALIAS,
    DOCUMENT_LIST_BY_DATE,
    DOCUMENT_LIST_BY_TYPE,
    DOCUMENT_QUERIES,
    DOCUMENT_RETRIEVALS,
    OID_ASID,
    OID_JOB_ROLE,
    OID_ROLE_PROFILE,
    OID_SNOMED,
    OID_USER,
)
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.participants import (
    ACT,
    JOB_ROLE_ID,
    PERSON,
    ROLE_PROFILE_ID,
    SYSTEM,
    SYSTEM_ID,
    SYSTEM_PLACE,
    USER_ID,
)
from openscr.hl7.rules.queries import MISSING, OVERRIDE_RULES, PATIENT_RULE, field_rule

_FILTER_MISSING: Final = "ErrorBase1733.MANDATORY_FILTER_PARAMETER_MISSING"
_NOT_TOGETHER: Final = "ErrorBase1733.SET_ID_NOT_ALLOWED_WITH_OTHER_PARAMS"
_BASE: Final = "h:ControlActEvent/h:query"

_F: Final = "h:filterParameters"
_SETS: Final = f"count({_F}/h:setId) + count({_F}/h:setID)"
_DOCUMENTS: Final = f"count({_F}/h:documentID)"
_WITH_ROOT: Final = "h:value[string-length(@root) > 0]"

_OVERRIDE_KEY: Final = f"{MISSING}[checkQuery.missingDissentOverride]"
_PARAMETERS: Final = (
    *(replace(rule, key=_OVERRIDE_KEY, text="") for rule in OVERRIDE_RULES),
    replace(PATIENT_RULE, key=f"{MISSING}[checkQuery.missingNhsNumber]", text=""),
)
"""Q1 and Q2, as the files of this family call them. Q3 is none of theirs. Spec: 20 §12."""

_ONE_DOCUMENT_OR_SET: Final = Words(
    "A document query names one document or one set.", "Write documentID or setId, one of them, once."
)

_SET_RULE: Final = field_rule(
    "psis-F3",
    ".",
    f"{_SETS} = 0 or {_F}/h:setId/{_WITH_ROOT} or {_F}/h:setID/{_WITH_ROOT}",
    f"{_FILTER_MISSING}[checkQuerySetID.missingSetID]",
    "SetId",
    Words("The set id is empty.", "Write setId/value with the id of the set in its root attribute."),
    f"{_F}/h:setId/h:value",
)

_COMBINATION_RULE: Final = field_rule(
    "psis-F1",
    ".",
    f"{_SETS} = 0 or ({_SETS} = 1 and not({_F}/h:documentType) and not({_F}/h:date))",
    f"{_NOT_TOGETHER}[checkFilterParameters.invalidCombination]",
    "SetId",
    Words(
        "A set id stands alone: with it there is no date and no document type.",
        "Leave either setId, or date and documentType; without any of them all documents are listed.",
    ),
    _F,
)

_TYPE_RULES: Final = tuple(
    field_rule(
        label,
        ".",
        f"not({_F}/h:documentType) or {_F}/h:documentType/h:value[string-length(@{attribute}) > 0]",
        f"{_FILTER_MISSING}[checkQueryDocumentType.{check}]",
        "DocumentType",
        words,
        f"{_F}/h:documentType/h:value",
    )
    for label, attribute, check, words in (
        (
            "psis-F4",
            "code",
            "missingDocumentTypeCode",
            Words(
                "The document type has no code.",
                "Write documentType/value with 196981000000101 (summary) or 196971000000103 (initial one) as code.",
            ),
        ),
        (
            "psis-F5",
            "codeSystem",
            "missingDocumentTypeCodeSystem",
            Words("The document type has no code system.", f"Write documentType/value with codeSystem {OID_SNOMED}."),
        ),
    )
)

_DATE_WORDS: Final = Words(
    "A date needs both of its ends, each an HL7 time of any precision.",
    "Write date/value with low and high, each with the time in its value attribute: 2025, 202506, 20250601120000.",
)


def _date_rules(condition: str) -> tuple[Rule, ...]:
    """Return F6 for both ends of the date; ``condition`` is when there need not be one."""
    value = f"{_F}/h:date/h:value"
    return tuple(
        field_rule(
            "psis-F6",
            ".",
            f"{condition}scr:is-hl7-time({value}/h:{end}/@value) or scr:is-hl7-time({value}/@{end})",
            f"{_FILTER_MISSING}[checkQueryDocumentDate.{check}]",
            "Date",
            _DATE_WORDS,
            value,
        )
        for end, check in (("low", "missingLow"), ("high", "missingHigh"))
    )


_SOME_DATE: Final = _date_rules(f"not({_F}/h:date) or ")

DOCUMENT_LIST_QUERY: Final = RuleSet(
    *_PARAMETERS,
    _COMBINATION_RULE,
    _SET_RULE,
    *_TYPE_RULES,
    *_SOME_DATE,
    interactions={DOCUMENT_LIST, DOCUMENT_LIST_ALIAS},
    base=_BASE,
)
"""The parameters of a document list query."""

DOCUMENT_LIST_BY_TYPE_QUERY: Final = RuleSet(
    *_PARAMETERS,
    _COMBINATION_RULE,
    _SET_RULE,
    *_SOME_DATE,
    field_rule(
        "psis-cREType",
        ".",
        f"{_F}/h:cREType/h:value[string-length(@code) > 0]",
        _FILTER_MISSING,
        "CREType",
        Words(
            "A list by heading must name the heading. Spine has no rule for that, its schema and OpenSCR have.",
            "Write cREType/value with the SNOMED CT code of the heading.",
        ),
        f"{_F}/h:cREType/h:value",
        "cREType",
    ),
    interactions={DOCUMENT_LIST_BY_TYPE},
    base=_BASE,
)
"""The parameters of a document list query by heading."""

DOCUMENT_LIST_BY_DATE_QUERY: Final = RuleSet(
    *_PARAMETERS,
    _COMBINATION_RULE,
    _SET_RULE,
    *_date_rules(""),
    interactions={DOCUMENT_LIST_BY_DATE},
    base=_BASE,
)
"""The parameters of a document list query by date, which must be there."""

DOCUMENT_QUERY: Final = RuleSet(
    *_PARAMETERS,
    field_rule(
        "psis-F2",
        ".",
        f"{_DOCUMENTS} + {_SETS} > 0",
        _NOT_TOGETHER,
        "DocumentID",
        _ONE_DOCUMENT_OR_SET,
        _F,
    ),
    field_rule("psis-F2", ".", f"{_DOCUMENTS} + {_SETS} <= 1", _NOT_TOGETHER, "SetId", _ONE_DOCUMENT_OR_SET, _F),
    _SET_RULE,
    field_rule(
        "psis-F7",
        ".",
        f"not({_F}/h:documentID) or {_F}/h:documentID/{_WITH_ROOT}",
        f"{_FILTER_MISSING}[checkQueryDocumentID.missingDocumentID]",
        "DocumentID",
        Words("The document id is empty.", "Write documentID/value with the UUID of the document as root."),
        f"{_F}/h:documentID/h:value",
    ),
    interactions=DOCUMENT_RETRIEVALS,
    base=_BASE,
)
"""The parameters of a document query."""

DOCUMENT_PARAMETERS: Final = {
    interaction: rules
    for rules in (DOCUMENT_LIST_QUERY, DOCUMENT_LIST_BY_TYPE_QUERY, DOCUMENT_LIST_BY_DATE_QUERY, DOCUMENT_QUERY)
    for interaction in rules.interactions
}
"""The rules of the parameters, by interaction."""

BARE_QUERY: Final = RuleSet(
    field_rule(
        "psis-P1",
        f"{ACT}/h:author",
        f"{PERSON}/{ROLE_PROFILE_ID} and {PERSON}/{USER_ID} and {PERSON}/{JOB_ROLE_ID}",
        MISSING,
        "Author",
        Words(
            "Without a SOAP header, an author has role profile, user and job role.",
            f"Write ids of the roots {OID_ROLE_PROFILE}, {OID_USER} and {OID_JOB_ROLE}, or no author at all.",
        ),
    ),
    field_rule(
        "psis-P1",
        f"{ACT}/h:author1",
        f"count({SYSTEM}/{SYSTEM_ID}) = 1",
        MISSING,
        "Author System",
        Words(
            "Without a SOAP header, every author1 has one ASID.",
            f"Write AgentSystemSDS/agentSystemSDS/id with root {OID_ASID} once in each author1.",
        ),
        f"{SYSTEM}/{SYSTEM_PLACE}",
    ),
    field_rule(
        "psis-P1",
        ".",
        "count(h:interactionId) = 1",
        "ErrorBase1733.INVALID_DOCUMENT_DATA",
        "Interaction Id",
        Words("There must be exactly one interactionId.", "Write it once, below the root."),
        "h:interactionId",
    ),
    interactions=DOCUMENT_QUERIES,
)
"""P1: what the common stage asks of a payload that no SOAP envelope stands around."""
