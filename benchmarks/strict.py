"""Measures level ``strict``: how many messages a second one core judges, from bytes to findings.

    python -m benchmarks.strict [--seconds S]

Each message is parsed, held against the rules of level ``spine``, and judged by the grammar; shown are all three
together and the grammar alone. Spec: 10 §11.5; figures go to docs/performance.md with date and machine.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from benchmarks.messages import REFERENCE
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.strict import check_strict
from openscr.hl7.wrapper import read_wrapper
from openscr.transport.xml import read_xml

EVERY_ENTRY = REFERENCE.parent / "06-every-cre-type_REPC_IN150016UK05.xml"
AIM = 300
"""Messages of the reference summary that one core should judge in a second, at least."""


def _whole(payload: bytes) -> None:
    root = read_xml(payload)
    wrapper = read_wrapper(root)
    found = (*read_summary_message(root, wrapper, payload, wrapper.name).findings, *check_strict(root, wrapper.name))
    if found:
        raise SystemExit(f"the message that is measured is not valid: {found[0].text}")


def _measure(work: Callable[[], object], seconds: float) -> float:
    """Return how often the work is done in a second of CPU."""
    work()
    count = 0
    began = time.process_time()
    while (spent := time.process_time() - began) < seconds:
        for _ in range(10):
            work()
        count += 10
    return count / spent


def measure(name: str, path: Path, seconds: float) -> None:
    """Print the figures of one message."""
    payload = path.read_bytes()
    root = read_xml(payload)
    interaction = read_wrapper(root).name
    whole = _measure(lambda: _whole(payload), seconds)
    alone = _measure(lambda: check_strict(root, interaction), seconds)
    print(
        f"{name:<32} {len(payload) / 1000:>6.1f} kB {whole:>8.0f} messages/s a core ({1000 / whole:.2f} ms), "
        f"the grammar alone {1000 / alone:.2f} ms",
        flush=True,
    )


def main() -> None:
    """Measure the reference summary, and one with every kind of entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.strict", description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU seconds for each figure")
    arguments = parser.parse_args()
    print(f"level strict, {date.today()}, Python {platform.python_version()}, {os.cpu_count()} cores; aim {AIM}/s")
    measure("reference summary", REFERENCE, arguments.seconds)
    measure("every kind of entry", EVERY_ENTRY, arguments.seconds)


if __name__ == "__main__":
    main()
