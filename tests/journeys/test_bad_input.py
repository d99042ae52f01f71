"""Whatever comes in, the answer is the specified one, nothing stored is harmed, and the next good request is served.

The demo's plain listener is the one that is attacked: behind it stands the same application as behind mutual TLS, and
a half-open connection can still read its answer there.
"""

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from journeys.messages import PRACTICE, Client, Mail, Post, answer_to, codes_of, collected, fresh_patient
from journeys.runner import Server, faults_of, stored
from journeys.wire import (
    RELIABLE,
    SYNC,
    Answer,
    connected,
    errors_of,
    fault_of,
    post,
    request_bytes,
    signal_of,
    soap_of,
)
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_SET,
    EVENT,
    EVENT_ANSWER,
    EVENT_LIST,
    EVENT_LIST_ANSWER,
    QUERY_FAILED,
    SERVICE_PREFIX,
    UPLOAD,
    WITHDRAW,
)
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.psis import read_event_list_answer
from openscr.identifiers import mint_uuid, slot_of
from openscr.spine import Consent
from openscr.testbench.population import CONSENT_NO, FULL_RECORD, MERGED
from openscr.testbench.world import HOSPITAL_PARTY

LIMIT = 5_242_880
HEADER = "/SOAP:Envelope/SOAP:Header"
MESSAGE_HEADER = f"{HEADER}/eb:MessageHeader"

BOMB = (
    '<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]>'
)


def nested(levels: int) -> str:
    """Return elements nested so deep."""
    return "<x>" * levels + "</x>" * levels


@pytest.fixture(scope="module", autouse=True)
def nothing_is_harmed(demo: Server) -> Iterator[None]:
    """After all of this the service still takes a message, and its store is intact."""
    yield

    async def look() -> None:
        mail = PRACTICE.upload(fresh_patient())
        signal_of(await mail.post().to(demo.web))
        assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AA", [])
        assert await faults_of(demo.data) == ()

    asyncio.run(look())


async def events_of(demo: Server, number: str) -> list[str]:
    """Return the ids of a patient's events as the store has them."""
    async with stored(demo.data) as store:
        state = await store.transact(slot_of(number), lambda transaction: transaction.read_patient(number))
    return [event.event_id for event in state.events]


async def receipt_exists(demo: Server, number: str, message_id: str) -> bool:
    """Whether a message left any trace in the slot of a patient."""
    async with stored(demo.data) as store:
        return (
            await store.transact(
                slot_of(number), lambda transaction: transaction.find_receipt(PRACTICE.party_key, message_id)
            )
            is not None
        )


def list_query(number: str = FULL_RECORD) -> Post:
    """Return a good query."""
    return PRACTICE.event_list(number)


def with_body(request: Post, change: Callable[[bytes], bytes]) -> Post:
    """Return a request with its body changed."""
    body = change(request.body)
    assert body != request.body
    return replace(request, body=body)


def replaced(request: Post, old: str, new: str) -> Post:
    """Return a request with a text of its body replaced."""
    return with_body(request, lambda body: body.replace(old.encode(), new.encode()))


# --- SOAP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not XML",
        b"\x00\xff\xfe",
        b'{"resourceType": "Bundle"}',
        b"<open>",
        f"{BOMB}<b>&d;</b>".encode(),
        b'<!DOCTYPE x SYSTEM "file:///etc/hostname"><x/>',
        nested(201).encode(),
    ],
)
async def test_soap_that_cannot_be_read_is_fault_201(demo: Server, body: bytes) -> None:
    headers = list_query().headers
    answer = await post(demo.web, SYNC, body, headers)
    fault = fault_of(answer)
    assert (fault.codes, fault.faultcode) == (("201",), "SOAP:Client")
    assert fault.descriptions == ("The message is not well formed",)
    assert locations_of(answer) == ["Not Supported"]


def locations_of(answer: Answer) -> list[str]:
    """Return the locations of a fault's errors, each of which has all its five children. Spec: 40 §4.4."""
    assert answer.body.count(b"<nasp:error>") == answer.body.count(b"<nasp:severity>Error</nasp:severity>")
    assert b"<nasp:codeContext>urn:nhs:names:error:tms</nasp:codeContext>" in answer.body
    parts = answer.body.decode().split("<nasp:location>")[1:]
    return [part.partition("</nasp:location>")[0] for part in parts]


@pytest.mark.parametrize(
    ("old", "new", "locations"),
    [
        ("SOAP-ENV:Body", "SOAP-ENV:Corpus", ["/SOAP:Envelope/SOAP:Body"]),
        ("wsa:To>", "wsa:Towards>", [f"{HEADER}/wsa:To"]),
        ("uuid:", "urn:uuid:", [f"{HEADER}/wsa:MessageID"]),
        ("uuid:", "", [f"{HEADER}/wsa:MessageID"]),
        ("wsa:Action>", "wsa:Act>", [f"{HEADER}/wsa:Action"]),
    ],
)
async def test_a_broken_soap_header_is_located(demo: Server, old: str, new: str, locations: list[str]) -> None:
    answer = await replaced(list_query(), old, new).to(demo.web)
    assert fault_of(answer).codes == ("201",) * len(locations)
    assert locations_of(answer) == locations


async def test_every_broken_rule_of_a_soap_header_is_told_in_order(demo: Server) -> None:
    request = replaced(replaced(list_query(), "wsa:To>", "wsa:Towards>"), "uuid:", "")
    answer = await replaced(
        request,
        'extension="200000000115"/></device></communicationFunctionSnd><wsa:ReplyTo',
        ('extension=""/></device></communicationFunctionSnd><wsa:ReplyTo'),
    ).to(demo.web)
    assert fault_of(answer).codes == ("201",) * 3
    assert locations_of(answer) == [
        f"{HEADER}/wsa:MessageID",
        f"{HEADER}/wsa:To",
        f"{HEADER}/hl7:communicationFunctionSnd/hl7:device/hl7:id",
    ]


@pytest.mark.parametrize(
    "action",
    [
        None,
        "",
        '""',
        "QUPC_IN180000UK04",
        f"{SERVICE_PREFIX}psisquery/QUPC_IN999999UK04",
        f"{SERVICE_PREFIX}psis/QUPC_IN180000UK04",
        f'"{SERVICE_PREFIX}psis/REPC_IN150016UK05"',
        f"{SERVICE_PREFIX}psisquery/QUPC_IN190000UK04",
    ],
    ids=["missing", "empty", "quoted-empty", "bare", "unknown", "other-service", "other-channel", "other-root"],
)
async def test_a_soap_action_that_does_not_fit_is_fault_101(demo: Server, action: str | None) -> None:
    """Missing, unknown, of the other channel, of another interaction than the body's. Spec: 40 §4.1, §8."""
    fault = fault_of(await list_query().with_headers(soapaction=action).to(demo.web))
    assert fault.codes == ("101",)
    assert fault.faultstring == "The service/interaction is not supported for the requested URI"


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "multipart/related", "text/html"])
async def test_soap_of_another_content_type_is_fault_201(demo: Server, content_type: str) -> None:
    answer = await list_query().with_headers(content_type=content_type).to(demo.web)
    assert fault_of(answer).codes == ("201",)


@pytest.mark.parametrize(
    "content_type", [None, "text/xml; charset=utf-8", "application/xml", 'TEXT/XML;charset="UTF-8"']
)
async def test_soap_without_or_with_another_good_content_type_is_read(demo: Server, content_type: str | None) -> None:
    answer = await list_query().with_headers(content_type=content_type).to(demo.web)
    soap_of(answer, EVENT_LIST_ANSWER)


async def test_an_asid_that_may_not_is_fault_300(demo: Server) -> None:
    """An unknown sender, a receiver that is not us, a header that contradicts the message. Spec: 40 §8 sync 4."""
    for request in (
        replaced(list_query(), PRACTICE.asid, "200000000999"),
        replaced(list_query(), "200000000100", "200000000101"),
        list_query().with_headers(nhsd_asid="200000000116"),
    ):
        fault = fault_of(await request.to(demo.web))
        assert (fault.codes, fault.faultcode) == (("300",), "SOAP:Client")
    soap_of(await list_query().with_headers(nhsd_asid=PRACTICE.asid).to(demo.web), EVENT_LIST_ANSWER)


@pytest.mark.parametrize(
    ("old", "new", "codes"),
    [
        ("<creationTime value=", "<creationTime other=", ["400", "35160"]),
        (f'extension="{FULL_RECORD}"', 'extension="9990012319"', ["400", "35160"]),
        (f'extension="{FULL_RECORD}"', 'extension="99900"', ["400", "35160"]),
        (f'extension="{FULL_RECORD}"', f'extension="{MERGED}"', ["410", "30307"]),
        (f'extension="{FULL_RECORD}"', f'extension="{CONSENT_NO}"', ["420", "30418"]),
    ],
)
async def test_what_the_domain_refuses_is_an_hl7_answer(demo: Server, old: str, new: str, codes: list[str]) -> None:
    answer = await replaced(list_query(), old, new).to(demo.web)
    outcome, reference = read_outcome(soap_of(answer, QUERY_FAILED).interaction)
    assert (outcome.ack.value, [issue.code for issue in outcome.issues]) == ("AE", codes)
    assert reference


@pytest.mark.parametrize(("levels", "passes"), [(200, True), (201, False)])
async def test_two_hundred_levels_pass_and_one_more_does_not(demo: Server, levels: int, passes: bool) -> None:
    request = list_query()
    # Envelope, body, interaction and act are four levels above.
    deep = nested(levels - 4)
    answer = await replaced(request, "</ControlActEvent>", f"{deep}</ControlActEvent>").to(demo.web)
    if passes:
        soap_of(answer, EVENT_LIST_ANSWER)
    else:
        assert fault_of(answer).codes == ("201",)
    mail = PRACTICE.upload(fresh_patient())
    mail = mail.changed("</ControlActEvent>", f"{nested(levels - 2)}</ControlActEvent>", part="payload")
    signal_of(await mail.post().to(demo.web))
    assert codes_of(await answer_to(demo.web, mail.message_id)) == (("AA", []) if passes else ("AR", ["202"]))


# --- HTTP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [SYNC, RELIABLE, "/syncservice-psis/psis", "/reliablemessaging/queryrequest"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "OPTIONS"])
async def test_other_methods_are_told_the_one_that_is_allowed(demo: Server, path: str, method: str) -> None:
    async with connected(demo.spine, demo.tls()) as connection:
        await connection.send(request_bytes(path, b"", (), method=method))
        answer = await connection.answer()
    assert (answer.status, answer.header("allow"), answer.body) == (405, "POST", b"")


@pytest.mark.parametrize("path", ["/", "/sync-service/", "/nothing", "/reliablemessaging", "/..%2f", "/SYNC-SERVICE"])
async def test_unknown_paths_are_404(demo: Server, path: str) -> None:
    answer = await post(demo.spine, path, b"", (), demo.tls())
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("path", [SYNC, RELIABLE])
@pytest.mark.parametrize("announced", [LIMIT + 1, 1 << 40])
async def test_a_body_over_the_limit_is_refused_unread(demo: Server, path: str, announced: int) -> None:
    """Decided from the announced length: not one byte of the body is ever sent. Spec: 40 §6.6."""
    async with connected(demo.web) as connection:
        await connection.send(request_bytes(path, b"", list_query().headers, length=announced))
        answer = await connection.answer()
        fault = fault_of(answer)
        assert (fault.codes, fault.faultcode) == (("201",), "SOAP:Client")
        assert fault.descriptions == (f"The message exceeds the maximum size of {LIMIT} bytes",)
        assert answer.header("connection") == "close"
        assert await connection.ended()


async def test_a_chunked_body_over_the_limit_is_refused_before_its_end(demo: Server) -> None:
    async with connected(demo.web) as connection:
        await connection.send(chunked_head(RELIABLE))
        chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
        for _ in range(5):
            await connection.send(chunk)
        await connection.send(b"1\r\n \r\n")
        answer = await connection.answer()
        assert fault_of(answer).descriptions == (f"The message exceeds the maximum size of {LIMIT} bytes",)
        assert await connection.ended()


async def test_a_body_of_exactly_the_limit_is_read(demo: Server) -> None:
    request = list_query()
    filled = with_body(request, lambda body: body + b" " * (LIMIT - len(body)))
    soap_of(await filled.to(demo.web), EVENT_LIST_ANSWER)


async def test_a_chunked_body_is_read_like_any_other(demo: Server) -> None:
    mail = PRACTICE.upload(fresh_patient()).post()
    async with connected(demo.web) as connection:
        await connection.send(chunked_head(RELIABLE, mail))
        for start in range(0, len(mail.body), 1000):
            piece = mail.body[start : start + 1000]
            await connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await connection.send(b"0\r\n\r\n")
        assert signal_of(await connection.answer()).ref_to_message_id == mail.message_id


def chunked_head(path: str, request: Post | None = None) -> bytes:
    """Return the head of a request whose body follows in chunks."""
    headers = (request or list_query()).headers
    lines = [f"POST {path} HTTP/1.1", "Host: spine.test", "Transfer-Encoding: chunked"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers)]).encode() + b"\r\n\r\n"


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_breaks_off_is_http_400_and_nothing_is_stored(demo: Server, chunked: bool) -> None:
    """The client ends in the middle of the body: 400, empty, closed. Spec: 40 §5.1."""
    number = fresh_patient()
    mail = PRACTICE.upload(number).post()
    half = mail.body[: len(mail.body) // 2]
    async with connected(demo.web) as connection:
        if chunked:
            await connection.send(chunked_head(RELIABLE, mail) + b"%x\r\n%b\r\n" % (len(half), half))
        else:
            await connection.send(request_bytes(RELIABLE, half, mail.headers, length=len(mail.body)))
        await connection.end_sending()
        answer = await connection.answer()
        assert (answer.status, answer.body, answer.header("content-type")) == (400, b"", None)
        assert await connection.ended()
    assert not await receipt_exists(demo, number, mail.message_id)


async def test_a_body_that_breaks_off_over_tls_stores_nothing(demo: Server) -> None:
    number = fresh_patient()
    mail = PRACTICE.upload(number).post()
    async with connected(demo.spine, demo.tls()) as connection:
        await connection.send(request_bytes(RELIABLE, mail.body[:-1], mail.headers, length=len(mail.body)))
    # The whole message, on another connection, is the first that the service knows of.
    signal_of(await mail.to(demo.spine, demo.tls()))
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AA", [])


@pytest.mark.parametrize(
    "junk", [b"\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x00", b"POST /sync-service HTTP/9.9\r\n\r\n"]
)
async def test_what_is_not_http_does_no_harm(demo: Server, junk: bytes) -> None:
    async with connected(demo.web) as connection:
        await connection.send(junk)
        await connection.end_sending()
        rest = await connection.reader.read()
    assert rest == b"" or rest.startswith(b"HTTP/1.1 4")
    soap_of(await list_query().to(demo.web), EVENT_LIST_ANSWER)


# --- ebXML framing --------------------------------------------------------------------------------------------------


def upload() -> Mail:
    """Return a good upload for a fresh patient."""
    return PRACTICE.upload(fresh_patient())


def without_payload(request: Post) -> Post:
    """Leave only the first part."""
    return with_body(request, lambda body: b"----=_MIME-Boundary".join(body.split(b"----=_MIME-Boundary")[:2]))


BROKEN_FRAMING: dict[str, Callable[[], Post]] = {
    "empty": lambda: with_body(upload().post(), lambda _: b""),
    "not multipart": lambda: upload().post().with_headers(content_type="text/xml"),
    "no content type": lambda: upload().post().with_headers(content_type=None),
    "no boundary": lambda: upload().post().with_headers(content_type="multipart/related"),
    "wrong boundary": lambda: upload().post().with_headers(content_type='multipart/related; boundary="other"'),
    "one part": lambda: without_payload(upload().post()),
    "part 1 cut off": lambda: replaced(upload().post(), "</soap:Header>", ""),
    "part 1 not XML": lambda: replaced(upload().post(), "<soap:Envelope", "soap:Envelope"),
    "part 1 with DTD": lambda: replaced(upload().post(), "<soap:Envelope", "<!DOCTYPE x><soap:Envelope"),
    "part 1 with bomb": lambda: replaced(upload().post(), "<soap:Envelope", f"{BOMB}<soap:Envelope"),
    "part 1 too deep": lambda: replaced(upload().post(), "<soap:Body>", f"<soap:Body>{nested(199)}"),
    "unknown transfer encoding": lambda: replaced(upload().post(), "Encoding: 8bit", "Encoding: x-rot13"),
    "body is the payload alone": lambda: with_body(upload().post(), lambda _: upload().payload),
}


@pytest.mark.parametrize("name", BROKEN_FRAMING)
async def test_a_message_whose_framing_is_broken_is_fault_201(demo: Server, name: str) -> None:
    answer = await BROKEN_FRAMING[name]().to(demo.web)
    assert fault_of(answer).codes == ("201",)
    assert locations_of(answer) == ["Not Supported"]


@pytest.mark.parametrize(
    ("old", "new", "location"),
    [
        ("<eb:CPAId>", "<eb:CPAId/><eb:Other>", f"{MESSAGE_HEADER}/eb:CPAId"),
        ("eb:MessageId>", "eb:Id>", f"{MESSAGE_HEADER}/eb:MessageData/eb:MessageId"),
        ("soap:Body", "soap:Corpus", "/SOAP:Envelope/SOAP:Body"),
    ],
)
async def test_a_header_that_cannot_be_answered_to_is_fault_201_with_its_place(
    demo: Server, old: str, new: str, location: str
) -> None:
    mail = upload().changed(old, new)
    mail = mail.changed("</eb:CPAId>", "</eb:Other>") if "Other" in new else mail
    answer = await mail.post().to(demo.web)
    assert fault_of(answer).codes == ("201",)
    assert locations_of(answer) == [location]


UNQUOTED = 'multipart/related; boundary="--=_MIME-Boundary"; type=text/xml; start=ebXMLHeader@spine.nhs.uk'


def unquoted_action(mail: Mail) -> Post:
    """Return a message whose SOAPAction stands without quotes."""
    return mail.post().with_headers(soapaction=mail.soap_action)


GOOD_FRAMING: dict[str, Callable[[], Post]] = {
    "as the specification says": lambda: upload().post(),
    "bare line feeds": lambda: upload().post(end=b"\n"),
    "unquoted start without brackets": lambda: upload().post().with_headers(content_type=UNQUOTED),
    "close delimiter without hyphens": lambda: upload().post(close=b"----=_MIME-Boundary"),
    "no close delimiter": lambda: upload().post(close=b""),
    "base64 payload": lambda: upload().post(encoding="base64"),
    "SOAPAction without quotes": lambda: unquoted_action(upload()),
    "header names in capitals": lambda: replaced(upload().post(), "Content-Id:", "CONTENT-ID:"),
    "another boundary": lambda: replaced(upload().post(), "----=_MIME-Boundary", "--b").with_headers(
        content_type="multipart/related; boundary=b"
    ),
    "preamble": lambda: with_body(upload().post(), lambda body: b"To whom it may concern\r\n" + body),
    "on the path of queries": lambda: replace(upload().post(), path="/reliablemessaging/queryrequest"),
}


@pytest.mark.parametrize("name", GOOD_FRAMING)
async def test_every_framing_of_the_field_is_taken(demo: Server, name: str) -> None:
    """Also what a strict reader would refuse: clients send it. Spec: 40 §5.1, §2 DECISION 2."""
    request = GOOD_FRAMING[name]()
    signal = signal_of(await request.to(demo.web))
    assert (signal.kind, signal.ref_to_message_id) == ("Acknowledgment", request.message_id)
    assert codes_of(await answer_to(demo.web, request.message_id)) == ("AA", [])


@pytest.mark.parametrize(
    "action",
    [
        None,
        "",
        f"{SERVICE_PREFIX}psis/REPC_IN150099UK05",
        f"{SERVICE_PREFIX}psisquery/QUPC_IN180000UK04",
        f"{SERVICE_PREFIX}lrsquery/GET_RESOURCE_PERMISSIONS_INUK01",
        f"{SERVICE_PREFIX}psis/MCCI_IN010000UK13",
    ],
    ids=["missing", "empty", "unknown", "sync-list", "sync-get", "an-answer"],
)
async def test_a_soap_action_of_no_reliable_interaction_is_fault_101(demo: Server, action: str | None) -> None:
    assert fault_of(await upload().post().with_headers(soapaction=action).to(demo.web)).codes == ("101",)


# --- ebXML envelope -------------------------------------------------------------------------------------------------

UNKNOWN_CONTRACT = ("ValueNotRecognized", "402005:An error occurred while finding the defined contract")

ENVELOPE_ERRORS: dict[str, tuple[str, str, list[tuple[str, str]]]] = {
    "unknown From party": ("Y90001-0000001", "Y99999-0000001", [UNKNOWN_CONTRACT]),
    "another To party": (
        ">YES-0000806<",
        ">YES-0000807<",
        [("ValueNotRecognized", "501314:Invalid To Party Type attribute")],
    ),
    "unknown CPAId": ("S20001A000182", "S29999A000182", [("ValueNotRecognized", "501319:Unknown eb:CPAId")]),
    "CPA of another service": ("S20001A000182", "S20004A000405", [UNKNOWN_CONTRACT]),
    "other action than SOAPAction": (
        "<eb:Action>REPC_IN150016UK05",
        "<eb:Action>REPC_IN150015UK05",
        [("Inconsistent", "eb:Service and eb:Action inconsistent with SOAPAction")],
    ),
    "no DuplicateElimination": (
        "<eb:DuplicateElimination/>",
        "",
        [("Inconsistent", "eb:DuplicateElimination inconsistent with contract")],
    ),
    "signed": (
        'eb:signed="false"',
        'eb:signed="true"',
        [("NotSupported", "eb:AckRequested signed must be false")],
    ),
    "actor nextMSH": (
        "actor:toPartyMSH",
        "actor:nextMSH",
        [("ValueNotRecognized", "eb:AckRequested actor is not the one of the contract")],
    ),
    "href names no part": (
        'xlink:href="cid:',
        'xlink:href="cid:not-',
        [("MimeProblem", "eb:Reference href names no part")],
    ),
    "href of nothing": (
        'xlink:href="cid:',
        'xlink:href="cid',
        [("MimeProblem", "eb:Reference href is not valid")],
    ),
    "manifest 3.0": (
        '<eb:Manifest eb:version="2.0"',
        '<eb:Manifest eb:version="3.0"',
        [("MimeProblem", "eb:Manifest version must be 2.0")],
    ),
    "TimeToLive in the past": (
        "</eb:MessageData>",
        "<eb:TimeToLive>2020-01-01T00:00:00Z</eb:TimeToLive></eb:MessageData>",
        [("TimeToLiveExpired", "Message Time To Live Expired")],
    ),
}


@pytest.mark.parametrize("name", ENVELOPE_ERRORS)
async def test_an_envelope_that_breaks_the_contract_is_a_message_error(demo: Server, name: str) -> None:
    old, new, expected = ENVELOPE_ERRORS[name]
    number = fresh_patient()
    mail = PRACTICE.upload(number).changed(old, new)
    answer = await mail.post().to(demo.web)
    assert errors_of(answer) == expected
    signal = signal_of(answer)
    assert (signal.ref_to_message_id, signal.from_party) == (mail.message_id, "YES-0000806")
    assert b"eb:location" not in answer.body
    assert not await receipt_exists(demo, number, mail.message_id)
    (kept,) = await refusals(demo, mail.message_id)
    assert kept == ("AR", "expired") or kept[1].startswith(("envelope ", "unknown_party")), kept


async def refusals(demo: Server, message_id: str) -> list[tuple[str, str]]:
    """Outcome and reason of every row of the audit about a message."""
    async with stored(demo.data) as store:
        rows = [row.entry async for row in store.read_audit()]
    return [
        (row.outcome, row.content.get("reason", "")) for row in rows if row.content.get("transport_id") == message_id
    ]


async def test_the_error_for_an_unknown_party_is_addressed_to_it_as_given(demo: Server) -> None:
    answer = await upload().changed("Y90001-0000001", "Y99999-0000001").post().to(demo.web)
    assert b"<eb:To><eb:PartyId eb:type=" in answer.body
    assert b">Y99999-0000001</eb:PartyId></eb:To>" in answer.body


async def test_every_failure_of_an_envelope_is_told_in_the_order_of_the_table(demo: Server) -> None:
    """All of them, one error each, equal ones once. Spec: 40 §10.3."""
    mail = upload()
    for old, new in (
        ("S20001A000182", "S29999A000182"),
        ("Y90001-0000001", "Y99999-0000001"),
        (">YES-0000806<", ">YES-0000807<"),
        ('eb:MessageHeader eb:version="2.0"', 'eb:MessageHeader eb:version="1.0"'),
        ("<eb:DuplicateElimination/>", ""),
        ('eb:signed="false"', 'eb:signed="true"'),
        ("soap/actor/next", "soap/actor/last"),
        ('<eb:Manifest eb:version="2.0"', '<eb:Manifest eb:version="1.0"'),
        ("<eb:Action>REPC_IN150016UK05", "<eb:Action>REPC_IN150015UK05"),
        ("</eb:MessageData>", "<eb:TimeToLive>2020-01-01T00:00:00Z</eb:TimeToLive></eb:MessageData>"),
    ):
        mail = mail.changed(old, new)
    assert errors_of(await mail.post().to(demo.web)) == [
        ("Inconsistent", "eb:Service and eb:Action inconsistent with SOAPAction"),
        ("ValueNotRecognized", "eb:MessageHeader version must be 2.0"),
        ("Inconsistent", "eb:DuplicateElimination inconsistent with contract"),
        ("NotSupported", "eb:AckRequested signed must be false"),
        ("ValueNotRecognized", "eb:SyncReply actor is not the one of the contract"),
        ("MimeProblem", "eb:Manifest version must be 2.0"),
        ("ValueNotRecognized", "501314:Invalid To Party Type attribute"),
        UNKNOWN_CONTRACT,
        ("ValueNotRecognized", "501319:Unknown eb:CPAId"),
    ]


async def test_a_time_to_live_in_the_future_passes(demo: Server) -> None:
    mail = upload().changed("</eb:MessageData>", "<eb:TimeToLive>2999-01-01T00:00:00Z</eb:TimeToLive></eb:MessageData>")
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"


async def test_a_payload_of_a_system_that_may_not_is_fault_300(demo: Server) -> None:
    """The payload's sender is unknown, or belongs to another party than the envelope's. Spec: 40 §8 step 10."""
    for client in (Client(asid="200000000999"), Client(HOSPITAL_PARTY)):
        number = fresh_patient()
        mail = client.upload(number)
        assert fault_of(await mail.post().to(demo.web)).codes == ("300",)
        assert await events_of(demo, number) == []


# --- payloads -------------------------------------------------------------------------------------------------------

REJECTED: dict[str, tuple[Callable[[bytes], bytes], tuple[str, list[str]]]] = {
    "cut off": (lambda payload: payload[: len(payload) // 2], ("AR", ["202"])),
    "not XML": (lambda _: b"no XML at all", ("AR", ["202"])),
    "DTD": (lambda payload: b"<!DOCTYPE x>" + payload, ("AR", ["202"])),
    "entity bomb": (lambda payload: BOMB.encode() + payload, ("AR", ["202"])),
    "UTF-16": (lambda payload: payload.decode().encode("utf-16"), ("AR", ["202"])),
    "Latin-1": (
        lambda payload: payload.replace(b"<statusCode", "<a b='é'/><statusCode".encode("latin-1")),
        ("AR", ["202"]),
    ),
    "no wrapper id": (lambda payload: payload.replace(b"<id root=", b"<id other=", 1), ("AR", ["501"])),
    "no versionCode": (lambda payload: payload.replace(b"<versionCode code=", b"<versionCode x="), ("AR", ["503"])),
    "no receiver": (lambda payload: payload.replace(b"communicationFunctionRcv", b"functionRcv"), ("AR", ["506"])),
    "no sender": (lambda payload: payload.replace(b"communicationFunctionSnd", b"functionSnd"), ("AR", ["507"])),
    "a root that is not HL7's": (
        lambda payload: _of_another_namespace(payload, UPLOAD),
        ("AR", ["515"]),
    ),
    "another root": (
        lambda payload: payload.replace(b"REPC_IN150016UK05", b"REPC_IN150015UK05"),
        ("AR", ["515"]),
    ),
}


def _of_another_namespace(message: bytes, name: str) -> bytes:
    """Return a message with its interaction's element in a namespace of its own, everything in it as it was."""
    changed, count = re.subn(rf"<(/?){name}(?=[ >])".encode(), rf"<\1zz:{name}".encode(), message)
    assert count == 2
    return changed.replace(f"<zz:{name}".encode(), f'<zz:{name} xmlns:zz="urn:zz"'.encode())


async def test_a_root_that_is_not_hl7s_is_no_interaction_on_any_path(demo: Server) -> None:
    """Withdrawals and consent over reliable messaging, queries and consent over SOAP. Spec: 10 §14, 30 §3, 40 §10.5."""
    number = fresh_patient()
    first = PRACTICE.upload(number)
    signal_of(await first.post().to(demo.web))
    assert codes_of(await answer_to(demo.web, first.message_id)) == ("AA", [])
    for mail, name, expected in (
        (PRACTICE.withdrawal(number, first.event_id), WITHDRAW, ("AR", ["515"])),
        (PRACTICE.consent_mail(number, Consent.NO), ACS_SET, ("AR", ["202", "400", "99720"])),
    ):
        changed = replace(mail, payload=_of_another_namespace(mail.payload, name))
        signal_of(await changed.post().to(demo.web))
        assert codes_of(await answer_to(demo.web, mail.message_id)) == expected
    assert await events_of(demo, number) == [first.event_id]
    for request, name in (
        (PRACTICE.event_list(number), EVENT_LIST),
        (PRACTICE.event(number, first.event_id), EVENT),
        (PRACTICE.get_consent(number), ACS_GET),
        (PRACTICE.set_consent(number, Consent.NO), ACS_SET),
    ):
        answer = await replace(request, body=_of_another_namespace(request.body, name)).to(demo.web)
        assert fault_of(answer).codes == ("101",), name


@pytest.mark.parametrize("name", REJECTED)
async def test_a_payload_that_is_no_message_is_acknowledged_and_rejected(demo: Server, name: str) -> None:
    """The transport has it, the application rejects it: the sender is told twice. Spec: 40 §7.3, 10 §14."""
    change, expected = REJECTED[name]
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    mail = Mail(mail.envelope, change(mail.payload), mail.message_id, mail.soap_action)
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
    acknowledgement = await answer_to(demo.web, mail.message_id)
    assert codes_of(acknowledgement) == expected
    assert acknowledgement.reference == mail.message_id
    assert await events_of(demo, number) == []


@pytest.mark.parametrize(
    ("old", "new", "issues"),
    [
        ("{number}", "9990012319", ["35160"]),
        ("{number}", "12345", ["35160"]),
        ("{number}", "9990012342", ["30307"]),
        ("{number}", "9990012326", ["30418"]),
        ("<GPSummary ", "<GPSummary2 ", ["400"]),
        ("<statusCode code=", "<statusCode kode=", ["400"]),
    ],
    ids=["check digit", "five digits", "merged", "consent No", "no summary", "no status"],
)
async def test_a_summary_that_breaks_a_rule_is_refused_with_its_codes(
    demo: Server, old: str, new: str, issues: list[str]
) -> None:
    number = fresh_patient()
    mail = PRACTICE.upload(number).changed(old.format(number=number), new, part="payload")
    if "GPSummary" in new:
        mail = mail.changed("</GPSummary>", "</GPSummary2>", part="payload")
    signal_of(await mail.post().to(demo.web))
    ack, codes = codes_of(await answer_to(demo.web, mail.message_id))
    assert ack == "AE"
    assert codes[1:] == issues or codes == ["410", "30307"]
    assert await events_of(demo, number) == []


async def test_a_summary_replaces_one_that_is_there_and_only_one(demo: Server) -> None:
    """Two targets, one that the patient does not have, one that is no longer current. Spec: 10 §15 steps 5 and 8."""
    number = fresh_patient()
    stranger = PRACTICE.upload(fresh_patient())
    first, second = PRACTICE.upload(number), None
    for mail in (stranger, first):
        signal_of(await mail.post().to(demo.web))

    async def outcome(mail: Mail) -> tuple[str, list[str]]:
        signal_of(await mail.post().to(demo.web))
        return codes_of(await answer_to(demo.web, mail.message_id))

    two = await outcome(PRACTICE.upload(number, first.event_id, stranger.event_id))
    assert two == ("AE", ["400", "400"])
    assert await outcome(PRACTICE.upload(number, mint_uuid())) == ("AE", ["410", "30308"])
    assert await outcome(PRACTICE.upload(number, stranger.event_id)) == ("AE", ["410", "30308"])
    assert await outcome(PRACTICE.upload(number, event_id=first.event_id)) == ("AE", ["410", "30134"])
    second = PRACTICE.upload(number, first.event_id)
    assert await outcome(second) == ("AA", [])
    assert await outcome(PRACTICE.upload(number, first.event_id)) == ("AE", ["430"])
    assert await outcome(PRACTICE.withdrawal(number, mint_uuid())) == ("AE", ["410", "30308"])
    assert await events_of(demo, number) == [first.event_id, second.event_id]


async def test_ids_come_back_letter_for_letter(demo: Server) -> None:
    """What refers to a message has the letter case in which it came. Spec: 40 §5.3, 10 §13."""
    number = fresh_patient()
    message_id, wrapper_id = mint_uuid().lower(), mint_uuid().lower()
    mail = PRACTICE.upload(number, message_id=message_id, wrapper_id=wrapper_id, event_id=mint_uuid().lower())
    mail = mail.changed(f"<eb:ConversationId>{message_id}", "<eb:ConversationId>  Mixed Case 1 ")
    answer = await mail.post().to(demo.web)
    assert signal_of(answer).ref_to_message_id == message_id
    assert b"<eb:ConversationId>  Mixed Case 1 </eb:ConversationId>" in answer.body
    acknowledgement = await answer_to(demo.web, message_id)
    assert acknowledgement.outcome.accepted
    assert acknowledgement.reference == wrapper_id
    (delivered,) = await collected(demo.web, message_id)
    assert delivered["conversation_id"] == "  Mixed Case 1 "
    assert delivered["message_id"] == delivered["message_id"].upper()
    # Events are known by upper-case ids, and found by either.
    for event_id in (mail.event_id, mail.event_id.upper()):
        soap_of(await PRACTICE.event(number, event_id).to(demo.web), EVENT_ANSWER)
    query = list_query(number)
    lower = with_body(query, lambda body: body.replace(query.message_id.encode(), query.message_id.lower().encode()))
    assert soap_of(await lower.to(demo.web), EVENT_LIST_ANSWER).relates_to == f"uuid:{query.message_id.lower()}"


# --- duplicates -----------------------------------------------------------------------------------------------------


async def test_a_message_that_comes_again_gets_the_same_answer_and_is_not_processed_again(demo: Server) -> None:
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    first = await mail.post().to(demo.web)
    signal_of(first)
    await answer_to(demo.web, mail.message_id)
    # A later summary replaces it; were the message processed again, its outcome would be another.
    later = PRACTICE.upload(number, mail.event_id)
    signal_of(await later.post().to(demo.web))
    await answer_to(demo.web, later.message_id)
    for again in (mail.post(), mail.post(end=b"\n")):
        answer = await again.to(demo.web)
        assert (answer.status, answer.body) == (first.status, first.body)
    # Whoever has been answered after them has been served after them.
    other = PRACTICE.upload(number, later.event_id)
    signal_of(await other.post().to(demo.web))
    await answer_to(demo.web, other.message_id)
    assert len(await collected(demo.web, mail.message_id)) == 1
    assert await events_of(demo, number) == [mail.event_id, later.event_id, other.event_id]


async def test_a_message_that_comes_many_times_at_once_is_processed_once(demo: Server) -> None:
    number = fresh_patient()
    mail = PRACTICE.upload(number).post()
    answers = await asyncio.gather(*(mail.to(demo.web) for _ in range(12)))
    assert {(answer.status, answer.body) for answer in answers} == {(202, answers[0].body)}
    await answer_to(demo.web, mail.message_id)
    assert await events_of(demo, number) == [mail.event_id]


async def test_one_wrapper_id_under_two_transport_ids_is_a_duplicate_message_id(demo: Server) -> None:
    """Transport takes it, the domain refuses it: 401, for the same patient alone. Spec: 10 §15 step 1."""
    number, wrapper_id = fresh_patient(), mint_uuid()
    outcomes = []
    for patient in (number, number, fresh_patient()):
        mail = PRACTICE.upload(patient, wrapper_id=wrapper_id)
        signal_of(await mail.post().to(demo.web))
        outcomes.append(codes_of(await answer_to(demo.web, mail.message_id)))
    assert outcomes == [("AA", []), ("AE", ["401"]), ("AA", [])]


async def test_a_consent_that_is_set_again_gets_its_answer_again(demo: Server) -> None:
    """The same bytes: the same answer. The same ids over another value: 401, and nothing changes. Spec: 30 §7.1."""
    number, message_id = fresh_patient(), mint_uuid()
    request = PRACTICE.set_consent(number, Consent.NO, message_id)
    first, again = await request.to(demo.web), await request.to(demo.web)
    assert read_outcome(soap_of(first, ACKNOWLEDGEMENT).interaction)[0].accepted
    assert again.body == first.body
    answer = await PRACTICE.set_consent(number, Consent.YES, message_id).to(demo.web)
    outcome, _ = read_outcome(soap_of(answer, ACKNOWLEDGEMENT).interaction)
    assert [issue.code for issue in outcome.issues] == ["401"]
    answer = await PRACTICE.get_consent(number).to(demo.web)
    assert b"<crs:permission>No</crs:permission>" in answer.body
    soap_of(answer, ACS_GET_ANSWER)


async def test_a_duplicate_is_known_after_a_restart(start: Callable[..., Server]) -> None:
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    server = await asyncio.to_thread(start, demo=True)
    first = await mail.post().to(server.web)
    signal_of(first)
    await answer_to(server.web, mail.message_id)
    assert await asyncio.to_thread(server.stop) == 0
    server = await asyncio.to_thread(start, demo=True)
    answer = await mail.post().to(server.web)
    assert (answer.status, answer.body) == (first.status, first.body)
    assert await collected(server.web, mail.message_id) == []
    answer = await list_query(number).to(server.web)
    listed = read_event_list_answer(soap_of(answer, EVENT_LIST_ANSWER).interaction, number)
    assert [event.event_id for event in listed.events] == [mail.event_id]
