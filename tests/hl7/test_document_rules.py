"""Document queries and SCR applications: every rule broken, and everything that is tolerated though it is not schema.

The rows go through the real endpoint in `conformance.test_document_rules`.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import DOCUMENT_QUERIES, OID_DISSENT_OVERRIDE, OID_NHS_NUMBER
from openscr.hl7.document_query import read_document_query, write_document_query
from openscr.hl7.psis import HeaderFacts, QueryMessage
from openscr.hl7.scr_application import read_permissions_query, write_permissions_query
from openscr.hl7.wrapper import HL7, Heading, read_wrapper
from openscr.spine import (
    AckType,
    CodedValue,
    DissentOverride,
    DocumentFilter,
    DocumentListQuery,
    DocumentQuery,
    MessageIds,
    Person,
    ScrPermissionsQuery,
    TimeRange,
)
from openscr.transport.wsa import read_request
from openscr.transport.xml import read_xml

from .document_rules import (
    ACT,
    BY_DATE,
    BY_TYPE,
    DOCUMENT_RULES,
    FILTER,
    GROUP,
    LIST,
    ONE,
    QUERY,
    SCRA,
    SCRA_QUERY,
    SCRA_RULES,
    SOAP_ACT,
    SOME_SET,
)
from .mutation import Change, add, both, drop, empty, mutated, put
from .rules import Row, message
from .test_rules import issues, told

SET_ID = "9A1C2E34-0000-4000-8000-00000000AB01"
DOCUMENT_ID = "3CEECF48-0827-5F1A-BD0A-6D5CA43E4ACE"


def read(data: bytes, base: str) -> QueryMessage:
    return read_document_query(read_wrapper(read_xml(data)), None, base.partition("_request")[0])


def read_scra(data: bytes) -> QueryMessage:
    request = read_request(read_xml(data), "HAS_SCRA_PERMISSIONS_INSM01")
    assert request.body is not None
    facts = HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)
    return read_permissions_query(read_wrapper(request.body), facts)


def check(row: Row, read: QueryMessage) -> None:
    assert told(read.findings) == list(row.found)
    assert read.request is None
    assert read.refusal is not None
    assert read.refusal.ack is AckType.ERROR
    assert issues(read.refusal) == list(row.issues)


@pytest.mark.parametrize("row", DOCUMENT_RULES, ids=str)
def test_document_rules(row: Row) -> None:
    """Rules B, C, A, Q, F and P: 400, then one reason for each field, in the order of the rules. Spec: 20 §9.2, §12."""
    check(row, read(mutated(message("psis-query", row.base), row.change), row.base))


@pytest.mark.parametrize("row", SCRA_RULES, ids=str)
def test_rules_of_scr_applications(row: Row) -> None:
    """Spec: 30 §5.4, 20 §9.2."""
    check(row, read_scra(mutated(message("psis-query", row.base), row.change)))


def test_a_missing_id_cannot_be_answered_over_soap() -> None:
    """Over ebXML it can: the ebXML id stands in its place. Spec: 20 §9.2."""
    wrapper = read_wrapper(read_xml(mutated(message("psis-query", LIST), drop("h:id"))))
    facts = HeaderFacts("QUPC_IN160101UK05", wrapper.receiver_asid, wrapper.sender_asid)
    over_soap = read_document_query(wrapper, facts, "QUPC_IN160101UK05")
    assert over_soap.unanswerable == "/SOAP:Envelope/SOAP:Body/hl7:QUPC_IN160101UK05/hl7:id"
    assert over_soap.refusal is None
    over_ebxml = read_document_query(wrapper, None, "QUPC_IN160101UK05")
    assert over_ebxml.unanswerable is None
    assert over_ebxml.refusal is not None


# --- what is tolerated ----------------------------------------------------------------------------------------------


def list_of(*changes: Change, base: str = LIST) -> DocumentListQuery:
    found = read(mutated(message("psis-query", base), *changes), base)
    assert found.findings == ()
    assert isinstance(found.request, DocumentListQuery)
    return found.request


def document_of(*changes: Change) -> DocumentQuery:
    found = read(mutated(message("psis-query", ONE), *changes), ONE)
    assert found.findings == ()
    assert isinstance(found.request, DocumentQuery)
    return found.request


RANGE = TimeRange("20200101000000", "20250605235959")


def test_the_examples_are_read() -> None:
    asked = list_of()
    assert asked.nhs_number == "9990012318"
    assert asked.override == DissentOverride("0", "")
    assert asked.wanted == DocumentFilter(
        document_type=CodedValue("196981000000101", "2.16.840.1.113883.2.1.3.2.4.15"), date=RANGE
    )
    assert list_of(base=BY_DATE).wanted == DocumentFilter(date=RANGE)
    heading = CodedValue("163131000000108", "2.16.840.1.113883.2.1.3.2.4.15")
    assert list_of(base=BY_TYPE).wanted == DocumentFilter(cre_type=heading, date=RANGE)
    assert (document_of().document_id, document_of().set_id) == (DOCUMENT_ID, "")


@pytest.mark.parametrize("change", [empty(FILTER), drop(FILTER)])
def test_an_empty_or_missing_filter_wants_all(change: Change) -> None:
    """Spec: 20 §4.4, §12 "Behaviours"."""
    assert list_of(change).wanted == DocumentFilter()


@pytest.mark.parametrize("name", ["setId", "setID"])
def test_both_spellings_of_the_set(name: str) -> None:
    """Spec: 20 §4.2."""
    some = SOME_SET.replace("setId", name)
    assert list_of(both(empty(FILTER), add(FILTER, some))).wanted == DocumentFilter(set_id=SET_ID)
    found = document_of(both(empty(FILTER), add(FILTER, some)))
    assert (found.document_id, found.set_id) == ("", SET_ID)


def test_dates_in_attributes() -> None:
    """One rule file of Spine's wants them so; the schema does not. Spec: 20 §4.3."""
    attributes = both(
        drop(f"{FILTER}/h:date//h:low"),
        drop(f"{FILTER}/h:date//h:high"),
        put(f"{FILTER}/h:date/h:value", "low", "2020"),
        put(f"{FILTER}/h:date/h:value", "high", "202506"),
    )
    for base in (LIST, BY_TYPE, BY_DATE):
        assert list_of(attributes, base=base).wanted.date == TimeRange("2020", "202506")


@pytest.mark.parametrize("time", ["2025", "202506", "20250605", "2025060512", "202506051230", "20250605123000+0100"])
def test_times_of_any_precision(time: str) -> None:
    asked = list_of(put(f"{FILTER}/h:date//h:low", "value", time), base=BY_DATE)
    assert asked.wanted.date == TimeRange(time, RANGE.high)


def test_either_order_of_value_and_text() -> None:
    """Spec: 20 §4: the server reads both orders in both families."""

    def turn(root: etree._Element) -> None:
        for text in list(root.iter(f"{HL7}semanticsText")):
            value = text.getnext() if text.getnext() is not None else text.getprevious()
            assert value is not None
            value.addnext(text)

    for base in (LIST, BY_TYPE, BY_DATE):
        assert list_of(turn, base=base) == list_of(base=base)
    assert document_of(turn) == document_of()


def test_the_document_id_in_either_case() -> None:
    lower = put(f"{FILTER}/h:documentID/h:value", "root", DOCUMENT_ID.lower())
    assert document_of(lower).document_id == DOCUMENT_ID


def test_what_the_adaptor_s_clients_send() -> None:
    """No author, another environment's receiver, an older version, an override of 0 with words. Spec: 20 §15.5."""
    change = both(
        drop(f"{ACT}/h:author"),
        put("h:communicationFunctionRcv//h:id", "extension", "YES-0000806"),
        put("h:versionCode", "code", "3NPfIT7.2.00"),
        add(f"{QUERY}/h:dissentOverride/h:value", "<originalText>means nothing</originalText>"),
        put(f"{QUERY}/h:dissentOverride/h:value", "displayName", "No override"),
    )
    assert list_of(change).override == DissentOverride("0", "means nothing")


def test_who_would_look_is_a_person_or_a_workgroup() -> None:
    """Spec: 20 §11.1."""
    found = read_scra(message("psis-query", SCRA)).request
    assert isinstance(found, ScrPermissionsQuery)
    assert (found.asker, found.role_profile, found.workgroups) == ("555000000222", "555000000222", ("555000000333",))
    group = both(empty(f"{SCRA_QUERY}/h:subject"), add(f"{SCRA_QUERY}/h:subject", GROUP))
    found = read_scra(mutated(message("psis-query", SCRA), group)).request
    assert isinstance(found, ScrPermissionsQuery)
    assert (found.role_profile, found.workgroups, found.workgroup) == ("", (), "555000000333")


def test_the_participants_of_that_question_are_only_counted() -> None:
    """Spec: 30 §5.4."""
    for change in (
        drop(f"{SOAP_ACT}/h:author"),
        drop(f"{SOAP_ACT}/h:author//h:partSDSRole"),
        put(f"{SOAP_ACT}/h:author1//h:id", "root", "1.2.3"),
    ):
        assert read_scra(mutated(message("psis-query", SCRA), change)).findings == ()


# --- written and read -----------------------------------------------------------------------------------------------

WORD = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12).filter(
    lambda text: text == text.strip() and "￾" not in text and "￿" not in text
)
TIME = st.sampled_from(["2024", "202402", "20240229", "20240229103000"])
CODE = st.builds(CodedValue, WORD, WORD)
UUID = st.uuids().map(lambda value: str(value).upper())
OVERRIDE = st.builds(DissentOverride, st.sampled_from("012345"), WORD | st.just(""))
FILTERS = st.one_of(
    st.builds(
        lambda kind, date: DocumentFilter(document_type=kind, date=date),
        CODE | st.none(),
        st.builds(TimeRange, TIME, TIME) | st.none(),
    ),
    st.builds(lambda set_id: DocumentFilter(set_id=set_id), UUID),
)


@given(FILTERS, OVERRIDE)
def test_lists_are_read_as_they_were_written(wanted: DocumentFilter, override: DissentOverride) -> None:
    """Whatever our client asks for is what the service understands, for every filter and every override."""
    ids = MessageIds("D6EEE2CE-F8ED-59C4-A2E9-32A38308E58B", "QUPC_IN160101UK05")
    asked = DocumentListQuery(ids, "9990012318", override, wanted)
    found = round_trip(write_document_query(HEADING, asked, PERSON), ids.interaction)
    assert found == asked


@given(UUID, st.booleans(), OVERRIDE, st.sampled_from(["QUPC_IN160103UK05", "QUPC_IN160202UK04"]))
def test_documents_are_read_as_they_were_written(
    wanted: str, by_set: bool, override: DissentOverride, name: str
) -> None:
    ids = MessageIds("D6EEE2CE-F8ED-59C4-A2E9-32A38308E58B", name)
    asked = DocumentQuery(ids, "9990012318", "" if by_set else wanted, wanted if by_set else "", override)
    assert round_trip(write_document_query(HEADING, asked, PERSON), name) == asked


@given(WORD, WORD, st.lists(WORD, max_size=3), st.booleans())
def test_questions_of_scr_applications_are_read_as_they_were_written(
    asker: str, subject: str, groups: list[str], workgroup: bool
) -> None:
    ids = MessageIds("D6EEE2CE-F8ED-59C4-A2E9-32A38308E58B", "HAS_SCRA_PERMISSIONS_INSM01")
    asked = (
        ScrPermissionsQuery(ids, "9990012318", asker, workgroup=subject)
        if workgroup
        else ScrPermissionsQuery(ids, "9990012318", asker, subject, tuple(groups))
    )
    wrapper = read_wrapper(read_xml(write_permissions_query(HEADING, asked, PERSON)))
    read = read_permissions_query(wrapper, HeaderFacts(ids.interaction, "918999000001", "918999000101"))
    assert read.findings == ()
    assert read.request == asked


HEADING = Heading(
    "D6EEE2CE-F8ED-59C4-A2E9-32A38308E58B", "20250605143210", "3NPfIT7.2.02", "918999000001", "918999000101"
)
PERSON = Person("555000000111", "555000000222", "R8000")


def round_trip(data: bytes, interaction: str) -> object:
    root = read_xml(data)
    found = read_document_query(read_wrapper(root), None, interaction)
    assert found.findings == ()
    assert found.request is not None
    return found.request


@given(st.binary(max_size=40), st.sampled_from(sorted(DOCUMENT_QUERIES)))
def test_no_filter_whatever_makes_the_reader_stumble(noise: bytes, interaction: str) -> None:
    """Elements in any number, any value: a finding or a request, never anything else."""
    names = ["setId", "setID", "date", "documentType", "documentID", "cREType"]
    parts = "".join(
        f'<{names[byte % 6]}><value code="{byte}" codeSystem="{"x" * (byte & 1)}" root="{"y" * (byte & 2)}">'
        f'<low value="20{byte % 90 + 10}"/>{"<high/>" * (byte & 4)}</value></{names[byte % 6]}>'
        for byte in noise
    )
    data = (
        f'<{interaction} xmlns="urn:hl7-org:v3"><ControlActEvent><query><dissentOverride><value code="0" '
        f'codeSystem="{OID_DISSENT_OVERRIDE}"/></dissentOverride><filterParameters>{parts}</filterParameters>'
        f'<nHSNumber><value root="{OID_NHS_NUMBER}" extension="9990012318"/></nHSNumber></query></ControlActEvent>'
        f"</{interaction}>"
    )
    found = read_document_query(read_wrapper(read_xml(data.encode())), None, interaction)
    assert found.findings
    assert found.nhs_number == "9990012318"
