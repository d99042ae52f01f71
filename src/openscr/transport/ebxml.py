"""ebXML message service 2.0: envelopes read into facts, the reliability rules, and the messages that we write.

`read_envelope` checks the envelope block and the nine mandatory fields (E1, E2); `check_reliability` finds what does
not fit the pattern of the interaction (E3 to E14). An element that is missing is reported once, as missing; what its
attributes would have to say is then not reported too.

Spec: 40 §5, §8, §10.3, §10.5.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal, TypedDict, Unpack

from lxml import etree

from openscr.codes import (
    ACTOR_SOAP_NEXT,
    ACTOR_TO_PARTY,
    EB_NS,
    HL7EBXML_NS,
    PARTY_TYPE,
    SERVICE_PREFIX,
    SIGNAL_SERVICE,
    SOAP_NS,
    XLINK_NS,
)
from openscr.errors import EbxmlError, UnreadableMessage
from openscr.transport.xml import DECLARATION, escape, text_of

ERROR_CONTEXT: Final = f"{SIGNAL_SERVICE}:errors"
"""``eb:codeContext`` of our errors. Spec: 40 §1."""

_WHITE_SPACE: Final = " \t\r\n"
_HEADER_PATH: Final = "/SOAP:Envelope/SOAP:Header/eb:MessageHeader"

_S: Final = f"{{{SOAP_NS}}}"
_E: Final = f"{{{EB_NS}}}"
_ENVELOPE: Final = f"{_S}Envelope"
_HEADER: Final = f"{_S}Header"
_BODY: Final = f"{_S}Body"
_MESSAGE_HEADER: Final = f"{_E}MessageHeader"
_ACK_REQUESTED: Final = f"{_E}AckRequested"
_SYNC_REPLY: Final = f"{_E}SyncReply"
_BLOCKS: Final = (_MESSAGE_HEADER, _ACK_REQUESTED, _SYNC_REPLY, f"{_E}Acknowledgment", f"{_E}ErrorList")
# The children and grandchildren of a message header that are read, and how locations write them.
_FIELDS: Final = {
    f"{_E}{name}": f"eb:{name}"
    for name in ("From", "To", "CPAId", "ConversationId", "Service", "Action", "MessageData", "DuplicateElimination")
}
_SUBFIELDS: Final = {
    f"{_E}{name}": {f"{_E}{child}": f"eb:{name}/eb:{child}" for child in children}
    for name, children in {
        "From": ("PartyId",),
        "To": ("PartyId",),
        "MessageData": ("MessageId", "Timestamp", "RefToMessageId", "TimeToLive"),
    }.items()
}

# The nine fields of E2, in the order in which the first one at fault is named.
_MANDATORY: Final = (
    "eb:From/eb:PartyId",
    "eb:To/eb:PartyId",
    "eb:CPAId",
    "eb:ConversationId",
    "eb:Service",
    "eb:Action",
    "eb:MessageData",
    "eb:MessageData/eb:MessageId",
    "eb:MessageData/eb:Timestamp",
)


class Reliability(StrEnum):
    """The two patterns of user messages that a Summary Care Record exchanges. Spec: 40 §5.3."""

    RELIABLE = "reliable"
    EXPRESS = "express"


@dataclass(frozen=True, slots=True)
class Envelope:
    """The facts of one user message's envelope.

    ``service`` is the whole URN. ``conversation_id`` is the text as received, because answers echo it unchanged; the
    other values stand without surrounding white space. Counts are numbers of elements; attributes are none when they
    or their element are missing, and those of the first when an element is repeated. ``manifest_versions`` holds the
    versions that manifests state, ``references`` the ``xlink:href`` of every ``eb:Reference`` (empty when it has none).
    Spec: 40 §5.3.
    """

    from_party: str
    to_party: str
    cpa_id: str
    conversation_id: str
    service: str
    action: str
    message_id: str
    timestamp: str
    ref_to_message_id: str | None = None
    time_to_live: str | None = None
    header_version: str | None = None
    duplicate_eliminations: int = 0
    ack_requests: int = 0
    ack_version: str | None = None
    ack_signed: str | None = None
    ack_actor: str | None = None
    sync_replies: int = 0
    sync_version: str | None = None
    sync_actor: str | None = None
    manifest_versions: tuple[str, ...] = ()
    references: tuple[str, ...] = ()

    @property
    def short_service(self) -> str:
        """The service without ``urn:nhs:names:services:``, as `openscr.directory` writes it."""
        return self.service.removeprefix(SERVICE_PREFIX)

    @property
    def payload_content_id(self) -> str | None:
        """Content-Id of the payload: the text after the first ``:`` of the reference, none when there is none."""
        return self.references[0].partition(":")[2] or None if self.references else None


def read_envelope(root: etree._Element) -> Envelope:
    """Read the envelope of a user message.

    Raises: `UnreadableMessage` when the envelope block (E1) or one of the nine mandatory fields (E2) is at fault; its
    ``location`` is the XPath of the first one. Spec: 40 §5.6, §8 steps 4 and 5.
    """
    header, body = _header_and_body(root)
    by_name = _by_tag(header)
    message_headers = by_name.get(_MESSAGE_HEADER, [])
    fields = _message_header_fields(message_headers)
    for location in _missing_fields(fields):
        raise UnreadableMessage("the ebXML header must hold exactly one value here", location)
    return _facts(by_name, message_headers, fields, body)


def check_envelope(root: etree._Element) -> tuple[tuple[str, ...], Envelope | None]:
    """Return the locations of all that E1 and E2 find, and the facts as far as they are there.

    There are no facts when E1 finds something. Spec: 40 §5.6.
    """
    try:
        header, body = _header_and_body(root)
    except UnreadableMessage as error:
        return (error.location or "/SOAP:Envelope",), None
    by_name = _by_tag(header)
    message_headers = by_name.get(_MESSAGE_HEADER, [])
    fields = _message_header_fields(message_headers)
    return tuple(_missing_fields(fields)), _facts(by_name, message_headers, fields, body)


def _missing_fields(fields: Mapping[str, Sequence[etree._Element]]) -> Iterator[str]:
    for path in _MANDATORY:
        found = fields.get(path, ())
        if len(found) != 1 or not text_of(found[0]).strip(_WHITE_SPACE):
            yield f"{_HEADER_PATH}/{path}"


def _facts(
    by_name: Mapping[object, list[etree._Element]],
    message_headers: Sequence[etree._Element],
    fields: Mapping[str, Sequence[etree._Element]],
    body: etree._Element,
) -> Envelope:
    ack_requests = by_name.get(_ACK_REQUESTED, [])
    sync_replies = by_name.get(_SYNC_REPLY, [])
    ack = ack_requests[0] if ack_requests else None
    sync = sync_replies[0] if sync_replies else None
    manifests = list(body.iterchildren(f"{_E}Manifest"))
    versions = [_attribute(manifest, EB_NS, "version") for manifest in manifests]
    references = [reference for manifest in manifests for reference in manifest.iterchildren(f"{_E}Reference")]
    return Envelope(
        from_party=_value(fields, "eb:From/eb:PartyId"),
        to_party=_value(fields, "eb:To/eb:PartyId"),
        cpa_id=_value(fields, "eb:CPAId"),
        conversation_id=text_of(next(iter(fields.get("eb:ConversationId", ())), None)),
        service=_value(fields, "eb:Service"),
        action=_value(fields, "eb:Action"),
        message_id=_value(fields, "eb:MessageData/eb:MessageId"),
        timestamp=_value(fields, "eb:MessageData/eb:Timestamp"),
        ref_to_message_id=_value(fields, "eb:MessageData/eb:RefToMessageId") or None,
        time_to_live=_value(fields, "eb:MessageData/eb:TimeToLive") or None,
        header_version=_attribute(next(iter(message_headers), None), EB_NS, "version"),
        duplicate_eliminations=len(fields.get("eb:DuplicateElimination", ())),
        ack_requests=len(ack_requests),
        ack_version=_attribute(ack, EB_NS, "version"),
        ack_signed=_attribute(ack, EB_NS, "signed"),
        ack_actor=_attribute(ack, SOAP_NS, "actor"),
        sync_replies=len(sync_replies),
        sync_version=_attribute(sync, EB_NS, "version"),
        sync_actor=_attribute(sync, SOAP_NS, "actor"),
        manifest_versions=tuple(version for version in versions if version is not None),
        references=tuple(_attribute(reference, XLINK_NS, "href") or "" for reference in references),
    )


def _header_and_body(root: etree._Element) -> tuple[etree._Element, etree._Element]:
    if root.tag != _ENVELOPE:
        raise UnreadableMessage("the root is not a SOAP envelope", "/SOAP:Envelope")
    headers = list(root.iterchildren(_HEADER))
    if len(headers) != 1:
        raise UnreadableMessage("the envelope must hold exactly one header", "/SOAP:Envelope/SOAP:Header")
    bodies = list(root.iterchildren(_BODY))
    if len(bodies) != 1:
        raise UnreadableMessage("the envelope must hold exactly one body", "/SOAP:Envelope/SOAP:Body")
    return headers[0], bodies[0]


def _by_tag(parent: etree._Element) -> dict[object, list[etree._Element]]:
    found: dict[object, list[etree._Element]] = {}
    for child in parent.iterchildren(*_BLOCKS):
        found.setdefault(child.tag, []).append(child)
    return found


def _message_header_fields(message_headers: Sequence[etree._Element]) -> dict[str, list[etree._Element]]:
    """Return the elements of all message headers by their path, written with the prefix that locations use."""
    fields: dict[str, list[etree._Element]] = {}
    for message_header in message_headers:
        for child in message_header:
            tag = str(child.tag)
            path = _FIELDS.get(tag)
            if path is None:
                continue
            fields.setdefault(path, []).append(child)
            subfields = _SUBFIELDS.get(tag)
            for grandchild in child if subfields is not None else ():
                path = subfields.get(str(grandchild.tag)) if subfields is not None else None
                if path is not None:
                    fields.setdefault(path, []).append(grandchild)
    return fields


def _value(fields: Mapping[str, Sequence[etree._Element]], path: str) -> str:
    found = fields.get(path)
    return text_of(found[0]).strip(_WHITE_SPACE) if found else ""


def _attribute(element: etree._Element | None, namespace: str, name: str) -> str | None:
    """Return an attribute in its namespace or, as some clients write it, in none."""
    if element is None:
        return None
    value = element.get(f"{{{namespace}}}{name}")
    return element.get(name) if value is None else value


# --- rules ----------------------------------------------------------------------------------------------------------


def check_reliability(envelope: Envelope, reliability: Reliability) -> tuple[str, ...]:
    """Return the keys of `errors.EBXML_ERRORS` that an envelope earns under E3 to E14, in the order of the wire.

    Whether the reference names a part is for the caller to see, who holds the parts. Spec: 40 §5.6, §10.3.
    """
    wanted = 1 if reliability is Reliability.RELIABLE else 0
    failed: list[str] = []
    if envelope.header_version not in (None, "2.0"):
        failed.append("header_version")
    if envelope.duplicate_eliminations != wanted:
        failed.append("duplicate_elimination")
    if envelope.ack_requests != wanted:
        failed.append("ack_requested")
    if reliability is Reliability.RELIABLE:
        if envelope.ack_requests:
            if envelope.ack_version != "2.0":
                failed.append("ack_version")
            if envelope.ack_signed != "false":
                failed.append("ack_signed")
            if envelope.ack_actor != ACTOR_TO_PARTY:
                failed.append("ack_actor")
        if envelope.sync_replies != 1:
            failed.append("sync_reply")
        if envelope.sync_replies:
            if envelope.sync_version != "2.0":
                failed.append("sync_version")
            if envelope.sync_actor != ACTOR_SOAP_NEXT:
                failed.append("sync_actor")
    if any(version != "2.0" for version in envelope.manifest_versions):
        failed.append("manifest_version")
    if len(envelope.references) != 1:
        failed.append("manifest_count")
    if envelope.references and envelope.payload_content_id is None:
        failed.append("manifest_href")
    return tuple(failed)


def time_to_live_passed(envelope: Envelope, now: datetime) -> bool:
    """Whether the message says that it must no longer be processed at ``now``, an instant with its time zone.

    A value that is not a time says nothing. Times without a zone are UTC. Spec: 40 §6.5 (DECISION 15), §1.
    """
    text = envelope.time_to_live
    if text is None:
        return False
    try:
        if len(text) == 14 and text.isdigit():
            limit = datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
        else:
            limit = datetime.fromisoformat(text)
    except ValueError:
        return False
    return (limit if limit.tzinfo is not None else limit.replace(tzinfo=UTC)) < now


# --- what we write --------------------------------------------------------------------------------------------------


class Addressing(TypedDict):
    """What every message header says, of user messages and signals alike.

    ``message_id`` is the message's own; ``timestamp`` has the form of `identifiers.ebxml_timestamp`. Spec: 40 §5.3.
    """

    from_party: str
    to_party: str
    cpa_id: str
    conversation_id: str
    message_id: str
    timestamp: str


@dataclass(frozen=True, slots=True)
class Reference:
    """A manifest entry beside the payload's: ``href`` is ``cid:`` and a Content-Id, or ``mid:`` and a MessageId.

    Spec: 40 §6.6, 50 §2.5.
    """

    href: str
    description: str
    id: str | None = None


def write_user_message(
    *,
    service: str,
    action: str,
    ref_to_message_id: str | None,
    reliability: Reliability,
    spine: bool,
    actor: str = ACTOR_TO_PARTY,
    references: Sequence[Reference] = (),
    soap: str = "soap",
    **addressing: Unpack[Addressing],
) -> bytes:
    """Write part 1 of a message: the envelope alone on one line after the XML declaration.

    ``service`` is the whole URN. ``spine`` chooses the manifest as Spine writes it, otherwise it is as clients do. An
    actor other than the end party's means forwarding, where no reply is synchronous. The payload's Content-Id is
    `payload_id_of` the message id; ``references`` come after it. ``soap`` is the prefix of the SOAP elements.
    Spec: 40 §5.3, §10.5; 50 C5.
    """
    reliable = reliability is Reliability.RELIABLE
    blocks = ""
    if reliable:
        blocks = (
            f'<eb:AckRequested eb:version="2.0" {soap}:mustUnderstand="1" '
            f'{soap}:actor="{escape(actor)}" eb:signed="false"/>'
        )
    if actor == ACTOR_TO_PARTY:
        blocks += f'<eb:SyncReply eb:version="2.0" {soap}:mustUnderstand="1" {soap}:actor="{ACTOR_SOAP_NEXT}"/>'
    if spine:
        attributes = ""
        schema, version = f"urn:hl7-org:v3_{escape(action)}.xsd", escape(action[-2:])
        description = "The HL7 payload" if reliable else "The HL7 Payload"
    else:
        attributes = f' {soap}:mustUnderstand="1"'
        schema, version = "http://www.nhsia.nhs.uk/schemas/HL7-Message.xsd", "1.0"
        description = "HL7 payload"
    header = _message_header(addressing, service, action, ref_to_message_id, duplicate_elimination=reliable, soap=soap)
    return (
        f'{DECLARATION}<{soap}:Envelope xmlns:{soap}="{SOAP_NS}" xmlns:eb="{EB_NS}" xmlns:hl7ebxml="{HL7EBXML_NS}" '
        f'xmlns:xlink="{XLINK_NS}"><{soap}:Header>{header}{blocks}</{soap}:Header><{soap}:Body>'
        f'<eb:Manifest eb:version="2.0"{attributes}>'
        f'<eb:Reference xlink:href="cid:{escape(payload_id_of(addressing["message_id"]))}">'
        f'<eb:Schema eb:location="{schema}" eb:version="{version}"/>'
        f'<eb:Description xml:lang="en">{description}</eb:Description>'
        '<hl7ebxml:Payload style="HL7" encoding="XML" version="3.0"/>'
        f"</eb:Reference>{''.join(map(_reference, references))}</eb:Manifest></{soap}:Body></{soap}:Envelope>"
    ).encode()


def _reference(reference: Reference) -> str:
    named = f' eb:id="{escape(reference.id)}"' if reference.id is not None else ""
    return (
        f'<eb:Reference xlink:href="{escape(reference.href)}"{named}>'
        f'<eb:Description xml:lang="en">{escape(reference.description)}</eb:Description></eb:Reference>'
    )


def payload_id_of(message_id: str) -> str:
    """Return the Content-Id of a message's payload, without angle brackets. Spec: 40 §5.1."""
    return f"{message_id}@spine.nhs.uk"


def write_acknowledgment(
    *, ref_to_message_id: str, actor: str = ACTOR_TO_PARTY, **addressing: Unpack[Addressing]
) -> bytes:
    """Write the signal that a message has arrived; ``actor`` is the one that was asked. Spec: 40 §5.4, example 02."""
    block = (
        f'<eb:Acknowledgment eb:version="2.0" soap:mustUnderstand="1" soap:actor="{escape(actor)}">'
        f"<eb:Timestamp>{escape(addressing['timestamp'])}</eb:Timestamp>"
        f"<eb:RefToMessageId>{escape(ref_to_message_id)}</eb:RefToMessageId>"
        f"<eb:From>{_party_id(addressing['from_party'])}</eb:From></eb:Acknowledgment>"
    )
    return write_signal("Acknowledgment", ref_to_message_id, addressing, block=block)


def write_message_error(
    *, ref_to_message_id: str, errors: Sequence[EbxmlError], **addressing: Unpack[Addressing]
) -> bytes:
    """Write the signal that a message is refused; equal errors are written once.

    Raises: `ValueError` when there is no error. Spec: 40 §5.5, §10.3, example 18.
    """
    if not errors:
        raise ValueError("a MessageError needs at least one error")
    written = "".join(
        f'<eb:Error eb:codeContext="{ERROR_CONTEXT}" eb:errorCode="{escape(error.code)}" eb:severity="Error">'
        f'<eb:Description xml:lang="en-GB">{escape(error.description)}</eb:Description></eb:Error>'
        for error in dict.fromkeys(errors)
    )
    block = (
        f'<eb:ErrorList eb:version="2.0" soap:mustUnderstand="1" eb:highestSeverity="Error">{written}</eb:ErrorList>'
    )
    return write_signal("MessageError", ref_to_message_id, addressing, block=block)


def write_signal(
    action: str, ref_to_message_id: str, addressing: Addressing, *, block: str = "", content: str = ""
) -> bytes:
    """Write a message of the message service itself; ``block`` and ``content`` stand in header and body, as XML.

    Spec: 40 §5.4, §5.5; ebXML MS 2.0 §7, §8.
    """
    body = f"<soap:Body>{content}</soap:Body>" if content else "<soap:Body/>"
    header = _message_header(addressing, SIGNAL_SERVICE, action, ref_to_message_id, duplicate_elimination=False)
    return (
        f'{DECLARATION}<soap:Envelope xmlns:soap="{SOAP_NS}" xmlns:eb="{EB_NS}"><soap:Header>{header}{block}'
        f"</soap:Header>{body}</soap:Envelope>"
    ).encode()


def _message_header(
    addressing: Addressing,
    service: str,
    action: str,
    ref_to_message_id: str | None,
    *,
    duplicate_elimination: bool,
    soap: str = "soap",
) -> str:
    reference = ""
    if ref_to_message_id is not None:
        reference = f"<eb:RefToMessageId>{escape(ref_to_message_id)}</eb:RefToMessageId>"
    return (
        f'<eb:MessageHeader eb:version="2.0" {soap}:mustUnderstand="1">'
        f"<eb:From>{_party_id(addressing['from_party'])}</eb:From>"
        f"<eb:To>{_party_id(addressing['to_party'])}</eb:To>"
        f"<eb:CPAId>{escape(addressing['cpa_id'])}</eb:CPAId>"
        f"<eb:ConversationId>{escape(addressing['conversation_id'])}</eb:ConversationId>"
        f"<eb:Service>{escape(service)}</eb:Service><eb:Action>{escape(action)}</eb:Action>"
        f"<eb:MessageData><eb:MessageId>{escape(addressing['message_id'])}</eb:MessageId>"
        f"<eb:Timestamp>{escape(addressing['timestamp'])}</eb:Timestamp>{reference}</eb:MessageData>"
        f"{'<eb:DuplicateElimination/>' if duplicate_elimination else ''}</eb:MessageHeader>"
    )


def _party_id(party_key: str) -> str:
    return f'<eb:PartyId eb:type="{PARTY_TYPE}">{escape(party_key)}</eb:PartyId>'


# --- signals --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Signal:
    """What a partner said about one of our messages. ``errors`` are its errors or, beside an acknowledgment, warnings.

    Spec: 40 §5.4, §5.5.
    """

    kind: Literal["Acknowledgment", "MessageError"]
    ref_to_message_id: str
    message_id: str
    from_party: str
    errors: tuple[EbxmlError, ...] = ()


def read_signal(root: etree._Element) -> Signal | None:
    """Read an Acknowledgment or a MessageError; none for everything else.

    An error list refuses the message unless it holds warnings only and comes with an acknowledgment. Signals without
    exactly one message header are none: they acknowledge nothing. Spec: 40 §5.4-§5.6.
    """
    if root.tag != _ENVELOPE:
        return None
    by_name = _by_tag(header) if (header := root.find(_HEADER)) is not None else {}
    message_headers = by_name.get(_MESSAGE_HEADER, [])
    if len(message_headers) != 1:
        return None
    fields = _message_header_fields(message_headers)
    found = [error for errors in by_name.get(f"{_E}ErrorList", []) for error in errors.iterchildren(f"{_E}Error")]
    acknowledgments = by_name.get(f"{_E}Acknowledgment", [])
    refused = (
        any(_attribute(error, EB_NS, "severity") != "Warning" for error in found)
        or _value(fields, "eb:Action") == "MessageError"
    )
    reference = _value(fields, "eb:MessageData/eb:RefToMessageId")
    if not refused:
        if len(acknowledgments) != 1:
            return None
        stated = text_of(acknowledgments[0].find(f"{_E}RefToMessageId")).strip(_WHITE_SPACE)
        reference = stated or reference
    return Signal(
        kind="MessageError" if refused else "Acknowledgment",
        ref_to_message_id=reference,
        message_id=_value(fields, "eb:MessageData/eb:MessageId"),
        from_party=_value(fields, "eb:From/eb:PartyId"),
        errors=tuple(
            EbxmlError(
                _attribute(error, EB_NS, "errorCode") or "",
                text_of(error.find(f"{_E}Description")).strip(_WHITE_SPACE),
                _attribute(error, EB_NS, "codeContext") or "",
                _attribute(error, EB_NS, "severity") or "",
            )
            for error in found
        ),
    )
