"""``POST /scr`` over a real socket: texts of the reference, statuses, what goes out. Spec: 50 §12, C8."""

import asyncio
import copy
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest

from mhs.outbound.posting import Face, face, request_bytes
from mhs.scr.forms import EVENT, PATIENT, PRIOR, RECEIVER, SENDER, at, example_form, plain_form
from mhs.scr.serving_scr import ACCEPTED, NAMED, REFUSED, REJECTED, Service, adaptor, before
from openscr.errors import DirectoryUnavailable, EndpointUnknown
from openscr.hl7.presend import Check, check_upload
from openscr.hl7.wrapper import read_wrapper
from openscr.mhs.exchange import TEXT, Answer
from openscr.mhs.scr.answers import Refused
from openscr.mhs.scr.application import LARGEST_BODY
from openscr.mhs.scr.example_form import write_example
from openscr.mhs.states import Workflow
from openscr.transport.xml import read_xml

UPLOAD = "REPC_IN150016UK05"
INITIAL = "REPC_IN150015UK05"


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with adaptor() as running:
        yield running


@pytest.fixture
async def rest() -> AsyncIterator[Face]:
    """An adaptor's REST API, for the service that stands before it."""
    async with face() as running:
        running.exchanges.answer = Answer(200, ACCEPTED)
        yield running


# --- the form of the example library --------------------------------------------------------------------------------


def expected_success() -> dict[str, str]:
    root = read_xml(ACCEPTED)
    hl7 = "{urn:hl7-org:v3}"
    reference = root.find(f"{hl7}acknowledgement/{hl7}messageRef/{hl7}id")
    identifier, created = root.find(f"{hl7}id"), root.find(f"{hl7}creationTime")
    assert reference is not None
    assert identifier is not None
    assert created is not None
    return {
        "messageRef": str(reference.get("root")),
        "messageId": str(identifier.get("root")),
        "creationTime": str(created.get("value")),
        "messageDetail": "GP Summary upload successful",
    }


async def test_c8_success_is_the_four_members_in_json(service: Service) -> None:
    got = await service.example(example_form(), message_id="M-1", correlation_id="C-1")
    assert (got.status, got.document) == (200, expected_success())
    assert (got.headers["message-id"], got.headers["correlation-id"]) == ("M-1", "C-1")
    (asked,) = service.exchanges.asked
    assert (asked.interaction.name, asked.workflow, asked.wait) == (UPLOAD, Workflow.ASYNC_RELIABLE, True)
    assert (asked.message_id, asked.correlation_id, asked.ods_code) == ("M-1", "C-1", None)
    assert asked.payload.encode() == write_example(example_form())
    await service.exchanges.finished.wait()
    ((_, answer, delivered),) = service.exchanges.told
    assert (answer.status, delivered) == (200, True)


async def test_ids_are_minted_and_told(service: Service) -> None:
    got = await service.example(example_form(), ods_code="B99901")
    (asked,) = service.exchanges.asked
    assert (got.headers["message-id"], got.headers["correlation-id"]) == (asked.message_id, asked.correlation_id)
    assert asked.message_id != asked.correlation_id
    assert asked.ods_code == "B99901"


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        # The body comes first, whatever else is missing.
        (b"", {}, 400, "Exception raised while parsing message body: Expecting value: line 1 column 1 (char 0)"),
        (
            b"{'a': 1}",
            NAMED,
            400,
            "Exception raised while parsing message body: Expecting property name enclosed in double quotes: "
            "line 1 column 2 (char 1)",
        ),
        (b"{}", {}, 400, "No interaction-name header provided"),
        (b"{}", {"interaction-name": " "}, 400, "No interaction-name header provided"),
        (
            b"{}",
            {"interaction-name": "SCR_OTHER"},
            400,
            "Error whilst generating message: Failed to find interaction with interaction name: SCR_OTHER",
        ),
        (
            b"{}",
            NAMED,
            400,
            "Error whilst generating message: Failed to find key:Id when generating message from template file:16UK05",
        ),
    ],
)
async def test_c8_rows_of_the_reference(
    service: Service, body: bytes, headers: dict[str, str], status: int, text: str
) -> None:
    got = await service.post(body, **headers)
    assert (got.status, got.document) == (status, {"error": text})
    assert got.headers["correlation-id"]
    assert not service.exchanges.asked


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"[" * 100_000, b"1" * 5_000, b"NaN1", b'{"a":', b"\x00", b'"\\ud800"', b"null", b"[]"]
)
async def test_nonsense_is_refused(service: Service, body: bytes) -> None:
    got = await service.example(body)
    assert got.status == 400
    assert set(got.document) == {"error"}


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (500, "HTTP 500: Internal Server Error"),
        (400, "HTTP 400: Bad Request"),
        (409, "HTTP 409: Conflict"),
        (299 + 300, "HTTP 599: Unknown"),
    ],
)
async def test_c8_what_the_mhs_says_is_not_lost(service: Service, status: int, told: str) -> None:
    document = {"error_message": "Error(s) received from Spine.", "process_key": "SOAP_ERROR_HANDLER0002", "errors": []}
    text = f"Error whilst attempting to send the message to the MHS: {told}"
    service.exchanges.answer = Answer(status, json.dumps(document).encode(), TEXT, document)
    got = await service.example(example_form())
    assert got.status == 500
    assert got.document == {"error": text, "mhs_status": status, "mhs_error": document}
    service.exchanges.answer = Answer(status, b"No async response received from sync-async store", TEXT)
    got = await service.example(example_form())
    assert got.document["mhs_error"] == "No async response received from sync-async store"


async def test_whatever_goes_wrong_inside_is_told_without_a_word_of_it(service: Service) -> None:
    service.exchanges.answer = RuntimeError(PATIENT)
    got = await service.example(example_form())
    assert (got.status, got.document) == (500, {"error": "Internal Server Error"})


INCOMPLETE = "Failed to parse all the necessary elements from xml returned from MHS"


@pytest.mark.parametrize(
    ("reply", "text", "acknowledgement"),
    [
        (REFUSED, INCOMPLETE, "AE"),
        (REJECTED, INCOMPLETE, "AR"),
        (ACCEPTED.replace(b"GP Summary upload successful", b""), INCOMPLETE, "AA"),
        (ACCEPTED.replace(b"creationTime", b"creationDate"), INCOMPLETE, "AA"),
        (b"<other/>", INCOMPLETE, None),
        (b"", "Failed to parse response from xml provided", None),
        (b"<a", "Failed to parse response from xml provided", None),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "Failed to parse response from xml provided", None),
    ],
)
async def test_c8_a_reply_that_is_no_success_is_200_with_the_literal_text(
    service: Service, reply: bytes, text: str, acknowledgement: str | None
) -> None:
    service.exchanges.answer = Answer(200, reply)
    got = await service.example(example_form())
    assert (got.status, got.document["error"]) == (200, text)
    assert got.document.get("acknowledgement") == acknowledgement
    if acknowledgement in ("AE", "AR"):
        assert all(set(issue) == {"code", "text", "severity", "system"} for issue in got.document["issues"])
        assert got.document["issues"]


async def test_only_posts_are_taken(service: Service) -> None:
    for method in ("GET", "PUT", "DELETE"):
        got = await service.post(b"", method=method)
        assert got.status == 405
        assert got.headers["allow"] == "POST"


async def test_a_body_beyond_all_summaries_is_refused(service: Service) -> None:
    got = await service.post(b" " * (LARGEST_BODY + 1), **NAMED)
    assert got.status == 413
    assert not service.exchanges.asked


async def test_f23_ids_with_control_characters_are_refused(service: Service) -> None:
    for name in ("message_id", "correlation_id", "ods_code", "interaction_name"):
        got = await service.example(example_form(), **{name: "a\tb"})
        assert got.status == 400
        assert got.document["error"].startswith("The header ")
    assert not service.exchanges.asked


async def test_f15_the_keys_of_the_rest_api_count_here_too() -> None:
    async with adaptor(secret_outbound_api_keys="key-1,key-2") as service:
        got = await service.example(example_form(), Authorization="Bearer key-2")
        assert got.status == 200
        assert service.exchanges.asked[0].caller
        # The refusal is that of the REST API.
        with pytest.raises(AssertionError):
            await service.example(example_form())
        assert len(service.exchanges.asked) == 1


async def test_f3_a_caller_who_has_gone_is_told_of(service: Service) -> None:
    """The workflow hands the reply to the queue then."""
    service.exchanges.go.clear()
    body = json.dumps(example_form()).encode()
    where = urlsplit(service.url)
    _, writer = await asyncio.open_connection(where.hostname, where.port)
    writer.write(request_bytes("POST", "/scr", {**NAMED, "Content-Length": str(len(body))}) + body)
    await service.exchanges.begun.wait()
    writer.close()
    # A request that is answered on another connection has come after the end of the first.
    assert (await service.post(b"")).status == 400
    service.exchanges.go.set()
    await service.exchanges.finished.wait()
    ((_, _, delivered),) = service.exchanges.told
    assert delivered is False


@pytest.mark.parametrize("own", [False, True])
async def test_f4_one_message_id_is_sent_once(service: Service, own: bool) -> None:
    form = plain_form(PATIENT) if own else example_form()
    headers = {"message_id": "M-1", "Idempotency": "strict", "from_asid": SENDER} | NAMED
    first = await service.post(form, **headers)
    again = await service.post(form, **headers)
    assert first.status == again.status == 200
    assert first.document == again.document
    assert len(service.exchanges.asked) == 1
    other = await service.post(example_form(event=PRIOR), **headers)
    assert other.status == 409
    assert len(service.exchanges.asked) == 1


async def test_the_same_summary_under_the_same_id_is_the_same_event(service: Service) -> None:
    """The record takes an event once; see a repetition whose answer was lost."""
    form = plain_form(PATIENT)
    told = [await service.post(form, message_id=each, from_asid=SENDER) for each in ("M-1", "M-1", "M-2")]
    first, again, other = (each.document["event_id"] for each in told)
    assert first == again != other


async def test_f22_a_refusal_is_counted_and_audited(service: Service) -> None:
    await service.post(b"{}", message_id="M-1")
    audit = [entry async for entry in service.exchanges.context.store.read_audit()]
    assert len(audit) == 1
    told = repr(audit[0])
    assert "interaction_missing" in told
    assert "M-1" in told
    assert UPLOAD in told
    figures = generate_latest(service.exchanges.context.figures.registry).decode()
    assert f'interaction="{UPLOAD}",outcome="interaction_missing"' in figures


# --- our own form ---------------------------------------------------------------------------------------------------


async def test_c8_our_own_form_becomes_a_message_of_the_clients_composer(service: Service) -> None:
    got = await service.post(plain_form(PATIENT), from_asid=SENDER)
    assert (got.status, got.document["acknowledgement"]) == (200, "AA")
    assert {name: got.document[name] for name in expected_success()} == expected_success()
    (asked,) = service.exchanges.asked
    assert (asked.interaction.name, asked.workflow, asked.wait) == (UPLOAD, Workflow.ASYNC_RELIABLE, True)
    payload = asked.payload.encode()
    wrapper = read_wrapper(read_xml(payload))
    check_upload(wrapper, payload, Check.STRICT)
    assert (wrapper.sender_asid, wrapper.receiver_asid) == (SENDER, RECEIVER)
    assert wrapper.message_id == got.document["event_id"]
    assert wrapper.person is not None
    assert wrapper.person.job_role == "R8000"
    # The receiver is whom the directory names.
    router = service.exchanges.context.router
    assert router.asked[0][:2] == ("YES", f"urn:nhs:names:services:psis:{UPLOAD}")  # type: ignore[attr-defined]


async def test_the_sender_and_the_receiver_may_be_set() -> None:
    async with adaptor(scr_asid="200000000999") as service:
        got = await service.post(plain_form(PATIENT), to_asid="200000000100", ods_code="B99901")
        assert got.status == 200
        wrapper = read_wrapper(read_xml(service.exchanges.asked[0].payload.encode()))
        assert (wrapper.sender_asid, wrapper.receiver_asid) == ("200000000999", "200000000100")


async def test_an_initial_summary_goes_as_one(service: Service) -> None:
    form = plain_form(PATIENT, interaction=INITIAL)
    form["author"] = {"kind": "organisation_sds", "ods": "B99901", "name": {"text": "Demo Practice"}}
    for name in ("allergies", "medications"):
        del form[name]
    got = await service.post(form, from_asid=SENDER)
    assert got.status == 200, got.document
    assert service.exchanges.asked[0].interaction.name == INITIAL


@pytest.mark.parametrize(
    ("changes", "headers", "told"),
    [
        ({}, {}, "the header from-asid is missing"),
        ({"patient": {"nhs_number": "9990000019"}}, {"from_asid": SENDER}, "openscr-summary/1"),
        ({"unheard": 1}, {"from_asid": SENDER}, "openscr-summary/1"),
        ({"format": "openscr-summary/9"}, {"from_asid": SENDER}, "openscr-summary/1"),
        ({"interaction": "REPC_IN150016SM05"}, {"from_asid": SENDER}, "polling channel"),
        ({}, {"from_asid": SENDER, "check": "loosely"}, "The header check is strict, spine, none."),
        # Nothing is coded: level strict wants a heading.
        ({"allergies": [], "medications": {}}, {"from_asid": SENDER}, "not valid at level strict"),
    ],
)
async def test_what_cannot_be_sent_is_refused_before_it_is(
    service: Service, changes: dict[str, Any], headers: dict[str, str], told: str
) -> None:
    got = await service.post(plain_form(PATIENT) | changes, **headers)
    assert got.status == 400
    assert told in got.document["error"]
    assert "9990000019" not in json.dumps(got.document)
    assert not service.exchanges.asked


async def test_every_mistake_is_told_by_its_place(service: Service) -> None:
    form = plain_form(PATIENT, unheard=1)
    form["author"]["user_id"] = ""
    got = await service.post(form, from_asid=SENDER)
    assert {each["place"] for each in got.document["errors"]} == {"/unheard", "/author/user_id"}


async def test_a_summary_without_entries_can_be_sent_at_level_spine(service: Service) -> None:
    form = plain_form(PATIENT, allergies=[], medications={})
    assert (await service.post(form, from_asid=SENDER, check="spine")).status == 200


@pytest.mark.parametrize(("reply", "acknowledgement"), [(REFUSED, "AE"), (REJECTED, "AR")])
async def test_a_refusal_of_the_record_is_told_as_one(service: Service, reply: bytes, acknowledgement: str) -> None:
    service.exchanges.answer = Answer(200, reply)
    got = await service.post(plain_form(PATIENT), from_asid=SENDER)
    assert (got.status, got.document["acknowledgement"]) == (422, acknowledgement)
    assert got.document["issues"]
    service.exchanges.answer = Answer(200, b"<other/>")
    assert (await service.post(plain_form(PATIENT), from_asid=SENDER)).status == 502


@pytest.mark.parametrize("error", [EndpointUnknown("nothing there"), DirectoryUnavailable("down")])
async def test_without_a_route_nothing_is_sent(service: Service, error: Exception) -> None:
    service.exchanges.context.router.error = error  # type: ignore[attr-defined]
    got = await service.post(plain_form(PATIENT), from_asid=SENDER)
    assert got.status == 500
    assert got.document["mhs_error"].startswith("Error obtaining outbound URL")


async def test_a_fhir_bundle_is_not_taken_yet(service: Service) -> None:
    got = await service.post({"resourceType": "Bundle", "type": "message"}, **NAMED)
    assert got.status == 501


# --- before an adaptor somewhere else -------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/", "/scr"])
async def test_c8_the_service_that_stands_alone_asks_the_rest_api(rest: Face, path: str) -> None:
    async with before(rest) as service:
        got = await service.post(
            example_form(), path, message_id="M-1", correlation_id="C-1", ods_code="B99901", **NAMED
        )
        assert (got.status, got.document) == (200, expected_success())
    (asked,) = rest.exchanges.asked
    assert (asked.interaction.name, asked.wait, asked.ods_code) == (UPLOAD, True, "B99901")
    assert (asked.message_id, asked.correlation_id) == ("M-1", "C-1")
    assert asked.payload.encode() == write_example(example_form())


async def test_before_an_adaptor_our_own_form_needs_the_spines_asid(rest: Face) -> None:
    async with before(rest) as service:
        got = await service.post(plain_form(PATIENT), from_asid=SENDER)
        assert got.status == 400
        assert "to-asid" in got.document["error"]
        assert (await service.post(plain_form(PATIENT), from_asid=SENDER, to_asid=RECEIVER)).status == 200
    async with before(rest, asid=SENDER, spine_asid=RECEIVER) as service:
        assert (await service.post(plain_form(PATIENT))).status == 200


async def test_before_an_adaptor_its_error_document_is_kept(rest: Face) -> None:
    document = {"error_message": "Error(s) received from Spine.", "errors": [{"errorCode": "200"}]}
    rest.exchanges.answer = Answer(500, json.dumps(document).encode(), TEXT, document)
    async with before(rest) as service:
        got = await service.post(example_form(), **NAMED)
    assert got.status == 500
    assert got.document["mhs_error"] == document
    error = "Error whilst attempting to send the message to the MHS: HTTP 500: Internal Server Error"
    assert got.document["error"] == error


async def test_before_an_adaptor_that_wants_keys() -> None:
    async with face(secret_outbound_api_keys="key-1") as rest:
        rest.exchanges.answer = Answer(200, ACCEPTED)
        async with before(rest) as service:
            assert "HTTP 401" in (await service.post(example_form(), **NAMED)).document["error"]
        async with before(rest, secret_mhs_api_key="key-1") as service:
            assert (await service.post(example_form(), **NAMED)).status == 200


async def test_without_an_adaptor_nothing_is_sent() -> None:
    async with before(None, "http://127.0.0.1:1") as service:
        got = await service.post(example_form(), **NAMED)
    assert got.status == 500
    assert got.document["error"].startswith("Error whilst attempting to send the message to the MHS: ")


# --- whatever comes -------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3),
    max_leaves=5,
)
_PLACES = ("Id", "creationTime", "controlActEvent", "controlActEvent.author", "controlActEvent.subject.GPSummary.id")


@given(st.sampled_from(_PLACES), _JSON)
def test_whatever_stands_in_a_form_it_is_written_or_refused(place: str, value: Any) -> None:
    form = copy.deepcopy(example_form(PATIENT, EVENT))
    holder, name = at(form, place)
    holder[name] = value
    with suppress(Refused):
        read_xml(write_example(form))
