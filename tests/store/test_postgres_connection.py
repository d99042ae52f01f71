"""The pool of connections keeps its word: nobody waits beyond the deadline, and what was begun in vain is let go of."""

import asyncio
from collections.abc import Awaitable
from typing import Any

import pytest

from openscr.errors import StoreUnavailable
from openscr.store import postgres_connection
from openscr.store.postgres_connection import Connections, read_place
from postgres import PostgresServer


@pytest.mark.parametrize("step", ["execute", "fetchval"])
async def test_a_server_that_falls_silent_after_the_login_keeps_nobody_waiting(
    postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """The steps of connecting share one deadline, however long each of them could wait by itself."""
    place = read_place(postgres.create_database())
    connect, opened = postgres_connection.connect, []

    class Silent:
        """A connection on which one kind of request is never answered."""

        def __init__(self, real: Any) -> None:
            self._real = real

        def __getattr__(self, name: str) -> Any:
            return self._never if name == step else getattr(self._real, name)

        def _never(self, *_: object, timeout: float | None = None) -> Awaitable[Any]:
            return asyncio.get_running_loop().create_future()

    async def connect_silently(*arguments: Any) -> Silent:
        opened.append(await connect(*arguments))
        return Silent(opened[-1])

    monkeypatch.setattr(postgres_connection, "connect", connect_silently)
    pool = Connections(place, size=1, preparation="SELECT 1")
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(30):
        with pytest.raises(StoreUnavailable):
            await pool.acquire(loop.time() + 1)
    assert opened[0].is_closed()
    monkeypatch.setattr(postgres_connection, "connect", connect)
    connection = await pool.acquire(loop.time() + 10)
    pool.release(connection)
    await pool.close()
