"""Initial summaries through a running service: upload, replacement, withdrawal, and what is refused. Spec: 10 §15."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from journeys.messages import PRACTICE, Mail, answer_to, codes_of, fresh_patient
from journeys.polling import FacadeUpload, upload_as_the_facade
from journeys.runner import Server
from journeys.wire import signal_of, soap_of
from openscr.codes import EVENT_ANSWER, EVENT_LIST_ANSWER, GP_INITIAL_SUMMARY, GP_SUMMARY
from openscr.hl7.psis import read_event_list_answer
from openscr.spine import EventStatus

ACCEPTED = ("AA", [])
INVALID_UPDATE = ("AE", ["430"])


async def send(server: Server, mail: Mail, detail: str = "") -> tuple[str, list[str]]:
    """Send a message over mutual TLS; return type and codes of its acknowledgement, whose detail is as given."""
    signal_of(await mail.post().to(server.spine, server.tls()))
    acknowledgement = await answer_to(server.web, mail.message_id)
    assert acknowledgement.detail == detail
    return codes_of(acknowledgement)


async def listed(server: Server, number: str) -> list[tuple[str, str, EventStatus]]:
    """Return id, type and status of a patient's events, in the order of the list."""
    answer = await PRACTICE.event_list(number).to(server.spine, server.tls())
    events = read_event_list_answer(soap_of(answer, EVENT_LIST_ANSWER).interaction, number).events
    return [(event.event_id, event.event_type, event.status) for event in events]


def canonical(xml: bytes) -> bytes:
    """Return what two documents of the same infoset have in common."""
    return etree.tostring(etree.fromstring(xml), method="c14n", exclusive=True)


async def test_an_initial_summary_is_uploaded_replaced_and_withdrawn(demo: Server) -> None:
    """015, then 016 in its place; 018 takes the one back, 017 the other, each only its own. Spec: 10 §15 steps 6-9."""
    number = fresh_patient()
    first = PRACTICE.initial_upload(number)
    assert await send(demo, first, "GP Summary upload successful") == ACCEPTED
    assert await listed(demo, number) == [(first.event_id, GP_INITIAL_SUMMARY, EventStatus.NORMAL)]
    answer = await PRACTICE.event(number, first.event_id).to(demo.spine, demo.tls())
    (returned,) = soap_of(answer, EVENT_ANSWER).interaction.iter("{urn:hl7-org:v3}GPSummary")
    assert canonical(etree.tostring(returned)) == canonical(first.payload[slice(*_span(first.payload))])

    # A second one is not taken while there is a current summary.
    assert await send(demo, PRACTICE.initial_upload(number)) == INVALID_UPDATE
    second = PRACTICE.upload(number, first.event_id)
    assert await send(demo, second, "GP Summary upload successful") == ACCEPTED
    assert await send(demo, PRACTICE.initial_upload(number)) == INVALID_UPDATE
    assert await listed(demo, number) == [
        (second.event_id, GP_SUMMARY, EventStatus.NORMAL),
        (first.event_id, GP_INITIAL_SUMMARY, EventStatus.REPLACED),
    ]

    # Each withdrawal takes back its own kind, also what has been replaced.
    assert await send(demo, PRACTICE.withdrawal(number, first.event_id)) == INVALID_UPDATE
    assert await send(demo, PRACTICE.withdrawal(number, second.event_id, initial=True)) == INVALID_UPDATE
    withdrawn = "GP Summary withdrawal successful"
    assert await send(demo, PRACTICE.withdrawal(number, first.event_id, initial=True), withdrawn) == ACCEPTED
    assert await send(demo, PRACTICE.withdrawal(number, first.event_id, initial=True)) == INVALID_UPDATE
    assert await send(demo, PRACTICE.withdrawal(number, second.event_id), withdrawn) == ACCEPTED
    statuses = {event_id: status for event_id, _, status in await listed(demo, number)}
    assert statuses == dict.fromkeys([first.event_id, second.event_id], EventStatus.WITHDRAWN)

    # Nothing is current: an initial summary is taken again.
    third = PRACTICE.initial_upload(number)
    assert await send(demo, third, "GP Summary upload successful") == ACCEPTED
    current = [event_id for event_id, _, status in await listed(demo, number) if status is EventStatus.NORMAL]
    assert current == [third.event_id]


def _span(payload: bytes) -> tuple[int, int]:
    end = b"</GPSummary>"
    return payload.index(b"<GPSummary"), payload.index(end) + len(end)


async def test_a_polling_upload_replaces_an_initial_summary(demo: Server) -> None:
    """The channel of a summary does not matter to the one that it replaces."""
    number = fresh_patient()
    first = PRACTICE.initial_upload(number)
    assert await send(demo, first, "GP Summary upload successful") == ACCEPTED
    second = FacadeUpload.of(number, first.event_id.lower())
    assert (await upload_as_the_facade(second, demo.spine, demo.tls())).success
    assert [(event_id, status) for event_id, _, status in await listed(demo, number)] == [
        (second.event_id.upper(), EventStatus.NORMAL),
        (first.event_id, EventStatus.REPLACED),
    ]


async def test_an_initial_summary_overwrites_where_the_service_is_told_so(
    data: Path, start: Callable[..., Server]
) -> None:
    """With ``initial_upload_overwrites`` the summary before is replaced. Spec: 10 §15 step 6."""
    server = await asyncio.to_thread(start, demo=True, initial_upload_overwrites=True)
    number = fresh_patient()
    mails = [PRACTICE.initial_upload(number), PRACTICE.upload(number), PRACTICE.initial_upload(number)]
    for mail in mails:
        assert await send(server, mail, "GP Summary upload successful") == ACCEPTED
    statuses = [EventStatus.NORMAL, EventStatus.REPLACED, EventStatus.REPLACED]
    found = await listed(server, number)
    assert [status for _, _, status in found] == statuses
    assert found[0][0] == mails[-1].event_id
    assert {event_id for event_id, _, _ in found} == {mail.event_id for mail in mails}
