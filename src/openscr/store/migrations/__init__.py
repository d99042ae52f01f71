"""Changes of the schema: forward only, plain SQL per engine, run by alembic.

Alembic is imported only by `upgrade_sqlite` and `postgres_script`; finding out that nothing has to be done is one plain
query on the store's own connection, so that a start stays fast.

Spec: dependencies.md "migrations"; architecture.md "Data".
"""

import sqlite3
from dataclasses import dataclass
from io import StringIO
from typing import Final

from openscr.store.migrations import postgres_schema, sqlite_schema

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every revision that this program knows, oldest first."""

UNFINISHED: Final = "unfinished"
"""Stands in the place of a revision while a store is filled with what another one or a backup holds."""

_SCRIPTS: Final = "openscr.store:migrations"


@dataclass(frozen=True, slots=True)
class Schema:
    """What a database holds: where the scripts of its revisions are, their names (oldest first), a table of its own.

    ``creation`` are statements that make an empty database one of the newest revision without alembic, whose import
    takes most of a second; none: alembic makes it; ``postgres_creation`` those on PostgreSQL.
    ``remedy`` is the command that brings it up to date.
    """

    scripts: str
    revisions: tuple[str, ...]
    landmark: str
    remedy: str
    creation: tuple[str, ...] = ()
    postgres_creation: tuple[str, ...] = ()

    @property
    def head(self) -> str:
        """The revision that this program works with."""
        return self.revisions[-1]


SERVICE: Final = Schema(
    _SCRIPTS,
    REVISIONS,
    "receipt",
    "openscr admin migrate",
    creation=sqlite_schema.CREATION,
    postgres_creation=postgres_schema.CREATION,
)
"""The schema of the service's store."""


def head_revision() -> str:
    """Return the revision of the schema that this program works with."""
    return SERVICE.head


def unfinished(store: str) -> str:
    """Return what to say of a store that is half filled."""
    return (
        f"{store} is half filled: an `openscr admin migrate` or `restore` into it did not come to its end;"
        " run the same command again"
    )


def upgrade_sqlite(connection: sqlite3.Connection, target: str = "head", scripts: str = _SCRIPTS) -> None:
    """Bring an open SQLite database to ``target`` in one transaction, or leave it as it was.

    ``connection`` must be in autocommit mode (``isolation_level`` none) and stays open. Raises `sqlite3.Error`.
    """
    from alembic import command  # noqa: PLC0415 - a start with an up-to-date schema must not pay for this import
    from alembic.config import Config  # noqa: PLC0415
    from sqlalchemy import create_engine, event  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.pool import StaticPool  # noqa: PLC0415

    engine = create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
    # Taking the write lock first makes the second of two programs that start together wait, then find it all done.
    event.listen(engine, "begin", lambda bound: bound.exec_driver_sql("BEGIN IMMEDIATE"))
    configuration = Config()
    configuration.set_main_option("script_location", scripts)
    try:
        with engine.connect() as bound:
            configuration.attributes["connection"] = bound
            command.upgrade(configuration, target)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise


def postgres_script(revision: str, target: str = "head", scripts: str = _SCRIPTS) -> str:
    """Return the statements that bring a PostgreSQL database from ``revision`` to ``target``, as alembic writes them.

    The store runs them on its own connection, in one transaction.
    """
    from alembic import command  # noqa: PLC0415 - a start with an up-to-date schema must not pay for this import
    from alembic.config import Config  # noqa: PLC0415

    script = StringIO()
    configuration = Config(output_buffer=script)
    configuration.set_main_option("script_location", scripts)
    command.upgrade(configuration, f"{revision}:{target}", sql=True)
    return script.getvalue()
