"""One PostgreSQL database that is a store: opened and brought up to date, its units of work run on a few connections.

Invariants: a unit ends by its deadline, whatever the server does; a connection whose unit failed in any other way than
by the unit's own doing is never used again; what was accepted before `close` is finished, what comes later is refused.

Spec: engine.md level 1, "What the protocol layer does with it"; 40 §8.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from openscr.errors import OutcomeUnknown, StoreError, StoreUnavailable
from openscr.store import postgres_statements as statements
from openscr.store.migrations import SERVICE, Schema
from openscr.store.postgres_connection import PATIENCE, POOL_SIZE, Connection, Connections, read_place
from openscr.store.postgres_errors import CONNECTION_ERRORS, sqlstate_of, translate_commit_error, translate_error
from openscr.store.postgres_preparation import open_connection, prepare_database, read_revision

T = TypeVar("T")

Operation = Callable[[Connection], Awaitable[T]]

_STANDBY: Final = "25006"
_PADDING: Final = random.Random(0).randbytes(65536)  # noqa: S311 nothing secret
"""Bytes that the server cannot make fewer of: they need as much room as they are long."""
_LONG_READING: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout TO '600s';"
    " SET LOCAL plan_cache_mode TO auto"
)

REPORT_SECONDS: Final = 60.0
"""Seconds that a list may take, once there is a connection for it."""


def count_of(status: str) -> int:
    """Return the number of rows that a statement touched, from what the server said of it (``UPDATE 3``)."""
    return int(status.rpartition(" ")[2])


class PostgresDatabase:
    """What the stores in PostgreSQL databases have in common.

    With ``migrate`` the schema is made or brought up to date when the store opens; without, an outdated one is a
    `ConfigurationError`. A store belongs to the event loop that opened it.
    """

    schema: Schema = SERVICE
    preparation = ""
    """Statements that every connection begins with."""

    patience = PATIENCE
    """Seconds that a unit of work may take, with what it waits for."""

    def __init__(self, url: str, *, migrate: bool = True) -> None:
        self.place = read_place(url)
        self._migrate = migrate
        self._connections: Connections | None = None
        self._active = 0
        self._idle: asyncio.Future[None] | None = None
        # Whether a transaction failed for a reason of the store, and no large write has succeeded since.
        self._refused = False

    async def open(self) -> None:
        """Check the database, bring its schema up to date, be ready.

        Raises: `ConfigurationError`, `StoreUnavailable`.
        """
        if self._connections is not None:
            return
        await prepare_database(self.place, migrate=self._migrate, schema=self.schema, before_change=self._before_change)
        self._connections = Connections(self.place, preparation=self.preparation)

    async def _before_change(self, connection: Connection, revision: str) -> None:
        """See that a schema may be changed, now that it is this revision's. Raises: `ConfigurationError`."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of every connection."""
        connections, self._connections = self._connections, None
        if connections is None:
            return
        if self._active:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
            self._idle = None
        await connections.close()

    async def current_revision(self) -> str | None:
        """Return the revision of the database's schema, none while there is none; the store need not be open."""
        connection = await open_connection(self.place)
        try:
            return await read_revision(connection, self.schema)
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error
        finally:
            connection.terminate()

    def head_revision(self) -> str:
        """Return the revision of the schema that this program needs."""
        return self.schema.head

    async def writable(self) -> bool:
        """Whether the store takes writes now; found out by writing.

        After a transaction that was refused a little write proves nothing: then it is as large as a big message.
        """
        try:
            if self._refused:
                await self._execute(statements.PROBE_LARGE, _PADDING)
                await self._execute(statements.PROBE_LARGE, None)
                self._refused = False
            else:
                await self._execute(statements.PROBE)
        except StoreError:
            return False
        return True

    # --- units of work ----------------------------------------------------------------------------------------------

    async def _fetch(self, statement: str, *values: Any) -> list[Any]:
        return list(await self._once(lambda connection: connection.fetch(statement, *values), again=True))

    async def _execute(self, statement: str, *values: Any, again: bool = True) -> str:
        """Run a statement; with ``again`` it may be run twice: the second time changes nothing."""
        return str(await self._once(lambda connection: connection.execute(statement, *values), again=again))

    async def _once(self, operation: Operation[T], patience: float | None = None, *, again: bool = False) -> T:
        """Run what is no transaction, or one by itself. Raises: `StoreError`.

        With ``again`` it is run anew when the connection had ended, as every one does when a server starts again.
        """
        until, tries = asyncio.get_running_loop().time() + (patience or self.patience), 0
        while True:
            async with self._borrowed(until - asyncio.get_running_loop().time()) as connection:
                try:
                    return await operation(connection)
                except CONNECTION_ERRORS as error:
                    tries += 1
                    late = asyncio.get_running_loop().time() >= until
                    if not again or late or tries > POOL_SIZE or not connection.is_closed():
                        raise self._translated(error) from error

    async def _report(self, operation: Operation[T], patience: float = REPORT_SECONDS) -> T:
        """Run what reads much, against one consistent state. Raises: `StoreError`."""

        async def read(connection: Connection) -> T:
            await connection.execute(_LONG_READING)
            return await operation(connection)

        return await self._in_transaction(read, patience=patience)

    async def _in_transaction(
        self,
        work: Operation[T],
        *,
        patience: float | None = None,
    ) -> T:
        """Run ``work`` in a transaction; return its result once that is durable.

        Raises: what ``work`` raises, with nothing stored; `StoreUnavailable`, `OutcomeUnknown`.
        """
        async with self._borrowed(patience or self.patience) as connection:
            try:
                await connection.execute("BEGIN")
                result = await work(connection)
            except BaseException as error:
                await self._give_up(connection, error)
                raise
            await self._commit(connection, lambda: connection.execute("COMMIT"))
        return result

    async def _give_up(self, connection: Connection, error: BaseException) -> None:
        """Leave nothing of a transaction that has failed. Raises: `StoreError` in the place of the driver's errors."""
        if isinstance(error, asyncio.CancelledError):
            # Who gives up does not wait for the server's word, which may never come.
            connection.terminate()
            return
        await self._roll_back(connection)
        if isinstance(error, CONNECTION_ERRORS):
            raise self._translated(error) from error
        if isinstance(error, StoreUnavailable):
            self._refused = True

    async def _commit(self, connection: Connection, commit: Callable[[], Awaitable[str]]) -> None:
        """Commit. Raises: `OutcomeUnknown` when nobody can tell what became of it; `StoreError`: nothing is stored."""
        try:
            status = await commit()
        except CONNECTION_ERRORS as error:
            if not connection.is_closed() and connection.is_in_transaction():
                # The server has refused one of the statements before the COMMIT.
                await self._give_up(connection, error)
            self._refused = True
            raise translate_commit_error(error) from error
        if status != "COMMIT":
            # A statement had failed, and ``work`` made nothing of it: the server has rolled all of it back.
            raise StoreError("a statement of the transaction had failed")

    async def _roll_back(self, connection: Connection) -> None:
        try:
            await connection.execute("ROLLBACK")
        except CONNECTION_ERRORS:
            connection.terminate()
        except asyncio.CancelledError:
            connection.terminate()
            raise

    def _translated(self, error: BaseException) -> StoreError:
        translated = translate_error(error)
        if isinstance(translated, (StoreUnavailable, OutcomeUnknown)):
            self._refused = True
        if sqlstate_of(error) == _STANDBY and self._connections is not None:
            # After a fail-over the others lead to the same server.
            self._connections.drop_idle()
        return translated

    @asynccontextmanager
    async def _borrowed(self, patience: float) -> AsyncIterator[Connection]:
        """Lend a connection; it is cut when the unit has not ended after ``patience`` seconds."""
        connections = self._accept()
        try:
            loop = asyncio.get_running_loop()
            connection = await connections.acquire(loop.time() + min(patience, self.patience))
            alarm = loop.call_later(patience, connection.terminate)
            try:
                yield connection
            except asyncio.CancelledError:
                connection.terminate()
                raise
            finally:
                alarm.cancel()
                connections.release(connection)
        finally:
            self._finish()

    def _accept(self) -> Connections:
        """Count a unit among those that are under way. Raises: `StoreUnavailable`."""
        if self._connections is None:
            raise StoreUnavailable("the store is not open")
        self._active += 1
        return self._connections

    def _finish(self) -> None:
        self._active -= 1
        if not self._active and self._idle is not None:
            self._idle.set_result(None)
