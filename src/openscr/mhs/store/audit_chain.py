"""The adaptor's audit chain: one chain for the whole store, of the same links as those of the service.

Invariants: see `openscr.store.chain`; the chain's head is kept apart from its rows, so that a missing tail shows.

Spec: 50 F22; 35 §7.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import msgspec

from openscr.errors import StoreError
from openscr.mhs.store.interface import RESERVED_NAMES, AuditEntry, AuditRow
from openscr.store.chain import GENESIS, link
from openscr.store.rows import from_microseconds, refused_text, to_microseconds

_SLOT: Final = 0
"""The adaptor has one chain."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode
_decode: Final = msgspec.json.Decoder(dict[str, str]).decode


@dataclass(frozen=True, slots=True)
class Head:
    """Where the chain ends."""

    sequence: int = 0
    hash: bytes = GENESIS


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A record as an engine keeps it: ``occurred_at`` in microseconds since 1970, ``content`` canonical JSON."""

    sequence: int
    occurred_at: int
    content: bytes
    hash: bytes


def check_names(entry: AuditEntry) -> None:
    """See that a record could be appended. Raises: `StoreError` when its content bears a reserved name."""
    if reserved := RESERVED_NAMES.intersection(entry.content):
        raise StoreError(f"an audit record may not name anything {', '.join(sorted(reserved))}: rows are called so")


def forge(head: Head, entry: AuditEntry) -> StoredRecord:
    """Return the record that follows a head. Raises: `StoreError` when its content may not be kept."""
    check_names(entry)
    try:
        content = _encode(entry.content)
    except UnicodeEncodeError as error:
        raise refused_text() from error
    sequence, occurred_at = head.sequence + 1, to_microseconds(entry.occurred_at)
    return StoredRecord(sequence, occurred_at, content, link(head.hash, _SLOT, sequence, occurred_at, None, content))


def read_record(record: StoredRecord) -> AuditRow:
    """Return a record as the audit shows it. Raises: `StoreError` when it is damaged."""
    try:
        occurred_at: datetime = from_microseconds(record.occurred_at)
        return AuditRow(record.sequence, AuditEntry(occurred_at, _decode(record.content)), record.hash)
    except (msgspec.MsgspecError, OverflowError) as error:
        raise StoreError(f"audit record {record.sequence} is damaged") from error


class Verification:
    """Follows the chain record by record; ``broken`` is the sequence number of the first that does not fit."""

    def __init__(self) -> None:
        self._head = Head()
        self.broken: int | None = None

    def follow(self, records: Iterable[StoredRecord]) -> None:
        """Check the next records, in their order."""
        for record in records:
            if self.broken is not None:
                return
            expected = self._head.sequence + 1
            hash = link(self._head.hash, _SLOT, record.sequence, record.occurred_at, None, record.content)
            if record.sequence != expected or record.hash != hash:
                self.broken = expected
            self._head = Head(record.sequence, hash)

    def finish(self, head: Head) -> int | None:
        """Return what was found, once every record was followed and the kept head is known."""
        if self.broken is None and head != self._head:
            self.broken = (
                min(head.sequence, self._head.sequence) + 1 if head.sequence != self._head.sequence else (head.sequence)
            )
        return self.broken
