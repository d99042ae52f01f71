"""``multipart/related`` on bytes: a strict splitter, and the one form in which we write it.

The splitter works on positions in the body and copies nothing. It takes every framing that a client of the field is
known to send, and bounds what a hostile one can ask of it: time is linear in the body, parts, headers and boundary
have limits.

Spec: 40 §5.1, §10.5.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Final

from openscr.errors import MalformedMultipart, NotMultipart

MAX_PARTS: Final = 100
MAX_HEADER_BYTES: Final = 16 * 1024
MAX_BOUNDARY: Final = 200

HEADER_CONTENT_ID: Final = "ebXMLHeader@spine.nhs.uk"
"""Content-Id of the part with the ebXML envelope. Spec: 40 §5.1."""

CLIENT_CONTENT_TYPE: Final = (
    f'multipart/related; boundary="--=_MIME-Boundary"; type="text/xml"; start="<{HEADER_CONTENT_ID}>"'
)
"""Content-Type of a message that a client sends to Spine. Spec: 40 §5.1."""

SPINE_CONTENT_TYPE: Final = (
    f'multipart/related; boundary="--=_MIME-Boundary"; charset="UTF-8"; type="text/xml"; start="<{HEADER_CONTENT_ID}>"'
)
"""Content-Type of what Spine sends: delivered messages and poll results. Spec: 40 §10.5."""

CLIENT_PART_TYPE: Final = "text/xml; charset=UTF-8"
"""Content-Type of both parts of a client's message."""

SPINE_HEADER_TYPE: Final = "text/xml"
SPINE_PAYLOAD_TYPE: Final = "application/xml"

BOUNDARY: Final = "--=_MIME-Boundary"
_BOUNDARIES: Final = re.compile(BOUNDARY.encode() + b"([0-9]{0,9})")
"""More digits than any content has boundaries."""
"""The boundary that everybody uses. Spec: 40 §5.1, 50 C5."""

_DELIMITER: Final = b"--" + BOUNDARY.encode()

_PARAMETER: Final = re.compile(r"""\s*+;(?:\s*+([^\s=;"]++)\s*+=\s*+(?:"((?:[^"\\]|\\.)*+)"|([^;"]*+)))?+""", re.DOTALL)
_BOUNDARY: Final = re.compile(r"[ -~]*[!-~]\Z")
_REST_OF_DELIMITER_LINE: Final = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z)")
_HEADER_NAME: Final = re.compile(rb"[!-9;-~]++\Z")
_WHITE_SPACE: Final = b" \t\r\n\v\f"
_PLAIN_ENCODINGS: Final = frozenset({"", "7bit", "8bit", "binary"})


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a body: its content is ``body[start:end]``, still in its transfer encoding.

    ``content_id`` stands without angle brackets. ``content_type`` is empty when the part names none. ``encoding`` is
    the content transfer encoding in lower case, empty when the part names none. Spec: 40 §5.1.
    """

    content_id: str | None
    content_type: str
    encoding: str
    start: int
    end: int

    def content(self, body: bytes) -> bytes:
        """Return the decoded content.

        Raises: `MalformedMultipart` when the encoding is not one that is accepted, or the content is broken.
        """
        found = body[self.start : self.end]
        if self.encoding in _PLAIN_ENCODINGS:
            return found
        if self.encoding != "base64":
            raise MalformedMultipart("the content transfer encoding of a part is not one of 7bit, 8bit, binary, base64")
        try:
            return base64.b64decode(found.translate(None, _WHITE_SPACE), validate=True)
        except binascii.Error:
            pass
        raise MalformedMultipart("a part is not valid base64")


@dataclass(frozen=True, slots=True)
class Multipart:
    """A body and its parts; ``root`` is the one that ``start`` names, else the first. Spec: 40 §5.1."""

    body: bytes
    parts: tuple[Part, ...]
    root: Part

    def part(self, content_id: str) -> Part | None:
        """Return the part with this Content-Id (without angle brackets), or none."""
        return next((part for part in self.parts if part.content_id == content_id), None)


def read_multipart(content_type: str | None, body: bytes) -> Multipart:
    """Split a body by what its ``Content-Type`` header says.

    Raises: `NotMultipart` when it is not ``multipart/related`` with a boundary or holds no part; `MalformedMultipart`
    when a part has a header block that cannot be read, or a limit is exceeded. Spec: 40 §5.1.
    """
    delimiter, start = _read_framing(content_type or "")
    parts: list[Part] = []
    for begin, end in _part_spans(body, delimiter):
        if len(parts) == MAX_PARTS:
            raise MalformedMultipart(f"the body has more than {MAX_PARTS} parts")
        parts.append(_read_part(body, begin, end))
    if not parts:
        raise NotMultipart("the body has no part")
    root = next((part for part in parts if part.content_id == start), parts[0]) if start else parts[0]
    return Multipart(body, tuple(parts), root)


@lru_cache(maxsize=64)  # a client frames all of its messages alike
def _read_framing(content_type: str) -> tuple[bytes, str]:
    """Return the delimiter and the Content-Id of the root part, which is empty when none is named."""
    media_type, parameters = read_content_type(content_type)
    if media_type != "multipart/related":
        raise NotMultipart("the Content-Type is not multipart/related")
    boundary = parameters.get("boundary", "").rstrip()
    if not 0 < len(boundary) <= MAX_BOUNDARY or _BOUNDARY.match(boundary) is None:
        raise NotMultipart("the Content-Type names no usable boundary")
    return b"--" + boundary.encode("ascii"), _without_brackets(parameters.get("start", ""))


def read_content_type(content_type: str) -> tuple[str, dict[str, str]]:
    """Return the media type in lower case, and its parameters by their names in lower case.

    Raises: `MalformedMultipart` when the parameters cannot be read, or say two things. Spec: 40 §5.1.
    """
    media_type = content_type.partition(";")[0]
    parameters: dict[str, str] = {}
    at = len(media_type)
    while at < len(content_type):
        found = _PARAMETER.match(content_type, at)
        if found is None:
            break
        at = found.end()
        name, quoted, bare = found.groups()
        if name is None:
            continue
        value = re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted is not None else bare.strip()
        # Two different readings of where the parts are must not be possible.
        if parameters.setdefault(name.lower(), value) != value:
            raise MalformedMultipart("the Content-Type names a parameter twice")
    if content_type[at:].strip():
        raise MalformedMultipart("the parameters of the Content-Type cannot be read")
    return media_type.strip().lower(), parameters


def _part_spans(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part begins (after its delimiter line) and ends (before the line end of the next one)."""
    begin = -1
    for at, line_end, closes in _delimiter_lines(body, delimiter):
        if begin >= 0:
            yield begin, _before_line_end(body, begin, at)
        if closes:
            return
        begin = line_end
    # No close delimiter: the last part ends with the body. Nothing but white space after a delimiter is no part, it
    # is the closing delimiter of a client that leaves its hyphens away.
    if begin >= 0 and body[begin:].strip():
        yield begin, len(body)


def _delimiter_lines(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int, bool]]:
    """Yield where each delimiter line begins and ends, and whether it is the closing one.

    A line that only starts like a delimiter is content.
    """
    needle = b"\n" + delimiter
    newline = -1 if body.startswith(delimiter) else body.find(needle)
    if newline < 0 and not body.startswith(delimiter):
        return
    while True:
        rest = _REST_OF_DELIMITER_LINE.match(body, newline + len(needle))
        if rest is not None:
            yield newline + 1, rest.end(), rest.group(1) is not None
        # The line end of a delimiter line may be the one that introduces the next delimiter.
        newline = body.find(needle, rest.end() - 1 if rest is not None else newline + 1)
        if newline < 0:
            return


def _before_line_end(body: bytes, begin: int, at: int) -> int:
    """Return the position before the line end that stands before ``at``, which belongs to the delimiter."""
    at -= 1
    if at > begin and body[at - 1] == 0x0D:
        at -= 1
    return max(at, begin)


def _read_part(body: bytes, begin: int, end: int) -> Part:
    fields: dict[bytes, str] = {}
    limit = min(end, begin + MAX_HEADER_BYTES)
    at = begin
    header: list[bytes] = []  # the lines of one header
    while at < end:
        newline = body.find(b"\n", at, limit)
        if newline < 0:
            if limit < end:
                raise MalformedMultipart(f"the header block of a part exceeds {MAX_HEADER_BYTES} bytes")
            newline = end
        line = body[at:newline].removesuffix(b"\r")
        at = min(newline + 1, end)
        if line[:1] in (b" ", b"\t"):
            header.append(line)
            continue
        if header:
            _read_header(b"".join(header), fields)
        header = [line] if line else []
        if not line:
            break
    if header:
        _read_header(b"".join(header), fields)
    content_id = fields.get(b"content-id")
    return Part(
        content_id=None if content_id is None else _without_brackets(content_id),
        content_type=fields.get(b"content-type", ""),
        encoding=fields.get(b"content-transfer-encoding", "").lower(),
        start=at,
        end=end,
    )


def _read_header(header: bytes, fields: dict[bytes, str]) -> None:
    name, colon, value = header.partition(b":")
    if not colon or _HEADER_NAME.match(name) is None:
        raise MalformedMultipart("the header block of a part cannot be read")
    name = name.lower()
    text = value.strip().decode("utf-8", "replace")
    if fields.setdefault(name, text) != text and name.startswith(b"content-"):
        raise MalformedMultipart("a part has two different headers of one name")


def _without_brackets(content_id: str) -> str:
    content_id = content_id.strip()
    if content_id.startswith("<") and content_id.endswith(">"):
        return content_id[1:-1]
    return content_id


def write_multipart(parts: Sequence[tuple[str, str, bytes]]) -> bytes:
    """Write parts given as Content-Id (without angle brackets), Content-Type and content.

    The result belongs to `CLIENT_CONTENT_TYPE` and `SPINE_CONTENT_TYPE`; the first part is the ebXML envelope, with
    `HEADER_CONTENT_ID`. Raises: `ValueError` for no part, or a header value that would break its line.
    Spec: 40 §10.5.
    """
    encoded: list[EncodedPart] = []
    for content_id, content_type, content in parts:
        # The boundary is fixed by the protocol; a document that quotes it must not be able to end its own part.
        quoted = _DELIMITER in content
        safe = base64.encodebytes(content).replace(b"\n", b"\r\n") if quoted else content
        encoded.append((content_id, content_type, "base64" if quoted else "8bit", safe))
    return write_encoded(encoded)


EncodedPart = tuple[str, str, str, bytes]
"""Content-Id (without angle brackets), Content-Type, Content-Transfer-Encoding, and content in that encoding."""


def write_encoded(parts: Sequence[EncodedPart], *, boundary: str = BOUNDARY, line_end: bytes = b"\r\n") -> bytes:
    """Write parts whose contents stand in their transfer encoding, none of them with the delimiter in it.

    Raises: `ValueError` for no part, or a header value that would break its line. Spec: 40 §5.1; 50 §2.5.
    """
    if not parts:
        raise ValueError("a multipart body has at least one part")
    delimiter = b"--" + boundary.encode()
    written: list[bytes] = []
    for content_id, content_type, encoding, content in parts:
        if not content_id.isprintable() or not content_type.isprintable():
            raise ValueError("a part header must not hold control characters")
        header = (
            delimiter,
            f"Content-Id: <{content_id}>".encode(),
            f"Content-Type: {content_type}".encode(),
            f"Content-Transfer-Encoding: {encoding}".encode(),
            b"",
        )
        for line in header:
            written += (line, line_end)
        written += (content, line_end)
    written += (delimiter, b"--", line_end)
    return b"".join(written)


def boundary_for(contents: Iterable[bytes]) -> str:
    """Return the usual boundary or, if it occurs in a content, the first of its kind that occurs in none. 50 C5."""
    # Once through every content, however many boundaries somebody has put into it; whatever begins like one is one.
    taken: set[str] = set()
    usual = BOUNDARY.encode()
    for content in (each for each in contents if usual in each):
        for found in _BOUNDARIES.finditer(content):
            number = found.group(1).decode()
            taken.update(number[:length] for length in range(len(number) + 1))
    numbers = (str(number or "") for number in count())
    return next(f"{BOUNDARY}{number}" for number in numbers if number not in taken)
