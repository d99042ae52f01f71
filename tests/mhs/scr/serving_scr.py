"""Summaries as JSON on real sockets: on the adaptor's port, or before its REST API."""

import io
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from starlette.types import ASGIApp

from mhs.outbound.posting import Face, Recorder
from mhs.rig import TestClock, context, minting
from openscr.http_protocol import Limits
from openscr.listeners import Listener, bind
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer
from openscr.mhs.outbound.application import outbound_application
from openscr.mhs.scr.application import local_reception, scr_routes
from openscr.mhs.scr.service import ScrSettings, scr_application
from openscr.settings import Address
from shared import MESSAGES

NAMED = {"interaction-name": "SCR_GP_SUMMARY_UPLOAD"}
ACCEPTED = (MESSAGES / "gp-summary" / "ack-AA_MCCI_IN010000UK13.xml").read_bytes()
REFUSED = (MESSAGES / "gp-summary" / "ack-AE_MCCI_IN010000UK13.xml").read_bytes()
REJECTED = (MESSAGES / "gp-summary" / "ack-AR_MCCI_IN010000UK13.xml").read_bytes()


@dataclass(frozen=True)
class Got:
    """What came back."""

    status: int
    headers: dict[str, str]
    document: dict[str, Any]


@dataclass
class Service:
    """A served web service, and the workflows behind it."""

    url: str
    exchanges: Recorder

    async def post(self, body: object, path: str = "/scr", method: str = "POST", **headers: str) -> Got:
        """Post a body: bytes as they are, anything else as JSON. ``headers`` with underscores for hyphens."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url + path, data=io.BytesIO(data), headers=named) as answer,
        ):
            assert answer.headers["content-type"] == "application/json"
            told = {name.lower(): value for name, value in answer.headers.items()}
            return Got(answer.status, told, json.loads(await answer.read()))

    async def example(self, form: object, **headers: str) -> Got:
        """Post the form of the example library with its header."""
        return await self.post(form, **{"interaction_name": "SCR_GP_SUMMARY_UPLOAD"} | headers)


@asynccontextmanager
async def listening(application: ASGIApp) -> AsyncIterator[str]:
    """Serve an application on a free port of loopback."""
    listener = Listener(
        application, bind(Address("127.0.0.1", 0), "test"), tls=None, grace=5, limits=Limits(half_open=False)
    )
    await listener.start()
    try:
        yield listener.url
    finally:
        listener.stop_accepting()
        await listener.stopped()


@asynccontextmanager
async def adaptor(**settings: object) -> AsyncIterator[Service]:
    """The service on the adaptor's own port."""
    made: AdaptorContext = context("http://spine.test/", **settings)
    exchanges = Recorder(made)
    exchanges.answer = Answer(200, ACCEPTED)
    await made.store.open()
    try:
        application = outbound_application(made, exchanges, scr_routes(local_reception(made, exchanges), ("/scr",)))
        async with listening(application) as url:
            yield Service(url, exchanges)
    finally:
        exchanges.go.set()
        await made.store.close()


@asynccontextmanager
async def before(behind: Face | None, address: str = "", **settings: object) -> AsyncIterator[Service]:
    """The service that stands alone, before an adaptor's REST API."""
    chosen = ScrSettings(mhs_address=behind.url if behind is not None else address, **settings)  # type: ignore[arg-type]
    application = scr_application(chosen, clock=TestClock(), mint=minting("B"))
    async with application.router.lifespan_context(application), listening(application) as url:
        yield Service(url, behind.exchanges if behind is not None else Recorder(context()))
