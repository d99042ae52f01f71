"""Live services on a data folder of the test's own, with a store of either engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeys.conftest import data, pki, start
from journeys.runner import Server, new_data

__all__ = ["data", "pki", "start"]

ENGINES = ("sqlite", "postgresql")


@pytest.fixture(params=ENGINES)
def any_data(request: pytest.FixtureRequest, pki: Path, tmp_path: Path) -> Path:
    """A data folder with keys and certificates, whose store is still empty: of each engine in turn."""
    store = request.getfixturevalue("postgres").create_database() if request.param == "postgresql" else ""
    return new_data(tmp_path / "any", pki, store=store)


@pytest.fixture
def any_start(any_data: Path) -> Iterator[Callable[..., Server]]:
    """Starts services on that folder; whatever still runs at the end is stopped."""
    started: list[Server] = []

    def begin(**settings: object) -> Server:
        server = Server.start(any_data, **settings)
        started.append(server)
        return server

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()
