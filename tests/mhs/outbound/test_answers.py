"""How answers go out: forms, ids, content types, and whether anybody was there to take them.

Spec: 50 §1.4, §1.5; F2, F7, F11, F14, F20, F21, F23.
"""

import asyncio

import pytest
from starlette.types import Message, Scope

from mhs.outbound.posting import BODY, HEADERS, Face, face, request_bytes
from openscr.mhs.exchange import JSON, TEXT, Answer
from openscr.mhs.outbound.application import outbound_application
from openscr.mhs.outbound.negotiation import wants_problem, wants_whole_reply
from openscr.mhs.states import Workflow

DOCUMENT = {
    "error_message": "Error(s) received from Spine. Contact system administrator.",
    "process_key": "SOAP_ERROR_HANDLER0002",
    "errors": [{"errorCode": "200", "severity": "Error", "errorType": "soap_fault"}],
}
WRITTEN = (
    b'{"error_message": "Error(s) received from Spine. Contact system administrator.", "process_key": '
    b'"SOAP_ERROR_HANDLER0002", "errors": [{"errorCode": "200", "severity": "Error", "errorType": "soap_fault"}]}'
)


@pytest.mark.parametrize(
    ("answer", "media_type"),
    [
        (Answer(200, b"<reply/>"), "text/xml"),
        (Answer(202), "text/xml"),
        (Answer(200, b'{"payload": ""}', JSON), "application/json"),
        (Answer(400, b"`from_asid` header field required for sync messages", TEXT), "text/plain"),
        (Answer(500, WRITTEN, JSON, DOCUMENT), "text/plain"),
        (Answer(418, b"<html/>", "text/html"), "text/plain"),
    ],
)
async def test_the_answer_of_a_workflow_goes_out_bare(answer: Answer, media_type: str) -> None:
    """The reference labels every error as text, whatever it is. Spec: 50 §1.4."""
    async with face() as served:
        served.exchanges.answer = answer
        got = await served.post(message_id="M1", correlation_id="C1")
        assert (got.status, got.body) == (answer.status, answer.body)
        assert got.headers["content-type"] == media_type
        assert (got.headers["message-id"], got.headers["correlation-id"]) == ("M1", "C1")
        await served.exchanges.finished.wait()
        ((_, told, delivered),) = served.exchanges.told
        assert (told, delivered) == (answer, True)


# --- F20, F21: what a caller accepts ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accept", "problem", "whole"),
    [
        ("", False, False),
        ("*/*", False, False),
        ("application/json", True, True),
        ("application/problem+json", True, False),
        ("application/*", True, True),
        ("APPLICATION/JSON; charset=utf-8", True, True),
        ("application/json, */*;q=0.8", True, True),
        # What Java's and JavaScript's libraries say by themselves: those who have said so got text, and still do.
        ("application/json, text/plain, */*", False, False),
        ("text/plain, application/json, application/*+json, */*", False, False),
        ("application/json, text/xml", True, False),
        ("text/plain;q=0.1, application/json", True, True),
        ("application/json;q=0, */*", False, False),
        ("application/json;q=high", False, False),
    ],
)
def test_f20_json_goes_to_those_who_want_it_more(accept: str, problem: bool, whole: bool) -> None:
    assert (wants_problem(accept), wants_whole_reply(accept)) == (problem, whole)


@pytest.mark.parametrize("accept", ["application/json", "application/problem+json"])
async def test_f20_a_spine_error_is_a_problem_document(accept: str) -> None:
    async with face() as served:
        served.exchanges.answer = Answer(500, WRITTEN, TEXT, DOCUMENT)
        got = await served.post(accept=accept, message_id="M1", correlation_id="C1")
        assert got.status == 500
        assert got.headers["content-type"] == "application/problem+json"
        assert got.json == {
            "type": "about:blank",
            "title": "Internal Server Error",
            "status": 500,
            "detail": DOCUMENT["error_message"],
            "code": "not_exchanged",
            "correlation_id": "C1",
            "message_id": "M1",
            "process_key": "SOAP_ERROR_HANDLER0002",
            "errors": DOCUMENT["errors"],
        }


async def test_f20_an_error_without_a_document_is_told_in_its_own_words() -> None:
    async with face() as served:
        served.exchanges.answer = Answer(500, b"Error obtaining outbound URL", TEXT)
        got = await served.post(accept="application/json")
        assert got.json["detail"] == "Error obtaining outbound URL"
        assert "errors" not in got.json


async def test_f20_a_faulty_body_is_told_with_pointers() -> None:
    async with face() as served:
        got = await served.post(
            b'{"attachments": [{"is_base64": true, "content_type": "a/b"}], "a/b~": 1}', accept="application/json"
        )
    assert got.status == 400
    assert got.json["code"] == "body_invalid"
    told = got.json["errors"]
    assert isinstance(told, list)
    assert {each["pointer"] for each in told} == {
        "/payload",
        "/attachments/0/content_type",
        "/attachments/0/payload",
        "/attachments/0/description",
        "/a~1b~0",
    }
    assert {"pointer": "/payload", "detail": "Missing data for required field."} in told


async def test_f20_success_stays_what_it_is() -> None:
    async with face() as served:
        assert (await served.post(accept="application/problem+json")).body == b""


@pytest.mark.parametrize(
    ("headers", "whole"),
    [
        ({"wait_for_response": "true", "accept": "application/json"}, True),
        ({"wait_for_response": "true"}, False),
        ({"wait_for_response": "false", "accept": "application/json"}, False),
    ],
)
async def test_f21_a_waiting_caller_may_have_the_whole_reply(headers: dict[str, str], whole: bool) -> None:
    async with face() as served:
        await served.post(**headers)
        assert served.exchanges.asked[0].whole is whole


# --- F7: content types ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8";a=b']
)
async def test_f7_only_the_media_type_counts(content_type: str) -> None:
    async with face() as served:
        assert (await served.post(content_type=content_type)).status == 202


@pytest.mark.parametrize("content_type", ["text/xml", "application/xml; charset=UTF-8", 'text/xml; charset="utf-8"'])
async def test_f7_xml_is_the_payload_itself(content_type: str) -> None:
    payload = '<?xml version="1.0"?>\n<REPC_IN150016UK05 é="😀"/>\n'
    async with face() as served:
        assert (await served.post(payload.encode(), content_type=content_type)).status == 202
        (asked,) = served.exchanges.asked
    assert (asked.payload, asked.attachments, asked.external_attachments) == (payload, (), ())


@pytest.mark.parametrize(
    ("content_type", "body", "text"),
    [
        ("text/xml", b"", "400: Body missing from request"),
        ("text/xml", b"<a>\xe9</a>", "400: The XML in the request body is not UTF-8"),
        (
            "text/xml",
            b"x" * 5_000_001,
            "400: Invalid request. Validation errors: {'payload': ['Length must be between 1 and 5000000.']}",
        ),
        (
            "text/xml; charset=iso-8859-1",
            b"<a/>",
            "415: Unsupported content type. Only application/json request bodies are supported.",
        ),
        (
            "application/jsonp",
            b"{}",
            "415: Unsupported content type. Only application/json request bodies are supported.",
        ),
    ],
)
async def test_f7_xml_that_cannot_be_a_payload_is_refused(content_type: str, body: bytes, text: str) -> None:
    async with face() as served:
        assert (await served.post(body, content_type=content_type)).text == text
        assert served.exchanges.asked == []


# --- F2, F11: what callers may choose ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("interaction", "wish", "workflow"),
    [
        ("SET_RESOURCE_PERMISSIONS_INUK01", "sync", Workflow.SYNC),
        ("SET_RESOURCE_PERMISSIONS_INUK01", "SYNC", Workflow.SYNC),
        ("SET_RESOURCE_PERMISSIONS_INUK01", None, Workflow.ASYNC_RELIABLE),
        ("SET_RESOURCE_PERMISSIONS_INUK01", "async-reliable", Workflow.ASYNC_RELIABLE),
        # The reference knows no such header: where there is nothing to choose it changes nothing.
        ("QUPC_IN160101UK05", "sync", Workflow.ASYNC_EXPRESS),
    ],
)
async def test_f2_some_interactions_leave_the_workflow_to_the_caller(
    interaction: str, wish: str | None, workflow: Workflow
) -> None:
    async with face() as served:
        assert (await served.post(interaction_id=interaction, workflow=wish)).status == 202
        assert served.exchanges.asked[0].workflow is workflow


async def test_f2_nobody_waits_for_the_reply_to_a_synchronous_message() -> None:
    async with face() as served:
        got = await served.post(
            interaction_id="SET_RESOURCE_PERMISSIONS_INUK01", workflow="sync", wait_for_response="true"
        )
        assert got.text == (
            "400: Message header requested wait-for-response wrap for a message pattern that does not support "
            "sync-async"
        )


@pytest.mark.parametrize(
    ("prefer", "wanted"),
    [("respond-async", True), ("wait=10, Respond-Async", True), ("respond-async; a=b", True), ("wait=10", False)],
)
async def test_f11_a_caller_may_prefer_not_to_wait_for_the_attempts(prefer: str, wanted: bool) -> None:
    async with face() as served:
        await served.post(prefer=prefer)
        assert served.exchanges.asked[0].respond_async is wanted


# --- F14, F23: ids ----------------------------------------------------------------------------------------------------


async def test_f14_one_correlation_id_in_log_and_answer(capsys: pytest.CaptureFixture[str]) -> None:
    async with face() as served:
        for headers in ({}, {"wait_for_response": None}, {"correlation_id": "C-7"}):
            got = await served.post(**headers)
            assert f"correlation_id={got.headers['correlation-id']} " in capsys.readouterr().out.replace("\n", " \n")


async def raw(served: Face, headers: list[tuple[bytes, bytes]]) -> tuple[int, dict[bytes, bytes], bytes]:
    """Give the application headers that no HTTP parser lets through."""
    sent: list[Message] = []
    incoming = iter([{"type": "http.request", "body": BODY, "more_body": False}])

    async def receive() -> Message:
        for message in incoming:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    named = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "raw_path": b"/",
        "query_string": b"",
        "root_path": "",
        "headers": [*named, *headers],
    }
    await outbound_application(served.context, served.exchanges)(scope, receive, send)
    body = b"".join(each.get("body", b"") for each in sent)
    return sent[0]["status"], dict(sent[0]["headers"]), body


@pytest.mark.parametrize("name", ["Message-Id", "Correlation-Id", "from-asid", "ods-code"])
@pytest.mark.parametrize(
    "value", [b"A\r\nSet-Cookie: x", b"A\nB", b"A\rB", b"A\x00B", b"A\x1bB", b"A\x85B", b"A\xa0B", b"A\xadB"]
)
async def test_f23_line_ends_and_control_characters_in_ids_are_refused(name: str, value: bytes) -> None:
    async with face() as served:
        status, headers, body = await raw(served, [(name.lower().encode(), value)])
        assert (status, body.decode()) == (
            400,
            f"400: The {name} header holds a line end or another character that is not printed",
        )
        assert all(b"\n" not in each and b"\r" not in each for each in headers.values())
        assert served.exchanges.asked == []


async def test_ids_of_any_other_form_go_through_as_they_came() -> None:
    async with face() as served:
        got = await served.post(message_id="not a UUID & <no XML>", correlation_id="é")
        assert got.headers["message-id"] == "not a UUID & <no XML>"
        assert got.headers["correlation-id"] == "é"
        assert served.exchanges.asked[0].correlation_id == "é"


# --- callers who go away ----------------------------------------------------------------------------------------------


async def begin(served: Face) -> asyncio.StreamWriter:
    _, writer = await served.connect()
    writer.write(request_bytes("POST", "/", {**HEADERS, "Content-Length": str(len(BODY))}) + BODY)
    await served.exchanges.begun.wait()
    return writer


@pytest.mark.parametrize("politely", [True, False])
async def test_a_caller_who_goes_away_is_not_said_to_have_been_answered(politely: bool) -> None:
    """The message is exchanged all the same; its reply goes to the queue. Spec: 50 §2.7."""
    async with face() as served:
        served.exchanges.go.clear()
        writer = await begin(served)
        if politely:
            writer.close()
        else:
            writer.transport.abort()
        # A request that is answered on another connection has come after the end of the first.
        assert (await served.ask("GET", "/nowhere")).status == 404
        served.exchanges.go.set()
        await served.exchanges.finished.wait()
        assert [delivered for _, _, delivered in served.exchanges.told] == [False]


async def test_a_caller_who_goes_away_in_the_middle_of_a_body_costs_nothing() -> None:
    async with face() as served:
        _, writer = await served.connect()
        writer.write(request_bytes("POST", "/", {**HEADERS, "Content-Length": "100"}) + BODY)
        await writer.drain()
        writer.transport.abort()
        assert (await served.post()).status == 202
        assert len(served.exchanges.asked) == 1


async def test_a_caller_who_leaves_during_a_long_answer_was_not_answered() -> None:
    async with face() as served:
        served.exchanges.answer = Answer(200, b"x" * 50_000_000)
        writer = await begin(served)
        writer.transport.abort()
        await served.exchanges.finished.wait()
        assert [delivered for _, _, delivered in served.exchanges.told] == [False]


async def test_many_callers_wait_at_once() -> None:
    async with face() as served:
        served.exchanges.go.clear()
        calls = [asyncio.create_task(served.post(message_id=f"M{number}")) for number in range(200)]
        while len(served.exchanges.asked) < len(calls):
            await served.exchanges.begun.wait()
            await asyncio.sleep(0)
        served.exchanges.go.set()
        got = await asyncio.gather(*calls)
        assert {each.headers["message-id"] for each in got} == {f"M{number}" for number in range(200)}
