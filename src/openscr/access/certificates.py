"""The client certificate of a connection: the names that say which party holds it, and what the audit keeps of it.

Whether the certificate is trusted, in date and not revoked was settled by the TLS handshake, or by `Trust`; here it is
only read, once per connection.

Spec: 35 §3.1, §3.2, §7.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from openscr.errors import AccessRefused

UNREADABLE: Final = (ValueError, x509.InvalidVersion, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What the library raises for a certificate that cannot be read, some of it only when a part is asked for."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """Names and validity of a certificate.

    ``common_name`` is the most specific CN of the subject, ``dns_names`` the dNSNames of the subject alternative name,
    ``serial`` hexadecimal in upper case, ``not_after`` in UTC. The rest of the subject is not looked at.
    """

    common_name: str | None
    dns_names: tuple[str, ...]
    serial: str
    not_after: datetime

    @property
    def identity(self) -> str:
        """Name and serial number, for the audit. Spec: 35 §7."""
        return f"{self.name} {self.serial}"

    @property
    def name(self) -> str:
        """The name for the audit: the CN, else the first dNSName, else nothing."""
        return self.common_name or next(iter(self.dns_names), "")


def names_of_certificate(der: bytes) -> ClientCertificate:
    """Read a certificate from its DER bytes.

    Raises: `AccessRefused` when it cannot be read. Spec: 35 §3.1 "map on CN, else on SAN dNSName".
    """
    try:
        return names_of(x509.load_der_x509_certificate(der))
    except UNREADABLE:
        raise AccessRefused("unreadable_certificate") from None


def names_of(certificate: x509.Certificate) -> ClientCertificate:
    """Return the names and the validity of a certificate. Raises: `AccessRefused` when its parts cannot be read."""
    try:
        common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return ClientCertificate(
            common_name=str(common_names[-1].value) if common_names else None,
            dns_names=_dns_names(certificate),
            serial=f"{certificate.serial_number:X}",
            not_after=certificate.not_valid_after_utc,
        )
    except UNREADABLE:
        raise AccessRefused("unreadable_certificate") from None


def _dns_names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(extension.value.get_values_for_type(x509.DNSName))
