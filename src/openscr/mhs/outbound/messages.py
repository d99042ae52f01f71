"""What has become of messages: one by its id, many by status and time; and a failed one sent again.

Spec: 50 §6, F19.
"""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openscr.errors import StoreError
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.outbound.answers import CORRELATION_ID, Ids, write_json, write_refusal, written_instant
from openscr.mhs.outbound.callers import caller_of
from openscr.mhs.outbound.header_values import header_value
from openscr.mhs.outbound.negotiation import wants_problem
from openscr.mhs.outbound.refusals import (
    MESSAGE_UNKNOWN,
    NOTHING_KEPT,
    STILL_SENDING,
    STORE_UNAVAILABLE,
    Refused,
    wrong_query,
)
from openscr.mhs.states import InboundStatus, OutboundStatus
from openscr.mhs.store.interface import MessageFilter, MessageRow, SendState, StatusChange, Transaction

LARGEST_PAGE: Final = 1000
RESENT: Final = "resent"
"""Outcome in the audit of a message that is to be sent again."""
_PAGE: Final = 100
_STATUSES: Final = frozenset({*OutboundStatus, *InboundStatus})

_log = structlog.get_logger("mhs.outbound")


class Messages:
    """The routes under ``/messages``."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context

    def routes(self) -> list[Route]:
        """Return the routes; an id may hold slashes."""
        return [
            Route("/messages", self._listing, methods=["GET"]),
            Route("/messages/{message_id:path}/resend", self._resend, methods=["POST"]),
            Route("/messages/{message_id:path}", self._one, methods=["GET"]),
        ]

    async def _one(self, request: Request) -> Response:
        try:
            row = await self._context.store.find_message(request.path_params["message_id"])
            if row is None:
                raise Refused(MESSAGE_UNKNOWN)
            return write_json(message_form(row))
        except (Refused, StoreError) as error:
            return self._refuse(request, error)

    async def _listing(self, request: Request) -> Response:
        try:
            wanted = _filter(request)
            rows = list(await self._context.store.list_messages(replace(wanted, limit=wanted.limit + 1)))
        except (Refused, StoreError) as error:
            return self._refuse(request, error)
        shown, more = rows[: wanted.limit], len(rows) > wanted.limit
        answer: dict[str, Any] = {"messages": [message_form(row) for row in shown]}
        if more:
            query = {name: value for name, value in request.query_params.items() if name != "after"}
            query["after"] = f"{written_instant(shown[-1].created)} {shown[-1].message_id}"
            answer["next"] = f"/messages?{urlencode(query)}"
        return write_json(answer)

    async def _resend(self, request: Request) -> Response:
        message_id = request.path_params["message_id"]
        caller = caller_of(request.scope)
        try:
            row = await self._context.store.transact(lambda transaction: self._reopen(transaction, message_id, caller))
        except (Refused, StoreError) as error:
            return self._refuse(request, error)
        _log.info("to be sent again", message_id=message_id, interaction=row.interaction)
        return write_json(message_form(row), 202)

    async def _reopen(self, transaction: Transaction, message_id: str, caller: str) -> MessageRow:
        """Let a message whose attempts have failed begin anew; whoever sends in the background finds it due."""
        row = await transaction.find_message(message_id)
        if row is None:
            raise Refused(MESSAGE_UNKNOWN)
        sending = await transaction.find_sending(message_id)
        if sending is None:
            raise Refused(NOTHING_KEPT)
        if sending.state is not SendState.FAILED:
            raise Refused(STILL_SENDING)
        now = self._context.clock()
        await transaction.put_sending(
            replace(
                sending, state=SendState.OPEN, attempts=0, first_attempt_at=None, next_attempt_at=now, last_error=""
            )
        )
        again = OutboundStatus.RECEIVED
        row = replace(
            row, outbound_status=again, history=(*row.history, StatusChange(now, again)), last_error="", result=None
        )
        await transaction.put_message(row)
        facts = AuditFacts(
            direction="outbound",
            outcome=RESENT,
            started=now,
            workflow=row.workflow,
            interaction=row.interaction,
            message_id=row.message_id,
            correlation_id=row.correlation_id,
            from_party=row.from_party,
            to_party=row.to_party,
            caller=caller,
        )
        await transaction.append_audit(self._context.audit.entry(facts))
        return row

    def _refuse(self, request: Request, error: Refused | StoreError) -> Response:
        refusal = error.refusal if isinstance(error, Refused) else STORE_UNAVAILABLE
        correlation_id = header_value(request.headers, CORRELATION_ID) or self._context.mint()
        _log.info("refused", path=request.url.path.split("/")[1], code=refusal.code, correlation_id=correlation_id)
        problem = wants_problem(request.headers.get("accept", ""))
        return write_refusal(refusal, Ids(correlation_id), problem=problem)


def message_form(row: MessageRow) -> dict[str, Any]:
    """Return what is told of a message: the fields of 50 §6, and what else is known."""
    return {
        "MESSAGE_ID": row.message_id,
        "CREATED": written_instant(row.created),
        "INBOUND_STATUS": row.inbound_status,
        "OUTBOUND_STATUS": row.outbound_status,
        "WORKFLOW": row.workflow,
        "INTERACTION": row.interaction or None,
        "CORRELATION_ID": row.correlation_id or None,
        "HISTORY": [{"AT": written_instant(each.at), "STATUS": each.status} for each in row.history],
        "LAST_ERROR": row.last_error or None,
    }


def _filter(request: Request) -> MessageFilter:
    query = request.query_params
    status = query.get("status") or None
    if status is not None and status not in _STATUSES:
        raise Refused(wrong_query("status must be one of the statuses that messages can have"))
    after = None
    if said := query.get("after"):
        instant, _, message_id = said.partition(" ")
        after = _instant(instant, "after"), message_id
    since = _instant(said, "since") if (said := query.get("since")) else None
    limit = query.get("limit", str(_PAGE))
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:5]) <= LARGEST_PAGE):
        raise Refused(wrong_query(f"limit must be a number from 1 to {LARGEST_PAGE}"))
    return MessageFilter(status, since, after, int(limit))


def _instant(said: str, name: str) -> datetime:
    try:
        instant = datetime.fromisoformat(said)
        if instant.tzinfo is not None:
            return instant.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Refused(wrong_query(f"{name} must be an instant such as 2026-11-22T14:30:00Z"))
