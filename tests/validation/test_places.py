"""Lines, XPaths and excerpts. Spec: 00 §4 ``validate``."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.transport.xml import read_xml
from openscr.validation.excerpt import excerpt
from openscr.validation.framing import read_framing
from openscr.validation.places import Document, Lines


@given(st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xc3\xa9"]), max_size=30).map(b"".join))
def test_lines_are_counted_by_line_ends(data: bytes) -> None:
    lines = Lines(data)
    for offset in range(len(data) + 1):
        line = lines.line_of(offset)
        assert line == data[:offset].count(b"\n") + 1
        span = lines.span(line)
        assert span is not None
        assert span[0] <= offset
    for number, text in enumerate(data.split(b"\n"), 1):
        span = lines.span(number)
        assert span is not None
        assert data[slice(*span)] == text.removesuffix(b"\r" if number <= data.count(b"\n") else b"")
    assert lines.span(0) is None
    assert lines.span(data.count(b"\n") + 2) is None


def test_places_of_elements() -> None:
    data = (
        b'<!-- <a/> --><a xmlns="urn:hl7-org:v3" x=">"><b/>text<b><c/></b>'
        b'<crs:d xmlns:crs="http://national.carerecords.nhs.uk/schema/crs/"/><e xmlns="urn:x"/>'
        b'<z:e xmlns:z="urn:y"/></a>'
    )
    root = read_xml(data)
    document = Document(root, data, 100)
    found = {document.xpath(e): document.offset(e) - 100 for e in root.iter("*")}
    assert list(found) == ["/a", "/a/b[1]", "/a/b[2]", "/a/b[2]/c", "/a/crs:d", "/a/*[local-name()='e']", "/a/z:e"]
    for path, offset in found.items():
        name = path.rpartition("/")[2].partition("[")[0].replace("*", "e")
        assert data[offset:].startswith(b"<" + name.encode())


def test_below_an_envelope_hl7_names_have_their_prefix() -> None:
    """So that a path reads as Spine writes its locations."""
    envelope = "http://schemas.xmlsoap.org/soap/envelope/"
    data = (
        f'<s:Envelope xmlns:s="{envelope}"><s:Body><a xmlns="urn:hl7-org:v3"><id/></a></s:Body></s:Envelope>'.encode()
    )
    document = Document(read_xml(data), data)
    assert document.xpath(document.resolve("/SOAP:Envelope/SOAP:Body/hl7:a/hl7:id")) == (
        "/SOAP:Envelope/SOAP:Body/hl7:a/hl7:id"
    )
    assert document.xpath(document.resolve("/SOAP:Envelope/SOAP:Header/hl7:a")) == "/SOAP:Envelope"
    assert document.xpath(document.resolve("/eb:Manifest")) == "/SOAP:Envelope"


def test_an_excerpt_shows_the_line_and_its_neighbours() -> None:
    data = b"<a>\r\n\t<b/>\r\n</a>\r\n"
    shown = excerpt(data, Lines(data), data.index(b"<b/>"), 80)
    assert [(line.number, line.text) for line in shown] == [(1, "<a>"), (2, "  <b/>"), (3, "</a>")]
    marked = shown[1].marked
    assert marked is not None
    assert shown[1].text[slice(*marked)] == "<b/>"
    assert shown[0].marked is None


@pytest.mark.parametrize("width", [20, 60, 100])
@given(before=st.integers(0, 5_000), after=st.integers(0, 5_000))
def test_an_excerpt_of_a_long_line_is_the_region_around_the_place(width: int, before: int, after: int) -> None:
    data = b"<a>" + "é".encode() * before + b'<statusCode code="active"/>' + b"x" * after + b"</a>"
    offset = data.index(b"<statusCode")
    (line,) = excerpt(data, Lines(data), offset, width)
    assert len(line.text) <= max(width, 26 + 1)
    assert line.marked is not None
    begin, end = line.marked
    assert line.text[begin:end].startswith("<s") or width < 27
    assert 0 <= begin < end <= len(line.text)


def test_nothing_in_an_excerpt_moves_the_cursor() -> None:
    data = b"<a>\x1b[2J\x07<b/>\x9b</a>"
    (line,) = excerpt(data, Lines(data), data.index(b"<b/>"), 80)
    assert line.text.isprintable()


@given(st.binary(max_size=200))
def test_framing_never_loses_the_body(data: bytes) -> None:
    framing = read_framing(data)
    assert 0 <= framing.body <= len(data)


def test_folded_and_repeated_headers() -> None:
    data = b"HTTP/1.1 200 OK\nContent-Type: multipart/related;\n\tboundary=x\nA: 1\nA: 2\n\nbody"
    framing = read_framing(data)
    assert framing.status == 200
    assert framing.header("content-type") == "multipart/related; boundary=x"
    assert framing.header("a") == "1"
    assert data[framing.body :] == b"body"


def test_the_parser_and_the_scanner_agree_on_the_elements() -> None:
    """What looks like an element in comments, CDATA and attributes is none."""
    data = b"<a><!--<x/>--><![CDATA[<y/>]]><?p <z/>?><b c=\"&lt;d/>\"/><e\nf='>'></e></a>"
    root = etree.fromstring(data)
    document = Document(root, data)
    assert [data[document.offset(e) :][:2] for e in root.iter("*")] == [b"<a", b"<b", b"<e"]
