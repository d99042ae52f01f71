"""Answers to queries: one attempt, no acknowledgement needed, nothing kept. Spec: 40 §6.4 (column express), §7.2."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from delivery.rows import NOON, SLOT, FakeClock, an_id, directory
from delivery.test_outbox import MemoryCarrier, acknowledgment
from openscr.codes import ACKNOWLEDGEMENT, DOCUMENT_QUERIES, QUERY_FAILED
from openscr.delivery.answers import ReplyAddress, express_row, is_express
from openscr.delivery.carrier import HttpAnswer
from openscr.delivery.outbox import Outbox, next_state, reopen
from openscr.directory.model import Contract, CurrentDirectory, Directory, Endpoint
from openscr.errors import EBXML_ERRORS
from openscr.spine import Outcome
from openscr.store.interface import OutboxRow, OutboxState, Store, Transaction
from openscr.store.sqlite import SqliteStore
from openscr.testbench.world import OWN_ASID, PRACTICE_PARTY
from openscr.transport.ebxml import Reliability, check_reliability, read_envelope, write_message_error
from openscr.transport.mime import read_multipart
from openscr.transport.soap import write_fault
from openscr.transport.verdict import AttemptResult, Verdict, judge_express
from openscr.transport.xml import read_xml

LIST = "QUPC_IN160102UK05"
PAYLOAD = b'<QUPC_IN160102UK05 xmlns="urn:hl7-org:v3"><secret/></QUPC_IN160102UK05>'


def world(*, registered: bool = True) -> Directory:
    """The usual directory, in which the practice takes answers to queries by a contract that would allow retries."""
    usual = directory()
    contract = Contract("client", retries=5, retry_interval=0.0, persist_duration=3600.0)
    answers = Endpoint(PRACTICE_PARTY, "psisquery", (LIST, QUERY_FAILED), "S90001A000001", "memory:", contract)
    return Directory(
        parties=usual.parties.values(),
        systems=usual.systems.values(),
        endpoints=(*usual.endpoints, answers) if registered else usual.endpoints,
    )


def a_row(where: Directory, number: int = 1, interaction: str = LIST) -> OutboxRow:
    address = ReplyAddress(
        slot=SLOT,
        to_party=PRACTICE_PARTY,
        service="psisquery",
        interaction="QUPC_IN160101UK05",
        conversation_id="a conversation",
        ref_to_message_id=an_id(10_000 + number).lower(),
        reference=an_id(20_000 + number),
        receiver_asid="200000000115",
        sender_asid=OWN_ASID,
    )
    return express_row(address, interaction, PAYLOAD, Outcome(), where, an_id(number), NOON)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = SqliteStore(tmp_path / "openscr.db")
    await opened.open()
    yield opened
    await opened.close()


async def deliver(store: Store, row: OutboxRow, answering: Callable[[str], HttpAnswer]) -> MemoryCarrier:
    """Keep a row, run an outbox until its attempt is over."""

    async def keep(transaction: Transaction) -> None:
        await transaction.append_outbox(row)

    await store.transact(SLOT, keep)
    carrier = MemoryCarrier(answering)
    outbox = Outbox(store, CurrentDirectory(world()), {"memory": carrier}, clock=FakeClock(), poll=0.01)
    outbox.submit(row)
    await carrier.has_sent(1)
    await outbox.stop(5)
    return carrier


def test_the_row_is_an_express_message() -> None:
    row = a_row(world())
    multipart = read_multipart(row.content_type, row.body)
    envelope = read_envelope(read_xml(multipart.root.content(row.body)))
    assert check_reliability(envelope, Reliability.EXPRESS) == ()
    assert (envelope.action, envelope.short_service, envelope.message_id) == (LIST, "psisquery", an_id(1))
    assert (envelope.ref_to_message_id, envelope.conversation_id) == (an_id(10_001).lower(), "a conversation")
    assert row.soap_action == f"urn:nhs:names:services:psisquery/{LIST}"
    assert b"The HL7 Payload" in multipart.root.content(row.body)
    assert multipart.parts[1].content(row.body) == PAYLOAD
    for interaction in (*DOCUMENT_QUERIES.values(), QUERY_FAILED, ACKNOWLEDGEMENT):
        assert is_express(a_row(world(), interaction=interaction))
    assert not is_express(replace(row, service="psis", interaction=ACKNOWLEDGEMENT))


def test_without_an_endpoint_nothing_of_the_answer_is_kept() -> None:
    row = a_row(world(registered=False))
    assert (row.state, row.body, row.content_type) == (OutboxState.UNDELIVERABLE, b"", "")
    assert b"secret" not in row.answer
    assert json.loads(row.answer)["interaction"] == "QUPC_IN160101UK05"


def message_error(message_id: str) -> HttpAnswer:
    body = write_message_error(
        from_party=PRACTICE_PARTY,
        to_party="YES-0000806",
        cpa_id="c",
        conversation_id="c",
        message_id=an_id(7),
        timestamp="2026-07-01T12:00:00Z",
        ref_to_message_id=message_id,
        errors=(EBXML_ERRORS["to_party"],),
    )
    return HttpAnswer(200, body)


@pytest.mark.parametrize(
    "answering",
    [
        lambda _: HttpAnswer(200, b""),
        lambda _: HttpAnswer(202, b""),
        lambda _: HttpAnswer(202, b"<p>Thanks!</p>"),
        acknowledgment,
        lambda _: acknowledgment(an_id(99)),
    ],
)
async def test_any_friendly_answer_will_do(store: Store, answering: Callable[[str], HttpAnswer]) -> None:
    """Empty, or an acknowledgement that nobody asked for: the message is delivered. Spec: 40 §7.2 step 4."""
    carrier = await deliver(store, a_row(world()), answering)
    assert carrier.sent == [an_id(1)]
    assert await store.list_outbox() == []


@pytest.mark.parametrize(
    ("answering", "reason"),
    [
        (lambda _: HttpAnswer(500, b""), "HTTP 500"),
        (lambda _: HttpAnswer(503, b"busy"), "HTTP 503"),
        (lambda _: HttpAnswer(404, b""), "HTTP 404"),
        (lambda _: HttpAnswer(500, write_fault([("200", None)])), "SOAP fault 200"),
        (message_error, "MessageError ValueNotRecognized"),
    ],
)
async def test_anything_else_ends_it(store: Store, answering: Callable[[str], HttpAnswer], reason: str) -> None:
    """Even what a reliable message would be repeated for. Nothing of the answer stays. Spec: 40 §6.4, §7.2."""
    carrier = await deliver(store, a_row(world()), answering)
    assert carrier.sent == [an_id(1)]
    (left,) = await store.list_outbox()
    assert (left.state, left.attempts, left.body, left.last_error) == (OutboxState.FAILED, 1, b"", reason)
    assert left.next_attempt_at is None
    assert (await store.verify()).intact


async def test_what_was_not_kept_is_not_sent_again(store: Store) -> None:
    """An operator may reopen the row; then it says why it cannot go. Spec: 40 §6.3 step 5."""
    await deliver(store, a_row(world()), lambda _: HttpAnswer(500, b""))
    (left,) = await store.list_outbox()
    again = reopen(left, NOON + timedelta(hours=1))
    await store.change_outbox(again)
    carrier = MemoryCarrier()
    outbox = Outbox(store, CurrentDirectory(world()), {"memory": carrier}, clock=FakeClock(), poll=0.01)
    await outbox._attempt(again)
    (row,) = await store.list_outbox()
    assert (row.state, carrier.sent) == (OutboxState.FAILED, [])
    assert row.last_error == "the answer was not kept; the query has to be asked again"


async def test_a_later_refusal_takes_the_answer_along(store: Store) -> None:
    """Spec: 40 §6.3 step 3."""
    row = a_row(world())

    async def keep(transaction: Transaction) -> None:
        await transaction.append_outbox(row)

    await store.transact(SLOT, keep)
    outbox = Outbox(store, CurrentDirectory(world()), {}, clock=FakeClock())
    assert await outbox.refused(row.id, None)
    (left,) = await store.list_outbox()
    assert (left.state, left.body) == (OutboxState.FAILED, b"")


def test_no_contract_brings_a_second_attempt() -> None:
    row = a_row(world())
    contract = Contract("generous", retries=9, retry_interval=0.0, persist_duration=9999.0)
    for verdict in (Verdict.RETRY, Verdict.REFUSED):
        after = next_state(row, AttemptResult(verdict, "why"), contract, NOON, NOON)
        spent = replace(row, state=OutboxState.FAILED, body=b"", next_attempt_at=None)
        assert after == replace(spent, attempts=1, first_attempt_at=NOON, last_error="why")


def test_verdicts_are_final() -> None:
    for status in range(200, 600):
        assert judge_express(status, b"").verdict is (Verdict.DELIVERED if status < 300 else Verdict.REFUSED)
