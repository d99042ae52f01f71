"""`openscr bench`: what messages cost, how the service bears a load, and what a country would need.

Spec: 00 §4 ``bench``; 90 §4-§7.
"""

import typer

from openscr.cli.bench_cost import cost
from openscr.cli.bench_load import load
from openscr.cli.bench_mix import mix
from openscr.cli.bench_plan import plan

commands = typer.Typer(help="Load and cost measurements.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="bench")


commands.command("cost", epilog="Example:  openscr bench cost --operation upload --store sqlite:///bench.db")(cost)
commands.command("mix", epilog="Example:  openscr bench mix --rate 80 --seconds 60 --check")(mix)
commands.command("plan", epilog="Example:  openscr bench plan --population 5000000 --busiest high --verify")(plan)
commands.command("load", epilog="Example:  openscr bench load --count 100000 --data openscr-bench")(load)
