"""Client certificates that a proxy forwards: who may forward them, and what they are worth.

A proxy that ends its clients' TLS connects to us with a certificate of its own and says in a header whose request it
passes on. From anybody else that header is a forgery, or a proxy that nobody has entered: either is refused, so that it
is noticed. A trusted proxy that forwards no certificate is refused too; it never speaks for itself.

The forwarded certificate is judged by us as a handshake would judge it, whatever the proxy has found.

Spec: 35 §3.1 ``tls.trusted_proxies``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from cryptography import x509

from openscr.access.certificates import UNREADABLE, ClientCertificate, names_of
from openscr.access.networks import TrustedAddresses
from openscr.access.registration import Cause
from openscr.access.trust import Trust
from openscr.errors import AccessRefused
from openscr.identifiers import Clock

HEADER: Final = b"x-client-cert"

_LONGEST: Final = 16_384
_REMEMBERED: Final = 1024
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"

Certificate = tuple[x509.Certificate, ClientCertificate]


class ForwardedCertificates:
    """Tells whose request it is that came over a connection.

    ``proxies`` are addresses or networks, ``trust`` gives the authorities and revocation lists of the moment.
    """

    def __init__(self, proxies: Iterable[str], trust: Callable[[], Trust], clock: Clock) -> None:
        self._proxies = TrustedAddresses(proxies)
        self._trust = trust
        self._clock = clock
        # Certificates whose chain is good by this header's bytes, as long as the authorities are the same.
        self._known: dict[bytes, Certificate] = {}
        self._known_by: Trust | None = None

    def certificate_of(
        self, own: ClientCertificate | None, address: str | None, headers: Sequence[tuple[bytes, bytes]]
    ) -> ClientCertificate | None:
        """Return the certificate of who asks: the connection's ``own``, or the one that a trusted proxy forwards.

        ``headers`` have their names in lower case. Raises: `AccessRefused` whose ``diagnostics`` is a `Cause`.
        """
        forwarded = [value for name, value in headers if name == HEADER]
        if address not in self._proxies:
            if forwarded:
                raise AccessRefused(Cause.FORWARDED_BY_STRANGER)
            return own
        if not forwarded:
            raise AccessRefused(Cause.NOT_FORWARDED)
        if len(forwarded) > 1:
            raise AccessRefused(Cause.FORWARDED_TWICE)
        return self._read(forwarded[0])

    def _read(self, value: bytes) -> ClientCertificate:
        trust, now = self._trust(), self._clock()
        if trust is not self._known_by:
            self._known.clear()
            self._known_by = trust
        known = self._known.get(value)
        if known is None:
            certificate = _certificate_in(value)
            cause = trust.refusal_of_stranger(certificate, now)
        else:
            # Its time may have passed, or that of the list, since it was looked at.
            cause = trust.refusal(known[0], now)
        if cause is not None:
            raise AccessRefused(cause)
        if known is None:
            known = certificate, names_of(certificate)
            while len(self._known) >= _REMEMBERED:
                self._known.pop(next(iter(self._known)))
            self._known[value] = known
        return known[1]


def _certificate_in(value: bytes) -> x509.Certificate:
    """Read URL-encoded PEM that holds one certificate and nothing else. Raises: `AccessRefused`."""
    pem = unquote_to_bytes(value).strip()
    if len(value) > _LONGEST or not pem.startswith(_BEGIN) or pem.count(b"-----BEGIN") != 1:
        raise AccessRefused(Cause.UNREADABLE_CERTIFICATE)
    try:
        return x509.load_pem_x509_certificate(pem)
    except UNREADABLE:
        raise AccessRefused(Cause.UNREADABLE_CERTIFICATE) from None
