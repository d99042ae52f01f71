"""What every engine must do: `openscr.store.interface` as tests."""

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.errors import Conflict, StoreError, StoreUnavailable
from openscr.identifiers import slot_of
from openscr.spine import Consent, EventStatus
from openscr.store.interface import (
    NOTHING,
    ConsentRow,
    EventRow,
    Foreseen,
    OutboxRow,
    OutboxState,
    Patient,
    PatientEntry,
    PatientState,
    PollResult,
    Receipt,
    Store,
    Transaction,
)

from .conftest import Opening
from .samples import (
    ASID,
    OTHER_PATIENT,
    PARTY,
    PATIENT,
    SLOT,
    SUMMARY,
    a_consent,
    a_poll_result,
    a_receipt,
    a_standing,
    an_alert,
    an_entry,
    an_event,
    an_id,
    an_outbox_row,
    append,
    at,
    find_receipt,
    read_patient,
    upload,
)
from .tampering import tamper

HALF = "a\ud800b"
"""Half of a surrogate pair: JSON can write it, UTF-8 cannot."""

NO_TEXTS = {
    "receipt": replace(a_receipt(1), wsa_id=HALF),
    "event": an_event(1, wrapper_id=HALF),
    "consent": replace(a_consent(1), source=HALF),
    "outbox": an_outbox_row(1, to_party=HALF),
    "poll": a_poll_result(1, from_party=HALF),
    "alert": replace(an_alert(1), text=HALF),
    "standing": a_standing(1, text=HALF),
    "audit": replace(an_entry(1), content={"text": HALF}),
}


@pytest.mark.parametrize("name", NO_TEXTS)
async def test_a_text_that_is_none_is_refused_and_nothing_of_its_transaction_is_kept(name: str, store: Store) -> None:
    """The store goes on, with the same slot."""
    with pytest.raises(StoreError) as refused:
        await append(store, [a_receipt(7), NO_TEXTS[name]])
    assert HALF not in str(refused.value)
    assert await find_receipt(store, 7) is None
    await append(store, [a_receipt(7)])
    assert await find_receipt(store, 7) == a_receipt(7)


async def test_a_text_that_is_none_is_not_found(store: Store) -> None:
    """Within a transaction and without one."""
    for look in (
        lambda: store.transact(SLOT, lambda transaction: transaction.find_receipt(PARTY, HALF)),
        lambda: store.transact(SLOT, lambda transaction: transaction.find_standing(HALF)),
        lambda: store.find_outbox(HALF),
        lambda: store.remove_subscription(HALF),
    ):
        with pytest.raises(StoreError):
            await look()
    await append(store, [a_receipt(7)])


# --- reading what is not there --------------------------------------------------------------------------------------


async def test_an_unknown_patient_is_empty(store: Store) -> None:
    """Nobody listed, nothing set, nothing stored: no entry, the default consent, no events."""
    assert await read_patient(store) == PatientState(PATIENT, None, Consent.ASK, 0, ())


async def test_an_empty_store_has_nothing(store: Store) -> None:
    """Every list of an empty store is empty, and it is intact."""
    assert await find_receipt(store, 1) is None
    assert await store.directory_revision() == 0
    assert await store.read_directory() == []
    assert await store.read_patients() == []
    assert await store.read_alerts() == []
    assert await store.list_outbox() == []
    assert await store.due_outbox(at(0), 10) == []
    assert [row async for row in store.read_audit()] == []
    report = await store.verify()
    assert report.intact
    assert (report.audit_rows, report.events, report.receipts) == (0, 0, 0)


# --- receipts -------------------------------------------------------------------------------------------------------


async def test_a_receipt_comes_back_as_it_was(store: Store) -> None:
    """Every field and every byte of a receipt comes back, by its id in any letter case."""
    receipt = replace(a_receipt(0xABC), wsa_id=an_id(7))
    await append(store, [receipt])

    async def work(transaction: Transaction) -> Receipt | None:
        return await transaction.find_receipt(PARTY, an_id(0xABC).lower())

    assert await store.transact(SLOT, work) == receipt


async def test_a_receipt_without_patient_comes_back_as_it_was(store: Store) -> None:
    """A message that yields no number, no sender and no payload is remembered like any other."""
    receipt = replace(a_receipt(1, None, payload=b""), sender_asid=None, wrapper_id=None, digest=b"", signal=b"")
    await append(store, [receipt])
    assert await find_receipt(store, 1) == receipt


async def test_a_receipt_is_found_in_its_slot_and_party_alone(store: Store) -> None:
    """The same id in another slot or from another party is another message."""
    await append(store, [a_receipt(1)])

    async def elsewhere(transaction: Transaction) -> Receipt | None:
        return await transaction.find_receipt(PARTY, an_id(1))

    async def other_party(transaction: Transaction) -> Receipt | None:
        return await transaction.find_receipt("B99902-900102", an_id(1))

    assert await store.transact((SLOT + 1) % 4096, elsewhere) is None
    assert await store.transact(SLOT, other_party) is None
    await append(store, [a_receipt(1), replace(a_receipt(1), from_party="B99902-900102")], SLOT + 1)


async def test_a_message_is_seen_by_wrapper_or_wsa_id(store: Store) -> None:
    """A message of the same patient and sender is found by either of its ids, and by those alone."""
    first, second = a_receipt(1), replace(a_receipt(2), wsa_id=an_id(77))
    await append(store, [first, second])

    async def seen(transaction: Transaction) -> list[tuple[Receipt, ...]]:
        return [
            await transaction.find_seen(PATIENT, ASID, [an_id(2001)]),
            await transaction.find_seen(PATIENT, ASID, [an_id(9), an_id(77).lower()]),
            await transaction.find_seen(PATIENT, ASID, [an_id(1)]),
            await transaction.find_seen(PATIENT, ASID, []),
            await transaction.find_seen(OTHER_PATIENT, ASID, [an_id(2001)]),
            await transaction.find_seen(PATIENT, "900000000102", [an_id(2001)]),
        ]

    assert await store.transact(SLOT, seen) == [(first,), (second,), (), (), (), ()]


# --- events ---------------------------------------------------------------------------------------------------------


async def test_events_come_back_as_they_were_in_the_order_of_storing(store: Store) -> None:
    """Every field comes back; order is that of storing, also within one instant and against the ids."""
    numbers = [5, 3, 9, 1]
    events = [an_event(number, stored_at=at(0)) for number in numbers]
    for number, event in zip(numbers, events, strict=True):
        await append(store, [a_receipt(number), event])
    assert (await read_patient(store)).events == tuple(events)
    assert (await read_patient(store, OTHER_PATIENT)).events == ()


async def test_two_events_of_one_transaction_keep_their_order(store: Store) -> None:
    """Order holds within a transaction that has read the patient before."""

    async def work(transaction: Transaction) -> None:
        await transaction.append_receipt(a_receipt(1))
        await transaction.append_event(an_event(2, message_id=an_id(1)))
        await transaction.read_patient(PATIENT)
        await transaction.append_event(an_event(1))

    await store.transact(SLOT, work)
    assert [event.event_id for event in (await read_patient(store)).events] == [an_id(2), an_id(1)]


async def test_changing_an_event_writes_its_status_columns(store: Store) -> None:
    """Status, successor and withdrawal are written; nothing else of an event ever changes."""
    await upload(store, 1)
    changed = replace(
        an_event(1),
        status=EventStatus.WITHDRAWN,
        replaced_by=an_id(2),
        withdrawn_by=an_id(3),
        withdrawal_reason="02",
        withdrawal_text="Synthetic",
        withdrawn_at=at(9),
        withdrawer="900000000301",
    )

    async def work(transaction: Transaction) -> None:
        await transaction.change_event(replace(changed, author=b"<x/>", effective_time="1"))

    await store.transact(SLOT, work)
    assert (await read_patient(store)).events == (changed,)


async def test_an_event_that_is_not_there_cannot_be_changed(store: Store) -> None:
    """Changing nothing is an error, not a success."""

    async def work(transaction: Transaction) -> None:
        await transaction.change_event(an_event(1))

    with pytest.raises(StoreError):
        await store.transact(SLOT, work)


CONCERNED = (an_id(3), an_id(77))
"""An event that is there, and one that is not."""

ANY_FORESIGHT = [NOTHING, Foreseen(PATIENT), Foreseen(PATIENT, named=CONCERNED), Foreseen(PATIENT, named=())]


async def _many_versions(store: Store) -> dict[int, EventRow]:
    """Keep six events, of which the fourth is current."""
    events = {number: an_event(number, status=EventStatus.REPLACED) for number in range(1, 7)}
    events[4] = replace(events[4], status=EventStatus.NORMAL)
    for number, event in events.items():
        await append(store, [a_receipt(number), event])
    return events


@pytest.mark.parametrize("foreseen", ANY_FORESIGHT, ids=str)
async def test_what_a_decision_is_concerned_with_is_the_current_event_and_those_named(
    store: Store, foreseen: Foreseen
) -> None:
    """The others are counted, and not even looked at; nothing depends on what was foreseen."""
    await append(store, [a_consent(1, Consent.NO)])
    events = await _many_versions(store)
    await tamper(store, "UPDATE event SET details = x'00' WHERE ordinal = 4")

    async def work(transaction: Transaction) -> list[PatientState]:
        return [
            await transaction.read_concerned(PATIENT, CONCERNED),
            await transaction.read_concerned(PATIENT, ()),
            await transaction.read_concerned(OTHER_PATIENT, CONCERNED),
        ]

    named, current, other = await store.transact(SLOT, work, foreseen)
    assert named == PatientState(PATIENT, None, Consent.NO, 1, (events[3], events[4]), 4)
    assert current == PatientState(PATIENT, None, Consent.NO, 1, (events[4],), 5)
    assert other == PatientState(OTHER_PATIENT, None, Consent.ASK, 0, ())
    assert (current.has_events, other.has_events) == (True, False)


@pytest.mark.parametrize("foreseen", ANY_FORESIGHT, ids=str)
async def test_who_has_read_only_some_events_adds_and_changes_any(store: Store, foreseen: Foreseen) -> None:
    """A new event is the last one; one that was not read is known to be there, and one that is not there to be not."""
    events = await _many_versions(store)
    changed = replace(events[6], replaced_by=an_id(8))

    async def work(transaction: Transaction) -> PatientState:
        await transaction.read_concerned(PATIENT, CONCERNED)
        for number in (8, 7):
            await transaction.append_receipt(a_receipt(number))
            await transaction.append_event(an_event(number))
        await transaction.change_event(changed)
        return await transaction.read_concerned(PATIENT, ())

    found = await store.transact(SLOT, work, foreseen)
    assert found.events == (events[4], an_event(8), an_event(7))
    assert found.others == 5
    state = await read_patient(store)
    assert state.events == (*(events[number] for number in range(1, 6)), changed, an_event(8), an_event(7))

    async def again(transaction: Transaction) -> None:
        await transaction.read_concerned(PATIENT, CONCERNED)
        await transaction.append_event(replace(an_event(8), message_id=an_id(5)))

    with pytest.raises(Conflict):
        await store.transact(SLOT, again, foreseen)

    async def nobody(transaction: Transaction) -> None:
        await transaction.read_concerned(PATIENT, CONCERNED)
        await transaction.change_event(an_event(77))

    with pytest.raises(StoreError):
        await store.transact(SLOT, nobody, foreseen)
    assert await read_patient(store) == state


async def test_no_more_events_are_named_than_there_are_places_for(store: Store) -> None:
    """Three would be two of them."""
    with pytest.raises(StoreError, match="at most 2"):
        await store.transact(
            SLOT, lambda transaction: transaction.read_concerned(PATIENT, (an_id(1), an_id(2), an_id(3)))
        )


@pytest.mark.parametrize("base64", [False, True])
async def test_a_document_is_cut_out_of_its_message(store: Store, base64: bool) -> None:
    """The document is the sender's bytes with the declarations of its ancestors, whatever the transfer encoding."""
    await upload(store, 1, base64=base64)

    async def work(transaction: Transaction) -> bytes:
        (event,) = (await transaction.read_patient(PATIENT)).events
        return await transaction.read_document(event)

    document = await store.transact(SLOT, work)
    assert document.startswith(b'<GPSummary xmlns="urn:hl7-org:v3" classCode="COMPOSITION"')
    assert document.replace(b' xmlns="urn:hl7-org:v3"', b"", 1) in SUMMARY


@pytest.mark.parametrize(
    "changes",
    [{"document_offset": 10**6}, {"document_offset": -5}, {"document_length": 10**6}, {"message_id": an_id(2)}],
)
async def test_a_document_that_is_not_there_is_an_error(store: Store, changes: dict[str, object]) -> None:
    """A position outside the message, or a message that is not kept, never yields other bytes."""
    await upload(store, 1)

    async def work(transaction: Transaction) -> bytes:
        return await transaction.read_document(an_event(1, **changes))

    with pytest.raises(StoreError):
        await store.transact(SLOT, work)


# --- consent --------------------------------------------------------------------------------------------------------


async def test_the_last_consent_is_in_force_and_all_are_kept(store: Store) -> None:
    """Consent is only ever appended; the highest version counts."""
    rows = [a_consent(1, Consent.YES), a_consent(2, Consent.NO), a_consent(3, Consent.ASK), a_consent(4, Consent.NO)]
    await append(store, rows)

    async def history(transaction: Transaction) -> tuple[ConsentRow, ...]:
        return await transaction.consent_history(PATIENT)

    assert await store.transact(SLOT, history) == tuple(rows)
    state = await read_patient(store)
    assert (state.consent, state.consent_version) == (Consent.NO, 4)


@pytest.mark.parametrize("foreseen", [NOTHING, Foreseen(PATIENT), Foreseen(PATIENT, events=False)], ids=str)
async def test_consent_does_not_wait_for_the_record(store: Store, foreseen: Foreseen) -> None:
    """What a question about consent costs, and whether it can be answered, does not depend on the events."""
    await append(store, [a_receipt(1), an_event(1), a_consent(1, Consent.NO)])
    await store.transact(SLOT, lambda transaction: transaction.read_patient(PATIENT), foreseen)
    await tamper(store, "UPDATE event SET details = x'00'")
    found = await store.transact(SLOT, lambda transaction: transaction.read_without_events(PATIENT), foreseen)
    assert found == Patient(PATIENT, None, Consent.NO, 1)
    with pytest.raises(StoreError, match="damaged"):
        await store.transact(SLOT, lambda transaction: transaction.read_patient(PATIENT), foreseen)


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    [a_receipt(1), an_event(1), a_consent(1), an_outbox_row(1), an_alert(1)],
    ids=lambda row: type(row).__name__,
)
async def test_a_key_exists_once(store: Store, row: object) -> None:
    """A second row with the same key is refused, whatever else it says, and the first one stays."""
    await append(store, [a_receipt(1), an_event(1), a_consent(1), an_outbox_row(1), an_alert(1)])
    with pytest.raises(Conflict):
        await append(store, [a_receipt(50), row])
    assert await find_receipt(store, 50) is None


async def test_an_event_needs_its_receipt(store: Store) -> None:
    """No event without the message that its document lies in."""
    with pytest.raises(StoreError, match="receipt"):
        await append(store, [an_event(1)])


async def test_a_row_of_another_slot_is_refused(store: Store) -> None:
    """A transaction writes its own slot."""
    with pytest.raises(StoreError, match="slot"):
        await append(store, [an_outbox_row(1, SLOT + 1)])


# --- transactions ---------------------------------------------------------------------------------------------------


async def test_work_that_raises_leaves_nothing(store: Store) -> None:
    """Whatever the work raises comes out as it is, and none of its rows is there."""

    async def work(transaction: Transaction) -> None:
        await transaction.append_receipt(a_receipt(1))
        await transaction.append_event(an_event(1))
        await transaction.append_audit(an_entry(1))
        raise LookupError("synthetic")

    with pytest.raises(LookupError, match="synthetic"):
        await store.transact(SLOT, work)
    assert await find_receipt(store, 1) is None
    assert (await read_patient(store)).events == ()
    assert [row async for row in store.read_audit()] == []


async def test_work_that_raises_does_not_hurt_its_neighbours(store: Store) -> None:
    """Of many concurrent units, exactly those that raise leave nothing."""

    async def unit(number: int) -> None:
        async def work(transaction: Transaction) -> None:
            await transaction.append_receipt(a_receipt(number))
            await transaction.append_audit(an_entry(number))
            if number % 3 == 0:
                raise LookupError(number)

        await store.transact(SLOT, work)

    results = await asyncio.gather(*(unit(number) for number in range(120)), return_exceptions=True)
    for number, result in enumerate(results):
        assert isinstance(result, LookupError) == (number % 3 == 0)
        assert (await find_receipt(store, number) is None) == (number % 3 == 0)
    report = await store.verify()
    assert report.intact
    assert report.audit_rows == 80


async def test_transactions_of_a_slot_do_not_interleave(store: Store) -> None:
    """Many at once that read the version and append the next one: every version exists once."""

    async def work(transaction: Transaction) -> int:
        version = (await transaction.read_patient(PATIENT)).consent_version + 1
        await transaction.append_consent(a_consent(version))
        await transaction.append_audit(an_entry(version))
        return version

    versions = await asyncio.gather(*(store.transact(SLOT, work) for _ in range(200)))
    assert sorted(versions) == list(range(1, 201))
    assert [row.sequence async for row in store.read_audit(SLOT)] == list(range(1, 201))


async def test_many_patients_at_once(store: Store) -> None:
    """Concurrent uploads of many patients are all there, each with its patient."""
    patients = [f"999{number:07}" for number in range(150)]
    await asyncio.gather(*(upload(store, number, patient) for number, patient in enumerate(patients)))
    for number, patient in enumerate(patients):
        assert [event.event_id for event in (await read_patient(store, patient)).events] == [an_id(number)]
    report = await store.verify()
    assert report.intact
    assert (report.audit_rows, report.events, report.receipts) == (150, 150, 150)


async def test_a_caller_that_gives_up_does_not_stop_the_store(store: Store) -> None:
    """A cancelled request ends there; others go on."""
    tasks = [asyncio.create_task(upload(store, number)) for number in range(20)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results[1::2]] == [type(None)] * 10
    stored = {event.event_id for event in (await read_patient(store)).events}
    assert stored >= {an_id(number) for number in range(1, 20, 2)}
    assert (await store.verify()).intact


# --- life -----------------------------------------------------------------------------------------------------------


async def test_everything_is_there_after_reopening(opening: Opening) -> None:
    """What was acknowledged is in the store when it is opened again."""
    patient = PatientEntry(OTHER_PATIENT, "merged", PATIENT, {"name": {"family": "Testwell"}, "born": 1970})
    async with opening() as store:
        await upload(store, 1)
        await append(store, [a_consent(1, Consent.NO), an_alert(1)])
        await store.write_directory([("party", PARTY, b"{}")])
        await store.write_patients([patient])
    async with opening() as store:
        assert await find_receipt(store, 1) == a_receipt(1)
        assert await read_patient(store) == PatientState(PATIENT, None, Consent.NO, 1, (an_event(1),))
        assert await store.list_outbox() == [an_outbox_row(1)]
        assert await store.read_alerts() == [an_alert(1)]
        assert await store.read_directory() == [("party", PARTY, b"{}")]
        assert await store.directory_revision() == 1
        assert await store.read_patients() == [patient]
        assert [row.entry async for row in store.read_audit()] == [an_entry(1)]
        assert (await store.verify()).intact


async def test_closing_finishes_what_was_accepted(opening: Opening) -> None:
    """Requests under way when the store closes are stored and answered; later ones are refused."""
    async with opening() as store:
        tasks = [asyncio.create_task(upload(store, number)) for number in range(40)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*tasks)
        with pytest.raises(StoreUnavailable):
            await upload(store, 41)
        assert not await store.writable()
    async with opening() as store:
        assert len((await read_patient(store)).events) == 40


async def test_opening_and_closing_twice_is_harmless(store: Store) -> None:
    """Opening an open store and closing a closed one change nothing."""
    await store.open()
    assert await store.writable()
    await store.close()
    await store.close()


# --- outbox ---------------------------------------------------------------------------------------------------------


async def test_the_life_of_an_outbox_row(store: Store) -> None:
    """A row is due from when it is made, is rendered, tried, fails, is sent again, and leaves when delivered."""
    await append(store, [an_outbox_row(1)])
    (row,) = await store.due_outbox(at(1), 10)
    assert row == an_outbox_row(1)
    tried = replace(
        row,
        content_type="multipart/related",
        soap_action="urn:nhs:names:services:psis/MCCI_IN010000UK13",
        body=SUMMARY,
        attempts=1,
        first_attempt_at=at(2),
        next_attempt_at=at(62),
        last_error="HTTP 500",
    )
    await store.change_outbox(tried)
    assert await store.due_outbox(at(61), 10) == []
    assert await store.due_outbox(at(62), 10) == [tried]
    failed = replace(tried, state=OutboxState.FAILED, attempts=3, next_attempt_at=None)
    await store.change_outbox(failed)
    assert await store.due_outbox(at(10**6), 10) == []
    assert await store.list_outbox("failed") == [failed]
    again = replace(failed, state=OutboxState.OPEN, attempts=0, first_attempt_at=None)
    await store.change_outbox(again)
    assert await store.due_outbox(at(2), 10) == [again]
    await store.remove_outbox(SLOT, row.id)
    assert await store.list_outbox() == []
    await store.change_outbox(again)
    assert await store.list_outbox() == []


ROWS = st.builds(
    an_outbox_row,
    st.integers(0, 5),
    slot=st.sampled_from([SLOT, 7]),
    state=st.sampled_from(OutboxState),
    attempts=st.integers(0, 3),
    body=st.sampled_from([b"", SUMMARY[:300]]),
    next_attempt_at=st.none() | st.integers(-100, 100).map(at),
    last_error=st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=5),
)
STEPS = st.lists(st.tuples(st.sampled_from(["append", "change", "remove"]), ROWS), max_size=15)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, now=st.integers(-100, 100).map(at))
def test_the_outbox_is_what_its_steps_make_it(
    opening: Opening, steps: list[tuple[str, OutboxRow]], now: datetime
) -> None:
    """After any steps the outbox holds the rows that a table by key would hold, and gives out those that are due."""
    rows: dict[tuple[int, str], OutboxRow] = {}

    async def run() -> None:
        async with opening() as store:
            for step, row in steps:
                key = row.slot, row.id
                if step == "append" and key in rows:
                    with pytest.raises(Conflict):
                        await append(store, [row], row.slot)
                elif step == "append":
                    await append(store, [row], row.slot)
                    rows[key] = row
                elif step == "change":
                    await store.change_outbox(row)
                    if key in rows:
                        rows[key] = row
                else:
                    await store.remove_outbox(*key)
                    rows.pop(key, None)
            assert Counter(map(repr, await store.list_outbox())) == Counter(map(repr, rows.values()))
            due = [
                row
                for row in rows.values()
                if row.state is OutboxState.OPEN and (row.next_attempt_at or row.created_at) <= now
            ]
            given_out = await store.due_outbox(now, 100)
            assert Counter(map(repr, given_out)) == Counter(map(repr, due))
            times = [row.next_attempt_at or row.created_at for row in given_out]
            assert times == sorted(times)
            for slot, id in rows:
                await store.remove_outbox(slot, id)

    asyncio.run(run())


async def test_due_rows_come_longest_due_first(store: Store) -> None:
    """Order is that of being due, across slots, up to the limit."""
    rows = [an_outbox_row(number, slot=number, next_attempt_at=at(100 - number)) for number in range(10)]
    for row in rows:
        await append(store, [row], row.slot)
    assert await store.due_outbox(at(100), 3) == [rows[9], rows[8], rows[7]]
    assert await store.due_outbox(at(92), 10) == [rows[9], rows[8]]


async def test_outbox_lists_and_figures(store: Store) -> None:
    """Lists are oldest first; the figures name each state and the oldest open row."""
    figures = await store.outbox_figures()
    assert (figures.rows, figures.oldest) == ({"open": 0, "failed": 0, "undeliverable": 0}, None)
    rows = [an_outbox_row(number, state=list(OutboxState)[number % 3], created_at=at(-number)) for number in range(7)]
    await append(store, rows)
    assert await store.list_outbox() == rows[::-1]
    assert await store.list_outbox("undeliverable") == [rows[5], rows[2]]
    figures = await store.outbox_figures()
    assert figures.rows == Counter(row.state.value for row in rows)
    assert figures.oldest == at(-6)


# --- directory and patients -----------------------------------------------------------------------------------------


async def test_the_directory_is_written_and_replaced(store: Store) -> None:
    """Entries are written over or all replaced; each change makes the revision grow."""
    await store.write_directory([("party", "B", b"1"), ("party", "A", b"2"), ("contract", "A", b"3")])
    first = await store.directory_revision()
    assert first > 0
    assert await store.read_directory() == [("contract", "A", b"3"), ("party", "A", b"2"), ("party", "B", b"1")]
    await store.write_directory([("party", "A", b"4")])
    second = await store.directory_revision()
    assert second > first
    assert ("party", "A", b"4") in await store.read_directory()
    await store.write_directory([("user", "U", b"5")], replace=True)
    assert await store.read_directory() == [("user", "U", b"5")]
    assert await store.directory_revision() > second


async def test_a_directory_made_from_an_older_one_is_not_written(store: Store) -> None:
    """Of two changes that were made from the same directory the second must begin again."""
    await store.write_directory([("party", "A", b"1")], revision=0)
    revision = await store.directory_revision()
    await store.write_directory([("party", "B", b"2")], replace=True, revision=revision)
    with pytest.raises(Conflict):
        await store.write_directory([("party", "C", b"3")], replace=True, revision=revision)
    assert await store.read_directory() == [("party", "B", b"2")]
    assert await store.directory_revision() == revision + 1


async def test_a_directory_that_breaks_off_changes_nothing(store: Store) -> None:
    """Entries are written all or none."""
    await store.write_directory([("party", "A", b"1")])

    def entries():  # type: ignore[no-untyped-def]
        yield ("party", "A", b"2")
        raise LookupError("synthetic")

    with pytest.raises(LookupError):
        await store.write_directory(entries(), replace=True)
    assert await store.read_directory() == [("party", "A", b"1")]
    assert await store.directory_revision() == 1


async def test_the_patient_index(store: Store) -> None:
    """Entries are written and written over; a decision sees the entry of its patient."""
    known = PatientEntry(PATIENT, "current", None, {"family": "Testwell", "given": ["Ada"]})
    merged = PatientEntry(OTHER_PATIENT, "merged", PATIENT)
    assert await store.write_patients([known, merged]) == 2
    assert await store.read_patients() == [known, merged]
    assert (await read_patient(store)).index == known
    assert (await read_patient(store, OTHER_PATIENT)).index == merged
    assert await store.write_patients([replace(known, status="deceased")]) == 1
    assert (await read_patient(store)).index == replace(known, status="deceased")
    assert await store.write_patients([]) == 0
    assert len(await store.read_patients()) == 2


# --- reports --------------------------------------------------------------------------------------------------------


async def test_the_life_of_a_poll_result(store: Store) -> None:
    """It is found by its token and by its message, renewed in its place, and forgotten once it has expired."""

    async def by_token(transaction: Transaction) -> PollResult | None:
        return await transaction.find_poll_result(first.token)

    async def of_message(transaction: Transaction) -> PollResult | None:
        return await transaction.poll_result_of(PARTY, first.message_id.lower())

    first, other = a_poll_result(1), a_poll_result(2)
    await append(store, [first, other])
    assert await store.transact(SLOT, by_token) == await store.transact(SLOT, of_message) == first
    assert await store.transact(SLOT + 1, by_token) is None
    renewed = replace(first, token=a_poll_result(9).token, expires_at=at(9), content=b"other")
    await append(store, [renewed])
    assert await store.transact(SLOT, by_token) is None
    assert await store.transact(SLOT, of_message) == renewed
    with pytest.raises(Conflict):
        await append(store, [replace(other, token=renewed.token)])
    assert await store.remove_poll_results(at(8)) == 1
    assert await store.transact(SLOT, of_message) == renewed
    assert await store.remove_poll_results(at(9)) == 1
    assert await store.transact(SLOT, of_message) is None


async def test_alerts_come_oldest_first(store: Store) -> None:
    """All alerts, in the order of being raised."""
    await append(store, [an_alert(1), an_alert(2), an_alert(3)])
    assert await store.read_alerts() == [an_alert(3), an_alert(2), an_alert(1)]


async def test_the_audit_comes_chain_by_chain(store: Store) -> None:
    """Rows come in the order of their chains, of all slots or of one, more than a page of them."""
    entries = [replace(an_entry(number), nhs_number=None if number % 2 else PATIENT) for number in range(1200)]
    await append(store, entries, 7)
    await append(store, entries[:3], 4095)
    await append(store, entries[:2], 0)
    rows = [row async for row in store.read_audit()]
    assert [(row.slot, row.sequence) for row in rows] == [
        *((0, sequence) for sequence in range(1, 3)),
        *((7, sequence) for sequence in range(1, 1201)),
        *((4095, sequence) for sequence in range(1, 4)),
    ]
    assert [row.entry for row in rows if row.slot == 7] == entries
    assert [row async for row in store.read_audit(4095)] == rows[-3:]
    assert [row async for row in store.read_audit(1)] == []


async def test_verification_runs_beside_requests(store: Store) -> None:
    """A store that is written meanwhile is found intact."""

    async def write() -> None:
        for number in range(100):
            await upload(store, number)

    writing = asyncio.create_task(write())
    assert (await store.verify()).intact
    await writing
    report = await store.verify()
    assert report.intact
    assert report.events == 100


async def test_slots_are_those_of_the_patients(store: Store) -> None:
    """The patient index is found from the slot that requests compute."""
    await store.write_patients([PatientEntry(PATIENT)])

    async def work(transaction: Transaction) -> PatientState:
        return await transaction.read_patient(PATIENT)

    assert (await store.transact(slot_of(PATIENT), work)).index == PatientEntry(PATIENT)
    assert (await store.transact(slot_of(OTHER_PATIENT), work)).index is None


def test_the_samples_are_complete() -> None:
    """The sample event gives every field that has no default, so that the round trips above prove something."""
    event = an_event(1)
    assert isinstance(event, EventRow)
    assert event.content
    assert event.metadata
