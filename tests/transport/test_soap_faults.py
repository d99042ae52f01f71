"""SOAPAction and faults."""

from collections.abc import Callable

import pytest
from captured import Capture
from hypothesis import given
from hypothesis import strategies as st

from openscr.codes import SOAP_NS
from openscr.errors import FAULTS
from openscr.transport.soap import Fault, FaultError, parse_soap_action, read_fault, write_fault
from openscr.transport.xml import read_xml


@pytest.mark.parametrize(
    ("header", "meant"),
    [
        ("urn:nhs:names:services:psis/REPC_IN150016UK05", ("psis", "REPC_IN150016UK05")),
        ('"urn:nhs:names:services:psis/REPC_IN150016UK05"', ("psis", "REPC_IN150016UK05")),
        (' "urn:nhs:names:services:lrs/X" ', ("lrs", "X")),
        (None, None),
        ("", None),
        ('""', None),
        ('"urn:nhs:names:services:psis/X', None),
        ('urn:nhs:names:services:psis/X"', None),
        ('""urn:nhs:names:services:psis/X""', None),
        ("urn:nhs:names:services:psis:X", None),
        ("urn:nhs:names:services:psis/", None),
        ("urn:nhs:names:services:/X", None),
        ("urn:nhs:names:services:psis/X/Y", None),
        ("urn:nhs:names:services:psis/X Y", None),
        ("urn:oasis:names:tc:ebxml-msg:service/Acknowledgment", None),
        ("urn:urn:oasis:names:tc:ebxml-msg:service/Acknowledgment", None),
    ],
)
def test_soap_actions(header: str | None, meant: tuple[str, str] | None) -> None:
    """Service and interaction with or without one pair of quotes; everything else means nothing."""
    assert parse_soap_action(header) == meant


@pytest.mark.parametrize("number", ["01", "03", "07", "09", "11", "19", "24"])
def test_captured_soap_actions(capture: Callable[[str], Capture], number: str) -> None:
    """Each captured request names its interaction."""
    assert parse_soap_action(capture(number).headers["soapaction"]) is not None


@pytest.mark.parametrize(
    ("number", "code", "location"),
    [
        ("14", "101", None),
        ("15", "201", "/SOAP:Envelope/SOAP:Header/wsa:MessageID"),
        ("16", "200", None),
        ("17", "300", None),
    ],
)
def test_faults_are_those_of_the_captures(
    capture: Callable[[str], Capture],
    canonical: Callable[[bytes], bytes],
    number: str,
    code: str,
    location: str | None,
) -> None:
    """The writer makes the captured fault, and it is read back."""
    body = capture(number).body
    written = write_fault([(code, location)])
    assert canonical(written) == canonical(body)
    assert written.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    row = FAULTS[code]
    for data in (body, written):
        fault = read_fault(read_xml(data))
        assert fault == Fault(row.faultcode, row.faultstring, (code,), (row.description,))
        assert fault.retriable is (number == "16")


@pytest.mark.parametrize("code", FAULTS)
def test_every_code_is_written_from_the_catalogue(code: str) -> None:
    """Each error has all five children, none empty."""
    root = read_xml(write_fault([(code, None)]))
    (error,) = root.iter("{*}error")
    assert [child.tag.rpartition("}")[2] for child in error] == [
        "codeContext",
        "errorCode",
        "severity",
        "location",
        "description",
    ]
    assert [child.text for child in error] == [
        "urn:nhs:names:error:tms",
        code,
        "Error",
        FAULTS[code].location,
        FAULTS[code].description,
    ]


def test_one_error_per_failed_rule() -> None:
    """Several errors keep their order and locations; the first gives the fault its code."""
    written = write_fault([("201", "/a"), ("201", None), ("200", "/b & c")], description="The message exceeds")
    fault = read_fault(read_xml(written))
    assert fault == Fault("SOAP:Client", "Application Exception", ("201", "201", "200"), ("The message exceeds",) * 3)
    locations = [found.text for found in read_xml(written).iter("{*}location")]
    assert locations == ["/a", "Not Supported", "/b & c"]
    with pytest.raises(ValueError, match="at least one"):
        write_fault([])


@given(st.lists(st.sampled_from(sorted(FAULTS)), min_size=1))
def test_a_fault_is_retriable_when_all_of_its_codes_are(codes: list[str]) -> None:
    """One code that is not retriable spoils the fault."""
    fault = read_fault(read_xml(write_fault([(code, None) for code in codes])))
    assert fault is not None
    assert fault.codes == tuple(codes)
    assert fault.retriable is (set(codes) <= {"200", "206", "208"})


def test_incomplete_faults_are_tolerated() -> None:
    """A fault without detail has no codes and is not retriable; odd qualification does not matter."""
    bare = read_fault(read_xml(b"<s:Envelope xmlns:s='%b'><s:Body><s:Fault/></s:Body></s:Envelope>" % SOAP_NS.encode()))
    assert bare == Fault("", "")
    assert not bare.retriable
    odd = (
        f'<s:Envelope xmlns:s="{SOAP_NS}"><s:Body><s:Fault><s:faultcode> soap:Server </s:faultcode><detail><errorList>'
        "<error><errorCode>208</errorCode></error><error><errorCode/></error><error/></errorList></detail></s:Fault>"
        "</s:Body></s:Envelope>"
    )
    fault = read_fault(read_xml(odd.encode()))
    assert fault == Fault("soap:Server", "", ("208",))
    assert fault.retriable
    assert [error.code for error in fault.errors] == ["208", "", ""]


def test_each_error_of_a_fault_is_there_as_a_whole() -> None:
    """All five of its values. Spec: 40 §4.4, 50 §1.5."""
    fault = read_fault(read_xml(write_fault([("201", "/SOAP:Envelope"), ("206", None)])))
    assert fault is not None
    assert fault.errors == (
        FaultError("urn:nhs:names:error:tms", "201", "Error", "/SOAP:Envelope", "The message is not well formed"),
        FaultError("urn:nhs:names:error:tms", "206", "Error", "Not Supported", "Routing/Delivery failure"),
    )


def test_other_documents_are_no_faults(capture: Callable[[str], Capture]) -> None:
    """An answer, a signal and foreign XML are no faults."""
    assert read_fault(read_xml(capture("12").body)) is None
    assert read_fault(read_xml(capture("02").body)) is None
    assert read_fault(read_xml(b"<Fault/>")) is None
