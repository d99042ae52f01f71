"""The adaptor's store behind one interface.

Invariants that every engine keeps:

* A `Transaction` is atomic: all of its rows are durable before `Store.transact` returns, or none is there and it
  raises. Two transactions never interleave on one row.
* A leased row is given to nobody else until its lease has ended; a lease ends by itself.
* Bytes come back as they were put in.

``work`` is a coroutine function that only awaits methods of the transaction it is given: an embedded engine runs it to
its end without ever suspending. It changes nothing but its transaction: an engine whose transactions can collide runs
it once more, from its beginning.

Spec: 50 §6, E2, E5.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol, TypeVar, runtime_checkable

from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class StatusChange:
    """One line of a message's history."""

    at: datetime
    status: OutboundStatus | InboundStatus


@dataclass(frozen=True, slots=True)
class Result:
    """What the supplier was answered."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class MessageRow:
    """The state of one message: the reference's work description, and what else is known of it.

    Key: ``message_id``, with the letter case that it came with. ``history`` is oldest first. ``digest`` is the SHA-256
    of the supplier's request (hex) and ``result`` its first answer, both for strict idempotency; ``result`` is none
    until there is one. ``waits_until`` is until when a caller waits for the reply, of ``sync-async`` alone.
    ``last_error`` names no patient. Spec: 50 §6, F3, F4, F19.
    """

    message_id: str
    created: datetime
    workflow: Workflow
    interaction: str = ""
    correlation_id: str = ""
    outbound_status: OutboundStatus | None = None
    inbound_status: InboundStatus | None = None
    history: tuple[StatusChange, ...] = ()
    last_error: str = ""
    from_party: str = ""
    to_party: str = ""
    digest: str = ""
    result: Result | None = None
    waits_until: datetime | None = None

    def changed(
        self, at: datetime, *statuses: OutboundStatus | InboundStatus | None, last_error: str | None = None
    ) -> "MessageRow":
        """Return the row after these statuses, one after the other; one that it has already is no change.

        ``last_error`` empty means that there is no longer one; none leaves it.
        """
        row = self if last_error is None else replace(self, last_error=last_error)
        for status in statuses:
            if isinstance(status, OutboundStatus) and status is not row.outbound_status:
                row = replace(row, outbound_status=status, history=(*row.history, StatusChange(at, status)))
            elif isinstance(status, InboundStatus) and status is not row.inbound_status:
                row = replace(row, inbound_status=status, history=(*row.history, StatusChange(at, status)))
        return row


LEASED_BYTES: Final = 16 * 1024 * 1024
"""Bytes of bodies that are given out together at most."""


class SendState(StrEnum):
    """State of a message that is kept until its receiver has acknowledged it."""

    OPEN = "open"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SendingRow:
    """A reliable message, stored before it is sent: complete bytes, where they go, and how far the attempts are.

    ``headers`` are those of the HTTP request; ``names`` those that the receiver's certificate may bear. ``retries``,
    ``retry_interval`` and ``persist_duration`` (seconds) are the contract at the time it was made.
    Key: ``message_id``. Spec: 50 F11; 40 §6.
    """

    message_id: str
    address: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    retries: int
    retry_interval: float
    persist_duration: float
    names: tuple[str, ...] = ()
    state: SendState = SendState.OPEN
    attempts: int = 0
    first_attempt_at: datetime | None = None
    next_attempt_at: datetime | None = None
    last_error: str = ""


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """A reply that somebody waits for. ``message_id`` is the request's; ``body`` the JSON of 50 §3.4. Spec: 50 §2.7."""

    message_id: str
    correlation_id: str
    body: bytes
    received_at: datetime


@dataclass(frozen=True, slots=True)
class InboundReceipt:
    """Memory of an inbound message: ``answer`` is the body that acknowledged it.

    Key: (``from_party``, ``message_id``), the id in upper case. It counts until ``expires_at``. Spec: 50 F4.
    """

    from_party: str
    message_id: str
    received_at: datetime
    expires_at: datetime
    answer: bytes


RESERVED_NAMES: Final = frozenset({"sequence", "occurred_at", "hash"})
"""Names of an audit row's own columns, which its content may not bear. Spec: 50 §14.4."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One record of the adaptor's audit; ``content`` holds no body of a message. Spec: 50 F22."""

    occurred_at: datetime
    content: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A record as it stands in the chain: ``sequence`` from 1 on, ``hash`` over the one before and all of this one."""

    sequence: int
    entry: AuditEntry
    hash: bytes


@dataclass(frozen=True, slots=True)
class LeasedMessage:
    """A queue message given out: who has the ``receipt`` may say that it is taken. ``deliveries`` counts this one."""

    message: QueueMessage
    receipt: str
    deliveries: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A queue message that was given out too often, without its body, of which ``size`` is the number of bytes.

    ``id`` is that of the queue message. Spec: 50 E4.
    """

    id: str
    message_id: str
    correlation_id: str
    created_at: datetime
    late: bool
    size: int
    deliveries: int
    died_at: datetime


@dataclass(frozen=True, slots=True)
class QueueFigures:
    """How the queue stands: messages that wait, that are given out, that are dead; when the oldest waiting one came."""

    waiting: int
    leased: int
    dead: int
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class Retention:
    """Until when things are kept: whatever is older than these instants may go. Spec: 50 F17."""

    messages: datetime
    """State rows without anything left to send, by their creation."""
    now: datetime
    """Receipts that have expired, and queue messages whose time to live is over."""
    queue: datetime | None = None
    """Queue messages made before it, none: they are kept for ever. Spec: 50 §3.4 ``ttl``."""


@dataclass(frozen=True, slots=True)
class Removed:
    """How much a purge has removed."""

    messages: int = 0
    receipts: int = 0
    queue: int = 0


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages a list shows: by one of their two statuses, by creation; oldest first, after one of them."""

    status: str | None = None
    since: datetime | None = None
    after: tuple[datetime, str] | None = None
    limit: int = field(default=100)


class Transaction(Protocol):
    """What one unit of work may read and write. A row that is put replaces the one with its key."""

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""

    async def put_message(self, row: MessageRow) -> None:
        """Keep the state of a message."""

    async def remove_message(self, message_id: str) -> None:
        """Forget a message with all that hangs on it."""

    async def find_sending(self, message_id: str) -> SendingRow | None:
        """Return what is still to be sent for a message."""

    async def put_sending(self, row: SendingRow) -> None:
        """Keep what is to be sent. Its lease, if it has one, stands until `release_sending`."""

    async def release_sending(self, message_id: str) -> None:
        """End the lease of what is to be sent."""

    async def remove_sending(self, message_id: str) -> None:
        """Forget what was to be sent."""

    async def find_reply(self, message_id: str) -> ReplyRow | None:
        """Return the reply that has come for a message whose caller waits."""

    async def put_reply(self, row: ReplyRow) -> None:
        """Keep a reply for the caller who waits."""

    async def remove_reply(self, message_id: str) -> None:
        """Forget a reply."""

    async def find_receipt(self, from_party: str, message_id: str, now: datetime) -> InboundReceipt | None:
        """Return the memory of an inbound message, if it has not expired."""

    async def put_receipt(self, row: InboundReceipt) -> None:
        """Remember an inbound message."""

    async def enqueue(self, message: QueueMessage) -> None:
        """Put a message onto the queue. Who commits this calls `openscr.mhs.queue.arrivals.Arrivals.tell` afterwards.

        Raises: `Conflict` when a message with this id is on the queue, now or when the transaction ends.
        """

    async def append_audit(self, entry: AuditEntry) -> None:
        """Append a record to the audit chain.

        Raises: `StoreError` when its content bears a name of `RESERVED_NAMES`: an export could not tell them apart.
        """


class Store(Protocol):
    """A store of one engine, named by ``engine``. Every method raises `StoreUnavailable` when it cannot be asked."""

    engine: str

    async def open(self) -> None:
        """Be ready; make or bring up to date what is needed. Raises: `ConfigurationError`, `StoreUnavailable`."""

    async def close(self) -> None:
        """Finish what was accepted, and let go."""

    async def writable(self) -> bool:
        """Whether the store takes writes now; found out by writing."""

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction; return its result once that is durable. Raises what ``work`` raises."""

    # --- messages ---

    async def find_message(self, message_id: str) -> MessageRow | None:
        """Return the state of a message."""

    async def list_messages(self, wanted: MessageFilter) -> Sequence[MessageRow]:
        """Return the states of messages, by creation."""

    async def lease_sendings(self, now: datetime, until: datetime, limit: int) -> Sequence[SendingRow]:
        """Lease what is open, due (``next_attempt_at``) and leased by nobody, oldest first."""

    async def hold_sendings(self, message_ids: Sequence[str], until: datetime) -> None:
        """Lease rows for longer, for who is about to send them still; those that are gone or failed stay as they are.

        Whose they are is not looked at: whoever begins to send a row is its owner until its lease ends.
        """

    async def overdue_replies(self, now: datetime, limit: int) -> Sequence[ReplyRow]:
        """Return replies whose message is waited for no longer, oldest first.

        That is: `MessageRow.waits_until` has passed or is none, or the message is gone.
        """

    # --- the queue ---

    async def lease_queue(self, now: datetime, until: datetime, limit: int) -> Sequence[LeasedMessage]:
        """Give out messages that wait, oldest first; each counts a delivery and gets a fresh receipt.

        Their bodies together are no larger than `LEASED_BYTES`, but one message always goes.
        """

    async def acknowledge(self, receipt: str) -> bool:
        """Remove the message that was given out under a receipt; whether there was one still.

        A receipt holds until the message is given out again or dies, even if its lease has ended.
        """

    async def release(self, receipt: str, *, deliveries_allowed: int, now: datetime, not_before: datetime) -> bool:
        """Put the message of a receipt back to be given out again from ``not_before`` on; whether there was one still.

        One that has been given out ``deliveries_allowed`` times becomes a dead letter. Spec: 50 E4.
        """

    async def bury(self, now: datetime, *, deliveries_allowed: int) -> int:
        """Make dead letters of messages whose lease has ended and that were given out too often; return how many."""

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        """Return dead letters, oldest first."""

    async def requeue(self, id: str) -> bool:
        """Let a dead letter wait again, its deliveries forgotten; whether there was one."""

    async def queue_figures(self, now: datetime) -> QueueFigures:
        """Return how the queue stands."""

    # --- keeping house ---

    async def purge(self, retention: Retention) -> Removed:
        """Remove what need not be kept any longer."""

    def read_audit(self, after: int = 0) -> AsyncIterator[AuditRow]:
        """Give the audit in its order, after a sequence number."""

    async def verify_audit(self) -> int | None:
        """Return the sequence number of the first record that does not fit the chain, none when all do."""


@runtime_checkable
class Announcing(Protocol):
    """What a store can do besides, through which processes tell each other that there is something to be found in it.

    These are hints: one may get lost or come twice, and nothing that must happen may wait for one. Spec: 50 F3.
    """

    @property
    def hearing(self) -> bool:
        """Whether words of others reach us now."""

    def listen(self, heard: Callable[[str], None]) -> None:
        """Have ``heard`` called with every word of another process; with an empty one when some may have been missed.

        To be said before the store is opened.
        """

    def announce(self, word: str) -> None:
        """Tell all other processes a word, soon; never waits."""
