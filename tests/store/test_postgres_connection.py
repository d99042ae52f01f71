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


async def test_while_the_server_takes_no_more_connections_those_that_are_there_do(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is refused who would have had one a moment later; who has none at all is told at once."""
    url = postgres.create_owned_database()
    role = url.rpartition("/")[2]
    postgres.sql(f"ALTER ROLE {role} CONNECTION LIMIT 2")
    pool, other = Connections(read_place(url), size=8), Connections(read_place(url), size=8)
    deadline = asyncio.get_running_loop().time() + 30
    held = [await pool.acquire(deadline), await pool.acquire(deadline)]
    waiting = [asyncio.create_task(pool.acquire(deadline)) for _ in range(3)]
    with pytest.raises(StoreUnavailable, match="no more connections"):
        await other.acquire(deadline)
    while not any("takes no more connections" in line for line in caplog.messages):  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0.01)
    for _ in range(3):
        pool.release(held.pop())
        (served, *_), rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        held.append(served.result())
        waiting = list(rest)
    for connection in held:
        pool.release(connection)
    assert len([line for line in caplog.messages if "takes no more connections" in line]) == 1
    await pool.close()
    # There is room again, and nobody has to wait until it is noticed.
    other.release(await other.acquire(deadline))
    await other.close()
