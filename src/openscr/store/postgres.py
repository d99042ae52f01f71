"""The store of a service: a PostgreSQL database, a few connections of each process.

Invariants: see `openscr.store.interface`; they hold for any number of processes and machines on one database, because
every transaction begins by locking its slot's chain. Nothing waits for the database beyond `PATIENCE`.

Spec: engine.md level 1; architecture.md "Data"; 40 §8.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from openscr.errors import Conflict, StoreError
from openscr.identifiers import SLOTS, slot_of
from openscr.store import postgres_alerts, postgres_audit, postgres_outbox
from openscr.store import postgres_statements as statements
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
from openscr.store.postgres_connection import POOL_SIZE, Connection, Connections
from openscr.store.postgres_database import PostgresDatabase, count_of
from openscr.store.postgres_errors import CONNECTION_ERRORS
from openscr.store.postgres_literals import execution
from openscr.store.postgres_transaction import PostgresTransaction
from openscr.store.postgres_verification import check_schema, check_slots
from openscr.store.rows import (
    from_microseconds,
    outbox_change_values,
    patient_values,
    read_patient_entry,
    to_microseconds,
)
from openscr.store.slot_turns import SlotTurns
from openscr.store.verification import Findings

T = TypeVar("T")

_ROWS_AT_A_TIME: Final = 20_000
"""Rows of the audit that a verification looks at with one consistent state, about."""

_LONGEST: Final = 3600.0
"""Seconds that a verification of some slots may take."""

_PAGE_SECONDS: Final = 4.0
"""Seconds that what officers wait for may take at a time: whoever asks has an answer within five."""

_LONG: Final = 60.0
"""Seconds that what operators and background tasks do may take."""


class PostgresStore(PostgresDatabase):
    """A store in a PostgreSQL database; see `openscr.store.interface.Store` for what its methods promise."""

    engine = "PostgreSQL"
    preparation = statements.PREPARATION

    def __init__(self, url: str, *, migrate: bool = True, leasing: Leasing = NOBODY) -> None:
        super().__init__(url, migrate=migrate)
        self.leasing = leasing
        self._codec = Codec()
        self._turns = SlotTurns()

    async def _before_change(self, connection: Connection, revision: str) -> None:
        """See that nobody else runs on the database. Raises: `ConfigurationError`."""
        # Programs of older schemas do not say that they run.
        if await connection.fetchval(statements.HAS_INSTANCES) is None:
            return
        found = list(map(_read_instance, await connection.fetch(statements.READ_INSTANCES)))
        now = from_microseconds(await connection.fetchval(statements.NOW))
        check_alone(found, self.leasing, now, found=revision, needed=self.head_revision())

    async def _read(self, statement: str, *values: Any) -> list[Any]:
        return list(await self._report(lambda connection: connection.fetch(statement, *values)))

    # --- requests ---------------------------------------------------------------------------------------------------

    async def transact(self, slot: int, work: Callable[[Transaction], Awaitable[T]], foreseen: Foreseen = NOTHING) -> T:
        """Run ``work`` in one transaction of ``slot``; return its result once that is durable.

        Raises what ``work`` raises, `StoreUnavailable`, `OutcomeUnknown`.
        """
        connections = self._accept()
        try:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + self.patience
            await self._turns.enter(slot, deadline)
            try:
                connection, transaction = await self._begin(connections, slot, foreseen, deadline)
                # Cut, not cancelled: a cancelled COMMIT may have been made durable on one machine only, and say so.
                alarm = loop.call_at(deadline, connection.terminate)
                try:
                    try:
                        result = await work(transaction)
                    except BaseException as error:
                        await self._give_up(connection, error)
                        raise
                    await self._commit(connection, transaction.commit)
                except asyncio.CancelledError:
                    connection.terminate()
                    raise
                finally:
                    alarm.cancel()
                    connections.release(connection)
            finally:
                self._turns.leave(slot)
        finally:
            self._finish()
        return result

    async def _begin(
        self, connections: Connections, slot: int, foreseen: Foreseen, deadline: float
    ) -> tuple[Connection, PostgresTransaction]:
        """Return a connection with a transaction of a slot begun on it. Raises: `StoreUnavailable`."""
        loop, tries = asyncio.get_running_loop(), 0
        while True:
            connection = await connections.acquire(deadline)
            alarm = loop.call_at(deadline, connection.terminate)
            transaction = PostgresTransaction(
                connection, self._codec, slot, self.leasing.holder, together=connections.keeps_quiet(connection)
            )
            try:
                await transaction.begin(foreseen)
            except BaseException as error:
                lost = connection.is_closed()
                connection.terminate()
                connections.release(connection)
                if not isinstance(error, CONNECTION_ERRORS):
                    raise
                translated = self._translated(error)
                tries += 1
                # Nothing was done yet, and the server may have been another one since the connection was last used.
                if loop.time() >= deadline or tries > (POOL_SIZE if lost else 1):
                    raise translated from error
            else:
                return connection, transaction
            finally:
                alarm.cancel()

    # --- outbox -----------------------------------------------------------------------------------------------------

    async def find_outbox(self, message_id: str) -> OutboxRow | None:
        """Return the row of a MessageId (upper case), or none; what is left of it when it is damaged. Spec: 40 §9."""
        return await self._once(lambda connection: postgres_outbox.find(connection, message_id, self._codec))

    async def due_outbox(self, now: datetime, limit: int, *, besides: Sequence[str] = ()) -> list[OutboxRow]:
        """Return open rows whose next attempt is due, those longest due first; none planned means due since made.

        A damaged row is not given out but marked as failed.
        """
        until = to_microseconds(now)
        return await self._in_transaction(
            lambda connection: postgres_outbox.take_due(connection, until, limit, self._codec, self.leasing, besides),
        )

    async def change_outbox(self, row: OutboxRow, *, keep: bool = False, whoever: bool = False) -> bool:
        """Write what delivery changes in a row that is ours; return whether it was. Spec: 40 §6.3.

        Raises: `StoreError` for a damaged row: what could not be read of it would be lost.
        """
        if row.damaged:
            raise StoreError("a damaged row of the outbox cannot be changed")
        holder = self.leasing.holder
        values = (*outbox_change_values(row, self._codec), holder if keep else "", row.slot, row.id)
        if whoever:
            return count_of(await self._execute(statements.OVERRULE_OUTBOX, *values, again=False)) > 0
        return count_of(await self._execute(statements.CHANGE_OUTBOX, *values, holder, again=False)) > 0

    async def outbox_holders(self) -> list[str]:
        """Return who has open rows of the outbox."""
        return await self._once(postgres_outbox.holders)

    async def remove_outbox(self, slot: int, id: str) -> None:
        """Forget a row that was delivered. Spec: 40 §6.3."""
        # Without waiting for the disk: if the server breaks down now, its receiver gets the same message once more, as
        # if we had broken down ourselves before we were here.
        await self._execute(statements.FORGET_SOON + execution("openscr_remove_outbox", (slot, id)))

    async def list_outbox(self, state: str | None = None) -> list[OutboxRow]:
        """Return the rows of the outbox, or those of one state, oldest first; damaged ones are among them."""
        return await self._report(lambda connection: postgres_outbox.read_all(connection, state, self._codec))

    async def outbox_figures(self) -> OutboxFigures:
        """Return numbers of rows by state, each state named, and when the oldest open row was made."""
        found = await self._fetch(statements.OUTBOX_FIGURES)
        rows = dict.fromkeys((state.value for state in OutboxState), 0) | {state: count for state, count, _ in found}
        oldest = next((first for state, _, first in found if state == OutboxState.OPEN), None)
        return OutboxFigures(rows, None if oldest is None else from_microseconds(oldest))

    # --- who shares the store ---------------------------------------------------------------------------------------

    async def announce(self, instance: Instance) -> None:
        """Keep that a worker process runs."""
        times = to_microseconds(instance.started_at), to_microseconds(instance.seen_at)
        await self._execute(statements.ANNOUNCE, instance.holder, instance.program, *times)

    async def withdraw(self, holder: str) -> int:
        """Forget a worker process, and give back its rows of the outbox; return how many."""
        await self._execute(statements.WITHDRAW, holder)
        released = 0
        while portion := count_of(await self._execute(statements.RELEASE_OUTBOX, holder, RELEASED_AT_A_TIME)):
            released += portion
        return released

    async def read_instances(self) -> list[Instance]:
        """Return every worker process that runs, as it says."""
        return list(map(_read_instance, await self._fetch(statements.READ_INSTANCES)))

    async def now(self) -> datetime:
        """Return the time of the database server."""
        return from_microseconds(await self._now())

    async def _now(self) -> int:
        return int((await self._fetch(statements.NOW))[0][0])

    async def end_session(self, session: str, ended_at: datetime, kept_until: datetime) -> None:
        """Keep that a session has ended. Spec: 35 §4.2."""
        await self._execute(statements.END_SESSION, session, to_microseconds(ended_at), to_microseconds(kept_until))

    async def ended_sessions(self, since: datetime) -> list[tuple[str, datetime]]:
        """Return the sessions that ended from an instant on. Spec: 35 §4.2."""
        found = await self._fetch(statements.ENDED_SESSIONS, to_microseconds(since))
        return [(session, from_microseconds(until)) for session, until in found]

    async def remove_ended_sessions(self, kept_until: datetime) -> int:
        """Forget the sessions that need not be remembered any longer."""
        return count_of(await self._execute(statements.REMOVE_ENDED_SESSIONS, to_microseconds(kept_until)))

    # --- poll results -----------------------------------------------------------------------------------------------

    async def remove_poll_results(self, expired_at: datetime) -> int:
        """Forget what had expired; return how many results that were. Spec: 40 §7.6."""
        return count_of(await self._execute(statements.REMOVE_POLLS, to_microseconds(expired_at)))

    # --- directory and patient index --------------------------------------------------------------------------------

    async def directory_revision(self) -> int:
        """Return a number that grows with every change of the directory; 0 until the first one."""
        return int((await self._fetch(statements.DIRECTORY_REVISION))[0][0])

    async def read_directory(self) -> list[tuple[str, str, bytes]]:
        """Return the directory's entries as (kind, key, JSON), in the order of kind and key."""
        return [tuple(row) for row in await self._read(statements.READ_DIRECTORY)]

    async def write_directory(
        self, entries: Iterable[tuple[str, str, bytes]], *, replace: bool = False, revision: int | None = None
    ) -> None:
        """Write entries (kind, key, JSON), or put them in the place of all; the revision grows with them.

        Raises: `Conflict` when ``revision`` is given and is not the one in force.
        """
        known = list(entries)

        async def write(connection: Connection) -> None:
            # First of all: who comes at the same time waits here, and then sees what we have made of it.
            moved = await connection.fetchval(statements.MOVE_DIRECTORY_REVISION)
            if revision is not None and revision != moved - 1:
                raise Conflict("the directory has changed meanwhile")
            if replace:
                await connection.execute(statements.CLEAR_DIRECTORY)
            await connection.executemany(statements.WRITE_DIRECTORY, known)

        await self._in_transaction(write, patience=_LONG)

    async def write_patients(self, entries: Iterable[PatientEntry]) -> int:
        """Write entries of the patient index, all or none; return how many. ``entries`` is read as it is written."""
        written = 0

        def values() -> Iterable[tuple[Any, ...]]:
            nonlocal written
            for entry in entries:
                written += 1
                yield patient_values(slot_of(entry.nhs_number), entry)

        async def write(connection: Connection) -> None:
            await connection.executemany(statements.WRITE_PATIENT, values(), timeout=_LONG)

        await self._in_transaction(write, patience=_LONG)
        return written

    async def read_patients(self) -> list[PatientEntry]:
        """Return the whole patient index, in the order of numbers."""
        return [read_patient_entry(*row) for row in await self._read(statements.READ_PATIENTS)]

    # --- alerts and who is told of them ------------------------------------------------------------------------------

    async def read_alerts(
        self, organisation: str | None = None, since: datetime | None = None, until: datetime | None = None
    ) -> list[AlertRow]:
        """Return privacy alerts, oldest first: all, or those of one organisation, raised in a period."""
        return await self._report(
            lambda connection: postgres_alerts.read_alerts(connection, organisation, since, until), _PAGE_SECONDS
        )

    async def slot_of_alert(self, id: str) -> int | None:
        """Return the slot that an alert lies in, or none."""
        found = await self._fetch(statements.SLOT_OF_ALERT, id)
        return int(found[0][0]) if found else None

    async def read_subscriptions(self, organisation: str | None = None) -> list[Subscription]:
        """Return who is told of alerts, oldest first."""
        return await self._once(lambda connection: postgres_alerts.read_subscriptions(connection, organisation))

    async def write_subscription(self, subscription: Subscription) -> None:
        """Keep that somebody is to be told. Raises: `Conflict` when the id exists."""
        await self._once(lambda connection: postgres_alerts.write_subscription(connection, subscription))

    async def remove_subscription(self, id: str) -> None:
        """Forget a subscription, and what it had still to be told."""
        await self._in_transaction(lambda connection: postgres_alerts.remove_subscription(connection, id))

    async def due_notices(self, now: datetime, limit: int, *, besides: Collection[str] = ()) -> list[Notice]:
        """Return notices that are due, the longest due first; none of the subscriptions ``besides``."""
        return await self._in_transaction(
            lambda connection: postgres_alerts.due_notices(connection, now, limit, besides)
        )

    async def postpone_notices(self, subscription_id: str, until: datetime) -> None:
        """Let no notice of a subscription be due before an instant."""
        instant = to_microseconds(until)
        await self._execute(statements.POSTPONE_NOTICES, instant, subscription_id, instant)

    async def share_notice(self, notice: Notice, among: Sequence[Notice]) -> None:
        """Put notices for subscriptions in the place of one that was still for nobody."""
        await self._in_transaction(lambda connection: postgres_alerts.share_notice(connection, notice, among))

    async def change_notice(self, notice: Notice) -> None:
        """Write attempts, error and next attempt of a notice."""
        await self._once(lambda connection: postgres_alerts.change_notice(connection, notice))

    async def remove_notice(self, notice: Notice) -> None:
        """Forget a notice that was given."""
        await self._once(lambda connection: postgres_alerts.remove_notice(connection, notice))

    async def read_notices(self) -> list[Notice]:
        """Return every notice that was not given yet, oldest first."""
        return await self._report(postgres_alerts.read_notices)

    # --- reports ----------------------------------------------------------------------------------------------------

    async def search_audit(self, period: AuditPeriod, *, newest_first: bool = False) -> AsyncIterator[AuditRow]:
        """Return audit rows in the order of time, of a patient in that of its chain. Raises: `StoreError`. 35 §7."""
        last = None
        while page := await self._report(
            postgres_audit.page_of_time(period, last, newest_first=newest_first), _PAGE_SECONDS
        ):
            for row in page:
                yield row
            last = page[-1]

    async def audit_heads(self) -> list[ChainHead]:
        """Return where every audit chain ends. Spec: 35 §7."""
        return [ChainHead(*row) for row in await self._read(statements.HEADS)]

    async def read_audit(self, slot: int | None = None) -> AsyncIterator[AuditRow]:
        """Return audit rows slot by slot, each chain in its order. Raises: `StoreError` when a row is damaged."""
        slots = [slot] if slot is not None else [int(row[0]) for row in await self._read(statements.CHAINS)]
        for one in slots:
            sequence = 0
            while page := await self._report(postgres_audit.page_of_chain(one, sequence)):
                for row in page:
                    yield row
                sequence = page[-1].sequence

    async def verify(self, checkpoint: Sequence[ChainHead] = ()) -> VerifyReport:
        """Check every audit chain, and every row of every slot; see the interface. Spec: 35 §7."""
        findings, codec = Findings(checkpoint), Codec()
        if not await self._once(lambda connection: check_schema(connection, findings), patience=_LONG):
            return findings.report()
        rows = sum(head.sequence for head in await self.audit_heads())
        # So many slots at a time that a consistent state of them need not be kept for long.
        width = max(1, min(SLOTS, SLOTS * _ROWS_AT_A_TIME // max(rows, 1)))
        for start in range(0, SLOTS, width):
            slots = range(start, min(start + width, SLOTS))
            await self._report(partial(check_slots, slots=slots, codec=codec, findings=findings), _LONGEST)
        return findings.report()


def _read_instance(row: Any) -> Instance:
    holder, program, started, seen = row
    return Instance(holder, program, from_microseconds(started), from_microseconds(seen))
