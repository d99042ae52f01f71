"""Several workers behind the same sockets: replaced and killed while clients work over mutual TLS."""

import asyncio
import contextlib
import json
import os
import re
import signal
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from journeys.endpoint import ClientEndpoint
from journeys.messages import PRACTICE, Post, fresh_patient
from journeys.runner import Server, faults_of, import_directory, launch, live_directory, new_data, until
from journeys.wire import Connection, Ended, post, signal_of
from openscr.codes import UPLOAD
from openscr.directory.form import merge, read_directory
from openscr.store.interface import Store
from openscr.store.opening import open_store
from postgres import PostgresServer, free_port

CLIENTS = 4


@dataclass
class Practice:
    """A client system that uploads one summary after the other, on a connection that it keeps.

    ``services`` are where it may turn to, the first that takes its connection is as good as another.
    ``done`` are the ids of messages that were acknowledged; ``broken`` counts connections that ended with a request on
    its way: it is then sent again, as it was.
    """

    services: tuple[str, ...]
    tls: ssl.SSLContext
    done: list[str] = field(default_factory=list)
    broken: int = 0
    _connection: Connection | None = None

    async def work(self, enough: asyncio.Event) -> None:
        """Upload until it is enough."""
        while not enough.is_set():
            message = PRACTICE.upload(fresh_patient()).post()
            while not await self._sent(message):
                self.broken += 1
            self.done.append(message.message_id)
        self._hang_up()

    async def _sent(self, message: Post) -> bool:
        connection = await self._connected()
        try:
            answer = await connection.exchange(message.raw())
        except (Ended, OSError):
            self._hang_up()
            return False
        assert signal_of(answer).kind == "Acknowledgment"
        if answer.header("connection") == "close":
            self._hang_up()
        return True

    async def _connected(self) -> Connection:
        while self._connection is None:
            for service in self.services:
                host, port = service.removeprefix("https://").rsplit(":", 1)
                # Nobody there, or about to go: as a balancer does it asks the next one.
                with contextlib.suppress(ConnectionError):
                    self._connection = Connection(*await asyncio.open_connection(host, int(port), ssl=self.tls))
                    break
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.writer.transport.abort()
            self._connection = None


@dataclass
class Site:
    """A service with two workers, the endpoint that its answers go to, and practices at work.

    ``store`` is the URL of its store, none for the one in its data folder.
    """

    server: Server
    endpoint: ClientEndpoint
    practices: list[Practice]
    enough: asyncio.Event
    work: "list[asyncio.Task[None]]"
    store: str | None = None

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return what the log says of one kind."""
        lines = [json.loads(line) for line in self.server.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == name]

    async def happened(self, name: str, times: int = 1) -> list[dict[str, Any]]:
        """Wait until the log has told of something so many times; return what it tells."""

        async def told() -> bool:
            await asyncio.sleep(0.05)
            return len(self.events(name)) >= times

        await until(told)
        return self.events(name)

    async def each_did(self, more: int) -> None:
        """Wait until every practice has been answered so many times more."""
        before = [len(practice.done) for practice in self.practices]

        async def did() -> bool:
            await asyncio.sleep(0.02)
            return all(len(p.done) >= n + more for p, n in zip(self.practices, before, strict=True))

        await until(did)

    @property
    def done(self) -> list[str]:
        """The ids of all messages that were acknowledged."""
        return [id for practice in self.practices for id in practice.done]

    async def delivered(self) -> Counter[str]:
        """Let the practices rest, and wait until nothing is left to be delivered; return what came, and how often."""
        self.enough.set()
        await asyncio.gather(*self.work)

        url = self.store or f"sqlite:///{self.server.data / 'openscr.db'}"
        async with opened(url) as store:

            async def nothing_left() -> bool:
                return not await store.list_outbox()

            await until(nothing_left)
        return Counter(delivery.envelope.ref_to_message_id or "" for delivery in self.endpoint.deliveries)

    async def uploads_counted(self) -> float:
        """Return how many uploads `/metrics` knows of."""
        text = (await ask(self.server, "/metrics")).decode()
        found = re.findall(rf'^openscr_requests_total{{[^}}]*interaction="{UPLOAD}"[^}}]*}} (\S+)$', text, re.MULTILINE)
        return sum(map(float, found))


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Store]:
    """Open a store from outside, whether or not services run on it."""
    store = open_store(url)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def ask(server: Server, path: str) -> bytes:
    """Ask the web listener, on a connection of its own."""
    return (await post(server.web, path, b"", (), method="GET")).body


@asynccontextmanager
async def busy_site(data: Path, start: Callable[..., Server]) -> AsyncIterator[Site]:
    """Give a service with two workers that practices keep busy."""
    async with ClientEndpoint() as endpoint:
        await import_directory(data, live_directory(endpoint.url, retries=2, retry_interval="PT0.2S"), replace=True)
        server = start(workers=2, patient_index="open", unknown_author="accept", drain_seconds=8)
        practices = [Practice((server.spine,), server.tls()) for _ in range(CLIENTS)]
        enough = asyncio.Event()
        work = [asyncio.create_task(practice.work(enough)) for practice in practices]
        site = Site(server, endpoint, practices, enough, work)
        try:
            await site.each_did(2)
            yield site
        finally:
            enough.set()
            await asyncio.gather(*work)


async def test_workers_are_replaced_and_no_client_sees_it(data: Path, start: Callable[..., Server]) -> None:
    """Every worker gives way to a new one under load: no connection breaks, each answer is delivered once."""
    async with busy_site(data, start) as site:
        before = {event["pid"] for event in await site.happened("worker ready", 2)}
        counted = await site.uploads_counted()
        site.server.process.send_signal(signal.SIGUSR2)
        await site.happened("rolling restart done")
        await site.happened("worker ended", 2)
        await site.each_did(3)
        after = {event["pid"] for event in site.events("worker ready")} - before
        assert len(after) == 2
        assert not any(alive(pid) for pid in before)
        assert await site.uploads_counted() > counted
        assert await site.delivered() == Counter(site.done)
        assert await site.uploads_counted() == len(site.done)
    assert [practice.broken for practice in site.practices] == [0] * CLIENTS
    assert site.server.stop() == 0
    assert await faults_of(data) == ()


async def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost(
    data: Path, start: Callable[..., Server]
) -> None:
    """What it was about is done when its clients come again; what it had to deliver another one delivers."""
    async with busy_site(data, start) as site:
        (first, *_) = await site.happened("worker ready", 2)
        counted = await site.uploads_counted()
        os.kill(first["pid"], signal.SIGKILL)
        (lost,) = await site.happened("worker ended unexpectedly")
        assert (lost["worker"], lost["how"]) == (first["worker"], "SIGKILL")
        await site.happened("worker ready", 3)
        await site.each_did(2)
        assert await site.uploads_counted() >= counted, "what a dead worker had counted stays counted"
        assert set(await site.delivered()) == set(site.done)
    pids = [event["pid"] for event in site.events("worker ready")]
    site.server.kill()

    async def gone() -> bool:
        await asyncio.sleep(0.02)
        return not any(map(alive, pids))

    # Workers end with their supervisor, however it ends; then the next one works on the folder.
    await until(gone)
    again = start()
    assert await ready(again) == {"ready": True}
    assert again.stop() == 0
    assert await faults_of(data) == ()


async def test_a_worker_that_is_killed_while_its_successor_starts_is_replaced_once(
    data: Path, start: Callable[..., Server]
) -> None:
    """After a rolling restart in which one died there are as many workers as before, not one more."""
    async with busy_site(data, start) as site:
        (first, *_) = await site.happened("worker ready", 2)
        site.server.process.send_signal(signal.SIGUSR2)
        await site.happened("rolling restart begins")
        os.kill(first["pid"], signal.SIGKILL)
        await site.happened("rolling restart done")
        await site.happened("worker ended")
        assert set(await site.delivered()) == set(site.done)
        assert sum(alive(event["pid"]) for event in site.events("worker ready")) == 2
    assert site.server.stop() == 0


def alive(pid: int) -> bool:
    """Whether a process is there and has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def test_machines_share_a_store_and_start_again_one_by_one(
    postgres: PostgresServer, pki: Path, tmp_path: Path
) -> None:
    """Whichever is down, the practices are served by the other; nothing breaks, each answer is delivered once."""
    url = postgres.create_database()
    settings = {"store": url, "patient_index": "open", "unknown_author": "accept", "workers": 2}
    places = [
        (new_data(tmp_path / name, pki), settings | {"spine": f"127.0.0.1:{free_port()}", "workers": workers})
        for name, workers in (("one", 2), ("two", 1))
    ]
    async with ClientEndpoint() as endpoint:
        async with opened(url) as store:
            directory = json.dumps(live_directory(endpoint.url)).encode()
            await store.write_directory(merge([], read_directory(directory), replace=True), replace=True)
        one, two = await asyncio.gather(*(asyncio.to_thread(Server.start, data, **with_) for data, with_ in places))
        addresses = (one.spine, two.spine)
        practices = [Practice(order, one.tls()) for order in (addresses, addresses[::-1]) * 2]
        enough = asyncio.Event()
        work = [asyncio.create_task(practice.work(enough)) for practice in practices]
        site = Site(one, endpoint, practices, enough, work, url)
        try:
            await site.each_did(2)
            assert await asyncio.to_thread(one.stop) == 0
            await site.each_did(2)
            data, with_ = places[0]
            one = await asyncio.to_thread(Server.start, data, **with_ | {"workers": 1})
            assert await asyncio.to_thread(two.stop) == 0
            await site.each_did(2)
            assert await site.delivered() == Counter(site.done)
        finally:
            enough.set()
            await asyncio.gather(*work)
            one.stop()
            two.stop()
        assert [practice.broken for practice in practices] == [0] * len(practices)
        async with opened(url) as store:
            assert await store.read_instances() == [], "who has ended does not run any more"
            assert (await store.verify()).intact


async def ready(server: Server) -> dict[str, Any]:
    """Return what a service says of being ready."""
    answer: dict[str, Any] = json.loads(await ask(server, "/readyz"))
    return answer


REFUSED: dict[str, tuple[dict[str, object], str]] = {
    "a demo": ({"demo": True}, "the demo runs in one process"),
    "a store that cannot be": ({"store": "/nowhere/at/all.db"}, "/nowhere/at"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_workers_that_cannot_start_say_why_once(data: Path, case: str) -> None:
    """One line on standard error and exit code 1, whichever process has found out."""
    settings, words = REFUSED[case]
    process, log = launch(data, workers=2, **settings)
    assert process.wait(60) == 1
    assert process.stdout is not None
    with process.stdout as output:
        assert output.read() == ""
    lines = [line for line in log.read_text().splitlines() if not line.startswith("{")]
    assert len(lines) == 1, lines
    assert words in lines[0]
