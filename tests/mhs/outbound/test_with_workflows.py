"""The REST face with the real workflows behind it, a store on disk, and a Spine that does as it is told.

Spec: 50 §1.4, §1.5, §2.7; F3, F4, F19, F20.
"""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mhs.outbound.posting import BODY, HEADERS, Face, Got, face, request_bytes
from mhs.stub_spine import PATIENCE, StubSpine, acknowledge, answer, fault, refuse
from mhs.workflows.adaptor import ONCE, StartAdaptor
from mhs.workflows.conftest import spine, start  # noqa: F401 fixtures
from openscr.identifiers import utc_now
from openscr.mhs.queue_message import InboundMessage, write_inbound_message
from openscr.mhs.store.interface import ReplyRow, Transaction
from openscr.mhs.store.sqlite import SqliteMhsStore

UPLOAD = "REPC_IN150016UK05"


@pytest.fixture
async def served(start: StartAdaptor, tmp_path: Path) -> AsyncIterator[Face]:  # noqa: F811
    """A port whose reliable messages are sent once."""
    adaptor = await start(store=SqliteMhsStore(tmp_path / "mhs.db"), contract=ONCE)
    async with face(adaptor=adaptor.context, workflows=adaptor.workflows) as running:
        yield running


async def upload(served: Face, **changes: Any) -> Got:
    return await served.post(**{"interaction_id": UPLOAD, "message_id": "M1", **changes})


async def until(served: Face, status: str) -> dict[str, object]:
    """Ask for the message until it has a status."""
    async with asyncio.timeout(PATIENCE):
        while (told := (await served.ask("GET", "/messages/M1")).json)["OUTBOUND_STATUS"] != status:
            pass
    return told


async def test_f20_a_fault_of_the_spine_as_text_and_as_a_problem(served: Face, spine: StubSpine) -> None:  # noqa: F811
    spine.script(fault("300"))
    text = await upload(served)
    assert (text.status, text.headers["content-type"]) == (500, "text/plain")
    problem = await upload(served, accept="application/problem+json")
    assert (problem.status, problem.headers["content-type"]) == (500, "application/problem+json")
    assert problem.json["errors"] == text.json["errors"]
    assert problem.json["process_key"] == text.json["process_key"] == "SOAP_ERROR_HANDLER0002"
    assert problem.json["detail"] == text.json["error_message"]


async def test_f4_a_repeated_upload_reaches_the_spine_once(served: Face, spine: StubSpine) -> None:  # noqa: F811
    for _ in range(3):
        got = await upload(served, idempotency="strict")
        assert (got.status, got.body) == (202, b"")
    changed = await upload(served, body=b'{"payload": "y"}', idempotency="strict")
    assert changed.status == 409
    assert len(spine.received) == 1
    assert (await until(served, "OUTBOUND_MESSAGE_ACKD"))["LAST_ERROR"] is None


async def test_f4_a_repeated_refusal_is_the_first_one(served: Face, spine: StubSpine) -> None:  # noqa: F811
    spine.script(refuse(), acknowledge)
    first = await upload(served, idempotency="strict")
    again = await upload(served, idempotency="strict")
    assert first.status == 500
    assert (again.status, again.body) == (first.status, first.body)
    assert len(spine.received) == 1


async def test_f4_the_first_answer_outlives_the_process(start: StartAdaptor, tmp_path: Path, spine: StubSpine) -> None:  # noqa: F811
    store = tmp_path / "mhs.db"
    for _ in range(2):
        adaptor = await start(store=SqliteMhsStore(store))
        async with face(adaptor=adaptor.context, workflows=adaptor.workflows) as running:
            assert (await upload(running, idempotency="strict")).status == 202
            await adaptor.workflows.stop()
    assert len(spine.received) == 1


async def test_f19_a_message_whose_attempts_have_failed_is_sent_again(
    served: Face,
    spine: StubSpine,  # noqa: F811
) -> None:
    spine.script(answer(503, b"down", "text/plain"), acknowledge)
    assert (await upload(served)).status == 500
    failed = (await served.ask("GET", "/messages/M1")).json
    assert failed["OUTBOUND_STATUS"] in ("OUTBOUND_MESSAGE_NACKD", "OUTBOUND_MESSAGE_TRANSMISSION_FAILED")
    assert failed["LAST_ERROR"]
    assert (await served.ask("POST", "/messages/M1/resend")).status == 202
    first, second = await spine.after(2)
    assert first.body == second.body
    sent = await until(served, "OUTBOUND_MESSAGE_ACKD")
    assert sent["LAST_ERROR"] is None
    history: Any = sent["HISTORY"]
    assert [each["STATUS"] for each in history][-2:] == ["OUTBOUND_MESSAGE_RECEIVED", "OUTBOUND_MESSAGE_ACKD"]
    assert (await served.ask("POST", "/messages/M1/resend")).status == 409


async def test_f3_the_reply_of_a_caller_who_has_gone_is_for_the_queue(served: Face, spine: StubSpine) -> None:  # noqa: F811
    context = served.context
    reader, writer = await served.connect()
    headers = {**HEADERS, "Interaction-Id": UPLOAD, "wait-for-response": "true", "Message-Id": "M1"}
    writer.write(request_bytes("POST", "/", {**headers, "Content-Length": str(len(BODY))}) + BODY)
    await until(served, "OUTBOUND_MESSAGE_ACKD")
    writer.close()
    assert await reader.read() == b""
    # Whoever is answered now has come after the end of that connection.
    assert (await served.ask("GET", "/nowhere")).status == 404

    async def reply(transaction: Transaction) -> None:
        body = write_inbound_message(InboundMessage("<SOAP/>", "<reply/>"))
        await transaction.put_reply(ReplyRow("M1", "C1", body, utc_now()))

    await context.store.transact(reply)
    context.replies.arrived("M1")
    await until(served, "OUTBOUND_SYNC_ASYNC_MESSAGE_FAILED_TO_RESPOND")
    (leased,) = await context.store.lease_queue(utc_now(), utc_now(), 10)
    assert (leased.message.message_id, leased.message.late) == ("M1", True)
