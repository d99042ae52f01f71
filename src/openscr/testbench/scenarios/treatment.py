"""What a scenario does to one request: the plain value behind `openscr.faces.spine.interference.Treatment`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from openscr.spine import Outcome


def as_it_is(body: bytes) -> bytes:
    """Return a body as it is."""
    return body


@dataclass(frozen=True, slots=True)
class Treatment:
    """What is done to a request and its answer; the fields are those of the interface that the Spine face has.

    ``twice`` has the application acknowledgement delivered a second time.
    """

    scenario: str = ""
    behaviour: str = ""
    fault: str = ""
    status: int = 0
    silent: bool = False
    refusal: Outcome | None = None
    by_acknowledgement: bool = False
    message_errors: tuple[str, ...] = ()
    answer_status: int = 0
    late: float = 0.0
    hold: float = 0.0
    bytes_per_second: int = 0
    drop: Literal["", "before", "middle"] = ""
    content_type: str = ""
    rewrite: Callable[[bytes], bytes] = as_it_is
    twice: bool = False

    @property
    def processed(self) -> bool:
        """Whether the message is decided and stored as it would be without the scenario."""
        replaced = self.fault or self.status or self.silent or self.message_errors
        return not replaced and self.refusal is None

    def edit(self, body: bytes) -> bytes:
        """Return the body of the answer as it is really sent."""
        return self.rewrite(body)
