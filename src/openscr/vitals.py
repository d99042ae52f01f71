"""Whether the service is well, beyond what each request finds out: outbox, certificate, clock.

Looked at every few seconds, so that whoever asks how we are costs nothing. What is told is the truth of the last look;
a look that fails changes nothing: that the store cannot be reached is told elsewhere.

Spec: 00 §3.1; 60 §14; 90 §6.1 "clock".
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Final

import structlog
from cryptography import x509

from openscr.errors import StoreError
from openscr.identifiers import Clock
from openscr.metrics import Metrics
from openscr.settings import Settings
from openscr.store.interface import OutboxState, Store

_log = structlog.get_logger("vitals")

LOOK: Final = 5.0
"""Seconds between two looks."""

_DAY: Final = 86_400.0
_JUMP: Final = 1.0
"""Seconds that a clock may go wrong between two looks; more is a jump. Spec: 90 §6.1."""


class Vitals:
    """What is looked at, and what was found."""

    def __init__(self, settings: Settings, store: Store, metrics: Metrics, clock: Clock) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._offset = 0.0
        self._outbox_age = 0.0
        self._days_left: float | None = None
        self._warned: set[str] = set()
        self._between: float | None = None

    def components(self) -> dict[str, bool]:
        """Return which of what is looked at is well, by name. Spec: 00 §3.1 ``/healthcheck``."""
        limit = self._settings.outbox_age_limit
        return {
            "outbox": not limit or self._outbox_age <= limit,
            "certificate": self._days_left is None or self._days_left > 0,
            "clock": abs(self._offset) <= self._settings.clock_limit,
        }

    def unready(self) -> str | None:
        """Return why no request should come here, or none: nobody can, or whatever is kept would bear a wrong time.

        A backlog of the outbox is no reason: what waits there waits for others. Spec: 00 §3.1 ``/readyz``.
        """
        return next((name for name in ("certificate", "clock") if not self.components()[name]), None)

    async def follow(self) -> None:
        """Look again and again, until it is cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            await self.look()

    async def look(self) -> None:
        """Look at everything once."""
        if "spine" in self._settings.faces:
            self._days_left = await asyncio.to_thread(self._days)
            if self._days_left is not None:
                self._metrics.certificate(self._days_left)
        await self._look_at_clock()
        await self.look_at_outbox()
        self._warn(
            "certificate",
            self._days_left is not None and self._days_left < self._settings.certificate_warning_days,
            days_left=round(self._days_left or 0.0, 1),
        )
        self._warn("clock", abs(self._offset) > _JUMP, seconds=round(self._offset, 3))
        self._warn("outbox", not self.components()["outbox"], oldest_seconds=round(self._outbox_age))

    def _days(self) -> float | None:
        """Return the days until the certificate of the spine listener ends; none when that cannot be read."""
        try:
            certificate = _first_certificate(self._settings.tls_certificate)
        except (OSError, ValueError):
            return None
        return (certificate.not_valid_after_utc - self._clock()).total_seconds() / _DAY

    async def _look_at_clock(self) -> None:
        """Compare our clock with the store's, and with how much time has really gone by."""
        between = self._clock().timestamp() - monotonic()
        if self._between is not None and abs(between - self._between) > _JUMP:
            self._metrics.clock_jumped()
            _log.error("the clock has jumped", seconds=round(between - self._between, 3))
        self._between = between
        asked = self._clock()
        try:
            told = await self._store.now()
        except StoreError:
            return
        took = self._clock() - asked
        if timedelta(0) <= took < timedelta(seconds=_JUMP):
            # What was told held at some moment while we waited.
            self._offset = (asked + took / 2 - told).total_seconds()
            self._metrics.clock_offset(self._offset)

    async def look_at_outbox(self) -> None:
        """Bring the figures of the outbox up to date."""
        try:
            figures = await self._store.outbox_figures()
        except StoreError:
            return
        age = (self._clock() - figures.oldest).total_seconds() if figures.oldest is not None else 0.0
        self._outbox_age = max(0.0, age)
        rows = {state.value: figures.rows.get(state.value, 0) for state in OutboxState}
        self._metrics.outbox(rows, self._outbox_age)

    def _warn(self, name: str, wrong: bool, **facts: float) -> None:
        """Say once that something is wrong, and once that it is right again."""
        if wrong and name not in self._warned:
            self._warned.add(name)
            _log.warning(f"{name} needs attention", **facts)
        elif not wrong and name in self._warned:
            self._warned.discard(name)
            _log.info(f"{name} is well again")


def _first_certificate(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(file.read_bytes())[0]
