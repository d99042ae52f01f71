"""HL7 V3 data types: elements to clinical values and back.

Each data type reads one element (leniently: what it cannot take is a remark, never an error) and writes one. Readers
return none where an element says nothing.

Spec: 10 §6, 00 §6.2.
"""

import re
from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from lxml import etree

from openscr.clinical.values import (
    Coded,
    Identifier,
    Interval,
    Qualifier,
    Quantity,
    Range,
    Time,
    Value,
)
from openscr.codes import (
    OID_INTERPRETATION,
    OID_JOB_ROLE_NAME,
    OID_ODS,
    OID_ORGANISATION_12,
    OID_ORGANISATION_ROLE_NAME,
    OID_RELATIONSHIP,
    OID_SNOMED,
    PRESENTATION_NS,
    XSI_NS,
)
from openscr.hl7.vocabulary import (
    INTERPRETATIONS,
    JOB_ROLE_NAMES,
    ORGANISATION_ROLE_NAMES,
    ORGANISATION_TYPES,
    RELATIONSHIPS,
)
from openscr.hl7.wrapper import HL7, child, local_name
from openscr.transport.xml import escape

_TYPE: Final = f"{{{XSI_NS}}}type"
_HTML: Final = f"{{{PRESENTATION_NS}}}html"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something in a message that the model does not say, or says otherwise.

    ``kind`` is one of ``unknown`` (an element, attribute or text that the model has no place for), ``repeated`` (with
    another value), ``unreadable`` (a value that is none of its type), ``contradicts`` (a fixed value in a way that
    changes the meaning: negated, inverted, another mood, code or register), ``differs`` (from a fixed value otherwise),
    ``missing``, ``order``, ``again`` (repeated with the same value).
    ``path`` names the element from the document on, ``line`` is its line. Content is never quoted. Spec: 10 §17.
    """

    kind: str
    path: str
    name: str
    line: int | None = None

    @property
    def lost(self) -> bool:
        """Whether something that was said is not in what was read."""
        return self.kind in ("unknown", "repeated", "unreadable", "contradicts")


@dataclass(slots=True)
class Remarks:
    """The remarks of one reading, in document order as far as elements are read in it."""

    made: list[Remark] = field(default_factory=list)

    def add(self, kind: str, element: etree._Element, name: str) -> None:
        """Keep a remark about ``name`` (an attribute, a child) of an element."""
        path = "/".join(local_name(each) for each in (*reversed(list(element.iterancestors())), element))
        self.made.append(Remark(kind, path, name, element.sourceline))

    def check_attributes(self, element: etree._Element, *known: str) -> None:
        """Remark on attributes that the data type does not have. ``type`` without its namespace is known as a slip."""
        for name in element.attrib:
            if name == "type":
                self.add("differs", element, "@xsi:type")
            elif name not in known:
                self.add("unknown", element, f"@{etree.QName(str(name)).localname}")

    def check_children(self, element: etree._Element, *known: str) -> None:
        """Remark on child elements that the data type does not have, and on text where there should be none."""
        for each in element:
            if isinstance(each.tag, str) and each.tag not in known:
                self.add("unknown", element, local_name(each))
        if has_text(element):
            self.add("unknown", element, "text")


def has_text(element: etree._Element) -> bool:
    """Whether text that is not white space stands directly inside an element."""
    return bool((element.text and element.text.strip()) or any(each.tail and each.tail.strip() for each in element))


class NotWritable(ValueError):
    """A value lacks what its element must have, or holds what it has no place for; names element and member. 10 §8."""


class Datatype(Protocol):
    """One data type."""

    def read(self, element: etree._Element, remarks: Remarks) -> Any:
        """Return the value of an element, or none when it says nothing that can be read."""

    def write(self, name: str, value: Any) -> str:
        """Return the element ``name`` with this value."""


def attributes(**values: str | None) -> str:
    """Write the attributes that have a value, each after a space, in the order given."""
    return "".join(f' {name}="{escape(value)}"' for name, value in values.items() if value is not None)


def _children(element: etree._Element, name: str) -> list[etree._Element]:
    return list(element.iterchildren(f"{HL7}{name}"))


def text_of(element: etree._Element) -> str:
    """Return the text that stands directly inside an element, as it is."""
    # Comments and processing instructions inside are not text, what follows them is.
    return "".join(map(str, element.xpath("text()"))) if len(element) else element.text or ""


@dataclass(frozen=True, slots=True)
class Uuid:
    """An id that is a UUID in ``@root``; upper case once read. Spec: 10 §6.

    ``kind`` is how closely the schema looks: ``mandatory``, ``required`` (it may be null) or any ``II``.
    """

    kind: str = "mandatory"

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "root")
        return (element.get("root") or "").upper() or None

    def write(self, name: str, value: str) -> str:
        return f'<{name} root="{escape(value)}"/>'


@dataclass(frozen=True, slots=True)
class Extension:
    """An id of one register: ``@root`` is fixed, ``@extension`` the value, a number like ``digits``. Spec: 10 §6.

    ``open`` says that the schema lets any ``II`` stand there.
    """

    root: str
    digits: str = "[0-9]{12}"
    open: bool = False

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "root", "extension")
        if element.get("root") != self.root:
            remarks.add("contradicts", element, "@root")
        return element.get("extension") or None

    def write(self, name: str, value: str) -> str:
        must_match(self.digits, name, value)
        return f'<{name} root="{self.root}" extension="{escape(value)}"/>'


@dataclass(frozen=True, slots=True)
class OrganisationId:
    """The id of an organisation: an ODS code, or twelve digits under a root of their own. Spec: 10 §5.

    ``open`` says that the schema lets any ``II`` stand there.
    """

    open: bool = False

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "root", "extension")
        value = element.get("extension") or None
        if value and element.get("root") not in (OID_ODS, OID_ORGANISATION_12):
            remarks.add("contradicts", element, "@root")
        return value

    def write(self, name: str, value: str) -> str:
        return f'<{name} root="{self._root(value)}" extension="{escape(value)}"/>'

    def _root(self, value: str) -> str:
        return OID_ORGANISATION_12 if len(value) == 12 and value.isdigit() else OID_ODS


@dataclass(frozen=True, slots=True)
class InstanceIdentifier:
    """Any identifier, root and extension. Spec: 10 §6 II.

    ``kind`` is how closely the schema looks: ``mandatory`` (an OID with an extension), ``required`` (the same, and it
    may be null) or any ``II``.
    """

    kind: str = "II"

    def read(self, element: etree._Element, remarks: Remarks) -> Identifier | None:
        remarks.check_attributes(element, "root", "extension")
        found = Identifier(element.get("root"), element.get("extension"))
        return found if found != Identifier() else None

    def write(self, name: str, value: Identifier) -> str:
        if not value.root:
            raise NotWritable(f"{name} has no root")
        return f"<{name}{attributes(root=value.root, extension=value.extension)}/>"


@dataclass(frozen=True, slots=True)
class CodeOnly:
    """A code by itself, of one code system (CS). ``values`` are those allowed; others are read with a remark. 10 §6.

    ``required``: the schema wants the code itself there (a status has a default); ``null``: it may be null.
    """

    values: frozenset[str] = frozenset()
    required: bool = False
    null: bool = False

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "code", "codeSystem", "displayName")
        remarks.check_children(element)
        if element.get("codeSystem") or element.get("displayName"):
            remarks.add("differs", element, "@codeSystem")
        code = element.get("code") or None
        if code and self.values and code not in self.values:
            remarks.add("differs", element, "@code")
        return code

    def write(self, name: str, value: str) -> str:
        if self.values and value not in self.values:
            raise NotWritable(f"{name} must be one of {', '.join(sorted(self.values))}")
        return f'<{name} code="{escape(value)}"/>'


@dataclass(frozen=True, slots=True)
class CodedTerm:
    """A coded term (CD, CE, CV); what the narrower types forbid is simply not there. Spec: 10 §6.

    ``system`` is the code system of a term that does not say one. ``kind`` is the data type by its name. Where there
    are ``terms``, a list of the national vocabulary, a term is one of these codes with its words.
    """

    system: str = OID_SNOMED
    kind: str = "CD"
    terms: Mapping[str, str] | None = None

    def read(self, element: etree._Element, remarks: Remarks) -> Coded | None:
        """Return the term, or none when nothing is said of it."""
        remarks.check_attributes(element, *_CODED_ATTRIBUTES, _TYPE)
        remarks.check_children(element, *_CODED_CHILDREN)
        found = Coded(**self._parts(element, remarks))
        return found if found != Coded("", system=self.system) else None

    def _parts(self, element: etree._Element, remarks: Remarks) -> dict[str, Any]:
        original = child(element, HL7 + "originalText")
        if original is not None:
            TEXT.read(original, remarks)
        code, system = element.get("code") or "", element.get("codeSystem")
        if code and not system:
            # Some leave it out where every code of a summary is SNOMED CT. Spec: 00 §6.2 "coded".
            remarks.add("missing", element, "@codeSystem")
        return {
            "code": code,
            "display": element.get("displayName"),
            "system": system or self.system,
            "system_name": element.get("codeSystemName"),
            "system_version": element.get("codeSystemVersion"),
            "original_text": None if original is None else text_of(original),
            "qualifiers": self._qualifiers(element, remarks),
            "groups": tuple(self._qualifiers(group, remarks) for group in _children(element, "group")),
            "translations": tuple(
                term for each in _children(element, "translation") if (term := self.read(each, remarks)) is not None
            ),
        }

    def _qualifiers(self, element: etree._Element, remarks: Remarks) -> tuple[Qualifier, ...]:
        return tuple(self._qualifier(each, remarks) for each in _children(element, "qualifier"))

    def _qualifier(self, element: etree._Element, remarks: Remarks) -> Qualifier:
        known = (*_CODED_CHILDREN, f"{HL7}name", f"{HL7}value")
        remarks.check_attributes(element, *_CODED_ATTRIBUTES, "inverted", _TYPE)
        remarks.check_children(element, *known)
        name, value, inverted = child(element, HL7 + "name"), child(element, HL7 + "value"), element.get("inverted")
        return Qualifier(
            **self._parts(element, remarks),
            name=None if name is None else self.read(name, remarks),
            value=None if value is None else self.read(value, remarks),
            inverted=None if inverted is None else inverted == "true",
        )

    def write(self, name: str, value: Coded | Qualifier, more: str = "", inside: str = "") -> str:
        """Return the element; ``more`` are further attributes, ``inside`` further children."""
        if self.terms is not None and not value.display:
            raise NotWritable(f"{name} has a code without its words (display)")
        written = attributes(
            code=value.code or None,
            codeSystem=value.system if value.code else None,
            codeSystemName=value.system_name,
            codeSystemVersion=value.system_version,
            displayName=value.display,
        )
        content = "".join(
            (
                "" if value.original_text is None else f"<originalText>{escape(value.original_text)}</originalText>",
                *(self._write_qualifier(each) for each in value.qualifiers),
                *(f"<group>{''.join(map(self._write_qualifier, group))}</group>" for group in value.groups),
                *(self.write("translation", each) for each in value.translations),
                inside,
            )
        )
        return f"<{name}{more}{written}>{content}</{name}>" if content else f"<{name}{more}{written}/>"

    def _write_qualifier(self, value: Qualifier) -> str:
        inverted = None if value.inverted is None else str(value.inverted).lower()
        name = self.write("name", value.name) if value.name else ""
        return self.write(
            "qualifier",
            value,
            attributes(inverted=inverted),
            name + (self.write("value", value.value) if value.value else ""),
        )


_CODED_ATTRIBUTES: Final = ("code", "codeSystem", "codeSystemName", "codeSystemVersion", "displayName")
_CODED_CHILDREN: Final = tuple(f"{HL7}{name}" for name in ("originalText", "qualifier", "group", "translation"))


class Moment:
    """A point in time (TS). Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Time | None:
        remarks.check_attributes(element, "value")
        remarks.check_children(element)
        return self.value_of(element, remarks)

    def value_of(self, element: etree._Element, remarks: Remarks) -> Time | None:
        """Return the time of ``@value``."""
        value = element.get("value")
        if not value:
            return None
        try:
            return Time(value)
        except ValueError:
            remarks.add("unreadable", element, "@value")
            return None

    def write(self, name: str, value: Time) -> str:
        if not isinstance(value, Time):
            raise NotWritable(f"{name} takes a point in time, not an interval")
        return f'<{name} value="{escape(value)}"/>'


class TimeInterval(Moment):
    """A time, or an interval of it in one of five shapes (IVL_TS). Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Time | Interval | None:  # type: ignore[override]
        remarks.check_attributes(element, "value")
        remarks.check_children(element, *(f"{HL7}{name}" for name in ("low", "high", "center", "width")))
        bounds: dict[str, Any] = {}
        for name in ("low", "high", "center"):
            bound = child(element, HL7 + name)
            if bound is not None:
                remarks.check_attributes(bound, "value")
                bounds[name] = self.value_of(bound, remarks)
        width = child(element, HL7 + "width")
        if width is not None:
            bounds["width"] = AMOUNT.read(width, remarks)
        found = Interval(**bounds)
        if element.get("value"):
            if found != Interval():
                remarks.add("repeated", element, "@value")
            else:
                return self.value_of(element, remarks)
        return found if found != Interval() else None

    def write(self, name: str, value: Time | Interval) -> str:
        if isinstance(value, Time):
            return super().write(name, value)
        parts = (
            "" if value.low is None else super().write("low", value.low),
            "" if value.center is None else super().write("center", value.center),
            "" if value.width is None else AMOUNT.write("width", value.width),
            "" if value.high is None else super().write("high", value.high),
        )
        return f"<{name}>{''.join(parts)}</{name}>"


class Amount:
    """An amount with its unit (PQ); the wording of the pack stands in a translation. Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> Quantity | None:
        remarks.check_attributes(element, "value", "unit", _TYPE)
        remarks.check_children(element, f"{HL7}translation")
        text, value = None, element.get("value") or ""
        for each in _children(element, "translation"):
            original = child(each, HL7 + "originalText")
            if original is not None and text is None:
                text = text_of(original)
                # Some give the number with the wording alone.
                value = value or each.get("value") or ""
                if each.get("value") != element.get("value"):
                    remarks.add("differs" if each.get("value") in (value, None) else "repeated", each, "@value")
                remarks.check_attributes(each, "value")
                remarks.check_children(each, f"{HL7}originalText")
            else:
                remarks.add("unknown", element, "translation")
        return Quantity(value, element.get("unit") or "1", text) if value or text else None

    def write(self, name: str, value: Quantity, more: str = "") -> str:
        """Return the element; ``more`` are further attributes."""
        if value.value:
            must_match(_REAL, name, value.value)
        must_match(_UNIT_CODE, f"the unit of {name}", value.unit)
        opening = f"<{name}{more}{attributes(value=value.value or None, unit=value.unit)}"
        if value.text is None:
            return f"{opening}/>"
        wording = f"<originalText>{escape(value.text)}</originalText>"
        return f"{opening}><translation{attributes(value=value.value or None)}>{wording}</translation></{name}>"


@dataclass(frozen=True, slots=True)
class Text:
    """A text (ST, or ED without anything but text); kept as it is. ``kind`` is the data type by its name. 10 §6."""

    kind: str = "ST"

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "mediaType")
        for each in element:
            if isinstance(each.tag, str):
                remarks.add("unknown", element, local_name(each))
        return text_of(element) or None

    def write(self, name: str, value: str) -> str:
        return f"<{name}>{escape(value)}</{name}>"


class WholeNumber:
    """A whole number (INT). Spec: 10 §6."""

    def read(self, element: etree._Element, remarks: Remarks) -> int | None:
        remarks.check_attributes(element, "value")
        value = element.get("value") or ""
        if re.fullmatch(_INTEGER, value):
            return int(value)
        remarks.add("unreadable", element, "@value")
        return None

    def write(self, name: str, value: int) -> str:
        return f'<{name} value="{value}"/>'


class AnyValue:
    """A value that says its own data type in ``xsi:type``; without one it is told by its attributes. Spec: 10 §6, §17.

    Types beyond those of 00 §6.2 are not taken.
    """

    def read(self, element: etree._Element, remarks: Remarks) -> Value | None:
        kind = (element.get(_TYPE) or element.get("type") or "").rpartition(":")[2]
        if not kind:
            remarks.add("missing", element, "@xsi:type")
            kind = "CD" if element.get("code") else "PQ" if element.get("value") else "ST"
        content: Quantity | Coded | Range | Time | str | None
        match kind:
            case "PQ":
                content = AMOUNT.read(element, remarks)
            case "CD" | "CE" | "CV":
                content = CODED.read(element, remarks)
            case "IVL_PQ":
                content = self._range(element, remarks)
            case "TS":
                remarks.check_attributes(element, "value", _TYPE)
                content = MOMENT.value_of(element, remarks)
            case "INT" | "REAL" | "BL":
                remarks.check_attributes(element, "value", _TYPE)
                content = element.get("value")
            case "ST":
                remarks.check_attributes(element, "mediaType", _TYPE)
                content = text_of(element)
            case _:
                remarks.add("unreadable", element, "@xsi:type")
                content = None
        return Value(content, kind) if content else None

    def _range(self, element: etree._Element, remarks: Remarks) -> Range | None:
        remarks.check_attributes(element, _TYPE)
        remarks.check_children(element, f"{HL7}low", f"{HL7}high")
        low, high = child(element, HL7 + "low"), child(element, HL7 + "high")
        found = Range(
            None if low is None else AMOUNT.read(low, remarks), None if high is None else AMOUNT.read(high, remarks)
        )
        return found if found != Range() else None

    def write(self, name: str, value: Value) -> str:
        typed = f' xmlns:xsi="{XSI_NS}" xsi:type="{value.type}"'
        content = value.content
        match content:
            case Quantity():
                return AMOUNT.write(name, content, typed)
            case Coded():
                return CODED.write(name, content, typed)
            case Range():
                low = "" if content.low is None else AMOUNT.write("low", content.low)
                high = "" if content.high is None else AMOUNT.write("high", content.high)
                return f"<{name}{typed}>{low}{high}</{name}>"
            case _ if value.type == "ST":
                return f"<{name}{typed}>{escape(content)}</{name}>"
            case _:
                if value.type in _LITERALS:
                    must_match(_LITERALS[value.type], name, content)
                return f'<{name}{typed} value="{escape(content)}"/>'


class PresentationHtml:
    """The ``value`` of the presentation text: one ``html`` element, kept as it is. Spec: 10 §4.2, §9."""

    def read(self, element: etree._Element, remarks: Remarks) -> str | None:
        remarks.check_attributes(element, "mediaType", _TYPE)
        content = [each for each in element if isinstance(each.tag, str)]
        if len(content) != 1 or content[0].tag != _HTML or has_text(element):
            remarks.add("unreadable", element, "html")
            return None
        return _canonical(content[0])

    def write(self, name: str, value: str) -> str:
        return f'<{name} mediaType="text/plain">{value}</{name}>'


def _canonical(html: etree._Element) -> str:
    # A copy has no tail, and no white space of the message behind it.
    return etree.tostring(copy(html), method="c14n", exclusive=True).decode()


_REAL: Final = r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)"
_INTEGER: Final = r"[-+]?[0-9]{1,18}"
_UNIT_CODE: Final = r"[^\s]+"
_LITERALS: Final = {"INT": _INTEGER, "REAL": _REAL, "BL": "true|false"}


def must_match(pattern: str, name: str, value: str) -> None:
    """Refuse a value that the data type does not allow; its content is not quoted. Raises: `NotWritable`."""
    if not re.fullmatch(pattern, value):
        raise NotWritable(f"{name} holds what its data type does not allow")


UUID: Final = Uuid()
UUID_IF_KNOWN: Final = Uuid("required")
UUID_OF_ANY_FORM: Final = Uuid("II")
ODS: Final = OrganisationId()
ODS_OF_ANY_FORM: Final = OrganisationId(open=True)
II: Final = InstanceIdentifier()
OID_IF_KNOWN: Final = InstanceIdentifier("required")
OID: Final = InstanceIdentifier("mandatory")
CODE: Final = CodeOnly()
ORGANISATION_TYPE: Final = CodeOnly(frozenset(ORGANISATION_TYPES), required=True)
ORGANISATION_TYPE_IF_KNOWN: Final = CodeOnly(frozenset(ORGANISATION_TYPES), required=True, null=True)
CODED: Final = CodedTerm()
CODED_EQUIVALENT: Final = CodedTerm(kind="CE")
CODED_VALUE: Final = CodedTerm(kind="CV")
JOB_ROLE: Final = CodedTerm(OID_JOB_ROLE_NAME, "CV", JOB_ROLE_NAMES)
ORGANISATION_ROLE: Final = CodedTerm(OID_ORGANISATION_ROLE_NAME, "CV", ORGANISATION_ROLE_NAMES)
RELATIONSHIP: Final = CodedTerm(OID_RELATIONSHIP, "CV", RELATIONSHIPS)
INTERPRETATION: Final = CodedTerm(OID_INTERPRETATION, "CV", INTERPRETATIONS)
MOMENT: Final = Moment()
INTERVAL: Final = TimeInterval()
AMOUNT: Final = Amount()
TEXT: Final = Text()
DATA: Final = Text("ED")
CODED_TEXT: Final = Text("SC")
PLACE_NAME: Final = Text("TN")
INT: Final = WholeNumber()
ANY: Final = AnyValue()
HTML: Final = PresentationHtml()
