"""Callers who wait for a reply: woken at once when it comes into this process, found by looking when it does not.

Invariant: a caller that waits hears of every reply that is in the store before its patience ends, whichever process
has put it there.

Spec: 50 §2.7, F3.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class Replies:
    """Wakes those who wait for the reply to a message.

    ``local`` is whether all replies come into this process: then nobody looks again without having been told, but once
    at the end of its patience. Spec: 50 F3.
    """

    def __init__(self, *, local: bool = False) -> None:
        self._local = local
        self._waiting: dict[str, set[asyncio.Event]] = {}

    def arrived(self, message_id: str) -> None:
        """Tell that the reply to a message is in the store now."""
        for event in self._waiting.get(message_id, ()):
            event.set()

    async def wait(
        self, message_id: str, find: Callable[[], Awaitable[T | None]], *, seconds: float, interval: float
    ) -> T | None:
        """Return what ``find`` finds as soon as it finds something, none after ``seconds``.

        ``interval`` is how often, in seconds, it is looked for without having been told.
        """
        event = asyncio.Event()
        self._waiting.setdefault(message_id, set()).add(event)
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            while True:
                event.clear()
                if (found := await find()) is not None:
                    return found
                left = deadline - asyncio.get_running_loop().time()
                if left <= 0:
                    return None
                try:
                    async with asyncio.timeout(left if self._local else min(interval, left)):
                        await event.wait()
                except TimeoutError:
                    continue
        finally:
            waiting = self._waiting[message_id]
            waiting.discard(event)
            if not waiting:
                del self._waiting[message_id]
