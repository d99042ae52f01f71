"""Everything that the REST face refuses, in the reference's words where it has them; the one place of these texts.

Spec: 50 §1.3, §14.3.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer of the form ``<status>: <reason>``. ``code`` is stable, for programs, logs and figures.

    ``errors`` are the single mistakes of a body, as a problem document tells them. ``headers`` go with the answer.
    """

    status: int
    code: str
    reason: str
    errors: tuple[Mapping[str, Any], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The body of the answer as the reference writes it."""
        return f"{self.status}: {self.reason}"


class Refused(Exception):
    """Ends the handling of a request with a refusal."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal


# --- 50 §1.3, in its order -------------------------------------------------------------------------------------------

NO_INTERACTION: Final = Refusal(404, "interaction_missing", "Required Interaction-Id header not found")
NO_WAIT: Final = Refusal(400, "wait_missing", "wait-for-response header missing")
NO_CONTENT_TYPE: Final = Refusal(400, "content_type_missing", "Missing Content-Type header")
WRONG_CONTENT_TYPE: Final = Refusal(
    415, "content_type_wrong", "Unsupported content type. Only application/json request bodies are supported."
)
NO_BODY: Final = Refusal(400, "body_missing", "Body missing from request")
NOT_JSON: Final = Refusal(400, "body_not_json", "Invalid JSON request body")
NO_WAIT_FLAG: Final = Refusal(
    500, "table_without_wait", "Failed to find sync-async flag for the interaction within the interactions.json"
)
CANNOT_WAIT: Final = Refusal(
    400,
    "cannot_wait",
    "Message header requested wait-for-response wrap for a message pattern that does not support sync-async",
)
FAILED: Final = Refusal(500, "failed", "Internal Server Error")
WRONG_METHOD: Final = Refusal(405, "wrong_method", "Method Not Allowed", headers={"Allow": "POST"})


def wrong_wait(value: str) -> Refusal:
    """Return the refusal of a ``wait-for-response`` that is neither true nor false."""
    return Refusal(400, "wait_wrong", f"wait-for-response is set to {value}")


def invalid_body(mistakes: Mapping[str | int, Any]) -> Refusal:
    """Return the refusal of a body whose members are not as they must be; the text is that of a Python dictionary."""
    return Refusal(400, "body_invalid", f"Invalid request. Validation errors: {mistakes}", tuple(_each(mistakes)))


def unknown_interaction(name: str) -> Refusal:
    """Return the refusal of an interaction that no table has."""
    return Refusal(404, "interaction_unknown", f"Unknown interaction ID: {name}")


def unknown_workflow(name: str) -> Refusal:
    """Return the refusal of an interaction whose table names a workflow that does not exist."""
    return Refusal(500, "workflow_unknown", f"Couldn't determine workflow to invoke for interaction ID: {name}")


def _each(mistakes: Mapping[str | int, Any], pointer: str = "") -> list[dict[str, str]]:
    """Return mistakes one by one, each with the JSON Pointer of its place."""
    found: list[dict[str, str]] = []
    for name, told in mistakes.items():
        here = pointer if name == "_schema" else f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
        if isinstance(told, Mapping):
            found += _each(told, here)
        else:
            found += [{"pointer": here, "detail": each} for each in told]
    return found


NOWHERE: Final = Refusal(404, "nowhere", "Not Found")
"""Nothing stands at a path: told to those who read problem documents; everybody else gets the reference's page."""


# --- ours ------------------------------------------------------------------------------------------------------------

TOO_LARGE: Final = Refusal(
    413, "too_large", "The request is larger than 104857600 bytes", headers={"Connection": "close"}
)
"""Told to those who read problem documents; everybody else gets an empty 400. Spec: 50 §1.3 row 13, F13."""
XML_NOT_UTF8: Final = Refusal(400, "body_not_utf8", "The XML in the request body is not UTF-8")
OTHER_BODY: Final = Refusal(
    409, "message_id_reused", "This Message-Id was used before for another request; give each message its own"
)
RESULT_UNKNOWN: Final = Refusal(
    409,
    "result_unknown",
    "This message was received before and its first answer is not known; see GET /messages/{Message-Id}",
)
CALLER_UNKNOWN: Final = Refusal(
    401,
    "caller_unknown",
    "Show one of the adaptor's keys as a Bearer token or in the apikey header",
    headers={"WWW-Authenticate": "Bearer"},
)
MESSAGE_UNKNOWN: Final = Refusal(404, "message_unknown", "No message with this Message-Id is known")
STILL_SENDING: Final = Refusal(409, "still_sending", "This message is still being sent")
NOTHING_KEPT: Final = Refusal(
    409,
    "nothing_kept",
    "Only a reliable message whose attempts have failed is kept to be sent again; post the message once more",
)
STORE_UNAVAILABLE: Final = Refusal(503, "store_unavailable", "The store does not answer now; try again")


def forward_express(name: str) -> Refusal:
    """Return the refusal of a workflow that tables name and that was never defined. Spec: 50 §1.6, F2."""
    return Refusal(501, "forward_express", f"Nobody has defined the workflow Forward Express of interaction ID: {name}")


def unsafe_header(name: str) -> Refusal:
    """Return the refusal of an id that holds a line end or something else that is not printed. Spec: 50 F23."""
    return Refusal(400, "header_unsafe", f"The {name} header holds a line end or another character that is not printed")


def wrong_query(told: str) -> Refusal:
    """Return the refusal of conditions after a path; ``told`` says what is right."""
    return Refusal(400, "query_wrong", told)
