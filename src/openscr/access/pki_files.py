"""The files of a folder of certificates: named, read, and written whole.

Each file is whole or absent, key files are readable by their owner only.

Spec: 00 §4 ``pki``.
"""

import contextlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from openscr.errors import ConfigurationError

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
KeyType = Literal["rsa", "ec"]
"""RSA of 2048 bits, or elliptic curve P-256. Spec: 35 §3.1 "RSA keys by default"."""

AUTHORITY: Final = "ca"
FOREIGN_AUTHORITY: Final = "foreign-ca"
"""The authority that a demo service does not trust. Spec: 35 §9.5."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class Authority:
    """An authority of the folder."""

    certificate: x509.Certificate
    key: PrivateKey


def load_authority(folder: Path, name: str = AUTHORITY) -> Authority:
    """Read an authority. Raises: `ConfigurationError` when there is none, or its files cannot be read."""
    return Authority(load_certificate(path_of(folder, name, "pem")), load_key(path_of(folder, name, "key")))


def issuer_of(folder: Path, name: str, certificate: x509.Certificate) -> str:
    """Return the name of the authority of the folder that issued a certificate.

    Raises: `ConfigurationError` when none did, or the certificate is the authority's own.
    """
    for authority in (AUTHORITY, FOREIGN_AUTHORITY):
        path = path_of(folder, authority, "pem")
        if name != authority and path.exists() and certificate.issuer == load_certificate(path).subject:
            return authority
    raise ConfigurationError(f"pki: {name} was not issued by an authority of this folder")


def path_of(folder: Path, name: str, suffix: str) -> Path:
    """Return where a file lies. Raises: `ConfigurationError` for what is no name."""
    if _NAME.match(name) is None:
        raise ConfigurationError("pki: a name holds letters, digits, dots and hyphens, at most 63")
    return folder / f"{name}.{suffix}"


def key_of(folder: Path, name: str, key_type: KeyType | None = None, *, new: bool = False) -> PrivateKey:
    """Return the key of this name; make it when there is none, when it is of another type, or with ``new``."""
    path = path_of(folder, name, "key")
    if path.exists() and not new:
        key = load_key(path)
        if key_type is None or isinstance(key, ec.EllipticCurvePrivateKey) == (key_type == "ec"):
            return key
    made: PrivateKey
    if key_type == "ec":
        made = ec.generate_private_key(ec.SECP256R1())
    else:
        made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_file(path, pem, 0o600)
    return made


def load_certificate(path: Path) -> x509.Certificate:
    """Read a certificate. Raises: `ConfigurationError`."""
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"pki: the certificate {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"pki: {path} is not a certificate in PEM form") from None


def load_key(path: Path) -> PrivateKey:
    """Read a private key. Raises: `ConfigurationError`."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"pki: the key {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigurationError(f"pki: {path} is not a private key in PEM form without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise ConfigurationError(f"pki: {path} is neither an RSA key nor one of an elliptic curve")
    return key


def write_file(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that it is whole or absent, whatever happens, and never open to others for a moment.

    Raises: `ConfigurationError`.
    """
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise ConfigurationError(f"pki: {path} cannot be written: {error.strerror}") from None
