"""The synthetic patients of the demo world, and who of them is who.

Everything follows from (number, seed, today); event ids do not even depend on ``today``. Every number is of the 999
range, which no person has.

Spec: 00 §5, §6.4; 80 §1.4.
"""

from collections.abc import Container
from dataclasses import replace
from datetime import date
from typing import Final

from openscr.identifiers import check_digit
from openscr.spine import Consent
from openscr.testbench.stories import Bearing, State, Step, StepKind, Story, SyntheticPatient, tell

FULL_RECORD: Final = "9990012318"
CONSENT_NO: Final = "9990012326"
NO_RECORD: Final = "9990012334"
MERGED: Final = "9990012342"
CORE_ONLY: Final = "9990000018"
NAMED_NUMBERS: Final = (FULL_RECORD, CONSENT_NO, NO_RECORD, MERGED, CORE_ONLY)
"""The patients that the demo's documentation tells of by number. Spec: 00 §5."""

POPULATION: Final = 41
TURNS: Final = 10
"""How many states take turns in the generated population. Spec: 00 §5."""

_RANGE: Final = 10**6


# --- numbers --------------------------------------------------------------------------------------------------------


def number_of_prefix(suffix: int) -> str | None:
    """Return the NHS number whose first nine digits are 999 and six digits of ``suffix``; none when it has none."""
    nine = f"999{suffix:06d}"
    digit = check_digit(nine)
    return None if digit == 10 else f"{nine}{digit}"


def demo_numbers() -> tuple[str, ...]:
    """Return the 41 numbers of the generated population. Spec: 00 §5."""
    valid = (number for number in map(number_of_prefix, range(2, _RANGE)) if number)
    return tuple(number for number, _ in zip(valid, range(POPULATION), strict=False))


def fresh_number(start: int, taken: Container[str]) -> str:
    """Return the first number of the 999 range, counted on from ``start``, that is valid and not in ``taken``.

    ``start`` is any non-negative number, drawn or counted by the caller. Raises: `LookupError` when all are taken.
    """
    for offset in range(_RANGE):
        number = number_of_prefix((start + offset) % _RANGE)
        if number is not None and number not in taken:
            return number
    raise LookupError("every number of the test range is taken")


# --- patients -------------------------------------------------------------------------------------------------------


def population(today: date, seed: int = 1) -> list[SyntheticPatient]:
    """Return every patient of the demo world, the named ones first. Spec: 00 §5."""
    named = [
        _full_record(today, seed),
        _consent_no(today, seed),
        replace(synthetic_patient(NO_RECORD, State.CORE, today, seed), steps=(), state=State.NO_RECORD),
        _merged(today, seed),
        synthetic_patient(CORE_ONLY, State.CORE, today, seed),
    ]
    generated = [
        synthetic_patient(number, State(index % TURNS), today, seed) for index, number in enumerate(demo_numbers())
    ]
    return named + generated


def synthetic_patient(nhs_number: str, state: State, today: date, seed: int = 1) -> SyntheticPatient:
    """Return the patient that belongs to a number, whose record is in ``state`` when ``today`` begins."""
    ages = (26, 44) if state is State.NO_SIGNIFICANT_DATA else (52, 91)
    story = _story(nhs_number, today, seed, Bearing(ages, enriched=state is State.ADDITIONAL))
    return SyntheticPatient(nhs_number, story.demographics, tell(story, state), state)


def _story(nhs_number: str, today: date, seed: int, bearing: Bearing) -> Story:
    return Story(nhs_number, str(seed), today, bearing)


def _full_record(today: date, seed: int) -> SyntheticPatient:
    """Return the patient whose record grew: sent by the practice's computer, then by the GP, then with everything."""
    story = _story(FULL_RECORD, today, seed, Bearing(allergic=True, enriched=True))
    story.name = {"given": "Mary", "family": "Sample"}
    story.born, story.gender = date(1948, 3, 2), "female"
    steps = (
        story.upload(1, 75, story.history.core(story.day(75)), initial=True),
        story.upload(2, 40, story.history.core(story.day(40)), replaces=story.event_id(1)),
        story.upload(3, 6, story.content(6), replaces=story.event_id(2)),
    )
    return SyntheticPatient(FULL_RECORD, story.demographics, steps, State.ADDITIONAL)


def _consent_no(today: date, seed: int) -> SyntheticPatient:
    story = _story(CONSENT_NO, today, seed, Bearing())
    steps = (story.upload(1, 60, story.content(60)), story.consent(2, 12, Consent.NO))
    return SyntheticPatient(CONSENT_NO, story.demographics, steps)


def _merged(today: date, seed: int) -> SyntheticPatient:
    """Return the number that the survivor was once also known by: the same person."""
    story = _story(MERGED, today, seed, Bearing())
    merge = Step(StepKind.INDEX_MERGED, story.instant(30), story.event_id(1), survivor=FULL_RECORD)
    return SyntheticPatient(MERGED, _full_record(today, seed).demographics, (merge,))
