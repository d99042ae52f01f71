"""Measures how a backlog of two hours drains beside normal load, and what that load notices of it.

    python -m benchmarks.backlog [--messages N] [--rate R] [--normal SHARE] [--senders C]
        [--receivers-down S] [--no-tls]

Normal load is the busiest hour of 90 §4 at an open rate: latencies count from the instants at which requests were due.
It runs alone first, then beside the backlog: N uploads of those who were cut off, at R a second (0: from C connections
as fast as they can), each again until it is acknowledged. With ``--receivers-down`` the practices' endpoint is dead for
the first S seconds, and takes what waits for it after that; contracts give a message up after five minutes.

The whole of it is ``--messages 260000 --rate 72``, which takes an hour. Figures go to docs/performance.md with date and
machine. Spec: 90 §4, §6.2.
"""

import argparse
import asyncio
import multiprocessing
import os
import platform
import time
from collections import Counter
from collections.abc import Awaitable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from itertools import count

import uvloop

from openscr.bench.connections import Connections
from openscr.bench.endpoint import Endpoint
from openscr.bench.figures import latencies
from openscr.bench.generator import Plan, Samples, fault_of, is_shed
from openscr.bench.generators import Generators, generators
from openscr.bench.messages import Composer, Message, Operation
from openscr.bench.mix import Mix, alone
from openscr.bench.processes import usage_of
from openscr.bench.service import Subject, Wanted, own_service
from openscr.bench.summaries import documents_of
from openscr.cli.bench_subject import run_measurement
from openscr.client.connection import Tls
from openscr.client.profile import Profile
from openscr.errors import DeliveryError
from openscr.identifiers import mint_uuid

UPLOADS = 36.0
ASKED = {
    Operation.CONSENT_GET: 38.0,
    Operation.CONSENT_HAS: 1.8,
    Operation.LIST: 1.8,
    Operation.EVENT: 1.8,
    Operation.CONSENT_SET: 0.6,
    Operation.ALERT: 0.8,
}
"""Requests a second. Spec: 90 §4."""

KNOWN = 10_000
"""Patients that are asked for. Those of uploads come after them, each with one: versions have a cost of their own."""

APART = 1_000_000
"""Where the patients of the backlog begin."""

ALONE_SECONDS = 30.0
PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before a refused message of the backlog is sent again."""


@dataclass(frozen=True, slots=True)
class Task:
    """What the process of the backlog does."""

    at: str
    tls: Tls | None
    profile: Profile
    messages: int
    rate: float
    senders: int


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the backlog: ids of all messages, how many attempts they took, and the time in all."""

    ids: tuple[str, ...]
    attempts: Counter[int]
    broken: int
    seconds: float
    latencies: tuple[float, ...]


class Backlog:
    """The messages that have waited, on their way."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._composer = Composer(task.profile, task.at, documents_of(mixed=True))
        self._attempts: Counter[int] = Counter()
        self._broken = 0
        self._ids: list[str] = []
        self._latencies: list[float] = []

    async def drain(self) -> Drained:
        """Send all of it until it is acknowledged."""
        task = self._task
        tls = task.tls.context() if task.tls is not None else None
        self._connections = Connections(task.at, tls, task.senders)
        started = time.monotonic()
        if task.rate:
            under_way: set[asyncio.Task[None]] = set()
            for number in range(task.messages):
                due = started + number / task.rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                sending = asyncio.create_task(self._persist(number, due))
                under_way.add(sending)
                sending.add_done_callback(under_way.discard)
            await asyncio.gather(*under_way)
        else:
            numbers = iter(range(task.messages))

            async def sender() -> None:
                for number in numbers:
                    await self._persist(number, time.monotonic())

            await asyncio.gather(*(sender() for _ in range(task.senders)))
        seconds = time.monotonic() - started
        self._connections.close()
        return Drained(tuple(self._ids), self._attempts, self._broken, seconds, tuple(self._latencies))

    def _message(self, number: int) -> Message:
        return self._composer.upload(APART + number, mint_uuid(), variety=number % self._composer.varieties)

    async def _persist(self, number: int, due: float) -> None:
        message = self._message(number)
        for attempt in count(1):
            try:
                answer = await self._connections.send(message.wire)
            except DeliveryError:
                self._broken += 1
            else:
                if fault_of(Operation.UPLOAD, answer) is None:
                    break
                if not is_shed(answer):
                    raise SystemExit(f"unexpected answer {answer.status} to an upload")
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES)) - 1])
        self._attempts[attempt] += 1
        self._ids.append(message.message_id)
        self._latencies.append(time.monotonic() - due)


def carry_out(task: Task) -> Drained:
    """Send a backlog from this process."""
    return uvloop.run(Backlog(task).drain())


class Normal:
    """The normal load: uploads for fresh patients from one process, everything else from another."""

    def __init__(self, subject: Subject, share: float, uploading: Generators, asking: Generators) -> None:
        self._senders = (uploading, asking)
        self._uploads = Plan(
            *(subject.at, subject.tls, subject.profile),
            *(alone(Operation.UPLOAD, KNOWN, fresh=KNOWN, mixed_sizes=True), 64, 1),
            rate=share * UPLOADS,
        )
        questions = Mix(ASKED, KNOWN)
        self._questions = replace(self._uploads, mix=questions, rate=share * sum(ASKED.values()))

    async def run(self, seconds: float) -> Samples:
        """Send for so many seconds; return what it was like."""
        plans = (self._uploads, self._questions)
        found, asked = await asyncio.gather(
            *(sender.run(replace(plan, seconds=seconds)) for sender, plan in zip(self._senders, plans, strict=True))
        )
        found.add(asked)
        fresh = (self._uploads.mix.fresh or 0) + int(2 * seconds * self._uploads.rate) + 100
        mix = replace(self._uploads.mix, fresh=fresh)
        self._uploads = replace(self._uploads, mix=mix, seed=self._uploads.seed + 1)
        self._questions = replace(self._questions, seed=self._questions.seed + 1)
        return found

    async def beside(self, backlog: Awaitable[Drained], seconds: float) -> tuple[Samples, Drained]:
        """Send until the backlog is gone, so many seconds at a time."""
        draining = asyncio.ensure_future(backlog)
        found = await self.run(seconds)
        while not draining.done():
            found.add(await self.run(seconds))
        return found, await draining


def show(title: str, samples: Samples) -> None:
    """Print what a load was like."""
    print(f"{title}: {samples.shed} refused, {sum(samples.failures.values())} failed {dict(samples.failures) or ''}")
    for operation in (Operation.UPLOAD, *ASKED):
        seconds = samples.latencies.get(operation, ())
        figures = latencies(seconds) or {}
        print(f"  {operation:<12} {len(seconds):>8,}  " + "  ".join(f"{k} {v:>8.1f} ms" for k, v in figures.items()))
    late = (latencies(samples.late) or {}).get("p99")
    print(f"  (the generators themselves were late by {late} ms at p99)", flush=True)


async def dead_for(endpoint: Endpoint, seconds: float) -> None:
    """Let an endpoint refuse whatever comes for a while, as a server whose software is down."""
    if seconds:
        taking = endpoint.take
        endpoint.take = lambda _: None  # type: ignore[method-assign]
        await asyncio.sleep(seconds)
        endpoint.take = taking  # type: ignore[method-assign]


async def _main(arguments: argparse.Namespace) -> None:
    wanted = Wanted(tls=not arguments.no_tls, workers=arguments.workers, store=arguments.store, patients=KNOWN)
    async with own_service(wanted) as subject:
        endpoint = subject.endpoint
        assert endpoint is not None
        with (
            generators(1, mixed_sizes=True) as uploading,
            generators(1, mixed_sizes=True) as asking,
            ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        ):
            normal = Normal(subject, arguments.normal, uploading, asking)
            alone_first = await normal.run(ALONE_SECONDS)
            show("normal load alone", alone_first)
            before = usage_of(subject.pids)
            profile = replace(subject.profile, routes=dict(subject.profile.routes))
            task = Task(subject.at, subject.tls, profile, arguments.messages, arguments.rate, arguments.senders)
            backlog = asyncio.get_running_loop().run_in_executor(pool, carry_out, task)
            away = asyncio.create_task(dead_for(endpoint, arguments.receivers_down))
            together, drained = await normal.beside(backlog, arguments.slice)
            after = usage_of(subject.pids)
            await away
            show("normal load beside the backlog", together)
            waited = time.monotonic()
            missing = await endpoint.wait_for([*alone_first.uploads, *together.uploads, *drained.ids], 90.0)
            waited = time.monotonic() - waited
    tries = sum(attempt * number for attempt, number in drained.attempts.items())
    rate, cpu = len(drained.ids) / drained.seconds, (after.cpu - before.cpu) / drained.seconds
    print(f"backlog: {len(drained.ids):,} uploads drained in {drained.seconds:,.1f} s, {rate:.1f} a second")
    print(f"  from due to acknowledged: {latencies(drained.latencies)} ms")
    print(f"  {tries - len(drained.ids):,} attempts more than messages, {drained.broken} without an answer")
    print(f"  the service: {cpu:.0%} of a core, {after.memory:.0f} MB")
    print(f"  application acknowledgements: {missing} missing, {waited:.1f} s after the last upload")
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, {arguments}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backlog", description=__doc__)
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--rate", type=float, default=72.0, help="a second; 0: as fast as the senders can")
    parser.add_argument("--normal", type=float, default=1.0, help="share of the busiest hour that is normal")
    parser.add_argument("--senders", type=int, default=200, help="connections of those who were cut off")
    parser.add_argument("--receivers-down", type=float, default=0.0, metavar="SECONDS")
    parser.add_argument("--slice", type=float, default=15.0, help="seconds of normal load that are looked at together")
    parser.add_argument("--store", default="")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--no-tls", action="store_true")
    run_measurement(_main(parser.parse_args()))
