"""One unit of work on PostgreSQL, on a connection of its own.

Whoever touches a message, or the receipt of one, has it alone until the transaction ends, whether a row of it is there
or not: a lock of the whole key, held by the server until then. So "look, and put it if it is not there" is one step.
The first such lock begins the transaction. Locks are the server's own: a store lives on one server, whose standbys take
over without them, as without the transactions that held them.

The audit's records are written last, because all transactions that write some wait there for each other.

Spec: 50 §6, E5.
"""

import os
import time
from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any, Final
from uuid import UUID

from openscr.errors import Conflict, StoreError
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store import postgres_statements as statements
from openscr.mhs.store.audit_chain import Head, StoredRecord, check_names, forge
from openscr.mhs.store.encryption import Sealing
from openscr.mhs.store.interface import AuditEntry, InboundReceipt, MessageRow, ReplyRow, SendingRow
from openscr.mhs.store.rows import (
    message_values,
    queue_values,
    read_message,
    read_receipt,
    read_reply,
    read_sending,
    receipt_values,
    reply_values,
    seal_queue_body,
    seal_sending_body,
    sending_values,
)
from openscr.store.postgres_connection import Connection
from openscr.store.rows import to_microseconds

_LEFT_ALONE: Final = 3000
"""Milliseconds after which the server ends a transaction of which it hears no more: others wait for its keys."""

_BEGIN: Final = f"BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = {_LEFT_ALONE}"


def message_lock(message_id: str) -> int:
    """Return the lock of a message and of all that hangs on it."""
    return _lock("message", message_id)


def _lock(*key: str) -> int:
    return int.from_bytes(blake2b("\0".join(key).encode(), digest_size=8).digest(), signed=True)


def mint_token() -> UUID:
    """Return a name for a transaction that nobody else gives; later ones are greater."""
    return token_at(time.time_ns() // 1_000_000, os.urandom(10))


def token_at(milliseconds: int, rest: bytes = bytes(10)) -> UUID:
    """Return the least name that a transaction of an instant can have, or the one with ``rest``: RFC 9562, version 7.

    ``milliseconds`` since 1970.
    """
    number = int.from_bytes(milliseconds.to_bytes(6) + rest)
    number &= ~(0xF << 76) & ~(0x3 << 62)
    return UUID(int=number | 7 << 76 | 2 << 62)


class PostgresTransaction:
    """Reads and writes on one connection; see `openscr.mhs.store.interface.Transaction`.

    Who runs it calls `write_audit`, then says ``COMMIT`` if it has `begun`.
    """

    __slots__ = ("_connection", "_entries", "_locks", "_sealing", "begun", "wrote")

    def __init__(self, connection: Connection, sealing: Sealing) -> None:
        self._connection = connection
        self._sealing = sealing
        self._locks: set[int] = set()
        self._entries: list[AuditEntry] = []
        self.begun = False
        self.wrote = False

    async def _take(self, lock: int) -> None:
        if lock in self._locks:
            return
        if self.begun:
            await self._connection.execute(statements.LOCK, lock)
        else:
            # One way there and back for both. The lock comes before the snapshot of whatever is read next.
            self.begun = True
            await self._connection.execute(f"{_BEGIN}; SELECT pg_advisory_xact_lock({lock})")
        self._locks.add(lock)

    async def _begin(self) -> None:
        if not self.begun:
            self.begun = True
            await self._connection.execute(_BEGIN)

    async def _find(self, lock: int, statement: str, *values: object) -> Any:
        await self._take(lock)
        return await self._connection.fetchrow(statement, *values)

    async def _write(self, lock: int, statement: str, *values: object) -> Any:
        await self._take(lock)
        self.wrote = True
        return await self._connection.fetchrow(statement, *values)

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        if "\0" in message_id:
            return None
        row = await self._find(message_lock(message_id), statements.FIND_MESSAGE, message_id)
        return None if row is None else read_message(row, self._sealing)

    async def put_message(self, row: MessageRow) -> None:
        """Keep the state of a message."""
        lock = message_lock(row.message_id)
        await self._write(lock, statements.PUT_MESSAGE, *message_values(row, self._sealing))

    async def remove_message(self, message_id: str) -> None:
        """Forget a message with all that hangs on it."""
        await self._write(message_lock(message_id), statements.REMOVE_MESSAGE, message_id)

    async def find_sending(self, message_id: str) -> SendingRow | None:
        """Return what is still to be sent for a message."""
        row = await self._find(message_lock(message_id), statements.FIND_SENDING, message_id)
        return None if row is None else read_sending(row, self._sealing)

    async def put_sending(self, row: SendingRow) -> None:
        """Keep what is to be sent. Its lease, if it has one, stands; its body is written when it is another one."""
        digest = sha256(row.body).digest()
        lock = message_lock(row.message_id)
        kept = await self._write(lock, statements.PUT_SENDING, *sending_values(row, digest))
        if kept is None or kept[0] != digest:
            body = seal_sending_body(row, self._sealing)
            await self._write(lock, statements.PUT_SENDING_BODY, row.message_id, body)

    async def release_sending(self, message_id: str) -> None:
        """End the lease of what is to be sent."""
        await self._write(message_lock(message_id), statements.RELEASE_SENDING, message_id)

    async def remove_sending(self, message_id: str) -> None:
        """Forget what was to be sent."""
        await self._write(message_lock(message_id), statements.REMOVE_SENDING, message_id)

    # --- replies and receipts ---

    async def find_reply(self, message_id: str) -> ReplyRow | None:
        """Return the reply that has come for a message whose caller waits."""
        row = await self._find(message_lock(message_id), statements.FIND_REPLY, message_id)
        return None if row is None else read_reply(row, self._sealing)

    async def put_reply(self, row: ReplyRow) -> None:
        """Keep a reply for the caller who waits."""
        await self._write(message_lock(row.message_id), statements.PUT_REPLY, *reply_values(row, self._sealing))

    async def remove_reply(self, message_id: str) -> None:
        """Forget a reply."""
        await self._write(message_lock(message_id), statements.REMOVE_REPLY, message_id)

    async def find_receipt(self, from_party: str, message_id: str, now: datetime) -> InboundReceipt | None:
        """Return the memory of an inbound message, if it has not expired."""
        values = (from_party, message_id, to_microseconds(now))
        row = await self._find(_lock("receipt", from_party, message_id), statements.FIND_RECEIPT, *values)
        return None if row is None else read_receipt(row)

    async def put_receipt(self, row: InboundReceipt) -> None:
        """Remember an inbound message."""
        lock = _lock("receipt", row.from_party, row.message_id)
        await self._write(lock, statements.PUT_RECEIPT, *receipt_values(row))

    # --- queue and audit ---

    async def enqueue(self, message: QueueMessage) -> None:
        """Put a message onto the queue. Raises: `Conflict`."""
        await self._begin()
        self.wrote = True
        body = seal_queue_body(message, self._sealing)
        if await self._connection.fetchrow(statements.ENQUEUE, *queue_values(message), body) is None:
            raise Conflict("a row with this key exists already")

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append a record to the audit chain, when the transaction ends. Raises: `StoreError`."""
        check_names(entry)
        self._entries.append(entry)

    async def write_audit(self) -> None:
        """Write the records, after everything else."""
        if not self._entries:
            return
        await self._begin()
        self.wrote = True
        found = await self._connection.fetchrow(statements.LOCK_HEAD)
        if found is None:
            raise StoreError("the audit chain has lost its head")
        head = Head(*found)
        records: list[StoredRecord] = []
        for entry in self._entries:
            records.append(record := forge(head, entry))
            head = Head(record.sequence, record.hash)
        await self._connection.execute(statements.APPEND_AUDIT, *_columns(records), head.sequence, head.hash)


def _columns(records: Sequence[StoredRecord]) -> tuple[list[object], ...]:
    return (
        [record.sequence for record in records],
        [record.occurred_at for record in records],
        [record.content for record in records],
        [record.hash for record in records],
    )
