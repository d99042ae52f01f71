"""`openscr demo`: the story of a record, step by step, with what was sent and what was answered.

Spec: 00 §4 ``demo``.
"""

from typing import Annotated

import typer

from openscr.cli.console import fail, note, say_json
from openscr.cli.options import Ca, Cert, Json, Key, Verbose


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", epilog="Example:  openscr demo --at http://127.0.0.1:8080")(demo)


def demo(
    at: Annotated[
        str | None, typer.Option("--at", metavar="URL", help="A running demo service; default one of its own.")
    ] = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Play the story of a record: upload, replacement, retrieval, consent, override, withdrawal.

    Without --at it runs against a service of its own, over mutual TLS. With -v every message is shown in full.
    Exits with 0 only if every step ended as it should.
    """
    from openscr.cli.narration import Narration
    from openscr.cli.story import guest_stage, own_stage, play

    if at is None and any((cert, key, ca)):
        raise typer.BadParameter("--cert, --key and --ca go with --at")
    narration = Narration(quiet=as_json)
    stage = own_stage(narration) if at is None else guest_stage(narration, at, cert, key, ca)
    with stage as cast:
        good = play(cast, narration)
    if as_json:
        say_json({"ok": good, "steps": narration.forms})
    if not good:
        fail("the story did not end as it should")
    if not as_json:
        note("Every step ended as it should.")
