"""The listeners: sockets, TLS, and the HTTP server that serves our applications on them.

Spec: 00 §3; 35 §3.1.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import structlog
import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openscr.errors import ConfigurationError
from openscr.http_protocol import Limits, SpineProtocol
from openscr.settings import Address

_log = structlog.get_logger("listener")

TLS_SUITES = ":".join(
    (
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "DHE-RSA-AES256-GCM-SHA384",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-AES128-GCM-SHA256",
    )
)
"""Suites of TLS 1.2; those of 1.3 are the library's own three. Spec: 35 §3.1."""

LEGACY_SUITES = ":".join(
    ("ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA")
)


def server_tls(
    certificate: Path, key: Path, authority: Path, crl: Path | None, *, highest: str, legacy_ciphers: bool
) -> ssl.SSLContext:
    """Make the context of the spine listener: a client certificate is required. Spec: 35 §3.1.

    Raises: `ConfigurationError` when a file is missing or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if highest == "1.2" else ssl.TLSVersion.TLSv1_3
    context.set_ciphers(f"{TLS_SUITES}:{LEGACY_SUITES}" if legacy_ciphers else TLS_SUITES)
    context.verify_mode = ssl.CERT_REQUIRED
    try:
        context.load_cert_chain(certificate, key)
        context.load_verify_locations(authority)
        if crl is not None:
            context.load_verify_locations(crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"the TLS files ({certificate}, {key}, {authority}) cannot be used: {error.strerror or error}"
        ) from None
    return context


def client_tls(certificate: Path, key: Path, authority: Path) -> ssl.SSLContext:
    """Make the context for our own requests to clients: our certificate, and the authority that we trust."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # Clients register hosts that their certificates often do not name; delivery looks for the party's names. 35 §3.1.
    context.check_hostname = False
    context.load_verify_locations(authority)
    context.load_cert_chain(certificate, key)
    return context


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


class Listener:
    """One socket with the application that answers on it; with ``may_end`` that may break connections off."""

    def __init__(
        self,
        app: ASGIApp,
        listener: socket.socket,
        *,
        tls: ssl.SSLContext | None,
        grace: float,
        limits: Limits = Limits(),  # noqa: B008 frozen
        may_end: bool = False,
    ) -> None:
        self._socket = listener
        config = uvicorn.Config(
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
            limit_concurrency=limits.connections,
            backlog=limits.backlog,
        )
        config.load()
        config.http_protocol_class = partial(SpineProtocol, limits=limits, may_end=may_end)  # type: ignore[assignment]
        config.ssl = tls
        self._tls = tls is not None
        self._server = _Server(config)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address really used."""
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{shown}:{port}"

    async def start(self) -> None:
        """Accept requests from now on."""
        self._task = asyncio.create_task(self._serve(), name=f"listener {self.url}")
        while not self._server.started:
            if self._task.done():
                await self._task
                raise ConfigurationError(f"the listener {self.url} did not start")
            await asyncio.sleep(0.005)

    async def _serve(self) -> None:
        await self._server.serve(sockets=[self._socket])

    def stop_accepting(self) -> None:
        """Take no new requests; those under way go on."""
        self._server.should_exit = True

    async def stopped(self) -> None:
        """Wait until the last request is answered, or the grace is over."""
        if self._task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
