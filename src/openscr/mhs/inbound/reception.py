"""Taking a message: what was decided about it is durable before it is acknowledged.

Message, states and receipt are rows of one transaction; the relay brings what is on the embedded queue to a broker.
With ``queue_direct`` the broker is handed the message between two transactions instead, and its refusal is ours.

Spec: 50 §3.1 steps 6 to 8, §3.4, E5, F3, F4.
"""

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from weakref import WeakValueDictionary

import structlog

from openscr.errors import DeliveryError, StoreError
from openscr.identifiers import ebxml_timestamp
from openscr.mhs import audit_lines
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.answers import EXCEPTION_IN_WORKFLOW, TAKEN, Refused, Reply, signal
from openscr.mhs.inbound.plans import Plan, correlation_of, make_plan
from openscr.mhs.inbound.reading import Arrived
from openscr.mhs.payload_people import people_in
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.states import InboundStatus, Workflow
from openscr.mhs.store.interface import AuditEntry, InboundReceipt, SendState, Transaction
from openscr.transport.ebxml import Addressing, Envelope, write_acknowledgment

_log = structlog.get_logger("mhs.inbound")

READ_ASIDE: Final = 262_144
"""Size from which on a message is read on a thread of its own, so that others need not wait for it."""

_ID: Final = re.compile(r"[\w.:@+-]{0,64}\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Call:
    """When a request began, and who made it by its certificate, empty when there was none."""

    started: datetime
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Recorded:
    """A message with its answer, should it be taken, and with its audit record, whose outcome is not known yet."""

    arrived: Arrived
    acknowledgment: bytes
    record: AuditEntry

    @property
    def key(self) -> tuple[str, str]:
        """What tells a repetition."""
        return self.arrived.envelope.from_party, self.arrived.envelope.message_id.upper()


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

    async def take(self, message: Recorded) -> Taken:
        """Take a message. Raises: `Refused`. Spec: 50 §3.1 steps 6 to 8."""
        context = self._context
        try:
            if self._broker is None:
                plan = await self._take_whole(message)
            else:
                # A repetition must not overtake the broker's answer about the first.
                turn = self._turns.setdefault(message.key, asyncio.Lock())
                async with turn:
                    plan = await self._take_directly(message, self._broker)
        except (StoreError, DeliveryError) as error:
            _log.error("not taken", error=error.code)
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
        _say_completed(plan)
        return Taken(_reply(message.acknowledgment), plan.outcome, plan.row.workflow)

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

    async def recorded(self, arrived: Arrived, call: Call) -> Recorded:
        """Return a message with what is written about it: large ones are looked into on a thread of their own."""
        envelope = arrived.envelope
        answer = b""
        if arrived.signal is None:
            answer = write_acknowledgment(ref_to_message_id=envelope.message_id, **self.addressing(envelope))
        facts = AuditFacts(
            direction="inbound",
            outcome="",
            started=call.started,
            interaction=shown(envelope.action),
            message_id=shown(envelope.message_id),
            correlation_id=shown(correlation_of(arrived)),
            ref_to_message_id=shown(envelope.ref_to_message_id or ""),
            from_party=shown(envelope.from_party),
            to_party=shown(envelope.to_party),
            caller=call.caller,
            people=await people_in(arrived.message.payload.encode()),
        )
        return Recorded(arrived, answer, self._context.audit.entry(facts))

    async def _take_whole(self, message: Recorded) -> Plan | InboundReceipt | None:
        now = self._context.clock()

        async def work(transaction: Transaction) -> Plan | InboundReceipt | None:
            plan = await make_plan(transaction, message.arrived, self._context, now)
            if isinstance(plan, Plan):
                await self._settle(transaction, plan, message)
            return plan

        return await self._context.store.transact(work)

    async def _take_directly(self, message: Recorded, broker: Publisher) -> Plan | InboundReceipt | None:
        context = self._context
        now = context.clock()

        async def begin(transaction: Transaction) -> Plan | InboundReceipt | None:
            plan = await make_plan(transaction, message.arrived, context, now)
            if isinstance(plan, Plan):
                if plan.queue is None:
                    await self._settle(transaction, plan, message)
                elif plan.begins is not None:
                    await transaction.put_message(plan.row.changed(now, plan.begins))
            return plan

        plan = await context.store.transact(begin)
        if not isinstance(plan, Plan) or plan.queue is None:
            return plan
        decided = plan

        async def fail(transaction: Transaction) -> None:
            row = await transaction.find_message(decided.row.message_id) or decided.row
            await transaction.put_message(row.changed(context.clock(), decided.fails))

        async def end(transaction: Transaction) -> None:
            await self._settle(transaction, decided, message)

        try:
            await broker.publish(plan.queue)
        except DeliveryError:
            await context.store.transact(fail)
            raise
        await context.store.transact(end)
        return plan

    async def _settle(self, transaction: Transaction, plan: Plan, message: Recorded) -> None:
        """Write what is true once a message is taken."""
        context = self._context
        now = context.clock()
        row = await transaction.find_message(plan.row.message_id) or plan.row
        statuses = (plan.begins, plan.outbound, plan.ends)
        await transaction.put_message(row.changed(now, *statuses, last_error=plan.last_error))
        if plan.heard:
            await _end_sending(transaction, row.message_id, refused=plan.refused)
        if plan.reply is not None:
            await transaction.put_reply(plan.reply)
        if plan.queue is not None and self._broker is None:
            await transaction.enqueue(plan.queue)
        window = context.settings.inbound_duplicate_window
        from_party, message_id = message.key
        if window and message_id:
            expires = now + timedelta(seconds=window)
            receipt = InboundReceipt(from_party, message_id, now, expires, message.acknowledgment)
            await transaction.put_receipt(receipt)
        await transaction.append_audit(with_outcome(message.record, plan.outcome, plan.row.workflow))


async def _end_sending(transaction: Transaction, message_id: str, *, refused: bool) -> None:
    """Send a message no more. What was refused stays, for a supplier who wants it sent again. Spec: 50 F19."""
    sending = await transaction.find_sending(message_id)
    if sending is None:
        return
    if refused:
        await transaction.put_sending(replace(sending, state=SendState.FAILED, next_attempt_at=None))
        await transaction.release_sending(message_id)
    else:
        await transaction.remove_sending(message_id)


def shown(id: str) -> str:
    """Return an id as logs and audit may hold it: what a stranger calls things could be anything."""
    return id if _ID.match(id) else "unreadable"


def with_outcome(record: AuditEntry, outcome: str, workflow: str) -> AuditEntry:
    """Return a record that says how it ended."""
    ended = {"outcome": outcome} | ({"workflow": workflow} if workflow else {})
    return replace(record, content={**record.content, **ended})


def _say_completed(plan: Plan) -> None:
    """Log what the reference logs of a message that is on the queue: nothing of waiting callers. Spec: 50 §9."""
    if plan.ends is InboundStatus.UNSOLICITED_PROCESSED:
        audit_lines.unsolicited_invoked()
        audit_lines.unsolicited_completed()
    elif plan.ends is InboundStatus.PROCESSED and plan.row.workflow is not Workflow.SYNC_ASYNC:
        audit_lines.inbound_invoked(plan.row.workflow)
        audit_lines.inbound_completed(plan.row.workflow)


def _reply(answer: bytes) -> Reply:
    return signal("Acknowledgment", answer) if answer else TAKEN
