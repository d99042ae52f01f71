"""Suppliers that wait for replies, and what becomes of replies that nobody waits for. Spec: 50 §2.7, F3, F21."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from mhs.stub_spine import StubSpine, acknowledge, fault, held
from mhs.workflows.adaptor import CORRELATION_ID, EXPRESS, MESSAGE_ID, ONCE, UPLOAD, Adaptor, StartAdaptor
from openscr.errors import EbxmlError
from openscr.mhs.exchange import Answer
from openscr.mhs.interactions import Interaction
from openscr.mhs.queue_message import InboundMessage, write_inbound_message
from openscr.mhs.states import NO_LONGER_WAITED_FOR, InboundStatus
from openscr.mhs.store.interface import ReplyRow, StatusChange, Transaction
from openscr.transport.ebxml import ERROR_CONTEXT, write_message_error

RECEIVED = "OUTBOUND_MESSAGE_RECEIVED"
ACKD = "OUTBOUND_MESSAGE_ACKD"
RESPONDED = "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"
FAILED = "OUTBOUND_SYNC_ASYNC_MESSAGE_FAILED_TO_RESPOND"
STORED = "INBOUND_SYNC_ASYNC_MESSAGE_STORED"
ANSWER = '<MCCI_IN010000UK13 xmlns="urn:hl7-org:v3">\n caf\u00e9</MCCI_IN010000UK13>'
MESSAGE = InboundMessage("<ebXML/>", ANSWER)
COMPLAINT = InboundMessage(
    write_message_error(
        from_party="YES-0000806",
        to_party="A91545-9199121",
        cpa_id="S20001A000182",
        conversation_id=CORRELATION_ID,
        message_id="E1",
        timestamp="2026-11-23T12:00:00Z",
        ref_to_message_id=MESSAGE_ID,
        errors=[EbxmlError("ValueNotRecognized", "501319:Unknown eb:CPAId")],
    ).decode(),
    "",
)
WAITED_FOR = pytest.mark.parametrize("interaction", [EXPRESS, UPLOAD], ids=lambda each: each.workflow)


async def reply_arrives(
    adaptor: Adaptor, message_id: str = MESSAGE_ID, message: InboundMessage = MESSAGE, *, tell: bool = True
) -> None:
    """Do as inbound does: keep the reply while it is waited for, and wake who waits."""

    async def work(transaction: Transaction) -> None:
        row = await transaction.find_message(message_id)
        assert row is not None
        assert row.outbound_status not in NO_LONGER_WAITED_FOR
        assert row.waits_until is not None
        now = adaptor.context.clock()
        assert row.waits_until > now
        stored = StatusChange(now, InboundStatus.SYNC_ASYNC_STORED)
        row = replace(row, inbound_status=InboundStatus.SYNC_ASYNC_STORED, history=(*row.history, stored))
        await transaction.put_message(row)
        await transaction.put_reply(ReplyRow(message_id, CORRELATION_ID, write_inbound_message(message), now))

    await adaptor.context.store.transact(work)
    if tell:
        adaptor.context.replies.arrived(message_id)


async def reply_of(adaptor: Adaptor) -> ReplyRow | None:
    async def work(transaction: Transaction) -> ReplyRow | None:
        return await transaction.find_reply(MESSAGE_ID)

    return await adaptor.context.store.transact(work)


@WAITED_FOR
async def test_a_reply_is_given_to_who_waits(start: StartAdaptor, spine: StubSpine, interaction: Interaction) -> None:
    """Its payload as it came, at once: nobody looks for it for half a minute. Spec: 50 §2.7 step 5."""
    adaptor = await start(resync_interval=30.0, resync_retries=1)
    call = asyncio.create_task(adaptor.send(interaction, wait=True))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor)
    assert await call == Answer(200, ANSWER.encode(), "text/xml")
    assert await adaptor.statuses() == [RECEIVED, ACKD, STORED, RESPONDED]
    row = await adaptor.row()
    assert (row.workflow, row.outbound_status, row.inbound_status) == ("sync-async", RESPONDED, STORED)
    assert await reply_of(adaptor) is None, "nothing of the patient is kept longer than needed (F17)"
    assert await adaptor.queued() == []


@pytest.mark.parametrize("refused", [False, True])
async def test_the_state_is_the_last_one_before_the_supplier_has_its_answer(
    start: StartAdaptor, spine: StubSpine, refused: bool
) -> None:
    """Whoever asks for it as soon as it has the answer finds it so; the reply is kept until the answer was sent."""
    if refused:
        spine.script(fault("300"))
    adaptor = await start(contract=ONCE)
    call = asyncio.create_task(adaptor.workflows.send(adaptor.request(UPLOAD, wait=True)))
    if not refused:
        await adaptor.reaches(ACKD)
        await reply_arrives(adaptor)
    assert (await call).status == (500 if refused else 200)
    assert (await adaptor.row()).outbound_status == RESPONDED
    assert (await reply_of(adaptor) is None) == refused


async def test_a_reply_of_another_process_is_found_by_looking(start: StartAdaptor) -> None:
    adaptor = await start(resync_interval=0.01, resync_retries=10_000)
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor, tell=False)
    assert (await call).status == 200


async def test_f3_nobody_looks_where_all_replies_come_into_one_process(start: StartAdaptor) -> None:
    """Who waits is told; it looks when it begins to wait, when it is told, and at the end. Spec: 50 F3."""
    adaptor = await start(local=True, resync_interval=0.01, resync_retries=10_000)
    looks: list[str] = []
    transact = adaptor.context.store.transact

    async def counting(work):  # type: ignore[no-untyped-def]
        looks.append(work.__name__)
        return await transact(work)

    adaptor.context.store.transact = counting  # type: ignore[method-assign]
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True))
    await adaptor.reaches(ACKD)
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert looks.count("look") == 1
    await reply_arrives(adaptor)
    assert (await call).status == 200
    assert looks.count("look") == 2


async def test_f21_the_whole_message_is_given_to_who_asks_for_it(start: StartAdaptor) -> None:
    """The JSON of the queue: envelope, payload, attachments. Spec: 50 F21, §3.4."""
    adaptor = await start()
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True, whole=True))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor)
    told = await call
    assert (told.status, told.content_type) == (200, "application/json")
    expected = {"ebXML": "<ebXML/>", "payload": ANSWER, "attachments": [], "external_attachments": []}
    assert json.loads(told.body) == expected


@pytest.mark.parametrize("whole", [False, True])
async def test_f9_a_message_error_ends_the_wait_at_once(start: StartAdaptor, whole: bool) -> None:
    """The supplier is told of the errors, and does not find them on the queue once more. Spec: 50 §1.5."""
    adaptor = await start(resync_interval=30.0, resync_retries=1)
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True, whole=whole))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor, message=COMPLAINT)
    told = await call
    assert told.status == 500
    assert json.loads(told.body) == told.document
    assert told.document is not None
    assert told.document["process_key"] == "EBXML_ERROR_HANDLER0005"
    assert told.document["errors"] == [
        {
            "codeContext": ERROR_CONTEXT,
            "errorCode": "ValueNotRecognized",
            "severity": "Error",
            "Description": "501319:Unknown eb:CPAId",
            "errorType": "ebxml_error",
        }
    ]
    assert await reply_of(adaptor) is None
    assert await adaptor.queued() == []
    assert (await adaptor.statuses())[-1] == RESPONDED


async def test_f9_a_message_error_that_nobody_took_goes_to_the_queue(start: StartAdaptor) -> None:
    adaptor = await start(resync_interval=30.0, resync_retries=1)
    request = adaptor.request(UPLOAD, wait=True)
    call = asyncio.create_task(adaptor.workflows.send(request))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor, message=COMPLAINT)
    await adaptor.workflows.answered(request, await call, delivered=False)
    ((properties, body),) = await adaptor.queued()
    assert properties["late-response"] == "true"
    assert body == write_inbound_message(COMPLAINT)


@WAITED_FOR
async def test_a_reply_may_come_before_the_acknowledgement(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    """The state is there before anything is sent. Spec: 40 §6.5."""
    answered = asyncio.Event()
    spine.script(held(acknowledge, answered))
    adaptor = await start()
    call = asyncio.create_task(adaptor.send(interaction, wait=True))
    await spine.after(1)
    await reply_arrives(adaptor)
    answered.set()
    assert (await call).status == 200


async def test_a_reply_may_come_at_the_last_moment(start: StartAdaptor) -> None:
    """The wait ends in the transaction that looks once more. Spec: 50 F3."""
    adaptor = await start(resync_retries=0)
    transact = adaptor.context.store.transact
    looks = 0

    async def between_the_looks(work):  # type: ignore[no-untyped-def]
        nonlocal looks
        found = await transact(work)
        if work.__name__ == "look":
            looks += 1
            await reply_arrives(adaptor, tell=False)
        return found

    adaptor.context.store.transact = between_the_looks  # type: ignore[method-assign]
    assert (await adaptor.send(UPLOAD, wait=True)).status == 200
    assert looks == 1


async def test_f3_once_the_supplier_was_told_that_there_is_none_a_reply_is_late(start: StartAdaptor) -> None:
    """Before the answer leaves us the state says so: no reply can slip in between."""
    adaptor = await start(resync_retries=1, resync_interval=0.01)
    request = adaptor.request(UPLOAD, wait=True)
    told = await adaptor.workflows.send(request)
    assert told.body == b"No async response received from sync-async store"
    assert (await adaptor.row()).outbound_status in NO_LONGER_WAITED_FOR
    assert (await adaptor.row()).last_error == "No async response received from sync-async store"
    await adaptor.workflows.answered(request, told, delivered=True)
    assert await adaptor.statuses() == [RECEIVED, ACKD, RESPONDED]
    assert await adaptor.outcomes() == [ACKD, "no-reply"]


async def test_f3_a_reply_that_could_not_be_delivered_goes_to_the_queue(start: StartAdaptor) -> None:
    """Once, as a late one, and whoever waits for the queue is woken. Spec: 50 §2.7 last row."""
    adaptor = await start()
    request = adaptor.request(UPLOAD, wait=True)
    call = asyncio.create_task(adaptor.workflows.send(request))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor)
    told = await call

    async def first() -> object:
        return await adaptor.queued() or None

    consumer = asyncio.create_task(adaptor.context.arrivals.wait(first, seconds=60, interval=60))
    await asyncio.sleep(0)
    await adaptor.workflows.answered(request, told, delivered=False)
    ((properties, body),) = await consumer  # type: ignore[misc]
    assert properties == {"message-id": MESSAGE_ID, "correlation-id": CORRELATION_ID, "late-response": "true"}
    assert body == write_inbound_message(MESSAGE)
    assert (await adaptor.row()).outbound_status == FAILED
    assert await reply_of(adaptor) is None


async def test_f3_a_reply_to_a_message_that_was_refused_goes_to_the_queue(
    start: StartAdaptor, spine: StubSpine
) -> None:
    """A Spine that refuses a message and answers it is odd; its answer is not lost for that."""
    answered = asyncio.Event()
    spine.script(held(fault("300"), answered))
    adaptor = await start(contract=ONCE)
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True))
    await spine.after(1)
    await reply_arrives(adaptor)
    answered.set()
    assert (await call).status == 500
    ((properties, _),) = await adaptor.queued()
    assert properties["late-response"] == "true"
    assert (await adaptor.row()).outbound_status == RESPONDED


async def test_f3_a_reply_nobody_took_goes_to_the_queue_when_its_id_is_used_again(start: StartAdaptor) -> None:
    """The caller of the new message must not be given the answer to the old one."""
    adaptor = await start(resync_retries=1, resync_interval=0.01)
    request = adaptor.request(UPLOAD, wait=True)
    call = asyncio.create_task(adaptor.workflows.send(request))
    await adaptor.reaches(ACKD)
    await reply_arrives(adaptor)
    await call
    assert (await adaptor.send(UPLOAD, wait=True)).body == b"No async response received from sync-async store"
    assert len(await adaptor.queued()) == 1


async def test_the_patience_of_a_caller_is_that_of_the_settings(start: StartAdaptor) -> None:
    """Delay and looks; the state tells other processes when it ends at the latest."""
    adaptor = await start(resync_initial_delay=3.0, resync_retries=20, resync_interval=1.0)
    waited: list[float] = []

    async def wait(message_id: str, find: object, *, seconds: float, interval: float, patient: bool) -> None:
        assert patient
        waited.extend((seconds, interval))

    adaptor.context.replies.wait = wait  # type: ignore[method-assign,assignment]
    acknowledged = asyncio.Event()
    adaptor.spine.script(held(acknowledge, acknowledged))
    call = asyncio.create_task(adaptor.send(UPLOAD, wait=True))
    await adaptor.spine.after(1)
    row = await adaptor.row()
    assert row.waits_until is not None
    # Attempts by contract, and then the reply.
    assert row.waits_until > row.created + timedelta(seconds=300 + 23)
    acknowledged.set()
    await call
    assert waited == [23.0, 1.0]
    row = await adaptor.row()
    assert row.waits_until is not None
    # No more attempts now.
    assert timedelta(seconds=23) < row.waits_until - row.created < timedelta(seconds=300)


@WAITED_FOR
async def test_once_the_spine_has_the_message_it_is_known_until_when_its_caller_waits(
    start: StartAdaptor, interaction: Interaction
) -> None:
    """In the very transaction that says so: from then on a process may die at any moment. Spec: 50 A3."""
    adaptor = await start(resync_retries=20, resync_interval=1.0, late_reply_grace=7.0)
    call = asyncio.create_task(adaptor.send(interaction, wait=True))
    await adaptor.reaches(ACKD)
    row = await adaptor.row()
    assert row.waits_until == row.history[-1].at + timedelta(seconds=27)
    await reply_arrives(adaptor)
    await call


async def test_who_does_not_wait_has_no_patience(start: StartAdaptor) -> None:
    adaptor = await start()
    await adaptor.send(UPLOAD)
    row = await adaptor.row()
    assert (row.workflow, row.waits_until) == ("async-reliable", None)
    assert row.digest == ""


async def test_many_wait_at_once(start: StartAdaptor) -> None:
    """Each gets its own reply. Spec: 50 A4."""
    adaptor = await start(resync_interval=30.0)
    requests = [adaptor.request(UPLOAD, wait=True, message_id=f"M{number}") for number in range(200)]
    calls = [asyncio.create_task(adaptor.workflows.send(request)) for request in requests]
    for request in requests:
        await adaptor.reaches(ACKD, request.message_id)
    for request in requests:
        await reply_arrives(adaptor, request.message_id, InboundMessage("", f"<{request.message_id}/>"))
    answers = await asyncio.gather(*calls)
    assert [answer.body.decode() for answer in answers] == [f"<{request.message_id}/>" for request in requests]
