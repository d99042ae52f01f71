"""The rules of the wrapper of consent messages, which are those of every synchronous request: numbers 9 to 21.

Rules 1 to 8 look at the SOAP header, and are with it (`openscr.transport.wsa`).

Spec: 30 §2, §3, §6.1; 40 §4.2, §5.6.
"""

from typing import Final

from openscr.codes import ACS_GET, ACS_HAS, ACS_SET, OID_JOB_ROLE, OID_ROLE_PROFILE, OID_USER
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.participants import (
    ACT,
    AT_MOST_ONE_AUTHOR,
    FILLED,
    FIRST_SYSTEM,
    HAS_CREATION_TIME,
    HAS_ID,
    HAS_VERSION,
    INCOMPLETE_AUTHOR,
    INTERACTION,
    IS_HL7,
    NO_CREATION_TIME,
    NO_DEVICE,
    NO_ID,
    NO_REQUEST,
    NO_SYSTEM,
    NO_VERSION,
    ONE_CONTROL_ACT,
    ONE_OR_TWO_SYSTEMS,
    OTHER_RECEIVER,
    OTHER_SENDER,
    PERSON,
    RECEIVER,
    RECEIVER_AGREES,
    RECEIVER_PLACE,
    SECOND_SYSTEM,
    SECOND_SYSTEM_PLACE,
    SENDER,
    SENDER_AGREES,
    SENDER_PLACE,
    SYSTEM,
    SYSTEM_PLACE,
    SYSTEMS,
    TWO_AUTHORS,
)

PAYLOADS: Final = {
    ACS_SET: "setResourcePermissionsRequest",
    ACS_GET: "getResourcePermissionsRequest",
    ACS_HAS: "hasResourcePermissionsRequest",
}
"""Name of the payload element, by interaction. Spec: 30 §4."""

_W: Final = "ErrorBase1732."


def wrapper_rule(number: int, key: str, test: str, place: str, words: Words) -> Rule:
    """Return a rule of the wrapper: its breach is an AR with 202, 400 and 99720. Spec: 30 §6.1, §7.3."""
    return Rule(f"soap-{number}", ".", test, _W + key, words, "", "99720", place)


HEAD_RULES: Final = (
    wrapper_rule(9, "INVALID_ID", HAS_ID, "h:id", NO_ID),
    wrapper_rule(
        10,
        "INVALID_CREATION_TIME",
        HAS_CREATION_TIME,
        "h:creationTime",
        NO_CREATION_TIME,
    ),
    wrapper_rule(11, "INVALID_VERSION_CODE", HAS_VERSION, "h:versionCode", NO_VERSION),
    wrapper_rule(12, "INVALID_CONTROL_ACT", f"count({ACT}) = 1", ACT, ONE_CONTROL_ACT),
    wrapper_rule(
        13,
        "CONTROL_ACT_AUTHOR_INVALID",
        AT_MOST_ONE_AUTHOR,
        f"{ACT}/h:author",
        TWO_AUTHORS,
    ),
    wrapper_rule(
        14,
        "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY",
        ONE_OR_TWO_SYSTEMS,
        f"{ACT}/h:author1",
        SYSTEMS,
    ),
)
"""Rules 9-14, which look at the wrapper of every interaction in the same way. Spec: 40 §4.2."""

_NAMED: Final = f"count(h:interactionId) = 1 and h:interactionId/@extension = local-name() and {IS_HL7} and "
HEADER_RULES: Final = (
    wrapper_rule(
        16,
        "INCONSISTENT_HL7_INTERACTION_ID",
        f"{_NAMED}local-name() = $action",
        "h:interactionId",
        INTERACTION,
    ),
    wrapper_rule(
        17,
        "INCONSISTENT_COMM_FUNC_RCV",
        RECEIVER_AGREES,
        RECEIVER_PLACE,
        OTHER_RECEIVER,
    ),
    wrapper_rule(
        18,
        "INCONSISTENT_COMM_FUNC_SND",
        SENDER_AGREES,
        SENDER_PLACE,
        OTHER_SENDER,
    ),
)
"""Rules 16-18, which compare the wrapper with the SOAP header. SET is not compared. Spec: 30 §3."""

ALONE_RULES: Final = (
    wrapper_rule(
        16,
        "INCONSISTENT_HL7_INTERACTION_ID",
        f"{_NAMED}local-name() = $interaction",
        "h:interactionId",
        INTERACTION,
    ),
    wrapper_rule(17, "INVALID_COMM_FUNC_RCV", RECEIVER, RECEIVER_PLACE, OTHER_RECEIVER),
    wrapper_rule(18, "INVALID_COMM_FUNC_SND", SENDER, SENDER_PLACE, OTHER_SENDER),
)
"""Rules 16-18 where no header is there to compare with: the ids are there, the root is ``$interaction``. 40 §5.6."""

_PERSON_IDS: Final = (
    ("h:id", OID_ROLE_PROFILE),
    ("h:agentPersonSDS/h:id", OID_USER),
    ("h:part/h:partSDSRole/h:id", OID_JOB_ROLE),
)
_COMPLETE: Final = " and ".join(
    f"count({ACT}/h:author[1]/{PERSON}/{path}[@root='{root}']) = 1 and "
    f"{ACT}/h:author[1]/{PERSON}/{path}[@root='{root}']{FILLED}"
    for path, root in _PERSON_IDS
)
PARTICIPANT_RULES: Final = (
    wrapper_rule(
        19,
        "CONTROL_ACT_AUTHOR_INVALID",
        f"count({ACT}) != 1 or not({ACT}/h:author) or ({_COMPLETE})",
        f"{ACT}/h:author[1]",
        INCOMPLETE_AUTHOR,
    ),
    wrapper_rule(
        20,
        "CONTROL_ACT_AUTHOR_AGENT_INVALID",
        FIRST_SYSTEM,
        f"{ACT}/h:author1[1]/{SYSTEM}/{SYSTEM_PLACE}",
        NO_SYSTEM,
    ),
    wrapper_rule(
        21,
        "CONTROL_ACT_AUTHOR_AGENT2_INVALID",
        SECOND_SYSTEM,
        SECOND_SYSTEM_PLACE,
        NO_DEVICE,
    ),
)
"""Rules 19-21: who is the author, and which systems. Spec: 40 §4.2."""


def _payload_rule(interaction: str) -> Rule:
    payload = f"{ACT}/crs:{PAYLOADS[interaction]}"
    test = f"count({ACT}) = 1 and count({payload}) = 1 and {payload}/*"
    return wrapper_rule(15, "CONTROL_ACT_QUERY_INVALID", test, payload, NO_REQUEST)


CONSENT_WRAPPERS: Final = {
    (interaction, in_envelope): RuleSet(
        *HEAD_RULES,
        _payload_rule(interaction),
        *(() if in_envelope and interaction == ACS_SET else HEADER_RULES if in_envelope else ALONE_RULES),
        *PARTICIPANT_RULES,
        interactions={interaction},
    )
    for interaction in PAYLOADS
    for in_envelope in (True, False)
}
"""The wrapper's rules by interaction, and whether a SOAP header is there to compare with."""

LONE_WRAPPER: Final = RuleSet(*HEAD_RULES, *ALONE_RULES, interactions=())
"""The wrapper of a message of whose interaction nothing more is known. Spec: 40 §5.6."""

PARTICIPANTS: Final = RuleSet(*PARTICIPANT_RULES, interactions=())
"""People and systems of such a message."""
