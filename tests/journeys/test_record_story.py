"""The story of one record, as a practice and a hospital live it: over mutual TLS, with an endpoint of their own."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from lxml import etree

from journeys.endpoint import ClientEndpoint
from journeys.messages import HOSPITAL, PRACTICE, Post, document, fresh_patient
from journeys.runner import (
    Server,
    faults_of,
    import_directory,
    import_patients,
    live_directory,
    outbox_rows,
    server_context,
    stored,
)
from journeys.wire import Answer, signal_of, soap_of
from openscr.codes import (
    ACKNOWLEDGEMENT,
    EVENT,
    EVENT_ANSWER,
    EVENT_LIST,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    QUERY_FAILED,
    VERSION_CODE,
)
from openscr.hl7.acknowledgement import Acknowledgement, read_outcome
from openscr.hl7.psis import read_event_answer, read_event_list_answer
from openscr.identifiers import slot_of
from openscr.spine import AckType, Consent, DissentOverride, EventListOutcome, EventStatus
from openscr.store.interface import AuditRow
from openscr.testbench.world import OWN_PARTY, PRACTICE_PARTY


def canonical(xml: bytes | etree._Element) -> bytes:
    """Return what two documents of the same infoset have in common."""
    root = etree.fromstring(xml) if isinstance(xml, bytes) else xml
    return etree.tostring(root, method="c14n", exclusive=True)


def issues_of(answer: Answer, interaction: str) -> list[tuple[str, str]]:
    """Return code and severity of every issue, in order."""
    outcome, _ = read_outcome(soap_of(answer, interaction).interaction)
    return [(issue.code, issue.severity) for issue in outcome.issues]


class Practice:
    """The practice's system: its connection to the service, and the endpoint where its answers arrive."""

    def __init__(self, server: Server, endpoint: ClientEndpoint) -> None:
        self._server = server
        self._endpoint = endpoint

    async def send(self, post: Post) -> Acknowledgement:
        """Send a reliable message; return the application acknowledgement that arrives for it."""
        answer = await post.to(self._server.spine, self._server.tls())
        signal = signal_of(answer)
        assert (signal.kind, signal.from_party) == ("Acknowledgment", OWN_PARTY)
        assert signal.ref_to_message_id == post.message_id
        delivery = await self._endpoint.received_in_answer_to(post.message_id)
        assert delivery.certificate == "localhost"
        assert delivery.headers["soapaction"] == f"urn:nhs:names:services:psis/{ACKNOWLEDGEMENT}"
        envelope = delivery.envelope
        assert (envelope.from_party, envelope.to_party) == (OWN_PARTY, PRACTICE_PARTY)
        assert (envelope.cpa_id, envelope.conversation_id) == ("S90001A000001", post.message_id)
        assert (envelope.ack_requests, envelope.sync_replies, envelope.duplicate_eliminations) == (1, 1, 1)
        acknowledgement = delivery.acknowledgement
        assert acknowledgement.message_id == envelope.message_id
        assert acknowledgement.reference == post.message_id
        return acknowledgement

    async def list(self, number: str) -> EventListOutcome:
        """Return the events of a patient."""
        answer = await PRACTICE.event_list(number).to(self._server.spine, self._server.tls())
        return read_event_list_answer(soap_of(answer, EVENT_LIST_ANSWER).interaction, number)


async def audit_of(data: Path, number: str) -> list[AuditRow]:
    """Return the audit rows of a patient, oldest first."""
    async with stored(data) as store:
        return [row async for row in store.read_audit(slot_of(number)) if row.entry.nhs_number == number]


async def test_a_record_lives_from_its_first_upload_to_its_withdrawal_and_survives_a_restart(
    data: Path, start: Callable[..., Server]
) -> None:
    number = fresh_patient()
    async with ClientEndpoint(tls=server_context(data / "pki", "gp.client.test")) as endpoint:
        await import_directory(data, live_directory(endpoint.url))
        await import_patients(data, [number])
        server = await asyncio.to_thread(start)
        practice = Practice(server, endpoint)
        gp, viewer = server.tls(), server.tls("viewer.client.test")

        # The first summary, then one that replaces it.
        first = PRACTICE.upload(number)
        acknowledgement = await practice.send(first.post())
        assert acknowledgement.outcome.ack is AckType.ACCEPTED
        assert acknowledgement.detail == "GP Summary upload successful"
        second = PRACTICE.upload(number, first.event_id)
        assert (await practice.send(second.post())).outcome.accepted

        # Both are listed, the current one first, and it comes back as it was sent.
        listed = await practice.list(number)
        assert [(event.event_id, event.status) for event in listed.events] == [
            (second.event_id, EventStatus.NORMAL),
            (first.event_id, EventStatus.REPLACED),
        ]
        answer = await PRACTICE.event(number, second.event_id).to(server.spine, gp)
        interaction = soap_of(answer, EVENT_ANSWER).interaction
        (returned,) = interaction.iter("{urn:hl7-org:v3}GPSummary")
        assert canonical(returned) == canonical(document(number, second.event_id, first.event_id))
        assert read_event_answer(interaction, number).event is not None

        # The patient says No; nobody sees the record but who may override, and that raises an alert.
        answer = await PRACTICE.set_consent(number, Consent.NO).to(server.spine, gp)
        assert read_outcome(soap_of(answer, ACKNOWLEDGEMENT).interaction)[0].accepted
        for query in (PRACTICE.event_list(number), PRACTICE.event(number, second.event_id)):
            assert issues_of(await query.to(server.spine, gp), QUERY_FAILED) == [("420", "ER"), ("30418", "ER")]
        override = DissentOverride("1", "test of the override")
        query = HOSPITAL.event_list(number, override, EVENT_LIST_SM)
        answer = await query.to(server.spine, viewer)
        overridden = read_event_list_answer(soap_of(answer, EVENT_LIST_SM_ANSWER).interaction, number)
        assert len(overridden.events) == 2
        assert overridden.consent is Consent.NO
        async with stored(data) as store:
            (alert,) = await store.read_alerts()
        assert (alert.nhs_number, alert.type, alert.reason) == (number, "2", "1")
        assert (alert.asid, alert.organisation, alert.user_id) == (HOSPITAL.asid, "RZZ01", "555000000501")
        rows = await audit_of(data, number)
        (seen,) = [row.entry for row in rows if row.entry.content.get("alert") == alert.id]
        assert (seen.action, seen.outcome) == (EVENT_LIST_SM, "AA")
        assert seen.content["override_code"] == "1"
        # The name, and the serial number: which of several certificates of that name it was.
        assert re.fullmatch(r"viewer\.client\.test [0-9A-F]+", seen.content["certificate"])
        refused = [row.entry for row in rows if row.entry.content.get("reason") == "consent"]
        assert {entry.action for entry in refused} == {EVENT_LIST, EVENT}

        # Consent is cleared again, and the practice withdraws what it sent.
        answer = await PRACTICE.set_consent(number, Consent.ASK).to(server.spine, gp)
        assert read_outcome(soap_of(answer, ACKNOWLEDGEMENT).interaction)[0].accepted
        withdrawal = PRACTICE.withdrawal(number, second.event_id)
        acknowledgement = await practice.send(withdrawal.post())
        assert acknowledgement.outcome.accepted
        assert acknowledgement.detail == "GP Summary withdrawal successful"
        expected = [
            (first.event_id, EventStatus.REPLACED, None),
            (second.event_id, EventStatus.WITHDRAWN, withdrawal.event_id),
        ]
        listed = await practice.list(number)
        assert [(e.event_id, e.status, e.withdrawing_event_id) for e in listed.events] == expected

        # Every answer was acknowledged: nothing waits. The chain of the audit is whole.
        assert await outbox_rows(data) == []
        assert await faults_of(data) == ()
        audited = len(await audit_of(data, number))

        assert await asyncio.to_thread(server.stop) == 0
        server = await asyncio.to_thread(start)
        practice = Practice(server, endpoint)
        listed = await practice.list(number)
        assert [(e.event_id, e.status, e.withdrawing_event_id) for e in listed.events] == expected
        answer = await PRACTICE.event(number, first.event_id).to(server.spine, gp)
        (returned,) = soap_of(answer, EVENT_ANSWER).interaction.iter("{urn:hl7-org:v3}GPSummary")
        assert canonical(returned) == canonical(document(number, first.event_id))
        assert len(await audit_of(data, number)) == audited + 2
        async with stored(data) as store:
            assert await store.read_alerts() == [alert]
        assert await faults_of(data) == ()
        assert len(endpoint.deliveries) == 3


async def test_an_acknowledgement_is_written_as_the_specification_says(
    data: Path, start: Callable[..., Server]
) -> None:
    """The envelope of what is delivered is that of the specification, to the literal texts. Spec: 40 §5.3, §10.5."""
    number = fresh_patient()
    async with ClientEndpoint() as endpoint:
        await import_directory(data, live_directory(endpoint.url))
        server = await asyncio.to_thread(start, patient_index="open")
        mail = PRACTICE.upload(number)
        signal_of(await mail.post().to(server.spine, server.tls()))
        delivery = await endpoint.received_in_answer_to(mail.message_id)
    assert delivery.headers["content-type"] == (
        'multipart/related; boundary="--=_MIME-Boundary"; charset="UTF-8"; type="text/xml"; '
        'start="<ebXMLHeader@spine.nhs.uk>"'
    )
    message_id = delivery.envelope.message_id
    assert message_id == message_id.upper()
    head, envelope, payload, tail = delivery.body.split(b"----=_MIME-Boundary")
    assert (head, tail) == (b"", b"--\r\n")
    assert b"Content-Id: <ebXMLHeader@spine.nhs.uk>\r\nContent-Type: text/xml\r\n" in envelope
    assert b'<?xml version="1.0" encoding="UTF-8"?>' in envelope
    assert b'eb:location="urn:hl7-org:v3_MCCI_IN010000UK13.xsd" eb:version="13"' in envelope
    assert b"The HL7 payload<" in envelope
    assert f"Content-Id: <{message_id}@spine.nhs.uk>\r\nContent-Type: application/xml\r\n".encode() in payload
    document_bytes = payload.split(b"\r\n\r\n", 1)[1]
    assert document_bytes.startswith(b'<MCCI_IN010000UK13 xmlns="urn:hl7-org:v3">')
    root = delivery.payload
    assert root.find("{*}versionCode").get("code") == VERSION_CODE
    success = root.find("{*}ControlActEvent/{*}requestSuccessDetail")
    assert [etree.QName(child).localname for child in success] == ["detail", "id"]
    assert success.find("{*}id").get("root") == "Not Known"
