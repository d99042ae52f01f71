"""What happened to a synthetic patient over the years, and what a summary of a given day says of it.

Two summaries of one history agree about everything that both can know. What fits together, and in which order, is told
by `openscr.testbench.treatments` and `openscr.testbench.contacts`.

Spec: 80 §1.1; 90 §7.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Final

from openscr.clinical import (
    AcuteMedication,
    AdministrativeProcedure,
    Allergy,
    CurrentRepeatMedication,
    DiscontinuedRepeatMedication,
    Entry,
    FamilyHistory,
    LifeStyle,
    Medications,
    NonAgent,
    PersonalPreference,
    Problem,
    ProvisionOfAdviceAndInformation,
    Quantity,
    RiskToPatient,
    Service,
    SocialOrPersonalCircumstance,
    Time,
)
from openscr.clinical.entries import CodedEntry
from openscr.clinical.narrative import months_before
from openscr.clinical.values import Interval
from openscr.testbench import formulary
from openscr.testbench.contacts import YEARS, Fact, Notes, immunisations, operations
from openscr.testbench.dice import Dice
from openscr.testbench.formulary import Allergen, Remark
from openscr.testbench.treatments import (
    LONG_KNOWN,
    Illness,
    Person,
    Prescribed,
    Regimen,
    Suffered,
    carried,
    draw_allergies,
    draw_conditions,
    draw_illnesses,
    no_known_allergy,
    since,
)

ACUTE_MONTHS: Final = 12
DISCONTINUED_MONTHS: Final = 6
"""How far back a practice looks for medication. Spec: 80 §1.1."""

ORDINARY: Final = 28_000
"""Bytes of an ordinary record with additional information."""

Content = dict[str, Any]
"""Entries by the headings of `openscr.clinical.Summary`."""


@dataclass(frozen=True, slots=True)
class History:
    """The patient's whole story up to ``today``; `core` and `additional` say what a summary of an earlier day holds."""

    person: Person
    today: date
    allergies: tuple[tuple[date, Allergy], ...]
    prescribed: tuple[Prescribed, ...]
    illnesses: tuple[Illness, ...]
    facts: tuple[Fact, ...]

    def core(self, on: date) -> Content:
        """Return allergies and medicines as of a day. Spec: 80 §1.1."""
        return self._content(on, explained=False)

    def additional(self, on: date) -> Content:
        """Return the whole record as of a day, reasons for medicines included. Spec: 80 §1.1."""
        content = self._content(on, explained=True)
        for fact in self.facts:
            if fact.on <= on:
                content.setdefault(fact.member, []).append(fact.entry)
        return {member: tuple(held) if isinstance(held, list) else held for member, held in content.items()}

    def _content(self, on: date, *, explained: bool) -> Content:
        medications = Medications(
            acute=tuple(self._acute(on, explained=explained)),
            current_repeat=tuple(self._current(on, explained=explained)),
            discontinued=tuple(self._discontinued(on, explained=explained)),
        )
        return {"allergies": tuple(a for day, a in self.allergies if day <= on), "medications": medications}

    def _acute(self, on: date, *, explained: bool) -> Iterator[AcuteMedication]:
        for each in self.illnesses:
            if months_before(on, ACUTE_MONTHS) < each.on <= on:
                course = each.course
                yield AcuteMedication(
                    product=course.product,
                    dosage=course.dose,
                    quantity=Quantity(course.quantity, "1", course.unit),
                    time=Time(each.on),
                    reasons=(each.finding,) if explained else (),
                )

    def _current(self, on: date, *, explained: bool) -> Iterator[CurrentRepeatMedication]:
        for each in self.prescribed:
            if each.started <= on and (each.ended is None or each.ended > on):
                last = each.started + timedelta(days=(on - each.started).days // each.course.days * each.course.days)
                words = f"Last issued {Time(last).printed}"
                yield CurrentRepeatMedication(time=since(each.started), **_medicine(each, words, explained=explained))

    def _discontinued(self, on: date, *, explained: bool) -> Iterator[DiscontinuedRepeatMedication]:
        for each in self.prescribed:
            if each.ended is not None and months_before(on, DISCONTINUED_MONTHS) < each.ended <= on:
                time = Interval(low=Time(each.started), high=Time(each.ended))
                yield DiscontinuedRepeatMedication(
                    time=time, **_medicine(each, "Treatment changed", explained=explained)
                )


def _medicine(each: Prescribed, words: str, *, explained: bool) -> dict[str, Any]:
    course = each.course
    return {
        "product": course.product,
        "dosage": course.dose,
        "quantity": Quantity(course.quantity, "1", course.unit),
        "supporting_text": words,
        "reasons": (each.reason,) if explained else (),
    }


def draw_history(
    dice: Dice,
    person: Person,
    today: date,
    *,
    size: int = ORDINARY,
    enriched: bool = True,
    whole: bool = False,
    allergic: bool = False,
) -> History:
    """Draw a history whose record is about ``size`` bytes long, as far as the patient's life allows.

    ``enriched`` says whether that record will hold additional information. ``whole`` asks that from 50 years of age
    each of the four core sections holds something on ``today`` and for 80 days before; ``allergic`` makes sure of an
    allergy.
    """
    age = person.age(today)
    regimen = Regimen(person, today)
    budget = _Budget(size - _EMPTY)
    allergies = list(draw_allergies(dice, regimen, allergic=allergic, asked=whole))
    operated = list(operations(dice, person, today, count=_operations(dice, age, size)))
    if any(_code(fact) == formulary.HYSTERECTOMY for fact in operated):
        regimen.forbidden |= {"contraceptive", "hrt-progestogen"}
    prescribed = [
        against
        for day, allergy, allergen in allergies
        if allergen is not None
        for against in carried(dice, regimen, day, allergy, allergen)
    ]
    budget.spend(_ENTRY * len(allergies) + _MEDICINE * len(prescribed))
    # With additional information each medicine brings its reason along, as a diagnosis and as a problem.
    each = _MEDICINE + 2 * _ENTRY if enriched else _MEDICINE
    medicines = max(2 if whole else 0, min(budget.left * (70 if enriched else 95) // 100 // each, 3 + age // 8))
    conditions = dice.between(2, 4) if whole else medicines
    suffered, treated = draw_conditions(dice, regimen, conditions, medicines, changing=whole and age >= 50)
    prescribed += treated
    if not allergies and not any(each.ended is None and each.started < today - LONG_KNOWN for each in prescribed):
        # A summary without any entry is none: of those who take nothing it is known at least that they were asked.
        allergies.append(no_known_allergy(dice, person, today))
    recent = [dice.between(120, 240)] if whole or budget.left > 6_000 else []
    if recent and dice.chance(50):
        recent.append(dice.between(95, 119))
    illnesses = draw_illnesses(dice, regimen, recent)
    budget.spend(_MEDICINE * (len(prescribed) + len(illnesses)))
    facts = _Facts(dice, person, today, budget)
    facts.diagnose(allergies, suffered, illnesses)
    facts.keep(operated)
    facts.keep(immunisations(dice, person, today))
    facts.remark(age)
    lost = frozenset(_code(fact) for fact in operated)
    facts.note(Notes(dice, person, suffered, today, lost))
    known = tuple((day, allergy) for day, allergy, _ in allergies)
    ordered = tuple(sorted(facts.kept, key=lambda fact: fact.on, reverse=True))
    return History(person, today, known, tuple(prescribed), tuple(illnesses), ordered)


def _code(fact: Fact) -> str:
    return fact.entry.code.code if isinstance(fact.entry, CodedEntry) else ""


def _operations(dice: Dice, age: int, size: int) -> int:
    return 0 if age < 5 or size < 9_000 else dice.below(2 + min(age // 30, 2))


_EMPTY: Final = 4_600
_ENTRY: Final = 950
_MEDICINE: Final = 1_900
"""Bytes of a summary without entries, of an ordinary entry and of a medicine, printed row included."""


class _Budget:
    """Bytes that are left for a record."""

    def __init__(self, left: int) -> None:
        self.left = left

    def spend(self, cost: int) -> bool:
        """Take something away; say whether anything was left."""
        self.left -= cost
        return self.left > 0


class _Facts:
    """Collects additional information until the record is as long as it should be."""

    def __init__(self, dice: Dice, person: Person, today: date, budget: _Budget) -> None:
        self.kept: list[Fact] = []
        self._dice = dice
        self._person = person
        self._today = today
        self._budget = budget

    def diagnose(
        self,
        allergies: list[tuple[date, Allergy, Allergen | None]],
        suffered: list[Suffered],
        illnesses: list[Illness],
    ) -> None:
        """Keep what explains the medicines, whatever it costs, and what follows from it."""
        for each in suffered:
            self._add(Fact(each.on, "diagnoses", each.diagnosis))
            self._add(Fact(each.on, "problems", Problem(time=since(each.on), about=each.diagnosis)))
        for illness in illnesses:
            self._add(Fact(illness.on, "diagnoses", illness.finding))
        for day, allergy, allergen in allergies:
            if allergen is not None and allergen.severity == "Severe":
                self._add(Fact(day, "risks_to_patient", RiskToPatient(time=since(day), about=(allergy,))))

    def _add(self, fact: Fact) -> bool:
        self.kept.append(fact)
        return self._budget.spend(_cost(fact.entry))

    def keep(self, facts: Any) -> None:
        """Keep facts while there is room."""
        for fact in facts:
            if self._budget.left <= 0:
                return
            self._add(fact)

    def remark(self, age: int) -> None:
        """Keep some of the remarks that hold for the age: how the patient lives, what runs in the family."""
        smoking = [r for r in formulary.REMARKS if r.kind == "smoking" and r.from_age <= age <= r.to_age]
        smoker = False
        if smoking:
            remark = self._dice.pick(smoking)
            smoker = remark.code.code == formulary.SMOKER
            self.keep([self._remark(remark)])
        for remark in formulary.REMARKS:
            if remark.kind == "smoking" or not remark.from_age <= age <= remark.to_age:
                continue
            if remark.code.code == formulary.SMOKING_ADVICE and not smoker:
                continue
            if self._dice.chance(40):
                self.keep([self._remark(remark)])

    def _remark(self, remark: Remark) -> Fact:
        first = max(self._person.birthday(remark.from_age), self._today - timedelta(days=1500))
        on = self._dice.day(first, max(first, self._today - timedelta(days=95)))
        member, entry = _REMARKS[remark.kind]
        more: dict[str, Any] = {}
        if remark.kind == "advice":
            more["receiver"] = NonAgent(relationship=formulary.SELF)
        note = remark.note or None
        return Fact(on, member, entry(code=remark.code, time=since(on), supporting_text=note, **more))

    def note(self, notes: Notes) -> None:
        """Go back year by year through what the practice wrote down, until the record is long enough."""
        years = min(YEARS, self._person.age(self._today) + 1)
        visits = max(0, min(self._budget.left // (years * 2_600), 14))
        for year in range(years):
            for fact in notes.yearly(year, visits + (1 if self._dice.chance(40) else 0)):
                if self._budget.left <= 0:
                    return
                self._add(fact)


_REMARKS: Final[dict[str, tuple[str, Any]]] = {
    "smoking": ("lifestyle", LifeStyle),
    "family": ("family_history", FamilyHistory),
    "circumstance": ("circumstances", SocialOrPersonalCircumstance),
    "service": ("services", Service),
    "preference": ("preferences", PersonalPreference),
    "advice": ("advice", ProvisionOfAdviceAndInformation),
    "administration": ("administrative_procedures", AdministrativeProcedure),
}
"""Heading and entry of each kind of remark."""


def _cost(entry: Entry) -> int:
    """Return about how many bytes an entry takes, printed row included."""
    members = getattr(entry, "members", ())
    words = sum(len(getattr(entry, name, None) or "") for name in ("supporting_text", "text"))
    return _ENTRY + 2 * words + 1_070 * len(members)
