"""Duplicates, late replies, waiting callers, hand-over to the queue: 50 F3, F4, E5, A3, 40 §6.5."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mhs import rig
from mhs.inbound.posting import (
    CONVERSATION,
    REPLY_ID,
    REQUEST_ID,
    acknowledged,
    audited,
    envelope,
    header_part,
    multipart,
    payload_part,
    post,
    queued,
    remember,
    state,
)
from mhs.rig import SPINE_PARTY, TestClock
from openscr.codes import SERVICE_PREFIX
from openscr.errors import StoreUnavailable
from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.application import InboundApplication
from openscr.mhs.inbound.overdue import OverdueReplies
from openscr.mhs.interactions import Interaction
from openscr.mhs.queue.publisher import QueueRefused, QueueUnavailable
from openscr.mhs.queue_message import QueueMessage, read_inbound_message
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.interface import ReplyRow, SendingRow, Transaction
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.opening import open_store

Adaptor = Callable[..., Awaitable[AdaptorContext]]

FORWARD = "COPC_IN000001UK01"
GP2GP = {FORWARD: Interaction(FORWARD, f"{SERVICE_PREFIX}gp2gp", Workflow.FORWARD_RELIABLE, False)}


@pytest.fixture(params=["memory", "sqlite"])
async def adaptor(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Adaptor]:
    """Puts adaptors together, on each engine."""
    contexts: list[AdaptorContext] = []

    async def make(**changes: object) -> AdaptorContext:
        store = MemoryStore() if request.param == "memory" else open_store(rig.settings(data=tmp_path))
        contexts.append(rig.context(store=store, **changes))  # type: ignore[arg-type]
        await store.open()
        return contexts[-1]

    yield make
    for context in contexts:
        await context.store.close()


def another(message_id: str = "9D8E0F34-1B6A-4F0B-9C9D-6E1A5D3B2203", **values: str | None) -> bytes:
    return multipart(header_part(envelope(MessageId=message_id, **values)), payload_part())


def unsolicited() -> bytes:
    return another(REPLY_ID, RefToMessageId=None, Action=FORWARD)


def clock_of(context: AdaptorContext) -> TestClock:
    assert isinstance(context.clock, TestClock)
    return context.clock


def counted(context: AdaptorContext, name: str, **labels: str) -> float:
    return context.figures.registry.get_sample_value(name, labels) or 0.0


async def reply_of(context: AdaptorContext) -> ReplyRow | None:
    async def find(transaction: Transaction) -> ReplyRow | None:
        return await transaction.find_reply(REQUEST_ID)

    return await context.store.transact(find)


class Broker:
    """A queue of somebody else's: takes messages or does not, as it is told."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[QueueMessage] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def publish(self, message: QueueMessage) -> None:
        if self.meanwhile is not None:
            await self.meanwhile()
        if self.error is not None:
            raise self.error
        self.taken.append(message)

    async def reachable(self) -> bool:
        return self.error is None

    async def close(self) -> None:
        """Nothing is open."""


# --- F4: duplicates -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["solicited", "unsolicited"])
async def test_f4_duplicate_is_acknowledged_alike_and_queued_once(adaptor: Adaptor, kind: str) -> None:
    context = await adaptor(interactions=GP2GP)
    await remember(context)
    body = multipart() if kind == "solicited" else unsolicited()
    first = await post(context, body)
    clock_of(context).move(3600)
    again = await post(context, body)
    assert acknowledged(again)
    assert again == first
    assert len(await queued(context)) == 1
    assert counted(context, "mhs_duplicates_total", direction="inbound") == 1


async def test_f4_letters_of_the_id_do_not_matter_nor_does_the_process(adaptor: Adaptor) -> None:
    context = await adaptor()
    await remember(context)
    first = await post(context, another("abcd"))
    assert await post(context, another("ABCD"), application=InboundApplication(context)) == first
    assert len(await queued(context)) == 1


async def test_f4_the_same_id_of_another_party_is_another_message(adaptor: Adaptor) -> None:
    context = await adaptor()
    await remember(context)
    await post(context)
    await post(context, another(REPLY_ID, From="OTHER-1"))
    assert len(await queued(context)) == 2


async def test_f4_a_message_is_forgotten_after_the_window(adaptor: Adaptor) -> None:
    context = await adaptor(inbound_duplicate_window=60)
    await remember(context)
    await post(context)
    clock_of(context).move(61)
    await post(context)
    assert len(await queued(context)) == 2


async def test_f4_no_window_no_memory(adaptor: Adaptor) -> None:
    context = await adaptor(inbound_duplicate_window=0)
    await remember(context)
    await post(context)
    await post(context)
    assert len(await queued(context)) == 2


async def test_f4_duplicates_at_the_same_time_are_queued_once(adaptor: Adaptor) -> None:
    context = await adaptor()
    await remember(context)
    application = InboundApplication(context)
    answers = await asyncio.gather(*[post(context, application=application) for _ in range(20)])
    assert len({answer.body for answer in answers}) == 1
    assert len(await queued(context)) == 1


# --- F3: waiting callers and late replies -----------------------------------------------------------------------------


async def waiting(context: AdaptorContext, **changes: object) -> None:
    until = context.clock() + timedelta(seconds=20)
    values: dict[str, Any] = {"workflow": Workflow.SYNC_ASYNC, "waits_until": until, **changes}
    await remember(context, **values)


async def test_f3_waiter_is_woken_at_once(adaptor: Adaptor) -> None:
    """The reply is in the store before anybody is told; nothing is queued."""
    context = await adaptor()
    await waiting(context, outbound_status=OutboundStatus.ACKD)
    asleep = asyncio.Event()

    async def find() -> ReplyRow | None:
        asleep.set()
        return await reply_of(context)

    # Who is not told looks again after an hour only.
    waiter = asyncio.create_task(context.replies.wait(REQUEST_ID, find, seconds=3600, interval=3600))
    await asleep.wait()
    assert acknowledged(await post(context))
    async with asyncio.timeout(10):
        reply = await waiter
    assert reply is not None
    assert read_inbound_message(reply.body).payload.startswith("<MCCI_IN010000UK13")
    assert (reply.correlation_id, reply.received_at) == (CONVERSATION, context.clock())
    assert await queued(context) == []
    row = await state(context)
    assert (row.inbound_status, row.outbound_status) == (InboundStatus.SYNC_ASYNC_STORED, OutboundStatus.ACKD)


@pytest.mark.parametrize("why", ["answered", "could not be answered", "time is over"])
async def test_f3_late_reply_goes_to_the_queue(adaptor: Adaptor, why: str) -> None:
    context = await adaptor()
    statuses = {
        "answered": OutboundStatus.SYNC_ASYNC_RESPONDED,
        "could not be answered": OutboundStatus.SYNC_ASYNC_FAILED,
    }
    status = statuses.get(why, OutboundStatus.ACKD)
    await waiting(context, outbound_status=status)
    if why == "time is over":
        clock_of(context).move(21)
    assert acknowledged(await post(context))
    (message,) = await queued(context)
    assert message.properties == {
        "message-id": REQUEST_ID,
        "correlation-id": CONVERSATION,
        "late-response": "true",
    }
    row = await state(context)
    # Whose time is over without an answer was never answered.
    told = statuses.get(why, OutboundStatus.SYNC_ASYNC_FAILED)
    assert (row.inbound_status, row.outbound_status) == (InboundStatus.PROCESSED, told)
    assert await reply_of(context) is None


async def test_f3_a_second_reply_does_not_take_the_place_of_the_first(adaptor: Adaptor) -> None:
    context = await adaptor()
    await waiting(context)
    await post(context)
    first = await reply_of(context)
    assert acknowledged(await post(context, another()))
    assert await reply_of(context) == first
    assert [message.late for message in await queued(context)] == [True]


async def test_a_reply_says_that_its_message_was_taken_and_ends_its_sending(adaptor: Adaptor) -> None:
    """40 §6.5: it may be here before the acknowledgement has been read."""
    context = await adaptor()
    await remember(context, outbound_status=OutboundStatus.RECEIVED)
    sending = SendingRow(REQUEST_ID, "https://spine.test", (), b"x", retries=2, retry_interval=60, persist_duration=300)

    async def put(transaction: Transaction) -> None:
        await transaction.put_sending(sending)

    async def find(transaction: Transaction) -> SendingRow | None:
        return await transaction.find_sending(REQUEST_ID)

    await context.store.transact(put)
    await post(context)
    assert await context.store.transact(find) is None
    assert [change.status for change in (await state(context)).history] == [
        OutboundStatus.ACKD,
        InboundStatus.PROCESSED,
    ]


async def test_a_reply_of_another_party_is_handed_on_and_ends_no_sending(adaptor: Adaptor) -> None:
    """The supplier may judge it; whoever was sent the message has not spoken yet."""
    context = await adaptor()
    await remember(context, outbound_status=OutboundStatus.RECEIVED, to_party="SOMEBODY-ELSE")
    sending = SendingRow(REQUEST_ID, "https://spine.test", (), b"x", retries=2, retry_interval=60, persist_duration=300)

    async def put(transaction: Transaction) -> None:
        await transaction.put_sending(sending)

    async def find(transaction: Transaction) -> SendingRow | None:
        return await transaction.find_sending(REQUEST_ID)

    await context.store.transact(put)
    assert acknowledged(await post(context))
    assert await context.store.transact(find) is not None
    assert [change.status for change in (await state(context)).history] == [InboundStatus.PROCESSED]
    assert len(await queued(context)) == 1


# --- the sweep --------------------------------------------------------------------------------------------------------


async def test_f3_reply_whose_waiter_has_died_is_swept_to_the_queue(adaptor: Adaptor) -> None:
    context = await adaptor()
    await waiting(context, outbound_status=OutboundStatus.ACKD)
    await post(context)
    sweep = OverdueReplies(context).sweep
    assert await sweep() == 0, "somebody waits for it"
    clock_of(context).move(19 + context.settings.late_reply_grace)
    assert await sweep() == 0, "its caller may still be sending it on"
    clock_of(context).move(1)
    assert await sweep() == 1
    assert await sweep() == 0
    (message,) = await queued(context)
    assert (message.message_id, message.correlation_id, message.late) == (REQUEST_ID, CONVERSATION, True)
    row = await state(context)
    assert row.outbound_status is OutboundStatus.SYNC_ASYNC_FAILED
    assert row.inbound_status is InboundStatus.PROCESSED


async def test_f3_sweep_leaves_the_status_of_an_answered_caller(adaptor: Adaptor) -> None:
    context = await adaptor()
    await waiting(context)
    await post(context)
    await waiting(context, outbound_status=OutboundStatus.SYNC_ASYNC_RESPONDED)
    clock_of(context).move(3600)
    assert await OverdueReplies(context).sweep() == 1
    assert (await state(context)).outbound_status is OutboundStatus.SYNC_ASYNC_RESPONDED


async def test_f3_sweep_goes_on_after_a_failure(adaptor: Adaptor, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop itself: started, once in trouble, stopped."""
    context = await adaptor()
    await waiting(context)
    await post(context)
    clock_of(context).move(3600)
    real, failures = context.store.overdue_replies, [StoreUnavailable("down")]
    arrived = asyncio.Event()

    async def overdue(*arguments: Any) -> Any:
        if failures:
            raise failures.pop()
        return await real(*arguments)

    monkeypatch.setattr(context.store, "overdue_replies", overdue)
    monkeypatch.setattr(context.arrivals, "tell", arrived.set)
    sweeper = OverdueReplies(context, interval=0.001)
    sweeper.start()
    async with asyncio.timeout(10):
        await arrived.wait()
        await sweeper.stop()
    assert len(await queued(context)) == 1


# --- E5: hand-over ----------------------------------------------------------------------------------------------------


async def test_e5_message_states_receipt_and_audit_are_of_one_transaction(
    adaptor: Adaptor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the engine fails at, nothing of it is left, and the sender is told to come again."""
    context = await adaptor(interactions=GP2GP)

    async def full(*_: object) -> None:
        raise StoreUnavailable("full")

    real = context.store.transact

    async def transact(work: Any) -> Any:
        async def then_fail(transaction: Any) -> Any:
            monkeypatch.setattr(type(transaction), "append_audit", full)
            return await work(transaction)

        return await real(then_fail)

    with monkeypatch.context() as patch:
        patch.setattr(context.store, "transact", transact)
        answered = await post(context, unsolicited())
    assert (answered.status, answered.text) == (500, "500: Exception in workflow")
    monkeypatch.undo()
    assert await queued(context) == []
    assert await context.store.find_message(REPLY_ID) is None
    assert acknowledged(await post(context, unsolicited()))
    assert len(await queued(context)) == 1


async def test_e5_a_broker_is_not_asked_before_the_acknowledgement(adaptor: Adaptor) -> None:
    """Its outage neither loses nor refuses a message: the relay brings it later."""
    broker = Broker(QueueUnavailable("down"))
    context = await adaptor(publisher=broker)
    await remember(context)
    assert acknowledged(await post(context))
    assert len(await queued(context)) == 1
    assert broker.taken == []


@pytest.mark.parametrize("kind", ["solicited", "unsolicited"])
async def test_e5_queue_direct_hands_over_before_the_acknowledgement(adaptor: Adaptor, kind: str) -> None:
    broker = Broker()
    context = await adaptor(publisher=broker, queue_direct=True, interactions=GP2GP)
    await remember(context)
    body, id = (multipart(), REQUEST_ID) if kind == "solicited" else (unsolicited(), REPLY_ID)

    async def look() -> None:
        expected = None if kind == "solicited" else InboundStatus.UNSOLICITED_RECEIVED
        assert (await state(context, id)).inbound_status is expected

    broker.meanwhile = look
    first = await post(context, body)
    assert acknowledged(first)
    assert [message.message_id for message in broker.taken] == [id]
    assert await queued(context) == []
    ends = InboundStatus.PROCESSED if kind == "solicited" else InboundStatus.UNSOLICITED_PROCESSED
    assert (await state(context, id)).inbound_status is ends
    assert await post(context, body) == first
    assert len(broker.taken) == 1


@pytest.mark.parametrize("error", [QueueUnavailable("down"), QueueRefused("no such queue")])
@pytest.mark.parametrize("kind", ["solicited", "unsolicited"])
async def test_row_6b_7c_queue_direct_broker_does_not_take_it(adaptor: Adaptor, kind: str, error: Exception) -> None:
    """L22: a refusal is an error too. It comes again, and is taken then."""
    broker = Broker(error)
    context = await adaptor(publisher=broker, queue_direct=True, interactions=GP2GP)
    await remember(context)
    body, id = (multipart(), REQUEST_ID) if kind == "solicited" else (unsolicited(), REPLY_ID)
    answered = await post(context, body)
    assert (answered.status, answered.text) == (500, "500: Exception in workflow")
    fails = InboundStatus.FAILED if kind == "solicited" else InboundStatus.UNSOLICITED_FAILED
    assert (await state(context, id)).inbound_status is fails
    broker.error = None
    assert acknowledged(await post(context, body))
    assert len(broker.taken) == 1


async def test_e5_queue_direct_repetition_waits_for_the_broker(adaptor: Adaptor) -> None:
    broker = Broker()
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        begun.set()
        await go_on.wait()

    broker.meanwhile = hold
    context = await adaptor(publisher=broker, queue_direct=True)
    await remember(context)
    application = InboundApplication(context)
    posts = [asyncio.create_task(post(context, application=application)) for _ in range(3)]
    await begun.wait()
    go_on.set()
    answers = await asyncio.gather(*posts)
    assert len({answer.body for answer in answers}) == 1
    assert len(broker.taken) == 1


async def test_e5_queue_direct_waiting_caller_needs_no_broker(adaptor: Adaptor) -> None:
    context = await adaptor(publisher=Broker(QueueUnavailable("down")), queue_direct=True)
    await waiting(context)
    assert acknowledged(await post(context))
    assert await reply_of(context) is not None


async def test_f3_queue_direct_sweep_hands_over_to_the_broker(adaptor: Adaptor) -> None:
    broker = Broker(QueueUnavailable("down"))
    context = await adaptor(publisher=broker, queue_direct=True)
    await waiting(context)
    await post(context)
    clock_of(context).move(3600)
    sweep = OverdueReplies(context).sweep
    with pytest.raises(QueueUnavailable):
        await sweep()
    assert await reply_of(context) is not None
    broker.error = None
    assert await sweep() == 1
    assert [message.late for message in broker.taken] == [True]
    assert await queued(context) == []


# --- F22, F18 ---------------------------------------------------------------------------------------------------------


async def test_f22_one_record_for_each_message(adaptor: Adaptor) -> None:
    context = await adaptor()
    await remember(context)
    await post(context)
    await post(context)
    await post(context, b"nonsense")
    records = [row.entry.content for row in await audited(context)]
    assert [record["outcome"] for record in records] == [InboundStatus.PROCESSED, "duplicate", "500"]
    taken = records[0]
    assert {name: taken[name] for name in taken if name != "milliseconds"} == {
        "direction": "inbound",
        "outcome": "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED",
        "workflow": "async-reliable",
        "interaction": "MCCI_IN010000UK13",
        "message_id": REPLY_ID,
        "correlation_id": CONVERSATION,
        "ref_to_message_id": REQUEST_ID,
        "from_party": SPINE_PARTY,
        "to_party": context.settings.secret_party_key,
    }


async def test_f18_messages_are_counted(adaptor: Adaptor) -> None:
    context = await adaptor(interactions=GP2GP)
    await post(context, unsolicited())
    outcome = InboundStatus.UNSOLICITED_PROCESSED
    labels = {"direction": "inbound", "interaction": FORWARD, "workflow": "forward-reliable", "outcome": outcome}
    assert counted(context, "mhs_messages_total", **labels) == 1
    await post(context, b"nonsense")
    labels = {"direction": "inbound", "interaction": "unknown", "workflow": "", "outcome": "500"}
    assert counted(context, "mhs_messages_total", **labels) == 1
