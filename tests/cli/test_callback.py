"""Acknowledgements that come to the client's own listener, and those that nobody took. Spec: 00 §4; 40 §6.3, §7.3."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from cli.conftest import Run
from client.stories import document_of, new_patient, summary
from openscr.client import Callback
from openscr.codes import ACKNOWLEDGEMENT
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.testbench.world import demo_directory
from openscr.transport.xml import read_xml
from serving import DemoServer, clean_environment, serving

PRACTICE, HOSPITAL = "Y90001-0000001", "RZZ01-0000001"


@dataclass(frozen=True)
class Wired:
    """A service that delivers to real listeners: the practice's over HTTP, the hospital's over mutual TLS."""

    server: DemoServer
    directory: Path
    practice: str
    hospital: str

    @property
    def at(self) -> tuple[str, str]:
        return "--at", self.server.web


def free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return f"127.0.0.1:{found.getsockname()[1]}"


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    home = tmp_path_factory.mktemp("wired")
    practice, hospital = free_address(), free_address()
    world = json.loads(demo_directory())
    # One attempt only: what nobody takes ends as failed at once.
    world["contracts"]["once"] = world["contracts"]["reliable"] | {"retries": 0}
    for endpoint in world["endpoints"]:
        if ACKNOWLEDGEMENT in endpoint["interactions"] and endpoint["service"] == "psis":
            secure = endpoint["party_key"] == HOSPITAL
            endpoint["address"] = f"https://{hospital}/in" if secure else f"http://{practice}/in"
            endpoint["contract"] = "once"
    directory = home / "world.json"
    directory.write_text(json.dumps(world))
    command = [sys.executable, "-m", "openscr", "directory", "import", str(directory), "--data", str(home / "data")]
    subprocess.run(command, check=True, env=clean_environment(), cwd=home, capture_output=True)
    with serving(home) as server:
        yield Wired(server, directory, practice, hospital)


def written(folder: Path) -> str:
    (folder / "summary.xml").write_bytes(document_of(summary(new_patient())))
    return "summary.xml"


def test_the_acknowledgement_comes_to_the_listener(openscr: Run, wired: Wired, tmp_path: Path) -> None:
    """Upload and withdrawal, one after the other at the same address."""
    nhs_number = new_patient()
    content = summary(nhs_number)
    (tmp_path / "summary.xml").write_bytes(document_of(content))
    back = ("--callback", wired.practice)
    ended = openscr("upload", "summary.xml", *wired.at, *back).done()
    assert ended.out == "summary.xml: AA GP Summary upload successful\n"
    person = ("--user", "555000000102")
    ended = openscr("withdraw", nhs_number, content.event_id, "--reason", "01", *wired.at, *back, *person).done()
    assert ended.out == "AA GP Summary withdrawal successful\n"
    openscr("upload", "summary.xml", *wired.at, *back).failed("invalid request: AE 401")


def test_the_listener_speaks_mutual_tls_where_its_endpoint_does(openscr: Run, wired: Wired, tmp_path: Path) -> None:
    cert, key, ca = wired.server.certificate("viewer.client.test")
    files = ("--cert", cert, "--key", key, "--ca", ca)
    sender = ("--as", "app-viewer", "--directory", wired.directory)
    at = ("--at", wired.server.spine)
    ended = openscr("upload", written(tmp_path), *at, *files, *sender, "--callback", wired.hospital).done()
    assert ended.out == "summary.xml: AA GP Summary upload successful\n"
    openscr("upload", "summary.xml", *wired.at, *sender, "--callback", wired.hospital).failed("--callback needs --cert")


async def test_what_nobody_took_is_sent_again_with_the_same_id(openscr: Run, wired: Wired, tmp_path: Path) -> None:
    """The client does not wait for what the directory leads elsewhere; the operator sends it again."""

    async def run(*arguments: object) -> object:
        return await asyncio.to_thread(openscr, *arguments)

    data = ("--data", wired.server.data)
    ended = openscr("upload", written(tmp_path), *wired.at, "--directory", wired.directory, "--json").done()
    assert ended.json["acknowledgement"] is None
    sent = ended.json["message_id"]

    for _ in range(40):
        rows = openscr("admin", "outbox", "list", "--state", "failed", *data, "--json").done().json
        if rows:
            break
    (row,) = rows
    assert (row["party_key"], row["interaction"], row["attempts"]) == (PRACTICE, f"psis:{ACKNOWLEDGEMENT}", 1)
    assert row["message_id"] in openscr("admin", "outbox", "list", *data).done().out
    openscr("admin", "outbox", "resend", sent, *data).failed("no such message in the outbox")

    host, _, port = wired.practice.partition(":")
    async with Callback(host, int(port), PRACTICE) as callback:
        expectation = await callback.expect(sent)
        resent = await run("admin", "outbox", "resend", "--failed", *data)
        assert resent.out == "1 to be sent again\n"  # type: ignore[attr-defined]
        payload = await expectation.answer(30)
    assert payload is not None
    acknowledgement = read_acknowledgement(read_xml(payload))
    assert acknowledgement.outcome.accepted
    assert acknowledgement.message_id == row["message_id"]
    for _ in range(40):
        ended = await run("admin", "outbox", "list", *data)
        if ended.out == "nothing is waiting\n":
            break
    assert ended.out == "nothing is waiting\n"
