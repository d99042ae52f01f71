"""Adaptors that are killed: no message is lost, and none comes twice to a supplier that acknowledges.

The moments are made from outside, each for certain: a Spine that nobody reaches, or that says nothing; a sender that
loses its acknowledgement; a broker that is down; a caller that waits.

Spec: 50 §14.4 A3; E5, F3, F4, F11.
"""

import asyncio
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from faults.adaptor_site import Site, adaptor_site
from journeys.adaptor import Adaptor, Supplier, Told
from journeys.runner import client_context, until
from journeys.stub_estate import (
    SPINE,
    acceptance_of,
    comes_to_be,
    queue_stats,
    queued_now,
    state,
)
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.queue.suppliers import declare, read_091
from mhs.stub_spine import StubSpine, acknowledge, answer, reply_message, silence
from openscr.codes import UPLOAD
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml
from rabbitmq import PASSWORD, USER, rabbitmq_server

EXPRESS, FORWARD = "QUPC_IN160101UK05", "COPC_IN000001UK01"
ACKD, PROCESSED = "OUTBOUND_MESSAGE_ACKD", "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED"
LOST = (aiohttp.ClientError, ConnectionError)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A place for adaptors."""
    with adaptor_site(tmp_path) as made:
        yield made


async def once_on_the_queue(supplier: Supplier, message_id: str) -> dict[str, Any]:
    """Take the one message that there is, which must be about this one."""
    message = await supplier.next_message()
    assert message["properties"]["message-id"] == message_id
    assert await queued_now(supplier) == []
    assert (await queue_stats(supplier))["waiting"] == 0
    return message


async def lost(call: "asyncio.Task[Told]") -> None:
    """See a call end as it does when who was called is gone."""
    with pytest.raises(LOST):
        await call


def sending(supplier: Supplier, message_id: str, interaction: str = UPLOAD, **how: Any) -> "asyncio.Task[Told]":
    """Begin to send a message."""
    return asyncio.create_task(supplier.send(interaction, f"<{interaction}/>", message_id=message_id, **how))


# --- after it is stored, before it is sent ----------------------------------------------------------------------------


@pytest.mark.parametrize("told_before", [False, True], ids=["its caller lost", "its caller told"])
async def test_a_message_that_was_stored_and_not_sent_is_sent_after_the_restart(site: Site, told_before: bool) -> None:
    message_id = mint_uuid()
    adaptor = await site.start()
    async with Supplier(adaptor) as supplier:
        call = sending(supplier, message_id, **({"prefer": "respond-async"} if told_before else {}))

        async def tried() -> bool:
            told = await supplier.ask("GET", f"/messages/{message_id}")
            return told.status == 200 and json.loads(told.body)["LAST_ERROR"] == "no connection"

        await until(tried)
        if told_before:
            assert (await call).status == 202
        await asyncio.to_thread(adaptor.kill)
        if not told_before:
            await lost(call)
    async with site.spine() as spine:
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            await spine.after(1)
            await comes_to_be(supplier, message_id, OUTBOUND_STATUS=ACKD)
            await site.reply(adaptor, spine.received[0])
            await once_on_the_queue(supplier, message_id)
        assert await asyncio.to_thread(adaptor.stop) == 0
        assert len(spine.received) == 1
    assert await site.still_to_be_sent(message_id) is None


# --- after it is sent, before that is answered ------------------------------------------------------------------------


async def test_a_message_whose_answer_was_not_heard_is_sent_again_as_it_was(site: Site) -> None:
    """The same id and the same bytes: the Spine knows what it has."""
    message_id = mint_uuid()
    async with site.spine(silence, acknowledge) as spine:
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            call = sending(supplier, message_id)
            await spine.after(1)
            await asyncio.to_thread(adaptor.kill)
            await lost(call)
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            first, second = await spine.after(2)
            assert (first.body, first.headers) == (second.body, second.headers)
            await comes_to_be(supplier, message_id, OUTBOUND_STATUS=ACKD)
            # Duplicates are the Spine's to know: it answers once.
            await site.reply(adaptor, second)
            await once_on_the_queue(supplier, message_id)
        assert await asyncio.to_thread(adaptor.stop) == 0
        assert len(spine.received) == 2
    assert await site.still_to_be_sent(message_id) is None


async def test_a_message_that_was_replied_to_before_it_was_acknowledged_is_not_sent_again(site: Site) -> None:
    message_id = mint_uuid()
    async with site.spine(silence) as spine:
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            call = sending(supplier, message_id)
            (received,) = await spine.after(1)
            await site.reply(adaptor, received)
            await asyncio.to_thread(adaptor.kill)
            with contextlib.suppress(*LOST):
                await call
    assert await site.still_to_be_sent(message_id) is None
    adaptor = await site.start()
    async with Supplier(adaptor) as supplier:
        await once_on_the_queue(supplier, message_id)
        found = await state(supplier, message_id)
        assert (found["OUTBOUND_STATUS"], found["INBOUND_STATUS"]) == (ACKD, PROCESSED)


async def test_an_express_message_is_not_sent_again_by_itself_and_its_reply_is_not_lost(site: Site) -> None:
    """It was promised to nobody. Its sender may send it again, with the same id; then the reply to both is one."""
    message_id = mint_uuid()
    async with site.spine(silence, acknowledge) as spine:
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            call = sending(supplier, message_id, EXPRESS)
            await spine.after(1)
            await asyncio.to_thread(adaptor.kill)
            await lost(call)
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            assert (await sending(supplier, message_id, EXPRESS)).status == 202
            assert len(spine.received) == 2
            reply = reply_message(spine.received[0].envelope, acceptance_of(spine.received[0]))
            for _ in range(2):
                status, _answer = await site.post(adaptor, *reply)
                assert status == 200
            await once_on_the_queue(supplier, message_id)


# --- after what came is stored, before that is acknowledged -----------------------------------------------------------


@pytest.mark.parametrize("solicited", [False, True], ids=["unsolicited", "a reply"])
async def test_what_was_stored_and_not_acknowledged_comes_again_and_is_queued_once(site: Site, solicited: bool) -> None:
    async with site.spine() as spine:
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            headers, body, message_id = await _what_the_spine_posts(supplier, spine if solicited else None)
            await _post_without_hearing(site, adaptor, headers, body)

            async def stored() -> bool:
                return bool((await queue_stats(supplier))["waiting"] == 1)

            await until(stored)
            await asyncio.to_thread(adaptor.kill)
        adaptor = await site.start()
        async with Supplier(adaptor) as supplier:
            again = [await site.post(adaptor, headers, body) for _ in range(2)]
            assert again[0] == again[1]
            assert (again[0][0], b"<eb:Acknowledgment " in again[0][1]) == (200, True)
            await once_on_the_queue(supplier, message_id)
            # Nor does it come back once it has been taken.
            assert await site.post(adaptor, headers, body) == again[0]
            assert await queued_now(supplier) == []


async def _what_the_spine_posts(supplier: Supplier, spine: StubSpine | None) -> tuple[dict[str, str], bytes, str]:
    """Return headers and body of a message, and what it is about: one that the Spine was sent, if there is one."""
    message_id = mint_uuid()
    if spine is None:
        header = envelope(Action=FORWARD, RefToMessageId=None, MessageId=message_id)
        return {"Content-Type": CONTENT_TYPE}, multipart(header_part(header), payload_part("<a/>")), message_id
    assert (await sending(supplier, message_id)).status == 202
    (received,) = spine.received
    return *reply_message(received.envelope, acceptance_of(received)), message_id


async def _post_without_hearing(site: Site, adaptor: Adaptor, headers: dict[str, str], body: bytes) -> None:
    """Post a message and go away before the answer."""
    port = int(adaptor.inbound.rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(site.pki, SPINE))
    lines = ["POST / HTTP/1.1", "Host: adaptor", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + body)
    await writer.drain()
    writer.transport.abort()


# --- after it is acknowledged, before it is at the broker -------------------------------------------------------------


async def test_what_was_acknowledged_while_the_broker_was_down_comes_to_it_once(site: Site) -> None:
    with rabbitmq_server() as broker:
        queue = "inbound"
        await declare(broker, queue)
        await asyncio.to_thread(broker.stop)
        settings = {
            "queue": "amqp091",
            "inbound_queue_brokers": broker.address,
            "inbound_queue_name": queue,
            "secret_inbound_queue_username": USER,
            "secret_inbound_queue_password": PASSWORD,
            "queue_lease": 1,
        }
        adaptor = await site.start(**settings)
        headers, body, message_id = await site.unsolicited(adaptor)
        await asyncio.to_thread(adaptor.kill)
        adaptor = await site.start(**settings)
        assert (await site.post(adaptor, headers, body))[0] == 200
        *_, after = await site.unsolicited(adaptor)
        await asyncio.to_thread(broker.start)
        # The one after it shows that there was no more of it.
        read = await read_091(broker, queue, 2)
        assert [each.headers["message-id"] for each in read] == [message_id, after]
        assert len({each.message_id for each in read}) == 2


async def test_what_a_web_supplier_has_not_taken_comes_to_it_again_under_its_id(site: Site) -> None:
    """Killed in the middle of handing over: nobody knows whether it was taken, so it comes again, under its id."""
    async with StubSpine(silence, answer(200)) as web:
        settings = {"webhook_url": web.url, "queue_lease": 1}
        adaptor = await site.start(**settings)
        *_, message_id = await site.unsolicited(adaptor)
        await web.after(1)
        await asyncio.to_thread(adaptor.kill)
        adaptor = await site.start(**settings)
        first, second = await web.after(2)
        assert (first.body, sorted(first.headers)) == (second.body, sorted(second.headers))
        assert message_id in str(first.headers)
        *_, after = await site.unsolicited(adaptor)
        assert after in str((await web.after(3))[2].headers)


# --- callers who wait -------------------------------------------------------------------------------------------------

GONE = "OUTBOUND_SYNC_ASYNC_MESSAGE_FAILED_TO_RESPOND"
STORED = "INBOUND_SYNC_ASYNC_MESSAGE_STORED"
WAITING = pytest.mark.parametrize("interaction", [UPLOAD, EXPRESS])


async def late_reply(supplier: Supplier, message_id: str) -> None:
    """See the reply come to the queue, once, as one whose caller is gone."""
    message = await once_on_the_queue(supplier, message_id)
    assert message["properties"]["late-response"] == "true"
    assert read_acknowledgement(read_xml(message["body"]["payload"].encode())).reference == message_id
    await comes_to_be(supplier, message_id, OUTBOUND_STATUS=GONE, INBOUND_STATUS=PROCESSED, WORKFLOW="sync-async")


@WAITING
async def test_the_reply_to_a_caller_who_waited_for_a_killed_adaptor_comes_to_the_queue(
    site: Site, interaction: str
) -> None:
    message_id = mint_uuid()
    settings = {"resync_retries": 2, "late_reply_grace": 1}
    async with site.spine() as spine:
        adaptor = await site.start(**settings)
        async with Supplier(adaptor) as supplier:
            call = sending(supplier, message_id, interaction, wait=True)
            await spine.after(1)
            await comes_to_be(supplier, message_id, OUTBOUND_STATUS=ACKD)
            await asyncio.to_thread(adaptor.kill)
            await lost(call)
        adaptor = await site.start(**settings)
        async with Supplier(adaptor) as supplier:
            await site.reply(adaptor, spine.received[0])
            await late_reply(supplier, message_id)
        assert len(spine.received) == 1


@WAITING
async def test_a_reply_that_was_kept_for_a_killed_caller_comes_to_the_queue(site: Site, interaction: str) -> None:
    """The other process takes the reply for one that is waited for, since that is what it knows."""
    message_id = mint_uuid()
    settings = {"resync_retries": 5, "late_reply_grace": 1}
    async with site.spine() as spine:
        outbound, inbound = await site.start("outbound", **settings), await site.start("inbound", **settings)
        async with Supplier(outbound) as supplier:
            call = sending(supplier, message_id, interaction, wait=True)
            await spine.after(1)
            await comes_to_be(supplier, message_id, OUTBOUND_STATUS=ACKD)
            await asyncio.to_thread(outbound.kill)
            await lost(call)
        await site.reply(inbound, spine.received[0])
        outbound = await site.start("outbound", **settings)
        async with Supplier(outbound) as supplier:
            await late_reply(supplier, message_id)
            history = [each["STATUS"] for each in (await state(supplier, message_id))["HISTORY"]]
            assert history.index(STORED) < history.index(PROCESSED)
