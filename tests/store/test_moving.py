"""A store is copied to another one, on any engine, whole or not at all, and proved row by row."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from itertools import product
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError, Conflict, OpenSCRError, StoreError
from openscr.store.copying import Access, Database, opened_source, refuse_served
from openscr.store.interface import Instance
from openscr.store.migrations import UNFINISHED, head_revision
from openscr.store.moving import Moved, fill
from openscr.store.opening import open_store, whole_store
from openscr.store.tables import LEFT_BEHIND, TABLES
from postgres import PASSWORD, USER, PostgresServer
from serving import clean_environment

from .conftest import ENGINES, url_of
from .samples import NOON, upload
from .whole import contents, populated

PAIRS = list(product(ENGINES, ENGINES))
Url = Callable[[str, str], str]

COLUMNS = {
    "SQLite": "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'",
    "PostgreSQL": "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'",
}
KILLED_AT = """
import asyncio, os, signal, sys
from openscr.store.copying import Access, opened_source
from openscr.store.migrations import UNFINISHED, head_revision
from openscr.store.moving import fill
from openscr.store.opening import whole_store

left = int(sys.argv[3])

def progress(step, rows):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

async def run():
    async with opened_source(whole_store(sys.argv[1], Access.ALONE)) as source:
        async with whole_store(sys.argv[2], Access.FILL) as target:
            await fill(source, target, progress)

asyncio.run(run())
"""


@pytest.fixture
def url(tmp_path: Path, request: pytest.FixtureRequest) -> Url:
    """Return the URL of a database of this test's own, which is not there or empty."""

    def make(engine: str, name: str) -> str:
        folder = tmp_path / name
        folder.mkdir()
        return url_of(engine, request, folder)

    return make


async def move(source: str, target: str, progress: Callable[[str, int], None] = lambda _step, _rows: None) -> Moved:
    """Copy one store to another."""
    async with opened_source(whole_store(source, Access.ALONE)) as opened, whole_store(target, Access.FILL) as database:
        return await fill(opened, database, progress)


async def run(url: str, statement: str) -> None:
    """Run a statement behind the store's back."""
    async with whole_store(url, Access.FILL) as database, database.transaction():
        await database.execute(statement)


@pytest.mark.parametrize("engine", ENGINES)
async def test_no_table_and_no_column_is_forgotten(engine: str, url: Url) -> None:
    """What a later schema adds is copied, or said to be left behind."""
    store = open_store(where := url(engine, "a"))
    await store.open()
    await store.close()
    async with whole_store(where, Access.SNAPSHOT) as database:
        found = {tuple(row) for row in await database.fetch(COLUMNS[database.engine])}
    known = {(table.name, column) for table in TABLES for column in table.columns}
    assert {(table, column) for table, column in found if not {table, f"{table}.{column}"} & LEFT_BEHIND} == known


@pytest.mark.parametrize(("from_engine", "to_engine"), PAIRS)
async def test_a_store_is_moved_whole(from_engine: str, to_engine: str, url: Url) -> None:
    """Every row of every table, the directory's revision with it; the original stays; a repetition finds it there."""
    source, target = url(from_engine, "a"), url(to_engine, "b")
    await populated(source)
    before = await contents(source)
    assert all(found.count for found in before.values()), before
    steps: dict[str, int] = {}

    def note(step: str, rows: int) -> None:
        steps[step] = steps.get(step, 0) + rows

    moved = await move(source, target, note)
    rows = sum(found.count for found in before.values())
    assert moved == Moved(rows, rows, resumed=False, already_there=False)
    assert steps == {"copying": rows, "comparing": rows}
    assert await contents(target) == before == await contents(source)

    store = open_store(target)
    await store.open()
    report = await store.verify()
    assert report.intact, report.faults
    assert report.events == 36
    assert await store.directory_revision() == 2
    await store.close()

    assert await move(source, target) == Moved(rows, 0, resumed=False, already_there=True)
    store = open_store(target)
    await store.open()
    await upload(store, 7777)
    await store.close()
    with pytest.raises(ConfigurationError, match="the target is not empty"):
        await move(source, target)
    assert await contents(source) == before


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_store_without_rows_is_moved(engine: str, url: Url) -> None:
    source, target = url(engine, "a"), url(engine, "b")
    store = open_store(source)
    await store.open()
    await store.close()
    assert (await move(source, target)).rows == 0
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("to_engine", ENGINES)
async def test_a_move_that_is_killed_goes_on_where_it_was(to_engine: str, url: Url) -> None:
    """Killed again and again, at places further and further on: nobody serves the half of it, and in the end all is
    there, once.
    """
    source, target = url("sqlite", "a"), url(to_engine, "b")
    await populated(source, versions=2)
    for place in (6, 12, 45):
        killed = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", KILLED_AT, source, target, str(place)],
            env=clean_environment(),
            capture_output=True,
            check=False,
        )
        assert killed.returncode == -9, killed.stderr.decode()[-2000:]
        with pytest.raises(ConfigurationError, match="half filled"):
            await open_store(target).open()
        with pytest.raises(ConfigurationError, match="half filled"):
            await move(target, url("sqlite", f"c{place}"))
    moved = await move(source, target)
    assert moved.resumed
    assert moved.written < moved.rows
    assert await contents(target) == await contents(source)


async def test_half_a_copy_is_completed_from_its_own_source_alone(url: Url) -> None:
    """Another store, or the same one after it was used again, would make a mixture."""
    source, other, target = url("sqlite", "a"), url("sqlite", "b"), url("sqlite", "c")
    await populated(source)
    await populated(other, versions=2)

    def stop(step: str, rows: int) -> None:
        if step == "comparing":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await move(source, target, stop)
    with pytest.raises(ConfigurationError, match="half a copy of another store"):
        await move(other, target)
    store = open_store(source)
    await store.open()
    await upload(store, 7777)
    await store.close()
    with pytest.raises(ConfigurationError, match="its source was used since"):
        await move(source, target)


CHANGES = {
    "a changed byte": "UPDATE audit SET content = x'7b7d' WHERE sequence = 2",
    "a missing row": "DELETE FROM consent WHERE slot = (SELECT min(slot) FROM consent)",
    "a row too many": "INSERT INTO directory (kind, key, content) VALUES ('system', '9', x'7b7d')",
    "a text": "UPDATE outbox SET last_error = 'x'",
    "the directory's revision": "UPDATE directory_revision SET revision = 1",
}


@pytest.mark.parametrize("change", CHANGES)
async def test_what_arrived_otherwise_is_found(change: str, url: Url) -> None:
    """And it is not served; the copy is not called done by doing it again."""
    source, target = url("sqlite", "a"), url("sqlite", "b")
    await populated(source)

    class Interrupted(Exception):
        pass

    def stop(step: str, rows: int) -> None:
        if step == "comparing":
            raise Interrupted

    with pytest.raises(Interrupted):
        await move(source, target, stop)
    await run(target, CHANGES[change])
    for _ in range(2):
        with pytest.raises(StoreError, match="what arrived is not what was sent"):
            await move(source, target)
    with pytest.raises(ConfigurationError, match="half filled"):
        await open_store(target).open()


async def test_a_store_that_is_served_is_not_moved(url: Url) -> None:
    source, target = url("sqlite", "a"), url("sqlite", "b")
    await populated(source, versions=1)
    for where in (source, target):
        store = open_store(where)
        await store.open()
        now = await store.now()
        await store.announce(Instance("w1", "0.1.0", now, now))
        await store.announce(Instance("gone long ago", "0.1.0", NOON, NOON))
        await store.close()
    database = whole_store(source, Access.ALONE)
    async with opened_source(database):
        with pytest.raises(ConfigurationError, match=r"source is being served \(worker processes: 1\)"):
            await refuse_served(database, "the source")
    with pytest.raises(ConfigurationError, match="the target is being served"):
        await move(source, target)


async def test_while_a_store_is_moved_nobody_writes_to_it(tmp_path: Path) -> None:
    source = str(tmp_path / "a.db")
    await populated(source, versions=1)
    async with opened_source(whole_store(source, Access.ALONE)):
        with (
            closing(sqlite3.connect(source, timeout=0)) as database,
            pytest.raises(sqlite3.OperationalError, match="locked"),
        ):
            database.execute("UPDATE probe SET written = 1")


async def test_two_that_fill_one_target_do_not_mix(url: Url) -> None:
    source, target = url("sqlite", "a"), url("sqlite", "b")
    await populated(source, versions=1)
    store = open_store(target)
    await store.open()
    await store.close()

    async def copy(database: Database) -> None:
        async with opened_source(whole_store(source, Access.SNAPSHOT)) as opened:
            await fill(opened, database, lambda _step, _rows: None)

    async with whole_store(target, Access.FILL) as first, whole_store(target, Access.FILL) as second:
        results = await asyncio.gather(copy(first), copy(second), return_exceptions=True)
    assert all(result is None or isinstance(result, OpenSCRError) for result in results), results
    # Whichever of them stood in whose way, what is there is right, and can be completed.
    await move(source, target)
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_target_that_another_has_just_filled_is_not_begun_again(
    engine: str, url: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor is what is there called half of it: the other one does all its work between our look and our first write."""
    source, target = url("sqlite", "a"), url(engine, "b")
    await populated(source, versions=1)
    store = open_store(target)
    await store.open()
    await store.close()

    async with whole_store(target, Access.FILL) as ours, opened_source(whole_store(source, Access.SNAPSHOT)) as opened:
        begin = ours.transaction

        @asynccontextmanager
        async def after_the_other() -> AsyncIterator[None]:
            monkeypatch.undo()
            assert not (await move(source, target)).already_there
            async with begin():
                yield

        monkeypatch.setattr(ours, "transaction", after_the_other)
        moved = await fill(opened, ours, lambda _step, _rows: None)
    assert moved.already_there
    assert await contents(target) == await contents(source)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("step", ["copying", "comparing"])
async def test_who_goes_on_with_what_another_completes_is_told(engine: str, step: str, url: Url) -> None:
    """Two take up the same half of a copy; one is ahead by everything."""
    source, target = url("sqlite", "a"), url(engine, "b")
    await populated(source, versions=1)

    def stop(now: str, _rows: int) -> None:
        if now == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await move(source, target, stop)

    async with whole_store(target, Access.FILL) as ours, opened_source(whole_store(source, Access.SNAPSHOT)) as opened:
        begin = ours.transaction
        begun = 0

        @asynccontextmanager
        async def second_time_late() -> AsyncIterator[None]:
            nonlocal begun
            begun += 1
            if begun == 2:
                await move(source, target)
            async with begin():
                yield

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ours, "transaction", second_time_late)
            with pytest.raises(Conflict, match="another program fills the same target"):
                await fill(opened, ours, lambda _step, _rows: None)
    assert await contents(target) == await contents(source)


async def test_nobody_is_told_to_empty_what_another_has_completed_and_serves(url: Url) -> None:
    source, target = url("sqlite", "a"), url("sqlite", "b")
    await populated(source, versions=1)

    def overtake(step: str, _rows: int) -> None:
        with closing(sqlite3.connect(target.removeprefix("sqlite:///"), isolation_level=None)) as database:
            if step == "comparing" and database.execute("SELECT version_num FROM alembic_version").fetchone() == (
                UNFINISHED,
            ):
                database.execute("UPDATE alembic_version SET version_num = ?", (head_revision(),))
                database.execute("UPDATE outbox SET last_error = 'HTTP 500'")

    with pytest.raises(Conflict, match="another program fills the same target"):
        await move(source, target, overtake)


async def test_the_owner_of_a_database_needs_no_other_rights(url: Url, postgres: PostgresServer) -> None:
    """Who moves a store is nobody's superuser."""
    postgres.sql(f"CREATE ROLE mover LOGIN PASSWORD '{PASSWORD}'")
    owned = [where.replace(f"//{USER}:", "//mover:") for where in (url("postgresql", "b"), url("postgresql", "c"))]
    for where in owned:
        postgres.sql(f"ALTER DATABASE {where.rpartition('/')[2]} OWNER TO mover")
    source = url("sqlite", "a")
    await populated(source, versions=1)
    await move(source, owned[0])
    async with whole_store(owned[0], Access.FILL) as one, whole_store(owned[1], Access.FILL) as other:
        assert await one.identity() != await other.identity()
    await move(owned[0], owned[1])
    assert await contents(owned[1]) == await contents(source)
