"""``POST /``: one HL7 V3 message to the Spine. The checks stand in the reference's order.

Spec: 50 §1.1-§1.4.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Final

import structlog
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, XML, Answer, Exchanges, OutboundRequest
from openscr.mhs.interactions import FORWARD_EXPRESS, Interaction
from openscr.mhs.outbound.answers import CORRELATION_ID, MESSAGE_ID, Ids, write_answer, write_refusal
from openscr.mhs.outbound.callers import caller_of
from openscr.mhs.outbound.delivering import deliver, end_of_connection
from openscr.mhs.outbound.header_values import (
    CONTENT_TYPE,
    FROM_ASID,
    IDEMPOTENCY,
    INTERACTION_ID,
    ODS_CODE,
    WAIT,
    WORKFLOW,
    checked_value,
    header_value,
    media_type,
    prefers_async,
)
from openscr.mhs.outbound.idempotency import Idempotency
from openscr.mhs.outbound.negotiation import wants_problem, wants_whole_reply
from openscr.mhs.outbound.recording import RefusalRecord
from openscr.mhs.outbound.refusals import (
    CANNOT_WAIT,
    FAILED,
    NO_BODY,
    NO_CONTENT_TYPE,
    NO_INTERACTION,
    NO_WAIT,
    NO_WAIT_FLAG,
    TOO_LARGE,
    WRONG_CONTENT_TYPE,
    WRONG_METHOD,
    XML_NOT_UTF8,
    Refusal,
    Refused,
    forward_express,
    unknown_interaction,
    unknown_workflow,
    wrong_wait,
)
from openscr.mhs.outbound.request_body import RequestBody, check_payload, read_request_body
from openscr.mhs.states import Workflow

LARGEST_BODY: Final = 104_857_600
"""Bytes of a request. Spec: 50 §1.3 row 13."""
_XML_TYPES: Final = frozenset({XML, "application/xml"})
_WORKFLOWS: Final = frozenset(Workflow) - {Workflow.SYNC_ASYNC}
"""What a table may name."""
_UTF8: Final = frozenset({"", "utf-8", "utf8", "us-ascii"})

_log = structlog.get_logger("mhs.outbound")


class Reception:
    """The application at ``/``."""

    def __init__(self, context: AdaptorContext, exchanges: Exchanges, refusals: RefusalRecord) -> None:
        self._context = context
        self._exchanges = exchanges
        self._idempotency = Idempotency(context)
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        # One id for log and answer, whether it came or not. Spec: 50 F14.
        correlation_id = header_value(request.headers, CORRELATION_ID) or self._context.mint()
        with structlog.contextvars.bound_contextvars(
            correlation_id=correlation_id,
            interaction_id=self._refusals.interaction_of(request.headers),
            message_id=header_value(request.headers, MESSAGE_ID),
        ):
            try:
                await self._handle(request, send, correlation_id)
            except ClientDisconnect:
                _log.info("the caller went away before the whole request had come")

    async def _handle(self, request: Request, send: Send, correlation_id: str) -> None:
        arrival = _Arrival(self._context.clock(), correlation_id, wants_problem(request.headers.get("accept", "")))
        try:
            outbound = await self._read(request, arrival)
        except Refused as refused:
            response = await self._refuse(request, arrival, refused.refusal)
            await response(request.scope, request.receive, send)
            return
        structlog.contextvars.bind_contextvars(message_id=outbound.message_id)
        # Nothing more is to be read: what comes now is the end of the connection.
        gone = asyncio.create_task(end_of_connection(request.receive))
        try:
            await self._exchange(outbound, request, arrival, gone, send)
        finally:
            gone.cancel()

    async def _exchange(
        self, outbound: OutboundRequest, request: Request, arrival: "_Arrival", gone: asyncio.Task[None], send: Send
    ) -> None:
        ids = Ids(outbound.correlation_id, outbound.message_id)
        try:
            answer, first = await self._send(outbound, request)
        except Refused as refused:
            response = await self._refuse(request, arrival, refused.refusal, outbound.message_id)
            await response(request.scope, request.receive, send)
            return
        except Exception as error:  # noqa: BLE001 whatever goes wrong is row 14 of 50 §1.3
            # The error's own text could hold patient data.
            _log.error("message failed", error=type(error).__name__)
            response = await self._refuse(request, arrival, FAILED, outbound.message_id)
            await response(request.scope, request.receive, send)
            return
        delivered = await deliver(write_answer(answer, ids, problem=arrival.problem), gone, send)
        _log.info("answered", status=answer.status, delivered=delivered)
        if first:
            try:
                await self._exchanges.answered(outbound, answer, delivered=delivered)
            except StoreError as error:
                # The caller has its answer; a reply that it has not is found by the sweep for those.
                _log.error("the end of an exchange was not kept", error=error.code)

    async def _send(self, outbound: OutboundRequest, request: Request) -> tuple[Answer, bool]:
        """Return the answer, and whether the message was exchanged for it just now. Spec: 50 F4."""
        wish = request.headers.get(IDEMPOTENCY, "").strip().lower()
        if wish == "strict" or self._context.settings.idempotency == "strict":
            return await self._idempotency.send(outbound, self._exchanges.send)
        return await self._exchanges.send(outbound), True

    async def _refuse(self, request: Request, arrival: "_Arrival", refusal: Refusal, message_id: str = "") -> Response:
        """Return the answer to what is not sent, once that is kept."""
        await self._refusals.keep(
            refusal,
            request.headers,
            arrival.at,
            correlation_id=arrival.correlation_id,
            message_id=message_id,
            caller=caller_of(request.scope),
        )
        if refusal is TOO_LARGE and not arrival.problem:
            return Response(status_code=400, headers={CORRELATION_ID: arrival.correlation_id, **refusal.headers})
        return write_refusal(refusal, Ids(arrival.correlation_id, message_id), problem=arrival.problem)

    # --- the checks, in the order of 50 §1.3 --------------------------------------------------------------------------

    async def _read(self, request: Request, arrival: "_Arrival") -> OutboundRequest:
        """Return what is to be sent. Raises: `Refused`, `ClientDisconnect`."""
        if request.method != "POST":
            raise Refused(WRONG_METHOD)
        # The reference's framework has read the whole request before anybody looks at it: row 13 comes first.
        body = await _read_body(request)
        headers = request.headers
        name = headers.get(INTERACTION_ID, "")
        if not name:
            raise Refused(NO_INTERACTION)
        wait = _wait(headers.get(WAIT, ""))
        content = _content(headers, body)
        digest = sha256(name.encode() + b"\0")
        digest.update(body)
        # It may be large, and what follows takes its time.
        del body
        interaction = self._context.interactions.get(name)
        if interaction is None:
            raise Refused(unknown_interaction(name))
        workflow = _workflow(interaction, headers.get(WORKFLOW, ""))
        waits = False if workflow is Workflow.SYNC else interaction.waits
        if interaction.waits is None:
            raise Refused(NO_WAIT_FLAG)
        if wait and not waits:
            raise Refused(CANNOT_WAIT)
        checked_value(headers, CORRELATION_ID)
        return OutboundRequest(
            interaction=interaction,
            workflow=workflow,
            wait=wait,
            message_id=checked_value(headers, MESSAGE_ID) or self._context.mint(),
            correlation_id=arrival.correlation_id,
            payload=content.payload,
            received_at=arrival.at,
            from_asid=checked_value(headers, FROM_ASID) or None,
            ods_code=checked_value(headers, ODS_CODE) or None,
            attachments=content.attachments,
            external_attachments=content.external_attachments,
            whole=wait and wants_whole_reply(headers.get("accept", "")),
            respond_async=prefers_async(headers),
            digest=digest.hexdigest(),
            caller=caller_of(request.scope),
        )


@dataclass(frozen=True, slots=True)
class _Arrival:
    """When a request came, the id that it goes by, and whether its errors are to be problem documents."""

    at: datetime
    correlation_id: str
    problem: bool


def _wait(value: str) -> bool:
    if not value:
        raise Refused(NO_WAIT)
    if value.lower() not in ("true", "false"):
        raise Refused(wrong_wait(value))
    return value.lower() == "true"


def _content(headers: Headers, body: bytearray) -> RequestBody:
    """Return what the body says, JSON or the payload itself. Spec: 50 §1.3 rows 4 to 8, F7."""
    if not headers.get(CONTENT_TYPE, ""):
        raise Refused(NO_CONTENT_TYPE)
    kind, charset = media_type(headers)
    if kind != JSON and (kind not in _XML_TYPES or charset not in _UTF8):
        raise Refused(WRONG_CONTENT_TYPE)
    if not body:
        raise Refused(NO_BODY)
    if kind == JSON:
        return read_request_body(body)
    try:
        payload = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Refused(XML_NOT_UTF8) from None
    check_payload(payload)
    return RequestBody(payload)


def _workflow(interaction: Interaction, wish: str) -> Workflow:
    """Return how a message is exchanged; some interactions leave the choice to the caller. Spec: 50 F2."""
    if interaction.workflow == FORWARD_EXPRESS:
        raise Refused(forward_express(interaction.name))
    if interaction.also_sync and wish.strip().lower() == Workflow.SYNC:
        return Workflow.SYNC
    if interaction.workflow not in _WORKFLOWS:
        raise Refused(unknown_workflow(interaction.name))
    return Workflow(interaction.workflow)


# --- the wire ---------------------------------------------------------------------------------------------------------


async def _read_body(request: Request) -> bytearray:
    """Return the body. Raises: `Refused`: it is over the limit; `ClientDisconnect`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > LARGEST_BODY:
        raise Refused(TOO_LARGE)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise Refused(TOO_LARGE)
    return body
