"""Faulty document queries through the real service, on both channels, and what our answers look like to the schemas."""

import contextlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree

from hl7.document_rules import DOCUMENT_RULES, SCRA_RULES
from hl7.mutation import mutated
from hl7.rules import Row, message
from openscr.codes import DOCUMENT_QUERIES, DOCUMENT_RETRIEVALS
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml
from shared import schema, shared

from .examples import interaction_in
from .harness import Harness, running
from .test_examples_psis import CURRENT, DISSENTER, MERGED, PATIENT, REPLACED, STRANGER, put_record
from .test_rules import ack_of, details, reference_of, version_of
from .test_schemas import BOTH, check

OWN_ASID = "918999000001"
VIEWER_ASID, VIEWER_PARTY = "918999000101", "A99999-918101"
NOT_OVER_SOAP = {"P1", "B1", "C5", "C6"}
"""Rows that break another rule, or none, where a SOAP header stands above the payload."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def lasting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """One service for all rows: a query that is refused for its form leaves nothing in a record."""
    async with running(tmp_path_factory.mktemp("service")) as harness:
        yield harness


def interaction_of(row: Row) -> str:
    return row.base.partition("_request")[0]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", DOCUMENT_RULES, ids=str)
async def test_faulty_express_queries(lasting: Harness, row: Row) -> None:
    """202 all the same; the refusal comes as a message of its own. Spec: 20 §9.2, 40 §8 steps 13-15."""
    payload = mutated(message("psis-query", row.base), row.change)
    sent, message_id = await lasting.send(payload, interaction=interaction_of(row), from_party=VIEWER_PARTY)
    assert (sent.status, sent.body) == (202, b"")
    delivery = await lasting.clients.answer_to(message_id)
    root = delivery.root
    assert delivery.envelope.action == etree.QName(root).localname == "QUQI_IN010000UK14"
    assert (ack_of(root), list(details(root))) == ("AE", list(row.issues))
    unversioned = "psis-B3" in {rule for rule, _, _ in row.found}
    assert version_of(root) == ("V3NPfIT3.0" if unversioned else "3NPfIT7.2.02")
    own_id = read_xml(payload).find("{*}id")
    assert reference_of(root) == (own_id.get("root") if own_id is not None else message_id)
    receiver = root.find("{*}communicationFunctionRcv/{*}device/{*}id")
    assert receiver is not None
    assert receiver.get("extension") == VIEWER_ASID
    assert [e.get("code") for e in root.iterfind(".//{*}queryResponseCode")] == ["ID"]
    (entry,) = [each for each in await lasting.audit() if each.content.get("transport_id") == message_id]
    assert (entry.outcome, entry.content["reason"]) == ("AE", "invalid")
    check_if_there(root)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("row", [row for row in DOCUMENT_RULES if row.label not in NOT_OVER_SOAP], ids=str)
async def test_faulty_queries_over_soap(lasting: Harness, row: Row) -> None:
    """The same refusal, in the wrapper of its request. Spec: 20 §2.4, §9.2."""
    payload = mutated(message("psis-query", row.base), row.change)
    interaction = interaction_of(row)
    envelope = lasting.in_soap(payload, interaction=interaction, receiver=OWN_ASID, sender=VIEWER_ASID)
    answer = await lasting.ask(envelope)
    assert answer.status == 200, answer.body
    root = interaction_in(answer.body)
    parent = root.getparent()
    assert parent is not None
    wrapper = "documentQueryResponse" if interaction in DOCUMENT_RETRIEVALS else "documentListQueryResponse"
    assert etree.QName(parent).localname == wrapper
    assert etree.QName(root).localname == "QUQI_IN010000UK14"
    assert (ack_of(root), list(details(root))) == ("AE", list(row.issues))


async def test_a_query_without_an_id_over_soap_is_a_fault(service: Harness) -> None:
    """Spec: 20 §9.2, rule B1."""
    (row,) = [row for row in DOCUMENT_RULES if row.label == "B1"]
    payload = mutated(message("psis-query", row.base), row.change)
    envelope = service.in_soap(payload, interaction="QUPC_IN160101UK05", receiver=OWN_ASID, sender=VIEWER_ASID)
    answer = await service.ask(envelope)
    assert answer.status == 500
    location = answer.root.findtext(".//{*}error/{*}location")
    assert location == "/SOAP:Envelope/SOAP:Body/hl7:QUPC_IN160101UK05/hl7:id"


@pytest.mark.parametrize("row", SCRA_RULES, ids=str)
async def test_faulty_questions_of_scr_applications(service: Harness, row: Row) -> None:
    """Spec: 30 §5.4, 20 §11."""
    action = "urn:nhs:names:services:psisquery/HAS_SCRA_PERMISSIONS_INSM01"
    answer = await service.ask(mutated(message("psis-query", row.base), row.change), action=action)
    assert answer.status == 200, answer.body
    root = interaction_in(answer.body)
    parent = root.getparent()
    assert parent is not None
    assert etree.QName(parent).localname == "scraPermissionsQueryResponse"
    assert (ack_of(root), list(details(root))) == ("AE", list(row.issues))


@pytest.mark.parametrize("payload", [b"", b"<QUPC_IN160101UK05", b"no XML", b"<!DOCTYPE a><a/>"])
async def test_unreadable_express_queries(service: Harness, payload: bytes) -> None:
    """A refusal like any other, by the ebXML message's id and to the ASID of its party. Spec: 20 §9.2, 40 §10.5."""
    sent, message_id = await service.send(payload, interaction="QUPC_IN160103UK05", from_party=VIEWER_PARTY)
    assert sent.status == 202
    root = (await service.clients.answer_to(message_id)).root
    assert list(details(root)) == [("400", "Invalid Request")]
    assert reference_of(root) == message_id
    receiver = root.find("{*}communicationFunctionRcv/{*}device/{*}id")
    assert receiver is not None
    assert receiver.get("extension") == VIEWER_ASID
    assert version_of(root) == "V3NPfIT3.0"
    check_if_there(root)


async def test_an_interaction_under_another_action(service: Harness) -> None:
    """What came is not what was announced: refused by rule C3, not answered as if it were. Spec: 20 §12."""
    payload = message("psis-query", "QUPC_IN160103UK05_request_payload")
    sent, message_id = await service.send(payload, interaction="QUPC_IN160109UK05", from_party=VIEWER_PARTY)
    assert sent.status == 202
    root = (await service.clients.answer_to(message_id)).root
    fields = [text.partition("Mandatory field ")[2] for _, text in details(root)]
    assert fields == ["", "Interaction Id is missing or incorrect", "Date is missing or incorrect"]


async def test_a_sender_of_another_party_is_refused_with_a_fault(service: Harness) -> None:
    """Spec: 40 §8 step 10."""
    payload = message("psis-query", "QUPC_IN160101UK05_request_payload")
    payload = payload.replace(VIEWER_ASID.encode(), b"200000000115")
    sent, _ = await service.send(payload, interaction="QUPC_IN160101UK05", from_party=VIEWER_PARTY)
    assert (sent.status, sent.root.findtext(".//{*}errorCode")) == (500, "300")
    # Transport's own example system may ask two of the six only.
    payload = payload.replace(b"200000000115", b"900000000101").replace(b"QUPC_IN160101UK05", b"QUPC_IN160201UK04")
    sent, _ = await service.send(payload, interaction="QUPC_IN160201UK04", from_party="B99901-900101")
    assert (sent.status, sent.root.findtext(".//{*}errorCode")) == (500, "300")


# --- schemas --------------------------------------------------------------------------------------------------------


def check_if_there(root: etree._Element) -> None:
    """Validate where the schemas are at hand; the test has its own assertions without them."""
    with contextlib.suppress(pytest.skip.Exception):
        shared("mim")
        check(root)


async def test_every_answer_is_valid(service: Harness) -> None:
    """Every kind of answer, whatever the states and the authors are. Spec: 20 §14, 40 §12."""
    shared("mim")
    await put_record(service)
    for name in ("01", "02", "04"):
        await service.deliver(message("gp-summary", name))
    names = set()
    for interaction in DOCUMENT_QUERIES:
        request = message("psis-query", f"{interaction}_request_payload")
        for number in (PATIENT, STRANGER, DISSENTER, MERGED, "9990001030"):
            asked = request.replace(PATIENT.encode(), number.encode())
            if number == "9990001030":
                asked = asked.replace(b"20250605235959", b"20990101")
            delivery = await service.express(asked)
            check(delivery.root)
            names.add(etree.QName(delivery.root).localname)
    listed = await service.express(
        message("psis-query", "QUPC_IN160109UK05_request_payload")
        .replace(PATIENT.encode(), b"9990001030")
        .replace(b"20250605235959", b"20990101")
    )
    states = [each.get("code") for each in listed.root.iterfind(".//{*}documentState/{*}value")]
    assert sorted(states) == ["2", "3"]
    assert len(list(listed.root.iter("{urn:hl7-org:v3}withdrawingDocUUID"))) == 1
    for event_id in (CURRENT, REPLACED):
        asked = message("psis-query", "QUPC_IN160103UK05_request_payload").replace(CURRENT.encode(), event_id.encode())
        document = (await service.express(asked)).root
        summary = next(document.iter("{urn:hl7-org:v3}GPSummary"))
        assert schema("Schemas", "REPC_MT150007UK05_7202").validate(
            etree.ElementTree(read_xml(etree.tostring(summary)))
        )
    assert names == {*DOCUMENT_QUERIES.values(), "QUQI_IN010000UK14"}


async def test_subject_access_is_valid(service: Harness) -> None:
    shared("mim")
    await put_record(service)
    for number in (PATIENT, STRANGER, MERGED):
        request = message("psis-query", "QUPC_IN120000UK06_request_soap").replace(PATIENT.encode(), number.encode())
        check(interaction_in((await service.ask(request)).body))


def test_what_our_client_asks_is_valid() -> None:
    """The requests of our client are the examples letter for letter; these are what the schemas know."""
    shared("mim")
    for interaction in DOCUMENT_QUERIES:
        root = read_xml(message("psis-query", f"{interaction}_request_payload"))
        for folder in BOTH:
            found = schema(folder, interaction)
            assert found.validate(etree.ElementTree(root)), found.error_log


async def test_answers_carry_an_author_of_every_kind(service: Harness) -> None:
    """A person of SDS, any person, an organisation of SDS, any organisation: each is in the list, and valid."""
    await put_record(service)
    initial = message("gp-summary", "01")
    _, acknowledgement = await service.deliver(initial)
    assert acknowledgement.outcome.accepted
    asked = message("psis-query", "QUPC_IN160101UK05_request_payload").replace(PATIENT.encode(), b"9990001030")
    asked = asked.replace(b"<filterParameters>", b"<filterParameters><!--").replace(
        b"</filterParameters>", b"--></filterParameters>"
    )
    root = (
        await service.express(asked.replace(asked[asked.index(b"<id root") :][10:46], mint_uuid().encode(), 1))
    ).root
    (author,) = root.iter("{urn:hl7-org:v3}documentAuthor")
    organisation = author.find("{*}representedScopingOrg")
    assert organisation is not None
    assert author.find("{*}agentPlayingAuthor") is None
    title = root.find(".//{*}documentMetaData/{*}title")
    assert title is not None
    assert title.text == "General Practice Initial Summary"
    check_if_there(root)


HOSTILE = ['"><x/>', "&amp;&lt;", "]]>", "é", "\u2028", "a" * 5000, "{event_id}", "%s"]


@pytest.mark.parametrize("value", HOSTILE)
async def test_values_that_are_no_ids_come_back_as_they_are(service: Harness, value: str) -> None:
    """What is asked for is named in the refusal, and stays a value there. Spec: 20 §9.4 (30308)."""
    await put_record(service)
    root = read_xml(message("psis-query", "QUPC_IN160103UK05_request_payload"))
    wanted = root.find(".//{*}documentID/{*}value")
    assert wanted is not None
    wanted.set("root", value)
    for element in root.iter("{urn:hl7-org:v3}id"):
        if element.getparent() is root:
            element.set("root", mint_uuid())
    answer = (await service.express(etree.tostring(root))).root
    (_, text) = list(details(answer))[1]
    assert text == f"[PSIS-30308] - The Case status is Normal but the Event id '{value.upper()}' does not exist."
    for name in ("setId", "setID"):
        wanted_parent = wanted.getparent()
        assert wanted_parent is not None
        wanted_parent.tag = f"{{urn:hl7-org:v3}}{name}"
        nothing = (await service.express(etree.tostring(root))).root
        assert [e.get("code") for e in nothing.iterfind(".//{*}queryResponseCode")] == ["NF"]
