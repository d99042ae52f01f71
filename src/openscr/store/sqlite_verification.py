"""Verification of a SQLite store: its file, its schema, and every row of every slot.

Slot by slot, each in one short read of a consistent state, one row in memory at a time.

Spec: 35 §7; 00 §4 "admin verify"; 90 §6.1.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Final

from openscr.store import statements
from openscr.store.compression import Codec
from openscr.store.sqlite_outbox import any_text
from openscr.store.verification import Findings, SlotCheck

_TABLES: Final = statements.SLOT_IN_USE.count("?")


def check_file(connection: sqlite3.Connection, findings: Findings) -> None:
    """Let the engine compare its tables with their indexes and its pages with their form."""
    try:
        lines = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        lines = [getattr(error, "sqlite_errorname", "unreadable")]
    for line in lines:
        if line != "ok":
            findings.add(f"database file: {line}")


def check_schema(connection: sqlite3.Connection, findings: Findings) -> bool:
    """See whether everything is there that the service's statements speak of: without it no slot can be read."""
    for statement in (*statements.HOT, *statements.BACKGROUND):
        try:
            connection.execute(f"EXPLAIN {statement}", (None,) * statement.count("?"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            # The engine's words name a table or a column of the schema, nothing that is in it.
            findings.add(f"schema: {error}; nothing further was looked at")
            return False
    return True


def check_slots(connection: sqlite3.Connection, slots: Iterable[int], codec: Codec, findings: Findings) -> None:
    """Check everything in some slots, each against one consistent state."""
    for slot in slots:
        connection.execute("BEGIN")
        try:
            (in_use,) = connection.execute(statements.SLOT_IN_USE, (slot,) * _TABLES).fetchone()
            for step in SlotCheck(slot, codec, findings).steps():
                if in_use:
                    with any_text(connection) if step.any_text else nullcontext():
                        for row in connection.execute(getattr(statements, step.statement), (slot,)):
                            step.look(row)
                step.end()
        except sqlite3.DatabaseError as error:
            findings.add(f"slot {slot}: rows cannot be read ({getattr(error, 'sqlite_errorname', 'no code')})")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
