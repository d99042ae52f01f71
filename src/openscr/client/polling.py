"""The polling channel: an upload is posted, its acknowledgement fetched from the place that the service names.

Invariant: a post that may or may not have arrived is repeated with the same bytes; the service recognises it and leads
to the result of the first one, so that nothing is ever stored twice.

Spec: 40 §7.6.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

from openscr.client.connection import Connection, HttpReply, NoAnswer
from openscr.client.reliable import Monotonic, ReliableMessage, refused
from openscr.errors import DeliveryError, RetriesExhausted
from openscr.spine import Caller
from openscr.transport.mime import CLIENT_CONTENT_TYPE
from openscr.transport.polling import (
    ASID_HEADER,
    CORRELATION_HEADER,
    NEXT_RETRY_AFTER,
    REQUEST_HEADER,
    ROLE_HEADER,
    USER_HEADER,
    read_result,
)
from openscr.transport.verdict import Verdict, judge

POLLING_SECONDS: Final = 50.0
"""Seconds that a client waits for one result. Spec: 40 §7.6."""

OPERATION_SECONDS: Final = 60.0
"""Seconds that the whole upload may take."""

_log = logging.getLogger("openscr.client")

Pause = Callable[[float], Awaitable[None]]
"""Waits some seconds."""


def polling_headers(caller: Caller, *, correlation_id: str, request_id: str) -> dict[str, str]:
    """Return the headers that go with every request of an upload. Spec: 40 §7.6."""
    headers = {ASID_HEADER: caller.asid, CORRELATION_HEADER: correlation_id, REQUEST_HEADER: request_id}
    if caller.person is not None:
        headers |= {USER_HEADER: caller.person.user_id, ROLE_HEADER: caller.person.role_profile_id}
    return headers


async def upload_and_poll(
    connection: Connection,
    message: ReliableMessage,
    headers: dict[str, str],
    *,
    monotonic: Monotonic = time.monotonic,
    pause: Pause = asyncio.sleep,
) -> tuple[int, bytes]:
    """Post until the service has the message, then ask for its result; return the posts made, and the HL7 answer.

    Raises: `AccessRefused` and `DeliveryError` when the service refuses it for good; `WireError` for a result that
    cannot be read; `RetriesExhausted` when no result came in time: the message may or may not have been processed.
    """
    upload = _Upload(connection, message, headers, monotonic, pause)
    while True:
        place = await upload.post()
        answer = await upload.poll(*place)
        if answer is not None:
            return upload.posts, answer


class _Upload:
    """One upload under way. ``posts`` is how often it was posted."""

    def __init__(
        self,
        connection: Connection,
        message: ReliableMessage,
        headers: dict[str, str],
        monotonic: Monotonic,
        pause: Pause,
    ) -> None:
        self.posts = 0
        self._connection = connection
        self._message = message
        self._headers = headers
        self._monotonic = monotonic
        self._pause = pause
        self._end = monotonic() + OPERATION_SECONDS

    async def post(self) -> tuple[str, float]:
        """Post until the service says where the result will be; return that, and the seconds to wait before."""
        headers = {
            **self._headers,
            "SOAPAction": f'"{self._message.soap_action}"',
            "Content-Type": CLIENT_CONTENT_TYPE,
        }
        path = self._message.route.path
        while True:
            self.posts += 1
            try:
                reply = await self._connection.exchange("POST", path, headers, self._message.body)
            except NoAnswer as error:
                reason = error.diagnostics
            else:
                if reply.status == 202:
                    return _place_of(reply), _wait_of(reply)
                result = judge(reply.status, reply.body, self._message.message_id)
                if result.verdict is not Verdict.RETRY:
                    raise refused(result) if result.verdict is Verdict.REFUSED else DeliveryError(_unexpected(reply))
                reason = result.reason
            await self._wait(NEXT_RETRY_AFTER / 1000, self._end, reason)

    async def poll(self, place: str, wait: float) -> bytes | None:
        """Ask for the result until it is given; none when the service no longer knows of it: then post again."""
        end = min(self._end, self._monotonic() + POLLING_SECONDS)
        reason = "the result is not ready"
        while True:
            await self._wait(wait, end, reason)
            try:
                reply = await self._connection.exchange("GET", place, self._headers)
            except NoAnswer as error:
                reason, wait = error.diagnostics, NEXT_RETRY_AFTER / 1000
                continue
            if reply.status == 200:
                return read_result(reply.headers.get("content-type"), reply.body)
            if reply.status == 404:
                _log.warning("message %s: the result has gone, posted again", self._message.message_id)
                await self._wait(NEXT_RETRY_AFTER / 1000, self._end, "the result has gone")
                return None
            if reply.status == 202:
                reason, wait = "the result is not ready", _wait_of(reply)
                continue
            result = judge(reply.status, reply.body, self._message.message_id)
            if result.verdict is not Verdict.RETRY:
                raise refused(result)
            reason, wait = result.reason, NEXT_RETRY_AFTER / 1000

    async def _wait(self, seconds: float, end: float, reason: str) -> None:
        if self._monotonic() + seconds > end:
            raise RetriesExhausted(f"no result in time, in {self.posts} attempts: {reason}")
        await self._pause(seconds)


def _place_of(reply: HttpReply) -> str:
    place = reply.headers.get("content-location", "")
    if not place.startswith("/") or place.startswith("//"):
        raise DeliveryError("accepted, but the answer does not say where the result will be")
    return place


def _wait_of(reply: HttpReply) -> float:
    """Return the seconds to wait; the header is in milliseconds on this channel."""
    value = reply.headers.get("retry-after", "")
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise DeliveryError("accepted, but the answer does not say when to ask for the result")
    return int(value) / 1000


def _unexpected(reply: HttpReply) -> str:
    return f"unexpected answer: HTTP {reply.status}"
