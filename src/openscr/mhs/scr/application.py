"""``POST /scr``: a summary as JSON, sent as an upload; the answer is what the record said.

Two forms are taken: that of the NHS example library, which is the message in JSON, and ``openscr-summary/1``, which is
the clinical content alone.

Spec: 50 §12, C8; 00 §6.2.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from openscr.client.presend import Check
from openscr.codes import UPLOAD
from openscr.errors import DeliveryError, DirectoryUnavailable, EndpointUnknown
from openscr.identifiers import Clock, UuidFactory
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer, Exchanges
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


class ScrRoutes:
    """The routes of this part on the adaptor's own port."""

    def __init__(self, context: AdaptorContext, exchanges: Exchanges) -> None:
        self._reception = ScrReception(
            LocalMhs(context, exchanges), context.settings.scr_asid, context.clock, context.mint
        )

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return scr_routes(self._reception, ("/scr",))


def scr_routes(reception: "ScrReception", paths: Sequence[str]) -> list[BaseRoute]:
    """Return routes that lead to a reception."""
    return [Route(path, endpoint=reception) for path in paths]


class ScrReception:
    """Takes summaries and answers them, whichever way they are sent.

    ``sender`` is the ASID of a summary in our own form whose request names none.
    """

    def __init__(self, mhs: Mhs, sender: str, clock: Clock, mint: UuidFactory) -> None:
        self._mhs = mhs
        self._sender = sender
        self._clock = clock
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        correlation_id = _header(request, "correlation-id") or self._mint()
        message_id = _header(request, "message-id") or self._mint()
        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id, message_id=message_id):
            handling = _Handling(self._mhs, request, message_id, correlation_id)
            try:
                answer = await self._answer(handling)
            except ClientDisconnect:
                _log.info("the caller went away before the whole request had come")
                return
            headers = {"Correlation-Id": correlation_id, "Message-Id": message_id, **handling.headers}
            response = Response(msgspec.json.encode(answer.document), answer.status, headers, "application/json")
            delivered = False
            try:
                await response(scope, receive, send)
                delivered = True
            finally:
                await handling.told(delivered=delivered)

    async def _answer(self, handling: "_Handling") -> ScrAnswer:
        try:
            body = await handling.body()
            form = _read(body)
            if isinstance(form, dict) and str(form.get("format", "")).startswith("openscr-summary/"):
                return await self._plain(handling, body)
            if isinstance(form, dict) and form.get("resourceType") == "Bundle":
                raise Refused(501, f"A FHIR Bundle is not taken here yet. Send the summary as {_FORM}.")
            return await self._example(handling, form)
        except Refused as refused:
            return refused.answer
        except (EndpointUnknown, DirectoryUnavailable) as error:
            return not_exchanged(unroutable(error))
        except DeliveryError as error:
            return not_reached(error.diagnostics)
        except Exception as error:  # noqa: BLE001
            # Whatever goes wrong here is told as everything else is, and never with a value of the summary.
            _log.error("the summary could not be handled", error=type(error).__name__)
            return ScrAnswer(500, {"error": "Internal Server Error"})

    async def _example(self, handling: "_Handling", form: object) -> ScrAnswer:
        """Send a summary in the form of the NHS example library, checked as its web service does."""
        name = handling.header("interaction-name")
        if not name:
            raise no_interaction_name()
        if name != INTERACTION_NAME:
            raise unknown_interaction(name)
        answer = await handling.exchange(UPLOAD, write_example(form))
        return outcome_of(answer.body) if answer.status < 400 else not_exchanged(answer)

    async def _plain(self, handling: "_Handling", body: bytes) -> ScrAnswer:
        """Send a summary in our own form."""
        summary = read_summary(body)
        sender = handling.header("from-asid") or self._sender
        if not sender:
            raise unusable("the header from-asid is missing, and no ASID is set for summaries without it")
        check = _check(handling.header("check"))
        row = interaction_of(summary.interaction)
        receiver = handling.header("to-asid") or await self._mhs.receiver(
            row, handling.header("ods-code"), handling.correlation_id
        )
        if not receiver:
            raise unusable("the header to-asid is missing, and no ASID of the Spine is set")
        composed = write_message(summary, sender, receiver, self._mint, self._clock(), check)
        answer = await handling.exchange(summary.interaction, composed.payload)
        return plain_outcome_of(answer.body, composed.event_id) if answer.status < 400 else not_exchanged(answer)


class _Handling:
    """One request on its way."""

    def __init__(self, mhs: Mhs, request: Request, message_id: str, correlation_id: str) -> None:
        self._mhs = mhs
        self._request = request
        self._message_id = message_id
        self.correlation_id = correlation_id
        self.headers: dict[str, str] = {}
        self._exchanged: tuple[ScrMessage, Answer] | None = None

    def header(self, name: str) -> str:
        """Return a header's value, empty when there is none. Raises: `Refused`: it holds a control character."""
        value = self._request.headers.get(name, "").strip()
        if not _is_safe(value):
            raise Refused(400, f"The header {name} holds a character that it must not.")
        return value

    async def body(self) -> bytes:
        """Read the body, within its limit. Raises: `Refused`, `ClientDisconnect`."""
        if self._request.method != "POST":
            self.headers["Allow"] = "POST"
            raise Refused(405, "Summaries are posted.")
        for name in ("message-id", "correlation-id"):
            self.header(name)
        body = bytearray()
        async for chunk in self._request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                raise Refused(413, f"The body is larger than {LARGEST_BODY} bytes.")
        return bytes(body)

    async def exchange(self, interaction: str, payload: bytes) -> Answer:
        """Send a message and wait for its reply. Raises: `DeliveryError`."""
        message = ScrMessage(
            interaction_of(interaction),
            payload.decode(),
            self._message_id,
            self.correlation_id,
            self.header("ods-code"),
        )
        answer = await self._mhs.send(message)
        self._exchanged = (message, answer)
        return answer

    async def told(self, *, delivered: bool) -> None:
        """Say whether the answer has reached whoever waits for it."""
        if self._exchanged is not None:
            message, answer = self._exchanged
            await self._mhs.answered(message, answer, delivered=delivered)


def _read(body: bytes) -> Any:
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
        raise Refused(400, f"The header check is {', '.join(Check)}.") from None


def _header(request: Request, name: str) -> str:
    value = request.headers.get(name, "").strip()
    return value if _is_safe(value) else ""


def _is_safe(value: str) -> bool:
    return not any(character < " " or "\x7f" <= character < "\xa0" for character in value)
