"""The grammar of the presentation text: ``html`` of the namespace ``xhtml:NPfIT:PresentationText``.

Spec: 10 §4.2, §9.
"""

from typing import Final

from openscr.codes import PRESENTATION_NS
from openscr.hl7.strict.datatypes import ED, flavour, may
from openscr.hl7.strict.grammar import MANY, Child, ElementType, OneOf, Particle, Sequence, sequence
from openscr.hl7.strict.values import ANYTHING, LOCAL_LINK, NMTOKEN

_MARKED: Final = may(**{"id": NMTOKEN, "class": NMTOKEN})
_LOOSELY_MARKED: Final = may(**{"id": ANYTHING, "class": ANYTHING})


def _one(name: str, of: ElementType, least: int = 1, most: int = 1) -> Child:
    return Child(f"{{{PRESENTATION_NS}}}{name}", of, least, most)


def _any_of(*parts: Particle) -> OneOf:
    return OneOf(parts, 0, MANY)


_NOTHING: Final = Sequence(())
_EMPTY: Final = ElementType()
_WORDS: Final = ElementType(attributes=_MARKED, content=_NOTHING, mixed=True)
_CAPTION: Final = ElementType(attributes=may(**{"class": NMTOKEN}), content=_NOTHING, mixed=True)
_LINK: Final = ElementType(attributes={**_MARKED, **may(href=LOCAL_LINK, iiref=NMTOKEN)}, content=_NOTHING, mixed=True)
_ITEM: Final = ElementType(attributes=_MARKED, content=_one("a", _LINK, 0), mixed=True)
_LIST: Final = ElementType(attributes=_MARKED, content=_one("li", _ITEM, 1, MANY))
_HEADING_CELL: Final = ElementType(attributes=_LOOSELY_MARKED, content=_NOTHING, mixed=True)
_CELL: Final = ElementType(
    attributes=may(id=ANYTHING, rowspan=ANYTHING, colspan=ANYTHING, abbr=ANYTHING, headers=ANYTHING),
    content=_any_of(_one("li", _ITEM), _one("ol", _LIST), _one("ul", _LIST), _one("a", _LINK)),
    mixed=True,
)
_ROW: Final = ElementType(attributes=_MARKED, content=OneOf((_one("th", _HEADING_CELL), _one("td", _CELL)), 1, MANY))
_ROWS: Final = _one("tr", _ROW, 1, MANY)
_TABLE: Final = ElementType(
    attributes={**_MARKED, **may(summary=ANYTHING)},
    content=sequence(
        _one("caption", _CAPTION, 0),
        _one("thead", ElementType(attributes=_LOOSELY_MARKED, content=_ROWS), 0),
        _one("tfoot", ElementType(content=_ROWS), 0),
        OneOf((_one("tbody", ElementType(attributes=_MARKED, content=_ROWS), 1, MANY), _ROWS)),
    ),
)
_PARAGRAPH: Final = ElementType(attributes=_MARKED, mixed=True)
_BLOCKS: Final = (
    _one("p", _PARAGRAPH),
    _one("ol", _LIST),
    _one("ul", _LIST),
    _one("table", _TABLE),
    _one("a", _LINK),
    _one("pre", _WORDS),
    _one("br", _EMPTY),
)
_PARAGRAPH.content = _any_of(*_BLOCKS)
_BODY: Final = ElementType(content=_any_of(*(_one(name, _WORDS) for name in ("h2", "h3", "h4", "h5", "h6")), *_BLOCKS))
_HTML: Final = ElementType(content=sequence(_one("head", _EMPTY, 0), _one("body", _BODY, 0)))
PRESENTATION: Final = flavour(
    "ED.NPfIT.Text.XHTML", ED, ElementType(attributes=ED.attributes, content=_one("html", _HTML))
)
"""The ``value`` of the presentation text: one ``html``, which the schema alone would let be missing. 10 §4.2."""
