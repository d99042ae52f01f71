"""The SQL of the PostgreSQL store keeps to what engines up to a distributed one run. Spec: engine.md."""

import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.errors import StoreError
from openscr.store import postgres_statements as statements
from openscr.store.migrations.postgres_schema import CREATION
from openscr.store.postgres import PostgresStore
from openscr.store.postgres_connection import connect
from openscr.store.postgres_literals import execution, literal
from postgres import PostgresServer

from .samples import PATIENT, upload
from .test_statements import FORBIDDEN, GLOBAL_TABLES

ALL = (*statements.HOT, *statements.BACKGROUND)


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> str:
    """Return the URL of a database with the store's schema."""
    return postgres.create_database()


@pytest.fixture
async def connection(database: str) -> AsyncIterator[Any]:
    """Give a connection of the store, prepared as its own are."""
    store = PostgresStore(database)
    await store.open()
    if not (await store.verify()).events:
        for number in range(50):
            await upload(store, number, PATIENT if number < 5 else f"999{number:07}")
    await store.close()
    opened = await connect(store.place, 10)
    await opened.execute(statements.PREPARATION)
    yield opened
    await opened.close()


def test_every_statement_is_listed_once() -> None:
    """A statement of the module is hot or in the background."""
    texts = [value for name, value in vars(statements).items() if name.isupper() and isinstance(value, str)]
    named = [text for text in texts if text not in (statements.PREPARATION, statements.FORGET_SOON)]
    assert sorted([*named, *statements.OF_SLOTS.values()]) == sorted(ALL)
    assert set(statements.PREPARED.values()) <= set(statements.HOT)


@pytest.mark.parametrize("statement", ALL)
def test_no_statement_has_a_forbidden_form(statement: str) -> None:
    """No statement uses what a distributed engine cannot do or does wrong."""
    found = [form for form, words in FORBIDDEN.items() if re.search(words, statement, re.IGNORECASE)]
    assert found == []


@pytest.mark.parametrize("statement", statements.HOT)
def test_hot_statements_name_one_slot(statement: str) -> None:
    """A statement of a request names its slot as a parameter, for every table that it touches."""
    if statement.startswith("INSERT"):
        assert re.match(r"INSERT INTO \w+ \(slot, .*VALUES \(\$1, ", statement)
        return
    tables = re.findall(r"\b(?:FROM|JOIN|UPDATE) (\w+)", statement)
    assert len(re.findall(r"\bslot = \$\d+", statement)) >= len(
        [table for table in tables if table not in ("SKIP", "LATERAL")]
    )


@pytest.mark.parametrize("statement", CREATION)
def test_the_schema_has_nothing_that_acts_by_itself(statement: str) -> None:
    """No triggers, functions or generated values; defaults only for columns that older rows get."""
    assert not re.search(
        r"\bTRIGGER\b|\bFUNCTION\b|\bGENERATED\b|\bSERIAL\b|\bIDENTITY\b|\bREFERENCES (?!receipt)", statement
    )


async def test_tables_of_requests_have_their_slot_first(connection: Any) -> None:
    """Every key that must be unique begins with the slot; texts are compared by their bytes."""
    keys = await connection.fetch(
        "SELECT t.relname, a.attname FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid"
        " JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[0]"
        " WHERE i.indisunique AND t.relnamespace = 'public'::regnamespace"
    )
    assert {row[1] for row in keys if row[0] not in GLOBAL_TABLES | {"alembic_version"}} == {"slot"}
    collations = await connection.fetch(
        "SELECT DISTINCT collation_name FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type = 'text'"
    )
    assert [row[0] for row in collations] == ["C"]


async def test_documents_are_stored_as_they_come(connection: Any) -> None:
    """They are compressed already, and the engine must not try. Spec: engine.md."""
    for table, column in (("receipt", "raw"), ("receipt", "signal"), ("outbox", "body"), ("poll", "content")):
        storage = await connection.fetchval(
            "SELECT attstorage FROM pg_attribute WHERE attrelid = $1::text::regclass AND attname = $2", table, column
        )
        assert storage == b"e"


async def plan_of(connection: Any, statement: str) -> str:
    """Return how the engine would run a statement whatever its parameters are."""
    count = max((int(number) for number in re.findall(r"\$(\d+)", statement)), default=0)
    await connection.execute(f"PREPARE looked_at AS {statement}")
    try:
        await connection.execute("SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off")
        arguments = f"({', '.join(['NULL'] * count)})" if count else ""
        return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE looked_at{arguments}"))
    finally:
        await connection.execute("DEALLOCATE looked_at")


async def test_hot_statements_use_an_index(connection: Any) -> None:
    """No statement of a request reads a table from end to end, nor more of a slot than it names."""
    for statement in statements.HOT:
        if statement.startswith("INSERT"):
            continue
        plan = await plan_of(connection, statement)
        assert "Seq Scan" not in plan, statement
        for index, condition in re.findall(r"Scan (?:using|on) (\w+)[^\n]*\n\s*Index Cond: (.*)", plan):
            # An alert is known by its id as well.
            assert "slot = $" in condition or index == "alert_id", plan


async def test_due_rows_are_found_in_their_order(connection: Any) -> None:
    """Delivery asks often: it reads due rows alone, and sorts nothing."""
    for statement in (statements.DUE_OUTBOX, statements.NEXT_PARTY_WITH_OUTBOX, statements.NEXT_HOLDER):
        plan = await plan_of(connection, statement)
        assert "Sort" not in plan
        assert re.search(r"Index (Only )?Scan using outbox_(due|party)", plan)
    assert "outbox_party" in await plan_of(connection, statements.DUE_OUTBOX_OF_PARTIES)
    assert "poll_expiry" in await plan_of(connection, statements.REMOVE_POLLS)


# --- values in the text of a statement --------------------------------------------------------------------------------

TEXTS = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=40) | st.sampled_from(
    ["'", "''", "\\", "\\'", "';DROP TABLE chain;--", "$1", "E'", "\\x41", "'\\''", "NULL", "\u2019", "\U0001f600"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXTS, min_size=1, max_size=4), data=st.binary(max_size=300), number=st.integers(-(2**63), 2**63 - 1)
)
async def test_a_value_comes_back_as_it_was(connection: Any, texts: list[str], data: bytes, number: int) -> None:
    """Whatever characters are in it: nothing of a value is ever read as a statement."""
    values = ["ARRAY[" + ",".join(map(literal, texts)) + "]::text[]", f"{literal(data)}::bytea"]
    row = await connection.fetchrow("SELECT " + ",".join([*values, f"{literal(number)}::bigint", literal(None)]))
    assert tuple(row) == (texts, data, number, None)


def test_a_text_that_would_end_the_statement_is_refused() -> None:
    """The engine keeps no NUL, and would read nothing behind it."""
    with pytest.raises(StoreError, match="NUL"):
        execution("openscr_audit", ("a\0'; COMMIT",))


async def test_quotes_mean_what_we_take_them_for(connection: Any) -> None:
    """Whatever the server's own setting is."""
    assert await connection.fetchval("SHOW standard_conforming_strings") == "on"
    with pytest.raises(asyncpg.PostgresError):
        await connection.execute(execution("openscr_unknown", (1,)))
