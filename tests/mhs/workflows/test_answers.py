"""What a supplier is answered, row by row of 50 §1.4, with the literal texts; and the states of 50 §2."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from mhs.stub_spine import (
    Behaviour,
    Reply,
    StubSpine,
    accept,
    acknowledge,
    acknowledge_another,
    acknowledgment_of,
    answer,
    fault,
    refuse,
    silence,
)
from mhs.workflows.adaptor import EXPRESS, FORWARD, ONCE, QUERY, SHORTLY, UPLOAD, Adaptor, StartAdaptor
from openscr.delivery.carriers import HttpCarrier
from openscr.errors import DirectoryUnavailable, EndpointUnknown
from openscr.mhs.exchange import Answer
from openscr.mhs.interactions import Interaction
from openscr.mhs.routing import UnreadableRetryInterval

RECEIVED = "OUTBOUND_MESSAGE_RECEIVED"
PREPARATION_FAILED = "OUTBOUND_MESSAGE_PREPARATION_FAILED"
TRANSMISSION_FAILED = "OUTBOUND_MESSAGE_TRANSMISSION_FAILED"
ACKD = "OUTBOUND_MESSAGE_ACKD"
NACKD = "OUTBOUND_MESSAGE_NACKD"
RESPONSE_RECEIVED = "OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED"
SYNC_SUCCESSFUL = "SYNC_RESPONSE_SUCCESSFUL"

ASYNCHRONOUS = (EXPRESS, UPLOAD, FORWARD)
ALL = (*ASYNCHRONOUS, QUERY)
WAITED_FOR = (EXPRESS, UPLOAD)
"""Interactions whose callers may wait."""


def lookup_fails(error: Exception) -> Callable[[Adaptor], None]:
    def set_up(adaptor: Adaptor) -> None:
        adaptor.routes.error = error

    return set_up


@dataclass(frozen=True)
class Row:
    """A row of 50 §1.4: how it comes about, and what is answered and kept then."""

    name: str
    interactions: tuple[Interaction, ...]
    status: int
    body: str
    states: list[str]
    behaviour: Behaviour = acknowledge
    settings: dict[str, Any] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    set_up: Callable[[Adaptor], None] = lambda _: None


FAULT_DOCUMENT = json.dumps(
    {
        "error_message": "Error(s) received from Spine. Contact system administrator.",
        "process_key": "SOAP_ERROR_HANDLER0002",
        "errors": [
            {
                "errorCode": "200",
                "severity": "Error",
                "location": "Not Supported",
                "description": "System failure to process message - default",
                "codeContext": "urn:nhs:names:error:tms",
                "errorType": "soap_fault",
            }
        ],
    }
)
EBXML_DOCUMENT = json.dumps(
    {
        "error_message": "Error(s) received from Spine. Contact system administrator.",
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
)
NO_URL = "Error obtaining outbound URL"

TABLE = (
    Row("accepted", ASYNCHRONOUS, 202, "", [RECEIVED, ACKD]),
    Row("accepted with an empty body", (EXPRESS, FORWARD), 202, "", [RECEIVED, ACKD], behaviour=accept),
    Row("a sync interaction accepted", (QUERY,), 202, "", [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL], accept),
    Row(
        "no from-asid",
        (QUERY,),
        400,
        "`from_asid` header field required for sync messages",
        [RECEIVED],
        request={"from_asid": None},
    ),
    Row("lookup failed", ALL, 500, NO_URL, [RECEIVED, PREPARATION_FAILED], set_up=lookup_fails(EndpointUnknown("x"))),
    Row(
        "no directory", ALL, 500, NO_URL, [RECEIVED, PREPARATION_FAILED], set_up=lookup_fails(DirectoryUnavailable("x"))
    ),
    Row(
        "no URL to forward to",
        (FORWARD,),
        500,
        NO_URL,
        [RECEIVED, PREPARATION_FAILED],
        settings={"forward_reliable_endpoint_url": ""},
    ),
    Row(
        "not serialised",
        ASYNCHRONOUS,
        500,
        "Error serialising outbound message",
        [RECEIVED, PREPARATION_FAILED],
        request={"payload": "\ud800"},
    ),
    Row(
        "not prepared",
        (QUERY,),
        500,
        "Failed message preparation",
        [RECEIVED, PREPARATION_FAILED],
        request={"payload": "\ud800"},
    ),
    Row(
        "unreadable retry interval",
        (UPLOAD, FORWARD),
        500,
        "Error when converting retry interval: one minute to seconds",
        [RECEIVED, PREPARATION_FAILED],
        set_up=lookup_fails(UnreadableRetryInterval("one minute")),
    ),
    Row("SOAP fault", ALL, 500, FAULT_DOCUMENT, [RECEIVED, NACKD], fault("200")),
    Row("ebXML error", ASYNCHRONOUS, 500, EBXML_DOCUMENT, [RECEIVED, NACKD], refuse()),
    Row("ebXML error in a 200", ASYNCHRONOUS, 500, EBXML_DOCUMENT, [RECEIVED, NACKD], refuse(status=200)),
    Row("SOAP fault in a 400", ASYNCHRONOUS, 500, FAULT_DOCUMENT, [RECEIVED, NACKD], fault("200", status=400)),
    Row(
        "other XML",
        ASYNCHRONOUS,
        500,
        "Didn't get expected response from Spine",
        [RECEIVED, NACKD],
        answer(200, b"<html/>"),
    ),
    Row(
        "no XML",
        ASYNCHRONOUS,
        500,
        "Unable to handle response returned from Spine",
        [RECEIVED, NACKD],
        answer(200, b"thank you", "text/plain"),
    ),
    Row(
        "an empty 200",
        ASYNCHRONOUS,
        500,
        "Unable to handle response returned from Spine",
        [RECEIVED, NACKD],
        answer(200),
    ),
    Row(
        "not found", ASYNCHRONOUS, 500, "Unable to handle response returned from Spine", [RECEIVED, NACKD], answer(404)
    ),
    Row(
        "a bad gateway",
        ASYNCHRONOUS,
        500,
        "Didn't get expected response from Spine",
        [RECEIVED, NACKD],
        answer(502, b"<html/>", "text/html"),
    ),
    Row(
        "passed on",
        (QUERY,),
        503,
        "<busy/>",
        [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL],
        answer(503, b"<busy/>", "text/html"),
    ),
    Row("moved", (QUERY,), 302, "there", [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL], answer(302, b"there")),
    *(
        Row(
            f"a status {status} that HTTP does not have",
            (QUERY,),
            500,
            "Unable to handle response returned from Spine",
            [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL],
            answer(status, b"<a/>"),
        )
        for status in (101, 600, 999)
    ),
    Row(
        "a 500 that is no fault",
        (QUERY,),
        500,
        "Didn't get expected response from Spine",
        [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL],
        answer(500, b"<html/>"),
    ),
    Row(
        "a 500 that is nothing",
        (QUERY,),
        500,
        "Unable to handle response returned from Spine",
        [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL],
        answer(500),
    ),
)


@pytest.mark.parametrize(
    ("row", "interaction"),
    [
        pytest.param(row, interaction, id=f"{row.name}-{interaction.workflow}")
        for row in TABLE
        for interaction in row.interactions
    ],
)
async def test_a_row_of_the_table(start: StartAdaptor, spine: StubSpine, row: Row, interaction: Interaction) -> None:
    spine.script(row.behaviour)
    adaptor = await start(contract=ONCE, **row.settings)
    row.set_up(adaptor)
    told = await adaptor.send(interaction, **row.request)
    assert (told.status, told.body.decode()) == (row.status, row.body)
    assert told.content_type == ("text/plain" if row.status >= 400 else "text/xml")
    document = row.body.startswith("{")
    assert (told.document is not None) == document
    states = row.states
    if interaction is QUERY and states == [RECEIVED, NACKD]:
        states = [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL]
    assert await adaptor.statuses() == states
    assert (await adaptor.row()).workflow == interaction.workflow
    assert await adaptor.queued() == []


@pytest.mark.parametrize("interaction", WAITED_FOR, ids=lambda each: each.name)
@pytest.mark.parametrize(
    ("behaviour", "expected"), [(fault("200"), FAULT_DOCUMENT), (refuse(), EBXML_DOCUMENT)], ids=["fault", "error"]
)
async def test_a_caller_who_waits_is_told_the_same(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction, behaviour: Behaviour, expected: str
) -> None:
    """And the state says that it was answered, whatever it was answered. Spec: 50 §2.7 step 3, §14.4."""
    spine.script(behaviour)
    adaptor = await start(contract=ONCE)
    told = await adaptor.send(interaction, wait=True)
    assert (told.status, told.body.decode()) == (500, expected)
    row = await adaptor.row()
    assert row.workflow == "sync-async"
    assert row.outbound_status == "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"


@pytest.mark.parametrize("interaction", ALL, ids=lambda each: each.workflow)
async def test_f13_the_size_is_that_of_the_message_in_bytes(start: StartAdaptor, interaction: Interaction) -> None:
    """The limit itself is let through; one byte more is not, and letters of two bytes count as two. Spec: 50 F13."""
    adaptor = await start(contract=ONCE)
    sent = await adaptor.sent(interaction, payload="\u00e9" * 1000)
    size = len(sent.body)
    adaptor = await start(contract=ONCE, spine_request_max_size=size)
    assert (await adaptor.send(interaction, payload="\u00e9" * 1000)).body.startswith(b"Request to send") is False
    adaptor = await start(contract=ONCE, spine_request_max_size=size - 1)
    told = await adaptor.send(interaction, payload="\u00e9" * 1000)
    text = f"Request to send to Spine is too large. MaxRequestSize={size - 1} RequestSize={size}"
    assert (told.status, told.body.decode(), told.content_type) == (400, text, "text/plain")
    assert await adaptor.statuses() == [RECEIVED, PREPARATION_FAILED]


@pytest.mark.parametrize("interaction", ASYNCHRONOUS, ids=lambda each: each.workflow)
async def test_nobody_there(start: StartAdaptor, interaction: Interaction) -> None:
    """After all attempts: 500, and the state says that nothing was transmitted."""
    adaptor = await start(
        contract=SHORTLY, carrier=HttpCarrier(None, pause=0.001), forward_reliable_endpoint_url="http://127.0.0.1:9"
    )
    adaptor.routes.address = "http://127.0.0.1:9"
    told = await adaptor.send(interaction)
    assert told == Answer(500, b"Error making outbound request", "text/plain")
    assert await adaptor.statuses() == [RECEIVED, TRANSMISSION_FAILED]
    assert (await adaptor.row()).last_error == "no connection"


async def test_nobody_there_for_a_synchronous_message(start: StartAdaptor) -> None:
    """The reference takes it for an answer with a status of its own, and so does the state."""
    adaptor = await start(carrier=HttpCarrier(None, pause=0.001))
    adaptor.routes.address = "http://127.0.0.1:9"
    told = await adaptor.send(QUERY)
    assert told == Answer(500, b"Error(s) received from Spine: HTTP 599: no connection", "text/plain")
    assert await adaptor.statuses() == [RECEIVED, RESPONSE_RECEIVED, SYNC_SUCCESSFUL]


async def test_no_answer_in_time_to_a_synchronous_message(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(silence)
    told = await (await start(sync_timeout=0.1)).send(QUERY)
    assert told.body == b"Error(s) received from Spine: HTTP 599: no answer in time"


async def test_row_no_async_response(start: StartAdaptor) -> None:
    """Nobody answers while the caller waits. Spec: 50 §1.4, §2.7 step 6."""
    adaptor = await start(resync_retries=2, resync_interval=0.01)
    told = await adaptor.send(UPLOAD, wait=True)
    assert told == Answer(500, b"No async response received from sync-async store", "text/plain")
    assert await adaptor.statuses() == [RECEIVED, ACKD, "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"]


# --- F8: the body of a 202 --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interaction", ASYNCHRONOUS, ids=lambda each: each.workflow)
async def test_f8_an_acknowledgement_of_another_message_is_a_refusal(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    spine.script(acknowledge_another)
    adaptor = await start()
    told = await adaptor.send(interaction)
    assert told.document is not None
    assert (told.status, told.document["process_key"]) == (500, "EBXML_ERROR_HANDLER0005")
    assert told.document["errors"] == [
        {
            "codeContext": "urn:oasis:names:tc:ebxml-msg:service:errors",
            "errorCode": "Inconsistent",
            "severity": "Error",
            "Description": "The Acknowledgment received refers to another message",
            "errorType": "ebxml_error",
        }
    ]
    assert await adaptor.statuses() == [RECEIVED, NACKD]
    assert len(spine.received) == 1


@pytest.mark.parametrize("interaction", ASYNCHRONOUS, ids=lambda each: each.workflow)
async def test_f8_a_message_error_in_a_202_is_a_refusal(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    spine.script(refuse(status=202))
    adaptor = await start()
    assert (await adaptor.send(interaction)).body.decode() == EBXML_DOCUMENT
    assert await adaptor.statuses() == [RECEIVED, NACKD]


@pytest.mark.parametrize("interaction", ASYNCHRONOUS, ids=lambda each: each.workflow)
@pytest.mark.parametrize("body", [b"<MCCI_IN010000UK13/>", b"thank you"])
async def test_f8_any_other_body_of_a_202_is_a_yes(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction, body: bytes
) -> None:
    """The reference's own stub Spine answers so."""
    spine.script(answer(202, body))
    adaptor = await start()
    assert (await adaptor.send(interaction)).status == 202
    assert await adaptor.statuses() == [RECEIVED, ACKD]


@pytest.mark.parametrize("interaction", ASYNCHRONOUS, ids=lambda each: each.workflow)
async def test_an_acknowledgement_counts_in_a_200_as_well(
    start: StartAdaptor, spine: StubSpine, interaction: Interaction
) -> None:
    """Who has acknowledged a message has it: to say otherwise would have it sent twice. Spec: 40 §6.4."""
    spine.script(lambda received: Reply(200, acknowledgment_of(received.envelope)))
    assert (await (await start()).send(interaction)).status == 202


async def test_every_outcome_has_a_record(start: StartAdaptor, spine: StubSpine) -> None:
    """One for each message, failures as well, and none with a word of it. Spec: 50 F22."""
    adaptor = await start(contract=ONCE)
    await adaptor.send(EXPRESS, message_id="1")
    spine.script(fault("300"))
    await adaptor.send(UPLOAD, message_id="2")
    await adaptor.send(QUERY, message_id="3")
    await adaptor.send(QUERY, message_id="4", from_asid=None)
    adaptor.routes.error = EndpointUnknown("nowhere")
    await adaptor.send(EXPRESS, message_id="5")
    records = [row.entry.content async for row in adaptor.context.store.read_audit()]
    assert [(record["message_id"], record["outcome"]) for record in records] == [
        ("1", ACKD),
        ("2", NACKD),
        ("3", RESPONSE_RECEIVED),
        ("4", "no-from-asid"),
        ("5", PREPARATION_FAILED),
    ]
    assert "caf\u00e9" not in str(records)
    assert records[1]["to_party"] == "YES-0000806"
    assert records[2]["to_asid"] == "227319907548"
