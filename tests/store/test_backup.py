"""A backup is one state of the store, whole or refused, and becomes a store again on any engine."""

import fcntl
import os
import random
import resource
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from openscr.errors import ConfigurationError, OpenSCRError, StoreError, StoreFull
from openscr.identifiers import slot_of
from openscr.store import backup_file
from openscr.store.backup_file import BackupFile, Head, Written, write_backup
from openscr.store.backup_verification import verify_backup
from openscr.store.copying import Access, DatabaseSource, Piece, opened_source, take_snapshot
from openscr.store.interface import VerifyReport
from openscr.store.migrations import head_revision
from openscr.store.moving import fill
from openscr.store.opening import open_store, whole_store
from openscr.store.sqlite_connection import prepare_database
from openscr.store.tables import TABLES

from .conftest import ENGINES, url_of
from .samples import a_receipt, append, receive
from .whole import NUMBERS, contents, populated

Url = Callable[[str, str], str]

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


def nobody(_rows: int) -> None:
    """Nobody watches."""


async def back_up(url: str, path: Path, progress: Callable[[int], None] = nobody) -> Written:
    """Write a backup of a store."""
    async with opened_source(whole_store(url, Access.SNAPSHOT)) as source:
        head = Head(made_at=NOON, program="0.1.0", engine="SQLite", snapshot=source.snapshot)
        return await write_backup(source, head, path, progress)


async def restore(path: Path, url: str) -> None:
    """Make a store of a backup."""
    with BackupFile(path) as backup:
        async with whole_store(url, Access.FILL) as target:
            await fill(backup, target, lambda _step, _rows: None)


def files(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(each.name for each in folder.iterdir() if each.is_file())


async def verify(path: Path) -> VerifyReport:
    """Look at everything in a backup."""
    with BackupFile(path) as backup:
        return await verify_backup(backup, (), nobody)


@pytest.fixture
def url(tmp_path: Path, request: pytest.FixtureRequest) -> Url:
    """Return the URL of a database of this test's own, which is not there or empty."""

    def make(engine: str, name: str) -> str:
        (tmp_path / name).mkdir()
        return url_of(engine, request, tmp_path / name)

    return make


@pytest.fixture
async def full(tmp_path: Path) -> tuple[str, Path]:
    """Return a populated store, and a backup of it."""
    url = f"sqlite:///{tmp_path}/openscr.db"
    await populated(url)
    await back_up(url, tmp_path / "one.backup")
    return url, tmp_path / "one.backup"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("to_engine", ENGINES)
async def test_a_backup_becomes_the_store_again(engine: str, to_engine: str, tmp_path: Path, url: Url) -> None:
    source, target, path = url(engine, "a"), url(to_engine, "b"), tmp_path / "backup"
    await populated(source)
    written = await back_up(source, path)
    found = await contents(source)
    assert written == Written(path, path.stat().st_size, sum(table.count for table in found.values()))
    assert path.stat().st_mode & 0o077 == 0
    assert files(tmp_path) == ["backup"]

    report = await verify(path)
    assert report.intact, report.faults
    store = open_store(source)
    await store.open()
    assert report == await store.verify()
    await store.close()

    await restore(path, target)
    assert await contents(target) == found
    with pytest.raises(ConfigurationError, match="is there already"):
        await back_up(source, path)
    assert path.stat().st_size == written.size


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_backup_is_one_state_while_others_write(engine: str, tmp_path: Path, url: Url) -> None:
    """What is written after it began is not in it; nobody waits for it."""
    source = url(engine, "a")
    await populated(source)
    before = await contents(source)
    store = open_store(source)
    await store.open()
    written = 0

    class Source(DatabaseSource):
        """Before each part is read, something more is written everywhere."""

        async def pieces(self, part: range) -> AsyncIterator[Piece]:
            nonlocal written
            for number in NUMBERS:
                await store.transact(slot_of(number), receive(100_000 + written, number))
                written += 1
            async for piece in super().pieces(part):
                yield piece

    async with whole_store(source, Access.SNAPSHOT) as database:
        contents_of = Source(database, await take_snapshot(database, head_revision()))
        head = Head(made_at=NOON, program="0.1.0", engine="SQLite", snapshot=contents_of.snapshot)
        await write_backup(contents_of, head, tmp_path / "backup", nobody)
    await store.close()
    assert written >= 2 * len(NUMBERS)
    await restore(tmp_path / "backup", target := url(engine, "b"))
    assert await contents(target) == before
    assert (await verify(tmp_path / "backup")).intact


async def test_every_changed_byte_and_every_cut_is_found(full: tuple[str, Path], tmp_path: Path) -> None:
    """Whichever of its bytes it is. The beginning says what the file is; without it, it is no backup."""
    _, path = full
    content = path.read_bytes()
    dice = random.Random(1)
    damaged = tmp_path / "damaged"
    places = [*range(60), *(dice.randrange(len(content)) for _ in range(60)), len(content) - 1]
    for place in places:
        damaged.write_bytes(content[:place] + bytes([content[place] ^ (1 << dice.randrange(8))]) + content[place + 1 :])
        with pytest.raises(OpenSCRError, match=r"is damaged|is not a backup"):
            await _read_through(damaged)
    for place in places:
        damaged.write_bytes(content[:place])
        with pytest.raises(OpenSCRError, match=r"is damaged|is not a backup"):
            await _read_through(damaged)
    damaged.write_bytes(content + b"x")
    with pytest.raises(StoreError, match="is damaged"):
        await _read_through(damaged)
    target = str(tmp_path / "new.db")
    with pytest.raises(StoreError, match="is damaged"):
        await restore(damaged, target)
    with pytest.raises(ConfigurationError, match="half filled"):
        await open_store(target).open()


async def _read_through(path: Path) -> None:
    with BackupFile(path) as backup:
        for part in backup.snapshot.parts():
            async for _ in backup.pieces(part):
                pass


async def test_what_was_damaged_in_the_store_is_found_in_its_backup(full: tuple[str, Path], tmp_path: Path) -> None:
    """A backup is made of a damaged store all the same: the rest of it is worth as much as ever."""
    url, _ = full
    with closing(sqlite3.connect(tmp_path / "openscr.db")) as database, database:
        database.execute("UPDATE audit SET content = x'7b7d' WHERE sequence = 2 AND slot = ?", (slot_of(NUMBERS[3]),))
        database.execute("UPDATE receipt SET raw = x'00' WHERE slot = ?", (slot_of(NUMBERS[4]),))
        database.execute("UPDATE consent SET source = CAST(x'c3286121' AS TEXT) WHERE slot = ?", (slot_of(NUMBERS[5]),))
    await back_up(url, tmp_path / "two.backup")
    report = await verify(tmp_path / "two.backup")
    store = open_store(url)
    await store.open()
    assert report == await store.verify()
    await store.close()
    assert len(report.faults) == 8
    await restore(tmp_path / "two.backup", str(tmp_path / "new.db"))
    store = open_store(str(tmp_path / "new.db"))
    await store.open()
    assert report == await store.verify()
    await store.close()
    assert await contents(str(tmp_path / "new.db")) == await contents(url)


async def test_what_postgresql_cannot_keep_is_told(full: tuple[str, Path], tmp_path: Path, url: Url) -> None:
    """Without a word of what the row says: a damaged text, and one with a NUL in it, which SQLite takes for a text."""
    for name, text in (("damaged", b"\xc3(a!"), ("nul", b"a\0b")):
        with closing(sqlite3.connect(tmp_path / "openscr.db")) as database, database:
            database.execute("UPDATE consent SET source = CAST(? AS TEXT) WHERE slot = ?", (text, slot_of(NUMBERS[5])))
        await back_up(full[0], tmp_path / name)
        with pytest.raises(StoreError, match="a row of table consent holds what PostgreSQL cannot keep") as refused:
            await restore(tmp_path / name, url("postgresql", f"new {name}"))
        assert NUMBERS[5] not in str(refused.value)


async def test_a_backup_of_an_older_release_is_restored_and_brought_up_to_date(tmp_path: Path) -> None:
    """It brings its own tables; the store that it becomes is then like any store of that release."""
    prepare_database(tmp_path / "old.db", 5, migrate=True, revision="0005")
    with closing(sqlite3.connect(tmp_path / "old.db")) as database, database:
        database.execute("INSERT INTO consent VALUES (1206, '9990000018', 1, 'No', 0, 'a', 'o', NULL, NULL, NULL, 'm',"
                         " 'w', 's')")  # fmt: skip
        columns = dict[str, list[str]]()
        for table, column in database.execute(
            "SELECT m.name, p.name FROM sqlite_master m, pragma_table_info(m.name) p WHERE m.type = 'table'"
        ):
            columns.setdefault(table, []).append(column)
    tables = [
        type(table)(table.name, tuple(c for c in table.columns if c in columns[table.name]), table.of_slots)
        for table in TABLES
        if table.name in columns
    ]
    async with whole_store(str(tmp_path / "old.db"), Access.SNAPSHOT) as opened:
        source = DatabaseSource(opened, await take_snapshot(opened, "0005", tables))
        head = Head(made_at=NOON, program="0.1.0", engine="SQLite", snapshot=source.snapshot)
        await write_backup(source, head, tmp_path / "backup", nobody)
    assert (await verify(tmp_path / "backup")).intact
    # As it is left by a program that was stopped between the first two steps.
    prepare_database(tmp_path / "new.db", 5, migrate=True, revision="0005")
    await restore(tmp_path / "backup", str(tmp_path / "new.db"))
    store = open_store(str(tmp_path / "new.db"))
    assert await store.current_revision() == "0005"
    await store.open()
    assert await store.current_revision() == head_revision()
    assert (await store.verify()).intact
    await store.close()


async def test_a_backup_of_a_newer_release_is_refused(full: tuple[str, Path], tmp_path: Path) -> None:
    url, _ = full
    async with whole_store(url, Access.SNAPSHOT) as opened:
        source = DatabaseSource(opened, await take_snapshot(opened, "9999"))
        head = Head(made_at=NOON, program="9.9", engine="SQLite", snapshot=source.snapshot)
        await write_backup(source, head, tmp_path / "newer", nobody)
    with pytest.raises(ConfigurationError, match="newer than this program"):
        await verify(tmp_path / "newer")
    with pytest.raises(ConfigurationError, match="newer than this program"):
        await restore(tmp_path / "newer", str(tmp_path / "new.db"))
    assert not (tmp_path / "new.db").exists()


async def test_what_stops_a_backup_leaves_nothing(full: tuple[str, Path], tmp_path: Path) -> None:
    """Neither a full disk nor a Ctrl-C leaves a file; what a kill has left is overwritten, but not under somebody."""
    url, _ = full
    store = open_store(url)
    await store.open()
    await append(store, [a_receipt(8000, payload=random.Random(1).randbytes(99_000))])
    await store.close()
    before = files(tmp_path)

    def stop(_rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await back_up(url, tmp_path / "two.backup", stop)
    assert files(tmp_path) == before
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, most))
    try:
        with pytest.raises(StoreFull, match="no space left"):
            await back_up(url, tmp_path / "two.backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    assert files(tmp_path) == before
    (tmp_path / "two.backup.part").write_bytes(b"left by a kill" * 100_000)
    (tmp_path / "two.backup.part").chmod(0o644)
    await back_up(url, tmp_path / "two.backup")
    assert (await verify(tmp_path / "two.backup")).intact
    assert (tmp_path / "two.backup").stat().st_mode & 0o777 == 0o600
    with (
        backup_file._open_alone(tmp_path / "three.backup", tmp_path / "three.backup.part"),
        pytest.raises(ConfigurationError, match="another backup is being written"),
    ):
        await back_up(url, tmp_path / "three.backup")


@pytest.mark.parametrize("moment", ["before the file is opened", "before it is locked"])
async def test_two_backups_of_one_name_do_no_harm_to_each_other(
    full: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """One that is finished just when another begins stays as it is, and the other is refused."""
    url, whole = full
    path, partial = tmp_path / "same.backup", tmp_path / "same.backup.part"
    content = whole.read_bytes()
    opening, locking = os.open, fcntl.flock

    def finish() -> None:
        if not path.exists():
            partial.write_bytes(content)
            partial.rename(path)

    def open_later(*arguments: Any) -> int:
        if moment == "before the file is opened" and arguments[0] == partial:
            finish()
        return opening(*arguments)

    def lock_later(file: Any, how: int) -> None:
        if moment == "before it is locked":
            finish()
        locking(file, how)

    monkeypatch.setattr(backup_file.os, "open", open_later)
    monkeypatch.setattr(backup_file.fcntl, "flock", lock_later)
    with pytest.raises(ConfigurationError, match="is there already"):
        await back_up(url, path)
    assert path.read_bytes() == content
    assert not partial.exists()
