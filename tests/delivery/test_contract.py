"""The contract walked from the first attempt to the last: how often, when, and what never changes. Spec: 40 §6.3."""

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from delivery.rows import NOON, a_row
from openscr.delivery.outbox import next_state, reopen
from openscr.directory.model import Contract
from openscr.store.interface import OutboxRow, OutboxState
from openscr.transport.verdict import AttemptResult, Verdict

RETRY = AttemptResult(Verdict.RETRY, "no answer in time")
REFUSED = AttemptResult(Verdict.REFUSED, "HTTP 404")
DEFAULT = Contract("client")


def walk(contract: Contract, lasting: list[float]) -> tuple[list[datetime], OutboxRow]:
    """Fail attempt after attempt, each lasting its seconds; return when they began, and the row at the end."""
    row = a_row()
    began: list[datetime] = []
    for seconds in lasting:
        start = row.next_attempt_at
        assert start is not None
        began.append(start)
        row = next_state(row, RETRY, contract, start, start + timedelta(seconds=seconds))
        if row.state is not OutboxState.OPEN:
            break
    return began, row


def test_the_default_contract_tries_three_times_a_minute_apart() -> None:
    """Attempts at 0, 60 and 120 seconds. Spec: 40 DECISIONS 11 and 13."""
    began, row = walk(DEFAULT, [0.0] * 9)
    assert [(instant - NOON).total_seconds() for instant in began] == [0, 60, 120]
    assert (row.state, row.attempts, row.next_attempt_at) == (OutboxState.FAILED, 3, None)


def test_the_interval_counts_from_the_end_of_an_attempt() -> None:
    """Spec: 40 DECISION 12."""
    began, _ = walk(DEFAULT, [30.0, 10.0, 0.0])
    assert [(instant - NOON).total_seconds() for instant in began] == [0, 90, 160]


def test_no_attempt_begins_after_the_persist_duration() -> None:
    """It counts from the beginning of the first attempt, and its end is no time to begin."""
    contract = Contract("client", retries=9, retry_interval=60.0, persist_duration=120.0)
    began, row = walk(contract, [0.0] * 9)
    assert [(instant - NOON).total_seconds() for instant in began] == [0, 60]
    assert row.state is OutboxState.FAILED


def test_a_contract_without_retries_tries_once() -> None:
    began, row = walk(Contract("client", retries=0), [0.0] * 3)
    assert (len(began), row.state, row.attempts) == (1, OutboxState.FAILED, 1)


def test_a_refusal_ends_it_at_once() -> None:
    row = next_state(a_row(), REFUSED, DEFAULT, NOON, NOON)
    assert (row.state, row.attempts, row.last_error) == (OutboxState.FAILED, 1, "HTTP 404")


def test_a_row_that_was_given_up_begins_a_new_run() -> None:
    """Same id, same bytes; attempts and the persist duration count anew. Spec: 40 §6.3 step 5."""
    _, failed = walk(DEFAULT, [0.0] * 3)
    later = NOON + timedelta(days=3)
    row = reopen(failed, later)
    assert (row.state, row.attempts, row.next_attempt_at) == (OutboxState.OPEN, 0, later)
    assert (row.id, row.body, row.answer) == (failed.id, failed.body, failed.answer)
    again = next_state(row, RETRY, DEFAULT, later, later)
    assert (again.state, again.first_attempt_at) == (OutboxState.OPEN, later)


@given(
    st.integers(0, 6),
    st.floats(0.001, 600),
    st.floats(0.001, 3600),
    st.lists(st.floats(0, 120), min_size=8, max_size=8),
)
def test_every_contract_is_kept(retries: int, interval: float, persist: float, lasting: list[float]) -> None:
    """At most 1 + Retries attempts, each an interval after the last, none too late; and it ends."""
    contract = Contract("client", retries=retries, retry_interval=interval, persist_duration=persist)
    began, row = walk(contract, lasting)
    assert row.state is OutboxState.FAILED
    assert row.attempts == len(began) <= 1 + retries
    for (earlier, seconds), later in zip(zip(began, lasting, strict=False), began[1:], strict=False):
        assert later == earlier + timedelta(seconds=seconds) + timedelta(seconds=interval)
        assert later < NOON + timedelta(seconds=persist)
    if len(began) < 1 + retries:
        end = began[-1] + timedelta(seconds=lasting[len(began) - 1]) + timedelta(seconds=interval)
        assert end >= NOON + timedelta(seconds=persist)
    assert row.first_attempt_at == NOON
    changed = {"state", "attempts", "next_attempt_at", "first_attempt_at", "last_error"}
    kept = {name: getattr(row, name) for name in OutboxRow.__dataclass_fields__ if name not in changed}
    assert row == replace(a_row(), **{name: getattr(row, name) for name in changed}, **kept)
    assert (row.id, row.body, row.answer) == (a_row().id, a_row().body, a_row().answer)
