"""What outbound logs at level AUDIT, and when the Spine counts as having taken a message. Spec: 50 §9, C7, F18."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from mhs.stub_spine import StubSpine, acknowledge, answer, break_off, fault
from mhs.workflows.adaptor import EXPRESS, FORWARD, ONCE, QUERY, SHORTLY, UPLOAD, StartAdaptor
from mhs.workflows.test_synchronous import EVENTS, WRAPPERS, enveloped
from openscr.mhs.interactions import Interaction

SYNC_INVOKED = "Outbound Synchronous workflow invoked."
SYNC_COMPLETED = (
    "Outbound Synchronous workflow completed. Message sent to Spine and "
    "Acknowledgment=MessageStatus.OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED received."
)
COMPLETED = (
    "WorkflowName={} outbound workflow invoked. Message sent to Spine and "
    "Acknowledgment=MessageStatus.OUTBOUND_MESSAGE_ACKD received."
)
INVOKED = {
    "async-express": "WorkflowName=async-express outbound workflow invoked.",
    "async-reliable": "Outbound WorkflowName=async-reliable workflow invoked.",
    "forward-reliable": "Outbound WorkflowName=forward-reliable workflow invoked.",
}
ASYNC = pytest.mark.parametrize("interaction", [EXPRESS, UPLOAD, FORWARD], ids=lambda each: each.workflow)


def audited(logs: Any) -> list[str]:
    return [line["event"] for line in logs if line.get("audit") and line["component"] == "outbound"]


@ASYNC
async def test_c7_a_message_that_is_taken(start: StartAdaptor, spine: StubSpine, interaction: Interaction) -> None:
    spine.script(acknowledge)
    adaptor = await start()
    with capture_logs() as logs:
        assert (await adaptor.send(interaction)).status == 202
    assert audited(logs) == [INVOKED[interaction.workflow], COMPLETED.format(interaction.workflow)]
    assert adaptor.context.figures.last_spine_success is not None


@ASYNC
@pytest.mark.parametrize("behaviour", [fault(), break_off], ids=["fault", "network"])
async def test_c7_a_message_that_is_not(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction, behaviour: Any
) -> None:
    spine.script(*[behaviour] * 10)
    adaptor = await start(contract=ONCE)
    with capture_logs() as logs:
        assert (await adaptor.send(interaction)).status == 500
    assert audited(logs) == [INVOKED[interaction.workflow]]
    assert adaptor.context.figures.last_spine_success is None


async def test_c7_a_message_that_is_taken_at_last_is_told_once(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(break_off, break_off, acknowledge)
    adaptor = await start(contract=SHORTLY)
    with capture_logs() as logs:
        assert (await adaptor.send(UPLOAD)).status == 202
    assert audited(logs) == [INVOKED["async-reliable"], COMPLETED.format("async-reliable")]


async def test_c7_a_synchronous_answer(start: StartAdaptor, spine: StubSpine) -> None:
    wrapper = WRAPPERS["psis list"]
    spine.script(answer(200, enveloped(wrapper + EVENTS + b"</psis:eventListQueryResponse>")))
    adaptor = await start()
    with capture_logs() as logs:
        assert (await adaptor.send(QUERY)).status == 200
    assert audited(logs) == [SYNC_INVOKED, SYNC_COMPLETED]
    assert adaptor.context.figures.last_spine_success is not None


async def test_c7_a_fault_is_an_answer_and_no_success(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(fault())
    adaptor = await start()
    with capture_logs() as logs:
        assert (await adaptor.send(QUERY)).status == 500
    assert audited(logs) == [SYNC_INVOKED, SYNC_COMPLETED]
    assert adaptor.context.figures.last_spine_success is None


async def test_c7_no_answer(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(break_off)
    adaptor = await start()
    with capture_logs() as logs:
        assert (await adaptor.send(QUERY)).status == 500
    assert audited(logs) == [SYNC_INVOKED]


async def test_no_line_quotes_the_message(start: StartAdaptor, spine: StubSpine) -> None:
    """Nor an answer's own words, nor an address's. Spec: 50 L28."""
    spine.script(fault("200"), fault("300"))
    adaptor = await start(contract=SHORTLY)
    with capture_logs() as logged:
        await adaptor.send(UPLOAD, payload="<a>9990000018</a>")
    assert logged
    assert "9990000018" not in str(logged)
    assert "<a>" not in str(logged)
