"""Every refusal of this face as an OperationOutcome: the one place where it is put into HTTP.

Spec: 35 §3.2, §4.4, §9.1 item 6; 60 §4.2, §11.2.
"""

from typing import Final

from starlette.responses import Response

from openscr.access.refusals import Refusal
from openscr.fhir.operation_outcome import MEDIA_TYPE, write_outcome

STORE_UNAVAILABLE: Final = Refusal(
    503,
    "transient",
    "SERVICE_UNAVAILABLE",
    "The service cannot reach its store now; try again",
    "store_unavailable",
    retry_after=1,
)
FORBIDDEN: Final = Refusal(
    403, "forbidden", "ACCESS_DENIED", "Access has been denied to process this request", "not_authorised"
)
"""What `openscr.access.policy` refuses; why stands in the audit alone."""


HEADERS: Final = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer of this face: nobody keeps it, and no browser takes it for something else."""


def refuse(refusal: Refusal) -> Response:
    """Make the answer of a refusal."""
    severity = "fatal" if refusal.status == 500 else "error"
    body = write_outcome(
        refusal.issue,
        refusal.code,
        refusal.display,
        severity=severity,
        text=refusal.text,
        diagnostics=refusal.diagnostics,
    )
    headers = {"WWW-Authenticate": refusal.challenge} if refusal.challenge else {}
    if refusal.retry_after:
        headers["Retry-After"] = str(refusal.retry_after)
    return Response(body, refusal.status, {**HEADERS, **headers}, MEDIA_TYPE)


def invalid(diagnostics: str) -> Refusal:
    """Return the refusal of a request whose content is wrong; ``diagnostics`` says what, and how to mend it."""
    return Refusal(400, "value", "INVALID_VALUE", "Provided value is invalid", "invalid", diagnostics)


def not_found() -> Refusal:
    """Return the refusal of a path that does not exist. Spec: 60 §11.2."""
    return Refusal(404, "not-found", "UNKNOWN_ERROR", "Unknown Error", "unknown_path", "There is nothing at this path")


def wrong_method(method: str) -> Refusal:
    """Return the refusal of a method that a path does not know. Spec: 60 §11.2."""
    text = f"Request method '{method}' not supported"
    return Refusal(405, "not-supported", "INVALID_METHOD", "Invalid method", "wrong_method", text)


def wrong_content_type(wanted: str) -> Refusal:
    """Return the refusal of a body that is of another type. Spec: 60 §11.2."""
    text = f"The content type of this request is {wanted}"
    return Refusal(415, "not-supported", "INVALID_VALUE", "Provided value is invalid", "wrong_content_type", text)


def too_large(limit: int) -> Refusal:
    """Return the refusal of a body over the limit of ``limit`` bytes."""
    text = f"The body is larger than {limit} bytes"
    return Refusal(413, "too-long", "INVALID_VALUE", "Provided value is invalid", "too_large", text)


def unexpected(correlation_id: str) -> Refusal:
    """Return the answer to a request that failed through our own fault. Spec: 60 §11.2."""
    return Refusal(500, "exception", "UNKNOWN_ERROR", "Unknown Error", "failed", f"Message ID: {correlation_id}")
