"""The governance face as routes of the web listener: who asks is settled before any of its routes is entered.

Every route is an `Endpoint`: a method, a path, a handler that gets the authenticated request. Whatever refuses on the
way there, and whatever a handler refuses with `RequestRefused`, is audited and answered here. Answers are never cached.

Order of the checks: ids of the request, who asks, application or user, method, body.

Spec: 35 §4.4, §9.1; 60 §3, §4.
"""

from collections import defaultdict
from collections.abc import Iterable
from time import perf_counter
from typing import Final

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import Receive, Scope, Send

from openscr.access.authentication import Authenticator
from openscr.access.rate import Minutes
from openscr.access.refusals import Refusal, RequestRefused, invalid_header, refuse_application
from openscr.access.sessions import LogoutReceiver
from openscr.errors import StoreError
from openscr.faces.governance.exchange import Asked, Endpoint, Handler, read_body, respond
from openscr.faces.governance.logout import LogoutEndpoint
from openscr.faces.governance.refusals import (
    HEADERS,
    STORE_UNAVAILABLE,
    not_found,
    refuse,
    too_large,
    unexpected,
    wrong_method,
)
from openscr.identifiers import UuidFactory, is_uuid, mint_uuid
from openscr.metrics import Metrics
from openscr.record.record import Record
from openscr.spine import AckType, Caller, MessageIds, Outcome

_log = structlog.get_logger("governance")

PREFIX: Final = "/governance"
TOO_MANY: Final = 429
LARGEST_BODY: Final = 262_144
"""Bytes of a request body."""

CORRELATION: Final = "X-Correlation-ID"
REQUEST: Final = "X-Request-ID"
STRANGERS_A_MINUTE: Final = 600
"""Refusals of strangers that are audited: anybody who reaches the port can cause them, and must not fill the store."""

_UUID_PATTERN: Final = "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"


class GovernanceFace:
    """The routes under ``/governance``. ``endpoints`` are those of the rooms beside this module.

    ``logout`` takes the logout tokens of identity providers; none leaves that route out.
    """

    def __init__(
        self,
        authenticator: Authenticator,
        record: Record,
        metrics: Metrics,
        endpoints: Iterable[Endpoint] = (),
        *,
        logout: LogoutReceiver | None = None,
        mint: UuidFactory = mint_uuid,
    ) -> None:
        self.authenticator = authenticator
        self.record = record
        self.metrics = metrics
        self.mint = mint
        self._endpoints = (Endpoint("GET", f"{PREFIX}/session", self._session), *endpoints)
        self._logout = logout
        self._strangers = Minutes()

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener."""
        places: defaultdict[str, dict[str, Handler]] = defaultdict(dict)
        for endpoint in self._endpoints:
            places[endpoint.path][endpoint.method] = endpoint.handler
        routes: list[BaseRoute] = [Route(path, _Place(self, path, handlers)) for path, handlers in places.items()]
        if self._logout is not None:
            routes.append(LogoutEndpoint(self._logout, self.record, self.mint, self.audits_stranger).route(PREFIX))
        routes.append(Mount(PREFIX, _nowhere))
        return routes

    async def _session(self, asked: Asked) -> Response:
        """Tell who the token says is asking. Spec: 35 §9.1 items 3 and 4."""
        session, caller = asked.session, asked.caller
        return respond(
            {
                "user_id": session.user_id,
                "name": session.name,
                "role": {
                    "role_profile_id": session.role.role_profile_id,
                    "job_role": session.role.job_role,
                    "organisation": session.role.ods,
                    "activities": sorted(session.role.activities),
                },
                "assurance_level": session.assurance_level,
                "methods": session.methods,
                "issuer": session.issuer,
                "system": {"asid": caller.asid, "party_key": caller.party_key},
            }
        )

    async def audit(self, caller: Caller, ids: MessageIds, refusal: Refusal) -> None:
        """Keep that a request was refused, and why. Raises: `StoreError`. Spec: 35 §7, §9.4.

        Of those who do not say who they are, or ask too often, no more than `STRANGERS_A_MINUTE` are kept.
        """
        if (not caller.asid or refusal.status == TOO_MANY) and not self.audits_stranger():
            return
        await self.record.audit_refusal(caller, ids, Outcome(AckType.REJECTED), reason=refusal.reason, nhs_number=None)

    def audits_stranger(self) -> bool:
        """Whether one more refusal of a stranger is audited; if not, log and figures have to do."""
        count = self._strangers.count()
        if count == STRANGERS_A_MINUTE + 1:
            _log.warning("further refusals of strangers in this minute are not audited", audited=STRANGERS_A_MINUTE)
        return count <= STRANGERS_A_MINUTE


class _Place:
    """One path: an ASGI application for all its methods."""

    def __init__(self, face: GovernanceFace, path: str, handlers: dict[str, Handler]) -> None:
        self._face = face
        self._path = path
        self._handlers = handlers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        started = perf_counter()
        request = Request(scope, receive)
        correlation_id, request_id, faulty = _ids(request, self._face.mint)
        method = request.method if request.method in _METHODS else "OTHER"
        ids = MessageIds("", f"{method} {self._path}", request_id, correlation_id)
        try:
            response, reason = await self._answer(request, ids, faulty)
        except ClientDisconnect:
            return
        response.headers[CORRELATION] = correlation_id
        response.headers[REQUEST] = request_id
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        if response.status_code == 405:
            response.headers["Allow"] = ", ".join(sorted(self._handlers))
        await response(scope, receive, send)
        outcome = reason or str(response.status_code)
        _log.info("answered", interaction=ids.interaction, outcome=outcome, correlation_id=correlation_id)
        self._face.metrics.request("governance", ids.interaction, outcome, perf_counter() - started)

    async def _answer(self, request: Request, ids: MessageIds, faulty: Refusal | None) -> tuple[Response, str]:
        """Return the answer, and the reason of a refusal; whatever goes wrong becomes an answer here."""
        face = self._face
        try:
            try:
                return await self._handle(request, ids, faulty), ""
            except RequestRefused as refused:
                caller = refused.caller or Caller("", "", address=request.client.host if request.client else None)
                await face.audit(caller, ids, refused.refusal)
                return refuse(refused.refusal), refused.refusal.reason
        except StoreError as error:
            _log.error("store failed", error=error.code, correlation_id=ids.correlation_id)
            return refuse(STORE_UNAVAILABLE), STORE_UNAVAILABLE.reason
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 the one place where nothing may escape
            # The error's own text could hold patient data.
            _log.error("request failed", error=type(error).__name__, correlation_id=ids.correlation_id)
            refusal = unexpected(ids.correlation_id)
            return refuse(refusal), refusal.reason

    async def _handle(self, request: Request, ids: MessageIds, faulty: Refusal | None) -> Response:
        if faulty is not None:
            raise RequestRefused(faulty)
        address = request.client.host if request.client else None
        caller = await self._face.authenticator.authenticate(request.scope["headers"], address)
        if caller.session is None:
            # Nothing here is for applications alone; its paths are none of those that are.
            refusal = refuse_application(request.method, self._path)
            raise RequestRefused(refusal or wrong_method(request.method), caller)
        handler = self._handlers.get(request.method)
        if handler is None:
            raise RequestRefused(wrong_method(ids.interaction.partition(" ")[0]), caller)
        body = await read_body(request, LARGEST_BODY)
        if body is None:
            raise RequestRefused(too_large(LARGEST_BODY), caller)
        asked = Asked(
            caller=caller,
            session=caller.session,
            ids=ids,
            body=body,
            content_type=request.headers.get("content-type", ""),
            path={name: str(value) for name, value in request.path_params.items()},
            query=dict(request.query_params),
        )
        try:
            return await handler(asked)
        except RequestRefused as refused:
            refused.caller = refused.caller or caller
            raise


_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def _ids(request: Request, mint: UuidFactory) -> tuple[str, str, Refusal | None]:
    """Return correlation id and request id, ours for what is missing or wrong, and the refusal of a wrong one.

    Spec: 60 §3.1, §3.3.
    """
    ids: list[str] = []
    faulty: Refusal | None = None
    for name in (CORRELATION, REQUEST):
        value = request.headers.get(name, "")
        if is_uuid(value):
            ids.append(value)
            continue
        if value and faulty is None:
            faulty = invalid_header(name, f'Invalid {name}. Should be a UUIDv4 matching "{_UUID_PATTERN}"')
        ids.append(mint())
    return ids[0], ids[1], faulty


async def _nowhere(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer whatever stands at no path of ours; the path itself is not repeated."""
    await refuse(not_found())(scope, receive, send)
