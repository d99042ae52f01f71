"""`COMT_IN000001UK01`, the privacy alert: read, judged and written.

Every breach of its rules is one kind of refusal; which check it was is for the log.

Spec: 35 §6.1, 80 §5.2, 40 §10.3.
"""

from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import (
    ALERT,
    OID_ASID,
    OID_NHS_NUMBER,
    OID_ODS,
    OID_ROLE_PROFILE,
    OID_USER,
)
from openscr.errors import WRAPPER_ERRORS
from openscr.hl7.rules.alerts import ALERT_ACT, ALERT_EVENT, ALERT_WRAPPER
from openscr.hl7.wrapper import (
    HL7,
    NAMESPACE,
    Finding,
    Heading,
    Wrapper,
    descend,
    write_message,
)
from openscr.identifiers import UuidFactory, addressed_number
from openscr.spine import AckType, Alert, AlertUser, CodedValue, MessageIds, Outcome, Person
from openscr.transport.xml import escape

UNREADABLE: Final = Outcome(AckType.REJECTED, (WRAPPER_ERRORS["202"],))
"""Outcome of a payload that is not well-formed XML. Spec: 40 §10.4."""


_PERSON: Final = "author/authorSDS/assignedPerson"
_ORGANISATION: Final = "author/authorSDS/representedOrganizationSDS"
_PATIENT: Final = "recordTarget/patient/id"
_CARRIED: Final = {
    "author/id/root": ("author/authorSDS/id", "root"),
    "author/id/extension": ("author/authorSDS/id", "extension"),
    "author/person/id/root": (f"{_PERSON}/id", "root"),
    "author/organisation/id/root": (f"{_ORGANISATION}/id", "root"),
    "notification/id": ("component/notificationMessage/id", "root"),
    "device/id/root": ("device/assignedDeviceSDS/id", "root"),
    "device/id/extension": ("device/assignedDeviceSDS/id", "extension"),
    "reason/id": ("reason/justifyingReasonCoded/id", "root"),
    "reason1/id": ("reason1/justifyingReasonText/id", "root"),
}
"""What is kept of an alert beside what has a field of its own, by name: path and attribute."""


@dataclass(frozen=True, slots=True)
class AlertMessage:
    """What was read from an alert. ``rejected`` are findings of the wrapper, ``findings`` those of the alert.

    ``request`` is there when there are none. Spec: 40 §10.3.
    """

    nhs_number: str | None
    rejected: tuple[Finding, ...] = ()
    findings: tuple[Finding, ...] = ()
    request: Alert | None = None

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that the message's own faults decide, or none when it may be processed. Spec: 10 §14."""
        issues = dict.fromkeys(finding.issue for finding in self.rejected or self.findings)
        return Outcome(AckType.REJECTED, tuple(issues)) if issues else None


def read_alert_message(wrapper: Wrapper) -> AlertMessage:
    """Read an alert whose wrapper was read already. Nothing is raised. Spec: 35 §6.1, 80 §5.2."""
    event = alert_event(wrapper)
    numbers = _numbers(event)
    nhs_number = addressed_number(numbers)
    rejected = ALERT_WRAPPER.judge(wrapper.root, {"interaction": ALERT})
    if rejected:
        return AlertMessage(nhs_number, tuple(rejected))
    findings = check_alert(wrapper)
    if findings or event is None:
        return AlertMessage(nhs_number, (), findings)
    return AlertMessage(nhs_number, request=_read(wrapper, event, numbers[0]))


def alert_event(wrapper: Wrapper) -> etree._Element | None:
    """Return the single ``AlertEvent`` of a message, or none."""
    found = descend(wrapper.control_act, f"{HL7}subject", f"{HL7}AlertEvent") if wrapper.control_act is not None else []
    return found[0] if len(found) == 1 else None


def _steps(path: str) -> tuple[str, ...]:
    return tuple(HL7 + name for name in path.split("/"))


def _values(event: etree._Element, path: str, attribute: str) -> list[str]:
    """Return what stands at each end of a path: an attribute or all text, without white space around it."""
    ends = descend(event, *_steps(path))
    return [(end.get(attribute, "") if attribute else "".join(end.itertext("*"))).strip() for end in ends]


def _numbers(event: etree._Element | None) -> list[str]:
    if event is None:
        return []
    ids = descend(event, *_steps(_PATIENT))
    return [each.get("extension") or "" for each in ids if each.get("root") == OID_NHS_NUMBER]


def check_alert(wrapper: Wrapper) -> tuple[Finding, ...]:
    """Return every check that an alert in a good wrapper fails, in the order of the rows. Spec: 35 §6.1, 80 §5.2."""
    return (*ALERT_ACT.judge(wrapper.root), *ALERT_EVENT.judge(wrapper.root))


# --- reading --------------------------------------------------------------------------------------------------------


def _read(wrapper: Wrapper, event: etree._Element, number: str) -> Alert:
    def value(path: str, attribute: str = "") -> str:
        return next(iter(_values(event, path, attribute)), "")

    role = next(
        (
            each.get("extension") or ""
            for each in descend(event, *_steps("author/authorSDS/id"))
            if each.get("root") == OID_ROLE_PROFILE
        ),
        "",
    )
    carried = {name: value(*place) for name, place in _CARRIED.items()}
    return Alert(
        ids=MessageIds(wrapper.message_id, ALERT),
        nhs_number=number,
        type=_coded(event, "code"),
        reason=_coded(event, "reason/justifyingReasonCoded/code"),
        occurred_at=value("effectiveTime", "value"),
        user=AlertUser(
            user_id=value(f"{_PERSON}/id", "extension"),
            name=value(f"{_PERSON}/name"),
            role=value(f"{_PERSON}/desc"),
            role_profile_id=role,
            organisation=value(f"{_ORGANISATION}/id", "extension"),
            organisation_name=value(f"{_ORGANISATION}/name"),
        ),
        system_name=value("device/assignedDeviceSDS/assignedDevice/name"),
        text=value("reason1/justifyingReasonText/text"),
        notification=value("component/notificationMessage/text"),
        reference=value("id", "root"),
        carried={name: text for name, text in carried.items() if text},
    )


def _coded(event: etree._Element, path: str) -> CodedValue:
    (code,) = descend(event, *_steps(path))
    return CodedValue(
        (code.get("code") or "").strip(), (code.get("codeSystem") or "").strip(), code.get("displayName") or ""
    )


# --- writing --------------------------------------------------------------------------------------------------------


def write_alert(heading: Heading, alert: Alert, person: Person, mint: UuidFactory) -> bytes:
    """Write an alert in the name of ``person``, who sends it; the parts get ids of ``mint``. Spec: 80 §5.2."""
    user = alert.user
    notification = reason = ""
    if alert.notification:
        notification = (
            '<component typeCode="COMP" contextConductionInd="true">'
            f'<notificationMessage classCode="ACT" moodCode="EVN"><id root="{mint()}"/>'
            f"<text>{escape(alert.notification)}</text></notificationMessage></component>"
        )
    if alert.text:
        reason = (
            '<reason1 typeCode="RSON" contextConductionInd="true">'
            f'<justifyingReasonText classCode="ACT" moodCode="EVN"><id root="{mint()}"/>'
            f"<text>{escape(alert.text)}</text></justifyingReasonText></reason1>"
        )
    event = (
        '<subject typeCode="SUBJ" contextConductionInd="false"><AlertEvent classCode="ALRT" moodCode="EVN">'
        f'{_write_code(alert.type)}<effectiveTime value="{escape(alert.occurred_at)}"/>'
        f'<id root="{escape(alert.reference or mint())}"/>'
        '<author typeCode="AUT" contextControlCode="OP"><authorSDS classCode="ASSIGNED">'
        f'<id root="{OID_ROLE_PROFILE}" extension="{escape(user.role_profile_id)}"/>'
        f'<assignedPerson classCode="PSN" determinerCode="INSTANCE"><desc>{escape(user.role)}</desc>'
        f'<id root="{OID_USER}" extension="{escape(user.user_id)}"/><name>{escape(user.name)}</name></assignedPerson>'
        '<representedOrganizationSDS classCode="ORG" determinerCode="INSTANCE">'
        f'<id root="{OID_ODS}" extension="{escape(user.organisation)}"/>'
        f"<name>{escape(user.organisation_name)}</name></representedOrganizationSDS></authorSDS></author>"
        f'{notification}<device typeCode="DEV" contextControlCode="OP"><assignedDeviceSDS classCode="ASSIGNED">'
        f'<id root="{OID_ASID}" extension="{escape(heading.sender)}"/>'
        f'<assignedDevice classCode="DEV" determinerCode="INSTANCE"><name>{escape(alert.system_name)}</name>'
        '</assignedDevice></assignedDeviceSDS></device><reason typeCode="RSON" contextConductionInd="true">'
        f'<justifyingReasonCoded classCode="ACT" moodCode="EVN">{_write_code(alert.reason)}<id root="{mint()}"/>'
        f"</justifyingReasonCoded></reason>{reason}"
        '<recordTarget typeCode="RCT" contextControlCode="OP"><patient classCode="PAT">'
        f'<id root="{OID_NHS_NUMBER}" extension="{escape(alert.nhs_number)}"/></patient></recordTarget>'
        "</AlertEvent></subject>"
    )
    return write_message(ALERT, heading, event.encode(), person=person, prefix=NAMESPACE)


def _write_code(value: CodedValue) -> str:
    display = f' displayName="{escape(value.display)}"' if value.display else ""
    return f'<code code="{escape(value.code)}" codeSystem="{escape(value.system)}"{display}/>'
