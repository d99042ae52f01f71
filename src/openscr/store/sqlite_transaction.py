"""The transaction of one slot on SQLite. Runs on the writer's thread, inside a savepoint.

Its methods are coroutine functions because the interface is; none of them ever suspends.

Spec: 10 §15; 40 §6.5; 35 §7.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from openscr.errors import Conflict, StoreError
from openscr.spine import Consent
from openscr.store import statements
from openscr.store.alert_records import AlertChange, AlertRow, Notice
from openscr.store.alert_rows import alert_values, change_values, notice_values, read_alert, read_change
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.compression import Codec
from openscr.store.documents import cut_document, read_payload
from openscr.store.interface import (
    AuditEntry,
    ConsentRow,
    EventRow,
    OutboxRow,
    Patient,
    PatientEntry,
    PatientState,
    PollResult,
    Receipt,
    StandingRow,
)
from openscr.store.rows import (
    Values,
    both_named,
    consent_values,
    ended_values,
    event_values,
    new_outbox_values,
    poll_values,
    read_consent,
    read_event,
    read_index_and_consent,
    read_poll,
    read_receipt,
    read_standing,
    receipt_values,
    standing_values,
    status_values,
    to_microseconds,
)
from openscr.store.sqlite_connection import translate_error

T = TypeVar("T")
Work = TypeVar("Work")
"""What a unit of work is given: the transaction of whichever store runs it."""


def run_to_end(work: Callable[[Work], Awaitable[T]], transaction: Work) -> T:
    """Run ``work`` without an event loop and return its result. Raises: `StoreError` when it would suspend."""
    steps = work(transaction).__await__()
    try:
        next(steps)
    except StopIteration as end:
        result: T = end.value
        return result
    steps.close()
    raise StoreError("a unit of work awaited something other than its transaction")


class SqliteTransaction:
    """Reads and writes of one slot on the writer's connection."""

    __slots__ = ("_codec", "_event_counts", "_execute", "_holder", "slot")

    def __init__(self, connection: sqlite3.Connection, codec: Codec, slot: int, holder: str = "") -> None:
        self._holder = holder
        self._execute = connection.execute
        self._codec = codec
        self._event_counts: dict[str, int] = {}
        self.slot = slot

    def _append(self, statement: str, values: Values) -> None:
        try:
            self._execute(statement, values)
        except sqlite3.IntegrityError as error:
            raise translate_error(error) from error

    # --- reading ---

    async def find_poll_result(self, token: str) -> PollResult | None:
        """Return the result behind a token. Spec: 40 §7.6."""
        row = self._execute(statements.FIND_POLL, (self.slot, token)).fetchone()
        return None if row is None else read_poll(row, self._codec)

    async def poll_result_of(self, from_party: str, message_id: str) -> PollResult | None:
        """Return the result of a message. Spec: 40 §7.6."""
        row = self._execute(statements.POLL_OF_MESSAGE, (self.slot, from_party, message_id.upper())).fetchone()
        return None if row is None else read_poll(row, self._codec)

    async def find_receipt(self, from_party: str, message_id: str) -> Receipt | None:
        """Return the memory of a message. Spec: 40 §6.5."""
        row = self._execute(statements.FIND_RECEIPT, (self.slot, from_party, message_id.upper())).fetchone()
        return None if row is None else read_receipt(row, self._codec)

    async def find_seen(self, nhs_number: str, asid: str, message_ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Return messages of this patient and sender with one of these ids. Spec: 10 §15 step 1, 30 §7.1."""
        found: dict[tuple[str, str], Receipt] = {}
        for message_id in message_ids:
            key = (self.slot, nhs_number, asid, message_id.upper())
            # Two statements: with OR the engine would look through the whole slot.
            for statement in (statements.FIND_BY_WRAPPER, statements.FIND_BY_WSA):
                for row in self._execute(statement, key):
                    receipt = read_receipt(row, self._codec)
                    found[receipt.from_party, receipt.message_id] = receipt
        return tuple(found.values())

    async def read_patient(self, nhs_number: str) -> PatientState:
        """Return index entry, consent in force and events of a patient. Spec: 10 §15."""
        index, consent, version = self._index_and_consent(nhs_number)
        rows = self._execute(statements.READ_EVENTS, (self.slot, nhs_number))
        events = tuple([read_event(row, self._codec) for row in rows])
        self._event_counts[nhs_number] = len(events)
        return PatientState(nhs_number, index, consent, version, events)

    async def read_concerned(self, nhs_number: str, named: Sequence[str]) -> PatientState:
        """Return the same with the Normal events and the named ones only. Spec: 10 §15."""
        index, consent, version = self._index_and_consent(nhs_number)
        rows = self._execute(statements.READ_CONCERNED, (self.slot, nhs_number, *both_named(named)))
        events = tuple([read_event(row, self._codec) for row in rows])
        count = self._count_events(nhs_number)
        return PatientState(nhs_number, index, consent, version, events, count - len(events))

    def _count_events(self, nhs_number: str) -> int:
        count = self._event_counts.get(nhs_number)
        if count is None:
            (count,) = self._execute(statements.COUNT_EVENTS, (self.slot, nhs_number)).fetchone()
            self._event_counts[nhs_number] = count
        return count

    async def read_without_events(self, nhs_number: str) -> Patient:
        """Return index entry and consent in force of a patient. Spec: 30 §9.1."""
        return Patient(nhs_number, *self._index_and_consent(nhs_number))

    def _index_and_consent(self, nhs_number: str) -> tuple[PatientEntry | None, Consent, int]:
        key = (self.slot, nhs_number)
        index = self._execute(statements.READ_PATIENT, key).fetchone()
        consent = self._execute(statements.READ_CONSENT, key).fetchone()
        return read_index_and_consent(nhs_number, index, consent)

    async def read_document(self, event: EventRow) -> bytes:
        """Return an event's document. Raises: `StoreError` when it cannot be read. Spec: 20 §7.2."""
        row = self._execute(statements.READ_RAW, (self.slot, event.from_party, event.message_id)).fetchone()
        if row is None:
            raise StoreError("the message that brought the event is not in the store")
        raw, offset, length, encoding = row
        return cut_document(read_payload(self._codec.decompress(raw), offset, length, encoding), event)

    async def consent_history(self, nhs_number: str) -> tuple[ConsentRow, ...]:
        """Return all versions of the consent, oldest first. Spec: 30 §9.1."""
        return tuple(map(read_consent, self._execute(statements.CONSENT_HISTORY, (self.slot, nhs_number))))

    async def find_standing(self, id: str) -> StandingRow | None:
        """Return a permission or relationship by its id. Spec: 70 §9."""
        row = self._execute(statements.FIND_STANDING, (self.slot, id)).fetchone()
        return None if row is None else read_standing(row)

    async def read_standings(self, nhs_number: str, at: datetime) -> tuple[StandingRow, ...]:
        """Return a patient's permissions and relationships that have not ended at an instant. Spec: 70 §9."""
        key = (self.slot, nhs_number, to_microseconds(at))
        return tuple([read_standing(row) for row in self._execute(statements.READ_STANDINGS, key)])

    async def find_alert(self, id: str) -> AlertRow | None:
        """Return an alert. Spec: 80 §5.3."""
        row = self._execute(statements.FIND_ALERT, (self.slot, id)).fetchone()
        return None if row is None else read_alert(row)

    async def alert_changes(self, id: str) -> tuple[AlertChange, ...]:
        """Return the steps of an alert's life, oldest first. Spec: 80 §5.3."""
        return tuple(map(read_change, self._execute(statements.READ_CHANGES, (self.slot, id))))

    # --- writing ---

    async def append_receipt(self, receipt: Receipt) -> None:
        """Keep a received message. Raises: `Conflict`. Spec: 40 §6.5."""
        self._append(statements.APPEND_RECEIPT, (self.slot, *receipt_values(receipt, self._codec)))

    async def append_event(self, event: EventRow) -> None:
        """Keep a new event, after its receipt. Raises: `Conflict`. Spec: 10 §15 step 12."""
        count = self._count_events(event.nhs_number)
        self._append(statements.APPEND_EVENT, (self.slot, count, *event_values(event, self._codec)))
        self._event_counts[event.nhs_number] = count + 1

    async def change_event(self, event: EventRow) -> None:
        """Write an event's status columns. Raises: `StoreError` when there is no such event."""
        key = (self.slot, event.nhs_number, event.event_id)
        if self._execute(statements.CHANGE_EVENT, (*status_values(event), *key)).rowcount != 1:
            raise StoreError("the event to change is not in the store")

    async def append_consent(self, consent: ConsentRow) -> None:
        """Add a version of the consent. Raises: `Conflict` when the version exists. Spec: 30 §9.1."""
        self._append(statements.APPEND_CONSENT, (self.slot, *consent_values(consent)))

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent. Raises: `Conflict`. Spec: 40 §6.3."""
        if row.slot != self.slot:
            raise StoreError("the row belongs to another slot than the transaction")
        self._append(statements.APPEND_OUTBOX, new_outbox_values(row, self._holder, self._codec))

    async def keep_poll_result(self, result: PollResult) -> None:
        """Keep a result, instead of the one before. Spec: 40 §7.6."""
        self._append(statements.KEEP_POLL, (self.slot, *poll_values(result, self._codec)))

    async def append_alert(self, alert: AlertRow) -> None:
        """Keep a privacy alert, and that its officers must be told. Raises: `Conflict`. Spec: 35 §6.1, 80 §5.3."""
        self._append(statements.APPEND_ALERT, (self.slot, *alert_values(alert)))
        now = alert.raised_at
        notice = Notice(self.slot, alert.id, "", alert.organisation, alert.type, now, now)
        self._append(statements.APPEND_NOTICE, notice_values(notice))

    async def change_alert(self, change: AlertChange) -> None:
        """Take an alert to its next version. Raises: `Conflict` when it is not in the one before. Spec: 80 §5.3."""
        key = (self.slot, change.alert_id, change.from_state, change.version - 1)
        if self._execute(statements.CHANGE_ALERT, (change.to_state, change.version, *key)).rowcount != 1:
            raise Conflict("the alert has changed meanwhile")
        self._append(statements.APPEND_CHANGE, (self.slot, *change_values(change)))

    async def append_standing(self, row: StandingRow) -> None:
        """Keep a permission or relationship. Raises: `Conflict`. Spec: 70 §9."""
        self._append(statements.APPEND_STANDING, (self.slot, *standing_values(row)))

    async def end_standing(self, row: StandingRow) -> None:
        """Write the end of a permission or relationship. Raises: `StoreError` when there is none. Spec: 70 §9."""
        if self._execute(statements.END_STANDING, (*ended_values(row), self.slot, row.id)).rowcount != 1:
            raise StoreError("the record to end is not in the store")

    async def append_audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit chain of this slot. Spec: 35 §7."""
        sequence, previous = self._execute(statements.READ_CHAIN, (self.slot,)).fetchone() or (0, GENESIS)
        sequence += 1
        occurred_at = to_microseconds(entry.occurred_at)
        content = write_content(entry)
        hash = link(previous, self.slot, sequence, occurred_at, entry.nhs_number, content)
        self._append(statements.APPEND_AUDIT, (self.slot, sequence, occurred_at, entry.nhs_number, content, hash))
        self._execute(statements.MOVE_CHAIN, (self.slot, sequence, hash))
