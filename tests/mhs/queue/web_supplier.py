"""A supplier's web server that takes messages, or answers as the test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

PATIENCE = 60.0


@dataclass
class Taken:
    """One request that was made."""

    headers: dict[str, str]
    body: bytes

    @property
    def key(self) -> str:
        """The queue message's id."""
        return self.headers["Idempotency-Key"]


@dataclass
class WebSupplier:
    """Requests that were answered with success in ``taken``, all of them in ``asked``.

    ``answer`` chooses the status by the request's key; ``open`` says whether requests are answered at all.
    """

    answer: Callable[[str], int] = lambda _: 204
    asked: list[Taken] = field(default_factory=list)
    taken: list[Taken] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where messages are posted to."""
        return f"http://127.0.0.1:{self.port}/inbound"

    async def start(self) -> None:
        """Listen, on the port of before if there was one."""
        application = web.Application(client_max_size=0)
        application.router.add_post("/inbound", self._take)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _take(self, request: web.Request) -> web.Response:
        seen = Taken(dict(request.headers), await request.read())
        async with self.changed:
            self.asked.append(seen)
            self.changed.notify_all()
        await self.open.wait()
        status = self.answer(seen.key)
        async with self.changed:
            if 200 <= status < 300:
                self.taken.append(seen)
            self.changed.notify_all()
        return web.Response(status=status, headers={"Location": "/elsewhere"} if 300 <= status < 400 else None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds of the requests that came."""
        async with asyncio.timeout(PATIENCE), self.changed:
            await self.changed.wait_for(condition)


@asynccontextmanager
async def web_supplier() -> AsyncIterator[WebSupplier]:
    """Run a supplier on a loopback port."""
    supplier = WebSupplier()
    supplier.open.set()
    await supplier.start()
    try:
        yield supplier
    finally:
        supplier.open.set()
        await supplier.stop()
