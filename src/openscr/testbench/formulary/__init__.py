"""The medicine that synthetic patients draw from: tables that read as a clinician would write them.

SNOMED CT and dm+d codes are illustrative, as in every test record: a terminology release decides what they mean.
Doses and quantities are those of ordinary prescriptions, so that a record reads as a real one would. Ages are whole
years, both ends included; ``sex`` is empty where it does not matter.

Medicines have *classes*. Allergies, conditions and other medicines forbid classes; a patient has no class twice.

Spec: 80 §1.1, §2; 90 §7.
"""

import csv
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final, TypeVar

from openscr.clinical import Coded
from openscr.codes import OID_RELATIONSHIP

Row = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Course:
    """A medicine as it is prescribed: dose, quantity in units, and how many days that lasts."""

    key: str
    product: Coded
    dose: str
    quantity: str
    unit: str
    days: int
    from_age: int
    to_age: int
    sex: str
    classes: frozenset[str]


@dataclass(frozen=True, slots=True)
class Condition:
    """A long-term condition that begins between two ages.

    ``steps`` are treatments of which a later one takes the place of an earlier one, ``beside`` what may be added.
    ``panels`` are measured at its yearly ``review``. It does not go together with the conditions that it ``excludes``
    nor with the classes of medicines that it ``forbids``.
    """

    key: str
    diagnosis: Coded
    weight: int
    from_age: int
    to_age: int
    sex: str
    steps: tuple[Course, ...]
    beside: tuple[Course, ...]
    panels: tuple[str, ...]
    excludes: frozenset[str]
    forbids: frozenset[str]
    review: str
    clinic: str
    note: str


@dataclass(frozen=True, slots=True)
class Episode:
    """A short illness, and what is prescribed for it: the first course that suits the patient."""

    finding: Coded
    weight: int
    from_age: int
    to_age: int
    sex: str
    courses: tuple[Course, ...]
    text: str


@dataclass(frozen=True, slots=True)
class Allergen:
    """An allergy, the classes of medicines that it forbids, and what the patient carries against it."""

    code: Coded
    weight: int
    certainty: str
    severity: str
    forbids: frozenset[str]
    carries: tuple[Course, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A measured value: unit (UCUM, printed), span drawn from, decimals, reference range (of women where it differs).

    A condition ``moved_by`` moves the span to ``moved``.
    """

    panel: str
    panel_name: Coded | None
    code: Coded
    unit: str
    printed_unit: str
    normal: tuple[str, str]
    normal_female: tuple[str, str]
    span: tuple[float, float]
    decimals: int
    moved_by: str
    moved: tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Immunisation:
    """A vaccine that is given once, at an age in months, since a year; at 0 months it is given to every adult then."""

    code: Coded
    months: int
    since: int
    sex: str
    note: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """An operation."""

    code: Coded
    weight: int
    from_age: int
    to_age: int
    sex: str
    note: str


@dataclass(frozen=True, slots=True)
class Screening:
    """A check repeated every so many years, for those who need it and have not lost what is looked at."""

    code: Coded
    from_age: int
    to_age: int
    every: int
    sex: str
    needs: str
    not_after: str
    note: str


@dataclass(frozen=True, slots=True)
class Consultation:
    """What a patient came for, as the note says."""

    from_age: int
    to_age: int
    sex: str
    text: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something of a kind (family, smoking, circumstance, service, preference, advice) that may hold for a patient."""

    kind: str
    code: Coded
    from_age: int
    to_age: int
    note: str


def _rows(name: str) -> Iterator[Row]:
    text = resources.files(__package__).joinpath(f"{name}.csv").read_text("utf-8")
    return iter(csv.DictReader(text.splitlines(), delimiter="|", quoting=csv.QUOTE_NONE))


def _read(name: str, make: Callable[[Row], T]) -> tuple[T, ...]:
    return tuple(map(make, _rows(name)))


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _who(row: Row) -> dict[str, Any]:
    return {"from_age": int(row["from"]), "to_age": int(row["to"]), "sex": row["sex"]}


def _course(row: Row) -> Course:
    return Course(
        key=row["key"],
        product=Coded(row["code"], row["product"]),
        dose=row["dose"],
        quantity=row["quantity"],
        unit=row["unit"],
        days=int(row["days"]),
        classes=_words(row["classes"]),
        **_who(row),
    )


COURSES: Final = {course.key: course for course in _read("medicines", _course)}


def _courses(keys: str) -> tuple[Course, ...]:
    return tuple(COURSES[key] for key in keys.split())


def _condition(row: Row) -> Condition:
    return Condition(
        key=row["key"],
        diagnosis=Coded(row["code"], row["diagnosis"]),
        weight=int(row["weight"]),
        steps=_courses(row["steps"]),
        beside=_courses(row["beside"]),
        panels=tuple(row["panels"].split()),
        excludes=_words(row["excludes"]),
        forbids=_words(row["forbids"]),
        review=row["review"],
        clinic=row["clinic"],
        note=row["note"],
        **_who(row),
    )


def _episode(row: Row) -> Episode:
    finding = Coded(row["code"], row["finding"])
    return Episode(finding, int(row["weight"]), courses=_courses(row["courses"]), text=row["text"], **_who(row))


def _allergen(row: Row) -> Allergen:
    return Allergen(
        code=Coded(row["code"], row["allergy"]),
        weight=int(row["weight"]),
        certainty=row["certainty"],
        severity=row["severity"],
        forbids=_words(row["forbids"]),
        carries=_courses(row["carries"]),
        note=row["note"],
    )


def _measure(row: Row) -> Measure:
    moved = (float(row["moved_lowest"]), float(row["moved_highest"])) if row["moved_by"] else None
    return Measure(
        panel=row["panel"],
        panel_name=Coded(row["panel_code"], row["panel_name"]) if row["panel_code"] else None,
        code=Coded(row["code"], row["name"]),
        unit=row["unit"],
        printed_unit=row["printed"],
        normal=(row["low"], row["high"]),
        normal_female=(row["low_female"], row["high_female"]),
        span=(float(row["lowest"]), float(row["highest"])),
        decimals=int(row["decimals"]),
        moved_by=row["moved_by"],
        moved=moved,
    )


def _immunisation(row: Row) -> Immunisation:
    name = Coded(row["code"], row["name"])
    return Immunisation(name, int(row["months"]), int(row["since"]), row["sex"], row["note"])


def _procedure(row: Row) -> Procedure:
    return Procedure(Coded(row["code"], row["name"]), int(row["weight"]), note=row["note"], **_who(row))


def _screening(row: Row) -> Screening:
    rest: dict[str, Any] = {name: row[name] for name in ("needs", "not_after", "note")}
    return Screening(Coded(row["code"], row["name"]), every=int(row["every"]), **rest, **_who(row))


def _consultation(row: Row) -> Consultation:
    return Consultation(text=row["text"], **_who(row))


def _remark(row: Row) -> Remark:
    return Remark(row["kind"], Coded(row["code"], row["name"]), int(row["from"]), int(row["to"]), row["note"])


CONDITIONS: Final = _read("conditions", _condition)
EPISODES: Final = _read("episodes", _episode)
ALLERGENS: Final = _read("allergies", _allergen)
MEASURES: Final = _read("results", _measure)
IMMUNISATIONS: Final = _read("immunisations", _immunisation)
PROCEDURES: Final = _read("procedures", _procedure)
SCREENINGS: Final = _read("screening", _screening)
CONSULTATIONS: Final = _read("consultations", _consultation)
REMARKS: Final = _read("background", _remark)
LETTERS: Final = {row["clinic"]: row["text"] for row in _rows("letters")}
PEOPLE: Final[dict[str, list[str]]] = tomllib.loads(
    resources.files(__package__).joinpath("people.toml").read_text("utf-8")
)

NOT_TOGETHER: Final = frozenset(
    frozenset(pair.split())
    for pair in (
        "ssri triptan", "ssri nsaid", "nsaid anticoagulant", "nsaid aspirin", "nsaid antiplatelet",
        "nsaid ace-inhibitor", "nsaid angiotensin-blocker", "nsaid loop-diuretic", "nsaid methotrexate",
        "aspirin anticoagulant", "antiplatelet anticoagulant", "ace-inhibitor angiotensin-blocker",
        "methotrexate trimethoprim", "methotrexate penicillin", "macrolide statin", "macrolide colchicine",
        "macrolide anticoagulant", "beta-blocker short-acting-bronchodilator", "opioid antidepressant",
        "contraceptive hrt", "antiemetic cholinesterase-inhibitor",
    )
)  # fmt: skip
"""Classes of medicines that one patient is not given at once."""

NO_KNOWN_ALLERGY: Final = Coded("716186003", "No known allergy")
INFLUENZA_VACCINATION: Final = Coded("86198006", "Influenza vaccination")
BLOOD_PRESSURE: Final = Coded("75367002", "Blood pressure")
BODY_WEIGHT: Final = Coded("27113001", "Body weight")
BODY_HEIGHT: Final = Coded("50373000", "Body height measure")
CONSULTATION: Final = Coded("185202000", "Seen in GP's surgery")
PRACTICE_PREMISES: Final = Coded("264358009", "General practice premises")
REVIEW: Final = Coded("185349003", "Encounter for check up")
OUTPATIENT_LETTER: Final = Coded("823681000000100", "Outpatient letter")
PATIENT_LETTER: Final = Coded("308575004", "Letter from patient")
CLINICAL_REPORT: Final = Coded("371531000", "Report of clinical encounter")
SMOKER: Final = "77176002"
HYSTERECTOMY: Final = "236886002"
SMOKING_ADVICE: Final = "225323000"
SELF: Final = Coded("21", "Self", OID_RELATIONSHIP)
SEVERITY: Final = Coded("246112005", "Severity")
CERTAINTY: Final = Coded("246103008", "Certainty")
DEGREES: Final = {
    "Certain": Coded("255545003", "Definite"),
    "Likely": Coded("410592001", "Probably present"),
    "Mild": Coded("255604002", "Mild"),
    "Moderate": Coded("6736007", "Moderate"),
    "Severe": Coded("24484000", "Severe"),
}
"""How certain and how severe an allergy is, by the words of the tables."""
