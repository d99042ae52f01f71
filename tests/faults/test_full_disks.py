"""The disk under PostgreSQL is full: nothing is acknowledged that is not stored; given space, all goes on."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from faults.clients import Message, Plan, Sender, reliable_message
from faults.comparing import HANGS, Report, check_audit, check_deliveries, check_journals, check_lists
from faults.crash import nothing_owed
from faults.journal import Journal, read_journals
from faults.site import Site, ailing_site
from faults.small_disk import SmallDisk, server_on_small_disk
from journeys.messages import PRACTICE, fresh_patient
from journeys.runner import faults_of, stored, until
from journeys.wire import fault_of
from postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")
MOST = 400
"""Uploads within which a full disk must show."""


FILL_THE_LOG = "SELECT pg_logical_emit_message(true, 'filler', repeat('x', 1000000)) FROM generate_series(1, 500)"


@pytest.fixture(scope="module")
def small() -> Iterator[tuple[PostgresServer, SmallDisk]]:
    with server_on_small_disk() as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    small: tuple[PostgresServer, SmallDisk], pki: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    """A service on a store whose disk can be filled."""
    async with ailing_site(small[0], tmp_path_factory.mktemp("full") / "data", pki, "full") as site:
        yield site


async def upload_until_refused(site: Site) -> tuple[list[Message], str]:
    """Send uploads until one is not acknowledged, which is the last; return all, and the code of the refusal."""
    sent: list[Message] = []
    while len(sent) < MOST:
        sent.append(reliable_message(fresh_patient(), 0, None))
        answer, seconds = await site.timed(sent[-1].request)
        assert answer is not None
        assert seconds < HANGS
        if answer.status != 202:
            fault = fault_of(answer)
            assert fault.retriable
            return sent, fault.codes[0]
    raise AssertionError("the disk is full, and nobody says so")


async def check(site: Site, messages: list[Message], folder: Path) -> None:
    """Send everything again until it is acknowledged, and hold that it is there once."""
    report = Report(Plan(0, 0, 1, 0, 0))
    async with site.line() as line:
        with Journal(folder / "client-0.jsonl") as journal:
            await Sender(line, journal, report.faults, asyncio.Queue()).send(messages)
        sent = {message.message_id: message for message in messages}
        check_journals(read_journals(folder), sent, report)
        await check_lists(line, sent, report)
    async with stored(site.data) as store:
        await check_audit(store, sent, report)
    await nothing_owed(site.data)
    deliveries = [one for one in site.endpoint.deliveries if one.envelope.ref_to_message_id in sent]
    check_deliveries(deliveries, sent, report)
    assert report.faults == []
    assert await faults_of(site.data) == ()


async def test_a_full_disk_is_told_as_such_until_there_is_space(
    site: Site, small: tuple[PostgresServer, SmallDisk], tmp_path: Path
) -> None:
    """Fault 208 for uploads, not ready for the balancer; what is stored can still be told. Spec: 40 §6.4, 10.1."""
    _, disk = small
    disk.fill()
    try:
        messages, code = await upload_until_refused(site)
        assert code == "208"
        page, seconds = await site.page("/readyz")
        assert (page.status, json.loads(page.body)["reason"]) == (503, "store")
        assert seconds < HANGS
        answer, seconds = await site.timed(PRACTICE.event_list(messages[0].nhs_number).raw())
        assert seconds < HANGS
        assert answer is not None
        # That somebody looked must be kept, too: whether there is room for it is chance.
        assert answer.status == 200 or fault_of(answer).retriable
    finally:
        disk.free()

    async def ready() -> bool:
        return (await site.page("/readyz"))[0].status == 200

    await until(ready)
    await check(site, messages, tmp_path)


async def test_a_server_that_stops_because_its_log_is_full_loses_nothing(
    site: Site, small: tuple[PostgresServer, SmallDisk], tmp_path: Path
) -> None:
    """Without room for its write-ahead log PostgreSQL ends; given space and started again it has all."""
    server, disk = small
    before, _ = await site.timed((first := reliable_message(fresh_patient(), 0, None)).request)
    assert before is not None
    assert before.status == 202
    connection = await asyncpg.connect(site.store.own_url)
    disk.fill()
    try:
        # Whatever room is left in the log's present file is soon used up.
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await connection.execute(FILL_THE_LOG)
        await asyncio.to_thread(server.ended)
        assert "No space left on device" in server.log()
        messages, code = await upload_until_refused(site)
        assert code == "200"
    finally:
        connection.terminate()
        disk.free()
        if not server.pids():
            await asyncio.to_thread(server.start)
    await check(site, [first, *messages], tmp_path)
