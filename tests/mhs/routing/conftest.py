"""A directory over HTTP that says what a test wants, and remembers what it was asked."""

import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web


@dataclass
class Asked:
    """A request as it came."""

    path: str
    query: dict[str, list[str]]
    target: str
    headers: dict[str, str]


@dataclass
class StubDirectory:
    """Answers by the last part of the path; what it has no answer for is 404."""

    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    before: Callable[[], Awaitable[None]] | None = None
    base: str = ""

    async def handle(self, request: web.Request) -> web.StreamResponse:
        query = {name: request.query.getall(name) for name in request.query}
        self.asked.append(Asked(request.path, query, request.raw_path, dict(request.headers)))
        if self.before is not None:
            await self.before()
        name = request.path.rpartition("/")[2]
        if self.body is None and self.status == 200 and name not in self.answers:
            return web.Response(status=404)
        body = self.body if self.body is not None else json.dumps(self.answers.get(name)).encode()
        return web.Response(status=self.status, body=body, headers=self.headers, content_type="application/fhir+json")


@asynccontextmanager
async def running(directory: StubDirectory, tls: ssl.SSLContext | None = None) -> AsyncIterator[StubDirectory]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", directory.handle)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
        await site.start()
        port = runner.addresses[0][1]
        directory.base = f"{'https' if tls else 'http'}://{'localhost' if tls else '127.0.0.1'}:{port}/directory"
        yield directory
    finally:
        await runner.cleanup()


@pytest.fixture
async def directory() -> AsyncIterator[StubDirectory]:
    async with running(StubDirectory()) as stub:
        yield stub
