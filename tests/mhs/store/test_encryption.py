"""Bodies at rest: nothing of a patient lies in the file, another key is refused, nothing can be moved. Spec: 50 F17."""

# Looking at small files does not keep anybody waiting here.

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from openscr.errors import ConfigurationError, StoreError
from openscr.mhs.store.encryption import Sealing, read_key
from openscr.mhs.store.interface import Result, SendState, Store
from openscr.mhs.store.opening import open_store

from ..rig import settings
from .conftest import KEY, sealed_sqlite, sqlite
from .samples import (
    a_message,
    a_queue_message,
    a_reply,
    a_sending,
    an_id,
    at,
    find_reply,
    find_sending,
    put,
)

SECRET = b"MS FLORENCE NIGHTINGALE 9990000018"
OTHER_KEY = "B" * 43 + "="
BODIES = (
    a_message(1, result=Result(200, "text/xml", SECRET)),
    a_sending(1, body=SECRET),
    a_reply(1, body=SECRET),
    a_queue_message(1, body=SECRET),
)


def content(folder: Path) -> bytes:
    """Return every byte of the store's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.iterdir()))


async def test_f17_no_body_lies_in_the_files_in_clear(tmp_path: Path) -> None:
    """With a key; without one they do, so that this test can fail."""
    for name, engine, is_there in (("clear", sqlite, True), ("sealed", sealed_sqlite, False)):
        folder = tmp_path / name
        store = engine(folder)
        await store.open()
        await put(store, *BODIES)
        assert (SECRET in content(folder)) is is_there
        assert (SECRET[:10] in content(folder)) is is_there
        await store.close()
        assert (SECRET in content(folder)) is is_there


@pytest.mark.parametrize("body", [SECRET, SECRET * 2000], ids=["small", "large"])
async def test_f17_what_was_removed_is_gone_from_the_file(body: bytes, tmp_path: Path) -> None:
    """Acknowledged, delivered, purged: the bytes are overwritten, also without a key."""
    store = sqlite(tmp_path)
    await store.open()
    await put(store, a_message(1), a_sending(1, body=body), a_reply(1, body=body), a_queue_message(1, body=body))
    (leased,) = await store.lease_queue(at(0), at(60), 1)
    await store.acknowledge(leased.receipt)
    await store.transact(lambda transaction: transaction.remove_message(an_id(1)))
    await store.close()
    assert SECRET not in content(tmp_path)


async def refusal(store: Store) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await store.open()
    return str(refused.value)


async def test_f17_another_key_or_none_is_refused_and_the_first_still_opens(tmp_path: Path) -> None:
    store = sealed_sqlite(tmp_path)
    await store.open()
    await put(store, *BODIES)
    await store.close()
    other = open_store(settings(data=tmp_path, secret_store_key=OTHER_KEY))
    for stranger in (other, sqlite(tmp_path)):
        told = await refusal(stranger)
        assert "MHS_SECRET_STORE_KEY" in told
        assert KEY not in told
        assert OTHER_KEY not in told
        assert not await stranger.writable()
    await store.open()
    assert await find_reply(store, 1) == a_reply(1, body=SECRET)
    await store.close()


async def test_a_key_may_be_set_later(tmp_path: Path) -> None:
    """What was stored before stays readable; what comes is sealed."""
    store = sqlite(tmp_path)
    await store.open()
    await put(store, a_reply(1))
    await store.close()
    store = sealed_sqlite(tmp_path)
    await store.open()
    await put(store, a_reply(2, body=SECRET))
    assert await find_reply(store, 1) == a_reply(1)
    assert await find_reply(store, 2) == a_reply(2, body=SECRET)
    await store.close()
    assert SECRET not in content(tmp_path)
    assert "sealed with the key" in await refusal(sqlite(tmp_path))


@pytest.mark.parametrize("key", ["short", "A" * 44, "é" * 44, "A" * 42 + "==", "AA" * 32])
def test_a_key_that_is_none_is_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ConfigurationError, match="openssl rand -base64 32") as refused:
        read_key(SecretStr(key))
    assert key not in str(refused.value)


@pytest.mark.parametrize("key", [None, SecretStr(""), SecretStr(" ")])
def test_without_a_key_bodies_stay_as_they_are(key: SecretStr | None) -> None:
    sealing = read_key(key)
    assert sealing.key_id is None
    assert b"body" in sealing.seal("a:1", b"body")


@given(body=st.binary(max_size=300), place=st.integers(0, 10**6), bit=st.integers(0))
def test_a_body_opens_where_it_was_sealed_and_as_it_was_sealed(body: bytes, place: int, bit: int) -> None:
    sealing = read_key(SecretStr(KEY))
    stored = sealing.seal("queue:A", body)
    assert sealing.open("queue:A", stored) == body
    assert sealing.seal("queue:A", body) != stored
    for elsewhere in ("queue:B", "reply:A"):
        with pytest.raises(StoreError):
            sealing.open(elsewhere, stored)
    for other in (Sealing(), read_key(SecretStr(OTHER_KEY))):
        with pytest.raises(StoreError):
            other.open("queue:A", stored)
    changed = bytearray(stored)
    changed[bit % (8 * len(stored)) // 8] ^= 1 << bit % 8
    try:
        # Only the mark of a plain body makes another body of it, which is none of a sealed one's bytes in clear.
        assert sealing.open("queue:A", bytes(changed)) == bytes(changed[1:])
        assert changed[0] == 0
    except StoreError:
        pass
    for length in range(len(stored) - len(body)):
        with pytest.raises(StoreError):
            sealing.open("queue:A", stored[:length])


async def damaged(folder: Path, statement: str) -> Store:
    """Return a store of which somebody has changed the row ``:one``."""
    store = sealed_sqlite(folder)
    await store.open()
    await put(store, *BODIES, a_message(2), a_sending(2), a_queue_message(2))
    with closing(sqlite3.connect(folder / "mhs.db", isolation_level=None)) as connection:
        assert connection.execute(statement, {"one": an_id(1), "two": an_id(2)}).rowcount == 1
    return store


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE queue_body SET body = zeroblob(0) WHERE sequence = 1",
        "UPDATE queue_body SET body = CAST(substr(body, 1, 30) AS BLOB) WHERE sequence = 1",
        "UPDATE queue_body SET body = (SELECT body FROM queue_body WHERE sequence = 2) WHERE sequence = 1",
    ],
    ids=["empty", "cut", "that of another"],
)
async def test_a_damaged_queue_message_is_a_dead_letter_and_holds_up_no_other(statement: str, tmp_path: Path) -> None:
    store = await damaged(tmp_path, statement)
    assert [each.message for each in await store.lease_queue(at(0), at(60), 10)] == [a_queue_message(2)]
    assert [letter.id for letter in await store.dead_letters(10)] == [an_id(1)]
    await store.close()


async def test_a_damaged_message_is_not_sent_and_says_so(tmp_path: Path) -> None:
    store = await damaged(
        tmp_path,
        "UPDATE sending_body SET body = (SELECT body FROM sending_body WHERE message_id = :two)"
        " WHERE message_id = :one",
    )
    assert list(await store.lease_sendings(at(0), at(60), 10)) == [a_sending(2)]
    with closing(sqlite3.connect(tmp_path / "mhs.db")) as connection:
        statement = "SELECT state, last_error FROM sending WHERE message_id = ?"
        assert connection.execute(statement, (an_id(1),)).fetchone() == (SendState.FAILED, "a stored body is damaged")
    with pytest.raises(StoreError, match="damaged"):
        await find_sending(store, 1)
    await store.close()


async def test_a_damaged_state_is_an_error_of_its_own(tmp_path: Path) -> None:
    store = await damaged(tmp_path, "UPDATE message SET workflow = 'none' WHERE message_id = :one AND :two != ''")
    with pytest.raises(StoreError, match="damaged"):
        await store.find_message(an_id(1))
    assert await store.find_message(an_id(2)) == a_message(2)
    await store.close()
