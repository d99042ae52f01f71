"""Every rule, broken one at a time: exactly the findings and the outcome that the specification names.

The same rows go through the real endpoint in `conformance.test_rules`.
"""

import re
from collections.abc import Iterable

import pytest

from openscr.hl7.acs import ConsentMessage, read_consent_message
from openscr.hl7.gp_summary import SummaryMessage, read_summary_message
from openscr.hl7.permission_check import read_permission_message
from openscr.hl7.psis import HeaderFacts, QueryMessage, read_query
from openscr.hl7.rules.summaries import UPLOAD_WRAPPER
from openscr.hl7.wrapper import Finding, read_wrapper
from openscr.spine import AckType, ConsentChange, ConsentQuery, EventListQuery, EventQuery, Outcome, Upload, Withdrawal
from openscr.transport.wsa import read_request
from openscr.transport.xml import read_xml
from shared import shared

from .mutation import mutated
from .rules import (
    ACS_HEADER_RULES,
    ACS_WRAPPER_RULES,
    EVENT,
    GET,
    GET_CRITERIA,
    GET_RULES,
    HAS,
    HAS_RULES,
    LIST,
    PSIS_SYSTEM,
    QUERY_RULES,
    SET,
    SET_ONE,
    SET_RULES,
    SUMMARY_RULES,
    TMS_SYSTEM,
    WRAPPER_RULES,
    Row,
    message,
)


def read_summary(data: bytes, interaction: str) -> SummaryMessage:
    root = read_xml(data)
    return read_summary_message(root, read_wrapper(root), data, interaction)


def read_event_query(data: bytes) -> QueryMessage | tuple[str, ...]:
    """Read a query as the endpoint does; the locations of a fault if the envelope has one."""
    root = read_xml(data)
    request = read_request(root, "QUPC_IN190000UK04" if b"<QUPC_IN190000UK04" in data else "QUPC_IN180000UK04")
    if request.faults or request.body is None:
        return request.faults
    facts = HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)
    return read_query(read_wrapper(request.body), facts)


def read_acs(data: bytes, interaction: str) -> ConsentMessage | tuple[str, ...]:
    request = read_request(read_xml(data), interaction)
    if request.faults or request.body is None:
        return request.faults
    facts = HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)
    return read_consent_message(read_wrapper(request.body), interaction, facts)


def told(findings: Iterable[Finding]) -> list[tuple[str, str, str]]:
    return [(finding.rule, finding.key, finding.text) for finding in findings]


def issues(outcome: Outcome | None) -> list[tuple[str, str]]:
    assert outcome is not None
    assert {issue.severity for issue in outcome.issues} == {"ER"}
    return [(issue.code, issue.display) for issue in outcome.issues]


INTERACTIONS = {
    "01": "REPC_IN150015UK05",
    "02": "REPC_IN150016UK05",
    "04": "REPC_IN150018UK02",
    SET: "SET_RESOURCE_PERMISSIONS_INUK01",
    SET_ONE: "SET_RESOURCE_PERMISSIONS_INUK01",
    GET: "GET_RESOURCE_PERMISSIONS_INUK01",
    GET_CRITERIA: "GET_RESOURCE_PERMISSIONS_INUK01",
}


@pytest.mark.parametrize(("base", "kind"), [("01", Upload), ("02", Upload), ("04", Withdrawal)])
def test_valid_summaries_break_no_rule(base: str, kind: type) -> None:
    """What the rows are made from breaks no rule."""
    read = read_summary(message("gp-summary", base), INTERACTIONS[base])
    assert read.findings == ()
    assert read.rejected == ()
    assert isinstance(read.request, kind)
    assert read.refusal is None


@pytest.mark.parametrize("row", SUMMARY_RULES, ids=str)
def test_summary_rules(row: Row) -> None:
    """Rules C1-C4, G1-G13, W1-W11 and the NHS number: AE with 400 and what failed. Spec: 10 §11, §14."""
    read = read_summary(mutated(message("gp-summary", row.base), row.change), INTERACTIONS[row.base])
    assert told(read.findings) == list(row.found)
    assert read.rejected == ()
    assert read.request is None
    assert read.refusal is not None
    assert read.refusal.ack is AckType.ERROR
    assert issues(read.refusal) == list(row.issues)
    assert {issue.system for issue in read.refusal.issues} == {PSIS_SYSTEM}


@pytest.mark.parametrize("row", WRAPPER_RULES, ids=str)
def test_wrapper_codes(row: Row) -> None:
    """Wrapper errors are AR with their codes, in order, and nothing behind them is looked at. Spec: 10 §14."""
    read = read_summary(mutated(message("gp-summary", row.base), row.change), INTERACTIONS[row.base])
    assert read.findings == ()
    assert read.request is None
    assert read.refusal is not None
    assert read.refusal.ack is AckType.REJECTED
    assert issues(read.refusal) == list(row.issues)
    assert {issue.system for issue in read.refusal.issues} == {TMS_SYSTEM}


@pytest.mark.parametrize(("base", "kind"), [(LIST, EventListQuery), (EVENT, EventQuery)])
def test_valid_queries_break_no_rule(base: str, kind: type) -> None:
    """What the rows are made from breaks no rule."""
    read = read_event_query(message("psis-query", base))
    assert isinstance(read, QueryMessage)
    assert read.findings == ()
    assert isinstance(read.request, kind)


@pytest.mark.parametrize("row", QUERY_RULES, ids=str)
def test_query_rules(row: Row) -> None:
    """Rules S, B, C, A and Q: the envelope's are a fault, the others AE with 400 and 35160. Spec: 20 §9.2, §12."""
    read = read_event_query(mutated(message("psis-query", row.base), row.change))
    if isinstance(read, tuple):
        assert read == row.location
        return
    if read.unanswerable is not None:
        assert (read.unanswerable,) == row.location
        return
    assert row.location == ()
    assert told(read.findings) == list(row.found)
    assert read.request is None
    assert read.refusal is not None
    assert read.refusal.ack is AckType.ERROR
    assert issues(read.refusal) == list(row.issues)


@pytest.mark.parametrize(
    ("base", "kind"),
    [(SET, ConsentChange), (SET_ONE, ConsentChange), (GET, ConsentQuery), (GET_CRITERIA, ConsentQuery)],
)
def test_valid_consent_messages_break_no_rule(base: str, kind: type) -> None:
    """What the rows are made from breaks no rule."""
    read = read_acs(message("acs", base), INTERACTIONS[base])
    assert isinstance(read, ConsentMessage)
    assert read.refusal is None
    assert isinstance(read.request, kind)


@pytest.mark.parametrize("row", [*SET_RULES, *GET_RULES], ids=str)
def test_consent_rules(row: Row) -> None:
    """Rules S1-S17 and G1-G10: AE with 400 and one detail for each distinct failure. Spec: 30 §5.1, §5.2, §7.3."""
    read = read_acs(mutated(message("acs", row.base), row.change), INTERACTIONS[row.base])
    assert isinstance(read, ConsentMessage)
    assert read.rejected == ()
    assert told(read.findings) == list(row.found)
    assert read.request is None
    assert read.refusal is not None
    assert read.refusal.ack is AckType.ERROR
    assert issues(read.refusal) == list(row.issues)


@pytest.mark.parametrize("row", ACS_WRAPPER_RULES, ids=str)
def test_consent_wrapper_rules(row: Row) -> None:
    """Rules 9-21: AR with 202, 400 and 99720 for each key; the payload is not looked at. Spec: 30 §6.1, 40 §4.2."""
    read = read_acs(mutated(message("acs", row.base), row.change), INTERACTIONS[row.base])
    assert isinstance(read, ConsentMessage)
    assert told(read.rejected) == list(row.found)
    assert read.findings == ()
    assert read.refusal is not None
    assert read.refusal.ack is AckType.REJECTED
    assert issues(read.refusal) == list(row.issues)


@pytest.mark.parametrize("row", ACS_HEADER_RULES, ids=str)
def test_consent_header_rules(row: Row) -> None:
    """Rules 1-8 are a fault with one location for each. Spec: 40 §4.2, §10.5."""
    read = read_acs(mutated(message("acs", row.base), row.change), INTERACTIONS[row.base])
    assert read == row.location


@pytest.mark.parametrize("row", HAS_RULES, ids=str)
def test_has_rules(row: Row) -> None:
    """Rules H1-H13, with the issue that each would be answered with. Spec: 30 §5.3."""
    request = read_request(read_xml(mutated(message("acs", HAS), row.change)), "HAS_RESOURCE_PERMISSIONS_INUK01")
    assert request.body is not None
    facts = HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)
    read = read_permission_message(read_wrapper(request.body), facts)
    found = [*read.rejected, *read.findings]
    assert told(found) == list(row.found)
    issued = dict.fromkeys((finding.issue.code, finding.issue.display) for finding in found)
    assert list(issued) == list(row.issues)[1:]


def test_set_is_not_compared_with_its_header() -> None:
    """Rules 16-18 do not hold for SET. Spec: 40 §4.2."""
    for row in ACS_WRAPPER_RULES:
        if row.label in {"16", "17", "18"}:
            read = read_acs(mutated(message("acs", SET), row.change), INTERACTIONS[SET])
            assert isinstance(read, ConsentMessage)
            assert read.refusal is None


def test_clear_needs_no_accessor_and_ask_only_where_configured() -> None:
    """Clear may come without accessor; Ask is Clear when the switch says so. Spec: 30 §4.3, §5.1."""
    clear = read_acs(message("acs", "03-"), INTERACTIONS[SET])
    assert isinstance(clear, ConsentMessage)
    assert isinstance(clear.request, ConsentChange)
    data = message("acs", SET_ONE).replace(b">No<", b">Ask<")
    request = read_request(read_xml(data), INTERACTIONS[SET])
    assert request.body is not None
    read = read_consent_message(read_wrapper(request.body), INTERACTIONS[SET], accept_ask=True)
    assert isinstance(read.request, ConsentChange)
    assert read.request.value == "Ask"


# --- no rule without a row ------------------------------------------------------------------------------------------


def labels(cell: str) -> list[str]:
    """Read the labels of a table's first cell: ``C1``, ``W3–W5``, ``W10, W11``, ``7/8``, ``17/18``, ``1–3``."""
    found: list[str] = []
    for part in re.split(r"[,/]\s*", cell.strip()):
        first, _, last = part.partition("–")
        if last:
            prefix = re.match(r"[A-Z]*", first)
            letters = prefix.group() if prefix else ""
            found += [f"{letters}{n}" for n in range(int(first.lstrip(letters)), int(last.lstrip(letters)) + 1)]
        else:
            found.append(part)
    return found


def table_labels(file: str, heading: str, pattern: str) -> set[str]:
    """Return the labels in the first column of the tables below a heading of the specification."""
    text = shared("spec", file).read_text("utf-8")
    rest = text[text.index(heading) + len(heading) :]
    section = re.split(r"^#{2,3} ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    cells = re.findall(r"^\| ([^|]+?) \|", section, re.MULTILINE)
    return {label for cell in cells if re.fullmatch(pattern, cell) for label in labels(cell)}


@pytest.mark.parametrize(
    ("file", "heading", "pattern", "rows"),
    [
        ("10-gp-summary.md", "### 11.1", r"C\d", (*SUMMARY_RULES, *WRAPPER_RULES)),
        ("10-gp-summary.md", "### 11.2", r"G\d+", SUMMARY_RULES),
        ("10-gp-summary.md", "### 11.3", r"W[\dW–, ]+", (*SUMMARY_RULES, *WRAPPER_RULES)),
        # F rules and P1 belong to the document queries.
        ("20-psis-query.md", "## 12. Validation", r"[SBCAQ]\d", QUERY_RULES),
        ("30-acs.md", "### 5.1 SET", r"S\d+", SET_RULES),
        ("30-acs.md", "### 5.2 GET", r"G\d+", GET_RULES),
        ("30-acs.md", "### 5.3 HAS", r"H[\dH–]+", HAS_RULES),
        ("40-transport.md", "### 4.2", r"[\d–/]+", (*ACS_HEADER_RULES, *ACS_WRAPPER_RULES)),
    ],
)
def test_every_rule_has_a_row(file: str, heading: str, pattern: str, rows: tuple[Row, ...]) -> None:
    """A rule of the specification that no row breaks fails this test."""
    known = {row.label for row in rows}
    wanted = table_labels(file, heading, pattern)
    assert wanted
    assert wanted - known == set()


def test_every_wrapper_code_has_a_row() -> None:
    """Every wrapper code that uploads can be answered with is reached; the others are other domains'. Spec: 10 §14."""
    assert {rule.code for rule in UPLOAD_WRAPPER.rules} == {row.label for row in WRAPPER_RULES if row.label.isdigit()}
