"""Whose turn it is in a slot, among the units of one process.

The database would let them wait as well, each with a connection of its own in its hands: many who ask for one slot must
not keep all connections from the others.

Spec: architecture.md "Concurrency".
"""

import asyncio
from collections import deque

from openscr.errors import StoreUnavailable


class SlotTurns:
    """Lets one unit at a time into each slot, the first first."""

    def __init__(self) -> None:
        self._waiting: dict[int, deque[asyncio.Future[None]]] = {}

    async def enter(self, slot: int, deadline: float) -> None:
        """Wait until nobody is in the slot; ``deadline`` by the loop's clock. Raises: `StoreUnavailable`."""
        waiting = self._waiting.get(slot)
        if waiting is None:
            self._waiting[slot] = deque()
            return
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        alarm = turn.get_loop().call_at(deadline, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.leave(slot)
            raise
        finally:
            alarm.cancel()

    def leave(self, slot: int) -> None:
        """Let the next one in."""
        waiting = self._waiting[slot]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[slot]


def _give_up(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_exception(StoreUnavailable("too many requests wait for one part of the store"))
