"""Every measurement of docs/performance.md, one after the other, for a quiet machine; each can be had alone.

    python -m benchmarks.all [--short] [--only NAME,…]

The durations are those of two cores. With --short everything is run at a size that only shows that it works.
"""

import argparse
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass

from benchmarks.engines import server


@dataclass(frozen=True)
class Step:
    """A measurement: its name, about how many minutes it takes, the command, and what makes it short.

    ``{postgres}`` in the command is the URL of an empty database.
    """

    name: str
    minutes: float
    command: str
    short: str


COST, MIX, PLAN = "openscr bench cost --count 2000", "openscr bench mix --check", "openscr bench plan --verify"
SATURATION = "openscr bench mix --level t2 --saturate --seconds 30"
ON_POSTGRES = "--store {postgres}"
LITTLE, BRIEF = "--count 100 --runs 1", "--seconds 3 --patients 300"

STEPS = (
    Step("cost-sqlite", 3, COST, LITTLE),
    Step("cost-sqlite-plain", 3, f"{COST} --no-tls", LITTLE),
    Step("cost-postgresql", 4, f"{COST} {ON_POSTGRES}", LITTLE),
    Step("mix-sqlite", 2, MIX, BRIEF),
    Step("mix-postgresql", 2, f"{MIX} {ON_POSTGRES}", BRIEF),
    Step("saturation-sqlite-1", 2, SATURATION, BRIEF),
    Step("saturation-sqlite-2", 2, f"{SATURATION} --workers 2", BRIEF),
    Step("saturation-postgresql-1", 2, f"{SATURATION} {ON_POSTGRES}", BRIEF),
    Step("saturation-postgresql-2", 2, f"{SATURATION} --workers 2 {ON_POSTGRES}", BRIEF),
    Step("plan-sqlite", 4, PLAN, f"{LITTLE} {BRIEF}"),
    Step("plan-postgresql", 5, f"{PLAN} {ON_POSTGRES}", f"{LITTLE} {BRIEF}"),
    Step("storage", 2, "benchmarks.storage", "--patients 200"),
    Step("memory", 8, "benchmarks.memory", "--messages 400 --windows 2"),
    Step("growth", 30, "benchmarks.growth", f"--sizes 300,600 {LITTLE}"),
)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.all", description=__doc__)
    parser.add_argument("--short", action="store_true")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    wanted = set(filter(None, given.only.split(",")))
    failed = []
    for step in STEPS:
        if wanted and step.name not in wanted:
            continue
        command = f"{step.command} {step.short}" if given.short else step.command
        print(f"\n== {step.name}: {command}  (about {step.minutes:g} min)", flush=True)
        started = time.monotonic()
        with ExitStack() as stack:
            if "{postgres}" in command:
                command = command.replace("{postgres}", stack.enter_context(server()).create_database())
            words = command.split()
            ended = subprocess.run([sys.executable, "-m", *words], check=False)
        if ended.returncode:
            failed.append(step.name)
        print(f"== {time.monotonic() - started:,.0f} s, exit {ended.returncode}", flush=True)
    if failed:
        raise SystemExit(f"not as it should be: {', '.join(failed)}")


if __name__ == "__main__":
    main()
