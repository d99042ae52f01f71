"""Measures server CPU per operation beside the floor of the same run, latency at half load, and memory.

    python -m benchmarks [--count N] [--runs R] [--tls] [--json]

It is `openscr bench cost`, by default without TLS. Spec: 90 §6.4; figures go to docs/performance.md with date and
machine.
"""

import sys

from openscr.cli import main

if __name__ == "__main__":
    tls = "--tls" in sys.argv
    given = [argument for argument in sys.argv[1:] if argument != "--tls"]
    sys.argv = ["openscr", "bench", "cost", "--tls" if tls else "--no-tls", *given]
    main()
