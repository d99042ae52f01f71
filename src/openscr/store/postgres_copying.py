"""A PostgreSQL store read out whole, or filled with what another store holds.

Spec: engine.md level 1.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final, Self

import asyncpg

from openscr.errors import ConfigurationError, StoreError
from openscr.store.copying import Access, Row
from openscr.store.migrations import SERVICE, Schema, postgres_script
from openscr.store.postgres_connection import Connection, read_place
from openscr.store.postgres_errors import CONNECTION_ERRORS, translate_commit_error, translate_error
from openscr.store.postgres_preparation import explain, open_connection, prepare_database, read_revision
from openscr.store.tables import TABLES, Table

_LONGEST_SECONDS: Final = 3600.0
"""For one statement: counting the rows of a large table takes minutes."""


class PostgresCopy:
    """A connection to the database of a URL, for as long as the ``async with`` lasts.

    Only one that is filled may be empty.
    """

    engine = "PostgreSQL"

    def __init__(self, url: str, access: Access, schema: Schema = SERVICE) -> None:
        self._place = read_place(url)
        self._access = access
        self._schema = schema
        self._connection: Connection

    async def __aenter__(self) -> Self:
        """Connect. Raises: `ConfigurationError`, `StoreUnavailable`."""
        self._connection = await open_connection(self._place)
        try:
            await self._connection.execute("SET idle_in_transaction_session_timeout = 0; SET jit = off")
            if await self.revision() is not None:
                await self._begin()
        except CONNECTION_ERRORS as error:
            self._connection.terminate()
            raise explain(error, self._place) from error
        except BaseException:
            self._connection.terminate()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the connection, and of what it holds."""
        self._connection.terminate()

    async def _begin(self) -> None:
        if self._access is not Access.FILL:
            snapshot = self._access is Access.SNAPSHOT
            await self._connection.transaction(isolation="repeatable_read", readonly=snapshot).start()
        if self._access is Access.ALONE:
            # Before anything is read: the state is the one of the first look.
            tables = ", ".join(table.name for table in TABLES)
            try:
                await self._connection.execute(f"LOCK TABLE {tables} IN EXCLUSIVE MODE")
            except asyncpg.LockNotAvailableError as error:
                raise ConfigurationError(
                    f"the store {self._place.name} is being written to; stop the service first"
                ) from error

    # --- reading ---

    async def fetch(self, query: str) -> list[Row]:
        """Return all rows of a query."""
        try:
            return [tuple(row) for row in await self._connection.fetch(query, timeout=_LONGEST_SECONDS)]
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def stream(self, query: str, at_a_time: int) -> AsyncIterator[list[Row]]:
        """Return the rows of a query, some at a time."""
        inside = self._connection.is_in_transaction()
        transaction = None if inside else self._connection.transaction(isolation="repeatable_read", readonly=True)
        try:
            if transaction is not None:
                await transaction.start()
            cursor = await self._connection.cursor(query, timeout=_LONGEST_SECONDS)
            while rows := await cursor.fetch(at_a_time, timeout=_LONGEST_SECONDS):
                yield [tuple(row) for row in rows]
            if transaction is not None:
                await transaction.rollback()
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def revision(self) -> str | None:
        """Return the revision of the schema, none for an empty database. Raises: `ConfigurationError`."""
        try:
            return await read_revision(self._connection, self._schema)
        except CONNECTION_ERRORS as error:
            raise explain(error, self._place) from error

    async def now(self) -> datetime:
        """Return the time by the server's clock."""
        try:
            found: datetime = await self._connection.fetchval("SELECT now()")
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error
        return found

    async def identity(self) -> str:
        """Return which database of which server this is."""
        ((cluster, database),) = await self.fetch(
            "SELECT system_identifier, oid FROM pg_control_system(), pg_database WHERE datname = current_database()"
        )
        return f"{cluster}/{database}"

    # --- writing ---

    async def create(self, revision: str) -> None:
        """Make the tables of a revision in the empty database. Raises: `ConfigurationError`."""
        if revision == self._schema.head:
            await prepare_database(self._place, migrate=True, schema=self._schema)
            return
        script = await asyncio.to_thread(postgres_script, "base", revision, self._schema.scripts)
        try:
            async with self._connection.transaction():
                await self._connection.execute(script, timeout=_LONGEST_SECONDS)
        except CONNECTION_ERRORS as error:
            raise explain(error, self._place) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All that is written within it is there afterwards, durably, or nothing."""
        transaction = self._connection.transaction()
        try:
            await transaction.start()
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error
        try:
            yield
        except BaseException:
            try:
                await transaction.rollback()
            except CONNECTION_ERRORS:
                self._connection.terminate()
            raise
        try:
            await transaction.commit()
        except CONNECTION_ERRORS as error:
            raise translate_commit_error(error) from error

    async def execute(self, statement: str) -> int:
        """Run a statement; return how many rows it changed."""
        try:
            status: str = await self._connection.execute(statement, timeout=_LONGEST_SECONDS)
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error
        count = status.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows. Raises: `StoreError` when the engine cannot hold one of them."""
        try:
            await self._connection.copy_records_to_table(
                table.name, records=rows, columns=table.columns, timeout=_LONGEST_SECONDS
            )
        except (asyncpg.DataError, ValueError, TypeError, OverflowError) as error:
            # Neither the engine's words nor the driver's may be repeated: they quote the row.
            raise StoreError(
                f"a row of table {table.name} holds what PostgreSQL cannot keep (such as a NUL in a text);"
                " `openscr admin verify` on the original tells whether it is damaged"
            ) from error
        except CONNECTION_ERRORS as error:
            raise translate_error(error) from error

    async def tidy(self) -> None:
        """Let the planner know what the tables hold now."""
        await self.execute("ANALYZE")
