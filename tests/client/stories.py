"""Summaries of synthetic patients whom nobody else's test knows."""

import itertools
import os
from datetime import UTC, datetime

from openscr.identifiers import mint_uuid
from openscr.testbench.content import Summary
from openscr.testbench.histories import Dice, draw_history
from openscr.testbench.population import AUTHOR, PRACTICE, fresh_number
from openscr.testbench.summaries import compose

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
_taken: set[str] = set()
_starts = itertools.count(600_000 + os.getpid() % 1000 * 100, 1)


def new_patient() -> str:
    """Return a number of the 999 range that no other test of this run has."""
    number = fresh_number(next(_starts), _taken)
    _taken.add(number)
    return number


def summary(nhs_number: str, *, initial: bool = False, replaces: str | None = None) -> Summary:
    """Return a summary with a history that follows from the number."""
    history = draw_history(Dice(nhs_number), datetime(1950, 5, 5, tzinfo=UTC).date(), NOW.date())
    author = None if initial else AUTHOR
    return Summary(nhs_number, mint_uuid(), NOW, PRACTICE, author, history.core(NOW.date()), replaces=replaces)


def document_of(content: Summary) -> bytes:
    """Return its GPSummary element."""
    return compose(content, mint_uuid)
