"""Processes that work on one store: what comes into one of them is made known to those who wait in another.

Spec: 50 F3.
"""

from dataclasses import dataclass
from typing import Final

from openscr.mhs.queue.arrivals import Arrivals
from openscr.mhs.replies import Replies
from openscr.mhs.store.interface import Announcing, Store

_QUEUE: Final = "queue"
_REPLY: Final = "reply "


@dataclass(frozen=True, slots=True)
class _Told:
    """Tells the other processes of a store, of one kind of thing."""

    store: Announcing
    word: str

    @property
    def hearing(self) -> bool:
        """Whether they can tell us."""
        return self.store.hearing

    def tell(self, message_id: str) -> None:
        """Tell them."""
        self.store.announce(self.word + message_id)


def join(store: Store, *, alone: bool) -> tuple[Replies, Arrivals]:
    """Return those who wake waiting callers and consumers, in all processes if the store lets them speak.

    ``alone`` is whether all replies come into this process, should it not. To be called before the store is opened.
    """
    if not isinstance(store, Announcing):
        return Replies(local=alone), Arrivals()
    replies = Replies(elsewhere=_Told(store, _REPLY))
    arrivals = Arrivals(_Told(store, _QUEUE))

    def heard(word: str) -> None:
        if word.startswith(_REPLY):
            replies.heard(word.removeprefix(_REPLY))
        elif word == _QUEUE:
            arrivals.heard()
        else:
            replies.wake_all()
            arrivals.heard()

    store.listen(heard)
    return replies, arrivals
