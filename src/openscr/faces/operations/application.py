"""Operations: health, readiness, metrics, and the demo's helpers.

Nothing here needs a login, so nothing here tells of a patient, but for the demo's own synthetic ones.

Spec: 00 §3.1, §5.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from openscr import __version__

RETRY_AFTER = "1"
"""Seconds after which a service that is starting may be asked again."""

SAMPLES = ("upload", "list", "event")


class Operations(Protocol):
    """What the service can say of itself."""

    async def components(self) -> dict[str, bool]:
        """Return each component's name and whether it is up."""

    async def unready(self) -> str | None:
        """Return why requests are not taken, or none.

        ``starting``, ``migrating``, ``directory`` (a directory server that was never read), ``store``, ``stopping``.
        """

    async def metrics_text(self) -> bytes:
        """Return all figures for Prometheus."""


class ReadyRequest(Protocol):
    """A request body with the headers to send it with."""

    @property
    def body(self) -> bytes:
        """The bytes to post."""

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` to send."""

    @property
    def soap_action(self) -> str:
        """The ``SOAPAction`` to send."""


class DemoHelpers(Protocol):
    """The demo world behind ``/demo``."""

    def inbox(self, party_key: str, since: int) -> tuple[int, Sequence[Any]]:
        """Return the next number to ask with, and the party's messages after ``since``."""

    async def sample(self, kind: str) -> ReadyRequest:
        """Return a fresh request body of a kind."""


@dataclass(frozen=True, slots=True)
class OperationsFace:
    """The routes of this face. ``demo`` is none on a service without the demo world."""

    operations: Operations
    demo: DemoHelpers | None = None

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener."""
        routes: list[BaseRoute] = [
            Route("/healthcheck", self._health),
            Route("/readyz", self._ready),
            Route("/metrics", self._metrics),
        ]
        if self.demo is not None:
            routes += [Route("/demo/inbox/{party_key}", self._inbox), Route("/demo/sample/{kind}", self._sample)]
        return routes

    def waiting_routes(self) -> list[BaseRoute]:
        """Return the routes of a service that is not ready: how it is, and for everything else that it is too early."""
        return [
            Route("/healthcheck", self._health),
            Route("/readyz", self._ready),
            Mount("/", not_yet),
        ]

    async def _health(self, _request: Request) -> Response:
        components = await self.operations.components()
        up = all(components.values())
        return JSONResponse(
            {
                "status": "UP" if up else "DOWN",
                "components": {name: {"status": "UP" if good else "DOWN"} for name, good in components.items()},
            },
            status_code=200 if up else 503,
        )

    async def _ready(self, _request: Request) -> Response:
        reason = await self.operations.unready()
        if reason is None:
            return JSONResponse({"ready": True})
        return JSONResponse({"ready": False, "reason": reason}, status_code=503)

    async def _metrics(self, _request: Request) -> Response:
        return Response(await self.operations.metrics_text(), media_type=CONTENT_TYPE_LATEST)

    async def _inbox(self, request: Request) -> Response:
        if self.demo is None:
            return PlainTextResponse("not found", status_code=404)
        since = request.query_params.get("since", "0")
        if not (since.isascii() and since.isdigit()) or len(since) > 18:
            return JSONResponse({"error": "since is the number that the last answer gave as next"}, status_code=400)
        following, messages = self.demo.inbox(request.path_params["party_key"], int(since))
        return JSONResponse({"next": following, "messages": [asdict(message) for message in messages]})

    async def _sample(self, request: Request) -> Response:
        kind = request.path_params["kind"]
        if self.demo is None or kind not in SAMPLES:
            return PlainTextResponse("not found", status_code=404)
        sample = await self.demo.sample(kind)
        return Response(sample.body, headers={"SOAPAction": sample.soap_action, "Content-Type": sample.content_type})


async def not_yet(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer 503 to whatever is asked before the service is ready. Spec: 00 §3.1."""
    response = PlainTextResponse("starting\n", status_code=503, headers={"Retry-After": RETRY_AFTER})
    await response(scope, receive, send)


async def plain_landing(_request: Request) -> Response:
    """Answer ``/`` of a service without the demo: product and version, nothing else. Spec: 00 §3.1."""
    return PlainTextResponse(f"OpenSCR {__version__}\n")
