"""`openscr admin audit`: what the audit says, searched, exported, of one patient; and checkpoints of it.

Spec: 00 §4 ``admin audit``; 35 §7; 80 §5.3 "report".
"""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.console import note, say, say_json, say_table
from openscr.cli.options import Data, Json, StoreUrl, Verbose, opened_store, ten_digits

if TYPE_CHECKING:
    from openscr.record.audit_forms import Form
    from openscr.record.audit_search import AuditQuery, AuditReading, AuditSearch
    from openscr.store.interface import AuditRow, Store

commands = typer.Typer(help="Who looked at what: search, export, a patient's report.", no_args_is_help=True)

Patient = Annotated[
    bool, typer.Option("--patient", help="Of one patient: the NHS number is asked for, or read from standard input.")
]
Patients = Annotated[bool, typer.Option("--patients", help="Show whole NHS numbers, and what users wrote.")]
Who = Annotated[str, typer.Option("--user", metavar="ID", help="Of a user id or role profile id.")]
Organisation = Annotated[str, typer.Option("--organisation", metavar="ODS", help="Of an organisation.")]
System = Annotated[str, typer.Option("--system", metavar="ASID", help="Of a system.")]
Action = Annotated[str, typer.Option("--action", metavar="NAME", help="Of an interaction or a command.")]
Correlation = Annotated[str, typer.Option("--correlation", metavar="ID", help="Of one request.")]
Refused = Annotated[bool | None, typer.Option("--refused/--allowed", help="Refusals only, or what was allowed only.")]
OutOfHours = Annotated[
    bool, typer.Option("--out-of-hours", help="At weekends, and before 8 or from 18 o'clock, UK time.")
]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="From a day (2026-11-22) or an instant on; UK time without zone.")
]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="Up to the end of a day, or before an instant.")]

_HEADINGS = ("time", "action", "outcome", "patient", "user", "organisation", "system", "reason", "correlation")


def read_time(text: str, *, end: bool = False) -> datetime | None:
    """Return the instant that a day or a time means, none for nothing; ``end`` wants the end of a day.

    Raises: `typer.BadParameter`.
    """
    from openscr.identifiers import LONDON

    if not text:
        return None
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("a time is 2026-11-22, or 2026-11-22T14:30, or one with a zone") from None
    if len(text) <= len("2026-11-22") and end:
        instant += timedelta(days=1)
    return (instant if instant.tzinfo else instant.replace(tzinfo=LONDON)).astimezone(UTC)


def ask_number() -> str:
    """Ask for an NHS number, or read it from standard input: it stands in no command line. Raises: `BadParameter`."""
    number = typer.prompt("NHS number", err=True, hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    return ten_digits(number.strip())


def _query(
    patient: bool,
    user: str,
    organisation: str,
    system: str,
    action: str,
    correlation: str,
    refused: bool | None,
    out_of_hours: bool,
    since: str,
    until: str,
) -> "AuditQuery":
    from openscr.record.audit_search import AuditQuery

    period = read_time(since), read_time(until, end=True)
    return AuditQuery(
        ask_number() if patient else None,
        user,
        organisation,
        system,
        action,
        correlation,
        refused,
        out_of_hours,
        *period,
    )


@commands.command("search", epilog="Example:  openscr admin audit search --user 555000000101 --since 2026-11-01")
def search(
    patient: Patient = False,
    user: Who = "",
    organisation: Organisation = "",
    system: System = "",
    action: Action = "",
    correlation: Correlation = "",
    refused: Refused = None,
    out_of_hours: OutOfHours = False,
    since: Since = "",
    until: Until = "",
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="Rows at most.")] = 100,
    patients: Patients = False,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print rows of the audit, the newest first. That somebody looked stands in the audit itself."""
    query = _query(patient, user, organisation, system, action, correlation, refused, out_of_hours, since, until)
    found, more = asyncio.run(_search(data, store, query, limit, patients=patients))
    if as_json:
        from openscr.record.audit_forms import as_values

        say_json({"rows": [as_values(row) for row in found], "more": more})
        return
    if not found:
        say("nothing was found")
    else:
        say_table(_HEADINGS, [_cells(row) for row in found])
    if more:
        note(f"there is more than these {limit}: narrow the search, raise --limit, or export")


async def _search(
    data: Path | None, store: str | None, query: "AuditQuery", limit: int, *, patients: bool
) -> "tuple[list[AuditRow], bool]":
    from openscr.record.audit_forms import without_patient
    from openscr.record.audit_search import SEARCH

    async with opened_store(data, store) as opened:
        reading = await _read(opened, query, SEARCH, newest_first=True, patients=patients)
        found: list[AuditRow] = []
        async for row in reading.rows:
            if len(found) == limit:
                return found, True
            found.append(row if patients else without_patient(row))
    return found, False


async def _read(
    opened: "Store", query: "AuditQuery", action: str, *, patients: bool, newest_first: bool = False
) -> "AuditReading":
    from openscr.record.audit_search import LocalOperator
    from openscr.spine import MessageIds

    details = {"patients": "shown" if patients else "masked"}
    reader = LocalOperator(getuser())
    ids = MessageIds("", f"admin {action}")
    return await _audit_of(opened).read(reader, query, ids, action, newest_first=newest_first, details=details)


def _audit_of(opened: "Store") -> "AuditSearch":
    from openscr.access.matrix import load_matrix
    from openscr.access.policy import AccessPolicy
    from openscr.directory.model import CurrentDirectory, Directory
    from openscr.identifiers import utc_now
    from openscr.record.audit_search import AuditSearch

    # A local auditor is asked nothing of the directory.
    policy = AccessPolicy(matrix=load_matrix(), unknown_author="refuse")
    return AuditSearch(opened, CurrentDirectory(Directory()), policy, utc_now)


def _cells(row: "AuditRow") -> tuple[str, ...]:
    from openscr.identifiers import LONDON

    entry, content = row.entry, row.entry.content
    local = entry.occurred_at.astimezone(LONDON).strftime("%Y-%m-%d %H:%M:%S")
    user = content.get("user_id") or content.get("operator", "")
    return (
        local,
        entry.action,
        entry.outcome,
        entry.nhs_number or "",
        user,
        content.get("organisation", ""),
        content.get("asid", ""),
        content.get("reason") or content.get("override_meaning", ""),
        content.get("correlation_id", ""),
    )


@commands.command("export", epilog="Example:  openscr admin audit export --format csv --out audit.csv")
def export(
    form: Annotated[
        str, typer.Option("--format", metavar="F", help="csv, json (lines), fhir (lines) or fhir-bundle.")
    ] = "csv",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write there; else to the output.")] = None,
    patient: Patient = False,
    user: Who = "",
    organisation: Organisation = "",
    system: System = "",
    action: Action = "",
    correlation: Correlation = "",
    refused: Refused = None,
    out_of_hours: OutOfHours = False,
    since: Since = "",
    until: Until = "",
    patients: Patients = False,
    data: Data = None,
    store: StoreUrl = None,
    verbose: Verbose = False,
) -> None:
    """Write the audit, the oldest row first, however many rows there are."""
    query = _query(patient, user, organisation, system, action, correlation, refused, out_of_hours, since, until)
    count = asyncio.run(_export(data, store, query, _form(form), out, patients=patients))
    if out is not None:
        say(f"{count} rows written to {out}")


def _form(text: str) -> "Form":
    from openscr.record.audit_forms import Form

    try:
        return Form(text)
    except ValueError:
        raise typer.BadParameter(f"a format is one of {', '.join(Form)}") from None


async def _export(
    data: Path | None, store: str | None, query: "AuditQuery", form: "Form", out: Path | None, *, patients: bool
) -> int:
    from openscr.record.audit_forms import written
    from openscr.record.audit_search import EXPORT

    async with opened_store(data, store) as opened:
        reading = await _read(opened, query, EXPORT, patients=patients)
        counted = _Counted(reading.rows)
        with _writer(out) as write:
            async for text in written(counted, form, patients=patients):
                write(text)
    return counted.count


class _Counted:
    """Rows on their way, counted."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows
        self.count = 0

    def __aiter__(self) -> "_Counted":
        return self

    async def __anext__(self) -> "AuditRow":
        row: AuditRow = await anext(self._rows)
        self.count += 1
        return row


@contextmanager
def _writer(out: Path | None) -> Iterator[Any]:
    if out is None:
        # Line ends are part of the form.
        yield lambda text: sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
        return
    # Patients' accesses: nobody but the file's owner reads them.
    with open(out, "x", encoding="utf-8", newline="", opener=_private) as file:
        yield file.write


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# --- the report for a patient ---------------------------------------------------------------------------------------


@commands.command("report", epilog="Example:  openscr admin audit report   (asks for the NHS number)")
def report(
    since: Since = "",
    until: Until = "",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print who looked at or changed one patient's record, when and why: the report that patients may ask for.

    The NHS number is asked for, or read from standard input. That a report was made stands in the patient's audit.
    """
    query = _query(True, "", "", "", "", "", None, False, since, until)
    lines = asyncio.run(_report(data, store, query))
    if as_json:
        say_json([dict(zip(_REPORT, line, strict=True)) for line in lines])
    elif not lines:
        say("nobody has looked at or changed this record")
    else:
        say_table(_REPORT, lines)


_REPORT = ("when", "what", "who", "role", "organisation", "through", "outcome", "reason given")


async def _report(data: Path | None, store: str | None, query: "AuditQuery") -> list[tuple[str, ...]]:
    from openscr.record.access_report import report_line
    from openscr.record.audit_search import REPORT
    from openscr.store.interface import AuditRow

    async with opened_store(data, store) as opened:
        directory = await _directory_of(opened)
        reading = await _read(opened, query, REPORT, patients=True)
        rows: list[AuditRow] = [row async for row in reading.rows]
    return [report_line(row.entry, directory) for row in rows]


async def _directory_of(opened: "Store") -> Any:
    from openscr.directory.form import build_directory
    from openscr.directory.model import Directory

    entries = await opened.read_directory()
    return build_directory(entries, 0) if entries else Directory()


# --- checkpoints ----------------------------------------------------------------------------------------------------


@commands.command("checkpoint", epilog="Example:  openscr admin audit checkpoint --out /media/safe/audit.json")
def checkpoint(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the checkpoint goes: to another machine.")],
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write down where every audit chain ends now, and print the digest of that.

    Kept where nobody of this machine can write, it proves later that not even the whole store was written anew:
    openscr admin verify --checkpoint FILE. The digest may be kept on paper; the file must fit it.
    """
    made = asyncio.run(_checkpoint(data, store))
    with out.open("xb") as file:
        file.write(made.content)
    form = {"digest": made.digest, "chains": len(made.heads), "rows": sum(head.sequence for head in made.heads)}
    if as_json:
        say_json(form)
    else:
        say(f"{form['rows']} audit rows in {form['chains']} chains, digest {made.digest}")


async def _checkpoint(data: Path | None, store: str | None) -> Any:
    from openscr.identifiers import utc_now
    from openscr.store.checkpoint import make_checkpoint

    async with opened_store(data, store) as opened:
        return make_checkpoint(await opened.audit_heads(), utc_now())
