"""Several worker processes behind the same sockets: started, watched, replaced, stopped.

Invariants:

* The sockets are opened here, once, and stay open: a connection that no worker has accepted yet waits for the next one,
  whatever happens to the workers.
* A worker that ends without being told to is replaced, and one that hangs is ended; one that is to be replaced leaves
  only when its successor is ready, and finishes what is under way on its connections.
* No two workers have the same number at a time: what must be sent is theirs by it.
* When this process ends, however it ends, its workers end. The data folder is held until the last of them has.

Spec: 00 §4 ``serve --workers``; 90 §6.1 "rolling upgrades".
"""

import asyncio
import contextlib
import signal
import socket
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from itertools import count
from time import monotonic
from typing import IO, Any, Final

import structlog

from openscr.data_folder import hold
from openscr.errors import ConfigurationError
from openscr.figures import Figures, counted, merged
from openscr.listeners import bind
from openscr.post import Line, Said
from openscr.settings import Settings

_log = structlog.get_logger("supervisor")

PROGRAM: Final = "openscr.cli.worker"
"""What a worker process runs. It is loaded anew for each: a newer program on the disk takes over worker by worker."""

START_SECONDS: Final = 60.0
"""How long a worker may take to be ready when others serve meanwhile."""

STOP_SECONDS: Final = 9.0
"""How long workers may take to end when all are told to; those left over are killed. Spec: 00 §4 (10 s in all)."""

FIRST_PAUSE: Final = 0.2
LONGEST_PAUSE: Final = 30.0
"""Seconds before a worker that ended is replaced: twice as long each time that it did not live for long."""

PAUSE_OF_NOBODY: Final = 2.0
"""The longest pause while nobody serves, after one who did."""

LIVED_LONG: Final = 60.0
MOST_FAILURES: Final = 6
"""Replacements in a row that never came to be ready, with no worker left, after which we give up."""

LOOK: Final = 5.0
"""Seconds between two looks whether every worker still answers."""

MOST_SILENCE: Final = 6
"""Looks in a row without an answer after which a worker is taken for hanging. Not seconds: when all of us stood still,
as in a machine that was put to sleep, each of them has yet to be heard."""

MOST_SILENCE_AT_FIRST: Final = 18
"""The same while it loads its program and starts."""

COLLECT_SECONDS: Final = 2.0
"""How long workers may take to tell their figures; of one that does not, the last that it told count."""


class _Worker:
    """A worker process as its supervisor sees it."""

    def __init__(self, number: int, process: Process, line: Line) -> None:
        self.number = number
        self.process = process
        self.line = line
        self.started = monotonic()
        self.ready: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        # It need not have anybody who waits for it.
        self.ready.add_done_callback(lambda ready: ready.exception())
        self.leaving = False
        # Started to succeed another one, and not ready yet.
        self.succeeding = False
        self.figures: Figures = []
        self.asked: dict[int, asyncio.Future[None]] = {}
        # Looks since it has last said anything.
        self.silence = 0


class Supervisor:
    """Runs ``settings.workers`` workers; ``flags`` and ``file`` are what the command line gave, for them to read."""

    def __init__(self, settings: Settings, flags: Mapping[str, Any], file: str | None) -> None:
        self._settings = settings
        self._flags = {name: value if value is None else _plain(value) for name, value in flags.items()}
        self._file = file
        self._sockets: dict[str, socket.socket] = {}
        self._hold: IO[bytes] | None = None
        self._workers: set[_Worker] = set()
        self._spawning = 0
        self._watching: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._rolling: asyncio.Task[None] | None = None
        self._roll_again = False
        self._stopping = False
        self._failures = 0
        self._lost: set[int] = set()
        # The numbers of dead workers, each with the colleague who gives back what they had. That may take long, and
        # must not be taken from a successor: until it is done nobody has such a number.
        self._giving_back: dict[int, _Worker] = {}
        self._pause = FIRST_PAUSE
        self._questions = 0
        self._ended: Figures = []
        self._urls: tuple[str, ...] = ()
        self._over: asyncio.Event = asyncio.Event()
        self._reason = ""

    # --- life -------------------------------------------------------------------------------------------------------

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the listeners."""
        return self._urls

    async def start(self) -> None:
        """Start all workers, and return when each is ready. Raises: `ConfigurationError`, with what it has told."""
        settings = self._settings
        if settings.demo:
            raise ConfigurationError(
                f"setting workers (from {settings.source('workers')}): the demo runs in one process, which holds its "
                "inboxes and sign-ins; leave --workers out, or --demo"
            )
        settings.make_data_folder()
        try:
            self._hold = hold(settings.data)
            self._sockets["web"] = bind(settings.web, "web")
            if "spine" in settings.faces:
                self._sockets["spine"] = bind(settings.spine, "spine")
            # All load their program at once; the first makes what there must be once: keys, schema, directory.
            workers = [await self._spawn() for _ in range(settings.workers)]
            for first, worker in zip((True, *(False,) * len(workers)), workers, strict=False):
                worker.line.say(Said(what="go", number=worker.number, first=first))
                if first:
                    self._urls = await self._until_ready(worker)
            await asyncio.gather(*(self._until_ready(worker) for worker in workers))
        except BaseException:
            await self.stop()
            raise
        self._looking = asyncio.create_task(self._keep_looking(), name="workers that hang")

    async def stop(self) -> None:
        """Stop all workers, each finishing what is under way; within ten seconds."""
        self._stopping = True
        for task in filter(None, (self._rolling, self._looking)):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for listener in self._sockets.values():
            listener.close()
        for worker in list(self._workers):
            worker.leaving = True
            worker.line.say(Said(what="stop"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_SECONDS):
                await asyncio.gather(*(worker.process.wait() for worker in list(self._workers)))
        for worker in list(self._workers):
            if worker.process.returncode is None:
                _log.error("worker killed: it did not stop", worker=worker.number)
                worker.process.kill()
                await worker.process.wait()
        for task in list(self._watching):
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        if self._hold is not None:
            self._hold.close()

    async def ended(self) -> str:
        """Wait until no worker can be kept running; return why, for people."""
        await self._over.wait()
        return self._reason

    def look_at_tls_files(self) -> None:
        """Have every worker look at its certificates now."""
        for worker in self._workers:
            worker.line.say(Said(what="look"))

    # --- one worker -------------------------------------------------------------------------------------------------

    async def _spawn(self) -> _Worker:
        """Start a process that loads its program and waits for the word to go. Raises: `OSError`."""
        self._spawning += 1
        try:
            return await self._spawn_one()
        finally:
            self._spawning -= 1

    async def _spawn_one(self) -> _Worker:
        ours, theirs = socket.socketpair()
        fds = {"line": theirs.fileno()} | {name: each.fileno() for name, each in self._sockets.items()}
        if self._hold is not None:
            fds["hold"] = self._hold.fileno()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", PROGRAM, *(f"{name}={fd}" for name, fd in fds.items())),
                stdin=asyncio.subprocess.DEVNULL,
                pass_fds=tuple(fds.values()),
            )
        line = await Line.on(ours)
        # Nothing is waited for between these: no two workers have one number.
        worker = _Worker(self._free_number(), process, line)
        self._workers.add(worker)
        worker.line.say(Said(what="begin", flags=self._flags, file=self._file))
        self._keep(self._watch(worker))
        return worker

    def _free_number(self) -> int:
        taken = {worker.number for worker in self._workers} | set(self._giving_back)
        return next(number for number in count(1) if number not in taken)

    async def _until_ready(self, worker: _Worker) -> tuple[str, ...]:
        """Wait until a worker is ready. Raises: `ConfigurationError` with what it has said when it is not."""
        return await asyncio.shield(worker.ready)

    def _keep(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def _watch(self, worker: _Worker) -> None:
        """Hear what a worker says until it ends; then see to its replacement, unless it was told to end."""
        while (said := await worker.line.hear()) is not None:
            worker.silence = 0
            if said.what == "ready" and not worker.ready.done():
                worker.ready.set_result(said.urls)
                self._failures = 0
                _log.info("worker ready", worker=worker.number, pid=worker.process.pid)
                self._give_back()
            elif said.what == "failed" and not worker.ready.done():
                if self._urls:
                    _log.error("worker not ready", worker=worker.number, reason=said.text)
                worker.ready.set_exception(ConfigurationError(said.text))
            elif said.what == "figures":
                worker.figures = said.figures[0]
                if (asked := worker.asked.pop(said.id, None)) is not None:
                    asked.set_result(None)
            elif said.what == "withdrawn":
                self._giving_back.pop(said.number, None)
            elif said.what == "everybodys":
                self._keep(self._tell_everybodys(worker, said.id))
        status = await worker.process.wait()
        await worker.line.close()
        self._workers.discard(worker)
        self._ended = merged([self._ended, counted(worker.figures)])
        for asked in worker.asked.values():
            asked.cancel()
        was_ready = worker.ready.done() and worker.ready.exception() is None
        if not worker.ready.done():
            worker.ready.set_exception(ConfigurationError(f"a worker ended before it was ready ({_how(status)})"))
        if status:
            self._lost.add(worker.number)
        # What it was about to give back is for somebody else.
        self._lost |= {number for number, colleague in self._giving_back.items() if colleague is worker}
        self._giving_back = {number: each for number, each in self._giving_back.items() if each is not worker}
        self._give_back()
        if worker.leaving or self._stopping:
            _log.info("worker ended", worker=worker.number, status=status)
            return
        if not self._urls:
            # The very first start: whoever waits for it is told.
            return
        _log.error("worker ended unexpectedly", worker=worker.number, how=_how(status))
        await self._replace(worker, was_ready=was_ready)

    async def _keep_looking(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            self._look()

    def _look(self) -> None:
        """Ask every worker for a word; end those that have not had one for long, as if they had died."""
        for worker in self._workers:
            if worker.silence >= (MOST_SILENCE if worker.ready.done() else MOST_SILENCE_AT_FIRST):
                if worker.process.returncode is None:
                    _log.error("worker killed: it does not answer", worker=worker.number)
                    worker.process.kill()
            elif not worker.silence:
                # One question is enough: it is answered when it can be.
                worker.line.say(Said(what="collect"))
            worker.silence += 1

    def _give_back(self) -> None:
        """Have what dead workers had given back by one that lives; a successor of the same number keeps it."""
        self._lost -= {worker.number for worker in self._workers}
        living = next((worker for worker in self._workers if _serves(worker)), None)
        while living is not None and self._lost:
            number = self._lost.pop()
            self._giving_back[number] = living
            living.line.say(Said(what="withdraw", number=number))

    async def _replace(self, worker: _Worker, *, was_ready: bool) -> None:
        self._failures = 0 if was_ready else self._failures + 1
        if monotonic() - worker.started > LIVED_LONG:
            self._pause = FIRST_PAUSE
        while not self._stopping:
            if self._failures >= MOST_FAILURES and not any(_serves(each) for each in self._workers):
                self._reason = f"no worker can be started: the last {self._failures} ended before they were ready"
                self._over.set()
                return
            await asyncio.sleep(self._next_pause(was_ready=was_ready))
            if self._enough():
                # It ended while its successor was being started.
                return
            try:
                new = await self._spawn()
            except OSError as error:
                self._failures += 1
                _log.error("worker not started", reason=error.strerror)
                continue
            new.line.say(Said(what="go", number=new.number))
            # Its own watch sees to what follows, however it ends.
            return

    def _next_pause(self, *, was_ready: bool) -> float:
        pause, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        nobody = not any(_serves(worker) for worker in self._workers)
        return min(pause, PAUSE_OF_NOBODY) if nobody and was_ready else pause

    def _enough(self) -> bool:
        """Whether as many workers run, or are about to, as there should be."""
        staying = sum(worker.succeeding or not worker.leaving for worker in self._workers)
        return self._spawning + staying >= self._settings.workers

    # --- replacing all of them --------------------------------------------------------------------------------------

    def restart_workers(self) -> None:
        """Replace every worker by a new one, one after the other, so that no client sees it."""
        if self._stopping:
            return
        if self._rolling is not None and not self._rolling.done():
            self._roll_again = True
            return
        self._rolling = asyncio.create_task(self._roll(), name="rolling restart")

    async def _roll(self) -> None:
        self._roll_again = True
        while self._roll_again:
            self._roll_again = False
            _log.info("rolling restart begins", workers=len(self._workers))
            for old in sorted(self._workers, key=lambda worker: worker.started):
                if old.leaving or old not in self._workers:
                    continue
                if not await self._succeed(old):
                    _log.error("rolling restart given up: the workers that run go on")
                    return
            _log.info("rolling restart done", workers=len(self._workers))

    async def _succeed(self, old: _Worker) -> bool:
        """Put a new worker in the place of an old one; return whether it came to be ready."""
        try:
            new = await self._spawn()
        except OSError as error:
            _log.error("worker not started", reason=error.strerror)
            return False
        # Until it has proved itself nobody replaces it.
        new.leaving = new.succeeding = True
        new.line.say(Said(what="go", number=new.number))
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._until_ready(new)
        except (ConfigurationError, TimeoutError) as error:
            _log.error("new worker not ready", reason=str(error) or "too slow", worker=new.number)
            new.succeeding = False
            if new.process.returncode is None:
                new.process.kill()
            if old not in self._workers:
                # Nobody has taken its place, because the new one was to.
                self._keep(self._replace(old, was_ready=True))
            return False
        new.leaving = new.succeeding = False
        old.leaving = True
        old.line.say(Said(what="drain", seconds=self._settings.drain_seconds))
        self._keep(self._see_off(old))
        return True

    async def _see_off(self, old: _Worker) -> None:
        try:
            async with asyncio.timeout(self._settings.drain_seconds + STOP_SECONDS):
                await old.process.wait()
        except TimeoutError:
            _log.error("worker killed: it did not leave", worker=old.number)
            old.process.kill()

    # --- figures ----------------------------------------------------------------------------------------------------

    async def _tell_everybodys(self, asker: _Worker, id: int) -> None:
        """Tell a worker the figures of all others, and of those that have ended."""
        others = [worker for worker in self._workers if worker is not asker]
        answers = []
        for worker in others:
            self._questions += 1
            worker.asked[self._questions] = asyncio.get_running_loop().create_future()
            answers.append(worker.asked[self._questions])
            worker.line.say(Said(what="collect", id=self._questions))
        if answers:
            await asyncio.wait(answers, timeout=COLLECT_SECONDS)
        asker.line.say(Said(what="figures", id=id, figures=[*(each.figures for each in others), self._ended]))


def _serves(worker: _Worker) -> bool:
    return worker.ready.done() and not worker.leaving and worker.process.returncode is None


def _how(status: int) -> str:
    """Return how a process ended, for people."""
    if status >= 0:
        return f"exit code {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _plain(value: object) -> object:
    return value if isinstance(value, bool | int | float | str) else str(value)
