"""A demo service that really runs, as its users start it."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STOP_SECONDS = 10
"""A service ends within this after SIGTERM. Spec: 00 §4 ``serve``."""

PATIENT = re.compile(rb"\b999[0-9]{7}\b")


def clean_environment(**variables: str) -> dict[str, str]:
    """Return the environment without settings of ours that the machine may have."""
    return {k: v for k, v in os.environ.items() if not k.startswith("OPENSCR_")} | {"COLUMNS": "120"} | variables


@dataclass(frozen=True)
class DemoServer:
    """A running ``openscr serve --demo``: addresses, data folder, process, log file."""

    web: str
    spine: str
    data: Path
    process: "subprocess.Popen[str]"
    log: Path

    def certificate(self, name: str) -> tuple[Path, Path, Path]:
        """Return certificate, key and authority files of a demo certificate, for example ``gp.client.test``."""
        pki = self.data / "pki"
        return pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem"


@contextmanager
def serving(home: Path, *arguments: str) -> Iterator[DemoServer]:
    """Run a demo service on free ports with its data in ``home/data``; it must end as told, and log no patient."""
    log = home / "log"
    data = home / "data"
    command = [sys.executable, "-m", "openscr", "serve", "--demo", "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0"]
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [*command, "--data", str(data), *arguments],
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=home,
            env=clean_environment(),
            text=True,
        )
    assert process.stdout is not None
    try:
        ready, web, spine = process.stdout.readline().split()
        assert ready == "ready"
        yield DemoServer(web, spine, data, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            status = process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        finally:
            rest = process.stdout.read()
            process.stdout.close()
    assert status == 0, log.read_text()[-2000:]
    assert rest == "", "only the ready line is for standard output"
    assert PATIENT.search(log.read_bytes()) is None, "an NHS number stands in the log"
