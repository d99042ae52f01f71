"""What every broker does for us: take one message, for good, or say that it did not.

Spec: 50 §3.4, E3, E5; L22.
"""

from typing import Protocol

from openscr.errors import DeliveryError
from openscr.mhs.queue_message import QueueMessage


class QueueUnavailable(DeliveryError):
    """The broker cannot be reached, does not answer, or has no room or no such queue: it may take the message later."""

    code = "QUEUE_UNAVAILABLE"


class QueueRefused(DeliveryError):
    """The broker does not take this message; somebody has to look."""

    code = "QUEUE_REFUSED"


class Publisher(Protocol):
    """Hands messages to one broker, over a connection that is kept. Nothing is opened before the first message.

    A message that is published again bears the same id: who reads the queue can tell that it has it already.
    """

    async def publish(self, message: QueueMessage) -> None:
        """Return once the broker has taken responsibility. Raises: `QueueUnavailable`, `QueueRefused`."""

    async def reachable(self) -> bool:
        """Whether the broker could be given a message now."""

    async def close(self) -> None:
        """Let go of the connection."""
