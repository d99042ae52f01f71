"""The load: a client that posts requests and takes the delivered acknowledgements. Its own CPU is never counted.

Spec: 90 §6.2, §6.4.
"""

import asyncio
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence

import aiohttp
from aiohttp import web

from benchmarks.messages import Request
from openscr.identifiers import ebxml_timestamp, mint_uuid, utc_now
from openscr.transport.ebxml import write_acknowledgment

_ID = re.compile(rb"<eb:MessageId>([0-9A-F-]{36})</eb:MessageId>")
_REF = re.compile(rb"<eb:RefToMessageId>([0-9A-Fa-f-]{36})</eb:RefToMessageId>")


class ClientEndpoint:
    """Where the client's party receives its acknowledgements; counts them and acknowledges each."""

    def __init__(self, party_key: str) -> None:
        self._party = party_key
        self.received: dict[str, float] = {}
        self.url = ""
        self._runner: web.AppRunner | None = None
        self._arrived = asyncio.Event()

    async def start(self) -> None:
        """Listen on a free port of loopback."""
        app = web.Application(client_max_size=1 << 20)
        app.router.add_post("/{tail:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/inbound"

    async def stop(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        message, reference = _ID.search(body), _REF.search(body)
        if message is None or reference is None:
            return web.Response(status=500)
        self.received[reference.group(1).decode()] = time.perf_counter()
        self._arrived.set()
        now = ebxml_timestamp(utc_now())
        signal = write_acknowledgment(
            from_party=self._party,
            to_party="YES-0000806",
            cpa_id="S90001A000001",
            conversation_id=mint_uuid(),
            message_id=mint_uuid(),
            timestamp=now,
            ref_to_message_id=message.group(1).decode(),
        )
        return web.Response(body=signal, content_type="text/xml")

    async def wait_for(self, ids: Sequence[str]) -> None:
        """Wait until every one of these requests has its acknowledgement."""
        missing = set(ids)
        while missing := missing - self.received.keys():
            self._arrived.clear()
            if missing - self.received.keys():
                await self._arrived.wait()


class Load:
    """Posts requests to one service over kept connections."""

    def __init__(self, base: str, tls: ssl.SSLContext | None, connections: int) -> None:
        self._base = base
        self._connections = connections
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, ssl=tls or True),
            timeout=aiohttp.ClientTimeout(total=60),
        )

    async def close(self) -> None:
        """Let go of the connections."""
        await self._session.close()

    async def post(self, request: Request) -> tuple[int, bytes]:
        """Post one request and return status and body."""
        async with self._session.post(self._base + request.path, data=request.body, headers=request.headers) as answer:
            return answer.status, await answer.read()

    async def closed(self, requests: Sequence[Request], check: Callable[[int, bytes], bool]) -> float:
        """Send all requests as fast as the connections allow; return the seconds taken."""
        waiting = iter(requests)

        async def sender() -> None:
            for request in waiting:
                status, body = await self.post(request)
                if not check(status, body):
                    raise SystemExit(f"unexpected answer {status} to {request.path}")

        started = time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(self._connections)))
        return time.perf_counter() - started

    async def open(self, requests: Sequence[Request], rate: float) -> list[float]:
        """Send at a fixed rate whatever the answers do; return latencies counted from the due time, in ms."""
        latencies: list[float] = []
        started = time.perf_counter() + 0.05

        async def one(request: Request, due: float) -> None:
            await self.post(request)
            latencies.append((time.perf_counter() - due) * 1000)

        tasks: list[Awaitable[None]] = []
        for number, request in enumerate(requests):
            due = started + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(one(request, due)))
        await asyncio.gather(*tasks)
        return sorted(latencies)
