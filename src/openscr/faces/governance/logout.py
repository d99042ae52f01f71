"""``POST /governance/backchannel-logout``: an identity provider tells that a session has ended.

Nobody signs in here: the logout token itself says who sends it. Spec: 35 §4.2; Back-Channel Logout 1.0 §2.5, §2.8.
"""

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs

import structlog
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from openscr.access.refusals import RequestRefused
from openscr.access.sessions import LogoutReceiver
from openscr.errors import StoreError
from openscr.faces.governance.exchange import read_body
from openscr.faces.governance.refusals import STORE_UNAVAILABLE, invalid, refuse, too_large, wrong_content_type
from openscr.identifiers import UuidFactory
from openscr.record.record import Record
from openscr.spine import AckType, Caller, MessageIds, Outcome

_log = structlog.get_logger("governance")

LARGEST_BODY: Final = 32_768
FORM: Final = "application/x-www-form-urlencoded"
_NO_TOKEN: Final = invalid("A form with the one field logout_token is expected")


class LogoutEndpoint:
    """Takes logout tokens; each one that does not count is audited, as long as ``audits_stranger`` says so."""

    def __init__(
        self, receiver: LogoutReceiver, record: Record, mint: UuidFactory, audits_stranger: Callable[[], bool]
    ) -> None:
        self._receiver = receiver
        self._record = record
        self._mint = mint
        self._audits_stranger = audits_stranger

    def route(self, prefix: str) -> Route:
        """Return the route to mount."""
        self._interaction = f"POST {prefix}/backchannel-logout"
        return Route(f"{prefix}/backchannel-logout", self._answer, methods=["POST"])

    async def _answer(self, request: Request) -> Response:
        caller = Caller("", "", address=request.client.host if request.client else None)
        ids = MessageIds("", self._interaction, correlation_id=self._mint())
        try:
            try:
                session = await self._receiver.receive(await _token(request))
            except RequestRefused as refused:
                if self._audits_stranger():
                    await self._keep(caller, ids, AckType.REJECTED, refused.refusal.reason)
                _log.info("logout refused", reason=refused.refusal.reason, correlation_id=ids.correlation_id)
                return _uncached(refuse(refused.refusal))
            await self._keep(caller, ids, AckType.ACCEPTED, f"session_ended {session}")
        except StoreError as error:
            _log.error("store failed", error=error.code, correlation_id=ids.correlation_id)
            return _uncached(refuse(STORE_UNAVAILABLE))
        except ClientDisconnect:
            return Response(status_code=400)
        return _uncached(Response(status_code=200))

    async def _keep(self, caller: Caller, ids: MessageIds, ack: AckType, reason: str) -> None:
        await self._record.audit_refusal(caller, ids, Outcome(ack), reason=reason, nhs_number=None)


async def _token(request: Request) -> str:
    """Return the logout token of a form. Raises: `RequestRefused`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise RequestRefused(wrong_content_type(FORM))
    body = await read_body(request, LARGEST_BODY)
    if body is None:
        raise RequestRefused(too_large(LARGEST_BODY))
    try:
        fields = parse_qs(body.decode("ascii"), strict_parsing=True, max_num_fields=8)
    except (UnicodeDecodeError, ValueError):
        raise RequestRefused(_NO_TOKEN) from None
    tokens = fields.get("logout_token", [])
    if len(tokens) != 1:
        raise RequestRefused(_NO_TOKEN)
    return tokens[0]


def _uncached(response: Response) -> Response:
    response.headers["Cache-Control"] = "no-store"
    return response
