"""What an answer means, row by row of the specification's table, and that no answer means nothing. Spec: 40 §6.4."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.errors import EBXML_ERRORS, FAULTS, EbxmlError
from openscr.transport.ebxml import Signal, write_acknowledgment, write_message_error
from openscr.transport.soap import Fault, write_fault
from openscr.transport.verdict import Verdict, judge

MESSAGE = "9F2C1A34-0000-4000-8000-00000000ABCD"
OTHER = "00000000-0000-4000-8000-000000000001"
ADDRESSING = {
    "from_party": "Y90001-0000001",
    "to_party": "YES-0000806",
    "cpa_id": "S90001A000001",
    "conversation_id": "c",
    "message_id": OTHER,
    "timestamp": "2026-07-01T12:00:00Z",
}


def acknowledgment(reference: str = MESSAGE) -> bytes:
    return write_acknowledgment(ref_to_message_id=reference, **ADDRESSING)


def message_error(*errors: EbxmlError) -> bytes:
    return write_message_error(ref_to_message_id=MESSAGE, errors=errors or [EBXML_ERRORS["to_party"]], **ADDRESSING)


def fault(*codes: str) -> bytes:
    return write_fault([(code, None) for code in codes])


UNKNOWN_FAULT = fault("200").replace(b">200<", b">999<")
CODELESS_FAULT = b"".join(fault("200").partition(b"<detail>")[:1]) + b"</SOAP:Fault></SOAP:Body></SOAP:Envelope>"
WARNINGS_ONLY = acknowledgment().replace(
    b"</soap:Header>",
    b'<eb:ErrorList eb:version="2.0" eb:highestSeverity="Warning"><eb:Error eb:errorCode="OtherXml" '
    b'eb:severity="Warning"/></eb:ErrorList></soap:Header>',
)

TABLE = [
    (202, acknowledgment(), Verdict.DELIVERED),
    (200, acknowledgment(), Verdict.DELIVERED),
    (202, acknowledgment(MESSAGE.lower()), Verdict.DELIVERED),
    (202, WARNINGS_ONLY, Verdict.DELIVERED),
    (202, acknowledgment(OTHER), Verdict.RETRY),
    (200, acknowledgment(OTHER), Verdict.RETRY),
    (202, b"", Verdict.RETRY),
    (202, b" \r\n", Verdict.RETRY),
    (200, b"", Verdict.RETRY),
    (202, b"<accepted/>", Verdict.DELIVERED),
    (202, b"thank you", Verdict.DELIVERED),
    (200, b"<accepted/>", Verdict.RETRY),
    (200, message_error(), Verdict.REFUSED),
    (202, message_error(), Verdict.REFUSED),
    (500, message_error(), Verdict.REFUSED),
    *((500, fault(code), Verdict.RETRY) for code in ("200", "206", "208")),
    (500, fault("200", "206", "208"), Verdict.RETRY),
    (200, fault("200"), Verdict.RETRY),
    *((500, fault(code), Verdict.REFUSED) for code in ("101", "201", "300")),
    (500, fault("200", "300"), Verdict.REFUSED),
    (500, UNKNOWN_FAULT, Verdict.REFUSED),
    (500, CODELESS_FAULT, Verdict.REFUSED),
    (500, b"", Verdict.RETRY),
    (502, b"<html><body>Bad gateway</body></html>", Verdict.RETRY),
    (503, b"\x00\xff", Verdict.RETRY),
    (500, acknowledgment(), Verdict.RETRY),
    (301, b"", Verdict.RETRY),
    (400, b"", Verdict.REFUSED),
    (404, b"<html/>", Verdict.REFUSED),
    (403, fault("200"), Verdict.REFUSED),
    (499, acknowledgment(), Verdict.REFUSED),
]


@pytest.mark.parametrize(("status", "body", "verdict"), TABLE)
def test_the_table(status: int, body: bytes, verdict: Verdict) -> None:
    result = judge(status, body, MESSAGE)
    assert result.verdict is verdict
    assert result.reason or (verdict is Verdict.DELIVERED and b"Acknowledgment" in body)


def test_the_answer_is_there_as_a_whole() -> None:
    """What was said, whatever the status; and whether it could be read at all."""
    refused = judge(404, fault("200"), MESSAGE)
    assert isinstance(refused.said, Fault)
    assert (refused.said.codes, refused.readable) == (("200",), True)
    refused = judge(202, message_error(), MESSAGE)
    assert isinstance(refused.said, Signal)
    assert refused.said.errors == (EBXML_ERRORS["to_party"],)
    assert [(judge(500, body, MESSAGE).said, judge(500, body, MESSAGE).readable) for body in (b"<a/>", b"a", b"")] == [
        (None, True),
        (None, False),
        (None, False),
    ]


def test_every_code_of_a_fault_decides() -> None:
    """One code that may not be retried is enough."""
    for code, row in FAULTS.items():
        assert (judge(500, fault(code), MESSAGE).verdict is Verdict.RETRY) == row.retriable
        assert (judge(500, fault("200", code), MESSAGE).verdict is Verdict.RETRY) == row.retriable


def test_a_reason_repeats_no_words_of_the_partner() -> None:
    """A code of the partner's own could hold anything, and reasons are logged. Spec: 00 §7."""
    strange = EbxmlError("9990012318", "about 9990012318")
    result = judge(200, message_error(strange, EBXML_ERRORS["to_party"]), MESSAGE)
    assert "9990012318" not in result.reason
    assert "ValueNotRecognized" in result.reason
    assert result.codes == ("9990012318", "ValueNotRecognized")
    assert "999" not in judge(500, UNKNOWN_FAULT, MESSAGE).reason.replace("HTTP", "")


BODIES = st.one_of(
    st.binary(max_size=200),
    st.sampled_from([body for _, body, _ in TABLE]),
    st.sampled_from([body for _, body, _ in TABLE]).flatmap(
        lambda body: st.integers(0, len(body)).map(lambda end: body[:end])
    ),
)


@given(st.integers(100, 599), BODIES)
def test_every_answer_has_a_verdict(status: int, body: bytes) -> None:
    """Whatever a receiver says: delivered only when it took this message, refused for good by every 4xx."""
    result = judge(status, body, MESSAGE)
    if 400 <= status < 500:
        assert result.verdict is Verdict.REFUSED
    if result.verdict is Verdict.DELIVERED:
        assert status in (200, 202)
        assert body.strip()
    if not body.strip() and not 400 <= status < 500:
        assert result.verdict is Verdict.RETRY
