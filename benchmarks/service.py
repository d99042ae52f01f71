"""The service under measurement: started, stopped, and asked for its CPU time and memory. Spec: 90 §6.4."""

import json
import os
import subprocess
import sys
from pathlib import Path

from openscr.directory.form import merge, read_directory
from openscr.store.opening import open_store
from openscr.testbench.world import PRACTICE_PARTY, demo_directory


def serve_command(data: Path, log_level: str = "info") -> tuple[str, ...]:
    """Return the command that starts a demo service on free ports with this data folder."""
    listeners = ("--web", "127.0.0.1:0", "--spine", "127.0.0.1:0")
    return (
        *(sys.executable, "-m", "openscr", "serve", "--demo", "--data", str(data)),
        *listeners,
        *("--log-level", log_level),
    )


class Process:
    """A server process under measurement."""

    def __init__(self, *command: str) -> None:
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline().split()
        if not line or line[0] != "ready":
            raise SystemExit(f"did not start: {' '.join(command)}")
        self.urls = line[1:]

    def cpu(self) -> float:
        """Return user and system CPU seconds so far, of the process and the children it has waited for."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(fields[i]) for i in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Return resident memory in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def peak(self) -> float:
        """Return the most resident memory so far, in MB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(15)


def accepted(status: int, body: bytes) -> bool:
    """Whether an answer says that all is well."""
    return (status == 202 and b"Acknowledgment" in body) or (status == 200 and b'typeCode="AA"' in body)


async def send_answers_to(data: Path, url: str) -> None:
    """Send the practice's acknowledgements to our endpoint instead of the demo's collector."""
    form = json.loads(demo_directory())
    for endpoint in form["endpoints"]:
        if endpoint["party_key"] == PRACTICE_PARTY:
            endpoint["address"] = url
    store = open_store(str(data / "openscr.db"))
    await store.open()
    await store.write_directory(merge([], read_directory(json.dumps(form).encode()), replace=True), replace=True)
    await store.close()
