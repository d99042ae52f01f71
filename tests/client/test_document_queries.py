"""Documents through the library: against a real service on both channels, and against a Spine that answers by a script.

Spec: 20 §1.3, §9.4, §9.5, §16; 40 §7.2.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from lxml import etree

from client.conftest import Received, Reply, Script, answering
from client.stories import document_of, new_patient, summary
from openscr.client import (
    Callback,
    Client,
    Profile,
    Refusal,
    Route,
    SpineClient,
    Tls,
    latest_summary,
    read_extended_list,
    refusal_of,
)
from openscr.client.profile import EXPRESS
from openscr.codes import DOCUMENT_LIST, DOCUMENT_QUERIES, GP_SUMMARY, OID_SNOMED, SCR_PERMISSIONS, SUBJECT_ACCESS
from openscr.directory.form import build_directory, read_directory
from openscr.errors import AccessRefused, DeliveryError, EndpointUnknown, RetriesExhausted, UnreadableMessage, WireError
from openscr.identifiers import mint_uuid
from openscr.spine import (
    AckType,
    CodedValue,
    DissentOverride,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    EventListOutcome,
    EventListQuery,
    EventStatus,
    MessageIds,
    Outcome,
    ScrPermissionsQuery,
    Spine,
    SubjectAccessQuery,
    TimeRange,
)
from openscr.testbench.world import demo_directory
from openscr.transport.ebxml import Reliability, check_reliability, read_envelope, write_user_message
from openscr.transport.mime import SPINE_CONTENT_TYPE, read_multipart, write_multipart
from openscr.transport.soap import write_fault
from openscr.transport.wsa import write_response
from openscr.transport.xml import read_xml
from serving import DemoServer
from shared import MESSAGES

NUMBER = "9990012318"
PARTY = "Y90001-0000001"


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


@pytest.mark.parametrize("express", [False, True])
def test_documents_of_a_real_service(client: Client, express: bool) -> None:
    """Listed, filtered, retrieved: the same answers on either channel."""
    nhs_number = new_patient()
    nothing = client.list_documents(nhs_number, express=express)
    assert refusal_of(nothing) is Refusal.NO_RECORD
    first = summary(nhs_number, initial=True)
    second = summary(nhs_number, replaces=first.event_id)
    for content in (first, second):
        assert client.upload_document(document_of(content)).accepted
    listed = client.list_documents(nhs_number, express=express)
    assert [(each.event_id, each.status) for each in listed.documents] == [
        (second.event_id, EventStatus.NORMAL),
        (first.event_id, EventStatus.REPLACED),
    ]
    assert refusal_of(listed) is None
    current = latest_summary(listed.documents[::-1])
    assert current == listed.documents[0]
    found = client.retrieve_document(nhs_number, second.event_id.lower(), express=express)
    assert found.document == current
    title = read_xml(document_of(second)).findtext(".//{*}title")
    assert read_xml(found.content).findtext(".//{*}title") == title
    summaries = DocumentFilter(document_type=CodedValue(GP_SUMMARY, OID_SNOMED), date=TimeRange("1990", "2090"))
    assert len(client.list_documents(nhs_number, summaries, express=express).documents) == 1
    medication = DocumentFilter(cre_type=CodedValue("185361000000102", OID_SNOMED))
    assert client.list_documents(nhs_number, medication, express=express).outcome.accepted
    none = client.list_documents(nhs_number, DocumentFilter(date=TimeRange("1990", "1991")), express=express)
    assert (none.outcome.accepted, none.documents) == (True, ())
    assert refusal_of(none) is Refusal.NO_RECORD
    unknown = client.retrieve_document(nhs_number, mint_uuid(), express=express)
    assert refusal_of(unknown) is Refusal.CONFLICT
    assert [issue.code for issue in unknown.outcome.issues] == ["410", "30308"]


def test_what_a_demo_does_not_offer(client: Client) -> None:
    """Off by default: a fault, like any interaction that is not served. Spec: 20 §10.5, §11."""
    for ask in (client.retrieve_record, client.check_scr_permissions):
        with pytest.raises(DeliveryError, match="SOAP fault 101"):
            ask(NUMBER)


def test_the_question_of_an_scr_application_is_about_somebody(demo_server: DemoServer) -> None:
    spine = SpineClient(demo_server.web, Profile.demo(person=None))
    with Client(spine) as client, pytest.raises(ValueError, match="person"):
        client.check_scr_permissions(NUMBER)


def test_both_the_record_and_the_client_are_a_spine() -> None:
    """Held by mypy; here that no verb has been forgotten."""
    verbs = {name for name in vars(Spine) if not name.startswith("_")}
    assert {"list_documents", "retrieve_document", "retrieve_record", "check_scr_permissions"} <= verbs
    assert verbs <= set(dir(SpineClient))


# --- a Spine that answers by a script -------------------------------------------------------------------------------


def example(name: str) -> bytes:
    (path,) = (MESSAGES / "psis-query").glob(f"{name}*")
    return path.read_bytes()


def referring(payload: bytes, message_id: str) -> bytes:
    """Let an example answer refer to a message."""
    old = read_xml(payload).find("{*}acknowledgement/{*}messageRef/{*}id")
    assert old is not None
    return payload.replace((old.get("root") or "").encode(), message_id.encode())


def over_soap(payload: bytes, *, relates_to: str = "", refers_to: str = "") -> Reply:
    """Answer with a payload in its envelope."""

    async def reply(received: Received) -> web.StreamResponse:
        asked = (read_xml(received.body).findtext("{*}Header/{*}MessageID") or "").removeprefix("uuid:")
        body = referring(payload, refers_to or asked)
        body = body[body.index(b"?>") + 2 :] if body.startswith(b"<?xml") else body
        envelope = write_response(
            message_id=mint_uuid(),
            action="urn:nhs:names:services:psisquery/x",
            to="",
            from_address="",
            receiver_asid="",
            sender_asid="",
            relates_to=relates_to or f"uuid:{asked}",
            body=b"<anyWrapper>" + body + b"</anyWrapper>",
        )
        return web.Response(body=envelope, headers={"Content-Type": "text/xml"})

    return reply


def no_pause(seconds: float) -> Any:
    return asyncio.sleep(0)


@pytest.fixture
async def spine(script: Script) -> AsyncIterator[SpineClient]:
    async with SpineClient(script.url, pause=no_pause, answer_timeout=5) as client:
        yield client


def asked(interaction: str = DOCUMENT_LIST, **wanted: Any) -> DocumentListQuery:
    return DocumentListQuery(MessageIds("", interaction), NUMBER, wanted=DocumentFilter(**wanted))


CALLER = Profile.demo().caller
SUCCESS = example("QUPC_IN160102UK05_success_payload")
REFUSED = example("QUQI_IN010000UK14_document_no_consent_payload")
REJECTED = (MESSAGES / "gp-summary" / "ack-AR_MCCI_IN010000UK13.xml").read_bytes()
MCCI = (MESSAGES / "gp-summary" / "ack-AE_MCCI_IN010000UK13.xml").read_bytes()


async def test_the_request_over_soap(script: Script, spine: SpineClient) -> None:
    """Upper-case id in header and body, the schema's order, its version. Spec: 20 §3.1, §16 item 1."""
    script.replies = [over_soap(SUCCESS)]
    query = asked(date=TimeRange("2020", "2025"), document_type=CodedValue("1", "2"))
    query = replace(query, override=DissentOverride("1", "why"))
    await spine.list_documents(CALLER, query)
    (received,) = script.received
    assert received.request.path == "/sync-service"
    assert received.request.headers["SOAPAction"] == f'"urn:nhs:names:services:psisquery/{DOCUMENT_LIST}"'
    root = read_xml(received.body)
    (interaction,) = root.iter(f"{{urn:hl7-org:v3}}{DOCUMENT_LIST}")
    message_id = root.findtext("{*}Header/{*}MessageID") or ""
    identifier, version = interaction.find("{*}id"), interaction.find("{*}versionCode")
    assert identifier is not None
    assert version is not None
    assert message_id == f"uuid:{identifier.get('root')}" == f"uuid:{(identifier.get('root') or '').upper()}"
    assert version.get("code") == "3NPfIT7.2.02"
    (parameters,) = interaction.iter("{urn:hl7-org:v3}query")
    names = [str(each.tag).partition("}")[2] for each in parameters.iter("*")]
    assert names == [
        "query",
        *("dissentOverride", "semanticsText", "value", "originalText"),
        "filterParameters",
        *("date", "semanticsText", "value", "low", "high"),
        *("documentType", "semanticsText", "value"),
        *("nHSNumber", "semanticsText", "value"),
    ]


async def test_the_interaction_follows_from_what_is_wanted(script: Script, spine: SpineClient) -> None:
    """A heading is asked for by the one interaction that knows headings. Spec: 20 §4.1."""
    script.replies = [over_soap(example("QUPC_IN160108UK05_success_payload")), over_soap(SUCCESS)]
    assert len((await spine.list_documents(CALLER, asked("", cre_type=CodedValue("1", "2")))).documents) == 1
    assert len((await spine.list_documents(CALLER, asked(""))).documents) == 2
    actions = [received.request.headers["SOAPAction"] for received in script.received]
    assert [action.rpartition("/")[2].strip('"') for action in actions] == ["QUPC_IN160107UK05", DOCUMENT_LIST]


@pytest.mark.parametrize(
    ("payload", "kind", "codes"),
    [
        (REFUSED, Refusal.ACCESS_DENIED, ["420", "30418"]),
        (example("QUQI_IN010000UK14_document_no_results_payload"), Refusal.NO_RECORD, ["210", "30312"]),
        (example("QUQI_IN010000UK14_document_error_payload"), Refusal.INVALID_REQUEST, ["400", "35160"]),
        (example("QUPC_IN160102UK05_no_data_payload"), Refusal.NO_RECORD, []),
        (
            REFUSED.replace(
                b'<qualifier code="ER"/>',
                b'<qualifier inverted="false"><value code="ER" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.104"/>'
                b"</qualifier>",
            ).replace(b'code="420"', b'code="1"'),
            Refusal.SERVER_ERROR,
            ["1", "30418"],
        ),
        (
            REFUSED.replace(b'<qualifier code="ER"/>', b'<qualifier><value code="WG"/></qualifier>'),
            Refusal.ACCESS_DENIED,
            ["420", "30418"],
        ),
        (MCCI, Refusal.CONFLICT, ["410", "30134"]),
        # An error of the wrapper alone, which stands in ``acknowledgementDetail``.
        (REJECTED, Refusal.UNAVAILABLE, None),
    ],
)
@pytest.mark.parametrize("express", [False, True])
async def test_every_kind_of_answer_is_understood(
    script: Script, payload: bytes, kind: Refusal, codes: list[str] | None, express: bool
) -> None:
    """Refusals with either form of the qualifier, nothing found in either form, a negative MCCI. Spec: 20 §8, §9.4."""
    async with Callback("127.0.0.1", 0, PARTY) as callback:
        script.replies = [express_answer(callback, payload) if express else over_soap(payload)]
        client = SpineClient(script.url, callback=callback if express else None, pause=no_pause, answer_timeout=5)
        async with client:
            answer = await client.list_documents(CALLER, asked(), express=express)
    assert refusal_of(answer) is kind
    assert answer.documents == ()
    if codes is not None:
        assert [issue.code for issue in answer.outcome.issues] == codes
    if payload is REJECTED:
        assert answer.outcome.ack is AckType.REJECTED
        assert answer.outcome.issues


async def test_an_acknowledgement_is_no_answer(script: Script, spine: SpineClient) -> None:
    """An MCCI may refuse a query; one that accepts it must not look like "nothing found". Spec: 20 §1.3."""
    accepted = (MESSAGES / "gp-summary" / "ack-AA_MCCI_IN010000UK13.xml").read_bytes()
    script.replies = [over_soap(accepted)]
    for ask in (
        lambda: spine.list_documents(CALLER, asked()),
        lambda: spine.retrieve_document(CALLER, DocumentQuery(MessageIds("", ""), NUMBER, mint_uuid())),
        lambda: spine.list_events(CALLER, EventListQuery(MessageIds("", "QUPC_IN180000UK04"), NUMBER)),
        lambda: spine.retrieve_record(CALLER, SubjectAccessQuery(MessageIds("", SUBJECT_ACCESS), NUMBER)),
        lambda: spine.check_scr_permissions(
            CALLER, ScrPermissionsQuery(MessageIds("", SCR_PERMISSIONS), NUMBER, "1", "1")
        ),
    ):
        with pytest.raises(UnreadableMessage, match="acknowledged, but not answered"):
            await ask()


async def test_an_answer_to_another_message_is_none(script: Script, spine: SpineClient) -> None:
    """``messageRef`` decides; a RelatesTo that differs is only worth a warning. Spec: 20 §16 item 5."""
    script.replies = [over_soap(SUCCESS, refers_to=mint_uuid())]
    with pytest.raises(UnreadableMessage, match="another message"):
        await spine.list_documents(CALLER, asked())
    script.replies = [over_soap(SUCCESS, relates_to=mint_uuid())]
    assert (await spine.list_documents(CALLER, asked())).outcome.accepted


async def test_queries_are_repeated_with_new_ids_while_the_service_is_unavailable(
    script: Script, spine: SpineClient
) -> None:
    """Spec: 20 §9.5."""
    unavailable = REFUSED.replace(b'code="420"', b'code="502"').replace(b'typeCode="AE"', b'typeCode="AR"')
    script.replies = [over_soap(unavailable), answering(503), over_soap(SUCCESS)]
    assert len((await spine.list_documents(CALLER, asked())).documents) == 2
    ids = [read_xml(received.body).findtext("{*}Header/{*}MessageID") for received in script.received]
    assert len(set(ids)) == 3
    script.replies = [answering(503)]
    with pytest.raises(RetriesExhausted):
        await spine.list_documents(CALLER, asked())


async def test_the_other_answers_are_read(script: Script, spine: SpineClient) -> None:
    """The whole record, and what an SCR application is told, from the specification's examples."""

    def inner(name: str) -> bytes:
        body = read_xml(example(name)).find("{http://schemas.xmlsoap.org/soap/envelope/}Body")
        assert body is not None
        return etree.tostring(body[0][0])

    whole, told_of = inner("QUPC_IN160000UK06_success_soap"), inner(f"{SCR_PERMISSIONS}_response")
    script.replies = [over_soap(whole), over_soap(told_of)]
    record = await spine.retrieve_record(CALLER, SubjectAccessQuery(MessageIds("", SUBJECT_ACCESS), NUMBER))
    (only,) = {read_xml(document).tag for _, document in record.events}
    assert only == "{urn:hl7-org:v3}GPSummary"
    query = ScrPermissionsQuery(MessageIds("", SCR_PERMISSIONS), NUMBER, "555000000102", "555000000102")
    told = await spine.check_scr_permissions(CALLER, query)
    assert (told.permission.exists, told.relationship.exists) == (True, True)
    sent = read_xml(script.received[-1].body)
    assert sent.find(".//{*}query/{*}subject/{*}AgentPersonSDS/{*}id") is not None


# --- express --------------------------------------------------------------------------------------------------------


def express_answer(callback: Callback, payload: bytes, *, reference: str = "", refers_to: str = "") -> Reply:
    """Answer 202 with nothing, and post the answer to the client's own listener. Spec: 40 §7.2."""

    async def reply(received: Received) -> web.StreamResponse:
        multipart = read_multipart(received.request.headers["Content-Type"], received.body)
        envelope = read_envelope(read_xml(multipart.root.content(received.body)))
        assert check_reliability(envelope, Reliability.EXPRESS) == ()
        message_id = mint_uuid()
        header = write_user_message(
            from_party="YES-0000806",
            to_party=PARTY,
            cpa_id="S90001A000001",
            conversation_id=envelope.conversation_id,
            service="urn:nhs:names:services:psisquery",
            action="QUPC_IN160102UK05",
            message_id=message_id,
            timestamp="2026-03-02T10:30:00Z",
            ref_to_message_id=reference or envelope.message_id,
            reliability=Reliability.EXPRESS,
            spine=True,
        )
        body = write_multipart(
            (
                ("ebXMLHeader@spine.nhs.uk", "text/xml", header),
                (f"{message_id}@spine.nhs.uk", "application/xml", referring(payload, refers_to or envelope.message_id)),
            )
        )

        async def deliver() -> None:
            host, port = callback.address
            async with aiohttp.ClientSession() as session:
                headers = {"Content-Type": SPINE_CONTENT_TYPE, "SOAPAction": "urn:nhs:names:services:psisquery/x"}
                await session.post(f"http://{host}:{port}/in", data=body, headers=headers)

        _tasks.add(asyncio.create_task(deliver()))
        return web.Response(status=202, headers={"Content-Type": "text/xml"})

    return reply


_tasks: set[asyncio.Task[None]] = set()


async def test_an_express_query_and_its_callback(script: Script) -> None:
    """Posted once to the path of its contract; the answer comes to our own listener."""
    async with Callback("127.0.0.1", 0, PARTY) as callback:
        script.replies = [express_answer(callback, SUCCESS)]
        async with SpineClient(script.url, callback=callback, answer_timeout=5) as client:
            listed = await client.list_documents(CALLER, asked(), express=True)
            assert len(listed.documents) == 2
            script.replies = [express_answer(callback, example("QUPC_IN160104UK05_success_payload"))]
            query = DocumentQuery(MessageIds("", ""), NUMBER, listed.documents[0].event_id)
            found = await client.retrieve_document(CALLER, query, express=True)
    assert read_xml(found.content).tag == "{urn:hl7-org:v3}GPSummary"
    (first, second) = script.received
    assert first.request.path == second.request.path == "/reliablemessaging/queryrequest"
    multipart = read_multipart(first.request.headers["Content-Type"], first.body)
    envelope = read_envelope(read_xml(multipart.root.content(first.body)))
    assert (envelope.short_service, envelope.action, envelope.cpa_id) == ("psisquery", DOCUMENT_LIST, "S20003A000304")


async def test_an_express_answer_must_answer_the_question(script: Script) -> None:
    """Another reference in the HL7 document, or another interaction altogether. Spec: 20 §16 item 5."""
    async with (
        Callback("127.0.0.1", 0, PARTY) as callback,
        SpineClient(script.url, callback=callback, answer_timeout=5) as client,
    ):
        script.replies = [express_answer(callback, SUCCESS, refers_to=mint_uuid())]
        with pytest.raises(UnreadableMessage, match="another message"):
            await client.list_documents(CALLER, asked(), express=True)
        script.replies = [express_answer(callback, example("QUPC_IN160104UK05_success_payload"))]
        with pytest.raises(UnreadableMessage, match="expected interactions"):
            await client.list_documents(CALLER, asked(), express=True)


async def test_no_answer_in_time(script: Script) -> None:
    """Nothing is repeated: the caller is told, and may ask again. Spec: 20 §9.5."""
    script.replies = [answering(202)]
    async with (
        Callback("127.0.0.1", 0, PARTY) as callback,
        SpineClient(script.url, callback=callback, answer_timeout=0.05) as client,
    ):
        with pytest.raises(DeliveryError, match="came within"):
            await client.list_documents(CALLER, asked(), express=True)
    assert len(script.received) == 1


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, b"", DeliveryError),
        (500, write_fault([("101", None)]), DeliveryError),
        (500, write_fault([("300", None)]), AccessRefused),
        (403, b"", AccessRefused),
        (404, b"", DeliveryError),
    ],
)
async def test_an_express_query_that_is_refused(
    script: Script, status: int, body: bytes, error: type[Exception]
) -> None:
    script.replies = [answering(status, body)]
    async with (
        Callback("127.0.0.1", 0, PARTY) as callback,
        SpineClient(script.url, callback=callback, answer_timeout=5) as client,
    ):
        with pytest.raises(error):
            await client.list_documents(CALLER, asked(), express=True)
    assert len(script.received) == 1


async def test_answers_that_go_elsewhere_cannot_be_waited_for(script: Script, spine: SpineClient) -> None:
    """Neither a listener of ours nor a demo's inbox: better to ask over SOAP. Spec: 40 §7.2."""
    script.replies = [answering(202)]
    with pytest.raises(DeliveryError, match="not ours"):
        await spine.list_documents(CALLER, asked(), express=True)


async def test_where_express_queries_go_is_the_directory_s_business(script: Script) -> None:
    directory = build_directory(read_directory(demo_directory()), 1)
    profile = Profile.of_directory(directory, "app-gp")
    for interaction in DOCUMENT_QUERIES:
        route = profile.route(interaction)
        assert (route.path, route.cpa_id) == ("/reliablemessaging/queryrequest", "S20003A000304")
        assert Profile.demo().route(interaction) == Route(route.path, route.cpa_id, EXPRESS, "psisquery")
    with pytest.raises(EndpointUnknown):
        profile.route("QUPC_IN180000UK04")
    bare = replace(Profile.demo(), routes={})
    async with SpineClient(script.url, bare) as client:
        with pytest.raises(EndpointUnknown):
            await client.list_documents(CALLER, asked(), express=True)
    assert script.received == []


def test_the_extended_event_list_is_read_from_its_bytes() -> None:
    """In its envelope, bare, or a refusal in its place; nothing else. Spec: 20 §11.3."""
    enveloped = example("SCRA_EXTENDEDRESPONSE_INSM01_response_soap")
    (bare,) = read_xml(enveloped).iter("{urn:hl7-org:v3}SCRA_EXTENDEDRESPONSE_INSM01")
    for answer in (enveloped, etree.tostring(bare, with_tail=False)):
        found = read_extended_list(answer, NUMBER)
        assert [each.author.job_role for each in found.events] == ["R8000"]
        assert found.protection_order is False
    refused = read_extended_list(example("QUQI_IN010000UK14_event_list_no_consent_soap"), NUMBER)
    assert refusal_of(refused.outcome) is Refusal.ACCESS_DENIED
    for other in (example("QUPC_IN200000UK04_success_soap"), b"<x/>", b"no XML"):
        with pytest.raises(WireError):
            read_extended_list(other, NUMBER)


def test_classification_of_empty_lists() -> None:
    """``NF`` without a subject is "no record" in every list. Spec: 20 §16 item 3."""
    assert refusal_of(EventListOutcome(Outcome(), NUMBER)) is Refusal.NO_RECORD
    assert refusal_of(Outcome()) is None
