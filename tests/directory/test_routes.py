"""What is kept of look-ups, and who asks when many want to know. Spec: 50 F12."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from openscr.directory import routes as routes_module
from openscr.directory.model import Contract
from openscr.directory.routes import ABSENT_SECONDS, FRESH_SECONDS, STALE_SECONDS, Route, Routes
from openscr.errors import DirectoryUnavailable, EndpointUnknown

UPLOAD = "psis:REPC_IN150016UK05"


class Directory:
    """Counts what it is asked, and waits or fails when told."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.error: Exception | None = None
        self.go = asyncio.Event()
        self.go.set()
        self.reached = asyncio.Event()

    async def __call__(self, ods: str, interaction: str, correlation_id: str) -> Route:
        self.asked.append((ods, interaction, correlation_id))
        self.reached.set()
        await self.go.wait()
        if self.error is not None:
            raise self.error
        return Route(ods, interaction, str(len(self.asked)), "YES-1", "https://spine.test/", "S1", "", Contract("sds"))


class Time:
    """Stands until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def directory() -> Directory:
    return Directory()


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def routes(directory: Directory, time: Time) -> Routes:
    return Routes(directory, time=time)


async def many(times: int, find: Callable[[], Awaitable[Route]]) -> list[Route | BaseException]:
    return await asyncio.gather(*(find() for _ in range(times)), return_exceptions=True)


async def test_f12_what_one_is_told_all_are_told(directory: Directory, routes: Routes) -> None:
    """The failure too: while a directory is down, nobody stands in a queue to wait for it in turn."""
    directory.error = DirectoryUnavailable("down")
    found = await many(50, lambda: routes.find("YES", UPLOAD))
    assert all(isinstance(each, DirectoryUnavailable) for each in found)
    assert len(directory.asked) == 1
    directory.error = None
    found = await many(50, lambda: routes.find("YES", UPLOAD))
    assert {each.asid for each in found if isinstance(each, Route)} == {"2"}


async def test_f12_whoever_gives_up_does_not_end_the_question_of_the_others(
    directory: Directory, routes: Routes
) -> None:
    directory.go.clear()
    first = asyncio.create_task(routes.find("YES", UPLOAD, "first"))
    await directory.reached.wait()
    second = asyncio.create_task(routes.find("YES", UPLOAD, "second"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    directory.go.set()
    assert (await second).asid == "1"
    assert directory.asked == [("YES", UPLOAD, "first")]


async def test_f12_an_older_answer_counts_and_the_directory_is_left_alone_for_a_while(
    directory: Directory, time: Time, routes: Routes
) -> None:
    await routes.find("YES", UPLOAD)
    directory.error = DirectoryUnavailable("down")
    time.now = FRESH_SECONDS
    for _ in range(3):
        assert (await routes.find("YES", UPLOAD)).asid == "1"
    assert len(directory.asked) == 2
    time.now += ABSENT_SECONDS
    assert (await routes.find("YES", UPLOAD)).asid == "1"
    assert len(directory.asked) == 3
    # Back again: what it says now counts at once.
    directory.error = None
    time.now += ABSENT_SECONDS
    assert (await routes.find("YES", UPLOAD)).asid == "4"
    # And what it no longer knows is not known.
    directory.error = EndpointUnknown("gone")
    time.now += FRESH_SECONDS
    with pytest.raises(EndpointUnknown):
        await routes.find("YES", UPLOAD)


async def test_f12_an_answer_is_no_use_after_a_day(directory: Directory, time: Time, routes: Routes) -> None:
    await routes.find("YES", UPLOAD)
    directory.error = DirectoryUnavailable("down")
    time.now = STALE_SECONDS - 1
    assert (await routes.find("YES", UPLOAD)).asid == "1"
    time.now = STALE_SECONDS
    with pytest.raises(DirectoryUnavailable):
        await routes.find("YES", UPLOAD)


async def test_how_long_a_route_is_fresh_can_be_said(directory: Directory, time: Time) -> None:
    routes = Routes(directory, fresh_seconds=0, time=time)
    assert [(await routes.find("YES", UPLOAD)).asid for _ in range(3)] == ["1", "2", "3"]


async def test_no_more_is_kept_than_there_is_room_for(
    directory: Directory, routes: Routes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_module, "MOST_KEPT", 2)
    for ods in ("A", "B", "A", "C", "A", "B"):
        await routes.find(ods, UPLOAD)
    assert [ods for ods, _, _ in directory.asked] == ["A", "B", "C", "B"]
