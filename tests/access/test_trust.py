"""Authorities and revocation lists, where no handshake judges. Held against OpenSSL's own verdict. Spec: 35 §3.1."""

import contextlib
import ssl
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from openscr.access.registration import Cause
from openscr.access.trust import Trust, read_trust
from openscr.errors import ConfigurationError
from openscr.tls import HandshakeRefused, TlsFiles, server_tls

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Holder:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: Key

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(not signs, False, False, False, False, signs, signs, False, False)


def certify(
    name: str,
    issuer: Holder | None = None,
    *,
    ca: bool = False,
    extensions: Sequence[tuple[x509.ExtensionType, bool]] | None = None,
    start: datetime = NOW - DAY,
    end: datetime = NOW + 30 * DAY,
    key: Key | None = None,
) -> Holder:
    """Issue a certificate as an authority of the field does; ``extensions`` in place of the usual ones."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    if extensions is None:
        extensions = [(x509.BasicConstraints(ca=ca, path_length=None), True), (usage(signs=ca), True)]
        extensions += [] if ca else [(CLIENT, False)]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return Holder(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


def revocation(
    issuer: Holder,
    *revoked: Holder,
    ends: datetime = NOW + DAY,
    begins: datetime = NOW - DAY,
    signer: Holder | None = None,
) -> x509.CertificateRevocationList:
    entries = [
        x509.RevokedCertificateBuilder()
        .serial_number(each.certificate.serial_number)
        .revocation_date(NOW - DAY)
        .build()
        for each in revoked
    ]
    builder = x509.CertificateRevocationListBuilder(
        issuer.certificate.subject, last_update=begins, next_update=ends, revoked_certificates=entries
    )
    return builder.sign((signer or issuer).key, hashes.SHA256())


@pytest.fixture(scope="module")
def root() -> Holder:
    return certify(
        "Root", ca=True, start=NOW - 9 * DAY, key=rsa.generate_private_key(public_exponent=65537, key_size=2048)
    )


@pytest.fixture(scope="module")
def sub(root: Holder) -> Holder:
    return certify("Sub", root, ca=True, start=NOW - 9 * DAY)


@pytest.fixture(scope="module")
def client(sub: Holder) -> Holder:
    """No alternative name: only a common name, as certificates of the field may be."""
    return certify("gp.client.test", sub)


@pytest.fixture(scope="module")
def trust(root: Holder, sub: Holder) -> Trust:
    return Trust([root.certificate, sub.certificate])


# --- chains ---------------------------------------------------------------------------------------------------------

LEAVES: dict[str, tuple[Callable[[Holder, Holder], Holder], Cause | None]] = {
    "of the sub authority": (lambda root, sub: certify("a", sub), None),
    "of the root itself": (lambda root, sub: certify("a", root), None),
    "without any extension": (lambda root, sub: certify("a", sub, extensions=[]), None),
    "for key agreement": (
        lambda root, sub: certify(
            "a",
            sub,
            extensions=[(x509.KeyUsage(False, False, False, False, True, False, False, False, False), True)],
        ),
        None,
    ),
    "for servers": (lambda root, sub: certify("a", sub, extensions=[(SERVER, False)]), Cause.WRONG_USE),
    "for signing alone": (
        lambda root, sub: certify("a", sub, extensions=[(usage(signs=True), True)]),
        Cause.WRONG_USE,
    ),
    "of nobody": (lambda root, sub: certify("a"), Cause.UNTRUSTED_CERTIFICATE),
    "of another authority": (
        lambda root, sub: certify("a", certify("Other", ca=True)),
        Cause.UNTRUSTED_CERTIFICATE,
    ),
    "of an authority that only bears the name": (
        lambda root, sub: certify("a", certify("Sub", root, ca=True, key=ec.generate_private_key(ec.SECP256R1()))),
        Cause.UNTRUSTED_CERTIFICATE,
    ),
    "of a client's certificate": (
        lambda root, sub: certify("a", certify("gp.client.test", sub)),
        Cause.UNTRUSTED_CERTIFICATE,
    ),
    "with a critical extension that nobody knows": (
        lambda root, sub: certify(
            "a", sub, extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)]
        ),
        Cause.UNTRUSTED_CERTIFICATE,
    ),
    "with a small key": (
        lambda root, sub: certify("a", sub, key=rsa.generate_private_key(65537, 1024)),  # noqa: S505 that is the point
        Cause.UNTRUSTED_CERTIFICATE,
    ),
    "of yesterday": (
        lambda root, sub: certify("a", sub, start=NOW - 2 * DAY, end=NOW - DAY),
        Cause.EXPIRED_CERTIFICATE,
    ),
    "of tomorrow": (lambda root, sub: certify("a", sub, start=NOW + DAY), Cause.EARLY_CERTIFICATE),
    "of yesterday and of another authority": (
        lambda root, sub: certify("a", certify("Sub", ca=True), start=NOW - 2 * DAY, end=NOW - DAY),
        Cause.UNTRUSTED_CERTIFICATE,
    ),
}


@pytest.mark.parametrize("kind", LEAVES)
def test_a_certificate_is_judged_as_openssl_judges_it(
    root: Holder, sub: Holder, trust: Trust, kind: str, tmp_path: Path
) -> None:
    make, expected = LEAVES[kind]
    leaf = make(root, sub)
    assert trust.refusal_of_stranger(leaf.certificate, NOW) == expected
    (tmp_path / "ca.pem").write_bytes(root.pem + sub.pem)
    (tmp_path / "leaf.pem").write_bytes(leaf.pem)
    command = ("openssl", "verify", "-purpose", "sslclient", "-auth_level", "2", "-CAfile", "ca.pem", "leaf.pem")
    verdict = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (verdict.returncode == 0) == (expected is None), verdict.stderr


def test_an_authority_whose_time_is_over_vouches_for_nobody(root: Holder) -> None:
    old = certify("Old", root, ca=True, start=NOW - 9 * DAY, end=NOW - DAY)
    leaf = certify("a", old, start=NOW - 2 * DAY)
    trust = Trust([root.certificate, old.certificate])
    assert trust.refusal_of_stranger(leaf.certificate, NOW) is Cause.UNTRUSTED_CERTIFICATE
    assert trust.refusal_of_stranger(leaf.certificate, NOW - timedelta(hours=30)) is None


def test_without_a_root_there_is_no_trust(sub: Holder) -> None:
    with pytest.raises(ConfigurationError, match="the root of the chain is missing"):
        Trust([sub.certificate])


# --- revocation -----------------------------------------------------------------------------------------------------


def test_who_is_on_the_list_of_its_authority_is_refused(root: Holder, sub: Holder, client: Holder) -> None:
    other, of_root = certify("b", sub), certify("c", root)
    trust = Trust([root.certificate, sub.certificate], [revocation(sub, client), revocation(root)])
    assert trust.refusal_of_stranger(client.certificate, NOW) is Cause.REVOKED_CERTIFICATE
    assert trust.refusal(client.certificate, NOW) is Cause.REVOKED_CERTIFICATE
    assert trust.refusal_of_stranger(other.certificate, NOW) is None
    assert trust.refusal_of_stranger(of_root.certificate, NOW) is None


def test_a_list_that_has_ended_or_is_missing_lets_nobody_in(root: Holder, sub: Holder, client: Holder) -> None:
    trust = Trust([root.certificate, sub.certificate], [revocation(sub)])
    assert trust.lists_end == NOW + DAY
    assert trust.refusal(client.certificate, NOW) is None
    assert trust.refusal(client.certificate, NOW + DAY + timedelta(seconds=1)) is Cause.REVOCATION_UNKNOWN
    assert trust.refusal_of_stranger(certify("c", root).certificate, NOW) is Cause.REVOCATION_UNKNOWN
    assert Trust([root.certificate], []).refusal(certify("c", root).certificate, NOW) is Cause.REVOCATION_UNKNOWN


def test_the_newest_list_of_an_authority_counts(root: Holder, sub: Holder, client: Holder) -> None:
    old = revocation(sub, client, begins=NOW - 3 * DAY, ends=NOW - DAY)
    trust = Trust([root.certificate, sub.certificate], [revocation(sub), old])
    assert trust.refusal(client.certificate, NOW) is None


def test_two_authorities_of_one_name_have_both_their_lists(root: Holder, sub: Holder, client: Holder) -> None:
    """A new key under the old name: who either of them has revoked is out."""
    again = certify("Sub", root, ca=True)
    trust = Trust([root.certificate, sub.certificate, again.certificate], [revocation(sub, client), revocation(again)])
    assert trust.refusal(client.certificate, NOW) is Cause.REVOKED_CERTIFICATE
    assert trust.refusal_of_stranger(certify("d", again).certificate, NOW) is None


def test_nobody_counts_whose_authority_was_revoked(root: Holder, sub: Holder, client: Holder) -> None:
    """The root has revoked the authority in between, whose own list knows nothing of that; and what is below it."""
    below = certify("Below", sub, ca=True)
    authorities = [root.certificate, sub.certificate, below.certificate]
    lists = [revocation(sub), revocation(below)]
    for leaf in (client, certify("d", below)):
        assert Trust(authorities, [*lists, revocation(root)]).refusal_of_stranger(leaf.certificate, NOW) is None
        trust = Trust(authorities, [*lists, revocation(root, sub)])
        assert trust.refusal_of_stranger(leaf.certificate, NOW) is Cause.REVOKED_CERTIFICATE
        assert trust.refusal(leaf.certificate, NOW) is Cause.REVOKED_CERTIFICATE
    of_root = certify("c", root)
    assert trust.refusal(of_root.certificate, NOW) is None
    # The authority has a new certificate: its name counts again.
    again = certify("Sub", root, ca=True, key=sub.key)
    trust = Trust([*authorities, again.certificate], [*lists, revocation(root, sub)])
    assert trust.refusal(client.certificate, NOW) is None


@pytest.mark.parametrize("revoked", [False, True])
def test_a_handshake_asks_whether_the_authority_was_revoked(
    root: Holder, sub: Holder, client: Holder, tmp_path: Path, *, revoked: bool
) -> None:
    """OpenSSL is asked for the list of the client's own issuer alone; the rest is looked at behind it."""
    server = certify("localhost", sub, extensions=[(SERVER, False)])
    for name, holder in (("server", server), ("client", client)):
        (tmp_path / f"{name}.pem").write_bytes(holder.pem + sub.pem)
        (tmp_path / f"{name}.key").write_bytes(_private(holder))
    (tmp_path / "ca.pem").write_bytes(root.pem + sub.pem)
    lists = [revocation(sub), revocation(root, *([sub] if revoked else []))]
    (tmp_path / "crl").write_bytes(b"".join(each.public_bytes(serialization.Encoding.PEM) for each in lists))
    files = TlsFiles(tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "ca.pem", tmp_path / "crl")
    theirs = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    theirs.check_hostname = False
    theirs.load_cert_chain(tmp_path / "client.pem", tmp_path / "client.key")
    if not revoked:
        _shake_hands(server_tls(files), theirs)
        return
    with pytest.raises(HandshakeRefused) as refused:
        _shake_hands(server_tls(files), theirs)
    assert refused.value.cause is Cause.REVOKED_CERTIFICATE


def _private(holder: Holder) -> bytes:
    return holder.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _shake_hands(ours: ssl.SSLContext, theirs: ssl.SSLContext) -> None:
    """Let two sides shake hands until the server's is through. Raises: what the server's side raises."""
    upward, downward = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(upward, downward, server_side=True)
    client = theirs.wrap_bio(downward, upward)
    for _ in range(10):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            continue
        return
    raise AssertionError("the handshake does not end")


@pytest.mark.parametrize("signed_by", ["another name", "another key"])
def test_a_list_of_somebody_else_is_refused(root: Holder, sub: Holder, signed_by: str) -> None:
    other = certify("Other", ca=True)
    forged = revocation(other) if signed_by == "another name" else revocation(sub, signer=other)
    with pytest.raises(ConfigurationError, match="not signed by any of the authorities"):
        Trust([root.certificate, sub.certificate], [forged])


# --- files ----------------------------------------------------------------------------------------------------------


def test_several_authorities_and_lists_stand_in_one_file(
    root: Holder, sub: Holder, client: Holder, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_bytes(b"the national chain\n" + root.pem + sub.pem)
    lists = [revocation(root), revocation(sub, client)]
    blocks = [each.public_bytes(serialization.Encoding.PEM) for each in lists]
    (tmp_path / "lists.pem").write_bytes(b"# of today\n" + b"".join(blocks))
    trust = read_trust(tmp_path / "ca.pem", tmp_path / "lists.pem")
    assert trust.checks_revocation
    assert trust.refusal_of_stranger(client.certificate, NOW) is Cause.REVOKED_CERTIFICATE
    assert not read_trust(tmp_path / "ca.pem", None).checks_revocation
    for damaged in (blocks[0] + blocks[1][:100], blocks[0] + b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----"):
        (tmp_path / "lists.pem").write_bytes(damaged)
        with pytest.raises(ConfigurationError, match=r"lists\.pem: the revocation list is damaged"):
            read_trust(tmp_path / "ca.pem", tmp_path / "lists.pem")
    (tmp_path / "ca.pem").write_bytes(b"no certificates")
    with pytest.raises(ConfigurationError, match=r"ca\.pem are not certificates"):
        read_trust(tmp_path / "ca.pem", None)
