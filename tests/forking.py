"""Many short commands without their imports: a process that has made them once, and is copied for each command.

Nine tenths of what a short command takes is the import of libraries. The copy has the arguments, folder, environment
and standard streams of its own that a started program has, runs the same `main`, and ends in the same way.

Run as a program, it is that process: it reads orders from the socket that is its standard input.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

_ORDER = 1 << 20
_IMPORTED = (
    "openscr.cli.application",
    "typer.rich_utils",
    "openscr.access.pki_files",
    "openscr.cli.identity_walk",
    "openscr.client",
    "openscr.delivery.notification_senders",
    "openscr.directory.form",
    "openscr.directory.formats",
    "openscr.logs",
    "openscr.mhs.store.opening",
    "openscr.officers",
    "openscr.record.audit_forms",
    "openscr.settings",
    "openscr.store.migrations",
    "openscr.store.opening",
    "openscr.testbench.world",
    "openscr.validation.examination",
)


class ForkingProgram:
    """Runs ``openscr`` as copies of one process; `end` it when all is done."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENSCR_")}
        self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs, env=environment)
        theirs.close()

    def run(
        self, arguments: list[str], *, stdin: bytes, cwd: Path, env: dict[str, str], timeout: float
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run one command. Raises: `subprocess.TimeoutExpired`, with the command killed."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(stdin)
            given.seek(0)
            order = json.dumps({"arguments": arguments, "cwd": str(cwd), "env": env}).encode()
            socket.send_fds(self._orders, [order], [given.fileno(), out.fileno(), err.fileno()])
            pid = int(self._orders.recv(64))
            self._orders.settimeout(timeout)
            try:
                status = int(self._orders.recv(64))
            except TimeoutError:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                self._orders.settimeout(None)
                self._orders.recv(64)
                raise subprocess.TimeoutExpired(arguments, timeout) from None
            finally:
                self._orders.settimeout(None)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(arguments, status, out.read(), err.read())

    def end(self) -> None:
        """End the process that is copied."""
        self._orders.close()
        self._process.wait(30)


def _take_orders(orders: socket.socket) -> dict[str, Any] | None:
    """Start a copy for each order until there are no more; return, in the copy, what it is to run."""
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, _ORDER, 3)
        if not order:
            return None
        pid = os.fork()
        if not pid:
            orders.close()
            for number, descriptor in enumerate(descriptors):
                os.dup2(descriptor, number)
                os.close(descriptor)
            found: dict[str, Any] = json.loads(order)
            return found
        for descriptor in descriptors:
            os.close(descriptor)
        orders.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        orders.send(str(os.waitstatus_to_exitcode(status)).encode())


def _run(order: dict[str, Any]) -> None:
    """Be the program that the order describes."""
    os.chdir(order["cwd"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = ["openscr", *order["arguments"]]
    importlib.import_module("openscr.cli").main()


if __name__ == "__main__":
    # Where the program itself is run from: nothing of the tests can be imported by chance.
    sys.path.remove(str(Path(__file__).parent))
    for module in _IMPORTED:
        importlib.import_module(module)
    # The streams must not stay open in the copies: who reads them waits for their end.
    connection = socket.socket(fileno=os.dup(0))
    ordered = _take_orders(connection)
    if ordered is not None:
        _run(ordered)
