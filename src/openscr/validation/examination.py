"""The validator: bytes of any message of these domains, and what Spine would find in them.

The input is taken apart from the outside inwards (HTTP, MIME, envelope, payload), and every layer that can be read is
judged with the rules of the readers themselves, so that the validator and the service cannot disagree. Within a payload
the rules of the domain are asked only when its wrapper is in order, as Spine does.

Spec: 00 §4 ``validate``; 10 §11, §14, §17; 20 §12; 30 §5; 40 §4.2, §5.6, §8.
"""

import codecs
import re
from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import POLLING_UPLOAD, SOAP_NS
from openscr.errors import FAULTS, MalformedMultipart, UnsafeXml, WireError
from openscr.hl7.wrapper import HL7, child, local_name, read_wrapper
from openscr.transport.ebxml import Envelope as Facts
from openscr.transport.mime import Multipart, Part, read_multipart
from openscr.transport.polling import POLL_PREFIX
from openscr.transport.soap import BODY, parse_soap_action, read_fault
from openscr.transport.xml import MAX_DEPTH, read_xml
from openscr.validation.envelopes import check_ebxml, check_signal, check_soap_header, is_ebxml, is_signal
from openscr.validation.findings import FAULT_SYSTEM, Findings
from openscr.validation.framing import Framing, read_chunks, read_framing
from openscr.validation.http_head import Channel, channel_of, check_asid, check_head
from openscr.validation.payloads import (
    ANSWERS,
    DOCUMENTS,
    KNOWN_NAME,
    Envelope,
    Measure,
    check_bare_document,
    check_payload,
    describe,
    family_of,
    interaction_below,
    is_answer,
    name_of,
)
from openscr.validation.places import Document, Lines
from openscr.validation.report import Level, Report
from openscr.validation.schemas import Schemas

_ANY_NAME: Final = re.compile(rb"<(?:[\w.-]{1,40}:)?(" + KNOWN_NAME.pattern.encode() + rb")[\s/>]")
_FIRST_ELEMENT: Final = re.compile(rb"<(?:[\w.-]{1,40}:)?([A-Za-z_][\w.-]{0,80})")
_BOM: Final = b"\xef\xbb\xbf"
_LOOKED_AT: Final = 65_536
"""Bytes of an unreadable input in which the name of its interaction is looked for."""


def validate(data: bytes, schemas: Schemas | None = None, level: Level = Level.SPINE) -> Report:
    """Judge an input at a level, and against ``schemas`` when there are any. Nothing is raised for the input.

    ``data`` may be a raw HTTP message, a multipart body with or without header lines, a SOAP or ebXML envelope, or a
    bare HL7 payload; requests and answers alike. Raises: `ConfigurationError` when a schema cannot be loaded.
    Spec: 00 §4.
    """
    return _Examination(data, Measure(level, schemas)).report()


def unreadable(cause: str, *, case: str = "") -> Report:
    """Return the report on an input that could not even be read; ``cause`` says why.

    ``case`` is ``size`` for a file beyond any message, ``folder`` for a folder.
    """
    findings = Findings(Lines(b""))
    findings.note("file", 0, text=cause, variant=case, about="" if case == "size" else f"{cause}.")
    return Report(None, "unread", findings.in_order())


@dataclass(frozen=True, slots=True)
class _Read:
    """What was recognised: interaction, and the input in words."""

    interaction: str | None
    kind: str
    recognised: bool = True


class _Examination:
    def __init__(self, data: bytes, measure: Measure) -> None:
        self._data = data
        self._measure = measure
        self._findings = Findings(Lines(data))

    def report(self) -> Report:
        """Look at everything once."""
        read = self._examine()
        return Report(read.interaction, read.kind, self._findings.in_order(), read.recognised, self._measure.level)

    def _examine(self) -> _Read:
        data = self._data
        if not data.strip():
            self._findings.note("message", 0, variant="empty")
            return _Read(None, "empty")
        encoding = _wide_encoding(data)
        if encoding:
            return self._examine_wide(encoding)
        framing = read_framing(data)
        body = data[framing.body :]
        if framing.is_http and framing.transfer_coding:
            unchunked = self._unchunk(framing)
            if unchunked is None:
                check_head(framing, b"", self._findings)
                return _Read(_name_in(body), "HTTP message that cannot be read")
            body = unchunked
        if framing.is_http:
            check_head(framing, body, self._findings)
            if not body.strip():
                if framing.method == "POST":
                    self._findings.note("message", 0, variant="no-body")
                known = framing.status is not None or framing.method == "POST" or framing.path.startswith(POLL_PREFIX)
                kind = f"HTTP {framing.status or 'request'} without a body"
                return _Read(None, kind, recognised=known or channel_of(framing) is not None)
        read = self._examine_multipart(framing, body) if framing.is_multipart else self._examine_xml(body, framing)
        if framing.is_http:
            words = f"HTTP {framing.status or 'request'}"
            return _Read(read.interaction, f"{words}, {read.kind}", read.recognised)
        return read

    def _unchunk(self, framing: Framing) -> bytes | None:
        """Take the chunks off the body; what is wrong with them is noted, and then there is no body."""
        coding = framing.transfer_coding.rpartition(",")[2].strip()
        if coding != "chunked":
            where, variant = framing.offset_of("transfer-encoding"), "coding"
        else:
            unchunked = read_chunks(self._data, framing.body)
            if unchunked.broken is None:
                self._findings.relocate(tuple((framing.body + at, place) for at, place in unchunked.pieces))
                return unchunked.content
            where, variant = unchunked.broken, "chunks"
        self._findings.note("http", where, code="400" if framing.is_request else "", variant=variant)
        return None

    def _examine_wide(self, encoding: str) -> _Read:
        """Look at a text that is not in single bytes: what it is can be told, and that Spine does not take it so."""
        text = self._data.decode(encoding, "replace").encode("utf-8")
        framing = read_framing(text.removeprefix(_BOM))
        recognised = _looks_familiar(text) or framing.is_http
        name = _name_in(text)
        error = UnsafeXml(f"the text is {encoding}", offset=0, cause=encoding.upper()[:6])
        family = (
            family_of(name) if _first_element(text) != "Envelope" else "psis" if family_of(name) == "psis" else "soap"
        )
        self._findings.note_unreadable(error, family, Lines(self._data), 0)
        return _Read(name, f"{encoding.upper()[:6]} text", recognised)

    # --- packaging --------------------------------------------------------------------------------------------------

    def _examine_multipart(self, framing: Framing, body: bytes) -> _Read:
        try:
            multipart = read_multipart(framing.content_type, body)
        except MalformedMultipart as error:
            self._note_mime(framing.offset_of("content-type"), str(error))
            return _Read(_name_in(body), "multipart that cannot be split", recognised=_looks_familiar(body))
        root = multipart.root
        document = self._read_part(multipart, root, framing.body, "ebxml")
        if document is None:
            return _Read(_name_in(body), "ebXML multipart", recognised=_looks_familiar(body))
        alone = len(multipart.parts) < 2 and local_name(document.root) != "Envelope"
        if alone and not framing.is_request:
            # A payload that travels alone in its part.
            return self._examine_document(document, framing)
        if is_signal(document.root):
            return self._examine_document(document, framing)
        facts = self._check_ebxml(document, framing)
        if len(multipart.parts) < 2:
            self._note_mime(
                framing.body + root.start, "the body must have a part for the envelope and one for the payload"
            )
            return _Read(facts.action if facts is not None else None, "ebXML multipart")
        action = facts.action if facts is not None and facts.action else None
        polling = action == POLLING_UPLOAD or channel_of(framing) is Channel.POLLING
        content_id = facts.payload_content_id if facts is not None else None
        part = multipart.part(content_id) if content_id else None
        if part is None:
            if content_id:
                self._findings.note_manifest_part(document, polling=polling)
            part = next(each for each in multipart.parts if each is not root)
        payload = self._read_part(multipart, part, framing.body, "payload", action)
        if payload is None:
            return _Read(action or _name_in(part_bytes(body, part)), "ebXML multipart")
        if channel_of(framing) is Channel.POLLING:
            check_asid(framing, read_wrapper(payload.root).sender_asid, self._findings)
        # What is polled for is judged as that, whatever its envelope says.
        wanted = POLLING_UPLOAD if polling else action
        name = check_payload(payload, payload.root, self._findings, Envelope(wanted), self._measure)
        if name is None:
            return _Read(action, "ebXML multipart")
        return _Read(name, f"ebXML multipart, {describe(name)}")

    def _check_ebxml(self, document: Document, framing: Framing) -> Facts | None:
        action = parse_soap_action(framing.header("soapaction"))
        polling = channel_of(framing) in {Channel.POLLING, None}
        return check_ebxml(document, self._findings, action, polling=polling)

    def _note_mime(self, offset: int, text: str) -> None:
        self._findings.note("mime", offset, code="201", system=FAULT_SYSTEM, text=text)

    def _read_part(
        self, multipart: Multipart, part: Part, base: int, layer: str, action: str | None = None
    ) -> Document | None:
        """Parse a part; what is wrong with it is noted, and then there is none."""
        try:
            content = part.content(multipart.body)
        except WireError as error:
            self._note_mime(base + part.start, str(error))
            return None
        start = base + part.start
        verbatim = part.encoding != "base64"
        try:
            return Document(read_xml(content), content, start, verbatim=verbatim)
        except UnsafeXml as error:
            family = "ebxml" if layer == "ebxml" else family_of(action or _name_in(content))
            self._findings.note_unreadable(error, family, Lines(content), start, verbatim=verbatim)
            return None

    # --- documents --------------------------------------------------------------------------------------------------

    def _examine_xml(self, body: bytes, framing: Framing) -> _Read:
        try:
            root = _read_document(body)
        except UnsafeXml as error:
            name = _name_in(body)
            envelope = _first_element(body) == "Envelope"
            recognised = _looks_familiar(body)
            if envelope:
                ebxml = b"MessageHeader" in body[:_LOOKED_AT] and b"ebxml-msg" in body[:_LOOKED_AT]
                family = "ebxml" if ebxml else "psis" if name and family_of(name) == "psis" else "soap"
            else:
                family = family_of(name)
            if not recognised and not body.removeprefix(_BOM).lstrip().startswith(b"<"):
                self._findings.note("message", framing.body, variant="no-xml")
            else:
                self._findings.note_unreadable(error, family, Lines(body), framing.body)
            return _Read(name, "XML that cannot be read" if recognised else "no message", recognised)
        return self._examine_document(Document(root, body, framing.body), framing)

    def _examine_document(self, document: Document, framing: Framing) -> _Read:
        root = document.root
        if local_name(root) != "Envelope" and etree.QName(root).namespace != SOAP_NS:
            found = interaction_below(root)
            if channel_of(framing) is Channel.SOAP:
                self._note_no_envelope(document, found)
            if found is None:
                if str(root.tag) in DOCUMENTS:
                    check_bare_document(document, self._findings, self._measure)
                    return _Read(None, f"{local_name(root)} without its interaction")
                self._findings.note("message", document.offset(root), xpath=document.xpath(root))
                return _Read(None, "no message", recognised=False)
            name = check_payload(document, found, self._findings, None, self._measure)
            return _Read(name, describe(name or ""))
        if is_ebxml(root):
            if is_signal(root):
                kind = check_signal(document, self._findings)
                return _Read(kind, f"ebXML {kind}")
            facts = self._check_ebxml(document, framing)
            return _Read(facts.action if facts is not None else None, "ebXML envelope alone")
        fault = read_fault(root)
        if fault is not None:
            return _Read(None, f"SOAP fault {', '.join(fault.codes)[:60]}".rstrip())
        return self._examine_soap(document, framing)

    def _note_no_envelope(self, document: Document, found: etree._Element | None) -> None:
        """Add that a payload was sent without the envelope that it needs. Spec: 40 §4.2, 20 §12 S0."""
        rule = "psis-S0" if found is not None and family_of(name_of(found)) == "psis" else "soap-1"
        text = FAULTS["201"].description
        self._findings.note_at(rule, document, document.root, code="201", system=FAULT_SYSTEM, text=text)

    def _examine_soap(self, document: Document, framing: Framing) -> _Read:
        root = document.root
        body = root.find(BODY)
        found = interaction_below(body if body is not None else root, MAX_DEPTH)
        action = parse_soap_action(framing.header("soapaction"))
        named = action[1] if action is not None and action[1] not in ANSWERS else None
        if found is None:
            return self._examine_empty_soap(document, named)
        if named is None and is_answer(found):
            if body is None:
                place = document.resolve("/SOAP:Envelope/SOAP:Body")
                self._findings.note_at("soap-3", document, place, text="no SOAP:Body")
            name = check_payload(document, found, self._findings, None, self._measure)
            return _Read(name, f"SOAP answer, {describe(name or '')}")
        header = check_soap_header(
            document, named or name_of(found), self._findings, family_of(named or name_of(found))
        )
        if header is not None:
            check_asid(framing, header.sender_asid, self._findings)
        if body is not None and found.getparent() is not body:
            self._note_unsupported("message", document.offset(found), document.xpath(found), "wrapped")
        if named is not None and named != local_name(found):
            self._note_unsupported("http", framing.offset_of("soapaction"), "", "routing-differs")
        name = check_payload(document, found, self._findings, Envelope(None, header, soap=True), self._measure)
        return _Read(name, f"SOAP request, {describe(name or '')}")

    def _examine_empty_soap(self, document: Document, named: str | None) -> _Read:
        """Judge an envelope in which no interaction is found; ``named`` is what its SOAPAction promises."""
        root = document.root
        contents = [len(body) for body in root.iterchildren(BODY)]
        if contents != [1]:
            check_soap_header(document, named or "", self._findings, family_of(named))
            return _Read(named, "SOAP envelope without a message", recognised=named is not None or contents == [0])
        if named is not None:
            self._note_unsupported("message", document.offset(root), document.xpath(root), "envelope")
        else:
            self._findings.note("message", document.offset(root), xpath=document.xpath(root), variant="envelope")
        return _Read(named, "SOAP envelope without a message", recognised=named is not None)

    def _note_unsupported(self, rule: str, offset: int, xpath: str, variant: str) -> None:
        """Add what is answered with fault 101. Spec: 40 §8 (sync pipeline)."""
        text = FAULTS["101"].description
        self._findings.note(rule, offset, code="101", system=FAULT_SYSTEM, text=text, xpath=xpath, variant=variant)


def _read_document(body: bytes) -> etree._Element:
    """Parse a document; an answer may be deeper than a request by the depth of its envelope. Raises: `UnsafeXml`."""
    try:
        return read_xml(body)
    except UnsafeXml as error:
        if error.cause != "DEPTH":
            raise
        root = read_xml(body, answer=True)
        found = interaction_below(root)
        if found is None or not is_answer(found) or child(found, f"{HL7}acknowledgement") is None:
            raise
        return root


def _wide_encoding(data: bytes) -> str:
    """Return which encoding of more than one byte a text shows, empty for none."""
    start = data[:4]
    if start in {codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE}:
        return "utf-32"
    if start[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        return "utf-16"
    return {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}.get(start[:2], "")


def part_bytes(body: bytes, part: Part) -> bytes:
    """Return the content of a part as it stands in the body."""
    return body[part.start : part.end]


def _name_in(data: bytes) -> str | None:
    """Return the first name of an interaction that occurs as an element, for inputs that cannot be parsed."""
    found = _ANY_NAME.search(data[:_LOOKED_AT])
    return found.group(1).decode("ascii") if found is not None else None


def _first_element(data: bytes) -> str | None:
    found = _FIRST_ELEMENT.search(data[:_LOOKED_AT])
    return found.group(1).decode("ascii", "replace") if found is not None else None


def _looks_familiar(data: bytes) -> bool:
    """Whether an input that cannot be read was meant to be a message of these domains."""
    return _name_in(data) is not None or _first_element(data) == "Envelope"
