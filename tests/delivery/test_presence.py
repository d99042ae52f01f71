"""Workers that live, die and stand still: who sends what, and who sees to order. Stores are real, timers the test's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openscr.delivery.presence import Presence
from openscr.errors import StoreUnavailable
from openscr.store.interface import Instance, Leasing
from openscr.store.sqlite import SqliteStore
from store.samples import an_outbox_row, append

SILENCE = 30.0
BEAT = 3.0


class Worker:
    """A worker whose words are said when the test says so, by a timer that the test moves."""

    def __init__(self, store: SqliteStore, *, first: bool = False) -> None:
        self.store = store
        self.time = 0.0
        # Its own loop never comes to speak: `beats` does.
        self.presence = Presence(store, "0.1.0", first=first, beat=10_000, silence=SILENCE, timer=lambda: self.time)

    async def beats(self, times: int = 1) -> None:
        """Say that it lives, as often as time goes by."""
        for _ in range(times):
            self.time += BEAT
            await self.presence._speak()
            await asyncio.gather(*self.presence._giving_back.values())

    async def rows(self) -> int:
        """Return how many rows it can have."""
        return len(await self.store.due_outbox(datetime.now(UTC), 100))


class Estate:
    """Workers on one store."""

    def __init__(self, path: Path, stack: AsyncExitStack) -> None:
        self._path = path
        self._stack = stack

    async def worker(self, holder: str, *, first: bool = False) -> Worker:
        """Start a worker."""
        store = SqliteStore(self._path, leasing=Leasing(holder))
        await store.open()
        self._stack.push_async_callback(store.close)
        worker = Worker(store, first=first)
        await worker.presence.start()
        return worker


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Estate]:
    """Give a store that workers can be started on."""
    async with AsyncExitStack() as stack:
        yield Estate(tmp_path / "openscr.db", stack)


async def test_the_longest_living_leads(estate: Estate) -> None:
    """Whoever comes later does not; when the first leaves the next one does, and has what it gave back."""
    one, two = await estate.worker("a/1"), await estate.worker("b/1")
    await one.beats()
    await two.beats()
    assert (one.presence.leads, two.presence.leads) == (True, False)
    await append(one.store, [an_outbox_row(1)])
    assert await two.rows() == 0
    await one.presence.stop()
    await two.beats()
    assert (one.presence.leads, two.presence.leads) == (False, True)
    assert await two.rows() == 1
    assert [each.holder for each in await two.store.read_instances()] == ["b/1"]


async def test_who_is_silent_for_long_is_dead(estate: Estate) -> None:
    """Not before: its rows are nobody else's while it may still live; then whoever leads gives them back."""
    one, two = await estate.worker("a/1"), await estate.worker("b/1")
    await append(one.store, [an_outbox_row(1)])
    await two.beats(int(SILENCE / BEAT))
    assert not two.presence.leads
    assert await two.rows() == 0
    await two.beats(2)
    assert two.presence.leads
    assert await two.rows() == 1
    assert [each.holder for each in await two.store.read_instances()] == ["b/1"]


async def test_who_leads_gives_back_the_rows_of_younger_ones(estate: Estate) -> None:
    """The dead one need not have led."""
    one, two = await estate.worker("a/1"), await estate.worker("b/1")
    await append(two.store, [an_outbox_row(1)])
    await one.beats(int(SILENCE / BEAT) + 2)
    assert await one.rows() == 1
    assert await one.store.outbox_holders() == ["a/1"]


async def test_who_gives_back_much_goes_on_saying_that_it_lives(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hours of rows take longer than others wait for a word; it is begun once, and again after a failure."""
    one, two = await estate.worker("a/1"), await estate.worker("b/1")
    await append(two.store, [an_outbox_row(1)])
    begun: list[str] = []
    failing = asyncio.Event()

    async def withdraw(holder: str) -> int:
        begun.append(holder)
        await failing.wait()
        raise StoreUnavailable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(one.store, "withdraw", withdraw)
        while not begun:
            one.time += BEAT
            await one.presence._speak()
            await asyncio.sleep(0)
        for _ in range(3):
            one.time += BEAT
            await one.presence._speak()
        assert one.presence.leads
        assert begun == ["b/1"]
        failing.set()
        await asyncio.gather(*one.presence._giving_back.values())
    await one.beats()
    assert await one.rows() == 1


async def test_rows_of_somebody_unknown_are_given_back(estate: Estate) -> None:
    """A holder who never said that it lives, or was withdrawn while it stood still."""
    one = await estate.worker("a/1")
    stranger = SqliteStore(one.store.path, leasing=Leasing("c/9"))
    await stranger.open()
    await append(stranger, [an_outbox_row(1)])
    await stranger.close()
    await one.beats(2)
    assert await one.rows() == 1


async def test_who_stood_still_sends_nothing_until_it_has_spoken(estate: Estate) -> None:
    """Others may have taken its rows; once it has said again that it lives, it may."""
    one = await estate.worker("a/1")
    assert one.presence.may_send
    one.time += SILENCE
    assert not one.presence.may_send
    assert not one.presence.leads
    await one.presence._speak()
    assert one.presence.may_send
    assert one.presence.leads


async def test_after_an_outage_nobody_is_taken_for_dead(estate: Estate) -> None:
    """Nobody could speak: whoever comes first waits until the others have had time to."""
    one, two = await estate.worker("a/1"), await estate.worker("b/1")
    await append(one.store, [an_outbox_row(1)])
    await two.beats(5)
    two.time += SILENCE * 3
    two.presence._in_a_row = 0
    await two.beats(3)
    assert await two.rows() == 0
    await one.beats()
    await two.beats(3)
    assert (one.presence.leads, two.presence.leads) == (True, False)
    assert await two.rows() == 0


async def test_a_store_that_fails_ends_no_worker(estate: Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    """It goes on trying, and has to begin anew with judging others."""
    one = await estate.worker("a/1")
    await one.beats(5)
    failed = asyncio.Event()

    async def fails(_: Instance) -> None:
        failed.set()
        raise StoreUnavailable("cut off")

    presence = Presence(one.store, "0.1.0", first=False, beat=0.001)
    with monkeypatch.context() as patch:
        await presence.start()
        patch.setattr(one.store, "announce", fails)
        await failed.wait()
    while not presence._in_a_row:  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0)
    assert presence.leads
    await presence.stop()


async def test_the_first_of_a_place_gives_back_what_earlier_ones_had(estate: Estate) -> None:
    """With fewer workers than before as well; those of other places are left alone."""
    old, kept, other = await estate.worker("a/2"), await estate.worker("a/1"), await estate.worker("aa/1")
    for number, worker in enumerate((old, kept, other)):
        await append(worker.store, [an_outbox_row(number)])
    again = await estate.worker("a/1", first=True)
    assert await again.rows() == 2
    assert await other.rows() == 1
    assert [each.holder for each in await again.store.read_instances()] == ["aa/1", "a/1"]
