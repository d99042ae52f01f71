"""A service in a process of its own: settings from the environment, ``ready`` on standard output, SIGTERM to stop."""

import asyncio
import signal

import uvloop

from openscr.logs import configure_logs
from openscr.service import Service
from openscr.settings import load_settings


async def serve() -> None:
    """Run until SIGTERM."""
    service = Service(load_settings())
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await service.start()
    print("ready", *service.urls, flush=True)  # noqa: T201
    await stop.wait()
    await service.stop()


if __name__ == "__main__":
    configure_logs("info")
    uvloop.run(serve())
