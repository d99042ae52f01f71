"""Messages distorted at random places: one small change of a valid message each, from a source of random numbers."""

from collections.abc import Callable
from copy import deepcopy
from random import Random

from lxml import etree

from openscr.codes import HL7_NS, XSI_NS

TYPE = f"{{{XSI_NS}}}type"
VALUES = (
    "",
    " ",
    "x",
    "EVN",
    "PRMS",
    "true",
    "false",
    "0",
    "1.5",
    "AUT",
    "INSTANCE",
    "active",
    "nullified",
    "aborted",
    "2.16.840.1.113883.2.1.3.2.4.15",
    "20250101",
    "20250101103045+0100",
    "2025-01-01",
    "A1B2C3D4-0000-4000-8000-000000000001",
    "a1b2c3d4-0000-4000-8000-000000000001",
    "123456789012",
    "with space",
    "Ünïcödé",
    "tel:01632960000",
)
"""What attributes are made to say."""

ATTRIBUTES = (
    "nullFlavor",
    "updateMode",
    "classCode",
    "moodCode",
    "typeCode",
    "type",
    "typeID",
    "realmCode",
    "code",
    "codeSystem",
    "displayName",
    "value",
    "unit",
    "root",
    "extension",
    "use",
    "id",
    "class",
    "mediaType",
    "representation",
    "partType",
    "operator",
    "inclusive",
    "assigningAuthorityName",
    "ITSVersion",
    "unheardOf",
    "{urn:elsewhere}attribute",
)
NULLS = ("NI", "UNK", "OTH", "XX")
NAMES = ("id", "code", "value", "time", "text", "low", "high", "originalText", "translation", "name", "unheardOf", "p")
TYPES = ("PQ", "CD", "CE", "CV", "ST", "ED", "TS", "IVL_TS", "INT", "REAL", "BL", "II", "PN", "TEL", "ANY", "QTY", "XX")

Distortion = Callable[[etree._Element, Random], bool]


def elements(root: etree._Element) -> list[etree._Element]:
    """Return the elements of a tree, the root first."""
    return [each for each in root.iter() if isinstance(each.tag, str)]


def _below(root: etree._Element, random: Random) -> etree._Element | None:
    found = elements(root)[1:]
    return random.choice(found) if found else None


def drop_element(root: etree._Element, random: Random) -> bool:
    """Take an element out."""
    element = _below(root, random)
    if element is None:
        return False
    element.getparent().remove(element)  # type: ignore[union-attr]
    return True


def repeat_element(root: etree._Element, random: Random) -> bool:
    """Put a copy of an element behind it."""
    element = _below(root, random)
    if element is None:
        return False
    element.addnext(deepcopy(element))
    return True


def swap_elements(root: etree._Element, random: Random) -> bool:
    """Let an element and the one behind it change places."""
    element = _below(root, random)
    following = None if element is None else element.getnext()
    if element is None or following is None:
        return False
    following.addnext(element)
    return True


def rename_element(root: etree._Element, random: Random) -> bool:
    """Give an element another name, or another namespace."""
    element = _below(root, random)
    if element is None:
        return False
    namespace, _, name = element.tag[1:].partition("}")
    if random.random() < 0.2:
        namespace = random.choice(("urn:elsewhere", HL7_NS, "xhtml:NPfIT:PresentationText"))
    else:
        name = random.choice((*NAMES, etree.QName(random.choice(elements(root))).localname, name + "1"))
    element.tag = f"{{{namespace}}}{name}"
    return True


def move_element(root: etree._Element, random: Random) -> bool:
    """Put a copy of an element into another one."""
    found = elements(root)
    element, target = random.choice(found[1:] or found), random.choice(found)
    if element is root or sum(1 for _ in element.iter()) > 40:
        return False
    target.insert(random.randint(0, len(target)), deepcopy(element))
    return True


def add_element(root: etree._Element, random: Random) -> bool:
    """Put a new element somewhere."""
    target = random.choice(elements(root))
    namespace = random.choice((etree.QName(target).namespace or "", HL7_NS, "urn:elsewhere"))
    made = etree.Element(f"{{{namespace}}}{random.choice(NAMES)}")
    if random.random() < 0.5:
        made.set(random.choice(("value", "code", "root")), random.choice(VALUES))
    target.insert(random.randint(0, len(target)), made)
    return True


def drop_attribute(root: etree._Element, random: Random) -> bool:
    """Take an attribute away."""
    element = random.choice(elements(root))
    if not element.attrib:
        return False
    del element.attrib[random.choice(sorted(map(str, element.attrib)))]
    return True


def alter_attribute(root: etree._Element, random: Random) -> bool:
    """Let an attribute say something else."""
    element = random.choice(elements(root))
    if not element.attrib:
        return False
    name = random.choice(sorted(map(str, element.attrib)))
    value = element.get(name) or ""
    others = sorted({str(each.get(name)) for each in elements(root) if each.get(name)})
    element.set(
        name,
        random.choice((*VALUES, *others[:20], value.lower(), value.upper(), f" {value} ", value + "x", value[:-1])),
    )
    return True


def add_attribute(root: etree._Element, random: Random) -> bool:
    """Give an element one attribute more."""
    element = random.choice(elements(root))
    name = random.choice(ATTRIBUTES)
    if name in element.attrib:
        return False
    element.set(name, random.choice(NULLS if name == "nullFlavor" else VALUES))
    return True


def alter_text(root: etree._Element, random: Random) -> bool:
    """Put text, or white space, somewhere, or take it away."""
    element = random.choice(elements(root))
    said = random.choice(("words", " ", "\n", "\u00a0", "", "DissentOverride"))
    if random.random() < 0.5 or element is root:
        element.text = said
    else:
        element.tail = said
    return True


def alter_type(root: etree._Element, random: Random) -> bool:
    """Let an element say another data type."""
    values = [each for each in elements(root) if each.get(TYPE)]
    element = random.choice(values or elements(root)) if random.random() < 0.7 else random.choice(elements(root))
    prefix = next((prefix for prefix, uri in element.nsmap.items() if uri == HL7_NS), None)
    name = random.choice(TYPES)
    element.set(TYPE, f"{prefix}:{name}" if prefix else name)
    return True


def comment(root: etree._Element, random: Random) -> bool:
    """Put a comment or a processing instruction somewhere: that is never a fault."""
    target = random.choice(elements(root))
    made = etree.Comment("remark") if random.random() < 0.7 else etree.ProcessingInstruction("target", "data")
    target.insert(random.randint(0, len(target)), made)
    return True


DISTORTIONS: tuple[Distortion, ...] = (
    drop_element,
    repeat_element,
    swap_elements,
    rename_element,
    move_element,
    add_element,
    drop_attribute,
    alter_attribute,
    alter_attribute,
    add_attribute,
    alter_text,
    alter_type,
    comment,
)


def distorted(root: etree._Element, random: Random, most: int = 1) -> tuple[etree._Element, str]:
    """Return a changed copy of a message, and the names of the changes."""
    # Namespaces keep their prefixes only with the document that they stand in.
    copy = etree.fromstring(etree.tostring(root))
    names: list[str] = []
    wanted = random.randint(1, most)
    while len(names) < wanted:
        change = random.choice(DISTORTIONS)
        if change(copy, random):
            names.append(change.__name__)
    # What has no text may hold an empty one until it is written.
    return etree.fromstring(etree.tostring(copy)), " + ".join(names)
