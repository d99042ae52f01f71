"""Readers of messages: whatever is done to a message, it is read or judged, and nothing else; and what is read of it.

Spec: 10 §9.2, §11.4; 20 §12, §16; 30 §5.
"""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import (
    ACS_GET,
    ACS_HAS,
    ACS_SET,
    EVENT,
    EVENT_LIST,
    INITIAL_UPLOAD,
    UPLOAD,
    WITHDRAW,
    WITHDRAW_INITIAL,
)
from openscr.errors import UnreadableMessage
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.acs import read_consent_message, read_get_answer
from openscr.hl7.alert import read_alert_message
from openscr.hl7.gp_summary import DISSENT_PHRASES, NO_CONTENT_PHRASE, read_summary_message, write_upload
from openscr.hl7.permission_check import read_has_answer, read_permission_message
from openscr.hl7.psis import HeaderFacts, read_event_answer, read_event_list_answer, read_query, write_query
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.spine import DissentOverride, EventQuery, MessageIds, Person, Upload, Withdrawal
from openscr.transport.xml import read_xml

from .mutation import Change, mutated, put
from .rules import message
from .test_alert import message as alert_message

VALUE = "h:ControlActEvent/h:subject/h:GPSummary/h:excerptFrom/*/h:component/h:presentationText/h:value"


def interaction(data: bytes) -> etree._Element:
    """Return the HL7 interaction of a message, in an envelope or alone."""
    root = read_xml(data)
    return next(e for e in root.iter("{urn:hl7-org:v3}*") if etree.QName(e).localname.isupper())


def read_upload(data: bytes, name: str = UPLOAD) -> Upload:
    root = read_xml(data)
    read = read_summary_message(root, read_wrapper(root), data, name)
    assert isinstance(read.request, Upload), read.refusal
    return read.request


# --- whatever is done to a message ----------------------------------------------------------------------------------

Harm = tuple[str, int, str]
harms = st.lists(
    st.tuples(
        st.sampled_from(("drop", "repeat", "empty", "blank", "strip", "rename", "comment", "text")),
        st.integers(0, 10_000),
        st.sampled_from(("", " ", "0", "x" * 50, "é", "9990001030", "1.2.3")),
    ),
    min_size=1,
    max_size=4,
)


def harm(root: etree._Element, harms: list[Harm]) -> None:
    """Do damage to elements of a tree, wherever they are."""
    for kind, number, word in harms:
        elements = [e for e in root.iter("*") if e is not root]
        if not elements:
            return
        element = elements[number % len(elements)]
        parent = element.getparent()
        assert parent is not None
        if kind == "drop":
            parent.remove(element)
        elif kind == "repeat":
            parent.insert(parent.index(element), etree.fromstring(etree.tostring(element, with_tail=False)))
        elif kind == "empty":
            for child in list(element):
                element.remove(child)
        elif kind == "blank":
            for name in element.attrib:
                element.set(name, word)
        elif kind == "strip":
            element.attrib.clear()
        elif kind == "rename":
            element.tag = "{urn:hl7-org:v3}other"
        elif kind == "comment":
            element.insert(0, etree.Comment("harmless"))
            element.append(etree.ProcessingInstruction("harmless", "too"))
        else:
            element.text = word


def check_summary(root: etree._Element, name: str) -> None:
    data = etree.tostring(root)
    parsed = read_xml(data)
    read = read_summary_message(parsed, read_wrapper(parsed), data, name)
    assert (read.request is None) == (read.refusal is not None)
    assert not (read.rejected and read.findings)
    if read.refusal is not None:
        assert read.refusal.issues
    if isinstance(read.request, Upload):
        document = read.request.document
        cut = data[document.offset : document.offset + document.length]
        assert cut.startswith(b"<")
        assert etree.fromstring(document.standalone()).tag == "{urn:hl7-org:v3}GPSummary"
        assert etree.fromstring(read.request.author).tag == "{urn:hl7-org:v3}author"
    elif isinstance(read.request, Withdrawal):
        assert read.request.reason


SUMMARIES = [("01", INITIAL_UPLOAD), ("02", UPLOAD), ("05", UPLOAD), ("04", WITHDRAW), ("04", WITHDRAW_INITIAL)]


@given(st.sampled_from(SUMMARIES), harms)
@settings(max_examples=400, deadline=None)
def test_harmed_summaries(base: tuple[str, str], harms: list[Harm]) -> None:
    """A harmed upload or withdrawal gives a request or a refusal, never both, never an exception."""
    root = read_xml(message("gp-summary", base[0]))
    harm(root, harms)
    check_summary(root, base[1])


@given(st.sampled_from(("QUPC_IN180000UK04_request", "QUPC_IN180000SM04_request", "QUPC_IN190000UK04_request")), harms)
@settings(max_examples=300, deadline=None)
def test_harmed_queries(base: str, harms: list[Harm]) -> None:
    """A harmed query gives a request, a refusal, or the place of the missing id."""
    root = interaction(message("psis-query", base))
    harm(root, harms)
    facts = HeaderFacts(base.removesuffix("_request"), "918999000001", "918999000101")
    read = read_query(read_wrapper(root), facts)
    assert [read.request is not None, read.refusal is not None, read.unanswerable is not None].count(True) == 1


@given(st.sampled_from((("01", ACS_SET), ("02", ACS_SET), ("03", ACS_SET), ("06", ACS_GET), ("07", ACS_GET))), harms)
@settings(max_examples=300, deadline=None)
def test_harmed_consent_messages(base: tuple[str, str], harms: list[Harm]) -> None:
    """A harmed SET or GET gives a request or a refusal."""
    root = interaction(message("acs", base[0]))
    harm(root, harms)
    facts = HeaderFacts(base[1], "990000000004", "200000000115")
    for header in (facts, None):
        read = read_consent_message(read_wrapper(root), base[1], header)
        assert (read.request is None) == (read.refusal is not None)
        assert not (read.rejected and read.findings)


@given(harms)
@settings(max_examples=200, deadline=None)
def test_harmed_permission_questions(harms: list[Harm]) -> None:
    """A harmed HAS gives a request or a refusal."""
    root = interaction(message("acs", "11"))
    harm(root, harms)
    read = read_permission_message(read_wrapper(root), HeaderFacts(ACS_HAS, "990000000004", "200000000115"))
    assert (read.request is None) == (read.refusal is not None)
    assert not (read.rejected and read.findings)


@given(harms)
@settings(max_examples=300, deadline=None)
def test_harmed_alerts(harms: list[Harm]) -> None:
    """A harmed alert gives a request with all that it must say, or a refusal."""
    root = read_xml(alert_message())
    harm(root, harms)
    read = read_alert_message(read_wrapper(read_xml(etree.tostring(root))))
    assert (read.request is None) == (read.refusal is not None)
    assert not (read.rejected and read.findings)
    if read.request is not None:
        alert = read.request
        assert len(alert.nhs_number) == 10
        assert all((alert.type.code, alert.reason.code, alert.occurred_at, alert.reference, alert.system_name))
        assert all((alert.user.user_id, alert.user.name, alert.user.role, alert.user.organisation))


ANSWERS: list[tuple[str, str, Callable[[etree._Element], object]]] = [
    ("gp-summary", "ack-AA", read_acknowledgement),
    ("gp-summary", "ack-AR", read_acknowledgement),
    ("acs", "05", read_acknowledgement),
    ("acs", "08", lambda root: read_get_answer(root, "")),
    ("acs", "12", lambda root: read_has_answer(root, "")),
    ("psis-query", "QUPC_IN200000SM04", lambda root: read_event_list_answer(root, "")),
    ("psis-query", "QUPC_IN210000UK04", lambda root: read_event_answer(root, "")),
    ("psis-query", "QUQI_IN010000UK14_event_list_no_consent", lambda root: read_event_list_answer(root, "")),
]


@given(st.sampled_from(ANSWERS), harms)
@settings(max_examples=400, deadline=None)
def test_harmed_answers(base: tuple[str, str, Callable[[etree._Element], object]], harms: list[Harm]) -> None:
    """A client reads a harmed answer or says that it cannot."""
    folder, name, read = base
    root = interaction(message(folder, name))
    harm(root, harms)
    with suppress(UnreadableMessage):
        read(root)


# --- what is read ---------------------------------------------------------------------------------------------------


def presentation(markup: str) -> Change:
    """Put this into the body of the presentation text."""

    def change(root: etree._Element) -> None:
        (value,) = root.xpath(VALUE, namespaces={"h": "urn:hl7-org:v3"})
        for child in list(value):
            value.remove(child)
        value.append(
            etree.fromstring(f'<html xmlns="xhtml:NPfIT:PresentationText"><head/><body>{markup}</body></html>')
        )

    return change


@pytest.mark.parametrize(("phrase", "reports"), DISSENT_PHRASES)
def test_dissent_phrases(phrase: str, reports: tuple[str, ...]) -> None:
    """A phrase of dissent counts in td, h1, h2 and h3 at any depth, as a part of the text, in its exact spelling."""
    base = message("gp-summary", "02")
    for tag, report in zip(("td", "h1", "h2", "h3"), reports, strict=True):
        for text in (phrase, f"On 2 March: {phrase}."):
            assert read_upload(mutated(base, presentation(f"<{tag}>{text}</{tag}>"))).dissent == (report,)
        nested = f"<ul><li><{tag}>{phrase}</{tag}></li></ul>"
        assert read_upload(mutated(base, presentation(nested))).dissent == (report,)
    for markup in (
        f"<h4>{phrase}</h4>",
        f"<p>{phrase}</p>",
        f"<table><tr><th>{phrase}</th></tr></table>",
        f"<h3>{phrase.lower()}</h3>",
        f"<h3>{phrase.replace(' ', '  ', 1)}</h3>",
        f"<h2>{phrase[:20]}</h2><h2>{phrase[20:]}</h2>",
        f"<!-- <h3>{phrase}</h3> -->",
    ):
        assert read_upload(mutated(base, presentation(markup))).dissent == (), markup
    split = f"<h3>{phrase[:10]}<a>{phrase[10:20]}</a><!-- -->{phrase[20:]}</h3>"
    assert read_upload(mutated(base, presentation(split))).dissent == (reports[3],)


def test_refusal_entry_is_a_dissent() -> None:
    """The coded refusal states the dissent by itself; the example has phrase and code."""
    data = message("gp-summary", "05")
    assert read_upload(data).dissent == ("Standard", "Refusal")
    assert read_upload(mutated(data, presentation("<h3>refused</h3>"))).dissent == ("Refusal",)


def test_no_significant_content() -> None:
    """The sentence of an empty record counts in h3 only, in its exact spelling."""
    base = message("gp-summary", "02")
    for markup, expected in (
        (f"<h3>{NO_CONTENT_PHRASE}</h3>", "standard"),
        (f"<h2>{NO_CONTENT_PHRASE}</h2>", None),
        (f"<h3>{NO_CONTENT_PHRASE.upper()}</h3>", None),
    ):
        upload = read_upload(mutated(base, presentation(markup)))
        assert upload.metadata.get("noSignificantContent") == expected


def test_content_of_every_entry() -> None:
    """Every care record element with an id is told by its local part, whatever its version. Spec: 10 §11.4."""
    data = message("gp-summary", "06")
    document = next(read_xml(data).iter("{urn:hl7-org:v3}GPSummary"))
    entries = document.findall("{*}pertinentInformation2/{*}pertinentCREType/{*}component/*")
    names = {etree.QName(e).localname.partition(".")[2] for e in entries} - {""}
    upload = read_upload(data)
    assert upload.content == names
    assert len(names) == 34
    assert "AllergyDE" in names
    path = "h:ControlActEvent/h:subject/h:GPSummary/h:pertinentInformation2/h:pertinentCREType/h:component/*/h:id"
    assert read_upload(mutated(data, put(path, "root", ""))).content == frozenset()


def test_metadata_of_authors() -> None:
    """Persons and organisations are told with what identifies them; names as parts or as text. Spec: 10 §11.4."""
    person = read_upload(message("gp-summary", "02")).metadata
    assert person["author.type"] == "agentPersonSDS"
    assert person["author/roleProfileIdCode"] == "100000000110"
    assert person["author/personIdCode"] == "100000000101"
    assert person["author/structuredName/familyName"] == "Testwell"
    assert person["author/structuredName/givenName1"] == "Ada"
    assert person["author/structuredName/prefix"] == "Dr"
    assert person["author/time"] == "20251111103045"
    assert person["eventTypeDisplayName"] == "General Practice Summary"
    organisation = read_upload(message("gp-summary", "01"), INITIAL_UPLOAD).metadata
    assert organisation["author.type"] == "agentOrgSDS"
    assert organisation["author/idCode"] == "Z99999"
    assert organisation["author/unstructuredName"] == "Example Lane Surgery"


# --- what is written is what is read --------------------------------------------------------------------------------

words = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), max_size=30)


@given(words, words, words)
@settings(max_examples=60, deadline=None)
def test_queries_survive_any_text(text: str, user: str, role: str) -> None:
    """Whatever characters a justification or an id holds, our reader gets them back from our writer."""
    heading = Heading("00000000-0000-4000-8000-000000000001", "20260302120000", "V3NPfIT4.2.00", "1", "2")
    override = DissentOverride("1", text.strip())
    query = EventQuery(
        MessageIds(heading.message_id, EVENT), "9990000018", "ABCDEF00-0000-4000-8000-000000000001", override
    )
    person = Person(user or "1", role or "1", "R8000")
    wrapper = read_wrapper(read_xml(write_query(heading, query, person)))
    read = read_query(wrapper, HeaderFacts(EVENT, "1", "2"))
    assert isinstance(read.request, EventQuery)
    assert read.request.override == override
    assert read.request.event_id == query.event_id
    assert wrapper.person == person


@given(words)
@settings(max_examples=60, deadline=None)
def test_documents_are_written_as_they_are(text: str) -> None:
    """A document goes into an upload byte for byte and is found there again."""
    data = message("gp-summary", "02")
    upload = read_upload(mutated(data, presentation("<p/>")))
    document = upload.document.standalone().replace(b"<p/>", f"<p>{_escaped(text)}</p>".encode())
    heading = Heading(upload.event_id, "20260302120000", "V3NPfIT4.2.00", "1", "2")
    written = write_upload(UPLOAD, heading, document, None)
    found = read_upload(written).document
    assert written[found.offset : found.offset + found.length] == document


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("]]>", "]]&gt;")


def test_header_facts_name_the_list() -> None:
    """The same query under the two list interactions differs in what it leaves out. Spec: 20 §7.1."""
    for name, current_only in ((EVENT_LIST, False), ("QUPC_IN180000SM04", True)):
        root = interaction(message("psis-query", f"{name}_request"))
        read = read_query(read_wrapper(root), HeaderFacts(name, "918999000001", "918999000101"))
        assert getattr(read.request, "current_only", None) is current_only
