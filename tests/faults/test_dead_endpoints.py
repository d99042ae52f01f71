"""A client's endpoint that is dead for an hour: its acknowledgements come later, or are listed and can be sent again.

The hour is as long as its contracts make it: twenty attempts under one that waits three minutes between them, here a
twentieth of a second; one that gives up after five minutes has long given up by then.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from journeys.endpoint import ClientEndpoint
from journeys.messages import HOSPITAL, PRACTICE, Client, Mail, fresh_patient
from journeys.runner import Server, command, faults_of, import_directory, live_directory, outbox_rows, until
from journeys.wire import signal_of
from openscr.store.interface import OutboxRow, OutboxState
from openscr.testbench.world import HOSPITAL_PARTY, PRACTICE_PARTY

AN_HOUR = 20
"""Attempts of the patient contract within it."""

PATIENT = {"retries": 999, "retry_interval": "PT0.05S", "persist_duration": "PT1H"}
HASTY = {"retries": 2, "retry_interval": "PT0.02S", "persist_duration": "PT0.5S"}


def two_parties(practice: str, hospital: str) -> dict[str, Any]:
    """Return a directory of a practice that is waited for, and a hospital that is given up soon."""
    directory = live_directory(practice, **PATIENT)
    directory["contracts"]["hasty"] = directory["contracts"]["reliable"] | HASTY
    for endpoint in directory["endpoints"]:
        if endpoint["party_key"] == HOSPITAL_PARTY and endpoint.get("contract") == "client":
            endpoint |= {"address": hospital, "contract": "hasty"}
    return directory


async def owed(data: Path) -> dict[str, list[OutboxRow]]:
    """Return what still waits, by party."""
    rows: dict[str, list[OutboxRow]] = {PRACTICE_PARTY: [], HOSPITAL_PARTY: []}
    for row in await outbox_rows(data):
        rows[row.to_party].append(row)
    return rows


async def test_acknowledgements_wait_for_an_endpoint_that_is_dead_for_an_hour(
    any_data: Path, any_start: Callable[..., Server]
) -> None:
    """Delivered by itself, or listed as failed and sent by ``outbox resend``; each under its one MessageId.

    In the middle of the hour the service is killed as well. Spec: 40 §6.3; 00 §4 ``admin outbox``.
    """
    async with ClientEndpoint() as practice, ClientEndpoint() as hospital:
        ports = practice.port, hospital.port
        await import_directory(any_data, two_parties(practice.url, hospital.url))
    server = await asyncio.to_thread(any_start, patient_index="open")

    async def work(client: Client, certificate: str) -> Mail:
        mail = client.upload(fresh_patient())
        signal_of(await mail.post().to(server.spine, server.tls(certificate)))
        return mail

    async def hour_over() -> bool:
        await asyncio.sleep(0.25)  # between two looks: the machine is for the service
        rows = await owed(any_data)
        patient = [row.attempts for row in rows[PRACTICE_PARTY]]
        return min(patient) >= AN_HOUR and {row.state for row in rows[HOSPITAL_PARTY]} == {OutboxState.FAILED}

    sent: dict[str, list[Mail]] = {PRACTICE_PARTY: [], HOSPITAL_PARTY: []}
    for again in (False, True):
        for _ in range(2):
            sent[PRACTICE_PARTY].append(await work(PRACTICE, "gp.client.test"))
            sent[HOSPITAL_PARTY].append(await work(HOSPITAL, "viewer.client.test"))
        if not again:
            await asyncio.to_thread(server.kill)
            server = await asyncio.to_thread(any_start, patient_index="open")
    await until(hour_over)

    rows = await owed(any_data)
    for party, mails in sent.items():
        assert sorted(row.ref_to_message_id for row in rows[party]) == sorted(mail.message_id for mail in mails)
    listed = json.loads(await command(any_data, "admin", "outbox", "list", "--state", "failed", "--json"))
    assert {one["message_id"] for one in listed} == {row.id for row in rows[HOSPITAL_PARTY]}
    assert {(one["party_key"], one["attempts"]) for one in listed} <= {(HOSPITAL_PARTY, n) for n in (1, 2, 3)}

    async with ClientEndpoint(port=ports[0]) as practice, ClientEndpoint(port=ports[1]) as hospital:
        # Whoever is waited for needs nobody's help.
        for mail in sent[PRACTICE_PARTY]:
            await practice.received_in_answer_to(mail.message_id)
        assert hospital.deliveries == []
        assert str(len(listed)) in await command(any_data, "admin", "outbox", "resend", "--failed")

        async def nothing_owed() -> bool:
            return await outbox_rows(any_data) == []

        await until(nothing_owed)
        for party, endpoint in ((PRACTICE_PARTY, practice), (HOSPITAL_PARTY, hospital)):
            arrived = {delivery.envelope.message_id: delivery for delivery in endpoint.deliveries}
            assert {row.id: row.body for row in rows[party]} == {one: arrived[one].body for one in arrived}
            assert len(arrived) == len(endpoint.deliveries)
            # The hospital may not upload, and is told so as reliably.
            accepted = {delivery.acknowledgement.outcome.accepted for delivery in endpoint.deliveries}
            assert accepted == {party == PRACTICE_PARTY}
    assert await faults_of(any_data) == ()
