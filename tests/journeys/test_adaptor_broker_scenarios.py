"""The scenarios of the NHS adaptor's own suite that end at a broker: replies and unsolicited messages on a RabbitMQ.

Spec: 50 §14.4 A2; §3.4, E3, E5.
"""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from journeys.messages import PRACTICE, fresh_patient
from journeys.stub_estate import Estate, comes_to_be, estate, issue_certificates
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.queue.suppliers import declare, read_091, read_10
from mhs.stub_spine import acknowledge, fault
from openscr.codes import UPLOAD
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml
from rabbitmq import PASSWORD, USER, RabbitMq

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPRESS, FORWARD = "QUPC_IN160101UK05", "COPC_IN000001UK01"


@dataclass(frozen=True)
class Read:
    """A queue message as the supplier's own client sees it."""

    id: str
    durable: bool
    content_type: str
    properties: dict[str, str]
    body: dict[str, Any]


@dataclass
class Behind:
    """An adaptor before a queue of a broker."""

    between: Estate
    broker: RabbitMq
    kind: str
    queue: str

    async def next_message(self) -> Read:
        """Take the next message with a client of the protocol."""
        if self.kind == "amqp10":
            (one,) = await read_10(self.broker, self.queue)
            assert isinstance(one.body, str)
            return Read(one.id, one.durable, one.content_type, one.properties, json.loads(one.body))
        (other,) = await read_091(self.broker, self.queue)
        headers = {name: str(value) for name, value in other.headers.items()}
        durable = other.delivery_mode == 2
        return Read(other.message_id or "", durable, other.content_type or "", headers, json.loads(other.body))


@pytest_asyncio.fixture(loop_scope="module", scope="module", params=["amqp10", "amqp091"])
async def behind(
    request: pytest.FixtureRequest, rabbitmq: RabbitMq, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Behind]:
    """An adaptor that hands messages to the broker by one of the protocols."""
    if request.param == "amqp10":
        pytest.importorskip("proton", reason="python-qpid-proton is not installed (it has to be compiled)")
    queue = f"inbound-{mint_uuid()}"
    await declare(rabbitmq, queue)
    pki = issue_certificates(tmp_path_factory.mktemp("scenarios"))
    given = {
        "queue": request.param,
        "inbound_queue_brokers": rabbitmq.address,
        "inbound_queue_name": queue,
        "secret_inbound_queue_username": USER,
        "secret_inbound_queue_password": PASSWORD,
    }
    async with estate(tmp_path_factory.mktemp("adaptor"), pki, **given) as between:
        yield Behind(between, rabbitmq, request.param, queue)


@pytest.mark.parametrize(
    ("interaction", "workflow"),
    [(EXPRESS, "async-express"), (UPLOAD, "async-reliable"), (FORWARD, "forward-reliable")],
)
async def test_a_reply_comes_to_the_brokers_queue(behind: Behind, interaction: str, workflow: str) -> None:
    between = behind.between
    between.script(replying=True)
    message_id, correlation_id = mint_uuid(), mint_uuid()
    payload = PRACTICE.upload(fresh_patient()).payload if interaction == UPLOAD else f"<{interaction}/>"
    told = await between.supplier.send(interaction, payload, message_id=message_id, correlation_id=correlation_id)
    assert (told.status, told.body) == (202, b"")
    read = await behind.next_message()
    assert (read.durable, read.content_type) == (True, "application/json")
    assert read.properties == {"message-id": message_id, "correlation-id": correlation_id}
    assert read.id not in ("", message_id, correlation_id)
    assert sorted(read.body) == ["attachments", "ebXML", "external_attachments", "payload"]
    said = read_acknowledgement(read_xml(read.body["payload"].encode()))
    assert said.reference == message_id
    if interaction == UPLOAD:
        assert said.detail == "GP Summary upload successful"
    await comes_to_be(
        between.supplier,
        message_id,
        OUTBOUND_STATUS="OUTBOUND_MESSAGE_ACKD",
        INBOUND_STATUS="INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED",
        WORKFLOW=workflow,
    )


async def test_a_reply_to_a_message_that_was_tried_again_comes_once(behind: Behind) -> None:
    between = behind.between
    between.script(fault("206"), fault("206"), acknowledge, replying=True)
    first, second = mint_uuid(), mint_uuid()
    for message_id in (first, second):
        assert (await between.supplier.send(FORWARD, f"<{FORWARD}/>", message_id=message_id)).status == 202
    assert len(between.spine.received) == 4
    read = [await behind.next_message() for _ in (first, second)]
    assert [each.properties["message-id"] for each in read] == [first, second]


async def test_what_nobody_asked_for_comes_to_the_brokers_queue(behind: Behind) -> None:
    message_id, conversation = mint_uuid(), mint_uuid()
    header = envelope(Action=FORWARD, RefToMessageId=None, MessageId=message_id, ConversationId=conversation)
    body = multipart(header_part(header), payload_part(f"<{FORWARD}/>"))
    for _ in range(2):
        # The second time it is a duplicate: acknowledged, and not queued. Spec: 50 F4.
        status, answer = await behind.between.post({"Content-Type": CONTENT_TYPE}, body)
        assert (status, b"<eb:Acknowledgment " in answer) == (200, True)
    other = mint_uuid()
    header = header.replace(message_id, other)
    await behind.between.post({"Content-Type": CONTENT_TYPE}, multipart(header_part(header), payload_part("<b/>")))
    read = [await behind.next_message() for _ in range(2)]
    assert read[0].durable
    assert read[0].properties == {"message-id": message_id, "correlation-id": conversation}
    assert read[0].body["payload"] == f"<{FORWARD}/>"
    assert [each.properties["message-id"] for each in read] == [message_id, other]


async def test_a_caller_who_waits_has_its_reply_and_the_broker_has_none(behind: Behind) -> None:
    between = behind.between
    between.script(replying=True)
    waited, queued = mint_uuid(), mint_uuid()
    told = await between.supplier.send(EXPRESS, f"<{EXPRESS}/>", wait=True, message_id=waited)
    assert told.status == 200, told.text
    assert read_acknowledgement(read_xml(told.body)).reference == waited
    await between.supplier.send(EXPRESS, f"<{EXPRESS}/>", message_id=queued)
    # The first on the queue is that of the message after it.
    assert (await behind.next_message()).properties["message-id"] == queued
