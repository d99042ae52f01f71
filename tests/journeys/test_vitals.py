"""Readiness tells the truth: what was looked at with a real store, a real certificate, and a clock of the test's."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from openscr.access import pki
from openscr.errors import StoreUnavailable
from openscr.figures import exposition, figures_of
from openscr.metrics import Metrics
from openscr.settings import Settings, load_settings
from openscr.store.sqlite import SqliteStore
from openscr.vitals import Vitals
from store.samples import an_outbox_row, append

WELL = {"outbox": True, "certificate": True, "clock": True}


class Patient:
    """A service's vitals; ``ahead`` is how far its clock is before the machine's."""

    def __init__(self, store: SqliteStore, settings: Settings) -> None:
        self.metrics = Metrics()
        self.ahead = timedelta(0)
        self.vitals = Vitals(settings, store, self.metrics, lambda: datetime.now(UTC) + self.ahead)

    def figure(self, name: str) -> float:
        """Return a figure as Prometheus would see it."""
        lines = exposition([figures_of(self.metrics.registry)]).decode().splitlines()
        (line,) = [line for line in lines if line.startswith(f"{name} ")]
        return float(line.split()[1])


@pytest.fixture
async def store(tmp_path: Path) -> SqliteStore:
    """Give an open store."""
    opened = SqliteStore(tmp_path / "openscr.db")
    await opened.open()
    return opened


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give settings with a certificate of thirty days."""
    monkeypatch.chdir(tmp_path)
    pki.create_authority(tmp_path / "pki")
    pki.issue(tmp_path / "pki", "localhost", dns_names=["127.0.0.1"], usage="both", days=30)
    return load_settings({"data": tmp_path, "outbox_age_limit": 60, "clock_limit": 5})


async def test_all_is_well(store: SqliteStore, settings: Settings) -> None:
    """And the figures say how well."""
    patient = Patient(store, settings)
    await patient.vitals.look()
    assert (patient.vitals.components(), patient.vitals.unready()) == (WELL, None)
    assert 29 < patient.figure("openscr_certificate_days") <= 30
    assert abs(patient.figure("openscr_clock_offset_seconds")) < 1
    assert patient.figure("openscr_clock_jumps_total") == 0
    await store.close()


async def test_a_certificate_that_has_ended(store: SqliteStore, settings: Settings) -> None:
    """Nobody can come in by it: not ready, until another one is there."""
    patient = Patient(store, settings)
    patient.ahead = timedelta(days=31)
    patient.vitals._settings = settings.model_copy(update={"clock_limit": 10**9})
    await patient.vitals.look()
    assert patient.vitals.components() == WELL | {"certificate": False}
    assert patient.vitals.unready() == "certificate"
    assert patient.figure("openscr_certificate_days") < 0
    pki.issue(settings.pki, "localhost", dns_names=["127.0.0.1"], usage="both", days=365)
    await patient.vitals.look()
    assert patient.vitals.unready() is None
    await store.close()


async def test_a_clock_that_differs_from_the_stores(store: SqliteStore, settings: Settings) -> None:
    """A second is told, more than the limit is not ready; that it jumped is counted."""
    patient = Patient(store, settings)
    await patient.vitals.look()
    patient.ahead = timedelta(seconds=-3)
    await patient.vitals.look()
    assert patient.vitals.unready() is None
    assert -4 < patient.figure("openscr_clock_offset_seconds") < -2
    assert patient.figure("openscr_clock_jumps_total") == 1
    patient.ahead = timedelta(seconds=60)
    await patient.vitals.look()
    assert patient.vitals.components() == WELL | {"clock": False}
    assert patient.vitals.unready() == "clock"
    assert patient.figure("openscr_clock_jumps_total") == 2
    await store.close()


async def test_a_message_that_waits_too_long(store: SqliteStore, settings: Settings) -> None:
    """It is told where people look; requests are still taken, since it waits for others."""
    patient = Patient(store, settings)
    await append(store, [an_outbox_row(1, created_at=datetime.now(UTC) - timedelta(seconds=90))])
    await patient.vitals.look()
    assert patient.vitals.components() == WELL | {"outbox": False}
    assert patient.vitals.unready() is None
    assert 90 <= patient.figure("openscr_outbox_oldest_seconds") < 600
    patient.vitals._settings = settings.model_copy(update={"outbox_age_limit": 0})
    assert patient.vitals.components() == WELL
    await store.close()


async def test_a_store_that_cannot_be_asked_changes_nothing(store: SqliteStore, settings: Settings) -> None:
    """That it cannot is told as its own component."""
    patient = Patient(store, settings)
    await append(store, [an_outbox_row(1, created_at=datetime.now(UTC) - timedelta(seconds=90))])
    await patient.vitals.look()
    store.path.rename(store.path.with_suffix(".gone"))
    with pytest.raises(StoreUnavailable):
        await store.outbox_figures()
    await patient.vitals.look()
    assert patient.vitals.components() == WELL | {"outbox": False}
    await store.close()
