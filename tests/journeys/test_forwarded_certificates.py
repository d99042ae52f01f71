"""TLS that a proxy has ended: whose certificate counts, and who may say so.

The proxy connects from 127.0.0.2 with the service's own certificate; everybody else from 127.0.0.1. Spec: 35 §3.1.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from journeys.handshake import new_rows, serial_of
from journeys.messages import HOSPITAL, PRACTICE, Post, fresh_patient
from journeys.runner import Server, command, launch, new_data, until
from journeys.wire import PATIENCE, Answer, Connection, Ended, errors_of, fault_of, signal_of, soap_of
from openscr.access import pki as authority
from openscr.access.pki_revocation import write_list
from openscr.codes import EVENT_LIST_ANSWER
from openscr.testbench.population import FULL_RECORD

PROXY, ELSEWHERE = "127.0.0.2", "127.0.0.1"


@pytest.fixture(scope="module")
def server(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service behind one proxy, with some certificates that will not do."""
    data = new_data(tmp_path_factory.mktemp("proxied") / "data", pki)
    folder = data / "pki"
    authority.issue(folder, "gp.client.test", name="revoked")
    authority.issue(folder, "gp.client.test", name="server.only", usage="server")
    authority.issue(folder, "gp.client.test", name="curve", key_type="ec")
    write_list(folder, adding=serial_of(folder / "revoked.pem"))
    server = Server.start(data, demo=True, trusted_proxies=f"{PROXY}, 10.0.0.0/8")
    yield server
    assert server.stop() == 0


@asynccontextmanager
async def connection_from(address: str, server: Server, name: str = "localhost") -> AsyncIterator[Connection]:
    """Connect from an address of loopback with a certificate of one's own."""
    parts = urlsplit(server.spine)
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=server.tls(name), local_addr=(address, 0)
        )
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def pem(server: Server, name: str) -> str:
    """Return a certificate as nginx forwards it: URL-encoded PEM."""
    return quote((server.data / "pki" / f"{name}.pem").read_text(), safe="")


def forwarded(request: Post, *values: str) -> bytes:
    """Return a request with one header for each value."""
    headers = "".join(f"X-Client-Cert: {value}\r\n" for value in values)
    return request.raw().replace(b"\r\n", b"\r\n" + headers.encode("latin-1"), 1)


async def through(server: Server, request: Post, *values: str, address: str = PROXY) -> Answer:
    """Send a request as the proxy does, or as somebody who wants to be it."""
    async with connection_from(address, server) as connection:
        return await connection.exchange(forwarded(request, *values))


# --- who may --------------------------------------------------------------------------------------------------------


async def test_a_client_behind_the_proxy_is_known_by_its_own_certificate(server: Server) -> None:
    """On every path, whatever the proxy's own certificate says; the audit names the client."""
    gp, number = pem(server, "gp.client.test"), fresh_patient()
    signal_of(await through(server, PRACTICE.upload(number).post(), gp))
    async with new_rows(server) as rows:
        soap_of(await through(server, PRACTICE.event_list(number), gp), EVENT_LIST_ANSWER)
        assert fault_of(await through(server, HOSPITAL.event_list(number), gp)).codes == ("300",)
        assert await rows.reasons(2) == ["", "wrong_certificate"]
    for row in rows.rows:
        assert row.content["certificate"].startswith("gp.client.test ")
        assert row.content["address"] == PROXY
    answer = await through(server, PRACTICE.upload(number).post(), pem(server, "viewer.client.test"))
    assert errors_of(answer) == [("SecurityFailure", "From party does not belong to the client certificate")]


async def test_each_request_of_one_connection_has_its_own_certificate(server: Server) -> None:
    """A proxy keeps connections and passes the requests of many clients: none is taken for the one before."""
    async with connection_from(PROXY, server) as connection:
        for _ in range(3):
            for client, name in ((PRACTICE, "gp.client.test"), (HOSPITAL, "viewer.client.test"), (PRACTICE, "curve")):
                request = forwarded(client.event_list(FULL_RECORD), pem(server, name))
                soap_of(await connection.exchange(request), EVENT_LIST_ANSWER)
            request = forwarded(PRACTICE.event_list(FULL_RECORD), pem(server, "viewer.client.test"))
            assert fault_of(await connection.exchange(request)).codes == ("300",)
            assert (await connection.exchange(PRACTICE.event_list(FULL_RECORD).raw())).status == 403


async def test_the_forms_that_proxies_make_are_read(server: Server) -> None:
    """HAProxy has the DER in Base64 on one line, with the rest of the PEM around it; older proxies do not encode."""
    certificate = x509.load_pem_x509_certificate((server.data / "pki" / "gp.client.test.pem").read_bytes())
    lines = certificate.public_bytes(Encoding.PEM).decode().splitlines()
    value = f"-----BEGIN%20CERTIFICATE-----%0A{quote(''.join(lines[1:-1]), safe='')}%0A-----END%20CERTIFICATE-----%0A"
    for form in (value, " ".join(lines)):
        soap_of(await through(server, PRACTICE.event_list(FULL_RECORD), form), EVENT_LIST_ANSWER)


@pytest.mark.parametrize("name", ["viewer.client.test", "gp.client.test", "localhost"])
async def test_a_header_from_elsewhere_is_refused(server: Server, name: str) -> None:
    """Forged, or from a proxy that nobody has entered: even when it repeats what the handshake has shown."""
    async with new_rows(server) as rows, connection_from(ELSEWHERE, server, name) as connection:
        answer = await connection.exchange(forwarded(PRACTICE.event_list(FULL_RECORD), pem(server, "gp.client.test")))
        assert (answer.status, answer.body) == (403, b"")
        assert await rows.reasons() == ["certificate_forwarded_by_stranger"]
        # It is the header alone that is not taken.
        client = {"gp.client.test": PRACTICE, "viewer.client.test": HOSPITAL}.get(name)
        if client is not None:
            soap_of(await connection.exchange(client.event_list(FULL_RECORD).raw()), EVENT_LIST_ANSWER)
    assert rows.rows[0].content["certificate"].startswith(f"{name} ")
    assert rows.rows[0].content["address"] == ELSEWHERE


async def test_a_proxy_needs_a_certificate_of_its_own(server: Server) -> None:
    """Its address is not enough: the handshake is the same for everybody."""
    with pytest.raises((ssl.SSLError, Ended, ConnectionError)):
        async with connection_from(PROXY, server, "foreign") as connection:
            await connection.exchange(forwarded(PRACTICE.event_list(FULL_RECORD), pem(server, "gp.client.test")))


async def test_a_service_without_proxies_takes_no_header(demo: Server) -> None:
    for address in (PROXY, ELSEWHERE):
        async with connection_from(address, demo, "viewer.client.test") as connection:
            request = forwarded(PRACTICE.event_list(FULL_RECORD), pem(demo, "gp.client.test"))
            assert (await connection.exchange(request)).status == 403


# --- what is forwarded ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "cause"),
    [
        ("expired", "expired_certificate"),
        ("foreign", "untrusted_certificate"),
        ("revoked", "revoked_certificate"),
        ("server.only", "certificate_not_for_clients"),
        ("ca", "certificate_not_for_clients"),
        ("foreign-ca", "untrusted_certificate"),
        ("unknown.client.test", "unknown_certificate"),
    ],
)
async def test_a_forwarded_certificate_is_judged_as_in_a_handshake(server: Server, name: str, cause: str) -> None:
    """Whatever the proxy may have thought of it."""
    async with new_rows(server) as rows:
        answer = await through(server, PRACTICE.event_list(FULL_RECORD), pem(server, name))
        assert (answer.status, answer.body) == (403, b"")
        assert await rows.reasons() == [cause]


def _two(server: Server) -> str:
    return pem(server, "gp.client.test") + pem(server, "ca")


BROKEN: dict[str, Callable[[Server], str]] = {
    "nothing": lambda server: "",
    "a word": lambda server: "gp.client.test",
    "half of it": lambda server: pem(server, "gp.client.test")[:900],
    "a bit of it is another": lambda server: pem(server, "gp.client.test").replace("MII", "MIJ", 1),
    "two certificates": _two,
    "a key": lambda server: quote((server.data / "pki" / "gp.client.test.key").read_text()),
    "something before it": lambda server: "x" + pem(server, "gp.client.test"),
    "a null byte": lambda server: "%00" + pem(server, "gp.client.test"),
    "wrong encoding": lambda server: "%zz%",
    "too long": lambda server: pem(server, "gp.client.test") + "%20" * 10_000,
}


@pytest.mark.parametrize("form", BROKEN)
async def test_what_is_no_certificate_is_refused(server: Server, form: str) -> None:
    async with new_rows(server) as rows:
        answer = await through(server, PRACTICE.event_list(FULL_RECORD), BROKEN[form](server))
        assert (answer.status, answer.body) == (403, b"")
        assert await rows.reasons() == ["unreadable_certificate"]


async def test_a_signature_that_does_not_fit_is_refused(server: Server) -> None:
    """Another name in a good certificate: readable, and worth nothing."""
    certificate = x509.load_pem_x509_certificate((server.data / "pki" / "viewer.client.test.pem").read_bytes())
    der = certificate.public_bytes(Encoding.DER).replace(b"viewer.client.test", b"gp-app.client.test")
    changed = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    async with new_rows(server) as rows:
        assert (await through(server, PRACTICE.event_list(FULL_RECORD), quote(changed))).status == 403
        assert await rows.reasons() == ["untrusted_certificate"]


@pytest.mark.parametrize("second", ["gp.client.test", "viewer.client.test"])
async def test_a_header_that_is_there_twice_is_refused(server: Server, second: str) -> None:
    """A client's own header that the proxy has not taken away: nobody can tell which is which."""
    async with new_rows(server) as rows:
        values = (pem(server, "gp.client.test"), pem(server, second))
        assert (await through(server, PRACTICE.event_list(FULL_RECORD), *values)).status == 403
        assert await rows.reasons() == ["certificate_forwarded_twice"]


async def test_a_megabyte_of_it_is_431(server: Server) -> None:
    assert (await through(server, PRACTICE.event_list(FULL_RECORD), "A" * 1_000_000)).status == 431


async def test_who_is_revoked_is_refused_though_known_before(data: Path, start: Callable[..., Server]) -> None:
    """What was remembered of a certificate does not outlive the list."""
    server = start(demo=True, trusted_proxies=PROXY)
    gp = pem(server, "gp.client.test")
    soap_of(await through(server, PRACTICE.event_list(FULL_RECORD), gp), EVENT_LIST_ANSWER)
    await command(data, "pki", "revoke", "gp.client.test")

    async def refused() -> bool:
        return (await through(server, PRACTICE.event_list(FULL_RECORD), gp)).status == 403

    await until(refused)
    viewer = pem(server, "viewer.client.test")
    soap_of(await through(server, HOSPITAL.event_list(FULL_RECORD), viewer), EVENT_LIST_ANSWER)


@pytest.mark.parametrize("value", ["0.0.0.0/0", "::/0", "proxy.test", "10.0.0.1/8"])
def test_a_proxy_is_an_address_or_a_network_and_not_everybody(data: Path, value: str) -> None:
    process, log = launch(data, demo=True, trusted_proxies=value)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode != 0, output) == (True, "")
    assert "trusted_proxies" in log.read_text()
