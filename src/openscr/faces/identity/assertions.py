"""JWTs that apps send: their client assertion, and the ID token that they exchange.

Nothing in a token is believed before its signature was verified, but for the two names by which its key is found. The
algorithm is one that we chose, never one that the token chooses; each assertion is taken once.

Spec: 35 §4.3; RFC 7521, RFC 7523.
"""

import json
from collections.abc import Callable
from typing import Any, Final

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from openscr.faces.identity.apps import App
from openscr.faces.identity.refusals import (
    bad_signature,
    client_assertion,
    invalid_client,
    invalid_request,
    no_public_key,
)
from openscr.faces.identity.shelf import Shelf

ASSERTION_ALGORITHM: Final = "RS512"
LONGEST_ASSERTION: Final = 310
"""Seconds that an assertion may last: five minutes, and ten seconds that are tolerated. Spec: 35 §4.3."""

_LONGEST_JTI: Final = 256


def read_header(token: str) -> dict[str, Any] | None:
    """Return the header of a token, before anything is known of it; none when it is not a JWT in compact form."""
    parts = _read(token)
    return parts[0] if parts is not None else None


def _read(token: str) -> tuple[dict[str, Any], dict[str, Any]] | None:
    try:
        signature = jws.extract_compact(token.encode("ascii"))
        header, claims = signature.headers(), json.loads(signature.payload)
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    # Extensions that we would have to understand (RFC 7515 §4.1.11, RFC 7797) have no place in a JWT of ours.
    if not isinstance(claims, dict) or not isinstance(header, dict) or "crit" in header or "b64" in header:
        return None
    return header, claims


def verified_by(token: str, key: RSAKey, algorithm: str) -> dict[str, Any]:
    """Return the claims of a token that this key has signed. Raises: `OAuthRefusal` (401)."""
    try:
        return dict(jwt.decode(token, key, algorithms=[algorithm]).claims)
    except (JoseError, ValueError, TypeError):
        raise bad_signature() from None


class ClientAssertions:
    """Judges client assertions; ``audience`` is the token endpoint, ``now`` gives seconds since the epoch."""

    def __init__(self, audience: str, now: Callable[[], float]) -> None:
        self._audience = audience
        self._now = now
        self._used: Shelf[bool] = Shelf(now, most=100_000)

    def client_of(self, token: str) -> str:
        """Return the client id that an assertion claims. Raises: `OAuthRefusal` when form or header are not right."""
        parts = _read(token)
        if parts is None:
            raise invalid_request("Malformed JWT in client_assertion")
        header, claims = parts
        if not header.get("kid"):
            raise client_assertion("Missing 'kid' header")
        if header.get("typ") != "JWT":
            raise client_assertion("Invalid 'typ' header - must be 'JWT'")
        if header.get("alg") != ASSERTION_ALGORITHM:
            raise client_assertion("Invalid 'alg' header - unsupported JWT algorithm - must be 'RS512'")
        issuer = claims.get("iss")
        if not isinstance(issuer, str) or not issuer or issuer != claims.get("sub"):
            raise client_assertion("Missing or non-matching 'iss'/'sub' claims")
        return issuer

    def check(self, token: str, app: App | None, client_id: str | None) -> App:
        """Return the app that an assertion proves. ``client_id`` is what the form says beside it, if it says anything.

        Raises: `OAuthRefusal`, with the texts of 35 §4.3.
        """
        if app is None:
            raise client_assertion("Invalid 'iss'/'sub' claims", 401)
        if client_id is not None and client_id != app.client_id:
            raise invalid_client()
        if not app.keys:
            raise no_public_key()
        key = app.key((read_header(token) or {}).get("kid"))
        if key is None:
            raise client_assertion("Invalid 'kid' header - no matching public key", 401)
        claims = verified_by(token, key, ASSERTION_ALGORITHM)
        jti = claims.get("jti")
        if jti is None:
            raise client_assertion("Missing 'jti' claim")
        if not isinstance(jti, str) or not jti or len(jti) > _LONGEST_JTI:
            raise client_assertion("Invalid 'jti' claim - must be a unique string value such as a GUID")
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise client_assertion("Missing or invalid 'aud' claim", 401)
        seconds = self._seconds_left(claims.get("exp"))
        used = f"{app.client_id} {jti}"
        if self._used.get(used) is not None:
            raise client_assertion("Non-unique 'jti' claim")
        self._used.put(True, seconds + 1, used)
        return app

    def _seconds_left(self, expires: object) -> float:
        if expires is None:
            raise client_assertion("Missing 'exp' claim")
        if not isinstance(expires, int) or isinstance(expires, bool):
            raise client_assertion("Invalid 'exp' claim - must be an integer")
        seconds = expires - self._now()
        if seconds <= 0:
            raise client_assertion("Invalid 'exp' claim - JWT has expired")
        if seconds > LONGEST_ASSERTION:
            raise client_assertion("Invalid 'exp' claim - more than 5 minutes in future")
        return seconds
