"""Level ``strict``: every example judged as its name says, a fault of each kind of constraint, what always holds.

How it agrees with the published schemas is in tests/conformance/test_strict_agreement.py.
"""

import re
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from conformance.agreement import ALERT, examples, generated
from conformance.distortion import distorted
from conformance.examples import capture
from hl7.mutation import Change, both, drop, find, mutated, put, repeat, say, without
from openscr.codes import UPLOAD, XSI_NS
from openscr.hl7.strict import STRICT_INTERACTIONS, check_strict
from openscr.hl7.wrapper import HL7, local_name
from openscr.transport.xml import read_xml
from shared import MESSAGES

TYPE = f"{{{XSI_NS}}}type"
UNPUBLISHED = {
    # Nothing is published of what they hold. Spec: 20 §11.
    "15-has-scra-response.xml",
    "HAS_SCRA_PERMISSIONS_INSM01_response_soap.xml",
    "SCRA_EXTENDEDRESPONSE_INSM01_response_soap.xml",
}
FILES = sorted(
    path
    for path in MESSAGES.glob("*/*.xml")
    if b"<ControlActEvent" in path.read_bytes() and path.name not in UNPUBLISHED
)
INVALID = {
    # No schema has requestSuccessDetail, though Spine sends it. Spec: 10 §13, §18.
    "ack-AA_MCCI_IN010000UK13.xml": ["ControlActEvent has no place for requestSuccessDetail"],
    "n5-has-no-access-control-set.xml": ["accessControlQuery must hold accessControlSet, and it is missing."],
    "n6-set-no-permission-value.xml": ['The text of permission must be "Yes", "No" or "Clear".'],
}


def interaction_of(data: bytes) -> etree._Element:
    """The interaction that a file holds, with or without an envelope."""
    return next(
        each
        for each in read_xml(data).iter("*")
        if local_name(each).isupper() and each.find(f"{HL7}ControlActEvent") is not None
    )


def texts(root: etree._Element, interaction: str = "") -> list[str]:
    return [finding.text for finding in check_strict(root, interaction or local_name(root))]


# --- the examples -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_example_is_judged_as_its_table_says(path: Path) -> None:
    """Spec: 10 §18, 20 §14, 30 §12."""
    data = path.read_bytes()
    found = texts(interaction_of(data))
    assert len(found) == len(INVALID.get(path.name, ()))
    for text, expected in zip(found, INVALID.get(path.name, ()), strict=True):
        assert text.startswith(expected)


def test_a_real_sender_s_order_is_told() -> None:
    """The public clients write the systems before the person. Spec: 10 §3, §17."""
    sent = capture("19").multipart()
    assert texts(interaction_of(sent.parts[1].content(sent.body))) == ["author must stand before author1."]


def test_the_alert() -> None:
    """The specification has no example of it. Spec: 80 §5.2."""
    assert texts(read_xml(ALERT)) == []


def test_a_document_alone() -> None:
    """A summary and a withdrawal are judged without a message around them."""
    for name, interaction, element in (("02", UPLOAD, "GPSummary"), ("04", "REPC_IN150018UK02", "MessageWithdrawal")):
        document = next(read_xml(message(name)).iter(f"{HL7}{element}"))
        assert texts(document, interaction) == []


def test_what_has_no_grammar() -> None:
    with pytest.raises(KeyError):
        check_strict(etree.Element("x"), "QUPC_IN999999UK99")


def test_another_interaction_than_it_is_called() -> None:
    root = read_xml(message("02"))
    assert texts(root, "REPC_IN150016SM05")[0] == ("REPC_IN150016UK05 must be REPC_IN150016SM05, an element of HL7 V3.")


# --- one fault for each kind of constraint ----------------------------------------------------------------------------


def message(name: str) -> bytes:
    for folder in ("gp-summary", "psis-query", "acs"):
        for path in sorted((MESSAGES / folder).glob(f"{name}*")):
            return path.read_bytes()
    raise AssertionError(name)


def retag(path: str, tag: str) -> Change:
    def change(root: etree._Element) -> None:
        find(root, path)[0].tag = tag

    return change


def insert(path: str, tag: str, at: int = 0) -> Change:
    def change(root: etree._Element) -> None:
        find(root, path)[0].insert(at, etree.Element(tag))

    return change


def tail(path: str, text: str) -> Change:
    def change(root: etree._Element) -> None:
        find(root, path)[0].tail = text

    return change


def swap(path: str) -> Change:
    """Let the element and the one behind it change places."""

    def change(root: etree._Element) -> None:
        element = find(root, path)[0]
        following = element.getnext()
        assert following is not None
        following.addnext(element)

    return change


H = "{xhtml:NPfIT:PresentationText}"
SUMMARY = "//h:GPSummary"
ENTRY = "//*[contains(local-name(), 'AcuteMedication')]"
FAULTS: list[tuple[str, str, Change, list[str]]] = [
    (
        "a child is missing",
        "02",
        drop(f"{SUMMARY}/h:effectiveTime"),
        ["GPSummary must hold effectiveTime, and it is missing."],
    ),
    (
        "a child is there twice",
        "02",
        repeat(f"{SUMMARY}/h:statusCode"),
        ["GPSummary may hold statusCode only once, and it holds 2."],
    ),
    (
        "children out of order",
        "02",
        swap(f"{SUMMARY}/h:effectiveTime"),
        ["effectiveTime must stand before statusCode."],
    ),
    (
        "an unknown child",
        "02",
        insert(SUMMARY, f"{HL7}title"),
        ["GPSummary has no place for title; it may hold id, code,"],
    ),
    (
        "a child of another namespace",
        "02",
        retag(f"{SUMMARY}/h:statusCode", "{urn:elsewhere}statusCode"),
        ["GPSummary must hold statusCode, and it is missing.", "statusCode must be an element of HL7 V3."],
    ),
    (
        "a third system",
        "02",
        both(repeat("//h:author1"), repeat("//h:author1")),
        ["ControlActEvent may hold author1 at most 2 times."],
    ),
    (
        "a fixed attribute",
        "02",
        put(f"{SUMMARY}/h:excerptFrom", "negationInd", "true"),
        ['@negationInd of excerptFrom must be "false".'],
    ),
    (
        "a missing attribute",
        "02",
        without(f"{SUMMARY}/h:excerptFrom", "negationInd"),
        ['excerptFrom must have @negationInd: "false".'],
    ),
    ("an unknown attribute", "02", put(SUMMARY, "version", "1"), ["GPSummary has no attribute @version here."]),
    (
        "a code of a list",
        "02",
        put(f"{ENTRY}/h:statusCode", "code", "held"),
        ['@code of statusCode must be "aborted", "active", "completed", "normal" or "nullified".'],
    ),
    (
        "a display name",
        "02",
        put(f"{SUMMARY}/h:code", "displayName", "Summary"),
        ['@displayName of code must be "General Practice Summary".'],
    ),
    (
        "a heading that there is not",
        "02",
        put("(//h:pertinentCREType/h:code)[1]", "code", "1"),
        ["@code of code must be one of"],
    ),
    (
        "a UUID in lower case",
        "02",
        put(f"{SUMMARY}/h:id", "root", "a1b2c3d4-0000-4000-8000-000000000001"),
        ["@root of id must be a UUID in upper case."],
    ),
    (
        "a time",
        "02",
        put(f"{SUMMARY}/h:effectiveTime", "value", "2025-11-11"),
        ["@value of effectiveTime must be a time: digits YYYYMMDDHHMMSS, or fewer from the left."],
    ),
    (
        "an NHS number of nine digits",
        "02",
        put(f"{SUMMARY}/h:recordTarget/h:patient/h:id", "extension", "999001201"),
        ["@extension of id must be digits ([0-9]{10})."],
    ),
    (
        "a version code",
        "02",
        put("//h:versionCode", "code", "V3NPfIT6.3.01"),
        ["@code of versionCode must be a version code of the list, for example V3NPfIT4.2.00."],
    ),
    (
        "a relationship that there is not",
        "06",
        put("//h:nonAgentRole/h:code", "code", "22"),
        ['@code of code must be one of "01", "02"'],
    ),
    ("ITSVersion", "02", without("/*", "ITSVersion"), ['REPC_IN150016UK05 must have @ITSVersion: "XML_1.0".']),
    (
        "text between elements",
        "02",
        tail(f"{SUMMARY}/h:code", "words"),
        ["GPSummary may hold elements only, and there is text between them."],
    ),
    (
        "a hard space is text",
        "02",
        tail(f"{SUMMARY}/h:code", "\u00a0"),
        ["GPSummary may hold elements only, and there is text between them."],
    ),
    (
        "white space in what is empty",
        "02",
        say(f"{SUMMARY}/h:code", " "),
        ["code must be empty: not even white space may stand inside."],
    ),
    (
        "an interval of three",
        "02",
        both(
            insert("(//h:effectiveTime[h:low])[1]", f"{HL7}center"),
            insert("(//h:effectiveTime[h:low])[1]", f"{HL7}width"),
        ),
        ["The content of effectiveTime is not complete or not in order"],
    ),
    (
        "a value without a type",
        "03",
        without("(//h:value[@xsi:type])[1]", TYPE),
        ["@xsi:type of value must name a data type of HL7, for example PQ."],
    ),
    (
        "a type that there is not",
        "03",
        put("(//h:value[@xsi:type])[1]", TYPE, "XX"),
        ["@xsi:type of value must name a data type of HL7, for example PQ."],
    ),
    (
        "a type that is no narrower one",
        "02",
        put(f"({ENTRY}//h:quantity)[1]", TYPE, "CD"),
        ["@xsi:type of quantity must name PQ or one derived from it."],
    ),
    (
        "an organisation writes an update",
        "02",
        retag("//h:GPSummary/h:author/*[2]", f"{HL7}UKCT_MT160017UK01.AgentOrgSDS"),
        [
            "author must hold UKCT_MT160018UK01.AgentPersonSDS or UKCT_MT160018UK01.AgentPerson, and it is missing.",
            "author has no place for UKCT_MT160017UK01.AgentOrgSDS; it may hold time,",
        ],
    ),
    (
        "a heading of the first level",
        "02",
        retag("(//x:h2)[1]", f"{H}h1"),
        ["body has no place for h1; it may hold one of 12 elements, among them h2, h3, h4."],
    ),
    ("markup inside a line", "02", insert("(//x:h2)[1]", f"{H}b"), ["h2 has no place for b."]),
    ("a table without rows", "02", drop("(//x:table)[1]/x:tbody"), ["table must hold tbody or tr, and it is missing."]),
    (
        "a link that leads away",
        "02",
        both(insert("(//x:td)[1]", f"{H}a"), put("(//x:a)[1]", "href", "http://x")),
        ["@href of a must be a link within the text, which begins with #."],
    ),
    ("no text", "02", drop("//x:html"), ["value must hold html, and it is missing."]),
    (
        "a pointer that leads nowhere",
        "03",
        put("(//h:pertinentInformation//h:Diagnosis/h:id)[1]", "root", "A1B2C3D4-0000-4000-8000-00000000FFFF"),
        ["Diagnosis must point at an entry of this summary, and none has its id."],
    ),
    (
        "a withdrawal of something that is no UUID",
        "04",
        put("//h:messageRef/h:id", "root", "1.2.3"),
        ["@root of id must be a UUID in upper case."],
    ),
    (
        "a withdrawal for another reason",
        "04",
        put("//h:justifyingReason/h:code", "code", "04"),
        ['@code of code must be "01", "02" or "03".'],
    ),
    (
        "a withdrawal by somebody else's number",
        "04",
        put("//h:MessageWithdrawal/h:author//h:agentPersonSDS/h:id", "root", "1.2.3"),
        ['@root of id must be "1.2.826.0.1285.0.2.0.65".'],
    ),
    (
        "the value before what it is",
        "QUPC_IN160101UK05_request_payload",
        swap("//h:nHSNumber/h:semanticsText"),
        ["semanticsText must stand before value."],
    ),
    (
        "what it is before the value",
        "QUPC_IN180000UK04",
        swap("//h:nHSNumber/h:value"),
        ["value must stand before semanticsText."],
    ),
    (
        "a parameter that is called otherwise",
        "QUPC_IN160101UK05_request_payload",
        say("//h:nHSNumber/h:semanticsText", "nhsNumber"),
        ['The text of semanticsText must be "NHSNumber".'],
    ),
    (
        "an override that there is not",
        "QUPC_IN160101UK05_request_payload",
        put("//h:dissentOverride/h:value", "code", "6"),
        ["@code of value must be"],
    ),
    (
        "setID",
        "QUPC_IN160101UK05_request_payload",
        insert("//h:filterParameters", f"{HL7}setID"),
        ["filterParameters has no place for setID; it may hold date, documentType and setId."],
    ),
    ("Ask", "01-set", say("(//crs:permission)[1]", "Ask"), ['The text of permission must be "Yes", "No" or "Clear".']),
    (
        "another function",
        "06-get",
        insert("//crs:accessControlQuery", "{http://national.carerecords.nhs.uk/schema/crs/}function", 1),
        ["accessControlQuery has no place for function; it may hold resourceContext and queryCriteria."],
    ),
    (
        "two kinds of accessor id",
        "01-set",
        repeat("(//crs:accessorId/crs:name)[1]"),
        ["accessorId may hold id or name only once, and it holds 2."],
    ),
]


@pytest.mark.parametrize(("base", "change", "expected"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_one_fault_is_one_finding(base: str, change: Change, expected: list[str]) -> None:
    """Each kind of constraint, broken once."""
    found = texts(interaction_of(mutated(message(base), change)))
    assert len(found) == len(expected), found
    for text, begin in zip(found, expected, strict=True):
        assert text.startswith(begin), text


# --- what always holds ------------------------------------------------------------------------------------------------

BASES = examples()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_findings_are_in_order_have_places_and_quote_nothing(seed: int) -> None:
    """Whatever is wrong: each finding has its element, they come in document order, and no value is in a text."""
    random = Random(seed)
    base = generated(random) if random.random() < 0.4 else random.choice(BASES)
    root, _ = distorted(base, random, most=4)
    interaction = UPLOAD if local_name(base) == "GPSummary" else local_name(base)
    findings = check_strict(root, interaction)
    order = {element: number for number, element in enumerate(root.iter())}
    places = [order[finding.place] for finding in findings if finding.place is not None]
    assert len(places) == len(findings)
    assert places == sorted(places)
    # Numbers of patients, persons, systems, and the ids of entries; an OID may be what is wanted, so may a digit.
    said = {number for element in root.iter("*") if re.fullmatch(r"\d{6,}", number := str(element.get("extension")))}
    said |= {uuid for element in root.iter("*") if "-" in (uuid := str(element.get("root")))}
    for finding in findings:
        assert finding.rule in {"gp-strict", "wd-strict", "psis-strict", "acs-strict", "alert-strict"}
        assert finding.text.endswith(".")
        assert not [value for value in said if value in finding.text]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32))
def test_comments_and_prefixes_change_nothing(seed: int) -> None:
    """A message says the same with other prefixes, and with remarks anywhere."""
    random = Random(seed)
    root, _ = distorted(random.choice(BASES), random)
    interaction = local_name(root)
    if interaction not in STRICT_INTERACTIONS:
        return
    before = texts(root, interaction)
    copy = etree.fromstring(etree.tostring(root))
    for element in random.choices([each for each in copy.iter("*") if each.text is None], k=5):
        element.insert(0, etree.Comment("remark"))
    assert texts(copy, interaction) == before
    if not any(TYPE in element.attrib for element in root.iter("*")):
        # A type is named with a prefix, too, and would have to change with it.
        wrapped = etree.Element("{urn:elsewhere}all", nsmap={"hl7": HL7.strip("{}")})
        wrapped.append(etree.fromstring(etree.tostring(root)))
        assert texts(wrapped[0], interaction) == before


def test_depth_and_breadth_cost_what_they_weigh() -> None:
    """Paragraphs within paragraphs, faults within faults: each is judged once."""
    root = read_xml(message("02"))
    body = next(root.iter(f"{H}body"))
    for _ in range(150):
        below = etree.SubElement(body, f"{H}p")
        below.set("colour", "red")
        etree.SubElement(body, f"{H}h1")
        body = below
    assert len(texts(root)) == 2 * 150
