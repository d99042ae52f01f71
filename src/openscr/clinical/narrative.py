"""The text of a summary: what people read, made from the same entries that are coded.

Invariant: every entry of the summary is in the text under the heading where it stands, but for links between entries,
which are never printed. An empty core heading says that nothing is held; an additional heading without entries is left
out, for a summary must not say of a heading that it does not cover that there is nothing.

Spec: 10 §9, §16; 80 §2.
"""

from calendar import monthrange
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from openscr.clinical import entries as clinical
from openscr.clinical.entries import Entry, Reference
from openscr.clinical.headings import HEADINGS, MEDICATION
from openscr.clinical.participants import Organisation, Person
from openscr.clinical.summary import Author, Summary
from openscr.clinical.values import Coded, Interval, Qualifier, Quantity, Time
from openscr.codes import DOCUMENT_TYPES, GP_INITIAL_SUMMARY, GP_SUMMARY

DISSENT: Final = (
    "Following discussion with a member of the practice staff this patient has chosen not to store their clinical "
    "information"
)
"""The sentence that makes a summary a dissent. Spec: 10 §9.2, §16."""

NO_CONTENT: Final = "The practice holds no significant data on this patient"
"""The sentence of a summary that has nothing to say. Spec: 10 §9.2."""

DISCLAIMERS: Final = {
    GP_SUMMARY: "Sourced from the patient's General Practice record. This summary may not include all the information "
    "pertinent to this patient.",
    GP_INITIAL_SUMMARY: "Sourced from the patient's General Practice record. It was not verified by the practice "
    "before sending and will not include all the information pertinent to this patient.",
}

CORE: Final = ("allergies", "acute", "current_repeat", "discontinued")
"""The headings that every summary prints, whether they hold anything or not. Spec: 10 §16."""

_SEVERITY: Final = "246112005"
_CERTAINTY: Final = "246103008"


@dataclass(frozen=True, slots=True)
class Section:
    """One printed heading: a table, or without rows the sentence that nothing is held."""

    heading: str
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    nothing_held: str = "No relevant information available for this category"


@dataclass(frozen=True, slots=True)
class Narrative:
    """The printed summary: title, sentences below it, sections. Spec: 10 §9.1."""

    title: str
    opening: tuple[str, ...]
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True, slots=True)
class Wording:
    """What the text says beyond the entries.

    ``practice``: name, address and telephone after the author's name. ``notices``: further sentences. ``statement``: a
    sentence in place of all sections (dissent, no significant data). ``left_out``: core headings that are not printed.
    ``acute_months``, ``discontinued_months``: the periods that the practice selects medication from, when it does.
    """

    practice: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    statement: str | None = None
    left_out: frozenset[str] = frozenset()
    acute_months: int | None = None
    discontinued_months: int | None = None


def narrate(summary: Summary, wording: Wording | None = None) -> Narrative:
    """Return the text of a completed summary. Spec: 10 §9.1, §16."""
    wording = wording or Wording()
    kind = GP_INITIAL_SUMMARY if summary.initial else GP_SUMMARY
    statement = wording.statement or (DISSENT if summary.dissent else None)
    opening = [
        *(() if statement == DISSENT else (DISCLAIMERS[kind],)),
        f"Time of summary creation {summary.created.printed if summary.created else ''}".strip(),
        f"Author {', '.join((*_author(summary.author), *wording.practice))}",
        *wording.notices,
        *((statement,) if statement else ()),
    ]
    sections = () if statement else tuple(_sections(summary, wording))
    return Narrative(DOCUMENT_TYPES[kind], tuple(opening), sections)


def _author(author: Author) -> Iterator[str]:
    yield author.name.printed
    if isinstance(author, Person):
        yield f"Role: {author.job_role.printed}"
        if author.organisation is not None:
            yield author.organisation.name.printed
    if isinstance(author, Person | Organisation) and author.address is not None:
        yield author.address.printed


# --- sections -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Printer:
    """Rows of entries; knows the others, for an entry may point at them."""

    by_id: dict[str, Entry] = field(default_factory=dict)

    def rows(self, entries: tuple[Entry, ...]) -> tuple[tuple[str, ...], ...]:
        return tuple(row for entry in entries for row in self.entry(entry))

    def entry(self, entry: Entry) -> Iterator[tuple[str, ...]]:
        """Iterate over the rows of an entry: date, description, supporting information."""
        match entry:
            case clinical.FindingOrganizer():
                yield self.row(entry, entry.code.printed)
                for member in entry.members:
                    yield from self.entry(member)
            case clinical.BloodPressure():
                upper, lower = entry.systolic.value, entry.diastolic.value
                unit = "mmHg" if upper.unit == "mm[Hg]" else upper.unit
                yield self.row(entry, f"{entry.code.printed} {upper.value}/{lower.value} {unit}")
            case clinical.Problem():
                yield self.row(
                    entry, self.target(entry.about) or "Problem", "" if entry.status == "active" else "Past problem"
                )
            case clinical.RiskToPatient():
                yield self.row(entry, ", ".join(filter(None, map(self.target, entry.about))) or "Risk to patient")
            case clinical.RiskToPerson():
                about = ", ".join(filter(None, map(self.target, entry.about)))
                yield self.row(entry, entry.code.printed, about)
            case clinical.ProvisionOfAdviceAndInformation():
                receiver = entry.receiver
                yield self.row(
                    entry, coded(entry.code), f"Given to: {receiver.relationship.printed}" if receiver else ""
                )
            case (
                clinical.CareProfessionalDocumentation()
                | clinical.ThirdPartyCorrespondence()
                | (clinical.PatientCarerCorrespondence())
            ):
                yield self.row(entry, entry.title or entry.code.printed, entry.text or "")
            case clinical.Refusal():
                yield self.row(entry, "Refused consent for upload to national shared electronic record")
            case clinical.Medication():
                yield (_date(entry), *_medicine(entry)[1:3], _supporting(entry))
            case _:
                value = getattr(entry, "value", None)
                reference = getattr(entry, "reference_range", None)
                words = [coded(entry.code) if isinstance(entry, clinical.CodedEntry | clinical.Measurement) else ""]
                words += [value.printed] if value is not None else []
                words += [f"({reference.printed})"] if reference is not None and reference.printed else []
                yield self.row(entry, " ".join(filter(None, words)))

    def row(self, entry: Entry, description: str, more: str = "") -> tuple[str, ...]:
        return (_date(entry), description, ". ".join(filter(None, (more, _supporting(entry)))))

    def target(self, link: Any, *, through: bool = True) -> str:
        """Return the words of the entry that a reference means; problems may point at each other, in a circle even."""
        entry = self.by_id.get(link.id) if isinstance(link, Reference) else None
        match entry:
            case None:
                return ""
            case clinical.Medication():
                return entry.product.printed
            case clinical.Problem():
                return self.target(entry.about, through=False) if through else ""
            case _:
                code = getattr(entry, "code", None)
                return code.printed if isinstance(code, Coded) else ""


def _sections(summary: Summary, wording: Wording) -> Iterator[Section]:
    printer = _Printer({entry.id: entry for entry in _all(summary) if entry.id})
    for heading in HEADINGS:
        if heading.code == MEDICATION:
            yield from _medications(summary, wording, printer)
        elif heading.member == "allergies":
            if "allergies" not in wording.left_out:
                yield _allergies(summary.allergies, heading.display, printer)
        elif heading.member != "links" and (entries := summary.under(heading.member)):
            yield Section(heading.display, _COLUMNS, printer.rows(entries))


def _all(summary: Summary) -> Iterator[Entry]:
    for entry in summary.entries():
        yield entry
        yield from getattr(entry, "members", ())


_COLUMNS: Final = ("Date", "Description", "Supporting Information")


def _allergies(entries: tuple[Entry, ...], heading: str, printer: _Printer) -> Section:
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        if isinstance(entry, clinical.Allergy | clinical.AllergyDE):
            qualifiers = entry.code.qualifiers
            certainty = _of(qualifiers, _CERTAINTY)
            rows.append((_date(entry), coded(entry.code), certainty, _of(qualifiers, _SEVERITY), _supporting(entry)))
        else:
            rows += [(day, description, "", "", more) for day, description, more in printer.entry(entry)]
    columns = ("Date", "Description", "Certainty", "Severity", "Supporting Information")
    return Section(heading, columns, tuple(rows), "The practice system holds no Allergies and Adverse Reactions")


def _of(qualifiers: tuple[Qualifier, ...], code: str) -> str:
    return "; ".join(
        each.value.printed for each in qualifiers if each.value and code in (each.code, each.name and each.name.code)
    )


def coded(term: Coded) -> str:
    """Return a term in words, with those qualifiers that have no column of their own."""
    others = [
        each.printed
        for each in term.qualifiers
        if not {each.code, each.name.code if each.name else ""} & {_SEVERITY, _CERTAINTY}
    ]
    return f"{term.printed} ({'; '.join(others)})" if others else term.printed


_MEDICATION_COLUMNS: Final = ("Type", "Date", "Medication Item", "Dosage Instructions", "Quantity")
_MEDICATION_SECTIONS: Final = (
    ("acute", "Acute Medications", "The practice system holds no Acute Medication"),
    ("current_repeat", "Current Repeat Medications", "The practice system holds no current Repeat Medication"),
    (
        "discontinued",
        "Discontinued Repeat Medications",
        "The practice system holds no record of Repeat Medication that has been recently discontinued",
    ),
)


def _medications(summary: Summary, wording: Wording, printer: _Printer) -> Iterator[Section]:
    held: dict[str, list[Entry]] = {name: [] for name, _, _ in _MEDICATION_SECTIONS}
    for name, entries in (
        ("acute", (*summary.medications.acute, *summary.medications.administrations)),
        ("current_repeat", summary.medications.current_repeat),
        ("discontinued", summary.medications.discontinued),
    ):
        for entry in entries:
            # What a medication is decides where it is printed, not the list in which it was put.
            held[_PRINTED_UNDER.get(type(entry), name)].append(entry)
    months = {"acute": wording.acute_months, "discontinued": wording.discontinued_months}
    for name, heading, nothing in _MEDICATION_SECTIONS:
        if name in wording.left_out:
            continue
        rows: list[tuple[str, ...]] = []
        for entry in held[name]:
            if isinstance(entry, clinical.Medication):
                rows.append(_medicine(entry))
            else:
                rows += [("", day, words, more, "") for day, words, more in printer.entry(entry)]
        period = months.get(name)
        span = _period(period, summary.created) if period and summary.created else ""
        selected = f" issued within the last {period} months" if period and name == "acute" else ""
        yield Section(heading + span, _MEDICATION_COLUMNS, tuple(rows), nothing + selected)


_PRINTED_UNDER: Final = {
    clinical.AcuteMedication: "acute",
    clinical.MedicationAdministration: "acute",
    clinical.CurrentRepeatMedication: "current_repeat",
    clinical.DiscontinuedRepeatMedication: "discontinued",
}


def _medicine(entry: clinical.Medication) -> tuple[str, str, str, str, str]:
    """Return type, dated event, item with what supports it, dosage, and quantity of a medication."""
    time = getattr(entry, "time", None)
    item = " - ".join(filter(None, (coded(entry.product), _supporting(entry))))
    amount = entry.quantity.printed if entry.quantity is not None else ""
    match entry:
        case clinical.MedicationAdministration():
            return ("Medication Administration", f"Given: {_start(time)}", item, entry.administration, amount)
        case clinical.DiscontinuedRepeatMedication():
            ended = time.high if isinstance(time, Interval) and time.high else None
            dated = f"Discontinued: {ended.printed}" if ended else f"Started: {_start(time)}"
            return ("Discontinued Repeat Medication", dated, item, entry.dosage, amount)
        case clinical.CurrentRepeatMedication():
            label = "Last issued" if isinstance(time, Time) else "Started"
            return ("Repeat Medication", f"{label}: {_start(time)}", item, entry.dosage, amount)
        case clinical.AcuteMedication():
            return ("Acute Medication", f"Prescribed: {_start(time)}", item, entry.dosage, amount)
    raise TypeError(f"no medication: {type(entry).__name__}")


def _supporting(entry: Entry) -> str:
    text = getattr(entry, "supporting_text", None)
    return " ".join(text.split()) if isinstance(text, str) else ""


def _date(entry: Entry) -> str:
    return _start(getattr(entry, "time", None))


def _start(time: Time | Interval | Quantity | None) -> str:
    match time:
        case Time():
            return time.printed
        case Interval():
            moment = time.low or time.center or time.high
            return moment.printed if moment else ""
        case _:
            return ""


def months_before(day: date, months: int) -> date:
    """Return the day that many months earlier, the last of that month when it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _period(months: int, created: Time) -> str:
    last = date(int(created[:4]), int(created[4:6]), int(created[6:8]))
    first = months_before(last, months)
    return f" (For the {months} month period {Time(first).printed} to {Time(last).printed})"
