"""One clinic for each test that asks for it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .clinic import Clinic, open_clinic


@pytest.fixture
async def clinic(tmp_path: Path) -> AsyncIterator[Clinic]:
    """A clinic with the default rules and an open index."""
    async with open_clinic(tmp_path) as opened:
        yield opened
