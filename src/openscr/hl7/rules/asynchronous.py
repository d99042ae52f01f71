"""The rules of the wrapper of every message that is answered later, and the codes that refuse it.

Spec: 10 §14, 40 §10.4.
"""

from typing import Final

from openscr.errors import WRAPPER_ERRORS
from openscr.hl7.rules.book import Rule, Words
from openscr.hl7.rules.participants import (
    AT_MOST_ONE_AUTHOR,
    HAS_CREATION_TIME,
    HAS_ID,
    HAS_VERSION,
    INTERACTION,
    IS_HL7,
    NO_CREATION_TIME,
    NO_ID,
    NO_RECEIVER,
    NO_SENDER,
    NO_VERSION,
    ONE_CONTROL_ACT,
    RECEIVER,
    RECEIVER_PLACE,
    SENDER,
    SENDER_PLACE,
    SYSTEMS,
    TWO_AUTHORS,
)

_ID_AGREES: Final = "count(h:interactionId) = 1 and h:interactionId/@extension = $interaction"

_ROWS: Final = (
    ("501", "INVALID_ID", HAS_ID, "h:id", NO_ID),
    (
        "502",
        "INVALID_CREATION_TIME",
        HAS_CREATION_TIME,
        "h:creationTime",
        NO_CREATION_TIME,
    ),
    ("503", "INVALID_VERSION_CODE", HAS_VERSION, "h:versionCode", NO_VERSION),
    ("504", "INVALID_CONTROL_ACT", "count(h:ControlActEvent) = 1", "h:ControlActEvent", ONE_CONTROL_ACT),
    ("506", "INVALID_COMM_FUNC_RCV", RECEIVER, RECEIVER_PLACE, NO_RECEIVER),
    ("507", "INVALID_COMM_FUNC_SND", SENDER, SENDER_PLACE, NO_SENDER),
    (
        "508",
        "CONTROL_ACT_AUTHOR_INVALID",
        AT_MOST_ONE_AUTHOR,
        "h:ControlActEvent/h:author",
        TWO_AUTHORS,
    ),
    (
        "509",
        "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY",
        "count(h:ControlActEvent) != 1 or "
        "(count(h:ControlActEvent/h:author1) >= 1 and count(h:ControlActEvent/h:author1) <= 2)",
        "h:ControlActEvent/h:author1",
        SYSTEMS,
    ),
    ("515", "INCONSISTENT_HL7_INTERACTION_ID", _ID_AGREES, "h:interactionId", INTERACTION),
    (
        "515",
        "INCONSISTENT_HL7_INTERACTION_ID",
        f"not({_ID_AGREES}) or (local-name() = $interaction and {IS_HL7})",
        ".",
        INTERACTION,
    ),
)


def wrapper_rules(prefix: str) -> tuple[Rule, ...]:
    """Return the wrapper's rules under the prefix of a domain; ``$interaction`` is the ``eb:Action``.

    Code 515 has two rows, which point at different places: the id that is wrong, or the root. Spec: 10 §14.
    """
    return tuple(_row(f"{prefix}-{code}", code, key, test, place, words) for code, key, test, place, words in _ROWS)


def _row(label: str, code: str, key: str, test: str, place: str, words: Words) -> Rule:
    text = WRAPPER_ERRORS[code].display
    return Rule(label, ".", test, f"ErrorBase1732.{key}", words, text, code, place)
