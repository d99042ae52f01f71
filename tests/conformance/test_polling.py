"""The captures of the polling channel, and what the journeys cannot wait for: expiry, and a store that fails."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from openscr.errors import StoreUnavailable
from openscr.identifiers import mint_uuid
from openscr.spine import EventStatus
from openscr.transport.mime import read_multipart

from .comparing import same
from .examples import Capture, capture
from .harness import Answer, Harness

PATIENT = "9990000018"
SENT_AT = datetime(2025, 6, 5, 14, 0, 3, tzinfo=UTC)
OWN_HEADERS = ("nhsd-asid", "nhsd-identity-uuid", "nhsd-session-urid", "nhsd-correlation-id", "nhsd-request-id")


def own_headers(shown: Capture) -> Mapping[str, str]:
    """The headers of a capture that belong to the channel."""
    return {name: shown.headers[name] for name in OWN_HEADERS}


async def post(service: Harness, shown: Capture) -> Answer:
    """Send a captured upload as it is."""
    return await service.post(
        shown.path,
        shown.body,
        soap_action=shown.headers["soapaction"],
        content_type=shown.headers["content-type"],
        headers=own_headers(shown),
    )


async def ask(service: Harness, place: str) -> Answer:
    """Ask for a result with the headers of the captured GET."""
    async with service.http.get(service.url + place, headers=own_headers(capture("21"))) as response:
        received = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, received, await response.read())


def shape(headers: Mapping[str, str]) -> set[str]:
    """The names of the headers that mean something."""
    return set(headers) - {"date", "server", "connection"}


async def test_a_polling_upload_and_its_result(service: Harness) -> None:
    """19 gets 20; 21 gets 23, both documents letter for letter as the capture writes them. Spec: 40 §10.5, §12."""
    service.clock.now = SENT_AT
    accepted, shown = await post(service, capture("19")), capture("20")
    assert (accepted.status, accepted.body, shape(accepted.headers)) == (shown.status, b"", shape(shown.headers))
    assert accepted.headers["retry-after"] == shown.headers["retry-after"] == "100"
    place = accepted.headers["content-location"]
    # The slot of the patient begins the token, there and here.
    assert place[: len("/_poll/4b6")] == shown.headers["content-location"][: len("/_poll/4b6")] == "/_poll/4b6"
    result, shown = await ask(service, place), capture("23")
    assert (result.status, result.headers["content-type"]) == (200, shown.headers["content-type"])
    ours, theirs = (read_multipart(shown.headers["content-type"], body) for body in (result.body, shown.body))
    for our_part, their_part in zip(ours.parts, theirs.parts, strict=True):
        our, their = our_part.content(result.body), their_part.content(shown.body)
        assert our.count(b"\n") == their.count(b"\n") == 1
        same(our, their)
    (event,) = (await service.state(PATIENT)).events
    assert event.status is EventStatus.NORMAL
    assert service.clients.deliveries == []


async def test_a_result_is_kept_for_five_minutes_and_its_message_for_good(service: Harness) -> None:
    """An expired token is none; the message sent again gets a fresh one, which leads to the same bytes."""
    service.clock.now = SENT_AT
    first = (await post(service, capture("19"))).headers["content-location"]
    result = await ask(service, first)
    service.clock.now = SENT_AT + timedelta(seconds=299)
    assert (await ask(service, first)).body == result.body
    service.clock.now = SENT_AT + timedelta(seconds=300)
    assert (await ask(service, first)).status == 404
    assert await service.store.remove_poll_results(service.clock.now) == 1

    service.clock.now = SENT_AT + timedelta(days=400)
    second = (await post(service, capture("19"))).headers["content-location"]
    assert second != first
    assert (await ask(service, second)).body == result.body
    # A repetition begins the five minutes again.
    service.clock.now += timedelta(seconds=200)
    assert (await post(service, capture("19"))).headers["content-location"] == second
    service.clock.now += timedelta(seconds=200)
    assert (await ask(service, second)).body == result.body
    assert len((await service.state(PATIENT)).events) == 1
    assert len(await service.audit(nhs_number=PATIENT)) == 1
    assert (await service.store.verify()).faults == ()


async def test_a_result_that_cannot_be_read_now_is_not_ready(service: Harness) -> None:
    """While the store fails the client is asked to come again, as 22 shows; then the result is there."""
    place = (await post(service, capture("19"))).headers["content-location"]
    find, shown = service.record.fetch, capture("22")

    async def fail(slot: int, token: str) -> None:
        raise StoreUnavailable("the disk under the database fails")

    service.record.fetch = fail  # type: ignore[method-assign, assignment]
    answer = await ask(service, place)
    assert (answer.status, answer.body, shape(answer.headers)) == (shown.status, b"", shape(shown.headers))
    assert (answer.headers["retry-after"], answer.headers["content-location"]) == ("1000", place)
    service.record.fetch = find  # type: ignore[method-assign]
    assert (await ask(service, place)).status == 200


async def test_an_upload_that_cannot_be_stored_is_our_own_failure(service: Harness) -> None:
    """Fault 200, which may be sent again, and nothing behind it. Spec: 40 §8 step 14."""
    await service.store.close()
    answer = await post(service, capture("19"))
    assert answer.status == 500
    assert b"errorCode>200<" in answer.body
    await service.store.open()
    assert (await service.state(PATIENT)).events == ()
    assert (await post(service, capture("19"))).status == 202
    assert (await ask(service, f"/_poll/4b6{mint_uuid()[3:].lower()}")).status == 404
