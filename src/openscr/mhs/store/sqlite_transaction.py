"""One unit of work on SQLite. Runs on the writer's connection, inside a savepoint.

Its methods are coroutine functions because the interface is; none of them ever suspends.

Spec: 50 §6, E5.
"""

import sqlite3
from datetime import datetime
from hashlib import sha256

from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store import statements
from openscr.mhs.store.audit_chain import Head, forge
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
from openscr.store.rows import to_microseconds
from openscr.store.sqlite_connection import translate_error


class SqliteTransaction:
    """Reads and writes on the writer's connection; see `openscr.mhs.store.interface.Transaction`."""

    __slots__ = ("_execute", "_sealing")

    def __init__(self, connection: sqlite3.Connection, sealing: Sealing) -> None:
        self._execute = connection.execute
        self._sealing = sealing

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        row = self._execute(statements.FIND_MESSAGE, (message_id,)).fetchone()
        return None if row is None else read_message(row, self._sealing)

    async def put_message(self, row: MessageRow) -> None:
        """Keep the state of a message."""
        self._execute(statements.PUT_MESSAGE, message_values(row, self._sealing))

    async def remove_message(self, message_id: str) -> None:
        """Forget a message with all that hangs on it."""
        for statement in (statements.REMOVE_MESSAGE, statements.REMOVE_SENDING, statements.REMOVE_REPLY):
            self._execute(statement, (message_id,))

    async def find_sending(self, message_id: str) -> SendingRow | None:
        """Return what is still to be sent for a message."""
        row = self._execute(statements.FIND_SENDING, (message_id,)).fetchone()
        return None if row is None else read_sending(row, self._sealing)

    async def put_sending(self, row: SendingRow) -> None:
        """Keep what is to be sent. Its lease, if it has one, stands; its body is written when it is another one."""
        digest = sha256(row.body).digest()
        kept = self._execute(statements.SENDING_DIGEST, (row.message_id,)).fetchone()
        self._execute(statements.PUT_SENDING, sending_values(row, digest))
        if kept != (digest,):
            body = seal_sending_body(row, self._sealing)
            self._execute(statements.PUT_SENDING_BODY, (row.message_id, body))

    async def release_sending(self, message_id: str) -> None:
        """End the lease of what is to be sent."""
        self._execute(statements.RELEASE_SENDING, (message_id,))

    async def remove_sending(self, message_id: str) -> None:
        """Forget what was to be sent."""
        self._execute(statements.REMOVE_SENDING, (message_id,))

    async def find_reply(self, message_id: str) -> ReplyRow | None:
        """Return the reply that has come for a message whose caller waits."""
        row = self._execute(statements.FIND_REPLY, (message_id,)).fetchone()
        return None if row is None else read_reply(row, self._sealing)

    async def put_reply(self, row: ReplyRow) -> None:
        """Keep a reply for the caller who waits."""
        self._execute(statements.PUT_REPLY, reply_values(row, self._sealing))

    async def remove_reply(self, message_id: str) -> None:
        """Forget a reply."""
        self._execute(statements.REMOVE_REPLY, (message_id,))

    async def find_receipt(self, from_party: str, message_id: str, now: datetime) -> InboundReceipt | None:
        """Return the memory of an inbound message, if it has not expired."""
        row = self._execute(statements.FIND_RECEIPT, (from_party, message_id, to_microseconds(now))).fetchone()
        return None if row is None else read_receipt(row)

    async def put_receipt(self, row: InboundReceipt) -> None:
        """Remember an inbound message."""
        self._execute(statements.PUT_RECEIPT, receipt_values(row))

    async def enqueue(self, message: QueueMessage) -> None:
        """Put a message onto the queue. Raises: `Conflict`."""
        try:
            sequence = self._execute(statements.ENQUEUE, queue_values(message)).lastrowid
        except sqlite3.IntegrityError as error:
            raise translate_error(error) from error
        self._execute(statements.ENQUEUE_BODY, (sequence, seal_queue_body(message, self._sealing)))

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append a record to the audit chain. Raises: `StoreError`."""
        record = forge(Head(*self._execute(statements.HEAD).fetchone()), entry)
        self._execute(statements.APPEND_AUDIT, (record.sequence, record.occurred_at, record.content, record.hash))
        self._execute(statements.MOVE_HEAD, (record.sequence, record.hash))
