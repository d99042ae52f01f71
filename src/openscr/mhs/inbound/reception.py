"""Taking a message: what was decided about it is durable before it is acknowledged.

Message, states and receipt are rows of one transaction; the relay brings what is on the embedded queue to a broker.
With ``queue_direct`` the broker is handed the message between two transactions instead, and its refusal is ours.

Spec: 50 §3.1 steps 6 to 8, §3.4, E5, F3, F4.
"""

import asyncio
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from openscr.errors import DeliveryError, StoreError
from openscr.identifiers import ebxml_timestamp
from openscr.mhs import audit_lines
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.answers import EXCEPTION_IN_WORKFLOW, TAKEN, Refused, Reply, signal
from openscr.mhs.inbound.plans import Plan, changed, correlation_of, make_plan
from openscr.mhs.inbound.reading import Arrived
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.states import InboundStatus, Workflow
from openscr.mhs.store.interface import InboundReceipt, Transaction
from openscr.transport.ebxml import Addressing, Envelope, write_acknowledgment

_NAME = re.compile(r"\w{1,64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """When a request began, and who made it by its certificate, empty when there was none."""

    started: datetime
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that has its answer. ``audited`` tells whether its record is written already."""

    reply: Reply
    outcome: str
    workflow: str = ""
    audited: bool = True


class Reception:
    """Takes replies, messages that nobody asked for, and what is said of our own messages."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._broker: Publisher | None = context.publisher if context.settings.queue_direct else None
        self._turns: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    async def take(self, arrived: Arrived, call: Call) -> Taken:
        """Take a message. Raises: `Refused`. Spec: 50 §3.1 steps 6 to 8."""
        context = self._context
        answer = self._answer_to(arrived)
        try:
            if self._broker is None:
                plan = await self._take_whole(arrived, call, answer)
            else:
                key = (arrived.envelope.from_party, arrived.envelope.message_id.upper())
                # A repetition must not overtake the broker's answer about the first.
                turn = self._turns.setdefault(key, asyncio.Lock())
                async with turn:
                    plan = await self._take_directly(arrived, call, answer, self._broker)
        except (StoreError, DeliveryError):
            raise Refused(500, EXCEPTION_IN_WORKFLOW) from None
        if plan is None:
            return Taken(TAKEN, "unknown-reference", audited=False)
        if isinstance(plan, InboundReceipt):
            context.figures.duplicate("inbound")
            return Taken(_reply(plan.answer), "duplicate", audited=False)
        if plan.reply is not None:
            context.replies.arrived(plan.reply.message_id)
        elif plan.queue is not None and self._broker is None:
            context.arrivals.tell()
        _log_lines(plan)
        return Taken(_reply(answer), plan.outcome, plan.row.workflow)

    def addressing(self, envelope: Envelope) -> Addressing:
        """Return what the header of a signal about a message says. Spec: 50 §3.2, F14."""
        context = self._context
        return Addressing(
            from_party=context.settings.secret_party_key,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=context.mint(),
            timestamp=ebxml_timestamp(context.clock()),
        )

    def facts(self, arrived: Arrived, outcome: str, workflow: str, call: Call) -> AuditFacts:
        """Return what the audit keeps of a message. Spec: 50 F22."""
        envelope = arrived.envelope
        return AuditFacts(
            direction="inbound",
            outcome=outcome,
            started=call.started,
            workflow=workflow,
            # What a stranger calls its message could be anything.
            interaction=envelope.action if _NAME.match(envelope.action) else "unknown",
            message_id=envelope.message_id,
            correlation_id=correlation_of(arrived),
            ref_to_message_id=envelope.ref_to_message_id or "",
            from_party=envelope.from_party,
            to_party=envelope.to_party,
            caller=call.caller,
            payload=arrived.message.payload.encode("utf-8", "replace") or None,
        )

    def _answer_to(self, arrived: Arrived) -> bytes:
        """Write the acknowledgement; a signal is not acknowledged. Spec: 50 §3.2."""
        envelope = arrived.envelope
        if arrived.signal is not None:
            return b""
        return write_acknowledgment(ref_to_message_id=envelope.message_id, **self.addressing(envelope))

    async def _take_whole(self, arrived: Arrived, call: Call, answer: bytes) -> Plan | InboundReceipt | None:
        now = self._context.clock()

        async def work(transaction: Transaction) -> Plan | InboundReceipt | None:
            plan = await make_plan(transaction, arrived, self._context, now)
            if isinstance(plan, Plan):
                await self._settle(transaction, plan, arrived, call, answer)
            return plan

        return await self._context.store.transact(work)

    async def _take_directly(
        self, arrived: Arrived, call: Call, answer: bytes, broker: Publisher
    ) -> Plan | InboundReceipt | None:
        context = self._context
        now = context.clock()

        async def begin(transaction: Transaction) -> Plan | InboundReceipt | None:
            plan = await make_plan(transaction, arrived, context, now)
            if isinstance(plan, Plan):
                if plan.queue is None:
                    await self._settle(transaction, plan, arrived, call, answer)
                elif plan.begins is not None:
                    await transaction.put_message(changed(plan.row, now, plan.begins))
            return plan

        plan = await context.store.transact(begin)
        if not isinstance(plan, Plan) or plan.queue is None:
            return plan
        decided = plan

        async def fail(transaction: Transaction) -> None:
            row = await transaction.find_message(decided.row.message_id) or decided.row
            await transaction.put_message(changed(row, context.clock(), decided.fails))

        async def end(transaction: Transaction) -> None:
            await self._settle(transaction, decided, arrived, call, answer)

        try:
            await broker.publish(plan.queue)
        except DeliveryError:
            await context.store.transact(fail)
            raise
        await context.store.transact(end)
        return plan

    async def _settle(self, transaction: Transaction, plan: Plan, arrived: Arrived, call: Call, answer: bytes) -> None:
        """Write what is true once a message is taken."""
        context, envelope = self._context, arrived.envelope
        now = context.clock()
        row = await transaction.find_message(plan.row.message_id) or plan.row
        await transaction.put_message(
            changed(row, now, plan.begins, plan.outbound, plan.ends, last_error=plan.last_error)
        )
        # Nothing is sent again of which the receiver has spoken.
        if await transaction.find_sending(row.message_id) is not None and plan.begins is None:
            await transaction.remove_sending(row.message_id)
        if plan.reply is not None:
            await transaction.put_reply(plan.reply)
        if plan.queue is not None and self._broker is None:
            await transaction.enqueue(plan.queue)
        window = context.settings.inbound_duplicate_window
        if window and envelope.message_id:
            expires = now + timedelta(seconds=window)
            receipt = InboundReceipt(envelope.from_party, envelope.message_id.upper(), now, expires, answer)
            await transaction.put_receipt(receipt)
        await transaction.append_audit(context.audit.entry(self.facts(arrived, plan.outcome, plan.row.workflow, call)))


def _log_lines(plan: Plan) -> None:
    """Log what the reference logs of a message that is on the queue; of a reply that was waited for it says nothing."""
    if plan.outcome == InboundStatus.UNSOLICITED_PROCESSED:
        audit_lines.unsolicited_invoked()
        audit_lines.unsolicited_completed()
    elif plan.outcome == InboundStatus.PROCESSED and plan.row.workflow is not Workflow.SYNC_ASYNC:
        audit_lines.inbound_invoked(plan.row.workflow)
        audit_lines.inbound_completed(plan.row.workflow)


def _reply(answer: bytes) -> Reply:
    return signal("Acknowledgment", answer) if answer else TAKEN
