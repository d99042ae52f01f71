"""Tokens: what stands in them, and what a token that comes back is worth.

Access tokens are JWTs (RFC 9068) that anybody can verify by the published keys; the roles are not in them, userinfo
tells those. The provider remembers what it gave out, so that a token dies with its sign-in.

Spec: 35 §4.2, §4.3, §9.1.
"""

import base64
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from openscr.codes import LOCAL_REALM, LOGOUT_EVENT
from openscr.faces.identity.assertions import read_header
from openscr.faces.identity.refusals import OAuthRefusal
from openscr.faces.identity.sessions import Grant, Sessions, SignIn
from openscr.faces.identity.signing import CLOCK_SKEW, SigningKeys
from openscr.identifiers import UuidFactory

AUDIENCE: Final = "openscr"
ACCESS_LIFE: Final = 599
REFRESH_LIFE: Final = 43_199
ID_TOKEN_LIFE: Final = 3_600
ACCESS_TYPE: Final = "at+jwt"
_LOGOUT_LIFE: Final = 120


def invalid_token(description: str) -> OAuthRefusal:
    """Return the refusal of a token that is none, or no longer one."""
    return OAuthRefusal(401, "invalid_token", description)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Writes and reads the provider's tokens. ``issuer`` stands in all of them."""

    issuer: str
    keys: SigningKeys
    sessions: Sessions
    mint: UuidFactory

    def _new_id(self) -> str:
        return self.mint().lower()

    async def access_token(self, grant: Grant, scopes: tuple[str, ...]) -> str:
        """Give out an access token with these scopes."""
        now, jti = int(self.sessions.now()), self._new_id()
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": grant.client_id,
            "aud": AUDIENCE,
            "client_id": grant.client_id,
            "scope": " ".join(scopes),
            "iat": now,
            "nbf": now,
            "exp": now + ACCESS_LIFE,
            "jti": jti,
        }
        if grant.sign_in is not None:
            claims |= _person_claims(grant.sign_in, grant.selected_role)
            claims["authentication_assurance_level"] = grant.sign_in.level
            claims["id_assurance_level"] = 3
        token = await self.keys.sign(claims, ACCESS_TYPE)
        self.sessions.tokens.put(grant, ACCESS_LIFE + CLOCK_SKEW, jti)
        return token

    async def id_token(
        self, grant: Grant, sign_in: SignIn, access_token: str, code: str | None, nonce: str | None
    ) -> str:
        """Write the ID token of a login. Spec: 35 §4.2."""
        now = int(self.sessions.now())
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "aud": grant.client_id,
            "azp": grant.client_id,
            "iat": now,
            "exp": now + ID_TOKEN_LIFE,
            "at_hash": half_hash(access_token),
            "realm": LOCAL_REALM.removeprefix("/realms"),
            "tokenName": "id_token",
            "tokenType": "JWTToken",
            "auditTrackingId": self._new_id(),
            "authentication_assurance_level": str(sign_in.level),
            "id_assurance_level": "3",
            **_person_claims(sign_in, grant.selected_role),
        }
        if code is not None:
            claims["c_hash"] = half_hash(code)
        if nonce is not None:
            claims["nonce"] = nonce
        return await self.keys.sign(claims, "JWT")

    async def logout_token(self, sign_in: SignIn, client_id: str) -> str:
        """Write the token that tells of the end of a session."""
        now = int(self.sessions.now())
        claims = {
            "iss": self.issuer,
            "aud": client_id,
            "sub": sign_in.user_id,
            "sid": sign_in.sid,
            "iat": now,
            "exp": now + _LOGOUT_LIFE,
            "jti": self._new_id(),
            "events": {LOGOUT_EVENT: {}},
        }
        return await self.keys.sign(claims, "logout+jwt")

    async def grant_of(self, access_token: str) -> Grant:
        """Return what an access token of ours stands for. Raises: `OAuthRefusal` (401)."""
        claims = await self.own_claims(access_token, (ACCESS_TYPE,))
        if claims is None or claims.get("aud") != AUDIENCE:
            raise invalid_token("Invalid access token")
        expires = claims.get("exp")
        if not isinstance(expires, int) or self.sessions.now() >= expires + CLOCK_SKEW:
            raise invalid_token("Access Token expired")
        grant = self.sessions.tokens.get(str(claims.get("jti")))
        if grant is None or not self.sessions.alive(grant):
            raise invalid_token("Invalid access token")
        return grant

    async def own_claims(self, token: str, types: tuple[str, ...]) -> dict[str, Any] | None:
        """Return the claims of a token that we have signed, with one of these ``typ`` headers; none for others."""
        header = read_header(token)
        if header is None or header.get("typ") not in types:
            return None
        claims = await self.keys.verified(token, header.get("kid"))
        return claims if claims is not None and claims.get("iss") == self.issuer else None


def _person_claims(sign_in: SignIn, selected_role: str | None) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "sub": sign_in.user_id,
        "sid": sign_in.sid,
        "acr": sign_in.acr,
        "amr": [sign_in.method.amr],
        "auth_time": sign_in.auth_time,
    }
    return claims if selected_role is None else claims | {"selected_roleid": selected_role}


def half_hash(text: str) -> str:
    """Return the left half of a digest, as ``at_hash`` and ``c_hash`` want it. Spec: OpenID Connect Core §3.1.3.6."""
    return base64.urlsafe_b64encode(sha256(text.encode()).digest()[:16]).rstrip(b"=").decode()


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge of a PKCE verifier. Spec: RFC 7636 §4.2."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
