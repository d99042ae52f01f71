"""The workflow ``sync``: what is unwrapped, and when a query is asked again. Spec: 50 §2.1, F1, F5."""

from collections.abc import Callable

import pytest

from mhs.stub_spine import Received, StubSpine, answer, break_off, fault, silence
from mhs.workflows.adaptor import MESSAGE_ID, QUERY, StartAdaptor
from openscr.delivery.carriers import HttpCarrier
from openscr.mhs.interactions import INTERACTIONS
from openscr.mhs.states import Workflow

DECLARATION = b"<?xml version='1.0' encoding='utf-8'?>\n"
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
EVENTS = (
    b'<QUPC_IN200000UK04 xmlns="urn:hl7-org:v3">\n  <id root="X"/>\n\t'
    b"<text>caf\xc3\xa9 &amp; <![CDATA[<so on>]]></text>\r\n</QUPC_IN200000UK04>"
)
SET_ANSWER = b'<MCCI_IN010000UK13 xmlns="urn:hl7-org:v3"><id root="X"/></MCCI_IN010000UK13>'


def enveloped(body: bytes, attributes: bytes = b"") -> bytes:
    envelope = b"<s:Envelope xmlns:s='%b'%b><s:Header/><s:Body>\n%b\n</s:Body></s:Envelope>"
    return envelope % (SOAP.encode(), attributes, body)


WRAPPERS = {
    "pds": b'<retrievalQueryResponse xmlns="urn:hl7-org:v3">',
    "psis list": b'<psis:eventListQueryResponse xmlns:psis="urn:npfit:psisqr">',
    "psis event": b'<psis:eventQueryResponse xmlns:psis="urn:npfit:psisqr">',
    "acs get": b'<crs:getResourcePermissionsResponse xmlns:crs="http://national.carerecords.nhs.uk/schema/crs/">',
    "acs set": b'<crs:setResourcePermissionsResponse xmlns:crs="http://national.carerecords.nhs.uk/schema/crs/">',
    "acs has": b'<crs:hasResourcePermissionsResponse xmlns:crs="http://national.carerecords.nhs.uk/schema/crs/">',
    "a name of its own": b'<anything xmlns="urn:somebody">',
    "no namespace": b"<anything>",
}


@pytest.mark.parametrize("wrapper", WRAPPERS.values(), ids=WRAPPERS)
@pytest.mark.parametrize("interaction", [EVENTS, SET_ANSWER], ids=["events", "answer to a SET"])
async def test_f1_the_interaction_comes_out_of_any_wrapper(
    start: StartAdaptor, spine: StubSpine, wrapper: bytes, interaction: bytes
) -> None:
    """Its bytes are those that the Spine has sent: nothing is indented, no text is changed."""
    name = wrapper[1:].partition(b" ")[0].rstrip(b">")
    spine.script(answer(200, enveloped(wrapper + b"\n " + interaction + b"\n</" + name + b">")))
    adaptor = await start()
    told = await adaptor.send(QUERY)
    assert (told.status, told.content_type) == (200, "text/xml")
    element = told.body.removeprefix(DECLARATION)
    assert element != told.body
    # Prefixes that are declared outside are in force inside, and stay so.
    start_tag, rest = interaction.split(b">", 1)
    assert element.startswith(start_tag.partition(b" ")[0] + b" ")
    assert b' xmlns="urn:hl7-org:v3"' in element.partition(b">")[0]
    assert element.endswith(b">" + rest)
    assert (await adaptor.statuses())[-2:] == ["OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED", "SYNC_RESPONSE_SUCCESSFUL"]


async def test_f1_a_bare_interaction(start: StartAdaptor, spine: StubSpine) -> None:
    content = b'><id root="X"/><interactionId extension="QUPC_IN200000UK04"/></QUPC_X>'
    spine.script(answer(200, enveloped(b'<QUPC_X xmlns="urn:hl7-org:v3"' + content)))
    told = (await (await start()).send(QUERY)).body
    assert told.startswith(DECLARATION + b"<QUPC_X ")
    assert told.endswith(content)


async def test_f1_prefixes_declared_outside_are_still_declared(start: StartAdaptor, spine: StubSpine) -> None:
    """The interaction means the same on its own."""
    inner = b'<hl7:QUPC_IN200000UK04 x="hl7:y"><hl7:id root="X"/></hl7:QUPC_IN200000UK04>'
    wrapped = b"<hl7:retrievalQueryResponse>" + inner + b"</hl7:retrievalQueryResponse>"
    spine.script(answer(200, enveloped(wrapped, b' xmlns:hl7="urn:hl7-org:v3"')))
    told = await (await start()).send(QUERY)
    rest = inner.removeprefix(b"<hl7:QUPC_IN200000UK04")
    assert told.body.startswith(DECLARATION + b"<hl7:QUPC_IN200000UK04 xmlns:")
    assert b' xmlns:hl7="urn:hl7-org:v3"' in told.body
    assert told.body.endswith(rest)


@pytest.mark.parametrize("number", ["12", "13"])
async def test_f1_the_answers_of_the_specification(
    start: StartAdaptor, spine: StubSpine, example: Callable[[str], Received], number: str
) -> None:
    """A list and a refusal, in the wrapper of PSIS."""
    body = example(number).body
    spine.script(answer(200, body))
    told = await (await start()).send(QUERY)
    assert told.status == 200
    name = b"QUPC_IN200000UK04" if number == "12" else b"QUQI_IN010000UK14"
    assert told.body.startswith(DECLARATION + b"<" + name)
    assert told.body.endswith(b"</" + name + b">")
    start_of_content = body.index(b">", body.index(b"<" + name)) + 1
    end = body.index(b"</" + name + b">")
    assert body[start_of_content:end] in told.body


UNREADABLE = {
    "two children": enveloped(b"<a/><b/>"),
    "an empty body": enveloped(b""),
    "a wrapper of two": enveloped(b"<a>" + EVENTS + SET_ANSWER + b"</a>"),
    "a wrapper of something else": enveloped(b"<a><b/></a>"),
    "an empty wrapper": enveloped(b"<a/>"),
    "no envelope": EVENTS,
    "no XML": b"thank you",
    "nothing": b"",
    "a document type": b"<!DOCTYPE a>" + enveloped(b"<a>" + EVENTS + b"</a>"),
}


@pytest.mark.parametrize("body", UNREADABLE.values(), ids=UNREADABLE)
async def test_f1_anything_else_is_a_bad_gateway(start: StartAdaptor, spine: StubSpine, body: bytes) -> None:
    """502 with an error document."""
    spine.script(answer(200, body))
    adaptor = await start()
    told = await adaptor.send(QUERY)
    assert (told.status, told.content_type) == (502, "text/plain")
    assert told.document is not None
    assert told.document["error_message"] == "Error(s) received from Spine. Contact system administrator."
    assert told.document["errors"][0]["errorCode"] == "UnexpectedAnswer"
    assert (await adaptor.row()).last_error == "HTTP 200"


async def test_l7_the_media_type_may_have_parameters(start: StartAdaptor, spine: StubSpine) -> None:
    """``text/xml; charset=utf-8`` made the reference fail."""
    body = fault("300")(None).body  # type: ignore[arg-type]
    spine.script(answer(500, body, "text/xml; charset=utf-8"))
    told = await (await start()).send(QUERY)
    assert told.document is not None
    assert told.document["errors"][0]["errorCode"] == "300"


async def test_the_answer_is_read_whole(start: StartAdaptor, spine: StubSpine) -> None:
    """A document of some megabytes in an answer is no rarity."""
    large = b'<QUPC_IN200000UK04 xmlns="urn:hl7-org:v3"><text>' + b"x" * 5_000_000 + b"</text></QUPC_IN200000UK04>"
    spine.script(answer(200, enveloped(b"<a>" + large + b"</a>")))
    assert (await (await start()).send(QUERY)).body.endswith(large.partition(b">")[2])


# --- F5: when a query is asked again ----------------------------------------------------------------------------------


async def test_f5_a_query_is_asked_again_only_while_there_is_no_connection(start: StartAdaptor) -> None:
    """Nobody listens at first; then somebody does."""
    async with StubSpine() as gone:
        port = gone.port
    opened: list[StubSpine] = []

    class Opening(HttpCarrier):
        """Somebody listens after two tries."""

        tries = 0

        async def _post(self, *arguments: object) -> object:  # type: ignore[override]
            self.tries += 1
            if self.tries == 3:
                opened.append(await StubSpine(answer(503, b"here"), port=port).__aenter__())
            return await super()._post(*arguments)  # type: ignore[arg-type]

    carrier = Opening(None, pause=0.001)
    adaptor = await start(carrier=carrier)
    adaptor.routes.address = f"http://127.0.0.1:{port}"
    told = await adaptor.send(QUERY)
    assert (told.status, carrier.tries) == (503, 3)
    await opened[0].__aexit__()


@pytest.mark.parametrize("behaviour", [silence, break_off], ids=["silence", "broken off"])
async def test_f5_a_query_that_may_have_arrived_is_not_asked_again(
    start: StartAdaptor, spine: StubSpine, behaviour: Callable[[Received], object]
) -> None:
    """The reference sends it four times. Spec: 50 L5."""
    spine.script(behaviour)  # type: ignore[arg-type]
    adaptor = await start(sync_timeout=0.2)
    assert (await adaptor.send(QUERY)).status == 500
    assert len(spine.received) == 1


async def test_f5_unless_that_is_wanted(start: StartAdaptor, spine: StubSpine) -> None:
    spine.script(break_off, silence, answer(503, b"here"))
    adaptor = await start(sync_timeout=0.2, retry_unsafe=True)
    assert (await adaptor.send(QUERY)).status == 503
    assert [each.body for each in spine.received] == [spine.received[0].body] * 3


async def test_f2_an_asynchronous_interaction_may_be_sent_synchronously(start: StartAdaptor, spine: StubSpine) -> None:
    """``SET_RESOURCE_PERMISSIONS_INUK01`` with the header ``workflow: sync``."""
    body = enveloped(WRAPPERS["acs set"] + SET_ANSWER + b"</crs:setResourcePermissionsResponse>")
    spine.script(answer(200, body))
    adaptor = await start()
    told = await adaptor.send(
        INTERACTIONS["SET_RESOURCE_PERMISSIONS_INUK01"], workflow=Workflow.SYNC, from_asid="200000000115"
    )
    assert told.status == 200
    assert spine.received[0].header("SOAPAction").endswith("services:lrs/SET_RESOURCE_PERMISSIONS_INUK01")
    assert (await adaptor.row(MESSAGE_ID)).workflow == "sync"


async def test_an_answer_that_could_not_be_delivered_is_kept_so(start: StartAdaptor, spine: StubSpine) -> None:
    """The state says before the bytes leave us that they did, and is put right when they did not. 50 §2.1 step 9."""
    spine.script(answer(200, enveloped(b"<a>" + EVENTS + b"</a>")))
    adaptor = await start()
    request = adaptor.request(QUERY)
    told = await adaptor.workflows.send(request)
    assert (await adaptor.row()).outbound_status == "SYNC_RESPONSE_SUCCESSFUL"
    await adaptor.workflows.answered(request, told, delivered=False)
    assert (await adaptor.row()).outbound_status == "SYNC_RESPONSE_FAILED"


async def test_the_address_may_be_overridden(start: StartAdaptor, spine: StubSpine) -> None:
    """The look-up runs all the same. Spec: 50 §7."""
    spine.script(answer(503))
    adaptor = await start(synchronous_endpoint_url=f"{spine.url}/elsewhere")
    await adaptor.send(QUERY, ods_code="A12345")
    assert spine.received[0].path == "/reliablemessaging/reliablerequest/elsewhere"
    assert [asked[:2] for asked in adaptor.routes.asked] == [
        ("A12345", "urn:nhs:names:services:psisquery:QUPC_IN180000UK04")
    ]
