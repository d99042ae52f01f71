"""ebXML envelopes: the captures, every rule E1 to E14 by mutation, and what is written."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from captured import Capture
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import ACTOR_NEXT_MSH, ACTOR_SOAP_NEXT, ACTOR_TO_PARTY, EB_NS, SOAP_NS, XLINK_NS
from openscr.errors import EBXML_ERRORS, EbxmlError, UnreadableMessage
from openscr.transport.ebxml import (
    Envelope,
    Reliability,
    Signal,
    check_reliability,
    payload_id_of,
    read_envelope,
    read_signal,
    time_to_live_passed,
    write_acknowledgment,
    write_message_error,
    write_user_message,
)
from openscr.transport.xml import read_xml

ReadCapture = Callable[[str], Capture]
Canonical = Callable[[bytes], bytes]
NAMES = {"SOAP": SOAP_NS, "eb": EB_NS}
E, S = f"{{{EB_NS}}}", f"{{{SOAP_NS}}}"


def part_one(captured: Capture) -> bytes:
    message = captured.multipart()
    return message.root.content(message.body)


@pytest.fixture
def reliable(capture: ReadCapture) -> etree._Element:
    """The envelope of the captured upload, to be changed."""
    return read_xml(part_one(capture("01")))


@pytest.fixture
def express(capture: ReadCapture) -> etree._Element:
    """The envelope of the captured query, to be changed."""
    return read_xml(part_one(capture("07")))


def one(root: etree._Element, path: str) -> etree._Element:
    (found,) = root.findall(path.replace("eb:", E).replace("SOAP:", S))
    return found


def remove(root: etree._Element, path: str) -> None:
    element = one(root, path)
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def repeat(root: etree._Element, path: str) -> None:
    element = one(root, path)
    element.addnext(read_xml(etree.tostring(element, with_tail=False)))


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "pattern", "service", "action"),
    [
        ("01", Reliability.RELIABLE, "psis", "REPC_IN150016UK05"),
        ("03", Reliability.RELIABLE, "psis", "MCCI_IN010000UK13"),
        ("05", Reliability.RELIABLE, "psis", "MCCI_IN010000UK13"),
        ("06", Reliability.RELIABLE, "psis", "MCCI_IN010000UK13"),
        ("07", Reliability.EXPRESS, "psisquery", "QUPC_IN160101UK05"),
        ("09", Reliability.EXPRESS, "psisquery", "QUQI_IN010000UK14"),
        ("19", Reliability.RELIABLE, "psis", "REPC_IN150016SM05"),
        ("23", Reliability.RELIABLE, "psis", "MCCI_IN010000UK13"),
    ],
)
def test_captures_keep_every_rule(
    capture: ReadCapture, number: str, pattern: Reliability, service: str, action: str
) -> None:
    """Each captured user message is read and passes the rules of its pattern, and fails those of the other."""
    message = capture(number).multipart()
    envelope = read_envelope(read_xml(message.root.content(message.body)))
    assert (envelope.short_service, envelope.action) == (service, action)
    assert envelope.service == f"urn:nhs:names:services:{service}"
    assert check_reliability(envelope, pattern) == ()
    (other,) = set(Reliability) - {pattern}
    assert check_reliability(envelope, other) == ("duplicate_elimination", "ack_requested")
    assert envelope.payload_content_id == payload_id_of(envelope.message_id) == message.parts[1].content_id


def test_every_fact_of_the_upload(capture: ReadCapture) -> None:
    """The facts are those that stand in the captured bytes."""
    assert read_envelope(read_xml(part_one(capture("01")))) == Envelope(
        from_party="B99901-900101",
        to_party="YES-0000806",
        cpa_id="S20001A000182",
        conversation_id="3F2504E0-4F89-41D3-9A0C-0305E82C3301",
        service="urn:nhs:names:services:psis",
        action="REPC_IN150016UK05",
        message_id="3F2504E0-4F89-41D3-9A0C-0305E82C3301",
        timestamp="2025-06-05T14:32:00Z",
        header_version="2.0",
        duplicate_eliminations=1,
        ack_requests=1,
        ack_version="2.0",
        ack_signed="false",
        ack_actor=ACTOR_TO_PARTY,
        sync_replies=1,
        sync_version="2.0",
        sync_actor=ACTOR_SOAP_NEXT,
        manifest_versions=("2.0",),
        references=("cid:3F2504E0-4F89-41D3-9A0C-0305E82C3301@spine.nhs.uk",),
    )


def test_prefixes_and_qualified_attributes_are_free(capture: ReadCapture) -> None:
    """Other prefixes, and attributes without a namespace, mean the same."""
    text = part_one(capture("01")).decode()
    plain = read_envelope(read_xml(text.encode()))
    other = text.replace("eb:version", "version").replace("eb:signed", "signed").replace("soap:actor", "actor")
    other = other.replace("xlink:href", "href").replace("soap:", "S:").replace("xmlns:soap", "xmlns:S")
    other = other.replace("<eb:", "<").replace("</eb:", "</").replace("xmlns:eb=", "xmlns=").replace(" eb:", " ")
    assert read_envelope(read_xml(other.encode())) == plain
    assert read_envelope(read_xml(text.replace("\n", "").encode())) == plain


def test_white_space_around_values_is_not_theirs(reliable: etree._Element) -> None:
    """Values stand without surrounding white space; only the conversation is echoed as it came."""
    for name in ("eb:CPAId", "eb:ConversationId", "eb:MessageId"):
        element = one(reliable, f".//{name}")
        element.text = f"\n  {element.text}\n"
    envelope = read_envelope(reliable)
    assert envelope.cpa_id == "S20001A000182"
    assert envelope.message_id == "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
    assert envelope.conversation_id == "\n  3F2504E0-4F89-41D3-9A0C-0305E82C3301\n"


def test_optional_fields_are_read(capture: ReadCapture, reliable: etree._Element) -> None:
    """The reference to a request and the time to live are read where they stand, empty ones are none."""
    assert read_envelope(read_xml(part_one(capture("03")))).ref_to_message_id == "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
    data = one(reliable, ".//eb:MessageData")
    etree.SubElement(data, f"{E}TimeToLive").text = "2025-06-05T15:00:00Z"
    etree.SubElement(data, f"{E}RefToMessageId")
    assert read_envelope(reliable).time_to_live == "2025-06-05T15:00:00Z"
    assert read_envelope(reliable).ref_to_message_id is None


# --- E1 and E2 ------------------------------------------------------------------------------------------------------


def location_of_fault(root: etree._Element) -> str | None:
    with pytest.raises(UnreadableMessage) as caught:
        read_envelope(root)
    return caught.value.location


def test_e1_the_envelope_block(reliable: etree._Element, capture: ReadCapture) -> None:
    """One envelope, one header, one body; the location names the first at fault."""
    assert location_of_fault(read_xml(b"<Envelope/>")) == "/SOAP:Envelope"
    assert location_of_fault(read_xml(b"<a><Envelope xmlns='%b'/></a>" % SOAP_NS.encode())) == "/SOAP:Envelope"
    for name in ("Header", "Body"):
        for change in (remove, repeat):
            root = read_xml(part_one(capture("01")))
            change(root, f"SOAP:{name}")
            assert location_of_fault(root) == f"/SOAP:Envelope/SOAP:{name}"
    remove(reliable, "SOAP:Header")
    remove(reliable, "SOAP:Body")
    assert location_of_fault(reliable) == "/SOAP:Envelope/SOAP:Header"


MANDATORY = [
    "eb:From/eb:PartyId",
    "eb:To/eb:PartyId",
    "eb:CPAId",
    "eb:ConversationId",
    "eb:Service",
    "eb:Action",
    "eb:MessageData",
    "eb:MessageData/eb:MessageId",
    "eb:MessageData/eb:Timestamp",
]


def blank(root: etree._Element, path: str) -> None:
    element = one(root, path)
    for child in element:
        element.remove(child)
    element.text = " \n"


@pytest.mark.parametrize("change", [remove, repeat, blank])
@pytest.mark.parametrize("path", MANDATORY)
def test_e2_the_nine_fields(reliable: etree._Element, path: str, change: Callable[[etree._Element, str], None]) -> None:
    """Each mandatory field stands exactly once and is not empty; the location is its XPath."""
    change(reliable, f"SOAP:Header/eb:MessageHeader/{path}")
    assert location_of_fault(reliable) == f"/SOAP:Envelope/SOAP:Header/eb:MessageHeader/{path}"


def test_e2_the_first_field_is_named(reliable: etree._Element) -> None:
    """Of several fields at fault the first of the list is named; without a message header that is the sender."""
    remove(reliable, ".//eb:Action")
    remove(reliable, ".//eb:CPAId")
    assert location_of_fault(reliable) == "/SOAP:Envelope/SOAP:Header/eb:MessageHeader/eb:CPAId"
    remove(reliable, ".//eb:MessageHeader")
    assert location_of_fault(reliable) == "/SOAP:Envelope/SOAP:Header/eb:MessageHeader/eb:From/eb:PartyId"


def test_e2_one_message_header(reliable: etree._Element) -> None:
    """Two message headers give every field twice."""
    repeat(reliable, ".//eb:MessageHeader")
    assert location_of_fault(reliable) == "/SOAP:Envelope/SOAP:Header/eb:MessageHeader/eb:From/eb:PartyId"


# --- E3 to E14 ------------------------------------------------------------------------------------------------------

HEADER, ACK, SYNC = ".//eb:MessageHeader", ".//eb:AckRequested", ".//eb:SyncReply"
MANIFEST, REFERENCE = ".//eb:Manifest", ".//eb:Manifest/eb:Reference"


def setting(path: str, name: str, value: str | None) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        element = one(root, path)
        if value is None:
            del element.attrib[name]
        else:
            element.set(name, value)

    return change


def removing(path: str) -> Callable[[etree._Element], None]:
    return lambda root: remove(root, path)


def repeating(path: str) -> Callable[[etree._Element], None]:
    return lambda root: repeat(root, path)


def adding(parent: str, name: str, **attributes: str) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        etree.SubElement(one(root, parent), E + name, attributes)

    return change


@pytest.mark.parametrize(
    ("rule", "change", "failed"),
    [
        ("E3", setting(HEADER, f"{E}version", "1.0"), ("header_version",)),
        ("E3 absent", setting(HEADER, f"{E}version", None), ()),
        ("E4", removing(".//eb:DuplicateElimination"), ("duplicate_elimination",)),
        ("E4 twice", repeating(".//eb:DuplicateElimination"), ("duplicate_elimination",)),
        ("E5", removing(ACK), ("ack_requested",)),
        ("E5 twice", repeating(ACK), ("ack_requested",)),
        ("E6", removing(SYNC), ("sync_reply",)),
        ("E6 twice", repeating(SYNC), ("sync_reply",)),
        ("E7", setting(SYNC, f"{E}version", "2"), ("sync_version",)),
        ("E7 absent", setting(SYNC, f"{E}version", None), ("sync_version",)),
        ("E8", setting(SYNC, f"{S}actor", ACTOR_TO_PARTY), ("sync_actor",)),
        ("E8 absent", setting(SYNC, f"{S}actor", None), ("sync_actor",)),
        ("E9", setting(ACK, f"{E}version", "1.0"), ("ack_version",)),
        ("E9 absent", setting(ACK, f"{E}version", None), ("ack_version",)),
        ("E10", setting(ACK, f"{E}signed", "true"), ("ack_signed",)),
        ("E10 absent", setting(ACK, f"{E}signed", None), ("ack_signed",)),
        ("E11", setting(ACK, f"{S}actor", ACTOR_NEXT_MSH), ("ack_actor",)),
        ("E11 absent", setting(ACK, f"{S}actor", None), ("ack_actor",)),
        ("E12", setting(MANIFEST, f"{E}version", "1.0"), ("manifest_version",)),
        ("E12 absent", setting(MANIFEST, f"{E}version", None), ()),
        ("E13", removing(REFERENCE), ("manifest_count",)),
        ("E13 no manifest", removing(MANIFEST), ("manifest_count",)),
        ("E13 two", repeating(REFERENCE), ("manifest_count",)),
        ("E14", setting(REFERENCE, f"{{{XLINK_NS}}}href", "cid:"), ("manifest_href",)),
        ("E14 no colon", setting(REFERENCE, f"{{{XLINK_NS}}}href", "payload"), ("manifest_href",)),
        ("E14 absent", setting(REFERENCE, f"{{{XLINK_NS}}}href", None), ("manifest_href",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_reliable_rules(
    reliable: etree._Element, rule: str, change: Callable[[etree._Element], None], failed: tuple[str, ...]
) -> None:
    """Each rule of the reliable pattern gives its own key and no other."""
    change(reliable)
    assert check_reliability(read_envelope(reliable), Reliability.RELIABLE) == failed, rule


@pytest.mark.parametrize(
    ("change", "failed"),
    [
        (setting(HEADER, f"{E}version", "3.0"), ("header_version",)),
        (adding(HEADER, "DuplicateElimination"), ("duplicate_elimination",)),
        (adding("SOAP:Header", "AckRequested"), ("ack_requested",)),
        (removing(SYNC), ()),
        (setting(SYNC, f"{E}version", "9"), ()),
        (setting(MANIFEST, f"{E}version", "1.0"), ("manifest_version",)),
        (removing(MANIFEST), ("manifest_count",)),
        (setting(REFERENCE, f"{{{XLINK_NS}}}href", "cid:"), ("manifest_href",)),
    ],
)
def test_express_rules(
    express: etree._Element, change: Callable[[etree._Element], None], failed: tuple[str, ...]
) -> None:
    """The express pattern forbids what the reliable one demands, and does not look at SyncReply."""
    change(express)
    assert check_reliability(read_envelope(express), Reliability.EXPRESS) == failed


_facts = st.sampled_from([None, "", "2.0", "1.0", "false", ACTOR_TO_PARTY, ACTOR_SOAP_NEXT])
_counts = st.integers(0, 2)


@given(
    st.builds(
        Envelope,
        **dict.fromkeys(
            ("from_party", "to_party", "cpa_id", "conversation_id", "service", "action", "message_id", "timestamp"),
            st.just("x"),
        ),
        header_version=_facts,
        duplicate_eliminations=_counts,
        ack_requests=_counts,
        ack_version=_facts,
        ack_signed=_facts,
        ack_actor=_facts,
        sync_replies=_counts,
        sync_version=_facts,
        sync_actor=_facts,
        manifest_versions=st.lists(st.sampled_from(["2.0", "1.0"])).map(tuple),
        references=st.lists(st.sampled_from(["cid:x", "cid:", ""])).map(tuple),
    ),
    st.sampled_from(Reliability),
)
def test_failures_come_in_the_order_of_the_catalogue(envelope: Envelope, reliability: Reliability) -> None:
    """Whatever fails is a key of the catalogue, said once, in the order in which it is reported."""
    failed = check_reliability(envelope, reliability)
    assert list(failed) == [key for key in EBXML_ERRORS if key in failed]


def test_a_service_of_another_name_space_stays_whole() -> None:
    """Only the prefix of our services is taken off."""
    envelope = Envelope("f", "t", "c", "v", "urn:other:psis", "a", "m", "s")
    assert envelope.short_service == "urn:other:psis"
    assert envelope.payload_content_id is None


@pytest.mark.parametrize(
    ("limit", "passed"),
    [
        (None, False),
        ("2025-06-05T14:59:59Z", True),
        ("2025-06-05T15:00:00Z", False),
        ("2025-06-05T14:59:59", True),
        ("2025-06-05T15:30:00+01:00", True),
        ("2025-06-05T15:00:00.5Z", False),
        ("20250605145959", True),
        ("20250605150001", False),
        ("soon", False),
        ("20259999999999", False),
    ],
)
def test_time_to_live(limit: str | None, passed: bool) -> None:
    """A time before now has passed; what is no time limits nothing."""
    envelope = Envelope("f", "t", "c", "v", "s", "a", "m", "s", time_to_live=limit)
    now = datetime(2025, 6, 5, 15, tzinfo=UTC)
    assert time_to_live_passed(envelope, now) is passed


@given(st.text(max_size=30))
def test_any_time_to_live_is_survived(limit: str) -> None:
    """No text in the place of a time raises anything."""
    envelope = Envelope("f", "t", "c", "v", "s", "a", "m", "s", time_to_live=limit)
    assert time_to_live_passed(envelope, datetime(2025, 6, 5, tzinfo=UTC) + timedelta()) in (True, False)


# --- writing --------------------------------------------------------------------------------------------------------


def addressing_of(envelope: Envelope) -> dict[str, Any]:
    names = ("from_party", "to_party", "cpa_id", "conversation_id", "message_id", "timestamp")
    return {name: getattr(envelope, name) for name in names}


@pytest.mark.parametrize(
    ("number", "reliability", "spine", "actor"),
    [
        ("01", Reliability.RELIABLE, False, ACTOR_TO_PARTY),
        ("03", Reliability.RELIABLE, True, ACTOR_TO_PARTY),
        ("07", Reliability.EXPRESS, False, ACTOR_TO_PARTY),
        ("09", Reliability.EXPRESS, True, ACTOR_TO_PARTY),
        ("23", Reliability.RELIABLE, True, ACTOR_TO_PARTY),
        ("24", Reliability.RELIABLE, False, ACTOR_NEXT_MSH),
    ],
)
def test_user_messages_are_those_of_the_captures(
    capture: ReadCapture, canonical: Canonical, number: str, reliability: Reliability, spine: bool, actor: str
) -> None:
    """From the same values the writer makes the captured envelope."""
    captured = part_one(capture(number))
    envelope = read_envelope(read_xml(captured))
    written = write_user_message(
        **addressing_of(envelope),
        service=envelope.service,
        action=envelope.action,
        ref_to_message_id=envelope.ref_to_message_id,
        reliability=reliability,
        spine=spine,
        actor=actor,
    )
    assert canonical(written) == canonical(captured)


def test_poll_results_are_two_lines(capture: ReadCapture) -> None:
    """The XML declaration stands on its own line, the envelope on one, with the prefix ``soap``."""
    envelope = read_envelope(read_xml(part_one(capture("23"))))
    written = write_user_message(
        **addressing_of(envelope) | {"conversation_id": "two\nlines"},
        service=envelope.service,
        action=envelope.action,
        ref_to_message_id=envelope.ref_to_message_id,
        reliability=Reliability.RELIABLE,
        spine=True,
    )
    declaration, line = written.decode().split("\n")
    assert declaration == '<?xml version="1.0" encoding="UTF-8"?>'
    assert line.startswith("<soap:Envelope ")
    assert line.endswith("</soap:Envelope>")
    assert read_envelope(read_xml(written)).conversation_id == "two\nlines"


@pytest.mark.parametrize(("number", "actor"), [("02", ACTOR_TO_PARTY), ("04", ACTOR_TO_PARTY), ("26", ACTOR_NEXT_MSH)])
def test_acknowledgments_are_those_of_the_captures(
    capture: ReadCapture, canonical: Canonical, number: str, actor: str
) -> None:
    """From the same values the writer makes the captured acknowledgment, and it is read as one."""
    body = capture(number).body
    envelope = read_envelope(read_xml(body))
    assert envelope.ref_to_message_id is not None
    written = write_acknowledgment(**addressing_of(envelope), ref_to_message_id=envelope.ref_to_message_id, actor=actor)
    assert canonical(written) == canonical(body)
    assert written.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')
    assert read_signal(read_xml(written)) == Signal(
        "Acknowledgment", envelope.ref_to_message_id, envelope.message_id, envelope.from_party
    )


def test_message_errors_are_those_of_the_capture(capture: ReadCapture, canonical: Canonical) -> None:
    """From the same values the writer makes the captured error, and it is read as one."""
    body = capture("18").body
    envelope = read_envelope(read_xml(body))
    assert envelope.ref_to_message_id is not None
    error = EBXML_ERRORS["cpa_unknown"]
    written = write_message_error(
        **addressing_of(envelope), ref_to_message_id=envelope.ref_to_message_id, errors=[error]
    )
    assert canonical(written) == canonical(body)
    assert read_signal(read_xml(written)) == Signal(
        "MessageError", envelope.ref_to_message_id, envelope.message_id, envelope.from_party, (error,)
    )


def test_equal_errors_are_written_once(capture: ReadCapture) -> None:
    """Two checks with the same words make one error; the order of the others stays."""
    values = addressing_of(read_envelope(read_xml(capture("18").body)))
    errors = [EBXML_ERRORS[key] for key in ("from_party", "cpa_unknown", "cpa_coverage")]
    signal = read_signal(read_xml(write_message_error(**values, ref_to_message_id="r", errors=errors)))
    assert signal is not None
    assert signal.errors == tuple(errors[:2])
    assert {(error.context, error.severity) for error in signal.errors} == {
        ("urn:oasis:names:tc:ebxml-msg:service:errors", "Error")
    }
    with pytest.raises(ValueError, match="at least one"):
        write_message_error(**values, ref_to_message_id="r", errors=[])


_texts = st.text(
    alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=1, max_size=20
).filter(lambda text: text.strip(" \t\r\n") == text)


@given(
    st.fixed_dictionaries(
        dict.fromkeys(Envelope.__dataclass_fields__.keys() & addressing_of(Envelope(*"abcdefgh")), _texts)
    ),
    _texts,
    _texts,
)
def test_what_is_written_is_read_back(values: dict[str, Any], action: str, reference: str) -> None:
    """Whatever characters the values hold, they come back, and the rules of the pattern hold."""
    for reliability in Reliability:
        written = write_user_message(
            **values, service="s&<", action=action, ref_to_message_id=reference, reliability=reliability, spine=True
        )
        envelope = read_envelope(read_xml(written))
        assert addressing_of(envelope) == values
        assert (envelope.service, envelope.action, envelope.ref_to_message_id) == ("s&<", action, reference)
        assert envelope.payload_content_id == payload_id_of(envelope.message_id)
        assert check_reliability(envelope, reliability) == ()
    signal = read_signal(read_xml(write_acknowledgment(**values, ref_to_message_id=reference, actor=action)))
    assert signal == Signal("Acknowledgment", reference, values["message_id"], values["from_party"])


# --- signals --------------------------------------------------------------------------------------------------------


def test_other_messages_are_no_signals(capture: ReadCapture) -> None:
    """User messages, faults and other documents acknowledge nothing."""
    assert read_signal(read_xml(part_one(capture("03")))) is None
    assert read_signal(read_xml(capture("14").body)) is None
    assert read_signal(read_xml(b"<a/>")) is None
    assert read_signal(read_xml(b"<Envelope xmlns='%b'/>" % SOAP_NS.encode())) is None


@pytest.mark.parametrize("name", ["MessageHeader", "Acknowledgment"])
@pytest.mark.parametrize("change", [remove, repeat])
def test_malformed_acknowledgments_acknowledge_nothing(
    capture: ReadCapture, name: str, change: Callable[[etree._Element, str], None]
) -> None:
    """One message header and one acknowledgment make the signal."""
    root = read_xml(capture("02").body)
    change(root, f"SOAP:Header/eb:{name}")
    assert read_signal(root) is None


def test_an_error_beside_an_acknowledgment_refuses(capture: ReadCapture) -> None:
    """An error list with an error wins over the acknowledgment; one with warnings only does not."""
    root = read_xml(capture("02").body)
    errors = etree.SubElement(one(root, "SOAP:Header"), f"{E}ErrorList")
    error = etree.SubElement(errors, f"{E}Error", {f"{E}errorCode": "Unknown", f"{E}severity": "Warning"})
    signal = read_signal(root)
    assert signal is not None
    assert (signal.kind, signal.errors) == ("Acknowledgment", (EbxmlError("Unknown", ""),))
    error.set(f"{E}severity", "Error")
    signal = read_signal(root)
    assert signal is not None
    assert signal.kind == "MessageError"


def test_the_reference_of_an_acknowledgment_may_stand_in_either_place(capture: ReadCapture) -> None:
    """Without its own reference an acknowledgment means the one of the message header."""
    root = read_xml(capture("02").body)
    remove(root, ".//eb:Acknowledgment/eb:RefToMessageId")
    signal = read_signal(root)
    assert signal is not None
    assert signal.ref_to_message_id == "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
