"""Between the rows of the interface and the columns of a table, the same on every engine.

Times are whole microseconds since 1970 UTC; bodies are sealed to their place; what has no column of its own is JSON.
``*_values`` give parameters in the order of the statements' columns, ``read_*`` take a row in that order.

Spec: 50 §6, F17.
"""

from typing import Final

import msgspec

from openscr.errors import StoreError
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.encryption import Sealing
from openscr.mhs.store.interface import (
    DeadLetter,
    InboundReceipt,
    LeasedMessage,
    MessageRow,
    ReplyRow,
    Result,
    SendingRow,
    SendState,
    StatusChange,
)
from openscr.store.rows import (
    Row,
    Values,
    from_microseconds,
    optional_time,
    read_optional_time,
    to_microseconds,
)

_encode: Final = msgspec.json.Encoder().encode
_decode_history: Final = msgspec.json.Decoder(list[tuple[int, str]]).decode
_decode_headers: Final = msgspec.json.Decoder(tuple[tuple[str, str], ...]).decode
_decode_names: Final = msgspec.json.Decoder(tuple[str, ...]).decode
_INBOUND: Final = frozenset(InboundStatus)


# --- messages ---


def message_values(row: MessageRow, sealing: Sealing) -> Values:
    """Return the columns of a message's state."""
    result = row.result
    return (
        row.message_id,
        to_microseconds(row.created),
        row.workflow.value,
        row.interaction,
        row.correlation_id,
        row.outbound_status,
        row.inbound_status,
        _encode([(to_microseconds(change.at), change.status.value) for change in row.history]),
        row.last_error,
        row.from_party,
        row.to_party,
        row.digest,
        optional_time(row.waits_until),
        None if result is None else result.status,
        None if result is None else result.content_type,
        None if result is None else sealing.seal(f"result:{row.message_id}", result.body),
    )


def read_message(row: Row, sealing: Sealing) -> MessageRow:
    """Return the state of a message. Raises: `StoreError` when it is damaged."""
    (message_id, created, workflow, interaction, correlation_id, outbound, inbound, history, last_error, *rest) = row
    from_party, to_party, digest, waits_until, status, content_type, body = rest
    try:
        return MessageRow(
            message_id,
            from_microseconds(created),
            Workflow(workflow),
            interaction,
            correlation_id,
            None if outbound is None else OutboundStatus(outbound),
            None if inbound is None else InboundStatus(inbound),
            tuple(StatusChange(from_microseconds(at), _read_status(word)) for at, word in _decode_history(history)),
            last_error,
            from_party,
            to_party,
            digest,
            None if status is None else Result(status, content_type, sealing.open(f"result:{message_id}", body)),
            read_optional_time(waits_until),
        )
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise StoreError("the state of a message is damaged") from error


def _read_status(word: str) -> OutboundStatus | InboundStatus:
    return InboundStatus(word) if word in _INBOUND else OutboundStatus(word)


# --- what is to be sent, replies, receipts ---


def sending_values(row: SendingRow, digest: bytes) -> Values:
    """Return the columns of what is to be sent, without lease and body. What was never planned is due since ever."""
    return (
        row.message_id,
        row.address,
        _encode(row.headers),
        _encode(row.names),
        row.retries,
        row.retry_interval,
        row.persist_duration,
        row.state.value,
        row.attempts,
        optional_time(row.first_attempt_at),
        optional_time(row.next_attempt_at),
        row.last_error,
        optional_time(row.next_attempt_at) or 0,
        digest,
    )


def seal_sending_body(row: SendingRow, sealing: Sealing) -> bytes:
    """Return the body of what is to be sent as it is stored."""
    return sealing.seal(f"sending:{row.message_id}", row.body)


def read_sending(row: Row, sealing: Sealing) -> SendingRow:
    """Return what is to be sent; its stored body follows the columns. Raises: `StoreError` when it is damaged."""
    (message_id, address, headers, names, retries, retry_interval, persist_duration, state, attempts, *rest) = row
    first_attempt_at, next_attempt_at, last_error, _, _, body = rest
    try:
        return SendingRow(
            message_id,
            address,
            _decode_headers(headers),
            sealing.open(f"sending:{message_id}", body),
            retries,
            retry_interval,
            persist_duration,
            _decode_names(names),
            SendState(state),
            attempts,
            read_optional_time(first_attempt_at),
            read_optional_time(next_attempt_at),
            last_error,
        )
    except (msgspec.MsgspecError, ValueError, OverflowError) as error:
        raise StoreError("what was to be sent for a message is damaged") from error


def reply_values(row: ReplyRow, sealing: Sealing) -> Values:
    """Return the columns of a reply."""
    body = sealing.seal(f"reply:{row.message_id}", row.body)
    return row.message_id, row.correlation_id, to_microseconds(row.received_at), body


def read_reply(row: Row, sealing: Sealing) -> ReplyRow:
    """Return a reply. Raises: `StoreError` when it is damaged."""
    message_id, correlation_id, received_at, body = row
    return ReplyRow(
        message_id, correlation_id, sealing.open(f"reply:{message_id}", body), from_microseconds(received_at)
    )


def receipt_values(row: InboundReceipt) -> Values:
    """Return the columns of the memory of an inbound message; the answer, an acknowledgment, names no patient."""
    return row.from_party, row.message_id, to_microseconds(row.received_at), to_microseconds(row.expires_at), row.answer


def read_receipt(row: Row) -> InboundReceipt:
    """Return the memory of an inbound message."""
    from_party, message_id, received_at, expires_at, answer = row
    return InboundReceipt(from_party, message_id, from_microseconds(received_at), from_microseconds(expires_at), answer)


# --- the queue ---


def queue_values(message: QueueMessage) -> Values:
    """Return the columns of a queue message as it comes; its body is kept apart."""
    return (
        message.id,
        message.message_id,
        message.correlation_id,
        to_microseconds(message.created_at),
        int(message.late),
        len(message.body),
    )


def seal_queue_body(message: QueueMessage, sealing: Sealing) -> bytes:
    """Return the body of a queue message as it is stored."""
    return sealing.seal(f"queue:{message.id}", message.body)


def read_leased(row: Row, stored: bytes, receipt: str, sealing: Sealing) -> LeasedMessage:
    """Return a queue message that was just given out, with its stored body. Raises: `StoreError`: that is damaged."""
    id, message_id, correlation_id, created_at, late, deliveries = row
    body = sealing.open(f"queue:{id}", stored)
    message = QueueMessage(id, message_id, correlation_id, body, from_microseconds(created_at), bool(late))
    return LeasedMessage(message, receipt, deliveries)


def read_dead_letter(row: Row) -> DeadLetter:
    """Return a dead letter."""
    id, message_id, correlation_id, created_at, late, size, deliveries, died_at = row
    return DeadLetter(
        id,
        message_id,
        correlation_id,
        from_microseconds(created_at),
        bool(late),
        size,
        deliveries,
        from_microseconds(died_at),
    )
