"""A PostgreSQL of the test's own behind a faulty line, and everything that it can suffer from."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

import asyncpg

from fault_proxy import FaultProxy
from postgres import PostgresServer


@dataclass(frozen=True)
class AilingStore:
    """A database of a server, as the service reaches it (``url``) and as a test looks at it (``own_url``)."""

    server: PostgresServer
    proxy: FaultProxy
    database: str

    @property
    def own_url(self) -> str:
        """The URL that leads past the faulty line."""
        return self.server.url(self.database)

    @property
    def url(self) -> str:
        """The URL that leads through it."""
        return self.proxy.url(self.own_url)

    async def sql(self, statement: str) -> str:
        """Run a statement as the superuser, past the faulty line."""
        return await asyncio.to_thread(self.server.sql, statement)

    async def end_sessions(self) -> None:
        """End every session of every database but the administrator's."""
        await self.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname <> current_database()")


Illness = Callable[[AilingStore], AbstractAsyncContextManager[None]]
"""What the store suffers from until it is cured."""


@asynccontextmanager
async def killed(store: AilingStore) -> AsyncIterator[None]:
    """Every process of the server is gone, as with its machine; it comes back and recovers."""
    await asyncio.to_thread(store.server.kill)
    try:
        yield
    finally:
        await asyncio.to_thread(store.server.start)


@asynccontextmanager
async def stopped(store: AilingStore) -> AsyncIterator[None]:
    """The server is stopped by its operator, and started again."""
    await asyncio.to_thread(store.server.stop)
    try:
        yield
    finally:
        await asyncio.to_thread(store.server.start)


@asynccontextmanager
async def frozen(store: AilingStore) -> AsyncIterator[None]:
    """The server's machine stands still: its kernel takes connections, and nothing answers."""
    store.server.freeze()
    try:
        yield
    finally:
        store.server.thaw()


@asynccontextmanager
async def silent(store: AilingStore) -> AsyncIterator[None]:
    """The network swallows everything."""
    store.proxy.silent = True
    try:
        yield
    finally:
        store.proxy.silent = False


@asynccontextmanager
async def refused(store: AilingStore) -> AsyncIterator[None]:
    """Nobody listens at the address any more."""
    await store.proxy.deafen()
    store.proxy.cut()
    try:
        yield
    finally:
        await store.proxy.listen()


@asynccontextmanager
async def hung_up_on(store: AilingStore) -> AsyncIterator[None]:
    """Whoever connects is cut."""
    store.proxy.refusing = True
    store.proxy.cut()
    try:
        yield
    finally:
        store.proxy.refusing = False


@asynccontextmanager
async def half_closed(store: AilingStore) -> AsyncIterator[None]:
    """What is open ends in one direction, and whoever connects is cut."""
    store.proxy.refusing = True
    store.proxy.half_close("program")
    try:
        yield
    finally:
        store.proxy.refusing = False


@asynccontextmanager
async def slow(store: AilingStore) -> AsyncIterator[None]:
    """Every message takes a second each way."""
    store.proxy.delay = 1.0
    try:
        yield
    finally:
        store.proxy.delay = 0.0


@asynccontextmanager
async def read_only(store: AilingStore) -> AsyncIterator[None]:
    """The database takes no writes, as one whose disk was found bad, or a standby."""
    await store.sql(f'ALTER DATABASE "{store.database}" SET default_transaction_read_only = on')
    await store.end_sessions()
    try:
        yield
    finally:
        await store.sql(f'ALTER DATABASE "{store.database}" RESET default_transaction_read_only')
        await store.end_sessions()


@asynccontextmanager
async def closed(store: AilingStore) -> AsyncIterator[None]:
    """The database takes no connections, and those that were open are ended."""
    await store.sql(f'ALTER DATABASE "{store.database}" ALLOW_CONNECTIONS false')
    await store.end_sessions()
    try:
        yield
    finally:
        await store.sql(f'ALTER DATABASE "{store.database}" ALLOW_CONNECTIONS true')


@asynccontextmanager
async def locked(store: AilingStore) -> AsyncIterator[None]:
    """Somebody holds every row that a request needs first."""
    connection = await asyncpg.connect(store.own_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("LOCK TABLE chain IN ACCESS EXCLUSIVE MODE")
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


ILLNESSES: dict[str, Illness] = {
    illness.__name__: illness
    for illness in (
        killed, stopped, frozen, silent, refused, hung_up_on, half_closed, slow, read_only, closed, locked
    )
}  # fmt: skip
