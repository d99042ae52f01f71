"""The service's figures for Prometheus. No label ever holds an NHS number, a name or a person's id.

Spec: 00 §3.1.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector


class Metrics:
    """All figures of one service, in a registry of their own."""

    def __init__(self) -> None:
        # When a counter began says nothing that the service's own start does not.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self._requests = Counter(
            "openscr_requests", "Requests answered.", ("face", "interaction", "outcome"), registry=self.registry
        )
        self._seconds = Histogram(
            "openscr_request_seconds",
            "Time from the first byte to the answer.",
            ("face", "interaction"),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        )
        # To find the figures of these labels costs as much as to count; there are as many as there are outcomes.
        self._answered: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}
        self._duplicates = Counter(
            "openscr_duplicates", "Messages answered before.", ("interaction",), registry=self.registry
        )
        self._outbox_rows = Gauge(
            "openscr_outbox_rows", "Messages that must still be delivered.", ("state",), registry=self.registry
        )
        self._outbox_oldest = Gauge(
            "openscr_outbox_oldest_seconds", "Age of the oldest message still to be delivered.", registry=self.registry
        )
        self._certificate_days = Gauge(
            "openscr_certificate_days", "Days until our certificate of the spine listener ends.", registry=self.registry
        )
        self._clock_offset = Gauge(
            "openscr_clock_offset_seconds", "How far our clock is before the store's.", registry=self.registry
        )
        self._clock_jumps = Counter(
            "openscr_clock_jumps", "How often our clock has jumped by more than a second.", registry=self.registry
        )
        self._notices = Counter(
            "openscr_notices", "Attempts to tell officers of an alert.", ("channel", "outcome"), registry=self.registry
        )

        self._handshakes = Counter(
            "openscr_tls_handshakes",
            "TLS handshakes of the spine listener: full, resumed, broken_off, or why they were refused.",
            ("outcome",),
            registry=self.registry,
        )

        self._shed = Counter(
            "openscr_shed",
            "Requests and connections that were not taken on, and why; their senders may come again.",
            ("face", "reason"),
            registry=self.registry,
        )
        self._requests_held = Gauge(
            "openscr_requests_held",
            "Requests that are worked on, and that wait.",
            ("face", "state"),
            registry=self.registry,
        )
        self._connections = Gauge(
            "openscr_connections", "Open connections of a listener.", ("listener",), registry=self.registry
        )

    def request(self, face: str, interaction: str, outcome: str, seconds: float) -> None:
        """Count one answered request; ``interaction`` must be one we know, or ``unknown``."""
        known = self._answered.get((face, interaction, outcome))
        if known is None:
            known = self._requests.labels(face, interaction, outcome), self._seconds.labels(face, interaction)
            self._answered[face, interaction, outcome] = known
        count, duration = known
        count.inc()
        duration.observe(seconds)

    def handshake(self, outcome: str) -> None:
        """Count one TLS handshake; ``outcome`` is one of a few words."""
        self._handshakes.labels(outcome).inc()

    def duplicate(self, interaction: str) -> None:
        """Count a message that had been answered before."""
        self._duplicates.labels(interaction).inc()

    def notice(self, channel: str, outcome: str) -> None:
        """Count an attempt to tell somebody of an alert: ``sent``, ``failed`` or ``given-up``."""
        self._notices.labels(channel, outcome).inc()

    def outbox(self, rows: dict[str, int], oldest_seconds: float) -> None:
        """Set the figures of the outbox."""
        for state, count in rows.items():
            self._outbox_rows.labels(state).set(count)
        self._outbox_oldest.set(oldest_seconds)

    def shed(self, face: str, reason: str) -> None:
        """Count what was not taken on; ``reason`` is one of a few words."""
        self._shed.labels(face, reason).inc()

    def held(self, face: str, at_work: int, waiting: int) -> None:
        """Set how many requests are worked on, and how many wait."""
        self._requests_held.labels(face, "at-work").set(at_work)
        self._requests_held.labels(face, "waiting").set(waiting)

    def connections(self, listener: str, count: int) -> None:
        """Set how many connections a listener has."""
        self._connections.labels(listener).set(count)

    def certificate(self, days_left: float) -> None:
        """Set for how many days our certificate is still good; less than nothing when it is not."""
        self._certificate_days.set(days_left)

    def clock_offset(self, seconds: float) -> None:
        """Set how far our clock is before the store's."""
        self._clock_offset.set(seconds)

    def clock_jumped(self) -> None:
        """Count a jump of our clock."""
        self._clock_jumps.inc()
