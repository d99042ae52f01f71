"""How captures are read, and how two documents are compared."""

from collections.abc import Callable

import pytest
from captured import CAPTURES, Capture
from lxml import etree


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
