"""`openscr bench cost`: what each operation costs the server, beside the least that it could cost.

Spec: 00 §4 ``bench``; 90 §6.4.
"""

from typing import TYPE_CHECKING, Annotated

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
    from openscr.bench.figures import Figures


def cost(
    operation: Annotated[
        list[str] | None,
        typer.Option("--operation", metavar="NAME", help='For example upload, "event list"; default every one.'),
    ] = None,
    count: Annotated[int, typer.Option("--count", metavar="N", min=10, help="Messages of a run.")] = 1000,
    runs: Annotated[int, typer.Option("--runs", metavar="N", min=1, help="Runs, after one to warm up.")] = 3,
    connections: Annotated[
        int, typer.Option("--connections", metavar="N", min=1, max=1000, help="Kept connections of the load.")
    ] = 16,
    floor: Annotated[
        bool, typer.Option("--floor/--no-floor", help="Measure the floor as well (our own service).")
    ] = True,
    patients: Patients = 1000,
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
    """Measure the server's CPU time for each message, saturation, latency at half of it, memory and bytes stored.

    An upload is measured to the acknowledgement of its delivered application response, for a fresh patient each time,
    with the reference summary of 17 kB or with the sizes of a population. The floor is a bare server with the same
    libraries on the same machine, in the same run. The load's own CPU is never counted; that of a database on this
    machine is. Without --at a service of our own is started and thrown away.
    """
    from openscr.bench.cost import KINDS, Extent, operation_of

    kinds = operation or list(KINDS)
    for kind in kinds:
        operation_of(kind)
    target = Target(
        at, app, directory, user, cert, key, ca, callback, tuple(pids or ()), data, store, workers, tls, patients, load,
        generators=generators,
    )  # fmt: skip
    extent = Extent(patients, count, runs, connections)
    found = run_measurement(_measure(target, kinds, extent, floor=floor and at is None))
    if as_json:
        say_json([each.form() for each in found])
        return
    from openscr.bench.figures import HEADINGS

    say_table(HEADINGS, [each.row() for each in found])
    engine = found[0].engine or "an unknown store"
    say(f"{target.conditions}, {engine}, {connections} kept connections, median of {runs} runs after a warm-up")


async def _measure(target: Target, kinds: list[str], extent: "Extent", *, floor: bool) -> "list[Figures]":
    from openscr.bench.cost import measure_costs, measure_floor, with_floor
    from openscr.bench.measuring import Bench
    from openscr.bench.service import floor_beside

    async with benched(target) as (bench, subject):
        lowest: dict[str, float] = {}
        if floor:
            detail("measuring the floor")
            async with floor_beside(subject) as below:
                lowest = await measure_floor(Bench(below, bench.senders), kinds, extent)
        found = await measure_costs(bench, kinds, extent, lambda each: detail(f"measured: {each.operation}"))
        return with_floor(found, lowest)
