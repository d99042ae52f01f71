"""The unsigned JWT of old Spine clients: what it says of system and user, where mutual TLS vouches for its sender.

Nobody has signed it, so it proves nothing: it only *states* who asks, as an HL7 message does, and is held to the
directory in the same way. It is read where an operator has switched it on, and on connections with a client certificate
alone.

Spec: 35 §4.5, §9.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from openscr.access import refusals
from openscr.access.certificates import ClientCertificate
from openscr.access.refusals import RequestRefused
from openscr.access.tokens import check_times, is_role_id, read_seconds, read_token

ASID_SYSTEM: Final = "https://fhir.nhs.uk/Id/accredited-system"
ODS_SYSTEM: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
ROLE_SYSTEMS: Final = frozenset(
    {"https://fhir.nhs.uk/Id/sds-role-profile-id", "http://fhir.nhs.net/Id/sds-role-profile-id"}
)
"""Both are in use. Spec: 35 §1."""

REASONS: Final = frozenset({"directcare", "secondaryuses", "patientaccess"})
LIFETIME: Final = 300.0
"""Seconds between issue and end. Spec: 35 §4.5."""


@dataclass(frozen=True, slots=True)
class LegacyToken:
    """What the token states. ``role_profile_id`` and ``organisation`` are empty when it names none."""

    asid: str
    reason: str
    scopes: frozenset[str]
    role_profile_id: str = ""
    organisation: str = ""


def read_legacy_token(
    token: str, now: float, *, audience: str, certificate: ClientCertificate | None, switched_on: bool
) -> LegacyToken:
    """Read a token for ``audience``. Raises: `RequestRefused`. Spec: 35 §4.5."""
    if not switched_on or certificate is None:
        raise RequestRefused(refusals.TOKEN_ALGORITHM)
    if not token.endswith("."):
        # A signature that nobody would check is not taken along.
        raise RequestRefused(refusals.TOKEN_MALFORMED)
    claims = read_token(token, algorithms=("none",)).claims
    expires_at, issued_at = check_times(claims, now), read_seconds(claims.get("iat"))
    if issued_at is None or expires_at - issued_at > LIFETIME:
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    if claims.get("aud") != audience:
        raise RequestRefused(refusals.TOKEN_AUDIENCE)
    reason, scope = claims.get("reason_for_request"), claims.get("scope")
    if not isinstance(reason, str) or reason not in REASONS or not isinstance(scope, str):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    if not all(_is_said(claims.get(name)) for name in ("iss", "sub")):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    system, asid = _identifier(claims, "requesting_system")
    if system != ASID_SYSTEM or not asid.isascii() or not asid.isdigit():
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    user_system, role = _identifier(claims, "requesting_user")
    if role and (user_system not in ROLE_SYSTEMS or not is_role_id(role)):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    organisation_system, organisation = _identifier(claims, "requesting_organization")
    if organisation and organisation_system != ODS_SYSTEM:
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    return LegacyToken(asid, reason, frozenset(scope.split()), role, organisation)


def _identifier(claims: Mapping[str, Any], name: str) -> tuple[str, str]:
    """Return system and value of a claim ``system|value``; both empty when it is missing."""
    claim = claims.get(name, "|")
    if not isinstance(claim, str) or claim.count("|") != 1:
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    system, _, value = claim.partition("|")
    return system, value


def _is_said(value: object) -> bool:
    return isinstance(value, str) and bool(value)
