"""`openscr directory`: who is registered, shown, imported and exported.

Spec: 00 §4 ``directory``, §6.3.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import note, say, say_bytes, say_json, say_table
from openscr.cli.options import Data, Json, StoreUrl, Verbose, opened_store, read_settings
from openscr.errors import ConfigurationError, Conflict

if TYPE_CHECKING:
    from openscr.directory.form import DirectoryEntry
    from openscr.directory.model import Directory
    from openscr.directory.routes import Route
    from openscr.directory.sds_reading import SdsContent


Base = Annotated[str, typer.Option("--base", metavar="DN", help="What ou=services and ou=people stand below.")]
LdapCa = Annotated[
    Path | None, typer.Option("--ca", metavar="FILE", help="The authority of the directory server, for ldaps.")
]


class Format(StrEnum):
    """How a directory is written."""

    JSON = "json"
    LDAP = "ldap"
    LDIF = "ldif"


commands = typer.Typer(help="Parties, systems, endpoints and people.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="directory")


@commands.command("import", epilog="Example:  openscr directory import partners.json")
def import_file(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", dir_okay=False, help="openscr-directory/1, LDIF, or LDAP entries as JSON."),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option("--from", metavar="URL", help="Instead of a file: ldap://HOST:PORT or ldaps://HOST:PORT."),
    ] = None,
    base: Base = "o=nhs",
    ca: LdapCa = None,
    replace: Annotated[bool, typer.Option("--replace", help="Remove what the file does not have.")] = False,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Read a directory file into the store, all or nothing. A running service notices within two seconds."""
    if (file is None) == (server is None):
        raise typer.BadParameter("give a file, or --from with the address of a directory server")
    content = asyncio.run(_read_server(server, base, ca)) if server else _read_file(file)
    written, total = asyncio.run(_import(content.entries, data, store, replace=replace))
    for remark in content.remarks:
        note(remark)
    if as_json:
        say_json({"imported": written, "total": total, "remarks": content.remarks})
    else:
        say(f"{written} entries imported; the directory has {total}")


def _read_file(file: Path | None) -> "SdsContent":
    from openscr.directory.formats import read_any

    return read_any(file.read_bytes() if file is not None else b"")


async def _read_server(url: str, base: str, ca: Path | None) -> "SdsContent":
    from openscr.directory.ldap_client import LdapAddress, LdapClient
    from openscr.directory.sds_reading import read_sds
    from openscr.logs import configure_logs

    configure_logs("warning", text=True)
    client = LdapClient(LdapAddress.read(url, ca))
    try:
        content = read_sds(await client.search(base, "(objectClass=*)", everything=True))
    finally:
        client.close()
    if not content.entries:
        raise ConfigurationError(f"{url} holds no entry of SDS below {base}")
    return content


async def _import(
    entries: "Sequence[DirectoryEntry]", data: Path | None, store: str | None, *, replace: bool
) -> tuple[int, int]:
    from openscr.directory.form import merge

    async with opened_store(data, store, migrate=True) as opened:
        while True:
            # Read first: whatever another import changes from here on makes ours begin again, with its result.
            revision = await opened.directory_revision()
            merged = merge(await opened.read_directory(), entries, replace)
            with suppress(Conflict):
                await opened.write_directory(merged, replace=True, revision=revision)
                return len(entries), len(merged)


@commands.command("export", epilog="Example:  openscr directory export --format ldif > directory.ldif")
def export(
    form: Annotated[
        Format, typer.Option("--format", help="json (openscr-directory/1), ldif, or ldap (LDAP entries as JSON).")
    ] = Format.JSON,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the schema for OpenLDAP instead, with which it can hold the LDIF.")
    ] = False,
    data: Data = None,
    store: StoreUrl = None,
    verbose: Verbose = False,
) -> None:
    """Print the directory as a file that import reads."""
    from openscr.directory.formats import write_as
    from openscr.directory.sds_schema import write_schema

    if schema:
        say(write_schema().rstrip("\n"))
        return
    origin = read_settings(data, store).public_url
    say_bytes(write_as(asyncio.run(_read(data, store)), form.value, origin))


@commands.command("lookup", epilog="Example:  openscr directory lookup YES psis:REPC_IN150016UK05")
def lookup(
    ods: Annotated[str, typer.Argument(metavar="ODS", help="Code of the organisation that receives.")],
    interaction: Annotated[str, typer.Argument(metavar="SERVICE:INTERACTION", help="What it is to receive.")],
    server: Annotated[
        str | None, typer.Option("--ldap", metavar="URL", help="Ask this directory server: ldap://… or ldaps://….")
    ] = None,
    base: Base = "o=nhs",
    ca: LdapCa = None,
    data: Data = None,
    store: StoreUrl = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Print where a message to an organisation goes, and what it names: party key, ASID, address, CPA, contract."""
    route = asyncio.run(_look_up(ods, interaction, server, base, ca, data, store))
    if as_json:
        say_json(asdict(route))
        return
    contract = {name: value for name, value in asdict(route.contract).items() if value is not None and name != "name"}
    rows = [("party key", route.party_key), ("ASID", route.asid), ("address", route.address), ("CPA", route.cpa_id)]
    rows += [("host name", route.fqdn), *((name.replace("_", " "), str(value)) for name, value in contract.items())]
    say_table(("what", "value"), rows, title=f"{route.interaction} at {route.ods}")


async def _look_up(
    ods: str,
    interaction: str,
    server: str | None,
    base: str,
    ca: Path | None,
    data: Path | None,
    store: str | None,
) -> "Route":
    from openscr.directory.model import CurrentDirectory
    from openscr.directory.routes import look_up
    from openscr.directory.sources import EmbeddedSource
    from openscr.logs import configure_logs

    configure_logs("warning", text=True)
    if server is None:
        directory = CurrentDirectory(await _read(data, store))
        return await look_up(EmbeddedSource(directory, read_settings(data, store).public_url), ods, interaction)
    from openscr.directory.ldap_client import LdapAddress, LdapClient
    from openscr.directory.ldap_source import LdapSource

    client = LdapClient(LdapAddress.read(server, ca))
    try:
        return await look_up(LdapSource(client, base), ods, interaction)
    finally:
        client.close()


@commands.command("show", epilog="Example:  openscr directory show")
def show(data: Data = None, store: StoreUrl = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Print who is registered."""
    directory = asyncio.run(_read(data, store))
    if as_json:
        from openscr.directory.form import write_directory

        say_bytes(write_directory(directory))
        return
    names = {party.party_key: party for party in directory.parties.values()}
    say_table(
        ("party", "ODS", "name", "certificates"),
        [
            (p.party_key, p.ods, f"{p.name} (own)" if p.own else p.name, ", ".join(p.fqdn))
            for p in sorted(names.values(), key=lambda party: party.party_key)
        ],
        title="Parties",
    )
    say("")
    say_table(
        ("ASID", "app", "party", "interactions", "state"),
        [
            (s.asid, s.app or "", s.party_key, str(len(s.interactions)), "enabled" if s.enabled else "disabled")
            for s in sorted(directory.systems.values(), key=lambda system: system.asid)
        ],
        title="Systems",
    )
    say("")
    say_table(
        ("party", "service", "interactions", "CPA", "address", "contract"),
        [
            (e.party_key, e.service, ", ".join(e.interactions), e.cpa_id, e.address, e.contract.name)
            for e in sorted(directory.endpoints, key=lambda e: (e.party_key, e.service, e.interactions))
        ],
        title="Endpoints",
    )
    say("")
    say_table(
        ("user", "role profile", "job role", "organisation", "activities"),
        [
            (u.user_id, role.role_profile_id, role.job_role, role.ods, ", ".join(sorted(role.activities)))
            for u in sorted(directory.users.values(), key=lambda user: user.user_id)
            for role in u.roles
        ],
        title="People",
    )


async def _read(data: Path | None, store: str | None) -> "Directory":
    from openscr.directory.form import build_directory

    async with opened_store(data, store) as opened:
        entries = await opened.read_directory()
        if not entries:
            raise ConfigurationError("the directory is empty; openscr directory import FILE fills it")
        return build_directory(entries, await opened.directory_revision())
