"""Who may call the outbound port: nobody is asked until keys are set, then everybody is but for the health check.

Keys are compared by their digests, all of them each time, so that the time taken tells nothing.

Spec: 50 F15.
"""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from openscr.access.certificates import ClientCertificate
from openscr.identifiers import UuidFactory
from openscr.mhs.outbound.answers import CORRELATION_ID, Ids, write_refusal
from openscr.mhs.outbound.header_values import header_value
from openscr.mhs.outbound.negotiation import wants_problem
from openscr.mhs.outbound.refusals import CALLER_UNKNOWN

OPEN_PATHS: Final = frozenset({"/healthcheck", "/readyz"})
"""What load balancers ask. Neither tells anything of a patient."""
_CALLER: Final = "openscr.mhs.caller"


def caller_of(scope: Scope) -> str:
    """Return who was authenticated: a key by the beginning of its digest, else a certificate's name, else nobody."""
    return str(scope.get(_CALLER, ""))


class CallerCheck:
    """Lets requests through to an application if their caller may be let in. ``keys`` are separated by commas."""

    def __init__(self, application: ASGIApp, keys: str, mint: UuidFactory) -> None:
        self._application = application
        self._digests = [sha256(key.encode()).digest() for each in keys.split(",") if (key := each.strip())]
        self._mint = mint

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or hand the request on with the caller's name in its scope."""
        if scope["type"] == "http":
            caller = _certificate_name(scope)
            if self._digests and scope["path"] not in OPEN_PATHS:
                connection = HTTPConnection(scope)
                known = self._known(_shown_key(connection))
                if known is None:
                    correlation_id = header_value(connection.headers, CORRELATION_ID) or self._mint()
                    problem = wants_problem(connection.headers.get("accept", ""))
                    await write_refusal(CALLER_UNKNOWN, Ids(correlation_id), problem=problem)(scope, receive, send)
                    return
                caller = f"key {known.hex()[:8]}"
            scope[_CALLER] = caller
        await self._application(scope, receive, send)

    def _known(self, shown: str) -> bytes | None:
        digest = sha256(shown.encode("latin-1")).digest()
        found = None
        for known in self._digests:
            if compare_digest(known, digest):
                found = known
        return found


def _shown_key(connection: HTTPConnection) -> str:
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return connection.headers.get("apikey", "")


def _certificate_name(scope: Scope) -> str:
    certificate = scope.get("extensions", {}).get("tls", {}).get("client_certificate")
    if isinstance(certificate, ClientCertificate):
        return certificate.identity
    return ""
