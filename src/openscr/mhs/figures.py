"""The adaptor's figures for Prometheus. No label holds an NHS number, a name or a person's id.

Spec: 50 F18.
"""

from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from openscr.identifiers import Clock, utc_now
from openscr.mhs.store.interface import QueueFigures

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Figures:
    """All figures of one adaptor, in a registry of their own. ``interaction`` must be of the table, or ``unknown``.

    ``last_spine_success`` is when the Spine last took or answered a message of ours, none before the first.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
        self.last_spine_success: datetime | None = None
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._messages = Counter(
            "mhs_messages",
            "Messages by direction, interaction, workflow and outcome.",
            ("direction", "interaction", "workflow", "outcome"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "mhs_message_seconds",
            "Time from the first byte to the answer.",
            ("direction", "interaction", "workflow", "outcome"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._retries = Counter("mhs_retries", "Messages sent again.", ("workflow",), registry=self.registry)
        self._duplicates = Counter(
            "mhs_duplicates", "Messages that had been taken before.", ("direction",), registry=self.registry
        )
        self._queue = Gauge("mhs_queue_messages", "Messages on the queue.", ("state",), registry=self.registry)
        self._oldest = Gauge("mhs_queue_oldest_seconds", "Age of the oldest waiting message.", registry=self.registry)
        self._certificate = Gauge(
            "mhs_certificate_days_left", "Whole days until our certificate ends.", registry=self.registry
        )
        self._spine = Gauge(
            "mhs_last_spine_success_timestamp_seconds",
            "When the Spine last took or answered a message, in seconds since 1970; 0 before the first.",
            registry=self.registry,
        )
        self._relayed = Counter(
            "mhs_relayed",
            "Messages handed to the broker: taken, refused or failed.",
            ("outcome",),
            registry=self.registry,
        )

    def message(self, direction: str, interaction: str, workflow: str, outcome: str, seconds: float) -> None:
        """Count a message; ``outcome`` is a status or one of a few words."""
        self._messages.labels(direction, interaction, workflow, outcome).inc()
        self._seconds.labels(direction, interaction, workflow, outcome).observe(seconds)

    def spine_succeeded(self) -> None:
        """Note that the Spine has just taken or answered a message of ours."""
        self.last_spine_success = self._clock()
        self._spine.set(self.last_spine_success.timestamp())

    def retried(self, workflow: str) -> None:
        """Count a message that is sent again."""
        self._retries.labels(workflow).inc()

    def duplicate(self, direction: str) -> None:
        """Count a message that had been taken before."""
        self._duplicates.labels(direction).inc()

    def relayed(self, outcome: str) -> None:
        """Count a message handed to the broker: ``taken``, ``refused`` or ``failed``."""
        self._relayed.labels(outcome).inc()

    def queue(self, figures: QueueFigures, oldest_seconds: float) -> None:
        """Set the figures of the queue."""
        for state, count in (("waiting", figures.waiting), ("leased", figures.leased), ("dead", figures.dead)):
            self._queue.labels(state).set(count)
        self._oldest.set(oldest_seconds)

    def certificate(self, days_left: int) -> None:
        """Set how long our certificate lasts."""
        self._certificate.set(days_left)
