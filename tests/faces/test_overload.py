"""What is not taken on is refused in the words of its channel, and welcome later; what is taken on is answered.

The service is whole and real, the limits are small; the test itself takes the places that others would have.
"""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from alerts import an_alert, in_fhir
from conformance.harness import Harness, running
from journeys.messages import HOSPITAL, PRACTICE, Client, fresh_patient
from journeys.polling import FacadeUpload, place_of
from journeys.wire import Answer, connected, fault_of, post, request_bytes, signal_of, soap_of
from openscr.admission.work import ORDINARY_BODY, Admission, Bounds, Kind, Shed
from openscr.codes import ACS_GET_ANSWER
from openscr.http_protocol import Limits

ALERT = "/clinical/alert"
FHIR: Final = (("Content-Type", "application/fhir+json"),)


class Busy:
    """A service with few places."""

    def __init__(self, service: Harness, admission: Admission, told: list[str]) -> None:
        self.service = service
        self.admission = admission
        self.told = told

    def take_all(self) -> None:
        """Take every place, of both kinds."""
        for kind in Kind:
            while self.admission.begin(kind):
                self._taken.append(kind)

    _taken: list[Kind]

    def let_go(self) -> None:
        """Give all of them back."""
        while self._taken:
            self.admission.end(self._taken.pop())


@asynccontextmanager
async def busy(folder: Path, limits: Limits | None = None, **bounds: float) -> AsyncIterator[Busy]:
    """Run a service with these bounds."""
    told: list[str] = []
    given = {"at_work": 4, "patience": 0.02} | bounds
    admission = Admission(Bounds(**given), shed=told.append)  # type: ignore[arg-type]
    async with running(folder, examples=False, admission=admission, limits=limits) as service:
        found = Busy(service, admission, told)
        found._taken = []
        yield found


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come true in a moment."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 what is waited for is the service's own
            await asyncio.sleep(0.001)


async def alert(url: str, nhs_number: str) -> Answer:
    """Post an alert in FHIR."""
    return await post(url, ALERT, json.dumps(in_fhir(an_alert(nhs_number))).encode(), FHIR)


@pytest.mark.parametrize("queue", ["full", "too long"])
async def test_every_channel_says_in_its_own_words_that_it_is_busy(tmp_path: Path, queue: str) -> None:
    """A SOAP fault 200, of which clients try again, and never a MessageError; FHIR 503; who polls asks again."""
    async with busy(tmp_path, **({"waiting": 0} if queue == "full" else {})) as site:
        url, number = site.service.url, fresh_patient()
        polled = FacadeUpload.of(number)
        place = place_of(await polled.post(url))
        upload = PRACTICE.upload(number).post()
        site.take_all()
        for request in (upload, PRACTICE.get_consent(number), PRACTICE.express(number).post()):
            assert fault_of(await request.to(url)).codes == ("200",)
        assert fault_of(await FacadeUpload.of(number).post(url)).codes == ("200",)
        asked = await polled.ask(url, place)
        assert (asked.status, asked.header("content-location"), asked.header("retry-after")) == (202, place, "1000")
        refused = await alert(url, number)
        assert (refused.status, refused.header("retry-after")) == (503, "1")
        (issue,) = json.loads(refused.body)["issue"]
        assert (issue["code"], issue["details"]["coding"][0]["code"]) == ("transient", "SERVICE_UNAVAILABLE")
        assert site.told == [Shed.QUEUE if queue == "full" else Shed.PATIENCE] * 6

        site.let_go()
        assert signal_of(await upload.to(url)).kind == "Acknowledgment"
        soap_of(await PRACTICE.get_consent(number).to(url), ACS_GET_ANSWER)
        assert (await polled.ask(url, place)).status == 200
        assert (await alert(url, number)).status == 200
        assert (site.admission.at_work, site.admission.waiting, site.admission.bodies.held) == (0, 0, 0)


@pytest.mark.parametrize("place", ["%0d%0aX-Planted:%20yes", "%E2%82%AC", "no-token"])
async def test_what_a_stranger_calls_a_place_is_repeated_in_no_header(tmp_path: Path, place: str) -> None:
    """Nobody is told to ask again for what can be no result; least of all in lines of the asker's own."""
    async with busy(tmp_path, waiting=0) as site, connected(site.service.url) as connection:
        site.take_all()
        asked = await connection.exchange(f"GET /_poll/{place} HTTP/1.1\r\nHost: scr\r\n\r\n".encode())
        assert asked.status == 404
        assert [asked.header(name) for name in ("x-planted", "content-location")] == [None, None]


async def test_a_full_queue_refuses_before_the_body_has_come(tmp_path: Path) -> None:
    """The connection can be used again once the body has gone by."""
    async with busy(tmp_path, waiting=0) as site, connected(site.service.url) as connection:
        site.take_all()
        request = PRACTICE.upload(fresh_patient()).post()
        head, _, body = request.raw().partition(b"\r\n\r\n")
        await connection.send(head + b"\r\n\r\n")
        assert fault_of(await connection.answer()).codes == ("200",)
        site.let_go()
        await connection.send(body)
        assert signal_of(await connection.exchange(request.raw())).kind == "Acknowledgment"


async def test_who_waits_to_be_told_to_send_the_body_is_refused_for_good(tmp_path: Path) -> None:
    """It is not told to go on, and what comes next cannot be taken for the body: the connection ends."""
    async with busy(tmp_path, waiting=0) as site, connected(site.service.url) as connection:
        site.take_all()
        request = PRACTICE.upload(fresh_patient()).post().with_headers(Expect="100-continue")
        head, _, _ = request.raw().partition(b"\r\n\r\n")
        answer = await connection.exchange(head + b"\r\n\r\n")
        assert fault_of(answer).codes == ("200",)
        assert answer.header("connection") == "close"
        assert await connection.ended()


async def test_a_request_that_waits_gets_the_next_free_place(tmp_path: Path) -> None:
    async with busy(tmp_path, patience=60) as site, connected(site.service.url) as connection:
        site.take_all()
        await connection.send(PRACTICE.upload(fresh_patient()).post().raw())
        await until(lambda: site.admission.waiting == 1)
        site.let_go()
        assert signal_of(await connection.answer()).kind == "Acknowledgment"


@asynccontextmanager
async def store_held_up(folder: Path) -> AsyncIterator[None]:
    """Keep the store's file locked, as a disk that stands still or another program would."""
    other = sqlite3.connect(folder / "openscr.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


async def test_a_store_that_stands_still_leaves_nobody_without_an_answer(tmp_path: Path) -> None:
    """The fault says that it may be tried again; what was asked is done once, whenever the store goes on."""
    async with busy(tmp_path, answer=0.2) as site:
        url, number = site.service.url, fresh_patient()
        upload = PRACTICE.upload(number).post()
        async with store_held_up(tmp_path):
            refused = await asyncio.gather(
                upload.to(url), PRACTICE.get_consent(number).to(url), FacadeUpload.of(number).post(url)
            )
            assert [fault_of(answer).codes for answer in refused] == [("200",)] * 3
            told = await alert(url, number)
            assert (told.status, told.header("retry-after")) == (503, "1")
        assert site.told == [Shed.TIME] * 4
        assert signal_of(await upload.to(url)).kind == "Acknowledgment"
        assert signal_of(await upload.to(url)).kind == "Acknowledgment"
        async with asyncio.timeout(20):
            while await site.service.store.list_outbox():  # noqa: ASYNC110 as above
                await asyncio.sleep(0.01)
        answered = [each.envelope.ref_to_message_id for each in site.service.clients.deliveries]
        assert answered.count(upload.message_id) == 1
        assert site.admission.at_work == 0


async def test_a_sender_that_is_too_fast_is_told_so_and_others_are_not(tmp_path: Path) -> None:
    """Here senders are told apart by their addresses; with mutual TLS by their certificates."""
    async with busy(tmp_path, sender_rate=0.001, sender_burst=2) as site:
        url, number = site.service.url, fresh_patient()
        request = PRACTICE.get_consent(number)
        for _ in range(2):
            soap_of(await request.to(url), ACS_GET_ANSWER)
        assert fault_of(await request.to(url)).codes == ("200",)
        refused = await alert(url, number)
        assert (refused.status, refused.header("retry-after")) == (429, "1000")
        assert json.loads(refused.body)["issue"][0]["code"] == "throttled"
        assert site.told == [Shed.SENDER_RATE] * 2
        async with connected(url, source="127.0.0.2") as other:
            soap_of(await other.exchange(request.raw()), ACS_GET_ANSWER)


async def test_a_system_that_is_too_fast_is_told_so_and_others_are_not(tmp_path: Path) -> None:
    async with busy(tmp_path, system_rate=0.001, system_burst=1) as site:
        url, number = site.service.url, fresh_patient()

        async def codes(client: Client) -> tuple[str, ...]:
            return fault_of(await client.get_consent(number).to(url)).codes

        soap_of(await PRACTICE.get_consent(number).to(url), ACS_GET_ANSWER)
        assert await codes(PRACTICE) == ("200",)
        assert fault_of(await PRACTICE.upload(number).post().to(url)).codes == ("200",)
        assert fault_of(await FacadeUpload.of(number).post(url)).codes == ("200",)
        assert (await alert(url, number)).status == 429
        soap_of(await HOSPITAL.get_consent(number).to(url), ACS_GET_ANSWER)
        assert site.told == [Shed.SYSTEM_RATE] * 4


async def test_large_bodies_wait_outside_when_there_is_no_room_for_them(tmp_path: Path) -> None:
    """Whether their length is announced or not; messages of ordinary size come through all the while."""
    size = 2 * ORDINARY_BODY
    async with busy(tmp_path, bodies=size) as site:
        url = site.service.url
        async with connected(url) as first:
            await first.send(request_bytes("/sync-service", b"x" * size, (), length=size + 1))
            await until(lambda: site.admission.bodies.held == size)
            async with connected(url) as second:
                assert fault_of(await second.exchange(request_bytes("/sync-service", b"x" * size, ()))).codes == (
                    "200",
                )
            async with connected(url) as third:
                chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (size, b"x" * size)
                head = b"POST /sync-service HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                assert fault_of(await third.exchange(head + chunk)).codes == ("200",)
            assert site.told == [Shed.MEMORY] * 2
            upload = PRACTICE.upload(fresh_patient()).post()
            assert len(upload.body) < ORDINARY_BODY
            assert signal_of(await upload.to(url)).kind == "Acknowledgment"
        await until(lambda: not site.admission.bodies.held)


async def test_a_connection_too_many_is_told_so_in_the_words_of_the_path(tmp_path: Path) -> None:
    limits = Limits(connections_per_address=1)
    async with busy(tmp_path, limits) as site, connected(site.service.url, source="127.0.0.2") as first:
        url = site.service.url
        request = PRACTICE.get_consent(fresh_patient())
        soap_of(await first.exchange(request.raw()), ACS_GET_ANSWER)
        async with connected(url, source="127.0.0.2") as second:
            answer = await second.exchange(PRACTICE.upload(fresh_patient()).post().raw())
            assert fault_of(answer).codes == ("200",)
            assert await second.ended()
        async with connected(url, source="127.0.0.2") as third:
            answer = await third.exchange(request_bytes(ALERT, b"{}", FHIR))
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert await third.ended()
        soap_of(await first.exchange(request.raw()), ACS_GET_ANSWER)
