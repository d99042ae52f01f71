"""What is particular to SQLite: the file, its limits, other programs, and the end of the process at any moment."""

# Looking at small files does not keep anybody waiting here.
# ruff: noqa: ASYNC240

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openscr.errors import ConfigurationError, StoreError, StoreUnavailable
from openscr.store.interface import RawMessage, Receipt, Transaction
from openscr.store.opening import open_store
from openscr.store.sqlite import SqliteStore

from .samples import PARTY, PATIENT, SLOT, a_receipt, an_id, append, at, find_receipt, read_patient, upload


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give an open store that does not wait for other programs."""
    opened = SqliteStore(tmp_path / "openscr.db", busy_timeout=0)
    await opened.open()
    yield opened
    await opened.close()


async def test_work_may_await_its_transaction_alone(store: SqliteStore) -> None:
    """Work that waits for something else is an error and leaves nothing; the store goes on."""

    async def work(transaction: Transaction) -> None:
        await transaction.append_receipt(a_receipt(1))
        await asyncio.sleep(0)

    with pytest.raises(StoreError, match="await"):
        await store.transact(SLOT, work)
    assert await find_receipt(store, 1) is None


# --- opening --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["sqlite:///{path}", "{path}"])
async def test_a_store_opens_by_url_or_path(url: str, tmp_path: Path) -> None:
    """A URL with an absolute path has four slashes; a bare path is a path."""
    path = tmp_path / "a folder" / "open%20scr.db"
    path.parent.mkdir()
    store = open_store(url.format(path=path))
    await store.open()
    await upload(store, 1)
    await store.close()
    assert path.is_file()


async def test_a_url_may_be_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three slashes begin a path from the working folder."""
    monkeypatch.chdir(tmp_path)
    store = open_store("sqlite:///openscr.db")
    await store.open()
    await store.close()
    assert (tmp_path / "openscr.db").is_file()


@pytest.mark.parametrize("url", ["mysql://host/name", "sqlite://host/x", "", "sqlite:///", ":memory:"])
def test_what_is_no_store_is_refused(url: str) -> None:
    """Other engines, and nothing at all, are refused with what would be right."""
    with pytest.raises(ConfigurationError, match="sqlite:///PATH"):
        open_store(url)


async def refused(path: Path, *, migrate: bool = True) -> str:
    """Return why a store cannot be opened, having seen that the file stays as it was."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(ConfigurationError) as refusal:
        await SqliteStore(path, migrate=migrate, busy_timeout=0).open()
    assert (path.read_bytes() if path.is_file() else None) == before
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


async def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    """No folder is made for a name that may be mistyped."""
    assert "does not exist" in await refused(tmp_path / "missing" / "openscr.db")


async def test_a_folder_is_no_store(tmp_path: Path) -> None:
    """A folder where the file should be is said to be one."""
    assert "not a file" in await refused(tmp_path)


async def test_another_file_is_no_store(tmp_path: Path) -> None:
    """A file of something else stays as it was."""
    path = tmp_path / "openscr.db"
    path.write_bytes(b"Synthetic text, longer than the head of a database file. " * 50)
    assert "not a SQLite database" in await refused(path)


async def test_the_database_of_another_program_is_no_store(tmp_path: Path) -> None:
    """Tables that are not ours are not touched, also those of a program with alembic."""
    path = tmp_path / "openscr.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (id INTEGER)")
    assert "another program" in await refused(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
    assert "another program" in await refused(path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everything")
async def test_a_file_without_rights_is_refused(tmp_path: Path) -> None:
    """A file that may not be written is named."""
    path = tmp_path / "openscr.db"
    path.touch(0o400)
    assert "rights" in await refused(path)


async def test_a_store_without_migration_must_be_there(tmp_path: Path) -> None:
    """Whoever asks for no migration gets no new file."""
    assert "openscr admin migrate" in await refused(tmp_path / "openscr.db", migrate=False)
    assert not (tmp_path / "openscr.db").exists()


async def test_a_file_of_patients_is_its_owners(tmp_path: Path) -> None:
    """Nobody else may read the file or those beside it."""
    store = SqliteStore(tmp_path / "openscr.db")
    await store.open()
    await upload(store, 1)
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0
    await store.close()


async def test_a_closed_store_leaves_one_file(tmp_path: Path) -> None:
    """After closing everything is in the database file: it can be copied."""
    store = SqliteStore(tmp_path / "openscr.db")
    await store.open()
    await upload(store, 1)
    await store.close()
    assert [file.name for file in tmp_path.iterdir()] == ["openscr.db"]


# --- other programs, full disks -------------------------------------------------------------------------------------


async def test_a_lock_of_another_program_is_an_outage(store: SqliteStore) -> None:
    """While another program writes for long the store is unavailable, and then available again."""
    assert await store.writable()
    with closing(sqlite3.connect(store.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="another program"):
            await upload(store, 1)
        assert not await store.writable()
        assert await store.list_outbox() == []
        other.execute("ROLLBACK")
    assert await store.writable()
    await upload(store, 1)


async def test_two_programs_share_a_file(store: SqliteStore) -> None:
    """Two stores on one file see each other's rows, and their audit is one chain."""
    second = SqliteStore(store.path)
    third = SqliteStore(store.path)
    await asyncio.gather(second.open(), third.open())
    await asyncio.gather(*(upload((second, third)[number % 2], number) for number in range(60)))
    assert len((await read_patient(store)).events) == 60
    assert [row.sequence async for row in second.read_audit(SLOT)] == list(range(1, 61))
    await second.close()
    await third.close()
    assert (await store.verify()).intact


async def test_programs_that_open_a_file_at_once_wait_for_each_other(store: SqliteStore) -> None:
    """Whoever opens the file holds it for a moment; nobody who opens it then is refused, in use or not."""
    for closed in (False, True) * 20:
        if closed:
            await store.close()
        programs = [SqliteStore(store.path) for _ in range(4)]
        await asyncio.gather(*(program.open() for program in programs))
        for program in programs:
            await program.close()
        await store.open()


async def execute(store: SqliteStore, statement: str) -> None:
    """Run a statement on the writing connection."""
    await store._write(lambda connection: connection.execute(statement).fetchall())


async def test_a_full_disk_is_an_outage(store: SqliteStore) -> None:
    """When no page is left the upload is refused whole, reads go on, and with space there are writes again."""
    await upload(store, 1)
    await execute(store, "PRAGMA max_page_count = 1")
    refusals = await asyncio.gather(*(upload(store, number) for number in range(2, 40)), return_exceptions=True)
    failed = [number for number, refusal in enumerate(refusals, 2) if refusal is not None]
    assert failed
    assert all(isinstance(refusal, StoreUnavailable) for refusal in refusals if refusal is not None)
    for number in range(2, 40):
        assert (await find_receipt(store, number) is None) == (number in failed)
    # A row would still fit somewhere; a message would not, and that is what readiness is about.
    assert not await store.writable()
    await execute(store, "PRAGMA max_page_count = 1000000")
    assert await store.writable()
    await upload(store, failed[0])
    report = await store.verify()
    assert report.intact
    assert report.events == report.receipts == report.audit_rows == 40 - len(failed)


async def test_a_file_that_was_removed_or_replaced_is_an_outage(store: SqliteStore) -> None:
    """What is written into a file without a name would be gone with the process."""
    aside = store.path.with_suffix(".aside")
    store.path.rename(aside)
    assert not await store.writable()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        await store.list_outbox()
    assert not store.path.exists(), "nobody has made another"
    store.path.write_bytes(b"")
    assert not await store.writable()
    aside.replace(store.path)
    assert await store.writable()


async def test_a_store_that_cannot_be_written_is_an_outage(store: SqliteStore) -> None:
    """Requests, each of which writes its audit, are refused; reports are answered."""
    await upload(store, 1)
    await execute(store, "PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable, match="written"):
        await upload(store, 2)
    assert not await store.writable()
    assert len(await store.list_outbox()) == 1
    assert (await store.verify()).intact


async def test_what_has_the_wrong_type_is_refused(store: SqliteStore) -> None:
    """A value that does not belong in its column is an error of the program, and says nothing of the value."""
    receipt = Receipt(PARTY, an_id(1), None, at(0), RawMessage(b""), b"", 202, "AA", nhs_number=PATIENT)  # type: ignore[arg-type]
    with pytest.raises(StoreError) as refusal:
        await append(store, [receipt])
    assert PATIENT not in str(refusal.value)


@settings(max_examples=40, deadline=None)
@given(
    before=st.binary(max_size=300),
    payload=st.binary(max_size=2000),
    after=st.binary(max_size=300),
    signal=st.binary(max_size=300),
)
def test_any_message_comes_back_byte_for_byte(
    before: bytes, payload: bytes, after: bytes, signal: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever was received is what is found, and the store holds it for intact."""

    async def run() -> None:
        store = SqliteStore(tmp_path_factory.mktemp("raw") / "openscr.db")
        await store.open()
        receipt = a_receipt(1, payload=payload)
        raw = RawMessage(before + payload + after, len(before), len(payload))
        sent = Receipt(
            PARTY, an_id(1), receipt.interaction, receipt.received_at, raw, signal, 202, "AA", receipt.digest
        )

        async def work(transaction: Transaction) -> None:
            await transaction.append_receipt(sent)

        await store.transact(SLOT, work)
        assert await find_receipt(store, 1) == sent
        assert (await store.verify()).intact
        await store.close()

    asyncio.run(run())


# --- the end of the process -----------------------------------------------------------------------------------------

WRITING = """
import asyncio, sys
sys.path.insert(0, {tests!r})
from store.samples import upload
from openscr.errors import StoreError
from openscr.store.sqlite import SqliteStore

async def main():
    store = SqliteStore({path!r})
    await store.open()
    {before}
    numbers = iter(range(10**9))
    async def client():
        for number in numbers:
            try:
                await upload(store, number, "999%07d" % (number % 50))
            except StoreError as error:
                print("refused", type(error).__name__, flush=True)
                return
            print(number, flush=True)
    await asyncio.gather(*(client() for _ in range(8)))

asyncio.run(main())
"""


def writing(path: Path, before: str = "") -> "subprocess.Popen[str]":
    """Start a program that uploads without end and prints each number once it is acknowledged."""
    source = WRITING.format(tests=str(Path(__file__).parents[1]), path=str(path), before=before)
    return subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True)


async def check_acknowledged(path: Path, numbers: list[int]) -> None:
    """See that every acknowledged upload is in the store, whole, and that the store is intact."""
    store = SqliteStore(path)
    await store.open()
    for number in numbers:
        assert await find_receipt(store, number, f"999{number % 50:07}") is not None
    report = await store.verify()
    assert report.intact
    assert report.receipts == report.events == report.audit_rows >= len(numbers)
    await store.close()


@pytest.mark.parametrize("acknowledged", [1, 40, 400])
async def test_a_killed_process_loses_nothing_acknowledged(tmp_path: Path, acknowledged: int) -> None:
    """After kill -9 in the middle of writing, what was acknowledged is there; nothing is there in part."""
    path = tmp_path / "openscr.db"
    with writing(path) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(acknowledged)]
        process.send_signal(signal.SIGKILL)
        # What is still in the pipe was acknowledged before the end; a line cut short was not.
        lines += process.stdout.readlines()
    await check_acknowledged(path, [int(line) for line in lines if line.endswith("\n")])


async def test_a_disk_that_refuses_bytes_loses_nothing_acknowledged(tmp_path: Path) -> None:
    """When the system takes no more bytes uploads are refused as an outage; those acknowledged are there."""
    pytest.importorskip("resource", reason="no limits of file sizes on this system")
    path = tmp_path / "openscr.db"
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, resource.RLIM_INFINITY))"
    with writing(path, limit) as process:
        output, _ = process.communicate()
    lines = output.splitlines()
    refusals = {line for line in lines if line.startswith("refused")}
    assert refusals
    assert refusals <= {"refused StoreUnavailable", "refused OutcomeUnknown"}
    numbers = [int(line) for line in lines if not line.startswith("refused")]
    assert numbers
    await check_acknowledged(path, numbers)
