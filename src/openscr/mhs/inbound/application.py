"""The HTTPS service that the Spine posts to: any path, POST only.

Spec: 50 §3, C6, F9, F10, F14, F15, F22.
"""

import asyncio
from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.types import Receive, Scope, Send

from openscr.access.certificates import ClientCertificate
from openscr.codes import SIGNAL_SERVICE
from openscr.errors import EBXML_ERRORS, StoreError
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.answers import (
    CUT_OFF,
    EXCEPTION_IN_WORKFLOW,
    EXPIRED_CALLER,
    INTERNAL,
    METHOD_NOT_ALLOWED,
    TAKEN,
    TOO_LARGE,
    UNKNOWN_CALLER,
    Refused,
    refusal,
    signal,
)
from openscr.mhs.inbound.bodies import BodyCutOff, BodyTooLarge, read_body
from openscr.mhs.inbound.plans import correlation_of
from openscr.mhs.inbound.reading import Arrived, read_arrived
from openscr.mhs.inbound.reception import READ_ASIDE, Call, Reception, Recorded, Taken, shown, with_outcome
from openscr.mhs.store.interface import InboundReceipt, Transaction
from openscr.transport.ebxml import write_message_error
from openscr.transport.message_services import (
    PING,
    STATUS_REQUEST,
    read_status_request,
    write_pong,
    write_status_response,
)

_log = structlog.get_logger("mhs.inbound")


@dataclass(slots=True)
class _Request:
    """A request on its way: what is known of it grows."""

    call: Call
    certificate: ClientCertificate | None
    message: Recorded | None = None


class InboundApplication:
    """ASGI application of the inbound service."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._reception = Reception(context)
        self._names = frozenset(name.strip().lower() for name in context.settings.inbound_allowed_names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        began = perf_counter()
        context = self._context
        tls = (scope.get("extensions") or {}).get("tls") or {}
        certificate: ClientCertificate | None = tls.get("client_certificate")
        caller = certificate.identity if certificate is not None else ""
        request = _Request(Call(context.clock(), caller), certificate)
        taken = await self._handle(request, scope, receive)
        await send({"type": "http.response.start", "status": taken.reply.status, "headers": taken.reply.headers})
        await send({"type": "http.response.body", "body": taken.reply.body})
        action = request.message.arrived.envelope.action if request.message is not None else ""
        interaction = action if action in context.interactions else "unknown"
        context.figures.message("inbound", interaction, taken.workflow, taken.outcome, perf_counter() - began)

    async def _handle(self, request: _Request, scope: Scope, receive: Receive) -> Taken:
        """Return the answer; whatever goes wrong becomes one here. A message that is taken is durable by then."""
        if scope["method"] != "POST":
            return Taken(refusal(405, METHOD_NOT_ALLOWED), "405")
        headers = dict(scope["headers"])
        try:
            self._let_in(request)
            taken = await self._answer(request, headers.get(b"content-type"), await read_body(headers, receive))
        except Refused as refused:
            taken = Taken(refused.reply, str(refused.status), audited=False)
            _log.warning("refused", status=refused.status, reason=refused.reason.rstrip(" :"))
        except BodyTooLarge:
            taken = Taken(TOO_LARGE, "too-large", audited=False)
        except BodyCutOff:
            taken = Taken(CUT_OFF, "cut-off", audited=False)
        except Exception as error:  # noqa: BLE001 the one place where nothing may escape
            # Nothing is kept, and the sender may try again. The error's own text could hold patient data.
            _log.error("failed", error=type(error).__name__)
            taken = Taken(refusal(500, INTERNAL), "500", audited=False)
        if not taken.audited:
            await self._audit(request, taken)
        return taken

    def _let_in(self, request: _Request) -> None:
        """Look at who calls. Raises: `Refused`. Spec: 50 F15."""
        certificate = request.certificate
        if certificate is not None and certificate.not_after < request.call.started:
            # The handshake was long ago: a connection that is kept in use does not outlive its certificate.
            raise Refused(403, EXPIRED_CALLER)
        if self._names:
            names = {certificate.common_name or "", *certificate.dns_names} if certificate is not None else set()
            if not self._names & {name.lower() for name in names}:
                raise Refused(403, UNKNOWN_CALLER)

    async def _answer(self, request: _Request, content_type: bytes | None, body: bytes) -> Taken:
        """Read a message and take it. Raises: `Refused`."""
        media_type = content_type.decode("latin-1") if content_type is not None else None
        if len(body) < READ_ASIDE:
            arrived = read_arrived(media_type, body)
        else:
            arrived = await asyncio.to_thread(read_arrived, media_type, body)
        # It may be large, and what follows takes its time.
        del body
        message = request.message = await self._reception.recorded(arrived, request.call)
        envelope = arrived.envelope
        with structlog.contextvars.bound_contextvars(
            interaction_id=shown(envelope.action),
            message_id=shown(envelope.ref_to_message_id or ""),
            correlation_id=shown(correlation_of(arrived)),
            inbound_message_id=shown(envelope.message_id),
        ):
            try:
                taken = await self._take(message)
            except Refused as refused:
                _log.warning("refused", status=refused.status, reason=refused.reason.rstrip(" :"))
                return Taken(refused.reply, str(refused.status), audited=False)
            _log.info("answered", outcome=taken.outcome, workflow=taken.workflow)
        return taken

    async def _take(self, message: Recorded) -> Taken:
        arrived = message.arrived
        envelope = arrived.envelope
        if envelope.to_party not in ("", self._context.settings.secret_party_key):
            return self._not_for_us(arrived)
        if envelope.service == SIGNAL_SERVICE and arrived.signal is None:
            if envelope.action == PING:
                pong = write_pong(ref_to_message_id=envelope.message_id, **self._reception.addressing(envelope))
                return Taken(signal("Pong", pong), "ping", audited=False)
            if envelope.action == STATUS_REQUEST:
                return await self._tell_status(arrived)
        return await self._reception.take(message)

    def _not_for_us(self, arrived: Arrived) -> Taken:
        """Refuse a message to somebody else; a signal is answered by none. Spec: 50 §3.3."""
        envelope = arrived.envelope
        if arrived.signal is not None:
            return Taken(TAKEN, "wrong-party", audited=False)
        error = write_message_error(
            ref_to_message_id=envelope.message_id,
            errors=(EBXML_ERRORS["to_party"],),
            **self._reception.addressing(envelope),
        )
        return Taken(signal("MessageError", error), "wrong-party", audited=False)

    async def _tell_status(self, arrived: Arrived) -> Taken:
        """Tell a partner whether a message of its own has come. Raises: `Refused`. Spec: 50 F9."""
        envelope = arrived.envelope
        asked = read_status_request(arrived.root)
        now = self._context.clock()

        async def find(transaction: Transaction) -> InboundReceipt | None:
            return await transaction.find_receipt(envelope.from_party, asked.upper(), now)

        try:
            receipt = await self._context.store.transact(find)
        except StoreError:
            raise Refused(500, EXCEPTION_IN_WORKFLOW) from None
        response = write_status_response(
            ref_to_message_id=envelope.message_id,
            asked=asked,
            received_at=receipt.received_at if receipt is not None else None,
            **self._reception.addressing(envelope),
        )
        return Taken(signal("StatusResponse", response), "status-request", audited=False)

    async def _audit(self, request: _Request, taken: Taken) -> None:
        """Write the record of what changed no state; the answer does not depend on it."""
        context = self._context
        if request.message is not None:
            record = with_outcome(request.message.record, taken.outcome, taken.workflow)
        else:
            call = request.call
            record = context.audit.entry(AuditFacts("inbound", taken.outcome, call.started, caller=call.caller))
        try:
            await context.store.transact(lambda transaction: transaction.append_audit(record))
        except StoreError as error:
            _log.error("audit not written", error=error.code)
