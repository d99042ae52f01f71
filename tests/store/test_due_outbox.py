"""What is due is found at the same cost however much waits, for one party or for all."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from sqlite3 import Connection

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.store import statements
from openscr.store.compression import Codec
from openscr.store.interface import NOBODY, OutboxRow, OutboxState
from openscr.store.rows import outbox_values, to_microseconds
from openscr.store.sqlite_connection import connect, prepare_database
from openscr.store.sqlite_outbox import take_due

from .conftest import Opening
from .samples import SUMMARY, an_id, an_outbox_row, append, at

DEAD, ALIVE = "D99901-000001", ("C99901-000001", "E99901-000001")
MANY = 100_000
OTHERS = [an_outbox_row(MANY + number, to_party=ALIVE[number % 2], created_at=at(number)) for number in range(3)]


def steps_to_take_due(connection: Connection, besides: tuple[str, ...]) -> tuple[int, list[str]]:
    """Return how many instructions the engine runs to find what is due, and the ids of the rows found."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    connection.set_progress_handler(count, 1)
    rows = take_due(connection, to_microseconds(at(MANY * 2)), 3, Codec(), NOBODY, besides)
    connection.set_progress_handler(None, 1)
    return steps, [row.id for row in rows]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    """Give a database with three rows for receivers that answer and a hundred for one that does not."""
    path = tmp_path / "openscr.db"
    prepare_database(path, 1, migrate=True)
    with closing(connect(path, 1)) as opened:
        add(opened, [*OTHERS, *(dead_row(number) for number in range(100))])
        yield opened


def dead_row(number: int) -> OutboxRow:
    """Return a row that has been due for long; the bodies have no part in finding it."""
    return an_outbox_row(number, to_party=DEAD, created_at=at(number - MANY))


def add(connection: Connection, rows: list[OutboxRow]) -> None:
    """Put rows into the database, many at a time."""
    codec = Codec()
    connection.execute("BEGIN")
    connection.executemany(statements.APPEND_OUTBOX, ((*outbox_values(row, codec), "") for row in rows))
    connection.execute("COMMIT")


def test_what_waits_for_one_party_does_not_make_the_others_dearer(connection: Connection) -> None:
    """A hundred thousand rows more cost next to nothing, whether their party is wanted or held back."""
    before = {besides: steps_to_take_due(connection, besides) for besides in ((), (DEAD,))}
    add(connection, [dead_row(number) for number in range(100, MANY)])
    for besides, (steps, ids) in before.items():
        now, found = steps_to_take_due(connection, besides)
        assert found == ids
        assert now <= steps + 10
    assert before[(DEAD,)][1] == [row.id for row in OTHERS]


PARTIES = ("A", "B", "C", "D")
ROWS = st.lists(
    st.builds(
        lambda party, due, state: an_outbox_row(0, to_party=party, next_attempt_at=at(due), state=state),
        st.sampled_from(PARTIES),
        st.integers(0, 20),
        st.sampled_from([OutboxState.OPEN, OutboxState.OPEN, OutboxState.FAILED]),
    ),
    max_size=20,
).map(lambda rows: [replace(row, id=an_id(n), created_at=at(n), body=SUMMARY[:90]) for n, row in enumerate(rows)])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, besides=st.sets(st.sampled_from(PARTIES)), limit=st.integers(1, 8), now=st.integers(0, 20).map(at))
def test_due_rows_of_other_parties_are_the_longest_due(
    opening: Opening, rows: list[OutboxRow], besides: set[str], limit: int, now: datetime
) -> None:
    """What is given out is what a sorted list of everything would give."""

    async def run() -> None:
        async with opening() as store:
            await append(store, rows)
            due = [row for row in rows if row.state is OutboxState.OPEN and row.to_party not in besides]
            due = [row for row in due if row.next_attempt_at is not None and row.next_attempt_at <= now]
            due.sort(key=lambda row: (row.next_attempt_at, row.created_at))
            try:
                assert await store.due_outbox(now, limit, besides=sorted(besides)) == due[:limit]
            finally:
                # The examples share one database: what one leaves behind must not be the next one's finding.
                for row in rows:
                    await store.remove_outbox(row.slot, row.id)

    asyncio.run(run())
