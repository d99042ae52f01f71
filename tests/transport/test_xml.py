"""The locked parser, escaping, and elements found in their bytes."""

import threading
from xml.parsers import expat

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import XML_NS
from openscr.errors import UnsafeXml
from openscr.spine import splice_document
from openscr.transport.xml import (
    ENVELOPE_DEPTH,
    MAX_DEPTH,
    element_span,
    escape,
    inherited_declarations,
    read_xml,
    text_of,
)

# --- the parser -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"<a/>",
        b"\xef\xbb\xbf<a/>",
        b'\xef\xbb\xbf<?xml version="1.0" encoding="UTF-8"?><a/>',
        b"<?xml version='1.0' encoding='utf-8' standalone='yes'?><a/>",
        b'<?xml version="1.0"?>\r\n<a>\xc3\xa9</a>',
        b"<a><!-- remark! --><?target data?><![CDATA[<b>]]></a>",
    ],
)
def test_utf8_documents_are_read(data: bytes) -> None:
    """Every form of a UTF-8 document without DTD is read."""
    assert read_xml(data).tag == "a"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"plain text",
        b"<a>",
        b"<a></b>",
        b"<a/><b/>",
        b"<p:a/>",
        b"<a>&nbsp;</a>",
        b"<a>\x00</a>",
        b"<a>\xff</a>",
        b"<a>\xed\xa0\x80</a>",
        b'<?xml version="1.0" encoding="ISO-8859-1"?><a/>',
        b'<?xml version="1.0" encoding="UTF-16"?><a/>',
        b'<?xml version="1.0" encoding="UTF-7"?><a/>',
        '<?xml version="1.0" encoding="UTF-16"?><a/>'.encode("utf-16"),
        "<a/>".encode("utf-16-le"),
        "<a/>".encode("utf-32"),
        b"<!DOCTYPE a><a/>",
        b'<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        b"<?xml version='1.0'?><!-- a --><?p?>\n<!DOCTYPE a><a/>",
        b"\xef\xbb\xbf<!DOCTYPE a><a/>",
        b"<a/><!DOCTYPE a>",
        b'\n<?xml version="1.0"?><a/>',
    ],
)
def test_everything_else_is_refused(data: bytes) -> None:
    """What is not well-formed, not UTF-8, or has a DTD does not become a tree."""
    with pytest.raises(UnsafeXml):
        read_xml(data)


def test_depth_is_limited_to_200() -> None:
    """Exactly 200 nested elements pass, 201 do not, wherever the deepest one stands."""
    assert read_xml(b"<a>" * 200 + b"</a>" * 200) is not None
    for document in (b"<a>" * 201 + b"</a>" * 201, b"<a><b/>" + b"<a>" * 199 + b"<c/>" + b"</a>" * 199 + b"</a>"):
        with pytest.raises(UnsafeXml, match="200"):
            read_xml(document)


def test_errors_do_not_quote_the_message() -> None:
    """Neither the text nor a chained exception of a refusal holds anything of the document."""
    with pytest.raises(UnsafeXml) as caught:
        read_xml(b"<Secret>\n<Inner></Secret>")
    assert "ecret" not in str(caught.value)
    assert "line 2" in str(caught.value)
    assert caught.value.__context__ is None


def test_threads_have_parsers_of_their_own() -> None:
    """Documents that are read at the same time do not disturb each other."""
    document = b"<a>" + b"<b>text</b>" * 2000 + b"</a>"
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(len(read_xml(document)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [2000] * 4


@given(st.binary() | st.text(alphabet='<>/ab!?-[]"&;=').map(str.encode) | st.binary().map(lambda tail: b"<a>" + tail))
def test_arbitrary_bytes_raise_nothing_else(data: bytes) -> None:
    """Whatever comes in becomes a tree or `UnsafeXml`."""
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    assert isinstance(root.tag, str)


def test_text_of_is_the_string_value() -> None:
    """Comments and markers between the characters are not part of an element's text."""
    assert text_of(read_xml(b"<a> x<!-- no --><b>y</b><?no no?>z </a>")) == " xyz "
    assert text_of(read_xml(b"<a/>")) == ""
    assert text_of(None) == ""


@given(st.text(alphabet=st.characters(codec=None)))
def test_escaped_text_survives(text: str) -> None:
    """Escaped text comes back unchanged from content and attributes, but for characters that XML does not know."""
    allowed = "".join(
        character
        for character in text
        if character in "\t\n\r"
        or " " <= character <= "\ud7ff"
        or "\ue000" <= character <= "\ufffd"
        or character > "\uffff"
    )
    root = read_xml(f'<a b="{escape(text)}">{escape(text)}</a>'.encode())
    assert root.get("b") == allowed
    assert text_of(root) == allowed
    assert "\n" not in escape(text)


# --- elements in their bytes ----------------------------------------------------------------------------------------

_NAMES = st.sampled_from(["a", "b", "ab", "p:a", "p:b", "q:a", "é"])
_SPACE = st.sampled_from(["", " ", "\n", "\t "])
_DECLARATIONS = st.lists(
    st.sampled_from(
        [
            'xmlns=""',
            'xmlns="urn:d"',
            "xmlns='urn:e'",
            'xmlns:p="urn:p"',
            'xmlns:p="urn:p2"',
            'xmlns:q="urn:p"',
            'xmlns:r="urn:r?s&amp;t"',
            'xml:lang="en"',
            'xml:lang="cy"',
            'xml:space="preserve"',
            'xml:id="one"',
            'x="> &lt;/a> &lt;a> />"',
            "y='/>'",
        ]
    ),
    max_size=4,
    unique_by=lambda text: text.partition("=")[0],
)
_LEAVES = st.sampled_from(
    [
        "text",
        "é",
        "&amp;",
        "",
        "<!-- <a> </a> <p:a/> -->",
        "<![CDATA[</a><a>]]>",
        "<?a <a></a> ?>",
        "<!-- ' -->",
        '"',
        ">",
    ]
)


@st.composite
def _elements(draw: st.DrawFn, children: st.SearchStrategy[str]) -> str:
    name, space = draw(_NAMES), draw(_SPACE)
    attributes = "".join(f" {space}{attribute}" for attribute in draw(_DECLARATIONS))
    content = "".join(draw(st.lists(children, max_size=4)))
    if not content and draw(st.booleans()):
        return f"<{name}{attributes}{space}/>"
    return f"<{name}{attributes}{space}>{content}</{name}{space}>"


_documents = st.recursive(_LEAVES, _elements, max_leaves=25).map(
    lambda content: f'<r xmlns:p="urn:p0" xmlns:q="urn:q">{content}</r>'
)
_documents = _documents | _documents.map(lambda text: f'\ufeff<?xml version="1.0"?><!-- <a> -->{text}<!-- </a> -->')


def _spans_by_expat(data: bytes) -> list[tuple[int, int]]:
    """Start and end of every element in document order, as another parser sees them."""
    spans: list[list[int]] = []
    opened: list[int] = []
    parser = expat.ParserCreate("utf-8")
    just_opened = False

    def start(_name: str, _attributes: object) -> None:
        nonlocal just_opened
        just_opened = True
        opened.append(len(spans))
        spans.append([parser.CurrentByteIndex, 0])

    def end(_name: str) -> None:
        nonlocal just_opened
        span = spans[opened.pop()]
        at = parser.CurrentByteIndex
        # The end of a self-closed element is reported after its only tag; no content here ends like such a tag.
        self_closed = just_opened and data.endswith(b"/>", span[0], at)
        span[1] = at if self_closed else data.index(b">", at) + 1
        just_opened = False

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.Parse(data, True)
    return [(begin, finish) for begin, finish in spans]


@given(_documents)
def test_spans_agree_with_another_parser(text: str) -> None:
    """Every element of every document is found exactly, look-alikes in comments, sections and values or not."""
    data = text.encode()
    root = read_xml(data)
    for element, (begin, finish) in zip(root.iter("*"), _spans_by_expat(data), strict=True):
        offset, length, name_length = element_span(data, element)
        assert (offset, offset + length) == (begin, finish)
        found = data[offset : offset + length]
        prefix = f"{element.prefix}:" if element.prefix else ""
        assert found[:name_length].decode() == f"<{prefix}{etree.QName(element).localname}"
        # Namespaces that were declared further up are made up for, so that the piece parses alone.
        alone = read_xml(splice_document(found, name_length, inherited_declarations(element)))
        assert [child.tag for child in alone.iter()] == [child.tag for child in element.iter()]


def _infoset(element: etree._Element, prefixes: frozenset[str | None]) -> object:
    """What an element is: names, values, order, and the meaning of the prefixes wherever it stands."""
    return (
        element.tag,
        element.prefix if isinstance(element.tag, str) else None,
        sorted(element.attrib.items()) if isinstance(element.tag, str) else None,
        {prefix: element.nsmap.get(prefix) or "" for prefix in prefixes} if isinstance(element.tag, str) else None,
        element.text,
        [(_infoset(child, prefixes), child.tail) for child in element],
    )


def _effective(element: etree._Element, name: str) -> str | None:
    return next((e.get(name) for e in (element, *element.iterancestors()) if e.get(name) is not None), None)


@given(_documents)
def test_inherited_declarations_keep_the_meaning(text: str) -> None:
    """A spliced element is the same alone and inside an element that declares everything otherwise."""
    data = text.encode()
    root = read_xml(data)
    for element in root.iter("*"):
        offset, length, name_length = element_span(data, element)
        spliced = splice_document(data[offset : offset + length], name_length, inherited_declarations(element))
        hostile = b'<w xmlns="urn:leak" xmlns:p="urn:wrong" xmlns:q="urn:wrong">' + spliced + b"</w>"
        prefixes = frozenset({None, *element.nsmap})
        for copy in (read_xml(spliced), read_xml(hostile)[0]):
            inherited = {key: _effective(element, key) for key in (f"{{{XML_NS}}}lang", f"{{{XML_NS}}}space")}
            for key, value in inherited.items():
                assert copy.get(key) == value
            assert copy.get(f"{{{XML_NS}}}id") == element.get(f"{{{XML_NS}}}id")
            for key, value in inherited.items():
                if value is not None and element.get(key) is None:
                    del copy.attrib[key]
            assert _infoset(copy, prefixes) == _infoset(element, prefixes)


def test_declarations_are_not_repeated() -> None:
    """A prefix that the element declares itself, even with the same meaning, is not declared again."""
    root = read_xml(b'<r xmlns="urn:d" xmlns:p="urn:p" xmlns:q="urn:q"><a xmlns:p="urn:p" xmlns="urn:d"/></r>')
    assert inherited_declarations(root[0]) == b' xmlns:q="urn:q"'


def test_no_default_namespace_leaks_in() -> None:
    """An element outside any default namespace says so."""
    assert inherited_declarations(read_xml(b"<a/>")) == b' xmlns=""'
    assert inherited_declarations(read_xml(b'<r xmlns="urn:d"><m xmlns=""><a/></m></r>')[0][0]) == b' xmlns=""'


def test_nearest_language_is_inherited() -> None:
    """Of several ancestors with ``xml:`` attributes the nearest counts; identity is not inherited."""
    root = read_xml(b'<r xml:lang="en" xml:id="i"><m xml:lang="cy" xml:base="b"><a/><a xml:lang="fr"/></m></r>')
    assert inherited_declarations(root[0][0]) == b' xmlns="" xml:lang="cy" xml:base="b"'
    assert inherited_declarations(root[0][1]) == b' xmlns="" xml:base="b"'


def test_an_element_of_other_bytes_is_not_found() -> None:
    """Asking for an element in bytes that it was not parsed from is an error, not a guess."""
    with pytest.raises(ValueError, match="not in these bytes"):
        element_span(b"<b/>", read_xml(b"<a><c/></a>")[0])


@pytest.mark.parametrize(
    "text", [b"<a><!-- <!DOCTYPE a> --></a>", b"<!-- <!DOCTYPE a> --><a><![CDATA[<!DOCTYPE a>]]></a>"]
)
def test_the_word_alone_declares_nothing(text: bytes) -> None:
    """In a comment or in text it is a word like any other."""
    assert read_xml(text).tag == "a"


def test_an_answer_may_be_as_deep_as_a_document_in_its_envelope() -> None:
    """What was accepted at 200 levels can be read out of an answer; a request of that depth is refused."""
    deep = b"<a>" * (MAX_DEPTH + ENVELOPE_DEPTH) + b"</a>" * (MAX_DEPTH + ENVELOPE_DEPTH)
    assert read_xml(deep, answer=True).tag == "a"
    with pytest.raises(UnsafeXml):
        read_xml(deep)
    with pytest.raises(UnsafeXml):
        read_xml(b"<a>" + deep + b"</a>", answer=True)
