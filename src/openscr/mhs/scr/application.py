"""``POST /scr``: a summary as JSON, sent as an upload; the answer is what the record said.

Two forms are taken: that of the NHS example library, which is the message in JSON, and ``openscr-summary/1``, which is
the clinical content alone.

Spec: 50 §12, C8; 00 §6.2.
"""

import asyncio
import json
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from openscr.codes import UPLOAD
from openscr.errors import DeliveryError, DirectoryUnavailable, EndpointUnknown, StoreError
from openscr.hl7.presend import Check
from openscr.identifiers import Clock, UuidFactory, minting_from
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, Answer, Exchanges
from openscr.mhs.outbound.answers import CORRELATION_ID, MESSAGE_ID
from openscr.mhs.outbound.callers import caller_of
from openscr.mhs.outbound.delivering import deliver, end_of_connection
from openscr.mhs.outbound.header_values import FROM_ASID, IDEMPOTENCY, ODS_CODE, header_value, is_safe
from openscr.mhs.outbound.refusals import Refusal
from openscr.mhs.outbound.refusals import Refused as NotSentAgain
from openscr.mhs.routing import correlation_uuid
from openscr.mhs.scr.answers import (
    INTERACTION_NAME,
    Refused,
    ScrAnswer,
    no_interaction_name,
    not_exchanged,
    not_reached,
    outcome_of,
    plain_outcome_of,
    unknown_interaction,
    unreadable_body,
    unusable,
)
from openscr.mhs.scr.example_form import write_example
from openscr.mhs.scr.sending import LocalMhs, Mhs, ScrMessage, interaction_of, unroutable
from openscr.mhs.scr.summary_form import read_summary, write_message

LARGEST_BODY: Final = 10 * 1024 * 1024
"""Bytes of a summary as JSON; what it becomes is limited as every message is."""

_FORM: Final = "openscr-summary/1"
_log = structlog.get_logger("mhs.scr")


def local_reception(context: AdaptorContext, exchanges: Exchanges) -> "ScrReception":
    """Return what takes summaries on the adaptor's own port."""
    return ScrReception(LocalMhs(context, exchanges), context.settings.scr_asid, context.clock, context.mint)


def scr_routes(reception: "ScrReception", paths: Sequence[str]) -> list[BaseRoute]:
    """Return routes that lead to a reception."""
    return [Route(path, endpoint=reception) for path in paths]


class ScrReception:
    """Takes summaries and answers them, whichever way they are sent.

    ``sender`` is the ASID of a summary in our own form whose request names none.
    """

    def __init__(self, mhs: Mhs, sender: str, clock: Clock, mint: UuidFactory) -> None:
        self.mhs = mhs
        self.sender = sender
        self.clock = clock
        self.mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        handling = _Handling(self, Request(scope, receive))
        with structlog.contextvars.bound_contextvars(
            correlation_id=handling.correlation_id, message_id=handling.message_id
        ):
            try:
                await handling.run(send)
            except ClientDisconnect:
                _log.info("the caller went away before the whole request had come")


class _Handling:
    """One request on its way."""

    def __init__(self, reception: ScrReception, request: Request) -> None:
        self._reception = reception
        self._mhs = reception.mhs
        self._request = request
        self.correlation_id = header_value(request.headers, CORRELATION_ID) or reception.mint()
        self.message_id = header_value(request.headers, MESSAGE_ID) or reception.mint()
        self._arrived = reception.clock()
        self._exchanged: tuple[ScrMessage, Answer] | None = None

    async def run(self, send: Send) -> None:
        """Read, send, answer. Raises: `ClientDisconnect`."""
        try:
            body = await self._read()
        except Refused as refused:
            await self._keep(refused.answer.status, refused.code)
            await self._response(refused.answer)(self._request.scope, self._request.receive, send)
            return
        # Nothing more is to be read: what comes now is the end of the connection.
        gone = asyncio.create_task(end_of_connection(self._request.receive))
        try:
            answer = await self._answer(body)
            delivered = await deliver(self._response(answer), gone, send)
        finally:
            gone.cancel()
        _log.info("answered", status=answer.status, delivered=delivered)
        if self._exchanged is not None:
            try:
                await self._mhs.answered(*self._exchanged, delivered=delivered)
            except StoreError as error:
                # The caller has its answer; a reply that it has not is found by the sweep for those.
                _log.error("the end of an exchange was not kept", error=error.code)

    def _response(self, answer: ScrAnswer) -> Response:
        headers = {CORRELATION_ID: self.correlation_id, MESSAGE_ID: self.message_id, **answer.headers}
        return Response(msgspec.json.encode(answer.document), answer.status, headers, JSON)

    async def _read(self) -> bytes:
        """Read the body, within its limit. Raises: `Refused`, `ClientDisconnect`."""
        if self._request.method != "POST":
            raise Refused(405, "method_not_allowed", "Summaries are posted.", headers={"Allow": "POST"})
        body = bytearray()
        async for chunk in self._request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise Refused(413, "request_too_large", f"The body is larger than {LARGEST_BODY} bytes.")
        return bytes(body)

    async def _answer(self, body: bytes) -> ScrAnswer:
        try:
            form = _read_json(body)
            for name in (MESSAGE_ID, CORRELATION_ID):
                self._header(name)
            if isinstance(form, dict) and str(form.get("format", "")).startswith("openscr-summary/"):
                return await self._plain(body)
            if isinstance(form, dict) and form.get("resourceType") == "Bundle":
                raise Refused(501, "form_unknown", f"A FHIR Bundle is not taken here yet. Send the summary as {_FORM}.")
            return await self._example(form, body)
        except Refused as refused:
            await self._keep(refused.answer.status, refused.code)
            return refused.answer
        except (EndpointUnknown, DirectoryUnavailable) as error:
            await self._keep(500, "no_route")
            return not_exchanged(unroutable(error))
        except DeliveryError as error:
            return not_reached(error.diagnostics)
        except Exception as error:  # noqa: BLE001 whatever goes wrong is told as everything else is
            # The error's own text could hold patient data.
            _log.error("summary failed", error=type(error).__name__)
            return ScrAnswer(500, {"error": "Internal Server Error"})

    async def _example(self, form: object, body: bytes) -> ScrAnswer:
        """Send a summary in the form of the NHS example library, checked as its web service does."""
        name = self._header("interaction-name")
        if not name:
            raise no_interaction_name()
        if name != INTERACTION_NAME:
            raise unknown_interaction(name)
        answer = await self._exchange(UPLOAD, write_example(form), body)
        return outcome_of(answer.body) if answer.status < 400 else not_exchanged(answer)

    async def _plain(self, body: bytes) -> ScrAnswer:
        """Send a summary in our own form."""
        reception = self._reception
        summary = read_summary(body)
        check = _check(self._header("check"))
        sender = self._header(FROM_ASID) or reception.sender
        if not sender:
            raise unusable("the header from-asid is missing, and no ASID is set for summaries without it")
        row = interaction_of(summary.interaction)
        receiver = self._header("to-asid") or await self._mhs.receiver(row, self._header(ODS_CODE), self.correlation_id)
        if not receiver:
            raise unusable("the header to-asid is missing, and no ASID of the Spine is set")
        # Asked for again under the same Message-Id it is the same event: the record does not take it twice.
        mint = minting_from(correlation_uuid(self.message_id))
        composed = write_message(summary, sender, receiver, mint, reception.clock(), check)
        answer = await self._exchange(summary.interaction, composed.payload, body)
        return plain_outcome_of(answer.body, composed.event_id) if answer.status < 400 else not_exchanged(answer)

    async def _exchange(self, interaction: str, payload: bytes, body: bytes) -> Answer:
        """Send a message that was made of ``body``, and wait for its reply. Raises: `DeliveryError`, `Refused`."""
        message = ScrMessage(
            interaction_of(interaction),
            payload.decode(),
            self.message_id,
            self.correlation_id,
            self._header(ODS_CODE),
            caller_of(self._request.scope),
            digest=sha256(b"/scr\0" + body).hexdigest(),
            strict=self._header(IDEMPOTENCY).lower() == "strict",
        )
        try:
            answer, first = await self._mhs.send(message)
        except NotSentAgain as refused:
            refusal = refused.refusal
            raise Refused(refusal.status, refusal.code, refusal.reason) from None
        if first:
            self._exchanged = (message, answer)
        return answer

    async def _keep(self, status: int, code: str) -> None:
        """Keep that nothing was sent, and why."""
        await self._mhs.refused(
            Refusal(status, code, ""),
            self._request.headers,
            self._arrived,
            correlation_id=self.correlation_id,
            message_id=self.message_id,
            caller=caller_of(self._request.scope),
        )

    def _header(self, name: str) -> str:
        """Return a header's value, empty when there is none. Raises: `Refused`: it holds a control character."""
        value = self._request.headers.get(name, "").strip()
        if not is_safe(value):
            raise Refused(400, "header_unsafe", f"The header {name} holds a character that it must not.")
        return value


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except json.JSONDecodeError as error:
        raise unreadable_body(str(error)) from None
    except UnicodeDecodeError as error:
        raise unreadable_body(f"byte {error.start} is not UTF-8") from None
    except (ValueError, RecursionError):
        raise unreadable_body("a number or a nesting that no summary has") from None


def _check(level: str) -> Check:
    try:
        return Check(level.lower() or Check.STRICT)
    except ValueError:
        raise Refused(400, "check_unknown", f"The header check is {', '.join(Check)}.") from None
