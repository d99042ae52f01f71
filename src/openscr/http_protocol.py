"""HTTP/1.1 as our listeners speak it: what a request may cost before anybody looks at it, and how a connection ends.

The protocol puts the client's certificate, read once per connection, into ``scope["extensions"]["tls"]``, and in a
test environment what ends the connection into ``scope["extensions"]["end"]``. It answers
what never becomes a whole request: 431 for a head that is too long, 408 for one that takes too long, 400 for a body
that breaks off. Who does not read the answers, or takes for ever over it, is cut off. When a connection ends with a
request unread, the answer is still delivered: our side is shut, and what comes is thrown away for a while, because
closing over unread input would reset the connection and lose the answer.

Spec: 00 §3, §7; 35 §3.1; 40 §5.1, §6.6.
"""

import asyncio
import contextlib
import fcntl
import socket
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from typing import Any

import httptools
import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from openscr.access.certificates import ClientCertificate, names_of_certificate
from openscr.connections import Connections, Place
from openscr.errors import AccessRefused

_log = structlog.get_logger("http")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may cost. Sizes are bytes, durations seconds.

    ``head_seconds`` counts from the connection or the first byte of a further request to the end of its head,
    ``body_seconds`` from there to its last byte; ``progress_seconds`` is the longest pause within a body.
    ``drain_seconds`` and ``drain_bytes`` bound what is read only to be thrown away after an answer.
    ``read_rate`` is the least of an answer, in bytes a second, that a client must read while there is some left;
    that is looked at every ``progress_seconds``. ``keep_alive_seconds`` is how long a connection may idle between
    requests. ``connections`` and ``connections_per_address`` (0: any number) may be open at a time; ``backlog`` more
    may wait to be accepted. ``pipelined`` requests may wait on one connection for the answer to the one before them.
    ``half_open`` is whether a client that says no more is still answered; if not it counts as gone, because an answer
    that nobody reads must not pass for delivered.
    """

    head_bytes: int = 65_536
    head_seconds: float = 20.0
    body_seconds: float = 60.0
    progress_seconds: float = 20.0
    read_rate: int = 1_024
    drain_seconds: float = 2.0
    drain_bytes: int = 8_388_608
    keep_alive_seconds: int = 75
    connections: int = 2_048
    connections_per_address: int = 0
    backlog: int = 1_024
    pipelined: int = 64
    half_open: bool = True


class _Stage(IntEnum):
    """How far the request that is being read has come."""

    NONE = 0
    HEAD = 1
    BODY = 2


@dataclass(frozen=True, slots=True)
class _Reading:
    """What a client had read at an instant: the answers that had been written by then, and the bytes of them."""

    answers: int
    read: int
    at: float


CLOSE = (b"connection", b"close")
"""Says that no other request is answered on a connection."""

_CUT_OFF = b"400 Bad Request"
_TOO_SLOW = b"408 Request Timeout"
_HEAD_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_MANY = b"503 Service Unavailable"


class _Refused(Exception):
    """Ends the parser's work; the answer has been given."""


_HELD_BYTES = 65_536
"""Bytes of answers that wait for the end of the loop's turn at most."""


class _Transport:
    """The connection as the protocol's base class sees it: to close it is left to `SpineProtocol.end`.

    What is written in one turn of the loop leaves together. The base class writes head and body one by one; each on
    its own would wake whoever reads it, which costs more than writing both (measured: 25 microseconds).
    """

    __slots__ = (
        "_end",
        "_ending",
        "_held",
        "_held_bytes",
        "_loop",
        "_transport",
        "get_extra_info",
        "pause_reading",
        "resume_reading",
        "write",
    )

    def __init__(
        self,
        transport: asyncio.Transport,
        end: Callable[[], None],
        ending: Callable[[], bool],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._transport = transport
        self._end = end
        self._ending = ending
        self._loop = loop
        self._held: list[bytes] = []
        self._held_bytes = 0
        # Bound once: these are on the way of every request.
        self.write: Callable[[bytes], None] = self._hold
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def _hold(self, data: bytes) -> None:
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self._held:
            return
        held, size = self._held, self._held_bytes
        self._held, self._held_bytes = [], 0
        if size > _HELD_BYTES:
            self._transport.writelines(held)
        else:
            self._transport.write(b"".join(held))

    def is_closing(self) -> bool:
        """Whether nothing more may be written."""
        return self._ending() or self._transport.is_closing()

    def close(self) -> None:
        """End the connection."""
        self._end()

    def forget(self) -> None:
        """Write nothing from now on: an application that has not noticed the end may still try."""
        self.flush()
        self.write = _write_nothing

    def let_go(self) -> None:
        """Hold on to nothing: the connection is gone, though an application may still have this end of it.

        With TLS a quarter of a megabyte would go on with it, until the garbage collector looks, which is seldom.
        """
        self._held = []
        self.write = _write_nothing
        self._transport = _NO_CONNECTION
        self._end = self.pause_reading = self.resume_reading = _do_nothing
        self._ending = _always
        self.get_extra_info = _NO_CONNECTION.get_extra_info


def unread_of(transport: asyncio.Transport) -> tuple[int, int]:
    """Return how many bytes the other end has not taken yet, and how many it has: a number that grows by them."""
    own = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if _BYTES_ACKED is None or connection is None or connection.fileno() < 0:
        return own, -own
    waiting = int.from_bytes(fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
    return own + waiting, int.from_bytes(info[_BYTES_ACKED], sys.byteorder)


_BYTES_ACKED = slice(120, 128) if sys.platform == "linux" else None
"""Where Linux tells, in its ``tcp_info``, how much the other end has taken of what was sent."""


def _write_nothing(_data: bytes) -> None:
    """Write nothing."""


def _do_nothing() -> None:
    """Do nothing."""


def _always() -> bool:
    return True


_NO_CONNECTION = asyncio.Transport()


async def _answer_for_good(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request whose sender waits to be told to send its body.

    Who is answered instead sends it or not, as it likes: what comes next cannot be told from it, so nothing may come.
    """
    asked = False

    async def ask() -> Message:
        nonlocal asked
        asked = True
        return await receive()

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start" and not asked:
            headers = list(message.get("headers", ()))
            if CLOSE[0] not in {name.lower() for name, _ in headers}:
                message = {**message, "headers": [*headers, CLOSE]}
        await send(message)

    await app(scope, ask, answer)


class SpineProtocol(HttpToolsProtocol):
    """HTTP/1.1 over TCP or TLS, with the peer's certificate at hand, within limits."""

    client_certificate: ClientCertificate | None = None

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: Limits,
        connections: Connections,
        refusal: ASGIApp,
        may_end: bool = False,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._may_end = may_end
        self._limits = limits
        self._counted = connections
        self._refusal = refusal
        self._raw: asyncio.Transport | None = None
        self._seen: _Transport | None = None
        self._stage = _Stage.NONE
        self._head_size = 0
        # Bytes since the parser last told of something: a single field that never ends tells nothing. -1: it just did.
        self._silent = 0
        self._began = 0.0
        self._moved = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._answers = 0
        self._answered: RequestResponseCycle | None = None
        self._reading: _Reading | None = None
        # The head of a request that offers another protocol, without the offer; none while there is no such request.
        self._upgrading: bytes | None = None
        # Bytes still to be thrown away, once the connection is ending.
        self._drain: int | None = None
        self._input_ended = False

    # --- the connection ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Read the client's certificate, if the connection has one, and wait for a request."""
        self._raw = transport
        self._seen = _Transport(transport, self.end, self._is_ending, self.loop)
        super().connection_made(self._seen)  # type: ignore[arg-type]
        place = self._counted.opened(self, self.client[0] if self.client else "")
        if place is Place.CUT_OFF:
            _log.info("connection cut off: there are too many")
            self._drain = 0
            transport.abort()
            return
        if place is Place.TOLD:
            self.app = self._refusal
        tls = transport.get_extra_info("ssl_object")
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is not None:
            with contextlib.suppress(AccessRefused):
                self.client_certificate = names_of_certificate(certificate)
        self._stage = _Stage.HEAD
        self._began = self._moved = self.loop.time()
        self._set_timer()

    def data_received(self, data: bytes) -> None:
        """Read on, as long as the request stays within its limits."""
        if self._is_ending():
            self._throw_away(len(data))
            return
        stage = self._stage
        self._feed(data)
        if self._is_ending():
            return
        if self._stage is _Stage.NONE:
            if stage is not _Stage.NONE or self._silent < 0:
                self._silent = 0
                self._drop_timer()
                return
            if self._answering():
                return
            # Blank lines before a request: its time has begun.
            self._stage = _Stage.HEAD
            self._began = self.loop.time()
        self._moved = self.loop.time()
        self._silent = 0 if self._silent < 0 else self._silent + len(data)
        if self._silent > self._limits.head_bytes:
            self._refuse(_HEAD_TOO_LARGE)
        elif self._timer is None:
            self._set_timer()

    def _feed(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response("Invalid HTTP request received.")

    def _stay(self, rest: bytes) -> None:
        """Read a request that offers another protocol as if it did not, as RFC 9110 §7.8 permits.

        Java's own client offers HTTP/2 with every first request over plain HTTP. The parser takes such an offer for the
        end of HTTP, so the head goes through a fresh one without it.
        """
        if self._upgrading is None:
            # CONNECT: we are no proxy.
            self.send_400_response("Invalid HTTP request received.")
            return
        head, self._upgrading = self._upgrading, None
        self.parser = httptools.HttpRequestParser(self)
        self._feed(head)
        if rest and not self._is_ending():
            self._feed(rest)

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer what was asked before the client said that it will say no more; 400 if its body is not whole.

        Returns: whether the connection stays half open for the answer; over TLS it cannot.
        """
        self._input_ended = True
        if self._is_ending() or self._raw is None:
            return False
        if self._stage is _Stage.BODY and not self.cycle.response_started:
            self._refuse(_CUT_OFF)
            return False
        if not self._answering() or not self._limits.half_open or not self._raw.can_write_eof():
            return False
        self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        """End the connection, or let it end with the answer that is owed."""
        if not self._answering():
            # Nobody waits for an answer: what is half read was answered, or is no request yet.
            self._stage = _Stage.NONE
        super().shutdown()

    def leave(self) -> None:
        """Say with the answer that is owed, if it has not begun, that the connection ends after it."""
        if self._answering() and not self.cycle.response_started:
            self.cycle.default_headers = [*self.cycle.default_headers, CLOSE]

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of the connection."""
        self._counted.closed(self)
        self._drop_timer()
        self._drain = 0
        super().connection_lost(exc)
        self._unset_keepalive_if_required()
        if self._seen is not None:
            self._seen.let_go()
        self._raw = None
        self.pipeline.clear()
        answered, self._answered = self._answered, None
        if answered is not None and not answered.response_complete:
            # The base class tells the last request alone; others may still be before it.
            answered.disconnected = True
            answered.message_event.set()
        # Whose answer is still being made has all that it needs.
        self.cycle = self.scope = None  # type: ignore[assignment]

    def let_go_unless_made(self) -> None:
        """Let go of what was prepared for a connection, if it never came about."""
        if self._seen is None:
            self.parser = None  # type: ignore[assignment]

    # --- what the parser tells --------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Begin a request, and tell the application who is at the other end."""
        super().on_message_begin()
        if self.client_certificate is not None:
            self.scope["extensions"] = {"tls": {"client_certificate": self.client_certificate}}
        if self._may_end:
            self.scope.setdefault("extensions", {})["end"] = {"connection": self._break_off}
        if self._stage is not _Stage.HEAD:
            self._stage = _Stage.HEAD
            self._began = self.loop.time()
        self._head_size = 0
        self._silent = -1

    def on_url(self, url: bytes) -> None:
        """Take a piece of the request target."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, or a trailer."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def _count(self, size: int) -> None:
        self._head_size += size
        if self._head_size > self._limits.head_bytes:
            self._refuse(_HEAD_TOO_LARGE)
            raise _Refused

    def on_headers_complete(self) -> None:
        """Give the request to the application."""
        self._stage = _Stage.BODY
        self._began = self._moved = self.loop.time()
        self._silent = -1
        if self.parser.should_upgrade():
            self._note_upgrade()
            return
        self._drop_timer()
        self._counted.in_use(self)
        app = self.app
        if self.expect_100_continue:
            self.app = partial(_answer_for_good, app)
        super().on_headers_complete()
        self.app = app
        if len(self.pipeline) > self._limits.pipelined:
            self._refuse(_TOO_MANY)
            raise _Refused

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answered = cycle
        super()._start_asgi_task(cycle, app)

    def _note_upgrade(self) -> None:
        method = self.parser.get_method()
        if method == b"CONNECT":
            return
        version = self.parser.get_http_version().encode("ascii")
        fields = [b"%b: %b\r\n" % field for field in self.headers if field[0] not in (b"upgrade", b"http2-settings")]
        self._upgrading = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(fields))

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._silent = -1
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Take note that the request is whole."""
        if self.parser.should_upgrade():
            return
        self._stage = _Stage.NONE
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Turn to the next request; nothing more is read while requests wait for their answers."""
        if self._seen is not None:
            self._seen.flush()
        super().on_response_complete()
        self._answers += 1
        if not self._answering():
            self._counted.unused(self)
        elif self.pipeline and not self._is_ending():
            self.flow.pause_reading()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, unless an answer was given."""
        if self._stage is _Stage.BODY and self._answering() and not self.cycle.response_started:
            # A body that cannot be read to its end, such as one in broken chunks: nobody must wait for the rest of it.
            self._refuse(_CUT_OFF)
        elif self._answering():
            # What was asked before is still answered; nothing after it can be read.
            self.cycle.keep_alive = False
        elif not self._is_ending():
            super().send_400_response(msg)

    # --- time -------------------------------------------------------------------------------------------------------

    def _set_timer(self) -> None:
        self._timer = self.loop.call_later(max(0.0, self._due() - self.loop.time()), self._look)

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _due(self) -> float:
        limits = self._limits
        if self._stage is _Stage.BODY:
            return min(self._began + limits.body_seconds, self._moved + limits.progress_seconds)
        return self._began + limits.head_seconds

    def _look(self) -> None:
        """See whether the request is late; it is not while it is we who do not read, or owe an answer before it."""
        self._timer = None
        if self._drain is not None or self._stage is _Stage.NONE:
            return
        if self.flow.read_paused or self._owes_another():
            self._began = self._moved = self.loop.time()
        if self.loop.time() < self._due():
            self._set_timer()
        else:
            self._refuse(_TOO_SLOW)

    # --- what the client reads --------------------------------------------------------------------------------------

    def look_at_reading(self) -> None:
        """Cut off a client that has read less than it must of an answer since the last look. Call it now and then.

        Over TLS what is written waits behind the transport that we see, so the system is asked.
        """
        if self._raw is None or (self._raw.is_closing() and not self._raw.get_write_buffer_size()):
            return
        before, self._reading = self._reading, None
        waiting, read = unread_of(self._raw)
        if not waiting:
            return
        now = self.loop.time()
        if before is None or before.answers != self._answers:
            self._reading = _Reading(self._answers, read, now)
        elif read - before.read < self._limits.read_rate * (now - before.at):
            _log.info("connection cut off: its answer is not read")
            self._raw.abort()
        else:
            self._reading = _Reading(self._answers, read, now)

    def make_room(self) -> None:
        """End at once, because others need the place; no request is under way."""
        self.shutdown()
        if self._raw is not None and unread_of(self._raw)[0]:
            self._raw.abort()

    # --- the end ----------------------------------------------------------------------------------------------------

    def _answering(self) -> bool:
        """Whether the last request whose head has come has no answer yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _owes_another(self) -> bool:
        """Whether an answer is owed to a request before the one that is being read."""
        return bool(self.pipeline) or (self._stage is _Stage.HEAD and self._answering())

    def _refuse(self, status: bytes) -> None:
        """Answer what did not become a request, tell the application that it will not, and end the connection."""
        cycle = self.cycle
        _log.info("request refused", status=status[:3].decode(), stage=self._stage.name.lower())
        pending = self._answering()
        # An answer would be taken for that of the request before.
        if not self._owes_another() and not (pending and cycle.response_started):
            self.transport.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        if pending:
            cycle.disconnected = True
            cycle.message_event.set()
        self.end()

    def _is_ending(self) -> bool:
        return self._drain is not None

    def end(self) -> None:
        """Close the connection; with a request half read, only once its sender has had time to read the answer."""
        transport, seen = self._raw, self._seen
        if transport is None or seen is None:
            return
        seen.forget()
        unread = self._stage is not _Stage.NONE or bool(self.pipeline)
        if self._drain is not None or not unread or self._input_ended or transport.is_closing():
            self._drain = 0
            self._drop_timer()
            transport.close()
            return
        self._drain = self._limits.drain_bytes
        self._drop_timer()
        self._unset_keepalive_if_required()
        if transport.can_write_eof():
            transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(self._limits.drain_seconds, self.end)

    def _break_off(self) -> None:
        """End the connection on behalf of the application, which answers no more."""
        if self.cycle is not None:
            self.cycle.disconnected = True
        self.end()

    def _throw_away(self, size: int) -> None:
        if self._drain is not None:
            self._drain -= size
            if self._drain < 0:
                self.end()
