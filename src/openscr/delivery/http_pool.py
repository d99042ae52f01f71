"""Connections to other people's servers: made when there is need, kept for a while, bounded in number.

Spec: 40 §5.2; 50 §2.8, F6.
"""

import asyncio
import base64
import socket
import ssl
from collections import Counter, deque
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiohappyeyeballs import start_connection
from yarl import URL

from openscr.delivery.http_connection import BrokenOff, HttpConnection

KEPT_SECONDS: Final = 15.0
"""How long a connection is kept that nobody uses: servers close such ones after a while, at the worst moment."""

_HEAD_START: Final = 0.25
"""Seconds that one address of a host has before the next is tried beside it. Spec: RFC 8305."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a request goes: the server, and what the request's head says of it.

    ``target`` is path and query as they are written, ``authority`` the host as headers name it; ``authorization`` is
    the header that an address with a user in it stands for, else empty.
    """

    host: str
    port: int
    tls: bool
    target: str
    authority: str
    authorization: str

    @property
    def server(self) -> tuple[str, int, bool]:
        """What connections are kept by."""
        return self.host, self.port, self.tls


@lru_cache(maxsize=1024)
def read_address(address: str) -> Place:
    """Take an address apart. Raises: `ValueError` when it is no URL of HTTP."""
    url = URL(address)
    if url.scheme not in ("http", "https") or not url.raw_host or url.port is None:
        raise ValueError("no URL of HTTP")
    user = f"{url.user or ''}:{url.password or ''}".encode()
    return Place(
        host=url.raw_host,
        port=url.port,
        tls=url.scheme == "https",
        target=url.raw_path_qs,
        authority=url.host_port_subcomponent or url.raw_host,
        authorization=f"Basic {base64.b64encode(user).decode()}" if url.user or url.password else "",
    )


class ProxyRefused(Exception):
    """The proxy makes no tunnel."""


class HttpPool:
    """Gives out connections.

    ``tls`` is the context of connections over TLS (none: the system's authorities are trusted). ``connections`` are in
    use at most (0: any number), ``per_host`` of them to one server; whoever comes then waits. ``proxy`` is the URL of
    an HTTP proxy.
    """

    def __init__(self, tls: ssl.SSLContext | None, *, connections: int, per_host: int, proxy: str | None) -> None:
        self._tls = tls
        self._most = connections
        self._most_per_server = per_host
        self._proxy = read_address(proxy) if proxy is not None else None
        self._open: set[HttpConnection] = set()
        self._kept: dict[tuple[str, int, bool], list[HttpConnection]] = {}
        self._in_use: Counter[tuple[str, int, bool]] = Counter()
        self._waiting: dict[tuple[str, int, bool], deque[asyncio.Future[None]]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def target(self, place: Place) -> str:
        """Return what a request line names: a proxy without a tunnel must be told the server too."""
        return f"http://{place.authority}{place.target}" if self._proxy is not None and not place.tls else place.target

    async def take(self, place: Place, seconds: float) -> HttpConnection:
        """Return a connection for one exchange; a new one is made within ``seconds``. It must be given back.

        Raises: `OSError`, of which `TimeoutError` is one; `ProxyRefused`; `UnicodeError` when the host is no name.
        """
        server = place.server
        if self._has_room(server) and server not in self._waiting:
            self._in_use[server] += 1
        else:
            await self._wait_for_room(server)
        try:
            kept = self._kept.get(server)
            while kept:
                connection = kept.pop()
                if connection.reusable:
                    return connection
                connection.close()
            async with asyncio.timeout(seconds):
                return await self._connect(place)
        except BaseException:
            self._leave(server)
            raise

    def give_back(self, place: Place, connection: HttpConnection) -> None:
        """Take a connection back, whatever has become of it."""
        if connection.reusable:
            loop = asyncio.get_running_loop()
            connection.kept_since = loop.time()
            self._kept.setdefault(place.server, []).append(connection)
            if self._sweeper is None:
                self._sweeper = loop.call_later(KEPT_SECONDS, self._sweep)
        else:
            connection.close()
        self._leave(place.server)

    async def close(self) -> None:
        """End every connection."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        self._kept.clear()
        ending = list(self._open)
        for connection in ending:
            connection.transport.abort()
        await asyncio.gather(*(connection.lost for connection in ending))

    def _sweep(self) -> None:
        """Let go of what nobody has used for a while."""
        self._sweeper = None
        loop = asyncio.get_running_loop()
        due = loop.time() - KEPT_SECONDS
        for server, kept in list(self._kept.items()):
            for connection in [each for each in kept if each.kept_since <= due]:
                kept.remove(connection)
                connection.close()
            if not kept:
                del self._kept[server]
        if self._kept:
            self._sweeper = loop.call_later(KEPT_SECONDS / 4, self._sweep)

    # --- whose turn it is -------------------------------------------------------------------------------------------

    def _has_room(self, server: tuple[str, int, bool]) -> bool:
        return not (
            (self._most and self._in_use.total() >= self._most)
            or (self._most_per_server and self._in_use[server] >= self._most_per_server)
        )

    async def _wait_for_room(self, server: tuple[str, int, bool]) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(server, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave(server)
            raise

    def _leave(self, server: tuple[str, int, bool]) -> None:
        self._in_use[server] -= 1
        if not self._in_use[server]:
            del self._in_use[server]
        for waited_for, line in list(self._waiting.items()):
            while line and (line[0].cancelled() or self._has_room(waited_for)):
                turn = line.popleft()
                if not turn.cancelled():
                    self._in_use[waited_for] += 1
                    turn.set_result(None)
            if not line:
                del self._waiting[waited_for]

    # --- connecting -------------------------------------------------------------------------------------------------

    async def _connect(self, place: Place) -> HttpConnection:
        loop = asyncio.get_running_loop()
        through = self._proxy or place
        found = await loop.getaddrinfo(through.host, through.port, type=socket.SOCK_STREAM)
        plain = await start_connection(found, happy_eyeballs_delay=_HEAD_START, interleave=1, loop=loop)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._proxy is not None and place.tls:
            connection = await self._tunnel(place, plain)
        else:
            tls = self._context() if place.tls else None
            name = place.host if place.tls else None
            _, connection = await loop.create_connection(HttpConnection, sock=plain, ssl=tls, server_hostname=name)
        self._open.add(connection)
        connection.lost.add_done_callback(lambda _: self._open.discard(connection))
        return connection

    async def _tunnel(self, place: Place, plain: socket.socket) -> HttpConnection:
        loop = asyncio.get_running_loop()
        transport, connection = await loop.create_connection(HttpConnection, sock=plain)
        host = f"[{place.host}]" if ":" in place.host else place.host
        server = f"{host}:{place.port}"
        try:
            answer = await connection.ask([f"CONNECT {server} HTTP/1.1\r\nHost: {server}\r\n\r\n".encode()], 0)
            if answer.status != 200:
                raise ProxyRefused
            secured = await loop.start_tls(transport, connection, self._context(), server_hostname=place.host)
            if secured is None:
                raise ProxyRefused
        except BaseException as error:
            transport.abort()
            if isinstance(error, BrokenOff):
                raise ProxyRefused from None
            raise
        connection.connection_made(secured)
        return connection

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls
