"""The relay: takes messages from our own queue to the broker, in their order, until the broker has each of them.

Invariants: a message leaves our queue only when the broker has taken responsibility for it, so that neither an outage
nor a crash loses one; what is handed over twice (a crash in between) bears the same id both times. An outage, however
long, makes no dead letters; one message that cannot be handed over does not stop the others for long.

Spec: 50 E5.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import structlog

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable
from openscr.mhs.store.interface import LeasedMessage

_log = structlog.get_logger("relay")

BATCH: Final = 64
"""Messages that are leased together while the broker takes them; what is left of them at a failure goes back."""

LOOK: Final = 1.0
"""Seconds between looks for messages that another process has put onto the queue."""

SHORTEST: Final = 0.5
LONGEST: Final = 60.0
"""Seconds that the relay leaves a broker alone that takes nothing: the first time, and at most."""

LONGEST_ASIDE: Final = 300.0
"""Seconds that a message waits at most after it was refused."""

STUCK: Final = 5
"""Failures of one message with a broker that can be reached, after which the next message is tried."""


@dataclass
class _Troubled:
    """How often a message was set aside, and how many had been taken when it first was."""

    taken_before: int
    times: int = 0


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
        self._troubled: dict[str, _Troubled] = {}
        self._failing = ""
        self._failures = 0
        self._limit = BATCH
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
        return await self._store.lease_queue(now, self._until, self._limit) or None

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
                    if not self._is_stuck(rest[0].message.id):
                        return False
                    # The next one is tried at once: after a pause this one would be first again.
                    await self._set_aside(rest[0], error.diagnostics, may_die=False)
                rest.popleft()
        finally:
            await asyncio.gather(*(self._give_back(each) for each in rest))
        return True

    async def _give_back(self, leased: LeasedMessage) -> None:
        now = self._clock()
        await self._store.release(leased.receipt, deliveries_allowed=sys.maxsize, now=now, not_before=now)

    async def _hand_over(self, leased: LeasedMessage) -> None:
        """Hand over one message. Raises: `QueueUnavailable`, with which the message is leased still; `StoreError`."""
        try:
            async with asyncio.timeout(self._lease.total_seconds() / 2):
                await self._publisher.publish(leased.message)
        except TimeoutError:
            raise QueueUnavailable("no broker has answered in time") from None
        except QueueUnavailable:
            raise
        except QueueRefused as error:
            self._figures.relayed("refused")
            await self._set_aside(leased, error.diagnostics, may_die=True)
        except Exception as error:  # noqa: BLE001 of this message; others must not wait for it
            self._figures.relayed("failed")
            await self._set_aside(leased, f"failed unexpectedly ({type(error).__name__})", may_die=True)
        else:
            self._taken += 1
            self._troubled.pop(leased.message.id, None)
            self._pause = SHORTEST
            self._limit = BATCH
            self._figures.relayed("taken")
            await self._store.acknowledge(leased.receipt)

    def _is_stuck(self, id: str) -> bool:
        """Whether it may be this message that the broker fails over, rather than every one."""
        self._failures = self._failures + 1 if self._failing == id else 1
        self._failing = id
        return self._failures >= STUCK or id in self._troubled

    async def _set_aside(self, leased: LeasedMessage, reason: str, *, may_die: bool) -> None:
        """Put a message back for a while. It can die only of a broker that has taken others meanwhile."""
        id = leased.message.id
        troubled = self._troubled.setdefault(id, _Troubled(self._taken))
        troubled.times += 1
        dies = may_die and troubled.times >= self._settings.queue_deliveries and self._taken > troubled.taken_before
        wait = min(LONGEST_ASIDE, 2.0 ** min(troubled.times - 1, 16))
        now = self._clock()
        await self._store.release(
            leased.receipt,
            deliveries_allowed=0 if dies else sys.maxsize,
            now=now,
            not_before=now + timedelta(seconds=wait),
        )
        if dies:
            del self._troubled[id]
        _log.error("message set aside", queue_message_id=id, times=troubled.times, dead=dies, reason=reason)

    async def _await_broker(self) -> None:
        """Leave the broker alone until it can be reached, each time for longer than before; then try one message."""
        self._limit = 1
        while not self._stopping.is_set():
            await self._rest(self._pause)
            self._pause = min(2 * self._pause, LONGEST)
            if await self._publisher.reachable():
                return

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return
