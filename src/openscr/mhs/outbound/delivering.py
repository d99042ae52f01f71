"""An answer on its way to a caller who may have gone: whether it was there to the end of it.

Spec: 50 §2.7, F3.
"""

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Send


async def end_of_connection(receive: Receive) -> None:
    """Wait until the caller has gone; nothing more may be to be read of its request."""
    await receive()


async def deliver(response: Response, gone: asyncio.Task[None], send: Send) -> bool:
    """Send an answer; return whether the caller was there to the end of it, as far as this end can know.

    The listener must count a caller who closes its side as gone: ``Limits(half_open=False)``.
    """
    if gone.done():
        return False
    try:
        await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
        # Not the last piece yet: after that the server reports an end of its own, which tells nothing. The piece
        # without bytes waits until the one before it has been taken off our hands.
        await send({"type": "http.response.body", "body": response.body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        delivered = not gone.done()
        await send({"type": "http.response.body"})
    except OSError:
        return False
    return delivered
