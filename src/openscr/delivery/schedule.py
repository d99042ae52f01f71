"""When a message that was not taken is sent again: the sender's part of a contract, for whatever row it is kept in.

Spec: 40 §6.1, §6.3 steps 3-5.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from openscr.directory.model import (
    DEFAULT_PERSIST_DURATION,
    DEFAULT_RETRIES,
    DEFAULT_RETRY_INTERVAL,
    Contract,
)
from openscr.transport.verdict import Verdict

LONGEST = 31_622_400.0
"""Seconds that a contract may ask for, a leap year: what it says beyond that could be no date at all."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How often and how long a message is sent: further attempts, and seconds between them and for them all."""

    retries: int
    retry_interval: float
    persist_duration: float


def terms_of(contract: Contract) -> Terms:
    """Return the terms of a contract, with what it leaves open filled in; no time is longer than `LONGEST`.

    Spec: 40 §6.2.
    """
    interval = DEFAULT_RETRY_INTERVAL if contract.retry_interval is None else contract.retry_interval
    persist = DEFAULT_PERSIST_DURATION if contract.persist_duration is None else contract.persist_duration
    retries = DEFAULT_RETRIES if contract.retries is None else contract.retries
    return Terms(retries, min(interval, LONGEST), min(persist, LONGEST))


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the attempts are: how many were made, when the first began, when the next begins (none: no more)."""

    attempts: int
    first_attempt_at: datetime
    next_attempt_at: datetime | None


def after_failure(
    attempts: int, first: datetime | None, verdict: Verdict, terms: Terms, started: datetime, ended: datetime
) -> Progress:
    """Return how far they are after one that did not deliver; ``attempts`` and ``first`` are how far they were.

    Attempts are numbered from 0 to Retries; the interval counts from the end of an attempt, PersistDuration from the
    beginning of the first. Spec: 40 §6.3 steps 3-5.
    """
    attempts += 1
    first = first or started
    again = ended + timedelta(seconds=terms.retry_interval)
    over = (
        verdict is Verdict.REFUSED
        or attempts > terms.retries
        or again >= first + timedelta(seconds=terms.persist_duration)
    )
    return Progress(attempts, first, None if over else again)
