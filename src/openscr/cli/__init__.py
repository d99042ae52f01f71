"""The command line: one file per command, put together in `openscr.cli.application`."""

from openscr.cli.application import main

__all__ = ["main"]
