"""What inbound logs at level AUDIT, with the ids of the message. Spec: 50 §9, C7."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs
from tests.mhs.inbound.posting import (
    CONVERSATION,
    REPLY_ID,
    REQUEST_ID,
    adaptor,
    envelope,
    header_part,
    multipart,
    payload_part,
    post,
    remember,
)

from openscr.codes import SERVICE_PREFIX
from openscr.mhs.context import AdaptorContext
from openscr.mhs.interactions import Interaction
from openscr.mhs.states import Workflow

FORWARD = "COPC_IN000001UK01"
GP2GP = {FORWARD: Interaction(FORWARD, f"{SERVICE_PREFIX}gp2gp", Workflow.FORWARD_RELIABLE, False)}
UNSOLICITED = multipart(header_part(envelope(Action=FORWARD, RefToMessageId=None)), payload_part())


async def lines(context: AdaptorContext, body: bytes | None = None, status: int = 200) -> list[dict[str, Any]]:
    """Post a message; return what was logged at level AUDIT."""
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        answered = await post(context, body)
    assert answered.status == status
    return [dict(line) for line in logs if line.get("audit")]


@pytest.mark.parametrize("workflow", ["async-express", "async-reliable", "forward-reliable"])
async def test_c7_a_reply(workflow: str) -> None:
    context = await adaptor()
    await remember(context, workflow=Workflow(workflow))
    invoked, completed = await lines(context)
    assert invoked["event"] == f"WorkflowName={workflow} inbound workflow invoked. Message received from spine"
    assert completed["event"] == (
        f"WorkflowName={workflow} inbound workflow completed. Message placed on queue, returning "
        "Acknowledgement=MessageStatus.INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED to spine"
    )
    for line in (invoked, completed):
        assert line["component"] == "inbound"
        assert line["message_id"] == REQUEST_ID
        assert line["inbound_message_id"] == REPLY_ID
        assert line["correlation_id"] == CONVERSATION
        assert line["interaction_id"] == "MCCI_IN010000UK13"


async def test_c7_a_message_that_nobody_asked_for() -> None:
    context = await adaptor(interactions=GP2GP)
    assert [line["event"] for line in await lines(context, UNSOLICITED)] == [
        "Unsolicited inbound WorkflowName=forward-reliable workflow invoked.",
        "WorkflowName=forward-reliable workflow invoked for inbound unsolicited request. Attempted to place message "
        "onto inbound queue with Acknowledgement=MessageStatus.UNSOLICITED_INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED.",
    ]


async def test_c7_none_of_a_reply_that_is_waited_for() -> None:
    context = await adaptor()
    await remember(context, workflow=Workflow.SYNC_ASYNC)
    assert await lines(context) == []


async def test_c7_none_of_what_is_not_taken_and_none_twice() -> None:
    context = await adaptor()
    assert await lines(context, status=500) == []
    await remember(context)
    assert len(await lines(context)) == 2
    assert await lines(context) == []
