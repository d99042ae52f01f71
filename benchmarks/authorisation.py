"""Measures what it costs to know who asks, and to decide whether they may, when everything is cached.

    python -m benchmarks.authorisation [--count N] [--runs R]

A real provider issues the token, over its own pages; it is verified once, as the first request of a session would; what
is measured is every further one. The aim is 50 µs CPU a request. Figures go to docs/performance.md.
"""

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

from benchmarks.service import Process, serve_command
from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy, Operation, Ties
from openscr.access.registration import check_receiver, check_sender
from openscr.access.verification import Verification
from openscr.codes import LOCAL_REALM
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.model import CurrentDirectory
from openscr.identifiers import utc_now
from openscr.settings import load_settings
from openscr.spine import Caller, DissentOverride, Person
from openscr.testbench.world import OWN_ASID, PRACTICE_PARTY, demo_directory

AIM = 50.0
"""µs CPU for an authorised request."""

ROLE = "555000000102"


def _token(data: Path, at: str) -> str:
    """Sign in as the practice's doctor, and return the access token."""
    command = (sys.executable, "-m", "openscr", "identity", "token", "--at", at, "--data", str(data))
    done = subprocess.run((*command, "--as", "app-gp", "--user", ROLE, "--json"), capture_output=True, check=True)
    return str(json.loads(done.stdout)["access_token"])


async def _measure(act: Callable[[], Awaitable[object]], count: int) -> float:
    """Return µs CPU of one call."""
    started = time.process_time()
    for _ in range(count):
        await act()
    return (time.process_time() - started) * 1e6 / count


async def _main(count: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        process = Process(*serve_command(data, "warning"))
        at = process.urls[0]
        token = await asyncio.to_thread(_token, data, at)
        directory = CurrentDirectory(build_directory(merge([], read_directory(demo_directory()), replace=True), 1))
        settings = load_settings({"data": data, "rate_per_second": 1_000_000, "rate_per_minute": 1_000_000})
        verification = Verification(settings, [f"{at}{LOCAL_REALM}"], directory, utc_now)
        policy = AccessPolicy(
            matrix=load_matrix(),
            unknown_author="refuse",
            enforce_relationship=True,
            enforce_permission=True,
        )
        headers = [(b"host", b"openscr"), (b"authorization", f"Bearer {token}".encode())]
        plain, ties = DissentOverride(), Ties("relationship", "permission")
        person = Person("555000000101", ROLE, "R8000")

        async def signed_in() -> None:
            caller = await verification.authenticator.authenticate(headers, "127.0.0.1")
            decided = policy.authorise(directory.snapshot, Operation.VIEW, caller, override=plain)
            assert decided.allowed
            assert policy.admit(decided, plain, ties).allowed

        async def stated() -> None:
            check_receiver(directory.snapshot, OWN_ASID)
            check_sender(
                directory.snapshot,
                asid="200000000115",
                service="psisquery",
                interaction="QUPC_IN180000UK04",
                parties=frozenset({PRACTICE_PARTY}),
            )
            caller = Caller("200000000115", PRACTICE_PARTY, person)
            decided = policy.authorise(directory.snapshot, Operation.VIEW, caller, override=plain)
            assert decided.allowed
            assert policy.admit(decided, plain, ties).allowed

        started = time.process_time()
        await signed_in()
        first = (time.process_time() - started) * 1e6
        costs = {}
        for name, act in (("signed in (token)", signed_in), ("stated (message)", stated)):
            await _measure(act, count // 10)
            costs[name] = statistics.median([await _measure(act, count) for _ in range(runs)])
        await verification.close()
        process.stop()
    print(f"first request  {first:8.0f} µs CPU, with keys, userinfo and signature")
    for name, cost in costs.items():
        print(f"{name:<18} {cost:6.1f} µs CPU a request; the aim is {AIM:.0f}")
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, {runs} runs of {count}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Measure what authorisation costs.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    asyncio.run(_main(arguments.count, arguments.runs))
