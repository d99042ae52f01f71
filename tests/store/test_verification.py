"""Verification finds what was changed behind the store's back, and says where without saying who."""

# The changes are made up of constants of the tests.
# ruff: noqa: S608

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.codes import UPLOAD
from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.spine import Consent, EventStatus
from openscr.store import statements
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST, alert_digest, change_digest
from openscr.store.alert_records import AlertChange
from openscr.store.compression import Codec
from openscr.store.interface import RawMessage, Store, Transaction
from openscr.store.sqlite import SqliteStore
from openscr.store.sqlite_connection import connect
from openscr.store.sqlite_verification import check_slots
from openscr.store.verification import FAULT_LIMIT, Findings, SlotCheck, Step

from .conftest import Opening
from .samples import (
    OTHER_PATIENT,
    PATIENT,
    SLOT,
    a_consent,
    a_poll_result,
    a_receipt,
    an_alert,
    an_entry,
    an_event,
    an_id,
    append,
    at,
    upload,
)
from .tampering import tamper


async def fill(store: Store) -> None:
    """Keep three summaries of one patient, one of another."""
    for number in (1, 2, 3):
        await upload(store, number)
    await upload(store, 4, OTHER_PATIENT)

    async def work(transaction: Transaction) -> None:
        await transaction.change_event(an_event(1, status=EventStatus.REPLACED, replaced_by=an_id(2)))
        await transaction.change_event(
            an_event(2, status=EventStatus.WITHDRAWN, replaced_by=an_id(3), withdrawn_by=an_id(9), withdrawn_at=at(9))
        )

    await store.transact(SLOT, work)


@pytest.fixture
async def store(opening: Opening) -> AsyncIterator[Store]:
    """Give a store with some summaries, on either engine."""
    async with opening() as opened:
        await fill(opened)
        yield opened


@pytest.fixture
async def file_store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    """Give the same in a file."""
    opened = SqliteStore(tmp_path / "openscr.db")
    await opened.open()
    await fill(opened)
    yield opened
    await opened.close()


async def test_an_untouched_store_is_intact(store: Store) -> None:
    """Everything is counted and nothing is wrong."""
    report = await store.verify()
    assert report.faults == ()
    assert (report.audit_rows, report.events, report.receipts) == (4, 4, 4)


CHANGES = {
    "audit content": (
        "UPDATE audit SET content = CAST(replace(CAST(content AS TEXT), 'AA', 'AE') AS BLOB) WHERE sequence = 2",
        f"slot {SLOT}: audit row 2 does not fit its hash",
    ),
    "audit content that is no longer JSON": (
        "UPDATE audit SET content = x'ff' WHERE sequence = 2",
        f"slot {SLOT}: audit row 2 does not fit its hash",
    ),
    "audit time": (
        "UPDATE audit SET occurred_at = occurred_at + 1 WHERE sequence = 3",
        f"slot {SLOT}: audit row 3 does not fit its hash",
    ),
    "audit number": (
        f"UPDATE audit SET nhs_number = '{OTHER_PATIENT}' WHERE sequence = 2",
        f"slot {SLOT}: audit row 2 does not fit its hash",
    ),
    "audit number taken away": (
        "UPDATE audit SET nhs_number = NULL WHERE sequence = 2",
        f"slot {SLOT}: audit row 2 does not fit its hash",
    ),
    "audit hash": (
        "UPDATE audit SET hash = x'00' WHERE sequence = 2",
        f"slot {SLOT}: audit row 2 does not fit its hash",
    ),
    "audit row removed": ("DELETE FROM audit WHERE sequence = 2", f"slot {SLOT}: audit row 2 is missing"),
    "first audit rows removed": (
        f"DELETE FROM audit WHERE slot = {SLOT} AND sequence <= 2",
        f"slot {SLOT}: audit row 1 to 2 is missing",
    ),
    "audit tail removed": (
        "DELETE FROM audit WHERE sequence = 3",
        f"slot {SLOT}: audit rows 3 to 3 are missing at the end",
    ),
    "all audit removed": ("DELETE FROM audit", f"slot {SLOT}: audit rows 1 to 3 are missing at the end"),
    "audit row added": (
        "INSERT INTO audit SELECT slot, 4, occurred_at, nhs_number, content, hash FROM audit WHERE sequence = 3",
        f"slot {SLOT}: audit rows 4 to 4 are not of the chain",
    ),
    "audit row moved to another slot": (
        "UPDATE audit SET slot = 5 WHERE sequence = 3",
        "slot 5: audit rows without a chain",
    ),
    "chain removed": (f"DELETE FROM chain WHERE slot = {SLOT}", f"slot {SLOT}: audit rows without a chain"),
    "chain hash": (
        f"UPDATE chain SET hash = x'00' WHERE slot = {SLOT}",
        f"slot {SLOT}: the chain ends in another hash than audit row 3",
    ),
    "raw message": (
        f"UPDATE receipt SET raw = CAST(substr(raw, 1, 200) || x'00' || substr(raw, 202) AS BLOB)"
        f" WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: receipt {an_id(2)}: stored bytes are damaged: they cannot be decompressed",
    ),
    "signal": (
        f"UPDATE receipt SET signal = x'00' WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: receipt {an_id(2)}: stored bytes are damaged: they cannot be decompressed",
    ),
    "payload place": (
        f"UPDATE receipt SET payload_offset = payload_offset + 1 WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: receipt {an_id(2)}: the payload does not fit its digest",
    ),
    "payload beyond the message": (
        f"UPDATE receipt SET payload_length = 1000000 WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: the payload lies outside its message",
    ),
    "unknown encoding": (
        f"UPDATE receipt SET encoding = 'x' WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: the payload has a content transfer encoding that is not known",
    ),
    "document place": (
        f"UPDATE event SET document_offset = document_offset + 1 WHERE event_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: the document lies outside its message",
    ),
    "receipt removed": (
        f"DELETE FROM receipt WHERE message_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: its message is not in the store",
    ),
    "details": (
        f"UPDATE event SET details = x'00' WHERE event_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: the stored row is damaged",
    ),
    "unknown status": (
        f"UPDATE event SET status = 9 WHERE event_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: the stored row is damaged",
    ),
    "successor removed": (
        f"DELETE FROM event WHERE event_id = '{an_id(3)}'",
        f"slot {SLOT}: event {an_id(2)}: the event that replaced it is not in the store",
    ),
    "its own successor": (
        f"UPDATE event SET replaced_by = event_id WHERE event_id = '{an_id(1)}'",
        f"slot {SLOT}: event {an_id(1)}: the event that replaced it is not in the store",
    ),
    "replaced by nothing": (
        f"UPDATE event SET replaced_by = NULL WHERE event_id = '{an_id(1)}'",
        f"slot {SLOT}: event {an_id(1)}: is replaced, but by nothing",
    ),
    "revived": (
        f"UPDATE event SET status = 1 WHERE event_id = '{an_id(1)}'",
        f"slot {SLOT}: event {an_id(1)}: is current, but names what replaced or withdrew it",
    ),
    "withdrawal hidden": (
        f"UPDATE event SET status = 3 WHERE event_id = '{an_id(2)}'",
        f"slot {SLOT}: event {an_id(2)}: names what withdrew it, but is not withdrawn",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_is_found(store: Store, change: str) -> None:
    """Each way of changing stored rows is reported at its place, without the patient's number."""
    sql, fault = CHANGES[change]
    await tamper(store, sql)
    report = await store.verify()
    assert fault in report.faults
    assert not report.intact
    assert PATIENT not in "".join(report.faults)
    assert OTHER_PATIENT not in "".join(report.faults)


async def test_swapped_rows_are_found(store: Store) -> None:
    """Two rows that change places do not fit."""
    await tamper(
        store,
        f"UPDATE audit SET sequence = 99 WHERE slot = {SLOT} AND sequence = 1",
        f"UPDATE audit SET sequence = 1 WHERE slot = {SLOT} AND sequence = 2",
        f"UPDATE audit SET sequence = 2 WHERE slot = {SLOT} AND sequence = 99",
    )
    faults = (await store.verify()).faults
    assert f"slot {SLOT}: audit row 1 does not fit its hash" in faults
    assert f"slot {SLOT}: audit row 2 does not fit its hash" in faults


async def test_a_removed_row_hides_no_later_change(store: Store) -> None:
    """After a gap the rest of the chain is still checked."""
    await append(store, [an_entry(5), an_entry(6)])
    await tamper(
        store,
        f"DELETE FROM audit WHERE slot = {SLOT} AND sequence = 2",
        f"UPDATE audit SET occurred_at = 0 WHERE slot = {SLOT} AND sequence = 5",
    )
    assert (await store.verify()).faults == (
        f"slot {SLOT}: audit row 2 is missing",
        f"slot {SLOT}: audit row 5 does not fit its hash",
    )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(data=st.data())
async def test_one_changed_byte_is_found(file_store: SqliteStore, data: st.DataObject) -> None:
    """Any byte of any audit row's content, changed to any other, is found; put back, all is well."""
    with closing(connect(file_store.path, 1)) as connection:
        rows = connection.execute("SELECT slot, sequence, content FROM audit ORDER BY slot, sequence").fetchall()
        slot, sequence, content = data.draw(st.sampled_from(rows))
        changed = bytearray(content)
        changed[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        for stored, expected in (
            (bytes(changed), (f"slot {slot}: audit row {sequence} does not fit its hash",)),
            (content, ()),
        ):
            connection.execute("UPDATE audit SET content = ? WHERE slot = ? AND sequence = ?", (stored, slot, sequence))
            findings = Findings()
            check_slots(connection, [slot_of(PATIENT), slot_of(OTHER_PATIENT)], Codec(), findings)
            assert findings.report().faults == expected


async def test_damaged_audit_cannot_be_read_as_if_it_were_whole(store: Store) -> None:
    """Reading the audit stops with an error at a row that is no longer what was written."""
    await tamper(store, "UPDATE audit SET content = x'ff' WHERE sequence = 2")
    with pytest.raises(StoreError, match="verify"):
        async for _ in store.read_audit():
            pass


async def test_a_damaged_file_is_reported(file_store: SqliteStore) -> None:
    """Pages overwritten in the file itself are a fault of the report, not a failure of verification."""
    await file_store.close()
    with closing(sqlite3.connect(file_store.path)) as connection:
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'audit'").fetchone()
    with file_store.path.open("r+b") as file:
        file.seek((root - 1) * page_bytes)
        file.write(b"\xff" * 512)
    await file_store.open()
    report = await file_store.verify()
    assert any(fault.startswith("database file:") for fault in report.faults)
    assert any(fault.endswith("rows cannot be read (SQLITE_CORRUPT)") for fault in report.faults)


@pytest.mark.parametrize("step", SlotCheck(0, Codec(), Findings(())).steps(), ids=lambda step: step.statement)
def test_no_table_is_forgotten_when_a_slot_is_taken_for_empty(step: Step) -> None:
    """What is looked at in a slot is looked for first."""
    (table,) = re.findall(r" FROM (\w+)(?: \w)?\b", getattr(statements, step.statement).partition(" LEFT ")[0])
    assert f" FROM {table} WHERE" in statements.SLOT_IN_USE


def test_faults_are_bounded() -> None:
    """A report of a ruined store is still a report that a person can open."""
    findings = Findings()
    for number in range(FAULT_LIMIT * 3):
        findings.add(str(number))
    assert len(findings.report().faults) == FAULT_LIMIT + 1


async def test_a_nullified_event_is_in_order(store: Store) -> None:
    """An event may be withdrawn without a withdrawing message."""
    event = replace(an_event(3), status=EventStatus.WITHDRAWN, withdrawal_reason="01")

    async def work(transaction: Transaction) -> None:
        await transaction.change_event(event)

    await store.transact(SLOT, work)
    assert (await store.verify()).intact


async def test_a_payload_that_never_was_readable_is_no_fault(store: Store) -> None:
    """What a sender called base64 and was not has been refused and kept as it came: the store is intact."""
    refused = replace(a_receipt(7), raw=RawMessage(b"head Zm9v*not base64 tail", 5, 15, "base64"), ack="AR", digest=b"")
    await append(store, [refused])
    report = await store.verify()
    assert report.faults == ()
    assert report.receipts == 5


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("raw = CAST(substr(raw, 1, 20) || x'00' || substr(raw, 22) AS BLOB)", "stored bytes are damaged"),
        ("payload_length = payload_length - 4", "the payload does not fit its digest"),
        ("encoding = 'base64'", "the payload"),
    ],
)
async def test_a_message_without_an_event_is_proved_as_well(store: Store, change: str, fault: str) -> None:
    """The bytes of any message must come back; where a digest was kept, the payload must fit it."""
    await append(store, [a_receipt(7)])
    await tamper(store, f"UPDATE receipt SET {change} WHERE message_id = '{an_id(7)}'")
    (found,) = (await store.verify()).faults
    assert found.startswith(f"slot {SLOT}: receipt {an_id(7)}: {fault}")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("body = x'00'", "stored bytes are damaged: they cannot be decompressed"),
        ("state = 'sent'", "the stored row is damaged"),
        ("answer = x'ff', body = x''", "the stored row is damaged"),
        (f"created_at = {2**62}", "the stored row is damaged"),
        ("to_party = CAST(x'ff' AS TEXT)", "a stored text is not UTF-8"),
    ],
)
async def test_a_damaged_message_to_be_sent_is_found(store: Store, change: str, fault: str) -> None:
    """Every row of the outbox can be read, whatever its state."""
    await tamper(store, f"UPDATE outbox SET {change} WHERE id = '{an_id(2)}'")
    assert (await store.verify()).faults == (f"slot {SLOT}: outbox {an_id(2)}: {fault}",)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("DELETE FROM consent WHERE version = 2", "consent version 3 of message {}: the version before it is missing"),
        (
            "DELETE FROM consent WHERE version = 1",
            "consent version 2 of message {}: the version before it is missing",
        ),
        ("UPDATE consent SET value = 'Maybe' WHERE version = 2", "consent version 2 of message {}: the stored row"),
        (f"UPDATE consent SET set_at = {2**62} WHERE version = 3", "consent version 3 of message {}: the stored row"),
        (
            "UPDATE consent SET asid = CAST(x'ff' AS TEXT) WHERE version = 2",
            "consent version 2 of message {}: a stored",
        ),
    ],
)
async def test_a_damaged_consent_is_found(store: Store, change: str, fault: str) -> None:
    """The versions of a patient's consent are 1 to n, each with a value that is known; the fault names no patient."""
    await append(store, [a_consent(1), a_consent(2, Consent.NO), a_consent(3)])
    assert (await store.verify()).intact
    await tamper(store, change)
    (found,) = (await store.verify()).faults
    version = int(fault.removeprefix("consent version ")[0])
    assert found.startswith(f"slot {SLOT}: {fault.format(an_id(version + 3000))}")
    assert PATIENT not in found


async def test_a_consent_that_nobody_would_find_is_found(store: Store) -> None:
    """A row that stands in another slot than its patient's is not in force: that is a fault."""
    await append(store, [a_consent(1)])
    await tamper(store, f"UPDATE consent SET slot = {SLOT + 1}")
    (found,) = (await store.verify()).faults
    assert found.endswith("it is not in the slot of its patient")


async def test_a_chain_that_was_taken_away_with_its_head_is_found(store: Store) -> None:
    """No event is stored without a row; a checkpoint finds it where there are no events either."""
    await tamper(store, f"DELETE FROM audit WHERE slot = {SLOT}", f"DELETE FROM chain WHERE slot = {SLOT}")
    assert (await store.verify()).faults == (f"slot {SLOT}: there are events, but no audit of them",)


async def test_what_the_audit_tells_of_is_there(store: Store) -> None:
    """Summaries and consents that were taken away leave no trace but there: which summary is said, and of nobody."""
    told = [
        replace(an_entry(5), action=UPLOAD, content={"event_id": an_id(1)}),
        replace(an_entry(6), action=UPLOAD, content={"event_id": an_id(4)}, nhs_number=OTHER_PATIENT),
        replace(an_entry(7), action=UPLOAD, content={"event_id": an_id(77)}, outcome="AE"),
        replace(an_entry(8), content={"new_consent": "Yes"}),
        replace(an_entry(9), content={"new_consent": "No"}),
    ]
    for entry in told:
        await append(store, [entry], slot_of(entry.nhs_number or ""))
    await append(store, [a_consent(1), a_consent(2, Consent.NO)])
    assert (await store.verify()).intact
    await tamper(store, "DELETE FROM event")
    assert set((await store.verify()).faults) == {
        f"slot {SLOT}: event {an_id(1)}: audit row 4 tells of it, but it is missing",
        f"slot {slot_of(OTHER_PATIENT)}: event {an_id(4)}: audit row 2 tells of it, but it is missing",
    }
    await tamper(store, f"DELETE FROM audit WHERE slot <> {SLOT}", f"DELETE FROM chain WHERE slot <> {SLOT}")
    for change, fault in (
        (
            f"UPDATE consent SET value = 'Yes' WHERE version = 2 AND slot = {SLOT}",
            "not the one that the audit tells of",
        ),
        ("DELETE FROM consent WHERE version = 2", "the audit tells of 1 versions of consents that are missing"),
        ("DELETE FROM consent", "the audit tells of 2 versions of consents that are missing"),
    ):
        await tamper(store, change)
        _, found = (await store.verify()).faults
        assert found.endswith(fault)
        assert PATIENT not in found


@pytest.mark.parametrize("change", [f"raised_at = {2**62}", "text = CAST(x'ff' AS TEXT)", "details = x'ff'"])
async def test_a_damaged_alert_is_found(store: Store, change: str) -> None:
    """Privacy alerts can be read."""
    await append(store, [an_alert(1), an_alert(2)])
    assert (await store.verify()).intact
    await tamper(store, f"UPDATE alert SET {change} WHERE id = '{an_id(2)}'")
    (found,) = (await store.verify()).faults
    assert found.startswith(f"slot {SLOT}: alert {an_id(2)}: ")


@pytest.mark.parametrize(
    "change", ["content = x'00ff'", "expires_at = 9223372036854775807", "asid = CAST(x'ff' AS TEXT)"]
)
async def test_a_damaged_poll_result_is_found(store: Store, change: str) -> None:
    """What a polling client is still to fetch can be read."""
    await append(store, [a_poll_result(1), a_poll_result(2)])
    assert (await store.verify()).intact
    await tamper(store, f"UPDATE poll SET {change} WHERE message_id = '{an_id(2)}'")
    (found,) = (await store.verify()).faults
    assert found.startswith(f"slot {SLOT}: poll result of message {an_id(2)}: ")


STEP = AlertChange(an_id(1), 2, at(1), "new", "under-investigation", "seen", "U", "R", "B99901")


async def live(store: Store) -> None:
    """Raise an alert and take it one step further, as the service does: with what the audit keeps of both."""
    raised = {"alert": an_id(1), ALERT_DIGEST: alert_digest(an_alert(1))}
    entries = [
        an_alert(1),
        replace(an_entry(5), content=raised),
        replace(an_entry(6), content={CHANGE_DIGEST: change_digest(STEP)}),
    ]
    await append(store, entries)

    async def work(transaction: Transaction) -> None:
        await transaction.change_alert(STEP)

    await store.transact(SLOT, work)


FORGERIES = {
    "DELETE FROM alert_change; DELETE FROM alert": "the audit tells of it, but it is missing",
    "DELETE FROM alert_change; UPDATE alert SET state = 'new', version = 1": "1 changes of alerts that are missing",
    "UPDATE alert SET user_id = '555000000999'": "it is not the one that the audit tells of",
    "UPDATE alert SET user_id = NULL": "it is not the one that the audit tells of",
    "UPDATE alert SET organisation = ''": "it is not the one that the audit tells of",
    "UPDATE alert SET reason = '6'": "it is not the one that the audit tells of",
    "UPDATE alert SET raised_at = raised_at + 1": "it is not the one that the audit tells of",
    "UPDATE alert SET details = CAST('{}' AS BLOB)": "it is not the one that the audit tells of",
    "UPDATE alert_change SET note = 'harmless'": "the audit does not tell of it",
    "UPDATE alert_change SET user_id = 'V'": "the audit does not tell of it",
    f"INSERT INTO alert_change VALUES ({SLOT}, '{an_id(1)}', 3, 1, 'under-investigation', 'closed', '', 'U', 'R', 'B')"
    "; UPDATE alert SET state = 'closed', version = 3": "the audit does not tell of it",
}


@pytest.mark.parametrize("change", FORGERIES)
async def test_an_alert_that_was_rewritten_behind_the_service_is_found(store: Store, change: str) -> None:
    """However well its rows fit each other: they no longer fit what the chain says of them."""
    await live(store)
    assert (await store.verify()).intact
    await tamper(store, *change.split(";"))
    found = (await store.verify()).faults
    assert any(fault.startswith(f"slot {SLOT}: ") and FORGERIES[change] in fault for fault in found), found
    assert PATIENT not in str(found)


HISTORIES = {
    "UPDATE alert SET state = 'new'": "its state is not the one that its changes led to",
    "UPDATE alert SET version = 3": "its state is not the one that its changes led to",
    "DELETE FROM alert_change": "its state is not the one that its changes led to",
    "DELETE FROM alert": "there are changes of it, but not the alert",
    "UPDATE alert_change SET from_state = 'closed'": "it does not follow from the one before",
    "UPDATE alert_change SET version = 9": "it does not follow from the one before",
    "UPDATE alert_change SET changed_at = 9223372036854775807": "the stored row is damaged",
    "UPDATE alert_change SET note = CAST(x'ff' AS TEXT)": "a stored text is not UTF-8",
    "UPDATE notice SET created_at = 9223372036854775807": "the stored row is damaged",
}


@pytest.mark.parametrize("change", HISTORIES)
async def test_the_life_of_an_alert_that_does_not_add_up_is_found(store: Store, change: str) -> None:
    """The steps lead from new to where the alert stands; notices can be read."""
    await live(store)
    assert (await store.verify()).intact
    await tamper(store, change)
    found = (await store.verify()).faults
    assert any(fault.startswith(f"slot {SLOT}: ") and fault.endswith(HISTORIES[change]) for fault in found), found
    assert PATIENT not in str(found)
