"""Replies whose callers are gone: nobody fetched them in time, so they go to the supplier's queue.

Whoever waits fetches its reply, and removes it once the supplier has it. What is still there well after that was left
by a process that died, and is delivered as a late reply. Spec: 50 F3, A3.
"""

import asyncio
from datetime import timedelta
from typing import Final

import structlog

from openscr.errors import DeliveryError, StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue.publisher import QueueRefused
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.states import NO_LONGER_WAITED_FOR, InboundStatus, OutboundStatus
from openscr.mhs.store.interface import MessageRow, ReplyRow, Transaction

INTERVAL: Final = 10.0
"""Seconds between two looks, at most."""

_AT_ONCE: Final = 100

_log = structlog.get_logger("mhs.inbound")


class OverdueReplies:
    """Brings replies that nobody waits for any longer to the queue, again and again until it is stopped."""

    def __init__(self, context: AdaptorContext, *, interval: float = INTERVAL) -> None:
        self._context = context
        self._grace = timedelta(seconds=context.settings.late_reply_grace)
        self._interval = min(interval, context.settings.late_reply_grace)
        self._broker = context.publisher if context.settings.queue_direct else None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._stopping.clear()
        self._task = asyncio.create_task(self._run(), name="overdue replies")

    async def stop(self) -> None:
        """End after the look that is under way."""
        self._stopping.set()
        if self._task is not None:
            await self._task
            self._task = None

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.sweep()
            except (StoreError, DeliveryError) as error:
                _log.warning("overdue replies stay", error=error.code)
            try:
                async with asyncio.timeout(self._interval):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    async def sweep(self) -> int:
        """Look once; return how many replies went to the queue. Raises: `StoreError`, `QueueUnavailable`."""
        context = self._context
        overdue = await context.store.overdue_replies(context.clock() - self._grace, _AT_ONCE)
        moved = 0
        for reply in overdue:
            try:
                moved += await self._move(reply)
            except QueueRefused as error:
                # The others may be taken all the same.
                _log.error("late reply refused by the broker", message_id=reply.message_id, error=error.code)
        if moved:
            _log.warning("late replies queued", count=moved)
            context.arrivals.tell()
        return moved

    async def _move(self, reply: ReplyRow) -> bool:
        context = self._context
        now = context.clock()
        message = QueueMessage(
            context.mint(), reply.message_id, reply.correlation_id, reply.body, created_at=now, late=True
        )

        async def work(transaction: Transaction) -> bool:
            if await transaction.find_reply(reply.message_id) is None:
                return False
            await transaction.remove_reply(reply.message_id)
            if self._broker is None:
                await transaction.enqueue(message)
            row = await transaction.find_message(reply.message_id)
            if row is not None:
                await transaction.put_message(row.changed(now, _unanswered(row), InboundStatus.PROCESSED))
            return True

        if self._broker is not None:
            await self._broker.publish(message)
        return await context.store.transact(work)


def _unanswered(row: MessageRow) -> OutboundStatus | None:
    """Return the status of a message whose caller was never answered, none when it has one that says more."""
    return None if row.outbound_status in NO_LONGER_WAITED_FOR else OutboundStatus.SYNC_ASYNC_FAILED
