"""An answer that is given before its request has been read to the end: what follows is never taken for something else.

The bodies here are full of what looks like requests. Whatever is answered early, in whatever pieces it comes, every
request that is seen was sent, each has its own answer, in order, and after an answer that ends the connection there is
none.
"""

import asyncio
import contextlib
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from urllib.parse import urlsplit

import pytest
import uvloop
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send

from faces.test_http_protocol import PATIENT, listening, on_uvloop
from journeys.wire import PATIENCE, Answer, Connection, Ended, connected, request_bytes
from openscr.faces.spine.exchange import Reply, send_reply

DECEIT = b"\r\n\r\nPOST /no/request HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n0\r\n\r\nGET /none HTTP/1.1\r\n\r\n"

READS = ("nothing", "a piece", "everything")


class Early:
    """Reads as much of a body as the path says, and answers with the path. ``seen`` are the paths so far."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        self.seen.append(path)
        if not path.endswith("/nothing"):
            while (await receive()).get("more_body") and not path.endswith("/a piece"):
                pass
        await send_reply(send, Reply(200, path.encode(), close="/closing/" in path))


@dataclass(frozen=True)
class Request:
    """One request: how much of it is read before it is answered, and how its sender goes about it.

    ``patient``: its body is sent only when the answer is there, where that comes by itself. ``expecting``: its sender
    waits to be told to send the body, and sends none if it is answered instead.
    """

    reads: str
    size: int
    chunked: bool
    closing: bool
    patient: bool
    expecting: bool

    def path(self, number: int) -> str:
        """Return a path that no other request of the conversation has."""
        return f"/{number}/{'closing' if self.closing else 'going on'}/{self.reads}"

    def parts(self, number: int) -> tuple[bytes, bytes]:
        """Return head and body."""
        body = (DECEIT * (self.size // len(DECEIT) + 1))[: self.size]
        headers = [("Expect", "100-continue")] if self.expecting else []
        path = self.path(number).replace(" ", "%20")
        if not self.chunked:
            head, _, _ = request_bytes(path, b"", headers, length=self.size).partition(b"\r\n\r\n")
            return head + b"\r\n\r\n", body
        lines = [f"POST {path} HTTP/1.1", "Host: x", "Transfer-Encoding: chunked"]
        lines += [f"{name}: {value}" for name, value in headers]
        chunks = [body[: self.size // 2], body[self.size // 2 :]]
        written = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks if chunk) + b"0\r\n\r\n"
        return "\r\n".join(lines).encode() + b"\r\n\r\n", written


class Talk:
    """One connection, its requests so far, and the answers to them."""

    def __init__(self, connection: Connection, cuts: Sequence[int]) -> None:
        self._connection = connection
        self._cuts = cuts
        self._paths: list[str] = []
        self.answered: list[str] = []
        self.over = False

    async def hold(self, requests: Sequence[tuple[int, Request]]) -> None:
        """Send requests, and read their answers, as each of them says."""
        for number, request in requests:
            if self.over:
                return
            head, body = request.parts(number)
            self._paths.append(request.path(number))
            await self._send(head)
            if request.expecting:
                # Nothing but this answer, or the word to go on, must be on its way.
                await self._read(len(self._paths) - 1)
                if not self.over and await self._told_to_go_on():
                    await self._send(body)
                continue
            if request.patient and request.reads == "nothing":
                await self._read(len(self._paths))
            await self._send(body)
        await self._read(len(self._paths))

    async def _send(self, data: bytes) -> None:
        if self.over:
            return
        places = sorted({0, len(data), *(cut for cut in self._cuts if cut < len(data))})
        for begin, end in pairwise(places):
            # Who sends on without looking may find that an answer has ended the connection.
            if self._connection.writer.is_closing():
                return
            with contextlib.suppress(ConnectionError):
                await self._connection.send(data[begin:end])
            # The other end, which runs in this very loop, looks at the piece by itself.
            await asyncio.sleep(0)

    async def _told_to_go_on(self) -> bool:
        answer = await self._connection.answer()
        if answer.status == 100:
            return True
        self._take(answer)
        return False

    async def _read(self, count: int) -> None:
        while len(self.answered) < count and not self.over:
            try:
                self._take(await self._connection.answer())
            except Ended:
                # To send more after an answer that ends the connection may lose that answer.
                assert any("/closing/" in path for path in self._paths[:-1]), self._paths
                self.over = True

    def _take(self, answer: Answer) -> None:
        assert (answer.status, answer.body.decode()) == (200, self._paths[len(self.answered)])
        self.answered.append(answer.body.decode())
        self.over = answer.header("connection") == "close"


REQUESTS = st.builds(
    Request,
    reads=st.sampled_from(READS),
    size=st.sampled_from((0, 1, 150, 1_000, 70_000)),
    chunked=st.booleans(),
    closing=st.sampled_from((False, False, False, True)),
    patient=st.booleans(),
    expecting=st.sampled_from((False, False, True)),
)


def test_what_is_answered_early_is_never_mistaken() -> None:
    numbers = count()

    @settings(max_examples=200, deadline=None, phases=[Phase.explicit, Phase.generate])
    @given(
        requests=st.lists(REQUESTS, min_size=1, max_size=5),
        cuts=st.lists(st.integers(min_value=1, max_value=400), max_size=4),
    )
    def converse(requests: list[Request], cuts: list[int]) -> None:
        runner.run(conversation(requests, cuts))

    async def conversation(requests: list[Request], cuts: list[int]) -> None:
        sent = list(zip(numbers, requests))  # noqa: B905 one of them has no end
        async with connected(listener.url) as connection:
            connection.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            talk = Talk(connection, cuts)
            await talk.hold(sent)
            if talk.over:
                assert await connection.ended()
            else:
                assert len(talk.answered) == len(requests)
        # One that has not been answered may have been begun.
        seen = [path for path in early.seen if int(path.split("/")[1]) >= sent[0][0]]
        assert seen[: len(talk.answered)] == talk.answered
        assert seen == [request.path(number) for number, request in sent][: len(seen)]

    early = Early()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        serving = listening(early, PATIENT)
        listener = runner.run(serving.__aenter__())
        try:
            converse()
        finally:
            runner.run(serving.__aexit__(None, None, None))


@pytest.mark.parametrize("path", ["/nothing", "/everything"])
@on_uvloop
async def test_who_waits_to_be_told_to_send_a_body_is_told_or_answered_for_good(path: str) -> None:
    """What comes after an answer in the place of "100 Continue" may be the body or not: no one can know."""
    async with listening(Early(), PATIENT) as listener, connected(listener.url) as connection:
        head = request_bytes(path, b"", [("Expect", "100-continue")], length=4)
        answer = await connection.exchange(head)
        if path == "/everything":
            assert answer.status == 100
            answer = await connection.exchange(b"four")
            assert (answer.status, answer.header("connection")) == (200, None)
            answer = await connection.exchange(request_bytes("/nothing", b"", ()))
            assert (answer.status, answer.header("connection")) == (200, None)
        else:
            assert (answer.status, answer.header("connection")) == (200, "close")
            assert await connection.ended()


@on_uvloop
async def test_an_answer_that_ends_a_connection_arrives_though_more_was_asked() -> None:
    """Requests that wait behind it are not answered; that they are not read must not cost the answer before them."""
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        asked.set()
        await go_on.wait()
        await send_reply(send, Reply(200, b"the answer", close=True))

    def send_all_then_read() -> bytes:
        client.sendall(request_bytes("/", b"x" * 5_000_000, ()))
        return client.recv(65_536)

    request = request_bytes("/", b"", ())
    async with listening(slow, PATIENT) as listener:
        parts = urlsplit(listener.url)
        with socket.create_connection((parts.hostname, parts.port or 0), PATIENCE) as client:
            client.sendall(request)
            await asked.wait()
            client.sendall(request)
            # Another connection's round trip: by then it has been read, and nothing more will be before the answer.
            async with connected(listener.url) as other:
                assert (await other.exchange(b"no HTTP\r\n\r\n")).status == 400
            sending = asyncio.create_task(asyncio.to_thread(send_all_then_read))
            go_on.set()
            assert (await sending).endswith(b"the answer")
