"""An adaptor that is given its party key and its certificates, and nothing else.

Spec: 50 §14.2 E1, §14.4 A6.
"""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import aiohttp

from journeys.runner import STOP_SECONDS, client_context
from journeys.stub_estate import SPINE, SYSTEM, issue_certificates
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.rig import PARTY_KEY
from mhs.stub_spine import post_to_inbound
from openscr.identifiers import mint_uuid

PORTS = {
    "MHS_OUTBOUND_SERVER_PORT": 8081,
    "MHS_INBOUND_SERVER_PORT": 8444,
    "MHS_INBOUND_HEALTHCHECK_SERVER_PORT": 8082,
}


def _taken(port: int) -> bool:
    """Whether another program of this machine listens on a port."""
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _start(home: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    with (home / "log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "openscr", "mhs", "serve"],
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            cwd=home,
            env=environment,
            text=True,
        )


async def test_a_party_key_and_certificates_are_enough(tmp_path: Path) -> None:
    """It is ready, keeps what it is sent, and says of its routes alone that there are none."""
    pki = issue_certificates(tmp_path / "pki")
    elsewhere = {name: "0" for name, port in PORTS.items() if _taken(port)}
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENSCR_", "MHS_"))}
    environment |= {
        "MHS_SECRET_PARTY_KEY": PARTY_KEY,
        "MHS_SECRET_CLIENT_CERT": (pki / f"{SYSTEM}.pem").read_text(),
        "MHS_SECRET_CLIENT_KEY": (pki / f"{SYSTEM}.key").read_text(),
        "MHS_SECRET_CA_CERTS": (pki / "ca.pem").read_text(),
    }
    process = _start(home, environment | elsewhere)
    try:
        assert process.stdout is not None
        line = await asyncio.to_thread(process.stdout.readline)
        assert line.startswith("ready "), (home / "log").read_text()
        _, outbound, inbound = line.split()
        if not elsewhere:
            assert (outbound, inbound) == ("http://127.0.0.1:8081", "https://127.0.0.1:8444")
        await _is_at_work(outbound, inbound, pki)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(process.wait, STOP_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    # Everything that it has made lies in one folder.
    assert sorted(path.name for path in home.iterdir()) == ["log", "mhs-data"]


async def _is_at_work(outbound: str, inbound: str, pki: Path) -> None:
    """Health, readiness, a message in, the queue, and a message out that finds no route."""
    message_id = mint_uuid()
    header = envelope(Action="COPC_IN000001UK01", RefToMessageId=None, MessageId=message_id)
    body = multipart(header_part(header), payload_part("<COPC_IN000001UK01/>"))
    status, answer = await post_to_inbound(
        inbound, {"Content-Type": CONTENT_TYPE}, body, tls=client_context(pki, SPINE)
    )
    assert (status, b"<eb:Acknowledgment " in answer) == (200, True)
    async with aiohttp.ClientSession(outbound) as session:
        for path in ("/healthcheck", "/readyz", "/metrics", "/openapi.json"):
            async with session.get(path) as told:
                assert told.status == 200, await told.text()
        async with session.get("/queue/messages?wait=10") as told:
            (message,) = json.loads(await told.read())["messages"]
            assert message["properties"]["message-id"] == message_id
        headers = {"Interaction-Id": "REPC_IN150016UK05", "wait-for-response": "false"}
        async with session.post("/", json={"payload": "<a/>"}, headers=headers) as told:
            assert (told.status, await told.text()) == (500, "Error obtaining outbound URL")
