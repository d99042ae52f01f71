"""What the black-box tests of all rooms share."""

from collections.abc import Iterator

import pytest

from serving import DemoServer, serving


@pytest.fixture(scope="session")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoServer]:
    """A demo service for the whole session; tests that change a patient take one of their own."""
    with serving(tmp_path_factory.mktemp("demo")) as server:
        yield server
