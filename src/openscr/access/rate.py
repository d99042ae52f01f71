"""How often an application may ask: so many requests a second, so many a minute; and how often strangers are audited.

Spec: 35 §4.4 (spike arrest, quota); 60 §4.2.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from time import monotonic

from openscr.access import refusals
from openscr.access.issuers import Seconds
from openscr.access.refusals import RequestRefused


@dataclass(slots=True)
class _Counts:
    """Requests of the second and of the minute that are running."""

    second: int = 0
    minute: int = 0
    in_second: int = 0
    in_minute: int = 0


class RateLimit:
    """Counts requests by application, in whole seconds and minutes; the longest idle one is forgotten first.

    Zero switches a limit off. ``most`` bounds the applications that are known at a time.
    """

    def __init__(self, now: Seconds, *, per_second: int = 5, per_minute: int = 300, most: int = 10_000) -> None:
        self._now = now
        self._per_second = per_second
        self._per_minute = per_minute
        self._most = most
        self._counts: OrderedDict[str, _Counts] = OrderedDict()

    def count(self, application: str) -> None:
        """Count one request. Raises: `RequestRefused` when it is one too many; such a request does not count."""
        if not self._per_second and not self._per_minute:
            return
        now = self._now()
        counts = self._counts.get(application)
        if counts is None:
            if len(self._counts) >= self._most:
                self._counts.popitem(last=False)
            counts = self._counts[application] = _Counts()
        else:
            self._counts.move_to_end(application)
        second, minute = int(now), int(now) // 60
        if counts.second != second:
            counts.second, counts.in_second = second, 0
        if counts.minute != minute:
            counts.minute, counts.in_minute = minute, 0
        if self._per_minute and counts.in_minute >= self._per_minute:
            raise RequestRefused(refusals.too_often(max(1, ceil((minute + 1) * 60 - now))))
        if self._per_second and counts.in_second >= self._per_second:
            raise RequestRefused(refusals.too_often(1))
        counts.in_second += 1
        counts.in_minute += 1


class Minutes:
    """Counts what anybody can cause, from one minute to the next, so that nobody fills the store with it."""

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._until = 0.0
        self._count = 0

    def count(self) -> int:
        """Count once more; return how often that was in the minute that is running."""
        now = self._now()
        if now >= self._until:
            self._until, self._count = now + 60.0, 0
        self._count += 1
        return self._count
