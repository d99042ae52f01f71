"""The schema moves forward, with the data in it, all or nothing."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from openscr.errors import ConfigurationError
from openscr.store.compression import Codec
from openscr.store.interface import OutboxRow, PollResult, Transaction
from openscr.store.migrations import REVISIONS, head_revision, upgrade_sqlite
from openscr.store.rows import outbox_values
from openscr.store.sqlite import SqliteStore
from openscr.store.sqlite_connection import prepare_database, read_revision
from openscr.store.sqlite_transaction import SqliteTransaction, run_to_end
from openscr.store.statements import OUTBOX_COLUMNS

from .samples import SLOT, a_poll_result, an_id, read_patient, receive, upload

FIRST = (
    "INSERT INTO patient (slot, nhs_number, status, survivor, demographics)"
    " VALUES (1206, '9990000018', 'current', NULL, CAST('{}' AS BLOB))",
    "INSERT INTO consent VALUES (1206, '9990000018', 1, 'No', 0, 'a', 'o', NULL, NULL, NULL, 'm', 'w', 's')",
)
FIXED_ROW = {
    "0001": FIRST,
    "0002": (
        *FIRST,
        "INSERT INTO poll VALUES (1206, 'p', 'M', '4b6c8a3e-6c1b-4d53-9b57-9a6f6d0e7b11', 'a', 'a', 0, x'')",
        "INSERT INTO alert VALUES (1206, 'A', '9990000018', '2', '1', 't', 0, 'a', 'o', 'u', 'r', 'j', 'new')",
    ),
    "0003": (
        *FIRST,
        "INSERT INTO alert VALUES (1206, 'A', '9990000018', '2', '1', 't', 0, 'a', 'o', 'u', 'r', 'j', 'new',"
        " 'override', CAST('{}' AS BLOB))",
    ),
    "0004": (
        *FIRST,
        "INSERT INTO alert VALUES (1206, 'A', '9990000018', '2', '1', 't', 0, 'a', 'o', 'u', 'r', 'j', 'new',"
        " 'override', CAST('{}' AS BLOB))",
        "INSERT INTO standing VALUES (1206, 'S', '9990000018', 'permission', 'role_profile', 'r', 'asked', '04', '', 0,"
        " 1, 0, 'a', 'o', 'u', 'r', 'j', NULL, NULL)",
    ),
    "0005": (
        *FIRST,
        "INSERT INTO alert VALUES (1206, 'A', '9990000018', '2', '1', 't', 0, 'a', 'o', 'u', 'r', 'j', 'new',"
        " 'override', CAST('{}' AS BLOB), 1)",
    ),
    "0006": (
        *FIRST,
        "INSERT INTO alert VALUES (1206, 'A', '9990000018', '2', '1', 't', 0, 'a', 'o', 'u', 'r', 'j', 'new',"
        " 'override', CAST('{}' AS BLOB), 1)",
        "INSERT INTO instance VALUES ('h', '0.1.0', 0, 0)",
        "INSERT INTO ended_session VALUES ('s', 0, 0)",
    ),
}
"""Rows as a store of each revision holds them: every revision that was ever released stays here."""


def autocommit(path: Path) -> sqlite3.Connection:
    """Return a connection as migrations want it."""
    return sqlite3.connect(path, isolation_level=None)


def test_the_program_knows_every_revision() -> None:
    """The list that a start looks at is the one that alembic finds, in its order."""
    configuration = Config()
    configuration.set_main_option("script_location", "openscr.store:migrations")
    scripts = ScriptDirectory.from_config(configuration)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == REVISIONS
    assert scripts.get_current_head() == head_revision()
    assert set(FIXED_ROW) == set(REVISIONS)


class BeforeLeases(SqliteTransaction):
    """Writes rows of the outbox as programs did before they were leased."""

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent."""
        columns = f"{OUTBOX_COLUMNS}, due_at"
        marks = ", ".join("?" * len(columns.split(",")))
        self._execute(f"INSERT INTO outbox ({columns}) VALUES ({marks})", outbox_values(row, self._codec))  # noqa: S608 constants


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_populated_store_of_any_revision_is_brought_up_to_date(tmp_path: Path, revision: str) -> None:
    """Rows written under any released schema are there under the present one."""
    path = tmp_path / "openscr.db"
    with closing(autocommit(path)) as connection:
        upgrade_sqlite(connection, revision)
        for statement in FIXED_ROW[revision]:
            connection.execute(statement)
        # What a service had received and still owed, written as the service writes it.
        run_to_end(receive(2), BeforeLeases(connection, Codec(), SLOT))
    store = SqliteStore(path)
    assert await store.current_revision() == revision
    await store.open()
    assert await store.current_revision() == store.head_revision() == head_revision()
    state = await read_patient(store)
    assert state.index is not None
    assert (state.consent.value, state.consent_version) == ("No", 1)
    assert [event.event_id for event in state.events] == [an_id(2)]
    assert [row.id for row in await store.list_outbox()] == [an_id(2)]
    alerts = [(alert.id, alert.job_role, alert.source, alert.details) for alert in await store.read_alerts()]
    assert alerts == ([("A", "j", "override", {})] if revision != "0001" else [])
    await upload(store, 1)
    assert await store.transact(SLOT, kept_poll_result) == a_poll_result(3)
    report = await store.verify()
    assert report.faults == ()
    assert (report.audit_rows, report.events, report.receipts) == (2, 2, 2)
    await store.close()


async def kept_poll_result(transaction: Transaction) -> PollResult | None:
    """Keep a poll result and return it."""
    await transaction.keep_poll_result(a_poll_result(3))
    return await transaction.find_poll_result(a_poll_result(3).token)


async def test_a_store_that_is_not_there_has_no_revision(tmp_path: Path) -> None:
    """Asking for the revision makes no file."""
    store = SqliteStore(tmp_path / "openscr.db")
    assert await store.current_revision() is None
    assert not store.path.exists()


async def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    """A store of a newer program is refused with one clear line, and nothing in it changes."""
    path = tmp_path / "openscr.db"
    store = SqliteStore(path)
    await store.open()
    await upload(store, 1)
    await store.close()
    with closing(autocommit(path)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match="schema 9999, newer than this program"):
        await store.open()
    assert path.read_bytes() == before
    assert await store.current_revision() == "9999"


async def test_an_outdated_schema_is_left_alone_unless_asked(tmp_path: Path) -> None:
    """Without migration an outdated schema is refused; the line says what to do."""
    path = tmp_path / "openscr.db"
    path.touch()
    with pytest.raises(ConfigurationError, match="openscr admin migrate"):
        await SqliteStore(path, migrate=False).open()
    assert path.read_bytes() == b""
    store = SqliteStore(path)
    await store.open()
    await store.close()
    current = SqliteStore(path, migrate=False)
    await current.open()
    await current.close()


async def test_a_schema_that_is_not_what_it_says_is_told(tmp_path: Path) -> None:
    """Neither a lost revision nor a table that a migration would make is anybody's unexpected failure."""
    path = tmp_path / "openscr.db"
    with closing(autocommit(path)) as connection:
        upgrade_sqlite(connection, "0001")
        connection.execute("CREATE TABLE poll (slot INTEGER)")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"says that it has schema 0001, but .* \(table poll already exists\)"):
        await SqliteStore(path).open()
    assert path.read_bytes() == before
    with closing(autocommit(path)) as connection:
        connection.execute("DELETE FROM alembic_version")
    for store in (SqliteStore(path), SqliteStore(path, migrate=False)):
        with pytest.raises(ConfigurationError, match="does not say which schema it has"):
            await store.open()


def test_a_migration_that_fails_leaves_the_database_as_it_was(tmp_path: Path) -> None:
    """All statements of a migration are one transaction."""
    path = tmp_path / "openscr.db"

    def refuse_an_index(action: int, name: str | None, *_: object) -> int:
        refused = action == sqlite3.SQLITE_CREATE_INDEX and name == "outbox_due"
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    with closing(autocommit(path)) as connection:
        connection.set_authorizer(refuse_an_index)
        with pytest.raises(sqlite3.DatabaseError):
            upgrade_sqlite(connection)
        connection.set_authorizer(None)
        assert not connection.in_transaction
        assert read_revision(connection) is None
        assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        upgrade_sqlite(connection)
        assert read_revision(connection) == head_revision()


def test_a_start_with_the_right_schema_does_without_alembic(tmp_path: Path) -> None:
    """The tool is loaded only when there is something to migrate, and a new store needs none."""
    path = tmp_path / "openscr.db"
    source = (
        "import asyncio, sys\n"
        "from openscr.store.opening import open_store\n"
        "async def main():\n"
        f"    store = open_store({str(path)!r})\n"
        "    await store.open()\n"
        "    await store.close()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules, 'sqlalchemy' in sys.modules)\n"
    )
    for _ in ("new", "there already"):
        done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False False"


def test_a_new_store_has_the_schema_that_an_old_one_is_brought_to(tmp_path: Path) -> None:
    """A new one is made without alembic: the same tables and indexes, and the same revision."""
    prepare_database(tmp_path / "new.db", 1, migrate=True)
    with (
        closing(sqlite3.connect(tmp_path / "new.db", isolation_level=None)) as new,
        closing(sqlite3.connect(tmp_path / "old.db", isolation_level=None)) as old,
    ):
        upgrade_sqlite(old)
        made = "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE '%alembic%' ORDER BY type, name"
        assert new.execute(made).fetchall() == old.execute(made).fetchall()
        assert read_revision(new) == read_revision(old) == head_revision()
