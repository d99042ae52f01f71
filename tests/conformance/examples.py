"""The specification's example messages, as they are."""

from dataclasses import dataclass

from lxml import etree

from openscr.transport.mime import Multipart, read_multipart
from openscr.transport.xml import read_xml
from shared import MESSAGES


def example(folder: str, name: str) -> bytes:
    """Read the one example of a folder whose name begins so."""
    (path,) = sorted((MESSAGES / folder).glob(f"{name}*"))
    return path.read_bytes()


@dataclass(frozen=True)
class Capture:
    """One raw HTTP message. Header names are lower case."""

    start_line: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path of a request."""
        return self.start_line.split(" ")[1]

    @property
    def status(self) -> int:
        """The status of an answer."""
        return int(self.start_line.split(" ")[1])

    def multipart(self) -> Multipart:
        """The parts of the body."""
        return read_multipart(self.headers["content-type"], self.body)


def capture(number: str) -> Capture:
    """Read a transport capture by its number."""
    head, _, body = example("transport", f"{number}-").partition(b"\r\n\r\n")
    start_line, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Capture(start_line, headers, body)


def interaction_in(envelope: bytes) -> etree._Element:
    """Return the first HL7 interaction below the SOAP body, whatever wraps it."""
    body = read_xml(envelope).find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
    assert body is not None
    return next(
        element
        for element in body.iterdescendants()
        if isinstance(element.tag, str) and etree.QName(element).localname.isupper()
    )
