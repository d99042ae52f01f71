"""How the adaptor says that it is alive, whether it can do its work, and its figures.

Nothing here needs a login, so nothing here tells of a patient.

Spec: 50 §10, F18.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext

HTML: Final = "text/html; charset=UTF-8"
"""The media type of the NHS adaptor's answer, as its framework writes it."""

_PATIENCE: Final = 2.0
"""Seconds that a broker has to say that it is there."""


class Operations:
    """``/healthcheck``, ``/readyz`` and ``/metrics``, of the outbound port and of inbound's own port for health.

    ``days_left`` tells how many whole days our certificate lasts still.
    """

    def __init__(self, context: AdaptorContext, *, days_left: Callable[[], int] | None = None) -> None:
        self._context = context
        self._days_left = days_left
        self._stopping = False

    def routes(self) -> list[BaseRoute]:
        """Return the routes."""
        return [
            Route("/healthcheck", _Healthcheck()),
            Route("/readyz", self._ready, methods=["GET"]),
            Route("/metrics", self._metrics, methods=["GET"]),
        ]

    def health_app(self) -> Starlette:
        """Return the application of inbound's port for health. Spec: 50 §10."""
        return Starlette(routes=self.routes(), exception_handlers={404: _page, 405: _page})

    def stop(self) -> None:
        """Say from now on that no more work is taken."""
        self._stopping = True

    async def _ready(self, _request: Request) -> Response:
        context = self._context
        writable = await context.store.writable()
        reachable = await self._reachable()
        days_left = self._days_left() if self._days_left is not None else None
        reason = self._unready(writable=writable, reachable=reachable, days_left=days_left)
        last = context.figures.last_spine_success
        document = {
            "ready": reason is None,
            **({} if reason is None else {"reason": reason}),
            "store": {"engine": context.store.engine, "writable": writable},
            "queue": {"kind": context.settings.queue, "reachable": reachable, **await self._counts()},
            "certificate": {"days_left": days_left},
            "spine": {"last_success": last.isoformat() if last is not None else None},
        }
        return JSONResponse(document, status_code=200 if reason is None else 503)

    def _unready(self, *, writable: bool, reachable: bool, days_left: int | None) -> str | None:
        if self._stopping:
            return "stopping"
        if not writable:
            return "store"
        # Otherwise messages wait in the store until the broker is back: nobody is refused for it. Spec: 50 E5.
        if not reachable and self._context.settings.queue_direct:
            return "queue"
        if days_left is not None and days_left < 0:
            return "certificate"
        return None

    async def _reachable(self) -> bool:
        """Whether messages for the supplier can be put onto its queue; our own is as good as the store."""
        publisher = self._context.publisher
        if publisher is None:
            return True
        try:
            async with asyncio.timeout(_PATIENCE):
                return await publisher.reachable()
        except TimeoutError:
            return False

    async def _counts(self) -> dict[str, float]:
        """Count what is on the queue, for figures and answer alike; nothing while the store does not say."""
        context = self._context
        now = context.clock()
        try:
            figures = await context.store.queue_figures(now)
        except StoreError:
            return {}
        oldest = (now - figures.oldest).total_seconds() if figures.oldest is not None else 0.0
        context.figures.queue(figures, oldest)
        return {"waiting": figures.waiting, "leased": figures.leased, "dead": figures.dead, "oldest_seconds": oldest}

    async def _metrics(self, _request: Request) -> Response:
        await self._counts()
        if self._days_left is not None:
            self._context.figures.certificate(self._days_left())
        return Response(generate_latest(self._context.figures.registry), media_type=CONTENT_TYPE_LATEST)


class _Healthcheck:
    """Whether the process answers, and nothing else: as the NHS adaptor. Spec: 50 §10."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["method"] == "GET":
            answer = Response(headers={"Content-Type": HTML})
        else:
            answer = html_page(HTTPStatus.METHOD_NOT_ALLOWED)
        await answer(scope, receive, send)


async def _page(_request: Request, error: Exception) -> Response:
    return html_page(HTTPStatus(getattr(error, "status_code", 404)))


def html_page(status: HTTPStatus) -> Response:
    """Return what the NHS adaptor's framework answers. Spec: 50 §1, §10."""
    title = f"{status.value}: {status.phrase}"
    content = f"<html><title>{title}</title><body>{title}</body></html>"
    return Response(content, status_code=status, headers={"Content-Type": HTML})
