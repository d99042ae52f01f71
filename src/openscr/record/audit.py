"""What the audit keeps of every access and refusal: who, what, when, why and how it ended.

Never clinical content, never a token or a key. Spec: 35 §7.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from openscr.access.policy import AUTHOR_MISMATCHES, Authorisation, Reason
from openscr.spine import Caller, MessageIds, Outcome, Session
from openscr.store.interface import AuditEntry

LONGEST_TEXT: Final = 4_096
"""Characters of one value that audit and alerts keep."""


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
    """Build the row of one request; empty values are left out.

    The person is the one that the directory or an identity provider vouches for, else the one that the message names.
    Of a session only a digest is kept. Spec: 35 §7.
    """
    session = caller.session
    person = session.person if session is not None else caller.person
    name, organisation = (session.name, session.role.ods) if session is not None else ("", "")
    if authorisation is not None:
        person = authorisation.person or person
        name, organisation = authorisation.display_name or name, authorisation.organisation or organisation
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
        "display_name": name,
        "organisation": organisation,
        **(_session_fields(session) if session is not None else {}),
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
        content={key: bounded(value) for key, value in content.items() if value},
    )


def _session_fields(session: Session) -> dict[str, str]:
    """Return what the audit keeps of how a person was authenticated: never the token, never the session's id."""
    return {
        "assurance_level": str(session.assurance_level),
        "amr": " ".join(session.methods),
        "issuer": session.issuer,
        "session": session.session_hash,
    }


def bounded(text: str) -> str:
    """Return a text of a request as it is kept beside the record: its beginning, when it is longer than anybody reads.

    A request may have megabytes of it, and the audit keeps refused ones too.
    """
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
