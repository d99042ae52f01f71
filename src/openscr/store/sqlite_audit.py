"""Reading the audit of a SQLite store page by page, so that a million rows are never in memory together.

Each page continues after the last row of the one before, by key: what is written meanwhile moves nothing.

Spec: 35 §7.
"""

import sqlite3
from collections.abc import Callable
from typing import Final

import msgspec

from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.store import statements
from openscr.store.chain import read_row
from openscr.store.interface import AuditPeriod, AuditRow, ChainHead
from openscr.store.rows import Row, to_microseconds
from openscr.store.sqlite_alerts import LATEST, period

PAGE: Final = 1000

ReadPage = Callable[[sqlite3.Connection], list[AuditRow]]


def page_of_chain(slot: int, after: int) -> ReadPage:
    """Return what reads the rows of a chain after a sequence."""

    def read(connection: sqlite3.Connection) -> list[AuditRow]:
        return [_read(row) for row in connection.execute(statements.READ_AUDIT, (slot, after, PAGE))]

    return read


def page_of_time(wanted: AuditPeriod, last: AuditRow | None, *, newest_first: bool) -> ReadPage:
    """Return what reads the rows of a period that follow ``last`` in the order that is wanted, or the first ones."""
    since, until = period(wanted.since, wanted.until)
    if wanted.nhs_number is not None:
        of_patient = statements.AUDIT_OF_PATIENT_BACKWARDS if newest_first else statements.AUDIT_OF_PATIENT
        start = LATEST if newest_first else 0
        place = start if last is None else last.sequence
        slot = slot_of(wanted.nhs_number)
        return _reader(of_patient, (slot, place, wanted.nhs_number, since, until, PAGE))
    if newest_first:
        before = (until, -1, 0) if last is None else _place(last)
        return _reader(statements.AUDIT_BACKWARDS, (*before, since, PAGE))
    # One of our slots is never below 0: every row of the first instant follows.
    after = (since, -1, 0) if last is None else _place(last)
    return _reader(statements.AUDIT_FORWARDS, (*after, until, PAGE))


def _reader(statement: str, values: tuple[object, ...]) -> ReadPage:
    def read(connection: sqlite3.Connection) -> list[AuditRow]:
        return [_read(row) for row in connection.execute(statement, values)]

    return read


def _place(row: AuditRow) -> tuple[int, int, int]:
    return to_microseconds(row.entry.occurred_at), row.slot, row.sequence


def _read(row: Row) -> AuditRow:
    slot, sequence, occurred_at, nhs_number, content, hash = row
    try:
        return read_row(slot, sequence, occurred_at, nhs_number, content, hash)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise StoreError(f"slot {slot}: audit row {sequence} is damaged; run `openscr admin verify`") from error


def read_heads(connection: sqlite3.Connection) -> list[ChainHead]:
    """Return where every chain ends."""
    return [ChainHead(*row) for row in connection.execute(statements.HEADS)]
