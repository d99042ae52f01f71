"""Captures whose body came in chunks: taken off as strictly as the service does, places told in the capture."""

import pytest

from openscr.validation import validate

from .judging import errors, example
from .test_packaging import UPLOAD, line_of, without_status

QUERY = example("transport", "11-")
ANSWER = example("transport", "12-")


def chunked(capture: bytes, size: int = 1_000, end: bytes = b"0\r\n\r\n") -> bytes:
    """Write the body of a capture in chunks of a size."""
    head, _, body = capture.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    written = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"\r\n".join([*lines, b"Transfer-Encoding: chunked", b"", written]) + end


@pytest.mark.parametrize("capture", [UPLOAD, QUERY, ANSWER], ids=["upload", "query", "answer"])
@pytest.mark.parametrize("size", [7, 1_000, 1 << 20])
def test_a_body_in_chunks_is_judged(capture: bytes, size: int) -> None:
    whole, pieces = validate(capture), validate(chunked(capture, size))
    assert pieces.ok
    assert (pieces.interaction, pieces.kind) == (whole.interaction, whole.kind)


def test_extensions_and_trailers_are_taken() -> None:
    data = chunked(QUERY, 1 << 20, b"0;last\r\nX-Checksum: 1\r\n\r\n")
    assert errors(validate(data)) == []


def test_the_place_is_that_in_the_capture() -> None:
    data = chunked(without_status(UPLOAD))
    (finding,) = errors(validate(data))
    assert finding.rule == "gp-G4"
    assert data[finding.offset :].startswith(b"<GPSummary")
    assert finding.line == line_of(data, b"<GPSummary")


def test_broken_xml_is_placed_in_the_capture() -> None:
    data = chunked(QUERY.replace(b"</query>", b"</quarry>"), 1 << 20)
    (finding,) = errors(validate(data))
    assert finding.line == line_of(data, b"</quarry>")
    assert finding.help.startswith(f"Line {finding.line}, ")


@pytest.mark.parametrize(
    "data",
    [
        chunked(QUERY, end=b""),
        chunked(QUERY, end=b"0\r\n"),
        chunked(QUERY, end=b"0\r\n\r\nmore"),
        chunked(QUERY).replace(b"\r\n3e8\r\n", b"\r\n3e9\r\n", 1),
        chunked(QUERY).replace(b"\r\n3e8\r\n", b"\r\n 3e8\r\n", 1),
        chunked(QUERY).replace(b"\r\n3e8\r\n", b"\r\n-3e8\r\n", 1),
        chunked(QUERY).replace(b"\r\n3e8\r\n", b"\r\n" + b"f" * 16 + b"\r\n", 1),
        chunked(QUERY).replace(b"\r\n3e8\r\n", b"\r\n3e8\n", 1),
        chunked(QUERY)
        .replace(b"encoding: chunked", b"encoding: gzip")
        .replace(b"Encoding: chunked", b"Encoding: gzip"),
        chunked(QUERY).replace(b"Transfer-Encoding", b"Content-Length: 5\r\nTransfer-Encoding", 1),
        QUERY.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n\r\n" + QUERY.partition(b"\r\n\r\n")[2],
    ],
    ids=["cut off", "no end", "more", "size", "space", "sign", "huge", "bare LF", "gzip", "length", "no chunks"],
)
def test_chunks_that_are_refused(data: bytes) -> None:
    assert ("http", "400") in {(finding.rule, finding.code) for finding in errors(validate(data))}
