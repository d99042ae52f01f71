"""A PostgreSQL that fails in every way there is: each protocol's own words within seconds, nothing lost, nothing twice.

One service, one store, one illness after the other. Spec: engine.md "What the protocol layer does with it"; 40 §6.4;
90 §6.3; 00 §3.1.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from alerts import an_alert, in_fhir
from faults.ailing_store import ILLNESSES
from faults.clients import (
    Message,
    Plan,
    Sender,
    consent_message,
    events_of,
    polling_message,
    reliable_message,
)
from faults.comparing import HANGS, Report, check_audit, check_consents, check_deliveries, check_journals, check_lists
from faults.crash import nothing_owed
from faults.journal import Journal, read_journals
from faults.site import Site, ailing_site
from journeys.messages import PRACTICE, fresh_patient, get
from journeys.runner import faults_of, stored, until
from journeys.wire import fault_of, request_bytes
from postgres import PostgresServer, postgres_server

ALERT_PATH = "/clinical/alert"
UNSEEN = {"locked"}
"""What readiness does not see: the store takes writes, only not these."""

JSON = ("Content-Type", "application/fhir+json")
ASID = ("nhsd-asid", "200000000115")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this module's own: it is killed."""
    with postgres_server(durable=True) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(server: PostgresServer, pki: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One service for all illnesses."""
    async with ailing_site(server, tmp_path_factory.mktemp("ailing") / "data", pki, "ailing") as site:
        yield site


def alert_request(nhs_number: str) -> bytes:
    """Return a privacy alert in FHIR."""
    body = json.dumps(in_fhir(an_alert(nhs_number))).encode()
    return request_bytes(ALERT_PATH, body, [JSON, ASID])


@pytest.mark.parametrize("name", ILLNESSES)
async def test_an_ailing_store_costs_nobody_anything_but_time(name: str, site: Site, tmp_path: Path) -> None:
    """While it ails each request is answered as one that may be repeated; cured, the same bytes are done once."""
    number = fresh_patient()
    early = reliable_message(number, 0, None)
    late = [
        reliable_message(number, 1, early.event_id),
        polling_message(fresh_patient(), 0, None),
        consent_message(number, 0),
    ]
    messages = {message.message_id: message for message in (early, *late)}
    report = Report(Plan(0, 0, 1, 1, 0))
    with Journal(tmp_path / "client-0.jsonl") as journal:
        async with site.line() as line:
            sender = Sender(line, journal, report.faults, asyncio.Queue())
            await sender.send([early])
            async with ILLNESSES[name](site.store):
                await refused_for_now(site, name, number, late)
            await sender.send(late)
    check_journals(read_journals(tmp_path), messages, report)
    async with site.line() as line:
        await check_lists(line, messages, report)
        shown = await line.exchange(PRACTICE.event_list(number).raw())
    assert shown is not None
    assert [event.event_id for event in events_of(shown, number)] == [late[0].event_id, early.event_id]
    async with stored(site.data) as store:
        await check_audit(store, messages, report)
        await check_consents(store, messages, report)
    for message in (early, late[0]):
        delivery = await site.endpoint.received_in_answer_to(message.message_id)
        assert delivery.acknowledgement.outcome.accepted
    assert report.faults == []
    site.messages |= messages


async def refused_for_now(site: Site, name: str, nhs_number: str, late: list[Message]) -> None:
    """Hold that everything is answered in time, in its own protocol's words for "try again"."""
    requests = [message.request for message in late]
    requests += [PRACTICE.event_list(nhs_number).raw(), PRACTICE.get_consent(nhs_number).raw()]
    answers = await asyncio.gather(
        *(site.timed(request) for request in requests),
        site.timed(alert_request(nhs_number)),
        site.page("/readyz"),
        site.page("/healthcheck"),
    )
    # What was never answered hangs; how quick the others are is the machine's affair.
    assert max(seconds for _, seconds in answers) < HANGS
    *spine, alert, ready, health = [answer for answer, _ in answers]
    for answer in spine:
        assert answer is not None
        assert fault_of(answer).retriable
    assert alert is not None
    assert (alert.status, bool(alert.header("retry-after"))) == (503, True)
    if name not in UNSEEN:
        assert ready is not None
        assert (ready.status, json.loads(ready.body)["reason"]) == (503, "store")
        assert health is not None
        assert health.status == 503
        assert json.loads(health.body)["components"]["store"]["status"] == "DOWN"


async def test_in_the_end_nothing_is_owed_and_all_is_whole(site: Site) -> None:
    """Each application acknowledgement came under one MessageId with the same bytes; every chain is intact."""

    async def ready() -> bool:
        return (await get(site.service.web, "/readyz")).status == 200

    await until(ready)
    await nothing_owed(site.data)
    report = Report(Plan(0, 0, 1, 1, 0))
    check_deliveries(site.endpoint.deliveries, site.messages, report)
    assert report.faults == []
    assert await faults_of(site.data) == ()
