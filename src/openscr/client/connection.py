"""HTTP to one Spine: a session that is kept, certificates where they are wanted, one POST at a time.

Spec: 35 §3.1; 40 §4.1, §5.2, §6.4, §6.6.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

import aiohttp

from openscr.errors import AccessRefused, ConfigurationError, DeliveryError
from openscr.http_answers import AnswerTooLarge, read_within
from openscr.transport.verdict import TRANSPORT_PAUSE, TRANSPORT_TRIES

LARGEST_REQUEST: Final = 5_242_880
"""Bytes of a request that a Spine takes. Spec: 40 §6.6."""

LARGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of an answer that are read: the largest document with room for what is written around it."""

_AT_ONCE: Final = 2.0
"""Seconds within which a service breaks off that does not take a certificate: it has not looked at the message."""


class NoAnswer(DeliveryError):
    """Nothing came back: no connection, no answer in time, or the exchange broke off. The message may have arrived."""

    code = "NO_ANSWER"


class CertificateRefused(AccessRefused):
    """One side does not take the other's certificate, as far as can be told; no repetition changes that."""

    code = "CERTIFICATE_REFUSED"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files of a mutual TLS connection: our certificate and key, and the authority of the service."""

    certificate: Path
    key: Path
    authority: Path

    def context(self) -> ssl.SSLContext:
        """Make the context of a client. Raises: `ConfigurationError` when a file cannot be used. Spec: 35 §3.1."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def server_context(self) -> ssl.SSLContext:
        """Make the context of a listener that wants certificates of the same authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self.certificate, self.key)
            context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            files = f"{self.certificate}, {self.key}, {self.authority}"
            raise ConfigurationError(f"the TLS files ({files}) cannot be used: {error.strerror or error}") from None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP exchange as it went over the wire, for those who want to watch. ``status`` is 0 without an answer.

    ``headers`` are the request's, ``answer_headers`` those of the answer, their names in lower case.
    """

    address: str
    headers: Mapping[str, str]
    request: bytes
    status: int = 0
    answer: bytes = b""
    problem: str = field(default="")
    answer_headers: Mapping[str, str] = field(default_factory=dict)


Observer = Callable[[Exchange], None]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back over HTTP; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connection:
    """Posts to one address and the paths below it. ``timeout`` is seconds for a whole exchange."""

    def __init__(
        self, at: str, *, tls: Tls | None = None, timeout: float = 20.0, observer: Observer | None = None
    ) -> None:
        parts = urlsplit(at)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ConfigurationError("the address of a service is a URL such as http://127.0.0.1:8080")
        self.at = at.rstrip("/")
        self.secure = parts.scheme == "https"
        self._context = tls.context() if tls is not None else None
        self._timeout = timeout
        self._observer = observer
        self._session: aiohttp.ClientSession | None = None
        # Whether this service has ever answered us, and how often running it has broken off at once.
        self._answered = False
        self._broken_off_at_once = 0

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of the connections."""
        await self.close()

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context or True),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
        """Post and return status and body of the answer.

        Raises: `NoAnswer`; `AccessRefused` when one side does not take the other's certificate; `DeliveryError` for a
        body that no Spine would take. Spec: 40 §6.4, §6.6.
        """
        reply = await self.exchange("POST", path, headers, body)
        return reply.status, reply.body

    async def get(self, path: str) -> tuple[int, bytes]:
        """Get a resource that is no message: no observer sees it. Raises as `post`."""
        reply = await self._exchange("GET", self.at + path, {}, b"")
        return reply.status, reply.body

    async def exchange(self, method: str, path: str, headers: Mapping[str, str], body: bytes = b"") -> HttpReply:
        """Send a request and return the whole answer. Raises as `post`."""
        if len(body) > LARGEST_REQUEST:
            raise DeliveryError(f"the message has {len(body)} bytes; a Spine takes at most {LARGEST_REQUEST}")
        address = path if "://" in path else self.at + path
        try:
            reply = await self._exchange(method, address, headers, body)
        except (NoAnswer, AccessRefused) as error:
            self._tell(Exchange(address, headers, body, problem=error.diagnostics))
            raise
        self._tell(Exchange(address, headers, body, reply.status, reply.body, answer_headers=reply.headers))
        return reply

    def _tell(self, exchange: Exchange) -> None:
        if self._observer is not None:
            self._observer(exchange)

    async def _exchange(self, method: str, address: str, headers: Mapping[str, str], body: bytes) -> HttpReply:
        session = self._open()
        started = time.monotonic()
        for attempt in range(1, TRANSPORT_TRIES + 1):
            try:
                async with session.request(
                    method, address, data=body or None, headers=headers, allow_redirects=False
                ) as response:
                    self._answered = True
                    headers_of = {name.lower(): value for name, value in response.headers.items()}
                    return HttpReply(response.status, headers_of, await read_within(response, LARGEST_ANSWER))
            except AnswerTooLarge:
                raise DeliveryError(f"the answer is larger than {LARGEST_ANSWER} bytes") from None
            except aiohttp.ClientConnectorCertificateError:
                raise CertificateRefused(f"the certificate of {self.at} is not from the authority given") from None
            except aiohttp.ClientConnectorError as error:
                if isinstance(error, aiohttp.ClientConnectorSSLError):
                    raise CertificateRefused(f"no TLS connection to {self.at}: {_alert(error)}") from None
                if isinstance(error.os_error, ConnectionResetError):
                    raise self._broken_off(started) from None
                self._broken_off_at_once = 0
                if attempt == TRANSPORT_TRIES:
                    raise NoAnswer(f"nothing answers at {self.at}") from None
                await asyncio.sleep(TRANSPORT_PAUSE)
                started = time.monotonic()
            except TimeoutError:
                self._broken_off_at_once = 0
                raise NoAnswer(f"no answer from {self.at} within {self._timeout:g} s") from None
            except aiohttp.ClientOSError as error:
                if isinstance(error.__cause__ or error.__context__, ssl.SSLError) or "SSL" in str(error):
                    raise CertificateRefused(f"{self.at} does not take our certificate: {_alert(error)}") from None
                raise self._broken_off(started) from None
            except (aiohttp.ClientError, ConnectionError):
                raise self._broken_off(started) from None
        raise AssertionError("unreachable")

    def _broken_off(self, started: float) -> NoAnswer | CertificateRefused:
        """Return what it means that an exchange broke off which began at ``started``.

        A server that closes at once does not let its TLS alert through. Once may be chance; twice running, from a
        service that has never answered, is a certificate that it does not take: that is not tried again. Spec: 40 §6.4.
        """
        said = f"the exchange with {self.at} broke off"
        if self._context is None:
            return NoAnswer(said)
        at_once = not self._answered and time.monotonic() - started < _AT_ONCE
        self._broken_off_at_once = self._broken_off_at_once + 1 if at_once else 0
        if self._broken_off_at_once < 2:
            return NoAnswer(f"{said}; it may not take our certificate")
        return CertificateRefused(f"{said} at once, again and again; it does not take our certificate")


def _alert(error: BaseException) -> str:
    """Return the name of the TLS alert in an error, in words."""
    cause: BaseException | None = error
    while cause is not None:
        reason = getattr(cause, "reason", None)
        if isinstance(reason, str) and reason:
            return reason.lower().replace("_", " ")
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
    return "the handshake failed"
