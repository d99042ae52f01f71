"""Changing a store behind its back, as somebody would who has its rights."""

import re
import sqlite3
from contextlib import closing

import asyncpg
import pytest

from openscr.store.interface import Store
from openscr.store.postgres import PostgresStore
from openscr.store.sqlite import SqliteStore

_WORDS = (
    (r"CAST\(x'(\w+)' AS TEXT\)", r"convert_from('\\x\1', 'UTF8')"),
    (
        r"CAST\(replace\(CAST\((\w+) AS TEXT\), (.*?)\) AS BLOB\)",
        r"convert_to(replace(convert_from(\1, 'UTF8'), \2), 'UTF8')",
    ),
    (r"CAST\('(.*?)' AS BLOB\)", r"'\1'::bytea"),
    (r"CAST\((.*) AS BLOB\)", r"(\1)"),
    (r"\bx'(\w*)'", r"'\\x\1'::bytea"),
)


def in_words_of_postgres(statement: str) -> str:
    """Return a statement for SQLite as PostgreSQL understands it."""
    for theirs, ours in _WORDS:
        statement = re.sub(theirs, ours, statement)
    return statement


async def tamper(store: Store, *sql: str) -> None:
    """Run statements on what is stored, past the store; skips the test where the engine cannot hold such a row."""
    if isinstance(store, PostgresStore):
        connection = await asyncpg.connect(store.place.urls[0])
        try:
            # Nobody holds the keys of other tables against us.
            await connection.execute("SET session_replication_role = replica")
            for statement in sql:
                await connection.execute(in_words_of_postgres(statement))
        except asyncpg.CharacterNotInRepertoireError:
            pytest.skip("PostgreSQL has just refused a text that is not UTF-8")
        finally:
            await connection.close()
        return
    assert isinstance(store, SqliteStore)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as file:
        for statement in sql:
            file.execute(statement)
