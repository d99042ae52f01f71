"""The plug-in that posts messages, against a real web server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable

from .. import rig
from .suppliers import message
from .web_supplier import WebSupplier, web_supplier


@asynccontextmanager
async def publishing_to(supplier: WebSupplier, **changes: object) -> AsyncIterator[Publisher]:
    settings = {"queue": "webhook", "webhook_url": supplier.url, "inbound_queue_retry_delay": 0}
    publisher = open_queue(rig.settings(**(settings | changes)))
    assert publisher is not None
    try:
        yield publisher
    finally:
        await publisher.close()


async def test_e3_the_json_is_posted_with_its_properties_as_headers() -> None:
    sent = message(late=True)
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        await publisher.publish(sent)
        (taken,) = supplier.taken
    assert taken.body == sent.body
    wanted = {
        "Content-Type": "application/json",
        "Idempotency-Key": sent.id,
        "message-id": sent.message_id,
        "correlation-id": sent.correlation_id,
        "late-response": "true",
    }
    assert wanted.items() <= taken.headers.items()
    assert "Authorization" not in taken.headers


async def test_user_and_password_are_shown() -> None:
    who = {"secret_inbound_queue_username": "Aladdin", "secret_inbound_queue_password": "open sesame"}
    async with web_supplier() as supplier, publishing_to(supplier, **who) as publisher:
        await publisher.publish(message())
        assert supplier.taken[0].headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_e3_every_2xx_means_taken(status: int) -> None:
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        supplier.answer = lambda _: status
        await publisher.publish(message())


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_a_status_that_may_pass_leaves_the_message_for_later(status: int) -> None:
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        supplier.answer = lambda _: status
        with pytest.raises(QueueUnavailable, match=f"HTTP {status}"):
            await publisher.publish(message())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 400, 401, 404, 409, 413, 415, 422])
async def test_any_other_status_is_a_refusal_and_leads_nowhere_else(status: int) -> None:
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        supplier.answer = lambda _: status
        with pytest.raises(QueueRefused, match=f"HTTP {status}"):
            await publisher.publish(message())
        assert len(supplier.asked) == 1


async def test_a_server_that_is_away_is_unavailable_until_it_is_back() -> None:
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        assert await publisher.reachable()
        await supplier.stop()
        assert not await publisher.reachable()
        with pytest.raises(QueueUnavailable):
            await publisher.publish(message())
        await supplier.start()
        assert await publisher.reachable()
        await publisher.publish(message())


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    async with web_supplier() as supplier, publishing_to(supplier, inbound_queue_timeout=0.2) as publisher:
        supplier.open.clear()
        with pytest.raises(QueueUnavailable, match="no answer in time"):
            await publisher.publish(message())


async def test_an_answer_that_is_none_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with publishing_to(WebSupplier(port=port)) as publisher:
        with pytest.raises(QueueUnavailable):
            await publisher.publish(message())
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("rest", [b"x" * 2_000_000, b""], ids=["large", "never ends"])
async def test_e3_a_2xx_counts_whatever_its_body_is(rest: bytes) -> None:
    """Otherwise the supplier would get again and again what it has."""
    ended = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + rest)
        await ended.wait()
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with publishing_to(WebSupplier(port=port), inbound_queue_timeout=2) as publisher:
        await publisher.publish(message())
    ended.set()
    server.close()
    await server.wait_closed()


async def test_messages_go_over_one_connection() -> None:
    connections = 0

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            await reader.readexactly(int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntaken")
        writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with publishing_to(WebSupplier(port=port)) as publisher:
        for _ in range(3):
            await publisher.publish(message())
    assert connections == 1
    server.close()
    await server.wait_closed()


async def test_ids_that_would_break_a_header_are_not_sent() -> None:
    async with web_supplier() as supplier, publishing_to(supplier) as publisher:
        with pytest.raises(QueueRefused):
            await publisher.publish(message(correlation_id="one\r\nAuthorization: another"))
        assert supplier.asked == []
