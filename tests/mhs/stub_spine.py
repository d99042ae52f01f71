"""A stub Spine on a real socket: answers as the test says, keeps what it was sent, and posts replies.

It is for what our own service cannot be made to do: faults, silence, nonsense, and answers after a time.
"""

import asyncio
import contextlib
import gzip
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Self

import aiohttp

from openscr.errors import EbxmlError
from openscr.identifiers import ebxml_timestamp, mint_uuid
from openscr.transport.ebxml import (
    Envelope,
    Reliability,
    payload_id_of,
    read_envelope,
    write_acknowledgment,
    write_message_error,
    write_user_message,
)
from openscr.transport.mime import (
    HEADER_CONTENT_ID,
    SPINE_CONTENT_TYPE,
    SPINE_HEADER_TYPE,
    SPINE_PAYLOAD_TYPE,
    Multipart,
    read_multipart,
    write_multipart,
)
from openscr.transport.soap import write_fault
from openscr.transport.xml import read_xml

PATIENCE = 60
"""Seconds after which something that must happen is taken for lost."""

SIGNALS = "urn:oasis:names:tc:ebxml-msg:service"


@dataclass(frozen=True)
class Received:
    """One request as it arrived: its headers in their order with the letters that they had, and every byte of it."""

    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the one value of a header; empty when it is not there."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else ""

    @property
    def multipart(self) -> Multipart:
        """Its parts."""
        return read_multipart(self.header("content-type"), self.body)

    @property
    def envelope(self) -> Envelope:
        """The facts of its ebXML header."""
        return read_envelope(read_xml(self.multipart.root.content(self.body)))

    @property
    def payload(self) -> bytes:
        """Its HL7 payload."""
        part = self.multipart.part(self.envelope.payload_content_id or "")
        assert part is not None
        return part.content(self.body)


@dataclass(frozen=True)
class Reply:
    """What is answered, ``delay`` seconds after the request has come, or once ``until`` is set; ``headers`` go beside
    the usual ones.
    """

    status: int
    body: bytes = b""
    content_type: str = "text/xml"
    headers: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    until: asyncio.Event | None = None

    def compressed(self) -> "Reply":
        """Return the same answer in gzip."""
        return replace(self, body=gzip.compress(self.body), headers=(*self.headers, ("Content-Encoding", "gzip")))


class BreakOff(Exception):
    """Raised by a behaviour: the connection ends without an answer."""


class Silence(Exception):
    """Raised by a behaviour: there is never an answer."""


Behaviour = Callable[[Received], Reply]


def answer(status: int, body: bytes = b"", content_type: str = "text/xml", *, delay: float = 0.0) -> Behaviour:
    """Answer so, whatever comes."""
    return lambda _: Reply(status, body, content_type, delay=delay)


accept: Behaviour = answer(202)
"""The message is taken, with an empty body."""


def acknowledge(received: Received) -> Reply:
    """Take a message with an Acknowledgment. Spec: 40 §7.3 step 2a."""
    return Reply(202, acknowledgment_of(received.envelope), headers=(("SOAPAction", f"{SIGNALS}/Acknowledgment"),))


def acknowledge_another(received: Received) -> Reply:
    """Acknowledge a message that nobody has sent."""
    return Reply(202, acknowledgment_of(replace(received.envelope, message_id=mint_uuid())))


def acknowledgment_of(envelope: Envelope) -> bytes:
    """Write the Acknowledgment of a message."""
    return write_acknowledgment(
        from_party=envelope.to_party,
        to_party=envelope.from_party,
        cpa_id=envelope.cpa_id,
        conversation_id=envelope.conversation_id,
        message_id=mint_uuid(),
        timestamp=ebxml_timestamp(datetime.now(UTC)),
        ref_to_message_id=envelope.message_id,
    )


def held(behaviour: Behaviour, until: asyncio.Event) -> Behaviour:
    """Answer as ``behaviour`` does, but not before an event."""
    return lambda received: replace(behaviour(received), until=until)


def refuse(*errors: EbxmlError, status: int = 500) -> Behaviour:
    """Refuse a message with a MessageError."""

    def behave(received: Received) -> Reply:
        envelope = received.envelope
        body = write_message_error(
            from_party=envelope.to_party,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=mint_uuid(),
            timestamp=ebxml_timestamp(datetime.now(UTC)),
            ref_to_message_id=envelope.message_id,
            errors=errors or [EbxmlError("ValueNotRecognized", "501319:Unknown eb:CPAId")],
        )
        return Reply(status, body)

    return behave


def fault(*codes: str, status: int = 500) -> Behaviour:
    """Answer with a SOAP fault that has these codes."""
    return answer(status, write_fault([(code, None) for code in codes or ("200",)]))


def break_off(_: Received) -> Reply:
    """Take the whole request and end the connection."""
    raise BreakOff


def silence(_: Received) -> Reply:
    """Take the whole request and say nothing, ever."""
    raise Silence


class StubSpine:
    """Listens on loopback. ``behaviours`` are used up one by one, the last one goes on; they may be changed any time.

    ``connections`` counts those that were opened, ``resumed`` those that took up a TLS session again.
    ``replies`` posts to an inbound address what a Spine would answer, after each message that was taken.
    """

    def __init__(self, *behaviours: Behaviour, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.behaviours: list[Behaviour] = list(behaviours or (acknowledge,))
        self.received: list[Received] = []
        self.connections = 0
        self.resumed = 0
        self.replies: Replying | None = None
        self._tls = tls
        self._port = port
        self._arrived = asyncio.Condition()
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._replies_under_way: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self._port, ssl=self._tls, backlog=1024)
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every connection and listen no more."""
        assert self._server is not None
        self._server.close()
        for task in (*self._replies_under_way, *self._conversations):
            task.cancel()
        await asyncio.gather(*self._conversations, *self._replies_under_way, return_exceptions=True)

    @property
    def port(self) -> int:
        """The port really used."""
        return self._port

    @property
    def url(self) -> str:
        """Where messages are posted to."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}/reliablemessaging/reliablerequest"

    def script(self, *behaviours: Behaviour) -> None:
        """Behave like this from the next message on."""
        self.behaviours[:] = behaviours

    async def after(self, count: int = 1) -> list[Received]:
        """Wait until ``count`` messages have come; return all that have."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: len(self.received) >= count)
        return list(self.received)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = asyncio.current_task()
        assert conversation is not None
        self._conversations[conversation] = writer
        self.connections += 1
        tls = writer.get_extra_info("ssl_object")
        self.resumed += tls is not None and bool(tls.session_reused)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, BreakOff):
                while True:
                    await self._converse(reader, writer)
        finally:
            del self._conversations[conversation]
            writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        pairs = [line.partition(":") for line in lines if line]
        headers = tuple((name, value.strip()) for name, _, value in pairs)
        length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
        received = Received(start.split(" ")[1], headers, await reader.readexactly(length))
        behaviour = self.behaviours.pop(0) if len(self.behaviours) > 1 else self.behaviours[0]
        async with self._arrived:
            self.received.append(received)
            self._arrived.notify_all()
        try:
            reply = behaviour(received)
        except Silence:
            await reader.read()
            raise BreakOff from None
        if reply.delay:
            await asyncio.sleep(reply.delay)
        if reply.until is not None:
            await reply.until.wait()
        if self.replies is not None and reply.status == 202:
            task = asyncio.create_task(self.replies.reply_to(received))
            self._replies_under_way.add(task)
            task.add_done_callback(self._replies_under_way.discard)
        written = [f"HTTP/1.1 {reply.status} Status", f"Content-Type: {reply.content_type}"]
        written += [f"{name}: {value}" for name, value in reply.headers]
        written += [f"Content-Length: {len(reply.body)}", "", ""]
        writer.write("\r\n".join(written).encode("latin-1") + reply.body)
        await writer.drain()


def reply_message(
    request: Envelope, payload: bytes, *, action: str = "MCCI_IN010000UK13", message_id: str | None = None
) -> tuple[dict[str, str], bytes]:
    """Write what a Spine posts to a client in answer to a message: headers and body. Spec: 40 §7.3 step 3, §10.5.

    A request without a MessageId is none: what is written then answers nothing.
    """
    own_id = message_id or mint_uuid()
    envelope = write_user_message(
        from_party=request.to_party,
        to_party=request.from_party,
        cpa_id=request.cpa_id,
        conversation_id=request.conversation_id,
        service=request.service,
        action=action,
        message_id=own_id,
        timestamp=ebxml_timestamp(datetime.now(UTC)),
        ref_to_message_id=request.message_id or None,
        reliability=Reliability.RELIABLE,
        spine=True,
    )
    parts = ((HEADER_CONTENT_ID, SPINE_HEADER_TYPE, envelope), (payload_id_of(own_id), SPINE_PAYLOAD_TYPE, payload))
    return {"SOAPAction": f"{request.service}/{action}", "Content-Type": SPINE_CONTENT_TYPE}, write_multipart(parts)


class Replying:
    """Posts replies to an adaptor's inbound address, each ``after`` seconds; ``answers`` are what it was told."""

    def __init__(self, inbound: str, payload: bytes, *, after: float = 0.0, tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[tuple[int, bytes]] = []
        self._inbound = inbound
        self._payload = payload
        self._after = after
        self._tls = tls

    async def reply_to(self, received: Received) -> None:
        """Answer one message, as soon as it is time."""
        await asyncio.sleep(self._after)
        headers, body = reply_message(received.envelope, self._payload)
        self.answers.append(await post_to_inbound(self._inbound, headers, body, tls=self._tls))


async def post_to_inbound(
    address: str, headers: dict[str, str], body: bytes, *, tls: ssl.SSLContext | None = None
) -> tuple[int, bytes]:
    """Post to an adaptor's inbound address as a Spine does; return status and body of its answer."""
    connector = aiohttp.TCPConnector(ssl=tls or True)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.post(address, data=body, headers=headers) as response,
    ):
        return response.status, await response.read()


def ids_of(messages: Sequence[Received]) -> list[str]:
    """Return the Message-Ids of requests, in the order in which they came."""
    return [message.header("Message-Id") for message in messages]
