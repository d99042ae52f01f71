"""Services that are killed: what was acknowledged is there, once, and what was owed is delivered, once it can be."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from faults.clients import Plan
from faults.crash import AT_WORK, crash
from journeys.endpoint import ClientEndpoint, Delivery, acknowledge
from journeys.messages import PRACTICE, fresh_patient
from journeys.runner import Server, faults_of, import_directory, live_directory, outbox_rows, until
from journeys.wire import RELIABLE, connected, request_bytes, signal_of
from openscr.store.interface import OutboxState


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


async def test_uploads_that_were_acknowledged_survive_every_kill(data: Path) -> None:
    """The crash test in small: five clients on both channels, five kills. ``make soak`` is the large one."""
    plan = Plan(150, 5, reliable_clients=3, polling_clients=2, seed=20261122, consents=30, viewers=1)
    report = await crash(plan, data)
    assert report.faults == [], "\n".join((*report.lines(), *report.faults[:20]))
    assert report.disturbances[AT_WORK] == plan.disturbances
    # The kills hit clients at work.
    assert report.unanswered + report.unanswered_polls > 0
    assert report.attempts > report.messages
    assert report.uploads == report.found_once == plan.uploads
    assert report.consents == report.consents_found_once > 0
    assert report.messages == report.acknowledged == report.audit_rows == report.repeated_at_the_end
    assert report.application_acknowledgements + report.polled == plan.uploads
    assert report.looks > 0
    assert (report.missing, report.twice, report.stale) == (set(), set(), 0)
    assert report.verified == "the store is intact"


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
