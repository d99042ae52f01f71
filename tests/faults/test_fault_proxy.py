"""The faulty line does what it says, to a real PostgreSQL and a real driver."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from fault_proxy import AtCommit, FaultProxy
from postgres import PostgresServer

LOST = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError)


@pytest.fixture(scope="module")
def url(postgres: PostgresServer) -> str:
    """A database with one table."""
    url = postgres.create_database()
    postgres.sql("CREATE TABLE paper (name text PRIMARY KEY)", url.rpartition("/")[2])
    return url


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(postgres.port) as proxy:
        yield proxy


async def written(url: str, name: str) -> bool:
    """Whether a row is there, asked without the proxy."""
    connection = await asyncpg.connect(url)
    try:
        return bool(await connection.fetchval("SELECT count(*) FROM paper WHERE name = $1", name))
    finally:
        await connection.close()


async def write(connection: asyncpg.Connection, name: str) -> None:
    """Write a row in a transaction."""
    async with connection.transaction():
        await connection.execute("INSERT INTO paper VALUES ($1)", name)


@pytest.mark.parametrize("kind", AtCommit)
async def test_a_fault_hits_the_commit_that_is_meant(kind: AtCommit, proxy: FaultProxy, url: str) -> None:
    connection = await asyncpg.connect(proxy.url(url))
    struck = proxy.strike(kind, statement="INSERT INTO paper", ahead=1)
    async with connection.transaction():
        await connection.execute("SELECT 1")
    await write(connection, f"{kind.name} first")
    assert not struck.is_set()
    with pytest.raises((*LOST, TimeoutError)):
        async with asyncio.timeout(0.3 if "SILENT" in kind.name else 30):
            await write(connection, kind.name)
    assert struck.is_set()
    connection.terminate()
    assert await written(url, f"{kind.name} first")
    if kind.committed is not None:
        assert await written(url, kind.name) is kind.committed


@pytest.mark.parametrize("kind", [AtCommit.CUT_BEFORE, AtCommit.CUT_AFTER])
async def test_a_statement_without_a_transaction_of_its_own_commits_too(
    kind: AtCommit, proxy: FaultProxy, url: str
) -> None:
    connection = await asyncpg.connect(proxy.url(url))
    statement = await connection.prepare("INSERT INTO paper VALUES ($1)")
    proxy.strike(kind, statement=f"alone {kind.name}")
    await statement.fetch(f"before {kind.name}")
    with pytest.raises(LOST):
        await statement.fetch(f"alone {kind.name}")
    assert await written(url, f"alone {kind.name}") is kind.committed


@pytest.mark.parametrize("kind", AtCommit)
async def test_a_commit_that_travels_with_its_statements_is_one(kind: AtCommit, proxy: FaultProxy, url: str) -> None:
    connection = await asyncpg.connect(proxy.url(url))
    struck = proxy.strike(kind, statement=f"together {kind.name}")
    await connection.execute("BEGIN")
    with pytest.raises((*LOST, TimeoutError)):
        async with asyncio.timeout(0.3 if "SILENT" in kind.name else 30):
            await connection.execute(f"INSERT INTO paper VALUES ('together {kind.name};') ; COMMIT")  # noqa: S608 ours
    assert struck.is_set()
    connection.terminate()
    if kind.committed is not None:
        assert await written(url, f"together {kind.name};") is kind.committed


async def test_what_runs_by_name_and_what_is_written_in_hex_is_seen(proxy: FaultProxy, url: str) -> None:
    connection = await asyncpg.connect(proxy.url(url))
    await connection.execute("PREPARE note AS INSERT INTO paper VALUES (convert_from($1, 'UTF8')); SELECT 1")
    struck = proxy.strike(AtCommit.CUT_AFTER, statement="INSERT INTO paper.*in hex")
    await connection.execute("BEGIN")
    with pytest.raises(LOST):
        await connection.execute(f"EXECUTE note('\\x{b'in hex'.hex()}') ; COMMIT")
    assert struck.is_set()
    assert await written(url, "in hex")


async def test_an_error_leaves_the_line_open(proxy: FaultProxy, url: str) -> None:
    connection = await asyncpg.connect(proxy.url(url))
    proxy.strike(AtCommit.ERROR_AFTER)
    with pytest.raises(asyncpg.PostgresError) as raised:
        await write(connection, "an error")
    assert raised.value.sqlstate == "XX000"
    assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_faults_of_the_whole_line(proxy: FaultProxy, url: str) -> None:
    """Delayed, silent, cut, half-closed either way, refused by it, refused by the system; then well again."""
    connection = await asyncpg.connect(proxy.url(url))
    proxy.delay = 0.02
    assert await connection.fetchval("SELECT 1") == 1
    proxy.delay = 0.0
    proxy.silent = True
    question = asyncio.create_task(connection.fetchval("SELECT 2"))
    assert not (await asyncio.wait([question], timeout=0.1))[0]
    proxy.silent = False
    assert await question == 2
    assert proxy.cut() == 1
    with pytest.raises(LOST):
        await connection.fetchval("SELECT 3")
    for side in ("program", "server"):
        connection = await asyncpg.connect(proxy.url(url))
        assert proxy.half_close(side) == 1
        with pytest.raises(LOST):
            await connection.fetchval("SELECT 4")
        connection.terminate()
    proxy.refusing = True
    with pytest.raises(LOST):
        await asyncpg.connect(proxy.url(url))
    proxy.refusing = False
    await proxy.deafen()
    with pytest.raises(ConnectionRefusedError):
        await asyncpg.connect(proxy.url(url))
    await proxy.listen()
    connection = await asyncpg.connect(proxy.url(url))
    assert await connection.fetchval("SELECT 5") == 5
    await connection.close()
