"""Answers that go out late, changed, slowly or not to their end, as a treatment asks. Spec: 40 §6.4; 50 §14.4."""

import asyncio
import contextlib
from dataclasses import replace

from starlette.types import Receive, Scope, Send

from openscr.faces.spine.exchange import Reply, write_head
from openscr.faces.spine.interference import Treatment

_BEAT = 0.1
"""Seconds between the pieces of a slow answer."""


async def send_treated(scope: Scope, receive: Receive, send: Send, reply: Reply, treatment: Treatment) -> None:
    """Send an answer in the way that a treatment asks for, unless the client goes away first."""
    if treatment.hold and await _gone(receive, treatment.hold):
        return
    if treatment.drop == "before":
        _end(scope)
        return
    body = treatment.edit(reply.body)
    media_type = treatment.content_type.encode("latin-1") or reply.content_type
    status = treatment.answer_status or reply.status
    await send(write_head(replace(reply, status=status, body=body, content_type=media_type)))
    if treatment.drop == "middle":
        await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
        _end(scope)
        return
    if treatment.bytes_per_second:
        size = max(1, int(treatment.bytes_per_second * _BEAT))
        while len(body) > size:
            await send({"type": "http.response.body", "body": body[:size], "more_body": True})
            body = body[size:]
            if await _gone(receive, _BEAT):
                return
    await send({"type": "http.response.body", "body": body})


async def _gone(receive: Receive, seconds: float) -> bool:
    """Wait; return at once and true when the client closes the connection meanwhile."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
            return True
    return False


def _end(scope: Scope) -> None:
    """Close the connection without another byte; the listeners of test environments let us."""
    scope["extensions"]["end"]["connection"]()
