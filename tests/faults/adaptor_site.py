"""A place where adaptors run one after the other on one store, with a Spine that is there or is not."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from journeys.adaptor import Adaptor
from journeys.runner import client_context
from journeys.stub_estate import PATIENT, SPINE, acceptance_of, issue_certificates, settings_of, spine_tls
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from mhs.stub_spine import Behaviour, Received, StubSpine, post_to_inbound, reply_message
from openscr.identifiers import mint_uuid
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.interface import SendingRow, Transaction
from openscr.mhs.store.opening import open_store


@dataclass
class Site:
    """A data folder, and the adaptors that run on it one after the other."""

    data: Path
    pki: Path
    port: int
    """Where the Spine is, whenever there is one."""
    running: list[Adaptor] = field(default_factory=list)

    @asynccontextmanager
    async def spine(self, *behaviours: Behaviour) -> AsyncIterator[StubSpine]:
        """Have a Spine where the routes say that it is."""
        async with StubSpine(*behaviours, tls=spine_tls(self.pki), port=self.port) as stub:
            yield stub

    async def start(self, role: str = "serve", **settings: object) -> Adaptor:
        """Start an adaptor whose messages are sent until they are taken."""
        given = settings_of(f"https://127.0.0.1:{self.port}/reliable", self.pki, **PATIENT) | settings
        adaptor = await asyncio.to_thread(Adaptor.start, self.data, role, **given)
        self.running.append(adaptor)
        return adaptor

    async def post(self, adaptor: Adaptor, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        """Post to an adaptor as the Spine."""
        return await post_to_inbound(adaptor.inbound, headers, body, tls=client_context(self.pki, SPINE))

    async def reply(self, adaptor: Adaptor, received: Received) -> None:
        """Post that a message is accepted, which must be acknowledged."""
        status, answer = await self.post(adaptor, *reply_message(received.envelope, acceptance_of(received)))
        assert (status, b"<eb:Acknowledgment " in answer) == (200, True), answer

    async def unsolicited(self, adaptor: Adaptor) -> tuple[dict[str, str], bytes, str]:
        """Post a message that nobody asked for; it is acknowledged. Return its headers, body and id."""
        message_id = mint_uuid()
        header = envelope(Action="COPC_IN000001UK01", RefToMessageId=None, MessageId=message_id)
        headers, body = {"Content-Type": CONTENT_TYPE}, multipart(header_part(header), payload_part("<a/>"))
        status, answer = await self.post(adaptor, headers, body)
        assert (status, b"<eb:Acknowledgment " in answer) == (200, True)
        return headers, body, message_id

    async def still_to_be_sent(self, message_id: str) -> SendingRow | None:
        """Return what the store holds to be sent for a message; nothing runs on it now."""
        settings = MhsSettings(secret_party_key="any", client_cert_file="any", data=self.data / "mhs")  # type: ignore[arg-type]
        store = open_store(settings)
        await store.open()

        async def find(transaction: Transaction) -> SendingRow | None:
            return await transaction.find_sending(message_id)

        try:
            return await store.transact(find)
        finally:
            await store.close()


def free_port() -> int:
    """Return a port of this machine that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def adaptor_site(folder: Path) -> Iterator[Site]:
    """Make a place for adaptors; whatever still runs at the end is stopped, and stops as it should."""
    made = Site(folder / "data", issue_certificates(folder / "pki"), free_port())
    yield made
    for adaptor in made.running:
        if adaptor.process.poll() is None:
            assert adaptor.stop() == 0
