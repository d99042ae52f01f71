"""Rows of the adaptor's store, and the few words that tests use to put them there."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.interface import (
    AuditEntry,
    InboundReceipt,
    MessageRow,
    ReplyRow,
    Result,
    SendingRow,
    SendState,
    StatusChange,
    Store,
    Transaction,
)

START = datetime(2026, 11, 23, 12, 0, 0, 123456, tzinfo=UTC)
PARTY = "YES-0000806"
MINUTE = 60.0


def at(seconds: float) -> datetime:
    """Return the instant so many seconds after the start of a test."""
    return START + timedelta(seconds=seconds)


def an_id(number: int) -> str:
    return f"AAAAAAAA-0000-4000-8000-{number:012d}"


def a_message(number: int, **changes: Any) -> MessageRow:
    """Return the least that is known of a message; it was made ``number`` seconds after the start."""
    return MessageRow(
        **({"message_id": an_id(number), "created": at(number), "workflow": Workflow.ASYNC_RELIABLE} | changes)
    )


def a_full_message(number: int) -> MessageRow:
    """Return a message of which everything is known."""
    return MessageRow(
        an_id(number),
        at(number),
        Workflow.SYNC_ASYNC,
        "QUPC_IN160101UK05",
        "Correlation “1”",
        OutboundStatus.SYNC_ASYNC_RESPONDED,
        InboundStatus.SYNC_ASYNC_STORED,
        (
            StatusChange(at(0), OutboundStatus.RECEIVED),
            StatusChange(at(0.000001), OutboundStatus.ACKD),
            StatusChange(at(2), InboundStatus.SYNC_ASYNC_STORED),
            StatusChange(at(3), OutboundStatus.SYNC_ASYNC_RESPONDED),
        ),
        "the connection was refused",
        "A91545-9199121",
        PARTY,
        "0" * 64,
        Result(200, "text/xml", b"<a>\x00\xff</a>"),
        at(20),
    )


def a_sending(number: int, **changes: Any) -> SendingRow:
    return SendingRow(
        **(
            {
                "message_id": an_id(number),
                "address": "https://spine.example/reliable",
                "headers": (
                    ("Content-Type", 'multipart/related; boundary="--=_MIME-Boundary"'),
                    ("a", "b"),
                    ("a", "c"),
                ),
                "body": f"body {number}\r\n\x00".encode() + b"\xff\xfe",
                "retries": 2,
                "retry_interval": 60.5,
                "persist_duration": 300.0,
            }
            | changes
        )
    )


def a_full_sending(number: int) -> SendingRow:
    return a_sending(
        number,
        names=("spine.example", "*.example"),
        state=SendState.OPEN,
        attempts=2,
        first_attempt_at=at(1),
        next_attempt_at=at(61),
        last_error="500 from the receiver",
    )


def a_reply(number: int, **changes: Any) -> ReplyRow:
    return ReplyRow(
        **(
            {
                "message_id": an_id(number),
                "correlation_id": "C",
                "body": b'{"ebXML":"\\u0000"}' + bytes(range(256)),
                "received_at": at(number),
            }
            | changes
        )
    )


def a_receipt(number: int, **changes: Any) -> InboundReceipt:
    return InboundReceipt(
        **(
            {
                "from_party": PARTY,
                "message_id": an_id(number),
                "received_at": at(number),
                "expires_at": at(number + 100),
                "answer": b"<soap:Envelope/>\xff",
            }
            | changes
        )
    )


def a_queue_message(number: int, **changes: Any) -> QueueMessage:
    return QueueMessage(
        **(
            {
                "id": an_id(number),
                "message_id": f"hl7 {number}",
                "correlation_id": f"conversation {number}",
                "body": f'{{"ebXML":"","payload":"{number}","attachments":[],"external_attachments":[]}}'.encode(),
                "created_at": at(number),
            }
            | changes
        )
    )


def an_entry(number: int, **content: str) -> AuditEntry:
    return AuditEntry(at(number), {"message_id": an_id(number), "outcome": "ACKD"} | content)


async def put(store: Store, *rows: object) -> None:
    """Put rows of any kind into a store, in one transaction."""

    async def work(transaction: Transaction) -> None:
        for row in rows:
            await put_row(transaction, row)

    await store.transact(work)


async def put_row(transaction: Transaction, row: object) -> None:
    """Put a row of any kind."""
    match row:
        case MessageRow():
            await transaction.put_message(row)
        case SendingRow():
            await transaction.put_sending(row)
        case ReplyRow():
            await transaction.put_reply(row)
        case InboundReceipt():
            await transaction.put_receipt(row)
        case QueueMessage():
            await transaction.enqueue(row)
        case AuditEntry():
            await transaction.append_audit(row)
        case _:
            raise TypeError(type(row))


async def do(store: Store, work: Callable[[Transaction], Awaitable[Any]]) -> Any:
    """Run what is only one call."""
    return await store.transact(work)


async def find_sending(store: Store, number: int) -> SendingRow | None:
    return await do(store, lambda transaction: transaction.find_sending(an_id(number)))


async def find_reply(store: Store, number: int) -> ReplyRow | None:
    return await do(store, lambda transaction: transaction.find_reply(an_id(number)))


async def find_receipt(store: Store, number: int, now: datetime = START, party: str = PARTY) -> InboundReceipt | None:
    return await do(store, lambda transaction: transaction.find_receipt(party, an_id(number), now))
