"""Nothing is kept longer than it is needed: what the store may forget is removed as time passes.

Replies go when they are delivered and queue messages when they are acknowledged; that is done where it happens. Here
goes what only time ends: states of messages, memories of duplicates, queue messages whose time to live is over.
Messages whose consumers have failed too often become dead letters.

Spec: 50 F17, E4, §3.4 ``ttl``.
"""

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Final

import structlog

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.store.interface import Removed, Retention

PERIOD: Final = 60.0
"""Seconds between two rounds."""

_log = structlog.get_logger("mhs.housekeeping")


class Housekeeping:
    """Cleans up from `start` until `stop`, the first time at once."""

    def __init__(self, context: AdaptorContext, *, period: float = PERIOD) -> None:
        self._context = context
        self._period = period
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="mhs-housekeeping")

    async def stop(self) -> None:
        """End, once what is being removed is removed or undone."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def clean(self) -> Removed:
        """Go round once; return what was removed. Raises: `StoreError`."""
        context, settings = self._context, self._context.settings
        now = context.clock()
        life = settings.inbound_queue_message_ttl_in_seconds
        removed = await context.store.purge(
            Retention(
                messages=now - timedelta(days=settings.state_retention_days),
                now=now,
                queue=now - timedelta(seconds=life) if life else None,
            )
        )
        # With a broker nobody but the relay takes messages, and it never gives up.
        if context.publisher is None:
            buried = await context.store.bury(now, deliveries_allowed=settings.queue_deliveries)
            if buried:
                _log.warning("messages were given out too often and are dead letters now", count=buried)
        return removed

    async def _run(self) -> None:
        while True:
            try:
                removed = await self.clean()
                if removed != Removed():
                    _log.info(
                        "removed what need not be kept",
                        messages=removed.messages,
                        receipts=removed.receipts,
                        queue=removed.queue,
                    )
            except StoreError as error:
                _log.error("cannot clean up; trying again later", code=error.code, reason=error.diagnostics)
            except Exception as error:  # noqa: BLE001 whatever it is, the next round must come
                _log.error("cleaning up failed unexpectedly", error=type(error).__name__)
            await asyncio.sleep(self._period)
