"""Stored bytes come back exactly, small, and never damaged unnoticed."""

from hashlib import sha256

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from openscr.errors import StoreError
from openscr.store.compression import DICTIONARY_FOLDER, SIZE_LIMIT, Codec, dictionary_id

from .samples import SIGNAL, SUMMARY

RELEASED = {1: "ea22bf56f9473b968679f4efa032d72bb1cb01ffd90f2654cd3e1c145bacef9c"}
"""SHA-256 of every dictionary that stored data may depend on."""

CODEC = Codec()


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=40).map(lambda part: SUMMARY[:5000] + part * 50)))
def test_bytes_come_back_exactly(data: bytes) -> None:
    """Any bytes come back as they were, also from a codec of another thread."""
    assert Codec().decompress(CODEC.compress(data)) == data


def test_released_dictionaries_never_change() -> None:
    """Every version is there with the bytes it was released with, and no version is unknown here."""
    found = {int(entry.name.removesuffix(".zdict")): entry.read_bytes() for entry in DICTIONARY_FOLDER.iterdir()}
    assert {version: sha256(data).hexdigest() for version, data in found.items()} == RELEASED
    for version, data in found.items():
        assert zstandard.ZstdCompressionDict(data).dict_id() == dictionary_id(version)


def test_frames_name_their_dictionary() -> None:
    """A frame tells which dictionary it needs, and holds a checksum."""
    parameters = zstandard.get_frame_parameters(CODEC.compress(SUMMARY))
    assert parameters.dict_id == dictionary_id(max(RELEASED))
    assert parameters.has_checksum


def test_messages_become_small() -> None:
    """A summary of 18 kB takes less than an eighth, a signal less than a quarter."""
    assert len(CODEC.compress(SUMMARY)) < len(SUMMARY) / 8
    assert len(CODEC.compress(SIGNAL)) < len(SIGNAL) / 4


@given(st.data())
def test_damage_is_noticed(data: st.DataObject) -> None:
    """A frame with one changed byte, or cut short, yields an error or the right bytes, never others."""
    frame = bytearray(CODEC.compress(SIGNAL))
    position = data.draw(st.integers(0, len(frame) - 1))
    frame[position] ^= data.draw(st.integers(1, 255))
    for damaged in (bytes(frame), bytes(frame[:position])):
        try:
            assert CODEC.decompress(damaged) in {SIGNAL, b""}
        except StoreError:
            continue
        assert damaged == b"" or CODEC.decompress(damaged) == SIGNAL


def test_impossible_sizes_are_refused() -> None:
    """Neither too much data nor a frame that claims it is taken."""
    with pytest.raises(StoreError):
        CODEC.compress(bytes(SIZE_LIMIT + 1))
    frame = zstandard.ZstdCompressor().compress(bytes(SIZE_LIMIT + 1))
    with pytest.raises(StoreError, match="size"):
        CODEC.decompress(frame)


def test_foreign_frames_are_refused() -> None:
    """A frame without our dictionary is not ours."""
    with pytest.raises(StoreError):
        CODEC.decompress(zstandard.ZstdCompressor().compress(b"synthetic"))
