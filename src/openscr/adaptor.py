"""The adaptor's composition root: builds every object once out of the settings, starts and stops its roles.

Order of starting: sockets, keys, store, loops, listeners; of stopping: the reverse, requests first. Both roles may run
in processes of their own on one store.

Spec: 50 §14; 00 §4 ``mhs``.
"""

import asyncio
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import Final, Protocol

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from openscr.delivery.carriers import HttpCarrier
from openscr.errors import ConfigurationError
from openscr.http_protocol import Limits
from openscr.identifiers import Clock, UuidFactory, mint_uuid, utc_now
from openscr.listeners import Listener, bind
from openscr.mhs.audit import AuditTrail, patient_name_of
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Exchanges
from openscr.mhs.figures import Figures
from openscr.mhs.inbound.application import InboundApplication
from openscr.mhs.inbound.overdue import OverdueReplies
from openscr.mhs.interactions import read_interactions
from openscr.mhs.keys import KeyMaterial
from openscr.mhs.neighbours import join
from openscr.mhs.operations import Operations
from openscr.mhs.outbound.application import outbound_application
from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.relay import Relay
from openscr.mhs.queue.rest import QueueRoutes
from openscr.mhs.routing import open_router
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.housekeeping import Housekeeping
from openscr.mhs.store.opening import open_store
from openscr.mhs.workflows.dispatch import Workflows
from openscr.settings import Address
from openscr.tls import ListenerTls, Tls, TlsFiles, caller_tls, unverified_tls

OUTBOUND: Final = "outbound"
INBOUND: Final = "inbound"
ROLES: Final = (OUTBOUND, INBOUND)
_HEALTH: Final = "health"

STOP_GRACE: Final = 5.0
"""Seconds that requests under way may take to end after SIGTERM. Spec: 00 §4 (10 s in all)."""

KEYS_POLL: Final = 1.0
"""Seconds between looks at certificates and keys. Spec: 50 F16."""


LARGEST_ANSWER: Final = 16 * 1024 * 1024
"""Bytes of a Spine's answer that are read: the largest document with room for what is written around it."""

SUPPLIERS: Final = Limits(half_open=False)
"""A supplier that has closed its side has gone: its reply is for the queue. Spec: 50 F3."""


Summaries = Callable[[AdaptorContext, Exchanges], ASGIApp]
"""Makes what takes summaries as JSON. Whoever starts an adaptor gives it, and so says when that is loaded."""


class Loop(Protocol):
    """Something that works in the background."""

    def start(self) -> None:
        """Begin."""

    async def stop(self) -> None:
        """End, and let what is under way come to its end."""


class Adaptor:
    """A running adaptor with one or both of its roles. `start` it, then `stop` it; both may be awaited once.

    ``summaries`` makes what answers at ``/scr``, when it is first asked for; ``more_routes`` are served on the outbound
    port as well.
    """

    def __init__(
        self,
        settings: MhsSettings,
        roles: Collection[str] = ROLES,
        *,
        summaries: Summaries,
        more_routes: Sequence[BaseRoute] = (),
        clock: Clock = utc_now,
        mint: UuidFactory = mint_uuid,
    ) -> None:
        self.settings = settings
        self._roles = frozenset(roles)
        self._summaries = summaries
        self._more_routes = more_routes
        self._clock = clock
        self._mint = mint
        self._open = AsyncExitStack()
        self._keys: KeyMaterial
        self._tls: Tls
        self._rest_tls: ListenerTls | None = None
        self._operations: Operations | None = None
        self._queue_routes: QueueRoutes | None = None
        self._exchanges: Workflows | None = None
        self._listeners: dict[str, Listener] = {}
        self._loops: list[Loop] = []

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and accept requests. Raises: `ConfigurationError`, `StoreError`."""
        # Taken first: another program on a port should be told before anything is made.
        sockets = {name: bind(address, setting) for name, (setting, address) in self._addresses()}
        try:
            self._keys = KeyMaterial(self.settings, clock=self._clock)
            self._open.callback(self._keys.close)
            calling = caller_tls if self.settings.outbound_validate_certificate else unverified_tls
            files = TlsFiles(self._keys.certificate, self._keys.key, self._keys.authorities)
            self._tls = Tls(files, clock=self._clock, calling=calling)
            self._rest_tls = _outbound_tls(self.settings) if OUTBOUND in self._roles else None
            context = await self._build()
            self._listen(context, sockets)
            for loop in self._loops:
                loop.start()
            for listener in self._listeners.values():
                await listener.start()
        except BaseException:
            await self.stop()
            for each in sockets.values():
                each.close()
            raise
        watcher = asyncio.create_task(self._watch_keys(), name="keys")
        self._open.callback(watcher.cancel)

    async def stop(self) -> None:
        """Stop accepting, finish what is under way, let go of everything; within ten seconds."""
        if self._operations is not None:
            self._operations.stop()
        for listener in self._listeners.values():
            listener.stop_accepting()
        if self._queue_routes is not None:
            await self._queue_routes.stop()
        if self._exchanges is not None:
            self._exchanges.let_go()
        await asyncio.gather(*(listener.stopped() for listener in self._listeners.values()), return_exceptions=True)
        await asyncio.gather(*(loop.stop() for loop in self._loops), return_exceptions=True)
        await self._open.aclose()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the roles that run: outbound, then inbound."""
        return tuple(self._listeners[role].url for role in ROLES if role in self._listeners)

    @property
    def inbound_url(self) -> str:
        """Where a Spine posts to."""
        return self._listeners[INBOUND].url

    def look_at_tls_files(self) -> None:
        """Take changed certificates and keys now, without waiting for the next look. Spec: 50 F16."""
        self._keys.look()
        self._tls.look()
        if self._rest_tls is not None:
            self._rest_tls.look()

    async def _watch_keys(self) -> None:
        while True:
            await asyncio.sleep(KEYS_POLL)
            self.look_at_tls_files()

    # --- building ---------------------------------------------------------------------------------------------------

    def _addresses(self) -> Iterator[tuple[str, tuple[str, Address]]]:
        """Give where each listener listens, and the setting that says so."""
        settings = self.settings
        if OUTBOUND in self._roles:
            yield OUTBOUND, ("outbound_server_port", Address(settings.host, settings.outbound_server_port))
        if INBOUND in self._roles:
            yield INBOUND, ("inbound_server_port", Address(settings.inbound_host, settings.inbound_server_port))
            port = settings.inbound_healthcheck_server_port
            yield _HEALTH, ("inbound_healthcheck_server_port", Address(settings.host, port))

    async def _build(self) -> AdaptorContext:
        """Open what every part is given; what was opened is closed by `stop`."""
        settings = self.settings
        store = open_store(settings)
        replies, arrivals = join(store, alone=INBOUND in self._roles)
        await store.open()
        self._open.push_async_callback(store.close)
        interactions = read_interactions(settings.interactions_file)
        router = open_router(settings, interactions)
        self._open.push_async_callback(router.close)
        carrier = self._carrier()
        self._open.push_async_callback(carrier.close)
        publisher = open_queue(settings)
        if publisher is not None:
            self._open.push_async_callback(publisher.close)
        return AdaptorContext(
            settings=settings,
            store=store,
            router=router,
            carrier=carrier,
            interactions=interactions,
            publisher=publisher,
            replies=replies,
            arrivals=arrivals,
            figures=Figures(self._clock),
            audit=AuditTrail(store, self._clock, patient_name_of(settings)),
            clock=self._clock,
            mint=self._mint,
        )

    def _carrier(self) -> HttpCarrier:
        settings = self.settings
        proxy = settings.outbound_http_proxy
        return HttpCarrier(
            self._tls.client,
            lapsed=self._tls.lapsed if settings.outbound_validate_certificate else None,
            timeout=settings.async_timeout,
            connect_timeout=settings.connect_timeout,
            connections=0,
            per_host=settings.connections_per_host,
            tries=1 + settings.outbound_transmission_max_retries,
            pause=settings.outbound_transmission_retry_delay / 1000,
            proxy=f"http://{proxy}:{settings.outbound_http_proxy_port}" if proxy else None,
            largest_answer=LARGEST_ANSWER,
            resumes=True,
        )

    def _listen(self, context: AdaptorContext, sockets: dict[str, socket.socket]) -> None:
        """Make the listeners of the roles, and what works behind them."""
        self._operations = Operations(context, days_left=lambda: self._keys.days_left)
        if OUTBOUND in self._roles:
            self._exchanges = exchanges = Workflows(context)
            self._loops.append(exchanges)
            more = [
                Route("/scr", endpoint=_Summaries(partial(self._summaries, context, exchanges))),
                *self._operations.routes(),
                *self._more_routes,
            ]
            self._queue_routes = QueueRoutes(context)
            more += self._queue_routes.routes()
            app = outbound_application(context, exchanges, more)
            tls = self._rest_tls.context if self._rest_tls is not None else None
            self._listeners[OUTBOUND] = Listener(app, sockets[OUTBOUND], tls=tls, grace=STOP_GRACE, limits=SUPPLIERS)
        if INBOUND in self._roles:
            self._loops.append(OverdueReplies(context))
            if context.publisher is not None:
                self._loops.append(Relay(context, context.publisher))
            tls = self._tls.server if context.settings.inbound_use_ssl else None
            inbound = InboundApplication(context)
            self._listeners[INBOUND] = Listener(inbound, sockets[INBOUND], tls=tls, grace=STOP_GRACE)
            health = self._operations.health_app()
            self._listeners[_HEALTH] = Listener(health, sockets[_HEALTH], tls=None, grace=STOP_GRACE)
        self._loops.append(Housekeeping(context))


def _outbound_tls(settings: MhsSettings) -> ListenerTls | None:
    """Return the TLS of the REST API, none for plain HTTP. Raises: `ConfigurationError`. Spec: 50 F15."""
    certificate, key = settings.outbound_tls_cert_file, settings.outbound_tls_key_file
    if certificate is not None and key is not None:
        return ListenerTls(certificate, key, settings.outbound_tls_ca_file)
    if (certificate, key, settings.outbound_tls_ca_file) != (None, None, None):
        raise ConfigurationError("HTTPS of the REST API needs outbound_tls_cert_file and outbound_tls_key_file, both")
    return None


class _Summaries:
    """``/scr``: made when the first summary comes, because the start must not wait for the whole clinical model."""

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._made: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if self._made is None:
            self._made = await asyncio.to_thread(self._make)
        await self._made(scope, receive, send)
