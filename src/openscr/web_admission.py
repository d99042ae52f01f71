"""What the web listener takes on: its pages and interfaces behind one `Admission`, operations always.

A request that is not taken on is answered 503 with ``Retry-After``, or 429 if its sender is too fast; on interfaces
that speak FHIR with an OperationOutcome. Under ``/governance``, where one request may write several times, so is one
whose answer has not begun in time, whatever store or disk do; others wait for servers that are not ours, and have words
and times of their own for that. The Spine paths have an admission of their own.

Spec: 60 §11; 90 §6.3.
"""

import asyncio
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from openscr.admission.work import AGAIN, ORDINARY_BODY, Admission, Kind, Shed
from openscr.errors import Overloaded
from openscr.fhir.operation_outcome import MEDIA_TYPE, write_outcome

ALWAYS: Final = frozenset({"/healthcheck", "/readyz", "/metrics"})
"""Paths that are answered however much there is to do: who looks after the service must see it."""

_GOVERNANCE: Final = "/governance"
_FHIR: Final = (_GOVERNANCE, "/spine-directory")

REPORTS: Final = frozenset({f"{_GOVERNANCE}/audit/search"})
"""Paths whose answer takes as long as there is something to read: one person's rows among millions. Spec: 35 §7."""
_BUSY: Final = "The service is busy; try again"


class WebAdmission:
    """Lets the requests of the web listener in to ``app``. The place is given back when the answer is written."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or say when it may come again."""
        if scope["type"] != "http" or scope["path"] in ALWAYS:
            await self._app(scope, receive, send)
            return
        admission, client = self._admission, scope.get("client")
        sender = client[0] if client else ""
        kind = Kind.QUERY if scope["method"] in ("GET", "HEAD") else Kind.MESSAGE
        try:
            admission.check(sender, kind)
            # Who sends slowly holds up nobody: most bodies are whole before they take a place.
            come = await _read_ahead(receive)
            until = _time_is_up(scope, come[-1], admission)
            if not admission.begin(kind):
                await admission.wait(sender, kind)
        except Overloaded as overload:
            admission.refused(Shed(overload.reason))
            await _refuse(scope["path"], overload)(scope, receive, send)
            return

        bound = asyncio.timeout_at(until)
        begun = False

        async def receive_on() -> Message:
            if come:
                return come.pop(0)
            message = await receive()
            if not begun and bound.when() is None:
                bound.reschedule(_time_is_up(scope, message, admission))
            return message

        async def send_on(message: Message) -> None:
            nonlocal begun
            if not begun:
                if bound.expired():
                    # Too late: it is refused already.
                    return
                begun = True
                # Who is being answered has got his answer.
                bound.reschedule(None)
            await send(message)

        try:
            async with bound:
                await self._app(scope, receive_on, send_on)
        except TimeoutError:
            if begun or not bound.expired():
                raise
            # Whether something was stored may be open.
            admission.refused(Shed.TIME)
            await _refuse(scope["path"], Overloaded(Shed.TIME, AGAIN))(scope, receive, send)
        finally:
            admission.end(kind)


def _time_is_up(scope: Scope, last: Message, admission: Admission) -> float | None:
    """Return when a request must have an answer, by the loop's clock; none for no time, or while it is being sent."""
    path = scope["path"]
    if last.get("more_body", False) or not path.startswith(_GOVERNANCE) or path in REPORTS:
        return None
    return asyncio.get_running_loop().time() + admission.bounds.answer


async def _read_ahead(receive: Receive) -> list[Message]:
    come: list[Message] = []
    size, more = 0, True
    while more and size <= ORDINARY_BODY:
        message = await receive()
        come.append(message)
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    return come


def _refuse(path: str, overload: Overloaded) -> Response:
    too_fast = overload.reason == Shed.SENDER_RATE
    status = 429 if too_fast else 503
    headers = {"Retry-After": str(overload.retry_after)}
    if not path.startswith(_FHIR):
        return PlainTextResponse(f"{_BUSY}\n", status, headers)
    body = (
        write_outcome("throttled", "TOO_MANY_REQUESTS", "Too many requests")
        if too_fast
        else write_outcome("transient", "SERVICE_UNAVAILABLE", _BUSY)
    )
    return Response(body, status, headers, MEDIA_TYPE)
