"""The printed text of a synthetic summary, in the layout that our composer has decided on.

Spec: 10 §9.1, 80 §2.
"""

from calendar import monthrange
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Final

from openscr.codes import DOCUMENT_TYPES, GP_INITIAL_SUMMARY, GP_SUMMARY
from openscr.identifiers import LONDON
from openscr.testbench.content import (
    DISSENT,
    Allergy,
    BloodPressure,
    Content,
    Entry,
    Medication,
    Pointer,
    Section,
    Summary,
    section_of,
)
from openscr.testbench.markup import text

_DISCLAIMERS: Final = {
    GP_SUMMARY: "Sourced from the patient's General Practice record. This summary may not include all the information "
    "pertinent to this patient.",
    GP_INITIAL_SUMMARY: "Sourced from the patient's General Practice record. It was not verified by the practice "
    "before sending and will not include all the information pertinent to this patient.",
}


def narrative(summary: Summary) -> Iterator[str]:
    """Iterate over the elements of the printed text, in their order. Spec: 10 §9.1, 80 §2."""
    practice, author = summary.practice, summary.author
    names = [f"{author.prefix} {author.given} {author.family}".strip()] if author else []
    yield text("h2", DOCUMENT_TYPES[summary.type])
    if summary.statement != DISSENT:
        yield text("h3", _DISCLAIMERS[summary.type])
    yield text("h3", f"Time of summary creation {summary.created.astimezone(LONDON):%d-%b-%Y %H:%M}")
    yield text("h3", "Author " + ", ".join([*names, practice.name, practice.address]))
    yield from (text("h3", words) for words in (summary.notice, summary.statement) if words)
    if summary.statement:
        return
    today = summary.created.astimezone(LONDON).date()
    for section in Section:
        held = [entry for entry in summary.content if section_of(entry) is section]
        if section in summary.omitted or not (held or section.nothing_held):
            continue
        months = _PERIODS.get(section)
        period = (
            f" (For the {months} month period {_day(months_before(today, months))} to {_day(today)})" if months else ""
        )
        yield text("h2", section.heading + period)
        if held:
            yield _table(_columns(section), [_row(entry) for entry in held])
        else:
            yield text("h3", section.nothing_held)


def months_before(day: date, months: int) -> date:
    """Return the day that many months earlier, the last of that month when it has no such day."""
    year, month = divmod(day.year * 12 + day.month - 1 - months, 12)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


_PERIODS: Final = {Section.ACUTE: 12, Section.DISCONTINUED: 6}
_MEDICATION_SECTIONS: Final = (Section.ACUTE, Section.REPEAT, Section.DISCONTINUED)


def _columns(section: Section) -> tuple[str, ...]:
    if section is Section.ALLERGIES:
        return ("Date", "Description", "Certainty", "Severity", "Supporting Information")
    if section in _MEDICATION_SECTIONS:
        return ("Type", "Date", "Medication Item", "Dosage Instructions", "Quantity")
    return ("Date", "Description", "Supporting Information")


def _row(entry: Content) -> tuple[str, ...]:
    match entry:
        case Allergy():
            return (_day(entry.on), entry.code.display, entry.certainty, entry.severity, entry.note)
        case Medication():
            kind, label = _PRINTED_KINDS[entry.section]
            dated = f"{label}: {_day(entry.until or entry.on)}"
            return (kind, dated, entry.product.display, entry.dose, f"{entry.quantity} {entry.unit}")
        case BloodPressure():
            return (_day(entry.on), f"Blood pressure {entry.systolic}/{entry.diastolic} mmHg", "")
        case Pointer():
            return (_day(entry.on), entry.about.code.display, entry.note)
        case Entry():
            measured = entry.quantity
            if measured is None:
                return (_day(entry.on), entry.code.display, entry.note)
            span = f" ({measured.low} - {measured.high})" if measured.low and measured.high else ""
            printed = f"{entry.code.display} {measured.value} {measured.printed_unit}{span}"
            return (_day(entry.on), printed, entry.note)


_PRINTED_KINDS: Final = {
    Section.ACUTE: ("Acute Medication", "Prescribed"),
    Section.REPEAT: ("Repeat Medication", "Last issued"),
    Section.DISCONTINUED: ("Discontinued Repeat Medication", "Discontinued"),
}


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(text("th", column) for column in columns)
    body = "".join(f"<tr>{''.join(text('td', cell) for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _day(day: date) -> str:
    return f"{day:%d-%b-%Y}"
