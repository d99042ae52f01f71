"""The way over HTTP: one POST, with our certificate where the receiver wants one.

Spec: 40 §5.2, §6.4, §7.3.
"""

import asyncio
import ssl
from collections.abc import Callable, Collection, Mapping
from contextvars import ContextVar
from functools import lru_cache

import aiohttp
from aiohttp.connector import Connection
from aiohttp.tracing import Trace

from openscr.access.certificates import names_of_certificate
from openscr.delivery.outbox import HttpAnswer
from openscr.errors import AccessRefused, DeliveryError
from openscr.transport.verdict import TRANSPORT_PAUSE, TRANSPORT_TRIES

LARGEST_ANSWER = 1_048_576
"""Bytes of an answer that are read; an acknowledgement has about 1,600."""


Lapsed = Callable[[bytes], bool]

_EXPECTED: ContextVar[frozenset[str]] = ContextVar("names of the receiver", default=frozenset())
"""Names for the connection of the exchange under way; one connection may serve several parties in turn."""


class _NamedConnector(aiohttp.TCPConnector):
    """Gives out connections only to who is expected at the other end.

    The address's host says nothing of that: clients register hosts that their certificates do not name. What they do
    name is the party. A connection that was kept is looked at again: its certificate may have been revoked meanwhile.
    Spec: 35 §3.1, §3.2.
    """

    lapsed: Lapsed | None = None

    async def connect(
        self,
        req: aiohttp.ClientRequest,
        traces: list[Trace],
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109 its own
    ) -> Connection:
        """Connect, or take a connection from the pool. Raises: `DeliveryError` when somebody else is there."""
        connection = await super().connect(req, traces, timeout)
        expected = _EXPECTED.get()
        transport = connection.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is not None and expected and expected.isdisjoint(_names_of(certificate)):
            connection.close()
            raise DeliveryError("the receiver's certificate names another")
        if certificate is not None and self.lapsed is not None and self.lapsed(certificate):
            connection.close()
            raise DeliveryError("the receiver's certificate is not trusted")
        return connection


@lru_cache(maxsize=1024)
def _names_of(certificate: bytes) -> frozenset[str]:
    try:
        named = names_of_certificate(certificate)
    except AccessRefused:
        return frozenset()
    return frozenset(name.lower() for name in (named.common_name, *named.dns_names) if name)


class HttpCarrier:
    """Posts messages to clients' endpoints, keeping connections for the next one.

    ``tls`` presents our certificate and trusts the clients' authority, ``lapsed`` says of a receiver's (DER)
    that it was once trusted and is no more; ``timeout`` is seconds for a whole exchange, ``connect_timeout`` for its
    connection.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        *,
        lapsed: Lapsed | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        connections: int = 64,
    ) -> None:
        self._tls = tls
        self._lapsed = lapsed
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=connect_timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = _NamedConnector(limit=self._connections, ssl=self._tls or True)
            connector.lapsed = self._lapsed
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, names: Collection[str] = ()
    ) -> HttpAnswer:
        """Post once and read the answer, within limits; over TLS only to who bears one of ``names``, if any are given.

        Raises: `DeliveryError`.
        """
        session = self._open()
        _EXPECTED.set(frozenset(name.lower() for name in names))
        for attempt in range(TRANSPORT_TRIES):
            try:
                async with session.post(address, data=body, headers=headers, allow_redirects=False) as response:
                    return HttpAnswer(response.status, await _read(response))
            except aiohttp.ClientConnectorCertificateError:
                raise DeliveryError("the receiver's certificate is not trusted") from None
            except aiohttp.ClientConnectorError:
                if attempt + 1 == TRANSPORT_TRIES:
                    raise DeliveryError("no connection") from None
                await asyncio.sleep(TRANSPORT_PAUSE)
            except TimeoutError:
                raise DeliveryError("no answer in time") from None
            except aiohttp.ClientError as error:
                raise DeliveryError(f"exchange broke off ({type(error).__name__})") from None
        raise AssertionError("unreachable")

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > LARGEST_ANSWER:
            response.close()
            raise DeliveryError("the answer is too large")
    return bytes(body)
