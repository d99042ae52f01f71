"""`MCCI_IN010000UK13`: the application acknowledgement, written and read.

Spec: 10 §13, 30 §6, 40 §10.5.
"""

from dataclasses import dataclass

from lxml import etree

from openscr.codes import ACKNOWLEDGEMENT, OID_TMS_ISSUE, UPLOADS, VERSION_CODE, VERSION_CODE_3, WITHDRAWALS
from openscr.errors import Issue, UnreadableMessage
from openscr.hl7.wrapper import (
    HL7,
    NAMESPACE,
    Heading,
    local_name,
    write_acknowledgement_element,
    write_message,
    write_reasons,
)
from openscr.spine import AckType, Outcome

VERSION_OF_UPLOAD_ANSWER = {
    AckType.ACCEPTED: VERSION_CODE,
    AckType.ERROR: VERSION_CODE_3,
    AckType.REJECTED: "V3NPfIT3.1.10",
}
"""``versionCode`` of the answers to uploads, withdrawals and alerts. Spec: 10 §13."""

VERSION_OF_ACS_ANSWER = {
    AckType.ACCEPTED: VERSION_CODE_3,
    AckType.ERROR: VERSION_CODE,
    AckType.REJECTED: VERSION_CODE_3,
}
"""``versionCode`` of the answers to SET. Spec: 30 §6.1."""

_SUCCESS = {
    **dict.fromkeys(UPLOADS, "GP Summary upload successful"),
    **dict.fromkeys(WITHDRAWALS, "GP Summary withdrawal successful"),
}


def success_detail(interaction: str) -> str:
    """Return ``requestSuccessDetail`` for an accepted interaction; empty when it has none. Spec: 40 §10.5."""
    text = _SUCCESS.get(interaction)
    return f'<requestSuccessDetail><detail>{text}</detail><id root="Not Known"/></requestSuccessDetail>' if text else ""


def write_acknowledgement(
    heading: Heading, outcome: Outcome, reference: str, interaction: str, *, enveloped: bool = False
) -> bytes:
    """Write the acknowledgement of ``interaction``: type, issues in order, success detail where there is one.

    Issues of the TMS code system become ``acknowledgementDetail``, all others ``reason``. ``reference`` is the wrapper
    id of the acknowledged message as received. ``enveloped`` leaves the namespace to the SOAP envelope around it.
    """
    details = tuple(issue for issue in outcome.issues if issue.system == OID_TMS_ISSUE)
    reasons = tuple(issue for issue in outcome.issues if issue.system != OID_TMS_ISSUE)
    act = write_reasons(reasons) + (success_detail(interaction) if outcome.accepted else "")
    return write_message(
        ACKNOWLEDGEMENT,
        heading,
        act.encode(),
        acknowledgement=write_acknowledgement_element(outcome.ack.value, reference, details),
        prefix="" if enveloped else NAMESPACE,
    )


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """An application acknowledgement as a client reads it. ``reference`` is the id of the acknowledged message."""

    outcome: Outcome
    reference: str
    message_id: str
    detail: str = ""


def read_issues(root: etree._Element) -> tuple[Issue, ...]:
    """Return every issue of an answer, wrapper details first, whatever form the sender gave them.

    The qualifier is taken from ``qualifier/@code`` or ``qualifier/value/@code``, the text from ``displayName`` or
    ``name``. Spec: 20 §9.4, 30 §6.1.
    """
    issues = []
    for detail in root.iter(f"{HL7}acknowledgementDetail"):
        code = detail.find(f"{HL7}code")
        if code is not None:
            issues.append(_read_issue(code, detail.get("typeCode") or "ER"))
    for event in root.iter(f"{HL7}justifyingDetectedIssueEvent"):
        for code in event.iterfind(f"{HL7}code"):
            qualifier = code.find(f"{HL7}qualifier")
            severity = qualifier.get("code") if qualifier is not None else None
            if severity is None and qualifier is not None:
                value = qualifier.find(f"{HL7}value")
                severity = value.get("code") if value is not None else None
            issues.append(_read_issue(code, severity or "ER"))
    return tuple(issues)


def _read_issue(code: etree._Element, severity: str) -> Issue:
    text = code.get("displayName") or code.get("name") or ""
    return Issue(code.get("code") or "", text, severity, code.get("codeSystem") or "")


def read_outcome(root: etree._Element) -> tuple[Outcome, str]:
    """Return outcome and referenced message id of any answer with an ``acknowledgement``.

    Raises: `UnreadableMessage` when there is none. Spec: 20 §16.
    """
    acknowledgement = root.find(f"{HL7}acknowledgement")
    try:
        ack = AckType((acknowledgement.get("typeCode") or "") if acknowledgement is not None else "")
    except ValueError:
        raise UnreadableMessage(f"{local_name(root)} has no acknowledgement of a known type") from None
    reference = root.find(f"{HL7}acknowledgement/{HL7}messageRef/{HL7}id")
    return Outcome(ack, read_issues(root)), (reference.get("root") or "") if reference is not None else ""


def read_acknowledgement(root: etree._Element) -> Acknowledgement:
    """Read an application acknowledgement, leniently (an AA is not schema-valid). Raises: `UnreadableMessage`."""
    if local_name(root) != ACKNOWLEDGEMENT:
        raise UnreadableMessage(f"{ACKNOWLEDGEMENT} expected")
    outcome, reference = read_outcome(root)
    identifier = root.find(f"{HL7}id")
    detail = root.findtext(f"{HL7}ControlActEvent/{HL7}requestSuccessDetail/{HL7}detail") or ""
    return Acknowledgement(
        outcome, reference, (identifier.get("root") or "") if identifier is not None else "", detail.strip()
    )
