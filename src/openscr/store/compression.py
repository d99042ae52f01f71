"""Compression of stored bytes: zstandard with a trained dictionary, exact bytes back.

Invariants: ``decompress(compress(data)) == data``; every frame names the dictionary it needs and carries a checksum of
its content, so that a later dictionary never makes older data unreadable and a changed byte never passes unnoticed.

The dictionaries are data files ``dictionaries/<version>.zdict``. A released version never changes.

Spec: 90 §5; dependencies.md "compression".
"""

from functools import cache
from importlib.resources import files
from typing import Final

import zstandard

from openscr.errors import StoreError

LEVEL: Final = 3
DICTIONARY_FOLDER: Final = files(__package__) / "dictionaries"

SIZE_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of one piece of data at most; a damaged frame must not ask for all memory."""

_USUAL_BYTES: Final = 20_000
"""Size of a message."""

_TABLE_LOG: Final = 14

_PRIVATE_IDS_START: Final = 32768
"""Dictionary ids below this are reserved by the format."""


def dictionary_id(version: int) -> int:
    """Return the id that frames carry for a version of our dictionary."""
    return _PRIVATE_IDS_START + version


@cache
def _dictionaries() -> dict[int, zstandard.ZstdCompressionDict]:
    """Return every dictionary by its id, in the order of versions."""
    versions = sorted(
        int(entry.name.removesuffix(".zdict")) for entry in DICTIONARY_FOLDER.iterdir() if entry.name.endswith(".zdict")
    )
    dictionaries = {
        dictionary_id(version): zstandard.ZstdCompressionDict((DICTIONARY_FOLDER / f"{version}.zdict").read_bytes())
        for version in versions
    }
    newest = dictionaries[dictionary_id(versions[-1])]
    # Done here, once: it must not happen while another thread compresses.
    newest.precompute_compress(compression_params=_parameters(newest))
    return dictionaries


def _parameters(dictionary: zstandard.ZstdCompressionDict) -> zstandard.ZstdCompressionParameters:
    """Return how we compress: as level 3 does, with smaller tables, which are copied for every message.

    They cost 1 % of space and save a third of the time, more where other work has taken the processor's cache.
    """
    return zstandard.ZstdCompressionParameters.from_level(
        LEVEL,
        dict_size=len(dictionary.as_bytes()),
        source_size=_USUAL_BYTES,
        hash_log=_TABLE_LOG,
        chain_log=_TABLE_LOG,
        write_content_size=True,
        write_dict_id=True,
        write_checksum=True,
    )


class Codec:
    """Compresses with the newest dictionary and decompresses with the one that each frame names.

    Not for concurrent use: each thread has its own. Empty data stays empty.
    """

    def __init__(self) -> None:
        dictionaries = _dictionaries()
        newest = list(dictionaries.values())[-1]
        parameters = _parameters(newest)
        self._compress = zstandard.ZstdCompressor(compression_params=parameters, dict_data=newest).compress
        self._decompress = {
            id: zstandard.ZstdDecompressor(dict_data=dictionary).decompress for id, dictionary in dictionaries.items()
        }

    def compress(self, data: bytes) -> bytes:
        """Return the frame of ``data``. Raises: `StoreError` above `SIZE_LIMIT`."""
        if not data:
            return b""
        if len(data) > SIZE_LIMIT:
            raise StoreError(f"data of more than {SIZE_LIMIT} bytes cannot be stored")
        return self._compress(data)

    def decompress(self, frame: bytes) -> bytes:
        """Return the exact bytes that ``frame`` was made of. Raises: `StoreError` when it is damaged."""
        if not frame:
            return b""
        try:
            parameters = zstandard.get_frame_parameters(frame)
            # Frames of ours always tell their size, and one without an answer here is not ours.
            if parameters.content_size > SIZE_LIMIT:
                raise StoreError("stored bytes are damaged: they claim an impossible size")
            return self._decompress[parameters.dict_id](frame)
        except (zstandard.ZstdError, KeyError) as error:
            raise StoreError("stored bytes are damaged: they cannot be decompressed") from error
