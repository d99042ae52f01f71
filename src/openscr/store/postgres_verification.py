"""Verification of a PostgreSQL store: its schema, and every row of every slot.

Some slots at a time, each time in one short read of a consistent state, some rows in memory at a time.

Spec: 35 §7; 00 §4 "admin verify"; 90 §6.1.
"""

from typing import Final

import asyncpg

from openscr.store import postgres_statements as statements
from openscr.store.compression import Codec
from openscr.store.postgres_connection import Connection
from openscr.store.postgres_errors import sqlstate_of
from openscr.store.verification import Findings, SlotCheck

_ROWS_AT_A_TIME: Final = 50


async def check_schema(connection: Connection, findings: Findings) -> bool:
    """See whether everything is there that the service's statements speak of: without it no slot can be read."""
    # In a transaction: what the driver prepares stays under way, on the server's side, until one ends.
    transaction = connection.transaction()
    await transaction.start()
    try:
        for statement in (*statements.HOT, *statements.BACKGROUND):
            await connection.prepare(statement)
    except asyncpg.SyntaxOrAccessError as error:
        # The engine's words name a table or a column of the schema, nothing that is in it.
        findings.add(f"schema: {error}; nothing further was looked at")
        return False
    finally:
        await transaction.rollback()
    return True


async def check_slots(connection: Connection, slots: range, codec: Codec, findings: Findings) -> None:
    """Check everything in some slots that follow one another; the connection's transaction sees one state of them."""
    checks = {slot: SlotCheck(slot, codec, findings) for slot in slots}
    try:
        # Table by table, each for all of the slots: most slots of a small store are empty.
        for looks in zip(*(check.steps() for check in checks.values()), strict=True):
            of_slot = dict(zip(checks, looks, strict=True))
            statement = statements.OF_SLOTS[looks[0].statement]
            async for row in connection.cursor(statement, slots[0], slots[-1], prefetch=_ROWS_AT_A_TIME):
                of_slot[row[0]].look(row[1:])
            for step in looks:
                step.end()
    except (asyncpg.DataError, asyncpg.InternalServerError) as error:
        findings.add(f"slots {slots[0]} to {slots[-1]}: rows cannot be read (SQLSTATE {sqlstate_of(error)})")
