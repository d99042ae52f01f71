"""The report of the validator as a person reads it: verdict, place, lines in question, what is wrong, how to mend it.

On a terminal it is coloured and wrapped; piped, it is the same text in lines of their own length.

Spec: 00 §4 ``validate``.
"""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from openscr.cli.console import on_terminal
from openscr.validation import Diagnosis, Report, Severity
from openscr.validation.excerpt import Excerpt, excerpt
from openscr.validation.places import Lines

MOST_SHOWN = 25
"""Findings of one input that are printed; after that they are counted."""

_WIDTH = 100
"""Characters of an excerpt where there is no terminal to ask."""

_STYLES = {Severity.ERROR: "bold red", Severity.WARNING: "bold yellow"}


def _console() -> Console:
    # By way of the stream of this moment, and without guesses about numbers and addresses.
    return Console(file=sys.stdout, highlight=False, emoji=False, markup=False, soft_wrap=not on_terminal())


def print_report(name: str, data: bytes, report: Report) -> None:
    """Print the report on one input; ``data`` is what the excerpts are taken from."""
    console = _console()
    console.print(_verdict(_printable(name), report))
    lines = Lines(data)
    for diagnosis in report.diagnoses[:MOST_SHOWN]:
        console.print()
        _print_diagnosis(console, _printable(name), data, lines, diagnosis)
    hidden = len(report.diagnoses) - MOST_SHOWN
    if hidden > 0:
        console.print()
        console.print(Text(f"  ... and {hidden} more; --json has them all"))
    if report.diagnoses:
        console.print()


def _verdict(name: str, report: Report) -> Text:
    what = report.interaction or ""
    kind = report.kind if report.kind != what else ""
    identity = ", ".join(part for part in (what, kind) if part)
    if not report.ok:
        sign, style, verdict = "FAULTY", "bold red", _counted(report.errors, report.warnings)
    elif report.warnings:
        sign, style, verdict = "OK", "bold green", _counted(0, report.warnings)
    else:
        sign, style, verdict = "OK", "bold green", "no findings"
    text = Text()
    text.append(sign, style)
    text.append(f"  {name}", "bold")
    text.append(f": {identity}; {verdict} at level {report.level}")
    return text


def _counted(errors: int, warnings: int) -> str:
    parts = []
    if errors:
        parts.append(f"{errors} error{'s' * (errors != 1)}")
    if warnings:
        parts.append(f"{warnings} warning{'s' * (warnings != 1)}")
    return ", ".join(parts)


def _print_diagnosis(console: Console, name: str, data: bytes, lines: Lines, diagnosis: Diagnosis) -> None:
    head = Text("  ")
    head.append(diagnosis.severity.value, _STYLES[diagnosis.severity])
    head.append(f"  {diagnosis.rule}", "bold")
    head.append(f"  {name}:{diagnosis.line}")
    console.print(head)
    if diagnosis.xpath:
        console.print(Text(f"    {diagnosis.xpath}", "cyan"), soft_wrap=True)
    if data:
        width = min(console.width - 14, 160) if on_terminal() else _WIDTH
        digits = len(str(diagnosis.line + 1))
        for line in excerpt(data, lines, diagnosis.offset, max(width, 20)):
            console.print(_excerpt_line(line, digits, diagnosis), soft_wrap=True, no_wrap=True)
            if line.marked is not None:
                begin, end = line.marked
                carets = Text(" " * (digits + 9 + begin) + "^" * (end - begin), _STYLES[diagnosis.severity])
                console.print(carets, soft_wrap=True, no_wrap=True)
    _print_words(console, diagnosis)


def _excerpt_line(line: Excerpt, digits: int, diagnosis: Diagnosis) -> Text:
    text = Text()
    text.append("    > " if line.marked is not None else "      ", "dim")
    text.append(f"{line.number:>{digits}} | ", "dim")
    begin, end = line.marked or (0, 0)
    text.append(line.text[:begin])
    text.append(line.text[begin:end], _STYLES[diagnosis.severity] if line.marked is not None else "")
    text.append(line.text[end:])
    return text


def _print_words(console: Console, diagnosis: Diagnosis) -> None:
    if not on_terminal():
        for label, words in _words(diagnosis):
            console.print(Text(f"    {label:<7}{_printable(words)}"))
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, words in _words(diagnosis):
        grid.add_row(label, Text(_printable(words)))
    console.print(Padding(grid, (0, 0, 0, 4)))


def _words(diagnosis: Diagnosis) -> Iterator[tuple[str, str]]:
    yield "wrong", diagnosis.wrong
    yield "mend", diagnosis.mend
    said = " | ".join(part for part in (diagnosis.key, diagnosis.text) if part)
    if said:
        label = "schema" if diagnosis.rule == "xsd" else "Spine" if diagnosis.key else "detail"
        yield label, f"{said} ({diagnosis.code})" if diagnosis.code else said


def print_summary(inputs: int, refused: int, errors: int, warnings: int, skipped: int) -> None:
    """Print what became of many inputs, in one line."""
    text = Text(f"{inputs} message{'s' * (inputs != 1)}: ")
    text.append(f"{inputs - refused} ok", "bold green")
    if refused:
        text.append(", ")
        text.append(f"{refused} faulty", "bold red")
    counted = _counted(errors, warnings)
    if counted:
        text.append(f" ({counted})")
    if skipped:
        text.append(f"; {skipped} other file{'s' * (skipped != 1)} skipped")
    _console().print(text)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)
