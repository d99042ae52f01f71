"""The TLS files between two looks: what is taken, what stays, what is said.

The journeys are in `journeys.test_changing_certificates`. Spec: 35 §3.1.
"""

import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs

from openscr.access import pki
from openscr.access.pki_revocation import write_list
from openscr.errors import ConfigurationError
from openscr.identifiers import utc_now
from openscr.tls import Tls, TlsFiles, client_tls, server_tls


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.make_demo_certificates(tmp_path)
    return tmp_path


def files(folder: Path, **changes: object) -> TlsFiles:
    named = {"certificate": folder / "localhost.pem", "key": folder / "localhost.key", "authorities": folder / "ca.pem"}
    return TlsFiles(**{**named, **changes})  # type: ignore[arg-type]


def test_nothing_is_read_again_when_nothing_has_changed(folder: Path) -> None:
    tls = Tls(files(folder))
    contexts = (tls.server.current, tls.client.current)
    assert not tls.look()
    assert (tls.server.current, tls.client.current) == contexts
    pki.renew(folder, "localhost")
    assert tls.look()
    assert tls.server.current is not contexts[0]
    assert tls.client.current is not contexts[1]
    assert not tls.look()


def test_a_list_that_ends_while_the_service_runs_is_told_of_once(folder: Path) -> None:
    now: datetime = utc_now()
    written = write_list(folder, days=1)
    tls = Tls(files(folder, crl=written.path), clock=lambda: now)
    with capture_logs() as logs:
        tls.look()
        assert logs == []
        now += timedelta(days=2)
        tls.look()
        tls.look()
    (line,) = logs
    assert (line["log_level"], line["file"]) == ("error", str(written.path))
    assert "no client certificate is taken" in line["event"]
    with capture_logs() as logs:
        write_list(folder, days=30)
        assert tls.look()
    assert [line["event"] for line in logs] == ["changed TLS files taken"]


def test_the_list_of_the_development_authority_may_come_later_but_not_go(folder: Path) -> None:
    tls = Tls(files(folder, crl=folder / "ca.crl", crl_may_be_missing=True))
    assert not tls.trust.checks_revocation
    write_list(folder)
    assert tls.look()
    assert tls.trust.checks_revocation
    (folder / "ca.crl").unlink()
    with capture_logs() as logs:
        assert not tls.look()
    assert tls.trust.checks_revocation
    assert "ca.crl cannot be read" in logs[0]["reason"]


def test_a_key_with_a_password_is_not_asked_for(folder: Path) -> None:
    """A service has nobody at the terminal."""
    key = serialization.load_pem_private_key((folder / "localhost.key").read_bytes(), None)
    encrypted = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (folder / "localhost.key").write_bytes(encrypted)
    with pytest.raises(ConfigurationError, match="cannot be used") as refusal:
        server_tls(files(folder))
    assert "secret" not in str(refusal.value)


@pytest.mark.parametrize("side", ["server", "client"])
def test_files_that_do_not_belong_together_are_named(folder: Path, side: str) -> None:
    make = server_tls if side == "server" else client_tls
    with pytest.raises(ConfigurationError, match=r"viewer\.client\.test\.key is not the key of the certificate"):
        make(files(folder, key=folder / "viewer.client.test.key"))
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        make(files(folder, certificate=folder / "none.pem"))
    with pytest.raises(ConfigurationError, match=r"none\.pem"):
        make(files(folder, authorities=folder / "none.pem"))


def test_a_context_that_stands_for_another_lets_nobody_through_by_itself(folder: Path) -> None:
    """Whoever used it by another way than a loop's would have no certificate, and trust nobody."""
    tls = Tls(files(folder))
    assert tls.server.cert_store_stats()["x509"] == tls.client.cert_store_stats()["x509"] == 0
    assert tls.client.verify_mode is ssl.CERT_REQUIRED
