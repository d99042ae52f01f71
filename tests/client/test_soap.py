"""Synchronous requests: what is repeated, what is not, and what is believed. Spec: 20 §9.5, §16; 40 §4.4."""

import pytest
from aiohttp import web

from client.conftest import Received, Script, answering, hanging_up
from openscr.client import Profile, Refusal, SpineClient, refusal_of
from openscr.codes import ACS_SET, EVENT_LIST, QUERY_FAILED, SERVICE_PREFIX
from openscr.errors import (
    GENERAL,
    AccessRefused,
    DeliveryError,
    Issue,
    OpenSCRError,
    RetriesExhausted,
    UnreadableMessage,
    UnsafeXml,
    refusal,
)
from openscr.hl7.psis import write_query_failed
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import mint_uuid
from openscr.spine import AckType, Consent, ConsentChange, EventListQuery, MessageIds, Outcome
from openscr.transport.soap import write_fault
from openscr.transport.wsa import read_request, write_response
from openscr.transport.xml import read_xml

CALLER = Profile.demo().caller
QUERY = EventListQuery(MessageIds("", EVENT_LIST), "9990012318")


def refusing(*issues: Issue, ack: AckType = AckType.ERROR, reference: str | None = None, relates: str | None = None):
    """Answer a query with a refusal; ``reference`` and ``relates`` replace the ids that it refers to."""

    async def reply(received: Received) -> web.StreamResponse:
        request = read_request(read_xml(received.body), EVENT_LIST)
        wrapper = read_wrapper(request.body)
        heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT3.0", request.sender_asid, request.receiver_asid)
        body = write_query_failed(EVENT_LIST, heading, Outcome(ack, issues), reference or wrapper.message_id)
        envelope = write_response(
            message_id=mint_uuid(),
            action=f"{SERVICE_PREFIX}psisquery/{QUERY_FAILED}",
            to="",
            from_address="https://spine.test",
            receiver_asid=request.sender_asid,
            sender_asid=request.receiver_asid,
            relates_to=relates or request.message_id,
            body=body,
        )
        return web.Response(body=envelope, headers={"Content-Type": "text/xml"})

    return reply


class Pauses:
    """Waits no time, and remembers what was to be waited."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client_of(script: Script, pauses: Pauses) -> SpineClient:
    return SpineClient(script.url, pause=pauses)


def ids_of(script: Script) -> set[str]:
    return {read_request(read_xml(received.body), EVENT_LIST).message_id for received in script.received}


UNAVAILABLE = refusing(GENERAL["502"], ack=AckType.REJECTED)
REPEATED = {
    "no answer": hanging_up,
    "fault 200": answering(500, write_fault([("200", None)])),
    "fault 206 and 208": answering(500, write_fault([("206", None), ("208", None)])),
    "HTTP 502": answering(502),
    "HTTP 503": answering(503),
    "HTTP 504": answering(504),
    "unavailable": UNAVAILABLE,
}
FINAL: dict[str, tuple[object, type[OpenSCRError]]] = {
    "fault 300": (answering(500, write_fault([("300", None)])), AccessRefused),
    "fault 101": (answering(500, write_fault([("101", None)])), DeliveryError),
    "fault 201 beside 200": (answering(500, write_fault([("201", None), ("200", None)])), DeliveryError),
    "HTTP 403": (answering(403), AccessRefused),
    "HTTP 404": (answering(404, b"not found"), DeliveryError),
    "HTTP 500 without a fault": (answering(500, b"<html/>"), DeliveryError),
    "not XML": (answering(200, b"hello"), UnsafeXml),
    "another document": (answering(200, b"<a/>"), UnreadableMessage),
    "the answer to another message": (refusing(GENERAL["400"], reference=mint_uuid()), UnreadableMessage),
}


@pytest.mark.parametrize("case", REPEATED)
async def test_a_query_is_asked_three_times_each_time_with_a_new_id(script: Script, case: str) -> None:
    script.replies = [REPEATED[case], REPEATED[case], refusing(*refusal("30312", nhs_number=QUERY.nhs_number))]
    pauses = Pauses()
    async with client_of(script, pauses) as client:
        answer = await client.list_events(CALLER, QUERY)
    assert refusal_of(answer.outcome) is Refusal.NO_RECORD
    assert len(script.received) == 3
    assert len(ids_of(script)) == 3
    first, second = pauses.seconds
    assert 1 <= first <= 1.25
    assert 4 <= second <= 5


async def test_after_three_times_the_last_word_is_told(script: Script) -> None:
    script.replies = [UNAVAILABLE]
    async with client_of(script, Pauses()) as client:
        answer = await client.list_events(CALLER, QUERY)
    assert refusal_of(answer.outcome) is Refusal.UNAVAILABLE
    assert len(script.received) == 3

    script.replies = [answering(503)]
    async with client_of(script, Pauses()) as client:
        with pytest.raises(RetriesExhausted):
            await client.list_events(CALLER, QUERY)
    assert len(script.received) == 6


@pytest.mark.parametrize("case", FINAL)
async def test_what_will_not_change_is_asked_once(script: Script, case: str) -> None:
    reply, kind = FINAL[case]
    script.replies = [reply]  # type: ignore[list-item]
    pauses = Pauses()
    async with client_of(script, pauses) as client:
        with pytest.raises(kind) as raised:
            await client.list_events(CALLER, QUERY)
    assert type(raised.value) is kind
    assert QUERY.nhs_number not in str(raised.value)
    assert (len(script.received), pauses.seconds) == (1, [])


async def test_a_change_of_consent_is_asked_once(script: Script) -> None:
    script.replies = [answering(503)]
    async with client_of(script, Pauses()) as client:
        with pytest.raises(DeliveryError):
            await client.set_consent(CALLER, ConsentChange(MessageIds("", ACS_SET), "9990012318", Consent.NO))
    assert len(script.received) == 1


async def test_a_wrong_relates_to_is_warned_of_only(script: Script, caplog: pytest.LogCaptureFixture) -> None:
    """A template of Spine's leaves the prefix away; a wrong one is odd, but the body says what is answered."""
    script.replies = [refusing(GENERAL["400"], relates=f"uuid:{mint_uuid()}")]
    async with client_of(script, Pauses()) as client:
        answer = await client.list_events(CALLER, QUERY)
    assert refusal_of(answer.outcome) is Refusal.INVALID_REQUEST
    assert "RelatesTo" in caplog.text


@pytest.mark.parametrize("at", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://h/?q=1"])
def test_an_address_that_is_no_address_is_told(at: str) -> None:
    with pytest.raises(OpenSCRError, match="is a URL such as"):
        SpineClient(at)
