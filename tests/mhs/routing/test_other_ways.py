"""Routes out of a file, from SDS over LDAP, and from nowhere. Spec: 50 §5.2, §7, F12."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ldap_server import LdapServer, ldap_server
from mhs.rig import settings
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.formats import write_as
from openscr.errors import ConfigurationError, DirectoryUnavailable, EndpointUnknown
from openscr.mhs.interactions import INTERACTIONS
from openscr.mhs.routing import DirectoryRouter, open_router
from openscr.testbench.world import demo_directory

UPLOAD = INTERACTIONS["REPC_IN150016UK05"].service_id
EXPRESS = INTERACTIONS["QUPC_IN160101UK05"].service_id
QUERY = INTERACTIONS["QUPC_IN180000UK04"].service_id
FORWARD = INTERACTIONS["COPC_IN000001UK01"].service_id
CORRELATION = "GP/17"

ROUTES = """
[[route]]
ods = "B99901"
interactions = ["gp2gp:*"]
address = "https://intermediary.test/forward"
party_key = "B99901-1"
asid = "900000000101"
cpa_id = "S9"
fqdn = "forward.test"

[[route]]
interactions = ["urn:nhs:names:services:psis:REPC_IN150016UK05", "psis:REPC_IN150015UK05"]
address = "https://spine.test:444/reliablemessaging/reliablerequest"
party_key = "YES-0000806"
asid = "227319907548"
cpa_id = "S20001A000182"
contract = { retries = 2, retry_interval = "PT1M", persist_duration = "PT5M", ack_requested = "always", \
duplicate_elimination = "always", sync_reply_mode = "MSHSignalsOnly" }

[[route]]
interactions = ["psisquery:*"]
address = "https://spine.test/sync"
party_key = "YES-0000806"
asid = "227319907548"
cpa_id = "S20003A000304"
"""


def with_file(folder: Path, text: str) -> DirectoryRouter:
    path = folder / "routes.toml"
    path.write_text(text)
    return open_router(settings(outbound_routing_lookup_method="STATIC", routes_file=path))


# --- a file ---------------------------------------------------------------------------------------------------------


async def test_f12_a_file_of_routes(tmp_path: Path) -> None:
    router = with_file(tmp_path, ROUTES)
    upload = await router.find("YES", UPLOAD, CORRELATION)
    assert (upload.asid, upload.party_key, upload.cpa_id) == ("227319907548", "YES-0000806", "S20001A000182")
    assert (upload.address, upload.fqdn) == ("https://spine.test:444/reliablemessaging/reliablerequest", "spine.test")
    assert (upload.contract.retries, upload.contract.retry_interval) == (2, 60.0)
    query = await router.find("YES", QUERY, CORRELATION)
    assert (query.address, query.contract.retries) == ("https://spine.test/sync", None)
    forward = await router.find("b99901", FORWARD, CORRELATION)
    assert (forward.address, forward.fqdn) == ("https://intermediary.test/forward", "forward.test")
    for ods, service_id in (("YES", FORWARD), ("YES", INTERACTIONS["COMT_IN000001UK01"].service_id)):
        with pytest.raises(EndpointUnknown):
            await router.find(ods, service_id, CORRELATION)
    await router.close()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "route"),
        ("route = []", "route"),
        ("[[route]", "not right"),
        (ROUTES.replace('asid = "227319907548"\n', ""), "asid"),
        (ROUTES.replace("cpa_id", "cpa"), "cpa"),
        (ROUTES.replace("psisquery:*", "psisquery"), "SERVICE:INTERACTION"),
        (ROUTES.replace("https://spine.test/sync", "spine.test"), "URL"),
        (ROUTES.replace('"PT1M"', '"1 minute"'), "retry_interval"),
        (ROUTES.replace('"always"', '"sometimes"'), "ack_requested"),
        (ROUTES + "[other]\n", "other"),
    ],
)
def test_a_file_that_is_not_right_is_told_at_once(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told) as caught:
        with_file(tmp_path, text)
    assert "routes.toml" in caught.value.diagnostics


def test_a_file_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"routes\.toml cannot be read: No such file"):
        open_router(settings(outbound_routing_lookup_method="STATIC", routes_file=tmp_path / "routes.toml"))


# --- LDAP -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LdapServer]:
    directory = build_directory(merge([], read_directory(demo_directory()), replace=True), 1)
    ldif = write_as(directory, "ldif", "https://spine.test")
    with ldap_server(tmp_path_factory.mktemp("ldap") / "slapd", ldif) as running:
        yield running


def over_ldap(url: str, **changes: object) -> DirectoryRouter:
    return open_router(settings(outbound_routing_lookup_method="LDAP", sds_url=url, **changes))


@pytest.mark.parametrize("base", ["ou=services,o=nhs", "o=nhs"])
async def test_sds_over_ldap_tells_the_same(server: LdapServer, base: str) -> None:
    """OpenTest's SDS is searched from its root."""
    expected = next(
        each
        for each in json.loads(demo_directory())["endpoints"]
        if each["party_key"] == "YES-0000806" and "REPC_IN150016UK05" in each["interactions"]
    )
    router = over_ldap(server.url, sds_search_base=base)
    try:
        route = await router.find("YES", UPLOAD, CORRELATION)
        assert (route.party_key, route.cpa_id) == ("YES-0000806", expected["cpa_id"])
        assert route.address.startswith("https://spine.test/")
        assert (await router.find("YES", EXPRESS, CORRELATION)).contract.retries is None
        with pytest.raises(EndpointUnknown):
            await router.find("*", UPLOAD, CORRELATION)
    finally:
        await router.close()


async def test_its_address_may_be_written_as_the_reference_has_it(server: LdapServer) -> None:
    host = server.url.removeprefix("ldap://")
    for url in (host, f"ldaps://{host}"):
        router = over_ldap(url, disable_sds_tls=True)
        assert (await router.find("YES", UPLOAD, CORRELATION)).party_key == "YES-0000806"
        await router.close()
    router = over_ldap(host)
    with pytest.raises(DirectoryUnavailable):
        await router.find("YES", UPLOAD, CORRELATION)
    await router.close()


@pytest.mark.parametrize("url", ["http://sds.test", "ldap://", "ldaps://sds.test/o=nhs"])
def test_an_address_that_is_none_is_told_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ldaps?://HOST:PORT"):
        over_ldap(url)


# --- nothing --------------------------------------------------------------------------------------------------------


async def test_e1_an_adaptor_without_a_way_to_look_up_starts_and_finds_nothing() -> None:
    router = open_router(settings())
    with pytest.raises(EndpointUnknown, match="no way to look up routes is set"):
        await router.find("YES", UPLOAD, CORRELATION)
    await router.close()
