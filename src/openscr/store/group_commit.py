"""Group commit: one thread owns the writing connection and makes many units of work durable with one sync.

Invariants:

* A unit's caller hears of success only after the COMMIT that holds its rows has returned.
* Units run one after the other, each in its own savepoint: one that raises leaves nothing and hurts no neighbour.
* When the COMMIT fails, every unit of the group fails.
* What was accepted before `stop` is finished; what comes later is refused.

Spec: 90 §6.1; architecture.md "Concurrency"; dependencies.md "embedded store".
"""

import asyncio
import contextvars
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, Final, TypeVar

from openscr.errors import StoreError, StoreUnavailable
from openscr.store.sqlite_connection import translate_commit_error, translate_error

T = TypeVar("T")

GROUP_LIMIT: Final = 64
"""Units in one commit at most."""

GROUP_SECONDS: Final = 0.005
"""How long a group takes in further units; they wait at most this long for the sync to begin."""

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


class GroupCommitWriter:
    """Runs units of work on the connection that ``connect`` gives, for callers of one event loop."""

    def __init__(self, connect: Callable[[], sqlite3.Connection]) -> None:
        self._connect = connect
        self._waiting: SimpleQueue[_Unit | None] = SimpleQueue()
        self._accepting = False
        self._stopping = False
        # An unfinished unit was never acknowledged: the program may end without waiting for it.
        self._thread = Thread(target=self._serve, name="openscr-store-writer", daemon=True)

    async def start(self) -> None:
        """Open the connection and be ready. Raises whatever ``connect`` raises."""
        self._loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._thread.start()
        await self._ready
        self._accepting = True

    async def stop(self) -> None:
        """Finish every accepted unit, close the connection and end the thread."""
        if self._accepting:
            self._accepting = False
            self._waiting.put(None)
        await asyncio.shield(self._ended)

    async def run(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Return what ``operation`` returns, once that is durable.

        Raises what it raises, and `StoreUnavailable` or `OutcomeUnknown`. A caller that is cancelled while its unit
        waits takes it back; once begun, it is finished.
        """
        if not self._accepting:
            raise StoreUnavailable("the store is closed")
        if self._waiting.qsize() >= WAITING_LIMIT:
            raise StoreUnavailable("too many requests wait for the store")
        future: asyncio.Future[T] = self._loop.create_future()
        self._waiting.put(_Unit(operation, future))
        return await future

    # --- on the event loop ---

    def _settle(self, units: list[_Unit]) -> None:
        for unit in units:
            if unit.future.done():
                continue
            if unit.error is not None:
                unit.future.set_exception(unit.error)
            else:
                unit.future.set_result(unit.result)

    # --- on the thread ---

    def _tell(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            # The loop is closed: nobody is left to hear it.
            return

    def _serve(self) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - whoever waits in start() must hear of anything
            self._tell(self._ready.set_exception, error)
            return
        self._tell(self._ready.set_result, None)
        while not self._stopping:
            unit = self._waiting.get()
            if unit is None:
                break
            self._commit_group(connection, unit)
        connection.close()
        self._tell(self._ended.set_result, None)

    def _next(self) -> _Unit | None:
        try:
            unit = self._waiting.get_nowait()
        except Empty:
            return None
        if unit is None:
            self._stopping = True
        return unit

    def _commit_group(self, connection: sqlite3.Connection, first: _Unit) -> None:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            _roll_back(connection)
            # All that wait would fail alike, each after its own time-out: tell them now.
            refused = [first]
            while (waiting := self._next()) is not None:
                refused.append(waiting)
            for failed in refused:
                failed.error = translate_error(error)
            self._tell(self._settle, refused)
            return
        group: list[_Unit] = []
        until = monotonic() + GROUP_SECONDS
        unit: _Unit | None = first
        try:
            while unit is not None:
                if not unit.future.cancelled():
                    group.append(unit)
                    self._run(connection, unit)
                unit = self._next() if len(group) < GROUP_LIMIT and monotonic() < until else None
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread must go on and everybody hear of it
            _roll_back(connection)
            for failed in group:
                failed.error = failed.error or _failure(error)
        self._tell(self._settle, group)

    def _run(self, connection: sqlite3.Connection, unit: _Unit) -> None:
        connection.execute("SAVEPOINT unit")
        try:
            unit.result = unit.context.run(unit.operation, connection)
        except BaseException as error:
            unit.error = translate_error(error) if isinstance(error, sqlite3.Error) else error
            if not connection.in_transaction:
                raise _GroupLost from error
            connection.execute("ROLLBACK TO unit")
        connection.execute("RELEASE unit")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _failure(error: Exception) -> StoreError:
    if isinstance(error, sqlite3.Error):
        return translate_commit_error(error)
    return StoreUnavailable("the transaction was lost together with one that failed")
