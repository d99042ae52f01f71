"""The demo directory registers what the specification lists, and can be imported as it is."""

import json
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from openscr.client import Profile
from openscr.codes import ALERT, SCR_PERMISSIONS, SUBJECT_ACCESS
from openscr.directory import demo
from openscr.directory.demo import APPS
from openscr.directory.form import build_directory, read_directory
from openscr.testbench.documents import AUTHOR, PRACTICE
from openscr.testbench.world import CLIENT_PARTIES, HOSPITAL_PARTY, OWN_ASID, OWN_PARTY, PRACTICE_PARTY, demo_directory
from openscr.transport.interactions import INTERACTIONS

DIRECTORY = build_directory(read_directory(demo_directory()), 1)
OWN_ENDPOINTS = [
    (endpoint.service, interaction, endpoint.address)
    for endpoint in DIRECTORY.endpoints
    if endpoint.party_key == OWN_PARTY
    for interaction in endpoint.interactions
]


def test_the_spine_is_the_own_party():
    assert DIRECTORY.own_party.party_key == OWN_PARTY
    assert DIRECTORY.own_party.fqdn == ("localhost",)
    assert DIRECTORY.own_system.asid == OWN_ASID


def test_apps_are_registered_and_may_send_everything_the_service_takes():
    apps = {system.app: system for system in DIRECTORY.systems.values() if system.app}
    assert {app: (system.asid, system.party_key) for app, system in apps.items()} == APPS
    assert APPS == {
        "app-gp": ("200000000115", PRACTICE_PARTY),
        "app-viewer": ("200000000116", HOSPITAL_PARTY),
        "app-batch": ("200000000117", PRACTICE_PARTY),
    }
    for system in apps.values():
        assert system.interactions > DIRECTORY.own_system.interactions
        assert set(system.organisations) == {"Y90001", "RZZ01"}
    assert len(apps["app-gp"].scopes) == 3
    assert all("level3" in scope for scope in apps["app-batch"].scopes)
    assert all("level3" not in scope for scope in apps["app-viewer"].scopes)


def test_clients_hold_the_certificates_of_the_specification():
    assert DIRECTORY.parties_named(["gp.client.test"]) == {PRACTICE_PARTY}
    assert DIRECTORY.parties_named(["viewer.client.test"]) == {HOSPITAL_PARTY}


def test_every_interaction_of_the_spine_has_an_endpoint_with_its_cpa_id():
    expected = {
        "psis": "S20001A000182",
        "psisquery": "S20001A000168",
        "lrs": "S20004A000405",
        "lrsquery": "S20001A000168",
        "alerts": "S20005A000506",
    }
    for entitled in DIRECTORY.own_system.interactions:
        service, interaction = entitled.split(":")
        endpoint = DIRECTORY.endpoint(OWN_PARTY, service, interaction)
        assert endpoint is not None, entitled
        express = "S20003A000304" if INTERACTIONS[service, interaction].express else None
        assert endpoint.cpa_id == (express or expected[service])
    assert DIRECTORY.endpoint(OWN_PARTY, "psisquery", "QUPC_IN180000UK04").address == "/sync-service"


def test_the_spine_registers_what_is_served_and_nothing_else():
    """A system that is looked up here is promised nothing that the service would refuse."""
    served = {
        f"{service}:{interaction}"
        for service, interaction in INTERACTIONS
        # What is off until an operator wants it is promised to nobody.
        if interaction not in {SUBJECT_ACCESS, SCR_PERMISSIONS}
    }
    assert DIRECTORY.own_system.interactions == served
    assert {f"{service}:{interaction}" for service, interaction, _ in OWN_ENDPOINTS} == served


def post(server, address, service, interaction):
    """Post something that is no message, and return the status and the body of the answer."""
    headers = {"SOAPAction": f'"urn:nhs:names:services:{service}/{interaction}"', "Content-Type": "text/xml"}
    request = urllib.request.Request(server.web + address, b"<nothing/>", headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


@pytest.mark.parametrize(("service", "interaction", "address"), OWN_ENDPOINTS)
def test_every_endpoint_of_the_spine_is_served(demo_server, service, interaction, address):
    """What is posted there is looked at: the refusal is about the message, not about the address or the interaction."""
    status, body = post(demo_server, address, service, interaction)
    assert status == 500
    assert b"errorCode>201<" in body


@pytest.mark.parametrize("address", sorted({address for _, _, address in OWN_ENDPOINTS}))
def test_what_is_not_registered_is_not_served_there(demo_server, address):
    _, body = post(demo_server, address, "psis", "REPC_IN150016SM99")
    assert b"errorCode>101<" in body


def test_answers_to_the_demo_s_clients_are_collected():
    for party, cpa_id in zip(CLIENT_PARTIES, ("S90001A000001", "S90002A000001"), strict=True):
        for service in ("psis", "lrs", "alerts"):
            endpoint = DIRECTORY.endpoint(party, service, "MCCI_IN010000UK13")
            assert (endpoint.address, endpoint.cpa_id, endpoint.contract.name) == ("inbox:", cpa_id, "reliable")
        for answer in ("QUPC_IN160102UK05", "QUQI_IN010000UK14"):
            assert DIRECTORY.endpoint(party, "psisquery", answer).contract.name == "express"


def test_the_reliable_contract_is_the_published_one():
    contract = DIRECTORY.contracts["reliable"]
    assert (contract.retries, contract.retry_interval, contract.persist_duration) == (2, 60, 300)
    assert DIRECTORY.contracts["sync"].sync_reply_mode == "None"


def test_users_and_roles_are_those_of_the_local_identity_provider():
    roles = {
        role.role_profile_id: (user.user_id, role.job_role, role.ods, role.activities)
        for user in DIRECTORY.users.values()
        for role in user.roles
    }
    assert roles == {
        "555000000102": ("555000000101", "R8000", "Y90001", {"B0370", "B0380", "B8029", "B0020", "B0168"}),
        "555000000202": ("555000000201", "R8008", "Y90001", {"B0370", "B0360"}),
        "555000000302": ("555000000301", "R8001", "RZZ01", {"B0370", "B0264"}),
        "555000000303": ("555000000301", "R8003", "RZZ01", {"B0570"}),
        "555000000402": ("555000000401", "R0001", "RZZ01", {"B0015", "B0016"}),
        "555000000502": ("555000000501", "R8000", "RZZ01", {"B0370", "B0082"}),
        "555000000702": ("555000000701", "R8000", "RZZ01", {"B0370"}),
    }
    assert DIRECTORY.users["555000000601"].roles == ()
    assert DIRECTORY.role("555000000702")[1].closed is not None


def test_the_author_of_the_demo_s_records_is_registered():
    user, role = DIRECTORY.role(AUTHOR.role_profile_id)
    assert user.user_id == AUTHOR.user_id
    assert user.name == AUTHOR.name.parts
    assert role.ods == PRACTICE.ods
    assert DIRECTORY.parties[PRACTICE_PARTY].name == PRACTICE.name


def test_every_person_has_a_name():
    assert all(user["name"]["family"] for user in json.loads(demo_directory())["users"])


def test_what_an_alert_of_the_demos_gp_says_is_what_the_directory_says():
    profile, registered = Profile.demo(), Profile.of_directory(DIRECTORY, "app-gp", "555000000102")
    assert profile.user == registered.user
    assert profile.route(ALERT) == replace(registered.route(ALERT), contract=profile.route(ALERT).contract)
    for app in demo.APPS:
        assert Profile.demo(app).system_name == Profile.of_directory(DIRECTORY, app).system_name
