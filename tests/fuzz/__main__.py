"""The long run: ``python -m tests.fuzz --seconds 60 [TARGET ...]`` and ``python -m tests.fuzz --growth [TARGET ...]``.

With atheris installed the inputs follow the coverage of the code; without it (or with ``--plain``) they are seeded
mutations. An input that makes a target fail lies in build/fuzz afterwards: mend the reader, then keep the input in
tests/fuzz/corpus. The growth run measures processor time for inputs of doubling size and names what takes more than its
share.
"""

import argparse
import random
import subprocess
import sys
import time
from hashlib import blake2b
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from .growth import SHAPES
from .mutation import mutated
from .seeds import corpus, seeds
from .targets import TARGETS

FOUND = Path("build/fuzz")
LARGEST = 64 * 1024
SLOW_SECONDS = 10.0
MEMORY_MB = 1024
BIGGEST = 5_242_880
RATIO = 2.6
"""How many times longer twice the input may take: linear work, and some for the memory's caches."""


def main() -> int:
    """Run what is asked for; return the number of targets that failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all of them, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plain", action="store_true", help="seeded mutation, even with atheris installed")
    parser.add_argument("--growth", action="store_true", help="measure inputs of doubling size instead")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if options.growth:
        return sum(_grow(name) for name in names)
    FOUND.mkdir(parents=True, exist_ok=True)
    fuzz = _mutate if options.plain or find_spec("atheris") is None else _follow_coverage
    return sum(fuzz(name, options.seconds, options.seed) for name in names)


# --- seeded mutation ------------------------------------------------------------------------------------------------


def _mutate(name: str, seconds: int, seed: int) -> int:
    rng = random.Random(seed)
    inputs = seeds(name) + [path.read_bytes() for path in corpus(name)]
    end = time.monotonic() + seconds
    runs = failures = 0
    while time.monotonic() < end and failures < 10:
        data = mutated(rng.choice(inputs), inputs, rng)
        failures += fails(name, data)
        runs += 1
    print(f"{name}: {runs} inputs in {seconds} s, {failures} failures (mutation, seed {seed})", flush=True)
    return min(failures, 1)


def fails(name: str, data: bytes) -> bool:
    """Run a target on an input; keep and tell what fails."""
    began = time.process_time()
    try:
        TARGETS[name].run(data)
        problem = "took too long" if time.process_time() - began > SLOW_SECONDS else ""
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    if problem:
        path = FOUND / f"{name}-{blake2b(data, digest_size=8).hexdigest()}"
        path.write_bytes(data)
        print(f"{name}: {problem[:200]} ({path})", flush=True)
    return bool(problem)


# --- atheris --------------------------------------------------------------------------------------------------------


def _follow_coverage(name: str, seconds: int, seed: int) -> int:
    """Fuzz in a process of its own, for atheris ends the one that it runs in."""
    begin = FOUND / f"seeds-{name}"
    begin.mkdir(exist_ok=True)
    for data in [*seeds(name), *(path.read_bytes() for path in corpus(name))]:
        (begin / blake2b(data, digest_size=8).hexdigest()).write_bytes(data)
    command = [
        *(sys.executable, "-m", "tests.fuzz.coverage", name, str(begin)),
        f"-max_total_time={seconds}",
        f"-seed={seed}",
        f"-max_len={LARGEST}",
        f"-timeout={SLOW_SECONDS:.0f}",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={FOUND}/{name}-",
        "-print_final_stats=1",
    ]
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    said = ended.stdout.splitlines()
    runs = next((line.split()[-1] for line in said if "number_of_executed_units" in line), "?")
    peak = next((line.split()[-1] for line in said if "peak_rss_mb" in line), "?")
    print(f"{name}: {runs} inputs in {seconds} s, peak {peak} MB, exit {ended.returncode} (atheris)", flush=True)
    if ended.returncode:
        print("\n".join(said[-40:]), flush=True)
    return min(ended.returncode, 1)


# --- growth ---------------------------------------------------------------------------------------------------------


def _grow(name: str) -> int:
    """Measure every shape of a target up to the largest message that is accepted; return how many grow too fast."""
    too_fast = 0
    for shape, build in SHAPES[name].items():
        per_unit = max((len(build(64)) - len(build(32))) // 32, 1)
        times: list[float] = []
        number = BIGGEST // per_unit // 16
        for doubling in range(5):
            data = build(number << doubling)
            began = time.process_time()
            TARGETS[name].run(data)
            times.append(time.process_time() - began)
            if times[-1] > 4 * SLOW_SECONDS:
                break
        # What is over within a twentieth of a second says more about the machine than about the reader.
        ratios = [after / before for before, after in pairwise(times) if before > 0.05]
        fast = len(ratios) > 1 and sum(ratios) / len(ratios) > RATIO
        too_fast += fast
        told = " ".join(f"{seconds:.3f}" for seconds in times)
        print(f"{name}: {shape}: {told} s{'  TOO FAST' if fast else ''}", flush=True)
    return min(too_fast, 1)


if __name__ == "__main__":
    sys.exit(main())
