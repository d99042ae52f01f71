"""What every engine must do with the supplier's queue. Spec: 50 E4, §3.4."""

import asyncio
from datetime import datetime

import pytest

from openscr.errors import Conflict
from openscr.mhs.store.interface import (
    LEASED_BYTES,
    DeadLetter,
    LeasedMessage,
    QueueFigures,
    Removed,
    Retention,
    Store,
    Transaction,
)

from .samples import a_message, a_queue_message, an_id, at, put

ALLOWED = 3
NEVER = at(-1)


async def lease(store: Store, now: float, until: float | None = None, limit: int = 10) -> list[LeasedMessage]:
    return list(await store.lease_queue(at(now), at(now + 60 if until is None else until), limit))


async def release(store: Store, receipt: str, now: float, delay: float = 0) -> bool:
    return await store.release(receipt, deliveries_allowed=ALLOWED, now=at(now), not_before=at(now + delay))


async def kill(store: Store, now: float) -> None:
    """Give out the one message that waits until it is dead."""
    for _ in range(ALLOWED):
        (leased,) = await lease(store, now)
        assert await release(store, leased.receipt, now)


async def figures(store: Store, now: float) -> tuple[int, int, int]:
    found = await store.queue_figures(at(now))
    return found.waiting, found.leased, found.dead


async def test_an_empty_queue_gives_nothing(store: Store) -> None:
    assert await lease(store, 0) == []
    assert await store.queue_figures(at(0)) == QueueFigures(0, 0, 0)
    assert list(await store.dead_letters(10)) == []
    assert await store.bury(at(0), deliveries_allowed=ALLOWED) == 0
    assert not await store.acknowledge("0" * 32)
    assert not await release(store, "0" * 32, 0)
    assert not await store.requeue(an_id(1))


async def test_messages_are_given_out_in_the_order_they_came(store: Store) -> None:
    """Not in that of their ids or of their own times."""
    for number in (3, 1, 2):
        await put(store, a_queue_message(number))
    first, second = await lease(store, 10, limit=2)
    (third,) = await lease(store, 10)
    assert [each.message for each in (first, second, third)] == [a_queue_message(number) for number in (3, 1, 2)]
    assert [each.deliveries for each in (first, second, third)] == [1, 1, 1]
    assert len({first.receipt, second.receipt, third.receipt}) == 3


async def test_every_property_comes_back(store: Store) -> None:
    message = a_queue_message(1, late=True, body=bytes(range(256)), message_id="“m”", correlation_id="c/\\")
    await put(store, message)
    assert [leased.message for leased in await lease(store, 0)] == [message]


async def test_a_message_is_queued_with_the_state_that_belongs_to_it_or_not_at_all(store: Store) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.put_message(a_message(1))
        await transaction.enqueue(a_queue_message(1))
        await transaction.enqueue(a_queue_message(1))

    with pytest.raises(Conflict):
        await store.transact(work)
    assert await lease(store, 0) == []
    assert await store.find_message(an_id(1)) is None


async def test_an_acknowledged_message_is_gone(store: Store) -> None:
    await put(store, a_queue_message(1))
    (leased,) = await lease(store, 0)
    assert await store.acknowledge(leased.receipt)
    assert await figures(store, 0) == (0, 0, 0)
    assert not await store.acknowledge(leased.receipt)
    assert not await release(store, leased.receipt, 0)
    assert await lease(store, 1000) == []


async def test_a_lease_ends_by_itself_and_counts(store: Store) -> None:
    await put(store, a_queue_message(1))
    (first,) = await lease(store, 0, 60)
    assert await lease(store, 59.999999) == []
    (second,) = await lease(store, 60)
    assert (first.deliveries, second.deliveries) == (1, 2)
    assert first.receipt != second.receipt


async def test_a_receipt_of_an_older_lease_moves_nothing(store: Store) -> None:
    await put(store, a_queue_message(1))
    (first,) = await lease(store, 0, 60)
    (second,) = await lease(store, 60, 120)
    assert not await store.acknowledge(first.receipt)
    assert not await release(store, first.receipt, 61)
    assert await figures(store, 61) == (0, 1, 0)
    assert await store.acknowledge(second.receipt)


async def test_a_late_acknowledgement_counts_while_nobody_else_has_the_message(store: Store) -> None:
    await put(store, a_queue_message(1))
    (leased,) = await lease(store, 0, 60)
    assert await figures(store, 100) == (1, 0, 0)
    assert await store.acknowledge(leased.receipt)
    assert await lease(store, 100) == []


async def test_a_message_that_was_given_back_is_given_out_again_when_it_may(store: Store) -> None:
    await put(store, a_queue_message(1), a_queue_message(2))
    first, second = await lease(store, 0)
    assert await release(store, first.receipt, 1, delay=10)
    assert await release(store, second.receipt, 1)
    assert await figures(store, 1) == (2, 0, 0)
    assert not await store.acknowledge(first.receipt)
    assert [(leased.message.id, leased.deliveries) for leased in await lease(store, 10)] == [(an_id(2), 2)]
    assert [(leased.message.id, leased.deliveries) for leased in await lease(store, 11)] == [(an_id(1), 2)]


async def test_a_message_given_back_too_often_is_dead(store: Store) -> None:
    await put(store, a_queue_message(1, late=True))
    await kill(store, 5)
    assert await lease(store, 1000) == []
    assert list(await store.dead_letters(10)) == [
        DeadLetter(
            an_id(1), "hl7 1", "conversation 1", at(1), True, len(a_queue_message(1).body), ALLOWED, died_at=at(5)
        )
    ]
    assert await figures(store, 5) == (0, 0, 1)


async def test_a_message_whose_consumers_all_vanish_is_dead(store: Store) -> None:
    await put(store, a_queue_message(1), a_queue_message(2))
    for now in (0, 60, 120):
        (leased,) = await lease(store, now, limit=1)
        assert leased.message.id == an_id(1)
        assert await store.bury(at(now), deliveries_allowed=ALLOWED) == 0
    # Its last consumer still has it.
    assert await store.bury(at(179), deliveries_allowed=ALLOWED) == 0
    assert await store.bury(at(180), deliveries_allowed=ALLOWED) == 1
    assert await store.bury(at(180), deliveries_allowed=ALLOWED) == 0
    assert [letter.died_at for letter in await store.dead_letters(10)] == [at(180)]
    # Who comes now is too late: somebody has to look.
    assert not await store.acknowledge(leased.receipt)
    assert [each.message.id for each in await lease(store, 180)] == [an_id(2)]


async def test_a_dead_letter_may_wait_again_as_if_it_were_new(store: Store) -> None:
    await put(store, a_queue_message(1))
    await kill(store, 0)
    await put(store, a_queue_message(2))
    assert not await store.requeue(an_id(2))
    assert await store.requeue(an_id(1))
    assert not await store.requeue(an_id(1))
    assert [(each.message, each.deliveries) for each in await lease(store, 0)] == [
        (a_queue_message(1), 1),
        (a_queue_message(2), 1),
    ]


async def test_dead_letters_are_told_in_the_order_they_died(store: Store) -> None:
    for number, now in ((1, 30.0), (2, 10.0), (3, 20.0)):
        await put(store, a_queue_message(number))
        await kill(store, now)
    assert [letter.id for letter in await store.dead_letters(10)] == [an_id(2), an_id(3), an_id(1)]
    assert [letter.id for letter in await store.dead_letters(2)] == [an_id(2), an_id(3)]


async def test_figures_tell_how_old_the_oldest_waiting_message_is(store: Store) -> None:
    await put(store, a_queue_message(1), a_queue_message(2), a_queue_message(3))
    (first,) = await lease(store, 10, 70, limit=1)
    assert await store.queue_figures(at(10)) == QueueFigures(2, 1, 0, oldest=at(2))
    assert await store.queue_figures(at(70)) == QueueFigures(3, 0, 0, oldest=at(1))
    await store.acknowledge(first.receipt)
    assert await store.queue_figures(at(70)) == QueueFigures(2, 0, 0, oldest=at(2))


async def test_what_is_given_out_together_fits_into_memory(store: Store) -> None:
    large = b"x" * (LEASED_BYTES // 2)
    await put(
        store,
        a_queue_message(1, body=large + b"x"),
        a_queue_message(2, body=large),
        a_queue_message(3, body=large),
        a_queue_message(4, body=b"x" * (LEASED_BYTES + 1)),
    )
    for expected in ([1], [2, 3], [4], []):
        assert [each.message.id for each in await lease(store, 0)] == [an_id(number) for number in expected]


async def test_many_consumers_share_the_messages(store: Store) -> None:
    await put(store, *(a_queue_message(number) for number in range(60)))
    given = await asyncio.gather(*(lease(store, 0, limit=3) for _ in range(25)))
    assert sorted(each.message.id for some in given for each in some) == [an_id(number) for number in range(60)]
    acknowledged = await asyncio.gather(*(store.acknowledge(each.receipt) for some in given for each in some))
    assert acknowledged == [True] * 60
    assert await figures(store, 0) == (0, 0, 0)


@pytest.mark.parametrize("before", [None, at(3)])
async def test_messages_that_nobody_took_go_when_their_time_is_over(store: Store, before: datetime | None) -> None:
    await put(store, a_queue_message(1))
    await kill(store, 0)
    await put(store, a_queue_message(2), a_queue_message(3))
    await lease(store, 100, 200, limit=1)
    await put(store, a_queue_message(0))
    removed = await store.purge(Retention(messages=NEVER, now=at(150), queue=before))
    if before is None:
        assert removed == Removed()
        assert await figures(store, 150) == (2, 1, 1)
        return
    # Somebody is at work on the second one.
    assert removed == Removed(queue=2)
    assert await figures(store, 150) == (1, 1, 0)
    assert await store.purge(Retention(messages=NEVER, now=at(200), queue=before)) == Removed(queue=1)
    assert [each.message.id for each in await lease(store, 200)] == [an_id(3)]
