"""A store filled with everything that another store or a backup holds: resumed where it stopped, then proved.

Invariants:

* As long as not everything is there and compared, the target says `UNFINISHED` in the place of its revision: no program
  serves it.
* A part of the slots and the note that it is there are one transaction, so a copy that was killed goes on with the part
  after it. It goes on only with the very source that it began with, in the very state.
* Nothing is written to a target that holds anything of its own.
* Of several programs that fill one target at once, each part is written by one; the others are told.

Spec: engine.md "the four levels"; 00 §4 ``admin``.
"""

# The values in these statements are digests and revisions of ours.
# ruff: noqa: S608

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from openscr.errors import ConfigurationError, Conflict, StoreError
from openscr.store.copying import (
    INSTANCES_SINCE,
    Database,
    Snapshot,
    Source,
    Sum,
    count_rows,
    is_empty,
    refuse_served,
    sum_table,
    tables_by_name,
    take_snapshot,
    write_rows,
)
from openscr.store.migrations import REVISIONS, UNFINISHED, head_revision

_NOTE: Final = "unfinished_copy"
_TWO: Final = "another program fills the same target; let it finish, or stop it"

Progress = Callable[[str, int], None]
"""Is told what is being done (``copying``, ``comparing``) and how many rows more of it are done."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What came of a copy: rows in the target, rows that this run wrote, from which part on it took up the work."""

    rows: int
    written: int
    resumed: bool
    already_there: bool


async def fill(source: Source, target: Database, progress: Progress) -> Moved:
    """Bring everything of ``source`` into ``target``, and prove row by row that it is there.

    Raises: `ConfigurationError` when the target is not fit for it, with nothing changed; `Conflict` when another
    program fills it; `StoreError` when what arrived is not what was sent.
    """
    snapshot = source.snapshot
    if snapshot.revision not in REVISIONS:
        raise ConfigurationError(
            f"what is to be copied has schema {snapshot.revision}, newer than this program knows ({head_revision()});"
            " use a newer program"
        )
    start, already_there = await _prepare(target, snapshot)
    written = 0
    if not already_there:
        written = await _copy(source, target, start, progress)
    try:
        await _compare(source, target, progress)
    except StoreError:
        if not already_there and await target.revision() != UNFINISHED:
            # It is in use by now; nobody must be told to empty it.
            raise Conflict(_TWO) from None
        raise
    if not already_there:
        await _finish(target, snapshot)
    return Moved(snapshot.rows, written, start >= 0, already_there)


async def _prepare(target: Database, snapshot: Snapshot) -> tuple[int, bool]:
    """Make the target ready; return from which part on it is to be filled, and whether it is full already."""
    if await target.revision() is None:
        await target.create(snapshot.revision)
    # What is found and what is made of it are one transaction: who else fills it comes before that, or after it.
    async with target.transaction():
        revision = await _hold(target)
        if revision == UNFINISHED:
            ((state, place),) = await target.fetch(f"SELECT state, place FROM {_NOTE}")
            if state != snapshot.state:
                raise ConfigurationError(
                    "the target holds half a copy of another store, or its source was used since; empty the target"
                    " first"
                )
            return int(place), False
        if revision is None or revision not in REVISIONS:
            raise ConfigurationError(
                f"the target has schema {revision}, newer than this program knows ({head_revision()}); use a newer"
                " program"
            )
        if REVISIONS.index(revision) >= REVISIONS.index(INSTANCES_SINCE):
            await refuse_served(target, "the target")
        if revision == snapshot.revision and await _state(target, snapshot) == snapshot.state:
            return -1, True
        if revision != snapshot.revision or not await is_empty(target, snapshot.tables):
            raise ConfigurationError("the target is not empty; name a new database")
        await target.execute(f"CREATE TABLE {_NOTE} (state TEXT NOT NULL, place INTEGER NOT NULL)")
        await target.execute(f"INSERT INTO {_NOTE} (state, place) VALUES ('{snapshot.state}', -1)")
        await target.execute(f"UPDATE alembic_version SET version_num = '{UNFINISHED}'")
    return -1, False


async def _state(target: Database, snapshot: Snapshot) -> str:
    return (await take_snapshot(target, snapshot.revision, snapshot.tables)).state


async def _hold(target: Database) -> str | None:
    """Let nobody else fill the target before the transaction ends; return its revision as it is from here on."""
    await target.execute("UPDATE alembic_version SET version_num = version_num")
    return await target.revision()


async def _hold_unfinished(target: Database) -> None:
    if await _hold(target) != UNFINISHED:
        raise Conflict(_TWO)


async def _copy(source: Source, target: Database, start: int, progress: Progress) -> int:
    """Write everything from a part on; return how many rows that were."""
    snapshot = source.snapshot
    tables = tables_by_name(snapshot.tables)
    written = 0
    for part in snapshot.parts(start):
        rows_of_part = 0
        async with target.transaction():
            await _hold_unfinished(target)
            # Whoever else is about the same has perhaps written the part.
            before = part.start if part else -1
            after = part.stop if part else 0
            if await target.execute(f"UPDATE {_NOTE} SET place = {after} WHERE place = {before}") != 1:
                raise Conflict(_TWO)
            async for piece in source.pieces(part):
                await write_rows(target, tables[piece.table], piece.rows)
                rows_of_part += len(piece.rows)
                progress("copying", len(piece.rows))
        written += rows_of_part
    return written


async def _compare(source: Source, target: Database, progress: Progress) -> None:
    """Hold every row of the target against the source's. Raises: `StoreError`."""
    snapshot = source.snapshot
    for part in snapshot.parts():
        sums = {table.name: Sum() for table in snapshot.tables_of(part)}
        async for piece in source.pieces(part):
            sums[piece.table].add(piece.rows)
        for table in snapshot.tables_of(part):
            found = await sum_table(target, table, part)
            if found != sums[table.name]:
                place = f"slots {part.start} to {part.stop - 1} of table" if part else "table"
                raise StoreError(
                    f"what arrived is not what was sent: {place} {table.name} has {found.count} rows,"
                    f" {sums[table.name].count} were sent; empty the target and begin again"
                )
            progress("comparing", found.count)
    for table in snapshot.tables:
        total = await count_rows(target, table)
        if total != snapshot.counts[table.name]:
            raise StoreError(f"table {table.name} has {total} rows, {snapshot.counts[table.name]} were sent")


async def _finish(target: Database, snapshot: Snapshot) -> None:
    async with target.transaction():
        await _hold_unfinished(target)
        await target.execute(f"UPDATE alembic_version SET version_num = '{snapshot.revision}'")
        await target.execute(f"DROP TABLE {_NOTE}")
    await target.tidy()
