"""Reading the audit of a SQLite store page by page, so that a million rows are never in memory together.

Each page continues after the last row of the one before, by key: what is written meanwhile moves nothing.

Spec: 35 §7.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

from openscr.store import statements
from openscr.store.audit_pages import PAGE, place_in_time, read_audit_row
from openscr.store.interface import AuditPeriod, AuditRow, ChainHead

ReadPage = Callable[[sqlite3.Connection], list[AuditRow]]

_STATEMENTS: Final = {
    # Of one patient, newest first.
    (True, True): statements.AUDIT_OF_PATIENT_BACKWARDS,
    (True, False): statements.AUDIT_OF_PATIENT,
    (False, True): statements.AUDIT_BACKWARDS,
    (False, False): statements.AUDIT_FORWARDS,
}


def page_of_chain(slot: int, after: int) -> ReadPage:
    """Return what reads the rows of a chain after a sequence."""
    return _reader(statements.READ_AUDIT, (slot, after, PAGE))


def page_of_time(wanted: AuditPeriod, last: AuditRow | None, *, newest_first: bool) -> ReadPage:
    """Return what reads the rows of a period that follow ``last`` in the order that is wanted, or the first ones."""
    statement = _STATEMENTS[wanted.nhs_number is not None, newest_first]
    return _reader(statement, place_in_time(wanted, last, newest_first=newest_first))


def _reader(statement: str, values: tuple[object, ...]) -> ReadPage:
    def read(connection: sqlite3.Connection) -> list[AuditRow]:
        return [read_audit_row(row) for row in connection.execute(statement, values)]

    return read


def read_heads(connection: sqlite3.Connection) -> list[ChainHead]:
    """Return where every chain ends."""
    return [ChainHead(*row) for row in connection.execute(statements.HEADS)]
