"""The embedded queue over HTTP, on a real socket: what consumers see. Spec: 50 E4."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest

from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue.arrivals import Arrivals
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.queue.rest import QueueRoutes
from openscr.mhs.queue_message import InboundAttachment, InboundMessage, QueueMessage, write_inbound_message
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.opening import open_store

from ..outbound.posting import Face, Got, face, request_bytes
from ..rig import TestClock, context, settings
from ..store.samples import a_queue_message, an_id, put

T = TypeVar("T")

PATIENCE = 60.0
LONG = 300
PROBLEM = {"Accept": "application/problem+json"}


class WatchedArrivals(Arrivals):
    """Arrivals that never look by themselves; a test sees who waits, and when they have been answered."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.changed = asyncio.Condition()

    async def wait(self, find: Callable[[], Awaitable[T | None]], *, seconds: float, interval: float = 1.0) -> T | None:
        """Wait, and tell that somebody does once it has looked for the first time."""
        looked = False

        async def look() -> T | None:
            nonlocal looked
            found = await find()
            if not looked:
                looked = True
                await self._count(1)
            return found

        try:
            return await super().wait(look, seconds=seconds, interval=10 * LONG)
        finally:
            await self._count(-1)

    async def _count(self, change: int) -> None:
        async with self.changed:
            self.waiting += change
            self.changed.notify_all()

    async def until(self, waiting: int) -> None:
        """Return when so many wait."""
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(lambda: self.waiting == waiting)


@dataclass
class Queue:
    """A served queue, and who puts messages onto it."""

    served: Face
    routes: QueueRoutes
    clock: TestClock
    arrivals: WatchedArrivals

    @property
    def adaptor(self) -> AdaptorContext:
        return self.served.context

    async def enqueue(self, *messages: QueueMessage) -> None:
        await put(self.adaptor.store, *messages)
        self.arrivals.tell()

    async def poll(self, query: str = "") -> list[dict[str, Any]]:
        got = await self.served.ask("GET", f"/queue/messages{query}")
        assert got.status == 200
        assert got.headers["content-type"] == "application/json"
        assert got.headers["cache-control"] == "no-store"
        assert list(got.json) == ["messages"]
        return got.json["messages"]  # type: ignore[return-value]

    async def post(self, path: str, headers: dict[str, str | None] | None = None) -> Got:
        return await self.served.ask("POST", path, headers)

    async def dead_letters(self) -> list[dict[str, Any]]:
        return (await self.served.ask("GET", "/queue/dead-letters")).json["dead_letters"]  # type: ignore[return-value]


@asynccontextmanager
async def queue(
    folder: Path | None = None, publisher: Publisher | None = None, **changes: object
) -> AsyncIterator[Queue]:
    """Serve a queue, in a file of ``folder`` or in memory."""
    clock, arrivals = TestClock(), WatchedArrivals()
    store = MemoryStore() if folder is None else open_store(settings(data=folder))
    adaptor = replace(context(store=store, clock=clock, publisher=publisher, **changes), arrivals=arrivals)
    routes = QueueRoutes(adaptor)
    async with face(*routes.routes(), adaptor=adaptor) as served:
        yield Queue(served, routes, clock, arrivals)
        await routes.stop()


@pytest.fixture(params=["memory", "sqlite"])
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Queue]:
    """Give an empty queue: three deliveries, a lease of 60 seconds."""
    async with queue(tmp_path if request.param == "sqlite" else None, queue_deliveries=3) as made:
        yield made


# --- taking messages --------------------------------------------------------------------------------------------------


async def test_an_empty_queue_answers_at_once_with_nothing(served: Queue) -> None:
    assert await served.poll() == []
    assert await served.poll("?wait=0.01&max=100") == []


async def test_a_message_comes_with_everything_that_a_broker_would_tell(served: Queue) -> None:
    message = InboundMessage(
        "<eb/>", "<hl7>é\u2028</hl7>", (InboundAttachment("AAA=", True, "c", "application/octet-stream", "d"),)
    )
    body = write_inbound_message(message)
    await served.enqueue(a_queue_message(1, body=body, created_at=served.clock()))
    await served.enqueue(a_queue_message(2, body=body, created_at=served.clock(), late=True))
    first, second = await served.poll()
    assert first.pop("receipt") != second.pop("receipt")
    assert first == {
        "deliveries": 1,
        "id": an_id(1),
        "created": "2026-11-23T12:00:00.000000Z",
        "properties": {"message-id": "hl7 1", "correlation-id": "conversation 1"},
        "body": msgspec.json.decode(body),
    }
    assert second["properties"] == {
        "message-id": "hl7 2",
        "correlation-id": "conversation 2",
        "late-response": "true",
    }


async def test_the_body_is_put_in_byte_for_byte(served: Queue) -> None:
    """Numbers, spaces and escapes stay as they were."""
    body = b'{ "ebXML" : "\\u00e9", "payload": "1.0e0", "attachments": [], "external_attachments": [] }'
    await served.enqueue(a_queue_message(1, body=body))
    assert body in (await served.served.ask("GET", "/queue/messages")).body


async def test_as_many_come_as_were_asked_for_in_their_order(served: Queue) -> None:
    await served.enqueue(*(a_queue_message(number) for number in range(13)))
    assert [each["id"] for each in await served.poll("?max=1")] == [an_id(0)]
    assert [each["id"] for each in await served.poll()] == [an_id(number) for number in range(1, 11)]
    assert [each["id"] for each in await served.poll("?max=100")] == [an_id(11), an_id(12)]


async def test_a_waiting_consumer_gets_a_message_the_moment_it_comes(served: Queue) -> None:
    """Nobody looks by himself here: only being told can have woken it."""
    polling = asyncio.create_task(served.poll(f"?wait={LONG}"))
    await served.arrivals.until(1)
    await served.enqueue(a_queue_message(1))
    async with asyncio.timeout(PATIENCE):
        assert [each["id"] for each in await polling] == [an_id(1)]


async def test_of_many_who_wait_each_message_goes_to_one(served: Queue) -> None:
    polling = [asyncio.create_task(served.poll(f"?wait={LONG}&max=1")) for _ in range(20)]
    await served.arrivals.until(20)
    await served.enqueue(*(a_queue_message(number) for number in range(20)))
    async with asyncio.timeout(PATIENCE):
        answers = await asyncio.gather(*polling)
    assert sorted(each["id"] for answer in answers for each in answer) == [an_id(number) for number in range(20)]


async def test_what_another_process_has_put_there_is_found_by_looking(tmp_path: Path) -> None:
    """Outbound and inbound run apart on one file: nobody can tell."""
    adaptor = context(store=open_store(settings(data=tmp_path)))
    other = open_store(settings(data=tmp_path))
    routes = QueueRoutes(adaptor)
    async with face(*routes.routes(), adaptor=adaptor) as served:
        polling = asyncio.create_task(served.ask("GET", f"/queue/messages?wait={PATIENCE}"))
        await other.open()
        await put(other, a_queue_message(1))
        await other.close()
        (message,) = (await polling).json["messages"]  # type: ignore[misc]
        assert message["id"] == an_id(1)


async def test_a_consumer_that_has_gone_is_lent_nothing(served: Queue) -> None:
    """Else its message would rest for a whole lease although somebody is there."""
    _, writer = await served.served.connect()
    writer.write(request_bytes("GET", f"/queue/messages?wait={LONG}", {}))
    await served.arrivals.until(1)
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(PATIENCE):
        while served.arrivals.waiting:
            served.arrivals.tell()
            await asyncio.sleep(0)
    await served.enqueue(a_queue_message(1))
    (message,) = await served.poll()
    assert message["deliveries"] == 1


async def test_whoever_waits_is_answered_when_the_adaptor_stops(served: Queue) -> None:
    polling = asyncio.create_task(served.poll(f"?wait={LONG}"))
    await served.arrivals.until(1)
    await served.routes.stop()
    async with asyncio.timeout(PATIENCE):
        assert await polling == []
    await served.enqueue(a_queue_message(1))
    assert await served.poll() == []
    assert (await served.adaptor.store.queue_figures(served.clock())).waiting == 1


# --- giving them back -------------------------------------------------------------------------------------------------


async def test_an_acknowledged_message_is_gone(served: Queue) -> None:
    await served.enqueue(a_queue_message(1))
    (message,) = await served.poll()
    got = await served.post(f"/queue/messages/{message['receipt']}/ack")
    assert (got.status, got.body) == (204, b"")
    served.clock.move(10_000)
    assert await served.poll() == []
    again = await served.post(f"/queue/messages/{message['receipt']}/ack")
    assert again.status == 404
    assert again.text.startswith("404: No message is lent out under this receipt")


async def test_a_message_that_nobody_acknowledges_comes_again_after_its_lease(served: Queue) -> None:
    await served.enqueue(a_queue_message(1))
    (first,) = await served.poll()
    served.clock.move(59.999)
    assert await served.poll() == []
    served.clock.move(0.001)
    (second,) = await served.poll()
    assert (first["id"], first["deliveries"], second["deliveries"]) == (second["id"], 1, 2)
    # The first consumer is too late now: the message is somebody else's.
    assert (await served.post(f"/queue/messages/{first['receipt']}/ack")).status == 404
    assert (await served.post(f"/queue/messages/{second['receipt']}/ack")).status == 204


async def test_a_message_given_back_goes_to_whoever_waits(served: Queue) -> None:
    await served.enqueue(a_queue_message(1))
    (first,) = await served.poll()
    polling = asyncio.create_task(served.poll(f"?wait={LONG}"))
    await served.arrivals.until(1)
    got = await served.post(f"/queue/messages/{first['receipt']}/nack")
    assert (got.status, got.body) == (204, b"")
    async with asyncio.timeout(PATIENCE):
        (second,) = await polling
    assert (second["id"], second["deliveries"]) == (an_id(1), 2)
    assert (await served.post(f"/queue/messages/{first['receipt']}/nack")).status == 404


async def test_a_message_may_rest_before_it_comes_again(served: Queue) -> None:
    await served.enqueue(a_queue_message(1))
    (message,) = await served.poll()
    assert (await served.post(f"/queue/messages/{message['receipt']}/nack?delay=30")).status == 204
    served.clock.move(29.9)
    assert await served.poll() == []
    served.clock.move(0.1)
    assert len(await served.poll()) == 1


# --- dead letters -----------------------------------------------------------------------------------------------------


async def give_back(served: Queue) -> None:
    (message,) = await served.poll()
    assert (await served.post(f"/queue/messages/{message['receipt']}/nack")).status == 204


async def vanish(served: Queue) -> None:
    assert len(await served.poll()) == 1
    served.clock.move(60)


@pytest.mark.parametrize("fail", [give_back, vanish])
async def test_a_message_that_fails_too_often_is_a_dead_letter(
    fail: Callable[[Queue], Awaitable[None]], served: Queue
) -> None:
    message = a_queue_message(1, created_at=served.clock(), late=True)
    await served.enqueue(message)
    for _ in range(3):
        await fail(served)
    assert await served.poll() == []
    (letter,) = await served.dead_letters()
    assert letter.pop("died").startswith("2026-11-23T12:0")
    assert letter == {
        "id": an_id(1),
        "created": "2026-11-23T12:00:00.000000Z",
        "deliveries": 3,
        "size": len(message.body),
        "properties": {"message-id": "hl7 1", "correlation-id": "conversation 1", "late-response": "true"},
    }
    polling = asyncio.create_task(served.poll(f"?wait={LONG}"))
    await served.arrivals.until(1)
    assert (await served.post(f"/queue/dead-letters/{an_id(1)}/requeue")).status == 204
    async with asyncio.timeout(PATIENCE):
        assert [(each["id"], each["deliveries"]) for each in await polling] == [(an_id(1), 1)]
    assert await served.dead_letters() == []
    got = await served.post(f"/queue/dead-letters/{an_id(1)}/requeue")
    assert (got.status, got.text) == (404, "404: No dead letter has this id")


async def test_dead_letters_are_told_up_to_a_number(served: Queue) -> None:
    for number in range(3):
        await served.enqueue(a_queue_message(number))
        for _ in range(3):
            await give_back(served)
    got = await served.served.ask("GET", "/queue/dead-letters?limit=2")
    assert [letter["id"] for letter in got.json["dead_letters"]] == [an_id(0), an_id(1)]  # type: ignore[union-attr, index]


async def test_figures_tell_how_the_queue_stands(served: Queue) -> None:
    async def told() -> dict[str, Any]:
        return (await served.served.ask("GET", "/queue/stats")).json

    assert await told() == {"waiting": 0, "leased": 0, "dead": 0, "oldest": None, "oldest_seconds": None}
    await served.enqueue(a_queue_message(1, created_at=served.clock()))
    for _ in range(3):
        await give_back(served)
    await served.enqueue(*(a_queue_message(number, created_at=served.clock()) for number in (2, 3, 4)))
    await served.poll("?max=1")
    served.clock.move(1.5)
    assert await told() == {
        "waiting": 2,
        "leased": 1,
        "dead": 1,
        "oldest": "2026-11-23T12:00:00.000000Z",
        "oldest_seconds": 1.5,
    }


# --- what is refused --------------------------------------------------------------------------------------------------

WRONG = {
    "/queue/messages?wait=-1": "wait must be a number of seconds from 0 to 300",
    "/queue/messages?wait=301": "wait must be a number of seconds from 0 to 300",
    "/queue/messages?wait=soon": "wait must be a number of seconds from 0 to 300",
    "/queue/messages?wait=nan": "wait must be a number of seconds from 0 to 300",
    "/queue/messages?wait=inf": "wait must be a number of seconds from 0 to 300",
    "/queue/messages?max=0": "max must be a whole number from 1 to 100",
    "/queue/messages?max=101": "max must be a whole number from 1 to 100",
    "/queue/messages?max=1.5": "max must be a whole number from 1 to 100",
    "/queue/messages?max=-1": "max must be a whole number from 1 to 100",
    "/queue/messages?max=%D9%A3": "max must be a whole number from 1 to 100",
    "/queue/messages?max=99999999999999999999": "max must be a whole number from 1 to 100",
    "/queue/dead-letters?limit=0": "limit must be a whole number from 1 to 1000",
}


@pytest.mark.parametrize("path", WRONG)
async def test_a_condition_that_is_none_is_refused_with_what_is_right(path: str) -> None:
    async with queue() as served:
        got = await served.served.ask("GET", path)
        assert (got.status, got.text) == (400, f"400: {WRONG[path]}")
        document = (await served.served.ask("GET", path, PROBLEM)).json
        assert (document["status"], document["code"], document["detail"]) == (400, "query_wrong", WRONG[path])


async def test_a_delay_that_is_none_is_refused_and_the_message_stays_lent(served: Queue) -> None:
    await served.enqueue(a_queue_message(1))
    (message,) = await served.poll()
    got = await served.post(f"/queue/messages/{message['receipt']}/nack?delay=86401")
    assert (got.status, got.text) == (400, "400: delay must be a number of seconds from 0 to 86400")
    assert (await served.post(f"/queue/messages/{message['receipt']}/ack")).status == 204


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/queue/messages"), ("GET", "/queue/messages/r/ack"), ("DELETE", "/queue/stats")]
)
async def test_a_wrong_method_is_refused(method: str, path: str) -> None:
    async with queue() as served:
        assert (await served.served.ask(method, path)).status == 405


async def test_who_must_show_a_key_must_show_it_here_too() -> None:
    async with queue(secret_outbound_api_keys="one,two") as served:
        for path in ("/queue/messages", "/queue/stats", "/queue/dead-letters"):
            assert (await served.served.ask("GET", path)).status == 401
            assert (await served.served.ask("GET", path, {"apikey": "two"})).status == 200


class Broker:
    """A broker that is never asked here."""

    async def publish(self, message: QueueMessage) -> None:
        """Take nothing."""
        raise AssertionError

    async def reachable(self) -> bool:
        """Whether it could be asked."""
        return True

    async def close(self) -> None:
        """Nothing is open."""


async def test_beside_a_broker_nobody_takes_messages_away_from_the_relay() -> None:
    async with queue(publisher=Broker()) as served:
        await served.enqueue(a_queue_message(1))
        got = await served.served.ask("GET", "/queue/messages", PROBLEM)
        assert (got.status, got.json["code"]) == (409, "queue_elsewhere")
        for action in ("ack", "nack"):
            assert (await served.post(f"/queue/messages/r/{action}")).status == 409
        assert (await served.served.ask("GET", "/queue/stats")).json["waiting"] == 1
        assert await served.dead_letters() == []


async def test_without_the_store_it_is_said_to_be_a_passing_thing() -> None:
    async with queue() as served:
        await served.adaptor.store.close()
        requests = [
            ("GET", "/queue/messages?wait=300"),
            ("POST", "/queue/messages/r/ack"),
            ("POST", "/queue/messages/r/nack"),
            ("GET", "/queue/stats"),
            ("GET", "/queue/dead-letters"),
            ("POST", "/queue/dead-letters/r/requeue"),
        ]
        for method, path in requests:
            got = await served.served.ask(method, path)
            assert (got.status, got.text) == (503, "503: The store does not answer now; try again")
