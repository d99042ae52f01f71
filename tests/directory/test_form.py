"""``openscr-directory/1`` both ways, and what an import leaves behind. Spec: 00 §6.3."""

import copy
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.directory.form import build_directory, merge, read_directory, write_directory
from openscr.errors import ConfigurationError

EXAMPLE = (Path(__file__).parent.parent / "messages" / "directory.json").read_bytes()

SMALL: dict[str, Any] = {
    "format": "openscr-directory/1",
    "contracts": {"reliable": {"retries": 2, "retry_interval": "PT1M", "persist_duration": "PT5M"}},
    "parties": [
        {"party_key": "YES-0000806", "ods": "YES", "name": "Spine", "own": True},
        {"party_key": "Y90001-0000001", "ods": "Y90001", "name": "Practice", "fqdn": ["gp.client.test"]},
    ],
    "systems": [
        {"asid": "200000000100", "party_key": "YES-0000806", "interactions": [], "aliases": ["200000000999"]},
        {"asid": "200000000115", "party_key": "Y90001-0000001", "interactions": ["psis:REPC_IN150016UK05"]},
    ],
    "endpoints": [
        {
            "party_key": "Y90001-0000001",
            "service": "psis",
            "interactions": ["MCCI_IN010000UK13", "OTHER"],
            "cpa_id": "S1",
            "address": "inbox:",
            "contract": "reliable",
        }
    ],
    "users": [
        {
            "user_id": "555000000101",
            "name": {"given": ["Gita", "Test"], "family": "Demopractice"},
            "roles": [
                {"role_profile_id": "555000000102", "job_role": "R8000", "ods": "Y90001", "activities": ["B0370"]}
            ],
        }
    ],
}


def changed(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = copy.deepcopy(SMALL)
    change(document)
    return json.dumps(document).encode()


def imported(data: bytes) -> list[Any]:
    return merge([], read_directory(data), replace=True)


def test_a_directory_without_a_system_of_its_own_is_refused_when_read_as_well() -> None:
    """A service whose own party has no system could answer nobody: that is told at once, not at each request."""
    parties = [entry for entry in imported(EXAMPLE) if entry.kind == "party"]
    with pytest.raises(ConfigurationError, match="no system of the own party"):
        build_directory(parties, 1)
    with pytest.raises(ConfigurationError, match="exactly one party"):
        build_directory([], 1)


# --- reading --------------------------------------------------------------------------------------------------------


def test_the_worked_example_gives_the_systems_parties_and_persons_it_names() -> None:
    directory = build_directory(imported(EXAMPLE), revision=7)

    assert directory.revision == 7
    assert directory.own_party.party_key == "YES-0000806"
    assert directory.own_system.asid == "200000000100"
    assert "900000000001" in directory.own_asids
    assert directory.cpa_ids == {"S20001A000182", "S20003A000304", "S20001A000168", "S20004A000405", "S20005A000506"}
    assert directory.contracts["reliable"].retry_interval == 60
    assert directory.contracts["reliable"].persist_duration == 300
    assert directory.contracts["express"].retries is None
    upload = directory.endpoint("YES-0000806", "psis", "REPC_IN150016UK05")
    assert upload is not None
    assert upload.contract is directory.contracts["reliable"]
    assert upload.address == "/reliablemessaging/reliablerequest"
    assert directory.systems["900000000401"].enabled
    assert directory.systems["900000000101"].system_upload
    found = directory.role("100000000110")
    assert found is not None
    assert found[0].user_id == "100000000101"
    assert found[1].activities == {"B0370", "B0380", "B8029", "B0020"}


def test_what_is_exported_imports_as_the_same_directory() -> None:
    entries = imported(EXAMPLE)
    written = write_directory(build_directory(entries, 1))
    assert sorted(read_directory(written)) == sorted(entries)


def test_an_export_does_not_depend_on_the_order_of_the_entries() -> None:
    entries = imported(EXAMPLE)
    assert write_directory(build_directory(reversed(entries), 1)) == write_directory(build_directory(entries, 2))


def test_flags_closed_roles_and_names_survive_both_ways() -> None:
    def change(document: dict[str, Any]) -> None:
        document["systems"][1]["flags"] = {
            "system_upload": False,
            "batch_consent": True,
            "sync_wrapper": "retrievalQueryResponse",
        }
        document["systems"][1]["enabled"] = False
        document["users"][0]["roles"][0]["closed"] = "2026-01-31"
        document["users"][0]["active"] = False

    first = build_directory(imported(changed(change)), 1)
    directory = build_directory(imported(write_directory(first)), 1)

    system = directory.systems["200000000115"]
    assert (system.system_upload, system.batch_consent, system.enabled) == (False, True, False)
    assert system.sync_wrapper == "retrievalQueryResponse"
    user = directory.users["555000000101"]
    assert user.roles[0].closed == date(2026, 1, 31)
    assert not user.active
    assert user.name == {"given": ["Gita", "Test"], "family": "Demopractice"}


def test_an_entry_is_the_same_however_its_sets_are_ordered_and_its_defaults_are_said() -> None:
    def change(document: dict[str, Any]) -> None:
        document["systems"][1].update(enabled=True, flags={"system_upload": True}, scopes=[])
        document["users"][0]["roles"][0]["activities"] = ["B0370", "B0370"]

    assert read_directory(changed(change)) == read_directory(changed(lambda document: None))


@pytest.mark.parametrize(
    ("change", "place", "text"),
    [
        (lambda d: d.update(format="openscr-directory/2"), "/format", "openscr-directory/1"),
        (lambda d: d.update(extra=[]), "whole file", "unknown member"),
        (lambda d: d.update(parties={}), "/parties", "list"),
        (lambda d: d.update(contracts=[]), "/contracts", "object"),
        (lambda d: d["parties"][1].update(fqnd=[]), "/parties/1", "fqnd"),
        (lambda d: d["parties"][1].pop("ods"), "/parties/1", "ods"),
        (lambda d: d["parties"][1].update(ods=None), "/parties/1/ods", "null"),
        (lambda d: d["parties"][1].update(name=""), "/parties/1/name", "length"),
        (lambda d: d["parties"][1].update(fqdn=["a", 3]), "/parties/1/fqdn/1", "int"),
        (lambda d: d["parties"][1].update(own="yes"), "/parties/1/own", "bool"),
        (lambda d: d["parties"].append(d["parties"][1]), "/parties/2", "stands at /parties/1 too"),
        (lambda d: d["systems"][1].update(asid="ABC"), "/systems/1/asid", "regex"),
        (lambda d: d["systems"][1].update(enabled=1), "/systems/1/enabled", "bool"),
        (lambda d: d["systems"][1].update(flags={"batch": True}), "/systems/1/flags", "batch"),
        (lambda d: d["systems"][1].update(flags={"sync_wrapper": "a b"}), "/systems/1/flags/sync_wrapper", "regex"),
        (
            lambda d: d["systems"][1].update(interactions=["urn:nhs:names:services:psis:X"]),
            "/systems/1/interactions/0",
            "regex",
        ),
        (lambda d: d["systems"].append({**d["systems"][0]}), "/systems/2", "too"),
        (lambda d: d["contracts"]["reliable"].update(retries=-1), "/contracts/reliable/retries", ">= 0"),
        (lambda d: d["contracts"]["reliable"].update(retries=True), "/contracts/reliable/retries", "bool"),
        (lambda d: d["contracts"]["reliable"].update(retry_interval="1M"), "/contracts/reliable", "retry_interval"),
        (lambda d: d["contracts"]["reliable"].update(persist_duration="P1M"), "/contracts/reliable", "persist_dur"),
        (lambda d: d["contracts"]["reliable"].update(persist_duration="PT2M59S"), "/contracts/reliable", "at least"),
        (lambda d: d["contracts"]["reliable"].update(ack_requested="often"), "/contracts/reliable", "ack_requested"),
        (lambda d: d["contracts"].update({"a/b~": {"x": 1}}), "/contracts/a~1b~0", "x"),
        (lambda d: d["endpoints"][0].update(interactions=[]), "/endpoints/0/interactions", "length"),
        (lambda d: d["endpoints"][0].update(address="http://10.1.2.3/x"), "/endpoints/0", "loopback"),
        (lambda d: d["endpoints"][0].update(address="http://localhost.example/x"), "/endpoints/0", "loopback"),
        (lambda d: d["endpoints"][0].update(address="ftp://x/y"), "/endpoints/0", "http"),
        (lambda d: d["endpoints"][0].update(address="https:///y"), "/endpoints/0", "http"),
        (lambda d: d["endpoints"][0].update(address="https://x:99999/y"), "/endpoints/0", "http"),
        (lambda d: d["endpoints"][0].update(address="https://u:p@x/y"), "/endpoints/0", "password"),
        (lambda d: d["endpoints"][0].update(address="https://x/y z"), "/endpoints/0", "http"),
        (lambda d: d["endpoints"].append(d["endpoints"][0]), "/endpoints/1", "/endpoints/0 too"),
        (lambda d: d["users"][0].update(roles={}), "/users/0/roles", "array"),
        (lambda d: d["users"][0]["roles"][0].update(closed="31.1.2026"), "/users/0/roles/0/closed", "date"),
        (lambda d: d["users"][0]["roles"][0].pop("activities"), "/users/0/roles/0", "activities"),
        (lambda d: d["users"][0].update(name={"text": "x", "given": "y"}), "/users/0/name", "either"),
        (lambda d: d["users"][0].update(name={"given": []}), "/users/0/name", "either"),
    ],
)
def test_what_is_wrong_in_an_entry_is_named_by_its_place(
    change: Callable[[dict[str, Any]], object], place: str, text: str
) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_directory(changed(change))
    assert f"directory, {place}: " in refusal.value.diagnostics
    assert text in refusal.value.diagnostics


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"{", "line 1, column 2"),
        (b"[]", "one JSON object"),
        (b"\xff", "UTF-8"),
        (b'{"format": "openscr-directory/1", "contracts": {"\\ud800": {}}}', "UTF-8"),
        (b"[" * 100_000, "nested"),
        (b'{"a": ' + b"9" * 5000 + b"}", "digits"),
        (b'{"format": "openscr-directory/1", "parties": [{"ods": "A", "ods": "B"}]}', "/parties/0/ods: this member"),
    ],
)
def test_a_file_that_is_not_a_json_object_is_refused(data: bytes, text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_directory(data)
    assert text in refusal.value.diagnostics


@given(st.binary(max_size=200))
def test_no_bytes_whatever_bring_another_error_than_a_refusal(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        read_directory(data)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["contracts", "parties", "systems", "endpoints", "users"]), st.data())
def test_any_value_in_any_place_is_read_or_refused(kind: str, data: st.DataObject) -> None:
    def change(document: dict[str, Any]) -> None:
        entry = document[kind]["reliable"] if kind == "contracts" else document[kind][0]
        entry[data.draw(st.sampled_from(sorted(entry)) | st.text(max_size=5))] = data.draw(JSON)

    try:
        entries = imported(changed(change))
    except ConfigurationError:
        return
    assert sorted(imported(write_directory(build_directory(entries, 1)))) == sorted(entries)


# --- import ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "place", "text"),
    [
        (lambda d: d["parties"][0].update(own=False), "/parties", "exactly one party"),
        (lambda d: d["parties"][1].update(own=True), "/parties/1", "exactly one party"),
        (lambda d: d["systems"][1].update(party_key="NO-1"), "/systems/1/party_key", "no party NO-1"),
        (lambda d: d["endpoints"][0].update(party_key="NO-1"), "/endpoints/0/party_key", "no party NO-1"),
        (lambda d: d["endpoints"][0].update(contract="none"), "/endpoints/0/contract", "no contract none"),
        (lambda d: d["endpoints"][0].update(address="/sync-service"), "/endpoints/0/address", "own party"),
        (lambda d: d["systems"][1].update(aliases=["1"]), "/systems/1/aliases", "own party"),
        (lambda d: d["systems"][0].update(aliases=["9", "200000000115"]), "/systems/0/aliases/1", "already"),
        (lambda d: d["systems"][0].update(aliases=["9", "9"]), "/systems/0/aliases/1", "already"),
        (
            lambda d: d["systems"].extend({**d["systems"][1], "asid": f"20000000099{n}", "app": "app"} for n in (1, 2)),
            "/systems/3/app",
            "the app app has a system already",
        ),
        (
            lambda d: d["users"].append({**d["users"][0], "user_id": "2"}),
            "/users/1/roles/0/role_profile_id",
            "already",
        ),
    ],
)
def test_an_import_is_judged_as_a_whole(change: Callable[[dict[str, Any]], object], place: str, text: str) -> None:
    entries = read_directory(changed(change))
    with pytest.raises(ConfigurationError) as refusal:
        merge([], entries, replace=False)
    assert f"directory, {place}: " in refusal.value.diagnostics
    assert text in refusal.value.diagnostics


def test_a_part_may_name_what_only_the_directory_in_force_holds() -> None:
    part = {"format": "openscr-directory/1", "endpoints": [{**SMALL["endpoints"][0], "service": "lrs"}]}
    entries = merge(imported(changed(lambda d: None)), read_directory(json.dumps(part).encode()), replace=False)
    directory = build_directory(entries, 1)
    assert directory.endpoint("Y90001-0000001", "lrs", "OTHER") is not None
    assert directory.endpoint("Y90001-0000001", "psis", "OTHER") is not None


def test_an_entry_replaces_the_one_with_its_key_and_leaves_the_others() -> None:
    """Endpoints have a key for each interaction, however a file groups them."""
    endpoint = {**SMALL["endpoints"][0], "interactions": ["OTHER"], "address": "https://gp.example/other"}
    part = {
        "format": "openscr-directory/1",
        "endpoints": [endpoint],
        "parties": [{**SMALL["parties"][1], "name": "New"}],
    }
    directory = build_directory(
        merge(imported(changed(lambda d: None)), read_directory(json.dumps(part).encode()), replace=False), 1
    )
    other = directory.endpoint("Y90001-0000001", "psis", "OTHER")
    acknowledgement = directory.endpoint("Y90001-0000001", "psis", "MCCI_IN010000UK13")
    assert other is not None
    assert acknowledgement is not None
    assert (other.address, acknowledgement.address) == ("https://gp.example/other", "inbox:")
    assert directory.parties["Y90001-0000001"].name == "New"
    assert directory.own_party.name == "Spine"
    assert len(directory.users) == 1


def test_replacing_removes_what_the_file_does_not_have() -> None:
    without_users = read_directory(changed(lambda d: d.pop("users")))
    entries = merge(imported(EXAMPLE), without_users, replace=True)
    assert sorted(entries) == sorted(without_users)


def test_replacing_by_a_part_that_is_not_whole_is_refused() -> None:
    part = json.dumps({"format": "openscr-directory/1", "users": SMALL["users"]}).encode()
    with pytest.raises(ConfigurationError, match="exactly one party"):
        merge(imported(EXAMPLE), read_directory(part), replace=True)


def test_importing_the_same_file_again_changes_nothing() -> None:
    entries = imported(EXAMPLE)
    rows = [(kind, key, data) for kind, key, data in entries]
    assert sorted(merge(rows, read_directory(EXAMPLE), replace=False)) == sorted(entries)


@pytest.mark.parametrize("data", [b"{", b'{"unknown": 1}'])
def test_a_stored_entry_that_cannot_be_read_is_named(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="party YES-0000806 cannot be read"):
        build_directory([("party", "YES-0000806", data)], 1)


def test_an_entry_of_an_unknown_kind_is_named() -> None:
    with pytest.raises(ConfigurationError, match="planet mars cannot be read"):
        build_directory([("planet", "mars", b"{}")], 1)
