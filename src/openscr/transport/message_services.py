"""The questions that message handlers ask each other: are you there, and what has become of my message.

Spec: 50 F9; ebXML MS 2.0 §7 (status), §8 (ping).
"""

from datetime import datetime
from typing import Final, Unpack

from lxml import etree

from openscr.codes import EB_NS, SOAP_NS
from openscr.identifiers import ebxml_timestamp
from openscr.transport.ebxml import Addressing, write_signal
from openscr.transport.xml import escape, text_of

PING: Final = "Ping"
STATUS_REQUEST: Final = "StatusRequest"
"""``eb:Action`` of the two questions."""

_ASKED: Final = f"{{{SOAP_NS}}}Body/{{{EB_NS}}}StatusRequest/{{{EB_NS}}}RefToMessageId"


def write_pong(*, ref_to_message_id: str, **addressing: Unpack[Addressing]) -> bytes:
    """Write the answer to a ping."""
    return write_signal("Pong", ref_to_message_id, addressing)


def read_status_request(root: etree._Element) -> str:
    """Return the id of the message whose status is asked for, empty when there is none."""
    return text_of(root.find(_ASKED)).strip(" \t\r\n")


def write_status_response(
    *, ref_to_message_id: str, asked: str, received_at: datetime | None, **addressing: Unpack[Addressing]
) -> bytes:
    """Write what has become of the message ``asked`` for: ``Received``, or ``NotRecognized`` without ``received_at``.

    ``ref_to_message_id`` is the id of the question.
    """
    status, instant = "NotRecognized", ""
    if received_at is not None:
        status, instant = "Received", f"<eb:Timestamp>{ebxml_timestamp(received_at)}</eb:Timestamp>"
    content = (
        f'<eb:StatusResponse eb:version="2.0" eb:messageStatus="{status}">'
        f"<eb:RefToMessageId>{escape(asked)}</eb:RefToMessageId>{instant}</eb:StatusResponse>"
    )
    return write_signal("StatusResponse", ref_to_message_id, addressing, content=content)
