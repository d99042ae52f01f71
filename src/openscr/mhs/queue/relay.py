"""The relay: takes messages from our own queue to the broker, in their order, until the broker has each of them.

Invariants: a message leaves our queue only when the broker has taken responsibility for it, so that neither an outage
nor a crash loses one; what is handed over twice (a crash in between) bears the same id both times. An outage, however
long, makes no dead letters.

Spec: 50 E5.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable
from openscr.mhs.store.interface import LeasedMessage

_log = structlog.get_logger("relay")

BATCH: Final = 64
"""Messages that are leased together; what is left of them at a failure goes back at once."""

LOOK: Final = 1.0
"""Seconds between looks for messages that another process has put onto the queue."""

SHORTEST: Final = 0.5
LONGEST: Final = 60.0
"""Seconds that the relay leaves a broker alone that takes nothing: the first time, and at most."""

LONGEST_REFUSED: Final = 300.0
"""Seconds that a message waits at most after it was refused."""


class Relay:
    """Hands the messages of the store's queue to ``publisher``. One refused often enough becomes a dead letter."""

    def __init__(self, context: AdaptorContext, publisher: Publisher) -> None:
        self._settings = context.settings
        self._store = context.store
        self._arrivals = context.arrivals
        self._figures = context.figures
        self._clock = context.clock
        self._publisher = publisher
        self._lease = timedelta(seconds=context.settings.queue_lease)
        self._until = datetime.min
        self._pause = SHORTEST
        self._taken = 0
        self._refused: dict[str, int] = {}
        self._refused_in_row = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> bool:
        """Whether messages are being handed over, or waited for."""
        return self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin: first of all with what an earlier run left behind."""
        self._task = asyncio.create_task(self._run(), name="relay")

    async def stop(self, grace: float = 5.0) -> None:
        """End after the message under way, which has ``grace`` seconds."""
        self._stopping.set()
        self._arrivals.tell()
        if self._task is None:
            return
        _, late = await asyncio.wait([self._task], timeout=grace)
        for task in late:
            task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                leased = await self._arrivals.wait(self._take, seconds=LONGEST, interval=LOOK)
                if leased and not await self._hand_over_all(leased):
                    await self._await_broker()
            except StoreError as error:
                _log.warning("queue not readable", error=error.code)
                await self._rest(LOOK)
            except Exception as error:  # noqa: BLE001 whatever it is, what waits must still be handed over
                _log.error("relay failed unexpectedly", error=type(error).__name__)
                await self._rest(LOOK)

    async def _take(self) -> Sequence[LeasedMessage] | None:
        if self._stopping.is_set():
            return ()
        now = self._clock()
        self._until = now + self._lease
        return await self._store.lease_queue(now, self._until, BATCH) or None

    async def _hand_over_all(self, leased: Sequence[LeasedMessage]) -> bool:
        """Hand over what was leased, in order; what is left goes back. Returns whether the broker takes messages."""
        rest = deque(leased)
        try:
            while rest and not self._stopping.is_set() and self._clock() + self._lease / 2 <= self._until:
                try:
                    await self._hand_over(rest[0])
                except QueueUnavailable as error:
                    self._figures.relayed("failed")
                    _log.warning("broker unavailable", reason=error.diagnostics)
                    return False
                rest.popleft()
                if self._refused_in_row > 1:
                    # It refuses one after the other: more likely it is full than they are all bad.
                    return False
        finally:
            for each in rest:
                now = self._clock()
                await self._store.release(each.receipt, deliveries_allowed=sys.maxsize, now=now, not_before=now)
        return True

    async def _hand_over(self, leased: LeasedMessage) -> None:
        """Hand over one message. Raises: `QueueUnavailable`, with which the message is leased still; `StoreError`."""
        id = leased.message.id
        try:
            async with asyncio.timeout(self._lease.total_seconds() / 2):
                await self._publisher.publish(leased.message)
        except TimeoutError:
            raise QueueUnavailable("no broker has answered in time") from None
        except QueueUnavailable:
            raise
        except QueueRefused as error:
            await self._note_refusal(leased, error.diagnostics)
        except Exception as error:  # noqa: BLE001 of this message; others must not wait for it
            await self._note_refusal(leased, f"failed unexpectedly ({type(error).__name__})")
        else:
            self._taken += 1
            self._refused.pop(id, None)
            self._refused_in_row = 0
            self._pause = SHORTEST
            self._figures.relayed("taken")
            await self._store.acknowledge(leased.receipt)

    async def _note_refusal(self, leased: LeasedMessage, reason: str) -> None:
        """Put a message back for a while. It can die only of a broker that has taken others meanwhile."""
        id = leased.message.id
        others_taken = self._taken > self._refused.setdefault(id, self._taken)
        allowed = self._settings.queue_deliveries if others_taken else sys.maxsize
        wait = min(LONGEST_REFUSED, 2.0 ** min(leased.deliveries - 1, 16))
        now = self._clock()
        await self._store.release(
            leased.receipt, deliveries_allowed=allowed, now=now, not_before=now + timedelta(seconds=wait)
        )
        died = leased.deliveries >= allowed
        if died:
            del self._refused[id]
        self._refused_in_row += 1
        self._figures.relayed("refused")
        _log.error("message refused", queue_message_id=id, delivery=leased.deliveries, dead=died, reason=reason)

    async def _await_broker(self) -> None:
        """Leave the broker alone until it can be reached, each time for longer than before."""
        while not self._stopping.is_set():
            await self._rest(self._pause)
            self._pause = min(2 * self._pause, LONGEST)
            if await self._publisher.reachable():
                self._refused_in_row = 0
                return

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
