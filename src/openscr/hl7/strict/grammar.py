"""The grammar of elements: attributes, content, text; compiled once into tables of look-ups.

An `ElementType` says what one kind of element looks like. Its content is a tree of particles (`Child`, `Sequence`,
`OneOf`, `Foreign`); `compile_types` makes of each tree a deterministic automaton, whose states are dictionaries from
the tag of the next child to what follows. Judging an element is then one look-up for each attribute and each child.

Spec: 10 §2-§10, §11.5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from openscr.hl7.strict.values import Value
from openscr.hl7.wrapper import HL7

MANY: Final = -1
"""No upper bound of a particle."""


@dataclass(frozen=True, slots=True, eq=False)
class Attribute:
    """What an attribute may hold, and whether it must be there."""

    value: Value
    required: bool = False


class State(dict[str, "tuple[State, ElementType]"]):
    """A state of an element's content: what may come next, by tag. ``accepts`` says that the element may end here.

    ``foreign`` are elements that are known by their namespace alone, with what follows them.
    """

    __slots__ = ("accepts", "foreign")

    def __init__(self) -> None:
        super().__init__()
        self.accepts = False
        self.foreign: tuple[Foreign, State] | None = None


@dataclass(slots=True, eq=False)
class ElementType:
    """What one kind of element looks like.

    ``name`` is the name of a data type that ``xsi:type`` may say; ``base`` the data type it derives from. An
    ``abstract`` type needs an ``xsi:type``. With ``mixed`` text may stand anywhere inside; ``text`` is what text alone
    must be. ``content`` none means that nothing may stand inside, not even white space. ``start``, ``required`` (how
    many attributes must be there) and ``types_by_tag`` are made by `compile_types`.
    """

    name: str = ""
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    content: "Particle | None" = None
    mixed: bool = False
    text: Value | None = None
    base: "ElementType | None" = None
    abstract: bool = False
    start: State | None = None
    required: int = 0
    types_by_tag: "dict[str, ElementType]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """A child element, between ``least`` and ``most`` times."""

    tag: str
    type: ElementType
    least: int = 1
    most: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Particles one after the other."""

    parts: "tuple[Particle, ...]"
    least: int = 1
    most: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class OneOf:
    """One of several particles."""

    parts: "tuple[Particle, ...]"
    least: int = 1
    most: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Foreign:
    """Any element of a namespace (Clark prefix), or with ``other`` of any other one; what is in it is not judged."""

    namespace: str
    other: bool = False
    least: int = 1
    most: int = 1

    def takes(self, tag: str) -> bool:
        """Whether an element with this tag is meant."""
        if self.other:
            return tag.startswith("{") and not tag.startswith(self.namespace)
        return tag.startswith(self.namespace)


Particle = Child | Sequence | OneOf | Foreign


def hl7(name: str, of: ElementType, least: int = 1, most: int = 1) -> Child:
    """Return a child in the namespace of HL7 V3."""
    return Child(f"{HL7}{name}", of, least, most)


def optional(name: str, of: ElementType) -> Child:
    """Return a child in the namespace of HL7 V3 that may be left out."""
    return Child(f"{HL7}{name}", of, 0)


def sequence(*parts: Particle) -> Sequence:
    """Return particles one after the other."""
    return Sequence(parts)


# --- compilation ----------------------------------------------------------------------------------------------------


class _Graph:
    """A non-deterministic automaton: numbered nodes, empty moves, and moves with a child."""

    def __init__(self) -> None:
        self.empty: list[list[int]] = []
        self.moves: list[list[tuple[Child | Foreign, int]]] = []

    def node(self) -> int:
        self.empty.append([])
        self.moves.append([])
        return len(self.empty) - 1

    def add(self, particle: Particle, begin: int) -> int:
        """Put a particle behind a node; return the node behind it."""
        for _ in range(particle.least):
            begin = self._once(particle, begin)
        if particle.most == MANY:
            loop = self.node()
            self.empty[begin].append(loop)
            self.empty[self._once(particle, loop)].append(loop)
            return loop
        end = self.node()
        for _ in range(particle.most - particle.least):
            self.empty[begin].append(end)
            begin = self._once(particle, begin)
        self.empty[begin].append(end)
        return end

    def _once(self, particle: Particle, begin: int) -> int:
        match particle:
            case Child() | Foreign():
                end = self.node()
                self.moves[begin].append((particle, end))
            case Sequence(parts=parts):
                end = begin
                for part in parts:
                    end = self.add(part, end)
            case OneOf(parts=parts):
                end = self.node()
                for part in parts:
                    entry = self.node()
                    self.empty[begin].append(entry)
                    self.empty[self.add(part, entry)].append(end)
        return end

    def reach(self, nodes: set[int]) -> frozenset[int]:
        found, waiting = set(nodes), list(nodes)
        while waiting:
            for following in self.empty[waiting.pop()]:
                if following not in found:
                    found.add(following)
                    waiting.append(following)
        return frozenset(found)


def _automaton(content: Particle) -> State:
    graph = _Graph()
    begin = graph.node()
    end = graph.add(content, begin)
    states: dict[frozenset[int], State] = {}

    def state(nodes: frozenset[int]) -> State:
        known = states.get(nodes)
        if known is not None:
            return known
        made = states[nodes] = State()
        made.accepts = end in nodes
        targets: dict[str, tuple[ElementType, set[int]]] = {}
        elsewhere: dict[Foreign, set[int]] = {}
        for node in nodes:
            for particle, following in graph.moves[node]:
                if isinstance(particle, Child):
                    targets.setdefault(particle.tag, (particle.type, set()))[1].add(following)
                else:
                    elsewhere.setdefault(particle, set()).add(following)
        for tag, (of, behind) in targets.items():
            made[tag] = (state(graph.reach(behind)), of)
        for foreign, behind in elsewhere.items():
            made.foreign = (foreign, state(graph.reach(behind)))
        return made

    return state(graph.reach({begin}))


def children_of(particle: Particle | None) -> "list[Child]":
    """Return every child that a particle speaks of, in order."""
    match particle:
        case Child():
            return [particle]
        case Sequence(parts=parts) | OneOf(parts=parts):
            return [child for part in parts for child in children_of(part)]
    return []


def compile_types(root: ElementType) -> None:
    """Compile a type and every type that can stand below it; what is compiled already stays."""
    waiting = [root]
    while waiting:
        of = waiting.pop()
        if of.types_by_tag or of.start is not None:
            continue
        of.required = sum(attribute.required for attribute in of.attributes.values())
        if of.content is not None:
            of.start = _automaton(of.content)
            for child in children_of(of.content):
                of.types_by_tag[child.tag] = child.type
                waiting.append(child.type)
