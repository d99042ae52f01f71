"""Who may call the outbound port: nobody is asked until keys are set, then everybody is but for the health check.

Keys are compared by their digests, all of them each time, so that the time taken tells nothing.

Spec: 50 F15.
"""

from hashlib import sha256
from hmac import compare_digest
from typing import Final

import structlog
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from openscr.access.certificates import ClientCertificate
from openscr.errors import ConfigurationError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.outbound.answers import CORRELATION_ID, Ids, write_refusal
from openscr.mhs.outbound.header_values import header_value
from openscr.mhs.outbound.negotiation import wants_problem
from openscr.mhs.outbound.recording import RefusalRecord
from openscr.mhs.outbound.refusals import CALLER_UNKNOWN

OPEN_PATHS: Final = frozenset({"/healthcheck", "/readyz"})
"""What load balancers ask. Neither tells anything of a patient."""
_CALLER: Final = "openscr.mhs.caller"


def caller_of(scope: Scope) -> str:
    """Return who was authenticated: a key by the beginning of its digest, else a certificate's name, else nobody."""
    return str(scope.get(_CALLER, ""))


class CallerCheck:
    """Lets requests through to an application if their caller may be let in. The keys are a setting.

    Making one raises `ConfigurationError` for a setting without a key.
    """

    def __init__(self, application: ASGIApp, context: AdaptorContext, refusals: RefusalRecord) -> None:
        self._application = application
        self._context = context
        self._refusals = refusals
        setting = context.settings.secret_outbound_api_keys
        keys = setting.get_secret_value().split(",") if setting is not None else ()
        self._digests = [sha256(key.encode()).digest() for each in keys if (key := each.strip())]
        if setting is not None and not self._digests:
            raise ConfigurationError("setting secret_outbound_api_keys holds no key: name one, or leave it out")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, or hand the request on with the caller's name in its scope."""
        if scope["type"] == "http":
            caller = _certificate_name(scope)
            if self._digests and scope["path"] not in OPEN_PATHS:
                connection = HTTPConnection(scope)
                known = self._known(_shown_key(connection))
                if known is None:
                    await (await self._refuse(connection))(scope, receive, send)
                    return
                caller = f"key {known.hex()[:8]}"
            scope[_CALLER] = caller
        await self._application(scope, receive, send)

    async def _refuse(self, connection: HTTPConnection) -> Response:
        headers = connection.headers
        correlation_id = header_value(headers, CORRELATION_ID) or self._context.mint()
        with structlog.contextvars.bound_contextvars(correlation_id=correlation_id):
            await self._refusals.keep(CALLER_UNKNOWN, headers, self._context.clock(), correlation_id=correlation_id)
        return write_refusal(CALLER_UNKNOWN, Ids(correlation_id), problem=wants_problem(headers.get("accept", "")))

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
