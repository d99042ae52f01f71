"""Made populations: the same everywhere, as long and as varied as real ones, and never all in memory."""

import json
import re
import tracemalloc
from collections import Counter
from datetime import date
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openscr.directory.patients import read_patients
from openscr.errors import ConfigurationError
from openscr.hl7.presentation import presentation_of
from openscr.identifiers import is_nhs_number
from openscr.spine import Consent
from openscr.testbench.made_population import (
    DEFAULT_DAY,
    LARGEST,
    SHARES,
    made_patient,
    made_population,
    numbers_of,
)
from openscr.testbench.population import NAMED_NUMBERS, demo_numbers
from openscr.testbench.stories import State, StepKind

DEMO = {*NAMED_NUMBERS, *demo_numbers()}
SEEDS = st.integers(-(10**9), 10**9)


@settings(max_examples=30, deadline=None)
@given(SEEDS, st.dates(date(2020, 3, 1), date(2040, 12, 31)))
def test_the_same_seed_and_day_give_the_same_patients(seed: int, on: date) -> None:
    first = list(made_population(4, seed, on))
    assert list(made_population(4, seed, on)) == first
    assert list(made_population(2, seed, on)) == first[:2]
    assert made_patient(first[3].nhs_number, seed, on) == first[3]
    assert [patient.nhs_number for patient in made_population(4, seed + 1, on)] != [p.nhs_number for p in first]


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_another_day_makes_other_events(seed: int) -> None:
    """So that a population of today can take the place of one of yesterday, of the same people."""
    days = (DEFAULT_DAY, date(2026, 11, 3))
    ids = [{step.event_id for patient in made_population(5, seed, day) for step in patient.steps} for day in days]
    assert not ids[0] & ids[1]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_numbers_are_valid_distinct_and_not_the_demo_s(seed: int) -> None:
    numbers = list(islice(numbers_of(seed), 3000))
    assert len(set(numbers)) == 3000
    assert not DEMO & set(numbers)
    assert all(is_nhs_number(number) and number.startswith("999") for number in numbers)


def test_the_whole_range_can_be_had_and_no_more() -> None:
    assert len(set(numbers_of(8))) == LARGEST
    with pytest.raises(ConfigurationError, match="no population can be larger"):
        next(made_population(LARGEST + 1, 1))


def test_records_have_the_sizes_of_real_ones() -> None:
    """Log-normal: median 9 kB, 95 % below 120 kB, at most 400 kB; the smallest possible summary has 2.8 kB. 90 §7."""
    current = []
    for patient in made_population(1000, 3):
        documents = [step.document for step in patient.steps if step.document]
        current += [len(documents[-1])] if documents else []
    current.sort()
    at = {share: current[int(share * len(current))] for share in (0.25, 0.5, 0.75, 0.9, 0.95)}
    assert 3_000 < at[0.25] < 6_000
    assert 7_000 < at[0.5] < 11_500
    assert 20_000 < at[0.75] < 36_000
    assert 50_000 < at[0.9] < 85_000
    assert 85_000 < at[0.95] < 140_000
    assert 200_000 < current[-1] <= 400_000


def test_a_long_record_is_long_because_much_happened() -> None:
    """Not by padding: its lines tell different things, of many years."""
    long = [
        step.document for patient in made_population(400, 9) for step in patient.steps if len(step.document) > 120_000
    ]
    assert len(long) > 8
    for document in long:
        text = presentation_of(document).text(10_000)
        dates = {line[:11] for line in text.splitlines() if re.match(r"[0-9]{2}-[A-Z]", line)}
        assert len(dates) > 20
        assert len({day[-4:] for day in dates}) > 8


def test_states_have_the_documented_shares() -> None:
    count = 3000
    found = Counter(patient.state for patient in made_population(count, 17))
    assert sum(SHARES.values()) == 100
    for state, share in SHARES.items():
        spread = 4 * (share * (100 - share) / count) ** 0.5
        assert abs(100 * found[state] / count - share) < spread + 1.0, (state, found[state], share)


def test_each_state_is_made_of_its_messages() -> None:
    for patient in made_population(400, 17):
        kinds = [step.kind for step in patient.steps]
        match patient.state:
            case State.NO_RECORD:
                assert kinds == []
            case State.INITIAL_ONLY | State.NO_SIGNIFICANT_DATA:
                assert kinds == [StepKind.INITIAL]
            case State.WITHDRAWN:
                assert kinds == [StepKind.UPLOAD, StepKind.WITHDRAW]
            case State.OPTED_OUT:
                assert kinds == [StepKind.UPLOAD, StepKind.UPLOAD, StepKind.CONSENT]
                assert patient.steps[-1].consent is Consent.NO
            case _:
                assert set(kinds) <= {StepKind.INITIAL, StepKind.UPLOAD}
                assert kinds[-1] is StepKind.UPLOAD
                assert [step.at for step in patient.steps] == sorted(step.at for step in patient.steps)


def test_old_and_new_are_seen_from_the_day() -> None:
    for patient in made_population(300, 4):
        if patient.steps:
            days = (DEFAULT_DAY - patient.steps[-1].at.date()).days
            assert days > 0
            assert (days > 90) is (patient.state is State.OLD)


def test_the_index_line_can_be_imported() -> None:
    lines = [json.dumps({"nhs_number": p.nhs_number, **p.demographics}) for p in made_population(50, 1)]
    listed = read_patients("\n".join(lines).encode())
    assert len(listed) == 50
    assert len({patient.demographics["practice"] for patient in listed}) > 2


def test_a_large_population_takes_no_more_memory_than_a_small_one() -> None:
    patients = made_population(100_000, 2)
    for _ in islice(patients, 50):
        pass
    tracemalloc.start()
    try:
        for _ in islice(patients, 300):
            pass
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # One patient at a time: what is left is at most the last one, of 400 kB, and what it was made from.
    assert held < 3_000_000
