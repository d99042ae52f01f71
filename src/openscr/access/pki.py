"""A certificate authority for development and tests: who may call is told by certificates, so there must be some.

Files of a folder: ``ca.pem`` and ``ca.key``, then ``<name>.pem`` and ``<name>.key`` for every certificate. Each file is
whole or absent, key files are readable by their owner only. An existing key is kept when its certificate is issued
anew, so that key and certificate always belong together.

Spec: 00 §4 ``pki``, 35 §3.1, §9.5.
"""

import contextlib
import ipaddress
import os
import re
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, utc_now

AUTHORITY: Final = "ca"
FOREIGN_AUTHORITY: Final = "foreign-ca"
"""The authority that a demo service does not trust. Spec: 35 §9.5."""

Usage = Literal["client", "server", "both"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_AUTHORITY_DAYS: Final = 3650
_LEAF_DAYS: Final = 825
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_USAGES: Final = {"client": [_CLIENT], "server": [_SERVER], "both": [_SERVER, _CLIENT]}


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of the folder: the name of its files, subject, serial (hexadecimal), end of validity in UTC."""

    name: str
    subject: str
    not_after: datetime
    serial: str


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey


def create_authority(folder: Path, *, name: str = AUTHORITY, clock: Clock = utc_now) -> Path:
    """Make the authority of a folder unless it has one; return the path of its certificate.

    Raises: `ConfigurationError` when the folder cannot be written or its files cannot be read. Spec: 35 §3.1.
    """
    path = _path(folder, name, "pem")
    if path.exists():
        _load_authority(folder, name)
        return path
    key = _key(folder, name)
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "OpenSCR development"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"OpenSCR development {name}"),
        ]
    )
    now = clock()
    builder = _builder(subject, subject, key.public_key(), now - timedelta(hours=1), now + timedelta(_AUTHORITY_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
    )
    _write(path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return path


def issue(
    folder: Path,
    common_name: str,
    *,
    dns_names: Iterable[str] = (),
    usage: Usage = "client",
    days: int = _LEAF_DAYS,
    expired: bool = False,
    name: str | None = None,
    authority: str = AUTHORITY,
    clock: Clock = utc_now,
) -> Path:
    """Issue a certificate and return its path; the key lies beside it.

    ``dns_names`` may hold IP addresses too; the common name is always among them. ``name`` is the name of the files,
    the common name by default. With ``expired`` the certificate ended yesterday.
    Raises: `ConfigurationError`: no authority in the folder, names or days that do not do. Spec: 35 §3.1, §9.5.
    """
    if not 1 <= days <= _AUTHORITY_DAYS:
        raise ConfigurationError(f"pki: a certificate lasts between 1 and {_AUTHORITY_DAYS} days")
    path = _path(folder, name or common_name, "pem")
    issuer = _load_authority(folder, authority)
    now = clock()
    start, end = now - timedelta(hours=1), min(now + timedelta(days), issuer.certificate.not_valid_after_utc)
    if expired:
        start, end = now - timedelta(days=2), now - timedelta(days=1)
    key = _key(folder, name or common_name)
    try:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        alternatives = x509.SubjectAlternativeName(
            [_general_name(text) for text in dict.fromkeys([common_name, *dns_names])]
        )
    except ValueError:
        raise ConfigurationError("pki: a name of the certificate is not a host name or an IP address") from None
    issuer_key = issuer.key.public_key()
    builder = _builder(subject, issuer.certificate.subject, key.public_key(), start, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES[usage]), critical=False)
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    _write(path, builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return path


def renew(folder: Path, name: str, *, days: int = _LEAF_DAYS, clock: Clock = utc_now) -> Path:
    """Issue a certificate of the folder again, with its names, uses and key and a new validity.

    Raises: `ConfigurationError`: there is no such certificate, or it is the authority's own. Spec: 00 §4.
    """
    old = _load_certificate(_path(folder, name, "pem"))
    for authority in (AUTHORITY, FOREIGN_AUTHORITY):
        path = _path(folder, authority, "pem")
        if name != authority and path.exists() and old.issuer == _load_certificate(path).subject:
            break
    else:
        raise ConfigurationError(f"pki: {name} was not issued by an authority of this folder")
    extensions = old.extensions
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    names = [general.value for general in extensions.get_extension_for_class(x509.SubjectAlternativeName).value]
    usage: Usage = "both" if len(usages) > 1 else "server" if _SERVER in usages else "client"
    return issue(
        folder,
        str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        dns_names=[str(each) for each in names],
        usage=usage,
        days=days,
        name=name,
        authority=authority,
        clock=clock,
    )


def make_demo_certificates(folder: Path, *, clock: Clock = utc_now) -> None:
    """Issue what the demo world needs and the folder lacks, or holds past its time.

    The service's own ``localhost``; ``gp.client.test`` and ``viewer.client.test``; and three that must not be let in:
    ``expired`` and ``foreign`` bear the name of ``gp.client.test``, ``unknown.client.test`` is registered nowhere.
    Those that both call and are called (acknowledgements, callbacks) are for both uses.
    Raises: `ConfigurationError` when the folder cannot be written or read. Spec: 35 §9.5, 00 §5.
    """
    create_authority(folder, clock=clock)
    create_authority(folder, name=FOREIGN_AUTHORITY, clock=clock)
    now = clock()

    def lacks(name: str) -> bool:
        path = _path(folder, name, "pem")
        if not path.exists() or not _path(folder, name, "key").exists():
            return True
        return name != "expired" and _load_certificate(path).not_valid_after_utc <= now

    if lacks("localhost"):
        issue(folder, "localhost", dns_names=["127.0.0.1", "::1"], usage="both", clock=clock)
    for name in ("gp.client.test", "viewer.client.test", "unknown.client.test"):
        if lacks(name):
            issue(folder, name, usage="both", clock=clock)
    if lacks("expired"):
        issue(folder, "gp.client.test", name="expired", expired=True, clock=clock)
    if lacks("foreign"):
        issue(folder, "gp.client.test", name="foreign", authority=FOREIGN_AUTHORITY, clock=clock)


def show(folder: Path) -> list[IssuedCertificate]:
    """Return the certificates of a folder by name; none when there is no such folder.

    Raises: `ConfigurationError` for a certificate file that cannot be read. Spec: 00 §4.
    """
    return [
        IssuedCertificate(
            name=path.stem,
            subject=certificate.subject.rfc4514_string(),
            not_after=certificate.not_valid_after_utc,
            serial=f"{certificate.serial_number:X}",
        )
        for path in sorted(folder.glob("*.pem"))
        for certificate in [_load_certificate(path)]
    ]


# --- certificates and files -----------------------------------------------------------------------------------------


def _builder(
    subject: x509.Name, issuer: x509.Name, key: rsa.RSAPublicKey, start: datetime, end: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _path(folder: Path, name: str, suffix: str) -> Path:
    if _NAME.match(name) is None:
        raise ConfigurationError("pki: a name holds letters, digits, dots and hyphens, at most 63")
    return folder / f"{name}.{suffix}"


def _key(folder: Path, name: str) -> rsa.RSAPrivateKey:
    """Return the key of this name; make it when there is none."""
    path = _path(folder, name, "key")
    if path.exists():
        return _load_key(path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path, pem, 0o600)
    return key


def _load_authority(folder: Path, name: str) -> _Authority:
    return _Authority(_load_certificate(_path(folder, name, "pem")), _load_key(_path(folder, name, "key")))


def _load_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"pki: the certificate {path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise ConfigurationError(f"pki: {path} is not a certificate in PEM form") from None


def _load_key(path: Path) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except OSError as error:
        raise ConfigurationError(f"pki: the key {path} cannot be read: {error.strerror}") from None
    except (ValueError, TypeError):
        raise ConfigurationError(f"pki: {path} is not a private key in PEM form without a password") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ConfigurationError(f"pki: {path} is not an RSA key")
    return key


def _write(path: Path, data: bytes, mode: int) -> None:
    """Write a file so that it is whole or absent, whatever happens, and never open to others for a moment."""
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
