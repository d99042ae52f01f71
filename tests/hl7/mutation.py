"""Faulty messages made from valid ones: small changes of a parsed tree, put together."""

from collections.abc import Callable
from copy import deepcopy

from lxml import etree

from openscr.codes import CRS_NS, HL7_NS, PRESENTATION_NS, SOAP_NS, WSA_NS, XSI_NS

NAMESPACES = {
    "h": HL7_NS,
    "crs": CRS_NS,
    "soap": SOAP_NS,
    "wsa": WSA_NS,
    "x": PRESENTATION_NS,
    "xsi": XSI_NS,
}

Change = Callable[[etree._Element], None]


def find(root: etree._Element, path: str) -> list[etree._Element]:
    """Return the elements of a path; a path that finds nothing is a mistake of the test."""
    found = [e for e in root.xpath(path, namespaces=NAMESPACES) if isinstance(e, etree._Element)]
    assert found, path
    return found


def both(*changes: Change) -> Change:
    """Make several changes in turn."""

    def change(root: etree._Element) -> None:
        for one in changes:
            one(root)

    return change


def drop(path: str) -> Change:
    """Take elements out."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            parent = element.getparent()
            assert parent is not None
            parent.remove(element)

    return change


def without(path: str, attribute: str) -> Change:
    """Take an attribute away."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            del element.attrib[attribute]

    return change


def put(path: str, attribute: str, value: str) -> Change:
    """Give an attribute another value."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            element.set(attribute, value)

    return change


def say(path: str, text: str) -> Change:
    """Give elements another text."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            element.text = text

    return change


def repeat(path: str) -> Change:
    """Put a copy of the first element found behind it."""

    def change(root: etree._Element) -> None:
        element = find(root, path)[0]
        element.addnext(deepcopy(element))

    return change


def empty(path: str) -> Change:
    """Take everything out of elements."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            for child in list(element):
                element.remove(child)
            element.text = None

    return change


def add(path: str, xml: str) -> Change:
    """Put a new element, written in the HL7 namespace, at the end of the first element found."""

    def change(root: etree._Element) -> None:
        wrapped = etree.fromstring(f'<x xmlns="{HL7_NS}" xmlns:crs="{CRS_NS}">{xml}</x>')
        find(root, path)[0].append(wrapped[0])

    return change


def before(path: str, xml: str) -> Change:
    """Put a new element, written in the HL7 namespace, before the first element found."""

    def change(root: etree._Element) -> None:
        wrapped = etree.fromstring(f'<x xmlns="{HL7_NS}" xmlns:crs="{CRS_NS}">{xml}</x>')
        find(root, path)[0].addprevious(wrapped[0])

    return change


def rename(path: str, name: str) -> Change:
    """Give elements another local name."""

    def change(root: etree._Element) -> None:
        for element in find(root, path):
            element.tag = f"{{{etree.QName(element).namespace}}}{name}"

    return change


def mutated(message: bytes, *changes: Change) -> bytes:
    """Return a message after these changes."""
    root = etree.fromstring(message)
    both(*changes)(root)
    return etree.tostring(root)
