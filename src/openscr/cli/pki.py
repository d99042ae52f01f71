"""`openscr pki`: development certificates.

Spec: 00 §4 ``pki``; 35 §3.1, §9.5.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import note, say, say_json, say_table
from openscr.cli.options import Config, Data, Json, Verbose, read_settings

if TYPE_CHECKING:
    from openscr.access.pki import IssuedCertificate
    from openscr.access.pki_revocation import RevocationList

commands = typer.Typer(help="Development certificates: who may call.", no_args_is_help=True)

Days = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the certificate lasts.")]
ListDays = Annotated[int, typer.Option("--days", min=1, max=3650, help="How long the list is in force.")]
NewKey = Annotated[bool, typer.Option("--new-key", help="Make a new key, though there is one.")]


class Use(StrEnum):
    """What a certificate is for."""

    CLIENT = "client"
    SERVER = "server"
    BOTH = "both"


class Key(StrEnum):
    """What kind of key it has."""

    RSA = "rsa"
    EC = "ec"


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
    key: Annotated[
        Key | None, typer.Option("--key-type", help="rsa (2048 bits, the default of a first key) or ec (P-256).")
    ] = None,
    new_key: NewKey = False,
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
    path = pki.issue(
        settings.pki,
        name,
        dns_names=also or (),
        usage=use.value,
        days=days,
        key_type=key.value if key is not None else None,
        new_key=new_key,
    )
    _tell(str(path), as_json=as_json)


@commands.command("renew", epilog="Example:  openscr pki renew gp.client.test")
def renew(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the certificate, as pki show prints it.")],
    new_key: NewKey = False,
    days: Days = 825,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Issue a certificate again: same names, same key, new validity.

    A running service takes its own within two seconds. The key of a revoked certificate is not used again.
    """
    from openscr.access import pki

    path = pki.renew(read_settings(data, None, config).pki, name, days=days, new_key=new_key)
    _tell(str(path), as_json=as_json)


@commands.command("revoke", epilog="Example:  openscr pki revoke gp.client.test")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the certificate, as pki show prints it.")],
    serial: Annotated[
        str | None, typer.Option("--serial", metavar="HEX", help="An earlier certificate of that name, not this one.")
    ] = None,
    days: ListDays = 365,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Revoke a certificate: its holder is not let in any more.

    Writes the revocation list of the authority. A service that trusts the authority of its data folder reads it from
    there within two seconds, others by the setting tls_crl_file.
    """
    from openscr.access import pki_revocation

    try:
        number = int(serial, 16) if serial is not None else None
    except ValueError:
        raise typer.BadParameter("a serial number is hexadecimal, as pki show prints it") from None
    folder = read_settings(data, None, config).pki
    _tell_list(pki_revocation.revoke(folder, name, serial=number, days=days), as_json=as_json)


@commands.command("crl", epilog="Example:  openscr pki crl --days 90")
def crl(
    days: ListDays = 365,
    data: Data = None,
    config: Config = None,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write the revocation list anew, so that it is in force for longer; an empty one when nothing was revoked."""
    from openscr.access import pki_revocation

    _tell_list(pki_revocation.write_list(read_settings(data, None, config).pki, days=days), as_json=as_json)


@commands.command("show", epilog="Example:  openscr pki show")
def show(data: Data = None, config: Config = None, as_json: Json = False, verbose: Verbose = False) -> None:
    """Print the certificates of the data folder, and warn of those that end within 30 days."""
    from openscr.access import pki, pki_revocation
    from openscr.identifiers import utc_now

    folder = read_settings(data, None, config).pki
    found = pki.show(folder)
    if as_json:
        say_json([_as_json(one) for one in found])
    elif not found:
        say(f"no certificates in {folder}")
    else:
        rows = [
            (one.name, one.subject, one.key, one.not_after.strftime("%Y-%m-%d"), one.state.value, one.serial)
            for one in found
        ]
        say_table(("name", "subject", "key", "valid until", "state", "serial"), rows)
    for one in found:
        if one.state is pki.State.ENDING:
            note(f"{one.name} ends in {_in_days(one.days_left)}: openscr pki renew {one.name}")
    end = pki_revocation.end_of_list(folder)
    left = (end - utc_now()).days if end is not None else pki.WARNING_DAYS
    if left < 0:
        note("the revocation list has ended, nobody is let in: openscr pki crl")
    elif left < pki.WARNING_DAYS:
        note(f"the revocation list ends in {_in_days(left)}: openscr pki crl")


def _in_days(days: int) -> str:
    return "1 day" if days == 1 else f"{days} days"


def _as_json(one: "IssuedCertificate") -> dict[str, object]:
    return {
        "name": one.name,
        "subject": one.subject,
        "issuer": one.issuer,
        "names": list(one.names),
        "key": one.key,
        "not_before": one.not_before.isoformat(),
        "not_after": one.not_after.isoformat(),
        "days_left": one.days_left,
        "state": one.state.value,
        "serial": one.serial,
    }


def _tell_list(written: "RevocationList", *, as_json: bool) -> None:
    if as_json:
        say_json({"crl": str(written.path), "revoked": list(written.serials), "ends": written.ends.isoformat()})
    else:
        say(f"revocation list {written.path}")
        say(f"in force until  {written.ends:%Y-%m-%d}, certificates on it: {len(written.serials)}")


def _tell(certificate: str, *, as_json: bool) -> None:
    key = f"{certificate.removesuffix('.pem')}.key"
    if as_json:
        say_json({"certificate": certificate, "key": key})
    else:
        say(f"certificate {certificate}")
        say(f"key         {key}")
