"""Reading the outbox row by row, so that one damaged row stands in nobody's way.

Invariant: whatever stands in a row, the other rows are read; a damaged row is never given out to be sent.

Spec: 40 §6.3; 00 §4 ``admin outbox``.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from openscr.errors import StoreError
from openscr.store import statements
from openscr.store.compression import Codec
from openscr.store.interface import OutboxRow, OutboxState
from openscr.store.rows import bytes_as_stored, read_damaged_outbox, read_outbox, text_as_stored


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
    connection: sqlite3.Connection, until: int, limit: int, codec: Codec, besides: Sequence[str] = ()
) -> list[OutboxRow]:
    """Return open rows that are due by ``until`` (microseconds since 1970), none of the parties ``besides``.

    Damaged ones become failed ones.
    """
    due = []
    with any_text(connection):
        found = connection.execute(statements.due_outbox(len(besides)), (until, *besides, limit)).fetchall()
    for row in found:
        try:
            due.append(read_outbox(row, codec))
        except StoreError as error:
            slot, id = row[0], bytes_as_stored(row[1])
            values = (OutboxState.FAILED.value, None, error.diagnostics, slot, id)
            connection.execute(statements.FAIL_DAMAGED_OUTBOX, values)
    return due


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
