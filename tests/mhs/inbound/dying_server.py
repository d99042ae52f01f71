"""Serves inbound on a free port until its n-th message is durable, and dies before it is acknowledged: kill -9.

``python -m mhs.inbound.dying_server <data folder> <n, 0: never>``; the first line on standard output is the address.
"""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from starlette.types import Message, Receive, Scope, Send

from mhs import rig
from openscr.identifiers import mint_uuid
from openscr.listeners import Listener, bind
from openscr.mhs.inbound.application import InboundApplication
from openscr.mhs.store.opening import open_store
from openscr.settings import Address


async def serve(folder: Path, dies_at: int) -> None:
    """Serve until told to stop by the end of standard input."""
    store = open_store(rig.settings(data=folder))
    await store.open()
    application = InboundApplication(replace(rig.context(store=store), mint=mint_uuid))
    answers = 0

    async def dying(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_unless_dead(message: Message) -> None:
            nonlocal answers
            if message["type"] == "http.response.start":
                answers += 1
                if answers == dies_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            await send(message)

        await application(scope, receive, send_unless_dead)

    listener = Listener(dying, bind(Address("127.0.0.1", 0), "inbound"), tls=None, grace=1.0)
    await listener.start()
    sys.stdout.write(f"{listener.url}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    listener.stop_accepting()
    await listener.stopped()
    await store.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
