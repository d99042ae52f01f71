"""`openscr patients make`: a synthetic population, as files or sent to a service.

Spec: 00 §4 ``patients make``, §6.4; 80 §1.4; 90 §7.
"""

import asyncio
import json
from collections.abc import Iterator
from datetime import date, datetime
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from openscr.cli.console import on_terminal, say, say_json
from openscr.cli.options import (
    DEMO,
    As,
    At,
    Ca,
    CallbackAt,
    Cert,
    Data,
    DirectoryFile,
    Json,
    Key,
    StoreUrl,
    User,
    Verbose,
    connect,
    opened_store,
)

if TYPE_CHECKING:
    from openscr.cli.bulk import Item
    from openscr.testbench.stories import Step, SyntheticPatient

GP: Final = "555000000102"
"""Role profile of the demo's GP, who sends the population unless somebody else is named. Spec: 35 §9.5."""

INDEX: Final = "patients.jsonl"
AT_ONCE: Final = 1_000
"""Patients that are put into the index of a store at once."""


def make(
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, help="How many patients.")],
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Which population: the same seed, the same one.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Write it there, as files.")] = None,
    load: Annotated[bool, typer.Option("--load", help="Send it to the service.")] = False,
    on: Annotated[
        datetime | None,
        typer.Option("--on", formats=["%Y-%m-%d"], metavar="DATE", help="The day it stands on; default 2026-11-02."),
    ] = None,
    at: At = DEMO,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", min=0.001, help="With --load: so many messages a second.")
    ] = None,
    parallel: Annotated[
        int, typer.Option("--parallel", metavar="N", min=1, max=64, help="With --load: so many connections at once.")
    ] = 1,
    journal: Annotated[
        Path | None,
        typer.Option("--journal", metavar="FILE", help="With --load: what was sent, to go on after an interruption."),
    ] = None,
    retry_refused: Annotated[
        bool, typer.Option("--retry-refused", help="With --journal: send again what was refused before.")
    ] = False,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Make a synthetic population: the same patients, byte for byte, wherever the same seed and day are given.

    Everybody in it is invented, with a number of the 999 range that the demo world does not use. Conditions fit age and
    sex, medicines fit conditions and allergies, results are plausible. Records are as long as real ones: half below
    9 kB, 95 of 100 below 120 kB, none above 400 kB.

    Of 100 patients about 22 have a core summary, 37 one with additional information (a third of both sent more than
    once), 8 an initial one only, 3 no significant data, 2 a withdrawn one, 3 an empty section, 3 an absent section,
    4 have opted out, 3 are newly registered, 13 have a record older than 90 days, 2 have none. What is old or new is
    seen from the day --on.

    --out writes patients.jsonl (for patients import), one file for each version of a summary (running number, key and
    version: 0000/0000001-a1b2c3-1.xml) and actions.jsonl: one line for each upload, withdrawal and consent, in the
    order in which openscr upload DIR sends them. --load sends the same at once; --user is then the demo's GP unless you
    name somebody. A service with a closed index takes only patients whom it knows: with --data or --store the patients
    are first put into the index of that store.
    """
    if (out is not None) == load:
        raise typer.BadParameter("say where it goes: --out DIR or --load")
    sending = rate is not None or parallel > 1 or journal is not None or retry_refused
    if not load and (sending or data is not None or store is not None):
        raise typer.BadParameter("--rate, --parallel, --journal, --retry-refused, --data and --store go with --load")
    from openscr.testbench.made_population import DEFAULT_DAY, check_count, made_population

    check_count(count)
    day = on.date() if on is not None else DEFAULT_DAY
    patients = made_population(count, seed, day)
    if out is not None:
        _write(out, patients, count, seed, day, as_json=as_json)
        return
    from openscr.cli.bulk import Bulk, Pace, report
    from openscr.cli.upload_journal import Journal

    if data is not None or store is not None:
        asyncio.run(_fill_index(made_population(count, seed, day, told=False), data, store))
    person = user or GP
    who = f"to {at} as {app} with {person}, population {seed} of {day.isoformat()}"
    sender: dict[str, Any] = {"at": at, "app": app, "directory": directory, "user": person}
    with (
        Journal(journal, who) as kept,
        connect(**sender, cert=cert, key=key, ca=ca, callback=callback) as client,
    ):
        bulk = Bulk(client, kept, Pace(rate), parallel, retry_refused=retry_refused, as_json=as_json)
        tally = bulk.run(_items(patients, seed, day), None)
    again = "run the same command again to go on" if journal else "with --journal FILE it could go on where it was"
    report(tally, as_json=as_json, resume=again)
    if tally.failed:
        raise typer.Exit(1)


def _names(patient: "SyntheticPatient", number: int, seed: int, day: date) -> "Iterator[tuple[str, Step]]":
    """Iterate over the steps of the n-th patient with their names, which tell nothing of who it is."""
    key = key_of(number, seed, day)
    for version, step in enumerate(patient.steps, start=1):
        suffix = ".xml" if step.document else ""
        yield f"{number // 1000:04d}/{key}-{version}{suffix}", step


def key_of(number: int, seed: int, day: date) -> str:
    """Return the name of the n-th patient of a population: a running number and a key that says nothing."""
    opaque = blake2b(f"{seed}/{day.isoformat()}/{number}".encode(), digest_size=3).hexdigest()
    return f"{number:07d}-{opaque}"


def _action(patient: "SyntheticPatient", name: str, key: str, step: "Step") -> dict[str, str]:
    action = {"name": name, "patient": key}
    if step.document:
        return action | {"action": "upload"}
    action |= {"nhs_number": patient.nhs_number}
    if step.consent is not None:
        return action | {"action": "consent", "value": step.consent.value}
    return action | {
        "action": "withdraw",
        "event_id": step.target,
        "event_type": step.target_type,
        "reason": step.reason,
    }


# --- files ----------------------------------------------------------------------------------------------------------


def _write(
    folder: Path, patients: "Iterator[SyntheticPatient]", count: int, seed: int, day: date, *, as_json: bool
) -> None:
    from openscr.cli.upload_folder import ACTIONS, ACTIONS_FORMAT, UNFINISHED
    from openscr.errors import ConfigurationError

    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is not empty; a population has a folder of its own")
    summaries = size = 0
    # What was made in part has no actions: they are written under another name until all is there.
    unfinished = folder / UNFINISHED
    with (folder / INDEX).open("w", encoding="utf-8") as index, unfinished.open("w", encoding="utf-8") as actions:
        actions.write(json.dumps({"format": ACTIONS_FORMAT, "seed": seed, "on": day.isoformat()}) + "\n")
        for number, patient in enumerate(_watched(patients, count, as_json=as_json), start=1):
            index.write(json.dumps({"nhs_number": patient.nhs_number, **patient.demographics}) + "\n")
            key = key_of(number, seed, day)
            for name, step in _names(patient, number, seed, day):
                if step.document:
                    path = folder / name
                    path.parent.mkdir(exist_ok=True)
                    path.write_bytes(step.document)
                    summaries, size = summaries + 1, size + len(step.document)
                actions.write(json.dumps(_action(patient, name, key, step)) + "\n")
    unfinished.replace(folder / ACTIONS)
    if as_json:
        say_json({"patients": count, "summaries": summaries, "bytes": size})
    else:
        say(f"{count} patients, {summaries} summaries, {size / 1e6:.1f} MB in {folder}")


def _watched(patients: "Iterator[SyntheticPatient]", count: int, *, as_json: bool) -> "Iterator[SyntheticPatient]":
    if as_json or not on_terminal():
        yield from patients
        return
    from rich.progress import track

    yield from track(patients, description="Making", total=count, transient=True)


async def _fill_index(patients: "Iterator[SyntheticPatient]", data: Path | None, store: str | None) -> None:
    async with opened_store(data, store, migrate=True) as opened:
        while some := [patient.entry for patient in islice(patients, AT_ONCE)]:
            await opened.write_patients(some)


# --- to a service ---------------------------------------------------------------------------------------------------


def _items(patients: "Iterator[SyntheticPatient]", seed: int, day: date) -> "Iterator[Item]":
    from openscr.cli.upload_folder import action_item, document_item

    for number, patient in enumerate(patients, start=1):
        key = key_of(number, seed, day)
        for name, step in _names(patient, number, seed, day):
            if step.document:
                yield document_item(name, key, step.document, patient.nhs_number, step.event_id)
            else:
                yield action_item(_action(patient, name, key, step))
