"""What an input is wrapped in: a raw HTTP message, header lines alone, a bare multipart body, or nothing.

Spec: 40 §4.1, §5.1, §5.2.
"""

import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

MAX_HEAD: Final = 64 * 1024
"""Bytes of an HTTP head that are looked at."""

_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[^\r\n]*)?\r\n")
_TRAILER: Final = re.compile(rb"[^\r\n]*\r\n")
_START_LINE: Final = re.compile(rb"(?:[A-Z]{3,10} [!-~]+ HTTP/\d(?:\.\d)?|HTTP/\d(?:\.\d)? (\d{3})[^\r\n]*)\r?\n")
_HEADER_NAME: Final = re.compile(rb"[!#-'*+.0-9A-Z^_`a-z|~-]+\Z")
_FIRST_DELIMITER: Final = re.compile(rb"--([!-~][ -~]{0,198})[ \t]*\r?\n")
_BOM: Final = b"\xef\xbb\xbf"


Headers = dict[str, list[tuple[str, int]]]
"""Values by lower-case name, each with the offset of its line."""


@dataclass(frozen=True, slots=True)
class Framing:
    """An input apart from its body, which begins at byte ``body``.

    ``start_line`` is empty without one; ``status`` is that of an answer. ``headers`` are by lower-case name, all values
    with the offsets of their lines. ``boundary`` is that of a multipart body which came without a header to name it.
    ``folded`` is where the first header goes on in a second line, none when none does.
    """

    body: int
    start_line: str = ""
    status: int | None = None
    headers: Headers = field(default_factory=dict)
    boundary: str = ""
    folded: int | None = None

    @property
    def is_http(self) -> bool:
        """Whether this is a whole HTTP message."""
        return bool(self.start_line)

    @property
    def is_request(self) -> bool:
        """Whether this is an HTTP request."""
        return bool(self.start_line) and self.status is None

    @property
    def method(self) -> str:
        """The method of a request, empty for anything else."""
        return self.start_line.partition(" ")[0] if self.is_request else ""

    @property
    def path(self) -> str:
        """The path of a request, decoded and without its query; empty for anything else."""
        if not self.is_request:
            return ""
        target = self.start_line.split(" ")[1]
        if not target.startswith("/"):
            target = "/" + target.partition("://")[2].partition("/")[2]
        return unquote(target.partition("#")[0].partition("?")[0])

    @property
    def transfer_coding(self) -> str:
        """The Transfer-Encoding in lower case, empty without one."""
        return ",".join(value for value, _ in self.values("transfer-encoding")).lower()

    def values(self, name: str) -> list[tuple[str, int]]:
        """Return all values of a header, with the offsets of their lines."""
        return self.headers.get(name, [])

    def header(self, name: str) -> str | None:
        """Return the value of a header, of several the first; none without it."""
        found = self.values(name)
        return found[0][0] if found else None

    def offset_of(self, name: str) -> int:
        """Return where a header stands; the beginning without it."""
        found = self.values(name)
        return found[0][1] if found else 0

    @property
    def content_type(self) -> str | None:
        """The Content-Type, made up for a multipart body that came without."""
        if self.boundary:
            return f'multipart/related; boundary="{self.boundary}"'
        return self.header("content-type")

    @property
    def is_multipart(self) -> bool:
        """Whether the body is said to be, or looks like, a multipart one."""
        return (self.content_type or "").strip().lower().startswith("multipart/")


def read_framing(data: bytes) -> Framing:
    """Find out what stands around the body of an input. Nothing is raised: what is unknown is all body."""
    start = len(data) - len(data.lstrip())
    if data.startswith(_BOM):
        start = len(_BOM)
    first = _START_LINE.match(data, start)
    if first is not None:
        headers, body, folded = _read_headers(data, first.end())
        status = int(first.group(1)) if first.group(1) else None
        line = first.group().decode("ascii", "replace").strip()
        return Framing(body, line, status, headers, _bare(data, body, headers), folded)
    headers, body, _ = _read_headers(data, start)
    if "content-type" in headers:
        return Framing(body, headers=headers)
    return Framing(start if data[start : start + 2] == b"--" else 0, boundary=_bare(data, start, {}))


@dataclass(frozen=True, slots=True)
class Unchunked:
    """A body without its chunks. ``pieces`` say where in the input each stretch of ``content`` stands: offsets of both.

    ``broken`` is where in the input the chunks end to be readable, none when they are whole.
    """

    content: bytes
    pieces: tuple[tuple[int, int], ...]
    broken: int | None = None


def read_chunks(data: bytes, at: int) -> Unchunked:
    """Take the chunks off the body that begins at byte ``at``, as strictly as the service does. Spec: 40 §4.1."""
    content = bytearray()
    pieces: list[tuple[int, int]] = []
    while True:
        line = _CHUNK_SIZE.match(data, at)
        if line is None:
            return Unchunked(bytes(content), tuple(pieces), at)
        size = int(line.group(1), 16)
        if size == 0:
            break
        begin, end = line.end(), line.end() + size
        if data[end : end + 2] != b"\r\n":
            return Unchunked(bytes(content), tuple(pieces), at)
        pieces.append((len(content), begin))
        content += data[begin:end]
        at = end + 2
    at = line.end()
    while (trailer := _TRAILER.match(data, at)) is not None:
        at = trailer.end()
        if trailer.group() == b"\r\n":
            rest = data[at:]
            return Unchunked(bytes(content), tuple(pieces), at if rest.strip() else None)
    return Unchunked(bytes(content), tuple(pieces), at)


def _bare(data: bytes, body: int, headers: Headers) -> str:
    """Return the boundary that the first line of a body shows, when no header says what the body is."""
    found = _FIRST_DELIMITER.match(data, body) if "content-type" not in headers else None
    boundary = found.group(1).decode("ascii").rstrip() if found is not None else ""
    return "" if set(boundary) & set('"\\') else boundary


def _read_headers(data: bytes, at: int) -> tuple[Headers, int, int | None]:
    """Return the headers, where the body begins, and where the first header is folded."""
    headers: Headers = {}
    limit = min(at + MAX_HEAD, len(data))
    name = ""
    folded: int | None = None
    while at < limit:
        newline = data.find(b"\n", at, limit)
        end = newline if newline >= 0 else limit
        line = data[at:end].rstrip(b"\r")
        if not line:
            return headers, min(end + 1, len(data)), folded
        field_name, colon, value = line.partition(b":")
        if line[:1] in b" \t" and name:
            known, where = headers[name][-1]
            headers[name][-1] = (f"{known} {line.strip().decode('utf-8', 'replace')}", where)
            folded = at if folded is None else folded
        elif colon and _HEADER_NAME.match(field_name) is not None:
            name = field_name.decode("ascii").lower()
            headers.setdefault(name, []).append((value.strip().decode("utf-8", "replace"), at))
        else:
            return headers, at, folded
        at = end + 1
    return headers, min(at, len(data)), folded
