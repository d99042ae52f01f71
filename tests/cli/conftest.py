"""Commands run as their users run them: as programs of their own.

The first run of each command is a start from nothing; later ones are copies of a process that has its imports already.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forking import ForkingProgram
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


_started: set[str] = set()


@pytest.fixture(scope="session")
def program() -> Iterator[ForkingProgram]:
    """Give what runs commands that were started from nothing before."""
    forking = ForkingProgram()
    yield forking
    forking.end()


@pytest.fixture
def openscr(tmp_path: Path, program: ForkingProgram) -> Run:
    """Run ``openscr`` with arguments, in a folder of the test's own."""

    def run(*arguments: object, stdin: bytes = b"", **variables: str) -> Ended:
        words = [str(argument) for argument in arguments]
        environment = clean_environment(**variables)
        command = words[0] if words else ""
        # What other variables mean, such as the width of the terminal, is looked at when libraries are imported.
        ours = all(name.startswith(("OPENSCR_", "MHS_")) for name in variables)
        if ours and command in _started:
            ended = program.run(words, stdin=stdin, cwd=tmp_path, env=environment, timeout=PATIENCE)
        else:
            _started.add(command)
            ended = subprocess.run(
                [sys.executable, "-m", "openscr", *words],
                input=stdin,
                capture_output=True,
                cwd=tmp_path,
                env=environment,
                timeout=PATIENCE,
                check=False,
            )
        return Ended(ended.returncode, ended.stdout.decode(), ended.stderr.decode())

    return run
