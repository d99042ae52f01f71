"""A small listener for what a Spine sends to us: takes an answer, hands it over, acknowledges it.

Invariant: a message is handed over before it is acknowledged, and once, however often it comes.

Spec: 40 §5.4, §7.3, §9.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import OrderedDict
from typing import Final, Self

from aiohttp import web

from openscr.codes import ACKNOWLEDGEMENT
from openscr.errors import EBXML_ERRORS, ConfigurationError, DeliveryError, WireError
from openscr.identifiers import Clock, UuidFactory, ebxml_timestamp, mint_uuid, utc_now
from openscr.transport.ebxml import (
    Addressing,
    Envelope,
    Signal,
    read_envelope,
    read_signal,
    write_acknowledgment,
    write_message_error,
)
from openscr.transport.mime import Multipart, read_multipart
from openscr.transport.xml import read_xml

LARGEST_MESSAGE: Final = 5_242_880
REMEMBERED: Final = 10_000
"""Messages whose acknowledgement is kept for a repetition, and messages of ours that may still be answered."""

_log = logging.getLogger("openscr.client")


class CallbackExpectation:
    """One message of ours whose answer comes to the listener."""

    def __init__(self, message_id: str, callback: "Callback") -> None:
        self._message_id = message_id
        self._callback = callback
        self._arrived = asyncio.Event()
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def signalled(self) -> None:
        """Note that the message has arrived."""
        self._arrived.set()

    def answered(self, payload: bytes) -> None:
        """Note the answer, which also says that the message has arrived. Spec: 40 §6.5."""
        self._arrived.set()
        if not self._answer.done():
            self._answer.set_result(payload)

    async def came_within(self, seconds: float) -> bool:
        """Wait for a signal or an answer."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._arrived.wait(), seconds)
        return self._arrived.is_set()

    async def answer(self, seconds: float) -> bytes | None:
        """Wait for the answer."""
        try:
            return await asyncio.wait_for(asyncio.shield(self._answer), seconds)
        except TimeoutError:
            raise DeliveryError(f"no application acknowledgement came within {seconds:g} s") from None

    def forget(self) -> None:
        """Wait no longer; the message stays known, so that a late answer is still acknowledged."""
        self._answer.cancel()


class Callback:
    """Listens on ``host:port`` in the name of ``party_key``; port 0 picks a free one. Satisfies `Answers`.

    ``tls`` is the context of the listener where the endpoint registered for the party is ``https``.
    """

    late_signals = True

    def __init__(
        self,
        host: str,
        port: int,
        party_key: str,
        *,
        tls: ssl.SSLContext | None = None,
        clock: Clock = utc_now,
        mint: UuidFactory = mint_uuid,
    ) -> None:
        self._host = host
        self._port = port
        self._party_key = party_key
        self._tls = tls
        self._clock = clock
        self._mint = mint
        self._expected: OrderedDict[str, CallbackExpectation] = OrderedDict()
        self._acknowledged: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen. Raises: `ConfigurationError` when the address cannot be had."""
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop listening."""
        await self.stop()

    async def start(self) -> None:
        """Begin to listen, unless it does already. Raises: `ConfigurationError` when the address cannot be had."""
        if self._runner is not None:
            return
        application = web.Application(client_max_size=LARGEST_MESSAGE)
        application.router.add_post("/{path:.*}", self._take)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=2.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port, ssl_context=self._tls).start()
        except OSError as error:
            await runner.cleanup()
            where = f"{self._host}:{self._port}"
            raise ConfigurationError(f"callback {where}: cannot listen there ({error.strerror})") from None
        self._runner = runner
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening; what is being taken is finished first."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def address(self) -> tuple[str, int]:
        """Host and port really used."""
        return self._host, self._port

    async def expect(self, message_id: str, *, again: bool = False) -> CallbackExpectation:
        """Begin to wait for the answer to a message; what came when nobody listened does not come ``again``."""
        await self.start()
        expectation = CallbackExpectation(message_id.upper(), self)
        self._expected[message_id.upper()] = expectation
        while len(self._expected) > REMEMBERED:
            self._expected.popitem(last=False)
        return expectation

    # --- taking -----------------------------------------------------------------------------------------------------

    async def _take(self, request: web.Request) -> web.Response:
        """Answer one POST by the table of 40 §9."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            return _refuse(413, "message too large")
        action = request.headers.get("SOAPAction", "")
        if action.rstrip('"').endswith(("/Acknowledgment", "/MessageError")):
            return self._take_signal(body)
        try:
            multipart = read_multipart(request.headers.get("Content-Type"), body)
            envelope = read_envelope(read_xml(multipart.root.content(body)))
            payload = _payload_of(multipart, envelope)
        except WireError as error:
            _log.warning("unreadable message at the callback listener: %s", error.code)
            return _refuse(500, "Unreadable message")
        if envelope.to_party != self._party_key:
            errors = (EBXML_ERRORS["to_party"],)
            signal = write_message_error(
                ref_to_message_id=envelope.message_id, errors=errors, **self._addressing(envelope)
            )
            return _signal(signal)
        key = (envelope.from_party, envelope.message_id.upper())
        known = self._acknowledged.get(key)
        if known is not None:
            return _signal(known)
        if not envelope.ref_to_message_id:
            return _refuse(500 if envelope.action == ACKNOWLEDGEMENT else 404, "Unsolicited message")
        expectation = self._expected.get(envelope.ref_to_message_id.upper())
        if expectation is None:
            # The sender tries again: it may have been quicker than our own note of what we sent.
            return _refuse(500, "Unknown message reference")
        expectation.answered(payload)
        signal = write_acknowledgment(ref_to_message_id=envelope.message_id, **self._addressing(envelope))
        self._acknowledged[key] = signal
        while len(self._acknowledged) > REMEMBERED:
            self._acknowledged.popitem(last=False)
        return _signal(signal)

    def _take_signal(self, body: bytes) -> web.Response:
        signal: Signal | None = None
        with contextlib.suppress(WireError):
            signal = read_signal(read_xml(body))
        expectation = self._expected.get(signal.ref_to_message_id.upper()) if signal is not None else None
        if signal is None or expectation is None:
            _log.warning("late signal for a message that is not ours")
        elif signal.kind == "Acknowledgment":
            expectation.signalled()
        else:
            _log.warning("late MessageError for message %s", signal.ref_to_message_id)
        return web.Response(status=200)

    def _addressing(self, envelope: Envelope) -> Addressing:
        """Return what the header of a signal about a message says."""
        return Addressing(
            from_party=self._party_key,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=self._mint(),
            timestamp=ebxml_timestamp(self._clock()),
        )


def _payload_of(multipart: Multipart, envelope: Envelope) -> bytes:
    """Return the part that the manifest names, else the second. Spec: 40 §5.1 "Selecting parts"."""
    part = multipart.part(envelope.payload_content_id or "")
    if part is None:
        part = next((part for part in multipart.parts if part is not multipart.root), multipart.root)
    return part.content(multipart.body)


def _signal(signal: bytes) -> web.Response:
    return web.Response(status=200, body=signal, headers={"Content-Type": "text/xml"})


def _refuse(status: int, reason: str) -> web.Response:
    return web.Response(status=status, text=reason)
