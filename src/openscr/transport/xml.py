"""XML at the edge: the one locked parser, escaping for all output, and where an element lies in its bytes.

Invariants:

* Whatever bytes come in, `read_xml` gives a tree without entities, DTD and excessive depth, or raises `UnsafeXml`; the
  error never quotes the bytes.
* ``data[offset:offset + length]`` of `element_span` is exactly the element as it was received. With
  `inherited_declarations` inserted after its name it means the same wherever it is put.

Spec: 40 §6.6, 20 §7.2.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from lxml import etree

from openscr.codes import XML_NS
from openscr.errors import ConfigurationError, UnsafeXml

MAX_DEPTH: Final = 200
"""Nested elements that are allowed. Spec: 40 §6.6."""

MAX_NAMESPACES: Final = 1000
"""Namespace declarations in force at one place. What writes an element copies those of its ancestors, one by one and
each compared with all before it, so their number must have a bound."""

_SHORTEST_DECLARATION: Final = len(' xmlns=""')

MAX_ATTRIBUTES: Final = 1000
"""Attributes of one element. What reads them all looks for each from the first one on, so their number must have a
bound: 32,000 in one element took five seconds."""

_SHORTEST_ATTRIBUTE: Final = len(' a=""')
# No attribute has the sign in it with which every tag begins.
_CROWDED: Final = re.compile(rb"<[^<]{%d}" % (MAX_ATTRIBUTES * _SHORTEST_ATTRIBUTE))

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
"""First line of every envelope that we write. Spec: 40 §10.5."""

_DOCTYPE: Final = "XML with a document type declaration is not accepted"
_BOM: Final = b"\xef\xbb\xbf"
_ENCODING: Final = re.compile(rb"<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([^\"'>]*)")

# What may stand before a document type declaration, piece by piece: a pattern that repeats it would remember every
# piece.
_PROLOG_PIECE: Final = re.compile(rb"\s+|<\?.*?\?>|<!--.*?-->", re.DOTALL)


def _deeper_than(depth: int) -> etree.XPath:
    # One path that is as long as the first forbidden depth: evaluated level by level it stays linear in the document,
    # where asking every element for its ancestors would not.
    return etree.XPath("boolean(" + "/*" * (depth + 1) + ")")


ENVELOPE_DEPTH: Final = 16
"""Elements that an answer of ours may put around a document."""

_TOO_DEEP: Final = _deeper_than(MAX_DEPTH)
_TOO_DEEP_ANSWER: Final = _deeper_than(MAX_DEPTH + ENVELOPE_DEPTH)
_STRING: Final = etree.XPath("string()", smart_strings=False)
_ELEMENTS_BEFORE: Final = etree.XPath("count(preceding::*) + count(ancestor::*)")
_INHERITED_ATTRIBUTES: Final = etree.XPath("ancestor::*/@xml:*")


class _Parsers(threading.local):
    """One parser per thread: a parser serves one document at a time."""

    def __init__(self) -> None:
        self.parser: etree.XMLParser[etree._Element] = etree.XMLParser(
            encoding="utf-8",
            resolve_entities=False,
            no_network=True,
            load_dtd=False,
            dtd_validation=False,
            attribute_defaults=False,
            huge_tree=False,
            collect_ids=False,
        )


_parsers: Final = _Parsers()


def read_xml(data: bytes, *, answer: bool = False) -> etree._Element:
    """Parse a document of unknown origin and return its root.

    UTF-8 only, with or without a byte order mark. Raises: `UnsafeXml` for anything else, for XML that is not
    well-formed, for a document type declaration, for more than `MAX_NAMESPACES` declarations in force at one place, for
    more than `MAX_ATTRIBUTES` of one element, and for more than `MAX_DEPTH` nested elements; an ``answer`` may have
    `ENVELOPE_DEPTH` more, for it carries a document of that depth in its envelope. Spec: 40 §6.6.
    """
    # The single byte is found many times faster than the word, and most messages hold none.
    mentions_doctype = b"!" in data and b"<!DOCTYPE" in data
    if mentions_doctype and _has_doctype(data):
        raise UnsafeXml(_DOCTYPE, offset=data.find(b"<!DOCTYPE"), cause="DOCTYPE")
    if not _is_utf8(data):
        raise UnsafeXml("XML must be encoded in UTF-8", offset=_first_foreign_byte(data), cause="ENCODING")
    root = None
    broken: UnsafeXml | None = None
    try:
        root = etree.fromstring(data, _parsers.parser)
    except etree.XMLSyntaxError as error:
        # The parser's own text quotes names and values of the message, so it does not leave this place.
        line, column = error.position
        cause = _cause_of(error)
        broken = UnsafeXml(f"XML is not well-formed (line {line or 0})", line=line, column=column, cause=cause)
    if root is None:
        raise broken or UnsafeXml("XML is not well-formed")
    if mentions_doctype and root.getroottree().docinfo.internalDTD is not None:
        raise UnsafeXml(_DOCTYPE, offset=data.find(b"<!DOCTYPE"), cause="DOCTYPE")
    # Each element begins with a sign of its own: of so few none can be too deep.
    if data.count(b"<") > MAX_DEPTH and (_TOO_DEEP_ANSWER if answer else _TOO_DEEP)(root):
        raise UnsafeXml(f"XML has more than {MAX_DEPTH} nested elements", offset=_first_too_deep(data), cause="DEPTH")
    may_declare = len(data) > MAX_NAMESPACES * _SHORTEST_DECLARATION
    if may_declare and data.count(b"xmlns") > MAX_NAMESPACES and _has_too_many_namespaces(root):
        raise UnsafeXml(
            f"XML has more than {MAX_NAMESPACES} namespace declarations in force at one place", cause="NAMESPACES"
        )
    may_be_crowded = len(data) > MAX_ATTRIBUTES * _SHORTEST_ATTRIBUTE and data.count(b"=") > MAX_ATTRIBUTES
    if may_be_crowded and _CROWDED.search(data) and any(len(each.attrib) > MAX_ATTRIBUTES for each in root.iter("*")):
        raise UnsafeXml(f"XML has more than {MAX_ATTRIBUTES} attributes in one element", cause="ATTRIBUTES")
    return root


def _cause_of(error: etree.XMLSyntaxError) -> str:
    return next((entry.type_name for entry in _parsers.parser.error_log if entry.type == error.code), "")


def _first_foreign_byte(data: bytes) -> int:
    """Where the first byte stands that is not part of UTF-8 text; 0 when the declaration names another encoding."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return max(data.find(b"\0"), 0)


def _first_too_deep(data: bytes) -> int:
    depth = 0
    for token, opens, closes in _tags(data):
        depth += opens
        if depth > MAX_DEPTH:
            return token.start()
        depth -= closes
    return 0


def _has_too_many_namespaces(root: etree._Element) -> bool:
    in_force = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "end-ns")):
        in_force += 1 if event == "start-ns" else -1
        if in_force > MAX_NAMESPACES:
            return True
    return False


def _has_doctype(data: bytes) -> bool:
    """Whether the words stand where they declare a type, and not in a comment or in text."""
    at = len(_BOM) if data.startswith(_BOM) else 0
    while (piece := _PROLOG_PIECE.match(data, at)) is not None:
        at = piece.end()
    return data.startswith(b"<!DOCTYPE", at)


def _is_utf8(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    declared = _ENCODING.match(data, len(_BOM) if data.startswith(_BOM) else 0)
    return declared is None or declared.group(1).lower() in (b"utf-8", b"utf8")


def text_of(element: etree._Element | None) -> str:
    """Return the string value of an element, white space as received; empty when there is no element."""
    if element is None:
        return ""
    if len(element) == 0:
        return element.text or ""
    return cast("str", _STRING(element))


def read_schema(path: Path) -> etree.XMLSchema:
    """Load an XML schema, with what it includes, from files that the user holds and trusts; never from the network.

    Raises: `ConfigurationError` when it is not a schema. Spec: 00 §4 ``validate --mim``.
    """
    parser = etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)
    try:
        return etree.XMLSchema(etree.parse(path, parser))
    except (etree.XMLSyntaxError, etree.XMLSchemaParseError) as error:
        raise ConfigurationError(f"{path} is not a usable XML schema: {error}") from None


def outermost(root: etree._Element, tag: str) -> Iterator[etree._Element]:
    """Iterate over the elements with this tag that stand in no other one of it.

    Reading each element whole is then linear in the document: nested ones would be read again in all around them.
    """
    return (found for found in root.iter(tag) if next(found.iterancestors(tag), None) is None)


# --- output ---------------------------------------------------------------------------------------------------------

_SPECIAL: Final = re.compile('[&<>"\t\r\n]|[^ -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')
_NOT_ALLOWED: Final = re.compile("[^\t\r\n -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
_REFERENCES: Final = {
    "&": "&amp;",
    "<": "&lt;",
    ">": "&gt;",
    '"': "&quot;",
    "\t": "&#9;",
    "\n": "&#10;",
    "\r": "&#13;",
}


def escape(text: str) -> str:
    """Write ``text`` so that it can stand in element content or in a double-quoted attribute value.

    Characters that XML 1.0 does not allow are dropped; tabs and line ends become character references, because a reader
    would otherwise normalise them away.
    """
    if _SPECIAL.search(text) is None:
        return text
    text = _NOT_ALLOWED.sub("", text)
    # The ampersand is the first of them.
    for special, reference in _REFERENCES.items():
        text = text.replace(special, reference)
    return text


def write_element(element: etree._Element) -> bytes:
    """Write an element as a document of its own in UTF-8, with the namespace declarations in scope.

    UTF-8 is no matter of taste: in another encoding a name with a letter that it lacks cannot be written at all.
    """
    return etree.tostring(element, encoding="UTF-8", xml_declaration=False, with_tail=False)


# --- an element in its bytes ----------------------------------------------------------------------------------------

_REST_OF_START_TAG: Final = re.compile(rb"""(?:[^>"']++|"[^"]*+"|'[^']*+')*+>""")
_END_OF_NAME: Final = b" \t\r\n/>"
_TOKEN: Final = re.compile(
    rb"""<(?:!--.*?-->|!\[CDATA\[.*?\]\]>|\?.*?\?>|/[^>]*+>|([^\s/>!?]++)(?:[^>"']++|"[^"]*+"|'[^']*+')*+>)""",
    re.DOTALL,
)


def element_span(data: bytes, element: etree._Element) -> tuple[int, int, int]:
    """Return where an element lies in ``data``: byte offset, byte length, and length of ``<`` with the qualified name.

    ``data`` are the bytes that `read_xml` parsed the element's tree from, and the tree is as it was parsed.
    Raises: `ValueError` when the element is not in ``data``. Spec: 20 §7.2.
    """
    local = etree.QName(element).localname
    name = (f"{element.prefix}:{local}" if element.prefix else local).encode()
    start = _only_tag(data, b"<" + name)
    if start is not None:
        opened = _REST_OF_START_TAG.match(data, start)
        # A self-closed element has no end tag of its own: the only one in sight stands in a comment.
        if opened is not None and data.endswith(b"/>", start, opened.end()):
            return start, opened.end() - start, len(name) + 1
        end = _only_tag(data, b"</" + name)
        if end is not None:
            return start, data.index(b">", end) + 1 - start, len(name) + 1
    start, end = _exact_span(data, int(cast("float", _ELEMENTS_BEFORE(element))))
    return start, end - start, len(name) + 1


def _only_tag(data: bytes, tag: bytes) -> int | None:
    """Return where ``tag`` stands as a whole name, if it does so exactly once, comments and all."""
    only = None
    at = data.find(tag)
    while at >= 0:
        if data[at + len(tag)] in _END_OF_NAME:
            if only is not None:
                return None
            only = at
        at = data.find(tag, at + len(tag))
    return only


def _exact_span(data: bytes, number: int) -> tuple[int, int]:
    """Return start and end of the element with this number (from 0, in document order), reading mark-up as it comes.

    ``data`` is well-formed and has no DTD, so that every ``<`` begins one of the forms of ``_TOKEN``.
    """
    begin = -1
    depth = 0
    for token, opens, closes in _tags(data):
        if begin < 0:
            if opens:
                if number == 0:
                    if closes:
                        return token.span()
                    begin, depth = token.start(), 1
                number -= 1
            continue
        depth += opens - closes
        if depth == 0:
            return begin, token.end()
    raise ValueError("the element is not in these bytes")


def _tags(data: bytes) -> Iterator[tuple[re.Match[bytes], bool, bool]]:
    """Yield every start and end tag, and whether it opens and whether it closes an element (self-closed: both)."""
    for token in _TOKEN.finditer(data):
        if token.group(1) is not None:
            yield token, True, data.endswith(b"/>", token.start(), token.end())
        elif data.startswith(b"/", token.start() + 1):
            yield token, False, True


def element_offsets(data: bytes) -> Iterator[int]:
    """Yield where each element begins in ``data``, well-formed and without DTD, in document order: ``<`` first.

    The n-th offset belongs to the n-th element of ``root.iter("*")``.
    """
    return (token.start() for token, opens, _ in _tags(data) if opens)


def inherited_declarations(element: etree._Element) -> bytes:
    """Return what an element inherits from its ancestors, as attributes to be inserted after its name.

    These are the namespace declarations in scope that the element does not make itself, ``xmlns=""`` when no default
    namespace is in scope (so that none of the new place leaks in), and the ``xml:`` attributes of ancestors that it
    does not carry, the nearest winning. ``xml:id`` names one element and is not inherited. Each begins with a space.
    Spec: 20 §7.2.
    """
    parent = element.getparent()
    in_scope: dict[str | None, str | None] = dict(parent.nsmap) if parent is not None else {}
    in_scope.setdefault(None, "")
    own = _own_prefixes(element)
    written = [
        f' xmlns:{prefix}="{escape(uri or "")}"' if prefix else f' xmlns="{escape(uri or "")}"'
        for prefix, uri in in_scope.items()
        if prefix not in own
    ]
    attributes: dict[str, str] = {}
    for value in cast("list[etree._ElementUnicodeResult]", _INHERITED_ATTRIBUTES(element)):
        attributes[str(value.attrname)] = str(value)
    # Asking the element for each of them would search its attributes again and again.
    carried = frozenset(element.keys())
    for key, text in attributes.items():
        if key not in carried and key != f"{{{XML_NS}}}id":
            written.append(f' xml:{key.rpartition("}")[2]}="{escape(text)}"')
    return "".join(written).encode()


def _own_prefixes(element: etree._Element) -> set[str | None]:
    """Return the prefixes that the element's own start tag declares, ``None`` for the default namespace.

    The element's ``nsmap`` cannot tell: it merges what the ancestors declare, and a start tag may repeat that.
    """
    prefixes: set[str | None] = set()
    for event, found in etree.iterwalk(element, events=("start-ns", "start")):
        if event == "start":
            break
        prefixes.add(cast("tuple[str, str]", found)[0] or None)
    return prefixes
