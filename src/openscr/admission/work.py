"""Admission: so much work at once, a short queue before it, and everybody else is told at once to come back.

A service that takes on whatever comes answers nobody in time. So a request whose body has come waits for a place among
those that are worked on, for a moment; when too many wait already it is refused before its body is read.

Invariants:

* No more than ``at_work`` requests are worked on, no more than ``waiting`` of a kind wait, none longer than
  ``patience``, and none is left without an answer for longer than ``answer``.
* Neither kind, messages to be stored and queries that somebody waits for, ever takes the other's last quarter of the
  places; queries go first.
* Senders take turns, and when the queue is full the one with most in it loses its latest: a sender with a backlog
  holds up itself.
* A body of ordinary size is never refused because of others' large ones.

Spec: 40 §6.4; 90 §4, §6.2, §6.3.
"""

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from time import monotonic
from typing import Final

import structlog

from openscr.admission.buckets import TokenBuckets
from openscr.errors import Overloaded

_log = structlog.get_logger("admission")

ORDINARY_BODY: Final = 65_536
"""Bytes of a body that has room whatever others hold: as much as a connection reads ahead in any case."""

AGAIN: Final = 1
"""Seconds after which a refused sender may well try again."""

_TOLD_EVERY: Final = 1.0


class Shed(StrEnum):
    """Why a request was not taken on: a label of the figures."""

    CONNECTIONS = "connections"
    QUEUE = "queue"
    PATIENCE = "patience"
    TIME = "time"
    MEMORY = "memory"
    SENDER_RATE = "sender-rate"
    SYSTEM_RATE = "system-rate"


class Kind(StrEnum):
    """What a request is for: a query that somebody waits for, or a message that is to be stored."""

    QUERY = "query"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one process takes on. Durations are seconds, sizes bytes, rates requests a second (0: any number).

    ``sender_rate`` is for one certificate, or one network address where there are none; ``system_rate`` for one ASID.
    A burst of 0 is twice the rate.
    """

    at_work: int = 32
    waiting: int = 512
    patience: float = 2.0
    answer: float = 4.5
    bodies: int = 268_435_456
    sender_rate: float = 0.0
    sender_burst: float = 0.0
    system_rate: float = 0.0
    system_burst: float = 0.0


_Waiting = dict[asyncio.Future[None], None]
"""Those of one sender that wait, in the order in which they came."""


class _Line:
    """The requests of one kind: those at work, and those that wait, by their senders, whose turn comes in order."""

    __slots__ = ("at_work", "most", "senders", "waiting")

    def __init__(self, most: int) -> None:
        self.most = most
        self.at_work = 0
        self.waiting = 0
        self.senders: OrderedDict[str, _Waiting] = OrderedDict()

    def join(self, sender: str, place: asyncio.Future[None]) -> None:
        """Stand behind the others of the same sender."""
        self.senders.setdefault(sender, {})[place] = None
        self.waiting += 1

    def leave(self, sender: str, place: asyncio.Future[None]) -> None:
        """Wait no longer; nothing happens to who does not wait."""
        own = self.senders.get(sender)
        if own is None or place not in own:
            return
        del own[place]
        self.waiting -= 1
        if not own:
            del self.senders[sender]

    def next(self) -> asyncio.Future[None]:
        """Take out the first of the sender whose turn it is; its next one waits for the turns of all others."""
        sender, own = self.senders.popitem(last=False)
        place = next(iter(own))
        del own[place]
        self.waiting -= 1
        if own:
            self.senders[sender] = own
        return place

    def longest(self) -> tuple[str, _Waiting]:
        """Return the sender of whom most wait."""
        return max(self.senders.items(), key=lambda item: len(item[1]))


class Admission:
    """Lets requests in to be worked on. Use: `check`, read the body, then `begin` or else `wait`, work, `end`.

    ``shed`` is told why, each time that a request is refused.
    """

    def __init__(
        self,
        bounds: Bounds = Bounds(),
        *,
        now: Callable[[], float] = monotonic,
        shed: Callable[[Shed], None] | None = None,
    ) -> None:
        self.bounds = bounds
        self.bodies = Bodies(bounds.bodies)
        self._now = now
        self._shed = shed
        self._at_work = 0
        share = max(1, bounds.at_work - bounds.at_work // 4)
        self._lines = {kind: _Line(share) for kind in Kind}
        self._senders = TokenBuckets(bounds.sender_rate, bounds.sender_burst, now=now)
        self._systems = TokenBuckets(bounds.system_rate, bounds.system_burst, now=now)
        self._told = 0.0
        self._untold: Counter[str] = Counter()

    @property
    def at_work(self) -> int:
        """How many requests are being worked on."""
        return self._at_work

    @property
    def waiting(self) -> int:
        """How many requests wait for a place."""
        return sum(line.waiting for line in self._lines.values())

    # --- before the body is read ------------------------------------------------------------------------------------

    def check(self, sender: str, kind: Kind) -> None:
        """Refuse what there is no place for, or what is too much of one sender. Raises: `Overloaded`."""
        line = self._lines[kind]
        if line.waiting >= self.bounds.waiting and not self._has_place(line) and self._is_longest(sender, line):
            raise Overloaded(Shed.QUEUE, AGAIN)
        seconds = self._senders.take(sender)
        if seconds:
            raise Overloaded(Shed.SENDER_RATE, seconds)

    def check_system(self, asid: str) -> None:
        """Refuse what is too much of one registered system. Raises: `Overloaded`."""
        seconds = self._systems.take(asid)
        if seconds:
            raise Overloaded(Shed.SYSTEM_RATE, seconds)

    # --- when it is there -------------------------------------------------------------------------------------------

    def begin(self, kind: Kind) -> bool:
        """Take a place, if one is free and nobody waits for it. Whoever gets one must `end`."""
        line = self._lines[kind]
        if line.waiting or not self._has_place(line):
            return False
        self._at_work += 1
        line.at_work += 1
        return True

    async def wait(self, sender: str, kind: Kind) -> None:
        """Wait for a place. Whoever gets one must `end`. Raises: `Overloaded`."""
        line = self._lines[kind]
        if line.waiting >= self.bounds.waiting:
            if self._is_longest(sender, line):
                raise Overloaded(Shed.QUEUE, AGAIN)
            crowd, own = line.longest()
            latest = next(reversed(own))
            line.leave(crowd, latest)
            if not latest.done():
                latest.set_exception(Overloaded(Shed.QUEUE, AGAIN))
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.join(sender, place)
        try:
            async with asyncio.timeout(self.bounds.patience):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled() and place.exception() is None:
                # The place was given in the moment in which it was given up.
                self.end(kind)
            line.leave(sender, place)
            if isinstance(error, TimeoutError):
                raise Overloaded(Shed.PATIENCE, AGAIN) from None
            raise

    def end(self, kind: Kind) -> None:
        """Give a place back: it is the next one's."""
        self._at_work -= 1
        self._lines[kind].at_work -= 1
        for line in self._lines.values():
            while line.waiting and self._has_place(line):
                place = line.next()
                if not place.done():
                    self._at_work += 1
                    line.at_work += 1
                    place.set_result(None)

    def _has_place(self, line: _Line) -> bool:
        return self._at_work < self.bounds.at_work and line.at_work < line.most

    def _is_longest(self, sender: str, line: _Line) -> bool:
        """Whether nobody has more waiting than this sender would have."""
        if not line.senders:
            return True
        _, longest = line.longest()
        return len(line.senders.get(sender, ())) + 1 >= len(longest)

    # --- what is said of it -----------------------------------------------------------------------------------------

    def refused(self, reason: Shed) -> None:
        """Count a request that was refused; the log hears of all of them together, once a second at most."""
        if self._shed is not None:
            self._shed(reason)
        self._untold[reason.value] += 1
        now = self._now()
        if now - self._told >= _TOLD_EVERY:
            self._told = now
            _log.warning("requests shed", at_work=self._at_work, waiting=self.waiting, **self._untold)
            self._untold.clear()


class Bodies:
    """The bytes of all bodies that are held at a time: ``most`` of them, and those of ordinary bodies besides."""

    __slots__ = ("_most", "held")

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0

    def take(self, size: int, before: int = 0) -> None:
        """Hold ``size`` more bytes of a body of which ``before`` are held. Raises: `Overloaded`."""
        if self.held + size > self._most and before + size > ORDINARY_BODY:
            raise Overloaded(Shed.MEMORY, AGAIN)
        self.held += size

    def give_back(self, size: int) -> None:
        """Hold ``size`` bytes no longer."""
        self.held -= size
