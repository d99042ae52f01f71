"""The file of a backup: everything that a store holds, the same whichever engine it came from.

A line that says what it is, then blocks: length (four bytes, big-endian), SHA-256 of the digest before and the block,
the block. A block is a zstandard frame of one value in MessagePack: first a `Head`, then `Piece` after `Piece`, last an
`_End`. The digests are a chain, so a block that was changed, left out or moved is found, and the end is missed.

Invariant: under the name of a backup there is a whole one; until it is whole its name ends in ``.part``.

Spec: 90 §6.1; 00 §4 ``admin backup``.
"""

import asyncio
import errno
import fcntl
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Final, Self

import msgspec
import zstandard

from openscr.errors import ConfigurationError, StoreError, StoreFull
from openscr.store.copying import Piece, Snapshot, Source
from openscr.store.tables import Table

MAGIC: Final = b"openscr-backup/1\n"
LEVEL: Final = 3
_BLOCK_LIMIT: Final = 1024 * 1024 * 1024
_LENGTH: Final = 4
_DIGEST: Final = 32
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


_encode = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, frozen=True, kw_only=True, tag="head"):
    """What is in a backup: when the state was that of the store, by which program and engine, and what there is."""

    made_at: datetime
    program: str
    engine: str
    snapshot: Snapshot


class _End(msgspec.Struct, frozen=True, tag="end"):
    rows: dict[str, int]


_decode = msgspec.msgpack.Decoder(Head | Piece | _End).decode


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: the file, its bytes, and the rows in it."""

    path: Path
    size: int
    rows: int


# --- writing ----------------------------------------------------------------------------------------------------------


class _BlockWriter:
    """Appends blocks to an open file."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._compress = zstandard.ZstdCompressor(level=LEVEL).compress
        self._digest = b""

    def write(self, block: Head | Piece | _End) -> None:
        """Append a block."""
        frame = self._compress(_encode(block))
        self._digest = sha256(self._digest + frame).digest()
        self._file.write(len(frame).to_bytes(_LENGTH) + self._digest + frame)


async def write_backup(source: Source, head: Head, path: Path, progress: Callable[[int], None]) -> Written:
    """Write everything of a source to a new file, for its owner alone; it is on disk when this returns.

    ``progress`` is told how many rows more were written. Raises: `ConfigurationError` when the file cannot be made;
    `StoreFull` when there is no space for it.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        file = _open_alone(path, partial)
    except OSError as error:
        raise ConfigurationError(f"the backup {path} cannot be written: {error.strerror}") from error
    try:
        with file:
            size = await _write(source, head, file, progress)
            os.rename(partial, path)
    except BaseException as error:
        with suppress(OSError):
            partial.unlink()
        if isinstance(error, OSError) and error.errno in _FULL:
            raise StoreFull(f"no space left for the backup {path}; nothing of it was kept") from error
        raise
    _sync_folder(path.parent)
    return Written(path, size, source.snapshot.rows)


def _open_alone(path: Path, partial: Path) -> BinaryIO:
    """Open what becomes a backup; what a program that was killed has left there is overwritten."""
    file = os.fdopen(os.open(partial, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o600), "r+b")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Only who holds the lock gives a backup its name, so from here on nobody does; until here somebody may have,
        # and then this is it.
        if not _is_at(file, partial):
            raise _there_already(path)
        if os.path.lexists(path):
            partial.unlink()
            raise _there_already(path)
        os.fchmod(file.fileno(), 0o600)
        file.truncate()
    except BaseException as error:
        file.close()
        if isinstance(error, BlockingIOError):
            raise ConfigurationError(f"another backup is being written to {partial}; let it finish") from error
        raise
    return file


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _there_already(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} is there already; name another file, a backup never replaces one")


async def _write(source: Source, head: Head, file: BinaryIO, progress: Callable[[int], None]) -> int:
    file.write(MAGIC)
    blocks = _BlockWriter(file)
    blocks.write(head)
    rows = dict.fromkeys((table.name for table in source.snapshot.tables), 0)
    for part in source.snapshot.parts():
        async for piece in source.pieces(part):
            await asyncio.to_thread(blocks.write, piece)
            rows[piece.table] += len(piece.rows)
            progress(len(piece.rows))
    if rows != source.snapshot.counts:
        raise StoreError("the store did not hold still while it was read; nothing of the backup was kept")
    blocks.write(_End(rows))
    file.flush()
    await asyncio.to_thread(os.fsync, file.fileno())
    return file.tell()


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on disk as well."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# --- reading ----------------------------------------------------------------------------------------------------------


class BackupFile:
    """A backup that is read, for as long as the ``with`` lasts. Every block is held against its digest."""

    head: Head

    def __init__(self, path: Path) -> None:
        self.path = path
        self._tables: dict[str, Table] = {}
        self._digest = b""
        # The part that was asked for last, and the first piece that was read beyond it.
        self._asked = (-1, -1)
        self._next: Piece | None = None

    def __enter__(self) -> Self:
        """Open the file and read what is in it. Raises: `ConfigurationError` when it is no backup."""
        try:
            self._file = self.path.open("rb")
        except OSError as error:
            raise ConfigurationError(f"the backup {self.path} cannot be read: {error.strerror}") from error
        try:
            self._rewind()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    @property
    def snapshot(self) -> Snapshot:
        """What there is."""
        return self.head.snapshot

    async def pieces(self, part: range) -> AsyncIterator[Piece]:
        """Return the rows of a part; an earlier part than the last one is read from the beginning again.

        Raises: `StoreError` when the backup is damaged.
        """
        if (part.start, part.stop) <= self._asked:
            await asyncio.to_thread(self._rewind)
        self._asked = (part.start, part.stop)
        while isinstance(self._next, Piece) and self._next.end <= part.stop:
            piece = self._next
            self._next = await asyncio.to_thread(self._read_piece)
            if piece.slots == part:
                yield piece

    def _rewind(self) -> None:
        self._file.seek(0)
        if self._file.read(len(MAGIC)) != MAGIC:
            raise ConfigurationError(f"{self.path} is not a backup of ours; name a file that `admin backup` made")
        self._digest = b""
        head = self._read_block()
        if not isinstance(head, Head):
            raise self._damaged("it does not begin as backups do")
        self.head = head
        self._tables = {table.name: table for table in head.snapshot.tables}
        self._rows = dict.fromkeys(self._tables, 0)
        self._asked = (-1, -1)
        self._next = self._read_piece()

    def _read_piece(self) -> Piece | None:
        """Return the next piece, none at the end, after which nothing may come."""
        block = self._read_block()
        if isinstance(block, Piece):
            table = self._tables.get(block.table)
            if table is None or any(len(row) != len(table.columns) for row in block.rows):
                raise self._damaged("it holds rows of no table that it names")
            self._rows[block.table] += len(block.rows)
            return block
        if not isinstance(block, _End) or not self._rows == block.rows == self.snapshot.counts or self._file.read(1):
            raise self._damaged("it does not end with as many rows as it should")
        return None

    def _read_block(self) -> Head | Piece | _End:
        intro = self._file.read(_LENGTH + _DIGEST)
        length = int.from_bytes(intro[:_LENGTH])
        frame = self._file.read(length) if length <= _BLOCK_LIMIT else b""
        if len(intro) < _LENGTH + _DIGEST or len(frame) < length:
            raise self._damaged("it ends too early")
        self._digest = sha256(self._digest + frame).digest()
        if self._digest != intro[_LENGTH:]:
            raise self._damaged("a block does not fit its digest")
        try:
            if zstandard.frame_content_size(frame) > _BLOCK_LIMIT:
                raise self._damaged("a block claims an impossible size")
            block: Head | Piece | _End = _decode(zstandard.ZstdDecompressor().decompress(frame))
            return block
        except (zstandard.ZstdError, msgspec.MsgspecError) as error:
            raise self._damaged("a block cannot be read") from error

    def _damaged(self, what: str) -> StoreError:
        return StoreError(f"the backup {self.path} is damaged: {what}; take another copy of it")
