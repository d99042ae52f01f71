"""What a practice wrote down about a synthetic patient over the years: visits, measurements, results, letters.

Everything is in step with age, sex and conditions: nobody is screened for what they do not have, no child is weighed as
an adult, values lie in spans that a clinician would believe. Long records are long because much happened.

Spec: 80 §1.1, §2; 90 §7.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Final

from openscr.clinical import (
    BloodPressure,
    CareEvent,
    CareProfessionalDocumentation,
    Coded,
    Entry,
    Finding,
    FindingOrganizer,
    Height,
    Investigation,
    PatientCarerCorrespondence,
    Pressure,
    Quantity,
    ReferenceRange,
    ThirdPartyCorrespondence,
    Time,
    Treatment,
    Value,
    Weight,
)
from openscr.codes import OID_INTERPRETATION
from openscr.testbench import formulary
from openscr.testbench.dice import Dice
from openscr.testbench.formulary import Measure
from openscr.testbench.treatments import Person, Suffered, of_age, since

YEARS: Final = 30
"""How far back the computer's record goes at most."""

_CHILD_SIZES: Final = (
    (2, 77, 10), (3, 95, 14), (4, 102, 16), (5, 109, 18), (6, 115, 21), (8, 127, 26), (10, 138, 32), (12, 149, 40),
    (14, 162, 50), (16, 170, 58), (18, 172, 62),
)  # fmt: skip
"""Up to which age (years), height in cm and weight in kg of an ordinary child."""


@dataclass(frozen=True, slots=True)
class Fact:
    """An entry of the additional information, the heading it stands under, and the day it was known."""

    on: date
    member: str
    entry: Entry


@dataclass(slots=True)
class Notes:
    """Writes the facts of one patient; remembers what stays the same from one measurement to the next."""

    dice: Dice
    person: Person
    suffered: Sequence[Suffered]
    today: date
    lost: frozenset[str] = frozenset()
    """Codes of operations after which there is nothing left to be screened."""
    levels: dict[str, float] = field(default_factory=dict)

    def yearly(self, year: int, visits: int) -> Iterator[Fact]:
        """Iterate over what was written in the year that ended ``year`` years ago, with so many visits."""
        end = self.today - timedelta(days=1 + 365 * year)
        begin = max(end - timedelta(days=364), self.person.born + timedelta(days=40))
        if begin > end:
            return
        age = self.person.age(begin)
        known = [each for each in self.suffered if each.on + timedelta(days=60) < begin]
        yield from self._prevention(begin, end, age, known)
        measured = self.dice.day(begin, end)
        if self.person.age(measured) < 16:
            yield from self._growth(measured)
        elif known or year % 3 == 0:
            yield from self._vitals(measured, age, known)
        for each in known:
            yield from self._review(each, self.dice.day(begin, end))
        # One blood test a year for all of them.
        wanted = [panel for each in known for panel in each.condition.panels]
        yield from self.panels(wanted, self.dice.day(begin, end), known)
        for _ in range(visits):
            yield from self._visit(self.dice.day(begin, end), known)

    # --- prevention -------------------------------------------------------------------------------------------------

    def _prevention(self, begin: date, end: date, age: int, known: Sequence[Suffered]) -> Iterator[Fact]:
        autumn = date(begin.year, 10, 1 + self.dice.below(28))
        at_risk = any(each.condition.clinic in ("respiratory", "diabetes", "cardiology", "renal") for each in known)
        if begin <= autumn <= end and (age >= 65 or 2 <= age <= 10 or at_risk):
            note = "Given at practice flu clinic"
            yield _treatment(autumn, formulary.INFLUENZA_VACCINATION, note)
        keys = {each.condition.key for each in known}
        for screening in formulary.SCREENINGS:
            due = screening.from_age <= age and self.person.age(end) <= screening.to_age
            due = due and screening.sex in ("", self.person.sex) and age % screening.every == 0
            if due and (not screening.needs or screening.needs in keys) and screening.not_after not in self.lost:
                on = self.dice.day(begin, end)
                note = screening.note
                entry = Investigation(code=screening.code, time=since(on), supporting_text=note)
                yield Fact(on, "investigations", entry)

    # --- measurements -----------------------------------------------------------------------------------------------

    def _vitals(self, on: date, age: int, known: Sequence[Suffered]) -> Iterator[Fact]:
        raised = any(each.condition.key == "hypertension" for each in known)
        systolic = self.dice.between(130, 148) if raised else self.dice.between(108, 124) + min(age, 60) // 6
        diastolic = systolic - self.dice.between(44, 58)
        pressures = (Pressure(value=Quantity(str(value), "mm[Hg]")) for value in (systolic, diastolic))
        upper, lower = pressures
        entry = BloodPressure(code=formulary.BLOOD_PRESSURE, time=Time(on), systolic=upper, diastolic=lower)
        yield Fact(on, "observations", entry)
        tall = self._level("height")
        height = (155 if self.person.sex == "female" else 168) + int(tall * 17)
        # A body mass index from 20 to 36 that stays nearly the same.
        index = 20 + self._level("index") * 14 + self._level("drift") * self.dice.share()
        kilograms = str(int(index * height * height / 10_000))
        weight = Weight(value=Quantity(kilograms, "kg"), code=formulary.BODY_WEIGHT, time=Time(on))
        yield Fact(on, "observations", weight)

    def _growth(self, on: date) -> Iterator[Fact]:
        years = (on - self.person.born).days / 365.25
        if years < 1:
            return
        _, height, weight = next(row for row in _CHILD_SIZES if years < row[0])
        scale = 0.95 + self._level("height") / 10
        tall = Quantity(str(int(height * scale)), "cm")
        heavy = Quantity(str(int(weight * scale * scale)), "kg")
        yield Fact(on, "observations", Height(value=tall, code=formulary.BODY_HEIGHT, time=Time(on)))
        yield Fact(on, "observations", Weight(value=heavy, code=formulary.BODY_WEIGHT, time=Time(on)))

    def _level(self, name: str) -> float:
        return self.levels.setdefault(name, self.dice.share())

    def panels(self, names: Sequence[str], on: date, known: Sequence[Suffered]) -> Iterator[Fact]:
        """Iterate over the results of a blood test: each panel as a battery, a single measure alone."""
        chosen = [measure for measure in formulary.MEASURES if measure.panel in names]
        keys = {each.condition.key for each in known}
        for _, group in groupby(chosen, key=lambda measure: measure.panel):
            measures = list(group)
            findings = tuple(self._finding(measure, on, keys) for measure in measures)
            name = measures[0].panel_name
            if name is None:
                yield from (Fact(on, "investigation_results", finding) for finding in findings)
            else:
                battery = FindingOrganizer(code=name, time=Time(on), members=findings)
                yield Fact(on, "investigation_results", battery)

    def _finding(self, measure: Measure, on: date, keys: set[str]) -> Finding:
        lowest, highest = measure.moved if measure.moved and measure.moved_by in keys else measure.span
        # Each value is near the patient's own level.
        share = min(max(self._level(measure.code.code) + (self.dice.share() - 0.5) * 0.4, 0.0), 1.0)
        scale = 10**measure.decimals
        value = f"{round((lowest + (highest - lowest) * share) * scale) / scale:.{measure.decimals}f}"
        unit = measure.unit
        printed = measure.printed_unit if measure.printed_unit != unit else None
        low, high = measure.normal_female if self.person.sex == "female" else measure.normal
        reference = None
        if low or high:
            reference = ReferenceRange(
                low=Quantity(low, unit) if low else None,
                high=Quantity(high, unit) if high else None,
                interpretation=_interpretation(float(value), low, high),
            )
        amount = Value(Quantity(value, unit, printed))
        return Finding(code=measure.code, time=Time(on), value=amount, reference_range=reference)

    # --- contacts ---------------------------------------------------------------------------------------------------

    def _review(self, each: Suffered, on: date) -> Iterator[Fact]:
        condition = each.condition
        if condition.review:
            yield _event(on, formulary.REVIEW, f"{condition.review}. {condition.note or 'No change'}")
        if condition.clinic and self.dice.chance(35):
            yield self._letter(condition.clinic, on)

    def _visit(self, on: date, known: Sequence[Suffered]) -> Iterator[Fact]:
        age = self.person.age(on)
        reasons = [each for each in formulary.CONSULTATIONS if of_age(each, self.person, age)]
        yield _event(on, formulary.CONSULTATION, self.dice.pick(reasons).text)
        kind = self.dice.below(100)
        if kind < 14 and age >= 16:
            yield from self.panels(("blood-count", "renal") if kind < 8 else ("liver",), on, known)
        elif kind < 30:
            clinics = [each.condition.clinic for each in known if each.condition.clinic]
            fallback = "ward" if age >= 40 else "emergency"
            yield self._letter(self.dice.pick(clinics) if clinics else fallback, on)
        elif kind < 36 and age >= 18:
            text = "Thank you for the explanation last week. I would like to go on as we discussed and will come back."
            letter = PatientCarerCorrespondence(
                code=formulary.PATIENT_LETTER, title="Letter from the patient", text=text, time=Time(on)
            )
            yield Fact(on, "patient_correspondence", letter)

    def _letter(self, clinic: str, on: date) -> Fact:
        text, title = formulary.LETTERS[clinic], f"Letter from the {clinic} clinic"
        if clinic in ("ward", "emergency"):
            title = "Discharge summary" if clinic == "ward" else "Emergency department report"
            report = CareProfessionalDocumentation(
                code=formulary.CLINICAL_REPORT, title=title, text=text, time=Time(on)
            )
            return Fact(on, "documents", report)
        letter = ThirdPartyCorrespondence(code=formulary.OUTPATIENT_LETTER, title=title, text=text, time=Time(on))
        return Fact(on, "third_party_correspondence", letter)


def _interpretation(value: float, low: str, high: str) -> Coded | None:
    if high and value > float(high):
        return Coded("HI", "Above high reference limit", OID_INTERPRETATION)
    if low and value < float(low):
        return Coded("LO", "Below low reference limit", OID_INTERPRETATION)
    return None


def _event(on: date, code: Coded, text: str) -> Fact:
    event = CareEvent(code=code, time=since(on), supporting_text=text, service_location=formulary.PRACTICE_PREMISES)
    return Fact(on, "care_events", event)


def _treatment(on: date, code: Coded, note: str) -> Fact:
    return Fact(on, "treatments", Treatment(code=code, time=since(on), supporting_text=note or None))


# --- once in a life -------------------------------------------------------------------------------------------------


def immunisations(dice: Dice, person: Person, today: date) -> Iterator[Fact]:
    """Iterate over the vaccines of the calendar that the patient has had at the age for them."""
    for each in formulary.IMMUNISATIONS:
        if each.sex not in ("", person.sex):
            continue
        if each.months:
            month = person.born.year * 12 + person.born.month - 1 + each.months
            on = date(month // 12, month % 12 + 1, 1) + timedelta(days=14 + dice.below(20))
        else:
            on = date(each.since, 2, 1) + timedelta(days=dice.below(150))
            if person.age(on) < 18:
                continue
        if on.year >= each.since and on < today and dice.chance(92):
            yield _treatment(on, each.code, each.note)


def operations(dice: Dice, person: Person, today: date, *, count: int) -> Iterator[Fact]:
    """Iterate over at most ``count`` operations, each at an age at which people have it."""
    age = person.age(today)
    left = [each for each in formulary.PROCEDURES if each.sex in ("", person.sex) and each.from_age < age]
    for _ in range(min(count, len(left))):
        drawn = dice.pick_weighted(left, [each.weight for each in left])
        left.remove(drawn)
        last = min(person.birthday(drawn.to_age), today - timedelta(days=90))
        yield _treatment(dice.day(person.birthday(drawn.from_age), last), drawn.code, drawn.note)
