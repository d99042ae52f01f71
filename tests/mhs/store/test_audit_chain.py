"""Whatever is done to the audit behind the adaptor's back shows, and where it begins. Spec: 50 F22."""

from pathlib import Path

import pytest

from openscr.errors import StoreError
from openscr.mhs.store.audit_chain import Head, Verification, forge, read_record
from openscr.mhs.store.interface import Store

from .conftest import ENGINES, needs, tamper
from .samples import an_entry, put

ROWS = 6
DAMAGES = {
    "a changed content": ("UPDATE audit SET content = CAST('{}' AS BLOB) WHERE sequence = 3", 3),
    "a changed time": ("UPDATE audit SET occurred_at = occurred_at + 1 WHERE sequence = 3", 3),
    "a changed hash": ("UPDATE audit SET hash = zeroblob(32) WHERE sequence = 3", 3),
    "a missing first": ("DELETE FROM audit WHERE sequence = 1", 1),
    "a missing one": ("DELETE FROM audit WHERE sequence = 4", 4),
    "a missing tail": ("DELETE FROM audit WHERE sequence > 4", 5),
    "all missing": ("DELETE FROM audit", 1),
    "one too many": ("INSERT INTO audit SELECT 7, occurred_at, content, hash FROM audit WHERE sequence = 6", 7),
    "a head moved back": ("UPDATE chain SET sequence = 4, hash = (SELECT hash FROM audit WHERE sequence = 4)", 5),
    "a head with another hash": ("UPDATE chain SET hash = zeroblob(32)", 6),
    "two exchanged": (
        "UPDATE audit SET content = (SELECT content FROM audit AS other WHERE other.sequence = 5 - audit.sequence)"
        " WHERE sequence IN (2, 3)",
        2,
    ),
}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """Return the name of an engine whose rows can be reached by another way."""
    needs(request.param, request)
    return str(request.param)


async def filled(engine: str, folder: Path) -> Store:
    store = ENGINES[engine](folder)
    await store.open()
    await put(store, *(an_entry(number) for number in range(ROWS)))
    return store


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_at_its_first_record(damage: str, engine: str, tmp_path: Path) -> None:
    statement, sequence = DAMAGES[damage]
    store = await filled(engine, tmp_path)
    assert await store.verify_audit() is None
    tamper(engine, tmp_path, statement)
    assert await store.verify_audit() == sequence
    await store.close()


async def test_a_record_that_cannot_be_read_is_said_to_be_damaged(engine: str, tmp_path: Path) -> None:
    store = await filled(engine, tmp_path)
    tamper(engine, tmp_path, "UPDATE audit SET content = CAST('{' AS BLOB) WHERE sequence = 2")
    with pytest.raises(StoreError, match="record 2 is damaged"):
        _ = [row async for row in store.read_audit()]
    await store.close()


def test_the_order_of_members_does_not_matter_to_the_hash() -> None:
    """The same record has the same bytes, however it was put together."""
    first, second = an_entry(1), an_entry(1)
    reversed_content = dict(reversed(second.content.items()))
    record = forge(Head(), first)
    assert forge(Head(), type(second)(second.occurred_at, reversed_content)) == record
    assert read_record(record).entry == first


def test_a_chain_without_records_is_whole() -> None:
    assert Verification().finish(Head()) is None
