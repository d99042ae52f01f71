"""Reliable messages: stored first, sent until the Spine has them. Spec: 50 §2.3, §2.4, F5, F11."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest

from mhs.rig import RELIABLE, TestClock
from mhs.stub_spine import (
    PATIENCE,
    Behaviour,
    StubSpine,
    accept,
    acknowledge,
    answer,
    break_off,
    fault,
    held,
    refuse,
    silence,
)
from mhs.workflows.adaptor import EXPRESS, FORWARD, MESSAGE_ID, SHORTLY, UPLOAD, Adaptor, StartAdaptor, until
from openscr.errors import StoreFull
from openscr.mhs.exchange import Answer
from openscr.mhs.interactions import Interaction
from openscr.mhs.states import InboundStatus, OutboundStatus
from openscr.mhs.store.interface import SendState, Store, Transaction
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.sqlite import SqliteMhsStore
from openscr.mhs.workflows import reliable
from openscr.mhs.workflows.reliable import LEASE
from openscr.transport.ebxml import read_signal
from openscr.transport.xml import read_xml

RECEIVED = "OUTBOUND_MESSAGE_RECEIVED"
ACKD = "OUTBOUND_MESSAGE_ACKD"
NACKD = "OUTBOUND_MESSAGE_NACKD"
TRANSMISSION_FAILED = "OUTBOUND_MESSAGE_TRANSMISSION_FAILED"
RELIABLY = pytest.mark.parametrize("interaction", [UPLOAD, FORWARD], ids=lambda each: each.workflow)


async def sending(adaptor: Adaptor) -> Any:
    async def work(transaction: Transaction) -> Any:
        return await transaction.find_sending(MESSAGE_ID)

    return await adaptor.context.store.transact(work)


@pytest.mark.parametrize("term", ["retry_interval", "persist_duration"])
async def test_a_contract_of_absurd_times_ends_as_others_do(start: StartAdaptor, spine: StubSpine, term: str) -> None:
    """A time that reaches beyond every calendar is cut: nobody waits for ever, nothing is sent without an end."""
    spine.script(fault("200"))
    adaptor = await start(contract=replace(SHORTLY, **{term: 1e15}))
    assert (await adaptor.send(UPLOAD)).status == 500
    assert (await adaptor.statuses())[-1] == NACKD
    assert len(spine.received) == (1 if term == "retry_interval" else 3)


async def test_whoever_waits_is_told_what_the_spine_has_taken_though_the_store_is_full(
    start: StartAdaptor, spine: StubSpine
) -> None:
    """Its record is made up for: the message stays to be sent, and the Spine knows it. Spec: 40 §6.5."""
    clock = TestClock()
    adaptor = await start(clock=clock)
    transact = adaptor.context.store.transact
    full = True

    async def without_room(work):  # type: ignore[no-untyped-def]
        if full and "_end" in work.__qualname__:
            raise StoreFull("no space left")
        return await transact(work)

    adaptor.context.store.transact = without_room  # type: ignore[method-assign]
    async with asyncio.timeout(PATIENCE):
        assert await adaptor.send(UPLOAD) == Answer(202)
    assert await adaptor.statuses() == [RECEIVED]
    full = False
    clock.move(LEASE.total_seconds())
    await adaptor.reaches(ACKD)
    assert [each.body for each in spine.received] == [spine.received[0].body] * 2


@RELIABLY
async def test_f11_who_waits_for_later_attempts_is_let_go_when_the_adaptor_stops(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    """The message is stored and will be sent: 202 and not 503, or its supplier would send it once more anew."""
    spine.script(fault("200"))
    adaptor = await start()
    call = asyncio.create_task(adaptor.send(interaction))

    async def tried() -> bool:
        row = await sending(adaptor)
        return row is not None and row.attempts == 1

    await until(tried)
    adaptor.workflows.let_go()
    async with asyncio.timeout(PATIENCE):
        assert await call == Answer(202)
    assert (await sending(adaptor)).state is SendState.OPEN


async def test_f11_an_attempt_under_way_is_waited_for_when_the_adaptor_stops(
    start: StartAdaptor, spine: StubSpine
) -> None:
    answered = asyncio.Event()
    spine.script(held(refuse(), answered))
    adaptor = await start()
    call = asyncio.create_task(adaptor.send(UPLOAD))
    await spine.after(1)
    adaptor.workflows.let_go()
    await asyncio.sleep(0)
    answered.set()
    assert (await call).status == 500


# --- by contract ------------------------------------------------------------------------------------------------------

PASSING: dict[str, Behaviour] = {
    "fault 206": fault("206"),
    "fault 200": fault("200"),
    "fault 208": fault("208"),
    "several of them": fault("200", "206"),
    "silence": silence,
    "broken off": break_off,
    "a 500 without a body": answer(500),
    "a 503 of somebody else": answer(503, b"busy", "text/plain"),
}
FINAL: dict[str, Behaviour] = {
    "fault 300": fault("300"),
    "one code that is final": fault("200", "300"),
    "MessageError": refuse(),
    "not found": answer(404),
    "something else": answer(200, b"<html/>"),
}


@RELIABLY
@pytest.mark.parametrize("failing", PASSING.values(), ids=PASSING)
async def test_what_may_pass_is_tried_again_with_the_same_bytes(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction, failing: Behaviour
) -> None:
    """Twice refused, then taken: 202 and ACKD; the supplier's call stays open. Spec: 50 §2.3, 40 §6.4."""
    spine.script(failing, failing, acknowledge)
    adaptor = await start(contract=SHORTLY, async_timeout=0.2)
    assert await adaptor.send(interaction) == Answer(202)
    assert [each.body for each in spine.received] == [spine.received[0].body] * 3
    assert await adaptor.statuses() == [RECEIVED, ACKD]
    assert (await adaptor.row()).last_error == ""
    assert await sending(adaptor) is None
    figures = generate_latest(adaptor.context.figures.registry).decode()
    assert f'mhs_retries_total{{workflow="{interaction.workflow}"}} 2.0' in figures


@RELIABLY
@pytest.mark.parametrize("failing", FINAL.values(), ids=FINAL)
async def test_what_is_final_is_not_tried_again(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction, failing: Behaviour
) -> None:
    spine.script(failing)
    adaptor = await start(contract=SHORTLY)
    assert (await adaptor.send(interaction)).status == 500
    assert len(spine.received) == 1
    assert await adaptor.statuses() == [RECEIVED, NACKD]


@RELIABLY
async def test_after_the_last_attempt_the_last_answer_is_told(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    """One attempt and as many more as the contract says. What was sent is kept, so that it can be sent again."""
    spine.script(fault("200"), fault("200"), fault("206"), acknowledge)
    adaptor = await start(contract=SHORTLY)
    told = await adaptor.send(interaction)
    assert told.document is not None
    assert [error["errorCode"] for error in told.document["errors"]] == ["206"]
    assert len(spine.received) == 3
    assert await adaptor.statuses() == [RECEIVED, NACKD]
    kept = await sending(adaptor)
    assert (kept.state, kept.attempts, kept.body) == (SendState.FAILED, 3, spine.received[0].body)
    assert await adaptor.queued() == [], "the supplier has heard of it"


async def test_no_attempt_begins_after_the_persist_duration(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(fault("200"))
    adaptor = await start(contract=replace(SHORTLY, retries=9, persist_duration=0.005))
    await adaptor.send(UPLOAD)
    assert len(spine.received) == 1


async def test_an_empty_202_acknowledges_no_reliable_message(start: StartAdaptor, spine: StubSpine) -> None:
    """It is sent again; of a forwarded message the acknowledgement may come later. Spec: 50 F8, 40 §6.4, §7.5."""
    spine.script(accept, acknowledge)
    adaptor = await start(contract=SHORTLY)
    assert await adaptor.send(UPLOAD) == Answer(202)
    assert len(spine.received) == 2
    spine.received.clear()
    spine.script(accept)
    assert await adaptor.send(FORWARD) == Answer(202)
    assert len(spine.received) == 1
    assert await adaptor.send(UPLOAD) == Answer(500, b"Unable to handle response returned from Spine", "text/plain")


@pytest.mark.parametrize("behaviour", [silence, break_off, fault("200")], ids=["silence", "broken off", "fault"])
async def test_f5_an_express_message_is_not_sent_again(
    start: StartAdaptor, spine: StubSpine, behaviour: Behaviour
) -> None:
    """Nobody eliminates its duplicates."""
    spine.script(behaviour, acknowledge)
    adaptor = await start(contract=SHORTLY, async_timeout=0.2)
    assert (await adaptor.send(EXPRESS)).status == 500
    assert len(spine.received) == 1


async def test_f5_unless_that_is_wanted(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(break_off, acknowledge)
    adaptor = await start(retry_unsafe=True)
    assert (await adaptor.send(EXPRESS)).status == 202
    assert len(spine.received) == 2


# --- F11: stored, and sent in the background --------------------------------------------------------------------------


@RELIABLY
async def test_f11_a_message_is_stored_before_it_is_sent(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    """While the Spine has not answered, the store holds exactly what it was sent."""
    answered = asyncio.Event()
    spine.script(held(acknowledge, answered))
    adaptor = await start()
    call = asyncio.create_task(adaptor.send(interaction))
    (received,) = await spine.after(1)
    kept = await sending(adaptor)
    assert (kept.state, kept.address, kept.body) == (SendState.OPEN, spine.url, received.body)
    assert dict(kept.headers).items() <= dict(received.headers).items()
    assert (kept.retries, kept.retry_interval, kept.persist_duration) == (2, 60.0, 300.0)
    assert (await adaptor.row()).outbound_status == RECEIVED
    answered.set()
    assert await call == Answer(202)
    assert await sending(adaptor) is None


async def test_f11_respond_async_is_answered_at_once(start: StartAdaptor, spine: StubSpine) -> None:
    answered = asyncio.Event()
    spine.script(held(acknowledge, answered))
    adaptor = await start()
    assert await adaptor.send(UPLOAD, respond_async=True) == Answer(202)
    assert await adaptor.statuses() == [RECEIVED]
    await spine.after(1)
    answered.set()
    await adaptor.reaches(ACKD)
    assert await adaptor.outcomes() == [RECEIVED, ACKD]
    assert await adaptor.queued() == []


async def test_f11_a_supplier_waits_no_longer_than_the_setting_says(start: StartAdaptor, spine: StubSpine) -> None:
    """It is told that the message is accepted; a later failure comes by the queue."""
    spine.script(fault("200"), refuse())
    adaptor = await start(contract=replace(SHORTLY, retry_interval=0.2), send_wait=0.05)
    assert await adaptor.send(UPLOAD) == Answer(202)
    await adaptor.reaches(NACKD)
    ((properties, body),) = await adaptor.queued()
    assert properties["message-id"] == MESSAGE_ID
    told = json.loads(body)
    assert (told["payload"], told["attachments"], told["external_attachments"]) == ("", [], [])
    signal = read_signal(read_xml(told["ebXML"].encode()))
    assert signal is not None
    assert (signal.kind, signal.ref_to_message_id) == ("MessageError", MESSAGE_ID)
    assert [error.code for error in signal.errors] == ["ValueNotRecognized"], "the Spine's own words"


async def test_f11_a_delivery_that_fails_later_is_told_by_the_queue(start: StartAdaptor, spine: StubSpine) -> None:
    """Where the Spine has sent no MessageError we write one: DeliveryFailure. Spec: 40 §6.3 step 5."""
    spine.script(silence)
    adaptor = await start(contract=SHORTLY, async_timeout=0.1)
    assert await adaptor.send(UPLOAD, respond_async=True) == Answer(202)
    await adaptor.reaches(TRANSMISSION_FAILED)
    ((_, body),) = await adaptor.queued()
    signal = read_signal(read_xml(json.loads(body)["ebXML"].encode()))
    assert signal is not None
    assert [(error.code, error.description) for error in signal.errors] == [
        ("DeliveryFailure", "The message was not delivered: no answer in time")
    ]


async def test_f11_a_supplier_that_goes_away_stops_nothing(start: StartAdaptor, spine: StubSpine) -> None:
    """The call may end at any time; the message is sent all the same."""
    answered = asyncio.Event()
    spine.script(held(fault("200"), answered), acknowledge)
    adaptor = await start(contract=SHORTLY)
    call = asyncio.create_task(adaptor.send(UPLOAD))
    await spine.after(1)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    answered.set()
    await adaptor.reaches(ACKD)
    assert len(spine.received) == 2


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Store]:
    """Opens the same rows again and again, as one process after the other does."""
    memory = MemoryStore()
    if request.param == "memory":
        return lambda: memory
    return lambda: SqliteMhsStore(tmp_path / "mhs.db")


async def test_f11_attempts_survive_a_restart(
    start: StartAdaptor, spine: StubSpine, make_store: Callable[[], Store]
) -> None:
    """Between two attempts: the next process makes the next one, when it is due, with the same bytes."""
    clock = TestClock()
    spine.script(fault("200"))
    first = await start(store=make_store(), clock=clock)
    await first.send(UPLOAD, respond_async=True)

    async def tried() -> bool:
        row = await sending(first)
        return row is not None and row.attempts == 1

    await until(tried)
    await first.workflows.stop()
    await first.context.store.close()
    spine.script(acknowledge)
    second = await start(store=make_store(), clock=clock)
    clock.move(59)
    await second.send(EXPRESS, message_id="another")
    assert len(spine.received) == 2, "it is not due yet"
    clock.move(2)
    await second.reaches(ACKD)
    assert spine.received[2].body == spine.received[0].body
    assert await second.statuses() == [RECEIVED, ACKD]
    await second.context.store.close()


async def test_f11_an_attempt_under_way_when_a_process_ends_is_made_again(
    start: StartAdaptor, spine: StubSpine, make_store: Callable[[], Store]
) -> None:
    """Whether the Spine has the message nobody knows; it eliminates the duplicate. Spec: 50 A3."""
    clock = TestClock()
    spine.script(silence)
    first = await start(store=make_store(), clock=clock)
    call = asyncio.create_task(first.send(UPLOAD))
    await spine.after(1)
    call.cancel()
    first.workflows._sender._grace = 0.0
    await first.workflows.stop()
    await asyncio.gather(call, return_exceptions=True)
    await first.context.store.close()
    spine.script(acknowledge)
    second = await start(store=make_store(), clock=clock)
    clock.move(6)
    await second.reaches(ACKD)
    assert [each.body for each in spine.received] == [spine.received[0].body] * 2
    await second.context.store.close()


class Holding(MemoryStore):
    """A store that tells until when messages under way are held."""

    held_until: datetime | None = None

    async def hold_sendings(self, message_ids: Sequence[str], until: datetime) -> None:
        """Hold them, and tell."""
        await super().hold_sendings(message_ids, until)
        self.held_until = until


async def test_f11_two_processes_do_not_send_the_same_message(
    start: StartAdaptor, spine: StubSpine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What one is sending another leaves alone, however long that takes."""
    monkeypatch.setattr(reliable, "_POLL", 0.01)
    store, clock = Holding(), TestClock()
    answered = asyncio.Event()
    spine.script(held(acknowledge, answered), acknowledge)
    first = await start(store=store, clock=clock)
    second = await start(store=store, clock=clock)
    call = asyncio.create_task(first.send(UPLOAD))
    await spine.after(1)

    async def is_held() -> bool:
        return store.held_until == clock() + LEASE

    for _ in range(3):
        await until(is_held)
        clock.move(0.8 * LEASE.total_seconds())
        assert await second.context.store.lease_sendings(clock(), clock(), 10) == []
    answered.set()
    assert await call == Answer(202)
    assert len(spine.received) == 1


async def test_word_from_the_spine_by_another_way_ends_the_attempts(start: StartAdaptor, spine: StubSpine) -> None:
    """An acknowledgement posted later ends the supplier's waiting, too. Spec: 50 F9, 40 §7.5."""
    spine.script(accept)
    adaptor = await start(contract=RELIABLE)
    call = asyncio.create_task(adaptor.send(UPLOAD))

    async def tried() -> bool:
        row = await sending(adaptor)
        return row is not None and row.attempts == 1

    await until(tried)

    async def acknowledged(transaction: Transaction) -> None:
        row = await transaction.find_message(MESSAGE_ID)
        assert row is not None
        await transaction.put_message(replace(row, outbound_status=OutboundStatus.ACKD))

    await adaptor.context.store.transact(acknowledged)
    assert await call == Answer(202)


async def test_a_refusal_by_another_way_ends_the_attempts(start: StartAdaptor, spine: StubSpine) -> None:
    """Whoever took it in has told the supplier: nothing is queued twice. Spec: 50 F9."""
    clock = TestClock()
    spine.script(accept)
    adaptor = await start(clock=clock)
    await adaptor.send(UPLOAD, respond_async=True)

    async def tried() -> bool:
        row = await sending(adaptor)
        return row is not None and row.attempts == 1

    await until(tried)

    async def refused(transaction: Transaction) -> None:
        row = await transaction.find_message(MESSAGE_ID)
        assert row is not None
        await transaction.put_message(replace(row, outbound_status=OutboundStatus.NACKD, last_error="MessageError"))

    await adaptor.context.store.transact(refused)
    clock.move(61)

    async def given_up() -> bool:
        row = await sending(adaptor)
        return row is not None and row.state is SendState.FAILED

    await until(given_up)
    assert len(spine.received) == 1
    assert await adaptor.queued() == []


async def test_a_reply_is_as_good_as_an_acknowledgement(start: StartAdaptor, spine: StubSpine) -> None:
    """Who has answered a message has it: it is not sent again. Spec: 40 §6.5."""
    clock = TestClock()
    spine.script(fault("200"))
    adaptor = await start(clock=clock)
    await adaptor.send(UPLOAD, respond_async=True)

    async def tried() -> bool:
        row = await sending(adaptor)
        return row is not None and row.attempts == 1

    await until(tried)

    async def answered(transaction: Transaction) -> None:
        row = await transaction.find_message(MESSAGE_ID)
        assert row is not None
        await transaction.put_message(replace(row, inbound_status=InboundStatus.PROCESSED))

    await adaptor.context.store.transact(answered)
    clock.move(61)
    await adaptor.reaches(ACKD)
    assert len(spine.received) == 1
    assert await sending(adaptor) is None


async def test_f19_a_message_that_was_given_up_can_be_sent_again(start: StartAdaptor, spine: StubSpine) -> None:
    """Same id, same bytes, a new run of attempts. Spec: 50 F19, 40 §6.3 step 5."""
    spine.script(fault("300"), acknowledge)
    adaptor = await start()
    await adaptor.send(UPLOAD)

    async def reopen(transaction: Transaction) -> None:
        row = await transaction.find_sending(MESSAGE_ID)
        message = await transaction.find_message(MESSAGE_ID)
        assert row is not None
        assert message is not None
        await transaction.put_sending(
            replace(row, state=SendState.OPEN, attempts=0, next_attempt_at=adaptor.context.clock())
        )
        await transaction.put_message(replace(message, outbound_status=OutboundStatus.RECEIVED))

    await adaptor.context.store.transact(reopen)
    await adaptor.reaches(ACKD)
    assert spine.received[0].body == spine.received[1].body


async def test_a_message_that_takes_the_place_of_another(start: StartAdaptor, spine: StubSpine) -> None:
    """Of two with one id the later one counts; what comes of the earlier one changes nothing. Spec: 50 §2."""
    answered = asyncio.Event()
    spine.script(held(refuse(), answered), acknowledge)
    adaptor = await start()
    earlier = asyncio.create_task(adaptor.workflows.send(adaptor.request(UPLOAD, payload="<earlier/>")))
    await spine.after(1)
    assert await adaptor.send(UPLOAD, payload="<later/>") == Answer(202)
    answered.set()
    assert await earlier == Answer(202)
    assert await adaptor.statuses() == [RECEIVED, ACKD]
    assert [each.payload for each in spine.received] == [b"<earlier/>", b"<later/>"]


async def test_many_at_once(start: StartAdaptor, spine: StubSpine) -> None:
    """Three hundred messages over no more connections than are allowed; each is sent once. Spec: 50 F6."""
    adaptor = await start()
    requests = [adaptor.request(UPLOAD, message_id=f"M{number}") for number in range(300)]
    answers = await asyncio.gather(*(adaptor.workflows.send(request) for request in requests))
    assert answers == [Answer(202)] * 300
    assert sorted(each.header("Message-Id") for each in spine.received) == sorted(each.message_id for each in requests)
