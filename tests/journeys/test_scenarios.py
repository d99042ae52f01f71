"""Scenarios as a test suite meets them: set over HTTP, seen from outside by a client that looks at every byte.

No test says how long anything takes: what counts is the order of what happens, and what is there at the end.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alerts import an_alert, in_fhir
from journeys.endpoint import ClientEndpoint
from journeys.messages import HOSPITAL, PRACTICE, Mail, answer_to, codes_of, collected, fresh_patient, get
from journeys.polling import FacadeUpload, place_of, upload_as_the_facade
from journeys.runner import Server, command, import_directory, launch, live_directory, outbox_rows, stored
from journeys.wire import (
    Answer,
    Ended,
    connected,
    errors_of,
    fault_of,
    post,
    signal_of,
    soap_of,
)
from openscr.codes import ACKNOWLEDGEMENT, ACS_GET_ANSWER, EVENT_LIST, EVENT_LIST_ANSWER, QUERY_FAILED, UPLOAD
from openscr.errors import EBXML_ERRORS, FAULTS
from openscr.hl7.acknowledgement import read_outcome
from openscr.spine import Consent
from openscr.store.interface import AuditEntry
from openscr.transport.xml import read_xml

JSON = (("Content-Type", "application/json"),)
PATH = "/demo/scenarios"


async def set_scenario(web: str, **form: Any) -> dict[str, Any]:
    """Set one scenario; return what the service says of it."""
    answer = await post(web, PATH, json.dumps(form).encode(), JSON)
    assert answer.status == 201, answer.body
    (shown,) = json.loads(answer.body)["scenarios"]
    assert isinstance(shown, dict)
    return shown


async def clear(web: str, name: str = "") -> Answer:
    """Clear everything, or a scenario."""
    return await post(web, f"{PATH}/{name}" if name else PATH, b"", (), method="DELETE")


async def shown(web: str) -> dict[str, Any]:
    """Return what the service shows."""
    found = json.loads((await get(web, PATH)).body)
    assert isinstance(found, dict)
    return found


async def hits(web: str) -> dict[str, int]:
    """Return how often every scenario has taken part."""
    return {each["name"]: each["hits"] for each in (await shown(web))["scenarios"]}


@pytest.fixture
async def web(demo: Server) -> AsyncIterator[str]:
    """The demo service, with no scenario set before and after."""
    await clear(demo.web)
    yield demo.web
    await clear(demo.web)


# --- errors, in the form of each interaction ------------------------------------------------------------------------


async def test_a_query_is_refused_with_the_codes_that_were_set(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="410/30340", nhs_number=patient, fields={"event_id": "E"})
    answer = soap_of(await PRACTICE.event_list(patient).to(web), QUERY_FAILED)
    outcome, _ = read_outcome(answer.interaction)
    assert outcome.ack.value == "AE"
    assert [(issue.code, issue.display, issue.severity) for issue in outcome.issues] == [
        ("410", "Logical inconsistency", "ER"),
        ("30340", "[PSIS-30340] - CSMP Pattern Not Found for Event (E).", "ER"),
    ]


async def test_an_unavailable_service_rejects(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="502", nhs_number=patient)
    outcome, _ = read_outcome(soap_of(await PRACTICE.event_list(patient).to(web), QUERY_FAILED).interaction)
    assert (outcome.ack.value, [issue.code for issue in outcome.issues]) == ("AR", ["502"])


async def test_a_query_can_be_refused_by_an_acknowledgement(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="420/30418", answer="mcci", nhs_number=patient)
    outcome, _ = read_outcome(soap_of(await PRACTICE.event_list(patient).to(web), ACKNOWLEDGEMENT).interaction)
    assert (outcome.ack.value, [issue.code for issue in outcome.issues]) == ("AE", ["420", "30418"])


async def test_consent_is_refused_and_stays_as_it_was(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="400/99712", nhs_number=patient, times=1)
    refused = soap_of(await PRACTICE.set_consent(patient, Consent.NO).to(web), ACKNOWLEDGEMENT)
    outcome, _ = read_outcome(refused.interaction)
    assert (outcome.ack.value, [issue.code for issue in outcome.issues]) == ("AE", ["400", "99712"])
    answer = await PRACTICE.get_consent(patient).to(web)
    assert b"<permission>" not in answer.body
    soap_of(answer, ACS_GET_ANSWER)


async def test_a_refused_upload_is_not_in_the_record_and_gets_the_same_answer_again(web: str, demo: Server) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="430", nhs_number=patient, interaction=UPLOAD, times=1)
    message = PRACTICE.upload(patient).post()
    first = await message.to(web)
    assert signal_of(first).kind == "Acknowledgment"
    assert codes_of(await answer_to(web, message.message_id)) == ("AE", ["430"])
    assert (await message.to(web)).body == first.body
    outcome, _ = read_outcome(soap_of(await PRACTICE.event_list(patient).to(web), QUERY_FAILED).interaction)
    assert [issue.code for issue in outcome.issues] == ["210", "30312"]
    assert await outbox_rows(demo.data) == []


async def test_a_wrapper_error_is_an_acknowledgement_detail(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="wrapper-error", code="519", nhs_number=patient)
    message = PRACTICE.upload(patient).post()
    await message.to(web)
    assert codes_of(await answer_to(web, message.message_id)) == ("AR", ["519"])
    (delivered,) = await collected(web, message.message_id)
    assert "acknowledgementDetail" in delivered["payload"]


async def test_a_polling_upload_is_refused_in_its_result(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="410/30134", nhs_number=patient)
    result = await upload_as_the_facade(FacadeUpload.of(patient), web)
    assert (result.success, result.codes) == (False, ["410", "30134"])


@pytest.mark.parametrize("code", FAULTS)
async def test_a_fault_on_every_channel(web: str, code: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="fault", code=code, nhs_number=patient)
    for message in (PRACTICE.event_list(patient), PRACTICE.upload(patient).post(), FacadeUpload.of(patient)):
        sent = message.post(web) if isinstance(message, FacadeUpload) else message.to(web)
        fault = fault_of(await sent)
        assert (fault.codes, fault.descriptions) == ((code,), (FAULTS[code].description,))


async def test_a_fault_twice_and_then_the_message_is_taken(web: str) -> None:
    """The suite of the national adaptor does this. Spec: 50 §14.4."""
    patient = fresh_patient()
    await set_scenario(web, behaviour="fault", code="206", nhs_number=patient, times=2, name="two-faults")
    message = PRACTICE.upload(patient).post()
    assert [fault_of(await message.to(web)).codes for _ in range(2)] == [("206",)] * 2
    assert signal_of(await message.to(web)).kind == "Acknowledgment"
    assert codes_of(await answer_to(web, message.message_id)) == ("AA", [])
    (scenario,) = (await shown(web))["scenarios"]
    assert (scenario["hits"], scenario["over"]) == (2, True)


@pytest.mark.parametrize("key", EBXML_ERRORS)
async def test_an_ebxml_error_of_every_kind(web: str, key: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="message-error", error=key, nhs_number=patient)
    answer = await PRACTICE.upload(patient).post().to(web)
    assert errors_of(answer) == [(EBXML_ERRORS[key].code, EBXML_ERRORS[key].description)]


async def test_an_ebxml_error_with_another_status(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="message-error", error="ValueNotRecognized", status=500, nhs_number=patient)
    answer = await PRACTICE.upload(patient).post().to(web)
    assert answer.status == 500
    assert b"ValueNotRecognized" in answer.body


async def test_an_alert_is_refused_and_not_kept(web: str, demo: Server) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="420/30418", nhs_number=patient)
    mail = PRACTICE.alert_mail(an_alert(patient))
    await mail.post().to(web)
    assert codes_of(await answer_to(web, mail.message_id)) == ("AE", ["420", "30418"])
    alerts = json.loads(await command(demo.data, "admin", "alerts", "--json", "--patients"))
    assert not [each for each in alerts if each["patient"] == patient]


async def test_an_alert_in_fhir_meets_outages_and_broken_connections(web: str) -> None:
    body, where = json.dumps(in_fhir(an_alert(fresh_patient()))).encode(), "/clinical/alert"
    await set_scenario(web, behaviour="outage", seconds=60, answer="fault", interaction="AuditEvent", name="one")
    answer = await post(web, where, body, JSON)
    assert (answer.status, json.loads(answer.body)["resourceType"]) == (503, "OperationOutcome")
    await set_scenario(web, behaviour="drop", interaction="AuditEvent", name="one")
    with pytest.raises(Ended):
        await post(web, where, body, JSON)
    await clear(web)
    assert (await post(web, where, body, JSON)).status == 200


@pytest.mark.parametrize(("kind", "action"), [("quqi", QUERY_FAILED), ("mcci", ACKNOWLEDGEMENT)])
async def test_an_express_query_is_refused_in_a_message_of_its_own(
    web: str, demo: Server, kind: str, action: str
) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="410/30344", answer=kind, nhs_number=patient)
    message = PRACTICE.express(patient).post()
    answer = await message.to(web)
    assert (answer.status, answer.body) == (202, b"")
    while not (found := await collected(web, message.message_id)):
        pass
    assert [each["action"] for each in found] == [action]
    outcome, _ = read_outcome(read_xml(found[0]["payload"].encode()))
    assert (outcome.ack.value, [issue.code for issue in outcome.issues]) == ("AE", ["410", "30344"])
    while await outbox_rows(demo.data):
        pass


async def test_an_express_query_meets_faults_and_ebxml_errors(web: str) -> None:
    """The suite of the national adaptor does this. Spec: 50 §14.4."""
    patient = fresh_patient()
    await set_scenario(web, behaviour="fault", code="200", nhs_number=patient, name="one")
    assert fault_of(await PRACTICE.express(patient).post().to(web)).codes == ("200",)
    await set_scenario(web, behaviour="message-error", error="cpa_unknown", nhs_number=patient, name="one")
    assert errors_of(await PRACTICE.express(patient).post().to(web)) == [
        ("ValueNotRecognized", "501319:Unknown eb:CPAId")
    ]


async def test_the_answer_to_an_express_query_comes_twice(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="duplicate", nhs_number=patient)
    message = PRACTICE.express(patient).post()
    await message.to(web)
    while len(found := await collected(web, message.message_id)) < 2:
        pass
    assert found[0]["message_id"] == found[1]["message_id"]


# --- time -----------------------------------------------------------------------------------------------------------


async def test_a_delayed_answer_waits_while_later_requests_are_answered(web: str) -> None:
    slow, quick = fresh_patient(), fresh_patient()
    await set_scenario(web, behaviour="delay", seconds=30, nhs_number=slow)
    waiting = asyncio.create_task(PRACTICE.event_list(slow).to(web))
    while not any((await hits(web)).values()):
        pass
    # Each of these is a round trip that could not end before an answer that went out ahead of it.
    for _ in range(5):
        await PRACTICE.event_list(quick).to(web)
    assert not waiting.done()
    waiting.cancel()


async def test_a_delayed_upload_is_in_the_record_before_its_answer(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="delay", seconds=30, nhs_number=patient, interaction=UPLOAD)
    message = PRACTICE.upload(patient).post()
    waiting = asyncio.create_task(message.to(web))
    assert codes_of(await answer_to(web, message.message_id)) == ("AA", [])
    soap_of(await PRACTICE.event_list(patient).to(web), EVENT_LIST_ANSWER)
    assert not waiting.done()
    waiting.cancel()


async def test_a_delayed_answer_comes_in_the_end(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="delay", seconds=0.2, nhs_number=patient)
    soap_of(await PRACTICE.event_list(patient).to(web), QUERY_FAILED)
    assert signal_of(await PRACTICE.upload(patient).post().to(web)).kind == "Acknowledgment"


async def test_a_late_acknowledgement_waits_in_the_outbox(data: Path, start: Callable[..., Server]) -> None:
    server = start(demo=True)
    patient, other = fresh_patient(), fresh_patient()
    await set_scenario(server.web, behaviour="late", seconds=600, nhs_number=patient)
    late = [PRACTICE.upload(patient).post(), PRACTICE.express(patient).post()]
    assert [(await message.to(server.web)).status for message in late] == [202, 202]
    last = PRACTICE.upload(other).post()
    await last.to(server.web)
    assert codes_of(await answer_to(server.web, last.message_id)) == ("AA", [])
    for message in late:
        assert await collected(server.web, message.message_id) == []
        (row,) = [row for row in await outbox_rows(data) if row.ref_to_message_id == message.message_id]
        assert row.next_attempt_at == row.created_at + timedelta(seconds=600)
    # What is told late is true all the while. A query would wait, too.
    await clear(server.web)
    soap_of(await PRACTICE.event_list(patient).to(server.web), EVENT_LIST_ANSWER)


async def test_a_late_acknowledgement_comes_in_the_end(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="late", seconds=0.5, nhs_number=patient)
    message, query = PRACTICE.upload(patient).post(), PRACTICE.express(patient).post()
    assert signal_of(await message.to(web)).kind == "Acknowledgment"
    assert (await query.to(web)).status == 202
    assert codes_of(await answer_to(web, message.message_id)) == ("AA", [])
    while not await collected(web, query.message_id):
        pass


async def test_a_late_poll_result_is_not_ready_and_then_is(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="late", seconds=1, nhs_number=patient)
    upload = FacadeUpload.of(patient)
    place = place_of(await upload.post(web))
    seen = []
    while not seen or seen[-1] == 202:
        answer = await upload.ask(web, place)
        assert answer.status == 200 or answer.header("retry-after") == "1000"
        seen.append(answer.status)
    assert (seen[0], seen[-1]) == (202, 200)


async def test_a_slow_answer_is_whole_in_the_end(web: str) -> None:
    patient = fresh_patient()
    await PRACTICE.upload(patient).post().to(web)
    message = PRACTICE.event_list(patient)
    await set_scenario(web, behaviour="slow", bytes_per_second=3000, nhs_number=patient)
    async with connected(web) as connection:
        await connection.send(message.raw())
        head = await connection.reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        pieces = []
        while sum(map(len, pieces)) < length:
            pieces.append(await connection.reader.read(65536))
            assert pieces[-1]
    assert len(pieces) > 1
    assert b"".join(pieces).endswith(b"</SOAP:Envelope>") or b"Envelope>" in b"".join(pieces)[-30:]


# --- connections ----------------------------------------------------------------------------------------------------


async def test_no_answer_and_nothing_is_kept(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="no-answer", seconds=0.2, nhs_number=patient, interaction=UPLOAD, times=1)
    message = PRACTICE.upload(patient).post()
    async with connected(web) as connection:
        with pytest.raises(Ended):
            await connection.exchange(message.raw())
    outcome, _ = read_outcome(soap_of(await PRACTICE.event_list(patient).to(web), QUERY_FAILED).interaction)
    assert [issue.code for issue in outcome.issues] == ["210", "30312"]
    assert signal_of(await message.to(web)).kind == "Acknowledgment"


async def test_no_transport_acknowledgement_in_an_answer(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="no-answer", how="empty", nhs_number=patient)
    answer = await PRACTICE.upload(patient).post().to(web)
    assert (answer.status, answer.body) == (202, b"")


@pytest.mark.parametrize("processed", [True, False])
async def test_an_answer_that_is_lost_before_its_first_byte(web: str, *, processed: bool) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="drop", processed=processed, nhs_number=patient, interaction=UPLOAD, times=1)
    message = PRACTICE.upload(patient).post()
    async with connected(web) as connection:
        await connection.send(message.raw())
        assert await connection.reader.read() == b""
    listed = await PRACTICE.event_list(patient).to(web)
    soap_of(listed, EVENT_LIST_ANSWER if processed else QUERY_FAILED)
    # The same bytes again: done once, acknowledged now.
    assert signal_of(await message.to(web)).kind == "Acknowledgment"
    assert codes_of(await answer_to(web, message.message_id)) == ("AA", [])


async def test_an_answer_that_breaks_off_in_the_middle(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="drop", where="middle", nhs_number=patient)
    async with connected(web) as connection:
        await connection.send(PRACTICE.event_list(patient).raw())
        received = await connection.reader.read()
        while more := await connection.reader.read():
            received += more
    head, _, body = received.partition(b"\r\n\r\n")
    announced = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    assert head.startswith(b"HTTP/1.1 200")
    assert 0 < len(body) < announced


async def test_a_connection_breaks_off_over_mutual_tls(web: str, demo: Server) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="drop", nhs_number=patient, times=1)
    async with connected(demo.spine, demo.tls()) as connection:
        with pytest.raises(Ended):
            await connection.exchange(PRACTICE.event_list(patient).raw())
    soap_of(await PRACTICE.event_list(patient).to(demo.spine, demo.tls()), QUERY_FAILED)


async def test_an_outage_is_over_in_the_end(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="outage", seconds=1, name="down")
    message = PRACTICE.upload(patient).post()
    seen = []
    while not seen or seen[-1].status == 503:
        seen.append(await message.to(web))
    assert seen[0].status == 503
    assert seen[0].body == b""
    assert signal_of(seen[-1]).kind == "Acknowledgment"
    assert [each["over"] for each in (await shown(web))["scenarios"]] == [True]


@pytest.mark.parametrize("kind", ["fault", "drop"])
async def test_an_outage_in_another_form(web: str, kind: str) -> None:
    await set_scenario(web, behaviour="outage", seconds=60, answer=kind)
    async with connected(web) as connection:
        if kind == "fault":
            assert fault_of(await connection.exchange(PRACTICE.event_list(fresh_patient()).raw())).codes == ("200",)
        else:
            with pytest.raises(Ended):
                await connection.exchange(PRACTICE.event_list(fresh_patient()).raw())
    assert (await get(web, "/healthcheck")).status == 200


# --- answers that are not what they should be -----------------------------------------------------------------------


async def test_another_content_type(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="content-type", type="text/xml; charset=utf-8", nhs_number=patient)
    answer = await PRACTICE.upload(patient).post().to(web)
    assert (answer.status, answer.header("content-type")) == (202, "text/xml; charset=utf-8")
    soap = await PRACTICE.event_list(patient).to(web)
    assert soap.header("content-type") == "text/xml; charset=utf-8"


@pytest.mark.parametrize(("how", "ends"), [("cut", None), ("html", b"</html>"), ("empty", b"")])
async def test_a_malformed_answer(web: str, how: str, ends: bytes | None) -> None:
    patient = fresh_patient()
    whole = await PRACTICE.event_list(patient).to(web)
    await set_scenario(web, behaviour="malformed", how=how, nhs_number=patient)
    answer = await PRACTICE.event_list(patient).to(web)
    assert answer.status == 200
    if ends is None:
        assert 0 < len(answer.body) < len(whole.body)
        assert b"Envelope>" not in answer.body[-20:]
    else:
        assert answer.body.endswith(ends)


async def test_an_acknowledgement_twice(data: Path, start: Callable[..., Server]) -> None:
    """The same id and the same bytes, at a client's own endpoint."""
    server = start(demo=True)
    async with ClientEndpoint() as endpoint:
        await import_directory(data, live_directory(endpoint.url), replace=True)
        while (await PRACTICE.upload(fresh_patient()).post().to(server.web)).status != 202 or not endpoint.deliveries:
            pass
        patient = fresh_patient()
        await set_scenario(server.web, behaviour="duplicate", nhs_number=patient)
        message = PRACTICE.upload(patient).post()
        await message.to(server.web)
        while len(found := [d for d in endpoint.deliveries if d.envelope.ref_to_message_id == message.message_id]) < 2:
            await endpoint.received(len(endpoint.deliveries) + 1)
        assert found[0].body == found[1].body
        assert found[0].envelope.message_id == found[1].envelope.message_id
        assert codes_of(found[0].acknowledgement) == ("AA", [])


# --- which requests are meant ---------------------------------------------------------------------------------------


async def test_the_most_specific_scenario_takes_part(web: str) -> None:
    patient, other = fresh_patient(), fresh_patient()
    await set_scenario(web, behaviour="fault", code="208", nhs_number=patient, asid=PRACTICE.asid, name="both")
    await set_scenario(web, behaviour="fault", code="201", nhs_number=patient, name="patient")
    await set_scenario(web, behaviour="fault", code="300", asid=HOSPITAL.asid, name="sender")
    await set_scenario(web, behaviour="fault", code="206", interaction=EVENT_LIST, name="interaction")
    await set_scenario(web, behaviour="fault", code="101", name="all")

    async def codes(message: Mail | Any) -> tuple[str, ...]:
        return fault_of(await message.to(web)).codes

    assert await codes(PRACTICE.event_list(patient)) == ("208",)
    assert await codes(HOSPITAL.event_list(patient)) == ("201",)
    assert await codes(HOSPITAL.event_list(other)) == ("300",)
    assert await codes(PRACTICE.event_list(other)) == ("206",)
    assert await codes(PRACTICE.get_consent(other)) == ("101",)
    assert await hits(web) == {"both": 1, "patient": 1, "sender": 1, "interaction": 1, "all": 1}
    assert json.loads((await clear(web, "both")).body) == {"cleared": 1}
    assert await codes(PRACTICE.event_list(patient)) == ("201",)
    assert (await clear(web, "both")).status == 404


async def test_a_base64_payload_is_recognised(web: str) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="fault", code="208", nhs_number=patient)
    assert fault_of(await PRACTICE.upload(patient).post(encoding="base64").to(web)).codes == ("208",)


async def test_a_sender_that_is_not_registered_stays_refused(web: str) -> None:
    """An HL7 answer is for those who may ask at all."""
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="430", nhs_number=patient)
    stranger = type(PRACTICE)(asid="299999999999")
    assert fault_of(await stranger.event_list(patient).to(web)).codes == ("300",)


async def test_logs_metrics_and_audit_tell_of_scenarios_and_of_no_patient(web: str, demo: Server) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="fault", code="208", nhs_number=patient, name="seen-everywhere")
    await PRACTICE.event_list(patient).to(web)
    metrics = (await get(web, "/metrics")).body.decode()
    assert f'openscr_requests_total{{face="spine",interaction="{EVENT_LIST}",outcome="scenario"}}' in metrics
    lines = [json.loads(line) for line in demo.log.read_text().splitlines()]
    (told,) = [line for line in lines if line.get("name") == "seen-everywhere" and line["event"] == "scenario"]
    assert told["behaviour"] == "fault"
    assert patient not in demo.log.read_text() + metrics
    (row,) = await audited(demo, "scenario seen-everywhere: fault")
    assert (row.action, row.outcome, row.nhs_number) == (EVENT_LIST, "AR", None)
    assert row.content["correlation_id"] == told["correlation_id"]


async def test_the_audit_of_a_patient_tells_that_a_scenario_refused_an_upload(web: str, demo: Server) -> None:
    patient = fresh_patient()
    await set_scenario(web, behaviour="error", code="430", nhs_number=patient, name="said-no")
    await PRACTICE.upload(patient).post().to(web)
    await set_scenario(web, behaviour="delay", seconds=0, nhs_number=patient, name="said-yes")
    await HOSPITAL.event_list(patient).to(web)
    async with stored(demo.data) as store:
        rows = [row.entry async for row in store.read_audit() if row.entry.nhs_number == patient]
    assert (rows[0].outcome, rows[0].content["scenario"]) == ("AE", "said-no")
    # What was processed has its own row beside the scenario's, which claims nothing else.
    (row,) = await audited(demo, "scenario said-yes: delay")
    assert row.outcome == "AA"
    assert rows[-1].action == EVENT_LIST


async def audited(demo: Server, reason: str) -> list[AuditEntry]:
    """Return what the audit has with this reason."""
    async with stored(demo.data) as store:
        return [row.entry async for row in store.read_audit() if row.entry.content.get("reason") == reason]


# --- the HTTP call --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ([], "send one JSON object"),
        ({}, "behaviour is one of error, wrapper-error"),
        ({"behaviour": "sulk"}, "behaviour is one of"),
        ({"behaviour": "error"}, "error needs code"),
        ({"behaviour": "error", "code": "431"}, "code is a general code"),
        ({"behaviour": "error", "code": "999/30307"}, "code is a general code"),
        ({"behaviour": "error", "code": "430", "fields": {"name": "x"}}, "fields has the members"),
        ({"behaviour": "wrapper-error", "code": "536"}, "code is one of 202, 501"),
        ({"behaviour": "fault", "code": "999"}, "code is one of 101"),
        ({"behaviour": "message-error", "error": "no"}, "error is one or more of soap_action"),
        ({"behaviour": "delay", "seconds": -1}, "seconds is a number of seconds from 0 to 3600"),
        ({"behaviour": "delay", "seconds": "NaN"}, "seconds is a number of seconds"),
        ({"behaviour": "delay", "seconds": True}, "seconds is a number of seconds"),
        ({"behaviour": "slow", "bytes_per_second": 0}, "bytes_per_second is a whole number"),
        ({"behaviour": "drop", "where": "after"}, "where is one of before, middle"),
        ({"behaviour": "drop", "processed": "perhaps"}, "processed is true or false"),
        ({"behaviour": "content-type", "type": "a\r\nb"}, "type is a media type"),
        ({"behaviour": "delay", "seconds": 1, "nhs_number": "9990012319"}, "nhs_number has ten digits"),
        ({"behaviour": "delay", "seconds": 1, "nhs_number": 9990012318}, "nhs_number has ten digits"),
        ({"behaviour": "delay", "seconds": 1, "asid": "1"}, "asid has twelve digits"),
        ({"behaviour": "delay", "seconds": 1, "interaction": "X"}, "interaction is one or more of"),
        ({"behaviour": "delay", "seconds": 1, "interaction": []}, "interaction is one or more of"),
        ({"behaviour": "delay", "seconds": 1, "times": 0}, "times is how often"),
        ({"behaviour": "delay", "seconds": 1, "name": "Dr Who"}, "name has at most 64"),
        ({"behaviour": "delay", "seconds": 1, "name": "of-9990012318"}, "no NHS number"),
        ({"behaviour": "delay", "seconds": 1, "patient": "9990012318"}, "there is a member that is unknown here"),
        ({"named": "triggers"}, "named is one of psis-triggers"),
        ({"named": "psis-triggers", "numbers": {"a": "9990012318"}}, "numbers is not for psis-triggers"),
        ({"named": "upload-triggers", "numbers": {"a": "9990012318"}}, "numbers has the members no_consent"),
        ({"named": "upload-triggers", "numbers": {"silent": "9"}}, "numbers: silent has ten digits"),
        ({"scenarios": []}, "scenarios is a list"),
        ({"scenarios": [{"behaviour": "duplicate"}, {"behaviour": "x"}]}, "scenario 2 of the list: behaviour is"),
    ],
)
async def test_what_is_wrong_with_a_scenario_is_told_in_one_line(web: str, form: Any, told: str) -> None:
    answer = await post(web, PATH, json.dumps(form).encode(), JSON)
    assert answer.status == 400
    said = json.loads(answer.body)["error"]
    assert said.startswith(told) or told in said
    assert "\n" not in said
    assert "99900123" not in said
    assert (await shown(web))["scenarios"] == []


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"[" * 100_000, JSON, 400),
        (b"\xff", JSON, 400),
        (b"", JSON, 400),
        (b'{"behaviour": "duplicate"}', (("Content-Type", "text/plain"),), 415),
        (b'{"behaviour": "duplicate"}', (), 415),
        (b" " * 1_048_577, JSON, 413),
    ],
    ids=["cut off", "deep", "not UTF-8", "empty", "text", "no type", "large"],
)
async def test_a_body_that_is_no_scenario(web: str, body: bytes, headers: Any, status: int) -> None:
    answer = await post(web, PATH, body, headers)
    assert answer.status == status
    assert json.loads(answer.body)["error"]


async def test_other_methods_are_not_allowed(web: str) -> None:
    assert (await post(web, PATH, b"{}", JSON, method="PUT")).status == 405


async def test_many_scenarios_in_one_call_and_one_of_the_same_name_gives_way(web: str) -> None:
    forms = [{"behaviour": "fault", "code": code, "name": "one"} for code in ("101", "208")]
    answer = await post(web, PATH, json.dumps({"scenarios": forms}).encode(), JSON)
    assert answer.status == 201
    (left,) = (await shown(web))["scenarios"]
    assert (left["name"], left["code"], left["hits"]) == ("one", "208", 0)


# --- never outside test environments --------------------------------------------------------------------------------


async def test_a_live_service_has_no_scenarios(start: Callable[..., Server]) -> None:
    server = start(demo=False)
    for method, path in (("GET", PATH), ("POST", PATH), ("DELETE", PATH), ("DELETE", f"{PATH}/x")):
        assert (await post(server.web, path, b'{"behaviour": "duplicate"}', JSON, method=method)).status == 404


@pytest.mark.parametrize("setting", ["scenario_triggers", "scenario_file"])
def test_a_live_service_refuses_to_start_with_scenarios(data: Path, setting: str) -> None:
    (data / "scenarios.json").write_text('{"behaviour": "duplicate"}')
    value = "psis-triggers" if setting == "scenario_triggers" else str(data / "scenarios.json")
    process, log = launch(data, demo=False, **{setting: value})
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    (line,) = [line for line in log.read_text().splitlines() if line.strip()]
    assert line.startswith(f"openscr: setting {setting} (from environment OPENSCR_{setting.upper()})")
    assert "scenarios are for test environments only" in line
    assert not (data / "openscr.db").exists()


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("scenario_triggers", "psis", "scenario_triggers are one or more of psis-triggers"),
        ("scenario_file", "nothing.json", "scenario_file nothing.json: cannot be read"),
        ("scenario_file", "broken.json", "scenario_file broken.json: it is not JSON"),
        ("scenario_file", "wrong.json", "scenario_file wrong.json: behaviour is one of"),
    ],
)
def test_a_demo_says_what_is_wrong_with_its_scenarios(data: Path, setting: str, value: str, told: str) -> None:
    (data / "broken.json").write_text("{")
    (data / "wrong.json").write_text("{}")
    process, log = launch(data, demo=True, **{setting: value})
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert told in log.read_text().splitlines()[-1]


async def test_what_the_settings_name_is_on_from_the_start(data: Path, start: Callable[..., Server]) -> None:
    form = {"scenarios": [{"behaviour": "fault", "code": "208", "nhs_number": "9990012318", "name": "mine"}]}
    (data / "mine.json").write_text(json.dumps(form))
    server = start(demo=True, scenario_triggers="psis-triggers,upload-triggers", scenario_file=data / "mine.json")
    names = [each["name"] for each in (await shown(server.web))["scenarios"]]
    assert {"mine", "psis-triggers.430", "upload-triggers.silent"} <= set(names)
    assert fault_of(await PRACTICE.event_list("9990012318").to(server.web)).codes == ("208",)
