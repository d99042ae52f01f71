"""`openscr withdraw`: take a summary out of the record.

Spec: 00 §4 ``withdraw``; 10 §10.
"""

from enum import StrEnum
from typing import Annotated

import typer

from openscr.cli.console import fail, note, say, say_json
from openscr.cli.options import (
    DEMO,
    As,
    At,
    Ca,
    CallbackAt,
    Cert,
    DirectoryFile,
    EventId,
    Json,
    Key,
    NhsNumber,
    User,
    Verbose,
    connect,
)
from openscr.cli.outcomes import refusal_line, submission_form


class Reason(StrEnum):
    """Why a summary is withdrawn. Spec: 10 §10."""

    ERROR = "01"
    WRONG_PATIENT = "02"
    INCORRECT = "03"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "withdraw",
        epilog="Example:  openscr withdraw 9990000018 6D68C00C-7135-5BF6-8ADB-278528C9F62D --reason 03 "
        "--user 555000000102",
    )(withdraw)


def withdraw(
    nhs_number: NhsNumber,
    event: EventId,
    reason: Annotated[
        Reason, typer.Option("--reason", help="01 sent in error, 02 wrong patient, 03 incorrect information.")
    ],
    at: At = DEMO,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    initial: Annotated[
        bool, typer.Option("--initial", help="It is an initial summary. Without this the record is asked what it is.")
    ] = False,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Withdraw a summary. A person does that: name one with --user.

    The record is asked whether it is an initial summary, because these have a withdrawal of their own; where it may not
    tell (the patient has said No), say it with --initial.
    """
    from openscr.codes import GP_INITIAL_SUMMARY

    if user is None:
        raise typer.BadParameter("a withdrawal names the person who withdraws: --user URP")
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        event_type = GP_INITIAL_SUMMARY if initial else None
        submission = client.withdraw(nhs_number, event, reason.value, event_type=event_type)
    if as_json:
        say_json(submission_form(submission))
    if submission.acknowledgement is not None and not submission.accepted:
        fail(refusal_line(submission.acknowledgement.outcome))
    if not as_json:
        if submission.acknowledgement is None:
            note("delivered; the application acknowledgement goes to the registered endpoint (--callback)")
        else:
            say(f"AA {submission.acknowledgement.detail}".rstrip())
