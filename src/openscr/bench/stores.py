"""How large a store is, and which processes serve it.

Spec: 90 §5 "bytes per record", §6.4.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import asyncpg

from openscr.bench.processes import name_of, parent_of
from openscr.errors import StoreUnavailable
from openscr.identifiers import is_loopback

_SIZES: Final = """
SELECT relname, pg_total_relation_size(oid) FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""
_LOGGED: Final = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')"
_DATABASE: Final = "SELECT pg_database_size(current_database())"


def is_postgresql(url: str) -> bool:
    """Whether the URL of a store names a PostgreSQL."""
    return urlsplit(url).scheme in ("postgresql", "postgres")


def path_of(url: str) -> Path:
    """Return the file of an SQLite store."""
    return Path(url.removeprefix("sqlite:///"))


async def size_of(url: str) -> int:
    """Return the bytes that a store takes, indexes included. Raises: `StoreUnavailable`."""
    if is_postgresql(url):
        connection = await _connect(url)
        try:
            return int(await connection.fetchval(_DATABASE))
        finally:
            await connection.close()
    with closing(sqlite3.connect(f"file:{path_of(url)}?mode=ro", uri=True)) as file:
        names = ("page_count", "freelist_count", "page_size")
        pages, free, page = (int(file.execute(f"PRAGMA {name}").fetchone()[0]) for name in names)
    return (pages - free) * page


async def tables_of(url: str) -> dict[str, int]:
    """Return the bytes of each table with its indexes; nothing for SQLite, which cannot tell. Raises as `size_of`."""
    if not is_postgresql(url):
        return {}
    connection = await _connect(url)
    try:
        return {name: int(size) for name, size in await connection.fetch(_SIZES)}
    finally:
        await connection.close()


async def logged_of(url: str) -> int | None:
    """Return the bytes that a PostgreSQL has written to its log so far, none for SQLite. Raises as `size_of`.

    What its processes write besides (checkpoints, new segments of the log) comes when it comes, not with its cause.
    """
    if not is_postgresql(url):
        return None
    connection = await _connect(url)
    try:
        return int(await connection.fetchval(_LOGGED))
    finally:
        await connection.close()


async def server_of(url: str) -> int | None:
    """Return the process of a PostgreSQL server on this machine, none when it is elsewhere or cannot be seen."""
    if not is_postgresql(url) or not is_loopback(urlsplit(url).hostname or ""):
        return None
    connection = await _connect(url)
    try:
        # The process that serves this connection ends with it.
        parent = parent_of(int(await connection.fetchval("SELECT pg_backend_pid()")))
    finally:
        await connection.close()
    return parent if parent is not None and name_of(parent).startswith("postgres") else None


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        return await asyncpg.connect(url, timeout=5)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise StoreUnavailable(f"the store cannot be asked for its size ({type(error).__name__})") from None
