"""Accepting a summary: the questions in the order in which they are asked.

Invariants: a patient has at most one Normal event; a stored document is never changed; an accepted upload is stored in
the transaction that accepted it, before anybody hears of it.

Spec: 10 §15 steps 1-12, 30 §9.
"""

from dataclasses import replace
from datetime import datetime

from openscr.access.policy import Authorisation
from openscr.codes import DOCUMENT_TYPES, INITIAL_UPLOAD
from openscr.errors import GENERAL, MERGED_LONG_TEXT, NO_EXPLICIT_CONSENT, Issue
from openscr.identifiers import comparable_hl7_time
from openscr.record.decision import (
    ACCEPTED,
    ACCESS_DENIED,
    Decision,
    RecordRules,
    is_known,
    is_restricted,
    refuse,
    refuse_general,
    refuse_with,
    survivor_of,
)
from openscr.spine import Caller, Consent, EventStatus, Upload
from openscr.store.interface import EventRow, PatientState

NULLIFIED_REASON = "01"
"""Withdrawal reason of a summary that was uploaded as nullified: sent in error. Spec: 10 §15 step 10."""


def check_patient(state: PatientState, rules: RecordRules) -> Decision | None:
    """Ask the patient index: unknown, merged and restricted numbers take no uploads. Spec: 10 §15 step 3."""
    survivor = survivor_of(state)
    if survivor is not None:
        text = f"[PSIS-30307] - {MERGED_LONG_TEXT.format(survivor=survivor)}"
        return refuse_with("merged", GENERAL["410"], Issue("30307", text))
    if is_restricted(state):
        return refuse(ACCESS_DENIED, "restricted")
    if not is_known(state, rules):
        return refuse("35160", "patient_unknown", field="NHS Number")
    return None


def check_consent(upload: Upload, state: PatientState, rules: RecordRules) -> Decision | None:
    """Refuse, after a dissent, every summary but the one that states it. Spec: 10 §15 step 4, 30 §9."""
    if state.consent is Consent.NO and not upload.dissent:
        return refuse(ACCESS_DENIED, "consent")
    if rules.require_explicit_store_consent and state.consent is Consent.ASK and not upload.dissent:
        return refuse_with("consent_not_explicit", NO_EXPLICIT_CONSENT)
    return None


def decide_upload(
    upload: Upload,
    state: PatientState,
    authorisation: Authorisation,
    rules: RecordRules,
    caller: Caller,
    now: datetime,
    from_party: str,
    transport_id: str,
) -> Decision:
    """Decide whether a summary is stored, and what becomes of the ones before it. Spec: 10 §15.

    ``from_party`` and ``transport_id`` are the key of the receipt that holds the raw message.
    """
    if not authorisation.allowed:
        return refuse(ACCESS_DENIED, authorisation.reason)
    refused = check_patient(state, rules) or check_consent(upload, state, rules)
    if refused is not None:
        return refused
    if upload.event_type not in DOCUMENT_TYPES:
        return refuse("30340", "event_type", event_id=upload.event_id)
    events = {event.event_id: event for event in state.events}
    if upload.event_id in events or upload.event_id in upload.replaces:
        return refuse("30134", "duplicate_event", event_id=upload.event_id, nhs_number=upload.nhs_number)
    current = [event for event in state.events if event.status is EventStatus.NORMAL]
    notes: dict[str, str] = {}
    replaced: list[EventRow] = []
    if upload.ids.interaction == INITIAL_UPLOAD:
        if current and not rules.initial_upload_overwrites:
            return refuse_general("430", "current_summary_exists")
        replaced = current
    elif upload.replaces:
        target = events.get(upload.replaces[0])
        if target is None:
            return refuse("30308", "target_unknown", event_id=upload.replaces[0])
        if target.status is not EventStatus.NORMAL:
            return refuse_general("430", "target_not_current")
        replaced = [target]
    elif current and not upload.nullified:
        # Real senders often leave replacementOf out, and only one current summary means anything.
        replaced = current
        notes["warning"] = "replaced_without_reference"
    if any(comparable_hl7_time(upload.effective_time) < comparable_hl7_time(e.effective_time) for e in current):
        notes["warning_order"] = "older_than_current"
    metadata = dict(upload.metadata)
    metadata["sender.organisation"] = authorisation.organisation
    event = EventRow(
        nhs_number=upload.nhs_number,
        event_id=upload.event_id,
        event_type=upload.event_type,
        interaction=upload.ids.interaction,
        status=EventStatus.WITHDRAWN if upload.nullified else EventStatus.NORMAL,
        effective_time=upload.effective_time,
        stored_at=now,
        sender_asid=caller.asid,
        from_party=from_party,
        message_id=transport_id,
        wrapper_id=upload.ids.message_id.upper(),
        document_offset=upload.document.offset,
        document_length=upload.document.length,
        name_length=upload.document.name_length,
        declarations=upload.document.declarations,
        author=upload.author,
        content=upload.content,
        dissent=upload.dissent,
        metadata=metadata,
        withdrawal_reason=NULLIFIED_REASON if upload.nullified else None,
        withdrawn_at=now if upload.nullified else None,
    )
    if state.index is not None and state.index.status == "deceased":
        notes["warning_patient"] = "deceased"
    if authorisation.reason:
        notes["author"] = authorisation.reason
    return Decision(
        ACCEPTED,
        new_event=event,
        changed_events=tuple(
            replace(old, status=EventStatus.REPLACED, replaced_by=upload.event_id) for old in replaced
        ),
        notes=notes,
    )
