"""The envelopes judged: SOAP headers of requests, ebXML headers of user messages, and ebXML signals.

Spec: 40 §4.2, §5.3-§5.6, §10.3.
"""

from typing import Final

from lxml import etree

from openscr.codes import ACS_SET, ACTOR_NEXT_MSH, EB_NS, POLLING_UPLOAD, SIGNAL_SERVICE, UPLOADS, WITHDRAWALS
from openscr.errors import EBXML_ERRORS, FAULTS, WRAPPER_ERRORS
from openscr.hl7.psis import HeaderFacts
from openscr.hl7.wrapper import local_name
from openscr.transport.ebxml import Envelope, Reliability, check_envelope, check_reliability, read_signal
from openscr.transport.soap import HEADER
from openscr.transport.wsa import HEADER_RULES, read_request
from openscr.transport.xml import text_of
from openscr.validation.findings import EBXML_SYSTEM, FAULT_SYSTEM, Findings
from openscr.validation.places import Document
from openscr.validation.report import Severity

_TMS: Final = "ErrorBaseTms."
_HEADER: Final = "/SOAP:Envelope/SOAP:Header"
_MESSAGE_HEADER: Final = f"{_HEADER}/eb:MessageHeader"
_MANIFEST: Final = "/SOAP:Envelope/SOAP:Body/eb:Manifest"
_E: Final = f"{{{EB_NS}}}"
_COUNTS: Final = {
    "/SOAP:Envelope": "[soapEnvelopeCount]",
    _HEADER: "[soapHeaderCount]",
    "/SOAP:Envelope/SOAP:Body": "[soapBodyCount]",
}
RULES: Final = {
    "header_version": ("E3", "INVALID_MESSAGE_HEADER_VERSION", _MESSAGE_HEADER),
    "duplicate_elimination": (
        "E4",
        "DUPLICATE_ELIMINATION_INCONSISTENT_WITH_CONTRACT",
        f"{_MESSAGE_HEADER}/eb:DuplicateElimination",
    ),
    "ack_requested": ("E5", "ACK_REQUESTED_INCONSISTENT_WITH_CONTRACT", f"{_HEADER}/eb:AckRequested"),
    "sync_reply": ("E6", "SYNCREPLY_INCONSISTENT_WITH_CONTRACT", f"{_HEADER}/eb:SyncReply"),
    "sync_version": ("E7", "SYNCREPLY_VERSION_INVALID", f"{_HEADER}/eb:SyncReply"),
    "sync_actor": ("E8", "SYNCREPLY_ACTOR_INVALID", f"{_HEADER}/eb:SyncReply"),
    "ack_version": ("E9", "ACK_REQUESTED_VERSION_INVALID", f"{_HEADER}/eb:AckRequested"),
    "ack_signed": ("E10", "ACK_REQUESTED_SIGNED_INVALID", f"{_HEADER}/eb:AckRequested"),
    "ack_actor": ("E11", "ACK_REQUESTED_ACTOR_INVALID", f"{_HEADER}/eb:AckRequested"),
    "manifest_version": ("E12", "INVALID_MANIFEST_REFERENCE[manifest.version]", _MANIFEST),
    "manifest_count": ("E13", "INVALID_MANIFEST_REFERENCE[manifest.referenceCount]", f"{_MANIFEST}/eb:Reference"),
    "manifest_href": ("E14", "INVALID_MANIFEST_REFERENCE[manfiest.referenceInvalid]", f"{_MANIFEST}/eb:Reference"),
}
"""Label, constant and place of each check of the reliability and manifest blocks. Spec: 40 §5.6."""

# Over these an answer comes later, and each message is acknowledged.
_RELIABLE: Final = UPLOADS | WITHDRAWALS | {ACS_SET}
_COMPARED: Final = {
    f"{_HEADER}/wsa:Action",
    f"{_HEADER}/hl7:communicationFunctionRcv/hl7:device/hl7:id",
    f"{_HEADER}/hl7:communicationFunctionSnd/hl7:device/hl7:id",
}


def check_soap_header(document: Document, interaction: str, findings: Findings, family: str) -> HeaderFacts | None:
    """Judge rules 1-8 of a request; return what the body is compared with, none when that is itself at fault.

    ``family`` chooses the labels: those of event queries are others. Spec: 40 §4.2, 20 §12.
    """
    request = read_request(document.root, interaction)
    for location in request.faults:
        rule = HEADER_RULES[location]
        findings.note_at(
            f"psis-{rule.query_label}" if family == "psis" else f"soap-{rule.number}",
            document,
            document.resolve(location),
            key=rule.key,
            code="201",
            system=FAULT_SYSTEM,
            text=FAULTS["201"].description,
        )
    if set(request.faults) & _COMPARED:
        return None
    return HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)


def is_ebxml(root: etree._Element) -> bool:
    """Whether an envelope is one of the ebXML message service, be its header or its body missing or misplaced."""
    return local_name(root) == "Envelope" and any(True for _ in root.iterdescendants(f"{_E}*"))


def is_signal(root: etree._Element) -> bool:
    """Whether an ebXML envelope is a signal rather than a user message."""
    for header in root.iterchildren(HEADER):
        if any(True for _ in header.iterchildren(f"{_E}Acknowledgment", f"{_E}ErrorList")):
            return True
        for service in header.iterfind(f"{_E}MessageHeader/{_E}Service"):
            if text_of(service).strip() == SIGNAL_SERVICE:
                return True
    return False


def check_ebxml(
    document: Document, findings: Findings, soap_action: tuple[str, str] | None, *, polling: bool = False
) -> Envelope | None:
    """Judge E1-E14 of a user message; return its facts, none when the envelope block itself is at fault.

    ``polling`` says that it came on the polling channel, or is not known to have come on another. There the service
    takes most of what differs from the contract. Spec: 40 §7.6.
    """
    locations, envelope = check_envelope(document.root)
    for location in locations:
        counted = _COUNTS.get(location)
        findings.note_at(
            "ebxml-E1" if counted else "ebxml-E2",
            document,
            document.resolve(location),
            key=f"{_TMS}MESSAGE_NOT_WELL_FORMED{counted or ''}",
            code="201",
            system=FAULT_SYSTEM,
            text=FAULTS["201"].description,
        )
    if envelope is None:
        return None
    if polling and POLLING_UPLOAD in {envelope.action, (soap_action or ("", ""))[1]}:
        _check_polling(document, envelope, soap_action, findings)
        return envelope
    for name in _check_pattern(envelope):
        _note_ebxml(document, findings, name)
    stated = (envelope.short_service, envelope.action)
    if soap_action is not None and all(stated) and soap_action != stated:
        error = EBXML_ERRORS["soap_action"]
        place = document.resolve(f"{_MESSAGE_HEADER}/eb:Action")
        findings.note_at("ebxml-action", document, place, code=error.code, system=EBXML_SYSTEM, text=error.description)
    return envelope


def _note_ebxml(document: Document, findings: Findings, name: str) -> None:
    label, key, location = RULES[name]
    error = EBXML_ERRORS[name]
    findings.note_at(
        f"ebxml-{label}",
        document,
        document.resolve(location),
        key=f"{_TMS}{key}",
        code=error.code,
        system=EBXML_SYSTEM,
        text=error.description,
    )


def _check_polling(
    document: Document, envelope: Envelope, soap_action: tuple[str, str] | None, findings: Findings
) -> None:
    """Judge an envelope of the polling channel: what cannot be understood is rejected, the rest passes. Spec: 40 §7.6.

    Without any reference the second part is the payload.
    """
    rejected = {"manifest_version"} | ({"manifest_count"} if envelope.references else set())
    for name in check_reliability(envelope, Reliability.RELIABLE):
        label, key, location = RULES[name]
        error = WRAPPER_ERRORS["202"] if name in rejected else None
        findings.note_at(
            f"ebxml-{label}",
            document,
            document.resolve(location),
            severity=Severity.ERROR if error is not None else Severity.WARNING,
            key=f"{_TMS}{key}",
            code=error.code if error is not None else "",
            system=error.system if error is not None else "",
            text=error.display if error is not None else "",
        )
    if (envelope.short_service, envelope.action) != (soap_action or ("psis", POLLING_UPLOAD)):
        error = WRAPPER_ERRORS["515"]
        place = document.resolve(f"{_MESSAGE_HEADER}/eb:Action")
        findings.note_at("ebxml-action", document, place, code=error.code, system=error.system, text=error.display)


def _check_pattern(envelope: Envelope) -> tuple[str, ...]:
    """Check the reliability block of the pattern that the interaction has or, of a strange one, seems to have."""
    if envelope.action in _RELIABLE:
        return check_reliability(envelope, Reliability.RELIABLE)
    if envelope.action.startswith(("QUPC_", "QUQI_")):
        return check_reliability(envelope, Reliability.EXPRESS)
    if envelope.ack_actor == ACTOR_NEXT_MSH:
        return _check_forwarding(envelope)
    return check_reliability(envelope, Reliability.RELIABLE)


def _check_forwarding(envelope: Envelope) -> tuple[str, ...]:
    """Check what is to be forwarded reliably by an intermediary. Spec: 40 §5.6 (Forward-IntermediaryReliability)."""
    failed = {
        "header_version": envelope.header_version != "2.0",
        "duplicate_elimination": envelope.duplicate_eliminations != 1,
        "ack_requested": envelope.ack_requests != 1,
        "ack_version": envelope.ack_version != "2.0",
        "ack_signed": envelope.ack_signed != "false",
        "sync_reply": envelope.sync_replies != 0,
        "manifest_version": any(version != "2.0" for version in envelope.manifest_versions),
    }
    return tuple(name for name, wrong in failed.items() if wrong)


def check_signal(document: Document, findings: Findings) -> str:
    """Judge an Acknowledgment or a MessageError, and return which it is. Spec: 40 §5.6 (ebxmlAckValidator)."""
    root = document.root
    locations, envelope = check_envelope(root)
    signal = read_signal(root)
    if envelope is None:
        for location in locations:
            findings.note_at(
                "ebxml-E1",
                document,
                document.resolve(location),
                key=f"{_TMS}MESSAGE_NOT_WELL_FORMED{_COUNTS.get(location, '')}",
            )
    else:
        if envelope.header_version != "2.0":
            findings.note_at(
                "ebxml-E3", document, document.resolve(_MESSAGE_HEADER), key=f"{_TMS}SYNCREPLY_VERSION_INVALID"
            )
        if envelope.sync_replies:
            place = document.resolve(f"{_HEADER}/eb:SyncReply")
            findings.note_at("ebxml-E6", document, place, key=f"{_TMS}SYNCREPLY_INCONSISTENT_WITH_CONTRACT")
    if signal is None:
        headers = [each for header in root.iterchildren(HEADER) for each in header.iterchildren(f"{_E}MessageHeader")]
        text = "Missing Acknowledgement" if len(headers) == 1 else "Missing Message Header"
        findings.note_at("ebxml-ack", document, document.resolve(_HEADER), key=f"{_TMS}EBXML_ACK_INVALID", text=text)
        return "Acknowledgment"
    return signal.kind
