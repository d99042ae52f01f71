"""What time removes from the store: by the settings, round by round, whatever happens in between. Spec: 50 F17."""

import asyncio
from pathlib import Path

import pytest

from openscr.errors import StoreFull
from openscr.mhs.store.housekeeping import Housekeeping
from openscr.mhs.store.interface import Removed, Retention, SendState, Store
from openscr.mhs.store.memory import MemoryStore

from ..rig import TestClock, context
from .conftest import ENGINES, needs
from .samples import a_message, a_queue_message, a_receipt, a_sending, an_id, at, put

DAY = 86_400.0
PATIENCE = 60.0


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    needs(request.param, request)
    made: Store = ENGINES[request.param](tmp_path)
    await made.open()
    yield made
    await made.close()


def clock_at(seconds: float) -> TestClock:
    clock = TestClock()
    clock.now = at(seconds)
    return clock


async def test_f17_states_go_after_their_days(store: Store) -> None:
    await put(store, a_message(0), a_message(1), a_sending(1), a_message(2), a_message(3))
    house = Housekeeping(context(store=store, clock=clock_at(30 * DAY + 3)))
    assert await house.clean() == Removed(messages=2)
    assert await store.find_message(an_id(1)) is not None
    assert await store.find_message(an_id(3)) is not None
    # What waited for its delivery goes once that has ended.
    await put(store, a_sending(1, state=SendState.FAILED))
    assert await house.clean() == Removed(messages=1)


async def test_f17_the_days_are_a_setting(store: Store) -> None:
    await put(store, a_message(0))
    assert await Housekeeping(context(store=store, clock=clock_at(DAY + 1))).clean() == Removed()
    house = Housekeeping(context(store=store, clock=clock_at(DAY + 1), state_retention_days=1))
    assert await house.clean() == Removed(messages=1)


async def test_f17_memories_of_duplicates_go_when_they_expire(store: Store) -> None:
    await put(store, a_receipt(1, expires_at=at(10)), a_receipt(2, expires_at=at(11)))
    assert await Housekeeping(context(store=store, clock=clock_at(10))).clean() == Removed(receipts=1)


async def test_f17_queue_messages_go_when_their_time_to_live_is_over_and_never_without_one(store: Store) -> None:
    await put(store, a_queue_message(0), a_queue_message(50))
    clock = clock_at(101)
    assert await Housekeeping(context(store=store, clock=clock)).clean() == Removed()
    house = Housekeeping(context(store=store, clock=clock, inbound_queue_message_ttl_in_seconds=100))
    assert await house.clean() == Removed(queue=1)
    assert (await store.queue_figures(clock())).oldest == at(50)


@pytest.mark.parametrize("broker", [False, True])
async def test_messages_whose_consumers_vanished_become_dead_letters_unless_a_relay_takes_them(
    broker: bool, store: Store
) -> None:
    await put(store, a_queue_message(0))
    await store.lease_queue(at(0), at(60), 1)
    adaptor = context(store=store, clock=clock_at(60), publisher=object() if broker else None, queue_deliveries=1)  # type: ignore[arg-type]
    await Housekeeping(adaptor).clean()
    assert (await store.queue_figures(at(60))).dead == (0 if broker else 1)


class FailingStore(MemoryStore):
    """A store that fails in the first rounds."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.rounds = 0
        self.cleaned = asyncio.Event()
        self._failures = failures

    async def purge(self, retention: Retention) -> Removed:
        """Fail, then clean up."""
        self.rounds += 1
        if self.rounds <= len(self._failures):
            raise self._failures[self.rounds - 1]
        removed = await super().purge(retention)
        self.cleaned.set()
        return removed


async def test_rounds_go_on_after_failures_until_they_are_stopped() -> None:
    store = FailingStore(StoreFull("no space left for the database"), RuntimeError("unforeseen"))
    await store.open()
    await put(store, a_message(0))
    house = Housekeeping(context(store=store, clock=clock_at(31 * DAY)), period=0.001)
    house.start()
    async with asyncio.timeout(PATIENCE):
        await store.cleaned.wait()
    await house.stop()
    assert store.rounds >= 3
    assert await store.find_message(an_id(0)) is None
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await house.stop()
