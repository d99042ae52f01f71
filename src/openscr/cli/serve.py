"""`openscr serve`: run the service until it is told to stop.

Spec: 00 §3, §4 ``serve``.
"""

import asyncio
import contextlib
import gc
import json
import signal
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import on_terminal, say, say_table
from openscr.cli.options import Config, Data, Json, StoreUrl

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
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="What answers name as our own address.")
    ] = None,
    config: Config = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error.")
    ] = None,
    show_config: Annotated[
        bool, typer.Option("--show-config", help="Print every setting and where it came from, then end.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run the service.

    The first run makes the data folder: database, keys, certificates, directory. Prints one line
    [bold]ready <web address> <spine address>[/bold] when it accepts requests; stops on Ctrl-C or SIGTERM, and looks at
    its certificates at once on SIGHUP.
    """
    from openscr.settings import load_settings

    flags = {
        "demo": demo,
        "data": data,
        "store": store,
        "web": web,
        "spine": spine,
        "faces": faces,
        "public_url": public_url,
        "log_level": log_level,
    }
    settings = load_settings(flags, config=config)
    if show_config:
        _show(settings, as_json=as_json)
        return
    if as_json:
        raise typer.BadParameter("--json goes with --show-config")
    _run(settings)


def _show(settings: "Settings", *, as_json: bool) -> None:
    from openscr.setting_sources import effective

    rows = effective(settings)
    if as_json:
        named = [{"name": name, "value": value, "source": source} for name, value, source in rows]
        say(json.dumps(named, indent=2))
    elif on_terminal():
        say_table(("setting", "value", "source"), rows)
    else:
        for name, value, source in rows:
            say(f"{name} = {value}  ({source})")


def _run(settings: "Settings") -> None:
    import uvloop

    from openscr.logs import configure_logs

    for_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    configure_logs(settings.log_level, text=for_people)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings))


async def _serve(settings: "Settings") -> None:
    from openscr.service import Service

    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    service = Service(settings)
    waiting = asyncio.create_task(told_to_stop.wait())
    starting = asyncio.create_task(service.start())
    await asyncio.wait((starting, waiting), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return
    starting.result()
    if sys.stdin is None or not sys.stdin.isatty():
        # In a terminal it means that the window was closed: then the service ends.
        loop.add_signal_handler(signal.SIGHUP, service.look_at_tls_files)
    # This process does nothing else: what was built at the start stays, and requests leave few cycles to look for.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        # Whoever started us may have gone away without reading.
        with contextlib.suppress(BrokenPipeError):
            say(" ".join(("ready", *service.urls)))
        await waiting
    finally:
        await service.stop()
