"""What happened to a synthetic patient over the years, and what a summary of a given day says of it.

Invariants:

* Conditions explain medicines: every repeat medicine treats a diagnosis of the same history, every acute one a short
  illness; no medicine meets an allergy or a condition that forbids it.
* Dates are in order: born, diagnosed, treated, reviewed; nothing lies after the day of the summary.
* Two summaries of one history agree about everything that both can know.

Draws are made from `random.Random.random` alone, whose sequence is the same on every machine and Python.

Spec: 80 §1.1; 90 §7.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from openscr.testbench import formulary
from openscr.testbench.content import (
    Allergy,
    BloodPressure,
    Coded,
    Content,
    Entry,
    Medication,
    Pointer,
    Quantity,
    Section,
)
from openscr.testbench.formulary import Condition, Course, Episode, Measure
from openscr.testbench.narrative import months_before

T = TypeVar("T")


class Dice:
    """Draws that depend on the seed text and the order of calls, on nothing else."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)  # noqa: S311  reproducible on purpose: nothing secret is drawn

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


@dataclass(frozen=True, slots=True)
class Suffered:
    """A condition of the patient: its diagnosis, and when its present treatment took the place of the former."""

    condition: Condition
    diagnosis: Entry
    switched: date | None


@dataclass(frozen=True, slots=True)
class History:
    """The patient's whole story up to ``today``; `core` and `additional` say what a summary of an earlier day holds."""

    born: date
    allergies: tuple[Allergy, ...]
    suffered: tuple[Suffered, ...]
    episodes: tuple[tuple[Episode, Entry], ...]
    observed: tuple[Entry | BloodPressure, ...]
    background: tuple[Entry, ...]

    def core(self, on: date) -> tuple[Content, ...]:
        """Return allergies and medicines as of a day. Spec: 80 §1.1."""
        return (*self._allergies(on), *self._medicines(on, explained=False))

    def additional(self, on: date) -> tuple[Content, ...]:
        """Return the whole record as of a day, reasons for medicines included. Spec: 80 §1.1."""
        known = [suffered for suffered in self.suffered if suffered.diagnosis.on <= on]
        problems = (Pointer(Section.PROBLEMS, s.diagnosis.on, s.diagnosis, "Active problem") for s in known)
        risks = (
            Pointer(Section.RISKS, allergy.on, allergy, "Severe reaction in the past")
            for allergy in self._allergies(on)
            if allergy.severity == "Severe"
        )
        illnesses = (finding for _, finding in self.episodes)
        dated = (entry for entry in (*illnesses, *self.observed, *self.background) if entry.on <= on)
        diagnoses = (suffered.diagnosis for suffered in known)
        return (*self._allergies(on), *self._medicines(on, explained=True), *problems, *risks, *diagnoses, *dated)

    def _allergies(self, on: date) -> tuple[Allergy, ...]:
        return tuple(allergy for allergy in self.allergies if allergy.on <= on)

    def _medicines(self, on: date, *, explained: bool) -> list[Medication]:
        medicines = []
        penicillin = any(allergy.code == formulary.PENICILLIN for allergy in self.allergies)
        for episode, finding in self.episodes:
            if months_before(on, 12) < finding.on <= on:
                course = episode.instead if penicillin and episode.instead else episode.course
                reason = finding if explained else None
                medicines.append(_medication(Section.ACUTE, course, finding.on, None, reason))
        for suffered in self.suffered:
            condition, diagnosis = suffered.condition, suffered.diagnosis
            reason = diagnosis if explained else None
            started = diagnosis.on + timedelta(days=21)
            if started > on:
                continue
            switched = suffered.switched if suffered.switched and suffered.switched <= on else None
            former = condition.former if suffered.switched else None
            course, added = (condition.repeat, switched or started) if switched or not former else (former, started)
            last = added + timedelta(days=(on - added).days // 28 * 28)
            medicines.append(_medication(Section.REPEAT, course, added, last, reason))
            if former and switched and switched > months_before(on, 6):
                medicines.append(_medication(Section.DISCONTINUED, former, started, switched, reason))
        return medicines


def _medication(section: Section, course: Course, on: date, until: date | None, reason: Entry | None) -> Medication:
    return Medication(section, on, course.product, course.dose, course.quantity, course.unit, until, reason)


def draw_history(dice: Dice, born: date, today: date, *, allergic: bool = False) -> History:
    """Draw a history; ``allergic`` makes sure of an allergy.

    From 50 years of age, each of the four core sections holds something on ``today`` and for 80 days before.
    """
    age = (today - born).days // 365
    allergies = _draw_allergies(dice, born, today, allergic=allergic)
    smoking = dice.pick(formulary.SMOKING)
    suffered = _draw_conditions(dice, age, allergies, today)
    episodes = _draw_episodes(dice, today)
    observed = _draw_observations(dice, suffered, today)
    background = _draw_background(dice, age, smoking == formulary.SMOKER, suffered, today)
    lifestyle = Entry(Section.LIFESTYLE, today - timedelta(days=dice.between(120, 900)), smoking)
    return History(born, allergies, suffered, episodes, observed, (lifestyle, *background))


def _draw_allergies(dice: Dice, born: date, today: date, *, allergic: bool) -> tuple[Allergy, ...]:
    if dice.chance(35) and not allergic:
        on = today - timedelta(days=dice.between(200, 2500))
        return (Allergy(on, formulary.NO_KNOWN_ALLERGY, note="Asked at registration"),)
    first = dice.below(len(formulary.ALLERGIES))
    drawn = {first, dice.below(len(formulary.ALLERGIES))} if dice.chance(30) else {first}
    allergies = []
    for index in sorted(drawn):
        code, certainty, severity, note = formulary.ALLERGIES[index]
        on = today - timedelta(days=dice.between(400, min(9000, (today - born).days - 1000)))
        allergies.append(Allergy(on, code, certainty, severity, note))
    return tuple(sorted(allergies, key=lambda allergy: allergy.on))


def _draw_conditions(dice: Dice, age: int, allergies: tuple[Allergy, ...], today: date) -> tuple[Suffered, ...]:
    """Draw two to four conditions, one of which changed its treatment four to three months ago."""
    taken = {allergy.code.code for allergy in allergies}
    fitting = [c for c in formulary.CONDITIONS if c.from_age + 4 <= age and not c.avoids & taken]
    changing = [condition for condition in fitting if condition.former]
    chosen = [dice.pick(changing)] if changing else []
    for _ in range(dice.between(1, 3)):
        taken |= {condition.diagnosis.code for condition in chosen}
        forbidden = {code for condition in chosen for code in condition.avoids}
        left = [c for c in fitting if not (c.avoids & taken or {c.diagnosis.code} & (taken | forbidden))]
        if left:
            chosen.append(dice.pick(left))
    suffered = []
    for index, condition in enumerate(chosen):
        years = min(age - condition.from_age, 14)
        on = today - timedelta(days=dice.between(700, max(701, years * 365)))
        diagnosis = Entry(Section.DIAGNOSES, on, condition.diagnosis, condition.note)
        switch = today - timedelta(days=dice.between(92, 120)) if index == 0 and condition.former else None
        suffered.append(Suffered(condition, diagnosis, switch))
    return tuple(sorted(suffered, key=lambda s: s.diagnosis.on))


def _draw_episodes(dice: Dice, today: date) -> tuple[tuple[Episode, Entry], ...]:
    """Draw one or two short illnesses, the first four to eight months ago, so that every summary of 80 days has it."""
    first = dice.below(len(formulary.EPISODES))
    drawn = [(formulary.EPISODES[first], today - timedelta(days=dice.between(120, 240)))]
    if dice.chance(50):
        second = (first + 1 + dice.below(len(formulary.EPISODES) - 1)) % len(formulary.EPISODES)
        drawn.append((formulary.EPISODES[second], today - timedelta(days=dice.between(95, 119))))
    return tuple((episode, Entry(Section.DIAGNOSES, on, episode.finding)) for episode, on in drawn)


def _draw_observations(dice: Dice, suffered: tuple[Suffered, ...], today: date) -> tuple[Entry | BloodPressure, ...]:
    """Draw blood pressures, weights and the results that the conditions call for, yearly back to five years."""
    measures = list(
        dict.fromkeys([formulary.CREATININE, *(s.condition.measure for s in suffered if s.condition.measure)])
    )
    raised = any(s.condition.diagnosis == formulary.HYPERTENSION for s in suffered)
    weight = dice.between(58, 96)
    observed: list[Entry | BloodPressure] = []
    for year in range(dice.between(2, 5)):
        on = today - timedelta(days=100 + 365 * year + dice.below(60))
        systolic = dice.between(132, 148) if raised else dice.between(112, 134)
        observed.append(BloodPressure(on, systolic, systolic - dice.between(44, 56)))
        kilograms = Quantity(str(weight + dice.between(-2, 2)), "kg", "kg")
        observed.append(Entry(Section.OBSERVATIONS, on, formulary.BODY_WEIGHT, quantity=kilograms))
        observed += [Entry(Section.RESULTS, on, m.code, quantity=_draw_value(dice, m)) for m in measures]
    return tuple(sorted(observed, key=lambda entry: entry.on, reverse=True))


def _draw_value(dice: Dice, measure: Measure) -> Quantity:
    scale: int = 10**measure.decimals
    drawn = dice.between(round(measure.lowest * scale), round(measure.highest * scale))
    value = f"{drawn / scale:.{measure.decimals}f}"
    return Quantity(value, measure.unit, measure.printed_unit, measure.low, measure.high)


def _draw_background(
    dice: Dice, age: int, smoker: bool, suffered: tuple[Suffered, ...], today: date
) -> tuple[Entry, ...]:
    """Draw vaccinations, visits, circumstances, wishes and the rest of an enriched record."""
    codes = {s.condition.diagnosis.code for s in suffered}
    background = []

    def add(section: Section, days: int, code: Coded, note: str = "") -> None:
        background.append(Entry(section, today - timedelta(days=days), code, note))

    for year in range(dice.between(1, 4) if age >= 50 else 1):
        autumn = date(today.year - 1 - year, 10, dice.between(1, 28))
        note = "Given at practice flu clinic"
        background.append(Entry(Section.TREATMENTS, autumn, formulary.INFLUENZA_VACCINATION, note))
    background.append(Entry(Section.TREATMENTS, date(2021, dice.between(2, 6), 14), formulary.COVID_VACCINATION))
    if age >= 66:
        add(Section.TREATMENTS, dice.between(200, (age - 65) * 365), formulary.PNEUMOCOCCAL_VACCINATION)
    if dice.chance(25):
        add(Section.TREATMENTS, (age - dice.between(9, 22)) * 365, formulary.APPENDICECTOMY)
    if formulary.DIABETES.code in codes:
        add(Section.CARE_EVENTS, dice.between(100, 330), formulary.DIABETIC_REVIEW, "Feet and eyes screened")
    add(Section.CARE_EVENTS, dice.between(95, 300), formulary.CHECK_UP, "Medication reviewed")
    if formulary.COPD.code in codes:
        add(Section.INVESTIGATIONS, dice.between(130, 600), formulary.CHEST_X_RAY, "No focal abnormality")
    elif age >= 60 and dice.chance(25):
        add(Section.INVESTIGATIONS, dice.between(200, 1200), formulary.COLONOSCOPY, "Bowel screening; normal")
    if dice.chance(60):
        relative = dice.below(len(formulary.FAMILY_NOTES))
        add(Section.FAMILY_HISTORY, 1500, dice.pick(formulary.FAMILY_HISTORY), formulary.FAMILY_NOTES[relative])
    advice = formulary.SMOKING_ADVICE if smoker else formulary.EXERCISE_ADVICE
    add(Section.ADVICE, dice.between(95, 400), advice)
    if age >= 72:
        add(Section.CIRCUMSTANCES, dice.between(300, 1500), formulary.LIVES_ALONE)
        add(Section.SERVICES, dice.between(200, 900), formulary.CARER, "Daughter lives nearby and holds a key")
        add(Section.PREFERENCES, dice.between(95, 300), formulary.PREFERRED_PLACE, "Discussed with patient and family")
    if age >= 85:
        add(
            Section.PREFERENCES,
            dice.between(95, 300),
            formulary.NOT_FOR_RESUSCITATION,
            "Form kept at home; see care plan",
        )
    return tuple(sorted(background, key=lambda entry: entry.on, reverse=True))
