"""The polling channel's own facts: paths, tokens, pauses, and the form of a result.

A client posts to `UPLOAD_PATH`, is told where its result will stand, and asks there until it is given. ``Retry-After``
is in milliseconds on this channel, contrary to RFC 9110: so the one existing client reads it.

Spec: 40 §7.6, §10.5.
"""

import re
from typing import Final

from openscr.errors import WireError
from openscr.transport.mime import read_multipart

UPLOAD_PATH: Final = "/clinical"
POLL_PREFIX: Final = "/_poll/"

FIRST_RETRY_AFTER: Final = 100
NEXT_RETRY_AFTER: Final = 1000
"""Milliseconds that a client is asked to wait before its first look, and before each later one. Spec: 40 §10.5."""

RESULT_SECONDS: Final = 300
"""How long a result can be fetched. Spec: 40 §7.6 DECISION 17."""

ASID_HEADER: Final = "nhsd-asid"
USER_HEADER: Final = "NHSD-Identity-UUID"
ROLE_HEADER: Final = "NHSD-Session-URID"
CORRELATION_HEADER: Final = "NHSD-Correlation-ID"
REQUEST_HEADER: Final = "NHSD-Request-ID"

_TOKEN: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_TAG: Final = re.compile(rb"<(/?)(?=[A-Za-z_])")
_LINE_ENDS: Final = {
    character.encode(): f"&#{ord(character)};".encode() for character in ("\n", "\r", "\x85", "\u2028", "\u2029")
}
_LINE_END: Final = re.compile(b"|".join(_LINE_ENDS))


def poll_token(slot: int, uuid: str) -> str:
    """Return the token of a result: a UUID whose first three hex digits are the slot of its message."""
    return f"{slot:03x}{uuid[3:].lower()}"


def slot_of_token(token: str) -> int | None:
    """Return the slot that a token names; none when it is not one of ours. ``token`` is in lower case."""
    return int(token[:3], 16) if _TOKEN.match(token) is not None else None


def on_one_line(document: bytes) -> bytes:
    """Write what a regular expression would take for a line end as a character reference; the document stays the same.

    ``document`` is UTF-8 and has white space of its own nowhere but in values. Spec: 40 §7.6.
    """
    return _LINE_END.sub(lambda found: _LINE_ENDS[found.group()], document)


def with_hl7_prefix(document: bytes) -> bytes:
    """Give every element of a message of our own the prefix ``hl7``; it declares its namespace on the root alone.

    Our writers escape ``<`` in every value, so that each one begins a tag. Spec: 40 §10.5.
    """
    return _TAG.sub(rb"<\1hl7:", document).replace(b' xmlns="', b' xmlns:hl7="', 1)


def read_result(content_type: str | None, body: bytes) -> bytes:
    """Return the HL7 payload of a poll result: its second part. Raises: `WireError`. Spec: 40 §5.1, §7.6."""
    multipart = read_multipart(content_type, body)
    if len(multipart.parts) < 2:
        raise WireError("a poll result has two parts")
    return multipart.parts[1].content(body)
