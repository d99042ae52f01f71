"""Group commit: many units of work made durable with one sync, which alone waits on a thread of its own.

Statements run on the event loop: they take microseconds, and two threads that hand the interpreter to each other at
every statement cost more than the statements do (measured: a seventh of the CPU of an upload, a third of the
throughput). What may wait for the disk, the COMMIT, and what may wait for another program, a BEGIN that found the file
locked, run on the one sync thread; units that arrive meanwhile form the next group.

Invariants:

* A unit's caller hears of success only after the COMMIT that holds its rows has returned.
* Units run one after the other, each in its own savepoint: one that raises leaves nothing and hurts no neighbour.
* When the COMMIT fails, every unit of the group fails.
* The connection is used by one thread at a time: by the loop between BEGIN and COMMIT, by the sync thread else.
* What was accepted before `stop` is finished; what comes later is refused.

Spec: 90 §6.1; architecture.md "Concurrency"; dependencies.md "embedded store".
"""

import asyncio
import contextvars
import sqlite3
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Final, TypeVar

from openscr.errors import StoreError, StoreUnavailable
from openscr.store.sqlite_connection import STATEMENT_ERRORS, translate_commit_error, translate_error

T = TypeVar("T")

GROUP_LIMIT: Final = 64
"""Units in one commit at most."""

GROUP_SECONDS: Final = 0.01
"""How long the units of a group may keep the event loop; those left over form the next group."""

WAITING_LIMIT: Final = 8192
"""Units waiting at most; more are refused rather than kept in memory."""


class _Unit:
    __slots__ = ("context", "error", "future", "operation", "result")

    def __init__(self, operation: Callable[[sqlite3.Connection], Any], future: "asyncio.Future[Any]") -> None:
        self.operation = operation
        self.future = future
        self.context = contextvars.copy_context()
        self.result: Any = None
        self.error: BaseException | None = None


class _GroupLost(Exception):
    """The engine itself has rolled the whole group back."""


Step = Callable[[], object]
Then = Callable[[BaseException | None], None]


class _SyncThread:
    """Runs steps one after the other on a thread of its own; the loop is told of the end of each.

    An executor hands over the same with four locks a step, for which the loop and the thread would wait in turn.
    """

    def __init__(self, name: str) -> None:
        self._steps: SimpleQueue[tuple[Step, Then] | None] = SimpleQueue()
        # Nobody is told of a commit that the end of the process cuts off, so it need not wait for it.
        self._thread = Thread(target=self._work, name=name, daemon=True)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread.start()

    def submit(self, step: Step, then: Then) -> None:
        """Run ``step`` after those before it; ``then`` hears on the loop what it raised, or none."""
        self._steps.put((step, then))

    async def run(self, step: Step) -> None:
        """Run ``step`` and return when it has ended. Raises whatever it raises."""
        ended: asyncio.Future[BaseException | None] = self._loop.create_future()
        self.submit(step, lambda error: None if ended.cancelled() else ended.set_result(error))
        if (error := await ended) is not None:
            raise error

    def end(self) -> None:
        """Take no more steps; those submitted are run."""
        self._steps.put(None)

    def _work(self) -> None:
        while (work := self._steps.get()) is not None:
            step, then = work
            error: BaseException | None = None
            try:
                step()
            except BaseException as raised:  # noqa: BLE001 - whatever it is, the loop must hear of it
                error = raised
            # A closed loop means that nobody is left to hear it.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(then, error)
            # Nothing of a request is kept until the next one comes.
            del work, step, then, error


class GroupCommitWriter:
    """Runs units of work on the connection that ``connect`` gives, for callers of one event loop.

    ``connect`` gives a connection that does not wait for locks; the writer waits for them itself, ``patience`` seconds
    at most, without holding up the loop. ``check`` is asked before each group; what it raises, all that wait are told.
    """

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        *,
        patience: float = 0.0,
        check: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._patience = patience
        self._check = check
        self._waiting: deque[_Unit] = deque()
        self._accepting = False
        self._busy = False
        self._idle: asyncio.Future[None] | None = None
        self._sync = _SyncThread("openscr-store-sync")

    async def start(self) -> None:
        """Open the connection and be ready. Raises whatever ``connect`` raises."""
        self._loop = asyncio.get_running_loop()
        self._sync.start(self._loop)
        try:
            await self._sync.run(self._open)
        except BaseException:
            self._sync.end()
            raise
        self._accepting = True

    def _open(self) -> None:
        self._connection = self._connect()

    async def stop(self) -> None:
        """Finish every accepted unit, close the connection and end the thread."""
        if not self._accepting:
            return
        self._accepting = False
        if self._busy:
            self._idle = self._loop.create_future()
            await self._idle
        await self._sync.run(self._connection.close)
        self._sync.end()

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``operation`` returns, once that is durable.

        Raises what it raises, and `StoreUnavailable` or `OutcomeUnknown`. A caller that is cancelled while its unit
        waits leaves nothing; once the unit has run, it is committed with its group.
        """
        if not self._accepting:
            raise StoreUnavailable("the store is closed")
        if len(self._waiting) >= WAITING_LIMIT:
            raise StoreUnavailable("too many requests wait for the store")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.append(_Unit(operation, future))
        if not self._busy:
            self._busy = True
            # Whoever else is ready in this turn of the loop joins the group.
            self._loop.call_soon(self._begin)
        return await future

    # --- on the event loop: one group after the other ---

    def _begin(self) -> None:
        try:
            if self._check is not None:
                self._check()
            self._connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if self._patience and getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                self._sync.submit(self._begin_patiently, self._began)
            else:
                self._began(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, everybody who waits must hear of it
            self._began(error)
        else:
            self._run_group()

    def _began(self, error: BaseException | None) -> None:
        if error is None:
            self._run_group()
            return
        self._roll_back()
        # All that wait would fail alike, each after its own time-out: tell them now.
        refused = list(self._waiting)
        self._waiting.clear()
        for unit in refused:
            unit.error = translate_error(error) if isinstance(error, sqlite3.Error) else error
        self._settle(refused)

    def _run_group(self) -> None:
        group: list[_Unit] = []
        until = monotonic() + GROUP_SECONDS
        try:
            while self._waiting and len(group) < GROUP_LIMIT and (not group or monotonic() < until):
                unit = self._waiting.popleft()
                if not unit.future.cancelled():
                    group.append(unit)
                    self._run(unit)
        except Exception as error:  # noqa: BLE001 - the group is lost, the next one must not be
            self._roll_back()
            self._fail(group, error)
            self._settle(group)
            return
        self._sync.submit(self._commit, lambda error: self._committed(group, error))

    def _run(self, unit: _Unit) -> None:
        self._connection.execute("SAVEPOINT unit")
        try:
            unit.result = unit.context.run(unit.operation, self._connection)
        except BaseException as error:
            unit.error = translate_error(error) if isinstance(error, STATEMENT_ERRORS) else error
            if not self._connection.in_transaction:
                raise _GroupLost from error
            self._connection.execute("ROLLBACK TO unit")
        self._connection.execute("RELEASE unit")

    def _committed(self, group: list[_Unit], error: BaseException | None) -> None:
        if error is not None:
            self._roll_back()
            self._fail(group, error)
        self._settle(group)

    @staticmethod
    def _fail(group: list[_Unit], error: BaseException) -> None:
        for unit in group:
            unit.error = unit.error or _failure(error)

    def _settle(self, units: list[_Unit]) -> None:
        for unit in units:
            if unit.future.done():
                continue
            if unit.error is not None:
                unit.future.set_exception(unit.error)
            else:
                unit.future.set_result(unit.result)
        if self._waiting:
            # After those who were just told: what they ask for next joins the group.
            self._loop.call_soon(self._begin)
            return
        self._busy = False
        if self._idle is not None:
            self._idle.set_result(None)

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    # --- on the sync thread: whatever may wait ---

    def _commit(self) -> None:
        self._connection.execute("COMMIT")

    def _begin_patiently(self) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {int(self._patience * 1000)}")
        try:
            self._connection.execute("BEGIN IMMEDIATE")
        finally:
            self._connection.execute("PRAGMA busy_timeout = 0")


def _failure(error: BaseException) -> StoreError:
    if isinstance(error, sqlite3.Error):
        return translate_commit_error(error)
    return StoreUnavailable("the transaction was lost together with one that failed")
