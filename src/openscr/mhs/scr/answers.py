"""What is answered to a summary that was posted as JSON: the texts of the reference, in JSON.

The reference sends its errors as HTML pages, and forgets what the Spine said. Here both are members of one object: its
text as ``error``, and beside it what is known.

Spec: 50 §12, C8; 10 §13 "Client parse rule".
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from openscr.errors import UnreadableMessage, UnsafeXml
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.hl7.wrapper import HL7
from openscr.mhs.exchange import Answer
from openscr.spine import AckType
from openscr.transport.xml import read_xml

INTERACTION_NAME: Final = "SCR_GP_SUMMARY_UPLOAD"
"""What the reference's header ``interaction-name`` says; the only one there is."""

TEMPLATE: Final = "16UK05"
"""The name of the reference's template, which its texts tell."""

_INCOMPLETE: Final = "Failed to parse all the necessary elements from xml returned from MHS"
_NOT_XML: Final = "Failed to parse response from xml provided"
_WHILST: Final = "Error whilst generating message:"


@dataclass(frozen=True, slots=True)
class ScrAnswer:
    """Status and JSON document of an answer."""

    status: int
    document: dict[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    """A summary is not sent, and this is what is answered; ``code`` is what figures and audit tell of it."""

    def __init__(
        self, status: int, code: str, reason: str, *, headers: Mapping[str, str] = MappingProxyType({}), **more: Any
    ) -> None:
        super().__init__(reason)
        self.code = code
        self.answer = ScrAnswer(status, {"error": reason, **more}, headers)


def unreadable_body(why: str) -> Refused:
    """Return the refusal of a body that is not JSON; ``why`` is what the reader says."""
    return Refused(400, "body_unreadable", f"Exception raised while parsing message body: {why}")


def no_interaction_name() -> Refused:
    """Return the refusal of the reference's form without the reference's header."""
    return Refused(400, "interaction_missing", "No interaction-name header provided")


def unknown_interaction(name: str) -> Refused:
    """Return the refusal of an ``interaction-name`` that there is not."""
    return Refused(400, "interaction_unknown", f"{_WHILST} Failed to find interaction with interaction name: {name}")


def missing_key(key: str) -> Refused:
    """Return the refusal of a form that lacks something; ``key`` is where it should be."""
    reason = f"{_WHILST} Failed to find key:{key} when generating message from template file:{TEMPLATE}"
    return Refused(400, "summary_invalid", reason)


def unusable(why: str) -> Refused:
    """Return the refusal of a form that no message can be made of."""
    return Refused(400, "summary_invalid", f"{_WHILST} {why}")


def not_exchanged(answer: Answer) -> ScrAnswer:
    """Return what is answered when the MHS has not got a reply; what it was told of the reason comes along."""
    told: dict[str, Any] = {"mhs_status": answer.status}
    if answer.document is not None:
        told["mhs_error"] = answer.document
    elif answer.body:
        told["mhs_error"] = answer.body.decode("utf-8", "replace")
    return ScrAnswer(500, {"error": _not_sent(answer.status), **told})


def not_reached(why: str) -> ScrAnswer:
    """Return what is answered when the MHS itself cannot be reached."""
    return ScrAnswer(500, {"error": f"Error whilst attempting to send the message to the MHS: {why}"})


def _not_sent(status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    return f"Error whilst attempting to send the message to the MHS: HTTP {status}: {phrase}"


def outcome_of(reply: bytes) -> ScrAnswer:
    """Return what the record has said, with the status that the reference gives it: always 200.

    A refusal has the reference's text, and beside it acknowledgement and issues.
    """
    try:
        root = read_xml(reply, answer=True)
    except UnsafeXml:
        return ScrAnswer(200, {"error": _NOT_XML})
    created = root.find(f"{HL7}creationTime")
    try:
        said = read_acknowledgement(root)
    except UnreadableMessage:
        return ScrAnswer(200, {"error": _INCOMPLETE})
    members = {
        "messageRef": said.reference,
        "messageId": said.message_id,
        "creationTime": (created.get("value") or "") if created is not None else "",
        "messageDetail": said.detail,
    }
    if all(members.values()):
        return ScrAnswer(200, members | _issues(said))
    return ScrAnswer(200, {"error": _INCOMPLETE, "acknowledgement": said.outcome.ack.value} | _issues(said))


def plain_outcome_of(reply: bytes, event_id: str) -> ScrAnswer:
    """Return what the record has said to a summary of our own form: 200 if it was taken, 422 if not, 502 if unknown."""
    answer = outcome_of(reply)
    document = {"event_id": event_id, **answer.document}
    if "error" not in document:
        return ScrAnswer(200, {**document, "acknowledgement": AckType.ACCEPTED.value})
    if "acknowledgement" in document and document["acknowledgement"] != AckType.ACCEPTED.value:
        return ScrAnswer(422, {**document, "error": "The record has refused the summary; `issues` says why."})
    return ScrAnswer(502, document)


def _issues(said: Acknowledgement) -> dict[str, Any]:
    issues = [
        {"code": issue.code, "text": issue.display, "severity": issue.severity, "system": issue.system}
        for issue in said.outcome.issues
    ]
    return {"issues": issues} if issues else {}
