"""Pointers between the entries of a summary: each must lead to an entry of the same summary.

Spec: 10 §8, §11.5.
"""

from typing import Final

from lxml import etree

from openscr.codes import HL7_NS
from openscr.hl7.entry_parts import REFERENCE_KINDS
from openscr.hl7.wrapper import HL7, local_name

_ID: Final = f"{HL7}id"
_ENTRY_IDS: Final = etree.XPath(
    "h:pertinentInformation2/h:pertinentCREType/h:component/*/h:id/@root"
    " | h:pertinentInformation2/h:pertinentCREType/h:component/*/h:component/h:finding/h:id/@root",
    namespaces={"h": HL7_NS},
    smart_strings=False,
)
_POINTERS: Final = tuple(f"{HL7}{name}" for name in sorted({*REFERENCE_KINDS, "pertinentFinding", "pertinentProblem"}))


def find_dangling(summary: etree._Element) -> list[tuple[etree._Element, str]]:
    """Return each pointer of a ``GPSummary`` that no entry of it answers to, with a sentence. Spec: 10 §8."""
    pointers = list(summary.iter(*_POINTERS))
    if not pointers:
        return []
    known = {str(each).upper() for each in _ENTRY_IDS(summary)}
    found = []
    for pointer in pointers:
        identifier = next(pointer.iterchildren(_ID), None)
        target = None if identifier is None else identifier.get("root")
        if identifier is not None and target is not None and target.upper() not in known:
            text = f"{local_name(pointer)} must point at an entry of this summary, and none has its id."
            found.append((identifier, text))
    return found
