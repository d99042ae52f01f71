"""Reading the outbox row by row, so that one damaged row stands in nobody's way, on PostgreSQL.

Invariant: whatever stands in a row, the other rows are read; a damaged row is never given out to be sent.

Spec: 40 §6.3; 00 §4 ``admin outbox``.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, Final

from openscr.errors import StoreError
from openscr.store import postgres_statements as statements
from openscr.store.compression import Codec
from openscr.store.interface import Leasing, OutboxRow, OutboxState
from openscr.store.postgres_connection import Connection
from openscr.store.rows import read_damaged_outbox, read_outbox
from openscr.store.statements import OUTBOX_COLUMNS

_WIDTH: Final = len(OUTBOX_COLUMNS.split(","))


def _read(row: Any, codec: Codec) -> OutboxRow:
    try:
        return read_outbox(row, codec)
    except StoreError as error:
        return read_damaged_outbox(row, error.diagnostics)


async def find(connection: Connection, message_id: str, codec: Codec) -> OutboxRow | None:
    """Return the row of a MessageId, of a damaged one what is left of it; or none."""
    row = await connection.fetchrow(statements.FIND_OUTBOX, message_id, message_id)
    return None if row is None else _read(row, codec)


async def read_all(connection: Connection, state: str | None, codec: Codec) -> list[OutboxRow]:
    """Return the rows of the outbox, or those of one state, oldest first; of a damaged one what is left of it."""
    found = (
        await connection.fetch(statements.LIST_OUTBOX)
        if state is None
        else await connection.fetch(statements.LIST_OUTBOX_OF_STATE, state)
    )
    return [_read(row, codec) for row in found]


async def take_due(
    connection: Connection,
    until: int,
    limit: int,
    codec: Codec,
    leasing: Leasing,
    besides: Sequence[str] = (),
) -> list[OutboxRow]:
    """Lease and return open rows that are due by ``until`` (microseconds since 1970), none of the parties ``besides``.

    The connection is in a transaction. Damaged rows become failed ones. What another holder is just taking is not
    waited for: as many others are looked at in its place.
    """
    due: dict[tuple[int, str], OutboxRow] = {}
    elsewhere: set[tuple[int, str]] = set()
    while True:
        wanted = limit + len(elsewhere)
        found = await _longest_due(connection, until, wanted, leasing.holder, besides)
        fresh = [row for row in found if _key(row) not in due and _key(row) not in elsewhere][: limit - len(due)]
        taken = await _take(connection, leasing.holder, [row for row in fresh if row["holder"] != leasing.holder])
        for row in fresh:
            key = _key(row)
            if row["holder"] != leasing.holder and key not in taken:
                elsewhere.add(key)
                continue
            try:
                due[key] = read_outbox(tuple(row)[:_WIDTH], codec)
            except StoreError as error:
                values = (OutboxState.FAILED.value, None, error.diagnostics, *key)
                await connection.execute(statements.FAIL_DAMAGED_OUTBOX, *values)
                elsewhere.add(key)
        if not fresh or len(due) >= limit:
            return list(due.values())


def _key(row: Any) -> tuple[int, str]:
    return row["slot"], row["id"]


async def _take(connection: Connection, holder: str, rows: list[Any]) -> set[tuple[int, str]]:
    """Make rows ours that are nobody's, slot by slot; return the keys of those that are ours now.

    One that is due at another time than when it was read is not: somebody has had it meanwhile, and has tried.
    """
    due_at = {_key(row): row["due_at"] for row in rows}
    if not holder:
        return set(due_at)
    taken = set()
    for slot, group in groupby(sorted(due_at), key=itemgetter(0)):
        seized = await connection.fetch(statements.SEIZE_OUTBOX, slot, [id for _, id in group])
        ids = [
            row["id"] for row in seized if row["state"] == OutboxState.OPEN and row["due_at"] == due_at[slot, row["id"]]
        ]
        await connection.execute(statements.LEASE_OUTBOX, holder, slot, ids)
        taken |= {(slot, id) for id in ids}
    return taken


async def _longest_due(connection: Connection, until: int, limit: int, ours: str, besides: Sequence[str]) -> list[Any]:
    """Return due rows, ours and nobody's, longest due first, each with when it is due and its holder."""
    found: list[Any] = []
    for holder in sorted({ours, ""}):
        if besides:
            found += await _due_besides(connection, until, limit, holder, frozenset(besides))
        else:
            found += await connection.fetch(statements.DUE_OUTBOX, holder, until, limit)
    return sorted(found, key=itemgetter("due_at", "created_at"))[:limit]


async def _due_besides(
    connection: Connection, until: int, limit: int, holder: str, besides: frozenset[str]
) -> list[Any]:
    """Return due rows of other parties.

    The cost follows from the number of parties that have open rows, never from how many rows one of them has.
    """
    first = await _first_due(connection, holder)
    waiting = sorted([(due_at, party) for party, due_at in first if party not in besides])
    # A party whose first row is due later than those of so many others cannot be among the rows wanted.
    latest = min(until, waiting[limit - 1][0]) if limit <= len(waiting) else until
    parties = [party for due_at, party in waiting if due_at <= latest]
    return list(await connection.fetch(statements.DUE_OUTBOX_OF_PARTIES, parties, holder, until, limit))


async def _first_due(connection: Connection, holder: str) -> list[tuple[str, int]]:
    """Return every party that a holder has open rows for, and when the first is due; one look at the index for each."""
    parties, party = [], ""
    while (found := await connection.fetchrow(statements.NEXT_PARTY_WITH_OUTBOX, holder, party)) is not None:
        party = found[0]
        parties.append((party, int(found[1])))
    return parties


async def holders(connection: Connection) -> list[str]:
    """Return who has open rows, each found with one look."""
    found, last = [], ""
    while (row := await connection.fetchrow(statements.NEXT_HOLDER, last)) is not None:
        last = row[0]
        found.append(last)
    return found
