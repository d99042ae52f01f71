"""How a message can be sent, and what has become of it: the words that suppliers and their tools know.

Spec: 50 §2, §6.
"""

from enum import StrEnum
from typing import Final


class Workflow(StrEnum):
    """How a message is exchanged. ``SYNC_ASYNC`` is an asynchronous one whose caller waits for the reply. 50 §2."""

    SYNC = "sync"
    ASYNC_EXPRESS = "async-express"
    ASYNC_RELIABLE = "async-reliable"
    FORWARD_RELIABLE = "forward-reliable"
    SYNC_ASYNC = "sync-async"


class OutboundStatus(StrEnum):
    """What has become of a message on its way out. Spec: 50 §6."""

    RECEIVED = "OUTBOUND_MESSAGE_RECEIVED"
    PREPARATION_FAILED = "OUTBOUND_MESSAGE_PREPARATION_FAILED"
    TRANSMISSION_FAILED = "OUTBOUND_MESSAGE_TRANSMISSION_FAILED"
    ACKD = "OUTBOUND_MESSAGE_ACKD"
    NACKD = "OUTBOUND_MESSAGE_NACKD"
    SYNC_RESPONSE_RECEIVED = "OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED"
    SYNC_SUCCESSFUL = "SYNC_RESPONSE_SUCCESSFUL"
    SYNC_FAILED = "SYNC_RESPONSE_FAILED"
    SYNC_ASYNC_RESPONDED = "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"
    SYNC_ASYNC_FAILED = "OUTBOUND_SYNC_ASYNC_MESSAGE_FAILED_TO_RESPOND"


class InboundStatus(StrEnum):
    """What has become of the reply to a message, or of a message that nobody had asked for. Spec: 50 §6."""

    PROCESSED = "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED"
    FAILED = "INBOUND_RESPONSE_FAILED"
    SYNC_ASYNC_STORED = "INBOUND_SYNC_ASYNC_MESSAGE_STORED"
    SYNC_ASYNC_FAILED = "INBOUND_SYNC_ASYNC_MESSAGE_FAILED_TO_BE_STORED"
    UNSOLICITED_RECEIVED = "UNSOLICITED_INBOUND_RESPONSE_RECEIVED"
    UNSOLICITED_PROCESSED = "UNSOLICITED_INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED"
    UNSOLICITED_FAILED = "UNSOLICITED_INBOUND_RESPONSE_FAILED"


NO_LONGER_WAITED_FOR: Final = frozenset({OutboundStatus.SYNC_ASYNC_RESPONDED, OutboundStatus.SYNC_ASYNC_FAILED})
"""Of a ``sync-async`` message: its caller has had an answer, so that a reply which comes now is late. Spec: 50 F3."""
