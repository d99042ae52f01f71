"""What an authority of a folder has revoked: its list, ``<authority>.crl``, is also where it remembers that.

Spec: 00 §4 ``pki``, 35 §3.1 ``tls.crl_file``.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from openscr.access.pki_files import AUTHORITY, issuer_of, load_authority, load_certificate, path_of, write_file
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, utc_now

LIST_DAYS: Final = 365
"""How long a list is in force. When it ends nobody is let in, so that a forgotten one is noticed."""


@dataclass(frozen=True, slots=True)
class RevocationList:
    """A list as it was written: its file, the serial numbers on it (hexadecimal), its end in UTC."""

    path: Path
    serials: tuple[str, ...]
    ends: datetime


def revocation_list(folder: Path, authority: str = AUTHORITY) -> Path:
    """Return where the list of an authority lies, whether or not there is one."""
    return path_of(folder, authority, "crl")


def revoked_serials(folder: Path, authority: str) -> frozenset[int]:
    """Return what an authority has revoked. Raises: `ConfigurationError` when its list cannot be read."""
    return frozenset(each.serial_number for each in _read(folder, authority) or ())


def revoke(
    folder: Path, name: str, *, serial: int | None = None, days: int = LIST_DAYS, clock: Clock = utc_now
) -> RevocationList:
    """Revoke a certificate of the folder: the one that lies there, or with ``serial`` an earlier one of that name.

    Who is revoked already stays so. Returns the new list, which is in force for ``days``.
    Raises: `ConfigurationError`: there is no such certificate, or no authority here issued it.
    """
    certificate = load_certificate(path_of(folder, name, "pem"))
    authority = issuer_of(folder, name, certificate)
    return write_list(
        folder, authority, adding=certificate.serial_number if serial is None else serial, days=days, clock=clock
    )


def write_list(
    folder: Path,
    authority: str = AUTHORITY,
    *,
    adding: int | None = None,
    days: int = LIST_DAYS,
    clock: Clock = utc_now,
) -> RevocationList:
    """Write the list of an authority anew, with its next number, and with one more certificate if one is given.

    Raises: `ConfigurationError` when the authority or its list cannot be read, or the list cannot be written.
    """
    issuer, old, now = load_authority(folder, authority), _read(folder, authority), clock()
    revoked = {each.serial_number: each for each in old or ()}
    if adding is not None and adding not in revoked:
        try:
            builder = x509.RevokedCertificateBuilder().serial_number(adding).revocation_date(now)
        except ValueError:
            raise ConfigurationError("pki: that is no serial number of a certificate") from None
        revoked[adding] = builder.build()
    ends = min(now + timedelta(days), issuer.certificate.not_valid_after_utc)
    key_of_issuer = issuer.key.public_key()
    listed = x509.CertificateRevocationListBuilder(
        issuer_name=issuer.certificate.subject,
        last_update=now - timedelta(hours=1),
        next_update=ends,
        revoked_certificates=list(revoked.values()),
    )
    listed = listed.add_extension(x509.CRLNumber(_number(old) + 1), critical=False)
    listed = listed.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key_of_issuer), critical=False)
    path = revocation_list(folder, authority)
    write_file(path, listed.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM), 0o644)
    return RevocationList(path, tuple(f"{serial:X}" for serial in revoked), ends)


def end_of_list(folder: Path, authority: str = AUTHORITY) -> datetime | None:
    """Return when the list of an authority ends; none when it has none. Raises: `ConfigurationError`."""
    read = _read(folder, authority)
    return read.next_update_utc if read is not None else None


def _read(folder: Path, authority: str) -> x509.CertificateRevocationList | None:
    path = revocation_list(folder, authority)
    try:
        return x509.load_pem_x509_crl(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"pki: the revocation list {path} cannot be read: {error.strerror}") from None
    except ValueError:
        # Written anew without what it said, it would let in again who was revoked.
        raise ConfigurationError(f"pki: {path} is not a revocation list in PEM form; restore it") from None


def _number(revocation: x509.CertificateRevocationList | None) -> int:
    if revocation is None:
        return 0
    try:
        return revocation.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        return 0
