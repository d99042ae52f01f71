"""One process of the load: sends requests when they are due, whatever became of those before, and keeps the times.

Invariant: a latency is counted from the instant at which the request was due, so a service that stalls is charged for
everybody who would have come meanwhile (no co-ordinated omission).

Spec: 90 §6.2, §7.
"""

import asyncio
import random
import time
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import uvloop

from openscr.bench.connections import Answer, Connections
from openscr.bench.messages import Composer, Operation
from openscr.bench.mix import Mix, Stream
from openscr.bench.summaries import documents_of
from openscr.client.connection import Tls
from openscr.client.profile import Profile
from openscr.errors import DeliveryError

Arrivals = Literal["poisson", "fixed"]

_SHED: Final = (429, 503)


@dataclass(frozen=True, slots=True)
class Plan:
    """What one process does: ``mix`` to the service at ``at``, as ``profile``.

    With a ``rate`` requests are due at that many a second from ``starts_at`` (`time.monotonic`) on, for ``seconds``;
    without one ``count`` are sent, the next one as soon as one of ``connections`` is free.
    """

    at: str
    tls: Tls | None
    profile: Profile
    mix: Mix
    connections: int
    seed: int
    rate: float = 0.0
    seconds: float = 0.0
    starts_at: float = 0.0
    arrivals: Arrivals = "poisson"
    count: int = 0


@dataclass(slots=True)
class Samples:
    """What was seen: seconds from due to answered by operation, ids of uploads with the instant they were due.

    ``failures`` are counted by what was wrong, ``shed`` are requests that the service said it had no room for;
    ``late`` is by how much the generator itself was late: large, it measures itself. ``cpu`` is its own CPU time.
    """

    latencies: "dict[Operation, array[float]]" = field(default_factory=dict)
    uploads: dict[str, float] = field(default_factory=dict)
    failures: Counter[str] = field(default_factory=Counter)
    shed: int = 0
    late: "array[float]" = field(default_factory=lambda: array("d"))
    sent_bytes: Counter[Operation] = field(default_factory=Counter)
    received_bytes: Counter[Operation] = field(default_factory=Counter)
    seconds: float = 0.0
    cpu: float = 0.0

    @property
    def answered(self) -> int:
        """How many requests got the answer that they should."""
        return sum(len(values) for values in self.latencies.values())

    def add(self, other: "Samples") -> None:
        """Take what another process saw at the same time."""
        for operation, values in other.latencies.items():
            self.latencies.setdefault(operation, array("d")).extend(values)
        self.uploads |= other.uploads
        self.failures += other.failures
        self.shed += other.shed
        self.late.extend(other.late)
        self.sent_bytes += other.sent_bytes
        self.received_bytes += other.received_bytes
        self.seconds = max(self.seconds, other.seconds)
        self.cpu += other.cpu


def generate(plan: Plan) -> Samples:
    """Carry out a plan in this process. Raises: `ConfigurationError`."""
    return uvloop.run(_Generator(plan).run())


class _Generator:
    """A plan being carried out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        composer = Composer(plan.profile, plan.at, documents_of(mixed=plan.mix.mixed_sizes))
        self._stream = Stream(plan.mix, composer, plan.seed)
        self._samples = Samples()
        self._under_way: set[asyncio.Task[None]] = set()

    async def run(self) -> Samples:
        plan, samples = self._plan, self._samples
        self._connections = Connections(plan.at, plan.tls.context() if plan.tls is not None else None, plan.connections)
        cpu = time.process_time()
        started = time.monotonic()
        if plan.rate:
            started = await self._open()
        else:
            left = iter(range(plan.count))
            await asyncio.gather(*(self._closed(left) for _ in range(plan.connections)))
        samples.seconds = time.monotonic() - started
        samples.cpu = time.process_time() - cpu
        self._connections.close()
        return samples

    async def _closed(self, left: Iterator[int]) -> None:
        for _ in left:
            await self._send(time.monotonic())

    async def _open(self) -> float:
        plan = self._plan
        chance = random.Random(plan.seed + 1)  # noqa: S311 a load is not a secret
        starts = due = plan.starts_at or time.monotonic() + 0.05
        while True:
            due += chance.expovariate(plan.rate) if plan.arrivals == "poisson" else 1 / plan.rate
            if due >= starts + plan.seconds:
                break
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            else:
                # Those whose answers are there should not wait for those that are still to be sent.
                await asyncio.sleep(0)
            self._samples.late.append(max(0.0, time.monotonic() - due))
            task = asyncio.create_task(self._send(due))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        await asyncio.gather(*self._under_way)
        return starts

    async def _send(self, due: float) -> None:
        samples, message = self._samples, self._stream.next()
        operation = message.operation
        try:
            answer = await self._connections.send(message.wire)
        except DeliveryError as error:
            samples.failures[f"{operation}: {error.diagnostics}"] += 1
            return
        answered = time.monotonic()
        samples.sent_bytes[operation] += len(message.wire)
        samples.received_bytes[operation] += len(answer.body)
        wrong = fault_of(operation, answer)
        if wrong is None:
            samples.latencies.setdefault(operation, array("d")).append(answered - due)
            if operation is Operation.UPLOAD:
                samples.uploads.setdefault(message.message_id, due)
        elif is_shed(answer):
            samples.shed += 1
        else:
            samples.failures[f"{operation}: {wrong}"] += 1


def fault_of(operation: Operation, answer: Answer) -> str | None:
    """Return what is wrong with an answer, none when it is what it should be. Spec: 40 §4.3, §5.4; 60 §8.2."""
    if operation is Operation.UPLOAD:
        sound = answer.status == 202 and b"Acknowledgment" in answer.body
    elif operation is Operation.ALERT:
        sound = answer.status == 200
    else:
        sound = answer.status == 200 and b'typeCode="AA"' in answer.body
    return None if sound else f"HTTP {answer.status}"


def is_shed(answer: Answer) -> bool:
    """Whether a service said that it has no room now: 503, 429, or SOAP fault 200. Spec: 40 §6.4, 90 §6.3."""
    return answer.status in _SHED or (answer.status == 500 and b">200<" in answer.body)
