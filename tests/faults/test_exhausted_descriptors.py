"""A service whose file descriptors are used up takes no more connections, and comes back when there are some again."""

import asyncio
import contextlib
import os
import resource
import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from journeys.handshake import visit
from journeys.messages import PRACTICE
from journeys.runner import Server, until
from journeys.wire import connected, soap_of
from openscr.codes import EVENT_LIST_ANSWER
from openscr.testbench.population import FULL_RECORD

SPARE = 8


async def test_a_service_without_file_descriptors_comes_back(start: Callable[..., Server]) -> None:
    """Connections that only sit there use them up; those that were open before are served all the while."""
    server = start(demo=True)
    parts = urlsplit(server.spine)
    async with connected(server.spine, server.tls()) as connection:
        soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
        used = max(int(name) for name in os.listdir(f"/proc/{server.process.pid}/fd"))
        _, most = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (used + SPARE, most))
        with contextlib.ExitStack() as silent:
            for _ in range(SPARE * 4):
                silent.enter_context(socket.create_connection((parts.hostname, parts.port or 0)))

            async def told() -> bool:
                return "cannot accept connections" in server.log.read_text()

            await until(told)
            soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)

        async def back() -> bool:
            try:
                found = await asyncio.wait_for(
                    visit(server.spine, server.tls(), PRACTICE.event_list(FULL_RECORD)), timeout=30
                )
            except OSError:
                return False
            return found.answer.status == 200

        await until(back)
    assert server.stop() == 0
    assert "Traceback" not in server.log.read_text()
