"""The composition root: reads the settings, builds every object once, mounts the faces, starts and stops them.

Order of starting: store, directory, keys, record, outbox, listeners; of stopping: the reverse, requests first.

Spec: 00 §3, §4 ``serve``, §5; 90 §6.4.
"""

import asyncio
import contextlib
import socket
from datetime import UTC, datetime
from functools import partial
from time import monotonic
from typing import IO

import structlog
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from openscr import __version__
from openscr.access import pki
from openscr.access.forwarded import ForwardedCertificates
from openscr.access.networks import TrustedAddresses
from openscr.access.verification import Verification
from openscr.admission.work import Admission
from openscr.blueprint import (
    bounds_of,
    bounds_of_web,
    check_settings,
    ldap_client,
    limits_of,
    policy_of,
    rules_of,
    switched_off,
    tls_of,
)
from openscr.codes import LOCAL_REALM
from openscr.data_folder import hold, place_of
from openscr.delivery.carrier import Carrier
from openscr.delivery.carriers import HttpCarrier
from openscr.delivery.outbox import Outbox
from openscr.delivery.presence import Presence
from openscr.demo_pages import DemoPages
from openscr.directory.form import merge, read_directory
from openscr.directory.ldap_source import CombinedSource, LdapSource
from openscr.directory.mirror import DirectoryKeeper, Mirror
from openscr.directory.model import CurrentDirectory, Directory
from openscr.directory.sources import EmbeddedSource, SdsSource
from openscr.errors import ConfigurationError, Conflict, StoreError
from openscr.faces.governance.alerts import AlertEndpoints
from openscr.faces.governance.application import PREFIX, GovernanceFace
from openscr.faces.governance.audit import AuditEndpoints
from openscr.faces.governance.standing import StandingEndpoints
from openscr.faces.identity.application import ROLE_ASSERTION, IdentityFace
from openscr.faces.identity.apps import AppRegister
from openscr.faces.operations.application import OperationsFace, not_yet, plain_landing
from openscr.faces.operations.landing import LandingPage
from openscr.faces.operations.scenarios import ScenarioFace
from openscr.faces.sds.application import SdsFace
from openscr.faces.spine.application import SpineApplication, serves
from openscr.faces.spine.context import SpineContext
from openscr.figures import Figures, exposition, figures_of
from openscr.http_protocol import Limits
from openscr.identifiers import Clock, UuidFactory, is_loopback, mint_uuid, utc_now
from openscr.listeners import Listener, bind, no_room
from openscr.metrics import Metrics
from openscr.officers import Officers
from openscr.pages.static_files import static_routes
from openscr.post import ALONE, Post
from openscr.record.consent import ConsentChanged
from openscr.record.record import Record
from openscr.record.standings import StandingRecords
from openscr.session_keeper import SessionKeeper
from openscr.settings import Address, Settings, default_public_url
from openscr.store.interface import Leasing, Store
from openscr.store.opening import open_store
from openscr.testbench.demo import Demo
from openscr.testbench.scenarios.repeating import RepeatingCarrier
from openscr.testbench.scenarios.running import Scenarios
from openscr.testbench.scenarios.switches import Switches
from openscr.testbench.world import CLIENT_PARTIES
from openscr.tls import Tls
from openscr.vitals import Vitals
from openscr.web_admission import WebAdmission

_log = structlog.get_logger("service")

DIRECTORY_POLL = 1.0
"""Seconds between looks at the directory's revision: a change is noticed within two. Spec: 00 §4."""

TLS_POLL = 1.0
"""Seconds between looks at the TLS files: what has changed is in force within two. Spec: 35 §3.1."""

POLL_RESULTS_SWEEP = 15.0
"""Seconds between removals of expired poll results. They are never given out: this only makes room. Spec: 40 §7.6."""

STOP_GRACE = 7.0
"""Seconds that requests and deliveries under way may take to end after SIGTERM. Spec: 00 §4 (10 s in all)."""

STOP_DRAIN = 1.5
"""Of these, seconds in which a connection that idles may still bring a request: its answer says that it ends."""


class Service:
    """A running OpenSCR. `start` it, then `stop` it; both may be awaited once."""

    def __init__(
        self, settings: Settings, *, clock: Clock = utc_now, mint: UuidFactory = mint_uuid, post: Post = ALONE
    ) -> None:
        self.settings = settings
        self._post = post
        self.metrics = Metrics()
        self.admission = Admission(bounds_of(settings), shed=partial(self.metrics.shed, "spine"))
        self.web_admission = Admission(bounds_of_web(settings), shed=partial(self.metrics.shed, "web"))
        self._shared_addresses = TrustedAddresses((*settings.trusted_proxies, *settings.trusted_gateways))
        self.started_at: datetime = datetime.now(UTC)
        self._clock = clock
        self._mint = mint
        # Who comes to others who work leaves the schema alone: they know no other.
        self.store: Store = open_store(settings.store, migrate=post.first)
        self.vitals: Vitals
        self.directory = CurrentDirectory(Directory())
        self.ldap = ldap_client(settings)
        self.keeper: DirectoryKeeper
        self.record: Record
        self.standings: StandingRecords
        self.officers: Officers
        self.outbox: Outbox | None = None
        self.presence: Presence | None = None
        self.demo: Demo | None = None
        self.scenarios: Scenarios | None = None
        self.switches: Switches | None = None
        self.verification: Verification | None = None
        self._http: HttpCarrier | None = None
        self._door = _Door()
        self._hold: IO[bytes] | None = None
        self._tls: Tls
        self._spine: Listener | None = None
        self._limits = Limits()
        self._listeners: list[Listener] = []
        self._watchers: tuple[asyncio.Task[None], ...] = ()
        self._state: str | None = "starting"
        self._drained = False

    # --- life -------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Open everything and accept requests. Raises: `ConfigurationError`, `StoreError`."""
        settings = self.settings
        check_settings(settings)
        settings.make_data_folder()
        post = self._post
        if post.alone:
            self._hold = hold(settings.data)
        self.store.leasing = Leasing(f"{place_of(settings.data)}{post.number}")
        self.vitals = Vitals(settings, self.store, self.metrics, self._clock)
        self._limits = limits_of(settings)
        # Taken first: another program on a port should be told before anything is made.
        web = post.web or bind(settings.web, "web")
        spine = (post.spine or bind(settings.spine, "spine")) if "spine" in settings.faces else None
        listener = Listener(
            self._door,
            web,
            tls=None,
            grace=STOP_GRACE,
            limits=self._limits,
            may_end=settings.test_environment,
            refusal=self._door.no_room,
            shared=self._is_shared,
            shed=partial(self.metrics.shed, "web"),
        )
        self._listeners.append(listener)
        try:
            if "operations" in settings.faces:
                self._door.behind = Starlette(routes=OperationsFace(self).waiting_routes())
            if post.first:
                await listener.start()
            await self._open_store()
            self.presence = Presence(self.store, __version__, first=post.first)
            await self.presence.start()
            await asyncio.to_thread(self._make_keys)
            self._tls = Tls(*tls_of(settings), clock=self._clock)
            await self._load_directory()
            self.outbox = self._build()
            if self.demo is not None:
                await self.demo.settle()
            if self.switches is not None:
                await self.switches.switch_on(settings.scenario_triggers, settings.scenario_file)
            context = self._spine_context(self.outbox, spine.getsockname()[1] if spine else 0)
            if spine is not None:
                self._spine = self._spine_listener(context, spine)
                self._listeners.append(self._spine)
                await self._spine.start()
            self.outbox.start()
            self.officers.start()
            application = self._web_application(context)
            sessions = SessionKeeper(self.store, self._verify().sessions)
            await sessions.read()
            await self.vitals.look()
        except BaseException:
            await self.stop()
            web.close()
            if spine is not None:
                spine.close()
            raise
        self._watchers = (
            asyncio.create_task(self._watch_tls(), name="TLS watcher"),
            asyncio.create_task(self._watch_directory(), name="directory watcher"),
            asyncio.create_task(self.keeper.follow_mirror(), name="directory server"),
            asyncio.create_task(self._remove_poll_results(), name="poll results"),
            asyncio.create_task(sessions.follow(), name="ended sessions"),
            asyncio.create_task(self.vitals.follow(), name="vitals"),
        )
        self.started_at = datetime.now(UTC)
        self._state = None
        self._door.behind = application
        if not post.first:
            # Others answer meanwhile: nobody need be told that this one is not ready.
            await listener.start()

    async def drain(self, grace: float, *, shared: bool = True) -> None:
        """Let the connections that are open end of themselves; a colleague, if any, takes what is new. Then `stop`."""
        self._drained = True
        await asyncio.gather(*(listener.drain(grace, shared=shared) for listener in self._listeners))

    async def withdraw(self, number: int) -> None:
        """Give back what a worker of our place had, who has died."""
        try:
            await self.store.withdraw(f"{self.store.leasing.place}{number}")
        except StoreError as error:
            # Whoever leads finds out.
            _log.warning("rows of a lost worker not given back", error=error.code)

    async def _open_store(self) -> None:
        """Open the store; who asks meanwhile is told when that means a new schema."""
        if await self.store.current_revision() != self.store.head_revision():
            self._state = "migrating"
        await self.store.open()
        self._state = "starting"

    async def stop(self) -> None:
        """Stop accepting, finish what is under way, let go of everything; within ten seconds."""
        ready, self._state = self._state is None, "stopping"
        deadline = monotonic() + STOP_GRACE
        if ready and not self._drained and not self.settings.test_environment:
            await self.drain(min(STOP_DRAIN, self.settings.drain_seconds), shared=False)
        for listener in self._listeners:
            listener.stop_accepting()
        await asyncio.gather(*(listener.stopped() for listener in self._listeners), return_exceptions=True)
        for watcher in self._watchers:
            watcher.cancel()
        await asyncio.gather(*self._watchers, return_exceptions=True)
        if self.outbox is not None:
            await self.officers.stop()
            await self.outbox.stop(max(0.5, deadline - monotonic()))
        if self.presence is not None:
            await self.presence.stop()
        if self._http is not None:
            await self._http.close()
        if self.verification is not None:
            await self.verification.close()
        if self.ldap is not None:
            self.ldap.close()
        await self.store.close()
        if self._hold is not None:
            self._hold.close()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the listeners: web, then spine if it runs."""
        return tuple(listener.url for listener in self._listeners)

    # --- building ---------------------------------------------------------------------------------------------------

    def _make_keys(self) -> None:
        """Make a development authority and certificates on the first run, unless the operator brings some."""
        settings = self.settings
        wanted = (settings.tls_certificate, settings.tls_key, settings.tls_ca)
        if settings.demo:
            pki.make_demo_certificates(settings.pki)
        elif all(path.parent == settings.pki for path in wanted) and not settings.tls_certificate.exists():
            pki.create_authority(settings.pki)
            pki.issue(settings.pki, "localhost", dns_names=["127.0.0.1", "::1"], usage="both")

    def look_at_tls_files(self) -> None:
        """Take changed certificates and revocation lists now, without waiting for the next look. Spec: 35 §3.1."""
        changed = self._tls.look()
        if self._spine is not None and (changed or self._tls.nobody_counts):
            self._spine.let_go(self._tls.lapsed)

    async def _watch_tls(self) -> None:
        while True:
            await asyncio.sleep(TLS_POLL)
            self.look_at_tls_files()

    async def _load_directory(self) -> None:
        if await self.store.directory_revision() == 0:
            # A first run: the demo's world, or our own party alone; everything else is imported.
            entries = merge([], read_directory(Demo.directory_file(own_only=not self.settings.demo)), replace=True)
            with contextlib.suppress(Conflict):
                # Somebody's import came first: it stands.
                await self.store.write_directory(entries, replace=True, revision=0)
        settings = self.settings
        mirror = Mirror(self.ldap, settings.directory_base, settings.directory_organisations) if self.ldap else None
        self.keeper = DirectoryKeeper(self.directory, self.store, mirror, settings.directory_refresh)
        await self.keeper.read()
        await self.keeper.read_mirror()

    async def _watch_directory(self) -> None:
        while True:
            await asyncio.sleep(DIRECTORY_POLL)
            try:
                await self.keeper.read()
            except (StoreError, ConfigurationError) as error:
                _log.warning("directory not refreshed", error=error.code)

    async def _remove_poll_results(self) -> None:
        while True:
            await asyncio.sleep(POLL_RESULTS_SWEEP)
            try:
                if self.presence is not None and self.presence.leads:
                    await self.store.remove_poll_results(self._clock())
            except StoreError as error:
                _log.warning("expired poll results not removed", error=error.code)

    def _build(self) -> Outbox:
        settings = self.settings
        policy, rules = policy_of(settings, self._clock), rules_of(settings)
        self.record = Record(
            self.store,
            self.directory,
            policy,
            rules,
            clock=self._clock,
            mint=self._mint,
            on_consent=(_tell_consent,),
        )
        self.standings = StandingRecords(
            self.store,
            self.directory,
            policy,
            rules,
            clock=self._clock,
            mint=self._mint,
            organisation_hours=dict(settings.organisation_permission_hours),
        )
        self.officers = Officers(
            settings,
            self.store,
            self.directory,
            policy,
            self.metrics,
            leads=lambda: self.presence is None or self.presence.leads,
            clock=self._clock,
            mint=self._mint,
        )
        self._http = HttpCarrier(
            self._tls.client,
            lapsed=self._tls.lapsed,
            timeout=settings.delivery_timeout,
            connect_timeout=settings.delivery_connect_timeout,
        )
        carriers: dict[str, Carrier] = {"http": self._http, "https": self._http}
        if settings.demo:
            self.demo = Demo(self.store, self.record, settings.inbox_size, clock=self._clock, mint=self._mint)
            carriers[self.demo.inbox_scheme] = self.demo.collector
            self.scenarios = Scenarios(self._clock)
            self.switches = Switches(self.scenarios, self.demo, self._clock)
            carriers = {name: RepeatingCarrier(carrier, self.scenarios) for name, carrier in carriers.items()}
        return Outbox(
            self.store,
            self.directory,
            carriers,
            clock=self._clock,
            concurrency=settings.delivery_concurrency,
            may_send=lambda: self.presence is None or self.presence.may_send,
        )

    def _spine_context(self, outbox: Outbox, port: int) -> SpineContext:
        settings = self.settings
        public_url = settings.public_url
        if settings.source("public_url") == "default" and port:
            public_url = default_public_url(Address(settings.spine.host, port))
        if self.demo is not None:
            self.demo.public_url = public_url
        return SpineContext(
            record=self.record,
            outbox=outbox,
            directory=self.directory,
            metrics=self.metrics,
            public_url=public_url,
            max_body_bytes=settings.max_body_bytes,
            accept_ask_in_set=settings.accept_ask_in_set,
            switched_off=switched_off(settings),
            namespace_of_permissions=settings.permissions_namespace == "crs",
            clock=self._clock,
            mint=self._mint,
            interference=self.scenarios,
            smartcards=self._verify().smartcards,
            admission=self.admission,
        )

    def _spine_listener(self, context: SpineContext, listener: socket.socket) -> Listener:
        forwarded = ForwardedCertificates(self.settings.trusted_proxies, lambda: self._tls.trust, self._clock)
        app = SpineApplication(context, mutual_tls=True, forwarded=forwarded)
        return Listener(
            app,
            listener,
            tls=self._tls.server,
            grace=STOP_GRACE,
            may_end=self.settings.test_environment,
            metrics=self.metrics,
            refused=app.handshake_refused,
            limits=self._limits,
            refusal=app.no_room,
            shared=self._is_shared,
            shed=partial(self.metrics.shed, "spine"),
        )

    def _is_shared(self, address: str) -> bool:
        """Whether many clients are behind an address: a proxy, a gateway, or whatever runs on this machine."""
        return address in self._shared_addresses or is_loopback(address)

    def _web_application(self, context: SpineContext) -> ASGIApp:
        routes: list[BaseRoute] = []
        if "operations" in self.settings.faces:
            face = OperationsFace(self, self.demo)
            routes += face.routes()
            if self.switches is not None:
                routes += ScenarioFace(self.switches).routes()
            routes += self._landing()
        if "governance" in self.settings.faces:
            routes += self._governance().routes()
        if "sds" in self.settings.faces:
            routes += SdsFace(self._sds_source(context), self.metrics, self._clock, self._mint).routes()
        if "identity" in self.settings.faces:
            routes += [*self._identity().routes(), *static_routes()]
        pages = Starlette(routes=routes)
        # It would lead to whatever host the request has named.
        pages.router.redirect_slashes = False
        spine: SpineApplication | None = None
        if self.demo is not None and "spine" in self.settings.faces:
            spine = SpineApplication(context, mutual_tls=False)

            self._door.spine = spine
        admitted = WebAdmission(pages, self.web_admission)

        async def web(scope: Scope, receive: Receive, send: Send) -> None:
            application = spine if spine is not None and serves(scope["path"]) else admitted
            await application(scope, receive, send)

        return web

    def _verify(self) -> Verification:
        """Return what verifies people, the same for every face."""
        if self.verification is None:
            issuers, broker = self.settings.token_issuers, self.settings.smartcard_url
            if "identity" in self.settings.faces:
                issuers = issuers or (self._local_issuer,)
                broker = broker or f"{self.urls[0]}{ROLE_ASSERTION}"
            self.verification = Verification(self.settings, issuers, self.directory, self._clock, broker=broker)
        return self.verification

    def _sds_source(self, context: SpineContext) -> SdsSource:
        embedded = EmbeddedSource(self.directory, context.public_url, own_only=self.ldap is not None)
        if self.ldap is None:
            return embedded
        return CombinedSource(embedded, LdapSource(self.ldap, self.settings.directory_base))

    def _governance(self) -> GovernanceFace:
        verification = self._verify()
        return GovernanceFace(
            verification.authenticator,
            self.record,
            self.metrics,
            (
                *StandingEndpoints(self.standings, self._clock, self._mint).endpoints(PREFIX),
                *AlertEndpoints(self.officers.alerts, self.officers.subscriptions).endpoints(PREFIX),
                *AuditEndpoints(self.officers.audit).endpoints(PREFIX),
            ),
            logout=verification.logout,
            mint=self._mint,
        )

    def _identity(self) -> IdentityFace:
        """Build the local identity provider; the rest of the service is told when one of its sessions ends."""
        apps = AppRegister(self.settings.identity)
        return IdentityFace(self.urls[0], self.directory, apps, self._session_ended, clock=self._clock, mint=self._mint)

    @property
    def _local_issuer(self) -> str:
        """What the local identity provider calls itself."""
        return f"{self.urls[0]}{LOCAL_REALM}"

    def _session_ended(self, session_id: str) -> None:
        if self.verification is not None:
            self.verification.sessions.end(session_id, self._local_issuer)

    def _landing(self) -> list[BaseRoute]:
        if self.demo is None:
            return [Route("/", plain_landing)]
        pages = DemoPages(
            self.demo,
            self.record,
            engine=self.store.engine,
            faces=self.settings.faces,
            addresses=lambda: self.urls,
            clock=self._clock,
            mint=self._mint,
        )
        return LandingPage(pages, CLIENT_PARTIES).routes()

    # --- what the operations face asks ------------------------------------------------------------------------------

    async def components(self) -> dict[str, bool]:
        """Return each component's name and whether it is up. Spec: 00 §3.1."""
        writable = await self.store.writable()
        delivering = self.outbox is not None and self.outbox.at_work
        found = {"store": writable, "delivery": delivering, "directory": self._has_own_party()}
        return found | self.vitals.components()

    def _has_own_party(self) -> bool:
        with contextlib.suppress(ConfigurationError):
            return bool(self.directory.snapshot.own_party and self.directory.snapshot.own_system)
        return False

    async def unready(self) -> str | None:
        """Return why requests are not taken, or none. Spec: 00 §3.1."""
        if self._state is not None:
            return self._state
        if not self.keeper.complete:
            return "directory"
        return self.vitals.unready() if await self.store.writable() else "store"

    def figures(self) -> Figures:
        """Return the figures of this process alone."""
        for face, admission in (("spine", self.admission), ("web", self.web_admission)):
            self.metrics.held(face, admission.at_work, admission.waiting)
        for name, listener in zip(("web", "spine"), self._listeners, strict=False):
            self.metrics.connections(name, len(listener.connections))
        return figures_of(self.metrics.registry)

    async def metrics_text(self) -> bytes:
        """Return the figures of all workers of this place for Prometheus. Spec: 00 §3.1."""
        await self.vitals.look_at_outbox()
        own = self.figures()
        everybodys = [own] if self._post.everybodys is None else await self._post.everybodys(own)
        return exposition(everybodys)


def _tell_consent(changed: ConsentChanged) -> None:
    """Log that a consent was set; whose it is, and by which message, stands in the audit."""
    _log.debug("consent set", changed=changed.version.value is not changed.previous, source=changed.version.source)


class _Door:
    """What the web listener serves: until the service is ready 503, then what stands ``behind`` it.

    ``spine`` are the Spine paths, where they stand there too.
    """

    def __init__(self) -> None:
        self.behind: ASGIApp = not_yet
        self.spine: SpineApplication | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through to what is behind the door now."""
        await self.behind(scope, receive, send)

    async def no_room(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request on a connection for which there is no room, and end the connection."""
        if self.spine is not None and serves(scope["path"]):
            await self.spine.no_room(scope, receive, send)
        else:
            await no_room(scope, receive, send)
