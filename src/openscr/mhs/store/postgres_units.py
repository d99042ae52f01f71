"""Units of work on PostgreSQL: run within a time, begun anew when the server was lost, and never left in doubt.

Invariants:

* Every unit has ended, well or badly, within `PATIENCE` and, when the server was lost as it committed, another
  `SETTLING` seconds. While the server is known to be lost, one unit at a time finds out whether it is back; all others
  are refused at once.
* A transaction that writes leaves its token in the same COMMIT. Whoever was not told how a COMMIT ended puts the token
  there himself: either he finds it, and the transaction has committed, or it can never commit any more, wherever its
  bytes may still be on their way. Then it is begun anew.

Spec: engine.md "What the protocol layer does with it"; 50 E2, E5.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from openscr.errors import OutcomeUnknown, StoreUnavailable
from openscr.mhs.store import postgres_statements as statements
from openscr.mhs.store.encryption import Sealing
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.postgres_transaction import PostgresTransaction, mint_token
from openscr.store.postgres_connection import Connection, Connections, Place
from openscr.store.postgres_errors import CONNECTION_ERRORS, sqlstate_of, translate_commit_error, translate_error

T = TypeVar("T")

PATIENCE: Final = 2.5
"""Seconds that a unit may take, a new beginning included: whoever asks the adaptor has an answer within 5 s, and an
answer may need two units."""

SETTLING: Final = 1.0
"""Seconds more, to find out how a COMMIT ended; and for the one who finds out whether a lost server is back."""

WAITING_LIMIT: Final = 2048
"""Units at work and waiting for a connection; more are refused rather than kept in memory."""

_PAUSE: Final = 0.05
"""Seconds before a unit begins anew."""

_ROLLBACK: Final = 0.5
"""Seconds for a transaction to be rolled back; after that its connection is closed instead."""

_NOTHING: Final = "INSERT 0 0"
"""What the server says of a token that was not left."""

_COLLIDED: Final = frozenset({"40001", "40P01"})
_LOST: Final = frozenset({"25006", "25P03", "57P01", "57P02", "57P03", "57P05", "XX000"})
"""SQLSTATEs after which another connection may do better."""


def _is_loss(error: BaseException) -> bool:
    """Whether an error means that the server is gone, or is no longer the one that takes writes."""
    state = sqlstate_of(error)
    if state:
        return state in _LOST or state.startswith("08")
    # What the driver itself says of a value is no loss.
    return not isinstance(error, (asyncpg.DataError, UnicodeEncodeError))


class _Unreachable(Exception):
    """The time of a unit is over, and the server was not to be had: ``meaning`` is what its caller is told."""

    def __init__(self, meaning: StoreUnavailable) -> None:
        super().__init__()
        self.meaning = meaning


@dataclass(slots=True)
class _End:
    """How far an attempt has come: with a ``token`` its COMMIT is on its way, and then ``result`` is what it gives."""

    token: UUID | None = None
    result: Any = None


_Unit = Callable[[Connection, _End], Awaitable[T]]


class Units:
    """Runs units of work on the connections to one place. ``patience`` is seconds."""

    def __init__(self, place: Place, sealing: Sealing, patience: float = PATIENCE) -> None:
        self._connections = Connections(place, preparation=statements.PREPARATION)
        self._sealing = sealing
        self._patience = patience
        self._trouble: StoreUnavailable | None = None
        self._probing = False
        self._active = 0
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()

    async def close(self) -> None:
        """Finish what was accepted, refuse what comes, and close every connection."""
        self._closing = True
        await self._idle.wait()
        await self._connections.close()

    async def run(self, unit: Callable[[Connection], Awaitable[T]]) -> T:
        """Run a unit that does no harm when it is done twice. Raises: `StoreError`, and what ``unit`` raises."""
        return await self._run(lambda connection, _: unit(connection))

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction; return its result once that is durable. Raises as `run`."""

        async def unit(connection: Connection, end: _End) -> T:
            together = self._connections.keeps_quiet(connection)
            transaction = PostgresTransaction(connection, self._sealing, together=together)
            result = end.result = await work(transaction)
            end.token = mint_token() if await transaction.write_audit() else None
            await transaction.commit(end.token)
            return result

        return await self._run(unit)

    async def change(self, statement: str, *values: object) -> bool:
        """Run a statement that leaves the token, its last value, if and only if it changes something; tell whether."""

        async def unit(connection: Connection, end: _End) -> bool:
            end.result = True
            end.token = mint_token()
            return str(await connection.execute(statement, *values, end.token)) != _NOTHING

        return await self._run(unit)

    async def snapshot(self, read: Callable[[Connection], Awaitable[T]]) -> T:
        """Run what reads much, in several steps that all see the same moment; it has the time that it needs.

        Raises: `StoreError`, and what ``read`` raises.
        """
        with self._accepted():
            try:
                connection = await self._acquire(asyncio.get_running_loop().time() + self._patience)
                try:
                    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    result = await read(connection)
                    await connection.execute("COMMIT")
                except BaseException as error:
                    await self._let_go(connection, error)
                    raise
            except CONNECTION_ERRORS as error:
                raise translate_error(error) from error
            self._connections.release(connection)
            return result

    @contextmanager
    def _accepted(self) -> Iterator[None]:
        """Count a unit. Raises: `StoreUnavailable`."""
        if self._closing:
            raise StoreUnavailable("the store is closed")
        if self._active >= WAITING_LIMIT:
            raise StoreUnavailable("too many requests wait for the database")
        self._active += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._active -= 1
            if not self._active:
                self._idle.set()

    # --- whether the server is there --------------------------------------------------------------------------------

    async def _run(self, unit: _Unit[T]) -> T:
        probe = self._trouble is not None
        if self._trouble is not None and self._probing:
            raise StoreUnavailable(self._trouble.diagnostics)
        if probe:
            self._probing = True
        try:
            with self._accepted():
                result = await self._run_in_time(unit, min(SETTLING, self._patience) if probe else self._patience)
        except _Unreachable as error:
            self._trouble = error.meaning
            self._connections.drop_idle()
            raise error.meaning from error.__cause__
        except OutcomeUnknown as error:
            self._trouble = StoreUnavailable(error.diagnostics)
            self._connections.drop_idle()
            raise
        finally:
            if probe:
                self._probing = False
        self._trouble = None
        return result

    async def _run_in_time(self, unit: _Unit[T], seconds: float) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while True:
            end = _End()
            try:
                return await self._attempt(unit, end, deadline)
            except CONNECTION_ERRORS as failed:
                error = failed
            if end.token is not None and await self._has_committed(end.token, error):
                result: T = end.result
                return result
            collided = sqlstate_of(error) in _COLLIDED
            meaning = translate_error(error)
            if not (collided or _is_loss(error)):
                raise meaning from error
            if loop.time() + _PAUSE >= deadline:
                if collided or not isinstance(meaning, StoreUnavailable):
                    raise meaning from error
                raise _Unreachable(meaning) from error
            if not collided:
                self._connections.drop_idle()
                await asyncio.sleep(_PAUSE)

    # --- one attempt ------------------------------------------------------------------------------------------------

    async def _attempt(self, unit: _Unit[T], end: _End, deadline: float) -> T:
        connection = await self._acquire(deadline)
        try:
            async with asyncio.timeout_at(deadline):
                result = await unit(connection, end)
        except BaseException as error:
            if sqlstate_of(error) and not _is_loss(error) and connection.is_in_transaction():
                # The server refused something before it came to the COMMIT. (Of a lost one this would be old news.)
                end.token = None
            await self._let_go(connection, error)
            raise
        self._connections.release(connection)
        return result

    async def _acquire(self, deadline: float) -> Connection:
        try:
            return await self._connections.acquire(deadline)
        except StoreUnavailable as error:
            if isinstance(error.__cause__, CONNECTION_ERRORS):
                raise error.__cause__ from None
            raise

    async def _let_go(self, connection: Connection, error: BaseException) -> None:
        """Give a connection back after an error, rolled back; or close it, if it is not known how it is."""
        broken = isinstance(error, asyncio.CancelledError) or (isinstance(error, CONNECTION_ERRORS) and _is_loss(error))
        try:
            if not broken and connection.is_in_transaction():
                async with asyncio.timeout(_ROLLBACK):
                    await connection.execute("ROLLBACK")
        except BaseException as failure:
            broken = True
            if not isinstance(failure, CONNECTION_ERRORS):
                raise
        finally:
            if broken:
                connection.terminate()
            self._connections.release(connection)

    # --- a COMMIT without a word ------------------------------------------------------------------------------------

    async def _has_committed(self, token: UUID, cause: BaseException) -> bool:
        """Whether a transaction has committed; if not, it never will. Raises: `OutcomeUnknown`: nobody could say."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLING

        async def ask(connection: Connection, _: _End) -> bool:
            await connection.execute(statements.GIVE_UP, token)
            return bool(await connection.fetchval(statements.HAS_COMMITTED, token))

        if _is_loss(cause):
            self._connections.drop_idle()
        while True:
            try:
                return await self._attempt(ask, _End(), deadline)
            except (*CONNECTION_ERRORS, StoreUnavailable):
                if loop.time() + _PAUSE >= deadline:
                    raise translate_commit_error(cause) from cause
                await asyncio.sleep(_PAUSE)
