"""What goes over the wire to a Spine, byte for byte. Spec: 50 §2.5, §2.6, C5."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from mhs.rig import CPA_ID, PARTY_KEY, SPINE_ASID, SPINE_PARTY
from mhs.stub_spine import Received, Reply, StubSpine, answer
from mhs.workflows.adaptor import CORRELATION_ID, EXPRESS, FORWARD, MESSAGE_ID, PAYLOAD, QUERY, UPLOAD, StartAdaptor
from openscr.codes import ACTOR_NEXT_MSH, ACTOR_SOAP_NEXT, ACTOR_TO_PARTY
from openscr.mhs.exchange import Attachment, ExternalReference
from openscr.mhs.interactions import Interaction
from openscr.mhs.workflows import dispatch
from openscr.mhs.workflows.packing import Packed, pack
from openscr.transport.ebxml import Reliability, check_reliability
from openscr.transport.wsa import read_request
from openscr.transport.xml import read_xml

EB = "http://www.oasis-open.org/committees/ebxml-msg/schema/msg-header-2_0.xsd"
PARTY = '<eb:PartyId eb:type="urn:nhs:names:partyType:ocs+serviceInstance">'


def ack_requested(actor: str) -> str:
    return f'<eb:AckRequested eb:version="2.0" SOAP:mustUnderstand="1" SOAP:actor="{actor}" eb:signed="false"/>'


SYNC_REPLY = f'<eb:SyncReply eb:version="2.0" SOAP:mustUnderstand="1" SOAP:actor="{ACTOR_SOAP_NEXT}"/>'
RELIABLE_BLOCKS = ack_requested(ACTOR_TO_PARTY) + SYNC_REPLY
FORWARD_BLOCKS = ack_requested(ACTOR_NEXT_MSH)


def ebxml(interaction: Interaction, blocks: str, *, references: str = "") -> str:
    """The whole of part 1, as the tables of 50 §2.5 have it."""
    elimination = "" if blocks == SYNC_REPLY else "<eb:DuplicateElimination/>"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<SOAP:Envelope xmlns:SOAP="http://schemas.xmlsoap.org/soap/envelope/" xmlns:eb="{EB}" '
        'xmlns:hl7ebxml="urn:hl7-org:transport/ebXML/DSTUv1.0" xmlns:xlink="http://www.w3.org/1999/xlink">'
        '<SOAP:Header><eb:MessageHeader eb:version="2.0" SOAP:mustUnderstand="1">'
        f"<eb:From>{PARTY}{PARTY_KEY}</eb:PartyId></eb:From><eb:To>{PARTY}{SPINE_PARTY}</eb:PartyId></eb:To>"
        f"<eb:CPAId>{CPA_ID}</eb:CPAId><eb:ConversationId>{CORRELATION_ID}</eb:ConversationId>"
        f"<eb:Service>{interaction.service}</eb:Service><eb:Action>{interaction.name}</eb:Action>"
        f"<eb:MessageData><eb:MessageId>{MESSAGE_ID}</eb:MessageId><eb:Timestamp>2026-11-23T12:00:00Z</eb:Timestamp>"
        f"</eb:MessageData>{elimination}</eb:MessageHeader>{blocks}</SOAP:Header>"
        '<SOAP:Body><eb:Manifest eb:version="2.0" SOAP:mustUnderstand="1">'
        f'<eb:Reference xlink:href="cid:{MESSAGE_ID}@spine.nhs.uk">'
        '<eb:Schema eb:location="http://www.nhsia.nhs.uk/schemas/HL7-Message.xsd" eb:version="1.0"/>'
        '<eb:Description xml:lang="en">HL7 payload</eb:Description>'
        '<hl7ebxml:Payload style="HL7" encoding="XML" version="3.0"/></eb:Reference>'
        f"{references}</eb:Manifest></SOAP:Body></SOAP:Envelope>"
    )


def multipart(*parts: tuple[str, str, str, str], boundary: str = "--=_MIME-Boundary") -> bytes:
    """Parts with LF line ends and no preamble."""
    written = [
        f"--{boundary}\nContent-Id: <{content_id}>\nContent-Type: {content_type}\n"
        f"Content-Transfer-Encoding: {encoding}\n\n{content}\n"
        for content_id, content_type, encoding, content in parts
    ]
    return "".join([*written, f"--{boundary}--\n"]).encode()


def two_parts(header: str, payload: str = PAYLOAD) -> list[tuple[str, str, str, str]]:
    kind = "text/xml; charset=UTF-8"
    return [("ebXMLHeader@spine.nhs.uk", kind, "8bit", header), (f"{MESSAGE_ID}@spine.nhs.uk", kind, "8bit", payload)]


@pytest.mark.parametrize(
    ("interaction", "blocks"),
    [(EXPRESS, SYNC_REPLY), (UPLOAD, RELIABLE_BLOCKS), (FORWARD, FORWARD_BLOCKS)],
    ids=["async-express", "async-reliable", "forward-reliable"],
)
async def test_an_asynchronous_message_is_these_bytes(
    start: StartAdaptor, interaction: Interaction, blocks: str
) -> None:
    adaptor = await start(real_clock=False)
    received = await adaptor.sent(interaction)
    assert received.body == multipart(*two_parts(ebxml(interaction, blocks)))


async def test_the_headers_of_an_asynchronous_message(start: StartAdaptor) -> None:
    """Nothing is quoted that the reference does not quote; every name has the letters that it has there."""
    adaptor = await start()
    received = await adaptor.sent(UPLOAD)
    assert dict(received.headers) == {
        "Host": f"127.0.0.1:{adaptor.spine.port}",
        "SOAPAction": "urn:nhs:names:services:psis/REPC_IN150016UK05",
        "Content-Type": (
            'multipart/related; boundary="--=_MIME-Boundary"; type=text/xml; start=ebXMLHeader@spine.nhs.uk'
        ),
        "charset": "UTF-8",
        "Correlation-Id": CORRELATION_ID,
        "Message-Id": MESSAGE_ID,
        "Interaction-Id": "REPC_IN150016UK05",
        "User-Agent": "Mozilla/5.0 (compatible; pycurl)",
        "Accept": "*/*",
        "Accept-Encoding": "gzip,deflate",
        "Content-Length": str(len(received.body)),
    }


async def test_attachments_and_references_to_messages_elsewhere(start: StartAdaptor) -> None:
    """Payloads go as they are given; descriptions are escaped (L27), ids become ``eb:id``."""
    adaptor = await start(real_clock=False)
    received = await adaptor.sent(
        FORWARD,
        attachments=(
            Attachment("text/plain", "Gr\u00fc\u00dfe & <more>", False, 'Filename="a=b.txt" & <x>', "_1"),
            Attachment("application/pdf", "JVBERi0=", True, "A scan"),
        ),
        external_attachments=(
            ExternalReference("EXT-1", "Elsewhere", "_2"),
            ExternalReference("EXT-2", "Elsewhere too"),
        ),
    )
    first, second = (f"AAAAAAAA-0000-4000-8000-00000000000{number}@spine.nhs.uk" for number in (1, 2))
    references = "".join(
        f'<eb:Reference xlink:href="{href}"{named}><eb:Description xml:lang="en">{text}</eb:Description></eb:Reference>'
        for href, named, text in (
            (f"cid:{first}", ' eb:id="_1"', "Filename=&quot;a=b.txt&quot; &amp; &lt;x&gt;"),
            (f"cid:{second}", "", "A scan"),
            ("mid:EXT-1", ' eb:id="_2"', "Elsewhere"),
            ("mid:EXT-2", "", "Elsewhere too"),
        )
    )
    assert received.body == multipart(
        *two_parts(ebxml(FORWARD, FORWARD_BLOCKS, references=references)),
        (first, "text/plain", "8bit", "Gr\u00fc\u00dfe & <more>"),
        (second, "application/pdf", "base64", "JVBERi0="),
    )


async def test_the_boundary_is_another_one_when_the_content_holds_it(start: StartAdaptor) -> None:
    """Nothing is encoded or changed for it. Spec: 50 C5."""
    adaptor = await start(real_clock=False)
    payload = "<a>\n----=_MIME-Boundary--\n</a>"
    received = await adaptor.sent(FORWARD, payload=payload)
    assert 'boundary="--=_MIME-Boundary1"' in received.header("Content-Type")
    parts = two_parts(ebxml(FORWARD, FORWARD_BLOCKS), payload)
    assert received.body == multipart(*parts, boundary="--=_MIME-Boundary1")
    assert received.payload == payload.encode()


async def test_ninety_eight_attachments_arrive_as_they_were_given(start: StartAdaptor) -> None:
    adaptor = await start()
    attachments = tuple(Attachment("text/plain", f"{number}\n\n", False, str(number)) for number in range(98))
    received = await adaptor.sent(FORWARD, attachments=attachments)
    body = received.multipart
    assert [part.content(received.body).decode() for part in body.parts[2:]] == [each.payload for each in attachments]
    named = [reference.partition(":")[2] for reference in received.envelope.references]
    assert named == [part.content_id for part in body.parts[1:]]


def soap(payload: str = PAYLOAD) -> bytes:
    """The whole of a synchronous request, as 50 §2.6 has it."""
    device = '<hl7:device classCode="DEV" determinerCode="INSTANCE"><hl7:id root="1.2.826.0.1285.0.2.0.107" extension='
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/" '
        'xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:hl7="urn:hl7-org:v3"><SOAP-ENV:Header>'
        f"<wsa:MessageID>uuid:{MESSAGE_ID}</wsa:MessageID>"
        "<wsa:Action>urn:nhs:names:services:psisquery/QUPC_IN180000UK04</wsa:Action>"
        "<wsa:To>urn:nhs:names:services:psisquery</wsa:To><wsa:From><wsa:Address></wsa:Address></wsa:From>"
        f'<hl7:communicationFunctionRcv typeCode="RCV">{device}"{SPINE_ASID}"/></hl7:device>'
        f'</hl7:communicationFunctionRcv><hl7:communicationFunctionSnd typeCode="SND">{device}"200000000115"/>'
        "</hl7:device></hl7:communicationFunctionSnd><wsa:ReplyTo><wsa:Address></wsa:Address></wsa:ReplyTo>"
        f"</SOAP-ENV:Header><SOAP-ENV:Body>{payload}</SOAP-ENV:Body></SOAP-ENV:Envelope>"
    ).encode()


async def test_a_synchronous_message_is_these_bytes(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(answer(202))
    received = await (await start()).sent(QUERY)
    assert received.body == soap()
    headers = dict(received.headers)
    assert {name: headers[name] for name in ("SOAPAction", "Content-Type", "charset", "type")} == {
        "SOAPAction": "urn:nhs:names:services:psisquery/QUPC_IN180000UK04",
        "Content-Type": "text/xml",
        "charset": "UTF-8",
        "type": "text/xml",
    }
    ids = [received.header(name) for name in ("Correlation-Id", "Message-Id", "Interaction-Id")]
    assert ids == [CORRELATION_ID, MESSAGE_ID, "QUPC_IN180000UK04"]
    request = read_request(read_xml(received.body), QUERY.name)
    assert (request.faults, request.receiver_asid, request.sender_asid) == ((), SPINE_ASID, "200000000115")


async def test_f23_values_of_headers_are_escaped_in_xml(start: StartAdaptor, spine: StubSpine) -> None:
    """What a supplier gives as an id or an ASID ends no element."""
    adaptor = await start()
    sent = await adaptor.sent(UPLOAD, correlation_id='<&">', message_id="]]>&")
    assert (sent.envelope.conversation_id, sent.envelope.message_id) == ('<&">', "]]>&")
    spine.received.clear()
    spine.script(answer(202))
    sent = await adaptor.sent(QUERY, from_asid='1"/><x')
    assert read_request(read_xml(sent.body), QUERY.name).sender_asid == '1"/><x'


@pytest.mark.parametrize(
    ("number", "interaction", "reliability"),
    [("01", UPLOAD, Reliability.RELIABLE), ("07", EXPRESS, Reliability.EXPRESS)],
)
async def test_it_says_what_the_example_of_the_specification_says(
    start: StartAdaptor,
    example: Callable[[str], Received],
    number: str,
    interaction: Interaction,
    reliability: Reliability,
) -> None:
    """The same payload, sent by us, has an envelope with the same facts, and passes the validator's rules."""
    captured = example(number)
    expected = captured.envelope
    adaptor = await start()
    received = await adaptor.sent(
        interaction,
        message_id=expected.message_id,
        correlation_id=expected.conversation_id,
        payload=captured.payload.decode(),
    )
    facts = received.envelope
    differing = ("from_party", "to_party", "cpa_id", "timestamp")
    assert replace(facts, **{name: getattr(expected, name) for name in differing}) == expected
    assert check_reliability(facts, reliability) == ()
    assert received.payload == captured.payload
    assert received.multipart.root.content_id == "ebXMLHeader@spine.nhs.uk"


async def test_forwarding_says_what_the_example_says(start: StartAdaptor, example: Callable[[str], Received]) -> None:
    """Reliability towards the next hop: an actor of its own, and no synchronous reply. Spec: 40 §5.3, example 24."""
    expected = example("24").envelope
    facts = (await (await start()).sent(FORWARD)).envelope
    for name in ("ack_requests", "ack_version", "ack_signed", "ack_actor", "sync_replies", "duplicate_eliminations"):
        assert getattr(facts, name) == getattr(expected, name), name


async def test_answers_may_be_compressed(start: StartAdaptor, spine: StubSpine) -> None:
    """We say that we take gzip, so we do."""
    spine.script(lambda _: Reply(503, b"busy " * 1000, "text/plain").compressed())
    told = await (await start()).send(QUERY)
    assert (told.status, told.body) == (503, b"busy " * 1000)


@pytest.mark.parametrize(("count", "aside"), [(1_000, False), (1_001, True)])
async def test_a_message_of_very_many_references_is_written_while_others_are_served(
    start: StartAdaptor, monkeypatch: pytest.MonkeyPatch, count: int, aside: bool
) -> None:
    """There may be any number of them. Spec: 50 §1.2."""
    threads: list[threading.Thread] = []

    def packing(*given: Any) -> Packed:
        threads.append(threading.current_thread())
        return pack(*given)

    monkeypatch.setattr(dispatch, "pack", packing)
    references = tuple(ExternalReference(f"M{number}", "") for number in range(count))
    received = await (await start()).sent(UPLOAD, external_attachments=references)
    assert len(received.envelope.references) == 1 + count
    assert [thread is not threading.main_thread() for thread in threads] == [aside]
