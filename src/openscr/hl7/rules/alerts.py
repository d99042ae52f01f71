"""The rules of the privacy alert: its wrapper, and every check of the alert with the name that Spine reports it by.

Only the name of ``checkPatient:nhsNumber`` is published; the others are made in its likeness: ``check``, the part of
the alert, and the value. Attributes with one possible value (classCode and its like) are left to level strict.

Spec: 35 §6.1, 80 §5.2, 40 §10.3.
"""

from typing import Final

from openscr.codes import ALERT, OID_NHS_NUMBER
from openscr.hl7.rules.asynchronous import wrapper_rules
from openscr.hl7.rules.book import Rule, RuleSet, Words
from openscr.hl7.rules.participants import (
    ACT,
    FILLED,
    NO_SYSTEM,
    PERSON,
    ROLE_PROFILE_ID,
    SYSTEM,
    SYSTEM_ID,
    SYSTEM_PLACE,
    USER_ID,
)

KEY: Final = "ErrorBaseTms.ALERT_INVALID_INPUT"
_NIL: Final = "@xsi:nil = 'true' or @xsi:nil = '1'"


def _rule(check: str, context: str, test: str, words: Words, place: str) -> Rule:
    return Rule(f"alert-{check}", context, test, f"{KEY}[{check}]", words, code="202", place=place)


def _value(check: str, path: str, attribute: str, what: str, *, within: str = "") -> Rule:
    """Return the rule that a value is there once and is not empty; ``within`` is an optional part that it stands in."""
    steps = "/".join(f"h:{name}" for name in path.split("/"))
    value = f"{steps}/@{attribute}" if attribute else steps
    test = f"count({steps}) = 1 and string-length(normalize-space({value})) > 0"
    shown = f"{within}/{path}" if within else path
    mend = f"Write {shown} once, " + (f"with {what} in its {attribute} attribute." if attribute else f"with {what}.")
    words = Words(f"The alert does not say {what}, or says it more than once.", mend)
    if within:
        return _rule(check, f"h:{within}", f"{_NIL} or ({test})", words, steps)
    return _rule(check, ".", test, words, steps)


def _at_most_one(check: str, part: str) -> Rule:
    words = Words(f"The alert has more than one {part}.", f"Leave one {part}, or none.")
    return _rule(check, ".", f"count(h:{part}) <= 1", words, f"h:{part}")


_AUTHOR: Final = "author/authorSDS"
_ORGANISATION: Final = f"{_AUTHOR}/representedOrganizationSDS"
_REASON: Final = "reason/justifyingReasonCoded"
_PATIENT: Final = "h:recordTarget/h:patient/h:id"
_NUMBER: Final = f"{_PATIENT}[@root='{OID_NHS_NUMBER}']"

ALERT_WRAPPER: Final = RuleSet(*wrapper_rules("alert"), interactions={ALERT})
"""Rules of the wrapper: the codes of 40 §10.4."""

ALERT_ACT: Final = RuleSet(
    _rule(
        "checkControlActEvent:author",
        ".",
        f"count(h:author/{PERSON}/{ROLE_PROFILE_ID}) = 1 and h:author/{PERSON}/{ROLE_PROFILE_ID}{FILLED} and "
        f"count(h:author/{PERSON}/{USER_ID}) = 1 and h:author/{PERSON}/{USER_ID}{FILLED}",
        Words(
            "An alert needs a person as author, with one role profile id and one user id.",
            "Write author/AgentPersonSDS with the person who raises the alert: id, agentPersonSDS/id, "
            "part/partSDSRole/id.",
        ),
        "h:author",
    ),
    _rule(
        "checkControlActEvent:author1",
        ".",
        f"h:author1[1]/{SYSTEM}/{SYSTEM_ID}{FILLED}",
        NO_SYSTEM,
        f"h:author1/{SYSTEM}/{SYSTEM_PLACE}",
    ),
    _rule(
        "checkControlActEvent:subject",
        ".",
        "count(h:subject/h:AlertEvent) = 1",
        Words("The message must hold exactly one alert.", "Write one subject with one AlertEvent in it."),
        "h:subject/h:AlertEvent",
    ),
    interactions={ALERT},
    base=ACT,
)
"""Who raises the alert, and that there is one."""

ALERT_EVENT: Final = RuleSet(
    _at_most_one("checkNotificationMessage:cardinality", "component"),
    _at_most_one("checkReasonText:cardinality", "reason1"),
    _value("checkAlertEvent:code", "code", "code", "the type of the alert"),
    _value("checkAlertEvent:codeSystem", "code", "codeSystem", "the code system of its type"),
    _value("checkAlertEvent:effectiveTime", "effectiveTime", "value", "when the access was made"),
    _value("checkAlertEvent:id", "id", "root", "its id, a UUID"),
    _value("checkAuthor:id", f"{_AUTHOR}/id", "root", "the OID of the user's role"),
    _value("checkAuthor:personDesc", f"{_AUTHOR}/assignedPerson/desc", "", "the user's role in words"),
    _value("checkAuthor:personIdRoot", f"{_AUTHOR}/assignedPerson/id", "root", "the OID of the user id"),
    _value("checkAuthor:personId", f"{_AUTHOR}/assignedPerson/id", "extension", "the user id"),
    _value("checkAuthor:personName", f"{_AUTHOR}/assignedPerson/name", "", "the user's name"),
    _value("checkAuthor:organisationIdRoot", f"{_ORGANISATION}/id", "root", "the OID of the organisation's code"),
    _value("checkAuthor:organisationId", f"{_ORGANISATION}/id", "extension", "the organisation's code"),
    _value("checkAuthor:organisationName", f"{_ORGANISATION}/name", "", "the organisation's name"),
    _value("checkNotificationMessage:id", "notificationMessage/id", "root", "its id, a UUID", within="component"),
    _value("checkNotificationMessage:text", "notificationMessage/text", "", "the message's text", within="component"),
    _value("checkDevice:id", "device/assignedDeviceSDS/id", "root", "the OID of the system's id"),
    _value("checkDevice:name", "device/assignedDeviceSDS/assignedDevice/name", "", "the system's name"),
    _value("checkReason:code", f"{_REASON}/code", "code", "the reason of the access"),
    _value("checkReason:codeSystem", f"{_REASON}/code", "codeSystem", "the code system of the reason"),
    _value("checkReason:id", f"{_REASON}/id", "root", "the id of the reason, a UUID"),
    _value("checkReasonText:id", "justifyingReasonText/id", "root", "its id, a UUID", within="reason1"),
    _value("checkReasonText:text", "justifyingReasonText/text", "", "the reason in words", within="reason1"),
    _rule(
        "checkPatient:nhsNumber",
        ".",
        f"count({_PATIENT}) = 1 and count({_NUMBER}) = 1 and string-length({_NUMBER}/@extension) = 10",
        Words(
            "The alert must name one patient, by an NHS number of ten characters.",
            f"Write recordTarget/patient/id with root {OID_NHS_NUMBER} and the NHS number as extension, once.",
        ),
        _PATIENT,
    ),
    interactions={ALERT},
    base=f"{ACT}/h:subject/h:AlertEvent",
)
"""What the alert must say, in the order of its schema."""
