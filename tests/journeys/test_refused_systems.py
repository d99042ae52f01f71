"""Every way in which a calling system is refused: what it is told, and the cause that the audit keeps.

The rows "Handshake" and "Registry" of the checklist, and the table of refusals. Spec: 35 §3.2, §9.6.
"""

import asyncio
import json
import ssl
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from journeys.handshake import new_rows, only, visit
from journeys.messages import HOSPITAL, PRACTICE, Client, Post, fresh_patient
from journeys.runner import Server, client_context, import_directory, new_data
from journeys.wire import SYNC, Answer, connected, errors_of, fault_of, post, soap_of
from openscr.access import pki as authority
from openscr.codes import EVENT_LIST_ANSWER, QUERY_FAILED
from openscr.hl7.acknowledgement import read_outcome
from openscr.testbench.population import FULL_RECORD
from openscr.testbench.world import demo_directory

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
DISABLED = Client(asid="200000000118")
QUERIES_ONLY = Client(asid="200000000119")


@pytest.fixture(scope="module")
def server(pki: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A demo service with two more systems of the practice: a disabled one, and one that may only query."""
    data = new_data(tmp_path_factory.mktemp("refusals") / "data", pki)
    authority.issue(data / "pki", "gp.client.test", name="server.only", usage="server")
    world = json.loads(demo_directory())
    (practice,) = (system for system in world["systems"] if system["asid"] == PRACTICE.asid)
    world["systems"] += [
        practice | {"asid": DISABLED.asid, "app": "app-disabled", "enabled": False},
        practice | {"asid": QUERIES_ONLY.asid, "app": "app-queries", "interactions": ["psisquery:QUPC_IN180000UK04"]},
    ]
    asyncio.run(import_directory(data, world))
    server = Server.start(data, demo=True)
    yield server
    assert server.stop() == 0


# --- handshake ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
@pytest.mark.parametrize(
    ("name", "alert", "cause"),
    [
        (None, ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLSV13_ALERT_CERTIFICATE_REQUIRED"), "no_certificate"),
        ("foreign", ("TLSV1_ALERT_UNKNOWN_CA",) * 2, "untrusted_certificate"),
        ("expired", ("SSLV3_ALERT_CERTIFICATE_EXPIRED",) * 2, "expired_certificate"),
        ("server.only", ("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",) * 2, "certificate_not_for_clients"),
    ],
)
async def test_a_certificate_that_will_not_do_ends_the_handshake(
    server: Server, name: str | None, alert: tuple[str, str], cause: str, version: ssl.TLSVersion
) -> None:
    """None, one of another authority, one past its time, one that is not for clients: the alert says which."""
    tls = only(client_context(server.data / "pki", name), version)
    async with new_rows(server) as rows:
        with pytest.raises(ssl.SSLError) as refusal:
            await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
        assert refusal.value.reason == alert[version is TLS_1_3]
        assert await rows.reasons() == [cause]
    (row,) = rows.rows
    assert (row.outcome, row.content["address"], "certificate" in row.content) == ("AR", "127.0.0.1", False)
    assert row.nhs_number is None


@pytest.mark.parametrize("version", ["TLSv1", "TLSv1_1"])
async def test_an_old_version_ends_the_handshake(server: Server, version: str) -> None:
    tls = server.tls()
    tls.set_ciphers("DEFAULT@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        only(tls, ssl.TLSVersion[version])
    async with new_rows(server) as rows:
        with pytest.raises(ssl.SSLError) as refusal:
            await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
        assert refusal.value.reason == "TLSV1_ALERT_PROTOCOL_VERSION"
        assert await rows.reasons() == ["tls_version"]


@pytest.mark.parametrize("suite", ["ECDHE-RSA-CHACHA20-POLY1305", "AES256-GCM-SHA384", "ECDHE-RSA-AES256-SHA"])
async def test_a_suite_that_is_not_listed_ends_the_handshake(server: Server, suite: str) -> None:
    """A good one of our time that the list has not, one without forward secrecy, one of the older list."""
    tls = only(server.tls(), TLS_1_2)
    tls.set_ciphers(suite)
    async with new_rows(server) as rows:
        with pytest.raises(ssl.SSLError) as refusal:
            await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
        assert refusal.value.reason == "SSLV3_ALERT_HANDSHAKE_FAILURE"
        assert await rows.reasons() == ["tls_suite"]


async def test_plain_http_is_told_nothing_and_audited(server: Server) -> None:
    async with new_rows(server) as rows, connected(server.spine.replace("https", "http")) as connection:
        await connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert not (await connection.reader.read()).startswith(b"HTTP/1.1")
        assert await rows.reasons() == ["not_tls"]


async def test_who_only_looks_whether_the_port_is_open_leaves_no_trace(server: Server) -> None:
    async with new_rows(server) as rows:
        async with connected(server.spine.replace("https", "http")):
            pass
        with pytest.raises(ssl.SSLError):
            await visit(server.spine, client_context(server.data / "pki", None), PRACTICE.event_list(FULL_RECORD))
        assert await rows.reasons() == ["no_certificate"]


async def test_refused_handshakes_cannot_fill_the_audit(pki: Path, tmp_path: Path) -> None:
    """So many a minute are audited; all of them are counted. Spec: 35 §7."""
    server = Server.start(new_data(tmp_path / "data", pki), demo=True)
    tls = client_context(pki, None)
    async with new_rows(server) as rows:
        for _ in range(70):
            with pytest.raises(ssl.SSLError):
                await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
        metrics = (await post(server.web, "/metrics", b"", (), method="GET")).body.decode()
        assert 'openscr_tls_handshakes_total{outcome="no_certificate"} 70.0' in metrics
        assert await rows.reasons(60) == ["no_certificate"] * 60
    assert server.stop() == 0
    assert server.log.read_text().count("further refused handshakes of this minute are not audited") == 1


# --- registry -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "post_of", [lambda: PRACTICE.event_list(FULL_RECORD), lambda: PRACTICE.upload(FULL_RECORD).post()]
)
async def test_a_name_that_nobody_has_registered_is_403(server: Server, post_of: Callable[[], Post]) -> None:
    """The certificate is good, its FQDN unknown: an empty 403, on the synchronous and the asynchronous path."""
    async with new_rows(server) as rows:
        answer = await post_of().to(server.spine, server.tls("unknown.client.test"))
        assert (answer.status, answer.body) == (403, b"")
        assert await rows.reasons() == ["unknown_certificate"]
    assert rows.rows[0].content["certificate"].startswith("unknown.client.test ")


def _header_only(request: Post, old: str, new: str) -> Post:
    """Change the first place of an ASID: the SOAP header stands before the body."""
    return Post(request.body.replace(old.encode(), new.encode(), 1), request.headers, request.path, request.message_id)


SYNCHRONOUS = {
    "unknown_sender": lambda: Client(asid="299999999999").event_list(FULL_RECORD),
    "wrong_certificate": lambda: HOSPITAL.event_list(FULL_RECORD),
    "sender_disabled": lambda: DISABLED.event_list(FULL_RECORD),
    "interaction_not_entitled": lambda: QUERIES_ONLY.event(FULL_RECORD, "0" * 8 + "-0000-4000-8000-" + "0" * 12),
    "receiver_not_ours": lambda: Post(
        (query := PRACTICE.event_list(FULL_RECORD)).body.replace(b"200000000100", b"200000000101"),
        query.headers,
        query.path,
        query.message_id,
    ),
    "asid_header_differs": lambda: PRACTICE.event_list(FULL_RECORD).with_headers(nhsd_asid=HOSPITAL.asid),
}


@pytest.mark.parametrize("cause", SYNCHRONOUS)
async def test_a_synchronous_request_of_a_system_that_may_not_is_fault_300(server: Server, cause: str) -> None:
    """One fault for every cause; the audit knows which, who knocked, and with which certificate."""
    async with new_rows(server) as rows:
        fault = fault_of(await SYNCHRONOUS[cause]().to(server.spine, server.tls()))
        assert fault.codes == ("300",)
        assert fault.descriptions == ("The sender or receiver's ASID is not authorised for this interaction",)
        assert await rows.reasons() == [cause]
    assert rows.rows[0].content["certificate"].startswith("gp.client.test ")
    assert rows.rows[0].outcome == "AR"


async def test_a_registered_system_may_do_what_it_is_entitled_to(server: Server) -> None:
    answer = await QUERIES_ONLY.event_list(FULL_RECORD).to(server.spine, server.tls())
    soap_of(answer, EVENT_LIST_ANSWER)


ASYNCHRONOUS: dict[str, tuple[Callable[[], Post], list[tuple[str, str]] | None]] = {
    "unknown_sender": (lambda: Client(asid="299999999999").upload(fresh_patient()).post(), None),
    "wrong_certificate": (lambda: Client(asid=HOSPITAL.asid).upload(fresh_patient()).post(), None),
    "sender_disabled": (lambda: DISABLED.upload(fresh_patient()).post(), None),
    "interaction_not_entitled": (lambda: QUERIES_ONLY.upload(fresh_patient()).post(), None),
    "party_not_of_certificate": (
        lambda: HOSPITAL.upload(fresh_patient()).post(),
        [("SecurityFailure", "From party does not belong to the client certificate")],
    ),
    "unknown_party": (
        lambda: Client(party_key="X99-9999999").upload(fresh_patient()).post(),
        [("ValueNotRecognized", "402005")],
    ),
}


@pytest.mark.parametrize("cause", ASYNCHRONOUS)
async def test_an_asynchronous_message_of_a_system_that_may_not_is_refused(server: Server, cause: str) -> None:
    """Who is not the certificate's, or not registered, by an ebXML error; an ASID that may not by fault 300."""
    make, errors = ASYNCHRONOUS[cause]
    async with new_rows(server) as rows:
        answer = await make().to(server.spine, server.tls())
        if errors is None:
            assert fault_of(answer).codes == ("300",)
        else:
            ((code, description),) = errors_of(answer)
            assert code == errors[0][0]
            assert errors[0][1] in description
        assert await rows.reasons() == [cause]
    assert rows.rows[0].content["certificate"].startswith("gp.client.test ")


async def test_header_and_body_that_name_different_senders_are_refused(server: Server) -> None:
    """Both may be good, but not at once: the query's own refusal. Spec: 35 §3.2, 30 §3."""
    request = _header_only(PRACTICE.event_list(FULL_RECORD), PRACTICE.asid, "200000000117")
    async with new_rows(server) as rows:
        answer = await request.to(server.spine, server.tls())
        outcome, _ = read_outcome(soap_of(answer, QUERY_FAILED).interaction)
        assert [issue.code for issue in outcome.issues] == ["400", "35160"]
        assert "Sender" in outcome.issues[1].display
        assert await rows.reasons() == ["invalid"]
    assert rows.rows[0].content["codes"] == "400 35160"


@pytest.mark.parametrize("side", ["Snd", "Rcv"])
async def test_a_request_that_names_no_sender_or_receiver_is_fault_201(server: Server, side: str) -> None:
    request = PRACTICE.event_list(FULL_RECORD)
    before, tag, rest = request.body.partition(f"communicationFunction{side}".encode())
    body = before + tag.replace(b"Function", b"Purpose") + rest.replace(tag, tag.replace(b"Function", b"Purpose"), 1)
    answer: Answer = await post(server.spine, SYNC, body, request.headers, server.tls())
    assert fault_of(answer).codes == ("201",)
    assert f"communicationFunction{side}".encode() in answer.body
