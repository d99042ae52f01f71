"""The service that is measured: one of our own, with several workers if wished, or one that runs already.

A service of one's own is no demo: it has the demo's directory, so that the demo's GP system may send, and that party's
acknowledgements come to us.

Spec: 90 §6.4; 00 §4 ``bench``.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from openscr.access import pki
from openscr.bench.endpoint import Endpoint
from openscr.bench.floor import FloorPlan
from openscr.bench.loading import Loader
from openscr.bench.stores import server_of
from openscr.bench.summaries import documents_of
from openscr.client.connection import Tls
from openscr.client.profile import Profile
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.model import Directory
from openscr.errors import ConfigurationError, DeliveryError
from openscr.store.interface import Store
from openscr.store.opening import open_store
from openscr.testbench.world import OWN_PARTY, PRACTICE_PARTY, demo_directory

CERTIFICATE: Final = "gp.client.test"
"""Certificate of the demo's GP system, for calling and for being called."""

STARTING: Final = 60.0
STOPPING: Final = 20.0
"""Seconds that a service may take to be ready, and to end."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: where it is, how it is asked, which processes serve it, what its store is.

    ``pids`` are the processes of the service, none when nobody knows them, ``database`` those of a database beside it;
    ``store`` is its URL, empty likewise.
    ``endpoint`` has the application acknowledgements, where they come to us.
    """

    at: str
    profile: Profile
    tls: Tls | None = None
    pids: tuple[int, ...] = ()
    database: tuple[int, ...] = ()
    store: str = ""
    endpoint: Endpoint | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a service of one's own should be like.

    Without a ``data`` folder it has one that is thrown away; ``store`` is a URL, SQLite in that folder by default.
    ``tls`` false means a demo service, whose web listener takes the Spine paths without certificates.
    ``patients`` are loaded before it starts. ``database`` are the processes of its database, where those
    cannot be found.
    """

    data: Path | None = None
    store: str = ""
    workers: int = 1
    tls: bool = True
    patients: int = 0
    mixed_sizes: bool = False
    log_level: str = "info"
    database: tuple[int, ...] = ()


def practice_profile(directory: Directory) -> Profile:
    """Return the demo's GP system with its GP, in whose name everything is sent."""
    return Profile.of_directory(directory, "app-gp", "555000000102")


async def check_is_for_measuring(store: Store) -> None:
    """Refuse a store that is somebody's: its directory is not the demo's, or is empty though something has happened.

    Raises: `ConfigurationError`, `StoreError`.
    """
    entries = await store.read_directory()
    if not entries and await store.audit_heads():
        raise ConfigurationError(
            "this store has records and no directory, so it is somebody's: "
            "measurements fill a store of their own with made-up records, name another one"
        )
    strangers = {key for kind, key, _ in entries if kind == "party"} - {
        party["party_key"] for party in json.loads(demo_directory())["parties"]
    }
    if strangers:
        raise ConfigurationError(
            f"the directory of this store has a party {min(strangers)}: "
            "measurements fill a store of their own with made-up records, name another one"
        )


@asynccontextmanager
async def own_service(wanted: Wanted) -> AsyncIterator[Subject]:
    """Run a service while the block lasts, with an endpoint that takes its acknowledgements.

    Raises: `ConfigurationError`, `StoreError`; `DeliveryError` when it does not start.
    """
    _end_when_told()
    if wanted.workers > 1 and not wanted.tls:
        raise ConfigurationError("without TLS it is a demo service, which has one worker: leave out --no-tls")
    with tempfile.TemporaryDirectory(prefix="openscr-bench-", ignore_cleanup_errors=True) as folder:
        data = wanted.data or Path(folder) / "data"
        store = wanted.store or f"sqlite:///{data.absolute() / 'openscr.db'}"
        data.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = data / "pki"
        if wanted.tls:
            await asyncio.to_thread(_make_certificates, keys)
        files = Tls(keys / f"{CERTIFICATE}.pem", keys / f"{CERTIFICATE}.key", keys / "ca.pem") if wanted.tls else None
        endpoint = Endpoint(PRACTICE_PARTY, OWN_PARTY, files.server_context() if files else None)
        await endpoint.start()
        try:
            profile = await _prepare(store, wanted, endpoint.url)
            # A password is for no list of processes.
            variables = {"OPENSCR_STORE": store, "OPENSCR_PATIENT_INDEX": "open"}
            async with started(_serve_command(wanted, data.absolute()), variables, Path(folder)) as (pid, urls):
                found = await server_of(store)
                database = wanted.database or ((found,) if found is not None else ())
                at = urls[1] if wanted.tls else urls[0]
                yield Subject(at, profile, files, (pid,), database, store, endpoint)
        finally:
            endpoint.stop()


def _make_certificates(folder: Path) -> None:
    """Make the authority, and the certificates of both sides, where they are lacking."""
    pki.create_authority(folder)
    if not (folder / f"{CERTIFICATE}.pem").exists():
        pki.issue(folder, "localhost", dns_names=["127.0.0.1", "::1"], usage="both")
        pki.issue(folder, CERTIFICATE, usage="both")


async def _prepare(url: str, wanted: Wanted, callback: str) -> Profile:
    """Give the store its directory and its records; return who sends."""
    store = open_store(url)
    await store.open()
    try:
        await check_is_for_measuring(store)
        rows = merge([], read_directory(directory_with(callback)), replace=True)
        await store.write_directory(rows, replace=True)
        directory = build_directory(rows, 1)
        profile = practice_profile(directory)
        if wanted.patients:
            loader = Loader(store, directory, profile, documents_of(mixed=wanted.mixed_sizes))
            await loader.load(wanted.patients)
    finally:
        await store.close()
    return profile


def directory_with(callback: str) -> bytes:
    """Return the demo's directory with the practice's acknowledgements led to ``callback``. Spec: 00 §6.3."""
    form: dict[str, Any] = json.loads(demo_directory())
    for endpoint in form["endpoints"]:
        if endpoint["party_key"] == PRACTICE_PARTY:
            endpoint["address"] = callback
    return json.dumps(form).encode()


def _serve_command(wanted: Wanted, data: Path) -> list[str]:
    command = [sys.executable, "-m", "openscr", "serve", "--data", str(data), "--log-level", wanted.log_level]
    command += ["--web", "127.0.0.1:0", "--spine", "127.0.0.1:0"]
    command += [] if wanted.tls else ["--demo"]
    return [*command, *(("--workers", str(wanted.workers)) if wanted.workers > 1 else ())]


def _end_when_told() -> None:
    """Have SIGTERM cancel the task that calls, once: ``timeout`` sends it twice, and what was begun must be ended."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def end() -> None:
        if task is not None and not task.cancelling():
            task.cancel()

    # A loop of Windows knows no signals.
    with contextlib.suppress(NotImplementedError):
        loop.add_signal_handler(signal.SIGTERM, end)


@asynccontextmanager
async def started(
    command: Sequence[str], variables: Mapping[str, str], folder: Path
) -> AsyncIterator[tuple[int, list[str]]]:
    """Run a program of ours that says when it is ready; give its process and the addresses that it says.

    ``folder`` takes what it logs. A task that is told to end meanwhile (SIGTERM) is cancelled, and ends it first.
    Raises: `DeliveryError` when it does not start.
    """
    _end_when_told()
    # Settings of another service on this machine are not this one's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENSCR_")}
    log = folder / "log"
    with log.open("wb") as said:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=said, cwd=folder, env={**environment, **variables}
        )
    try:
        line = b""
        if process.stdout is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STARTING):
                    line = await process.stdout.readline()
        words = line.decode().split()
        if not words or words[0] != "ready":
            raise DeliveryError(f"the service did not start: {_last_words(log)}")
        yield process.pid, words[1:]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(STOPPING):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


@asynccontextmanager
async def floor_beside(subject: Subject) -> AsyncIterator[Subject]:
    """Run the floor of a service while the block lasts: the same machine, libraries, durability and TLS mode."""
    with tempfile.TemporaryDirectory(prefix="openscr-bench-", ignore_cleanup_errors=True) as folder:
        files, endpoint = subject.tls, subject.endpoint
        paths = (str(files.certificate), str(files.key), str(files.authority)) if files is not None else ("", "", "")
        plan = FloorPlan(folder, subject.store, endpoint.url if endpoint is not None else "", *paths)
        command = [sys.executable, "-m", "openscr.bench.floor"]
        async with started(command, plan.environment(), Path(folder)) as (pid, urls):
            yield replace(subject, at=urls[0], pids=(pid,), store="")


def _last_words(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it said nothing")
