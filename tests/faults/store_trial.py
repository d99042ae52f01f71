"""Clients at work while the store under their service fails: the crash test's comparison, with other troubles.

See `faults.crash.trial` for what is compared at the end.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from faults.ailing_store import ILLNESSES, AilingStore
from faults.clients import Plan
from faults.comparing import Report
from faults.crash import SETTINGS, Work, logged, trial
from journeys.runner import Server

SHORTEST, LONGEST = 0.3, 4.0
"""Seconds for which the store ails."""


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


def limits_of(plan: Plan, dice: random.Random) -> list[int]:
    """Return after how many acknowledgements something goes wrong; the last tenth is left alone."""
    return sorted(dice.sample(range(1, max(plan.disturbances + 1, plan.uploads * 9 // 10)), plan.disturbances))


async def suffer(
    plan: Plan,
    data: Path,
    store: AilingStore,
    illnesses: Sequence[str] = tuple(ILLNESSES),
    progress: Callable[[str], None] = lambda _: None,
    **settings: object,
) -> Report:
    """Let the store suffer from one illness after the other, as often as the plan says; return the report."""
    dice = random.Random(plan.seed + 3)
    service = SteadyService(data, {"store": store.url, **settings})

    async def trouble(work: Work) -> None:
        for count, limit in enumerate(limits_of(plan, dice)):
            await work.reached(limit)
            name = illnesses[count % len(illnesses)]
            async with ILLNESSES[name](store):
                await asyncio.sleep(dice.uniform(SHORTEST, LONGEST))
            service.disturbances[name.replace("_", " ")] += 1
            progress(f"{name}, {work.done} of {work.messages} acknowledged")

    return await trial(plan, data, service, trouble)
