"""The listener for application acknowledgements: every row of the table of 40 §9."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.conftest import acknowledgment_of
from openscr.client import Callback
from openscr.codes import ACKNOWLEDGEMENT
from openscr.errors import EBXML_ERRORS, ConfigurationError, DeliveryError
from openscr.identifiers import mint_uuid
from openscr.transport.ebxml import Reliability, Signal, read_signal, write_message_error, write_user_message
from openscr.transport.mime import SPINE_CONTENT_TYPE, write_multipart
from openscr.transport.xml import read_xml

PARTY = "Y90001-0000001"
PAYLOAD = b"<MCCI_IN010000UK13/>"


@dataclass
class Sender:
    """Posts to a listener as a Spine would."""

    callback: Callback
    session: aiohttp.ClientSession

    async def post(self, body: bytes, content_type: str = SPINE_CONTENT_TYPE, action: str = "") -> tuple[int, bytes]:
        host, port = self.callback.address
        headers = {
            "Content-Type": content_type,
            "SOAPAction": action or f"urn:nhs:names:services:psis/{ACKNOWLEDGEMENT}",
        }
        async with self.session.post(f"http://{host}:{port}/psis/in", data=body, headers=headers) as response:
            return response.status, await response.read()

    async def signal(self, body: bytes) -> Signal:
        status, answer = await self.post(body)
        assert status == 200
        signal = read_signal(read_xml(answer))
        assert signal is not None
        return signal


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Callback("127.0.0.1", 0, PARTY) as callback, aiohttp.ClientSession() as session:
        yield Sender(callback, session)


def message(
    reference: str | None,
    *,
    message_id: str | None = None,
    to: str = PARTY,
    action: str = ACKNOWLEDGEMENT,
    content_id: str | None = None,
) -> bytes:
    message_id = message_id or mint_uuid()
    envelope = write_user_message(
        from_party="YES-0000806",
        to_party=to,
        cpa_id="S90001A000001",
        conversation_id="C",
        message_id=message_id,
        timestamp="2026-03-02T10:30:00Z",
        service="urn:nhs:names:services:psis",
        action=action,
        ref_to_message_id=reference,
        reliability=Reliability.RELIABLE,
        spine=True,
    )
    parts = [
        ("ebXMLHeader@spine.nhs.uk", "text/xml", envelope),
        (content_id or f"{message_id}@spine.nhs.uk", "application/xml", PAYLOAD),
    ]
    return write_multipart(parts)


async def test_an_answer_is_handed_over_and_acknowledged(sender: Sender) -> None:
    sent, answer_id = mint_uuid(), mint_uuid()
    expectation = await sender.callback.expect(sent)
    signal = await sender.signal(message(sent.lower(), message_id=answer_id))
    assert (signal.kind, signal.ref_to_message_id, signal.from_party) == ("Acknowledgment", answer_id, PARTY)
    assert await expectation.came_within(0)
    assert await expectation.answer(0) == PAYLOAD


async def test_a_repetition_gets_the_stored_acknowledgement(sender: Sender) -> None:
    sent, body = mint_uuid(), b""
    expectation = await sender.callback.expect(sent)
    body = message(sent)
    first, second = await sender.post(body), await sender.post(body)
    assert first == second
    assert await expectation.answer(0) == PAYLOAD


async def test_a_message_that_was_given_up_is_still_acknowledged(sender: Sender) -> None:
    """Nobody waits any more, but the sender must not be left to try again and again."""
    sent = mint_uuid()
    (await sender.callback.expect(sent)).forget()
    assert (await sender.signal(message(sent))).kind == "Acknowledgment"


async def test_a_part_that_the_manifest_does_not_name_is_the_second_one(sender: Sender) -> None:
    sent = mint_uuid()
    expectation = await sender.callback.expect(sent)
    await sender.signal(message(sent, content_id="other@spine.nhs.uk"))
    assert await expectation.answer(0) == PAYLOAD


async def test_a_message_for_another_party_is_refused(sender: Sender) -> None:
    sent = mint_uuid()
    expectation = await sender.callback.expect(sent)
    signal = await sender.signal(message(sent, to="RZZ01-0000001"))
    assert signal.kind == "MessageError"
    assert [(e.code, e.description) for e in signal.errors] == [
        ("ValueNotRecognized", "501314:Invalid To Party Type attribute")
    ]
    assert not await expectation.came_within(0)


async def test_what_refers_to_nothing_known_is_to_be_sent_again(sender: Sender) -> None:
    assert await sender.post(message(mint_uuid())) == (500, b"Unknown message reference")


async def test_what_refers_to_nothing_is_refused(sender: Sender) -> None:
    assert (await sender.post(message(None)))[0] == 500
    assert (await sender.post(message(None, action="COPC_IN000001UK01")))[0] == 404


async def test_late_signals_are_taken_in_either_form(sender: Sender) -> None:
    for action in ("urn:oasis:names:tc:ebxml-msg:service/Acknowledgment", '"urn:urn:oasis:x/Acknowledgment"'):
        sent = mint_uuid()
        expectation = await sender.callback.expect(sent)
        assert await sender.post(acknowledgment_of(sent), "text/xml", action) == (200, b"")
        assert await expectation.came_within(0)


async def test_late_signals_that_help_nobody_are_answered_all_the_same(sender: Sender) -> None:
    sent = mint_uuid()
    expectation = await sender.callback.expect(sent)
    error = write_message_error(
        from_party="YES-0000806",
        to_party=PARTY,
        cpa_id="X",
        conversation_id="C",
        message_id=mint_uuid(),
        timestamp="2026-03-02T10:30:00Z",
        ref_to_message_id=sent,
        errors=(EBXML_ERRORS["expired"],),
    )
    for body in (acknowledgment_of(mint_uuid()), error, b"<a/>", b"nothing"):
        assert await sender.post(body, "text/xml", "urn:oasis:names:tc:ebxml-msg:service/MessageError") == (200, b"")
    assert not await expectation.came_within(0)


async def test_nothing_within_the_time_is_told(sender: Sender) -> None:
    expectation = await sender.callback.expect(mint_uuid())
    with pytest.raises(DeliveryError, match="no application acknowledgement"):
        await expectation.answer(0)


async def test_an_address_that_is_taken_is_told(sender: Sender) -> None:
    host, port = sender.callback.address
    with pytest.raises(ConfigurationError, match=f"callback {host}:{port}: cannot listen there"):
        await Callback(host, port, PARTY).start()


@given(
    st.one_of(st.binary(), st.binary().map(lambda b: message(mint_uuid()).replace(b"MessageHeader", b)), st.just(b"")),
    st.sampled_from([SPINE_CONTENT_TYPE, "multipart/related", "text/plain", "multipart/related; boundary=x"]),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_comes_the_listener_answers_and_goes_on(body: bytes, content_type: str) -> None:
    async def send() -> None:
        async with Callback("127.0.0.1", 0, PARTY) as callback, aiohttp.ClientSession() as session:
            sender = Sender(callback, session)
            status, answer = await sender.post(body, content_type)
            assert status == 500
            assert answer in (b"Unreadable message", b"Unknown message reference")
            sent = mint_uuid()
            await callback.expect(sent)
            assert (await sender.signal(message(sent))).kind == "Acknowledgment"

    asyncio.run(send())
