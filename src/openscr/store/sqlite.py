"""The embedded store: one SQLite file, one connection that writes it, group commit.

Invariants: see `openscr.store.interface`; they hold for several programs on one file as well, because every group of
units begins by taking the file's write lock.

Requests run on the writer's connection. Reports (lists, audit, verification) read on connections of their own, in
threads, so that they see a consistent state and hold up nobody.

Spec: engine.md level 0; architecture.md "Data", "Concurrency"; 90 §6.1.
"""

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from openscr.errors import Conflict, StoreError
from openscr.identifiers import SLOTS, slot_of, utc_now
from openscr.store import sqlite_alerts, sqlite_audit, statements
from openscr.store.alert_records import AlertRow, Notice, Subscription
from openscr.store.compression import Codec
from openscr.store.instances import RELEASED_AT_A_TIME, check_alone
from openscr.store.interface import (
    NOBODY,
    NOTHING,
    AuditPeriod,
    AuditRow,
    ChainHead,
    Foreseen,
    Instance,
    Leasing,
    OutboxFigures,
    OutboxRow,
    OutboxState,
    PatientEntry,
    Transaction,
    VerifyReport,
)
from openscr.store.rows import (
    from_microseconds,
    outbox_change_values,
    patient_values,
    read_patient_entry,
    to_microseconds,
)
from openscr.store.sqlite_file import BUSY_SECONDS, SqliteFile
from openscr.store.sqlite_outbox import find, holders, read_all, take_due
from openscr.store.sqlite_transaction import SqliteTransaction, run_to_end
from openscr.store.sqlite_verification import check_file, check_schema, check_slots
from openscr.store.verification import Findings

T = TypeVar("T")

_SLOTS_AT_A_TIME: Final = 64


class SqliteStore(SqliteFile):
    """A store in the file ``path``; see `openscr.store.interface.Store` for what its methods promise."""

    engine = "SQLite"

    def __init__(
        self,
        path: str | Path,
        *,
        migrate: bool = True,
        busy_timeout: float = BUSY_SECONDS,
        leasing: Leasing = NOBODY,
    ) -> None:
        super().__init__(path, migrate=migrate, busy_timeout=busy_timeout)
        self.leasing = leasing
        # Used on the event loop alone.
        self._codec = Codec()

    def _before_change(self, connection: sqlite3.Connection, revision: str) -> None:
        """See that nobody else runs on the file. Raises: `ConfigurationError`."""
        # Programs of older schemas do not say that they run.
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'instance'").fetchone():
            found = _read_instances(connection)
            check_alone(found, self.leasing, utc_now(), found=revision, needed=self.head_revision())

    # --- requests ---------------------------------------------------------------------------------------------------

    async def transact(self, slot: int, work: Callable[[Transaction], Awaitable[T]], foreseen: Foreseen = NOTHING) -> T:
        """Run ``work`` in one transaction of ``slot``; return its result once that is durable.

        Raises what ``work`` raises, `StoreUnavailable`, `OutcomeUnknown`; `StoreError` when ``work`` awaits anything
        but its transaction.
        """
        codec, holder = self._codec, self.leasing.holder
        return await self._transact(
            lambda connection: run_to_end(work, SqliteTransaction(connection, codec, slot, holder))
        )

    # --- outbox -----------------------------------------------------------------------------------------------------

    async def find_outbox(self, message_id: str) -> OutboxRow | None:
        """Return the row of a MessageId (upper case), or none; what is left of it when it is damaged. Spec: 40 §9."""
        return await self._report(lambda connection: find(connection, message_id, Codec()))

    async def due_outbox(self, now: datetime, limit: int, *, besides: Sequence[str] = ()) -> list[OutboxRow]:
        """Return open rows whose next attempt is due, those longest due first; none planned means due since made.

        A damaged row is not given out but marked as failed.
        """
        codec, until, leasing = self._codec, to_microseconds(now), self.leasing
        return await self._write(lambda connection: take_due(connection, until, limit, codec, leasing, besides))

    async def change_outbox(self, row: OutboxRow, *, keep: bool = False, whoever: bool = False) -> bool:
        """Write what delivery changes in a row that is ours; return whether it was. Spec: 40 §6.3.

        Raises: `StoreError` for a damaged row: what could not be read of it would be lost.
        """
        if row.damaged:
            raise StoreError("a damaged row of the outbox cannot be changed")
        holder = self.leasing.holder
        values: tuple[Any, ...] = (*outbox_change_values(row, Codec()), holder if keep else "", row.slot, row.id)
        statement = statements.OVERRULE_OUTBOX if whoever else statements.CHANGE_OUTBOX
        values = values if whoever else (*values, holder)
        return await self._write(lambda connection: bool(connection.execute(statement, values).rowcount))

    async def outbox_holders(self) -> list[str]:
        """Return who has open rows of the outbox."""
        return await self._report(holders)

    async def remove_outbox(self, slot: int, id: str) -> None:
        """Forget a row that was delivered. Spec: 40 §6.3."""
        await self._write(lambda connection: connection.execute(statements.REMOVE_OUTBOX, (slot, id)))

    async def list_outbox(self, state: str | None = None) -> list[OutboxRow]:
        """Return the rows of the outbox, or those of one state, oldest first; damaged ones are among them."""
        return await self._report(lambda connection: read_all(connection, state, Codec()))

    async def outbox_figures(self) -> OutboxFigures:
        """Return numbers of rows by state, each state named, and when the oldest open row was made."""
        found = await self._report(lambda connection: connection.execute(statements.OUTBOX_FIGURES).fetchall())
        rows = dict.fromkeys((state.value for state in OutboxState), 0) | {state: count for state, count, _ in found}
        oldest = next((first for state, _, first in found if state == OutboxState.OPEN), None)
        return OutboxFigures(rows, None if oldest is None else from_microseconds(oldest))

    # --- who shares the store ---------------------------------------------------------------------------------------

    async def announce(self, instance: Instance) -> None:
        """Keep that a worker process runs."""
        times = to_microseconds(instance.started_at), to_microseconds(instance.seen_at)
        values = (instance.holder, instance.program, *times)
        await self._write(lambda connection: connection.execute(statements.ANNOUNCE, values))

    async def withdraw(self, holder: str) -> int:
        """Forget a worker process, and give back its rows of the outbox; return how many."""

        def release(connection: sqlite3.Connection) -> int:
            return connection.execute(statements.RELEASE_OUTBOX, (holder, holder, RELEASED_AT_A_TIME)).rowcount

        await self._write(lambda connection: connection.execute(statements.WITHDRAW, (holder,)))
        released = 0
        while portion := await self._write(release):
            released += portion
        return released

    async def read_instances(self) -> list[Instance]:
        """Return every worker process that runs, as it says."""
        return await self._report(_read_instances)

    async def now(self) -> datetime:
        """Return the time of this machine: the file has no clock of its own."""
        return utc_now()

    async def end_session(self, session: str, ended_at: datetime, kept_until: datetime) -> None:
        """Keep that a session has ended. Spec: 35 §4.2."""
        values = (session, to_microseconds(ended_at), to_microseconds(kept_until))
        await self._write(lambda connection: connection.execute(statements.END_SESSION, values))

    async def ended_sessions(self, since: datetime) -> list[tuple[str, datetime]]:
        """Return the sessions that ended from an instant on. Spec: 35 §4.2."""
        values = (to_microseconds(since),)
        found = await self._report(lambda connection: connection.execute(statements.ENDED_SESSIONS, values).fetchall())
        return [(session, from_microseconds(until)) for session, until in found]

    async def remove_ended_sessions(self, kept_until: datetime) -> int:
        """Forget the sessions that need not be remembered any longer."""
        values = (to_microseconds(kept_until),)
        return await self._write(
            lambda connection: connection.execute(statements.REMOVE_ENDED_SESSIONS, values).rowcount
        )

    # --- poll results -----------------------------------------------------------------------------------------------

    async def remove_poll_results(self, expired_at: datetime) -> int:
        """Forget what had expired; return how many results that were. Spec: 40 §7.6."""
        limit = to_microseconds(expired_at)
        return await self._write(lambda connection: connection.execute(statements.REMOVE_POLLS, (limit,)).rowcount)

    # --- directory and patient index --------------------------------------------------------------------------------

    async def directory_revision(self) -> int:
        """Return a number that grows with every change of the directory; 0 until the first one."""

        def read(connection: sqlite3.Connection) -> int:
            return int(connection.execute(statements.DIRECTORY_REVISION).fetchone()[0])

        return await self._write(read)

    async def read_directory(self) -> list[tuple[str, str, bytes]]:
        """Return the directory's entries as (kind, key, JSON), in the order of kind and key."""
        return await self._report(lambda connection: connection.execute(statements.READ_DIRECTORY).fetchall())

    async def write_directory(
        self, entries: Iterable[tuple[str, str, bytes]], *, replace: bool = False, revision: int | None = None
    ) -> None:
        """Write entries (kind, key, JSON), or put them in the place of all; the revision grows with them.

        Raises: `Conflict` when ``revision`` is given and is not the one in force.
        """

        def write(connection: sqlite3.Connection) -> None:
            if revision is not None and revision != connection.execute(statements.DIRECTORY_REVISION).fetchone()[0]:
                raise Conflict("the directory has changed meanwhile")
            if replace:
                connection.execute(statements.CLEAR_DIRECTORY)
            connection.executemany(statements.WRITE_DIRECTORY, entries)
            connection.execute(statements.MOVE_DIRECTORY_REVISION)

        await self._write(write)

    async def write_patients(self, entries: Iterable[PatientEntry]) -> int:
        """Write entries of the patient index, all or none; return how many. ``entries`` is read as it is written."""
        values = (patient_values(slot_of(entry.nhs_number), entry) for entry in entries)
        return await self._write(lambda connection: connection.executemany(statements.WRITE_PATIENT, values).rowcount)

    async def read_patients(self) -> list[PatientEntry]:
        """Return the whole patient index, in the order of numbers."""
        return await self._report(
            lambda connection: [read_patient_entry(*row) for row in connection.execute(statements.READ_PATIENTS)]
        )

    # --- alerts and who is told of them ------------------------------------------------------------------------------

    async def read_alerts(
        self, organisation: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[AlertRow]:
        """Return privacy alerts, oldest first: all, or those of one organisation, raised in a period."""
        return await self._report(lambda connection: sqlite_alerts.read_alerts(connection, organisation, since, until))

    async def slot_of_alert(self, id: str) -> int | None:
        """Return the slot that an alert lies in, or none."""
        return await self._report(lambda connection: sqlite_alerts.slot_of_alert(connection, id))

    async def read_subscriptions(self, organisation: str | None = None) -> list[Subscription]:
        """Return who is told of alerts, oldest first."""
        return await self._report(lambda connection: sqlite_alerts.read_subscriptions(connection, organisation))

    async def write_subscription(self, subscription: Subscription) -> None:
        """Keep that somebody is to be told. Raises: `Conflict` when the id exists."""
        await self._write(lambda connection: sqlite_alerts.write_subscription(connection, subscription))

    async def remove_subscription(self, id: str) -> None:
        """Forget a subscription, and what it had still to be told."""
        await self._write(lambda connection: sqlite_alerts.remove_subscription(connection, id))

    async def due_notices(self, now: datetime, limit: int, *, besides: Collection[str] = ()) -> list[Notice]:
        """Return notices that are due, the longest due first; none of the subscriptions ``besides``."""
        return await self._report(lambda connection: sqlite_alerts.due_notices(connection, now, limit, besides))

    async def postpone_notices(self, subscription_id: str, until: datetime) -> None:
        """Let no notice of a subscription be due before an instant."""
        values = (to_microseconds(until), subscription_id, to_microseconds(until))
        await self._write(lambda connection: connection.execute(statements.POSTPONE_NOTICES, values))

    async def share_notice(self, notice: Notice, among: Sequence[Notice]) -> None:
        """Put notices for subscriptions in the place of one that was still for nobody."""
        await self._write(lambda connection: sqlite_alerts.share_notice(connection, notice, among))

    async def change_notice(self, notice: Notice) -> None:
        """Write attempts, error and next attempt of a notice."""
        await self._write(lambda connection: sqlite_alerts.change_notice(connection, notice))

    async def remove_notice(self, notice: Notice) -> None:
        """Forget a notice that was given."""
        await self._write(lambda connection: sqlite_alerts.remove_notice(connection, notice))

    async def read_notices(self) -> list[Notice]:
        """Return every notice that was not given yet, oldest first."""
        return await self._report(sqlite_alerts.read_notices)

    # --- reports ----------------------------------------------------------------------------------------------------

    async def search_audit(self, period: AuditPeriod, *, newest_first: bool = False) -> AsyncIterator[AuditRow]:
        """Return audit rows in the order of time, of a patient in that of its chain. Raises: `StoreError`. 35 §7."""
        last = None
        while page := await self._report(sqlite_audit.page_of_time(period, last, newest_first=newest_first)):
            for row in page:
                yield row
            last = page[-1]

    async def audit_heads(self) -> list[ChainHead]:
        """Return where every audit chain ends. Spec: 35 §7."""
        return await self._report(sqlite_audit.read_heads)

    async def read_audit(self, slot: int | None = None) -> AsyncIterator[AuditRow]:
        """Return audit rows slot by slot, each chain in its order. Raises: `StoreError` when a row is damaged."""
        slots = (
            [slot]
            if slot is not None
            else [s for (s,) in await self._report(lambda connection: connection.execute(statements.CHAINS).fetchall())]
        )
        for one in slots:
            sequence = 0
            while page := await self._report(sqlite_audit.page_of_chain(one, sequence)):
                for row in page:
                    yield row
                sequence = page[-1].sequence

    async def verify(self, checkpoint: Sequence[ChainHead] = ()) -> VerifyReport:
        """Check the file, every audit chain, and every row of every slot; see the interface. Spec: 35 §7."""
        findings, codec = Findings(checkpoint), Codec()
        await self._report(lambda connection: check_file(connection, findings))
        if not await self._report(lambda connection: check_schema(connection, findings)):
            return findings.report()
        for start in range(0, SLOTS, _SLOTS_AT_A_TIME):
            slots = range(start, start + _SLOTS_AT_A_TIME)
            await self._report(partial(check_slots, slots=slots, codec=codec, findings=findings))
        return findings.report()


def _read_instances(connection: sqlite3.Connection) -> list[Instance]:
    return [
        Instance(holder, program, from_microseconds(started), from_microseconds(seen))
        for holder, program, started, seen in connection.execute(statements.READ_INSTANCES)
    ]
