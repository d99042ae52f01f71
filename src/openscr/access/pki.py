"""A certificate authority for development and tests: who may call is told by certificates, so there must be some.

Files of a folder: ``ca.pem`` and ``ca.key``, then ``<name>.pem`` and ``<name>.key`` for every certificate, ``ca.crl``
once something was revoked. A key is kept when its certificate is issued anew, so that the two always belong together;
the key of a revoked certificate is not.

Spec: 00 §4 ``pki``, 35 §3.1, §9.5.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openscr.access.pki_files import (
    AUTHORITY,
    FOREIGN_AUTHORITY,
    KeyType,
    issuer_of,
    key_of,
    load_authority,
    load_certificate,
    path_of,
    write_file,
)
from openscr.access.pki_revocation import revoked_serials
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, utc_now

Usage = Literal["client", "server", "both"]

_AUTHORITY_DAYS: Final = 3650
_LEAF_DAYS: Final = 825

WARNING_DAYS: Final = 30
"""Days before its end from which a certificate is shown as ending."""

_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
_USAGES: Final = {"client": [_CLIENT], "server": [_SERVER], "both": [_SERVER, _CLIENT]}


class State(StrEnum):
    """How a certificate stands."""

    GOOD = "good"
    ENDING = "ending"
    ENDED = "ended"
    EARLY = "not yet valid"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate of the folder, and how it stands.

    ``name`` is that of its files, ``serial`` hexadecimal, ``not_before`` and ``not_after`` are in UTC; ``days_left`` is
    negative once it has ended. ``names`` are host names and addresses, ``key`` is in words.
    """

    name: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    key: str
    serial: str
    not_before: datetime
    not_after: datetime
    days_left: int
    state: State


def create_authority(folder: Path, *, name: str = AUTHORITY, clock: Clock = utc_now) -> Path:
    """Make the authority of a folder unless it has one; return the path of its certificate.

    Raises: `ConfigurationError` when the folder cannot be written or its files cannot be read. Spec: 35 §3.1.
    """
    path = path_of(folder, name, "pem")
    if path.exists():
        load_authority(folder, name)
        return path
    key = key_of(folder, name)
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
    write_file(path, builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
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
    key_type: KeyType | None = None,
    new_key: bool = False,
    clock: Clock = utc_now,
) -> Path:
    """Issue a certificate and return its path; the key lies beside it.

    ``dns_names`` may hold IP addresses too; the common name is always among them. ``name`` is the name of the files,
    the common name by default. With ``expired`` the certificate ended yesterday. A key that is there is kept, unless it
    is not of ``key_type`` (a first key is RSA), ``new_key`` asks for a new one, or its certificate is revoked.
    Raises: `ConfigurationError`: no authority in the folder, names or days that do not do. Spec: 35 §3.1, §9.5.
    """
    if not 1 <= days <= _AUTHORITY_DAYS:
        raise ConfigurationError(f"pki: a certificate lasts between 1 and {_AUTHORITY_DAYS} days")
    path = path_of(folder, name or common_name, "pem")
    issuer = load_authority(folder, authority)
    now = clock()
    start, end = now - timedelta(hours=1), min(now + timedelta(days), issuer.certificate.not_valid_after_utc)
    if expired:
        start, end = now - timedelta(days=2), now - timedelta(days=1)
    new_key = new_key or (path.exists() and load_certificate(path).serial_number in revoked_serials(folder, authority))
    key = key_of(folder, name or common_name, key_type, new=new_key)
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
    builder = builder.add_extension(_key_usage(wraps_keys=isinstance(key, rsa.RSAPrivateKey)), critical=True)
    builder = builder.add_extension(x509.ExtendedKeyUsage(_USAGES[usage]), critical=False)
    builder = builder.add_extension(alternatives, critical=False)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    write_file(path, builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return path


def renew(folder: Path, name: str, *, days: int = _LEAF_DAYS, new_key: bool = False, clock: Clock = utc_now) -> Path:
    """Issue a certificate of the folder again, with its names and uses and a new validity; its key as `issue` says.

    Raises: `ConfigurationError`: there is no such certificate, or it is the authority's own. Spec: 00 §4.
    """
    old = load_certificate(path_of(folder, name, "pem"))
    authority = issuer_of(folder, name, old)
    extensions = old.extensions
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    usage: Usage = "both" if len(usages) > 1 else "server" if _SERVER in usages else "client"
    return issue(
        folder,
        str(old.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value),
        dns_names=_names_of(old),
        usage=usage,
        days=days,
        name=name,
        authority=authority,
        new_key=new_key,
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
        path = path_of(folder, name, "pem")
        if not path.exists() or not path_of(folder, name, "key").exists():
            return True
        return name != "expired" and load_certificate(path).not_valid_after_utc <= now

    if lacks("localhost"):
        issue(folder, "localhost", dns_names=["127.0.0.1", "::1"], usage="both", clock=clock)
    for name in ("gp.client.test", "viewer.client.test", "unknown.client.test"):
        if lacks(name):
            issue(folder, name, usage="both", clock=clock)
    if lacks("expired"):
        issue(folder, "gp.client.test", name="expired", expired=True, clock=clock)
    if lacks("foreign"):
        issue(folder, "gp.client.test", name="foreign", authority=FOREIGN_AUTHORITY, clock=clock)


def show(folder: Path, *, clock: Clock = utc_now) -> list[IssuedCertificate]:
    """Return the certificates of a folder by name; none when there is no such folder.

    Raises: `ConfigurationError` for a certificate or a revocation list that cannot be read. Spec: 00 §4.
    """
    now = clock()
    revoked = {
        (load_certificate(path_of(folder, authority, "pem")).subject, serial)
        for authority in (AUTHORITY, FOREIGN_AUTHORITY)
        if path_of(folder, authority, "pem").exists()
        for serial in revoked_serials(folder, authority)
    }
    found = []
    for path in sorted(folder.glob("*.pem")):
        certificate = load_certificate(path)
        is_revoked = (certificate.issuer, certificate.serial_number) in revoked
        found.append(
            IssuedCertificate(
                name=path.stem,
                subject=certificate.subject.rfc4514_string(),
                issuer=certificate.issuer.rfc4514_string(),
                names=_names_of(certificate),
                key=_described(certificate),
                serial=f"{certificate.serial_number:X}",
                not_before=certificate.not_valid_before_utc,
                not_after=certificate.not_valid_after_utc,
                days_left=(certificate.not_valid_after_utc - now).days,
                state=State.REVOKED if is_revoked else _state_of(certificate, now),
            )
        )
    return found


def _state_of(certificate: x509.Certificate, now: datetime) -> State:
    if now > certificate.not_valid_after_utc:
        return State.ENDED
    if now < certificate.not_valid_before_utc:
        return State.EARLY
    return State.ENDING if certificate.not_valid_after_utc - now < timedelta(WARNING_DAYS) else State.GOOD


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(each.value) for each in names)


def _described(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA {key.key_size}"
    return f"EC {key.curve.name}" if isinstance(key, ec.EllipticCurvePublicKey) else type(key).__name__


# --- parts of a certificate -----------------------------------------------------------------------------------------


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    start: datetime,
    end: datetime,
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


def _key_usage(*, signs_certificates: bool = False, wraps_keys: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=wraps_keys,
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
