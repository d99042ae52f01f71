"""More comes than can be done: everybody is answered, whoever tries again gets through, and nothing is done twice."""

import asyncio
import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack

from journeys.messages import HOSPITAL, PRACTICE, Post, fresh_patient, get
from journeys.runner import Server, stored, until
from journeys.wire import Connection, connected, fault_of, request_bytes, signal_of, soap_of
from openscr.codes import ACS_GET_ANSWER
from openscr.identifiers import slot_of
from openscr.store.interface import Transaction
from openscr.testbench.world import PRACTICE_PARTY

Start = Callable[..., Server]
"""Starts a service on the test's data folder."""

SENDERS = 10
MESSAGES = 6
"""Of each sender."""


async def persist(connection: Connection, upload: Post) -> int:
    """Send an upload until it is acknowledged; return how often it was refused. Nothing but a fault 200 refuses it."""
    refused = 0
    while True:
        answer = await connection.exchange(upload.raw())
        if answer.status == 202:
            assert signal_of(answer).kind == "Acknowledgment"
            return refused
        assert fault_of(answer).codes == ("200",)
        refused += 1


async def test_a_backlog_gets_through_beside_others_who_notice_nothing(start: Start) -> None:
    """A practice sends all that it has at once, again and again until it is taken; a hospital asks meanwhile.

    With four places and a queue of three much of it is refused at first, and no query ever is.
    """
    server = start(demo=True, requests_at_work=4, requests_waiting=3, waiting_seconds=0.1)
    backlog = [[PRACTICE.upload(fresh_patient()).post() for _ in range(MESSAGES)] for _ in range(SENDERS)]
    numbers = {upload.message_id: number_in(upload) for own in backlog for upload in own}
    done = asyncio.Event()

    async def send(own: list[Post]) -> int:
        async with connected(server.spine, server.tls()) as connection:
            return sum([await persist(connection, upload) for upload in own])

    async def ask() -> int:
        asked = 0
        async with connected(server.spine, server.tls("viewer.client.test")) as connection:
            while not done.is_set():
                soap_of(await connection.exchange(HOSPITAL.get_consent(fresh_patient()).raw()), ACS_GET_ANSWER)
                asked += 1
        return asked

    asking = asyncio.create_task(ask())
    refused = sum(await asyncio.gather(*(send(own) for own in backlog)))
    done.set()
    assert await asking > 1
    assert refused > 0
    figures = (await get(server.web, "/metrics")).body.decode()
    told = dict(re.findall(r'^openscr_shed_total\{face="spine",reason="(\w+)"\} (\S+)$', figures, re.MULTILINE))
    assert sum(map(float, told.values())) == refused, figures
    assert set(told) <= {"queue", "patience"}

    async def all_answered() -> bool:
        inbox = json.loads((await get(server.web, f"/demo/inbox/{PRACTICE_PARTY}")).body)["messages"]
        answered = Counter(message["ref_to_message_id"] for message in inbox)
        assert set(answered.values()) <= {1}
        return answered.keys() == numbers.keys()

    await until(all_answered)
    assert server.stop() == 0
    async with stored(server.data) as store:
        for number in numbers.values():

            async def events(transaction: Transaction, number: str = number) -> int:
                return len((await transaction.read_patient(number)).events)

            assert await store.transact(slot_of(number), events) == 1


def number_in(upload: Post) -> str:
    """Return the patient of an upload."""
    found = re.search(rb'root="2\.16\.840\.1\.113883\.2\.1\.4\.1" extension="([0-9]{10})"', upload.body)
    assert found is not None
    return found.group(1).decode()


async def test_slow_and_idle_clients_keep_nobody_out_and_who_asks_too_often_only_itself(start: Start) -> None:
    """Of sixteen connections all are taken by those who say half a thing; the rest of the world is served."""
    server = start(demo=True, connections=16, sender_rate=0.001, sender_burst=20)
    viewer = server.tls("viewer.client.test")
    query = HOSPITAL.get_consent(fresh_patient())
    async with AsyncExitStack() as stack:
        for said in ("", "POST /sync-service HTTP/1.1\r\nHost:", "POST /sync-service HTTP/1.1\r\n") * 8:
            slow = await stack.enter_async_context(connected(server.spine, server.tls()))
            await slow.send(said.encode())
        for _ in range(3):
            soap_of(await query.to(server.spine, viewer), ACS_GET_ANSWER)

        held = request_bytes("/sync-service", b"half", (), length=1000)
        for _ in range(16):
            slow = await stack.enter_async_context(connected(server.spine, server.tls()))
            await slow.send(held)
        # Now all are in use: the next one is told so, in the words of the path, as long as it is so.
        async with connected(server.spine, viewer) as next_one:
            assert fault_of(await next_one.exchange(query.raw())).codes == ("200",)
            assert await next_one.ended()
        assert (await get(server.web, "/readyz")).status == 200

    async def served() -> bool:
        return (await query.to(server.spine, viewer)).status == 200

    await until(served)
    async with connected(server.spine, server.tls()) as fast:
        codes = [(await fast.exchange(PRACTICE.get_consent(fresh_patient()).raw())).status for _ in range(22)]
        assert codes[-1] == 500
        assert fault_of(await fast.exchange(PRACTICE.upload(fresh_patient()).post().raw())).codes == ("200",)
    soap_of(await query.to(server.spine, viewer), ACS_GET_ANSWER)
    figures = (await get(server.web, "/metrics")).body.decode()
    assert re.search(r'^openscr_shed_total\{face="spine",reason="sender-rate"\} [1-9]', figures, re.MULTILINE)
    assert re.search(r'^openscr_shed_total\{face="spine",reason="connections"\} [1-9]', figures, re.MULTILINE)
    assert re.search(r'^openscr_requests_held\{face="spine",state="at-work"\} 0', figures, re.MULTILINE)
