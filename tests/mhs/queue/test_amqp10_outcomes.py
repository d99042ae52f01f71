"""What an AMQP 1.0 broker may say of a message besides taking it: nothing of that passes for success."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable

from .. import rig
from .suppliers import message

proton = pytest.importorskip("proton", reason="python-qpid-proton is not installed (it has to be compiled)")

from .amqp10_peer import Answer, amqp10_peer, end_link, outcome  # noqa: E402 it needs what may be absent

ACCEPTED = outcome(proton.Delivery.ACCEPTED)


@contextlib.asynccontextmanager
async def publishing_to(*ports: int, **changes: object) -> AsyncIterator[Publisher]:
    settings = {
        "queue": "amqp10",
        "inbound_queue_brokers": ",".join(f"127.0.0.1:{port}" for port in ports),
        "inbound_queue_name": "inbound",
        "inbound_queue_max_retries": 0,
        "inbound_queue_retry_delay": 0,
    }
    publisher = open_queue(rig.settings(**(settings | changes)))
    assert publisher is not None
    try:
        yield publisher
    finally:
        await publisher.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (outcome(proton.Delivery.REJECTED), QueueRefused),
        (outcome(proton.Delivery.REJECTED, "amqp:decode-error", "<p>Meadow</p>"), QueueRefused),
        (outcome(proton.Delivery.REJECTED, "amqp:resource-limit-exceeded"), QueueUnavailable),
        (outcome(proton.Delivery.RELEASED), QueueUnavailable),
        (outcome(proton.Delivery.MODIFIED), QueueUnavailable),
        (lambda delivery: delivery.settle(), QueueUnavailable),
        (end_link("amqp:link:message-size-exceeded"), QueueRefused),
        (end_link("amqp:link:detach-forced", "maintenance"), QueueUnavailable),
    ],
    ids=["rejected", "undecodable", "full", "released", "modified", "no outcome", "too large", "forced"],
)
async def test_l22_whatever_is_not_accepted_is_an_error(answer: Answer, error: type[Exception]) -> None:
    async with amqp10_peer(answer, ACCEPTED) as peer, publishing_to(peer.port) as publisher:
        with pytest.raises(error) as raised:
            await publisher.publish(message())
        assert "Meadow" not in str(raised.value)
        await publisher.publish(message())
        assert len(peer.received) == 2


async def test_l22_a_broker_that_rejects_is_not_asked_again_in_the_same_breath() -> None:
    async with amqp10_peer(outcome(proton.Delivery.REJECTED)) as peer, amqp10_peer() as other:
        async with publishing_to(peer.port, other.port, inbound_queue_max_retries=3) as publisher:
            with pytest.raises(QueueRefused):
                await publisher.publish(message())
        assert (len(peer.received), len(other.received)) == (1, 0)


async def test_rounds_are_made_until_a_broker_takes_the_message() -> None:
    released = outcome(proton.Delivery.RELEASED)
    async with amqp10_peer(*[released] * 3, ACCEPTED) as peer:
        async with publishing_to(peer.port, inbound_queue_max_retries=3) as publisher:
            sent = message()
            await publisher.publish(sent)
        assert [each.id for each in peer.received] == [sent.id] * 4


async def test_rounds_have_an_end() -> None:
    async with amqp10_peer(*[outcome(proton.Delivery.RELEASED)] * 5) as peer:
        async with publishing_to(peer.port, inbound_queue_max_retries=3) as publisher:
            with pytest.raises(QueueUnavailable):
                await publisher.publish(message())
        assert len(peer.received) == 4


async def test_the_target_asks_for_durability_as_the_reference_does() -> None:
    async with amqp10_peer(ACCEPTED) as peer, publishing_to(peer.port) as publisher:
        await publisher.publish(message())
        assert peer.durability == proton.Terminus.DELIVERIES


async def test_a_queue_that_the_broker_does_not_have_is_an_error() -> None:
    async with amqp10_peer() as peer, publishing_to(peer.port) as publisher:
        peer.no_such_queue = True
        with pytest.raises(QueueUnavailable, match="amqp:not-found no such queue"):
            await publisher.publish(message())
        assert not await publisher.reachable()


async def test_a_broker_without_room_gets_nothing_until_it_asks() -> None:
    async with amqp10_peer(ACCEPTED) as peer, publishing_to(peer.port, inbound_queue_timeout=0.2) as publisher:
        peer.credit = 0
        with pytest.raises(QueueUnavailable, match="not answered in time"):
            await publisher.publish(message())
        assert peer.received == []
        peer.credit = 1
        await publisher.publish(message())


async def test_all_who_wait_are_told_when_the_connection_goes() -> None:
    came = asyncio.Event()
    async with amqp10_peer(*[lambda _: came.set()] * 3) as peer, publishing_to(peer.port) as publisher:
        waiting = [asyncio.create_task(publisher.publish(message())) for _ in range(3)]
        await came.wait()
        peer.conversations[0].abort()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(result) for result in results] == [QueueUnavailable] * 3


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"AMQP\x00\x00\x09\x01", b"\x00" * 64])
async def test_somebody_who_speaks_something_else_is_no_broker(greeting: bytes) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        with contextlib.suppress(OSError):
            await reader.read()
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        async with publishing_to(server.sockets[0].getsockname()[1]) as publisher:
            with pytest.raises(QueueUnavailable, match=r"does not speak AMQP 1\.0|the connection failed"):
                await publisher.publish(message())
    finally:
        server.close()
        await server.wait_closed()


async def test_what_is_silent_for_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that has gone without a word is noticed by its silence, with nothing under way."""
    from openscr.mhs.queue import amqp10_link  # noqa: PLC0415 it needs what may be absent

    monkeypatch.setattr(amqp10_link, "IDLE", 0.2)
    async with amqp10_peer(ACCEPTED, ACCEPTED) as peer, publishing_to(peer.port) as publisher:
        await publisher.publish(message())
        (conversation,) = peer.conversations
        async with asyncio.timeout(60):
            await conversation.gone.wait()
        assert peer.conversations == []
        await publisher.publish(message())
        assert len(peer.received) == 2


async def test_a_quiet_connection_is_kept_alive_as_the_broker_wants_it() -> None:
    async with amqp10_peer(ACCEPTED, ACCEPTED) as peer, publishing_to(peer.port) as publisher:
        peer.idle = 0.2
        await publisher.publish(message())
        (conversation,) = peer.conversations
        for _ in range(3):
            peer.heard.clear()
            async with asyncio.timeout(60):
                await peer.heard.wait()
        await publisher.publish(message())
        assert peer.conversations == [conversation]
