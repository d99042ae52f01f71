"""A real RabbitMQ with its AMQP 1.0 plug-in, on loopback ports, with a node, a port mapper and folders of its own."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from openscr.access import pki

PATIENCE = 120
"""Seconds after which a broker that does not come up, or does not end, is taken for lost."""

USER, PASSWORD = "supplier", "open/sesame"

LARGEST = 32 * 1024 * 1024
"""Bytes of a message that the broker takes at most."""

_PROGRAMS = Path("/usr/lib/rabbitmq/lib")
_PLUGIN = "rabbitmq_amqp1_0"


class RabbitMq:
    """A broker; ``port`` speaks AMQP 0-9-1 and 1.0, and so does ``tls_port`` with a certificate for ``localhost``."""

    def __init__(self, folder: Path) -> None:
        self._program, self._mapper_program = _installed()
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._mapper: subprocess.Popen[bytes] | None = None
        self.port, self.tls_port, self._node_port, self._mapper_port = _free_ports(4)
        self.authority = pki.create_authority(folder / "pki")
        certificate = pki.issue(folder / "pki", "localhost", usage="server", key_type="ec")
        lines = [
            f"listeners.tcp.1 = 127.0.0.1:{self.port}",
            f"default_user = {USER}",
            f"default_pass = {PASSWORD}",
            "log.file.level = warning",
            # This machine's memory and disk are not the broker's.
            "vm_memory_high_watermark.absolute = 1GB",
            "disk_free_limit.absolute = 10MB",
            f"max_message_size = {LARGEST}",
            f"listeners.ssl.1 = 127.0.0.1:{self.tls_port}",
            f"ssl_options.certfile = {certificate}",
            f"ssl_options.keyfile = {certificate.with_suffix('.key')}",
            "ssl_options.verify = verify_none",
        ]
        (folder / "rabbitmq.conf").write_text("\n".join(lines) + "\n")
        (folder / "plugins").write_text(f"[{_PLUGIN}].\n")

    @property
    def address(self) -> str:
        """The broker's address without user and password."""
        return f"amqp://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The broker's address with user and password."""
        return f"amqp://{USER}:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/"

    def _environment(self) -> dict[str, str]:
        loopback = "-kernel inet_dist_use_interface {127,0,0,1}"
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._folder),
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"openscr-{self._mapper_port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._node_port),
            "RABBITMQ_CONFIG_FILE": str(self._folder / "rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": os.devnull,
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "logs"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": f"{loopback} +S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def start(self) -> None:
        """Run the broker, and wait until it lets somebody in."""
        environment = self._environment()
        with (self._folder / "output").open("ab") as output:
            if self._mapper is None:
                self._mapper = subprocess.Popen(
                    [self._mapper_program, "-port", str(self._mapper_port), "-address", "127.0.0.1"],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=environment,
                )
            self._process = subprocess.Popen(
                [self._program],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self._folder,
                start_new_session=True,
            )
        given_up = time.monotonic() + PATIENCE
        while not self._answers():
            assert self._process.poll() is None, self._output()
            assert time.monotonic() < given_up, self._output()
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether the broker speaks AMQP 1.0: it opens its sockets long before it does."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=5) as probe:
            probe.sendall(b"AMQP\x03\x01\x00\x00")
            return probe.recv(8) == b"AMQP\x03\x01\x00\x00"
        return False

    def _output(self) -> str:
        return (self._folder / "output").read_text(errors="replace")

    def stop(self) -> None:
        """End the broker in good order; durable queues and messages stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker at once."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # The program is a shell: it, the machine of Erlang and its children are one group.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, how)
        process.wait(PATIENCE)

    def end(self) -> None:
        """End the broker and its port mapper."""
        self.stop()
        if self._mapper is not None:
            self._mapper.kill()
            self._mapper.wait(PATIENCE)
            self._mapper = None


@contextmanager
def rabbitmq_server() -> Iterator[RabbitMq]:
    """Run a broker for tests; skip them where there is none."""
    _installed()
    # Not below pytest's own folder: names of sockets and nodes are limited in length.
    folder = Path(tempfile.mkdtemp(prefix="openscr-rabbitmq-"))
    broker = RabbitMq(folder)
    try:
        broker.start()
        yield broker
    finally:
        broker.end()
        shutil.rmtree(folder)


def _installed() -> tuple[str, str]:
    # Debian's own command runs it as another user, in folders of the system.
    program = next((path for path in sorted(_PROGRAMS.glob("rabbitmq_server-*/sbin/rabbitmq-server"))), None)
    mapper = shutil.which("epmd")
    if program is None or mapper is None:
        pytest.skip("RabbitMQ is not on this machine (Debian: rabbitmq-server)")
    return str(program), mapper


def _free_ports(count: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
