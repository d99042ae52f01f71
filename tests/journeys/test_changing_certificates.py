"""Certificates, keys, authorities and revocation lists change while the service runs: nobody restarts it.

Spec: 35 §3.1; 00 §4 ``pki``.
"""

import asyncio
import json
import shutil
import signal
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journeys.endpoint import ClientEndpoint
from journeys.handshake import new_rows, only, serial_of, visit
from journeys.messages import HOSPITAL, PRACTICE, fresh_patient
from journeys.runner import (
    Server,
    command,
    import_directory,
    launch,
    live_directory,
    server_context,
    until,
)
from journeys.wire import connected, signal_of, soap_of
from openscr.access import pki as authority
from openscr.access.pki_revocation import write_list
from openscr.codes import EVENT_LIST_ANSWER
from openscr.testbench.population import FULL_RECORD

SHORTLY = timedelta(seconds=8)
"""Long enough to start a service and to ask it something."""

REFUSED = (ssl.SSLError, ConnectionError)


async def served_serial(server: Server, name: str = "viewer.client.test") -> int:
    """Return the serial number of the certificate that a new connection is shown."""
    client = HOSPITAL if name.startswith("viewer") else PRACTICE
    return (await visit(server.spine, server.tls(name), client.event_list(FULL_RECORD))).serial


async def let_in(server: Server, name: str) -> bool:
    """Whether a client with this certificate comes through the handshake now."""
    try:
        await visit(server.spine, server.tls(name), PRACTICE.event_list(FULL_RECORD))
    except REFUSED:
        return False
    return True


async def kept_out(server: Server, name: str) -> bool:
    """Whether it does not."""
    return not await let_in(server, name)


def logged(server: Server, event: str) -> list[dict[str, str]]:
    """Return the log lines with this text."""
    lines = (json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


# --- our own --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("told", [False, True])
async def test_a_renewed_certificate_is_shown_to_the_next_and_the_last_goes_on(
    data: Path, start: Callable[..., Server], told: bool
) -> None:
    """``pki renew`` is all; SIGHUP has the service look at once, and does it no harm."""
    server = start(demo=True)
    old = serial_of(data / "pki" / "localhost.pem")
    async with connected(server.spine, server.tls()) as connection:
        soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
        assert await served_serial(server) == old
        await command(data, "pki", "renew", "localhost")
        if told:
            server.process.send_signal(signal.SIGHUP)
        new = serial_of(data / "pki" / "localhost.pem")
        assert new != old

        async def changed() -> bool:
            return await served_serial(server) == new

        await until(changed)
        soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
    (line,) = logged(server, "changed TLS files taken")
    assert line["serial"] == f"{new:X}"


async def test_files_that_do_not_fit_together_change_nothing(data: Path, start: Callable[..., Server]) -> None:
    """Half a file, another certificate's key, no file at all: the old pair serves on until they are mended."""
    server = start(demo=True)
    folder = data / "pki"
    certificate, key = folder / "localhost.pem", folder / "localhost.key"
    old, whole = serial_of(certificate), certificate.read_bytes()
    authority.issue(folder, "localhost", name="other", usage="both")
    refused = "changed TLS files not taken; what was in force stays"

    async def told(times: int) -> None:
        async def there() -> bool:
            return len(logged(server, refused)) == times

        await until(there)
        assert await served_serial(server) == old

    certificate.write_bytes(whole[: len(whole) // 2])
    await told(1)
    shutil.copy(folder / "other.pem", certificate)
    await told(2)
    certificate.unlink()
    await told(3)
    reasons = [line["reason"] for line in logged(server, refused)]
    assert "localhost.key is not the key of the certificate" in reasons[1]
    assert all("cannot be used" in reason for reason in (reasons[0], reasons[2]))
    shutil.copy(folder / "other.key", key)
    shutil.copy(folder / "other.pem", certificate)

    async def changed() -> bool:
        return await served_serial(server) == serial_of(folder / "other.pem") != old

    await until(changed)
    assert "PRIVATE KEY" not in server.log.read_text()


async def test_answers_are_delivered_with_the_certificate_of_the_moment(
    data: Path, start: Callable[..., Server]
) -> None:
    folder = data / "pki"
    tls = server_context(folder, "gp.client.test")
    async with ClientEndpoint(tls=tls) as endpoint:
        await import_directory(data, live_directory(endpoint.url))
        server = await asyncio.to_thread(start, demo=True)
        signal_of(await PRACTICE.upload(fresh_patient()).post().to(server.spine, server.tls()))
        (first,) = await endpoint.received()
        authority.issue(folder, "renamed.test", dns_names=["localhost", "127.0.0.1"], usage="both")
        for suffix in ("pem", "key"):
            (folder / f"renamed.test.{suffix}").replace(folder / f"localhost.{suffix}")

        async def changed() -> bool:
            return await served_serial(server) == serial_of(folder / "localhost.pem")

        await until(changed)
    # The connection that was open has ended with the endpoint: the next one is made with what is there now.
    async with ClientEndpoint(tls=tls, port=endpoint.port) as again:
        signal_of(await PRACTICE.upload(fresh_patient()).post().to(server.spine, server.tls()))
        (second,) = await again.received()
    assert ("localhost" in first.certificate, "renamed.test" in second.certificate) == (True, True)


# --- authorities ----------------------------------------------------------------------------------------------------


async def test_an_authority_that_is_added_is_trusted_and_one_that_is_taken_away_is_not(
    data: Path, start: Callable[..., Server]
) -> None:
    server = start(demo=True)
    bundle = data / "pki" / "ca.pem"
    whole = bundle.read_bytes()
    assert not await let_in(server, "foreign")
    bundle.write_bytes(whole + (data / "pki" / "foreign-ca.pem").read_bytes())
    await until(lambda: let_in(server, "foreign"))
    bundle.write_bytes(whole)
    await until(lambda: kept_out(server, "foreign"))


# --- revocation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_who_is_revoked_is_out_at_once_and_back_with_a_new_key(
    data: Path, start: Callable[..., Server], version: ssl.TLSVersion
) -> None:
    """No new connection, none that is taken up again, and the open one ends; everybody else does not notice."""
    server = start(demo=True)
    folder = data / "pki"
    tls = only(server.tls(), version)
    before = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
    assert (await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=before.session)).resumed
    key = (folder / "gp.client.test.key").read_bytes()
    async with (
        connected(server.spine, server.tls()) as ours,
        connected(server.spine, server.tls("viewer.client.test")) as theirs,
    ):
        for connection, client in ((ours, PRACTICE), (theirs, HOSPITAL)):
            soap_of(await connection.exchange(client.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
        told = json.loads(await command(data, "pki", "revoke", "gp.client.test", "--json"))
        assert told["revoked"] == [f"{serial_of(folder / 'gp.client.test.pem'):X}"]
        assert await ours.ended()
        async with new_rows(server) as rows:
            for session in (None, before.session):
                with pytest.raises(ssl.SSLError) as refusal:
                    await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=session)
                assert refusal.value.reason == "SSLV3_ALERT_CERTIFICATE_REVOKED"
            assert await rows.reasons(2) == ["revoked_certificate"] * 2
        soap_of(await theirs.exchange(HOSPITAL.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
    assert len(logged(server, "connection let go: its certificate is not good any more")) == 1
    await command(data, "pki", "renew", "gp.client.test")
    assert (folder / "gp.client.test.key").read_bytes() != key
    assert await let_in(server, "gp.client.test")


async def test_a_list_of_the_operator_counts_from_the_moment_it_changes(
    data: Path, start: Callable[..., Server]
) -> None:
    """``tls_crl_file``: empty at first, then with a certificate on it, then damaged, which lets nobody back in."""
    folder, crl = data / "pki", data / "national.crl"
    shutil.copy(write_list(folder).path, crl)
    server = start(demo=True, tls_crl_file=crl)
    assert await let_in(server, "gp.client.test")
    shutil.copy(write_list(folder, adding=serial_of(folder / "gp.client.test.pem")).path, crl)
    await until(lambda: kept_out(server, "gp.client.test"))
    crl.write_bytes(crl.read_bytes()[:200])

    async def told() -> bool:
        return bool(logged(server, "changed TLS files not taken; what was in force stays"))

    await until(told)
    assert not await let_in(server, "gp.client.test")
    assert await let_in(server, "viewer.client.test")
    crl.unlink()
    await until(lambda: _twice(server))
    assert not await let_in(server, "gp.client.test")


async def _twice(server: Server) -> bool:
    return len(logged(server, "changed TLS files not taken; what was in force stays")) == 2


async def test_a_list_that_has_ended_lets_nobody_in_until_there_is_a_new_one(
    data: Path, start: Callable[..., Server]
) -> None:
    folder = data / "pki"
    write_list(folder, days=1, clock=lambda: datetime.now(UTC) - timedelta(days=3))
    server = start(demo=True)
    async with new_rows(server) as rows:
        assert not await let_in(server, "gp.client.test")
        assert await rows.reasons() == ["no_revocation_list_in_force"]
    (line,) = logged(server, "the revocation list has ended: no client certificate is taken until there is a new one")
    assert line["file"].endswith("ca.crl")
    await command(data, "pki", "crl")
    await until(lambda: let_in(server, "gp.client.test"))


async def test_a_connection_does_not_outlive_the_list(data: Path, start: Callable[..., Server]) -> None:
    """Who came in while it was in force is let go when it ends, as nobody comes in then."""
    write_list(data / "pki", days=1, clock=lambda: datetime.now(UTC) - timedelta(days=1) + SHORTLY)
    server = start(demo=True)
    async with connected(server.spine, server.tls()) as connection:
        soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
        assert await connection.ended()


async def test_a_connection_does_not_outlive_its_certificate(data: Path, start: Callable[..., Server]) -> None:
    """However busy it is kept: the handshake was before the end, this request is not."""
    server = start(demo=True)
    ending = datetime.now(UTC) - timedelta(days=1) + SHORTLY
    authority.issue(data / "pki", "gp.client.test", name="ending", days=1, clock=lambda: ending)
    async with new_rows(server) as rows, connected(server.spine, server.tls("ending")) as connection:
        soap_of(await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)

        async def turned_away() -> bool:
            return (await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw())).status == 403

        await until(turned_away)
        assert "expired_certificate" in await rows.reasons(2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", "damaged, or not in PEM form"),
        (lambda folder: b"", "damaged, or not in PEM form"),
        (lambda folder: b"\x30\x82\x01\x00", "openssl crl -inform DER"),
        (lambda folder: write_list(folder, "foreign-ca").path.read_bytes(), "not signed by any of the authorities"),
        (lambda folder: None, "cannot be read: No such file"),
    ],
)
def test_a_service_does_not_start_with_a_list_that_cannot_be_used(
    data: Path, make: Callable[[Path], bytes | None], said: str
) -> None:
    """It would let in who was revoked; the message names the file."""
    content = make(data / "pki")
    if content is not None:
        (data / "national.crl").write_bytes(content)
    process, log = launch(data, demo=True, tls_crl_file=data / "national.crl")
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert said in log.read_text()
    assert "national.crl" in log.read_text()
