"""Receivers that fail: the contract decides how often they are asked, always with the same bytes, and nothing is lost.

Every test runs a service of its own whose directory leads to an endpoint of the test. Contracts are short, and the end
of a run of attempts is read from the outbox: nothing here waits for a time to pass.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from journeys.endpoint import Behaviour, ClientEndpoint, Delivery, Reply, acknowledge
from journeys.messages import PRACTICE, Mail, fresh_patient
from journeys.runner import (
    Server,
    command,
    faults_of,
    import_directory,
    live_directory,
    outbox_rows,
    server_context,
    stored,
    until,
)
from journeys.wire import SIGNALS, post, signal_of
from openscr.access import pki
from openscr.access.pki_revocation import revoke
from openscr.delivery.outbox import reopen
from openscr.errors import EBXML_ERRORS
from openscr.identifiers import ebxml_timestamp, mint_uuid
from openscr.store.interface import OutboxRow, OutboxState
from openscr.testbench.world import HOSPITAL_PARTY, OWN_PARTY, PRACTICE_PARTY, demo_directory
from openscr.transport.ebxml import write_message_error
from openscr.transport.soap import write_fault

INTERMEDIARY = "/reliablemessaging/intermediary"
QUICK = {"retries": 2, "retry_interval": "PT0.05S", "persist_duration": "PT1H"}
"""Three attempts without waiting worth the name."""


def message_error(delivery: Delivery) -> Reply:
    """Refuse a message for good, as a client's MSH does."""
    body = write_message_error(
        from_party=PRACTICE_PARTY,
        to_party=OWN_PARTY,
        cpa_id=delivery.envelope.cpa_id,
        conversation_id=delivery.envelope.conversation_id,
        message_id=mint_uuid(),
        timestamp=ebxml_timestamp(datetime.now(UTC)),
        ref_to_message_id=delivery.envelope.message_id,
        errors=[EBXML_ERRORS["to_party"]],
    )
    return Reply(200, body)


def breaks_off(_: Delivery) -> Reply:
    """Announce nothing that can be read as an answer."""
    return Reply(200, b"<html>no such thing</html>", "text/html")


AGAIN: dict[str, Behaviour] = {
    "nonsense": breaks_off,
    "HTTP 500": lambda _: Reply(500),
    "HTTP 503 with text": lambda _: Reply(503, b"try later", "text/plain"),
    "retriable fault 200": lambda _: Reply(500, write_fault([("200", None)])),
    "retriable faults 206 and 208": lambda _: Reply(500, write_fault([("206", None), ("208", None)])),
    "HTTP 202 without anything": lambda _: Reply(202),
    "HTTP 200 without anything": lambda _: Reply(200),
    "acknowledgement of another message": lambda delivery: acknowledge(delivery, reference=mint_uuid()),
    "half an acknowledgement": lambda delivery: Reply(200, acknowledge(delivery).body[:-20]),
}
"""Answers after which the message is sent again. Spec: 40 §6.4."""

NEVER: dict[str, Behaviour] = {
    "MessageError": message_error,
    "fault 201": lambda _: Reply(500, write_fault([("201", None)])),
    "faults 200 and 300": lambda _: Reply(500, write_fault([("200", None), ("300", None)])),
    "HTTP 404": lambda _: Reply(404),
    "HTTP 403": lambda _: Reply(403, b"who are you", "text/plain"),
}
"""Answers after which it is not."""

DONE: dict[str, Behaviour] = {
    "HTTP 200 and an acknowledgement": acknowledge,
    "HTTP 202 and an acknowledgement": lambda delivery: Reply(202, acknowledge(delivery).body),
    "HTTP 202 and something else": lambda _: Reply(202, b"<accepted/>"),
    "a lower-case reference": lambda delivery: acknowledge(delivery, reference=delivery.envelope.message_id.lower()),
}
"""Answers after which it is delivered."""


async def upload_to(server: Server) -> Mail:
    """Upload a summary of a fresh patient; transport acknowledges it whatever its answer will meet."""
    mail = PRACTICE.upload(fresh_patient())
    assert signal_of(await mail.post().to(server.spine, server.tls())).kind == "Acknowledgment"
    return mail


async def live(data: Path, start: Callable[..., Server], address: str, **settings: object) -> Server:
    """Start a live service whose answers go to ``address`` under a quick contract."""
    await import_directory(data, live_directory(address, **QUICK))
    return await asyncio.to_thread(start, patient_index="open", **settings)


async def ended_row(data: Path, state: OutboxState) -> OutboxRow:
    """Return the one row of the outbox once it has come to this state."""

    async def reached() -> bool:
        rows = await outbox_rows(data)
        return len(rows) == 1 and rows[0].state is state

    await until(reached)
    (row,) = await outbox_rows(data)
    return row


async def delivered(data: Path) -> None:
    """Wait until nothing is left in the outbox."""

    async def empty() -> bool:
        return await outbox_rows(data) == []

    await until(empty)


async def open_again(data: Path, row: OutboxRow) -> None:
    """Do what the operator's ``outbox resend`` does."""
    async with stored(data) as store:
        await store.change_outbox(reopen(row, datetime.now(UTC)))


async def test_answers_decide_whether_a_message_is_sent_again(data: Path, start: Callable[..., Server]) -> None:
    """Every kind of answer, its number of attempts, and the same MessageId and bytes each time. Spec: 40 §6.3, §6.4."""
    expected = dict.fromkeys(AGAIN, 3) | dict.fromkeys(NEVER, 1)
    mails = {name: PRACTICE.upload(fresh_patient()) for name in (*AGAIN, *NEVER, *DONE)}
    name_of = {mail.message_id: name for name, mail in mails.items()}
    answers = AGAIN | NEVER | DONE
    attempts: dict[str, list[Delivery]] = {name: [] for name in mails}

    def by_message(delivery: Delivery) -> Reply | None:
        name = name_of[delivery.envelope.ref_to_message_id or ""]
        attempts[name].append(delivery)
        return answers[name](delivery)

    async def all_given_up() -> bool:
        rows = await outbox_rows(data)
        return len(rows) == len(expected) and all(row.state is OutboxState.FAILED for row in rows)

    async with ClientEndpoint(by_message) as endpoint:
        server = await live(data, start, endpoint.url)
        for mail in mails.values():
            assert signal_of(await mail.post().to(server.spine, server.tls())).kind == "Acknowledgment"
        await until(all_given_up)
        rows = {name_of[row.ref_to_message_id]: row for row in await outbox_rows(data)}
        assert set(rows) == set(expected)
        assert {name: len(attempts[name]) for name in DONE} == dict.fromkeys(DONE, 1)
        assert {name: len(attempts[name]) for name in rows} == expected
        for name, row in rows.items():
            assert {delivery.body for delivery in attempts[name]} == {row.body}, name
            assert {delivery.envelope.message_id for delivery in attempts[name]} == {row.id}, name
            assert (row.attempts, row.next_attempt_at) == (expected[name], None), name
            assert row.last_error, name
        # Given up, but not forgotten: opened again, the same bytes arrive.
        endpoint.behaviour = acknowledge
        endpoint.deliveries.clear()
        for row in rows.values():
            await open_again(data, row)
        await delivered(data)
        assert sorted(delivery.body for delivery in endpoint.deliveries) == sorted(row.body for row in rows.values())
        assert all(delivery.acknowledgement.outcome.accepted for delivery in endpoint.deliveries)
        assert await faults_of(data) == ()


async def test_a_receiver_that_recovers_gets_its_message(data: Path, start: Callable[..., Server]) -> None:
    def third_time_lucky(delivery: Delivery) -> Reply:
        return acknowledge(delivery) if len(endpoint.deliveries) == 2 else Reply(500)

    async with ClientEndpoint(third_time_lucky) as endpoint:
        server = await live(data, start, endpoint.url)
        await upload_to(server)
        await delivered(data)
        assert len(endpoint.deliveries) == 3
        assert len({delivery.body for delivery in endpoint.deliveries}) == 1


async def test_a_receiver_that_never_answers_is_left_in_the_end(data: Path, start: Callable[..., Server]) -> None:
    """Slow for good: each attempt ends with the setting's patience, others are delivered meanwhile."""

    def slow_for_the_first(delivery: Delivery) -> Reply | None:
        return None if delivery.envelope.ref_to_message_id == first else acknowledge(delivery)

    first = ""
    async with ClientEndpoint(lambda _: None) as endpoint:
        server = await live(data, start, endpoint.url, delivery_timeout=0.3)
        mail = await upload_to(server)
        first = mail.message_id
        endpoint.behaviour = slow_for_the_first
        await endpoint.received(1)
        other = await upload_to(server)
        await endpoint.received_in_answer_to(other.message_id)
        row = await ended_row(data, OutboxState.FAILED)
        assert (row.attempts, row.last_error) == (3, "no answer in time")
        assert sum(delivery.envelope.ref_to_message_id == first for delivery in endpoint.deliveries) == 3


async def test_a_receiver_that_is_down_gets_its_message_when_it_is_up(data: Path, start: Callable[..., Server]) -> None:
    async with ClientEndpoint() as endpoint:
        port = endpoint.port
    server = await live(data, start, f"http://127.0.0.1:{port}/")
    mail = await upload_to(server)
    row = await ended_row(data, OutboxState.FAILED)
    assert (row.attempts, row.last_error) == (3, "no connection")
    (listed,) = json.loads(await command(data, "admin", "outbox", "list", "--state", "failed", "--json"))
    assert (listed["message_id"], listed["attempts"], listed["party_key"]) == (row.id, 3, PRACTICE_PARTY)
    async with ClientEndpoint(port=port) as endpoint:
        assert "1" in await command(data, "admin", "outbox", "resend", row.id)
        await delivered(data)
        assert [delivery.body for delivery in endpoint.deliveries] == [row.body]
        assert endpoint.deliveries[0].envelope.ref_to_message_id == mail.message_id


async def test_a_receiver_whose_certificate_is_foreign_is_told_nothing(
    data: Path, start: Callable[..., Server]
) -> None:
    tls = server_context(data / "pki", "foreign")
    async with ClientEndpoint(tls=tls) as endpoint:
        server = await live(data, start, endpoint.url)
        await upload_to(server)
        row = await ended_row(data, OutboxState.FAILED)
        assert row.last_error == "the receiver's certificate is not trusted"
        assert endpoint.deliveries == []


async def test_a_receiver_whose_certificate_is_revoked_is_told_nothing(
    data: Path, start: Callable[..., Server]
) -> None:
    """The lists count for those whom we call as for those who call us. Spec: 35 §3.1."""
    pki.issue(data / "pki", "gp.client.test", name="revoked", usage="both")
    revoke(data / "pki", "revoked")
    async with ClientEndpoint(tls=server_context(data / "pki", "revoked")) as endpoint:
        port = endpoint.port
        await upload_to(await live(data, start, endpoint.url))
        row = await ended_row(data, OutboxState.FAILED)
        assert row.last_error == "the receiver's certificate is not trusted"
        assert endpoint.deliveries == []
    async with ClientEndpoint(tls=server_context(data / "pki", "gp.client.test"), port=port) as endpoint:
        await open_again(data, row)
        await delivered(data)
        assert [delivery.body for delivery in endpoint.deliveries] == [row.body]


async def test_a_receiver_that_is_revoked_is_told_nothing_over_a_connection_that_was_kept(
    data: Path, start: Callable[..., Server]
) -> None:
    pki.issue(data / "pki", "gp.client.test", name="receiver", usage="both")
    async with ClientEndpoint(tls=server_context(data / "pki", "receiver")) as endpoint:
        server = await live(data, start, endpoint.url)
        await upload_to(server)
        await delivered(data)
        revoke(data / "pki", "receiver")

        async def taken() -> bool:
            return "changed TLS files taken" in server.log.read_text()

        await until(taken)
        await upload_to(server)
        row = await ended_row(data, OutboxState.FAILED)
        assert row.last_error == "the receiver's certificate is not trusted"
        assert len(endpoint.deliveries) == 1


async def test_a_receiver_whose_certificate_names_another_party_is_told_nothing(
    data: Path, start: Callable[..., Server]
) -> None:
    """It is of the authority that we trust, but not the one that the answer is for; with the right one it is told."""
    async with ClientEndpoint(tls=server_context(data / "pki", "viewer.client.test")) as endpoint:
        port = endpoint.port
        server = await live(data, start, endpoint.url)
        await upload_to(server)
        row = await ended_row(data, OutboxState.FAILED)
        assert row.last_error == "the receiver's certificate names another"
        assert endpoint.deliveries == []
    async with ClientEndpoint(tls=server_context(data / "pki", "gp.client.test"), port=port) as endpoint:
        await open_again(data, row)
        await delivered(data)
        assert [delivery.body for delivery in endpoint.deliveries] == [row.body]


async def test_a_receiver_that_registered_no_name_is_told(data: Path, start: Callable[..., Server]) -> None:
    async with ClientEndpoint(tls=server_context(data / "pki", "viewer.client.test")) as endpoint:
        nameless = live_directory(endpoint.url, **QUICK)
        for party in nameless["parties"]:
            if party["party_key"] == PRACTICE_PARTY:
                # It can still be told; what it sends itself comes by the name of another.
                party["fqdn"] = []
            if party["party_key"] == HOSPITAL_PARTY:
                party["fqdn"] = ["elsewhere.test"]
        await import_directory(data, nameless)
        server = await asyncio.to_thread(start, patient_index="open", demo=True)
        mail = PRACTICE.upload(fresh_patient())
        signal_of(await mail.post().to(server.web))
        assert (await endpoint.received_in_answer_to(mail.message_id)).acknowledgement.outcome.accepted


async def test_a_refusal_that_is_posted_later_ends_the_row(data: Path, start: Callable[..., Server]) -> None:
    """A MessageError on its own, from the receiver's own certificate. Spec: 40 §6.3 step 3, §9."""
    async with ClientEndpoint(lambda _: Reply(503)) as endpoint:
        await import_directory(data, live_directory(endpoint.url, **QUICK | {"retry_interval": "PT10M"}))
        server = await asyncio.to_thread(start, patient_index="open")
        await upload_to(server)
        (delivery,) = await endpoint.received(1)
    headers = [("Content-Type", "text/xml"), ("SOAPAction", f"{SIGNALS}/MessageError")]
    body = message_error(delivery).body
    for certificate, state in (("viewer.client.test", OutboxState.OPEN), ("gp.client.test", OutboxState.FAILED)):
        answer = await post(server.spine, INTERMEDIARY, body, headers, server.tls(certificate))
        assert (answer.status, answer.body) == (200, b"")
        (row,) = await outbox_rows(data)
        assert row.state is state


async def test_a_party_without_an_endpoint_gets_its_answer_once_it_has_one(
    data: Path, start: Callable[..., Server]
) -> None:
    """Undeliverable rows are kept as outcomes and rendered when there is somewhere to send them. Spec: 40 §6.3."""
    nowhere = live_directory("inbox:")
    nowhere["endpoints"] = [e for e in nowhere["endpoints"] if e["party_key"] != PRACTICE_PARTY]
    await import_directory(data, nowhere)
    server = await asyncio.to_thread(start, patient_index="open")
    mail = await upload_to(server)
    row = await ended_row(data, OutboxState.UNDELIVERABLE)
    assert (row.body, row.attempts) == (b"", 0)
    async with ClientEndpoint() as endpoint:
        await import_directory(data, live_directory(endpoint.url, **QUICK))
        # The running service takes the new directory by itself; until it has, the row comes back as undeliverable.

        async def gone() -> bool:
            rows = await outbox_rows(data)
            for waiting in rows:
                if waiting.state is OutboxState.UNDELIVERABLE:
                    await open_again(data, waiting)
            return rows == []

        await until(gone)
        (delivery,) = endpoint.deliveries
    assert delivery.envelope.message_id == row.id
    assert delivery.envelope.ref_to_message_id == mail.message_id
    assert delivery.acknowledgement.outcome.accepted


async def test_a_receiver_of_another_service_is_not_reached_through_the_demo(
    data: Path, start: Callable[..., Server]
) -> None:
    """``inbox:`` leads somewhere in a demo only; elsewhere it is an address that cannot be reached."""
    await import_directory(data, live_directory("inbox:"))
    assert b'"inbox:"' in demo_directory()
    server = await asyncio.to_thread(start, patient_index="open")
    await upload_to(server)
    row = await ended_row(data, OutboxState.UNDELIVERABLE)
    assert row.last_error == "address not reachable from this service"


@pytest.mark.parametrize("words", ["9990012318", "Sample"])
async def test_what_a_receiver_says_of_its_error_is_not_logged(
    data: Path, start: Callable[..., Server], words: str
) -> None:
    """Nobody knows what stands in a partner's texts; they could name a patient. Spec: 00 §7."""

    def chatty(delivery: Delivery) -> Reply:
        text = message_error(delivery).body.decode()
        return Reply(200, text.replace("ValueNotRecognized", words).replace("501314", words).encode())

    async with ClientEndpoint(chatty) as endpoint:
        server = await live(data, start, endpoint.url)
        await upload_to(server)
        row = await ended_row(data, OutboxState.FAILED)
    assert words not in row.last_error
    assert await asyncio.to_thread(server.stop) == 0
    assert words not in server.log.read_text()
