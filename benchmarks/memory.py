"""Measures whether memory stays the same over 100,000 messages, on both engines.

    python -m benchmarks.memory [--messages N] [--windows W] [--engine sqlite|postgresql|both] [--workers N]

One service takes N uploads of the reference message, each for another patient. Spec: 90 §6.4, §7 T5.
"""

import argparse
import os
import platform
import tempfile
from datetime import date
from pathlib import Path

from benchmarks.engines import ENGINES, empty_store
from openscr.bench.generators import generators
from openscr.bench.measuring import Bench, check_sound
from openscr.bench.messages import Operation
from openscr.bench.mix import alone
from openscr.bench.service import Wanted, own_service
from openscr.cli.bench_subject import run_measurement


async def _main(engine: str, messages: int, windows: int, workers: int) -> None:
    mix = alone(Operation.UPLOAD, 1)
    with (
        tempfile.TemporaryDirectory(prefix="openscr-memory-") as folder,
        empty_store(engine, Path(folder)) as store,
        generators(1, mixed_sizes=False) as senders,
    ):
        async with own_service(Wanted(store=store, workers=workers)) as subject:
            bench = Bench(subject, senders)
            for window in range(1, windows + 1):
                run = await bench.closed(bench.fresh(mix), messages // windows)
                check_sound([run])
                assert run.usage is not None
                done = window * (messages // windows)
                memory = run.usage.memory
                print(
                    f"{engine:<11}{done:>9,} messages  {run.cost:.2f} ms  {run.rate:,.0f}/s  {memory:,.0f} MB",
                    flush=True,
                )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--engine", choices=(*ENGINES, "both"), default="both")
    parser.add_argument("--workers", type=int, default=1)
    given = parser.parse_args()
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, mutual TLS")
    for engine in ENGINES if given.engine == "both" else (given.engine,):
        run_measurement(_main(engine, given.messages, given.windows, given.workers))
