"""A PostgreSQL database that is a store: found, checked, and brought up to date before anybody uses it.

Invariant: whatever is wrong, the database stays as it was, and one line says what it is and how to mend it.

Spec: engine.md level 1; 00 §4 "admin migrate".
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

import asyncpg

from openscr.errors import ConfigurationError
from openscr.store.migrations import SERVICE, UNFINISHED, Schema, postgres_script, unfinished
from openscr.store.postgres_connection import Connection, Place, connect
from openscr.store.postgres_errors import CONNECTION_ERRORS, sqlstate_of, translate_error

_log = logging.getLogger("openscr.store")

OLDEST_SERVER: Final = 15
_OPENING_SECONDS: Final = 5.0
_MIGRATION_SETTINGS: Final = {
    "application_name": "openscr-migration",
    "client_encoding": "UTF8",
    "default_transaction_isolation": "read committed",
    # Whoever changes a large table takes its time; whoever waits for a lock does not.
    "statement_timeout": "0",
    "lock_timeout": "10s",
}
_MIGRATION_LOCK: Final = 0x4F70656E534352
"""Of two programs that start together one makes or changes the schema, and the other waits."""

_TABLES: Final = (
    "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p')"
    " AND c.relnamespace = pg_catalog.current_schema()::regnamespace"
)
_REVISION: Final = "SELECT version_num FROM alembic_version"
# What is only ever appended to need not be changed by the role that serves.
_WITHOUT_RIGHTS: Final = (
    "SELECT c.relname FROM pg_catalog.pg_class c WHERE c.relkind IN ('r', 'p')"
    " AND c.relnamespace = pg_catalog.current_schema()::regnamespace AND c.relname <> 'alembic_version'"
    " AND NOT (has_table_privilege(c.oid, 'SELECT') AND has_table_privilege(c.oid, 'INSERT') AND (c.relname = 'audit'"
    " OR has_table_privilege(c.oid, 'UPDATE') AND has_table_privilege(c.oid, 'DELETE'))) ORDER BY c.relname"
)
_CRASH: Final = "in a crash"
_LOSSES: Final = (
    ("fsync", {"off": _CRASH}),
    ("synchronous_commit", {"off": _CRASH, "local": "when a standby takes over"}),
)
# What lets the server log statements that did not fail: values stand in their text, or beside it.
_TALKATIVE: Final = (
    "SELECT name, setting FROM pg_catalog.pg_settings WHERE name = 'log_statement' AND setting IN ('mod', 'all')"
    " OR name IN ('log_min_duration_statement', 'log_min_duration_sample', 'auto_explain.log_min_duration')"
    " AND setting <> '-1' OR name = 'log_transaction_sample_rate' AND setting <> '0' ORDER BY name"
)
_VERSION_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL,"
    " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


BeforeChange = Callable[[Connection, str], Awaitable[None]]


async def open_connection(place: Place) -> Connection:
    """Return a connection for the opening of a store. Raises: `ConfigurationError`, `StoreUnavailable`."""
    try:
        return await connect(place, _OPENING_SECONDS, _MIGRATION_SETTINGS)
    except (ValueError, asyncpg.ClientConfigurationError) as error:
        raise ConfigurationError(
            f"the URL of the store's database {place.name} has an option that PostgreSQL does not know or allow"
        ) from error
    except CONNECTION_ERRORS as error:
        raise explain(error, place) from error


def explain(error: BaseException, place: Place) -> Exception:
    """Return what stands in the way of opening the database, as the operator should read it."""
    state = sqlstate_of(error)
    if state in {"28P01", "28000"}:
        return ConfigurationError(f"the store's database {place.name} refuses the user or the password of its URL")
    if state == "3D000":
        return ConfigurationError(f"the store's database {place.name} does not exist; create it or name another")
    if state == "42501":
        return ConfigurationError(f"the store's user lacks rights in the database {place.name}; grant them to it")
    if state == "3F000":
        return ConfigurationError(
            f"the search_path in the store's database {place.name} names no schema that is there; set it, for example"
            " to public"
        )
    if state == "08P01":
        return ConfigurationError(_pooled(place))
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched) or state == "25006":
        return ConfigurationError(
            f"the store's database {place.name} takes no writes: it is read-only or a standby; name the one that does"
        )
    if state:
        return translate_error(error)
    if isinstance(error, TimeoutError):
        return ConfigurationError(f"the store's database {place.name} did not answer in time")
    if isinstance(error, ConnectionRefusedError):
        return ConfigurationError(f"nobody listens for the store's database {place.name}; start it or name another")
    if isinstance(error, OSError):
        return ConfigurationError(f"the store's database {place.name} cannot be reached; check host and port")
    return ConfigurationError(f"what answers for the store's database {place.name} is not PostgreSQL")


def _pooled(place: Place) -> str:
    return (
        f"what answers for the store's database {place.name} does not take the settings of a session, as a pooler does"
        " not; let the URL lead to PostgreSQL itself"
    )


async def read_revision(connection: Connection, schema: Schema = SERVICE) -> str | None:
    """Return the revision of the schema, none for an empty database. Raises: `ConfigurationError`."""
    tables = {str(row[0]) for row in await connection.fetch(_TABLES)}
    if not tables:
        return None
    if "alembic_version" not in tables or (len(tables) > 1 and schema.landmark not in tables):
        raise ConfigurationError("the store's database belongs to another program; name another database")
    row = await connection.fetchrow(_REVISION)
    if row is None and len(tables) > 1:
        raise ConfigurationError("the store's database does not say which schema it has; restore it from a backup")
    return None if row is None else str(row[0])


async def prepare_database(
    place: Place, *, migrate: bool, schema: Schema = SERVICE, before_change: BeforeChange | None = None
) -> None:
    """Make sure that the database has the schema of this program.

    ``before_change`` is asked before a schema that is there is changed; it raises when it must not be.

    Raises: `ConfigurationError` when it cannot be, with nothing changed; `StoreUnavailable`.
    """
    connection = await open_connection(place)
    try:
        await _check_server(connection, place)
        if await read_revision(connection, schema) != schema.head:
            await _bring_up_to_date(connection, place, schema, before_change, migrate=migrate)
        await _check_rights(connection, place)
        await _warn(connection)
    except CONNECTION_ERRORS as error:
        raise explain(error, place) from error
    finally:
        connection.terminate()


async def _check_server(connection: Connection, place: Place) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        raise ConfigurationError(
            f"the store's database {place.name} is PostgreSQL {version.major}; the store needs {OLDEST_SERVER} or newer"
        )
    if await connection.fetchval("SHOW lock_timeout") != _MIGRATION_SETTINGS["lock_timeout"]:
        # Ours are gone, or somebody else's: time limits, and how values are read.
        raise ConfigurationError(_pooled(place))
    encoding = await connection.fetchval("SHOW server_encoding")
    if encoding != "UTF8":
        raise ConfigurationError(
            f"the store's database {place.name} keeps texts as {encoding}; create one with ENCODING 'UTF8'"
        )


async def _check_rights(connection: Connection, place: Place) -> None:
    """See that we may do what will have to be done: a request is no time to find out."""
    lacking = [row[0] for row in await connection.fetch(_WITHOUT_RIGHTS)]
    if lacking:
        raise ConfigurationError(
            f"the store's user lacks rights in the database {place.name}: grant it SELECT, INSERT, UPDATE and DELETE"
            f" (of audit SELECT and INSERT) on {', '.join(lacking)}"
        )


async def _warn(connection: Connection) -> None:
    """Tell the operator of settings that we cannot do without and go on with."""
    for name, loss in _LOSSES:
        if (setting := await connection.fetchval(f"SHOW {name}")) in loss:
            _log.warning(f"{name} is {setting}: the database may lose {loss[setting]} what was acknowledged")
    for name, setting in await connection.fetch(_TALKATIVE):
        _log.warning(f"{name} is {setting}: the database's log gets statements with patients' data")


async def _bring_up_to_date(
    connection: Connection, place: Place, schema: Schema, before_change: BeforeChange | None, *, migrate: bool
) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _MIGRATION_LOCK)
        # Another program may have started at the same time.
        revision = await read_revision(connection, schema)
        if revision == schema.head:
            return
        if revision == UNFINISHED:
            raise ConfigurationError(unfinished(f"the store {place.name}"))
        if revision is not None and revision not in schema.revisions:
            raise ConfigurationError(
                f"the store {place.name} has schema {revision}, newer than this program knows ({schema.head});"
                " use a newer program"
            )
        if not migrate:
            raise ConfigurationError(
                f"the store {place.name} has schema {revision or 'none'}, this program needs {schema.head};"
                f" run `{schema.remedy}`"
            )
        if revision is None:
            await connection.execute(";\n".join((*schema.postgres_creation, _VERSION_TABLE)))
            await connection.execute("INSERT INTO alembic_version (version_num) VALUES ($1)", schema.head)
        else:
            if before_change is not None:
                await before_change(connection, revision)
            await _upgrade(connection, place, schema, revision)


async def _upgrade(connection: Connection, place: Place, schema: Schema, revision: str) -> None:
    try:
        await connection.execute(await asyncio.to_thread(postgres_script, revision, scripts=schema.scripts))
    except asyncpg.PostgresError as error:
        if not sqlstate_of(error).startswith("42"):
            raise
        # The class of what is not there, or is there already.
        raise ConfigurationError(
            f"the store {place.name} says that it has schema {revision}, but what is in it does not fit"
            f" (SQLSTATE {sqlstate_of(error)}); nothing was changed: restore it from a backup"
        ) from error
