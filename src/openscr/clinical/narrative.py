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
from openscr.clinical.values import Coded, Interval, Qualifier, Range, Time, Value
from openscr.codes import DOCUMENT_TYPES, GP_INITIAL_SUMMARY, GP_SUMMARY
from openscr.errors import UnwritableSummary

DISSENT: Final = (
    "Following discussion with a member of the practice staff this patient has chosen not to store their clinical "
    "information"
)
"""The sentence that makes a summary a dissent. Spec: 10 §9.2, §16."""

NO_CONTENT: Final = "The practice holds no significant data on this patient"
"""The sentence of a summary that has nothing to say. Spec: 10 §9.2."""

NULLIFIED: Final = "This summary has been marked by the practice as entered in error"
"""The sentence of a summary whose status is nullified. Spec: 10 §15 step 10."""

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
    """Return the text of a completed summary. Spec: 10 §9.1, §16.

    Raises: `UnwritableSummary` when a statement would stand in place of entries.
    """
    wording = wording or Wording()
    kind = GP_INITIAL_SUMMARY if summary.initial else GP_SUMMARY
    statement = DISSENT if summary.dissent else wording.statement
    opening = [
        *(() if statement == DISSENT else (DISCLAIMERS[kind],)),
        f"Time of summary creation {summary.created.printed if summary.created else ''}".strip(),
        f"Author {', '.join((*_author(summary.author), *wording.practice))}",
        *((NULLIFIED,) if summary.status == "nullified" else ()),
        *wording.notices,
        *((statement,) if statement else ()),
    ]
    if wording.statement and any(not isinstance(entry, clinical.Refusal) for entry in summary.entries()):
        raise UnwritableSummary("a statement stands in place of all sections, and the summary has entries")
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


_STATUS_WORDS: Final = {"nullified": "Entered in error", "aborted": "Stopped early"}
_MOOD_WORDS: Final = {
    "PRMS": "Planned",
    "PRP": "Proposed",
    "APT": "Appointment",
    "ARQ": "Appointment requested",
    "RQO": "Requested",
    "SLOT": "Appointment slot",
}
"""What has not happened must not read as if it had. Spec: 10 §8.3 x_ActMoodIntentEvent."""

_LINKS: Final = (clinical.LinkAssertion, clinical.ProblemMemberAssertion, clinical.ProblemLinkAssertion)


@dataclass(slots=True)
class _Printer:
    """Rows of entries: date, description, supporting information. Knows the others, for an entry may point at them."""

    by_id: dict[str, Entry] = field(default_factory=dict)

    def rows(self, entries: tuple[Entry, ...]) -> tuple[tuple[str, ...], ...]:
        return tuple(row for entry in entries if not isinstance(entry, _LINKS) for row in self.entry(entry))

    def entry(self, entry: Entry) -> Iterator[tuple[str, str, str]]:
        """Iterate over the rows of an entry."""
        yield _date(entry), self.description(entry), self.more(entry)
        if isinstance(entry, clinical.FindingOrganizer):
            for member in entry.members:
                yield from self.entry(member)

    def description(self, entry: Entry) -> str:
        """Return what an entry says, in one line."""
        match entry:
            case clinical.BloodPressure():
                return f"{coded(entry.code)} {_pressure(entry)}".strip()
            case clinical.Problem():
                return self.target(entry.about) or "Problem"
            case clinical.RiskToPatient():
                return ", ".join(filter(None, map(self.target, entry.about))) or "Risk to patient"
            case clinical.Document():
                return entry.title or coded(entry.code)
            case clinical.Refusal():
                return "Refused consent for upload to national shared electronic record"
            case clinical.Medication():
                _, dated, item, dosage, amount = self.medicine(entry)
                return ", ".join(filter(None, (item, dosage, amount, dated)))
            case _:
                code, value = getattr(entry, "code", None), getattr(entry, "value", None)
                words = [coded(code)] if isinstance(code, Coded) else []
                words += [_value(value)] if value is not None else []
                words += [_range(entry.reference_range)] if isinstance(entry, clinical.Finding) else []
                return " ".join(filter(None, words))

    def more(self, entry: Entry) -> str:
        """Return what supports an entry, and what keeps it from being read as a fact of today."""
        words = [_MOOD_WORDS.get(getattr(entry, "mood", "EVN"), ""), _status(entry)]
        match entry:
            case clinical.RiskToPerson():
                words += map(self.target, entry.about)
            case clinical.ProvisionOfAdviceAndInformation() if entry.receiver is not None:
                words.append(f"Given to: {entry.receiver.relationship.printed}")
            case clinical.Document():
                words.append(entry.text or "")
            case clinical.Service() if entry.responsible is not None:
                words.append(f"Responsible: {entry.responsible.name.printed}")
        return ". ".join(filter(None, (*words, _supporting(entry))))

    def target(self, link: Any, *, through: bool = True) -> str:
        """Return the words of the entry that a reference means; problems may point at each other, in a circle even."""
        entry = self.by_id.get(link.id) if isinstance(link, Reference) else None
        match entry:
            case None:
                return ""
            case clinical.Medication():
                return coded(entry.product)
            case clinical.Problem() | clinical.RiskToPatient():
                links = entry.about if isinstance(entry.about, tuple) else (entry.about,)
                return ", ".join(filter(None, (self.target(each, through=False) for each in links))) if through else ""
            case _:
                words = self.description(entry)
                return f"{words} ({status})" if (status := _status(entry)) else words

    def medicine(self, entry: clinical.Medication) -> tuple[str, str, str, str, str]:
        """Return type, dated event, item with what belongs to it, dosage, and quantity of a medication."""
        time = getattr(entry, "time", None)
        about = [f"Reason: {words}" for link in entry.reasons if (words := self.target(link))]
        if isinstance(entry, clinical.DiscontinuedRepeatMedication):
            links = map(self.target, entry.discontinuation_reasons)
            about += [f"Discontinued because of: {words}" for words in links if words]
        if entry.supply is not None:
            about.append(f"Supply: {_when(entry.supply.time)}")
        product = coded(entry.product)
        if isinstance(entry, clinical.MedicationAdministration):
            product = f"{coded(entry.code)}: {product}"
        item = ". ".join(filter(None, (product, _status(entry), *about, _supporting(entry))))
        amount = entry.quantity.printed if entry.quantity is not None else ""
        match entry:
            case clinical.MedicationAdministration():
                return ("Medication Administration", f"Given: {_when(time)}", item, entry.administration, amount)
            case clinical.DiscontinuedRepeatMedication():
                return ("Discontinued Repeat Medication", _course(time, "Discontinued"), item, entry.dosage, amount)
            case clinical.CurrentRepeatMedication():
                return ("Repeat Medication", _course(time, "Ended"), item, entry.dosage, amount)
            case clinical.AcuteMedication():
                return ("Acute Medication", f"Prescribed: {_when(time)}", item, entry.dosage, amount)
        raise TypeError(f"no medication: {type(entry).__name__}")


def _status(entry: Entry) -> str:
    status = getattr(entry, "status", "")
    if isinstance(entry, clinical.Problem) and status == "completed":
        return "Past problem"
    return _STATUS_WORDS.get(status, "")


def _value(value: Any) -> str:
    content = value.content if isinstance(value, Value) else value
    return coded(content) if isinstance(content, Coded) else value.printed


def _range(reference: clinical.ReferenceRange | None) -> str:
    if reference is None:
        return ""
    parts = (
        Range(reference.low, reference.high).printed,
        coded(reference.interpretation) if reference.interpretation else "",
        reference.text,
    )
    words = "; ".join(filter(None, parts))
    return f"({words})" if words else ""


def _pressure(entry: clinical.BloodPressure) -> str:
    upper, lower = entry.systolic.value, entry.diastolic.value
    units = {"mm[Hg]": "mmHg"}
    if upper.unit == lower.unit:
        return f"{upper.value}/{lower.value} {units.get(upper.unit, upper.unit)}"
    return f"{upper.printed}/{lower.printed}"


def _sections(summary: Summary, wording: Wording) -> Iterator[Section]:
    printer = _Printer({entry.id: entry for entry in summary.nested_entries() if entry.id})
    for heading in HEADINGS:
        if heading.code == MEDICATION:
            yield from _medications(summary, wording, printer)
        elif heading.member == "allergies":
            if "allergies" not in wording.left_out or summary.allergies:
                yield _allergies(summary.allergies, heading.display, printer)
        elif rows := printer.rows(summary.under(heading.member)):
            yield Section(heading.display, _COLUMNS, rows)


_COLUMNS: Final = ("Date", "Description", "Supporting Information")


def _allergies(entries: tuple[Entry, ...], heading: str, printer: _Printer) -> Section:
    rows: list[tuple[str, ...]] = []
    for entry in entries:
        if isinstance(entry, clinical.Allergy | clinical.AllergyDE):
            certainty, severity = _of(entry.code, _CERTAINTY), _of(entry.code, _SEVERITY)
            shown = frozenset(code for code, words in ((_CERTAINTY, certainty), (_SEVERITY, severity)) if words)
            rows.append((_date(entry), coded(entry.code, shown), certainty, severity, printer.more(entry)))
        elif not isinstance(entry, _LINKS):
            rows += [(day, words, "", "", more) for day, words, more in printer.entry(entry)]
    columns = ("Date", "Description", "Certainty", "Severity", "Supporting Information")
    return Section(heading, columns, tuple(rows), "The practice system holds no Allergies and Adverse Reactions")


def _of(term: Coded, code: str) -> str:
    """Return what a term's own qualifiers say of severity or certainty."""
    return "; ".join(coded(each.value) for each in term.qualifiers if each.value and code in _names(each))


def _names(qualifier: Qualifier) -> frozenset[str]:
    return frozenset((qualifier.code, qualifier.name.code if qualifier.name else ""))


def coded(term: Coded, shown: frozenset[str] = frozenset()) -> str:
    """Return a term in words with all that qualifies it, but for what has a column of its own (``shown``)."""
    qualifiers = (*term.qualifiers, *(each for group in term.groups for each in group))
    others = [_qualifier(each) for each in qualifiers if not (each.value and shown & _names(each))]
    return f"{term.printed} ({'; '.join(filter(None, others))})" if others else term.printed


def _qualifier(qualifier: Qualifier) -> str:
    inner = (*qualifier.qualifiers, *(each for group in qualifier.groups for each in group))
    own = qualifier.original_text or qualifier.display or qualifier.code
    named = ": ".join(filter(None, (coded(qualifier.name) if qualifier.name else "", own)))
    words = f"{named}: {coded(qualifier.value)}" if qualifier.value else named
    # An inverted qualifier is read the other way round: the value is qualified by the term.
    words = f"{words} [inverted]" if qualifier.inverted else words
    return f"{words} ({'; '.join(map(_qualifier, inner))})" if inner else words


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
        rows: list[tuple[str, ...]] = []
        for entry in held[name]:
            if isinstance(entry, clinical.Medication):
                rows.append(printer.medicine(entry))
            elif not isinstance(entry, _LINKS):
                rows += [("", day, words, more, "") for day, words, more in printer.entry(entry)]
        if name in wording.left_out and not rows:
            continue
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


def _supporting(entry: Entry) -> str:
    text = getattr(entry, "supporting_text", None)
    return " ".join(text.split()) if isinstance(text, str) else ""


def _date(entry: Entry) -> str:
    return _when(getattr(entry, "time", None))


def _when(time: Time | Interval | None) -> str:
    """Return a time or an interval as it is printed: what has ended must not read as if it went on."""
    match time:
        case Time():
            return time.printed
        case Interval(low=low, high=high, center=center, width=width):
            start = low.printed if low else f"around {center.printed}" if center else ""
            end = f"{'to' if start else 'until'} {high.printed}" if high else ""
            return " ".join(filter(None, (start, end, f"for {width.printed}" if width else "")))
        case _:
            return ""


def _course(time: Time | Interval | None, ending: str) -> str:
    """Return what is known of the course of a repeat medication."""
    match time:
        case Interval(low=low, high=Time() as high) if ending == "Discontinued" or low is None:
            return f"{ending}: {high.printed}"
        case Interval(low=Time() as low, high=Time() as high):
            return f"Started: {low.printed}, {ending.lower()}: {high.printed}"
        case Interval(low=Time()):
            return f"Started: {_when(time)}"
        case Time():
            return f"Last issued: {time.printed}"
        case _:
            return f"Taken: {_when(time)}"


def months_before(day: date, months: int) -> date:
    """Return the day that many months earlier, the last of that month when it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


def _period(months: int, created: Time) -> str:
    if len(created) < 8:
        return f" (For the {months} month period to {created.printed})"
    last = date(int(created[:4]), int(created[4:6]), int(created[6:8]))
    first = months_before(last, months)
    return f" (For the {months} month period {Time(first).printed} to {Time(last).printed})"
