"""The SQL keeps to what every engine runs, up to a distributed one. Spec: engine.md."""

import re
import sqlite3
from contextlib import closing
from dataclasses import fields
from pathlib import Path

import pytest

from openscr.store import statements
from openscr.store.alert_records import AlertRow
from openscr.store.interface import ConsentRow, EventRow, OutboxRow, PollResult, Receipt
from openscr.store.migrations import sqlite_schema
from openscr.store.sqlite_connection import connect, prepare_database

ALL = (*statements.HOT, *statements.BACKGROUND)
GLOBAL_TABLES = {"directory", "directory_revision", "probe", "subscription", "instance", "ended_session"}

FORBIDDEN = {
    "trigger": r"\bTRIGGER\b",
    "merge": r"\bMERGE\b|\bREPLACE\b",
    "insert from select": r"\bINSERT\b.*\bSELECT\b",
    "subquery in values": r"\bVALUES\b[^;]*\(\s*SELECT\b",
    "common table expression": r"\bWITH\s+(RECURSIVE\b|\w+\s+AS\b)",
    "slot in a list": r"\bslot\s+IN\b|\bslot\s*=\s*ANY\b",
    "highest sequence": r"\bmax\s*\(",
    "engine's clock or chance": r"\b(random|clock_timestamp|strftime|julianday|datetime)\s*\(|CURRENT_TIMESTAMP",
    "identity": r"\b(rowid|AUTOINCREMENT|last_insert_rowid|nextval)\b",
    "updating slot": r"\bSET\b[^;]*\bslot\s*=.*\bWHERE\b",
}


def test_every_statement_is_listed_once() -> None:
    """A statement of the module is either hot or background."""
    named = [
        value
        for name, value in vars(statements).items()
        if name.isupper() and isinstance(value, str) and not name.endswith("_COLUMNS")
    ]
    assert sorted(named) == sorted(ALL)


@pytest.mark.parametrize("statement", ALL)
@pytest.mark.parametrize("form", FORBIDDEN)
def test_no_statement_has_a_forbidden_form(statement: str, form: str) -> None:
    """No statement uses what some engine cannot do or does wrong."""
    assert not re.search(FORBIDDEN[form], statement.replace("WITHOUT ROWID", ""), re.IGNORECASE)


@pytest.mark.parametrize("statement", statements.HOT)
def test_hot_statements_name_one_slot(statement: str) -> None:
    """A statement of a request names its slot as a parameter: the first column written, or a condition."""
    if statement.startswith("INSERT"):
        columns = re.match(r"INSERT INTO \w+ \((\w+)", statement)
        assert columns
        assert columns[1] == "slot"
        assert "VALUES (?, " in statement
    else:
        assert re.search(r"\b(\w\.)?slot = \?", statement)


@pytest.mark.parametrize("statement", ALL)
def test_values_are_parameters(statement: str) -> None:
    """Inserts have a parameter per column; no literal but fixed states and row numbers."""
    if match := re.match(r"INSERT INTO \w+ \(([^)]*)\) VALUES \(([^)]*)\)", statement):
        assert len(match[1].split(",")) == match[2].count("?")
        assert set(match[2]) <= set("?, ")
    assert set(re.findall(r"'[^']*'", statement)) <= {"'open'", "''"}


def test_tables_of_requests_have_their_slot_first(tmp_path: Path) -> None:
    """Every table but the directory's has slot first in its primary key and in every unique key."""
    path = tmp_path / "openscr.db"
    prepare_database(path, 1, migrate=True)
    with closing(sqlite3.connect(path)) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in set(tables) - GLOBAL_TABLES - {"alembic_version"}:
            columns = list(connection.execute(f"PRAGMA table_info({table})"))
            assert columns[0][1] == "slot"
            assert next(name for _, name, *_, key in columns if key == 1) == "slot"
            for _, index, unique, *_ in connection.execute(f"PRAGMA index_list({table})").fetchall():
                if unique:
                    assert connection.execute(f"PRAGMA index_info({index})").fetchone()[2] == "slot"
            for _, _, _, column, target, *_ in connection.execute(f"PRAGMA foreign_key_list({table})"):
                assert (column == "slot") == (target == "slot")


@pytest.mark.parametrize("statement", sqlite_schema.CREATION)
def test_the_schema_has_no_triggers(statement: str) -> None:
    """Nothing happens in the database that the program does not say."""
    # Without a default a column cannot be added to rows that are there.
    forms = r"\bTRIGGER\b|\bAUTOINCREMENT\b" + ("" if " ADD COLUMN " in statement else r"|\bDEFAULT\b")
    assert not re.search(forms, statement)


@pytest.mark.parametrize("statement", [one for one in statements.HOT if not one.startswith("INSERT")])
def test_hot_statements_use_an_index(statement: str, tmp_path: Path) -> None:
    """No statement of a request reads a table from end to end, nor more of a slot than it names."""
    path = tmp_path / "openscr.db"
    prepare_database(path, 1, migrate=True)
    with closing(connect(path, 1)) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN " + statement, (None,) * statement.count("?")).fetchall()
    steps = [step for *_, step in plan]
    assert any(step.startswith("SEARCH") for step in steps)
    assert not any(step.startswith("SCAN") for step in steps)
    if "nhs_number = ?" in statement:
        assert all("nhs_number=?" in step for step in steps if step.startswith("SEARCH"))


@pytest.mark.parametrize(
    ("statement", "step"),
    [
        (statements.DUE_OUTBOX, "INDEX outbox_due (holder=? AND due_at<?)"),
        (statements.NEXT_PARTY_WITH_OUTBOX, "INDEX outbox_party (holder=? AND to_party>?)"),
        (statements.DUE_OUTBOX_OF_PARTY, "INDEX outbox_party (holder=? AND to_party=? AND due_at<?)"),
        (statements.NEXT_HOLDER, "INDEX outbox_due (holder>?)"),
    ],
)
def test_due_rows_are_found_by_index(tmp_path: Path, statement: str, step: str) -> None:
    """Delivery asks often: it reads due rows alone, in their order, and sorts nothing."""
    path = tmp_path / "openscr.db"
    prepare_database(path, 1, migrate=True)
    with closing(connect(path, 1)) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN " + statement, (0,) * statement.count("?")).fetchall()
    assert [found for *_, found in plan] == [f"SEARCH outbox USING {step}"]


def test_expired_poll_results_are_found_by_index(tmp_path: Path) -> None:
    """Making room looks at what has expired and at nothing else."""
    path = tmp_path / "openscr.db"
    prepare_database(path, 1, migrate=True)
    with closing(connect(path, 1)) as connection:
        plan = connection.execute("EXPLAIN QUERY PLAN " + statements.REMOVE_POLLS, (0,)).fetchall()
    assert [found for *_, found in plan] == ["SEARCH poll USING INDEX poll_expiry (expires_at<?)"]


@pytest.mark.parametrize(
    ("columns", "row", "apart"),
    [
        (statements.RECEIPT_COLUMNS, Receipt, {"payload_offset", "payload_length", "encoding"}),
        (statements.EVENT_COLUMNS, EventRow, {"details"}),
        (statements.CONSENT_COLUMNS, ConsentRow, set()),
        (statements.OUTBOX_COLUMNS, OutboxRow, set()),
        (statements.POLL_COLUMNS, PollResult, set()),
        (statements.ALERT_COLUMNS, AlertRow, set()),
    ],
)
def test_no_column_is_there_that_no_row_has(columns: str, row: type, apart: set[str]) -> None:
    """What is stored is what the interface says; beside it only the parts of a message and what has no column."""
    names = {field.name for field in fields(row)}
    assert set(columns.split(", ")) - apart <= names
    assert "answer_id" not in names
