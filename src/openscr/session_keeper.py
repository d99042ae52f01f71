"""Sessions that have ended, for all workers on a store: kept there, and looked for there again and again.

Invariants:

* A logout is answered well only when every worker will hear of it: when it is in the store.
* A worker that could not look for longer than `STALE` lets nobody in by a token: a session may have ended meanwhile.

Spec: 35 §4.2.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Final

import structlog

from openscr.access.sessions import ENDED_SECONDS, Sessions
from openscr.errors import StoreError
from openscr.store.interface import Store

_log = structlog.get_logger("sessions")

LOOK: Final = 1.0
"""Seconds between looks at the store: a session that ended is refused everywhere within two."""

STALE: Final = 10.0
"""Seconds after which what was last read counts no more."""

_OVERLAP: Final = timedelta(seconds=60)
"""How much earlier than the last look the next one begins: one that was kept meanwhile may bear an earlier time."""

_TIDY_SECONDS: Final = 600.0


class SessionKeeper:
    """Keeps ``sessions`` up to date with the store."""

    def __init__(self, store: Store, sessions: Sessions, *, look: float = LOOK) -> None:
        self._store = store
        self._sessions = sessions
        self._look = look
        self._since = datetime.fromtimestamp(0, UTC)
        self._read_at = float("-inf")
        sessions.keep = self._keep
        sessions.known = self._known

    def _known(self) -> bool:
        return monotonic() - self._read_at < STALE

    async def _keep(self, session: str) -> None:
        now = await self._store.now()
        await self._store.end_session(session, now, now + timedelta(seconds=ENDED_SECONDS))

    async def read(self) -> None:
        """Take note of what ended since the last look. Raises: `StoreError`."""
        began = monotonic()
        now = await self._store.now()
        for session, until in await self._store.ended_sessions(self._since):
            self._sessions.note(session, until.timestamp())
        self._since, self._read_at = now - _OVERLAP, began

    async def follow(self) -> None:
        """Look again and again, until it is cancelled; forget now and then what need not be remembered."""
        tidied = monotonic()
        while True:
            await asyncio.sleep(self._look)
            try:
                await self.read()
                if monotonic() - tidied > _TIDY_SECONDS:
                    tidied = monotonic()
                    await self._store.remove_ended_sessions(await self._store.now())
            except StoreError as error:
                _log.warning("ended sessions not read", error=error.code)
