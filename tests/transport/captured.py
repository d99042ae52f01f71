"""The captured HTTP messages of the specification."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from openscr.transport.mime import Multipart, read_multipart

CAPTURES = Path(__file__).parent.parent / "messages" / "transport"


@dataclass(frozen=True)
class Capture:
    """One raw HTTP message. Header names are lower case."""

    start_line: str
    headers: Mapping[str, str]
    body: bytes

    def multipart(self) -> Multipart:
        return read_multipart(self.headers["content-type"], self.body)
