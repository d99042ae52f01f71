"""A service that runs until it is told to stop: how a process starts it, says so, and ends it.

Spec: 00 §4 ``serve``.
"""

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from openscr.cli.console import say
from openscr.errors import ConfigurationError


class Running(Protocol):
    """What a process runs."""

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses really used."""

    async def start(self) -> None:
        """Open everything and accept requests."""

    async def stop(self) -> None:
        """Stop accepting, finish what is under way."""

    def look_at_tls_files(self) -> None:
        """Take changed certificates now."""


@runtime_checkable
class Supervising(Running, Protocol):
    """What runs worker processes."""

    def restart_workers(self) -> None:
        """Replace every worker by a new one, so that no client sees it."""

    async def ended(self) -> str:
        """Wait until it can go on no longer; return why."""


def run_until_told(make: Callable[[], Running]) -> None:
    """Run what ``make`` makes until Ctrl-C or SIGTERM; say ``ready`` and its addresses when it accepts requests.

    On SIGHUP it looks at its certificates at once, but in a terminal, where that means that the window was closed; on
    SIGUSR2 it replaces its workers. Raises: `ConfigurationError` when it can go on no longer.
    """
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(make))


async def _run(make: Callable[[], Running]) -> None:
    told_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_stop.set)
    service = make()
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
        loop.add_signal_handler(signal.SIGHUP, service.look_at_tls_files)
    ending = None
    if isinstance(service, Supervising):
        loop.add_signal_handler(signal.SIGUSR2, service.restart_workers)
        ending = asyncio.create_task(service.ended())
    else:
        loop.add_signal_handler(signal.SIGUSR2, _no_workers)
    settle_down()
    try:
        # Whoever started us may have gone away without reading.
        with contextlib.suppress(BrokenPipeError):
            say(" ".join(("ready", *service.urls)))
        await asyncio.wait((waiting, *([ending] if ending else ())), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await service.stop()
    if ending is not None and ending.done():
        raise ConfigurationError(ending.result())


def settle_down() -> None:
    """Let the garbage collector forget what was built at the start: it stays, and requests leave few cycles behind."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def _no_workers() -> None:
    import structlog

    structlog.get_logger("service").warning("nothing to replace: this service runs without --workers")
