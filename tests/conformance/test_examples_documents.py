"""The examples of document queries, subject access and SCR applications: sent as they are, answers compared, read."""

from datetime import UTC, datetime

import pytest
from lxml import etree

from openscr.codes import (
    DOCUMENT,
    DOCUMENT_ALIAS,
    DOCUMENT_LIST,
    DOCUMENT_LIST_ALIAS,
    DOCUMENT_LIST_BY_DATE,
    DOCUMENT_LIST_BY_TYPE,
    GP_SUMMARY,
    OID_SNOMED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS,
)
from openscr.hl7.document_list import read_document_answer, read_document_list_answer
from openscr.hl7.document_query import write_document_query
from openscr.hl7.psis import read_record_answer, write_query
from openscr.hl7.scr_application import (
    read_extended_list,
    read_permissions_answer,
    write_extended_list,
    write_permissions,
    write_permissions_query,
)
from openscr.hl7.wrapper import Heading
from openscr.spine import (
    CodedValue,
    Consent,
    DissentOverride,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    EventStatus,
    MessageIds,
    Person,
    ScrPermissionsQuery,
    SubjectAccessQuery,
    TimeRange,
)
from openscr.transport.wsa import write_response
from openscr.transport.xml import read_xml

from .comparing import HL7, canonical, same
from .examples import capture, example, interaction_in
from .harness import Harness
from .test_examples_psis import (
    CURRENT,
    DISSENTER,
    FOLDER,
    MERGED,
    PATIENT,
    REPLACED,
    STRANGER,
    example_document,
    put_record,
)

PAYLOADS = {
    DOCUMENT_LIST: "QUPC_IN160102UK05_success_payload",
    DOCUMENT_LIST_ALIAS: "QUPC_IN160102UK05_success_payload",
    DOCUMENT_LIST_BY_TYPE: "QUPC_IN160108UK05_success_payload",
    DOCUMENT_LIST_BY_DATE: "QUPC_IN160110UK05_success_payload",
    DOCUMENT: "QUPC_IN160104UK05_success_payload",
    DOCUMENT_ALIAS: "QUPC_IN160104UK05_success_payload",
}
"""What answers the example of each request, over ebXML."""

PERSON = Person("555000000111", "555000000222", "R8000")


def request(interaction: str) -> bytes:
    return example(FOLDER, f"{interaction}_request_payload")


def id_of(root: etree._Element, path: str) -> str:
    """Return the id at the end of a path of HL7 steps."""
    element = root.find("/".join(HL7 + step for step in path.split("/")))
    assert element is not None
    return element.get("root", "")


def as_shown(data: bytes, shown: bytes) -> bytes:
    """Return an answer of ours with what depends on who uploaded, and how: the practice, and the size in bytes.

    The practice is the demo's here, and the documents are without the white space of the examples.
    """
    root = read_xml(data)
    theirs = read_xml(shown)
    # Some examples show the first document alone.
    number = len(list(theirs.iter(f"{HL7}pSISDocMetaData")))
    for document in list(root.iter(f"{HL7}pSISDocMetaData"))[number:]:
        component = document.getparent()
        collection = component.getparent() if component is not None else None
        assert collection is not None
        collection.remove(component)
    for path in ("estDocSize/{*}value", "representedScopingOrg/{*}id", "representedScopingOrg/{*}name"):
        ours = list(root.iterfind(f".//{{*}}{path}"))
        others = list(theirs.iterfind(f".//{{*}}{path}"))
        assert len(ours) == len(others)
        for one, other in zip(ours, others, strict=True):
            one.text = other.text
            for name, value in other.items():
                one.set(name, value)
    for acknowledged in ("messageRef/{*}id",):
        for one, other in zip(
            root.iterfind(f".//{{*}}{acknowledged}"), theirs.iterfind(f".//{{*}}{acknowledged}"), strict=True
        ):
            one.set("root", other.get("root", ""))
    return etree.tostring(root)


@pytest.mark.parametrize("interaction", PAYLOADS)
async def test_express_answers_equal_the_examples(service: Harness, interaction: str) -> None:
    """With the shown summaries uploaded at the shown times, each request gets the shown answer. Spec: 20 §13, §14."""
    await put_record(service)
    asked, shown = request(interaction), example(FOLDER, PAYLOADS[interaction])
    delivery = await service.express(asked)
    ours = etree.tostring(delivery.root)
    assert id_of(delivery.root, "acknowledgement/messageRef/id") == id_of(read_xml(asked), "id")
    same(as_shown(ours, shown), shown)
    sizes = [int(each.get("value", "")) for each in read_xml(ours).iterfind(".//{*}estDocSize/{*}value")]
    state = await service.state(PATIENT)
    stored = {event.event_id: event.document_length for event in state.events}
    ids = [each.get("root") for each in read_xml(ours).iterfind(".//{*}pSISDocMetaData/{*}id")]
    assert sizes == [stored[each] for each in ids]
    # The envelope is that of an express message. Spec: 40 §7.2, §10.5.
    envelope = delivery.envelope
    assert envelope.action == PAYLOADS[interaction].partition("_success")[0]
    assert (envelope.ack_requests, envelope.duplicate_eliminations, envelope.sync_replies) == (0, 0, 1)
    assert envelope.message_id == id_of(delivery.root, "id")


async def test_a_list_over_soap_equals_the_example(service: Harness) -> None:
    await put_record(service)
    shown = example(FOLDER, "QUPC_IN160102UK05_success_soap")
    answer = await service.ask(example(FOLDER, "QUPC_IN160101UK05_request_soap"))
    assert answer.status == 200
    same(as_shown(answer.body, shown), shown)
    one = await service.ask(example(FOLDER, "QUPC_IN160103UK05_request_soap"))
    wrapper = read_xml(one.body).find(".//{*}documentQueryResponse")
    assert wrapper is not None
    found = read_document_answer(wrapper[0], PATIENT)
    assert canonical(found.content) == canonical(example_document())


@pytest.mark.parametrize(
    ("interaction", "changes", "shown"),
    [
        (DOCUMENT_LIST, [(PATIENT, STRANGER)], "QUQI_IN010000UK14_document_no_results_payload"),
        (DOCUMENT_LIST, [(PATIENT, DISSENTER)], "QUQI_IN010000UK14_document_no_consent_payload"),
        (DOCUMENT_LIST, [(PATIENT, "9990012319")], "QUQI_IN010000UK14_document_error_payload"),
        (DOCUMENT, [(PATIENT, DISSENTER)], "QUQI_IN010000UK14_document_no_consent_payload"),
        (DOCUMENT_LIST, [("20250605235959", "20200101")], "QUPC_IN160102UK05_no_data_payload"),
    ],
)
async def test_refusals_equal_the_examples(
    service: Harness, interaction: str, changes: list[tuple[str, str]], shown: str
) -> None:
    """What the examples show of refusals and of "nothing found" is what comes, but for the ids. Spec: 20 §8."""
    await put_record(service)
    body = request(interaction)
    for old, new in changes:
        assert old.encode() in body
        body = body.replace(old.encode(), new.encode())
    theirs = example(FOLDER, shown)
    delivery = await service.express(body)
    numbers = [(STRANGER.encode(), b"NUMBER"), (DISSENTER.encode(), b"NUMBER"), (b"9990012319", b"NUMBER")]
    ours = as_shown(etree.tostring(delivery.root), theirs)
    for old, new in numbers:
        ours, theirs = ours.replace(old, new), theirs.replace(old, new)
    same(ours, theirs)


async def test_a_merged_number_is_told_the_short_text(service: Harness) -> None:
    delivery = await service.express(request(DOCUMENT_LIST).replace(PATIENT.encode(), MERGED.encode()))
    texts = [each.get("displayName") for each in delivery.root.iter(f"{HL7}code")]
    assert texts == ["Logical inconsistency", "[PSIS-30307] - The NHS Number has been merged."]


async def test_the_override_example_is_granted_and_alerted(service: Harness) -> None:
    """The patient dissents and has no record: with the override that is told, and an alert is raised. Spec: 20 §6."""
    delivery = await service.express(example(FOLDER, "QUPC_IN160101UK05_request_emergency_override_payload"))
    assert [each.get("code") for each in delivery.root.iter(f"{HL7}code")] == ["210", "30312"]
    alerts = [alert for alert in await service.store.read_alerts() if alert.nhs_number == DISSENTER]
    assert [(alert.type, alert.reason, alert.text) for alert in alerts] == [
        ("2", "1", "Reason given by the user as free text")
    ]


async def test_the_captured_express_query(service: Harness) -> None:
    """Captures 07 to 09 of transport: request, empty 202, answer to the party's own endpoint. Spec: 40 §12."""
    await service.set_consent("9990000018", Consent.NO)
    sent = capture("07")
    headers = {name: value for name, value in sent.headers.items() if name not in ("host", "connection")}
    answer = await service.post(
        sent.path, sent.body, soap_action=headers["soapaction"], content_type=headers["content-type"]
    )
    assert (answer.status, answer.body) == (202, b"")
    assert answer.headers["content-type"] == "text/xml"
    assert "soapaction" not in answer.headers
    delivery = await service.clients.answer_to("6D1E2F30-5A4B-4C6D-8E7F-90A1B2C35506")
    shown = capture("09")
    assert delivery.headers["soapaction"] == shown.headers["soapaction"]
    assert delivery.headers["content-type"] == shown.headers["content-type"]
    parts = shown.multipart()
    same(etree.tostring(delivery.root), parts.parts[1].content(shown.body))
    same(delivery.envelope_xml, parts.root.content(shown.body))


# --- subject access and SCR applications ----------------------------------------------------------------------------


async def test_subject_access_equals_the_example(service: Harness) -> None:
    await put_record(service)
    answer = await service.ask(example(FOLDER, "QUPC_IN120000UK06_request_soap"))
    assert answer.status == 200
    found = read_record_answer(interaction_in(answer.body), PATIENT)
    shown = read_record_answer(interaction_in(example(FOLDER, "QUPC_IN160000UK06_success_soap")), PATIENT)
    assert [event.event_id for event, _ in shown.events][:1] == [CURRENT]
    assert [event.event_id for event, _ in found.events] == [CURRENT, REPLACED]
    # The example shows the first event alone; ours says the same of it.
    kept, theirs = read_xml(answer.body), example(FOLDER, "QUPC_IN160000UK06_success_soap")
    events = list(kept.iter("{urn:npfit:psisqr}event"))
    for event in events[len(shown.events) :]:
        parent = event.getparent()
        assert parent is not None
        parent.remove(event)
    same(etree.tostring(kept), theirs)
    assert {alert.reason for alert in await service.store.read_alerts()} == {"subject-access"}


async def test_the_question_of_an_scr_application(service: Harness) -> None:
    """The shown shape, with what is known here: nothing is recorded of relationships, consent is Ask. Spec: 20 §11."""
    await put_record(service)
    answer = await service.ask(example(FOLDER, "HAS_SCRA_PERMISSIONS_INSM01_request_soap"))
    assert answer.status == 200
    shown = read_xml(example(FOLDER, "HAS_SCRA_PERMISSIONS_INSM01_response_soap"))
    for values in shown.iter(f"{HL7}values"):
        values.set("value", "Ask")
    for called in list(shown.iter(f"{HL7}name")):
        # The author of the document has an unstructured name, of which no part is known to be the family's.
        person = called.getparent()
        assert person is not None
        person.remove(called)
    for name in ("permissionToView", "legitimateRelationships"):
        for element in shown.iter(HL7 + name):
            for key in element.attrib:
                element.set(key, "false" if key in ("exists", "claimed", "referred") else "")
    same(answer.body, etree.tostring(shown))


def test_our_reader_reads_what_an_scr_application_is_told() -> None:
    root = interaction_in(example(FOLDER, "HAS_SCRA_PERMISSIONS_INSM01_response_soap"))
    told = read_permissions_answer(root, PATIENT)
    assert [(each.event.event_id, each.author.family_name) for each in told.events] == [(CURRENT, "Penrose")]
    assert told.events[0].event.stored_at == datetime(2025, 6, 2, 8, 15, 2, tzinfo=UTC)
    assert (told.store, told.view) == (Consent.YES, Consent.YES)
    assert (told.permission.exists, told.permission.claimed, told.permission.referred) == (True, True, False)
    assert (told.permission.assessor_id, told.permission.assessor_group) == ("555000000222", "Everyone")
    assert (told.relationship.reason, told.relationship.staff) == ("Direct care", "555000000222")
    assert told.protection_order is False
    heading = heading_of("D0FAB7B8-C352-5DA8-8A38-F8A32D5BD76A", answer=True)
    body = write_permissions(heading, told, "CB1E1CD2-201F-526B-B5D4-537B1F564B28")
    same(in_envelope(body, SCR_PERMISSIONS, heading.message_id), example(FOLDER, f"{SCR_PERMISSIONS}_response_soap"))


def test_the_extended_event_list_is_read_and_written() -> None:
    """What we read of the example is all that it says: written again it is the same. Spec: 20 §11.3."""
    name = "SCRA_EXTENDEDRESPONSE_INSM01"
    shown = example(FOLDER, f"{name}_response_soap")
    listed = read_extended_list(interaction_in(shown), PATIENT)
    (only,) = listed.events
    assert (only.event.event_id, only.event.status) == (CURRENT, EventStatus.NORMAL)
    author = only.author
    assert (author.user_id, author.role_profile_id, author.job_role, author.asid) == (
        "555000000111",
        "555000000222",
        "R8000",
        "918999000101",
    )
    root = interaction_in(shown)
    own, reference = id_of(root, "id"), id_of(root, "acknowledgement/messageRef/id")
    body = write_extended_list(heading_of(own, answer=True), listed, reference)
    assert canonical_act(read_xml(in_envelope(body, name, own))) == canonical_act(read_xml(shown))


def canonical_act(root: etree._Element) -> str:
    act = next(root.iter(f"{HL7}ControlActEvent"))
    return canonical(etree.tostring(act, with_tail=False))


def heading_of(message_id: str, *, answer: bool = False, version: str = "V3NPfIT4.2.00") -> Heading:
    """The heading of the examples' requests, or of their answers."""
    systems = ("918999000001", "918999000101")
    receiver, sender = systems if not answer else systems[::-1]
    return Heading(message_id, "20250605143210", version, receiver, sender)


def in_envelope(body: bytes, interaction: str, message_id: str) -> bytes:
    reference = "CB1E1CD2-201F-526B-B5D4-537B1F564B28"
    return write_response(
        message_id=message_id,
        action=f"urn:nhs:names:services:psisquery/{interaction}",
        to="192.0.2.10",
        from_address="https://spine.example.test/sync-service",
        receiver_asid="918999000101",
        sender_asid="918999000001",
        relates_to=f"uuid:{reference}",
        body=body,
    )


# --- our client -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interaction", PAYLOADS)
def test_our_readers_read_the_answers(interaction: str) -> None:
    root = read_xml(example(FOLDER, PAYLOADS[interaction]))
    if interaction in (DOCUMENT, DOCUMENT_ALIAS):
        found = read_document_answer(root, PATIENT)
        assert found.document is not None
        assert canonical(found.content) == canonical(example_document())
        documents = (found.document,)
    else:
        documents = read_document_list_answer(root, PATIENT).documents
    first = documents[0]
    assert (first.event_id, first.status, first.size) == (CURRENT, EventStatus.NORMAL, 10846)
    assert first.stored_at == datetime(2025, 6, 2, 8, 15, 2, tzinfo=UTC)
    assert (first.effective_time, first.payload_id) == ("20250602090000", "REPC_MT150007UK05")
    assert first.author.name == (("", "Dr Asha Penrose"),)
    assert (first.author.organisation, first.author.organisation_name) == ("A99999", "Harbour View Surgery")
    for second in documents[1:]:
        assert (second.event_id, second.status, second.replaced_by) == (REPLACED, EventStatus.REPLACED, CURRENT)


def test_our_reader_reads_nothing_found() -> None:
    answer = read_document_list_answer(read_xml(example(FOLDER, "QUPC_IN160102UK05_no_data_payload")), PATIENT)
    assert answer.outcome.accepted
    assert answer.documents == ()


RANGE = TimeRange("20200101000000", "20250605235959")
SUMMARY = CodedValue(GP_SUMMARY, OID_SNOMED)
HEADING = CodedValue("163131000000108", OID_SNOMED)
FILTERS = {
    DOCUMENT_LIST: DocumentFilter(date=RANGE, document_type=SUMMARY),
    DOCUMENT_LIST_ALIAS: DocumentFilter(date=RANGE, document_type=SUMMARY),
    DOCUMENT_LIST_BY_TYPE: DocumentFilter(cre_type=HEADING, date=RANGE),
    DOCUMENT_LIST_BY_DATE: DocumentFilter(date=RANGE),
}


@pytest.mark.parametrize("interaction", PAYLOADS)
def test_requests_are_written_as_shown(interaction: str) -> None:
    """Our client writes the document queries as the examples show them, order included. Spec: 20 §4, §16."""
    shown = read_xml(request(interaction))
    message_id = id_of(shown, "id")
    for value in shown.iter(f"{HL7}value"):
        value.attrib.pop("displayName", None)
    ids = MessageIds(message_id, interaction)
    query: DocumentListQuery | DocumentQuery
    if interaction in FILTERS:
        query = DocumentListQuery(ids, PATIENT, wanted=FILTERS[interaction])
    else:
        query = DocumentQuery(ids, PATIENT, CURRENT)
    written = write_document_query(heading_of(message_id, version="3NPfIT7.2.02"), query, PERSON)
    assert canonical(written) == canonical(etree.tostring(shown))


def test_other_requests_are_written_as_shown() -> None:
    for name in ("QUPC_IN120000UK06", "HAS_SCRA_PERMISSIONS_INSM01"):
        shown = interaction_in(example(FOLDER, f"{name}_request_soap"))
        message_id = id_of(shown, "id")
        ids = MessageIds(message_id, name)
        if name == SUBJECT_ACCESS:
            written = write_query(
                heading_of(message_id), SubjectAccessQuery(ids, PATIENT, DissentOverride("2")), PERSON
            )
        else:
            asked = ScrPermissionsQuery(ids, PATIENT, "555000000222", "555000000222", ("555000000333",))
            written = write_permissions_query(heading_of(message_id), asked, PERSON)
        assert canonical(written) == canonical(etree.tostring(shown, with_tail=False))
