"""One target per reader: bytes in, nothing out, and only the reader's own errors on the way.

What a target checks beyond that is said in its docstring. The first line of a MIME input is its Content-Type.
"""

from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar, cast

from lxml import etree

from openscr.client.answers import DemoInbox
from openscr.client.connection import Connection
from openscr.clinical import MistakenForm, read_json, write_json
from openscr.codes import ACS_GET, ACS_SET, EVENT, EVENT_LIST, INITIAL_UPLOAD, QUERY_FAILED, UPLOAD, WITHDRAW
from openscr.directory.form import read_entry
from openscr.directory.formats import read_any
from openscr.directory.ldap_client import filter_value
from openscr.errors import ConfigurationError, DeliveryError, UnreadableMessage, UnsafeXml, WireError
from openscr.faces.identity.assertions import ClientAssertions
from openscr.faces.identity.parameters import read_parameters
from openscr.faces.identity.refusals import OAuthRefusal
from openscr.faces.sds.searches import RESOURCES, Refused, read_search
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.acs import read_consent_message, read_get_answer
from openscr.hl7.datatypes import NotWritable
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.presentation import read_presentation
from openscr.hl7.psis import HeaderFacts, read_event_answer, read_event_list_answer, read_query
from openscr.hl7.strict import STRICT_INTERACTIONS, check_strict
from openscr.hl7.summary_reader import NoSummary, read_summary
from openscr.hl7.summary_writer import UnwritableSummary, write_summary
from openscr.hl7.wrapper import local_name, read_wrapper
from openscr.mhs.inbound import answers as inbound
from openscr.mhs.inbound.reading import read_arrived
from openscr.mhs.queue_message import read_inbound_message, write_inbound_message
from openscr.spine import EventListOutcome, EventOutcome, Upload
from openscr.transport.ebxml import Reliability, check_reliability, read_envelope, read_signal, time_to_live_passed
from openscr.transport.mime import read_multipart
from openscr.transport.soap import parse_soap_action, read_fault
from openscr.transport.verdict import judge
from openscr.transport.wsa import read_answer, read_request
from openscr.transport.xml import element_span, inherited_declarations, read_xml

T = TypeVar("T")

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
ASIDS: Final = ("200000000100", "200000000115")


def xml(data: bytes) -> None:
    """The locked parser; what it gives can be found again in the bytes, and cut out."""
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    for element in list(root.iter("*"))[:20]:
        offset, length, name_length = element_span(data, element)
        cut = data[offset : offset + length]
        alone = cut[:name_length] + inherited_declarations(element) + cut[name_length:]
        assert etree.fromstring(alone, etree.XMLParser(resolve_entities=False)).tag == element.tag


def mime(data: bytes) -> None:
    """The splitter: parts lie within the body, in order, and do not overlap."""
    content_type, _, body = data.partition(b"\n")
    try:
        multipart = read_multipart(content_type.decode("latin-1"), body)
    except WireError:
        return
    end = 0
    for part in multipart.parts:
        assert end <= part.start <= part.end <= len(body)
        end = part.end
        try:
            assert len(part.content(body)) <= part.end - part.start
        except WireError:
            continue


def mhs_inbound(data: bytes) -> None:
    """What a Spine posts to the adaptor: read to its end or refused, and what is read can be written for the queue."""
    content_type, _, body = data.partition(b"\n")
    try:
        arrived = read_arrived(content_type.decode("latin-1"), body)
    except inbound.Refused:
        return
    assert read_inbound_message(write_inbound_message(arrived.message)) == arrived.message


def ebxml(data: bytes) -> None:
    """The envelope of a message as it arrives at the reliable paths, with everything that is asked of it."""
    try:
        envelope = read_envelope(read_xml(data))
    except WireError:
        return
    for reliability in Reliability:
        check_reliability(envelope, reliability)
    time_to_live_passed(envelope, NOW)
    assert envelope.message_id
    assert envelope.payload_content_id != ""


def signal(data: bytes) -> None:
    """What a partner answers to a message of ours: acknowledgement, message error, fault, or anything else."""
    for status in (200, 202, 404, 500):
        judge(status, data, "9E6B9F4C-7C7D-4C5F-8A3B-1E6C6D0C8F10")
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    read_signal(root)
    fault = read_fault(root)
    if fault is not None:
        assert sum(map(len, fault.descriptions)) <= len(data) * 2


def soap(data: bytes) -> None:
    """The envelope of a synchronous request, and the consent or query inside it."""
    parse_soap_action(data[:200].decode("latin-1"))
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    for interaction in (EVENT_LIST, ACS_SET):
        request = read_request(root, interaction)
        if request.faults:
            continue
        assert request.body is not None
        offset, length, _ = element_span(data, request.body)
        assert etree.fromstring(_standalone(data, request.body, offset, length)).tag == request.body.tag
        _judge_query(request.body)
        _judge_consent(request.body)


def _standalone(data: bytes, element: etree._Element, offset: int, length: int) -> bytes:
    _, _, name_length = element_span(data, element)
    cut = data[offset : offset + length]
    return cut[:name_length] + inherited_declarations(element) + cut[name_length:]


def psis(data: bytes) -> None:
    """A query: it gives a request, a refusal, or the place of the missing id."""
    _on_interaction(data, _judge_query)


def _judge_query(root: etree._Element) -> None:
    for name in (EVENT_LIST, EVENT):
        read = read_query(read_wrapper(root), HeaderFacts(name, *ASIDS))
        assert [read.request is not None, read.refusal is not None, read.unanswerable is not None].count(True) == 1


def acs(data: bytes) -> None:
    """A consent message: it gives a request or a refusal, never both findings of the wrapper and of the payload."""
    _on_interaction(data, _judge_consent)


def _judge_consent(root: etree._Element) -> None:
    for name in (ACS_SET, ACS_GET):
        for header in (HeaderFacts(name, *ASIDS), None):
            read = read_consent_message(read_wrapper(root), name, header)
            assert (read.request is None) == (read.refusal is not None)
            assert not (read.rejected and read.findings)


def gp_summary(data: bytes) -> None:
    """An upload or a withdrawal; what is stored of an upload is well-formed on its own, and the document unchanged."""
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    for name in (UPLOAD, INITIAL_UPLOAD, WITHDRAW):
        read = read_summary_message(root, read_wrapper(root), data, name)
        assert (read.request is None) == (read.refusal is not None)
        if isinstance(read.request, Upload):
            document = read_xml(read.request.document.standalone(), answer=True)
            assert document.tag == "{urn:hl7-org:v3}GPSummary"
            assert read_xml(read.request.author, answer=True).tag == "{urn:hl7-org:v3}author"


def strict(data: bytes) -> None:
    """Level strict: every finding has its place in the message, and its sentence."""
    _on_interaction(data, _judge_strictly)


def _judge_strictly(root: etree._Element) -> None:
    name = local_name(root)
    for interaction in (name, UPLOAD, WITHDRAW, ACS_SET, QUERY_FAILED):
        if interaction in STRICT_INTERACTIONS:
            for finding in check_strict(root, interaction):
                assert finding.place is not None
                assert finding.text.endswith(".")


def acknowledgement(data: bytes) -> None:
    """An application acknowledgement, as a client reads it."""
    try:
        read_acknowledgement(read_xml(data))
    except WireError:
        return


def answers(data: bytes) -> None:
    """The answer to a synchronous request, as a client reads it."""
    names = frozenset({"QUPC_IN200000UK04", "QUPC_IN200000SM04", "QUPC_IN210000UK04", "QUQI_IN010000UK14"})
    consent = frozenset({"GET_RESOURCE_PERMISSIONS_RESPONSE_INUK01", "MCCI_IN010000UK13"})
    try:
        interaction = read_answer(read_xml(data, answer=True), names | consent).interaction
    except WireError:
        return
    for read in (read_event_list_answer, read_event_answer, read_get_answer):
        try:
            outcome = read(interaction, "9990000026")
        except UnreadableMessage:
            continue
        if isinstance(outcome, EventListOutcome):
            # Each author is written with the declarations that it needs, and once.
            assert sum(len(event.author) for event in outcome.events) <= 40 * len(data)
        if isinstance(outcome, EventOutcome) and outcome.document:
            read_xml(outcome.document, answer=True)


def presentation(data: bytes) -> None:
    """Presentation text: what a page and a terminal show of it."""
    try:
        shown = read_presentation(data)
    except UnsafeXml:
        return
    if shown is not None:
        assert "<script" not in shown.html().lower()
        for width in (20, 100):
            assert "\x1b" not in shown.text(width)


def summary(data: bytes) -> None:
    """A summary read into the clinical model: what can be written of it is read back as the same."""
    try:
        read = read_summary(data).summary
    except (UnsafeXml, NoSummary):
        return
    write_json(read)
    with suppress(NotWritable, UnwritableSummary):
        assert read_summary(write_summary(read)).summary.patient == read.patient


def summary_json(data: bytes) -> None:
    """A summary in its JSON form; every mistake has a place."""
    try:
        read = read_json(data)
    except MistakenForm as mistaken:
        str(mistaken).encode()
        return
    assert read_json(write_json(read).encode()) == read


class _Inbox:
    """The connection that `DemoInbox` looks through, with the fuzzed bytes as the body of its answer."""

    at = "http://127.0.0.1"

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def get(self, path: str) -> tuple[int, bytes]:
        return 200, self._body


def inbox(data: bytes) -> None:
    """The demo's inbox, as a client reads it."""
    place = DemoInbox(cast("Connection", _Inbox(data)), "Y90001-0000001")
    with suppress(DeliveryError):
        expectation = _finished(place.expect("9E6B9F4C-7C7D-4C5F-8A3B-1E6C6D0C8F10"))
        _finished(expectation.came_within(0))


def client_assertion(data: bytes) -> None:
    """What an app sends to prove who it is, as far as it is read before its signature is verified."""
    with suppress(OAuthRefusal):
        assert ClientAssertions("http://127.0.0.1/oauth2/token", lambda: 0.0).client_of(data.decode("latin-1"))


def parameters(data: bytes) -> None:
    """Parameters of a form or an address: each once, not empty, without control characters."""
    with suppress(OAuthRefusal):
        for name, value in read_parameters(data.decode("latin-1")).items():
            assert value
            assert not any(ord(character) < 32 for character in name + value)


def directory(data: bytes) -> None:
    """A directory file of any form: what is read can be read again from the entries it gave."""
    with suppress(ConfigurationError):
        for entry in read_any(data).entries:
            assert read_entry(entry.kind, entry.key, entry.data)


def directory_search(data: bytes) -> None:
    """Parameters of a search of the directory face: no value that is let through could be more than a value."""
    for resource in RESOURCES:
        with suppress(Refused):
            search = read_search(resource, data)
            for value in (search.organization, search.interaction, search.party_key, search.manufacturer, search.role):
                assert len(value) <= 255
                assert not set(filter_value(value)) & set("*()\0")


def _finished(coroutine: Coroutine[None, None, T]) -> T:
    """Run a coroutine that waits for nothing but its turn."""
    while True:
        try:
            coroutine.send(None)
        except StopIteration as end:
            return cast("T", end.value)


def _on_interaction(data: bytes, judge_it: Callable[[etree._Element], None]) -> None:
    """Judge the root of a bare message, or what the body of an envelope holds."""
    try:
        root = read_xml(data)
    except UnsafeXml:
        return
    judge_it(root)
    body = root.find("{*}Body")
    if body is not None and len(body) and isinstance(body[0].tag, str):
        judge_it(body[0])


@dataclass(frozen=True)
class Target:
    """A reader under attack. ``seeds`` are patterns of good messages under tests/messages."""

    run: Callable[[bytes], None]
    seeds: tuple[str, ...]


TARGETS: Final = {
    "xml": Target(xml, ("*/*.xml",)),
    "mime": Target(mime, ("transport/*.http",)),
    "mhs_inbound": Target(mhs_inbound, ("transport/*.http",)),
    "ebxml": Target(ebxml, ("transport/*.http",)),
    "signal": Target(signal, ("transport/*.http",)),
    "soap": Target(soap, ("transport/11*.http", "psis-query/*request_soap.xml", "acs/0[1267]*.xml")),
    "psis": Target(psis, ("psis-query/QUPC_IN1[89]*request*.xml",)),
    "acs": Target(acs, ("acs/*.xml",)),
    "gp_summary": Target(gp_summary, ("gp-summary/0*.xml",)),
    "strict": Target(strict, ("gp-summary/*.xml", "psis-query/*payload.xml", "acs/13*.xml")),
    "acknowledgement": Target(acknowledgement, ("gp-summary/ack*.xml", "acs/0[45]*.xml")),
    "answers": Target(answers, ("transport/1[23]*.http", "psis-query/QU*_soap.xml", "acs/0[4589]*.xml")),
    "presentation": Target(presentation, ("gp-summary/0*.xml",)),
    "summary": Target(summary, ("gp-summary/0[12356]*.xml",)),
    "summary_json": Target(summary_json, ("gp-summary/*.json",)),
    "inbox": Target(inbox, ()),
    "client_assertion": Target(client_assertion, ()),
    "parameters": Target(parameters, ()),
    "directory": Target(directory, ("directory.json",)),
    "directory_search": Target(directory_search, ()),
}
