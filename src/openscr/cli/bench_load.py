"""`openscr bench load`: a store filled with any number of records, without a service.

Spec: 00 §4 ``bench``; 90 §4 "bulk load", §5.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from openscr.cli.console import on_terminal, say, say_json
from openscr.cli.options import As, Data, Json, StoreUrl, Verbose, opened_store
from openscr.cli.patients_make import GP


class Sizes(StrEnum):
    """Which summaries are sent."""

    REFERENCE = "reference"
    MIXED = "mixed"


SizesOption = Annotated[
    Sizes,
    typer.Option("--sizes", help="reference: 17 kB each. mixed: half below 9 kB, 95 of 100 below 120 kB, at most 400."),
]


def load(
    count: Annotated[int, typer.Option("--count", metavar="N", min=1, max=9_000_000, help="How many patients.")],
    first: Annotated[
        int, typer.Option("--first", metavar="N", min=0, help="Begin with this patient, counted from 0.")
    ] = 0,
    versions: Annotated[
        int, typer.Option("--versions", metavar="N", min=1, max=100, help="Versions of each patient's summary.")
    ] = 1,
    sizes: SizesOption = Sizes.REFERENCE,
    indexed: Annotated[bool, typer.Option("--indexed", help="Put the patients into the index as well.")] = False,
    app: As = "app-gp",
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Fill a store with records, thousands a second, so that it can be seen what it is like when it is full.

    They go through the record's own decisions, one transaction for the uploads of a slot, without network and parsing.
    The n-th patient is the same each time: what is there is left alone, so an interrupted load is simply begun again,
    and bench mix --patients N asks for the same ones. Numbers are valid, of nobody, and never printed. A large
    PostgreSQL is filled fastest by way of a file: load SQLite, then move it with openscr admin migrate --from --to.
    """
    started = time.perf_counter()
    asyncio.run(_load(count, first, versions, sizes, app, data, store, indexed=indexed, as_json=as_json))
    seconds = time.perf_counter() - started
    records = count * versions
    if as_json:
        say_json({"records": records, "seconds": round(seconds, 1), "per_second": round(records / seconds)})
    else:
        say(f"{records:,} records in {seconds:.1f} s, {records / seconds:,.0f} a second")


async def _load(
    count: int,
    first: int,
    versions: int,
    sizes: Sizes,
    app: str,
    data: Path | None,
    store: str | None,
    *,
    indexed: bool,
    as_json: bool,
) -> None:
    from openscr.bench.loading import Loader
    from openscr.bench.service import check_is_for_measuring
    from openscr.bench.summaries import documents_of
    from openscr.client.profile import Profile
    from openscr.directory.form import build_directory, read_directory
    from openscr.testbench.world import demo_directory

    async with opened_store(data, store, migrate=True) as opened:
        await check_is_for_measuring(opened)
        entries = await opened.read_directory()
        if not entries:
            # By it the store is known again as one for measurements.
            entries.extend(read_directory(demo_directory()))
            await opened.write_directory(entries, replace=True)
        directory = build_directory(entries, 0)
        profile = Profile.of_directory(directory, app, GP)
        loader = Loader(opened, directory, profile, documents_of(mixed=sizes is Sizes.MIXED))
        with progress_of(count * versions, "Loading", quiet=as_json) as progress:
            await loader.load(count, first=first, versions=versions, indexed=indexed, progress=progress)


@contextmanager
def progress_of(total: int, what: str, *, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show on a terminal how far something long is; the block is given what to call with every step's size."""
    if quiet or not on_terminal():
        yield lambda _: None
        return
    from rich.progress import Progress

    with Progress(transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda more: bar.advance(task, more)
