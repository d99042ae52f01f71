"""The demo service that most journeys use, an adaptor beside one, and the certificates that all services share."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from journeys.adaptor import Adaptor, Supplier, beside, register
from journeys.runner import Server, new_data
from openscr.access.pki import make_demo_certificates


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of an authority, and of one that nobody trusts."""
    folder = tmp_path_factory.mktemp("authority") / "pki"
    make_demo_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def demo(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A demo service for the whole run."""
    server = Server.start(new_data(tmp_path_factory.mktemp("demo") / "data", pki), demo=True)
    yield server
    assert server.stop() == 0


@pytest.fixture
def data(pki: Path, tmp_path: Path) -> Path:
    """A data folder with keys and certificates, and no store yet."""
    return new_data(tmp_path / "data", pki)


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., Server]]:
    """Starts services on the test's data folder; whatever still runs at the end is stopped."""
    started: list[Server] = []

    def begin(**settings: object) -> Server:
        server = Server.start(data, **settings)
        started.append(server)
        return server

    yield begin
    for server in started:
        if server.process.poll() is None:
            server.stop()


@pytest.fixture(scope="module")
def spine(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A demo service of this module's own: its answers go to the adaptor."""
    server = Server.start(new_data(tmp_path_factory.mktemp("spine") / "data", pki), demo=True)
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def adaptor(spine: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Adaptor]:
    """An adaptor of the demo practice, which the service's directory knows."""
    running = Adaptor.start(tmp_path_factory.mktemp("adaptor"), **beside(spine))
    asyncio.run(register(spine, running.inbound))
    yield running
    assert running.stop() == 0


@pytest.fixture
async def supplier(adaptor: Adaptor) -> AsyncIterator[Supplier]:
    """The practice's own system behind that adaptor."""
    async with Supplier(adaptor) as system:
        yield system
