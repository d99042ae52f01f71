"""`openscr serve`: run the service until it is told to stop.

Spec: 00 §3, §4 ``serve``.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from openscr.cli.effective import ShowConfig, show_settings
from openscr.cli.options import Config, Data, Json, StoreUrl
from openscr.cli.running import run_until_told

if TYPE_CHECKING:
    from openscr.settings import Settings


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("serve", epilog="Example:  openscr serve --demo")(serve)


def serve(
    demo: Annotated[
        bool | None, typer.Option("--demo", help="The demo world: test patients, workers, certificates.")
    ] = None,
    data: Data = None,
    store: StoreUrl = None,
    web: Annotated[str | None, typer.Option("--web", metavar="HOST:PORT", help="The web listener.")] = None,
    spine: Annotated[
        str | None, typer.Option("--spine", metavar="HOST:PORT", help="The spine listener, mutual TLS.")
    ] = None,
    faces: Annotated[
        str | None, typer.Option("--faces", metavar="LIST", help="Faces that run, separated by commas.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Worker processes that share the listeners.")
    ] = None,
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="What answers name as our own address.")
    ] = None,
    config: Config = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    show_config: ShowConfig = False,
    as_json: Json = False,
) -> None:
    """Run the service.

    The first run makes the data folder: database, keys, certificates, directory. Prints one line
    [bold]ready <web address> <spine address>[/bold] when it accepts requests; stops on Ctrl-C or SIGTERM, and looks at
    its certificates at once on SIGHUP. With [bold]--workers[/bold] SIGUSR2 replaces the workers one by one.
    """
    from openscr.settings import load_settings

    flags = {
        "demo": demo,
        "data": data,
        "store": store,
        "web": web,
        "spine": spine,
        "faces": faces,
        "workers": workers,
        "public_url": public_url,
        "log_level": log_level,
    }
    settings = load_settings(flags, config=config)
    if show_config:
        show_settings(settings, as_json=as_json)
        return
    if as_json:
        raise typer.BadParameter("--json goes with --show-config")
    _run(settings, flags, config)


def _run(settings: "Settings", flags: dict[str, Any], config: Path | None) -> None:
    from openscr.logs import configure_logs

    for_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    configure_logs(settings.log_level, text=for_people)
    if settings.workers > 1:
        from openscr.supervisor import Supervisor

        run_until_told(lambda: Supervisor(settings, flags, str(config) if config is not None else None))
    else:
        from openscr.service import Service

        run_until_told(lambda: Service(settings))
