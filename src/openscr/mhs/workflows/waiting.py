"""The workflow ``sync-async``: a supplier that waits for the reply to an asynchronous message.

Invariant: every reply is given to whoever waits, or goes to the queue; never both, and never neither. Which one is
settled by the transaction that ends the wait.

Spec: 50 §2.7, F3, F21.
"""

from dataclasses import replace

from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, XML, Answer, OutboundRequest
from openscr.mhs.queue_message import read_inbound_message
from openscr.mhs.states import OutboundStatus
from openscr.mhs.store.interface import ReplyRow, Transaction
from openscr.mhs.workflows.answers import NO_REPLY, ebxml_document
from openscr.mhs.workflows.message_states import MessageStates, patience
from openscr.transport.ebxml import Signal
from openscr.transport.verdict import judge


async def wait_for_reply(context: AdaptorContext, request: OutboundRequest, facts: AuditFacts) -> Answer:
    """Return the reply as soon as it is there, else that there was none. Raises: `StoreError`."""
    message_id = request.message_id
    settings = context.settings

    async def look(transaction: Transaction) -> ReplyRow | None:
        # Whoever asks for the state as soon as it has its answer finds it so. The reply stays until it was sent.
        reply = await transaction.find_reply(message_id)
        if reply is not None:
            await note_responding(context, transaction, message_id)
        return reply

    async def give_up(transaction: Transaction) -> ReplyRow | None:
        reply = await look(transaction)
        if reply is None:
            await note_responding(context, transaction, message_id, NO_REPLY.body.decode())
            await transaction.append_audit(context.audit.entry(replace(facts, outcome="no-reply")))
        return reply

    reply = await context.replies.wait(
        message_id,
        lambda: context.store.transact(look),
        seconds=patience(settings),
        interval=settings.resync_interval,
        patient=True,
    )
    reply = reply or await context.store.transact(give_up)
    return NO_REPLY if reply is None else _told(reply, whole=request.whole)


def _told(reply: ReplyRow, *, whole: bool) -> Answer:
    """Return what a supplier is told of a reply: its payload, or all of it; of a MessageError its errors. F9, F21."""
    message = read_inbound_message(reply.body)
    if not message.payload:
        said = judge(200, message.ebxml.encode(), reply.message_id).said
        if isinstance(said, Signal) and said.kind == "MessageError":
            return replace(ebxml_document(said.errors), replied=True)
    if whole:
        return Answer(200, reply.body, JSON, replied=True)
    return Answer(200, message.payload.encode(), XML, replied=True)


async def note_responding(
    context: AdaptorContext, transaction: Transaction, message_id: str, error: str | None = None
) -> None:
    """Keep that a waiting supplier is being answered, which is the last state unless that fails. Spec: 50 §2.7."""
    row = await transaction.find_message(message_id)
    if row is not None:
        await transaction.put_message(
            row.changed(context.clock(), OutboundStatus.SYNC_ASYNC_RESPONDED, last_error=error)
        )


async def note_answered(
    context: AdaptorContext, states: MessageStates, message_id: str, answer: Answer, *, delivered: bool
) -> None:
    """Keep that a waiting supplier was answered, or could not be; the reply that it did not get goes to the queue.

    Raises: `StoreError`. Spec: 50 §2.7 steps 3, 5 and the last, F3.
    """

    async def work(transaction: Transaction) -> bool:
        row = await transaction.find_message(message_id)
        if row is not None and not delivered:
            await transaction.put_message(row.changed(context.clock(), OutboundStatus.SYNC_ASYNC_FAILED))
        reply = await transaction.find_reply(message_id)
        if reply is None:
            return False
        if delivered and answer.replied:
            await transaction.remove_reply(message_id)
            return False
        await states.hand_over(transaction, reply)
        return True

    if await context.store.transact(work):
        context.arrivals.tell()
