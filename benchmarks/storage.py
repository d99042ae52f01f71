"""Measures what a patient takes on disk, on both engines: the first summary, each further version, table by table.

    python -m benchmarks.storage [--patients N] [--sizes mixed|reference]

Budget: 8 kB a patient for the current state, 6 kB a further version, with the sizes of the population. Spec: 90 §5.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.engines import ENGINES, empty_store
from openscr.bench.stores import size_of, tables_of


def _openscr(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "openscr", *arguments], check=True, stdout=subprocess.DEVNULL)


def _main(engine: str, patients: int, sizes: str) -> None:
    with tempfile.TemporaryDirectory(prefix="openscr-storage-") as folder, empty_store(engine, Path(folder)) as store:
        _openscr("admin", "migrate", "--store", store)
        before, tables = asyncio.run(size_of(store)), asyncio.run(tables_of(store))
        for versions in (1, 2, 3):
            wanted = ("--count", str(patients), "--versions", str(versions), "--sizes", sizes, "--indexed")
            _openscr("bench", "load", *wanted, "--store", store)
            size, found = asyncio.run(size_of(store)), asyncio.run(tables_of(store))
            what = "first summary" if versions == 1 else f"version {versions}"
            more = {name: (found[name] - tables.get(name, 0)) / patients for name in found}
            parts = ", ".join(f"{name} {each:,.0f}" for name, each in more.items() if each > 20)
            print(f"{engine:<11}{what:<14}{(size - before) / patients:>8,.0f} bytes a patient  {parts}", flush=True)
            before, tables = size, found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage", description=__doc__)
    parser.add_argument("--patients", type=int, default=5_000)
    parser.add_argument("--sizes", choices=("mixed", "reference"), default="mixed")
    given = parser.parse_args()
    for each in ENGINES:
        _main(each, given.patients, given.sizes)
