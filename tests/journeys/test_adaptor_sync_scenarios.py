"""The scenarios of the NHS adaptor's own suite for the synchronous pattern, and a Spine that fails its callers.

Spec: 50 §14.4 A2, A3; §1.4, §2.1, F1, F5.
"""

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lxml import etree

from journeys.stub_estate import Estate, comes_to_be, estate, issue_certificates, state
from mhs.rig import SPINE_ASID
from mhs.stub_spine import Behaviour, acknowledge, answer, break_off, fault, silence
from openscr.codes import SOAP_NS, UPLOAD
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUERY, QUERY_ANSWER, EXPRESS = "QUPA_IN040000UK32", "QUPA_IN050000UK32", "QUPC_IN160101UK05"
ASID = "200000000115"
FOUND = f'<{QUERY_ANSWER} xmlns="urn:hl7-org:v3"><id root="{mint_uuid()}"/>\n  <name>caf\u00e9</name></{QUERY_ANSWER}>'
ANSWER = (
    f'<SOAP-ENV:Envelope xmlns:SOAP-ENV="{SOAP_NS}"><SOAP-ENV:Header/><SOAP-ENV:Body>'
    f'<retrievalQueryResponse xmlns="urn:hl7-org:v3">{FOUND}</retrievalQueryResponse></SOAP-ENV:Body>'
    "</SOAP-ENV:Envelope>"
)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def between(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """An adaptor that waits a second for the Spine."""
    pki = issue_certificates(tmp_path_factory.mktemp("scenarios"))
    data = tmp_path_factory.mktemp("adaptor")
    async with estate(data, pki, sync_timeout=1, async_timeout=1) as running:
        yield running


async def test_a_query_is_answered_with_the_interaction_itself(between: Estate) -> None:
    between.script(answer(200, ANSWER.encode()))
    message_id = mint_uuid()
    told = await between.supplier.send(QUERY, "<QUPA_IN040000UK32/>", message_id=message_id, from_asid=ASID)
    assert (told.status, told.headers["content-type"]) == (200, "text/xml"), told.text
    # Declarations of the envelope may come with it; nothing else does, and its text is as it was.
    assert told.text.startswith(f"<?xml version='1.0' encoding='utf-8'?>\n<{QUERY_ANSWER} ")
    assert told.text.endswith(FOUND.partition(">")[2])
    assert _canonical(told.body) == _canonical(FOUND.encode())
    assert told.headers["message-id"] == message_id
    (received,) = between.spine.received
    sent = received.body.decode()
    assert "<SOAP-ENV:Body><QUPA_IN040000UK32/></SOAP-ENV:Body>" in sent
    assert f"<wsa:MessageID>uuid:{message_id}</wsa:MessageID>" in sent
    assert f'extension="{ASID}"' in sent
    assert f'extension="{SPINE_ASID}"' in sent
    await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS="SYNC_RESPONSE_SUCCESSFUL", WORKFLOW="sync")


def _canonical(document: bytes) -> bytes:
    return etree.tostring(read_xml(document), method="c14n", exclusive=True)


async def test_a_fault_is_an_error_document_and_the_supplier_was_answered(between: Estate) -> None:
    between.script(fault("200"))
    message_id = mint_uuid()
    told = await between.supplier.send(QUERY, "<QUPA_IN040000UK32/>", message_id=message_id, from_asid=ASID)
    assert (told.status, told.headers["content-type"]) == (500, "text/plain")
    document = json.loads(told.body)
    assert document["process_key"] == "SOAP_ERROR_HANDLER0002"
    (error,) = document["errors"]
    assert (error["errorCode"], error["severity"], error["errorType"]) == ("200", "Error", "soap_fault")
    assert error["description"] == "System failure to process message - default"
    await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS="SYNC_RESPONSE_SUCCESSFUL", WORKFLOW="sync")


async def test_a_query_says_who_asks(between: Estate) -> None:
    between.script(answer(200, ANSWER.encode()))
    message_id = mint_uuid()
    told = await between.supplier.send(QUERY, "<QUPA_IN040000UK32/>", message_id=message_id)
    assert (told.status, told.headers["content-type"]) == (400, "text/plain")
    assert told.text == "`from_asid` header field required for sync messages"
    assert between.spine.received == []
    found = await state(between.supplier, message_id)
    assert (found["OUTBOUND_STATUS"], found["WORKFLOW"]) == ("OUTBOUND_MESSAGE_RECEIVED", "sync")


# --- a Spine that fails -----------------------------------------------------------------------------------------------

NOT_SENT, UNREADABLE = "Error making outbound request", "Unable to handle response returned from Spine"
UNEXPECTED = "Didn't get expected response from Spine"
NACKD, LOST = "OUTBOUND_MESSAGE_NACKD", "OUTBOUND_MESSAGE_TRANSMISSION_FAILED"
TOLD = "SYNC_RESPONSE_SUCCESSFUL"
FAILING = [
    pytest.param(EXPRESS, silence, NOT_SENT, LOST, 1, id="express, silent"),
    pytest.param(EXPRESS, break_off, NOT_SENT, LOST, 1, id="express, broken off"),
    pytest.param(EXPRESS, answer(200, b"\xff\xfe nonsense"), UNREADABLE, NACKD, 1, id="express, nonsense"),
    pytest.param(EXPRESS, answer(200, b"<well/>"), UNEXPECTED, NACKD, 1, id="express, unexpected"),
    pytest.param(UPLOAD, silence, NOT_SENT, LOST, 3, id="reliable, silent"),
    pytest.param(UPLOAD, break_off, NOT_SENT, LOST, 3, id="reliable, broken off"),
    pytest.param(UPLOAD, answer(200, b"\xff\xfe nonsense"), UNREADABLE, NACKD, 1, id="reliable, nonsense"),
    pytest.param(UPLOAD, answer(404, b"<html>"), UNREADABLE, NACKD, 1, id="reliable, another's page"),
    pytest.param(UPLOAD, answer(500, b"<well/>"), UNEXPECTED, NACKD, 3, id="reliable, unexpected"),
    pytest.param(
        QUERY, silence, "Error(s) received from Spine: HTTP 599: no answer in time", TOLD, 1, id="sync, silent"
    ),
]


@pytest.mark.parametrize(("interaction", "behaviour", "text", "status", "attempts"), FAILING)
async def test_a_spine_that_is_silent_or_talks_nonsense(
    between: Estate, interaction: str, behaviour: Behaviour, text: str, status: str, attempts: int
) -> None:
    """What may have arrived is sent again only where the Spine eliminates duplicates. The next message is sent well."""
    between.script(behaviour)
    message_id = mint_uuid()
    told = await between.supplier.send(interaction, f"<{interaction}/>", message_id=message_id, from_asid=ASID)
    assert (told.status, told.text) == (500, text)
    assert len(between.spine.received) == attempts
    assert len({each.body for each in between.spine.received}) == 1
    await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS=status)

    between.script(acknowledge)
    assert (await between.supplier.send(UPLOAD, f"<{UPLOAD}/>")).status == 202


async def test_nonsense_instead_of_an_answer_to_a_query_is_told_as_such(between: Estate) -> None:
    between.script(answer(200, b"\xff\xfe nonsense"))
    told = await between.supplier.send(QUERY, f"<{QUERY}/>", from_asid=ASID)
    assert told.status == 502
    assert [error["errorType"] for error in json.loads(told.body)["errors"]] == ["unexpected_answer"]


async def test_a_reply_outlives_a_spine_that_was_too_slow_to_accept(between: Estate) -> None:
    """The supplier was told that its message is not sent; what the Spine says of it is worth more."""
    between.script(answer(202, delay=1.5), replying=True)
    message_id = mint_uuid()
    told = await between.supplier.send(EXPRESS, f"<{EXPRESS}/>", message_id=message_id)
    assert (told.status, told.text) == (500, NOT_SENT)
    assert (await between.supplier.next_message())["properties"]["message-id"] == message_id
    done = {"OUTBOUND_STATUS": "OUTBOUND_MESSAGE_ACKD", "INBOUND_STATUS": "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED"}
    await comes_to_be(between.supplier, message_id, **done)


async def test_a_reliable_message_outlasts_a_spine_that_is_slow_at_first(between: Estate) -> None:
    between.script(silence, break_off, acknowledge, replying=True)
    message_id = mint_uuid()
    told = await between.supplier.send(UPLOAD, f"<{UPLOAD}/>", wait=True, message_id=message_id)
    assert told.status == 200, told.text
    assert len({each.body for each in between.spine.received}) == 1
    assert len(between.spine.received) == 3
