"""A demo service of one's own: started on free ports with a data folder that is thrown away afterwards.

Spec: 00 §4 ``demo``.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from openscr.errors import DeliveryError

if TYPE_CHECKING:
    from openscr.client import Tls

STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class OwnService:
    """A running service: the addresses of its listeners, and its data folder."""

    web: str
    spine: str
    data: Path

    def certificate(self, name: str) -> "Tls":
        """Return the files of a demo certificate for mutual TLS."""
        from openscr.client import Tls

        pki = self.data / "pki"
        return Tls(pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem")


@contextmanager
def own_service() -> Iterator[OwnService]:
    """Run a demo service while the block lasts. Raises: `DeliveryError` when it does not start."""
    with tempfile.TemporaryDirectory(prefix="openscr-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        data = home / "data"
        arguments = ["serve", "--demo", "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0", "--data", str(data)]
        # Settings of the caller's own service must not lead this one to its store.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENSCR_")}
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "openscr", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=home,
                env=environment,
            )
        try:
            line = process.stdout.readline().decode() if process.stdout is not None else ""
            words = line.split()
            if len(words) != 3 or words[0] != "ready":
                raise DeliveryError(f"the service did not start: {_last_words(home / 'log')}")
            yield OwnService(words[1], words[2], data)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
