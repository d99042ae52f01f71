"""What commands print: results to standard output, one clear line about a failure to standard error.

Spec: 00 §4.
"""

import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn, TextIO


class _Verbosity:
    """Whether details were asked for with ``-v``."""

    on = False


_verbosity = _Verbosity()


def be_verbose(value: bool) -> bool:
    """Note ``-v``; the callback of that option."""
    _verbosity.on = _verbosity.on or value
    return value


def verbose() -> bool:
    """Whether details were asked for."""
    return _verbosity.on


def fail(message: str, error: BaseException | None = None, *, status: int = 1) -> NoReturn:
    """Say what is wrong in one line, with ``-v`` also where, and exit: 1 failed, 2 wrong usage. Spec: 00 §4."""
    note(f"openscr: {' '.join(message.split())}")
    if error is not None and verbose():
        for frame in traceback.extract_tb(error.__traceback__):
            detail(f"  in {frame.name} ({frame.filename}:{frame.lineno})")
        detail(f"  {type(error).__module__}.{type(error).__qualname__}")
    raise SystemExit(status)


def detail(message: str) -> None:
    """Print a detail to standard error when details were asked for."""
    if _verbosity.on:
        note(message)


def readable_name(name: str) -> str:
    """Return the name of a file as text that can be printed; bytes of it that are not UTF-8 become U+FFFD."""
    return os.fsencode(name).decode("utf-8", "replace")


def say(message: str) -> None:
    """Print a line of output."""
    _write(sys.stdout, message)


def note(message: str) -> None:
    """Print a remark to standard error, out of the way of the output."""
    _write(sys.stderr, message)


def _write(stream: TextIO, line: str) -> None:
    # By way of the stream of this moment: a progress bar stands in front of it and makes room for the line.
    stream.write(f"{line}\n")
    stream.flush()


def say_json(value: Any) -> None:
    """Print one JSON value on one line."""
    say(json.dumps(value, ensure_ascii=False))


def say_bytes(data: bytes) -> None:
    """Print bytes as they are."""
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def on_terminal() -> bool:
    """Whether a person reads the output."""
    return sys.stdout.isatty()


def say_table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, title: str | None = None) -> None:
    """Print a table: framed for people, columns separated by tabs when piped."""
    if not on_terminal():
        for row in rows:
            say("\t".join(one_line(cell) for cell in row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(one_line(cell)) for cell in row))
    Console().print(table)


def one_line(text: str) -> str:
    """Return a text on one line, without what could move a terminal's cursor."""
    return "".join(c if c.isprintable() else " " for c in text)
