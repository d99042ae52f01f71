"""SQLite connections as the store needs them, and what SQLite's errors mean here.

Invariant of the writing connection: a commit that returned is on disk (WAL, ``synchronous=FULL``).

Spec: 90 §6.1; architecture.md "Concurrency".
"""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from openscr.errors import ConfigurationError, Conflict, OutcomeUnknown, StoreError, StoreFull, StoreUnavailable
from openscr.store.migrations import SERVICE, UNFINISHED, Schema, unfinished, upgrade_sqlite
from openscr.store.rows import refused_text

_CACHE_KIB: Final = 32 * 1024
_OPENING_SECONDS: Final = 5.0
_AGAIN_SECONDS: Final = 0.01
_OLDEST_ENGINE: Final = (3, 37, 0)
_PAGE_BYTES: Final = 8192
_WAL_PAGES: Final = 2000
_WAL_BYTES: Final = 64 * 1024 * 1024
_PRIMARY_CODE: Final = 0xFF

_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY: "another program holds the database",
    sqlite3.SQLITE_LOCKED: "another program holds the database",
    sqlite3.SQLITE_FULL: "no space left for the database",
    sqlite3.SQLITE_READONLY: "the database cannot be written",
    sqlite3.SQLITE_IOERR: "the disk under the database fails",
    sqlite3.SQLITE_CANTOPEN: "a file of the database cannot be opened",
    sqlite3.SQLITE_NOMEM: "out of memory",
    sqlite3.SQLITE_CORRUPT: "the database file is damaged",
    sqlite3.SQLITE_NOTADB: "the database file is damaged",
    sqlite3.SQLITE_PERM: "the database cannot be written",
    sqlite3.SQLITE_INTERRUPT: "the statement was interrupted",
}
_REFUSED: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM})
_EXISTS: Final = frozenset({sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE})


def _code(error: sqlite3.Error) -> int:
    # Errors of the driver itself (a closed connection, a wrong number of values) carry no code.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)


STATEMENT_ERRORS: Final = (sqlite3.Error, UnicodeEncodeError)
"""Everything that a statement raises; the second is for a text that is none."""


def translate_error(error: sqlite3.Error | UnicodeEncodeError) -> StoreError:
    """Return what an error of a statement means. Decided by code; the engine's text is not repeated."""
    if isinstance(error, UnicodeEncodeError):
        return refused_text()
    code = _code(error)
    if code in _EXISTS:
        return Conflict("a row with this key exists already")
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return StoreError("the row refers to a receipt that does not exist: keep the receipt first")
    if (meaning := _UNAVAILABLE.get(code & _PRIMARY_CODE)) is not None:
        kind = StoreFull if code & _PRIMARY_CODE in _REFUSED else StoreUnavailable
        return kind(f"{meaning} ({getattr(error, 'sqlite_errorname', 'no code')})")
    return StoreError(f"the database refused a statement ({getattr(error, 'sqlite_errorname', 'no code')})")


def translate_commit_error(error: sqlite3.Error) -> StoreError:
    """Return what an error at COMMIT means: nothing stored, or nobody knows.

    When the disk fails after the commit record was written (at the sync), a later start may still find the record.
    """
    code, name = _code(error), getattr(error, "sqlite_errorname", "no code")
    if code & _PRIMARY_CODE == sqlite3.SQLITE_IOERR and code != sqlite3.SQLITE_IOERR_WRITE:
        return OutcomeUnknown(f"the disk failed while a commit was written ({name})")
    meaning = _UNAVAILABLE.get(code & _PRIMARY_CODE, "the transaction could not be committed")
    kind = StoreFull if code & _PRIMARY_CODE in _REFUSED else StoreUnavailable
    return kind(f"{meaning} ({name})")


def connect(path: Path, busy_timeout: float, *, read_only: bool = False) -> sqlite3.Connection:
    """Return a connection in autocommit mode; ``busy_timeout`` in seconds. Raises: `sqlite3.Error`."""
    # Whatever is asked of it later, opening is patient: another program that opens the same file holds it for a moment.
    patience = max(busy_timeout, _OPENING_SECONDS)
    connection = sqlite3.connect(path, timeout=patience, isolation_level=None, check_same_thread=False)
    try:
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            _write_ahead(connection, patience)
            connection.execute("PRAGMA synchronous = FULL")
            # Without effect but on macOS, where a plain fsync leaves data in the drive's cache.
            connection.execute("PRAGMA fullfsync = ON")
            connection.execute("PRAGMA foreign_keys = ON")
            # What a savepoint would restore stays out of temporary files: faster, and nobody's data on another disk.
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # Pages that several groups change are then written back to the file once.
            connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
            connection.execute(f"PRAGMA journal_size_limit = {_WAL_BYTES}")
        connection.execute(f"PRAGMA busy_timeout = {int(busy_timeout * 1000)}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection, patience: float) -> None:
    """Have changes written to a log first. Raises: `sqlite3.Error`."""
    given_up = time.monotonic() + patience
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            # Of two that do so to a new file at once the engine refuses one without waiting: they might wait for ever.
            if _code(error) & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() > given_up:
                raise
            time.sleep(_AGAIN_SECONDS)
        else:
            return


def read_revision(connection: sqlite3.Connection, schema: Schema = SERVICE) -> str | None:
    """Return the revision of the schema, none for an empty database.

    Raises: `ConfigurationError` when the database is not one of ours or lost its revision, `sqlite3.Error`.
    """
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if not tables:
        return None
    if "alembic_version" not in tables or (len(tables) > 1 and schema.landmark not in tables):
        raise ConfigurationError("the store's database belongs to another program; name another file")
    row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    if row is None and len(tables) > 1:
        raise ConfigurationError("the store's database does not say which schema it has; restore it from a backup")
    return None if row is None else str(row[0])


BeforeChange = Callable[[sqlite3.Connection, str], None]
"""Is asked before the schema of a revision is changed, and raises when it must not be."""


def prepare_database(
    path: Path,
    busy_timeout: float,
    *,
    migrate: bool,
    schema: Schema = SERVICE,
    before_change: BeforeChange = lambda _connection, _revision: None,
    revision: str | None = None,
) -> None:
    """Make sure that a database with the schema of this program is at ``path``.

    ``revision`` is that of a new database which is to take what comes from an older store; none: the newest.
    Raises: `ConfigurationError` when it cannot be, with nothing changed; `StoreUnavailable` when another program holds
    it for too long.
    """
    if sqlite3.sqlite_version_info < _OLDEST_ENGINE:
        needed = ".".join(map(str, _OLDEST_ENGINE))
        raise ConfigurationError(f"this Python comes with SQLite {sqlite3.sqlite_version}; the store needs {needed}")
    if not path.parent.is_dir():
        raise ConfigurationError(f"the store's folder {path.parent} does not exist; create it or name another")
    if path.exists() and not path.is_file():
        raise ConfigurationError(f"the store {path} is not a file; name a database file")
    try:
        if not path.exists():
            if not migrate:
                raise ConfigurationError(f"the store {path} does not exist; run `{schema.remedy}`")
            # The file holds patients' data: nobody but its owner reads it. The engine's other files follow suit.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        if not os.access(path, os.R_OK | os.W_OK):
            raise ConfigurationError(f"the store {path} cannot be read and written; check its owner and rights")
        with closing(sqlite3.connect(path, timeout=busy_timeout, isolation_level=None)) as connection:
            _bring_up_to_date(connection, path, schema, before_change, migrate=migrate, new=revision or schema.head)
    except OSError as error:
        raise ConfigurationError(f"the store {path} cannot be created: {error.strerror}") from error
    except sqlite3.Error as error:
        code = _code(error) & _PRIMARY_CODE
        if code == sqlite3.SQLITE_NOTADB:
            raise ConfigurationError(f"the store {path} is not a SQLite database; name another file") from error
        if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
            raise ConfigurationError(f"the store {path} cannot be opened; check the rights of its folder") from error
        raise translate_error(error) from error


def _bring_up_to_date(
    connection: sqlite3.Connection, path: Path, schema: Schema, before_change: BeforeChange, *, migrate: bool, new: str
) -> None:
    revision = read_revision(connection, schema)
    if revision == schema.head:
        return
    if revision == UNFINISHED:
        raise ConfigurationError(unfinished(f"the store {path}"))
    if revision is not None and revision not in schema.revisions:
        raise ConfigurationError(
            f"the store {path} has schema {revision}, newer than this program knows ({schema.head});"
            " use a newer program"
        )
    if not migrate:
        raise ConfigurationError(
            f"the store {path} has schema {revision or 'none'}, this program needs {schema.head}; run `{schema.remedy}`"
        )
    if revision is not None:
        before_change(connection, revision)
    else:
        # Compressed messages of 2-4 kB fill such pages well; half of the usual smaller ones would stay empty.
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    try:
        if revision is None and schema.creation and new == schema.head:
            _create(connection, schema)
        else:
            upgrade_sqlite(connection, new if revision is None else "head", scripts=schema.scripts)
    except sqlite3.OperationalError as error:
        if _code(error) != sqlite3.SQLITE_ERROR:
            raise
        # The engine's words name a table or an index, nothing that is in it.
        raise ConfigurationError(
            f"the store {path} says that it has schema {revision or 'none'}, but what is in it does not fit ({error});"
            " nothing was changed: restore it from a backup"
        ) from error


def _create(connection: sqlite3.Connection, schema: Schema) -> None:
    """Make the newest schema in an empty database in one transaction, as alembic would have left it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another program may have started at the same time.
        if read_revision(connection, schema) is None:
            for statement in schema.creation:
                connection.execute(statement)
            connection.execute(
                "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,"
                " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
            )
            connection.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (schema.head,))
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
