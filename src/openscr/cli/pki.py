"""`openscr pki`: development certificates.

Spec: 00 §4 ``pki``; 35 §3.1, §9.5.
"""

from enum import StrEnum
from typing import Annotated

import typer

from openscr.cli.console import say, say_json, say_table
from openscr.cli.options import Config, Data, Json, Verbose, read_settings

commands = typer.Typer(help="Development certificates: who may call.", no_args_is_help=True)

Days = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the certificate lasts.")]


class Use(StrEnum):
    """What a certificate is for."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="pki")


@commands.command("issue", epilog="Example:  openscr pki issue gp.practice.test --use both")
def issue(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Common name: the host name registered for the party.")],
    also: Annotated[
        list[str] | None, typer.Option("--also", metavar="NAME", help="A further host name or IP address.")
    ] = None,
    use: Annotated[Use, typer.Option("--use", help="client, server or both.")] = Use.CLIENT,
    days: Days = 825,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Issue a certificate; the authority is made when there is none yet."""
    from openscr.access import pki

    settings = read_settings(data, None, config)
    settings.make_data_folder()
    pki.create_authority(settings.pki)
    path = pki.issue(settings.pki, name, dns_names=also or (), usage=use.value, days=days)
    _tell(str(path), as_json=as_json)


@commands.command("renew", epilog="Example:  openscr pki renew gp.client.test")
def renew(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the certificate, as pki show prints it.")],
    days: Days = 825,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Issue a certificate again: same names, same key, new validity."""
    from openscr.access import pki

    path = pki.renew(read_settings(data, None, config).pki, name, days=days)
    _tell(str(path), as_json=as_json)


@commands.command("show", epilog="Example:  openscr pki show")
def show(data: Data = None, config: Config = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Print the certificates of the data folder."""
    from openscr.access import pki

    folder = read_settings(data, None, config).pki
    found = pki.show(folder)
    if as_json:
        say_json(
            [
                {"name": one.name, "subject": one.subject, "not_after": one.not_after.isoformat(), "serial": one.serial}
                for one in found
            ]
        )
    elif not found:
        say(f"no certificates in {folder}")
    else:
        rows = [(one.name, one.subject, one.not_after.strftime("%Y-%m-%d"), one.serial) for one in found]
        say_table(("name", "subject", "valid until", "serial"), rows)


def _tell(certificate: str, *, as_json: bool) -> None:
    key = f"{certificate.removesuffix('.pem')}.key"
    if as_json:
        say_json({"certificate": certificate, "key": key})
    else:
        say(f"certificate {certificate}")
        say(f"key         {key}")
