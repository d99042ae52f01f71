"""The directory as LDIF and as LDAP entries in JSON, both ways, also through a real server. Spec: 00 §6.3, 40 §11.1."""

import base64
import copy
import json
from pathlib import Path
from typing import Any

import ldap3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from directory.test_form import EXAMPLE, SMALL
from ldap_server import LdapServer, ldap_server
from openscr.directory.form import DirectoryEntry, build_directory, merge, read_directory
from openscr.directory.formats import read_any, write_as
from openscr.directory.ldap_entry import LdapEntry, id_in, read_dn, write_dn
from openscr.directory.ldap_json import read_ldap_json
from openscr.directory.ldif import read_ldif, write_ldif
from openscr.directory.sds_reading import read_sds
from openscr.directory.sds_schema import ATTRIBUTES, CLASSES
from openscr.directory.sds_writing import write_sds
from openscr.errors import ConfigurationError
from shared import shared

ORIGIN = "https://spine.example:8443/sync-service"
FORMS = ("json", "ldap", "ldif")

REAL = """\
# A dump as SDS gives it: other letter cases, folded lines, base64, attributes that nobody here reads.
version: 1

dn: uniqueIdentifier=S918999404212,ou=Services,o=nhs
uniqueidentifier: S918999404212
objectclass: top
objectclass: nhsMHS
NHSIDCODE: A91899
nhsMHSPARTYKEY: A91899-9199084
nhsMHSsvcIA: urn:nhs:names:services:psis:MCCI_IN010000UK13
nhsMHsSN: urn:nhs:names:services:psis
nhsMHsIN: MCCI_IN010000UK13
nhsMhsEndPoint: https://mhs.a91899.example/a/path/that/is/long/enough/to/be/fol
 ded/in/the/middle
nhsMhsCPAid: S918999404212
nhsMhsFqdn:: {fqdn}
nhsMHSRetries: 2
nhsMHSRetryInterval: PT60S
nhsMHSPersistDuration: PT5M
nhsMHSAckRequested: ALWAYS
nhsMHSDuplicateElimination: always
nhsMHSSyncReplyMode: MSHSIGNALSONLY
nhsContractPropertyTemplateKey: 14
nhsEPInteractionType: HL7
userCertificate;binary:: //79/A==

dn: uniqueIdentifier=918999199084,ou=Services,o=nhs
nhsAsSvcIA: urn:nhs:names:services:psis:REPC_IN150016UK05
nhsAsSvcIA: urn:nhs:names:services:gpconnect:fhir:rest:read:metadata-1
uniqueIdentifier: 918999199084
nhsIdCode: A91899
nhsMhsPartyKey: A91899-9199084
objectClass: nhsAS
objectClass: top
nhsAsACF: RBAC

dn: uniqueIdentifier=555000000902,uniqueIdentifier=555000000903,
 uid=555000000901,ou=People,o=nhs
objectClass: nhsOrgPersonRole
uniqueIdentifier: 555000000902
nhsJobRoleCode: S0030:G0100:R0570
nhsOrgOpenDate: 20200101
nhsOrgCloseDate: 20300630235959Z

dn: uniqueIdentifier=555000000903,uid=555000000901,ou=People,o=nhs
objectClass: nhsOrgPerson
uniqueIdentifier: 555000000903
nhsIDCode: A91899
nhsOrgCloseDate: 2029-01-31

dn: uid=555000000901,ou=People,o=nhs
objectClass: nhsPerson
uid: 555000000901
cn: Test Dr Person
sn:: {sn}
givenName: Test

search: 2
result: 0 Success
""".format(fqdn=base64.b64encode(b"mhs.a91899.example").decode(), sn=base64.b64encode("Tëst".encode()).decode())


def entries_of(data: bytes) -> list[DirectoryEntry]:
    return merge([], read_directory(data), replace=True)


def written(form: str, data: bytes = EXAMPLE) -> bytes:
    return write_as(build_directory(entries_of(data), 1), form, ORIGIN)


# --- both ways ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_what_is_exported_imports_as_the_same_directory(form: str) -> None:
    content = read_any(written(form))
    assert sorted(content.entries) == sorted(entries_of(EXAMPLE))
    assert content.remarks == []


@pytest.mark.parametrize("form", FORMS)
def test_the_shared_example_survives_each_form(form: str) -> None:
    example = shared("spec", "examples", "directory.json").read_bytes()
    assert sorted(read_any(written(form, example)).entries) == sorted(entries_of(example))


WORD = st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="/"), min_size=1, max_size=6)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
NAMES = st.fixed_dictionaries({"text": TEXT}) | st.fixed_dictionaries(
    {"family": TEXT}, optional={"given": st.lists(TEXT, max_size=3) | TEXT, "prefix": TEXT, "suffix": TEXT}
)
UNIQUE = st.lists(TEXT, max_size=3, unique=True)


@st.composite
def directories(draw: st.DrawFn) -> bytes:
    """Directories with whatever their form allows in texts, keys and flags."""
    document = copy.deepcopy(SMALL)
    document["parties"][1] |= {
        "name": draw(TEXT),
        "ods": draw(WORD),
        "fqdn": draw(st.lists(WORD, max_size=3, unique=True)),
    }
    document["systems"][1] |= {
        "name": draw(st.just("") | TEXT),
        "scopes": draw(UNIQUE),
        "acf": draw(UNIQUE),
        "organisations": draw(st.lists(WORD, max_size=3, unique=True)),
        "enabled": draw(st.booleans()),
        "flags": {"system_upload": draw(st.booleans()), "batch_consent": draw(st.booleans())},
    }
    document["systems"][0]["aliases"] = draw(st.lists(TEXT.map(lambda text: f"alias {text}"), max_size=3, unique=True))
    document["endpoints"][0]["cpa_id"] = draw(TEXT.filter(lambda text: text == text.strip()))
    document["contracts"][draw(WORD)] = {"ack_requested": draw(st.sampled_from(["always", "NEVER"]))}
    user = document["users"][0]
    user |= {"user_id": draw(WORD), "active": draw(st.booleans()), "name": draw(NAMES)}
    user["roles"].append(
        {
            "role_profile_id": "555000000103",
            "job_role": draw(WORD),
            "ods": draw(WORD),
            "activities": draw(UNIQUE),
            "closed": draw(st.dates()).isoformat(),
        }
    )
    return json.dumps(document).encode()


@given(directories(), st.sampled_from(["ldap", "ldif"]))
def test_nothing_that_a_directory_may_hold_is_lost(data: bytes, form: str) -> None:
    entries = sorted(entries_of(data))
    exported = write_as(build_directory(entries, 1), form, ORIGIN)
    assert sorted(read_any(exported).entries) == entries


def test_one_entry_stands_for_each_party_and_interaction_and_for_each_system() -> None:
    directory = build_directory(entries_of(EXAMPLE), 1)
    entries = write_sds(directory, ORIGIN)
    endpoints = [entry for entry in entries if entry.has_class("nhsMhs")]
    assert len(endpoints) == sum(len(endpoint.interactions) for endpoint in directory.endpoints)
    assert {e.text("uniqueIdentifier") for e in entries if e.has_class("nhsAs")} == set(directory.systems)
    upload = next(
        entry for entry in endpoints if entry.text("nhsMhsSvcIA") == "urn:nhs:names:services:psis:REPC_IN150016UK05"
    )
    # A path of ours is written as others reach it, and kept beside.
    assert upload.text("nhsMHSEndPoint") == "https://spine.example:8443/reliablemessaging/reliablerequest"
    assert upload.text("openscrAddress") == "/reliablemessaging/reliablerequest"
    assert (upload.text("nhsMHsSN"), upload.text("nhsMHsIN")) == ("urn:nhs:names:services:psis", "REPC_IN150016UK05")
    role = next(entry for entry in entries if entry.has_class("nhsOrgPersonRole"))
    assert [next(iter(level))[0] for level in read_dn(role.dn)] == [
        "uniqueidentifier",
        "uniqueidentifier",
        "uid",
        "ou",
        "o",
    ]


def test_every_attribute_that_is_written_is_in_the_schema_of_its_classes() -> None:
    """Card 1 of 40 §11.1 is there; what the table has as 0..1 may be missing."""
    allowed = {each.name.lower(): {*each.must.lower().split(), *each.may.lower().split()} for each in CLASSES}
    needed = {each.name.lower(): set(each.must.lower().split()) for each in CLASSES}
    for entry in write_sds(build_directory(entries_of(EXAMPLE), 1), ORIGIN):
        classes = [name.lower() for name in entry.texts("objectClass")]
        names = {name.lower() for name in entry.attributes} - {"objectclass"}
        if set(classes) <= set(allowed):
            assert names <= set().union(*(allowed[name] for name in classes)), entry
            assert names >= set().union(*(needed[name] for name in classes)), entry
    assert len({attribute.oid for attribute in ATTRIBUTES}) == len(ATTRIBUTES)


# --- real data ------------------------------------------------------------------------------------------------------


def test_a_dump_of_sds_is_read_whatever_its_letter_cases_order_and_form() -> None:
    content = read_any(REAL.encode())
    known = {(entry.kind, entry.key): json.loads(entry.data) for entry in content.entries}
    assert known["party", "A91899-9199084"] == {
        "party_key": "A91899-9199084",
        "ods": "A91899",
        "name": "A91899",
        "fqdn": ["mhs.a91899.example"],
    }
    assert known["system", "918999199084"]["interactions"] == ["psis:REPC_IN150016UK05"]
    endpoint = known["endpoint", "A91899-9199084/psis/MCCI_IN010000UK13"]
    assert endpoint["address"] == "https://mhs.a91899.example/a/path/that/is/long/enough/to/be/folded/in/the/middle"
    contract = known["contract", endpoint["contract"]]
    assert (contract["retry_interval"], contract["retries"], contract["ack_requested"]) == ("PT1M", 2, "ALWAYS")
    user = known["user", "555000000901"]
    assert user["name"] == {"family": "Tëst", "given": ["Test"]}
    # Whoever has left the organisation has left the role.
    assert user["roles"][0]["closed"] == "2029-01-31"
    assert user["roles"][0]["ods"] == "A91899"
    assert [remark for remark in content.remarks if "none of Spine's messages" in remark]


def test_a_dump_imports_beside_the_directory_in_force() -> None:
    merged = merge(entries_of(EXAMPLE), read_any(REAL.encode()).entries, replace=False)
    directory = build_directory(merged, 1)
    assert directory.parties_named(["MHS.a91899.EXAMPLE"]) == {"A91899-9199084"}
    assert directory.own_party.party_key == "YES-0000806"


def test_contracts_of_one_template_that_say_different_things_stay_two() -> None:
    second = REAL.partition("version: 1\n\n")[2].partition("\n\n")[0]
    second = second.replace("MCCI_IN010000UK13", "QUQI_IN010000UK14").replace("PT5M", "PT9M")
    content = read_any(f"{second}\n\n{REAL}".encode())
    contracts = {entry.key for entry in content.entries if entry.kind == "contract"}
    assert len(contracts) == 2
    assert all(name.startswith("sds-14-") for name in contracts)


def test_a_second_address_and_a_second_entry_are_told_and_the_first_counts() -> None:
    twice = REAL.replace("nhsMhsCPAid", "nhsMHSEndPoint: https://other.example/\nnhsMhsCPAid", 1)
    again = REAL.partition("dn: uniqueIdentifier=918999199084")[2].partition("\n\n")[0]
    twice += f"\ndn: uniqueIdentifier=other{again.replace('RBAC', 'CNST')}\n"
    content = read_any(twice.encode())
    assert any("2 addresses" in remark for remark in content.remarks)
    assert any("system 918999199084 stands at" in remark for remark in content.remarks)
    system = next(json.loads(entry.data) for entry in content.entries if entry.kind == "system")
    assert system["acf"] == ["RBAC"]


@pytest.mark.parametrize(
    ("old", "new", "place", "text"),
    [
        ("918999199084\nnhsId", "\nnhsId", "line 27", "uniqueIdentifier"),
        ("nhsMhsCPAid: S918999404212\n", "", "line 4", "nhsMhsCPAId"),
        ("nhsMHSRetries: 2", "nhsMHSRetries: two", "line 4", "nhsMHSRetries is a number"),
        ("PT60S", "1 minute", "line 4", "retry_interval"),
        ("PT5M", "PT1M", "line 4", "at least"),
        ("https://mhs", "ldap://mhs", "line 4", "address"),
        ("nhsJobRoleCode: S0030:G0100:R0570\n", "", "line 37", "nhsJobRoleCode"),
        ("20300630235959Z", "30.6.2030", "line 37", "nhsOrgCloseDate"),
        ("20300630235959Z", "20301332", "line 37", "nhsOrgCloseDate"),
        (",\n uid=555000000901", "", "line 37", "uid"),
    ],
)
def test_what_is_wrong_in_an_entry_is_named_by_line_and_entry(old: str, new: str, place: str, text: str) -> None:
    changed = REAL.replace(old, new, 1)
    assert changed != REAL
    with pytest.raises(ConfigurationError) as refusal:
        read_any(changed.encode())
    assert f"directory, {place} (" in refusal.value.diagnostics
    assert text in refusal.value.diagnostics
    # A mirror leaves the entry out and says so.
    content = read_sds(read_ldif(changed.encode()), lenient=True)
    assert any(text in remark for remark in content.remarks)
    assert content.entries


# --- LDIF -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ldif", "line", "text"),
    [
        (b"objectClass: nhsAs\n", 1, "begins with dn"),
        (b" folded\ndn: o=nhs\n", 1, "continues"),
        (b"dn: o=nhs\n\n folded\n", 3, "continues"),
        (b"dn: o=nhs\nno colon\n", 2, "a colon and a value"),
        (b"dn: o=nhs\no:: ????\n", 2, "base64"),
        (b"dn: o=nhs\no:< file:///etc/passwd\n", 2, "another file"),
        (b"dn: o=nhs\no: a\0b\n", 2, "NUL"),
        (b"dn: o=nhs\nchangetype: delete\n", 2, "changes a directory"),
        (b"dn: o=nhs\ncontrol: 1.2.3 true\n", 2, "changes a directory"),
        (b"dn: o=nhs\no: nhs\ndn: ou=x,o=nhs\n", 3, "empty line"),
        (b"dn:: /w==\no: nhs\n", 1, "UTF-8"),
        (b"version: 2\n\ndn: o=nhs\n", 1, "version 1"),
        (b"\x00\x01\x02", 1, "a colon"),
    ],
)
def test_ldif_that_cannot_be_read_is_refused_by_its_line(ldif: bytes, line: int, text: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        read_ldif(ldif)
    assert f"directory, line {line}: " in refusal.value.diagnostics
    assert text in refusal.value.diagnostics


def test_ldif_is_read_with_either_line_end_a_byte_order_mark_and_comments_that_are_folded() -> None:
    ldif = b"\xef\xbb\xbf# a comment\r\n that is folded\r\nversion: 1\r\ndn: o=nhs\r\n"
    ldif += b"changetype: add\r\no:nhs\r\nO:  two\r\n"
    (entry,) = read_ldif(ldif)
    assert (entry.dn, entry.texts("o")) == ("o=nhs", ("nhs", "two"))


@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=90),
            st.dictionaries(
                st.from_regex(r"[A-Ca-c][a-c0-9-]{0,3}(;[a-c]{1,3})?", fullmatch=True).filter(
                    lambda name: name.lower() not in ("dn", "version")
                ),
                st.lists(st.binary(min_size=1, max_size=120), min_size=1, max_size=3),
                max_size=3,
            ),
        ),
        max_size=4,
    )
)
def test_entries_survive_ldif(given_entries: list[tuple[str, dict[str, list[bytes]]]]) -> None:
    entries = [LdapEntry(dn, attributes.items()) for dn, attributes in given_entries]
    assert read_ldif(write_ldif(entries)) == entries


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_whatever_bring_another_error_than_a_refusal(data: bytes) -> None:
    with pytest.raises(ConfigurationError):
        read_any(data)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=10), min_size=1, max_size=3))
def test_a_value_survives_in_a_distinguished_name(values: list[str]) -> None:
    dn = write_dn(*((("uid", value),) for value in values))
    assert id_in(dn, "UID") == values[0]
    assert len(read_dn(dn)) == len(values)


# --- LDAP entries as JSON -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("document", "place"),
    [
        ({"entries": {}}, "whole file"),
        ({"entries": ["x"]}, "/entries/0"),
        ({"entries": [{"dn": "o=nhs"}]}, "/entries/0/attributes"),
        ({"entries": [{"dn": 3, "raw": {}}]}, "/entries/0"),
        ({"entries": [{"dn": "o=nhs", "raw": {"a/b": [[]]}}]}, "/entries/0/raw/a~1b"),
        ({"entries": [{"dn": "o=nhs", "raw": {"a": {"encoding": "base64", "encoded": "?"}}}]}, "/entries/0/raw/a"),
    ],
)
def test_json_that_is_no_ldap_entry_is_refused_by_its_place(document: Any, place: str) -> None:
    with pytest.raises(ConfigurationError, match=f"directory, {place}"):
        read_ldap_json(json.dumps(document).encode())


def test_what_ldap3_writes_is_read_and_what_we_write_is_loaded_by_its_simulated_server(tmp_path: Path) -> None:
    file = tmp_path / "directory.json"
    file.write_bytes(written("ldap"))
    connection = ldap3.Connection(ldap3.Server("simulated"), client_strategy=ldap3.MOCK_SYNC)
    connection.strategy.entries_from_json(str(file))
    connection.bind()
    assert connection.search("ou=services,o=nhs", "(objectClass=nhsAs)", attributes=["*"])
    answered = read_any(connection.response_to_json(raw=True).encode())
    systems = {entry for entry in entries_of(EXAMPLE) if entry.kind == "system"}
    assert {entry for entry in answered.entries if entry.kind == "system"} == systems


# --- a real server --------------------------------------------------------------------------------------------------


def test_a_real_server_takes_the_export_and_its_own_dump_imports_as_the_same_directory(tmp_path: Path) -> None:
    server = LdapServer(tmp_path / "slapd", written("ldif"))
    content = read_any(server.dump())
    assert sorted(content.entries) == sorted(entries_of(EXAMPLE))
    assert content.remarks == []


def test_a_real_server_finds_by_the_filters_that_clients_use(tmp_path: Path) -> None:
    """The three rows of 40 §11.1, names of attributes in either spelling."""
    interaction = "urn:nhs:names:services:psis:REPC_IN150016UK05"
    with ldap_server(tmp_path / "slapd", written("ldif")) as server:
        connection = ldap3.Connection(ldap3.Server("127.0.0.1", server.port, get_info=ldap3.NONE), auto_bind=True)
        for search in (
            f"(&(nhsIDCode=YES)(objectClass=nhsAs)(nhsAsSvcIA={interaction}))",
            f"(&(objectClass=nhsMhs)(nhsMHSPartyKey=YES-0000806)(nhsMhsSvcIA={interaction}))",
            f"(&(objectclass=nhsMHS)(nhsMHSSvcIA={interaction})(nhsIDcode=yes)(nhsMhsPartyKey=YES-0000806))",
        ):
            connection.search("ou=services,o=nhs", search, attributes=["uniqueIdentifier"])
            assert len(connection.response) == 1, search
        connection.unbind()
