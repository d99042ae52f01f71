"""The audit chain of a slot: what an entry's bytes are, and the hash that ties it to the one before.

Invariant: ``hash(n) = SHA-256(hash(n - 1) + everything stored in row n)``, with `GENESIS` before the first row, so that
a changed, missing, added or moved row breaks every hash from there on; the chain's head (last sequence and hash) is
kept apart from the rows, so that a missing tail shows as well. The same bytes are hashed on every engine.

Spec: 35 §7; engine.md "chain row".
"""

from hashlib import sha256
from struct import Struct
from typing import Final

import msgspec

from openscr.store.interface import AuditEntry, AuditRow
from openscr.store.rows import from_microseconds

GENESIS: Final = bytes(32)
"""The hash before the first row of a chain."""

# Previous hash, slot, sequence, microseconds, length of the number that follows (one more than it is; 0 for none).
_HEAD = Struct(">32sHQqB")


class _Content(msgspec.Struct, frozen=True):
    action: str
    outcome: str
    content: dict[str, str]


_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder(_Content).decode


def write_content(entry: AuditEntry) -> bytes:
    """Write what an entry says beside its time and number: canonical JSON, keys in order."""
    return _encode({"action": entry.action, "content": dict(entry.content), "outcome": entry.outcome})


def link(previous: bytes, slot: int, sequence: int, occurred_at: int, nhs_number: str | None, content: bytes) -> bytes:
    """Return the hash of a row; ``occurred_at`` in microseconds since 1970, ``sequence`` from 1 on."""
    number = b"" if nhs_number is None else nhs_number.encode()
    length = 0 if nhs_number is None else len(number) + 1
    return sha256(_HEAD.pack(previous, slot, sequence, occurred_at, length) + number + content).digest()


def read_row(
    slot: int, sequence: int, occurred_at: int, nhs_number: str | None, content: bytes, hash: bytes
) -> AuditRow:
    """Return a stored row as the audit shows it. Raises: `msgspec.DecodeError` when the content is damaged."""
    read = _decode(content)
    entry = AuditEntry(from_microseconds(occurred_at), read.action, read.outcome, nhs_number, read.content)
    return AuditRow(slot, sequence, entry, hash)
