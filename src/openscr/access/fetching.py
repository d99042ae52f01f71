"""What is asked of identity providers over HTTP: one small, patient-free exchange at a time, within limits.

Redirects are not followed, cookies not kept, certificates always checked. Plain HTTP is spoken with this machine alone.

Spec: 35 §4.1, §4.2, §9.1.
"""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from openscr.errors import ConfigurationError
from openscr.http_answers import AnswerTooLarge, read_within
from openscr.identifiers import is_loopback

LARGEST_ANSWER: Final = 262_144
"""Bytes of an answer that is looked at."""


class NoAnswer(Exception):
    """The other end could not be asked, or gave no answer of use. ``cause`` says which, without any of its text."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: status and body."""

    status: int
    body: bytes


def check_url(url: str, *, what: str, near: bool = True) -> str:
    """Return a URL that may be asked: HTTPS, or HTTP on this machine where ``near`` allows it.

    ``near`` is false for places that a provider elsewhere names: it must not send us to our own machine.
    Raises: `ConfigurationError`. Spec: 35 §4.1.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        _ = parts.port
    except ValueError:
        host = ""
    if not host or parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigurationError(f"{what}: this is no address that can be asked")
    local = is_loopback(host)
    if local and not near:
        raise ConfigurationError(f"{what}: a provider elsewhere must not name a place on this machine")
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ConfigurationError(f"{what}: it must be https (http on this machine alone)")
    return url


class Fetcher:
    """Asks by HTTP, with one pool of connections for all. ``timeout`` is seconds for a whole exchange."""

    def __init__(self, *, tls: ssl.SSLContext | None = None, timeout: float = 5.0, connections: int = 16) -> None:
        self._tls = tls
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def get(self, url: str, headers: Mapping[str, str] | None = None) -> Fetched:
        """Get a document. Raises: `NoAnswer`."""
        return await self._exchange("GET", url, headers, None)

    async def post(self, url: str, fields: Mapping[str, str], headers: Mapping[str, str] | None = None) -> Fetched:
        """Post a form. Raises: `NoAnswer`."""
        return await self._exchange("POST", url, headers, fields)

    async def _exchange(
        self, method: str, url: str, headers: Mapping[str, str] | None, fields: Mapping[str, str] | None
    ) -> Fetched:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=self._tls or True),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent", "Accept-Encoding"),
                # What came compressed all the same is not unpacked: it could be any size.
                auto_decompress=False,
            )
        try:
            async with self._session.request(
                method, url, headers=headers, data=fields, allow_redirects=False
            ) as response:
                return Fetched(response.status, await read_within(response, LARGEST_ANSWER))
        except AnswerTooLarge:
            raise NoAnswer("the answer is too large") from None
        except TimeoutError:
            raise NoAnswer("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # Its own text may quote the address, and that may hold a token.
            raise NoAnswer(type(error).__name__) from None

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None
