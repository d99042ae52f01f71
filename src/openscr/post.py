"""A worker's post, and the line between a worker and the supervisor that has started it.

The line is a pair of sockets; each message is one line of JSON. When one end is gone the other notices at once: a
worker without its supervisor ends, as if it had been told to.

Spec: 00 §4 ``serve --workers``.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from openscr.figures import Figures

_LONGEST_LINE: Final = 16 * 1024 * 1024

Everybodys = Callable[[Figures], Awaitable[list[Figures]]]
"""Is given our own figures, and gives those of all workers of this place, ended ones among them."""


@dataclass(frozen=True, slots=True)
class Post:
    """What a supervisor gives a worker.

    ``number`` is unique among the workers of the place; ``first`` says that no other one runs yet. ``web`` and
    ``spine`` are listening sockets that all share. Without a supervisor the worker stands ``alone``: it opens its own
    sockets, and holds its data folder itself.
    """

    number: int = 1
    first: bool = True
    alone: bool = True
    web: socket.socket | None = None
    spine: socket.socket | None = None
    everybodys: Everybodys | None = None


ALONE = Post()
"""A worker without colleagues."""


class Said(msgspec.Struct, omit_defaults=True, kw_only=True):
    """One message between worker and supervisor.

    To a worker: ``begin`` (with the flags and the file of the command line), ``go`` (with its ``number``, and whether
    it is the ``first``), ``drain`` (with ``seconds``), ``stop``, ``look`` (at the TLS files), ``withdraw`` (what the
    colleague of a ``number`` had, who has died), ``collect``, ``figures``.
    From a worker: ``ready`` (with its ``urls``), ``failed`` (with ``text``, for people), ``withdrawn`` (what that
    ``number`` had), ``figures``, ``everybodys``.
    Answers carry the ``id`` of what they answer.
    """

    what: str
    id: int = 0
    number: int = 0
    first: bool = False
    seconds: float = 0.0
    text: str = ""
    urls: tuple[str, ...] = ()
    flags: dict[str, Any] = {}
    file: str | None = None
    figures: list[Figures] = []


class Line:
    """One end of the line."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def on(cls, end: socket.socket) -> Self:
        """Take up one end of a pair of sockets."""
        return cls(*await asyncio.open_connection(sock=end, limit=_LONGEST_LINE))

    def say(self, message: Said) -> None:
        """Send a message; whoever is gone does not hear it."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def hear(self) -> Said | None:
        """Return the next message, none when the other end is gone."""
        try:
            return msgspec.json.decode(await self._reader.readline(), type=Said)
        except (OSError, ValueError, msgspec.MsgspecError):
            return None

    async def close(self) -> None:
        """Let go of the line."""
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()
