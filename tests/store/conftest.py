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


_EMPTYING = (
    "DO $$ DECLARE name text; BEGIN"
    # Events refer to receipts, which comes after them in the alphabet.
    " FOR name IN SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    " AND relname NOT IN ('alembic_version', 'directory_revision', 'probe') ORDER BY relname"
    " LOOP EXECUTE format('DELETE FROM %I', name); END LOOP;"
    " UPDATE directory_revision SET revision = 0; END $$"
)


def url_of(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a store that is still to be made."""
    if engine == "sqlite":
        return f"sqlite:///{folder / 'openscr.db'}"
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


def empty_store(engine: str, request: pytest.FixtureRequest, folder: Path) -> str:
    """Return the URL of a store with nothing in it, which may have been made before."""
    free: list[str] = request.getfixturevalue("emptied")
    if engine == "sqlite" or not free:
        url = url_of(engine, request, folder)
    else:
        url = free.pop()
        request.getfixturevalue("postgres").sql(_EMPTYING, url.rpartition("/")[2])
    if engine != "sqlite":
        request.addfinalizer(lambda: free.append(url))
    return url


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Return what opens the store of this test, by the name of a worker; entered again it is the same store again."""
    url = empty_store(request.param, request, tmp_path)

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
