"""`openscr get`: one summary, to be read or kept.

Spec: 00 §4 ``get``; 10 §9; 20 §7.2.
"""

import shutil
from enum import StrEnum
from typing import Annotated

import typer

from openscr.cli.console import fail, note, say, say_bytes, say_json
from openscr.cli.options import (
    DEMO,
    As,
    At,
    Ca,
    CallbackAt,
    Cert,
    DirectoryFile,
    EventOption,
    Json,
    Key,
    NhsNumber,
    Override,
    OverrideText,
    User,
    Verbose,
    connect,
    read_override,
)
from openscr.cli.outcomes import event_form, outcome_form, refusal_line

_PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>GP Summary</title>
<style>
body { font-family: sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { border: 1px solid #999; padding: 0.3rem 0.5rem; text-align: left; vertical-align: top; }
.visually-hidden { clip: rect(0 0 0 0); height: 1px; overflow: hidden; position: absolute; white-space: nowrap; }
</style>
</head>
<body>
"""


class Format(StrEnum):
    """Forms in which a summary is printed."""

    TEXT = "text"
    HTML = "html"
    XML = "xml"
    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("get", epilog="Example:  openscr get 9990012318 --format text")(get)


def get(
    nhs_number: NhsNumber,
    event: EventOption = None,
    form: Annotated[
        Format, typer.Option("--format", help="text, html (a page), xml (as stored), json (coded content).")
    ] = (Format.TEXT),
    override: Override = None,
    override_text: OverrideText = None,
    at: At = DEMO,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Retrieve a summary: the one with the id given, else the current one."""
    why = read_override(override, override_text)
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        answer = client.retrieve(nhs_number, event, why)
    if as_json:
        found = event_form(answer.event) if answer.event is not None else None
        document = _printed(answer.document, form).decode() if answer.event is not None else None
        say_json({**outcome_form(answer.outcome), "event": found, "format": form.value, "document": document})
    if not answer.outcome.accepted:
        fail(refusal_line(answer.outcome))
    if answer.event is None:
        fail("no record: the patient has no current summary; openscr list shows the earlier ones")
    if as_json:
        return
    printed = _printed(answer.document, form)
    if form is Format.XML:
        say_bytes(printed)
        say("")
    else:
        say(printed.decode().rstrip("\n"))


def _printed(document: bytes, form: Format) -> bytes:
    from openscr.hl7.presentation import presentation_of

    if form is Format.XML:
        return document
    if form is Format.JSON:
        return _as_json(document)
    presentation = presentation_of(document)
    if form is Format.HTML:
        return f"{_PAGE}{presentation.html()}\n</body>\n</html>\n".encode()
    width = min(120, shutil.get_terminal_size((100, 24)).columns)
    return presentation.text(width).encode()


def _as_json(document: bytes) -> bytes:
    """Return the JSON form of a document, and tell people what it does not hold, or lacks. Spec: 00 §6.2."""
    from openscr.clinical import MistakenForm, read_json, write_json
    from openscr.hl7.summary_reader import read_summary

    reading = read_summary(document)
    if reading.lost:
        note(f"openscr: {len(reading.lost)} things in the document have no place in the JSON form; xml has them all")
    written = write_json(reading.summary)
    try:
        read_json(written)
    except MistakenForm as error:
        places = ", ".join(mistake.pointer for mistake in error.mistakes[:5])
        note(f"openscr: the document lacks what the JSON form must have; it cannot be uploaded as it is ({places})")
    return written.encode()
