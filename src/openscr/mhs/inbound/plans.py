"""What becomes of a message that could be read: decided from the rows of one transaction, changed by nobody here.

Spec: 50 §3.1 steps 6 and 7, §6, F3, F4, F9.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.answers import (
    EXCEPTION_IN_WORKFLOW,
    NOT_FOR_UNSOLICITED,
    UNKNOWN_INTERACTION,
    UNKNOWN_REFERENCE,
    Refused,
)
from openscr.mhs.inbound.reading import Arrived
from openscr.mhs.queue_message import QueueMessage, write_inbound_message
from openscr.mhs.states import NO_LONGER_WAITED_FOR, InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.interface import InboundReceipt, MessageRow, ReplyRow, Transaction
from openscr.transport.ebxml import Envelope, Signal
from openscr.transport.verdict import judge

_UNSETTLED: Final = frozenset(
    {OutboundStatus.RECEIVED, OutboundStatus.TRANSMISSION_FAILED, OutboundStatus.NACKD, OutboundStatus.ACKD}
)
"""Outbound statuses that word of the message's receiver changes; the others tell of the supplier's own answer."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done. ``row`` is the message's state as found, or as it begins.

    ``begins`` is what it becomes before anything leaves us, ``outbound`` and ``ends`` what it is when all is done,
    ``fails`` when the queue did not take the message. ``outcome`` is the word for audit and figures. A ``reply`` is
    kept for who waits for it; ``queue`` goes to the supplier's queue. What the receiver has spoken of is ``heard`` and
    not sent again; what it ``refused`` can be, if its supplier wants it.
    """

    row: MessageRow
    outcome: str
    begins: InboundStatus | None = None
    outbound: OutboundStatus | None = None
    ends: InboundStatus | None = None
    fails: InboundStatus = InboundStatus.FAILED
    last_error: str | None = None
    heard: bool = False
    refused: bool = False
    queue: QueueMessage | None = field(default=None, repr=False)
    reply: ReplyRow | None = field(default=None, repr=False)


async def make_plan(
    transaction: Transaction, arrived: Arrived, context: AdaptorContext, now: datetime
) -> Plan | InboundReceipt | None:
    """Decide. A receipt is that of a message which was taken before; none is a signal about nothing that we know.

    Raises: `Refused`. Spec: 50 §3.1 steps 6 and 7.
    """
    envelope = arrived.envelope
    if envelope.message_id:
        receipt = await transaction.find_receipt(envelope.from_party, envelope.message_id.upper(), now)
        if receipt is not None:
            return receipt
    if arrived.signal is not None:
        row = await transaction.find_message(arrived.signal.ref_to_message_id)
        if row is None or not _is_of_receiver(row, envelope, context):
            return None
        waited_for = await _is_waited_for(transaction, row, now)
        return _plan_signal(row, arrived, arrived.signal, context, now, waited_for=waited_for)
    if envelope.ref_to_message_id is None:
        return await _plan_unsolicited(transaction, arrived, context, now)
    row = await transaction.find_message(envelope.ref_to_message_id)
    if row is None:
        raise Refused(500, UNKNOWN_REFERENCE)
    if row.workflow is Workflow.SYNC:
        raise Refused(500, EXCEPTION_IN_WORKFLOW)
    # Whoever answers a message has taken it, whatever became of our own attempts to hear that. Spec: 40 §6.5.
    heard = _is_of_receiver(row, envelope, context)
    outbound = OutboundStatus.ACKD if heard and row.outbound_status in _UNSETTLED else None
    no_error = "" if outbound is not None else None
    waiting = row.workflow is Workflow.SYNC_ASYNC
    if waiting and await _is_waited_for(transaction, row, now):
        status = InboundStatus.SYNC_ASYNC_STORED
        reply = _reply(row.message_id, arrived, now)
        return Plan(row, status, outbound=outbound, ends=status, last_error=no_error, heard=heard, reply=reply)
    if waiting and not _has_patience(row, now) and row.outbound_status not in NO_LONGER_WAITED_FOR:
        # Its time is over and it was told nothing: it died.
        outbound = OutboundStatus.SYNC_ASYNC_FAILED
    status = InboundStatus.PROCESSED
    queue = _queue_message(row.message_id, arrived, context, now, late=waiting)
    return Plan(row, status, outbound=outbound, ends=status, last_error=no_error, heard=heard, queue=queue)


async def _plan_unsolicited(transaction: Transaction, arrived: Arrived, context: AdaptorContext, now: datetime) -> Plan:
    envelope = arrived.envelope
    interaction = context.interactions.get(envelope.action)
    if interaction is None:
        raise Refused(404, UNKNOWN_INTERACTION, envelope.action)
    if interaction.workflow != Workflow.FORWARD_RELIABLE:
        raise Refused(500, NOT_FOR_UNSOLICITED)
    found = await transaction.find_message(envelope.message_id)
    if found is not None and found.outbound_status is not None and envelope.from_party != envelope.to_party:
        # A message of ours has this id: only we ourselves may send it to us.
        raise Refused(500, EXCEPTION_IN_WORKFLOW)
    row = found or MessageRow(
        envelope.message_id,
        created=now,
        workflow=Workflow.FORWARD_RELIABLE,
        interaction=envelope.action,
        correlation_id=correlation_of(arrived),
        from_party=envelope.from_party,
        to_party=envelope.to_party,
    )
    return Plan(
        row,
        InboundStatus.UNSOLICITED_PROCESSED,
        begins=InboundStatus.UNSOLICITED_RECEIVED,
        ends=InboundStatus.UNSOLICITED_PROCESSED,
        fails=InboundStatus.UNSOLICITED_FAILED,
        queue=_queue_message(envelope.message_id, arrived, context, now, late=False),
    )


def _plan_signal(
    row: MessageRow, arrived: Arrived, signal: Signal, context: AdaptorContext, now: datetime, *, waited_for: bool
) -> Plan:
    unsettled = row.outbound_status in _UNSETTLED
    if signal.kind == "Acknowledgment":
        outbound, no_error = (OutboundStatus.ACKD, "") if unsettled else (None, None)
        return Plan(row, "acknowledgment", outbound=outbound, last_error=no_error, heard=True)
    late = row.workflow is Workflow.SYNC_ASYNC
    return Plan(
        row,
        "message-error",
        outbound=OutboundStatus.NACKD if unsettled else None,
        heard=True,
        refused=True,
        # The words of the table of verdicts, which repeat no code of the partner's own making.
        last_error=judge(200, arrived.message.ebxml.encode(), row.message_id).reason,
        # Whoever waits for a reply has it: there will be no other.
        reply=_reply(row.message_id, arrived, now) if waited_for else None,
        queue=None if waited_for else _queue_message(row.message_id, arrived, context, now, late=late),
    )


def _is_of_receiver(row: MessageRow, envelope: Envelope, context: AdaptorContext) -> bool:
    """Whether a message comes from the party that ours went to, so that it can settle what becomes of ours.

    Of what is forwarded an intermediary may speak too, whose party key nobody tells us.
    """
    interaction = context.interactions.get(row.interaction)
    forwarded = interaction is not None and interaction.workflow == Workflow.FORWARD_RELIABLE
    return forwarded or row.to_party.lower() in ("", envelope.from_party.lower())


async def _is_waited_for(transaction: Transaction, row: MessageRow, now: datetime) -> bool:
    """Whether somebody waits for the reply to a message, who has none yet."""
    return (
        row.workflow is Workflow.SYNC_ASYNC
        and _has_patience(row, now)
        and await transaction.find_reply(row.message_id) is None
    )


def _has_patience(row: MessageRow, now: datetime) -> bool:
    in_time = row.waits_until is not None and row.waits_until >= now
    return in_time and row.outbound_status not in NO_LONGER_WAITED_FOR


def _reply(message_id: str, arrived: Arrived, now: datetime) -> ReplyRow:
    return ReplyRow(message_id, correlation_of(arrived), write_inbound_message(arrived.message), now)


def correlation_of(arrived: Arrived) -> str:
    """Return the ConversationId as a property may carry it: on one line."""
    return " ".join(arrived.envelope.conversation_id.split())


def _queue_message(
    message_id: str, arrived: Arrived, context: AdaptorContext, now: datetime, *, late: bool
) -> QueueMessage:
    body = write_inbound_message(arrived.message)
    return QueueMessage(context.mint(), message_id, correlation_of(arrived), body, now, late)
