"""What is left of a connection once it has ended: nothing, and that at once.

A connection over TLS has a quarter of a megabyte in buffers. The service lets its garbage collector look seldom, so
nothing of an ended connection may wait for it.
"""

import asyncio
import contextlib
import gc
import socket
import ssl
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.types import Receive, Scope, Send

from journeys.wire import PATIENCE, request_bytes
from openscr.faces.spine.exchange import Reply, send_reply
from openscr.http_protocol import Limits
from openscr.listeners import Listener

from .test_http_protocol import PATIENT, QUICK, SLOW_READERS, Echo, both_ends, listening, on_uvloop

ASKED = request_bytes("/", b"four", ())
OWN = ("SpineProtocol", "_Transport", "RequestResponseCycle", "SSLProtocol", "TCPTransport")
"""What belongs to a connection, by the names of its types."""


def ends_after_its_answer(client: socket.socket) -> None:
    client.sendall(ASKED)
    client.recv(4_096)


def ends_without_a_word(client: socket.socket) -> None:
    del client


def ends_in_a_head(client: socket.socket) -> None:
    client.sendall(ASKED[:20])


def ends_in_a_body(client: socket.socket) -> None:
    client.sendall(ASKED[:-2])


def ends_while_several_wait(client: socket.socket) -> None:
    client.sendall(ASKED * 5)


def says_no_http(client: socket.socket) -> None:
    client.sendall(b"What?\r\n\r\n")
    client.recv(4_096)


def breaks_off(client: socket.socket) -> None:
    client.sendall(ASKED)
    client.recv(4_096)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def waits_until_it_is_ended(client: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while client.recv(4_096):
            pass


ENDS = [
    (ends_after_its_answer, PATIENT),
    (ends_without_a_word, PATIENT),
    (ends_in_a_head, PATIENT),
    (ends_in_a_body, PATIENT),
    (ends_while_several_wait, PATIENT),
    (says_no_http, PATIENT),
    (breaks_off, PATIENT),
    (waits_until_it_is_ended, QUICK),
]


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is collected meanwhile, and nothing of others is left to be counted."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def left() -> Counter[str]:
    """Count what there is of connections."""
    return Counter(name for each in gc.get_objects() if (name := type(each).__name__) in OWN)


def talk(listener: Listener, tls: ssl.SSLContext | None, act: Callable[[socket.socket], None]) -> None:
    """Connect, act, and close."""
    parts = urlsplit(listener.url)
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(socket.create_connection((parts.hostname, parts.port), PATIENCE))
        if tls is not None:
            client = stack.enter_context(tls.wrap_socket(client, server_hostname="localhost"))
        act(client)


async def until_nothing_is_left() -> Counter[str]:
    """Wait until nothing is left of any connection, or for as long as a loop takes to notice the end of one."""
    for _ in range(500):
        if not left():
            break
        await asyncio.sleep(0.01)
    return left()


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("may_end", [True, False])
@pytest.mark.parametrize("over_tls", [True, False])
@pytest.mark.parametrize(("act", "limits"), ENDS, ids=lambda value: getattr(value, "__name__", ""))
@on_uvloop
async def test_nothing_is_left_of_a_connection_however_it_ends(
    act: Callable[[socket.socket], None], limits: Limits, over_tls: bool, may_end: bool, pki: Path
) -> None:
    """The garbage collector is not needed, in a test environment neither."""
    tls, ours = both_ends(pki) if over_tls else (None, None)
    async with listening(Echo(), limits, tls, may_end=may_end) as listener:
        for _ in range(3):
            await asyncio.to_thread(talk, listener, ours, act)
        assert await until_nothing_is_left() == {}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("over_tls", [True, False])
@on_uvloop
async def test_nothing_is_left_of_a_connection_whose_answer_comes_too_late(over_tls: bool, pki: Path) -> None:
    """The application answers when nobody is there any longer, and holds on to nothing then."""
    gate, asked = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Scope, _receive: Receive, send: Send) -> None:
        asked.set()
        await gate.wait()
        await send_reply(send, Reply(200, b"late"))

    tls, ours = both_ends(pki) if over_tls else (None, None)
    async with listening(slow, SLOW_READERS, tls) as listener:
        await asyncio.to_thread(talk, listener, ours, ends_in_a_body)
        await asyncio.wait_for(asked.wait(), PATIENCE)
        gate.set()
        assert await until_nothing_is_left() == {}


@pytest.mark.usefixtures("uncollected")
@on_uvloop
async def test_nothing_is_left_of_a_handshake_that_fails(pki: Path) -> None:
    """A port scan, or somebody without a certificate, over and over."""
    tls, ours = both_ends(pki)
    stranger = ssl.create_default_context(cafile=str(pki / "ca.pem"))

    def refused(listener: Listener) -> None:
        with contextlib.suppress(OSError):
            talk(listener, stranger, ends_after_its_answer)
        with contextlib.suppress(OSError):
            talk(listener, None, says_no_http)
        talk(listener, None, ends_without_a_word)

    async with listening(Echo(), PATIENT, tls) as listener:
        for _ in range(3):
            await asyncio.to_thread(refused, listener)
        await asyncio.to_thread(talk, listener, ours, ends_after_its_answer)
        assert await until_nothing_is_left() == {}


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("requests", [1, 2, 5])
@on_uvloop
async def test_who_is_answering_hears_that_nobody_is_there(requests: int) -> None:
    """Also when others wait behind that request: an answer that cannot arrive must not pass for delivered."""
    heard: list[str] = []

    async def listens(scope: Scope, receive: Receive, _send: Send) -> None:
        while (message := await receive())["type"] != "http.disconnect":
            asked.set()
        heard.append(f"{scope['path']} {message['type']}")

    asked = asyncio.Event()

    def breaks_off_in_the_middle(client: socket.socket) -> None:
        client.sendall(ASKED * requests)
        asyncio.run_coroutine_threadsafe(wait_for(asked), loop).result(PATIENCE)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    loop = asyncio.get_running_loop()
    async with listening(listens, PATIENT) as listener:
        await asyncio.to_thread(talk, listener, None, breaks_off_in_the_middle)
        assert await until_nothing_is_left() == {}
    assert heard == ["/ http.disconnect"]


async def wait_for(event: asyncio.Event) -> None:
    """Wait until something has happened."""
    await event.wait()
