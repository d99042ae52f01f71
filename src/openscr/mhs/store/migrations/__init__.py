"""Changes of the adaptor's schema: forward only, plain SQL per engine, run by alembic.

The statements of every revision stand in a module of their own that imports nothing, because a new store is made of
them directly: the adaptor is ready within two seconds of its first start, and alembic's import takes most of one.

Spec: dependencies.md "migrations"; 50 A6.
"""

from typing import Final

from openscr.mhs.store.migrations import schema_0001
from openscr.store.migrations import Schema

ADAPTOR: Final = Schema(
    "openscr.mhs.store:migrations",
    ("0001",),
    "message",
    "openscr mhs serve",
    creation=schema_0001.SQLITE,
    postgres_creation=schema_0001.POSTGRES,
)
"""The schema of the adaptor's store."""
