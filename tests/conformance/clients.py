"""The clients' side: one endpoint that stands for every client's, records what it is sent, and answers as told."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from aiohttp import web
from lxml import etree

from openscr.codes import ACTOR_TO_PARTY
from openscr.errors import EbxmlError
from openscr.identifiers import ebxml_timestamp, mint_uuid, utc_now
from openscr.transport.ebxml import Envelope, read_envelope, write_acknowledgment, write_message_error
from openscr.transport.mime import read_multipart
from openscr.transport.soap import write_fault
from openscr.transport.xml import read_xml

PATIENCE = 20.0
"""Seconds that a test waits for what must come; only a failing test waits that long."""


class Behaviour(StrEnum):
    """What the endpoint does with the next deliveries."""

    ACKNOWLEDGE = "acknowledge"
    SLOW = "slow"
    SERVER_ERROR = "500 without body"
    RETRIABLE_FAULT = "SOAP fault 200"
    MESSAGE_ERROR = "MessageError"
    NONSENSE = "a page"
    EMPTY = "202 without body"


@dataclass(frozen=True)
class Delivery:
    """One message as a client received it."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    envelope: Envelope
    envelope_xml: bytes
    payload: bytes

    @property
    def root(self) -> etree._Element:
        """The HL7 payload."""
        return read_xml(self.payload)


def read_delivery(path: str, headers: Mapping[str, str], body: bytes) -> Delivery:
    """Split a delivered message into its envelope and its payload."""
    multipart = read_multipart(headers["content-type"], body)
    envelope_xml = multipart.root.content(body)
    envelope = read_envelope(read_xml(envelope_xml))
    assert envelope.payload_content_id is not None
    part = multipart.part(envelope.payload_content_id)
    assert part is not None
    return Delivery(path, headers, body, envelope, envelope_xml, part.content(body))


def acknowledge(envelope: Envelope) -> bytes:
    """Write the signal that a client answers with."""
    return write_acknowledgment(
        from_party=envelope.to_party,
        to_party=envelope.from_party,
        cpa_id=envelope.cpa_id,
        conversation_id=envelope.conversation_id,
        message_id=mint_uuid(),
        timestamp=ebxml_timestamp(utc_now()),
        ref_to_message_id=envelope.message_id,
        actor=ACTOR_TO_PARTY,
    )


class Clients:
    """A listener on loopback. ``behaviour`` is the switch; `go_down` and `come_up` are the cable."""

    def __init__(self) -> None:
        self.behaviour = Behaviour.ACKNOWLEDGE
        self.deliveries: list[Delivery] = []
        self.released = asyncio.Event()
        self._arrived = asyncio.Condition()
        self._taken: set[int] = set()
        self._runner: web.AppRunner | None = None
        self._port = 0

    async def __aenter__(self) -> Self:
        await self.come_up()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.released.set()
        await self.go_down()

    async def come_up(self) -> None:
        """Listen, on the same port as before."""
        app = web.Application(client_max_size=10_000_000)
        app.router.add_post("/{path:.*}", self._receive)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await site.start()
        self._port = self._runner.addresses[0][1]

    async def go_down(self) -> None:
        """Refuse connections from now on."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def url(self) -> str:
        """Where the endpoint is, up or down."""
        return f"http://127.0.0.1:{self._port}"

    async def _receive(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        delivery = read_delivery(request.path, headers, await request.read())
        behaviour = self.behaviour
        async with self._arrived:
            self.deliveries.append(delivery)
            self._arrived.notify_all()
        envelope = delivery.envelope
        match behaviour:
            case Behaviour.SLOW:
                await self.released.wait()
            case Behaviour.SERVER_ERROR:
                return web.Response(status=500)
            case Behaviour.RETRIABLE_FAULT:
                return web.Response(status=500, body=write_fault([("200", None)]), content_type="text/xml")
            case Behaviour.MESSAGE_ERROR:
                error = write_message_error(
                    from_party=envelope.to_party,
                    to_party=envelope.from_party,
                    cpa_id=envelope.cpa_id,
                    conversation_id=envelope.conversation_id,
                    message_id=mint_uuid(),
                    timestamp=ebxml_timestamp(utc_now()),
                    ref_to_message_id=envelope.message_id,
                    errors=[EbxmlError("Unknown", "refused")],
                )
                return web.Response(status=200, body=error, content_type="text/xml")
            case Behaviour.NONSENSE:
                return web.Response(status=200, text="<p>It works!</p>", content_type="text/html")
            case Behaviour.EMPTY:
                return web.Response(status=202)
            case Behaviour.ACKNOWLEDGE:
                pass
        return web.Response(status=202, body=acknowledge(envelope), content_type="text/xml")

    async def answer_to(self, message_id: str) -> Delivery:
        """Wait for the delivery that refers to a message of ours, each delivery once."""
        async with self._arrived, asyncio.timeout(PATIENCE):
            while True:
                for number, delivery in enumerate(self.deliveries):
                    if number not in self._taken and delivery.envelope.ref_to_message_id == message_id:
                        self._taken.add(number)
                        return delivery
                await self._arrived.wait()
