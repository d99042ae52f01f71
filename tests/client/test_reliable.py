"""The sender's side of reliable messaging. Spec: 40 §6.3, §6.4."""

import asyncio
import itertools
from dataclasses import replace
from types import MappingProxyType

import aiohttp
import pytest
from aiohttp import web

from client.conftest import Received, Reply, Script, acknowledging, acknowledgment_of, answering, hanging_up
from client.stories import document_of, new_patient, summary
from openscr.client import Callback, Profile, SpineClient
from openscr.client.connection import LARGEST_REQUEST
from openscr.codes import UPLOAD
from openscr.errors import EBXML_ERRORS, AccessRefused, DeliveryError, OpenSCRError, RetriesExhausted, UnreadableMessage
from openscr.identifiers import mint_uuid
from openscr.transport.ebxml import write_message_error
from openscr.transport.soap import write_fault

DOCUMENT = document_of(summary(new_patient()))


def impatient(*, retries: int = 2, interval: float = 0.0, persist: float = 300.0) -> Profile:
    """The demo's GP system under a contract without pauses."""
    profile = Profile.demo()
    routes = {
        name: replace(
            route, contract=replace(route.contract, retries=retries, retry_interval=interval, persist_duration=persist)
        )
        for name, route in profile.routes.items()
    }
    return replace(profile, routes=MappingProxyType(routes))


def message_error(key: str) -> bytes:
    return write_message_error(
        from_party="YES-0000806",
        to_party="Y90001-0000001",
        cpa_id="X",
        conversation_id="X",
        message_id=mint_uuid(),
        timestamp="2026-03-02T10:30:00Z",
        ref_to_message_id=mint_uuid(),
        errors=(EBXML_ERRORS[key],),
    )


FAULT_200 = answering(500, write_fault([("200", None)]))
AGAIN = {
    "no answer": hanging_up,
    "a retriable fault": FAULT_200,
    "202 without a body": answering(202),
    "5xx without a body": answering(503),
    "an acknowledgement of another message": answering(202, acknowledgment_of(mint_uuid())),
}
FOR_GOOD: dict[str, tuple[Reply, type[OpenSCRError], str]] = {
    "fault 300": (answering(500, write_fault([("300", None)])), AccessRefused, "300: The sender or receiver's ASID"),
    "fault 101": (answering(500, write_fault([("101", None)])), DeliveryError, "101: The service/interaction is not"),
    "unknown CPA": (answering(200, message_error("cpa_unknown")), DeliveryError, "501319:Unknown eb:CPAId"),
    "wrong certificate": (answering(500, message_error("certificate")), AccessRefused, "SecurityFailure"),
    "HTTP 403": (answering(403), AccessRefused, "HTTP 403"),
    "HTTP 404": (answering(404), DeliveryError, "HTTP 404"),
}


async def test_what_is_acknowledged_is_sent_once_and_the_answer_is_not_seen_here(script: Script) -> None:
    script.replies = [acknowledging]
    async with SpineClient(script.url, impatient()) as client:
        submission = await client.upload_document(DOCUMENT)
    assert (submission.attempts, submission.interaction, len(script.received)) == (1, UPLOAD, 1)
    assert submission.acknowledgement is None
    assert submission.accepted is None
    headers = script.received[0].request.headers
    assert headers["SOAPAction"] == f'"urn:nhs:names:services:psis/{UPLOAD}"'
    assert script.received[0].message_id == submission.message_id


@pytest.mark.parametrize("first", AGAIN)
async def test_what_may_be_lost_is_sent_again_with_the_same_bytes(script: Script, first: str) -> None:
    script.replies = [AGAIN[first], AGAIN[first], acknowledging]
    async with SpineClient(script.url, impatient()) as client:
        submission = await client.upload_document(DOCUMENT)
    assert submission.attempts == 3
    assert len({received.body for received in script.received}) == 1


@pytest.mark.parametrize("case", FOR_GOOD)
async def test_what_is_refused_for_good_is_not_sent_again(script: Script, case: str) -> None:
    reply, kind, said = FOR_GOOD[case]
    script.replies = [reply]
    async with SpineClient(script.url, impatient()) as client:
        with pytest.raises(kind, match=said):
            await client.upload_document(DOCUMENT)
    assert len(script.received) == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_there_is_one_attempt_more_than_the_contract_has_retries(script: Script, retries: int) -> None:
    script.replies = [FAULT_200]
    async with SpineClient(script.url, impatient(retries=retries)) as client:
        with pytest.raises(RetriesExhausted, match=f"in {retries + 1} attempts"):
            await client.upload_document(DOCUMENT)
    assert len(script.received) == retries + 1


async def test_no_attempt_begins_after_the_contract_has_ended(script: Script) -> None:
    """With an hour between attempts and a contract of five minutes the first attempt is the last."""
    script.replies = [FAULT_200]
    ticks = itertools.count(0.0, 1.0)
    profile = impatient(retries=5, interval=3600.0, persist=300.0)
    async with SpineClient(script.url, profile, monotonic=lambda: next(ticks)) as client:
        with pytest.raises(RetriesExhausted):
            await client.upload_document(DOCUMENT)
    assert len(script.received) == 1


async def test_an_acknowledgement_that_comes_on_its_own_ends_the_attempts(script: Script) -> None:
    """The signal may come as a POST of its own, while the sender waits for its next attempt. Spec: 40 §6.3 step 4."""
    profile = impatient(interval=3600.0, persist=36000.0)
    callback = Callback("127.0.0.1", 0, profile.party_key)
    sent = asyncio.Event()

    async def unanswered(received: Received) -> web.StreamResponse:
        sent.set()
        return web.Response(status=503)

    script.replies = [unanswered]
    async with SpineClient(script.url, profile, callback=callback, answer_timeout=0.0) as client:
        sending = asyncio.create_task(client.upload_document(DOCUMENT))
        await sent.wait()
        host, port = callback.address
        headers = {"SOAPAction": "urn:urn:oasis:names:tc:ebxml-msg:service/Acknowledgment", "Content-Type": "text/xml"}
        signal = acknowledgment_of(script.received[0].message_id)
        url = f"http://{host}:{port}/late"
        async with aiohttp.ClientSession() as session, session.post(url, data=signal, headers=headers) as response:
            assert response.status == 200
        # The transport part is over; only the application acknowledgement is missing now.
        with pytest.raises(DeliveryError, match="no application acknowledgement"):
            await sending
    assert len(script.received) == 1


async def test_what_no_spine_would_take_is_not_sent(script: Script) -> None:
    script.replies = [acknowledging]
    async with SpineClient(script.url, impatient()) as client:
        with pytest.raises(DeliveryError, match="at most 5242880"):
            await client.upload_document(
                DOCUMENT.replace(b"<code ", b"<!--" + b"x" * LARGEST_REQUEST + b"--><code ", 1)
            )
        for wrong in (b"<GPSummary xmlns='urn:hl7-org:v3'/>", b"<REPC_IN150016UK05 xmlns='urn:hl7-org:v3'/>"):
            with pytest.raises(UnreadableMessage):
                await client.upload_document(wrong)
    assert script.received == []


async def test_nobody_there_is_told_after_the_attempts_of_the_contract() -> None:
    async with SpineClient("http://127.0.0.1:9", impatient(retries=1)) as client:
        with pytest.raises(RetriesExhausted, match="nothing answers"):
            await client.upload_document(DOCUMENT)
