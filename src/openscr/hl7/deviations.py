"""What real senders do otherwise than the model, and is accepted: found in an upload, named, and located.

Nothing inside the entries is looked at: an entry that cannot be understood never refuses an upload.

Spec: 10 §11.5, §17.
"""

from collections.abc import Callable, Mapping
from typing import Final

from lxml import etree

from openscr.codes import HL7_NS, INITIAL_UPLOAD, PRESENTATION_NS
from openscr.hl7.wrapper import HL7, Wrapper, attributes_of, child, children, nearest

_ID: Final = f"{HL7}id"
_INFORMATION: Final = f"{HL7}pertinentInformation2"
_STATUS: Final = f"{HL7}statusCode"
_EFFECTIVE: Final = f"{HL7}effectiveTime"
_HTML: Final = f"{{{PRESENTATION_NS}}}html"
_KNOWN_PARTS: Final = frozenset(
    HL7 + name
    for name in (
        "id",
        "code",
        "statusCode",
        "effectiveTime",
        "author",
        "excerptFrom",
        "pertinentInformation1",
        "pertinentInformation2",
        "recordTarget",
        "replacementOf",
    )
)
_PRESENTATION: Final = etree.XPath(
    "h:excerptFrom/*/h:component/h:presentationText/h:value", namespaces={"h": HL7_NS}, smart_strings=False
)


def presentation_values(document: etree._Element) -> list[etree._Element]:
    """Return the ``value`` elements that should hold the presentation text of a summary. Spec: 10 §4.2."""
    return _PRESENTATION(document)  # type: ignore[no-any-return]


def find_deviations(
    wrapper: Wrapper,
    parts: Mapping[str, list[etree._Element]],
    presented: list[etree._Element],
    event_id: str,
    interaction: str,
) -> tuple[str, ...]:
    """Name the deviations that show in what was read of an upload anyway.

    ``parts`` are the children of the document by tag, in document order, ``presented`` its `presentation_values`.
    """
    found = []
    if wrapper.authors and next(wrapper.authors[0].itersiblings(f"{HL7}author1", preceding=True), None) is not None:
        found.append("author1_before_author")
    if wrapper.control_act is not None and wrapper.control_act.get("classCode") == "ALRT":
        found.append("control_act_alrt")
    if wrapper.root.get("ITSVersion") is None:
        found.append("its_version_missing")
    if wrapper.message_id != event_id:
        if wrapper.message_id.upper() != event_id.upper():
            found.append("message_id_not_event_id")
        if wrapper.message_id != wrapper.message_id.upper():
            found.append("lower_case_id")
    if event_id != event_id.upper() and "lower_case_id" not in found:
        found.append("lower_case_id")
    if not presented or any(_is_not_html(value) for value in presented):
        found.append("presentation_not_html")
    if interaction != INITIAL_UPLOAD:
        information = parts.get(_INFORMATION)
        if not information or any(child(heading, "*") is None for heading in information):
            found.append("entries_empty_or_missing")
        names = list(parts)
        if _STATUS in parts and _EFFECTIVE in parts and names.index(_STATUS) < names.index(_EFFECTIVE):
            found.append("status_before_time")
    if not parts.keys() <= _KNOWN_PARTS:
        found.append("unknown_element")
    return tuple(found)


def deviations_of(
    wrapper: Wrapper, document: etree._Element, interaction: str
) -> tuple[tuple[str, etree._Element], ...]:
    """Return every deviation of an upload with the element that shows it, whatever else is wrong with the upload."""
    parts = children(document)
    ids = attributes_of(parts.get(_ID), "root")
    event_id = ids[0] if len(ids) == 1 else wrapper.message_id
    found = find_deviations(wrapper, parts, presentation_values(document), event_id, interaction)
    return tuple((name, _PLACES[name](wrapper, document)) for name in found)


def _unknown_part(document: etree._Element) -> etree._Element:
    return next((part for part in document.iterchildren("*") if part.tag not in _KNOWN_PARTS), document)


def _is_not_html(value: etree._Element) -> bool:
    """Whether a value holds other than the one ``html``; comments beside it are nothing."""
    return [each.tag for each in value.iterchildren("*")] != [_HTML]


def _not_html(document: etree._Element) -> etree._Element:
    values = presentation_values(document)
    return next((v for v in values if _is_not_html(v)), nearest(document, f"{HL7}excerptFrom"))


def _no_entries(document: etree._Element) -> etree._Element:
    return next((heading for heading in document.iterchildren(_INFORMATION) if child(heading, "*") is None), document)


def _lower_case(wrapper: Wrapper, document: etree._Element) -> etree._Element:
    if wrapper.message_id != wrapper.message_id.upper():
        return nearest(wrapper.root, _ID)
    return nearest(document, _ID)


_PLACES: Final[dict[str, Callable[[Wrapper, etree._Element], etree._Element]]] = {
    "author1_before_author": lambda wrapper, _: wrapper.systems[0],
    "control_act_alrt": lambda wrapper, _: nearest(wrapper.root, f"{HL7}ControlActEvent"),
    "its_version_missing": lambda wrapper, _: wrapper.root,
    "message_id_not_event_id": lambda _, document: nearest(document, _ID),
    "lower_case_id": _lower_case,
    "presentation_not_html": lambda _, document: _not_html(document),
    "entries_empty_or_missing": lambda _, document: _no_entries(document),
    "status_before_time": lambda _, document: nearest(document, _STATUS),
    "unknown_element": lambda _, document: _unknown_part(document),
}
DEVIATIONS: Final = tuple(_PLACES)
"""The names of all deviations that are looked for."""
