"""Presentation text is shown whole and harmless, on a page and in a terminal."""

from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.errors import UnreadableMessage, UnsafeXml
from openscr.hl7.presentation import ALLOWED, presentation_of, read_presentation
from shared import MESSAGES, shared

NS = "xhtml:NPfIT:PresentationText"
ATTRIBUTES = {"id", "href", "rowspan", "colspan", "abbr", "headers", "class"}
ACTIVE = {"script", "style", "iframe", "object", "form"}


def document(inside: str) -> bytes:
    return (
        f'<GPSummary xmlns="urn:hl7-org:v3" xmlns:e="urn:example"><presentationText><value>{inside}'
        "</value></presentationText></GPSummary>"
    ).encode()


def in_html(body: str) -> bytes:
    return document(f'<html xmlns="{NS}"><head/><body>{body}</body></html>')


def html_of(body: str) -> str:
    return presentation_of(in_html(body)).html()


class Page(HTMLParser):
    """What a browser would see: elements with attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def letters(text: str) -> Counter[str]:
    return Counter("".join(text.split()))


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((MESSAGES / "gp-summary").glob("0[12356]*.xml")), ids=lambda path: path.name[:2]
)
def test_every_example_is_read_whole(path):
    data = path.read_bytes()
    html = etree.fromstring(data).find(f".//{{{NS}}}html")
    words = " ".join(html.itertext()).split()
    presentation = read_presentation(data)
    assert presentation is not None
    assert presentation.conforming
    assert Page(presentation.html()).text.split() == words
    assert letters("".join(words)) <= letters(presentation.text(200))


@pytest.mark.parametrize(
    "inside",
    [
        f'<x:html xmlns:x="{NS}"><x:body><x:h2>Title</x:h2></x:body></x:html>',
        f'<html xmlns="{NS}"><h2>Title</h2></html>',
        f'<html xmlns="{NS}"><table><tr><td>Title</td></tr></table></html>',
        f'<e:wrap><html xmlns="{NS}"><body><p>Title</p></body></html></e:wrap>',
    ],
)
def test_html_is_found_under_any_prefix_and_depth(inside):
    presentation = presentation_of(document(inside))
    assert presentation.conforming
    assert presentation.text().strip("\n= ") == "Title"


@pytest.mark.parametrize("inside", ["<h1>Summary text</h1>", "Summary text", "<p xmlns='other'>Summary text</p>"])
def test_markup_that_is_not_html_is_shown_and_known_as_such(inside):
    presentation = presentation_of(document(inside))
    assert not presentation.conforming
    assert Page(presentation.html()).text == "Summary text"


@pytest.mark.parametrize("inside", ["", " \n ", f'<html xmlns="{NS}"><head/><body><br/><p> </p></body></html>'])
def test_nothing_to_read_is_no_presentation(inside):
    assert read_presentation(document(inside)) is None
    with pytest.raises(UnreadableMessage):
        presentation_of(document(inside))


def test_a_document_without_presentation_text_has_none():
    assert read_presentation(b"<GPSummary xmlns='urn:hl7-org:v3'/>") is None


def test_unsafe_xml_is_refused():
    with pytest.raises(UnsafeXml):
        read_presentation(b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')


def test_every_record_of_the_corpora_is_read_whole():
    files = [*shared("corpus", "smsp").rglob("*.xml"), *shared("corpus", "fhir").rglob("event-query/*.xml")]
    holding = [path for path in files if b"presentationText" in path.read_bytes()]
    assert holding
    for path in sorted(holding):
        data = path.read_bytes()
        value = etree.fromstring(data).find(".//{*}presentationText/{*}value")
        presentation = presentation_of(data)
        page = Page(presentation.html())
        assert {tag for tag, _ in page.elements} <= ALLOWED
        assert letters(kept(value)) <= letters(page.text), path.name
        assert letters(kept(value)) <= letters(presentation.text(400)), path.name


# --- for a page -----------------------------------------------------------------------------------------------------


def test_active_content_goes_with_what_is_inside():
    html = html_of(
        "<p>a<script>alert(1)</script>b</p><style>p{}</style><iframe>x</iframe><object>y</object><form>z</form>"
    )
    assert html == "<p>ab</p>"


def test_unknown_elements_lose_their_tags_not_their_text():
    assert html_of("<div><p>take <b>two</b> <span>daily</span></p></div>") == "<p>take two daily</p>"


def test_h1_becomes_h2_and_loose_text_a_paragraph():
    assert html_of("<h1>Title</h1>loose <a href='#none'>text</a>") == "<h2>Title</h2>\n<p>loose text</p>"


@pytest.mark.parametrize(
    "attribute",
    ["style='x:y'", "onclick='x()'", "class='visually-hidden'", "src='x'", "href='#a'", "id='a b'", "rowspan='-1'"],
)
def test_attributes_that_could_act_or_hide_are_dropped(attribute):
    assert html_of(f"<table><tr><td {attribute}>x</td></tr></table>") == "<table><tr><td>x</td></tr></table>"


def test_ids_and_the_links_to_them_get_a_prefix():
    html = html_of(
        "<h2 id='Top'>T</h2><p><a href='#Top'>up</a> <a href='http://x'>out</a> <a href='#gone'>gone</a></p>"
    )
    assert html == '<h2 id="scr-Top">T</h2>\n<p><a href="#scr-Top">up</a> out gone</p>'


def test_a_table_summary_becomes_a_hidden_caption():
    html = html_of("<table summary='All &quot;allergies&quot;'><tr><th>Date</th></tr></table>")
    assert html.startswith('<table><caption class="visually-hidden">All &quot;allergies&quot;</caption>')


def test_header_cells_stay_tied_to_their_data():
    html = html_of("<table><tr><th id='h'>Dose</th></tr><tr><td headers='h' colspan='2'>one</td></tr></table>")
    assert '<th id="scr-h">' in html
    assert '<td headers="scr-h" colspan="2">' in html


def test_comments_and_instructions_leave_no_trace():
    assert html_of("<p>a<!-- <b> -->b<?php x ?>c</p>") == "<p>abc</p>"


NAMES = st.sampled_from(
    [*sorted(ALLOWED), *sorted(ACTIVE), "h1", "div", "b", "svg", "math", "template", "IMG", "SCRIPT"]
)
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=12
)
ATTRIBUTE_NAMES = st.sampled_from(
    ["id", "class", "href", "style", "onload", "summary", "rowspan", "colspan", "abbr", "headers", "src", "xlink"]
)
VALUES = st.one_of(TEXTS, st.sampled_from(["#a", "javascript:alert(1)", '"><script>', "a", "2", "#'onload='x"]))


@st.composite
def markup(draw, depth: int = 4) -> etree._Element:
    element = etree.Element(f"{{{draw(st.sampled_from([NS, 'urn:hl7-org:v3', 'urn:other']))}}}{draw(NAMES)}")
    for name in draw(st.lists(ATTRIBUTE_NAMES, max_size=3, unique=True)):
        element.set(name, draw(VALUES))
    element.text = draw(TEXTS)
    if depth:
        for child in draw(st.lists(markup(depth - 1), max_size=3)):
            element.append(child)
    element.tail = draw(TEXTS)
    return element


def kept(element: etree._Element) -> str:
    """The text that must be shown: all but that of active elements."""
    name = etree.QName(element).localname.lower() if isinstance(element.tag, str) else "script"
    inside = "" if name in ACTIVE or name == "br" else (element.text or "") + "".join(map(kept, element))
    return inside + (element.tail or "")


@given(st.lists(markup(), max_size=4))
def test_whatever_comes_in_only_the_whitelist_comes_out_and_no_text_is_lost(elements):
    html = etree.Element(f"{{{NS}}}html")
    body = etree.SubElement(html, f"{{{NS}}}body")
    body.extend(elements)
    presentation = read_presentation(document(etree.tostring(html, encoding="unicode")))
    expected = "".join(map(kept, body))
    if presentation is None:
        assert not expected.strip()
        return
    shown = presentation.html()
    page = Page(shown)
    summaries = [attributes for _, attributes in page.elements if "class" in attributes]
    for tag, attributes in page.elements:
        assert tag in ALLOWED
        assert set(attributes) <= ATTRIBUTES
        assert all(value.startswith("#scr-") for name, value in attributes.items() if name == "href")
        assert all(value.startswith("scr-") for name, value in attributes.items() if name == "id")
        assert attributes.get("class", "visually-hidden") == "visually-hidden"
    assert "<script" not in shown.lower()
    assert letters(expected) <= letters(page.text)
    if not summaries:
        assert "".join(page.text.split()) == "".join(expected.split())


# --- for a terminal -------------------------------------------------------------------------------------------------

TABLE = (
    "<h2>Medicines</h2><table><thead><tr><th>Date</th><th>Item</th></tr></thead><tbody>"
    "<tr><td>12-Mar-2021</td><td>Amlodipine 5mg tablets</td></tr><tr><td>1-Apr-2021</td><td>Aspirin</td></tr>"
    "</tbody></table>"
)


def test_tables_stand_in_aligned_columns_under_an_underlined_heading():
    assert presentation_of(in_html(TABLE)).text(60) == (
        "Medicines\n=========\n\n"
        "Date         Item\n-----------  ----------------------\n"
        "12-Mar-2021  Amlodipine 5mg tablets\n1-Apr-2021   Aspirin\n"
    )


def test_cells_wrap_within_the_width():
    text = presentation_of(in_html(TABLE)).text(28)
    assert "12-Mar-2021  Amlodipine 5mg\n             tablets" in text
    assert max(map(len, text.split("\n"))) <= 28


def test_a_terminal_too_narrow_for_columns_gets_lines_with_headings():
    rows = "".join(f"<th>Head{i}</th>" for i in range(6)), "".join(f"<td>value number {i}</td>" for i in range(6))
    text = presentation_of(in_html(f"<table><tr>{rows[0]}</tr><tr>{rows[1]}</tr></table>")).text(30)
    assert "Head4: value number 4" in text


def test_spanned_cells_leave_their_places_empty():
    body = "<table><tr><td rowspan='2'>a</td><td colspan='2'>b</td></tr><tr><td>c</td><td>d</td></tr></table>"
    assert presentation_of(in_html(body)).text() == "a  b\n   c  d\n"


def test_lists_breaks_and_preformatted_text_keep_their_lines():
    body = "<ul><li>one</li><li>two</li></ul><ol><li>first</li></ol><p>a<br/>b</p><pre>x\n  y</pre>"
    assert presentation_of(in_html(body)).text() == "- one\n- two\n\n1. first\n\na\nb\n\nx\n  y\n"


def test_nothing_in_the_text_can_steer_a_terminal():
    text = presentation_of(in_html("<p>a&#x9b;31mb\u202ec</p><pre>d&#x9d;e</pre>")).text()
    assert text == "a31mbc\n\nde\n"


def test_a_caption_out_of_its_place_is_not_lost():
    body = "<table><caption>a</caption><tbody><caption>b</caption><tr><td>c</td></tr></tbody></table>"
    assert presentation_of(in_html(body)).text() == "a\nb\nc\n"


@given(st.lists(markup(), max_size=3), st.integers(20, 160))
def test_the_terminal_text_loses_no_letter_and_keeps_its_width(elements, width):
    html = etree.Element(f"{{{NS}}}html")
    html.extend(elements)
    presentation = read_presentation(document(etree.tostring(html, encoding="unicode")))
    if presentation is None:
        return
    text = presentation.text(width)
    visible = {letter for letter in "".join(map(kept, html)) if letter.isalnum()}
    assert visible <= set(text)
