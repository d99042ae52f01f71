"""A checkpoint that is kept elsewhere shows what the chains alone cannot: a store that was written anew."""

# The changes are made up of constants of the tests.
# ruff: noqa: S608

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.store import statements
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.checkpoint import digest_of, make_checkpoint, read_checkpoint
from openscr.store.rows import to_microseconds
from openscr.store.sqlite import SqliteStore

from .samples import OTHER_PATIENT, PATIENT, SLOT, an_entry, append, at


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give a store with five rows of one slot, and one of another."""
    opened = SqliteStore(tmp_path / "openscr.db")
    await opened.open()
    await append(opened, [an_entry(number) for number in range(1, 6)])
    await append(opened, [an_entry(6, OTHER_PATIENT)], SLOT + 1)
    yield opened
    await opened.close()


def rewrite(path: Path, keep: int) -> None:
    """Make the chain of the slot anew with other times, as somebody could who has all rights: it fits itself."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"DELETE FROM audit WHERE slot = {SLOT}")
        hash = GENESIS
        for sequence in range(1, keep + 1):
            entry = an_entry(sequence + 100)
            instant, content = to_microseconds(entry.occurred_at), write_content(entry)
            hash = link(hash, SLOT, sequence, instant, PATIENT, content)
            connection.execute(statements.APPEND_AUDIT, (SLOT, sequence, instant, PATIENT, content, hash))
        connection.execute(statements.MOVE_CHAIN, (SLOT, keep, hash))


async def test_a_store_that_has_only_grown_fits_its_checkpoint(store: SqliteStore) -> None:
    """What is written later changes nothing of what was there."""
    made = make_checkpoint(await store.audit_heads(), at(0))
    assert [(head.slot, head.sequence) for head in made.heads] == [(SLOT, 5), (SLOT + 1, 1)]
    read = read_checkpoint(made.content)
    assert (read.heads, read.digest) == (made.heads, made.digest) == (made.heads, digest_of(made.heads[::-1]))
    assert (await store.verify(read.heads)).intact
    await append(store, [an_entry(7), an_entry(8)])
    assert (await store.verify(read.heads)).intact
    assert make_checkpoint(await store.audit_heads(), at(0)).digest != made.digest


@pytest.mark.parametrize("keep", [5, 9])
async def test_a_chain_that_was_written_anew_does_not(store: SqliteStore, keep: int) -> None:
    """The chains fit themselves; the checkpoint tells."""
    heads = make_checkpoint(await store.audit_heads(), at(0)).heads
    rewrite(store.path, keep)
    assert (await store.verify()).intact
    assert (await store.verify(heads)).faults == (f"slot {SLOT}: audit row 5 is not the one of the checkpoint",)


async def test_a_tail_that_was_cut_off_with_its_head_is_missed(store: SqliteStore) -> None:
    """Rows and head alike were set back: only the checkpoint knows of more."""
    heads = make_checkpoint(await store.audit_heads(), at(0)).heads
    rewrite(store.path, 3)
    assert (await store.verify()).intact
    assert (await store.verify(heads)).faults == (f"slot {SLOT}: audit row 5 of the checkpoint is missing",)


async def test_a_slot_that_was_emptied_is_missed(store: SqliteStore) -> None:
    """No row, no head: as if nothing had ever happened there."""
    heads = make_checkpoint(await store.audit_heads(), at(0)).heads
    with closing(sqlite3.connect(store.path)) as connection, connection:
        for table in ("audit", "chain"):
            connection.execute(f"DELETE FROM {table} WHERE slot = {SLOT}")
    assert (await store.verify()).intact
    assert (await store.verify(heads)).faults == (f"slot {SLOT}: audit row 5 of the checkpoint is missing",)


async def test_a_checkpoint_that_was_changed_is_not_believed(store: SqliteStore) -> None:
    """Whatever byte of its heads is another, it no longer fits its digest; what is none is told too."""
    content = make_checkpoint(await store.audit_heads(), at(0)).content
    for wrong in (content.replace(b",5,", b",4,"), b"{}", b"\xff", content[:-20], content.replace(b"/1", b"/2")):
        with pytest.raises(ConfigurationError, match="the checkpoint"):
            read_checkpoint(wrong)
