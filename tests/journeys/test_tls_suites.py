"""Versions and suites: those of the list and no others, tried one by one with OpenSSL's client. Spec: 35 §3.1."""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from journeys.handshake import only, visit
from journeys.messages import PRACTICE
from journeys.runner import Server
from openscr.access import pki as authority
from openscr.testbench.population import FULL_RECORD

RSA = {
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-AES128-GCM-SHA256",
}
EC = {"ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-GCM-SHA256"}
LEGACY = {"ECDHE-RSA-AES256-SHA384", "DHE-RSA-AES256-SHA256", "DHE-RSA-AES256-SHA", "ECDHE-RSA-AES256-SHA"}
OF_1_3 = {"TLS_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"}


async def suites_of(server: Server) -> set[str]:
    """Return the suites of TLS 1.2 that the service agrees to, of all that the library knows."""
    every = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    every.set_ciphers("ALL:COMPLEMENTOFALL@SECLEVEL=0")
    agreed = set()
    for suite in {str(each["name"]) for each in every.get_ciphers()} - OF_1_3:
        tls = only(server.tls(), ssl.TLSVersion.TLSv1_2)
        tls.set_ciphers(f"{suite}@SECLEVEL=0")
        try:
            found = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
        except (ssl.SSLError, ConnectionError):
            continue
        assert (found.version, found.suite, found.answer.status) == ("TLSv1.2", suite, 200)
        agreed.add(suite)
    return agreed


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, RSA), ({"legacy_ciphers": True}, RSA | LEGACY), ({"tls_max_version": "1.2"}, RSA)],
    ids=["default", "legacy", "up to 1.2"],
)
async def test_these_suites_of_tls_1_2_and_no_others(
    start: Callable[..., Server], settings: dict[str, object], expected: set[str]
) -> None:
    assert await suites_of(start(demo=True, **settings)) == expected


async def test_a_certificate_with_an_ec_key_has_suites_of_its_own(data: Path, start: Callable[..., Server]) -> None:
    """Issued with ``--key-type ec``; its clients may have keys of either kind."""
    authority.issue(data / "pki", "localhost", dns_names=["127.0.0.1"], usage="both", key_type="ec")
    authority.issue(data / "pki", "gp.client.test", name="curve", key_type="ec")
    server = await asyncio.to_thread(start, demo=True)
    assert await suites_of(server) == EC
    for name in ("gp.client.test", "curve"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            found = await visit(server.spine, only(server.tls(name), version), PRACTICE.event_list(FULL_RECORD))
            assert found.answer.status == 200


@pytest.mark.skipif(shutil.which("openssl") is None, reason="Python cannot choose among the suites of TLS 1.3")
async def test_the_three_suites_of_tls_1_3_and_no_others(demo: Server) -> None:
    """Those with the short tag of CCM are what else there is."""
    others = {"TLS_AES_128_CCM_SHA256", "TLS_AES_128_CCM_8_SHA256"}
    assert {suite for suite in OF_1_3 | others if await _s_client(demo, suite) == suite} == OF_1_3


async def _s_client(server: Server, suite: str) -> str:
    parts = urlsplit(server.spine)
    certificate, key, ca = server.certificate("gp.client.test")
    arguments = ("-connect", f"127.0.0.1:{parts.port}", "-tls1_3", "-ciphersuites", suite, "-brief")
    files = ("-cert", str(certificate), "-key", str(key), "-CAfile", str(ca), "-verify_return_error")
    process = await asyncio.create_subprocess_exec(
        *("openssl", "s_client", *arguments, *files),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    chosen = [line.partition(": ")[2] for line in output.decode().splitlines() if line.startswith("Ciphersuite: ")]
    return chosen[0] if chosen else ""


async def test_tls_1_3_can_be_switched_off(start: Callable[..., Server]) -> None:
    server = start(demo=True, tls_max_version="1.2")
    with pytest.raises(ssl.SSLError) as refusal:
        await visit(server.spine, only(server.tls(), ssl.TLSVersion.TLSv1_3), PRACTICE.event_list(FULL_RECORD))
    assert refusal.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
    both = await visit(server.spine, server.tls(), PRACTICE.event_list(FULL_RECORD))
    assert both.version == "TLSv1.2"
