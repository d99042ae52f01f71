"""A SQLite store read out whole, or filled with what another store holds.

Spec: engine.md level 0.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from pathlib import Path
from typing import Final, Self, TypeVar

from openscr.errors import ConfigurationError
from openscr.identifiers import utc_now
from openscr.store.copying import Access, Row
from openscr.store.migrations import SERVICE, Schema
from openscr.store.sqlite_connection import (
    connect,
    prepare_database,
    read_revision,
    translate_commit_error,
    translate_error,
)
from openscr.store.sqlite_file import BUSY_SECONDS
from openscr.store.tables import Table

T = TypeVar("T")

_BEGINS: Final = {Access.SNAPSHOT: "BEGIN", Access.ALONE: "BEGIN IMMEDIATE"}


class SqliteCopy:
    """A connection to the file ``path``, for as long as the ``async with`` lasts.

    Only one that is filled may be new or empty.
    """

    engine = "SQLite"

    def __init__(self, path: Path, access: Access, schema: Schema = SERVICE) -> None:
        self.path = path
        self._access = access
        self._schema = schema
        # None as long as the file is not there or empty.
        self._connection: sqlite3.Connection | None = None

    async def __aenter__(self) -> Self:
        """Open the file. Raises: `ConfigurationError`, `StoreUnavailable`."""
        if self._access is not Access.FILL and not self.path.is_file():
            raise ConfigurationError(f"the store {self.path} does not exist; name the file of one that is there")
        await asyncio.to_thread(self._open)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the file."""
        if self._connection is not None:
            await asyncio.to_thread(self._connection.close)

    def _open(self) -> None:
        if not self.path.is_file():
            return
        try:
            # A file of another kind must stay as it is.
            with closing(connect(self.path, BUSY_SECONDS, read_only=True)) as connection:
                revision = read_revision(connection, self._schema)
            if revision is not None:
                self._connect()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                raise ConfigurationError(
                    f"the store {self.path} is not a SQLite database; name another file"
                ) from error
            raise translate_error(error) from error

    def _connect(self) -> None:
        self._connection = connect(self.path, BUSY_SECONDS, read_only=self._access is Access.SNAPSHOT)
        if self._access in _BEGINS:
            self._connection.execute(_BEGINS[self._access])
            # The state that is read is the one of the first look.
            self._connection.execute("SELECT 1 FROM sqlite_master").fetchone()

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        if connection is None:
            raise ConfigurationError(f"the store {self.path} is empty; create its schema first")

        def run() -> T:
            try:
                return work(connection)
            except sqlite3.Error as error:
                raise translate_error(error) from error

        return await asyncio.to_thread(run)

    # --- reading ---

    async def fetch(self, query: str) -> list[Row]:
        """Return all rows of a query."""
        return await self._run(lambda connection: connection.execute(query).fetchall())

    async def stream(self, query: str, at_a_time: int) -> AsyncIterator[list[Row]]:
        """Return the rows of a query, some at a time."""
        cursor = await self._run(lambda connection: connection.execute(query))
        while rows := await self._run(lambda _: cursor.fetchmany(at_a_time)):
            yield rows

    async def revision(self) -> str | None:
        """Return the revision of the schema, none for an empty file. Raises: `ConfigurationError`."""
        if self._connection is None:
            return None
        return await self._run(lambda connection: read_revision(connection, self._schema))

    async def now(self) -> datetime:
        """Return the time of this machine: the file has no clock of its own."""
        return utc_now()

    async def identity(self) -> str:
        """Return which file this is."""
        return str(await asyncio.to_thread(self.path.resolve))

    # --- writing ---

    async def create(self, revision: str) -> None:
        """Make the tables of a revision in the empty file."""
        await asyncio.to_thread(self._create, revision)

    def _create(self, revision: str) -> None:
        prepare_database(self.path, BUSY_SECONDS, migrate=True, schema=self._schema, revision=revision)
        try:
            self._connect()
        except sqlite3.Error as error:
            raise translate_error(error) from error

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """All that is written within it is on disk afterwards, or nothing is there."""
        await self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            await self._run(_roll_back)
            raise
        await self._run(_commit)

    async def execute(self, statement: str) -> int:
        """Run a statement; return how many rows it changed."""
        return await self._run(lambda connection: connection.execute(statement).rowcount)

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows."""
        values = ", ".join("?" * len(table.columns))
        statement = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES ({values})"  # noqa: S608
        await self._run(lambda connection: connection.executemany(statement, rows))

    async def tidy(self) -> None:
        """Write what the log holds back to the file."""
        await self.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        raise translate_commit_error(error) from error
