"""Changes of the schema: forward only, plain SQL per engine, run by alembic.

Alembic is imported only by `upgrade_sqlite`; finding out that nothing has to be done is one plain query on the store's
own connection, so that a start stays fast.

Spec: dependencies.md "migrations"; architecture.md "Data".
"""

import sqlite3
from typing import Final

REVISIONS: Final = ("0001", "0002", "0003", "0004", "0005")
"""Every revision that this program knows, oldest first."""


def head_revision() -> str:
    """Return the revision of the schema that this program works with."""
    return REVISIONS[-1]


def upgrade_sqlite(connection: sqlite3.Connection, target: str = "head") -> None:
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
    configuration.set_main_option("script_location", "openscr.store:migrations")
    try:
        with engine.connect() as bound:
            configuration.attributes["connection"] = bound
            command.upgrade(configuration, target)
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error):
            raise error.orig from error
        raise
