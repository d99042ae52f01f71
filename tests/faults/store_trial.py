"""Clients at work while their service and the store under it fail: the crash test's comparison, with other troubles.

See `faults.crash.trial` for what is compared at the end.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from fault_proxy import AtCommit
from faults.ailing_store import ILLNESSES, AilingStore
from faults.clients import Plan
from faults.comparing import Report
from faults.crash import SETTINGS, MortalService, Subject, Work, limits_of, logged, trial
from journeys.runner import Server

SHORTEST, LONGEST = 0.3, 4.0
"""Seconds for which the store ails."""

KILLED = "service killed"
WORKER_KILLED = "worker killed"
WORKERS_RENEWED = "workers renewed"


class SteadyService:
    """A service that stays, whatever happens to its store."""

    def __init__(self, data: Path, settings: dict[str, object]) -> None:
        self._data = data
        self._settings = SETTINGS | settings
        self._server: Server | None = None
        self.disturbances: Counter[str] = Counter()

    async def begin(self) -> None:
        """Start it."""
        self._server = await asyncio.to_thread(Server.start, self._data, **self._settings)

    async def stop(self) -> int:
        """End it as its operator would; return its exit code."""
        assert self._server is not None
        return await asyncio.to_thread(self._server.stop)

    async def address(self) -> tuple[str, int]:
        """Return where it answers."""
        assert self._server is not None
        return self._server.spine, 0

    def logged(self, outcome: str) -> int:
        """Return how often its log says that a request ended so."""
        return logged(self._data, outcome)


async def suffer(
    plan: Plan,
    data: Path,
    store: AilingStore,
    troubles: Sequence[str] = tuple(ILLNESSES),
    progress: Callable[[str], None] = lambda _: None,
    **settings: object,
) -> Report:
    """Let one trouble after the other happen, as often as the plan says; return the report.

    A trouble is an illness of the store, `KILLED`, `WORKER_KILLED` or `WORKERS_RENEWED`. Between any two of them the
    line to the store breaks at the commit of some message.
    """
    dice = random.Random(plan.seed + 3)
    given = {"store": store.url, **settings}
    mortal = (
        MortalService(data, random.Random(plan.seed + 1), given)
        if {KILLED, WORKER_KILLED, WORKERS_RENEWED} & set(troubles)
        else None
    )
    service: Subject = mortal or SteadyService(data, given)
    breaks = list(AtCommit)

    async def trouble(work: Work) -> None:
        for count, limit in enumerate(limits_of(plan, dice)):
            await work.reached(limit)
            broken = breaks[count % len(breaks)]
            struck = store.proxy.strike(broken, statement="INSERT INTO receipt")
            await asyncio.wait([asyncio.create_task(struck.wait())], timeout=LONGEST)
            if struck.is_set():
                service.disturbances[f"commit: {broken.name.lower().replace('_', ' ')}"] += 1
            name = troubles[count % len(troubles)]
            if name == KILLED and mortal is not None:
                await mortal.die()
            elif name == WORKER_KILLED and mortal is not None:
                await mortal.lose_worker()
            elif name == WORKERS_RENEWED and mortal is not None:
                await mortal.renew_workers()
            else:
                async with ILLNESSES[name](store):
                    await asyncio.sleep(dice.uniform(SHORTEST, LONGEST))
                service.disturbances[f"store {name.replace('_', ' ')}"] += 1
            progress(f"{name}, {work.done} of {work.messages} acknowledged")

    return await trial(plan, data, service, trouble)
