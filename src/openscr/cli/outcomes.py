"""How outcomes of the verbs look: a line for people, an object for programs.

Spec: 00 §4, 10 §13 "Client parse rule".
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from openscr.client import Submission
    from openscr.spine import Event, Outcome


def in_words(outcome: "Outcome") -> str:
    """Return acknowledgement type and every issue in one line."""
    issues = "; ".join(f"{issue.code} {' '.join(issue.display.split())}" for issue in outcome.issues)
    return f"{outcome.ack.value} {issues}".rstrip()


def refusal_line(outcome: "Outcome") -> str:
    """Return what a refusal means and how it was said."""
    from openscr.client import refusal_of

    kind = refusal_of(outcome)
    return f"{kind.value if kind else 'accepted'}: {in_words(outcome)}"


def outcome_form(outcome: "Outcome") -> dict[str, Any]:
    """Return an outcome as JSON has it."""
    from openscr.client import refusal_of

    kind = refusal_of(outcome)
    return {
        "ack": outcome.ack.value,
        "refusal": kind.value if kind else None,
        "issues": [
            {
                "code": issue.code,
                "display": issue.display,
                "severity": issue.severity,
                "code_system": issue.system,
            }
            for issue in outcome.issues
        ],
    }


def submission_form(submission: "Submission") -> dict[str, Any]:
    """Return what became of a reliable message as JSON has it."""
    acknowledgement = submission.acknowledgement
    form: dict[str, Any] = {
        "interaction": submission.interaction,
        "message_id": submission.message_id,
        "attempts": submission.attempts,
        "delivered": True,
        "acknowledgement": None,
    }
    if acknowledgement is not None:
        form["acknowledgement"] = {
            **outcome_form(acknowledgement.outcome),
            "message_ref": acknowledgement.reference,
            "message_id": acknowledgement.message_id,
            "detail": acknowledgement.detail,
        }
    return form


def event_form(event: "Event") -> dict[str, Any]:
    """Return an event of a list as JSON has it."""
    from openscr.codes import DOCUMENT_TYPES

    return {
        "event_id": event.event_id,
        "type": event.event_type,
        "type_name": DOCUMENT_TYPES.get(event.event_type, ""),
        "status": event.status.name.capitalize(),
        "stored_at": event.stored_at.isoformat(),
        "withdrawing_event_id": event.withdrawing_event_id,
    }
