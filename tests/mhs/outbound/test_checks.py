"""Every check of 50 §1.3, with the literal text, in the reference's order. Spec: 50 §1.1-§1.3, A1, C1."""

import json
from typing import Any

import pytest

from mhs.outbound.posting import (
    BODY,
    HEADERS,
    INTERACTION,
    Face,
    Got,
    face,
    read_answer,
    request_bytes,
    with_interactions,
)
from mhs.rig import context
from openscr.mhs.exchange import Attachment, ExternalReference
from openscr.mhs.interactions import Interaction
from openscr.mhs.outbound import recording
from openscr.mhs.outbound.request_body import CONTENT_TYPES
from openscr.mhs.states import Workflow

GOOD = {"is_base64": True, "content_type": "text/plain", "payload": "QQ==", "description": "A"}
REFERENCE = {"message_id": "B72480E5", "description": "B"}
MISSING = ["Missing data for required field."]


def told(got: Got, status: int, text: str) -> None:
    """Check an answer of rows 1 to 12: form, type, and the ids that it tells."""
    assert (got.status, got.text) == (status, f"{status}: {text}")
    assert got.headers["content-type"] == "text/plain"
    assert "message-id" not in got.headers
    assert got.headers["correlation-id"]


@pytest.mark.parametrize(
    ("headers", "status", "text"),
    [
        pytest.param({"interaction_id": None}, 404, "Required Interaction-Id header not found", id="row 1"),
        pytest.param({"interaction_id": ""}, 404, "Required Interaction-Id header not found", id="row 1, empty"),
        pytest.param({"wait_for_response": None}, 400, "wait-for-response header missing", id="row 2"),
        pytest.param({"wait_for_response": ""}, 400, "wait-for-response header missing", id="row 2, empty"),
        pytest.param({"wait_for_response": "maybe"}, 400, "wait-for-response is set to maybe", id="row 3"),
        pytest.param({"content_type": None}, 400, "Missing Content-Type header", id="row 4"),
        pytest.param(
            {"content_type": "text/plain"},
            415,
            "Unsupported content type. Only application/json request bodies are supported.",
            id="row 5",
        ),
        pytest.param(
            {"interaction_id": "ABCD_IN000000UK00"}, 404, "Unknown interaction ID: ABCD_IN000000UK00", id="row 9"
        ),
        pytest.param(
            {"interaction_id": "QUPC_IN180000UK04", "wait_for_response": "true"},
            400,
            "Message header requested wait-for-response wrap for a message pattern that does not support sync-async",
            id="row 12",
        ),
    ],
)
async def test_what_headers_must_say(headers: dict[str, str | None], status: int, text: str) -> None:
    async with face() as served:
        told(await served.post(**headers), status, text)
        assert served.exchanges.asked == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        pytest.param(b"", "Body missing from request", id="row 6"),
        *[
            pytest.param(body, "Invalid JSON request body", id=f"row 7, {case}")
            for case, body in {
                "no JSON": b"<hl7/>",
                "cut off": b'{"payload": "x"',
                "more behind it": b'{"payload": "x"} {',
                "not UTF-8": b'{"payload": "\xe9"}',
                "a mark in front": b'\xef\xbb\xbf{"payload": "x"}',
                "broken further on": b'{"payload": "x", "attachments": [{]}',
                "broken where nobody looks": b'{"payload": 1, "zz": [1, }',
                "half a character": b'{"payload": "\\ud800"}',
                "deep": b"[" * 200_000,
                "deep member": b'{"zz":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
            }.items()
        ],
    ],
)
async def test_what_a_body_must_be(body: bytes, text: str) -> None:
    async with face() as served:
        told(await served.post(body), 400, text)
        assert served.exchanges.asked == []


def faulty(**changes: object) -> dict[str, Any]:
    return {"payload": "x", "attachments": [{**GOOD, **changes}]}


MISTAKES: dict[str, tuple[object, dict[object, Any]]] = {
    "no payload": ({}, {"payload": MISSING}),
    "payload no string": ({"payload": 7}, {"payload": ["Not a valid string."]}),
    "payload null": ({"payload": None}, {"payload": ["Field may not be null."]}),
    "payload empty": ({"payload": ""}, {"payload": ["Length must be between 1 and 5000000."]}),
    "payload too long": ({"payload": "x" * 5_000_001}, {"payload": ["Length must be between 1 and 5000000."]}),
    "an array": ([], {"_schema": ["Invalid input type."]}),
    "a text": ("payload", {"_schema": ["Invalid input type."]}),
    "null": (None, {"_schema": ["Invalid input type."]}),
    "unknown field": ({"payload": "x", "zz": 1}, {"zz": ["Unknown field."]}),
    "unknown field with a quote": ({"payload": "x", "it's": 1}, {"it's": ["Unknown field."]}),
    "attachments null": ({"payload": "x", "attachments": None}, {"attachments": ["Field may not be null."]}),
    "attachments an object": ({"payload": "x", "attachments": {}}, {"attachments": ["Invalid type."]}),
    "attachments a text": ({"payload": "x", "attachments": "[]"}, {"attachments": ["Invalid type."]}),
    "attachments no objects": (
        {"payload": "x", "attachments": [GOOD, 1, None]},
        {"attachments": {1: {"_schema": ["Invalid input type."]}, 2: {"_schema": ["Invalid input type."]}}},
    ),
    "99 attachments": (
        {"payload": "x", "attachments": [GOOD] * 99},
        {"attachments": ["Longer than maximum length 98."]},
    ),
    "99 attachments, one faulty": (
        {"payload": "x", "attachments": [*[GOOD] * 98, {**GOOD, "payload": 1}]},
        {"attachments": {98: {"payload": ["Not a valid string."]}}},
    ),
    "attachment without anything": (
        {"payload": "x", "attachments": [{}]},
        {"attachments": {0: dict.fromkeys(("is_base64", "content_type", "payload", "description"), MISSING)}},
    ),
    "is_base64 a text": (faulty(is_base64="true"), {"attachments": {0: {"is_base64": ["Not a valid boolean."]}}}),
    "is_base64 a number": (faulty(is_base64=1), {"attachments": {0: {"is_base64": ["Not a valid boolean."]}}}),
    "is_base64 null": (faulty(is_base64=None), {"attachments": {0: {"is_base64": ["Field may not be null."]}}}),
    "content_type": (
        faulty(content_type="application/zip"),
        {
            "attachments": {
                0: {
                    "content_type": [
                        "Must be one of: text/plain, text/html, application/pdf, text/xml, application/xml, text/rtf, "
                        "audio/basic, audio/mpeg, image/png, image/gif, image/jpeg, image/tiff, video/mpeg, "
                        "application/msword, application/octet-stream."
                    ]
                }
            }
        },
    ),
    "content_type no string": (
        faulty(content_type=["text/plain"]),
        {"attachments": {0: {"content_type": ["Not a valid string."]}}},
    ),
    "attachment empty": (
        faulty(payload=""),
        {"attachments": {0: {"payload": ["Length must be between 1 and 5000000."]}}},
    ),
    "attachment too long": (
        faulty(payload="x" * 5_000_001),
        {"attachments": {0: {"payload": ["Length must be between 1 and 5000000."]}}},
    ),
    "description empty": (
        faulty(description=""),
        {"attachments": {0: {"description": ["Shorter than minimum length 1."]}}},
    ),
    "document_id null": (faulty(document_id=None), {"attachments": {0: {"document_id": ["Field may not be null."]}}}),
    "title of an attachment": (faulty(title="T"), {"attachments": {0: {"title": ["Unknown field."]}}}),
    "title of a reference": (
        {"payload": "x", "external_attachments": [{**REFERENCE, "title": "T"}]},
        {"external_attachments": {0: {"title": ["Unknown field."]}}},
    ),
    "references an object": (
        {"payload": "x", "external_attachments": {}},
        {"external_attachments": ["Invalid type."]},
    ),
    "reference without anything": (
        {"payload": "x", "external_attachments": [{}]},
        {"external_attachments": {0: {"message_id": MISSING, "description": MISSING}}},
    ),
    "several": (
        {
            "attachments": [{**GOOD, "is_base64": "x", "description": 1}],
            "external_attachments": [{"document_id": 1}],
            "q": 1,
        },
        {
            "payload": MISSING,
            "attachments": {0: {"is_base64": ["Not a valid boolean."], "description": ["Not a valid string."]}},
            "external_attachments": {
                0: {"message_id": MISSING, "description": MISSING, "document_id": ["Not a valid string."]}
            },
            "q": ["Unknown field."],
        },
    ),
}


@pytest.mark.parametrize("case", MISTAKES)
async def test_row_8_tells_every_mistake_as_a_python_dictionary(case: str) -> None:
    """The dictionaries are what marshmallow 3 says of the same bodies."""
    body, mistakes = MISTAKES[case]
    async with face() as served:
        got = await served.post(json.dumps(body).encode())
        told(got, 400, f"Invalid request. Validation errors: {mistakes}")
        assert served.exchanges.asked == []


async def test_row_8_in_the_letters_of_the_specification() -> None:
    async with face() as served:
        got = await served.post(b"{}")
        assert got.body == (
            b"400: Invalid request. Validation errors: {'payload': ['Missing data for required field.']}"
        )


@pytest.mark.parametrize(
    ("interaction", "status", "text"),
    [
        pytest.param(
            Interaction("ABCD_IN000001UK01", "urn:x", "made-up", False),
            500,
            "Couldn't determine workflow to invoke for interaction ID: ABCD_IN000001UK01",
            id="row 10",
        ),
        pytest.param(
            Interaction("ABCD_IN000001UK01", "urn:x", "sync-async", True),
            500,
            "Couldn't determine workflow to invoke for interaction ID: ABCD_IN000001UK01",
            id="row 10, no workflow of tables",
        ),
        pytest.param(
            Interaction("ABCD_IN000001UK01", "urn:x", "sync", None),
            500,
            "Failed to find sync-async flag for the interaction within the interactions.json",
            id="row 11",
        ),
        pytest.param(
            Interaction("ABCD_IN000001UK01", "urn:x", "Forward Express", False),
            501,
            "Nobody has defined the workflow Forward Express of interaction ID: ABCD_IN000001UK01",
            id="F2, Forward Express",
        ),
    ],
)
async def test_what_a_users_table_may_get_wrong(interaction: Interaction, status: int, text: str) -> None:
    async with face(adaptor=with_interactions(context(), **{interaction.name: interaction})) as served:
        told(await served.post(interaction_id=interaction.name), status, text)
        assert served.exchanges.asked == []


async def test_checks_come_in_the_references_order() -> None:
    """One mistake after the other is mended; each time the next row speaks."""
    wrong: dict[str, str | None] = {
        "interaction_id": None,
        "wait_for_response": None,
        "content_type": None,
        "message_id": "a\tb",
    }
    async with face(
        adaptor=with_interactions(context(), TABLE=Interaction("TABLE", "urn:x", "made-up", None))
    ) as served:
        bodies = [b"", b"{", b"{}"]
        seen = [(await served.post(b"", **wrong)).text]
        for name, value in (
            ("interaction_id", "ABCD"),
            ("wait_for_response", "what"),
            ("wait_for_response", "true"),
            ("content_type", "text/css"),
        ):
            wrong[name] = value
            seen.append((await served.post(b"", **wrong)).text)
        wrong["content_type"] = "application/json"
        seen += [(await served.post(body, **wrong)).text for body in bodies]
        seen.append((await served.post(**wrong)).text)
        for name in ("TABLE", "QUPC_IN180000UK04", INTERACTION):
            wrong["interaction_id"] = name
            seen.append((await served.post(**wrong)).text)
        wrong["message_id"] = "ab"
        assert (await served.post(**wrong)).status == 202
    assert [text.split(":")[0] + text[4:25] for text in seen] == [
        "404 Required Interaction",
        "400 wait-for-response he",
        "400 wait-for-response is",
        "400 Missing Content-Type",
        "415 Unsupported content ",
        "400 Body missing from re",
        "400 Invalid JSON request",
        "400 Invalid request. Val",
        "404 Unknown interaction ",
        "500 Couldn't determine w",
        "400 Message header reque",
        "400 The Message-Id header"[:24],
    ]


async def announce(served: Face, headers: dict[str, str]) -> Got:
    """Send only the head of a request, and read the answer."""
    reader, writer = await served.connect()
    writer.write(request_bytes("POST", "/", {**HEADERS, **headers}))
    raw = await reader.read()
    writer.close()
    return read_answer(raw)


async def test_row_13_more_than_100_mb_is_refused_unread() -> None:
    async with face() as served:
        got = await announce(served, {"Content-Length": "104857601"})
        assert (got.status, got.body) == (400, b"")
        assert got.headers["connection"] == "close"
        assert served.exchanges.asked == []


async def test_f13_a_client_that_reads_problems_is_told_413() -> None:
    async with face() as served:
        got = await announce(served, {"Content-Length": "104857601", "Accept": "application/json"})
        assert (got.status, got.json["status"]) == (413, 413)


async def test_row_13_holds_for_chunks_as_well() -> None:
    """Nobody has announced how much comes; what is too much ends it."""
    async with face() as served:
        reader, writer = await served.connect()
        writer.write(request_bytes("POST", "/", {**HEADERS, "Transfer-Encoding": "chunked"}))
        chunk = b"x" * 1_048_576
        piece = b"%x\r\n%b\r\n" % (len(chunk), chunk)
        try:
            for _ in range(101):
                writer.write(piece)
                await writer.drain()
            raw = await reader.read()
        finally:
            writer.close()
        assert raw.startswith(b"HTTP/1.1 400 ")
        assert served.exchanges.asked == []


async def test_row_14_whatever_goes_wrong_is_told_without_saying_what() -> None:
    async with face() as served:
        served.exchanges.answer = RuntimeError("9990000018 stands in the error")
        got = await served.post(message_id="A1", correlation_id="C1")
        assert (got.status, got.text) == (500, "500: Internal Server Error")
        assert got.headers["content-type"] == "text/plain"
        assert got.headers["correlation-id"] == "C1"


async def test_other_methods_and_paths_are_answered_as_the_reference_does() -> None:
    async with face() as served:
        for method in ("GET", "PUT", "DELETE", "PATCH", "OPTIONS"):
            got = await served.ask(method, "/")
            told(got, 405, "Method Not Allowed")
            assert got.headers["allow"] == "POST"
        for path in ("/nowhere", "/openapi.json/", "/healthcheck"):
            got = await served.ask("GET", path)
            assert (got.status, got.text) == (
                404,
                "<html><title>404: Not Found</title><body>404: Not Found</body></html>",
            )
            assert got.headers["content-type"] == "text/html; charset=UTF-8"
            problem = await served.ask("GET", path, {"Accept": "application/json"})
            assert (problem.status, problem.json["code"]) == (404, "nowhere")
        got = await served.ask("DELETE", "/messages")
        assert (got.status, got.text) == (405, "405: Method Not Allowed")
        assert set(got.headers["allow"].split(", ")) == {"GET", "HEAD"}


async def test_everything_that_was_asked_reaches_the_workflow() -> None:
    body = {
        "payload": "<a>é😀</a>",
        "attachments": [
            GOOD,
            {**GOOD, "is_base64": False, "document_id": "D1", "content_type": CONTENT_TYPES[-1]},
        ],
        "external_attachments": [REFERENCE, {**REFERENCE, "document_id": "D2"}],
    }
    async with face() as served:
        got = await served.post(
            json.dumps(body, ensure_ascii=False).encode(),
            message_id="m-1",
            correlation_id="c-1",
            from_asid="918999198738",
            ods_code="X26",
            wait_for_response="TRUE",
            interaction_id="REPC_IN150016UK05",
        )
        assert (got.status, got.body) == (202, b"")
        assert (got.headers["message-id"], got.headers["correlation-id"]) == ("m-1", "c-1")
        assert got.headers["content-type"] == "text/xml"
        (asked,) = served.exchanges.asked
    assert (asked.interaction.name, asked.workflow, asked.wait) == ("REPC_IN150016UK05", Workflow.ASYNC_RELIABLE, True)
    assert (asked.message_id, asked.correlation_id, asked.from_asid, asked.ods_code) == (
        "m-1",
        "c-1",
        "918999198738",
        "X26",
    )
    assert asked.payload == body["payload"]
    assert asked.attachments == (
        Attachment("text/plain", "QQ==", True, "A"),
        Attachment("application/octet-stream", "QQ==", False, "A", "D1"),
    )
    assert asked.external_attachments == (
        ExternalReference("B72480E5", "B"),
        ExternalReference("B72480E5", "B", "D2"),
    )
    assert (asked.whole, asked.respond_async, asked.caller) == (False, False, "")


async def test_98_attachments_and_more_references_are_taken() -> None:
    """Version 1.2.8 of the reference refused more than 98 references. Spec: 50 L27."""
    body = {"payload": "x", "attachments": [GOOD] * 98, "external_attachments": [REFERENCE] * 200}
    async with face() as served:
        assert (await served.post(json.dumps(body).encode())).status == 202
        (asked,) = served.exchanges.asked
    assert (len(asked.attachments), len(asked.external_attachments)) == (98, 200)


async def test_lengths_are_counted_in_characters() -> None:
    async with face() as served:
        body = json.dumps({"payload": "é" * 5_000_000}, ensure_ascii=False).encode()
        assert (await served.post(body)).status == 202


async def test_ids_that_are_missing_are_minted() -> None:
    async with face() as served:
        got = await served.post(BODY, message_id="")
        (asked,) = served.exchanges.asked
        assert got.headers["message-id"] == asked.message_id
        assert got.headers["correlation-id"] == asked.correlation_id
        assert asked.message_id != asked.correlation_id
        assert len(asked.message_id) == len(asked.correlation_id) == 36


async def test_f22_what_is_refused_is_audited_without_a_word_of_its_body() -> None:
    async with face() as served:
        await served.post(b'{"payload": "9990000018", "9990000018": 1}', message_id="M1", correlation_id="C1")
        await served.post(interaction_id="9990000018")
        served.exchanges.answer = RuntimeError("9990000018")
        await served.post(message_id="M2")
        audited = [row.entry.content async for row in served.context.store.read_audit()]
    assert [(each["outcome"], each["interaction"]) for each in audited] == [
        ("body_invalid", INTERACTION),
        ("interaction_unknown", "unknown"),
        ("failed", INTERACTION),
    ]
    assert (audited[0]["message_id"], audited[0]["correlation_id"], audited[2]["message_id"]) == ("M1", "C1", "M2")
    assert "9990000018" not in str(audited)


async def test_f18_what_is_refused_is_counted() -> None:
    async with face() as served:
        await served.post(b"{")
        await served.post(interaction_id="9990000018")
        count = served.context.figures.registry.get_sample_value
        for interaction, outcome in ((INTERACTION, "body_not_json"), ("unknown", "interaction_unknown")):
            labels = {"direction": "outbound", "interaction": interaction, "workflow": "", "outcome": outcome}
            assert count("mhs_messages_total", labels) == 1


async def test_refusals_beyond_measure_are_answered_but_not_audited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "REFUSALS_A_MINUTE", 2)
    async with face() as served:
        for _ in range(6):
            assert (await served.post(b"{")).status == 400
        # A new minute may have begun meanwhile.
        assert len([row async for row in served.context.store.read_audit()]) in (2, 3, 4)
