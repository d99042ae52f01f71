"""Messages as templates: written once by our own writers, then filled with fresh ids, numbers and times.

Making a message costs a generator a few microseconds, so that what is measured is the service.

Spec: 90 §6.4, §7.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from openscr.identifiers import ebxml_timestamp, hl7_timestamp

NUMBER: Final = b"0010000000"
"""Stands for the patient's number; of its length, and not one of anybody."""

MESSAGE: Final = b"0BE9C4E5-0001-4000-8000-0123456789AB"
"""Stands for the id of the message, which is also the event's."""

EVENT: Final = b"0BE9C4E5-0002-4000-8000-0123456789AB"
"""Stands for the id of the event that is asked for."""

EFFECTIVE: Final = b"19880706050403"
"""Stands for the effective time of a summary."""

WRITTEN_AT: Final = datetime(1999, 1, 2, 3, 4, 5, tzinfo=UTC)
HL7_TIME: Final = hl7_timestamp(WRITTEN_AT).encode()
EBXML_TIME: Final = ebxml_timestamp(WRITTEN_AT).encode()
"""What is written at `WRITTEN_AT` is of the moment when it is filled."""

_PLACES: Final = re.compile(
    b"(" + b"|".join(re.escape(each) for each in (NUMBER, MESSAGE, EVENT, EFFECTIVE, HL7_TIME, EBXML_TIME)) + b")"
)


class Template:
    """Bytes with places to be filled; every value is as long as what it stands for."""

    def __init__(self, content: bytes) -> None:
        self._pieces = _PLACES.split(content)
        self._places = [(index, piece) for index, piece in enumerate(self._pieces) if index % 2]
        self.size = len(content)

    def fill(self, values: Mapping[bytes, bytes]) -> bytes:
        """Return the message with ``values`` at their places."""
        pieces = self._pieces.copy()
        for index, key in self._places:
            pieces[index] = values[key]
        return b"".join(pieces)


def times_at(now: datetime) -> dict[bytes, bytes]:
    """Return the values of the times of a message that is made now."""
    hl7 = hl7_timestamp(now).encode()
    return {HL7_TIME: hl7, EFFECTIVE: hl7, EBXML_TIME: ebxml_timestamp(now).encode()}
