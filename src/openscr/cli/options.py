"""Options that several commands share, and the client or the store that they describe.

Spec: 00 §4 "Options of every client command".
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.console import be_verbose, detail, verbose
from openscr.errors import ConfigurationError

if TYPE_CHECKING:
    from openscr.client import Client, Exchange, Profile, Tls
    from openscr.directory.model import Directory
    from openscr.settings import Settings
    from openscr.spine import DissentOverride
    from openscr.store.interface import Store

DEMO = "http://127.0.0.1:8080"


def ten_digits(text: str) -> str:
    """Return an NHS number without spaces and hyphens. Raises: `typer.BadParameter`, which does not repeat it."""
    number = text.replace(" ", "").replace("-", "")
    if len(number) != 10 or not (number.isascii() and number.isdigit()):
        # What was typed may be somebody's number with a slip in it: it is not repeated.
        raise typer.BadParameter("an NHS number has ten digits")
    return number


def _uuid(text: str | None) -> str | None:
    from openscr.identifiers import is_uuid

    if text is not None and not is_uuid(text):
        raise typer.BadParameter("an event id is a UUID of 36 characters")
    return text.upper() if text is not None else None


At = Annotated[str, typer.Option("--at", metavar="URL", help="Base address of the service.")]
As = Annotated[str, typer.Option("--as", metavar="APP", help="Who sends: an app of the directory, or its ASID.")]
DirectoryFile = Annotated[
    Path | None,
    typer.Option("--directory", metavar="FILE", help="The directory; default the data folder's, else the demo's."),
]
User = Annotated[
    str | None,
    typer.Option("--user", metavar="URP", help="The person: a role profile of the directory. Default: nobody."),
]
Cert = Annotated[Path | None, typer.Option("--cert", metavar="FILE", help="Our certificate, for https.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="The key of the certificate.")]
Ca = Annotated[Path | None, typer.Option("--ca", metavar="FILE", help="The authority that the service has.")]
CallbackAt = Annotated[
    str | None,
    typer.Option(
        "--callback", metavar="HOST:PORT", help="Listen there for application acknowledgements (default: demo inbox)."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print machine-readable output.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Tell details on standard error.", callback=be_verbose)]
NhsNumber = Annotated[str, typer.Argument(metavar="NHS", help="NHS number, ten digits.", callback=ten_digits)]
EventId = Annotated[str, typer.Argument(metavar="EVENT", help="Id of the event.", callback=_uuid)]
EventOption = Annotated[
    str | None, typer.Option("--event", metavar="ID", help="Id of the event; default the current one.", callback=_uuid)
]
Override = Annotated[
    str | None, typer.Option("--override", metavar="CODE", help="Dissent override, 0 to 5: why a No is passed over.")
]
OverrideText = Annotated[
    str | None, typer.Option("--override-text", metavar="TEXT", help="Justification of the override.")
]
Data = Annotated[
    Path | None, typer.Option("--data", metavar="DIR", help="The data folder: database, keys, certificates.")
]
StoreUrl = Annotated[str | None, typer.Option("--store", metavar="URL", help="The store; default in the data folder.")]
Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings; default openscr.toml.")]


def read_override(code: str | None, text: str | None) -> "DissentOverride":
    """Return the dissent override that the options give. Raises: `typer.BadParameter`. Spec: 20 §6."""
    from openscr.codes import DISSENT_OVERRIDES
    from openscr.spine import DissentOverride

    if code is None and text is not None:
        raise typer.BadParameter("--override-text goes with --override")
    if code is not None and code not in DISSENT_OVERRIDES:
        raise typer.BadParameter("--override is a code from 0 to 5")
    return DissentOverride(code or "0", text or "")


# --- the client -----------------------------------------------------------------------------------------------------


@contextmanager
def connect(
    *,
    at: str,
    app: str,
    directory: Path | None = None,
    user: str | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
    callback: str | None = None,
    check: str = "strict",
) -> "Iterator[Client]":
    """Give the client that the common options describe; nothing is sent unless the service can be reached.

    ``check`` is the level at which uploads are judged before they are sent.

    Raises: `typer.BadParameter` for options that do not go together, `ConfigurationError`, `DeliveryError`.
    """
    from openscr.client import Check, Client, SpineClient

    # What the library warns of is a detail here; without -v even that is left to the outcome.
    logging.basicConfig(format="%(message)s", level=logging.INFO if verbose() else logging.CRITICAL)
    read_address_of(at)
    tls = read_tls(at, cert, key, ca)
    profile = read_profile(app, directory, user)
    spine = SpineClient(
        at,
        profile,
        tls=tls,
        callback=_callback(callback, profile, tls) if callback is not None else None,
        observer=show_exchange,
        answer_timeout=60.0,
        check=Check(check),
    )
    asyncio.run(reach(at))
    with Client(spine) as client:
        yield client


def read_tls(at: str, cert: Path | None, key: Path | None, ca: Path | None) -> "Tls | None":
    """Return the files of mutual TLS. Raises: `typer.BadParameter` when they do not go together."""
    given = [path for path in (cert, key, ca) if path is not None]
    if not given:
        return None
    if cert is None or key is None or ca is None:
        raise typer.BadParameter("--cert, --key and --ca go together")
    if not at.startswith("https:"):
        raise typer.BadParameter("--cert, --key and --ca are for an address that begins with https://")
    from openscr.client import Tls

    return Tls(cert, key, ca)


def _callback(address: str, profile: "Profile", tls: "Tls | None") -> Any:
    from openscr.client import Callback
    from openscr.settings import read_address

    try:
        where = read_address(address)
    except ValueError as error:
        raise typer.BadParameter(f"--callback: {error}") from None
    secure = profile.answers_to.startswith("https:")
    if secure and tls is None:
        raise ConfigurationError(
            "the endpoint registered for this party is https: --callback needs --cert, --key and --ca"
        )
    return Callback(
        where.host, where.port, profile.party_key, tls=tls.server_context() if secure and tls is not None else None
    )


def read_profile(app: str, file: Path | None, user: str | None) -> "Profile":
    """Return who sends: from the directory file, else the data folder's directory, else the demo's. Spec: 00 §4."""
    from openscr.client import Profile
    from openscr.directory.form import build_directory, merge, read_directory

    if file is not None:
        directory = build_directory(merge([], read_directory(file.read_bytes()), replace=True), 0)
    else:
        directory = asyncio.run(own_directory(None))
    return Profile.of_directory(directory, app, user)


async def own_directory(data: Path | None) -> "Directory":
    """Return the directory of the data folder's store, else the demo's. Raises: `StoreError`, `ConfigurationError`."""
    from openscr.directory.form import build_directory, read_directory
    from openscr.store.opening import open_store
    from openscr.testbench.world import demo_directory

    settings = read_settings(data, None)
    if (settings.data / "openscr.db").is_file() or settings.source("store") != "default":
        store = open_store(settings.store, migrate=False)
        await store.open()
        try:
            entries = await store.read_directory()
        finally:
            await store.close()
        if entries:
            return build_directory(entries, 0)
    return build_directory(read_directory(demo_directory()), 0)


def read_address_of(at: str) -> tuple[str, int]:
    """Return host and port of a base address. Raises: `typer.BadParameter` when it is none."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(at)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        parts, port = urlsplit(""), 0
    if not parts.hostname or parts.scheme not in ("http", "https"):
        raise typer.BadParameter("--at is a URL such as http://127.0.0.1:8080")
    return parts.hostname, port


async def reach(at: str) -> None:
    """See whether anything answers at all: a wrong address should be told at once, not after every retry.

    Raises: `DeliveryError`, `typer.BadParameter`.
    """
    from openscr.errors import DeliveryError

    host, port = read_address_of(at)
    try:
        async with asyncio.timeout(5):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        hint = "; start it with: openscr serve --demo" if at.rstrip("/") == DEMO else ""
        raise DeliveryError(f"nothing answers at {at}{hint}") from None
    writer.close()


def show_exchange(exchange: "Exchange") -> None:
    """Tell of an HTTP exchange when details were asked for; what was said stays out of it."""
    action = exchange.headers.get("SOAPAction", "").strip('"').rpartition(":")[2]
    answered = f"HTTP {exchange.status}, {len(exchange.answer)} bytes" if exchange.status else exchange.problem
    detail(f"  {action}: {len(exchange.request)} bytes to {exchange.address}; {answered}")


# --- the store ------------------------------------------------------------------------------------------------------


def read_settings(data: Path | None, store: str | None, config: Path | None = None) -> "Settings":
    """Return the settings that name the store. Raises: `InvalidSetting`."""
    from openscr.settings import load_settings

    return load_settings({"data": data, "store": store}, config=config)


@asynccontextmanager
async def opened_store(data: Path | None, store: str | None, *, migrate: bool = False) -> "AsyncIterator[Store]":
    """Give the store that the options name, open. Raises: `ConfigurationError`, `StoreError`."""
    from openscr.store.opening import open_store

    settings = read_settings(data, store)
    if migrate:
        settings.make_data_folder()
    opened = open_store(settings.store, migrate=migrate)
    await opened.open()
    try:
        yield opened
    finally:
        await opened.close()
