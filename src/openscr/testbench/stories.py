"""The stories of synthetic patients: the messages that made their records what they are, state by state.

Invariants:

* Everything follows from (number, seed, today): the same on every machine.
* Steps stand in the order in which they happened, all of them before ``today`` begins.

Spec: 00 §5; 80 §1.4.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum, StrEnum
from itertools import count
from typing import Any, Final

from openscr.clinical import Medications, Patient, Refusal, Summary, Time, Wording
from openscr.clinical.narrative import NO_CONTENT
from openscr.codes import GP_SUMMARY, INITIAL_UPLOAD
from openscr.identifiers import LONDON
from openscr.spine import Consent
from openscr.store.interface import PatientEntry
from openscr.testbench import formulary
from openscr.testbench.dice import Dice
from openscr.testbench.documents import NEWLY_REGISTERED, PRACTICE, Practice, wording, write_document
from openscr.testbench.histories import ORDINARY, Content, History, draw_history
from openscr.testbench.treatments import Person

_NAMESPACE: Final = uuid.UUID("6f1d3c2e-8a54-5b0e-9c77-41d2a5e0b936")


class State(IntEnum):
    """States of a record that a viewer must tell apart, in the order of the demo world. Spec: 00 §5, 80 §1.4."""

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
    NO_RECORD = 10


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
class SyntheticPatient:
    """A synthetic patient: number, demographics in the form of 00 §6.4, state, and what happened, oldest first."""

    nhs_number: str
    demographics: dict[str, Any]
    steps: tuple[Step, ...] = ()
    state: State = State.CORE

    @property
    def entry(self) -> PatientEntry:
        """The patient's line in the index. Spec: 00 §6.4."""
        survivor = next((step.survivor for step in self.steps if step.kind is StepKind.INDEX_MERGED), None)
        return PatientEntry(self.nhs_number, "merged" if survivor else "current", survivor, self.demographics)


@dataclass(frozen=True, slots=True)
class Bearing:
    """What a record is like beside its state.

    ``size`` is about how many bytes it has, ``enriched`` whether it holds additional information, ``whole`` whether
    each core section holds something, ``versions`` how often it was sent, ``ages`` between which ages the patient is.
    """

    ages: tuple[int, int] = (52, 91)
    size: int = ORDINARY
    enriched: bool = False
    whole: bool = True
    allergic: bool = False
    versions: int = 1
    practice: Practice = PRACTICE


class Story:
    """What the steps of one patient are told from: persona, history, times and ids.

    ``source`` tells the ids of two populations apart that share numbers.
    """

    def __init__(self, nhs_number: str, source: str, today: date, bearing: Bearing) -> None:
        self.nhs_number = nhs_number
        self.today = today
        self.bearing = bearing
        self.dice = Dice(f"{source}/{nhs_number}")
        self._source = source
        self._ids = count(1)
        self._history: History | None = None
        people = formulary.PEOPLE
        self.gender = self.dice.pick(("female", "male"))
        years = self.dice.between(*bearing.ages)
        self.born = today - timedelta(days=365 * years + years // 4 + 31 + self.dice.below(333))
        self.name = {"given": self.dice.pick(people[self.gender]), "family": self.dice.pick(people["family"])}
        self.address = {
            "lines": [f"{self.dice.between(1, 98)} {self.dice.pick(people['streets'])}"],
            "city": "Testford",
            "postcode": f"TE{self.dice.between(1, 9)} {self.dice.pick(('1AB', '3DG', '6HL', '8ST'))}",
        }
        self.author = self.dice.pick(bearing.practice.authors)

    @property
    def demographics(self) -> dict[str, Any]:
        """The patient as the index has them. Spec: 00 §6.4."""
        return {
            "name": self.name,
            "birth_date": self.born.isoformat(),
            "gender": self.gender,
            "address": self.address,
            "practice": self.bearing.practice.ods,
        }

    @property
    def history(self) -> History:
        """The patient's history as it stands when ``today`` begins."""
        if self._history is None:
            self._history = draw_history(
                self.dice,
                Person(self.gender, self.born),
                self.today,
                size=self.bearing.size,
                enriched=self.bearing.enriched,
                whole=self.bearing.whole,
                allergic=self.bearing.allergic,
            )
        return self._history

    def day(self, days_ago: int) -> date:
        """Return the day that many days ago."""
        return self.today - timedelta(days=days_ago)

    def instant(self, days_ago: int) -> datetime:
        """Return a moment of the practice's working day that many days ago (at least one)."""
        clock = time(9 + self.dice.below(8), self.dice.below(60), self.dice.below(60), tzinfo=LONDON)
        return datetime.combine(self.day(days_ago), clock).astimezone(UTC)

    def event_id(self, ordinal: int) -> str:
        """Return the id of the patient's n-th event."""
        return _uuid(f"{self._source}/{self.nhs_number}/event/{ordinal}")

    def mint(self) -> str:
        """Return a fresh id of something in a summary."""
        return _uuid(f"{self._source}/{self.nhs_number}/part/{next(self._ids)}")

    def content(self, days_ago: int) -> Content:
        """Return what a summary of that day holds."""
        history, day = self.history, self.day(days_ago)
        return history.additional(day) if self.bearing.enriched else history.core(day)

    def upload(
        self,
        ordinal: int,
        days_ago: int,
        content: Content,
        *,
        initial: bool = False,
        replaces: str | None = None,
        words: Wording | None = None,
    ) -> Step:
        """Return the step that sends a summary."""
        at, practice = self.instant(days_ago), self.bearing.practice
        summary = Summary(
            patient=Patient(self.nhs_number),
            author=practice.organisation if initial else self.author,
            event_id=self.event_id(ordinal),
            replaces=replaces,
            **content,
        )
        if initial:
            summary = replace(summary, interaction=INITIAL_UPLOAD)
        document = write_document(summary, self.mint, at, words or wording(practice))
        return Step(StepKind.INITIAL if initial else StepKind.UPLOAD, at, self.event_id(ordinal), document)

    def consent(self, ordinal: int, days_ago: int, value: Consent) -> Step:
        """Return the step that sets the consent."""
        return Step(StepKind.CONSENT, self.instant(days_ago), self.event_id(ordinal), consent=value)


def _uuid(name: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, name)).upper()


def tell(story: Story, state: State) -> tuple[Step, ...]:
    """Return what happened until the record was in a state."""
    return tuple(_STORIES[state](story))


def _sent(story: Story, latest: int, *, words: Wording | None = None) -> Iterator[Step]:
    """Send every version, the last one ``latest`` days ago; of three the first one is an initial summary."""
    versions = story.bearing.versions
    ages = sorted({latest + 7 * index + story.dice.below(7) for index in range(1, versions)}, reverse=True)
    sent: str | None = None
    for ordinal, days in enumerate([*ages, latest], start=1):
        initial = ordinal == 1 and versions > 2
        last = ordinal == versions
        yield story.upload(
            ordinal, days, story.content(days), initial=initial, replaces=sent, words=words if last else None
        )
        sent = story.event_id(ordinal)


def _current(story: Story) -> Iterator[Step]:
    yield from _sent(story, story.dice.between(4, 60))


def _initial_only(story: Story) -> Iterator[Step]:
    days = story.dice.between(30, 80)
    yield story.upload(1, days, story.content(days), initial=True)


def _no_significant_data(story: Story) -> Iterator[Step]:
    # An update needs a coded entry to be valid, so a practice with nothing to say sends the initial summary (10 §16).
    words = wording(story.bearing.practice, statement=NO_CONTENT)
    yield story.upload(1, story.dice.between(4, 80), {}, initial=True, words=words)


def _withdrawn(story: Story) -> Iterator[Step]:
    days = story.dice.between(40, 80)
    yield story.upload(1, days, story.content(days))
    yield Step(
        StepKind.WITHDRAW,
        story.instant(story.dice.between(3, 30)),
        story.event_id(2),
        target=story.event_id(1),
        target_type=GP_SUMMARY,
        reason=story.dice.pick(("01", "02", "03")),
    )


def _section_empty(story: Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    yield story.upload(1, days, _without(story.content(days), "acute"))


def _section_absent(story: Story) -> Iterator[Step]:
    days = story.dice.between(4, 80)
    words = wording(story.bearing.practice, left_out="discontinued")
    yield story.upload(1, days, _without(story.content(days), "discontinued"), words=words)


def _opted_out(story: Story) -> Iterator[Step]:
    yield story.upload(1, 80, story.content(80))
    days = story.dice.between(10, 40)
    refused = {"preferences": (Refusal(time=Time(story.day(days))),)}
    yield story.upload(2, days, refused, replaces=story.event_id(1))
    yield story.consent(3, days - 1, Consent.NO)


def _newly_registered(story: Story) -> Iterator[Step]:
    days = story.dice.between(4, 20)
    brought = _without(story.content(days), "acute", "discontinued")
    yield story.upload(1, days, brought, words=wording(story.bearing.practice, notice=NEWLY_REGISTERED))


def _old(story: Story) -> Iterator[Step]:
    yield from _sent(story, story.dice.between(120, 400))


def _no_record(_story: Story) -> Iterator[Step]:
    return iter(())


def _without(content: Content, *lists: str) -> Content:
    """Leave lists of medication out, and what only they could explain stays."""
    medications: Medications = content["medications"]
    return {**content, "medications": replace(medications, **dict.fromkeys(lists, ()))}


_STORIES: Final[dict[State, Callable[[Story], Iterator[Step]]]] = {
    State.CORE: _current,
    State.ADDITIONAL: _current,
    State.INITIAL_ONLY: _initial_only,
    State.NO_SIGNIFICANT_DATA: _no_significant_data,
    State.WITHDRAWN: _withdrawn,
    State.SECTION_EMPTY: _section_empty,
    State.SECTION_ABSENT: _section_absent,
    State.OPTED_OUT: _opted_out,
    State.NEWLY_REGISTERED: _newly_registered,
    State.OLD: _old,
    State.NO_RECORD: _no_record,
}
