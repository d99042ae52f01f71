"""The grammar of alerts: ``COMT_IN000001UK01``.

Spec: 80 §5.2.
"""

from typing import Final

from openscr.codes import OID_NHS_NUMBER
from openscr.hl7.strict.datatypes import CV, OID_ID, ST_TYPE, TIME, TN, UUID_ID, id_of
from openscr.hl7.strict.grammar import ElementType, hl7, optional
from openscr.hl7.strict.transmission import REASONS, act, later_message
from openscr.hl7.strict.values import NHS_NUMBER, fixed

_ORGANISATION: Final = act(hl7("id", OID_ID), hl7("name", TN), classCode="ORG", determinerCode="INSTANCE")
_PERSON: Final = act(
    hl7("desc", ST_TYPE), hl7("id", OID_ID), hl7("name", TN), classCode="PSN", determinerCode="INSTANCE"
)
_AUTHOR: Final = act(
    hl7("id", OID_ID),
    hl7("assignedPerson", _PERSON),
    hl7("representedOrganizationSDS", _ORGANISATION),
    classCode="ASSIGNED",
)
_DEVICE: Final = act(
    hl7("id", OID_ID),
    hl7("assignedDevice", act(hl7("name", TN), classCode="DEV", determinerCode="INSTANCE")),
    classCode="ASSIGNED",
)
_TEXT: Final = act(hl7("id", UUID_ID), hl7("text", ST_TYPE), classCode="ACT", moodCode="EVN")
_CODED: Final = act(hl7("code", CV), hl7("id", UUID_ID), classCode="ACT", moodCode="EVN")
_PATIENT: Final = act(hl7("id", id_of(fixed(OID_NHS_NUMBER, token=False), NHS_NUMBER)), classCode="PAT")


def _relation(name: str, of: ElementType, type_code: str) -> ElementType:
    return act(hl7(name, of), typeCode=type_code, contextConductionInd="true")


ALERT: Final = act(
    hl7("code", CV),
    hl7("effectiveTime", TIME),
    hl7("id", UUID_ID),
    hl7("author", act(hl7("authorSDS", _AUTHOR), typeCode="AUT", contextControlCode="OP")),
    optional("component", _relation("notificationMessage", _TEXT, "COMP")),
    hl7("device", act(hl7("assignedDeviceSDS", _DEVICE), typeCode="DEV", contextControlCode="OP")),
    hl7("reason", _relation("justifyingReasonCoded", _CODED, "RSON")),
    optional("reason1", _relation("justifyingReasonText", _TEXT, "RSON")),
    hl7("recordTarget", act(hl7("patient", _PATIENT), typeCode="RCT", contextControlCode="OP")),
    classCode="ALRT",
    moodCode="EVN",
)
_SUBJECT: Final = act(hl7("AlertEvent", ALERT), typeCode="SUBJ", contextConductionInd="false")
ALERT_MESSAGE: Final = later_message(REASONS, hl7("subject", _SUBJECT))
