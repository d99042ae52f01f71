"""Reading the outbox row by row, so that one damaged row stands in nobody's way.

Invariant: whatever stands in a row, the other rows are read; a damaged row is never given out to be sent.

Spec: 40 §6.3; 00 §4 ``admin outbox``.
"""

import heapq
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from operator import itemgetter
from typing import Final

from openscr.errors import StoreError
from openscr.store import statements
from openscr.store.compression import Codec
from openscr.store.interface import Leasing, OutboxRow, OutboxState
from openscr.store.rows import Row, bytes_as_stored, read_damaged_outbox, read_outbox, text_as_stored

_CREATED_AT: Final = statements.OUTBOX_COLUMNS.split(", ").index("created_at")
_DUE_AT: Final = -2


@contextmanager
def any_text(connection: sqlite3.Connection) -> Iterator[None]:
    """Read texts that are not UTF-8 as well, while the block lasts; without, one of them ends the whole statement."""
    usual = connection.text_factory
    connection.text_factory = text_as_stored
    try:
        yield
    finally:
        connection.text_factory = usual


def find(connection: sqlite3.Connection, message_id: str, codec: Codec) -> OutboxRow | None:
    """Return the row of a MessageId, of a damaged one what is left of it; or none."""
    with any_text(connection):
        row = connection.execute(statements.FIND_OUTBOX, (message_id, message_id)).fetchone()
        try:
            return None if row is None else read_outbox(row, codec)
        except StoreError as error:
            return read_damaged_outbox(row, error.diagnostics)


def take_due(
    connection: sqlite3.Connection,
    until: int,
    limit: int,
    codec: Codec,
    leasing: Leasing,
    besides: Sequence[str] = (),
) -> list[OutboxRow]:
    """Lease and return open rows that are due by ``until`` (microseconds since 1970), none of the parties ``besides``.

    Damaged ones become failed ones.
    """
    due: list[OutboxRow] = []
    ours = leasing.holder
    with any_text(connection):
        found = _longest_due(connection, until, limit, sorted({ours, ""}), frozenset(besides))
    for *row, _, holder in found:
        try:
            readable = read_outbox(tuple(row), codec)
            due.append(readable)
            if holder != ours:
                connection.execute(statements.LEASE_OUTBOX, (ours, readable.slot, readable.id))
        except StoreError as error:
            slot, id = row[0], bytes_as_stored(row[1])
            values = (OutboxState.FAILED.value, None, error.diagnostics, slot, id)
            connection.execute(statements.FAIL_DAMAGED_OUTBOX, values)
    return due


def _longest_due(
    connection: sqlite3.Connection, until: int, limit: int, holders: Sequence[str], besides: frozenset[str]
) -> list[Row]:
    """Return due rows of these holders, longest due first, each with when it is due and its holder at its end."""
    cursors: list[sqlite3.Cursor] = []
    for holder in holders:
        if besides:
            cursors += _due_besides(connection, until, limit, holder, besides)
        else:
            cursors.append(connection.execute(statements.DUE_OUTBOX, (holder, until, limit)))
    # Each gives its next row when that is wanted, so that no body is read for nothing.
    rows = list(islice(heapq.merge(*cursors, key=itemgetter(_DUE_AT, _CREATED_AT)), limit))
    for cursor in cursors:
        cursor.close()
    return rows


def _due_besides(
    connection: sqlite3.Connection, until: int, limit: int, holder: str, besides: frozenset[str]
) -> list[sqlite3.Cursor]:
    """Return where due rows of other parties come from, party by party.

    The cost follows from the number of parties that have open rows, never from how many rows one of them has.
    """
    waiting = sorted((due_at, party) for party, due_at in _first_due(connection, holder) if party not in besides)
    # A party whose first row is due later than those of so many others cannot be among the rows wanted.
    latest = min(until, waiting[limit - 1][0]) if limit <= len(waiting) else until
    parties = [party for due_at, party in waiting if due_at <= latest]
    return [
        connection.execute(statements.DUE_OUTBOX_OF_PARTY, (holder, bytes_as_stored(party), until, limit))
        for party in parties
    ]


def _first_due(connection: sqlite3.Connection, holder: str) -> Iterator[tuple[str, int]]:
    """Give every party that a holder has open rows for, and when the first of them is due."""
    party = ""
    while found := connection.execute(statements.NEXT_PARTY_WITH_OUTBOX, (holder, bytes_as_stored(party))).fetchone():
        party = found[0]
        yield party, found[1]


def holders(connection: sqlite3.Connection) -> list[str]:
    """Return who has open rows, each found with one look."""
    found, last = [], ""
    while row := connection.execute(statements.NEXT_HOLDER, (last,)).fetchone():
        last = row[0]
        found.append(last)
    return found


def read_all(connection: sqlite3.Connection, state: str | None, codec: Codec) -> list[OutboxRow]:
    """Return the rows of the outbox, or those of one state, oldest first; of a damaged one what is left of it."""
    rows = []
    with any_text(connection):
        found = (
            connection.execute(statements.LIST_OUTBOX)
            if state is None
            else connection.execute(statements.LIST_OUTBOX_OF_STATE, (state,))
        )
        for row in found:
            try:
                rows.append(read_outbox(row, codec))
            except StoreError as error:
                rows.append(read_damaged_outbox(row, error.diagnostics))
    return rows
