"""The Spine paths as one ASGI application: which endpoint takes a path, and what is true of all of them.

Spec: 40 §2, 35 §3.2.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from time import perf_counter

import structlog
from starlette.types import Receive, Scope, Send

from openscr.access.forwarded import ForwardedCertificates
from openscr.access.registration import Cause
from openscr.admission.work import AGAIN, Kind, Shed
from openscr.codes import ALERT_FHIR
from openscr.errors import AccessRefused, Overloaded, StoreError, StoreFull
from openscr.faces.spine.alert_endpoint import AlertEndpoint, Failure, refuse_failed, refuse_overloaded
from openscr.faces.spine.context import SpineContext, fault, parties_behind, too_large
from openscr.faces.spine.ebxml_endpoint import EbxmlEndpoint
from openscr.faces.spine.exchange import (
    BodyCutOff,
    BodyTooLarge,
    Handled,
    Peer,
    Reply,
    Request,
    peer_of,
    read_body,
    send_reply,
)
from openscr.faces.spine.interference import SCENARIO, Treatment
from openscr.faces.spine.polling_endpoint import POLL, PollingEndpoint, ask_again
from openscr.faces.spine.soap_endpoint import SoapEndpoint
from openscr.faces.spine.strangers import Strangers
from openscr.faces.spine.treated_answers import send_treated
from openscr.spine import AckType, Caller, MessageIds, Outcome
from openscr.transport.interactions import ALERT_PATH, CONTRACT_PATHS, EBXML_PATHS, INTERACTIONS, SYNC_PATHS, Channel
from openscr.transport.polling import POLL_PREFIX, UPLOAD_PATH, slot_of_token
from openscr.transport.soap import parse_soap_action

_DECIDING_HEADERS = (
    b"soapaction",
    b"content-type",
    b"nhsd-asid",
    b"nhsd-session-urid",
    b"nhsd-identity-uuid",
    b"ssotoken",
)
_QUERIED = frozenset(SYNC_PATHS)
_BUSY = fault("200")
_log = structlog.get_logger("spine")

Answering = Callable[[Request], Awaitable[Handled]]
"""What answers a request whose body has arrived whole. Raises: `StoreError`."""


def serves(path: str) -> bool:
    """Whether a path is one of the Spine's."""
    return (
        path in SYNC_PATHS or path in EBXML_PATHS or path in (UPLOAD_PATH, ALERT_PATH) or path.startswith(POLL_PREFIX)
    )


class SpineApplication:
    """ASGI application of the Spine paths.

    ``mutual_tls`` demands a certificate of a registered party; without it (the loopback listener of a demo) the ASID in
    the message is all that identifies the sender. ``forwarded`` says whose certificate counts when there are proxies.
    Spec: 00 §3, 35 §3.1.
    """

    def __init__(
        self, context: SpineContext, *, mutual_tls: bool, forwarded: ForwardedCertificates | None = None
    ) -> None:
        self._context = context
        self._mutual_tls = mutual_tls
        self._forwarded = forwarded
        self._strangers = Strangers(context.record)
        soap, ebxml = SoapEndpoint(context), EbxmlEndpoint(context)
        self._polling = PollingEndpoint(context)
        self._posts: dict[str, Answering] = {
            **dict.fromkeys(SYNC_PATHS, soap.handle),
            **dict.fromkeys(EBXML_PATHS, ebxml.handle),
            UPLOAD_PATH: self._polling.handle,
            ALERT_PATH: AlertEndpoint(context).handle,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request by its path."""
        path = scope["path"]
        answer = self._posts.get(path)
        method = "POST"
        if answer is None and path.startswith(POLL_PREFIX):
            answer, method = partial(self._polling.fetch, token=path.removeprefix(POLL_PREFIX)), "GET"
        if answer is None:
            await send_reply(send, Reply(404, content_type=None))
            return
        if scope["method"] != method:
            await send_reply(send, Reply(405, content_type=None, allow=method))
            return
        started = perf_counter()
        handled = await self._handle(answer, scope, receive)
        if handled.treatment is None:
            await send_reply(send, handled.reply)
        else:
            await send_treated(scope, receive, send, handled.reply, handled.treatment)
        self._context.metrics.request("spine", handled.interaction, handled.outcome, perf_counter() - started)

    async def no_room(self, scope: Scope, _receive: Receive, send: Send) -> None:
        """Answer a request on a connection for which there is no room, and end the connection."""
        refused = _refuse_overloaded(scope, Overloaded(Shed.CONNECTIONS, AGAIN))
        await send_reply(send, replace(refused.reply, close=True))
        self._context.metrics.request("spine", refused.interaction, refused.outcome, 0.0)

    async def _let_in(self, peer: Peer, scope: Scope) -> Peer:
        """Return who asks, by a certificate of a registered party. Raises: `AccessRefused`. Spec: 35 §3.2, §9.4."""
        own = peer.certificate
        try:
            certificate = own
            if self._forwarded is not None:
                certificate = self._forwarded.certificate_of(own, peer.address, scope["headers"])
            peer = replace(peer, certificate=certificate)
            if certificate is None:
                raise AccessRefused(Cause.UNREADABLE_CERTIFICATE)
            if certificate.not_after < self._context.clock():
                # The handshake was long ago: a connection that is kept in use does not outlive its certificate.
                raise AccessRefused(Cause.EXPIRED_CERTIFICATE)
            if not parties_behind(self._context.directory.snapshot, certificate):
                raise AccessRefused(Cause.UNKNOWN_CERTIFICATE)
        except AccessRefused as refusal:
            await self._strangers.turned_away(peer, refusal.diagnostics)
            raise
        return peer

    async def handshake_refused(self, cause: Cause, address: str | None) -> None:
        """Keep that somebody did not come in. Spec: 35 §3.2, §9.4."""
        await self._strangers.failed_handshake(cause, address)

    async def _interfere(
        self, answer: Answering, request: Request, channel: Channel, treatment: Treatment | None
    ) -> Handled:
        """Let a scenario have its way with a request; log, metrics and audit call the request by it. See `Treatment`.

        What the endpoint keeps itself in the audit stands there beside the row that is written here.
        """
        if treatment is None:
            return await answer(request)
        if treatment.fault or treatment.status or treatment.silent:
            reply = Reply(treatment.status or 503, content_type=None)
            if treatment.fault:
                # FHIR knows no SOAP faults, but what our own failure is there.
                failure = refuse_failed(Failure.STORE, self._context.max_body_bytes)
                reply = failure if channel is Channel.FHIR else fault(treatment.fault)
            handled = Handled(_interaction_of(request.headers), SCENARIO, reply)
        else:
            handled = await answer(replace(request, treatment=treatment))
        name, peer, behaviour = handled.interaction, request.peer, treatment.behaviour
        _log.info(SCENARIO, name=treatment.scenario, behaviour=behaviour, correlation_id=request.correlation_id)
        certificate = peer.certificate.identity if peer.certificate is not None else None
        await self._context.record.audit_refusal(
            Caller("", "", certificate=certificate, address=peer.address),
            MessageIds("", name, correlation_id=request.correlation_id),
            treatment.refusal or Outcome(AckType.ACCEPTED if treatment.processed else AckType.REJECTED),
            reason=f"{SCENARIO} {treatment.scenario}: {behaviour}",
            nhs_number=None,
        )
        return Handled(name, SCENARIO, handled.reply, treatment)

    async def _handle(self, answer: Answering, scope: Scope, receive: Receive) -> Handled:
        """Let a request in, read its body and let an endpoint answer; whatever goes wrong becomes an answer here."""
        context = self._context
        peer = peer_of(scope)
        if self._mutual_tls:
            try:
                peer = await self._let_in(peer, scope)
            except AccessRefused:
                return Handled("unknown", "403", self._fail(scope, Failure.STRANGER))
        admission, sender = context.admission, _sender_of(peer)
        kind = Kind.QUERY if scope["path"] in _QUERIED or scope["method"] == "GET" else Kind.MESSAGE
        headers = _single_headers(scope["headers"])
        try:
            admission.check(sender, kind)
            body = await read_body(headers, receive, context.max_body_bytes, admission.bodies)
        except Overloaded as overload:
            admission.refused(Shed(overload.reason))
            return _refuse_overloaded(scope, overload)
        except BodyTooLarge:
            return Handled("unknown", "fault-201", self._fail(scope, Failure.TOO_LARGE))
        except BodyCutOff:
            return Handled("unknown", "cut-off", self._fail(scope, Failure.CUT_OFF))
        until = asyncio.get_running_loop().time() + admission.bounds.answer
        try:
            if not admission.begin(kind):
                await admission.wait(sender, kind)
            try:
                async with asyncio.timeout_at(until):
                    return await self._answer(answer, scope, Request(headers, body, peer, context.mint()))
            except TimeoutError:
                # Whether it was stored may be open: who sends it again hears what became of it.
                raise Overloaded(Shed.TIME, AGAIN) from None
            finally:
                admission.end(kind)
        except Overloaded as overload:
            admission.refused(Shed(overload.reason))
            return _refuse_overloaded(scope, overload)
        finally:
            admission.bodies.give_back(len(body))

    async def _answer(self, answer: Answering, scope: Scope, request: Request) -> Handled:
        """Let an endpoint answer a request that is here. Raises: `Overloaded`."""
        context, path, correlation_id = self._context, scope["path"], request.correlation_id
        try:
            if context.interference is None:
                handled = await answer(request)
            else:
                channel = _channel_of(path)
                treatment = context.interference.treat(channel, request.headers, request.body)
                handled = await self._interfere(answer, request, channel, treatment)
        except Overloaded:
            raise
        except StoreError as error:
            name = _interaction_of(request.headers)
            _log.error("store failed", error=error.code, interaction=name, correlation_id=correlation_id)
            failure = Failure.STORE_FULL if isinstance(error, StoreFull) else Failure.STORE
            code = "208" if failure is Failure.STORE_FULL else "200"
            handled = Handled(name, f"fault-{code}", self._fail(scope, failure))
        except Exception as error:  # noqa: BLE001 the one place where nothing may escape
            # Nothing is stored, and the sender may retry. The error's own text could hold patient data.
            name = _interaction_of(request.headers)
            _log.error("request failed", error=type(error).__name__, interaction=name, correlation_id=correlation_id)
            handled = Handled(name, "fault-200", self._fail(scope, Failure.UNEXPECTED))
        if path in EBXML_PATHS and CONTRACT_PATHS.get(handled.interaction, path) != path:
            _log.warning("not the path of its contract", interaction=handled.interaction, path=path)
        _log.info("answered", interaction=handled.interaction, outcome=handled.outcome, correlation_id=correlation_id)
        return handled

    def _fail(self, scope: Scope, failure: Failure) -> Reply:
        """Make the answer to a request that ended early, in the words of its channel."""
        limit = self._context.max_body_bytes
        return refuse_failed(failure, limit) if scope["path"] == ALERT_PATH else _soap_failure(failure, limit)


def _refuse_overloaded(scope: Scope, overload: Overloaded) -> Handled:
    """Make the answer to a request that is not taken on now, in the words of its channel: it may come again.

    Spec: 40 §6.4, §7.6; 90 §6.3.
    """
    path, headers = scope["path"], dict(scope["headers"])
    if path.startswith(POLL_PREFIX):
        token = path.removeprefix(POLL_PREFIX).lower()
        if slot_of_token(token) is None:
            # None of ours, and not to be repeated in a header: it may hold anything, line ends too.
            return Handled(POLL, "404", Reply(404, content_type=None))
        return Handled(POLL, "202", ask_again(token))
    if path == ALERT_PATH:
        reply = refuse_overloaded(overload)
        return Handled(ALERT_FHIR, str(reply.status), reply)
    return Handled(_interaction_of(headers), "fault-200", _BUSY)


def _sender_of(peer: Peer) -> str:
    """Return whose turn a request takes: a certificate's, or a network address's where there is none."""
    certificate = peer.certificate
    if certificate is None:
        return peer.address or ""
    return certificate.common_name or certificate.identity


def _soap_failure(failure: Failure, limit: int) -> Reply:
    """Make the answer to a request that ended early as the HL7 paths give it. Spec: 40 §10.5."""
    match failure:
        case Failure.STRANGER:
            return Reply(403, content_type=None)
        case Failure.TOO_LARGE:
            return too_large(limit)
        case Failure.CUT_OFF:
            return Reply(400, content_type=None, close=True)
        case Failure.STORE_FULL:
            return fault("208")
        case _:
            return fault("200")


def _channel_of(path: str) -> Channel:
    if path in EBXML_PATHS:
        return Channel.EBXML
    if path in SYNC_PATHS:
        return Channel.SOAP
    return {UPLOAD_PATH: Channel.POLLING, ALERT_PATH: Channel.FHIR}.get(path, Channel.FETCH)


def _single_headers(pairs: Sequence[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return headers by name; two different values of one that decides are as good as an impossible one."""
    headers = dict(pairs)
    if len(headers) != len(pairs):
        for name in _DECIDING_HEADERS:
            if len({value for key, value in pairs if key == name}) > 1:
                headers[name] = b"contradictory"
    return headers


def _interaction_of(headers: Mapping[bytes, bytes]) -> str:
    """Return the interaction that a request names, if it is one that we know: what it says stands in no log."""
    action = parse_soap_action(headers.get(b"soapaction", b"").decode("latin-1"))
    return action[1] if action in INTERACTIONS else "unknown"
