"""The tests of rules: a small part of XPath 1.0, compiled once into functions over the parsed tree.

The published rules of Spine are XPath expressions in stylesheets, so ours are written in the same words, and whoever
knows those can read these. What is compiled here means exactly what XPath says it means (a property test holds every
rule against libxml2), but a test costs a microsecond instead of a whole evaluation context.

Understood are: ``or``, ``and``, ``=``, ``!=``, ``<``, ``<=``, ``>``, ``>=``, ``+``; paths of child steps, ``//``,
``..``, ``.``, ``*``, ``@name``, with predicates; strings, numbers, ``$variables``; and the functions of `FUNCTIONS`.

Spec: 10 §11; 20 §12; 30 §5.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

from lxml import etree

from openscr.codes import CRS_NS, HL7_NS, XSI_NS
from openscr.identifiers import is_hl7_time, is_nhs_number

Variables = Mapping[str, str]
"""What a test is told about the envelope: variables by name, without the dollar sign."""

Expression = Callable[[etree._Element, Variables], Any]
"""A compiled expression: a node-set is a list of elements or attribute values, else a string, number or boolean."""

Step = Callable[[Sequence[Any], Variables], list[Any]]

NAMESPACES: Final = {"h": HL7_NS, "crs": CRS_NS, "xsi": XSI_NS, "scr": "urn:openscr:rules"}
"""Prefixes of rules: HL7 V3, the Access Control Service, ``xsi:nil``, and the functions that are ours."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<string>'[^']*')|(?P<number>\d+)|(?P<variable>\$[\w-]+)|(?P<operator>//|\.\.|!=|<=|>=|[=<>+,()\[\]/@*.])|"
    r"(?P<name>[A-Za-z_][\w-]*(?:\.[\w-]+)*(?::(?:\*|[A-Za-z_][\w.-]*))?))"
)
_SPACES: Final = re.compile("[ \t\r\n]+")
_STRING_VALUE: Final = etree.XPath("string()")


class MalformedTest(ValueError):
    """A test that is not in the language of rules: a mistake in the rule book, found when it is compiled."""


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


def _tokens(source: str) -> Iterator[_Token]:
    position = 0
    while position < len(source.rstrip()):
        match = _TOKEN.match(source, position)
        if match is None or match.lastgroup is None:
            raise MalformedTest(f"cannot read {source[position:]!r}")
        yield _Token(match.lastgroup, match.group(match.lastgroup))
        position = match.end()
    yield _Token("end", "")


# --- values ---------------------------------------------------------------------------------------------------------


def string_of(value: Any) -> str:
    """Return a value as a string: of a node-set that of its first node, as XPath says."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return _string_of_node(value[0]) if value else ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _string_of_node(node: Any) -> str:
    return node if isinstance(node, str) else str(_STRING_VALUE(node))


def _number_of(value: Any) -> float:
    if isinstance(value, int | float):
        return value
    try:
        return float(string_of(value).strip(" \t\r\n"))
    except ValueError:
        return float("nan")


def _normalised(value: str) -> str:
    return _SPACES.sub(" ", value).strip(" ")


def _translate(text: str, replaced: str, by: str) -> str:
    return text.translate({ord(c): by[i] if i < len(by) else None for i, c in reversed(list(enumerate(replaced)))})


class _Kind(Enum):
    """What an expression gives: known when it is compiled, so that nothing is asked when it runs."""

    NODES = "nodes"
    STRING = "string"
    NUMBER = "number"
    BOOLEAN = "boolean"


@dataclass(frozen=True, slots=True)
class _Term:
    """A compiled expression and its kind. ``attribute`` is the name when it is nothing but an attribute of the node."""

    kind: _Kind
    evaluate: Expression
    constant: str | int | None = None
    attribute: str = ""

    def as_string(self) -> Expression:
        """Return the expression as a string."""
        if self.kind is _Kind.STRING:
            return self.evaluate
        if self.attribute:
            name = self.attribute
            return lambda node, variables: node.get(name) or ""
        evaluate = self.evaluate
        return lambda node, variables: string_of(evaluate(node, variables))

    def as_number(self) -> Expression:
        """Return the expression as a number."""
        if self.kind is _Kind.NUMBER:
            return self.evaluate
        evaluate = self.evaluate
        return lambda node, variables: _number_of(evaluate(node, variables))


@dataclass(frozen=True, slots=True)
class _Function:
    """A function of the language: what it takes, what it gives."""

    takes: _Kind
    gives: _Kind
    call: Callable[..., Any]


FUNCTIONS: Final[Mapping[str, _Function]] = {
    "count": _Function(_Kind.NODES, _Kind.NUMBER, len),
    "not": _Function(_Kind.BOOLEAN, _Kind.BOOLEAN, lambda value: not value),
    "string": _Function(_Kind.STRING, _Kind.STRING, lambda text: text),
    "string-length": _Function(_Kind.STRING, _Kind.NUMBER, len),
    "normalize-space": _Function(_Kind.STRING, _Kind.STRING, _normalised),
    "starts-with": _Function(_Kind.STRING, _Kind.BOOLEAN, lambda text, start: text.startswith(start)),
    "contains": _Function(_Kind.STRING, _Kind.BOOLEAN, lambda text, part: part in text),
    "translate": _Function(_Kind.STRING, _Kind.STRING, _translate),
    "scr:is-nhs-number": _Function(_Kind.STRING, _Kind.BOOLEAN, is_nhs_number),
    "scr:is-hl7-time": _Function(_Kind.STRING, _Kind.BOOLEAN, is_hl7_time),
}
"""The functions of the language, with XPath's meaning.

Two are ours: ``scr:is-nhs-number`` (ten digits, modulus 11), ``scr:is-hl7-time`` (of any precision).
"""

_OF_THE_NODE: Final[Mapping[str, Callable[[str], str]]] = {
    "local-name": lambda tag: tag.rpartition("}")[2],
    "namespace-uri": lambda tag: tag[1:].partition("}")[0] if tag.startswith("{") else "",
}

_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}


def _compare(operator: str, left: _Term, right: _Term) -> _Term:
    """Compile a comparison. Spec: XPath 1.0 §3.4, without booleans as operands."""
    holds = _COMPARISONS[operator]
    if _Kind.BOOLEAN in (left.kind, right.kind):
        raise MalformedTest("booleans are not compared in tests")
    numeric = operator not in ("=", "!=") or _Kind.NUMBER in (left.kind, right.kind)
    if _Kind.NODES not in (left.kind, right.kind):
        one, other = (left.as_number(), right.as_number()) if numeric else (left.as_string(), right.as_string())
        if right.constant is not None:
            constant = right.constant
            return _boolean(lambda node, variables: holds(one(node, variables), constant))
        return _boolean(lambda node, variables: holds(one(node, variables), other(node, variables)))
    if left.attribute and operator == "=" and isinstance(right.constant, str):
        name, text = left.attribute, right.constant
        return _boolean(lambda node, variables: node.get(name) == text)
    value_of = _number_of if numeric else _string_of_node
    ones, others = left.evaluate, right.evaluate

    def some(node: etree._Element, variables: Variables) -> bool:
        one, other = ones(node, variables), others(node, variables)
        wanted = [value_of(each) for each in other] if isinstance(other, list) else [other]
        given = [value_of(each) for each in one] if isinstance(one, list) else [one]
        return any(holds(each, another) for each in given for another in wanted)

    return _boolean(some)


def _boolean(evaluate: Expression) -> _Term:
    return _Term(_Kind.BOOLEAN, evaluate)


# --- compiling ------------------------------------------------------------------------------------------------------


class _Compiler:
    """A recursive descent over one expression; every method consumes what it names and returns its term."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._ahead = list(_tokens(source))
        self._position = 0

    @property
    def _next(self) -> _Token:
        return self._ahead[self._position]

    def _take(self, *texts: str) -> bool:
        if self._next.kind in ("operator", "name") and self._next.text in texts:
            self._position += 1
            return True
        return False

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise MalformedTest(f"{text} expected before {self._next.text!r} in {self._source!r}")

    def whole(self) -> _Term:
        """Compile the whole source."""
        term = self._disjunction()
        if self._next.kind != "end":
            raise MalformedTest(f"nothing expected from {self._next.text!r} on in {self._source!r}")
        return term

    def _disjunction(self) -> _Term:
        first = self._conjunction()
        while self._take("or"):
            first = _either(first.evaluate, self._conjunction().evaluate)
        return first

    def _conjunction(self) -> _Term:
        first = self._comparison()
        while self._take("and"):
            first = _both(first.evaluate, self._comparison().evaluate)
        return first

    def _comparison(self) -> _Term:
        left = self._sum()
        operator = self._next.text if self._next.kind == "operator" else ""
        if operator in _COMPARISONS:
            self._position += 1
            left = _compare(operator, left, self._sum())
        return left

    def _sum(self) -> _Term:
        terms = [self._operand()]
        while self._take("+"):
            terms.append(self._operand())
        if len(terms) == 1:
            return terms[0]
        numbers = [term.as_number() for term in terms]
        return _Term(_Kind.NUMBER, lambda node, variables: sum(number(node, variables) for number in numbers))

    def _operand(self) -> _Term:
        token = self._next
        if token.kind == "string":
            self._position += 1
            text = token.text[1:-1]
            return _Term(_Kind.STRING, lambda node, variables: text, text)
        if token.kind == "number":
            self._position += 1
            number = int(token.text)
            return _Term(_Kind.NUMBER, lambda node, variables: number, number)
        if token.kind == "variable":
            self._position += 1
            name = token.text[1:]
            return _Term(_Kind.STRING, lambda node, variables: variables[name])
        if token.text == "(":
            self._position += 1
            inner = self._disjunction()
            self._need(")")
            return inner
        if token.kind == "name" and self._ahead[self._position + 1].text == "(":
            return self._call(token.text)
        return self._path()

    def _call(self, name: str) -> _Term:
        self._position += 2
        arguments: list[_Term] = []
        while not self._take(")"):
            if arguments:
                self._need(",")
            arguments.append(self._disjunction())
        if name in _OF_THE_NODE and not arguments:
            of_the_node = _OF_THE_NODE[name]
            return _Term(_Kind.STRING, lambda node, variables: of_the_node(str(node.tag)))
        function = FUNCTIONS.get(name)
        if function is None:
            raise MalformedTest(f"{name} is no function of rules")
        call = function.call
        if function.takes is _Kind.NODES and any(argument.kind is not _Kind.NODES for argument in arguments):
            raise MalformedTest(f"{name} takes a path")
        given = [
            argument.as_string() if function.takes is _Kind.STRING else argument.evaluate for argument in arguments
        ]
        if len(given) == 1:
            (only,) = given
            return _Term(function.gives, lambda node, variables: call(only(node, variables)))
        return _Term(function.gives, lambda node, variables: call(*(one(node, variables) for one in given)))

    def _path(self) -> _Term:
        single = self._next.text == "@"
        steps = self.steps()
        if single:
            name = self._ahead[self._position - 1].text
            return _Term(_Kind.NODES, _attribute_alone(name), attribute=name)
        if len(steps) == 1:
            (only,) = steps
            return _Term(_Kind.NODES, lambda node, variables: only((node,), variables))
        first, *rest = steps

        def evaluate(node: etree._Element, variables: Variables) -> list[Any]:
            found = first((node,), variables)
            for step in rest:
                if not found:
                    break
                found = step(found, variables)
            return found

        return _Term(_Kind.NODES, evaluate)

    def steps(self) -> list[Step]:
        """Compile the steps of a path."""
        steps: list[Step] = []
        deep = self._take("//")
        while True:
            steps.append(self._step(deep=deep))
            if self._take("//"):
                deep = True
            elif self._take("/"):
                deep = False
            else:
                return steps

    def _step(self, *, deep: bool) -> Step:
        if self._take("@"):
            name = self._next.text
            self._position += 1
            return lambda nodes, variables: [value for node in nodes if (value := node.get(name)) is not None]
        if self._take(".."):
            return lambda nodes, variables: [above for node in nodes if (above := node.getparent()) is not None]
        if self._take("."):
            return lambda nodes, variables: list(nodes)
        token = self._next
        self._position += 1
        if token.text != "*" and token.kind != "name":
            raise MalformedTest(f"a step expected before {token.text!r} in {self._source!r}")
        return self._with_predicates(_descendants(tag_of(token.text)) if deep else _children(tag_of(token.text)))

    def _with_predicates(self, step: Step) -> Step:
        while self._take("["):
            if self._next.kind == "number":
                index = int(self._next.text) - 1
                self._position += 1
                step = _nth(step, index)
            else:
                step = _where(step, self._disjunction().evaluate)
            self._need("]")
        return step


def _either(one: Expression, other: Expression) -> _Term:
    return _boolean(lambda node, variables: bool(one(node, variables) or other(node, variables)))


def _both(one: Expression, other: Expression) -> _Term:
    return _boolean(lambda node, variables: bool(one(node, variables) and other(node, variables)))


def _attribute_alone(name: str) -> Expression:
    return lambda node, variables: [node.get(name)] if name in node.attrib else []


def _children(tag: str) -> Step:
    return lambda nodes, variables: [found for node in nodes for found in node.iterchildren(tag)]


def _descendants(tag: str) -> Step:
    return lambda nodes, variables: [found for node in nodes for found in node.iterdescendants(tag)]


def _nth(step: Step, index: int) -> Step:
    # A position counts among the children of one parent.
    return lambda nodes, variables: [each for node in nodes for each in step((node,), variables)[index : index + 1]]


def _where(step: Step, predicate: Expression) -> Step:
    return lambda nodes, variables: [node for node in step(nodes, variables) if predicate(node, variables)]


def tag_of(name: str) -> str:
    """Return a name of the language in Clark notation; ``*`` is any element. Raises: `MalformedTest`."""
    if name == "*":
        return name
    prefix, _, local = name.partition(":")
    if not local or prefix not in NAMESPACES:
        raise MalformedTest(f"{name} has no prefix of the language")
    return f"{{{NAMESPACES[prefix]}}}{local}"


def compile_test(source: str) -> Expression:
    """Compile a test: a function of the context element and the variables, true when the rule is kept.

    Raises: `MalformedTest`.
    """
    return _Compiler(source).whole().evaluate


def compile_place(source: str) -> Callable[[etree._Element, Variables], etree._Element]:
    """Compile a path into a function that goes as far along it as there are elements, of several to the last.

    That is where a person looks for what is missing, or for what stands there once too often. Raises: `MalformedTest`.
    """
    steps = _Compiler(source).steps() if source != "." else []

    def find(node: etree._Element, variables: Variables) -> etree._Element:
        for step in steps:
            found = step([node], variables)
            if not found:
                break
            node = found[-1]
        return node

    return find


def compile_whole(rows: Sequence[tuple[str, str]]) -> Callable[[etree._Element, Variables], bool]:
    """Compile contexts and tests into one question for libxml2: whether every test is kept at all of its contexts.

    What libxml2 does not understand is asked of nobody: then the tests one by one tell what is wrong with them.
    """
    whole = " and ".join(_everywhere(context, test) for context, test in rows)
    try:
        evaluate = etree.XPath(whole, namespaces=NAMESPACES, extensions=_EXTENSIONS)
    except etree.XPathSyntaxError:
        return lambda element, variables: False

    def kept(element: etree._Element, variables: Variables) -> bool:
        return bool(evaluate(element, **variables))

    return kept


def _everywhere(context: str, test: str) -> str:
    if context == ".":
        return f"({test})"
    return f"not({'.' if context.startswith('//') else ''}{context}[not({test})])"


def _for_libxml(function: _Function) -> Callable[..., Any]:
    return lambda _, value: function.call(string_of(value))


_EXTENSIONS: Final = {
    (NAMESPACES["scr"], name.removeprefix("scr:")): _for_libxml(function)
    for name, function in FUNCTIONS.items()
    if name.startswith("scr:")
}
"""Our own functions, as libxml2 calls them: with the values of their arguments."""
