"""Where the sender's party receives its application acknowledgements: takes each, notes when, acknowledges it.

Spec: 40 §6.3, §9; 90 §6.2 "upload: application response sent", §6.4.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Iterable
from typing import Final, cast

from httptools import HttpParserError, HttpRequestParser

from openscr.bench.templates import EBXML_TIME, EVENT, MESSAGE, Template, times_at
from openscr.errors import ConfigurationError
from openscr.identifiers import mint_uuid, utc_now
from openscr.settings import Address
from openscr.transport.ebxml import write_acknowledgment

ANYWHERE: Final = Address("127.0.0.1", 0)
"""A free port of this machine."""

_ID: Final = re.compile(rb"<eb:MessageId>([0-9A-Fa-f-]{36})</eb:MessageId>")
_REF: Final = re.compile(rb"<eb:RefToMessageId>([0-9A-Fa-f-]{36})</eb:RefToMessageId>")


class Endpoint:
    """Listens for the acknowledgements of ``party_key`` from ``from_party``; ``received`` has when each came, by id.

    The id is that of the message that was acknowledged, the time that of `time.monotonic`. ``bytes`` is
    the length of all bodies.
    """

    def __init__(self, party_key: str, from_party: str, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._signal = Template(
            write_acknowledgment(
                from_party=party_key,
                to_party=from_party,
                cpa_id="S90001A000001",
                conversation_id=MESSAGE.decode(),
                message_id=MESSAGE.decode(),
                timestamp=EBXML_TIME.decode(),
                ref_to_message_id=EVENT.decode(),
            )
        )
        self.received: dict[str, float] = {}
        self.bytes = 0
        self.url = ""
        self._server: asyncio.Server | None = None
        self._arrived = asyncio.Event()

    async def start(self, address: Address = ANYWHERE) -> None:
        """Begin to listen. Raises: `ConfigurationError` when the address cannot be had."""
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: _Peer(self), address.host, address.port, ssl=self._tls)
        except OSError as error:
            raise ConfigurationError(f"callback {address}: cannot listen there ({error.strerror})") from None
        port = self._server.sockets[0].getsockname()[1]
        scheme = "https" if self._tls is not None else "http"
        self.url = f"{scheme}://{Address(address.host, port)}/inbound"

    def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    def take(self, body: bytes) -> bytes | None:
        """Note an acknowledgement; return the signal that acknowledges it, none for what is not one."""
        message, reference = _ID.search(body), _REF.search(body)
        if message is None or reference is None:
            return None
        self.bytes += len(body)
        key = reference.group(1).decode().upper()
        self.received.setdefault(key, time.monotonic())
        self._arrived.set()
        return self._signal.fill(times_at(utc_now()) | {MESSAGE: mint_uuid().encode(), EVENT: message.group(1)})

    async def wait_for(self, ids: Iterable[str], patience: float) -> int:
        """Wait until all of these messages have their acknowledgement; return how many have not when it is too long.

        ``patience`` is counted from the last one that came.
        """
        missing = set(ids) - self.received.keys()
        while missing:
            self._arrived.clear()
            try:
                async with asyncio.timeout(patience):
                    await self._arrived.wait()
            except TimeoutError:
                break
            missing -= self.received.keys()
        return len(missing)


class _Peer(asyncio.Protocol):
    """One connection of the service."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._parser = HttpRequestParser(self)
        self._body: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            if self._transport is not None:
                self._transport.close()

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        answer = self._endpoint.take(b"".join(self._body))
        self._body = []
        status, content = (b"200 OK", answer) if answer is not None else (b"500 Internal Server Error", b"")
        if self._transport is not None:
            head = b"HTTP/1.1 %s\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % (status, len(content))
            self._transport.write(head + content)
