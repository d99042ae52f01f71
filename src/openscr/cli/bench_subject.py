"""Which service a measurement is of: the options that several commands of ``bench`` share.

Spec: 00 §4 ``bench``.
"""

import asyncio
import os
import platform
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from openscr.cli.options import read_profile, read_settings, read_tls
from openscr.cli.patients_make import GP
from openscr.errors import ConfigurationError

if TYPE_CHECKING:
    from openscr.bench.measuring import Bench
    from openscr.bench.service import Subject

T = TypeVar("T")

AtService = Annotated[
    str | None, typer.Option("--at", metavar="URL", help="Measure this service; default one of our own, thrown away.")
]
Pids = Annotated[
    list[int] | None,
    typer.Option("--pid", metavar="PID", help="A process whose CPU time counts, with those that it has started."),
]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=1, max=64, help="Workers of our own service.")]
WithTls = Annotated[bool, typer.Option("--tls/--no-tls", help="Whether our own service wants certificates.")]
Patients = Annotated[int, typer.Option("--patients", metavar="N", min=1, max=900_000, help="Patients with a record.")]
Load = Annotated[
    bool, typer.Option("--load/--no-load", help="Give the patients their records first, unless they have them already.")
]
Processes = Annotated[
    int, typer.Option("--generators", metavar="N", min=1, max=16, help="Processes that send the load.")
]
BenchData = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="Keep the data of our own service in this folder.")
]
BenchStore = Annotated[
    str | None, typer.Option("--store", metavar="URL", help="The store: of our own service, or of the one at --at.")
]


def run_measurement(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` and return its result. Who is told to end meanwhile ends its service first, and then as by Ctrl-C.

    Raises: what ``work`` raises; `KeyboardInterrupt` when it was told to end.
    """
    try:
        return asyncio.run(work)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


@dataclass(frozen=True, slots=True)
class Target:
    """The options that say what is measured, and by how many processes."""

    at: str | None = None
    app: str = "app-gp"
    directory: Path | None = None
    user: str | None = None
    cert: Path | None = None
    key: Path | None = None
    ca: Path | None = None
    callback: str | None = None
    pids: tuple[int, ...] = ()
    data: Path | None = None
    store: str | None = None
    workers: int = 1
    tls: bool = True
    patients: int = 1000
    load: bool = True
    mixed_sizes: bool = False
    generators: int = 1

    @property
    def conditions(self) -> str:
        """Under which conditions figures of this target hold. Spec: 90 §6.4."""
        machine = f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}"
        if self.at is not None:
            return f"{machine}, a service of somebody else's, {self.patients:,} patients"
        workers = f"{self.workers} worker{'s' if self.workers > 1 else ''}"
        return f"{machine}, {workers}, {'mutual TLS' if self.tls else 'plain HTTP'}, {self.patients:,} patients"


@asynccontextmanager
async def benched(target: Target) -> "AsyncIterator[tuple[Bench, Subject]]":
    """Give what is measured, its patients with their records. Raises: `ConfigurationError`, `DeliveryError`."""
    from openscr.bench.generators import generators
    from openscr.bench.measuring import Bench
    from openscr.bench.service import Wanted, own_service

    if target.at is not None:
        async with _attached(target, target.at) as subject:
            with generators(target.generators, mixed_sizes=target.mixed_sizes) as senders:
                bench = Bench(subject, senders)
                if target.load:
                    await bench.give_records(target.patients, mixed_sizes=target.mixed_sizes)
                yield bench, subject
        return
    given = {"--cert": target.cert, "--callback": target.callback, "--directory": target.directory}
    for name, value in given.items():
        if value is not None:
            raise typer.BadParameter(f"{name} goes with --at: a service of our own has its own")
    wanted = Wanted(
        data=target.data,
        store=_store_url(target.store),
        workers=target.workers,
        tls=target.tls,
        patients=target.patients if target.load else 0,
        mixed_sizes=target.mixed_sizes,
        database=target.pids,
    )
    async with own_service(wanted) as subject:
        with generators(target.generators, mixed_sizes=target.mixed_sizes) as senders:
            yield Bench(subject, senders), subject


@asynccontextmanager
async def _attached(target: Target, at: str) -> "AsyncIterator[Subject]":
    from openscr.bench.endpoint import Endpoint
    from openscr.bench.processes import usage_of
    from openscr.bench.service import Subject
    from openscr.cli.options import reach
    from openscr.settings import read_address

    if target.data is not None or target.workers > 1:
        raise typer.BadParameter("--data and --workers are for a service of our own, not for the one at --at")
    files = read_tls(at, target.cert, target.key, target.ca)
    await reach(at)
    usage_of(target.pids)
    profile = await asyncio.to_thread(read_profile, target.app, target.directory, target.user or GP)
    endpoint = None
    if target.callback is not None:
        try:
            address = read_address(target.callback)
        except ValueError as error:
            raise typer.BadParameter(f"--callback: {error}") from None
        secure = profile.answers_to.startswith("https:")
        if secure and files is None:
            raise ConfigurationError(
                "the endpoint registered for this party is https: --cert, --key and --ca are needed"
            )
        tls = files.server_context() if secure and files is not None else None
        endpoint = Endpoint(profile.party_key, profile.receiver_party, tls)
        await endpoint.start(address)
    try:
        yield Subject(at, profile, files, target.pids, (), _store_url(target.store), endpoint)
    finally:
        if endpoint is not None:
            endpoint.stop()


def _store_url(store: str | None) -> str:
    """Return the URL that an option gives, empty without it. Raises: `InvalidSetting`."""
    return read_settings(None, store).store if store is not None else ""
