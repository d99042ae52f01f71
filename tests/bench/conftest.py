"""Small corpora and the demo's GP system, for the measurements that are measured here."""

import pytest

from openscr.bench.summaries import reference_document
from openscr.client.profile import Profile
from openscr.directory.form import build_directory, read_directory
from openscr.directory.model import Directory
from openscr.testbench.world import demo_directory


@pytest.fixture(scope="session")
def directory() -> Directory:
    """The demo's directory."""
    return build_directory(read_directory(demo_directory()), 1)


@pytest.fixture(scope="session")
def profile(directory: Directory) -> Profile:
    """The demo's GP system, with its GP."""
    return Profile.of_directory(directory, "app-gp", "555000000102")


@pytest.fixture(scope="session")
def reference() -> bytes:
    """The reference summary, with its places."""
    return reference_document()
