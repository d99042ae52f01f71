"""One changed byte among twenty thousand audit rows is found, wherever it is, and nothing else is blamed.

`python -m benchmarks.audit` does the same with a million rows. Spec: 35 §7.
"""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.identifiers import slot_of
from openscr.store import statements
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.compression import Codec
from openscr.store.interface import AuditEntry
from openscr.store.rows import to_microseconds
from openscr.store.sqlite import SqliteStore
from openscr.store.sqlite_connection import connect, prepare_database
from openscr.store.sqlite_verification import check_slots
from openscr.store.verification import Findings

from .samples import OTHER_PATIENT, PATIENT, an_id, at

ROWS = 20_000
SLOTS_USED = 20
COLUMNS = ("slot", "sequence", "occurred_at", "nhs_number", "content", "hash")


def nobody(number: int) -> str:
    """Return a key of a slot of its own; what stands in the column is its patient's number."""
    return f"key {number}"


KEYS = [slot_of(nobody(number)) for number in range(SLOTS_USED)]


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with twenty thousand rows in right chains, all of it in the one file."""
    path = tmp_path_factory.mktemp("audit") / "openscr.db"
    prepare_database(path, 5, migrate=True)
    heads = dict.fromkeys(KEYS, (0, GENESIS))
    assert len(heads) == SLOTS_USED
    with closing(connect(path, 5)) as connection:
        connection.execute("BEGIN")
        for number in range(ROWS):
            slot = KEYS[number % SLOTS_USED]
            patient = (PATIENT, OTHER_PATIENT, None)[number % 3]
            entry = AuditEntry(at(number), "upload", "AA", patient, {"message_id": an_id(number), "reason": "é“"})
            sequence, previous = heads[slot]
            instant, content = to_microseconds(entry.occurred_at), write_content(entry)
            hash = link(previous, slot, sequence + 1, instant, patient, content)
            connection.execute(statements.APPEND_AUDIT, (slot, sequence + 1, instant, patient, content, hash))
            heads[slot] = (sequence + 1, hash)
        for slot, head in heads.items():
            connection.execute(statements.MOVE_CHAIN, (slot, *head))
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


async def test_it_is_intact(database: Path) -> None:
    """Every row is looked at, and right."""
    assert await faults_of(database) == ()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    slot=st.sampled_from(KEYS),
    sequence=st.integers(1, ROWS // SLOTS_USED),
    column=st.sampled_from(COLUMNS),
    place=st.integers(0, 10_000),
    change=st.integers(1, 255),
)
def test_whatever_is_changed_in_a_row_is_found(
    database: Path, slot: int, sequence: int, column: str, place: int, change: int
) -> None:
    """Every column, every byte, every other value; the fault names the slot, and the row where it can be told."""
    statement = f"UPDATE audit SET {column} = ? WHERE {{}} = ? AND slot = ? AND sequence = ?"  # noqa: S608
    with closing(connect(database, 5)) as connection:
        key = (slot, sequence)
        id, value = connection.execute(
            f"SELECT rowid, {column} FROM audit WHERE slot = ? AND sequence = ?",  # noqa: S608
            key,
        ).fetchone()
        other = changed(column, value, place, change)
        connection.execute(statement.format("rowid"), (other, id, *key))
        try:
            findings = Findings()
            check_slots(connection, {slot, other} if column == "slot" else {slot}, Codec(), findings)
        finally:
            connection.execute(f"UPDATE audit SET {column} = ? WHERE rowid = ?", (value, id))  # noqa: S608
    faults = list(findings.report().faults)
    named = f"slot {slot}: audit row {sequence} "
    if column in ("occurred_at", "nhs_number", "content"):
        assert faults == [f"{named}does not fit its hash"]
    elif column == "hash":
        assert f"{named}does not fit its hash" in faults
    else:
        assert any(fault.startswith(f"slot {slot}: ") for fault in faults)
    assert not any(number in fault for fault in faults for number in (PATIENT, OTHER_PATIENT))


def changed(column: str, value: Any, place: int, change: int) -> Any:
    """Return another value of a column: of texts and blobs one letter or byte is another."""
    if column == "slot":
        return next(free for free in range(change, 4096) if free not in KEYS)
    if column == "sequence":
        return value + ROWS
    if isinstance(value, int):
        return value ^ change
    if isinstance(value, bytes):
        at = place % len(value)
        return value[:at] + bytes([value[at] ^ change]) + value[at + 1 :]
    if value is None:
        return PATIENT
    at = place % len(value)
    return value[:at] + str((int(value[at]) + change % 9 + 1) % 10) + value[at + 1 :]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, ROWS - 1), change=st.integers(1, 127))
def test_one_byte_of_the_file_is_found(database: Path, number: int, change: int) -> None:
    """A disk that fails, or a hand that knows where: the row is named, by a proof of the whole store."""
    original = database.read_bytes()
    damaged = bytearray(original)
    damaged[original.index(an_id(number).encode()) + len(an_id(number)) - 1] ^= change
    database.write_bytes(damaged)
    try:
        faults = asyncio.run(faults_of(database))
    finally:
        for extra in database.parent.glob("openscr.db-*"):
            extra.unlink()
        database.write_bytes(original)
    slot, sequence = KEYS[number % SLOTS_USED], number // SLOTS_USED + 1
    assert faults == (f"slot {slot}: audit row {sequence} does not fit its hash",)


async def faults_of(database: Path) -> tuple[str, ...]:
    """Return what the proof of a whole store finds."""
    store = SqliteStore(database)
    await store.open()
    try:
        return (await store.verify()).faults
    finally:
        await store.close()
