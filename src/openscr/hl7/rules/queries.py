"""The rules of PSIS queries: wrapper, consistency with the SOAP header, people and systems, parameters.

Spec: 20 §4, §5, §9.2, §12.
"""

from typing import Final

from openscr.codes import (
    DOCUMENT_QUERIES,
    EVENT,
    EVENT_LIST,
    EVENT_LIST_SM,
    OID_DISSENT_OVERRIDE,
    OID_INTERACTION,
    OID_NHS_NUMBER,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
)
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.participants import (
    ACT,
    AT_MOST_ONE_AUTHOR,
    FILLED,
    FIRST_SYSTEM,
    HAS_CREATION_TIME,
    HAS_ID,
    HAS_VERSION,
    INTERACTION,
    IS_HL7,
    JOB_ROLE_ID,
    JOB_ROLE_PLACE,
    NO_CREATION_TIME,
    NO_DEVICE,
    NO_ID,
    NO_JOB_ROLE,
    NO_REQUEST,
    NO_ROLE_PROFILE,
    NO_SYSTEM,
    NO_USER,
    NO_VERSION,
    NOT_AN_NHS_NUMBER,
    ONE_CONTROL_ACT,
    ONE_OR_TWO_SYSTEMS,
    OTHER_RECEIVER,
    OTHER_SENDER,
    PATIENT,
    PERSON,
    RECEIVER_AGREES,
    RECEIVER_PLACE,
    ROLE_PROFILE_ID,
    ROLE_PROFILE_PLACE,
    SECOND_SYSTEM,
    SECOND_SYSTEM_PLACE,
    SENDER_AGREES,
    SENDER_PLACE,
    SYSTEM,
    SYSTEM_PLACE,
    SYSTEMS,
    TWO_AUTHORS,
    USER_ID,
    USER_PLACE,
)

MISSING: Final = "ErrorBase1733.MANDATORY_FIELD_MISSING"
EVENT_QUERIES: Final = frozenset({EVENT_LIST, EVENT_LIST_SM, EVENT, SUBJECT_ACCESS})
_QUERIES: Final = EVENT_QUERIES | DOCUMENT_QUERIES.keys()

_W: Final = "ErrorBase1732."
_CONSISTENCY: Final = f"{_W}INCONSISTENT_HL7_INTERACTION_ID[checkHeaderBodyConsistency."
_AUTHOR: Final = f"{_W}CONTROL_ACT_AUTHOR_INVALID[checkAuthorPerson."
_AGENT: Final = f"{ACT}/h:author/{PERSON}"
_INTERACTION: Final = "count(h:interactionId) = 1 and h:interactionId"


def field_rule(
    label: str, context: str, test: str, key: str, field: str, words: Words, place: str = ".", text: str = ""
) -> Rule:
    """Return a rule whose breach is told by the name of a field: general 400, then 35160. Spec: 20 §9.2."""
    return Rule(label, context, test, key, words, text, "35160", place, {"field": field})


def _author_rule(label: str, check: str, test: str, place: str, words: Words) -> Rule:
    """Return A1, A2 or A3: an author, when there is one, has this id. Spec: 20 §12."""
    there = f"not({ACT}/h:author) or {_AGENT}/{test}{FILLED}"
    return field_rule(label, ".", there, f"{_AUTHOR}{check}]", "Author", words, f"{_AGENT}/{place}")


BODY_RULES: Final = (
    # Without an id only a SOAP fault can answer. Spec: 20 §9.2.
    field_rule(
        "psis-B1",
        ".",
        HAS_ID,
        f"{_W}INVALID_ID",
        "Id",
        NO_ID,
        "h:id",
    ),
    field_rule(
        "psis-B2",
        ".",
        HAS_CREATION_TIME,
        f"{_W}INVALID_CREATION_TIME",
        "Creation Time",
        NO_CREATION_TIME,
        "h:creationTime",
    ),
    field_rule(
        "psis-B3",
        ".",
        HAS_VERSION,
        f"{_W}INVALID_VERSION_CODE",
        "Version Code",
        NO_VERSION,
        "h:versionCode",
    ),
    field_rule("psis-B4", ".", f"count({ACT}) = 1", f"{_W}INVALID_CONTROL_ACT", "Control Act", ONE_CONTROL_ACT, ACT),
    field_rule(
        "psis-B5",
        ".",
        AT_MOST_ONE_AUTHOR,
        f"{_W}CONTROL_ACT_AUTHOR_INVALID[checkBody.invalidNumberAuthorElements]",
        "Author",
        TWO_AUTHORS,
        f"{ACT}/h:author",
    ),
    field_rule(
        "psis-B6",
        ".",
        ONE_OR_TWO_SYSTEMS,
        f"{_W}CONTROL_ACT_AUTHOR_INVALID_CARDINALITY",
        "Author System",
        SYSTEMS,
        f"{ACT}/h:author1",
    ),
    field_rule(
        "psis-B7",
        ".",
        f"count({ACT}) = 1 and count({ACT}/h:query) = 1 and {ACT}/h:query/*",
        f"{_W}CONTROL_ACT_QUERY_INVALID",
        "Query",
        NO_REQUEST,
        f"{ACT}/h:query",
    ),
)
"""B1-B7: the body is there. Rules 5 to 7 look into the control act, of which there must be one to look into."""

INTERACTION_RULES: Final = (
    field_rule(
        "psis-C1",
        ".",
        "count(h:interactionId) = 1",
        f"{_CONSISTENCY}invalidNumberInteractionIdElements]",
        "Interaction Id",
        Words("There must be exactly one interactionId.", "Write it once, below the root."),
        "h:interactionId",
    ),
    field_rule(
        "psis-C2",
        ".",
        f"{_INTERACTION}[@root='{OID_INTERACTION}']{FILLED}",
        f"{_CONSISTENCY}invalidInteractionCodeSystem]",
        "Interaction Id",
        Words(
            "interactionId has not the right root, or no extension.",
            f"Write root {OID_INTERACTION} and the name of the interaction as extension.",
        ),
        "h:interactionId",
    ),
    field_rule(
        "psis-C3",
        ".",
        f"{_INTERACTION}/@extension = $action",
        f"{_CONSISTENCY}invalidInteractionIdDoesNotMatchAction]",
        "Interaction Id",
        Words(
            "interactionId is not the interaction that wsa:Action names after its slash.",
            "Write the same interaction in both.",
        ),
        "h:interactionId",
    ),
    field_rule(
        "psis-C4",
        ".",
        f"{_INTERACTION}/@extension = local-name() and {IS_HL7}",
        f"{_CONSISTENCY}invalidInteractionIdDoesNotMatchBodyRoot]",
        "Interaction Id",
        INTERACTION,
        "h:interactionId",
    ),
)
"""C1-C4: the interaction is named alike in body and header; ``$action`` is what stands after the slash there."""

SYSTEM_RULES: Final = (
    field_rule(
        "psis-C5",
        ".",
        RECEIVER_AGREES,
        f"{_W}INCONSISTENT_COMM_FUNC_RCV",
        "Receiver",
        OTHER_RECEIVER,
        RECEIVER_PLACE,
    ),
    field_rule(
        "psis-C6",
        ".",
        SENDER_AGREES,
        f"{_W}INCONSISTENT_COMM_FUNC_SND",
        "Sender",
        OTHER_SENDER,
        SENDER_PLACE,
    ),
)
"""C5 and C6: the ASIDs of body and header agree (``$receiver``, ``$sender``)."""

PEOPLE_RULES: Final = (
    _author_rule("psis-A1", "invalidAgentRoleID", ROLE_PROFILE_ID, ROLE_PROFILE_PLACE, NO_ROLE_PROFILE),
    _author_rule("psis-A2", "invalidAgentPersonID", USER_ID, USER_PLACE, NO_USER),
    _author_rule("psis-A3", "invalidPartSDSRoleID", JOB_ROLE_ID, JOB_ROLE_PLACE, NO_JOB_ROLE),
    field_rule(
        "psis-A4",
        ".",
        FIRST_SYSTEM,
        f"{_W}CONTROL_ACT_AUTHOR_AGENT_INVALID",
        "Author System",
        NO_SYSTEM,
        f"{ACT}/h:author1[1]/{SYSTEM}/{SYSTEM_PLACE}",
    ),
    field_rule(
        "psis-A5",
        ".",
        SECOND_SYSTEM,
        f"{_W}CONTROL_ACT_AUTHOR_AGENT2_INVALID",
        "Author Device",
        NO_DEVICE,
        SECOND_SYSTEM_PLACE,
    ),
)
"""A1-A5: who asks, and from which system."""

_OVERRIDE: Final = f"h:dissentOverride/h:value[@codeSystem='{OID_DISSENT_OVERRIDE}'][string-length(@code) > 0]"
_IN_RANGE: Final = " or ".join(f"string({_OVERRIDE}/@code) = '{code}'" for code in range(6))
_NUMBER: Final = f"h:nHSNumber/h:value[@root='{OID_NHS_NUMBER}']/@extension"
_OVERRIDE_WORDS: Final = Words(
    "The query must say, with a code from 0 to 5, whether the patient's dissent is overridden.",
    f"Write dissentOverride/value with codeSystem {OID_DISSENT_OVERRIDE}; code 0 is no override.",
)
_ONCE: Final = Words("dissentOverride and nHSNumber must each be there exactly once.", "Write each once, below query.")

PATIENT_RULE: Final = field_rule(
    "psis-Q2",
    ".",
    f"count({_NUMBER}) = 1",
    MISSING,
    "NHS Number",
    Words("The query must name exactly one patient.", f"Write nHSNumber/value {PATIENT}"),
    "h:nHSNumber/h:value",
    "nhsNumber",
)

OVERRIDE_RULES: Final = (
    field_rule(
        "psis-Q1",
        ".",
        _OVERRIDE,
        MISSING,
        "DissentOverride",
        _OVERRIDE_WORDS,
        "h:dissentOverride/h:value",
        "dissentOverride",
    ),
    field_rule(
        "psis-Q1",
        ".",
        f"not({_OVERRIDE}) or {_IN_RANGE}",
        MISSING,
        "DissentOverride",
        _OVERRIDE_WORDS,
        "h:dissentOverride/h:value",
        "dissentOverride outside 0-5",
    ),
)

COUNT_RULES: Final = (
    field_rule("psis-Q3", ".", "count(h:dissentOverride) = 1", MISSING, "DissentOverride", _ONCE, "h:dissentOverride"),
    field_rule("psis-Q3", ".", "count(h:nHSNumber) = 1", MISSING, "NHS Number", _ONCE, "h:nHSNumber"),
)

NHS_NUMBER_RULE: Final = field_rule(
    "psis-nhs-number",
    ".",
    f"scr:is-nhs-number({_NUMBER})",
    MISSING,
    "NHS Number",
    NOT_AN_NHS_NUMBER,
    "h:nHSNumber/h:value",
    "NHS number is not valid",
)

QUERY_WRAPPER: Final = RuleSet(*BODY_RULES, *INTERACTION_RULES, *SYSTEM_RULES, *PEOPLE_RULES, interactions=_QUERIES)
"""The wrapper of a query in a SOAP envelope."""

EVENT_LIST_QUERY: Final = RuleSet(
    *OVERRIDE_RULES,
    PATIENT_RULE,
    *COUNT_RULES,
    interactions={EVENT_LIST, EVENT_LIST_SM, SUBJECT_ACCESS},
    base="h:ControlActEvent/h:query",
)
"""The parameters of an event list or subject access query, judged at the one ``query`` that is not empty."""

EVENT_QUERY: Final = RuleSet(
    *OVERRIDE_RULES,
    PATIENT_RULE,
    *COUNT_RULES,
    field_rule(
        "psis-eventRecord",
        ".",
        "h:eventRecord/h:value[string-length(@root) > 0]",
        MISSING,
        "EventRecord",
        Words(
            "An event query must name the event. Spine's rules let this pass, its schema and OpenSCR do not.",
            "Write eventRecord/value with the id of the event in its root attribute.",
        ),
        "h:eventRecord/h:value",
        "eventRecord",
    ),
    interactions={EVENT},
    base="h:ControlActEvent/h:query",
)
"""The parameters of an event query."""

QUERIED_PATIENT: Final = RuleSet(
    NHS_NUMBER_RULE, interactions=_QUERIES | {SCR_PERMISSIONS}, base="h:ControlActEvent/h:query"
)
"""Format and check digit of the number: looked at when everything else is in order. Spec: 20 §10.3 step 3."""
