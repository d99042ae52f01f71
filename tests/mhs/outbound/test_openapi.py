"""F20: the description of the port is complete and true: every answer that it promises is given, and is as it says."""

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate
from pydantic import SecretStr
from starlette.routing import BaseRoute, Route

import openscr.mhs.outbound
from mhs.outbound.posting import BODY, HEADERS, Face, Got, face, with_interactions
from mhs.outbound.test_checks import GOOD, MISTAKES, REFERENCE
from mhs.outbound.test_messages import NOON, ROW, SENDING, keep
from mhs.rig import context
from openscr.errors import EbxmlError, StoreUnavailable
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, TEXT, Answer, Exchanges
from openscr.mhs.interactions import FORWARD_EXPRESS, Interaction
from openscr.mhs.operations import Operations
from openscr.mhs.outbound.application import OutboundFace
from openscr.mhs.outbound.recording import RefusalRecord
from openscr.mhs.outbound.refusals import Refused
from openscr.mhs.outbound.request_body import CONTENT_TYPES, read_request_body
from openscr.mhs.queue.rest import QueueRoutes
from openscr.mhs.queue_message import InboundMessage, QueueMessage, write_inbound_message
from openscr.mhs.scr.application import LARGEST_BODY, local_reception, scr_routes
from openscr.mhs.states import InboundStatus, OutboundStatus, Workflow
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.workflows.answers import ebxml_document
from shared import MESSAGES

DOCUMENT: dict[str, Any] = json.loads((Path(openscr.mhs.outbound.__file__).parent / "openapi.json").read_text("utf-8"))
SUMMARIES = MESSAGES / "gp-summary"
PROBLEM = {"Accept": "application/json"}
KEY = {"apikey": "key"}


def parts(adaptor: AdaptorContext, exchanges: Exchanges) -> list[BaseRoute]:
    """Everything that is served beside the REST face."""
    return [
        *QueueRoutes(adaptor).routes(),
        *scr_routes(local_reception(adaptor, exchanges), ("/scr",)),
        *Operations(adaptor, days_left=lambda: 90).routes(),
    ]


def valid(schema: Any, instance: Any) -> None:
    rules = {**schema, "components": DOCUMENT["components"]}
    Draft202012Validator(rules, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(instance)


def resolved(described: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in described:
        place: Any = DOCUMENT
        for name in described["$ref"].removeprefix("#/").split("/"):
            place = place[name]
        described = place
    return described


def promised() -> set[tuple[str, str, str, str]]:
    """Every operation, status and media type of the description."""
    return {
        (method, path, status, media_type)
        for path, operations in DOCUMENT["paths"].items()
        for method, operation in operations.items()
        for status, answer in operation["responses"].items()
        for media_type in resolved(answer).get("content", {"": None})
    }


@dataclass
class Checked:
    """A served port; every answer is compared with the description."""

    served: Face
    seen: set[tuple[str, str, str, str]] = field(default_factory=set)

    async def ask(
        self,
        method: str,
        template: str,
        status: int,
        headers: Mapping[str, str | None] | None = None,
        body: bytes = b"",
        query: str = "",
        **parameters: str,
    ) -> Got:
        """Ask, expect a status, and check the answer; a refusal in both of its forms."""
        if headers is None and status >= 400:
            await self.ask(method, template, status, PROBLEM, body, query, **parameters)
        got = await self.served.ask(method, template.format(**parameters) + query, headers, body)
        assert got.status == status, got.text
        responses = DOCUMENT["paths"][template][method.lower()]["responses"]
        said = str(status) if str(status) in responses else "default"
        answer = resolved(responses[said])
        for name, header in answer.get("headers", {}).items():
            valid(resolved(header)["schema"], got.headers[name.lower()])
        media_type = got.headers.get("content-type", "").partition(";")[0]
        if "content" not in answer:
            assert got.body == b""
            media_type = ""
        else:
            schema = answer["content"][media_type]["schema"]
            valid(schema, json.loads(got.body) if media_type.endswith("json") else got.text)
        self.seen.add((method.lower(), template, said, media_type))
        return got

    async def post(self, status: int, body: bytes = BODY, **changes: str | None) -> Got:
        """Post a message."""
        named = {name.replace("_", "-").lower(): value for name, value in changes.items()}
        headers = {name.lower(): value for name, value in HEADERS.items()} | named
        return await self.ask("POST", "/", status, headers, body)


def test_the_description_is_openapi_3_1() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    validate(DOCUMENT)


async def test_every_route_is_described_and_no_other() -> None:
    adaptor = context()
    served = {}
    async with face(adaptor=adaptor) as running:
        for route in [
            *OutboundFace(adaptor, running.exchanges, RefusalRecord(adaptor)).routes(),
            *parts(adaptor, running.exchanges),
        ]:
            assert isinstance(route, Route)
            path = route.path.replace(":path}", "}")
            # An application of its own behind a route does not tell its methods.
            own = {"/": {"post"}, "/scr": {"post"}, "/healthcheck": {"get"}}
            served[path] = {method.lower() for method in route.methods or ()} - {"head"} or own[path]
    assert {path: set(operations) for path, operations in DOCUMENT["paths"].items()} == served


def test_the_lists_of_words_are_those_of_the_code() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["Attachment"]["properties"]["content_type"]["enum"] == list(CONTENT_TYPES)
    state = schemas["MessageState"]["properties"]
    assert state["OUTBOUND_STATUS"]["enum"] == [None, *OutboundStatus]
    assert state["INBOUND_STATUS"]["enum"] == [None, *InboundStatus]
    assert state["WORKFLOW"]["enum"] == list(Workflow)
    status = DOCUMENT["paths"]["/messages"]["get"]["parameters"][0]
    assert status["schema"]["enum"] == [*OutboundStatus, *InboundStatus]


@pytest.mark.parametrize("case", MISTAKES)
def test_the_schema_of_a_message_refuses_what_the_face_refuses(case: str) -> None:
    with pytest.raises(ValidationError):
        valid({"$ref": "#/components/schemas/Message"}, MISTAKES[case][0])


def test_the_schema_of_a_message_takes_what_the_face_takes() -> None:
    full = {"attachments": [GOOD, {**GOOD, "document_id": "D"}], "external_attachments": [REFERENCE]}
    for body in ({"payload": "x"}, {"payload": "x", **full}):
        valid({"$ref": "#/components/schemas/Message"}, body)


# --- the answers ------------------------------------------------------------------------------------------------------


async def sending(port: Checked) -> None:
    exchanges = port.served.exchanges
    await port.post(202)
    exchanges.answer = Answer(200, b"<reply/>")
    await port.post(200)
    whole = InboundMessage("<SOAP/>", "<reply/>")
    exchanges.answer = Answer(200, write_inbound_message(whole), JSON)
    await port.post(200, wait_for_response="true", accept="application/json")
    document = ebxml_document([EbxmlError("ValueNotRecognized", "unknown", "urn:context", "Error")])
    for accept in (None, "application/json"):
        for body in (b"{}", b"{"):
            await port.post(400, body, accept=accept)
        await port.post(404, interaction_id=None, accept=accept)
        await port.post(404, interaction_id="unknown", accept=accept)
        await port.post(415, content_type="text/plain", accept=accept)
        await port.post(501, interaction_id="EXPRESS", accept=accept)
        exchanges.answer = Answer(202)
        reused = f"M-{accept}"
        await port.post(202, message_id=reused, idempotency="strict", accept=accept)
        await port.post(409, b'{"payload": "y"}', message_id=reused, idempotency="strict", accept=accept)
        for status in (500, 502):
            exchanges.answer = replace(document, status=status)
            told = await port.post(status, accept=accept)
            if accept is None:
                valid({"$ref": "#/components/schemas/ErrorDocument"}, json.loads(told.body))
        exchanges.answer = Answer(418, b"<teapot/>", TEXT)
        await port.post(418, accept=accept)
    await port.ask("POST", "/", 413, {**HEADERS, **PROBLEM, "Content-Length": "104857601"})


async def messages(port: Checked) -> None:
    await keep(port.served, ROW, replace(ROW, message_id="M2"), sending=SENDING)
    await port.ask("GET", "/messages", 200)
    assert "next" in (await port.ask("GET", "/messages", 200, query="?limit=1")).json
    await port.ask("GET", "/messages", 400, query="?limit=none")
    await port.ask("GET", "/messages/{message_id}", 200, message_id="M/1%20%C3%A9")
    await port.ask("GET", "/messages/{message_id}", 404, message_id="nothing")
    await port.ask("POST", "/messages/{message_id}/resend", 202, message_id="M/1%20%C3%A9")
    await port.ask("POST", "/messages/{message_id}/resend", 409, message_id="M2")
    await port.ask("POST", "/messages/{message_id}/resend", 404, message_id="nothing")


async def enqueue(served: Face, *ids: str) -> None:
    body = write_inbound_message(InboundMessage("<SOAP/>", "<reply/>"))

    async def work(transaction: Transaction) -> None:
        for identifier in ids:
            await transaction.enqueue(QueueMessage(identifier, "M1", "C1", body, NOON, late=True))

    await served.context.store.transact(work)


async def queue(port: Checked) -> None:
    await enqueue(port.served, "Q1")
    for query in ("?wait=x", "?max=0"):
        await port.ask("GET", "/queue/messages", 400, query=query)
    await port.ask("GET", "/queue/stats", 200)
    leased: Any = (await port.ask("GET", "/queue/messages", 200)).json["messages"]
    await port.ask("POST", "/queue/messages/{receipt}/nack", 400, receipt=leased[0]["receipt"], query="?delay=x")
    await port.ask("POST", "/queue/messages/{receipt}/nack", 204, receipt=leased[0]["receipt"])
    await port.ask("POST", "/queue/messages/{receipt}/nack", 404, receipt=leased[0]["receipt"])
    leased = (await port.ask("GET", "/queue/messages", 200)).json["messages"]
    await port.ask("POST", "/queue/messages/{receipt}/ack", 204, receipt=leased[0]["receipt"])
    await port.ask("POST", "/queue/messages/{receipt}/ack", 404, receipt=leased[0]["receipt"])
    await port.ask("GET", "/queue/messages", 200)
    await port.ask("GET", "/queue/stats", 200)
    await enqueue(port.served, "Q2")
    store = port.served.context.store
    (given,) = await store.lease_queue(NOON, NOON + timedelta(seconds=60), 1)
    await store.release(given.receipt, deliveries_allowed=1, now=NOON, not_before=NOON)
    letters: Any = (await port.ask("GET", "/queue/dead-letters", 200)).json["dead_letters"]
    assert [letter["id"] for letter in letters] == ["Q2"]
    await port.ask("GET", "/queue/dead-letters", 400, query="?limit=0")
    await port.ask("POST", "/queue/dead-letters/{id}/requeue", 204, id="Q2")
    await port.ask("POST", "/queue/dead-letters/{id}/requeue", 404, id="Q2")


async def summaries(port: Checked) -> None:
    form = json.loads((SUMMARIES / "summary.json").read_text("utf-8"))
    for name in ("event_id", "message_id", "replaces", "presentation", "created"):
        form.pop(name, None)
    form["patient"] = {"nhs_number": "9990000018"}
    parties = {"from-asid": "200000000101", "to-asid": "227319907548"}
    headers = {"Content-Type": "application/json", **parties}
    body = json.dumps(form).encode()

    async def ask(status: int, answer: Answer, body: bytes = body) -> None:
        port.served.exchanges.answer = answer
        await port.ask("POST", "/scr", status, headers, body)

    await ask(200, Answer(200, (SUMMARIES / "ack-AA_MCCI_IN010000UK13.xml").read_bytes()))
    await ask(422, Answer(200, (SUMMARIES / "ack-AE_MCCI_IN010000UK13.xml").read_bytes()))
    await ask(502, Answer(200, b"<unreadable/>"))
    for answer in (
        Answer(500, b"Error obtaining outbound URL", TEXT),
        ebxml_document([EbxmlError("ValueNotRecognized", "unknown", "urn:context", "Error")]),
    ):
        await ask(500, answer)
    for faulty in (b"{", b"{}"):
        await ask(400, Answer(202), faulty)
    headers |= {"Message-Id": "M-SCR", "Idempotency": "strict"}
    await ask(200, Answer(200, (SUMMARIES / "ack-AA_MCCI_IN010000UK13.xml").read_bytes()))
    await ask(409, Answer(202), body + b" ")
    await ask(501, Answer(202), b'{"resourceType": "Bundle"}')
    await ask(413, Answer(202), b'"' + b"x" * LARGEST_BODY + b'"')


async def operations(port: Checked) -> None:
    for path in ("/healthcheck", "/readyz", "/metrics", "/openapi.json"):
        await port.ask("GET", path, 200)


class _Away(MemoryStore):
    """A store that has gone away."""

    def __getattribute__(self, name: str) -> Any:
        if name in ("open", "close", "engine") or name.startswith("_"):
            return super().__getattribute__(name)
        return self._writable if name == "writable" else self._away

    async def _away(self, *_arguments: object, **_named: object) -> None:
        raise StoreUnavailable("away")

    async def _writable(self) -> bool:
        return False


def where(status: str) -> list[tuple[str, str]]:
    return sorted({(method.upper(), path) for method, path, said, _ in promised() if said == status})


async def without_a_store() -> set[tuple[str, str, str, str]]:
    async with face(adaptor=context(store=_Away()), parts=parts) as served:
        port = Checked(served)
        for method, path in where("503"):
            await port.ask(method, path, 503, message_id="M", receipt="R", id="I")
        return port.seen


async def without_a_key() -> set[tuple[str, str, str, str]]:
    async with face(parts=parts, secret_outbound_api_keys=SecretStr("key")) as served:
        port = Checked(served)
        for method, path in where("401"):
            await port.ask(method, path, 401, message_id="M", receipt="R", id="I")
            assert (await served.ask(method, path.format(message_id="M", receipt="R", id="I"), KEY)).status != 401
        for path in ("/healthcheck", "/readyz"):
            await port.ask("GET", path, 200)
        return port.seen


class _Broker:
    """A broker that has everything."""

    async def reachable(self) -> bool:
        return True


async def beside_a_broker() -> set[tuple[str, str, str, str]]:
    async with face(adaptor=context(publisher=_Broker()), parts=parts) as served:  # type: ignore[arg-type]
        port = Checked(served)
        for method, path in where("409"):
            if path.startswith("/queue/"):
                await port.ask(method, path, 409, receipt="R")
        return port.seen


async def test_f20_every_answer_that_is_described_is_given_as_described() -> None:
    express = Interaction("EXPRESS", "urn:x", FORWARD_EXPRESS, False)
    async with face(adaptor=with_interactions(context("http://spine.test/"), EXPRESS=express), parts=parts) as served:
        port = Checked(served)
        for area in (sending, messages, queue, summaries, operations):
            await area(port)
    seen = port.seen | await without_a_store() | await without_a_key() | await beside_a_broker()
    assert promised() - seen == set()


TEXTS = st.one_of(st.text(max_size=3), st.sampled_from([*CONTENT_TYPES, "true"]))
VALUES = st.one_of(st.none(), st.booleans(), st.integers(), TEXTS, st.just([]), st.just({}))
ATTACHMENTS = st.fixed_dictionaries(
    {},
    optional={name: st.one_of(st.just(value), VALUES) for name, value in {**GOOD, "document_id": "D", "zz": 1}.items()},
)
REFERENCES = st.fixed_dictionaries(
    {},
    optional={name: st.one_of(st.just(value), VALUES) for name, value in {**REFERENCE, "document_id": "D"}.items()},
)
BODIES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {},
        optional={
            "payload": st.one_of(st.just("x"), VALUES),
            "attachments": st.one_of(st.lists(st.one_of(ATTACHMENTS, st.just(GOOD)), max_size=3), VALUES),
            "external_attachments": st.one_of(st.lists(st.one_of(REFERENCES, st.just(REFERENCE))), VALUES),
            "zz": VALUES,
        },
    ),
)


@given(BODIES)
def test_schema_and_face_agree_on_every_body(body: Any) -> None:
    rules = {"$ref": "#/components/schemas/Message", "components": DOCUMENT["components"]}
    described = Draft202012Validator(rules).is_valid(body)
    written = json.dumps(body).encode()
    if not described:
        with pytest.raises(Refused) as refused:
            read_request_body(written)
        told = refused.value.refusal.reason.removeprefix("Invalid request. Validation errors: ")
        assert repr(ast.literal_eval(told)) == told, "a Python dictionary"
        assert refused.value.refusal.errors
        return
    read = read_request_body(written)
    assert read.payload == body["payload"]
    assert len(read.attachments) == len(body.get("attachments", ()))
    assert len(read.external_attachments) == len(body.get("external_attachments", ()))
