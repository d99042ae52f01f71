"""`openscr bench plan`: machines, disks and lines for a population, from what messages cost on this machine.

Spec: 00 §4 ``bench``; 90 §4, §5.
"""

import os
from dataclasses import asdict, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

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
from openscr.cli.console import detail, say, say_json, say_table
from openscr.cli.options import As, Ca, CallbackAt, Cert, DirectoryFile, Json, Key, User, Verbose

if TYPE_CHECKING:
    from openscr.bench.cost import Extent
    from openscr.bench.planning import Costs, Needs, Wishes

CHECKED: tuple[int, ...] = (1, 2)
"""Workers with which a prediction is held against a measurement."""


class LoadLevel(StrEnum):
    """How busy the population is."""

    BASE = "base"
    HIGH = "high"
    BURST = "burst"


def plan(
    population: Annotated[
        int, typer.Option("--population", metavar="N", min=1, help="For so many patients.")
    ] = 65_000_000,
    level: Annotated[
        LoadLevel, typer.Option("--busiest", help="base or high: the busiest hour. burst: the worst ten minutes.")
    ] = LoadLevel.BURST,
    cores: Annotated[int, typer.Option("--cores", metavar="N", min=1, help="Cores of a machine.")] = 16,
    busy: Annotated[
        float, typer.Option("--busy", metavar="SHARE", min=0.05, max=1.0, help="How busy cores may be at that load.")
    ] = 0.5,
    years: Annotated[float, typer.Option("--years", metavar="N", min=0, help="Years of history on disk.")] = 10,
    replicas: Annotated[int, typer.Option("--replicas", metavar="N", min=1, help="Copies of the store.")] = 3,
    spare: Annotated[int, typer.Option("--spare", metavar="N", min=0, help="Machines that may fail.")] = 1,
    costs: Annotated[
        Path | None,
        typer.Option("--costs", metavar="FILE", dir_okay=False, help="Costs measured before: what --json printed."),
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hold the prediction against measured runs with 1 and 2 workers.")
    ] = False,
    count: Annotated[int, typer.Option("--count", metavar="N", min=10, help="Messages of a run.")] = 1000,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="Runs, after one to warm up.")] = 3,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", min=1, help="With --verify: how long each run is, about.")
    ] = 15,
    patients: Patients = 10_000,
    load: Load = True,
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
    """Measure what each operation costs here (CPU, bytes stored, written, sent), and say what a population needs.

    The rates are those of the specification for 65 million patients, in proportion. Uploads have the sizes of a
    population; the application response is part of its upload. Permission to view, SMSP, FHIR and reports are not
    counted. With --verify services of our own with 1 and 2 workers are driven as fast as they go with the national mix,
    and the rate that the costs predict is printed beside the measured one.
    """
    from openscr.bench.cost import Extent
    from openscr.bench.planning import Wishes, costs_form, measure_for_plan, read_costs
    from openscr.bench.planning import plan as planned

    if verify and at is not None:
        raise typer.BadParameter("--verify starts services of our own, with 1 and 2 workers: leave out --at")
    target = Target(
        at, app, directory, user, cert, key, ca, callback, tuple(pids or ()), data, store, workers, tls, patients, load,
        mixed_sizes=True, generators=generators,
    )  # fmt: skip
    here = os.cpu_count() or 1

    async def measure(extent: "Extent") -> "Costs":
        async with benched(target) as (bench, _):
            return await measure_for_plan(bench, extent, here)

    extent = Extent(patients, count, runs)
    known = read_costs(costs.read_bytes()) if costs is not None else run_measurement(measure(extent))
    wishes = Wishes(population, level.value, cores, busy, spare, years, replicas)
    needs = planned(known, wishes)
    checks = (
        run_measurement(_checks(replace(target, load=load and costs is not None), known, seconds)) if verify else []
    )
    if as_json:
        wanted, needed = asdict(wishes), asdict(needs)
        say_json({"costs": costs_form(known), "wishes": wanted, "needs": needed, "checks": checks})
    else:
        _tell(known, wishes, needs, checks)


async def _checks(target: Target, costs: "Costs", seconds: float) -> list[dict[str, Any]]:
    from openscr.bench.mix import NATIONAL, Mix
    from openscr.bench.planning import predicted_rate

    found = []
    for workers in CHECKED:
        detail(f"checking with {_workers(workers)}")
        # A folder that is thrown away has no patients yet.
        load = target.load or (target.data is None and target.store is None)
        async with benched(replace(target, workers=workers, load=load)) as (bench, _):
            run = await bench.saturated(Mix(NATIONAL, target.patients), seconds, connections=16 * workers)
        predicted = predicted_rate(costs, NATIONAL, workers)
        found.append(
            {
                "workers": workers,
                "predicted_per_second": round(predicted, 1),
                "measured_per_second": round(run.rate, 1),
                "predicted_cpu_ms": round(costs.mean(NATIONAL).cost, 3),
                "measured_cpu_ms": round(run.cost or 0.0, 3),
            }
        )
    return found


def _tell(costs: "Costs", wishes: "Wishes", needs: "Needs", checks: list[dict[str, Any]]) -> None:
    from openscr.bench.planning import DEMAND, ENGLAND

    rates = DEMAND[wishes.load]
    scale = wishes.patients / ENGLAND
    say_table(
        ("operation", "/s", "service ms", "database ms", "bytes in", "out", "stored", "written"),
        [
            (
                operation.value,
                f"{rate * scale:,.2f}",
                f"{cost.service_ms:.2f}",
                f"{cost.database_ms:.2f}",
                *(f"{value:,.0f}" for value in (cost.bytes_in, cost.bytes_out, cost.stored, cost.written)),
            )
            for operation, rate in rates.items()
            for cost in (costs.of(operation),)
        ],
    )
    say(f"measured on {costs.cores} cores, {costs.engine}; {wishes.patients:,} patients, {wishes.load}")
    say(f"requests      {needs.per_second:,.1f}/s, and the application response of every upload")
    say(
        f"service       {needs.service_cores:.2f} cores busy: {_workers(needs.workers)}, "
        f"{needs.service_machines} machines of {wishes.cores} cores ({wishes.spare} may fail)"
    )
    if needs.database_machines:
        say(
            f"database      {needs.database_cores:.2f} cores busy: "
            f"{needs.database_machines} machines of {wishes.cores} cores ({wishes.spare} may fail)"
        )
    say(
        f"disks         {_bytes(needs.current_bytes)} for a first summary of everybody, "
        f"{_bytes(needs.stored_bytes)} with {wishes.years:g} years of history, {wishes.replicas} copies; "
        f"{_bytes(needs.written_per_second)}/s written"
    )
    say(f"network       {_bytes(needs.in_per_second)}/s in, {_bytes(needs.out_per_second)}/s out")
    for check in checks:
        predicted, measured = check["predicted_per_second"], check["measured_per_second"]
        cost, used = check["predicted_cpu_ms"], check["measured_cpu_ms"]
        say(
            f"check         {_workers(check['workers'])}: predicted {predicted:,.0f}/s, "
            f"measured {measured:,.0f}/s ({(measured / predicted - 1) * 100:+.0f} %); "
            f"predicted {cost:.2f} ms CPU a request, measured {used:.2f} ({(used / cost - 1) * 100:+.0f} %)"
        )


def _workers(count: int) -> str:
    return f"{count} worker{'s' if count > 1 else ''}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"
