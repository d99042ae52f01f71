"""The crash test in full, as a command: ``make soak``.

    python -m faults.soak [--store sqlite|postgresql] [--workers N] [--uploads N] [--kills K] [--reliable C]
                          [--polling C] [--viewing C] [--seed S] [--json]

On SQLite the service is killed again and again; with several workers one of them is, or all are replaced, in turn. On
PostgreSQL its store suffers from all that `faults.ailing_store` knows as well, and the line to it breaks in the middle
of commits.

The figures go to docs/reliability.md with date and machine.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from fault_proxy import FaultProxy
from faults.ailing_store import ILLNESSES, AilingStore
from faults.clients import Plan
from faults.comparing import Report
from faults.crash import crash
from faults.store_trial import KILLED, WORKER_KILLED, WORKERS_RENEWED, suffer
from journeys.runner import new_data
from openscr.access.pki import make_demo_certificates
from postgres import PostgresServer, postgres_server


def say(text: str) -> None:
    """Tell how far it is."""
    print(text, file=sys.stderr)


async def on_postgres(plan: Plan, folder: Path, server: PostgresServer, workers: int) -> Report:
    """Run the plan on a store of a server that is made to suffer."""
    await asyncio.to_thread(server.create_database, "service")
    troubles = [*ILLNESSES, KILLED, *((WORKER_KILLED, WORKERS_RENEWED) if workers > 1 else ())]
    async with FaultProxy(server.port) as proxy:
        store = AilingStore(server, proxy, "service")
        data = new_data(folder / "data", folder / "pki", store=store.own_url)
        return await suffer(plan, data, store, troubles, say, **_settings(workers))


def _settings(workers: int) -> dict[str, object]:
    return {"workers": workers} if workers > 1 else {}


def main() -> None:
    """Run the crash test and print its report; exit with 1 when anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="make soak", description="what can go wrong during uploads, and what is left")
    parser.add_argument("--store", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20, help="how often something goes wrong")
    parser.add_argument("--reliable", type=int, default=5, help="clients over reliable messaging")
    parser.add_argument("--polling", type=int, default=3, help="clients over the polling channel")
    parser.add_argument("--viewing", type=int, default=2, help="clients that look at records meanwhile")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--json", action="store_true", help="print the report for programs")
    given = parser.parse_args()
    plan = Plan(
        given.uploads, given.kills, given.reliable, given.polling, given.seed, consents=30, viewers=given.viewing
    )
    with tempfile.TemporaryDirectory(prefix="openscr-soak-") as name:
        folder = Path(name)
        make_demo_certificates(folder / "pki")
        if given.store == "postgresql":
            with postgres_server(durable=True) as server:
                report = asyncio.run(on_postgres(plan, folder, server, given.workers))
        else:
            data = new_data(folder / "data", folder / "pki")
            report = asyncio.run(crash(plan, data, say, **_settings(given.workers)))
    print(json.dumps(asdict(report), indent=2, default=sorted) if given.json else "\n".join(report.lines()))
    for fault in report.faults:
        print(f"  {fault}", file=sys.stderr)
    raise SystemExit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
