"""The directory face of a running service: every row of 40 §11.2 and 60 §13, over HTTP as clients write it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from journeys.runner import Server, import_directory
from journeys.wire import Answer, connected, request_bytes
from openscr.directory.sources import FORWARDED
from openscr.identifiers import is_uuid
from openscr.testbench.world import demo_directory
from shared import shared

BASE = "/spine-directory/FHIR/R4"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
INTERACTION = "https://fhir.nhs.uk/Id/nhsServiceInteractionId"
PARTY = "https://fhir.nhs.uk/Id/nhsMhsPartyKey"
ROLE = "https://fhir.nhs.uk/Id/nhsJobRoleCode"
UPLOAD = "urn:nhs:names:services:psis:REPC_IN150016UK05"
UUID = "9d0f6a52-8c1b-4e37-A2D4-6F5B3C2E1001"

SPINE = ("organization", f"{ODS}|YES")
SENDS = ("identifier", f"{INTERACTION}|{UPLOAD}")
OURS = ("identifier", f"{PARTY}|YES-0000806")


async def ask(base: str, target: str, *headers: tuple[str, str], method: str = "GET", body: bytes = b"") -> Answer:
    """Send a request whose target is written as it stands."""
    async with connected(base) as connection:
        return await connection.exchange(request_bytes(target, body, headers, method=method))


async def search(base: str, resource: str, *parameters: tuple[str, str], headers: Any = ()) -> Answer:
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters)
    return await ask(base, f"{BASE}/{resource}?{query}", *headers)


def bundle_of(answer: Answer) -> dict[str, Any]:
    """Return the Bundle of an answer, after a look at all that every Bundle has."""
    assert answer.status == 200, answer.body
    assert answer.header("content-type") == "application/fhir+json"
    bundle: dict[str, Any] = json.loads(answer.body)
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    assert is_uuid(bundle["id"])
    assert bundle["total"] == len(bundle["entry"])
    (link,) = bundle["link"]
    assert link["relation"] == "self"
    for entry in bundle["entry"]:
        resource = entry["resource"]
        assert entry["fullUrl"] == f"{link['url'].partition('?')[0]}/{resource['id']}"
        assert entry["search"] == {"mode": "match"}
        assert is_uuid(resource["id"])
    return bundle


def resources_of(answer: Answer) -> list[dict[str, Any]]:
    return [entry["resource"] for entry in bundle_of(answer)["entry"]]


def refusal_of(answer: Answer) -> tuple[int, str, str]:
    """Return status, issue type and code of a refusal, after a look at its form."""
    assert answer.header("content-type") in ("application/fhir+json", "application/json")
    correlation = answer.header("x-correlation-id")
    assert correlation is not None
    assert is_uuid(correlation)
    document = json.loads(answer.body)
    assert document["resourceType"] == "OperationOutcome"
    (issue,) = document["issue"]
    assert issue["severity"] == "error"
    assert issue["diagnostics"]
    (coding,) = issue["details"]["coding"]
    assert coding["system"] == "https://fhir.nhs.uk/STU3/ValueSet/Spine-ErrorOrWarningCode-1"
    assert coding["display"]
    return answer.status, issue["code"], coding["code"]


def identifiers(resource: dict[str, Any]) -> dict[str, str]:
    return {each["system"].rpartition("/")[2]: each["value"] for each in resource["identifier"]}


# --- Device ---------------------------------------------------------------------------------------------------------


async def test_a_device_is_found_by_organisation_and_interaction(demo: Server) -> None:
    (device,) = resources_of(await search(demo.web, "Device", SPINE, SENDS))
    assert identifiers(device) == {"nhsSpineASID": "200000000100", "nhsMhsPartyKey": "YES-0000806"}
    assert device["owner"] == {"identifier": {"system": ODS, "value": "YES"}}
    urls = [extension["url"].rpartition("/")[2] for extension in device["extension"]]
    assert urls[0] == "Extension-SDS-ManufacturingOrganisation"
    assert set(urls[1:]) == {"Extension-SDS-NhsServiceInteractionId"}
    values = [each["valueReference"]["identifier"] for each in device["extension"][1:]]
    assert {"system": INTERACTION, "value": UPLOAD} in values
    assert len(values) == len({each["value"] for each in values})


async def test_the_examples_of_the_specification_have_the_same_shape(demo: Server) -> None:
    """Names, nesting and order of 28 and 29; ids, addresses and the list of interactions are of this directory."""

    def shape(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: shape(inner) for name, inner in value.items()}
        return [shape(inner) for inner in value] if isinstance(value, list) else type(value)

    for name, answer in (
        ("28-sds-device.json", await search(demo.web, "Device", SPINE, SENDS)),
        ("29-sds-endpoint.json", await search(demo.web, "Endpoint", SENDS, OURS)),
    ):
        expected = json.loads(shared("spec", "examples", "transport", name).read_bytes())
        got = bundle_of(answer)
        extension = got["entry"][0]["resource"]["extension"]
        del extension[len(expected["entry"][0]["resource"]["extension"]) :]
        assert shape(got) == shape(expected)
        assert list(got["entry"][0]["resource"]) == list(expected["entry"][0]["resource"])


@pytest.mark.parametrize(
    ("parameters", "asids"),
    [
        ([SPINE, SENDS, OURS], ["200000000100"]),
        ([SPINE, SENDS, ("identifier", f"{PARTY}|Y90001-0000001")], []),
        ([SPINE, SENDS, ("manufacturing-organization", f"{ODS}|YES")], ["200000000100"]),
        ([SPINE, SENDS, ("manufacturing-organization", f"{ODS}|X26")], []),
        ([("organization", f"{ODS}|yes"), ("identifier", f"{INTERACTION}|{UPLOAD.lower()}")], ["200000000100"]),
        ([("organization", f"{ODS}|NOBODY"), SENDS], []),
        ([SPINE, ("identifier", f"{INTERACTION}|urn:nhs:names:services:psis:OTHER")], []),
    ],
)
async def test_a_device_has_all_that_is_asked_for(
    demo: Server, parameters: list[tuple[str, str]], asids: list[str]
) -> None:
    devices = resources_of(await search(demo.web, "Device", *parameters))
    assert [identifiers(device)["nhsSpineASID"] for device in devices] == asids


async def test_nothing_found_is_an_empty_bundle(demo: Server) -> None:
    bundle = bundle_of(await search(demo.web, "Device", ("organization", f"{ODS}|NOBODY"), SENDS))
    assert (bundle["total"], bundle["entry"]) == (0, [])
    assert bundle["link"][0]["url"].endswith(f"Device?organization={ODS}|NOBODY&identifier={INTERACTION}|{UPLOAD}")


# --- Endpoint -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "parameters", [[SPINE, SENDS, OURS], [SPINE, SENDS], [SENDS, OURS]], ids=["all", "organisation", "party"]
)
async def test_an_endpoint_is_found_by_each_combination(demo: Server, parameters: list[tuple[str, str]]) -> None:
    (endpoint,) = resources_of(await search(demo.web, "Endpoint", *parameters))
    assert endpoint["status"] == "active"
    assert endpoint["connectionType"]["code"] == "hl7-fhir-msg"
    assert endpoint["payloadType"][0]["coding"][0]["code"] == "any"
    assert endpoint["address"] == f"{demo.spine}/reliablemessaging/reliablerequest"
    assert endpoint["managingOrganization"]["identifier"] == {"system": ODS, "value": "YES"}
    known = identifiers(endpoint)
    assert (known["nhsMhsPartyKey"], known["nhsMhsCPAId"]) == ("YES-0000806", "S20001A000182")
    assert set(known) == {"nhsMhsFQDN", "nhsMhsPartyKey", "nhsMhsCPAId", "nhsMHSId"}
    reliability, interaction = endpoint["extension"]
    assert reliability["url"].endswith("/Extension-SDS-ReliabilityConfiguration")
    assert {each["url"]: each.get("valueString", each.get("valueInteger")) for each in reliability["extension"]} == {
        "nhsMHSSyncReplyMode": "MSHSignalsOnly",
        "nhsMHSRetryInterval": "PT1M",
        "nhsMHSRetries": 2,
        "nhsMHSPersistDuration": "PT5M",
        "nhsMHSDuplicateElimination": "always",
        "nhsMHSAckRequested": "always",
        "nhsMHSActor": "urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH",
    }
    assert interaction["valueReference"]["identifier"]["value"] == UPLOAD


async def test_all_endpoints_of_a_party_are_found_by_organisation_and_party(demo: Server) -> None:
    endpoints = resources_of(await search(demo.web, "Endpoint", SPINE, OURS))
    interactions = {endpoint["extension"][-1]["valueReference"]["identifier"]["value"] for endpoint in endpoints}
    assert UPLOAD in interactions
    assert len(interactions) == len(endpoints) > 10


async def test_properties_that_a_contract_does_not_set_are_left_out(demo: Server) -> None:
    query = "urn:nhs:names:services:psisquery:QUPC_IN160101UK05"
    (endpoint,) = resources_of(await search(demo.web, "Endpoint", SPINE, ("identifier", f"{INTERACTION}|{query}")))
    names = {each["url"] for each in endpoint["extension"][0]["extension"]}
    assert names == {"nhsMHSSyncReplyMode", "nhsMHSDuplicateElimination", "nhsMHSAckRequested"}


async def test_what_is_forwarded_has_the_address_of_the_intermediary(data: Any, start: Callable[..., Server]) -> None:
    """Reliable and express have one each; Spine's own services keep their address. Spec: 40 §11.2."""
    directory = json.loads(demo_directory())
    own = {"party_key": "YES-0000806", "cpa_id": "S1", "contract": "reliable", "service": "tms"}
    peer = {"party_key": "Y90001-0000001", "cpa_id": "S2", "address": "https://gp.example/in"}
    directory["endpoints"] += [
        own | {"interactions": ["ReliableIntermediary"], "address": "/reliablemessaging/intermediary"},
        peer | {"service": "gp2gp", "interactions": ["RCMR_IN010000UK05"], "contract": "reliable"},
        peer | {"service": "itk", "interactions": ["COPC_IN000001UK01"], "contract": "express"},
        peer | {"service": "mm", "interactions": ["PORX_IN000001UK01"], "contract": "reliable"},
    ]
    await import_directory(data, directory)
    server = start(demo=True)

    async def address(interaction: str) -> str:
        identifier = ("identifier", f"{INTERACTION}|urn:nhs:names:services:{interaction}")
        (found,) = resources_of(await search(server.web, "Endpoint", ("organization", f"{ODS}|Y90001"), identifier))
        return str(found["address"])

    assert await address("gp2gp:RCMR_IN010000UK05") == f"{server.spine}/reliablemessaging/intermediary"
    assert await address("mm:PORX_IN000001UK01") == "https://gp.example/in"
    # Nobody registered as intermediary of express messages: the receiver's own address is all there is.
    assert await address("itk:COPC_IN000001UK01") == "https://gp.example/in"
    services = "cc ebs ebsepr ebsnpr gp2gp pat itk dis ed op caf adm ooh am mh nd dir"
    assert " ".join(sorted(FORWARDED)) == " ".join(sorted(services.split()))


# --- PractitionerRole -----------------------------------------------------------------------------------------------


async def test_a_role_has_its_job_role_code_and_nothing_of_the_person(demo: Server) -> None:
    answer = await search(demo.web, "PractitionerRole", ("user-role-id", f"{ROLE}|555000000102"))
    (role,) = resources_of(answer)
    assert set(role) == {"resourceType", "id", "code"}
    (coding,) = role["code"][0]["coding"]
    assert coding["system"] == "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode"
    assert coding["code"].startswith(("R", "S"))
    assert b"Gita" not in answer.body
    assert b"555000000101" not in answer.body


async def test_closed_roles_and_those_of_inactive_users_are_left_out(data: Any, start: Callable[..., Server]) -> None:
    directory = json.loads(demo_directory())
    open_role = {"job_role": "R8000", "ods": "Y90001", "activities": []}
    directory["users"] += [
        {
            "user_id": "555000000901",
            "roles": [
                open_role | {"role_profile_id": "555000000902"},
                open_role | {"role_profile_id": "555000000903", "closed": "2020-01-31"},
                open_role | {"role_profile_id": "555000000904", "closed": "2999-01-31"},
            ],
        },
        {"user_id": "555000000911", "active": False, "roles": [open_role | {"role_profile_id": "555000000912"}]},
    ]
    await import_directory(data, directory)
    server = start(demo=True)
    totals = {}
    for role in ("902", "903", "904", "912", "999"):
        answer = await search(server.web, "PractitionerRole", ("user-role-id", f"{ROLE}|555000000{role}"))
        totals[role] = bundle_of(answer)["total"]
    assert totals == {"902": 1, "903": 0, "904": 1, "912": 0, "999": 0}


# --- refusals -------------------------------------------------------------------------------------------------------

BAD = (400, "required", "BAD_REQUEST")


@pytest.mark.parametrize(
    ("resource", "query"),
    [
        ("Device", ""),
        ("Device", f"organization={ODS}|YES"),
        ("Device", f"identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|YES&identifier={PARTY}|YES-0000806"),
        ("Device", f"organization={ODS}|YES&identifier={INTERACTION}|{UPLOAD}&colour=red"),
        ("Device", f"organization={ODS}|YES&organization={ODS}|YES&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|YES&identifier={INTERACTION}|{UPLOAD}&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization=YES&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={PARTY}|YES&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|YES&identifier=https://example.org|{UPLOAD}"),
        ("Device", f"organization={ODS}|YES|NO&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|{'Y' * 256}&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|{'Y' * 50_000}&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|Y%00S&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|Y%0D%0AX: y&identifier={INTERACTION}|{UPLOAD}".replace(" ", "%20")),
        ("Device", f"organization={ODS}|%FF&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|%E2%80%AEYES&identifier={INTERACTION}|{UPLOAD}"),
        ("Device", f"organization={ODS}|YES&identifier:exact={INTERACTION}|{UPLOAD}"),
        ("Device", "&".join(f"a{number}=1" for number in range(2000))),
        ("Endpoint", ""),
        ("Endpoint", f"organization={ODS}|YES"),
        ("Endpoint", f"identifier={INTERACTION}|{UPLOAD}"),
        ("Endpoint", f"identifier={PARTY}|YES-0000806"),
        ("Endpoint", f"identifier={PARTY}|YES-0000806&identifier={PARTY}|YES-0000806"),
        ("Endpoint", f"organization={ODS}|YES&identifier={PARTY}|YES-0000806&manufacturing-organization={ODS}|YES"),
        ("PractitionerRole", ""),
        ("PractitionerRole", "user-role-id=555000000102"),
        ("PractitionerRole", f"user-role-id={ROLE}|"),
        ("PractitionerRole", f"user-role-id={ROLE}|5550000001A2"),
        ("PractitionerRole", f"user-role-id={ROLE}|%D9%A1"),
        ("PractitionerRole", f"user-role-id={ODS}|555000000102"),
        ("PractitionerRole", f"user-role-id={ROLE}|555000000102&user-role-id={ROLE}|555000000102"),
        ("PractitionerRole", f"user-role-id={ROLE}|555000000102&name=x"),
    ],
)
async def test_parameters_that_are_missing_wrong_doubled_or_unknown_are_refused(
    demo: Server, resource: str, query: str
) -> None:
    assert refusal_of(await ask(demo.web, f"{BASE}/{resource}?{query}")) == BAD


async def test_values_are_taken_encoded_or_with_a_plain_bar(demo: Server) -> None:
    plain = await ask(demo.web, f"{BASE}/Device?organization={ODS}|YES&identifier={INTERACTION}|{UPLOAD}")
    encoded = await search(demo.web, "Device", SPINE, SENDS)
    assert resources_of(plain) == resources_of(encoded)
    assert len(resources_of(plain)) == 1


@pytest.mark.parametrize("path", ["/", "/Patient", "/Device/", "/Device/1", "/device", "/..%2FDevice"])
async def test_whatever_is_not_one_of_the_three_is_not_found(demo: Server, path: str) -> None:
    answer = await ask(demo.web, f"{BASE}{path}")
    assert refusal_of(answer) == (404, "not-found", "NO_RECORD_FOUND")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("resource", ["Device", "Endpoint", "PractitionerRole"])
async def test_other_verbs_are_not_implemented(demo: Server, resource: str, method: str) -> None:
    answer = await ask(demo.web, f"{BASE}/{resource}", method=method, body=b"{}")
    assert refusal_of(answer) == (405, "not-supported", "NOT_IMPLEMENTED")
    assert answer.header("allow") == "GET"


async def test_head_is_not_implemented_and_has_no_body(demo: Server) -> None:
    async with connected(demo.web) as connection:
        await connection.send(request_bytes(f"{BASE}/Device", b"", (), method="HEAD"))
        head = await connection.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405 ")
        assert b"allow: get\r\n" in head.lower()
        # The next answer begins right behind it.
        assert (await connection.exchange(request_bytes("/readyz", b"", (), method="GET"))).status == 200


@pytest.mark.parametrize(
    ("accept", "answered"),
    [
        (None, "application/fhir+json"),
        ("application/fhir+json", "application/fhir+json"),
        ("application/json", "application/json"),
        ("*/*", "application/fhir+json"),
        ("Application/FHIR+JSON; fhirVersion=4.0", "application/fhir+json"),
        ("text/html, application/json;q=0.9, */*;q=0.8", "application/json"),
        ("text/html", None),
        ("application/xml, text/*", None),
        ("application/fhir+json;q=0", None),
    ],
)
async def test_the_answer_comes_in_a_form_that_is_accepted(
    demo: Server, accept: str | None, answered: str | None
) -> None:
    headers = [("Accept", accept)] if accept else []
    answer = await search(demo.web, "Device", SPINE, SENDS, headers=headers)
    if answered is None:
        assert refusal_of(answer)[::2] == (406, "MISSING_OR_INVALID_HEADER")
    else:
        assert (answer.status, answer.header("content-type")) == (200, answered)


async def test_the_correlation_id_is_echoed_made_or_refused(demo: Server) -> None:
    echoed = await search(demo.web, "Device", SPINE, SENDS, headers=[("X-Correlation-ID", UUID), ("apikey", "any")])
    assert (echoed.status, echoed.header("x-correlation-id")) == (200, UUID)
    made = [await search(demo.web, "Device", SPINE, SENDS) for _ in range(2)]
    ids = [answer.header("x-correlation-id") or "" for answer in made]
    assert all(map(is_uuid, ids))
    assert ids[0] != ids[1]
    for wrong in ("", "no-uuid", UUID[:-1], f"{UUID}0", "{" + UUID + "}", UUID.replace("-", "")):
        refused = await search(demo.web, "Device", SPINE, SENDS, headers=[("X-Correlation-ID", wrong)])
        assert refusal_of(refused) == BAD, wrong
    twice = [("X-Correlation-ID", UUID), ("X-Correlation-ID", UUID)]
    assert refusal_of(await search(demo.web, "Device", SPINE, SENDS, headers=twice)) == BAD
    # A refusal for another reason has the caller's id too.
    other = await search(demo.web, "Device", headers=[("X-Correlation-ID", UUID)])
    assert (refusal_of(other), other.header("x-correlation-id")) == (BAD, UUID)


async def test_the_face_can_be_left_out(data: Any, start: Callable[..., Server]) -> None:
    server = start(demo=True, faces="spine,operations")
    assert (await search(server.web, "Device", SPINE, SENDS)).status == 404
