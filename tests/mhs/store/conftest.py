"""The engines that the contract holds for. Another engine is one more entry of `ENGINES`."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from openscr.mhs.store.interface import Store
from openscr.mhs.store.opening import open_store

from ..rig import settings

Opening = Callable[[], AbstractAsyncContextManager[Store]]

KEY = "A" * 43 + "="
"""32 bytes in base64."""


def sqlite(folder: Path) -> Store:
    return open_store(settings(data=folder))


def sealed_sqlite(folder: Path) -> Store:
    return open_store(settings(data=folder, secret_store_key=KEY))


def memory(_folder: Path) -> Store:
    return open_store(settings(store="memory:"))


ENGINES: dict[str, Callable[[Path], Store]] = {"memory": memory, "sqlite": sqlite, "sealed sqlite": sealed_sqlite}


@pytest.fixture(params=ENGINES)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Return what opens the store of this test; entered again, it opens the same store again."""
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
