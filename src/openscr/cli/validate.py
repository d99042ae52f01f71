"""`openscr validate`: what Spine would find wrong with a message, where, and how to mend it.

Spec: 00 §4 ``validate``, ``validate --json``; 10 §11.5.
"""

import errno
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import fail, note, readable_name, say_json
from openscr.cli.options import Verbose

if TYPE_CHECKING:
    from openscr.validation import Report, Schemas

LARGEST_FILE = 5_242_880 + 65_536
"""Bytes of a captured message at most: the largest body, and an HTTP head."""

SUFFIXES = frozenset({".xml", ".http", ".mime", ".msg", ".eml", ".txt"})
"""Files of a folder that are looked at. A file that is named is looked at whatever it is called."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("validate", epilog="Example:  openscr validate upload.xml captures/ --mim ~/SPINE_schema/omvt")(
        validate
    )


def _level(level: str) -> str:
    if level not in ("spine", "strict"):
        raise typer.BadParameter("the level is spine or strict")
    return level


def validate(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="Messages: HL7 payloads, SOAP or ebXML envelopes, MIME or HTTP captures. A folder is all messages "
            "below it (.xml .http .mime .msg .eml .txt), - is stdin.",
        ),
    ],
    level: Annotated[
        str,
        typer.Option(
            "--level",
            metavar="LEVEL",
            help="How strictly: spine, as the store itself does, or strict, as the model of the messages says too.",
            callback=_level,
        ),
    ] = "spine",
    mim: Annotated[
        str | None,
        typer.Option(
            "--mim", metavar="DIR", help="NHS schemas that you hold (TightenedSchemas, Schemas): check these too."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines: one object for each input, without any of its content.")
    ] = False,
    as_sarif: Annotated[
        bool, typer.Option("--sarif", help="Print one SARIF 2.1.0 log, as code hosts and editors take it.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Check messages and say what is wrong, where, and how to mend it.

    At level spine, errors are what Spine refuses and warnings what it takes although the model says otherwise; at level
    strict that is an error too. Exit status 0 when no input has an error, 1 when one has, 2 for wrong usage.
    """
    if "" in inputs:
        raise typer.BadParameter("the name of a file is empty", param_hint="FILE")
    if as_json and as_sarif:
        raise typer.BadParameter("choose --json or --sarif", param_hint="--sarif")
    schemas = _schemas(mim)
    tally = _Tally()
    reports: list[tuple[str, Report]] = []
    for found in _inputs(inputs):
        data, report = _judge(found, schemas, level)
        if not report.recognised and found.met:
            tally.skipped += 1
            continue
        tally.add(report)
        if as_sarif:
            reports.append((found.name, report))
        elif as_json:
            say_json(report.form(found.name))
        else:
            from openscr.cli.validation_report import print_report

            print_report(found.name, data, report)
    if as_sarif:
        from openscr import __version__
        from openscr.validation.sarif import sarif_log

        say_json(sarif_log(reports, __version__))
    _close(tally, quiet=as_json or as_sarif)


@dataclass
class _Tally:
    """How many inputs there were, and what became of them."""

    inputs: int = 0
    refused: int = 0
    errors: int = 0
    warnings: int = 0
    skipped: int = 0

    def add(self, report: "Report") -> None:
        self.inputs += 1
        self.refused += not report.ok
        self.errors += report.errors
        self.warnings += report.warnings


def _close(tally: _Tally, *, quiet: bool) -> None:
    if tally.inputs == 0:
        fail(f"there is no message in what was given ({tally.skipped} other files were skipped)")
    if not quiet and tally.inputs + tally.skipped > 1:
        from openscr.cli.validation_report import print_summary

        print_summary(tally.inputs, tally.refused, tally.errors, tally.warnings, tally.skipped)
    elif tally.skipped:
        note(f"openscr: {tally.skipped} files are no messages and were skipped")
    if tally.refused:
        raise typer.Exit(1)


def _schemas(folder: str | None) -> "Schemas | None":
    if folder is None:
        return None
    if not folder:
        raise typer.BadParameter("the name of the folder is empty", param_hint="--mim")
    from openscr.errors import ConfigurationError
    from openscr.validation import Schemas

    try:
        return Schemas(Path(folder).expanduser())
    except ConfigurationError as error:
        raise typer.BadParameter(error.diagnostics, param_hint="--mim") from None


@dataclass(frozen=True)
class _Input:
    """One input. ``path`` is none for standard input, ``met`` says that it was found in a folder.

    ``cause`` says why a folder could not be read; it is empty for anything else.
    """

    name: str
    path: Path | None
    met: bool = False
    cause: str = ""


def _inputs(names: list[str]) -> Iterator[_Input]:
    for name in names:
        path = Path(name)
        if name == "-":
            yield _Input("-", None)
        elif _is_folder(path):
            yield from _files_below(path)
        else:
            yield _Input(readable_name(name), path)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        # Why it cannot be looked at is told when it is read.
        return False


def _files_below(folder: Path) -> Iterator[_Input]:
    """Yield the files of a folder and the folders in it, in order, and the folders that cannot be read.

    Hidden ones are left alone.
    """
    failed: list[OSError] = []
    for here, folders, files in os.walk(folder, onerror=failed.append):
        yield from _unread(failed)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                yield _Input(readable_name(str(path)), path, met=True)
    yield from _unread(failed)


def _unread(failed: list[OSError]) -> Iterator[_Input]:
    while failed:
        error = failed.pop(0)
        path = Path(os.fsdecode(error.filename))
        yield _Input(readable_name(str(path)), path, met=True, cause=error.strerror or type(error).__name__)


def _judge(found: _Input, schemas: "Schemas | None", level: str) -> tuple[bytes, "Report"]:
    from openscr.validation import Level, unreadable, validate

    if found.cause:
        return b"", unreadable(found.cause, case="folder")
    try:
        data = _read(found.path)
    except OSError as error:
        return b"", unreadable(error.strerror or type(error).__name__)
    if data is None:
        return b"", unreadable("not a regular file")
    if len(data) > LARGEST_FILE:
        return b"", unreadable(f"larger than {LARGEST_FILE} bytes", case="size")
    return data, validate(data, schemas, Level(level))


def _read(path: Path | None) -> bytes | None:
    """Read an input, no further than a message may go; none when it is not a file. Raises: `OSError`."""
    if path is None:
        if sys.stdin is None:
            raise OSError(errno.EBADF, "Standard input is closed")
        return sys.stdin.buffer.read(LARGEST_FILE + 1)
    if path.exists() and not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)
