"""A lean HTTP client: whole requests out, answers in, over kept connections.

What is sent stands ready as bytes, so that one process of the load can keep a service busy and its own CPU disturbs the
measurement little.

Spec: 90 §6.2 "no co-ordinated omission", §6.4.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from httptools import HttpParserError, HttpResponseParser

from openscr.errors import ConfigurationError, DeliveryError

PATIENCE: Final = 60.0
"""Seconds after which a request without an answer is given up."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the HTTP status and the body."""

    status: int
    body: bytes


class _Connection(asyncio.Protocol):
    """One kept connection; one request at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Future[Answer] | None = None
        self._body: list[bytes] = []
        self._parser: HttpResponseParser | None = None
        self.used = False
        self.begun = False
        self.open = True

    # --- as the transport sees it ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            # Nobody has asked: whatever it is, it must not become the next answer.
            self.close()
            return
        self.begun = True
        try:
            self._parser.feed_data(data)
        except HttpParserError as error:
            self._fail(f"an answer that is not HTTP ({type(error).__name__})")
            self.close()

    def eof_received(self) -> None:
        self.open = False

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        self._fail("the connection was closed")

    # --- as the parser sees it ---

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser is None or self._waiting is None:
            return
        if self._parser.get_status_code() == 100:
            return
        self.open = self.open and self._parser.should_keep_alive()
        answer = Answer(self._parser.get_status_code(), b"".join(self._body))
        if not self._waiting.done():
            self._waiting.set_result(answer)
        self._parser = None

    # --- as the load sees it ---

    async def exchange(self, wire: bytes) -> Answer:
        """Send one request and return its answer. Raises: `DeliveryError`."""
        if self._transport is None or self._transport.is_closing():
            raise DeliveryError("the connection was closed")
        self._body = []
        self._waiting, self._parser = self._loop.create_future(), HttpResponseParser(self)
        self.begun = False
        self._transport.write(wire)
        giving_up = self._loop.call_later(PATIENCE, self._fail, "no answer came")
        try:
            return await self._waiting
        finally:
            giving_up.cancel()
            self._waiting = None
            self.used = True

    def close(self) -> None:
        """Let go of it."""
        self.open = False
        if self._transport is not None:
            self._transport.close()

    def _fail(self, why: str) -> None:
        self.open = False
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(DeliveryError(why))


class Connections:
    """At most ``limit`` kept connections to the service at ``at``; who finds none free waits in line."""

    def __init__(self, at: str, tls: ssl.SSLContext | None, limit: int) -> None:
        parts = urlsplit(at)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("the address of a service is a URL such as http://127.0.0.1:8080")
        if parts.scheme == "https" and tls is None:
            raise ConfigurationError("an address that begins with https:// needs a certificate: --cert, --key, --ca")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = tls if parts.scheme == "https" else None
        self._limit = limit
        self._made = 0
        self._free: deque[_Connection] = deque()
        self._line: deque[asyncio.Future[None]] = deque()

    async def send(self, wire: bytes) -> Answer:
        """Send a whole request; return the answer. Raises: `DeliveryError`.

        What a kept connection was closed under, before any answer began, is sent once more on another one.
        """
        while True:
            connection = await self._take()
            kept = connection.used
            try:
                return await connection.exchange(wire)
            except DeliveryError:
                if connection.begun or not kept:
                    raise
            finally:
                self._give(connection)

    def close(self) -> None:
        """Let go of every connection that is free."""
        while self._free:
            self._free.pop().close()

    async def _take(self) -> _Connection:
        while True:
            while self._free:
                connection = self._free.pop()
                if connection.open:
                    return connection
                self._made -= 1
            if self._made < self._limit:
                break
            place = asyncio.get_running_loop().create_future()
            self._line.append(place)
            await place
        self._made += 1
        try:
            async with asyncio.timeout(PATIENCE):
                _, made = await asyncio.get_running_loop().create_connection(
                    _Connection, self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            self._made -= 1
            self._call_next()
            raise DeliveryError(f"no connection ({type(error).__name__})") from None
        return made

    def _give(self, connection: _Connection) -> None:
        if connection.open:
            self._free.append(connection)
        else:
            connection.close()
            self._made -= 1
        self._call_next()

    def _call_next(self) -> None:
        while self._line:
            place = self._line.popleft()
            if not place.done():
                place.set_result(None)
                return
