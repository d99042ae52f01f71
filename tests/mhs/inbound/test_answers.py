"""Every row of 50 §3.1, with its literal text."""

from dataclasses import dataclass

import pytest

from mhs.inbound.posting import (
    ACK_REQUESTED,
    CONTENT_TYPE,
    PAYLOAD,
    REPLY_ID,
    REQUEST_ID,
    adaptor,
    audited,
    envelope,
    header_part,
    multipart,
    only_message,
    payload_part,
    post,
    queued,
    reference,
    remember,
    state,
)
from mhs.rig import PARTY_KEY
from openscr.codes import SERVICE_PREFIX
from openscr.errors import StoreUnavailable
from openscr.mhs.interactions import Interaction
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow

FORWARD = "COPC_IN000001UK01"
GP2GP = {
    FORWARD: Interaction(FORWARD, f"{SERVICE_PREFIX}gp2gp", Workflow.FORWARD_RELIABLE, False),
    "QUPC_IN160101UK05": Interaction("QUPC_IN160101UK05", f"{SERVICE_PREFIX}psisquery", Workflow.ASYNC_EXPRESS, True),
}
PARSING = "Exception during inbound message parsing"


@dataclass(frozen=True)
class Row:
    """What is posted, and what is answered. ``type`` is the Content-Type of the request."""

    name: str
    status: int
    text: str
    body: bytes
    type: str | None = CONTENT_TYPE


def missing(element: str) -> str:
    return f"{PARSING} Weren't able to find required element .//{element} during parsing of EbXML message"


def lacking(element: str) -> bytes:
    return multipart(header_part(envelope(without=element)), payload_part())


ROWS = [
    Row("1_not_multipart", 500, f"{PARSING} Non-multipart message received", b"hello", "text/plain"),
    Row("1_xml_that_is_no_envelope", 500, f"{PARSING} Non-multipart message received", b"<a/>", "text/xml"),
    Row("1_no_boundary", 500, f"{PARSING} Non-multipart message received", multipart(), "multipart/related"),
    Row("1_boundary_not_there", 500, f"{PARSING} Non-multipart message received", b"x", CONTENT_TYPE),
    Row("1_no_content_type", 500, "Internal Server Error", multipart(), None),
    Row(
        "2_ebxml_in_base64",
        500,
        f"{PARSING} Failed to decode ebXML header part of message as text",
        multipart(header_part(encoding="base64"), payload_part()),
    ),
    Row(
        "2_ebxml_not_utf8",
        500,
        f"{PARSING} Failed to decode ebXML header part of message as text",
        multipart(header_part(b"<a>\xff</a>"), payload_part()),
    ),
    Row(
        "2_payload_in_broken_base64",
        500,
        f"{PARSING} Failed to decode HL7 payload part of message as text",
        multipart(header_part(), payload_part("!!!", encoding="base64")),
    ),
    Row("3_no_from", 500, missing("eb:From/eb:PartyId"), lacking("From")),
    Row("3_no_to", 500, missing("eb:To/eb:PartyId"), lacking("To")),
    Row("3_no_cpa_id", 500, missing("eb:CPAId"), lacking("CPAId")),
    Row("3_no_conversation_id", 500, missing("eb:ConversationId"), lacking("ConversationId")),
    Row("3_no_service", 500, missing("eb:Service"), lacking("Service")),
    Row("3_no_action", 500, missing("eb:Action"), lacking("Action")),
    Row("3_no_message_id", 500, missing("eb:MessageId"), lacking("MessageId")),
    Row("3_no_timestamp", 500, missing("eb:Timestamp"), lacking("Timestamp")),
    Row("3_no_envelope", 500, missing("eb:From/eb:PartyId"), multipart(header_part("<a/>"), payload_part())),
    Row(
        "3_ack_requested_without_actor",
        500,
        f"{PARSING} Weren't able to find required attribute actor during parsing of EbXML message",
        multipart(header_part(envelope(header='<eb:AckRequested eb:version="2.0"/>')), payload_part()),
    ),
    Row("4_ebxml_not_well_formed", 500, "Internal Server Error", multipart(header_part("<a>"), payload_part())),
    Row(
        "4_manifest_entry_without_href",
        500,
        "Internal Server Error",
        multipart(header_part(envelope(references="<eb:Reference/>")), payload_part()),
    ),
    Row(
        "6a_unknown_reference",
        500,
        "Unknown message reference",
        multipart(header_part(envelope(RefToMessageId="71D4F6F2-0000-4000-8000-000000000000")), payload_part()),
    ),
    Row(
        "6a_reference_in_other_letters",
        500,
        "Unknown message reference",
        multipart(header_part(envelope(RefToMessageId=REQUEST_ID.lower())), payload_part()),
    ),
    Row(
        "7a_unknown_interaction",
        404,
        "Unknown interaction ID: NOBODY_KNOWS",
        multipart(header_part(envelope(RefToMessageId=None, Action="NOBODY_KNOWS")), payload_part()),
    ),
    Row(
        "7b_not_unsolicited",
        500,
        "Unsolicited messaging not supported for this interaction",
        multipart(header_part(envelope(RefToMessageId=None, Action="QUPC_IN160101UK05")), payload_part()),
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
async def test_row_of_3_1(row: Row) -> None:
    """Refused with the literal text; nothing is kept but the audit's record."""
    context = await adaptor(interactions=GP2GP)
    await remember(context)
    answered = await post(context, row.body, content_type=row.type)
    assert (answered.status, answered.text) == (row.status, f"{row.status}: {row.text}")
    assert answered.headers["content-type"] == "text/plain"
    assert await queued(context) == []
    assert (await state(context)).history == ()
    assert await context.store.find_message(REPLY_ID) is None
    (record,) = await audited(context)
    assert record.entry.content["outcome"] == str(row.status)


async def test_row_of_3_1_method() -> None:
    answered = await post(await adaptor(), method="GET")
    assert (answered.status, answered.text) == (405, "405: Method Not Allowed")
    assert answered.headers["allow"] == "POST"


async def test_row_6b_store_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is acknowledged that is not durable. 50 §3.1 row 6b."""
    context = await adaptor()
    await remember(context)

    async def down(_work: object) -> None:
        raise StoreUnavailable("the disk is full")

    monkeypatch.setattr(context.store, "transact", down)
    answered = await post(context)
    assert (answered.status, answered.text) == (500, "500: Exception in workflow")


async def test_row_6b_reply_to_a_synchronous_message() -> None:
    context = await adaptor()
    await remember(context, workflow=Workflow.SYNC)
    answered = await post(context)
    assert (answered.status, answered.text) == (500, "500: Exception in workflow")


async def test_row_8_solicited() -> None:
    """A reply is queued, its state changed, and an Acknowledgment answered."""
    context = await adaptor()
    await remember(context, outbound_status=OutboundStatus.ACKD)
    answered = await post(context)
    assert answered.status == 200
    assert answered.headers["soapaction"] == "urn:oasis:names:tc:ebxml-msg:service/Acknowledgment"
    (message,) = await queued(context)
    assert message.message_id == REQUEST_ID
    row = await state(context)
    assert row.inbound_status is InboundStatus.PROCESSED
    assert row.outbound_status is OutboundStatus.ACKD


@pytest.mark.parametrize("header", [ACK_REQUESTED, ""], ids=["asked", "not asked"])
async def test_row_8_acknowledged_whether_or_not_it_was_asked_for(header: str) -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, multipart(header_part(envelope(header=header)), payload_part()))
    assert answered.status == 200
    assert b"<eb:Acknowledgment " in answered.body


async def test_row_7c_unsolicited() -> None:
    """A message that nobody asked for has a row of its own, under its own id."""
    context = await adaptor(interactions=GP2GP)
    body = multipart(header_part(envelope(RefToMessageId=None, Action=FORWARD)), payload_part())
    answered = await post(context, body)
    assert answered.status == 200
    (message,) = await queued(context)
    assert message.message_id == REPLY_ID
    row = await state(context, REPLY_ID)
    assert row.workflow is Workflow.FORWARD_RELIABLE
    assert [change.status for change in row.history] == [
        InboundStatus.UNSOLICITED_RECEIVED,
        InboundStatus.UNSOLICITED_PROCESSED,
    ]
    assert row.outbound_status is None


async def test_unsolicited_message_to_oneself_keeps_the_state_of_its_sending() -> None:
    context = await adaptor(interactions=GP2GP)
    sent = {"workflow": Workflow.FORWARD_RELIABLE, "outbound_status": OutboundStatus.ACKD}
    await remember(context, message_id=REPLY_ID, **sent)
    body = multipart(header_part(envelope(RefToMessageId=None, Action=FORWARD, From=PARTY_KEY)), payload_part())
    assert (await post(context, body)).status == 200
    row = await state(context, REPLY_ID)
    assert row.outbound_status is OutboundStatus.ACKD
    assert row.inbound_status is InboundStatus.UNSOLICITED_PROCESSED


async def test_unsolicited_message_with_the_id_of_one_of_ours_changes_nothing() -> None:
    context = await adaptor(interactions=GP2GP)
    before = await remember(context, message_id=REPLY_ID, outbound_status=OutboundStatus.RECEIVED)
    body = multipart(header_part(envelope(RefToMessageId=None, Action=FORWARD)), payload_part())
    answered = await post(context, body)
    assert (answered.status, answered.text) == (500, "500: Exception in workflow")
    assert await state(context, REPLY_ID) == before
    assert await queued(context) == []


async def test_row_4_fixed_f9_message_without_manifest_or_payload_has_an_empty_payload() -> None:
    context = await adaptor()
    await remember(context)
    assert (await post(context, multipart(header_part(envelope(references=None))))).status == 200
    (message,) = await queued(context)
    assert b'"payload":"","attachments":[],"external_attachments":[]' in message.body


async def test_a_payload_is_found_by_what_the_manifest_marks_as_payload() -> None:
    context = await adaptor()
    await remember(context)
    references = reference("cid:a@x", description="letter") + reference("cid:payload@spine.nhs.uk", payload=True)
    other = payload_part("hello", id="a@x", type="text/plain")
    await post(context, multipart(header_part(envelope(references=references)), other, payload_part()))
    assert (await only_message(context)).payload == PAYLOAD
