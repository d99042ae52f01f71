"""An app that sends browsers to the identity provider and listens for them to come back, as apps do."""

import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urlsplit
from urllib.request import Request, urlopen

from openscr.faces.identity.tokens import challenge_of

PATIENCE = 30


@dataclass
class RelyingParty:
    """The app: where the provider is, who the app is there, and the answers that browsers brought back."""

    provider: str
    callback: str
    client_id: str = ""
    secret: str = ""
    answers: list[dict[str, str]] = field(default_factory=list)
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(16))

    def start(self, **asked: str) -> str:
        """Return the address to which the app sends a browser."""
        parameters = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": self.callback,
            "scope": "openid profile nationalrbacaccess selectedrole",
            "state": self.state,
            "nonce": "a-nonce",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        return f"{self.provider}/oauth2/authorize?{urlencode(parameters | asked)}"

    def answer(self) -> dict[str, str]:
        """Return the last answer, which must be to this app's own request."""
        answer = self.answers.pop()
        assert not self.answers
        assert answer["state"] == self.state
        return answer

    def change(self, code: str) -> dict[str, Any]:
        """Change a code for tokens."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": self.client_id,
            "client_secret": self.secret,
            "redirect_uri": self.callback,
            "code_verifier": self.verifier,
        }
        with urlopen(f"{self.provider}/oauth2/token", urlencode(form).encode(), timeout=PATIENCE) as answer:
            return dict(json.load(answer))

    def get(self, path: str, access_token: str, **headers: str) -> tuple[int, Any]:
        """Get something with a token; return status and JSON."""
        request = Request(f"{self.provider}{path}", headers={"Authorization": f"Bearer {access_token}", **headers})
        try:
            with urlopen(request, timeout=PATIENCE) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)


@contextmanager
def relying_party(provider: str) -> Iterator[RelyingParty]:
    """Listen on a free port of loopback; the app still has to be registered."""

    class Callback(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            if parts.path == "/callback":
                party.answers.append({name: values[0] for name, values in parse_qs(parts.query).items()})
            # Browsers ask for an icon too.
            self.send_response(200 if parts.path == "/callback" else 204)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            if parts.path == "/callback":
                self.wfile.write(b"<!doctype html><title>The app</title><h1>Back at the app</h1>")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Callback) as server:
        party = RelyingParty(provider, f"http://127.0.0.1:{server.server_port}/callback")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield party
        finally:
            server.shutdown()
            thread.join()
