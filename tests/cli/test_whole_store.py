"""The commands that take a store as a whole: move, back up, restore, prove. Spec: 00 §4 ``admin``."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Run
from client.stories import document_of, new_patient, summary
from openscr.cli.whole_store import _move
from openscr.errors import ConfigurationError
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


def test_a_backup_is_made_while_the_service_runs_and_becomes_a_service(
    openscr: Run, demo_server: DemoServer, tmp_path: Path
) -> None:
    """The rehearsal of docs/backup.md: back up, prove the backup, restore it elsewhere, serve what was restored."""
    (tmp_path / "backups").mkdir()
    nhs_number = new_patient()
    (tmp_path / "summary.xml").write_bytes(document_of(summary(nhs_number)))
    openscr("upload", "summary.xml", "--at", demo_server.web, "--user", "555000000102").done()
    made = openscr("admin", "backup", "--data", demo_server.data, "--to", "backups", "--json").done().json
    listed = openscr("list", nhs_number, "--at", demo_server.web, "--json").done().json
    file = tmp_path / made["file"]
    assert file.parent.name == "backups"
    assert (file.stat().st_size, file.stat().st_mode & 0o777) == (made["bytes"], 0o600)
    proved = openscr("admin", "verify", "--backup", file).done()
    assert "of a store on SQLite, schema" in proved.out
    assert "the backup is intact" in proved.out

    openscr("admin", "restore", "--from", file, "--data", "data").done()
    with serving(tmp_path) as server:
        assert openscr("list", nhs_number, "--at", server.web, "--json").done().json["events"] == listed["events"]


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
