"""The relay between a store on disk and a real RabbitMQ, while one or the other dies. Spec: 50 E5, A3."""

import asyncio
import os
import re
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from openscr.identifiers import utc_now
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue import relay
from openscr.mhs.queue.relay import Relay
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.opening import open_store
from rabbitmq import PASSWORD, USER, RabbitMq

from .. import rig
from .suppliers import PATIENCE, declare, message, opened, queue_settings, read_091, waiting
from .wire import wire_to

KINDS = pytest.mark.parametrize("kind", ["amqp10", "amqp091"])


@pytest.fixture
async def queue(rabbitmq: RabbitMq) -> str:
    """Make a queue that no other test uses."""
    name = f"inbound-{uuid4()}"
    await declare(rabbitmq, name)
    return name


@asynccontextmanager
async def adaptor(
    kind: str, broker: RabbitMq, queue: str, folder: Path, **changes: object
) -> AsyncIterator[AdaptorContext]:
    settings = queue_settings(kind, broker, queue, data=folder, **changes)
    store = open_store(settings)
    publisher = opened(settings)
    await store.open()
    try:
        yield rig.context(store=store, publisher=publisher, clock=utc_now, **settings.model_dump(exclude_unset=True))
    finally:
        await publisher.close()
        await store.close()


@asynccontextmanager
async def relaying(context: AdaptorContext) -> AsyncIterator[None]:
    assert context.publisher is not None
    running = Relay(context, context.publisher)
    running.start()
    try:
        yield
    finally:
        await running.stop(grace=PATIENCE)


async def enqueue(context: AdaptorContext, count: int) -> list[str]:
    ids = []
    for _ in range(count):
        each = message()

        async def work(transaction: Transaction, each=each) -> None:  # type: ignore[no-untyped-def]
            await transaction.enqueue(each)

        await context.store.transact(work)
        context.arrivals.tell()
        ids.append(each.id)
    return ids


@KINDS
async def test_e5_messages_that_came_while_the_broker_was_away_follow_in_their_order(
    kind: str, rabbitmq: RabbitMq, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SHORTEST", 0.01)
    async with wire_to(rabbitmq.port) as wire:
        await wire.take_away()
        brokers = f"amqp://127.0.0.1:{wire.port}"
        async with adaptor(kind, rabbitmq, queue, tmp_path, inbound_queue_brokers=brokers) as context:
            async with relaying(context):
                sent = await enqueue(context, 50)
                await wire.join()
                sent += await enqueue(context, 50)
                read = await read_091(rabbitmq, queue, 100)
            figures = await context.store.queue_figures(utc_now())
    assert [each.message_id for each in read] == sent
    assert (figures.waiting, figures.leased, figures.dead) == (0, 0, 0)


async def test_e5_nothing_is_lost_while_the_broker_is_killed_and_started_again(
    rabbitmq: RabbitMq, queue: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relay, "SHORTEST", 0.01)
    monkeypatch.setattr(relay, "LONGEST", 0.2)
    async with adaptor("amqp10", rabbitmq, queue, tmp_path) as context, relaying(context):
        filling = asyncio.create_task(enqueue(context, 300))
        await until_waiting(rabbitmq, queue, 20)
        try:
            await asyncio.to_thread(rabbitmq.kill)
        finally:
            await asyncio.to_thread(rabbitmq.start)
        sent = await filling
        await until_empty(context)
    found = Counter(each.message_id for each in await read_091(rabbitmq, queue, await waiting(rabbitmq, queue)))
    assert set(found) == set(sent)
    # The broker may have died between its taking the one message under way and its word.
    assert sum(found.values()) <= len(sent) + 1


async def test_a3_nothing_is_lost_when_the_adaptor_is_killed_between_acknowledgement_and_relay(
    rabbitmq: RabbitMq, queue: str, tmp_path: Path
) -> None:
    """Killed twice at work: each message that was durable arrives, and what comes twice bears the same id."""
    durable: list[str] = []
    for _ in range(2):
        durable += await run_and_kill("amqp091", rabbitmq, queue, tmp_path, lines=60)
    async with adaptor("amqp091", rabbitmq, queue, tmp_path, queue_lease=2) as context, relaying(context):
        await until_empty(context)
    found = Counter(each.message_id for each in await read_091(rabbitmq, queue, await waiting(rabbitmq, queue)))
    assert set(durable) <= set(found)
    # Each kill leaves at most one message between the broker's word and ours.
    assert sum(found.values()) - len(found) <= 2


async def run_and_kill(kind: str, broker: RabbitMq, queue: str, folder: Path, *, lines: int) -> list[str]:
    """Run an adaptor's relay, kill it once it has said that many messages are durable, and return all it has said."""
    settings = {
        "SECRET_PARTY_KEY": rig.PARTY_KEY,
        "CLIENT_CERT_FILE": "x",
        "CLIENT_KEY_FILE": "x",
        "CA_CERTS_FILE": "x",
        "DATA": str(folder),
        "QUEUE": kind,
        "QUEUE_LEASE": "2",
        "INBOUND_QUEUE_BROKERS": broker.address,
        "INBOUND_QUEUE_NAME": queue,
        "SECRET_INBOUND_QUEUE_USERNAME": USER,
        "SECRET_INBOUND_QUEUE_PASSWORD": PASSWORD,
    }
    with (folder / "log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mhs.queue.relaying_process", "400"),
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            cwd=Path(__file__).parents[2],
            env={**os.environ, **{f"MHS_{name}": value for name, value in settings.items()}},
        )
    assert process.stdout is not None
    said = b""
    async with asyncio.timeout(PATIENCE):
        while said.count(b"durable") < lines:
            line = await process.stdout.readline()
            assert line, (folder / "log").read_text()
            said += line
        await until_waiting(broker, queue, 1)
    process.kill()
    rest, _ = await process.communicate()
    # A line that was cut short was not said.
    return [line.decode() for line in re.findall(rb"^durable (.*)\n", said + rest, re.MULTILINE)]


async def until_waiting(broker: RabbitMq, queue: str, count: int) -> None:
    """Wait until so many messages have come to the broker."""
    async with asyncio.timeout(PATIENCE):
        while await waiting(broker, queue) < count:  # noqa: ASYNC110 the broker tells nobody
            await asyncio.sleep(0.01)


async def until_empty(context: AdaptorContext) -> None:
    """Wait until our own queue has nothing left."""
    async with asyncio.timeout(PATIENCE):
        while True:
            figures = await context.store.queue_figures(utc_now())
            if figures.waiting + figures.leased == 0:
                return
            await asyncio.sleep(0.01)
