"""A live service whose directory is a real SDS (OpenLDAP's server): over mutual TLS, through an outage.

Spec: 40 §11.1, 35 §3.2, 60 §13.
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from journeys.messages import PRACTICE, fresh_patient, get
from journeys.runner import Server, client_context, command, import_patients, live_directory, until
from journeys.test_directory_face import (
    ODS,
    OURS,
    ROLE,
    SENDS,
    SPINE,
    UPLOAD,
    identifiers,
    refusal_of,
    resources_of,
    search,
)
from journeys.wire import fault_of, signal_of, soap_of
from ldap_server import LdapServer
from openscr.codes import EVENT_LIST_ANSWER
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.formats import write_as

PRACTICE_SYSTEM = "uniqueIdentifier=200000000115,ou=services,o=nhs"


def ldif_of(directory: dict[str, Any]) -> bytes:
    entries = merge([], read_directory(json.dumps(directory).encode()), replace=True)
    return write_as(build_directory(entries, 1), "ldif", "https://spine.example/sync-service")


@pytest.fixture
def ldap(tmp_path: Path) -> Any:
    """A directory server that knows the demo's systems and people, not yet running."""
    server = LdapServer(tmp_path / "slapd", ldif_of(live_directory("http://127.0.0.1:9/")))
    yield server
    server.stop()


async def ready(server: Server) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads((await get(server.web, "/readyz")).body)
    return answer


async def health(server: Server) -> str:
    return str(json.loads((await get(server.web, "/healthcheck")).body)["status"])


async def test_who_may_call_is_what_the_directory_server_says(
    ldap: LdapServer, data: Path, start: Callable[..., Server]
) -> None:
    """Certificate, ASID, interaction and author are known from LDAP alone; what is taken out there is refused here."""
    ldap.start()
    number = fresh_patient()
    server = await asyncio.to_thread(start, directory_source=ldap.url, directory_refresh=1)
    await import_patients(data, [number])
    tls = client_context(data / "pki", "gp.client.test")
    # Our own directory has nobody but ourselves.
    shown = json.loads(await command(data, "directory", "export"))
    assert [party["own"] for party in shown["parties"]] == [True]
    assert await ready(server) == {"ready": True}

    assert signal_of(await PRACTICE.upload(number).post().to(server.spine, tls)).ref_to_message_id
    soap_of(await PRACTICE.event_list(number).to(server.spine, tls), EVENT_LIST_ANSWER)

    ldap.delete(PRACTICE_SYSTEM)

    async def refused() -> bool:
        return (await PRACTICE.event_list(number).to(server.spine, tls)).status == 500

    await until(refused)
    fault = fault_of(await PRACTICE.event_list(number).to(server.spine, tls))
    assert fault.codes == ("300",)
    assert fault_of(await PRACTICE.upload(number).post().to(server.spine, tls)).codes == ("300",)


async def test_an_outage_of_the_directory_server_changes_nothing_for_who_is_known(
    ldap: LdapServer, data: Path, start: Callable[..., Server]
) -> None:
    """Down, then silent, then up again: the last reading counts, and the next one that works. Spec: 40 §11.1."""
    ldap.start()
    number = fresh_patient()
    server = await asyncio.to_thread(start, directory_source=ldap.url, directory_refresh=1, patient_index="open")
    tls = client_context(data / "pki", "gp.client.test")

    signal_of(await PRACTICE.upload(number).post().to(server.spine, tls))
    ldap.stop()

    async def noticed() -> bool:
        return "directory server not read" in server.log.read_text()

    await until(noticed)
    soap_of(await PRACTICE.event_list(number).to(server.spine, tls), EVENT_LIST_ANSWER)
    assert await ready(server) == {"ready": True}
    assert await health(server) == "UP"
    # The face asks the server itself, and says that it cannot.
    refusal = refusal_of(await search(server.web, "Device", ("organization", f"{ODS}|Y90001"), SENDS))
    assert refusal == (502, "exception", "INTERNAL_SERVER_ERROR")

    ldap.start()
    ldap.delete(PRACTICE_SYSTEM)

    async def refused() -> bool:
        return (await PRACTICE.event_list(number).to(server.spine, tls)).status == 500

    await until(refused)


async def test_a_service_that_could_never_read_its_directory_is_not_ready(
    ldap: LdapServer, data: Path, start: Callable[..., Server]
) -> None:
    """It refuses everybody, says so, and needs no restart."""
    ldap.start()
    ldap.stop()
    server = await asyncio.to_thread(start, directory_source=ldap.url, directory_refresh=1, patient_index="open")
    tls = client_context(data / "pki", "gp.client.test")
    assert await ready(server) == {"ready": False, "reason": "directory"}
    assert await health(server) == "UP"
    number = fresh_patient()
    answer = await PRACTICE.event_list(number).to(server.spine, tls)
    assert (answer.status, answer.body) == (403, b"")

    ldap.start()

    async def is_ready() -> bool:
        return bool((await ready(server))["ready"])

    await until(is_ready)
    signal_of(await PRACTICE.upload(number).post().to(server.spine, tls))


async def test_the_face_tells_what_the_directory_server_holds_and_who_we_are(
    ldap: LdapServer, data: Path, start: Callable[..., Server]
) -> None:
    ldap.start()
    server = await asyncio.to_thread(
        start, directory_source=ldap.url, directory_organisations="RZZ01", directory_refresh=300
    )
    (spine,) = resources_of(await search(server.web, "Device", SPINE, SENDS))
    assert identifiers(spine)["nhsSpineASID"] == "200000000100"
    # Also of organisations that are not mirrored.
    (practice, *_) = resources_of(await search(server.web, "Device", ("organization", f"{ODS}|Y90001"), SENDS))
    assert identifiers(practice)["nhsSpineASID"] == "200000000115"
    (endpoint,) = resources_of(await search(server.web, "Endpoint", SENDS, OURS))
    assert endpoint["address"] == f"{server.spine}/reliablemessaging/reliablerequest"
    answer = await search(server.web, "PractitionerRole", ("user-role-id", f"{ROLE}|555000000102"))
    assert resources_of(answer)[0]["code"][0]["coding"][0]["code"]
    assert b"Gita" not in answer.body
    for value in ("*", "Y90001)(objectClass=*", "Y9000*"):
        assert resources_of(await search(server.web, "Device", ("organization", f"{ODS}|{value}"), SENDS)) == []


@asynccontextmanager
async def silence() -> AsyncIterator[str]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"


async def test_a_directory_server_that_says_nothing_is_a_timeout(data: Path, start: Callable[..., Server]) -> None:
    async with silence() as url:
        server = await asyncio.to_thread(start, directory_source=url)
        refusal = refusal_of(await search(server.web, "Endpoint", SPINE, SENDS))
        assert refusal == (504, "timeout", "INTERNAL_SERVER_ERROR")
        assert await ready(server) == {"ready": False, "reason": "directory"}


async def test_the_commands_look_up_and_import_from_a_directory_server(ldap: LdapServer, data: Path) -> None:
    ldap.start()
    arguments = ("directory", "lookup", "YES", UPLOAD.removeprefix("urn:nhs:names:services:"))
    route = json.loads(await command(data, *arguments, "--ldap", ldap.url, "--json"))
    assert (route["party_key"], route["asid"], route["cpa_id"]) == ("YES-0000806", "200000000100", "S20001A000182")
    assert route["address"] == "https://spine.example/reliablemessaging/reliablerequest"
    assert route["contract"]["ack_requested"] == "always"

    await command(data, "directory", "import", "--from", ldap.url)
    expected = live_directory("http://127.0.0.1:9/")
    exported = json.loads(await command(data, "directory", "export"))
    assert sorted(exported["systems"], key=lambda each: each["asid"]) == sorted(
        json.loads(
            write_as(
                build_directory(merge([], read_directory(json.dumps(expected).encode()), replace=True), 1), "json", ""
            )
        )["systems"],
        key=lambda each: each["asid"],
    )
    shown = await command(data, *arguments)
    assert "200000000100" in shown
    assert "PT1M" in shown or "60" in shown
