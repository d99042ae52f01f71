"""The printed text: every entry in its place, core headings always, sentences where nothing is held."""

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from clinical.generation import Generator
from openscr import clinical
from openscr.clinical import Coded, Interval, Medications, Quantity, Summary, Time, Value, Wording, narrate
from openscr.clinical.narrative import DISSENT, NO_CONTENT
from openscr.errors import UnwritableSummary
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
        ("Medication Administration", "Given: 12-Mar-2021", "Injection: Doxycycline 100mg capsules", "Left arm", ""),
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


def test_what_is_no_fact_of_today_does_not_read_like_one() -> None:
    """Nullified, stopped, planned, ended, past, negated by a qualifier: each is said in the row."""
    absent = clinical.Qualifier("408729009", "Finding context", value=Coded("410516002", "Known absent"))
    suspected = clinical.Qualifier("246103008", "Certainty", value=Coded("415684004", "Suspected"))
    severe = clinical.Qualifier("24484000", "Severe", name=Coded("246112005", "Severity"))
    diabetes = clinical.Diagnosis(code=Coded("73211009", "Diabetes", qualifiers=(absent,)), time=DAY)
    product = Coded("1", "Doxycycline 100mg capsules")
    made = summary(
        allergies=(
            clinical.Allergy(code=Coded("1", "Nuts", qualifiers=(severe,)), time=DAY, status="nullified"),
            clinical.AcuteMedication(product=product, dosage="One daily", time=DAY, quantity=Quantity("8")),
        ),
        medications=Medications(
            acute=(clinical.AcuteMedication(product=product, dosage="One", time=DAY, status="aborted"),),
            current_repeat=(
                clinical.CurrentRepeatMedication(product=product, dosage="One", time=Interval(high=Time("2022"))),
                clinical.CurrentRepeatMedication(
                    product=product, dosage="One", time=Interval(low=DAY, high=Time("2022")), reasons=(diabetes,)
                ),
            ),
        ),
        diagnoses=(diabetes, clinical.Diagnosis(code=Coded("2", "Asthma", qualifiers=(suspected,)), time=DAY)),
        problems=(
            clinical.Problem(time=Interval(low=DAY, high=Time("2022")), about=diabetes, status="completed"),
            clinical.Problem(time=DAY, about=diabetes, status="nullified"),
        ),
        treatments=(clinical.Treatment(code=Coded("3", "Hip replacement"), time=DAY, mood="PRP"),),
        links=(clinical.Allergy(code=Coded("4", "Latex"), time=DAY),),
    )
    assert rows(made, "Allergies") == (
        ("12-Mar-2021", "Nuts (Severity: Severe)", "", "", "Entered in error"),
        ("12-Mar-2021", "Doxycycline 100mg capsules, One daily, 8, Prescribed: 12-Mar-2021", "", "", ""),
    )
    assert rows(made, "Acute")[0][2] == "Doxycycline 100mg capsules. Stopped early"
    assert [row[1:3] for row in rows(made, "Current")] == [
        ("Ended: 2022", "Doxycycline 100mg capsules"),
        (
            "Started: 12-Mar-2021, ended: 2022",
            "Doxycycline 100mg capsules. Reason: Diabetes (Finding context: Known absent)",
        ),
    ]
    assert [row[1] for row in rows(made, "Diagnoses")] == [
        "Diabetes (Finding context: Known absent)",
        "Asthma (Certainty: Suspected)",
    ]
    assert rows(made, "Problems") == (
        ("12-Mar-2021 to 2022", "Diabetes (Finding context: Known absent)", "Past problem"),
        ("12-Mar-2021", "Diabetes (Finding context: Known absent)", "Entered in error"),
    )
    assert rows(made, "Treatments") == (("12-Mar-2021", "Hip replacement", "Proposed"),)
    assert rows(made, "Link") == (("12-Mar-2021", "Latex", ""),)
    assert "entered in error" in " ".join(narrate(replace(made, status="nullified")).opening)


def test_amounts_keep_their_units() -> None:
    finding = clinical.Finding(
        code=Coded("1", "TSH"),
        time=DAY,
        value=Value(Quantity("2.1", "mIU/L")),
        reference_range=clinical.ReferenceRange(
            low=Quantity("0.4", "mIU/L"),
            high=Quantity("4.5", "mIU/L"),
            interpretation=Coded("HI", "Above high reference limit"),
            text="fasting",
        ),
    )
    assert rows(summary(observations=(finding,)), "Clinical")[0][1] == (
        "TSH 2.1 mIU/L (0.4 - 4.5 mIU/L; Above high reference limit; fasting)"
    )
    assert Quantity("5", "mg", "tablet").printed == "5 mg tablet"


def test_a_statement_never_stands_in_place_of_entries() -> None:
    made = summary(allergies=(clinical.Allergy(code=Coded("1", "Nuts"), time=DAY),))
    with pytest.raises(UnwritableSummary, match="in place of"):
        narrate(made, Wording(statement=NO_CONTENT))


LINKS = (clinical.LinkAssertion, clinical.ProblemMemberAssertion, clinical.ProblemLinkAssertion)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_coded_is_printed(seed: int) -> None:
    """Each entry but links is printed with its words, its mood and its status; no markup comes from its words."""
    generator = Generator(Random(seed))
    made = compose(replace(generator.summary(), presentation=None), generator.uuid, NOW)
    if made.dissent or made.initial:
        return
    text = narrate(made)
    cells = [cell for section in text.sections for row in section.rows for cell in row]
    for entry in made.entries():
        if isinstance(entry, LINKS):
            continue
        term = getattr(entry, "product", None) or getattr(entry, "code", None)
        titled = getattr(entry, "title", None)
        if isinstance(term, Coded) and not titled:
            assert any(term.printed in cell for cell in cells), term
        for words in (
            {"nullified": "Entered in error", "aborted": "Stopped early"}.get(getattr(entry, "status", "")),
            {"PRP": "Proposed", "RQO": "Requested"}.get(getattr(entry, "mood", "")),
        ):
            assert words is None or any(words in cell for cell in cells)
    printed = sum(len(section.rows) for section in text.sections)
    assert printed >= sum(not isinstance(entry, LINKS) for entry in made.entries())
    assert "<b>" not in write_html(text)
    assert presentation_of(write_summary(made)).text()
