"""The printed text: every entry in its place, core headings always, sentences where nothing is held."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from clinical.generation import Generator
from openscr import clinical
from openscr.clinical import Coded, Interval, Medications, Quantity, Summary, Time, Value, Wording, narrate
from openscr.clinical.narrative import DISSENT, NO_CONTENT
from openscr.hl7.gp_summary import DISSENT_PHRASES, NO_CONTENT_PHRASE
from openscr.hl7.presentation import presentation_of
from openscr.hl7.summary_writer import compose, write_html, write_summary

NOW = datetime(2025, 11, 11, 10, 30, 45, tzinfo=UTC)
DAY = Time("2021-03-12")


def summary(**members: object) -> Summary:
    author = clinical.SdsPerson(
        role_profile_id="100000000110",
        user_id="100000000101",
        name=clinical.Name(prefix="Dr", given="Ada", family="Testwell"),
    )
    made = Summary(patient=clinical.Patient("9990000018"), author=author, **members)  # type: ignore[arg-type]
    return clinical.complete(made, Generator(Random(1)).uuid, NOW)


def rows(made: Summary, heading: str) -> tuple[tuple[str, ...], ...]:
    return next(each.rows for each in narrate(made).sections if each.heading.startswith(heading))


def test_the_sentences_are_those_that_spine_looks_for() -> None:
    assert DISSENT in [phrase for phrase, _ in DISSENT_PHRASES]
    assert NO_CONTENT == NO_CONTENT_PHRASE


def test_an_empty_summary_prints_the_core_headings() -> None:
    """Core headings say that nothing is held; additional ones are not mentioned."""
    text = narrate(summary(), Wording(practice=("Example Lane Surgery",)))
    assert [each.heading for each in text.sections] == [
        "Allergies and Adverse Reactions",
        "Acute Medications",
        "Current Repeat Medications",
        "Discontinued Repeat Medications",
    ]
    assert all(each.nothing_held and not each.rows for each in text.sections)
    assert text.opening[1:] == (
        "Time of summary creation 11-Nov-2025 10:30",
        "Author Dr Ada Testwell, Example Lane Surgery",
    )


def test_allergies_have_certainty_and_severity() -> None:
    severe = clinical.Qualifier("246112005", "Severity", value=Coded("24484000", "Severe"))
    agent = clinical.Qualifier("246075003", "causative agent", value=Coded("373270004", "Penicillin"))
    code = Coded("416093006", "Allergic reaction to drug", qualifiers=(severe, agent))
    entry = clinical.Allergy(code=code, time=Interval(low=DAY), supporting_text="Rash\nwithin hours")
    assert rows(summary(allergies=(entry,)), "Allergies") == (
        ("12-Mar-2021", "Allergic reaction to drug (causative agent: Penicillin)", "", "Severe", "Rash within hours"),
    )


def test_medications_are_printed_by_what_they_are() -> None:
    product = Coded("1", "Doxycycline 100mg capsules")
    acute = clinical.AcuteMedication(
        product=product, dosage="One daily", time=DAY, quantity=Quantity("8", text="capsule")
    )
    repeat = clinical.CurrentRepeatMedication(product=product, dosage="Two daily", time=Interval(low=DAY))
    ended = clinical.DiscontinuedRepeatMedication(
        product=product, dosage="Three daily", time=Interval(low=DAY, high=Time("2022"))
    )
    given = clinical.MedicationAdministration(
        product=product, code=Coded("2", "Injection"), administration="Left arm", time=DAY
    )
    made = summary(medications=Medications(acute=(acute, repeat), discontinued=(ended,), administrations=(given,)))
    assert rows(made, "Acute") == (
        ("Acute Medication", "Prescribed: 12-Mar-2021", "Doxycycline 100mg capsules", "One daily", "8 capsule"),
        ("Medication Administration", "Given: 12-Mar-2021", "Doxycycline 100mg capsules", "Left arm", ""),
    )
    assert rows(made, "Current")[0][1] == "Started: 12-Mar-2021"
    assert rows(made, "Discontinued")[0][1] == "Discontinued: 2022"
    periods = narrate(made, Wording(acute_months=12, discontinued_months=6)).sections
    assert periods[1].heading == "Acute Medications (For the 12 month period 11-Nov-2024 to 11-Nov-2025)"
    assert periods[3].heading == "Discontinued Repeat Medications (For the 6 month period 11-May-2025 to 11-Nov-2025)"


def test_problems_say_what_they_are_about() -> None:
    diagnosis = clinical.Diagnosis(code=Coded("40930008", "Hypothyroidism"), time=DAY)
    problem = clinical.Problem(time=DAY, about=diagnosis)
    upper = clinical.Problem(time=DAY, about=clinical.Reference("Problem", "x"))
    assert rows(summary(problems=(problem,), diagnoses=(diagnosis,)), "Problems") == (
        ("12-Mar-2021", "Hypothyroidism", ""),
    )
    assert rows(summary(problems=(upper,)), "Problems") == (("12-Mar-2021", "Problem", ""),)


def test_results_print_value_and_range() -> None:
    finding = clinical.Finding(
        code=Coded("1", "TSH"),
        time=DAY,
        value=Value(Quantity("2.1", "mIU/L")),
        reference_range=clinical.ReferenceRange(low=Quantity("0.4"), high=Quantity("4.5")),
    )
    pressure = clinical.BloodPressure(
        code=Coded("75367002", "Blood pressure"),
        time=DAY,
        systolic=clinical.Pressure(value=Quantity("124", "mm[Hg]")),
        diastolic=clinical.Pressure(value=Quantity("78", "mm[Hg]")),
    )
    assert rows(summary(observations=(finding, pressure)), "Clinical Observations") == (
        ("12-Mar-2021", "TSH 2.1 mIU/L (0.4 - 4.5)", ""),
        ("12-Mar-2021", "Blood pressure 124/78 mmHg", ""),
    )


def test_a_refusal_makes_a_dissent() -> None:
    """No clinical heading is printed; the sentence that Spine looks for is."""
    text = narrate(summary(preferences=(clinical.Refusal(time=DAY),)))
    assert text.sections == ()
    assert DISSENT in text.opening


def test_statements_and_headings_left_out() -> None:
    assert narrate(summary(), Wording(statement=NO_CONTENT)).sections == ()
    left = narrate(summary(), Wording(left_out=frozenset({"discontinued"}), notices=("Newly registered",)))
    assert len(left.sections) == 3
    assert "Newly registered" in left.opening


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_coded_is_printed(seed: int) -> None:
    """Each entry but links gives at least one row under its heading, and no markup comes from its words."""
    generator = Generator(Random(seed))
    made = compose(replace(generator.summary(), presentation=None), generator.uuid, NOW)
    if made.dissent or made.initial:
        return
    sections = {each.heading.split(" (")[0]: each for each in narrate(made).sections}
    for heading in clinical.HEADINGS:
        entries = made.under(heading.member) if heading.member != "medications" else ()
        if entries and heading.member != "links":
            assert len(sections[heading.display].rows) >= len(entries)
    printed = sum(len(sections[name].rows) for name in sections if name.endswith("Medications"))
    assert printed == len(tuple(made.medications))
    assert "<b>" not in write_html(narrate(made))
    assert presentation_of(write_summary(made)).text()
