"""The state of a supplier's message: a row before anything else happens, and every change of it with its audit.

Spec: 50 §2, §6, F22.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import OutboundRequest
from openscr.mhs.payload_people import People
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import MhsSettings
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, ReplyRow, Transaction


def patience(settings: MhsSettings) -> float:
    """Return how many seconds a reply is waited for once the Spine has the message. Spec: 50 §2.7 step 4."""
    return settings.resync_initial_delay + settings.resync_retries * settings.resync_interval


def taken(row: MessageRow, settings: MhsSettings, at: datetime) -> MessageRow:
    """Return the row of a message that the Spine has since ``at``, and nobody has to send any longer.

    From now on it is known until when its caller waits: should this process die, its reply need not be kept for longer.
    Who lives ends the wait itself, a moment after its patience. Spec: 50 F3.
    """
    row = row.changed(at, OutboundStatus.ACKD, last_error="")
    if row.waits_until is None:
        return row
    return replace(row, waits_until=at + timedelta(seconds=patience(settings) + settings.late_reply_grace))


def facts_of(request: OutboundRequest, people: People) -> AuditFacts:
    """Return what is known of a message when it comes, ``people`` from its payload; the outcome is to be filled in."""
    return AuditFacts(
        direction="outbound",
        outcome="",
        started=request.received_at,
        workflow=row_workflow(request),
        interaction=request.interaction.name,
        message_id=request.message_id,
        correlation_id=request.correlation_id,
        from_asid=request.from_asid or "",
        caller=request.caller,
        people=people,
    )


def facts_of_row(row: MessageRow) -> AuditFacts:
    """Return what is known of a message whose supplier waits no longer, here or at all."""
    return AuditFacts(
        direction="outbound",
        outcome="",
        started=row.created,
        workflow=row.workflow,
        interaction=row.interaction,
        message_id=row.message_id,
        correlation_id=row.correlation_id,
        from_party=row.from_party,
        to_party=row.to_party,
    )


def row_workflow(request: OutboundRequest) -> Workflow:
    """Return the workflow that the state names: whoever waits for the reply makes it ``sync-async``. Spec: 50 §2.7."""
    return Workflow.SYNC_ASYNC if request.wait else request.workflow


class MessageStates:
    """Keeps the states of messages."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context

    async def begin(self, request: OutboundRequest, patience: float) -> None:
        """Keep that a message has come; one with the same id is no more. Raises: `StoreError`.

        ``patience`` is how many seconds a caller who waits for the reply may wait, sending included. A reply to the
        former message that nobody has taken goes to the queue. Spec: 50 §2, F3.
        """
        now = self._context.clock()
        row = MessageRow(
            message_id=request.message_id,
            created=now,
            workflow=row_workflow(request),
            interaction=request.interaction.name,
            correlation_id=request.correlation_id,
            from_party=self._context.settings.secret_party_key,
            digest=request.digest,
            waits_until=now + timedelta(seconds=patience) if request.wait else None,
        )

        async def work(transaction: Transaction) -> bool:
            await transaction.put_message(row.changed(now, OutboundStatus.RECEIVED))
            reply = await transaction.find_reply(request.message_id)
            if reply is not None:
                await self.hand_over(transaction, reply)
            return reply is not None

        if await self._context.store.transact(work):
            self._context.arrivals.tell()

    async def change(
        self,
        facts: AuditFacts,
        status: OutboundStatus,
        error: str | None = None,
        also: Callable[[Transaction], Awaitable[None]] | None = None,
    ) -> None:
        """Change a message's status, with a record of it; ``also`` is done in the same transaction.

        The Spine's answer to a synchronous message is passed on at once: the state says so before it is. Raises:
        `StoreError`. Spec: 50 §2.1 step 9.
        """
        entry = self._context.audit.entry(replace(facts, outcome=status))
        now = self._context.clock()

        async def work(transaction: Transaction) -> None:
            row = await transaction.find_message(facts.message_id)
            if row is not None:
                row = replace(row, to_party=facts.to_party or row.to_party)
                row = row.changed(now, status, last_error=error)
                if status is OutboundStatus.ACKD:
                    row = taken(row, self._context.settings, now)
                if status is OutboundStatus.SYNC_RESPONSE_RECEIVED:
                    row = row.changed(now, OutboundStatus.SYNC_SUCCESSFUL)
                await transaction.put_message(row)
            await transaction.append_audit(entry)
            if also is not None:
                await also(transaction)

        await self._context.store.transact(work)

    async def finish_sync(self, message_id: str, *, delivered: bool) -> None:
        """Keep that the Spine's answer to a synchronous message could not be passed on. Raises: `StoreError`.

        That it could be was kept before. Of a message that has no such answer the state says why, and goes on saying
        it. Spec: 50 §2.1 step 9.
        """

        async def work(transaction: Transaction) -> None:
            row = await transaction.find_message(message_id)
            if row is not None and row.outbound_status is OutboundStatus.SYNC_SUCCESSFUL:
                await transaction.put_message(row.changed(self._context.clock(), OutboundStatus.SYNC_FAILED))

        if not delivered:
            await self._context.store.transact(work)

    async def hand_over(self, transaction: Transaction, reply: ReplyRow) -> None:
        """Move a reply whose caller is gone to the queue, as a late one. Spec: 50 F3."""
        message = QueueMessage(
            id=self._context.mint(),
            message_id=reply.message_id,
            correlation_id=reply.correlation_id,
            body=reply.body,
            created_at=self._context.clock(),
            late=True,
        )
        await transaction.remove_reply(reply.message_id)
        await transaction.enqueue(message)
