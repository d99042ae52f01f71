"""Group commit: one sync for many, no false word to anybody."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from contextvars import ContextVar
from math import ceil
from pathlib import Path
from threading import Event

import pytest

from openscr.errors import Conflict, OutcomeUnknown, StoreError, StoreFull, StoreUnavailable
from openscr.store import group_commit
from openscr.store.group_commit import GroupCommitWriter
from openscr.store.sqlite_connection import connect, translate_commit_error, translate_error

INSERT = "INSERT INTO word (id) VALUES (?)"


def connecting(path: Path, said: list[str] | None = None) -> Callable[[], sqlite3.Connection]:
    """Return what opens a database with one table, noting every statement that runs in it."""

    def open_database() -> sqlite3.Connection:
        connection = connect(path, 0)
        connection.execute("CREATE TABLE IF NOT EXISTS word (id INTEGER PRIMARY KEY) STRICT")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS promise"
            " (word INTEGER REFERENCES word (id) DEFERRABLE INITIALLY DEFERRED) STRICT"
        )
        if said is not None:
            connection.set_trace_callback(said.append)
        return connection

    return open_database


def insert(number: int) -> Callable[[sqlite3.Connection], int]:
    """Return the unit that stores a number and answers with it."""

    def unit(connection: sqlite3.Connection) -> int:
        connection.execute(INSERT, (number,))
        return number

    return unit


def stored(path: Path) -> list[int]:
    """Return the numbers in the file, as another program sees them."""
    with closing(sqlite3.connect(path)) as connection:
        return [number for (number,) in connection.execute("SELECT id FROM word ORDER BY id")]


@pytest.fixture(autouse=True)
def _groups_take_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let groups end when nobody waits or they are full, on the slowest machine as well."""
    monkeypatch.setattr(group_commit, "GROUP_SECONDS", 600)


async def held(writer: GroupCommitWriter, units: list[Callable[[sqlite3.Connection], object]]) -> list[object]:
    """Run units that are all asked for in one turn of the loop, so that they form groups."""
    return await asyncio.gather(*(writer.run(unit) for unit in units), return_exceptions=True)


async def test_waiting_units_share_commits(tmp_path: Path) -> None:
    """Units that wait together are committed together, and each gets its own answer."""
    said: list[str] = []
    writer = GroupCommitWriter(connecting(tmp_path / "a.db", said))
    await writer.start()
    assert await held(writer, [insert(number) for number in range(300)]) == list(range(300))
    await writer.stop()
    assert said.count("COMMIT") == said.count("BEGIN IMMEDIATE") == ceil(300 / group_commit.GROUP_LIMIT)
    assert stored(tmp_path / "a.db") == list(range(300))


async def test_no_answer_before_the_commit(tmp_path: Path) -> None:
    """Whoever gets an answer finds the row in the file, as another program sees it."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()

    async def one(number: int) -> None:
        await writer.run(insert(number))
        assert number in stored(tmp_path / "a.db")

    await asyncio.gather(*(one(number) for number in range(40)))
    await writer.stop()


async def test_a_unit_that_raises_hurts_nobody(tmp_path: Path) -> None:
    """A unit that raises takes back its own rows alone, whatever it raises."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()

    def bad(number: int, error: BaseException) -> Callable[[sqlite3.Connection], object]:
        def unit(connection: sqlite3.Connection) -> object:
            connection.execute(INSERT, (number,))
            raise error

        return unit

    errors = [LookupError("a"), Conflict("b"), asyncio.CancelledError(), sqlite3.OperationalError("c")]
    results = await held(
        writer, [insert(1), *(bad(10 + n, error) for n, error in enumerate(errors)), insert(2), insert(1), insert(3)]
    )
    assert results[0] == 1
    assert [type(result) for result in results[1:5]] == [LookupError, Conflict, asyncio.CancelledError, StoreError]
    assert results[5] == 2
    assert isinstance(results[6], Conflict)
    assert results[7] == 3
    await writer.stop()
    assert stored(tmp_path / "a.db") == [1, 2, 3]


async def test_a_failing_commit_fails_the_whole_group(tmp_path: Path) -> None:
    """When the commit is refused nothing of the group is stored and everybody hears it; the next group is stored."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()

    def broken_promise(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO promise (word) VALUES (99)")

    results = await held(writer, [insert(1), broken_promise, insert(2)])
    assert [type(result) for result in results] == [StoreUnavailable] * 3
    assert stored(tmp_path / "a.db") == []
    assert await writer.run(insert(3)) == 3
    await writer.stop()
    assert stored(tmp_path / "a.db") == [3]


async def test_a_transaction_lost_inside_a_unit_fails_the_group(tmp_path: Path) -> None:
    """When the engine rolls everything back in the middle, those before are not told that they are stored."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()

    def lost(connection: sqlite3.Connection) -> None:
        # What the engine does by itself when it runs out of memory or disk.
        connection.execute("ROLLBACK")
        raise sqlite3.OperationalError("synthetic")

    results = await held(writer, [insert(1), lost])
    assert [type(result) for result in results] == [StoreUnavailable, StoreError]
    assert await writer.run(insert(2)) == 2
    await writer.stop()
    assert stored(tmp_path / "a.db") == [2]


async def test_nobody_waits_behind_a_lock(tmp_path: Path) -> None:
    """While another program holds the file everybody who waits is refused at once, not one time-out after the other."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        results = await asyncio.gather(*(writer.run(insert(n)) for n in range(20)), return_exceptions=True)
        assert all(isinstance(result, StoreUnavailable) for result in results)
        other.execute("ROLLBACK")
    assert await writer.run(insert(1)) == 1
    await writer.stop()


async def test_too_many_waiting_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit requests are refused rather than kept."""
    monkeypatch.setattr(group_commit, "WAITING_LIMIT", 10)
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()
    results = await held(writer, [insert(number) for number in range(30)])
    refused = [result for result in results if isinstance(result, StoreUnavailable)]
    assert len(refused) >= 19
    await writer.stop()
    assert len(stored(tmp_path / "a.db")) == 30 - len(refused)


async def test_stopping_finishes_and_refuses(tmp_path: Path) -> None:
    """What was accepted is stored; what comes after is refused; stopping again is harmless."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()
    running = [asyncio.ensure_future(writer.run(insert(number))) for number in range(100)]
    await asyncio.sleep(0)
    await writer.stop()
    assert await asyncio.gather(*running) == list(range(100))
    with pytest.raises(StoreUnavailable):
        await writer.run(insert(100))
    await writer.stop()


async def test_a_cancelled_unit_that_waits_is_not_run(tmp_path: Path) -> None:
    """A caller that gives up before its turn leaves nothing."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()
    # The first group's commit stands behind this, so that the second group has to wait.
    go = Event()
    writer._sync.submit(go.wait, lambda _: None)
    first = asyncio.ensure_future(writer.run(insert(2)))
    for _ in range(3):
        await asyncio.sleep(0)
    given_up = asyncio.ensure_future(writer.run(insert(1)))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    go.set()
    await first
    await writer.stop()
    assert stored(tmp_path / "a.db") == [2]


async def test_the_loop_goes_on_while_another_program_holds_the_file(tmp_path: Path) -> None:
    """A lock is waited for on the sync thread: requests that need no store are served meanwhile."""
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"), patience=60)
    await writer.start()
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.ensure_future(writer.run(insert(1)))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not waiting.done()
        other.execute("ROLLBACK")
    assert await waiting == 1
    await writer.stop()


async def test_a_unit_runs_in_the_context_of_its_caller(tmp_path: Path) -> None:
    """What the request bound for its logs is bound in the unit as well."""
    correlation: ContextVar[str] = ContextVar("correlation")
    writer = GroupCommitWriter(connecting(tmp_path / "a.db"))
    await writer.start()

    async def request(name: str) -> str:
        correlation.set(name)
        return await writer.run(lambda _: correlation.get())

    assert await asyncio.gather(*(asyncio.create_task(request(name)) for name in "abc")) == ["a", "b", "c"]
    await writer.stop()


async def test_a_connection_that_cannot_be_opened_is_told(tmp_path: Path) -> None:
    """Starting raises what opening raised."""
    writer = GroupCommitWriter(lambda: connect(tmp_path / "missing" / "a.db", 0))
    with pytest.raises(sqlite3.OperationalError):
        await writer.start()


@pytest.mark.parametrize(
    ("code", "statement", "commit"),
    [
        (sqlite3.SQLITE_BUSY, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_FULL, StoreFull, StoreFull),
        (sqlite3.SQLITE_READONLY, StoreFull, StoreFull),
        (sqlite3.SQLITE_IOERR_WRITE, StoreUnavailable, StoreUnavailable),
        (sqlite3.SQLITE_IOERR_FSYNC, StoreUnavailable, OutcomeUnknown),
        (sqlite3.SQLITE_IOERR, StoreUnavailable, OutcomeUnknown),
        (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, Conflict, StoreUnavailable),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, Conflict, StoreUnavailable),
        (sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, StoreError, StoreUnavailable),
        (sqlite3.SQLITE_CONSTRAINT_NOTNULL, StoreError, StoreUnavailable),
        (sqlite3.SQLITE_ERROR, StoreError, StoreUnavailable),
    ],
)
def test_what_errors_of_the_engine_mean(code: int, statement: type, commit: type) -> None:
    """Each code means one thing at a statement and one at a commit; the engine's text is not passed on."""
    error = sqlite3.OperationalError("secret")
    error.sqlite_errorcode = code
    error.sqlite_errorname = "SQLITE_X"
    assert type(translate_error(error)) is statement
    assert type(translate_commit_error(error)) is commit
    assert "secret" not in str(translate_error(error)) + str(translate_commit_error(error))
