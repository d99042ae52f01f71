"""Composed summaries are valid, say in text what they say in codes, and depend on nothing but their arguments."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.codes import GP_INITIAL_SUMMARY, GP_SUMMARY, INITIAL_UPLOAD, PAYLOAD_IDS, UPLOAD
from openscr.hl7.presentation import presentation_of
from openscr.testbench.content import (
    DISSENT,
    NEWLY_REGISTERED,
    NOTHING_SIGNIFICANT,
    Allergy,
    BloodPressure,
    Clinician,
    Coded,
    Entry,
    Medication,
    Pointer,
    Practice,
    Quantity,
    Section,
    Summary,
)
from openscr.testbench.narrative import months_before
from openscr.testbench.summaries import compose
from shared import MESSAGES, summary_schemas

HL7 = "{urn:hl7-org:v3}"
AT = datetime(2025, 11, 12, 14, 2, 10, tzinfo=UTC)
DAY = date(2021, 3, 12)
PRACTICE = Practice("Z99999", "Example Lane Surgery", "1 Example Lane, Testford, TE1 1ST")
AUTHOR = Clinician("100000000110", "100000000101", "Dr", "Ada", "Testwell")
MEDICATION = (Section.ACUTE, Section.REPEAT, Section.DISCONTINUED)

ALLERGY = Allergy(DAY, Coded("91936005", "Allergy to penicillin"), "Certain", "Moderate", "Rash <24 h & itching")
DIAGNOSIS = Entry(Section.DIAGNOSES, DAY, Coded("40930008", "Hypothyroidism"), "Confirmed on repeat bloods")
PRODUCT = Coded("374295007", "Levothyroxine sodium 50microgram tablets")
MEDICINES = tuple(
    Medication(s, DAY, PRODUCT, "One daily", "28", "tablet", date(2025, 11, 1), DIAGNOSIS) for s in MEDICATION
)
TSH = Quantity("2.1", "m[IU]/L", "mIU/L", "0.4", "4.5")
EVERYTHING = (
    ALLERGY,
    *MEDICINES,
    DIAGNOSIS,
    Pointer(Section.PROBLEMS, DAY, DIAGNOSIS, "Active problem"),
    Pointer(Section.RISKS, DAY, ALLERGY),
    BloodPressure(DAY, 124, 78),
    Entry(Section.RESULTS, DAY, Coded("61167004", "Thyroid stimulating hormone measurement"), quantity=TSH),
    *(
        Entry(section, DAY, Coded("105529008", f"Something of {section.name.lower()}"), "Noted")
        for section in Section
        if section not in {*MEDICATION, Section.ALLERGIES, Section.DIAGNOSES, Section.PROBLEMS, Section.RISKS}
    ),
)


def minting() -> Callable[[], str]:
    numbers = count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012X}"


def summary(*content, **changes) -> Summary:
    event_id = "F665BA93-6979-5013-BDAC-B84C7B38ADC9"
    return replace(Summary("9990001065", event_id, AT, PRACTICE, AUTHOR, tuple(content)), **changes)


SUMMARIES = {
    "everything": summary(*EVERYTHING, replaces="7FDB3E35-2F88-5D30-897F-FE7AEA370F13"),
    "initial": summary(*EVERYTHING, author=None),
    "core": summary(ALLERGY, replace(MEDICINES[1], reason=None), notice=NEWLY_REGISTERED),
    "absent": summary(ALLERGY, omitted=frozenset({Section.DISCONTINUED})),
    "dissent": summary(statement=DISSENT, refused_on=DAY),
    "nothing": summary(author=None, statement=NOTHING_SIGNIFICANT),
}


@pytest.mark.parametrize("name", SUMMARIES)
def test_every_kind_is_valid_by_both_published_schemas(name):
    given_summary = SUMMARIES[name]
    document = etree.fromstring(compose(given_summary, minting()))
    for schema in summary_schemas(PAYLOAD_IDS[UPLOAD if given_summary.type == GP_SUMMARY else INITIAL_UPLOAD]):
        schema.assertValid(document)


@pytest.mark.parametrize("name", SUMMARIES)
def test_the_same_values_give_the_same_bytes(name):
    assert compose(SUMMARIES[name], minting()) == compose(SUMMARIES[name], minting())


def test_every_entry_is_printed_and_coded():
    document = compose(SUMMARIES["everything"], minting())
    text = presentation_of(document).text(300)
    root = etree.fromstring(document)
    displays = {element.get("displayName") for element in root.iter(f"{HL7}code")}
    for entry in EVERYTHING:
        code = getattr(entry, "code", None) or getattr(entry, "product", None)
        if code is not None:
            assert code.display in text
            assert code.display in displays
    assert "Blood pressure 124/78 mmHg" in text
    assert "Thyroid stimulating hormone measurement 2.1 mIU/L (0.4 - 4.5)" in text
    assert "Rash <24 h & itching" in text


def test_every_id_is_used_once_and_every_pointer_resolves():
    root = etree.fromstring(compose(SUMMARIES["everything"], minting()))
    entries = list(root.iterfind(f".//{HL7}pertinentCREType/{HL7}component/*[{HL7}id]"))
    ids = [entry.find(f"{HL7}id").get("root") for entry in entries]
    assert len(ids) == len(set(ids)) == len(EVERYTHING)
    pointers = [e.get("root") for e in root.iterfind(f".//{HL7}Diagnosis/{HL7}id")]
    pointers += [e.get("root") for e in root.iterfind(f".//{HL7}AllergiesAndAdverseReactionsIdent/{HL7}id")]
    assert len(pointers) == 5
    assert set(pointers) <= set(ids)


def test_headings_stand_in_the_order_of_print_one_for_each_code():
    root = etree.fromstring(compose(SUMMARIES["everything"], minting()))
    coded = [e.get("code") for e in root.iterfind(f".//{HL7}pertinentCREType/{HL7}code")]
    assert coded == list(dict.fromkeys(section.code for section in Section))
    printed = [e.text.split(" (For")[0] for e in root.iter("{*}h2")]
    assert printed[1:] == [section.heading for section in Section]


def test_the_text_has_the_layout_of_the_example():
    example = presentation_of(next((MESSAGES / "gp-summary").glob("03*.xml")).read_bytes()).text(200)
    mine = presentation_of(compose(summary(ALLERGY), minting())).text(200)
    assert mine.split("Allergies")[0] == example.split("Allergies")[0]


def test_an_initial_summary_is_the_organisation_s_and_has_text_only():
    root = etree.fromstring(compose(SUMMARIES["initial"], minting()))
    assert root.find(f"{HL7}code").get("code") == GP_INITIAL_SUMMARY
    assert root.find(f"{HL7}author//{HL7}agentOrganizationSDS/{HL7}id").get("extension") == "Z99999"
    assert root.find(f"{HL7}pertinentInformation2") is None
    assert "Allergy to penicillin" in presentation_of(compose(SUMMARIES["initial"], minting())).text()


def test_an_update_replaces_what_it_names():
    root = etree.fromstring(compose(SUMMARIES["everything"], minting()))
    assert root.find(f"{HL7}code").get("code") == GP_SUMMARY
    prior = root.find(f"{HL7}replacementOf/{HL7}priorMessageRef/{HL7}id")
    assert prior.get("root") == "7FDB3E35-2F88-5D30-897F-FE7AEA370F13"


def test_a_blank_summary_holds_the_refusal_and_nothing_clinical():
    document = compose(SUMMARIES["dissent"], minting())
    root = etree.fromstring(document)
    h3 = [element.text for element in root.iter("{*}h3")]
    assert DISSENT in h3
    assert [element.tag for element in root.iterfind(f".//{HL7}pertinentCREType/{HL7}component/*[{HL7}code]")] == [
        f"{HL7}UKCT_MT144056UK01.Refusal"
    ]
    assert "Allerg" not in presentation_of(document).text()


def test_empty_core_sections_say_so_and_absent_ones_say_nothing():
    text = presentation_of(compose(SUMMARIES["absent"], minting())).text(200)
    assert "The practice system holds no Acute Medication issued within the last 12 months" in text
    assert "Discontinued" not in text
    assert "Problems and Issues" not in text


def test_what_could_not_be_valid_is_refused():
    stray = Pointer(Section.PROBLEMS, DAY, DIAGNOSIS)
    for content, omitted in (
        ((stray,), frozenset()),
        ((ALLERGY, ALLERGY), frozenset()),
        ((ALLERGY,), frozenset({Section.ALLERGIES})),
        ((MEDICINES[0],), frozenset()),
    ):
        with pytest.raises(ValueError, match="entr"):
            summary(*content, omitted=omitted)


@given(st.text(max_size=40))
def test_no_text_of_a_caller_becomes_markup(text):
    document = compose(summary(Allergy(DAY, Coded("91936005", text), note=text)), minting())
    root = etree.fromstring(document)
    assert len(list(root.iter("{*}td"))) == 5


@given(st.dates(date(1900, 1, 1), date(2100, 12, 31)), st.integers(0, 30))
def test_months_before_is_the_same_day_or_the_last_of_its_month(day, months):
    before = months_before(day, months)
    assert (day.year * 12 + day.month) - (before.year * 12 + before.month) == months
    assert before.day == day.day or (before.day < day.day and (before.replace(day=28) != before or before.day == 28))
