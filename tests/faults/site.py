"""A service on an ailing store, with the endpoint where its answers go."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fault_proxy import FaultProxy
from faults.ailing_store import AilingStore
from faults.clients import Line, Message
from faults.crash import SETTINGS
from journeys.endpoint import ClientEndpoint
from journeys.messages import get
from journeys.runner import Server, client_context, import_directory, live_directory, new_data
from journeys.wire import Answer
from postgres import PostgresServer


@dataclass
class Site:
    """The service, its store, its data folder, the endpoint of its clients; ``messages`` that tests have sent."""

    store: AilingStore
    data: Path
    service: Server
    endpoint: ClientEndpoint
    messages: dict[str, Message] = field(default_factory=dict)

    async def address(self) -> tuple[str, int]:
        """Return where the service answers."""
        return self.service.spine, 0

    def line(self) -> Line:
        """Return a line of a client's to it."""
        return Line(self, client_context(self.data / "pki", "gp.client.test"))

    async def timed(self, request: bytes) -> tuple[Answer | None, float]:
        """Send a request on a connection of its own; return its answer and how long it took."""
        async with self.line() as line:
            answer = await line.exchange(request)
        return answer, line.seconds

    async def page(self, path: str) -> tuple[Answer, float]:
        """Fetch a page of the web listener; return it and how long it took."""
        begun = time.monotonic()
        answer = await get(self.service.web, path)
        return answer, time.monotonic() - begun


@asynccontextmanager
async def ailing_site(
    server: PostgresServer, folder: Path, pki: Path, database: str, **settings: object
) -> AsyncIterator[Site]:
    """Give a service whose store is a fresh database of ``server``, reached through a faulty line."""
    await asyncio.to_thread(server.create_database, database)
    async with FaultProxy(server.port) as proxy, ClientEndpoint() as endpoint:
        store = AilingStore(server, proxy, database)
        data = new_data(folder, pki, store=store.own_url)
        contract = {"retries": 999, "retry_interval": "PT0.1S", "persist_duration": "PT1H"}
        await import_directory(data, live_directory(endpoint.url, **contract))
        service = await asyncio.to_thread(Server.start, data, **{"store": store.url, **SETTINGS, **settings})
        try:
            yield Site(store, data, service, endpoint)
        finally:
            ended = await asyncio.to_thread(service.stop)
        assert ended == 0
