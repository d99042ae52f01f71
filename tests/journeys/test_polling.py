"""Uploads over the polling channel, as the public FHIR facade makes them. Spec: 40 §7.6."""

import asyncio
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journeys.handshake import new_rows
from journeys.messages import HOSPITAL, PRACTICE, answer_to, codes_of, fresh_patient
from journeys.polling import (
    CLINICAL,
    FacadeUpload,
    place_of,
    read_as_the_facade,
    upload_as_the_facade,
)
from journeys.runner import Server, faults_of, import_directory, live_directory, stored, until
from journeys.wire import RELIABLE, Ended, connected, fault_of, request_bytes, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, EVENT_LIST_ANSWER
from openscr.hl7.acknowledgement import read_acknowledgement, read_outcome
from openscr.hl7.psis import read_event_list_answer
from openscr.identifiers import is_uuid, mint_uuid, slot_of
from openscr.service import Service
from openscr.settings import load_settings
from openscr.spine import Consent, EventStatus
from openscr.store.interface import AuditRow, EventRow
from openscr.transport.ebxml import read_envelope
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml


async def events(server: Server, number: str) -> list[EventRow]:
    """Return a patient's events as the store has them, oldest first."""
    async with stored(server.data) as store:
        state = await store.transact(slot_of(number), lambda transaction: transaction.read_patient(number))
    return list(state.events)


async def audit_of(server: Server, number: str) -> list[AuditRow]:
    """Return the audit rows of a patient, oldest first."""
    async with stored(server.data) as store:
        return [row async for row in store.read_audit(slot_of(number)) if row.entry.nhs_number == number]


# --- the facade -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("listener", ["web", "spine"])
async def test_the_facade_uploads_replaces_and_is_refused(demo: Server, listener: str) -> None:
    """The public client as it is: what it stores is listed under its id, what is refused has codes that it reads."""
    base, tls = (demo.web, None) if listener == "web" else (demo.spine, demo.tls())
    number = fresh_patient()
    first = FacadeUpload.of(number)
    stored_first = await upload_as_the_facade(first, base, tls)
    assert (stored_first.success, stored_first.codes) == (True, [])
    assert stored_first.reference == first.message_id
    second = FacadeUpload.of(number, first.event_id)
    assert (await upload_as_the_facade(second, base, tls)).success
    answer = await PRACTICE.event_list(number).to(base, tls)
    listed = read_event_list_answer(soap_of(answer, EVENT_LIST_ANSWER).interaction, number)
    assert [(event.event_id, event.status) for event in listed.events] == [
        (second.event_id.upper(), EventStatus.NORMAL),
        (first.event_id.upper(), EventStatus.REPLACED),
    ]
    refused = await upload_as_the_facade(FacadeUpload.of(number, first.event_id), base, tls)
    assert (refused.success, refused.codes) == (False, ["430"])
    unknown = await upload_as_the_facade(FacadeUpload.of(number, mint_uuid().lower()), base, tls)
    assert (unknown.success, unknown.codes) == (False, ["410", "30308"])

    answer = await PRACTICE.set_consent(number, Consent.NO).to(base, tls)
    assert read_outcome(soap_of(answer, ACKNOWLEDGEMENT).interaction)[0].accepted
    dissent = await upload_as_the_facade(FacadeUpload.of(number, second.event_id), base, tls)
    assert (dissent.success, dissent.codes) == (False, ["420", "30418"])


async def test_the_headers_name_the_person(demo: Server) -> None:
    """The logged-in user counts, whoever the message says: the fixed author is only recorded. Spec: 35 §9.2."""
    number = fresh_patient()
    assert (await upload_as_the_facade(FacadeUpload.of(number), demo.web)).success
    closed = FacadeUpload.of(number).with_headers(NHSD_Identity_UUID="555000000501")
    refused = await upload_as_the_facade(closed, demo.web)
    assert (refused.success, refused.codes) == (False, ["420", "30418"])
    nobody = FacadeUpload.of(number).with_headers(NHSD_Identity_UUID=None, NHSD_Session_URID=None)
    assert (await upload_as_the_facade(nobody, demo.web)).success
    named, mismatch, fixed = (row.entry.content for row in await audit_of(demo, number))
    assert (named["user_id"], named["role_profile_id"]) == ("555000000101", "555000000102")
    assert named["display_name"]
    assert named["author_as_sent"] == "979603625513 055888118514 R0260"
    assert is_uuid(named["request_id"])
    assert is_uuid(named["client_correlation_id"])
    assert (mismatch["reason"], mismatch["user_id"]) == ("author_mismatch", "555000000501")
    # Without the headers it is the author of the message, whom nobody here knows.
    assert (fixed["user_id"], "author_as_sent" in fixed) == ("979603625513", False)
    assert "author_unverified" in fixed["deviations"]
    assert "cpa_unknown" in named["deviations"]


# --- the wire -------------------------------------------------------------------------------------------------------


async def test_the_answers_have_the_headers_of_the_specification(demo: Server) -> None:
    """202 without a media type, a token that names the slot, a result of two documents on one line each."""
    number = fresh_patient()
    upload = FacadeUpload.of(number)
    accepted = await upload.post(demo.web)
    assert (accepted.status, accepted.body, accepted.header("content-type")) == (202, b"", None)
    assert (accepted.header("retry-after"), accepted.header("soapaction")) == ("100", None)
    place = place_of(accepted)
    assert re.fullmatch(f"/_poll/{slot_of(number):03x}[0-9a-f]{{5}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}", place)
    result = await upload.ask(demo.web, place)
    content_type = (
        'multipart/related; boundary="--=_MIME-Boundary"; charset="UTF-8"; type="text/xml"; '
        'start="<ebXMLHeader@spine.nhs.uk>"'
    )
    assert (result.status, result.header("content-type")) == (200, content_type)
    assert result.header("soapaction") is None
    multipart = read_multipart(content_type, result.body)
    envelope, payload = (part.content(result.body) for part in multipart.parts)
    for document, root in ((envelope, b"<soap:Envelope "), (payload, b"<hl7:MCCI_IN010000UK13 ")):
        declaration, line = document.split(b"\n")
        assert declaration == b'<?xml version="1.0" encoding="UTF-8"?>'
        assert line.startswith(root)
    header = read_envelope(read_xml(envelope))
    assert (header.from_party, header.to_party) == ("YES-0000806", PRACTICE.party_key)
    assert (header.cpa_id, header.conversation_id, header.ref_to_message_id) == (
        "S1001A1630",
        upload.message_id,
        upload.message_id,
    )
    acknowledgement = read_acknowledgement(read_xml(payload))
    assert acknowledgement.message_id == header.message_id == header.message_id.upper()
    assert acknowledgement.detail == "GP Summary upload successful"
    # Whoever asks again gets the same bytes, whatever the letter case of the token.
    assert (await upload.ask(demo.web, place.upper().replace("/_POLL", "/_poll"))).body == result.body


async def test_values_that_hold_line_ends_stay_on_the_line(demo: Server) -> None:
    """Ids are echoed as they came; the facade's expressions still find both documents."""
    strange = "one&#10;two&#13;three&#x85;four&#x2028;five&#x2029;six"
    upload = FacadeUpload.of(fresh_patient())
    conversation = f"<eb:ConversationId>{upload.message_id}<"
    upload = upload.changed(conversation, f"<eb:ConversationId>{strange}<")
    result = await upload_as_the_facade(upload, demo.web)
    assert result.success
    multipart = read_multipart('multipart/related; boundary="--=_MIME-Boundary"', result.text.encode())
    envelope = read_envelope(read_xml(multipart.root.content(result.text.encode())))
    assert envelope.conversation_id == "one\ntwo\rthree\x85four\u2028five\u2029six"


async def test_only_the_sender_reads_a_result(demo: Server) -> None:
    """Another ASID, none, or another party's certificate: 403. What is not there, or is no token: 404."""
    upload = FacadeUpload.of(fresh_patient())
    place = place_of(await upload.post(demo.spine, demo.tls()))
    other = upload.with_headers(nhsd_asid=HOSPITAL.asid)
    assert (await other.ask(demo.spine, place, demo.tls())).status == 403
    assert (await upload.with_headers(nhsd_asid=None).ask(demo.spine, place, demo.tls())).status == 403
    assert (await upload.ask(demo.spine, place, demo.tls("viewer.client.test"))).status == 403
    assert (await upload.ask(demo.spine, place, demo.tls())).status == 200
    assert (await other.ask(demo.web, place)).status == 403
    for nothing in (f"/_poll/{mint_uuid().lower()}", "/_poll/", "/_poll/x", f"{place}0", "/_poll/../clinical"):
        answer = await upload.ask(demo.spine, nothing, demo.tls())
        assert (answer.status, answer.body) == (404, b"")
    async with stored(demo.data) as store:
        rows = [row.entry async for row in store.read_audit() if row.entry.content.get("reason") == "result_of_another"]
    refused = [row for row in rows if row.content.get("certificate", "").startswith("viewer.client.test ")]
    assert refused[-1].outcome == "AR"
    assert refused[-1].content["asid"] == PRACTICE.asid


async def test_who_asks_for_the_result_of_another_is_in_the_audit(demo: Server) -> None:
    """With whom he says that he is, and the certificate with which he came; not with the place of the result."""
    upload = FacadeUpload.of(fresh_patient())
    place = place_of(await upload.post(demo.spine, demo.tls()))
    async with new_rows(demo) as rows:
        assert (await upload.ask(demo.spine, place, demo.tls("viewer.client.test"))).status == 403
        other = upload.with_headers(nhsd_asid="9" * 5_000)
        assert (await other.ask(demo.spine, place, demo.tls())).status == 403
        assert await rows.reasons(2) == ["result_of_another"] * 2
    said = {(row.content["asid"], row.content["certificate"].partition(" ")[0]) for row in rows.rows}
    assert said == {(PRACTICE.asid, "viewer.client.test"), ("9" * 64, "gp.client.test")}
    assert place.rpartition("/")[2] not in repr(rows.rows)


async def test_who_shows_no_asid_may_ask_without_one(demo: Server) -> None:
    """The header is the gateway's; a client without it is known by its message."""
    upload = FacadeUpload.of(fresh_patient()).with_headers(nhsd_asid=None)
    place = place_of(await upload.post(demo.web))
    assert (await upload.ask(demo.web, place)).status == 200
    assert (await upload.with_headers(nhsd_asid=PRACTICE.asid).ask(demo.web, place)).status == 200
    assert (await upload.with_headers(nhsd_asid=HOSPITAL.asid).ask(demo.web, place)).status == 403


async def test_other_verbs_are_told_which_one_it_is(demo: Server) -> None:
    upload = FacadeUpload.of(fresh_patient())
    place = place_of(await upload.post(demo.web))
    for path, method, allowed in ((CLINICAL, "GET", "POST"), (place, "POST", "GET"), (place, "DELETE", "GET")):
        answer = await upload.ask(demo.web, path, method=method)
        assert (answer.status, answer.header("allow")) == (405, allowed)
    assert (await upload.ask(demo.web, place)).status == 200


# --- what the first answer refuses, and what it does not -----------------------------------------------------------


async def test_the_channels_keep_to_their_interactions(demo: Server) -> None:
    """Only the polling upload polls, and it goes nowhere else. Spec: 40 §3."""
    upload = FacadeUpload.of(fresh_patient())
    for name in ("REPC_IN150016UK05", "REPC_IN150018UK02", "MCCI_IN010000UK13"):
        answer = await upload.post(demo.web, action=f"urn:nhs:names:services:psis/{name}")
        assert fault_of(answer).codes == ("101",)
    mail = PRACTICE.upload(fresh_patient()).changed("REPC_IN150016UK05", "REPC_IN150016SM05")
    post = mail.post().with_headers(SOAPAction='"urn:nhs:names:services:psis/REPC_IN150016SM05"')
    assert post.path == RELIABLE
    assert fault_of(await post.to(demo.web)).codes == ("101",)


async def test_framing_that_cannot_be_read_is_refused_at_once(demo: Server) -> None:
    upload = FacadeUpload.of(fresh_patient())
    for broken in (
        upload.changed("----=_MIME-Boundary", "----=_Other"),
        upload.changed("</soap:Envelope>", ""),
        upload.changed(f"<eb:MessageId>{upload.message_id}</eb:MessageId>", ""),
    ):
        assert fault_of(await broken.post(demo.web)).codes == ("201",)
    request = request_bytes(CLINICAL, upload.body, upload.headers)
    async with connected(demo.web) as connection:
        await connection.send(request[:-10])
        await connection.end_sending()
        try:
            assert (await connection.answer()).status == 400
        except Ended:
            pytest.fail("cut off without an answer")


async def test_who_may_not_send_is_refused_at_once(demo: Server) -> None:
    """Fault 300, whatever it is about the sender that does not fit; the audit knows which."""
    number = fresh_patient()
    upload = FacadeUpload.of(number)
    strangers = {
        "asid_header_differs": upload.with_headers(nhsd_asid=HOSPITAL.asid),
        "unknown_party": upload.changed(PRACTICE.party_key, "X99-9999999"),
        "wrong_certificate": upload.changed(PRACTICE.party_key, HOSPITAL.party_key),
        "unknown_sender": FacadeUpload.of(number, asid="299999999999"),
    }
    for stranger in strangers.values():
        assert fault_of(await stranger.post(demo.web)).codes == ("300",)
    answer = await upload.post(demo.spine, demo.tls("viewer.client.test"))
    assert fault_of(answer).codes == ("300",)
    reasons = [row.entry.content["reason"] for row in await audit_of(demo, number)]
    assert reasons == [*strangers, "party_not_of_certificate"]
    assert await events(demo, number) == []


TOLD = {
    "a number that is none": (("{number}", "9990000019"), "AE", ["400", "35160"]),
    "a payload that is no XML": (("</REPC_IN150016SM05>", "</REPC_IN150016SM05"), "AR", []),
    "another interaction in the envelope": (
        ("<eb:Action>REPC_IN150016SM05<", "<eb:Action>REPC_IN150016UK05<"),
        "AR",
        [],
    ),
    "another interaction in the payload": (
        ('extension="REPC_IN150016SM05"', 'extension="REPC_IN150016UK05"'),
        "AR",
        [],
    ),
    "a manifest of another version": (('<eb:Manifest eb:version="2.0"', '<eb:Manifest eb:version="1.0"'), "AR", []),
    "a message that has had its time": (
        ("<eb:Timestamp>", "<eb:TimeToLive>2020-01-01T00:00:00Z</eb:TimeToLive><eb:Timestamp>"),
        "AR",
        [],
    ),
}


@pytest.mark.parametrize("case", TOLD)
async def test_every_other_fault_is_told_in_the_acknowledgement(demo: Server, case: str) -> None:
    number = fresh_patient()
    (old, new), ack, codes = TOLD[case]
    upload = FacadeUpload.of(number).changed(old.replace("{number}", number), new)
    result = await upload_as_the_facade(upload, demo.web)
    assert (result.success, result.codes) == (False, codes)
    assert f'typeCode="{ack}"' in result.text
    assert await events(demo, number) == []


async def test_a_root_that_is_not_hl7s_is_no_interaction(demo: Server) -> None:
    """Its name alone, in a namespace of its own, does not make it one. Spec: 10 §14."""
    number = fresh_patient()
    upload = FacadeUpload.of(number).changed("<REPC_IN150016SM05 ", '<zz:REPC_IN150016SM05 xmlns:zz="urn:zz" ')
    upload = upload.changed("</REPC_IN150016SM05>", "</zz:REPC_IN150016SM05>")
    result = await upload_as_the_facade(upload, demo.web)
    assert (result.success, result.codes) == (False, [])
    assert '<code code="515"' in result.text.replace("hl7:", "")
    assert await events(demo, number) == []


PASSES = {
    "a part that the manifest does not name": ("cid:", "cid:other-"),
    "no reliability block": ("<eb:DuplicateElimination/>", ""),
    "an actor of another pattern": ("actor:toPartyMSH", "actor:nextMSH"),
    "another environment's receiver": ("<eb:To>", "<eb:To><!-- of the test environment -->"),
    "another party to": (">YES-0000806<", ">YEA-0000806<"),
}


@pytest.mark.parametrize("case", PASSES)
async def test_differences_from_the_contract_pass(demo: Server, case: str) -> None:
    number = fresh_patient()
    upload = FacadeUpload.of(number).changed(*PASSES[case])
    assert (await upload_as_the_facade(upload, demo.web)).success
    assert [event.event_id for event in await events(demo, number)] == [upload.event_id.upper()]


async def test_who_shows_the_asid_only_with_a_repetition_may_ask_with_it(demo: Server) -> None:
    """The first time neither header nor message told it; from then on it is the only one that reads the result."""
    unreadable = FacadeUpload.of(fresh_patient()).changed("</REPC_IN150016SM05>", "</REPC_IN150016SM05")
    place = place_of(await unreadable.with_headers(nhsd_asid=None).post(demo.web))
    assert (await unreadable.ask(demo.web, place)).status == 403
    assert place_of(await unreadable.post(demo.web)) == place
    assert (await unreadable.ask(demo.web, place)).status == 200
    assert (await unreadable.with_headers(nhsd_asid=HOSPITAL.asid).ask(demo.web, place)).status == 403
    # Once shown it stays, whatever a later repetition leaves out.
    assert place_of(await unreadable.with_headers(nhsd_asid=None).post(demo.web)) == place
    assert (await unreadable.ask(demo.web, place)).status == 200


# --- again ----------------------------------------------------------------------------------------------------------


async def test_a_repetition_leads_to_the_first_result_even_after_a_kill(
    data: Path, start: Callable[..., Server]
) -> None:
    """What was answered 202 is there, once; its result is the same bytes before and after. Spec: 40 §6.5, §7.6."""
    await import_directory(data, live_directory("http://127.0.0.1:9/"))
    server = await asyncio.to_thread(start, patient_index="open", unknown_author="accept")
    number = fresh_patient()
    upload = FacadeUpload.of(number)
    place = place_of(await upload.post(server.spine, server.tls()))
    await asyncio.to_thread(server.kill)
    server = await asyncio.to_thread(start, patient_index="open", unknown_author="accept")
    result = await upload.ask(server.spine, place, server.tls())
    assert read_as_the_facade(result).success
    again = place_of(await upload.post(server.spine, server.tls()))
    assert again == place
    assert (await upload.ask(server.spine, again, server.tls())).body == result.body
    # The bytes decide nothing: it is the sender and the MessageId that are known.
    shouted = upload.changed(f"<eb:MessageId>{upload.message_id}<", f"<eb:MessageId>{upload.message_id.upper()}<")
    assert place_of(await shouted.post(server.spine, server.tls())) == place
    # The same summary in a new message is a duplicate of the record's.
    other = upload.changed(f"<eb:MessageId>{upload.message_id}<", f"<eb:MessageId>{mint_uuid()}<")
    refused = await upload_as_the_facade(other, server.spine, server.tls())
    assert (refused.success, refused.codes) == (False, ["401"])
    assert [event.event_id for event in await events(server, number)] == [upload.event_id.upper()]
    assert await faults_of(data) == ()


async def test_repetitions_at_the_same_time_are_one_upload(demo: Server) -> None:
    upload = FacadeUpload.of(fresh_patient())
    answers = await asyncio.gather(*(upload.post(demo.web) for _ in range(8)))
    (place,) = {place_of(answer) for answer in answers}
    assert read_as_the_facade(await upload.ask(demo.web, place)).success


async def test_a_message_id_of_the_other_channel_is_no_repetition(demo: Server) -> None:
    """What one channel was answered is no answer on the other: the second message is refused, the first stands."""
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    assert (await mail.post().to(demo.web)).status == 202
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AA", [])
    upload = FacadeUpload.of(number)
    polled = upload.changed(f"<eb:MessageId>{upload.message_id}<", f"<eb:MessageId>{mail.message_id}<")
    for _ in range(2):
        refused = await upload_as_the_facade(polled, demo.web)
        assert (refused.success, refused.codes) == (False, ["401"])
    assert [event.event_id for event in await events(demo, number)] == [mail.event_id]

    upload = FacadeUpload.of(number)
    assert (await upload_as_the_facade(upload, demo.web)).success
    mail = PRACTICE.upload(number, message_id=upload.message_id)
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AE", ["401"])
    assert [event.event_id for event in await events(demo, number)][1:] == [upload.event_id.upper()]


async def test_repetitions_on_the_other_channel_get_one_refusal(demo: Server) -> None:
    """The refusal is decided once and kept, also for those that come at the same time. Spec: 40 §6.5, 10 §15 step 1."""
    number = fresh_patient()
    upload = FacadeUpload.of(number)
    assert (await upload_as_the_facade(upload, demo.web)).success
    mail = PRACTICE.upload(number, message_id=upload.message_id)
    answers = await asyncio.gather(*(mail.post().to(demo.web) for _ in range(4)))
    answers.append(await mail.post().to(demo.web))
    assert signal_of(answers[0]).kind == "Acknowledgment"
    assert len({answer.body for answer in answers}) == 1
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AE", ["401"])
    assert [row.entry.outcome for row in await audit_of(demo, number)] == ["AA", "AE"]
    # What the first channel was answered is still its answer.
    assert (await upload_as_the_facade(upload, demo.web)).success

    number = fresh_patient()
    mail = PRACTICE.upload(number)
    assert (await mail.post().to(demo.web)).status == 202
    upload = FacadeUpload.of(number)
    polled = upload.changed(f"<eb:MessageId>{upload.message_id}<", f"<eb:MessageId>{mail.message_id}<")
    places = [place_of(answer) for answer in await asyncio.gather(*(polled.post(demo.web) for _ in range(4)))]
    assert len({*places, place_of(await polled.post(demo.web))}) == 1
    assert read_as_the_facade(await polled.ask(demo.web, places[0])).codes == ["401"]
    assert [row.entry.outcome for row in await audit_of(demo, number)] == ["AA", "AE"]
    again = signal_of(await mail.post().to(demo.web))
    assert again.ref_to_message_id == mail.message_id
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AA", [])
    assert await faults_of(demo.data) == ()


async def test_what_has_expired_is_forgotten_while_the_service_runs(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has to ask for it: the room is given back, and the upload stays."""
    monkeypatch.setattr("openscr.service.POLL_RESULTS_SWEEP", 0.01)
    for name in [name for name in os.environ if name.startswith("OPENSCR_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(data)
    later = timedelta()
    given = {"demo": True, "data": data, "web": "127.0.0.1:0", "spine": "127.0.0.1:0"}
    service = Service(load_settings(given), clock=lambda: datetime.now(UTC) + later)

    def count() -> int:
        with closing(sqlite3.connect(data / "openscr.db")) as connection:
            return int(connection.execute("SELECT count(*) FROM poll").fetchone()[0])

    async def kept() -> int:
        return await asyncio.to_thread(count)

    async def forgotten() -> bool:
        return await kept() == 0

    await service.start()
    try:
        web, _ = service.urls
        number = fresh_patient()
        upload = FacadeUpload.of(number)
        assert (await upload_as_the_facade(upload, web)).success
        assert await kept() == 1
        later = timedelta(seconds=301)
        await until(forgotten)
        assert (await upload_as_the_facade(upload, web)).success
        assert await kept() == 1
    finally:
        await service.stop()
    assert await faults_of(data) == ()
