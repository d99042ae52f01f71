"""A store with something in every table, and how two of them are compared."""

from collections.abc import Callable, Coroutine
from datetime import timedelta

from openscr.identifiers import slot_of
from openscr.spine import EventStatus
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST, alert_digest, change_digest
from openscr.store.alert_records import AlertChange, Subscription
from openscr.store.copying import Access, Database, Sum, sum_table
from openscr.store.interface import AuditEntry, OutboxState, PatientEntry, Store, Transaction
from openscr.store.opening import open_store, whole_store
from openscr.store.tables import TABLES

from .samples import (
    NOON,
    a_consent,
    a_poll_result,
    a_standing,
    an_alert,
    an_entry,
    an_event,
    an_id,
    an_outbox_row,
    append,
    at,
    receive,
)

NUMBERS = tuple(f"99900{number:05d}" for number in range(12))
"""Keys of patients in slots of their own; not all of them pass modulus 11, and here none has to."""


async def populate(store: Store, versions: int = 3) -> None:
    """Put something into every table."""
    for place, number in enumerate(NUMBERS):
        slot, first = slot_of(number), place * 100
        for version in range(versions):
            await store.transact(slot, receive(first + version, number, base64=version % 2 == 1))
        await store.transact(slot, _replace(number, first, versions))
        await append(store, [a_consent(1, nhs_number=number), an_entry(first + 50, number)], slot)
    alert = an_alert(7)
    change = AlertChange(alert.id, 2, at(9), "new", "open", "noted", "555000000401", "555000000402", "B99901")
    evidence = {"alert": alert.id, ALERT_DIGEST: alert_digest(alert)}
    slot = slot_of(alert.nhs_number)
    await append(store, [alert, AuditEntry(at(8), "alert", "raised", alert.nhs_number, evidence), a_standing(3)], slot)

    async def note(transaction: Transaction) -> None:
        await transaction.change_alert(change)
        digest = {CHANGE_DIGEST: change_digest(change)}
        await transaction.append_audit(AuditEntry(at(9), "alert", "open", alert.nhs_number, digest))

    await store.transact(slot, note)
    failed = an_outbox_row(9001, slot, state=OutboxState.FAILED, body=b"x" * 999, last_error="refused: “é”", attempts=3)
    await append(store, [a_poll_result(5), failed], slot)
    await store.write_directory([("system", "1", b'{"a": 1}'), ("person", "2", '{"b": "é"}'.encode())])
    await store.write_directory([("system", "3", b"{}")])
    await store.write_patients([PatientEntry(number, demographics={"family": "Tést"}) for number in NUMBERS[:5]])
    await store.write_subscription(
        Subscription(an_id(1), "B99901", "webhook", "https://x.test/", "s", ("1", "2"), "u", "r", NOON)
    )
    await store.end_session("d" * 64, NOON, NOON + timedelta(hours=1))


def _replace(number: str, first: int, versions: int) -> Callable[[Transaction], Coroutine[None, None, None]]:
    async def work(transaction: Transaction) -> None:
        for version in range(versions - 1):
            event = an_event(
                first + version, number, status=EventStatus.REPLACED, replaced_by=an_id(first + version + 1)
            )
            await transaction.change_event(event)

    return work


async def populated(url: str, versions: int = 3) -> None:
    """Make a store at a URL with something in every table."""
    store = open_store(url)
    await store.open()
    try:
        await populate(store, versions)
    finally:
        await store.close()


async def contents(url: str) -> dict[str, Sum]:
    """Return count and digest of every table of a store."""
    async with whole_store(url, Access.SNAPSHOT) as database:
        return await _contents(database)


async def _contents(database: Database) -> dict[str, Sum]:
    found = {}
    for table in TABLES:
        found[table.name] = await sum_table(database, table, range(0))
    return found
