"""Searches in an LDAP server, off the event loop, within limits.

The server is asked anonymously, over TLS or not; every attempt has a connection of its own, so that nothing is left of
one that went wrong. Referrals to other servers are not followed. Values in a filter are escaped by `filter_value`:
nothing that a caller sends becomes part of a filter otherwise.

Spec: 40 §11.1 (anonymous bind, subtree, 3 s for a search, 5 s for a connection, three attempts).
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
import structlog
from ldap3.core.exceptions import LDAPExceptionError, LDAPResponseTimeoutError, LDAPTimeLimitExceededResult
from ldap3.utils.conv import escape_filter_chars

from openscr.directory.ldap_entry import LdapEntry
from openscr.errors import ConfigurationError, DirectoryTimeout, DirectoryUnavailable

CONNECT_SECONDS: Final = 5
SEARCH_SECONDS: Final = 3
EVERYTHING_SECONDS: Final = 300
ATTEMPTS: Final = 3
PAGE: Final = 100
"""Entries of one answer; the next page is asked for then. Less than the limits that servers commonly have."""

_SUCCESS: Final = 0
_THREADS: Final = 4

_log = structlog.get_logger("directory.ldap")


@dataclass(frozen=True, slots=True)
class LdapAddress:
    """Where an LDAP server is. ``ca`` is the file of the authorities that are trusted, none for the system's."""

    host: str
    port: int
    tls: bool = False
    ca: Path | None = None

    @classmethod
    def read(cls, url: str, ca: Path | None = None) -> "LdapAddress":
        """Read ``ldap://host[:port]`` or ``ldaps://host[:port]``. Raises: `ConfigurationError`."""
        with contextlib.suppress(ValueError):
            parts = urlsplit(url)
            bare = not (parts.username or parts.query or parts.fragment or parts.path.strip("/"))
            if ca is not None and not ca.is_file():
                raise ConfigurationError(f"{ca}: there is no such file with the authorities of a directory server")
            if parts.scheme in ("ldap", "ldaps") and parts.hostname and bare and parts.port != 0:
                tls = parts.scheme == "ldaps"
                return cls(parts.hostname, parts.port or (636 if tls else 389), tls, ca)
        raise ConfigurationError("the address of a directory server is ldap://HOST:PORT or ldaps://HOST:PORT")

    def __str__(self) -> str:
        """Return the address as a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'ldaps' if self.tls else 'ldap'}://{host}:{self.port}"


def filter_value(value: str) -> str:
    """Return a value as it may stand in a filter, where it can mean nothing but itself. RFC 4515."""
    return str(escape_filter_chars(value))


class LdapClient:
    """Asks one LDAP server. `close` it. ``connect_seconds`` is the time that a connection may take."""

    def __init__(self, address: LdapAddress, connect_seconds: float = CONNECT_SECONDS) -> None:
        self.address = address
        self._connect_seconds = connect_seconds
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="ldap")
        # Many look-ups at a time must not keep the directory from being read.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="ldap-reader")

    def close(self) -> None:
        """Let the threads end."""
        for threads in (self._threads, self._reader):
            threads.shutdown(wait=False, cancel_futures=True)

    async def search(
        self,
        base: str,
        search: str,
        *,
        everything: bool = False,
        alone: bool = False,
    ) -> list[LdapEntry]:
        """Return the entries below ``base`` that a filter finds; none when there is no such base.

        ``everything`` leaves the server the time of a search for each page, instead of for all of them; ``alone``
        looks at the entry ``base`` itself only.
        Raises: `DirectoryUnavailable`, `DirectoryTimeout`.
        """
        for attempt in range(1, ATTEMPTS + 1):
            query = _Query(
                self.address, base, search, everything=everything, alone=alone, connect_seconds=self._connect_seconds
            )
            try:
                return await self._attempt(query)
            except DirectoryUnavailable as error:
                if attempt == ATTEMPTS:
                    raise
                _log.info("directory asked again", server=str(self.address), attempt=attempt, error=error.code)
        raise AssertionError("the last attempt has returned or raised")

    async def _attempt(self, query: "_Query") -> list[LdapEntry]:
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._reader if query.everything else self._threads, query.run)
        try:
            # A server that sends a little now and then would never be late for the socket.
            async with asyncio.timeout(
                EVERYTHING_SECONDS if query.everything else self._connect_seconds + SEARCH_SECONDS
            ):
                return await running
        except TimeoutError:
            raise DirectoryTimeout("the directory server did not answer in time") from None
        finally:
            query.abandon()


class _Query:
    """One attempt at one search, on a connection of its own."""

    def __init__(
        self,
        address: LdapAddress,
        base: str,
        search: str,
        *,
        everything: bool,
        alone: bool,
        connect_seconds: float,
    ) -> None:
        self._connect_seconds = connect_seconds
        self._address = address
        self._base = base
        self._search = search
        self._scope = ldap3.BASE if alone else ldap3.SUBTREE
        self.everything = everything
        self._connection: Any = None
        self._abandoned = False

    def abandon(self) -> None:
        """End the connection under whoever still waits for it."""
        self._abandoned = True
        connection = self._connection
        if connection is not None and connection.socket is not None:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)

    def run(self) -> list[LdapEntry]:
        """Search, blocking. Raises: `DirectoryUnavailable`, `DirectoryTimeout`."""
        try:
            self._connect()
            return self._read()
        except DirectoryUnavailable:
            raise
        except (LDAPExceptionError, OSError, ValueError) as error:
            # The library's own texts may repeat the filter.
            late = isinstance(error, LDAPResponseTimeoutError | LDAPTimeLimitExceededResult | TimeoutError)
            if late or "timed out" in str(error).lower():
                raise DirectoryTimeout("the directory server did not answer in time") from None
            raise DirectoryUnavailable(f"the directory server cannot be asked ({type(error).__name__})") from None
        except Exception as error:  # noqa: BLE001
            # Bytes that are no LDAP bring whatever the library's decoder makes of them.
            raise DirectoryUnavailable(f"the directory server's answer is not LDAP ({type(error).__name__})") from None
        finally:
            if self._connection is not None:
                with contextlib.suppress(Exception):
                    self._connection.unbind()

    def _connect(self) -> None:
        address = self._address
        server = ldap3.Server(
            address.host,
            address.port,
            use_ssl=address.tls,
            tls=_Tls(address) if address.tls else None,
            get_info=ldap3.NONE,
            connect_timeout=self._connect_seconds,
        )
        self._connection = ldap3.Connection(
            server,
            authentication=ldap3.ANONYMOUS,
            auto_referrals=False,
            raise_exceptions=True,
            receive_timeout=SEARCH_SECONDS,
            read_only=True,
            auto_range=False,
        )
        _close_what_fails(self._connection.strategy)
        self._connection.open()
        if self._abandoned:
            raise DirectoryTimeout("the directory server did not answer in time")
        self._connection.bind()

    def _read(self) -> list[LdapEntry]:
        entries: list[LdapEntry] = []
        cookie: bytes | None = None
        while True:
            try:
                self._connection.search(
                    self._base,
                    self._search,
                    search_scope=self._scope,
                    attributes=ldap3.ALL_ATTRIBUTES,
                    paged_size=PAGE,
                    paged_cookie=cookie,
                    time_limit=SEARCH_SECONDS,
                )
            except ldap3.core.exceptions.LDAPNoSuchObjectResult:
                return []
            if self._connection.result["result"] != _SUCCESS:
                raise DirectoryUnavailable("the directory server did not give its whole answer")
            entries += _entries(self._connection.response)
            controls = self._connection.result.get("controls") or {}
            cookie = controls.get("1.2.840.113556.1.4.319", {}).get("value", {}).get("cookie")
            if not cookie:
                return entries


class _Tls(ldap3.Tls):  # type: ignore[misc]
    """TLS whose certificates and names OpenSSL itself checks, during the handshake."""

    def __init__(self, address: LdapAddress) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._address = address

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Put TLS around the socket of a connection. Raises: `OSError`."""
        context = ssl.create_default_context(cafile=self._address.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        connection.socket = context.wrap_socket(connection.socket, server_hostname=self._address.host)


def _close_what_fails(strategy: Any) -> None:
    """Have the library close the socket of an address that it could not connect to; it only forgets it."""
    open_socket = strategy._open_socket

    def open_or_close(*address: Any, **options: Any) -> None:
        try:
            open_socket(*address, **options)
        except LDAPExceptionError:
            strategy.connection.socket.close()
            raise

    strategy._open_socket = open_or_close


def _entries(response: Sequence[dict[str, Any]]) -> list[LdapEntry]:
    # What points to other servers is no entry.
    found = (each for each in response if each["type"] == "searchResEntry")
    return [LdapEntry(each["dn"], each["raw_attributes"].items()) for each in found]
