"""What the provider remembers: in memory, for a time, and never more than so many things.

Spec: 35 §9.5.
"""

import secrets
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Shelf(Generic[T]):
    """Things by their key, each until its time is over; when the shelf is full, the oldest makes room.

    ``now`` gives seconds since the epoch. Keys that the shelf makes have 256 random bits.
    """

    def __init__(self, now: Callable[[], float], *, most: int = 10_000) -> None:
        self._now = now
        self._most = most
        self._things: dict[str, tuple[float, T]] = {}

    def put(self, thing: T, seconds: float, key: str | None = None) -> str:
        """Keep a thing for so long; return its key."""
        key = secrets.token_urlsafe(32) if key is None else key
        self._things.pop(key, None)
        while len(self._things) >= self._most:
            del self._things[next(iter(self._things))]
        self._things[key] = (self._now() + seconds, thing)
        return key

    def get(self, key: str | None) -> T | None:
        """Return the thing of a key, or none when there is none or its time is over."""
        until, thing = self._things.get(key or "", (0.0, None))
        return thing if self._now() < until else None

    def overdue(self, key: str) -> bool:
        """Whether the shelf still holds a thing of this key whose time is over."""
        until, _ = self._things.get(key, (self._now() + 1, None))
        return self._now() >= until

    def take(self, key: str | None) -> T | None:
        """Return the thing of a key and forget it."""
        thing = self.get(key)
        self._things.pop(key or "", None)
        return thing

    def values(self) -> list[T]:
        """Return everything whose time is not over."""
        now = self._now()
        return [thing for until, thing in self._things.values() if now < until]
