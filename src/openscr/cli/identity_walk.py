"""The ways to a token, walked as a browser and an app walk them: the same pages, forms and addresses, nothing else.

Spec: 35 §4.1 to §4.3.
"""

import secrets
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
from joserfc import jwt
from joserfc.jwk import RSAKey
from lxml import html
from yarl import URL

from openscr.codes import LOCAL_REALM
from openscr.errors import AccessRefused, ConfigurationError, DeliveryError
from openscr.faces.identity.application import TOKEN
from openscr.faces.identity.apps import App
from openscr.faces.identity.people import METHODS
from openscr.faces.identity.refusals import ASSERTION_TYPE, ID_TOKEN_TYPE, TOKEN_EXCHANGE
from openscr.faces.identity.session_pages import CODE_PAGE
from openscr.faces.identity.sign_in import AUTHORIZE, SSO_TOKEN
from openscr.faces.identity.tokens import challenge_of
from openscr.identifiers import mint_uuid

_PATIENCE: Final = aiohttp.ClientTimeout(total=30)
_ASSERTION_LIFE: Final = 240
_MOST_STEPS: Final = 6


class Walk:
    """A browser and an app at a provider. ``app`` is none where only a person acts; ``key_file`` is the app's key."""

    def __init__(self, at: str, app: App | None, key_file: Path) -> None:
        self._at = at.rstrip("/")
        self._app = app
        self._key_file = key_file
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True), timeout=_PATIENCE, raise_for_status=False
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    # --- what an app gets -------------------------------------------------------------------------------------------

    async def application_token(self) -> dict[str, Any]:
        """Return the answer to client credentials. Raises: `AccessRefused`, `ConfigurationError`."""
        return await self._token({"grant_type": "client_credentials", **await self.assertion()})

    async def user_token(self, user_id: str, role_profile_id: str | None, level: int) -> dict[str, Any]:
        """Sign a person in, and return the answer to the code. Raises: `AccessRefused`, `DeliveryError`."""
        app, issuer = self._known_app(), await self._issuer_address()
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        scopes = ["openid", "profile", "nationalrbacaccess", "associatedorgs"]
        asked = {
            "response_type": "code",
            "client_id": app.client_id,
            "redirect_uri": f"{issuer}{CODE_PAGE}",
            "scope": " ".join(scopes + (["selectedrole"] if role_profile_id is not None else [])),
            "state": state,
            "code_challenge": challenge_of(verifier),
            "code_challenge_method": "S256",
        }
        method = next(method.name for method in METHODS.values() if method.level == level)
        answered = await self._walk(f"{self._at}{AUTHORIZE}?{urlencode(asked)}", user_id, role_profile_id, method)
        answer = {name: values[0] for name, values in parse_qs(urlsplit(answered).query).items()}
        if answer.get("state") != state or "code" not in answer:
            raise AccessRefused(f"sign-in refused: {answer.get('error_description', 'no code came back')}")
        return await self._token(
            {
                "grant_type": "authorization_code",
                "code": answer["code"],
                "redirect_uri": asked["redirect_uri"],
                "client_id": app.client_id,
                "client_secret": app.secret,
                "code_verifier": verifier,
            }
        )

    async def exchanged(self, id_token: str) -> dict[str, Any]:
        """Return the answer to an exchange of an ID token. Raises: `AccessRefused`, `ConfigurationError`."""
        form = {"grant_type": TOKEN_EXCHANGE, "subject_token_type": ID_TOKEN_TYPE, "subject_token": id_token}
        return await self._token({**form, **await self.assertion()})

    async def ticket(self, user_id: str, role_profile_id: str | None) -> str:
        """Return the ticket of a person's smartcard. Raises: `AccessRefused`, `DeliveryError`."""
        page = await self._walk(f"{self._at}{SSO_TOKEN}", user_id, role_profile_id, "smartcard")
        found = html.fromstring(page).xpath("string(//*[@id='ticket'])") if page.startswith("<") else ""
        if not found:
            raise AccessRefused("there is no ticket: the person has no open role")
        return str(found)

    # --- as a browser -----------------------------------------------------------------------------------------------

    async def _walk(self, address: str, user_id: str, role_profile_id: str | None, method: str) -> str:
        """Follow pages and forms; return the address that leads back to the app, or the page on which they end."""
        data: dict[str, str] | None = None
        for _ in range(_MOST_STEPS):
            async with self._session.request(
                "GET" if data is None else "POST", URL(address, encoded=True), data=data, allow_redirects=False
            ) as answer:
                page, onward = await answer.text(), answer.headers.get("Location")
                if onward is not None:
                    address, data = str(answer.url.join(URL(onward, encoded=True))), None
                    if urlsplit(address).path == CODE_PAGE:
                        return address
                    continue
                forms = html.fromstring(page).xpath("//form") if page.lstrip().startswith("<") else []
                if not forms:
                    return page.strip() if answer.status == 200 else self._refused(page)
                if answer.status != 200:
                    return self._refused(page)
                fields = set(forms[0].fields)
                data = {"form_token": str(forms[0].fields["form_token"]), "action": "continue"}
                if "user" in fields:
                    data |= {"user": "other", "user_id": user_id, "method": method}
                elif "role" in fields and role_profile_id is not None:
                    data["role"] = role_profile_id
                else:
                    data["action"] = "cancel"
        raise DeliveryError("the identity provider leads in circles")

    @staticmethod
    def _refused(page: str) -> str:
        said = html.fromstring(page).xpath("string(//*[contains(@class, 'error-summary')]//li | //main//p)")
        raise AccessRefused(f"sign-in refused: {' '.join(str(said).split()) or 'no reason given'}")

    # --- as an app --------------------------------------------------------------------------------------------------

    def _known_app(self) -> App:
        if self._app is None:
            raise ConfigurationError("no app is named")
        return self._app

    async def _discovery(self) -> dict[str, Any]:
        async with self._session.get(f"{self._at}{LOCAL_REALM}/.well-known/openid-configuration") as answer:
            if answer.status != 200:
                raise DeliveryError(f"{self._at} has no identity provider: it is for test environments only")
            return dict(await answer.json())

    async def _issuer_address(self) -> str:
        """Return the address by which the provider knows itself; ours may be another name of it."""
        return str((await self._discovery())["token_endpoint"]).removesuffix(TOKEN)

    async def assertion(self) -> dict[str, str]:
        """Return the members of a form by which the app proves who it is. Raises: `ConfigurationError`."""
        app = self._known_app()
        if not self._key_file.exists():
            raise ConfigurationError(
                f"{app.client_id} has no private key of the provider's; register one and sign the assertion with it"
            )
        key = RSAKey.import_key(self._key_file.read_bytes(), {"alg": "RS512"})
        key.ensure_kid()
        header = {"alg": "RS512", "typ": "JWT", "kid": str(key.kid)}
        claims = {
            "iss": app.client_id,
            "sub": app.client_id,
            "aud": (await self._discovery())["token_endpoint"],
            "jti": mint_uuid().lower(),
            "exp": int(time.time()) + _ASSERTION_LIFE,
        }
        token = jwt.encode(header, claims, key, algorithms=["RS512"])
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}

    async def _token(self, form: dict[str, str]) -> dict[str, Any]:
        return await _answer(self._session, f"{self._at}{TOKEN}", data=form)


async def post_json(at: str, path: str, form: dict[str, Any]) -> dict[str, Any]:
    """Post a JSON object to a path of a service. Raises: `AccessRefused`, `DeliveryError`."""
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        return await _answer(session, f"{at.rstrip('/')}{path}", json=form)


async def post_form(address: str, form: dict[str, str]) -> dict[str, Any]:
    """Post a form to an address. Raises: `AccessRefused`, `DeliveryError`."""
    async with aiohttp.ClientSession(timeout=_PATIENCE) as session:
        return await _answer(session, address, data=form)


async def _answer(session: aiohttp.ClientSession, address: str, **body: Any) -> dict[str, Any]:
    try:
        async with session.post(address, **body) as answer:
            told = await answer.json(content_type=None) if await answer.read() else {}
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise DeliveryError(f"{address} gave no answer that can be read ({type(error).__name__})") from None
    if status not in (200, 204) or not isinstance(told, dict):
        reason = told.get("error_description") if isinstance(told, dict) else None
        hint = "; is --data the folder of that service?" if status == 401 else ""
        raise AccessRefused(f"refused with HTTP {status}: {reason or 'no reason given'}{hint}")
    return told
