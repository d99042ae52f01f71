"""Proof that a store is intact: audit chains, messages, documents, events, consent, outbox, alerts.

Every engine reads the rows of a slot in one consistent state and gives them to `SlotCheck` one by one, so that a
verification can run beside the service with one row in memory at a time. Faults name slot, sequence, message id or
event id; never a patient.

Spec: 35 §7; 00 §4 "admin verify"; 90 §6.1.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from openscr.codes import UPLOADS
from openscr.errors import StoreError
from openscr.identifiers import slot_of
from openscr.spine import AckType, EventStatus
from openscr.store import statements
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST, NEW, alert_digest, change_digest
from openscr.store.alert_rows import read_alert, read_change, read_notice
from openscr.store.chain import GENESIS, link, read_row
from openscr.store.compression import Codec
from openscr.store.documents import cut_document, read_payload
from openscr.store.interface import AuditRow, ChainHead, EventRow, VerifyReport
from openscr.store.rows import (
    Row,
    check_texts,
    read_consent,
    read_event,
    read_outbox,
    read_poll,
    read_standing,
    readable,
)

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


class Step(NamedTuple):
    """One look at a slot: the name of the statement that reads its rows, what looks at each, what at the end."""

    statement: str
    look: Callable[[Row], None]
    end: Callable[[], None] = lambda: None
    any_text: bool = False


class SlotCheck:
    """Looks at every row of one slot; `steps` says in which order they are wanted."""

    def __init__(self, slot: int, codec: Codec, findings: Findings) -> None:
        self._slot = slot
        self._codec = codec
        self._findings = findings
        self._events = 0
        # The chain: its head as it is kept, and the last row that was seen.
        self._head: tuple[int, bytes] | None = None
        self._sequence = 0
        self._hash = GENESIS
        self._known = findings.checkpoint.get(slot)
        # What the audit says of alerts: the digest of each by its id, and those of all steps.
        self._alert_digests: dict[str, str] = {}
        self._change_digests: set[str] = set()
        self._reached: dict[str, tuple[int, str]] = {}
        # What it says of summaries that were kept, by patient and id, each with the row that tells of it; and of
        # consents, by patient and version.
        self._told_events: dict[tuple[str | None, str], int] = {}
        self._told_consents: dict[tuple[str | None, int], str] = {}
        self._versions: Counter[str | None] = Counter()
        self._patient: str | None = None
        self._version = 0

    def steps(self) -> tuple[Step, ...]:
        """Return the looks in their order; each relies on those before it."""
        return (
            Step("READ_CHAIN", self._see_head),
            Step("SLOT_AUDIT", self._see_audit, self._end_audit),
            Step("SLOT_RECEIPTS", self._see_receipt),
            Step("SLOT_EVENTS", self._see_event, self._end_events),
            Step("SLOT_CONSENTS", self._see_consent, self._end_consents, any_text=True),
            Step("SLOT_OUTBOX", self._see_outbox, any_text=True),
            Step("SLOT_POLLS", self._see_poll, any_text=True),
            Step("SLOT_CHANGES", self._see_change, any_text=True),
            Step("SLOT_ALERTS", self._see_alert, self._end_alerts, any_text=True),
            Step("SLOT_NOTICES", self._see_notice, any_text=True),
            Step("SLOT_STANDINGS", self._see_standing, any_text=True),
        )

    def _add(self, fault: str) -> None:
        self._findings.add(f"slot {self._slot}: {fault}")

    # --- the chain ---

    def _see_head(self, row: Row) -> None:
        self._head = (row[0], row[1])

    def _see_audit(self, row: Row) -> None:
        sequence, occurred_at, nhs_number, content, hash = row
        slot, last = self._slot, self._sequence
        self._findings.audit_rows += 1
        if sequence != last + 1:
            missing = f"{last + 1}" if sequence == last + 2 else f"{last + 1} to {sequence - 1}"
            self._add(f"audit row {missing} is missing")
        try:
            right = link(self._hash, slot, sequence, occurred_at, nhs_number, content) == hash
            self._note(read_row(slot, sequence, occurred_at, nhs_number, content, hash))
        except _UNREADABLE:
            right = False
        # After a gap the hash before is not known, so this row cannot be judged.
        if sequence == last + 1 and not right:
            self._add(f"audit row {sequence} does not fit its hash")
        if self._known is not None and sequence == self._known.sequence:
            if hash != self._known.hash:
                self._add(f"audit row {sequence} is not the one of the checkpoint")
            self._known = None
        self._sequence, self._hash = sequence, hash

    def _note(self, row: AuditRow) -> None:
        entry, content = row.entry, row.entry.content
        if ALERT_DIGEST in content:
            self._alert_digests[content.get("alert", "")] = content[ALERT_DIGEST]
        if CHANGE_DIGEST in content:
            self._change_digests.add(content[CHANGE_DIGEST])
        if entry.outcome == AckType.ACCEPTED:
            if entry.action in UPLOADS and "event_id" in content:
                self._told_events[entry.nhs_number, content["event_id"]] = row.sequence
            if "new_consent" in content:
                self._versions[entry.nhs_number] += 1
                self._told_consents[entry.nhs_number, self._versions[entry.nhs_number]] = content["new_consent"]

    def _end_audit(self) -> None:
        head, last = self._head, self._sequence
        if self._known is not None:
            self._add(f"audit row {self._known.sequence} of the checkpoint is missing")
        if head is None:
            if last:
                self._add("audit rows without a chain")
        elif head[0] > last:
            self._add(f"audit rows {last + 1} to {head[0]} are missing at the end")
        elif head[0] < last:
            self._add(f"audit rows {head[0] + 1} to {last} are not of the chain")
        elif head[1] != self._hash:
            self._add(f"the chain ends in another hash than audit row {last}")

    # --- messages and events ---

    def _see_receipt(self, row: Row) -> None:
        message_id, offset, length, encoding, digest, signal, raw = row
        self._findings.receipts += 1
        try:
            self._codec.decompress(signal)
            body = self._codec.decompress(raw)
            # Without a digest nobody could read the payload when it came, and nobody has to now: what a sender calls
            # base64 need not be any. The payload of an event is looked at with the event.
            fits = not digest or sha256(read_payload(body, offset, length, encoding)).digest() == digest
        except _UNREADABLE as error:
            self._add(f"receipt {message_id}: {_reason(error)}")
            return
        if not fits:
            self._add(f"receipt {message_id}: the payload does not fit its digest")

    def _see_event(self, row: Row) -> None:
        self._findings.events += 1
        self._events += 1
        self._told_events.pop((row[0], row[1]), None)
        raw, offset, length, encoding, successor = row[_EVENT_WIDTH:]
        try:
            event = read_event(row[:_EVENT_WIDTH], self._codec)
            if raw is None:
                raise StoreError("its message is not in the store")
            payload = read_payload(self._codec.decompress(raw), offset, length, encoding)
            cut_document(payload, event).decode("utf-8")
        except _UNREADABLE as error:
            self._add(f"event {row[1]}: {_reason(error)}")
            return
        for fault in _reference_faults(event, successor):
            self._add(f"event {event.event_id}: {fault}")

    def _end_events(self) -> None:
        if self._events and not self._sequence:
            # No event is stored without a row: with its head a whole chain was taken away.
            self._add("there are events, but no audit of them")
        for (_, event_id), sequence in self._told_events.items():
            self._add(f"event {readable(event_id)}: audit row {sequence} tells of it, but it is missing")

    # --- consent ---

    def _see_consent(self, row: Row) -> None:
        """Look at the versions of each patient: 1 to the last one, each with a value that is known."""
        nhs_number, version, message_id = row[0], row[1], row[-3]
        place = f"consent version {version} of message {readable(message_id)}"
        if nhs_number != self._patient:
            self._patient, self._version = nhs_number, 0
            if slot_of(readable(nhs_number)) != self._slot:
                self._add(f"{place}: it is not in the slot of its patient")
        if version != self._version + 1:
            self._add(f"{place}: the version before it is missing")
        self._version = version
        told = self._told_consents.get((nhs_number, version))
        if self._try(place, row, lambda: read_consent(row)) and told not in {None, row[2]}:
            self._add(f"{place}: it is not the one that the audit tells of")
        self._told_consents.pop((nhs_number, version), None)

    def _end_consents(self) -> None:
        if self._told_consents:
            self._add(f"the audit tells of {len(self._told_consents)} versions of consents that are missing")

    # --- what waits ---

    def _see_outbox(self, row: Row) -> None:
        self._try(f"outbox {readable(row[1])}", row, lambda: read_outbox(row, self._codec))

    def _see_poll(self, row: Row) -> None:
        place = f"poll result of message {readable(row[2])}"
        self._try(place, row, lambda: read_poll(row, self._codec))

    def _see_notice(self, row: Row) -> None:
        self._try(f"notice of alert {readable(row[1])}", row, lambda: read_notice(row))

    # --- alerts, the steps that led each to its state, and what the audit says of both ---

    def _see_change(self, row: Row) -> None:
        place = f"change {row[1]} of alert {readable(row[0])}"
        if not self._try(place, row, lambda: read_change(row)):
            return
        change = read_change(row)
        if self._reached.get(change.alert_id, (1, NEW)) != (change.version - 1, change.from_state):
            self._add(f"{place}: it does not follow from the one before")
        if change_digest(change) not in self._change_digests:
            self._add(f"{place}: the audit does not tell of it")
        self._change_digests.discard(change_digest(change))
        self._reached[change.alert_id] = (change.version, change.to_state)

    def _see_alert(self, row: Row) -> None:
        """Look at an alert. Of those of older stores the audit has no digest; steps there were none."""
        if not self._try(f"alert {readable(row[0])}", row, lambda: read_alert(row)):
            self._alert_digests.pop(row[0], None)
            return
        alert = read_alert(row)
        if self._reached.pop(alert.id, (1, NEW)) != (alert.version, alert.state):
            self._add(f"alert {alert.id}: its state is not the one that its changes led to")
        if self._alert_digests.pop(alert.id, alert_digest(alert)) != alert_digest(alert):
            self._add(f"alert {alert.id}: it is not the one that the audit tells of")

    def _end_alerts(self) -> None:
        for alert_id in self._reached:
            self._add(f"alert {alert_id}: there are changes of it, but not the alert")
        for alert_id in self._alert_digests:
            self._add(f"alert {readable(alert_id)}: the audit tells of it, but it is missing")
        if self._change_digests:
            self._add(f"the audit tells of {len(self._change_digests)} changes of alerts that are missing")

    # --- permissions and relationships ---

    def _see_standing(self, row: Row) -> None:
        place = f"permission or relationship {readable(row[0])}"
        if self._try(place, row, lambda: read_standing(row)) and slot_of(row[1]) != self._slot:
            self._add(f"{place}: it is not in the slot of its patient")

    def _try(self, place: str, row: Row, read: Callable[[], object]) -> bool:
        """Say whether a row can be read; note it when it cannot."""
        try:
            check_texts(row)
            read()
        except _UNREADABLE as error:
            self._add(f"{place}: {_reason(error)}")
            return False
        return True


def _reference_faults(event: EventRow, successor: Any) -> Iterator[str]:
    if event.replaced_by is not None and (successor is None or event.replaced_by == event.event_id):
        yield "the event that replaced it is not in the store"
    if event.status is EventStatus.REPLACED and event.replaced_by is None:
        yield "is replaced, but by nothing"
    if event.status is EventStatus.NORMAL and (event.replaced_by or event.withdrawn_by):
        yield "is current, but names what replaced or withdrew it"
    if event.status is not EventStatus.WITHDRAWN and event.withdrawn_by is not None:
        yield "names what withdrew it, but is not withdrawn"


def _reason(error: Exception) -> str:
    return error.diagnostics if isinstance(error, StoreError) else "the stored row is damaged"
