"""Where something is: an element's XPath and the byte at which it begins, a byte's line and column.

Invariant: however many places are asked for, the work stays linear in the document. Offsets are found in one pass over
the bytes, steps of an XPath once for all children of a parent.

Spec: 00 §4 ``validate``.
"""

from bisect import bisect_right
from collections import Counter
from functools import cached_property
from typing import Final

from lxml import etree

from openscr.codes import (
    CRS_NS,
    EB_NS,
    HL7_NS,
    HL7EBXML_NS,
    NASP_NS,
    PRESENTATION_NS,
    PSIS_NS,
    SOAP_NS,
    WSA_NS,
)
from openscr.hl7.wrapper import nearest
from openscr.transport.xml import element_offsets

PREFIXES: Final = {
    SOAP_NS: "SOAP",
    WSA_NS: "wsa",
    EB_NS: "eb",
    HL7EBXML_NS: "hl7ebxml",
    CRS_NS: "crs",
    PSIS_NS: "psis",
    NASP_NS: "nasp",
    PRESENTATION_NS: "xhtml",
    HL7_NS: "hl7",
}
"""Prefixes of XPaths, whatever the document itself uses. In an HL7 document HL7 names stand without a prefix."""

_NAMESPACES: Final = {prefix: namespace for namespace, prefix in PREFIXES.items()}


class Lines:
    """The lines of an input."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @cached_property
    def _ends(self) -> list[int]:
        ends = []
        at = self._data.find(b"\n")
        while at >= 0:
            ends.append(at)
            at = self._data.find(b"\n", at + 1)
        return ends

    def line_of(self, offset: int) -> int:
        """Return the number of the line, from 1, in which the byte at ``offset`` stands."""
        return bisect_right(self._ends, offset - 1) + 1

    def span(self, line: int) -> tuple[int, int] | None:
        """Return where a line begins and ends, without its line end; none when there is no such line."""
        if not 1 <= line <= len(self._ends) + 1:
            return None
        begin = self._ends[line - 2] + 1 if line > 1 else 0
        end = self._ends[line - 1] if line <= len(self._ends) else len(self._data)
        return begin, end - 1 if end > begin and self._data[end - 1 : end] == b"\r" else end

    def offset_of(self, line: int, column: int) -> int:
        """Return the offset of a line and column, both from 1, at most the end of the input."""
        span = self.span(line)
        return min(span[0] + max(column - 1, 0), span[1]) if span is not None else len(self._data)


class Document:
    """A parsed document as a part of the input.

    ``data`` are the bytes that were parsed; they begin at byte ``start`` of the input. When the input holds them in
    another encoding (base64), ``verbatim`` is false, and everything in them is placed where they begin.
    """

    def __init__(self, root: etree._Element, data: bytes, start: int = 0, *, verbatim: bool = True) -> None:
        self.root = root
        self.data = data
        self.start = start
        self.verbatim = verbatim
        self._steps: dict[etree._Element, dict[etree._Element, str]] = {}

    @cached_property
    def _offsets(self) -> dict[etree._Element, int]:
        return dict(zip(self.root.iter("*"), element_offsets(self.data), strict=False))

    def offset(self, element: etree._Element) -> int:
        """Return the byte of the input at which an element begins."""
        return self.start + self._offsets.get(element, 0) if self.verbatim else self.start

    def resolve(self, location: str) -> etree._Element:
        """Return where a location such as ``/SOAP:Envelope/SOAP:Header/wsa:To`` leads, or as far as it goes."""
        tags = [_tag(step) for step in location.strip("/").split("/")]
        return nearest(self.root, *tags[1:]) if tags and self.root.tag == tags[0] else self.root

    def xpath(self, element: etree._Element) -> str:
        """Return the path of an element; a step says which one where the parent has several of that name."""
        steps = []
        at = element
        while (parent := at.getparent()) is not None and at is not self.root:
            steps.append(self._steps_below(parent)[at])
            at = parent
        steps.append(self._name(at))
        return "/" + "/".join(reversed(steps))

    def _steps_below(self, parent: etree._Element) -> dict[etree._Element, str]:
        known = self._steps.get(parent)
        if known is None:
            named = [(child, self._name(child)) for child in parent.iterchildren("*")]
            counts = Counter(name for _, name in named)
            seen: Counter[str] = Counter()
            known = {}
            for child, name in named:
                seen[name] += 1
                known[child] = f"{name}[{seen[name]}]" if counts[name] > 1 else name
            self._steps[parent] = known
        return known

    def _name(self, element: etree._Element) -> str:
        name = etree.QName(element)
        if not name.namespace or (name.namespace == HL7_NS and str(self.root.tag).startswith(f"{{{HL7_NS}}}")):
            return name.localname
        prefix = PREFIXES.get(name.namespace) or element.prefix
        return f"{prefix}:{name.localname}" if prefix else f"*[local-name()='{name.localname}']"


def _tag(step: str) -> str:
    prefix, _, name = step.partition(":")
    return f"{{{_NAMESPACES[prefix]}}}{name}"
