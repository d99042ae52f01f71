"""A damaged row of the outbox is seen by those who look, and stands in nobody's way."""

# The changes are made up of constants of the tests.
# ruff: noqa: S608

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.errors import StoreError
from openscr.store.compression import Codec
from openscr.store.interface import OutboxState, Store
from openscr.store.rows import bytes_as_stored, readable, text_as_stored

from .conftest import Opening
from .samples import SUMMARY, an_id, an_outbox_row, append, at
from .tampering import tamper

DAMAGE = {
    "body": "body = x'00'",
    "body that names no dictionary": "body = x'28b52ffd0000010000'",
    "answer still to be rendered": "answer = x'ff', body = x''",
    "time": f"created_at = {2**62}",
    "time of the next attempt": f"next_attempt_at = -{2**62}",
    "text": "conversation_id = CAST(x'ff' AS TEXT)",
}


@pytest.fixture
async def store(opening: Opening) -> AsyncIterator[Store]:
    """Give a store with three open rows, of which the second is the oldest."""
    async with opening() as opened:
        await append(opened, [an_outbox_row(number, body=SUMMARY) for number in (1, 3)])
        await append(opened, [an_outbox_row(2, body=SUMMARY, created_at=at(-5))])
        yield opened


async def damage(store: Store, change: str) -> None:
    """Change the second row as a failing disk would."""
    await tamper(store, f"UPDATE outbox SET {change} WHERE id = '{an_id(2)}'")


@pytest.mark.parametrize("kind", DAMAGE)
async def test_delivery_goes_on_past_a_damaged_row(store: Store, kind: str) -> None:
    """The others are given out; the damaged one has failed and is not looked at again."""
    await damage(store, DAMAGE[kind])
    for _ in range(2):
        assert [row.id for row in await store.due_outbox(at(10), 10)] == [an_id(1), an_id(3)]
    (row,) = await store.list_outbox("failed")
    # A failed row has no next attempt, so that it cannot be wrong any more.
    assert (row.id, row.damaged) == (an_id(2), "next attempt" not in kind)
    assert row.last_error
    assert (await store.outbox_figures()).rows == {"open": 2, "failed": 1, "undeliverable": 0}


@pytest.mark.parametrize("kind", [*DAMAGE, "state"])
async def test_a_damaged_row_is_listed_with_what_is_left_of_it(store: Store, kind: str) -> None:
    """The list holds every row; the damaged one says what is wrong, cannot be changed, and can be forgotten."""
    await damage(store, {**DAMAGE, "state": "state = 'sent'"}[kind])
    rows = {row.id: row for row in await store.list_outbox()}
    assert set(rows) == {an_id(1), an_id(2), an_id(3)}
    assert [row.id for row in rows.values() if row.damaged] == [an_id(2)]
    damaged = rows[an_id(2)]
    assert (damaged.to_party, damaged.service, damaged.body) == ("B99901-900101", "psis", b"")
    assert damaged.last_error
    with pytest.raises(StoreError, match="damaged"):
        await store.change_outbox(damaged)
    await store.remove_outbox(damaged.slot, damaged.id)
    assert len(await store.list_outbox()) == 2


async def test_a_row_whose_id_is_damaged_fails_as_well(store: Store) -> None:
    """Even a key that is no text any more leads to its row."""
    await damage(store, "id = CAST(x'41ff42' AS TEXT)")
    assert [row.id for row in await store.due_outbox(at(10), 10)] == [an_id(1), an_id(3)]
    (row,) = await store.list_outbox(OutboxState.FAILED)
    assert (row.id, row.damaged) == ("A\ufffdB", True)
    assert not (await store.verify()).intact


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
async def test_any_changed_byte_of_a_body_is_noticed(store: Store, data: st.DataObject) -> None:
    """Whatever byte changes, the row is damaged or whole: bytes that nobody wrote are never sent."""
    body = Codec().compress(SUMMARY)
    changed = bytearray(body)
    changed[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    await damage(store, f"body = x'{changed.hex()}'")
    listed = {row.id: row for row in await store.list_outbox()}
    assert listed[an_id(2)].damaged or listed[an_id(2)].body == SUMMARY


@given(st.binary(max_size=20))
def test_any_stored_bytes_are_a_text_that_can_be_printed(data: bytes) -> None:
    """What is stored comes back as it is, and its readable form is UTF-8."""
    text = text_as_stored(data)
    assert bytes_as_stored(text) == data
    readable(text).encode("utf-8")
