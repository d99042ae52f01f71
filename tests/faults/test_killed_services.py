"""Services that are killed: what was acknowledged is there, once, and what was owed is delivered, once it can be."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from journeys.endpoint import ClientEndpoint, Delivery, acknowledge
from journeys.messages import PRACTICE, Mail, fresh_patient
from journeys.runner import Server, faults_of, import_directory, live_directory, outbox_rows, stored, until
from journeys.wire import RELIABLE, Answer, Ended, connected, request_bytes, signal_of
from openscr.identifiers import slot_of
from openscr.store.interface import OutboxState

CLIENTS = 4
UPLOADS = 25
KILL_AFTER = (20, 55)
"""Numbers of acknowledged uploads after which the service is killed."""


async def events_of(data: Path, numbers: list[str]) -> dict[str, list[str]]:
    """Return every patient's event ids as the store has them."""
    found = {}
    async with stored(data) as store:
        for number in numbers:
            state = await store.transact(
                slot_of(number), lambda transaction, number=number: transaction.read_patient(number)
            )
            found[number] = [event.event_id for event in state.events]
    return found


async def nothing_owed(data: Path) -> bool:
    """Whether every answer has been acknowledged."""
    return await outbox_rows(data) == []


async def test_an_answer_that_was_owed_when_the_service_died_arrives_after_its_restart(
    data: Path, start: Callable[..., Server]
) -> None:
    """Killed between transport acknowledgement and delivery: the same MessageId, the same bytes. Spec: 40 §6.3."""
    async with ClientEndpoint(lambda _: None) as endpoint:
        await import_directory(data, live_directory(endpoint.url))
        server = await asyncio.to_thread(start, patient_index="open")
        mail = PRACTICE.upload(fresh_patient())
        first_signal = await mail.post().to(server.spine, server.tls())
        signal_of(first_signal)
        (unanswered,) = await endpoint.received(1)
        await asyncio.to_thread(server.kill)
        (row,) = await outbox_rows(data)
        assert (row.state, row.id) == (OutboxState.OPEN, unanswered.envelope.message_id)

        endpoint.behaviour = acknowledge
        server = await asyncio.to_thread(start, patient_index="open")
        await until(lambda: nothing_owed(data))
        again = endpoint.deliveries[1:]
        assert [delivery.body for delivery in again] == [unanswered.body]
        assert again[0].acknowledgement.outcome.accepted
        assert again[0].envelope.ref_to_message_id == mail.message_id
        # The client whose acknowledgement was lost as well sends again, and is told what it was told before.
        answer = await mail.post().to(server.spine, server.tls())
        assert (answer.status, answer.body) == (first_signal.status, first_signal.body)
        assert len(endpoint.deliveries) == 2
        assert await faults_of(data) == ()


class Restarting:
    """A service that dies in the middle of its work and is started again, on new ports each time."""

    def __init__(self, start: Callable[..., Server]) -> None:
        self._start = start
        self._server: Server | None = None
        self._ready = asyncio.Event()
        self.acknowledged = 0

    async def begin(self) -> None:
        """Start it."""
        self._server = await asyncio.to_thread(self._start, patient_index="open")
        self._ready.set()

    async def die(self) -> None:
        """Kill it in the middle of whatever it does, and start it again."""
        assert self._server is not None
        self._ready.clear()
        await asyncio.to_thread(self._server.kill)
        await self.begin()

    async def send(self, mail: Mail) -> Answer:
        """Send a message until it is acknowledged, the same bytes each time, as a client does."""
        post = mail.post()
        while True:
            await self._ready.wait()
            assert self._server is not None
            try:
                answer = await post.to(self._server.spine, self._server.tls())
            except (OSError, Ended):
                continue
            assert signal_of(answer).ref_to_message_id == mail.message_id
            return answer


async def test_uploads_that_were_acknowledged_survive_every_kill(data: Path, start: Callable[..., Server]) -> None:
    """Clients that retry until they are acknowledged: each upload is there exactly once, and answered by one id."""
    mails = {fresh_patient(): Mail(b"", b"", "", "") for _ in range(CLIENTS * UPLOADS)}
    mails = {number: PRACTICE.upload(number) for number in mails}
    answered: asyncio.Queue[str] = asyncio.Queue()
    signals: dict[str, bytes] = {}

    async with ClientEndpoint() as endpoint:
        await import_directory(data, live_directory(endpoint.url, retry_interval="PT0.1S", retries=9))
        service = Restarting(start)
        await service.begin()

        async def client(share: list[Mail]) -> None:
            for mail in share:
                signals[mail.message_id] = (await service.send(mail)).body
                answered.put_nowait(mail.message_id)

        everything = list(mails.values())
        clients = [asyncio.create_task(client(everything[turn::CLIENTS])) for turn in range(CLIENTS)]
        done = 0
        for limit in KILL_AFTER:
            while done < limit:
                await answered.get()
                done += 1
            await service.die()
        await asyncio.gather(*clients)
        await until(lambda: nothing_owed(data))

        assert await events_of(data, list(mails)) == {number: [mail.event_id] for number, mail in mails.items()}
        ids: dict[str, set[str]] = {}
        for delivery in endpoint.deliveries:
            assert delivery.acknowledgement.outcome.accepted
            ids.setdefault(delivery.envelope.ref_to_message_id or "", set()).add(delivery.envelope.message_id)
        assert {message_id: len(found) for message_id, found in ids.items()} == dict.fromkeys(signals, 1)
        # What was acknowledged before a kill is acknowledged with the same bytes after it.
        for mail in everything[::10]:
            assert (await service.send(mail)).body == signals[mail.message_id]
        assert await faults_of(data) == ()


async def test_a_service_that_is_told_to_stop_finishes_the_request_under_way(
    data: Path, start: Callable[..., Server]
) -> None:
    """SIGTERM in the middle of a body: the rest is read, the answer is given, the exit code is 0. Spec: 00 §4."""

    def never(_: Delivery) -> None:
        return None

    async with ClientEndpoint(never) as endpoint:
        await import_directory(data, live_directory(endpoint.url))
        server = await asyncio.to_thread(start, patient_index="open")
        mail = PRACTICE.upload(fresh_patient())
        request = request_bytes(RELIABLE, mail.post().body, mail.post().headers)
        async with connected(server.spine, server.tls()) as idle, connected(server.spine, server.tls()) as connection:
            await connection.send(request[:-100])
            # The server has read the head: it has answered a later request of another connection.
            signal_of(await PRACTICE.upload(fresh_patient()).post().to(server.spine, server.tls()))
            stopping = asyncio.create_task(asyncio.to_thread(server.stop))
            assert await idle.ended()
            await connection.send(request[-100:])
            assert signal_of(await connection.answer()).ref_to_message_id == mail.message_id
        assert await stopping == 0
    rows = await outbox_rows(data)
    assert mail.message_id in {row.ref_to_message_id for row in rows}
    assert {row.state for row in rows} == {OutboxState.OPEN}
    assert await faults_of(data) == ()
