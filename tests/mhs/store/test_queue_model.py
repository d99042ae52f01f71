"""The queue against a model: whatever consumers do, and whenever, nothing is lost and nobody gets what another has.

Spec: 50 E4, A3.
"""

import asyncio
import tempfile
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from openscr.mhs.store.interface import QueueFigures, Removed, Retention

from .conftest import ENGINES, needs
from .samples import a_queue_message, an_id, at, put

T = TypeVar("T")

ALLOWED = 2
EXAMPLES = {"memory": 150, "sqlite": 40, "sealed sqlite": 10, "postgresql": 5}
"""Many where they cost little; bodies are sealed or not, the statements are the same."""
SECONDS = st.sampled_from([0, 0, 1, 10, 40])
WHICH = st.integers(0, 1000)


@dataclass
class Expected:
    """A message as the queue should have it. ``lent`` is its receipt while that holds; times in seconds."""

    number: int
    lent: str = ""
    lent_until: int = 0
    rests_until: int = 0
    deliveries: int = 0
    died: int | None = None

    def waits(self, now: int) -> bool:
        return self.died is None and self.lent_until <= now and self.rests_until <= now

    def is_lent(self, now: int) -> bool:
        return self.died is None and bool(self.lent) and self.lent_until > now


class QueueMachine(RuleBasedStateMachine):
    """Consumers, time and a restart now and then."""

    engine = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.loop = asyncio.new_event_loop()
        self.store = ENGINES[self.engine](Path(self.folder.name))
        self.run(self.store.open())
        self.now = 0
        self.numbers = 0
        self.model: list[Expected] = []
        """In the order they came."""
        self.receipts: list[str] = []
        """All that were ever given."""

    def run(self, step: Awaitable[T]) -> T:
        return self.loop.run_until_complete(step)  # type: ignore[arg-type]

    def teardown(self) -> None:
        self.run(self.store.close())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()
        self.folder.cleanup()

    def of_receipt(self, receipt: str) -> Expected | None:
        return next((row for row in self.model if row.lent == receipt), None)

    def a_receipt(self, which: int) -> str:
        """Return a receipt that holds, if there is one; every fifth time any that was ever given."""
        live = [row.lent for row in self.model if row.lent]
        some = live if live and which % 5 else self.receipts
        return some[which % len(some)] if some else "none"

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: int) -> None:
        self.now += seconds

    @rule(count=st.integers(1, 3))
    def messages_come(self, count: int) -> None:
        rows = [Expected(self.numbers + number) for number in range(count)]
        self.numbers += count
        self.run(put(self.store, *(a_queue_message(row.number, created_at=at(self.now)) for row in rows)))
        self.model += rows

    @rule(limit=st.integers(1, 4), seconds=st.sampled_from([1, 10, 40]))
    def somebody_polls(self, limit: int, seconds: int) -> None:
        given = self.run(self.store.lease_queue(at(self.now), at(self.now + seconds), limit))
        expected = [row for row in self.model if row.waits(self.now)][:limit]
        assert [each.message.id for each in given] == [an_id(row.number) for row in expected]
        for row, each in zip(expected, given, strict=True):
            row.deliveries += 1
            assert each.deliveries == row.deliveries
            assert each.receipt not in self.receipts
            row.lent, row.lent_until, row.rests_until = each.receipt, self.now + seconds, 0
            self.receipts.append(each.receipt)

    @rule(which=WHICH)
    def somebody_acknowledges(self, which: int) -> None:
        receipt = self.a_receipt(which)
        row = self.of_receipt(receipt)
        assert self.run(self.store.acknowledge(receipt)) == (row is not None)
        if row is not None:
            self.model.remove(row)

    @rule(which=WHICH, delay=SECONDS)
    def somebody_gives_back(self, which: int, delay: int) -> None:
        receipt = self.a_receipt(which)
        row = self.of_receipt(receipt)
        released = self.run(
            self.store.release(receipt, deliveries_allowed=ALLOWED, now=at(self.now), not_before=at(self.now + delay))
        )
        assert released == (row is not None)
        if row is not None:
            row.lent, row.lent_until, row.rests_until = "", 0, self.now + delay
            row.died = self.now if row.deliveries >= ALLOWED else None

    @rule()
    def the_dead_are_buried(self) -> None:
        dead = [row for row in self.model if row.waits(self.now) and row.deliveries >= ALLOWED]
        assert self.run(self.store.bury(at(self.now), deliveries_allowed=ALLOWED)) == len(dead)
        for row in dead:
            row.lent, row.died = "", self.now

    @rule(which=WHICH)
    def somebody_requeues(self, which: int) -> None:
        dead = [row for row in self.model if row.died is not None]
        row = dead[which % len(dead)] if dead and which % 5 else None
        number = which % (self.numbers + 1) if row is None else row.number
        row = next((row for row in dead if row.number == number), None)
        assert self.run(self.store.requeue(an_id(number))) == (row is not None)
        if row is not None:
            row.deliveries = row.lent_until = row.rests_until = 0
            row.died = None

    @rule()
    def house_is_kept_without_a_time_to_live(self) -> None:
        removed = self.run(self.store.purge(Retention(messages=at(self.now), now=at(self.now))))
        assert removed == Removed()

    @rule()
    def the_process_starts_again(self) -> None:
        self.run(self.store.close())
        self.run(self.store.open())

    @invariant()
    def every_message_is_where_it_should_be(self) -> None:
        living = [row for row in self.model if row.died is None]
        lent = sum(row.is_lent(self.now) for row in living)
        figures = self.run(self.store.queue_figures(at(self.now)))
        assert (figures.waiting, figures.leased) == (len(living) - lent, lent)
        assert isinstance(figures, QueueFigures)
        dead = [(letter.id, letter.deliveries) for letter in self.run(self.store.dead_letters(10**6))]
        expected = sorted((row.died, index, row) for index, row in enumerate(self.model) if row.died is not None)
        assert dead == [(an_id(row.number), row.deliveries) for _, _, row in expected]
        assert figures.dead == len(dead)


@pytest.mark.parametrize("engine", EXAMPLES)
def test_the_queue_does_what_its_model_does(engine: str, request: pytest.FixtureRequest) -> None:
    needs(engine, request)

    class Machine(QueueMachine):
        pass

    Machine.engine = engine
    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        Machine,
        settings=settings(max_examples=EXAMPLES[engine], stateful_step_count=60, deadline=None),
    )
