"""Proof that a SQLite store is intact: audit chains, messages, documents, events, consent, outbox, alerts.

Slot by slot, each in one short read of a consistent state, one row in memory at a time, so that it can run beside the
service. Faults name slot, sequence, message id or event id; never a patient.

Spec: 35 §7; 00 §4 "admin verify"; 90 §6.1.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.spine import EventStatus
from openscr.store import statements
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST, NEW, alert_digest, change_digest
from openscr.store.alert_rows import read_alert, read_change, read_notice
from openscr.store.chain import GENESIS, link, read_row
from openscr.store.compression import Codec
from openscr.store.documents import cut_document, read_payload
from openscr.store.interface import ChainHead, EventRow, VerifyReport
from openscr.store.rows import check_texts, read_consent, read_event, read_outbox, read_poll, read_standing, readable
from openscr.store.sqlite_outbox import any_text

FAULT_LIMIT: Final = 1000
"""Faults reported at most; more tell nothing new."""

_EVENT_WIDTH: Final = len(statements.EVENT_COLUMNS.split(","))

_UNREADABLE: Final = (StoreError, msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError)
"""What a damaged row may raise while it is read."""


class Findings:
    """What was looked at and found so far, and where chains once ended according to a checkpoint."""

    def __init__(self, checkpoint: Iterable[ChainHead] = ()) -> None:
        self.checkpoint = {head.slot: head for head in checkpoint}
        self.audit_rows = 0
        self.events = 0
        self.receipts = 0
        self._faults: list[str] = []

    def add(self, fault: str) -> None:
        """Note a fault; beyond `FAULT_LIMIT` it is only said that there are more."""
        if len(self._faults) < FAULT_LIMIT:
            self._faults.append(fault)
        elif len(self._faults) == FAULT_LIMIT:
            self._faults.append("more faults follow that are not listed")

    def report(self) -> VerifyReport:
        """Return the findings as the store reports them."""
        return VerifyReport(self.audit_rows, self.events, self.receipts, tuple(self._faults))


def check_file(connection: sqlite3.Connection, findings: Findings) -> None:
    """Let the engine compare its tables with their indexes and its pages with their form."""
    try:
        lines = [str(line) for (line,) in connection.execute("PRAGMA integrity_check(20)")]
    except sqlite3.DatabaseError as error:
        lines = [getattr(error, "sqlite_errorname", "unreadable")]
    for line in lines:
        if line != "ok":
            findings.add(f"database file: {line}")


def check_schema(connection: sqlite3.Connection, findings: Findings) -> bool:
    """See whether everything is there that the service's statements speak of: without it no slot can be read."""
    for statement in (*statements.HOT, *statements.BACKGROUND):
        try:
            connection.execute(f"EXPLAIN {statement}", (None,) * statement.count("?"))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
            # The engine's words name a table or a column of the schema, nothing that is in it.
            findings.add(f"schema: {error}; nothing further was looked at")
            return False
    return True


def check_slots(connection: sqlite3.Connection, slots: Iterable[int], codec: Codec, findings: Findings) -> None:
    """Check everything in some slots, each against one consistent state."""
    for slot in slots:
        connection.execute("BEGIN")
        try:
            before = findings.audit_rows, findings.events
            evidence = _check_chain(connection, slot, findings)
            _check_receipts(connection, slot, codec, findings)
            _check_events(connection, slot, codec, findings)
            if findings.events > before[1] and findings.audit_rows == before[0]:
                # No event is stored without a row: with its head a whole chain was taken away.
                findings.add(f"slot {slot}: there are events, but no audit of them")
            with any_text(connection):
                _check_consents(connection, slot, findings)
                _check_outbox(connection, slot, codec, findings)
                _check_polls(connection, slot, codec, findings)
                _check_alerts(connection, slot, findings, evidence)
                _check_standings(connection, slot, findings)
        except sqlite3.DatabaseError as error:
            findings.add(f"slot {slot}: rows cannot be read ({getattr(error, 'sqlite_errorname', 'no code')})")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")


class _Evidence:
    """What the audit of a slot says of alerts: the digest of each by its id, and those of all steps."""

    def __init__(self) -> None:
        self.alerts: dict[str, str] = {}
        self.changes: set[str] = set()

    def note(self, content: Mapping[str, str]) -> None:
        """Note what a row says."""
        if ALERT_DIGEST in content:
            self.alerts[content.get("alert", "")] = content[ALERT_DIGEST]
        if CHANGE_DIGEST in content:
            self.changes.add(content[CHANGE_DIGEST])


def _check_chain(connection: sqlite3.Connection, slot: int, findings: Findings) -> _Evidence:
    evidence = _Evidence()
    head = connection.execute(statements.READ_CHAIN, (slot,)).fetchone()
    last, previous, known = 0, GENESIS, findings.checkpoint.get(slot)
    for sequence, occurred_at, nhs_number, content, hash in connection.execute(statements.SLOT_AUDIT, (slot,)):
        findings.audit_rows += 1
        if sequence != last + 1:
            missing = f"{last + 1}" if sequence == last + 2 else f"{last + 1} to {sequence - 1}"
            findings.add(f"slot {slot}: audit row {missing} is missing")
        try:
            right = link(previous, slot, sequence, occurred_at, nhs_number, content) == hash
            evidence.note(read_row(slot, sequence, occurred_at, nhs_number, content, hash).entry.content)
        except _UNREADABLE:
            right = False
        # After a gap the hash before is not known, so this row cannot be judged.
        if sequence == last + 1 and not right:
            findings.add(f"slot {slot}: audit row {sequence} does not fit its hash")
        if known is not None and sequence == known.sequence:
            if hash != known.hash:
                findings.add(f"slot {slot}: audit row {sequence} is not the one of the checkpoint")
            known = None
        last, previous = sequence, hash
    if known is not None:
        findings.add(f"slot {slot}: audit row {known.sequence} of the checkpoint is missing")
    if head is None:
        if last:
            findings.add(f"slot {slot}: audit rows without a chain")
    elif head[0] > last:
        findings.add(f"slot {slot}: audit rows {last + 1} to {head[0]} are missing at the end")
    elif head[0] < last:
        findings.add(f"slot {slot}: audit rows {head[0] + 1} to {last} are not of the chain")
    elif head[1] != previous:
        findings.add(f"slot {slot}: the chain ends in another hash than audit row {last}")
    return evidence


def _check_receipts(connection: sqlite3.Connection, slot: int, codec: Codec, findings: Findings) -> None:
    for message_id, offset, length, encoding, digest, signal, raw in connection.execute(
        statements.SLOT_RECEIPTS, (slot,)
    ):
        findings.receipts += 1
        try:
            codec.decompress(signal)
            body = codec.decompress(raw)
            # Without a digest nobody could read the payload when it came, and nobody has to now: what a sender calls
            # base64 need not be any. The payload of an event is looked at with the event.
            fits = not digest or sha256(read_payload(body, offset, length, encoding)).digest() == digest
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: receipt {message_id}: {_reason(error)}")
            continue
        if not fits:
            findings.add(f"slot {slot}: receipt {message_id}: the payload does not fit its digest")


def _check_events(connection: sqlite3.Connection, slot: int, codec: Codec, findings: Findings) -> None:
    for row in connection.execute(statements.SLOT_EVENTS, (slot,)):
        findings.events += 1
        raw, offset, length, encoding, successor = row[_EVENT_WIDTH:]
        try:
            event = read_event(row[:_EVENT_WIDTH], codec)
            if raw is None:
                raise StoreError("its message is not in the store")
            payload = read_payload(codec.decompress(raw), offset, length, encoding)
            cut_document(payload, event).decode("utf-8")
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: event {row[1]}: {_reason(error)}")
            continue
        for fault in _reference_faults(event, successor):
            findings.add(f"slot {slot}: event {event.event_id}: {fault}")


def _reference_faults(event: EventRow, successor: Any) -> Iterator[str]:
    if event.replaced_by is not None and (successor is None or event.replaced_by == event.event_id):
        yield "the event that replaced it is not in the store"
    if event.status is EventStatus.REPLACED and event.replaced_by is None:
        yield "is replaced, but by nothing"
    if event.status is EventStatus.NORMAL and (event.replaced_by or event.withdrawn_by):
        yield "is current, but names what replaced or withdrew it"
    if event.status is not EventStatus.WITHDRAWN and event.withdrawn_by is not None:
        yield "names what withdrew it, but is not withdrawn"


def _check_consents(connection: sqlite3.Connection, slot: int, findings: Findings) -> None:
    """Look at the versions of each patient: 1 to the last one, each with a value that is known."""
    patient, last = None, 0
    for row in connection.execute(statements.SLOT_CONSENTS, (slot,)):
        nhs_number, version, message_id = row[0], row[1], row[-3]
        place = f"slot {slot}: consent version {version} of message {readable(message_id)}"
        if nhs_number != patient:
            patient, last = nhs_number, 0
            if slot_of(readable(nhs_number)) != slot:
                findings.add(f"{place}: it is not in the slot of its patient")
        if version != last + 1:
            findings.add(f"{place}: the version before it is missing")
        last = version
        try:
            check_texts(row)
            read_consent(row)
        except _UNREADABLE as error:
            findings.add(f"{place}: {_reason(error)}")


def _check_outbox(connection: sqlite3.Connection, slot: int, codec: Codec, findings: Findings) -> None:
    for row in connection.execute(statements.SLOT_OUTBOX, (slot,)):
        try:
            read_outbox(row, codec)
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: outbox {readable(row[1])}: {_reason(error)}")


def _check_polls(connection: sqlite3.Connection, slot: int, codec: Codec, findings: Findings) -> None:
    for row in connection.execute(statements.SLOT_POLLS, (slot,)):
        try:
            check_texts(row)
            read_poll(row, codec)
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: poll result of message {readable(row[2])}: {_reason(error)}")


def _check_alerts(connection: sqlite3.Connection, slot: int, findings: Findings, evidence: _Evidence) -> None:
    """Look at alerts, at the steps that led each to its state, at what the audit says of both, and at notices.

    Of alerts of older stores the audit has no digest; steps there were none.
    """
    reached: dict[str, tuple[int, str]] = {}
    for row in connection.execute(statements.SLOT_CHANGES, (slot,)):
        place = f"slot {slot}: change {row[1]} of alert {readable(row[0])}"
        try:
            check_texts(row)
            change = read_change(row)
        except _UNREADABLE as error:
            findings.add(f"{place}: {_reason(error)}")
            continue
        if reached.get(change.alert_id, (1, NEW)) != (change.version - 1, change.from_state):
            findings.add(f"{place}: it does not follow from the one before")
        if change_digest(change) not in evidence.changes:
            findings.add(f"{place}: the audit does not tell of it")
        evidence.changes.discard(change_digest(change))
        reached[change.alert_id] = (change.version, change.to_state)
    for row in connection.execute(statements.SLOT_ALERTS, (slot,)):
        try:
            check_texts(row)
            alert = read_alert(row)
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: alert {readable(row[0])}: {_reason(error)}")
            evidence.alerts.pop(row[0], None)
            continue
        if reached.pop(alert.id, (1, NEW)) != (alert.version, alert.state):
            findings.add(f"slot {slot}: alert {alert.id}: its state is not the one that its changes led to")
        if evidence.alerts.pop(alert.id, alert_digest(alert)) != alert_digest(alert):
            findings.add(f"slot {slot}: alert {alert.id}: it is not the one that the audit tells of")
    for alert_id in reached:
        findings.add(f"slot {slot}: alert {alert_id}: there are changes of it, but not the alert")
    for alert_id in evidence.alerts:
        findings.add(f"slot {slot}: alert {readable(alert_id)}: the audit tells of it, but it is missing")
    if evidence.changes:
        findings.add(f"slot {slot}: the audit tells of {len(evidence.changes)} changes of alerts that are missing")
    for row in connection.execute(statements.SLOT_NOTICES, (slot,)):
        try:
            check_texts(row)
            read_notice(row)
        except _UNREADABLE as error:
            findings.add(f"slot {slot}: notice of alert {readable(row[1])}: {_reason(error)}")


def _check_standings(connection: sqlite3.Connection, slot: int, findings: Findings) -> None:
    for row in connection.execute(statements.SLOT_STANDINGS, (slot,)):
        place = f"slot {slot}: permission or relationship {readable(row[0])}"
        try:
            check_texts(row)
            read_standing(row)
        except _UNREADABLE as error:
            findings.add(f"{place}: {_reason(error)}")
            continue
        if slot_of(row[1]) != slot:
            findings.add(f"{place}: it is not in the slot of its patient")


def _reason(error: Exception) -> str:
    return error.diagnostics if isinstance(error, StoreError) else "the stored row is damaged"
