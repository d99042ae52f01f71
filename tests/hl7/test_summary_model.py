"""Summaries between the clinical model and HL7 V3: nothing is lost on the way, and what we write is valid."""

from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from clinical.generation import Generator
from openscr import clinical
from openscr.clinical import ENTRY_TYPES, SdsPerson, Summary, read_json, write_json
from openscr.clinical.headings import HEADINGS
from openscr.codes import HL7_NS, PRESENTATION_NS
from openscr.errors import NoSummary, UnwritableSummary
from openscr.hl7.datatypes import NotWritable
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.summary_reader import read_summary, read_summary_element
from openscr.hl7.summary_writer import compose, person_of, write_summary
from openscr.hl7.wrapper import HL7, Heading
from openscr.transport.xml import read_xml
from shared import MESSAGES, summary_schemas

NOW = datetime(2025, 11, 11, 10, 30, 45, tzinfo=UTC)
EXAMPLES = sorted(path for path in (MESSAGES / "gp-summary").glob("0[1-356]-*.xml"))


def made(seed: int, **choice: Any) -> Summary:
    generator = Generator(Random(seed))
    return compose(generator.summary(**choice), generator.uuid, NOW)


def check(summary: Summary) -> tuple[Summary, etree._Element]:
    """Everything is kept by HL7 and by JSON, ids are unique. Returns what was read, and the document."""
    document = read_xml(write_summary(summary))
    reading = read_summary_element(document)
    assert reading.remarks == ()
    # What stands in the wrapper alone is put back; the text is compared by itself.
    found = replace(
        reading.summary,
        interaction=summary.interaction,
        message_id=summary.message_id,
        presentation=summary.presentation,
    )
    if isinstance(summary.author, SdsPerson):
        found = replace(found, author=replace(found.author, job_role=summary.author.job_role))
    assert found == summary
    assert read_json(write_json(summary)) == summary
    ids = [each.get("root") for each in OWN_IDS(document)]
    assert len(ids) == len(set(ids))
    return found, document


OWN_IDS = etree.XPath("h:pertinentInformation2/*/h:component/*/h:id", namespaces={"h": HL7_NS})


# --- properties -----------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False))
def test_reading_what_was_written_gives_the_same_summary(random: Random) -> None:
    """Every coded entry, date, author and text is kept, in HL7 and in JSON."""
    generator = Generator(random)
    summary = compose(generator.summary(), generator.uuid, NOW)
    _, document = check(summary)
    assert summary.presentation is not None
    text = next(document.iter(f"{{{PRESENTATION_NS}}}html"))
    assert etree.tostring(text, method="c14n", exclusive=True) == etree.tostring(
        read_xml(summary.presentation.html.encode()), method="c14n", exclusive=True
    )


def test_two_thousand_summaries_are_valid_under_both_schema_sets() -> None:
    """Thousands of summaries of every shape, each valid against both published schema sets, each kept whole."""
    updates = summary_schemas("REPC_MT150007UK05")
    initials = summary_schemas("REPC_MT150002UK05")
    seen: Counter[str] = Counter()
    for seed in range(2000):
        summary = made(seed)
        _, document = check(summary)
        for schema in initials if summary.initial else updates:
            schema.assertValid(document)
        seen.update(type(entry).__name__ for entry in summary.entries())
        seen["initial"] += summary.initial
    assert set(seen) == {*ENTRY_TYPES, "initial"}
    assert min(seen.values()) > 20


@pytest.mark.parametrize("name", ENTRY_TYPES)
def test_every_member_of_every_record_element(name: str) -> None:
    """Each member of each type is written and read back at some time, with and without a value."""
    of = ENTRY_TYPES[name]
    held: Counter[str] = Counter()
    for seed in range(60):
        summary, _ = check(made(seed, types=[of]))
        (entry,) = summary.entries()
        assert type(entry) is of
        held.update(each.name for each in fields(entry) if getattr(entry, each.name) not in (None, ()))
    assert set(held) == {each.name for each in fields(of)}


# --- the examples of the specification ------------------------------------------------------------------------------


def tidy(element: etree._Element) -> bytes:
    """Canonical XML without white space between elements, headings in the written order."""
    element = etree.fromstring(etree.tostring(element))
    for each in element.iter("*"):
        if len(each) and not (each.text or "").strip():
            each.text = None
        if not (each.tail or "").strip():
            each.tail = None
    order = [heading.code for heading in HEADINGS]
    for document in element.iter(f"{HL7}GPSummary"):
        headings = document.findall(f"{HL7}pertinentInformation2")
        places = [document.index(each) for each in headings]
        headings.sort(key=lambda each: order.index(each[2][0].get("code", "")))
        for place, each in zip(places, headings, strict=True):
            document.insert(place, each)
    return etree.tostring(element, method="c14n")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name[:2])
def test_the_examples_are_read_and_written_as_they_are(path: Any) -> None:
    """Each example of the specification is read without remark, and written again element for element."""
    document = next(etree.fromstring(path.read_bytes()).iter(f"{HL7}GPSummary"))
    reading = read_summary(path.read_bytes())
    assert reading.remarks == ()
    assert tidy(etree.fromstring(write_summary(reading.summary))) == tidy(document)
    assert read_json(write_json(reading.summary)) == reading.summary


def test_the_json_example_is_example_02() -> None:
    """The worked example in JSON, written with the ASIDs of example 02, is example 02."""
    summary = read_json((MESSAGES / "gp-summary" / "summary.json").read_bytes())
    summary = compose(summary, lambda: pytest.fail("nothing is left to mint"), NOW)
    heading = Heading(summary.message_id or "", summary.created or "", "V3NPfIT4.2.00", "200000000999", "200000000101")
    written = write_upload(summary.interaction, heading, write_summary(summary), person_of(summary))
    (path,) = (MESSAGES / "gp-summary").glob("02-*")
    assert tidy(etree.fromstring(written)) == tidy(etree.fromstring(path.read_bytes()))


# --- leniency -------------------------------------------------------------------------------------------------------


def example(number: str) -> str:
    (path,) = (MESSAGES / "gp-summary").glob(f"{number}-*")
    return path.read_text()


@pytest.mark.parametrize(
    ("change", "kinds"),
    [
        (("<statusCode code=\"completed\"/>\n                <effectiveTime>", "<effectiveTime>"), {"missing"}),
        (("UKCT_MT144053UK02.Allergy", "UKCT_MT144053UK01.Allergy"), {"differs"}),
        (('classCode="MMAT"', 'classCode="MAT"'), {"differs"}),
        (("<seperatableInd value=\"false\"/>", "<seperatableInd value=\"false\" CodeSystem=\"x\"/>"), {"unknown"}),
        (("<low value=\"20210312\"/>", "<low value=\"12/03/2021\"/>"), {"unreadable", "missing"}),
        (("<value>One daily</value>", ""), {"missing"}),
        (("163221000000102", "000"), {"unknown"}),
        (('displayName="Allergies and Adverse Reactions"', 'displayName="Allergies"'), {"differs"}),
        (("<head/>", ""), set()),
        (('<html xmlns="xhtml:NPfIT:PresentationText">', '<h1/><html xmlns="xhtml:NPfIT:PresentationText">'),
         {"unreadable", "missing"}),
    ],
)  # fmt: skip
def test_what_deviates_is_read_and_remarked_on(change: tuple[str, str], kinds: set[str]) -> None:
    """Nothing makes the reader give up on a summary; each deviation is one remark that quotes no content."""
    text = example("02")
    assert change[0] in text
    reading = read_summary(text.replace(*change).encode())
    assert {remark.kind for remark in reading.remarks} == kinds
    assert all(remark.line for remark in reading.remarks)
    assert "Doxycycline" not in str(reading.remarks)
    assert sum(1 for _ in reading.summary.medications) == 3


@pytest.mark.parametrize(
    "change",
    [
        ('inversionInd="true" negationInd="false"', 'inversionInd="true" negationInd="true"'),
        ('inversionInd="true" negationInd="false"', 'inversionInd="false" negationInd="false"'),
        ('Diagnosis classCode="OBS" moodCode="EVN"', 'Diagnosis classCode="OBS" moodCode="GOL"'),
        ('code="222671000000103"', 'code="1"'),
        ('root="1.2.826.0.1285.0.2.0.65"', 'root="1.2.3"'),
        ('root="2.16.840.1.113883.2.1.4.1"', 'root="1.2.3"'),
    ],
)  # fmt: skip
def test_what_changes_the_meaning_counts_as_lost(change: tuple[str, str]) -> None:
    """A negation, another mood, another fixed code, another register: never passed over in silence."""
    text = example("06")
    assert change[0] in text
    document = text[text.index("<GPSummary") : text.index("</GPSummary>")]
    changed = text.replace(document, document.replace(*change))
    assert {remark.kind for remark in read_summary(changed.encode()).lost} == {"contradicts"}


def test_any_author_is_read_and_the_right_one_written() -> None:
    """An organisation on an update, or nobody at all, is read with a remark; writing wants a person."""
    text, initial = example("02"), example("01")
    cut = slice(initial.index('<author typeCode="AUT" contextControlCode'), initial.index("<excerptFrom"))
    person = text[text.index('<author typeCode="AUT" contextControlCode') : text.index("<excerptFrom")]
    reading = read_summary(text.replace(person, initial[cut]).encode())
    assert isinstance(reading.summary.author, clinical.SdsOrganisation)
    assert [remark.name for remark in reading.remarks] == ["author"]
    with pytest.raises(UnwritableSummary, match="/author the author of a summary is a person"):
        write_summary(reading.summary)
    nobody = read_summary(text.replace(person, "").encode())
    assert {remark.kind for remark in nobody.remarks} == {"missing"}
    with pytest.raises(UnwritableSummary, match="/author/user_id is missing"):
        write_summary(nobody.summary)


def test_a_pressure_without_its_parts_is_read_and_printed() -> None:
    """What a message should have had and has not never keeps the rest from being read."""
    text = example("03")
    lower = text[text.index("<component1") : text.index("<component2")]
    reading = read_summary(text.replace(lower, "").encode())
    (pressure,) = [entry for entry in reading.summary.observations if isinstance(entry, clinical.BloodPressure)]
    assert pressure.diastolic.value.value == ""
    assert clinical.narrate(reading.summary).sections


def test_other_prefixes_and_orders_are_read_alike() -> None:
    """A document under a prefix, its children in another order, is the same summary."""
    text = example("02")
    plain = read_summary(text.encode()).summary
    document = next(etree.fromstring(text.encode()).iter(f"{HL7}GPSummary"))
    prefixed = etree.Element(f"{HL7}GPSummary", document.attrib, nsmap={"verylongnamespace": HL7_NS})
    prefixed.extend(reversed(list(document)))
    reading = read_summary(etree.tostring(prefixed))
    assert {remark.kind for remark in reading.remarks} == {"order"}
    assert replace(reading.summary, author=replace(reading.summary.author, job_role="R8000")) == plain  # type: ignore[call-arg]


def test_text_twice_is_said_once() -> None:
    """A child that stands twice with the same value is no loss; with another value it is one."""
    text = example("02").replace('<statusCode code="active"/>', '<statusCode code="active"/>' * 2)
    again = read_summary(text.encode())
    assert {remark.kind for remark in again.remarks} == {"again"}
    assert again.lost == ()
    other = text.replace('<statusCode code="active"/>', '<statusCode code="nullified"/>', 1)
    assert {remark.kind for remark in read_summary(other.encode()).lost} == {"repeated"}


def test_a_cutting_of_a_summary_is_read() -> None:
    """What is there is read, what is not is remarked on, down to an empty element."""
    reading = read_summary(f'<GPSummary xmlns="{HL7_NS}"/>'.encode())
    assert reading.summary.event_id is None
    assert {remark.kind for remark in reading.remarks} == {"missing"}
    with pytest.raises(UnwritableSummary):
        write_summary(reading.summary)


@pytest.mark.parametrize("text", ["<x/>", f'<x><GPSummary xmlns="{HL7_NS}"/><GPSummary xmlns="{HL7_NS}"/></x>'])
def test_what_is_no_summary_is_refused(text: str) -> None:
    with pytest.raises(NoSummary):
        read_summary(text.encode())


# --- what cannot be written -----------------------------------------------------------------------------------------


def sample(**members: Any) -> Summary:
    author = clinical.SdsPerson(
        role_profile_id="100000000110", user_id="100000000101", name=clinical.Name(text="Dr Ada Testwell")
    )
    members = {"author": author, "patient": clinical.Patient("9990000018"), **members}
    return compose(Summary(**members), Generator(Random(1)).uuid, NOW)


PENICILLIN = clinical.Coded("91936005", "Allergy to penicillin")
DAY = clinical.Time("2021-03-12")


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"allergies": (clinical.Allergy(code=clinical.Coded(""), time=DAY),)}, "/allergies/0/code is missing"),
        ({"allergies": (clinical.Allergy(code=PENICILLIN, time=clinical.Interval()),)}, "/allergies/0/time is missing"),
        ({"allergies": (clinical.Allergy(code=PENICILLIN, time=DAY, status="done"),)}, "statusCode must be one of"),
        (
            {"allergies": (clinical.Allergy(code=PENICILLIN, time=DAY, author=clinical.SdsPerson(
                role_profile_id="1", user_id="2", name=clinical.Name(text="A"), mode="PHONE")),)},
            "no place for mode",
        ),
        ({"problems": (clinical.Problem(time=DAY),)}, "/problems/0/about is missing"),
        ({"interaction": "REPC_IN150015UK05"}, "/author the author of an initial summary is an organisation"),
        ({"preferences": (clinical.Refusal(time=DAY),), "allergies": (clinical.Allergy(code=PENICILLIN, time=DAY),)},
         "a summary with a Refusal"),
        ({"patient": clinical.Patient("999 000 0018")}, "/patient/nhs_number"),
        ({"allergies": (clinical.Allergy(code=PENICILLIN, time=DAY, id="A"),), "event_id": "A"}, "more than one thing"),
        ({"presentation": clinical.Presentation("<p/>")}, "must be one html element"),
        ({"presentation": clinical.Presentation(f'\ufeff<html xmlns="{PRESENTATION_NS}"/>')}, "must begin"),
        ({"presentation": clinical.Presentation('<html xmlns="xhtml:NPfIT:PresentationText">')}, "not well-formed"),
        (
            {"presentation": clinical.Presentation(f'<?xml version="1.0"?><html xmlns="{PRESENTATION_NS}"/>')},
            "XML declaration",
        ),
    ],
)  # fmt: skip
def test_what_lacks_something_is_not_written(members: dict[str, Any], said: str) -> None:
    """A summary that would not be valid is refused with the place and the reason."""
    with pytest.raises(UnwritableSummary, match=said):
        write_summary(sample(**members))


def test_nothing_is_left_out_in_silence() -> None:
    """A member that an element has no place for is an error, whatever the type."""
    assert issubclass(NotWritable, ValueError)
    summary = sample(problems=(clinical.Problem(time=DAY, about=clinical.Reference("Document", "A" * 36)),))
    with pytest.raises(UnwritableSummary, match="a Problem points at it, and no entry has it"):
        write_summary(summary)
    letter = clinical.ThirdPartyCorrespondence(code=PENICILLIN, time=DAY, text="A letter")
    summary = sample(problems=(clinical.Problem(time=DAY, about=letter),), third_party_correspondence=(letter,))
    with pytest.raises(UnwritableSummary, match="pertinentInformation has no"):
        write_summary(summary)


DEVICE = clinical.Device(
    device=clinical.DeviceDetails(name="A"), organisation=clinical.DeviceOrganisation(telecom=clinical.Telecom("01234"))
)
PERSON = clinical.SdsPerson(role_profile_id="100000000110", user_id="1", name=clinical.Name(text="A"))


@pytest.mark.parametrize(
    "entry",
    [
        clinical.Finding(code=PENICILLIN, time=DAY, value=clinical.Value(clinical.Quantity("abc"))),
        clinical.Finding(code=PENICILLIN, time=DAY, value=clinical.Value(clinical.Quantity("1", "a b"))),
        clinical.Finding(code=PENICILLIN, time=DAY, value=clinical.Value("1e999", "REAL")),
        clinical.Finding(code=PENICILLIN, time=DAY, value=clinical.Value("maybe", "BL")),
        clinical.Finding(code=PENICILLIN, time=DAY, value=clinical.Value("1_0", "INT")),
        clinical.Finding(code=PENICILLIN, time=DAY, author=DEVICE),
        clinical.Allergy(code=PENICILLIN, time=DAY, author=PERSON),
        clinical.Treatment(code=PENICILLIN, time=DAY, mood="DONE"),
        clinical.Investigation(code=PENICILLIN, time=DAY, specimens=(clinical.Specimen(id=clinical.Identifier()),)),
        clinical.Finding(code=PENICILLIN, time=DAY, reference_range=clinical.ReferenceRange(
            interpretation=clinical.Coded("HI", system="2.16.840.1.113883.2.1.3.2.4.16.8"))),
    ],
)  # fmt: skip
def test_what_no_schema_allows_is_not_written(entry: clinical.Entry) -> None:
    """Values that their data type does not allow are refused by entry, without a word of what they hold."""
    with pytest.raises(UnwritableSummary, match=f"^{type(entry).__name__} [0-9A-F-]{{36}}: ") as refused:
        write_summary(sample(observations=(entry,)))
    assert "Allergy to penicillin" not in str(refused.value)


def test_entries_point_at_each_other_by_themselves() -> None:
    """A problem names the diagnosis itself; the ids are minted and the reference resolves."""
    diagnosis = clinical.Diagnosis(code=clinical.Coded("40930008", "Hypothyroidism"), time=DAY)
    organizer = clinical.FindingOrganizer(
        code=clinical.Coded("1", "Thyroid function"),
        time=DAY,
        members=(clinical.Finding(code=clinical.Coded("2", "TSH"), time=DAY),),
    )
    problem = clinical.Problem(time=DAY, about=diagnosis)
    summary = sample(problems=(problem,), diagnoses=(diagnosis,), investigation_results=(organizer,))
    (written,) = summary.diagnoses
    assert summary.problems[0].about == clinical.Reference("Diagnosis", written.id or "")  # type: ignore[attr-defined]
    check(summary)
