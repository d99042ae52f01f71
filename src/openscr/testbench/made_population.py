"""Synthetic populations of any size: who is in them, how long their records are, what state they are in.

Invariants:

* The same seed and day give the same bytes on every machine; the clock is never asked.
* Numbers are of the 999 range, each once, and none of the demo world's.
* Patients are made one at a time: a large population takes no more memory than a small one.

Spec: 00 §4 ``patients make``; 80 §1.4; 90 §7.
"""

from bisect import bisect
from collections.abc import Iterator
from datetime import date
from typing import Final

from openscr.errors import ConfigurationError
from openscr.testbench.dice import Dice
from openscr.testbench.documents import PRACTICES
from openscr.testbench.population import NAMED_NUMBERS, demo_numbers, number_of_prefix
from openscr.testbench.stories import Bearing, State, Story, SyntheticPatient, tell

DEFAULT_DAY: Final = date(2026, 11, 2)
"""The day on which a population stands, unless another one is named: sent before, and old or new seen from there."""

LARGEST: Final = 909_091 - 46
"""The valid numbers of the 999 range without those of the demo world."""

_RANGE: Final = 10**6
_SIZES: Final = (
    (0.0, 900), (0.05, 675), (0.1, 1_200), (0.2, 2_390), (0.3, 3_940), (0.4, 6_040), (0.5, 9_000), (0.6, 13_420),
    (0.7, 20_550), (0.8, 33_900), (0.9, 67_700), (0.95, 120_000), (0.975, 185_000), (0.99, 290_000), (1.0, 385_000),
)  # fmt: skip
"""Bytes of a record at quantiles: log-normal with median 9 kB, 95 % below 120 kB, cut below 400 kB. Spec: 90 §7."""

SMALL: Final = 0.3
"""The share of records that are small by themselves: blank ones, and initial ones, which have text only."""

_STATES_OF_SMALL: Final = (
    (State.CORE, 24), (State.INITIAL_ONLY, 27), (State.OPTED_OUT, 13), (State.NO_SIGNIFICANT_DATA, 10),
    (State.OLD, 13), (State.SECTION_EMPTY, 3), (State.SECTION_ABSENT, 3), (State.NEWLY_REGISTERED, 3),
    (State.WITHDRAWN, 2), (State.NO_RECORD, 2),
)  # fmt: skip
_STATES_OF_OTHERS: Final = (
    (State.CORE, 74), (State.OLD, 13), (State.SECTION_EMPTY, 3), (State.SECTION_ABSENT, 3),
    (State.NEWLY_REGISTERED, 3), (State.WITHDRAWN, 2), (State.NO_RECORD, 2),
)  # fmt: skip
"""How many of a hundred records are in a state; a `CORE` one with additional information becomes `ADDITIONAL`."""

SHARES: Final = {
    State.CORE: 22, State.ADDITIONAL: 37, State.INITIAL_ONLY: 8, State.NO_SIGNIFICANT_DATA: 3, State.WITHDRAWN: 2,
    State.SECTION_EMPTY: 3, State.SECTION_ABSENT: 3, State.OPTED_OUT: 4, State.NEWLY_REGISTERED: 3, State.OLD: 13,
    State.NO_RECORD: 2,
}  # fmt: skip
"""About how many of a hundred patients are in each state: what the tables above come to."""


def made_population(count: int, seed: int, on: date = DEFAULT_DAY, *, told: bool = True) -> Iterator[SyntheticPatient]:
    """Iterate over ``count`` patients as they stand when the day ``on`` begins.

    The first patients of a large population are those of a small one with the same seed and day. Those who are not
    ``told`` of have no steps: that is quick, and enough for an index.
    Raises: `ConfigurationError` when there are not so many numbers.
    """
    check_count(count)
    for nhs_number, _ in zip(numbers_of(seed), range(count), strict=False):
        yield made_patient(nhs_number, seed, on, told=told)


def check_count(count: int) -> None:
    """Refuse a population that the test range has no numbers for. Raises: `ConfigurationError`."""
    if count > LARGEST:
        raise ConfigurationError(f"the test range has {LARGEST} numbers; no population can be larger")


def made_patient(nhs_number: str, seed: int, on: date = DEFAULT_DAY, *, told: bool = True) -> SyntheticPatient:
    """Return the patient of a population that has a number."""
    source = f"made/{seed}/{on.isoformat()}"
    dice = Dice(f"{source}/{nhs_number}/bearing")
    rank = dice.share()
    table = _STATES_OF_SMALL if rank < SMALL else _STATES_OF_OTHERS
    state = dice.pick_weighted([each for each, _ in table], [weight for _, weight in table])
    size = _size(rank)
    enriched = size >= 12_000 or (size >= 6_000 and dice.chance(40))
    if state is State.INITIAL_ONLY:
        # Only the text of its entries is in it, about a quarter of what they would be with their codes.
        size, enriched = 4_000 + 2 * size, False
    if state is State.CORE and enriched:
        state = State.ADDITIONAL
    bearing = Bearing(
        ages=_ages(dice, size, 3 if state is State.OLD else 1),
        size=size,
        enriched=enriched,
        whole=False,
        versions=dice.pick_weighted((1, 2, 3), (6, 3, 2)) if state in (State.CORE, State.ADDITIONAL) else 1,
        practice=dice.pick(PRACTICES),
    )
    story = Story(nhs_number, source, on, bearing)
    return SyntheticPatient(nhs_number, story.demographics, tell(story, state) if told else (), state)


def numbers_of(seed: int) -> Iterator[str]:
    """Iterate over every number of the test range but the demo's, in an order that follows from the seed."""
    demo = {*NAMED_NUMBERS, *demo_numbers()}
    dice = Dice(f"made/{seed}/numbers")
    # A step without a common factor with the range comes by every place once.
    step = dice.below(_RANGE // 10) * 10 + dice.pick((1, 3, 7, 9))
    place = dice.below(_RANGE)
    for _ in range(_RANGE):
        number = number_of_prefix(place)
        if number is not None and number not in demo:
            yield number
        place = (place + step) % _RANGE


def _size(rank: float) -> int:
    """Return the bytes of a record by its rank among all, between the quantiles of the table."""
    above = min(bisect([quantile for quantile, _ in _SIZES], rank), len(_SIZES) - 1)
    (low, small), (high, large) = _SIZES[above - 1], _SIZES[above]
    return int(small + (large - small) * (rank - low) / (high - low))


def _ages(dice: Dice, size: int, youngest: int) -> tuple[int, int]:
    """Return between which ages somebody is whose record is so long: much is written about those who live long."""
    if size > 60_000:
        return (50, 95)
    if size > 20_000:
        return (24, 93) if dice.chance(80) else (3, 23)
    return (youngest, 90) if dice.chance(70) else (30, 92)
