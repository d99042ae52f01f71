"""Manifests, and what message handlers ask each other. Spec: 40 §5.3, §6.6; 50 §3.1, F9."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from captured import Capture
from lxml import etree

from openscr.codes import EB_NS, HL7EBXML_NS, SOAP_NS, XLINK_NS
from openscr.errors import NotMultipart, UnreadableMessage
from openscr.transport.ebxml import Addressing, read_signal
from openscr.transport.manifest import ManifestEntry, read_manifest
from openscr.transport.message_services import read_status_request, write_pong, write_status_response
from openscr.transport.mime import read_content_type, read_multipart
from openscr.transport.xml import read_xml

ADDRESSING = Addressing(
    from_party="A-1", to_party="B-<2>", cpa_id="C", conversation_id="a & b", message_id="M", timestamp="T"
)


def manifest(*entries: str) -> etree._Element:
    return read_xml(
        f'<s:Envelope xmlns:s="{SOAP_NS}" xmlns:eb="{EB_NS}" xmlns:x="{XLINK_NS}" xmlns:h="{HL7EBXML_NS}">'
        f"<s:Header/><s:Body><eb:Manifest>{''.join(entries)}</eb:Manifest></s:Body></s:Envelope>".encode()
    )


def test_the_manifest_of_a_capture(capture: Callable[[str], Capture]) -> None:
    message = capture("03").multipart()
    (entry,) = read_manifest(read_xml(message.root.content(message.body)))
    assert entry == ManifestEntry(
        "cid:8C7E0F34-1B6A-4F0B-9C9D-6E1A5D3B2203@spine.nhs.uk", None, "The HL7 payload", is_payload=True
    )
    assert entry.content_id == "8C7E0F34-1B6A-4F0B-9C9D-6E1A5D3B2203@spine.nhs.uk"
    assert entry.external_message_id is None


@pytest.mark.parametrize(
    ("href", "content_id", "external"),
    [
        ("CID:a", "a", None),
        (" mid:b ", None, "b"),
        ("cid:mid:c", "mid:c", None),
        ("http://x", None, None),
        ("", None, None),
    ],
)
def test_what_an_entry_means(href: str, content_id: str | None, external: str | None) -> None:
    (entry,) = read_manifest(manifest(f'<eb:Reference x:href="{href}"/>'))
    assert (entry.content_id, entry.external_message_id) == (content_id, external)


def test_entries_stand_in_their_order_with_id_and_description() -> None:
    entries = read_manifest(
        manifest(
            '<eb:Reference x:href="cid:a" eb:id="_1"><eb:Description>a\n\tb</eb:Description></eb:Reference>',
            '<eb:Reference x:href="mid:b" id="_2"><eb:Description/><h:Payload/></eb:Reference>',
        )
    )
    assert entries == (
        ManifestEntry("cid:a", "_1", "ab", is_payload=False),
        ManifestEntry("mid:b", "_2", "", is_payload=True),
    )


@pytest.mark.parametrize("entry", ["<eb:Reference/>", '<eb:Reference href="cid:a"/>', "<other/>"])
def test_every_entry_needs_a_reference(entry: str) -> None:
    with pytest.raises(UnreadableMessage):
        read_manifest(manifest('<eb:Reference x:href="cid:a"/>', entry))


def test_there_may_be_no_manifest() -> None:
    assert read_manifest(read_xml(f'<s:Envelope xmlns:s="{SOAP_NS}"><s:Header/><s:Body/></s:Envelope>'.encode())) == ()


def test_a_pong_refers_to_its_ping_and_is_no_signal_about_a_message() -> None:
    root = read_xml(write_pong(ref_to_message_id="PING-1", **ADDRESSING))
    texts = {etree.QName(element).localname: element.text for element in root.iter("*") if element.text}
    assert texts["Action"] == "Pong"
    assert texts["RefToMessageId"] == "PING-1"
    assert texts["ConversationId"] == "a & b"
    assert read_signal(root) is None


@pytest.mark.parametrize(
    ("received", "status", "instant"),
    [(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "Received", "2026-01-02T03:04:05Z"), (None, "NotRecognized", None)],
)
def test_a_status_response(received: datetime | None, status: str, instant: str | None) -> None:
    written = write_status_response(ref_to_message_id="Q", asked="<M>", received_at=received, **ADDRESSING)
    response = read_xml(written).find(f"{{{SOAP_NS}}}Body/{{{EB_NS}}}StatusResponse")
    assert response is not None
    assert response.get(f"{{{EB_NS}}}messageStatus") == status
    assert response.findtext(f"{{{EB_NS}}}RefToMessageId") == "<M>"
    assert response.findtext(f"{{{EB_NS}}}Timestamp") == instant


@pytest.mark.parametrize(
    ("body", "asked"),
    [("<eb:StatusRequest><eb:RefToMessageId> M \n</eb:RefToMessageId></eb:StatusRequest>", "M"), ("", "")],
)
def test_a_status_request(body: str, asked: str) -> None:
    envelope = f'<s:Envelope xmlns:s="{SOAP_NS}" xmlns:eb="{EB_NS}"><s:Header/><s:Body>{body}</s:Body></s:Envelope>'
    assert read_status_request(read_xml(envelope.encode())) == asked


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("text/xml", b"<a/>"),
        ("multipart/mixed; boundary=a", b"--a\r\n\r\nx\r\n--a--"),
        ("multipart/related", b"--a\r\n\r\nx\r\n--a--"),
        ("multipart/related; boundary=a", b"no part"),
        (None, b"--a\r\n\r\nx\r\n--a--"),
    ],
)
def test_what_is_no_multipart_at_all_is_told_apart(content_type: str | None, body: bytes) -> None:
    with pytest.raises(NotMultipart):
        read_multipart(content_type, body)


def test_content_types_are_read_with_their_parameters() -> None:
    assert read_content_type(' Text/XML; Charset="UTF-8"; name=a b ;') == (
        "text/xml",
        {"charset": "UTF-8", "name": "a b"},
    )
    assert read_content_type("") == ("", {})
