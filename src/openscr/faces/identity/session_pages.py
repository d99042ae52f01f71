"""Pages about a session that is there: signing out, and a page that shows a code to whoever has no app yet.

Spec: 35 §4.1, §9.5.
"""

import hmac
import re
import secrets
from typing import Final
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from openscr.directory.model import CurrentDirectory
from openscr.faces.identity.authorization import as_redirect_refusal
from openscr.faces.identity.parameters import form_of, query_of
from openscr.faces.identity.people import name_of
from openscr.faces.identity.refusals import OAuthRefusal
from openscr.faces.identity.sessions import Sessions, SignIn
from openscr.pages.rendering import Pages

SIGN_OUT: Final = "/oauth2/sign-out"
CODE_PAGE: Final = "/oauth2/code"

_PLAIN: Final = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")


def cookie_name(what: str, address: str) -> str:
    """Return the name of a cookie of ours. Cookies do not tell ports apart, so the name does."""
    return f"openscr-{what}-{urlsplit(address).port or 0}"


def same(given: str, secret: str) -> bool:
    """Whether what was given is a secret; how long the answer takes tells nothing."""
    return hmac.compare_digest(given.encode(), secret.encode())


def refused_page(pages: Pages, why: str) -> Response:
    """Tell a person why there is no way on from here."""
    return pages.answer("refused.html", title="You cannot sign in here", status=400, values={"why": why})


class SessionPages:
    """The routes of the pages. ``address`` is our own origin."""

    def __init__(self, address: str, directory: CurrentDirectory, sessions: Sessions, pages: Pages) -> None:
        self._address = address
        self._directory = directory
        self._sessions = sessions
        self._pages = pages
        self._session_cookie = cookie_name("session", address)
        self._sign_out_key = secrets.token_bytes(32)

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount."""
        return [
            Route(CODE_PAGE, self._show_code, methods=["GET"]),
            Route(SIGN_OUT, self._ask_sign_out, methods=["GET"]),
            Route(SIGN_OUT, self._sign_out, methods=["POST"]),
        ]

    async def _show_code(self, request: Request) -> Response:
        """Show a code to a person who has no app that listens yet, or why there is none."""
        try:
            parameters = query_of(request)
        except OAuthRefusal as refusal:
            return refused_page(self._pages, str(as_redirect_refusal(refusal)))
        # Whatever stands in the address may come from anybody, and the page shows it inside a command.
        code, error = parameters.get("code", ""), parameters.get("error", "")
        code, error = (text if _PLAIN.match(text) else "" for text in (code, error))
        title = "Your authorization code" if code else "There is no code"
        values = {
            "code": code,
            "error": error,
            "address": self._address,
            "own_page": f"{self._address}{CODE_PAGE}",
        }
        return self._pages.answer("code.html", title=title, values=values)

    # --- signing out ------------------------------------------------------------------------------------------------

    async def _ask_sign_out(self, request: Request) -> Response:
        sign_in = self._sessions.of_browser(request.cookies.get(self._session_cookie))
        return self._sign_out_page(sign_in)

    def _sign_out_page(self, sign_in: SignIn | None) -> Response:
        user = self._directory.snapshot.users.get(sign_in.user_id) if sign_in is not None else None
        values = {
            "person": name_of(user) if user is not None else "",
            "form_token": self._sign_out_token(sign_in) if sign_in is not None else "",
        }
        return self._pages.answer("sign_out.html", title="Sign out" if user else "You are signed out", values=values)

    async def _sign_out(self, request: Request) -> Response:
        sign_in = self._sessions.of_browser(request.cookies.get(self._session_cookie))
        try:
            form = await form_of(request)
        except OAuthRefusal as refusal:
            return refused_page(self._pages, str(as_redirect_refusal(refusal)))
        if sign_in is None:
            return self._sign_out_page(None)
        if not same(form.get("form_token", ""), self._sign_out_token(sign_in)):
            return refused_page(self._pages, "This form does not come from this page.")
        self._sessions.end(sign_in.sid)
        answer = self._sign_out_page(None)
        answer.delete_cookie(self._session_cookie, path="/", httponly=True, samesite="lax")
        return answer

    def _sign_out_token(self, sign_in: SignIn) -> str:
        return hmac.new(self._sign_out_key, sign_in.sid.encode(), "sha256").hexdigest()
