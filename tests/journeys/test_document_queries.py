"""Documents listed and retrieved, in one exchange and as express messages; subject access; SCR applications."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree

from journeys.endpoint import ClientEndpoint, Delivery, Reply
from journeys.messages import HOSPITAL, PRACTICE, Mail, answer_to, collected, document, fresh_patient, get
from journeys.runner import (
    Server,
    faults_of,
    import_directory,
    import_patients,
    live_directory,
    outbox_rows,
    server_context,
    stored,
    until,
)
from journeys.wire import Answer, errors_of, fault_of, signal_of, soap_of
from openscr.codes import (
    DOCUMENT_ALIAS,
    DOCUMENT_LIST_ALIAS,
    DOCUMENT_LIST_BY_DATE,
    DOCUMENT_LIST_BY_TYPE,
    DOCUMENT_QUERIES,
    GP_SUMMARY,
    OID_SNOMED,
    QUERY_FAILED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS_ANSWER,
)
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.document_list import read_document_answer, read_document_list_answer
from openscr.hl7.psis import read_record_answer
from openscr.hl7.scr_application import read_permissions_answer
from openscr.identifiers import slot_of
from openscr.spine import (
    CodedValue,
    Consent,
    DissentOverride,
    DocumentFilter,
    DocumentListOutcome,
    EventStatus,
    Outcome,
    TimeRange,
)
from openscr.store.interface import OutboxState
from openscr.testbench.world import OWN_PARTY, PRACTICE_PARTY
from openscr.transport.xml import read_xml

LIST, LIST_BY_DATE, ONE = "QUPC_IN160102UK05", "QUPC_IN160110UK05", "QUPC_IN160104UK05"


def canonical(xml: bytes | etree._Element) -> bytes:
    """Return what two documents of the same infoset have in common."""
    root = etree.fromstring(xml) if isinstance(xml, bytes) else xml
    return etree.tostring(root, method="c14n", exclusive=True)


def codes(outcome: Outcome) -> list[str]:
    return [issue.code for issue in outcome.issues]


async def put_two(server: Server) -> tuple[str, str, str]:
    """Upload a summary and its replacement; return the number, the older id and the newer one."""
    number = fresh_patient()
    first = PRACTICE.upload(number)
    second = PRACTICE.upload(number, first.event_id)
    for mail in (first, second):
        signal_of(await mail.post().to(server.web))
        assert (await answer_to(server.web, mail.message_id)).outcome.accepted
    return number, first.event_id, second.event_id


async def delivered(server: Server, mail: Mail) -> tuple[str, etree._Element]:
    """Send an express query at the demo; return action and payload of the answer that its collector has."""
    answer = await mail.post().to(server.web)
    assert (answer.status, answer.body, answer.header("content-type")) == (202, b"", "text/xml")
    assert answer.header("soapaction") is None

    async def came() -> bool:
        return bool(await collected(server.web, mail.message_id))

    await until(came)
    (found,) = await collected(server.web, mail.message_id)
    assert found["conversation_id"] == mail.message_id
    return found["action"], read_xml(found["payload"].encode())


def list_in(answer: Answer, number: str, name: str = LIST) -> DocumentListOutcome:
    soap = soap_of(answer, name)
    assert soap.interaction.getparent().tag == "{urn:hl7-org:v3}documentListQueryResponse"
    return read_document_list_answer(soap.interaction, number)


async def test_documents_over_soap(demo: Server) -> None:
    """All documents with their states, the newest first; one of them with its content, as it was uploaded."""
    number, older, newer = await put_two(demo)
    listed = list_in(await PRACTICE.documents(number).to(demo.web), number)
    assert [(each.event_id, each.status) for each in listed.documents] == [
        (newer, EventStatus.NORMAL),
        (older, EventStatus.REPLACED),
    ]
    assert [each.replaced_by for each in listed.documents] == [None, newer]
    first = listed.documents[0]
    assert (first.title, first.event_type) == ("General Practice Summary", GP_SUMMARY)
    assert (first.author.user_id, first.author.role_profile_id) == ("555000000101", "555000000102")
    assert ("family", "Demopractice") in first.author.name
    assert (first.author.organisation, first.author.organisation_name) == ("Y90001", "Demo Practice")
    for event_id, interaction in ((newer, ""), (older, DOCUMENT_ALIAS), (newer.lower(), "")):
        soap = soap_of(await PRACTICE.documents(number, event_id, interaction).to(demo.web), ONE)
        assert soap.interaction.getparent().tag == "{urn:hl7-org:v3}documentQueryResponse"
        found = read_document_answer(soap.interaction, number)
        assert found.document is not None
        assert found.document.event_id == event_id.upper()
        replaced = (older,) if event_id.upper() == newer else ()
        assert canonical(found.content) == canonical(document(number, event_id.upper(), *replaced))
    sizes = {each.event_id: each.size for each in listed.documents}
    assert sizes[newer] == len(document(number, newer, older))


async def test_filters_over_soap(demo: Server) -> None:
    number, older, newer = await put_two(demo)
    both = [newer, older]
    everything, nothing = TimeRange("1990", "2090"), TimeRange("1990", "1991")
    summary = CodedValue(GP_SUMMARY, OID_SNOMED)
    medication, diagnoses = CodedValue("185361000000102", OID_SNOMED), CodedValue("163001000000103", OID_SNOMED)
    for wanted, interaction, expected in (
        (DocumentFilter(), DOCUMENT_LIST_ALIAS, both),
        (DocumentFilter(document_type=summary), "", both),
        (DocumentFilter(document_type=CodedValue("196971000000103", OID_SNOMED)), "", []),
        (DocumentFilter(document_type=CodedValue(GP_SUMMARY, "1.2.3")), "", []),
        (DocumentFilter(date=everything), DOCUMENT_LIST_BY_DATE, both),
        (DocumentFilter(date=nothing), DOCUMENT_LIST_BY_DATE, []),
        (DocumentFilter(date=nothing, document_type=summary), "", []),
        (DocumentFilter(cre_type=medication), DOCUMENT_LIST_BY_TYPE, both),
        (DocumentFilter(cre_type=medication, date=nothing), DOCUMENT_LIST_BY_TYPE, []),
        (DocumentFilter(cre_type=diagnoses), DOCUMENT_LIST_BY_TYPE, []),
        (DocumentFilter(set_id="1C3D2E4F-0000-4000-8000-000000000001"), "", []),
    ):
        answer = await PRACTICE.documents(number, wanted, interaction).to(demo.web)
        name = DOCUMENT_QUERIES[interaction or "QUPC_IN160101UK05"]
        listed = list_in(answer, number, name)
        assert listed.outcome.accepted
        assert [each.event_id for each in listed.documents] == expected, wanted
        code = soap_of(answer, name).interaction.find(".//{*}queryResponseCode").get("code")
        assert code == ("OK" if expected else "NF")


async def test_refusals_over_soap(demo: Server) -> None:
    """No record, an unknown document, a dissent, and who may pass over it. Spec: 20 §8."""
    number, _, newer = await put_two(demo)
    stranger = fresh_patient()
    unknown = "1C3D2E4F-0000-4000-8000-000000000001"
    for query, expected in (
        (PRACTICE.documents(stranger), ["210", "30312"]),
        (PRACTICE.documents(stranger, newer), ["210", "30312"]),
        (PRACTICE.documents(number, unknown), ["410", "30308"]),
    ):
        assert codes(read_outcome(soap_of(await query.to(demo.web), QUERY_FAILED).interaction)[0]) == expected
    soap_of(await PRACTICE.set_consent(number, Consent.NO).to(demo.web), "MCCI_IN010000UK13")
    for query in (PRACTICE.documents(number), PRACTICE.documents(number, newer), PRACTICE.documents(number, unknown)):
        outcome, _ = read_outcome(soap_of(await query.to(demo.web), QUERY_FAILED).interaction)
        assert codes(outcome) == ["420", "30418"]
    overridden = await HOSPITAL.documents(number, override=DissentOverride("2")).to(demo.web)
    assert len(list_in(overridden, number).documents) == 2
    async with stored(demo.data) as store:
        alerts = [alert for alert in await store.read_alerts() if alert.nhs_number == number]
    assert [(alert.type, alert.reason) for alert in alerts] == [("2", "2")]


async def test_express_queries_at_the_demo(demo: Server) -> None:
    """202 with nothing in it; the answer, or the refusal, stands in the demo's inbox. Spec: 40 §7.2, 00 §5."""
    number, older, newer = await put_two(demo)
    action, payload = await delivered(demo, PRACTICE.express(number))
    assert action == LIST == etree.QName(payload).localname
    assert [each.event_id for each in read_document_list_answer(payload, number).documents] == [newer, older]
    action, payload = await delivered(demo, PRACTICE.express(number, newer))
    assert action == ONE
    found = read_document_answer(payload, number)
    assert canonical(found.content) == canonical(document(number, newer, older))
    nothing = DocumentFilter(date=TimeRange("1990", "1991"))
    action, payload = await delivered(demo, PRACTICE.express(number, nothing, DOCUMENT_LIST_BY_DATE))
    assert (action, read_document_list_answer(payload, number).documents) == (LIST_BY_DATE, ())
    action, payload = await delivered(demo, PRACTICE.express(fresh_patient()))
    assert (action, codes(read_outcome(payload)[0])) == (QUERY_FAILED, ["210", "30312"])
    mail = PRACTICE.express(number).changed('code="0"', 'code="9"', part="payload")
    action, payload = await delivered(demo, mail)
    assert (action, codes(read_outcome(payload)[0])) == (QUERY_FAILED, ["400", "35160"])


async def test_an_express_query_that_cannot_be_read_is_answered_all_the_same(demo: Server) -> None:
    """Without an id of its own, and without being XML: the answer refers to the ebXML message. Spec: 20 §9.2."""
    mail = PRACTICE.express(fresh_patient())
    no_id = mail.changed(f'<id root="{mail.message_id}"/>', "", part="payload")
    action, payload = await delivered(demo, no_id)
    outcome, reference = read_outcome(payload)
    assert (action, codes(outcome), reference) == (QUERY_FAILED, ["400", "35160"], mail.message_id)
    mail = PRACTICE.express(fresh_patient())
    broken = mail.changed("</ControlActEvent>", "", part="payload")
    action, payload = await delivered(demo, broken)
    outcome, reference = read_outcome(payload)
    assert (action, codes(outcome), reference) == (QUERY_FAILED, ["400"], mail.message_id)
    assert payload.find("{*}versionCode").get("code") == "V3NPfIT3.0"


async def test_an_express_query_asks_for_no_acknowledgement(demo: Server) -> None:
    """The reliability block is that of the express pattern; every breach is told. Spec: 40 §8 step 7."""
    asked = (
        '<eb:AckRequested eb:version="2.0" soap:mustUnderstand="1" '
        'soap:actor="urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH" eb:signed="false"/>'
    )
    mail = PRACTICE.express(fresh_patient()).changed("</soap:Header>", f"{asked}</soap:Header>")
    mail = mail.changed("</eb:MessageHeader>", "<eb:DuplicateElimination/></eb:MessageHeader>")
    assert errors_of(await mail.post().to(demo.web)) == [
        ("Inconsistent", "eb:DuplicateElimination inconsistent with contract"),
        ("Inconsistent", "eb:AckRequested inconsistent with contract"),
    ]
    wrong = PRACTICE.express(fresh_patient()).changed("S20003A000304", "S20001A000182")
    assert errors_of(await wrong.post().to(demo.web)) == [
        ("ValueNotRecognized", "402005:An error occurred while finding the defined contract")
    ]


async def test_the_same_express_query_is_answered_each_time(demo: Server) -> None:
    """No duplicate elimination: what came twice is asked twice. Spec: 20 §1.2."""
    number, *_ = await put_two(demo)
    mail = PRACTICE.express(number)
    for _ in range(2):
        assert (await mail.post().to(demo.web)).status == 202

    async def both() -> bool:
        return len(await collected(demo.web, mail.message_id)) == 2

    await until(both)


async def test_an_event_query_is_no_express_message(demo: Server) -> None:
    mail = PRACTICE.express(fresh_patient())
    post = mail.post().with_headers(soapaction="urn:nhs:names:services:psisquery/QUPC_IN180000UK04")
    assert fault_of(await post.to(demo.web)).codes == ("101",)


async def live(data: Path, start: Callable[..., Server], address: str, **settings: object) -> tuple[Server, str]:
    """Start a live service whose clients' answers go to ``address``; return it and a known patient."""
    await import_directory(data, live_directory(address))
    number = fresh_patient()
    await import_patients(data, [number])
    return await asyncio.to_thread(start, unknown_author="refuse", **settings), number


async def test_express_queries_over_mutual_tls(data: Path, start: Callable[..., Server], pki: Path) -> None:
    """The whole way with certificates at both ends: the answer is an express message of its own. Spec: 40 §7.2."""
    context = server_context(pki, "gp.client.test")
    async with ClientEndpoint(tls=context) as endpoint:
        server, number = await live(data, start, endpoint.url)
        upload = PRACTICE.upload(number).post()
        signal_of(await upload.to(server.spine, server.tls()))
        assert (await endpoint.received_in_answer_to(upload.message_id)).acknowledgement.outcome.accepted
        query = PRACTICE.express(number, upload.event_id).post()
        answer = await query.to(server.spine, server.tls())
        assert (answer.status, answer.body) == (202, b"")
        delivery = await endpoint.received_in_answer_to(query.message_id)
        assert delivery.certificate == "localhost"
        assert delivery.headers["soapaction"] == f"urn:nhs:names:services:psisquery/{ONE}"
        envelope = delivery.envelope
        assert (envelope.from_party, envelope.to_party) == (OWN_PARTY, PRACTICE_PARTY)
        assert (envelope.action, envelope.conversation_id) == (ONE, query.message_id)
        assert (envelope.ack_requests, envelope.duplicate_eliminations, envelope.sync_replies) == (0, 0, 1)
        found = read_document_answer(delivery.payload, number)
        assert canonical(found.content) == canonical(document(number, upload.event_id))
        assert delivery.payload.find("{*}id").get("root") == envelope.message_id

        async def empty() -> bool:
            return await outbox_rows(data) == []

        await until(empty)
        assert await faults_of(data) == ()


async def test_an_answer_is_sent_once_and_not_kept(data: Path, start: Callable[..., Server], pki: Path) -> None:
    """A receiver that fails gets no second attempt, and nothing clinical stays behind. Spec: 40 §7.2."""

    def failing(_: Delivery) -> Reply | None:
        return Reply(500)

    async with ClientEndpoint(failing, tls=server_context(pki, "gp.client.test")) as endpoint:
        server, number = await live(data, start, endpoint.url)
        query = PRACTICE.express(number).post()
        assert (await query.to(server.spine, server.tls())).status == 202
        await endpoint.received()

        async def failed() -> bool:
            return [row.state for row in await outbox_rows(data)] == [OutboxState.FAILED]

        await until(failed)
        (row,) = await outbox_rows(data)
        assert (row.attempts, row.body, row.last_error) == (1, b"", "HTTP 500")
        assert len(endpoint.deliveries) == 1
        assert await faults_of(data) == ()


async def test_an_answer_without_an_endpoint_is_undeliverable(data: Path, start: Callable[..., Server]) -> None:
    directory = live_directory("http://127.0.0.1:9/")
    directory["endpoints"] = [
        each for each in directory["endpoints"] if each["party_key"] != PRACTICE_PARTY or each["service"] != "psisquery"
    ]
    await import_directory(data, directory)
    server = await asyncio.to_thread(start, unknown_author="refuse")
    assert (await PRACTICE.express(fresh_patient()).post().to(server.spine, server.tls())).status == 202
    (row,) = await outbox_rows(data)
    assert (row.state, row.body, row.last_error) == (OutboxState.UNDELIVERABLE, b"", "no endpoint registered")
    assert row.interaction == QUERY_FAILED
    assert json.loads(row.answer)["interaction"] == "QUPC_IN160101UK05"


# --- what is off until an operator wants it -------------------------------------------------------------------------


async def test_subject_access_and_scr_applications_are_off(demo: Server) -> None:
    """They are not there, like any interaction that is not served. Spec: 20 §10.5, §11; 40 §3."""
    number = fresh_patient()
    for query in (
        HOSPITAL.subject_access(number),
        HOSPITAL.scr_permissions(number),
        HOSPITAL.scr_permissions(number, "lrsquery"),
    ):
        assert fault_of(await query.to(demo.web)).codes == ("101",)


@pytest.fixture
async def open_service(start: Callable[..., Server]) -> Server:
    return await asyncio.to_thread(start, demo=True, subject_access=True, scr_application=True)


async def test_subject_access(open_service: Server) -> None:
    """Everything that is held, each document as it was uploaded, and never without an alert. Spec: 20 §10.5."""
    server = open_service
    number, older, newer = await put_two(server)
    soap = soap_of(await HOSPITAL.subject_access(number).to(server.web), SUBJECT_ACCESS_ANSWER)
    assert soap.interaction.getparent().tag == "{urn:hl7-org:v3}patientQueryResponse"
    answer = read_record_answer(soap.interaction, number)
    assert [(event.event_id, event.status) for event, _ in answer.events] == [
        (newer, EventStatus.NORMAL),
        (older, EventStatus.REPLACED),
    ]
    for (event, content), replaced in zip(answer.events, ((older,), ()), strict=True):
        assert canonical(content) == canonical(document(number, event.event_id, *replaced))
    # The practice's doctor has no B0082: nothing is told, and nobody is alerted.
    refused, _ = read_outcome(soap_of(await PRACTICE.subject_access(number).to(server.web), QUERY_FAILED).interaction)
    assert codes(refused) == ["420", "30418"]
    soap_of(await PRACTICE.set_consent(number, Consent.NO).to(server.web), "MCCI_IN010000UK13")
    refused, _ = read_outcome(soap_of(await HOSPITAL.subject_access(number).to(server.web), QUERY_FAILED).interaction)
    assert codes(refused) == ["420", "30418"]
    soap_of(await HOSPITAL.subject_access(number, DissentOverride("2")).to(server.web), SUBJECT_ACCESS_ANSWER)
    async with stored(server.data) as store:
        alerts = [alert for alert in await store.read_alerts() if alert.nhs_number == number]
        audit = [row.entry async for row in store.read_audit(slot_of(number)) if row.entry.nhs_number == number]
    assert [alert.reason for alert in alerts] == ["subject-access", "2"]
    attempts = [entry for entry in audit if entry.action == "QUPC_IN120000UK06"]
    assert [entry.outcome for entry in attempts] == ["AA", "AE", "AE", "AA"]
    assert [entry.content.get("reason") for entry in attempts] == [None, "activity_missing", "consent", None]


async def test_scr_applications(open_service: Server) -> None:
    """Is there a summary, what does consent say; what is not recorded does not exist. Spec: 20 §11."""
    server = open_service
    number, _, newer = await put_two(server)
    for service in ("psisquery", "lrsquery"):
        soap = soap_of(await HOSPITAL.scr_permissions(number, service).to(server.web), SCR_PERMISSIONS)
        assert soap.action == f"urn:nhs:names:services:{service}/{SCR_PERMISSIONS}"
        assert soap.interaction.getparent().tag == "{urn:hl7-org:v3}scraPermissionsQueryResponse"
        told = read_permissions_answer(soap.interaction, number)
        assert [each.event.event_id for each in told.events] == [newer]
        assert (told.events[0].author.user_id, told.events[0].author.family_name) == ("555000000101", "Demopractice")
        assert (told.store, told.view) == (Consent.ASK, Consent.ASK)
        assert (told.permission.exists, told.relationship.exists, told.protection_order) == (False, False, False)
    soap_of(await PRACTICE.set_consent(number, Consent.NO).to(server.web), "MCCI_IN010000UK13")
    soap = soap_of(await HOSPITAL.scr_permissions(number).to(server.web), SCR_PERMISSIONS)
    told = read_permissions_answer(soap.interaction, number)
    assert (told.events, told.view) == ((), Consent.NO)
    broken = HOSPITAL.scr_permissions(number)
    body = broken.body.replace(b"<AgentPersonSDS", b"<Nobody").replace(b"</AgentPersonSDS", b"</Nobody")
    answer = soap_of(await type(broken)(body, broken.headers, broken.path, "").to(server.web), QUERY_FAILED)
    assert answer.interaction.getparent().tag == "{urn:hl7-org:v3}scraPermissionsQueryResponse"
    assert [issue.display.partition("field ")[2] for issue in read_outcome(answer.interaction)[0].issues] == [
        "",
        "Author is missing or incorrect",
        "Subject is missing or incorrect",
    ]


async def test_the_figures_of_queries_are_counted(demo: Server) -> None:
    await PRACTICE.documents(fresh_patient()).to(demo.web)
    metrics = (await get(demo.web, "/metrics")).body.decode()
    assert 'interaction="QUPC_IN160101UK05"' in metrics
