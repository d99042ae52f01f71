"""The roles of an adaptor in processes of their own, on one data folder: what one learns the other knows.

Spec: 50 §14, F3; 00 §4.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from journeys.adaptor import Adaptor, Supplier
from journeys.stub_estate import Estate, comes_to_be, issue_certificates, queued_now, settings_of, spine_tls, state
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.stub_spine import StubSpine, fault, refuse
from openscr.codes import UPLOAD
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml

EXPRESS, FORWARD = "QUPC_IN160101UK05", "COPC_IN000001UK01"
ANSWERED, STORED = "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED", "INBOUND_SYNC_ASYNC_MESSAGE_STORED"


def _start(folder: Path, role: str, settings: dict[str, Any]) -> Adaptor:
    """Start a role; its log lies in a folder of its own, beside the store that they share."""
    return Adaptor.start(folder / role, role, **settings | {"data": folder / "store"})


@pytest.fixture
async def between(tmp_path: Path) -> AsyncIterator[Estate]:
    """Two processes; the test speaks with them as if they were one."""
    pki = issue_certificates(tmp_path / "pki")
    async with StubSpine(tls=spine_tls(pki)) as spine:
        given = settings_of(spine.url, pki)
        # Both make the store, at once.
        outbound, inbound = await asyncio.gather(
            *(asyncio.to_thread(_start, tmp_path, role, given) for role in ("outbound", "inbound"))
        )
        outbound.inbound = inbound.inbound
        async with Supplier(outbound) as supplier:
            yield Estate(spine, outbound, supplier, pki)
        for each in (outbound, inbound):
            assert await asyncio.to_thread(each.stop) == 0


@pytest.mark.parametrize("interaction", [UPLOAD, EXPRESS])
async def test_callers_wait_in_one_process_for_what_comes_to_the_other(between: Estate, interaction: str) -> None:
    between.script(replying=True)
    ids = [mint_uuid() for _ in range(5)]
    sending = (
        between.supplier.send(interaction, f"<{interaction}/>", wait=True, message_id=message_id) for message_id in ids
    )
    for message_id, told in zip(ids, await asyncio.gather(*sending), strict=True):
        assert (told.status, told.headers["content-type"]) == (200, "text/xml"), told.text
        assert read_acknowledgement(read_xml(told.body)).reference == message_id
        fields = {"OUTBOUND_STATUS": ANSWERED, "INBOUND_STATUS": STORED, "WORKFLOW": "sync-async"}
        await comes_to_be(between.supplier, message_id, **fields)
    assert await queued_now(between.supplier) == []


async def test_the_queue_is_read_in_one_process_and_filled_in_the_other(between: Estate) -> None:
    between.script(replying=True)
    reading = asyncio.create_task(between.supplier.next_message())
    message_id = mint_uuid()
    assert (await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id)).status == 202
    message = await reading
    assert message["properties"]["message-id"] == message_id
    await comes_to_be(
        between.supplier,
        message_id,
        OUTBOUND_STATUS="OUTBOUND_MESSAGE_ACKD",
        INBOUND_STATUS="INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED",
    )
    history = [each["STATUS"] for each in (await state(between.supplier, message_id))["HISTORY"]]
    assert len(history) == len(set(history)) == 3

    unasked = mint_uuid()
    header = envelope(Action=FORWARD, RefToMessageId=None, MessageId=unasked)
    body = multipart(header_part(header), payload_part(f"<{FORWARD}/>"))
    assert (await between.post({"Content-Type": CONTENT_TYPE}, body))[0] == 200
    assert (await between.supplier.next_message())["properties"]["message-id"] == unasked


async def test_refusals_are_told_by_the_process_that_sent(between: Estate) -> None:
    between.script(fault("300"), refuse())
    for key in ("SOAP_ERROR_HANDLER0002", "EBXML_ERROR_HANDLER0005"):
        message_id = mint_uuid()
        told = await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id)
        assert (told.status, json.loads(told.body)["process_key"]) == (500, key)
        await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS="OUTBOUND_MESSAGE_NACKD", INBOUND_STATUS=None)
