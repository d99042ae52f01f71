"""Every code of the consent service's catalogue is answered by some test, with its text. Spec: 30 §7.2, §7.3."""

import re

import pytest

from hl7.rules import ACS_HEADER_RULES, ACS_WRAPPER_RULES, GET_RULES, HAS_RULES, SET_RULES
from openscr.errors import DETAILS, GENERAL, NO_EXPLICIT_CONSENT
from shared import shared

ELSEWHERE = {
    "30418": "record.test_consent, journeys.test_consent: a person who may not; an upload or a view after a No",
    "30402": "record.test_consent_table, journeys.test_consent_table: an upload before anything was said",
    "30307": "record.test_consent, journeys.test_consent: a SET of a merged number",
    "101": "journeys.test_bad_input: an unsupported interaction",
    "201": "the header rules of conformance.test_rules",
    "300": "journeys.test_bad_input: an ASID that may not",
    "401": "record.test_consent, journeys.test_consent: other content under a known id",
}
"""Codes that are not those of a broken rule, and where they are answered."""

NOT_RAISED = {"99714"}
"""Of HAS_SCRA, which is answered in the form of PSIS queries. Spec: 30 §7.3."""

ROWS = (*SET_RULES, *GET_RULES, *HAS_RULES, *ACS_WRAPPER_RULES)


def section(heading: str) -> str:
    text = shared("spec", "30-acs.md").read_text("utf-8")
    rest = text[text.index(heading) + len(heading) :]
    return re.split(r"^#{2,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def test_every_detail_of_the_catalogue_is_answered() -> None:
    """A code that the specification's tables have and no row answers fails this test."""
    published = set(
        re.findall(r"\b(?:35\d{3}|30\d{3}|997\d{2}|101|201|300)\b", section("### 7.2") + section("### 7.3"))
    )
    answered = {code for row in ROWS for code, _ in row.issues} | set(ELSEWHERE)
    assert published - answered == NOT_RAISED


@pytest.mark.parametrize("heading", ["### 7.3"])
def test_the_texts_are_the_catalogues(heading: str) -> None:
    """Texts in the table are ours, letter for letter, with their places to be filled in."""
    for code, text in re.findall(r"\| (\d{5}) \| `([^`]+)`", section(heading)):
        if code in NOT_RAISED:
            continue
        ours = DETAILS[code].text.replace("{", "<").replace("}", ">")
        assert ours == text.replace("<key without prefix>", "<key>"), code


def test_the_general_reasons_are_the_catalogues() -> None:
    for code, text in re.findall(r"^\| (\d{3}) \| `([^`]+)`", section("### 7.1"), re.MULTILINE):
        assert GENERAL[code].display == text
    assert NO_EXPLICIT_CONSENT.display.startswith("30402 - PQR-02")
    assert NO_EXPLICIT_CONSENT.display.endswith("record ")


def test_every_refusal_begins_with_its_general_reason() -> None:
    """AE with the general reason first; AR with the wrapper's code, then the same. Spec: 30 §6.2, §13."""
    for row in (*SET_RULES, *GET_RULES, *HAS_RULES):
        assert row.issues[0] == ("400", "Invalid Request")
    for row in ACS_WRAPPER_RULES:
        assert row.issues[:2] == (("202", "HL7 Validation Error"), ("400", "Invalid Request"))
    assert all(row.location for row in ACS_HEADER_RULES)
