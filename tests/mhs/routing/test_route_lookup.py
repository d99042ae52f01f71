"""Routes from a route lookup service, the third service of the NHS adaptor. Spec: 50 §5.2, §7."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mhs.rig import settings
from mhs.routing.conftest import StubDirectory, running
from openscr.access.pki import make_demo_certificates
from openscr.errors import ConfigurationError, DirectoryUnavailable, EndpointUnknown
from openscr.mhs.interactions import INTERACTIONS
from openscr.mhs.routing import DirectoryRouter, UnreadableRetryInterval, open_router

UPLOAD = INTERACTIONS["REPC_IN150016UK05"].service_id
EXPRESS = INTERACTIONS["QUPC_IN160101UK05"].service_id
CORRELATION = "GP/17"

ROUTING: dict[str, Any] = {
    "nhsMhsFQDN": "spine.test",
    "nhsMHSEndPoint": ["https://spine.test/reliablemessaging/reliablerequest"],
    "nhsMHSPartyKey": "YES-0000806",
    "nhsMhsCPAId": "S20001A000182",
    "uniqueIdentifier": ["227319907548"],
}
RELIABILITY: dict[str, Any] = {
    "nhsMHSSyncReplyMode": "MSHSignalsOnly",
    "nhsMHSRetryInterval": "PT1M",
    "nhsMHSRetries": "2",
    "nhsMHSPersistDuration": "PT5M",
    "nhsMHSDuplicateElimination": "always",
    "nhsMHSAckRequested": "always",
}


def router_of(base: str, **changes: object) -> DirectoryRouter:
    return open_router(settings(spine_route_lookup_url=base, **changes))


@pytest.fixture
async def router(directory: StubDirectory) -> AsyncIterator[DirectoryRouter]:
    directory.answers = {"routing": ROUTING, "reliability": RELIABILITY}
    opened = router_of(directory.base)
    yield opened
    await opened.close()


async def test_a_reliable_message_needs_route_and_contract(directory: StubDirectory, router: DirectoryRouter) -> None:
    for _ in range(3):
        route = await router.find("YES", UPLOAD, CORRELATION)
    assert (route.asid, route.party_key, route.cpa_id) == ("227319907548", "YES-0000806", "S20001A000182")
    assert (route.address, route.fqdn) == (ROUTING["nhsMHSEndPoint"][0], "spine.test")
    assert (route.contract.retries, route.contract.retry_interval, route.contract.persist_duration) == (2, 60.0, 300.0)
    assert [each.path for each in directory.asked] == ["/directory/routing", "/directory/reliability"]
    for each in directory.asked:
        assert each.query == {"org-code": ["YES"], "service-id": [UPLOAD]}
        assert each.headers["Correlation-Id"] == CORRELATION


async def test_for_other_messages_no_contract_is_asked_for(directory: StubDirectory, router: DirectoryRouter) -> None:
    """The service fails where there is none."""
    del directory.answers["reliability"]
    route = await router.find("YES", EXPRESS, CORRELATION)
    assert route.cpa_id == "S20001A000182"
    assert [each.path for each in directory.asked] == ["/directory/routing"]
    with pytest.raises(DirectoryUnavailable):
        await router.find("YES", UPLOAD, CORRELATION)


async def test_row_1_4_an_unreadable_retry_interval(directory: StubDirectory, router: DirectoryRouter) -> None:
    directory.answers["reliability"] = RELIABILITY | {"nhsMHSRetryInterval": "soon"}
    with pytest.raises(UnreadableRetryInterval) as caught:
        await router.find("YES", UPLOAD, CORRELATION)
    assert caught.value.text == "soon"


@pytest.mark.parametrize(
    "routing",
    [
        {},
        ROUTING | {"nhsMHSEndPoint": []},
        ROUTING | {"nhsMHSEndPoint": None},
        ROUTING | {"uniqueIdentifier": []},
        ROUTING | {"nhsMHSPartyKey": {}},
    ],
)
async def test_a_route_that_lacks_something_is_none(
    directory: StubDirectory, router: DirectoryRouter, routing: Any
) -> None:
    directory.answers["routing"] = routing
    with pytest.raises(EndpointUnknown):
        await router.find("YES", UPLOAD, CORRELATION)


@pytest.mark.parametrize(("status", "body"), [(500, b"<html/>"), (200, b"[]"), (200, b"")])
async def test_a_service_that_fails_cannot_be_asked(
    directory: StubDirectory, router: DirectoryRouter, status: int, body: bytes
) -> None:
    directory.status, directory.body = status, body
    with pytest.raises(DirectoryUnavailable):
        await router.find("YES", UPLOAD, CORRELATION)


async def test_f23_an_id_that_no_header_can_hold_is_not_told_on(router: DirectoryRouter) -> None:
    with pytest.raises(DirectoryUnavailable):
        await router.find("YES", UPLOAD, "a\r\nX-Other: b")


async def test_it_is_asked_through_a_proxy(directory: StubDirectory) -> None:
    """Whoever is asked through a proxy need not be known to us by name."""
    directory.answers = {"routing": ROUTING}
    port = int(directory.base.split(":")[2].split("/")[0])
    router = router_of(
        "http://lookup.invalid/there",
        spine_route_lookup_http_proxy="127.0.0.1",
        spine_route_lookup_http_proxy_port=port,
    )
    try:
        assert (await router.find("YES", EXPRESS, CORRELATION)).asid == "227319907548"
    finally:
        await router.close()
    (asked,) = directory.asked
    assert asked.headers["Host"] == "lookup.invalid"


# --- TLS ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pki")
    make_demo_certificates(folder)
    return folder


async def ask_with_tls(pki: Path, **changes: object) -> str:
    """Ask a service that wants certificates of the demo authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=pki / "ca.pem")
    context.load_cert_chain(pki / "localhost.pem", pki / "localhost.key")
    context.verify_mode = ssl.CERT_REQUIRED
    async with running(StubDirectory({"routing": ROUTING}), context) as directory:
        router = router_of(directory.base, **changes)
        try:
            return (await router.find("YES", EXPRESS, CORRELATION)).asid
        finally:
            await router.close()


async def test_f16_its_certificates_are_texts(pki: Path) -> None:
    certificate, key = ((pki / f"gp.client.test.{kind}").read_text() for kind in ("pem", "key"))
    own = {"secret_spine_route_lookup_client_cert": certificate, "secret_spine_route_lookup_client_key": key}
    authorities = {"secret_spine_route_lookup_ca_certs": (pki / "ca.pem").read_text()}
    assert await ask_with_tls(pki, **own, **authorities) == "227319907548"
    assert await ask_with_tls(pki, **own, spine_route_lookup_validate_cert=False) == "227319907548"
    joined = {"secret_spine_route_lookup_client_cert": certificate + key}
    assert await ask_with_tls(pki, **joined, **authorities) == "227319907548"
    foreign = {"secret_spine_route_lookup_ca_certs": (pki / "foreign.pem").read_text()}
    for changes in (own, own | foreign, authorities):
        with pytest.raises(DirectoryUnavailable):
            await ask_with_tls(pki, **changes)


def test_f16_certificates_that_are_none_are_refused_at_once() -> None:
    for name in ("secret_spine_route_lookup_client_cert", "secret_spine_route_lookup_ca_certs"):
        with pytest.raises(ConfigurationError, match="secret_spine_route_lookup"):
            router_of("https://lookup.test", **{name: "nonsense"})
