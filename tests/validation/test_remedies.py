"""Every rule that can be found has its words, and the words are there for rules that can be found."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from openscr.errors import UnsafeXml
from openscr.hl7.deviations import DEVIATIONS
from openscr.hl7.rules import RULE_BOOK
from openscr.transport.wsa import HEADER_RULES
from openscr.transport.xml import read_xml
from openscr.validation.envelopes import RULES
from openscr.validation.remedies import CAUSES, REMEDIES, remedy_of

SOURCES = Path(__file__).parents[2] / "src" / "openscr"
RULE = re.compile(r"(?:gp|wd|psis|acs|soap|ebxml)-(?:[A-Z]?\d+|[a-z][a-z0-9-]*)")


def emitted() -> set[str]:
    """The rules that readers and validator can name."""
    rules = {rule.id for book in RULE_BOOK for rule in book.rules}
    rules |= {f"{prefix}-202" for prefix in ("gp", "wd")}
    rules |= {f"{prefix}-strict" for prefix in ("gp", "wd", "psis", "acs", "alert")}
    rules |= {f"gp-{name.replace('_', '-')}" for name in DEVIATIONS}
    for rule in HEADER_RULES.values():
        rules |= {f"soap-{rule.number}", f"psis-{rule.query_label}"}
    rules |= {f"ebxml-{label}" for label, _, _ in RULES.values()}
    for path in (*(SOURCES / "hl7").glob("*.py"), *(SOURCES / "validation").glob("*.py")):
        if not path.name.endswith("_wording.py"):
            rules |= {text for text in literals(path) if RULE.fullmatch(text)}
    return rules


def literals(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_every_rule_has_its_words() -> None:
    assert {rule for rule in emitted() if rule not in REMEDIES} == set()


def test_no_words_without_a_rule() -> None:
    ours = {"message", "file", "xml", "coverage", "answer", "xsd", "http", "mime"}
    assert {rule.partition("/")[0] for rule in REMEDIES} - emitted() == ours


@pytest.mark.parametrize("rule", sorted(REMEDIES))
def test_words_are_whole_sentences(rule: str) -> None:
    remedy = remedy_of(*rule.split("/"))
    for text in (remedy.wrong, remedy.mend):
        assert text.endswith(".")
        assert "  " not in text
        assert text == text.strip()
        assert len(text) < 260


def test_causes_say_what_the_parser_met() -> None:
    assert all(text.endswith(".") for text in CAUSES.values())


@pytest.mark.parametrize("cause", ["DOCTYPE", "ENCODING", "DEPTH", "NAMESPACES", "ATTRIBUTES"])
def test_what_our_own_reader_refuses_is_not_told_as_broken(cause: str) -> None:
    data = {
        "DOCTYPE": b"<!DOCTYPE r><r/>",
        "ENCODING": b"<r>\xff</r>",
        "DEPTH": b"<r>" * 201 + b"</r>" * 201,
        "NAMESPACES": b"<r " + b" ".join(b'xmlns:a%d="u"' % number for number in range(1001)) + b"/>",
        "ATTRIBUTES": b"<r " + b" ".join(b'a%d=""' % number for number in range(1001)) + b"/>",
    }[cause]
    with pytest.raises(UnsafeXml) as refused:
        read_xml(data)
    assert refused.value.cause == cause
    assert CAUSES[cause] != CAUSES[""]


def test_an_unknown_rule_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        remedy_of("gp-G99")
