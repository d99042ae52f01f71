"""The patients of a measurement: any number of them, each with a number and the ids of its records, none kept anywhere.

Invariant: everything follows from the position of the patient, so that who loads a store and who asks it agree without
a word. Numbers pass modulus 11, begin with the range that no person has, and are never printed.

Spec: 90 §6.4 "patients", §7.
"""

import random
from hashlib import blake2b
from typing import Final

from openscr.errors import ConfigurationError
from openscr.identifiers import check_digit

LARGEST: Final = 9_000_000
"""How many patients there can be."""

_PER_STEM: Final = 9
"""Of the ten numbers that share their first eight digits at least nine are valid."""

_FIRST_STEM: Final = 99_902_000
"""The first eight digits of the first patient: above the patients of the demo world."""

_STEMS_OF_RANGE: Final = 100_000
SKEW: Final = 0.7
"""The exponent of the Zipf-like skew: the patient of rank k is asked for in proportion to ``k ** -SKEW``."""


def number_of(position: int) -> str:
    """Return the number of the patient at a position from 0. Raises: `ConfigurationError` beyond `LARGEST`."""
    if not 0 <= position < LARGEST:
        raise ConfigurationError(f"a measurement has at most {LARGEST:,} patients")
    step, place = divmod(position, _PER_STEM)
    # The range that no person has first, then those below it, each from its beginning.
    above = _FIRST_STEM - (_FIRST_STEM // _STEMS_OF_RANGE) * _STEMS_OF_RANGE
    ranges, stem = divmod(step + above, _STEMS_OF_RANGE)
    eight = f"{(_FIRST_STEM // _STEMS_OF_RANGE - ranges) * _STEMS_OF_RANGE + stem:08d}"
    for digit in range(10):
        check = check_digit(f"{eight}{digit}")
        if check < 10:
            if place == 0:
                return f"{eight}{digit}{check}"
            place -= 1
    raise AssertionError("of ten numbers with one stem at most one is not valid")


def event_id_of(position: int, version: int = 1) -> str:
    """Return the id of a version of the patient's summary, which is also that of the message that brings it."""
    digest = blake2b(f"openscr bench {position} {version}".encode(), digest_size=16).hexdigest().upper()
    # Marked as a random UUID: nobody looks, but those who do should find one.
    text = f"{digest[:12]}4{digest[13:16]}8{digest[17:]}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def draw(chance: random.Random, patients: int) -> int:
    """Draw the position of one of ``patients`` with the skew of 90 §7: the first is asked for most often."""
    rank: float = patients * chance.random() ** (1 / (1 - SKEW))
    return min(patients - 1, int(rank))
