"""What every engine must do with messages: `openscr.mhs.store.interface` as tests. The queue has its own."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.errors import StoreError, StoreUnavailable
from openscr.mhs.states import InboundStatus, OutboundStatus
from openscr.mhs.store.interface import (
    RESERVED_NAMES,
    AuditEntry,
    MessageFilter,
    Removed,
    Retention,
    SendState,
    Store,
    Transaction,
)
from openscr.mhs.store.memory import MemoryStore

from .conftest import Opening
from .samples import (
    PARTY,
    START,
    a_full_message,
    a_full_sending,
    a_message,
    a_queue_message,
    a_receipt,
    a_reply,
    a_sending,
    an_entry,
    an_id,
    at,
    do,
    find_receipt,
    find_reply,
    find_sending,
    put,
    put_row,
)

EVERYTHING = (
    a_full_message(1),
    a_full_sending(1),
    a_reply(1),
    a_receipt(1),
    a_queue_message(1),
    an_entry(1),
)


# --- add, get, update, delete (50 §14.4) ------------------------------------------------------------------------------


async def test_an_empty_store_has_nothing(store: Store) -> None:
    assert await store.find_message(an_id(1)) is None
    assert await find_sending(store, 1) is None
    assert await find_reply(store, 1) is None
    assert await find_receipt(store, 1) is None
    assert list(await store.list_messages(MessageFilter())) == []
    assert list(await store.overdue_replies(at(0), 10)) == []
    assert list(await store.lease_sendings(at(0), at(1), 10)) == []
    assert [row async for row in store.read_audit()] == []
    assert await store.verify_audit() is None
    assert await store.writable()


async def test_what_is_put_comes_back_as_it_was(store: Store) -> None:
    await put(store, *EVERYTHING, a_message(2))
    assert await store.find_message(an_id(1)) == a_full_message(1)
    assert await do(store, lambda transaction: transaction.find_message(an_id(2))) == a_message(2)
    assert await find_sending(store, 1) == a_full_sending(1)
    assert await find_reply(store, 1) == a_reply(1)
    assert await find_receipt(store, 1) == a_receipt(1)


async def test_a_row_that_is_put_again_replaces_the_first_and_no_other(store: Store) -> None:
    await put(store, a_full_message(1), a_full_sending(1), a_reply(1), a_receipt(1), a_message(2), a_sending(2))
    changed = (
        a_message(1, outbound_status=OutboundStatus.NACKD, created=at(9)),
        a_sending(1, attempts=3, body=b"other"),
        a_reply(1, body=b"other"),
        a_receipt(1, answer=b"other", expires_at=at(999)),
    )
    await put(store, *changed)
    found = (
        await store.find_message(an_id(1)),
        await find_sending(store, 1),
        await find_reply(store, 1),
        await find_receipt(store, 1),
    )
    assert found == changed
    assert await store.find_message(an_id(2)) == a_message(2)
    assert await find_sending(store, 2) == a_sending(2)


async def test_a_message_that_is_removed_takes_with_it_what_hangs_on_it(store: Store) -> None:
    await put(store, *EVERYTHING, a_message(2), a_sending(2), a_reply(2))
    await do(store, lambda transaction: transaction.remove_message(an_id(1)))
    assert await store.find_message(an_id(1)) is None
    assert await find_sending(store, 1) is None
    assert await find_reply(store, 1) is None
    # What came from the other side is remembered for its own reason.
    assert await find_receipt(store, 1) == a_receipt(1)
    assert await store.find_message(an_id(2)) == a_message(2)
    assert await find_sending(store, 2) == a_sending(2)
    assert await find_reply(store, 2) == a_reply(2)


async def test_what_is_removed_alone_leaves_the_rest(store: Store) -> None:
    await put(store, *EVERYTHING)
    await do(store, lambda transaction: transaction.remove_sending(an_id(1)))
    await do(store, lambda transaction: transaction.remove_reply(an_id(1)))
    assert await find_sending(store, 1) is None
    assert await find_reply(store, 1) is None
    assert await store.find_message(an_id(1)) == a_full_message(1)


async def test_what_is_not_there_can_be_removed(store: Store) -> None:
    await do(store, lambda transaction: transaction.remove_message(an_id(1)))
    await do(store, lambda transaction: transaction.remove_sending(an_id(1)))
    await do(store, lambda transaction: transaction.release_sending(an_id(1)))
    await do(store, lambda transaction: transaction.remove_reply(an_id(1)))


async def test_a_row_may_come_back_under_the_key_of_one_that_was_removed(store: Store) -> None:
    await put(store, a_full_message(1))
    await do(store, lambda transaction: transaction.remove_message(an_id(1)))
    await put(store, a_message(1))
    assert await store.find_message(an_id(1)) == a_message(1)


async def test_ids_keep_their_letter_case(store: Store) -> None:
    upper, lower = a_message(1, message_id="ABC"), a_message(1, message_id="abc")
    await put(store, upper, lower)
    assert await store.find_message("ABC") == upper
    assert await store.find_message("abc") == lower


async def test_a_key_that_is_there_can_be_refused_by_looking_first(store: Store) -> None:
    """Many add the same key at once: looking and putting are one step, so that one of them is first."""

    async def add(number: int) -> bool:
        async def work(transaction: Transaction) -> bool:
            if await transaction.find_message(an_id(1)) is not None:
                return False
            await transaction.put_message(a_message(1, correlation_id=str(number)))
            return True

        return await store.transact(work)

    added = await asyncio.gather(*(add(number) for number in range(20)))
    row = await store.find_message(an_id(1))
    assert sum(added) == 1
    assert row is not None
    assert added[int(row.correlation_id)]


async def test_changes_of_one_row_follow_each_other(store: Store) -> None:
    """None of many changes that read first is lost."""
    await put(store, a_sending(1))

    async def count(transaction: Transaction) -> None:
        row = await transaction.find_sending(an_id(1))
        assert row is not None
        await transaction.put_sending(replace(row, attempts=row.attempts + 1))

    await asyncio.gather(*(store.transact(count) for _ in range(40)))
    row = await find_sending(store, 1)
    assert row is not None
    assert row.attempts == 40


async def test_a_unit_of_work_that_raises_leaves_nothing(store: Store) -> None:
    await put(store, a_message(2), a_sending(2), a_reply(2), a_queue_message(2), an_entry(2))

    class Stop(Exception):
        """The work's own."""

    async def work(transaction: Transaction) -> None:
        for row in EVERYTHING:
            await put_row(transaction, row)
        await transaction.put_message(a_full_message(2))
        await transaction.remove_reply(an_id(2))
        await transaction.remove_message(an_id(2))
        raise Stop

    with pytest.raises(Stop):
        await store.transact(work)
    assert await store.find_message(an_id(1)) is None
    assert await find_sending(store, 1) is None
    assert await find_reply(store, 1) is None
    assert await find_receipt(store, 1) is None
    assert await store.find_message(an_id(2)) == a_message(2)
    assert await find_sending(store, 2) == a_sending(2)
    assert await find_reply(store, 2) == a_reply(2)
    assert (await store.queue_figures(at(0))).waiting == 1
    assert [row.entry async for row in store.read_audit()] == [an_entry(2)]
    assert await store.verify_audit() is None


async def test_a_unit_of_work_sees_what_it_has_written(store: Store) -> None:
    async def work(transaction: Transaction) -> None:
        for row in EVERYTHING:
            await put_row(transaction, row)
        assert await transaction.find_message(an_id(1)) == a_full_message(1)
        assert await transaction.find_sending(an_id(1)) == a_full_sending(1)
        assert await transaction.find_reply(an_id(1)) == a_reply(1)
        assert await transaction.find_receipt(PARTY, an_id(1), at(0)) == a_receipt(1)
        await transaction.remove_message(an_id(1))
        assert await transaction.find_message(an_id(1)) is None

    await store.transact(work)


async def test_what_a_unit_of_work_returns_is_returned(store: Store) -> None:
    async def work(_transaction: Transaction) -> str:
        return "done"

    assert await store.transact(work) == "done"


async def test_everything_is_there_after_closing_and_opening(opening: Opening) -> None:
    async with opening() as store:
        await put(store, *EVERYTHING)
        await store.lease_queue(at(10), at(70), 1)
        await store.lease_sendings(at(61), at(70), 1)
    async with opening() as store:
        assert await store.find_message(an_id(1)) == a_full_message(1)
        assert await find_sending(store, 1) == a_full_sending(1)
        assert await find_reply(store, 1) == a_reply(1)
        assert await find_receipt(store, 1) == a_receipt(1)
        # Leases outlive whoever took them, and end by themselves.
        assert list(await store.lease_queue(at(69), at(99), 1)) == []
        assert await leased(store, 69, 99) == []
        assert [leased.message for leased in await store.lease_queue(at(70), at(99), 1)] == [a_queue_message(1)]
        assert list(await store.lease_sendings(at(70), at(99), 1)) == [a_full_sending(1)]
        assert [row.entry async for row in store.read_audit()] == [an_entry(1)]


async def test_a_closed_store_is_unavailable(opening: Opening) -> None:
    async with opening() as store:
        pass
    with pytest.raises(StoreUnavailable):
        await put(store, a_message(1))
    with pytest.raises(StoreUnavailable):
        await store.find_message(an_id(1))
    with pytest.raises(StoreUnavailable):
        await store.lease_queue(at(0), at(1), 1)
    assert not await store.writable()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=5000), text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_any_body_and_any_text_come_back(opening: Opening, body: bytes, text: str) -> None:
    async def run() -> None:
        message = a_message(1, message_id=f"{text}!", correlation_id=text, last_error=text)
        sending = a_sending(1, message_id=message.message_id, body=body, headers=((text, text),), names=(text,))
        reply = a_reply(1, message_id=message.message_id, body=body)
        async with opening() as store:
            await put(store, message, sending, reply, AuditEntry(START, {f"{text}!": text}))
            assert await store.find_message(message.message_id) == message
            assert await do(store, lambda transaction: transaction.find_sending(message.message_id)) == sending
            assert await do(store, lambda transaction: transaction.find_reply(message.message_id)) == reply
            assert [row.entry.content async for row in store.read_audit()][-1] == {f"{text}!": text}
            assert await store.verify_audit() is None
            await do(store, lambda transaction: transaction.remove_message(message.message_id))

    asyncio.run(run())


HALF = "a\ud800b"
"""Half of a surrogate pair: JSON can write it, UTF-8 cannot."""

NO_TEXTS = {
    "an id": a_message(2, message_id=HALF),
    "a reason": a_message(2, last_error=HALF),
    "a header": a_sending(1, headers=(("Name", HALF),)),
    "a name": a_sending(1, names=(HALF,)),
    "an entry": an_entry(2, text=HALF),
}


@pytest.mark.parametrize("name", NO_TEXTS)
async def test_a_text_that_is_none_is_refused_and_the_store_goes_on(name: str, store: Store) -> None:
    """Memory alone can keep it, but in the audit, whose digests are those of bytes."""
    if isinstance(store, MemoryStore) and name != "an entry":
        await put(store, a_message(1), NO_TEXTS[name])
        return
    with pytest.raises(StoreError):
        await put(store, a_message(1), NO_TEXTS[name])
    if not isinstance(store, MemoryStore):
        with pytest.raises(StoreError):
            await store.find_message(HALF)
    assert await store.find_message(an_id(1)) is None
    await put(store, a_message(1))
    assert await store.find_message(an_id(1)) == a_message(1)


# --- lists ------------------------------------------------------------------------------------------------------------


async def listed(store: Store, **wanted: object) -> list[str]:
    return [row.message_id for row in await store.list_messages(MessageFilter(**wanted))]  # type: ignore[arg-type]


async def test_messages_are_listed_by_creation_and_page_by_page(store: Store) -> None:
    rows = [a_message(number, created=at(number // 3)) for number in range(10)]
    await put(store, *reversed(rows))
    ids = [row.message_id for row in rows]
    assert await listed(store) == ids
    assert await listed(store, limit=4) == ids[:4]
    pages, after = [], None
    while page := await store.list_messages(MessageFilter(after=after, limit=4)):
        pages += [row.message_id for row in page]
        after = page[-1].created, page[-1].message_id
    assert pages == ids


async def test_messages_are_listed_since_an_instant(store: Store) -> None:
    await put(store, *(a_message(number) for number in range(5)))
    assert await listed(store, since=at(3)) == [an_id(3), an_id(4)]
    assert await listed(store, since=at(3) + timedelta(microseconds=1)) == [an_id(4)]


async def test_messages_are_listed_by_either_status(store: Store) -> None:
    await put(
        store,
        a_message(1, outbound_status=OutboundStatus.ACKD),
        a_message(2, outbound_status=OutboundStatus.ACKD, inbound_status=InboundStatus.PROCESSED),
        a_message(3, inbound_status=InboundStatus.PROCESSED),
        a_message(4, outbound_status=OutboundStatus.ACKD),
        a_message(5),
    )
    assert await listed(store, status="OUTBOUND_MESSAGE_ACKD") == [an_id(1), an_id(2), an_id(4)]
    assert await listed(store, status="INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED") == [an_id(2), an_id(3)]
    assert await listed(store, status="OUTBOUND_MESSAGE_ACKD", since=at(2), limit=1) == [an_id(2)]
    assert await listed(store, status="OUTBOUND_MESSAGE_ACKD", after=(at(2), an_id(2))) == [an_id(4)]
    assert await listed(store, status="OUTBOUND_MESSAGE_NACKD") == []


# --- what is to be sent (50 F11) --------------------------------------------------------------------------------------


async def leased(store: Store, now: float, until: float, limit: int = 10) -> list[str]:
    return [row.message_id for row in await store.lease_sendings(at(now), at(until), limit)]


async def test_what_is_due_is_leased_the_longest_due_first(store: Store) -> None:
    await put(
        store,
        a_sending(1, next_attempt_at=at(30)),
        a_sending(2, next_attempt_at=at(20)),
        a_sending(3, next_attempt_at=at(41)),
        a_sending(4),
        a_sending(5, next_attempt_at=at(10), state=SendState.FAILED),
    )
    assert await leased(store, 40, 100, limit=2) == [an_id(4), an_id(2)]
    assert await leased(store, 40, 100) == [an_id(1)]
    assert await leased(store, 41, 100) == [an_id(3)]


async def test_a_lease_gives_the_row_as_it_is(store: Store) -> None:
    await put(store, a_full_sending(1))
    assert list(await store.lease_sendings(at(61), at(100), 10)) == [a_full_sending(1)]


async def test_what_is_leased_is_given_to_nobody_else_until_its_lease_ends(store: Store) -> None:
    await put(store, a_sending(1))
    assert await leased(store, 0, 60) == [an_id(1)]
    assert await leased(store, 59, 100) == []
    assert await leased(store, 60, 120) == [an_id(1)]
    assert await leased(store, 119, 200) == []


async def test_a_change_leaves_the_lease_and_releasing_ends_it(store: Store) -> None:
    await put(store, a_sending(1))
    assert await leased(store, 0, 60) == [an_id(1)]
    changed = a_sending(1, attempts=1, next_attempt_at=at(5))
    await put(store, changed)
    assert await leased(store, 10, 70) == []

    async def release(transaction: Transaction) -> None:
        await transaction.put_sending(changed)
        await transaction.release_sending(an_id(1))

    await store.transact(release)
    assert await leased(store, 4, 70) == []
    assert list(await store.lease_sendings(at(5), at(70), 1)) == [changed]


async def test_what_is_put_again_after_it_was_removed_is_leased_by_nobody(store: Store) -> None:
    await put(store, a_sending(1))
    assert await leased(store, 0, 60) == [an_id(1)]
    await do(store, lambda transaction: transaction.remove_sending(an_id(1)))
    await put(store, a_sending(1))
    assert await leased(store, 1, 60) == [an_id(1)]


async def test_whoever_sends_still_keeps_its_lease(store: Store) -> None:
    """A row that was begun at once, before anybody had leased it, is held as well; what has ended is not."""
    await put(store, a_sending(1), a_sending(2, next_attempt_at=at(50)), a_sending(3, state=SendState.FAILED))
    assert await leased(store, 0, 60) == [an_id(1)]
    await store.hold_sendings([an_id(1), an_id(2), an_id(3), an_id(4)], at(100))
    assert await leased(store, 99, 200) == []
    assert await find_sending(store, 3) == a_sending(3, state=SendState.FAILED)
    assert await find_sending(store, 4) is None
    await do(store, lambda transaction: transaction.release_sending(an_id(1)))
    assert await leased(store, 99, 200) == [an_id(1)]
    assert await leased(store, 100, 200) == [an_id(2)]


async def test_many_who_lease_at_once_share_the_rows(store: Store) -> None:
    await put(store, *(a_sending(number) for number in range(30)))
    given = await asyncio.gather(*(leased(store, 0, 60, limit=2) for _ in range(20)))
    assert sorted(message_id for some in given for message_id in some) == [an_id(number) for number in range(30)]


# --- replies and receipts ---------------------------------------------------------------------------------------------


async def test_replies_that_nobody_waits_for_are_overdue(store: Store) -> None:
    await put(
        store,
        a_message(1, waits_until=at(50)),
        a_message(2, waits_until=at(40)),
        a_message(3, waits_until=at(51)),
        a_message(4),
        a_reply(1),
        a_reply(2),
        a_reply(3),
        a_reply(4),
        a_reply(5, received_at=at(0)),
    )
    assert list(await store.overdue_replies(at(50), 10)) == [
        a_reply(5, received_at=at(0)),
        a_reply(1),
        a_reply(2),
        a_reply(4),
    ]
    assert len(await store.overdue_replies(at(50), 2)) == 2


async def test_a_receipt_counts_until_it_expires_and_for_its_sender_alone(store: Store) -> None:
    receipt = a_receipt(1, expires_at=at(10))
    await put(store, receipt)
    assert await find_receipt(store, 1, at(9)) == receipt
    assert await find_receipt(store, 1, at(10)) is None
    assert await find_receipt(store, 1, at(9), party="OTHER") is None


# --- keeping house (50 F17) -------------------------------------------------------------------------------------------


async def test_old_states_go_but_for_those_with_something_left_to_do(store: Store) -> None:
    await put(
        store,
        *(a_message(number) for number in range(1, 7)),
        a_sending(1),
        a_sending(2, state=SendState.FAILED),
        a_reply(3),
    )
    assert await store.purge(Retention(messages=at(5), now=at(1000))) == Removed(messages=2)
    assert await listed(store) == [an_id(1), an_id(3), an_id(5), an_id(6)]
    assert await find_sending(store, 1) == a_sending(1)
    assert await find_sending(store, 2) is None
    assert await find_reply(store, 3) == a_reply(3)
    assert await store.purge(Retention(messages=at(5), now=at(1000))) == Removed()


async def test_expired_receipts_go(store: Store) -> None:
    await put(store, a_receipt(1, expires_at=at(10)), a_receipt(2, expires_at=at(11)))
    assert await store.purge(Retention(messages=at(0), now=at(10))) == Removed(receipts=1)
    assert await find_receipt(store, 2, at(10)) is not None


async def test_many_rows_go_at_once(store: Store) -> None:
    """More than an engine removes in one step."""
    await put(store, *(a_message(number) for number in range(650)), *(a_receipt(number) for number in range(401)))
    assert await store.purge(Retention(messages=at(640), now=at(9000))) == Removed(messages=640, receipts=401)
    assert len(await store.list_messages(MessageFilter(limit=1000))) == 10


# --- audit (50 F22) ---------------------------------------------------------------------------------------------------


async def test_the_audit_is_a_chain_in_the_order_of_writing(store: Store) -> None:
    entries = [an_entry(number, note=f"“{number}”") for number in (3, 1, 2)]
    for entry in entries:
        await put(store, entry)
    rows = [row async for row in store.read_audit()]
    assert [row.sequence for row in rows] == [1, 2, 3]
    assert [row.entry for row in rows] == entries
    assert len({row.hash for row in rows}) == 3
    assert [row async for row in store.read_audit(after=2)] == rows[2:]
    assert await store.verify_audit() is None


async def test_records_written_at_once_make_one_chain(store: Store) -> None:
    await asyncio.gather(*(put(store, an_entry(number)) for number in range(50)))
    rows = [row async for row in store.read_audit()]
    assert [row.sequence for row in rows] == list(range(1, 51))
    assert await store.verify_audit() is None


async def test_a_long_audit_is_read_whole(store: Store) -> None:
    await put(store, *(an_entry(number) for number in range(2500)))
    assert [row.entry.occurred_at async for row in store.read_audit()] == [at(number) for number in range(2500)]
    assert await store.verify_audit() is None


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
async def test_a_record_may_not_bear_a_name_of_the_row_itself(store: Store, name: str) -> None:
    """Reserved key name in data: refused, and nothing of the transaction is kept. Spec: 50 §14.4."""
    with pytest.raises(StoreError, match=name):
        await put(store, a_message(1), an_entry(1, **{name: "1"}))
    assert await store.find_message(an_id(1)) is None
    assert [row async for row in store.read_audit()] == []


@pytest.mark.parametrize("name", ["key", "_id", "id", "MESSAGE_ID", "DATA", "$set", "a.b", ""])
async def test_every_other_name_is_as_good_as_any(store: Store, name: str) -> None:
    """Names that other engines reserve mean nothing here."""
    entry = AuditEntry(START, {name: "value"})
    await put(store, entry)
    assert [row.entry async for row in store.read_audit()] == [entry]
