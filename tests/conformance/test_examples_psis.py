"""The PSIS query examples: requests sent as they are, our answers compared with those shown, all of them read."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from openscr.codes import EVENT, EVENT_LIST, UPLOAD
from openscr.errors import GENERAL
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.psis import read_event_answer, read_event_list_answer, write_query, write_query_failed
from openscr.hl7.wrapper import Heading
from openscr.identifiers import hl7_timestamp, mint_uuid
from openscr.spine import (
    AckType,
    Consent,
    EventListQuery,
    EventQuery,
    EventStatus,
    MessageIds,
    Outcome,
    Person,
)
from openscr.testbench.world import OWN_ASID
from openscr.transport.wsa import write_response
from openscr.transport.xml import read_xml

from .comparing import HL7, PSIS, canonical, same
from .examples import example, interaction_in
from .harness import GP, GP_ASID, PUBLIC_URL, Harness

FOLDER = "psis-query"
PATIENT = "9990012318"
DISSENTER = "9990012326"
STRANGER = "9990012334"
MERGED = "9990012342"
CURRENT = "3CEECF48-0827-5F1A-BD0A-6D5CA43E4ACE"
REPLACED = "2D4437CC-29F2-5D66-B75D-AF7631911D75"
LIST_SM = "QUPC_IN180000SM04_request_soap"
LIST = "QUPC_IN180000UK04_request_soap"
RETRIEVE = "QUPC_IN190000UK04_request_soap"


def example_document() -> bytes:
    """The summary inside the event example, which replaces an earlier one."""
    data = next(read_xml(example(FOLDER, "QUPC_IN210000UK04_success_soap")).iter(f"{PSIS}hl7Data"))
    return etree.tostring(data[0], with_tail=False)


def earlier_document() -> bytes:
    """The summary that the one of the example replaces: the examples show its metadata only."""
    root = read_xml(example_document())
    replacement = root.find(f"{HL7}replacementOf")
    assert replacement is not None
    root.remove(replacement)
    effective = root.find(f"{HL7}effectiveTime")
    assert effective is not None
    effective.set("value", "20240110112000")
    return etree.tostring(root).replace(CURRENT.encode(), REPLACED.encode())


async def put_record(service: Harness) -> None:
    """Upload what the examples show, at the times that they show."""
    for document, at in (
        (earlier_document(), datetime(2024, 1, 10, 11, 30, 25, tzinfo=UTC)),
        (example_document(), datetime(2025, 6, 2, 8, 15, 2, tzinfo=UTC)),
    ):
        service.clock.now = at
        heading = Heading(mint_uuid(), hl7_timestamp(at), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)
        payload = write_upload(UPLOAD, heading, document, GP)
        _, acknowledgement = await service.deliver(payload)
        assert acknowledgement.outcome.accepted
    service.clock.now = None


async def ask(service: Harness, request: str, *changes: tuple[str, str]) -> bytes:
    """Send an example, after some replacements of text, and return the answer's envelope."""
    body = example(FOLDER, request)
    for old, new in changes:
        assert old.encode() in body
        body = body.replace(old.encode(), new.encode())
    answer = await service.ask(body)
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/xml"
    assert "soapaction" not in answer.headers
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    address = read_xml(answer.body).findtext(".//{*}From/{*}Address")
    assert address == PUBLIC_URL
    return answer.body


@pytest.mark.parametrize(
    ("request_name", "answer_name"),
    [
        (LIST_SM, "QUPC_IN200000SM04_success_soap"),
        (LIST, "QUPC_IN200000UK04_success_soap"),
        (RETRIEVE, "QUPC_IN210000UK04_success_soap"),
    ],
)
async def test_answers_equal_the_examples(service: Harness, request_name: str, answer_name: str) -> None:
    """With the shown summaries uploaded at the shown times, each request gets the shown answer."""
    await put_record(service)
    ours = await ask(service, request_name)
    theirs = example(FOLDER, answer_name)
    same(ours, theirs)
    dates = [[e.get("value") for e in read_xml(data).iter(f"{PSIS}persistenceDate")] for data in (ours, theirs)]
    assert dates[0] == dates[1]


@pytest.mark.parametrize(
    ("request_name", "changes", "answer_name"),
    [
        (LIST_SM, [(PATIENT, STRANGER)], "QUQI_IN010000UK14_event_list_no_results_soap"),
        (LIST, [(PATIENT, STRANGER)], "QUQI_IN010000UK14_event_list_no_results_soap"),
        (LIST_SM, [(PATIENT, DISSENTER)], "QUQI_IN010000UK14_event_list_no_consent_soap"),
        (LIST, [(PATIENT, MERGED)], "QUQI_IN010000UK14_event_list_error_merged_soap"),
        (LIST_SM, [(PATIENT, "9990012319")], "QUQI_IN010000UK14_event_list_error_invalid_request_soap"),
        (RETRIEVE, [(PATIENT, DISSENTER)], "QUQI_IN010000UK14_event_no_consent_soap"),
        (
            RETRIEVE,
            [(CURRENT, "90BB5003-ED32-572C-A1C5-21E9C5C8863B")],
            "QUQI_IN010000UK14_event_not_found_soap",
        ),
    ],
)
async def test_refusals_equal_the_examples(
    service: Harness, request_name: str, changes: list[tuple[str, str]], answer_name: str
) -> None:
    """Each refusal that the service can come to is written as shown."""
    await put_record(service)
    same(await ask(service, request_name, *changes), example(FOLDER, answer_name))


@pytest.mark.parametrize(
    ("code", "ack", "answer_name"),
    [
        ("401", AckType.ERROR, "QUQI_IN010000UK14_event_list_error_duplicate_message_id_soap"),
        ("500", AckType.ERROR, "QUQI_IN010000UK14_event_list_error_system_soap"),
        ("502", AckType.REJECTED, "QUQI_IN010000UK14_event_list_error_service_not_available_soap"),
    ],
)
def test_refusals_that_only_other_services_send(code: str, ack: AckType, answer_name: str) -> None:
    """What our service never answers to a query, our writer can still write: for simulators and for tests."""
    heading = Heading(mint_uuid(), "20250605143211", "V3NPfIT4.2.00", "918999000101", "918999000001")
    reference = "3FCF0020-2DEA-5107-A1DF-048798B9ACB7"
    body = write_query_failed(EVENT_LIST, heading, Outcome(ack, (GENERAL[code],)), reference)
    ours = write_response(
        message_id=heading.message_id,
        action="urn:nhs:names:services:psisquery/QUQI_IN010000UK14",
        to="192.0.2.10",
        from_address=PUBLIC_URL,
        receiver_asid="918999000101",
        sender_asid="918999000001",
        relates_to=f"uuid:{reference}",
        body=body,
    )
    same(ours, example(FOLDER, answer_name))


async def test_unsupported_action(service: Harness) -> None:
    """An interaction that is not served is refused with the fault that the example shows."""
    answer = await service.ask(example(FOLDER, LIST), action="urn:nhs:names:services:psisquery/QUPC_IN999999UK99")
    assert answer.status == 500
    assert canonical(answer.body) == canonical(example(FOLDER, "soap_fault_unsupported_action"))


async def test_event_ids_agree(service: Harness) -> None:
    """The id in a list is letter for letter the one that an event query takes, in either case. Spec: 20 §15.2."""
    await put_record(service)
    listed = read_event_list_answer(interaction_in(await ask(service, LIST)), PATIENT)
    assert [event.event_id for event in listed.events] == [CURRENT, REPLACED]
    for event in listed.events:
        for wanted in (event.event_id, event.event_id.lower()):
            found = read_event_answer(interaction_in(await ask(service, RETRIEVE, (CURRENT, wanted))), PATIENT)
            assert found.event is not None
            assert found.event.event_id == event.event_id


@pytest.mark.parametrize("name", ["QUPC_IN200000SM04_success_soap", "QUPC_IN200000UK04_success_soap"])
def test_our_reader_reads_lists(name: str) -> None:
    """A client of ours reads both lists: events in order, authors, consent."""
    answer = read_event_list_answer(interaction_in(example(FOLDER, name)), PATIENT)
    assert answer.outcome.accepted
    assert [(event.event_id, event.status) for event in answer.events] == [
        (CURRENT, EventStatus.NORMAL),
        (REPLACED, EventStatus.REPLACED),
    ]
    assert all(read_xml(event.author).tag == f"{HL7}author" for event in answer.events)
    assert answer.consent is Consent.ASK
    assert answer.events[0].stored_at == datetime(2025, 6, 2, 8, 15, 2, tzinfo=UTC)


def test_our_reader_reads_the_event() -> None:
    """A client of ours reads the event with its document."""
    answer = read_event_answer(interaction_in(example(FOLDER, "QUPC_IN210000UK04_success_soap")), PATIENT)
    assert answer.event is not None
    assert answer.event.status is EventStatus.NORMAL
    assert canonical(answer.document) == canonical(example_document())


CODES = {
    "document_error_payload": ("AE", ["400", "35160"]),
    "document_no_consent_payload": ("AE", ["420", "30418"]),
    "document_no_results_payload": ("AE", ["210", "30312"]),
    "event_list_error_duplicate_message_id_soap": ("AE", ["401"]),
    "event_list_error_invalid_request_soap": ("AE", ["400", "35160"]),
    "event_list_error_merged_soap": ("AE", ["410", "30307"]),
    "event_list_error_service_not_available_soap": ("AR", ["502"]),
    "event_list_error_system_soap": ("AE", ["500"]),
    "event_list_no_consent_soap": ("AE", ["420", "30418"]),
    "event_list_no_results_soap": ("AE", ["210", "30312"]),
    "event_no_consent_soap": ("AE", ["420", "30418"]),
    "event_not_found_soap": ("AE", ["410", "30308"]),
}


@pytest.mark.parametrize("name", CODES)
def test_our_readers_read_refusals(name: str) -> None:
    """A client of ours reads every refusal: type, codes in order, severity."""
    data = example(FOLDER, f"QUQI_IN010000UK14_{name}")
    root = interaction_in(data) if name.endswith("soap") else read_xml(data)
    ack, codes = CODES[name]
    severity = "WG" if codes[0] == "210" else "ER"
    for outcome in (read_event_list_answer(root, PATIENT).outcome, read_event_answer(root, PATIENT).outcome):
        assert outcome.ack == ack
        assert [issue.code for issue in outcome.issues] == codes
        assert {issue.severity for issue in outcome.issues} == {severity}


def test_requests_are_written_as_shown() -> None:
    """Our client writes the two event queries as the examples show them. Spec: 20 §5."""
    person = Person("555000000111", "555000000222", "R8000")
    for interaction, name, message_id in (
        (EVENT_LIST, LIST, "3FCF0020-2DEA-5107-A1DF-048798B9ACB7"),
        (EVENT, RETRIEVE, "FE4FA51B-8C0A-5E3D-A3A2-1015FFAD9E06"),
    ):
        ids = MessageIds(message_id, interaction)
        query = EventQuery(ids, PATIENT, CURRENT) if interaction == EVENT else EventListQuery(ids, PATIENT)
        heading = Heading(message_id, "20250605143210", "V3NPfIT4.2.00", "918999000001", "918999000101")
        shown = etree.tostring(interaction_in(example(FOLDER, name)), with_tail=False)
        assert canonical(write_query(heading, query, person)) == canonical(shown)
