"""The audit in the forms that people and programs take away: CSV, JSON lines, AuditEvents of FHIR.

Each form is a stream of lines, whatever the number of rows. Whoever opens a CSV with a spreadsheet must not run what
somebody else has written into a field: cells that a spreadsheet would take for a formula begin with an apostrophe.

Spec: 35 §7; 80 §5.3 "report".
"""

import csv
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from openscr.fhir.access_event import Access, access_event
from openscr.record.audit_search import is_out_of_hours
from openscr.spine import AckType
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST
from openscr.store.interface import AuditRow


class Form(StrEnum):
    """How the audit is written."""

    CSV = "csv"
    JSON = "json"
    FHIR = "fhir"
    BUNDLE = "fhir-bundle"


MEDIA_TYPES: Final = {
    Form.CSV: "text/csv; charset=utf-8",
    Form.JSON: "application/x-ndjson",
    Form.FHIR: "application/fhir+ndjson",
    Form.BUNDLE: "application/fhir+json",
}

COLUMNS: Final = (
    "slot", "sequence", "occurred_at", "action", "outcome", "out_of_hours", "patient", "user_id", "display_name",
    "role_profile_id", "job_role", "organisation", "operator", "asid", "party_key", "certificate", "address",
    "assurance_level", "amr", "issuer", "session", "reason", "codes", "event_id", "override_code", "override_meaning",
    "override_text", "alert", "previous_consent", "new_consent", "interaction", "message_id", "transport_id",
    "correlation_id", "hash",
)  # fmt: skip
"""The columns of CSV, in this order; what else a row says is in the last one, ``more``, as JSON."""

OF_PATIENTS: Final = frozenset({"override_text", ALERT_DIGEST, CHANGE_DIGEST})
"""Fields in which users wrote what they liked, of a patient too, perhaps; and digests, of which a number is guessed."""

NOT_TOLD: Final = 0
"""The sequence of a row whose place is not told; in a chain they begin with 1."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a spreadsheet takes for the beginning of a formula, in either width."""


def masked(nhs_number: str) -> str:
    """Return an NHS number of which the last four digits can be read. Spec: 35 §7."""
    return f"******{nhs_number[-4:]}"


def without_patient(row: AuditRow) -> AuditRow:
    """Return a row that does not tell whom it is about, nor its place.

    The slot follows from the number, and the hash from everything in the row: of the few numbers that end in the four
    digits shown, either would leave one.
    """
    entry = row.entry
    number = None if entry.nhs_number is None else masked(entry.nhs_number)
    content = {name: value for name, value in entry.content.items() if name not in OF_PATIENTS}
    return AuditRow(0, NOT_TOLD, replace(entry, nhs_number=number, content=content), b"")


def as_values(row: AuditRow) -> dict[str, Any]:
    """Return a row as plain values, by name. Spec: 35 §7."""
    entry = row.entry
    told = row.sequence != NOT_TOLD
    columns = {
        "slot": row.slot if told else None,
        "sequence": row.sequence if told else None,
        "occurred_at": entry.occurred_at.isoformat(),
        "action": entry.action,
        "outcome": entry.outcome,
        "out_of_hours": is_out_of_hours(entry.occurred_at),
        "patient": entry.nhs_number,
    }
    said = {name: value for name, value in entry.content.items() if name not in columns}
    return {**columns, **said, "hash": row.hash.hex() if told else None}


async def written(rows: AsyncIterator[AuditRow], form: Form, *, patients: bool) -> AsyncIterator[str]:
    """Give the audit in a form, line by line; ``patients`` says whether it tells whom it is about.

    Raises: `StoreError` while rows are read.
    """
    if form is Form.CSV:
        yield _csv_line((*COLUMNS, "more"))
    elif form is Form.BUNDLE:
        yield '{"resourceType":"Bundle","type":"collection"'
    first = True
    async for row in rows:
        shown = row if patients else without_patient(row)
        match form:
            case Form.CSV:
                yield _csv_row(shown)
            case Form.JSON:
                yield _json(as_values(shown)) + "\n"
            case Form.FHIR:
                yield _json(_event(shown)) + "\n"
            case Form.BUNDLE:
                yield (',"entry":[\n' if first else ",\n") + _json({"resource": _event(shown)})
        first = False
    if form is Form.BUNDLE:
        # FHIR knows no empty lists.
        yield "}\n" if first else "\n]}\n"


def _event(row: AuditRow) -> dict[str, Any]:
    entry = row.entry
    accepted = entry.outcome == AckType.ACCEPTED
    content = {**entry.content, "hash": row.hash.hex()} if row.sequence != NOT_TOLD else entry.content
    access = Access(row.slot, row.sequence, entry.occurred_at, entry.action, accepted, entry.nhs_number, content)
    return access_event(access)


def _csv_row(row: AuditRow) -> str:
    values = as_values(row)
    cells = [values.pop(column, "") for column in COLUMNS]
    return _csv_line([*("" if cell is None else str(cell) for cell in cells), _json(values) if values else ""])


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow([harmless(cell) for cell in cells])
    return line.getvalue()


def harmless(cell: str) -> str:
    """Return a cell that a spreadsheet shows and does not calculate."""
    return f"'{cell}" if cell.startswith(_FORMULA) else cell


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
