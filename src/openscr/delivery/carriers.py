"""The way over HTTP: one POST, with our certificate where the receiver wants one.

Invariant: `NotConnected` is raised only when nothing of the message can have left; every other failure leaves open
whether the receiver has it.

Spec: 40 §5.2, §6.4, §7.3; 50 §2.8, F5, F6.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Final

from openscr.access.certificates import names_of_certificate
from openscr.delivery.carrier import HttpAnswer
from openscr.delivery.http_connection import BrokenOff, HttpConnection
from openscr.delivery.http_pool import HttpPool, Place, ProxyRefused, read_address
from openscr.delivery.resumption import ResumingContext
from openscr.errors import AccessRefused, DeliveryError, NotConnected
from openscr.http_answers import AnswerTooLarge
from openscr.transport.verdict import TRANSPORT_PAUSE, TRANSPORT_TRIES

LARGEST_ANSWER = 1_048_576
"""Bytes of an answer that are read; an acknowledgement has about 1,600."""

Lapsed = Callable[[bytes], bool]
"""Whether a certificate (DER) was once trusted and is no more."""

_BREAKS_A_LINE: Final = re.compile("[\r\n\0]")


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
        context = ResumingContext(tls) if tls is not None and resumes else tls
        self._pool = HttpPool(context, connections=connections, per_host=per_host, proxy=proxy)
        self._lapsed = lapsed
        self._timeout = timeout
        self._connect_timeout = connect_timeout
        self._tries = tries
        self._pause = pause
        self._largest_answer = largest_answer

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
        try:
            place = read_address(address)
        except ValueError:
            raise NotConnected("the address is no URL of HTTP") from None
        request = (_write_head(self._pool.target(place), place, headers, len(body)), body)
        for attempt in range(1, self._tries + 1):
            try:
                return await self._post(place, request, names, timeout or self._timeout)
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

    async def _post(self, place: Place, request: Sequence[bytes], names: Collection[str], seconds: float) -> HttpAnswer:
        try:
            async with asyncio.timeout(seconds):
                connection = await self._connect(place)
                try:
                    self._look_at(connection.certificate, names)
                    return await connection.ask(request, self._largest_answer)
                finally:
                    self._pool.give_back(place, connection)
        except TimeoutError:
            raise DeliveryError("no answer in time") from None
        except AnswerTooLarge:
            raise DeliveryError("the answer is too large") from None
        except BrokenOff as error:
            raise DeliveryError(f"exchange broke off ({error})") from None

    async def _connect(self, place: Place) -> HttpConnection:
        try:
            return await self._pool.take(place, self._connect_timeout)
        except TimeoutError as error:
            if error.errno is not None:
                raise _Unreachable("no connection") from None
            raise NotConnected("no connection in time") from None
        except ssl.CertificateError:
            raise NotConnected("the receiver's certificate is not trusted") from None
        except OSError:
            raise _Unreachable("no connection") from None
        except UnicodeError:
            # A name with a part that is empty or too long is no name of a host.
            raise NotConnected("the address is no URL") from None
        except ProxyRefused:
            raise NotConnected("the proxy makes no connection") from None

    def _look_at(self, certificate: bytes | None, names: Collection[str]) -> None:
        """See that the right one is at the other end. Raises: `NotConnected`.

        The address's host says nothing of that: clients register hosts that their certificates do not name. What they
        do name is the party. A connection that was kept is looked at again: it may serve several parties in turn, and
        its certificate may have been revoked meanwhile. Spec: 35 §3.1, §3.2.
        """
        if certificate is None:
            return
        if names and _names_of(certificate).isdisjoint(name.lower() for name in names):
            raise NotConnected("the receiver's certificate names another")
        if self._lapsed is not None and self._lapsed(certificate):
            raise NotConnected("the receiver's certificate is not trusted")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._pool.close()


def _write_head(target: str, place: Place, headers: Mapping[str, str], length: int) -> bytes:
    """Write a request up to its body of ``length`` bytes. Raises: `ValueError` for a header that breaks its line."""
    authorization = {"Authorization": place.authorization} if place.authorization else {}
    fields = "".join(
        [
            f"{name}: {value}\r\n"
            for name, value in (("Host", place.authority), *authorization.items(), *headers.items(), ("Accept", "*/*"))
            if _is_safe(name) and _is_safe(value)
        ]
    )
    return f"POST {target} HTTP/1.1\r\n{fields}Content-Length: {length}\r\n\r\n".encode()


def _is_safe(text: str) -> bool:
    if _BREAKS_A_LINE.search(text) is not None:
        raise ValueError("a header must not hold line ends")
    return True
