"""A local identity provider on a real socket, with a clock that the test turns, and an app that talks to it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import uvicorn
from joserfc import jwt
from joserfc.jwk import RSAKey
from lxml import html
from starlette.applications import Starlette
from yarl import URL

from openscr.directory.form import build_directory, read_directory
from openscr.directory.model import CurrentDirectory
from openscr.faces.identity.application import IdentityFace
from openscr.faces.identity.apps import AppRegister
from openscr.testbench.world import demo_directory

REDIRECT = "http://127.0.0.1:8000/callback"
FORM_TOKEN = "form_token"
GP, GP_ROLE = "555000000101", "555000000102"
RECEPTIONIST = "555000000201"
TWO_ROLES, NURSE_ROLE, OTHER_ROLE = "555000000301", "555000000302", "555000000303"
NO_ROLE, CLOSED_ROLE = "555000000601", "555000000701"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ID_TOKEN_TYPE = "urn:ietf:params:oauth:token-type:id_token"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"


@dataclass
class TurnedClock:
    """Time that passes when the test says so."""

    now: datetime = datetime(2026, 7, 1, 8, 5, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())


@dataclass
class Reply:
    """An HTTP answer."""

    status: int
    headers: Any
    text: str
    json: Any = None

    @property
    def location(self) -> str:
        return str(self.headers["Location"])

    @property
    def answer(self) -> dict[str, str]:
        """The parameters with which a browser was sent back."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.location).query).items()}


@dataclass
class Provider:
    """The provider, and one browser (``session`` keeps its cookies)."""

    at: str
    face: IdentityFace
    clock: TurnedClock
    apps: AppRegister
    directory: CurrentDirectory
    session: aiohttp.ClientSession
    ended: list[str] = field(default_factory=list)

    async def get(self, path: str, session: aiohttp.ClientSession | None = None, **headers: str) -> Reply:
        address = path if path.startswith("http") else f"{self.at}{path}"
        return await self._exchange(session or self.session, "GET", address, headers=headers)

    async def post(self, path: str, form: Any, session: aiohttp.ClientSession | None = None, **headers: str) -> Reply:
        data = urlencode(form) if isinstance(form, dict | list) else form
        given = {"Content-Type": "application/x-www-form-urlencoded"} | headers
        address = path if path.startswith("http") else f"{self.at}{path}"
        return await self._exchange(session or self.session, "POST", address, data=data, headers=given)

    async def post_json(self, path: str, form: Any) -> Reply:
        return await self._exchange(self.session, "POST", f"{self.at}{path}", json=form)

    @staticmethod
    async def _exchange(session: aiohttp.ClientSession, method: str, address: str, **body: Any) -> Reply:
        async with session.request(method, URL(address, encoded=True), allow_redirects=False, **body) as answer:
            text = await answer.text()
            assert answer.status < 500, (address, text)
            assert "Traceback" not in text
            is_json = answer.headers.get("Content-Type", "").startswith("application/json")
            return Reply(answer.status, answer.headers, text, await answer.json() if is_json else None)

    async def unchecked(self, method: str, path: str, form: Any = None) -> tuple[int, str]:
        """Ask for something that may be answered with 503."""
        async with self.session.request(method, f"{self.at}{path}", data=form, allow_redirects=False) as answer:
            return answer.status, await answer.text()

    # --- an app -----------------------------------------------------------------------------------------------------

    def secret(self, app: str = "app-gp") -> str:
        found = self.apps.find(self.directory.snapshot, app)
        assert found is not None
        return found.secret

    def key(self, app: str = "app-gp") -> RSAKey:
        self.secret(app)
        key = RSAKey.import_key(self.apps.key_file(app).read_bytes())
        key.ensure_kid()
        return key

    def assertion(self, app: str = "app-gp", header: Any = None, claims: Any = None, key: Any = None) -> str:
        """A client assertion; members of ``header`` and ``claims`` replace its own, ``None`` leaves one out."""
        signing = key or self.key(app)
        full_header = {"alg": "RS512", "typ": "JWT", "kid": signing.kid} | (header or {})
        full_claims = {
            "iss": app,
            "sub": app,
            "aud": f"{self.at}/oauth2/token",
            "jti": str(uuid.uuid4()),
            "exp": self.clock.seconds + 300,
        } | (claims or {})
        return jwt.encode(
            {name: value for name, value in full_header.items() if value is not None},
            {name: value for name, value in full_claims.items() if value is not None},
            signing,
            algorithms=[full_header["alg"]],
            default_type=None,
        )

    def asserted(self, app: str = "app-gp", **parts: Any) -> dict[str, str]:
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": self.assertion(app, **parts)}

    async def token(self, **form: str) -> Reply:
        return await self.post("/oauth2/token", form)

    async def application_token(self, app: str = "app-gp", **parts: Any) -> Reply:
        return await self.token(grant_type="client_credentials", **self.asserted(app, **parts))

    # --- a browser --------------------------------------------------------------------------------------------------

    def authorization(self, **asked: Any) -> str:
        """The address to which an app sends a browser; ``None`` leaves a parameter out."""
        full = {
            "response_type": "code",
            "client_id": "app-gp",
            "redirect_uri": REDIRECT,
            "scope": "openid profile nationalrbacaccess",
            "state": "a-state",
        } | asked
        return f"/oauth2/authorize?{urlencode({n: v for n, v in full.items() if v is not None})}"

    async def sign_in(
        self,
        user: str = GP,
        *,
        role: str | None = None,
        method: str = "smartcard",
        action: str = "continue",
        session: aiohttp.ClientSession | None = None,
        **asked: Any,
    ) -> Reply:
        """Walk the pages as a browser; return the answer that leads back to the app, or the page that does not."""
        reply = await self.get(self.authorization(**asked), session)
        for _ in range(5):
            if reply.status == 303 and reply.location.startswith("/"):
                place = reply.location
                reply = await self.get(place, session)
            elif reply.status == 200 and "<form" in reply.text:
                form = html.fromstring(reply.text).forms[0]
                told = {FORM_TOKEN: form.fields[FORM_TOKEN], "action": action}
                if "user" in form.fields:
                    told |= {"user": "other", "user_id": user, "method": method}
                elif "role" in form.fields:
                    told |= {"role": role or ""}
                else:
                    told["action"] = "cancel"
                reply = await self.post(place, told, session)
            else:
                return reply
        return reply

    async def login(self, user: str = GP, *, app: str = "app-gp", **how: Any) -> Any:
        """Sign a person in and change the code; return the token answer."""
        reply = await self.sign_in(user, client_id=app, **how)
        assert reply.status == 303, reply.text
        return await self.change(reply.answer["code"], app)

    async def change(self, code: str, app: str = "app-gp", **more: str) -> Any:
        reply = await self.token(**self.code_form(code, app), **more)
        assert reply.status == 200, reply.text
        return reply.json

    def code_form(self, code: str, app: str = "app-gp") -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "client_id": app,
            "client_secret": self.secret(app),
        }

    async def userinfo(self, access_token: str) -> Reply:
        return await self.get("/oauth2/userinfo", Authorization=f"Bearer {access_token}")


@asynccontextmanager
async def provider(folder: Path) -> AsyncIterator[Provider]:
    """Run a provider on a free port."""
    clock = TurnedClock()
    directory = CurrentDirectory(build_directory(read_directory(demo_directory()), 1))
    apps = AppRegister(folder)
    application = Starlette()
    config = uvicorn.Config(application, port=0, log_level="error", lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    at = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    ended: list[str] = []
    face = IdentityFace(at, directory, apps, ended.append, clock=clock)
    application.router.routes.extend(face.routes())
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        try:
            yield Provider(at, face, clock, apps, directory, session, ended)
        finally:
            await server.shutdown()


def claims_of(token: str, keys: Any) -> dict[str, Any]:
    """The claims of a token, once its signature is verified with the published keys."""
    header, _, _ = token.partition(".")
    assert header
    published = {key["kid"]: RSAKey.import_key(key) for key in keys["keys"]}
    return dict(jwt.decode(token, lambda obj: published[obj.headers()["kid"]], algorithms=["RS256"]).claims)
