"""Keys from text, files and PKCS#12: usable for TLS, never on disk, followed when they change. Spec: 50 F16."""

import os
import re
import ssl
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, NoEncryption, load_pem_private_key
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates
from structlog.testing import capture_logs

from openscr.access.pki import create_authority, issue
from openscr.errors import ConfigurationError
from openscr.identifiers import utc_now
from openscr.mhs.keys import KeyMaterial
from openscr.mhs.settings import MhsSettings
from openscr.tls import Tls, TlsFiles

PASSWORD = "hidden-password"


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two certificates of one authority, and one that ends in ten days."""
    folder = tmp_path_factory.mktemp("pki")
    create_authority(folder)
    issue(folder, "mhs.test", usage="both", days=400)
    issue(folder, "other.test", usage="both", days=400)
    issue(folder, "soon.test", usage="both", days=10)
    return folder


@pytest.fixture(autouse=True)
def nothing_is_left_open() -> Iterator[None]:
    """Whatever a test opens in memory must be let go."""
    yield
    descriptors = Path("/proc/self/fd")
    assert not [each for each in descriptors.iterdir() if "openscr-" in _target(each)]


def _target(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)
    except OSError:
        return ""


def as_text(pki: Path, name: str = "mhs.test") -> MhsSettings:
    return MhsSettings(
        secret_party_key="P",
        secret_client_cert=(pki / f"{name}.pem").read_text(),
        secret_client_key=(pki / f"{name}.key").read_text(),
        secret_ca_certs=(pki / "ca.pem").read_text(),
    )


def as_files(folder: Path) -> MhsSettings:
    return MhsSettings(
        secret_party_key="P",
        client_cert_file=folder / "client.pem",
        client_key_file=folder / "client.key",
        ca_certs_file=folder / "ca.pem",
    )


def as_bundle(pki: Path, bundle: Path, password: str | None = PASSWORD) -> MhsSettings:
    return MhsSettings(
        secret_party_key="P",
        client_pkcs12_file=bundle,
        secret_client_pkcs12_password=password,
        ca_certs_file=pki / "ca.pem",
    )


def put_files(pki: Path, folder: Path, name: str) -> None:
    for suffix in ("pem", "key"):
        (folder / f"client.{suffix}").write_bytes((pki / f"{name}.{suffix}").read_bytes())
    (folder / "ca.pem").write_bytes((pki / "ca.pem").read_bytes())


def put_bundle(pki: Path, bundle: Path, name: str, password: str | None = PASSWORD) -> None:
    certificate = x509.load_pem_x509_certificate((pki / f"{name}.pem").read_bytes())
    authority = x509.load_pem_x509_certificate((pki / "ca.pem").read_bytes())
    key = load_pem_private_key((pki / f"{name}.key").read_bytes(), None)
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    content = serialize_key_and_certificates(b"mhs", key, certificate, [authority], encryption)  # type: ignore[arg-type]
    bundle.write_bytes(content)


def shaken(server: ssl.SSLContext, client: ssl.SSLContext) -> bytes | None:
    """Shake hands in memory; return the certificate (DER) that the server was shown."""
    a, b = ssl.MemoryBIO(), ssl.MemoryBIO()
    one, other = server.wrap_bio(a, b, server_side=True), client.wrap_bio(b, a)
    for _ in range(10):
        for side in (other, one):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one.getpeercert(binary_form=True)


def certificate_of(keys: KeyMaterial) -> x509.Certificate:
    return x509.load_pem_x509_certificate(keys.certificate.read_bytes())


def name_of(keys: KeyMaterial) -> str:
    return certificate_of(keys).subject.rfc4514_string()


@pytest.mark.parametrize("way", ["text", "files", "bundle", "bundle without a password"])
def test_f16_tls_can_be_made_of_keys_wherever_they_come_from(way: str, pki: Path, tmp_path: Path) -> None:
    put_files(pki, tmp_path, "mhs.test")
    password = None if "without" in way else PASSWORD
    put_bundle(pki, tmp_path / "client.p12", "mhs.test", password)
    settings = {"text": as_text(pki), "files": as_files(tmp_path)}.get(
        way, as_bundle(pki, tmp_path / "client.p12", password)
    )
    keys = KeyMaterial(settings)
    tls = Tls(TlsFiles(keys.certificate, keys.key, keys.authorities))
    shown = shaken(tls.server.current, tls.client.current)
    keys.close()
    assert shown is not None
    assert x509.load_der_x509_certificate(shown).subject.rfc4514_string() == "CN=mhs.test"


def test_f16_no_key_is_written_to_disk(pki: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_bundle(pki, tmp_path / "client.p12", "mhs.test")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for settings in (as_text(pki), as_bundle(pki, tmp_path / "client.p12")):
        keys = KeyMaterial(settings)
        assert os.readlink(keys.key).startswith("/memfd:")
        assert b"PRIVATE KEY" in keys.key.read_bytes()
        keys.close()
    assert sorted(tmp_path.rglob("*")) == before


def test_f16_a_changed_bundle_is_taken_by_tls_that_is_in_force(pki: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "client.p12"
    put_bundle(pki, bundle, "mhs.test")
    keys = KeyMaterial(as_bundle(pki, bundle))
    tls = Tls(TlsFiles(keys.certificate, keys.key, keys.authorities))
    assert not keys.look()
    put_bundle(pki, bundle, "other.test")
    assert keys.look()
    assert tls.look()
    assert name_of(keys) == "CN=other.test"
    shown = shaken(tls.server.current, tls.client.current)
    assert shown is not None
    assert x509.load_der_x509_certificate(shown).subject.rfc4514_string() == "CN=other.test"
    assert not keys.look()
    assert not tls.look()
    keys.close()


def test_f16_changed_files_are_noticed(pki: Path, tmp_path: Path) -> None:
    put_files(pki, tmp_path, "mhs.test")
    keys = KeyMaterial(as_files(tmp_path))
    before = keys.not_after
    put_files(pki, tmp_path, "soon.test")
    assert keys.look()
    assert keys.not_after < before
    assert 9 <= keys.days_left <= 10
    keys.close()


@pytest.mark.parametrize("harm", ["damaged", "another password", "gone"])
def test_f16_a_bundle_that_cannot_be_used_leaves_what_was_in_force(harm: str, pki: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "client.p12"
    put_bundle(pki, bundle, "mhs.test")
    keys = KeyMaterial(as_bundle(pki, bundle))
    {
        "damaged": lambda: bundle.write_bytes(bundle.read_bytes()[:100]),
        "another password": lambda: put_bundle(pki, bundle, "other.test", "another"),
        "gone": bundle.unlink,
    }[harm]()
    with capture_logs() as logs:
        assert not keys.look()
    assert name_of(keys) == "CN=mhs.test"
    assert [line["event"] for line in logs] == ["changed keys not taken; what was in force stays"]
    put_bundle(pki, bundle, "other.test")
    assert keys.look()
    assert name_of(keys) == "CN=other.test"
    keys.close()


def test_f16_the_end_of_the_certificate_is_warned_of_once_a_day(pki: Path) -> None:
    now = utc_now()
    with capture_logs() as logs:
        keys = KeyMaterial(as_text(pki, "soon.test"), clock=lambda: now)
        for hours in (1, 12, 11, 1, 12 + 240):
            now += timedelta(hours=hours)
            keys.look()
    keys.close()
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("our certificate ends soon", "warning"),
        ("our certificate ends soon", "warning"),
        ("our certificate has ended", "warning"),
    ]
    assert logs[0]["days_left"] in (9, 10)
    assert logs[2]["days_left"] < 0


def test_f16_a_certificate_with_time_left_is_not_warned_of(pki: Path) -> None:
    with capture_logs() as logs:
        keys = KeyMaterial(as_text(pki), clock=lambda: certificate_end(pki) - timedelta(days=30))
        keys.close()
    assert logs == []
    with capture_logs() as logs:
        KeyMaterial(as_text(pki), clock=lambda: certificate_end(pki) - timedelta(days=30, seconds=-1)).close()
    assert len(logs) == 1


def certificate_end(pki: Path) -> datetime:
    return x509.load_pem_x509_certificate((pki / "mhs.test.pem").read_bytes()).not_valid_after_utc


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"secret_client_cert": "hidden-value"}, "the client certificate is no PEM"),
        ({"secret_client_key": "hidden-value"}, "the client key is no PEM"),
        ({"secret_ca_certs": "hidden-value"}, "ca_certs is no PEM"),
        ({"secret_ca_certs": None}, "neither secret_ca_certs nor ca_certs_file is set"),
        ({"secret_client_key": None}, "neither secret_client_key nor client_key_file is set"),
        ({"secret_client_cert": None, "client_cert_file": "nowhere.pem"}, "nowhere.pem: No such file"),
        ({"client_pkcs12_file": "nowhere.p12"}, "client_pkcs12_file nowhere.p12: No such file"),
    ],
)
def test_what_cannot_be_used_is_named_and_never_quoted(change: dict[str, str | None], expected: str, pki: Path) -> None:
    settings = MhsSettings(**{**as_text(pki).model_dump(exclude_unset=True), **change})
    with pytest.raises(ConfigurationError, match=re.escape(expected)) as refusal:
        KeyMaterial(settings)
    assert "hidden-value" not in str(refusal.value)


def test_a_key_of_another_certificate_is_refused(pki: Path) -> None:
    values = as_text(pki).model_dump(exclude_unset=True) | {"secret_client_key": (pki / "other.test.key").read_text()}
    with pytest.raises(ConfigurationError, match="not the key of the client certificate"):
        KeyMaterial(MhsSettings(**values))


def test_a_wrong_password_is_not_quoted(pki: Path, tmp_path: Path) -> None:
    put_bundle(pki, tmp_path / "client.p12", "mhs.test", "another")
    with pytest.raises(ConfigurationError, match="secret_client_pkcs12_password is not its password") as refusal:
        KeyMaterial(as_bundle(pki, tmp_path / "client.p12"))
    assert PASSWORD not in str(refusal.value)
