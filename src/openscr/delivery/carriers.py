"""The way over HTTP: one POST, with our certificate where the receiver wants one.

Invariant: `NotConnected` is raised only when nothing of the message can have left; every other failure leaves open
whether the receiver has it.

Spec: 40 §5.2, §6.4, §7.3; 50 §2.8, F5, F6.
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
from openscr.delivery.carrier import HttpAnswer
from openscr.delivery.resumption import ResumingContext
from openscr.errors import AccessRefused, DeliveryError, NotConnected
from openscr.http_answers import AnswerTooLarge, read_within
from openscr.transport.verdict import TRANSPORT_PAUSE, TRANSPORT_TRIES

LARGEST_ANSWER = 1_048_576
"""Bytes of an answer that are read; an acknowledgement has about 1,600."""

_SCHEMES = ("http://", "https://")

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
        """Connect, or take a connection from the pool. Raises: `NotConnected` when somebody else is there."""
        connection = await super().connect(req, traces, timeout)
        expected = _EXPECTED.get()
        transport = connection.transport
        tls = transport.get_extra_info("ssl_object") if transport is not None else None
        certificate = tls.getpeercert(binary_form=True) if tls is not None else None
        if certificate is not None and expected and expected.isdisjoint(_names_of(certificate)):
            connection.close()
            raise NotConnected("the receiver's certificate names another")
        if certificate is not None and self.lapsed is not None and self.lapsed(certificate):
            connection.close()
            raise NotConnected("the receiver's certificate is not trusted")
        return connection


@lru_cache(maxsize=1024)
def _names_of(certificate: bytes) -> frozenset[str]:
    try:
        named = names_of_certificate(certificate)
    except AccessRefused:
        return frozenset()
    return frozenset(name.lower() for name in (named.common_name, *named.dns_names) if name)


class _Unreachable(NotConnected):
    """Nobody takes the connection; at once somebody may."""


class HttpCarrier:
    """Posts messages to clients' endpoints, keeping connections for the next one.

    ``tls`` presents our certificate and trusts the clients' authority, ``lapsed`` says of a receiver's (DER)
    that it was once trusted and is no more; ``timeout`` is seconds for a whole exchange, ``connect_timeout`` for its
    connection. ``connections`` are kept at most (0: any number), ``per_host`` of them to one host. ``tries`` is how
    often a connection is tried, ``pause`` seconds apart; ``proxy`` the URL of an HTTP proxy, ``largest_answer`` the
    bytes of an answer that are read (0: its status is enough); ``resumes`` takes TLS sessions up again.
    """

    def __init__(
        self,
        tls: ssl.SSLContext | None,
        *,
        lapsed: Lapsed | None = None,
        timeout: float = 30.0,
        connect_timeout: float = 5.0,
        connections: int = 64,
        per_host: int = 0,
        tries: int = TRANSPORT_TRIES,
        pause: float = TRANSPORT_PAUSE,
        proxy: str | None = None,
        largest_answer: int = LARGEST_ANSWER,
        resumes: bool = False,
    ) -> None:
        self._tls = ResumingContext(tls) if tls is not None and resumes else tls
        self._lapsed = lapsed
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._connections = connections
        self._per_host = per_host
        self._tries = tries
        self._pause = pause
        self._proxy = proxy
        self._largest_answer = largest_answer
        self._session: aiohttp.ClientSession | None = None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = _NamedConnector(limit=self._connections, limit_per_host=self._per_host, ssl=self._tls or True)
            connector.lapsed = self._lapsed
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
            )
        return self._session

    async def post(
        self,
        address: str,
        headers: Mapping[str, str],
        body: bytes,
        names: Collection[str] = (),
        *,
        timeout: float | None = None,  # noqa: ASYNC109 of one exchange, of which there may be several
        unsafe: bool = False,
    ) -> HttpAnswer:
        """Post once and read the answer, within limits; over TLS only to who bears one of ``names``, if any are given.

        Posting is tried again only while there is no connection; ``unsafe`` allows it as well when the message may
        have arrived. ``timeout`` is seconds for this exchange. Raises: `NotConnected`, `DeliveryError`.
        """
        _EXPECTED.set(frozenset(name.lower() for name in names))
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout, sock_connect=self._connect_timeout)
        for attempt in range(1, self._tries + 1):
            try:
                return await self._post(address, headers, body, limit)
            except _Unreachable:
                if attempt == self._tries:
                    raise
            except NotConnected:
                raise
            except DeliveryError:
                if attempt == self._tries or not unsafe:
                    raise
            await asyncio.sleep(self._pause)
        raise AssertionError("unreachable")

    async def _post(
        self, address: str, headers: Mapping[str, str], body: bytes, limit: aiohttp.ClientTimeout
    ) -> HttpAnswer:
        if not address.lower().startswith(_SCHEMES):
            raise NotConnected("the address is no URL of HTTP")
        try:
            async with self._open().post(
                address, data=body, headers=headers, allow_redirects=False, timeout=limit, proxy=self._proxy
            ) as response:
                content = await read_within(response, self._largest_answer) if self._largest_answer else b""
                return HttpAnswer(
                    response.status, content, {name.lower(): value for name, value in response.headers.items()}
                )
        except AnswerTooLarge:
            raise DeliveryError("the answer is too large") from None
        except aiohttp.ClientConnectorCertificateError:
            raise NotConnected("the receiver's certificate is not trusted") from None
        except aiohttp.ClientConnectorError:
            raise _Unreachable("no connection") from None
        except aiohttp.ConnectionTimeoutError:
            raise NotConnected("no connection in time") from None
        except TimeoutError:
            raise DeliveryError("no answer in time") from None
        except (aiohttp.InvalidURL, UnicodeError):
            # A name with a part that is empty or too long is no name of a host.
            raise NotConnected("the address is no URL") from None
        except aiohttp.ClientHttpProxyError:
            raise NotConnected("the proxy makes no connection") from None
        except aiohttp.ClientError as error:
            raise DeliveryError(f"exchange broke off ({type(error).__name__})") from None

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
