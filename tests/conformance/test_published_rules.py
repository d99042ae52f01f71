"""No published rule without its counterpart: the tables of the specification against the rule book, and both against
the messages that break each rule.

Spec: 10 §11; 20 §12; 30 §5; 40 §4.2, §5.6.
"""

from collections.abc import Iterator

import pytest

from hl7.alert_rules import ALERT_RULES, ALERT_WRAPPER_RULES
from hl7.document_rules import DOCUMENT_RULES, SCRA_RULES
from hl7.rules import (
    ACS_HEADER_RULES,
    ACS_WRAPPER_RULES,
    GET_RULES,
    HAS_RULES,
    QUERY_RULES,
    SET_RULES,
    SUMMARY_RULES,
    WRAPPER_RULES,
    Row,
)
from openscr.hl7.rules import RULE_BOOK
from openscr.transport.wsa import HEADER_RULES
from openscr.validation.envelopes import RULES
from shared import shared

from .published import Published, labels_in, published_rules

TEXTS_OF_OURS = {
    "acs-S11": "{context}|{type}",
    # The parameter holds an NHS number, or what stands in its place; no text of ours does.
    "acs-G5": "10",
    "acs-G6": "10",
    "acs-H7": "",
}
"""Where the text has placeholders, or would hold an NHS number."""

ALL_ROWS = (
    *SUMMARY_RULES,
    *WRAPPER_RULES,
    *QUERY_RULES,
    *SET_RULES,
    *GET_RULES,
    *HAS_RULES,
    *ACS_WRAPPER_RULES,
    *ACS_HEADER_RULES,
    *DOCUMENT_RULES,
    *SCRA_RULES,
    *ALERT_RULES,
    *ALERT_WRAPPER_RULES,
)


def counterparts() -> Iterator[Published]:
    """Every rule of ours: those of payloads, and those of the two envelopes."""
    for rules in RULE_BOOK:
        for rule in rules.rules:
            yield Published(rule.id, rule.key, rule.text)
    for header in HEADER_RULES.values():
        yield Published(f"psis-{header.query_label}", header.key, "")
        yield Published(f"soap-{header.number}", header.key, "")
    for label, key, _ in RULES.values():
        yield Published(f"ebxml-{label}", f"ErrorBaseTms.{key}", "")
    # The blocks and the nine fields have no row of their own: a fault names the place.
    yield Published("ebxml-E1", "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED", "")
    yield Published("ebxml-E2", "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED", "")


OURS: dict[str, list[Published]] = {}
for ours in counterparts():
    OURS.setdefault(ours.rule, []).append(ours)


def test_every_published_rule_has_its_counterpart() -> None:
    """Label, key and text are those of the specification's tables. A rule added there fails this test."""
    rules = published_rules(shared("spec"))
    assert len({rule.rule for rule in rules}) > 120
    for rule in rules:
        assert rule.rule in OURS, rule
        same_key = [ours for ours in OURS[rule.rule] if not rule.key or ours.key.startswith(rule.key.partition("[")[0])]
        assert same_key, rule
        if rule.text is not None:
            text = TEXTS_OF_OURS.get(rule.rule, rule.text)
            assert text in {ours.text for ours in same_key}, rule


def test_every_rule_of_the_book_is_broken_by_a_message() -> None:
    """And each by one that breaks nothing else, but where one fault cannot be had without another."""
    broken = {rule: row for row in ALL_ROWS for rule in rules_broken_by(row)}
    never = {rule.id for rules in RULE_BOOK for rule in rules.rules} - set(broken)
    assert never == FORESTALLED
    alone = {rule for row in ALL_ROWS if len(set(rules_broken_by(row))) == 1 for rule in rules_broken_by(row)}
    assert set(broken) - alone == set(NOT_ALONE)


def rules_broken_by(row: Row) -> list[str]:
    if row.found:
        return [rule for rule, _, _ in row.found]
    if row in WRAPPER_RULES:
        prefix = "wd" if row.base == "04" else "gp"
        return [f"{prefix}-{code}" for code, _ in row.issues]
    return ["psis-B1"] if row.label == "B1" else []


FORESTALLED = {
    # Answered with 515 before it is looked at; `hl7.test_rule_book` runs them alone.
    "gp-C5",
    "wd-W2",
    # The wrapper of withdrawals is judged by the rows of that of uploads.
    *(f"wd-{code}" for code in (501, 502, 503, 504, 506, 507, 508, 509)),
}

NOT_ALONE = {
    "acs-G1": "without a context there is no root (G3) and no extension (G4) either",
    "acs-G4": "an extension that is missing is too short as well (G5)",
    "acs-H1": "as G1",
    "acs-H4": "as G4",
    "acs-S1": "without a context there is no root (S9), no extension (S10), and nothing to agree with (S6)",
    "acs-S2": "three assertions have two of one kind (S3 or S4)",
    "acs-S3": "two for Store are none for View (S5) and no pair (S8)",
    "acs-S4": "as S3",
    "acs-S5": "a code that is neither is no code (S13)",
    "acs-S7": "no assertion is not one or two (S2) and neither View nor Store (S5)",
    "acs-S10": "a number that is missing agrees with nothing (S6)",
    "acs-S12": "an assertion of another context is neither View nor Store (S5)",
    "acs-S13": "a code that is neither View nor Store leaves neither (S5)",
    "gp-G9": "without a person its role profile has no owner (G11)",
    "psis-B4": "of two control acts neither is the one whose systems (B6) and query (B7) count",
    "psis-C1": "of two ids neither is the one that is compared (C2, C3, C4)",
    "soap-12": "as B4",
    "wd-W9": "as G9",
}
"""Rules that no message breaks alone, and why."""


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("W3–W5", ["W3", "W4", "W5"]),
        ("W10, W11", ["W10", "W11"]),
        ("7/8", ["7", "8"]),
        ("E14", ["E14"]),
        ("#", []),
        ("Rule", []),
    ],
)
def test_labels_are_read_from_cells(cell: str, labels: list[str]) -> None:
    assert labels_in(cell) == labels
