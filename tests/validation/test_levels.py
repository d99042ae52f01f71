"""Level strict: the rules of level spine and the model of the messages, each fault told once. Spec: 00 §4, 10 §11.5."""

import pytest
from lxml import etree

from hl7.mutation import Change, both, drop, mutated, put
from openscr.validation import Level, Severity, validate
from shared import MESSAGES

from .judging import example, rules

STRICT_FAULTY = {
    # Spine sends it, and no schema has it. Spec: 10 §13, §18.
    "gp-summary/ack-AA_MCCI_IN010000UK13.xml": ["gp-strict"],
}
"""Examples that break level strict alone."""

MESSAGES_OF_THE_SCHEMAS = sorted(
    str(path.relative_to(MESSAGES))
    for folder in ("acs", "gp-summary", "psis-query")
    for path in (MESSAGES / folder).glob("*.xml")
)


@pytest.mark.parametrize("name", MESSAGES_OF_THE_SCHEMAS)
def test_examples_at_both_levels(name: str) -> None:
    """What the specification calls valid is so at both levels; what breaks a rule breaks it at both."""
    data = (MESSAGES / name).read_bytes()
    expected = rules(validate(data)) + STRICT_FAULTY.get(name, [])
    assert rules(validate(data, level=Level.STRICT)) == expected


@pytest.mark.parametrize(
    ("folder", "base", "change", "rule"),
    [
        ("gp-summary", "02", put("//h:GPSummary", "moodCode", "RQO"), "gp-strict"),
        ("gp-summary", "04", put("//h:MessageWithdrawal/h:id", "root", "1.2.3"), "wd-strict"),
        ("psis-query", "QUPC_IN190000UK04_request", drop("//h:eventRecord/h:semanticsText"), "psis-strict"),
        ("psis-query", "QUPC_IN160101UK05_request_soap", drop("//h:filterParameters"), "psis-strict"),
        ("acs", "02-", put("//h:ControlActEvent", "unknown", "x"), "acs-strict"),
    ],
)
def test_what_spine_takes_is_an_error_at_level_strict(folder: str, base: str, change: Change, rule: str) -> None:
    data = mutated(example(folder, base), change)
    assert rules(validate(data)) == []
    report = validate(data, level=Level.STRICT)
    assert rules(report) == [rule]
    assert report.level is Level.STRICT
    assert not report.ok


def test_a_place_at_which_a_rule_is_broken_is_told_once() -> None:
    """The rule has the better words; the model would only say the same. Other places have their own findings."""
    data = mutated(
        example("gp-summary", "02"),
        both(drop("//h:GPSummary/h:author/h:time"), put("//h:GPSummary", "classCode", "ACT")),
    )
    assert rules(validate(data, level=Level.STRICT)) == ["gp-strict", "gp-G8"]


def test_a_deviation_is_an_error_at_level_strict_and_no_warning_beside_it() -> None:
    data = mutated(example("gp-summary", "02"), drop("//h:pertinentInformation2"))
    assert "gp-entries-empty-or-missing" in [finding.rule for finding in validate(data).diagnoses]
    report = validate(data, level=Level.STRICT)
    assert [(finding.rule, finding.severity) for finding in report.diagnoses] == [("gp-strict", Severity.ERROR)]


def test_a_bare_document_is_judged_by_its_model() -> None:
    (summary,) = etree.fromstring(example("gp-summary", "02")).iter("{*}GPSummary")
    data = etree.tostring(summary)
    assert rules(validate(data, level=Level.STRICT)) == []
    assert rules(validate(data.replace(b"OBS", b"OOPS", 1), level=Level.STRICT)) != []


def test_what_nobody_published_is_not_judged_in_silence() -> None:
    (path,) = (MESSAGES / "psis-query").glob("SCRA_EXTENDED*")
    (finding,) = validate(path.read_bytes(), level=Level.STRICT).diagnoses
    assert (finding.rule, finding.severity) == ("coverage", Severity.WARNING)
