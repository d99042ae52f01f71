"""Bodies at rest: AES-256-GCM with one key for a store, bound to the row that they belong to.

Format of a stored body: one byte that says how it is kept, then

* ``0``: the body as it is (no key was set when it was stored);
* ``1``: 8 bytes that name the key, 12 bytes of nonce, the ciphertext with its tag.

Invariants: a nonce is never used twice with a key but by a chance below 2^-32 within the first 2^32 bodies; a body
opens only at the place that it was sealed for, so that nobody can move one from row to row.

Spec: 50 F17.
"""

import base64
import binascii
import os
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from openscr.errors import ConfigurationError, StoreError

_PLAIN: Final = b"\x00"
_SEALED: Final = b"\x01"
_KEY_BYTES: Final = 32
_ID_BYTES: Final = 8
_NONCE_BYTES: Final = 12
_HEAD_BYTES: Final = 1 + _ID_BYTES + _NONCE_BYTES
_ID_SALT: Final = b"openscr mhs store key id\x00"


class Sealing:
    """How bodies are kept: sealed with ``key`` (32 bytes), or as they are without one."""

    def __init__(self, key: bytes | None = None) -> None:
        self._cipher = None if key is None else AESGCM(key)
        self._id = b"" if key is None else sha256(_ID_SALT + key).digest()[:_ID_BYTES]

    @property
    def key_id(self) -> str | None:
        """The name of the key (hex), which tells nothing of it; none without a key."""
        return self._id.hex() or None

    def seal(self, place: str, body: bytes) -> bytes:
        """Return a body as it is stored at ``place``: table and key of its row."""
        if self._cipher is None:
            return _PLAIN + body
        nonce = os.urandom(_NONCE_BYTES)
        return b"".join((_SEALED, self._id, nonce, self._cipher.encrypt(nonce, body, place.encode())))

    def open(self, place: str, stored: bytes) -> bytes:
        """Return the body of what is stored at ``place``. Raises: `StoreError` when it does not open."""
        kind, id = stored[:1], stored[1 : 1 + _ID_BYTES]
        if kind == _PLAIN:
            return stored[1:]
        if kind == _SEALED and self._cipher is not None and id == self._id:
            try:
                return self._cipher.decrypt(
                    stored[1 + _ID_BYTES : _HEAD_BYTES], memoryview(stored)[_HEAD_BYTES:], place.encode()
                )
            except (InvalidTag, ValueError) as error:
                raise StoreError("a stored body is damaged") from error
        raise StoreError("a stored body is damaged, or sealed with another key")

    def check(self, kept_id: str | None) -> None:
        """See that this is the key that a store was sealed with. Raises: `ConfigurationError`."""
        if kept_id is None or kept_id == self.key_id:
            return
        if self._cipher is None:
            raise ConfigurationError(
                f"the bodies in the adaptor's store are sealed with the key {kept_id}, and none is set;"
                " set MHS_SECRET_STORE_KEY to it"
            )
        raise ConfigurationError(
            f"the bodies in the adaptor's store are sealed with the key {kept_id}, but MHS_SECRET_STORE_KEY holds the"
            f" key {self.key_id}; set the first one again, or name a new store in MHS_STORE once the old queue is empty"
        )


def read_key(secret: SecretStr | None) -> Sealing:
    """Return how bodies are kept with the setting ``secret_store_key``: 32 random bytes in base64.

    Raises: `ConfigurationError`, which never repeats the key.
    """
    if secret is None or not secret.get_secret_value().strip():
        return Sealing()
    try:
        key = base64.b64decode(secret.get_secret_value().strip(), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigurationError(
            "MHS_SECRET_STORE_KEY must be 32 random bytes in base64 (44 characters); make one with"
            " `openssl rand -base64 32`"
        )
    return Sealing(key)
