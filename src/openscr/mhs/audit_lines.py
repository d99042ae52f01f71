"""The lines that the NHS adaptor logs at level AUDIT, word for word; who reads them counts on the words.

What is kept for good, and says of failures too, is `openscr.mhs.audit`.

Spec: 50 §9, C7.
"""

from typing import Final

from openscr.mhs.logs import log_audit
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow

_SYNC_COMPLETED: Final = (
    "Outbound Synchronous workflow completed. Message sent to Spine and "
    f"Acknowledgment=MessageStatus.{OutboundStatus.SYNC_RESPONSE_RECEIVED} received."
)
_UNSOLICITED_COMPLETED: Final = (
    f"WorkflowName={Workflow.FORWARD_RELIABLE} workflow invoked for inbound unsolicited request. "
    "Attempted to place message onto inbound queue with "
    f"Acknowledgement=MessageStatus.{InboundStatus.UNSOLICITED_PROCESSED}."
)


def outbound_invoked(workflow: Workflow) -> None:
    """Say that a message is about to be sent; of ``sync-async`` the workflow that it is sent by."""
    if workflow is Workflow.SYNC:
        log_audit("outbound", "Outbound Synchronous workflow invoked.")
    elif workflow is Workflow.ASYNC_EXPRESS:
        log_audit("outbound", f"WorkflowName={workflow} outbound workflow invoked.")
    else:
        log_audit("outbound", f"Outbound WorkflowName={workflow} workflow invoked.")


def outbound_completed(workflow: Workflow) -> None:
    """Say that the Spine has answered a synchronous message, or taken an asynchronous one."""
    if workflow is Workflow.SYNC:
        log_audit("outbound", _SYNC_COMPLETED)
    else:
        log_audit(
            "outbound",
            f"WorkflowName={workflow} outbound workflow invoked. Message sent to Spine and "
            f"Acknowledgment=MessageStatus.{OutboundStatus.ACKD} received.",
        )


def inbound_invoked(workflow: Workflow) -> None:
    """Say that the reply to an asynchronous message has come; not for one that a caller waits for."""
    log_audit("inbound", f"WorkflowName={workflow} inbound workflow invoked. Message received from spine")


def inbound_completed(workflow: Workflow) -> None:
    """Say that this reply is on the queue."""
    log_audit(
        "inbound",
        f"WorkflowName={workflow} inbound workflow completed. Message placed on queue, "
        f"returning Acknowledgement=MessageStatus.{InboundStatus.PROCESSED} to spine",
    )


def unsolicited_invoked() -> None:
    """Say that a message has come that answers none of ours."""
    log_audit("inbound", f"Unsolicited inbound WorkflowName={Workflow.FORWARD_RELIABLE} workflow invoked.")


def unsolicited_completed() -> None:
    """Say that this message is on the queue."""
    log_audit("inbound", _UNSOLICITED_COMPLETED)
