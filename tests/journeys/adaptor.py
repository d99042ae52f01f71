"""Adaptors started, stopped and killed as suppliers would run them, and the supplier's side of their REST API."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp

from journeys.messages import get
from journeys.runner import PATIENCE, Server, Started, import_directory, live_directory, until
from openscr.codes import ACKNOWLEDGEMENT
from openscr.testbench.world import PRACTICE_PARTY

SDS = "/spine-directory/FHIR/R4"
ENDPOINT_OF_ANSWERS = (
    f"{SDS}/Endpoint?identifier=https://fhir.nhs.uk/Id/nhsMhsPartyKey%7C{PRACTICE_PARTY}"
    f"&identifier=https://fhir.nhs.uk/Id/nhsServiceInteractionId%7Curn:nhs:names:services:psis:{ACKNOWLEDGEMENT}"
)


@dataclass
class Adaptor(Started):
    """A running adaptor: base URLs of the roles that run, data folder, process and log."""

    outbound: str
    inbound: str
    data: Path
    process: "subprocess.Popen[str]"
    log: Path

    @classmethod
    def start(cls, data: Path, role: str = "serve", /, **settings: object) -> Self:
        """Start ``openscr mhs`` on free ports and wait until it is ready; ``settings`` by the names of variables."""
        process, log = launch(data, role, **settings)
        assert process.stdout is not None
        words = process.stdout.readline().split()
        if words[:1] != ["ready"]:
            process.wait()
            raise AssertionError(f"the adaptor did not start: {log.read_text()[-2000:]}")
        urls = words[1:]
        outbound = "" if role == "inbound" else urls[0]
        inbound = "" if role == "outbound" else urls[-1]
        return cls(outbound, inbound, data, process, log)


def launch(data: Path, role: str, /, **settings: object) -> "tuple[subprocess.Popen[str], Path]":
    """Run ``openscr mhs``, whether or not it comes to be ready; return the process and the file of its log."""
    data.mkdir(parents=True, exist_ok=True)
    log = data / f"service-{len(list(data.glob('service-*.log')))}.log"
    ports = {"outbound_server_port": 0, "inbound_server_port": 0, "inbound_healthcheck_server_port": 0}
    given = {"data": data / "mhs", **ports} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OPENSCR_", "MHS_"))}
    environment |= {f"MHS_{name.upper()}": str(value) for name, value in given.items()}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "openscr", "mhs", role],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            cwd=data,
            env=environment,
            text=True,
        )
    return process, log


def beside(server: Server, certificate: str = "gp.client.test") -> dict[str, object]:
    """Return the settings of an adaptor of the demo practice that talks to a service and looks routes up there."""
    certificate_file, key, authority = server.certificate(certificate)
    return {
        "secret_party_key": PRACTICE_PARTY,
        "client_cert_file": certificate_file,
        "client_key_file": key,
        "ca_certs_file": authority,
        "outbound_routing_lookup_method": "SDS_API",
        "sds_api_url": f"{server.web}{SDS}",
        "sds_api_key": "any",
        "spine_org_code": "YES",
    }


async def register(spine: Server, address: str) -> None:
    """Have the practice's answers sent to the adaptor, and wait until the running service knows."""
    await import_directory(spine.data, live_directory(address))

    async def known() -> bool:
        return address.encode() in (await get(spine.web, ENDPOINT_OF_ANSWERS)).body

    await until(known)


@dataclass(frozen=True)
class Told:
    """What the REST API answered; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()


class Supplier:
    """The supplier's own system: posts messages, reads its queue."""

    def __init__(self, adaptor: Adaptor) -> None:
        self._at = adaptor.outbound
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE))

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Let go of connections."""
        await self._session.close()

    async def send(
        self, interaction: str, payload: bytes | str, *, wait: bool = False, body: object = None, **headers: str
    ) -> Told:
        """Post a message; ``headers`` with underscores for hyphens, ``body`` instead of one with the payload alone."""
        text = payload.decode() if isinstance(payload, bytes) else payload
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {
            "Interaction-Id": interaction,
            "wait-for-response": str(wait).lower(),
            "Content-Type": "application/json",
        }
        return await self.ask("POST", "/", json.dumps(body or {"payload": text}), **(sent | given))

    async def ask(self, method: str, path: str, body: str | bytes = b"", **headers: str) -> Told:
        """Ask anything of the REST API."""
        async with self._session.request(method, self._at + path, data=body or None, headers=headers) as answer:
            headers_of = {name.lower(): value for name, value in answer.headers.items()}
            return Told(answer.status, headers_of, await answer.read())

    async def next_message(self) -> dict[str, Any]:
        """Wait for the next message of the embedded queue, take it, and return it as it was given out."""
        told = await self.ask("GET", f"/queue/messages?wait={PATIENCE // 2}&max=1")
        assert told.status == 200, told.text
        (message,) = json.loads(told.body)["messages"]
        taken = await self.ask("POST", f"/queue/messages/{message['receipt']}/ack")
        assert taken.status in (200, 204), taken.text
        return dict(message)
