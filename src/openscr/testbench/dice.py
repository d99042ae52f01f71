"""Draws that are the same on every machine and Python.

They are made from `random.Random.random` alone, whose sequence is fixed, and from arithmetic that rounds the same
everywhere.
"""

import random
from collections.abc import Sequence
from datetime import date, timedelta
from typing import TypeVar

T = TypeVar("T")


class Dice:
    """Draws that depend on the seed text and the order of calls, on nothing else."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  reproducible on purpose: nothing secret is drawn

    def share(self) -> float:
        """Return a number from 0 to just below 1."""
        return self._random.random()

    def below(self, count: int) -> int:
        """Return a number from 0 to ``count`` - 1."""
        return int(self._random.random() * count)

    def between(self, lowest: int, highest: int) -> int:
        """Return a number from ``lowest`` to ``highest``."""
        return lowest + self.below(highest - lowest + 1)

    def chance(self, percent: int) -> bool:
        """Return true that often in a hundred."""
        return self.below(100) < percent

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of ``choices``."""
        return choices[self.below(len(choices))]

    def pick_weighted(self, choices: Sequence[T], weights: Sequence[int]) -> T:
        """Return one of ``choices``, each as often as its weight says."""
        left = self.below(sum(weights))
        for choice, weight in zip(choices, weights, strict=True):
            left -= weight
            if left < 0:
                return choice
        raise AssertionError("unreachable: the weights are the share of the draw")

    def day(self, first: date, last: date) -> date:
        """Return a day from ``first`` to ``last``."""
        return first + timedelta(days=self.below((last - first).days + 1))
