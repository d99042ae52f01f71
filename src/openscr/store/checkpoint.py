"""Checkpoints of the audit: where every chain ended at an instant, and one digest of all of that.

The chains prove that no row was changed, taken away or put between; whoever can write the whole store could still make
all of it anew, heads and all. A checkpoint that is kept elsewhere shows that as well: the chains must still lead
through its heads.

Spec: 35 §7.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from openscr.errors import ConfigurationError
from openscr.identifiers import SLOTS
from openscr.store.interface import ChainHead


class _Head(msgspec.Struct, forbid_unknown_fields=True, array_like=True):
    slot: Annotated[int, Meta(ge=0, lt=SLOTS)]
    sequence: Annotated[int, Meta(ge=1)]
    hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: Literal["openscr-audit-checkpoint/1"]
    made_at: datetime
    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    heads: list[_Head]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The heads of all chains, their digest (SHA-256, hexadecimal), and the file that holds both."""

    heads: tuple[ChainHead, ...]
    digest: str
    content: bytes


def digest_of(heads: Iterable[ChainHead]) -> str:
    """Return one digest of all heads, in the order of slots: slot, sequence and hash of each, a line per head."""
    lines = (f"{head.slot} {head.sequence} {head.hash.hex()}\n" for head in sorted(heads, key=lambda head: head.slot))
    return sha256("".join(lines).encode()).hexdigest()


def make_checkpoint(heads: Iterable[ChainHead], now: datetime) -> Checkpoint:
    """Make a checkpoint of the present heads. Spec: 35 §7."""
    known = tuple(sorted(heads, key=lambda head: head.slot))
    digest = digest_of(known)
    rows = [_Head(head.slot, head.sequence, head.hash.hex()) for head in known]
    file = _File(format="openscr-audit-checkpoint/1", made_at=now, digest=digest, heads=rows)
    return Checkpoint(known, digest, msgspec.json.encode(file) + b"\n")


def read_checkpoint(content: bytes) -> Checkpoint:
    """Read the file of a checkpoint. Raises: `ConfigurationError` when it is none, or does not fit its own digest."""
    try:
        file = msgspec.json.decode(content, type=_File)
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"the checkpoint cannot be read: {error}") from None
    heads = tuple(ChainHead(row.slot, row.sequence, bytes.fromhex(row.hash)) for row in file.heads)
    if digest_of(heads) != file.digest:
        raise ConfigurationError("the checkpoint does not fit its own digest: take another copy of it")
    return Checkpoint(heads, file.digest, content)
