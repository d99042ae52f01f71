"""Our endpoint certificate, its key and the authorities, wherever they come from: as files that TLS can be made from.

Text of a variable and what a PKCS#12 file holds stand in files that only exist in memory: no key is ever written to
disk. A file that somebody gave is used as it is.

Invariant: a change that does not fit together (half written, a wrong password) leaves what is in memory as it was.

Spec: 50 F16.
"""

import os
import ssl
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from pydantic import SecretStr

from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, utc_now
from openscr.mhs.settings import MhsSettings

_log = structlog.get_logger("keys")

WARN_BEFORE: Final = timedelta(days=30)
"""How long before its end the certificate is warned of. Spec: 50 F16."""

_WARN_EVERY: Final = timedelta(days=1)


class KeyMaterial:
    """Paths of certificate, key and authorities, and when the certificate ends.

    Making one raises `ConfigurationError`, which names the setting that cannot be used and never quotes it.
    """

    def __init__(self, settings: MhsSettings, *, clock: Clock = utc_now) -> None:
        self._settings = settings
        self._clock = clock
        self._memory: list[_MemoryFile] = []
        self._warned_at: datetime | None = None
        self._seen = self._state()
        try:
            self._certificate, self._key = self._own()
            self._authorities = self._place(settings.secret_ca_certs, settings.ca_certs_file, "ca_certs")
            self.not_after = self._judged()
        except BaseException:
            self.close()
            raise
        self._warn()

    @property
    def certificate(self) -> Path:
        """The file with our certificate, and those between it and its root if there are any, in PEM."""
        return self._certificate

    @property
    def key(self) -> Path:
        """The file with the key of our certificate, in PEM."""
        return self._key

    @property
    def authorities(self) -> Path:
        """The file with the authorities, in PEM."""
        return self._authorities

    @property
    def days_left(self) -> int:
        """Whole days until the certificate ends; below 0 once it has."""
        return (self.not_after - self._clock()).days

    def look(self) -> bool:
        """Look whether the files that were given have changed; return whether they have, and what they say was taken.

        Warns of the certificate's end as well, once a day. Whoever makes TLS of the paths looks after this.
        """
        state = self._state()
        changed = state != self._seen
        taken = False
        if changed:
            self._seen = state
            try:
                self._renew()
                self.not_after = self._judged()
                taken, self._warned_at = True, None
            except ConfigurationError as error:
                _log.error("changed keys not taken; what was in force stays", reason=error.diagnostics)
        self._warn()
        return taken

    def close(self) -> None:
        """Let go of what is in memory: the paths may lead nowhere after it."""
        for each in self._memory:
            each.close()
        self._memory.clear()

    def _own(self) -> tuple[Path, Path]:
        settings = self._settings
        if settings.client_pkcs12_file is not None:
            certificate, key = self._unpacked()
            return self._in_memory(certificate, "certificate"), self._in_memory(key, "key")
        return (
            self._place(settings.secret_client_cert, settings.client_cert_file, "client_cert"),
            self._place(settings.secret_client_key, settings.client_key_file, "client_key"),
        )

    def _place(self, text: SecretStr | None, path: Path | None, name: str) -> Path:
        if text is not None:
            return self._in_memory(text.get_secret_value().encode(), name)
        if path is None:
            raise ConfigurationError(f"neither secret_{name} nor {name}_file is set")
        return path

    def _in_memory(self, content: bytes, name: str) -> Path:
        self._memory.append(_MemoryFile(content, name))
        return self._memory[-1].path

    def _unpacked(self) -> tuple[bytes, bytes]:
        """Return certificates and key of the PKCS#12 file, in PEM."""
        settings = self._settings
        path = settings.client_pkcs12_file
        assert path is not None  # noqa: S101  asked by whoever calls
        password = settings.secret_client_pkcs12_password
        try:
            bundle = load_pkcs12(path.read_bytes(), password.get_secret_value().encode() if password else None)
        except OSError as error:
            raise ConfigurationError(f"client_pkcs12_file {path}: {error.strerror}") from None
        except ValueError:
            text = "is no PKCS#12 file, or secret_client_pkcs12_password is not its password"
            raise ConfigurationError(f"client_pkcs12_file {path} {text}") from None
        if bundle.cert is None or bundle.key is None:
            raise ConfigurationError(f"client_pkcs12_file {path} must hold a certificate and its key")
        chain = [bundle.cert.certificate, *(each.certificate for each in bundle.additional_certs)]
        key = bundle.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return b"".join(each.public_bytes(Encoding.PEM) for each in chain), key

    def _renew(self) -> None:
        """Bring what a PKCS#12 file says now into memory."""
        if self._settings.client_pkcs12_file is not None:
            certificate, key = self._unpacked()
            for held, content in zip(self._memory, (certificate, key), strict=False):
                held.write(content)

    def _judged(self) -> datetime:
        """Return when the certificate ends. Raises: `ConfigurationError` when something cannot be used."""
        own = _certificates(self._certificate, "the client certificate")[0]
        _certificates(self._authorities, "ca_certs")
        try:
            key = load_pem_private_key(_bytes_of(self._key, "the client key"), None)
        except (ValueError, TypeError):
            raise ConfigurationError("the client key is no PEM text of a private key without a password") from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*form) != own.public_key().public_bytes(*form):
            raise ConfigurationError("the client key is not the key of the client certificate")
        return own.not_valid_after_utc

    def _warn(self) -> None:
        now = self._clock()
        due = self._warned_at is None or now - self._warned_at >= _WARN_EVERY
        if due and self.not_after - now < WARN_BEFORE:
            self._warned_at = now
            ended = "has ended" if now > self.not_after else "ends soon"
            _log.warning(f"our certificate {ended}", not_after=self.not_after.isoformat(), days_left=self.days_left)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        settings = self._settings
        given = (
            settings.client_cert_file,
            settings.client_key_file,
            settings.client_pkcs12_file,
            settings.ca_certs_file,
        )
        return tuple(_state_of(path) for path in given if path is not None)


def route_lookup_tls(settings: MhsSettings) -> ssl.SSLContext | None:
    """Make the context for requests to a route lookup service; none where the machine's own rules are enough.

    Raises: `ConfigurationError`. Spec: 50 §7, F16.
    """
    certificate = settings.secret_spine_route_lookup_client_cert
    key = settings.secret_spine_route_lookup_client_key
    authorities = settings.secret_spine_route_lookup_ca_certs
    if settings.spine_route_lookup_validate_cert and certificate is None and authorities is None:
        return None
    try:
        context = ssl.create_default_context(cadata=authorities.get_secret_value() if authorities else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if certificate is not None:
            # The key may stand behind the certificate, in the same text.
            held = [_MemoryFile(each.get_secret_value().encode(), "lookup") for each in (certificate, key) if each]
            try:
                context.load_cert_chain(held[0].path, held[-1].path)
            finally:
                for each in held:
                    each.close()
    except (ValueError, OSError):
        names = "secret_spine_route_lookup_client_cert, _client_key or _ca_certs"
        raise ConfigurationError(f"{names} is no PEM text that fits the others") from None
    if not settings.spine_route_lookup_validate_cert:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class _MemoryFile:
    """A file without a name in any folder; whoever holds its path may read it until it is closed."""

    def __init__(self, content: bytes, name: str) -> None:
        if sys.platform != "linux":
            raise ConfigurationError(
                "certificates as text and PKCS#12 are for Linux; give client_cert_file, client_key_file, ca_certs_file"
            )
        self._descriptor = os.memfd_create(f"openscr-{name}", os.MFD_CLOEXEC)
        self.write(content)

    @property
    def path(self) -> Path:
        """Where it can be read."""
        return Path(f"/proc/self/fd/{self._descriptor}")

    def write(self, content: bytes) -> None:
        """Replace what it holds."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, content, 0)

    def close(self) -> None:
        """Forget it."""
        os.close(self._descriptor)


def _certificates(path: Path, name: str) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(_bytes_of(path, name))
    except ValueError:
        raise ConfigurationError(f"{name} is no PEM text of certificates") from None


def _bytes_of(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{name}, {path}: {error.strerror}") from None


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size
