"""Everything that is in a store, read out in one order, written into another one, and compared row by row.

The order: first the tables that lie in no slot, then part of the slots after part of the slots, table by table. A part
is small enough to be one transaction. Two stores hold the same when every table of every part has as many rows and the
same digest on both sides; a digest does not depend on the order in which an engine gives its rows.

Spec: engine.md "the four levels"; 90 §6.1.
"""

# Names of tables and columns are constants, or were held against a pattern; slots are numbers of ours.
# ruff: noqa: S608

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from hashlib import blake2b, sha256
from typing import Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from openscr.errors import ConfigurationError
from openscr.identifiers import SLOTS
from openscr.store.checkpoint import digest_of
from openscr.store.instances import SILENCE
from openscr.store.interface import ChainHead
from openscr.store.migrations import REVISIONS, UNFINISHED, head_revision, unfinished
from openscr.store.rows import to_microseconds
from openscr.store.tables import MADE, TABLES, Table

Row = Sequence[Any]

NO_SLOTS: Final = range(0)
"""Where the rows of tables stand that lie in no slot."""

NOT_TEXT: Final = 1
"""The kind of `msgspec.msgpack.Ext` that stands for a text whose bytes are no text: of a damaged row."""

INSTANCES_SINCE: Final = "0006"
"""From this revision on a store says who serves it."""

_ROWS_OF_A_PART: Final = 20_000
_LARGE_ROWS: Final = 32
_SMALL_ROWS: Final = 500
_encode = msgspec.msgpack.Encoder().encode


class Piece(msgspec.Struct, frozen=True, tag="rows"):
    """Some rows of one table, of a part of the slots."""

    table: str
    first: Annotated[int, Meta(ge=0, lt=SLOTS)]
    end: Annotated[int, Meta(ge=0, le=SLOTS)]
    rows: list[tuple[Any, ...]]

    @property
    def slots(self) -> range:
        """The slots of the part."""
        return range(self.first, self.end)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What a source holds: the revision of its schema, its tables, how many rows each has, a digest of its state.

    ``state`` changes with whatever the service writes. ``slots_at_a_time`` is the size of its parts.
    """

    revision: str
    tables: tuple[Table, ...]
    counts: dict[str, int]
    state: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    slots_at_a_time: Annotated[int, Meta(ge=1, le=SLOTS)]

    @property
    def rows(self) -> int:
        """How many rows there are in all."""
        return sum(self.counts.values())

    def parts(self, start: int = -1) -> list[range]:
        """Return the parts from a place on: -1 the very beginning, else a slot. The first one is `NO_SLOTS`."""
        width = self.slots_at_a_time
        slots = [range(first, min(first + width, SLOTS)) for first in range(max(start, 0), SLOTS, width)]
        return [NO_SLOTS, *slots] if start < 0 else slots

    def tables_of(self, part: range) -> list[Table]:
        """Return the tables that have rows in a part."""
        return [table for table in self.tables if table.of_slots == bool(part)]


class Reader(Protocol):
    """Reads from a database: one state of it as long as it is open, where the engine has been asked for that."""

    async def fetch(self, query: str) -> list[Row]:
        """Return all rows of a query."""

    def stream(self, query: str, at_a_time: int) -> AsyncIterator[list[Row]]:
        """Return the rows of a query, some at a time."""

    async def revision(self) -> str | None:
        """Return the revision of the schema, none for an empty database. Raises: `ConfigurationError`."""


class Writer(Reader, Protocol):
    """Writes to a database as well."""

    async def create(self, revision: str) -> None:
        """Make the tables of a revision in an empty database."""

    def transaction(self) -> AbstractAsyncContextManager[None]:
        """All that is written within it is there afterwards, durably, or nothing."""

    async def execute(self, statement: str) -> int:
        """Run a statement; return how many rows it changed."""

    async def insert(self, table: Table, rows: Sequence[Row]) -> None:
        """Write rows."""

    async def tidy(self) -> None:
        """Let the engine learn what the tables hold now."""


class Access(Enum):
    """What a whole store is opened for."""

    SNAPSHOT = "snapshot"
    """To be read at one instant, while others write."""

    ALONE = "alone"
    """To be read while nobody can write."""

    FILL = "fill"
    """To be filled."""


class Database(Writer, AbstractAsyncContextManager["Database"], Protocol):
    """A database that is open for as long as the ``async with`` lasts."""

    engine: str
    """Name for people."""

    async def now(self) -> datetime:
        """Return the time by the database's own clock."""

    async def identity(self) -> str:
        """Return what no other database of the engine has."""


class Source(Protocol):
    """Whole contents of a store: a database or a backup of one."""

    @property
    def snapshot(self) -> Snapshot:
        """What there is."""

    def pieces(self, part: range) -> AsyncIterator[Piece]:
        """Return the rows of a part, table by table; parts are asked for in their order, perhaps more than once."""


@dataclass(slots=True)
class Sum:
    """How many rows there were, and the sum of their digests."""

    count: int = 0
    digest: int = 0

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        for row in rows:
            self.count += 1
            self.digest += int.from_bytes(blake2b(_encode(tuple(row)), digest_size=32).digest())
        self.digest &= (1 << 256) - 1


# --- reading ----------------------------------------------------------------------------------------------------------


def _select(table: Table, part: range, what: str = "") -> str:
    conditions = [MADE[table.name][1]] if table.name in MADE else []
    if part:
        conditions.append(f"slot >= {part.start} AND slot < {part.stop}")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {what or ', '.join(table.columns)} FROM {table.name}{where}"


async def stream_table(reader: Reader, table: Table, part: range) -> AsyncIterator[list[Row]]:
    """Return the rows of a table in a part of the slots, some at a time."""
    async for rows in reader.stream(_select(table, part), _LARGE_ROWS if table.large else _SMALL_ROWS):
        yield rows


async def sum_table(reader: Reader, table: Table, part: range) -> Sum:
    """Return count and digest of the rows of a table in a part of the slots."""
    found = Sum()
    async for rows in stream_table(reader, table, part):
        found.add(rows)
    return found


async def count_rows(reader: Reader, table: Table) -> int:
    """Return how many rows of a table mean something."""
    return int((await reader.fetch(_select(table, NO_SLOTS, "count(*)")))[0][0])


async def is_empty(reader: Reader, tables: Iterable[Table] = TABLES) -> bool:
    """Whether nothing was ever kept in a database that has its tables."""
    for table in tables:
        if await reader.fetch(f"{_select(table, NO_SLOTS, '1')} LIMIT 1"):
            return False
    return True


async def take_snapshot(reader: Reader, revision: str, tables: Sequence[Table] = TABLES) -> Snapshot:
    """Return what a database holds now."""
    counts = {table.name: await count_rows(reader, table) for table in tables}
    heads = await reader.fetch("SELECT slot, sequence, hash FROM chain WHERE sequence > 0")
    directory = await reader.fetch("SELECT revision FROM directory_revision")
    state = [revision, digest_of(ChainHead(*head) for head in heads), [tuple(row) for row in directory], counts]
    in_slots = sum(counts[table.name] for table in tables if table.of_slots)
    return Snapshot(
        revision=revision,
        tables=tuple(tables),
        counts=counts,
        state=sha256(msgspec.json.encode(state)).hexdigest(),
        slots_at_a_time=max(1, min(SLOTS // 4, SLOTS * _ROWS_OF_A_PART // max(in_slots, 1))),
    )


class DatabaseSource:
    """The contents of a database through a reader. Made by `open_source`."""

    def __init__(self, reader: Reader, snapshot: Snapshot) -> None:
        self._reader = reader
        self.snapshot = snapshot

    async def pieces(self, part: range) -> AsyncIterator[Piece]:
        """Return the rows of a part, table by table."""
        for table in self.snapshot.tables_of(part):
            async for rows in stream_table(self._reader, table, part):
                yield Piece(table.name, part.start, part.stop, [tuple(row) for row in rows])


@asynccontextmanager
async def opened_source(database: Database) -> AsyncIterator[DatabaseSource]:
    """Give what a database holds. Raises: `ConfigurationError` when it is not a store of this program's schema."""
    async with database:
        revision = await database.revision()
        if revision is None:
            raise ConfigurationError("the store that is to be read is empty; name another one")
        if revision == UNFINISHED:
            raise ConfigurationError(unfinished("the store that is to be read"))
        if revision != head_revision():
            raise ConfigurationError(
                f"the store that is to be read has schema {revision}, this program needs {head_revision()};"
                + (" run `openscr admin migrate` on it first" if revision in REVISIONS else " use a newer program")
            )
        yield DatabaseSource(database, await take_snapshot(database, revision))


async def refuse_served(database: Database, which: str) -> None:
    """See that no service runs on a store. Raises: `ConfigurationError`."""
    since = to_microseconds(await database.now() - timedelta(seconds=SILENCE))
    if running := await database.fetch(f"SELECT holder FROM instance WHERE seen_at > {since}"):
        raise ConfigurationError(
            f"{which} is being served (worker processes: {len(running)}); stop the service first, or wait"
            f" {SILENCE:.0f} s if it has ended"
        )


# --- writing ----------------------------------------------------------------------------------------------------------


async def write_rows(writer: Writer, table: Table, rows: Sequence[Row]) -> None:
    """Write rows of a table in the place of those that a new store has, if any."""
    if rows and table.name in MADE:
        key = MADE[table.name][0]
        place = table.columns.index(key)
        await writer.execute(f"DELETE FROM {table.name} WHERE {key} IN ({', '.join(str(int(r[place])) for r in rows)})")
    await writer.insert(table, rows)


def tables_by_name(tables: Iterable[Table]) -> Mapping[str, Table]:
    """Return tables by their names."""
    return {table.name: table for table in tables}
