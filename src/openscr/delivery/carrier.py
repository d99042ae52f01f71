"""What carries a message to an address, and what comes back: the seam between those who send and the ways to send.

Spec: 40 §6.3, §6.4.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and body of the receiver's answer; names of ``headers`` are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Carrier(Protocol):
    """Carries one message to an address, once."""

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, names: Collection[str] = ()
    ) -> HttpAnswer:
        """Send and return the answer.

        ``names`` are those that the receiver's certificate may bear, if it shows one; none: whatever it says.
        Raises: `DeliveryError` when there is no answer, or nothing was sent because somebody else would have read it.
        """
