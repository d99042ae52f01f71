"""Our connections to other servers, byte by byte: whatever they answer, and whenever they end. Spec: 40 §5.2."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from openscr.delivery import http_pool
from openscr.delivery.carriers import HttpCarrier
from openscr.delivery.http_pool import read_address
from openscr.errors import DeliveryError, NotConnected

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each request on a connection with the next of its ``answers``; none ends the connection."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.asked: list[bytes] = []
        self.connections = 0
        self.ended = asyncio.Event()
        self.writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Server":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more."""
        for writer in self.writers:
            writer.close()
        self._server.close()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/a%20b?c=d"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers.append(writer)
        while True:
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                self.ended.set()
                break
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.asked.append(head + await reader.readexactly(length))
            answer = self.answers.pop(0) if self.answers else PLAIN
            if answer is None:
                break
            if answer.endswith(b"\0end"):
                writer.write(answer.removesuffix(b"\0end"))
                break
            for piece in answer.split(b"\0wait"):
                writer.write(piece)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def both(*answers: bytes | None, **settings: object) -> AsyncIterator[tuple[Server, HttpCarrier]]:
    given: dict[str, object] = {"tries": 1, "timeout": 30.0} | settings
    async with Server(*answers) as server:
        http = HttpCarrier(None, **given)  # type: ignore[arg-type]
        try:
            yield server, http
        finally:
            await http.close()


async def test_what_a_request_says() -> None:
    async with both() as (server, http):
        await http.post(server.url.replace("://", "://some:body@"), {"SOAPAction": "é", "Content-Type": "a/b"}, b"<x/>")
    authority = server.asked[0].split(b"Host: ")[1].split(b"\r\n")[0].decode()
    assert server.asked == [
        f"POST /a%20b?c=d HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Basic c29tZTpib2R5\r\nSOAPAction: é\r\n"
        "Content-Type: a/b\r\nAccept: */*\r\nContent-Length: 4\r\n\r\n<x/>".encode()
    ]


@pytest.mark.parametrize("text", ["a\r\nb: c", "a\nb", "a\0b"])
async def test_no_header_breaks_its_line(text: str) -> None:
    async with both() as (server, http):
        with pytest.raises(ValueError, match="line"):
            await http.post(server.url, {"SOAPAction": text}, b"")
        assert server.asked == []


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\nX: y\r\n\r\n", 200, b"abc"),
        (b"HTTP/1.1 100 Continue\r\n\r\n\0waitHTTP/1.1 202 Accepted\r\nContent-Length: 1\r\n\r\n\0waitx", 202, b"x"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        (b"HTTP/1.1 500 No\r\ncontent-length:0\r\n\r\n", 500, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 302, b""),
    ],
)
async def test_answers_after_which_the_connection_is_kept(answer: bytes, status: int, body: bytes) -> None:
    async with both(answer) as (server, http):
        told = await http.post(server.url, {}, b"1")
        assert (told.status, told.body) == (status, body)
        assert "x" not in told.headers
        assert (await http.post(server.url, {}, b"2")).body == b"ok"
        assert server.connections == 1


@pytest.mark.parametrize(
    ("answer", "status", "body"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nwhole\0end", 200, b"whole"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", 200, b"x"),
        (PLAIN + b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nunwanted", 200, b"ok"),
    ],
)
async def test_answers_after_which_it_is_not(answer: bytes, status: int, body: bytes) -> None:
    async with both(answer) as (server, http):
        told = await http.post(server.url, {}, b"1")
        assert (told.status, told.body) == (status, body)
        assert (await http.post(server.url, {}, b"2")).body == b"ok"
        assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf\0end",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal\0end",
        b"HTTP/1.1 200 OK\r\nContent-\0end",
        b"HTTP/1.1 100 Continue\r\n\r\n\0end",
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: br\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Encoding: gzip\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\nContent-Encoding: gzip\r\n\r\n" + gzip.compress(b"x")[:12],
    ],
)
async def test_what_is_no_answer(answer: bytes | None) -> None:
    async with both(answer) as (server, http):
        with pytest.raises(DeliveryError, match="broke off") as raised:
            await http.post(server.url, {}, b"1")
        assert not isinstance(raised.value, NotConnected)
        assert (await http.post(server.url, {}, b"2")).body == b"ok"


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", bare)],
)
async def test_a_compressed_answer_counts_by_what_is_in_it(encoding: str, pack: Callable[[bytes], bytes]) -> None:
    """So a small one cannot fill the memory."""

    def answer(content: bytes) -> bytes:
        packed = pack(content)
        head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(packed)}\r\n\r\n"
        return head.encode() + packed

    async with both(answer(b"x" * 1000), answer(b"x" * 1001), largest_answer=1000) as (server, http):
        assert (await http.post(server.url, {}, b"")).body == b"x" * 1000
        with pytest.raises(DeliveryError, match="too large"):
            await http.post(server.url, {}, b"")


async def test_of_an_answer_that_nobody_reads_only_the_status_is_taken() -> None:
    endless = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nand so on"
    async with both(PLAIN, endless, largest_answer=0) as (server, http):
        for _ in range(3):
            told = await http.post(server.url, {}, b"")
            assert (told.status, told.body) == (200, b"")
        assert server.connections == 2


async def test_a_kept_connection_that_has_ended_is_not_used() -> None:
    async with both() as (server, http):
        await http.post(server.url, {}, b"1")
        (connection,) = http._pool._open
        server.writers[0].close()
        await connection.lost
        assert (await http.post(server.url, {}, b"2")).body == b"ok"
        assert server.connections == 2


async def test_a_connection_on_which_something_is_said_unasked_is_ended() -> None:
    async with both() as (server, http):
        await http.post(server.url, {}, b"1")
        (connection,) = http._pool._open
        server.writers[0].write(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await connection.lost
        assert (await http.post(server.url, {}, b"2")).body == b"ok"


async def test_connections_that_nobody_uses_are_ended_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_pool, "KEPT_SECONDS", 0.01)
    async with both() as (server, http):
        await http.post(server.url, {}, b"1")
        await server.ended.wait()
        assert http._pool._kept == {}


async def test_no_more_exchanges_than_allowed_whatever_the_servers() -> None:
    """Who waits has a turn, server by server; who gives up leaves no place taken."""
    async with both(connections=1) as (one, http), Server() as other:
        silent = asyncio.Event()

        class Held(Server):
            async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                await silent.wait()
                await super()._serve(reader, writer)

        async with Held() as held:
            first = asyncio.create_task(http.post(held.url, {}, b""))
            waiting = [asyncio.create_task(http.post(server.url, {}, b"")) for server in (one, other, one)]
            given_up = asyncio.create_task(http.post(other.url, {}, b"never"))
            for _ in range(5):
                await asyncio.sleep(0)
            given_up.cancel()
            assert one.asked == other.asked == []
            silent.set()
            await asyncio.gather(first, *waiting)
            await asyncio.gather(given_up, return_exceptions=True)
        assert (len(one.asked), len(other.asked)) == (2, 1)
        assert (await http.post(one.url, {}, b"")).body == b"ok"
        assert not http._pool._in_use


async def test_who_gives_up_in_the_middle_ends_the_connection() -> None:
    async with both(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", timeout=0.05) as (server, http):
        with pytest.raises(DeliveryError, match="no answer in time"):
            await http.post(server.url, {}, b"")
        await server.ended.wait()
        assert not http._pool._in_use


@pytest.mark.parametrize("address", ["http://", "http:///x", "http://h:99999/", "ftp://h/", "h/x", "", "http://h:x/"])
def test_what_is_no_url(address: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_address(address)


def test_an_address_taken_apart() -> None:
    place = read_address("https://[::1]/a")
    assert (place.host, place.port, place.tls, place.authority, place.target) == ("::1", 443, True, "[::1]", "/a")
    assert read_address("HTTP://Example.TEST:81").authority == "example.test:81"
    assert read_address("http://example.test").target == "/"
