"""`openscr bench mix`: a service under a steady load of everything at once.

Spec: 00 §4 ``bench``; 90 §6.2, §7.
"""

from dataclasses import replace
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.bench_load import Sizes, SizesOption
from openscr.cli.bench_subject import (
    AtService,
    BenchData,
    BenchStore,
    Load,
    Patients,
    Pids,
    Processes,
    Target,
    WithTls,
    Workers,
    benched,
    run_measurement,
)
from openscr.cli.console import fail, note, say, say_json, say_table
from openscr.cli.options import As, Ca, CallbackAt, Cert, DirectoryFile, Json, Key, User, Verbose

if TYPE_CHECKING:
    from openscr.bench.measuring import Measured


class Level(StrEnum):
    """Which shares the operations have."""

    T1 = "t1"
    T2 = "t2"


class ArrivalsOption(StrEnum):
    """How requests follow each other."""

    POISSON = "poisson"
    FIXED = "fixed"


def mix(
    rate: Annotated[float, typer.Option("--rate", metavar="N", min=0.1, help="Requests a second.")] = 80.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", min=1, help="For so long.")] = 60.0,
    level: Annotated[
        Level, typer.Option("--level", help="t1: an upload to three reads. t2: the national mix, with alerts.")
    ] = Level.T1,
    arrivals: Annotated[
        ArrivalsOption,
        typer.Option("--arrivals", help="poisson: by chance, as people come. fixed: one like the other."),
    ] = ArrivalsOption.POISSON,
    saturate: Annotated[
        bool, typer.Option("--saturate", help="Find out first what the service bears, then send at half of that.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Exit with 1 when a limit of level T1 is missed.")] = False,
    sizes: SizesOption = Sizes.MIXED,
    patients: Patients = 10_000,
    load: Load = True,
    seed: Annotated[int, typer.Option("--seed", metavar="S", min=1, help="Another one makes other requests.")] = 1,
    at: AtService = None,
    pids: Pids = None,
    app: As = "app-gp",
    directory: DirectoryFile = None,
    user: User = None,
    cert: Cert = None,
    key: Key = None,
    ca: Ca = None,
    callback: CallbackAt = None,
    data: BenchData = None,
    store: BenchStore = None,
    workers: Workers = 1,
    tls: WithTls = True,
    generators: Processes = 1,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Send a mix of operations at a steady rate, whatever becomes of those before, and tell how long they took.

    Requests arrive by themselves, and a latency counts from the moment when the request was due: a service that stalls
    is charged for everybody who would have come meanwhile. Some patients are asked for far more often than others; of
    the uploads 2 in 100 are exact repeats, 1 is older than what was sent before, 1 in 200 is faulty. Sizes are those of
    a population: half below 9 kB, at most 400. Permission to view, SMSP and FHIR are not in the mix, the others take
    their share.

    --check is for every change of the program: 95 of 100 requests of each operation within twice the time that the
    service levels allow, nothing shed, no error. Without options the load is that of level T1.
    """
    from openscr.bench.figures import HEADINGS
    from openscr.bench.limits import missed
    from openscr.bench.measuring import LATE, figures_of_load

    target = Target(
        at, app, directory, user, cert, key, ca, callback, tuple(pids or ()), data, store, workers, tls, patients, load,
        mixed_sizes=sizes is Sizes.MIXED, generators=generators,
    )  # fmt: skip
    sending = (level, rate, seconds, arrivals, seed)
    most, run, engine = run_measurement(_measure(target, *sending, saturate=saturate))
    figures = figures_of_load(run, engine)
    if most is not None:
        figures = [replace(figures_of_load(most, engine)[0], operation="saturation"), *figures]
    lines = missed(figures, run.errors, run.samples.shed)
    if as_json:
        say_json([each.form() for each in figures])
    else:
        say_table(HEADINGS, [each.row() for each in figures])
        faults = f"{run.samples.shed} shed, {sum(run.errors.values())} errors"
        say(f"{target.conditions}, {engine or 'an unknown store'}, {faults}")
    if check and lines:
        fail(f"{len(lines)} limit{'s' if len(lines) > 1 else ''} missed: {'; '.join(lines)}")
    for line in lines:
        note(line)
    if run.lateness > LATE:
        note(
            f"the load itself was up to {run.lateness * 1000:.0f} ms late in 99 of 100 cases: "
            "more --generators, or a machine of its own, would tell more of the service"
        )


async def _measure(
    target: Target,
    level: Level,
    rate: float,
    seconds: float,
    arrivals: ArrivalsOption,
    seed: int,
    *,
    saturate: bool,
) -> "tuple[Measured | None, Measured, str | None]":
    from openscr.bench.mix import NATIONAL, REVISION, Mix

    shares = NATIONAL if level is Level.T2 else REVISION
    wanted = Mix(shares, target.patients, mixed_sizes=target.mixed_sizes)
    most: Any = None
    async with benched(target) as (bench, _):
        bench.begin_with(seed)
        if saturate:
            most = await bench.saturated(wanted, min(seconds, 20.0))
            rate = most.rate / 2
        run = await bench.open(wanted, rate, seconds, arrivals.value)
        return most, run, bench.engine
