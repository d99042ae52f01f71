"""One Message-Id, one message: for callers who ask for it, what was sent once is not sent again.

Invariant: of all strict requests with one Message-Id, at most one is ever handed to its workflow, also across a crash
and across processes: a row with the request's digest is durable before that. The others get the first answer, once
there is one, or 409.

Spec: 50 F4.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import msgspec
import structlog

from openscr.errors import StoreError
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer, OutboundRequest
from openscr.mhs.outbound.refusals import OTHER_BODY, RESULT_UNKNOWN, Refused
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, Result, StatusChange, Transaction

_log = structlog.get_logger("mhs.outbound")


class Idempotency:
    """Hands on first requests, answers repeated ones."""

    def __init__(self, context: AdaptorContext) -> None:
        self._context = context
        self._under_way: dict[str, tuple[str, asyncio.Future[Answer]]] = {}

    async def send(
        self, request: OutboundRequest, send: Callable[[OutboundRequest], Awaitable[Answer]]
    ) -> tuple[Answer, bool]:
        """Return the answer, and whether it is a first one: ``send`` was asked for it just now.

        Raises: `Refused`: 409, another request had this id, or what became of the first one is not known.
        """
        if request.message_id in self._under_way:
            return await self._share(request), False
        first: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._under_way[request.message_id] = request.digest, first
        try:
            known = await self._context.store.transact(lambda transaction: self._claim(transaction, request))
            if known is not None:
                self._context.figures.duplicate("outbound")
                answer = _answer_of(_result_of(known, request))
                first.set_result(answer)
                return answer, False
            answer = await send(request)
            try:
                await self._context.store.transact(lambda transaction: self._keep(transaction, request, answer))
            except StoreError as error:
                # This caller has an answer all the same; to a repetition it is not known.
                _log.error("the first answer was not kept", error=error.code)
            first.set_result(answer)
            return answer, True
        except BaseException as error:
            first.set_exception(error if isinstance(error, Refused) else Refused(RESULT_UNKNOWN))
            first.exception()  # nobody else may be waiting for it
            raise
        finally:
            del self._under_way[request.message_id]

    async def _share(self, request: OutboundRequest) -> Answer:
        digest, first = self._under_way[request.message_id]
        if digest != request.digest:
            raise Refused(OTHER_BODY)
        return await asyncio.shield(first)

    async def _claim(self, transaction: Transaction, request: OutboundRequest) -> MessageRow | None:
        """Return the message that has this id, none when this request is the first one: it is then in the store."""
        row = await transaction.find_message(request.message_id)
        if row is None:
            now = self._context.clock()
            await transaction.put_message(
                MessageRow(
                    message_id=request.message_id,
                    created=now,
                    workflow=Workflow.SYNC_ASYNC if request.wait else request.workflow,
                    interaction=request.interaction.name,
                    correlation_id=request.correlation_id,
                    outbound_status=OutboundStatus.RECEIVED,
                    history=(StatusChange(now, OutboundStatus.RECEIVED),),
                    digest=request.digest,
                )
            )
        return row

    async def _keep(self, transaction: Transaction, request: OutboundRequest, answer: Answer) -> None:
        row = await transaction.find_message(request.message_id)
        if row is not None:
            result = Result(answer.status, answer.content_type, answer.body)
            await transaction.put_message(replace(row, result=result, digest=request.digest))


class _ErrorDocument(msgspec.Struct):
    """What a workflow tells of the Spine's errors; anything else in a body is the Spine's own. Spec: 50 §1.5."""

    error_message: str
    process_key: str
    errors: list[dict[str, Any]]


def _result_of(known: MessageRow, request: OutboundRequest) -> Result:
    """Return what a repeated request was answered the first time. Raises: `Refused`."""
    if known.digest != request.digest:
        raise Refused(OTHER_BODY)
    if known.result is None:
        raise Refused(RESULT_UNKNOWN)
    return known.result


def _answer_of(result: Result) -> Answer:
    """Return a first answer again; an error document stands in its body."""
    document = None
    if result.status >= 400:
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            document = msgspec.to_builtins(msgspec.json.decode(result.body, type=_ErrorDocument))
    return Answer(result.status, result.body, result.content_type, document)
