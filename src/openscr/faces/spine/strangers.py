"""Who was turned away at the door, before anything was read of a message: kept in the audit, within measure.

Spec: 35 §3.2, §7, §9.4.
"""

from typing import Final

import structlog

from openscr.access.rate import Minutes
from openscr.access.registration import Cause
from openscr.errors import StoreError
from openscr.faces.spine.exchange import Peer
from openscr.record.record import Record
from openscr.spine import AckType, Caller, MessageIds, Outcome

_log = structlog.get_logger("spine")

HANDSHAKES_A_MINUTE: Final = 60
"""Refused handshakes that are audited: anybody who reaches the port can cause them, and must not fill the store."""

REFUSED_A_MINUTE: Final = 600
"""Refused holders of good certificates that are audited: each costs a transaction, and asks as often as it likes."""


class Strangers:
    """Writes an audit row for each caller that is turned away, up to so many a minute; then log and figures must do."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._handshakes = Minutes()
        self._refused = Minutes()

    async def turned_away(self, peer: Peer, cause: str) -> None:
        """Keep that somebody with a good certificate of their own was refused, and why."""
        count = self._refused.count()
        if count <= REFUSED_A_MINUTE:
            await self._keep(peer, cause)
        elif count == REFUSED_A_MINUTE + 1:
            _log.warning("further refused callers of this minute are not audited", audited=REFUSED_A_MINUTE)

    async def failed_handshake(self, cause: Cause, address: str | None) -> None:
        """Keep that a handshake was refused."""
        count = self._handshakes.count()
        if count <= HANDSHAKES_A_MINUTE:
            await self._keep(Peer(None, address), cause)
        elif count == HANDSHAKES_A_MINUTE + 1:
            _log.warning("further refused handshakes of this minute are not audited", audited=HANDSHAKES_A_MINUTE)

    async def _keep(self, peer: Peer, cause: str) -> None:
        certificate = peer.certificate.identity if peer.certificate is not None else ""
        caller = Caller("", "", certificate=certificate, address=peer.address)
        try:
            await self._record.audit_refusal(
                caller, MessageIds("", ""), Outcome(AckType.REJECTED), reason=cause, nhs_number=None
            )
        except StoreError as error:
            _log.error("store failed", error=error.code)
