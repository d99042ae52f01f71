"""The adaptor's default store: one SQLite file, one connection that writes it, group commit.

Invariants: see `openscr.mhs.store.interface`; they hold for several programs on one file as well, because every group
of units begins by taking the file's write lock. What was removed is overwritten: purged means gone from the file.

Work on single rows runs on the writer's connection. Lists, figures and the audit are read on connections of their own,
in threads, so that they hold up nobody.

Spec: 50 §6, E1, E2, F17.
"""

import secrets
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from openscr.errors import StoreError
from openscr.mhs.store import statements
from openscr.mhs.store.audit_chain import Head, StoredRecord, Verification, read_record
from openscr.mhs.store.encryption import Sealing
from openscr.mhs.store.interface import (
    LEASED_BYTES,
    AuditRow,
    DeadLetter,
    LeasedMessage,
    MessageFilter,
    MessageRow,
    QueueFigures,
    Removed,
    ReplyRow,
    Retention,
    SendingRow,
    Transaction,
)
from openscr.mhs.store.migrations import ADAPTOR
from openscr.mhs.store.rows import read_dead_letter, read_leased, read_message, read_reply, read_sending
from openscr.mhs.store.sqlite_transaction import SqliteTransaction
from openscr.store.rows import read_optional_time, to_microseconds
from openscr.store.sqlite_file import BUSY_SECONDS, SqliteFile
from openscr.store.sqlite_transaction import run_to_end

T = TypeVar("T")

_CACHE_KIB: Final = 8 * 1024
"""Rows are read once or twice; large messages would only fill the memory."""
_AUDIT_PAGE: Final = 1000
_PURGE_AT_A_TIME: Final = 200
_BEFORE_ALL: Final = -(2**63)
"""Earlier than every time that is stored."""


class SqliteMhsStore(SqliteFile):
    """A store in the file ``path``; see `openscr.mhs.store.interface.Store` for what its methods promise.

    Bodies are kept as ``sealing`` says; `open` refuses a file that was sealed with another key.
    """

    engine = "sqlite"
    schema = ADAPTOR

    def __init__(self, path: str | Path, sealing: Sealing | None = None, *, busy_timeout: float = BUSY_SECONDS) -> None:
        super().__init__(path, busy_timeout=busy_timeout)
        self._sealing = sealing or Sealing()

    async def open(self) -> None:
        """Be ready. Raises: `ConfigurationError`, `StoreUnavailable`."""
        await super().open()
        try:
            await self._write(self._adopt_key)
        except BaseException:
            await self.close()
            raise

    def _adopt_key(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        (kept,) = connection.execute(statements.KEY_ID).fetchone()
        self._sealing.check(kept)
        if kept != self._sealing.key_id:
            connection.execute(statements.KEEP_KEY_ID, (self._sealing.key_id,))

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction; return its result once that is durable.

        Raises what ``work`` raises, `StoreUnavailable`, `OutcomeUnknown`; `StoreError` when ``work`` awaits anything
        but its transaction.
        """
        sealing = self._sealing
        return await self._transact(lambda connection: run_to_end(work, SqliteTransaction(connection, sealing)))

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        return await self.transact(lambda transaction: transaction.find_message(message_id))

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageRow]:
        """Return the states of messages, by creation."""
        since = _BEFORE_ALL if wanted.since is None else to_microseconds(wanted.since)
        created, message_id = (_BEFORE_ALL, "") if wanted.after is None else _place(wanted.after)
        place = (since, created, message_id, wanted.limit)
        if wanted.status is None:
            return await self._read_all(statements.LIST_MESSAGES, place, read_message)
        return await self._read_all(statements.LIST_MESSAGES_OF_STATUS, (wanted.status, *place), read_message)

    async def lease_sendings(self, now: datetime, until: datetime, limit: int) -> Sequence[SendingRow]:
        """Lease what is open, due and leased by nobody, oldest first; what is damaged becomes a failure."""

        def lease(connection: sqlite3.Connection) -> list[SendingRow]:
            rows = connection.execute(statements.DUE_SENDINGS, (to_microseconds(now), limit)).fetchall()
            return [leased for row in rows if (leased := self._lease(connection, row, until)) is not None]

        return await self._transact(lease)

    async def hold_sendings(self, message_ids: Sequence[str], until: datetime) -> None:
        """Lease rows for longer; those that are gone or failed stay as they are."""
        values = [(to_microseconds(until), message_id) for message_id in message_ids]

        def hold(connection: sqlite3.Connection) -> None:
            connection.executemany(statements.HOLD_SENDING, values)

        await self._transact(hold)

    def _lease(self, connection: sqlite3.Connection, row: tuple[Any, ...], until: datetime) -> SendingRow | None:
        try:
            leased = read_sending(row, self._sealing)
        except StoreError as error:
            connection.execute(statements.FAIL_SENDING, (error.diagnostics, row[0]))
            return None
        connection.execute(statements.LEASE_SENDING, (to_microseconds(until), leased.message_id))
        return leased

    async def overdue_replies(self, now: datetime, limit: int) -> Sequence[ReplyRow]:
        """Return replies whose message is waited for no longer, oldest first."""
        return await self._read_all(statements.OVERDUE_REPLIES, (to_microseconds(now), limit), read_reply)

    async def _read_all(
        self, statement: str, values: tuple[object, ...], read: Callable[[tuple[Any, ...], Sealing], T]
    ) -> list[T]:
        def report(connection: sqlite3.Connection) -> list[T]:
            return [read(row, self._sealing) for row in connection.execute(statement, values)]

        return await self._report(report)

    # --- the queue ---

    async def lease_queue(self, now: datetime, until: datetime, limit: int) -> Sequence[LeasedMessage]:
        """Give out messages that wait, oldest first; what is damaged becomes a dead letter."""

        def lease(connection: sqlite3.Connection) -> list[LeasedMessage]:
            leased: list[LeasedMessage] = []
            size = 0
            for sequence, more in connection.execute(
                statements.FREE_MESSAGES, (to_microseconds(now), limit)
            ).fetchall():
                size += more
                if leased and size > LEASED_BYTES:
                    break
                receipt = secrets.token_hex(16)
                values = (receipt, to_microseconds(until), sequence)
                (row,) = connection.execute(statements.LEASE_MESSAGE, values).fetchall()
                (body,) = connection.execute(statements.LEASED_BODY, (sequence,)).fetchone()
                try:
                    leased.append(read_leased(row, body, receipt, self._sealing))
                except StoreError:
                    connection.execute(statements.BURY_DAMAGED, (to_microseconds(now), sequence))
            return leased

        return await self._transact(lease)

    async def acknowledge(self, receipt: str) -> bool:
        """Remove the message that was given out under a receipt; whether there was one still."""
        return await self._changes(statements.ACKNOWLEDGE, (receipt,)) > 0

    async def release(self, receipt: str, *, deliveries_allowed: int, now: datetime, not_before: datetime) -> bool:
        """Put the message of a receipt back, or make a dead letter of it; whether there was one still."""
        values = (to_microseconds(not_before), deliveries_allowed, to_microseconds(now), receipt)
        return await self._changes(statements.RELEASE, values) > 0

    async def bury(self, now: datetime, *, deliveries_allowed: int) -> int:
        """Make dead letters of messages whose lease has ended and that were given out too often."""
        return await self._changes(statements.BURY, (to_microseconds(now), deliveries_allowed))

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""
        return await self._report(
            lambda connection: [read_dead_letter(row) for row in connection.execute(statements.DEAD_LETTERS, (limit,))]
        )

    async def requeue(self, id: str) -> bool:
        """Let a dead letter wait again, its deliveries forgotten; whether there was one."""
        return await self._changes(statements.REQUEUE, (id,)) > 0

    async def queue_figures(self, now: datetime) -> QueueFigures:
        """Return how the queue stands."""

        def report(connection: sqlite3.Connection) -> QueueFigures:
            values = (to_microseconds(now),)
            living, leased, oldest, dead = connection.execute(statements.QUEUE_FIGURES, values).fetchone()
            return QueueFigures(living - leased, leased, dead, read_optional_time(oldest))

        return await self._report(report)

    async def _changes(self, statement: str, values: tuple[object, ...]) -> int:
        return await self._transact(lambda connection: connection.execute(statement, values).rowcount)

    # --- keeping house ---

    async def purge(self, retention: Retention) -> Removed:
        """Remove what need not be kept any longer, a number of rows at a time, so that nobody waits long."""
        before, now = to_microseconds(retention.messages), to_microseconds(retention.now)
        messages = await self._purge(lambda connection: self._purge_messages(connection, before))
        receipts = await self._purge(
            lambda connection: connection.execute(statements.PURGE_RECEIPTS, (now, _PURGE_AT_A_TIME)).rowcount
        )
        if retention.queue is None:
            return Removed(messages, receipts)
        values = (to_microseconds(retention.queue), now, _PURGE_AT_A_TIME)
        queue = await self._purge(lambda connection: connection.execute(statements.PURGE_QUEUE, values).rowcount)
        return Removed(messages, receipts, queue)

    async def _purge(self, remove: Callable[[sqlite3.Connection], int]) -> int:
        total = 0
        while True:
            removed = await self._transact(remove)
            total += removed
            if removed < _PURGE_AT_A_TIME:
                return total

    @staticmethod
    def _purge_messages(connection: sqlite3.Connection, before: int) -> int:
        removed = connection.execute(statements.PURGE_MESSAGES, (before, _PURGE_AT_A_TIME)).fetchall()
        connection.executemany(statements.REMOVE_SENDING, removed)
        return len(removed)

    async def read_audit(self, after: int = 0) -> AsyncIterator[AuditRow]:
        """Give the audit in its order, after a sequence number. Raises: `StoreError`."""
        while page := await self._read_records(after):
            for record in page:
                yield read_record(record)
            after = page[-1].sequence

    async def verify_audit(self) -> int | None:
        """Return the sequence number of the first record that does not fit the chain, none when all do."""

        def verify(connection: sqlite3.Connection) -> int | None:
            verification = Verification()
            # One read transaction: what is appended meanwhile is neither among the rows nor in the head.
            connection.execute("BEGIN")
            rows = connection.execute(statements.READ_AUDIT, (0, -1))
            verification.follow(StoredRecord(*row) for row in rows)
            return verification.finish(Head(*connection.execute(statements.HEAD).fetchone()))

        return await self._report(verify)

    async def _read_records(self, after: int) -> list[StoredRecord]:
        return await self._report(
            lambda connection: [
                StoredRecord(*row) for row in connection.execute(statements.READ_AUDIT, (after, _AUDIT_PAGE))
            ]
        )


def _place(after: tuple[datetime, str]) -> tuple[int, str]:
    return to_microseconds(after[0]), after[1]
