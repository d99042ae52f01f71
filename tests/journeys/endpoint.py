"""A client's own endpoint: takes what the service delivers, and answers as the test says."""

import asyncio
import contextlib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from lxml import etree

from journeys.wire import PATIENCE
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.identifiers import ebxml_timestamp, mint_uuid
from openscr.transport.ebxml import Envelope, read_envelope, write_acknowledgment
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml


@dataclass(frozen=True)
class Delivery:
    """One message as it arrived; header names in lower case. ``certificate`` is the caller's subject name."""

    headers: dict[str, str]
    body: bytes
    certificate: str

    @property
    def envelope(self) -> Envelope:
        """The facts of its ebXML header."""
        multipart = read_multipart(self.headers["content-type"], self.body)
        return read_envelope(read_xml(multipart.root.content(self.body)))

    @property
    def payload(self) -> etree._Element:
        """Its HL7 document."""
        multipart = read_multipart(self.headers["content-type"], self.body)
        part = multipart.part(self.envelope.payload_content_id or "")
        assert part is not None
        return read_xml(part.content(self.body))

    @property
    def acknowledgement(self) -> Acknowledgement:
        """The application acknowledgement that it carries."""
        return read_acknowledgement(self.payload)


@dataclass(frozen=True)
class Reply:
    """What the endpoint answers."""

    status: int
    body: bytes = b""
    content_type: str = "text/xml"


def acknowledge(delivery: Delivery, *, reference: str = "") -> Reply:
    """Answer as a client that has taken the message: HTTP 200 and an Acknowledgment. Spec: 40 §7.3 step 4a."""
    envelope = delivery.envelope
    body = write_acknowledgment(
        from_party=envelope.to_party,
        to_party=envelope.from_party,
        cpa_id=envelope.cpa_id,
        conversation_id=envelope.conversation_id,
        message_id=mint_uuid(),
        timestamp=ebxml_timestamp(datetime.now(UTC)),
        ref_to_message_id=reference or envelope.message_id,
    )
    return Reply(200, body)


Behaviour = Callable[[Delivery], Reply | None]
"""What to answer; none never answers."""


class ClientEndpoint:
    """Listens on loopback; ``port`` 0 takes a free one. ``behaviour`` may be changed while it runs."""

    def __init__(self, behaviour: Behaviour = acknowledge, *, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.behaviour = behaviour
        self.deliveries: list[Delivery] = []
        self._tls = tls
        self._port = port
        self._arrived = asyncio.Condition()
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, ssl=self._tls)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection and listen no more."""
        assert self._server is not None
        self._server.close()
        for writer in self._conversations.values():
            writer.transport.abort()
        await asyncio.gather(*self._conversations, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port really used."""
        return self._port

    @property
    def url(self) -> str:
        """The address to register."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/reliablemessaging/inbound"

    async def received(self, count: int = 1) -> list[Delivery]:
        """Wait until ``count`` messages have arrived; return all that have."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.deliveries) >= count)
        return list(self.deliveries)

    async def received_in_answer_to(self, message_id: str) -> Delivery:
        """Wait for the first message that refers to ``message_id``."""

        def found() -> Delivery | None:
            return next((d for d in self.deliveries if d.envelope.ref_to_message_id == message_id), None)

        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: found() is not None)
        delivery = found()
        assert delivery is not None
        return delivery

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None
        self._conversations[conversation] = writer
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    await self._converse(reader, writer)
        finally:
            del self._conversations[conversation]
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        pairs = (line.partition(":") for line in head.split("\r\n")[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        certificate = writer.get_extra_info("peercert") or {}
        names = [value for rdn in certificate.get("subject", ()) for key, value in rdn if key == "commonName"]
        delivery = Delivery(headers, body, names[0] if names else "")
        reply = self.behaviour(delivery)
        async with self._arrived:
            self.deliveries.append(delivery)
            self._arrived.notify_all()
        if reply is None:
            await reader.read()
            raise ConnectionError
        writer.write(
            f"HTTP/1.1 {reply.status} Status\r\nContent-Type: {reply.content_type}\r\n"
            f"Content-Length: {len(reply.body)}\r\n\r\n".encode("latin-1")
            + reply.body
        )
        await writer.drain()
