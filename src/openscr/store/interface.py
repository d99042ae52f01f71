"""The store behind one interface: rows, the transaction of one slot, and what is kept outside slots.

Invariants that every engine keeps:

* A `Transaction` reads and writes one slot. It is atomic: all of its rows are durable before `Store.transact` returns,
  or none is there and it raises.
* Two transactions of one slot never interleave.
* Texts come back as they were; none of them holds the character NUL, which not every engine can keep, or half of a
  surrogate pair, which is no character: that is a `StoreError`.
* Raw messages come back byte for byte; audit rows are append-only and chained per slot (``hash`` covers the previous
  hash), so that one changed byte is found by `Store.verify`.

``work`` is a coroutine function that only awaits methods of the transaction it is given: an embedded engine runs it to
its end without ever suspending. It lets every error of the transaction through: an engine may be unable to go on.

Spec: architecture "Data", engine.md, 40 §6.3, §6.5, 35 §7.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Protocol, TypeVar

from openscr.spine import Consent, EventStatus
from openscr.standing import Basis, Holder, StandingKind
from openscr.store.alert_records import AlertChange, AlertRow, Notice, Subscription

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawMessage:
    """The body of a request as received, and where its HL7 payload lies in it.

    ``encoding`` is the content transfer encoding of the payload part: ``""`` when the payload is the plain bytes
    ``body[offset:offset + length]``, else ``base64``.
    """

    body: bytes
    payload_offset: int = 0
    payload_length: int = 0
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Memory of one received message: what brought it, what was answered.

    Key: (slot, ``from_party``, ``message_id``). Ids are upper case here. ``signal`` is the exact body answered at
    transport level, ``signal_status`` its HTTP status. ``digest`` is the SHA-256 of the HL7 payload, empty when that
    could not be read. Spec: 40 §6.5, 10 §15 step 1, 30 §7.1.
    """

    from_party: str
    message_id: str
    interaction: str
    received_at: datetime
    raw: RawMessage
    signal: bytes
    signal_status: int
    ack: str
    digest: bytes = b""
    nhs_number: str | None = None
    sender_asid: str | None = None
    wrapper_id: str | None = None
    wsa_id: str | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """One stored summary. Key: (slot, ``nhs_number``, ``event_id``); the document lies in the raw message of a receipt.

    ``document_offset`` and ``document_length`` count in the decoded HL7 payload. ``metadata`` holds the values of
    10 §11.4 that have no column. Spec: 10 §15 step 12.
    """

    nhs_number: str
    event_id: str
    event_type: str
    interaction: str
    status: EventStatus
    effective_time: str
    stored_at: datetime
    sender_asid: str
    from_party: str
    message_id: str
    wrapper_id: str
    document_offset: int
    document_length: int
    name_length: int
    declarations: bytes
    author: bytes
    content: frozenset[str] = frozenset()
    dissent: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    replaced_by: str | None = None
    withdrawn_by: str | None = None
    withdrawal_reason: str | None = None
    withdrawal_text: str | None = None
    withdrawn_at: datetime | None = None
    withdrawer: str | None = None


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One version of a patient's consent; rows are only ever appended. Spec: 30 §9.1."""

    nhs_number: str
    version: int
    value: Consent
    set_at: datetime
    asid: str
    organisation: str
    role_profile_id: str | None
    user_id: str | None
    job_role: str | None
    message_id: str
    wsa_id: str
    source: str


class OutboxState(StrEnum):
    """State of a message that must still be sent. Delivered messages leave the outbox. Spec: 40 §6.3."""

    OPEN = "open"
    FAILED = "failed"
    UNDELIVERABLE = "undeliverable"


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """A message that must be sent. ``id`` is the minted MessageId, which never changes.

    ``answer`` holds the outcome as data (JSON); ``content_type``, ``soap_action`` and ``body`` are the complete bytes,
    rendered once; empty while there is no endpoint to address. ``first_attempt_at`` opens the contract's
    PersistDuration. ``damaged`` marks a stored row that is not what was written: it holds what could still be read,
    and cannot be sent or changed. Key: (slot, ``id``). Spec: 40 §6.3.
    """

    slot: int
    id: str
    to_party: str
    service: str
    interaction: str
    conversation_id: str
    ref_to_message_id: str
    created_at: datetime
    answer: bytes
    state: OutboxState = OutboxState.OPEN
    content_type: str = ""
    soap_action: str = ""
    body: bytes = b""
    attempts: int = 0
    next_attempt_at: datetime | None = None
    first_attempt_at: datetime | None = None
    last_error: str = ""
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class PollResult:
    """A rendered answer that a polling client may fetch until ``expires_at``.

    ``token`` is the last part of its path, in lower case. ``asid`` is the ``nhsd-asid`` that the client showed, empty
    when it showed none; ``sender_asid`` the one in its message. Keys: (slot, ``from_party``, ``message_id``) and
    (slot, ``token``). Spec: 40 §7.6.
    """

    token: str
    from_party: str
    message_id: str
    asid: str
    sender_asid: str
    expires_at: datetime
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class StandingRow:
    """A permission to view or a legitimate relationship, as it was recorded. Key: (slot, ``id``).

    ``ends_at`` is none for one without an end. ``ended_at`` and ``ended_by`` say that, and by what, it was ended before
    its time: nothing else of a row ever changes. Spec: 35 §6, 70 §9.
    """

    id: str
    nhs_number: str
    kind: StandingKind
    holder: Holder
    reason: str
    starts_at: datetime
    ends_at: datetime | None
    recorded_at: datetime
    asid: str
    organisation: str
    user_id: str | None
    role_profile_id: str | None
    job_role: str | None
    basis: Basis = Basis.ASKED
    text: str = ""
    ended_at: datetime | None = None
    ended_by: str | None = None

    def in_force(self, at: datetime) -> bool:
        """Whether it holds at an instant: from its start on, until its end, which is no longer part of it."""
        return self.starts_at <= at and self.ended_at is None and (self.ends_at is None or at < self.ends_at)


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit, before it has its place in the chain of its slot.

    ``content`` are the fields of 35 §7 by name, values as text; it never holds clinical content.
    """

    occurred_at: datetime
    action: str
    outcome: str
    nhs_number: str | None
    content: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """An audit row as stored: its place in the chain of its slot, and the entry."""

    slot: int
    sequence: int
    entry: AuditEntry
    hash: bytes


@dataclass(frozen=True, slots=True)
class AuditPeriod:
    """Which audit rows are wanted: from ``since`` on, before ``until``, of one patient or of all."""

    since: datetime | None = None
    until: datetime | None = None
    nhs_number: str | None = None


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where the audit chain of a slot ends: the last sequence, and the hash of that row."""

    slot: int
    sequence: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class PatientEntry:
    """What the patient index says of a number.

    ``status`` is ``current``, ``merged`` (then with ``survivor``), ``deceased`` or ``restricted``. Spec: 00 §6.4.
    """

    nhs_number: str
    status: str = "current"
    survivor: str | None = None
    demographics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Patient:
    """What is known of a patient without the record: the index entry, and the consent in force.

    ``index`` is none when the number is not listed. ``consent_version`` is 0 while nothing was ever set.
    """

    nhs_number: str
    index: PatientEntry | None
    consent: Consent
    consent_version: int


@dataclass(frozen=True, slots=True)
class PatientState(Patient):
    """All that a decision about a record looks at: ``events`` stand in the order in which they were stored.

    ``others`` is the number of events that the patient has besides those: where not all were asked for.
    """

    events: tuple[EventRow, ...]
    others: int = 0

    @property
    def has_events(self) -> bool:
        """Whether anything was ever stored for the patient, whatever became of it."""
        return bool(self.events or self.others)


@dataclass(frozen=True, slots=True)
class OutboxFigures:
    """Numbers of rows by state, and when the oldest open row was created."""

    rows: Mapping[str, int]
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `Store.verify` found: rows looked at, and one line per fault (without patient data)."""

    audit_rows: int
    events: int
    receipts: int
    faults: tuple[str, ...]

    @property
    def intact(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


@dataclass(frozen=True, slots=True)
class Leasing:
    """By whom rows of the outbox are leased.

    ``holder`` is one worker process, ``PLACE/NUMBER``: unique among all that share the store. The place, a data folder
    on a machine, stays the same when its service starts again. Nobody else is given the rows of a holder until it gives
    them back or is withdrawn: a lease lasts as long as its holder lives, whatever any clock says. An empty holder
    leases nothing: it only looks. Spec: engine.md "Workers lease outbox rows slot by slot".
    """

    holder: str = ""

    @property
    def place(self) -> str:
        """What the holders of one data folder have in common, with the stroke at its end; empty without a holder."""
        return self.holder[: self.holder.rfind("/") + 1]


NOBODY: Final = Leasing()
"""Who only looks at what the outbox holds."""


@dataclass(frozen=True, slots=True)
class Instance:
    """A worker process that runs on the store: its holder, the version of its program, when it last said so.

    Both times are those of the store's clock (`Store.now`).
    """

    holder: str
    program: str
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a unit of work is going to ask for first, as far as its caller knows.

    An engine that is far away may fetch all of it at once; nothing else depends on it. ``nhs_number`` is whose state is
    read, with the ``events`` or without: all of them, or those that `Transaction.read_concerned` gives for ``named``.
    ``from_party`` and ``message_id`` are of the receipt that is looked for, ``asid`` and ``message_ids`` (upper case)
    say which messages may have been seen.
    """

    nhs_number: str | None = None
    from_party: str | None = None
    message_id: str | None = None
    asid: str | None = None
    message_ids: tuple[str, ...] = ()
    events: bool = True
    named: tuple[str, ...] | None = None


MOST_NAMED: Final = 2
"""Events that can be asked for by their ids at once: an upload's own, and the one that it replaces."""

NOTHING: Final = Foreseen()
"""Nobody knows what a unit asks for."""


class Transaction(Protocol):
    """Reads and writes of one slot, all or nothing."""

    slot: int

    async def find_receipt(self, from_party: str, message_id: str) -> Receipt | None:
        """Return the memory of a message (``message_id`` in any letter case)."""

    async def find_seen(self, nhs_number: str, asid: str, message_ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Return this patient's messages from a sender whose wrapper id or wsa id is one of ``message_ids``."""

    async def read_patient(self, nhs_number: str) -> PatientState:
        """Return everything that a decision about this patient's record needs."""

    async def read_concerned(self, nhs_number: str, named: Sequence[str]) -> PatientState:
        """Return the same with the Normal events and the ``named`` ones only: it should not grow with the record.

        ``named`` are ids of events, `MOST_NAMED` at most; who has none of such an id simply lacks it.
        """

    async def read_without_events(self, nhs_number: str) -> Patient:
        """Return what a decision about consent needs: it should not grow with the record."""

    async def read_document(self, event: EventRow) -> bytes:
        """Return the clinical document of an event, self-contained. Spec: 20 §7.2."""

    async def consent_history(self, nhs_number: str) -> tuple[ConsentRow, ...]:
        """Return all versions of the consent, oldest first."""

    async def append_receipt(self, receipt: Receipt) -> None:
        """Keep a received message. Raises `Conflict` when its key exists."""

    async def append_event(self, event: EventRow) -> None:
        """Keep a new event. Raises `Conflict` when the patient has one with this id."""

    async def change_event(self, event: EventRow) -> None:
        """Write the status columns of an event: status, replaced_by and the withdrawal's."""

    async def append_consent(self, consent: ConsentRow) -> None:
        """Add a version of the consent."""

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent; it is leased to the holder of this store, who is about to send it."""

    async def find_poll_result(self, token: str) -> PollResult | None:
        """Return the result that a token leads to, whether or not it has expired."""

    async def poll_result_of(self, from_party: str, message_id: str) -> PollResult | None:
        """Return the result of a message (``message_id`` in any letter case), whether or not it has expired."""

    async def keep_poll_result(self, result: PollResult) -> None:
        """Keep a result in the place of the one that its message had before, if any."""

    async def append_alert(self, alert: AlertRow) -> None:
        """Keep a privacy alert, and that its officers must be told."""

    async def find_alert(self, id: str) -> AlertRow | None:
        """Return the alert of an id."""

    async def change_alert(self, change: AlertChange) -> None:
        """Take an alert to its next version. Raises `Conflict` when somebody else has done so."""

    async def alert_changes(self, id: str) -> tuple[AlertChange, ...]:
        """Return the steps of an alert's life, oldest first."""

    async def find_standing(self, id: str) -> StandingRow | None:
        """Return the permission or relationship of an id, whether or not it still holds."""

    async def read_standings(self, nhs_number: str, at: datetime) -> tuple[StandingRow, ...]:
        """Return a patient's permissions and relationships that have not ended at an instant, the newest first."""

    async def append_standing(self, row: StandingRow) -> None:
        """Keep a permission or relationship. Raises `Conflict` when its id exists."""

    async def end_standing(self, row: StandingRow) -> None:
        """Write when and by what a permission or relationship was ended."""

    async def append_audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit chain of this slot."""


class Store(Protocol):
    """A store that holds the whole service's state."""

    engine: str
    """Name for people: ``SQLite`` or ``PostgreSQL``."""

    leasing: Leasing
    """Who we are among those who share the store."""

    async def open(self) -> None:
        """Connect, bring the schema up to date, be ready for `transact`.

        Raises: `ConfigurationError` when the store is not ours to open, or its schema would have to change while
        worker processes of another place run on it (`instances.check_alone`); nothing is changed then.
        """

    async def close(self) -> None:
        """Finish what was accepted, then let go of everything."""

    async def current_revision(self) -> str | None:
        """Return the revision of the stored schema, none while there is none; the store need not be open."""

    def head_revision(self) -> str:
        """Return the revision of the schema that this program needs."""

    async def transact(self, slot: int, work: Callable[[Transaction], Awaitable[T]], foreseen: Foreseen = NOTHING) -> T:
        """Run ``work`` in one transaction of ``slot`` and return its result once that is durable.

        Whatever ``work`` raises is raised here, with nothing stored. Raises: `StoreUnavailable`, `OutcomeUnknown`.
        """

    async def writable(self) -> bool:
        """Whether the store takes writes now."""

    async def find_outbox(self, message_id: str) -> OutboxRow | None:
        """Return the row of a MessageId (upper case) of any slot, or none; for what is asked rarely."""

    async def due_outbox(self, now: datetime, limit: int, *, besides: Sequence[str] = ()) -> list[OutboxRow]:
        """Lease and return open rows whose next attempt is due, oldest first; none of the parties ``besides``.

        They are rows that our own holder has already (whether one of them is being sent is for the caller to know),
        and rows that nobody has, which become ours; another holder's are not even looked at. Of two who ask at the
        same time each gets rows of its own; fewer than ``limit`` come only when there are no more. A row that is
        damaged is none of them: it becomes a failed one, so that it holds up nobody.
        """

    async def change_outbox(self, row: OutboxRow, *, keep: bool = False, whoever: bool = False) -> bool:
        """Write state, attempts, times, error and rendered bytes of a row; return whether that was done.

        It is not when the row is gone, or is not ours (a store without a holder: not nobody's), but with ``whoever``,
        which overrules whoever has it. The row is nobody's afterwards, but with ``keep``. Raises: `StoreError` for a
        damaged one.
        """

    async def outbox_holders(self) -> list[str]:
        """Return who has open rows of the outbox, whether or not it lives."""

    async def remove_outbox(self, slot: int, id: str) -> None:
        """Forget a row that was delivered, whoever has it."""

    async def list_outbox(self, state: str | None = None) -> list[OutboxRow]:
        """Return the rows of the outbox, or those of one state, oldest first; damaged ones are among them."""

    async def outbox_figures(self) -> OutboxFigures:
        """Return numbers for metrics and readiness."""

    async def announce(self, instance: Instance) -> None:
        """Keep that a worker process runs, in the place of what it said before."""

    async def withdraw(self, holder: str) -> int:
        """Forget a worker process that ends or has ended, and give back its rows of the outbox; return how many."""

    async def read_instances(self) -> list[Instance]:
        """Return every worker process that has said that it runs, and was not withdrawn: the longest running first."""

    async def now(self) -> datetime:
        """Return the time by the store's own clock: the database server's, or this machine's."""

    async def end_session(self, session: str, ended_at: datetime, kept_until: datetime) -> None:
        """Keep that a session of a person has ended; ``session`` is a digest of its id. Spec: 35 §4.2."""

    async def ended_sessions(self, since: datetime) -> list[tuple[str, datetime]]:
        """Return the sessions that ended from an instant on, and until when each must be remembered."""

    async def remove_ended_sessions(self, kept_until: datetime) -> int:
        """Forget the sessions that need not be remembered any longer; return how many."""

    async def remove_poll_results(self, expired_at: datetime) -> int:
        """Forget the poll results that had expired at an instant; return how many."""

    async def directory_revision(self) -> int:
        """Return a number that grows with every change of the directory; 0 while it is empty."""

    async def read_directory(self) -> list[tuple[str, str, bytes]]:
        """Return the directory's entries as (kind, key, JSON)."""

    async def write_directory(
        self, entries: Iterable[tuple[str, str, bytes]], *, replace: bool = False, revision: int | None = None
    ) -> None:
        """Write entries (kind, key, JSON) in one transaction; with ``replace`` nothing else remains.

        ``revision`` is that of the directory which the entries were made from. Raises: `Conflict` when it is no longer
        in force, with nothing written.
        """

    async def write_patients(self, entries: Iterable[PatientEntry]) -> int:
        """Write entries of the patient index in one transaction; return how many."""

    async def read_patients(self) -> list[PatientEntry]:
        """Return the whole patient index (test environments and small sites)."""

    async def read_alerts(
        self, organisation: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[AlertRow]:
        """Return privacy alerts, oldest first: all, or those of one organisation, raised in a period."""

    async def slot_of_alert(self, id: str) -> int | None:
        """Return the slot that an alert lies in, or none."""

    async def read_subscriptions(self, organisation: str | None = None) -> list[Subscription]:
        """Return who is told of alerts: everybody, or those of one organisation; oldest first."""

    async def write_subscription(self, subscription: Subscription) -> None:
        """Keep that somebody is to be told. Raises `Conflict` when the id exists."""

    async def remove_subscription(self, id: str) -> None:
        """Forget a subscription, and what it had still to be told."""

    async def due_notices(self, now: datetime, limit: int, *, besides: Collection[str] = ()) -> list[Notice]:
        """Return notices that are due, the longest due first; none of the subscriptions ``besides``.

        Of one subscription there are no more than a quarter of ``limit``.
        """

    async def postpone_notices(self, subscription_id: str, until: datetime) -> None:
        """Let no notice of a subscription be due before an instant."""

    async def share_notice(self, notice: Notice, among: Sequence[Notice]) -> None:
        """Put notices of their own for some subscriptions in the place of one that was still for nobody."""

    async def change_notice(self, notice: Notice) -> None:
        """Write attempts, error and next attempt of a notice."""

    async def remove_notice(self, notice: Notice) -> None:
        """Forget a notice that was given."""

    async def read_notices(self) -> list[Notice]:
        """Return every notice that was not given yet, oldest first; those that were given up are among them."""

    def read_audit(self, slot: int | None = None) -> AsyncIterator[AuditRow]:
        """Return audit rows in the order of their chains."""

    def search_audit(self, period: AuditPeriod, *, newest_first: bool = False) -> AsyncIterator[AuditRow]:
        """Return audit rows in the order of time, page by page; of a patient in that of its chain."""

    async def audit_heads(self) -> list[ChainHead]:
        """Return where every audit chain ends."""

    async def verify(self, checkpoint: Sequence[ChainHead] = ()) -> VerifyReport:
        """Check every audit chain and message, that every event's document can be read, and every other row.

        Chains must still lead through the heads of ``checkpoint``, which were read at an earlier time.
        """
