"""The demo's collector behaves as the clients that it stands for, and keeps what they received. Spec: 00 §5."""

from dataclasses import replace

import pytest

from delivery.rows import FakeClock, a_row, an_id
from openscr.errors import DeliveryError
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.store.interface import OutboxRow
from openscr.testbench.inbox import Inbox
from openscr.testbench.world import HOSPITAL_PARTY, PRACTICE_PARTY
from openscr.transport.verdict import AttemptResult, Verdict, judge
from openscr.transport.xml import read_xml


async def deliver(inbox: Inbox, row: OutboxRow) -> AttemptResult:
    """Send a row to the collector as delivery does."""
    answer = await inbox.post("inbox:", {"Content-Type": row.content_type, "SOAPAction": row.soap_action}, row.body)
    return judge(answer.status, answer.body, row.id)


async def test_a_collected_message_is_acknowledged_and_kept() -> None:
    inbox = Inbox(10, clock=FakeClock())
    row = a_row(1)
    assert (await deliver(inbox, row)).verdict is Verdict.DELIVERED
    following, (message,) = inbox.since(PRACTICE_PARTY, 0)
    assert following == message.n == 1
    assert (message.message_id, message.ref_to_message_id) == (row.id, row.ref_to_message_id)
    assert (message.conversation_id, message.action) == ("a conversation", "MCCI_IN010000UK13")
    assert message.received_at == "2026-07-01T12:00:00.000Z"
    assert read_acknowledgement(read_xml(message.payload.encode())).outcome.accepted
    assert inbox.since(HOSPITAL_PARTY, 0) == (0, [])


async def test_messages_are_counted_on_and_the_oldest_make_room() -> None:
    inbox = Inbox(3, clock=FakeClock())
    for number in range(1, 6):
        await deliver(inbox, a_row(number))
    following, messages = inbox.since(PRACTICE_PARTY, 0)
    assert following == 5
    assert [(message.n, message.message_id) for message in messages] == [(n, an_id(n)) for n in (3, 4, 5)]
    assert [message.n for message in inbox.since(PRACTICE_PARTY, 4)[1]] == [5]
    assert inbox.since(PRACTICE_PARTY, following) == (5, [])


@pytest.mark.parametrize("body", [b"", b"no multipart", b"----=_MIME-Boundary\r\n\r\n<x/>\r\n----=_MIME-Boundary--"])
async def test_what_cannot_be_read_is_not_taken(body: bytes) -> None:
    inbox = Inbox(3)
    with pytest.raises(DeliveryError):
        await deliver(inbox, replace(a_row(), body=body))
    assert inbox.since(PRACTICE_PARTY, 0) == (0, [])
