"""The commands that take a store as a whole: move, back up, restore, prove. Spec: 00 §4 ``admin``."""

import asyncio
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Run
from client.stories import document_of, new_patient, summary
from openscr.cli.whole_store import _move
from openscr.client import Client, SpineClient
from openscr.errors import ConfigurationError
from openscr.spine import Event
from postgres import PostgresServer
from serving import DemoServer, serving
from store.whole import populated


def test_a_store_is_moved_by_one_command(openscr: Run, tmp_path: Path) -> None:
    asyncio.run(populated(f"sqlite:///{tmp_path}/a.db"))
    move = ("admin", "migrate", "--from", "sqlite:///a.db", "--to", "b.db")
    form = openscr(*move, "--json").done().json
    assert (form["intact"], form["already_there"], form["events"]) == (True, False, 36)
    assert form["rows"] == form["written"] >= 200
    ended = openscr(*move).done()
    assert "everything was there already" in ended.out
    assert ended.err == ""
    assert "the store is intact" in openscr("admin", "verify", "--store", "b.db").done().out


REFUSED = [
    ("nowhere.db", "c.db", "nowhere.db does not exist"),
    ("a.db", "a.db", "the same store"),
    ("a.db", "sqlite:///./a.db", "the same store"),
    ("a.db", "full.db", "the target is not empty"),
    ("a.db", "nowhere/c.db", "nowhere does not exist"),
    ("a.db", "mysql://u:secret@x/y", "'mysql' is not supported"),
    ("mysql://u:secret@x/y", "c.db", "'mysql' is not supported"),
    ("text.db", "c.db", "is not a SQLite database"),
    ("a.db", "text.db", "is not a SQLite database"),
    ("empty.db", "c.db", "is empty"),
    ("other.db", "c.db", "belongs to another program"),
    ("a.db", "other.db", "belongs to another program"),
    ("newer.db", "c.db", "has schema 9999.* use a newer program"),
    ("a.db", "newer.db", "has schema 9999.* use a newer program"),
    ("older.db", "c.db", "has schema 0001.* run `openscr admin migrate` on it first"),
    ("a.db", "older.db", "the target is not empty"),
]


def test_a_move_that_cannot_be_is_told_in_one_line(
    openscr: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is changed or made."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.db", "full.db", "newer.db", "older.db"):
        asyncio.run(populated(name, versions=1 if name == "a.db" else 2))
    for name, statement in {
        "other.db": "CREATE TABLE x (y)",
        "newer.db": "UPDATE alembic_version SET version_num = '9999'",
        "older.db": "UPDATE alembic_version SET version_num = '0001'",
    }.items():
        with closing(sqlite3.connect(name)) as database, database:
            database.execute(statement)
    Path("text.db").write_text("hello, this is a text and not a database at all" * 10)
    Path("empty.db").touch()
    before = {each.name: each.read_bytes() for each in tmp_path.glob("*.db")}
    for source, target, said in REFUSED:
        with pytest.raises(ConfigurationError, match=said) as refused:
            asyncio.run(_move(source, target))
        assert "secret" not in str(refused.value)
    assert {each.name: each.read_bytes() for each in tmp_path.glob("*.db")} == before

    openscr("admin", "migrate", "--from", "a.db", "--to", "full.db").failed("the target is not empty")
    openscr("admin", "migrate", "--from", "a.db").failed("--from and --to go together", status=2)
    openscr("admin", "migrate", "--from", "a.db", "--to", "c.db", "--data", "x").failed("without --data", status=2)


class Uploads:
    """Uploads summaries, one after the other, for as long as the ``with`` lasts; ``done`` are those acknowledged."""

    def __init__(self, at: str) -> None:
        self.done: list[str] = []
        self._at = at
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Uploads":
        self._thread.start()
        self.some()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def some(self) -> None:
        """Wait until more were acknowledged."""
        enough = len(self.done) + 3
        while len(self.done) < enough:
            assert self._thread.is_alive()
            time.sleep(0.01)

    def _run(self) -> None:
        with Client(SpineClient(self._at)) as client:
            while not self._over.is_set():
                nhs_number = new_patient()
                assert client.upload_document(document_of(summary(nhs_number))).accepted
                self.done.append(nhs_number)


def test_a_service_goes_from_engine_to_engine_and_back_through_a_backup(
    openscr: Run, postgres: PostgresServer, tmp_path: Path
) -> None:
    """The rehearsal of docs/backup.md: a service on SQLite is moved to PostgreSQL, backed up there while clients
    upload, and restored on SQLite; whatever was acknowledged in time is served, the same bytes each time.
    """
    server_url, data, backups = postgres.create_database(), tmp_path / "data", tmp_path / "backups"
    backups.mkdir()
    move = ("admin", "migrate", "--from", data / "openscr.db", "--to", server_url)
    with serving(tmp_path) as server:
        openscr(*move).failed("is being served", "stop the service first")
        with Uploads(server.web) as uploads:
            pass
        first = uploads.done
        told = {number: record_of(number, server) for number in ("9990012318", first[0])}
    assert "the store is intact" in openscr(*move).done().out

    with serving(tmp_path, "--store", server_url) as server:
        assert {number: record_of(number, server) for number in told} == told
        with Uploads(server.web) as uploads:
            before = list(uploads.done)
            made = openscr("admin", "backup", "--store", server_url, "--to", backups, "--json").done().json
            uploads.some()
        assert len(uploads.done) > len(before)
    file = Path(made["file"])
    assert file.parent == backups
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (made["bytes"], 0o600)
    proved = openscr("admin", "verify", "--backup", file).done()
    assert "of a store on PostgreSQL, schema" in proved.out
    assert "the backup is intact" in proved.out

    again = tmp_path / "again"
    again.mkdir()
    openscr("admin", "restore", "--from", file, "--data", again / "data").done()
    with serving(again) as server:
        assert {number: record_of(number, server) for number in told} == told
        for number in (first[-1], before[-1]):
            assert len(record_of(number, server)) == 1
        assert record_of(uploads.done[-1], server) == ()


def record_of(nhs_number: str, server: DemoServer) -> tuple[Event, ...]:
    """Return the events of a patient as the service lists them."""
    with Client(SpineClient(server.web)) as client:
        return client.list_events(nhs_number).events


def test_a_backup_that_cannot_be_used_is_told_in_one_line(openscr: Run, tmp_path: Path) -> None:
    asyncio.run(populated(f"sqlite:///{tmp_path}/a.db", versions=1))
    openscr("admin", "backup", "--store", "nowhere.db", "--to", "x").failed("nowhere.db does not exist")
    openscr("admin", "backup", "--store", "a.db", "--to", "no/where").failed("no/where cannot be written")
    openscr("admin", "backup", "--store", "a.db", "--to", "good").done()
    openscr("admin", "backup", "--store", "a.db", "--to", "good").failed("is there already")
    content = (tmp_path / "good").read_bytes()
    (tmp_path / "cut").write_bytes(content[:-1])
    (tmp_path / "other").write_bytes(b"x" + content)
    openscr("admin", "verify", "--backup", "cut").failed("the backup cut is damaged: it ends too early")
    openscr("admin", "verify", "--backup", "other").failed("other is not a backup of ours")
    openscr("admin", "verify", "--backup", "good", "--store", "a.db").failed("--backup goes without", status=2)
    openscr("admin", "restore", "--from", "nowhere", "--store", "b.db").failed("nowhere cannot be read")
    openscr("admin", "restore", "--from", "good", "--to", "a.db").done()
    openscr("admin", "restore", "--from", "cut", "--to", "b.db").failed("the backup cut is damaged")
    openscr("admin", "verify", "--store", "b.db").failed("half filled", "run the same command again")
