"""Services started, stopped and killed as their operators would, and what lies in their data folders."""

import asyncio
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from openscr.directory.form import merge, read_directory
from openscr.store.interface import OutboxRow, PatientEntry, Store
from openscr.store.opening import open_store
from openscr.testbench.world import demo_directory

STOP_SECONDS = 10
"""A service ends within this after SIGTERM. Spec: 00 §4 ``serve``."""

BETWEEN_QUESTIONS = 0.02
"""Seconds between two questions whether something has happened."""

PATIENCE = 60
"""Seconds after which something that must happen is taken for lost; nothing waits that long when all is well."""


class Started:
    """A process that was started, and how it ends."""

    process: subprocess.Popen[str]

    def about_to_stop(self) -> None:
        """Do what must be done while it still runs: nothing."""

    def stop(self) -> int:
        """End it with SIGTERM; return its exit code. Raises when it takes longer than it may."""
        if self.process.poll() is None:
            self.about_to_stop()
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            self._close()

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()
        self._close()

    def _close(self) -> None:
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass
class Server(Started):
    """A running service: base URLs of its listeners, data folder, process and log."""

    web: str
    spine: str
    data: Path
    process: subprocess.Popen[str]
    log: Path

    @classmethod
    def start(cls, data: Path, **settings: object) -> "Server":
        """Start a service on free ports and wait until it is ready; ``settings`` by their names."""
        process, log = launch(data, **settings)
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            process.wait()
            raise AssertionError(f"the service did not start: {log.read_text()[-2000:]}")
        _, web, *spine = words
        return cls(web, spine[0] if spine else "", data, process, log)

    def certificate(self, name: str) -> tuple[Path, Path, Path]:
        """Return certificate, key and authority files of a certificate of the service's own authority."""
        pki = self.data / "pki"
        return pki / f"{name}.pem", pki / f"{name}.key", pki / "ca.pem"

    def tls(self, name: str = "gp.client.test") -> ssl.SSLContext:
        """Return what a client with this certificate connects with."""
        return client_context(self.data / "pki", name)

    def about_to_stop(self) -> None:
        """Leave the last figures beside the log, for the search for patient data."""
        with urlopen(f"{self.web}/metrics", timeout=5) as answer:
            self.log.with_suffix(".metrics").write_bytes(answer.read())


def launch(data: Path, **settings: object) -> tuple[subprocess.Popen[str], Path]:
    """Run ``openscr serve``, whether or not it comes to be ready; return the process and the file of its log."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / f"service-{len(list(data.glob('service-*.log')))}.log"
    given = {"data": data, "web": "127.0.0.1:0", "spine": "127.0.0.1:0", "log_format": "json"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENSCR_")}
    environment |= {f"OPENSCR_{name.upper()}": _text(value) for name, value in given.items()}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "openscr", "serve"],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            cwd=data,
            env=environment,
            text=True,
        )
    return process, log


async def command(data: Path, *arguments: str) -> str:
    """Run a command of ``openscr`` on a data folder, as its operator does; return what it prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "openscr", *arguments, "--data", str(data)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=data,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return output.decode()


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def client_context(pki: Path, name: str | None) -> ssl.SSLContext:
    """Return a client's TLS context: it trusts the authority of ``pki`` and shows the certificate ``name``, if any."""
    context = ssl.create_default_context(cafile=pki / "ca.pem")
    if name is not None:
        context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    return context


def server_context(pki: Path, name: str) -> ssl.SSLContext:
    """Return the TLS context of a client's own endpoint: it asks the caller for a certificate of the authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki / f"{name}.pem", pki / f"{name}.key")
    context.load_verify_locations(pki / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


# --- data folders ---------------------------------------------------------------------------------------------------


def new_data(folder: Path, pki: Path, *, store: str = "") -> Path:
    """Make a data folder that already has its keys and certificates.

    ``store`` is the URL of a store elsewhere: services, commands and tests of this folder take it from the file of
    settings in it.
    """
    folder.mkdir(parents=True)
    shutil.copytree(pki, folder / "pki")
    if store:
        (folder / "openscr.toml").write_text(f"store = {json.dumps(store)}\n")
    return folder


def store_url(data: Path) -> str:
    """Return the URL of the store of a data folder."""
    settings = data / "openscr.toml"
    given: str | None = tomllib.loads(settings.read_text()).get("store") if settings.exists() else None
    return given or f"sqlite:///{data / 'openscr.db'}"


@asynccontextmanager
async def stored(data: Path) -> AsyncIterator[Store]:
    """Open the store of a data folder from outside, whether or not a service runs on it."""
    store = open_store(store_url(data))
    await store.open()
    try:
        yield store
    finally:
        await store.close()


def live_directory(address: str, **contract: object) -> dict[str, Any]:
    """Return the demo's systems and people, whose answers go to ``address`` instead of the demo's collector.

    ``contract`` changes how clients want to be talked to (`openscr-directory/1`, for example ``retries=1``).
    """
    directory: dict[str, Any] = json.loads(demo_directory())
    directory["contracts"]["client"] = directory["contracts"]["reliable"] | contract
    for endpoint in directory["endpoints"]:
        if endpoint["address"] == "inbox:":
            endpoint |= {"address": address, "contract": "client"}
    return directory


async def import_directory(data: Path, directory: Mapping[str, Any], *, replace: bool = False) -> None:
    """Import a directory file into a store, as ``openscr directory import`` does."""
    async with stored(data) as store:
        entries = merge(await store.read_directory(), read_directory(json.dumps(directory).encode()), replace)
        await store.write_directory(entries, replace=True)


async def import_patients(data: Path, numbers: Iterable[str]) -> None:
    """List patients in the index."""
    async with stored(data) as store:
        await store.write_patients(PatientEntry(number) for number in numbers)


async def outbox_rows(data: Path) -> list[OutboxRow]:
    """Return what still waits to be delivered."""
    url = store_url(data)
    if url.startswith("sqlite:"):
        # Reports need no writer of their own: a store that is not open can give them.
        return await open_store(url).list_outbox()
    async with stored(data) as store:
        return await store.list_outbox()


async def faults_of(data: Path) -> tuple[str, ...]:
    """Return what `Store.verify` finds wrong: nothing, whatever has happened."""
    async with stored(data) as store:
        return (await store.verify()).faults


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes; between two questions the machine is for the process asked about."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 - it happens in another process
            await asyncio.sleep(BETWEEN_QUESTIONS)
