"""The body of a request: read within its limit, and unpacked within the same.

Spec: 50 §11, F10; 40 §5.1.
"""

import asyncio
import zlib
from collections.abc import Mapping
from typing import Final

from starlette.types import Receive

from openscr.mhs.inbound.answers import NOT_GZIP, UNKNOWN_ENCODING, Refused

LARGEST: Final = 104_857_600
"""Bytes of a body, packed or not."""

_GZIP: Final = 16 + zlib.MAX_WBITS


class BodyTooLarge(Exception):
    """The body is over the limit; the rest of it was not read."""


class BodyCutOff(Exception):
    """The body ended before its announced length."""


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int = LARGEST) -> bytes:
    """Read a body as it was before it was packed.

    Raises: `BodyTooLarge`, `BodyCutOff`, `Refused` when it is packed otherwise than it says.
    """
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BodyCutOff
        piece: bytes = message.get("body", b"")
        size += len(piece)
        if size > limit:
            raise BodyTooLarge
        pieces.append(piece)
        more = message.get("more_body", False)
    body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
    match headers.get(b"content-encoding", b"").strip().lower():
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            # On a thread: a small body may be a large one packed, and others need not wait for it.
            return await asyncio.to_thread(unpack, body, limit)
    raise Refused(415, UNKNOWN_ENCODING)


def unpack(packed: bytes, limit: int) -> bytes:
    """Unpack gzip of one member, as HTTP clients write it; never more than ``limit`` bytes are made.

    Raises: `BodyTooLarge`, `Refused`.
    """
    member = zlib.decompressobj(_GZIP)
    try:
        unpacked = member.decompress(packed, limit + 1)
    except zlib.error:
        raise Refused(400, NOT_GZIP) from None
    if len(unpacked) > limit:
        raise BodyTooLarge
    if not member.eof or member.unused_data:
        raise Refused(400, NOT_GZIP)
    return unpacked
