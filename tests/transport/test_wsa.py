"""Synchronous envelopes: the captures, every header rule by mutation, and what is written."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from captured import Capture
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import ACS_GET, ACS_SET, CRS_NS, EVENT_LIST, HL7_NS, OID_ASID, PSIS_NS, SOAP_NS, WSA_NS
from openscr.errors import UnreadableMessage
from openscr.transport.wsa import SoapAnswer, read_answer, read_request, write_request, write_response
from openscr.transport.xml import element_span, inherited_declarations, read_xml

ReadCapture = Callable[[str], Capture]
S, W, H = f"{{{SOAP_NS}}}", f"{{{WSA_NS}}}", f"{{{HL7_NS}}}"
HEADER = "/SOAP:Envelope/SOAP:Header"
RECEIVER = f"{HEADER}/hl7:communicationFunctionRcv/hl7:device/hl7:id"
SENDER = f"{HEADER}/hl7:communicationFunctionSnd/hl7:device/hl7:id"


@pytest.fixture
def request_root(capture: ReadCapture) -> etree._Element:
    """The captured query, to be changed."""
    return read_xml(capture("11").body)


def one(root: etree._Element, path: str) -> etree._Element:
    (found,) = root.findall(path)
    return found


def remove(root: etree._Element, path: str) -> None:
    element = one(root, path)
    parent = element.getparent()
    assert parent is not None
    parent.remove(element)


def repeat(root: etree._Element, path: str) -> None:
    element = one(root, path)
    element.addnext(read_xml(etree.tostring(element, with_tail=False)))


# --- requests -------------------------------------------------------------------------------------------------------


def test_the_captured_request(request_root: etree._Element) -> None:
    """All header values and the interaction are read, and no rule fails."""
    request = read_request(request_root, EVENT_LIST)
    assert request.message_id == "uuid:C1D2E3F4-0516-4728-8394-A5B6C7D87708"
    assert request.action == "urn:nhs:names:services:psisquery/QUPC_IN180000UK04"
    assert request.to == "https://msg.spine.test.example/sync-service"
    assert request.from_address == "mhs.b99901.test.example"
    assert (request.receiver_asid, request.sender_asid) == ("900000000001", "900000000101")
    assert request.body is not None
    assert request.body.tag == f"{H}QUPC_IN180000UK04"
    assert request.faults == ()


@pytest.mark.parametrize("path", [f"{S}Header/{W}From", f"{S}Header/{W}ReplyTo"])
def test_addresses_of_the_client_are_optional(request_root: etree._Element, path: str) -> None:
    """Neither the sender's address nor that of replies is checked."""
    remove(request_root, path)
    assert read_request(request_root, EVENT_LIST).faults == ()


def test_a_missing_or_empty_sender_address_is_empty(request_root: etree._Element) -> None:
    """Clients leave the address empty or away."""
    one(request_root, f"{S}Header/{W}From/{W}Address").text = None
    assert read_request(request_root, EVENT_LIST).from_address == ""
    remove(request_root, f"{S}Header/{W}From")
    assert read_request(request_root, EVENT_LIST).from_address == ""


def test_attributes_of_the_header_devices_are_optional(request_root: etree._Element) -> None:
    """Only root and extension of the device ids count."""
    for path in (f"{S}Header/{H}communicationFunctionRcv", f"{S}Header/{H}communicationFunctionSnd"):
        one(request_root, path).attrib.clear()
        one(request_root, f"{path}/{H}device").attrib.clear()
    assert read_request(request_root, EVENT_LIST).faults == ()


def texting(path: str, text: str | None) -> Callable[[etree._Element], None]:
    def change(root: etree._Element) -> None:
        one(root, f"{S}Header/{path}").text = text

    return change


def setting(path: str, name: str, value: str) -> Callable[[etree._Element], None]:
    return lambda root: one(root, f"{S}Header/{path}").set(name, value)


def removing(path: str) -> Callable[[etree._Element], None]:
    return lambda root: remove(root, path)


def repeating(path: str) -> Callable[[etree._Element], None]:
    return lambda root: repeat(root, path)


UUID = "C1D2E3F4-0516-4728-8394-A5B6C7D87708"
DEVICE = f"{H}device/{H}id"


@pytest.mark.parametrize(
    ("rule", "change", "faults"),
    [
        (
            "2",
            repeating(f"{S}Header"),
            (HEADER, *(f"{HEADER}/wsa:{n}" for n in ("MessageID", "Action", "To")), RECEIVER, SENDER),
        ),
        (
            "2 none",
            removing(f"{S}Header"),
            (HEADER, *(f"{HEADER}/wsa:{n}" for n in ("MessageID", "Action", "To")), RECEIVER, SENDER),
        ),
        ("3", repeating(f"{S}Body"), ("/SOAP:Envelope/SOAP:Body",)),
        ("3 none", removing(f"{S}Body"), ("/SOAP:Envelope/SOAP:Body",)),
        ("3 two interactions", repeating(f"{S}Body/{H}QUPC_IN180000UK04"), ("/SOAP:Envelope/SOAP:Body",)),
        ("3 no interaction", removing(f"{S}Body/{H}QUPC_IN180000UK04"), ("/SOAP:Envelope/SOAP:Body",)),
        ("4", texting(f"{W}MessageID", UUID), (f"{HEADER}/wsa:MessageID",)),
        ("4 urn", texting(f"{W}MessageID", f"urn:uuid:{UUID}"), (f"{HEADER}/wsa:MessageID",)),
        ("4 empty", texting(f"{W}MessageID", None), (f"{HEADER}/wsa:MessageID",)),
        ("4 none", removing(f"{S}Header/{W}MessageID"), (f"{HEADER}/wsa:MessageID",)),
        ("4 two", repeating(f"{S}Header/{W}MessageID"), (f"{HEADER}/wsa:MessageID",)),
        ("5 empty", texting(f"{W}Action", None), (f"{HEADER}/wsa:Action",)),
        ("5 short", texting(f"{W}Action", "x"), (f"{HEADER}/wsa:Action",)),
        ("5 none", removing(f"{S}Header/{W}Action"), (f"{HEADER}/wsa:Action",)),
        ("5 two", repeating(f"{S}Header/{W}Action"), (f"{HEADER}/wsa:Action",)),
        ("6", texting(f"{W}To", None), (f"{HEADER}/wsa:To",)),
        ("6 none", removing(f"{S}Header/{W}To"), (f"{HEADER}/wsa:To",)),
        ("7", setting(f"{H}communicationFunctionRcv/{DEVICE}", "extension", ""), (RECEIVER,)),
        ("7 root", setting(f"{H}communicationFunctionRcv/{DEVICE}", "root", "1.2"), (RECEIVER,)),
        ("7 none", removing(f"{S}Header/{H}communicationFunctionRcv"), (RECEIVER,)),
        ("7 two", repeating(f"{S}Header/{H}communicationFunctionRcv"), (RECEIVER,)),
        ("8", setting(f"{H}communicationFunctionSnd/{DEVICE}", "extension", ""), (SENDER,)),
        ("8 none", removing(f"{S}Header/{H}communicationFunctionSnd/{H}device"), (SENDER,)),
        ("8 two", repeating(f"{S}Header/{H}communicationFunctionSnd/{DEVICE}"), (SENDER,)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_header_rules(
    request_root: etree._Element, rule: str, change: Callable[[etree._Element], None], faults: tuple[str, ...]
) -> None:
    """Each rule names the XPath of its element; all that fail are reported, in the order of the rules."""
    change(request_root)
    request = read_request(request_root, EVENT_LIST)
    assert request.faults == faults, rule
    assert (request.body is None) == rule.startswith("3")


def test_rule_1_the_envelope() -> None:
    """A document that is no envelope fails every rule, the envelope's first."""
    request = read_request(read_xml(b"<Envelope><Header/><Body/></Envelope>"), EVENT_LIST)
    assert request.faults[0] == "/SOAP:Envelope"
    assert len(request.faults) == 8
    assert request.body is None


def test_several_failures_are_reported_together(request_root: etree._Element) -> None:
    """One fault each, in the order of the rules."""
    remove(request_root, f"{S}Header/{H}communicationFunctionSnd")
    remove(request_root, f"{S}Header/{W}To")
    assert read_request(request_root, EVENT_LIST).faults == (f"{HEADER}/wsa:To", SENDER)


@pytest.mark.parametrize("interaction", [ACS_SET, ACS_GET])
def test_rule_5_of_consent_messages(request_root: etree._Element, interaction: str) -> None:
    """Consent messages need exactly one action, which may be empty."""
    one(request_root, f"{S}Header/{W}Action").text = None
    assert read_request(request_root, interaction).faults == ()
    repeat(request_root, f"{S}Header/{W}Action")
    assert read_request(request_root, interaction).faults == (f"{HEADER}/wsa:Action",)


# --- writing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", ["12", "13"])
def test_answers_are_those_of_the_captures(
    capture: ReadCapture, canonical: Callable[[bytes], bytes], number: str
) -> None:
    """Around the captured wrapper the writer makes the captured answer."""
    body = capture(number).body
    root = read_xml(body)
    wrapper = one(root, f"{S}Body/*")
    offset, length, name_length = element_span(body, wrapper)
    assert name_length == len("<eventListQueryResponse")
    answer = read_answer(root, frozenset({"QUPC_IN200000UK04", "QUQI_IN010000UK14"}))
    written = write_response(
        message_id=answer.message_id.removeprefix("uuid:"),
        action=answer.action,
        to="mhs.b99901.test.example",
        from_address="https://msg.spine.test.example/sync-service",
        receiver_asid="900000000101",
        sender_asid="900000000001",
        relates_to=answer.relates_to,
        body=body[offset : offset + length],
    )
    assert canonical(written) == canonical(body)
    assert written.startswith(b'<?xml version="1.0" encoding="UTF-8"?>\n')


def test_bodies_may_use_the_prefixes_of_the_answer() -> None:
    """Without declarations of their own, bodies are HL7 by default and know ``psis`` and ``crs``."""
    written = write_response(
        message_id=UUID,
        action="a",
        to="",
        from_address="f",
        receiver_asid="r",
        sender_asid="s",
        relates_to="uuid:x",
        body=b"<w><psis:p/><crs:c/></w>",
    )
    root = read_xml(written)
    wrapper = one(root, f"{S}Body/*")
    assert [found.tag for found in wrapper.iter()] == [f"{H}w", f"{{{PSIS_NS}}}p", f"{{{CRS_NS}}}c"]
    assert one(root, f"{S}Header/{W}To").text is None


def test_requests_are_read_back(capture: ReadCapture) -> None:
    """What the client writes around the captured interaction is the captured request."""
    body = capture("11").body
    request = read_request(read_xml(body), EVENT_LIST)
    assert request.body is not None
    offset, length, name_length = element_span(body, request.body)
    piece = body[offset : offset + length]
    written = write_request(
        message_id=request.message_id.removeprefix("uuid:"),
        action=request.action,
        to=request.to,
        from_address=request.from_address,
        receiver_asid=request.receiver_asid,
        sender_asid=request.sender_asid,
        body=piece[:name_length] + inherited_declarations(request.body) + piece[name_length:],
    )
    again = read_request(read_xml(written), EVENT_LIST)
    assert again.faults == ()
    assert again.body is not None
    assert etree.tostring(again.body, method="c14n", exclusive=True) == etree.tostring(
        request.body, method="c14n", exclusive=True
    )
    header = [
        [
            (found.tag, dict(found.attrib), (found.text or "").strip())
            for found in one(read_xml(data), f"{S}Header").iter("*")
        ]
        for data in (body, written)
    ]
    assert header[0] == header[1]


def test_a_prefixed_request_says_the_same(capture: ReadCapture) -> None:
    """Its body stands under no declaration of ours. Spec: 50 §2.6, C5."""
    values = {"message_id": UUID, "action": "a/b", "to": "t", "from_address": "", "receiver_asid": "1"}
    plain, prefixed = (
        write_request(**values, sender_asid="2", body=b"<X/>", prefixed=prefixed) for prefixed in (False, True)
    )
    ours, theirs = (read_request(read_xml(data), "X") for data in (plain, prefixed))
    assert theirs.faults == ()
    assert ours.body is not None
    assert theirs.body is not None
    assert (ours.body.tag, theirs.body.tag) == (f"{H}X", "X")
    assert replace(ours, body=None) == replace(theirs, body=None)
    assert b"<hl7:communicationFunctionRcv " in prefixed


_texts = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), min_size=2)


@given(_texts, _texts, _texts, _texts, _texts)
def test_any_header_value_survives(action: str, to: str, address: str, receiver: str, sender: str) -> None:
    """Whatever characters the values hold, they come back."""
    written = write_request(
        message_id=UUID,
        action=action,
        to=to,
        from_address=address,
        receiver_asid=receiver,
        sender_asid=sender,
        body=b"<X/>",
    )
    request = read_request(read_xml(written), EVENT_LIST)
    assert request.faults == ()
    assert (request.action, request.to, request.from_address) == (action, to, address)
    assert (request.receiver_asid, request.sender_asid) == (receiver, sender)
    assert one(read_xml(written), f"{S}Header/{H}communicationFunctionRcv/{DEVICE}").get("root") == OID_ASID


# --- answers --------------------------------------------------------------------------------------------------------


def test_the_wrapper_does_not_matter(capture: ReadCapture) -> None:
    """The interaction is found under any wrapper, or under none."""
    body = capture("13").body
    expected = frozenset({"QUPC_IN200000UK04", "QUQI_IN010000UK14"})
    for data in (
        body,
        body.replace(b"eventListQueryResponse", b"retrievalQueryResponse"),
        body.replace(b"<eventListQueryResponse>", b"").replace(b"</eventListQueryResponse>", b""),
    ):
        answer = read_answer(read_xml(data), expected)
        assert answer == SoapAnswer(
            "uuid:E9F8A7B6-C5D4-4E3F-9201-1A2B3C4D8809",
            "urn:nhs:names:services:psisquery/QUQI_IN010000UK14",
            "uuid:C1D2E3F4-0516-4728-8394-A5B6C7D87708",
            answer.interaction,
        )
        assert answer.interaction.tag == f"{H}QUQI_IN010000UK14"


def test_answers_without_header_are_read() -> None:
    """An answer that has no header still has its interaction."""
    root = read_xml(b"<s:Envelope xmlns:s='%b'><s:Body><w><X/></w></s:Body></s:Envelope>" % SOAP_NS.encode())
    answer = read_answer(root, frozenset({"X"}))
    assert (answer.message_id, answer.action, answer.relates_to, answer.interaction.tag) == ("", "", "", "X")


@pytest.mark.parametrize("number", ["02", "11", "14"])
def test_other_documents_are_no_answers(capture: ReadCapture, number: str) -> None:
    """A body without an expected interaction is refused."""
    for expected in (frozenset({"QUPC_IN200000UK04"}), frozenset[str]()):
        with pytest.raises(UnreadableMessage):
            read_answer(read_xml(capture(number).body), expected)
    with pytest.raises(UnreadableMessage):
        read_answer(read_xml(b"<QUPC_IN200000UK04/>"), frozenset({"QUPC_IN200000UK04"}))
