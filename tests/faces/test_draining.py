"""A listener that is drained answers whatever was on its way, and who shares its socket takes everything new."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from faces.test_http_protocol import on_uvloop
from journeys.wire import Answer, Connection, connected, request_bytes
from openscr.access.pki import make_demo_certificates
from openscr.faces.spine.exchange import Reply, send_reply
from openscr.http_protocol import Limits
from openscr.listeners import Listener, bind
from openscr.settings import Address
from openscr.tls import TlsFiles, client_tls, server_tls

LONG = 60.0
REQUEST = request_bytes("/", b"four", ())


class Named:
    """Answers with its name; while it is ``held`` requests that have come wait."""

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.arrived = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        while (await receive()).get("more_body"):
            pass
        self.arrived.set()
        await self.go.wait()
        await send_reply(send, Reply(200, self.name))


def listening_socket() -> socket.socket:
    """Open a socket that two listeners share."""
    return bind(Address("127.0.0.1", 0), "web")


def files(folder: Path) -> TlsFiles:
    """Return TLS files of a development authority."""
    make_demo_certificates(folder)
    return TlsFiles(folder / "localhost.pem", folder / "localhost.key", folder / "ca.pem")


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> TlsFiles:
    """Give the TLS files of this module."""
    return files(tmp_path_factory.mktemp("tls") / "pki")


@asynccontextmanager
async def serving(app: Named, shared: socket.socket, tls: ssl.SSLContext | None) -> AsyncIterator[Listener]:
    """Serve on a socket that others may share."""
    listener = Listener(app, shared.dup(), tls=tls, grace=2, limits=Limits())
    await listener.start()
    try:
        yield listener
    finally:
        listener.stop_accepting()
        await listener.stopped()


def says_close(answer: Answer) -> bool:
    """Whether an answer announces the end of its connection."""
    return answer.header("connection") == "close"


async def ask(connection: Connection) -> Answer:
    """Ask once more on a connection."""
    return await connection.exchange(REQUEST)


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "TLS"])
def test_nothing_that_was_on_its_way_is_lost(tls: TlsFiles, secure: bool) -> None:
    """Requests under way and those on kept connections are answered; the answer says that the connection ends."""

    @on_uvloop
    async def run() -> None:
        shared = listening_socket()
        context, client = (server_tls(tls), client_tls(tls)) if secure else (None, None)
        old, new = Named(b"old"), Named(b"new")
        url = f"{'https' if secure else 'http'}://127.0.0.1:{shared.getsockname()[1]}"
        async with (
            serving(old, shared, context) as leaving,
            connected(url, client) as idle,
            connected(url, client) as busy,
        ):
            assert [(await ask(each)).body for each in (idle, busy)] == [b"old", b"old"]
            old.arrived.clear()
            old.go.clear()
            under_way = asyncio.create_task(ask(busy))
            await old.arrived.wait()
            async with serving(new, shared, context):
                draining = asyncio.create_task(leaving.drain(LONG, shared=True))
                await asyncio.sleep(0)
                async with connected(url, client) as later:
                    answer = await ask(later)
                    assert (answer.body, says_close(answer)) == (b"new", False)
                old.go.set()
                answer = await under_way
                assert (answer.body, says_close(answer)) == (b"old", True)
                assert not draining.done()
                answer = await ask(idle)
                assert (answer.body, says_close(answer)) == (b"old", True)
                assert await idle.ended()
                assert await busy.ended()
                await draining
        shared.close()

    run()


@on_uvloop
async def test_a_connection_that_idles_too_long_is_closed() -> None:
    """Only then: who asks within the grace is answered."""
    shared = listening_socket()
    async with serving(Named(b"old"), shared, None) as leaving, connected(leaving.url) as idle:
        await ask(idle)
        await leaving.drain(0.2)
        leaving.stop_accepting()
        await leaving.stopped()
        assert await idle.ended()
    shared.close()


@on_uvloop
async def test_a_handshake_under_way_is_finished(tmp_path: Path) -> None:
    """Who had come to the door before it closed is let in and answered."""
    tls = files(tmp_path / "pki")
    shared = listening_socket()
    async with serving(Named(b"old"), shared, server_tls(tls)) as leaving:
        host, port = shared.getsockname()
        raw = socket.create_connection((host, port))
        raw.setblocking(False)
        while not leaving._shaking_hands():  # noqa: ASYNC110 nobody is told
            await asyncio.sleep(0)
        draining = asyncio.create_task(leaving.drain(LONG))
        await asyncio.sleep(0)
        reader, writer = await asyncio.open_connection(sock=raw, ssl=client_tls(tls), server_hostname="localhost")
        answer = await ask(Connection(reader, writer))
        assert (answer.body, says_close(answer)) == (b"old", True)
        await draining
        writer.close()
    shared.close()
