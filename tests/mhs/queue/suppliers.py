"""Suppliers who read their queue at a real broker, with the client libraries of the two protocols."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import aio_pika
import pytest

from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.queue_message import InboundMessage, QueueMessage, write_inbound_message
from openscr.mhs.settings import MhsSettings
from rabbitmq import PASSWORD, USER, RabbitMq

from .. import rig

PATIENCE = 60.0


def message(text: str = "<hl7/>", **changes: Any) -> QueueMessage:
    """Return a message with a fresh id."""
    values = {
        "id": str(uuid4()).upper(),
        "message_id": "F0E1D2C3-0000-4000-8000-000000000001",
        "correlation_id": "F0E1D2C3-0000-4000-8000-000000000002",
        "body": write_inbound_message(InboundMessage("<eb/>", text)),
        "created_at": datetime(2026, 11, 23, 12, tzinfo=UTC),
    }
    return QueueMessage(**(values | changes))


def queue_settings(kind: str, broker: RabbitMq, queue: str, **changes: object) -> MhsSettings:
    """Return settings that hand messages to a queue of the broker by one of the plug-ins."""
    if kind == "amqp10":
        pytest.importorskip("proton", reason="python-qpid-proton is not installed (it has to be compiled)")
    values = {
        "queue": kind,
        "inbound_queue_brokers": broker.address,
        "inbound_queue_name": queue,
        "secret_inbound_queue_username": USER,
        "secret_inbound_queue_password": PASSWORD,
    }
    return rig.settings(**(values | changes))


def opened(settings: MhsSettings) -> Publisher:
    """Return the publisher that the settings ask for."""
    publisher = open_queue(settings)
    assert publisher is not None
    return publisher


async def declare(broker: RabbitMq, queue: str, **arguments: Any) -> None:
    """Make a durable queue, as an administrator would."""
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        await channel.declare_queue(queue, durable=True, arguments=arguments)


async def read_091(broker: RabbitMq, queue: str, count: int = 1) -> list[aio_pika.abc.AbstractIncomingMessage]:
    """Take messages from a queue as they come, acknowledging each."""
    messages: list[aio_pika.abc.AbstractIncomingMessage] = []
    async with (
        asyncio.timeout(PATIENCE),
        await aio_pika.connect(broker.url) as connection,
        connection.channel() as channel,
        (await channel.get_queue(queue)).iterator() as arriving,
    ):
        async for each in arriving:
            await each.ack()
            messages.append(each)
            if len(messages) == count:
                break
    return messages


async def read_10(broker: RabbitMq, queue: str, count: int = 1) -> list[Any]:
    """Take messages from a queue over AMQP 1.0, as users of the NHS adaptor do."""
    return await asyncio.to_thread(_read_10, broker, queue, count)


def _read_10(broker: RabbitMq, queue: str, count: int) -> list[Any]:
    from proton.utils import BlockingConnection  # noqa: PLC0415 it may be absent

    # Left to itself the library may choose to be anonymous: the broker offers its mechanisms in any order.
    who = {"user": USER, "password": PASSWORD, "allowed_mechs": "PLAIN"}
    connection = BlockingConnection(broker.address, timeout=PATIENCE, **who)
    try:
        # A plain name would ask for a queue that is not durable.
        receiver = connection.create_receiver(f"/amq/queue/{queue}")
        messages = []
        for _ in range(count):
            messages.append(receiver.receive())
            receiver.accept()
        return messages
    finally:
        connection.close()


async def waiting(broker: RabbitMq, queue: str) -> int:
    """Return how many messages wait on a queue."""
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        found = await channel.get_queue(queue)
        return found.declaration_result.message_count or 0
