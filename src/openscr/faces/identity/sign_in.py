"""The sign-in pages: who are you, how do you sign in, in which role; then back to the app.

A request waits under an opaque id, in the browser that began it and in no other: the id alone opens nothing, and no
address holds anything about a person. Every form carries a token of its own against posts from other sites. Signing in
gives the browser a new key, so that nobody can have put one there before.

The same pages lead a smartcard user to a ticket (`/saml/token`): then no app has asked, and no code is made.

Spec: 35 §4.1, §4.2, §9.5; 80 §6.1, §8.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from openscr.directory.model import CurrentDirectory, Role, User
from openscr.faces.identity.apps import AppRegister
from openscr.faces.identity.authorization import (
    Asked,
    AuthorizationRefused,
    RedirectRefused,
    as_redirect_refusal,
    read_redirect,
    read_request,
    refused_redirect,
)
from openscr.faces.identity.parameters import Parameters, form_of, query_of
from openscr.faces.identity.people import (
    METHODS,
    SMARTCARD,
    name_of,
    open_roles,
    person_words,
    role_words,
)
from openscr.faces.identity.refusals import OAuthRefusal
from openscr.faces.identity.session_pages import CODE_PAGE, cookie_name, refused_page, same
from openscr.faces.identity.sessions import CODE_LIFE, SIGN_IN_LIFE, SSO_TOKEN_LIFE, Code, Sessions, SignIn, SsoToken
from openscr.faces.identity.shelf import Shelf
from openscr.identifiers import UuidFactory
from openscr.pages.rendering import FormError, Pages, page_headers

AUTHORIZE: Final = "/oauth2/authorize"
SIGN_IN: Final = "/oauth2/sign-in"
ROLE: Final = "/oauth2/role"
SSO_TOKEN: Final = "/saml/token"  # noqa: S105  an address

WAITING_LIFE: Final = 900.0
"""Seconds in which a person may finish signing in."""

_LISTED: Final = 30
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A request whose person is signing in: the browser that began it, the token of its forms, who has signed in."""

    asked: Asked | None
    browser: str
    form_token: str
    sign_in: SignIn | None = None

    @property
    def form_targets(self) -> tuple[str, ...]:
        return () if self.asked is None else (self.asked.origin,)


class SignInPages:
    """The routes of the pages. ``address`` is our own origin, ``now`` gives seconds, ``today`` the day."""

    def __init__(
        self,
        address: str,
        directory: CurrentDirectory,
        apps: AppRegister,
        sessions: Sessions,
        pages: Pages,
        mint: UuidFactory,
        now: Callable[[], float],
        today: Callable[[], date],
    ) -> None:
        self._address = address
        self._directory = directory
        self._apps = apps
        self._sessions = sessions
        self._pages = pages
        self._mint = mint
        self._now = now
        self._today = today
        self._waiting: Shelf[_Waiting] = Shelf(now, most=2_000)
        self._browser_cookie = cookie_name("browser", address)
        self._session_cookie = cookie_name("session", address)

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount."""
        return [
            Route(AUTHORIZE, self._authorize, methods=["GET", "POST"]),
            Route(f"{SIGN_IN}/{{key}}", self._ask_who, methods=["GET"]),
            Route(f"{SIGN_IN}/{{key}}", self._told_who, methods=["POST"]),
            Route(f"{ROLE}/{{key}}", self._ask_role, methods=["GET"]),
            Route(f"{ROLE}/{{key}}", self._told_role, methods=["POST"]),
            Route(SSO_TOKEN, self._begin_sso, methods=["GET"]),
        ]

    # --- a request comes in -----------------------------------------------------------------------------------------

    async def _authorize(self, request: Request) -> Response:
        try:
            parameters = await form_of(request) if request.method == "POST" else query_of(request)
            app = await self._apps.look_up(self._directory.snapshot, parameters.get("client_id", ""))
            asked = read_redirect(parameters, app, f"{self._address}{CODE_PAGE}")
        except OAuthRefusal as refusal:
            return self._cannot_go_on(str(as_redirect_refusal(refusal)))
        except RedirectRefused as refusal:
            return self._cannot_go_on(str(refusal))
        try:
            asked = read_request(parameters, app, asked) if app is not None else asked
            return self._go_on(request, asked)
        except AuthorizationRefused as refusal:
            return _leave(refused_redirect(refusal))

    def _go_on(self, request: Request, asked: Asked | None) -> Response:
        """Lead a request to the page that is next. Raises: `AuthorizationRefused` when there may be none."""
        silent = asked is not None and "none" in asked.prompt
        sign_in = self._sessions.of_browser(request.cookies.get(self._session_cookie))
        if sign_in is not None and not self._will_do(sign_in, asked):
            sign_in = None
        if sign_in is None and silent and asked is not None:
            raise AuthorizationRefused(asked, "login_required", "Nobody is signed in as the request wants it")
        browser = request.cookies.get(self._browser_cookie) or secrets.token_urlsafe(24)
        waiting = _Waiting(asked, browser, secrets.token_urlsafe(24), sign_in)
        if sign_in is not None:
            if self._role_is_clear(waiting, sign_in):
                return self._finish(waiting, sign_in, self._only_role(waiting, sign_in))
            if silent and asked is not None:
                raise AuthorizationRefused(asked, "interaction_required", "A role must be chosen")
        key = self._waiting.put(waiting, WAITING_LIFE)
        answer = _see(f"{SIGN_IN if sign_in is None else ROLE}/{key}")
        self._set_cookie(request, answer, self._browser_cookie, browser, SIGN_IN_LIFE)
        return answer

    def _will_do(self, sign_in: SignIn, asked: Asked | None) -> bool:
        """Whether somebody who is signed in need not sign in again."""
        user = self._user(sign_in.user_id)
        if user is None:
            return False
        if asked is None:
            return sign_in.method.amr == SMARTCARD
        if asked.prompt & {"login", "select_account"} or sign_in.level not in asked.levels:
            return False
        if asked.login_hint is not None and asked.login_hint != sign_in.user_id:
            return False
        return asked.max_age is None or self._now() - sign_in.auth_time < asked.max_age

    # --- who are you ------------------------------------------------------------------------------------------------

    async def _ask_who(self, request: Request) -> Response:
        waiting = self._of_this_browser(request)
        return self._sign_in_page(waiting) if waiting is not None else self._not_here()

    async def _told_who(self, request: Request) -> Response:
        waiting, form, refused = await self._posted(request)
        if refused is not None or waiting is None:
            return refused or self._not_here()
        key = request.path_params["key"]
        if form.get("action") == "cancel":
            self._waiting.take(key)
            return self._cancelled(waiting)
        errors = []
        chosen, method = form.get("user", ""), METHODS.get(form.get("method", ""))
        typed = form.get("user_id", "").replace(" ", "")
        if not chosen and typed:
            # Without scripts typing does not choose what was typed.
            chosen = _OTHER
        user = self._user(typed if chosen == _OTHER else chosen)
        if not chosen:
            errors.append(FormError("Choose who you are", "user"))
        elif chosen == _OTHER and not typed:
            errors.append(FormError("Enter a user id", "user_id"))
        elif user is None:
            errors.append(
                FormError("Nobody who may sign in has this user id", "user_id" if chosen == _OTHER else "user")
            )
        if method is None or method not in self._methods(waiting):
            errors.append(FormError("Choose how you sign in", "method"))
        if errors or user is None or method is None:
            return self._sign_in_page(waiting, errors, form)
        sign_in, browser_key = self._sessions.sign_in(user.user_id, method.name, self._mint().lower())
        waiting = replace(waiting, sign_in=sign_in)
        if self._role_is_clear(waiting, sign_in):
            self._waiting.take(key)
            answer = self._finish(waiting, sign_in, self._only_role(waiting, sign_in))
        else:
            self._waiting.put(waiting, WAITING_LIFE, key)
            answer = _see(f"{ROLE}/{key}")
        self._set_cookie(request, answer, self._session_cookie, browser_key, SIGN_IN_LIFE)
        return answer

    def _sign_in_page(
        self, waiting: _Waiting, errors: list[FormError] | None = None, form: Parameters | None = None
    ) -> Response:
        directory = self._directory.snapshot
        given = form or {}
        hint = waiting.asked.login_hint if waiting.asked is not None else None
        users = sorted((user for user in directory.users.values() if user.active), key=lambda user: user.user_id)
        listed = users[:_LISTED]
        hinted = self._user(hint)
        if hinted is not None:
            listed = [hinted]
        chosen = given.get("user") or (hinted.user_id if hinted is not None else "")
        methods = self._methods(waiting)
        return self._pages.answer(
            "sign_in.html",
            title="Sign in",
            status=400 if errors else 200,
            errors=errors or (),
            form_targets=waiting.form_targets,
            values={
                "app_name": waiting.asked.app_name if waiting.asked is not None else "Smartcard ticket",
                "form_token": waiting.form_token,
                "people": [person_words(directory, user, self._today()) for user in listed],
                "chosen": chosen,
                "other": _OTHER,
                "typed": given.get("user_id", ""),
                "methods": methods,
                "method": given.get("method") or methods[0].name,
            },
        )

    def _methods(self, waiting: _Waiting) -> list[Any]:
        if waiting.asked is None:
            return [method for method in METHODS.values() if method.amr == SMARTCARD]
        return [method for method in METHODS.values() if method.level in waiting.asked.levels]

    # --- in which role ----------------------------------------------------------------------------------------------

    async def _ask_role(self, request: Request) -> Response:
        waiting = self._of_this_browser(request)
        if waiting is None or waiting.sign_in is None or not self._is_theirs(request, waiting.sign_in):
            return self._not_here()
        return self._role_page(request, waiting, waiting.sign_in)

    async def _told_role(self, request: Request) -> Response:
        waiting, form, refused = await self._posted(request)
        if refused is not None or waiting is None or waiting.sign_in is None:
            return refused or self._not_here()
        if not self._is_theirs(request, waiting.sign_in):
            return self._not_here()
        key = request.path_params["key"]
        if form.get("action") == "cancel":
            self._waiting.take(key)
            return self._cancelled(waiting)
        if self._sessions.get(waiting.sign_in.sid) is None:
            return self._not_here()
        roles = {role.role_profile_id for role in self._roles(waiting.sign_in)}
        if form.get("role") not in roles:
            return self._role_page(
                request, waiting, waiting.sign_in, [FormError("Choose a role", "role")] if roles else []
            )
        self._waiting.take(key)
        return self._finish(waiting, waiting.sign_in, form["role"])

    def _role_page(
        self, request: Request, waiting: _Waiting, sign_in: SignIn, errors: list[FormError] | None = None
    ) -> Response:
        directory, roles = self._directory.snapshot, self._roles(sign_in)
        user = self._user(sign_in.user_id)
        return self._pages.answer(
            "role.html",
            title="Choose your role" if roles else "You have no role to sign in with",
            status=400 if errors else 200,
            errors=errors or (),
            form_targets=waiting.form_targets,
            values={
                "app_name": waiting.asked.app_name if waiting.asked is not None else "Smartcard ticket",
                "form_token": waiting.form_token,
                "back": f"{SIGN_IN}/{request.path_params['key']}",
                "person": name_of(user) if user is not None else "",
                "roles": [role_words(directory, role, self._today()) for role in roles],
            },
        )

    def _roles(self, sign_in: SignIn) -> tuple[Role, ...]:
        user = self._user(sign_in.user_id)
        return open_roles(user, self._today()) if user is not None else ()

    def _role_is_clear(self, waiting: _Waiting, sign_in: SignIn) -> bool:
        """Whether nobody need be asked for a role: none is wanted, or there is only one."""
        wanted = waiting.asked is None or waiting.asked.wants_role
        return not wanted or len(self._roles(sign_in)) == 1

    def _only_role(self, waiting: _Waiting, sign_in: SignIn) -> str | None:
        wanted = waiting.asked is None or waiting.asked.wants_role
        return self._roles(sign_in)[0].role_profile_id if wanted else None

    # --- back to the app --------------------------------------------------------------------------------------------

    def _finish(self, waiting: _Waiting, sign_in: SignIn, role: str | None) -> Response:
        asked = waiting.asked
        if asked is None:
            ticket = self._sessions.sso_tokens.put(SsoToken(sign_in, role or ""), SSO_TOKEN_LIFE)
            return self._pages.answer("sso_token.html", title="Your smartcard ticket", values={"ticket": ticket})
        code = Code(asked.client_id, asked.redirect_uri, sign_in, asked.scopes, asked.nonce, asked.challenge, role)
        return _leave(asked.answer(code=self._sessions.codes.put(code, CODE_LIFE)))

    def _cancelled(self, waiting: _Waiting) -> Response:
        if waiting.asked is None:
            return _see("/")
        refusal = AuthorizationRefused(waiting.asked, "access_denied", "The person did not sign in")
        return _leave(refused_redirect(refusal))

    # --- smartcard tickets ------------------------------------------------------------------------------------------

    async def _begin_sso(self, request: Request) -> Response:
        return self._go_on(request, None)

    # --- what all pages do ------------------------------------------------------------------------------------------

    def _user(self, user_id: str | None) -> User | None:
        user = self._directory.snapshot.users.get(user_id or "")
        return user if user is not None and user.active else None

    def _of_this_browser(self, request: Request) -> _Waiting | None:
        waiting = self._waiting.get(request.path_params["key"])
        cookie = request.cookies.get(self._browser_cookie, "")
        if waiting is None or not same(cookie, waiting.browser):
            return None
        return waiting

    def _is_theirs(self, request: Request, sign_in: SignIn) -> bool:
        """Whether who asks is in the browser that signed in; the key of the request may have been put into others."""
        signed_in = self._sessions.of_browser(request.cookies.get(self._session_cookie))
        return signed_in is not None and signed_in.sid == sign_in.sid

    async def _posted(self, request: Request) -> tuple[_Waiting | None, Parameters, Response | None]:
        """Return whose form was posted and what it says; or the answer to one that is not ours."""
        waiting = self._of_this_browser(request)
        if waiting is None:
            return None, {}, self._not_here()
        try:
            form = await form_of(request)
        except OAuthRefusal as refusal:
            return None, {}, self._cannot_go_on(str(as_redirect_refusal(refusal)))
        if not same(form.get("form_token", ""), waiting.form_token):
            return None, {}, self._not_here()
        return waiting, form, None

    def _not_here(self) -> Response:
        return self._cannot_go_on(
            "This sign-in has ended, or was begun in another browser. Go back to the app and sign in again."
        )

    def _cannot_go_on(self, why: str) -> Response:
        return refused_page(self._pages, why)

    def _set_cookie(self, request: Request, answer: Response, name: str, value: str, seconds: float) -> None:
        secure = request.url.scheme == "https"
        answer.set_cookie(name, value, max_age=int(seconds), path="/", httponly=True, samesite="lax", secure=secure)


def _see(path: str) -> Response:
    return RedirectResponse(path, status_code=303, headers=page_headers())


def _leave(address: str) -> Response:
    # 303: whatever was posted here is not posted there.
    return RedirectResponse(
        address, status_code=303, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    )
