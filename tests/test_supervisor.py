"""Workers and their numbers, by which rows of the outbox are theirs: two of one number would send everything twice."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from openscr.settings import load_settings
from openscr.supervisor import Supervisor


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    """Give a supervisor that has not started anything, and has stopped everything in the end."""
    flags = {"data": str(tmp_path / "data"), "web": "127.0.0.1:0", "spine": "127.0.0.1:0", "workers": 2}
    made = Supervisor(load_settings(flags), flags, None)
    yield made
    await made.stop()


async def test_workers_that_start_at_the_same_time_have_numbers_of_their_own(supervisor: Supervisor) -> None:
    """As when all have died at once."""
    workers = await asyncio.gather(*(supervisor._spawn() for _ in range(2)))
    assert sorted(worker.number for worker in workers) == [1, 2]


async def test_the_number_of_a_worker_whose_rows_are_given_back_is_not_given_again(supervisor: Supervisor) -> None:
    """Its colleague may take long to do so: what a successor has must not be meant."""
    colleague, other = await supervisor._spawn(), await supervisor._spawn()
    colleague.ready.set_result(())
    other.process.kill()
    await other.process.wait()
    await _watched(supervisor, until=1)
    successor = await supervisor._spawn()
    assert (colleague.number, other.number, successor.number) == (1, 2, 3)


async def _watched(supervisor: Supervisor, *, until: int) -> None:
    while len(supervisor._watching) > until:
        await asyncio.wait(supervisor._watching, return_when=asyncio.FIRST_COMPLETED)
