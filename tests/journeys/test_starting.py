"""What a service answers before it is ready, and what it says of its health after that."""

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path

import pytest

from journeys.messages import PRACTICE, fresh_patient
from journeys.runner import Server
from journeys.wire import Answer, connected, request_bytes, signal_of
from openscr.codes import EVENT_LIST_ANSWER
from openscr.errors import ConfigurationError
from openscr.service import Service
from openscr.settings import Address, load_settings
from openscr.store.sqlite import SqliteStore


class HeldStore(SqliteStore):
    """The real store, which opens when it is let, and tells when it was asked to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.asked = asyncio.Event()
        self.let = asyncio.Event()

    async def open(self) -> None:
        """Open, later."""
        self.asked.set()
        await self.let.wait()
        await super().open()


async def get(base: str, path: str) -> Answer:
    """Ask for a page."""
    async with connected(base) as connection:
        return await connection.exchange(request_bytes(path, b"", (), method="GET"))


def a_service(data: Path, monkeypatch: pytest.MonkeyPatch, **flags: object) -> Service:
    """Make a demo service in this process, on free ports."""
    for name in [name for name in os.environ if name.startswith("OPENSCR_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(data)
    given = {"demo": True, "data": data, "web": "127.0.0.1:0", "spine": "127.0.0.1:0"} | flags
    return Service(load_settings(given))


async def begin(service: Service, data: Path) -> tuple[HeldStore, "asyncio.Task[None]"]:
    """Start a service up to where it opens its store."""
    service.store = store = HeldStore(data / "openscr.db")
    starting = asyncio.create_task(service.start())
    asked = asyncio.create_task(store.asked.wait())
    await asyncio.wait((starting, asked), return_when=asyncio.FIRST_COMPLETED)
    if not asked.done():
        asked.cancel()
        await starting
    return store, starting


@asynccontextmanager
async def held(service: Service, data: Path) -> AsyncIterator[HeldStore]:
    """Start a service, and hold it where it opens its store; at the end it is ready, then stopped."""
    store, starting = await begin(service, data)
    try:
        yield store
    finally:
        store.let.set()
        await starting
        await service.stop()


async def test_a_first_start_says_that_it_makes_its_schema(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else is asked is answered 503, to be asked again; a message that comes then is not lost silently."""
    service = a_service(data, monkeypatch)
    async with held(service, data) as store:
        (web,) = service.urls
        ready = await get(web, "/readyz")
        assert (ready.status, json.loads(ready.body)) == (503, {"ready": False, "reason": "migrating"})
        health = await get(web, "/healthcheck")
        assert (health.status, json.loads(health.body)["status"]) == (503, "DOWN")
        upload = PRACTICE.upload(fresh_patient()).post()
        for early in (await get(web, "/"), await get(web, "/metrics"), await upload.to(web)):
            assert (early.status, early.header("retry-after")) == (503, "1")
        store.let.set()
        await until_ready(lambda: get(web, "/readyz"))
        assert signal_of(await upload.to(web)).kind == "Acknowledgment"


async def test_a_further_start_says_that_it_starts(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    earlier = SqliteStore(data / "openscr.db")
    await earlier.open()
    await earlier.close()
    service = a_service(data, monkeypatch)
    async with held(service, data):
        (web,) = service.urls
        ready = await get(web, "/readyz")
        assert (ready.status, json.loads(ready.body)) == (503, {"ready": False, "reason": "starting"})


async def until_ready(ask: Callable[[], Awaitable[Answer]]) -> None:
    """Ask again and again until the service takes requests."""
    async with asyncio.timeout(60):
        while (answer := await ask()).status != 200:
            assert json.loads(answer.body)["reason"] in {"starting", "migrating"}


async def test_a_start_that_fails_lets_go_of_its_ports(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = a_service(data, monkeypatch)
    _, starting = await begin(service, data)
    (web,) = service.urls
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    with pytest.raises(ConnectionError):
        await get(web, "/readyz")


async def test_the_health_of_delivery_is_that_of_the_outbox(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = a_service(data, monkeypatch)
    await service.start()
    try:
        health = json.loads((await get(service.urls[0], "/healthcheck")).body)
        assert health == {"status": "UP", "components": {key: {"status": "UP"} for key in health["components"]}}
        assert service.outbox is not None
        await service.outbox.stop(0)
        answer = await get(service.urls[0], "/healthcheck")
        components = json.loads(answer.body)["components"]
        assert (answer.status, components["delivery"]) == (503, {"status": "DOWN"})
        assert components["store"] == {"status": "UP"}
    finally:
        await service.stop()


@pytest.mark.parametrize("since", ["%C2%B2", "-1", "1_0", "%D9%A1", "9" * 19])
async def test_an_inbox_is_asked_with_a_number(data: Path, monkeypatch: pytest.MonkeyPatch, since: str) -> None:
    """What only looks like digits is told what is expected; the service goes on."""
    service = a_service(data, monkeypatch)
    await service.start()
    try:
        assert (await get(service.urls[0], f"/demo/inbox/x?since={since}")).status == 400
        assert (await get(service.urls[0], "/demo/inbox/x?since=0")).status == 200
    finally:
        await service.stop()


async def test_an_address_of_ipv6_is_written_in_brackets(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What answers name as our own address can be read as a URL. Spec: 40 §10.5."""
    service = a_service(data, monkeypatch, spine=str(Address("::1", 0)))
    try:
        await service.start()
    except Exception as error:  # noqa: BLE001
        pytest.skip(f"no IPv6 here ({type(error).__name__})")
    try:
        assert service.demo is not None
        port = service.urls[1].rpartition(":")[2]
        assert service.demo.public_url == f"https://[::1]:{port}/sync-service"
    finally:
        await service.stop()


async def test_one_data_folder_has_one_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second one would send every message again: it is told so and the first goes on. Then the folder is free."""
    first = a_service(tmp_path, monkeypatch)
    await first.start()
    try:
        with pytest.raises(ConfigurationError, match="another openscr serve"):
            await a_service(tmp_path, monkeypatch).start()
        assert (await get(first.urls[0], "/readyz")).status == 200
    finally:
        await first.stop()
    second = a_service(tmp_path, monkeypatch)
    await second.start()
    await second.stop()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_lines_of_the_page_work_when_pasted(demo: Server) -> None:
    """As they stand on the page of a running service: the upload is taken, the list and the record come."""
    page = (await get(demo.web, "/")).body.decode()
    lines = re.findall(r'<pre class="command".*?<code>(.*?)</code>', page, re.DOTALL)
    answers = []
    for line in lines:
        shell = await asyncio.create_subprocess_exec("sh", "-c", unescape(line), stdout=asyncio.subprocess.PIPE)
        answers.append((await shell.communicate())[0])
    upload, found, record = answers
    assert b":Acknowledgment" in upload
    assert EVENT_LIST_ANSWER.encode() in found
    assert b"GPSummary" in record
