"""Look-ups and the mirror of a real LDAP server, and of servers that fail in every way. Spec: 40 §11.1."""

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from directory.test_form import EXAMPLE
from ldap_server import LdapServer, ldap_server
from openscr.access.pki import make_demo_certificates
from openscr.directory import ldap_client
from openscr.directory.form import DirectoryEntry, build_directory, merge, read_directory
from openscr.directory.formats import write_as
from openscr.directory.ldap_client import LdapAddress, LdapClient, filter_value
from openscr.directory.ldap_source import CombinedSource, LdapSource
from openscr.directory.mirror import DirectoryKeeper, Mirror, join
from openscr.directory.model import CurrentDirectory, Directory
from openscr.directory.routes import ABSENT_SECONDS, FRESH_SECONDS, STALE_SECONDS, LookUp, Routes, look_up
from openscr.directory.sources import EmbeddedSource
from openscr.errors import ConfigurationError, DirectoryTimeout, DirectoryUnavailable, EndpointUnknown

ORIGIN = "https://spine.example/sync-service"
UPLOAD = "psis:REPC_IN150016UK05"
ACKNOWLEDGEMENT = "psis:MCCI_IN010000UK13"
TODAY = date(2026, 11, 22)


def entries_of(data: bytes = EXAMPLE) -> list[DirectoryEntry]:
    return merge([], read_directory(data), replace=True)


def with_systems(count: int) -> bytes:
    """The example with many more systems than a server gives in one answer."""
    document = json.loads(EXAMPLE)
    system = {"party_key": "Z99999-200101", "interactions": [UPLOAD]}
    document["systems"] += [system | {"asid": str(600000000000 + number)} for number in range(count)]
    document["users"].append(
        {
            "user_id": "555000000911",
            "active": False,
            "roles": [{"role_profile_id": "555000000912", "job_role": "R8000", "ods": "Z99999", "activities": []}],
        }
    )
    document["users"].append(
        {
            "user_id": "555000000921",
            "roles": [
                {
                    "role_profile_id": "555000000922",
                    "job_role": "R8000",
                    "ods": "Z99999",
                    "activities": ["B0370"],
                    "closed": "2026-11-22",
                }
            ],
        }
    )
    return json.dumps(document).encode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LdapServer]:
    ldif = write_as(build_directory(entries_of(with_systems(250)), 1), "ldif", ORIGIN)
    with ldap_server(tmp_path_factory.mktemp("ldap") / "slapd", ldif) as running:
        yield running


@pytest.fixture
def client(server: LdapServer) -> Iterator[LdapClient]:
    asked = LdapClient(LdapAddress.read(server.url))
    yield asked
    asked.close()


# --- addresses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "host", "port", "tls"),
    [
        ("ldap://sds.example", "sds.example", 389, False),
        ("ldaps://sds.example/", "sds.example", 636, True),
        ("ldap://[::1]:1389", "::1", 1389, False),
    ],
)
def test_an_address_is_a_url(url: str, host: str, port: int, tls: bool) -> None:
    address = LdapAddress.read(url)
    assert (address.host, address.port, address.tls) == (host, port, tls)


@pytest.mark.parametrize(
    "url",
    ["sds.example", "http://sds.example", "ldap://", "ldap://u:p@h", "ldap://h/o=nhs", "ldap://h:x", "ldap://h:0"],
)
def test_whatever_else_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="ldaps://HOST:PORT"):
        LdapAddress.read(url)


# --- look-ups -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ods", ["Y90001", "y90001"])
async def test_a_route_is_the_same_from_a_server_as_from_our_own_directory(client: LdapClient, ods: str) -> None:
    directory = CurrentDirectory(build_directory(entries_of(), 1))
    document = json.loads(EXAMPLE)
    ours = next(each for each in document["systems"] if each["party_key"] == "Y90001-0000001")
    assert ACKNOWLEDGEMENT not in ours["interactions"]
    with pytest.raises(EndpointUnknown, match="no system"):
        await look_up(LdapSource(client, "o=nhs"), ods, ACKNOWLEDGEMENT)
    for interaction in (UPLOAD, f"urn:nhs:names:services:{UPLOAD}"):
        there = await look_up(LdapSource(client, "o=nhs"), "YES", interaction)
        here = await look_up(EmbeddedSource(directory, ORIGIN), "YES", interaction)
        assert there == here
        assert (there.asid, there.party_key, there.cpa_id) == ("200000000100", "YES-0000806", "S20001A000182")
        assert there.address == "https://spine.example/reliablemessaging/reliablerequest"
        assert (there.contract.retries, there.contract.retry_interval) == (2, 60.0)


async def test_a_system_without_an_endpoint_has_no_route(client: LdapClient) -> None:
    with pytest.raises(EndpointUnknown, match="no endpoint of Z99999-200101"):
        await look_up(LdapSource(client, "o=nhs"), "Z99999", UPLOAD)


async def test_of_several_the_first_counts(client: LdapClient) -> None:
    systems = await LdapSource(client, "o=nhs").systems(ods="B99901", interaction=f"urn:nhs:names:services:{UPLOAD}")
    assert [system.text("uniqueIdentifier") for system in systems] == ["900000000101"]


@pytest.mark.parametrize(
    "value",
    ["*", "YES)(objectClass=*", "*)(|(objectClass=*", "Y\\2a", "Y*", "(", "\0", "YES)(&", ")(uid=*))(|(uid=*", "é*"],
)
async def test_no_value_changes_what_is_asked(client: LdapClient, value: str) -> None:
    """LDAP injection: whatever stands in a value is looked for as it stands, and nothing of ours has such a value."""
    source = LdapSource(client, "o=nhs")
    assert await source.systems(ods=value, interaction=f"urn:nhs:names:services:{UPLOAD}") == []
    assert await source.systems(ods="YES", interaction=value) == []
    assert await source.endpoints(ods="YES", party_key=value) == []
    assert await source.endpoints(ods="YES", interaction=value) == []
    assert await source.job_role(value, TODAY) is None


def test_a_value_of_a_filter_is_escaped() -> None:
    assert filter_value("a*(b)\\\0") == "a\\2a\\28b\\29\\5c\\00"


async def test_a_role_is_told_while_it_is_open_and_its_person_active(client: LdapClient) -> None:
    source = LdapSource(client, "o=nhs")
    assert await source.job_role("900000000201", TODAY) == "R0260"
    assert await source.job_role("555000000912", TODAY) is None
    assert await source.job_role("555000000922", date(2026, 11, 21)) == "R8000"
    assert await source.job_role("555000000922", TODAY) is None
    assert await source.job_role("555000009999", TODAY) is None


async def test_the_own_party_is_told_by_our_own_directory_alone(client: LdapClient) -> None:
    document = json.loads(EXAMPLE)
    document["systems"][0]["asid"] = "700000000100"
    own = CurrentDirectory(build_directory(entries_of(json.dumps(document).encode()), 1))
    combined = CombinedSource(EmbeddedSource(own, ORIGIN, own_only=True), LdapSource(client, "o=nhs"))
    interaction = f"urn:nhs:names:services:{UPLOAD}"
    (system,) = await combined.systems(ods="YES", interaction=interaction)
    assert system.text("uniqueIdentifier") == "700000000100"
    assert await combined.systems(ods="B99901", interaction=interaction)
    assert len(await combined.endpoints(party_key="YES-0000806", interaction=interaction)) == 1
    assert await combined.job_role("900000000201", TODAY) == "R0260"


# --- TLS ------------------------------------------------------------------------------------------------------------


async def test_a_server_with_tls_is_trusted_by_its_authority_and_name(tmp_path: Path) -> None:
    pki = tmp_path / "pki"
    make_demo_certificates(pki)
    ldif = write_as(build_directory(entries_of(), 1), "ldif", ORIGIN)
    files = (pki / "localhost.pem", pki / "localhost.key", pki / "ca.pem")

    async def systems(url: str, ca: Path | None) -> int:
        client = LdapClient(LdapAddress.read(url, ca))
        try:
            return len(await client.search("o=nhs", "(objectClass=nhsAs)"))
        finally:
            client.close()

    with ldap_server(tmp_path / "slapd", ldif, files) as server:
        assert await systems(server.url, pki / "ca.pem") > 3
        for ca in (None, pki / "foreign.pem"):
            with pytest.raises(DirectoryUnavailable):
                await systems(server.url, ca)
        with pytest.raises(DirectoryUnavailable):
            await systems(server.url.replace("ldaps", "ldap"), None)
    files = (pki / "gp.client.test.pem", pki / "gp.client.test.key", pki / "ca.pem")
    # The right authority, another name.
    with ldap_server(tmp_path / "other", ldif, files) as server, pytest.raises(DirectoryUnavailable):
        await systems(server.url, pki / "ca.pem")


# --- servers that fail ----------------------------------------------------------------------------------------------

ENTRY = bytes.fromhex("640f04056f3d6e68733006300404016f3100")


def number_of(request: bytes) -> bytes:
    """The number of an LDAP message as it stands in it, for the answer."""
    return request[2 : 4 + request[3]]


def bound(connection: socket.socket) -> bytes:
    """Let the client bind; return the number of its search."""
    number = number_of(connection.recv(4096))
    answer = number + bytes.fromhex("61070a010004000400")
    connection.sendall(bytes([0x30, len(answer)]) + answer)
    return number_of(connection.recv(4096))


@contextmanager
def listening(behave: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server whose connections are handled by ``behave``; gives its address."""
    ended = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)

        def serve() -> None:
            while not ended.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(30)
                    try:
                        behave(connection)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def closing(connection: socket.socket) -> None:
    connection.recv(4096)


def closing_in_the_middle(connection: socket.socket) -> None:
    answer = bound(connection) + ENTRY
    connection.sendall(bytes([0x30, len(answer)]) + answer[:-8])


def speaking_http(connection: socket.socket) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def trickling(connection: socket.socket) -> None:
    """Never late for the socket, never done."""
    bound(connection)
    connection.sendall(b"\x30\x84\x00\x0f\xff\xff")
    connection.settimeout(0.05)
    while True:
        connection.sendall(b"\x02")
        try:
            if not connection.recv(1):
                return
        except TimeoutError:
            continue


@pytest.mark.parametrize(
    ("behave", "error"),
    [
        (silent, DirectoryTimeout),
        (closing, DirectoryUnavailable),
        (closing_in_the_middle, DirectoryUnavailable),
        (speaking_http, DirectoryUnavailable),
        (trickling, DirectoryTimeout),
    ],
)
async def test_a_server_that_fails_is_told_apart_from_one_that_is_late(
    behave: Callable[[socket.socket], None], error: type[DirectoryUnavailable], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ldap_client, "SEARCH_SECONDS", 1)
    monkeypatch.setattr(ldap_client, "CONNECT_SECONDS", 1)
    connections = []

    def counted(connection: socket.socket) -> None:
        connections.append(1)
        behave(connection)

    with listening(counted) as url:
        client = LdapClient(LdapAddress.read(url))
        with pytest.raises(DirectoryUnavailable) as refusal:
            await client.search("o=nhs", "(uid=555000000101)")
        client.close()
    assert type(refusal.value) is error
    assert "555000000101" not in str(refusal.value)
    assert len(connections) == ldap_client.ATTEMPTS


async def test_a_server_that_is_down_is_unavailable_and_asked_again_when_it_is_up(tmp_path: Path) -> None:
    server = LdapServer(tmp_path / "slapd", write_as(build_directory(entries_of(), 1), "ldif", ORIGIN))
    server.start()
    client = LdapClient(LdapAddress.read(server.url))
    try:
        assert await client.search("o=nhs", "(objectClass=nhsAs)")
        server.stop()
        with pytest.raises(DirectoryUnavailable):
            await client.search("o=nhs", "(objectClass=nhsAs)")
        server.start()
        assert await client.search("o=nhs", "(objectClass=nhsAs)")
    finally:
        client.close()
        server.stop()


# --- what is kept ---------------------------------------------------------------------------------------------------


def asking(source: EmbeddedSource) -> LookUp:
    return lambda ods, interaction, _correlation_id: look_up(source, ods, interaction)


class Counting(EmbeddedSource):
    """A directory that counts what it is asked, and fails when told."""

    asked = 0
    down = False

    async def systems(self, **wanted: Any) -> Any:
        self.asked += 1
        await asyncio.sleep(0)
        if self.down:
            raise DirectoryUnavailable("down")
        return await super().systems(**wanted)


async def test_routes_are_kept_as_long_as_they_count() -> None:
    source = Counting(CurrentDirectory(build_directory(entries_of(), 1)), ORIGIN)
    now = 0.0
    routes = Routes(asking(source), time=lambda: now)
    first, *others = await asyncio.gather(*(routes.find("YES", UPLOAD) for _ in range(5)))
    assert all(other is first for other in others)
    assert source.asked == 1
    now = FRESH_SECONDS
    await routes.find("yes", UPLOAD)
    assert source.asked == 2
    # The directory fails: what it said counts for a day.
    source.down = True
    now = FRESH_SECONDS + STALE_SECONDS - 1
    assert (await routes.find("YES", UPLOAD)).asid == "200000000100"
    now = FRESH_SECONDS + STALE_SECONDS
    with pytest.raises(DirectoryUnavailable):
        await routes.find("YES", UPLOAD)


async def test_that_there_is_no_route_is_kept_shortly() -> None:
    source = Counting(CurrentDirectory(build_directory(entries_of(), 1)), ORIGIN)
    now = 0.0
    routes = Routes(asking(source), time=lambda: now)
    for _ in range(2):
        with pytest.raises(EndpointUnknown):
            await routes.find("NOBODY", UPLOAD)
    assert source.asked == 1
    now = ABSENT_SECONDS
    with pytest.raises(EndpointUnknown):
        await routes.find("NOBODY", UPLOAD)
    assert source.asked == 2


# --- the mirror -----------------------------------------------------------------------------------------------------

OWN_ONLY = json.dumps(
    {
        name: [each for each in value if each.get("party_key") == "YES-0000806"] if isinstance(value, list) else value
        for name, value in json.loads(EXAMPLE).items()
        if name != "users"
    }
).encode()


def same_but_contract_names(directory: Directory) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_as(directory, "json", ORIGIN))
    contracts = document.pop("contracts")
    for endpoint in document["endpoints"]:
        endpoint["contract"] = contracts[endpoint["contract"]]
    endpoints = [
        endpoint | {"interactions": [interaction]}
        for endpoint in document["endpoints"]
        for interaction in endpoint["interactions"]
    ]
    return document | {"endpoints": sorted(endpoints, key=lambda each: (each["party_key"], str(each["interactions"])))}


async def test_the_mirror_of_a_server_is_the_directory_that_was_loaded_into_it(client: LdapClient) -> None:
    """In pages: the server gives fewer entries in one answer than it has."""
    mirrored = await Mirror(client, "o=nhs").read()
    joined = build_directory(join(entries_of(OWN_ONLY), mirrored), 1)
    expected = build_directory(entries_of(with_systems(250)), 1)
    assert len(joined.systems) > 250
    there, here = same_but_contract_names(joined), same_but_contract_names(expected)
    for user in (*there["users"], *here["users"]):
        user["roles"].sort(key=lambda role: role["role_profile_id"])
    assert there == here


async def test_a_mirror_of_some_organisations_has_their_systems_and_people_alone(client: LdapClient) -> None:
    mirrored = await Mirror(client, "o=nhs", ["b99901"]).read()
    joined = build_directory(join(entries_of(OWN_ONLY), mirrored), 1)
    assert {party.ods for party in joined.parties.values()} == {"YES", "B99901"}
    assert set(joined.systems) == {"200000000100", "900000000101"}
    assert {role.ods for user in joined.users.values() for role in user.roles} == {"B99901"}
    assert all(user.roles for user in joined.users.values())


async def test_a_server_without_any_system_is_taken_for_a_wrong_one(client: LdapClient) -> None:
    for mirror in (Mirror(client, "o=elsewhere"), Mirror(client, "o=nhs", ["NOBODY"])):
        with pytest.raises(ConfigurationError, match="holds no system"):
            await mirror.read()


def test_nobody_else_says_who_we_are_or_bears_our_numbers() -> None:
    document = json.loads(EXAMPLE)
    document["parties"].append({"party_key": "YES-0000807", "ods": "YES", "name": "Forged"})
    document["systems"].append(
        {"asid": "300000000001", "party_key": "YES-0000806", "interactions": [UPLOAD]},
    )
    foreign = read_directory(json.dumps(document).encode())
    ours = json.loads(OWN_ONLY)
    ours["systems"][0] |= {"asid": "700000000100", "aliases": ["900000000101"]}
    joined = build_directory(join(entries_of(json.dumps(ours).encode()), foreign), 1)
    assert joined.own_asids == {"700000000100", "900000000101"}
    assert [party.party_key for party in joined.parties.values() if party.own] == ["YES-0000806"]
    assert "300000000001" not in joined.systems
    assert "900000000101" not in joined.systems


def test_our_directory_adds_what_sds_cannot_tell_and_may_take_rights_away() -> None:
    document = json.loads(EXAMPLE)
    bare = json.loads(EXAMPLE)
    for system in bare["systems"]:
        for name in ("app", "scopes", "flags"):
            system.pop(name, None)
    for party in bare["parties"]:
        party["name"] = party["ods"]
    for user in bare["users"]:
        for role in user["roles"]:
            role["activities"] = []
    disabled = document["systems"][2]
    disabled["enabled"] = False
    joined = build_directory(
        join(entries_of(json.dumps(document).encode()), read_directory(json.dumps(bare).encode())), 1
    )
    expected = build_directory(entries_of(json.dumps(document).encode()), 1)
    assert joined.systems == expected.systems
    assert not joined.systems[disabled["asid"]].enabled
    assert joined.users == expected.users
    assert joined.parties == expected.parties
    # What only our directory has does not count.
    bare["systems"] = [each for each in bare["systems"] if each["asid"] != "200000000115"]
    joined = build_directory(join(entries_of(), read_directory(json.dumps(bare).encode())), 1)
    assert "200000000115" not in joined.systems


class Rows:
    """Our own directory as a store gives it."""

    def __init__(self, entries: list[DirectoryEntry]) -> None:
        self.entries, self.revision = entries, 1

    async def directory_revision(self) -> int:
        return self.revision

    async def read_directory(self) -> list[DirectoryEntry]:
        return self.entries


class Told(Mirror):
    """What a server is said to hold."""

    def __init__(self, entries: list[DirectoryEntry]) -> None:
        self.entries = entries

    async def read(self) -> list[DirectoryEntry]:
        return self.entries


async def test_a_server_that_was_emptied_empties_nothing() -> None:
    """One that is being filled anew holds nobody for a while: who left, and whose role is closed, is still known."""
    whole = entries_of()
    mirror = Told(whole)
    current = CurrentDirectory(Directory())
    keeper = DirectoryKeeper(current, Rows(entries_of(OWN_ONLY)), mirror, 300)
    assert await keeper.read_mirror()
    users = set(current.snapshot.users)
    assert users
    mirror.entries = [entry for entry in whole if entry.kind != "user"]
    assert not await keeper.read_mirror()
    assert set(current.snapshot.users) == users
    # Somebody who left is somebody who left.
    last = next(entry for entry in whole if entry.kind == "user")
    mirror.entries = [*mirror.entries, last]
    assert await keeper.read_mirror()
    assert set(current.snapshot.users) == {last.key}


async def test_what_the_server_said_last_counts_while_it_cannot_be_asked(tmp_path: Path) -> None:
    server = LdapServer(tmp_path / "slapd", write_as(build_directory(entries_of(), 1), "ldif", ORIGIN))
    server.start()
    server.stop()
    client = LdapClient(LdapAddress.read(server.url))
    current, rows = CurrentDirectory(Directory()), Rows(entries_of(OWN_ONLY))
    keeper = DirectoryKeeper(current, rows, Mirror(client, "o=nhs"), 300)
    try:
        await keeper.read()
        assert not await keeper.read_mirror()
        # Nobody but the own party: whoever else sends is refused.
        assert not keeper.complete
        assert set(current.snapshot.parties) == {"YES-0000806"}
        server.start()
        assert await keeper.read_mirror()
        assert keeper.complete
        assert "200000000115" in current.snapshot.systems
        server.stop()
        assert not await keeper.read_mirror()
        assert keeper.complete
        assert "200000000115" in current.snapshot.systems
        # A change of our own directory does not lose it either.
        rows.revision = 2
        await keeper.read()
        assert current.snapshot.revision == 2
        assert "200000000115" in current.snapshot.systems
    finally:
        client.close()
        server.stop()


def test_an_authority_that_is_not_there_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such file"):
        LdapAddress.read("ldaps://localhost", tmp_path / "ca.pem")
