"""The sender's side of the polling channel. Spec: 40 §7.6."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from client.conftest import Received, Reply, Script, answering, hanging_up
from client.stories import document_of, new_patient, summary
from openscr.client import Profile, SpineClient, Submission
from openscr.codes import POLLING_UPLOAD
from openscr.errors import AccessRefused, DeliveryError, OpenSCRError, RetriesExhausted, WireError
from openscr.transport.soap import write_fault
from shared import MESSAGES

CONTENT = summary(new_patient())
DOCUMENT = document_of(CONTENT)
PLACE = "/_poll/4b6c8a3e-6c1b-4d53-9b57-9a6f6d0e7b11"


def going_on(retry_after: str | None, place: str | None = PLACE) -> Reply:
    """Return a 202 of the channel; none leaves a header out."""

    async def reply(_: Received) -> web.StreamResponse:
        headers = {"Content-Location": place, "Retry-After": retry_after}
        return web.Response(status=202, headers={name: value for name, value in headers.items() if value is not None})

    return reply


async def result(_: Received) -> web.StreamResponse:
    """Give the captured result, for the message at hand."""
    (path,) = (MESSAGES / "transport").glob("23-*")
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    content_type = next(line for line in head.decode().split("\r\n") if line.startswith("Content-Type"))
    body = body.replace(b"A7B8C9D0-E1F2-4031-8425-364758699A0B", CONTENT.event_id.encode())
    return web.Response(status=200, body=body, headers={"Content-Type": content_type.partition(": ")[2]})


class Time:
    """Goes on by what is waited, and by nothing else."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def pause(self, seconds: float) -> None:
        """Wait."""
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def time() -> Time:
    """A clock of the test's own."""
    return Time()


@pytest.fixture
async def client(script: Script, time: Time) -> AsyncIterator[SpineClient]:
    """The demo's GP system at the scripted Spine."""
    async with SpineClient(script.url, Profile.demo(), monotonic=time, pause=time.pause) as client:
        yield client


async def upload(client: SpineClient) -> Submission:
    """Send the summary over the polling channel."""
    return await client.upload_document(DOCUMENT, polling=True)


async def test_the_pauses_are_milliseconds_as_the_service_says(client: SpineClient, script: Script, time: Time) -> None:
    script.replies = [going_on("100")]
    script.polls = [going_on("1000"), going_on("250", None), result]
    submission = await upload(client)
    assert (submission.interaction, submission.attempts, submission.accepted) == (POLLING_UPLOAD, 1, True)
    assert time.pauses == [0.1, 1.0, 0.25]
    (posted,) = script.received
    assert posted.request.path == "/clinical"
    assert posted.request.headers["SOAPAction"] == f'"urn:nhs:names:services:psis/{POLLING_UPLOAD}"'
    assert {polled.request.path for polled in script.polled} == {PLACE}
    for request in (posted, *script.polled):
        headers = request.request.headers
        assert headers["nhsd-asid"] == "200000000115"
        assert (headers["NHSD-Identity-UUID"], headers["NHSD-Session-URID"]) == ("555000000101", "555000000102")
        assert headers["NHSD-Correlation-ID"] == posted.request.headers["NHSD-Correlation-ID"]


LOST: dict[str, Reply] = {
    "no answer": hanging_up,
    "a retriable fault": answering(500, write_fault([("200", None)])),
    "5xx without a body": answering(503),
}


@pytest.mark.parametrize("first", LOST)
async def test_a_post_that_may_be_lost_is_repeated_with_the_same_bytes(
    client: SpineClient, script: Script, first: str
) -> None:
    script.replies = [LOST[first], LOST[first], going_on("0")]
    script.polls = [result]
    assert (await upload(client)).attempts == 3
    assert len({received.body for received in script.received}) == 1


async def test_a_result_that_has_gone_is_asked_for_with_the_same_message(client: SpineClient, script: Script) -> None:
    script.replies = [going_on("0")]
    script.polls = [answering(404), *LOST.values(), result]
    assert (await upload(client)).attempts == 2
    assert len({received.body for received in script.received}) == 1
    assert len(script.polled) == 5


async def test_it_asks_for_fifty_seconds_and_no_longer(client: SpineClient, script: Script, time: Time) -> None:
    script.replies = [going_on("1000")]
    script.polls = [going_on("1000")]
    with pytest.raises(RetriesExhausted, match="not ready"):
        await upload(client)
    assert sum(time.pauses) == 50
    assert len(script.polled) == 50


async def test_the_whole_of_it_takes_a_minute_at_most(client: SpineClient, script: Script, time: Time) -> None:
    script.replies = [answering(503)] * 20 + [going_on("1000")]
    script.polls = [going_on("1000")]
    with pytest.raises(RetriesExhausted):
        await upload(client)
    assert sum(time.pauses) == 60
    assert len(script.received) == 21


FOR_GOOD: dict[str, tuple[Reply, type[OpenSCRError], str]] = {
    "fault 300": (answering(500, write_fault([("300", None)])), AccessRefused, "300: The sender or receiver's ASID"),
    "fault 101": (answering(500, write_fault([("101", None)])), DeliveryError, "101: The service/interaction is not"),
    "HTTP 403": (answering(403), AccessRefused, "HTTP 403"),
    "HTTP 404": (answering(404), DeliveryError, "HTTP 404"),
    "no place": (going_on("100", None), DeliveryError, "where the result"),
    "a place of somebody else's": (going_on("100", "https://elsewhere.example/_poll/x"), DeliveryError, "where"),
    "a place of another host": (going_on("100", "//elsewhere.example/x"), DeliveryError, "where"),
    "no pause": (going_on(None), DeliveryError, "when to ask"),
    "a pause that is a date": (going_on("Wed, 21 Oct 2026 07:28:00 GMT"), DeliveryError, "when to ask"),
}


@pytest.mark.parametrize("case", FOR_GOOD)
async def test_what_is_refused_for_good_is_not_sent_again(client: SpineClient, script: Script, case: str) -> None:
    reply, kind, said = FOR_GOOD[case]
    script.replies = [reply]
    with pytest.raises(kind, match=said):
        await upload(client)
    assert (len(script.received), len(script.polled)) == (1, 0)


RESULTS: dict[str, tuple[Reply, type[OpenSCRError]]] = {
    "another's": (answering(403), AccessRefused),
    "no multipart": (answering(200, b"<a/>"), WireError),
}


@pytest.mark.parametrize("case", RESULTS)
async def test_a_result_that_is_none_is_told(client: SpineClient, script: Script, case: str) -> None:
    reply, kind = RESULTS[case]
    script.replies, script.polls = [going_on("0")], [reply]
    with pytest.raises(kind):
        await upload(client)
    assert len(script.polled) == 1
