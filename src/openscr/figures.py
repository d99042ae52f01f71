"""Figures of several workers as one: what each has counted is added up, what all of them see alike is told once.

A worker that has ended keeps its part in what was counted: a sum that became smaller would be taken for one that began
anew.

Spec: 00 §3.1 ``/metrics``.
"""

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

Labels = tuple[tuple[str, str], ...]


class Family(msgspec.Struct, array_like=True, frozen=True):
    """All samples of one figure: each its name, its labels and its value."""

    name: str
    help: str
    kind: str
    samples: tuple[tuple[str, Labels, float], ...]


Figures = list[Family]
"""The figures of one process."""

COUNTED: Final = frozenset({"counter", "histogram", "summary"})
"""Kinds of figures that only ever grow."""

_LEAST: Final = frozenset({"process_start_time_seconds"})
_MOST: Final = frozenset({"process_max_fds", "python_info"})
_SHARED: Final = ("openscr_outbox_", "openscr_certificate_", "openscr_clock_", "openscr_store_")


def figures_of(registry: CollectorRegistry) -> Figures:
    """Return what a registry holds now."""
    return [
        Family(
            metric.name,
            metric.documentation,
            metric.type,
            tuple(
                (sample.name, tuple(sorted(sample.labels.items())), float(sample.value)) for sample in metric.samples
            ),
        )
        for metric in registry.collect()
    ]


def merged(everybodys: Iterable[Figures]) -> Figures:
    """Return the figures of several processes as one; of what all see alike the first one's word counts."""
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for figures in everybodys:
        for family in figures:
            known = family.name in families
            found = values.setdefault(family.name, {})
            families.setdefault(family.name, family)
            if known and family.name.startswith(_SHARED):
                continue
            for name, labels, value in family.samples:
                key = name, labels
                found[key] = _together(family.name, found[key], value) if key in found else value
    return [
        Family(family.name, family.help, family.kind, tuple((*key, value) for key, value in values[name].items()))
        for name, family in families.items()
    ]


def _together(name: str, one: float, other: float) -> float:
    if name in _LEAST:
        return min(one, other)
    return max(one, other) if name in _MOST else one + other


def counted(figures: Figures) -> Figures:
    """Return of a process that has ended what goes on to count."""
    return [family for family in figures if family.kind in COUNTED]


class _Fixed(Collector):
    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Give the figures in the form of the library."""
        for family in self._figures:
            metric = Metric(family.name, family.help, family.kind)
            for name, labels, value in family.samples:
                metric.add_sample(name, dict(labels), value)
            yield metric


def exposition(everybodys: Iterable[Figures]) -> bytes:
    """Return the figures of several processes as Prometheus reads them."""
    registry = CollectorRegistry()
    registry.register(_Fixed(merged(everybodys)))
    return generate_latest(registry)
