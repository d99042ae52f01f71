"""Those who wait for queue messages: woken at once by an enqueue in this process, or in one that can tell us.

Whatever nobody tells of, such as the end of a lease, is found by looking.

Spec: 50 E4, E5.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from openscr.mhs.replies import Elsewhere, Replies

T = TypeVar("T")

_ANY: Final = ""
"""All wait for the same thing: whichever message comes next."""


class Arrivals:
    """Wakes consumers and relays. One object for a process, shared as ``AdaptorContext.arrivals``.

    Whoever has committed a `Transaction.enqueue` calls `tell` after `Store.transact` has returned, never within the
    work; so does who has made a message wait again. Forgetting it loses nothing: the message is found by looking,
    ``interval`` seconds later.
    """

    def __init__(self, elsewhere: Elsewhere | None = None) -> None:
        self._waiting = Replies()
        self._elsewhere = elsewhere

    def tell(self) -> None:
        """Tell that there is something on the queue now: others, if nobody waits here."""
        if not self._waiting.heard(_ANY) and self._elsewhere is not None:
            self._elsewhere.tell(_ANY)

    def heard(self) -> None:
        """Wake who waits here: another process says that there is something on the queue."""
        self._waiting.heard(_ANY)

    async def wait(self, find: Callable[[], Awaitable[T | None]], *, seconds: float, interval: float = 1.0) -> T | None:
        """Return what ``find`` finds as soon as it finds something, none after ``seconds``; it is asked once at least.

        ``interval`` is how often, in seconds, it is asked without having been told.
        """
        return await self._waiting.wait(_ANY, find, seconds=seconds, interval=interval)
