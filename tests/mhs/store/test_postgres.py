"""What is particular to PostgreSQL: the schema, other programs, keys that meet, what cannot be opened."""

# Statements of tests are put together of our own words.
# ruff: noqa: S608

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from fault_proxy import FaultProxy
from openscr.errors import ConfigurationError, Conflict, StoreError, StoreUnavailable
from openscr.mhs.neighbours import join
from openscr.mhs.replies import Replies
from openscr.mhs.store import postgres_statements as statements
from openscr.mhs.store.interface import Retention, Store, Transaction
from openscr.mhs.store.migrations import ADAPTOR
from openscr.mhs.store.opening import open_store
from openscr.mhs.store.postgres import PostgresMhsStore
from openscr.mhs.store.postgres_transaction import mint_token, token_at
from openscr.store.migrations import postgres_script
from postgres import PASSWORD, PostgresServer

from ..rig import settings
from .conftest import KEY
from .samples import (
    a_message,
    a_queue_message,
    a_receipt,
    a_reply,
    a_sending,
    an_entry,
    an_id,
    at,
    find_receipt,
    find_reply,
    find_sending,
    put,
    put_row,
)

SECRET = b"MS FLORENCE NIGHTINGALE 9990000018"


async def opened(url: str, *, patience: float = 30) -> PostgresMhsStore:
    """Open a store that has time: the machine may be busy."""
    store = PostgresMhsStore(url, patience=patience)
    await store.open()
    return store


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres.create_database()


# --- what the server logs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trusted", [True, False])
async def test_a_statement_that_fails_does_not_show_its_values(postgres: PostgresServer, trusted: bool) -> None:
    """Whether or not our role may say what is logged, a body that is not sealed stays out of the server's log."""
    store = await opened(postgres.create_database() if trusted else postgres.create_owned_database())
    await put(store, a_queue_message(1, body=SECRET), a_message(2), a_reply(2), an_entry(1, note="short"))
    before = len(postgres.log())
    with pytest.raises(Conflict):
        await put(store, a_queue_message(1, body=SECRET), an_entry(2))
    await store.close()
    logged = postgres.log()[before:]
    assert "duplicate key" in logged
    assert SECRET.hex() not in logged


# --- the schema -------------------------------------------------------------------------------------------------------


def everything(server: PostgresServer, url: str) -> list[str]:
    """Return all that a database holds, as statements."""
    dump = server.run("pg_dump", "--no-owner", url)
    # Recent ones mark each dump with a word that they make up.
    return [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


async def test_a_new_store_is_what_the_revisions_make(postgres: PostgresServer, url: str) -> None:
    """The short way, without alembic, and the long way lead to the same database."""
    long = postgres.create_database()
    await (await opened(url)).close()
    script = await asyncio.to_thread(postgres_script, "base", scripts=ADAPTOR.scripts)
    postgres.run("psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", long, "-c", script)
    assert everything(postgres, url) == everything(postgres, long)


OPENING = """
import asyncio, sys
from openscr.mhs.store.postgres import PostgresMhsStore

async def main():
    for _ in range(2):
        store = PostgresMhsStore({url!r}, patience=30)
        await store.open()
        assert await store.writable()
        await store.close()
    print(sorted(name for name in sys.modules if name.partition(".")[0] in ("alembic", "sqlalchemy")))

asyncio.run(main())
"""


def test_neither_making_nor_opening_a_store_imports_alembic(url: str) -> None:
    """Its import takes longer than everything else before the adaptor is ready. Spec: 50 A6."""
    done = subprocess.run([sys.executable, "-c", OPENING.format(url=url)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_programs_that_make_a_store_at_once_make_one(url: str) -> None:
    stores = await asyncio.gather(*(opened(url) for _ in range(4)))
    await asyncio.gather(*(put(store, an_entry(index)) for index, store in enumerate(stores)))
    assert [row.sequence async for row in stores[0].read_audit()] == [1, 2, 3, 4]
    for store in stores:
        await store.close()


async def test_no_statement_reads_a_table_from_end_to_end(url: str) -> None:
    """Whatever the values are, and however many rows there are; the tables of one row excepted."""
    store = await opened(url)
    looked_at: list[str] = []

    async def look(connection: asyncpg.Connection) -> None:
        await connection.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
        for name, statement in vars(statements).items():
            if not name.isupper() or name.startswith("_") or not isinstance(statement, str) or name == "PREPARATION":
                continue
            count = max((number for number in range(1, 20) if f"${number}" in statement), default=0)
            values = f"({', '.join(['NULL'] * count)})" if count else ""
            await connection.execute(f"PREPARE look AS {statement}")
            plan = [row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE look{values}")]
            await connection.execute("DEALLOCATE look")
            read = {line.split(" on ")[1].split()[0] for line in plan if "Seq Scan on " in line}
            assert read <= {"chain", "encryption", "probe"}, name
            looked_at.append(name)
        await connection.execute("RESET enable_seqscan")

    await store._units.run(look)
    assert {"LEASE_MESSAGES", "PURGE_MESSAGES", "OVERDUE_REPLIES"} <= set(looked_at)
    assert len(looked_at) > 40
    await store.close()


# --- other programs ---------------------------------------------------------------------------------------------------


async def test_two_processes_share_the_queue_and_the_chain(url: str) -> None:
    first, second = await opened(url), await opened(url)
    stores = (first, second)
    await asyncio.gather(*(put(stores[number % 2], a_queue_message(number), an_entry(number)) for number in range(40)))
    given = await asyncio.gather(*(stores[turn % 2].lease_queue(at(0), at(60), 3) for turn in range(20)))
    assert sorted(each.message.id for some in given for each in some) == [an_id(number) for number in range(40)]
    assert await first.verify_audit() is None
    receipt = next(some for some in given if some)[0].receipt
    assert await second.acknowledge(receipt)
    assert not await first.acknowledge(receipt)
    await first.close()
    await second.close()


async def test_a_message_on_its_way_to_others_holds_up_no_queue(url: str) -> None:
    """What somebody has locked is stepped over."""
    store = await opened(url)
    await put(store, a_queue_message(1), a_queue_message(2), a_sending(1), a_sending(2))
    begun, end = asyncio.Event(), asyncio.Event()

    async def hold(connection: object) -> None:
        async with connection.transaction():  # type: ignore[attr-defined]
            await connection.execute("SELECT 1 FROM queue WHERE id = $1 FOR UPDATE", an_id(1))  # type: ignore[attr-defined]
            await connection.execute("SELECT 1 FROM sending WHERE message_id = $1 FOR UPDATE", an_id(1))  # type: ignore[attr-defined]
            begun.set()
            await end.wait()

    holding = asyncio.create_task(store._units.run(hold))
    await begun.wait()
    assert [each.message.id for each in await store.lease_queue(at(0), at(60), 10)] == [an_id(2)]
    assert [each.message_id for each in await store.lease_sendings(at(0), at(60), 10)] == [an_id(2)]
    end.set()
    await holding
    assert [each.message.id for each in await store.lease_queue(at(0), at(60), 10)] == [an_id(1)]
    await store.close()


Look = Callable[[Transaction], Awaitable[object]]
LOOKS: dict[str, tuple[Look, Look]] = {
    "message": (lambda unit: unit.find_message(an_id(1)), lambda unit: unit.put_message(a_message(1))),
    "reply": (lambda unit: unit.find_reply(an_id(1)), lambda unit: unit.put_reply(a_reply(1))),
    "sending": (lambda unit: unit.find_sending(an_id(1)), lambda unit: unit.put_sending(a_sending(1))),
    "receipt": (
        lambda unit: unit.find_receipt(a_receipt(1).from_party, an_id(1), at(0)),
        lambda unit: unit.put_receipt(a_receipt(1)),
    ),
}


@pytest.mark.parametrize("kind", LOOKS)
async def test_what_is_not_there_is_put_by_one_of_many(kind: str, url: str) -> None:
    """Two processes, many at once: who looks first has the key until it has ended. Spec: 50 F4."""
    find, add = LOOKS[kind]
    stores = [await opened(url), await opened(url)]

    async def look_and_put(transaction: Transaction) -> bool:
        if await find(transaction) is not None:
            return False
        await add(transaction)
        return True

    added = await asyncio.gather(*(stores[number % 2].transact(look_and_put) for number in range(20)))
    assert sum(added) == 1
    for store in stores:
        await store.close()


async def test_units_that_take_keys_in_another_order_both_succeed(url: str) -> None:
    """One of the two is begun anew, once the server has seen that they wait for each other."""
    store = await opened(url)
    met = asyncio.Barrier(2)
    runs: list[tuple[int, int]] = []

    def taking(first: int, second: int) -> Callable[[Transaction], Awaitable[None]]:
        async def work(transaction: Transaction) -> None:
            runs.append((first, second))
            await transaction.put_message(a_message(first))
            if len(runs) <= 2:
                await met.wait()
            await transaction.put_message(a_message(second))
            await transaction.append_audit(an_entry(first))

        return work

    await asyncio.gather(store.transact(taking(1, 2)), store.transact(taking(2, 1)))
    assert len(runs) == 3
    assert len([row async for row in store.read_audit()]) == 2
    await store.close()


@pytest.mark.parametrize("size", [10, 70_000, 300_000])
async def test_what_is_held_back_for_the_commit_is_kept_whatever_its_size(size: int, url: str) -> None:
    store = await opened(url)
    body = bytes(range(256)) * (size // 256 + 1)
    rows = (a_sending(1, body=body), a_reply(1, body=body), a_queue_message(1, body=body), a_receipt(1, answer=body))

    async def work(transaction: Transaction) -> None:
        for row in rows:
            await put_row(transaction, row)
        for number in range(2, 40):
            await transaction.enqueue(a_queue_message(number, body=body))
        assert await transaction.find_sending(an_id(1)) == rows[0]
        assert await transaction.find_reply(an_id(1)) == rows[1]

    await store.transact(work)
    assert await find_sending(store, 1) == rows[0]
    assert await find_reply(store, 1) == rows[1]
    assert await find_receipt(store, 1) == rows[3]
    (first,) = await store.lease_queue(at(0), at(60), 1)
    assert first.message == rows[2]
    assert (await store.queue_figures(at(0))).waiting == 38
    with pytest.raises(Conflict):
        await put(store, a_message(1), a_queue_message(1))
    assert await store.find_message(an_id(1)) is None
    await store.close()


async def test_a_purge_leaves_alone_what_somebody_is_at_work_with(url: str) -> None:
    store = await opened(url)
    await put(store, a_message(1), a_message(2), a_sending(3))
    begun, end = asyncio.Event(), asyncio.Event()

    async def work(transaction: Transaction) -> None:
        assert await transaction.find_message(an_id(1)) is not None
        begun.set()
        await end.wait()
        await transaction.put_sending(a_sending(1))

    working = asyncio.create_task(store.transact(work))
    await begun.wait()
    assert (await store.purge(Retention(messages=at(100), now=at(100)))).messages == 1
    end.set()
    await working
    assert await store.find_message(an_id(1)) == a_message(1)
    assert await find_sending(store, 1) == a_sending(1)
    await store.close()


async def test_an_id_that_no_database_can_keep_is_that_of_nothing(url: str) -> None:
    store = await opened(url)
    assert await store.find_message("a\0b") is None
    assert not await store.acknowledge("a\0b")
    assert not await store.requeue("a\0b")
    with pytest.raises(StoreError):
        await put(store, a_message(1, message_id="a\0b"))
    await put(store, a_message(1))
    await store.close()


async def test_tokens_are_kept_for_a_while(postgres: PostgresServer, url: str) -> None:
    """They grow with time, so that the old ones are those before one of an instant."""
    assert token_at(1000) < token_at(1001) < token_at(2**47)
    assert token_at(0) < mint_token() < token_at(2**47)
    store = await opened(url)
    await put(store, a_message(1))
    name = url.rpartition("/")[2]
    assert postgres.sql("SELECT count(*) FROM ending", name) == "1"
    await store.purge(Retention(messages=at(-1), now=at(-(10**8))))
    assert postgres.sql("SELECT count(*) FROM ending", name) == "1"
    await store.purge(Retention(messages=at(-1), now=at(10**8)))
    assert postgres.sql("SELECT count(*) FROM ending", name) == "0"
    await store.close()


# --- hints ------------------------------------------------------------------------------------------------------------


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 what is waited for comes from the server
            await asyncio.sleep(0.01)


async def test_others_hear_what_is_announced_and_who_says_it_does_not(postgres: PostgresServer, url: str) -> None:
    """After the line was down everybody is told that words may be missing."""
    async with FaultProxy(postgres.port) as proxy:
        first, second = PostgresMhsStore(proxy.url(url), patience=30), PostgresMhsStore(proxy.url(url), patience=30)
        heard: dict[str, list[str]] = {"first": [], "second": []}
        first.listen(heard["first"].append)
        second.listen(heard["second"].append)
        first.announce("before anybody listens")
        await first.open()
        await second.open()
        await until(lambda: first.hearing and second.hearing)
        first.announce("reply “1”")
        first.announce("x" * 5000)
        second.announce("queue")
        await until(lambda: heard == {"first": ["", "queue"], "second": ["", "reply “1”"]})
        await proxy.deafen()
        proxy.cut()
        await until(lambda: not first.hearing and not second.hearing)
        await proxy.listen()
        await until(lambda: heard == {"first": ["", "queue", ""], "second": ["", "reply “1”", ""]})
        first.announce("reply 2")
        await until(lambda: heard["second"][-1] == "reply 2")
        await first.close()
        assert not first.hearing
        first.announce("afterwards")
        await second.close()


async def test_callers_are_woken_by_what_their_neighbours_hear(url: str) -> None:
    """Whoever waits looks at once; whoever waits for something else sleeps on."""
    stores = PostgresMhsStore(url, patience=30), PostgresMhsStore(url, patience=30)
    (replies, arrivals), (their_replies, their_arrivals) = (join(store, alone=True) for store in stores)
    for store in stores:
        await store.open()
    await until(lambda: all(store.hearing for store in stores))
    found: list[str] = []
    looks: list[str] = []

    async def look(key: str) -> str | None:
        looks.append(key)
        return key if key in found else None

    waiting = [
        asyncio.create_task(replies.wait("1", lambda: look("1"), seconds=3000, interval=1000)),
        asyncio.create_task(arrivals.wait(lambda: look("queue"), seconds=3000, interval=1000)),
        asyncio.create_task(replies.wait("2", lambda: look("2"), seconds=3000, interval=1000)),
    ]
    await until(lambda: len(looks) == 3)
    found += ["1", "queue"]
    their_replies.arrived("1")
    their_arrivals.tell()
    async with asyncio.timeout(60):
        assert await asyncio.gather(*waiting[:2]) == ["1", "queue"]
    assert looks.count("2") == 1
    waiting[2].cancel()
    for store in stores:
        await store.close()


async def test_a_store_that_is_away_is_asked_again_by_who_is_patient() -> None:
    answers: list[str | None] = [None, None, "reply"]

    async def look() -> str | None:
        if (answer := answers.pop(0)) is None:
            raise StoreUnavailable("away")
        return answer

    assert await Replies().wait("1", look, seconds=3000, interval=0.01, patient=True) == "reply"
    answers[:] = [None]
    with pytest.raises(StoreUnavailable):
        await Replies().wait("1", look, seconds=3000, interval=0.01)


# --- bodies -----------------------------------------------------------------------------------------------------------


async def test_f17_no_body_lies_in_the_database_in_clear(postgres: PostgresServer, url: str) -> None:
    """With a key; without one they do, so that this test can fail."""
    bodies = (a_sending(1, body=SECRET), a_reply(1, body=SECRET), a_queue_message(1, body=SECRET))
    written = SECRET.hex()
    for key, there in ((KEY, False), ("", True)):
        database = postgres.create_database()
        store = open_store(settings(store=database, secret_store_key=key))
        await store.open()
        await put(store, *bodies)
        await store.close()
        assert (written in "".join(everything(postgres, database))) is there


async def test_f17_another_key_or_none_is_refused_and_the_first_still_opens(url: str) -> None:
    store = open_store(settings(store=url, secret_store_key=KEY))
    await store.open()
    await put(store, a_receipt(1))
    await store.close()
    for key in ("B" * 43 + "=", ""):
        stranger = open_store(settings(store=url, secret_store_key=key))
        told = await refusal(stranger)
        assert "MHS_SECRET_STORE_KEY" in told
        assert KEY not in told
        assert not await stranger.writable()
    await store.open()
    assert await find_receipt(store, 1) == a_receipt(1)
    await store.close()


async def test_what_is_damaged_holds_up_nothing_else(postgres: PostgresServer, url: str) -> None:
    store = open_store(settings(store=url, secret_store_key=KEY))
    await store.open()
    await put(store, *(row(number) for number in (1, 2) for row in (a_message, a_sending, a_queue_message)))
    for statement in (
        "UPDATE queue_body SET body = (SELECT body FROM queue_body WHERE sequence = 2) WHERE sequence = 1",
        f"UPDATE sending_body SET body = substr(body, 1, 30) WHERE message_id = '{an_id(1)}'",
        f"UPDATE message SET workflow = 'none' WHERE message_id = '{an_id(1)}'",
    ):
        postgres.sql(statement, url.rpartition("/")[2])
    assert [each.message for each in await store.lease_queue(at(0), at(60), 10)] == [a_queue_message(2)]
    assert [letter.id for letter in await store.dead_letters(10)] == [an_id(1)]
    assert list(await store.lease_sendings(at(0), at(60), 10)) == [a_sending(2)]
    assert list(await store.lease_sendings(at(60), at(120), 10)) == [a_sending(2)]
    with pytest.raises(StoreError, match="damaged"):
        await store.find_message(an_id(1))
    assert await store.find_message(an_id(2)) == a_message(2)
    await store.close()


# --- what cannot be opened --------------------------------------------------------------------------------------------


async def refusal(store: Store) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await store.open()
    return str(refused.value)


async def test_a_database_that_cannot_be_used_is_told_in_one_line_without_its_password(
    postgres: PostgresServer, url: str
) -> None:
    name = url.rpartition("/")[2]
    wrong = {
        url.replace(quote(PASSWORD, safe=""), "else"): "refuses",
        url.replace(name, "nobody_made_it"): "does not exist",
        url.replace(f":{postgres.port}/", ":1/"): "nobody listens",
    }
    for address, words in wrong.items():
        told = await refusal(open_store(settings(store=address)))
        assert words in told, told
        assert "\n" not in told
        assert PASSWORD not in told
        assert quote(PASSWORD, safe="") not in told


@pytest.mark.parametrize("address", ["postgresql:", "postgresql://", "postgresql://h", "postgresql://u:p@h:x/d"])
def test_a_url_that_names_no_database_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="postgresql://USER:PASSWORD@HOST:5432/DATABASE"):
        open_store(settings(store=address))


async def test_a_database_of_another_kind_or_time_is_left_as_it_is(postgres: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    postgres.sql("CREATE TABLE somebody_elses (id integer)", name)
    before = everything(postgres, url)
    assert "another program" in await refusal(PostgresMhsStore(url))
    assert everything(postgres, url) == before
    postgres.sql("DROP TABLE somebody_elses", name)
    await (await opened(url)).close()
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", name)
    before = everything(postgres, url)
    assert "newer than this program" in await refusal(PostgresMhsStore(url))
    assert everything(postgres, url) == before


async def test_a_database_that_takes_no_writes_is_refused(postgres: PostgresServer, url: str, tmp_path: Path) -> None:
    name = url.rpartition("/")[2]
    postgres.sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    assert "no writes" in await refusal(PostgresMhsStore(url))
    assert "CREATE TABLE" not in "".join(everything(postgres, url))
