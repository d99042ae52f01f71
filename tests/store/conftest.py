"""The engines that the contract holds for. Another engine is one more entry of `ENGINES`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from openscr.store.interface import Leasing, Store
from openscr.store.opening import open_store
from openscr.store.postgres import PostgresStore
from postgres import PostgresServer

Opening = Callable[..., AbstractAsyncContextManager[Store]]

ENGINES = ("sqlite", "postgresql")


def url_of(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a store of its own for one test."""
    if engine == "sqlite":
        return f"sqlite:///{folder / 'openscr.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Return what opens the store of this test, by the name of a worker; entered again it is the same store again."""
    url = url_of(request.param, request, tmp_path)

    @asynccontextmanager
    async def opened(holder: str = "") -> AsyncIterator[Store]:
        store = open_store(url, leasing=Leasing(holder))
        if isinstance(store, PostgresStore):
            # Hundreds wait for one slot here, on a machine that is busy with other tests.
            store.patience = 30.0
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
