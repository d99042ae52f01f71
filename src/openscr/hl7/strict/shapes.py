"""From shapes to grammar: the tables that read and write a GP Summary say what the schema wants of it, too.

Spec: 10 §4, §5, §8.
"""

from collections.abc import Mapping
from functools import cache
from typing import Final

from openscr.codes import OID_ODS, OID_ORGANISATION_12
from openscr.hl7.datatypes import (
    Amount,
    AnyValue,
    CodedTerm,
    CodeOnly,
    Datatype,
    Extension,
    InstanceIdentifier,
    Moment,
    OrganisationId,
    PresentationHtml,
    Text,
    TimeInterval,
    Uuid,
    WholeNumber,
)
from openscr.hl7.names_and_addresses import EntityName, OrganisationName, PostalAddress, TelecomAddress
from openscr.hl7.shapes import ATTRIBUTE_WORDS, Beyond, Choice, Content, Fixed, Latitude, Leaf, Node, Shape, Sub, Within
from openscr.hl7.strict.datatypes import (
    AD,
    ANY_TYPE,
    CS_TYPE,
    DATA_TYPES,
    II,
    INT_TYPE,
    IVL_PQ,
    IVL_TS,
    NULL_FLAVORS,
    OID_ID,
    OID_MAYBE,
    ON,
    PN,
    PQ,
    TEL,
    TS_TYPE,
    UUID_ID,
    UUID_MAYBE,
    code_of,
    id_of,
    may,
)
from openscr.hl7.strict.grammar import MANY, Attribute, ElementType, OneOf, Particle, Sequence, hl7
from openscr.hl7.strict.presentation_text import PRESENTATION
from openscr.hl7.strict.values import CODES, CS, OIDS, fixed, pattern, words

_STANDARD: Final = Latitude()
_VERBATIM: Final = frozenset({"root", "extension", "codeSystem", "displayName"})
"""Attributes whose white space counts."""
LEGACY: Final = may(type=CS, typeID=OIDS, realmCode=CODES, nullFlavor=CS)
"""Attributes of an element of the older kind of model. Spec: 10 §2, 20 §3.2."""


def attributes_of(
    always: Mapping[str, str], bound: Mapping[str, str] | None = None, latitude: Latitude | None = None
) -> dict[str, Attribute]:
    """Return the rules of attributes that are fixed, or ``bound`` to a list of words."""
    allowed = latitude or _STANDARD
    found = dict(LEGACY) if allowed.legacy else {}
    for name, value in always.items():
        required = not allowed.legacy and name not in allowed.optional
        free = ATTRIBUTE_WORDS.get(name) if name == "determinerCode" else None
        rule = (
            fixed(value, token=name not in _VERBATIM and not allowed.verbatim)
            if name not in allowed.free
            else words(free)
            if free
            else CS
        )
        found[name] = Attribute(rule, required)
    for name in bound or {}:
        found[name] = Attribute(words(ATTRIBUTE_WORDS[name]), required=True)
    return found


@cache
def type_of_shape(shape: Shape) -> ElementType:
    """Return the type of the element that a shape describes."""
    spare = shape.latitude.spare if shape.latitude else frozenset()
    return ElementType(
        attributes=attributes_of(shape.attributes, shape.bound, shape.latitude),
        content=content_of(shape.content, spare),
    )


def content_of(content: Content, spare: frozenset[str] = frozenset()) -> Sequence:
    """Return the content that nodes describe; children that are ``spare`` may be left out."""
    return Sequence(tuple(_particle(node, spare) for node in content.nodes))


def _particle(node: Node, spare: frozenset[str]) -> Particle:
    match node:
        case Fixed():
            return hl7(node.name, ElementType(attributes=attributes_of(node.attributes)), int(node.required))
        case Leaf():
            return hl7(node.name, type_of_datatype(node.datatype), int(node.required), MANY if node.many else 1)
        case Beyond():
            return hl7(node.name, type_of_datatype(node.datatype), 0)
        case Within():
            if node.latitude is not None and node.latitude.interval:
                return hl7(node.name, IVL_PQ, int(node.required))
            of = ElementType(
                attributes=attributes_of(node.attributes, latitude=node.latitude), content=content_of(node.content)
            )
            return hl7(node.name, of, int(node.required))
        case Choice():
            return _one_of(node.right or node.alternatives, int(node.required), 1)
        case Sub():
            names = {shape.name for shape in node.alternatives}
            least = int((node.required or node.wanted) and spare.isdisjoint(names))
            return _one_of(node.alternatives, least, MANY if node.many else 1)


def _one_of(shapes: tuple[Shape, ...], least: int, most: int) -> Particle:
    if len(shapes) == 1:
        return hl7(shapes[0].name, type_of_shape(shapes[0]), least, most)
    return OneOf(tuple(hl7(shape.name, type_of_shape(shape)) for shape in shapes), least, most)


_TYPES: Final[dict[type, ElementType]] = {
    Moment: TS_TYPE,
    TimeInterval: IVL_TS,
    Amount: PQ,
    WholeNumber: INT_TYPE,
    AnyValue: ANY_TYPE,
    EntityName: PN,
    OrganisationName: ON,
    PostalAddress: AD,
    TelecomAddress: TEL,
    PresentationHtml: PRESENTATION,
}
_UUIDS: Final = {"mandatory": UUID_ID, "required": UUID_MAYBE, "II": II}
_IDENTIFIERS: Final = {"mandatory": OID_ID, "required": OID_MAYBE, "II": II}
_ORGANISATION_ID: Final = id_of(
    words((OID_ODS, OID_ORGANISATION_12), token=False),
    pattern("[A-Z][0-9]{5}|[0-9]{12}", "an ODS code (a letter and five digits), or twelve digits"),
)


def type_of_datatype(datatype: Datatype) -> ElementType:
    """Return the type of an element of this data type."""
    match datatype:
        case Uuid(kind=kind):
            return _UUIDS[kind]
        case InstanceIdentifier(kind=kind):
            return _IDENTIFIERS[kind]
        case Extension(open=True) | OrganisationId(open=True):
            return II
        case Extension(root=root, digits=digits):
            return id_of(fixed(root, token=False), pattern(digits, f"digits ({digits})"))
        case OrganisationId():
            return _ORGANISATION_ID
        case CodeOnly(values=values, required=required, null=null) if values:
            rules = {"code": Attribute(words(sorted(values)), required)}
            return ElementType(attributes={**(may(nullFlavor=words(NULL_FLAVORS)) if null else {}), **rules})
        case CodeOnly():
            return CS_TYPE
        case CodedTerm(terms=None, kind=kind):
            return DATA_TYPES[kind]
        case CodedTerm(terms=terms, system=system) if terms is not None:
            return code_of(words(terms), system, words(terms.values(), token=False))
        case Text(kind=kind):
            return DATA_TYPES[kind]
    return _TYPES[type(datatype)]
