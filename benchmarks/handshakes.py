"""Measures what a connection costs the service: a full handshake with a client certificate, and one that is resumed.

    python -m benchmarks.handshakes [--count N] [--runs R]

Every connection asks for a path that there is not, so that nothing but the connection is measured; what that question
costs on a kept connection is shown beside it. Spec: 35 §3.1; figures go to docs/performance.md with date and machine.
"""

import argparse
import os
import platform
import socket
import ssl
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.service import Process, serve_command
from openscr.access import pki
from openscr.access.pki_files import KeyType

QUESTION = b"GET /none HTTP/1.1\r\nHost: localhost\r\n\r\n"
VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}


class Client:
    """Opens connections to one service with one version and one certificate."""

    def __init__(self, base: str, folder: Path, version: ssl.TLSVersion) -> None:
        parts = urlsplit(base)
        self._address = (parts.hostname or "", parts.port or 0)
        self._tls = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        self._tls.minimum_version = self._tls.maximum_version = version
        self._tls.load_cert_chain(folder / "gp.client.test.pem", folder / "gp.client.test.key")

    def connect(self, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
        """Open a connection, ask, and close it; return its session. Stops when a session was not taken up again."""
        with (
            self._open() as raw,
            self._tls.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
        ):
            self._ask(connection)
            if connection.session_reused != (session is not None):
                raise SystemExit("the session was not taken up again")
            return connection.session

    def ask_often(self, count: int) -> None:
        """Ask again and again on one connection."""
        with self._open() as raw, self._tls.wrap_socket(raw, server_hostname="localhost") as connection:
            for _ in range(count):
                self._ask(connection)

    def _open(self) -> socket.socket:
        raw = socket.create_connection(self._address)
        # As clients do: otherwise the question waits for the receipt of what ends the handshake.
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return raw

    @staticmethod
    def _ask(connection: ssl.SSLSocket) -> None:
        connection.sendall(QUESTION)
        if not connection.recv(4096).startswith(b"HTTP/1.1 404"):
            raise SystemExit("unexpected answer")


def _cost(process: Process, count: int, runs: int, act: Callable[[], None]) -> tuple[float, float]:
    """Return server CPU in ms, and how many went through in a second, of each of ``count``; medians after a warm-up."""
    costs, rates = [], []
    for run in range(runs + 1):
        before, started = process.cpu(), time.perf_counter()
        act()
        if run:
            costs.append((process.cpu() - before) * 1000 / count)
            rates.append(count / (time.perf_counter() - started))
    return statistics.median(costs), statistics.median(rates)


def _measure(kind: KeyType, count: int, runs: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        keys = data / "pki"
        pki.make_demo_certificates(keys)
        pki.issue(keys, "localhost", dns_names=["127.0.0.1"], usage="both", key_type=kind)
        pki.issue(keys, "gp.client.test", usage="both", key_type=kind)
        process = Process(*serve_command(data, "warning"))
        for name, version in VERSIONS.items():
            client = Client(process.urls[1], keys, version)

            def full(client: Client = client) -> None:
                for _ in range(count):
                    client.connect()

            def resumed(client: Client = client) -> None:
                session = client.connect()
                for _ in range(count):
                    # A ticket of TLS 1.3 is for one use: the next one comes with every connection.
                    session = client.connect(session)

            kept, _ = _cost(process, count * 4, runs, lambda client=client: client.ask_often(count * 4))
            for what, act in (("full", full), ("resumed", resumed)):
                cost, rate = _cost(process, count, runs, act)
                print(
                    f"{kind.upper():<4} {name}  {what:<8} {cost:.2f} ms CPU a connection  "
                    f"(of which the question {kept:.2f})  {rate:.0f}/s with one client"
                )
        process.stop()


def _main(count: int, runs: int) -> None:
    for kind in ("rsa", "ec"):
        _measure(kind, count, runs)  # type: ignore[arg-type]
    print(
        f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, {ssl.OPENSSL_VERSION}, "
        f"median of {runs} runs of {count} after a warm-up"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handshakes", description=__doc__)
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    _main(arguments.count, arguments.runs)
