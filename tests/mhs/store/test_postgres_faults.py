"""PostgreSQL goes away, and comes back: nothing is lost, nothing is done twice, nobody is left in doubt or waiting.

Spec: engine.md "What the protocol layer does with it"; 50 E5, A3.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from fault_proxy import AtCommit, FaultProxy
from openscr.errors import OutcomeUnknown, StoreError, StoreUnavailable
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.postgres import PostgresMhsStore
from postgres import PostgresServer, postgres_server

from .samples import a_message, a_queue_message, an_entry, an_id, at, put

LONG = 60.0
"""Seconds after which a test gives up; nothing in it takes that long."""


@pytest.fixture
async def proxy(postgres: PostgresServer) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(postgres.port) as between:
        yield between


async def opened(url: str, patience: float) -> PostgresMhsStore:
    store = PostgresMhsStore(url, patience=patience)
    await store.open()
    return store


@pytest.mark.parametrize("kind", AtCommit)
async def test_a_commit_without_a_word_is_looked_up(
    kind: AtCommit, proxy: FaultProxy, postgres: PostgresServer
) -> None:
    """Whoever is told of success finds its rows once; whoever is told of a failure finds none, and never will."""
    silent = kind in {AtCommit.SILENT_BEFORE, AtCommit.SILENT_AFTER}
    store = await opened(proxy.url(postgres.create_database()), 1 if silent else 20)
    runs = 0

    async def work(transaction: Transaction) -> str:
        nonlocal runs
        runs += 1
        await transaction.put_message(a_message(1))
        await transaction.enqueue(a_queue_message(1))
        await transaction.append_audit(an_entry(1))
        return "done"

    struck = proxy.strike(kind, statement="INSERT INTO message")
    if kind is AtCommit.SILENT_BEFORE:
        # By the time that this is known there is no time left to begin anew.
        with pytest.raises(StoreUnavailable):
            await store.transact(work)
        assert struck.is_set()
        assert await store.find_message(an_id(1)) is None
        assert runs == 1
        # The server has not heard of the end either, and lets go of the keys by itself.
        await until(lambda: store.transact(work))
    else:
        assert await store.transact(work) == "done"
        assert struck.is_set()
        assert kind.committed is None or runs == (1 if kind.committed else 2)
    assert await store.find_message(an_id(1)) == a_message(1)
    assert (await store.queue_figures(at(0))).waiting == 1
    assert [row.sequence async for row in store.read_audit()] == [1]
    assert await store.verify_audit() is None
    await store.close()


@pytest.mark.parametrize("kind", [AtCommit.CUT_BEFORE, AtCommit.CUT_AFTER, AtCommit.ERROR_AFTER])
async def test_an_acknowledgement_without_a_word_is_looked_up(
    kind: AtCommit, proxy: FaultProxy, postgres: PostgresServer
) -> None:
    store = await opened(proxy.url(postgres.create_database()), 20)
    await put(store, a_queue_message(1), a_queue_message(2))
    first, second = await store.lease_queue(at(0), at(60), 2)
    struck = proxy.strike(kind, statement="DELETE FROM queue")
    assert await store.acknowledge(first.receipt)
    assert struck.is_set()
    assert not await store.acknowledge(first.receipt)
    struck = proxy.strike(kind, statement="UPDATE queue SET receipt = NULL")
    assert await store.release(second.receipt, deliveries_allowed=9, now=at(1), not_before=at(1))
    assert struck.is_set()
    ((again,),) = (await store.lease_queue(at(1), at(60), 2),)
    assert again.deliveries == 2
    await store.close()


async def test_an_outcome_that_nobody_can_look_up_is_said_to_be_unknown(
    proxy: FaultProxy, postgres: PostgresServer
) -> None:
    store = await opened(proxy.url(postgres.create_database()), 20)
    await put(store, a_message(2))
    struck = proxy.strike(AtCommit.CUT_AFTER, statement="INSERT INTO message")

    async def refuse_from_then_on() -> None:
        await struck.wait()
        proxy.refusing = True

    refusing = asyncio.create_task(refuse_from_then_on())
    with pytest.raises(OutcomeUnknown):
        await put(store, a_message(1))
    await refusing
    proxy.refusing = False
    await comes_back(store)
    assert await store.find_message(an_id(1)) == a_message(1)
    await store.close()


async def test_a_silent_server_keeps_one_waiting_and_refuses_the_rest(
    proxy: FaultProxy, postgres: PostgresServer
) -> None:
    """Who comes while it is known to be silent is told at once, but for one that finds out whether it still is."""
    store = await opened(proxy.url(postgres.create_database()), 1)
    await put(store, a_message(1))
    proxy.silent = True
    async with asyncio.timeout(LONG):
        with pytest.raises(StoreUnavailable):
            await put(store, a_message(2))
        probing = asyncio.create_task(store.writable())
        await asyncio.sleep(0)
        refused = await asyncio.gather(*(put(store, a_message(3)) for _ in range(500)), return_exceptions=True)
        assert not probing.done()
        assert all(isinstance(error, StoreUnavailable) for error in refused)
        assert not await probing
    proxy.silent = False
    proxy.cut()
    await comes_back(store)
    assert await store.find_message(an_id(2)) is None
    await put(store, a_message(2))
    await store.close()


async def until(succeeds: Callable[[], Awaitable[object]]) -> None:
    """Ask again and again until the store does not refuse, and something comes of it."""
    async with asyncio.timeout(LONG):
        while True:
            with suppress(StoreError):
                if await succeeds():
                    return
            await asyncio.sleep(0.02)


async def grows(numbers: set[int], by: int) -> None:
    goal = len(numbers) + by

    async def grown() -> bool:
        return len(numbers) >= goal

    await until(grown)


async def comes_back(store: PostgresMhsStore) -> None:
    await until(store.writable)


async def test_an_address_that_goes_away_leaves_the_other(postgres: PostgresServer) -> None:
    """A URL with several addresses: the one that answers is used, and nobody is told of the change."""
    url = postgres.create_database()
    async with FaultProxy(postgres.port) as first, FaultProxy(postgres.port) as second:
        both = url.replace(f":{postgres.port}/", f":{first.port},127.0.0.1:{second.port}/")
        store = await opened(f"{both}?target_session_attrs=read-write", 20)
        for gone in (first, second):
            await put(store, a_queue_message(gone.port))
            await gone.deafen()
            gone.cut()
            await asyncio.gather(*(put(store, a_queue_message(gone.port * 100 + number)) for number in range(20)))
            await gone.listen()
        assert (await store.queue_figures(at(0))).waiting == 42
        await store.close()


async def test_what_was_accepted_is_finished_and_what_comes_after_closing_is_refused(postgres: PostgresServer) -> None:
    store = await opened(postgres.create_database(), 20)
    begun, end = asyncio.Event(), asyncio.Event()

    async def work(transaction: Transaction) -> None:
        begun.set()
        await end.wait()
        await transaction.put_message(a_message(1))

    working = asyncio.create_task(store.transact(work))
    await begun.wait()
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0)
    with pytest.raises(StoreUnavailable):
        await put(store, a_message(2))
    assert not closing.done()
    end.set()
    await working
    await closing
    await store.open()
    assert await store.find_message(an_id(1)) == a_message(1)
    await store.close()


# --- the server itself ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    """A server that tests may kill; it syncs to disk."""
    with postgres_server(durable=True) as server:
        yield server


class Journal:
    """What clients were told: numbers of messages."""

    def __init__(self) -> None:
        self.stored: set[int] = set()
        self.doubtful: set[int] = set()
        self.refused: set[int] = set()
        self.acknowledged: set[int] = set()
        self.doubtful_acknowledgements: set[int] = set()


async def clients(store: PostgresMhsStore, journal: Journal, end: asyncio.Event) -> None:
    """Put messages onto the queue and take them, many at once, and write down what was said of each."""
    numbers = iter(range(10**9))

    async def producer() -> None:
        while not end.is_set():
            number = next(numbers)
            try:
                await put(store, a_message(number), a_queue_message(number), an_entry(number))
                journal.stored.add(number)
            except OutcomeUnknown:
                journal.doubtful.add(number)
            except StoreError:
                journal.refused.add(number)
                await asyncio.sleep(0.02)

    async def consumer() -> None:
        while not end.is_set():
            try:
                for leased in await store.lease_queue(at(0), at(60), 3):
                    await take(int(leased.message.id[-12:]), leased.receipt)
            except StoreError:
                await asyncio.sleep(0.02)

    async def take(number: int, receipt: str) -> None:
        assert number not in journal.acknowledged
        try:
            if await store.acknowledge(receipt):
                journal.acknowledged.add(number)
        except OutcomeUnknown:
            journal.doubtful_acknowledgements.add(number)

    await asyncio.gather(*(producer() for _ in range(6)), *(consumer() for _ in range(2)))


async def test_a_killed_server_loses_nothing_and_does_nothing_twice(mortal: PostgresServer) -> None:
    """It is killed and started again while clients work; then everybody's word is compared with the store."""
    store = await opened(mortal.create_database(), 0.5)
    journal, end = Journal(), asyncio.Event()
    working = asyncio.create_task(clients(store, journal, end))
    for go_away in (mortal.kill, mortal.stop, mortal.kill):
        await grows(journal.acknowledged, 30)
        await asyncio.to_thread(go_away)
        await grows(journal.refused, 3)
        await asyncio.to_thread(mortal.start)
    await comes_back(store)
    end.set()
    async with asyncio.timeout(LONG):
        await working
    # What was lent to somebody whom the answer never reached is lent again once that time is over.
    left: set[int] = set()
    while some := await store.lease_queue(at(600), at(660), 100):
        left |= {int(leased.message.id[-12:]) for leased in some}
    assert not left & journal.acknowledged
    assert journal.stored <= left | journal.acknowledged | journal.doubtful_acknowledgements
    assert not journal.refused & (left | journal.acknowledged)
    rows = [row.entry.content["message_id"] async for row in store.read_audit()]
    assert len(rows) == len(set(rows))
    assert {an_id(number) for number in journal.stored} <= set(rows)
    assert not {an_id(number) for number in journal.refused} & set(rows)
    assert await store.verify_audit() is None
    await store.close()


async def test_a_frozen_server_is_an_outage_that_ends(mortal: PostgresServer) -> None:
    store = await opened(mortal.create_database(), 0.5)
    await put(store, a_message(1))
    mortal.freeze()
    try:
        async with asyncio.timeout(LONG):
            told = await asyncio.gather(*(put(store, a_message(2)) for _ in range(40)), return_exceptions=True)
            assert all(isinstance(error, StoreUnavailable) for error in told)
            assert not await store.writable()
    finally:
        mortal.thaw()
    await comes_back(store)
    assert await store.find_message(an_id(2)) is None
    await put(store, a_message(2))
    await store.close()
