"""Run the command line as ``python -m openscr``."""

from openscr.cli import main

main()
