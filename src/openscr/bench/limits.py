"""How long operations may take, and whether a load kept to it.

Spec: 90 §6.2, §7 T1.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from openscr.bench.figures import Figures
from openscr.bench.messages import Operation

P95: Final[Mapping[str, float]] = MappingProxyType(
    {
        Operation.CONSENT_GET: 150,
        Operation.CONSENT_HAS: 150,
        Operation.CONSENT_SET: 150,
        Operation.LIST: 200,
        Operation.EVENT: 300,
        Operation.ALERT: 250,
        Operation.UPLOAD: 500,
        "application response": 5_000,
    }
)
"""Milliseconds within which 95 of 100 requests are answered at the base load, by operation."""

ALLOWANCE: Final = 2.0
"""By how much T1 may be slower than that."""


def missed(figures: list[Figures], failures: Mapping[str, int], shed: int) -> list[str]:
    """Return one line for each limit of T1 that was missed: p95 values of 90 §6.2 twice over, and no errors."""
    lines = [f"{count} errors: {what}" for what, count in sorted(failures.items())]
    if shed:
        lines.append(f"{shed} requests were shed")
    for figure in figures:
        limit, took = P95.get(figure.operation), figure.latency_ms["p95"] if figure.latency_ms else None
        if limit is not None and took is not None and took > limit * ALLOWANCE:
            lines.append(f"{figure.operation}: p95 {took:g} ms, at most {limit * ALLOWANCE:g} are allowed")
    return lines
