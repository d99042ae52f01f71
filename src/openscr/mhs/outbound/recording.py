"""What is kept of requests that are refused: a line in the log, a count, and a record in the audit.

Spec: 50 F18, F22.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

import structlog

from openscr.access.rate import Minutes
from openscr.errors import StoreError
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.outbound.answers import MESSAGE_ID
from openscr.mhs.outbound.header_values import FROM_ASID, INTERACTION_ID, header_value
from openscr.mhs.outbound.refusals import Refusal

REFUSALS_A_MINUTE: Final = 600
"""Refusals that are audited: whoever reaches the port can cause them, and must not fill the store."""

_log = structlog.get_logger("mhs.outbound")


class RefusalRecord:
    """Keeps that requests were refused; of their content nothing."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._refusals = Minutes()

    def interaction_of(self, headers: Mapping[str, str]) -> str:
        """Return the interaction for log, figures and audit: what no table has could be anything."""
        name = headers.get(INTERACTION_ID, "")
        return name if name in self._context.interactions else "unknown"

    async def keep(
        self,
        refusal: Refusal,
        headers: Mapping[str, str],
        arrived: datetime,
        *,
        correlation_id: str,
        message_id: str = "",
        caller: str = "",
    ) -> None:
        """Keep one refusal. ``message_id`` is the one in use, if it is not the caller's own."""
        context = self._context
        interaction = self.interaction_of(headers)
        seconds = max(0.0, (context.clock() - arrived).total_seconds())
        context.figures.message("outbound", interaction, "", refusal.code, seconds)
        _log.info("refused", status=refusal.status, code=refusal.code)
        if self._refusals.count() > REFUSALS_A_MINUTE:
            return
        facts = AuditFacts(
            direction="outbound",
            outcome=refusal.code,
            started=arrived,
            interaction=interaction,
            message_id=message_id or header_value(headers, MESSAGE_ID),
            correlation_id=correlation_id,
            from_asid=header_value(headers, FROM_ASID),
            caller=caller,
        )
        try:
            await context.audit.write(facts)
        except StoreError as error:
            # Nothing was sent: that it was not sent may go unrecorded, but not unsaid.
            _log.error("refusal not audited", error=error.code)
