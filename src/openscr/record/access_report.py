"""The report of who has looked at a patient's record, in words that the patient understands.

Patients have a right to it (Care Record Guarantee). Spec: 35 §7; 80 §5.3 "report".
"""

from typing import Final

from openscr.codes import (
    ACS_GET,
    ACS_HAS,
    ACS_SET,
    ALERT,
    ALERT_FHIR,
    DOCUMENT_QUERIES,
    DOCUMENT_RETRIEVALS,
    EVENT,
    EVENT_LIST,
    EVENT_LIST_SM,
    INITIAL_UPLOAD,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
    UPLOADS,
    WITHDRAWALS,
)
from openscr.directory.model import Directory
from openscr.identifiers import LONDON
from openscr.spine import AckType
from openscr.store.interface import AuditEntry

WORDS: Final = {
    **dict.fromkeys(UPLOADS, "summary stored"),
    INITIAL_UPLOAD: "first summary stored",
    **dict.fromkeys(WITHDRAWALS, "summary withdrawn"),
    EVENT_LIST: "list of summaries looked at",
    EVENT_LIST_SM: "list of summaries looked at",
    EVENT: "summary looked at",
    **dict.fromkeys(DOCUMENT_QUERIES, "list of documents looked at"),
    **dict.fromkeys(DOCUMENT_RETRIEVALS, "document looked at"),
    SCR_PERMISSIONS: "permission to look asked for",
    SUBJECT_ACCESS: "whole record handed out",
    ACS_SET: "sharing preference recorded",
    ACS_GET: "sharing preference looked at",
    ACS_HAS: "sharing preference asked for",
    ALERT: "privacy alert raised",
    ALERT_FHIR: "privacy alert raised",
    "admin consent-history": "history of sharing preferences looked at",
    "audit report": "this report made",
    "audit search": "audit looked at",
    "audit export": "audit exported",
    "admin alerts": "privacy alerts looked at",
    "alert view": "privacy alert looked at",
    "alert change": "privacy alert dealt with",
}
"""What the interactions are called; others keep their names."""


def report_line(entry: AuditEntry, directory: Directory) -> tuple[str, ...]:
    """Return when, what, who, in which role, where, through which system, how it ended and why. Spec: 35 §7."""
    content = entry.content
    who = content.get("display_name") or content.get("user_id", "")
    if not who:
        who = f"operator {content['operator']}" if "operator" in content else "nobody present"
    system = directory.systems.get(content.get("asid", ""))
    return (
        entry.occurred_at.astimezone(LONDON).strftime("%d-%b-%Y %H:%M:%S"),
        WORDS.get(entry.action, entry.action),
        who,
        content.get("job_role", ""),
        _organisation(content.get("organisation", ""), directory),
        system.name if system is not None else content.get("asid", ""),
        "done" if entry.outcome == AckType.ACCEPTED else "refused",
        content.get("override_meaning", "") if content.get("override_code", "0") != "0" else "",
    )


def _organisation(ods: str, directory: Directory) -> str:
    named = next((party.name for party in directory.parties.values() if party.ods == ods), "")
    return f"{named} ({ods})" if named else ods
