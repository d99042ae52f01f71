"""``POST /oauth2/token``: the four grants of the API platform.

Numbers in the answers are JSON strings, as they are there.

Spec: 35 §4.3, §9.5.
"""

import hmac
from collections.abc import Callable
from typing import Any, Final

from openscr.directory.model import CurrentDirectory
from openscr.faces.identity.apps import App, AppRegister
from openscr.faces.identity.assertions import ClientAssertions, read_header
from openscr.faces.identity.parameters import Parameters
from openscr.faces.identity.refusals import (
    ACCESS_TOKEN_TYPE,
    ASSERTION_TYPE,
    ID_TOKEN_TYPE,
    TOKEN_EXCHANGE,
    OAuthRefusal,
    bad_signature,
    invalid_client,
    invalid_request,
    subject_token,
)
from openscr.faces.identity.sessions import Grant, Sessions, SignIn
from openscr.faces.identity.tokens import ACCESS_LIFE, REFRESH_LIFE, Tokens, challenge_of

_SUBJECT_ALGORITHMS: Final = ("RS256", "RS512")


def invalid_grant(description: str, status: int = 400) -> OAuthRefusal:
    """Return the refusal of a code or refresh token."""
    return OAuthRefusal(status, "invalid_grant", description)


class TokenEndpoint:
    """Answers token requests. ``now`` gives seconds since the epoch."""

    def __init__(
        self,
        address: str,
        directory: CurrentDirectory,
        apps: AppRegister,
        sessions: Sessions,
        tokens: Tokens,
        now: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._apps = apps
        self._sessions = sessions
        self._tokens = tokens
        self._assertions = ClientAssertions(address, now)
        self._now = now

    async def answer(self, form: Parameters) -> dict[str, str]:
        """Return what a token request is answered. Raises: `OAuthRefusal`."""
        match form.get("grant_type"):
            case None:
                raise invalid_request("grant_type is missing")
            case "authorization_code":
                return await self._code(form)
            case "refresh_token":
                return await self._refresh(form)
            case "client_credentials":
                return await self._application(form)
            case grant if grant == TOKEN_EXCHANGE:
                return await self._exchange(form)
        raise OAuthRefusal(400, "unsupported_grant_type", "grant_type is invalid")

    # --- who asks ---------------------------------------------------------------------------------------------------

    async def _find(self, client_id: str) -> App | None:
        return await self._apps.look_up(self._directory.snapshot, client_id)

    async def _by_assertion(self, form: Parameters) -> App:
        if form.get("client_assertion_type") != ASSERTION_TYPE:
            raise invalid_request(f"Missing or invalid client_assertion_type - must be '{ASSERTION_TYPE}'")
        assertion = form.get("client_assertion")
        if assertion is None:
            raise invalid_request("Missing client_assertion")
        app = await self._find(self._assertions.client_of(assertion))
        return self._assertions.check(assertion, app, form.get("client_id"))

    async def _by_secret(self, form: Parameters) -> App:
        if "client_assertion" in form:
            return await self._by_assertion(form)
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if client_id is None or secret is None:
            raise OAuthRefusal(401, "invalid_client", "client_id or client_secret is missing")
        app = await self._find(client_id)
        # Compared also for an app that does not exist: the time tells nothing.
        if not hmac.compare_digest(secret.encode(), (app.secret if app is not None else "").encode()) or app is None:
            raise invalid_client()
        return app

    # --- grants -----------------------------------------------------------------------------------------------------

    async def _code(self, form: Parameters) -> dict[str, str]:
        app = await self._by_secret(form)
        given = form.get("code")
        if given is None:
            raise invalid_request("code is missing")
        code = self._sessions.codes.take(given)
        if code is None:
            if (sid := self._sessions.used_codes.get(given)) is not None:
                # Somebody else may have had it: what came of it ends. RFC 6749 §4.1.2.
                self._sessions.end(sid)
            raise invalid_grant("Authorization code is invalid or expired")
        self._sessions.used_codes.put(code.sign_in.sid, REFRESH_LIFE, given)
        if code.client_id != app.client_id:
            raise invalid_grant("Authorization code is invalid or expired")
        if form.get("redirect_uri") != code.redirect_uri:
            raise invalid_grant("redirect_uri is not the one of the authorization request")
        verifier = form.get("code_verifier")
        if (code.challenge is None) != (verifier is None) or (
            verifier is not None and not hmac.compare_digest(challenge_of(verifier), code.challenge or "")
        ):
            raise invalid_grant("code_verifier does not fit the code_challenge")
        grant = Grant(app.client_id, code.sign_in, True, code.scopes, code.selected_role)
        answer = await self._for_user(grant, app, code.sign_in)
        id_token = await self._tokens.id_token(grant, code.sign_in, answer["access_token"], given, code.nonce)
        return answer | {"id_token": id_token}

    async def _exchange(self, form: Parameters) -> dict[str, str]:
        app = await self._by_assertion(form)
        if form.get("subject_token_type") != ID_TOKEN_TYPE:
            raise invalid_request(f"missing or invalid subject_token_type - must be '{ID_TOKEN_TYPE}'")
        token = form.get("subject_token")
        if token is None:
            raise invalid_request("Missing subject_token")
        claims = await self._subject(token)
        if app.client_id not in (claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]):
            raise subject_token("Invalid 'aud' claim - it was issued to another app")
        sign_in = self._sessions.get(str(claims.get("sid")))
        if sign_in is None:
            raise invalid_grant("The session of the subject_token has ended")
        if not app.signs_users_in:
            raise OAuthRefusal(400, "unauthorized_client", "The app has no scope for users")
        role = claims.get("selected_roleid")
        grant = Grant(app.client_id, sign_in, False, (), role if isinstance(role, str) else None)
        return await self._for_user(grant, app, sign_in) | {"issued_token_type": ACCESS_TOKEN_TYPE}

    async def _subject(self, token: str) -> dict[str, Any]:
        """Return the claims of an ID token of ours. Raises: `OAuthRefusal`. Spec: 35 §4.3."""
        header = read_header(token)
        if header is None:
            raise invalid_request("Malformed JWT in subject_token")
        if not header.get("kid"):
            raise subject_token("Missing 'kid' header")
        if header.get("typ") != "JWT":
            raise subject_token("Invalid 'typ' header - must be 'JWT'")
        if header.get("alg") not in _SUBJECT_ALGORITHMS:
            raise subject_token("Invalid 'alg' header - unsupported JWT algorithm - must be 'RS256' or 'RS512'")
        if not await self._tokens.keys.knows(header["kid"]):
            raise subject_token("Invalid 'kid' header - no matching public key", 401)
        claims = await self._tokens.keys.verified(token, header["kid"])
        if claims is None:
            raise bad_signature()
        if claims.get("iss") != self._tokens.issuer:
            raise subject_token("Missing or non-matching 'iss' claim")
        expires = claims.get("exp")
        if expires is None:
            raise subject_token("Missing 'exp' claim")
        if not isinstance(expires, int) or expires <= self._now():
            raise subject_token("Invalid 'exp' claim - JWT has expired")
        if not claims.get("aud"):
            raise subject_token("Missing 'aud' claim")
        return claims

    async def _for_user(self, grant: Grant, app: App, sign_in: SignIn) -> dict[str, str]:
        grant.refresh_until = self._now() + REFRESH_LIFE
        return await self._give(grant, app, sign_in)

    async def _give(self, grant: Grant, app: App, sign_in: SignIn) -> dict[str, str]:
        scopes = (*grant.scopes, *app.user_scopes(sign_in.level))
        access_token = await self._tokens.access_token(grant, scopes)
        seconds = grant.refresh_until - self._now()
        refresh_token = self._sessions.refresh_tokens.put(grant, seconds)
        return {
            "access_token": access_token,
            "expires_in": str(ACCESS_LIFE),
            "token_type": "Bearer",
            "scope": " ".join(scopes),
            "refresh_token": refresh_token,
            "refresh_token_expires_in": str(round(seconds)),
            "refresh_count": str(grant.refresh_count),
        }

    async def _refresh(self, form: Parameters) -> dict[str, str]:
        app = await self._by_secret(form)
        given = form.get("refresh_token")
        if given is None:
            raise invalid_request("refresh_token is missing")
        shelf, used = self._sessions.refresh_tokens, self._sessions.used_refresh_tokens
        if (replayed := used.get(given)) is not None and replayed.sign_in is not None:
            # A refresh token is used once: a second use is a theft, and ends the session. RFC 6819 §5.2.2.3.
            self._sessions.end(replayed.sign_in.sid)
            raise invalid_grant("refresh token is invalid", 401)
        grant = shelf.get(given)
        if grant is None or grant.client_id != app.client_id or grant.sign_in is None:
            if shelf.overdue(given):
                raise invalid_grant("refresh token refresh period has expired", 401)
            raise invalid_grant("refresh token is invalid", 401)
        if not self._sessions.alive(grant):
            raise invalid_grant("refresh token is invalid", 401)
        shelf.take(given)
        used.put(grant, grant.refresh_until - self._now(), given)
        grant.refresh_count += 1
        return await self._give(grant, app, grant.sign_in)

    async def _application(self, form: Parameters) -> dict[str, str]:
        app = await self._by_assertion(form)
        scopes = app.application_scopes
        if not scopes:
            raise OAuthRefusal(400, "unauthorized_client", "The app has no scope for itself")
        access_token = await self._tokens.access_token(Grant(app.client_id, None, False, ()), scopes)
        return {
            "access_token": access_token,
            "expires_in": str(ACCESS_LIFE),
            "token_type": "Bearer",
            "scope": " ".join(scopes),
        }
