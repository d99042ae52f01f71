"""Callers who wait for a reply: woken at once by this process or another one that can tell, else by looking.

Invariant: a caller that waits hears of every reply that is in the store before its patience ends, whichever process
has put it there.

Spec: 50 §2.7, F3.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from openscr.errors import OutcomeUnknown, StoreUnavailable

T = TypeVar("T")

LOOK: Final = 5.0
"""Seconds between looks without having been told, while other processes can tell us. They might fail to."""


class Elsewhere(Protocol):
    """The other processes that work on our store."""

    @property
    def hearing(self) -> bool:
        """Whether they can tell us now when something has come."""

    def tell(self, message_id: str) -> None:
        """Tell them that something has come that nobody here waits for."""


class Replies:
    """Wakes those who wait for the reply to a message.

    ``local`` is whether all replies come into this process: then nobody looks again without having been told, but once
    at the end of its patience. ``elsewhere`` are other processes, if they and we can tell each other. Spec: 50 F3.
    """

    def __init__(self, *, local: bool = False, elsewhere: Elsewhere | None = None) -> None:
        self._local = local
        self._elsewhere = elsewhere
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def arrived(self, message_id: str) -> None:
        """Tell that the reply to a message is in the store now."""
        if not self.heard(message_id) and self._elsewhere is not None:
            self._elsewhere.tell(message_id)

    def heard(self, message_id: str) -> bool:
        """Wake who waits here for the reply to a message, which is in the store; return whether anybody does."""
        waiting = self._waiting.get(message_id, ())
        for event in waiting:
            event.set()
        return bool(waiting)

    def wake_all(self) -> None:
        """Have everybody look: something may have come without our having been told."""
        for message_id in self._waiting:
            self.heard(message_id)

    async def wait(
        self,
        message_id: str,
        find: Callable[[], Awaitable[T | None]],
        *,
        seconds: float,
        interval: float,
        patient: bool = False,
    ) -> T | None:
        """Return what ``find`` finds as soon as it finds something, none after ``seconds``.

        ``interval`` is how often, in seconds, it is looked for without having been told. ``patient`` is whether a store
        that is away for a while is asked again, rather than what it raises raised.
        """
        event = asyncio.Event()
        self._waiting.setdefault(message_id, set()).add(event)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while True:
                event.clear()
                pause = self._pause(interval)
                try:
                    if (found := await find()) is not None:
                        return found
                except (StoreUnavailable, OutcomeUnknown):
                    if not patient:
                        raise
                    pause = interval
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return None
                try:
                    async with asyncio.timeout(left if pause is None else min(pause, left)):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            waiting = self._waiting[message_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[message_id]

    def _pause(self, interval: float) -> float | None:
        """Return how many seconds to wait for being told, none for as long as it takes."""
        if self._local:
            return None
        hearing = self._elsewhere is not None and self._elsewhere.hearing
        return max(interval, LOOK) if hearing else interval
