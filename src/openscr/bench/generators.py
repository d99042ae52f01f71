"""Several processes of the load at once: one alone may be slower than what it measures.

Spec: 90 §6.2, §6.4 "the load tool's own CPU is never counted".
"""

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Final

from openscr.bench.generator import Plan, Samples, generate
from openscr.bench.summaries import documents_of
from openscr.errors import DeliveryError, OpenSCRError

LEAD: Final = 0.3
"""Seconds between the moment when all are told and the first request."""

_APART: Final = 100_000
"""Positions of fresh patients that one process has to itself when nobody knows how many it will need."""


@dataclass(frozen=True, slots=True)
class _Sender:
    process: "multiprocessing.process.BaseProcess"
    line: "Connection[Plan | None, Samples | str]"


class Generators:
    """Processes that wait for plans; use `generators`."""

    def __init__(self, senders: list[_Sender]) -> None:
        self._senders = senders

    async def run(self, plan: Plan) -> Samples:
        """Let all of them carry out a plan together, each its share. Raises: `DeliveryError`."""
        many = len(self._senders)
        starts = time.monotonic() + LEAD
        fresh = plan.mix.fresh
        for index, sender in enumerate(self._senders):
            count = plan.count // many + (index < plan.count % many)
            share = replace(
                plan,
                # What cannot be changed cannot be handed to another process either.
                profile=replace(plan.profile, routes=dict(plan.profile.routes)),
                mix=replace(
                    plan.mix,
                    shares=dict(plan.mix.shares),
                    fresh=fresh,
                ),
                rate=plan.rate / many,
                count=count,
                connections=max(1, plan.connections // many),
                seed=plan.seed * 1000 + index,
                starts_at=starts,
            )
            sender.line.send(share)
            if fresh is not None:
                fresh += count or _APART
        try:
            found = await asyncio.gather(*(asyncio.to_thread(_received, sender) for sender in self._senders))
        except asyncio.CancelledError:
            # The threads that wait for them would be waited for.
            for sender in self._senders:
                sender.process.terminate()
            raise
        for more in found[1:]:
            found[0].add(more)
        return found[0]


@contextmanager
def generators(count: int, *, mixed_sizes: bool) -> Iterator[Generators]:
    """Give ``count`` processes, ready to send, while the block lasts."""
    context = multiprocessing.get_context("spawn")
    senders: list[_Sender] = []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, mixed_sizes), daemon=True)
            process.start()
            theirs.close()
            senders.append(_Sender(process, ours))
        for sender in senders:
            # Its corpus stands ready.
            sender.line.recv()
        yield Generators(senders)
    finally:
        for sender in senders:
            with contextlib.suppress(OSError):
                sender.line.send(None)
            sender.process.join(5)
            if sender.process.is_alive():
                sender.process.terminate()
            sender.line.close()


def _received(sender: _Sender) -> Samples:
    try:
        found = sender.line.recv()
    except EOFError:
        raise DeliveryError("a process of the load has ended before its time") from None
    if isinstance(found, str):
        raise DeliveryError(found)
    return found


def _work(line: "Connection[Samples | str, Plan | None]", mixed_sizes: bool) -> None:
    """Carry out plans until there are no more; the life of one process."""
    with contextlib.suppress(KeyboardInterrupt, EOFError):
        documents_of(mixed=mixed_sizes)
        line.send("ready")
        while (plan := line.recv()) is not None:
            try:
                line.send(generate(plan))
            except OpenSCRError as error:
                line.send(error.diagnostics)
            except Exception as error:  # noqa: BLE001 whoever waits for the samples must hear of it
                line.send(f"a process of the load has failed ({type(error).__name__})")
