"""The audit chain: everything of a row is in its hash."""

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from openscr.store.chain import GENESIS, link, read_row, write_content
from openscr.store.interface import AuditEntry
from openscr.store.rows import from_microseconds, to_microseconds

from .samples import NOON

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
ROWS = st.tuples(
    st.binary(min_size=32, max_size=32),
    st.integers(0, 4095),
    st.integers(1, 2**63 - 1),
    st.integers(-(2**62), 2**62),
    st.none() | TEXT,
    st.binary(max_size=40),
)


@given(ROWS, ROWS)
def test_different_rows_have_different_hashes(first: tuple, second: tuple) -> None:  # type: ignore[type-arg]
    """Two rows have one hash only when all of their parts are equal."""
    assert (link(*first) == link(*second)) == (first == second)


@given(ROWS, st.integers(0, 5), st.data())
def test_each_part_counts(row: tuple, part: int, data: st.DataObject) -> None:  # type: ignore[type-arg]
    """Changing one part changes the hash."""
    other = data.draw(ROWS)
    changed = (*row[:part], other[part], *row[part + 1 :])
    assert (link(*row) == link(*changed)) == (row == changed)


def test_a_number_and_the_content_do_not_run_together() -> None:
    """Bytes that move between number and content do not leave the hash as it was; nor does an empty number."""
    assert link(GENESIS, 1, 1, 0, "99", b"90") != link(GENESIS, 1, 1, 0, "999", b"0")
    assert link(GENESIS, 1, 1, 0, None, b"") != link(GENESIS, 1, 1, 0, "", b"")


def test_the_hash_is_the_one_that_stored_chains_have() -> None:
    """The way of hashing is part of the format of stored data."""
    content = write_content(AuditEntry(NOON, "upload", "AA", None, {"b": "2", "a": "1"}))
    assert content == b'{"action":"upload","content":{"a":"1","b":"2"},"outcome":"AA"}'
    hash = link(GENESIS, 1206, 1, to_microseconds(NOON), "9990000018", content)
    assert hash.hex() == "b872323ac58666a9fa15742fdacaa7447b90ea9475327b4305a316a978b543e8"


@given(st.dictionaries(TEXT, TEXT, max_size=5), TEXT, TEXT, st.none() | TEXT)
def test_an_entry_comes_back(content: dict[str, str], action: str, outcome: str, nhs_number: str | None) -> None:
    """What is written of an entry is the same whatever the order of its fields, and reads back as the entry."""
    entry = AuditEntry(NOON, action, outcome, nhs_number, content)
    written = write_content(entry)
    assert written == write_content(replace(entry, content=dict(reversed(content.items()))))
    assert read_row(7, 1, to_microseconds(NOON), nhs_number, written, GENESIS).entry == entry


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.timezones()))
def test_times_keep_their_microsecond(instant: datetime) -> None:
    """An instant of any zone comes back as the same instant."""
    # Python calls times in a zone's repeated or skipped hour unequal to any other zone's, so both are taken to UTC.
    assert from_microseconds(to_microseconds(instant)) == instant.astimezone(UTC)
