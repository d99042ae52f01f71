"""Certificates of the development authority, read back and used in real handshakes. Spec: 35 §3.1, §9.5; 00 §4."""

import asyncio
import ssl
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from openscr.access import pki, pki_revocation
from openscr.access.certificates import ClientCertificate, names_of_certificate
from openscr.errors import AccessRefused, ConfigurationError
from openscr.identifiers import utc_now


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "pki"
    pki.make_demo_certificates(folder)
    return folder


def names(folder: Path, name: str) -> ClientCertificate:
    pem = (folder / f"{name}.pem").read_bytes()
    return names_of_certificate(x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER))


def usage_of(path: Path) -> x509.ExtendedKeyUsage:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value


# --- the demo set ---------------------------------------------------------------------------------------------------


def test_the_demo_world_has_its_certificates_and_those_that_must_not_be_let_in(folder: Path) -> None:
    issued = {certificate.name: certificate for certificate in pki.show(folder)}
    assert set(issued) == {
        "ca", "foreign-ca", "localhost", "gp.client.test", "viewer.client.test",
        "unknown.client.test", "expired", "foreign",
    }  # fmt: skip
    assert issued["localhost"].subject == "CN=localhost"
    assert issued["expired"].subject == issued["foreign"].subject == "CN=gp.client.test"
    assert issued["expired"].not_after < utc_now() < issued["gp.client.test"].not_after
    assert issued["localhost"].serial == names(folder, "localhost").serial


def test_keys_are_for_their_owner_alone_and_nothing_half_written_stays(folder: Path) -> None:
    for path in folder.iterdir():
        assert path.suffix in {".pem", ".key"}
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if path.suffix == ".key" else 0o644)
        assert path.with_suffix(".pem").exists()
        assert path.with_suffix(".key").exists()


def test_a_second_start_issues_only_what_is_missing(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "viewer.client.test.pem").unlink()
    pki.make_demo_certificates(folder)
    after = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert set(after) == set(before)
    assert {name for name in after if after[name] != before[name]} == {"viewer.client.test.pem"}


def test_certificates_past_their_time_are_issued_again_with_their_keys(tmp_path: Path) -> None:
    past = utc_now() - timedelta(days=1000)
    pki.make_demo_certificates(tmp_path, clock=lambda: past)
    keys = {path.name: path.read_bytes() for path in tmp_path.glob("*.key")}
    pki.make_demo_certificates(tmp_path)
    valid = {certificate.name for certificate in pki.show(tmp_path) if certificate.not_after > utc_now()}
    assert valid == {certificate.name for certificate in pki.show(tmp_path)} - {"expired"}
    assert keys == {path.name: path.read_bytes() for path in tmp_path.glob("*.key")}


# --- handshakes -----------------------------------------------------------------------------------------------------


async def handshake(folder: Path, client: str | None, *, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2) -> bytes:
    """Connect to a listener that demands a certificate of our authority; return the DER that it saw."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "localhost.pem", folder / "localhost.key")
    server.load_verify_locations(folder / "ca.pem")
    server.verify_mode = ssl.CERT_REQUIRED
    server.verify_flags |= ssl.VERIFY_X509_STRICT
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    # With TLS 1.2 the refusal of a client certificate is part of the client's handshake.
    context.maximum_version = version
    if client:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        der = await seen
        writer.close()
        await writer.wait_closed()
    return der


@pytest.mark.parametrize("name", ["gp.client.test", "viewer.client.test", "unknown.client.test"])
async def test_a_certificate_of_the_authority_is_let_in_and_names_its_holder(folder: Path, name: str) -> None:
    certificate = names_of_certificate(await handshake(folder, name))
    assert certificate == names(folder, name)
    assert (certificate.common_name, certificate.dns_names, certificate.name) == (name, (name,), name)


@pytest.mark.parametrize("name", ["expired", "foreign", None])
async def test_an_expired_or_foreign_certificate_or_none_is_not_let_in(folder: Path, name: str | None) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await handshake(folder, name)


# --- issuing --------------------------------------------------------------------------------------------------------


def test_a_certificate_can_be_issued_and_renewed(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    pki.create_authority(tmp_path, clock=lambda: start)
    path = pki.issue(
        tmp_path, "mhs.test", dns_names=["alias.test", "127.0.0.1"], usage="both", days=10, clock=lambda: start
    )
    assert path == tmp_path / "mhs.test.pem"
    first = names(tmp_path, "mhs.test")
    assert first.dns_names == ("mhs.test", "alias.test")
    assert first.not_after == start + timedelta(days=10)

    usage = usage_of(path)
    assert len(usage) == 2
    key = (tmp_path / "mhs.test.key").read_bytes()
    pki.renew(tmp_path, "mhs.test", days=20, clock=lambda: start)
    second = names(tmp_path, "mhs.test")
    assert second.dns_names == first.dns_names
    assert second.not_after == start + timedelta(days=20)
    assert second.serial != first.serial
    assert (tmp_path / "mhs.test.key").read_bytes() == key
    assert usage_of(path) == usage


def test_no_certificate_outlives_its_authority(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    pki.create_authority(tmp_path, clock=lambda: start)
    late = start + timedelta(days=3600)
    pki.issue(tmp_path, "late.test", days=365, clock=lambda: late)
    assert names(tmp_path, "late.test").not_after == names(tmp_path, "ca").not_after


def test_a_second_authority_is_not_made_where_there_is_one(folder: Path) -> None:
    before = (folder / "ca.pem").read_bytes()
    assert pki.create_authority(folder).read_bytes() == before


def test_a_folder_that_is_not_there_has_no_certificates(tmp_path: Path) -> None:
    assert pki.show(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda folder: pki.issue(folder / "none", "a.test"), "cannot be read"),
        (lambda folder: pki.issue(folder, "../a"), "letters, digits"),
        (lambda folder: pki.issue(folder, ""), "letters, digits"),
        (lambda folder: pki.issue(folder, "a.test", days=0), "days"),
        (lambda folder: pki.issue(folder, "a.test", dns_names=["ä.test"]), "host name"),
        (lambda folder: pki.renew(folder, "none"), "cannot be read"),
        (lambda folder: pki.renew(folder, "ca"), "not issued"),
    ],
)
def test_what_cannot_be_issued_is_said(tmp_path: Path, act: Callable[[Path], Path], text: str) -> None:
    pki.create_authority(tmp_path)
    with pytest.raises(ConfigurationError, match=text):
        act(tmp_path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    pki.create_authority(tmp_path)
    (tmp_path / "ca.key").write_text("no key")
    with pytest.raises(ConfigurationError, match=r"ca\.key is not a private key"):
        pki.issue(tmp_path, "a.test")
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigurationError, match=r"ca\.pem is not a certificate"):
        pki.show(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        pki.create_authority(tmp_path / "file" / "pki")


def test_a_certificate_of_a_version_that_there_is_not_is_refused(folder: Path) -> None:
    der = x509.load_pem_x509_certificate((folder / "localhost.pem").read_bytes()).public_bytes(Encoding.DER)
    version = b"\xa0\x03\x02\x01\x02"
    assert version in der
    with pytest.raises(AccessRefused, match="unreadable_certificate"):
        names_of_certificate(der.replace(version, version[:-1] + b"\x27", 1))


@pytest.mark.parametrize("der", [b"", b"\x30\x03\x02\x01\x01", b"certificate"])
def test_bytes_that_are_no_certificate_are_refused(der: bytes) -> None:
    with pytest.raises(AccessRefused, match="unreadable_certificate"):
        names_of_certificate(der)


# --- keys -----------------------------------------------------------------------------------------------------------


def key_of(path: Path) -> object:
    return x509.load_pem_x509_certificate(path.read_bytes()).public_key()


def test_a_key_is_rsa_unless_a_curve_is_asked_for_and_then_stays_what_it_is(tmp_path: Path) -> None:
    pki.create_authority(tmp_path)
    assert isinstance(key_of(pki.issue(tmp_path, "rsa.test")), rsa.RSAPublicKey)
    curve = key_of(pki.issue(tmp_path, "ec.test", key_type="ec"))
    assert isinstance(curve, ec.EllipticCurvePublicKey)
    assert curve.curve.name == "secp256r1"
    assert key_of(pki.renew(tmp_path, "ec.test")) == curve
    assert key_of(pki.issue(tmp_path, "ec.test")) == curve
    assert key_of(pki.renew(tmp_path, "ec.test", new_key=True)) != curve
    assert isinstance(key_of(pki.issue(tmp_path, "ec.test", key_type="rsa")), rsa.RSAPublicKey)
    usage = x509.load_pem_x509_certificate((tmp_path / "rsa.test.pem").read_bytes()).extensions
    assert usage.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    pki.issue(tmp_path, "ec.test", key_type="ec")
    usage = x509.load_pem_x509_certificate((tmp_path / "ec.test.pem").read_bytes()).extensions
    assert not usage.get_extension_for_class(x509.KeyUsage).value.key_encipherment
    assert stat.S_IMODE((tmp_path / "ec.test.key").stat().st_mode) == 0o600


async def test_a_client_with_an_ec_key_is_let_in(tmp_path: Path) -> None:
    pki.make_demo_certificates(tmp_path)
    pki.issue(tmp_path, "curve.test", key_type="ec")
    assert names_of_certificate(await handshake(tmp_path, "curve.test")).name == "curve.test"


# --- revoking -------------------------------------------------------------------------------------------------------


def list_of(folder: Path, authority: str = "ca") -> x509.CertificateRevocationList:
    return x509.load_pem_x509_crl((folder / f"{authority}.crl").read_bytes())


def number_of(revocation: x509.CertificateRevocationList) -> int:
    return revocation.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_a_revoked_certificate_stays_on_the_list_and_its_key_is_not_used_again(tmp_path: Path) -> None:
    pki.create_authority(tmp_path)
    first = x509.load_pem_x509_certificate(pki.issue(tmp_path, "a.test").read_bytes())
    second = x509.load_pem_x509_certificate(pki.issue(tmp_path, "b.test").read_bytes())
    written = pki_revocation.revoke(tmp_path, "a.test", days=10)
    assert written.path == tmp_path / "ca.crl"
    assert number_of(list_of(tmp_path)) == 1
    again = pki_revocation.revoke(tmp_path, "a.test")
    assert again.serials == written.serials == (f"{first.serial_number:X}",)
    key = (tmp_path / "a.test.key").read_bytes()
    renewed = x509.load_pem_x509_certificate(pki.renew(tmp_path, "a.test").read_bytes())
    assert renewed.public_key() != first.public_key()
    assert (tmp_path / "a.test.key").read_bytes() != key
    # The new one is not revoked; one from before can be, by its number.
    pki_revocation.revoke(tmp_path, "b.test", serial=renewed.serial_number)
    revocation = list_of(tmp_path)
    assert {each.serial_number for each in revocation} == {first.serial_number, renewed.serial_number}
    assert second.serial_number not in {each.serial_number for each in revocation}
    assert number_of(revocation) == 3
    authority = x509.load_pem_x509_certificate((tmp_path / "ca.pem").read_bytes()).public_key()
    assert isinstance(authority, rsa.RSAPublicKey)
    assert revocation.is_signature_valid(authority)
    assert stat.S_IMODE((tmp_path / "ca.crl").stat().st_mode) == 0o644


def test_each_authority_has_its_own_list(tmp_path: Path) -> None:
    pki.make_demo_certificates(tmp_path)
    pki_revocation.revoke(tmp_path, "foreign")
    assert not (tmp_path / "ca.crl").exists()
    assert len(list_of(tmp_path, "foreign-ca")) == 1
    states = {one.name: one.state for one in pki.show(tmp_path)}
    assert states["foreign"] is pki.State.REVOKED
    assert states["gp.client.test"] is pki.State.GOOD


def test_a_list_is_in_force_no_longer_than_its_authority(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    pki.create_authority(tmp_path, clock=lambda: start)
    written = pki_revocation.write_list(tmp_path, days=3650, clock=lambda: start + timedelta(days=3000))
    assert written.ends == names(tmp_path, "ca").not_after
    assert pki_revocation.end_of_list(tmp_path) == written.ends
    assert pki_revocation.end_of_list(tmp_path, "foreign-ca") is None


def test_a_damaged_list_is_not_replaced_by_one_that_forgets(tmp_path: Path) -> None:
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "a.test")
    (tmp_path / "ca.crl").write_text("no list")
    for act in (
        lambda: pki_revocation.revoke(tmp_path, "a.test"),
        lambda: pki_revocation.write_list(tmp_path),
        lambda: pki.renew(tmp_path, "a.test"),
        lambda: pki.show(tmp_path),
    ):
        with pytest.raises(ConfigurationError, match=r"ca\.crl is not a revocation list"):
            act()
    assert (tmp_path / "ca.crl").read_text() == "no list"


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda folder: pki_revocation.revoke(folder, "nobody"), "cannot be read"),
        (lambda folder: pki_revocation.revoke(folder, "ca"), "not issued"),
        (lambda folder: pki_revocation.revoke(folder, "../x"), "letters, digits"),
        (lambda folder: pki_revocation.revoke(folder, "a.test", serial=0), "no serial number"),
        (lambda folder: pki_revocation.revoke(folder, "a.test", serial=1 << 160), "no serial number"),
        (lambda folder: pki_revocation.write_list(folder / "none"), "cannot be read"),
    ],
)
def test_what_cannot_be_revoked_is_said(tmp_path: Path, act: Callable[[Path], object], text: str) -> None:
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "a.test")
    with pytest.raises(ConfigurationError, match=text):
        act(tmp_path)


def test_how_a_certificate_stands_is_shown(tmp_path: Path) -> None:
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    pki.create_authority(tmp_path, clock=lambda: start)
    pki.issue(tmp_path, "a.test", dns_names=["192.0.2.1"], days=100, clock=lambda: start)

    def shown(days: int) -> pki.IssuedCertificate:
        return next(
            one for one in pki.show(tmp_path, clock=lambda: start + timedelta(days=days)) if one.name == "a.test"
        )

    assert [shown(days).state for days in (-1, 0, 69, 71, 101)] == [
        pki.State.EARLY, pki.State.GOOD, pki.State.GOOD, pki.State.ENDING, pki.State.ENDED,
    ]  # fmt: skip
    assert [shown(days).days_left for days in (0, 71, 102)] == [100, 29, -2]
    assert (shown(0).names, shown(0).key) == (("a.test", "192.0.2.1"), "RSA 2048")
    assert shown(0).issuer == "CN=OpenSCR development ca,O=OpenSCR development"
