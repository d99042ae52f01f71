"""The captured HTTP messages of the specification, and how two documents are compared."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

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


@pytest.fixture(scope="session")
def capture() -> Callable[[str], Capture]:
    """Reads a capture by its number."""

    def read(number: str) -> Capture:
        (path,) = CAPTURES.glob(f"{number}-*.http")
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        start_line, *lines = head.decode("ascii").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Capture(start_line, headers, body)

    return read


@pytest.fixture(scope="session")
def canonical() -> Callable[[bytes], bytes]:
    """Writes a document in exclusive canonical form without the white space between elements."""

    def write(data: bytes) -> bytes:
        root = etree.fromstring(data)
        for element in root.iter():
            if len(element) and not (element.text or "").strip():
                element.text = None
            if not (element.tail or "").strip():
                element.tail = None
        return etree.tostring(root, method="c14n", exclusive=True)

    return write
