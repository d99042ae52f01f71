"""Several adaptors on one PostgreSQL, as behind a balancer: whatever comes to one of them, they are as one.

Spec: 50 E2, E5, F3, F4, F11; engine.md level 1.
"""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from journeys.adaptor import Adaptor, Supplier
from journeys.runner import until
from journeys.stub_estate import (
    PATIENT,
    Estate,
    comes_to_be,
    issue_certificates,
    queue_stats,
    queued_now,
    settings_of,
    spine_tls,
    state,
)
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.stub_spine import StubSpine, break_off, post_to_inbound
from openscr.codes import UPLOAD
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml
from postgres import PASSWORD, PostgresServer, postgres_server

FORWARD = "COPC_IN000001UK01"
ANSWERED, STORED = "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED", "INBOUND_SYNC_ASYNC_MESSAGE_STORED"
NEVER = {"resync_interval": 3000, "resync_retries": 1}
"""A caller that is not told looks again far too late for any test."""


@dataclass
class Neighbours:
    """Two adaptors on one store. The estate's supplier asks the first one, the Spine answers the second."""

    estate: Estate
    first: Adaptor
    second: Adaptor
    other: Supplier
    """The supplier of the second one."""
    inbounds: tuple[str, str]
    store: str


@asynccontextmanager
async def neighbours(folder: Path, url: str, **changes: object) -> AsyncIterator[Neighbours]:
    pki = issue_certificates(folder / "pki")
    async with StubSpine(tls=spine_tls(pki)) as spine:
        settings = settings_of(spine.url, pki, **PATIENT) | {"store": url, "secret_audit_key": "k"} | changes
        # Both make the store, at once.
        first, second = await asyncio.gather(
            *(asyncio.to_thread(Adaptor.start, folder / name, **settings) for name in ("first", "second"))
        )
        inbounds = (first.inbound, second.inbound)
        first.inbound = second.inbound
        try:
            async with Supplier(first) as supplier, Supplier(second) as other:
                yield Neighbours(Estate(spine, first, supplier, pki), first, second, other, inbounds, url)
        finally:
            for each in (first, second):
                await asyncio.to_thread(each.stop)


async def test_two_adaptors_are_as_one(tmp_path: Path, postgres: PostgresServer) -> None:
    """All on the same two processes, whose start is dear; the last step kills one of them."""
    async with neighbours(tmp_path, postgres.create_database(), **NEVER) as pair:
        for step in (
            callers_at_one_are_told_at_once_what_came_to_the_other,
            a_consumer_at_one_takes_what_came_to_the_other_and_nobody_takes_it_twice,
            of_a_strict_request_that_comes_to_both_one_is_sent,
            what_a_dead_adaptor_was_sending_is_sent_by_the_other,
        ):
            await step(pair)


async def callers_at_one_are_told_at_once_what_came_to_the_other(pair: Neighbours) -> None:
    """Spec: 50 F3."""
    between = pair.estate
    between.script(replying=True)
    ids = [mint_uuid() for _ in range(5)]
    sending = (between.supplier.send(UPLOAD, f"<{UPLOAD}/>", wait=True, message_id=message_id) for message_id in ids)
    for message_id, told in zip(ids, await asyncio.gather(*sending), strict=True):
        assert told.status == 200, told.text
        assert read_acknowledgement(read_xml(told.body)).reference == message_id
        await comes_to_be(pair.other, message_id, OUTBOUND_STATUS=ANSWERED, INBOUND_STATUS=STORED)
    assert await queued_now(pair.other) == []


def forwarded(message_id: str) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a message that nobody asked for."""
    header = header_part(envelope(Action=FORWARD, RefToMessageId=None, MessageId=message_id))
    return {"Content-Type": CONTENT_TYPE}, multipart(header, payload_part(f"<{FORWARD}/>"))


async def a_consumer_at_one_takes_what_came_to_the_other_and_nobody_takes_it_twice(pair: Neighbours) -> None:
    """Spec: 50 E4, F4."""
    between = pair.estate
    reading = [asyncio.create_task(supplier.next_message()) for supplier in (between.supplier, pair.other)]
    unasked = [mint_uuid() for _ in reading]
    for message_id in unasked:
        post = forwarded(message_id)
        # A repetition that comes to both at once is taken by one of them.
        answers = await asyncio.gather(*(post_to_inbound(each, *post, tls=between.caller) for each in pair.inbounds))
        assert [status for status, _ in answers] == [200, 200]
        assert answers[0] == answers[1]
    assert {message["properties"]["message-id"] for message in await asyncio.gather(*reading)} == set(unasked)
    assert (await queue_stats(pair.other))["waiting"] == 0


async def of_a_strict_request_that_comes_to_both_one_is_sent(pair: Neighbours) -> None:
    """Spec: 50 F4."""
    between = pair.estate
    between.script()
    message_id = mint_uuid()
    told = await asyncio.gather(
        *(
            supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id, Idempotency="strict")
            for supplier in (between.supplier, pair.other) * 4
        )
    )
    assert {each.status for each in told} <= {202, 409}
    assert 202 in {each.status for each in told}
    assert len(between.spine.received) == 1


async def what_a_dead_adaptor_was_sending_is_sent_by_the_other(pair: Neighbours) -> None:
    """Spec: 50 F11."""
    between = pair.estate
    between.script(break_off)
    message_id = mint_uuid()
    told = await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id, Prefer="respond-async")
    assert told.status == 202
    pair.first.kill()
    between.script()
    await comes_to_be(pair.other, message_id, OUTBOUND_STATUS="OUTBOUND_MESSAGE_ACKD")
    assert [each.envelope.message_id for each in between.spine.received] == [message_id]


# --- the database goes away -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mortal() -> Iterator[PostgresServer]:
    with postgres_server(durable=True) as server:
        yield server


async def ready(supplier: Supplier) -> bool:
    return (await supplier.ask("GET", "/readyz")).status == 200


async def is_sent(supplier: Supplier, message_id: str) -> bool:
    """Whether the Spine has a message; at first it may not be known at all."""
    told = await supplier.ask("GET", f"/messages/{message_id}")
    return told.status == 200 and json.loads(told.body)["OUTBOUND_STATUS"] == "OUTBOUND_MESSAGE_ACKD"


async def test_a_database_that_dies_is_an_outage_and_nothing_is_lost(tmp_path: Path, mortal: PostgresServer) -> None:
    """Suppliers are told, readiness tells it, who waits is answered all the same; the password stands in no log."""
    async with neighbours(tmp_path, mortal.create_database()) as pair:
        between = pair.estate
        between.script()
        sent = [mint_uuid() for _ in range(3)]
        for message_id in sent:
            told = await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id)
            assert told.status == 202, told.text
        waiting = mint_uuid()
        caller = asyncio.create_task(between.supplier.send(UPLOAD, f"<{UPLOAD}/>", wait=True, message_id=waiting))
        await until(lambda: is_sent(pair.other, waiting))

        await asyncio.to_thread(mortal.kill)
        told = await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=mint_uuid())
        assert (told.status, told.text) == (500, "500: Internal Server Error")
        told = await pair.other.ask("GET", "/readyz")
        assert (told.status, json.loads(told.body)["reason"]) == (503, "store")
        unasked = forwarded(mint_uuid())
        status, _ = await between.post(*unasked)
        assert status == 500
        assert (await pair.other.ask("GET", "/queue/messages")).status == 503

        await asyncio.to_thread(mortal.start)
        for supplier in (between.supplier, pair.other):
            await until(lambda supplier=supplier: ready(supplier))
        # The Spine tries again, and replies to who still waits.
        assert (await between.post(*unasked))[0] == 200
        assert (await pair.other.next_message())["properties"]["message-id"] in unasked[1].decode()
        received = next(each for each in between.spine.received if each.envelope.message_id == waiting)
        between.script(replying=True)
        assert between.spine.replies is not None
        await between.spine.replies.reply_to(received)
        answered = await caller
        assert answered.status == 200, answered.text
        for message_id in sent:
            assert (await state(pair.other, message_id))["OUTBOUND_STATUS"] == "OUTBOUND_MESSAGE_ACKD"
        for each in (pair.first, pair.second):
            assert await asyncio.to_thread(each.stop) == 0
            assert PASSWORD not in each.log.read_text()
            assert PASSWORD.replace("/", "%2F") not in each.log.read_text()
        verified = await asyncio.to_thread(verify, pair.store)
        assert json.loads(verified)["intact"]


def verify(url: str) -> str:
    """Return what `openscr mhs verify` says."""
    command = [sys.executable, "-m", "openscr", "mhs", "verify", "--json"]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=dict(os.environ, MHS_STORE=url)
    ).stdout
