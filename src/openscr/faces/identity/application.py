"""The local identity provider: its addresses, put together.

Three things in one place that are three nationally: the care identity service (realm), the API platform's
authorisation server (``/oauth2``), the smartcard's security broker (``/saml``). It is for test environments only; it
knows the people and apps of the directory, asks nobody for a secret, and forgets everything when it stops.

``POST /realms/cis2-mock/keys`` and ``…/logout-tokens`` are for those who test verifiers: they rotate the keys, and
write the logout tokens of a person's sessions. They take JSON, which a page of another site cannot post.

Spec: 35 §4, §9.5.
"""

import json
from collections.abc import Awaitable, Callable
from datetime import date
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from openscr import __version__
from openscr.codes import LOCAL_REALM, LOGOUT_EVENT
from openscr.directory.model import CurrentDirectory
from openscr.faces.identity.apps import AppRegister
from openscr.faces.identity.authorization import SCOPES
from openscr.faces.identity.parameters import body_of, form_of, query_of
from openscr.faces.identity.people import acr_of, userinfo_claims
from openscr.faces.identity.refusals import (
    PRIVATE,
    TOKEN_EXCHANGE,
    OAuthRefusal,
    error_answer,
    invalid_request,
)
from openscr.faces.identity.saml import RoleAssertions
from openscr.faces.identity.session_pages import SIGN_OUT, SessionPages
from openscr.faces.identity.sessions import SessionEnded, Sessions
from openscr.faces.identity.sign_in import AUTHORIZE, SignInPages
from openscr.faces.identity.signing import ALGORITHM, OVERLAP, SigningKeys
from openscr.faces.identity.token_endpoint import TokenEndpoint
from openscr.faces.identity.tokens import Tokens, invalid_token
from openscr.identifiers import LONDON, Clock, UuidFactory, mint_uuid, utc_now
from openscr.pages.rendering import TEST_NOTICE, Pages

TOKEN: Final = "/oauth2/token"  # noqa: S105  an address
USERINFO: Final = "/oauth2/userinfo"
LOGOUT: Final = "/oauth2/backchannel-logout"
ROLE_ASSERTION: Final = "/saml/RoleAssertion"
CERTIFICATE: Final = "/saml/certificate"
KEYS: Final = f"{LOCAL_REALM}/keys"
LOGOUT_TOKENS: Final = f"{LOCAL_REALM}/logout-tokens"

_LONGEST_OVERLAP: Final = 86_400
_Handler = Callable[[Request], Awaitable[Response]]


class IdentityFace:
    """The routes of the provider. ``address`` is the origin at which browsers and apps reach it, without a slash.

    ``session_ended`` is told the ``sid`` of every session that ends before its time.
    """

    def __init__(
        self,
        address: str,
        directory: CurrentDirectory,
        apps: AppRegister,
        session_ended: SessionEnded,
        *,
        clock: Clock = utc_now,
        mint: UuidFactory = mint_uuid,
    ) -> None:
        def now() -> float:
            return clock().timestamp()

        def today() -> date:
            return clock().astimezone(LONDON).date()

        self.issuer = f"{address}{LOCAL_REALM}"
        self.keys = SigningKeys(clock)
        self._address = address
        self._directory = directory
        self._clock = clock
        self._today = today
        self._mint = mint
        self._sessions = Sessions(now, session_ended)
        self._tokens = Tokens(self.issuer, self.keys, self._sessions, mint)
        self._endpoint = TokenEndpoint(f"{address}{TOKEN}", directory, apps, self._sessions, self._tokens, now)
        self._assertions = RoleAssertions(self.issuer, directory, self._sessions, self.keys, clock, mint)
        pages = Pages("openscr.faces.identity", service_name="OpenSCR sign-in", notice=TEST_NOTICE)
        self._session_pages = SessionPages(address, directory, self._sessions, pages)
        self._pages = SignInPages(address, directory, apps, self._sessions, pages, mint, now, today)

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener of a test environment."""
        return [
            Route(f"{LOCAL_REALM}/.well-known/openid-configuration", self._discovery, methods=["GET"]),
            Route(f"{LOCAL_REALM}/jwks", self._jwks, methods=["GET"]),
            Route(KEYS, self._refusing(self._rotate), methods=["POST"]),
            Route(LOGOUT_TOKENS, self._refusing(self._logout_tokens), methods=["POST"]),
            Route(TOKEN, self._refusing(self._token), methods=["POST"]),
            Route(USERINFO, self._refusing(self._userinfo), methods=["GET", "POST"]),
            Route(LOGOUT, self._refusing(self._logout), methods=["POST"]),
            Route("/oauth2/_ping", self._ping, methods=["GET"]),
            Route("/oauth2/_status", self._status, methods=["GET"]),
            Route(CERTIFICATE, self._certificate, methods=["GET"]),
            Route(ROLE_ASSERTION, self._refusing(self._role_assertion), methods=["GET"]),
            *self._pages.routes(),
            *self._session_pages.routes(),
        ]

    def _refusing(self, handler: _Handler) -> _Handler:
        """Return a handler that answers refusals in the form of the platform."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except OAuthRefusal as refusal:
                return error_answer(refusal, self._mint)

        return answer

    # --- what there is ----------------------------------------------------------------------------------------------

    async def _discovery(self, _request: Request) -> Response:
        at = self._address
        return JSONResponse(
            {
                "issuer": self.issuer,
                "authorization_endpoint": f"{at}{AUTHORIZE}",
                "token_endpoint": f"{at}{TOKEN}",
                "userinfo_endpoint": f"{at}{USERINFO}",
                "jwks_uri": f"{self.issuer}/jwks",
                "end_session_endpoint": f"{at}{SIGN_OUT}",
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": [
                    "authorization_code",
                    "refresh_token",
                    "client_credentials",
                    TOKEN_EXCHANGE,
                ],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "token_endpoint_auth_signing_alg_values_supported": ["RS512"],
                "code_challenge_methods_supported": ["S256"],
                "scopes_supported": list(SCOPES),
                "acr_values_supported": ["AAL2_OR_AAL3_ANY", *(acr_of(level) for level in (3, 2, 1))],
                "prompt_values_supported": ["none", "login", "select_account"],
                "claims_supported": ["sub", "acr", "amr", "auth_time", "sid", "selected_roleid", "nhsid_nrbac_roles"],
                "request_parameter_supported": False,
                "request_uri_parameter_supported": False,
                "backchannel_logout_supported": True,
                "backchannel_logout_session_supported": True,
            },
            headers={"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=60"},
        )

    async def _jwks(self, _request: Request) -> Response:
        headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "public, max-age=60"}
        return JSONResponse(await self.keys.published(), headers=headers)

    async def _ping(self, _request: Request) -> Response:
        return JSONResponse({"version": __version__})

    async def _status(self, _request: Request) -> Response:
        return JSONResponse({"status": "pass", "version": __version__})

    # --- tokens -----------------------------------------------------------------------------------------------------

    async def _token(self, request: Request) -> Response:
        return JSONResponse(await self._endpoint.answer(await form_of(request)), headers=PRIVATE)

    async def _userinfo(self, request: Request) -> Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise invalid_token("Invalid access token")
        grant = await self._tokens.grant_of(token.strip())
        if grant.sign_in is None or not grant.combined:
            raise invalid_request("User info is for combined authentication and authorisation only")
        directory = self._directory.snapshot
        user = directory.users.get(grant.sign_in.user_id)
        if user is None or not user.active:
            raise invalid_token("Invalid access token")
        claims = userinfo_claims(directory, user, grant.scopes, self._today())
        return JSONResponse(claims, headers=PRIVATE)

    # --- the end of sessions ----------------------------------------------------------------------------------------

    async def _logout(self, request: Request) -> Response:
        """Take a logout token. Spec: 35 §4.2, OpenID Connect Back-Channel Logout §2.6."""
        token = (await form_of(request)).get("logout_token")
        if token is None:
            raise invalid_request("logout_token is missing")
        claims = await self._tokens.own_claims(token, ("logout+jwt", "JWT"))
        if claims is None:
            raise invalid_request("logout_token is invalid")
        events, expires, sid = claims.get("events"), claims.get("exp"), claims.get("sid")
        good = isinstance(events, dict) and LOGOUT_EVENT in events and "nonce" not in claims
        if not good or not isinstance(sid, str) or not isinstance(expires, int):
            raise invalid_request("logout_token is invalid")
        if expires <= self._clock().timestamp():
            raise invalid_request("logout_token has expired")
        self._sessions.end(sid)
        return Response(status_code=200, headers=PRIVATE)

    # --- for those who test verifiers -------------------------------------------------------------------------------

    async def _rotate(self, request: Request) -> Response:
        overlap = (await _json_of(request)).get("overlap_seconds", OVERLAP)
        if not isinstance(overlap, int | float) or isinstance(overlap, bool) or not 0 <= overlap <= _LONGEST_OVERLAP:
            raise invalid_request(f"overlap_seconds is a number from 0 to {_LONGEST_OVERLAP}")
        return JSONResponse({"kid": await self.keys.rotate(float(overlap))}, headers=PRIVATE)

    async def _logout_tokens(self, request: Request) -> Response:
        form = await _json_of(request)
        user_id, client_id = form.get("user"), form.get("client_id", "openscr")
        if not isinstance(user_id, str) or not isinstance(client_id, str):
            raise invalid_request("user is a user id, client_id who the tokens are for")
        tokens = [await self._tokens.logout_token(each, client_id) for each in self._sessions.of_user(user_id)]
        return JSONResponse({"logout_tokens": tokens}, headers=PRIVATE)

    # --- smartcards -------------------------------------------------------------------------------------------------

    async def _certificate(self, _request: Request) -> Response:
        """Show the certificate of the key that signs assertions now, for those who demand a signature."""
        _, certificate = await self.keys.certificate()
        return PlainTextResponse(certificate.public_bytes(Encoding.PEM).decode(), headers=PRIVATE)

    async def _role_assertion(self, request: Request) -> Response:
        token = query_of(request).get("token")
        if token is None:
            raise invalid_request("token is missing")
        return Response(await self._assertions.answer(token), media_type="text/xml; charset=utf-8", headers=PRIVATE)


async def _json_of(request: Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise invalid_request("Content-Type header must be application/json", 415)
    try:
        form = json.loads(await body_of(request) or b"{}")
    except (ValueError, RecursionError):
        form = None
    if not isinstance(form, dict):
        raise invalid_request("The body is not a JSON object")
    return form
