"""Every check of the privacy alert as a row: how to break it, what is found, what is answered.

Spec: 35 §6.1, 80 §5.2, 40 §10.3, §10.4.
"""

from openscr.errors import WRAPPER_ERRORS

from .mutation import Change, drop, empty, put, repeat, say
from .rules import Row

EVENT = "h:ControlActEvent/h:subject/h:AlertEvent"
AUTHOR = f"{EVENT}/h:author/h:authorSDS"
PERSON = f"{AUTHOR}/h:assignedPerson"
ORGANISATION = f"{AUTHOR}/h:representedOrganizationSDS"
REASON = f"{EVENT}/h:reason/h:justifyingReasonCoded"
PATIENT = f"{EVENT}/h:recordTarget/h:patient/h:id"
SENDER = "h:ControlActEvent/h:author/h:AgentPersonSDS"

_CHECKS: tuple[tuple[str, Change], ...] = (
    ("checkControlActEvent:author", drop("h:ControlActEvent/h:author")),
    ("checkControlActEvent:author", drop(f"{SENDER}/h:id")),
    ("checkControlActEvent:author", put(f"{SENDER}/h:agentPersonSDS/h:id", "extension", "")),
    ("checkControlActEvent:author", repeat(f"{SENDER}/h:id")),
    ("checkControlActEvent:author1", put("h:ControlActEvent/h:author1//h:id", "root", "1.2.3")),
    ("checkControlActEvent:subject", drop(EVENT)),
    ("checkControlActEvent:subject", repeat(EVENT)),
    ("checkControlActEvent:subject", drop("h:ControlActEvent/h:subject")),
    ("checkAlertEvent:code", put(f"{EVENT}/h:code", "code", " ")),
    ("checkAlertEvent:codeSystem", put(f"{EVENT}/h:code", "codeSystem", "")),
    ("checkAlertEvent:effectiveTime", drop(f"{EVENT}/h:effectiveTime")),
    ("checkAlertEvent:id", repeat(f"{EVENT}/h:id")),
    ("checkAuthor:id", drop(f"{AUTHOR}/h:id")),
    ("checkAuthor:personDesc", empty(f"{PERSON}/h:desc")),
    ("checkAuthor:personIdRoot", put(f"{PERSON}/h:id", "root", "")),
    ("checkAuthor:personId", put(f"{PERSON}/h:id", "extension", "")),
    ("checkAuthor:personName", say(f"{PERSON}/h:name", "  ")),
    ("checkAuthor:organisationIdRoot", put(f"{ORGANISATION}/h:id", "root", "")),
    ("checkAuthor:organisationId", put(f"{ORGANISATION}/h:id", "extension", "")),
    ("checkAuthor:organisationName", drop(f"{ORGANISATION}/h:name")),
    ("checkNotificationMessage:cardinality", repeat(f"{EVENT}/h:component")),
    ("checkNotificationMessage:id", drop(f"{EVENT}/h:component/h:notificationMessage/h:id")),
    ("checkNotificationMessage:text", empty(f"{EVENT}/h:component/h:notificationMessage/h:text")),
    ("checkDevice:id", drop(f"{EVENT}/h:device/h:assignedDeviceSDS/h:id")),
    ("checkDevice:name", drop(f"{EVENT}/h:device/h:assignedDeviceSDS/h:assignedDevice/h:name")),
    ("checkReason:code", put(f"{REASON}/h:code", "code", "")),
    ("checkReason:codeSystem", put(f"{REASON}/h:code", "codeSystem", "")),
    ("checkReason:id", drop(f"{REASON}/h:id")),
    ("checkReasonText:cardinality", repeat(f"{EVENT}/h:reason1")),
    ("checkReasonText:id", drop(f"{EVENT}/h:reason1/h:justifyingReasonText/h:id")),
    ("checkReasonText:text", repeat(f"{EVENT}/h:reason1/h:justifyingReasonText/h:text")),
    ("checkPatient:nhsNumber", put(PATIENT, "extension", "999001201")),
    ("checkPatient:nhsNumber", put(PATIENT, "extension", "99900120160")),
    ("checkPatient:nhsNumber", put(PATIENT, "root", "2.16.840.1.113883.2.1.4.2")),
    ("checkPatient:nhsNumber", repeat(PATIENT)),
    ("checkPatient:nhsNumber", drop(f"{EVENT}/h:recordTarget")),
)

_WRAPPER: tuple[tuple[Change, str], ...] = (
    (drop("h:id"), "501"),
    (drop("h:creationTime"), "502"),
    (drop("h:versionCode"), "503"),
    (drop("h:ControlActEvent"), "504"),
    (drop("h:communicationFunctionRcv"), "506"),
    (drop("h:communicationFunctionSnd"), "507"),
    (repeat("h:ControlActEvent/h:author"), "508"),
    (drop("h:ControlActEvent/h:author1"), "509"),
    (put("h:interactionId", "extension", "COMT_IN000002UK01"), "515"),
)


def _check(check: str, change: Change) -> Row:
    issue = WRAPPER_ERRORS["202"]
    key = f"ErrorBaseTms.ALERT_INVALID_INPUT[{check}]"
    return Row(check, change, ((f"alert-{check}", key, ""),), ((issue.code, issue.display),), "alert")


def _wrapper(change: Change, code: str) -> Row:
    issue = WRAPPER_ERRORS[code]
    return Row(code, change, ((f"alert-{code}", "", issue.display),), ((issue.code, issue.display),), "alert")


ALERT_RULES = tuple(_check(check, change) for check, change in _CHECKS)
ALERT_WRAPPER_RULES = tuple(_wrapper(change, code) for change, code in _WRAPPER)
