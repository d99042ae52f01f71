"""What each operation costs, beside the floor of the same run, and how long it takes at half of what the service bears.

Spec: 90 §6.4.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from openscr.bench.figures import Figures
from openscr.bench.measuring import Bench, Measured, check_sound, figures_of
from openscr.bench.messages import Operation
from openscr.bench.mix import alone
from openscr.errors import ConfigurationError

MIXED_UPLOAD: Final = "upload, mixed sizes"
"""The uploads whose summaries have the sizes of the population; those of the others are the reference."""

KINDS: Final = (Operation.UPLOAD.value, MIXED_UPLOAD, *(each.value for each in Operation if each != Operation.UPLOAD))
"""What can be measured, by the names in reports."""

_STEADY: Final = 4.0
"""Seconds of the steady load by which latencies are measured."""

_WITHOUT_FLOOR: Final = frozenset({Operation.ALERT.value})


@dataclass(frozen=True, slots=True)
class Extent:
    """How much is sent: ``runs`` of ``count`` messages each, after one to warm up, over ``connections``."""

    patients: int
    count: int = 1000
    runs: int = 3
    connections: int = 16


def operation_of(kind: str) -> Operation:
    """Return the operation of a kind. Raises: `ConfigurationError`."""
    if kind not in KINDS:
        raise ConfigurationError(f"operations are {'; '.join(KINDS)}")
    return Operation.UPLOAD if kind == MIXED_UPLOAD else Operation(kind)


async def measure_costs(
    bench: Bench, kinds: Sequence[str], extent: Extent, tell: Callable[[Figures], None] = lambda _: None
) -> list[Figures]:
    """Measure operations one after the other; ``tell`` hears of each at once. Raises: `DeliveryError`."""
    found = []
    for kind in kinds:
        runs = await _runs(bench, kind, extent)
        rate = median(run.rate for run in runs)
        mix = alone(operation_of(kind), extent.patients, mixed_sizes=kind == MIXED_UPLOAD)
        if operation_of(kind) is Operation.UPLOAD:
            mix = bench.fresh(mix)
        steady = await bench.open(mix, rate / 2, min(_STEADY, extent.count / (rate / 2)))
        figures = figures_of(kind, bench.engine, runs, steady)
        tell(figures)
        found.append(figures)
    return found


async def measure_floor(floor: Bench, kinds: Sequence[str], extent: Extent) -> dict[str, float]:
    """Return the CPU ms of the floor for each kind that has one. Raises: `DeliveryError`."""
    # Something must be there to be read.
    check_sound([await floor.closed(floor.fresh(alone(Operation.UPLOAD, extent.patients)), 50)])
    found: dict[str, float] = {}
    for kind in kinds:
        if kind in _WITHOUT_FLOOR:
            continue
        runs = await _runs(floor, kind, extent)
        check_sound(runs)
        found[kind] = round(median(run.cost or 0.0 for run in runs), 3)
    return found


def with_floor(figures: Sequence[Figures], floor: dict[str, float]) -> list[Figures]:
    """Return the figures with the floor of each beside it."""
    return [replace(each, floor_cpu_ms_per_message=floor.get(each.operation)) for each in figures]


async def _runs(bench: Bench, kind: str, extent: Extent) -> list[Measured]:
    mix = alone(operation_of(kind), extent.patients, mixed_sizes=kind == MIXED_UPLOAD)
    runs = []
    for _ in range(extent.runs + 1):
        fresh = bench.fresh(mix) if operation_of(kind) is Operation.UPLOAD else mix
        runs.append(await bench.closed(fresh, extent.count, extent.connections))
    return runs[1:]
