"""One worker process: what a supervisor starts, and nobody else.

``python -m openscr.cli.worker line=5 web=6 spine=7 hold=8`` are file descriptors that it has inherited.

Spec: 00 §4 ``serve --workers``.
"""

import asyncio
import contextlib
import os
import signal
import socket
import sys
from itertools import count
from pathlib import Path

import structlog
import uvloop

from openscr.cli.running import settle_down
from openscr.errors import OpenSCRError
from openscr.figures import Figures
from openscr.logs import configure_logs
from openscr.post import Line, Post, Said
from openscr.service import Service
from openscr.setting_sources import InvalidSetting
from openscr.settings import Settings, load_settings


class Worker:
    """A service that is told by its supervisor when to begin, to leave, and to end."""

    def __init__(self, line: Line, sockets: dict[str, socket.socket]) -> None:
        self._line = line
        self._sockets = sockets
        self._asked: dict[int, asyncio.Future[list[Figures]]] = {}
        self._ids = count(1)
        self._told: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._giving_back: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Serve until it is told to end; return the exit code."""
        begin = await self._line.hear()
        if begin is None:
            return 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGHUP):
            # From a terminal they reach all of us: what they mean is for the supervisor to say.
            loop.add_signal_handler(number, lambda: None)
        loop.add_signal_handler(signal.SIGTERM, self._tell, 0.0)
        try:
            settings = load_settings(begin.flags, config=Path(begin.file) if begin.file is not None else None)
            _log_as_told(settings)
            go = await self._line.hear()
            if go is None or go.what != "go":
                return 0
            structlog.contextvars.bind_contextvars(worker=go.number)
            return await self._serve(settings, go)
        except (OpenSCRError, InvalidSetting) as error:
            self._line.say(Said(what="failed", text=getattr(error, "diagnostics", "") or str(error)))
        except OSError as error:
            reason = error.strerror or type(error).__name__
            self._line.say(Said(what="failed", text=f"{error.filename}: {reason}" if error.filename else reason))
        await self._line.close()
        return 1

    async def _serve(self, settings: Settings, go: Said) -> int:
        post = Post(
            go.number, go.first, False, self._sockets["web"], self._sockets.get("spine"), everybodys=self._everybodys
        )
        service = Service(settings, post=post)
        hearing = asyncio.create_task(self._hear(service))
        starting = asyncio.create_task(service.start())
        await asyncio.wait((starting, self._told), return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            return 0
        starting.result()
        settle_down()
        self._line.say(Said(what="ready", urls=service.urls))
        grace = await self._told
        if grace:
            draining = asyncio.create_task(service.drain(grace))
            # Without a supervisor nobody takes our place: whoever starts the service anew waits for us to end.
            await asyncio.wait((draining, hearing), return_when=asyncio.FIRST_COMPLETED)
            draining.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await draining
        # What it has counted to the end goes on to count.
        self._line.say(Said(what="figures", figures=[service.figures()]))
        for task in self._giving_back:
            # Whoever leads goes on with it.
            task.cancel()
        await service.stop()
        hearing.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        await self._line.close()
        return 0

    async def _hear(self, service: Service) -> None:
        while (said := await self._line.hear()) is not None:
            if said.what == "drain":
                self._tell(said.seconds)
            elif said.what == "stop":
                self._tell(0.0)
            elif said.what == "look":
                service.look_at_tls_files()
            elif said.what == "withdraw":
                # There may be hours of it: meanwhile we hear, and answer.
                task = asyncio.create_task(self._withdraw(service, said.number))
                self._giving_back.add(task)
                task.add_done_callback(self._giving_back.discard)
            elif said.what == "collect":
                self._line.say(Said(what="figures", id=said.id, figures=[service.figures()]))
            elif said.what == "figures" and (asked := self._asked.pop(said.id, None)) is not None:
                asked.set_result(said.figures)
        # Nobody sees to us any more.
        self._tell(0.0)

    async def _withdraw(self, service: Service, number: int) -> None:
        await service.withdraw(number)
        self._line.say(Said(what="withdrawn", number=number))

    def _tell(self, grace: float) -> None:
        if not self._told.done():
            self._told.set_result(grace)

    async def _everybodys(self, own: Figures) -> list[Figures]:
        """Return our own figures, and those that the supervisor has of the others."""
        id = next(self._ids)
        asked = self._asked[id] = asyncio.get_running_loop().create_future()
        self._line.say(Said(what="everybodys", id=id))
        try:
            async with asyncio.timeout(4.0):
                return [own, *await asked]
        except TimeoutError:
            self._asked.pop(id, None)
            return [own]


def _log_as_told(settings: Settings) -> None:
    for_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    configure_logs(settings.log_level, text=for_people)


async def _run(descriptors: dict[str, int]) -> int:
    line = await Line.on(socket.socket(fileno=descriptors["line"]))
    names = [name for name in descriptors if name in {"web", "spine"}]
    sockets = {name: socket.socket(fileno=descriptors[name]) for name in names}
    for each in sockets.values():
        each.setblocking(False)
    return await Worker(line, sockets).run()


def main(arguments: list[str]) -> int:
    """Run a worker with the file descriptors that it was given."""
    descriptors = {name: int(number) for name, _, number in (argument.partition("=") for argument in arguments)}
    for descriptor in descriptors.values():
        os.set_inheritable(descriptor, False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(descriptors))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
