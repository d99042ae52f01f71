"""Synchronous messages: SOAP envelopes with WS-Addressing headers and the HL7 interaction in the body.

`read_request` checks rules 1 to 8 of the request header and reports every one that fails; nothing that is read is
compared with the body, which is for the rule book of the messages.

Spec: 40 §4.2, §4.3, §10.5; 20 §2.
"""

from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import CRS_NS, HL7_NS, OID_ASID, PSIS_NS, SOAP_NS, WSA_NS
from openscr.errors import UnreadableMessage
from openscr.transport.soap import BODY, ENVELOPE, HEADER
from openscr.transport.xml import DECLARATION, escape, text_of

MESSAGE_ID_LENGTH: Final = 41
"""Characters of a ``wsa:MessageID``: ``uuid:`` and a UUID. Spec: 40 §1."""

_HEADER_PATH: Final = "/SOAP:Envelope/SOAP:Header"
_MESSAGE_ID: Final = f"{{{WSA_NS}}}MessageID"
_ACTION: Final = f"{{{WSA_NS}}}Action"
_TO: Final = f"{{{WSA_NS}}}To"
_FROM: Final = f"{{{WSA_NS}}}From"
_RELATES_TO: Final = f"{{{WSA_NS}}}RelatesTo"
_ADDRESS: Final = f"{{{WSA_NS}}}Address"
_RECEIVER: Final = f"{{{HL7_NS}}}communicationFunctionRcv"
_SENDER: Final = f"{{{HL7_NS}}}communicationFunctionSnd"
_BLOCKS: Final = (_MESSAGE_ID, _ACTION, _TO, _FROM, _RECEIVER, _SENDER)
_DEVICE: Final = f"{{{HL7_NS}}}device"
_ID: Final = f"{{{HL7_NS}}}id"


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """One rule of the request header: its number, its label in the rules of event queries, and Spine's constant."""

    number: int
    query_label: str
    key: str


HEADER_RULES: Final = {
    "/SOAP:Envelope": HeaderRule(1, "S0", "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED[soapEnvelopeCount]"),
    _HEADER_PATH: HeaderRule(2, "S0", "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED[soapHeaderCount]"),
    "/SOAP:Envelope/SOAP:Body": HeaderRule(3, "S0", "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED[soapBodyCount]"),
    f"{_HEADER_PATH}/wsa:MessageID": HeaderRule(
        4, "S1", "ErrorBaseTms.SOAP_MESSAGE_ID_ERROR[checkHeader.invalidMessageIDLength]"
    ),
    f"{_HEADER_PATH}/wsa:Action": HeaderRule(5, "S2", "ErrorBaseTms.SOAP_ACTION_ERROR"),
    f"{_HEADER_PATH}/wsa:To": HeaderRule(6, "S3", "ErrorBaseTms.SOAP_TO_ERROR"),
    f"{_HEADER_PATH}/hl7:communicationFunctionRcv/hl7:device/hl7:id": HeaderRule(
        7, "S4", "ErrorBaseTms.SOAP_COMM_FUNC_RCV_ERROR"
    ),
    f"{_HEADER_PATH}/hl7:communicationFunctionSnd/hl7:device/hl7:id": HeaderRule(
        8, "S5", "ErrorBaseTms.SOAP_COMM_FUNC_SND_ERROR"
    ),
}
"""The header rules by the location that a fault names. Spec: 40 §4.2, 20 §9.2, §12."""

# ACS wants exactly one wsa:Action where the query rules want one that is not empty (rule 5).
_ACS_SUFFIX: Final = "_RESOURCE_PERMISSIONS_INUK01"


@dataclass(frozen=True, slots=True)
class SoapRequest:
    """A synchronous request, its header as received; what is missing is empty.

    ``message_id`` is the whole text of ``wsa:MessageID``, ``body`` the HL7 interaction (none unless the body holds
    exactly one element). ``faults`` are the XPath locations of the header rules that failed, in the order of the rules:
    while there is one, the other values are not to be relied on. Spec: 40 §4.2.
    """

    message_id: str
    action: str
    to: str
    from_address: str
    receiver_asid: str
    sender_asid: str
    body: etree._Element | None
    faults: tuple[str, ...]


def read_request(root: etree._Element, interaction: str) -> SoapRequest:
    """Read a request whose SOAPAction names ``interaction``, and check rules 1 to 8 of its header. Spec: 40 §4.2."""
    faults: list[str] = []
    is_envelope = root.tag == ENVELOPE
    if not is_envelope:
        faults.append("/SOAP:Envelope")
    headers = list(root.iterchildren(HEADER)) if is_envelope else []
    if len(headers) != 1:
        faults.append(_HEADER_PATH)
    bodies = list(root.iterchildren(BODY)) if is_envelope else []
    contents = [child for body in bodies for child in body.iterchildren("*")]
    if len(bodies) != 1 or len(contents) != 1:
        faults.append("/SOAP:Envelope/SOAP:Body")
    blocks: dict[str, list[etree._Element]] = {}
    for header in headers:
        for child in header.iterchildren(*_BLOCKS):
            blocks.setdefault(str(child.tag), []).append(child)

    message_ids = blocks.get(_MESSAGE_ID, ())
    message_id = text_of(message_ids[0]) if message_ids else ""
    if len(message_ids) != 1 or len(message_id) != MESSAGE_ID_LENGTH:
        faults.append(f"{_HEADER_PATH}/wsa:MessageID")
    actions = blocks.get(_ACTION, ())
    action = text_of(actions[0]) if actions else ""
    if len(actions) != 1 or (len(action) < 2 and not interaction.endswith(_ACS_SUFFIX)):
        faults.append(f"{_HEADER_PATH}/wsa:Action")
    receivers = blocks.get(_TO, ())
    to = text_of(receivers[0]) if receivers else ""
    if len(receivers) != 1 or not to:
        faults.append(f"{_HEADER_PATH}/wsa:To")
    receiver_asid = _asid(blocks.get(_RECEIVER, []))
    if not receiver_asid:
        faults.append(f"{_HEADER_PATH}/hl7:communicationFunctionRcv/hl7:device/hl7:id")
    sender_asid = _asid(blocks.get(_SENDER, []))
    if not sender_asid:
        faults.append(f"{_HEADER_PATH}/hl7:communicationFunctionSnd/hl7:device/hl7:id")

    senders = blocks.get(_FROM, ())
    return SoapRequest(
        message_id=message_id,
        action=action,
        to=to,
        from_address=text_of(senders[0].find(_ADDRESS)) if senders else "",
        receiver_asid=receiver_asid,
        sender_asid=sender_asid,
        body=contents[0] if len(contents) == 1 else None,
        faults=tuple(faults),
    )


def _asid(functions: list[etree._Element]) -> str:
    """Return the one ASID that these blocks name; empty when there is none, or more than one to choose from."""
    ids = [
        found
        for function in functions
        for device in function.iterchildren(_DEVICE)
        for found in device.iterchildren(_ID)
        if found.get("root") == OID_ASID
    ]
    return ids[0].get("extension", "") if len(ids) == 1 else ""


# --- what we write --------------------------------------------------------------------------------------------------

_OPEN: Final = (
    f'{DECLARATION}<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_NS}" xmlns:wsa="{WSA_NS}" xmlns:psis="{PSIS_NS}" '
    f'xmlns:crs="{CRS_NS}" xmlns="{HL7_NS}"><SOAP-ENV:Header>'
)
_OPEN_PREFIXED: Final = (
    f'{DECLARATION}<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_NS}" xmlns:wsa="{WSA_NS}" xmlns:hl7="{HL7_NS}">'
    "<SOAP-ENV:Header>"
)
_BETWEEN: Final = "</SOAP-ENV:Header><SOAP-ENV:Body>"
_CLOSE: Final = b"</SOAP-ENV:Body></SOAP-ENV:Envelope>"


def write_response(
    *,
    message_id: str,
    action: str,
    to: str,
    from_address: str,
    receiver_asid: str,
    sender_asid: str,
    relates_to: str,
    body: bytes,
) -> bytes:
    """Write an answer around ``body``, which is the wrapper element with the interaction.

    ``message_id`` is the bare UUID, ``action`` the whole URN, ``relates_to`` the request's ``wsa:MessageID`` as
    received; ``receiver_asid`` is the client. ``body`` may use the default namespace (HL7) and the prefixes ``psis``
    and ``crs``. Spec: 40 §4.3, §10.5.
    """
    head = _addressing(message_id, action, to, from_address, receiver_asid, sender_asid)
    return f"{_OPEN}{head}<wsa:RelatesTo>{escape(relates_to)}</wsa:RelatesTo>{_BETWEEN}".encode() + body + _CLOSE


def write_request(
    *,
    message_id: str,
    action: str,
    to: str,
    from_address: str,
    receiver_asid: str,
    sender_asid: str,
    body: bytes,
    prefixed: bool = False,
) -> bytes:
    """Write a client's request around ``body``, which is the interaction; values as in `write_response`.

    ``prefixed`` writes the header with the prefix ``hl7`` and declares no default namespace: ``body`` is a document of
    its own, and may use no declaration of ours. Spec: 20 §2.3, 40 §4.2; 50 §2.6.
    """
    head = _addressing(message_id, action, to, from_address, receiver_asid, sender_asid, "hl7:" if prefixed else "")
    reply_to = f"<wsa:ReplyTo><wsa:Address>{escape(from_address)}</wsa:Address></wsa:ReplyTo>"
    return f"{_OPEN_PREFIXED if prefixed else _OPEN}{head}{reply_to}{_BETWEEN}".encode() + body + _CLOSE


def _addressing(
    message_id: str, action: str, to: str, from_address: str, receiver_asid: str, sender_asid: str, hl7: str = ""
) -> str:
    return (
        f"<wsa:MessageID>uuid:{escape(message_id)}</wsa:MessageID><wsa:Action>{escape(action)}</wsa:Action>"
        f"<wsa:To>{escape(to)}</wsa:To><wsa:From><wsa:Address>{escape(from_address)}</wsa:Address></wsa:From>"
        f"{_communication_function(hl7, 'Rcv', 'RCV', receiver_asid)}"
        f"{_communication_function(hl7, 'Snd', 'SND', sender_asid)}"
    )


def _communication_function(hl7: str, suffix: str, type_code: str, asid: str) -> str:
    name = f"{hl7}communicationFunction{suffix}"
    return (
        f'<{name} typeCode="{type_code}"><{hl7}device classCode="DEV" determinerCode="INSTANCE">'
        f'<{hl7}id root="{OID_ASID}" extension="{escape(asid)}"/></{hl7}device></{name}>'
    )


# --- answers --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SoapAnswer:
    """The answer to a synchronous request; header values as received, empty when they are missing. Spec: 40 §4.3."""

    message_id: str
    action: str
    relates_to: str
    interaction: etree._Element


def read_answer(root: etree._Element, expected: frozenset[str]) -> SoapAnswer:
    """Read an answer: its interaction is the first descendant of the body whose local name is one of ``expected``.

    The name of the wrapper does not matter. Raises: `UnreadableMessage` when there is no such element. Spec: 40 §4.3.
    """
    body = root.find(BODY) if root.tag == ENVELOPE else None
    if body is None:
        raise UnreadableMessage("the answer is not a SOAP envelope with a body", "/SOAP:Envelope/SOAP:Body")
    interaction = next(body.iterdescendants(*(f"{{*}}{name}" for name in expected)), None) if expected else None
    if interaction is None:
        raise UnreadableMessage("the body holds none of the expected interactions", "/SOAP:Envelope/SOAP:Body")
    header = root.find(HEADER)
    texts = {
        tag: text_of(header.find(tag)) if header is not None else "" for tag in (_MESSAGE_ID, _ACTION, _RELATES_TO)
    }
    return SoapAnswer(texts[_MESSAGE_ID], texts[_ACTION], texts[_RELATES_TO], interaction)
