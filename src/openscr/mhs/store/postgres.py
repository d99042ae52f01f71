"""The adaptor's store in a PostgreSQL database: for several adaptors behind a balancer, and for servers that take over.

Invariants: see `openscr.mhs.store.interface`; how units of work keep them is in `openscr.mhs.store.postgres_units` and
`openscr.mhs.store.postgres_transaction`. What is lent out is skipped by others without waiting.

Spec: 50 §6, E2, F3, F17; engine.md level 1.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import asyncpg

from openscr.errors import StoreError, StoreFull, StoreUnavailable
from openscr.mhs.store import postgres_statements as statements
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
from openscr.mhs.store.postgres_hints import Hints
from openscr.mhs.store.postgres_transaction import message_lock, token_at
from openscr.mhs.store.postgres_units import PATIENCE, Units
from openscr.mhs.store.rows import read_dead_letter, read_leased, read_message, read_reply, read_sending
from openscr.store.postgres_connection import Connection, read_place
from openscr.store.postgres_preparation import prepare_database
from openscr.store.rows import read_optional_time, to_microseconds

T = TypeVar("T")

_AUDIT_PAGE: Final = 1000
_PURGE_AT_A_TIME: Final = 200
_PADDING: Final = bytes(65_536)
_BEFORE_ALL: Final = -(2**63)
"""Earlier than every time that is stored."""
_DOUBT: Final = timedelta(minutes=10)
"""How long it is remembered that a transaction has committed; who was not told asks within seconds."""


class PostgresMhsStore:
    """A store in the database of a URL; see `openscr.mhs.store.interface.Store` for what its methods promise.

    Bodies are kept as ``sealing`` says; `open` refuses a database that was sealed with another key. With ``migrate``
    the schema is made or brought up to date when the store opens; without, an outdated one is refused. A unit of work
    takes ``patience`` seconds at most. A store belongs to the event loop that opened it. Raises: `ConfigurationError`
    when the URL is none of a database.
    """

    engine = "postgresql"

    def __init__(
        self, url: str, sealing: Sealing | None = None, *, migrate: bool = True, patience: float = PATIENCE
    ) -> None:
        self._place = read_place(url)
        self._migrate = migrate
        self._patience = patience
        self._sealing = sealing or Sealing()
        self._running: Units | None = None
        self._hints: Hints | None = None
        self._heard: Callable[[str], None] | None = None
        # Whether a transaction was refused for want of room, and no large write has succeeded since.
        self._refused = False

    # --- life ---

    async def open(self) -> None:
        """Make or check the schema, and be ready. Raises: `ConfigurationError`, `StoreUnavailable`."""
        if self._running is not None:
            return
        await prepare_database(self._place, migrate=self._migrate, schema=ADAPTOR)
        units = Units(self._place, self._sealing, self._patience)
        try:
            await units.run(self._adopt_key)
        except BaseException:
            await units.close()
            raise
        self._running = units
        if self._heard is not None:
            self._hints = Hints(self._place, self._heard)
            self._hints.start()

    async def _adopt_key(self, connection: Connection) -> None:
        async with connection.transaction():
            kept = await connection.fetchval(statements.LOCK_KEY_ID)
            self._sealing.check(kept)
            if kept != self._sealing.key_id:
                await connection.execute(statements.KEEP_KEY_ID, self._sealing.key_id)

    async def close(self) -> None:
        """Let go of the database."""
        hints, self._hints = self._hints, None
        if hints is not None:
            await hints.stop()
        running, self._running = self._running, None
        if running is not None:
            await running.close()

    @property
    def _units(self) -> Units:
        if self._running is None:
            raise StoreUnavailable("the store is not open")
        return self._running

    # --- hints ---

    @property
    def hearing(self) -> bool:
        """Whether words of others reach us now."""
        return self._hints is not None and self._hints.hearing

    def listen(self, heard: Callable[[str], None]) -> None:
        """Have ``heard`` called with every word of others; with an empty one when some may have been missed."""
        self._heard = heard

    def announce(self, word: str) -> None:
        """Tell all other processes a word, soon; never waits."""
        if self._hints is not None:
            self._hints.announce(word)

    # --- units of work ---

    async def writable(self) -> bool:
        """Whether the store takes writes now; found out by writing.

        After a transaction that was refused for want of room a little write proves nothing.
        """
        try:
            if self._refused:
                await self._execute(statements.PROBE_LARGE, _PADDING)
                await self._execute(statements.PROBE_LARGE, None)
                self._refused = False
            else:
                await self._execute(statements.PROBE)
        except StoreError:
            return False
        return True

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction; return its result once that is durable.

        ``work`` is run from its beginning again when it met another transaction, or when the server was lost. Raises
        what ``work`` raises, `StoreUnavailable`, `OutcomeUnknown`.
        """
        try:
            return await self._units.transact(work)
        except StoreFull:
            self._refused = True
            raise

    async def _fetch(self, statement: str, *values: object) -> Sequence[asyncpg.Record]:
        async def unit(connection: Connection) -> Sequence[asyncpg.Record]:
            found: Sequence[asyncpg.Record] = await connection.fetch(statement, *values)
            return found

        return await self._units.run(unit)

    async def _execute(self, statement: str, *values: object) -> int:
        """Run what does no harm when it is done twice; return how many rows it changed."""

        async def unit(connection: Connection) -> int:
            return int((await connection.execute(statement, *values)).rpartition(" ")[2])

        return await self._units.run(unit)

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        # No text of a database holds it, and so no key.
        if "\0" in message_id:
            return None
        found = await self._fetch(statements.FIND_MESSAGE, message_id)
        return read_message(found[0], self._sealing) if found else None

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageRow]:
        """Return the states of messages, by creation."""
        since = _BEFORE_ALL if wanted.since is None else to_microseconds(wanted.since)
        created, message_id = (_BEFORE_ALL, "") if wanted.after is None else _place(wanted.after)
        place = (since, created, message_id, wanted.limit)
        if wanted.status is None:
            found = await self._fetch(statements.LIST_MESSAGES, *place)
        else:
            found = await self._fetch(statements.LIST_MESSAGES_OF_STATUS, wanted.status, *place)
        return [read_message(row, self._sealing) for row in found]

    async def lease_sendings(self, now: datetime, until: datetime, limit: int) -> Sequence[SendingRow]:
        """Lease what is open, due and leased by nobody, oldest first; what is damaged becomes a failure."""
        found = await self._fetch(statements.LEASE_SENDINGS, to_microseconds(now), to_microseconds(until), limit)
        leased: list[SendingRow] = []
        for row in found:
            try:
                leased.append(read_sending(row, self._sealing))
            except StoreError as error:
                await self._execute(statements.FAIL_SENDING, error.diagnostics, row["message_id"])
        return leased

    async def hold_sendings(self, message_ids: Sequence[str], until: datetime) -> None:
        """Lease rows for longer; those that are gone or failed stay as they are."""
        await self._execute(statements.HOLD_SENDINGS, to_microseconds(until), list(message_ids))

    async def overdue_replies(self, now: datetime, limit: int) -> Sequence[ReplyRow]:
        """Return replies whose message is waited for no longer, oldest first."""
        found = await self._fetch(statements.OVERDUE_REPLIES, to_microseconds(now), limit)
        return [read_reply(row, self._sealing) for row in found]

    # --- the queue ---

    async def lease_queue(self, now: datetime, until: datetime, limit: int) -> Sequence[LeasedMessage]:
        """Give out messages that wait, oldest first; what is damaged becomes a dead letter."""
        receipts = [secrets.token_hex(16) for _ in range(limit)]
        values = (to_microseconds(now), to_microseconds(until), receipts, limit, LEASED_BYTES)
        leased: list[LeasedMessage] = []
        damaged: list[str] = []
        for *row, body, receipt in await self._fetch(statements.LEASE_MESSAGES, *values):
            try:
                leased.append(read_leased(tuple(row), body, receipt, self._sealing))
            except StoreError:
                damaged.append(receipt)
        if damaged:
            await self._execute(statements.BURY_DAMAGED, to_microseconds(now), damaged)
        return leased

    async def acknowledge(self, receipt: str) -> bool:
        """Remove the message that was given out under a receipt; whether there was one still."""
        return await self._change(statements.ACKNOWLEDGE, receipt)

    async def release(self, receipt: str, *, deliveries_allowed: int, now: datetime, not_before: datetime) -> bool:
        """Put the message of a receipt back, or make a dead letter of it; whether there was one still."""
        allowed = min(deliveries_allowed, _MOST)
        return await self._change(
            statements.RELEASE, to_microseconds(not_before), allowed, to_microseconds(now), receipt
        )

    async def bury(self, now: datetime, *, deliveries_allowed: int) -> int:
        """Make dead letters of messages whose lease has ended and that were given out too often."""
        return await self._execute(statements.BURY, to_microseconds(now), min(deliveries_allowed, _MOST))

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""
        return [read_dead_letter(row) for row in await self._fetch(statements.DEAD_LETTERS, limit)]

    async def requeue(self, id: str) -> bool:
        """Let a dead letter wait again, its deliveries forgotten; whether there was one."""
        return await self._change(statements.REQUEUE, id)

    async def queue_figures(self, now: datetime) -> QueueFigures:
        """Return how the queue stands."""
        ((living, leased, oldest, dead),) = await self._fetch(statements.QUEUE_FIGURES, to_microseconds(now))
        return QueueFigures(living - leased, leased, dead, read_optional_time(oldest))

    async def _change(self, statement: str, *values: Any) -> bool:
        if any(isinstance(value, str) and "\0" in value for value in values):
            return False
        return await self._units.change(statement, *values)

    # --- keeping house ---

    async def purge(self, retention: Retention) -> Removed:
        """Remove what need not be kept any longer, a number of rows at a time, so that nobody waits long."""
        now = to_microseconds(retention.now)
        messages = await self._purge_messages(to_microseconds(retention.messages))
        receipts = await self._purge(statements.PURGE_RECEIPTS, now)
        forgotten = token_at(int((retention.now - _DOUBT).timestamp() * 1000))
        await self._purge(statements.PURGE_ENDINGS, forgotten)
        if retention.queue is None:
            return Removed(messages, receipts)
        queue = await self._purge(statements.PURGE_QUEUE, to_microseconds(retention.queue), now)
        return Removed(messages, receipts, queue)

    async def _purge(self, statement: str, *values: object) -> int:
        total = 0
        while True:
            removed = await self._execute(statement, *values, _PURGE_AT_A_TIME)
            total += removed
            if removed < _PURGE_AT_A_TIME:
                return total

    async def _purge_messages(self, before: int) -> int:
        """Remove old messages, but none that somebody is just at work with."""
        total = 0
        after: tuple[int, str] = (_BEFORE_ALL, "")
        while True:
            old = await self._fetch(statements.OLD_MESSAGES, before, *after, _PURGE_AT_A_TIME)
            if not old:
                return total
            after = old[-1]["created"], old[-1]["message_id"]
            ids = [row["message_id"] for row in old]

            async def remove(connection: Connection, ids: list[str] = ids) -> int:
                async with connection.transaction():
                    locks = [message_lock(each) for each in ids]
                    free = await connection.fetch(statements.TRY_LOCKS, locks, ids)
                    return int(await connection.fetchval(statements.PURGE_MESSAGES, before, [each[0] for each in free]))

            total += await self._units.run(remove)

    async def read_audit(self, after: int = 0) -> AsyncIterator[AuditRow]:
        """Give the audit in its order, after a sequence number. Raises: `StoreError`."""
        while page := await self._fetch(statements.READ_AUDIT, after, _AUDIT_PAGE):
            for row in page:
                yield read_record(StoredRecord(*row))
            after = page[-1]["sequence"]

    async def verify_audit(self) -> int | None:
        """Return the sequence number of the first record that does not fit the chain, none when all do."""

        async def verify(connection: Connection) -> int | None:
            verification = Verification()
            after = 0
            while page := await connection.fetch(statements.READ_AUDIT, after, _AUDIT_PAGE):
                verification.follow(StoredRecord(*row) for row in page)
                after = page[-1]["sequence"]
            return verification.finish(Head(*await connection.fetchrow(statements.HEAD)))

        return await self._units.snapshot(verify)


_MOST: Final = 2**31 - 1
"""The greatest number that a column of counts holds."""


def _place(after: tuple[datetime, str]) -> tuple[int, str]:
    return to_microseconds(after[0]), after[1]
