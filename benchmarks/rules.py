"""Measures what the rules cost: the same uploads to a service with all of them and to one without any, in turns.

    python -m benchmarks.rules [--count N] [--runs R]

The share that the issue allows is 1.15. Spec: 90 §6.4; figures go to docs/performance.md with date and machine.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.load import ClientEndpoint, Load
from benchmarks.messages import Uploads
from benchmarks.service import Process, accepted, send_answers_to, serve_command
from openscr.testbench.world import PRACTICE_PARTY

CONNECTIONS = 16


async def _main(count: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        endpoint = ClientEndpoint(PRACTICE_PARTY)
        await endpoint.start()
        services = {}
        for name, module in (("with rules", "openscr"), ("without rules", "benchmarks.unruled")):
            data = Path(folder) / name.replace(" ", "-")
            _, _, _, *arguments = serve_command(data, "warning")
            command = (sys.executable, "-m", module, *arguments)
            Process(*command).stop()
            await send_answers_to(data, endpoint.url)
            process = Process(*command)
            services[name] = (process, Load(process.urls[0], None, CONNECTIONS), Uploads(mixed=False, start=2000))
        costs: dict[str, list[float]] = {name: [] for name in services}
        for run in range(runs + 1):
            for name, (process, load, uploads) in services.items():
                requests = [uploads.next() for _ in range(count)]
                before = process.cpu()
                await load.closed(requests, accepted)
                await endpoint.wait_for([request.event_id for request in requests])
                if run:
                    costs[name].append((process.cpu() - before) * 1000 / count)
        for process, load, _ in services.values():
            await load.close()
            process.stop()
        await endpoint.stop()
    medians = {name: statistics.median(values) for name, values in costs.items()}
    for name, cost in medians.items():
        print(f"{name:<14} {cost:.3f} ms CPU an upload")
    print(f"ratio          {medians['with rules'] / medians['without rules']:.3f}")
    print(
        f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, {runs} runs of {count} in turns"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rules", description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.count, arguments.runs))
