"""Inputs that are broken, hostile, or no messages: one clear finding, never an exception. Spec: 00 §4, §7."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.hl7.rules.book import MOST_PLACES
from openscr.validation import unreadable, validate
from shared import MESSAGES

from .judging import errors, example, only

SUMMARY = example("gp-summary", "02")
QUERY = example("psis-query", "QUPC_IN180000UK04_request_soap")
UPLOAD = example("transport", "01-")
BOMB = b'<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]>\n'


@pytest.mark.parametrize(
    ("data", "rule", "code", "line", "words"),
    [
        (SUMMARY[: len(SUMMARY) // 2], "gp-202", "202", None, "line"),
        (SUMMARY.replace(b"</GPSummary>", b"</Summary>"), "gp-202", "202", b"</Summary>", "end tag"),
        (SUMMARY.replace(b"<GPSummary ", b"<p:GPSummary "), "gp-202", "202", b"<p:GPSummary", "prefix"),
        (BOMB + SUMMARY.partition(b"?>")[2].lstrip(), "gp-202", "202", b"<!DOCTYPE", "DTD"),
        (SUMMARY.replace(b"Mary", b"\xff\xfe", 1) + b"\xff", "gp-202", "202", b"\xff", "UTF-8"),
        (example("gp-summary", "04").replace(b"</id>", b"").replace(b"/>", b">", 1), "wd-202", "202", None, "Line"),
        (QUERY[:-20], "psis-S0", "201", None, "Line"),
        (QUERY.replace(b"QUPC_", b"XXXX_")[:-20], "soap-1", "201", None, "Line"),
        (example("acs", "13")[:-20], "acs-202", "202", None, "Line"),
        (b"<?xml version='1.0'?>\n<note>\n<to></note>", "xml", "", b"<to>", "end tag"),
        (b"", "message", "", None, "nothing"),
        (b" \r\n\t", "message", "", None, "nothing"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "message", "", None, "neither XML"),
        (bytes(range(256)) * 40, "message", "", None, "neither XML"),
        (b'{"resourceType": "Bundle"}', "message", "", None, "neither XML"),
        (b"<note xmlns='urn:x'/>", "message", "", None, "no message"),
    ],
)
def test_one_clear_finding(data: bytes, rule: str, code: str, line: bytes | None, words: str) -> None:
    finding = only(data)
    assert (finding.rule, finding.code) == (rule, code)
    assert words.lower() in finding.help.lower()
    if line is not None:
        assert finding.line == data[: data.index(line)].count(b"\n") + 1


def test_line_and_column_of_broken_xml_are_those_of_the_input() -> None:
    """Also inside a MIME part, where the parser counts from the beginning of the part."""
    finding = only(b"<a>\n  <b></c>\n</a>")
    assert (finding.line, finding.help.startswith("Line 2, column ")) == (2, True)
    data = UPLOAD.replace(b"</GPSummary>", b"</Summary>")
    (broken,) = (finding for finding in errors(validate(data)) if finding.rule == "gp-202")
    assert broken.line == data[: data.index(b"</Summary>")].count(b"\n") + 1


def test_what_is_too_deep_is_shown_where_it_becomes_so() -> None:
    data = b"<a>\n" * 201 + b"</a>" * 201
    assert only(data).line == 201
    answer = b"<QUPC_IN210000UK04>" + data + b"</QUPC_IN210000UK04>"
    assert only(answer).rule == "psis-S0"


def test_a_document_without_its_namespace_gets_one_finding() -> None:
    finding = only(SUMMARY.replace(b' xmlns="urn:hl7-org:v3"', b""))
    assert finding.rule == "message"
    assert "urn:hl7-org:v3" in finding.help


def test_a_summary_of_the_design_before() -> None:
    finding = only(SUMMARY.replace(b"REPC_IN150016UK05", b"REPC_IN150016UK03"))
    assert finding.rule == "message"
    assert "does not route" in finding.help


def test_lines_beyond_those_that_the_parser_counts() -> None:
    """Lines are counted in the bytes: the parser itself stops at 65,535."""
    data = SUMMARY.replace(b"<GPSummary ", b"\n" * 70_000 + b"<GPSummary ").replace(b'<statusCode code="active"/>', b"")
    finding = only(data)
    assert finding.line == data[: data.index(b"<GPSummary")].count(b"\n") + 1
    assert finding.line > 70_000


def test_many_findings_in_one_input_all_have_their_places() -> None:
    """Each author1 without an id breaks a rule, and each is told by its number; of very many the first thousand are."""
    many = b"<author1/>" * 3
    act = SUMMARY.replace(b"<subject ", b"<x>" + b"<author1><AgentSystemSDS/></author1>" * 5_000 + b"</x><subject ", 1)
    report = validate(act)
    assert len(errors(report)) == MOST_PLACES == 1_000
    assert report.diagnoses[-1].xpath.endswith("/x/author1[1000]/AgentSystemSDS")
    assert not validate(SUMMARY.replace(b"<subject ", many + b"<subject ", 1)).ok


def test_inputs_that_cannot_be_read() -> None:
    report = unreadable("No such file or directory")
    assert not report.ok
    assert "No such file" in report.diagnoses[0].help


EXAMPLES = sorted(path for path in MESSAGES.rglob("*") if path.suffix in {".xml", ".http"})
pieces = st.tuples(st.floats(0, 1), st.floats(0, 1))
harms = st.lists(
    st.one_of(
        st.tuples(st.just("delete"), st.floats(0, 1), st.integers(1, 400)),
        st.tuples(st.just("repeat"), st.floats(0, 1), st.integers(1, 400)),
        st.tuples(st.just("change"), st.floats(0, 1), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("tag"), st.floats(0, 1), st.sampled_from([b"", b"<x/>", b"&x;", b"\r\n\r\n", b"--", b"\0"])),
    ),
    min_size=1,
    max_size=6,
)


def harmed(data: bytes, changes: list[tuple[str, float, int | bytes]]) -> bytes:
    """Change a message in ways that a broken program might."""
    for kind, where, what in changes:
        at = int(where * len(data))
        if kind == "tag":
            at = max(data.rfind(b"<", 0, at), 0)
        if isinstance(what, bytes):
            data = data[:at] + what + data[at + (len(what) if kind == "change" else 0) :]
        elif kind == "delete":
            data = data[:at] + data[at + what :]
        else:
            data = data[: at + what] + data[at:]
    return data


@given(st.sampled_from(EXAMPLES).map(lambda path: path.read_bytes()), harms)
@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_harm_raises(data: bytes, changes: list[tuple[str, float, int | bytes]]) -> None:
    """Whatever happens to a message: a report, its findings in order, each in a line that the input has."""
    damaged = harmed(data, changes)
    report = validate(damaged)
    offsets = [finding.offset for finding in report.diagnoses]
    assert offsets == sorted(offsets)
    for finding in report.diagnoses:
        assert 1 <= finding.line <= damaged.count(b"\n") + 1
        assert 0 <= finding.offset <= len(damaged)
        assert finding.wrong
        assert finding.mend
    assert report.form("x")["ok"] is report.ok


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(data: bytes) -> None:
    for prefix in (b"", b"POST / HTTP/1.1\r\n", b"Content-Type: multipart/related; boundary=a\r\n\r\n--a\r\n", b"<a"):
        report = validate(prefix + data)
        assert report.kind
