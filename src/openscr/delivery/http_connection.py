"""One HTTP/1.1 connection of ours to somebody's server: a request goes out, its answer is read within a limit.

A general client spends a tenth of a millisecond on an exchange, most of it on what a delivery never asks for; sending
and parsing alone take a tenth of that.

Spec: 40 §5.2; 90 §6.4.
"""

import asyncio
import zlib
from collections.abc import Mapping, Sequence
from typing import Final, cast

import httptools

from openscr.delivery.carrier import HttpAnswer
from openscr.http_answers import AnswerTooLarge

LARGEST_HEAD: Final = 65_536
"""Bytes of status line and headers that are read."""

_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_ANY_HEADER: Final = zlib.MAX_WBITS | 32
_INTERIM: Final = frozenset(range(100, 200)) - {101}
"""Statuses with which another answer is announced. We ask for no other protocol: who changes to one has answered."""


class BrokenOff(Exception):
    """An exchange ended without an answer; the text says how, in our words."""


class HttpConnection(asyncio.Protocol):
    """A connection that is kept for one exchange after the other.

    ``certificate`` (DER) is what the server has shown, none without TLS. ``kept_since`` is the loop's time at which the
    last exchange ended.
    """

    def __init__(self) -> None:
        self.certificate: bytes | None = None
        self.kept_since = 0.0
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[HttpAnswer] | None = None
        self._most = 0
        self._reusable = False
        self._head_only = False
        self._begin()

    def _begin(self) -> None:
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._head_size = 0
        self._body_size = 0
        self._head_read = False

    # --- the life of a connection -----------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or what TLS has made of it."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        tls = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True) if tls is not None else None

    def eof_received(self) -> None:
        """Take note that the server says no more."""
        self._end("the connection was closed")

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that there is no connection any more."""
        self._end("the connection was closed" if error is None else type(error).__name__)
        if not self.lost.done():
            self.lost.set_result(None)

    def _end(self, how: str) -> None:
        self._reusable = False
        if self._answer is None:
            return
        if self._head_read and self._headers.keys().isdisjoint(("content-length", "transfer-encoding")):
            # The end of the connection is the end of such an answer.
            self._finish()
        else:
            self._fail(BrokenOff(how))

    @property
    def reusable(self) -> bool:
        """Whether another exchange may begin."""
        transport = self.transport
        return self._reusable and not transport.is_closing() and not transport.get_write_buffer_size()

    def close(self) -> None:
        """End the connection in good order, or at once when an exchange is under way."""
        if self._reusable:
            self.transport.close()
        else:
            self.transport.abort()

    # --- an exchange ------------------------------------------------------------------------------------------------

    async def ask(self, request: Sequence[bytes], most: int) -> HttpAnswer:
        """Send a request and return its answer, decompressed, of ``most`` bytes at most (0: its body is not read).

        Raises: `BrokenOff`, `AnswerTooLarge`.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._most = most
        self._head_only = most == 0
        self._reusable = False
        self._begin()
        self.transport.writelines(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._answer is None:
            # Nobody has asked, or what was wanted is there: whatever comes belongs to no request of ours.
            self._reusable = False
            self.transport.abort()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._reusable = False
            self._finish()
        except httptools.HttpParserError:
            self._fail(BrokenOff("the answer is no HTTP"))

    def on_message_begin(self) -> None:
        """Begin an answer, perhaps after an interim one. Raises: `BrokenOff` when there is one too many."""
        if self._answer is None:
            raise BrokenOff
        self._begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; trailers say nothing to us."""
        self._head_size += len(name) + len(value)
        if self._head_size > LARGEST_HEAD:
            self._fail(BrokenOff("the head of the answer is too large"))
        elif not self._head_read:
            self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Take note that what comes now is the body."""
        self._head_read = self._parser.get_status_code() not in _INTERIM
        if self._head_read and self._head_only:
            self._finish()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        if self._answer is None:
            return
        self._body_size += len(body)
        if self._body_size <= self._most:
            self._body.append(body)
        else:
            self._fail(AnswerTooLarge())

    def on_message_complete(self) -> None:
        """Take note that the answer is whole."""
        if self._head_read:
            self._reusable = self._parser.should_keep_alive()
            self._finish()

    def _finish(self) -> None:
        answer, self._answer = self._answer, None
        if answer is None or answer.done():
            return
        try:
            body = _decompressed(b"".join(self._body), self._headers, self._most)
        except (AnswerTooLarge, BrokenOff) as error:
            answer.set_exception(error)
            return
        answer.set_result(HttpAnswer(self._parser.get_status_code(), body, self._headers))

    def _fail(self, error: Exception) -> None:
        answer, self._answer = self._answer, None
        self._reusable = False
        if answer is not None and not answer.done():
            answer.set_exception(error)
        self.transport.abort()


def _decompressed(body: bytes, headers: Mapping[str, str], most: int) -> bytes:
    encoding = headers.get("content-encoding", "identity").strip().lower()
    if not body or encoding == "identity":
        return body
    if encoding not in _COMPRESSED:
        raise BrokenOff("the answer is compressed in a way that is unknown")
    # Some servers call it deflate and leave its header away: then the first byte is none of a header.
    bare = encoding == "deflate" and body[0] & 0x0F != zlib.DEFLATED
    reader = zlib.decompressobj(-zlib.MAX_WBITS if bare else _ANY_HEADER)
    try:
        found = reader.decompress(body, most + 1)
    except zlib.error:
        raise BrokenOff("the compressed answer cannot be read") from None
    if len(found) > most:
        raise AnswerTooLarge
    if not reader.eof:
        raise BrokenOff("the compressed answer cannot be read")
    return found
