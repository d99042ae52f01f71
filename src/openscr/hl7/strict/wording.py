"""What is wrong, in a sentence each: names of elements and attributes and what would be right, never what was said.

Spec: 10 §11.5, 00 §4.
"""

from collections import Counter
from itertools import pairwise

from lxml import etree

from openscr.codes import CRS_NS, HL7_NS, PRESENTATION_NS, PSIS_NS
from openscr.hl7.strict.grammar import MANY, Child, ElementType, Foreign, OneOf, Particle, Sequence, children_of
from openscr.hl7.strict.values import Value
from openscr.hl7.wrapper import local_name

_MOST_NAMES = 10
_NAMESPACES = {
    HL7_NS: "of HL7 V3",
    PRESENTATION_NS: "of the presentation text",
    PSIS_NS: "of PSIS",
    CRS_NS: "of the consent service",
}


def wrong_attribute(element: etree._Element, name: str, value: Value) -> str:
    """Tell that an attribute holds something else than it may."""
    return f"@{_name(name)} of {local_name(element)} must be {value.expected}."


def unknown_attribute(element: etree._Element, name: str, others: str) -> str:
    """Tell that an attribute is there which the element does not have; ``others`` is what `other_attributes` says."""
    return f"{local_name(element)} has no attribute @{_name(name)} here{others}."


def other_attributes(element: etree._Element, of: ElementType) -> str:
    """Tell which attributes the element may have besides; asked once, however many it should not have."""
    known = ", ".join(f"@{each}" for each in of.attributes if not element.get(each))
    return f"; it may have {known}" if known else ""


def missing_attributes(element: etree._Element, of: ElementType) -> list[str]:
    """Tell each attribute that must be there and is not."""
    return [
        f"{local_name(element)} must have @{name}: {attribute.value.expected}."
        for name, attribute in of.attributes.items()
        if attribute.required and element.get(name) is None
    ]


def wrong_type(element: etree._Element, of: ElementType) -> str:
    """Tell that ``xsi:type`` names no data type that may stand here."""
    right = f"{of.name} or one derived from it" if of.name and not of.abstract else "a data type of HL7, for example PQ"
    return f"@xsi:type of {local_name(element)} must name {right}."


def wrong_text(element: etree._Element, value: Value) -> str:
    """Tell that an element holds another text than it may."""
    return f"The text of {local_name(element)} must be {value.expected}."


def stray_text(element: etree._Element) -> str:
    """Tell that text stands between elements."""
    return f"{local_name(element)} may hold elements only, and there is text between them."


def not_empty(element: etree._Element) -> str:
    """Tell that something stands inside an element that must be empty."""
    return f"{local_name(element)} must be empty: not even white space may stand inside."


def unknown_child(parent: etree._Element, child: etree._Element, of: ElementType | None) -> str:
    """Tell that an element is there for which its parent has no place."""
    name = local_name(child)
    known = {_local(each): each for each in (of.types_by_tag if of is not None else ())}
    if name in known:
        namespace = known[name][1:].partition("}")[0]
        return f"{name} must be an element {_NAMESPACES.get(namespace, f'of {namespace}')}."
    right = f"; it may hold {_names(list(known))}" if known else ""
    return f"{local_name(parent)} has no place for {name}{right}."


def wrong_order(element: etree._Element, of: ElementType) -> list[tuple[etree._Element, str]]:
    """Tell what is missing, there too often, or out of order among the children that an element knows."""
    content = of.content
    if content is None:
        return []
    name = local_name(element)
    found = [each for each in element if isinstance(each.tag, str) and each.tag in of.types_by_tag]
    faults = list(_amounts(element, found, content)) or list(_places(found, content))
    unknown = len(found) < sum(isinstance(each.tag, str) for each in element)
    if faults or unknown:
        return faults
    return [(element, f"The content of {name} is not complete or not in order; it must be {_described(content)}.")]


def _amounts(
    element: etree._Element, found: list[etree._Element], content: Particle
) -> "list[tuple[etree._Element, str]]":
    counts = Counter(str(each.tag) for each in found)
    faults: list[tuple[etree._Element, str]] = []
    for part in _parts(content):
        tags = [child.tag for child in children_of(part)]
        if not tags:
            continue
        amount = sum(counts[tag] for tag in tags)
        label = _names([_local(tag) for tag in tags], "or")
        if part.most == 1 and amount > 1 and (isinstance(part, Child) or _is_flat(part)):
            extra = [each for each in found if each.tag in tags][1]
            faults.append((extra, f"{local_name(element)} may hold {label} only once, and it holds {amount}."))
        elif part.most not in (1, MANY) and amount > part.most and isinstance(part, Child):
            extra = [each for each in found if each.tag in tags][part.most]
            faults.append((extra, f"{local_name(element)} may hold {label} at most {part.most} times."))
        elif amount < part.least and (isinstance(part, Child) or not _may_be_empty(part)):
            faults.append((element, f"{local_name(element)} must hold {label}, and it is missing."))
    return faults


def _places(found: list[etree._Element], content: Particle) -> "list[tuple[etree._Element, str]]":
    position = {child.tag: index for index, part in enumerate(_parts(content)) for child in children_of(part)}
    for before, after in pairwise(found):
        if position[str(after.tag)] < position[str(before.tag)]:
            return [(after, f"{local_name(after)} must stand before {local_name(before)}.")]
    return []


def _parts(content: Particle) -> tuple[Particle, ...]:
    return content.parts if isinstance(content, Sequence) else (content,)


def _is_flat(part: Particle) -> bool:
    return isinstance(part, OneOf) and all(isinstance(each, Child) and each.most == 1 for each in part.parts)


def _may_be_empty(part: Particle) -> bool:
    match part:
        case Child(least=least) | Foreign(least=least):
            return least == 0
        case Sequence(parts=parts, least=least):
            return least == 0 or all(map(_may_be_empty, parts))
        case OneOf(parts=parts, least=least):
            return least == 0 or any(map(_may_be_empty, parts))
    raise AssertionError(part)


def _described(part: Particle) -> str:
    """Return a content in words: "low, then width or high; or high"."""
    match part:
        case Child(tag=tag, least=least, most=most):
            often = (
                "" if (least, most) == (1, 1) else " (may be left out)" if (least, most) == (0, 1) else " (any number)"
            )
            return _local(tag) + often
        case Foreign():
            return "an element of another namespace" if part.other else "an element"
        case Sequence(parts=parts):
            return ", then ".join(map(_described, parts))
        case OneOf(parts=parts):
            if len(parts) > _MOST_NAMES:
                return f"one of {len(parts)} elements"
            return "; or ".join(map(_described, parts))
    raise AssertionError(part)


def _names(names: list[str], join: str = "and") -> str:
    distinct = list(dict.fromkeys(names))
    if len(distinct) > _MOST_NAMES:
        return f"one of {len(distinct)} elements, among them {', '.join(distinct[:3])}"
    return distinct[0] if len(distinct) == 1 else f"{', '.join(distinct[:-1])} {join} {distinct[-1]}"


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


def _name(name: str) -> str:
    return etree.QName(name).localname
