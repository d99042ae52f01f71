"""What a unit of work does when nobody can say whether it was committed.

Spec: 40 §8; engine.md "outcome unknown".
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from openscr.errors import OutcomeUnknown
from openscr.store.interface import Store, Transaction

T = TypeVar("T")


async def transact_surely(store: Store, slot: int, work: Callable[[Transaction], Awaitable[T]]) -> T:
    """Run a unit that recognises what it has done before; once more when its commit broke off.

    Raises: as `Store.transact`.
    """
    try:
        return await store.transact(slot, work)
    except OutcomeUnknown:
        return await store.transact(slot, work)
