"""What a supplier reads from its queue: the JSON of one inbound message, and the properties around it.

Spec: 50 §3.4.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

LATE_RESPONSE: Final = "late-response"
"""Property of a reply whose caller had stopped waiting. Spec: 50 F3."""


class InboundAttachment(msgspec.Struct, frozen=True):
    """A part of the message beside the HL7 payload, as it came. Spec: 50 §3.1, §3.4."""

    payload: str
    is_base64: bool
    content_id: str
    content_type: str
    description: str


class ExternalAttachment(msgspec.Struct, frozen=True):
    """A reference to a message that comes on its own. Spec: 50 §3.1, §3.4."""

    document_id: str | None
    message_id: str
    description: str
    title: str | None


class InboundMessage(msgspec.Struct, frozen=True):
    """One inbound message: all four members are always written. ``ebxml`` and ``payload`` are texts. Spec: 50 §3.4."""

    ebxml: str = msgspec.field(name="ebXML")
    payload: str
    attachments: tuple[InboundAttachment, ...] = ()
    external_attachments: tuple[ExternalAttachment, ...] = ()


_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(InboundMessage)


def write_inbound_message(message: InboundMessage) -> bytes:
    """Write the JSON that goes onto the queue."""
    return _ENCODER.encode(message)


def read_inbound_message(body: bytes) -> InboundMessage:
    """Read that JSON back. Raises: `msgspec.DecodeError`."""
    return _DECODER.decode(body)


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message for the supplier's queue.

    ``id`` is the queue message's own: a fresh UUID, no id of HL7. ``message_id`` is the application property: of a
    reply the MessageId of the request, else that of the received message. ``body`` is an `InboundMessage` as JSON.
    ``late`` marks a reply whose caller had stopped waiting. Spec: 50 §3.4, F3.
    """

    id: str
    message_id: str
    correlation_id: str
    body: bytes
    created_at: datetime
    late: bool = False

    @property
    def properties(self) -> dict[str, str]:
        """The application properties."""
        late = {LATE_RESPONSE: "true"} if self.late else {}
        return {"message-id": self.message_id, "correlation-id": self.correlation_id, **late}
