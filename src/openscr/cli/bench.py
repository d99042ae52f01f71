"""`openscr bench`: what messages cost, how the service bears a load, and what a country would need.

Spec: 00 §4 ``bench``; 90 §4-§7.
"""

import typer

from openscr.cli.bench_load import load

commands = typer.Typer(help="Load and cost measurements.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="bench")


commands.command("load", epilog="Example:  openscr bench load --count 100000 --data openscr-bench")(load)
