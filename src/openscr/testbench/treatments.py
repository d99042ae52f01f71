"""What a synthetic patient suffers from, and what is prescribed for it.

Invariants:

* Conditions explain medicines: a repeat medicine has a diagnosis or an allergy of the same history as its reason, an
  acute one a short illness.
* Nobody is given what an allergy or a condition of theirs forbids, whenever it became known; nobody has two medicines
  of one class, or two that do not go together.
* Age and sex fit: of a condition when it began, of a medicine from its first prescription until now.
* Dates are in order: born, diagnosed, first prescribed, last issued or discontinued, today.

Spec: 80 §1.1; 90 §7.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from openscr.clinical import Allergy, Coded, Diagnosis, Entry, Interval, Qualifier, Time
from openscr.testbench import formulary
from openscr.testbench.dice import Dice
from openscr.testbench.formulary import Allergen, Condition, Course, Episode

FIRST_PRESCRIPTION: Final = timedelta(days=21)
"""From a diagnosis to the first prescription at least."""


LONG_KNOWN: Final = timedelta(days=420)
"""What is older than this is in every summary that a story sends."""


@dataclass(frozen=True, slots=True)
class Person:
    """Whom a history is about. ``sex`` is ``male`` or ``female``, as in the patient index. Spec: 00 §6.4."""

    sex: str
    born: date

    def age(self, on: date) -> int:
        """Return whole years of age."""
        return on.year - self.born.year - ((on.month, on.day) < (self.born.month, self.born.day))

    def birthday(self, age: int) -> date:
        """Return the day on which an age is reached."""
        return date(self.born.year + age, self.born.month, min(self.born.day, 28))


@dataclass(frozen=True, slots=True)
class Prescribed:
    """A repeat medicine: since when, until when if it was discontinued, and the entry that is its reason."""

    course: Course
    started: date
    ended: date | None
    reason: Entry


@dataclass(frozen=True, slots=True)
class Suffered:
    """A condition of the patient and the day of its diagnosis."""

    condition: Condition
    on: date
    diagnosis: Diagnosis


@dataclass(frozen=True, slots=True)
class Illness:
    """A short illness, and the medicine prescribed for it on the same day."""

    episode: Episode
    course: Course
    on: date
    finding: Diagnosis


@dataclass(slots=True)
class Regimen:
    """What the patient may be given: everything that was drawn so far, and what it forbids."""

    person: Person
    today: date
    forbidden: set[str] = field(default_factory=set)
    taken: set[str] = field(default_factory=set)

    def allows(self, course: Course) -> bool:
        """Whether a medicine goes with everything drawn so far."""
        if course.sex not in ("", self.person.sex) or course.classes & (self.forbidden | self.taken):
            return False
        return not any(frozenset((a, b)) in formulary.NOT_TOGETHER for a in course.classes for b in self.taken)

    def suits(self, course: Course, start: date) -> date | None:
        """Return when a course could begin, from ``start`` on, for a patient who still takes it; none if never."""
        begin = max(start, self.person.birthday(course.from_age))
        if begin >= self.today or self.person.age(self.today) > course.to_age:
            return None
        return begin


def of_age(thing: Condition | Episode | formulary.Procedure | formulary.Consultation, person: Person, age: int) -> bool:
    """Whether something may happen to a person of that age."""
    return thing.sex in ("", person.sex) and thing.from_age <= age <= thing.to_age


# --- allergies ------------------------------------------------------------------------------------------------------


def draw_allergies(
    dice: Dice, regimen: Regimen, *, allergic: bool, asked: bool
) -> Iterator[tuple[date, Allergy, Allergen | None]]:
    """Iterate over day, entry and allergen: one or two allergies, that none is known, or nothing at all.

    ``allergic`` makes sure of an allergy, ``asked`` of an answer.
    """
    person, today = regimen.person, regimen.today
    earliest, latest = person.born + timedelta(days=300), today - LONG_KNOWN
    kind = dice.below(100)
    if earliest >= latest or (not allergic and kind >= 40):
        if asked or kind < 78:
            yield no_known_allergy(dice, person, today)
        return
    drawn: list[Allergen] = []
    for _ in range(2 if dice.chance(25) else 1):
        left = [a for a in formulary.ALLERGENS if a not in drawn and not any(a.forbids & d.forbids for d in drawn)]
        drawn.append(dice.pick_weighted(left, [allergen.weight for allergen in left]))
    found = sorted(
        ((dice.day(max(earliest, today - timedelta(days=9000)), latest), allergen) for allergen in drawn),
        key=lambda pair: pair[0],
    )
    for on, allergen in found:
        regimen.forbidden |= allergen.forbids
        degrees = ((formulary.CERTAINTY, allergen.certainty), (formulary.SEVERITY, allergen.severity))
        qualifiers = tuple(Qualifier(name=name, value=formulary.DEGREES[degree]) for name, degree in degrees)
        code = Coded(allergen.code.code, allergen.code.display, qualifiers=qualifiers)
        yield on, Allergy(code=code, time=since(on), supporting_text=allergen.note), allergen


def no_known_allergy(dice: Dice, person: Person, today: date) -> tuple[date, Allergy, None]:
    """Return the statement that the patient was asked and knows of no allergy."""
    first = max(person.born + timedelta(days=30), today - timedelta(days=2500))
    on = dice.day(first, max(first, today - LONG_KNOWN))
    note = "Asked at registration"
    return on, Allergy(code=formulary.NO_KNOWN_ALLERGY, time=since(on), supporting_text=note), None


def carried(dice: Dice, regimen: Regimen, on: date, allergy: Allergy, allergen: Allergen) -> Iterator[Prescribed]:
    """Iterate over what the patient carries against an allergy."""
    for course in allergen.carries:
        begin = regimen.suits(course, on + FIRST_PRESCRIPTION)
        if begin is not None and regimen.allows(course):
            regimen.taken |= course.classes
            yield Prescribed(course, dice.day(begin, _soon(begin, regimen.today)), None, allergy)


# --- conditions -----------------------------------------------------------------------------------------------------


def draw_conditions(
    dice: Dice, regimen: Regimen, count: int, medicines: int, *, changing: bool
) -> tuple[list[Suffered], list[Prescribed]]:
    """Draw at most ``count`` conditions with at most ``medicines`` repeat medicines.

    ``changing`` makes sure that the first one changed its treatment four to three months ago, if any can.
    """
    person, today = regimen.person, regimen.today
    age = person.age(today)
    suffered: list[Suffered] = []
    prescribed: list[Prescribed] = []
    left = [c for c in formulary.CONDITIONS if c.sex in ("", person.sex) and c.from_age < age]
    while left and len(suffered) < count and len(prescribed) < medicines:
        must_change = changing and not suffered
        fitting = [c for c in left if not must_change or len(_usable(regimen, c, _earliest(person, c, today))) > 1]
        if not fitting:
            break
        condition = dice.pick_weighted(fitting, [c.weight for c in fitting])
        left.remove(condition)
        have = {s.condition.key for s in suffered}
        excluded = condition.excludes & have or any(condition.key in s.condition.excludes for s in suffered)
        if excluded or condition.forbids & regimen.taken:
            continue
        first = _earliest(person, condition, today)
        last = min(person.birthday(condition.to_age + 1) - timedelta(days=1), today - timedelta(days=150))
        if last < first:
            continue
        on = first if must_change else dice.day(first, last)
        given = list(_treat(dice, regimen, condition, on, changing=must_change))
        if not given:
            continue
        note = condition.note or None
        diagnosis = Diagnosis(code=condition.diagnosis, time=since(on), supporting_text=note)
        suffered.append(Suffered(condition, on, diagnosis))
        regimen.forbidden |= condition.forbids
        for course, started, ended in given:
            prescribed.append(Prescribed(course, started, ended, diagnosis))
    return sorted(suffered, key=lambda s: s.on), prescribed


def _earliest(person: Person, condition: Condition, today: date) -> date:
    """Return the first day on which a condition may be diagnosed: at its age, and not too long ago."""
    return max(person.birthday(condition.from_age), person.born + timedelta(days=120), today - timedelta(days=25 * 365))


def _usable(regimen: Regimen, condition: Condition, on: date) -> list[Course]:
    """Return the steps of a treatment that suit the patient until now."""
    return [
        course
        for course in condition.steps
        if regimen.allows(course)
        and not course.classes & condition.forbids
        and regimen.suits(course, on + FIRST_PRESCRIPTION) is not None
    ]


def _treat(
    dice: Dice, regimen: Regimen, condition: Condition, on: date, *, changing: bool
) -> Iterator[tuple[Course, date, date | None]]:
    """Iterate over the medicines for a condition with their first and last day; none if none suits the patient."""
    today = regimen.today
    steps = _usable(regimen, condition, on)
    if not steps:
        return
    former = len(steps) > 1 and (changing or dice.chance(55))
    chosen = steps[-2:] if former else [dice.pick(steps)]
    begin = regimen.suits(chosen[0], on + FIRST_PRESCRIPTION) or today
    started = begin if changing else dice.day(begin, _soon(begin, today))
    if former:
        recent = today - timedelta(days=dice.between(92, 120))
        earliest = max(started + timedelta(days=28), regimen.person.birthday(chosen[1].from_age))
        if earliest < recent:
            switched = recent if changing or dice.chance(30) else dice.day(earliest, recent)
            yield chosen[0], started, switched
            yield chosen[1], switched, None
        else:
            chosen = chosen[:1]
    if not former or len(chosen) == 1:
        yield chosen[0], started, None
    given = {class_ for course in chosen for class_ in course.classes}
    regimen.taken |= given
    for course in condition.beside:
        begin_beside = regimen.suits(course, started)
        if begin_beside is None or course.classes & condition.forbids or not regimen.allows(course):
            continue
        if dice.chance(60):
            regimen.taken |= course.classes
            yield course, dice.day(begin_beside, _soon(begin_beside, today)), None


def _soon(begin: date, today: date) -> date:
    return min(begin + timedelta(days=200), today - timedelta(days=1))


# --- short illnesses ------------------------------------------------------------------------------------------------


def draw_illnesses(dice: Dice, regimen: Regimen, days_ago: Iterable[int]) -> list[Illness]:
    """Draw a short illness for each of these days, where one fits; no illness comes twice."""
    drawn: list[Illness] = []
    for days in days_ago:
        on = regimen.today - timedelta(days=days)
        age = regimen.person.age(on)
        if on <= regimen.person.born + timedelta(days=60):
            continue
        fitting = [
            (episode, course)
            for episode in formulary.EPISODES
            if of_age(episode, regimen.person, age) and all(episode is not each.episode for each in drawn)
            for course in episode.courses
            if course.from_age <= age <= course.to_age and regimen.allows(course)
        ]
        # The first course that suits is the one a prescriber would choose.
        first = {id(episode): (episode, course) for episode, course in reversed(fitting)}
        if first:
            choices = list(first.values())
            episode, course = dice.pick_weighted(choices, [episode.weight for episode, _ in choices])
            finding = Diagnosis(code=episode.finding, time=since(on), supporting_text=episode.text)
            drawn.append(Illness(episode, course, on, finding))
    return drawn


def since(on: date) -> Interval:
    """Return the time of something that began on a day."""
    return Interval(low=Time(on))
