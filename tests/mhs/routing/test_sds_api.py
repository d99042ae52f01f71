"""Routes from the SDS FHIR API: our own directory face as it really runs, and one that fails. Spec: 50 §5.1, F12."""

import asyncio
import copy
from collections.abc import AsyncIterator
from datetime import date
from typing import Any
from uuid import UUID

import pytest

from mhs.rig import settings
from mhs.routing.conftest import StubDirectory
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.json_service import LARGEST_ANSWER, JsonService
from openscr.directory.model import CurrentDirectory
from openscr.directory.routes import look_up
from openscr.directory.sds_api import IDS, RELIABILITY, SdsApi
from openscr.directory.sources import EmbeddedSource
from openscr.errors import ConfigurationError, DirectoryTimeout, DirectoryUnavailable, EndpointUnknown
from openscr.mhs.interactions import INTERACTIONS
from openscr.mhs.routing import DirectoryRouter, UnreadableRetryInterval, correlation_uuid, open_router
from openscr.mhs.states import Workflow
from openscr.testbench.world import demo_directory
from serving import DemoServer

BASE = "/spine-directory/FHIR/R4"
UPLOAD = INTERACTIONS["REPC_IN150016UK05"].service_id
EXPRESS = INTERACTIONS["QUPC_IN160101UK05"].service_id
QUERY = INTERACTIONS["QUPC_IN180000UK04"].service_id
FORWARD = INTERACTIONS["COPC_IN000001UK01"].service_id
SET_CONSENT = INTERACTIONS["SET_RESOURCE_PERMISSIONS_INUK01"].service_id
TODAY = date(2026, 11, 23)
CORRELATION = "9d0f6a52-8c1b-4e37-A2D4-6F5B3C2E1001"


def identifier(name: str, value: str) -> dict[str, str]:
    return {"system": f"{IDS}{name}", "value": value}


DEVICE: dict[str, Any] = {
    "resourceType": "Device",
    "identifier": [identifier("nhsSpineASID", "227319907548"), identifier("nhsMhsPartyKey", "YES-0000806")],
}
ENDPOINT: dict[str, Any] = {
    "resourceType": "Endpoint",
    "address": "https://spine.test/reliablemessaging/reliablerequest",
    "identifier": [
        identifier("nhsMhsFQDN", "spine.test"),
        identifier("nhsMhsPartyKey", "YES-0000806"),
        identifier("nhsMhsCPAId", "S20001A000182"),
        identifier("nhsMHSId", "S20001A000182"),
    ],
    "extension": [
        {
            "url": RELIABILITY,
            "extension": [
                {"url": "nhsMHSSyncReplyMode", "valueString": "MSHSignalsOnly"},
                {"url": "nhsMHSRetryInterval", "valueString": "PT1M"},
                {"url": "nhsMHSRetries", "valueInteger": 2},
                {"url": "nhsMHSPersistDuration", "valueString": "PT5M"},
                {"url": "nhsMHSDuplicateElimination", "valueString": "always"},
                {"url": "nhsMHSAckRequested", "valueString": "always"},
            ],
        }
    ],
}


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "searchset", "entry": [{"resource": each} for each in resources]}


def endpoint_with(**properties: str | int) -> dict[str, Any]:
    """The endpoint with other properties of reliability."""
    changed = copy.deepcopy(ENDPOINT)
    for each in changed["extension"][0]["extension"]:
        if each["url"] in properties:
            value = properties[each["url"]]
            del each["valueInteger" if "valueInteger" in each else "valueString"]
            each["valueInteger" if isinstance(value, int) else "valueString"] = value
    return changed


def without(resource: dict[str, Any], name: str) -> dict[str, Any]:
    """A resource that lacks an identifier."""
    kept = [each for each in resource["identifier"] if each["system"] != f"{IDS}{name}"]
    return resource | {"identifier": kept}


def router_of(base: str, **changes: object) -> DirectoryRouter:
    chosen = {"outbound_routing_lookup_method": "SDS_API", "sds_api_url": base, "sds_api_key": "secret-key"}
    return open_router(settings(**chosen | changes))


@pytest.fixture
async def router(directory: StubDirectory) -> AsyncIterator[DirectoryRouter]:
    directory.answers = {"Device": bundle(DEVICE), "Endpoint": bundle(ENDPOINT)}
    opened = router_of(directory.base)
    yield opened
    await opened.close()


# --- against our own face -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["REPC_IN150016UK05", "REPC_IN150015UK05", "QUPC_IN160101UK05", "QUPC_IN180000UK04"])
@pytest.mark.parametrize("ods", ["YES", "yes"])
async def test_a_route_from_the_running_service_is_that_of_its_directory(
    demo_server: DemoServer, name: str, ods: str
) -> None:
    """Nothing is lost on the way through FHIR: the same route comes out of the directory that is behind it."""
    entries = merge([], read_directory(demo_directory()), replace=True)
    held = EmbeddedSource(CurrentDirectory(build_directory(entries, 1)), demo_server.spine)
    router = router_of(f"{demo_server.web}{BASE}/")
    try:
        found = await router.find(ods, INTERACTIONS[name].service_id, CORRELATION)
    finally:
        await router.close()
    expected = await look_up(held, ods, INTERACTIONS[name].service_id)
    same = ("asid", "party_key", "cpa_id", "fqdn", "unreadable_retry_interval")
    assert [getattr(found, each) for each in same] == [getattr(expected, each) for each in same]
    assert found.address.removeprefix(demo_server.spine) == expected.address.removeprefix(demo_server.spine)
    assert found.address.startswith("https://")
    # SDS tells no name of a contract, and not how a receiver is authenticated.
    for each in ("sync_reply_mode", "ack_requested", "duplicate_elimination", "actor", "retries", "retry_interval"):
        assert getattr(found.contract, each) == getattr(expected.contract, each), each


async def test_whoever_the_service_does_not_know_has_no_route(demo_server: DemoServer) -> None:
    router = router_of(f"{demo_server.web}{BASE}")
    try:
        for ods in ("X99999", "A B", "|", "YES&identifier=x", "é", "a" * 300):
            with pytest.raises(EndpointUnknown):
                await router.find(ods, UPLOAD, CORRELATION)
    finally:
        await router.close()


@pytest.mark.parametrize("correlation_id", ["not-a-uuid", "", "A/ï|&", CORRELATION])
async def test_f12_a_correlation_id_that_is_no_uuid_is_no_obstacle(
    demo_server: DemoServer, correlation_id: str
) -> None:
    """The service refuses any X-Correlation-ID that is not a UUID."""
    router = router_of(f"{demo_server.web}{BASE}")
    try:
        assert (await router.find("YES", UPLOAD, correlation_id)).party_key == "YES-0000806"
    finally:
        await router.close()


async def test_a_job_role_is_told(demo_server: DemoServer) -> None:
    service = JsonService(f"{demo_server.web}{BASE}", what="SDS")
    try:
        found = [await SdsApi(service).job_role(each, TODAY) for each in ("555000000102", "999999999999")]
    finally:
        await service.close()
    assert found == ["R8000", None]


# --- what is asked --------------------------------------------------------------------------------------------------


async def test_the_questions_are_those_of_the_reference(directory: StubDirectory, router: DirectoryRouter) -> None:
    route = await router.find("A B&c", UPLOAD, CORRELATION)
    ods = "https%3A%2F%2Ffhir.nhs.uk%2FId%2Fods-organization-code%7CA%20B%26c"
    interaction = "identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2FnhsServiceInteractionId%7C" + UPLOAD.replace(":", "%3A")
    party = "identifier=https%3A%2F%2Ffhir.nhs.uk%2FId%2FnhsMhsPartyKey%7CYES-0000806"
    assert [each.target for each in directory.asked] == [
        f"/directory/Device?organization={ods}&{interaction}",
        f"/directory/Endpoint?{interaction}&{party}",
    ]
    for each in directory.asked:
        assert each.headers["apikey"] == "secret-key"
        assert each.headers["X-Correlation-ID"] == CORRELATION
    assert (route.asid, route.party_key, route.cpa_id) == ("227319907548", "YES-0000806", "S20001A000182")
    assert (route.address, route.fqdn) == (ENDPOINT["address"], "spine.test")
    contract = route.contract
    assert (contract.retries, contract.retry_interval, contract.persist_duration) == (2, 60.0, 300.0)
    assert (contract.ack_requested, contract.duplicate_elimination) == ("always", "always")


def test_f12_the_uuid_of_a_correlation_id_is_always_the_same() -> None:
    assert correlation_uuid(CORRELATION) == CORRELATION
    first, again, other = correlation_uuid("GP-17"), correlation_uuid("GP-17"), correlation_uuid("GP-18")
    assert first == again != other
    assert UUID(first).version == 5


async def test_f12_a_directory_is_asked_once_by_however_many(directory: StubDirectory, router: DirectoryRouter) -> None:
    """The reference asks four times for every reliable message."""
    routes = await asyncio.gather(*(router.find("YES", UPLOAD, CORRELATION) for _ in range(20)))
    await router.find("yes", UPLOAD, "another")
    assert len({id(route) for route in routes}) == 1
    assert [each.path for each in directory.asked] == ["/directory/Device", "/directory/Endpoint"]


async def test_of_several_the_first_counts(directory: StubDirectory, router: DirectoryRouter) -> None:
    directory.answers = {
        "Device": bundle(DEVICE, DEVICE | {"identifier": [identifier("nhsSpineASID", "1")]}),
        "Endpoint": bundle(ENDPOINT, ENDPOINT | {"address": "https://other.test/"}),
    }
    route = await router.find("YES", UPLOAD, CORRELATION)
    assert (route.asid, route.address) == ("227319907548", ENDPOINT["address"])


async def test_what_is_forwarded_goes_where_the_api_says(directory: StubDirectory) -> None:
    """The API puts the intermediary's address in; it would refuse to be asked for it. Spec: 40 §11.2."""
    directory.answers = {"Device": bundle(DEVICE), "Endpoint": bundle(ENDPOINT)}
    service = JsonService(directory.base, what="SDS")
    try:
        assert (await look_up(SdsApi(service), "YES", FORWARD)).address == ENDPOINT["address"]
    finally:
        await service.close()
    assert [each.path for each in directory.asked] == ["/directory/Device", "/directory/Endpoint"]


# --- what is wrong with the answers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "endpoint"),
    [
        (bundle(), bundle(ENDPOINT)),
        (bundle(DEVICE), bundle()),
        ({"resourceType": "Bundle"}, bundle(ENDPOINT)),
        (bundle({"resourceType": "Patient"}), bundle(ENDPOINT)),
        (bundle(without(DEVICE, "nhsSpineASID")), bundle(ENDPOINT)),
        (bundle(without(DEVICE, "nhsMhsPartyKey")), bundle(ENDPOINT)),
        (bundle(DEVICE), bundle(ENDPOINT | {"address": None})),
        (bundle(DEVICE), bundle({"resourceType": "Endpoint"})),
        (bundle(DEVICE), bundle(ENDPOINT | {"address": {}, "identifier": "text", "extension": [7, {"url": 3}]})),
        (bundle(DEVICE), bundle(endpoint_with(nhsMHSRetries="many"))),
        (bundle(DEVICE | {"identifier": [{"system": 1, "value": {}}, 3]}), bundle(ENDPOINT)),
    ],
)
async def test_a_directory_that_lacks_something_gives_no_route(
    directory: StubDirectory, router: DirectoryRouter, device: Any, endpoint: Any
) -> None:
    directory.answers = {"Device": device, "Endpoint": endpoint}
    with pytest.raises(EndpointUnknown):
        await router.find("YES", UPLOAD, CORRELATION)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (503, b"busy"),
        (404, b"{}"),
        (401, b"{}"),
        (403, b"{}"),
        (429, b"{}"),
        (302, b""),
        (204, b""),
        (200, b""),
        (200, b"<html/>"),
        (200, b'{"resourceType": "OperationOutcome"}'),
        (200, b"[]"),
        (200, b"\xff\xfe\xff"),
        (200, b"[" * 100_000),
        (200, b" " * (LARGEST_ANSWER + 1)),
    ],
    ids=lambda value: str(value[:20]) if isinstance(value, bytes) else str(value),
)
async def test_an_answer_that_is_none_means_that_the_directory_cannot_be_asked(
    directory: StubDirectory, router: DirectoryRouter, status: int, body: bytes
) -> None:
    directory.status, directory.body = status, body
    directory.headers = {"Location": "/directory/elsewhere"}
    with pytest.raises(DirectoryUnavailable) as caught:
        await router.find("YES", UPLOAD, CORRELATION)
    assert "secret" not in caught.value.diagnostics
    assert len(directory.asked) == 1, "no redirect is followed"
    # The next message asks again.
    directory.status, directory.body = 200, None
    assert (await router.find("YES", UPLOAD, CORRELATION)).asid == "227319907548"


async def test_a_question_that_the_directory_does_not_take_finds_nothing(
    directory: StubDirectory, router: DirectoryRouter
) -> None:
    directory.status, directory.body = 400, b"{}"
    for _ in range(2):
        with pytest.raises(EndpointUnknown):
            await router.find("YES", UPLOAD, CORRELATION)
    assert len(directory.asked) == 1


async def test_a_directory_that_does_not_answer_is_late(directory: StubDirectory) -> None:
    forever = asyncio.Event()
    directory.before = forever.wait
    service = JsonService(directory.base, what="SDS", answer_seconds=0.2)
    try:
        with pytest.raises(DirectoryTimeout):
            await service.get("Device", [], {})
    finally:
        forever.set()
        await service.close()


async def test_a_directory_that_is_not_there_cannot_be_asked() -> None:
    router = router_of("http://127.0.0.1:1/")
    with pytest.raises(DirectoryUnavailable):
        await router.find("YES", UPLOAD, CORRELATION)
    await router.close()


@pytest.mark.parametrize("url", ["sds.test", "ftp://sds.test/", "https://", "https://sds.test/?a=b", "http://[/"])
def test_an_address_is_a_url(url: str) -> None:
    with pytest.raises(ConfigurationError, match="the SDS API"):
        JsonService(url, what="the SDS API")


# --- contracts, and whom they matter to -----------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["1 minute", "60", "P1M", "PT", "forever", "P36526D"])
async def test_row_1_4_an_unreadable_retry_interval_stops_reliable_messages_alone(
    directory: StubDirectory, router: DirectoryRouter, text: str
) -> None:
    directory.answers["Endpoint"] = bundle(endpoint_with(nhsMHSRetryInterval=text))
    for _ in range(2):
        with pytest.raises(UnreadableRetryInterval) as caught:
            await router.find("YES", UPLOAD, CORRELATION)
        assert caught.value.text == text
    for service_id in (EXPRESS, QUERY):
        route = await router.find("YES", service_id, CORRELATION)
        assert route.contract.retry_interval is None
        assert route.contract.retries == 2


@pytest.mark.parametrize("text", ["PT10S", "for ever", "P999999999W"])
async def test_a_persist_duration_that_makes_no_sense_stops_nothing(
    directory: StubDirectory, router: DirectoryRouter, text: str
) -> None:
    directory.answers["Endpoint"] = bundle(endpoint_with(nhsMHSPersistDuration=text))
    route = await router.find("YES", UPLOAD, CORRELATION)
    assert (route.contract.retries, route.contract.retry_interval) == (2, 60.0)
    assert route.contract.persist_duration is None


async def test_how_a_message_is_exchanged_is_the_callers_to_say(
    directory: StubDirectory, router: DirectoryRouter
) -> None:
    """Where the table leaves a choice, contract and address are by what was chosen."""
    directory.answers["Endpoint"] = bundle(endpoint_with(nhsMHSRetryInterval="soon"))
    assert (await router.find("YES", SET_CONSENT, CORRELATION, Workflow.SYNC)).address == ENDPOINT["address"]
    with pytest.raises(UnreadableRetryInterval):
        await router.find("YES", SET_CONSENT, CORRELATION)


async def test_a_synchronous_message_needs_no_contract(directory: StubDirectory, router: DirectoryRouter) -> None:
    directory.answers["Endpoint"] = bundle(without(ENDPOINT, "nhsMhsCPAId") | {"extension": []})
    assert (await router.find("YES", QUERY, CORRELATION)).asid == "227319907548"
