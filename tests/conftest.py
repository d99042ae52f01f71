"""What the black-box tests of all rooms share."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from rabbitmq import RabbitMq, rabbitmq_server
from serving import DemoServer, serving

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
