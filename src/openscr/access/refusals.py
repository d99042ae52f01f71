"""How a caller with a token is refused: one value per refusal, as data, the same for every face that takes tokens.

A `Refusal` says what the caller is told (status, FHIR issue, code, text) and what the audit keeps (``reason``). None of
its texts holds a value of the request, so none can hold a token.

Spec: 35 §3.2 (REST), §4.4, §9.1; 60 §4.2.
"""

from dataclasses import dataclass
from typing import Final

from openscr.errors import AccessRefused
from openscr.spine import Caller


@dataclass(frozen=True, slots=True)
class Refusal:
    """What is answered, and why, for the audit.

    ``issue`` is the FHIR issue type, ``code`` and ``display`` the Spine code with its text. ``text`` stands in place of
    the display where people read it (the reference puts it into the HTTP reason phrase, which not every version of HTTP
    has). ``retry_after`` is seconds, ``challenge`` the value of ``WWW-Authenticate``, empty when there is none.
    """

    status: int
    issue: str
    code: str
    display: str
    reason: str
    diagnostics: str = ""
    text: str = ""
    challenge: str = ""
    retry_after: int = 0


class RequestRefused(AccessRefused):
    """A request ends here. ``caller`` is what is known of who asked, for the audit. Spec: 35 §9.1."""

    code = "REQUEST_REFUSED"

    def __init__(self, refusal: Refusal, caller: Caller | None = None) -> None:
        super().__init__(refusal.diagnostics or refusal.display)
        self.refusal = refusal
        self.caller = caller


CHALLENGE: Final = 'Bearer error="invalid_token"'


def _token(display: str, reason: str, challenge: str = CHALLENGE) -> Refusal:
    return Refusal(401, "forbidden", "ACCESS_DENIED", display, reason, challenge=challenge)


# --- the token itself: 401 ------------------------------------------------------------------------------------------

TOKEN_MISSING: Final = _token("Invalid access token", "token_missing", "Bearer")
TOKEN_MALFORMED: Final = _token("Invalid access token", "token_malformed")
TOKEN_ALGORITHM: Final = _token("Invalid access token", "token_algorithm")
TOKEN_TYPE: Final = _token("Invalid access token", "token_type")
TOKEN_ISSUER: Final = _token("Invalid access token", "token_issuer")
TOKEN_KEY: Final = _token("Invalid access token", "token_key_unknown")
TOKEN_SIGNATURE: Final = _token("Invalid access token", "token_signature")
TOKEN_AUDIENCE: Final = _token("Invalid access token", "token_audience")
TOKEN_CLAIMS: Final = _token("Invalid access token", "token_claims")
TOKEN_EARLY: Final = _token("Invalid access token", "token_not_yet_valid")
TOKEN_EXPIRED: Final = _token("Access Token expired", "token_expired")
TOKEN_SCOPE: Final = _token("Invalid access token", "token_scope")
TOKEN_REPLAYED: Final = _token("Invalid access token", "token_replayed")
TOKEN_INACTIVE: Final = _token("Invalid access token", "token_inactive")
TOKEN_OF_ANOTHER: Final = _token("Invalid access token", "token_subject_differs")
SESSION_ENDED: Final = _token("Invalid access token", "session_ended")
ASSURANCE_TOO_LOW: Final = _token("Authentication assurance level 2 or higher is needed", "assurance_too_low")
GATEWAY_DIFFERS: Final = _token("Invalid access token", "gateway_headers_differ")
USER_INACTIVE: Final = _token("Invalid access token", "user_inactive")
SESSIONS_UNKNOWN: Final = Refusal(
    503,
    "transient",
    "SERVICE_UNAVAILABLE",
    "Which sessions have ended cannot be found out now; try again",
    "sessions_unknown",
    retry_after=1,
)
"""Nobody is let in whose session may have ended elsewhere."""
KEYS_UNAVAILABLE: Final = Refusal(
    503,
    "transient",
    "SERVICE_UNAVAILABLE",
    "The identity provider cannot be asked now; try again",
    "issuer_unavailable",
    retry_after=5,
)


def smartcard(cause: str) -> Refusal:
    """Return the refusal of a smartcard token; ``cause`` is for the audit. Spec: 35 §4.1."""
    display = "Author credentials error"
    return Refusal(401, "forbidden", "AUTHOR_CREDENTIALS_ERROR", display, f"smartcard_{cause}", challenge="Bearer")


# --- the role: 400, the texts of 35 §4.4 ----------------------------------------------------------------------------


def _role(diagnostics: str, reason: str) -> Refusal:
    return Refusal(400, "value", "INVALID_VALUE", "Provided value is invalid", reason, diagnostics)


SEVERAL_ROLES: Final = _role("multiple roles found in user info, please check NHSD-Session-URID", "role_not_chosen")
NO_ROLES: Final = _role("no userroles available, please check NHSD-Session-URID is valid", "role_missing")
NOT_THEIR_ROLE: Final = _role("NHSD-Session-URID is invalid", "role_not_of_user")
ROLE_CLOSED: Final = _role("NHSD-Session-URID is invalid", "role_closed")
ONLY_ROLES_CLOSED: Final = _role("no userroles available, please check NHSD-Session-URID is valid", "role_closed")
ROLES_MALFORMED: Final = _role("nhsid_nrbac_roles is misconfigured/invalid", "roles_malformed")
ROLE_NOT_IN_TOKEN: Final = _role("selected_roleid is missing in your token", "role_not_in_token")
USERINFO_FAILED: Final = _role("unable to retrieve user info", "userinfo_failed")

# --- the system -----------------------------------------------------------------------------------------------------

ASID_MISSING: Final = Refusal(
    400,
    "invalid",
    "MISSING_OR_INVALID_HEADER",
    "There is a required header missing or invalid.",
    "asid_missing",
    "The application has no ASID registered.",
)


def _asid(reason: str) -> Refusal:
    return Refusal(
        403,
        "forbidden",
        "ASID_CHECK_FAILED",
        "The sender or receiver's ASID is not authorised for this interaction",
        reason,
    )


ASID_UNKNOWN: Final = _asid("unknown_sender")
ASID_DISABLED: Final = _asid("sender_disabled")
ASID_NOT_ENTITLED: Final = _asid("interaction_not_entitled")
ASID_DIFFERS: Final = _asid("asid_header_differs")

# --- how often ------------------------------------------------------------------------------------------------------


def too_often(seconds: int) -> Refusal:
    """Return the refusal of an application that asks too often; it may ask again after ``seconds``. Spec: 60 §4.2."""
    return Refusal(
        429, "throttled", "TOO_MANY_REQUESTS", "Too many requests", "rate_limit_exceeded", retry_after=seconds
    )


# --- applications without a user ------------------------------------------------------------------------------------

APPLICATION_MAY: Final = frozenset({("GET", "/DocumentReference"), ("GET", "/Bundle"), ("POST", "/Bundle")})
"""All that an application may do without a user: methods and resources of the FHIR API. Spec: 35 §4.4."""

_ASK_SUPPORT: Final = "Your app has insufficient permissions to use this method. Please contact support."


def refuse_application(method: str, resource: str) -> Refusal | None:
    """Return why an application without a user may not do this, or none. Spec: 35 §4.4, 60 §4.2."""
    if (method, resource) in APPLICATION_MAY:
        return None
    if method in ("GET", "POST"):
        return Refusal(
            401,
            "unknown",
            "UNKNOWN_ERROR",
            "Unknown Error",
            "application_restricted",
            _ASK_SUPPORT,
            text=f"Application-restricted access is not available on this {method} request",
        )
    return Refusal(
        403,
        "forbidden",
        "INVALID_METHOD",
        "Cannot update resource with Application-Restricted access token",
        "application_restricted",
        _ASK_SUPPORT,
    )


def invalid_header(name: str, diagnostics: str) -> Refusal:
    """Return the refusal of a header that cannot be read; ``diagnostics`` says what it should be. Spec: 60 §3.3."""
    return Refusal(
        400,
        "value",
        "MISSING_OR_INVALID_HEADER",
        "There is a required header missing or invalid.",
        f"invalid_{name.lower().replace('-', '_')}",
        diagnostics,
    )
