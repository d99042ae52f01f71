"""The crash test in full, as a command: ``make soak``.

    python -m faults.soak [--uploads N] [--kills K] [--reliable C] [--polling C] [--seed S] [--json]

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

from faults.clients import Plan
from faults.crash import crash
from journeys.runner import new_data
from openscr.access.pki import make_demo_certificates


def main() -> None:
    """Run the crash test and print its report; exit with 1 when anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="make soak", description="kill -9 during uploads, and what is left after it")
    parser.add_argument("--uploads", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--reliable", type=int, default=5, help="clients over reliable messaging")
    parser.add_argument("--polling", type=int, default=3, help="clients over the polling channel")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--json", action="store_true", help="print the report for programs")
    given = parser.parse_args()
    plan = Plan(given.uploads, given.kills, given.reliable, given.polling, given.seed, consents=30, viewers=2)
    with tempfile.TemporaryDirectory(prefix="openscr-soak-") as folder:
        make_demo_certificates(Path(folder) / "pki")
        data = new_data(Path(folder) / "data", Path(folder) / "pki")
        report = asyncio.run(crash(plan, data, lambda said: print(said, file=sys.stderr)))
    print(json.dumps(asdict(report), indent=2) if given.json else "\n".join(report.lines()))
    for fault in report.faults:
        print(f"  {fault}", file=sys.stderr)
    raise SystemExit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
