"""TLS as we speak it: versions, suites, whose certificates are taken, and files that change while we run.

Connections are opened with what the files say now; those that are open go on as they are. Invariants:

* What is in force was read from one state of all files and fits together. Files that do not (half written, a key of
  another certificate, a damaged list) leave in force what was there before, until they are mended.
* A session is never taken up again with a certificate that a full handshake would refuse. New files mean new ticket
  keys, so that no session outlives the files under which it began; within their time, end and revocation of the
  certificate are looked at anew.

Spec: 35 §3.1.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, Self

import structlog
from cryptography import x509

from openscr.access.certificates import UNREADABLE
from openscr.access.registration import Cause
from openscr.access.trust import Trust, read_trust
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, utc_now

_log = structlog.get_logger("tls")

TLS_SUITES: Final = (
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
)
"""Suites of TLS 1.2; those of 1.3 are the library's own three. Spec: 35 §3.1."""

LEGACY_SUITES: Final = (
    "ECDHE-RSA-AES256-SHA384",
    "DHE-RSA-AES256-SHA256",
    "DHE-RSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
)

_GROUP: Final = Path(__file__).with_name("ffdhe2048.pem")
"""The group of the DHE suites: ffdhe2048 of RFC 7919."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Our certificate and its key, the authorities that are trusted, and their revocation lists if there are any.

    ``crl_may_be_missing`` is for the list of our own development authority, which comes with the first revocation.
    """

    certificate: Path
    key: Path
    authorities: Path
    crl: Path | None = None
    crl_may_be_missing: bool = False


@dataclass(frozen=True, slots=True)
class TlsRules:
    """Highest version, and whether the CBC suites are allowed too. Spec: 35 §3.1."""

    highest: Literal["1.2", "1.3"] = "1.3"
    legacy_ciphers: bool = False


class HandshakeRefused(ssl.SSLError):
    """We did not take what the client offered: ``cause`` is why, ``alert`` the bytes that tell the client."""

    def __init__(self, cause: Cause, alert: bytes = b"") -> None:
        super().__init__(ssl.SSL_ERROR_SSL, cause.value)
        self.cause = cause
        self.alert = alert


class _Handshake(ssl.SSLObject):
    """The server's side of one connection."""

    outgoing: ssl.MemoryBIO
    trust: Trust
    clock: Clock

    def do_handshake(self) -> None:
        """Go on with the handshake. Raises: `HandshakeRefused`, and what its base class raises for want of input."""
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError as error:
            raise HandshakeRefused(_cause_of(error), self.outgoing.read()) from error
        # OpenSSL has not looked at sessions that go on, nor whether an authority in between was revoked.
        if (self.session_reused or self.trust.checks_revocation) and (cause := self._lapsed()) is not None:
            raise HandshakeRefused(cause)

    def _lapsed(self) -> Cause | None:
        certificate = self.getpeercert(binary_form=True)
        if certificate is None:
            return Cause.NO_CERTIFICATE
        try:
            return self.trust.refusal(_read(certificate), self.clock())
        except UNREADABLE:
            return Cause.UNREADABLE_CERTIFICATE


_VERIFICATION: Final = {
    # X509_V_ERR_… of OpenSSL.
    3: Cause.REVOCATION_UNKNOWN,
    8: Cause.REVOCATION_UNKNOWN,
    9: Cause.EARLY_CERTIFICATE,
    10: Cause.EXPIRED_CERTIFICATE,
    11: Cause.REVOCATION_UNKNOWN,
    12: Cause.REVOCATION_UNKNOWN,
    23: Cause.REVOKED_CERTIFICATE,
    26: Cause.WRONG_USE,
}
_REASONS: Final = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": Cause.NO_CERTIFICATE,
    "UNSUPPORTED_PROTOCOL": Cause.TLS_VERSION,
    "VERSION_TOO_LOW": Cause.TLS_VERSION,
    "UNKNOWN_PROTOCOL": Cause.TLS_VERSION,
    "NO_SHARED_CIPHER": Cause.TLS_SUITE,
    "HTTP_REQUEST": Cause.NOT_TLS,
    "HTTPS_PROXY_REQUEST": Cause.NOT_TLS,
    "WRONG_VERSION_NUMBER": Cause.NOT_TLS,
}


def _cause_of(error: ssl.SSLError) -> Cause:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFICATION.get(error.verify_code, Cause.UNTRUSTED_CERTIFICATE)
    return _REASONS.get(error.reason or "", Cause.HANDSHAKE_FAILED)


class CurrentContext(ssl.SSLContext):
    """A context that stands for another one, which may change: connections are opened with the one of the moment.

    It has no settings of its own; whoever serves or connects with it gets those of ``current``.
    """

    current: ssl.SSLContext

    def __new__(cls, current: ssl.SSLContext) -> Self:
        """Make a context of the same side as the one that it stands for."""
        context = super().__new__(cls, current.protocol)
        context.current = current
        return context

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *rest: Any, **named: Any) -> ssl.SSLObject:
        """Open a connection with the context of the moment."""
        return self.current.wrap_bio(incoming, outgoing, *rest, **named)


class _ServerContext(ssl.SSLContext):
    """A server's context that knows whom it trusts."""

    sslobject_class: type[ssl.SSLObject] = _Handshake
    trust: Trust
    clock: Clock

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *rest: Any, **named: Any) -> ssl.SSLObject:
        """Open a connection."""
        handshake = super().wrap_bio(incoming, outgoing, *rest, **named)
        if isinstance(handshake, _Handshake):
            handshake.outgoing, handshake.trust, handshake.clock = outgoing, self.trust, self.clock
        return handshake


def server_tls(files: TlsFiles, rules: TlsRules = TlsRules(), *, clock: Clock = utc_now) -> ssl.SSLContext:
    """Make the context of the spine listener: a client certificate is required. Spec: 35 §3.1.

    Raises: `ConfigurationError` when a file is missing or does not fit.
    """
    trust = read_trust(files.authorities, files.crl)
    return _server_context(files, rules, trust, clock)


def _server_context(files: TlsFiles, rules: TlsRules, trust: Trust, clock: Clock) -> ssl.SSLContext:
    context = _ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.trust, context.clock = trust, clock
    context.verify_mode = ssl.CERT_REQUIRED
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_dh_params(str(_GROUP))
    _furnish(context, files, rules)
    return context


def client_tls(files: TlsFiles, rules: TlsRules = TlsRules()) -> ssl.SSLContext:
    """Make the context for our own requests to clients: our certificate, and the authority that we trust.

    Raises: `ConfigurationError` when a file is missing or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Clients register hosts that their certificates often do not name; delivery looks for the party's names. 35 §3.1.
    context.check_hostname = False
    _furnish(context, files, rules)
    return context


def caller_tls(files: TlsFiles, rules: TlsRules = TlsRules()) -> ssl.SSLContext:
    """Make the context for requests to a Spine: as `client_tls`, and its certificate must name the host that we call.

    Raises: `ConfigurationError` when a file is missing or does not fit. Spec: 50 §2.8, §7.
    """
    context = client_tls(files, rules)
    context.check_hostname = True
    return context


def unverified_tls(files: TlsFiles, rules: TlsRules = TlsRules()) -> ssl.SSLContext:
    """Make the context for requests to whoever answers: for tests with a Spine whose certificate is nobody's.

    Raises: `ConfigurationError` when a file is missing or does not fit. Spec: 50 §7 ``OUTBOUND_VALIDATE_CERTIFICATE``.
    """
    context = client_tls(files, rules)
    context.verify_mode = ssl.CERT_NONE
    return context


def open_tls(certificate: Path, key: Path, rules: TlsRules = TlsRules()) -> ssl.SSLContext:
    """Make the context of a listener that asks nobody for a certificate.

    Raises: `ConfigurationError` when a file is missing or does not fit. Spec: 50 F15.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_dh_params(str(_GROUP))
    _limit(context, rules)
    try:
        _show(context, certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(error, certificate, key) from None
    return context


def _furnish(context: ssl.SSLContext, files: TlsFiles, rules: TlsRules) -> None:
    _limit(context, rules)
    try:
        _show(context, files.certificate, files.key)
        context.load_verify_locations(files.authorities)
        if files.crl is not None:
            context.load_verify_locations(files.crl)
            context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    except (OSError, ssl.SSLError) as error:
        raise _unusable(error, files.certificate, files.key, files.authorities) from None


def _limit(context: ssl.SSLContext, rules: TlsRules) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if rules.highest == "1.2" else ssl.TLSVersion.TLSv1_3
    context.set_ciphers(":".join(TLS_SUITES + (LEGACY_SUITES if rules.legacy_ciphers else ())))


def _show(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    # A key with a password would be asked for on the terminal.
    context.load_cert_chain(certificate, key, password=lambda: b"")


def _unusable(error: OSError, certificate: Path, key: Path, *others: Path) -> ConfigurationError:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return ConfigurationError(f"{key} is not the key of the certificate {certificate}")
    named = ", ".join(map(str, (certificate, key, *others)))
    return ConfigurationError(f"the TLS files ({named}) cannot be used: {error.strerror or reason or error}")


class Tls:
    """What the TLS files say now, for both sides: we serve with ``server`` and deliver with ``client``.

    ``calling`` makes the context of the client's side.
    Making one raises `ConfigurationError` for files that cannot be used; a list that has ended is no such thing: it is
    logged, and keeps everybody out until there is a new one.
    """

    def __init__(
        self,
        files: TlsFiles,
        rules: TlsRules = TlsRules(),
        *,
        clock: Clock = utc_now,
        calling: Callable[[TlsFiles, TlsRules], ssl.SSLContext] = client_tls,
    ) -> None:
        self._files = files
        self._rules = rules
        self._clock = clock
        self._calling = calling
        self._seen = self._state()
        self.trust, server, client = self._read()
        self.server = CurrentContext(server)
        self.client = CurrentContext(client)
        self._told_of_end = False
        self._watch_end()

    def lapsed(self, certificate: bytes) -> bool:
        """Whether a certificate (DER) whose chain was found good before is not good any more."""
        try:
            return self.trust.refusal(_read(certificate), self._clock()) is not None
        except UNREADABLE:
            return True

    @property
    def nobody_counts(self) -> bool:
        """Whether a revocation list has ended, so that no client certificate is taken."""
        end = self.trust.lists_end
        return end is not None and self._clock() > end

    def look(self) -> bool:
        """Look whether the files have changed, and take them if they fit together; return whether they were taken.

        Reads files and makes keys: milliseconds, and none of them when nothing has changed.
        """
        self._watch_end()
        state = self._state()
        if state == self._seen:
            return False
        try:
            trust, server, client = self._read()
        except ConfigurationError as error:
            self._seen = state
            _log.error("changed TLS files not taken; what was in force stays", reason=error.diagnostics)
            return False
        if self._state() != state:
            # Somebody is still writing: the next look takes them.
            return False
        self._seen, self.trust = state, trust
        self.server.current, self.client.current = server, client
        self._told_of_end = False
        _log.info("changed TLS files taken", **_described(self._files.certificate))
        self._watch_end()
        return True

    def _read(self) -> tuple[Trust, ssl.SSLContext, ssl.SSLContext]:
        files = self._files
        in_force = getattr(self, "trust", None)
        if files.crl_may_be_missing and not (in_force is not None and in_force.checks_revocation):
            files = files if files.crl is not None and files.crl.exists() else replace(files, crl=None)
        trust = read_trust(files.authorities, files.crl)
        return trust, _server_context(files, self._rules, trust, self._clock), self._calling(files, self._rules)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        files = self._files
        return tuple(_state_of(path) for path in (files.certificate, files.key, files.authorities, files.crl) if path)

    def _watch_end(self) -> None:
        end = self.trust.lists_end
        if end is not None and self.nobody_counts and not self._told_of_end:
            self._told_of_end = True
            _log.error(
                "the revocation list has ended: no client certificate is taken until there is a new one",
                file=str(self._files.crl),
                ended=end.isoformat(),
            )


class ListenerTls:
    """TLS of one listener by what its files say now: it serves with ``context``.

    With ``authorities`` callers need a certificate of theirs, without them nobody is asked for one.
    Making one raises `ConfigurationError` for files that cannot be used. Spec: 50 F15, F16.
    """

    def __init__(self, certificate: Path, key: Path, authorities: Path | None, *, clock: Clock = utc_now) -> None:
        self._certificate = certificate
        self._key = key
        self._authorities = authorities
        self._clock = clock
        self._seen = self._state()
        self.context = CurrentContext(self._read())

    def look(self) -> bool:
        """Look whether the files have changed, and take them if they fit together; return whether they were taken."""
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        try:
            self.context.current = self._read()
        except ConfigurationError as error:
            _log.error("changed TLS files not taken; what was in force stays", reason=error.diagnostics)
            return False
        _log.info("changed TLS files taken", **_described(self._certificate))
        return True

    def _read(self) -> ssl.SSLContext:
        if self._authorities is None:
            return open_tls(self._certificate, self._key)
        return server_tls(TlsFiles(self._certificate, self._key, self._authorities), clock=self._clock)

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_state_of(path) for path in (self._certificate, self._key, self._authorities) if path)


@lru_cache(maxsize=1024)
def _read(certificate: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino, status.st_size


def _described(certificate: Path) -> dict[str, str]:
    """Return what the log says of a certificate; it was read a moment ago."""
    try:
        read = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    except (OSError, ValueError):
        return {}
    return {"serial": f"{read.serial_number:X}", "not_after": read.not_valid_after_utc.isoformat()}
