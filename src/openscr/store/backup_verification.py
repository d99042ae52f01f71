"""Proof that a backup is whole, and that the store which it would restore is intact: no database is needed for it.

Part of the slots after part of the slots is put into a database in memory and judged as `openscr.store` judges a store
that is served.

Spec: 00 §4 ``admin verify``; 35 §7.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing

from openscr.errors import ConfigurationError
from openscr.store.backup_file import BackupFile
from openscr.store.compression import Codec
from openscr.store.interface import ChainHead, VerifyReport
from openscr.store.migrations import REVISIONS, head_revision, upgrade_sqlite
from openscr.store.migrations.sqlite_schema import STEPS
from openscr.store.sqlite_copying import insert_rows
from openscr.store.sqlite_verification import check_slots
from openscr.store.tables import MADE
from openscr.store.verification import Findings


async def verify_backup(
    backup: BackupFile, checkpoint: Sequence[ChainHead], progress: Callable[[int], None]
) -> VerifyReport:
    """Check every block, every audit chain and message, and every other row. Raises: `StoreError` when it is damaged.

    ``progress`` is told how many rows more were looked at.
    """
    snapshot = backup.snapshot
    if snapshot.revision not in REVISIONS:
        raise ConfigurationError(
            f"the backup has schema {snapshot.revision}, newer than this program knows ({head_revision()});"
            " use a newer program"
        )
    findings, codec = Findings(checkpoint), Codec()
    tables = {table.name: table for table in snapshot.tables}
    empty = await asyncio.to_thread(_empty_database, snapshot.revision)
    for part in snapshot.parts():
        with closing(sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)) as database:
            database.deserialize(empty)
            async for piece in backup.pieces(part):
                await asyncio.to_thread(insert_rows, database, tables[piece.table], piece.rows)
                progress(len(piece.rows))
            if snapshot.revision != head_revision():
                await asyncio.to_thread(upgrade_sqlite, database)
            await asyncio.to_thread(check_slots, database, part, codec, findings)
    return findings.report()


def _empty_database(revision: str) -> bytes:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as database:
        for statement in (statement for step, made in STEPS.items() if step <= revision for statement in made):
            database.execute(statement)
        database.execute("CREATE TABLE alembic_version (version_num TEXT NOT NULL)")
        database.execute("INSERT INTO alembic_version (version_num) VALUES (?)", (revision,))
        for table in MADE:
            database.execute(f"DELETE FROM {table}")  # noqa: S608  a name of ours
        return database.serialize()
