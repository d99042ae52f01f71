"""Workers and their numbers, by which rows of the outbox are theirs: two of one number would send everything twice."""

import asyncio
import signal
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.post import Post
from openscr.service import Service
from openscr.settings import load_settings
from openscr.store.migrations import SERVICE, upgrade_sqlite
from openscr.supervisor import LONGEST_PAUSE, MOST_SILENCE, PAUSE_OF_NOBODY, Supervisor


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
    colleague.process.kill()
    await _watched(supervisor, until=1)
    assert supervisor._lost == {1, 2}, "who gave it back has died himself"


async def test_after_many_deaths_nobody_waits_long_for_the_only_worker(supervisor: Supervisor) -> None:
    """Each that dies soon is replaced later; but not when it has served, and nobody else does."""
    pauses = [supervisor._next_pause(was_ready=True) for _ in range(10)]
    assert pauses[:3] == [0.2, 0.4, 0.8]
    assert max(pauses) == PAUSE_OF_NOBODY
    assert supervisor._next_pause(was_ready=False) == LONGEST_PAUSE
    colleague = await supervisor._spawn()
    colleague.ready.set_result(())
    assert supervisor._next_pause(was_ready=True) == LONGEST_PAUSE
    colleague.process.kill()


async def test_only_the_first_worker_changes_the_schema(supervisor: Supervisor) -> None:
    """A newer program that takes over worker by worker finds an older one at work, which knows no other schema."""
    settings = supervisor._settings
    settings.make_data_folder()
    older = SERVICE.revisions[-2]
    with closing(sqlite3.connect(settings.data / "openscr.db", isolation_level=None)) as connection:
        upgrade_sqlite(connection, older, scripts=SERVICE.scripts)
    successor = Service(settings, post=Post(number=2, first=False, alone=False))
    with pytest.raises(ConfigurationError, match=f"has schema {older}, this program needs {SERVICE.head}"):
        await successor.start()
    assert await successor.store.current_revision() == older


async def _watched(supervisor: Supervisor, *, until: int) -> None:
    while len(supervisor._watching) > until:
        await asyncio.wait(supervisor._watching, return_when=asyncio.FIRST_COMPLETED)


async def test_a_worker_that_hangs_is_replaced(supervisor: Supervisor) -> None:
    """It may hold connections, rows, a lock of the store. Who answers again when it is asked is left alone."""
    await supervisor.start()
    assert supervisor._looking is not None
    supervisor._looking.cancel()
    late, hanging = workers = sorted(supervisor._workers, key=lambda worker: worker.number)
    for worker in workers:
        worker.process.send_signal(signal.SIGSTOP)
    for _ in range(MOST_SILENCE):
        supervisor._look()
    late.process.send_signal(signal.SIGCONT)
    while late.silence:  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0.01)
    supervisor._look()
    assert await hanging.process.wait() == -signal.SIGKILL
    while len(replaced := supervisor._workers - {hanging}) < 2:  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0.01)
    assert late in replaced
    await asyncio.gather(*(worker.ready for worker in replaced))
    while supervisor._giving_back:  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0.01)
