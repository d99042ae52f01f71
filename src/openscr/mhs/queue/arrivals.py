"""Those who wait for queue messages: woken at once by an enqueue in this process, else by looking.

Spec: 50 E4, E5.
"""

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from openscr.mhs.replies import Replies

T = TypeVar("T")

_ANY: Final = ""
"""All wait for the same thing: whichever message comes next."""


class Arrivals:
    """Wakes consumers and relays. One object for a process, shared as ``AdaptorContext.arrivals``.

    Whoever has committed a `Transaction.enqueue` calls `tell` after `Store.transact` has returned, never within the
    work; so does who has made a message wait again. Forgetting it loses nothing: the message is found by looking,
    ``interval`` seconds later.
    """

    def __init__(self) -> None:
        self._waiting = Replies()

    def tell(self) -> None:
        """Tell that there is something on the queue now."""
        self._waiting.arrived(_ANY)

    async def wait(self, find: Callable[[], Awaitable[T | None]], *, seconds: float, interval: float = 1.0) -> T | None:
        """Return what ``find`` finds as soon as it finds something, none after ``seconds``; it is asked once at least.

        ``interval`` is how often, in seconds, it is asked without having been told.
        """
        return await self._waiting.wait(_ANY, find, seconds=seconds, interval=interval)
