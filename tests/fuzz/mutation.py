"""Bad inputs out of good ones: changes of the bytes, and changes of the tree that leave it well-formed.

Everything comes from the `random.Random` that is given, so a seed tells the input again.
"""

import random
from copy import deepcopy
from typing import Final

from lxml import etree

WORDS: Final = (
    b"",
    b" ",
    b"0",
    b"-1",
    b"9" * 5000,
    b"9990000018",
    b"2147483648",
    b"1e999",
    b"\xc3\xa9",
    b"\xef\xbf\xbe",
    b"\xf0\x9f\x92\x8a",
    b"\xff",
    b"\x00",
    b"&#0;",
    b"&#x10FFFF;",
    b"&undefined;",
    b"<!DOCTYPE x [<!ENTITY e 'e'>]>",
    b"<![CDATA[ ]]>",
    b"<!-- -- -->",
    b"<?x y?>",
    b"]]>",
    b"xmlns=''",
    b" xmlns:a='b'",
    b"\r\n--",
    b"----=_MIME-Boundary",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Id: <>\r\n",
    b"\n ",
    b";boundary=x",
    b"[" * 2000,
    b"{" * 50,
    b"null",
    b'"\\ud800"',
    b"{}",
)
_NAMES: Final = (
    "GPSummary",
    "author",
    "author1",
    "subject",
    "ControlActEvent",
    "id",
    "code",
    "event",
    "Header",
    "Body",
    "Fault",
    "error",
    "accessControlAssertion",
    "permission",
    "table",
    "tr",
    "td",
    "script",
    "é",
)


def mutated(data: bytes, others: list[bytes], rng: random.Random, *, most: int = 4) -> bytes:
    """Return ``data`` after one to ``most`` changes; ``others`` lend pieces."""
    for _ in range(rng.randint(1, most)):
        data = _change_tree(data, rng) if rng.random() < 0.6 else _change_bytes(data, others, rng)
    return data


def _change_bytes(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    start = rng.randint(0, len(data))
    end = min(len(data), start + rng.choice((0, 1, 3, 10, 100, 1000)))
    match rng.randrange(7):
        case 0:
            piece = b""
        case 1:
            piece = rng.choice(WORDS)
        case 2:
            piece = data[start:end] * rng.choice((2, 3, 50))
        case 3:
            other = rng.choice(others)
            at = rng.randint(0, len(other))
            piece = other[at : at + rng.choice((5, 50, 500))]
        case 4:
            piece = bytes(rng.randrange(256) for _ in range(rng.randint(1, 4)))
        case 5:
            return data[:start]
        case _:
            # One word of the message in place of another: ids, names and values meet where they do not belong.
            words = data.split(b'"')
            words[rng.randrange(len(words))] = rng.choice(words)
            return b'"'.join(words)
    return data[:start] + piece + data[end:]


def _change_tree(data: bytes, rng: random.Random) -> bytes:
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, huge_tree=False))
        _change_element(root, rng)
        return etree.tostring(root, encoding="UTF-8")
    except (etree.XMLSyntaxError, ValueError):
        return data


def _change_element(root: etree._Element, rng: random.Random) -> None:
    elements = list(root.iter("*"))
    element, other = rng.choice(elements), rng.choice(elements)
    parent = element.getparent()
    match rng.randrange(11):
        case 0 if parent is not None:
            parent.remove(element)
        case 1 if parent is not None:
            for _ in range(rng.choice((1, 2, 30))):
                parent.insert(parent.index(element), deepcopy(element))
        case 2:
            other.append(deepcopy(element))
        case 3:
            element.tag = f"{{{etree.QName(element).namespace or 'urn:x'}}}{rng.choice(_NAMES)}"
        case 4:
            element.tag = etree.QName(element).localname
        case 5:
            for name in element.attrib:
                element.set(name, _word(rng))
        case 6:
            element.attrib.clear()
        case 7:
            element.insert(0, rng.choice((etree.Comment(" x "), etree.ProcessingInstruction("x", "y"))))
        case 8:
            element.text = _word(rng)
            element.tail = _word(rng)
        case 9:
            inner = element
            for _ in range(rng.choice((2, 20, 150))):
                inner = etree.SubElement(inner, other.tag, dict(other.attrib))
        case _:
            # The same name under a prefix of its own, with a letter that ASCII lacks.
            namespace = etree.QName(element).namespace
            if parent is not None and namespace:
                renamed = etree.Element(element.tag, dict(element.attrib), nsmap={"é": namespace})
                renamed.text, renamed.tail = element.text, element.tail
                renamed.extend(list(element))
                parent.replace(element, renamed)


def _word(rng: random.Random) -> str:
    text = rng.choice(WORDS).decode("utf-8", "replace")
    return "".join(letter for letter in text if letter.isprintable() and letter not in "\ufffe\uffff")
