"""What `openscr upload` reads, and how far."""

import os
from pathlib import Path

import pytest

from openscr.cli.upload import LARGEST_FILE, _read
from openscr.errors import ConfigurationError


def test_a_file_is_read_as_it_is(tmp_path: Path) -> None:
    """Whatever bytes it holds, up to the largest message there is."""
    path = tmp_path / "a.xml"
    path.write_bytes(b"\0" * LARGEST_FILE)
    assert len(_read(path)) == LARGEST_FILE
    path.write_bytes(b"\0" * (LARGEST_FILE + 1))
    with pytest.raises(ConfigurationError, match="larger than a message"):
        _read(path)


def test_what_is_no_file_is_not_read() -> None:
    """A device may never end."""
    assert os.path.exists("/dev/zero")
    with pytest.raises(ConfigurationError, match="regular file"):
        _read(Path("/dev/zero"))
