"""The engines that the contract holds for. Another engine is one more entry of `ENGINES`."""

import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import pytest

from openscr.mhs.store.interface import Store
from openscr.mhs.store.opening import open_store
from postgres import PostgresServer

from ..rig import settings

Opening = Callable[[], AbstractAsyncContextManager[Store]]

KEY = "A" * 43 + "="
"""32 bytes in base64."""


def sqlite(folder: Path) -> Store:
    return open_store(settings(data=folder))


def sealed_sqlite(folder: Path) -> Store:
    return open_store(settings(data=folder, secret_store_key=KEY))


class PostgresDatabases:
    """Where each test's database is: one for each folder, made when it is first asked for."""

    def __init__(self) -> None:
        self.server: PostgresServer | None = None
        self._urls: dict[Path, str] = {}

    def url(self, folder: Path) -> str:
        """Return the URL of the database of a test's folder."""
        assert self.server is not None
        if folder not in self._urls:
            self._urls[folder] = self.server.create_database()
        return self._urls[folder]

    def name(self, folder: Path) -> str:
        """Return the name of that database."""
        return self.url(folder).rpartition("/")[2]


DATABASES = PostgresDatabases()


def postgresql(folder: Path) -> Store:
    return open_store(settings(store=DATABASES.url(folder)))


def memory(_folder: Path) -> Store:
    return open_store(settings(store="memory:"))


ENGINES: dict[str, Callable[[Path], Store]] = {
    "memory": memory,
    "sqlite": sqlite,
    "sealed sqlite": sealed_sqlite,
    "postgresql": postgresql,
}


def needs(engine: str, request: pytest.FixtureRequest) -> None:
    """See that the server of an engine runs; skips the test where there is none."""
    if "postgresql" in engine:
        DATABASES.server = request.getfixturevalue("postgres")


def tamper(engine: str, folder: Path, statement: str) -> None:
    """Do something to the rows of a test's store behind its back; of other dialects it is made the engine's own."""
    if "postgresql" in engine:
        assert DATABASES.server is not None
        statement = re.sub(r"zeroblob\((\d+)\)", r"decode(repeat('00', \1), 'hex')", statement)
        statement = re.sub(r"CAST\((.*?) AS BLOB\)", r"\1::bytea", statement)
        assert DATABASES.server.sql(f"{statement} RETURNING 1", DATABASES.name(folder))
        return
    with closing(sqlite3.connect(folder / "mhs.db", isolation_level=None)) as connection:
        assert connection.execute(statement).rowcount > 0


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Return what opens the store of this test; entered again, it opens the same store again."""
    needs(request.param, request)
    store = ENGINES[request.param](tmp_path)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Store]:
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    return opened


@pytest.fixture
async def store(opening: Opening) -> AsyncIterator[Store]:
    """Give an open, empty store."""
    async with opening() as opened:
        yield opened
