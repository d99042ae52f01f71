"""A SQLite store read out whole, or filled with what another store holds.

Spec: engine.md level 0.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar

import msgspec

from openscr.errors import ConfigurationError
from openscr.identifiers import utc_now
from openscr.store.copying import NOT_TEXT, Access, Row
from openscr.store.migrations import SERVICE, Schema
from openscr.store.rows import bytes_as_stored, text_as_stored
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
        """Return the rows of a query, some at a time; a text that is none comes as the bytes that are stored."""
        given, damaged = 0, False
        cursor = await self._run(lambda connection: connection.execute(query))
        while True:
            try:
                rows = await self._run(partial(_take, cursor, at_a_time))
            except _NotText:
                # From here on every text is looked at. The order is the same: nothing was written meanwhile.
                damaged = True
                cursor = await self._run(partial(_start_again, query, given))
                continue
            if not rows:
                break
            given += len(rows)
            yield [_with_bytes(row) for row in rows] if damaged else rows
        if damaged:
            await self._run(_read_texts)

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
        await self._run(lambda connection: insert_rows(connection, table, rows))

    async def tidy(self) -> None:
        """Write what the log holds back to the file."""
        await self.execute("PRAGMA wal_checkpoint(TRUNCATE)")


class _NotText(Exception):
    """A text in the database is not UTF-8."""


def _take(cursor: sqlite3.Cursor, count: int, _: sqlite3.Connection) -> list[Row]:
    try:
        return cursor.fetchmany(count)
    except sqlite3.OperationalError as error:
        # An error of the driver itself.
        if getattr(error, "sqlite_errorcode", None) is None:
            raise _NotText from error
        raise


def _start_again(query: str, skipped: int, connection: sqlite3.Connection) -> sqlite3.Cursor:
    connection.text_factory = text_as_stored
    cursor = connection.execute(query)
    for _ in range(skipped):
        cursor.fetchone()
    return cursor


def _read_texts(connection: sqlite3.Connection) -> None:
    connection.text_factory = str


def _with_bytes(row: Row) -> Row:
    return tuple(_as_bytes(value) if isinstance(value, str) and not value.isascii() else value for value in row)


def _as_bytes(text: str) -> str | msgspec.msgpack.Ext:
    try:
        text.encode()
    except UnicodeEncodeError:
        return msgspec.msgpack.Ext(NOT_TEXT, bytes_as_stored(text))
    return text


def insert_rows(connection: sqlite3.Connection, table: Table, rows: Sequence[Row]) -> None:
    """Write rows; the bytes of a text that is none are written as they were. Raises: `sqlite3.Error`."""
    start = f"INSERT INTO {table.name} ({', '.join(table.columns)}) VALUES"
    damaged = [row for row in rows if any(isinstance(value, msgspec.msgpack.Ext) for value in row)]
    whole = [row for row in rows if row not in damaged] if damaged else rows
    connection.executemany(f"{start} ({', '.join('?' * len(table.columns))})", whole)
    for row in damaged:
        places = ("CAST(? AS TEXT)" if isinstance(value, msgspec.msgpack.Ext) else "?" for value in row)
        values = [value.data if isinstance(value, msgspec.msgpack.Ext) else value for value in row]
        connection.execute(f"{start} ({', '.join(places)})", values)


def _roll_back(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _commit(connection: sqlite3.Connection) -> None:
    try:
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        _roll_back(connection)
        raise translate_commit_error(error) from error
