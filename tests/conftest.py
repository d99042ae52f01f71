"""What the black-box tests of all rooms share."""

import os
import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from postgres import PostgresServer, postgres_server
from rabbitmq import RabbitMq, rabbitmq_server
from serving import DemoServer, serving

# Hundreds of programs are started here, and half of what a start takes is compiling what others have compiled already:
# where the machine's settings say that nothing compiled is to be kept, it is kept nevertheless.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long a test takes is the machine's affair, and no test fails for it.
settings.register_profile("openscr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("openscr")


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A demo service for the whole session; tests that change a patient take one of their own."""
    with serving(tmp_path_factory.mktemp("demo")) as server:
        yield server


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMq]:
    """A message broker for the whole session: a test takes queues of its own, and leaves it running."""
    with rabbitmq_server() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL for the whole session: a test makes a database of its own, and leaves the server running.

    It does not sync to disk; what is about durability starts a server of its own.
    """
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="session")
def emptied() -> list[str]:
    """Keep the URLs of databases that tests have done with, for the next ones: to make one takes longer than a test."""
    return []
