"""Commands run as their users run them: as programs of their own."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving import clean_environment

PATIENCE = 60


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value of the output."""
        return json.loads(self.out)

    def failed(self, *said: str, status: int = 1) -> "Ended":
        """Hold that it failed as a command fails: its status, one clear line, no traceback. Spec: 00 §4."""
        assert self.status == status, self
        assert "Traceback" not in self.err
        if status == 1:
            assert self.err.startswith("openscr: ")
            assert len(self.err.splitlines()) == 1, self.err
        for text in said:
            assert text in self.err, self.err
        return self

    def done(self) -> "Ended":
        """Hold that it did what it should."""
        assert self.status == 0, self
        return self


Run = Callable[..., Ended]


@pytest.fixture
def openscr(tmp_path: Path) -> Run:
    """Run ``openscr`` with arguments, in a folder of the test's own."""

    def run(*arguments: object, stdin: bytes = b"", **variables: str) -> Ended:
        ended = subprocess.run(
            [sys.executable, "-m", "openscr", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            cwd=tmp_path,
            env=clean_environment(**variables),
            timeout=PATIENCE,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run
