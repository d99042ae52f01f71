"""One service for each test that asks for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .harness import Harness, running


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Harness]:
    """A fresh service that knows the patients of the examples."""
    async with running(tmp_path) as harness:
        yield harness
