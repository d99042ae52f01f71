"""The rules of the Access Control Service: what SET, GET and HAS hold.

Texts that would hold an NHS number (the parameters of G5, G6, H5, H6, H7) leave it out: no text may.

Spec: 30 §5, §7.3.
"""

from typing import Final

from openscr.codes import ACS_GET, ACS_HAS, ACS_SET, OID_NHS_NUMBER
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.consent_wrapper import PAYLOADS
from openscr.hl7.rules.participants import ACT, NOT_AN_NHS_NUMBER

_K: Final = "ErrorBase1712."
_KEY_CODES: Final = {
    "MANDATORY_DATA_MISSING": "99701",
    "INVALID_ACA_CARDINALITY": "99702",
    "INVALID_COMBINATION_FC_RC_RI": "99703",
    "INVALID_COMBINATION_FC_RT": "99704",
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
_OF_THE_CONTEXT: Final = "35506"


def _rule(
    label: str,
    test: str,
    key: str,
    words: Words,
    *,
    text: str = "",
    at: str = ".",
    place: str = ".",
    code: str = "",
    quotes: dict[str, str] | None = None,
) -> Rule:
    return Rule(f"acs-{label}", at, test, _K + key, words, text, code or _KEY_CODES[key], place, quotes=quotes or {})


def _nhs_number_rule(number: str, place: str) -> Rule:
    return Rule(
        "acs-nhs-number",
        ".",
        f"scr:is-nhs-number({number})",
        f"{_K}MANDATORY_DATA_MISSING",
        NOT_AN_NHS_NUMBER,
        "NHS number is not valid",
        "35160",
        place,
        {"field": "NHS Number"},
    )


_CONTEXT: Final = "crs:permissions/crs:resourceContext"
_ASSERTION: Final = "crs:permissions/crs:accessControlAssertion"
_IS_CONSENT: Final = "[normalize-space(crs:function/crs:context) = 'Consent']"
_STORE: Final = f"{_ASSERTION}{_IS_CONSENT}[normalize-space(crs:function/crs:code) = 'Store']"
_VIEW: Final = f"{_ASSERTION}{_IS_CONSENT}[normalize-space(crs:function/crs:code) = 'View']"
_NOT_CLEAR: Final = "normalize-space(crs:permission) != 'Clear'"
_NOT_THE_NUMBER: Final = Words(
    "resource/Id is another patient than resourceContext.", "Write the same NHS number in both places."
)
_NOT_MARKED: Final = Words(
    "resourceContext is not marked as an NHS number.", f"Write root {OID_NHS_NUMBER} on resourceContext."
)
_NAMELESS: Final = Words("resourceContext names no patient.", "Write the NHS number as extension of resourceContext.")

SET_REQUEST: Final = RuleSet(
    _rule(
        "S1",
        f"count({_CONTEXT}) = 1",
        "MANDATORY_DATA_MISSING",
        Words("There must be exactly one resourceContext.", "Write it once in permissions, with the NHS number."),
        text="Resource Context not found",
        place=_CONTEXT,
        code=_OF_THE_CONTEXT,
    ),
    _rule(
        "S2",
        f"count({_ASSERTION}) >= 1 and count({_ASSERTION}) <= 2",
        "INVALID_ACA_CARDINALITY",
        Words(
            "A change of consent has one or two assertions.",
            "Write an accessControlAssertion for View, for Store, or one for each.",
        ),
        text="At least one and no more than two accessControlAssertion must be provided",
        place=_ASSERTION,
    ),
    _rule(
        "S3",
        f"count({_STORE}) <= 1",
        "INVALID_ACA_CARDINALITY",
        Words("Two assertions say Store.", "Leave one for Store, and write the other for View."),
        text="Only 1 Store permission can be provided",
        place=_STORE,
    ),
    _rule(
        "S4",
        f"count({_VIEW}) <= 1",
        "INVALID_ACA_CARDINALITY",
        Words("Two assertions say View.", "Leave one for View, and write the other for Store."),
        text="Only 1 View permission can be provided",
        place=_VIEW,
    ),
    _rule(
        "S5",
        f"count({_VIEW}) = 1 or count({_STORE}) = 1",
        "INVALID_ACA_CARDINALITY",
        Words(
            "There is neither exactly one assertion for View nor exactly one for Store.",
            "Write function/context Consent and function/code View or Store.",
        ),
        text="One of View or Store permission must be provided",
        place=_ASSERTION,
    ),
    _rule(
        "S6",
        "normalize-space(crs:function/crs:context) = 'Sealing' or "
        "(string-length($number) > 0 and normalize-space(crs:resource/crs:Id) = $number)",
        "INVALID_COMBINATION_FC_RC_RI",
        _NOT_THE_NUMBER,
        at=_ASSERTION,
        place="crs:resource/crs:Id",
    ),
    _rule(
        "S7",
        _ASSERTION,
        "MANDATORY_DATA_MISSING",
        Words("There is no assertion at all.", "Write at least one accessControlAssertion in permissions."),
        text="Permission to Store or View not provided ",
        place="crs:permissions",
    ),
    _rule(
        "S8",
        f"count({_ASSERTION}) != 2 or (count({_STORE}) = 1 and count({_VIEW}) = 1 and "
        f"normalize-space({_STORE}/crs:permission) = normalize-space({_VIEW}/crs:permission))",
        "MANDATORY_DATA_MISSING",
        Words(
            "View and Store must say the same: Spine keeps one consent for both.",
            "Write the same permission in both assertions, one for View and one for Store.",
        ),
        text="Inconsistent Permission to View and Store",
        place=f"{_ASSERTION}/crs:permission",
    ),
    _rule(
        "S9",
        f"{_CONTEXT}/@root = '{OID_NHS_NUMBER}'",
        "MANDATORY_DATA_MISSING",
        _NOT_MARKED,
        text=f"Permission ResourceContext root={OID_NHS_NUMBER} not found",
        place=_CONTEXT,
        code=_OF_THE_CONTEXT,
    ),
    _rule(
        "S10",
        f"{_CONTEXT}/@extension",
        "MANDATORY_DATA_MISSING",
        _NAMELESS,
        text="Permission ResourceContext extension not found",
        place=_CONTEXT,
        code=_OF_THE_CONTEXT,
    ),
    _rule(
        "S11",
        "normalize-space(crs:resource/crs:type) = 'SCR'",
        "INVALID_COMBINATION_FC_RT",
        Words("Consent is given for the Summary Care Record only.", "Write resource/type SCR."),
        text="{context}|{type}",
        at=_ASSERTION,
        place="crs:resource/crs:type",
        quotes={
            "context": "normalize-space(crs:function/crs:context)",
            "type": "normalize-space(crs:resource/crs:type)",
        },
    ),
    _rule(
        "S12",
        "normalize-space(crs:function/crs:context) = 'Consent'",
        "INVALID_FUNCTION_CONTEXT",
        Words("The function context must be Consent.", "Write function/context Consent."),
        text="1234",
        at=_ASSERTION,
        place="crs:function/crs:context",
    ),
    _rule(
        "S13",
        "normalize-space(crs:function/crs:code) = 'Store' or normalize-space(crs:function/crs:code) = 'View'",
        "INVALID_FUNCTION_CODE",
        Words("The function must be Store or View.", "Write function/code Store or View."),
        at=_ASSERTION,
        place="crs:function/crs:code",
    ),
    _rule(
        "S14",
        f"not({_NOT_CLEAR}) or normalize-space(crs:accessor/crs:type) = 'Everyone'",
        "INVALID_ACCESSOR_TYPE",
        Words("Consent is given to everyone or to nobody.", "Write accessor/type Everyone (Clear needs none)."),
        at=_ASSERTION,
        place="crs:accessor/crs:type",
    ),
    _rule(
        "S15",
        f"not({_NOT_CLEAR}) or normalize-space(crs:accessor/crs:accessorId/crs:name) = 'Everyone'",
        "INVALID_ACCESSOR_TYPE",
        Words(
            "Consent is given to everyone or to nobody.",
            "Write accessor/accessorId/name Everyone (Clear needs none).",
        ),
        at=_ASSERTION,
        place="crs:accessor/crs:accessorId/crs:name",
    ),
    _rule(
        "S16",
        "string-length(normalize-space(crs:permission)) > 0",
        "MISSING_PERMISSIONS_IN_SET",
        Words("The assertion does not say what is permitted.", "Write permission Yes, No or Clear."),
        at=_ASSERTION,
        place="crs:permission",
    ),
    Rule(
        "acs-S17",
        ".",
        "count(../h:subject) = count(../h:subject[count(h:GPSummary) = 1])",
        "ErrorBase1733.INVALID_DOCUMENT_DATA",
        Words("A request for consent has no subject; one that is there must hold a GPSummary.", "Leave subject away."),
        "hl7:GPSummary root not found",
        "99715",
        "../h:subject",
    ),
    interactions={ACS_SET},
    base=f"{ACT}/crs:{PAYLOADS[ACS_SET]}",
)
"""The payload of a SET; ``$number`` is the first extension of its ``resourceContext``."""

PERMISSION_WORD: Final = RuleSet(
    Rule(
        "acs-permission",
        ".",
        " or ".join(f"normalize-space({_ASSERTION}[1]/crs:permission) = '{word}'" for word in ("Yes", "No", "Clear"))
        + f" or ($ask = 'Clear' and normalize-space({_ASSERTION}[1]/crs:permission) = 'Ask')",
        f"{_K}INVALID_PERMISSION",
        Words(
            "This permission is none that Spine knows.",
            "Write Yes, No, or Clear to take the patient's decision back.",
        ),
        "",
        "99716",
        f"{_ASSERTION}[1]/crs:permission",
        quotes={"value": f"normalize-space({_ASSERTION}[1]/crs:permission)"},
    ),
    _nhs_number_rule(f"{_CONTEXT}/@extension", _CONTEXT),
    interactions={ACS_SET},
    base=f"{ACT}/crs:{PAYLOADS[ACS_SET]}",
)
"""What business logic looks at when the rules are kept; ``$ask`` is what ``Ask`` is taken for. Spec: 30 §4.3 D2."""

_QUERY: Final = "crs:accessControlQuery"
_QUERY_CONTEXT: Final = f"{_QUERY}/crs:resourceContext"
_CRITERIA: Final = f"{_QUERY}/crs:queryCriteria"
_SET: Final = f"{_QUERY}/crs:accessControlSet"


def _query_context_rules(letter: str, after: int) -> tuple[Rule, ...]:
    """Return rules 3-6 of GET and HAS, which are the same. Spec: 30 §5.2, §5.3."""
    return (
        _rule(
            f"{letter}{after}",
            f"{_QUERY_CONTEXT}/@root = '{OID_NHS_NUMBER}'",
            "MANDATORY_DATA_MISSING",
            _NOT_MARKED,
            text=f"accessControlQuery.resourceContext with root OID={OID_NHS_NUMBER}",
            place=_QUERY_CONTEXT,
            code=_OF_THE_CONTEXT,
        ),
        _rule(
            f"{letter}{after + 1}",
            f"{_QUERY_CONTEXT}/@extension",
            "INVALID_ACA_CARDINALITY",
            _NAMELESS,
            place=_QUERY_CONTEXT,
        ),
        _rule(
            f"{letter}{after + 2}",
            f"string-length({_QUERY_CONTEXT}/@extension) >= 10",
            "RESOURCE_CONTEXT_TOO_SHORT",
            Words("The NHS number is too short.", "Write ten digits as extension of resourceContext."),
            text="10",
            place=_QUERY_CONTEXT,
            code=_OF_THE_CONTEXT,
        ),
        _rule(
            f"{letter}{after + 3}",
            f"string-length({_QUERY_CONTEXT}/@extension) <= 10",
            "RESOURCE_CONTEXT_TOO_LONG",
            Words("The NHS number is too long.", "Write ten digits, without spaces, as extension of resourceContext."),
            text="10",
            place=_QUERY_CONTEXT,
            code=_OF_THE_CONTEXT,
        ),
    )


def _query_context_rule(label: str) -> Rule:
    return _rule(
        label,
        f"count({_QUERY_CONTEXT}) = 1",
        "MANDATORY_DATA_MISSING",
        Words("There must be exactly one resourceContext.", "Write it once in accessControlQuery."),
        text="accessControlQuery.resourceContext",
        place=_QUERY_CONTEXT,
        code=_OF_THE_CONTEXT,
    )


_ONE_CONTEXT: Final = Words("function/context must be there exactly once.", "Write function/context Consent, once.")
_ONE_TYPE: Final = Words("resource/type must be there exactly once.", "Write resource/type SCR, once.")
_ONE_ID: Final = Words("resource/Id must be there exactly once.", "Write resource/Id with the NHS number, once.")

GET_REQUEST: Final = RuleSet(
    _query_context_rule("G1"),
    _rule(
        "G2",
        f"count({_CRITERIA}) <= 1",
        "INVALID_ACA_CARDINALITY",
        Words("There is more than one queryCriteria.", "Leave one, or none to ask for everything."),
        place=_CRITERIA,
    ),
    *_query_context_rules("G", 3),
    _rule(
        "G7",
        "$context = 'Sealing' or normalize-space(crs:Id) = $number",
        "INVALID_COMBINATION_FC_RC_RI",
        _NOT_THE_NUMBER,
        at=f"{_CRITERIA}/crs:resource",
        place="crs:Id",
    ),
    # One finding for the criteria instead of one for each of its resources: they share the one that is missing.
    _rule(
        "G8",
        "not(crs:resource) or count(crs:function/crs:context) = 1",
        "FUNCTION_CONTEXT_EMPTY",
        _ONE_CONTEXT,
        at=_CRITERIA,
        place="crs:function/crs:context",
    ),
    _rule(
        "G9",
        "count(crs:type) = 1",
        "RESOURCE_TYPE_EMPTY",
        _ONE_TYPE,
        at=f"{_CRITERIA}/crs:resource",
        place="crs:type",
    ),
    _rule("G10", "count(crs:Id) = 1", "RESOURCE_ID_EMPTY", _ONE_ID, at=f"{_CRITERIA}/crs:resource", place="crs:Id"),
    interactions={ACS_GET},
    base=f"{ACT}/crs:{PAYLOADS[ACS_GET]}",
)
"""The payload of a GET; ``$number`` is its NHS number, ``$context`` the function context of its criteria."""

_ACCESSOR_ID: Final = "crs:accessor/crs:accessorId/crs:Id"
_ACCESSOR_ID_LOWER: Final = "crs:accessor/crs:accessorId/crs:id"
_WITH_BOTH: Final = "[string-length(@root) > 0][string-length(@extension) > 0]"

HAS_REQUEST: Final = RuleSet(
    _query_context_rule("H1"),
    _rule(
        "H2",
        _SET,
        "INVALID_ACA_CARDINALITY",
        Words("Nothing is asked for.", "Write at least one accessControlSet in accessControlQuery."),
        place=_QUERY,
    ),
    *_query_context_rules("H", 3),
    _rule(
        "H7",
        "normalize-space(crs:function/crs:context) = 'Sealing' or "
        "(string-length($number) > 0 and normalize-space(crs:resource/crs:Id) = $number)",
        "INVALID_COMBINATION_FC_RC_RI",
        _NOT_THE_NUMBER,
        at=_SET,
        place="crs:resource/crs:Id",
    ),
    _rule(
        "H8",
        "count(crs:accessor/crs:type) = 1",
        "INVALID_ACCESSOR_TYPE",
        Words("accessor/type must be there exactly once.", "Write accessor/type in each accessControlSet, once."),
        at=_SET,
        place="crs:accessor/crs:type",
    ),
    # The schema writes id, the published rule tests Id: either is taken. Spec: 30 §4.3 D1.
    _rule(
        "H9",
        f"{_ACCESSOR_ID}{_WITH_BOTH} or {_ACCESSOR_ID_LOWER}{_WITH_BOTH} or "
        "count(crs:accessor/crs:accessorId/crs:name) = 1",
        "ACCESSOR_ID_EMPTY",
        Words(
            "The accessor is not named.",
            "Write accessor/accessorId with one name, or with Id that has root and extension.",
        ),
        at=_SET,
        place="crs:accessor/crs:accessorId",
    ),
    _rule(
        "H10",
        "count(crs:function/crs:context) = 1",
        "FUNCTION_CONTEXT_EMPTY",
        _ONE_CONTEXT,
        at=_SET,
        place="crs:function/crs:context",
    ),
    _rule(
        "H11",
        "count(crs:function/crs:code) = 1",
        "ACR_CANNOT_BE_USED_AS_LRTYPE",
        Words("function/code must be there exactly once.", "Write function/code Store or View, once."),
        at=_SET,
        place="crs:function/crs:code",
    ),
    _rule(
        "H12",
        "count(crs:resource/crs:type) = 1",
        "RESOURCE_TYPE_EMPTY",
        _ONE_TYPE,
        at=_SET,
        place="crs:resource/crs:type",
    ),
    _rule(
        "H13",
        "count(crs:resource/crs:Id) = 1",
        "RESOURCE_ID_EMPTY",
        _ONE_ID,
        at=_SET,
        place="crs:resource/crs:Id",
    ),
    interactions={ACS_HAS},
    base=f"{ACT}/crs:{PAYLOADS[ACS_HAS]}",
)
"""The payload of a HAS; ``$number`` is its NHS number."""

ASKED_PATIENT: Final = {
    interaction: RuleSet(
        _nhs_number_rule(f"{_QUERY_CONTEXT}/@extension", _QUERY_CONTEXT),
        interactions={interaction},
        base=f"{ACT}/crs:{PAYLOADS[interaction]}",
    )
    for interaction in (ACS_GET, ACS_HAS)
}
"""Format and check digit of the number of a GET and a HAS, when the rules are kept. Spec: 30 §9.2 step 7."""
