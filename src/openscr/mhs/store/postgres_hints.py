"""Hints from process to process by LISTEN and NOTIFY: one connection that listens, and says what we have to say.

They are sent apart from the transactions that they tell of: a NOTIFY in a transaction would make every COMMIT wait for
every other. So one may get lost; whoever must know looks again by itself.

Spec: 50 F3; engine.md "LISTEN/NOTIFY only as a hint".
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from openscr.mhs.store import postgres_statements as statements
from openscr.store.postgres_connection import Connection, Place, connect
from openscr.store.postgres_errors import CONNECTION_ERRORS

CHANNEL: Final = "openscr_mhs"
LONGEST_WORD: Final = 1000
"""Characters of a word; longer ones are not told, because a payload has no room for anything."""

_MOST_WAITING: Final = 1000
_CONNECTING: Final = 2.0
"""Seconds for a connection, and for an answer on it."""
_HEARTBEAT: Final = 2.0
"""Seconds without a word of ours after which it is found out whether anybody is there."""
_AGAIN: Final = (0.1, 0.2, 0.5, 1.0)
"""Seconds before each attempt to connect again; the last counts for all further ones."""


class Hints:
    """Tells others what `announce` is given, and ``heard`` what they say, from `start` until `stop`."""

    def __init__(self, place: Place, heard: Callable[[str], None]) -> None:
        self._place = place
        self._heard = heard
        self._waiting: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.hearing = False

    def start(self) -> None:
        """Begin, on the running event loop."""
        self._task = asyncio.create_task(self._run(), name="hints")

    async def stop(self) -> None:
        """Let go."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    def announce(self, word: str) -> None:
        """Tell others a word: soon, or when they can be reached again."""
        if len(word) <= LONGEST_WORD and len(self._waiting) < _MOST_WAITING:
            self._waiting[word] = None
            self._wake.set()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                connection = await connect(self._place, _CONNECTING)
                failures = 0
                try:
                    await self._talk(connection)
                finally:
                    self.hearing = False
                    connection.terminate()
            except CONNECTION_ERRORS:
                await asyncio.sleep(_AGAIN[min(failures, len(_AGAIN) - 1)])
                failures += 1

    async def _talk(self, connection: Connection) -> None:
        own = connection.get_server_pid()

        def heard(_connection: object, teller: int, _channel: str, word: object) -> None:
            if teller != own:
                self._heard(str(word))

        def lost(_connection: object) -> None:
            self.hearing = False
            self._wake.set()

        connection.add_termination_listener(lost)
        async with asyncio.timeout(_CONNECTING):
            await connection.add_listener(CHANNEL, heard)
        self.hearing = True
        # What was said before we listened, nobody says again.
        self._heard("")
        while True:
            self._wake.clear()
            words = list(self._waiting)
            async with asyncio.timeout(_CONNECTING):
                await connection.execute(statements.TELL, CHANNEL, words)
            for word in words:
                del self._waiting[word]
            with suppress(TimeoutError):
                async with asyncio.timeout(_HEARTBEAT):
                    await self._wake.wait()
