"""The adaptor's audit: one record for every message and every failure, never the body of one.

Spec: 50 F22.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from openscr.identifiers import Clock
from openscr.mhs.store.interface import AuditEntry, Store, Transaction


@dataclass(frozen=True, slots=True)
class AuditFacts:
    """What is known of an exchange when its record is written; ``payload`` is only read, for who its author is.

    ``outcome`` is a status of 50 §6, an HTTP status or a word of ours; ``started`` is when the exchange began.
    """

    direction: Literal["outbound", "inbound"]
    outcome: str
    started: datetime
    workflow: str = ""
    interaction: str = ""
    message_id: str = ""
    correlation_id: str = ""
    ref_to_message_id: str = ""
    from_asid: str = ""
    to_asid: str = ""
    from_party: str = ""
    to_party: str = ""
    caller: str = ""
    payload: bytes | None = None


class AuditTrail:
    """Writes records."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    def entry(self, facts: AuditFacts) -> AuditEntry:
        """Return the record of an exchange, to be appended in the transaction that changes its state."""
        now = self._clock()
        content = {
            "direction": facts.direction,
            "outcome": facts.outcome,
            "milliseconds": str(round((now - facts.started).total_seconds() * 1000)),
            "workflow": facts.workflow,
            "interaction": facts.interaction,
            "message_id": facts.message_id,
            "correlation_id": facts.correlation_id,
            "ref_to_message_id": facts.ref_to_message_id,
            "from_asid": facts.from_asid,
            "to_asid": facts.to_asid,
            "from_party": facts.from_party,
            "to_party": facts.to_party,
            "caller": facts.caller,
        }
        return AuditEntry(now, {name: value for name, value in content.items() if value})

    async def write(self, facts: AuditFacts) -> None:
        """Write the record of an exchange that changes nothing else."""
        entry = self.entry(facts)

        async def append(transaction: Transaction) -> None:
            await transaction.append_audit(entry)

        await self._store.transact(append)
