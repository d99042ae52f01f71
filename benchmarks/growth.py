"""Measures whether cost and memory stay the same while the store grows: uploads, and queries at two sizes.

    python -m benchmarks.growth [--messages N] [--windows W]

One service takes N uploads of the reference message, each for another patient; after the first thousand and at the end
the queries are measured on the same patients. Spec: 90 §6.4; figures go to docs/performance.md with date and machine.
"""

import argparse
import asyncio
import os
import platform
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.load import ClientEndpoint, Load
from benchmarks.messages import Request, Uploads, consent, event, event_list
from benchmarks.service import Process, accepted, send_answers_to, serve_command
from openscr.testbench.world import PRACTICE_PARTY

CONNECTIONS = 16
QUERIES = 3000
CHUNK = 500


async def _main(messages: int, windows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        serve = serve_command(data, "warning")
        Process(*serve).stop()
        endpoint = ClientEndpoint(PRACTICE_PARTY)
        await endpoint.start()
        await send_answers_to(data, endpoint.url)
        process = Process(*serve)
        load = Load(process.urls[0], None, CONNECTIONS)
        uploads = Uploads(mixed=False, start=2000)
        known: list[Request] = []
        print(
            f"{'records':>9} {'upload ms':>10} {'resident MB':>12} {'store MB':>9} {'bytes a record':>15}", flush=True
        )
        window = messages // windows
        known += await _upload(process, load, endpoint, uploads, 1000, data, 1000)
        await _queries(process, load, known[:1000], 1000)
        done = 1000
        while done < messages:
            count = min(window, messages - done)
            await _upload(process, load, endpoint, uploads, count, data, done + count)
            done += count
        await _queries(process, load, known[:1000], done)
        await load.close()
        process.stop()
        await endpoint.stop()
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, SQLite WAL FULL, plain HTTP")


async def _upload(
    process: Process, load: Load, endpoint: ClientEndpoint, uploads: Uploads, count: int, data: Path, total: int
) -> list[Request]:
    """Upload, print what it cost, return the first thousand requests."""
    kept: list[Request] = []
    before = process.cpu()
    for start in range(0, count, CHUNK):
        requests = [uploads.next() for _ in range(min(CHUNK, count - start))]
        await load.closed(requests, accepted)
        await endpoint.wait_for([request.event_id for request in requests])
        endpoint.received.clear()
        if start < 1000:
            kept += requests
    cost = (process.cpu() - before) * 1000 / count
    size = sum(os.stat(data / name).st_size for name in os.listdir(data) if name.startswith("openscr.db"))
    print(f"{total:>9,} {cost:>10.2f} {process.memory():>12.0f} {size / 1e6:>9.0f} {size / total:>15,.0f}", flush=True)
    return kept


async def _queries(process: Process, load: Load, known: list[Request], records: int) -> None:
    for name, make in (
        ("event list", lambda request: event_list(request.nhs_number)),
        ("event retrieval", lambda request: event(request.nhs_number, request.event_id)),
        ("consent", lambda request: consent(request.nhs_number)),
    ):
        requests = [make(known[index % len(known)]) for index in range(QUERIES)]
        before = process.cpu()
        await load.closed(requests, accepted)
        cost = (process.cpu() - before) * 1000 / QUERIES
        print(f"          {name} at {records:,} records: {cost:.2f} ms", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--windows", type=int, default=10)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.messages, arguments.windows))
