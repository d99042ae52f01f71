"""The application of the outbound port: the REST face, what other parts add to it, and what stands nowhere.

Spec: 50 §1.
"""

from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, Exchanges
from openscr.mhs.operations import html_page
from openscr.mhs.outbound.answers import CORRELATION_ID, Ids, write_refusal
from openscr.mhs.outbound.callers import CallerCheck
from openscr.mhs.outbound.header_values import header_value
from openscr.mhs.outbound.messages import Messages
from openscr.mhs.outbound.negotiation import wants_problem
from openscr.mhs.outbound.reception import Reception
from openscr.mhs.outbound.recording import RefusalRecord
from openscr.mhs.outbound.refusals import NOWHERE, WRONG_METHOD

_DESCRIPTION: Final = Path(__file__).with_name("openapi.json")


class OutboundFace:
    """``POST /``, ``/messages`` and ``/openapi.json``."""

    def __init__(self, context: AdaptorContext, exchanges: Exchanges, refusals: RefusalRecord) -> None:
        self._context = context
        self._reception = Reception(context, exchanges, refusals)

    def routes(self) -> list[BaseRoute]:
        """Return the routes of this face."""
        description = _DESCRIPTION.read_bytes()

        async def describe(_request: Request) -> Response:
            return Response(description, media_type=JSON)

        return [
            Route("/", self._reception),
            Route("/openapi.json", describe, methods=["GET"]),
            *Messages(self._context).routes(),
        ]


def outbound_application(context: AdaptorContext, exchanges: Exchanges, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Return the application of the outbound port. ``more`` are routes of other parts: queue, health, ``/scr``.

    Callers must show a key where keys are set. Spec: 50 §1, F15.
    """

    async def nowhere(request: Request, _error: Exception) -> Response:
        if wants_problem(request.headers.get("accept", "")):
            return write_refusal(NOWHERE, _ids(request, context), problem=True)
        return html_page(HTTPStatus.NOT_FOUND)

    async def wrong_method(request: Request, error: Exception) -> Response:
        headers = error.headers if isinstance(error, HTTPException) else None
        refusal = replace(WRONG_METHOD, headers=headers or {})
        problem = wants_problem(request.headers.get("accept", ""))
        return write_refusal(refusal, _ids(request, context), problem=problem)

    refusals = RefusalRecord(context)
    routes = [*OutboundFace(context, exchanges, refusals).routes(), *more]
    application = Starlette(routes=routes, exception_handlers={404: nowhere, 405: wrong_method})
    # A path with a slash too many is nowhere, as it always was.
    application.router.redirect_slashes = False
    return CallerCheck(application, context, refusals)


def _ids(request: Request, context: AdaptorContext) -> Ids:
    return Ids(header_value(request.headers, CORRELATION_ID) or context.mint())
