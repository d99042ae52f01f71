"""What a measurement comes to: the figures that are printed, for people and for programs.

Spec: 00 §4 ``bench --json``; 90 §6.4.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

PERCENTILES: Final = (0.5, 0.95, 0.99)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one operation, or of a whole mix; None is what could not be measured.

    ``bytes_per_record`` is what the store grew by for each summary that was uploaded.
    """

    operation: str
    engine: str | None
    messages: int
    seconds: float
    per_second: float
    server_cpu_ms_per_message: float | None = None
    floor_cpu_ms_per_message: float | None = None
    latency_ms: dict[str, float] | None = None
    rss_mb: float | None = None
    bytes_per_record: int | None = None

    def form(self) -> dict[str, Any]:
        """Return the object that ``--json`` prints. Spec: 00 §4."""
        return asdict(self)

    def row(self) -> tuple[str, ...]:
        """Return the cells of a table, in the order of `HEADINGS`."""
        latency = self.latency_ms or {}
        return (
            self.operation,
            f"{self.messages:,}",
            f"{self.per_second:,.0f}",
            _cell(self.server_cpu_ms_per_message, "{:.2f}"),
            _cell(self.floor_cpu_ms_per_message, "{:.2f}"),
            *(_cell(latency.get(name(share)), "{:,.1f}") for share in PERCENTILES),
            _cell(self.rss_mb, "{:,.0f}"),
            _cell(self.bytes_per_record, "{:,}"),
        )


HEADINGS: Final = ("operation", "messages", "/s", "CPU ms", "floor", "p50 ms", "p95", "p99", "MB", "bytes a record")


def name(share: float) -> str:
    """Return the name of a percentile, such as p95."""
    return f"p{share * 100:g}"


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the ordered values do not exceed."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def latencies(seconds: Sequence[float]) -> dict[str, float] | None:
    """Return the percentiles of latencies in ms, none when there are no latencies."""
    ordered = sorted(seconds)
    return {name(share): round(percentile(ordered, share) * 1000, 1) for share in PERCENTILES} if ordered else None


def _cell(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
