"""A transaction of which nobody knows whether it was committed: what is done so that the answer is true.

Spec: engine.md "connection cut or any error at COMMIT"; 40 §8.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from openscr.errors import Conflict, OutcomeUnknown, StoreUnavailable
from openscr.store.interface import Store, Transaction

T = TypeVar("T")


async def transact_until_known(store: Store, slot: int, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run ``work`` in a transaction of ``slot``; when its outcome is unknown, once more.

    ``work`` must recognise what it has done itself, and then do nothing again. Waiting for the slot the second run also
    waits for the end of the first. Raises: `StoreError`, `OutcomeUnknown` when the second outcome is unknown too.
    """
    try:
        return await store.transact(slot, work)
    except OutcomeUnknown:
        return await store.transact(slot, work)


async def write_until_known(write: Callable[[], Awaitable[None]]) -> None:
    """Run one write that commits by itself; when it may or may not have done so, once more.

    Its row bears an id that nobody else has: that there is one already says that it was written, and only then.
    Raises: `StoreError`.
    """
    try:
        await write()
    except (OutcomeUnknown, StoreUnavailable):
        with suppress(Conflict):
            await write()
