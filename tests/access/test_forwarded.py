"""The header of a proxy, without one: who may forward, what is remembered, and that nothing breaks on what is sent.

The journeys are in `journeys.test_forwarded_certificates`. Spec: 35 §3.1.
"""

import base64
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from openscr.access import pki
from openscr.access.forwarded import ForwardedCertificates
from openscr.access.pki_revocation import write_list
from openscr.access.registration import Cause
from openscr.access.trust import Trust, read_trust
from openscr.errors import AccessRefused
from openscr.identifiers import utc_now

PROXY = "10.1.2.3"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forwarded")
    pki.make_demo_certificates(folder)
    return folder


class Setting:
    """A proxy's header read at a time and under a trust that may change."""

    def __init__(self, folder: Path, proxies: Sequence[str] = (PROXY,)) -> None:
        self.folder = folder
        self.now: datetime = utc_now()
        self.trust: Trust = read_trust(folder / "ca.pem", None)
        self.forwarded = ForwardedCertificates(proxies, lambda: self.trust, lambda: self.now)

    def name_of(self, header: bytes, address: str | None = PROXY) -> str:
        """Return the name of the certificate that counts, or the cause of the refusal."""
        try:
            certificate = self.forwarded.certificate_of(None, address, [(b"x-client-cert", header)])
        except AccessRefused as refusal:
            return refusal.diagnostics
        return certificate.name if certificate is not None else ""

    def header(self, name: str) -> bytes:
        """Return a certificate as a proxy forwards it."""
        return quote((self.folder / f"{name}.pem").read_bytes(), safe="").encode()


@pytest.mark.parametrize(
    ("proxies", "address", "trusted"),
    [
        (["10.1.2.3"], "10.1.2.3", True),
        (["10.1.2.3"], "::ffff:10.1.2.3", True),
        (["10.1.2.3"], "10.1.2.30", False),
        (["10.1.0.0/16", "192.0.2.1"], "10.1.255.1", True),
        (["10.1.0.0/16", "192.0.2.1"], "192.0.2.1", True),
        (["10.1.0.0/16"], "10.2.0.1", False),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "10.1.2.3", False),
        (["10.1.2.3"], None, False),
        (["10.1.2.3"], "testclient", False),
        ([], "10.1.2.3", False),
    ],
)
def test_only_addresses_that_are_listed_may_forward(
    folder: Path, proxies: list[str], address: str | None, trusted: bool
) -> None:
    setting = Setting(folder, proxies)
    expected = "gp.client.test" if trusted else Cause.FORWARDED_BY_STRANGER
    assert setting.name_of(setting.header("gp.client.test"), address) == expected


def test_without_the_header_everybody_is_who_the_handshake_says_but_the_proxy(folder: Path) -> None:
    forwarded = Setting(folder).forwarded
    assert forwarded.certificate_of(None, "192.0.2.1", [(b"x-client-certificate", b"other")]) is None
    with pytest.raises(AccessRefused, match=Cause.NOT_FORWARDED):
        forwarded.certificate_of(None, PROXY, [(b"x-client-certificate", b"other")])


def test_what_is_remembered_ends_with_the_certificate_and_with_the_trust(folder: Path) -> None:
    setting = Setting(folder)
    header = setting.header("gp.client.test")
    assert setting.name_of(header) == setting.name_of(header) == "gp.client.test"
    now = setting.now
    setting.now = now + timedelta(days=900)
    assert setting.name_of(header) == Cause.EXPIRED_CERTIFICATE
    setting.now = now
    setting.trust = read_trust(folder / "foreign-ca.pem", None)
    assert setting.name_of(header) == Cause.UNTRUSTED_CERTIFICATE
    written = write_list(folder, days=1)
    setting.trust = read_trust(folder / "ca.pem", written.path)
    assert setting.name_of(header) == "gp.client.test"
    setting.now = now + timedelta(days=2)
    assert setting.name_of(header) == Cause.REVOCATION_UNKNOWN


def test_more_certificates_than_are_remembered_are_all_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openscr.access.forwarded._REMEMBERED", 1)
    setting = Setting(folder)
    names = ("gp.client.test", "viewer.client.test")
    for _ in range(3):
        for name in names:
            assert setting.name_of(setting.header(name)) == name


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@given(place=st.integers(min_value=0), value=st.integers(min_value=0, max_value=255), length=st.integers(0, 3))
def test_a_changed_certificate_is_refused_and_breaks_nothing(folder: Path, place: int, value: int, length: int) -> None:
    """One place of it is another byte, or some are left out: whatever that makes of it, it is not taken."""
    certificate = x509.load_pem_x509_certificate((folder / "gp.client.test.pem").read_bytes())
    der = bytearray(certificate.public_bytes(Encoding.DER))
    place %= len(der)
    if length:
        del der[place : place + length]
    elif der[place] == value:
        return
    else:
        der[place] = value
    setting = Setting(folder)
    pem = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n"
    causes = {Cause.UNREADABLE_CERTIFICATE, Cause.UNTRUSTED_CERTIFICATE, Cause.EXPIRED_CERTIFICATE}
    assert setting.name_of(quote(pem, safe="").encode()) in causes


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_refused(folder: Path, header: bytes) -> None:
    assert Setting(folder).name_of(header) == Cause.UNREADABLE_CERTIFICATE
