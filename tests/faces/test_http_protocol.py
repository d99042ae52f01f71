"""Requests that cost too much are ended, with an answer that arrives; the listener serves everybody else meanwhile.

The listeners are real, on loopback; their limits are small, so that nothing here waits.
"""

import asyncio
import contextlib
import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import wraps
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvloop
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp, Receive, Scope, Send

from journeys.wire import Connection, Ended, connected, request_bytes
from openscr.admission.work import Bodies
from openscr.faces.spine.exchange import BodyCutOff, BodyTooLarge, Reply, read_body, send_reply
from openscr.http_protocol import Limits
from openscr.listeners import Listener, bind
from openscr.settings import Address
from openscr.tls import TlsFiles, client_tls, server_tls

LIMIT = 100_000
"""Bytes of a body that the application takes."""

HEAD = 4_096
QUICK = Limits(head_bytes=HEAD, head_seconds=0.2, body_seconds=0.4, progress_seconds=0.2)
PATIENT = Limits(head_bytes=HEAD, head_seconds=600, body_seconds=600, progress_seconds=600)
SLOW_READERS = Limits(progress_seconds=0.1, read_rate=5_000_000)
PATIENT_WITH_TWO = replace(PATIENT, connections=2)


def on_uvloop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test on the loop that the service runs on: how connections end is the loop's own."""

    @wraps(test)
    def run(*arguments: object, **named: object) -> None:
        uvloop.run(test(*arguments, **named))

    return run


class Echo:
    """Answers with the length of the body. ``cut_off`` counts the requests whose body never came."""

    def __init__(self) -> None:
        self.cut_off = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        try:
            body = await read_body(dict(scope["headers"]), receive, LIMIT, Bodies(LIMIT * 100))
        except BodyTooLarge:
            await send_reply(send, Reply(500, b"too large", close=True))
        except BodyCutOff:
            self.cut_off += 1
            await send_reply(send, Reply(400, close=True))
        else:
            await send_reply(send, Reply(200, str(len(body)).encode()))


@asynccontextmanager
async def listening(
    app: ASGIApp,
    limits: Limits,
    tls: ssl.SSLContext | None = None,
    grace: float = 2,
    shed: Callable[[str], None] | None = None,
    may_end: bool = False,
) -> AsyncIterator[Listener]:
    """Serve an application; at the end it stops at once."""
    place = bind(Address("127.0.0.1", 0), "web")
    listener = Listener(app, place, tls=tls, grace=grace, limits=limits, shed=shed, may_end=may_end)
    await listener.start()
    try:
        yield listener
    finally:
        listener.stop_accepting()
        await listener.stopped()


async def still_serves(listener: Listener) -> None:
    """The next good request is answered."""
    async with connected(listener.url) as connection:
        assert (await connection.exchange(request_bytes("/", b"four", ()))).body == b"4"


async def status_after(connection: Connection, *pieces: bytes) -> int:
    """Send pieces of a request, one after the other, until the answer is there; return its status."""

    async def send() -> None:
        for piece in pieces:
            await connection.send(piece)

    sending = asyncio.create_task(send())
    try:
        return (await connection.answer()).status
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


LONG_HEADS = {
    "one long header": [b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * HEAD + b"\r\n\r\n"],
    "many short headers": [b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * HEAD + b"\r\n"],
    "a long target": [b"GET /" + b"x" * HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n"],
    "a value without end": [b"GET / HTTP/1.1\r\nLong: ", *[b"x" * 1000] * 5000],
    "a target without end": [b"GET /", *[b"x" * 1000] * 5000],
    "headers without end": [b"GET / HTTP/1.1\r\n", *[b"A: b\r\n" * 100] * 5000],
    "blank lines without end": [*[b"\r\n" * 500] * 5000],
    "trailers without end": [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n",
        *[b"A: b\r\n" * 100] * 5000,
    ],
    "a trailer without end": [
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nLong: ",
        *[b"x" * 1000] * 5000,
    ],
}


@pytest.mark.parametrize("name", LONG_HEADS)
@on_uvloop
async def test_a_head_over_the_limit_is_431_whether_or_not_it_ends(name: str) -> None:
    echo = Echo()
    async with listening(echo, PATIENT) as listener:
        async with connected(listener.url) as connection:
            assert await status_after(connection, *LONG_HEADS[name]) == 431
            assert await connection.ended()
        await still_serves(listener)


@on_uvloop
async def test_a_head_just_within_the_limit_is_served() -> None:
    async with listening(Echo(), PATIENT) as listener, connected(listener.url) as connection:
        head = b"GET / HTTP/1.1\r\nHost: x\r\nLong: " + b"x" * (HEAD - 20) + b"\r\n\r\n"
        assert await status_after(connection, head) == 200
        assert await status_after(connection, head) == 200


LATE = {
    "nothing at all": b"",
    "half a head": b"POST / HTTP/1.1\r\nHost:",
    "blank lines": b"\r\n\r\n",
    "no body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
}


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("served_before", [False, True])
@on_uvloop
async def test_a_request_that_does_not_go_on_is_408(name: str, served_before: bool) -> None:
    """Also on a connection that has served one before; there an idle client is left alone, as long as it is idle."""
    if served_before and name == "nothing at all":
        return
    echo = Echo()
    async with listening(echo, QUICK) as listener, connected(listener.url) as connection:
        if served_before:
            assert await status_after(connection, request_bytes("/", b"", ())) == 200
        assert await status_after(connection, LATE[name]) == 408
        assert await connection.ended()
        await still_serves(listener)
    assert echo.cut_off == ("body" in name or "chunk" in name)


BROKEN_CHUNKS = {
    "a size that is none": b"zz\r\nabc\r\n",
    "a negative size": b"-3\r\nabc\r\n",
    "no end of a line": b"3\r\nabcXX0\r\n\r\n",
    "a good one before": b"3\r\nabc\r\nzz\r\n",
}


@pytest.mark.parametrize("name", BROKEN_CHUNKS)
@pytest.mark.parametrize("served_before", [False, True])
@on_uvloop
async def test_a_body_in_broken_chunks_is_400_at_once(name: str, served_before: bool) -> None:
    """Nobody waits for the rest of a body that can never be read; a time limit of hours would not be seen here."""
    echo = Echo()
    async with listening(echo, PATIENT) as listener, connected(listener.url) as connection:
        if served_before:
            assert await status_after(connection, request_bytes("/", b"", ())) == 200
        head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert await status_after(connection, head + BROKEN_CHUNKS[name]) == 400
        await still_serves(listener)
    assert echo.cut_off == 1


@on_uvloop
async def test_a_body_that_trickles_is_408() -> None:
    """Each piece in time, the whole not: it ends all the same."""
    echo = Echo()
    trickling = Limits(body_seconds=0.3, progress_seconds=600)
    async with listening(echo, trickling) as listener, connected(listener.url) as connection:
        await connection.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n")

        async def trickle() -> None:
            while True:
                await connection.send(b"x")
                # A round trip to the listener, in place of a pause.
                await still_serves(listener)

        trickling_on = asyncio.create_task(trickle())
        assert (await connection.answer()).status == 408
        trickling_on.cancel()
        await asyncio.gather(trickling_on, return_exceptions=True)
    assert echo.cut_off == 1


@on_uvloop
async def test_a_request_that_waits_for_its_turn_is_not_late() -> None:
    """While the one before it is being answered, or while it is we who do not read, nobody is blamed."""
    gate = asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        body = await read_body(dict(scope["headers"]), receive, LIMIT, Bodies(LIMIT * 100))
        await gate.wait()
        await send_reply(send, Reply(200, str(len(body)).encode()))

    tiny = Limits(head_seconds=0.01, body_seconds=0.01, progress_seconds=0.01)
    async with listening(slow, tiny) as listener, connected(listener.url) as connection:
        whole = request_bytes("/", b"four", ())
        await connection.send(whole + whole[:-2])
        async with connected(listener.url) as other:
            # Its own time passes twice meanwhile.
            assert await status_after(other, b"") == 408
        async with connected(listener.url) as other:
            assert await status_after(other, b"") == 408
        gate.set()
        assert (await connection.answer()).body == b"4"


@pytest.mark.parametrize("announced", [True, False])
@pytest.mark.parametrize("over_tls", [True, False])
@on_uvloop
async def test_the_answer_to_a_body_that_is_too_large_arrives(announced: bool, over_tls: bool, pki: Path) -> None:
    """Its sender goes on sending, and reads only then: nothing resets the connection over what was not read."""
    tls, ours = None, None
    if over_tls:
        tls, ours = both_ends(pki)
    size = 7_000_000
    head = f"Content-Length: {size}\r\n" if announced else f"Transfer-Encoding: chunked\r\n\r\n{size:x}"
    request = f"POST / HTTP/1.1\r\nHost: localhost\r\n{head}\r\n".encode() + b"x" * size
    async with listening(Echo(), PATIENT, tls) as listener:
        for _ in range(5):
            answer = await asyncio.to_thread(send_all_then_read, listener.url, request, ours)
            assert answer.startswith(b"HTTP/1.1 500 ")
            assert answer.endswith(b"too large")


def send_all_then_read(base: str, request: bytes, tls: ssl.SSLContext | None) -> bytes:
    """Do as a plain client does: send everything, and look at the answer only then."""
    parts = urlsplit(base)
    assert parts.hostname is not None
    with contextlib.ExitStack() as stack:
        connection = stack.enter_context(socket.create_connection((parts.hostname, parts.port or 0), 60))
        if tls is not None:
            connection = stack.enter_context(tls.wrap_socket(connection))
        connection.sendall(request)
        answer = b""
        while not answer.endswith(b"too large") and (piece := connection.recv(65_536)):
            answer += piece
        return answer


async def sends_until_it_is_cut_off(connection: Connection) -> None:
    """Send on and on; an end must come."""
    with contextlib.suppress(ConnectionError):
        while True:
            await connection.send(b"x" * 65_536)


@on_uvloop
async def test_what_is_thrown_away_after_an_answer_is_bounded() -> None:
    """A sender that never stops is cut off after so many bytes; one that only stays, after so long."""
    greedy = Limits(drain_bytes=1_000_000, drain_seconds=600)
    async with listening(Echo(), greedy) as listener, connected(listener.url) as connection:
        await connection.send(request_bytes("/", b"", (), length=1 << 40))
        assert (await connection.answer()).status == 500
        await sends_until_it_is_cut_off(connection)
    staying = Limits(drain_seconds=0.05)
    async with listening(Echo(), staying) as listener, connected(listener.url) as connection:
        await connection.send(request_bytes("/", b"", (), length=1 << 40))
        assert (await connection.answer()).status == 500
        assert await connection.ended()
        await sends_until_it_is_cut_off(connection)


@on_uvloop
async def test_a_stop_does_not_wait_for_those_who_say_nothing() -> None:
    """Connections without a request, or with half a head, are ended at once."""
    async with (
        listening(Echo(), PATIENT, grace=600) as listener,
        connected(listener.url) as silent,
        connected(listener.url) as half,
    ):
        await half.send(b"POST / HT")
        await still_serves(listener)
        listener.stop_accepting()
        await listener.stopped()
        assert await silent.ended()
        assert await half.ended()


@on_uvloop
async def test_a_request_that_a_stop_cuts_off_is_503(caplog: pytest.LogCaptureFixture) -> None:
    """Its sender may try again; the log has no exception to tell of."""
    begun = asyncio.Event()

    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        begun.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.INFO):
        async with listening(never, PATIENT, grace=0) as listener, connected(listener.url) as connection:
            await connection.send(request_bytes("/", b"", ()))
            await begun.wait()
            listener.stop_accepting()
            answer = await connection.answer()
            await listener.stopped()
    assert (answer.status, answer.header("connection")) == (503, "close")
    assert "Exception in ASGI application" not in caplog.text


@on_uvloop
async def test_an_answer_that_a_stop_cuts_off_in_the_middle_ends_there(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is said after the part that has gone out, and the log has no exception to tell of."""
    begun = asyncio.Event()

    async def half(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
        await send({"type": "http.response.body", "body": b"12345", "more_body": True})
        begun.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.INFO):
        async with listening(half, PATIENT, grace=0) as listener, connected(listener.url) as connection:
            await connection.send(request_bytes("/", b"", ()))
            await begun.wait()
            listener.stop_accepting()
            with pytest.raises(Ended):
                await connection.answer()
            await listener.stopped()
    assert "Exception in ASGI application" not in caplog.text


class Held:
    """Answers when the test lets it; ``asked`` are the requests so far."""

    def __init__(self) -> None:
        self.asked = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        self.asked.release()
        await self.go_on.wait()
        await Echo()(scope, receive, send)


@on_uvloop
async def test_with_every_connection_in_use_a_newcomer_is_answered_503() -> None:
    held = Held()
    async with listening(held, Limits(connections=2)) as listener, AsyncExitStack() as stack:
        busy = [await stack.enter_async_context(connected(listener.url)) for _ in range(2)]
        for connection in busy:
            await connection.send(request_bytes("/", b"four", ()))
            await held.asked.acquire()
        async with connected(listener.url) as third:
            answer = await third.exchange(request_bytes("/", b"", ()))
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert await third.ended()
        held.go_on.set()
        for connection in busy:
            assert (await connection.answer()).body == b"4"


@pytest.mark.parametrize("said", [b"", b"POST / HTTP/1.1\r\nHost:", request_bytes("/", b"", ())])
@on_uvloop
async def test_who_asks_nothing_makes_room_for_a_newcomer(said: bytes) -> None:
    """Neither those who say nothing, nor half a head, nor who keeps a connection for later keep others out."""
    async with listening(Echo(), PATIENT_WITH_TWO) as listener, connected(listener.url) as first:
        if said.endswith(b"\r\n\r\n"):
            assert await status_after(first, said) == 200
        else:
            await first.send(said)
        async with connected(listener.url) as second:
            assert await status_after(second, request_bytes("/", b"", ())) == 200
            async with connected(listener.url) as third:
                assert await status_after(third, request_bytes("/", b"", ())) == 200
            assert await first.ended()
            assert await status_after(second, request_bytes("/", b"", ())) == 200
        assert len(listener.connections) <= 2


@on_uvloop
async def test_one_address_has_no_more_connections_than_it_may() -> None:
    told: list[str] = []
    limits = Limits(connections=50, connections_per_address=2)
    async with listening(Echo(), limits, shed=told.append) as listener, AsyncExitStack() as stack:
        for _ in range(2):
            connection = await stack.enter_async_context(connected(listener.url))
            assert await status_after(connection, request_bytes("/", b"", ())) == 200
        async with connected(listener.url) as third:
            assert await status_after(third, request_bytes("/", b"", ())) == 503
            assert await third.ended()
        assert told == ["address"]
        async with connected(listener.url, source="127.0.0.2") as other:
            assert await status_after(other, request_bytes("/", b"", ())) == 200


@on_uvloop
async def test_over_tls_a_connection_too_many_of_one_address_ends_before_the_handshake(pki: Path) -> None:
    tls, ours = both_ends(pki)
    told: list[str] = []
    async with listening(Echo(), Limits(connections_per_address=1), tls, shed=told.append) as listener:
        base = listener.url.replace("127.0.0.1", "localhost")
        async with connected(base, ours) as first:
            assert await status_after(first, request_bytes("/", b"", ())) == 200
            with pytest.raises(ConnectionError):
                async with connected(base, ours):
                    pass
            assert told == ["address"]
            assert await status_after(first, request_bytes("/", b"", ())) == 200
        await gone(listener)
        async with connected(base, ours) as again:
            assert await status_after(again, request_bytes("/", b"", ())) == 200


async def gone(listener: Listener) -> None:
    """Wait until every connection has ended."""
    async with asyncio.timeout(20):
        while len(listener.connections):  # noqa: ASYNC110 what ends there is the listener's own
            await asyncio.sleep(0.005)


@pytest.mark.parametrize("reads", [0, 2000])
@pytest.mark.parametrize("closes", [False, True])
@pytest.mark.parametrize("over_tls", [True, False])
@on_uvloop
async def test_who_does_not_read_the_answer_is_cut_off(reads: int, closes: bool, over_tls: bool, pki: Path) -> None:
    """Whether more is to be written or the connection was to end."""
    tls, ours = both_ends(pki) if over_tls else (None, None)

    async def large(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_reply(send, Reply(200, b"x" * 20_000_000, close=closes))

    stop = threading.Event()
    async with listening(large, SLOW_READERS, tls) as listener, asyncio.timeout(20), asyncio.TaskGroup() as group:
        client = group.create_task(asyncio.to_thread(read_little, listener.url, ours, reads, stop))
        try:
            while not len(listener.connections):  # noqa: ASYNC110 as in `gone`
                await asyncio.sleep(0.005)
            await gone(listener)
        finally:
            stop.set()
    assert client.result() < 20_000_000


@pytest.mark.parametrize("over_tls", [True, False])
@on_uvloop
async def test_who_reads_slowly_but_well_enough_gets_all_of_the_answer(over_tls: bool, pki: Path) -> None:
    tls, ours = both_ends(pki) if over_tls else (None, None)

    async def large(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send_reply(send, Reply(200, b"x" * 700_000, close=True))

    async with listening(large, replace(SLOW_READERS, read_rate=1000), tls) as listener:
        read = await asyncio.to_thread(read_little, listener.url, ours, 20_000, threading.Event())
    assert read > 700_000


def read_little(base: str, tls: ssl.SSLContext | None, size: int, stop: threading.Event) -> int:
    """Ask for a large answer; read ``size`` bytes of it now and then until told to stop; return how many there were."""
    parts = urlsplit(base)
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(20)
    raw.connect((parts.hostname, parts.port))
    total = 0
    with raw if tls is None else tls.wrap_socket(raw, server_hostname="localhost") as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            while not stop.wait(0.005):
                if size and not (piece := connection.recv(size)):
                    break
                total += len(piece) if size else 0
            while piece := connection.recv(65_536):
                total += len(piece)
    return total


def both_ends(pki: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS of a listener and that of a client."""
    listener = server_tls(TlsFiles(pki / "localhost.pem", pki / "localhost.key", pki / "ca.pem"))
    client = client_tls(TlsFiles(pki / "gp.client.test.pem", pki / "gp.client.test.key", pki / "ca.pem"))
    return listener, client


UPGRADES = {
    "Java's own client": (
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("HTTP2-Settings", "AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAABgAGAAA"),
        ("Upgrade", "h2c"),
    ),
    "a web socket": (("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13")),
}


@pytest.mark.parametrize("name", UPGRADES)
@pytest.mark.parametrize("cut", [None, 40, 100, -3])
@on_uvloop
async def test_a_request_that_offers_another_protocol_is_read_whole(name: str, cut: int | None) -> None:
    """The offer is declined by answering in HTTP/1.1; the body counts, and so does the next request."""
    request = request_bytes("/", b"four", UPGRADES[name])
    pieces = [request] if cut is None else [request[:cut], request[cut:]]
    async with listening(Echo(), PATIENT) as listener, connected(listener.url) as connection:
        for _ in range(2):
            for piece in pieces:
                await connection.send(piece)
            answer = await connection.answer()
            assert (answer.status, answer.body) == (200, b"4")
        answer = await connection.exchange(request + request_bytes("/", b"three", ()))
        assert (answer.status, answer.body) == (200, b"4")
        assert (await connection.answer()).body == b"5"


@on_uvloop
async def test_a_tunnel_is_refused() -> None:
    async with listening(Echo(), PATIENT) as listener:
        async with connected(listener.url) as connection:
            assert await status_after(connection, b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n") == 400
        await still_serves(listener)


@on_uvloop
async def test_who_ends_after_a_whole_request_is_answered() -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await Echo()(scope, receive, send)

    async with listening(slow, PATIENT) as listener, connected(listener.url) as connection:
        await connection.send(request_bytes("/", b"four", ()))
        await asked.wait()
        await connection.end_sending()
        # Another connection's round trip: the end of the first one has been noticed by then.
        async with connected(listener.url) as other:
            assert await status_after(other, b"no HTTP\r\n\r\n") == 400
        go_on.set()
        answer = await connection.answer()
        assert (answer.status, answer.body) == (200, b"4")
        assert await connection.ended()


@on_uvloop
async def test_a_flood_of_requests_without_reading_the_answers_is_ended() -> None:
    """What waits on one connection is bounded; nobody else notices."""
    limits = Limits(pipelined=8, drain_seconds=0.2)
    most = 0

    async def count(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal most
        most += 1
        await asyncio.sleep(0)
        await Echo()(scope, receive, send)

    async with listening(count, limits) as listener:
        async with connected(listener.url) as connection:
            with contextlib.suppress(ConnectionError):
                await connection.send(request_bytes("/", b"", ()) * 5_000)
            with contextlib.suppress(ConnectionError, TimeoutError):
                async with asyncio.timeout(5):
                    await connection.reader.read()
        assert most <= 20
        await still_serves(listener)


@on_uvloop
async def test_a_few_requests_at_once_are_answered_in_turn() -> None:
    limits = Limits(pipelined=8)
    async with listening(Echo(), limits) as listener, connected(listener.url) as connection:
        for _ in range(3):
            await connection.send(b"".join(request_bytes("/", b"x" * size, ()) for size in range(8)))
            assert [int((await connection.answer()).body) for _ in range(8)] == list(range(8))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    bodies=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(min_value=0, max_value=3000), max_size=12),
)
def test_requests_in_any_pieces_are_answered_in_order(bodies: list[bytes], chunked: bool, cuts: list[int]) -> None:
    """However a stream of good requests is cut, every one is answered, and its connection stays."""

    async def converse() -> None:
        stream = b"".join(
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            + (b"%x\r\n%b\r\n" % (len(body), body) if body else b"")
            + b"0\r\nTrailer: x\r\n\r\n"
            if chunked
            else request_bytes("/", body, ())
            for body in bodies
        )
        places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
        async with listening(Echo(), PATIENT) as listener, connected(listener.url) as connection:
            connection.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for begin, end in pairwise(places):
                await connection.send(stream[begin:end])
            answers = [await connection.answer() for _ in bodies]
            assert [int(answer.body) for answer in answers] == [len(body) for body in bodies]

    uvloop.run(converse())
