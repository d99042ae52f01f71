"""An adaptor between a supplier and a stub Spine: mutual TLS both ways, routes out of a file, nothing else needed."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from journeys.adaptor import Adaptor, Supplier, Told
from journeys.runner import client_context, server_context, until
from mhs.rig import CPA_ID, PARTY_KEY, SPINE_ASID, SPINE_PARTY
from mhs.stub_spine import Behaviour, Received, Replying, StubSpine, acknowledge, post_to_inbound, reply_message
from openscr.access.pki import create_authority, issue
from openscr.codes import ACKNOWLEDGEMENT, VERSION_CODE
from openscr.hl7.acknowledgement import write_acknowledgement
from openscr.hl7.wrapper import Heading
from openscr.identifiers import mint_uuid
from openscr.spine import AckType, Outcome

SPINE = "spine.test.example"
SYSTEM = "supplier.test.example"
"""Names of the two certificates: the Spine's, and the supplier's system's, which is the adaptor's."""

SHORT = {"retries": 2, "retry_interval": "PT0.2S", "persist_duration": "PT60S"}
"""A contract of three attempts that follow each other soon."""
PATIENT = {"retries": 200, "retry_interval": "PT0.25S", "persist_duration": "PT120S"}
"""A contract whose attempts outlast whatever a test does to the Spine."""

SERVICES = ("psis", "psisquery", "pdsquery", "gp2gp", "ebs", "lrs", "lrsquery")


def issue_certificates(folder: Path) -> Path:
    """Make an authority, and a certificate for each side of the adaptor's conversations with the Spine."""
    create_authority(folder)
    for name in (SPINE, SYSTEM):
        issue(folder, name, dns_names=["127.0.0.1"], usage="both")
    return folder


def spine_tls(pki: Path) -> ssl.SSLContext:
    """Return what the stub Spine listens with: who calls it needs a certificate."""
    return server_context(pki, SPINE)


def settings_of(spine_url: str, pki: Path, **contract: object) -> dict[str, Any]:
    """Return the settings of an adaptor whose every message goes to one address; its routes lie beside the keys."""
    route = {
        "interactions": [f"{service}:*" for service in SERVICES],
        "address": spine_url,
        "party_key": SPINE_PARTY,
        "asid": SPINE_ASID,
        "cpa_id": CPA_ID,
    } | {f"contract.{name}": value for name, value in (contract or SHORT).items()}
    file = pki / f"routes-{mint_uuid()}.toml"
    # Texts, numbers and arrays are written in TOML as in JSON.
    file.write_text("\n".join(["[[route]]", *(f"{name} = {json.dumps(value)}" for name, value in route.items())]))
    return {
        "secret_party_key": PARTY_KEY,
        "client_cert_file": pki / f"{SYSTEM}.pem",
        "client_key_file": pki / f"{SYSTEM}.key",
        "ca_certs_file": pki / "ca.pem",
        "routes_file": file,
        "forward_reliable_endpoint_url": spine_url,
    }


# --- what the Spine says ----------------------------------------------------------------------------------------------


def acceptance_of(received: Received) -> bytes:
    """Write the application acknowledgement of a message: accepted."""
    envelope = received.envelope
    heading = Heading(mint_uuid(), "20261123120000", VERSION_CODE, "200000000115", SPINE_ASID)
    return write_acknowledgement(heading, Outcome(AckType.ACCEPTED, ()), envelope.message_id, envelope.action)


class Answering(Replying):
    """Posts the reply to each message that the Spine has taken: by default that it is accepted."""

    def __init__(
        self,
        inbound: str,
        tls: ssl.SSLContext,
        payload_for: Callable[[Received], bytes] = acceptance_of,
        *,
        action: str = ACKNOWLEDGEMENT,
    ) -> None:
        super().__init__(inbound, b"", tls=tls)
        self._url = inbound
        self._context = tls
        self._payload_for = payload_for
        self._action = action

    async def reply_to(self, received: Received) -> None:
        """Answer one message."""
        headers, body = reply_message(received.envelope, self._payload_for(received), action=self._action)
        self.answers.append(await post_to_inbound(self._url, headers, body, tls=self._context))


@dataclass
class Estate:
    """What a test speaks with."""

    spine: StubSpine
    adaptor: Adaptor
    supplier: Supplier
    pki: Path

    @property
    def caller(self) -> ssl.SSLContext:
        """What the Spine calls the adaptor with."""
        return client_context(self.pki, SPINE)

    def script(self, *behaviours: Behaviour, replying: bool = False, **how: Any) -> None:
        """Begin anew: the Spine has had no message, behaves like this, and replies to what it takes if it is told to.

        ``how`` is for `Answering`.
        """
        self.spine.received.clear()
        self.spine.script(*behaviours or (acknowledge,))
        self.spine.replies = Answering(self.adaptor.inbound, self.caller, **how) if replying else None

    async def post(self, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Post to the adaptor as the Spine."""
        return await post_to_inbound(self.adaptor.inbound, headers, body, tls=self.caller)


@asynccontextmanager
async def estate(data: Path, pki: Path, **settings: object) -> AsyncIterator[Estate]:
    """Run a stub Spine and an adaptor with one supplier."""
    async with StubSpine(tls=spine_tls(pki)) as spine:
        given = settings_of(spine.url, pki) | settings
        adaptor = await asyncio.to_thread(Adaptor.start, data, **given)
        try:
            async with Supplier(adaptor) as supplier:
                yield Estate(spine, adaptor, supplier, pki)
        finally:
            assert await asyncio.to_thread(adaptor.stop) == 0


# --- what the adaptor knows -------------------------------------------------------------------------------------------


async def state(supplier: Supplier, message_id: str) -> dict[str, Any]:
    """Return what is told of a message."""
    told = await supplier.ask("GET", f"/messages/{message_id}")
    assert told.status == 200, told.text
    return dict(json.loads(told.body))


async def comes_to_be(supplier: Supplier, message_id: str, **fields: str | None) -> None:
    """Wait until the state of a message has these fields: some of them are kept once its supplier has its answer."""
    seen: list[dict[str, Any]] = []

    async def so() -> bool:
        seen[:] = [await state(supplier, message_id)]
        return all(seen[0][name] == value for name, value in fields.items())

    try:
        await until(so)
    except TimeoutError:
        raise AssertionError(f"not {fields} but {seen}") from None


async def queue_stats(supplier: Supplier) -> dict[str, Any]:
    """Return how the embedded queue stands."""
    return dict(json.loads((await supplier.ask("GET", "/queue/stats")).body))


async def queued_now(supplier: Supplier) -> list[dict[str, Any]]:
    """Return what can be taken from the embedded queue now, and take it."""
    told: Told = await supplier.ask("GET", "/queue/messages?max=100")
    messages = json.loads(told.body)["messages"]
    for message in messages:
        await supplier.ask("POST", f"/queue/messages/{message['receipt']}/ack")
    return list(messages)
