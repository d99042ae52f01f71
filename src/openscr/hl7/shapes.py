"""Shapes: what an element of the clinical model looks like, said once, read and written from the same words.

A shape ties one element to one value of the clinical model. Its content is a sequence of nodes: constants (`Fixed`),
members (`Leaf`), structure that carries members of the same value (`Within`), values of their own (`Sub`), and a choice
of elements that decides the class of the value (`Choice`).

Invariants: writing gives the children in the order of the shape, with every fixed attribute; reading takes them in any
order, under any prefix, and remarks on whatever it could not take.

Spec: 10 §4, §8.
"""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any, Final

from lxml import etree

from openscr.clinical.entries import Entry
from openscr.clinical.values import NO_TIME, Coded, Interval, Name, Quantity, Time
from openscr.hl7.datatypes import Datatype, NotWritable, Remarks, attributes, has_text
from openscr.hl7.vocabulary import PARTICIPATION_TYPES
from openscr.hl7.wrapper import HL7, local_name

SELF: Final = ""
"""Member name of a shape whose value is not an object: the value itself."""

_CLASS: Final = "__class__"


@dataclass(frozen=True, slots=True)
class Fixed:
    """A child without content that is always the same."""

    name: str
    attributes: Mapping[str, str]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Leaf:
    """A child that holds one member, or with ``many`` one each of a list of them.

    ``defaults_to_created``: where it has no value, the time of the summary is written.
    """

    name: str
    member: str
    datatype: Datatype
    required: bool = True
    defaults_to_created: bool = False
    many: bool = False


@dataclass(frozen=True, slots=True)
class Within:
    """A child that is structure only: its content belongs to the same value. Absent when no member inside is there.

    ``latitude`` is what the schema leaves open; see `Latitude`.
    """

    name: str
    attributes: Mapping[str, str]
    content: "Content"
    required: bool = True
    latitude: "Latitude | None" = None


@dataclass(frozen=True, slots=True)
class Sub:
    """A child, or with ``many`` any number of them, each a value of its own; it may be one of ``others`` instead.

    One that is ``wanted`` may be missing although the schema does not let it.
    """

    member: str
    shape: "Shape"
    required: bool = False
    many: bool = False
    others: "tuple[Shape, ...]" = ()
    wanted: bool = False

    @property
    def alternatives(self) -> "tuple[Shape, ...]":
        """Every shape that the child may have."""
        return (self.shape, *self.others)

    @property
    def name(self) -> str:
        """The names of the child, for remarks."""
        return " or ".join(shape.name for shape in self.alternatives)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several children; which one it is decides what the value is.

    Where only some of the ``alternatives`` are ``right``, real senders use the others, too.
    """

    alternatives: "tuple[Shape, ...]"
    required: bool = True
    right: "tuple[Shape, ...]" = ()

    @property
    def name(self) -> str:
        """The names of the children, for remarks."""
        return " or ".join(shape.name for shape in self.alternatives)


@dataclass(frozen=True, slots=True)
class Beyond:
    """A child that the schema allows and the model does not keep: what reads it remarks that it is not known."""

    name: str
    datatype: Datatype
    required: bool = False


Node = Fixed | Leaf | Within | Sub | Choice | Beyond


@dataclass(frozen=True, slots=True)
class Latitude:
    """What the schema leaves open about the attributes of an element; only level ``strict`` asks.

    Attributes that are ``optional`` may be left out, those that are ``free`` may hold any code. ``legacy`` elements are
    of the older kind of model: all their attributes are optional, and they may have some more. Children that are
    ``spare`` may be left out. ``interval`` says that the content is that of any interval of amounts, ``verbatim`` that
    white space around what attributes say counts. Spec: 10 §8.
    """

    optional: frozenset[str] = frozenset()
    free: frozenset[str] = frozenset()
    legacy: bool = False
    spare: frozenset[str] = frozenset()
    interval: bool = False
    verbatim: bool = False


class Content:
    """The children of an element: nodes in the order of the schema, found by the name of the child."""

    __slots__ = ("by_tag", "nodes")

    def __init__(self, *nodes: Node) -> None:
        self.nodes = nodes
        self.by_tag: dict[str, tuple[int, Node, Shape | None]] = {}
        for index, node in enumerate(nodes):
            if isinstance(node, Choice | Sub):
                self.by_tag |= {f"{HL7}{shape.name}": (index, node, shape) for shape in node.alternatives}
            elif not isinstance(node, Beyond):
                self.by_tag[f"{HL7}{node.name}"] = (index, node, None)

    def find(self, tag: str) -> "tuple[int, Node, Shape | None] | None":
        """Return the node for a child, whatever the version of its type. Spec: 10 §11.4 quirk."""
        found = self.by_tag.get(tag)
        if found is None and "." in tag.rpartition("}")[2]:
            suffix = tag.rpartition(".")[2]
            for known, node in self.by_tag.items():
                if "." in known.rpartition("}")[2] and known.rpartition(".")[2] == suffix:
                    return node
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """An element that stands for one value.

    ``attributes`` are fixed, ``bound`` ties attributes to members, ``constants`` are members that the element's name
    decides. ``of`` is the class of the value; none when the value is its single member (`SELF`) or a `Choice` decides.
    ``latitude`` is what the schema leaves open; see `Latitude`.
    """

    name: str
    attributes: Mapping[str, str]
    content: Content
    of: type | None = None
    bound: Mapping[str, str] = field(default_factory=dict)
    constants: Mapping[str, str] = field(default_factory=dict)
    when: tuple[str, bool] | None = None
    """A member that must be there, or must not, for a value to take this shape."""
    latitude: "Latitude | None" = None


# --- reading --------------------------------------------------------------------------------------------------------


def read_shape(element: etree._Element, shape: Shape, remarks: Remarks) -> Any:
    """Return the value of an element, or none when too little of it is there to make one."""
    values: dict[str, Any] = {}
    _read_into(element, shape, values, remarks)
    for member, value in values.items():
        if isinstance(value, list):
            values[member] = tuple(value)
    of = values.pop(_CLASS, shape.of)
    if of is None:
        return values.get(SELF)
    for each in fields(of):
        if each.name not in values and each.default is MISSING:
            # What a message should have had and has not; the remark is made already.
            values[each.name] = _nothing(each.type)
    return of(**values)


def _nothing(of: Any) -> Any:
    """Return what stands for a member that must be there, in a value that was read from a message without it."""
    if of in _MISSING_VALUES:
        return _MISSING_VALUES[of]
    if isinstance(of, type) and is_dataclass(of):
        return of(**{each.name: _nothing(each.type) for each in fields(of) if each.default is MISSING})
    return None


_MISSING_VALUES: Final[dict[Any, Any]] = {
    str: "",
    Time: NO_TIME,
    Time | Interval: Interval(),
    Coded: Coded(""),
    Quantity: Quantity(""),
    Name: Name(),
}


def _read_into(element: etree._Element, shape: Shape, values: dict[str, Any], remarks: Remarks) -> None:
    values.update(shape.constants)
    for name, value in element.attrib.items():
        if member := shape.bound.get(str(name)):
            values[member] = value
        else:
            _check_attribute(element, shape.attributes, str(name), str(value), remarks)
    _read_content(element, shape.content, values, remarks)


def _check_attribute(
    element: etree._Element, fixed: Mapping[str, str], name: str, value: str, remarks: Remarks
) -> None:
    expected = fixed.get(name)
    if expected is None:
        remarks.add("unknown", element, f"@{etree.QName(name).localname}")
    elif expected != value:
        # Whoever negates, inverts or recodes what is fixed means something else.
        changed = name in _MEANINGFUL or (name == "code" and local_name(element) == "code")
        remarks.add("contradicts" if changed else "differs", element, f"@{name}")


_MEANINGFUL: Final = frozenset({"negationInd", "inversionInd", "moodCode"})


def _read_content(element: etree._Element, content: Content, values: dict[str, Any], remarks: Remarks) -> None:
    seen: set[int] = set()
    last = -1
    for child in element:
        if not isinstance(child.tag, str):
            continue
        found = content.find(child.tag)
        if found is None:
            remarks.add("unknown", element, local_name(child))
            continue
        index, node, alternative = found
        if index in seen and not (isinstance(node, Sub | Leaf) and node.many):
            again: dict[str, Any] = {}
            _read_node(child, node, alternative, again, Remarks())
            same = all(values.get(member) == value for member, value in again.items())
            remarks.add("again" if same else "repeated", element, local_name(child))
            continue
        if index < last:
            remarks.add("order", element, local_name(child))
        seen.add(index)
        last = max(last, index)
        _read_node(child, node, alternative, values, remarks)
    if has_text(element):
        remarks.add("unknown", element, "text")
    for index, node in enumerate(content.nodes):
        if node.required and index not in seen and not isinstance(node, Fixed):
            remarks.add("missing", element, node.name)


def _keep(values: dict[str, Any], node: Leaf | Sub, value: Any) -> None:
    """Keep what a child says; of a member with many values in a list, until all of them are read."""
    if node.many:
        values.setdefault(node.member, []).append(value)
    else:
        values[node.member] = value


def _read_node(
    child: etree._Element, node: Node, alternative: Shape | None, values: dict[str, Any], remarks: Remarks
) -> None:
    match node:
        case Fixed() | Within():
            for name, value in child.attrib.items():
                _check_attribute(child, node.attributes, str(name), str(value), remarks)
            _read_content(child, node.content if isinstance(node, Within) else _NOTHING, values, remarks)
        case Leaf():
            read = node.datatype.read(child, remarks)
            if read is not None:
                _keep(values, node, read)
            elif node.required:
                remarks.add("missing", child, "value")
        case Sub():
            made = read_shape(child, alternative or node.shape, remarks)
            if made is not None:
                _keep(values, node, made)
        case Choice():
            chosen = alternative or node.alternatives[0]
            values[_CLASS] = chosen.of
            if local_name(child) != chosen.name:
                remarks.add("differs", child, "version")
            _read_into(child, chosen, values, remarks)


_NOTHING: Final = Content()


# --- writing --------------------------------------------------------------------------------------------------------


def write_shape(value: Any, shape: Shape, created: Time, placed: frozenset[str] = frozenset()) -> str:
    """Return the element of a value. ``created`` is the default of times that have one.

    ``placed`` are members that stand around the element. Raises: `NotWritable`, also when the value holds something
    that the element has no place for: nothing is left out in silence.
    """
    placed = placed | _placed(shape)
    if shape.of is not None and is_dataclass(value):
        for each in fields(value):
            member = getattr(value, each.name)
            if each.name not in placed and _is_there(member) and member != each.default:
                raise NotWritable(f"{shape.name} has no place for {each.name}")
    try:
        bound = {name: getattr(value, member) for name, member in shape.bound.items()}
        for name, said in bound.items():
            if not said or said not in ATTRIBUTE_WORDS.get(name, (said,)):
                allowed = ", ".join(ATTRIBUTE_WORDS.get(name, ("a code of HL7",)))
                raise NotWritable(f"@{name} of {shape.name} must be one of {allowed}")
        content = _write_content(value, shape.content, shape.name, created, placed)
    except NotWritable as error:
        if not isinstance(value, Entry) or shape.of is None:
            raise
        # Its id says which of many entries it is; what it holds is not quoted.
        raise NotWritable(f"{type(value).__name__} {value.id}: {error}") from error
    return _element(shape.name, {**shape.attributes, **bound}, content)


def _element(name: str, written: Mapping[str, str | None], content: str) -> str:
    opening = f"<{name}{attributes(**written)}"
    return f"{opening}>{content}</{name}>" if content else f"{opening}/>"


ATTRIBUTE_WORDS: Final = {
    "moodCode": ("EVN", "PRMS", "PRP", "APT", "ARQ", "RQO", "SLOT"),
    "determinerCode": ("INSTANCE", "KIND", "QUANTIFIED_KIND"),
    "typeCode": tuple(sorted(PARTICIPATION_TYPES)),
}
"""What an attribute that a member decides may say. Spec: 10 §8.3, §8.5."""


@cache
def _placed(shape: Shape) -> frozenset[str]:
    """Return the members that have a place in a shape; the job role of a person goes into the control act."""
    return _members(shape.content) | {*shape.bound.values(), *shape.constants, "job_role"}


def _members(content: Content) -> frozenset[str]:
    found: set[str] = set()
    for node in content.nodes:
        match node:
            case Leaf(member=member) | Sub(member=member):
                found.add(member)
            case Within(content=inside):
                found |= _members(inside)
    return frozenset(found)


def _write_content(value: Any, content: Content, name: str, created: Time, placed: frozenset[str]) -> str:
    """Return the children of an element."""
    written: list[str] = []
    for node in content.nodes:
        match node:
            case Fixed():
                if node.required:
                    written.append(_element(node.name, node.attributes, ""))
                continue
            case Leaf():
                member = value if node.member == SELF else getattr(value, node.member)
                if not _is_there(member) and node.defaults_to_created and node.required:
                    member = created
                if _is_there(member):
                    written += [node.datatype.write(node.name, each) for each in (member if node.many else (member,))]
                    continue
            case Within():
                if node.required or _holds(value, node.content):
                    inside = _write_content(value, node.content, node.name, created, placed)
                    written.append(_element(node.name, node.attributes, inside))
                continue
            case Sub():
                member = getattr(value, node.member)
                members = member if node.many else (member,)
                members = tuple(each for each in members if _is_there(each))
                if members:
                    written += [write_shape(each, _shape_of(each, node), created) for each in members]
                    continue
            case Choice():
                shape = next((each for each in node.alternatives if _is_of(value, each)), None)
                if shape is not None:
                    written.append(write_shape(value, shape, created, placed))
                    continue
        if node.required:
            raise NotWritable(f"{name} has no {node.name}")
    return "".join(written)


def _holds(value: Any, content: Content) -> bool:
    """Whether a value has any of the members of this content."""
    for node in content.nodes:
        match node:
            case Leaf(member=member) | Sub(member=member) if member == SELF or _is_there(getattr(value, member)):
                return True
            case Within(content=inside) if _holds(value, inside):
                return True
    return False


def _is_there(value: Any) -> bool:
    return value not in (None, "", ()) and getattr(value, "shape_is_known", True) is True


def _shape_of(value: Any, node: Sub) -> Shape:
    return next((shape for shape in node.others if _is_of(value, shape)), node.shape)


def _is_of(value: Any, shape: Shape) -> bool:
    if type(value) is not shape.of or any(getattr(value, name) != word for name, word in shape.constants.items()):
        return False
    return shape.when is None or (getattr(value, shape.when[0]) is not None) is shape.when[1]
