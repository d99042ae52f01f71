"""Everybody's word compared: the clients' journals, the service's answers, its store, what arrived at the endpoint.

What must hold, whatever has happened in between: what was acknowledged is there, once; nothing was done twice; every
application acknowledgement arrives, under one MessageId and with the same bytes each time; a repetition is answered as
the first time; who asks is shown all that had been acknowledged before; nobody waits longer than a limit; the store and
the chains of its audit are whole.

Spec: 00 §7; 40 §6.3, §6.5, §7.6, §8; 90 §6.1.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from faults.clients import Kind, Line, Message, Plan, events_of
from faults.journal import Line as Entry
from faults.journal import digest_of, later_than, longest_exchange, read_journals
from journeys.endpoint import Delivery
from journeys.messages import PRACTICE
from journeys.runner import command, stored
from journeys.wire import request_bytes
from openscr.codes import ACS_SET, EVENT_LIST, POLLING_UPLOAD, UPLOAD
from openscr.identifiers import slot_of
from openscr.spine import EventStatus
from openscr.store.interface import ConsentRow, Store, Transaction

LIMIT = 5.0
"""Seconds within which a request is answered, whatever has become of the store. Spec: engine.md, 90 §6.2."""

HANGS = 2 * LIMIT
"""Seconds after which a test says so. It measures nothing, its machine may be busy; ``make soak`` counts."""


@dataclass
class Report:
    """What happened, in numbers, and everything that should not have."""

    plan: Plan
    seconds: float = 0.0
    disturbances: Counter[str] = field(default_factory=Counter)
    uploads: int = 0
    consents: int = 0
    patients: int = 0
    attempts: int = 0
    unanswered: int = 0
    put_off: int = 0
    longest: float = 0.0
    later: int = 0
    acknowledged: int = 0
    recognised: int = 0
    found_once: int = 0
    missing: set[str] = field(default_factory=set)
    twice: set[str] = field(default_factory=set)
    consents_found_once: int = 0
    polled: int = 0
    unanswered_polls: int = 0
    looks: int = 0
    looks_unanswered: int = 0
    stale: int = 0
    application_acknowledgements: int = 0
    deliveries: int = 0
    delivered_again: int = 0
    repeated_at_the_end: int = 0
    audit_rows: int = 0
    verified: str = ""
    faults: list[str] = field(default_factory=list)

    @property
    def messages(self) -> int:
        """How many messages there were that change something."""
        return self.uploads + self.consents

    def lines(self) -> Iterator[str]:
        """Yield the figures for people."""
        plan = self.plan
        yield f"seed {plan.seed}: {self.uploads} uploads for {self.patients} patients in {self.seconds:.0f} s"
        clients = f"{plan.reliable_clients} reliable, {plan.polling_clients} polling, {plan.viewers} viewing"
        yield f"clients                          {clients}"
        for what, often in sorted(self.disturbances.items()):
            yield f"{what:33}{often}"
        yield f"settings of consent              {self.consents}"
        yield f"posts                            {self.attempts}, of them repeated {self.attempts - self.messages}"
        yield f"posts without an answer          {self.unanswered}, told to try again {self.put_off}"
        yield f"longest exchange                 {self.longest:.1f} s, later than {LIMIT:.0f} s {self.later}"
        yield f"acknowledged                     {self.acknowledged}"
        yield f"recognised as repetitions        {self.recognised}"
        yield f"found exactly once               {self.found_once} uploads, {self.consents_found_once} consents"
        yield f"acknowledged and missing         {len(self.missing)}"
        yield f"done twice                       {len(self.twice)}"
        yield f"results polled                   {self.polled}, polls without an answer {self.unanswered_polls}"
        yield f"lists looked at                  {self.looks}, unanswered {self.looks_unanswered}, stale {self.stale}"
        yield f"acknowledgements delivered       {self.application_acknowledgements}, each under one MessageId"
        yield f"deliveries                       {self.deliveries}, of them again {self.delivered_again}"
        yield f"answered again at the end alike  {self.repeated_at_the_end}"
        yield f"audit rows of these messages     {self.audit_rows}"
        yield f"openscr admin verify             {self.verified}"
        yield f"faults                           {len(self.faults)}"


def check_journals(journals: Mapping[str, list[Entry]], messages: Mapping[str, Message], report: Report) -> None:
    """Hold that every client came to an end with every message, and count what happened on the way."""
    for message_id, message in messages.items():
        lines = journals.get(message_id, [])
        said = Counter(line["what"] for line in lines)
        report.attempts += said["post"]
        report.unanswered += said["no answer"]
        report.put_off += said["try again"]
        report.unanswered_polls += said["no result"]
        report.acknowledged += said["accepted"]
        if said["accepted"] != 1:
            report.faults.append(f"message {message_id}: acknowledged {said['accepted']} times")
        if message.kind is Kind.POLLING:
            results = [line for line in lines if line["what"] == "result"]
            report.polled += len(results)
            if [line["success"] for line in results] != [True]:
                report.faults.append(f"message {message_id}: no result that says yes")
    report.longest = longest_exchange(journals.values())
    report.later = later_than(LIMIT, journals.values())


def check_looks(journals: Mapping[str, list[Entry]], messages: Mapping[str, Message], report: Report) -> None:
    """Hold that whoever looked was shown what had been acknowledged before, and nothing that nobody sent."""
    acknowledged: dict[str, list[tuple[float, str]]] = {}
    sent: dict[str, set[str]] = {}
    for message_id, message in messages.items():
        if message.uploads:
            sent.setdefault(message.nhs_number, set()).add(message.event_id)
            acknowledged.setdefault(message.nhs_number, []).extend(
                (line["at"], message.event_id) for line in journals.get(message_id, []) if line["what"] == "accepted"
            )
    for query_id, lines in journals.items():
        asked = [line for line in lines if line["what"] == "ask"]
        if not asked:
            continue
        (shown,) = [line for line in lines if line["what"] == "shown"] or [None]
        if shown is None:
            report.looks_unanswered += 1
            continue
        report.looks += 1
        number, begun = asked[0]["patient"], asked[0]["at"]
        known = {event_id for at, event_id in acknowledged.get(number, []) if at < begun}
        if not known <= set(shown["events"]):
            report.stale += 1
            report.faults.append(f"query {query_id}: does not show what had been acknowledged")
        if not set(shown["events"]) <= sent.get(number, set()):
            report.faults.append(f"query {query_id}: shows what nobody sent")


async def check_repetitions(line: Line, messages: Mapping[str, Message], data: Path, report: Report) -> None:
    """Send everything once more: the answer is the first one, to the byte."""
    known = {
        entry["message_id"]: entry
        for entries in read_journals(data).values()
        for entry in entries
        if "signal" in entry or "result" in entry
    }
    for message_id, message in messages.items():
        answer = await line.exchange(message.request)
        if answer is None or answer.status != (200 if message.kind is Kind.CONSENT else 202):
            report.faults.append(f"message {message_id}: not acknowledged again")
            continue
        if message.facade is not None:
            place = answer.header("content-location") or ""
            answer = await line.exchange(request_bytes(place, b"", message.facade.headers, method="GET"))
        first = known.get(message_id, {})
        if answer is None or digest_of(answer.body) not in (first.get("signal"), first.get("result")):
            report.faults.append(f"message {message_id}: answered otherwise than the first time")
            continue
        report.repeated_at_the_end += 1


async def check_lists(line: Line, messages: Mapping[str, Message], report: Report) -> None:
    """Ask the service for every patient's events: each upload once, the last one current, the others replaced."""
    patients: dict[str, list[Message]] = {}
    for message in messages.values():
        if message.uploads:
            patients.setdefault(message.nhs_number, []).append(message)
    for number, uploads in patients.items():
        answer = await line.exchange(PRACTICE.event_list(number).raw())
        assert answer is not None
        events = events_of(answer, number)
        listed = Counter(event.event_id for event in events)
        status = {event.event_id: event.status for event in events}
        for upload in uploads:
            last = upload.version == len(uploads) - 1
            expected = EventStatus.NORMAL if last else EventStatus.REPLACED
            times = listed[upload.event_id]
            if times != 1:
                (report.twice if times else report.missing).add(upload.message_id)
            if times == 1 and status[upload.event_id] is expected:
                report.found_once += 1
            else:
                report.faults.append(f"message {upload.message_id}: listed {times} times")
        if len(events) != len(uploads):
            report.faults.append(f"message {uploads[0].message_id}: its patient has {len(events)} events")


def check_deliveries(deliveries: list[Delivery], messages: Mapping[str, Message], report: Report) -> None:
    """Hold that each reliable upload was answered under one MessageId, with the same bytes, and nobody else was."""
    arrived: dict[str, set[tuple[str, bytes]]] = {}
    report.deliveries = len(deliveries)
    for delivery in deliveries:
        envelope = delivery.envelope
        arrived.setdefault(envelope.ref_to_message_id or "", set()).add((envelope.message_id, delivery.body))
        if not delivery.acknowledgement.outcome.accepted:
            report.faults.append(f"message {envelope.ref_to_message_id}: refused")
    reliable = {message_id for message_id, message in messages.items() if message.kind is Kind.RELIABLE}
    report.faults += [f"message {message_id}: not expected to be answered" for message_id in arrived.keys() - reliable]
    for message_id in reliable:
        found = arrived.get(message_id, set())
        if len(found) == 1:
            report.application_acknowledgements += 1
        else:
            report.faults.append(f"message {message_id}: answered in {len(found)} ways")
    report.delivered_again = len(deliveries) - len(arrived)


async def check_store(data: Path, messages: Mapping[str, Message], report: Report) -> None:
    """Hold that each message was processed once, nobody else's was, and that the store and its chains are whole."""
    async with stored(data) as store:
        processed, shown = await check_audit(store, messages, report)
        await check_consents(store, messages, report)
    report.faults += [
        f"message {message_id}: processed, and nobody sent it" for message_id in processed.keys() - messages.keys()
    ]
    report.faults += [
        f"query {query_id}: its answer stands in no audit"
        for query_id, lines in read_journals(data).items()
        if any(line["what"] == "shown" for line in lines) and query_id not in shown
    ]
    try:
        report.verified = (await command(data, "admin", "verify")).strip().splitlines()[-1]
    except AssertionError as error:
        report.verified = "not whole"
        report.faults.append(f"openscr admin verify: {error}")


async def check_audit(
    store: Store, messages: Mapping[str, Message], report: Report
) -> tuple[Counter[str], frozenset[str]]:
    """Hold that each message was processed once; return how often any was, and which queries were answered."""
    processed: Counter[str] = Counter()
    shown: set[str] = set()
    async for row in store.read_audit():
        if row.entry.action in (UPLOAD, POLLING_UPLOAD, ACS_SET):
            processed[row.entry.content["transport_id"]] += 1
        elif row.entry.action == EVENT_LIST:
            shown.add(row.entry.content["transport_id"])
    report.audit_rows = processed.total()
    report.twice |= {message_id for message_id in messages if processed[message_id] > 1}
    report.missing |= {message_id for message_id in messages if processed[message_id] == 0}
    report.faults += [
        f"message {message_id}: processed {processed[message_id]} times"
        for message_id in messages
        if processed[message_id] != 1
    ]
    return processed, frozenset(shown)


async def check_consents(store: Store, messages: Mapping[str, Message], report: Report) -> None:
    """Hold that each SET made one version of its patient's consent, in the order in which they were sent."""
    patients: dict[str, list[str]] = {}
    for message_id, message in messages.items():
        if message.kind is Kind.CONSENT:
            patients.setdefault(message.nhs_number, []).append(message_id)

    async def versions(transaction: Transaction, number: str) -> tuple[ConsentRow, ...]:
        return await transaction.consent_history(number)

    for number, expected in patients.items():
        stored_ids = [row.message_id for row in await store.transact(slot_of(number), partial(versions, number=number))]
        times = Counter(stored_ids)
        report.missing |= {message_id for message_id in expected if times[message_id] == 0}
        report.twice |= {message_id for message_id in expected if times[message_id] > 1}
        report.consents_found_once += sum(times[message_id] == 1 for message_id in expected)
        if stored_ids != expected:
            report.faults.append(f"message {expected[0]}: {len(stored_ids)} versions for {len(expected)} settings")
