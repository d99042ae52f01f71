"""Token buckets: how often one sender may ask, whatever the others do. Spec: 90 §6.3; 40 §6.4."""

from collections import OrderedDict
from collections.abc import Callable
from math import ceil
from time import monotonic


class TokenBuckets:
    """A bucket for each sender: it holds ``burst`` requests and is refilled with ``rate`` of them a second.

    A ``rate`` of zero switches the limit off. ``most`` bounds the senders that are known at a time; who has asked
    longest ago is forgotten first.
    """

    def __init__(
        self, rate: float, burst: float = 0.0, *, most: int = 10_000, now: Callable[[], float] = monotonic
    ) -> None:
        self._rate = rate
        self._burst = max(1.0, burst or 2 * rate)
        self._most = most
        self._now = now
        # What each sender had left, and when that was.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, sender: str) -> int:
        """Take one request out of a sender's bucket. Returns: 0, or after how many seconds there will be one again.

        What is refused costs the sender nothing.
        """
        if not self._rate:
            return 0
        now = self._now()
        left, since = self._left.get(sender, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        if left < 1:
            return max(1, ceil((1 - left) / self._rate))
        self._left[sender] = (left - 1, now)
        self._left.move_to_end(sender)
        if len(self._left) > self._most:
            self._left.popitem(last=False)
        return 0
