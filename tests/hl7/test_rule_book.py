"""The engine of rules: its language is XPath, and it means what XPath means.

Every test of the rule book is evaluated twice, by our compiled function and by libxml2, on examples that were damaged
at random places. Spec: 10 §11; 20 §12; 30 §5.
"""

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.hl7.rules import RULE_BOOK, Rule, RuleSet, Words, in_document_order, rules_of
from openscr.hl7.rules.book import MOST_PLACES
from openscr.hl7.rules.expressions import (
    NAMESPACES,
    MalformedTest,
    Variables,
    compile_place,
    compile_test,
    compile_whole,
)
from openscr.hl7.rules.summaries import UPLOAD_COMMON, WITHDRAWAL_COMMON
from openscr.identifiers import is_hl7_time, is_nhs_number
from openscr.transport.xml import read_xml
from shared import MESSAGES

VARIABLES = {
    "interaction": "REPC_IN150016UK05",
    "action": "QUPC_IN180000UK04",
    "receiver": "990000000004",
    "sender": "200000000115",
    "number": "9990012016",
    "context": "Consent",
    "ask": "",
}


def _is_nhs_number(_: Any, value: Any) -> bool:
    return is_nhs_number(
        str(value[0]) if isinstance(value, list) and value else value if isinstance(value, str) else ""
    )


def _is_hl7_time(_: Any, value: Any) -> bool:
    return is_hl7_time(str(value[0]) if isinstance(value, list) and value else value if isinstance(value, str) else "")


def by_libxml(source: str, node: etree._Element) -> bool:
    """Evaluate a test as libxml2 does."""
    return bool(_libxml(source)(node, **VARIABLES))


@cache
def _libxml(source: str) -> etree.XPath:
    return etree.XPath(
        f"boolean({source})",
        namespaces=NAMESPACES,
        extensions={
            (NAMESPACES["scr"], "is-nhs-number"): _is_nhs_number,
            (NAMESPACES["scr"], "is-hl7-time"): _is_hl7_time,
        },
    )


TESTS = sorted({rule.test for rules in RULE_BOOK for rule in rules.rules})

FILES = sorted(
    path
    for folder in ("gp-summary", "psis-query", "acs")
    for path in (MESSAGES / folder).glob("*.xml")
    if "fault" not in path.name
)


def interaction_of(root: etree._Element) -> etree._Element:
    """The interaction in a file, whether or not it is in an envelope."""
    body = root.find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
    if body is None:
        return root
    inner: etree._Element = body[0]
    return inner if inner.find("{*}interactionId") is not None else inner[0]


def damage(root: etree._Element, chance: random.Random) -> None:
    """Break something small: an element or attribute is lost, doubled, emptied or renamed."""
    elements = [element for element in root.iter("*") if element is not root]
    for _ in range(chance.randint(0, 6)):
        element = chance.choice(elements)
        parent = element.getparent()
        if parent is None:
            continue
        kind = chance.randrange(6)
        if kind == 0:
            parent.remove(element)
        elif kind == 1:
            parent.append(read_xml(etree.tostring(element, with_tail=False)))
        elif kind == 2 and element.attrib:
            element.attrib.pop(chance.choice(list(element.attrib)))
        elif kind == 3 and element.attrib:
            element.set(chance.choice(list(element.attrib)), chance.choice(["", " ", "1.2.3", "x y", "9990012016"]))
        elif kind == 4:
            element.text = chance.choice(["", " View ", "Sealing", "Clear", "No", "\n Everyone\n"])
        elif kind == 5:
            element.tag = f"{{urn:hl7-org:v3}}{chance.choice(['id', 'author', 'value', 'code', 'agentPerson'])}"


@cache
def compiled_tests() -> dict[str, Callable[[etree._Element, Variables], Any]]:
    """Each test of the rule book, as we compile it."""
    return {source: compile_test(source) for source in TESTS}


@given(st.integers(0, 10_000_000))
def test_every_test_means_what_xpath_says(seed: int) -> None:
    """Ours and libxml2's evaluation agree, for each rule, at elements of every kind."""
    chance = random.Random(seed)
    root = interaction_of(read_xml(chance.choice(FILES).read_bytes()))
    damage(root, chance)
    places = [root, *chance.sample(list(root.iter("*")), k=min(6, len(list(root.iter("*")))))]
    for name in ("GPSummary", "MessageWithdrawal", "query", "AgentPersonSDS", "ControlActEvent"):
        places += list(root.iter(f"{{urn:hl7-org:v3}}{name}"))[:2]
    for name in ("accessControlAssertion", "accessControlSet", "queryCriteria", "resource"):
        places += list(root.iter(f"{{{NAMESPACES['crs']}}}{name}"))[:2]
    for source, test in compiled_tests().items():
        for node in places:
            assert bool(test(node, VARIABLES)) == by_libxml(source, node), source


@cache
def both_ways() -> list[tuple[Callable[[etree._Element, Variables], bool], RuleSet]]:
    """Each set of rules as one question for libxml2, and as one that asks its rules one by one."""
    ways = []
    for rules in RULE_BOOK:
        single = RuleSet(*rules.rules, interactions=())
        vars(single)["_all_kept"] = lambda element, variables: False
        ways.append((compile_whole(tuple((rule.context, rule.test) for rule in rules.rules)), single))
    return ways


@given(st.integers(0, 10_000_000))
def test_the_whole_question_and_the_single_rules_agree(seed: int) -> None:
    """What one evaluation by libxml2 lets pass breaks no rule, and the other way round."""
    chance = random.Random(seed)
    root = interaction_of(read_xml(chance.choice(FILES).read_bytes()))
    damage(root, chance)
    for whole, single in both_ways():
        for element in (root, *list(root.iter("*"))[:: chance.randint(20, 60)]):
            assert whole(element, VARIABLES) == (not single.judge_document(element, VARIABLES))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("count(h:a) = 2", True),
        ("count(h:a/@x) = 1", True),
        ("h:a/@x = '1'", True),
        ("h:a/@x != '1'", False),
        ("h:a[2]/h:b", True),
        ("h:a[1]/h:b", False),
        ("//h:b", True),
        ("count(*) > 2", True),
        ("count(h:a) + count(h:c) = 3", True),
        ("count(h:a) + count(h:c) >= 4", False),
        ("string-length(normalize-space(h:c)) = 3", True),
        ("normalize-space(h:c) = 'x y'", True),
        ("not(h:none) and (h:a or h:none)", True),
        ("h:a and not(h:none or h:a)", False),
        ("starts-with(local-name(), 'ro') and namespace-uri() = 'urn:hl7-org:v3'", True),
        ("contains(h:c, 'y')", True),
        ("translate(h:a/@x, '1', '2') = '2'", True),
        ("$given = h:a/@x", True),
        ("h:a/../h:c", True),
        ("./h:a", True),
        ("scr:is-nhs-number(h:n/@v)", True),
        ("h:a/@x < 2", True),
        ("h:c < 2", False),
    ],
)
def test_the_language(source: str, expected: bool) -> None:
    root = read_xml(b'<root xmlns="urn:hl7-org:v3"><a x="1"/><a><b/></a><c> x  y </c><n v="9990012016"/></root>')
    assert bool(compile_test(source)(root, {"given": "1"})) is expected


@pytest.mark.parametrize(
    "source",
    [
        "",
        "count(",
        "h:a[",
        "x:a",
        "a",
        "h:a = ",
        "unknown(h:a)",
        "h:a]",
        "count('x')",
        "h:a ^ h:b",
        "not(h:a) = not(h:b)",
    ],
)
def test_what_is_not_the_language_is_refused_when_it_is_compiled(source: str) -> None:
    with pytest.raises(MalformedTest):
        compile_test(source)


def test_a_mistake_in_the_book_names_its_rule() -> None:
    """Found by whatever judges first; the rows of the book itself are all judged by these tests."""
    rules = RuleSet(Rule("x-1", ".", "h:a[", "K", Words("Wrong.", "Mend.")), interactions=())
    with pytest.raises(MalformedTest, match="x-1: "):
        rules.judge(read_xml(b"<a/>"))


def test_a_place_is_as_far_as_the_path_leads() -> None:
    """Of several the last: that is the one too many."""
    root = read_xml(b'<r xmlns="urn:hl7-org:v3"><a n="1"/><a n="2"><b/></a></r>')
    assert compile_place("h:a/h:b/h:c")(root, {}).tag == "{urn:hl7-org:v3}b"
    assert compile_place("h:a")(root, {}).get("n") == "2"
    assert compile_place("h:none/h:a")(root, {}) is root
    assert compile_place(".")(root, {}) is root


WORDS = Words("It is wrong.", "Mend it.")


def rule(label: str, context: str, test: str, place: str = ".") -> Rule:
    return Rule(label, context, test, "Key", WORDS, f"text of {label}", place=place)


def test_findings_come_in_the_order_of_the_rows_and_can_be_put_in_that_of_the_document() -> None:
    """The wire of queries wants the first (20 §9.2), that of uploads the second (10 §14)."""
    rules = RuleSet(
        rule("x-1", "h:b", "h:none"),
        rule("x-2", ".", "h:none", place="h:a"),
        rule("x-3", "//h:c", "h:none"),
        rule("x-4", "h:a/h:c", "@x"),
        interactions=("X",),
    )
    root = read_xml(b'<r xmlns="urn:hl7-org:v3"><a><c/><c x=""/></a><b/><b><d><c/></d></b></r>')
    found = rules.judge(root)
    assert [finding.rule for finding in found] == ["x-1", "x-1", "x-2", "x-3", "x-3", "x-3", "x-4"]
    assert [finding.rule for finding in in_document_order(found)] == [
        "x-2",
        "x-3",
        "x-4",
        "x-3",
        "x-1",
        "x-1",
        "x-3",
    ]
    assert in_document_order([]) == ()


@pytest.mark.parametrize("context", ["h:a", "//h:a"])
def test_of_very_many_places_the_first_are_told(context: str) -> None:
    """5 MB of empty elements are a hundred thousand places; a thousand of a rule are enough to see what is wrong."""
    rules = RuleSet(rule("x-1", context, "@x"), rule("x-2", ".", "h:none"), interactions=())
    root = read_xml(b'<r xmlns="urn:hl7-org:v3"><a x=""/>' + b"<a/>" * (2 * MOST_PLACES) + b"</r>")
    found = rules.judge(root)
    assert [finding.rule for finding in found] == ["x-1"] * MOST_PLACES + ["x-2"]
    assert [finding.place for finding in found[:-1]] == list(root)[1 : MOST_PLACES + 1]


def test_a_set_begins_at_its_base_wherever_the_document_stands() -> None:
    rules = RuleSet(rule("x-1", ".", "@ok"), interactions=(), base="h:a/h:b")
    root = read_xml(b'<r xmlns="urn:hl7-org:v3"><a><b/><b ok="1"/></a><b/></r>')
    assert len(rules.judge(root)) == 1
    assert len(rules.judge_document(root)) == 1


def test_rules_that_a_wrapper_error_forestalls_are_there_for_who_runs_them_alone() -> None:
    """C5 and W2 are answered with 515 before they are looked at. Spec: 10 §14."""
    root = read_xml(next((MESSAGES / "gp-summary").glob("02*")).read_bytes())
    identifier = root.find("{*}interactionId")
    assert identifier is not None
    root.remove(identifier)
    text = "a single interactionID root and extension must be provided"
    assert [(f.rule, f.text) for f in UPLOAD_COMMON.judge(root)] == [("gp-C5", text)]
    assert [(f.rule, f.text) for f in WITHDRAWAL_COMMON.judge(root)] == [("wd-W2", text)]


def test_the_rules_of_an_interaction() -> None:
    """A message is held against its own rules: upload and withdrawal, list and event query, SET, GET and HAS."""
    assert {"gp-501", "gp-C1", "gp-G1", "gp-G13"} <= {rule.id for rule in rules_of("REPC_IN150016SM05")}
    assert {"wd-515", "gp-C4", "wd-W11"} <= {rule.id for rule in rules_of("REPC_IN150018UK02")}
    assert "psis-eventRecord" in {rule.id for rule in rules_of("QUPC_IN190000UK04")}
    assert "psis-eventRecord" not in {rule.id for rule in rules_of("QUPC_IN180000UK04")}
    assert {"acs-S17", "soap-21"} <= {rule.id for rule in rules_of("SET_RESOURCE_PERMISSIONS_INUK01")}
    assert rules_of("NONE") == ()
