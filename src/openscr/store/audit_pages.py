"""Where a page of the audit begins and ends, and its rows, on every engine.

Spec: 35 §7.
"""

from typing import Any, Final

import msgspec

from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.store.chain import read_row
from openscr.store.interface import AuditPeriod, AuditRow
from openscr.store.rows import LATEST, Row, period, to_microseconds

PAGE: Final = 1000


def place_in_time(wanted: AuditPeriod, last: AuditRow | None, *, newest_first: bool) -> tuple[Any, ...]:
    """Return the parameters of the page that follows ``last`` in the order that is wanted, or of the first one."""
    since, until = period(wanted.since, wanted.until)
    if wanted.nhs_number is not None:
        start = LATEST if newest_first else 0
        place = start if last is None else last.sequence
        return slot_of(wanted.nhs_number), place, wanted.nhs_number, since, until, PAGE
    # One of our slots is never below 0: every row of the first instant follows.
    if newest_first:
        before = (until, -1, 0) if last is None else _place(last)
        return *before, since, PAGE
    after = (since, -1, 0) if last is None else _place(last)
    return *after, until, PAGE


def _place(row: AuditRow) -> tuple[int, int, int]:
    return to_microseconds(row.entry.occurred_at), row.slot, row.sequence


def read_audit_row(row: Row) -> AuditRow:
    """Return a row of the audit. Raises: `StoreError` when it is damaged."""
    slot, sequence, occurred_at, nhs_number, content, hash = row
    try:
        return read_row(slot, sequence, occurred_at, nhs_number, content, hash)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise StoreError(f"slot {slot}: audit row {sequence} is damaged; run `openscr admin verify`") from error
