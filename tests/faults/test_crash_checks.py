"""The checks of the crash test find what they look for: a lost upload, a doubled one, a second acknowledgement."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from faults.clients import Message, Plan, consent_message, polling_message, reliable_message
from faults.comparing import (
    Report,
    check_consents,
    check_deliveries,
    check_journals,
    check_lists,
    check_looks,
    check_store,
)
from faults.journal import Journal, read_journals
from journeys.endpoint import Delivery
from journeys.messages import fresh_patient
from journeys.runner import stored
from journeys.wire import Answer
from openscr.codes import EVENT_LIST, GP_SUMMARY, PAYLOAD_IDS, UPLOAD
from openscr.delivery.answers import ReplyAddress, acknowledgement_row
from openscr.directory.form import build_directory, read_directory
from openscr.hl7.psis import write_event_list
from openscr.hl7.wrapper import Heading
from openscr.identifiers import mint_uuid, slot_of, utc_now
from openscr.spine import AckType, Consent, Event, EventListOutcome, EventStatus, Outcome
from openscr.store.interface import AuditEntry, ConsentRow
from openscr.testbench.world import OWN_ASID, PRACTICE_PARTY, demo_directory
from openscr.transport.wsa import write_response

DIRECTORY = build_directory(read_directory(demo_directory()), 1)


@pytest.fixture
def report() -> Report:
    return Report(Plan(2, 1, 1, 1, 0))


@pytest.fixture
def messages() -> dict[str, Message]:
    """One upload of each channel."""
    both = (reliable_message(fresh_patient(), 0, None), polling_message(fresh_patient(), 0, None))
    return {message.message_id: message for message in both}


def acknowledged(message_id: str, outcome: Outcome = Outcome()) -> Delivery:  # noqa: B008  # frozen
    """Return an application acknowledgement as it arrives, under a fresh MessageId."""
    address = ReplyAddress(0, PRACTICE_PARTY, "psis", UPLOAD, message_id, message_id, message_id, "a", OWN_ASID)
    row = acknowledgement_row(address, outcome, DIRECTORY, mint_uuid(), utc_now())
    return Delivery({"content-type": row.content_type}, row.body, "")


JOURNALS: dict[str, tuple[list[str], list[str], int]] = {
    "all is well": (["post", "no answer", "post", "accepted"], ["post", "accepted", "result"], 0),
    "an upload without an acknowledgement": (["post"], ["post", "accepted", "result"], 1),
    "an upload acknowledged twice": (["post", "accepted", "accepted"], ["post", "accepted", "result"], 1),
    "a client that never got its result": (["post", "accepted"], ["post", "accepted"], 1),
}


@pytest.mark.parametrize("case", JOURNALS)
def test_journals(case: str, tmp_path: Path, messages: dict[str, Message], report: Report) -> None:
    *lines, faults = JOURNALS[case]
    with Journal(tmp_path / "client-0.jsonl") as journal:
        for message, whats in zip(messages.values(), lines, strict=True):
            for what in whats:
                journal.write(what, message.message_id, success=True)
    check_journals(read_journals(tmp_path), messages, report)
    assert len(report.faults) == faults


REFUSED = Outcome(AckType.ERROR)
DELIVERIES: dict[str, tuple[Callable[[Delivery, str], list[Delivery]], str]] = {
    "delivered again, the same": (lambda first, _: [first, first], ""),
    "not delivered": (lambda *_: [], "answered in 0 ways"),
    "a second id": (lambda first, message_id: [first, acknowledged(message_id)], "answered in 2 ways"),
    "other bytes": (lambda first, _: [first, replace(first, body=first.body + b"\n")], "answered in 2 ways"),
    "a refusal": (lambda _, message_id: [acknowledged(message_id, REFUSED)], "refused"),
    "a stranger's": (lambda first, _: [first, acknowledged(mint_uuid())], "not expected"),
}


@pytest.mark.parametrize("case", DELIVERIES)
def test_deliveries(case: str, messages: dict[str, Message], report: Report) -> None:
    arrive, fault = DELIVERIES[case]
    reliable = next(iter(messages))
    check_deliveries(arrive(acknowledged(reliable), reliable), messages, report)
    assert [fault in found for found in report.faults] == ([True] if fault else [])


def test_a_polling_upload_is_not_delivered(messages: dict[str, Message], report: Report) -> None:
    check_deliveries([acknowledged(message_id) for message_id in messages], messages, report)
    assert len(report.faults) == 1
    assert report.application_acknowledgements == 1


class Listing:
    """A service that lists the given events, whomever it is asked about."""

    def __init__(self, *events: Event) -> None:
        self._events = events

    async def exchange(self, _: bytes) -> Answer:
        """Answer a list query."""
        heading = Heading(mint_uuid(), "20261122120000", "V3NPfIT4.2.00", "200000000115", OWN_ASID)
        outcome = EventListOutcome(Outcome(), "9990000018", self._events)
        body = write_event_list(EVENT_LIST, heading, outcome, mint_uuid())
        envelope = write_response(
            message_id=heading.message_id,
            action="urn:nhs:names:services:psisquery/QUPC_IN200000UK04",
            to="",
            from_address="https://spine.test/sync-service",
            receiver_asid=heading.receiver,
            sender_asid=heading.sender,
            relates_to="uuid:" + mint_uuid(),
            body=body,
        )
        return Answer(200, (("content-type", "text/xml"),), envelope)


LOOKS: dict[str, tuple[list[int], int, int]] = {
    "all of it": ([0, 1], 0, 0),
    "what was on its way is not there yet": ([0], 0, 0),
    "what was acknowledged is not there": ([1], 1, 1),
    "a stranger's is there": ([0, 2], 0, 1),
}


@pytest.mark.parametrize("case", LOOKS)
def test_looks(case: str, tmp_path: Path, report: Report) -> None:
    """Who asks after the first upload was acknowledged, and before the second was, is shown at least the first."""
    shown, stale, faults = LOOKS[case]
    number = fresh_patient()
    uploads = [reliable_message(number, version, None) for version in range(3)]
    with Journal(tmp_path / "client-0.jsonl") as journal:
        journal.write("accepted", uploads[0].message_id)
        journal.write("ask", "query", patient=number)
        journal.write("accepted", uploads[1].message_id)
        journal.write("shown", "query", seconds=0.1, events=[uploads[index].event_id for index in shown])
        journal.write("ask", "another", patient=number)
        journal.write("no answer", "another", seconds=5.5)
    journals = read_journals(tmp_path)
    check_looks(journals, {upload.message_id: upload for upload in uploads[:2]}, report)
    check_journals(journals, {}, report)
    assert (report.looks, report.looks_unanswered, report.stale, len(report.faults)) == (1, 1, stale, faults)
    assert (report.longest, report.later) == (5.5, 1)


LISTS: dict[str, tuple[list[tuple[int, EventStatus]], int, int]] = {
    "each once": ([(1, EventStatus.NORMAL), (0, EventStatus.REPLACED)], 2, 0),
    # What is not there once is a fault, and so is the number of events.
    "one is lost": ([(1, EventStatus.NORMAL)], 1, 2),
    "one is there twice": ([(1, EventStatus.NORMAL), (0, EventStatus.REPLACED), (0, EventStatus.REPLACED)], 1, 2),
    "one was not replaced": ([(1, EventStatus.NORMAL), (0, EventStatus.NORMAL)], 1, 1),
    "all are lost": ([], 0, 3),
    "a stranger is there": ([(1, EventStatus.NORMAL), (0, EventStatus.REPLACED), (2, EventStatus.REPLACED)], 2, 1),
}


@pytest.mark.parametrize("case", LISTS)
async def test_lists(case: str, report: Report) -> None:
    """What a patient's list must hold is the patient's uploads, the last one current."""
    listed, found_once, faults = LISTS[case]
    number = fresh_patient()
    uploads = [reliable_message(number, version, None) for version in range(3)]
    events = [
        Event(uploads[index].event_id, GP_SUMMARY, PAYLOAD_IDS[UPLOAD], status, utc_now()) for index, status in listed
    ]
    sent = {upload.message_id: upload for upload in uploads[:2]}
    await check_lists(Listing(*events), sent, report)  # type: ignore[arg-type]
    assert (report.found_once, len(report.faults)) == (found_once, faults)
    assert (len(report.missing), len(report.twice)) == (2 - min(2, len(listed)), int("twice" in case))


CONSENTS: dict[str, tuple[list[int], int, int]] = {
    "each once": ([0, 1], 0, 0),
    "one is lost": ([0], 1, 0),
    "one was set twice": ([0, 1, 1], 0, 1),
    "in another order": ([1, 0], 0, 0),
}


@pytest.mark.parametrize("case", CONSENTS)
async def test_consents(case: str, data: Path, report: Report) -> None:
    """Each SET makes one version, in the order in which they were sent."""
    kept, missing, twice = CONSENTS[case]
    number = fresh_patient()
    settings = [consent_message(number, version) for version in range(2)]
    async with stored(data) as store:
        for version, index in enumerate(kept, 1):
            row = ConsentRow(
                number, version, Consent.YES, utc_now(), "", "", None, None, None, settings[index].message_id, "", ""
            )
            await store.transact(slot_of(number), lambda transaction, row=row: transaction.append_consent(row))
        await check_consents(store, {setting.message_id: setting for setting in settings}, report)
    assert (len(report.missing), len(report.twice)) == (missing, twice)
    assert bool(report.faults) is (case != "each once")


async def test_store(data: Path, messages: dict[str, Message], report: Report) -> None:
    """An upload that the audit does not know, or knows twice, is found; so is one that nobody sent."""
    first, second = messages

    async def process(*transport_ids: str) -> None:
        async with stored(data) as store:
            for transport_id in transport_ids:
                entry = AuditEntry(utc_now(), UPLOAD, "AA", None, {"transport_id": transport_id})
                await store.transact(slot_of("x"), lambda transaction, entry=entry: transaction.append_audit(entry))

    await process(first)
    await check_store(data, messages, report)
    assert report.faults == [f"message {second}: processed 0 times"]
    await process(second, first, "another")
    report.faults.clear()
    await check_store(data, messages, report)
    assert sorted(report.faults) == sorted(
        (f"message {first}: processed 2 times", "message another: processed, and nobody sent it")
    )
    assert report.verified == "the store is intact"
