"""Who was turned away at the door, before anything was read of a message: kept in the audit, within measure.

Spec: 35 §3.2, §7, §9.4.
"""

from datetime import datetime, timedelta
from typing import Final

import structlog

from openscr.access.registration import Cause
from openscr.errors import StoreError
from openscr.faces.spine.exchange import Peer
from openscr.identifiers import Clock
from openscr.record.record import Record
from openscr.spine import AckType, Caller, MessageIds, Outcome

_log = structlog.get_logger("spine")

HANDSHAKES_A_MINUTE: Final = 60
"""Refused handshakes that are audited: anybody who reaches the port can cause them, and must not fill the store."""

_MINUTE: Final = timedelta(minutes=1)


class Strangers:
    """Writes an audit row for each caller that is turned away."""

    def __init__(self, record: Record, clock: Clock) -> None:
        self._record = record
        self._clock = clock
        self._minute: datetime | None = None
        self._handshakes = 0

    async def turned_away(self, peer: Peer, cause: str) -> None:
        """Keep that somebody with a good certificate of their own was refused, and why."""
        certificate = peer.certificate.identity if peer.certificate is not None else ""
        caller = Caller("", "", certificate=certificate, address=peer.address)
        try:
            await self._record.audit_refusal(
                caller, MessageIds("", ""), Outcome(AckType.REJECTED), reason=cause, nhs_number=None
            )
        except StoreError as error:
            _log.error("store failed", error=error.code)

    async def failed_handshake(self, cause: Cause, address: str | None) -> None:
        """Keep that a handshake was refused; after `HANDSHAKES_A_MINUTE` the log and the figures have to do."""
        now = self._clock()
        if self._minute is None or now - self._minute >= _MINUTE:
            self._minute, self._handshakes = now, 0
        self._handshakes += 1
        if self._handshakes <= HANDSHAKES_A_MINUTE:
            await self.turned_away(Peer(None, address), cause)
        elif self._handshakes == HANDSHAKES_A_MINUTE + 1:
            _log.warning("further refused handshakes of this minute are not audited", audited=HANDSHAKES_A_MINUTE)
