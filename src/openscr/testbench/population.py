"""The synthetic patients of the demo world: who they are, and the messages that made their records what they are.

Invariants:

* Everything follows from (number, seed, today): the same on every machine. Event ids do not even depend on ``today``.
* Steps stand in the order in which they happened, all of them before ``today`` begins.
* Every number is of the 999 range, which no person has.

Spec: 00 §5, §6.4; 80 §1.4.
"""

import uuid
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum, StrEnum
from itertools import count
from typing import Any, Final

from openscr.codes import GP_SUMMARY
from openscr.directory.demo import GP_ROLE_PROFILE, GP_USER
from openscr.identifiers import LONDON, check_digit
from openscr.spine import Consent
from openscr.store.interface import PatientEntry
from openscr.testbench import formulary
from openscr.testbench.content import (
    DISSENT,
    NEWLY_REGISTERED,
    NOTHING_SIGNIFICANT,
    Clinician,
    Content,
    Practice,
    Section,
    Summary,
    section_of,
)
from openscr.testbench.histories import Dice, History, draw_history
from openscr.testbench.summaries import compose

FULL_RECORD: Final = "9990012318"
CONSENT_NO: Final = "9990012326"
NO_RECORD: Final = "9990012334"
MERGED: Final = "9990012342"
CORE_ONLY: Final = "9990000018"
NAMED_NUMBERS: Final = (FULL_RECORD, CONSENT_NO, NO_RECORD, MERGED, CORE_ONLY)
"""The patients that the demo's documentation tells of by number. Spec: 00 §5."""

POPULATION: Final = 41
PRACTICE: Final = Practice("Y90001", "Demo Practice", "1 Example Lane, Testford, TE1 1ST")
AUTHOR: Final = Clinician(GP_ROLE_PROFILE, GP_USER, "Dr", "Gita", "Demopractice")

_NAMESPACE: Final = uuid.UUID("6f1d3c2e-8a54-5b0e-9c77-41d2a5e0b936")
_RANGE: Final = 10**6


class State(IntEnum):
    """States of the generated population, in the order in which they take turns. Spec: 00 §5, 80 §1.4."""

    CORE = 0
    ADDITIONAL = 1
    INITIAL_ONLY = 2
    NO_SIGNIFICANT_DATA = 3
    WITHDRAWN = 4
    SECTION_EMPTY = 5
    SECTION_ABSENT = 6
    OPTED_OUT = 7
    NEWLY_REGISTERED = 8
    OLD = 9


class StepKind(StrEnum):
    """What happened: an update or initial upload, a withdrawal, a change of consent, a merge in the patient index."""

    UPLOAD = "upload"
    INITIAL = "initial"
    WITHDRAW = "withdraw"
    CONSENT = "consent"
    INDEX_MERGED = "index-merged"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened at ``at`` (UTC).

    ``event_id`` is the new event (uploads: the summary; withdrawal: the withdrawing event; consent: the message).
    ``document`` is the ``GPSummary`` of an upload. ``target`` is the event withdrawn, ``target_type`` its document
    type, ``reason`` the code of 10 §10. ``survivor`` is the number that a merged one gave way to.
    """

    kind: StepKind
    at: datetime
    event_id: str
    document: bytes = b""
    target: str = ""
    target_type: str = ""
    reason: str = ""
    consent: Consent | None = None
    survivor: str = ""


@dataclass(frozen=True, slots=True)
class DemoPatient:
    """A synthetic patient: number, demographics in the form of 00 §6.4, and what happened, oldest first."""

    nhs_number: str
    demographics: dict[str, Any]
    steps: tuple[Step, ...] = ()

    @property
    def entry(self) -> PatientEntry:
        """The patient's line in the index. Spec: 00 §6.4."""
        survivor = next((step.survivor for step in self.steps if step.kind is StepKind.INDEX_MERGED), None)
        return PatientEntry(self.nhs_number, "merged" if survivor else "current", survivor, self.demographics)


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


def population(today: date, seed: int = 1) -> list[DemoPatient]:
    """Return every patient of the demo world, the named ones first. Spec: 00 §5."""
    named = [
        _full_record(today, seed),
        _consent_no(today, seed),
        replace(synthetic_patient(NO_RECORD, State.CORE, today, seed), steps=()),
        _merged(today, seed),
        synthetic_patient(CORE_ONLY, State.CORE, today, seed),
    ]
    generated = [
        synthetic_patient(number, State(index % len(State)), today, seed) for index, number in enumerate(demo_numbers())
    ]
    return named + generated


def synthetic_patient(nhs_number: str, state: State, today: date, seed: int = 1) -> DemoPatient:
    """Return the patient that belongs to a number, whose record is in ``state`` when ``today`` begins."""
    story = _Story(nhs_number, seed, today, youngest=26 if state is State.NO_SIGNIFICANT_DATA else 52)
    return DemoPatient(nhs_number, story.demographics, tuple(_STORIES[state](story)))


class _Story:
    """What the steps of one patient are told from: persona, history, times and ids."""

    def __init__(self, nhs_number: str, seed: int, today: date, youngest: int) -> None:
        self.nhs_number = nhs_number
        self.today = today
        self.dice = Dice(f"{seed}/{nhs_number}")
        self._seed = seed
        self._ids = count(1)
        self._history: History | None = None
        self.gender = self.dice.pick(("female", "male"))
        oldest = 44 if youngest < 44 else 91
        self.born = today - timedelta(days=365 * self.dice.between(youngest, oldest) + self.dice.below(365))
        self.name = {
            "given": self.dice.pick(formulary.GIVEN_NAMES[self.gender]),
            "family": self.dice.pick(formulary.FAMILY_NAMES),
        }
        self.address = {
            "lines": [f"{self.dice.between(1, 98)} {self.dice.pick(formulary.STREETS)}"],
            "city": "Testford",
            "postcode": f"TE{self.dice.between(1, 9)} {self.dice.pick(('1AB', '3DG', '6HL', '8ST'))}",
        }

    @property
    def demographics(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "birth_date": self.born.isoformat(),
            "gender": self.gender,
            "address": self.address,
            "practice": PRACTICE.ods,
        }

    @property
    def history(self) -> History:
        """The patient's history as it stands when ``today`` begins."""
        if self._history is None:
            self._history = draw_history(self.dice, self.born, self.today, allergic=self.nhs_number == FULL_RECORD)
        return self._history

    def day(self, days_ago: int) -> date:
        return self.today - timedelta(days=days_ago)

    def instant(self, days_ago: int) -> datetime:
        """Return a moment of the practice's working day that many days ago (at least one)."""
        clock = time(9 + self.dice.below(8), self.dice.below(60), self.dice.below(60), tzinfo=LONDON)
        return datetime.combine(self.day(days_ago), clock).astimezone(UTC)

    def event_id(self, ordinal: int) -> str:
        return _uuid(f"{self._seed}/{self.nhs_number}/event/{ordinal}")

    def mint(self) -> str:
        return _uuid(f"{self._seed}/{self.nhs_number}/part/{next(self._ids)}")

    def upload(self, ordinal: int, days_ago: int, content: tuple[Content, ...], **changes: Any) -> Step:
        """Return the step that sends a summary; ``changes`` are further members of `Summary`."""
        about = (self.nhs_number, self.event_id(ordinal), self.instant(days_ago), PRACTICE)
        summary = replace(Summary(*about, AUTHOR, content), **changes)
        kind = StepKind.UPLOAD if summary.author else StepKind.INITIAL
        return Step(kind, summary.created, summary.event_id, compose(summary, self.mint))

    def consent(self, ordinal: int, days_ago: int, value: Consent) -> Step:
        return Step(StepKind.CONSENT, self.instant(days_ago), self.event_id(ordinal), consent=value)

    def core(self, days_ago: int) -> tuple[Content, ...]:
        return self.history.core(self.day(days_ago))

    def additional(self, days_ago: int) -> tuple[Content, ...]:
        return self.history.additional(self.day(days_ago))


def _uuid(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name)).upper()


# --- stories --------------------------------------------------------------------------------------------------------


def _core(story: _Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    yield story.upload(1, days, story.core(days))


def _additional(story: _Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    yield story.upload(1, days, story.additional(days))


def _initial_only(story: _Story) -> Iterator[Step]:
    days = story.dice.between(30, 80)
    yield story.upload(1, days, story.core(days), author=None)


def _no_significant_data(story: _Story) -> Iterator[Step]:
    # An update needs a coded entry to be valid, so a practice with nothing to say sends the initial summary (10 §16).
    yield story.upload(1, story.dice.between(4, 80), (), author=None, statement=NOTHING_SIGNIFICANT)


def _withdrawn(story: _Story) -> Iterator[Step]:
    days = story.dice.between(40, 80)
    yield story.upload(1, days, story.core(days))
    yield Step(
        StepKind.WITHDRAW,
        story.instant(story.dice.between(3, 30)),
        story.event_id(2),
        target=story.event_id(1),
        target_type=GP_SUMMARY,
        reason="03",
    )


def _section_empty(story: _Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    yield story.upload(1, days, _without(story.core(days), Section.ACUTE))


def _section_absent(story: _Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    content = _without(story.core(days), Section.DISCONTINUED)
    yield story.upload(1, days, content, omitted=frozenset({Section.DISCONTINUED}))


def _opted_out(story: _Story) -> Iterator[Step]:
    yield story.upload(1, 80, story.core(80))
    days = story.dice.between(10, 40)
    blank = {"replaces": story.event_id(1), "statement": DISSENT, "refused_on": story.day(days)}
    yield story.upload(2, days, (), **blank)
    yield story.consent(3, days - 1, Consent.NO)


def _newly_registered(story: _Story) -> Iterator[Step]:
    days = story.dice.between(4, 20)
    brought = _without(story.core(days), Section.ACUTE, Section.DISCONTINUED)
    yield story.upload(1, days, brought, notice=NEWLY_REGISTERED)


def _old(story: _Story) -> Iterator[Step]:
    days = story.dice.between(120, 400)
    yield story.upload(1, days, story.core(days))


def _without(content: tuple[Content, ...], *sections: Section) -> tuple[Content, ...]:
    return tuple(entry for entry in content if section_of(entry) not in sections)


_STORIES: Final[dict[State, Callable[[_Story], Iterator[Step]]]] = {
    State.CORE: _core,
    State.ADDITIONAL: _additional,
    State.INITIAL_ONLY: _initial_only,
    State.NO_SIGNIFICANT_DATA: _no_significant_data,
    State.WITHDRAWN: _withdrawn,
    State.SECTION_EMPTY: _section_empty,
    State.SECTION_ABSENT: _section_absent,
    State.OPTED_OUT: _opted_out,
    State.NEWLY_REGISTERED: _newly_registered,
    State.OLD: _old,
}


def _full_record(today: date, seed: int) -> DemoPatient:
    """Return the patient whose record grew: sent by the practice's computer, then by the GP, then with everything."""
    story = _Story(FULL_RECORD, seed, today, youngest=52)
    story.name = {"given": "Mary", "family": "Sample"}
    story.born, story.gender = date(1948, 3, 2), "female"
    steps = (
        story.upload(1, 75, story.core(75), author=None),
        story.upload(2, 40, story.core(40), replaces=story.event_id(1)),
        story.upload(3, 6, story.additional(6), replaces=story.event_id(2)),
    )
    return DemoPatient(FULL_RECORD, story.demographics, steps)


def _consent_no(today: date, seed: int) -> DemoPatient:
    story = _Story(CONSENT_NO, seed, today, youngest=52)
    steps = (story.upload(1, 60, story.core(60)), story.consent(2, 12, Consent.NO))
    return DemoPatient(CONSENT_NO, story.demographics, steps)


def _merged(today: date, seed: int) -> DemoPatient:
    """Return the number that the survivor was once also known by: the same person."""
    story = _Story(MERGED, seed, today, youngest=52)
    merge = Step(StepKind.INDEX_MERGED, story.instant(30), story.event_id(1), survivor=FULL_RECORD)
    return DemoPatient(MERGED, _full_record(today, seed).demographics, (merge,))
