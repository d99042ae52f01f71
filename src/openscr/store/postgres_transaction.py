"""The transaction of one slot on PostgreSQL.

Invariant: it begins by locking the row of its slot's chain, so that two transactions of one slot never interleave,
whichever process they run in; whoever reads after that sees all that the one before has written.

Spec: 10 §15; 40 §6.5; 35 §7; engine.md "chain row".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from openscr.errors import Conflict, StoreError
from openscr.spine import Consent
from openscr.store import postgres_statements as statements
from openscr.store.alert_records import AlertChange, AlertRow, Notice
from openscr.store.alert_rows import alert_values, change_values, notice_values, read_alert, read_change
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.compression import Codec
from openscr.store.documents import cut_document, read_payload
from openscr.store.interface import (
    NOTHING,
    AuditEntry,
    ConsentRow,
    EventRow,
    Foreseen,
    OutboxRow,
    Patient,
    PatientEntry,
    PatientState,
    PollResult,
    Receipt,
    StandingRow,
)
from openscr.store.postgres_connection import Connection
from openscr.store.postgres_errors import CONNECTION_ERRORS, translate_error
from openscr.store.postgres_literals import execution
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

_NO_ROW: Final = "UPDATE 0"
_COUNT_AT: Final = 10
_EVENTS_AT: Final = 11
"""Where the number of events, and the columns of an event, stand in what `OPEN_SLOT` returns."""

_LONGEST_BATCH: Final = 256 * 1024
"""Characters of statements that are held back at most."""


class _Known:
    """Which events of a patient are known to exist, and which not to: all others, or the ``missing`` ones.

    ``count`` is the number of all that exist.
    """

    __slots__ = ("count", "ids", "missing")

    def __init__(self, ids: set[str], count: int, missing: frozenset[str] | None = None) -> None:
        self.ids = ids
        self.count = count
        self.missing = missing

    def tells_of(self, event_id: str) -> bool:
        """Whether it is known if there is an event of this id."""
        return event_id in self.ids or self.missing is None or event_id in self.missing


class PostgresTransaction:
    """Reads and writes of one slot on a connection; `begin` comes first, `commit` last.

    Writes are held back, and travel ``together`` with the COMMIT: what they would raise is raised then. A read that
    could miss one of them sends them before it. Their text holds what they write: where the server would log it, each
    write travels by itself, its values apart.
    """

    __slots__ = (
        "_codec", "_connection", "_foreseen", "_head", "_holder", "_known", "_pending", "_size", "_state",
        "_together", "_touched", "slot",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, codec: Codec, slot: int, holder: str = "", *, together: bool = True
    ) -> None:
        self._connection = connection
        self._codec = codec
        self._holder = holder
        self._together = together
        self._head: tuple[int, bytes] = (0, GENESIS)
        self._foreseen = NOTHING
        self._state: Any = None
        # Of every patient that was read; those that were appended are among them.
        self._known: dict[str, _Known] = {}
        self._pending: list[str] = []
        self._size = 0
        # The tables that writes are held back for; `chain` when any was written.
        self._touched: set[str] = set()
        self.slot = slot

    # --- beginning and ending ---

    async def begin(self, foreseen: Foreseen) -> None:
        """Begin, and wait until nobody else works in the slot. Raises: errors of the driver."""
        await self._connection.execute("BEGIN")
        if foreseen.nhs_number is None:
            head = await self._connection.fetchrow(statements.LOCK_CHAIN, self.slot)
            if head is None:
                await self._connection.execute(statements.START_CHAIN, self.slot, GENESIS)
                head = await self._connection.fetchrow(statements.LOCK_CHAIN, self.slot)
            self._head = (head[0], head[1])
            return
        values = (
            self.slot,
            foreseen.nhs_number,
            foreseen.from_party,
            None if foreseen.message_id is None else foreseen.message_id.upper(),
            foreseen.asid,
            foreseen.message_ids,
            foreseen.events,
            foreseen.named,
        )
        rows = await self._connection.fetch(statements.OPEN_SLOT, *values)
        while not rows or not rows[0][2]:
            if not rows:
                # Somebody else may do so at the same time, and come before us: then it is waited for once more.
                await self._connection.execute(statements.START_CHAIN, self.slot, GENESIS)
            # Once the lock is ours, nobody can change what is read.
            rows = await self._connection.fetch(statements.OPEN_SLOT, *values)
        self._head = (rows[0][0], rows[0][1])
        self._state = rows
        self._foreseen = foreseen

    async def commit(self) -> str:
        """Send what was held back, and the COMMIT with it; return what the server says. Raises: errors of the driver.

        After an error `Connection.is_in_transaction` tells whether the COMMIT was reached.
        """
        if self._touched:
            # Whoever has waited for us sees by the row of the chain that there is something new.
            await self._move_chain()
        statement = ";".join((*self._pending, "COMMIT"))
        self._pending.clear()
        return str(await self._connection.execute(statement))

    async def _move_chain(self) -> None:
        values = (self.slot, *self._head)
        if self._together:
            self._hold("openscr_move_chain", values)
        else:
            await self._connection.execute(statements.MOVE_CHAIN, *values)

    def _hold(self, name: str, values: Values) -> None:
        statement = execution(name, values)
        self._pending.append(statement)
        self._size += len(statement)

    async def _append(self, table: str, name: str, values: Values) -> None:
        """Hold a write back, and all of them no longer when they have become many."""
        if not self._together:
            await self._write(table, statements.PREPARED[name], *values)
            return
        self._touched.add(table)
        self._hold(name, values)
        if self._size > _LONGEST_BATCH:
            await self._send()

    async def _send(self) -> None:
        pending, self._pending, self._size = self._pending, [], 0
        if not pending:
            return
        try:
            await self._connection.execute(";".join(pending))
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    # --- the engine, its errors translated ---

    async def _fetch(self, table: str, statement: str, *values: Any) -> list[Any]:
        if self._pending and table in self._touched:
            await self._send()
        try:
            return list(await self._connection.fetch(statement, *values))
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def _first(self, table: str, statement: str, *values: Any) -> Any:
        found = await self._fetch(table, statement, *values)
        return found[0] if found else None

    async def _write(self, table: str, statement: str, *values: Any) -> str:
        """Write at once, because something depends on it; return what the server says of it."""
        self._touched.add(table)
        await self._send()
        try:
            return str(await self._connection.execute(statement, *values))
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    # --- reading ---

    async def find_poll_result(self, token: str) -> PollResult | None:
        """Return the result behind a token. Spec: 40 §7.6."""
        row = await self._first("poll", statements.FIND_POLL, self.slot, token)
        return None if row is None else read_poll(row, self._codec)

    async def poll_result_of(self, from_party: str, message_id: str) -> PollResult | None:
        """Return the result of a message. Spec: 40 §7.6."""
        row = await self._first("poll", statements.POLL_OF_MESSAGE, self.slot, from_party, message_id.upper())
        return None if row is None else read_poll(row, self._codec)

    async def find_receipt(self, from_party: str, message_id: str) -> Receipt | None:
        """Return the memory of a message. Spec: 40 §6.5."""
        message_id = message_id.upper()
        foreseen, seen = self._foreseen, self._state
        if seen and "receipt" not in self._touched and foreseen.message_id is not None:
            known = (foreseen.from_party, foreseen.message_id.upper())
            if known == (from_party, message_id) and not seen[0][3]:
                return None
        row = await self._first("receipt", statements.FIND_RECEIPT, self.slot, from_party, message_id)
        return None if row is None else read_receipt(row, self._codec)

    async def find_seen(self, nhs_number: str, asid: str, message_ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Return messages of this patient and sender with one of these ids. Spec: 10 §15 step 1, 30 §7.1."""
        foreseen, rows = self._foreseen, self._state
        if rows and "receipt" not in self._touched and not rows[0][4]:
            same = (nhs_number, asid) == (foreseen.nhs_number, foreseen.asid)
            if same and {message_id.upper() for message_id in message_ids} <= set(foreseen.message_ids):
                return ()
        found: dict[tuple[str, str], Receipt] = {}
        for message_id in message_ids:
            key = (self.slot, nhs_number, asid, message_id.upper())
            for statement in (statements.FIND_BY_WRAPPER, statements.FIND_BY_WSA):
                for row in await self._fetch("receipt", statement, *key):
                    receipt = read_receipt(row, self._codec)
                    found[receipt.from_party, receipt.message_id] = receipt
        return tuple(found.values())

    async def read_patient(self, nhs_number: str) -> PatientState:
        """Return index entry, consent in force and events of a patient. Spec: 10 §15."""
        index, consent, version = await self._index_and_consent(nhs_number)
        if self._foreseen.named is None and self._has_foreseen_events(nhs_number):
            events = self._foreseen_events()
        else:
            found = await self._fetch("event", statements.READ_EVENTS, self.slot, nhs_number)
            events = tuple([read_event(row, self._codec) for row in found])
        self._known[nhs_number] = _Known({event.event_id for event in events}, len(events))
        return PatientState(nhs_number, index, consent, version, events)

    async def read_concerned(self, nhs_number: str, named: Sequence[str]) -> PatientState:
        """Return the same with the Normal events and the named ones only. Spec: 10 §15."""
        both, foreseen = both_named(named), self._foreseen.named
        index, consent, version = await self._index_and_consent(nhs_number)
        if foreseen is not None and set(foreseen) == set(named) and self._has_foreseen_events(nhs_number):
            events, count = self._foreseen_events(), self._state[0][_COUNT_AT]
        else:
            rows = await self._fetch("event", statements.READ_CONCERNED, self.slot, nhs_number, *both)
            events = tuple([read_event(row, self._codec) for row in rows])
            (count,) = await self._first("event", statements.COUNT_EVENTS, self.slot, nhs_number)
        ids = {event.event_id for event in events}
        self._known[nhs_number] = _Known(ids, count, frozenset(named) - ids)
        return PatientState(nhs_number, index, consent, version, events, count - len(events))

    def _has_foreseen_events(self, nhs_number: str) -> bool:
        return self._foreseen.events and nhs_number == self._foreseen.nhs_number and "event" not in self._touched

    def _foreseen_events(self) -> tuple[EventRow, ...]:
        if self._state[0][_EVENTS_AT] is None:
            return ()
        return tuple([read_event(row[_EVENTS_AT:], self._codec) for row in self._state])

    async def _known_of(self, event: EventRow) -> _Known:
        """Return what is known of a patient's events, of this one in any case."""
        known = self._known.get(event.nhs_number)
        if known is None or not known.tells_of(event.event_id):
            await self.read_patient(event.nhs_number)
            known = self._known[event.nhs_number]
        return known

    async def read_without_events(self, nhs_number: str) -> Patient:
        """Return index entry and consent in force of a patient. Spec: 30 §9.1."""
        return Patient(nhs_number, *await self._index_and_consent(nhs_number))

    async def _index_and_consent(self, nhs_number: str) -> tuple[PatientEntry | None, Consent, int]:
        if nhs_number == self._foreseen.nhs_number and "consent" not in self._touched:
            first = self._state[0]
            index = None if first[5] is None else first[5:8]
            consent = None if first[8] is None else first[8:10]
        else:
            index = await self._first("patient", statements.READ_PATIENT, self.slot, nhs_number)
            consent = await self._first("consent", statements.READ_CONSENT, self.slot, nhs_number)
        return read_index_and_consent(nhs_number, index, consent)

    async def read_document(self, event: EventRow) -> bytes:
        """Return an event's document. Raises: `StoreError` when it cannot be read. Spec: 20 §7.2."""
        row = await self._first("receipt", statements.READ_RAW, self.slot, event.from_party, event.message_id)
        if row is None:
            raise StoreError("the message that brought the event is not in the store")
        raw, offset, length, encoding = row
        return cut_document(read_payload(self._codec.decompress(raw), offset, length, encoding), event)

    async def consent_history(self, nhs_number: str) -> tuple[ConsentRow, ...]:
        """Return all versions of the consent, oldest first. Spec: 30 §9.1."""
        return tuple(map(read_consent, await self._fetch("consent", statements.CONSENT_HISTORY, self.slot, nhs_number)))

    async def find_standing(self, id: str) -> StandingRow | None:
        """Return a permission or relationship by its id. Spec: 70 §9."""
        row = await self._first("standing", statements.FIND_STANDING, self.slot, id)
        return None if row is None else read_standing(row)

    async def read_standings(self, nhs_number: str, at: datetime) -> tuple[StandingRow, ...]:
        """Return a patient's permissions and relationships that have not ended at an instant. Spec: 70 §9."""
        rows = await self._fetch("standing", statements.READ_STANDINGS, self.slot, nhs_number, to_microseconds(at))
        return tuple([read_standing(row) for row in rows])

    async def find_alert(self, id: str) -> AlertRow | None:
        """Return an alert. Spec: 80 §5.3."""
        row = await self._first("alert", statements.FIND_ALERT, self.slot, id)
        return None if row is None else read_alert(row)

    async def alert_changes(self, id: str) -> tuple[AlertChange, ...]:
        """Return the steps of an alert's life, oldest first. Spec: 80 §5.3."""
        return tuple(map(read_change, await self._fetch("alert_change", statements.READ_CHANGES, self.slot, id)))

    # --- writing ---

    async def append_receipt(self, receipt: Receipt) -> None:
        """Keep a received message. Raises: `Conflict`. Spec: 40 §6.5."""
        await self._append("receipt", "openscr_receipt", (self.slot, *receipt_values(receipt, self._codec)))

    async def append_event(self, event: EventRow) -> None:
        """Keep a new event, after its receipt. Raises: `Conflict`. Spec: 10 §15 step 12."""
        known = await self._known_of(event)
        if event.event_id in known.ids:
            raise Conflict("a row with this key exists already")
        values = (self.slot, known.count, *event_values(event, self._codec))
        await self._append("event", "openscr_event", values)
        known.ids.add(event.event_id)
        known.count += 1

    async def change_event(self, event: EventRow) -> None:
        """Write an event's status columns. Raises: `StoreError` when there is no such event."""
        if event.event_id not in (await self._known_of(event)).ids:
            raise StoreError("the event to change is not in the store")
        values = (*status_values(event), self.slot, event.nhs_number, event.event_id)
        await self._append("event", "openscr_change_event", values)

    async def append_consent(self, consent: ConsentRow) -> None:
        """Add a version of the consent. Raises: `Conflict` when the version exists. Spec: 30 §9.1."""
        await self._append("consent", "openscr_consent", (self.slot, *consent_values(consent)))

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent. Raises: `Conflict`. Spec: 40 §6.3."""
        if row.slot != self.slot:
            raise StoreError("the row belongs to another slot than the transaction")
        await self._append("outbox", "openscr_outbox", new_outbox_values(row, self._holder, self._codec))

    async def keep_poll_result(self, result: PollResult) -> None:
        """Keep a result, instead of the one before. Spec: 40 §7.6."""
        await self._append("poll", "openscr_poll", (self.slot, *poll_values(result, self._codec)))

    async def append_alert(self, alert: AlertRow) -> None:
        """Keep a privacy alert, and that its officers must be told. Raises: `Conflict`. Spec: 35 §6.1, 80 §5.3."""
        await self._append("alert", "openscr_alert", (self.slot, *alert_values(alert)))
        now = alert.raised_at
        notice = Notice(self.slot, alert.id, "", alert.organisation, alert.type, now, now)
        await self._append("notice", "openscr_notice", notice_values(notice))

    async def change_alert(self, change: AlertChange) -> None:
        """Take an alert to its next version. Raises: `Conflict` when it is not in the one before. Spec: 80 §5.3."""
        key = (self.slot, change.alert_id, change.from_state, change.version - 1)
        if await self._write("alert", statements.CHANGE_ALERT, change.to_state, change.version, *key) == _NO_ROW:
            raise Conflict("the alert has changed meanwhile")
        await self._append("alert_change", "openscr_alert_change", (self.slot, *change_values(change)))

    async def append_standing(self, row: StandingRow) -> None:
        """Keep a permission or relationship. Raises: `Conflict`. Spec: 70 §9."""
        await self._append("standing", "openscr_standing", (self.slot, *standing_values(row)))

    async def end_standing(self, row: StandingRow) -> None:
        """Write the end of a permission or relationship. Raises: `StoreError` when there is none. Spec: 70 §9."""
        if await self._write("standing", statements.END_STANDING, *ended_values(row), self.slot, row.id) == _NO_ROW:
            raise StoreError("the record to end is not in the store")

    async def append_audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit chain of this slot. Spec: 35 §7."""
        last, previous = self._head
        sequence, occurred_at, content = last + 1, to_microseconds(entry.occurred_at), write_content(entry)
        hash = link(previous, self.slot, sequence, occurred_at, entry.nhs_number, content)
        values = (self.slot, sequence, occurred_at, entry.nhs_number, content, hash)
        await self._append("audit", "openscr_audit", values)
        self._head = (sequence, hash)
