"""SOAP requests whose envelope is not as the service wants it: judged as requests, with the code of the fault.

Spec: 40 §4.2, §8; 20 §9.2, §12.
"""

import re

import pytest

from openscr.validation import validate

from .judging import errors, example
from .test_packaging import EBXML, UPLOAD, resized

CAPTURE = example("transport", "11-")
QUERY = example("psis-query", "QUPC_IN180000UK04_request_soap")
CONSENT = example("acs", "01")
UPLOADED = example("gp-summary", "02")
BODY = re.compile(rb"<([\w-]+):Body>(.*)</\1:Body>", re.DOTALL)
ACKNOWLEDGEMENT = b'<acknowledgement xmlns="urn:hl7-org:v3" typeCode="AA"/>'


def found(data: bytes) -> set[tuple[str, str]]:
    """Rules of all errors, with the codes of the answer."""
    return {(finding.rule, finding.code) for finding in errors(validate(data))}


def with_body(data: bytes, pattern: bytes) -> bytes:
    """Write another body; in the pattern ``%p`` is the prefix and ``%b`` what the body holds."""
    one = BODY.search(data)
    assert one is not None
    return data[: one.start()] + pattern.replace(b"%p", one[1]).replace(b"%b", one[2]) + data[one.end() :]


@pytest.mark.parametrize(
    "pattern",
    [
        b"<%p:Boddy>%b</%p:Boddy>",
        b'<x:Body xmlns:x="urn:x">%b</x:Body>',
        b"<x><%p:Body>%b</%p:Body></x>",
        b"",
        b"<%p:Body/>",
        b"<%p:Body>%b<x/></%p:Body>",
    ],
    ids=["renamed", "another namespace", "wrapped", "deleted", "empty", "two elements"],
)
def test_a_request_without_its_body_is_no_answer(pattern: bytes) -> None:
    """Fault 201, by the label of its own rule book. Spec: 40 §4.2 nos. 1-3, 20 §12 S0."""
    assert ("psis-S0", "201") in found(resized(with_body(CAPTURE, pattern)))
    assert {rule for rule, _ in found(with_body(CONSENT, pattern))} & {"soap-3"}


@pytest.mark.parametrize("pattern", [b"<%p:Body><x>%b</x></%p:Body>", b"<%p:Body><x><y><z>%b</z></y></x></%p:Body>"])
def test_a_wrapped_request_is_not_supported(pattern: bytes) -> None:
    assert found(resized(with_body(CAPTURE, pattern))) == {("message", "101")}
    assert found(with_body(QUERY, pattern)) == {("message", "101")}


@pytest.mark.parametrize("data", [CAPTURE, QUERY, CONSENT, UPLOADED], ids=["capture", "query", "consent", "upload"])
def test_an_acknowledgement_makes_no_answer_of_a_request(data: bytes) -> None:
    """The name of the interaction decides, so that its own rules are asked all the same."""
    added = data.replace(b"<interactionId", ACKNOWLEDGEMENT + b"<interactionId", 1)
    assert added != data
    broken = re.sub(rb"<creationTime [^>]*/>", b"", added, count=1)
    assert broken != added
    assert found(resized(broken) if data is CAPTURE else broken) == found_without_time(data)


def found_without_time(data: bytes) -> set[tuple[str, str]]:
    broken = re.sub(rb"<creationTime [^>]*/>", b"", data, count=1)
    expected = found(resized(broken) if data is CAPTURE else broken)
    assert expected
    return expected


def test_the_header_of_a_request_with_an_acknowledgement_is_judged() -> None:
    added = QUERY.replace(b"<interactionId", ACKNOWLEDGEMENT + b"<interactionId", 1)
    without_to = re.sub(rb"<wsa:To>[^<]*</wsa:To>", b"", added)
    assert ("psis-S3", "201") in found(without_to)


def test_an_answer_sent_as_a_request_is_not_supported() -> None:
    """The SOAPAction of a request makes a request of what it carries."""
    answer = example("psis-query", "QUPC_IN200000UK04_success_soap")
    assert validate(answer).ok
    head = CAPTURE.partition(b"\r\n\r\n")[0]
    assert ("http", "101") in found(resized(head + b"\r\n\r\n" + answer))


def test_a_query_without_an_id_is_answered_with_a_fault() -> None:
    head, name, rest = CAPTURE.partition(b"<QUPC_IN180000UK04")
    data = head + name + re.sub(rb"<id [^>]*/>", b"", rest, count=1)
    assert found(resized(data)) == {("psis-B1", "201")}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (CAPTURE.replace(b"<QUPC_IN180000UK04", b'<QUPC_IN180000UK04 xmlns="urn:x"', 1), "101"),
        (UPLOADED.replace(b'xmlns="urn:hl7-org:v3"', b'xmlns="urn:x"', 1), "515"),
    ],
)
def test_an_interaction_in_another_namespace(data: bytes, code: str) -> None:
    data = re.sub(rb'(xmlns="urn:x"[^>]*) xmlns="urn:hl7-org:v3"', rb"\1", data)
    data = resized(data) if data.startswith(b"POST") else data
    assert ("message", code) in found(data)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (rb"<soap:Header>.*</soap:Header>", b""),
        (rb"<soap:Header>(.*)</soap:Header>", rb"<x><soap:Header>\1</soap:Header></x>"),
        (rb"<soap:Header>(.*)</soap:Header>", rb'<x:Header xmlns:x="urn:x">\1</x:Header>'),
        (rb"<soap:Body>.*?</soap:Body>", b""),
    ],
    ids=["deleted", "wrapped", "another namespace", "no body"],
)
def test_an_ebxml_envelope_without_its_blocks_is_still_one(old: bytes, new: bytes) -> None:
    broken = re.sub(old, new, EBXML, count=1, flags=re.DOTALL)
    assert broken != EBXML
    assert ("ebxml-E1", "201") in found(broken)
    assert ("ebxml-E1", "201") in found(resized(UPLOAD.replace(EBXML, broken)))
