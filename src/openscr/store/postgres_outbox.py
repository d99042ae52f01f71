"""Reading the outbox row by row, so that one damaged row stands in nobody's way, on PostgreSQL.

Invariant: whatever stands in a row, the other rows are read; a damaged row is never given out to be sent.

Spec: 40 §6.3; 00 §4 ``admin outbox``.
"""

from collections.abc import Sequence
from typing import Any, Final

from openscr.errors import StoreError
from openscr.store import postgres_statements as statements
from openscr.store.compression import Codec
from openscr.store.interface import Leasing, OutboxRow, OutboxState
from openscr.store.postgres_connection import Connection
from openscr.store.rows import leased_until, read_damaged_outbox, read_outbox

_LEASED: Final = "UPDATE 1"


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

    Damaged ones become failed ones. A row that another holder has leased meanwhile is left to it.
    """
    due = []
    for row in await _read_due(connection, until, limit, leasing.holder, besides):
        try:
            readable = read_outbox(row, codec)
        except StoreError as error:
            values = (OutboxState.FAILED.value, None, error.diagnostics, row["slot"], row["id"])
            await connection.execute(statements.FAIL_DAMAGED_OUTBOX, *values)
            continue
        if leasing.holder:
            key = (readable.slot, readable.id, until, leasing.holder)
            lease = (leasing.holder, leased_until(leasing, until))
            if await connection.execute(statements.LEASE_OUTBOX, *lease, *key) != _LEASED:
                continue
        due.append(readable)
    return due


async def _read_due(connection: Connection, until: int, limit: int, holder: str, besides: Sequence[str]) -> list[Any]:
    if not besides:
        return list(await connection.fetch(statements.DUE_OUTBOX, until, until, holder, limit))
    waiting = sorted([(due_at, party) for party, due_at in await _first_due(connection) if party not in besides])
    # A party whose first row is due later than those of so many others cannot be among the rows wanted.
    latest = min(until, waiting[limit - 1][0]) if limit <= len(waiting) else until
    parties = [party for due_at, party in waiting if due_at <= latest]
    return list(await connection.fetch(statements.DUE_OUTBOX_OF_PARTIES, parties, until, until, holder, limit))


async def _first_due(connection: Connection) -> list[tuple[str, int]]:
    """Return every party that has open rows, and when the first of them is due; one look at the index for each."""
    parties, party = [], ""
    while (found := await connection.fetchrow(statements.NEXT_PARTY_WITH_OUTBOX, party)) is not None:
        party = found[0]
        parties.append((party, int(found[1])))
    return parties
