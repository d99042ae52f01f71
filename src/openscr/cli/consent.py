"""`openscr consent`: the patient's consent, read and set.

Spec: 00 §4 ``consent``; 30 §4, §8.1.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import fail, note, say, say_json, say_table
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
    User,
    Verbose,
    connect,
)
from openscr.cli.outcomes import outcome_form, refusal_line

if TYPE_CHECKING:
    from openscr.spine import Accessor

commands = typer.Typer(help="The patient's consent to share the record.", no_args_is_help=True)


class Value(StrEnum):
    """What a patient may say; ask is what holds while nothing was said."""

    YES = "yes"
    NO = "no"
    ASK = "ask"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="consent")


@commands.command("get", epilog="Example:  openscr consent get 9990012326")
def get_consent(
    nhs_number: NhsNumber,
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
    """Print the consent in force: Yes, No, or Ask when nothing is stored."""
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        answer = client.get_consent(nhs_number)
    if as_json:
        value = answer.consent.value if answer.outcome.accepted else None
        say_json({**outcome_form(answer.outcome), "consent": value, "superseded": answer.superseded})
    if not answer.outcome.accepted:
        fail(refusal_line(answer.outcome))
    if not as_json:
        say(answer.consent.value)
        _note_superseded(answer.superseded)


class Function(StrEnum):
    """What may be done with a record."""

    VIEW = "view"
    STORE = "store"


@commands.command("has", epilog="Example:  openscr consent has 9990012326 --accessor everyone --function view")
def has_permissions(
    nhs_number: NhsNumber,
    accessor: Annotated[
        list[str] | None,
        typer.Option("--accessor", metavar="WHO", help="everyone, or a user id of twelve digits; may come again."),
    ] = None,
    function: Annotated[
        list[Function] | None, typer.Option("--function", help="What they would do; default store and view.")
    ] = None,
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
    """Ask whether somebody may store or view the record: Yes, No, or Ask when the patient must be asked."""
    from openscr.spine import AskedPermission

    accessors = [_accessor(word) for word in accessor or ["everyone"]]
    functions = function or [Function.STORE, Function.VIEW]
    asked = [AskedPermission(one.value.capitalize(), who) for who in accessors for one in functions]
    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        answer = client.has_permissions(nhs_number, *asked)
    permissions = [
        {"function": one.code, "accessor": one.accessor.name or one.accessor.extension, "permission": value.value}
        for one, value in answer.permissions
    ]
    if as_json:
        form = {**outcome_form(answer.outcome), "permissions": permissions, "superseded": answer.superseded}
        say_json(form)
    if not answer.outcome.accepted:
        fail(refusal_line(answer.outcome))
    if not as_json:
        say_table(("function", "accessor", "permission"), [tuple(each.values()) for each in permissions])
        _note_superseded(answer.superseded)


def _note_superseded(superseded: bool) -> None:
    if superseded:
        note("the number has been superseded; this is the consent of the number that holds now")


def _accessor(word: str) -> "Accessor":
    from openscr.codes import OID_USER
    from openscr.spine import Accessor

    if word.lower() == "everyone":
        return Accessor()
    if len(word) != 12 or not (word.isascii() and word.isdigit()):
        raise typer.BadParameter("--accessor is everyone, or a user id of twelve digits")
    return Accessor("User Id", "", OID_USER, word)


@commands.command("set", epilog="Example:  openscr consent set 9990012318 no --user 555000000102")
def set_consent(
    nhs_number: NhsNumber,
    value: Annotated[Value, typer.Argument(help="What the patient says; ask clears what is stored.")],
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
    """Set the consent. A person does that: name one with --user, unless the app is registered for batches."""
    from openscr.spine import Consent

    with connect(
        at=at, app=app, directory=directory, user=user, cert=cert, key=key, ca=ca, callback=callback
    ) as client:
        outcome = client.set_consent(nhs_number, Consent(value.value.capitalize()))
    if as_json:
        say_json(outcome_form(outcome))
    if not outcome.accepted:
        fail(refusal_line(outcome))
    if not as_json:
        say(f"consent is {value.value.capitalize()}")
