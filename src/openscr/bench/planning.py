"""What a population needs: the measured cost of each operation, times how often it is asked for.

Spec: 90 §4, §5; 00 §4 ``bench``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from types import MappingProxyType
from typing import Any, Final

import msgspec

from openscr.bench.cost import MIXED_UPLOAD, Extent, operation_of
from openscr.bench.measuring import Bench, Measured, check_sound
from openscr.bench.messages import Operation
from openscr.bench.mix import alone
from openscr.errors import ConfigurationError

ENGLAND: Final = 65_000_000
"""The patients that the rates of the specification are for."""

BASE: Final = "base"
HIGH: Final = "high"
BURST: Final = "burst"

DEMAND: Final[Mapping[str, Mapping[Operation, float]]] = MappingProxyType(
    {
        BASE: {
            Operation.UPLOAD: 36, Operation.CONSENT_GET: 38, Operation.CONSENT_SET: 0.6, Operation.CONSENT_HAS: 1.8,
            Operation.LIST: 1.8, Operation.EVENT: 1.8, Operation.ALERT: 0.8,
        },
        HIGH: {
            Operation.UPLOAD: 72, Operation.CONSENT_GET: 78, Operation.CONSENT_SET: 2, Operation.CONSENT_HAS: 5.3,
            Operation.LIST: 5.3, Operation.EVENT: 5.3, Operation.ALERT: 2.5,
        },
        BURST: {
            Operation.UPLOAD: 150, Operation.CONSENT_GET: 180, Operation.CONSENT_SET: 5, Operation.CONSENT_HAS: 30,
            Operation.LIST: 30, Operation.EVENT: 30, Operation.ALERT: 15,
        },
    }
)  # fmt: skip
"""Requests a second of a whole country: base and high in their busiest hour, and the burst that must be sustained.

An upload brings its application response with it. Permission to view, SMSP, FHIR and activity reports are not in it.
Spec: 90 §4.
"""

VERSIONS_A_YEAR: Final = 3.8
AUDITED_A_YEAR: Final = 8.5
"""Uploads, and all requests that leave an audit row, of a patient in a year. Spec: 90 §5."""

COSTED: Final = (MIXED_UPLOAD, *(each.value for each in Operation if each is not Operation.UPLOAD))
"""What is measured for a plan: uploads have the sizes of the population."""


class Cost(msgspec.Struct, frozen=True):
    """What one message of an operation costs.

    CPU milliseconds of the service and of a database beside it; bytes that come in and go out over the network, bytes
    by which the store grows, and that are written towards disks. What could not be measured is 0. ``load_ms`` is the
    CPU of the load itself: no part of the cost, but it takes its share of the machine that is measured on.
    """

    operation: str
    service_ms: float
    database_ms: float
    bytes_in: float
    bytes_out: float
    stored: float
    written: float
    load_ms: float = 0.0


class Costs(msgspec.Struct, frozen=True):
    """The costs of all operations, with what they were measured on."""

    engine: str
    cores: int
    measured: tuple[Cost, ...]

    def of(self, operation: Operation) -> Cost:
        """Return the cost of an operation. Raises: `ConfigurationError` when it was not measured."""
        for cost in self.measured:
            if cost.operation == operation.value:
                return cost
        raise ConfigurationError(f"the costs lack the operation {operation.value!r}: measure them again")

    def mean(self, shares: Mapping[Operation, float]) -> "Mean":
        """Return the CPU of an average message of a mix."""
        total = sum(shares.values())
        parts = [(self.of(operation), share / total) for operation, share in shares.items()]
        return Mean(
            sum(cost.service_ms * share for cost, share in parts),
            sum(cost.database_ms * share for cost, share in parts),
            sum(cost.load_ms * share for cost, share in parts),
        )


@dataclass(frozen=True, slots=True)
class Mean:
    """CPU milliseconds of an average message: the service's, its database's, and the load's own."""

    service: float
    database: float
    load: float

    @property
    def cost(self) -> float:
        """What counts as its cost."""
        return self.service + self.database


@dataclass(frozen=True, slots=True)
class Wishes:
    """For whom a plan is, and how generously: ``busy`` is the share of a core that may be used at that load.

    ``spare`` machines more than needed are planned, so that as many may fail; ``years`` of history are kept, on
    ``replicas`` disks.
    """

    patients: int = ENGLAND
    load: str = BURST
    cores: int = 16
    busy: float = 0.5
    spare: int = 1
    years: float = 10.0
    replicas: int = 3


@dataclass(frozen=True, slots=True)
class Needs:
    """What it comes to: cores that are busy, workers, machines of service and database, bytes and bytes a second."""

    per_second: float
    service_cores: float
    database_cores: float
    workers: int
    service_machines: int
    database_machines: int
    current_bytes: float
    stored_bytes: float
    written_per_second: float
    in_per_second: float
    out_per_second: float


def plan(costs: Costs, wishes: Wishes) -> Needs:
    """Return what a population needs. Raises: `ConfigurationError` when costs are missing. Spec: 90 §4, §5."""
    scale = wishes.patients / ENGLAND
    demand = [(costs.of(operation), rate * scale) for operation, rate in DEMAND[wishes.load].items()]
    service = sum(cost.service_ms * rate for cost, rate in demand) / 1000
    database = sum(cost.database_ms * rate for cost, rate in demand) / 1000
    upload, look = costs.of(Operation.UPLOAD), costs.of(Operation.CONSENT_GET)
    # What views leave behind is their audit.
    looked = AUDITED_A_YEAR - VERSIONS_A_YEAR
    yearly = VERSIONS_A_YEAR * upload.stored + looked * look.stored
    return Needs(
        per_second=sum(rate for _, rate in demand),
        service_cores=service,
        database_cores=database,
        workers=max(1, ceil(service / wishes.busy)),
        service_machines=_machines(service, wishes),
        # It is the database's machines that hold the copies.
        database_machines=max(wishes.replicas, _machines(database, wishes)) if database else 0,
        current_bytes=wishes.patients * upload.stored,
        stored_bytes=wishes.patients * (upload.stored + wishes.years * yearly) * wishes.replicas,
        written_per_second=sum(cost.written * rate for cost, rate in demand),
        in_per_second=sum(cost.bytes_in * rate for cost, rate in demand),
        out_per_second=sum(cost.bytes_out * rate for cost, rate in demand),
    )


def _machines(cores: float, wishes: Wishes) -> int:
    return max(1, ceil(cores / wishes.busy / wishes.cores)) + wishes.spare


def predicted_rate(costs: Costs, shares: Mapping[Operation, float], workers: int) -> float:
    """Return how many messages a second of a mix so many workers bear, on the machine that costs were measured on.

    A worker uses one core at most; service, database and the load that is measured with share the machine.
    """
    mean = costs.mean(shares)
    return 1000 * min(workers / mean.service, costs.cores / (mean.cost + mean.load))


async def measure_for_plan(bench: Bench, extent: Extent, cores: int) -> Costs:
    """Measure the costs that a plan needs. Raises: `DeliveryError`, `ConfigurationError` for a stranger's service."""
    if not bench.subject.pids or bench.engine is None:
        raise ConfigurationError(
            "a plan needs the CPU time of the service: name its process with --pid, its --store too"
        )
    found = []
    for kind in COSTED:
        operation = operation_of(kind)
        mix = alone(operation, extent.patients, mixed_sizes=operation is Operation.UPLOAD)
        runs = []
        for _ in range(extent.runs + 1):
            fresh = bench.fresh(mix) if operation is Operation.UPLOAD else mix
            runs.append(await bench.closed(fresh, extent.count, extent.connections))
        check_sound(runs)
        found.append(_cost(operation, runs[1:]))
    return Costs(bench.engine, cores, tuple(found))


def _cost(operation: Operation, runs: Sequence[Measured]) -> Cost:
    messages = sum(run.messages for run in runs)

    def each(total: float) -> float:
        return round(total / messages, 3)

    service = [run.usage.cpu * 1000 / run.messages for run in runs if run.usage is not None]
    database = [run.database.cpu * 1000 / run.messages for run in runs if run.database is not None]
    written = sum(_written(run) for run in runs)
    return Cost(
        operation.value,
        round(median(service), 3),
        round(median(database), 3) if database else 0.0,
        each(sum(run.samples.sent_bytes[operation] for run in runs)),
        each(sum(run.samples.received_bytes[operation] + run.delivered for run in runs)),
        each(sum(max(0, run.grown or 0) for run in runs)),
        each(written),
        round(median(run.load_cpu * 1000 / run.messages for run in runs), 3),
    )


def _written(run: Measured) -> int:
    """Return the bytes written towards disks: by a database its log and, sooner or later, what it grew by."""
    if run.logged is not None:
        return run.logged + max(0, run.grown or 0)
    return run.usage.written if run.usage is not None else 0


def read_costs(data: bytes) -> Costs:
    """Read costs that were measured before. Raises: `ConfigurationError`."""
    try:
        return msgspec.json.decode(data, type=_Report).costs
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"costs: this is not what bench plan --json prints ({error})") from None


class _Report(msgspec.Struct):
    costs: Costs


def costs_form(costs: Costs) -> Any:
    """Return costs as they are printed, and read again."""
    return msgspec.to_builtins(costs)
