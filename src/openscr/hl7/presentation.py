"""The presentation text of a GP Summary: read once, shown on a page or in a terminal.

The text is what the practice attested for people to read. Therefore:

* No word, order or date of it ever changes; what is not allowed loses its tags, not its text. Only active content
  (scripts, styles, frames, objects, forms) goes with what is inside.
* Nothing of it can act on the page that shows it: elements and attributes are a whitelist, everything is escaped, ids
  and the links to them get a prefix, classes are dropped so that no page style can hide clinical text.
* Nothing of it can act on a terminal: control characters and direction overrides are left out.

Spec: 10 §9, §17; 70 §13.
"""

import re
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from lxml import etree

from openscr.codes import PRESENTATION_NS
from openscr.errors import UnreadableMessage
from openscr.transport.xml import read_xml

HEADINGS: Final = frozenset({"h2", "h3", "h4", "h5", "h6"})
_TABLE_PARTS: Final = frozenset({"thead", "tbody", "tfoot"})
_INLINE: Final = frozenset({"a", "br"})

ALLOWED: Final = (
    HEADINGS | _TABLE_PARTS | _INLINE | {"p", "ol", "ul", "li", "table", "caption", "tr", "th", "td", "pre"}
)
"""The elements that a page may show. Spec: 10 §9."""

_ACTIVE: Final = frozenset({"script", "style", "iframe", "object", "form"})
_CELLS: Final = frozenset({"td", "th"})

_NMTOKEN = re.compile(r"[\w.:-]+\Z")
_SPAN = re.compile(r"[1-9][0-9]?\Z")
_SPACE = re.compile(r"[ \t\r\n]+")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_COLUMN_GAP: Final = 2
_NARROWEST_COLUMN: Final = 9
_MOST_COLUMNS: Final = 40


@dataclass(frozen=True, slots=True)
class Node:
    """An allowed element: its name, its allowed attributes in order, its content."""

    tag: str
    attributes: tuple[tuple[str, str], ...] = ()
    content: "tuple[Node | str, ...]" = ()

    def attribute(self, name: str) -> str | None:
        """Return the value of an attribute, or none."""
        return dict(self.attributes).get(name)

    def parts(self) -> "Iterator[Node]":
        """Iterate over the child elements; text where only elements belong counts as a cell."""
        for child in self.content:
            if isinstance(child, Node):
                yield child
            elif child.strip():
                yield Node("td", (), (child,))


@dataclass(frozen=True, slots=True)
class Presentation:
    """Presentation text with nothing in it but the whitelist.

    ``conforming`` is false when it was not an ``html`` element of the presentation namespace, which some senders do.
    Spec: 10 §9, §17.
    """

    content: tuple[Node | str, ...]
    conforming: bool = True

    def html(self, prefix: str = "scr-") -> str:
        """Return an HTML fragment that is safe in any page; ids and links to them start with ``prefix``.

        A table's ``summary`` becomes a caption of class ``visually-hidden``. Spec: 10 §9, 70 §13.
        """
        targets: set[str] = set()
        _collect_ids(self.content, targets)
        written: list[str] = []
        loose: list[str] = []
        for child in self.content:
            html = _html(child, prefix, targets)
            if isinstance(child, str) or child.tag in _INLINE:
                loose.append(html)
                continue
            written.extend(_paragraph(loose))
            written.append(html)
        written.extend(_paragraph(loose))
        return "\n".join(written)

    def text(self, width: int = 100) -> str:
        """Return plain text for a terminal of ``width`` columns: tables in aligned columns, ``h2`` underlined."""
        collected: list[str] = []
        _collect_blocks(self.content, max(width, 20), collected)
        blocks = (block.rstrip() for block in collected)
        return "\n\n".join(block for block in blocks if block.strip()) + "\n"


def read_presentation(document: bytes) -> Presentation | None:
    """Return the presentation text of a ``GPSummary`` element, or none when it holds nothing to read.

    Elements are found by local name, under whatever prefix. Raises: `UnsafeXml`. Spec: 10 §4.2, §17; 70 §13 step 2.
    """
    value = next(read_xml(document).iterfind(".//{*}presentationText/{*}value"), None)
    if value is None:
        return None
    html = next(value.iter(f"{{{PRESENTATION_NS}}}html"), None)
    presentation = Presentation(_children(value if html is None else html), conforming=html is not None)
    return presentation if _has_text(presentation.content) else None


def presentation_of(document: bytes) -> Presentation:
    """Return the presentation text of a ``GPSummary`` element.

    Raises: `UnsafeXml`; `UnreadableMessage` when it holds nothing to read. Spec: 10 §4.2.
    """
    presentation = read_presentation(document)
    if presentation is None:
        raise UnreadableMessage("the summary holds no presentation text; read its coded entries instead")
    return presentation


# --- reading --------------------------------------------------------------------------------------------------------


# What walks down collects into one list: generators that hand each piece up through all levels would multiply the time
# by the depth.


def _children(element: etree._Element) -> tuple[Node | str, ...]:
    """Return an element's content with only allowed elements left, unwrapping the others."""
    content: list[Node | str] = []
    _collect(element, content)
    return tuple(content)


def _collect(element: etree._Element, content: list[Node | str]) -> None:
    if element.text:
        content.append(element.text)
    for child in element:
        if isinstance(child.tag, str):
            name = etree.QName(child).localname.lower()
            name = "h2" if name == "h1" else name
            if name in ALLOWED:
                content.append(Node(name, tuple(_attributes(name, child)), () if name == "br" else _children(child)))
            elif name not in _ACTIVE:
                _collect(child, content)
        if child.tail:
            content.append(child.tail)


def _attributes(name: str, element: etree._Element) -> Iterator[tuple[str, str]]:
    return ((attribute, value) for attribute, value in element.items() if _stays(name, attribute, value))


def _stays(name: str, attribute: str, value: str) -> bool:
    """Whether an attribute of an allowed element is allowed. Spec: 10 §9, 70 §13 step 3."""
    match attribute:
        case "id":
            return _NMTOKEN.match(value) is not None
        case "href":
            return name == "a" and value.startswith("#") and _NMTOKEN.match(value[1:]) is not None
        case "summary":
            return name == "table" and bool(value.strip())
        case "rowspan" | "colspan":
            return name in _CELLS and _SPAN.match(value) is not None
        case "headers":
            return name in _CELLS and bool(value.strip()) and all(map(_NMTOKEN.match, value.split()))
        case "abbr":
            return name in _CELLS
    return False


def _collect_ids(content: tuple[Node | str, ...], ids: set[str]) -> None:
    for child in content:
        if isinstance(child, Node):
            own = child.attribute("id")
            if own is not None:
                ids.add(own)
            _collect_ids(child.content, ids)


def _has_text(content: tuple[Node | str, ...]) -> bool:
    return any(_has_text(child.content) if isinstance(child, Node) else bool(child.strip()) for child in content)


# --- for a page -----------------------------------------------------------------------------------------------------


def _escape(text: str) -> str:
    # No control characters reach here: XML 1.0 has none but tab, line feed, carriage return and the C1 range.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")


def _html(child: Node | str, prefix: str, targets: set[str]) -> str:
    if isinstance(child, str):
        return _escape(child)
    attributes = ""
    hidden_caption = ""
    for name, value in child.attributes:
        if name == "summary":
            if not any(part.tag == "caption" for part in child.parts()):
                hidden_caption = f'<caption class="visually-hidden">{_escape(value)}</caption>'
        elif name == "href":
            if value[1:] in targets:
                attributes += f' href="#{prefix}{_escape(value[1:])}"'
        elif name == "id":
            attributes += f' id="{prefix}{_escape(value)}"'
        elif name == "headers":
            attributes += f' headers="{" ".join(prefix + _escape(token) for token in value.split())}"'
        else:
            attributes += f' {name}="{_escape(value)}"'
    if child.tag == "br":
        return f"<br{attributes}>"
    content = "".join(_html(grandchild, prefix, targets) for grandchild in child.content)
    if child.tag == "a" and not attributes:
        return content
    if child.tag == "pre" and content.startswith("\n"):
        content = "\n" + content  # HTML readers drop the first line feed of a pre
    return f"<{child.tag}{attributes}>{hidden_caption}{content}</{child.tag}>"


def _paragraph(loose: list[str]) -> Iterator[str]:
    """Wrap text that stands between blocks into a paragraph, and start afresh."""
    html = "".join(loose).strip()
    loose.clear()
    if html:
        yield f"<p>{html}</p>"


# --- for a terminal -------------------------------------------------------------------------------------------------


def _plain(content: tuple[Node | str, ...]) -> str:
    """Return the text of mixed content: white space collapsed, a line feed for each ``br`` and around each block."""
    pieces: list[str] = []
    _collect_pieces(content, pieces)
    lines = (_SPACE.sub(" ", line).strip() for line in "".join(pieces).split("\n"))
    return "\n".join(line for line in lines if line)


def _collect_pieces(content: tuple[Node | str, ...], pieces: list[str]) -> None:
    for child in content:
        if isinstance(child, str):
            pieces.append(_UNPRINTABLE.sub("", _SPACE.sub(" ", child)))
        elif child.tag == "a":
            _collect_pieces(child.content, pieces)
        else:
            pieces.append("\n")
            _collect_pieces(child.content, pieces)
            pieces.append("\n")


def _verbatim(content: tuple[Node | str, ...]) -> str:
    texts = (
        child if isinstance(child, str) else "\n" if child.tag == "br" else _verbatim(child.content)
        for child in content
    )
    return _UNPRINTABLE.sub("", "".join(texts))


def _wrapped(text: str, width: int, first: str = "", rest: str = "") -> str:
    lines: list[str] = []
    for line in text.split("\n"):
        indent = rest if lines else first
        # A date broken at its hyphens is hard to read.
        wrapper = _Wrapper(width, initial_indent=indent, subsequent_indent=rest, break_on_hyphens=False)
        lines += wrapper.wrap(line) or [indent.rstrip()]
    return "\n".join(lines)


class _Wrapper(textwrap.TextWrapper):
    """Wraps text in linear time: a word that is longer than any line is cut before it is put into lines."""

    def _split(self, text: str) -> list[str]:
        # The one that wraps cuts a line's length from the front of such a word, and copies all the rest, line by line.
        room = max(self.width - max(len(self.initial_indent), len(self.subsequent_indent)), 1)
        return [chunk[at : at + room] for chunk in super()._split(text) for at in range(0, len(chunk), room)]


def _collect_blocks(content: tuple[Node | str, ...], width: int, blocks: list[str]) -> None:
    """Collect the blocks of the text, each complete with its line feeds but the last."""
    loose: list[Node | str] = []
    for child in content:
        if isinstance(child, str) or child.tag in _INLINE:
            loose.append(child)
            continue
        blocks.append(_wrapped(_plain(tuple(loose)), width))
        loose.clear()
        if child.tag == "table":
            blocks.append(_table(child, width))
        elif child.tag in {"ol", "ul"}:
            blocks.append(_list(child, width))
        elif child.tag == "pre":
            blocks.append(_verbatim(child.content).strip("\n"))
        elif child.tag == "h2":
            lines = _wrapped(_plain(child.content), width).split("\n")
            blocks.append("\n".join([*lines, "=" * max(map(_cells, lines))]))
        elif child.tag in HEADINGS:
            blocks.append(_wrapped(_plain(child.content), width))
        else:
            _collect_blocks(child.content, width, blocks)
    blocks.append(_wrapped(_plain(tuple(loose)), width))


def _list(node: Node, width: int) -> str:
    items = []
    for number, item in enumerate(node.parts(), 1):
        mark = f"{number}. " if node.tag == "ol" else "- "
        items.append(_wrapped(_plain(item.content), width, mark, " " * len(mark)))
    return "\n".join(items)


def _cells(text: str) -> int:
    """Return how many terminal cells a line takes: wide characters two, combining marks none."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


@dataclass(frozen=True, slots=True)
class _Row:
    cells: tuple[str, ...]
    heading: bool


def _rows(table: Node) -> list[_Row]:
    """Return the rows of a table with spans resolved: a spanned position repeats nothing, it is empty.

    Spans count as long as the table can still be laid out in columns: beyond that they would only multiply nothing.
    """
    rows: list[_Row] = []
    pending: dict[int, int] = {}
    # The captions of the table stand before its rows; one in a part of it is a row, so that nothing is lost.
    for part in (part for part in table.parts() if part.tag != "caption"):
        for row in part.parts() if part.tag in _TABLE_PARTS else [part]:
            cells: list[str] = []
            row_cells = tuple(row.parts()) if row.tag == "tr" else (Node("td", (), row.content),)
            for cell in row_cells:
                _fill_spanned(cells, pending)
                start = len(cells)
                if start >= _MOST_COLUMNS:
                    cells.append(_plain(cell.content))
                    continue
                span = min(int(cell.attribute("colspan") or 1), _MOST_COLUMNS)
                cells += [_plain(cell.content), *[""] * (span - 1)]
                pending.update(dict.fromkeys(range(start, len(cells)), int(cell.attribute("rowspan") or 1) - 1))
            _fill_spanned(cells, pending)
            heading = part.tag == "thead" or all(cell.tag == "th" for cell in row_cells)
            if any(cells):
                rows.append(_Row(tuple(cells), heading))
    return rows


def _fill_spanned(cells: list[str], pending: dict[int, int]) -> None:
    """Leave the positions empty that a cell of an earlier row reaches into."""
    while pending.get(len(cells), 0):
        pending[len(cells)] -= 1
        cells.append("")


def _table(table: Node, width: int) -> str:
    text = [_wrapped(_plain(part.content), width) for part in table.parts() if part.tag == "caption"]
    rows = _rows(table)
    count = max((len(row.cells) for row in rows), default=0)
    widths = None
    if count <= _MOST_COLUMNS:
        rows = [_Row(row.cells + ("",) * (count - len(row.cells)), row.heading) for row in rows]
        widths = _column_widths(
            [max(_cells(line) for row in rows for line in row.cells[i].split("\n")) for i in range(count)], width
        )
    text += _list_layout(rows, width) if widths is None else _column_layout(rows, widths)
    return "\n".join(text).strip("\n")


def _column_widths(natural: list[int], width: int) -> list[int] | None:
    """Share ``width`` among columns: narrow ones get what they need, the others equal parts; none if too narrow."""
    left = width - _COLUMN_GAP * (len(natural) - 1)
    widths = [0] * len(natural)
    by_need = sorted(range(len(natural)), key=lambda index: natural[index])
    for done, index in enumerate(by_need):
        widths[index] = min(natural[index], left // (len(natural) - done))
        left -= widths[index]
    fits = all(got >= min(need, _NARROWEST_COLUMN) for got, need in zip(widths, natural, strict=True))
    return widths if fits else None


def _column_layout(rows: list[_Row], widths: list[int]) -> Iterator[str]:
    for index, row in enumerate(rows):
        columns = [_wrapped(cell, max(width, 1)).split("\n") for cell, width in zip(row.cells, widths, strict=True)]
        for line in range(max(map(len, columns))):
            parts = [column[line] if line < len(column) else "" for column in columns]
            padded = (part + " " * (width - _cells(part)) for part, width in zip(parts, widths, strict=True))
            yield (" " * _COLUMN_GAP).join(padded).rstrip()
        if row.heading and not (index + 1 < len(rows) and rows[index + 1].heading):
            yield (" " * _COLUMN_GAP).join("-" * width for width in widths)


def _list_layout(rows: list[_Row], width: int) -> Iterator[str]:
    """Write each row as lines ``heading: value``, for terminals too narrow for the columns."""
    headings: tuple[str, ...] | None = None
    for row in rows:
        if row.heading and headings is None:
            headings = row.cells
            continue
        for label, cell in zip_longest((headings or ())[: len(row.cells)], row.cells, fillvalue=""):
            if cell:
                yield _wrapped(f"{label}: {cell}" if label else cell, width, "", "  ")
        yield ""
    if headings is not None and len(rows) == 1:
        yield _wrapped(", ".join(filter(None, headings)), width)
