"""A supplier's system behind the adaptor, the adaptor beside our own service: out over mutual TLS, back to the queue.

Spec: 50 §2, §3, §14.
"""

import asyncio
import json

from journeys.adaptor import Supplier
from journeys.messages import PRACTICE, Post, fresh_patient
from journeys.runner import until
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_SET,
    EVENT,
    EVENT_LIST,
    EVENT_LIST_ANSWER,
    UPLOAD,
)
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.spine import AckType, Consent
from openscr.transport.soap import BODY
from openscr.transport.xml import read_xml, write_element

ASID = PRACTICE.asid


def interaction_of(post: Post) -> bytes:
    """Return the HL7 interaction in a SOAP request, which is what a supplier hands to the adaptor."""
    (interaction,) = read_xml(post.body).iterfind(f"{BODY}/*")
    return write_element(interaction)


def acknowledgement_in(payload: str | bytes) -> Acknowledgement:
    root = read_xml(payload.encode() if isinstance(payload, str) else payload)
    assert root.tag.endswith(f"}}{ACKNOWLEDGEMENT}")
    return read_acknowledgement(root)


async def uploaded(supplier: Supplier, number: str) -> str:
    """Upload a summary and wait for what the service says of it; return its event id."""
    mail = PRACTICE.upload(number)
    told = await supplier.send(UPLOAD, mail.payload, wait=True, message_id=mail.message_id)
    assert (told.status, told.headers["content-type"]) == (200, "text/xml"), told.text
    assert acknowledgement_in(told.body).outcome.ack is AckType.ACCEPTED
    return mail.event_id


async def test_an_upload_is_acknowledged_and_its_reply_waits_on_the_queue(supplier: Supplier) -> None:
    mail = PRACTICE.upload(fresh_patient())
    told = await supplier.send(
        UPLOAD, mail.payload, message_id=mail.message_id, correlation_id="5A8C1B0E-0000-4000-8000-000000000001"
    )
    assert (told.status, told.body) == (202, b"")
    assert told.headers["message-id"] == mail.message_id
    message = await supplier.next_message()
    assert message["properties"] == {
        "message-id": mail.message_id,
        "correlation-id": "5A8C1B0E-0000-4000-8000-000000000001",
    }
    body = message["body"]
    assert sorted(body) == ["attachments", "ebXML", "external_attachments", "payload"]
    reply = acknowledgement_in(body["payload"])
    assert reply.outcome.ack is AckType.ACCEPTED
    assert reply.reference.upper() == mail.message_id


async def test_a_caller_who_waits_gets_the_reply_itself(supplier: Supplier) -> None:
    await uploaded(supplier, fresh_patient())


async def test_callers_wait_side_by_side_and_each_gets_its_own_reply(supplier: Supplier) -> None:
    events = await asyncio.gather(*(uploaded(supplier, fresh_patient()) for _ in range(8)))
    assert len(set(events)) == 8


async def test_a_list_and_an_event_come_back_out_of_their_wrappers(supplier: Supplier) -> None:
    number = fresh_patient()
    event_id = await uploaded(supplier, number)
    listed = await supplier.send(EVENT_LIST, interaction_of(PRACTICE.event_list(number)), from_asid=ASID)
    assert (listed.status, listed.headers["content-type"]) == (200, "text/xml"), listed.text
    assert read_xml(listed.body).tag.endswith(f"}}{EVENT_LIST_ANSWER}")
    assert event_id in listed.text
    got = await supplier.send(EVENT, interaction_of(PRACTICE.event(number, event_id)), from_asid=ASID)
    assert got.status == 200, got.text
    assert event_id in got.text


async def test_consent_is_set_and_read_through_the_adaptor(supplier: Supplier) -> None:
    number = fresh_patient()
    mail = PRACTICE.consent_mail(number, Consent.NO)
    told = await supplier.send(ACS_SET, mail.payload, wait=True, message_id=mail.message_id)
    assert told.status == 200, told.text
    assert acknowledgement_in(told.body).outcome.ack is AckType.ACCEPTED
    read = await supplier.send(ACS_GET, interaction_of(PRACTICE.get_consent(number)), from_asid=ASID)
    assert read.status == 200, read.text
    assert read_xml(read.body).tag.endswith(f"}}{ACS_GET_ANSWER}")
    assert ">No<" in read.text or '"No"' in read.text


async def test_consent_may_be_set_synchronously_as_well(supplier: Supplier) -> None:
    number = fresh_patient()
    post = PRACTICE.set_consent(number, Consent.YES)
    told = await supplier.send(ACS_SET, interaction_of(post), from_asid=ASID, workflow="sync")
    assert told.status == 200, told.text
    assert acknowledgement_in(told.body).outcome.ack is AckType.ACCEPTED


async def test_a_document_query_is_an_express_message(supplier: Supplier) -> None:
    number = fresh_patient()
    await uploaded(supplier, number)
    mail = PRACTICE.express(number)
    interaction = mail.soap_action.rpartition("/")[2]
    told = await supplier.send(interaction, mail.payload, message_id=mail.message_id)
    assert told.status == 202, told.text
    message = await supplier.next_message()
    assert message["properties"]["message-id"] == mail.message_id
    assert "QUPC_IN160102UK05" in message["body"]["payload"]


async def test_what_the_service_refuses_reaches_the_supplier_as_an_error_document(supplier: Supplier) -> None:
    told = await supplier.send(
        EVENT_LIST, interaction_of(PRACTICE.event_list(fresh_patient())), from_asid="999999999999"
    )
    assert (told.status, told.headers["content-type"]) == (500, "text/plain")
    document = json.loads(told.body)
    assert document["process_key"] == "SOAP_ERROR_HANDLER0002"
    assert [error["errorCode"] for error in document["errors"]] == ["300"]


async def test_the_state_of_a_message_can_be_asked_for(supplier: Supplier) -> None:
    mail = PRACTICE.upload(fresh_patient())
    await supplier.send(UPLOAD, mail.payload, wait=True, message_id=mail.message_id)

    async def done() -> bool:
        state = json.loads((await supplier.ask("GET", f"/messages/{mail.message_id}")).body)
        return bool(state["INBOUND_STATUS"] == "INBOUND_SYNC_ASYNC_MESSAGE_STORED")

    await until(done)
    state = json.loads((await supplier.ask("GET", f"/messages/{mail.message_id}")).body)
    assert state["OUTBOUND_STATUS"] == "OUTBOUND_SYNC_ASYNC_MESSAGE_SUCCESSFULLY_RESPONDED"
    assert state["WORKFLOW"] == "sync-async"
