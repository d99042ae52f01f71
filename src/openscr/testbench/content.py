"""What a synthetic summary says: plain values, in the words of the record.

It knows as much of the clinical model as the test bench's patients need, and nothing of XML.

Spec: 10 §7-§9; 80 §2.
"""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Final

from openscr.codes import GP_INITIAL_SUMMARY, GP_SUMMARY

DISSENT: Final = (
    "Following discussion with a member of the practice staff this patient has chosen not to store their clinical "
    "information"
)
"""The sentence of a blank summary. Spec: 10 §9.2."""

NOTHING_SIGNIFICANT: Final = "The practice holds no significant data on this patient"
"""The sentence of a summary without content. Spec: 10 §9.2."""

NEWLY_REGISTERED: Final = (
    "At the time this record was created, this patient had recently registered with the GP Practice. GP Summary "
    "information may not be complete."
)
"""The sentence about a new patient. Spec: 80 §1.4."""


class Section(Enum):
    """Headings in the order of print: code, display name, printed heading, what an empty core section says.

    The three medication headings share one code. Spec: 10 §7, §9.1; 80 §2.
    """

    ALLERGIES = (
        "163221000000102",
        "Allergies and Adverse Reactions",
        "Allergies and Adverse Reactions",
        "The practice system holds no Allergies and Adverse Reactions",
    )
    ACUTE = (
        "185361000000102",
        "Medication",
        "Acute Medications",
        "The practice system holds no Acute Medication issued within the last 12 months",
    )
    REPEAT = (
        "185361000000102",
        "Medication",
        "Current Repeat Medications",
        "The practice system holds no current Repeat Medication",
    )
    DISCONTINUED = (
        "185361000000102",
        "Medication",
        "Discontinued Repeat Medications",
        "The practice system holds no record of Repeat Medication that has been recently discontinued",
    )
    PROBLEMS = ("162991000000102", "Problems and Issues")
    CARE_EVENTS = ("162951000000105", "Care Events")
    PREFERENCES = ("162961000000108", "Personal Preferences")
    DIAGNOSES = ("163001000000103", "Diagnoses")
    CIRCUMSTANCES = ("163021000000107", "Social and Personal Circumstances")
    SERVICES = ("163031000000109", "Services, Care Professionals and Carers")
    LIFESTYLE = ("163041000000100", "Lifestyle")
    FAMILY_HISTORY = ("163051000000102", "Family History")
    TREATMENTS = ("163071000000106", "Treatments")
    ADMINISTRATION = ("163091000000105", "Administrative Procedures")
    OBSERVATIONS = ("163131000000108", "Clinical Observations and Findings")
    RESULTS = ("163141000000104", "Investigation Results")
    INVESTIGATIONS = ("163081000000108", "Investigations")
    ADVICE = ("163101000000102", "Provision of Advice and Information to Patients and Carers")
    RISKS = ("163231000000100", "Risks to Patient")

    def __init__(self, code: str, display: str, heading: str = "", nothing_held: str = "") -> None:
        self.code = code
        self.display = display
        self.heading = heading or display
        self.nothing_held = nothing_held


@dataclass(frozen=True, slots=True)
class Coded:
    """A SNOMED CT concept and the term shown for it."""

    code: str
    display: str


@dataclass(frozen=True, slots=True)
class Allergy:
    """A coded allergy with the words that only the printed table has columns for."""

    on: date
    code: Coded
    certainty: str = ""
    severity: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Medication:
    """A medicine in one of the three medication sections; ``section`` decides which dates it has.

    ``on`` is when it was prescribed (acute) or first added; ``until`` when a repeat was last issued or discontinued.
    ``reason`` is a diagnosis of the same summary.
    """

    section: Section
    on: date
    product: Coded
    dose: str
    quantity: str
    unit: str
    until: date | None = None
    reason: "Entry | None" = None


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured value: digits, UCUM unit, the unit as printed, and the reference range if there is one."""

    value: str
    unit: str
    printed_unit: str
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A dated, coded entry of any additional section but blood pressure, problems and risks."""

    section: Section
    on: date
    code: Coded
    note: str = ""
    quantity: Quantity | None = None


@dataclass(frozen=True, slots=True)
class BloodPressure:
    """A blood pressure in mmHg."""

    on: date
    systolic: int
    diastolic: int


@dataclass(frozen=True, slots=True)
class Pointer:
    """A problem (of a diagnosis) or a risk to the patient (from an allergy or a diagnosis) of the same summary."""

    section: Section
    on: date
    about: Entry | Allergy
    note: str = ""


Content = Allergy | Medication | Entry | BloodPressure | Pointer


@dataclass(frozen=True, slots=True)
class Practice:
    """The organisation that writes summaries: ODS code, name, postal address."""

    ods: str
    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Clinician:
    """The person who sends a summary, with the ids of the directory."""

    role_profile_id: str
    user_id: str
    prefix: str
    given: str
    family: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything in a summary. Without ``author`` it is an initial summary: the practice's, text only, no codes.

    ``omitted`` sections are not printed at all; core sections without entries print what the practice system says of
    them. ``statement`` stands alone instead of all sections (`DISSENT`, `NOTHING_SIGNIFICANT`), ``notice`` before them
    (`NEWLY_REGISTERED`). ``refused_on`` adds the coded refusal.

    Raises: `ValueError` when an entry is there twice, points at one that is not, or stands in
    an omitted section. Spec: 10 §4, §5, §9; 80 §1.4.
    """

    nhs_number: str
    event_id: str
    created: datetime
    practice: Practice
    author: Clinician | None = None
    content: tuple[Content, ...] = ()
    replaces: str | None = None
    statement: str = ""
    notice: str = ""
    refused_on: date | None = None
    omitted: frozenset[Section] = field(default_factory=frozenset)

    def __post_init__(self) -> None:
        """Refuse what would make ids ambiguous or pointers dangle."""
        held = set(self.content)
        pointed = {entry.about for entry in self.content if isinstance(entry, Pointer)}
        pointed |= {entry.reason for entry in self.content if isinstance(entry, Medication) and entry.reason}
        if len(held) != len(self.content) or not pointed <= held:
            raise ValueError("each entry stands once in a summary, and none points outside it")
        if any(section_of(entry) in self.omitted for entry in self.content):
            raise ValueError("an omitted section holds no entries: what is coded is printed")

    @property
    def type(self) -> str:
        """The SNOMED CT code of the document type. Spec: 10 §4, §5."""
        return GP_SUMMARY if self.author else GP_INITIAL_SUMMARY


def section_of(entry: Content) -> Section:
    """Return the section that an entry stands in."""
    match entry:
        case Allergy():
            return Section.ALLERGIES
        case BloodPressure():
            return Section.OBSERVATIONS
        case _:
            return entry.section
