"""The web listener's pages and interfaces are not taken on without measure; operations are always answered."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from journeys.wire import Answer, connected, post, request_bytes
from openscr.admission.work import ORDINARY_BODY, Admission, Bounds, Kind, Shed
from openscr.listeners import Listener, bind
from openscr.settings import Address
from openscr.web_admission import ALWAYS, REPORTS, WebAdmission


async def measure(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with the length of the body, whatever its path."""
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@asynccontextmanager
async def serving(admission: Admission, app: ASGIApp = measure) -> AsyncIterator[str]:
    """Serve an application behind an admission; give its address."""
    listener = Listener(WebAdmission(app, admission), bind(Address("127.0.0.1", 0), "web"), tls=None, grace=2)
    await listener.start()
    try:
        yield listener.url
    finally:
        listener.stop_accepting()
        await listener.stopped()


async def get(url: str, path: str) -> Answer:
    """Ask for a path."""
    return await post(url, path, b"", (), method="GET")


async def test_who_is_not_taken_on_is_told_when_to_come_again() -> None:
    told: list[str] = []
    admission = Admission(Bounds(at_work=4, waiting=0), shed=told.append)
    async with serving(admission) as url:
        while admission.begin(Kind.QUERY):
            pass
        page = await get(url, "/somewhere")
        assert (page.status, page.header("retry-after"), page.body) == (503, "1", b"The service is busy; try again\n")
        for path in ("/governance/session", "/spine-directory/FHIR/R4/Device"):
            answer = await get(url, path)
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert json.loads(answer.body)["issue"][0]["code"] == "transient"
        assert told == [Shed.QUEUE] * 3
        for path in ALWAYS:
            assert (await get(url, path)).status == 200
        admission.end(Kind.QUERY)
        assert (await get(url, "/somewhere")).body == b"0"
        assert admission.at_work == 2


async def test_a_sender_that_is_too_fast_is_429() -> None:
    async with serving(Admission(Bounds(sender_rate=0.5, sender_burst=1))) as url:
        assert (await get(url, "/governance/session")).status == 200
        answer = await get(url, "/governance/session")
        assert (answer.status, answer.header("retry-after")) == (429, "2")
        assert json.loads(answer.body)["issue"][0]["code"] == "throttled"


@pytest.mark.parametrize("size", [0, 1, ORDINARY_BODY, ORDINARY_BODY + 1, 10 * ORDINARY_BODY])
async def test_the_body_comes_through_whole(size: int) -> None:
    admission = Admission()
    async with serving(admission) as url:
        assert (await post(url, "/", b"x" * size, ())).body == str(size).encode()
    assert admission.at_work == 0


async def test_who_sends_slowly_takes_no_place_meanwhile() -> None:
    admission = Admission(Bounds(at_work=4, waiting=0))
    async with serving(admission) as url, connected(url) as slow:
        whole = request_bytes("/", b"whole", ())
        await slow.send(whole[:-1])
        for _ in range(3):
            assert (await post(url, "/", b"", ())).status == 200
        assert admission.at_work == 0
        async with asyncio.timeout(20):
            assert (await slow.exchange(whole[-1:])).body == b"5"


async def test_who_waits_for_a_store_that_hangs_is_told_to_come_again() -> None:
    """In time, in the words of the interface, and with the place given back; operations are answered by themselves."""
    told: list[str] = []
    ended: list[str] = []

    async def hang(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(scope["path"])
            # An answer that comes now is none any more.
            await PlainTextResponse("late")(scope, receive, send)
            raise

    admission = Admission(Bounds(answer=0.05), shed=told.append)
    async with serving(admission, hang) as url:
        for size in (4, 2 * ORDINARY_BODY):
            answer = await post(url, "/governance/alerts", b"x" * size, ())
            assert (answer.status, answer.header("retry-after")) == (503, "1")
            assert json.loads(answer.body)["issue"][0]["code"] == "transient"
    assert told == [Shed.TIME] * 2
    assert ended == ["/governance/alerts"] * 2
    assert admission.at_work == 0


async def test_who_is_being_answered_or_still_sends_has_no_time_limit_here() -> None:
    """A long export goes on, a search among millions, a directory of others; the listener judges a slow body."""
    gate = asyncio.Event()

    async def export(scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        if scope["path"] == "/governance/hang":
            await asyncio.Event().wait()
        if scope["path"] in (*REPORTS, "/spine-directory/FHIR/R4/Device"):
            await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"%06d" % len(body), "more_body": True})
        await gate.wait()
        await send({"type": "http.response.body", "body": b""})

    admission = Admission(Bounds(answer=0.05))
    whole = request_bytes("/governance/alerts", b"x" * 2 * ORDINARY_BODY, ())
    async with serving(admission, export) as url, connected(url) as slow, connected(url) as other:
        await slow.send(whole[:-1])
        assert (await other.exchange(request_bytes("/", b"", ()))).body == b"000000"
        (report,) = REPORTS
        searching = asyncio.create_task(post(url, report, b"", ()))
        looking = asyncio.create_task(get(url, "/spine-directory/FHIR/R4/Device"))
        for _ in range(2):
            # As long as all of them have been at it.
            assert (await get(url, "/governance/hang")).status == 503
        assert (await slow.exchange(whole[-1:])).body == b"%06d" % (2 * ORDINARY_BODY)
        assert admission.at_work == 4
        gate.set()
        assert ((await searching).status, (await looking).status) == (200, 200)
    assert admission.at_work == 0
