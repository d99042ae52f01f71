"""The relay between a real store and a real web server: nothing is lost, little is repeated, the order is kept."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

import pytest

from openscr.errors import StoreUnavailable
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue import relay
from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.queue.relay import Relay
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store.interface import LeasedMessage, Store, Transaction
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.opening import open_store

from .. import rig
from .suppliers import message
from .web_supplier import WebSupplier, web_supplier

ENGINES = {"memory": "memory:", "sqlite": ""}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "SHORTEST", 0.001)
    monkeypatch.setattr(relay, "LONGEST", 0.01)
    monkeypatch.setattr(relay, "LOOK", 0.01)


@pytest.fixture(params=ENGINES)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = open_store(rig.settings(store=ENGINES[request.param], data=tmp_path))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def supplier() -> AsyncIterator[WebSupplier]:
    async with web_supplier() as running:
        yield running


class HurryingClock(rig.TestClock):
    """A clock by which every pause is over at the next look."""

    def __call__(self) -> datetime:
        self.move(relay.LONGEST_ASIDE)
        return self.now


FOREVER = 31_622_400
"""Seconds of a lease that does not end while a clock hurries."""


@asynccontextmanager
async def adaptor(
    store: Store, supplier: WebSupplier, clock: rig.TestClock | None = None, **changes: object
) -> AsyncIterator[AdaptorContext]:
    """Put an adaptor together whose queue is the supplier's web server."""
    values = {"queue": "webhook", "webhook_url": supplier.url, "inbound_queue_max_retries": 0}
    publisher = open_queue(rig.settings(**(values | changes)))
    assert publisher is not None
    context = rig.context(store=store, publisher=publisher, clock=clock, **(values | changes))
    try:
        yield context
    finally:
        await publisher.close()


@asynccontextmanager
async def relaying(context: AdaptorContext) -> AsyncIterator[Relay]:
    """Run a relay."""
    running = Relay(context, publisher_of(context))
    running.start()
    try:
        yield running
        assert running.at_work
    finally:
        await running.stop()
    assert not running.at_work


async def enqueue(context: AdaptorContext, count: int) -> list[str]:
    """Put messages onto the queue, one transaction each; return their ids."""
    ids = []
    for _ in range(count):
        ids.append(await put(context, message()))
    return ids


async def put(context: AdaptorContext, each: QueueMessage) -> str:
    async def work(transaction: Transaction) -> None:
        await transaction.enqueue(each)

    await context.store.transact(work)
    context.arrivals.tell()
    return each.id


def keys(supplier: WebSupplier) -> list[str]:
    return [taken.key for taken in supplier.taken]


def counted(context: AdaptorContext, outcome: str) -> float:
    return context.figures.registry.get_sample_value("mhs_relayed_total", {"outcome": outcome}) or 0


async def left(context: AdaptorContext) -> tuple[int, int]:
    """Return how many messages are alive on our queue, and how many dead."""
    figures = await context.store.queue_figures(context.clock())
    return figures.waiting + figures.leased, figures.dead


async def test_e5_messages_reach_the_broker_in_their_order_and_leave_our_queue(
    store: Store, supplier: WebSupplier
) -> None:
    async with adaptor(store, supplier) as context:
        before = await enqueue(context, 100)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 100)
            after = await enqueue(context, 10)
            await supplier.until(lambda: len(supplier.taken) == 110)
        assert keys(supplier) == before + after
        assert await left(context) == (0, 0)
        assert counted(context, "taken") == 110


async def test_e5_an_outage_however_long_loses_nothing_and_buries_nothing(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier, HurryingClock(), queue_deliveries=1, queue_lease=FOREVER) as context:
        supplier.answer = lambda _: 503
        async with relaying(context):
            ids = await enqueue(context, 5)
            await supplier.until(lambda: len(supplier.asked) >= 20)
            assert await left(context) == (5, 0)
            supplier.answer = lambda _: 204
            await supplier.until(lambda: len(supplier.taken) == 5)
        assert sorted(keys(supplier)) == sorted(ids)
        assert await left(context) == (0, 0)
        assert counted(context, "failed") >= 20


async def test_e5_a_broker_that_is_away_is_found_when_it_is_back(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        failed = asyncio.Event()
        look = publisher_of(context).reachable

        async def reachable() -> bool:
            found = await look()
            if not found:
                failed.set()
            return found

        publisher_of(context).reachable = reachable  # type: ignore[method-assign]
        await supplier.stop()
        ids = await enqueue(context, 5)
        async with relaying(context):
            await failed.wait()
            await supplier.start()
            await supplier.until(lambda: len(supplier.taken) == 5)
        assert keys(supplier) == ids


async def test_during_an_outage_the_first_message_alone_is_tried(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        supplier.answer = lambda _: 503
        first, *_ = await enqueue(context, 5)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.asked) >= relay.STUCK)
        assert {asked.key for asked in supplier.asked[: relay.STUCK]} == {first}


async def test_one_refused_message_holds_up_no_other_and_ends_as_a_dead_letter(
    store: Store, supplier: WebSupplier
) -> None:
    async with adaptor(store, supplier, HurryingClock(), queue_deliveries=3, queue_lease=FOREVER) as context:
        bad, *good = await enqueue(context, 3)
        supplier.answer = lambda key: 400 if key == bad else 204
        async with relaying(context):
            await supplier.until(lambda: len(asked_for(supplier, bad)) == 3)
        assert keys(supplier) == good
        assert await left(context) == (0, 1)
        assert [letter.id for letter in await store.dead_letters(10)] == [bad]
        assert counted(context, "refused") == 3


async def test_a_dead_letter_that_is_requeued_is_handed_over(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier, HurryingClock(), queue_deliveries=2, queue_lease=FOREVER) as context:
        bad, good = message(), message()
        supplier.answer = lambda key: 400 if key == bad.id else 204
        async with relaying(context):
            await put(context, bad)
            await put(context, good)
            await supplier.until(lambda: bad.id in after(supplier, good.id) and len(asked_for(supplier, bad.id)) >= 2)
        assert await left(context) == (0, 1)
        supplier.answer = lambda _: 204
        assert await store.requeue(bad.id)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 2)
        assert await left(context) == (0, 0)


async def test_a_broker_that_refuses_everything_makes_no_dead_letters(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier, HurryingClock(), queue_deliveries=1, queue_lease=FOREVER) as context:
        supplier.answer = lambda _: 400
        ids = await enqueue(context, 4)
        async with relaying(context):
            await supplier.until(lambda: all(len(asked_for(supplier, id)) >= 3 for id in ids))
            supplier.answer = lambda _: 204
            await supplier.until(lambda: len(supplier.taken) == 4)
        assert sorted(keys(supplier)) == sorted(ids)
        assert await left(context) == (0, 0)


async def test_one_message_that_the_broker_fails_over_stops_the_others_for_a_while_only(
    store: Store, supplier: WebSupplier
) -> None:
    clock = rig.TestClock()
    async with adaptor(store, supplier, clock, queue_deliveries=1) as context:
        bad, *good = await enqueue(context, 10)
        supplier.answer = lambda key: 500 if key == bad else 204
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 9)
        assert await left(context) == (1, 0)
        supplier.answer = lambda _: 204
        clock.move(relay.LONGEST_ASIDE)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 10)
        assert keys(supplier) == [*good, bad]


def after(supplier: WebSupplier, key: str) -> list[str]:
    """Return what was asked after a message had been."""
    asked = [each.key for each in supplier.asked]
    return asked[asked.index(key) + 1 :] if key in asked else []


def asked_for(supplier: WebSupplier, key: str) -> list[object]:
    return [asked for asked in supplier.asked if asked.key == key]


async def test_a_relay_that_ends_leaves_the_rest_to_the_next_at_once(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        ids = await enqueue(context, 10)
        supplier.open.clear()
        ending = Relay(context, publisher_of(context))
        ending.start()
        await supplier.until(lambda: len(supplier.asked) == 1)
        stopping = asyncio.create_task(ending.stop(grace=60))
        await asyncio.sleep(0)
        supplier.open.set()
        await stopping
        assert keys(supplier) == ids[:1]
        figures = await store.queue_figures(context.clock())
        assert (figures.waiting, figures.leased) == (9, 0)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 10)
        assert keys(supplier) == ids


async def test_a_relay_that_may_not_wait_gives_everything_back(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        ids = await enqueue(context, 3)
        supplier.open.clear()
        ending = Relay(context, publisher_of(context))
        ending.start()
        await supplier.until(lambda: len(supplier.asked) == 1)
        await ending.stop(grace=0)
        figures = await store.queue_figures(context.clock())
        assert (figures.waiting, figures.leased) == (3, 0)
        supplier.open.set()
        async with relaying(context):
            await supplier.until(lambda: set(keys(supplier)) == set(ids))


async def test_two_relays_share_the_work(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        ids = await enqueue(context, 300)
        async with relaying(context), relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 300)
        assert sorted(keys(supplier)) == sorted(ids)
        assert await left(context) == (0, 0)


async def test_a_relay_never_holds_more_than_its_lease_covers(supplier: WebSupplier) -> None:
    """With half of the lease over, what is left goes back, so that nobody gets it twice."""
    store = MemoryStore()
    await store.open()
    clock = rig.TestClock()
    async with adaptor(store, supplier, clock, queue_lease=60) as context:
        ids = await enqueue(context, 4)

        def take_long(_: str) -> int:
            clock.move(31)
            return 204

        supplier.answer = take_long
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 4)
        assert keys(supplier) == ids


class FailingStore(MemoryStore):
    """A store that cannot be asked for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.fails: set[str] = set()
        self.failed = asyncio.Event()

    def _fail(self, name: str) -> None:
        if name in self.fails:
            self.failed.set()
            raise StoreUnavailable("the disk is away")

    async def lease_queue(self, *arguments: object) -> Sequence[LeasedMessage]:
        self._fail("lease_queue")
        return await super().lease_queue(*arguments)  # type: ignore[arg-type]

    async def acknowledge(self, receipt: str) -> bool:
        self._fail("acknowledge")
        return await super().acknowledge(receipt)


async def test_a_store_that_is_away_is_asked_again(supplier: WebSupplier) -> None:
    store = FailingStore()
    await store.open()
    store.fails.add("lease_queue")
    async with adaptor(store, supplier) as context:
        ids = await enqueue(context, 2)
        async with relaying(context):
            await store.failed.wait()
            store.fails.clear()
            await supplier.until(lambda: len(supplier.taken) == 2)
        assert keys(supplier) == ids


async def test_what_is_handed_over_twice_bears_the_same_id(supplier: WebSupplier) -> None:
    """The store goes between the broker's word and ours: who reads the queue can tell that it has the message."""
    store = FailingStore()
    await store.open()
    store.fails.add("acknowledge")
    clock = rig.TestClock()
    async with adaptor(store, supplier, clock) as context:
        (id,) = await enqueue(context, 1)
        async with relaying(context):
            await store.failed.wait()
            store.fails.clear()
            clock.move(context.settings.queue_lease)
            await supplier.until(lambda: len(supplier.taken) == 2)
        assert keys(supplier) == [id, id]
        assert await left(context) == (0, 0)


async def test_a_fault_of_our_own_holds_up_no_other_message(store: Store, supplier: WebSupplier) -> None:
    async with adaptor(store, supplier) as context:
        publisher = publisher_of(context)
        carry = publisher.publish

        async def publish(each: QueueMessage) -> None:
            if each.late:
                raise LookupError("not foreseen")
            await carry(each)

        publisher.publish = publish  # type: ignore[method-assign]
        await put(context, message(late=True))
        good = await enqueue(context, 3)
        async with relaying(context):
            await supplier.until(lambda: len(supplier.taken) == 3)
        assert keys(supplier) == good
        assert await left(context) == (1, 0)


def publisher_of(context: AdaptorContext) -> Publisher:
    assert context.publisher is not None
    return context.publisher
