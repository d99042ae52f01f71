"""What the provider says when it says no: OAuth errors with the texts of the API platform, in one place.

The body is ``{"error", "error_description", "message_id"}``. No text repeats what was sent.

Spec: 35 §4.3.
"""

from typing import Final

from starlette.responses import JSONResponse, Response

from openscr.identifiers import UuidFactory

FORM: Final = "application/x-www-form-urlencoded"
ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ID_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:id_token"  # noqa: S105  the name of a type
ACCESS_TOKEN_TYPE: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105

PRIVATE: Final = {"Cache-Control": "no-store", "Pragma": "no-cache", "X-Content-Type-Options": "nosniff"}
"""Headers of every answer that holds a token, or says why there is none."""


class OAuthRefusal(Exception):
    """A request is refused: HTTP status, error code and text of the answer."""

    def __init__(self, status: int, error: str, description: str) -> None:
        super().__init__(description)
        self.status = status
        self.error = error
        self.description = description


def invalid_request(description: str, status: int = 400) -> OAuthRefusal:
    """Return the refusal of a request that is not as it must be."""
    return OAuthRefusal(status, "invalid_request", description)


def client_assertion(fault: str, status: int = 400) -> OAuthRefusal:
    """Return what is said of a client assertion, for example ``Missing 'kid' header``."""
    return invalid_request(_about(fault, "client_assertion JWT"), status)


def subject_token(fault: str, status: int = 400) -> OAuthRefusal:
    """Return what is said of a subject token."""
    return invalid_request(_about(fault, "subject_token JWT"), status)


def _about(fault: str, what: str) -> str:
    claim, dash, reason = fault.partition(" - ")
    return f"{claim} in {what}{dash}{reason}"


def bad_signature() -> OAuthRefusal:
    """Return the refusal of a token that its key has not signed."""
    return OAuthRefusal(401, "public_key error", "JWT signature verification failed")


def no_public_key() -> OAuthRefusal:
    """Return the refusal of an app that has registered no key."""
    return OAuthRefusal(
        403,
        "public_key error",
        "You need to register a public key to use this authentication method - please contact support to configure",
    )


def invalid_client() -> OAuthRefusal:
    """Return the refusal of an app that is unknown, or does not know its secret; which of the two is not told."""
    return OAuthRefusal(401, "invalid_client", "client_id or client_secret is invalid")


def wrong_media_type() -> OAuthRefusal:
    """Return the refusal of a body of another kind."""
    return invalid_request(f"Content-Type header must be {FORM}", 415)


def error_answer(refusal: OAuthRefusal, mint: UuidFactory) -> Response:
    """Write a refusal. Spec: 35 §4.3."""
    body = {
        "error": refusal.error,
        "error_description": refusal.description,
        "message_id": mint().lower(),
    }
    headers = dict(PRIVATE)
    if refusal.status == 401:
        headers["WWW-Authenticate"] = (
            'Bearer error="invalid_token"' if refusal.error == "invalid_token" else 'Basic realm="oauth2"'
        )
    return JSONResponse(body, status_code=refusal.status, headers=headers)
