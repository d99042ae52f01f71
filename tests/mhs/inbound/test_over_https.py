"""Over real sockets with real certificates: what our own service posts is taken, and by whom it may be posted.

Spec: 50 §3, F15; 40 §6.4.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from delivery.rows import a_row
from mhs.inbound.posting import adaptor, queued, remember, state
from openscr.access import pki
from openscr.delivery.carriers import HttpCarrier
from openscr.errors import DeliveryError
from openscr.listeners import Listener, bind
from openscr.mhs.inbound.application import InboundApplication
from openscr.mhs.states import InboundStatus
from openscr.settings import Address
from openscr.store.interface import OutboxRow
from openscr.testbench.world import PRACTICE_PARTY
from openscr.tls import TlsFiles, caller_tls, server_tls
from openscr.transport.verdict import Verdict, judge

SPINE = "msg.spine.test.example"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pki.create_authority(tmp_path)
    pki.issue(tmp_path, "localhost", dns_names=["127.0.0.1"], usage="server")
    pki.issue(tmp_path, SPINE)
    pki.issue(tmp_path, "other.test.example")
    return tmp_path


def files(folder: Path, name: str) -> TlsFiles:
    return TlsFiles(certificate=folder / f"{name}.pem", key=folder / f"{name}.key", authorities=folder / "ca.pem")


@asynccontextmanager
async def listening(application: InboundApplication, folder: Path) -> AsyncIterator[str]:
    socket = bind(Address("127.0.0.1", 0), "inbound")
    listener = Listener(application, socket, tls=server_tls(files(folder, "localhost")), grace=1.0)
    await listener.start()
    try:
        yield f"{listener.url}/reliablemessaging/inbound"
    finally:
        listener.stop_accepting()
        await listener.stopped()


@asynccontextmanager
async def spine(folder: Path, name: str = SPINE) -> AsyncIterator[HttpCarrier]:
    """What our service delivers with."""
    carrier = HttpCarrier(caller_tls(files(folder, name)))
    try:
        yield carrier
    finally:
        await carrier.close()


def headers_of(row: OutboxRow) -> dict[str, str]:
    return {"Content-Type": row.content_type, "SOAPAction": row.soap_action}


async def test_what_our_service_delivers_is_taken_and_acknowledged(folder: Path) -> None:
    """Twenty replies at once over several connections, and each a second time."""
    context = await adaptor(secret_party_key=PRACTICE_PARTY, inbound_allowed_names=(SPINE,))
    rows = [a_row(number) for number in range(1, 21)]
    for row in rows:
        await remember(context, message_id=row.ref_to_message_id)
    async with listening(InboundApplication(context), folder) as url, spine(folder) as carrier:
        answers = await asyncio.gather(*[carrier.post(url, headers_of(row), row.body) for row in rows * 2])
    for row, answer in zip(rows * 2, answers, strict=True):
        assert (answer.status, judge(answer.status, answer.body, row.id).verdict) == (200, Verdict.DELIVERED)
        assert (await state(context, row.ref_to_message_id)).inbound_status is InboundStatus.PROCESSED
    assert {message.message_id for message in await queued(context)} == {row.ref_to_message_id for row in rows}
    assert len(await queued(context)) == len(rows)


async def test_a_message_to_somebody_else_is_refused_for_good(folder: Path) -> None:
    """40 §6.4: our service does not try again."""
    context = await adaptor(secret_party_key="SOMEBODY-ELSE")
    row = a_row()
    async with listening(InboundApplication(context), folder) as url, spine(folder) as carrier:
        answer = await carrier.post(url, headers_of(row), row.body)
    verdict = judge(answer.status, answer.body, row.id)
    assert (verdict.verdict, verdict.texts) == (Verdict.REFUSED, ("501314:Invalid To Party Type attribute",))


async def test_an_unknown_reference_is_tried_again(folder: Path) -> None:
    """40 §9: the state of the request may not be visible yet."""
    context = await adaptor(secret_party_key=PRACTICE_PARTY)
    row = a_row()
    async with listening(InboundApplication(context), folder) as url, spine(folder) as carrier:
        answer = await carrier.post(url, headers_of(row), row.body)
        assert (answer.status, answer.body) == (500, b"500: Unknown message reference")
        assert judge(answer.status, answer.body, row.id).verdict is Verdict.RETRY
        await remember(context, message_id=row.ref_to_message_id)
        assert (await carrier.post(url, headers_of(row), row.body)).status == 200


async def test_f15_another_certificate_of_the_authority_is_refused(folder: Path) -> None:
    context = await adaptor(secret_party_key=PRACTICE_PARTY, inbound_allowed_names=(SPINE,))
    row = a_row()
    async with (
        listening(InboundApplication(context), folder) as url,
        spine(folder, "other.test.example") as carrier,
    ):
        answer = await carrier.post(url, headers_of(row), row.body)
    assert (answer.status, answer.body[:3]) == (403, b"403")
    assert await queued(context) == []


async def test_without_a_certificate_nobody_comes_in(folder: Path) -> None:
    context = await adaptor()
    carrier = HttpCarrier(ssl.create_default_context(cafile=folder / "ca.pem"), tries=1)
    try:
        async with listening(InboundApplication(context), folder) as url:
            with pytest.raises(DeliveryError):
                await carrier.post(url, {}, b"")
    finally:
        await carrier.close()
