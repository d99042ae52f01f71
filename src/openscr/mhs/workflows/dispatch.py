"""A supplier's message handed to its workflow, and the supplier's answer.

Spec: 50 §2, F1, F5, F11.
"""

import asyncio
import math
from dataclasses import replace
from datetime import timedelta

import structlog

from openscr.delivery.schedule import Terms, terms_of
from openscr.directory.routes import Route
from openscr.errors import DeliveryError, DirectoryUnavailable, EndpointUnknown
from openscr.mhs import audit_lines
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer, OutboundRequest
from openscr.mhs.payload_people import people_in
from openscr.mhs.routing import UnreadableRetryInterval
from openscr.mhs.settings import MhsSettings
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import SendingRow, Transaction
from openscr.mhs.workflows import synchronous
from openscr.mhs.workflows.answers import (
    ACCEPTED,
    NO_ROUTE,
    NO_SENDER,
    NOT_PREPARED,
    NOT_SENT,
    NOT_SERIALISED,
    refused,
    too_large,
    unreadable_interval,
)
from openscr.mhs.workflows.judging import judge_answer
from openscr.mhs.workflows.message_states import MessageStates, facts_of, patience
from openscr.mhs.workflows.packing import Packed, pack
from openscr.mhs.workflows.reliable import ReliableSender
from openscr.mhs.workflows.waiting import note_answered, note_responding, wait_for_reply
from openscr.transport.verdict import Verdict

_STORED_FIRST = frozenset({Workflow.ASYNC_RELIABLE, Workflow.FORWARD_RELIABLE})
_MANY = 1_000
"""External attachments of a message that is written on a thread of its own: there may be a million."""

_log = structlog.get_logger("mhs.workflows")


class _NotPrepared(Exception):
    """A message that cannot be sent: what the supplier is told, and why, without a word of the message."""

    def __init__(self, answer: Answer, error: str) -> None:
        super().__init__(error)
        self.answer = answer
        self.error = error


class Workflows:
    """Exchanges messages; `openscr.mhs.exchange.Exchanges`. It sends what was stored from `start` to `stop`."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._states = MessageStates(context)
        self._sender = ReliableSender(context, self._states)

    def start(self) -> None:
        """Begin to send what is stored: first of all what an earlier run left behind."""
        self._sender.start()

    def let_go(self) -> None:
        """Answer whoever waits for attempts that this process will not make: what is stored is accepted. Spec: 50 F11.

        Should it fail in the end, the queue tells.
        """
        self._sender.let_go()

    async def stop(self) -> None:
        """Let attempts under way end; what is not sent by then stays stored."""
        await self._sender.stop()

    async def send(self, request: OutboundRequest) -> Answer:
        """Exchange a message, and return what the supplier is answered. Raises: `StoreError`. Spec: 50 §2."""
        facts = facts_of(request, await people_in(_encoded(request.payload)))
        await self._states.begin(request, _bound(self._context.settings))
        answer = await self._exchange(request, facts)
        if request.wait and answer.status == 202:
            answer = await wait_for_reply(self._context, request, facts)
        elif request.wait:
            await self._context.store.transact(
                lambda transaction: note_responding(self._context, transaction, request.message_id)
            )
        seconds = (self._context.clock() - request.received_at).total_seconds()
        self._context.figures.message(
            "outbound", request.interaction.name, facts.workflow, str(answer.status), max(0.0, seconds)
        )
        return answer

    async def answered(self, request: OutboundRequest, answer: Answer, *, delivered: bool) -> None:
        """Keep that the supplier has been sent its answer, or could not be. Raises: `StoreError`. Spec: 50 §2.1, §2.7.

        Of a synchronous message that never reached the Spine the state says why, and goes on saying it.
        """
        if request.wait:
            await note_answered(self._context, self._states, request.message_id, answer, delivered=delivered)
        elif request.workflow is Workflow.SYNC:
            await self._states.finish_sync(request.message_id, delivered=delivered)

    async def _exchange(self, request: OutboundRequest, facts: AuditFacts) -> Answer:
        audit_lines.outbound_invoked(request.workflow)
        try:
            if request.workflow is Workflow.SYNC and not request.from_asid:
                await self._context.audit.write(replace(facts, outcome="no-from-asid"))
                return NO_SENDER
            route = await self._route(request)
            facts = replace(facts, to_asid=route.asid, to_party=route.party_key)
            if len(request.external_attachments) > _MANY:
                packed = await asyncio.to_thread(self._pack, request, route)
            else:
                packed = self._pack(request, route)
        except _NotPrepared as failure:
            _log.warning("message not prepared", message_id=request.message_id, error=failure.error)
            await self._states.change(facts, OutboundStatus.PREPARATION_FAILED, failure.error)
            return failure.answer
        if request.workflow is Workflow.SYNC:
            return await synchronous.exchange(self._context, self._states, packed, facts)
        facts = replace(facts, from_party=self._context.settings.secret_party_key)
        if request.workflow in _STORED_FIRST:
            return await self._send_reliably(request, packed, terms_of(route.contract), facts)
        return await self._send_once(request, packed, facts)

    # --- preparation ------------------------------------------------------------------------------------------------

    async def _route(self, request: OutboundRequest) -> Route:
        """Return where a message goes. Raises: `_NotPrepared`. Spec: 50 §2.1 step 3, §5."""
        ods = request.ods_code or self._context.settings.spine_org_code
        try:
            return await self._context.router.find(
                ods, request.interaction.service_id, request.correlation_id, request.workflow
            )
        except UnreadableRetryInterval as error:
            answer = unreadable_interval(error.text) if request.workflow in _STORED_FIRST else NO_ROUTE
            raise _NotPrepared(answer, error.diagnostics) from None
        except (EndpointUnknown, DirectoryUnavailable) as error:
            raise _NotPrepared(NO_ROUTE, error.diagnostics) from None

    def _pack(self, request: OutboundRequest, route: Route) -> Packed:
        """Return the bytes of a message, within the size that a Spine takes. Raises: `_NotPrepared`. Spec: 50 F13."""
        settings = self._context.settings
        payload = _encoded(request.payload)
        try:
            if not payload:
                raise ValueError("there is no payload that could be written")
            packed = pack(request, payload, route, settings, self._context.clock(), self._context.mint)
        except EndpointUnknown as error:
            raise _NotPrepared(NO_ROUTE, error.diagnostics) from None
        except ValueError:
            answer = NOT_PREPARED if request.workflow is Workflow.SYNC else NOT_SERIALISED
            raise _NotPrepared(answer, "the message cannot be written") from None
        if len(packed.body) > settings.spine_request_max_size:
            answer = too_large(settings.spine_request_max_size, len(packed.body))
            raise _NotPrepared(answer, f"the message has {len(packed.body)} bytes")
        return packed

    # --- asynchronous messages --------------------------------------------------------------------------------------

    async def _send_once(self, request: OutboundRequest, packed: Packed, facts: AuditFacts) -> Answer:
        """Send an express message: again only while there is no connection. Spec: 50 §2.2, F5, F8."""
        settings = self._context.settings
        try:
            answer = await self._context.carrier.post(
                packed.address,
                dict(packed.headers),
                packed.body,
                timeout=settings.async_timeout,
                unsafe=settings.retry_unsafe,
            )
        except DeliveryError as error:
            _log.warning("message not sent", message_id=request.message_id, error=error.diagnostics)
            await self._states.change(facts, OutboundStatus.TRANSMISSION_FAILED, error.diagnostics)
            return NOT_SENT
        result = judge_answer(request.workflow, answer.status, answer.body, request.message_id)
        if result.reason:
            _log.warning("answer to a message", message_id=request.message_id, reason=result.reason)
        if result.verdict is Verdict.DELIVERED:
            await self._states.change(facts, OutboundStatus.ACKD, "")
            self._context.figures.spine_succeeded()
            audit_lines.outbound_completed(request.workflow)
            return ACCEPTED
        await self._states.change(facts, OutboundStatus.NACKD, result.reason)
        return refused(result)

    async def _send_reliably(self, request: OutboundRequest, packed: Packed, terms: Terms, facts: AuditFacts) -> Answer:
        """Store a message and have it sent; return its outcome, or that it is accepted if that takes longer.

        Spec: 50 §2.3, §2.4, F11.
        """
        row = SendingRow(
            message_id=request.message_id,
            address=packed.address,
            headers=packed.headers,
            body=packed.body,
            retries=terms.retries,
            retry_interval=terms.retry_interval,
            persist_duration=terms.persist_duration,
        )
        settings = self._context.settings
        until = self._context.clock() + timedelta(seconds=_bound(settings) + terms.persist_duration)

        async def note(transaction: Transaction) -> None:
            found = await transaction.find_message(request.message_id)
            if found is not None:
                waits_until = until if found.waits_until is not None else None
                await transaction.put_message(replace(found, to_party=facts.to_party, waits_until=waits_until))

        seconds = math.inf if settings.send_wait is None else settings.send_wait
        if request.respond_async and not request.wait:
            seconds = 0.0
        outcome = await self._sender.send(row, request.workflow, facts, seconds, note)
        if outcome is not None:
            return outcome
        await self._context.audit.write(replace(facts, outcome=OutboundStatus.RECEIVED))
        return ACCEPTED


def _encoded(payload: str) -> bytes:
    """Return a payload in UTF-8, not to be kept while anybody waits: it may be large. Nothing when it cannot be."""
    try:
        return payload.encode()
    except UnicodeEncodeError:
        return b""


def _bound(settings: MhsSettings) -> float:
    """Return how many seconds a caller may wait at most, the attempts after the first left out.

    Only to know whose process has died is it needed: whoever lives ends its wait itself.
    """
    tries = settings.outbound_transmission_max_retries + 1
    attempt = tries * (settings.connect_timeout + settings.async_timeout)
    return settings.late_reply_grace + attempt + patience(settings)
