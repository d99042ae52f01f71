"""Access tokens as JWTs: read strictly, verified with one key, and nothing believed before that.

Only signatures by the four algorithms of 35 §9.1 count. A token names its key by ``kid``; a key inside the token, or a
place to fetch one from, is not looked at: a token that has one is refused. No claim may stand there twice.

Spec: 35 §4.2, §4.3, §9.1; RFC 7515, 7519, 8725, 9068.
"""

import json
import math
import re
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Never

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from openscr.access import refusals
from openscr.access.refusals import RequestRefused
from openscr.identifiers import ROLE_PROFILE_ID, USER_ID

ALGORITHMS: Final = ("RS256", "RS512", "PS256", "ES256")
"""The signatures that count. Spec: 35 §9.1."""

LEEWAY: Final = 60.0
"""Seconds that clocks may differ by. Spec: 35 §9.1."""

LONGEST_TOKEN: Final = 16_384
"""Characters of a token that is looked at."""

APPLICATION_SCOPE: Final = "urn:nhsd:apim:app:level3:summary-care-record"
_USER_SCOPES: Final = {
    "urn:nhsd:apim:user-nhs-id:aal2:summary-care-record": 2,
    "urn:nhsd:apim:user-nhs-id:aal3:summary-care-record": 3,
}
"""Scopes of the Summary Care Record, those of users with the assurance level that they stand for. Spec: 35 §4.3."""

LOWEST_ASSURANCE: Final = 2
LONGEST_NAME: Final = 200

_TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
_HEADER_MEMBERS: Final = frozenset({"alg", "kid", "typ", "x5t", "x5t#S256", "cty"})
_IDENTIFIER: Final = re.compile(r"[!-~]{1,128}")
_COMPACT: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")

PublicKey = RSAKey | ECKey


@dataclass(frozen=True, slots=True)
class UnverifiedToken:
    """A token whose parts could be read; nobody vouches for them yet."""

    text: str
    algorithm: str
    key_id: str
    type: str
    claims: Mapping[str, Any]

    @property
    def issuer(self) -> str:
        """Who the token says it is from, empty when it says nothing of use."""
        issuer = self.claims.get("iss")
        return issuer if isinstance(issuer, str) else ""


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What a verified token says. ``user_id`` is empty for a token of an application alone.

    ``expires_at`` is seconds since the epoch; ``session`` a digest of issuer and session id, empty without one;
    ``selected_role`` the role profile that was chosen at sign-in. ``scopes`` are those of ours that count.
    """

    issuer: str
    client_id: str
    expires_at: float
    user_id: str = ""
    assurance_level: int = 0
    methods: tuple[str, ...] = ()
    session: str = ""
    selected_role: str = ""
    name: str = ""
    scopes: frozenset[str] = frozenset()


def digest(text: str) -> str:
    """Return what stands for a secret where the secret itself must not: its SHA-256 in hexadecimal."""
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def session_digest(issuer: str, session_id: str) -> str:
    """Return what a session of an issuer is known by; the id itself is kept nowhere."""
    return digest(f"{issuer}\n{session_id}")


def is_jwt(token: str) -> bool:
    """Whether a token has the outward form of a signed JWT; any other one is opaque to us."""
    return token.count(".") == 2


def read_token(token: str, algorithms: Collection[str] = ALGORITHMS) -> UnverifiedToken:
    """Take a JWT apart. Raises: `RequestRefused` for one that is not of the form that we verify. Spec: 35 §9.1."""
    if len(token) > LONGEST_TOKEN or not _COMPACT.fullmatch(token):
        raise RequestRefused(refusals.TOKEN_MALFORMED)
    head, payload, _ = token.split(".")
    header, claims = _read_object(head), _read_object(payload)
    algorithm = header.get("alg")
    if algorithm not in algorithms:
        raise RequestRefused(refusals.TOKEN_ALGORITHM)
    if not set(header) <= _HEADER_MEMBERS:
        # Keys that a token brings itself, extensions that change what it means.
        raise RequestRefused(refusals.TOKEN_MALFORMED)
    kind, key_id = header.get("typ", "JWT"), header.get("kid", "")
    if not isinstance(kind, str) or not isinstance(key_id, str):
        raise RequestRefused(refusals.TOKEN_MALFORMED)
    return UnverifiedToken(token, str(algorithm), key_id, kind.lower(), claims)


def check_signature(token: UnverifiedToken, key: PublicKey) -> None:
    """Check that ``key`` has signed the token, by the algorithm that the token names. Raises: `RequestRefused`."""
    try:
        jws.deserialize_compact(token.text, key, algorithms=[token.algorithm])
    except (JoseError, ValueError):
        raise RequestRefused(refusals.TOKEN_SIGNATURE) from None


def check_access_token(token: UnverifiedToken, audiences: Collection[str], now: float) -> AccessToken:
    """Return what a token says whose signature holds. Raises: `RequestRefused`. Spec: 35 §4.3, §9.1."""
    if token.type not in _TYPES:
        raise RequestRefused(refusals.TOKEN_TYPE)
    claims = token.claims
    expires_at = check_times(claims, now)
    check_audience(claims, audiences)
    return read_claims(claims, token.issuer, expires_at)


def check_times(claims: Mapping[str, Any], now: float) -> float:
    """Return when claims end to hold. Raises: `RequestRefused` when that is past, or they do not hold yet."""
    expires_at = read_seconds(claims.get("exp"))
    if expires_at is None:
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    for name in ("nbf", "iat"):
        if name in claims:
            since = read_seconds(claims[name])
            if since is None:
                raise RequestRefused(refusals.TOKEN_CLAIMS)
            if since > now + LEEWAY:
                raise RequestRefused(refusals.TOKEN_EARLY)
    if expires_at <= now - LEEWAY:
        raise RequestRefused(refusals.TOKEN_EXPIRED)
    return expires_at


def check_audience(claims: Mapping[str, Any], audiences: Collection[str]) -> None:
    """Check that the claims are meant for one of ``audiences``. Raises: `RequestRefused`."""
    audience = claims.get("aud")
    meant = [audience] if isinstance(audience, str) else audience
    if not isinstance(meant, list) or not any(isinstance(each, str) and each in audiences for each in meant):
        raise RequestRefused(refusals.TOKEN_AUDIENCE)


def read_claims(claims: Mapping[str, Any], issuer: str, expires_at: float) -> AccessToken:
    """Return what claims say of user and application. Raises: `RequestRefused`. Spec: 35 §4.3."""
    scope, client_id = claims.get("scope"), claims.get("client_id")
    if not isinstance(scope, str):
        raise RequestRefused(refusals.TOKEN_SCOPE)
    if not isinstance(client_id, str) or not _IDENTIFIER.fullmatch(client_id):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    scopes = frozenset(scope.split())
    levels = [level for name, level in _USER_SCOPES.items() if name in scopes]
    if not levels:
        if APPLICATION_SCOPE not in scopes:
            raise RequestRefused(refusals.TOKEN_SCOPE)
        return AccessToken(issuer, client_id, expires_at, scopes=frozenset({APPLICATION_SCOPE}))
    level = _level(claims.get("authentication_assurance_level"))
    if level < max(LOWEST_ASSURANCE, min(levels)):
        raise RequestRefused(refusals.ASSURANCE_TOO_LOW)
    subject, session_id, selected = claims.get("sub"), claims.get("sid", ""), claims.get("selected_roleid") or ""
    if not isinstance(subject, str) or not USER_ID.fullmatch(subject):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    if not isinstance(session_id, str) or not isinstance(selected, str):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    if selected and not ROLE_PROFILE_ID.fullmatch(selected):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    methods = claims.get("amr", [])
    if not isinstance(methods, list) or not all(
        isinstance(each, str) and _IDENTIFIER.fullmatch(each) for each in methods
    ):
        raise RequestRefused(refusals.TOKEN_CLAIMS)
    return AccessToken(
        issuer,
        client_id,
        expires_at,
        user_id=subject,
        assurance_level=level,
        methods=tuple(methods[:8]),
        session=session_digest(issuer, session_id) if session_id else "",
        selected_role=selected,
        name=shown_name(claims.get("name")),
        scopes=frozenset(name for name, least in _USER_SCOPES.items() if name in scopes and least <= level),
    )


def shown_name(name: object) -> str:
    """Return a person's name as it may be shown and kept: one line, of bearable length, empty when it is no text."""
    return "".join(filter(str.isprintable, name[:LONGEST_NAME])) if isinstance(name, str) else ""


def is_role_id(text: str) -> bool:
    """Whether a text has the form of a role profile id: digits. Spec: 60 §3.1."""
    return ROLE_PROFILE_ID.fullmatch(text) is not None


# --- JSON as a token may have it ------------------------------------------------------------------------------------


def read_json_object(data: bytes) -> dict[str, Any]:
    """Read a JSON object in which no name stands twice and no number is none. Raises: `ValueError`."""
    try:
        value = json.loads(data, object_pairs_hook=_distinct, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value


def _read_object(segment: str) -> dict[str, Any]:
    try:
        return read_json_object(urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (Base64Error, ValueError):
        raise RequestRefused(refusals.TOKEN_MALFORMED) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name stands twice")
    return members


def _refuse_constant(_name: str) -> Never:
    raise ValueError("not a number")


def read_seconds(value: object) -> float | None:
    """Return a NumericDate, or none when it is something else. Spec: RFC 7519 §2."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < 1e12 and math.isfinite(value) else None


def _level(value: object) -> int:
    """Return an assurance level, written as number or text; 0 for anything else. Spec: 35 §4.2."""
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 3:
        return value
    return int(value) if isinstance(value, str) and value in {"1", "2", "3"} else 0
