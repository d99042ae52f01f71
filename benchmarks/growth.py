"""Measures whether cost and memory stay the same while a store grows, on both engines, and what a record takes.

    python -m benchmarks.growth [--sizes 10000,100000,1000000] [--engine sqlite|postgresql|both] [--count N] [--runs R]

A file is filled to each size with records of the reference message (some 3,000 a second) and moved to a PostgreSQL
(`openscr admin migrate`, about 4,000 a second, each row compared); each operation is measured on both. At the end every
cost is compared with that at the first size. Spec: 90 §5, §6.4.
"""

import argparse
import asyncio
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from benchmarks.engines import server
from openscr.bench.cost import Extent, measure_costs
from openscr.bench.figures import Figures
from openscr.bench.generators import generators
from openscr.bench.measuring import Bench
from openscr.bench.service import Wanted, own_service
from openscr.bench.stores import size_of, tables_of

KINDS = ("upload", "event list", "event", "consent get")


def _openscr(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "openscr", *arguments], check=True, stdout=subprocess.DEVNULL)


async def _measured(store: str, records: int, count: int, runs: int) -> dict[str, Figures]:
    size = await size_of(store)
    tables = await tables_of(store)
    with generators(1, mixed_sizes=False) as senders:
        async with own_service(Wanted(store=store)) as subject:
            extent = Extent(min(records, 900_000), count, runs)
            found = {each.operation: each for each in await measure_costs(Bench(subject, senders), KINDS, extent)}
    engine = found["upload"].engine
    costs = "  ".join(f"{kind} {found[kind].server_cpu_ms_per_message:.2f}" for kind in KINDS)
    memory, each = found["consent get"].rss_mb, size / records
    print(f"{engine:<11}{records:>10,} records  {costs}  {memory:,.0f} MB  {each:,.0f} bytes a record", flush=True)
    for name, bytes_ in sorted(tables.items(), key=lambda entry: -entry[1])[:5]:
        print(f"{'':<11}  {name:<12}{bytes_ / records:>8,.0f} bytes a record", flush=True)
    return found


def _compare(engine: str, first: dict[str, Figures], last: dict[str, Figures], most: float) -> bool:
    flat = True
    for kind in KINDS:
        before, after = first[kind].server_cpu_ms_per_message or 0.0, last[kind].server_cpu_ms_per_message or 0.0
        grown = after / before - 1
        flat = flat and grown <= most
        print(f"{engine:<11}{kind:<12} {before:.2f} -> {after:.2f} ms ({grown * 100:+.0f} %)", flush=True)
    return flat


async def _main(sizes: list[int], engines: list[str], count: int, runs: int) -> bool:
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, mutual TLS, CPU ms a message")
    found: dict[str, list[dict[str, Figures]]] = {engine: [] for engine in engines}
    with tempfile.TemporaryDirectory(prefix="openscr-growth-") as folder:
        file = f"sqlite:///{Path(folder) / 'openscr.db'}"
        there = 0
        for size in sizes:
            started = time.monotonic()
            _openscr("bench", "load", "--count", str(size - there), "--first", str(there), "--store", file)
            print(f"{'':<11}filled with {size - there:,} more in {time.monotonic() - started:,.0f} s", flush=True)
            there = size
            if "postgresql" in engines:
                # First: what is measured on the file changes it.
                with server() as running:
                    url = running.create_database()
                    started = time.monotonic()
                    _openscr("admin", "migrate", "--from", file, "--to", url)
                    print(f"{'':<11}moved in {time.monotonic() - started:,.0f} s", flush=True)
                    found["postgresql"].append(await _measured(url, size, count, runs))
            if "sqlite" in engines:
                found["sqlite"].append(await _measured(file, size, count, runs))
    # The machine itself moves; what is flat within a tenth is flat.
    flat = [_compare(engine, figures[0], figures[-1], 0.10) for engine, figures in found.items()]
    return all(flat)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--engine", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=3)
    given = parser.parse_args()
    wanted = ["sqlite", "postgresql"] if given.engine == "both" else [given.engine]
    flat = asyncio.run(_main([int(size) for size in given.sizes.split(",")], wanted, given.count, given.runs))
    print("flat within a tenth" if flat else "NOT flat within a tenth")
