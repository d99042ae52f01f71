"""Settings as a command shows them: every one, its value, and where it came from; secrets masked.

Spec: 00 §4 "Configuration".
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from openscr.cli.console import on_terminal, say, say_table

if TYPE_CHECKING:
    from openscr.setting_sources import SourcedSettings

ShowConfig = Annotated[
    bool, typer.Option("--show-config", help="Print every setting and where it came from, then end.")
]


def show_settings(settings: "SourcedSettings", *, as_json: bool) -> None:
    """Print settings, as a table for people."""
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
