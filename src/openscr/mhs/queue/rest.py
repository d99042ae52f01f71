"""The embedded queue over HTTP, on the outbound port: long poll, receipts, dead letters.

A message is lent out for ``queue_lease`` seconds under a receipt; it is gone once that is acknowledged, and waits again
when it is given back or its time ends. After ``queue_deliveries`` times it is a dead letter.

Spec: 50 E4, F20.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.outbound.answers import CORRELATION_ID, Ids, write_json, write_refusal, written_instant
from openscr.mhs.outbound.header_values import header_value
from openscr.mhs.outbound.negotiation import wants_problem
from openscr.mhs.outbound.refusals import STORE_UNAVAILABLE, Refusal, Refused, wrong_query
from openscr.mhs.queue_message import LATE_RESPONSE
from openscr.mhs.store.interface import DeadLetter, LeasedMessage

LONGEST_WAIT: Final = 300
"""Seconds that a poll may wait."""
MOST_MESSAGES: Final = 100
"""Messages that a poll may ask for; together they are no larger than `openscr.mhs.store.interface.LEASED_BYTES`."""
LONGEST_DELAY: Final = 86_400
"""Seconds that a message which was given back may rest."""

_USUAL_MESSAGES: Final = 10
_MOST_LETTERS: Final = 1000
_USUAL_LETTERS: Final = 100

_log = structlog.get_logger("mhs.queue")


RECEIPT_UNKNOWN: Final = Refusal(
    404,
    "receipt_unknown",
    "No message is lent out under this receipt: it was acknowledged or given back before, or its time had ended and it"
    " was given out again",
)
DEAD_LETTER_UNKNOWN: Final = Refusal(404, "dead_letter_unknown", "No dead letter has this id")
QUEUE_ELSEWHERE: Final = Refusal(
    409, "queue_elsewhere", "Messages go to the broker that MHS_QUEUE names; read them there"
)


class QueueRoutes:
    """The routes under ``/queue``."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._stopping = False

    def routes(self) -> list[Route]:
        """Return the routes, for the outbound port."""
        return [
            self._route("/queue/messages", "GET", self._poll),
            self._route("/queue/messages/{receipt}/ack", "POST", self._acknowledge),
            self._route("/queue/messages/{receipt}/nack", "POST", self._release),
            self._route("/queue/stats", "GET", self._figures),
            self._route("/queue/dead-letters", "GET", self._dead_letters),
            self._route("/queue/dead-letters/{id}/requeue", "POST", self._requeue),
        ]

    async def stop(self) -> None:
        """Answer every poll that still waits, with nothing."""
        self._stopping = True
        self._context.arrivals.tell()

    async def _poll(self, request: Request) -> Response:
        self._refuse_beside_a_broker()
        seconds = _number(request, "wait", LONGEST_WAIT)
        limit = _count(request, "max", _USUAL_MESSAGES, MOST_MESSAGES)
        # Read to its end, so that what comes next is that the caller has gone.
        await request.body()

        async def find() -> tuple[LeasedMessage, ...] | None:
            # Nothing is lent to somebody who is no longer there.
            if self._stopping or await request.is_disconnected():
                return ()
            return await self._lease(limit) or None

        leased = await self._context.arrivals.wait(find, seconds=seconds) or ()
        return _json({"messages": [_message_form(each) for each in leased]})

    async def _lease(self, limit: int) -> tuple[LeasedMessage, ...]:
        context = self._context
        now = context.clock()
        if buried := await context.store.bury(now, deliveries_allowed=context.settings.queue_deliveries):
            _log.warning("messages were given out too often and are dead letters now", count=buried)
        until = now + timedelta(seconds=context.settings.queue_lease)
        return tuple(await context.store.lease_queue(now, until, limit))

    async def _acknowledge(self, request: Request) -> Response:
        self._refuse_beside_a_broker()
        if not await self._context.store.acknowledge(request.path_params["receipt"]):
            raise Refused(RECEIPT_UNKNOWN)
        return _done()

    async def _release(self, request: Request) -> Response:
        self._refuse_beside_a_broker()
        delay = _number(request, "delay", LONGEST_DELAY)
        now = self._context.clock()
        released = await self._context.store.release(
            request.path_params["receipt"],
            deliveries_allowed=self._context.settings.queue_deliveries,
            now=now,
            not_before=now + timedelta(seconds=delay),
        )
        if not released:
            raise Refused(RECEIPT_UNKNOWN)
        self._context.arrivals.tell()
        return _done()

    async def _figures(self, _request: Request) -> Response:
        now = self._context.clock()
        figures = await self._context.store.queue_figures(now)
        age = None if figures.oldest is None else max(0.0, (now - figures.oldest).total_seconds())
        return _json(
            {
                "waiting": figures.waiting,
                "leased": figures.leased,
                "dead": figures.dead,
                "oldest": None if figures.oldest is None else written_instant(figures.oldest),
                "oldest_seconds": age,
            }
        )

    async def _dead_letters(self, request: Request) -> Response:
        limit = _count(request, "limit", _USUAL_LETTERS, _MOST_LETTERS)
        letters = await self._context.store.dead_letters(limit)
        return _json({"dead_letters": [_letter_form(letter) for letter in letters]})

    async def _requeue(self, request: Request) -> Response:
        if not await self._context.store.requeue(request.path_params["id"]):
            raise Refused(DEAD_LETTER_UNKNOWN)
        self._context.arrivals.tell()
        return _done()

    def _refuse_beside_a_broker(self) -> None:
        if self._context.publisher is not None:
            raise Refused(QUEUE_ELSEWHERE)

    def _route(self, path: str, method: str, handle: Callable[[Request], Awaitable[Response]]) -> Route:
        async def answer(request: Request) -> Response:
            try:
                return await handle(request)
            except Refused as refused:
                return self._refuse(request, refused.refusal)
            except StoreError as error:
                _log.error("the queue cannot be asked", code=error.code, reason=error.diagnostics)
                return self._refuse(request, STORE_UNAVAILABLE)

        return Route(path, answer, methods=[method])

    def _refuse(self, request: Request, refusal: Refusal) -> Response:
        correlation_id = header_value(request.headers, CORRELATION_ID) or self._context.mint()
        problem = wants_problem(request.headers.get("accept", ""))
        return write_refusal(refusal, Ids(correlation_id), problem=problem)


def _message_form(leased: LeasedMessage) -> dict[str, Any]:
    message = leased.message
    return {
        "receipt": leased.receipt,
        "deliveries": leased.deliveries,
        "id": message.id,
        "created": written_instant(message.created_at),
        "properties": message.properties,
        # It is JSON already, and put in as it is.
        "body": msgspec.Raw(message.body),
    }


def _letter_form(letter: DeadLetter) -> dict[str, Any]:
    late = {LATE_RESPONSE: "true"} if letter.late else {}
    return {
        "id": letter.id,
        "created": written_instant(letter.created_at),
        "died": written_instant(letter.died_at),
        "deliveries": letter.deliveries,
        "size": letter.size,
        "properties": {"message-id": letter.message_id, "correlation-id": letter.correlation_id, **late},
    }


def _number(request: Request, name: str, most: float) -> float:
    """Return a number of seconds; 0 when none is given. Raises: `Refused`."""
    said = request.query_params.get(name, "")
    try:
        value = float(said or 0)
    except ValueError:
        value = -1.0
    # What is no number compares with nothing.
    if not 0 <= value <= most:
        raise Refused(wrong_query(f"{name} must be a number of seconds from 0 to {most:g}"))
    return value


def _count(request: Request, name: str, usual: int, most: int) -> int:
    said = request.query_params.get(name, "")
    if not said:
        return usual
    if not (said.isascii() and said.isdigit() and 1 <= int(said[:9]) <= most):
        raise Refused(wrong_query(f"{name} must be a whole number from 1 to {most}"))
    return int(said)


def _json(value: Mapping[str, Any]) -> Response:
    answer = write_json(value)
    # What was lent out once must not be given again by somebody on the way.
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _done() -> Response:
    return Response(status_code=204)
