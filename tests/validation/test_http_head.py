"""Heads of HTTP messages that the service refuses, and those that it takes. Spec: 40 §2, §3, §4.1, §6.6, §8."""

import re

import pytest

from openscr.validation import Severity, validate

from .judging import errors, example
from .test_packaging import PAYLOAD, UPLOAD, line_of, resized

QUERY = example("transport", "11-")
POLLED = example("transport", "19-")
POLL = example("transport", "21-")
LENGTH = re.search(rb"Content-Length: \d+", QUERY)
assert LENGTH is not None
STATED = LENGTH.group()


def found(data: bytes) -> set[tuple[str, str]]:
    """Rules of all errors, with the codes of the answer."""
    return {(finding.rule, finding.code) for finding in errors(validate(data))}


def changed(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new, 1)


@pytest.mark.parametrize("data", [QUERY, UPLOAD, POLLED, POLL], ids=["query", "upload", "polled", "poll"])
def test_the_heads_that_the_others_are_made_from(data: bytes) -> None:
    assert validate(data).ok


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (changed(QUERY, b"POST", b"PUT"), "405"),
        (changed(UPLOAD, b"POST", b"PATCH"), "405"),
        (changed(POLL, b"GET", b"POST"), "405"),
        (b"GET /sync-service HTTP/1.1\r\nHost: a\r\n\r\n", "405"),
        (changed(QUERY, b"/sync-service", b"/nowhere"), "404"),
        (changed(QUERY, b"/sync-service", b"/sync-service/"), "404"),
        (changed(POLL, b"/_poll/", b"/poll/"), "404"),
        (changed(QUERY, b"/sync-service", b"/reliablemessaging/reliablerequest"), "101"),
        (changed(QUERY, b"/sync-service", b"/clinical"), "101"),
        (changed(UPLOAD, b"/reliablemessaging/reliablerequest", b"/sync-service"), "101"),
        (changed(UPLOAD, b"/reliablemessaging/reliablerequest", b"/clinical"), "101"),
        (changed(POLLED, b"/clinical", b"/reliablemessaging/reliablerequest"), "101"),
        (changed(QUERY, b"names:services:psisquery/QUPC_IN18", b"names:services:psis/QUPC_IN18"), "101"),
        (changed(QUERY, b"names:services:psisquery/QUPC_IN180000UK04", b"names:services:psisquery/QUERY"), "101"),
        (changed(QUERY, STATED, b'SOAPAction: "urn:nhs:names:services:psisquery/X"\r\n' + STATED), "101"),
        (changed(QUERY, STATED, b"Content-Type: application/xml\r\n" + STATED), "201"),
        (changed(QUERY, b"Content-Type: text/xml; charset=utf-8", b"Content-Type: application/json"), "201"),
        (changed(UPLOAD, b"Content-Type: multipart/related", b"Content-Type: text/xml"), "201"),
        (changed(QUERY, STATED, STATED + b"\r\n" + STATED), "400"),
        (changed(QUERY, STATED, b"Content-Length: -5"), "400"),
        (changed(QUERY, STATED, b"Content-Length:"), "400"),
        (changed(QUERY, STATED, "Content-Length: ٣".encode()), "400"),
        (changed(QUERY, STATED, b"Content-Length: " + b"9" * 5_000), "400"),
        (changed(QUERY, STATED, b"Content-Length: 18446744073709551616"), "400"),
        (changed(QUERY, STATED, b"Content-Length: 9999999"), "201"),
        (changed(QUERY, STATED, b"Content-Length: 100"), "201"),
        (changed(QUERY, STATED, STATED + b"\r\n and more"), "400"),
        (changed(QUERY, STATED, b"X-Note: a\r\n\tb\r\n" + STATED), "400"),
        (changed(QUERY, STATED, b"nhsd-asid: 1\r\n" + STATED), "300"),
        (changed(POLLED, b"nhsd-asid: 900000000101", b"nhsd-asid: 900000000102"), "300"),
        (changed(POLLED, b"nhsd-asid", b"nhsd-asid: 900000000102\r\nnhsd-asid"), "300"),
    ],
)
def test_heads_that_are_refused(data: bytes, code: str) -> None:
    """With the code of the answer, be it a fault or the status of HTTP."""
    assert ("http", code) in found(data)


@pytest.mark.parametrize(
    "data",
    [
        changed(QUERY, b"/sync-service", b"/syncservice-psis/psis"),
        changed(QUERY, b"/sync-service", b"/sync-service?a=b"),
        changed(QUERY, b"/sync-service", b"https://spine.test/sync-service"),
        changed(UPLOAD, b"/reliablerequest", b"/intermediary"),
        changed(QUERY, b"Content-Type: text/xml; charset=utf-8", b"Content-Type: application/xml"),
        changed(QUERY, STATED, STATED.replace(b": ", b": 000")),
        changed(UPLOAD, b"Content-Length", b"nhsd-asid: 1\r\nContent-Length"),
        changed(POLLED, b"nhsd-asid: 900000000101", b"nhsd-asid:"),
        changed(QUERY, b"SOAPAction", b"Host: msg.spine.test.example\r\nSOAPAction"),
        example("transport", "03-"),
        example("transport", "09-"),
        changed(example("transport", "03-"), b"/reliablemessaging/inbound", b"/"),
    ],
)
def test_heads_that_are_taken(data: bytes) -> None:
    """Aliases, other names of XML, headers that decide nothing, and the paths of clients, which are their own."""
    assert errors(validate(data)) == []


def test_a_line_end_more_is_no_fault_and_text_more_is_one() -> None:
    (finding,) = [each for each in validate(QUERY + b"\r\n").diagnoses if each.rule == "http"]
    assert finding.severity is Severity.WARNING
    assert ("http", "201") in found(QUERY + b"<!-- -->")


def test_the_second_header_is_shown() -> None:
    data = changed(QUERY, STATED, STATED + b"\r\nContent-Length: 1")
    (finding,) = errors(validate(data))
    assert finding.line == line_of(data, b"Content-Length: 1\r")


def test_a_payload_alone_is_no_request() -> None:
    """Over HTTP it needs the envelope of its channel."""
    upload = resized(UPLOAD.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + PAYLOAD)
    assert "201" in {code for _, code in found(upload)}
    at, end = QUERY.index(b"<QUPC_"), QUERY.index(b"</QUPC_IN180000UK04>") + len(b"</QUPC_IN180000UK04>")
    payload = QUERY[at:end].replace(b"<QUPC_IN180000UK04", b'<QUPC_IN180000UK04 xmlns="urn:hl7-org:v3"', 1)
    payload = re.sub(rb'(<QUPC_IN180000UK04 xmlns="urn:hl7-org:v3")( xmlns="urn:hl7-org:v3")', rb"\1", payload)
    assert ("psis-S0", "201") in found(resized(QUERY.partition(b"\r\n\r\n")[0] + b"\r\n\r\n" + payload))


def test_a_body_over_the_limit() -> None:
    assert ("http", "201") in found(resized(QUERY + b" " * 5_242_880))
