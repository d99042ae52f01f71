"""Permissions to view and legitimate relationships in the store. Spec: 70 §9, 35 §6."""

# ruff: noqa: S608 - statements that damage rows are put together here

from dataclasses import replace
from pathlib import Path

import pytest

from openscr.errors import Conflict, StoreError
from openscr.identifiers import slot_of
from openscr.standing import Basis, Holder, HolderKind, StandingKind
from openscr.store.interface import StandingRow, Store, Transaction
from openscr.store.sqlite import SqliteStore

from .conftest import Opening
from .samples import OTHER_PATIENT, PATIENT, SLOT, a_standing, an_id, append, at
from .tampering import tamper

EVERYTHING = a_standing(
    1,
    kind=StandingKind.RELATIONSHIP,
    holder=Holder(HolderKind.WORKGROUP, "900000000777"),
    ends_at=None,
    basis=Basis.EMERGENCY,
    user_id=None,
    role_profile_id=None,
    job_role=None,
)

EVERYTHING_ELSE = replace(EVERYTHING, id=an_id(3), recorded_at=at(3))


async def read(store: Store, nhs_number: str = PATIENT, second: float = 0) -> tuple[StandingRow, ...]:
    """Return what has not ended some seconds after noon."""

    async def work(transaction: Transaction) -> tuple[StandingRow, ...]:
        return await transaction.read_standings(nhs_number, at(second))

    return await store.transact(slot_of(nhs_number), work)


async def find(store: Store, number: int) -> StandingRow | None:
    """Return a record by its id."""

    async def work(transaction: Transaction) -> StandingRow | None:
        return await transaction.find_standing(an_id(number))

    return await store.transact(SLOT, work)


async def end(store: Store, row: StandingRow) -> None:
    """Write the end of a record."""

    async def work(transaction: Transaction) -> None:
        await transaction.end_standing(row)

    await store.transact(SLOT, work)


async def test_every_field_comes_back_after_reopening(opening: Opening) -> None:
    """A record is what was written, the newest first, and no other patient's."""
    async with opening() as store:
        await append(store, [EVERYTHING, a_standing(2)])
        await append(store, [a_standing(3, OTHER_PATIENT)], slot_of(OTHER_PATIENT))
    async with opening() as store:
        assert await read(store) == (a_standing(2), EVERYTHING)
        assert await read(store, OTHER_PATIENT) == (a_standing(3, OTHER_PATIENT),)
        assert await find(store, 1) == EVERYTHING
        assert await find(store, 3) is None
        assert (await store.verify()).intact


async def test_what_was_ended_is_kept_and_no_longer_read(store: Store) -> None:
    """An ended record leaves the list, not the store; nothing but its end can change."""
    await append(store, [a_standing(1), a_standing(2)])
    ended = replace(a_standing(1), ended_at=at(99), ended_by="consent", text="changed")
    await end(store, ended)
    assert await read(store) == (a_standing(2),)
    assert await find(store, 1) == replace(ended, text="Synthetic")
    with pytest.raises(StoreError):
        await end(store, a_standing(3))


async def test_what_is_over_is_not_read(store: Store) -> None:
    """A patient who was asked a thousand times costs no more than one who was asked today."""
    await append(store, [a_standing(1), a_standing(2), EVERYTHING_ELSE])
    assert await read(store, second=3600.999999) == (EVERYTHING_ELSE, a_standing(2), a_standing(1))
    assert await read(store, second=3601) == (EVERYTHING_ELSE, a_standing(2))
    assert await read(store, second=99_999) == (EVERYTHING_ELSE,)


async def test_an_id_exists_once(store: Store) -> None:
    """A second record of an id is refused, and the first one stays."""
    await append(store, [a_standing(1)])
    with pytest.raises(Conflict):
        await append(store, [a_standing(1, text="another")])
    assert await find(store, 1) == a_standing(1)


@pytest.mark.parametrize(
    ("second", "holds"), [(0, False), (1, True), (3600, True), (3600.999999, True), (3601, False), (9999, False)]
)
def test_a_record_holds_from_its_start_until_its_end(second: float, holds: bool) -> None:
    """To the microsecond: the end is no longer part of it. Spec: 70 "expiry works at the second"."""
    assert a_standing(1).in_force(at(second)) is holds
    assert a_standing(1, ends_at=None).in_force(at(second)) is (second >= 1)
    assert not a_standing(1, ended_at=at(2)).in_force(at(second))


@pytest.mark.parametrize(
    "change",
    ["kind = 'other'", f"starts_at = {2**62}", "holder_kind = ''", "basis = 'x'"],
)
async def test_a_damaged_record_is_found(store: Store, change: str) -> None:
    """Permissions and relationships can be read."""
    await append(store, [a_standing(1), a_standing(2)])
    await tamper(store, f"UPDATE standing SET {change} WHERE id = '{an_id(2)}'")
    (found,) = (await store.verify()).faults
    assert found.startswith(f"slot {SLOT}: permission or relationship {an_id(2)}: ")
    assert PATIENT not in found


async def test_a_record_in_another_slot_is_found(store: Store) -> None:
    """A row that stands in another slot than its patient's holds for nobody: that is a fault."""
    await append(store, [a_standing(1)])
    await tamper(store, f"UPDATE standing SET slot = {SLOT + 1}")
    (found,) = (await store.verify()).faults
    assert found.endswith("it is not in the slot of its patient")


async def test_a_text_that_is_none_is_found(tmp_path: Path) -> None:
    """SQLite keeps any bytes where a text should be; other engines do not."""
    store = SqliteStore(tmp_path / "openscr.db")
    await store.open()
    await append(store, [a_standing(1)])
    await tamper(store, "UPDATE standing SET text = CAST(x'ff' AS TEXT)")
    (found,) = (await store.verify()).faults
    assert found == f"slot {SLOT}: permission or relationship {an_id(1)}: a stored text is not UTF-8"
    await store.close()
