"""What the audit keeps of every access and refusal: who, what, when, why and how it ended.

Never clinical content, never a token or a key. Spec: 35 §7.
"""

from collections.abc import Mapping
from datetime import datetime

from openscr.access.policy import AUTHOR_MISMATCHES, Authorisation, Reason
from openscr.spine import Caller, MessageIds, Outcome
from openscr.store.interface import AuditEntry


def audit_entry(
    action: str,
    outcome: Outcome,
    nhs_number: str | None,
    now: datetime,
    *,
    caller: Caller,
    ids: MessageIds,
    authorisation: Authorisation | None = None,
    reason: str = "",
    details: Mapping[str, str] | None = None,
) -> AuditEntry:
    """Build the row of one request; empty values are left out. Spec: 35 §7."""
    stated = caller.person
    person = authorisation.person if authorisation is not None and authorisation.person is not None else stated
    content = {
        "interaction": ids.interaction,
        "message_id": ids.message_id,
        "transport_id": ids.transport_id,
        "correlation_id": ids.correlation_id,
        "asid": caller.asid,
        "party_key": caller.party_key,
        "certificate": caller.certificate or "",
        "address": caller.address or "",
        "user_id": person.user_id if person else "",
        "role_profile_id": person.role_profile_id if person else "",
        "job_role": person.job_role if person else "",
        "display_name": authorisation.display_name if authorisation else "",
        "organisation": authorisation.organisation if authorisation else "",
        "codes": " ".join(issue.code for issue in outcome.issues),
        "reason": reason,
        "class": Reason.AUTHOR_MISMATCH.value if reason in AUTHOR_MISMATCHES else "",
        **(details or {}),
    }
    return AuditEntry(
        occurred_at=now,
        action=action,
        outcome=outcome.ack.value,
        nhs_number=nhs_number,
        content={key: value for key, value in content.items() if value},
    )
