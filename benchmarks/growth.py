"""Measures whether cost and memory stay the same while a store grows, on both engines, and what a record takes.

    python -m benchmarks.growth [--sizes 10000,100000,1000000] [--engine sqlite|postgresql|both] [--count N] [--runs R]
        [--folder DIR] [--held]

A file is filled to each size with records of the reference message (some 3,000 a second), copied there, and moved to a
PostgreSQL (`openscr admin migrate`, about 4,000 a second, each row compared). Then a service runs on each store of one
engine, and every operation is measured on one after the other, round by round: a machine that is slower for a while is
slower for all of them. At the end every cost is compared with that at the first size. With --folder the files are kept
there, and those that are there are taken (with the records of earlier measurements in them). With --held the stores are
held in memory while they are measured: else a cost has in it how many pages the machine had to fetch from its disk.
Spec: 90 §5, §6.4.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from datetime import date
from pathlib import Path
from statistics import median

from benchmarks.engines import server
from benchmarks.held_files import held_in_memory
from openscr.bench.cost import operation_of
from openscr.bench.generators import generators
from openscr.bench.measuring import Bench, Measured, check_sound
from openscr.bench.messages import Operation
from openscr.bench.mix import alone
from openscr.bench.service import Wanted, own_service
from openscr.bench.stores import size_of, tables_of
from openscr.cli.bench_subject import run_measurement

KINDS = ("upload", "event list", "event", "consent get")
MOST_PATIENTS = 900_000


def _openscr(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "openscr", *arguments], check=True, stdout=subprocess.DEVNULL)


def _fill(sizes: list[int], folder: Path) -> dict[int, Path]:
    """Return a file of each size; each begins as the one before."""
    files: dict[int, Path] = {}
    there = 0
    for size in sizes:
        files[size] = folder / f"{size}.db"
        if files[size].exists():
            there = size
            continue
        unfinished = folder / "unfinished.db"
        unfinished.unlink(missing_ok=True)
        if there:
            shutil.copyfile(files[there], unfinished)
        started = time.monotonic()
        store = f"sqlite:///{unfinished}"
        _openscr("bench", "load", "--count", str(size - there), "--first", str(there), "--store", store)
        unfinished.rename(files[size])
        print(f"{'':<11}filled with {size - there:,} more in {time.monotonic() - started:,.0f} s", flush=True)
        there = size
    return files


async def _measure(stores: Mapping[int, str], count: int, runs: int) -> dict[int, dict[str, float]]:
    """Return the CPU ms of each kind on each store: the median of rounds in which each has its turn."""
    for size, store in stores.items():
        whole, tables = await size_of(store), await tables_of(store)
        largest = sorted(tables.items(), key=lambda entry: -entry[1])[:5]
        parts = "  ".join(f"{name} {bytes_ / size:,.0f}" for name, bytes_ in largest)
        print(f"{'':<11}{size:>10,} records: {whole / size:,.0f} bytes each ({parts})", flush=True)
    costs: dict[tuple[int, str], list[float]] = {}
    memory: dict[int, float] = {}
    with generators(1, mixed_sizes=False) as senders:
        async with AsyncExitStack() as stack:
            benches = {
                size: Bench(await stack.enter_async_context(own_service(Wanted(store=store))), senders)
                for size, store in stores.items()
            }
            # The first round warms up.
            for turn in range(runs + 1):
                for kind in KINDS:
                    for size, bench in benches.items():
                        run = await _turn(bench, kind, min(size, MOST_PATIENTS), count)
                        if turn:
                            costs.setdefault((size, kind), []).append(run.cost or 0.0)
                        memory[size] = run.usage.memory if run.usage is not None else 0.0
    found = {size: {kind: median(costs[size, kind]) for kind in KINDS} for size in stores}
    for size, kinds in found.items():
        told = "  ".join(f"{kind} {cost:.2f}" for kind, cost in kinds.items())
        print(f"{'':<11}{size:>10,} records: {told}  {memory[size]:,.0f} MB", flush=True)
    return found


async def _turn(bench: Bench, kind: str, patients: int, count: int) -> Measured:
    mix = alone(operation_of(kind), patients)
    run = await bench.closed(bench.fresh(mix) if operation_of(kind) is Operation.UPLOAD else mix, count)
    check_sound([run])
    return run


def _compare(found: Mapping[int, Mapping[str, float]], most: float) -> bool:
    first, last = found[min(found)], found[max(found)]
    flat = True
    for kind in KINDS:
        grown = last[kind] / first[kind] - 1
        flat = flat and grown <= most
        print(f"{'':<11}{kind:<12} {first[kind]:.2f} -> {last[kind]:.2f} ms ({grown * 100:+.0f} %)", flush=True)
    return flat


def _main(sizes: list[int], engines: list[str], count: int, runs: int, kept: Path | None, *, held: bool) -> bool:
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, mutual TLS, CPU ms a message")
    print("the stores are held in memory" if held else "the machine decides what it keeps in memory")
    flat = True
    with tempfile.TemporaryDirectory(prefix="openscr-growth-") as folder, ExitStack() as stack:
        files = _fill(sizes, kept or Path(folder))
        if "postgresql" in engines:
            # First: what is measured on the files changes them.
            running = stack.enter_context(server())
            databases: dict[int, str] = {}
            for size, file in files.items():
                started = time.monotonic()
                databases[size] = running.create_database()
                _openscr("admin", "migrate", "--from", f"sqlite:///{file}", "--to", databases[size])
                print(f"{'':<11}moved {size:,} in {time.monotonic() - started:,.0f} s", flush=True)
            print("postgresql", flush=True)
            # The machine itself moves; what is flat within a tenth is flat.
            with held_in_memory([running.data] if held else []):
                flat = _compare(run_measurement(_measure(databases, count, runs)), 0.10)
            stack.close()
        if "sqlite" in engines:
            print("sqlite", flush=True)
            with held_in_memory(files.values() if held else []):
                found = run_measurement(
                    _measure({size: f"sqlite:///{file}" for size, file in files.items()}, count, runs)
                )
            flat = _compare(found, 0.10) and flat
    return flat


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000")
    parser.add_argument("--engine", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--held", action="store_true")
    given = parser.parse_args()
    wanted = ["sqlite", "postgresql"] if given.engine == "both" else [given.engine]
    sizes = sorted(int(size) for size in given.sizes.split(","))
    flat = _main(sizes, wanted, given.count, given.runs, given.folder, held=given.held)
    print("flat within a tenth" if flat else "NOT flat within a tenth")
