"""What SQLite does with the statements: the way to rows leads over an index, however many there are."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from openscr.mhs.store import statements
from openscr.mhs.store.migrations import ADAPTOR
from openscr.store.sqlite_connection import prepare_database

ALL = {
    name: statement
    for name, statement in vars(statements).items()
    if name.isupper() and not name.startswith("_") and isinstance(statement, str)
}
OF_ONE_ROW = {"HEAD", "MOVE_HEAD", "KEY_ID", "KEEP_KEY_ID"}
WHOLE = {
    # Every waiting message is counted, and every reply looked at: few rows, or an index alone.
    "QUEUE_FIGURES": "SCAN queue USING COVERING INDEX queue_living",
    "FREE_MESSAGES": "SCAN queue USING COVERING INDEX queue_living",
    "OVERDUE_REPLIES": "SCAN reply",
}
SORTED = {"OVERDUE_REPLIES"}


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("statements") / "mhs.db"
    prepare_database(path, 1, migrate=True, schema=ADAPTOR)
    with closing(sqlite3.connect(path)) as opened:
        yield opened


def plan(connection: sqlite3.Connection, statement: str) -> list[str]:
    """Return the steps that SQLite takes, whatever the values are."""
    numbered = max((number for number in range(1, 6) if f"?{number}" in statement), default=0)
    values = (None,) * (numbered or statement.count("?"))
    return [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values)]


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_statement_reads_a_table_from_end_to_end(name: str, connection: sqlite3.Connection) -> None:
    steps = plan(connection, ALL[name])
    scans = [step for step in steps if step.startswith("SCAN") and step != "SCAN CONSTANT ROW"]
    if name in WHOLE:
        assert scans == [WHOLE[name]]
    else:
        assert scans == []
    assert any("TEMP B-TREE" in step for step in steps) == (name in SORTED)


def test_every_statement_is_looked_at() -> None:
    """The names that a rule excepts exist."""
    assert set(WHOLE) | SORTED | OF_ONE_ROW <= set(ALL)
    assert len(ALL) > 30
