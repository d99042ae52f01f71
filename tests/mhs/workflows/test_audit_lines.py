"""The lines at level AUDIT that a message leaves, each once, and none of failures. Spec: 50 §9."""

import pytest
import structlog

from mhs.stub_spine import Behaviour, StubSpine, acknowledge, answer, fault
from mhs.workflows.adaptor import EXPRESS, FORWARD, ONCE, QUERY, SHORTLY, UPLOAD, StartAdaptor
from openscr.errors import EndpointUnknown
from openscr.mhs.interactions import Interaction


def lines_of(logged: list[structlog.typing.EventDict]) -> list[str]:
    return [entry["event"] for entry in logged if entry.get("audit")]


TAKEN = "Message sent to Spine and Acknowledgment=MessageStatus.OUTBOUND_MESSAGE_ACKD received."
LINES = {
    QUERY: (
        "Outbound Synchronous workflow invoked.",
        "Outbound Synchronous workflow completed. Message sent to Spine and "
        "Acknowledgment=MessageStatus.OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED received.",
    ),
    EXPRESS: (
        "WorkflowName=async-express outbound workflow invoked.",
        f"WorkflowName=async-express outbound workflow invoked. {TAKEN}",
    ),
    UPLOAD: (
        "Outbound WorkflowName=async-reliable workflow invoked.",
        f"WorkflowName=async-reliable outbound workflow invoked. {TAKEN}",
    ),
    FORWARD: (
        "Outbound WorkflowName=forward-reliable workflow invoked.",
        f"WorkflowName=forward-reliable outbound workflow invoked. {TAKEN}",
    ),
}


@pytest.mark.parametrize("interaction", LINES, ids=lambda each: each.workflow)
async def test_a_message_leaves_two_lines(start: StartAdaptor, spine: StubSpine, interaction: Interaction) -> None:
    """However often it was sent."""
    behaviours: tuple[Behaviour, ...] = (fault("200"), acknowledge)
    spine.script(*((answer(202),) if interaction is QUERY else behaviours[interaction is EXPRESS :]))
    adaptor = await start(contract=SHORTLY)
    with structlog.testing.capture_logs() as logged:
        assert (await adaptor.send(interaction)).status == 202
    assert lines_of(logged) == list(LINES[interaction])


@pytest.mark.parametrize("interaction", LINES, ids=lambda each: each.workflow)
async def test_a_failure_leaves_no_second_line(start: StartAdaptor, interaction: Interaction) -> None:
    adaptor = await start(contract=ONCE)
    adaptor.routes.error = EndpointUnknown("nowhere")
    with structlog.testing.capture_logs() as logged:
        assert (await adaptor.send(interaction)).status == 500
    assert lines_of(logged) == [LINES[interaction][0]]


async def test_no_line_quotes_the_message(start: StartAdaptor, spine: StubSpine) -> None:
    """Nor an answer's own words, nor an address's. Spec: 50 L28."""
    spine.script(fault("200"), fault("300"))
    adaptor = await start(contract=SHORTLY)
    with structlog.testing.capture_logs() as logged:
        await adaptor.send(UPLOAD, payload="<a>9990000018</a>")
    assert logged
    assert "9990000018" not in str(logged)
    assert "<a>" not in str(logged)
