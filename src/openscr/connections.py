"""The connections of one listener: how many there may be, of whom, and who makes room for whom.

At the limit the connection that has been without a request for longest ends, so that neither clients who keep theirs
for later nor those who never say what they want keep others out. Only when every connection is in use is a newcomer
refused: it is told so when it asks, or, when many are being told already, it is cut off.

Spec: 00 §7; 90 §6.3.
"""

import resource
from collections import Counter, OrderedDict
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol

OTHER_FILES: Final = 512
"""File descriptors that are kept for everything but the listeners: the store, deliveries, logs."""

FEWEST: Final = 8
"""Connections that a listener may have in any case."""


def connections_possible(wanted: int, listeners: int) -> int:
    """Return how many connections each of so many listeners may have: ``wanted``, or what file descriptors allow.

    The process's own limit is raised as far as the system permits: its default is that of programs of long ago.
    """
    own, highest = resource.getrlimit(resource.RLIMIT_NOFILE)
    # A handshake under way needs two, and who is told that there is no room needs one.
    needed = listeners * (wanted + wanted // 4) + OTHER_FILES
    if own != resource.RLIM_INFINITY and own < needed:
        own = needed if highest == resource.RLIM_INFINITY else min(needed, highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (own, highest))
    if own in (resource.RLIM_INFINITY, needed) or own > needed:
        return wanted
    return max(FEWEST, (own - OTHER_FILES) * 4 // (5 * listeners))


class Connection(Protocol):
    """A connection as it is counted."""

    def make_room(self) -> None:
        """End at once; no request is under way."""

    def look_at_reading(self) -> None:
        """End if the client does not read its answer."""


class Place(Enum):
    """What becomes of a connection: it is served, it is told that there is no room, or it is cut off."""

    SERVED = "served"
    TOLD = "told"
    CUT_OFF = "cut-off"


def _nobody(_address: str) -> bool:
    return False


class Connections:
    """Counts the connections of a listener, in all and by network address.

    Of ``most`` at a time one address has ``most_of_one`` (0: any number), unless ``shared`` says that many clients are
    behind it. ``shed`` is told why, each time that one is not served.
    """

    def __init__(
        self,
        most: int,
        most_of_one: int = 0,
        *,
        shared: Callable[[str], bool] = _nobody,
        shed: Callable[[str], None] | None = None,
    ) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._most_told = max(8, most // 8)
        self._shared = shared
        self._shed = shed
        self._served: dict[Connection, str] = {}
        self._told: set[Connection] = set()
        # Those of the served ones that have no request under way, in the order in which they came to have none.
        self._unused: OrderedDict[Connection, None] = OrderedDict()
        self._of_address: Counter[str] = Counter()
        self._arriving: Counter[str] = Counter()

    def __len__(self) -> int:
        """Return how many connections are open."""
        return len(self._served) + len(self._told)

    def look_at_reading(self) -> None:
        """End the connections whose clients do not read their answers. Call it now and then."""
        for connection in (*self._served, *self._told):
            connection.look_at_reading()

    # --- before there is a connection -------------------------------------------------------------------------------

    def may_arrive(self, address: str) -> bool:
        """Whether it is worth to shake hands with somebody; if so, `arrived` must be called after that."""
        if self._too_many_of(address, self._of_address[address] + self._arriving[address]):
            self._refused("address")
            return False
        if len(self) >= self._most + self._most_told and not self._unused:
            self._refused("connections")
            return False
        self._arriving[address] += 1
        return True

    def arrived(self, address: str) -> None:
        """Note that a handshake is over, however it went."""
        self._arriving[address] -= 1
        if self._arriving[address] <= 0:
            del self._arriving[address]

    # --- while there is one -----------------------------------------------------------------------------------------

    def opened(self, connection: Connection, address: str) -> Place:
        """Say what becomes of a new connection. Whatever it is, `closed` may be called at its end."""
        reason = ""
        if self._too_many_of(address, self._of_address[address]):
            reason = "address"
        elif len(self._served) >= self._most and not self._make_room():
            reason = "connections"
        if not reason:
            self._served[connection] = address
            self._of_address[address] += 1
            self._unused[connection] = None
            return Place.SERVED
        self._refused(reason)
        if len(self._told) >= self._most_told:
            return Place.CUT_OFF
        self._told.add(connection)
        return Place.TOLD

    def closed(self, connection: Connection) -> None:
        """Note that a connection has ended."""
        self._told.discard(connection)
        self._unused.pop(connection, None)
        address = self._served.pop(connection, None)
        if address is not None:
            self._of_address[address] -= 1
            if not self._of_address[address]:
                del self._of_address[address]

    def in_use(self, connection: Connection) -> None:
        """Note that the whole head of a request has come."""
        self._unused.pop(connection, None)

    def unused(self, connection: Connection) -> None:
        """Note that every request has its answer."""
        if connection in self._served:
            self._unused[connection] = None

    def _make_room(self) -> bool:
        if not self._unused:
            return False
        connection, _ = self._unused.popitem(last=False)
        # It ends in a moment; its place is free from now on.
        self.closed(connection)
        connection.make_room()
        return True

    def _too_many_of(self, address: str, count: int) -> bool:
        return 0 < self._most_of_one <= count and not self._shared(address)

    def _refused(self, reason: str) -> None:
        if self._shed is not None:
            self._shed(reason)
