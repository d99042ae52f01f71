"""Several workers on one store: who sends which row, who runs, which sessions have ended; on every engine."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openscr.errors import ConfigurationError, StoreError
from openscr.store import postgres, sqlite
from openscr.store.instances import SILENCE, check_alone, running_elsewhere
from openscr.store.interface import Instance, Leasing, OutboxState, Store
from openscr.store.migrations import SERVICE

from .conftest import Opening
from .samples import SLOT, SUMMARY, an_id, an_outbox_row, append, at

ONE, TWO, OTHER = "here/1", "here/2", "there/1"


@pytest.fixture
async def workers(opening: Opening) -> AsyncIterator[tuple[Store, Store]]:
    """Give the same store as two workers have it open."""
    async with opening(ONE) as one, opening(TWO) as two:
        yield one, two


async def ids_due(store: Store, limit: int = 100, *besides: str) -> list[str]:
    """Return what a worker is given to send, late in the day."""
    return [row.id for row in await store.due_outbox(at(10_000), limit, besides=besides)]


async def test_what_a_worker_accepted_it_sends_itself(workers: tuple[Store, Store]) -> None:
    """A row is its holder's from the beginning, until that one gives it back."""
    one, two = workers
    await append(one, [an_outbox_row(1)])
    assert await ids_due(two) == []
    (row,) = await one.due_outbox(at(10), 10)
    assert await ids_due(one) == [row.id], "whether it is under way is for its worker to know"
    tried = replace(row, attempts=1, first_attempt_at=at(1), next_attempt_at=at(60), last_error="HTTP 500")
    assert not await two.change_outbox(tried)
    assert await one.change_outbox(tried)
    assert await two.due_outbox(at(59), 10) == []
    assert await two.due_outbox(at(60), 10) == [tried]
    assert await ids_due(one) == []


async def test_a_row_that_is_rendered_stays_its_holders(workers: tuple[Store, Store]) -> None:
    """The bytes are stored before they are sent, by the one who sends them."""
    one, two = workers
    await append(one, [an_outbox_row(1)])
    rendered = replace(an_outbox_row(1), body=SUMMARY, content_type="multipart/related")
    assert await one.change_outbox(rendered, keep=True)
    assert await ids_due(two) == []
    assert await one.due_outbox(at(10), 10) == [rendered]


async def test_what_a_receiver_says_counts_whoever_sends(workers: tuple[Store, Store]) -> None:
    """A refusal that arrives elsewhere ends the row; the worker that sends it can change nothing any more."""
    one, two = workers
    await append(one, [an_outbox_row(1), an_outbox_row(2)])
    refused = replace(an_outbox_row(1), state=OutboxState.FAILED, last_error="MessageError, posted later")
    assert await two.change_outbox(refused, whoever=True)
    assert not await one.change_outbox(replace(an_outbox_row(1), attempts=1, next_attempt_at=at(60)))
    assert await one.list_outbox("failed") == [refused]
    await two.remove_outbox(SLOT, an_id(2))
    assert not await one.change_outbox(an_outbox_row(2), whoever=True)
    assert [row.id for row in await one.list_outbox()] == [an_id(1)]


async def test_who_has_no_name_takes_only_what_is_nobodys(opening: Opening) -> None:
    """Operators look at everything, and send again what has ended."""
    async with opening(ONE) as one, opening() as nobody:
        await append(one, [an_outbox_row(1), an_outbox_row(2)])
        assert await ids_due(nobody) == []
        assert len(await nobody.list_outbox()) == 2
        assert not await nobody.change_outbox(replace(an_outbox_row(1), attempts=2))
        failed = replace(an_outbox_row(1), state=OutboxState.FAILED, attempts=3)
        assert await one.change_outbox(failed)
        assert await nobody.change_outbox(replace(failed, state=OutboxState.OPEN, attempts=0))
        assert await ids_due(nobody) == [an_id(1)]
        assert sorted(await ids_due(one)) == [an_id(1), an_id(2)]


async def test_a_worker_that_ends_gives_back_what_it_has(workers: tuple[Store, Store]) -> None:
    """Its rows are nobody's at once; it is known no more."""
    one, two = workers
    await one.announce(Instance(ONE, "0.1.0", at(0), at(1)))
    await append(one, [an_outbox_row(number) for number in range(3)])
    assert await two.outbox_holders() == [ONE]
    assert await two.withdraw(ONE) == 3
    assert (await two.read_instances(), await two.outbox_holders()) == ([], [])
    assert sorted(await ids_due(two)) == [an_id(number) for number in range(3)]
    assert await one.outbox_holders() == [TWO]
    assert not await one.change_outbox(replace(an_outbox_row(0), attempts=1))
    assert await two.withdraw("nobody/7") == 0


async def test_hours_of_rows_are_given_back_in_portions(
    workers: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many a dead worker has left, no statement takes long; two that give them back do not wait."""
    for module in (postgres, sqlite):
        monkeypatch.setattr(module, "RELEASED_AT_A_TIME", 7)
    one, two = workers
    await append(one, [an_outbox_row(number) for number in range(40)])
    released = await asyncio.gather(one.withdraw(ONE), two.withdraw(ONE))
    assert sum(released) == 40
    assert await two.outbox_holders() == []
    assert len(await ids_due(two)) == 40


async def test_a_worker_that_starts_again_has_what_it_had(opening: Opening) -> None:
    """A holder's name stays, and its rows with it."""
    async with opening(ONE) as one:
        await append(one, [an_outbox_row(1)])
    async with opening(ONE) as again:
        assert await ids_due(again) == [an_id(1)]


async def test_ended_rows_are_nobodys(workers: tuple[Store, Store]) -> None:
    """Neither a failed nor an undeliverable row has a holder, and a holder is named once."""
    one, _ = workers
    rows = [an_outbox_row(number) for number in range(4)]
    await append(one, rows)
    await one.change_outbox(replace(rows[0], state=OutboxState.FAILED))
    await one.change_outbox(replace(rows[1], state=OutboxState.UNDELIVERABLE))
    assert await one.outbox_holders() == [ONE]
    assert await one.withdraw(ONE) == 2


PARTIES = ("A", "B", "C")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(0, 2), st.sampled_from(PARTIES)),
        st.tuples(st.just("take"), st.integers(0, 2), st.sets(st.sampled_from(PARTIES), max_size=2)),
        st.tuples(st.just("fail"), st.integers(0, 2), st.integers(0, 20)),
        st.tuples(st.just("withdraw"), st.integers(0, 2), st.none()),
    ),
    max_size=14,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_no_row_is_ever_with_two_workers(opening: Opening, steps: list[tuple[str, int, object]]) -> None:
    """Whatever workers do in whatever order: a row is with one of them or nobody, and is never lost."""

    async def run() -> None:
        names = (ONE, TWO, OTHER)
        holder: dict[str, str] = {}
        async with AsyncExitStack() as stack:
            stores = [await stack.enter_async_context(opening(name)) for name in names]
            try:
                for step, number, what in steps:
                    store, name = stores[number], names[number]
                    if step == "append":
                        row = an_outbox_row(len(holder), slot=len(holder) % 3, to_party=what)
                        await append(store, [row], row.slot)
                        holder[row.id] = name
                    elif step == "take" and isinstance(what, set):
                        given_out = await store.due_outbox(at(10_000), 4, besides=sorted(what))
                        assert all(holder[row.id] in {name, ""} and row.to_party not in what for row in given_out)
                        holder |= {row.id: name for row in given_out}
                    elif step == "fail":
                        row = an_outbox_row(int(str(what)), slot=int(str(what)) % 3)
                        kept = await store.change_outbox(replace(row, attempts=1))
                        assert kept == (holder.get(row.id) == name)
                        holder |= {row.id: ""} if kept else {}
                    elif step == "withdraw":
                        had = [id for id, one in holder.items() if one == name]
                        assert await stores[0].withdraw(name) == len(had)
                        holder |= dict.fromkeys(had, "")
                assert await stores[0].outbox_holders() == sorted({name for name in holder.values() if name})
                left: Counter[str] = Counter()
                for store in stores:
                    left.update(row.id for row in await store.due_outbox(at(10_000), 100))
                assert left == Counter(holder.keys())
            finally:
                # The examples share one database.
                for row in await stores[0].list_outbox():
                    await stores[0].remove_outbox(row.slot, row.id)

    asyncio.run(run())


async def test_of_many_who_ask_at_once_each_gets_its_own(opening: Opening) -> None:
    """Forty rows are nobody's; four workers ask together until there are no more."""
    async with opening() as nobody:
        for number in range(40):
            await append(nobody, [an_outbox_row(number, slot=number % 5)], number % 5)
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(opening(f"here/{number}")) for number in range(4)]
        taken = await asyncio.gather(*(store.due_outbox(at(100), 10) for store in stores))
        assert Counter(row.id for rows in taken for row in rows) == Counter(an_id(number) for number in range(40))


# --- who runs -------------------------------------------------------------------------------------------------------


async def test_who_runs_is_told_the_longest_running_first(workers: tuple[Store, Store]) -> None:
    """A later word takes the place of an earlier one."""
    one, two = workers
    await one.announce(Instance(ONE, "0.1.0", at(5), at(5)))
    await two.announce(Instance(TWO, "0.2.0", at(1), at(1)))
    await one.announce(Instance(ONE, "0.1.0", at(5), at(9)))
    expected = [Instance(TWO, "0.2.0", at(1), at(1)), Instance(ONE, "0.1.0", at(5), at(9))]
    assert await one.read_instances() == expected == await two.read_instances()
    await two.withdraw(TWO)
    assert await one.read_instances() == expected[1:]


async def test_the_stores_clock_goes_on(store: Store) -> None:
    """It tells an instant with its zone, and never one before the last."""
    first, second = await store.now(), await store.now()
    assert first.utcoffset() == timedelta(0)
    assert first <= second


def test_who_was_not_heard_of_for_long_does_not_run() -> None:
    """Only those of other places count, and only while they say so; the line tells what to do."""
    heard = Instance(OTHER, "0.1.0", at(0), at(100))
    ours = Instance(ONE, "0.1.0", at(0), at(100))
    leasing = Leasing(TWO)
    assert running_elsewhere([heard, ours], leasing, at(101)) == [heard]
    assert running_elsewhere([heard, ours], Leasing(), at(101)) == [heard, ours]
    assert running_elsewhere([heard], leasing, at(100 + SILENCE)) == []
    check_alone([ours], leasing, at(101), found="0006", needed="0007")
    with pytest.raises(Exception, match=r"schema 0006, this program needs 0007, and 1 worker process runs .*0\.1\.0"):
        check_alone([heard], leasing, at(101), found="0006", needed="0007")


async def test_a_newer_program_does_not_change_the_schema_under_others(
    opening: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, nothing changed; the workers that run go on."""
    async with opening(OTHER) as running:
        now = await running.now()
        await running.announce(Instance(OTHER, "0.1.0", now, now))
        newer = replace(SERVICE, revisions=(*SERVICE.revisions, "9999"))
        monkeypatch.setattr(type(running), "schema", newer)
        with pytest.raises(
            ConfigurationError, match=r"needs 9999, and 1 worker process runs on it \(version 0\.1\.0\)"
        ):
            async with opening(ONE):
                pass
        monkeypatch.undo()
        assert await running.current_revision() == SERVICE.head
        await append(running, [an_outbox_row(1)])
        assert await running.outbox_holders() == [OTHER]


# --- sessions that ended --------------------------------------------------------------------------------------------


async def test_an_ended_session_is_told_to_everybody(workers: tuple[Store, Store]) -> None:
    """From any instant on; the first word about a session stands, and is forgotten when it may be."""
    one, two = workers
    await one.end_session("a" * 64, at(10), at(1000))
    await one.end_session("b" * 64, at(20), at(2000))
    await two.end_session("a" * 64, at(30), at(3000))
    assert sorted(await two.ended_sessions(at(0))) == [("a" * 64, at(1000)), ("b" * 64, at(2000))]
    assert await two.ended_sessions(at(20)) == [("b" * 64, at(2000))]
    assert await two.remove_ended_sessions(at(1000)) == 1
    assert await one.ended_sessions(at(0)) == [("b" * 64, at(2000))]


async def test_a_closed_store_ends_no_session(opening: Opening) -> None:
    """Who is not told that it was kept must not take it for kept."""
    async with opening(ONE) as store:
        pass
    with pytest.raises(StoreError):
        await store.end_session("a" * 64, at(0), at(1))


async def test_what_has_ended_before_it_began_is_nobodys(workers: tuple[Store, Store], opening: Opening) -> None:
    """For want of an endpoint: an operator, who has no worker's name, begins it again, and any worker may send it."""
    one, two = workers
    nowhere = an_outbox_row(1, state=OutboxState.UNDELIVERABLE)
    await append(one, [nowhere])
    async with opening() as operator:
        assert await operator.change_outbox(replace(nowhere, state=OutboxState.OPEN, next_attempt_at=at(5)))
    assert await ids_due(two) == [nowhere.id]
