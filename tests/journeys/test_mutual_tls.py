"""The door of the spine listener: who has no right certificate does not come in, and who comes in is who it says."""

import asyncio
import ssl
import warnings
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from journeys.messages import HOSPITAL, PRACTICE, Client, Post, collected, fresh_patient, get
from journeys.runner import Server, client_context, import_directory, launch, live_directory
from journeys.wire import (
    RELIABLE,
    SYNC,
    Ended,
    connected,
    errors_of,
    fault_of,
    post,
    request_bytes,
    signal_of,
    soap_of,
)
from openscr.codes import ACKNOWLEDGEMENT, EVENT_LIST_ANSWER, QUERY_FAILED
from openscr.hl7.acknowledgement import read_outcome
from openscr.spine import Consent
from openscr.testbench.population import FULL_RECORD

REFUSED = (Ended, ssl.SSLError, ConnectionError)
"""How a client sees that its handshake is refused; with TLS 1.3 it may learn of it with its first request only."""


async def knock(server: Server, tls: ssl.SSLContext) -> None:
    """Connect and ask something that a registered client may ask. Raises one of `REFUSED`."""
    await PRACTICE.event_list(FULL_RECORD).to(server.spine, tls)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_registered_certificate_is_let_in(demo: Server, version: ssl.TLSVersion) -> None:
    tls = demo.tls()
    tls.minimum_version = tls.maximum_version = version
    answer = await PRACTICE.event_list(FULL_RECORD).to(demo.spine, tls)
    assert soap_of(answer, EVENT_LIST_ANSWER).relates_to


async def test_a_revoked_certificate_is_kept_out(data: Path, start: Callable[..., Server]) -> None:
    """With ``tls.crl_file`` the revoked one fails its handshake; the others are let in. Spec: 35 §3.1."""
    folder = data / "pki"
    authority = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey)
    revoked = x509.load_pem_x509_certificate((folder / "gp.client.test.pem").read_bytes())
    now = datetime.now(UTC)
    entry = x509.RevokedCertificateBuilder().serial_number(revoked.serial_number).revocation_date(now).build()
    listed = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).add_revoked_certificate(entry)
    crl = listed.last_update(now - timedelta(days=1)).next_update(now + timedelta(days=1)).sign(key, hashes.SHA256())
    (data / "crl.pem").write_bytes(crl.public_bytes(serialization.Encoding.PEM))
    server = start(demo=True, tls_crl_file=data / "crl.pem")
    with pytest.raises(REFUSED):
        await knock(server, client_context(folder, "gp.client.test"))
    answer = await HOSPITAL.event_list(FULL_RECORD).to(server.spine, client_context(folder, "viewer.client.test"))
    assert soap_of(answer, EVENT_LIST_ANSWER).relates_to


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("name", [None, "foreign", "expired"])
async def test_the_handshake_fails_without_a_good_certificate(
    demo: Server, name: str | None, version: ssl.TLSVersion
) -> None:
    """None at all, one of an authority that is not trusted, one past its time. Spec: 35 §3.2, §9.6."""
    tls = client_context(demo.data / "pki", name)
    tls.minimum_version = tls.maximum_version = version
    with pytest.raises(REFUSED):
        await knock(demo, tls)


async def test_tls_1_1_is_refused(demo: Server) -> None:
    tls = demo.tls()
    tls.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(REFUSED):
        await knock(demo, tls)


async def test_plain_http_on_the_spine_listener_gets_no_answer(demo: Server) -> None:
    with pytest.raises(REFUSED):
        await PRACTICE.event_list(FULL_RECORD).to(demo.spine.replace("https", "http"))


@pytest.mark.parametrize(
    "post_of", [lambda: PRACTICE.event_list(FULL_RECORD), lambda: PRACTICE.upload(FULL_RECORD).post()]
)
async def test_a_certificate_of_nobody_is_forbidden(demo: Server, post_of: Callable[[], Post]) -> None:
    """A good certificate whose name no party has: 403 with nothing in it. Spec: 35 §3.2."""
    answer = await post_of().to(demo.spine, demo.tls("unknown.client.test"))
    assert (answer.status, answer.body, answer.header("content-type")) == (403, b"", None)


async def test_nobody_speaks_with_the_asid_of_another_party(demo: Server) -> None:
    """The certificate of one party, the ASID of another: fault 300, on every channel. Spec: 35 §3.2 step 3."""
    number = fresh_patient()
    hospital = demo.tls("viewer.client.test")
    for request in (
        PRACTICE.event_list(number),
        PRACTICE.set_consent(number, Consent.NO),
        PRACTICE.get_consent(number),
    ):
        fault = fault_of(await request.to(demo.spine, hospital))
        assert (fault.codes, fault.faultcode) == (("300",), "SOAP:Client")
    mixed = Client(HOSPITAL.party_key, PRACTICE.asid)
    mail = mixed.upload(number)
    fault = fault_of(await mail.post().to(demo.spine, hospital))
    assert fault.codes == ("300",)
    assert fault.descriptions == ("The sender or receiver's ASID is not authorised for this interaction",)
    # Nothing of it was stored.
    answer = await PRACTICE.event_list(number).to(demo.spine, demo.tls())
    outcome, _ = read_outcome(soap_of(answer, QUERY_FAILED).interaction)
    assert [issue.code for issue in outcome.issues] == ["210", "30312"]


async def test_the_from_party_must_be_the_certificates(demo: Server) -> None:
    mail = PRACTICE.upload(fresh_patient())
    answer = await mail.post().to(demo.spine, demo.tls("viewer.client.test"))
    assert errors_of(answer) == [("SecurityFailure", "From party does not belong to the client certificate")]
    assert signal_of(answer).ref_to_message_id == mail.message_id


async def test_the_plain_listener_of_a_live_service_carries_no_spine_paths(
    data: Path, start: Callable[..., Server]
) -> None:
    await import_directory(data, live_directory("http://127.0.0.1:9/"))
    server = await asyncio.to_thread(start)
    query = PRACTICE.event_list(fresh_patient())
    assert (await query.to(server.web)).status == 404
    for path in (SYNC, RELIABLE, "/demo/inbox/Y90001-0000001"):
        assert (await post(server.web, path, b"", ())).status in (404, 405)
        assert (await get(server.web, path)).status == 404
    assert (await get(server.web, "/readyz")).status == 200


def test_a_demo_refuses_to_listen_on_other_addresses_than_loopback(data: Path) -> None:
    """Without certificates, only this machine may call. Spec: 00 §3."""
    process, log = launch(data, demo=True, web="0.0.0.0:0")
    output, _ = process.communicate(timeout=30)
    assert process.returncode not in (0, None)
    assert output == ""
    assert "loopback" in log.read_text()
    assert not (data / "openscr.db").exists()


async def test_one_connection_carries_many_requests(demo: Server) -> None:
    """Keep-alive, also behind refusals and faults that do not concern the framing, also for pipelined requests."""
    number = fresh_patient()
    async with connected(demo.spine, demo.tls()) as connection:
        upload = PRACTICE.upload(number).post()
        signal_of(await connection.exchange(upload.raw()))
        for _ in range(3):
            soap_of(await connection.exchange(PRACTICE.event_list(number).raw()), EVENT_LIST_ANSWER)
            assert fault_of(await connection.exchange(request_bytes(SYNC, b"", ()))).codes == ("101",)
            assert (await connection.exchange(request_bytes(SYNC, b"", (), method="GET"))).status == 405
        first, second = PRACTICE.set_consent(number, Consent.NO), PRACTICE.set_consent(number, Consent.YES)
        await connection.send(first.raw() + second.raw())
        for request in (first, second):
            assert soap_of(await connection.answer(), ACKNOWLEDGEMENT).relates_to == f"uuid:{request.message_id}"


async def test_a_connection_is_closed_when_its_client_asks(demo: Server) -> None:
    async with connected(demo.spine, demo.tls()) as connection:
        request = PRACTICE.event_list(FULL_RECORD).with_headers(connection="close")
        soap_of(await connection.exchange(request.raw()), EVENT_LIST_ANSWER)
        assert await connection.ended()


async def test_parallel_connections_of_several_parties_do_not_mix(demo: Server) -> None:
    """What the TLS handshake said of one connection is never taken for another's."""
    number = fresh_patient()
    signal_of(await PRACTICE.upload(number).post().to(demo.spine, demo.tls()))

    async def ask(client: Client, name: str) -> int:
        answer = await client.event_list(number).to(demo.spine, demo.tls(name))
        return answer.status

    turns = [(PRACTICE, "gp.client.test"), (PRACTICE, "viewer.client.test"), (HOSPITAL, "viewer.client.test")] * 4
    statuses = await asyncio.gather(*(ask(client, name) for client, name in turns))
    assert statuses == [200, 500, 200] * 4
    assert await collected(demo.web, "no such message") == []
