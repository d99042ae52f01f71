"""`openscr validate`: what Spine would find wrong with a message, where, and how to mend it.

Spec: 00 §4 ``validate``, ``validate --json``; 10 §11.5.
"""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from errno import EBADF
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import fail, note, say_json
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
    if level == "strict":
        raise typer.BadParameter("level strict is not built yet; spine is what this version checks")
    if level != "spine":
        raise typer.BadParameter("the level is spine")
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
            "--level", metavar="LEVEL", help="How strictly: spine, as the store itself does.", callback=_level
        ),
    ] = "spine",
    mim: Annotated[
        Path | None,
        typer.Option(
            "--mim", metavar="DIR", help="NHS schemas that you hold (TightenedSchemas, Schemas): check these too."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines: one object for each input, without any of its content.")
    ] = False,
    verbose: Verbose = False,
) -> None:
    """Check messages and say what is wrong, where, and how to mend it.

    Errors are what Spine refuses; warnings are what it takes although the model says otherwise. Exit status 0 when no
    input has an error, 1 when one has, 2 for wrong usage.
    """
    if "" in inputs:
        raise typer.BadParameter("a file has a name; this one is empty", param_hint="FILE...")
    schemas = _schemas(mim)
    tally = _Tally()
    for found in _inputs(inputs):
        data, report = _judge(found, schemas)
        if not report.recognised and found.met:
            tally.skipped += 1
            continue
        tally.add(report)
        if as_json:
            say_json(report.form(found.name))
        else:
            from openscr.cli.validation_report import print_report

            print_report(found.name, data, report)
    _close(tally, as_json=as_json)


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


def _close(tally: _Tally, *, as_json: bool) -> None:
    if tally.inputs == 0:
        fail(f"there is no message in what was given ({tally.skipped} other files were skipped)")
    if not as_json and tally.inputs + tally.skipped > 1:
        from openscr.cli.validation_report import print_summary

        print_summary(tally.inputs, tally.refused, tally.errors, tally.warnings, tally.skipped)
    elif tally.skipped:
        note(f"openscr: {tally.skipped} files are no messages and were skipped")
    if tally.refused:
        raise typer.Exit(1)


def _schemas(folder: Path | None) -> "Schemas | None":
    if folder is None:
        return None
    from openscr.errors import ConfigurationError
    from openscr.validation import Schemas

    try:
        return Schemas(folder.expanduser())
    except ConfigurationError as error:
        raise typer.BadParameter(error.diagnostics, param_hint="--mim") from None


@dataclass(frozen=True)
class _Input:
    """One input; ``path`` is none for standard input, ``met`` says that it was found in a folder."""

    name: str
    path: Path | None
    met: bool = False


def _inputs(names: list[str]) -> Iterator[_Input]:
    for name in names:
        path = Path(name)
        if name == "-":
            yield _Input("-", None)
        elif path.is_dir():
            yield from (_Input(str(child), child, met=True) for child in _files_below(path))
        else:
            yield _Input(name, path)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and the folders in it, in order; hidden ones are left alone."""
    for here, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            path = Path(here, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                yield path


def _judge(found: _Input, schemas: "Schemas | None") -> tuple[bytes, "Report"]:
    from openscr.validation import unreadable, validate

    try:
        data = _read(found.path)
    except OSError as error:
        return b"", unreadable(error.strerror or type(error).__name__)
    if data is None:
        return b"", unreadable("not a regular file")
    if len(data) > LARGEST_FILE:
        return b"", unreadable(f"larger than {LARGEST_FILE} bytes", too_large=True)
    return data, validate(data, schemas)


def _read(path: Path | None) -> bytes | None:
    """Read an input, no further than a message may go; none when it is not a file. Raises: `OSError`."""
    if path is None:
        # A program that is started with it closed has none.
        if sys.stdin is None:
            raise OSError(EBADF, "it is closed")
        return sys.stdin.buffer.read(LARGEST_FILE + 1)
    if path.exists() and not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)
