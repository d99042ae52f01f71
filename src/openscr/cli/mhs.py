"""`openscr mhs`: the message handling adaptor, whole or one of its roles.

Spec: 00 §4 ``mhs``; 50 §14.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli import mhs_audit
from openscr.cli.effective import ShowConfig, show_settings
from openscr.cli.options import Json
from openscr.cli.running import run_until_told

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from openscr.mhs.context import AdaptorContext
    from openscr.mhs.exchange import Exchanges

mhs = typer.Typer(
    name="mhs",
    help="The message handling adaptor: a small REST API in front of a Spine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)
"""The commands of the adaptor."""

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings, TOML or YAML; default mhs.toml.")
]
Data = Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The folder of the store.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    mhs_audit.register(mhs)
    app.add_typer(mhs)


@mhs.command("serve", epilog="Example:  openscr mhs serve --demo")
def serve(
    demo: Annotated[
        bool, typer.Option("--demo", help="With a Spine of its own, test certificates and test patients.")
    ] = False,
    data: Data = None,
    config: Config = None,
    show_config: ShowConfig = False,
    as_json: Json = False,
) -> None:
    """Run the adaptor: the REST API for the supplier, and the listener that the Spine answers to.

    Settings are the [bold]MHS_…[/bold] variables of the NHS adaptor, or a file. Prints one line
    [bold]ready <outbound address> <inbound address>[/bold] when it accepts requests; stops on Ctrl-C or SIGTERM, and
    looks at its certificates at once on SIGHUP.
    """
    if demo:
        if show_config or config is not None:
            raise typer.BadParameter("--demo brings its own settings")
        _demonstrate(data)
    else:
        _serve(("outbound", "inbound"), data, config, show_config=show_config, as_json=as_json)


@mhs.command("outbound", epilog="Example:  openscr mhs outbound --config mhs.toml")
def outbound(data: Data = None, config: Config = None, show_config: ShowConfig = False, as_json: Json = False) -> None:
    """Run the REST API for the supplier alone; the rest as for [bold]serve[/bold]."""
    _serve(("outbound",), data, config, show_config=show_config, as_json=as_json)


@mhs.command("inbound", epilog="Example:  openscr mhs inbound --config mhs.toml")
def inbound(data: Data = None, config: Config = None, show_config: ShowConfig = False, as_json: Json = False) -> None:
    """Run the listener that the Spine answers to alone; the rest as for [bold]serve[/bold]."""
    _serve(("inbound",), data, config, show_config=show_config, as_json=as_json)


@mhs.command("scr", epilog="Example:  openscr mhs scr    with SCR_MHS_ADDRESS=http://127.0.0.1:8081 in the environment")
def scr() -> None:
    """Run the web service for summaries alone, before an adaptor somewhere else.

    Settings are the [bold]SCR_…[/bold] variables of the NHS adaptor's example. Prints one line
    [bold]ready <address>[/bold].
    """
    from openscr.logs import configure_logs
    from openscr.mhs.scr.service import load_scr_settings
    from openscr.scr_service import ScrService

    settings = load_scr_settings()
    configure_logs(settings.log_level, text=sys.stderr.isatty())
    run_until_told(lambda: ScrService(settings))


def _serve(roles: tuple[str, ...], data: Path | None, config: Path | None, *, show_config: bool, as_json: bool) -> None:
    from openscr.mhs.settings import load_mhs_settings

    settings = load_mhs_settings({"data": data}, config=config)
    if show_config:
        show_settings(settings, as_json=as_json)
        return
    if as_json:
        raise typer.BadParameter("--json goes with --show-config")
    from openscr.adaptor import Adaptor
    from openscr.cli.allocation import give_large_memory_back
    from openscr.mhs.logs import configure_mhs_logs

    configure_mhs_logs(settings, "inbound" if roles == ("inbound",) else "outbound", text=sys.stderr.isatty())
    give_large_memory_back()
    run_until_told(lambda: Adaptor(settings, roles, summaries=_summaries))


def _summaries(context: "AdaptorContext", exchanges: "Exchanges") -> "ASGIApp":
    """Make what answers at ``/scr``; the clinical model is loaded now, and not when the adaptor starts."""
    from openscr.mhs.scr.application import local_reception

    return local_reception(context, exchanges)


def _demonstrate(data: Path | None) -> None:
    from openscr.cli.allocation import give_large_memory_back
    from openscr.demo_adaptor import DemoAdaptor
    from openscr.logs import configure_logs

    configure_logs(text=sys.stderr.isatty())
    give_large_memory_back()
    run_until_told(lambda: DemoAdaptor(data))
