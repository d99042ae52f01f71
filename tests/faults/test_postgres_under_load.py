"""PostgreSQL fails again and again under clients at work; ``make soak ARGS="--store postgresql"`` is the large one."""

import asyncio
from pathlib import Path

from fault_proxy import FaultProxy
from faults.ailing_store import AilingStore
from faults.clients import Plan
from faults.comparing import HANGS
from faults.crash import AT_WORK
from faults.store_trial import KILLED, suffer
from journeys.runner import new_data
from postgres import postgres_server


async def test_uploads_that_were_acknowledged_survive_whatever_the_store_suffers(pki: Path, tmp_path: Path) -> None:
    """Acknowledged and missing 0, done twice 0, answered later than 5 s 0. Spec: 00 §7, 90 §6.1, engine.md."""
    plan = Plan(45, 5, reliable_clients=3, polling_clients=2, seed=20261123, consents=30, viewers=1)
    with postgres_server(durable=True) as server:
        await asyncio.to_thread(server.create_database, "service")
        async with FaultProxy(server.port) as proxy:
            store = AilingStore(server, proxy, "service")
            data = new_data(tmp_path / "data", pki, store=store.own_url)
            report = await suffer(plan, data, store, ("killed", "frozen", KILLED, "silent", "read_only"))
    assert report.faults == [], "\n".join((*report.lines(), *report.faults[:20]))
    assert sum(often for what, often in report.disturbances.items() if what.startswith("store ")) == 4
    assert report.disturbances[AT_WORK] == 1
    assert sum(often for what, often in report.disturbances.items() if what.startswith("commit: ")) > 0
    # The clients noticed.
    assert report.put_off > 0
    assert report.attempts > report.messages
    assert report.messages == report.acknowledged == report.audit_rows == report.repeated_at_the_end
    assert report.application_acknowledgements + report.polled == report.uploads == plan.uploads
    assert (report.missing, report.twice, report.stale) == (set(), set(), 0)
    assert report.longest < HANGS
