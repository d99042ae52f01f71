"""Showing a record: who may look, what consent says, what there is, in that order.

Invariants: nothing is shown that consent forbids, unless an override that the role permits says why, and then an alert
is raised in the same transaction; consent is asked before the question whether there is a record, so that a refusal
never tells.

Spec: 20 §6, §7.1, §8, §10.3; 30 §9.
"""

from collections.abc import Sequence
from datetime import datetime

from openscr.access.policy import Authorisation
from openscr.codes import DISSENT_OVERRIDES, LEGAL_OVERRIDES, PAYLOAD_IDS, UPLOAD
from openscr.record.audit import bounded
from openscr.record.decision import (
    ACCEPTED,
    ACCESS_DENIED,
    Decision,
    RecordRules,
    is_restricted,
    refuse,
    survivor_of,
)
from openscr.spine import Caller, Consent, DissentOverride, Event, EventStatus
from openscr.store.alert_records import AlertRow
from openscr.store.interface import EventRow, PatientState

ACCESS_ALERT = "2"
"""Alert type: access that consent did not cover. Spec: 35 §6.1."""

_STATUS_ORDER = {EventStatus.NORMAL: 0, EventStatus.REPLACED: 1, EventStatus.WITHDRAWN: 2}


def decide_view(
    override: DissentOverride,
    state: PatientState,
    authorisation: Authorisation,
    rules: RecordRules,
    caller: Caller,
    now: datetime,
    alert_id: str,
    *,
    past_permission: str = "",
) -> Decision:
    """Decide whether this patient's record may be looked at now. Spec: 20 §10.3 steps 4-6, 30 §9.

    ``past_permission`` is the alert reason of an access that no permission to view covers. Spec: 35 §9.4.
    """
    notes = {"author": authorisation.reason} if authorisation.reason else {}
    if override.code != "0":
        notes["override_code"] = override.code
        notes["override_meaning"] = DISSENT_OVERRIDES.get(override.code, "")
        if override.text:
            notes["override_text"] = override.text
    if not authorisation.allowed:
        return _with_notes(refuse(ACCESS_DENIED, authorisation.reason), notes)
    if survivor_of(state) is not None:
        return _with_notes(refuse("30307", "merged"), notes)
    if is_restricted(state):
        return _with_notes(refuse(ACCESS_DENIED, "restricted"), notes)
    alert_reason = past_permission
    best_interest = rules.override_vocabulary == "4.2.00" and override.code in ("4", "5")
    if state.consent is Consent.NO:
        if override.code in LEGAL_OVERRIDES:
            alert_reason = override.code
        elif best_interest and rules.best_interest_overrides_dissent:
            alert_reason = "5"
        elif not best_interest and override.code == "5":
            alert_reason = "override-5"
        elif best_interest or not (override.code == "4" and owns_record(state, authorisation)):
            return _with_notes(refuse(ACCESS_DENIED, "consent"), notes)
    elif best_interest:
        alert_reason = "5"
    alert = None
    if alert_reason:
        alert = access_alert(alert_reason, override, state, authorisation, caller, now, alert_id)
    return Decision(ACCEPTED, alert=alert, notes=notes)


def access_alert(
    reason: str,
    override: DissentOverride,
    state: PatientState,
    authorisation: Authorisation,
    caller: Caller,
    now: datetime,
    alert_id: str,
) -> AlertRow:
    """Return the alert of an access that consent or permission did not cover. Spec: 20 §10.4, 35 §6.1."""
    return raised_alert(ACCESS_ALERT, reason, override.text, state.nhs_number, authorisation, caller, now, alert_id)


def raised_alert(
    type: str,
    reason: str,
    text: str,
    nhs_number: str,
    authorisation: Authorisation,
    caller: Caller,
    now: datetime,
    alert_id: str,
) -> AlertRow:
    """Return an alert that we raise ourselves, with what the user typed as its text. Spec: 35 §6.1."""
    person = authorisation.person
    return AlertRow(
        id=alert_id,
        nhs_number=nhs_number,
        type=type,
        reason=reason,
        text=bounded(text),
        raised_at=now,
        asid=caller.asid,
        organisation=authorisation.organisation,
        user_id=person.user_id if person else None,
        role_profile_id=person.role_profile_id if person else None,
        job_role=person.job_role if person else None,
    )


def _with_notes(decision: Decision, notes: dict[str, str]) -> Decision:
    return Decision(decision.outcome, reason=decision.reason, notes=notes)


def owns_record(state: PatientState, authorisation: Authorisation) -> bool:
    """Whether a known person of the current summary's author organisation asks. Spec: 20 §6 (code 4), 35 §9.2.

    The organisation of a person as author is not in the document; it is that of the system that sent it.
    """
    current = next((event for event in state.events if event.status is EventStatus.NORMAL), None)
    if current is None or authorisation.person is None or not authorisation.organisation:
        return False
    author = current.metadata.get("author/idCode") or current.metadata.get("sender.organisation")
    return author == authorisation.organisation


def no_record(nhs_number: str) -> Decision:
    """Answer that there is nothing to show: an error type with a warning, as clients expect. Spec: 20 §8.2."""
    return refuse("30312", "no_record", nhs_number=nhs_number)


def show(event: EventRow) -> Event:
    """Return what a list shows of a stored event."""
    return Event(
        event_id=event.event_id,
        event_type=event.event_type,
        payload_id=PAYLOAD_IDS.get(event.interaction, PAYLOAD_IDS[UPLOAD]),
        status=event.status,
        stored_at=event.stored_at,
        withdrawing_event_id=event.withdrawn_by,
        author=event.author,
    )


def in_list_order(events: Sequence[EventRow]) -> list[EventRow]:
    """Order events as clients rely on: Normal, Replaced, Withdrawn; within each the newest first. Spec: 20 §7.1."""
    # Turned round first: of two stored in one instant the later one is the newer.
    newest_first = list(events)[::-1]
    newest_first.sort(key=lambda event: event.stored_at, reverse=True)
    return sorted(newest_first, key=lambda event: _STATUS_ORDER[event.status])
