"""The rule book: every rule of Spine as a row of data, and the one engine that holds messages against them.

A rule says at which elements it looks (`Rule.context`), what must hold there (`Rule.test`), what Spine calls a breach
(`Rule.key`, `Rule.text`), what is answered (`Rule.code`), and what a person should know (`Rule.words`). A `RuleSet`
compiles its rows once, twice over: all of them into one XPath expression, which libxml2 evaluates in a few microseconds
and which most messages satisfy; and each into a function of its own, which says of the others what is wrong and where,
in one walk that enters only the elements some rule looks at.

Spec: 00 §4 ``validate``; 10 §11, §14; 20 §9.2, §12; 30 §5, §7.3.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from operator import itemgetter
from typing import Any, Final

from lxml import etree

from openscr.errors import DETAILS, WRAPPER_ERRORS, Issue, detail_issue
from openscr.hl7.rules.expressions import (
    Expression,
    MalformedTest,
    Variables,
    compile_place,
    compile_test,
    compile_whole,
    string_of,
    tag_of,
)
from openscr.hl7.wrapper import Finding

LONGEST_QUOTATION: Final = 40
"""Characters at most that an answer repeats of what a message says."""

MOST_PLACES: Final = 1000
"""Places at most at which a rule is found broken in one message: a hostile one must not hold up everybody else."""

NO_VARIABLES: Final[Variables] = {}


@dataclass(frozen=True, slots=True)
class Words:
    """A rule in plain English: what is wrong when it is broken, and how to mend the message."""

    wrong: str
    mend: str


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    ``id`` is its label in the specification behind the prefix of its file (00 §4). ``context`` is a path of child steps
    from where the set begins (``.`` for that element itself), or ``//`` and a path for elements at any depth; the rule
    is judged at each. ``test`` must hold there. ``key`` is Spine's constant and ``text`` what follows it; of ``text``
    everything in braces is an expression. ``code`` is that of the answer: 400 gives the text itself, other codes their
    own text with ``fields`` filled in. ``place`` is the path to what a finding points at.
    """

    id: str
    context: str
    test: str
    key: str
    words: Words
    text: str = ""
    code: str = "400"
    place: str = "."
    fields: Mapping[str, str] = field(default_factory=dict)
    quotes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Compiled:
    """A rule ready to be judged; ``order`` is its row in the set."""

    rule: Rule
    order: int
    holds: Expression
    place: Any
    quotes: tuple[tuple[str, Expression], ...]

    def finding(self, element: etree._Element, variables: Variables) -> Finding:
        quoted = {name: string_of(quote(element, variables))[:LONGEST_QUOTATION] for name, quote in self.quotes}
        text = self.rule.text.format(**quoted) if quoted else self.rule.text
        issue = _issue_of(self.rule, text, quoted)
        return Finding(self.rule.id, self.rule.key, text, issue, self.place(element, variables))


def _issue_of(rule: Rule, text: str, quoted: Mapping[str, str]) -> Issue:
    if rule.code in WRAPPER_ERRORS:
        return WRAPPER_ERRORS[rule.code]
    if rule.code in DETAILS:
        fields = {"parameter": text, "key": rule.key.partition(".")[2].partition("[")[0], **rule.fields, **quoted}
        return detail_issue(rule.code, **fields)
    return Issue(rule.code, text)


class _Stop:
    """An element on the walk: the rules that look at it, and which of its children to enter."""

    __slots__ = ("below", "rules", "tags")

    def __init__(self) -> None:
        self.rules: list[_Compiled] = []
        self.below: dict[str, _Stop] = {}
        self.tags: tuple[str, ...] = ()

    def at(self, path: Sequence[str]) -> "_Stop":
        if not path:
            return self
        below = self.below.setdefault(path[0], _Stop())
        self.tags = tuple(self.below)
        return below.at(path[1:])


class _Walk:
    """The rules of a set one by one: what is wrong, and where, in a message that does not satisfy all of them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._first = _Stop()
        self._anywhere: list[tuple[str, tuple[str, ...], _Compiled]] = []
        for order, rule in enumerate(rules):
            compiled = _compile(rule, order)
            if rule.context.startswith("//"):
                first, *rest = _path(rule.context[2:])
                self._anywhere.append((first, tuple(rest), compiled))
            else:
                self._first.at(_path(rule.context)).rules.append(compiled)

    def find(self, elements: Sequence[etree._Element], variables: Variables) -> list[Finding]:
        """Return every broken rule, in the order of the rows; of one row in document order, `MOST_PLACES` at most."""
        broken: list[tuple[int, Finding]] = []
        places: Counter[int] = Counter()
        walk = [(element, self._first) for element in elements]
        for element, stop in walk:
            for each in stop.rules:
                if places[each.order] < MOST_PLACES and not each.holds(element, variables):
                    places[each.order] += 1
                    broken.append((each.order, each.finding(element, variables)))
            if stop.below:
                below = stop.below
                walk.extend((child, below[str(child.tag)]) for child in element.iterchildren(*stop.tags))
        for first, rest, each in self._anywhere:
            for element in elements:
                found = list(element.iter(first))
                for tag in rest:
                    found = [below for above in found for below in above.iterchildren(tag)]
                wrong = islice((e for e in found if not each.holds(e, variables)), MOST_PLACES)
                broken += [(each.order, each.finding(e, variables)) for e in wrong]
        broken.sort(key=itemgetter(0))
        return [finding for _, finding in broken]


class RuleSet:
    """Rules that are judged together, compiled once, when the first message is judged.

    ``interactions`` are those whose messages the set is for. ``base`` is the path from the root of the interaction to
    the element from which the contexts are counted; a document that came without its interaction is judged there.
    """

    def __init__(self, *rules: Rule, interactions: Iterable[str], base: str = ".") -> None:
        self.rules = rules
        self.interactions = frozenset(interactions)
        self.base = base
        self._start = _path(base)

    @cached_property
    def _all_kept(self) -> Callable[[etree._Element, Variables], bool]:
        return compile_whole(tuple((rule.context, rule.test) for rule in self.rules))

    @cached_property
    def _walk(self) -> _Walk:
        return _Walk(self.rules)

    def judge(self, root: etree._Element, variables: Variables = NO_VARIABLES) -> list[Finding]:
        """Judge the interaction with this root: every broken rule, in the order of the rows.

        A rule that is broken at several elements is found at each, in document order, but at no more than the first
        `MOST_PLACES`. Raises: `MalformedTest` for a mistake in the rows.
        """
        elements = [root]
        for tag in self._start:
            elements = [below for element in elements for below in element.iterchildren(tag)]
        return self._judge(elements, variables)

    def judge_document(self, document: etree._Element, variables: Variables = NO_VARIABLES) -> list[Finding]:
        """Judge an element that stands at the base of the set, whatever is around it."""
        return self._judge([document], variables)

    def _judge(self, elements: Sequence[etree._Element], variables: Variables) -> list[Finding]:
        if all(self._all_kept(element, variables) for element in elements):
            return []
        return self._walk.find(elements, variables)


def _path(source: str) -> list[str]:
    return [] if source == "." else [tag_of(name) for name in source.split("/")]


def _compile(rule: Rule, order: int) -> _Compiled:
    try:
        return _Compiled(
            rule,
            order,
            compile_test(rule.test),
            compile_place(rule.place),
            tuple((name, compile_test(source)) for name, source in rule.quotes.items()),
        )
    except MalformedTest as error:
        raise MalformedTest(f"{rule.id}: {error}") from None


def in_document_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings by their places in the document; of one place as they were. Spec: 10 §14."""
    if len(findings) < 2:
        return tuple(findings)
    root = next((finding.place for finding in findings if finding.place is not None), None)
    if root is None:
        return tuple(findings)
    position: dict[etree._Element | None, int] = {finding.place: 0 for finding in findings}
    for index, element in enumerate(root.getroottree().iter()):
        if element in position:
            position[element] = index
    return tuple(sorted(findings, key=lambda finding: position[finding.place]))
