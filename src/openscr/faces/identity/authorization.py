"""What an app asks of the provider when it sends a browser: read, judged, and answered at its redirect address.

Faults before the redirect address is known to be the app's are shown to the person; later ones are told to the app.

Spec: 35 §4.2, §9.5; RFC 6749 §4.1, RFC 7636, OpenID Connect §3.1.2.
"""

import re
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlencode, urlsplit

from openscr.faces.identity.apps import App
from openscr.faces.identity.parameters import Parameters
from openscr.faces.identity.people import levels_of
from openscr.faces.identity.refusals import OAuthRefusal

SCOPES: Final = (
    "openid",
    "profile",
    "email",
    "nhsperson",
    "associatedorgs",
    "nationalrbacaccess",
    "professionalmemberships",
    "organisationalmemberships",
    "selectedrole",
)
"""The scopes of a sign-in. Spec: 35 §4.2."""

DEFAULT_SCOPES: Final = ("openid", "nationalrbacaccess")
"""What an app gets that asks for nothing. Spec: 35 §4.2 (the API platform's own request)."""

_PROMPTS: Final = frozenset({"none", "login", "consent", "select_account"})
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_LONGEST: Final = 2048


class RedirectRefused(Exception):
    """The request cannot be answered at a redirect address: it is not the app's, or there is no such app."""


class AuthorizationRefused(Exception):
    """The request is refused, and the app is told so at its redirect address."""

    def __init__(self, asked: "Asked", error: str, description: str) -> None:
        super().__init__(description)
        self.asked = asked
        self.error = error
        self.description = description


@dataclass(frozen=True, slots=True)
class Asked:
    """An authorization request. ``levels`` are the assurance levels that do; ``max_age`` is seconds."""

    client_id: str
    app_name: str
    redirect_uri: str
    state: str | None = None
    nonce: str | None = None
    scopes: tuple[str, ...] = DEFAULT_SCOPES
    challenge: str | None = None
    levels: frozenset[int] = frozenset({1, 2, 3})
    max_age: int | None = None
    prompt: frozenset[str] = frozenset()
    login_hint: str | None = None

    @property
    def wants_role(self) -> bool:
        """Whether one role is to be chosen at sign-in."""
        return "selectedrole" in self.scopes

    @property
    def origin(self) -> str:
        """The origin of the redirect address."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}"

    def answer(self, **parameters: str) -> str:
        """Return the redirect address with an answer in its query."""
        given = {**parameters, **({"state": self.state} if self.state is not None else {})}
        return f"{self.redirect_uri}{'&' if urlsplit(self.redirect_uri).query else '?'}{urlencode(given)}"


def read_redirect(parameters: Parameters, app: App | None, own_page: str) -> Asked:
    """Return as much of a request as says where its answer goes. ``own_page`` is the provider's page for codes.

    Raises: `RedirectRefused`.
    """
    if app is None:
        raise RedirectRefused("There is no app with this client_id.")
    address = parameters.get("redirect_uri")
    # Compared as it is, character by character: nothing else is safe. RFC 6749 §3.1.2.3.
    if address is None or address not in (*app.redirect_uris, own_page):
        raise RedirectRefused("The redirect_uri is not one that is registered for the app.")
    return Asked(app.client_id, app.name, address)


def read_request(parameters: Parameters, app: App, asked: Asked) -> Asked:
    """Return the whole request. Raises: `AuthorizationRefused`."""
    state = parameters.get("state")
    if state is not None and len(state) <= _LONGEST:
        asked = replace(asked, state=state)

    def refuse(description: str, error: str = "invalid_request") -> AuthorizationRefused:
        return AuthorizationRefused(asked, error, description)

    if any(len(value) > _LONGEST for value in parameters.values()):
        raise refuse("A parameter is too long")
    if "request" in parameters or "request_uri" in parameters:
        raise refuse("Request objects are not supported", "request_not_supported")
    if parameters.get("response_type") != "code":
        missing = "response_type" not in parameters
        raise refuse("response_type must be code", "invalid_request" if missing else "unsupported_response_type")
    if parameters.get("response_mode", "query") != "query":
        raise refuse("response_mode must be query")
    if not app.signs_users_in:
        raise refuse("The app has no scope for users", "unauthorized_client")
    scopes = tuple(dict.fromkeys(parameters.get("scope", "").split())) or DEFAULT_SCOPES
    if "openid" not in scopes:
        raise refuse("scope must hold openid", "invalid_scope")
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if (challenge is not None or method is not None) and (
        method != "S256" or challenge is None or not _CHALLENGE.match(challenge)
    ):
        raise refuse("code_challenge is 43 characters, and code_challenge_method is S256")
    max_age = parameters.get("max_age")
    if max_age is not None and not re.fullmatch(r"[0-9]{1,9}", max_age):
        raise refuse("max_age is a number of seconds")
    prompt = frozenset(parameters.get("prompt", "").split())
    if not prompt <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        raise refuse("prompt is none, or any of login, consent and select_account")
    return replace(
        asked,
        nonce=parameters.get("nonce"),
        scopes=tuple(scope for scope in scopes if scope in SCOPES),
        challenge=challenge,
        levels=levels_of(parameters.get("acr_values", "")),
        max_age=None if max_age is None else int(max_age),
        prompt=prompt,
        login_hint=parameters.get("login_hint"),
    )


def refused_redirect(refusal: AuthorizationRefused) -> str:
    """Return the address at which the app reads why it gets no code."""
    return refusal.asked.answer(error=refusal.error, error_description=refusal.description)


def as_redirect_refusal(refusal: OAuthRefusal) -> RedirectRefused:
    """Return a request that cannot be read as one that cannot be answered at a redirect address."""
    return RedirectRefused(f"{refusal.description}.")
