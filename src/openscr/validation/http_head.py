"""The head of an HTTP message judged: its length, its method and path, and where its SOAPAction leads.

Spec: 40 §2, §3, §4.1, §5.2, §6.6, §8.
"""

from enum import StrEnum
from typing import Final

from openscr.errors import FAULTS
from openscr.transport.interactions import EBXML_PATHS, INTERACTIONS, SYNC_PATHS
from openscr.transport.polling import ASID_HEADER, POLL_PREFIX, UPLOAD_PATH
from openscr.transport.soap import parse_soap_action
from openscr.validation.findings import FAULT_SYSTEM, Findings
from openscr.validation.framing import Framing
from openscr.validation.payloads import ANSWERS, KNOWN_NAME, REQUESTS
from openscr.validation.report import Severity

LARGEST_BODY: Final = 5_242_880
"""Bytes of a request that Spine takes. Spec: 00 §7."""

_LARGEST_LENGTH: Final = 2**64
"""What a Content-Length must stay below to be a number for the service."""

_SERVICES: Final = frozenset({"psis", "psisquery", "lrs", "lrsquery", "alerts"})
"""Services whose every interaction is in the table; those of other domains are not known here. Spec: 40 §3."""

_NAMES: Final = frozenset(name for _, name in INTERACTIONS)
_SOAP_TYPES: Final = frozenset({"text/xml", "application/xml", ""})


class Channel(StrEnum):
    """How a request reaches Spine."""

    SOAP = "soap"
    EBXML = "ebxml"
    POLLING = "polling"


def channel_of(framing: Framing) -> Channel | None:
    """Return the channel of a request: that of its path, else the only one of its interaction; none when unknown."""
    if not framing.is_request:
        return None
    path = framing.path
    if path in SYNC_PATHS:
        return Channel.SOAP
    if path in EBXML_PATHS:
        return Channel.EBXML
    if path == UPLOAD_PATH:
        return Channel.POLLING
    action = parse_soap_action(framing.header("soapaction"))
    row = INTERACTIONS.get(action) if action is not None else None
    ebxml = row is not None and (row.reliable or row.express)
    if row is None or row.soap + ebxml + row.polling != 1:
        return None
    return Channel.SOAP if row.soap else Channel.EBXML if ebxml else Channel.POLLING


def is_signal_action(header: str | None) -> bool:
    """Whether a SOAPAction is that of an ebXML signal. Spec: 40 §5.4, §5.5."""
    return header is not None and header.strip().strip('"').endswith(("/Acknowledgment", "/MessageError"))


def names_request(framing: Framing) -> bool:
    """Whether the SOAPAction names something that is asked of Spine."""
    action = parse_soap_action(framing.header("soapaction"))
    return action is not None and action[1] in REQUESTS


def check_head(framing: Framing, body: bytes, findings: Findings) -> None:
    """Judge the head of an HTTP message whose body, without its chunks, is ``body``."""
    if framing.folded is not None:
        _note_400(framing, findings, framing.folded, "folded")
    _check_length(framing, body, findings)
    if not framing.is_request or not _check_target(framing, body, findings) or not body.strip():
        return
    _check_routing(framing, findings)
    _check_media_type(framing, findings)


def check_asid(framing: Framing, sender_asid: str, findings: Findings) -> None:
    """Judge whether the header that names the sender's system agrees with the message. Spec: 40 §4.1, §7.6."""
    name = ASID_HEADER.lower()
    stated = {value for value, _ in framing.values(name)}
    if channel_of(framing) not in {Channel.SOAP, Channel.POLLING} or not stated or not sender_asid:
        return
    if channel_of(framing) is Channel.POLLING and stated == {""}:
        return
    if stated != {sender_asid}:
        _note_fault(findings, "300", framing.offset_of(name), "asid")


def _note_400(framing: Framing, findings: Findings, offset: int, variant: str) -> None:
    """Add what the HTTP layer itself refuses; of an answer, nothing is answered."""
    findings.note("http", offset, code="400" if framing.is_request else "", variant=variant)


def _note_fault(findings: Findings, code: str, offset: int, variant: str) -> None:
    findings.note("http", offset, code=code, system=FAULT_SYSTEM, text=FAULTS[code].description, variant=variant)


def _check_length(framing: Framing, body: bytes, findings: Findings) -> None:
    values = framing.values("content-length")
    if framing.is_request and len(body) > LARGEST_BODY:
        _note_fault(findings, "201", framing.offset_of("content-length"), "too-large")
        return
    if len(values) > 1:
        _note_400(framing, findings, values[1][1], "length-twice")
        return
    if not values:
        return
    stated, offset = values[0]
    digits = stated.lstrip("0") or "0"
    if not (stated.isascii() and stated.isdigit() and len(digits) <= 20 and int(digits) < _LARGEST_LENGTH):
        _note_400(framing, findings, offset, "length-malformed")
        return
    if framing.transfer_coding:
        _note_400(framing, findings, offset, "length-chunked")
        return
    length = int(digits)
    if framing.is_request and length > LARGEST_BODY:
        _note_fault(findings, "201", offset, "too-large")
    elif length > len(body):
        # Line ends that a program turned from CRLF into LF shorten a body without cutting it off.
        converted = length - len(body) <= body.count(b"\n") - body.count(b"\r\n")
        if converted:
            findings.note("http", offset, severity=Severity.WARNING, variant="length")
        else:
            findings.note("http", offset, code="400", variant="cut-off")
    elif length < len(body):
        # And from LF into CRLF they lengthen it; editors add an empty line.
        if not body[length:].strip() or len(body) - length == body.count(b"\r\n"):
            findings.note("http", offset, severity=Severity.WARNING, variant="length")
        else:
            _note_fault(findings, "201", offset, "longer")


def _check_target(framing: Framing, body: bytes, findings: Findings) -> bool:
    """Judge path and method; return whether the request gets any further. Spec: 40 §2, §8 step 1."""
    path, method = framing.path, framing.method
    polled = path.startswith(POLL_PREFIX)
    if polled or path in SYNC_PATHS or path in EBXML_PATHS or path == UPLOAD_PATH:
        if method == ("GET" if polled else "POST"):
            return True
        findings.note("http", 0, code="405", variant="method-poll" if polled else "method")
        return False
    # Anybody else's path is as good as another: to those of clients Spine itself posts.
    if names_request(framing) or (method != "POST" and not body.strip()):
        findings.note("http", 0, code="404", variant="path")
        return False
    return True


def _check_routing(framing: Framing, findings: Findings) -> None:
    """Judge where the SOAPAction leads. Spec: 40 §3, §4.1, §8 step 2."""
    values = framing.values("soapaction")
    offset = framing.offset_of("soapaction")
    if len({value for value, _ in values}) > 1:
        _note_fault(findings, "101", values[1][1], "routing-twice")
        return
    stated = framing.header("soapaction")
    path = framing.path
    if is_signal_action(stated):
        if path in SYNC_PATHS or path == UPLOAD_PATH:
            _note_fault(findings, "101", offset, "routing-path")
        return
    action = parse_soap_action(stated)
    if action is None:
        _note_fault(findings, "101", offset, "routing")
        return
    service, name = action
    row = INTERACTIONS.get(action)
    if row is None:
        elsewhere = name in _NAMES
        unheard = service in _SERVICES and name not in REQUESTS | ANSWERS and not name.startswith("HAS_SCRA_")
        if elsewhere or unheard or KNOWN_NAME.fullmatch(name) is None:
            _note_fault(findings, "101", offset, "routing-unknown")
        elif path == UPLOAD_PATH or (path in SYNC_PATHS and name in ANSWERS):
            _note_fault(findings, "101", offset, "routing-path")
        return
    taken = {Channel.SOAP: row.soap, Channel.EBXML: row.reliable or row.express, Channel.POLLING: row.polling}
    channel = channel_of(framing)
    if channel is not None and not taken[channel]:
        _note_fault(findings, "101", offset, "routing-path")


def _check_media_type(framing: Framing, findings: Findings) -> None:
    values = framing.values("content-type")
    if len({value for value, _ in values}) > 1:
        _note_fault(findings, "201", values[1][1], "media-type-twice")
        return
    offset = framing.offset_of("content-type")
    media_type = (framing.header("content-type") or "").partition(";")[0].strip().lower()
    channel = channel_of(framing)
    if channel is Channel.SOAP and media_type not in _SOAP_TYPES:
        _note_fault(findings, "201", offset, "media-type")
    elif (
        channel in {Channel.EBXML, Channel.POLLING}
        and not is_signal_action(framing.header("soapaction"))
        and not media_type.startswith("multipart/")
    ):
        # What begins so and is no multipart/related is told where the parts are read.
        _note_fault(findings, "201", offset, "multipart")
