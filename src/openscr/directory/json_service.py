"""A directory that answers searches over HTTP with JSON, asked within limits of time and size.

Redirects are not followed, cookies not kept; no text of an answer comes into an error.

Spec: 50 §5.1, §5.2, F12.
"""

import json
import ssl
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode, urlsplit

import aiohttp
from yarl import URL

from openscr.errors import ConfigurationError, DirectoryTimeout, DirectoryUnavailable, EndpointUnknown
from openscr.http_answers import AnswerTooLarge, read_within

CONNECT_SECONDS: Final = 5.0
ANSWER_SECONDS: Final = 10.0
LARGEST_ANSWER: Final = 4 * 1024 * 1024
CONNECTIONS: Final = 16

_BAD_REQUEST: Final = 400
_REFUSED_KEY: Final = (401, 403)


class JsonService:
    """Asks one service below ``base``; ``what`` names it in errors, ``proxy`` is the URL of an HTTP proxy.

    ``tls`` is for services that the system's authorities do not vouch for.
    """

    def __init__(
        self,
        base: str,
        *,
        what: str,
        tls: ssl.SSLContext | None = None,
        proxy: str = "",
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self._base = _address(base, what)
        self._what = what
        self._tls = tls
        self._proxy = _address(proxy, f"the proxy towards {what}") if proxy else None
        self._timeout = aiohttp.ClientTimeout(total=answer_seconds, sock_connect=CONNECT_SECONDS)
        self._session: aiohttp.ClientSession | None = None

    async def get(self, path: str, parameters: Iterable[tuple[str, str]], headers: Mapping[str, str]) -> Any:
        """Return the JSON that stands at a path.

        Raises: `EndpointUnknown` when the service takes the values of the question for nonsense;
        `DirectoryUnavailable`, `DirectoryTimeout`.
        """
        url = URL(f"{self._base}/{path}?{urlencode(list(parameters), quote_via=quote, safe='')}", encoded=True)
        try:
            async with self._open().get(url, headers=headers, allow_redirects=False, proxy=self._proxy) as response:
                status, body = response.status, await read_within(response, LARGEST_ANSWER)
        except AnswerTooLarge:
            text = f"the answer of {self._what} is larger than {LARGEST_ANSWER} bytes"
            raise DirectoryUnavailable(text) from None
        except TimeoutError:
            raise DirectoryTimeout(f"{self._what} did not answer in time") from None
        except aiohttp.ClientConnectorCertificateError:
            raise DirectoryUnavailable(f"the certificate of {self._what} is not trusted") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise DirectoryUnavailable(f"{self._what} cannot be asked ({type(error).__name__})") from None
        if status == _BAD_REQUEST:
            raise EndpointUnknown(f"{self._what} does not take what it was asked (HTTP 400)")
        if status in _REFUSED_KEY:
            raise DirectoryUnavailable(f"{self._what} does not let us ask (HTTP {status}): look at the key for it")
        if status != 200:
            raise DirectoryUnavailable(f"{self._what} answered HTTP {status}")
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise DirectoryUnavailable(f"the answer of {self._what} is not JSON") from None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=self._tls or True),
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("User-Agent",),
            )
        return self._session

    async def close(self) -> None:
        """Let go of all connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _address(url: str, what: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise ConfigurationError(f"the address of {what} is a URL such as https://sds.example/spine-directory/FHIR/R4")
    return url.rstrip("/")
