"""HTTP, MIME and ebXML around a message: recognised in every form, judged, and places counted in the whole input.

Spec: 40 §4.1, §5.1, §5.2, §5.6.
"""

import base64

import pytest

from openscr.transport.mime import CLIENT_CONTENT_TYPE, write_multipart
from openscr.validation import Severity, validate

from .judging import errors, example, only, rules

UPLOAD = example("transport", "01-")
QUERY = example("transport", "07-")
FORWARDED = example("transport", "24-")
ACKNOWLEDGED = example("transport", "02-")
BODY = UPLOAD.partition(b"\r\n\r\n")[2]
EBXML = BODY.partition(b"\r\n\r\n")[2].partition(b"\r\n----=_MIME-Boundary")[0]
PAYLOAD = BODY.rpartition(b"\r\n\r\n")[2].partition(b"\r\n----=_MIME-Boundary")[0]


STATUS = b'<statusCode code="active"/>'


def line_of(data: bytes, text: bytes) -> int:
    """The line in which a text stands that is there once."""
    assert data.count(text) == 1
    return data[: data.index(text)].count(b"\n") + 1


def resized(capture: bytes) -> bytes:
    """Give a changed capture the Content-Length of its body."""
    head, _, body = capture.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


def without_status(data: bytes) -> bytes:
    """Take the status of the summary out, which breaks gp-G4."""
    assert data.count(STATUS) == 2  # the first is the summary's own
    return data.replace(STATUS, b"", 1)


HEADERS = b"Content-Type: " + CLIENT_CONTENT_TYPE.encode() + b"\r\nMIME-Version: 1.0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        UPLOAD,
        UPLOAD.replace(b"Content-Length: 8367\r\n", b"").replace(b"\r\n", b"\n"),
        HEADERS + BODY,
        BODY,
        b"\r\n" + BODY,
        BODY.replace(b"\r\n", b"\n"),
        BODY.removesuffix(b"--\r\n"),
        BODY.replace(b"Content-Id", b"CONTENT-ID"),
        PAYLOAD,
        b"\xef\xbb\xbf" + PAYLOAD,
    ],
    ids=[
        "HTTP",
        "HTTP with bare LF",
        "headers alone",
        "body alone",
        "body after an empty line",
        "body with bare LF",
        "body without close delimiter",
        "upper-case headers",
        "payload",
        "payload with byte order mark",
    ],
)
def test_every_packaging_is_seen_through(data: bytes) -> None:
    """The interaction is found, and a fault in it is told with its line in the input as it came."""
    report = validate(data)
    assert report.ok, report.diagnoses
    assert report.interaction == "REPC_IN150016UK05"
    faulty = without_status(data)
    if faulty.startswith(b"POST"):
        faulty = resized(faulty) if b"Content-Length" in faulty else faulty
    (finding,) = errors(validate(faulty))
    assert finding.rule == "gp-G4"
    assert finding.line == line_of(faulty, b"<GPSummary")
    assert finding.xpath == "/REPC_IN150016UK05/ControlActEvent/subject/GPSummary"


def test_base64_is_decoded_and_placed_where_its_part_begins() -> None:
    coded = base64.encodebytes(without_status(PAYLOAD)).replace(b"\n", b"\r\n")
    at = BODY.index(PAYLOAD)
    head = BODY[:at].rpartition(b"Content-Transfer-Encoding: 8bit")
    data = head[0] + b"Content-Transfer-Encoding: base64" + head[2] + coded + b"\r\n----=_MIME-Boundary--\r\n"
    (finding,) = errors(validate(data))
    assert finding.rule == "gp-G4"
    assert finding.line == data[: data.index(coded)].count(b"\n") + 1


def test_the_envelope_part_alone_is_judged_as_such() -> None:
    report = validate(EBXML)
    assert (report.interaction, report.ok, report.kind) == ("REPC_IN150016UK05", True, "ebXML envelope alone")


def ebxml(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    return old, new


ACK = b"<eb:AckRequested"
SYNC = b"<eb:SyncReply"
TO_PARTY = b'soap:actor="urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH"'
NEXT = b'soap:actor="http://schemas.xmlsoap.org/soap/actor/next"'
MESSAGE_HEADER = "/SOAP:Envelope/SOAP:Header/eb:MessageHeader"


@pytest.mark.parametrize(
    ("old", "new", "rule", "code", "xpath"),
    [
        (b"<soap:Header>", b"<soap:Header/><soap:Header>", "ebxml-E1", "201", "/SOAP:Envelope/SOAP:Header[2]"),
        (b"<eb:CPAId>S20001A000182</eb:CPAId>", b"", "ebxml-E2", "201", MESSAGE_HEADER),
        (b"<eb:CPAId>S20001A000182", b"<eb:CPAId> ", "ebxml-E2", "201", f"{MESSAGE_HEADER}/eb:CPAId"),
        (b'MessageHeader eb:version="2.0"', b'MessageHeader eb:version="1.0"', "ebxml-E3", "", MESSAGE_HEADER),
        (b"<eb:DuplicateElimination/>", b"", "ebxml-E4", "Inconsistent", MESSAGE_HEADER),
        (ACK, b"<eb:AckUnasked", "ebxml-E5", "Inconsistent", "/SOAP:Envelope/SOAP:Header"),
        (SYNC, b"<eb:NoReply", "ebxml-E6", "Inconsistent", "/SOAP:Envelope/SOAP:Header"),
        (SYNC + b' eb:version="2.0"', SYNC, "ebxml-E7", "", "/SOAP:Envelope/SOAP:Header/eb:SyncReply"),
        (NEXT, b'soap:actor="next"', "ebxml-E8", "", "/SOAP:Envelope/SOAP:Header/eb:SyncReply"),
        (ACK + b' eb:version="2.0"', ACK, "ebxml-E9", "", "/SOAP:Envelope/SOAP:Header/eb:AckRequested"),
        (b'eb:signed="false"', b'eb:signed="true"', "ebxml-E10", "NotSupported", None),
        (TO_PARTY, b'soap:actor="x"', "ebxml-E11", "ValueNotRecognized", None),
        (b'<eb:Manifest eb:version="2.0"', b'<eb:Manifest eb:version="1"', "ebxml-E12", "MimeProblem", None),
        (b"</eb:Manifest>", b'<eb:Reference xlink:href="cid:x"/></eb:Manifest>', "ebxml-E13", "MimeProblem", None),
        (b'xlink:href="cid:', b'xlink:href="cid-', "ebxml-E14", "MimeProblem", None),
        (b'xlink:href="cid:', b'xlink:href="cid:other-', "ebxml-E14", "MimeProblem", None),
        (
            b'SOAPAction: "urn:nhs:names:services:psis/REPC_IN150016UK05"',
            b"SOAPAction: urn:nhs:names:services:psis/REPC_IN150015UK05",
            "ebxml-action",
            "Inconsistent",
            f"{MESSAGE_HEADER}/eb:Action",
        ),
    ],
)
def test_ebxml_rules(old: bytes, new: bytes, rule: str, code: str, xpath: str | None) -> None:
    """E1-E14, one at a time, with the code that the answer carries, in the line of the capture."""
    assert old in UPLOAD
    data = resized(UPLOAD.replace(old, new, 1))
    (finding,) = errors(validate(data))
    assert finding.rule == rule
    assert code in {finding.code, ""}
    assert xpath in {finding.xpath, None}
    assert data[finding.offset : finding.offset + 1] == b"<"
    assert data[: finding.offset].count(b"\n") + 1 == finding.line
    if rule != "ebxml-action":
        assert finding.key.startswith("ErrorBaseTms.")


def test_every_missing_field_is_told() -> None:
    """The service stops at the first field of E2; who mends a message wants to know all of them."""
    data = resized(UPLOAD.replace(b"<eb:CPAId>S20001A000182</eb:CPAId>", b"").replace(b"<eb:Action>", b"<eb:Ac>", 1))
    data = resized(data.replace(b"</eb:Action>", b"</eb:Ac>", 1))
    assert rules(validate(data)) == ["ebxml-E2", "ebxml-E2"]


def test_express_messages_ask_for_no_acknowledgement() -> None:
    block = b'<eb:AckRequested eb:version="2.0" soap:mustUnderstand="1" ' + TO_PARTY + b' eb:signed="false"/>'
    data = resized(
        QUERY.replace(b"</soap:Header>", block + b"</soap:Header>").replace(
            b"</eb:MessageHeader>", b"<eb:DuplicateElimination/></eb:MessageHeader>"
        )
    )
    assert sorted(rules(validate(data))) == ["ebxml-E4", "ebxml-E5"]


def test_forwarded_messages_have_no_synchronous_reply() -> None:
    block = b'<eb:SyncReply eb:version="2.0" soap:mustUnderstand="1" ' + NEXT + b"/>"
    data = resized(FORWARDED.replace(b"</soap:Header>", block + b"</soap:Header>"))
    assert rules(validate(data)) == ["ebxml-E6"]


def test_a_signal_that_acknowledges_nothing() -> None:
    data = resized(ACKNOWLEDGED.replace(b"eb:Acknowledgment", b"eb:Acknowledgement"))
    assert rules(validate(data)) == ["ebxml-ack"]
    one_too_many = resized(ACKNOWLEDGED.replace(b"</soap:Header>", b"<eb:SyncReply/></soap:Header>"))
    assert rules(validate(one_too_many)) == ["ebxml-E6"]


def test_action_and_payload_must_agree() -> None:
    """Behind ebXML the payload is judged as what the envelope announces. Spec: 10 §11.5."""
    data = resized(
        UPLOAD.replace(b"REPC_IN150016UK05</eb:Action>", b"REPC_IN150018UK02</eb:Action>").replace(
            b"psis/REPC_IN150016UK05", b"psis/REPC_IN150018UK02"
        )
    )
    assert rules(validate(data)) == ["wd-515"]


def test_faults_of_all_layers_are_told_in_the_order_of_their_places() -> None:
    data = resized(without_status(UPLOAD.replace(b"<eb:DuplicateElimination/>", b"").replace(b"SOAPAction", b"Action")))
    found = errors(validate(data))
    assert [finding.rule for finding in found] == ["http", "ebxml-E4", "gp-G4"]
    assert [finding.code for finding in found] == ["101", "Inconsistent", "400"]
    assert [finding.line for finding in found] == sorted(finding.line for finding in found)


@pytest.mark.parametrize(
    ("data", "severity"),
    [
        (UPLOAD[:-40], Severity.ERROR),
        (UPLOAD + b"\n", Severity.WARNING),
        (UPLOAD.replace(b"\r\n", b"\n"), Severity.WARNING),
    ],
    ids=["cut off", "a line end more", "line ends converted"],
)
def test_content_length(data: bytes, severity: Severity) -> None:
    """A body that was cut off is refused; one that a program gave other line ends is only told of."""
    found = [finding for finding in validate(data).diagnoses if finding.rule == "http"]
    assert [finding.severity for finding in found] == [severity]
    assert found[0].line == line_of(data, b"Content-Length")


@pytest.mark.parametrize(
    "data",
    [
        HEADERS.replace(b'boundary="--=_MIME-Boundary"; ', b"") + BODY,
        HEADERS.replace(b"multipart/related", b"multipart/mixed") + BODY,
        HEADERS + b"----=_MIME-Boundary\r\nno header line\r\n\r\n<a/>\r\n----=_MIME-Boundary--\r\n",
        HEADERS + write_multipart([("a", "text/xml", EBXML)]),
        HEADERS + BODY.replace(b"8bit", b"quoted-printable", 1),
    ],
    ids=["no boundary", "mixed", "broken part", "one part", "strange encoding"],
)
def test_mime_that_cannot_be_split(data: bytes) -> None:
    finding = only(data)
    assert (finding.rule, finding.code) == ("mime", "201")
    assert finding.text


def test_a_request_without_body_and_an_answer_without() -> None:
    head = UPLOAD.partition(b"\r\n\r\n")[0].replace(b"Content-Length: 8367", b"Content-Length: 0") + b"\r\n\r\n"
    assert rules(validate(head)) == ["message"]
    assert validate(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n").ok


def test_soap_action_of_another_interaction() -> None:
    data = example("transport", "11-")
    assert validate(data).ok
    other = data.replace(b"psisquery/QUPC_IN180000UK04", b"psisquery/QUPC_IN190000UK04", 1)
    assert rules(validate(other)) == ["http"]


def test_a_document_alone_is_judged_and_cannot_travel() -> None:
    """`openscr upload` wraps such a file; until then there is a warning, and the rules of the document hold."""
    at, end = PAYLOAD.index(b"<GPSummary"), PAYLOAD.index(b"</GPSummary>") + len(b"</GPSummary>")
    document = PAYLOAD[at:end].replace(b"<GPSummary", b'<GPSummary xmlns="urn:hl7-org:v3"', 1)
    report = validate(document)
    assert report.ok
    assert report.interaction is None
    assert [finding.rule for finding in report.diagnoses] == ["message"]
    (finding,) = errors(validate(without_status(document)))
    assert (finding.rule, finding.xpath, finding.line) == ("gp-G4", "/GPSummary", 1)
    withdrawal = example("gp-summary", "04")
    at, end = withdrawal.index(b"<MessageW"), withdrawal.index(b"</MessageWithdrawal>") + len(b"</MessageWithdrawal>")
    alone = withdrawal[at:end].replace(b"<MessageWithdrawal", b'<MessageWithdrawal xmlns="urn:hl7-org:v3"', 1)
    assert validate(alone).ok
    assert rules(validate(alone.replace(b"<effectiveTime", b"<time"))) == ["wd-W5"]
