"""What inbound answers, byte for byte, and the signals that it takes: 50 §3.2, §3.3, F9, F14."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from mhs.inbound.posting import (
    CONTENT_TYPE,
    CONVERSATION,
    REPLY_ID,
    REQUEST_ID,
    SIGNALS,
    Answered,
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
from mhs.rig import PARTY_KEY, SPINE_PARTY
from openscr.codes import ACTOR_TO_PARTY, EB_NS, SOAP_NS
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue_message import InboundMessage, read_inbound_message
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import ReplyRow, SendingRow, SendState, Transaction
from shared import MESSAGES

SOMEBODY = '<eb:PartyId eb:type="urn:nhs:names:partyType:ocs+serviceInstance">{}</eb:PartyId>'
US, THEM = SOMEBODY.format(PARTY_KEY), SOMEBODY.format(SPINE_PARTY)
NOW = "2026-11-23T12:00:00Z"
ACKNOWLEDGMENT = (
    f'<eb:Acknowledgment eb:version="2.0" soap:mustUnderstand="1" soap:actor="{ACTOR_TO_PARTY}">'
    f"<eb:Timestamp>{NOW}</eb:Timestamp><eb:RefToMessageId>{REPLY_ID}</eb:RefToMessageId>"
    f"<eb:From>{US}</eb:From></eb:Acknowledgment>"
)
REFUSAL = (
    '<eb:ErrorList eb:version="2.0" soap:mustUnderstand="1" eb:highestSeverity="Error">'
    '<eb:Error eb:codeContext="urn:oasis:names:tc:ebxml-msg:service:errors" eb:errorCode="ValueNotRecognized" '
    'eb:severity="Error"><eb:Description xml:lang="en-GB">501314:Invalid To Party Type attribute</eb:Description>'
    "</eb:Error></eb:ErrorList>"
)


def a_signal(action: str, own_id: str, block: str, body: str = "<soap:Body/>") -> str:
    """The whole document of a signal about the message of the tests."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<soap:Envelope xmlns:soap="{SOAP_NS}" xmlns:eb="{EB_NS}"><soap:Header>'
        '<eb:MessageHeader eb:version="2.0" soap:mustUnderstand="1">'
        f"<eb:From>{US}</eb:From><eb:To>{THEM}</eb:To><eb:CPAId>S20001A000182</eb:CPAId>"
        f"<eb:ConversationId>{CONVERSATION}</eb:ConversationId>"
        f"<eb:Service>{SIGNALS}</eb:Service><eb:Action>{action}</eb:Action>"
        f"<eb:MessageData><eb:MessageId>{own_id}</eb:MessageId><eb:Timestamp>{NOW}</eb:Timestamp>"
        f"<eb:RefToMessageId>{REPLY_ID}</eb:RefToMessageId></eb:MessageData></eb:MessageHeader>"
        f"{block}</soap:Header>{body}</soap:Envelope>"
    )


def own_id_of(answered: Answered) -> str:
    return answered.text.partition("<eb:MessageId>")[2].partition("<")[0]


async def test_acknowledgment_of_3_2_and_f14_its_time_is_now() -> None:
    """The timestamps of the received message are of 2020; none of them is copied."""
    context = await adaptor()
    await remember(context)
    answered = await post(context)
    assert answered.status == 200
    assert answered.headers == {
        "content-length": str(len(answered.body)),
        "content-type": "text/xml",
        "charset": "UTF-8",
        "soapaction": f"{SIGNALS}/Acknowledgment",
    }
    assert answered.text == a_signal("Acknowledgment", own_id_of(answered), ACKNOWLEDGMENT)


async def test_acknowledgment_escapes_what_it_repeats() -> None:
    """F23: what a message is called may hold mark-up."""
    context = await adaptor()
    await remember(context)
    body = multipart(header_part(envelope(ConversationId="&lt;a&gt;&amp;", CPAId="&quot;&lt;")), payload_part())
    answered = await post(context, body)
    assert "<eb:ConversationId>&lt;a&gt;&amp;</eb:ConversationId>" in answered.text
    assert "<eb:CPAId>&quot;&lt;</eb:CPAId>" in answered.text


async def test_message_error_of_3_3_for_a_wrong_recipient_and_nothing_is_stored() -> None:
    context = await adaptor()
    await remember(context)
    answered = await post(context, multipart(header_part(envelope(To="SOMEBODY-ELSE")), payload_part()))
    assert answered.status == 200
    assert answered.headers["soapaction"] == f"{SIGNALS}/MessageError"
    assert answered.headers["charset"] == "UTF-8"
    assert answered.text == a_signal("MessageError", own_id_of(answered), REFUSAL)
    assert await queued(context) == []
    assert (await state(context)).history == ()
    # It may come again, to the right one.
    assert (await post(context)).headers["soapaction"] == f"{SIGNALS}/Acknowledgment"


# --- F9: messages of the message service ----------------------------------------------------------------------------


def of_partner(action: str, header: str = "", *, content: str = "", **changes: str | None) -> bytes:
    """A message of the message service that a partner sends."""
    values: dict[str, str | None] = {"Service": SIGNALS, "Action": action, **changes}
    return envelope(references=None, header=header, content=content, **values).encode()


def acknowledging(message_id: str = REQUEST_ID) -> str:
    return (
        f'<eb:Acknowledgment eb:version="2.0"><eb:RefToMessageId>{message_id}</eb:RefToMessageId></eb:Acknowledgment>'
    )


def complaining(code: str = "ValueNotRecognized") -> str:
    return (
        f'<eb:ErrorList eb:version="2.0" eb:highestSeverity="Error"><eb:Error eb:errorCode="{code}" '
        'eb:severity="Error"><eb:Description>501319:Unknown eb:CPAId</eb:Description></eb:Error></eb:ErrorList>'
    )


async def being_sent(context: AdaptorContext) -> None:
    """Keep that the message of the tests is still to be sent."""
    row = SendingRow(REQUEST_ID, "https://spine.test", (), b"x", retries=2, retry_interval=60, persist_duration=300)

    async def put(transaction: Transaction) -> None:
        await transaction.put_sending(row)

    await context.store.transact(put)


async def reply_of(context: AdaptorContext) -> ReplyRow | None:
    async def find(transaction: Transaction) -> ReplyRow | None:
        return await transaction.find_reply(REQUEST_ID)

    return await context.store.transact(find)


async def sending_of(context: AdaptorContext) -> SendingRow | None:
    async def find(transaction: Transaction) -> SendingRow | None:
        return await transaction.find_sending(REQUEST_ID)

    return await context.store.transact(find)


@pytest.mark.parametrize(
    "before", [OutboundStatus.RECEIVED, OutboundStatus.TRANSMISSION_FAILED, OutboundStatus.NACKD, OutboundStatus.ACKD]
)
async def test_f9_acknowledgment_that_comes_alone(before: OutboundStatus) -> None:
    """It sets the state of its message, which is sent no more; 200, empty."""
    context = await adaptor()
    await remember(context, outbound_status=before)
    await being_sent(context)
    answered = await post(context, of_partner("Acknowledgment", acknowledging()), content_type="text/xml")
    assert (answered.status, answered.body) == (200, b"")
    assert answered.headers == {"content-length": "0", "content-type": "text/xml"}
    row = await state(context)
    assert row.outbound_status is OutboundStatus.ACKD
    assert row.inbound_status is None
    assert await sending_of(context) is None
    assert await queued(context) == []


async def test_f9_late_acknowledgment_of_the_specification_example() -> None:
    body = (MESSAGES / "transport" / "26-forward-reliable-late-ack-post.http").read_bytes().partition(b"\r\n\r\n")[2]
    context = await adaptor(secret_party_key="B99901-900101")
    await remember(
        context,
        message_id="9C8B7A69-5847-4635-9423-12F0E1D2BB0D",
        workflow=Workflow.FORWARD_RELIABLE,
        outbound_status=OutboundStatus.RECEIVED,
    )
    answered = await post(
        context, body, content_type="text/xml", soapaction="urn:urn:oasis:names:tc:ebxml-msg:service/Acknowledgment"
    )
    assert (answered.status, answered.body) == (200, b"")
    row = await state(context, "9C8B7A69-5847-4635-9423-12F0E1D2BB0D")
    assert row.outbound_status is OutboundStatus.ACKD


@pytest.mark.parametrize(
    ("action", "header"), [("Acknowledgment", acknowledging()), ("MessageError", complaining())], ids=["ack", "error"]
)
async def test_f9_what_another_party_says_of_a_message_changes_nothing(action: str, header: str) -> None:
    """Only who was sent a message can end its sending."""
    context = await adaptor()
    await remember(context, outbound_status=OutboundStatus.RECEIVED, to_party=SPINE_PARTY)
    await being_sent(context)
    stranger = await post(context, of_partner(action, header, From="X99999-1"), content_type="text/xml")
    assert (stranger.status, stranger.body) == (200, b"")
    assert (await state(context)).outbound_status is OutboundStatus.RECEIVED
    sending = await sending_of(context)
    assert sending is not None
    assert sending.state is SendState.OPEN
    assert await queued(context) == []
    await post(context, of_partner(action, header, From=SPINE_PARTY.lower()), content_type="text/xml")
    assert (await state(context)).outbound_status is not OutboundStatus.RECEIVED


async def test_f9_an_intermediary_may_speak_of_what_it_forwards() -> None:
    context = await adaptor()
    values = {"to_party": "B99901-900101", "interaction": "COPC_IN000001UK01", "workflow": Workflow.FORWARD_RELIABLE}
    await remember(context, outbound_status=OutboundStatus.RECEIVED, **values)
    await post(context, of_partner("Acknowledgment", acknowledging()), content_type="text/xml")
    assert (await state(context)).outbound_status is OutboundStatus.ACKD


async def test_f9_acknowledgment_changes_no_answer_that_a_caller_has_had() -> None:
    context = await adaptor()
    await remember(context, workflow=Workflow.SYNC_ASYNC, outbound_status=OutboundStatus.SYNC_ASYNC_RESPONDED)
    await post(context, of_partner("Acknowledgment", acknowledging()), content_type="text/xml")
    assert (await state(context)).outbound_status is OutboundStatus.SYNC_ASYNC_RESPONDED


async def test_f9_message_error_that_comes_alone() -> None:
    """It sets the state, is put on the queue as ebXML alone, and once only."""
    context = await adaptor()
    await remember(context, outbound_status=OutboundStatus.ACKD)
    await being_sent(context)
    body = of_partner("MessageError", complaining())
    for _ in range(2):
        answered = await post(context, body, content_type="text/xml;charset=UTF-8")
        assert (answered.status, answered.body) == (200, b"")
    row = await state(context)
    assert row.outbound_status is OutboundStatus.NACKD
    assert row.last_error == "MessageError ValueNotRecognized"
    sending = await sending_of(context)
    assert sending is not None
    assert sending.state is SendState.FAILED, "its supplier may want it sent again, F19"
    (message,) = await queued(context)
    assert message.properties == {"message-id": REQUEST_ID, "correlation-id": CONVERSATION}
    read = await only_message(context)
    assert (read.ebxml, read.payload, read.attachments, read.external_attachments) == (body.decode(), "", (), ())


async def test_f9_message_error_is_for_whoever_waits_for_the_reply() -> None:
    """There will be no other reply: the caller has it at once, and the queue only if there is none to have it."""
    context = await adaptor()
    until = context.clock() + timedelta(seconds=20)
    await remember(context, workflow=Workflow.SYNC_ASYNC, outbound_status=OutboundStatus.ACKD, waits_until=until)
    caller = asyncio.create_task(context.replies.wait(REQUEST_ID, lambda: reply_of(context), seconds=60, interval=60))
    await asyncio.sleep(0)
    body = of_partner("MessageError", complaining())
    await post(context, body, content_type="text/xml")
    kept = await caller
    assert kept is not None
    assert read_inbound_message(kept.body) == InboundMessage(body.decode(), "")
    assert (await state(context)).outbound_status is OutboundStatus.NACKD
    assert await queued(context) == []
    # The caller has one reply already.
    await post(context, of_partner("MessageError", complaining(), MessageId="ANOTHER"), content_type="text/xml")
    (message,) = await queued(context)
    assert message.late


async def test_f9_message_error_with_a_code_of_its_own_making_is_not_repeated() -> None:
    context = await adaptor()
    await remember(context)
    await post(context, of_partner("MessageError", complaining("Mrs Smith 9990000018")), content_type="text/xml")
    assert (await state(context)).last_error == "MessageError with an unknown code"


@pytest.mark.parametrize("kind", ["Acknowledgment", "MessageError"])
@pytest.mark.parametrize("framed", ["alone", "in a multipart"])
async def test_f9_signal_about_nothing_that_we_know(kind: str, framed: str) -> None:
    """Answered 200 all the same: nothing would be better if it came again. 40 §9."""
    context = await adaptor()
    block = acknowledging() if kind == "Acknowledgment" else complaining()
    body = of_partner(kind, block)
    if framed == "alone":
        answered = await post(context, body, content_type="text/xml")
    else:
        answered = await post(context, multipart(header_part(body)))
    assert (answered.status, answered.body) == (200, b"")
    assert await queued(context) == []
    (record,) = await audited(context)
    assert record.entry.content["outcome"] == "unknown-reference"


async def test_f9_signal_to_somebody_else_is_not_answered_by_a_signal() -> None:
    context = await adaptor()
    await remember(context)
    body = of_partner("MessageError", complaining(), To="SOMEBODY-ELSE")
    answered = await post(context, body, content_type="text/xml")
    assert (answered.status, answered.body) == (200, b"")
    assert (await state(context)).outbound_status is None


async def test_f9_ping_is_answered_by_a_pong() -> None:
    context = await adaptor()
    answered = await post(context, of_partner("Ping", RefToMessageId=None), content_type="text/xml")
    assert answered.status == 200
    assert answered.headers["soapaction"] == f"{SIGNALS}/Pong"
    assert answered.text == a_signal("Pong", own_id_of(answered), "")


def asking(message_id: str) -> str:
    return f'<eb:StatusRequest eb:version="2.0"><eb:RefToMessageId>{message_id}</eb:RefToMessageId></eb:StatusRequest>'


async def test_f9_status_request_is_answered_by_what_has_come() -> None:
    context = await adaptor()
    await remember(context)
    question = of_partner("StatusRequest", content=asking(REPLY_ID), RefToMessageId=None, MessageId="A-QUESTION")
    before = await post(context, question, content_type="text/xml")
    assert before.headers["soapaction"] == f"{SIGNALS}/StatusResponse"
    assert f'eb:messageStatus="NotRecognized"><eb:RefToMessageId>{REPLY_ID}</eb:RefToMessageId></eb:S' in before.text
    await post(context)
    context.clock.now = datetime(2026, 11, 23, 13, tzinfo=UTC)  # type: ignore[attr-defined]
    after = await post(context, question, content_type="text/xml")
    assert (
        '<soap:Body><eb:StatusResponse eb:version="2.0" eb:messageStatus="Received">'
        f"<eb:RefToMessageId>{REPLY_ID}</eb:RefToMessageId><eb:Timestamp>{NOW}</eb:Timestamp></eb:StatusResponse>"
    ) in after.text
    assert "<eb:RefToMessageId>A-QUESTION</eb:RefToMessageId></eb:MessageData>" in after.text
    # Nobody is told of other parties' messages.
    stranger = of_partner("StatusRequest", content=asking(REPLY_ID), RefToMessageId=None, From="OTHER-1")
    assert b"NotRecognized" in (await post(context, stranger, content_type="text/xml")).body


async def test_f9_single_part_message_of_a_user_has_an_empty_payload() -> None:
    context = await adaptor()
    await remember(context)
    references = reference("mid:OTHER", description='Filename="a=b.txt"', id="_1")
    body = envelope(references=references)
    answered = await post(context, body.encode(), content_type="application/xml")
    assert answered.headers["soapaction"] == f"{SIGNALS}/Acknowledgment"
    message = await only_message(context)
    assert (message.ebxml, message.payload) == (body, "")
    assert [(each.message_id, each.title) for each in message.external_attachments] == [("OTHER", "a=b.txt")]


async def test_a_message_with_an_error_list_in_a_multipart_is_still_a_message() -> None:
    """Warnings may travel with a reply."""
    context = await adaptor()
    await remember(context)
    body = multipart(header_part(envelope(header=complaining())), payload_part())
    answered = await post(context, body, content_type=CONTENT_TYPE)
    assert answered.headers["soapaction"] == f"{SIGNALS}/Acknowledgment"
    assert len(await queued(context)) == 1
