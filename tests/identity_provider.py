"""An identity provider of the tests' own: real HTTP on loopback, real keys, and told to misbehave."""

import asyncio
import base64
import hmac
import json
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web
from joserfc import jws
from joserfc.jwk import ECKey, RSAKey

USER_SCOPE = "urn:nhsd:apim:user-nhs-id:aal3:summary-care-record"
AAL2_SCOPE = "urn:nhsd:apim:user-nhs-id:aal2:summary-care-record"
APP_SCOPE = "urn:nhsd:apim:app:level3:summary-care-record"

GP, GP_ROLE = "555000000101", "555000000102"
RECEPTIONIST, RECEPTIONIST_ROLE = "555000000201", "555000000202"
NURSE, NURSE_ROLE, NURSE_OTHER_ROLE = "555000000301", "555000000302", "555000000303"
ROLELESS = "555000000601"
CLOSED, CLOSED_ROLE = "555000000701", "555000000702"

_KEYS: dict[str, RSAKey | ECKey] = {}


def key(name: str) -> RSAKey | ECKey:
    """Return the private key of a name, the same one for the whole run: they are slow to make."""
    if name not in _KEYS:
        _KEYS[name] = (
            ECKey.generate_key("P-256", {"kid": name})
            if name.startswith("ec")
            else RSAKey.generate_key(2048, {"kid": name})
        )
    return _KEYS[name]


def role_claim(role_id: str, **changed: Any) -> dict[str, Any]:
    """Return one entry of ``nhsid_nrbac_roles``."""
    return {
        "person_orgid": "555000009999",
        "person_roleid": role_id,
        "org_code": "Y90001",
        "role_name": '"Clinical":"Clinical Provision":"Clinical Practitioner Access Role"',
        "role_code": "S8000:G8000:R8000",
        "activities": ["View Summary Health Records"],
        "activity_codes": ["B0370", "B0380", "B8029", "B0020", "B0168"],
    } | changed


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = datetime(2026, 6, 1, 9, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class IdentityProvider:
    """One provider. ``asked`` counts requests by path; the other attributes are what it answers with."""

    def __init__(self, clock: Any = None) -> None:
        self.clock = clock or (lambda: datetime.now(UTC))
        self.asked: Counter[str] = Counter()
        self.published = ["rsa-1"]
        self.keys_answer: web.Response | None = None
        self.discovery: dict[str, Any] = {}
        self.users: dict[str, Any] = {}
        self.userinfo_answer: web.Response | None = None
        self.introspections: dict[str, Any] = {}
        self.hold: asyncio.Event | None = None
        self.hold_userinfo: asyncio.Event | None = None
        self.arrived = asyncio.Event()
        self.secrets: list[str] = []
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        application = web.Application()
        application.router.add_get("/realm/.well-known/openid-configuration", self._discover)
        application.router.add_get("/realm/jwks", self._keys)
        application.router.add_get("/realm/userinfo", self._userinfo)
        application.router.add_post("/realm/introspect", self._introspect)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.base = f"http://127.0.0.1:{self._runner.addresses[0][1]}/realm"
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    # --- what it answers --------------------------------------------------------------------------------------------

    async def _discover(self, _request: web.Request) -> web.Response:
        self.asked["discovery"] += 1
        document = {
            "issuer": self.base,
            "jwks_uri": f"{self.base}/jwks",
            "userinfo_endpoint": f"{self.base}/userinfo",
        }
        return web.json_response(document | self.discovery)

    async def _keys(self, _request: web.Request) -> web.Response:
        self.asked["keys"] += 1
        self.arrived.set()
        if self.hold is not None:
            await self.hold.wait()
        if self.keys_answer is not None:
            # An answer is sent once.
            answer = self.keys_answer
            return web.Response(status=answer.status, body=answer.body, headers={"Location": f"{self.base}/jwks"})
        keys = [key(name).as_dict(private=False, use="sig") for name in self.published]
        return web.json_response({"keys": keys})

    async def _userinfo(self, request: web.Request) -> web.Response:
        self.asked["userinfo"] += 1
        self.arrived.set()
        if self.hold_userinfo is not None:
            await self.hold_userinfo.wait()
        if self.userinfo_answer is not None:
            return web.Response(status=self.userinfo_answer.status, body=self.userinfo_answer.body)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        claims = self.introspections.get(token) or claims_of(token)
        if claims["sub"] not in self.users:
            return web.json_response({"error": "invalid_request"}, status=400)
        return web.json_response({"sub": claims["sub"], "nhsid_useruid": claims["sub"]} | self.users[claims["sub"]])

    async def _introspect(self, request: web.Request) -> web.Response:
        self.asked["introspection"] += 1
        if request.headers.get("Authorization") != "Basic " + base64.b64encode(b"openscr:our secret").decode():
            return web.Response(status=401)
        fields = await request.post()
        return web.json_response(self.introspections.get(str(fields["token"]), {"active": False}))

    # --- what it issues ---------------------------------------------------------------------------------------------

    def claims(self, user: str = GP, **changed: Any) -> dict[str, Any]:
        """Return the claims of an access token of a user; what is changed to none is left out."""
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.base,
            "sub": user,
            "aud": "openscr",
            "client_id": "app-gp",
            "scope": f"openid {USER_SCOPE}",
            "iat": now,
            "nbf": now,
            "exp": now + 599,
            "jti": base64.b16encode(str(len(self.secrets)).encode()).decode(),
            "sid": f"session-of-{user}",
            "acr": "AAL3_ANY",
            "amr": ["N3_SMARTCARD"],
            "authentication_assurance_level": 3,
            "id_assurance_level": 3,
        } | changed
        return {name: value for name, value in claims.items() if value is not None}

    def application_claims(self, app: str = "app-batch", **changed: Any) -> dict[str, Any]:
        """Return the claims of an access token of an application alone."""
        nothing = dict.fromkeys(("sid", "acr", "amr", "authentication_assurance_level", "id_assurance_level"))
        return self.claims(app, **nothing, **({"client_id": app, "scope": APP_SCOPE} | changed))

    def token(self, user: str = GP, **changed: Any) -> str:
        """Return an access token of a user."""
        return self.sign(self.claims(user, **changed))

    def sign(self, claims: Mapping[str, Any] | bytes, signer: str = "rsa-1", **header: Any) -> str:
        """Sign claims, or the very bytes of a payload; a header member that is none is left out."""
        head = {"alg": "RS256", "typ": "at+jwt", "kid": signer} | header
        head = {name: value for name, value in head.items() if value is not None}
        payload = claims if isinstance(claims, bytes) else json.dumps(dict(claims)).encode()
        text = jws.serialize_compact(head, payload, key(signer), algorithms=[head["alg"]])
        return self._given(text)

    def unsigned(self, claims: Mapping[str, Any], alg: str = "none") -> str:
        """Return a token that nobody has signed."""
        return self._given(f"{encoded({'alg': alg, 'typ': 'JWT', 'kid': 'rsa-1'})}.{encoded(claims)}.")

    def confused(self, claims: Mapping[str, Any]) -> str:
        """Return a token that takes our public key for a shared secret."""
        # By hand: the library knows the attack, and takes no such secret.
        text = f"{encoded({'alg': 'HS256', 'typ': 'at+jwt', 'kid': 'rsa-1'})}.{encoded(claims)}"
        mac = hmac.digest(key("rsa-1").as_pem(private=False), text.encode(), "sha256")
        return self._given(f"{text}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")

    def logout_token(self, session: str, signer: str = "rsa-1", **changed: Any) -> str:
        """Return a logout token that ends a session."""
        claims = {
            "iss": self.base,
            "aud": "openscr",
            "iat": int(self.clock().timestamp()),
            "jti": f"logout {len(self.secrets)}",
            "sid": session,
            "events": {"http://schemas.openid.net/event/backchannel-logout": {}},
        } | changed
        return self.sign({name: value for name, value in claims.items() if value is not None}, signer, typ="logout+jwt")

    def _given(self, text: str) -> str:
        self.secrets.append(text)
        return text


def encoded(value: Mapping[str, Any]) -> str:
    """Write a part of a token."""
    return base64.urlsafe_b64encode(json.dumps(dict(value)).encode()).decode().rstrip("=")


def claims_of(token: str) -> dict[str, Any]:
    """Read the claims of a token as they are."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def bearer(token: str, **headers: str) -> list[tuple[bytes, bytes]]:
    """Return request headers with a token, names as a listener gives them."""
    named = {"Authorization": f"Bearer {token}"} | {name.replace("_", "-"): value for name, value in headers.items()}
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in named.items()]
