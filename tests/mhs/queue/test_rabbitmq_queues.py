"""The two plug-ins for brokers against a real RabbitMQ."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import aio_pika
import msgspec
import pytest

from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable
from openscr.mhs.queue_message import InboundMessage, write_inbound_message
from rabbitmq import LARGEST, PASSWORD, RabbitMq

from .suppliers import declare, message, opened, queue_settings, read_091, read_10, waiting
from .wire import wire_to

KINDS = pytest.mark.parametrize("kind", ["amqp10", "amqp091"])


@pytest.fixture
def queue() -> str:
    """A name that no other test uses."""
    return f"inbound-{uuid4()}"


@asynccontextmanager
async def publishing(kind: str, broker: RabbitMq, queue: str, **changes: object) -> AsyncIterator[Publisher]:
    """Open a plug-in as a deployment does, and close it."""
    publisher = opened(queue_settings(kind, broker, queue, **changes))
    try:
        yield publisher
    finally:
        await publisher.close()


async def test_amqp10_bears_the_properties_of_the_reference(rabbitmq: RabbitMq, queue: str) -> None:
    sent = message()
    async with publishing("amqp10", rabbitmq, queue, inbound_queue_message_ttl_in_seconds=600) as publisher:
        await publisher.publish(sent)
    (read,) = await read_10(rabbitmq, queue)
    assert read.durable is True
    assert 0 < read.ttl <= 600
    assert (read.id, read.content_type) == (sent.id, "application/json")
    assert (read.correlation_id, read.address, read.subject) == (None, None, None)
    assert read.properties == {"message-id": sent.message_id, "correlation-id": sent.correlation_id}
    assert isinstance(read.body, str)
    assert json.loads(read.body) == {
        "ebXML": "<eb/>",
        "payload": "<hl7/>",
        "attachments": [],
        "external_attachments": [],
    }


async def test_amqp10_without_ttl_lets_messages_live(rabbitmq: RabbitMq, queue: str) -> None:
    async with publishing("amqp10", rabbitmq, queue) as publisher:
        await publisher.publish(message())
    (read,) = await read_091(rabbitmq, queue)
    assert read.expiration is None


async def test_amqp10_makes_a_queue_that_outlives_the_broker_where_there_is_none(
    rabbitmq: RabbitMq, queue: str
) -> None:
    async with publishing("amqp10", rabbitmq, queue) as publisher:
        await publisher.publish(message())
    # Declaring it with another durability would be refused.
    await declare(rabbitmq, queue)
    assert await waiting(rabbitmq, queue) == 1


async def test_amqp091_bears_the_properties_of_e3(rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    sent = message()
    async with publishing("amqp091", rabbitmq, queue, inbound_queue_message_ttl_in_seconds=600) as publisher:
        await publisher.publish(sent)
    (read,) = await read_091(rabbitmq, queue)
    assert (read.content_type, read.delivery_mode, read.message_id) == ("application/json", 2, sent.id)
    assert read.headers == {"message-id": sent.message_id, "correlation-id": sent.correlation_id}
    assert read.expiration == 600
    assert read.body == sent.body


@KINDS
async def test_f3_a_late_reply_says_so(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    async with publishing(kind, rabbitmq, queue) as publisher:
        await publisher.publish(message(late=True))
    if kind == "amqp10":
        (read,) = await read_10(rabbitmq, queue)
        assert read.properties["late-response"] == "true"
    else:
        (other,) = await read_091(rabbitmq, queue)
        assert other.headers["late-response"] == "true"


@KINDS
async def test_l27_five_megabytes_in_many_scripts_arrive_as_they_were(
    kind: str, rabbitmq: RabbitMq, queue: str
) -> None:
    text = "<p>Åsa, Ζωή, \U0001f9ea, 漢字</p>" * 150_000
    await declare(rabbitmq, queue)
    async with publishing(kind, rabbitmq, queue) as publisher:
        await publisher.publish(message(body=write_inbound_message(InboundMessage("<eb/>", text))))
    if kind == "amqp10":
        (read,) = await read_10(rabbitmq, queue)
        assert json.loads(read.body)["payload"] == text
    else:
        (other,) = await read_091(rabbitmq, queue)
        assert msgspec.json.decode(other.body)["payload"] == text


@KINDS
async def test_l22_one_connection_serves_every_message(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    async with wire_to(rabbitmq.port) as wire:
        brokers = f"amqp://127.0.0.1:{wire.port}"
        async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=brokers) as publisher:
            sent = [message() for _ in range(50)]
            for each in sent[:10]:
                await publisher.publish(each)
            await asyncio.gather(*(publisher.publish(each) for each in sent[10:]))
        assert wire.connections == 1
    read = await read_091(rabbitmq, queue, 50)
    assert [each.message_id for each in read] == [each.id for each in sent]


@KINDS
async def test_l22_a_queue_that_is_full_is_an_error(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue, **{"x-max-length": 1, "x-overflow": "reject-publish"})
    # Over AMQP 1.0 a plain name would ask for a queue without these arguments.
    name = f"/amq/queue/{queue}" if kind == "amqp10" else queue
    async with publishing(kind, rabbitmq, name, inbound_queue_max_retries=0) as publisher:
        # How many it takes beyond its length is the broker's affair.
        taken = 0
        error: Exception | None = None
        while error is None:
            try:
                await publisher.publish(message())
                taken += 1
            except QueueUnavailable as found:
                error = found
            assert taken < 10
        assert await waiting(rabbitmq, queue) == taken
        await read_091(rabbitmq, queue, taken)
        await publisher.publish(message())


@KINDS
async def test_l22_a_message_that_the_broker_never_takes_is_refused(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    async with publishing(kind, rabbitmq, queue) as publisher:
        await publisher.publish(message())
        with pytest.raises(QueueRefused) as refusal:
            await publisher.publish(message(body=b'"%s"' % (b"x" * (LARGEST + 1))))
        assert "xxx" not in refusal.value.diagnostics
        await publisher.publish(message())
    assert await waiting(rabbitmq, queue) == 2


async def test_amqp091_to_a_queue_that_is_not_there_is_an_error_until_somebody_makes_it(
    rabbitmq: RabbitMq, queue: str
) -> None:
    async with publishing("amqp091", rabbitmq, queue, inbound_queue_max_retries=0) as publisher:
        with pytest.raises(QueueUnavailable, match="no queue of this name"):
            await publisher.publish(message())
        assert not await publisher.reachable()
        await declare(rabbitmq, queue)
        await publisher.publish(message())
        await _delete(rabbitmq, queue)
        # The channel stands; nobody would have the message if it were not mandatory.
        with pytest.raises(QueueUnavailable, match="no queue of this name"):
            await publisher.publish(message())


async def _delete(broker: RabbitMq, queue: str) -> None:
    async with await aio_pika.connect(broker.url) as connection, connection.channel() as channel:
        await channel.queue_delete(queue)


@KINDS
async def test_a_wrong_password_is_an_error_that_does_not_repeat_it(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    wrong = f"not {PASSWORD}"
    changes = {"secret_inbound_queue_password": wrong, "inbound_queue_max_retries": 0}
    async with publishing(kind, rabbitmq, queue, **changes) as publisher:
        with pytest.raises(QueueUnavailable, match="this user") as error:
            await publisher.publish(message())
    assert PASSWORD not in error.value.diagnostics


@KINDS
async def test_brokers_are_asked_in_their_order_until_one_takes_the_message(
    kind: str, rabbitmq: RabbitMq, queue: str
) -> None:
    await declare(rabbitmq, queue)
    async with wire_to(rabbitmq.port) as first, wire_to(rabbitmq.port) as second:
        await first.take_away()
        brokers = f"amqp://127.0.0.1:{first.port}, 127.0.0.1:{second.port}"
        async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=brokers) as publisher:
            await publisher.publish(message())
            await publisher.publish(message())
            assert (first.connections, second.connections) == (0, 1)
            await first.join()
            await publisher.publish(message())
            assert (first.connections, second.connections) == (0, 1)
            await second.take_away()
            await publisher.publish(message())
            assert (first.connections, second.connections) == (1, 1)
    assert await waiting(rabbitmq, queue) == 4


@KINDS
async def test_a_connection_that_breaks_is_made_anew(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    async with wire_to(rabbitmq.port) as wire:
        brokers = f"amqp://127.0.0.1:{wire.port}"
        async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=brokers) as publisher:
            await publisher.publish(message())
            await wire.cut()
            await publisher.publish(message())
            assert await publisher.reachable()
            await wire.take_away()
            with pytest.raises(QueueUnavailable):
                await publisher.publish(message())
            assert not await publisher.reachable()
            await wire.join()
            await publisher.publish(message())
    assert await waiting(rabbitmq, queue) == 3


@KINDS
async def test_a_broker_that_does_not_answer_is_given_up_and_found_again(
    kind: str, rabbitmq: RabbitMq, queue: str
) -> None:
    await declare(rabbitmq, queue)
    async with wire_to(rabbitmq.port) as wire:
        changes = {"inbound_queue_brokers": f"amqp://127.0.0.1:{wire.port}", "inbound_queue_max_retries": 0}
        async with publishing(kind, rabbitmq, queue, inbound_queue_timeout=1, **changes) as publisher:
            await publisher.publish(message())
            wire.hold()
            with pytest.raises(QueueUnavailable, match="not answered in time"):
                await publisher.publish(message())
            assert not await publisher.reachable()
            wire.release()
            await publisher.publish(message())


@KINDS
async def test_who_gives_up_waiting_leaves_the_connection_to_others(kind: str, rabbitmq: RabbitMq, queue: str) -> None:
    await declare(rabbitmq, queue)
    async with wire_to(rabbitmq.port) as wire:
        brokers = f"amqp://127.0.0.1:{wire.port}"
        async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=brokers) as publisher:
            await publisher.publish(message())
            wire.hold()
            given_up = asyncio.create_task(publisher.publish(message()))
            patient = asyncio.create_task(publisher.publish(message()))
            await asyncio.sleep(0)
            given_up.cancel()
            await asyncio.gather(given_up, return_exceptions=True)
            wire.release()
            await patient
            assert given_up.cancelled()
            assert wire.connections == 1


async def test_what_was_taken_survives_the_death_of_the_broker(rabbitmq: RabbitMq, queue: str) -> None:
    pytest.importorskip("proton", reason="python-qpid-proton is not installed (it has to be compiled)")
    await declare(rabbitmq, queue)
    async with (
        publishing("amqp10", rabbitmq, queue) as one,
        publishing("amqp091", rabbitmq, queue) as other,
    ):
        sent = [message() for _ in range(4)]
        for each, publisher in zip(sent, (one, other) * 2, strict=True):
            await publisher.publish(each)
        try:
            await asyncio.to_thread(rabbitmq.kill)
            for publisher in (one, other):
                with pytest.raises(QueueUnavailable):
                    await publisher.publish(message())
        finally:
            await asyncio.to_thread(rabbitmq.start)
        for publisher in (one, other):
            sent.append(message())
            await publisher.publish(sent[-1])
    read = await read_091(rabbitmq, queue, 6)
    assert [each.message_id for each in read] == [each.id for each in sent]


@KINDS
async def test_amqps_hands_over_to_the_broker_that_its_certificate_names(
    kind: str, rabbitmq: RabbitMq, queue: str
) -> None:
    await declare(rabbitmq, queue)
    changes = {"inbound_queue_ca_file": rabbitmq.authority, "inbound_queue_max_retries": 0}
    secure = f"amqps://localhost:{rabbitmq.tls_port}"
    async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=secure, **changes) as publisher:
        await publisher.publish(message())
        assert await publisher.reachable()
    another = f"amqps://127.0.0.1:{rabbitmq.tls_port}"
    async with publishing(kind, rabbitmq, queue, inbound_queue_brokers=another, **changes) as publisher:
        with pytest.raises(QueueUnavailable, match="certificate is not trusted"):
            await publisher.publish(message())
    unknown = {"inbound_queue_max_retries": 0, "inbound_queue_brokers": secure}
    async with publishing(kind, rabbitmq, queue, **unknown) as publisher:
        with pytest.raises(QueueUnavailable, match="certificate is not trusted"):
            await publisher.publish(message())
    assert await waiting(rabbitmq, queue) == 1


@KINDS
async def test_l28_no_body_and_no_password_is_logged_at_any_level(
    kind: str,
    rabbitmq: RabbitMq,
    queue: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PN_TRACE_FRM", "1")
    await declare(rabbitmq, queue)
    with caplog.at_level(logging.DEBUG):
        async with publishing(kind, rabbitmq, queue) as publisher:
            await publisher.publish(message("<p>Meadow sweet</p>"))
    said = caplog.text + "".join(capfd.readouterr())
    assert "broker connected" in said
    assert "Meadow" not in said
    assert PASSWORD not in said
