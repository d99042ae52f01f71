"""What a request says of itself, as far as scenarios ask: read leniently, before anybody has judged it."""

from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from openscr.codes import ALERT_FHIR, HL7_NS, OID_NHS_NUMBER
from openscr.errors import WireError
from openscr.transport.ebxml import read_envelope
from openscr.transport.interactions import Channel
from openscr.transport.mime import read_multipart
from openscr.transport.soap import parse_soap_action
from openscr.transport.xml import read_xml


@dataclass(frozen=True, slots=True)
class Facts:
    """Interaction, patient and sender of a request; empty where they cannot be read.

    ``message_id`` is the ``eb:MessageId``.
    """

    channel: Channel
    interaction: str = ""
    nhs_number: str = ""
    asid: str = ""
    message_id: str = ""


def read_facts(channel: Channel, headers: Mapping[bytes, bytes], body: bytes) -> Facts:
    """Read what can be read; nothing is raised."""
    if channel is Channel.FHIR:
        return Facts(channel, ALERT_FHIR)
    action = parse_soap_action((headers.get(b"soapaction") or b"").decode("latin-1"))
    interaction = action[1] if action is not None else ""
    message_id = ""
    try:
        if channel is Channel.SOAP:
            root = read_xml(body)
        elif channel is Channel.FETCH:
            return Facts(channel)
        else:
            multipart = read_multipart((headers.get(b"content-type") or b"").decode("latin-1"), body)
            envelope = read_envelope(read_xml(multipart.root.content(body)))
            message_id = envelope.message_id
            part = multipart.part(envelope.payload_content_id or "") or multipart.parts[-1]
            root = read_xml(part.content(body))
    except WireError:
        return Facts(channel, interaction, message_id=message_id)
    return Facts(channel, interaction, _nhs_number(root), _sender(root), message_id)


def _nhs_number(root: etree._Element) -> str:
    """Return the first NHS number of a message: it is that of the patient whom the message is about."""
    for element in root.iter("*"):
        if element.get("root") == OID_NHS_NUMBER and element.get("extension"):
            return str(element.get("extension"))
    return ""


def _sender(root: etree._Element) -> str:
    sender = next(root.iter(f"{{{HL7_NS}}}communicationFunctionSnd"), None)
    identifier = next(sender.iter(f"{{{HL7_NS}}}id"), None) if sender is not None else None
    return (identifier.get("extension") or "") if identifier is not None else ""
