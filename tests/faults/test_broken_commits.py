"""A line that breaks in the middle of a commit: nothing is said before it is known, and nothing is done twice.

The fault strikes at the COMMIT of exactly one message's transaction. Where the server has committed, the receipt says
so and the message is acknowledged at once; where it has not, the sender is told to try again.

Spec: engine.md "What the protocol layer does with it"; 40 §6.5, §8.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from alerts import an_alert, in_fhir
from fault_proxy import AtCommit
from faults.ailing_store import ILLNESSES
from faults.clients import consent_message, polling_message, reliable_message
from faults.comparing import HANGS
from faults.crash import nothing_owed
from faults.site import Site, ailing_site
from journeys.messages import PRACTICE, Mail, fresh_patient
from journeys.runner import faults_of, stored
from journeys.test_officers import OFFICER, Officer
from journeys.test_relationships import NURSE, Staff
from journeys.wire import Answer, fault_of, request_bytes
from openscr.identifiers import mint_uuid, slot_of
from openscr.spine import Consent
from openscr.store.interface import StandingRow, Transaction
from postgres import PostgresServer

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOUD = [kind for kind in AtCommit if "SILENT" not in kind.name]
SILENT = [kind for kind in AtCommit if "SILENT" in kind.name]


@dataclass(frozen=True)
class Sent:
    """A message that changes something, and the status of the answer that acknowledges it."""

    verb: str
    message_id: str
    request: bytes
    status: int = 202

    @classmethod
    def by_mail(cls, verb: str, mail: Mail) -> "Sent":
        """Return one that comes over reliable messaging."""
        return cls(verb, mail.message_id, mail.post().raw())


async def every_verb(site: Site) -> list[Sent]:
    """Return one message of each kind, each for a patient of its own."""
    upload, polled = reliable_message(fresh_patient(), 0, None), polling_message(fresh_patient(), 0, None)
    consent = consent_message(fresh_patient(), 0)
    withdrawn = fresh_patient()
    first = PRACTICE.upload(withdrawn)
    answer, _ = await site.timed(first.post().raw())
    assert answer is not None
    assert answer.status == 202
    event = json.dumps(in_fhir(an_alert(fresh_patient()))).encode()
    request_id = mint_uuid()
    headers = [
        ("Content-Type", "application/fhir+json"),
        ("nhsd-asid", PRACTICE.asid),
        ("NHSD-Request-ID", request_id),
    ]
    return [
        Sent("upload", upload.message_id, upload.request),
        Sent("upload to be polled", polled.message_id, polled.request),
        Sent.by_mail("withdrawal", PRACTICE.withdrawal(withdrawn, first.event_id)),
        Sent("consent over SOAP", consent.message_id, consent.request, 200),
        Sent.by_mail("consent over ebXML", PRACTICE.consent_mail(fresh_patient(), Consent.NO)),
        Sent.by_mail("alert over ebXML", PRACTICE.alert_mail(an_alert(fresh_patient()))),
        Sent("alert in FHIR", request_id, request_bytes("/clinical/alert", event, headers), 200),
    ]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: PostgresServer, pki: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """One service for all of them."""
    async with ailing_site(postgres, tmp_path_factory.mktemp("commits") / "data", pki, "commits") as site:
        yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def demo(postgres: PostgresServer, pki: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """A demo service, where staff and officers can sign in."""
    folder = tmp_path_factory.mktemp("staff") / "data"
    settings = {"demo": True, "rate_per_second": 0, "rate_per_minute": 0}
    async with ailing_site(postgres, folder, pki, "staff", **settings) as site:
        yield site


def acknowledged(sent: Sent, answer: Answer | None) -> bool:
    """Whether an answer acknowledges a message; one that does not lets its sender try again."""
    assert answer is not None, sent.verb
    if answer.status == sent.status:
        return True
    if sent.verb == "alert in FHIR":
        assert answer.status == 503, answer
    else:
        assert fault_of(answer).retriable, sent.verb
    return False


@pytest.mark.parametrize("kinds", [LOUD, SILENT], ids=["cut, half-closed, refused", "silent"])
async def test_an_outcome_is_found_out_before_anything_is_said(kinds: list[AtCommit], site: Site) -> None:
    """Each verb, each fault, at the commit of its transaction; then the same bytes once more."""
    cases = [(kind, sent) for kind in kinds for sent in await every_verb(site)]
    struck = [site.store.proxy.strike(kind, statement=sent.message_id) for kind, sent in cases]
    answers = await asyncio.gather(*(site.timed(sent.request) for _, sent in cases))
    assert all(event.is_set() for event in struck)
    told = [acknowledged(sent, answer) for (_, sent), (answer, _) in zip(cases, answers, strict=True)]
    for (kind, sent), yes in zip(cases, told, strict=True):
        assert kind.committed in (yes, None), (kind, sent.verb)
    assert max(seconds for _, seconds in answers) < HANGS

    # Lines that are silent hold what they have begun until somebody notices: now.
    site.store.proxy.cut()
    for (_, sent), (first, _), yes in zip(cases, answers, told, strict=True):
        for _ in range(50):
            again, _ = await site.timed(sent.request)
            if acknowledged(sent, again):
                break
        assert acknowledged(sent, again), sent.verb
        assert first is not None
        assert again is not None
        if yes and sent.verb != "upload to be polled":
            assert (again.status, again.body) == (first.status, first.body), sent.verb
    async with stored(site.data) as store:
        done = Counter([row.entry.content.get("transport_id", "").upper() async for row in store.read_audit()])
        assert {sent.verb: done[sent.message_id.upper()] for _, sent in cases} == {s.verb: 1 for _, s in cases}
        alerts = Counter(alert.nhs_number for alert in await store.read_alerts())
    assert len(alerts) >= 2 * len(kinds)
    assert set(alerts.values()) == {1}


async def test_a_look_whose_audit_may_be_lost_shows_nothing(site: Site) -> None:
    """What a query shows stands in the audit first: while nobody knows, it is to be asked again."""
    number = fresh_patient()
    await site.timed(PRACTICE.upload(number).post().raw())
    for kind in (AtCommit.CUT_BEFORE, AtCommit.CUT_AFTER, AtCommit.ERROR_AFTER):
        post = PRACTICE.event_list(number)
        struck = site.store.proxy.strike(kind, statement=post.message_id)
        answer, seconds = await site.timed(post.raw())
        assert struck.is_set()
        assert answer is not None
        assert fault_of(answer).retriable
        assert seconds < HANGS


async def test_what_staff_and_officers_do_is_done_once_and_told_so(demo: Site) -> None:
    """A claim, its end, a step of an alert, a subscription, its end: tried again by the service, which knows its work.

    Without a store they are told to come back. Spec: 80 §5.3; 70 §9; engine.md.
    """
    nurse = await Staff.signed_in(demo.service, "app-viewer", NURSE)
    officer = await Officer.signed_in(demo.service, "app-viewer", OFFICER)
    for kind in LOUD:
        if kind is not AtCommit.CUT_UNDER_WAY:
            await claim_end_and_step(kind, demo, nurse, officer)
    async with ILLNESSES["refused"](demo.store):
        for answer in (await nurse.ask("standing", nhs_number=fresh_patient()), await officer.get("alerts")):
            assert (answer.status, answer.header("retry-after")) == (503, "1"), answer.body
    assert await faults_of(demo.data) == ()


async def claim_end_and_step(kind: AtCommit, demo: Site, nurse: Staff, officer: Officer) -> None:
    """Let a nurse claim a patient and give it up, an officer look into the alert, with every commit broken."""
    strike = demo.store.proxy.strike
    number, one = fresh_patient(), mint_uuid()
    await demo.timed(PRACTICE.upload(number).post().raw())
    struck = [strike(kind, statement=f"INSERT INTO standing.*{one}")]
    claim = await nurse.ask("relationships", id=one, nhs_number=number, alert_reason="6", text="on the ward")
    assert claim.status in (200, 201), (kind, claim.body)
    struck.append(strike(kind, statement=f"UPDATE standing.*{one}"))
    assert (await nurse.ask("standing/end", nhs_number=number, id=one)).status == 204, kind

    async with stored(demo.data) as store:
        (alert,) = [row for row in await store.read_alerts() if row.nhs_number == number]
    struck.append(strike(kind, statement=f"UPDATE alert.*{alert.id}"))
    stepped = await officer.ask(f"alerts/{alert.id}", version=1, status="under-investigation")
    assert (stepped.status, json.loads(stepped.body)["result"]) == (200, "changed"), (kind, stepped.body)

    hook = f"http://127.0.0.1:9/{one}"
    struck.append(strike(kind, statement=f"INSERT INTO subscription.*{one}"))
    subscribed = await officer.ask("alerts/subscriptions", channel="webhook", address=hook)
    assert subscribed.status == 201, (kind, subscribed.body)
    async with stored(demo.data) as store:
        (kept,) = [each.id for each in await store.read_subscriptions() if each.address == hook]
    assert kept == json.loads(subscribed.body)["id"], kind
    struck.append(strike(kind, statement=f"DELETE FROM subscription.*{kept}"))  # noqa: S608 only looked for
    assert (await officer.delete(f"alerts/subscriptions/{kept}")).status == 204, kind
    async with stored(demo.data) as store:
        assert kept not in {each.id for each in await store.read_subscriptions()}, kind
    assert all(event.is_set() for event in struck), kind

    async def look(transaction: Transaction) -> tuple[StandingRow | None, int]:
        return await transaction.find_standing(one), len(await transaction.alert_changes(alert.id))

    async with stored(demo.data) as store:
        standing, steps = await store.transact(slot_of(number), look)
        assert [row.id for row in await store.read_alerts() if row.nhs_number == number] == [alert.id], kind
    assert standing is not None
    assert standing.ended_at is not None, kind
    assert steps == 1, kind


async def test_every_answer_arrives_once_and_all_is_whole(site: Site) -> None:
    """What the broken commits left behind is delivered, each under one MessageId."""
    await nothing_owed(site.data)
    arrived: dict[str, set[tuple[str, bytes]]] = {}
    for delivery in site.endpoint.deliveries:
        envelope = delivery.envelope
        arrived.setdefault(envelope.ref_to_message_id or "", set()).add((envelope.message_id, delivery.body))
        assert delivery.acknowledgement.outcome.accepted
    assert arrived
    assert {len(ways) for ways in arrived.values()} == {1}
    assert await faults_of(site.data) == ()
