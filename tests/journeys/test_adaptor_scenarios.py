"""The scenarios of the NHS adaptor's own suite, one for one, from outside: the asynchronous patterns.

A real process between a supplier and a stub Spine, mutual TLS both ways.

Spec: 50 §14.4 A2; §1.4, §1.5, §2.2-§2.4, §2.7, §3.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from journeys.messages import PRACTICE, fresh_patient
from journeys.stub_estate import Estate, comes_to_be, estate, issue_certificates, queued_now
from mhs.stub_spine import Received, acknowledge, fault, refuse
from openscr.codes import UPLOAD
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.identifiers import mint_uuid
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPRESS, EXPRESS_ANSWER = "QUPC_IN160101UK05", "QUPC_IN160102UK05"
FORWARD, FORWARD_AND_WAIT = "COPC_IN000001UK01", "PRSC_IN080000UK07"
ANSWERED = "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"
NACKD, ACKD = "OUTBOUND_MESSAGE_NACKD", "OUTBOUND_MESSAGE_ACKD"
PROCESSED, STORED = "INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED", "INBOUND_SYNC_ASYNC_MESSAGE_STORED"
ERROR_MESSAGE = "Error(s) received from Spine. Contact system administrator."


@dataclass(frozen=True)
class Pattern:
    """A workflow: an interaction that is sent, one whose reply may be waited for, and what the Spine replies with."""

    workflow: str
    interaction: str
    waited: str

    def payload(self, interaction: str) -> str:
        """Return a message of an interaction."""
        if interaction == UPLOAD:
            return PRACTICE.upload(fresh_patient()).payload.decode()
        return f'<{interaction} xmlns="urn:hl7-org:v3"><id root="{mint_uuid()}"/>caf\u00e9</{interaction}>'


PATTERNS = [
    Pattern("async-express", EXPRESS, EXPRESS),
    Pattern("async-reliable", UPLOAD, UPLOAD),
    Pattern("forward-reliable", FORWARD, FORWARD_AND_WAIT),
]
EACH = pytest.mark.parametrize("pattern", PATTERNS, ids=lambda each: each.workflow)
RESENT = pytest.mark.parametrize("pattern", PATTERNS[1:], ids=lambda each: each.workflow)
WAITING = pytest.mark.parametrize("wait", [False, True], ids=["not waiting", "waiting"])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def between(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Estate]:
    """An adaptor that all scenarios share."""
    pki = issue_certificates(tmp_path_factory.mktemp("scenarios"))
    async with estate(tmp_path_factory.mktemp("adaptor"), pki) as running:
        yield running


async def send(between: Estate, pattern: Pattern, *, wait: bool, **more: Any) -> tuple[str, Any]:
    """Send a message of a pattern; return its id and what the supplier is told."""
    interaction = pattern.waited if wait else pattern.interaction
    message_id = mint_uuid()
    told = await between.supplier.send(
        interaction, pattern.payload(interaction), wait=wait, message_id=message_id, **more
    )
    return message_id, told


# --- the Spine refuses ------------------------------------------------------------------------------------------------


@EACH
@WAITING
async def test_a_soap_fault_is_an_error_document(between: Estate, pattern: Pattern, wait: bool) -> None:
    between.script(fault("200"))
    message_id, told = await send(between, pattern, wait=wait)
    assert (told.status, told.headers["content-type"]) == (500, "text/plain")
    assert (told.headers["message-id"], "correlation-id" in told.headers) == (message_id, True)
    document = json.loads(told.body)
    assert (document["error_message"], document["process_key"]) == (ERROR_MESSAGE, "SOAP_ERROR_HANDLER0002")
    written = read_fault(read_xml(fault("200")(between.spine.received[0]).body))
    assert written is not None
    (error,) = written.errors
    assert document["errors"] == [
        {
            "errorCode": "200",
            "severity": "Error",
            "location": error.location,
            "description": "System failure to process message - default",
            "codeContext": error.context,
            "errorType": "soap_fault",
        }
    ]
    attempts = [each.body for each in between.spine.received]
    assert len(attempts) == (1 if pattern.workflow == "async-express" else 3)
    assert len(set(attempts)) == 1
    await comes_to_be(between.supplier, message_id, **_refused(pattern, wait=wait))


@EACH
@WAITING
async def test_an_ebxml_error_is_an_error_document(between: Estate, pattern: Pattern, wait: bool) -> None:
    between.script(refuse(status=500))
    message_id, told = await send(between, pattern, wait=wait)
    assert (told.status, told.headers["content-type"]) == (500, "text/plain")
    assert json.loads(told.body) == {
        "error_message": ERROR_MESSAGE,
        "process_key": "EBXML_ERROR_HANDLER0005",
        "errors": [
            {
                "codeContext": "urn:oasis:names:tc:ebxml-msg:service:errors",
                "errorCode": "ValueNotRecognized",
                "severity": "Error",
                "Description": "501319:Unknown eb:CPAId",
                "errorType": "ebxml_error",
            }
        ],
    }
    assert len(between.spine.received) == 1, "it is never sent again"
    await comes_to_be(between.supplier, message_id, **_refused(pattern, wait=wait))


def _refused(pattern: Pattern, *, wait: bool) -> dict[str, str | None]:
    if wait:
        return {"OUTBOUND_STATUS": ANSWERED, "INBOUND_STATUS": None, "WORKFLOW": "sync-async"}
    return {"OUTBOUND_STATUS": NACKD, "INBOUND_STATUS": None, "WORKFLOW": pattern.workflow}


@RESENT
@WAITING
async def test_a_fault_that_may_pass_is_tried_again_until_the_message_is_taken(
    between: Estate, pattern: Pattern, wait: bool
) -> None:
    between.script(fault("206"), fault("206"), acknowledge, replying=True)
    message_id, told = await send(between, pattern, wait=wait)
    assert told.status == (200 if wait else 202), told.text
    assert len({each.body for each in between.spine.received}) == 1
    assert len(between.spine.received) == 3
    if wait:
        assert read_acknowledgement(read_xml(told.body)).reference == message_id
        await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS=ANSWERED, INBOUND_STATUS=STORED)
    else:
        assert told.body == b""
        message = await between.supplier.next_message()
        assert message["properties"]["message-id"] == message_id
        await comes_to_be(between.supplier, message_id, OUTBOUND_STATUS=ACKD, INBOUND_STATUS=PROCESSED)


# --- the supplier's own mistakes --------------------------------------------------------------------------------------


@EACH
async def test_a_payload_that_is_no_string_is_refused(between: Estate, pattern: Pattern) -> None:
    between.script()
    message_id, told = await send(between, pattern, wait=False, body={"payload": {"no": "string"}})
    assert (told.status, told.headers["content-type"]) == (400, "text/plain")
    assert told.text == "400: Invalid request. Validation errors: {'payload': ['Not a valid string.']}"
    assert between.spine.received == []
    assert (await between.supplier.ask("GET", f"/messages/{message_id}")).status == 404


# --- replies ----------------------------------------------------------------------------------------------------------


@EACH
async def test_a_reply_comes_to_the_queue(between: Estate, pattern: Pattern) -> None:
    between.script(replying=True)
    correlation_id = mint_uuid()
    message_id, told = await send(between, pattern, wait=False, correlation_id=correlation_id)
    assert (told.status, told.body, told.headers["content-type"]) == (202, b"", "text/xml")
    assert (told.headers["message-id"], told.headers["correlation-id"]) == (message_id, correlation_id)
    message = await between.supplier.next_message()
    assert message["properties"] == {"message-id": message_id, "correlation-id": correlation_id}
    assert message["id"] not in (message_id, correlation_id)
    body = message["body"]
    assert sorted(body) == ["attachments", "ebXML", "external_attachments", "payload"]
    assert f"<eb:RefToMessageId>{message_id}</eb:RefToMessageId>" in body["ebXML"]
    said = read_acknowledgement(read_xml(body["payload"].encode()))
    assert said.reference == message_id
    if pattern.workflow == "async-reliable":
        assert said.detail == "GP Summary upload successful"
    await comes_to_be(
        between.supplier,
        message_id,
        OUTBOUND_STATUS=ACKD,
        INBOUND_STATUS=PROCESSED,
        WORKFLOW=pattern.workflow,
    )
    assert await queued_now(between.supplier) == []


@EACH
@pytest.mark.parametrize("callers", [1, 3])
async def test_callers_who_wait_get_their_own_replies(between: Estate, pattern: Pattern, callers: int) -> None:
    between.script(replying=True, payload_for=_naming_its_request)
    answers = await asyncio.gather(*(send(between, pattern, wait=True) for _ in range(callers)))
    for message_id, told in answers:
        assert (told.status, told.headers["content-type"]) == (200, "text/xml"), told.text
        assert told.text == f'<{EXPRESS_ANSWER} xmlns="urn:hl7-org:v3">to {message_id}</{EXPRESS_ANSWER}>'
        await comes_to_be(
            between.supplier,
            message_id,
            OUTBOUND_STATUS=ANSWERED,
            INBOUND_STATUS=STORED,
            WORKFLOW="sync-async",
        )
    assert await queued_now(between.supplier) == []


def _naming_its_request(received: Received) -> bytes:
    said = f"to {received.envelope.message_id}"
    return f'<{EXPRESS_ANSWER} xmlns="urn:hl7-org:v3">{said}</{EXPRESS_ANSWER}>'.encode()
