"""From the body of a request to what a supplier reads, and to the facts that decide what becomes of it.

Nothing here asks a clock or a store. The payload is never parsed: it is the supplier's.

Spec: 50 §3.1 steps 1 to 4, §3.4, F9, F10.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from lxml import etree

from openscr.codes import SIGNAL_SERVICE
from openscr.errors import MalformedMultipart, NotMultipart, UnreadableMessage, UnsafeXml
from openscr.mhs.inbound.answers import (
    ACTOR_MISSING,
    EBXML_UNDECODABLE,
    ELEMENT_MISSING,
    INTERNAL,
    NOT_MULTIPART,
    PAYLOAD_UNDECODABLE,
    UNREADABLE_PARTS,
    UNUSABLE_ID,
    Refused,
)
from openscr.mhs.inbound.charsets import decode, media_type_of
from openscr.mhs.inbound.descriptions import file_name_of
from openscr.mhs.queue_message import ExternalAttachment, InboundAttachment, InboundMessage
from openscr.transport.ebxml import Envelope, Signal, check_envelope, read_signal
from openscr.transport.manifest import ManifestEntry, read_manifest
from openscr.transport.mime import Multipart, Part, read_multipart
from openscr.transport.xml import read_xml

_LONGEST_ID: Final = 256
_XML_TYPES: Final = frozenset({"text/xml", "application/xml", "application/soap+xml"})
_HEADER: Final = "/SOAP:Envelope/SOAP:Header/eb:MessageHeader/"
# What the reference names as missing where our reader names something else.
_WHERE: Final = {
    "/SOAP:Envelope": "eb:From/eb:PartyId",
    "/SOAP:Envelope/SOAP:Header": "eb:From/eb:PartyId",
    "/SOAP:Envelope/SOAP:Body": "soap:Body",
    f"{_HEADER}eb:MessageData": "eb:MessageId",
    f"{_HEADER}eb:MessageData/eb:MessageId": "eb:MessageId",
    f"{_HEADER}eb:MessageData/eb:Timestamp": "eb:Timestamp",
}
_XML_DECLARATION: Final = re.compile(r"\ufeff?\s*<\?xml\s[^>]*\?>")


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that could be read. ``signal`` is what it says of one of ours, none when it is no such signal."""

    envelope: Envelope
    root: etree._Element
    message: InboundMessage
    signal: Signal | None = None


def read_arrived(content_type: str | None, body: bytes) -> Arrived:
    """Read a message. Raises: `Refused`."""
    if content_type is None:
        raise Refused(500, INTERNAL)
    try:
        multipart = read_multipart(content_type, body)
    except NotMultipart:
        return _read_single(content_type, body)
    except MalformedMultipart as error:
        raise Refused(500, UNREADABLE_PARTS, error.diagnostics) from None
    part = multipart.root
    content = _content_of(part, body) if part.encoding != "base64" else None
    text = decode(content, part.content_type) if content is not None else None
    if text is None:
        raise Refused(500, EBXML_UNDECODABLE)
    root = _parse(text)
    if root is None:
        raise Refused(500, INTERNAL)
    envelope, signal = _read_envelope(root, alone=False)
    try:
        entries = read_manifest(root)
    except UnreadableMessage:
        raise Refused(500, INTERNAL) from None
    return Arrived(envelope, root, _read_parts(multipart, text, entries), signal)


def _read_single(content_type: str, body: bytes) -> Arrived:
    """Read a message that has no parts beside its envelope. Spec: 50 F9."""
    text = decode(body, content_type) if media_type_of(content_type) in _XML_TYPES else None
    root = _parse(text) if text is not None else None
    if root is None or etree.QName(root).localname != "Envelope":
        raise Refused(500, NOT_MULTIPART)
    envelope, signal = _read_envelope(root, alone=True)
    try:
        entries = read_manifest(root)
    except UnreadableMessage:
        raise Refused(500, INTERNAL) from None
    return Arrived(envelope, root, InboundMessage(text or "", "", (), _externals(entries)), signal)


def _content_of(part: Part, body: bytes) -> bytes | None:
    """Return the content of a part, none when its transfer encoding is broken or not one that is taken."""
    if part.encoding == "quoted-printable":
        return binascii.a2b_qp(body[part.start : part.end])
    try:
        return part.content(body)
    except MalformedMultipart:
        return None


def _parse(text: str) -> etree._Element | None:
    """Parse an envelope, whichever encoding it was written in; none when it cannot be, or must not."""
    declaration = _XML_DECLARATION.match(text)
    try:
        return read_xml(text[declaration.end() if declaration else 0 :].encode())
    except UnsafeXml:
        return None


# --- the envelope ---------------------------------------------------------------------------------------------------


def _read_envelope(root: etree._Element, *, alone: bool) -> tuple[Envelope, Signal | None]:
    missing, envelope = check_envelope(root)
    signal = None
    if envelope is not None and (alone or envelope.service == SIGNAL_SERVICE):
        signal = read_signal(root)
    if envelope is None or (missing and signal is None):
        raise Refused(500, ELEMENT_MISSING.format(_WHERE.get(missing[0], missing[0].removeprefix(_HEADER))))
    if signal is None and envelope.ack_requests and envelope.ack_actor is None:
        raise Refused(500, ACTOR_MISSING)
    # Those that are kept, or repeated in what is.
    ids = (envelope.message_id, envelope.conversation_id.strip(), envelope.from_party, envelope.cpa_id)
    if max(map(len, ids)) > _LONGEST_ID or not envelope.message_id.isprintable():
        raise Refused(500, UNUSABLE_ID)
    return envelope, signal


# --- the parts ------------------------------------------------------------------------------------------------------


def _read_parts(multipart: Multipart, ebxml: str, entries: tuple[ManifestEntry, ...]) -> InboundMessage:
    described = _by_content_id(entries)
    others = [part for part in multipart.parts if part is not multipart.root]
    payload_part = _payload_of(others, described)
    payload = ""
    attachments: list[InboundAttachment] = []
    for part in others:
        if part is payload_part:
            text = _text_of_payload(part, multipart.body)
            if text is not None:
                payload = text
                continue
        elif part.content_id not in described:
            continue
        attachments.append(_attachment(part, multipart.body, described))
    return InboundMessage(ebxml, payload, tuple(attachments), _externals(entries))


def _by_content_id(entries: tuple[ManifestEntry, ...]) -> dict[str, ManifestEntry]:
    """Return what the manifest says of parts; the first entry for a part counts. A URL may be percent-encoded."""
    found: dict[str, ManifestEntry] = {}
    for entry in entries:
        if entry.content_id is not None:
            found.setdefault(entry.content_id, entry)
            found.setdefault(unquote(entry.content_id), entry)
    return found


def _payload_of(others: list[Part], described: Mapping[str, ManifestEntry]) -> Part | None:
    """Return the part that the manifest says holds the HL7 payload, else the first beside the envelope."""
    marked = (part for part in others if (entry := described.get(part.content_id or "")) and entry.is_payload)
    return next(marked, others[0] if others else None)


def _text_of_payload(part: Part, body: bytes) -> str | None:
    """Return the payload, none when it is no text. Raises: `Refused` when its transfer encoding is broken."""
    content = _content_of(part, body)
    if content is None:
        raise Refused(500, PAYLOAD_UNDECODABLE)
    return decode(content, part.content_type)


def _attachment(part: Part, body: bytes, described: Mapping[str, ManifestEntry]) -> InboundAttachment:
    """Make an attachment: base64 as it came, text as text, anything else in base64. Spec: 50 §3.4, F10."""
    as_sent = body[part.start : part.end]
    is_base64 = part.encoding == "base64"
    if is_base64:
        content, text = as_sent, decode(as_sent, "text/plain; charset=us-ascii")
    else:
        decoded = _content_of(part, body)
        content = as_sent if decoded is None else decoded
        text = None if decoded is None else decode(decoded, part.content_type)
    if text is None:
        text, is_base64 = base64.b64encode(content).decode("ascii"), True
    entry = described.get(part.content_id or "")
    return InboundAttachment(
        payload=text,
        is_base64=is_base64,
        content_id=part.content_id or "",
        content_type=media_type_of(part.content_type),
        description=entry.description if entry is not None else "",
    )


def _externals(entries: tuple[ManifestEntry, ...]) -> tuple[ExternalAttachment, ...]:
    return tuple(
        [
            ExternalAttachment(
                document_id=entry.document_id,
                message_id=message_id,
                description=entry.description,
                title=file_name_of(entry.description),
            )
            for entry in entries
            if (message_id := entry.external_message_id) is not None
        ]
    )
