"""The store that lives in memory: for tests, and for trying things out. Nothing outlasts the process.

Invariants: see `openscr.mhs.store.interface`. Every method runs to its end without suspending, so that nothing
interleaves; a unit of work that raises is undone step by step.

Spec: 50 E2.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from openscr.errors import Conflict, StoreUnavailable
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store.audit_chain import Head, StoredRecord, Verification, forge, read_record
from openscr.mhs.store.interface import (
    LEASED_BYTES,
    AuditEntry,
    AuditRow,
    DeadLetter,
    InboundReceipt,
    LeasedMessage,
    MessageFilter,
    MessageRow,
    QueueFigures,
    Removed,
    ReplyRow,
    Retention,
    SendingRow,
    SendState,
    Transaction,
)
from openscr.store.sqlite_transaction import run_to_end

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Queued:
    """A message on the queue. It is given out when ``free_at`` has come: the end of its lease, or of a pause."""

    sequence: int
    message: QueueMessage
    receipt: str | None = None
    free_at: datetime | None = None
    deliveries: int = 0
    died_at: datetime | None = None

    def is_free(self, now: datetime) -> bool:
        return self.died_at is None and (self.free_at is None or self.free_at <= now)

    def is_leased(self, now: datetime) -> bool:
        return self.died_at is None and self.receipt is not None and not self.is_free(now)


class _Tables:
    """All rows. What a unit of work changes is remembered until it has ended, so that it can be undone."""

    def __init__(self) -> None:
        self.messages: dict[str, MessageRow] = {}
        self.sendings: dict[str, SendingRow] = {}
        self.sending_leases: dict[str, datetime] = {}
        self.replies: dict[str, ReplyRow] = {}
        self.receipts: dict[tuple[str, str], InboundReceipt] = {}
        self.queue: dict[str, _Queued] = {}
        self.audit: dict[int, StoredRecord] = {}
        self.head = Head()
        self.sequence = 0
        self._changes: list[tuple[dict[Any, Any], Hashable, Any]] = []

    def put(self, table: dict[Any, Any], key: Hashable, row: object) -> None:
        self._changes.append((table, key, table.get(key)))
        table[key] = row

    def remove(self, table: dict[Any, Any], key: Hashable) -> None:
        self._changes.append((table, key, table.get(key)))
        table.pop(key, None)

    def run(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work``; nothing of it is left when it raises."""
        head = self.head
        try:
            return run_to_end(work, MemoryTransaction(self))
        except BaseException:
            self.head = head
            for table, key, row in reversed(self._changes):
                if row is None:
                    table.pop(key, None)
                else:
                    table[key] = row
            raise
        finally:
            self._changes.clear()


class MemoryTransaction:
    """Reads and writes of one unit of work."""

    __slots__ = ("_tables",)

    def __init__(self, tables: _Tables) -> None:
        self._tables = tables

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        return self._tables.messages.get(message_id)

    async def put_message(self, row: MessageRow) -> None:
        """Keep the state of a message."""
        self._tables.put(self._tables.messages, row.message_id, row)

    async def remove_message(self, message_id: str) -> None:
        """Forget a message with all that hangs on it."""
        self._tables.remove(self._tables.messages, message_id)
        self._tables.remove(self._tables.replies, message_id)
        await self.remove_sending(message_id)

    async def find_sending(self, message_id: str) -> SendingRow | None:
        """Return what is still to be sent for a message."""
        return self._tables.sendings.get(message_id)

    async def put_sending(self, row: SendingRow) -> None:
        """Keep what is to be sent."""
        self._tables.put(self._tables.sendings, row.message_id, row)

    async def release_sending(self, message_id: str) -> None:
        """End the lease of what is to be sent."""
        self._tables.remove(self._tables.sending_leases, message_id)

    async def remove_sending(self, message_id: str) -> None:
        """Forget what was to be sent."""
        self._tables.remove(self._tables.sendings, message_id)
        self._tables.remove(self._tables.sending_leases, message_id)

    async def find_reply(self, message_id: str) -> ReplyRow | None:
        """Return the reply that has come for a message whose caller waits."""
        return self._tables.replies.get(message_id)

    async def put_reply(self, row: ReplyRow) -> None:
        """Keep a reply for the caller who waits."""
        self._tables.put(self._tables.replies, row.message_id, row)

    async def remove_reply(self, message_id: str) -> None:
        """Forget a reply."""
        self._tables.remove(self._tables.replies, message_id)

    async def find_receipt(self, from_party: str, message_id: str, now: datetime) -> InboundReceipt | None:
        """Return the memory of an inbound message, if it has not expired."""
        row = self._tables.receipts.get((from_party, message_id))
        return None if row is None or row.expires_at <= now else row

    async def put_receipt(self, row: InboundReceipt) -> None:
        """Remember an inbound message."""
        self._tables.put(self._tables.receipts, (row.from_party, row.message_id), row)

    async def enqueue(self, message: QueueMessage) -> None:
        """Put a message onto the queue. Raises: `Conflict`."""
        if message.id in self._tables.queue:
            raise Conflict("a row with this key exists already")
        self._tables.sequence += 1
        self._tables.put(self._tables.queue, message.id, _Queued(self._tables.sequence, message))

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append a record to the audit chain. Raises: `StoreError`."""
        record = forge(self._tables.head, entry)
        self._tables.put(self._tables.audit, record.sequence, record)
        self._tables.head = Head(record.sequence, record.hash)


class MemoryStore:
    """A store in memory; see `openscr.mhs.store.interface.Store` for what its methods promise.

    It keeps its rows from `close` to the next `open`.
    """

    engine = "memory"

    def __init__(self) -> None:
        self._rows = _Tables()
        self._open = False

    @property
    def _tables(self) -> _Tables:
        if not self._open:
            raise StoreUnavailable("the store is not open")
        return self._rows

    async def open(self) -> None:
        """Be ready."""
        self._open = True

    async def close(self) -> None:
        """Let go."""
        self._open = False

    async def writable(self) -> bool:
        """Whether the store takes writes now."""
        return self._open

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction. Raises what ``work`` raises; `StoreError` when it awaits anything else."""
        return self._tables.run(work)

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""
        return self._tables.messages.get(message_id)

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageRow]:
        """Return the states of messages, by creation."""
        rows = sorted(self._tables.messages.values(), key=_place)
        return [row for row in rows if _is_wanted(row, wanted)][: wanted.limit]

    async def lease_sendings(self, now: datetime, until: datetime, limit: int) -> Sequence[SendingRow]:
        """Lease what is open, due and leased by nobody, oldest first."""
        due = [
            row
            for row in self._tables.sendings.values()
            if self._may_be_leased(row, now) and (row.next_attempt_at is None or row.next_attempt_at <= now)
        ]
        # Those that were never planned are due since they were made.
        due.sort(key=lambda row: (row.next_attempt_at is not None, row.next_attempt_at or now))
        for row in due[:limit]:
            self._tables.sending_leases[row.message_id] = until
        return due[:limit]

    async def hold_sendings(self, message_ids: Sequence[str], until: datetime) -> None:
        """Lease rows for longer; those that are gone or failed stay as they are."""
        for message_id in message_ids:
            row = self._tables.sendings.get(message_id)
            if row is not None and row.state is SendState.OPEN:
                self._tables.sending_leases[message_id] = until

    def _may_be_leased(self, row: SendingRow, now: datetime) -> bool:
        lease = self._tables.sending_leases.get(row.message_id)
        return row.state is SendState.OPEN and (lease is None or lease <= now)

    async def overdue_replies(self, now: datetime, limit: int) -> Sequence[ReplyRow]:
        """Return replies whose message is waited for no longer, oldest first."""
        overdue = [row for row in self._tables.replies.values() if not self._is_waited_for(row.message_id, now)]
        return sorted(overdue, key=lambda row: row.received_at)[:limit]

    def _is_waited_for(self, message_id: str, now: datetime) -> bool:
        message = self._tables.messages.get(message_id)
        return message is not None and message.waits_until is not None and message.waits_until > now

    # --- the queue ---

    def _in_order(self) -> Iterator[_Queued]:
        return iter(sorted(self._tables.queue.values(), key=lambda row: row.sequence))

    def _of_receipt(self, receipt: str) -> _Queued | None:
        return next((row for row in self._tables.queue.values() if row.receipt == receipt), None)

    async def lease_queue(self, now: datetime, until: datetime, limit: int) -> Sequence[LeasedMessage]:
        """Give out messages that wait, oldest first."""
        leased: list[LeasedMessage] = []
        size = 0
        for row in self._in_order():
            if len(leased) == limit:
                break
            if not row.is_free(now):
                continue
            size += len(row.message.body)
            if leased and size > LEASED_BYTES:
                break
            given = LeasedMessage(row.message, secrets.token_hex(16), row.deliveries + 1)
            self._tables.queue[row.message.id] = replace(
                row, receipt=given.receipt, free_at=until, deliveries=given.deliveries
            )
            leased.append(given)
        return leased

    async def acknowledge(self, receipt: str) -> bool:
        """Remove the message that was given out under a receipt; whether there was one still."""
        row = self._of_receipt(receipt)
        if row is None:
            return False
        del self._tables.queue[row.message.id]
        return True

    async def release(self, receipt: str, *, deliveries_allowed: int, now: datetime, not_before: datetime) -> bool:
        """Put the message of a receipt back, or make a dead letter of it; whether there was one still."""
        row = self._of_receipt(receipt)
        if row is None:
            return False
        died_at = now if row.deliveries >= deliveries_allowed else None
        self._tables.queue[row.message.id] = replace(row, receipt=None, free_at=not_before, died_at=died_at)
        return True

    async def bury(self, now: datetime, *, deliveries_allowed: int) -> int:
        """Make dead letters of messages whose lease has ended and that were given out too often."""
        dead = [row for row in self._in_order() if row.is_free(now) and row.deliveries >= deliveries_allowed]
        for row in dead:
            self._tables.queue[row.message.id] = replace(row, receipt=None, died_at=now)
        return len(dead)

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""
        dead = sorted(
            (row.died_at, row.sequence, row) for row in self._tables.queue.values() if row.died_at is not None
        )
        return [
            DeadLetter(
                row.message.id,
                row.message.message_id,
                row.message.correlation_id,
                row.message.created_at,
                row.message.late,
                len(row.message.body),
                row.deliveries,
                died_at,
            )
            for died_at, _, row in dead[:limit]
        ]

    async def requeue(self, id: str) -> bool:
        """Let a dead letter wait again, its deliveries forgotten; whether there was one."""
        row = self._tables.queue.get(id)
        if row is None or row.died_at is None:
            return False
        self._tables.queue[id] = _Queued(row.sequence, row.message)
        return True

    async def queue_figures(self, now: datetime) -> QueueFigures:
        """Return how the queue stands."""
        alive = [row for row in self._tables.queue.values() if row.died_at is None]
        waiting = [row for row in alive if not row.is_leased(now)]
        return QueueFigures(
            len(waiting),
            len(alive) - len(waiting),
            len(self._tables.queue) - len(alive),
            min((row.message.created_at for row in waiting), default=None),
        )

    # --- keeping house ---

    async def purge(self, retention: Retention) -> Removed:
        """Remove what need not be kept any longer."""
        tables = self._tables
        messages = [
            row.message_id
            for row in tables.messages.values()
            if row.created < retention.messages and not self._is_needed(row.message_id)
        ]
        for message_id in messages:
            del tables.messages[message_id]
            tables.sendings.pop(message_id, None)
            tables.sending_leases.pop(message_id, None)
        receipts = [key for key, receipt in tables.receipts.items() if receipt.expires_at <= retention.now]
        for key in receipts:
            del tables.receipts[key]
        outlived = [
            id
            for id, queued in tables.queue.items()
            if retention.queue is not None
            and queued.message.created_at < retention.queue
            and not queued.is_leased(retention.now)
        ]
        for id in outlived:
            del tables.queue[id]
        return Removed(len(messages), len(receipts), len(outlived))

    def _is_needed(self, message_id: str) -> bool:
        sending = self._tables.sendings.get(message_id)
        return message_id in self._tables.replies or (sending is not None and sending.state is SendState.OPEN)

    async def read_audit(self, after: int = 0) -> AsyncIterator[AuditRow]:
        """Give the audit in its order, after a sequence number. Raises: `StoreError`."""
        for sequence in range(after + 1, self._tables.head.sequence + 1):
            yield read_record(self._tables.audit[sequence])

    async def verify_audit(self) -> int | None:
        """Return the sequence number of the first record that does not fit the chain, none when all do."""
        verification = Verification()
        verification.follow(self._tables.audit.values())
        return verification.finish(self._tables.head)


def _place(row: MessageRow) -> tuple[datetime, str]:
    return row.created, row.message_id


def _is_wanted(row: MessageRow, wanted: MessageFilter) -> bool:
    return (
        (wanted.status is None or wanted.status in {row.outbound_status, row.inbound_status})
        and (wanted.since is None or row.created >= wanted.since)
        and (wanted.after is None or _place(row) > wanted.after)
    )
