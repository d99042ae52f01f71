"""What clients write down of their dealings with a service, line by line, on disk before they go on."""

import hashlib
import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

Line = dict[str, Any]
"""One line: ``what`` happened to the message ``message_id``, ``at`` which second of this machine's, and more.

``seconds`` is how long an exchange took, whatever came of it.
"""


class Journal:
    """What one client knows."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, what: str, message_id: str, **more: object) -> None:
        """Write one line about a message."""
        line = {"what": what, "message_id": message_id, "at": time.monotonic(), **more}
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        """Write on."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()


def read_journals(folder: Path) -> dict[str, list[Line]]:
    """Return the lines of all journals by message."""
    found: dict[str, list[Line]] = {}
    for path in sorted(folder.glob("client-*.jsonl")):
        for text in path.read_text("utf-8").splitlines():
            line = json.loads(text)
            found.setdefault(line["message_id"], []).append(line)
    return found


def longest_exchange(journals: Iterable[list[Line]]) -> float:
    """Return how many seconds the longest exchange took, whether or not it was answered."""
    return max((line.get("seconds", 0.0) for lines in journals for line in lines), default=0.0)


def later_than(limit: float, journals: Iterable[list[Line]]) -> int:
    """Return how many exchanges took longer than ``limit`` seconds."""
    return sum(line.get("seconds", 0.0) > limit for lines in journals for line in lines)


def digest_of(data: bytes) -> str:
    """Return what stands in a journal for some bytes."""
    return hashlib.sha256(data).hexdigest()
