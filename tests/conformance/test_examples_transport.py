"""The transport captures: whole HTTP requests sent as they are, whole answers compared."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from openscr.hl7.psis import read_event_list_answer
from openscr.spine import Consent, EventStatus
from openscr.transport.ebxml import read_signal
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml

from .clients import Delivery, read_delivery
from .comparing import PSIS, canonical, same
from .examples import Capture, capture, interaction_in
from .harness import Answer, Harness

PATIENT = "9990000018"
MESSAGE = "3F2504E0-4F89-41D3-9A0C-0305E82C3301"


async def send(service: Harness, request: Capture, *changes: tuple[bytes, bytes]) -> Answer:
    """Send a captured request, after some replacements of bytes."""
    body = request.body
    for old, new in changes:
        assert old in body
        body = body.replace(old, new)
    headers = request.headers
    return await service.post(
        request.path, body, soap_action=headers.get("soapaction"), content_type=headers["content-type"]
    )


def same_answer(ours: Answer, theirs: Capture) -> None:
    """Fail unless status, the two headers that matter and the body are as captured."""
    assert ours.status == theirs.status
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.headers.get("soapaction") == theirs.headers.get("soapaction")
    same(ours.body, theirs.body)


def same_delivery(ours: Delivery, theirs: Capture, *, sender: str = "900000000001") -> None:
    """Fail unless a delivered message has the captured headers, envelope and payload."""
    for name in ("soapaction", "content-type"):
        assert ours.headers[name] == theirs.headers[name]
    shown = read_delivery(theirs.path, theirs.headers, theirs.body)
    same(ours.envelope_xml, shown.envelope_xml)
    same(ours.payload, shown.payload.replace(b"900000000001", sender.encode()))
    message_id = ours.envelope.message_id.encode()
    assert ours.body.count(b"<" + message_id + b"@spine.nhs.uk>") == 1


async def test_upload_and_its_answers(service: Harness) -> None:
    """01 gets 02 at once and 03 later; sent again it gets the same signal and nothing else."""
    first = await send(service, capture("01"))
    same_answer(first, capture("02"))
    same_delivery(await service.clients.answer_to(MESSAGE), capture("03"))
    again = await send(service, capture("01"))
    assert again.body == first.body
    assert len(service.clients.deliveries) == 1
    (event,) = (await service.state(PATIENT)).events
    assert event.status is EventStatus.NORMAL


async def test_refused_upload(service: Harness) -> None:
    """With a wrong NHS number 01 is accepted by transport and refused as 05 shows."""
    answer = await send(service, capture("01"), (PATIENT.encode(), b"9990000019"))
    assert answer.status == 202
    same_delivery(await service.clients.answer_to(MESSAGE), capture("05"))


async def test_unreadable_upload(service: Harness) -> None:
    """A payload that is no XML is accepted by transport and rejected as 06 shows.

    Its receiver cannot be read, so that the answer comes from our main ASID. Spec: 40 §10.5.
    """
    answer = await send(service, capture("01"), (b"</REPC_IN150016UK05>", b"</REPC_IN150016UK05"))
    assert answer.status == 202
    same_delivery(await service.clients.answer_to(MESSAGE), capture("06"), sender="200000000100")


async def test_list(service: Harness) -> None:
    """11 gets 12 once the summary is there (ours says the author too), and 13 once the patient has refused."""
    service.clock.now = datetime(2025, 6, 5, 13, 32, 3, tzinfo=UTC)
    shown = capture("12")
    event_id = next(read_xml(shown.body).iter(f"{PSIS}eventID")).get("root", "")
    document_id = _document_id(capture("01"))
    await send(
        service, capture("01"), *([(document_id, event_id.encode())] if document_id != event_id.encode() else [])
    )
    answer = await send(service, capture("11"))
    assert answer.status == shown.status
    assert answer.headers["content-type"] == shown.headers["content-type"]
    root = read_xml(answer.body)
    for author in list(root.iter(f"{PSIS}author")):
        event = author.getparent()
        assert event is not None
        event.remove(author)
    same(etree.tostring(root), shown.body)
    await service.set_consent(PATIENT, Consent.NO)
    same_answer(await send(service, capture("11")), capture("13"))


def _document_id(upload: Capture) -> bytes:
    part = upload.multipart().parts[1].content(upload.body)
    identifier = read_xml(part).find(".//{*}GPSummary/{*}id")
    assert identifier is not None
    return identifier.get("root", "").encode()


async def test_fault_101(service: Harness) -> None:
    """A SOAPAction that is not served gets 14, on both kinds of path."""
    for number in ("01", "11"):
        request = capture(number)
        request.headers["soapaction"] = "urn:nhs:names:services:psis/REPC_IN159999UK99"
        same_answer(await send(service, request), capture("14"))


async def test_fault_201(service: Harness) -> None:
    """A wsa:MessageID of another length gets 15."""
    answer = await send(service, capture("11"), (b"uuid:C1D2E3F4", b"urn:uuid:C1D2E3F4"))
    same_answer(answer, capture("15"))


@pytest.mark.parametrize("number", ["01", "11"])
async def test_fault_200(service: Harness, number: str) -> None:
    """When the store cannot answer, the sender is told to try again by 16; nothing is acknowledged."""
    await service.store.close()
    same_answer(await send(service, capture(number)), capture("16"))
    assert service.clients.deliveries == []
    await service.store.open()


async def test_fault_300(service: Harness) -> None:
    """A system that is not registered gets 17, on both kinds of path, and the audit keeps why."""
    for number in ("01", "11"):
        same_answer(await send(service, capture(number), (b"900000000101", b"999999999999")), capture("17"))
    reasons = [entry.content["reason"] for entry in await service.audit() if "reason" in entry.content]
    assert reasons == ["unknown_sender"] * 2


async def test_message_error(service: Harness) -> None:
    """An unknown CPA id gets 18, with status 200."""
    answer = await send(service, capture("01"), (b"<eb:CPAId>S20001A000182", b"<eb:CPAId>S99999999999X"))
    same_answer(answer, capture("18"))


def test_our_readers_read_the_answers() -> None:
    """A client of ours reads every captured answer."""
    signal = read_signal(read_xml(capture("02").body))
    assert signal is not None
    assert (signal.kind, signal.ref_to_message_id) == ("Acknowledgment", MESSAGE)
    error = read_signal(read_xml(capture("18").body))
    assert error is not None
    assert [found.description for found in error.errors] == ["501319:Unknown eb:CPAId"]
    for number, code, retriable in (
        ("14", "101", False),
        ("15", "201", False),
        ("16", "200", True),
        ("17", "300", False),
    ):
        fault = read_fault(read_xml(capture(number).body))
        assert fault is not None
        assert (fault.codes, fault.retriable) == ((code,), retriable)
    listed = read_event_list_answer(interaction_in(capture("12").body), PATIENT)
    assert [event.status for event in listed.events] == [EventStatus.NORMAL]
    refused = read_event_list_answer(interaction_in(capture("13").body), PATIENT)
    assert [issue.code for issue in refused.outcome.issues] == ["420", "30418"]
    for number, ack in (("03", "AA"), ("05", "AE"), ("06", "AR")):
        theirs = capture(number)
        delivery = read_delivery(theirs.path, theirs.headers, theirs.body)
        acknowledgement = delivery.root.find("{*}acknowledgement")
        assert acknowledgement is not None
        assert acknowledgement.get("typeCode") == ack
        assert canonical(delivery.payload)
