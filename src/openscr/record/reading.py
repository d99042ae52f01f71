"""What an operator reads of patients' records with commands of the machine: each look is in the audit.

Spec: 30 §9.1, 35 §7, 80 §5.3.
"""

from datetime import datetime

from openscr.identifiers import slot_of
from openscr.store.alert_records import AlertRow
from openscr.store.interface import AuditEntry, ConsentRow, Store, Transaction


def _entry(action: str, operator: str, now: datetime, nhs_number: str | None) -> AuditEntry:
    return AuditEntry(now, action, "AA", nhs_number, {"interaction": action, "operator": operator})


async def read_consent_history(store: Store, nhs_number: str, operator: str, now: datetime) -> tuple[ConsentRow, ...]:
    """Return every version of a patient's consent, oldest first; ``operator`` is who looks. Raises: `StoreError`."""

    async def work(transaction: Transaction) -> tuple[ConsentRow, ...]:
        await transaction.append_audit(_entry("admin consent-history", operator, now, nhs_number))
        return await transaction.consent_history(nhs_number)

    return await store.transact(slot_of(nhs_number), work)


async def list_alerts(store: Store, operator: str, now: datetime, *, reveal: bool) -> list[AlertRow]:
    """Return all privacy alerts, oldest first; ``operator`` is who looks. Raises: `StoreError`.

    One row of the audit says that the list was looked at; where patients are revealed, each of them has one.
    """
    rows = await store.read_alerts()
    looked_at: list[str | None] = [None]
    if reveal and rows:
        looked_at = [*sorted({row.nhs_number for row in rows})]
    for nhs_number in looked_at:
        entry = _entry("admin alerts", operator, now, nhs_number)

        async def work(transaction: Transaction, entry: AuditEntry = entry) -> None:
            await transaction.append_audit(entry)

        await store.transact(slot_of(nhs_number or operator), work)
    return rows
