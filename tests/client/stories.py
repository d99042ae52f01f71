"""Summaries of synthetic patients whom nobody else's test knows."""

import itertools
import os
from datetime import UTC, datetime

from openscr.identifiers import mint_uuid
from openscr.testbench.population import fresh_number
from openscr.testbench.stories import Bearing, Step, Story

NOW = datetime(2026, 3, 2, 10, 30, tzinfo=UTC)
_taken: set[str] = set()
_starts = itertools.count(600_000 + os.getpid() % 1000 * 100, 1)


def new_patient() -> str:
    """Return a number of the 999 range that no other test of this run has."""
    number = fresh_number(next(_starts), _taken)
    _taken.add(number)
    return number


def summary(nhs_number: str, *, initial: bool = False, replaces: str | None = None) -> Step:
    """Return the sending of a fresh summary with a history of its own."""
    story = Story(nhs_number, mint_uuid(), NOW.date(), Bearing())
    return story.upload(1, 1, story.content(1), initial=initial, replaces=replaces)


def document_of(content: Step) -> bytes:
    """Return its GPSummary element."""
    return content.document
