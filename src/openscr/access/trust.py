"""Whose certificates count, and which of them no longer do: the authorities and their revocation lists.

The handshake asks OpenSSL, which is given the same files. Asked here are the certificates that no handshake judges:
those that a proxy forwards, those of sessions that are taken up again, those of connections that are open already.

Invariant: where there are revocation lists, a certificate is good only while the list of its issuer is in force. A list
that has ended, or is missing for an issuer, lets nobody in.

Spec: 35 §3.1.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    Policy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from openscr.access.certificates import UNREADABLE
from openscr.access.registration import Cause
from openscr.errors import ConfigurationError

_LIST = re.compile(rb"-----BEGIN X509 CRL-----.+?-----END X509 CRL-----", re.DOTALL)
_DER: Final = b"\x30"
_LONGEST_CHAIN: Final = 5
_SMALLEST_RSA: Final = 2048


class Trust:
    """Authorities, and the serial numbers that they have revoked; ``lists`` is none where revocation is not looked at.

    Raises: `ConfigurationError`: no authority that signs itself, or a list that none of the authorities has signed.
    """

    def __init__(
        self, authorities: Sequence[x509.Certificate], lists: Sequence[x509.CertificateRevocationList] | None = None
    ) -> None:
        roots = [each for each in authorities if each.issuer == each.subject]
        if not roots:
            raise ConfigurationError("none of the authorities signs itself: the root of the chain is missing")
        self._intermediates = [each for each in authorities if each.issuer != each.subject]
        self._store = Store(roots)
        self._all = tuple(authorities)
        self._lists: dict[x509.Name, list[_Revoked]] | None = None if lists is None else _by_issuer(authorities, lists)
        self._revoked_issuers = _revoked_issuers(authorities, self._lists or {})

    @property
    def lists_end(self) -> datetime | None:
        """When the first of the revocation lists ends, in UTC; none where revocation is not looked at."""
        ends = [each.ends for lists in (self._lists or {}).values() for each in lists]
        return min(ends) if ends else None

    @property
    def checks_revocation(self) -> bool:
        """Whether there are revocation lists."""
        return self._lists is not None

    def refusal(self, certificate: x509.Certificate, at: datetime) -> Cause | None:
        """Return why a certificate, whose chain was found good before, is not good at ``at``; none when it is."""
        if at > certificate.not_valid_after_utc:
            return Cause.EXPIRED_CERTIFICATE
        if at < certificate.not_valid_before_utc:
            return Cause.EARLY_CERTIFICATE
        if self._lists is None:
            return None
        lists = self._lists.get(certificate.issuer, [])
        revoked = any(certificate.serial_number in each.serials for each in lists)
        if revoked or certificate.issuer in self._revoked_issuers:
            return Cause.REVOKED_CERTIFICATE
        if not lists or any(at > each.ends for each in lists):
            return Cause.REVOCATION_UNKNOWN
        return None

    def refusal_of_stranger(self, certificate: x509.Certificate, at: datetime) -> Cause | None:
        """Return why a certificate of which nothing is known is not a client's, or none: chain, use, period, lists.

        Its names are not looked at: who bears them is the directory's to say. Spec: 35 §3.1.
        """
        # The period first: a chain with an expired certificate in it is refused without a word about why.
        if (cause := self.refusal(certificate, at)) in (Cause.EXPIRED_CERTIFICATE, Cause.EARLY_CERTIFICATE):
            return cause if any(_issued(each, certificate) for each in self._all) else Cause.UNTRUSTED_CERTIFICATE
        if not self._chains(certificate, at):
            return Cause.UNTRUSTED_CERTIFICATE
        return cause if _for_clients(certificate) else Cause.WRONG_USE

    def _chains(self, certificate: x509.Certificate, at: datetime) -> bool:
        builder = PolicyBuilder().store(self._store).time(at).max_chain_depth(_LONGEST_CHAIN)
        verifier = builder.extension_policies(ca_policy=_AUTHORITIES, ee_policy=_CLIENTS).build_client_verifier()
        try:
            key = certificate.public_key()
            if isinstance(key, rsa.RSAPublicKey) and key.key_size < _SMALLEST_RSA:
                return False
            verifier.verify(certificate, self._intermediates)
        except (VerificationError, UnsupportedAlgorithm, *UNREADABLE):
            return False
        return True


def read_trust(authorities: Path, lists: Path | None) -> Trust:
    """Read the authorities, and their revocation lists if there is such a file; both in PEM form, several in one file.

    Raises: `ConfigurationError` naming the file that cannot be used. Spec: 35 §3.1 ``tls.crl_file``.
    """
    try:
        certificates = x509.load_pem_x509_certificates(_bytes_of(authorities))
    except UNREADABLE:
        raise ConfigurationError(f"the authorities {authorities} are not certificates in PEM form") from None
    try:
        return Trust(certificates, None if lists is None else _read_lists(lists))
    except ConfigurationError as error:
        raise ConfigurationError(f"{lists or authorities}: {error.diagnostics}") from None


def _read_lists(path: Path) -> list[x509.CertificateRevocationList]:
    data = _bytes_of(path)
    if data[:1] == _DER:
        raise ConfigurationError(
            "the revocation list is in DER form; openssl crl -inform DER -in … -out … makes it PEM"
        )
    try:
        lists = [x509.load_pem_x509_crl(block) for block in _LIST.findall(data)]
    except ValueError:
        lists = []
    if not lists or len(lists) != data.count(b"-----BEGIN"):
        raise ConfigurationError("the revocation list is damaged, or not in PEM form")
    return lists


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


class _Revoked:
    """What one authority has revoked, and until when its list may be relied upon."""

    __slots__ = ("ends", "serials")

    def __init__(self, revocation: x509.CertificateRevocationList) -> None:
        # A list that does not say when the next one comes would stand for ever.
        if revocation.next_update_utc is None:
            raise ConfigurationError("the revocation list does not say when it ends")
        self.ends = revocation.next_update_utc
        self.serials = frozenset(each.serial_number for each in revocation)


def _by_issuer(
    authorities: Iterable[x509.Certificate], lists: Sequence[x509.CertificateRevocationList]
) -> dict[x509.Name, list[_Revoked]]:
    """Return the newest list of each authority by the authority's name; two authorities may share a name."""
    found: dict[x509.Name, list[_Revoked]] = {}
    used = []
    for authority in authorities:
        signed = [each for each in lists if each.issuer == authority.subject and _signed(each, authority)]
        used += signed
        if signed:
            newest = max(signed, key=lambda each: each.last_update_utc)
            found.setdefault(authority.subject, []).append(_Revoked(newest))
    if any(each not in used for each in lists):
        raise ConfigurationError("the revocation list is not signed by any of the authorities")
    return found


def _revoked_issuers(
    authorities: Sequence[x509.Certificate], lists: Mapping[x509.Name, Sequence[_Revoked]]
) -> frozenset[x509.Name]:
    """Return the names of the authorities that are on the list of their own, or below one that is.

    A list is asked for the certificates of clients alone, so that an authority above need not have one; but what it
    says counts. A name that another authority bears still counts too.
    """
    revoked: set[x509.Name] = set()
    good = list(authorities)
    while True:
        kept = [
            each
            for each in good
            if each.issuer not in revoked
            and not any(each.serial_number in listed.serials for listed in lists.get(each.issuer, ()))
        ]
        if len(kept) == len(good):
            return frozenset(revoked)
        good = kept
        revoked = {each.subject for each in authorities} - {each.subject for each in kept}


def _signed(revocation: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    try:
        return revocation.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _issued(authority: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False
    return True


# --- what OpenSSL asks of an authority and of a client's certificate --------------------------------------------------


def _require_authority(_policy: Policy, _certificate: x509.Certificate, constraints: x509.BasicConstraints) -> None:
    if not constraints.ca:
        raise ValueError("no authority")


def _require_signing(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("no authority")


_CLIENTS: Final = ExtensionPolicy.permit_all()
_AUTHORITIES: Final = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _require_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _require_signing)
)


def _for_clients(certificate: x509.Certificate) -> bool:
    """Whether the certificate may be shown by a client: neither of its extensions about use says otherwise."""
    try:
        extensions = certificate.extensions
    except UNREADABLE:
        return False
    for extension in extensions:
        match extension.value:
            case x509.ExtendedKeyUsage() as usages if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
                return False
            case x509.KeyUsage() as usage if not (usage.digital_signature or usage.key_agreement):
                return False
            case x509.BasicConstraints() as constraints if constraints.ca:
                return False
    return True
