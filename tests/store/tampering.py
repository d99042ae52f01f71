"""Changing a store behind its back, as somebody would who has its rights."""

import sqlite3
from contextlib import closing

import asyncpg

from openscr.store.interface import Store
from openscr.store.postgres import PostgresStore
from openscr.store.sqlite import SqliteStore


async def tamper(store: Store, *sql: str) -> None:
    """Run statements on what is stored, past the store."""
    if isinstance(store, PostgresStore):
        connection = await asyncpg.connect(store.place.urls[0])
        try:
            for statement in sql:
                await connection.execute(statement)
        finally:
            await connection.close()
        return
    assert isinstance(store, SqliteStore)
    with closing(sqlite3.connect(store.path, isolation_level=None)) as file:
        for statement in sql:
            file.execute(statement)
