"""What inbound logs: the reference's audit lines, the ids of 50 §9, and nothing of any message. Spec: 50 C7, L28."""

import structlog
from structlog.testing import capture_logs

from mhs.inbound.posting import (
    CONVERSATION,
    REPLY_ID,
    REQUEST_ID,
    MimePart,
    adaptor,
    audited,
    envelope,
    header_part,
    multipart,
    payload_part,
    post,
    reference,
    remember,
)
from openscr.mhs.context import AdaptorContext
from openscr.mhs.interactions import Interaction
from openscr.mhs.states import Workflow

FORWARD = "COPC_IN000001UK01"
GP2GP = {FORWARD: Interaction(FORWARD, "urn:nhs:names:services:gp2gp", Workflow.FORWARD_RELIABLE, False)}
PATIENT = "9990000018"
SECRET = f"Mrs Ælfgifu Smith {PATIENT}"


async def lines_of(context: AdaptorContext, body: bytes) -> list[dict[str, object]]:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        await post(context, body)
    return [dict(line) for line in lines]


async def audit_lines_of(context: AdaptorContext, body: bytes) -> list[object]:
    return [line["event"] for line in await lines_of(context, body) if "audit" in line]


async def test_c7_audit_lines_of_a_reply() -> None:
    context = await adaptor()
    await remember(context)
    assert await audit_lines_of(context, multipart()) == [
        "WorkflowName=async-reliable inbound workflow invoked. Message received from spine",
        "WorkflowName=async-reliable inbound workflow completed. Message placed on queue, "
        "returning Acknowledgement=MessageStatus.INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED to spine",
    ]
    assert await audit_lines_of(context, multipart()) == [], "a repetition is queued no more"


async def test_c7_audit_lines_of_a_message_that_nobody_asked_for() -> None:
    context = await adaptor(interactions=GP2GP)
    body = multipart(header_part(envelope(RefToMessageId=None, Action=FORWARD)), payload_part())
    assert await audit_lines_of(context, body) == [
        "Unsolicited inbound WorkflowName=forward-reliable workflow invoked.",
        "WorkflowName=forward-reliable workflow invoked for inbound unsolicited request. Attempted to place message "
        "onto inbound queue with Acknowledgement=MessageStatus.UNSOLICITED_INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED.",
    ]


async def test_c7_no_audit_line_of_a_caller_who_waits_and_none_of_a_failure() -> None:
    context = await adaptor()
    assert await audit_lines_of(context, multipart()) == []
    await remember(context, workflow=Workflow.SYNC_ASYNC)
    assert await audit_lines_of(context, multipart()) == []


async def test_c7_ids_of_an_exchange_stand_on_its_lines() -> None:
    context = await adaptor()
    await remember(context)
    for line in await lines_of(context, multipart()):
        assert line["interaction_id"] == "MCCI_IN010000UK13"
        assert line["message_id"] == REQUEST_ID
        assert line["correlation_id"] == CONVERSATION
        assert line["inbound_message_id"] == REPLY_ID
    assert structlog.contextvars.get_contextvars() == {}


async def test_l28_nothing_of_a_message_is_logged_whatever_becomes_of_it() -> None:
    """Wherever a stranger puts it."""
    context = await adaptor(interactions=GP2GP)
    await remember(context)
    secret_payload = payload_part(f"<a>{SECRET}</a>")
    references = reference("cid:a@x", description=SECRET) + reference(f"mid:{SECRET}", description=SECRET, id=SECRET)
    attached = MimePart(SECRET.encode(), id="a@x", type="text/plain")
    bodies = [
        multipart(header_part(envelope(references=references)), secret_payload, attached),
        multipart(header_part(envelope(MessageId=SECRET)), secret_payload),
        multipart(header_part(envelope(ConversationId=SECRET, MessageId="2")), secret_payload),
        multipart(header_part(envelope(RefToMessageId=SECRET)), secret_payload),
        multipart(header_part(envelope(Action=SECRET, RefToMessageId=None)), secret_payload),
        multipart(header_part(envelope(From=SECRET, To=SECRET)), secret_payload),
        multipart(header_part(f"<a>{SECRET}"), secret_payload),
        multipart(header_part(f"<a>{SECRET}</a>"), secret_payload),
        multipart(MimePart(b"x", id=SECRET, type=SECRET, encoding=SECRET)),
        SECRET.encode(),
    ]
    for body in bodies:
        lines = str(await lines_of(context, body))
        assert lines != "[]"
        assert PATIENT not in lines
        assert "Smith" not in lines
    records = str(await audited(context))
    assert not any(word in records for word in (PATIENT, "Smith", "<a>")), "the audit holds ids, and no body"
