"""`openscr patients`: the patient index, and synthetic populations.

Spec: 00 §4 ``patients import``, ``patients make``, §6.4; 10 §15 step 3.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from openscr.cli.console import say, say_json
from openscr.cli.options import Data, Json, StoreUrl, Verbose, opened_store
from openscr.cli.patients_make import make

commands = typer.Typer(help="The patient index, and synthetic populations.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="patients")


commands.command(
    "make",
    epilog="Example:  openscr patients make --count 1000 --seed 1 --out population; openscr upload population",
)(make)


@commands.command("import", epilog="Example:  openscr patients import patients.jsonl")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", dir_okay=False, help="JSON lines, one patient a line.")],
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Read a patient index file into the store, all or nothing. A line replaces an earlier entry for its number."""
    count = asyncio.run(_import(file.read_bytes(), data, store))
    if as_json:
        say_json({"imported": count})
    else:
        say(f"{count} patients imported")


async def _import(content: bytes, data: Path | None, store: str | None) -> int:
    from openscr.directory.patients import read_patients
    from openscr.store.interface import PatientEntry

    entries = [
        PatientEntry(patient.nhs_number, patient.status, patient.survivor, patient.demographics)
        for patient in read_patients(content)
    ]
    async with opened_store(data, store, migrate=True) as opened:
        return await opened.write_patients(entries)
