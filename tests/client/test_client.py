"""The library against a real service: every verb, plainly and over mutual TLS."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from client.stories import document_of, new_patient, summary
from openscr.client import (
    Client,
    Exchange,
    Profile,
    RecordRefusal,
    Refusal,
    SpineClient,
    Tls,
    latest_summary,
    refusal_of,
)
from openscr.client.connection import CertificateRefused, Connection, NoAnswer
from openscr.codes import (
    EVENT_LIST,
    GP_INITIAL_SUMMARY,
    GP_SUMMARY,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    UPLOAD,
    WITHDRAW,
    WITHDRAW_INITIAL,
)
from openscr.errors import AccessRefused, DeliveryError, UnreadableMessage
from openscr.hl7.gp_summary import locate_document, write_upload
from openscr.hl7.wrapper import HL7, Heading
from openscr.identifiers import mint_uuid
from openscr.spine import Consent, DissentOverride, EventListQuery, EventStatus, MessageIds, Person, Upload, Withdrawal
from openscr.transport.xml import read_xml
from serving import DemoServer
from shared import MESSAGES

OVERRIDER = Person("555000000501", "555000000502", "R8000")


@pytest.fixture(params=["http", "https"])
def client(request: pytest.FixtureRequest, demo_server: DemoServer) -> Iterator[Client]:
    """The GP system at the web listener, and over mutual TLS at the spine listener."""
    if request.param == "http":
        spine = SpineClient(demo_server.web)
    else:
        tls = Tls(*demo_server.certificate("gp.client.test"))
        spine = SpineClient(demo_server.spine, tls=tls, inbox=demo_server.web)
    with Client(spine) as client:
        yield client


def test_a_record_from_its_first_summary_to_its_withdrawal(client: Client) -> None:
    nhs_number = new_patient()
    first = summary(nhs_number, initial=True)
    second = summary(nhs_number, replaces=first.event_id)

    assert refusal_of(client.list_events(nhs_number).outcome) is Refusal.NO_RECORD
    assert client.retrieve(nhs_number).event is None
    with pytest.raises(RecordRefusal, match="no record"):
        client.text(nhs_number)

    for content, interaction in ((first, INITIAL_UPLOAD), (second, UPLOAD)):
        document = document_of(content)
        submission = client.upload_document(document)
        assert (submission.interaction, submission.accepted, submission.attempts) == (interaction, True, 1)
        assert str(submission) == "Acknowledgement: AA GP Summary upload successful"
        found = client.retrieve(nhs_number)
        assert found.event is not None
        assert found.event.event_id == content.event_id
        assert read_xml(found.document).findtext(".//{*}title") == read_xml(document).findtext(".//{*}title")

    events = client.list_events(nhs_number).events
    assert {event.event_id: event.status for event in events} == {
        first.event_id: EventStatus.REPLACED,
        second.event_id: EventStatus.NORMAL,
    }
    assert latest_summary(events) == next(event for event in events if event.event_id == second.event_id)
    assert client.retrieve(nhs_number, first.event_id.lower()).event is not None

    withdrawal = client.withdraw(nhs_number, second.event_id, "03")
    assert (withdrawal.interaction, withdrawal.accepted) == (WITHDRAW, True)
    historic = client.withdraw(nhs_number, first.event_id, "01")
    assert (historic.interaction, historic.accepted) == (WITHDRAW_INITIAL, True)
    assert {event.status for event in client.list_events(nhs_number).events} == {EventStatus.WITHDRAWN}
    none = client.retrieve(nhs_number)
    assert none.outcome.accepted
    assert none.event is None


def test_a_no_closes_the_record_and_an_override_opens_it(client: Client, demo_server: DemoServer) -> None:
    nhs_number = new_patient()
    assert client.upload_document(document_of(summary(nhs_number))).accepted
    assert client.get_consent(nhs_number).consent is Consent.ASK
    assert client.set_consent(nhs_number, Consent.NO).accepted
    assert client.get_consent(nhs_number).consent is Consent.NO
    assert refusal_of(client.list_events(nhs_number).outcome) is Refusal.ACCESS_DENIED
    with pytest.raises(RecordRefusal) as refused:
        client.text(nhs_number)
    assert refused.value.kind is Refusal.ACCESS_DENIED

    refused_upload = client.upload_document(document_of(summary(nhs_number)))
    assert refused_upload.acknowledgement is not None
    assert refusal_of(refused_upload.acknowledgement.outcome) is Refusal.ACCESS_DENIED
    assert "420: Business condition" in str(refused_upload)

    with Client(SpineClient(demo_server.web, Profile.demo("app-viewer", OVERRIDER))) as viewer:
        found = viewer.retrieve(nhs_number, None, DissentOverride("2", "Access required by statute: a test"))
        assert found.event is not None
    assert client.set_consent(nhs_number, Consent.YES).accepted
    assert client.get_consent(nhs_number).consent is Consent.YES
    assert client.set_consent(nhs_number, Consent.ASK).accepted
    assert client.list_events(nhs_number).outcome.accepted


async def test_the_verbs_of_a_spine_take_what_a_face_hands_them(demo_server: DemoServer) -> None:
    """As `openscr.record` does: an upload with the ids of its caller, a withdrawal, and their outcomes."""
    nhs_number = new_patient()
    content = summary(nhs_number)
    element = document_of(content)
    document = locate_document(read_xml(element), element)
    ids = MessageIds(content.event_id, UPLOAD, mint_uuid())
    upload = Upload(ids, nhs_number, content.event_id, GP_SUMMARY, "20260302103000", document, b"")
    async with SpineClient(demo_server.web) as client:
        caller = client.profile.caller
        assert (await client.upload(caller, upload)).accepted
        again = await client.upload(caller, replace(upload, ids=replace(ids, transport_id=mint_uuid())))
        assert refusal_of(again) is Refusal.INVALID_REQUEST
        message_id = mint_uuid()
        withdrawal = Withdrawal(
            MessageIds(message_id, WITHDRAW),
            nhs_number,
            message_id,
            GP_SUMMARY,
            "20260302103000",
            content.event_id,
            "01",
        )
        assert (await client.withdraw(caller, withdrawal)).accepted
        with pytest.raises(ValueError, match="the person who withdraws"):
            await client.withdraw(replace(caller, person=None), withdrawal)


def test_an_interaction_goes_byte_for_byte(demo_server: DemoServer) -> None:
    seen: list[Exchange] = []
    nhs_number = new_patient()
    content = summary(nhs_number)
    person = Person("555000000101", "555000000102", "R8000")
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "200000000100", "200000000115")
    payload = b"<?xml version='1.0'?>\n<!-- as it is -->\n" + write_upload(
        UPLOAD, heading, document_of(content), person
    )
    with Client(SpineClient(demo_server.web, observer=seen.append)) as client:
        submission = client.submit(payload)
    assert submission.accepted
    assert submission.acknowledgement is not None
    assert submission.acknowledgement.reference == heading.message_id
    assert payload in seen[0].request
    assert (seen[0].status, seen[0].address) == (202, f"{demo_server.web}/reliablemessaging/reliablerequest")


def test_a_document_arrives_as_it_stands_in_its_file(demo_server: DemoServer) -> None:
    """Prefixes, comments and white space of the summary come back; what stood around it does not matter."""
    nhs_number = new_patient()
    content = summary(nhs_number)
    plain = document_of(content)
    edited = plain.replace(b"<code ", b"<!-- kept -->\n  <code ", 1)
    with Client.demo(demo_server.web) as client:
        assert client.upload_document(
            b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- not kept -->\n" + edited + b"\n"
        ).accepted
        assert b"<!-- kept -->\n  <code " in client.retrieve(nhs_number).document


@pytest.mark.parametrize("name", ["02-replacement_REPC_IN150016UK05.xml", "06-every-cre-type_REPC_IN150016UK05.xml"])
def test_the_summaries_of_the_examples_can_be_sent_and_read(demo_server: DemoServer, name: str) -> None:
    data = (MESSAGES / "gp-summary" / name).read_bytes()
    root = read_xml(data)
    element = root.find(f"{HL7}ControlActEvent/{HL7}subject/{HL7}GPSummary")
    assert element is not None
    document = locate_document(element, data).standalone()
    fresh = document.replace(str(element.find(f"{HL7}id").get("root")).encode(), mint_uuid().encode())
    number = next(i.get("extension") for i in element.iterfind(f"{HL7}recordTarget/{HL7}patient/{HL7}id"))
    nhs_number = new_patient()
    fresh = fresh.replace(str(number).encode(), nhs_number.encode())
    # A replacement names what it replaces, and this patient has nothing.
    start, end = fresh.find(b"<replacementOf"), fresh.find(b"</replacementOf>")
    fresh = fresh[:start] + fresh[end + len(b"</replacementOf>") :] if start >= 0 else fresh
    with Client.demo(demo_server.web) as client:
        assert str(client.upload_document(fresh)) == "Acknowledgement: AA GP Summary upload successful"
        assert client.text(nhs_number).strip()


def test_who_is_not_registered_is_refused(demo_server: DemoServer) -> None:
    stranger = replace(Profile.demo(), asid="200000000999")
    with Client(SpineClient(demo_server.web, stranger)) as client:
        with pytest.raises(AccessRefused, match="300: The sender or receiver's ASID is not authorised"):
            client.list_events("9990012318")
        with pytest.raises(AccessRefused, match="300"):
            client.upload_document(document_of(summary(new_patient())))


@pytest.mark.parametrize(
    ("name", "said"),
    [("unknown.client.test", "belongs to no registered party"), ("viewer.client.test", "300: The sender or receiver")],
)
def test_the_certificate_decides_who_may_send(demo_server: DemoServer, name: str, said: str) -> None:
    spine = SpineClient(demo_server.spine, tls=Tls(*demo_server.certificate(name)))
    with Client(spine) as client, pytest.raises(AccessRefused, match=said):
        client.list_events("9990012318")


def test_a_service_with_a_certificate_of_somebody_else_is_not_trusted(demo_server: DemoServer) -> None:
    certificate, key, authority = demo_server.certificate("gp.client.test")
    tls = Tls(certificate, key, authority.with_name("foreign-ca.pem"))
    client = Client(SpineClient(demo_server.spine, tls=tls))
    with client, pytest.raises(AccessRefused, match="not from the authority given"):
        client.list_events("9990012318")


@pytest.mark.parametrize("name", ["expired", "foreign"])
async def test_a_certificate_that_is_not_taken_is_told(demo_server: DemoServer, name: str) -> None:
    async def no_pause(seconds: float) -> None:
        """Wait for nothing."""

    certificate, key, authority = demo_server.certificate(name)
    async with SpineClient(demo_server.spine, tls=Tls(certificate, key, authority), pause=no_pause) as client:
        with pytest.raises((AccessRefused, DeliveryError), match="certificate"):
            await client.list_events(client.profile.caller, EventListQuery(MessageIds("", EVENT_LIST), "9990012318"))


@pytest.mark.parametrize("name", ["expired", "foreign"])
async def test_a_certificate_that_is_not_taken_is_not_tried_for_a_whole_contract(
    demo_server: DemoServer, name: str
) -> None:
    """The contract of the demo has many retries with a pause before each. Spec: 40 §6.4."""
    exchanges: list[Exchange] = []
    profile = Profile.demo()
    routes = {
        key: replace(route, contract=replace(route.contract, retries=60, retry_interval=0.0))
        for key, route in profile.routes.items()
    }
    profile = replace(profile, routes=MappingProxyType(routes))
    tls = Tls(*demo_server.certificate(name))
    async with SpineClient(demo_server.spine, profile, tls=tls, observer=exchanges.append) as client:
        for _ in range(2):
            with pytest.raises(AccessRefused, match="certificate"):
                await client.upload_document(document_of(summary(new_patient())))
    assert len(exchanges) <= 3


async def test_a_service_that_breaks_off_is_told_from_one_that_refuses(demo_server: DemoServer) -> None:
    """Who has answered once has taken the certificate; who goes away comes back, and is tried again."""
    certificate, key, authority = demo_server.certificate("gp.client.test")
    breaking = 0

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal breaking
        if breaking:
            breaking -= 1
            writer.transport.abort()
            return
        host, port = urlsplit(demo_server.spine).hostname, urlsplit(demo_server.spine).port
        to_service, from_us = reader, writer
        there, here = await asyncio.open_connection(host, port)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
            target.close()

        await asyncio.gather(carry(to_service, here), carry(there, from_us))

    server = await asyncio.start_server(relay, "127.0.0.1", 0)
    at = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with Connection(at, tls=Tls(certificate, key, authority)) as connection:
        breaking = 1
        with pytest.raises(NoAnswer, match="may not take"):
            await connection.get("/nothing")
        assert (await connection.get("/nothing"))[0] == 404
        await connection.close()
        breaking = 3
        for _ in range(3):
            with pytest.raises(NoAnswer):
                await connection.get("/nothing")
        assert (await connection.get("/nothing"))[0] == 404
    breaking = 2
    async with Connection(at, tls=Tls(certificate, key, authority)) as connection:
        with pytest.raises(NoAnswer):
            await connection.get("/nothing")
        with pytest.raises(CertificateRefused, match="does not take our certificate"):
            await connection.get("/nothing")
    server.close()


def test_a_record_lives_on_the_polling_channel(client: Client) -> None:
    """The same summaries, their acknowledgements fetched instead of delivered. Spec: 40 §7.6."""
    nhs_number = new_patient()
    first = summary(nhs_number)
    document = document_of(first)
    submission = client.upload_document(document, polling=True)
    assert (submission.interaction, submission.accepted, submission.attempts) == (POLLING_UPLOAD, True, 1)
    assert str(submission) == "Acknowledgement: AA GP Summary upload successful"
    again = client.upload_document(document, polling=True)
    assert refusal_of(again.acknowledgement.outcome) is Refusal.INVALID_REQUEST
    second = summary(nhs_number, replaces=first.event_id)
    caller = client.spine.profile.caller
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "200000000100", caller.asid)
    whole = write_upload(POLLING_UPLOAD, heading, document_of(second), caller.person)
    assert client.submit(whole).accepted
    assert [event.status for event in client.list_events(nhs_number).events] == [
        EventStatus.NORMAL,
        EventStatus.REPLACED,
    ]


def test_an_initial_summary_does_not_poll(demo_server: DemoServer) -> None:
    document = document_of(summary(new_patient(), initial=True))
    with Client.demo(demo_server.web) as client, pytest.raises(UnreadableMessage, match="send it reliably"):
        client.upload_document(document, polling=True)


def test_a_client_is_used_in_a_with_statement() -> None:
    with pytest.raises(RuntimeError, match="with statement"):
        Client.demo().list_events("9990012318")


def test_the_initial_summary_is_known_by_its_type() -> None:
    document = read_xml(document_of(summary(new_patient(), initial=True)))
    assert document.find("{*}code").get("code") == GP_INITIAL_SUMMARY
