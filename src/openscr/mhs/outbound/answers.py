"""Answers and refusals put into HTTP: as the reference writes them, or as problem documents.

Spec: 50 §1.3, §1.4, F14, F20.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec
from starlette.responses import Response

from openscr.mhs.exchange import TEXT, Answer
from openscr.mhs.outbound.negotiation import PROBLEM
from openscr.mhs.outbound.refusals import Refusal

CORRELATION_ID: Final = "Correlation-Id"
MESSAGE_ID: Final = "Message-Id"


@dataclass(frozen=True, slots=True)
class Ids:
    """The ids that an answer tells: those in use. ``message_id`` is empty while there is no message."""

    correlation_id: str
    message_id: str = ""
    members: Mapping[str, str] = field(init=False)

    def __post_init__(self) -> None:
        """Work out what a problem document says of them."""
        told = {"correlation_id": self.correlation_id, "message_id": self.message_id}
        object.__setattr__(self, "members", {name: value for name, value in told.items() if value})

    def headers(self) -> dict[str, str]:
        """Return them as headers."""
        named = {CORRELATION_ID: self.correlation_id, MESSAGE_ID: self.message_id}
        return {name: value for name, value in named.items() if value}


def write_refusal(refusal: Refusal, ids: Ids, *, problem: bool) -> Response:
    """Return the answer of a refusal. Without a problem document it tells no Message-Id, as the reference."""
    headers = {**refusal.headers, CORRELATION_ID: ids.correlation_id}
    if problem:
        body = _problem(refusal.status, refusal.code, refusal.reason, ids, errors=refusal.errors)
        return _response(refusal.status, body, PROBLEM, headers)
    return _response(refusal.status, refusal.text.encode(), TEXT, headers)


def write_answer(answer: Answer, ids: Ids, *, problem: bool) -> Response:
    """Return what a workflow has answered; of an error, the document of 50 §1.5 is part of the problem document."""
    if answer.status < 400 or not problem:
        media_type = TEXT if answer.status >= 400 else answer.content_type
        return _response(answer.status, answer.body, media_type, ids.headers())
    document = answer.document or {}
    detail = str(document.get("error_message") or answer.body.decode("utf-8", "replace"))
    body = _problem(
        answer.status,
        "not_exchanged",
        detail,
        ids,
        errors=document.get("errors", ()),
        process_key=document.get("process_key", ""),
    )
    return _response(answer.status, body, PROBLEM, ids.headers())


def write_json(value: Any, status: int = 200) -> Response:
    """Return an answer in JSON."""
    return _response(status, msgspec.json.encode(value), "application/json", {})


def written_instant(instant: datetime) -> str:
    """Write an instant as the reference's tables have it. Spec: 50 §6."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _problem(status: int, code: str, detail: str, ids: Ids, *, errors: Any = (), process_key: str = "") -> bytes:
    """Write a problem document. Spec: RFC 9457 §3."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": _title(status),
        "status": status,
        "detail": detail,
        "code": code,
        **ids.members,
    }
    if process_key:
        document["process_key"] = process_key
    if errors:
        document["errors"] = errors
    return msgspec.json.encode(document)


def _title(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _response(status: int, body: bytes, media_type: str, headers: Mapping[str, str]) -> Response:
    # As a header: the framework adds a charset to the types of text that it is told of.
    return Response(body, status, {"Content-Type": media_type, **headers})
