"""F4, outbound: one Message-Id is one message, for those who ask for it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from mhs.outbound.posting import Face, Got, face
from mhs.rig import context
from openscr.errors import StoreUnavailable
from openscr.mhs.exchange import JSON, TEXT, Answer
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.memory import MemoryStore

T = TypeVar("T")

REUSED = "409: This Message-Id was used before for another request; give each message its own"
UNKNOWN = "409: This message was received before and its first answer is not known; see GET /messages/{Message-Id}"


async def strictly(served: Face, body: bytes = b'{"payload": "x"}', **headers: Any) -> Got:
    return await served.post(body, **{"message_id": "M1", "idempotency": "strict", **headers})


async def test_f4_the_same_request_gets_the_first_answer_again() -> None:
    async with face() as served:
        served.exchanges.answer = Answer(200, b"<first/>")
        first = await strictly(served, correlation_id="C1")
        served.exchanges.answer = Answer(200, b"<second/>")
        again = await strictly(served, correlation_id="C2")
        assert (again.status, again.body, again.headers["content-type"]) == (200, b"<first/>", "text/xml")
        assert again.headers["message-id"] == first.headers["message-id"] == "M1"
        assert len(served.exchanges.asked) == 1
        assert len(served.exchanges.told) == 1, "the second caller got no answer of an exchange"


async def test_f4_an_error_is_an_answer_too_with_its_document() -> None:
    body = b'{"error_message": "E", "process_key": "K", "errors": [{"errorCode": "200"}]}'
    async with face() as served:
        served.exchanges.answer = Answer(500, body, TEXT, {"error_message": "E", "errors": [{"errorCode": "200"}]})
        assert (await strictly(served)).body == body
        assert (await strictly(served)).body == body
        problem = (await strictly(served, accept="application/json")).json
        assert (problem["detail"], problem["errors"]) == ("E", [{"errorCode": "200"}])
        assert len(served.exchanges.asked) == 1


async def test_f4_an_error_of_the_spines_own_is_no_document_of_ours() -> None:
    async with face() as served:
        served.exchanges.answer = Answer(418, b'{"status": 1, "code": 2, "errors": 3}', JSON)
        await strictly(served)
        problem = (await strictly(served, accept="application/json")).json
        assert (problem["status"], problem["detail"]) == (418, '{"status": 1, "code": 2, "errors": 3}')


@pytest.mark.parametrize("other", [{"body": b'{"payload": "y"}'}, {"interaction_id": "REPC_IN150016UK05"}])
async def test_f4_another_request_with_the_same_id_is_a_conflict(other: dict[str, Any]) -> None:
    async with face() as served:
        await strictly(served)
        got = await strictly(served, **other)
        assert (got.status, got.text) == (409, REUSED)
        assert got.headers["content-type"] == "text/plain"
        assert len(served.exchanges.asked) == 1


async def test_f4_without_the_header_a_message_is_sent_again() -> None:
    """As the reference does. Spec: 50 §2."""
    async with face() as served:
        for _ in range(2):
            assert (await strictly(served, idempotency=None)).status == 202
        assert len(served.exchanges.asked) == 2


async def test_f4_a_setting_makes_every_request_strict() -> None:
    async with face(idempotency="strict") as served:
        for _ in range(2):
            assert (await strictly(served, idempotency=None)).status == 202
        assert (await strictly(served, b'{"payload": "y"}', idempotency=None)).text == REUSED
        assert len(served.exchanges.asked) == 1


async def test_f4_requests_at_once_share_one_answer() -> None:
    async with face() as served:
        served.exchanges.go.clear()
        calls = [asyncio.create_task(strictly(served)) for _ in range(5)]
        await served.exchanges.begun.wait()
        other = await strictly(served, b'{"payload": "y"}')
        served.exchanges.answer = Answer(200, b"<only/>")
        served.exchanges.go.set()
        assert {(await call).body for call in calls} == {b"<only/>"}
        assert other.text == REUSED
        assert len(served.exchanges.asked) == 1


async def test_f4_after_a_first_request_that_came_to_no_answer_nothing_is_sent() -> None:
    """It broke off, or the process died: the Spine may have the message."""
    async with face() as served:
        served.exchanges.answer = RuntimeError("broken off")
        assert (await strictly(served)).text == "500: Internal Server Error"
        served.exchanges.answer = Answer(202)
        assert (await strictly(served)).text == UNKNOWN
        assert len(served.exchanges.asked) == 1
        known = await served.context.store.find_message("M1")
        assert known is not None, "what has become of it can be asked"


async def test_f4_who_shares_an_answer_that_never_comes_is_told_so() -> None:
    async with face() as served:
        served.exchanges.go.clear()
        first = asyncio.create_task(strictly(served))
        await served.exchanges.begun.wait()
        second = asyncio.create_task(strictly(served))
        assert (await served.ask("GET", "/nowhere")).status == 404
        served.exchanges.answer = RuntimeError("broken off")
        served.exchanges.go.set()
        assert (await first).text == "500: Internal Server Error"
        assert (await second).text == UNKNOWN


async def test_f4_the_claim_is_durable_before_anything_is_sent() -> None:
    """Another process with the same store sees it: the row is there when the workflow is asked."""
    async with face() as served, face(adaptor=served.context) as beside:
        served.exchanges.go.clear()
        first = asyncio.create_task(strictly(served))
        await served.exchanges.begun.wait()
        assert (await strictly(beside)).text == UNKNOWN
        assert (await strictly(beside, b'{"payload": "y"}')).text == REUSED
        served.exchanges.go.set()
        assert (await first).status == 202
        assert (await strictly(beside)).status == 202
        assert beside.exchanges.asked == []


async def test_f4_repetitions_are_counted() -> None:
    async with face() as served:
        await strictly(served)
        await strictly(served)
        assert served.context.figures.registry.get_sample_value("mhs_duplicates_total", {"direction": "outbound"}) == 1


class _Failing(MemoryStore):
    """A store that goes away when it is told to."""

    away = False

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Fail, or do what every store does."""
        if self.away:
            raise StoreUnavailable("away")
        return await super().transact(work)


async def test_f4_an_answer_that_cannot_be_kept_is_still_given() -> None:
    store = _Failing()
    async with face(adaptor=context(store=store)) as served:
        served.exchanges.go.clear()
        first = asyncio.create_task(strictly(served))
        await served.exchanges.begun.wait()
        store.away = True
        served.exchanges.go.set()
        assert (await first).status == 202
        store.away = False
        assert (await strictly(served)).text == UNKNOWN
        assert len(served.exchanges.asked) == 1


async def test_f4_without_a_store_nothing_is_sent() -> None:
    store = _Failing()
    async with face(adaptor=context(store=store)) as served:
        store.away = True
        assert (await strictly(served)).text == "500: Internal Server Error"
        assert served.exchanges.asked == []
        store.away = False
        assert (await strictly(served)).status == 202
