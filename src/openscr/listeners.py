"""The listeners: sockets, handshakes, and the HTTP server that serves our applications on them.

Where there is TLS, connections are accepted here and not by the server: only so is it known who failed to come in, and
why. Who is refused gets the alert that says so.

Spec: 00 §3; 35 §3.1.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from time import monotonic

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openscr.access.registration import Cause
from openscr.connections import Connections
from openscr.errors import ConfigurationError
from openscr.http_protocol import CLOSE, Limits, SpineProtocol
from openscr.metrics import Metrics
from openscr.settings import Address
from openscr.tls import HandshakeRefused

_log = structlog.get_logger("listener")

LINGER = 1.0
"""Seconds that a client whose handshake was refused has to read why."""

ACCEPT_PAUSE = 1.0
"""Seconds before the next try when the system has no room for another connection."""

DRAIN_LOOK = 0.05
"""Seconds between looks whether the last connection has ended."""

Refused = Callable[[Cause, str | None], Awaitable[None]]
"""Is told why a handshake was refused, and the address of who was at the other end."""


def bind(address: Address, setting: str) -> socket.socket:
    """Open a listening socket. Raises: `ConfigurationError` naming the setting when the address cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address.host, address.port))
        listener.listen(Limits().backlog)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(f"{setting} {address}: cannot listen there ({reason})") from None
    listener.setblocking(False)
    return listener


class _Server(uvicorn.Server):
    """Leaves signals to the service: two servers share one process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def _until_cut_off(app: ASGIApp) -> ASGIApp:
    """Answer 503 to a request that a stop has cut off: its sender may try again.

    An answer of which a part has gone out already ends there, and the connection with it.
    """

    async def answered(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, send_on)
        except asyncio.CancelledError:
            _log.warning("request cut off by the stop")
            if begun:
                return
            headers = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 503, "headers": headers})
            await send({"type": "http.response.body"})

    return answered


async def no_room(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 to a request on a connection for which there is no room, and end the connection."""
    headers = [(b"content-length", b"0"), (b"retry-after", b"1"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body"})


class _Handshakes:
    """Accepts the connections of one socket, shakes hands, and gives those that come through to the HTTP protocol."""

    def __init__(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext,
        make_protocol: Callable[[], SpineProtocol],
        limits: Limits,
        connections: Connections,
        *,
        metrics: Metrics | None,
        refused: Refused | None,
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._make_protocol = make_protocol
        self._limits = limits
        self._connections = connections
        self._metrics = metrics
        self._refused = refused
        self._under_way: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accept connections from now on."""
        self._accepting = asyncio.create_task(self._accept(), name="handshakes")

    def stop_accepting(self) -> None:
        """Accept no more; the handshakes under way go on."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def close_door(self, *, shared: bool) -> None:
        """Accept no more. Unless others share the socket it is closed: who waits there already is let in before."""
        self.stop_accepting()
        if self._accepting is not None:
            await asyncio.gather(self._accepting, return_exceptions=True)
        if not shared:
            with contextlib.suppress(OSError):
                while True:
                    connection, address = self._listener.accept()
                    connection.setblocking(False)
                    self._take_in(connection, address[0])
            self._listener.close()

    @property
    def idle(self) -> bool:
        """Whether no handshake is under way."""
        return not self._under_way

    def stop(self) -> None:
        """Accept no more, and break off the handshakes under way: nothing was asked on those connections."""
        self.stop_accepting()
        for task in self._under_way:
            task.cancel()

    async def stopped(self) -> None:
        """Wait until nothing is under way."""
        if self._accepting is not None:
            await asyncio.gather(self._accepting, *self._under_way, return_exceptions=True)
            self._listener.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except ConnectionError:
                # Gone before anybody looked.
                continue
            except OSError as error:
                # No file descriptors left, most likely; some will be.
                _log.error("cannot accept connections", reason=error.strerror)
                await asyncio.sleep(ACCEPT_PAUSE)
                continue
            self._take_in(connection, address[0])

    def _take_in(self, connection: socket.socket, address: str) -> None:
        if len(self._under_way) >= self._limits.connections or not self._connections.may_arrive(address):
            connection.close()
            return
        task = asyncio.create_task(self._admit(connection, address))
        self._under_way.add(task)
        task.add_done_callback(partial(self._arrived, address))

    def _arrived(self, address: str, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._connections.arrived(address)

    async def _admit(self, connection: socket.socket, address: str) -> None:
        try:
            # The loop closes the connection when the handshake fails: what tells the client why goes out by this one.
            spare = connection.dup()
        except OSError as error:
            _log.error("cannot accept connections", reason=error.strerror)
            connection.close()
            return
        protocol = self._make_protocol()
        try:
            transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._limits.head_seconds,
            )
            resumed = transport.get_extra_info("ssl_object").session_reused
            self._count("resumed" if resumed else "full")
        except HandshakeRefused as refusal:
            self._count(refusal.cause.value)
            _log.info("handshake refused", reason=refusal.cause.value, address=address)
            await self._tell(spare, refusal.alert)
            if self._refused is not None:
                await self._refused(refusal.cause, address)
        except OSError as error:
            # The other end went away, or said nothing: whoever looks whether the port is open does so.
            self._count("broken_off")
            _log.debug("handshake broken off", reason=type(error).__name__, address=address)
        finally:
            spare.close()
            protocol.let_go_unless_made()

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.handshake(outcome)

    async def _tell(self, connection: socket.socket, alert: bytes) -> None:
        """Send the alert, and read what comes for a moment: closing over unread input would lose it."""
        loop = asyncio.get_running_loop()
        left = self._limits.head_bytes
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(LINGER):
                await loop.sock_sendall(connection, alert)
                connection.shutdown(socket.SHUT_WR)
                while left > 0 and (read := len(await loop.sock_recv(connection, 4096))):
                    left -= read


class Listener:
    """One socket with the application that answers on it; with ``may_end`` that may break connections off.

    ``tls`` makes it a listener for HTTPS; ``metrics`` count its handshakes, ``refused`` is told of those that failed.
    ``refusal`` answers requests on connections that are too many, and ends them; many clients are behind an address
    that ``shared`` knows; ``shed`` is told of every connection that is not served.
    """

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        grace: float,
        limits: Limits = Limits(),  # noqa: B008 frozen
        may_end: bool = False,
        metrics: Metrics | None = None,
        refused: Refused | None = None,
        refusal: ASGIApp = no_room,
        shared: Callable[[str], bool] = lambda _: False,
        shed: Callable[[str], None] | None = None,
    ) -> None:
        self._socket = listener
        self.connections = Connections(limits.connections, limits.connections_per_address, shared=shared, shed=shed)
        self._address = listener.getsockname()[:2]
        self._config = config = uvicorn.Config(
            _until_cut_off(app),
            http=SpineProtocol,
            loop="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=int(grace),
            timeout_keep_alive=limits.keep_alive_seconds,
            backlog=limits.backlog,
        )
        config.load()
        protocol = partial(
            SpineProtocol,
            limits=limits,
            connections=self.connections,
            refusal=_until_cut_off(refusal),
            may_end=may_end,
        )
        config.http_protocol_class = protocol  # type: ignore[assignment]
        self._server = _Server(config)
        self._handshakes: _Handshakes | None = None
        if tls is not None:
            self._handshakes = _Handshakes(
                listener,
                tls,
                partial(protocol, config, self._server.server_state, {}),
                limits,
                self.connections,
                metrics=metrics,
                refused=refused,
            )
        self._pause = limits.progress_seconds
        self._task: asyncio.Task[None] | None = None
        self._watch: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address really used."""
        host, port = self._address
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._handshakes else 'http'}://{shown}:{port}"

    async def start(self) -> None:
        """Accept requests from now on."""
        self._task = asyncio.create_task(self._serve(), name=f"listener {self.url}")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise ConfigurationError(f"the listener {self.url} did not start")
            await asyncio.sleep(0.005)
        self._watch = asyncio.create_task(self._watch_readers(), name=f"readers of {self.url}")

    async def _watch_readers(self) -> None:
        while True:
            await asyncio.sleep(self._pause)
            self.connections.look_at_reading()

    async def _serve(self) -> None:
        if self._handshakes is None:
            await self._server.serve(sockets=[self._socket])
        else:
            self._handshakes.start()
            await self._server.serve(sockets=[])

    def let_go(self, lapsed: Callable[[bytes], bool]) -> None:
        """End the connections whose certificate (DER) is not good any more, each after the answer that it waits for."""
        for connection in list(self._server.server_state.connections):
            tls = connection.transport.get_extra_info("ssl_object")
            certificate = tls.getpeercert(binary_form=True) if tls is not None else None
            if certificate is not None and lapsed(certificate):
                _log.info("connection let go: its certificate is not good any more")
                connection.shutdown()

    async def drain(self, grace: float, *, shared: bool = False) -> None:
        """Take no new connections, and let those that are open end of themselves, each with its next answer.

        That answer says so. A connection that idles is left open for ``grace`` seconds: a request that was on its way
        when we began is still answered. Who has ``shared`` the socket with us goes on accepting; else nobody will, and
        who comes later is told so at once.
        """
        if self._handshakes is not None:
            await self._handshakes.close_door(shared=shared)
        for server in self._server.servers:
            server.close()
        if not shared and self._handshakes is None:
            self._socket.close()
        began = monotonic()
        state = self._server.server_state
        self._config.encoded_headers = [*self._config.encoded_headers, CLOSE]
        state.default_headers = [*state.default_headers, CLOSE]
        for connection in list(state.connections):
            if isinstance(connection, SpineProtocol):
                connection.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace):
                # Nobody is told when the last connection ends.
                while state.connections or self._shaking_hands():  # noqa: ASYNC110
                    await asyncio.sleep(DRAIN_LOOK)

        # What has been under way for so long already has less time left, but some.
        left = (self._config.timeout_graceful_shutdown or 0) - (monotonic() - began)
        self._config.timeout_graceful_shutdown = max(1, int(left))

    def _shaking_hands(self) -> bool:
        return self._handshakes is not None and not self._handshakes.idle

    def stop_accepting(self) -> None:
        """Take no new requests; those under way go on."""
        self._server.should_exit = True
        if self._handshakes is not None:
            self._handshakes.stop()

    async def stopped(self) -> None:
        """Wait until the last request is answered, or the grace is over."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._handshakes is not None:
            await self._handshakes.stopped()
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
