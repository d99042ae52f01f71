"""The transaction of one slot on PostgreSQL.

Invariant: it begins by locking the row of its slot's chain, so that two transactions of one slot never interleave,
whichever process they run in; whoever reads after that sees all that the one before has written.

Spec: 10 §15; 40 §6.5; 35 §7; engine.md "chain row".
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from openscr.errors import Conflict, StoreError
from openscr.spine import Consent
from openscr.store import postgres_statements as statements
from openscr.store.alert_rows import alert_values, change_values, notice_values, read_alert, read_change
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.compression import Codec
from openscr.store.documents import cut_document, read_payload
from openscr.store.interface import (
    AlertChange,
    AlertRow,
    AuditEntry,
    ConsentRow,
    EventRow,
    Notice,
    OutboxRow,
    PatientState,
    PollResult,
    Receipt,
    StandingRow,
)
from openscr.store.postgres_connection import Connection
from openscr.store.postgres_errors import CONNECTION_ERRORS, translate_error
from openscr.store.rows import (
    consent_values,
    ended_values,
    event_values,
    outbox_values,
    poll_values,
    read_consent,
    read_event,
    read_patient_entry,
    read_poll,
    read_receipt,
    read_standing,
    receipt_values,
    standing_values,
    status_values,
    to_microseconds,
)

ROWS_OF_NONE = "UPDATE 0"


class PostgresTransaction:
    """Reads and writes of one slot on a connection that is in a transaction; `begin` comes first."""

    __slots__ = ("_codec", "_connection", "_event_counts", "_head", "_holder", "slot")

    def __init__(self, connection: Connection, codec: Codec, slot: int, holder: str = "") -> None:
        self._connection = connection
        self._codec = codec
        self._holder = holder
        self._event_counts: dict[str, int] = {}
        self._head = (0, GENESIS)
        self.slot = slot

    async def begin(self) -> None:
        """Wait until nobody else works in the slot. Raises: errors of the driver."""
        head = await self._connection.fetchrow(statements.LOCK_CHAIN, self.slot)
        if head is None:
            await self._connection.execute(statements.START_CHAIN, self.slot, GENESIS)
            head = await self._connection.fetchrow(statements.LOCK_CHAIN, self.slot)
        self._head = (head[0], head[1])

    # --- the engine, its errors translated ---

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        try:
            return list(await self._connection.fetch(statement, *values))
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def _first(self, statement: str, *values: Any) -> Any:
        try:
            return await self._connection.fetchrow(statement, *values)
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def _write(self, statement: str, *values: Any) -> str:
        try:
            return str(await self._connection.execute(statement, *values))
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    # --- reading ---

    async def find_poll_result(self, token: str) -> PollResult | None:
        """Return the result behind a token. Spec: 40 §7.6."""
        row = await self._first(statements.FIND_POLL, self.slot, token)
        return None if row is None else read_poll(row, self._codec)

    async def poll_result_of(self, from_party: str, message_id: str) -> PollResult | None:
        """Return the result of a message. Spec: 40 §7.6."""
        row = await self._first(statements.POLL_OF_MESSAGE, self.slot, from_party, message_id.upper())
        return None if row is None else read_poll(row, self._codec)

    async def find_receipt(self, from_party: str, message_id: str) -> Receipt | None:
        """Return the memory of a message. Spec: 40 §6.5."""
        row = await self._first(statements.FIND_RECEIPT, self.slot, from_party, message_id.upper())
        return None if row is None else read_receipt(row, self._codec)

    async def find_seen(self, nhs_number: str, asid: str, message_ids: Sequence[str]) -> tuple[Receipt, ...]:
        """Return messages of this patient and sender with one of these ids. Spec: 10 §15 step 1, 30 §7.1."""
        found: dict[tuple[str, str], Receipt] = {}
        for message_id in message_ids:
            key = (self.slot, nhs_number, asid, message_id.upper())
            for statement in (statements.FIND_BY_WRAPPER, statements.FIND_BY_WSA):
                for row in await self._fetch(statement, *key):
                    receipt = read_receipt(row, self._codec)
                    found[receipt.from_party, receipt.message_id] = receipt
        return tuple(found.values())

    async def read_patient(self, nhs_number: str) -> PatientState:
        """Return index entry, consent in force and events of a patient. Spec: 10 §15."""
        index = await self._first(statements.READ_PATIENT, self.slot, nhs_number)
        consent = await self._first(statements.READ_CONSENT, self.slot, nhs_number)
        rows = await self._fetch(statements.READ_EVENTS, self.slot, nhs_number)
        events = tuple([read_event(row, self._codec) for row in rows])
        self._event_counts[nhs_number] = len(events)
        return PatientState(
            nhs_number,
            None if index is None else read_patient_entry(nhs_number, *index),
            Consent.ASK if consent is None else Consent(consent[1]),
            0 if consent is None else consent[0],
            events,
        )

    async def read_document(self, event: EventRow) -> bytes:
        """Return an event's document. Raises: `StoreError` when it cannot be read. Spec: 20 §7.2."""
        row = await self._first(statements.READ_RAW, self.slot, event.from_party, event.message_id)
        if row is None:
            raise StoreError("the message that brought the event is not in the store")
        raw, offset, length, encoding = row
        return cut_document(read_payload(self._codec.decompress(raw), offset, length, encoding), event)

    async def consent_history(self, nhs_number: str) -> tuple[ConsentRow, ...]:
        """Return all versions of the consent, oldest first. Spec: 30 §9.1."""
        return tuple(map(read_consent, await self._fetch(statements.CONSENT_HISTORY, self.slot, nhs_number)))

    async def find_standing(self, id: str) -> StandingRow | None:
        """Return a permission or relationship by its id. Spec: 70 §9."""
        row = await self._first(statements.FIND_STANDING, self.slot, id)
        return None if row is None else read_standing(row)

    async def read_standings(self, nhs_number: str, at: datetime) -> tuple[StandingRow, ...]:
        """Return a patient's permissions and relationships that have not ended at an instant. Spec: 70 §9."""
        rows = await self._fetch(statements.READ_STANDINGS, self.slot, nhs_number, to_microseconds(at))
        return tuple([read_standing(row) for row in rows])

    async def find_alert(self, id: str) -> AlertRow | None:
        """Return an alert. Spec: 80 §5.3."""
        row = await self._first(statements.FIND_ALERT, self.slot, id)
        return None if row is None else read_alert(row)

    async def alert_changes(self, id: str) -> tuple[AlertChange, ...]:
        """Return the steps of an alert's life, oldest first. Spec: 80 §5.3."""
        return tuple(map(read_change, await self._fetch(statements.READ_CHANGES, self.slot, id)))

    # --- writing ---

    async def append_receipt(self, receipt: Receipt) -> None:
        """Keep a received message. Raises: `Conflict`. Spec: 40 §6.5."""
        await self._write(statements.APPEND_RECEIPT, self.slot, *receipt_values(receipt, self._codec))

    async def append_event(self, event: EventRow) -> None:
        """Keep a new event, after its receipt. Raises: `Conflict`. Spec: 10 §15 step 12."""
        count = self._event_counts.get(event.nhs_number)
        if count is None:
            count = int((await self._first(statements.COUNT_EVENTS, self.slot, event.nhs_number))[0])
        await self._write(statements.APPEND_EVENT, self.slot, count, *event_values(event, self._codec))
        self._event_counts[event.nhs_number] = count + 1

    async def change_event(self, event: EventRow) -> None:
        """Write an event's status columns. Raises: `StoreError` when there is no such event."""
        key = (self.slot, event.nhs_number, event.event_id)
        if await self._write(statements.CHANGE_EVENT, *status_values(event), *key) == ROWS_OF_NONE:
            raise StoreError("the event to change is not in the store")

    async def append_consent(self, consent: ConsentRow) -> None:
        """Add a version of the consent. Raises: `Conflict` when the version exists. Spec: 30 §9.1."""
        await self._write(statements.APPEND_CONSENT, self.slot, *consent_values(consent))

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent. Raises: `Conflict`. Spec: 40 §6.3."""
        if row.slot != self.slot:
            raise StoreError("the row belongs to another slot than the transaction")
        await self._write(statements.APPEND_OUTBOX, *outbox_values(row, self._codec), self._holder)

    async def keep_poll_result(self, result: PollResult) -> None:
        """Keep a result, instead of the one before. Spec: 40 §7.6."""
        await self._write(statements.KEEP_POLL, self.slot, *poll_values(result, self._codec))

    async def append_alert(self, alert: AlertRow) -> None:
        """Keep a privacy alert, and that its officers must be told. Raises: `Conflict`. Spec: 35 §6.1, 80 §5.3."""
        await self._write(statements.APPEND_ALERT, self.slot, *alert_values(alert))
        now = alert.raised_at
        notice = Notice(self.slot, alert.id, "", alert.organisation, alert.type, now, now)
        await self._write(statements.APPEND_NOTICE, *notice_values(notice))

    async def change_alert(self, change: AlertChange) -> None:
        """Take an alert to its next version. Raises: `Conflict` when it is not in the one before. Spec: 80 §5.3."""
        key = (self.slot, change.alert_id, change.from_state, change.version - 1)
        if await self._write(statements.CHANGE_ALERT, change.to_state, change.version, *key) == ROWS_OF_NONE:
            raise Conflict("the alert has changed meanwhile")
        await self._write(statements.APPEND_CHANGE, self.slot, *change_values(change))

    async def append_standing(self, row: StandingRow) -> None:
        """Keep a permission or relationship. Raises: `Conflict`. Spec: 70 §9."""
        await self._write(statements.APPEND_STANDING, self.slot, *standing_values(row))

    async def end_standing(self, row: StandingRow) -> None:
        """Write the end of a permission or relationship. Raises: `StoreError` when there is none. Spec: 70 §9."""
        if await self._write(statements.END_STANDING, *ended_values(row), self.slot, row.id) == ROWS_OF_NONE:
            raise StoreError("the record to end is not in the store")

    async def append_audit(self, entry: AuditEntry) -> None:
        """Add an entry to the audit chain of this slot. Spec: 35 §7."""
        last, previous = self._head
        sequence, occurred_at, content = last + 1, to_microseconds(entry.occurred_at), write_content(entry)
        hash = link(previous, self.slot, sequence, occurred_at, entry.nhs_number, content)
        await self._write(statements.APPEND_AUDIT, self.slot, sequence, occurred_at, entry.nhs_number, content, hash)
        await self._write(statements.MOVE_CHAIN, self.slot, sequence, hash)
        self._head = (sequence, hash)
