"""Who is let in to be worked on, who waits, in which order, and who is told to come back: on the loop's own clock."""

import asyncio
import random
from collections import Counter

import pytest
from structlog.testing import capture_logs

from openscr.admission.work import ORDINARY_BODY, Admission, Bodies, Bounds, Kind, Shed
from openscr.errors import Overloaded

NEVER = 600.0
"""A patience that no test outlives."""


async def turns(count: int = 5) -> None:
    """Let everybody who can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


class Room:
    """Requests that come to an admission, are let in, and end when the test says so."""

    def __init__(self, **bounds: float) -> None:
        self.admission = Admission(Bounds(**{"patience": NEVER} | bounds))  # type: ignore[arg-type]
        self.inside: list[str] = []
        self.shed: list[tuple[str, str]] = []
        self._kinds: dict[str, Kind] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def come(self, name: str, kind: Kind = Kind.MESSAGE, sender: str | None = None) -> None:
        """Ask for a place; ``name`` without its last character is the sender."""
        self._tasks.append(asyncio.create_task(self._ask(name, kind, sender or name[:-1])))
        await turns()

    async def _ask(self, name: str, kind: Kind, sender: str) -> None:
        try:
            self.admission.check(sender, kind)
            if not self.admission.begin(kind):
                await self.admission.wait(sender, kind)
        except Overloaded as overload:
            self.shed.append((name, overload.reason))
        else:
            self._kinds[name] = kind
            self.inside.append(name)

    async def leave(self, name: str) -> None:
        """End a request."""
        self.admission.end(self._kinds.pop(name))
        await turns()

    async def all_told(self) -> None:
        """Wait until everybody is let in or refused."""
        await asyncio.gather(*self._tasks)

    async def give_up(self, number: int) -> None:
        """Cancel the request that came as the ``number``th."""
        self._tasks[number].cancel()
        await asyncio.gather(self._tasks[number], return_exceptions=True)


async def test_only_so_many_are_worked_on_and_the_next_ones_wait_for_them() -> None:
    room = Room(at_work=2)
    for name in ("a1", "a2", "a3"):
        await room.come(name, Kind.QUERY if name == "a2" else Kind.MESSAGE)
    assert (room.inside, room.admission.at_work, room.admission.waiting) == (["a1", "a2"], 2, 1)
    await room.leave("a1")
    assert (room.inside, room.admission.at_work, room.admission.waiting) == (["a1", "a2", "a3"], 2, 0)


@pytest.mark.parametrize("kind", Kind)
async def test_one_kind_leaves_the_other_a_quarter_of_the_places(kind: Kind) -> None:
    room = Room(at_work=8)
    for number in range(9):
        await room.come(f"a{number}", kind)
    assert (len(room.inside), room.admission.waiting) == (6, 3)
    other = next(each for each in Kind if each is not kind)
    await room.come("b1", other)
    await room.come("b2", other)
    await room.come("b3", other)
    assert room.inside[-2:] == ["b1", "b2"]


async def test_queries_go_first_but_messages_go_on() -> None:
    room = Room(at_work=4)
    for number in range(3):
        await room.come(f"a{number}", Kind.QUERY)
    await room.come("m0")
    for name in ("m1", "m2"):
        await room.come(name)
    await room.come("a3", Kind.QUERY)
    await room.leave("a0")
    assert room.inside[-1] == "a3"
    await room.come("a4", Kind.QUERY)
    await room.leave("m0")
    # Three queries are at work, which is all that they may be.
    assert room.inside[-1] == "m1"


async def test_senders_take_turns_whatever_each_of_them_has_waiting() -> None:
    room = Room(at_work=4)
    for number in range(9):
        await room.come(f"a{number}")
    await room.come("b0")
    await room.come("c0")
    await room.come("c1")
    for name in ("a0", "a1", "a2", "a3", "b0"):
        await room.leave(name)
    assert room.inside == ["a0", "a1", "a2", "a3", "b0", "c0", "a4", "c1"]


async def test_in_a_full_queue_whoever_has_most_in_it_makes_room() -> None:
    room = Room(at_work=1, waiting=4)
    for number in range(6):
        await room.come(f"a{number}")
    assert room.shed == [("a5", Shed.QUEUE)], "nobody has more waiting than this sender itself"
    await room.come("b0")
    assert room.shed[1:] == [("a4", Shed.QUEUE)], "the latest of the sender with most waiting"
    await room.come("b1")
    assert room.shed[2:] == [("a3", Shed.QUEUE)]
    await room.come("b2")
    assert room.shed[3:] == [("b2", Shed.QUEUE)], "both have the same now"
    await room.leave("a0")
    await room.leave("a1")
    assert room.inside == ["a0", "a1", "b0"]


async def test_nobody_waits_longer_than_the_patience() -> None:
    room = Room(at_work=1, patience=0.01)
    await room.come("a0")
    await room.come("a1")
    await room.come("b0")
    await room.all_told()
    assert room.shed == [("a1", Shed.PATIENCE), ("b0", Shed.PATIENCE)]
    assert (room.admission.at_work, room.admission.waiting) == (1, 0)
    await room.leave("a0")
    await room.come("a2")
    assert room.inside == ["a0", "a2"]


async def test_who_gives_up_leaves_nothing_behind() -> None:
    """Also in the moment in which the place is given: then it is the next one's."""
    room = Room(at_work=1)
    for name in ("a0", "b0", "c0", "d0"):
        await room.come(name)
    await room.give_up(1)
    room.admission.end(Kind.MESSAGE)
    await room.give_up(2)
    await turns()
    assert room.inside == ["a0", "d0"]
    assert (room.admission.at_work, room.admission.waiting) == (1, 0)


async def test_every_place_comes_back_whatever_happens() -> None:
    """Many requests that come, wait, lose patience, are pushed out and go away, in any order."""
    dice = random.Random(7)
    admission = Admission(Bounds(at_work=4, waiting=6, patience=0.004))
    most, outcomes = 0, Counter[str]()

    async def one(sender: str, kind: Kind) -> None:
        nonlocal most
        try:
            admission.check(sender, kind)
            if not admission.begin(kind):
                await admission.wait(sender, kind)
        except Overloaded as overload:
            outcomes[overload.reason] += 1
            return
        most = max(most, admission.at_work)
        try:
            await asyncio.sleep(dice.random() * 0.004)
            outcomes["done"] += 1
        finally:
            admission.end(kind)

    tasks = []
    for _ in range(60):
        tasks += [
            asyncio.create_task(one(dice.choice("aab"), dice.choice(list(Kind)))) for _ in range(dice.randint(1, 24))
        ]
        await asyncio.sleep(dice.random() * 0.003)
        dice.choice(tasks).cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (admission.at_work, admission.waiting, most) == (0, 0, 4)
    assert admission.begin(Kind.QUERY)
    assert outcomes["done"], outcomes
    assert outcomes[Shed.PATIENCE], outcomes
    assert outcomes[Shed.QUEUE], outcomes


async def test_a_sender_and_a_system_may_ask_so_often() -> None:
    now = 0.0
    admission = Admission(Bounds(sender_rate=2, sender_burst=3, system_rate=1, system_burst=1), now=lambda: now)
    for _ in range(3):
        admission.check("practice", Kind.MESSAGE)
    with pytest.raises(Overloaded) as refused:
        admission.check("practice", Kind.QUERY)
    assert (refused.value.reason, refused.value.retry_after) == (Shed.SENDER_RATE, 1)
    admission.check("hospital", Kind.QUERY)
    now = 0.5
    admission.check("practice", Kind.MESSAGE)
    admission.check_system("200000000115")
    with pytest.raises(Overloaded) as refused:
        admission.check_system("200000000115")
    assert (refused.value.reason, refused.value.retry_after) == (Shed.SYSTEM_RATE, 1)
    admission.check_system("200000000116")


def test_bodies_take_no_more_room_than_there_is_but_ordinary_ones_always_have_some() -> None:
    bodies = Bodies(4 * ORDINARY_BODY)
    bodies.take(3 * ORDINARY_BODY)
    with pytest.raises(Overloaded) as refused:
        bodies.take(2 * ORDINARY_BODY)
    assert (refused.value.reason, bodies.held) == (Shed.MEMORY, 3 * ORDINARY_BODY)
    bodies.take(ORDINARY_BODY, ORDINARY_BODY)
    bodies.take(ORDINARY_BODY)
    with pytest.raises(Overloaded):
        bodies.take(1, ORDINARY_BODY)
    bodies.give_back(5 * ORDINARY_BODY)
    assert bodies.held == 0


def test_refusals_are_counted_one_by_one_and_told_together() -> None:
    now, counted = 1.0, list[str]()
    admission = Admission(now=lambda: now, shed=counted.append)
    with capture_logs() as logs:
        admission.refused(Shed.QUEUE)
        for _ in range(9):
            admission.refused(Shed.QUEUE)
        admission.refused(Shed.TIME)
        now = 2.0
        admission.refused(Shed.TIME)
    assert counted == ["queue"] * 10 + ["time"] * 2
    assert [(log.get("queue"), log.get("time")) for log in logs] == [(1, None), (9, 2)]
