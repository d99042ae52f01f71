"""``multipart/related``: every framing of the field is read, nothing else is, and what is written is read back."""

from collections.abc import Callable

import pytest
from captured import Capture
from hypothesis import given
from hypothesis import strategies as st

from openscr.errors import MalformedMultipart
from openscr.transport.mime import (
    CLIENT_CONTENT_TYPE,
    CLIENT_PART_TYPE,
    HEADER_CONTENT_ID,
    MAX_HEADER_BYTES,
    MAX_PARTS,
    SPINE_CONTENT_TYPE,
    SPINE_HEADER_TYPE,
    SPINE_PAYLOAD_TYPE,
    Part,
    boundary_for,
    read_multipart,
    write_encoded,
    write_multipart,
)

TWO_PARTS = (
    b"--b\r\nContent-Id: <one>\r\nContent-Type: text/xml\r\n\r\n<a/>\r\n"
    b"--b\r\nContent-Id: <two>\r\n\r\n<b/>\r\n--b--\r\n"
)
RELATED = "multipart/related; boundary=b"


def contents(content_type: str | None, body: bytes) -> list[bytes]:
    return [part.content(body) for part in read_multipart(content_type, body).parts]


# --- the captures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["01", "03", "05", "06", "07", "09", "19", "23", "24"])
def test_captures_are_two_parts(capture: Callable[[str], Capture], number: str) -> None:
    """Each captured message has the envelope first and its payload under the message id."""
    message = capture(number).multipart()
    envelope, payload = message.parts
    assert message.root is envelope
    assert envelope.content_id == HEADER_CONTENT_ID
    assert envelope.content(message.body).endswith(b"</soap:Envelope>")
    assert payload.content_id is not None
    assert payload.content_id.endswith("@spine.nhs.uk")
    assert message.part(payload.content_id) is payload
    assert payload.content(message.body).startswith(b"<")
    assert payload.content(message.body).endswith(b">")


@pytest.mark.parametrize(
    ("number", "content_type", "part_types"),
    [
        ("01", CLIENT_CONTENT_TYPE, (CLIENT_PART_TYPE, CLIENT_PART_TYPE)),
        ("03", SPINE_CONTENT_TYPE, (SPINE_HEADER_TYPE, SPINE_PAYLOAD_TYPE)),
        ("23", SPINE_CONTENT_TYPE, (SPINE_HEADER_TYPE, SPINE_PAYLOAD_TYPE)),
    ],
)
def test_captures_are_written_to_the_byte(
    capture: Callable[[str], Capture], number: str, content_type: str, part_types: tuple[str, str]
) -> None:
    """From the same parts the writer makes exactly the bytes of the capture."""
    captured = capture(number)
    message = captured.multipart()
    assert captured.headers["content-type"] == content_type
    assert tuple(part.content_type for part in message.parts) == part_types
    written = write_multipart(
        [(part.content_id or "", part.content_type, part.content(message.body)) for part in message.parts]
    )
    assert written == captured.body


# --- framings that are taken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/related; boundary=b",
        'multipart/related; boundary="b"',
        'Multipart/Related;BOUNDARY="b";type="text/xml";start="<one>"',
        "multipart/related; boundary=b; type=text/xml; start=one",
        'multipart/related; boundary="b"; charset="UTF-8"; type="text/xml"; start="<one>";',
        'multipart/related ; boundary = "\\b" ; start="<none such>"',
        "multipart/related; start=<one>; boundary=b ",
    ],
)
def test_content_types_are_read(content_type: str) -> None:
    """Parameters may be quoted or not, in any order and letter case; a start that names no part means the first."""
    message = read_multipart(content_type, TWO_PARTS)
    assert [part.content_id for part in message.parts] == ["one", "two"]
    assert message.root is message.parts[0]


def test_start_selects_the_root() -> None:
    """The root is the part that ``start`` names, wherever it stands."""
    message = read_multipart(f'{RELATED}; start="<two>"', TWO_PARTS)
    assert message.root.content(message.body) == b"<b/>"


@pytest.mark.parametrize("boundary", ["--=_MIME-Boundary", "'()+_,-./:=? x", "0" * 70, "=", "--"])
@pytest.mark.parametrize("quoted", [True, False])
def test_any_boundary_is_taken(boundary: str, quoted: bool) -> None:
    """Every boundary that RFC 2046 allows delimits parts."""
    body = TWO_PARTS.replace(b"--b", b"--" + boundary.encode())
    parameter = f'"{boundary}"' if quoted else boundary
    assert contents(f"multipart/related; boundary={parameter}; type=text/xml", body) == [b"<a/>", b"<b/>"]


@pytest.mark.parametrize(
    "body",
    [
        TWO_PARTS,
        TWO_PARTS.replace(b"\r\n", b"\n"),
        b"preamble\r\n--bb is not a delimiter\r\n" + TWO_PARTS + b"epilogue\r\n--b\r\n\r\nno part",
        TWO_PARTS.replace(b"--b\r\n", b"--b \t\r\n"),
        TWO_PARTS.replace(b"Content-Id", b"CONTENT-ID"),
        TWO_PARTS.replace(b"Content-Id: <", b"content-id:\t<"),
        TWO_PARTS.replace(b"Content-Id: <one>", b"Content-Id:\r\n <one>"),
        TWO_PARTS.removesuffix(b"\r\n"),
        TWO_PARTS.removesuffix(b"--\r\n"),
        TWO_PARTS.removesuffix(b"--\r\n") + b"\r\n",
        TWO_PARTS.removesuffix(b"\r\n--b--\r\n"),
    ],
    ids=[
        "plain",
        "bare line feeds",
        "preamble and epilogue",
        "padding",
        "letter case",
        "tab",
        "folded",
        "no last line end",
        "no close delimiter",
        "no close delimiter, line end",
        "no last delimiter",
    ],
)
def test_framings_are_read(body: bytes) -> None:
    """What clients of the field are known to send gives the same two parts."""
    message = read_multipart(RELATED, body)
    assert [(part.content_id, part.content(body)) for part in message.parts] == [("one", b"<a/>"), ("two", b"<b/>")]


def test_lines_that_only_start_like_a_delimiter_are_content() -> None:
    """A longer word, hyphens with text, or a delimiter inside a line ends no part."""
    body = b"--b\r\n\r\n--bx\r\n--b--x\r\n--b -\r\n x--b\r\n--b--"
    assert contents(RELATED, body) == [b"--bx\r\n--b--x\r\n--b -\r\n x--b"]


def test_empty_parts_are_parts() -> None:
    """A part may have no headers, no content, or neither."""
    body = b"--b\r\n\r\n--b\r\nContent-Id: <x>\r\n\r\n--b\r\n\r\ncontent\r\n--b\r\nContent-Id: <y>\r\n\r\n\r\n--b--"
    assert contents(RELATED, body) == [b"", b"", b"content", b""]


@pytest.mark.parametrize("encoding", ["7bit", "8BIT", "Binary", ""])
def test_plain_encodings_are_slices(encoding: str) -> None:
    """Encodings that change nothing leave the bytes as they are."""
    body = f"--b\r\nContent-Transfer-Encoding: {encoding}\r\n\r\nPGEvPg==\r\n--b--".encode()
    assert contents(RELATED, body) == [b"PGEvPg=="]


def test_base64_is_decoded() -> None:
    """Base64 is decoded over line ends, and broken base64 is refused."""
    body = b"--b\r\nContent-Transfer-Encoding: Base64\r\n\r\nPGEv\r\nPg==\r\n--b--"
    assert contents(RELATED, body) == [b"<a/>"]
    with pytest.raises(MalformedMultipart):
        contents(RELATED, body.replace(b"PGEv", b"P!Ev"))


def test_other_encodings_are_refused() -> None:
    """Quoted-printable is not part of this protocol."""
    with pytest.raises(MalformedMultipart):
        Part("one", "text/xml", "quoted-printable", 0, 1).content(b"x")


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "",
        "text/xml",
        "multipart/mixed; boundary=b",
        "multipart/related",
        "multipart/related; boundary=",
        'multipart/related; boundary=""',
        "multipart/related; boundary=b; boundary=c",
        'multipart/related; boundary="b',
        "multipart/related; boundary",
        "multipart/related; boundary=b\x00",
        "multipart/related; boundary=\u00e9",
        f"multipart/related; boundary={'b' * 201}",
    ],
)
def test_other_content_types_are_refused(content_type: str | None) -> None:
    """Without one usable boundary of ``multipart/related`` nothing is split."""
    with pytest.raises(MalformedMultipart):
        read_multipart(content_type, TWO_PARTS)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<a/>",
        b"--b--\r\n",
        b"--b",
        b"--b\r\n \r\n",
        b"x--b\r\n\r\n<a/>\r\n--b--",
        b"--b\r\n<a/>\r\n--b--",
        b"--b\r\nContent-Id <one>\r\n\r\n<a/>\r\n--b--",
        b"--b\r\nContent-Id: <one>\r\nContent-Id: <two>\r\n\r\n<a/>\r\n--b--",
    ],
)
def test_bodies_without_readable_parts_are_refused(body: bytes) -> None:
    """A body needs a part, and a part readable headers."""
    with pytest.raises(MalformedMultipart):
        read_multipart(RELATED, body)


def test_number_of_parts_is_limited() -> None:
    """As many parts as allowed pass, one more does not."""
    part = b"--b\r\n\r\nx\r\n"
    assert len(read_multipart(RELATED, part * MAX_PARTS + b"--b--").parts) == MAX_PARTS
    with pytest.raises(MalformedMultipart, match="parts"):
        read_multipart(RELATED, part * (MAX_PARTS + 1) + b"--b--")


def test_header_blocks_are_limited() -> None:
    """A long content is no long header, but a long header block is refused, with or without line ends."""
    content = b"x" * (3 * MAX_HEADER_BYTES)
    assert contents(RELATED, b"--b\r\nA: b\r\n\r\n" + content + b"\r\n--b--") == [content]
    for block in (b"A: " + content, b"A: b\r\n" * MAX_HEADER_BYTES):
        with pytest.raises(MalformedMultipart, match="header block"):
            read_multipart(RELATED, b"--b\r\n" + block + b"\r\n\r\nx\r\n--b--")


@given(
    st.binary()
    | st.lists(st.sampled_from([b"--b", b"--", b"\r\n", b"\n", b"a: b", b" ", b"x", b":", b"\r"])).map(b"".join)
)
def test_arbitrary_bodies_raise_nothing_else(body: bytes) -> None:
    """Whatever comes in is split into slices of itself, or refused."""
    try:
        message = read_multipart(RELATED, body)
    except MalformedMultipart:
        return
    edge = 0
    for part in message.parts:
        assert edge <= part.start <= part.end <= len(body)
        edge = part.end


@given(st.text() | st.text(alphabet='=;"\\ boundary').map(lambda text: "multipart/related;" + text))
def test_arbitrary_content_types_raise_nothing_else(content_type: str) -> None:
    """Whatever the header says, the outcome is parts or a refusal."""
    try:
        read_multipart(content_type, TWO_PARTS)
    except MalformedMultipart:
        return


# --- writing --------------------------------------------------------------------------------------------------------

_contents = st.binary() | st.sampled_from(
    [b"\r\n----=_MIME-Boundary--\r\n", b"----=_MIME-Boundary", b"\r\n", b"\r", b"\n", b"<a/>\r\n\r\n"]
)


@given(
    st.lists(st.tuples(st.from_regex(r"[A-Za-z0-9.@-]+", fullmatch=True), _contents), min_size=1, max_size=5),
    st.sampled_from([CLIENT_CONTENT_TYPE, SPINE_CONTENT_TYPE]),
)
def test_what_is_written_is_read_back(parts: list[tuple[str, bytes]], content_type: str) -> None:
    """Every content comes back to the byte, even one that quotes the delimiter."""
    body = write_multipart([(content_id, "application/xml", content) for content_id, content in parts])
    message = read_multipart(content_type, body)
    assert [(part.content_id, part.content(body)) for part in message.parts] == parts
    assert body.endswith(b"\r\n----=_MIME-Boundary--\r\n")


def test_headers_cannot_be_smuggled() -> None:
    """A header value with a line end is refused, and so is a body without parts."""
    with pytest.raises(ValueError, match="control"):
        write_multipart([("x>\r\nEvil: y", "text/xml", b"")])
    with pytest.raises(ValueError, match="at least one"):
        write_multipart([])


def test_a_boundary_is_found_beyond_any_number_that_contents_hold() -> None:
    """Each content is gone through once: who fills one with boundaries holds up nobody."""
    assert boundary_for([b"--=_MIME-Boundary12 --=_MIME-Boundary", b"--=_MIME-Boundary2"]) == "--=_MIME-Boundary3"
    assert boundary_for([b"--=_MIME-Boundary0"]) == "--=_MIME-Boundary1"
    filled = b"".join(b"--=_MIME-Boundary%d" % number for number in range(250_000))
    assert boundary_for([filled]) == "--=_MIME-Boundary250000"


@given(
    st.lists(
        st.tuples(st.from_regex(r"[A-Za-z0-9.@-]+", fullmatch=True), _contents | st.just(b"--=_MIME-Boundary1")),
        min_size=1,
        max_size=5,
    ),
    st.sampled_from([b"\n", b"\r\n"]),
)
def test_a_boundary_is_found_that_no_content_holds(parts: list[tuple[str, bytes]], line_end: bytes) -> None:
    """Nothing need be encoded for it: every content comes back to the byte. Spec: 50 C5."""
    boundary = boundary_for(content for _, content in parts)
    assert not any(boundary.encode() in content for _, content in parts)
    if not any(b"--=_MIME-Boundary" in content for _, content in parts):
        assert boundary == "--=_MIME-Boundary"
    body = write_encoded(
        [(content_id, "application/xml", "8bit", content) for content_id, content in parts],
        boundary=boundary,
        line_end=line_end,
    )
    message = read_multipart(f'multipart/related; boundary="{boundary}"', body)
    # Before a delimiter CR LF is one line end, whoever wrote the CR.
    expected = [(each, content.removesuffix(b"\r") if line_end == b"\n" else content) for each, content in parts]
    assert [(part.content_id, part.content(body)) for part in message.parts] == expected
