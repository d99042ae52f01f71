"""Kill -9 after a message is stored and before it is acknowledged: nothing lost, nothing twice. Spec: 50 A3, E5, F4."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mhs import rig
from mhs.inbound.posting import CONTENT_TYPE, envelope, header_part, multipart, payload_part
from openscr.delivery.carriers import HttpCarrier
from openscr.errors import DeliveryError
from openscr.mhs.states import InboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, Transaction
from openscr.mhs.store.opening import open_store
from serving import clean_environment
from shared import PROJECT

MESSAGES = 30


def request_id(number: int) -> str:
    return f"3F2504E0-4F89-41D3-9A0C-{number:012d}"


def reply(number: int) -> bytes:
    values = {"RefToMessageId": request_id(number), "MessageId": f"8C7E0F34-1B6A-4F0B-9C9D-{number:012d}"}
    return multipart(header_part(envelope(**values)), payload_part(f"<reply>{number}</reply>"))


@contextmanager
def serving(folder: Path, dies_at: int) -> Iterator[str]:
    """Run a server of its own; one that is to die has died at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mhs.inbound.dying_server", str(folder), str(dies_at)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=PROJECT / "tests",
        env=clean_environment(),
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        _, _ = process.communicate("", timeout=30)
    assert process.returncode == (-signal.SIGKILL if dies_at else 0)


async def post_all(url: str, numbers: list[int]) -> dict[int, bytes]:
    """Post at once, and return the acknowledgements of those that had one."""
    carrier = HttpCarrier(None, tries=1)

    async def post_one(number: int) -> bytes | None:
        try:
            answer = await carrier.post(url, {"Content-Type": CONTENT_TYPE}, reply(number))
        except DeliveryError:
            return None
        assert answer.status == 200
        return answer.body

    try:
        bodies = await asyncio.gather(*map(post_one, numbers))
    finally:
        await carrier.close()
    return {number: body for number, body in zip(numbers, bodies, strict=True) if body is not None}


async def test_a3_after_inbound_store_before_ack(tmp_path: Path) -> None:
    """Whoever has had no acknowledgement posts again; the supplier sees every reply once."""
    store = open_store(rig.settings(data=tmp_path))
    await store.open()

    async def remember(transaction: Transaction) -> None:
        for number in range(MESSAGES):
            row = MessageRow(request_id(number), rig.TestClock()(), Workflow.ASYNC_RELIABLE)
            await transaction.put_message(row)

    await store.transact(remember)
    await store.close()

    acknowledged: dict[int, bytes] = {}
    for dies_at in (1, 7):
        missing = [number for number in range(MESSAGES) if number not in acknowledged]
        with serving(tmp_path, dies_at) as url:
            acknowledged |= await post_all(url, missing)
    assert len(acknowledged) < MESSAGES
    with serving(tmp_path, 0) as url:
        again = await post_all(url, list(range(MESSAGES)))
    assert len(again) == MESSAGES
    assert {number: again[number] for number in acknowledged} == acknowledged, "the same acknowledgement"

    store = open_store(rig.settings(data=tmp_path))
    await store.open()
    try:
        now = rig.TestClock()()
        queued = [leased.message for leased in await store.lease_queue(now, now, 1000)]
        assert sorted(message.message_id for message in queued) == [request_id(number) for number in range(MESSAGES)]
        for number in range(MESSAGES):
            row = await store.find_message(request_id(number))
            assert row is not None
            assert row.inbound_status is InboundStatus.PROCESSED
        assert await store.verify_audit() is None
    finally:
        await store.close()
