"""Who works on the store: each worker process says again and again that it lives, and the longest living sees to order.

Invariants:

* A worker has said that it lives before it accepts anything that it would have to send.
* One that has not been able to say so for long begins no attempt to deliver: others may have taken it for dead.
* What a dead worker has is given back once: by the next process of its own place, or by the one that leads.
* Of those that live at most one leads, but for the moment in which a machine that stood still wakes up.

No two clocks are compared: a worker is dead when its word has not changed for long by the timer of whoever looks.

Spec: engine.md "Workers"; 40 §6.3; 90 §6.1.
"""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from time import monotonic
from typing import Final

import structlog

from openscr.errors import StoreError
from openscr.store.instances import SILENCE
from openscr.store.interface import Instance, Store

_log = structlog.get_logger("workers")

BEAT: Final = 3.0
"""Seconds between two words that a worker lives."""

_FAREWELL: Final = 1.5
"""Seconds for giving back what we have when we end."""

_STEADY_BEATS: Final = 4
"""Words in a row after which a worker judges others: whoever lives has spoken meanwhile, after an outage as well."""


class Presence:
    """This worker among those on the store: the holder of `Store.leasing`.

    ``first`` says that no other process of our place runs: what such a one has left is given back at the start.
    """

    def __init__(
        self,
        store: Store,
        program: str,
        *,
        first: bool,
        beat: float = BEAT,
        silence: float = SILENCE,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self._store = store
        self._program = program
        self._first = first
        self._beat = beat
        self._silence = silence
        self._timer = timer
        self._started_at: datetime
        self._spoken = float("-inf")
        self._in_a_row = 0
        self._leads = False
        self._heard: dict[str, tuple[datetime, float]] = {}
        self._task: asyncio.Task[None] | None = None
        self._giving_back: dict[str, asyncio.Task[None]] = {}

    @property
    def may_send(self) -> bool:
        """Whether others know that we live, so that nobody else sends what we have."""
        return self._timer() - self._spoken < self._silence * 2 / 3

    @property
    def leads(self) -> bool:
        """Whether it is our part to do what one of all workers does: tell officers, tidy up."""
        return self._leads and self.may_send

    async def start(self) -> None:
        """Say that we live, for the first time. Raises: `StoreError`."""
        ours = self._store.leasing
        self._started_at = await self._store.now()
        if self._first:
            left = {each.holder for each in await self._store.read_instances()} | set(
                await self._store.outbox_holders()
            )
            for holder in sorted(left):
                if holder.startswith(ours.place) and holder != ours.holder:
                    await self._store.withdraw(holder)
        await self._speak()
        self._task = asyncio.create_task(self._run(), name="presence")

    async def stop(self) -> None:
        """Say that we are gone: what we have is everybody's."""
        if self._task is None:
            return
        under_way = (self._task, *self._giving_back.values())
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        self._leads = False
        # What is left to be given back whoever leads finds, or we at our next start.
        with contextlib.suppress(StoreError, TimeoutError):
            async with asyncio.timeout(_FAREWELL):
                await self._store.withdraw(self._store.leasing.holder)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._beat)
            try:
                await self._speak()
            except StoreError as error:
                self._in_a_row = 0
                _log.warning("presence not kept", error=error.code)

    async def _speak(self) -> None:
        """Say that we live, and see who else does. Raises: `StoreError`."""
        spoken, ours = self._timer(), self._store.leasing.holder
        now = await self._store.now()
        await self._store.announce(Instance(ours, self._program, self._started_at, now))
        self._spoken = spoken
        self._in_a_row += 1
        # Before those who live are read: whoever has a row has said that it lives before.
        holders = await self._store.outbox_holders() if self._leads else []
        living = await self._living(await self._store.read_instances())
        self._leads = bool(living) and living[0] == ours
        for holder in holders:
            if holder not in living:
                self._give_back(holder)

    async def _living(self, instances: list[Instance]) -> list[str]:
        """Return the holders that live, the longest living first; those that are dead are withdrawn by who leads."""
        timer = self._timer()
        before, self._heard = self._heard, {}
        for each in instances:
            seen, since = before.get(each.holder, (each.seen_at, timer))
            self._heard[each.holder] = (each.seen_at, since if seen == each.seen_at else timer)
        dead = [holder for holder, (_, since) in self._heard.items() if timer - since > self._silence]
        if self._in_a_row < _STEADY_BEATS:
            dead = []
        living = [holder for holder in self._heard if holder not in dead]
        if living and living[0] == self._store.leasing.holder:
            for holder in dead:
                _log.warning("worker lost", holder=holder)
                self._give_back(holder)
        return living

    def _give_back(self, holder: str) -> None:
        """Begin to give back what a dead worker had. There may be hours of it: meanwhile we say that we live."""
        if holder not in self._giving_back:
            self._giving_back[holder] = asyncio.create_task(self._withdraw(holder), name=f"give back {holder}")

    async def _withdraw(self, holder: str) -> None:
        try:
            rows = await self._store.withdraw(holder)
            _log.warning("rows of a lost worker given back", holder=holder, rows=rows)
        except StoreError as error:
            # They are found again with our next word.
            _log.warning("rows of a lost worker not given back", holder=holder, error=error.code)
        finally:
            del self._giving_back[holder]
