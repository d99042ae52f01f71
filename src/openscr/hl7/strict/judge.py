"""Judging a tree by the grammar, in one pass: every element once, with one look-up for each attribute and each child.

What is wrong is told as pairs of the element concerned and a sentence. Behind something that may not stand where it
stands the judge goes on: what comes then is judged by its name, and `wording` says what is wrong with the order.

Spec: 10 §11.5.
"""

from typing import Final, cast

from lxml import etree

from openscr.codes import XSI_NS
from openscr.hl7.strict import wording
from openscr.hl7.strict.datatypes import DATA_TYPES
from openscr.hl7.strict.grammar import ElementType, State
from openscr.hl7.strict.values import SPACE
from openscr.hl7.wrapper import HL7

MOST_FAULTS: Final = 1000
"""So many are told of one message; nobody reads more, and a hostile message should not fill the memory."""

_XSI_TYPE: Final = f"{{{XSI_NS}}}type"
_HINTS: Final = frozenset({f"{{{XSI_NS}}}schemaLocation", f"{{{XSI_NS}}}noNamespaceSchemaLocation"})
_LOST: Final = State()
"""Where nothing is expected any more: what comes is judged by its name alone."""


class Faults:
    """What is wrong: elements with a sentence each, `MOST_FAULTS` of them at most."""

    __slots__ = ("told",)

    def __init__(self) -> None:
        self.told: list[tuple[etree._Element, str]] = []

    @property
    def enough(self) -> bool:
        """Whether no more is told."""
        return len(self.told) >= MOST_FAULTS

    def add(self, element: etree._Element, text: str) -> None:
        """Keep a fault."""
        if not self.enough:
            self.told.append((element, text))


def judge(element: etree._Element, of: ElementType, faults: Faults, *, named: bool = False) -> None:
    """Judge an element and everything below it by its type; ``named`` says that ``xsi:type`` was heard already."""
    if of.abstract:
        other = _named_type(element, of)
        if other is None:
            faults.add(element, wording.wrong_type(element, of))
            return
        of, named = other, True
    rules = of.attributes
    wanted = of.required
    others: str | None = None
    begin = len(faults.told)
    for name, value in element.items():
        rule = rules.get(name)
        if rule is not None:
            wanted -= rule.required
            held = rule.value
            if not held.accepts(value) and not held.allows(value):
                faults.add(element, wording.wrong_attribute(element, name, held))
        elif name == _XSI_TYPE:
            if named:
                continue
            other = _named_type(element, of)
            if other is None:
                faults.add(element, wording.wrong_type(element, of))
            elif other is not of:
                del faults.told[begin:]
                judge(element, other, faults, named=True)
                return
        elif name not in _HINTS:
            if others is None:
                others = wording.other_attributes(element, of)
            faults.add(element, wording.unknown_attribute(element, name, others))
    if wanted:
        for text in wording.missing_attributes(element, of):
            faults.add(element, text)
    state = of.start
    if state is not None:
        _judge_children(element, of, state, faults)
    elif of.text is not None:
        _judge_text(element, of, faults)
    elif len(element) or element.text:
        _judge_nothing(element, faults)


def _judge_children(element: etree._Element, of: ElementType, state: State, faults: Faults) -> None:
    mixed = of.mixed
    words = not mixed and (text := element.text) is not None and text.strip(SPACE) != ""
    lost = False
    for child in element:
        tag = cast("str", child.tag)
        step = state.get(tag)
        if step is not None:
            state, below = step
            judge(child, below, faults)
        elif isinstance(tag, str):
            if faults.enough:
                return
            foreign = state.foreign
            if foreign is not None and foreign[0].takes(tag):
                state = foreign[1]
            else:
                lost = True
                state = _LOST
                known = of.types_by_tag.get(tag)
                if known is not None:
                    judge(child, known, faults)
                else:
                    faults.add(child, wording.unknown_child(element, child, of))
        if not mixed and (text := child.tail) is not None and text.strip(SPACE):
            words = True
    if words:
        faults.add(element, wording.stray_text(element))
    if lost or not state.accepts:
        for place, text in wording.wrong_order(element, of):
            faults.add(place, text)


def _judge_text(element: etree._Element, of: ElementType, faults: Faults) -> None:
    text = element.text or ""
    for child in element:
        if isinstance(child.tag, str):
            faults.add(child, wording.unknown_child(element, child, of))
        text += child.tail or ""
    if of.text is not None and not of.text.allows(text):
        faults.add(element, wording.wrong_text(element, of.text))


def _judge_nothing(element: etree._Element, faults: Faults) -> None:
    """Judge an element inside which not even white space may stand; comments may."""
    said = bool(element.text)
    for child in element:
        if isinstance(child.tag, str):
            faults.add(child, wording.unknown_child(element, child, None))
        said = said or bool(child.tail)
    if said:
        faults.add(element, wording.not_empty(element))


def _named_type(element: etree._Element, of: ElementType) -> ElementType | None:
    """Return the data type that ``xsi:type`` names when it is that of the element, or one derived from it."""
    prefix, _, name = (element.get(_XSI_TYPE) or "").rpartition(":")
    if f"{{{element.nsmap.get(prefix or None)}}}" != HL7:
        return None
    found = DATA_TYPES.get(name)
    if found is None or found.abstract:
        return None
    above: ElementType | None = found
    while above is not None and above is not of:
        above = above.base
    return None if above is None else found
