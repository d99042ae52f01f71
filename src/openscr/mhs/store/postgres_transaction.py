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
from datetime import datetime
from hashlib import blake2b, sha256
from typing import Any, Final
from uuid import UUID

from openscr.errors import StoreError
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store import postgres_statements as statements
from openscr.mhs.store.audit_chain import Head, check_names, forge
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
from openscr.store.postgres_literals import execution
from openscr.store.rows import to_microseconds

_LONGEST_BATCH: Final = 262_144
"""Characters of statements that are held back at most."""
_LARGE: Final = 65_536
"""Bytes of a value from which on it travels by itself, as it is."""


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

    Who runs it says `write_audit`, then `commit`. Writes are held back, and travel together with the COMMIT; what they
    would raise is raised then; but not ``together`` where the server would log the text of a statement that fails, in
    which the values would stand. What was read or written once need not be read again: nobody else changes it until the
    end.
    """

    __slots__ = (
        "_begun", "_connection", "_entries", "_locks", "_messages", "_pending", "_receipts", "_replies", "_sealing",
        "_sendings", "_size", "_together", "_wrote",
    )  # fmt: skip

    def __init__(self, connection: Connection, sealing: Sealing, *, together: bool = True) -> None:
        self._connection = connection
        self._together = together
        self._sealing = sealing
        self._locks: set[int] = set()
        self._entries: list[AuditEntry] = []
        self._pending: list[str] = []
        self._size = 0
        self._begun = False
        self._wrote = False
        self._messages: dict[str, MessageRow | None] = {}
        self._sendings: dict[str, SendingRow | None] = {}
        self._replies: dict[str, ReplyRow | None] = {}
        self._receipts: dict[tuple[str, str], InboundReceipt] = {}

    async def _take(self, lock: int) -> None:
        if lock in self._locks:
            return
        if self._begun:
            await self._connection.execute(statements.LOCK, lock)
        else:
            # One way there and back for both. The lock comes before the snapshot of whatever is read next.
            self._begun = True
            await self._connection.execute(f"BEGIN; SELECT pg_advisory_xact_lock({lock})")
        self._locks.add(lock)

    async def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            await self._connection.execute("BEGIN")

    async def _find(self, lock: int, statement: str, *values: object) -> Any:
        await self._take(lock)
        return await self._connection.fetchrow(statement, *values)

    async def _write(self, name: str, *values: Any) -> None:
        """Hold a write back, unless it is large, or its text would be logged."""
        self._wrote = True
        if not self._together or any(isinstance(value, bytes) and len(value) > _LARGE for value in values):
            await self._send()
            await self._connection.execute(statements.PREPARED[name], *values)
            return
        statement = execution(name, values)
        self._pending.append(statement)
        self._size += len(statement)
        if self._size > _LONGEST_BATCH:
            await self._send()

    async def _send(self) -> None:
        if self._pending:
            batch = ";".join(self._pending)
            self._pending.clear()
            self._size = 0
            await self._connection.execute(batch)

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        if message_id not in self._messages and "\0" not in message_id:
            row = await self._find(message_lock(message_id), statements.FIND_MESSAGE, message_id)
            self._messages[message_id] = None if row is None else read_message(row, self._sealing)
        return self._messages.get(message_id)

    async def put_message(self, row: MessageRow) -> None:
        """Keep the state of a message."""
        await self._take(message_lock(row.message_id))
        await self._write("mhs_put_message", *message_values(row, self._sealing))
        self._messages[row.message_id] = row

    async def remove_message(self, message_id: str) -> None:
        """Forget a message with all that hangs on it."""
        await self._take(message_lock(message_id))
        await self._write("mhs_remove_message", message_id)
        self._messages[message_id] = self._sendings[message_id] = self._replies[message_id] = None

    async def find_sending(self, message_id: str) -> SendingRow | None:
        """Return what is still to be sent for a message."""
        if message_id not in self._sendings:
            row = await self._find(message_lock(message_id), statements.FIND_SENDING, message_id)
            self._sendings[message_id] = None if row is None else read_sending(row, self._sealing)
        return self._sendings[message_id]

    async def put_sending(self, row: SendingRow) -> None:
        """Keep what is to be sent. Its lease, if it has one, stands; its body is written when it is another one."""
        await self._take(message_lock(row.message_id))
        await self._write("mhs_put_sending", *sending_values(row, sha256(row.body).digest()))
        kept = self._sendings.get(row.message_id)
        if kept is None or kept.body != row.body:
            await self._write("mhs_put_sending_body", row.message_id, seal_sending_body(row, self._sealing))
        self._sendings[row.message_id] = row

    async def release_sending(self, message_id: str) -> None:
        """End the lease of what is to be sent."""
        await self._take(message_lock(message_id))
        await self._write("mhs_release_sending", message_id)

    async def remove_sending(self, message_id: str) -> None:
        """Forget what was to be sent."""
        await self._take(message_lock(message_id))
        await self._write("mhs_remove_sending", message_id)
        self._sendings[message_id] = None

    # --- replies and receipts ---

    async def find_reply(self, message_id: str) -> ReplyRow | None:
        """Return the reply that has come for a message whose caller waits."""
        if message_id not in self._replies:
            row = await self._find(message_lock(message_id), statements.FIND_REPLY, message_id)
            self._replies[message_id] = None if row is None else read_reply(row, self._sealing)
        return self._replies[message_id]

    async def put_reply(self, row: ReplyRow) -> None:
        """Keep a reply for the caller who waits."""
        await self._take(message_lock(row.message_id))
        await self._write("mhs_put_reply", *reply_values(row, self._sealing))
        self._replies[row.message_id] = row

    async def remove_reply(self, message_id: str) -> None:
        """Forget a reply."""
        await self._take(message_lock(message_id))
        await self._write("mhs_remove_reply", message_id)
        self._replies[message_id] = None

    async def find_receipt(self, from_party: str, message_id: str, now: datetime) -> InboundReceipt | None:
        """Return the memory of an inbound message, if it has not expired."""
        if (put := self._receipts.get((from_party, message_id))) is not None:
            return put if put.expires_at > now else None
        values = (from_party, message_id, to_microseconds(now))
        row = await self._find(_lock("receipt", from_party, message_id), statements.FIND_RECEIPT, *values)
        return None if row is None else read_receipt(row)

    async def put_receipt(self, row: InboundReceipt) -> None:
        """Remember an inbound message."""
        await self._take(_lock("receipt", row.from_party, row.message_id))
        await self._write("mhs_put_receipt", *receipt_values(row))
        self._receipts[row.from_party, row.message_id] = row

    # --- queue and audit ---

    async def enqueue(self, message: QueueMessage) -> None:
        """Put a message onto the queue; that its id is there already is raised when the transaction ends."""
        await self._begin()
        await self._write("mhs_enqueue", *queue_values(message), seal_queue_body(message, self._sealing))

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append a record to the audit chain, when the transaction ends. Raises: `StoreError`."""
        check_names(entry)
        self._entries.append(entry)

    # --- the end ---

    async def write_audit(self) -> bool:
        """Write the records of the audit, after everything else; return whether anything was written at all."""
        if self._entries:
            await self._begin()
            await self._forge()
        return self._wrote

    async def commit(self, token: UUID | None) -> None:
        """Send what was held back and the COMMIT, with the token if there is one. Raises: errors of the driver."""
        if not self._begun:
            return
        if token is not None:
            await self._write("mhs_leave_token", str(token))
        if await self._connection.execute(";".join((*self._pending, "COMMIT"))) != "COMMIT":
            raise StoreError("a statement of the transaction had failed: the server has undone all of it")

    async def _forge(self) -> None:
        found = await self._connection.fetchrow(statements.LOCK_HEAD)
        if found is None:
            raise StoreError("the audit chain has lost its head")
        head = Head(*found)
        for entry in self._entries:
            record = forge(head, entry)
            head = Head(record.sequence, record.hash)
            await self._write("mhs_append_audit", record.sequence, record.occurred_at, record.content, record.hash)
        await self._write("mhs_move_head", head.sequence, head.hash)
