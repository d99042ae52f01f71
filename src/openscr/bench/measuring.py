"""Measurements of one service: what an operation costs it, how much it bears, how long it takes under a steady load.

Spec: 90 §6.2, §6.4, §7.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import process_time
from typing import Final

from openscr.bench.figures import Figures, latencies, percentile
from openscr.bench.generator import Arrivals, Plan, Samples
from openscr.bench.generators import Generators
from openscr.bench.messages import Operation
from openscr.bench.mix import Mix, first_uploads
from openscr.bench.patients import LARGEST
from openscr.bench.processes import Usage, usage_of
from openscr.bench.service import Subject
from openscr.bench.stores import is_postgresql, logged_of, size_of
from openscr.errors import DeliveryError

CONNECTIONS: Final = 16
"""Kept connections of a closed loop."""

OPEN_CONNECTIONS: Final = 256
"""Connections that a load may open when the service does not keep up."""

ACKNOWLEDGED: Final = 15.0
"""Seconds without an acknowledgement after which no more are expected."""

LATE: Final = 0.02
"""By how many seconds a generator may be late, in 99 of 100 cases, before it measures itself."""

_FRESH: Final = 1_000_000
"""The last positions, which are left to one measurement's fresh patients."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One run: what was seen, what the service used for it, and by how much the store grew.

    ``usage`` is the service's, none when nobody knows its processes, ``database`` that of a database beside it, which
    wrote so many bytes to its log (``logged``), and ``load_cpu`` the CPU seconds of the load itself.
    ``unacknowledged`` are uploads that got no application acknowledgement, ``answers`` the seconds until the others had
    theirs, ``delivered`` the bytes of all of them.
    """

    samples: Samples
    usage: Usage | None
    database: Usage | None
    load_cpu: float
    grown: int | None
    logged: int | None
    unacknowledged: int
    answers: tuple[float, ...]
    delivered: int

    @property
    def messages(self) -> int:
        """How many requests got the answer that they should."""
        return self.samples.answered

    @property
    def cost(self) -> float | None:
        """CPU milliseconds for each message, of the service and of its database."""
        if self.usage is None or not self.messages:
            return None
        return (self.usage.cpu + (self.database.cpu if self.database is not None else 0.0)) * 1000 / self.messages

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.samples.seconds if self.samples.seconds else 0.0

    @property
    def errors(self) -> dict[str, int]:
        """What went wrong, and how often."""
        lost = {"uploads without an application acknowledgement": self.unacknowledged} if self.unacknowledged else {}
        return dict(self.samples.failures) | lost

    @property
    def lateness(self) -> float:
        """By how many seconds the load itself was late, in 99 of 100 cases."""
        return percentile(sorted(self.samples.late), 0.99) if self.samples.late else 0.0


class Bench:
    """A service and the processes that ask it."""

    def __init__(self, subject: Subject, senders: Generators, *, seed: int = 1) -> None:
        self.subject = subject
        self.senders = senders
        self._seed = seed - 1
        # Another run on the same store should find nobody's record where it wants to put a first one.
        self._fresh = secrets.randbelow(LARGEST - 2 * _FRESH) + _FRESH

    @property
    def engine(self) -> str | None:
        """Name of the store's engine, where it is known."""
        if not self.subject.store:
            return None
        return "PostgreSQL" if is_postgresql(self.subject.store) else "SQLite"

    def begin_with(self, seed: int) -> None:
        """Let the next measurement draw its requests by this seed, and those after it by the following ones."""
        self._seed = seed - 1

    def fresh(self, mix: Mix) -> Mix:
        """Return the same load, each request for a patient of whom nothing is known."""
        return replace(mix, fresh=self._fresh)

    async def give_records(self, patients: int, *, mixed_sizes: bool) -> None:
        """Upload a first summary for each of the patients; for those who have it nothing changes."""
        run = await self.closed(first_uploads(patients, mixed_sizes=mixed_sizes), patients)
        check_sound([run])

    async def saturated(self, mix: Mix, seconds: float, connections: int = CONNECTIONS) -> Measured:
        """Return a closed loop of about so many seconds, after a shorter one to warm up."""
        warm = await self.closed(mix, 300, connections)
        check_sound([warm])
        if mix.fresh is not None:
            mix = self.fresh(mix)
        return await self.closed(mix, max(300, int(warm.rate * seconds)), connections)

    async def closed(self, mix: Mix, count: int, connections: int = CONNECTIONS) -> Measured:
        """Send ``count`` requests, each as soon as a connection is free: as fast as the service can."""
        return await self._measure(mix, connections, count=count)

    async def open(
        self, mix: Mix, rate: float, seconds: float, arrivals: Arrivals = "poisson", connections: int = OPEN_CONNECTIONS
    ) -> Measured:
        """Send at ``rate`` a second, whatever the answers do."""
        return await self._measure(mix, connections, rate=rate, seconds=seconds, arrivals=arrivals)

    async def _measure(
        self,
        mix: Mix,
        connections: int,
        *,
        count: int = 0,
        rate: float = 0.0,
        seconds: float = 0.0,
        arrivals: Arrivals = "poisson",
    ) -> Measured:
        subject = self.subject
        self._seed += 1
        plan = Plan(
            subject.at,
            subject.tls,
            subject.profile,
            mix,
            connections,
            self._seed,
            rate=rate,
            seconds=seconds,
            arrivals=arrivals,
            count=count,
        )
        size = await size_of(subject.store) if subject.store else None
        logged = await logged_of(subject.store) if subject.store else None
        before, database = usage_of(subject.pids), usage_of(subject.database)
        endpoint, own = subject.endpoint, process_time()
        delivered = -endpoint.bytes if endpoint is not None else 0
        samples = await self.senders.run(plan)
        if mix.fresh is not None:
            self._fresh += max(count, int(rate * seconds * 1.2)) + 1000
        missing, answers = 0, tuple[float, ...]()
        if endpoint is not None and samples.uploads:
            missing = await endpoint.wait_for(samples.uploads, ACKNOWLEDGED)
            received = endpoint.received
            answers = tuple(received[id] - due for id, due in samples.uploads.items() if id in received)
            received.clear()
        delivered += endpoint.bytes if endpoint is not None else 0
        usage, load_cpu = usage_of(subject.pids).since(before), process_time() - own + samples.cpu
        return Measured(
            samples,
            usage if subject.pids else None,
            usage_of(subject.database).since(database) if subject.database else None,
            load_cpu,
            await size_of(subject.store) - size if size is not None else None,
            (await logged_of(subject.store) or 0) - logged if logged is not None else None,
            missing,
            answers,
            delivered,
        )


def figures_of(name: str, engine: str | None, runs: list[Measured], steady: Measured | None = None) -> Figures:
    """Return the figures of an operation: the median of several runs, latencies from a ``steady`` load. 90 §6.4.

    Raises: `DeliveryError` when the runs were not answered as they should: their figures would say nothing.
    """
    check_sound((*runs, *((steady,) if steady is not None else ())))
    costs = [run.cost for run in runs if run.cost is not None]
    uploads = sum(len(run.samples.uploads) for run in runs)
    grown = sum(run.grown for run in runs if run.grown is not None)
    timed = steady or runs[-1]
    return Figures(
        name,
        engine,
        sum(run.messages for run in runs),
        round(sum(run.samples.seconds for run in runs), 1),
        round(median(run.rate for run in runs), 1),
        server_cpu_ms_per_message=round(median(costs), 3) if costs else None,
        latency_ms=latencies([each for values in timed.samples.latencies.values() for each in values]),
        rss_mb=_memory(runs[-1]),
        bytes_per_record=round(grown / uploads) if uploads and runs[0].grown is not None else None,
    )


def check_sound(runs: Sequence[Measured]) -> None:
    """Raise `DeliveryError` when something went wrong in one of the runs."""
    for run in runs:
        for what, count in run.errors.items():
            raise DeliveryError(f"{count} requests failed: {what}")


def figures_of_load(run: Measured, engine: str | None) -> list[Figures]:
    """Return the figures of a steady load: of all of it, of each operation, of the application responses."""
    uploads = len(run.samples.uploads)
    whole = Figures(
        "mix",
        engine,
        run.messages,
        round(run.samples.seconds, 1),
        round(run.rate, 1),
        server_cpu_ms_per_message=round(run.cost, 3) if run.cost is not None else None,
        latency_ms=latencies([each for values in run.samples.latencies.values() for each in values]),
        rss_mb=_memory(run),
        bytes_per_record=round(run.grown / uploads) if uploads and run.grown is not None else None,
    )
    parts = ((each.value, run.samples.latencies[each]) for each in Operation if each in run.samples.latencies)
    found = [whole, *(_part(name, values, run, engine) for name, values in parts)]
    if run.answers:
        found.append(_part("application response", run.answers, run, engine))
    return found


def _part(name: str, values: Sequence[float], run: Measured, engine: str | None) -> Figures:
    lasted = run.samples.seconds
    return Figures(
        name, engine, len(values), round(lasted, 1), round(len(values) / lasted, 1), latency_ms=latencies(values)
    )


def _memory(run: Measured) -> float | None:
    return round(run.usage.memory, 1) if run.usage is not None else None
