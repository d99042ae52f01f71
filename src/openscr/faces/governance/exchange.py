"""What a route of the governance face is given and gives: an authenticated request, a JSON answer.

Spec: 35 §9.1; 60 §3.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from openscr.access.refusals import RequestRefused
from openscr.faces.governance.refusals import invalid, wrong_content_type
from openscr.spine import Caller, MessageIds, Session

JSON = "application/json"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request whose sender is known. ``caller`` always has a `Session`; ``session`` is it.

    ``ids`` name the route (``GET /governance/session``), the request id and the correlation id, for verbs and audit.
    ``path`` are the parameters of the path, ``query`` those after it.
    """

    caller: Caller
    session: Session
    ids: MessageIds
    body: bytes = field(repr=False)
    content_type: str
    path: Mapping[str, str]
    query: Mapping[str, str]

    def read(self, form: type[T]) -> T:
        """Return the body, read as ``form``. Raises: `RequestRefused`: 400 or 415, and says what is wrong."""
        if self.content_type.partition(";")[0].strip().lower() != JSON:
            raise RequestRefused(wrong_content_type(JSON))
        try:
            return msgspec.json.decode(self.body, type=form)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            told = _without_values(str(error)) if isinstance(error, msgspec.ValidationError) else "The body is not JSON"
            raise RequestRefused(invalid(told)) from None


def _without_values(told: str) -> str:
    """Return what is wrong with a body, with names of ours and what they should be; never with what was sent.

    Whoever mistakes one member for another may have put a patient's number or name there.
    """
    for beginning in ("Invalid enum value", "Invalid value"):
        if told.startswith(beginning):
            _, at, place = told.rpartition(" - at ")
            return f"{beginning}{at}{place}"
    unknown = "Object contains unknown field"
    return unknown if told.startswith(unknown) else told


Handler = Callable[[Asked], Awaitable[Response]]
"""Answers an authenticated request. What it raises as `RequestRefused` is audited and answered by the face."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path, and what answers it. ``path`` may have parameters as Starlette writes them."""

    method: str
    path: str
    handler: Handler


def respond(value: Any, status: int = 200) -> Response:
    """Make an answer in JSON of anything that msgspec can write."""
    return Response(msgspec.json.encode(value), status, media_type=JSON)


async def read_body(request: Request, limit: int) -> bytes | None:
    """Return the body; none when it is over ``limit`` bytes. Raises: `starlette.requests.ClientDisconnect`."""
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        return None
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)
