"""The stores that measurements run on: a file, or a database of a real PostgreSQL that syncs to disk.

The server is that of the tests (``tests/postgres.py``); OPENSCR_TEST_POSTGRES names the programs of another one.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from postgres import PostgresServer, postgres_server

ENGINES = ("sqlite", "postgresql")
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "max_connections": "100"}
"""What a server of two cores and a few GB would be given."""


@contextmanager
def server() -> Iterator[PostgresServer]:
    """Give a PostgreSQL with durable commits, gone afterwards."""
    with postgres_server(settings=SETTINGS, durable=True) as running:
        yield running


@contextmanager
def empty_store(engine: str, folder: Path) -> Iterator[str]:
    """Give the URL of an empty store."""
    if engine == "sqlite":
        yield f"sqlite:///{folder / 'openscr.db'}"
        return
    with server() as running:
        yield running.create_database()
