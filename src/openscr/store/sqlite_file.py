"""One SQLite file that is a store: opened and brought up to date, written by one connection, read by others.

Invariant: `open` leaves the file with the schema of this program, or as it was.

Spec: engine.md level 0; architecture.md "Concurrency"; 90 §6.1.
"""

import asyncio
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from openscr.errors import ConfigurationError, OutcomeUnknown, StoreError, StoreUnavailable
from openscr.store import statements
from openscr.store.group_commit import GroupCommitWriter
from openscr.store.migrations import SERVICE, Schema
from openscr.store.sqlite_connection import STATEMENT_ERRORS, connect, prepare_database, read_revision, translate_error

T = TypeVar("T")

BUSY_SECONDS: Final = 4.0
"""How long a group waits for another program's write; callers of the service are promised an answer within 5 s."""


class SqliteFile:
    """What the stores in SQLite files have in common.

    With ``migrate`` the file and its schema are made or brought up to date when the store opens; without, an outdated
    schema is a `ConfigurationError`. ``busy_timeout`` is in seconds. A store belongs to the event loop that opened it.
    """

    schema: Schema = SERVICE

    def __init__(self, path: str | Path, *, migrate: bool = True, busy_timeout: float = BUSY_SECONDS) -> None:
        self.path = Path(path)
        self._migrate = migrate
        self._busy_timeout = busy_timeout
        self._writer: GroupCommitWriter | None = None
        self._file = (0, 0)
        # Whether a transaction failed for a reason of the store, and no large write has succeeded since.
        self._refused = False

    async def open(self) -> None:
        """Check the file, bring its schema up to date, be ready. Raises: `ConfigurationError`, `StoreUnavailable`."""
        if self._writer is not None:
            return
        await asyncio.to_thread(
            prepare_database,
            self.path,
            self._busy_timeout,
            migrate=self._migrate,
            schema=self.schema,
            before_change=self._before_change,
        )
        writer = GroupCommitWriter(lambda: connect(self.path, 0), patience=self._busy_timeout, check=self._check_file)
        try:
            await writer.start()
        except sqlite3.Error as error:
            raise ConfigurationError(f"the store {self.path} cannot be opened: {translate_error(error)}") from error
        self._file = _file_at(self.path)
        self._writer = writer

    def _before_change(self, connection: sqlite3.Connection, revision: str) -> None:
        """See that a schema may be changed, now that it is this revision's. Raises: `ConfigurationError`."""

    async def close(self) -> None:
        """Finish what was accepted, then let go of the file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            await writer.stop()

    async def current_revision(self) -> str | None:
        """Return the revision of the file's schema, none while there is none; the store need not be open."""
        if not await asyncio.to_thread(self.path.is_file):
            return None
        return await self._report(lambda connection: read_revision(connection, self.schema))

    def head_revision(self) -> str:
        """Return the revision of the schema that this program needs."""
        return self.schema.head

    async def writable(self) -> bool:
        """Whether the store takes writes now; found out by writing.

        After a transaction that was refused a little write proves nothing: then it is as large as a big message.
        """
        try:
            if self._refused:
                await self._write(lambda connection: connection.execute(statements.PROBE_LARGE))
                await self._write(lambda connection: connection.execute(statements.PROBE_LARGE_END))
                self._refused = False
            else:
                await self._write(lambda connection: connection.execute(statements.PROBE))
        except StoreError:
            return False
        return True

    async def _transact(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Write, and remember when the store was to blame for a failure."""
        try:
            return await self._write(operation)
        except (StoreUnavailable, OutcomeUnknown):
            self._refused = True
            raise

    async def _write(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        return await self._writer.run(operation)

    def _check_file(self) -> None:
        """See that the file that is open still has its name. Raises: `StoreUnavailable`: what is kept would be lost."""
        if _file_at(self.path) != self._file:
            raise StoreUnavailable("the store's file was removed or replaced: put it back, or start again")

    async def _report(self, read: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is not None:
            self._check_file()

        def run() -> T:
            try:
                with closing(connect(self.path, self._busy_timeout, read_only=True)) as connection:
                    return read(connection)
            except STATEMENT_ERRORS as error:
                raise translate_error(error) from error

        return await asyncio.to_thread(run)


def _file_at(path: Path) -> tuple[int, int]:
    """Return which file has a name: its device and number, zeros for none."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)
