"""The scenarios of the NHS adaptor's own suite, one for one, from outside: forwarding, and what nobody asked for.

Spec: 50 §14.4 A2; §1.2, §2.4, §3.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from journeys.stub_estate import Estate, comes_to_be, estate, issue_certificates, queued_now
from mhs.inbound.posting import (
    CONTENT_TYPE,
    PAYLOAD_REFERENCE,
    MimePart,
    envelope,
    header_part,
    multipart,
    payload_part,
    reference,
)
from mhs.rig import PARTY_KEY, SPINE_PARTY
from openscr.identifiers import mint_uuid
from openscr.transport.ebxml import read_signal
from openscr.transport.xml import read_xml

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORWARD = "COPC_IN000001UK01"
ATTACHED = [
    {"is_base64": False, "content_type": "text/plain", "payload": "a note", "description": "note & more"},
    {
        "is_base64": True,
        "content_type": "image/png",
        "payload": "iVBORw0KGgo=",
        "description": "picture",
        "document_id": "_pic",
    },
]
ELSEWHERE = {"message_id": "E54DEC57-6BA5-40AB-ACD0-1E383209C034", "description": "sent apart", "document_id": "_far"}


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def between(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """An adaptor that all scenarios share."""
    pki = issue_certificates(tmp_path_factory.mktemp("scenarios"))
    async with estate(tmp_path_factory.mktemp("adaptor"), pki) as running:
        yield running


async def test_an_attachment_of_a_type_that_is_not_carried_is_refused(between: Estate) -> None:
    between.script()
    zipped = {"is_base64": True, "content_type": "application/zip", "payload": "UEsFBg==", "description": "archive"}
    told = await between.supplier.send(FORWARD, "", body={"payload": "<a/>", "attachments": [zipped]})
    assert told.status == 400
    assert told.text == (
        "400: Invalid request. Validation errors: {'attachments': {0: {'content_type': ['Must be one of: text/plain, "
        "text/html, application/pdf, text/xml, application/xml, text/rtf, audio/basic, audio/mpeg, image/png, "
        "image/gif, image/jpeg, image/tiff, video/mpeg, application/msword, application/octet-stream.']}}}"
    )
    assert between.spine.received == []


async def test_attachments_and_external_attachments_go_with_a_message(between: Estate) -> None:
    between.script()
    body = {"payload": "<COPC_IN000001UK01/>", "attachments": ATTACHED, "external_attachments": [ELSEWHERE]}
    told = await between.supplier.send(FORWARD, "", body=body, message_id=mint_uuid())
    assert told.status == 202, told.text
    (received,) = between.spine.received
    assert received.payload == b"<COPC_IN000001UK01/>"
    _, _, note, picture = received.multipart.parts
    assert (note.content_type, note.encoding, note.content(received.body)) == ("text/plain", "8bit", b"a note")
    assert (picture.content_type, picture.encoding) == ("image/png", "base64")
    assert received.body[picture.start : picture.end] == b"iVBORw0KGgo="
    header = received.multipart.root.content(received.body).decode()
    for part, described in ((note, "note &amp; more"), (picture, "picture")):
        assert f'"cid:{part.content_id}"' in header
        assert f">{described}</eb:Description>" in header
    assert f'xlink:href="mid:{ELSEWHERE["message_id"]}"' in header
    assert 'eb:id="_pic"' in header
    assert 'eb:id="_far"' in header


async def test_what_nobody_asked_for_comes_to_the_queue_with_its_attachments(between: Estate) -> None:
    between.script()
    message_id, conversation = mint_uuid(), mint_uuid()
    references = PAYLOAD_REFERENCE + reference("cid:note@x", description="note", id="_n")
    references += reference(f"mid:{ELSEWHERE['message_id']}", description='Filename="far away.txt"', id="_far")
    status, answer = await _unsolicited(
        between,
        MimePart(b"a note", id="note@x", type="text/plain"),
        references=references,
        MessageId=message_id,
        ConversationId=conversation,
    )
    assert status == 200
    signal = read_signal(read_xml(answer))
    assert signal is not None
    assert (signal.kind, signal.ref_to_message_id) == ("Acknowledgment", message_id)
    message = await between.supplier.next_message()
    assert message["properties"] == {"message-id": message_id, "correlation-id": conversation}
    assert message["body"]["payload"] == "<COPC_IN000001UK01/>"
    assert message["body"]["attachments"] == [
        {
            "payload": "a note",
            "is_base64": False,
            "content_id": "note@x",
            "content_type": "text/plain",
            "description": "note",
        }
    ]
    assert message["body"]["external_attachments"] == [
        {
            "document_id": "_far",
            "message_id": ELSEWHERE["message_id"],
            "description": 'Filename="far away.txt"',
            "title": "far away.txt",
        }
    ]
    done = "UNSOLICITED_INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED"
    await comes_to_be(
        between.supplier, message_id, OUTBOUND_STATUS=None, INBOUND_STATUS=done, WORKFLOW="forward-reliable"
    )


async def test_what_is_for_another_party_is_answered_with_an_error(between: Estate) -> None:
    status, answer = await _unsolicited(between, To="A91545-0000000")
    assert status == 200
    signal = read_signal(read_xml(answer))
    assert signal is not None
    assert signal.kind == "MessageError"
    (error,) = signal.errors
    assert (error.code, error.severity, error.description) == (
        "ValueNotRecognized",
        "Error",
        "501314:Invalid To Party Type attribute",
    )
    assert f">{PARTY_KEY}<".encode() in answer
    assert f">{SPINE_PARTY}<".encode() in answer
    assert await queued_now(between.supplier) == []


async def test_a_header_without_its_action_is_not_taken(between: Estate) -> None:
    status, answer = await _unsolicited(between, without="Action")
    assert (status, answer.decode()) == (
        500,
        "500: Exception during inbound message parsing Weren't able to find required element .//eb:Action during "
        "parsing of EbXML message",
    )
    assert await queued_now(between.supplier) == []


async def _unsolicited(between: Estate, *parts: MimePart, **values: Any) -> tuple[int, bytes]:
    """Post a message that refers to none of ours, as the Spine does."""
    header = envelope(**({"Action": FORWARD, "RefToMessageId": None, "MessageId": mint_uuid()} | values))
    body = multipart(header_part(header), payload_part("<COPC_IN000001UK01/>"), *parts)
    return await between.post(
        {"Content-Type": CONTENT_TYPE, "SOAPAction": f"urn:nhs:names:services:gp2gp/{FORWARD}"}, body
    )
