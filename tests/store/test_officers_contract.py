"""What every engine must do for officers: the audit in the order of time, the life of alerts, notices."""

from dataclasses import replace
from datetime import datetime

import pytest

from openscr.errors import Conflict
from openscr.identifiers import slot_of
from openscr.store.alert_evidence import CHANGE_DIGEST, change_digest
from openscr.store.alert_records import AlertChange, AlertRow, Notice, Subscription
from openscr.store.interface import AuditEntry, AuditPeriod, AuditRow, Store, Transaction

from .conftest import Opening
from .samples import OTHER_PATIENT, PATIENT, SLOT, an_alert, an_entry, an_id, append, at


async def found(
    store: Store,
    since: datetime | None = None,
    until: datetime | None = None,
    nhs_number: str | None = None,
    *,
    newest_first: bool = False,
) -> list[AuditRow]:
    """Return what a search finds."""
    period = AuditPeriod(since, until, nhs_number)
    return [row async for row in store.search_audit(period, newest_first=newest_first)]


async def test_the_audit_is_in_the_order_of_time_whatever_its_slots(store: Store) -> None:
    """More rows than a page, in both directions; those of one instant by slot and sequence; the ends of a period."""
    other = slot_of(OTHER_PATIENT)
    for first in range(0, 2600, 100):
        await append(store, [replace(an_entry(n), occurred_at=at(n // 2)) for n in range(first, first + 50)])
        await append(
            store,
            [replace(an_entry(n, OTHER_PATIENT), occurred_at=at(n // 2)) for n in range(first, first + 50)],
            other,
        )
    rows = await found(store)
    assert len(rows) == 2600
    keys = [(row.entry.occurred_at, row.slot, row.sequence) for row in rows]
    assert keys == sorted(keys)
    backwards = await found(store, newest_first=True)
    assert backwards == rows[::-1]
    assert rows == sorted([row async for row in store.read_audit()], key=lambda r: keys.index(key_of(r)))
    inside = await found(store, at(10), at(20))
    assert {row.entry.occurred_at for row in inside} == {at(n) for n in range(10, 20)}
    assert await found(store, at(10), at(20), newest_first=True) == inside[::-1]
    assert await found(store, at(5000)) == []
    mine = await found(store, nhs_number=PATIENT)
    assert len(mine) == 1300
    assert {row.entry.nhs_number for row in mine} == {PATIENT}
    assert await found(store, nhs_number=PATIENT, newest_first=True) == mine[::-1]
    assert len(await found(store, at(10), at(20), PATIENT)) == 20
    assert await found(store, nhs_number="9990000026") == []


def key_of(row: AuditRow) -> tuple[datetime, int, int]:
    """Return where a row stands in the order of time."""
    return row.entry.occurred_at, row.slot, row.sequence


async def test_what_is_written_while_somebody_reads_moves_nothing(store: Store) -> None:
    """Each page goes on after the last row of the one before."""
    await append(store, [an_entry(n) for n in range(1200)])
    seen = []
    async for row in store.search_audit(AuditPeriod(until=at(5000))):
        if len(seen) in (0, 999, 1000):
            await append(store, [replace(an_entry(0), occurred_at=at(-1)), an_entry(6000)])
        seen.append(row.sequence)
    assert seen == list(range(1, 1201))


async def test_the_heads_of_the_chains(store: Store) -> None:
    """One for each slot that has rows: its last sequence and hash."""
    assert await store.audit_heads() == []
    await append(store, [an_entry(1), an_entry(2)])
    await append(store, [AuditEntry(at(3), "x", "AA", None)], 7)
    last = {row.slot: (row.sequence, row.hash) async for row in store.read_audit()}
    assert {head.slot: (head.sequence, head.hash) for head in await store.audit_heads()} == last
    assert [head.slot for head in await store.audit_heads()] == sorted({7, SLOT})


# --- alerts ---------------------------------------------------------------------------------------------------------


def a_change(version: int, before: str, after: str, number: int = 1) -> AlertChange:
    """Return the step to a version."""
    return AlertChange(an_id(number), version, at(version), before, after, f"note {version}", "U", "R", "B99901")


async def change(store: Store, step: AlertChange, slot: int = SLOT) -> None:
    """Take one step, with what the audit keeps of it."""

    async def work(transaction: Transaction) -> None:
        await transaction.change_alert(step)
        await transaction.append_audit(replace(an_entry(1), content={CHANGE_DIGEST: change_digest(step)}))

    await store.transact(slot, work)


async def alert_of(store: Store, number: int = 1) -> tuple[AlertRow | None, tuple[AlertChange, ...]]:
    """Return an alert with its steps."""

    async def work(transaction: Transaction) -> tuple[AlertRow | None, tuple[AlertChange, ...]]:
        return await transaction.find_alert(an_id(number)), await transaction.alert_changes(an_id(number))

    return await store.transact(SLOT, work)


async def test_an_alert_goes_from_version_to_version(opening: Opening) -> None:
    """A step from another version or state is a conflict and leaves nothing; what was done survives."""
    first = a_change(2, "new", "under-investigation")
    async with opening() as store:
        await append(store, [an_alert(1), an_alert(2)])
        await change(store, first)
        for wrong in (first, a_change(3, "new", "closed"), a_change(4, "under-investigation", "closed")):
            with pytest.raises(Conflict):
                await change(store, wrong)
        with pytest.raises(Conflict):
            await change(store, a_change(2, "new", "closed"), SLOT + 1)
        await change(store, a_change(3, "under-investigation", "closed"))
    async with opening() as store:
        alert, steps = await alert_of(store)
        assert alert == replace(an_alert(1), state="closed", version=3)
        assert steps == (first, a_change(3, "under-investigation", "closed"))
        assert await alert_of(store, 2) == (an_alert(2), ())
        assert await alert_of(store, 3) == (None, ())
        assert (await store.verify()).intact


async def test_alerts_are_found_by_organisation_period_and_id(store: Store) -> None:
    """Samples are raised the later the smaller their number is."""
    other = replace(an_alert(4), organisation="B99902")
    await append(store, [an_alert(1), an_alert(2), an_alert(3), other])
    assert await store.read_alerts("B99901") == [an_alert(3), an_alert(2), an_alert(1)]
    assert await store.read_alerts("B99902") == [other]
    assert await store.read_alerts("B99903") == []
    assert await store.read_alerts("B99901", at(-2), at(-1)) == [an_alert(2)]
    assert await store.read_alerts(since=at(-2)) == [an_alert(2), an_alert(1)]
    assert await store.slot_of_alert(an_id(1)) == SLOT
    assert await store.slot_of_alert(an_id(9)) is None


# --- notices --------------------------------------------------------------------------------------------------------


def a_subscription(number: int, organisation: str = "B99901") -> Subscription:
    """Return a subscription."""
    return Subscription(an_id(number), organisation, "email", "a@b.test", "s", ("1", "2"), "U", "R", at(number))


async def test_subscriptions(opening: Opening) -> None:
    """Kept, found by organisation, removed with what they had still to be told."""
    async with opening() as store:
        await store.write_subscription(a_subscription(1))
        await store.write_subscription(a_subscription(2, "B99902"))
        with pytest.raises(Conflict):
            await store.write_subscription(a_subscription(1))
    async with opening() as store:
        assert await store.read_subscriptions() == [a_subscription(1), a_subscription(2, "B99902")]
        assert await store.read_subscriptions("B99902") == [a_subscription(2, "B99902")]
        await append(store, [an_alert(1)])
        (notice,) = await store.read_notices()
        await store.share_notice(notice, [replace(notice, subscription_id=an_id(number)) for number in (1, 2)])
        await store.remove_subscription(an_id(1))
        assert [each.subscription_id for each in await store.read_notices()] == [an_id(2)]
        assert await store.read_subscriptions() == [a_subscription(2, "B99902")]


async def test_a_notice_is_written_with_its_alert(store: Store) -> None:
    """In the same transaction: an alert that is not kept has none."""
    await append(store, [an_alert(1)])
    expected = Notice(SLOT, an_id(1), "", "B99901", "1", an_alert(1).raised_at, an_alert(1).raised_at)
    assert await store.read_notices() == [expected]
    with pytest.raises(Conflict):
        await append(store, [an_alert(2), an_alert(1)])
    assert await store.read_notices() == [expected]


async def test_notices_that_are_due(store: Store) -> None:
    """The longest due first, in fair shares, without those that are being told; what was given up is not due."""
    await append(store, [an_alert(number) for number in range(1, 21)])
    for notice in await store.read_notices():
        await store.share_notice(notice, [replace(notice, subscription_id=an_id(900))])
        # A second time there is nothing left to share out.
        await store.share_notice(notice, [replace(notice, subscription_id=an_id(901))])
    assert {each.subscription_id for each in await store.read_notices()} == {an_id(900)}
    await append(store, [an_alert(30)])
    due = await store.due_notices(at(0), 12)
    assert [each.alert_id for each in due] == [an_id(30), an_id(20), an_id(19), an_id(18)]
    assert [each.alert_id for each in await store.due_notices(at(0), 12, besides={an_id(900)})] == [an_id(30)]
    await store.change_notice(replace(due[1], due_at=None, attempts=9, last_error="HTTP 500"))
    await store.change_notice(replace(due[2], due_at=at(60), attempts=1, last_error="no answer in time"))
    assert [each.alert_id for each in await store.due_notices(at(0), 12)] == [an_id(30), *map(an_id, (18, 17, 16))]
    await store.postpone_notices(an_id(900), at(30))
    assert [each.alert_id for each in await store.due_notices(at(0), 12)] == [an_id(30)]
    assert len(await store.due_notices(at(30), 100)) == 19
    assert len(await store.due_notices(at(60), 100)) == 20
    kept = {each.alert_id: each for each in await store.read_notices()}
    assert (kept[an_id(20)].due_at, kept[an_id(20)].attempts, kept[an_id(20)].last_error) == (None, 9, "HTTP 500")
    await store.remove_notice(due[1])
    assert an_id(20) not in {each.alert_id for each in await store.read_notices()}
    assert (await store.verify()).intact
