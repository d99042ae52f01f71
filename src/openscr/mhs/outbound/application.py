"""The application of the outbound port: the REST face, what other parts add to it, and what stands nowhere.

Spec: 50 §1.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, TEXT, Exchanges
from openscr.mhs.outbound.callers import CallerCheck
from openscr.mhs.outbound.messages import Messages
from openscr.mhs.outbound.reception import Reception

NOWHERE: Final = "<html><title>404: Not Found</title><body>404: Not Found</body></html>"
"""The page of the reference's framework. Spec: 50 §1."""
_DESCRIPTION: Final = Path(__file__).with_name("openapi.json")


class OutboundFace:
    """``POST /``, ``/messages`` and ``/openapi.json``."""

    def __init__(self, context: AdaptorContext, exchanges: Exchanges) -> None:
        self._context = context
        self._exchanges = exchanges

    def routes(self) -> list[BaseRoute]:
        """Return the routes of this face."""
        description = _DESCRIPTION.read_bytes()

        async def describe(_request: Request) -> Response:
            return Response(description, media_type=JSON)

        return [
            Route("/", Reception(self._context, self._exchanges)),
            Route("/openapi.json", describe, methods=["GET"]),
            *Messages(self._context).routes(),
        ]


def outbound_application(context: AdaptorContext, exchanges: Exchanges, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Return the application of the outbound port. ``more`` are routes of other parts: queue, health, ``/scr``.

    Callers must show a key where keys are set. Spec: 50 §1, F15.
    """
    routes = [*OutboundFace(context, exchanges).routes(), *more]
    application = Starlette(routes=routes, exception_handlers={404: _nowhere, 405: _wrong_method})
    # A path with a slash too many is nowhere, as it always was.
    application.router.redirect_slashes = False
    keys = context.settings.secret_outbound_api_keys
    return CallerCheck(application, keys.get_secret_value() if keys else "", context.mint)


async def _nowhere(_request: Request, _error: Exception) -> Response:
    return Response(NOWHERE, 404, {"Content-Type": "text/html; charset=UTF-8"})


async def _wrong_method(_request: Request, error: Exception) -> Response:
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    return Response("405: Method Not Allowed", 405, {**headers, "Content-Type": TEXT})
