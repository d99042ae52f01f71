"""PostgreSQL fails over to its standby under clients at work: a service with both addresses goes on by itself."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from faults.clients import Plan
from faults.comparing import HANGS
from faults.crash import Work, trial
from faults.standby import standby_of, two_addresses
from faults.store_trial import SteadyService
from journeys.runner import new_data
from postgres import PostgresServer, postgres_server

LOST: dict[str, Callable[[PostgresServer], None]] = {
    "killed": lambda primary: primary.kill(),
    "frozen": lambda primary: primary.freeze(),
}


@pytest.mark.parametrize("how", LOST)
async def test_nothing_acknowledged_is_lost_when_the_standby_takes_over(how: str, pki: Path, tmp_path: Path) -> None:
    """The primary is lost at work, the standby promoted a moment later. Spec: engine.md "leader lost"."""
    with postgres_server(durable=True) as primary, standby_of(primary) as standby:
        await asyncio.to_thread(primary.create_database, "service")
        data = new_data(tmp_path / "data", pki, store=two_addresses(primary, standby, "service"))
        service = SteadyService(data, {})

        async def trouble(work: Work) -> None:
            await work.reached(work.messages // 3)
            await asyncio.to_thread(LOST[how], primary)
            await asyncio.sleep(1.0)  # as long as whoever watches over both needs to be sure
            await asyncio.to_thread(standby.sql, "SELECT pg_promote()")
            service.disturbances[f"primary {how}"] += 1

        plan = Plan(24, 1, reliable_clients=3, polling_clients=2, seed=2026, consents=30, viewers=1)
        try:
            report = await trial(plan, data, service, trouble)
        finally:
            # It never comes back as a second primary: that is for whoever promotes to see to.
            if primary.pids():
                primary.kill()
    assert report.faults == [], "\n".join((*report.lines(), *report.faults[:20]))
    assert report.put_off > 0
    assert report.messages == report.acknowledged == report.repeated_at_the_end
    assert (report.missing, report.twice, report.stale) == (set(), set(), 0)
    assert report.longest < HANGS
