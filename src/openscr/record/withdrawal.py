"""Withdrawing a summary. It is never refused for consent: it only ever reduces what is shown.

Invariant: no earlier summary is revived; a patient whose current summary is withdrawn has none until the next upload.

Spec: 10 §15 step 9, 30 §9.
"""

from dataclasses import replace
from datetime import datetime

from openscr.access.policy import Authorisation
from openscr.codes import GP_INITIAL_SUMMARY, GP_SUMMARY, WITHDRAW_INITIAL
from openscr.errors import DETAILS, GENERAL, Issue
from openscr.record.decision import (
    ACCEPTED,
    ACCESS_DENIED,
    Decision,
    RecordRules,
    refuse,
    refuse_general,
    refuse_with,
)
from openscr.record.upload import check_patient
from openscr.spine import EventStatus, Withdrawal
from openscr.store.interface import PatientState


def decide_withdrawal(
    withdrawal: Withdrawal,
    state: PatientState,
    authorisation: Authorisation,
    rules: RecordRules,
    now: datetime,
) -> Decision:
    """Decide whether the target becomes Withdrawn. Spec: 10 §15 step 9."""
    if not authorisation.allowed:
        return refuse(ACCESS_DENIED, authorisation.reason)
    refused = check_patient(state, rules)
    if refused is not None:
        return refused
    if not state.has_events:
        text = DETAILS["30312"].text.format(nhs_number=withdrawal.nhs_number)
        return refuse_with("no_events", GENERAL["410"], Issue("30312", text))
    target = next((event for event in state.events if event.event_id == withdrawal.target), None)
    if target is None:
        return refuse("30308", "target_unknown", event_id=withdrawal.target or "")
    expected = GP_INITIAL_SUMMARY if withdrawal.ids.interaction == WITHDRAW_INITIAL else GP_SUMMARY
    if target.event_type != expected:
        return refuse_general("430", "target_of_other_type")
    if target.status is EventStatus.WITHDRAWN:
        return refuse_general("430", "target_withdrawn")
    withdrawn = replace(
        target,
        status=EventStatus.WITHDRAWN,
        withdrawn_by=withdrawal.event_id,
        withdrawal_reason=withdrawal.reason,
        withdrawal_text=withdrawal.reason_text,
        withdrawn_at=now,
        withdrawer=authorisation.person.role_profile_id if authorisation.person else None,
    )
    return Decision(ACCEPTED, changed_events=(withdrawn,), notes={"withdrawal_reason": withdrawal.reason})
