"""What is particular to SQLite: the file, its making, other programs, and the end of the process at any moment."""

# Looking at small files does not keep anybody waiting here.
# ruff: noqa: ASYNC240

import asyncio
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from openscr.errors import ConfigurationError, StoreError, StoreUnavailable
from openscr.mhs.store.migrations import ADAPTOR
from openscr.mhs.store.sqlite import SqliteMhsStore
from openscr.store.migrations import upgrade_sqlite
from openscr.store.sqlite import SqliteStore
from openscr.store.sqlite_connection import prepare_database

from .samples import a_message, a_queue_message, a_sending, an_entry, an_id, at, put


async def opened(path: Path, *, patience: float = 4.0) -> SqliteMhsStore:
    store = SqliteMhsStore(path, busy_timeout=patience)
    await store.open()
    return store


# --- the file ---------------------------------------------------------------------------------------------------------


def schema(path: Path) -> list[tuple[object, ...]]:
    """Return everything that a database says of itself, and the rows that it begins with."""
    with closing(sqlite3.connect(path)) as connection:
        parts = connection.execute(
            "SELECT type, name, tbl_name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%' ORDER BY type, name"
        ).fetchall()
        rows = [
            connection.execute(statement).fetchall()
            for statement in (
                "SELECT * FROM chain",
                "SELECT * FROM encryption",
                "SELECT * FROM probe",
                "SELECT * FROM alembic_version",
                "SELECT name, type, \"notnull\", pk FROM pragma_table_info('alembic_version')",
            )
        ]
    return [*parts, *rows]


def test_a_new_store_is_what_the_revisions_make(tmp_path: Path) -> None:
    """The short way, without alembic, and the long way lead to the same database."""
    short, long = tmp_path / "short.db", tmp_path / "long.db"
    prepare_database(short, 1, migrate=True, schema=ADAPTOR)
    with closing(sqlite3.connect(long, isolation_level=None)) as connection:
        upgrade_sqlite(connection, scripts=ADAPTOR.scripts)
    assert schema(short) == schema(long)


def test_every_revision_is_known() -> None:
    configuration = Config()
    configuration.set_main_option("script_location", ADAPTOR.scripts)
    scripts = ScriptDirectory.from_config(configuration)
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == ADAPTOR.revisions


OPENING = """
import asyncio, sys
from openscr.mhs.store.sqlite import SqliteMhsStore

async def main():
    for _ in range(2):
        store = SqliteMhsStore({path!r})
        await store.open()
        assert await store.writable()
        await store.close()
    print(sorted(name for name in sys.modules if name.partition(".")[0] in ("alembic", "sqlalchemy")))

asyncio.run(main())
"""


def test_neither_making_nor_opening_a_store_imports_alembic(tmp_path: Path) -> None:
    """Its import takes longer than everything else before the adaptor is ready. Spec: 50 A6."""
    source = OPENING.format(path=str(tmp_path / "mhs.db"))
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


async def test_the_file_is_its_owners(tmp_path: Path) -> None:
    store = await opened(tmp_path / "mhs.db")
    await put(store, a_message(1))
    assert len(list(tmp_path.iterdir())) > 1
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    await store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["mhs.db"]


async def test_the_stores_of_service_and_adaptor_refuse_each_others_files(tmp_path: Path) -> None:
    """Both have revisions with the same numbers."""
    await (adaptor := SqliteMhsStore(tmp_path / "mhs.db")).open()
    await (service := SqliteStore(tmp_path / "openscr.db")).open()
    await adaptor.close()
    await service.close()
    with pytest.raises(ConfigurationError, match="another program"):
        await SqliteStore(tmp_path / "mhs.db").open()
    with pytest.raises(ConfigurationError, match="another program"):
        await SqliteMhsStore(tmp_path / "openscr.db").open()


async def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    store = await opened(tmp_path / "mhs.db")
    await store.close()
    with closing(sqlite3.connect(tmp_path / "mhs.db", isolation_level=None)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match="newer than this program"):
        await store.open()


async def test_a_creation_that_breaks_off_leaves_an_empty_file(tmp_path: Path) -> None:
    """The next start begins anew, instead of meeting half a schema."""
    path = tmp_path / "mhs.db"
    broken = type(ADAPTOR)(
        ADAPTOR.scripts, ADAPTOR.revisions, ADAPTOR.landmark, ADAPTOR.remedy, (*ADAPTOR.creation, "no statement")
    )
    with pytest.raises(ConfigurationError):
        prepare_database(path, 1, migrate=True, schema=broken)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    store = await opened(path)
    await put(store, a_message(1))
    await store.close()


async def test_programs_that_make_a_store_at_once_make_one(tmp_path: Path) -> None:
    for number in range(10):
        path = tmp_path / f"{number}.db"
        stores = await asyncio.gather(*(opened(path) for _ in range(4)))
        await asyncio.gather(*(put(store, an_entry(index)) for index, store in enumerate(stores)))
        assert [row.sequence async for row in stores[0].read_audit()] == [1, 2, 3, 4]
        for store in stores:
            await store.close()


# --- other programs ---------------------------------------------------------------------------------------------------


async def test_two_processes_share_the_queue_and_the_chain(tmp_path: Path) -> None:
    """Outbound and inbound may run apart on one file."""
    first, second = await opened(tmp_path / "mhs.db"), await opened(tmp_path / "mhs.db")
    stores = (first, second)
    await asyncio.gather(*(put(stores[number % 2], a_queue_message(number), an_entry(number)) for number in range(40)))
    given = await asyncio.gather(*(stores[turn % 2].lease_queue(at(0), at(60), 3) for turn in range(20)))
    assert sorted(each.message.id for some in given for each in some) == [an_id(number) for number in range(40)]
    assert await first.verify_audit() is None
    assert await second.acknowledge(given[0][0].receipt)
    assert not await first.acknowledge(given[0][0].receipt)
    await first.close()
    await second.close()


async def test_a_lock_of_another_program_is_an_outage_that_ends(tmp_path: Path) -> None:
    store = await opened(tmp_path / "mhs.db", patience=0)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program"):
            await put(store, a_message(1))
        with pytest.raises(StoreUnavailable):
            await store.lease_queue(at(0), at(60), 1)
        assert not await store.writable()
        other.execute("ROLLBACK")
    assert await store.writable()
    await put(store, a_message(1))
    assert await store.find_message(an_id(1)) == a_message(1)
    await store.close()


async def test_a_full_disk_is_an_outage_and_loses_nothing(tmp_path: Path) -> None:
    store = await opened(tmp_path / "mhs.db")
    await put(store, a_queue_message(0))
    await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 1").fetchall())
    large = b"x" * 100_000
    refusals = await asyncio.gather(
        *(put(store, a_sending(number, body=large), a_queue_message(number)) for number in range(1, 4)),
        return_exceptions=True,
    )
    assert all(isinstance(refusal, StoreUnavailable) for refusal in refusals)
    assert not await store.writable()
    assert (await store.queue_figures(at(0))).waiting == 1
    await store._write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchall())
    assert await store.writable()
    await put(store, a_sending(1, body=large), a_queue_message(1))
    await store.close()


async def test_work_that_awaits_something_else_is_refused(tmp_path: Path) -> None:
    """It would hold up everybody who writes."""
    store = await opened(tmp_path / "mhs.db")
    with pytest.raises(StoreError, match="other than its transaction"):
        await store.transact(lambda _transaction: asyncio.sleep(0))
    await put(store, a_message(1))
    await store.close()


# --- the end of the process -------------------------------------------------------------------------------------------

WRITING = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from mhs.store.samples import a_message, a_queue_message, a_sending, an_entry, at, put
from openscr.mhs.store.sqlite import SqliteMhsStore

async def main():
    store = SqliteMhsStore({path!r})
    await store.open()
    numbers = iter(range({first}, 10**9))

    async def inbound():
        for number in numbers:
            await put(store, a_message(number), a_sending(number), a_queue_message(number), an_entry(number))
            print("stored", number, flush=True)

    async def consumer():
        while True:
            for leased in await store.lease_queue(at({now}), at({now} + 60), 1):
                print("given", int(leased.message.id[-12:]), flush=True)
                if await store.acknowledge(leased.receipt):
                    print("acknowledged", int(leased.message.id[-12:]), flush=True)
            await asyncio.sleep(0)

    await asyncio.gather(*(inbound() for _ in range(4)), *(consumer() for _ in range(2)))

asyncio.run(main())
"""


class Words:
    """What processes have said before each was killed: numbers of messages."""

    def __init__(self) -> None:
        self.stored: set[int] = set()
        self.given: set[int] = set()
        self.acknowledged: set[int] = set()

    def hear(self, line: str) -> None:
        """Take a line down. Whoever has acknowledged a message must never see it again, not even in another life."""
        word, said = line.split()
        number = int(said)
        if word == "stored":
            self.stored.add(number)
        elif word == "given":
            assert number not in self.acknowledged
            self.given.add(number)
        else:
            self.acknowledged.add(number)


def live_and_be_killed(path: Path, life: int, words: Words) -> None:
    """Run a process on the file until it has acknowledged a number of messages, and kill it at work.

    Each life is later than the leases of the one before, so that what was lent out is free.
    """
    source = WRITING.format(
        tests=str(Path(__file__).parents[2]), path=str(path), first=life * 1_000_000, now=life * 100
    )
    until = len(words.acknowledged) + 40 + 7 * life
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.endswith("\n"):
                words.hear(line)
            if len(words.acknowledged) == until:
                process.kill()
    assert process.returncode == -signal.SIGKILL


async def test_a_killed_process_loses_nothing_and_gives_nothing_twice_to_who_acknowledged(tmp_path: Path) -> None:
    """Four processes are killed at work, one after the other, on one file; then everybody's word is compared. 50 A3."""
    path, words = tmp_path / "mhs.db", Words()
    for life in range(4):
        await asyncio.to_thread(live_and_be_killed, path, life, words)
    assert len(words.acknowledged) >= 4 * 40
    store = await opened(path)
    left: set[int] = set()
    while some := await store.lease_queue(at(9000), at(9060), 100):
        left |= {int(leased.message.id[-12:]) for leased in some}
    assert not left & words.acknowledged
    # Of what was given out when a process ended, the acknowledgement may be kept without anybody having been told.
    assert words.stored - words.acknowledged - left <= words.given
    for number in words.stored:
        assert await store.find_message(an_id(number)) == a_message(number)
    rows = [row.entry.content["message_id"] async for row in store.read_audit()]
    assert {an_id(number) for number in words.stored} <= set(rows)
    assert len(rows) == len(set(rows))
    assert await store.verify_audit() is None
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for table in ("message", "sending", "sending_body"):
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608 - our own words
            assert count == (len(rows),)
    await store.close()
