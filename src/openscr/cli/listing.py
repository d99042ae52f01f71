"""`openscr list`: all events of a patient.

Spec: 00 §4 ``list``; 20 §7.1.
"""

import typer

from openscr.cli.console import fail, say, say_json, say_table
from openscr.cli.options import (
    DEMO,
    As,
    At,
    Ca,
    CallbackAt,
    Cert,
    DirectoryFile,
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


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list", epilog="Example:  openscr list 9990012318")(list_events)


def list_events(
    nhs_number: NhsNumber,
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
    """List all events of a patient: summaries with their status, the newest first.

    A patient without a record has an empty list, which is no failure.
    """
    from openscr.client import Refusal, refusal_of

    why = read_override(override, override_text)
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        answer = client.list_events(nhs_number, why)
    kind = refusal_of(answer.outcome)
    if as_json:
        say_json({**outcome_form(answer.outcome), "events": [event_form(event) for event in answer.events]})
    if kind not in (None, Refusal.NO_RECORD):
        fail(refusal_line(answer.outcome))
    if as_json:
        return
    if not answer.events:
        say("no record")
        return
    rows = [
        (
            form["event_id"],
            form["status"],
            event.stored_at.strftime("%Y-%m-%d %H:%M:%S"),
            form["type_name"] or form["type"],
        )
        for event in answer.events
        for form in [event_form(event)]
    ]
    say_table(("event", "status", "stored", "type"), rows)
