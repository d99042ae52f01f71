"""A Spine that answers by a script, and files of the demo world."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from aiohttp import web

from openscr.identifiers import mint_uuid
from openscr.transport.ebxml import read_envelope, write_acknowledgment
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml

Reply = Callable[["Received"], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as the scripted Spine got it."""

    request: web.Request
    body: bytes

    @property
    def message_id(self) -> str:
        """The ``eb:MessageId`` of an ebXML message."""
        multipart = read_multipart(self.request.headers["Content-Type"], self.body)
        return read_envelope(read_xml(multipart.root.content(self.body))).message_id


@dataclass
class Script:
    """Answers in their order, the last one again and again; ``received`` is what came.

    ``polls`` answers what is asked for below ``/_poll/``, in the same way; ``polled`` is what was asked.
    """

    url: str = ""
    replies: list[Reply] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    polls: list[Reply] = field(default_factory=list)
    polled: list[Received] = field(default_factory=list)

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer one request; the demo's inbox does not exist here."""
        received = Received(request, await request.read())
        if request.path.startswith("/_poll/"):
            self.polled.append(received)
            return await self.polls[min(len(self.polled), len(self.polls)) - 1](received)
        if request.method == "GET":
            return web.Response(status=404)
        self.received.append(received)
        return await self.replies[min(len(self.received), len(self.replies)) - 1](received)


@pytest.fixture
async def script() -> AsyncIterator[Script]:
    """A listener on loopback that answers by a script."""
    script = Script()
    application = web.Application(client_max_size=8 * 1024 * 1024)
    application.router.add_route("*", "/{path:.*}", script.take)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    script.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield script
    await runner.cleanup()


def answering(status: int, body: bytes = b"") -> Reply:
    """Return a reply with this status and body."""

    async def reply(_: Received) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={"Content-Type": "text/xml"})

    return reply


async def hanging_up(received: Received) -> web.StreamResponse:
    """Break the connection off without an answer."""
    transport = received.request.transport
    assert transport is not None
    transport.abort()
    return web.Response()


async def acknowledging(received: Received) -> web.StreamResponse:
    """Say that the message has arrived."""
    return web.Response(status=202, body=acknowledgment_of(received.message_id), headers={"Content-Type": "text/xml"})


def acknowledgment_of(message_id: str) -> bytes:
    """Return the signal that acknowledges a message to the demo's GP system."""
    return write_acknowledgment(
        from_party="YES-0000806",
        to_party="Y90001-0000001",
        cpa_id="S20001A000182",
        conversation_id=message_id,
        message_id=mint_uuid(),
        timestamp="2026-03-02T10:30:00Z",
        ref_to_message_id=message_id,
    )
