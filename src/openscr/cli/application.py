"""The program `openscr`: its commands put together, and how it ends.

Only what a command needs is imported, and only when it runs: `openscr --help` must not wait for a service.

Spec: 00 §4.
"""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from openscr import __version__
from openscr.cli import (
    admin,
    alert,
    bench,
    consent,
    demo,
    directory,
    get,
    identity,
    listing,
    mhs,
    patients,
    pki,
    scenario,
    serve,
    upload,
    validate,
    withdraw,
)
from openscr.cli.console import fail
from openscr.errors import OpenSCRError

OVERVIEW = """\
OpenSCR: a complete Summary Care Record service.

  openscr serve --demo          the whole national side on this machine, with test patients
  openscr mhs serve --demo      the message handling adaptor: a REST API in front of a Spine
  openscr demo                  the story of a record, step by step

  openscr upload FILE...        send GP Summaries           openscr withdraw NHS EVENT --reason 01
  openscr list NHS              all events of a patient     openscr get NHS
  openscr consent get NHS       the patient's consent       openscr consent set NHS yes|no|ask
  openscr alert NHS --type 2 --reason 5 --user URP          tell the privacy officer of an access

  openscr validate FILE...      what is wrong with a message, and how to mend it
  openscr scenario              bad answers, late or none   openscr bench      load, cost, planning

  openscr directory|patients    who is registered           openscr pki        development certificates
  openscr admin                 backup, checks, outbox      openscr identity   tokens, without a browser

Try:  openscr serve --demo      then, in another window:  openscr list 9990012318
Each command explains itself with --help.
"""


class PlainWords(TyperGroup):
    """The commands; what is wrong with an argument is told without the words of the machinery that found it."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the arguments name. Raises: `typer.BadParameter`."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = error.message.removeprefix("Value error, ")
            raise


app = typer.Typer(
    name="openscr",
    cls=PlainWords,
    help="A complete Summary Care Record service: record store, consent, client and tools.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback(invoke_without_command=True)
def overview(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Print what there is to do when nothing is asked for."""
    if version:
        typer.echo(f"openscr {__version__}")
    elif context.invoked_subcommand is None:
        typer.echo(OVERVIEW, nl=False)
    else:
        from openscr.logs import configure_command_logs

        configure_command_logs()
    if version:
        raise typer.Exit


for register in (
    serve,
    demo,
    upload,
    validate,
    withdraw,
    listing,
    get,
    consent,
    alert,
    scenario,
    pki,
    directory,
    patients,
    identity,
    mhs,
    bench,
    admin,
):
    register.register(app)


def main() -> None:
    """Run the command that the arguments name, and exit: 0 done, 1 refused or failed, 2 wrong usage. Spec: 00 §4."""
    try:
        app(prog_name="openscr")
    except OpenSCRError as error:
        fail(error.diagnostics, error)
    except BrokenPipeError:
        # Whoever read our output has seen enough; what is left must not fail again when the program ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error), error)
    except Exception as error:  # noqa: BLE001  nobody at a terminal is helped by a traceback
        from openscr.setting_sources import InvalidSetting

        if isinstance(error, InvalidSetting):
            fail(str(error), error, status=2 if error.wrong_usage else 1)
        fail(f"unexpected failure ({type(error).__name__})", error)
