"""The demo's patients are the same everywhere, plausible, and in the states that the specification lists."""

from collections import Counter
from datetime import date, datetime, time, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from openscr.clinical.narrative import DISSENT, NO_CONTENT
from openscr.codes import GP_SUMMARY, INITIAL_UPLOAD, PAYLOAD_IDS, UPLOAD
from openscr.hl7.presentation import presentation_of
from openscr.identifiers import LONDON, is_nhs_number, is_uuid
from openscr.spine import Consent
from openscr.testbench.documents import AUTHOR, NEWLY_REGISTERED, PRACTICE
from openscr.testbench.population import (
    CONSENT_NO,
    CORE_ONLY,
    FULL_RECORD,
    MERGED,
    NAMED_NUMBERS,
    NO_RECORD,
    POPULATION,
    TURNS,
    demo_numbers,
    fresh_number,
    number_of_prefix,
    population,
    synthetic_patient,
)
from openscr.testbench.stories import State, StepKind
from shared import summary_schemas

TODAY = date(2026, 11, 20)
PATIENTS = population(TODAY)
BY_NUMBER = {patient.nhs_number: patient for patient in PATIENTS}
CORE_HEADINGS = (
    "Allergies and Adverse Reactions",
    "Acute Medications",
    "Current Repeat Medications",
    "Discontinued Repeat Medications",
)
DAYS = st.dates(date(2023, 1, 1), date(2035, 12, 31))


def kinds(number):
    return [step.kind for step in BY_NUMBER[number].steps]


def of_state(state):
    return [BY_NUMBER[number] for index, number in enumerate(demo_numbers()) if index % 10 == state]


def text_of(step):
    return presentation_of(step.document).text(200)


# --- numbers --------------------------------------------------------------------------------------------------------


def test_the_numbers_are_those_of_the_demo_world():
    numbers = demo_numbers()
    assert (len(numbers), numbers[0], numbers[-1]) == (41, "9990000026", "9990000468")
    assert [patient.nhs_number for patient in PATIENTS] == [*NAMED_NUMBERS, *numbers]
    assert len(BY_NUMBER) == POPULATION + 5
    assert all(is_nhs_number(number) and number.startswith("999") for number in BY_NUMBER)


@given(st.integers(0, 10**7), st.sets(st.integers(0, 10**6 - 1), max_size=20))
def test_a_fresh_number_is_valid_of_the_test_range_and_not_taken(start, suffixes):
    taken = {number for suffix in suffixes if (number := number_of_prefix(suffix))} | set(BY_NUMBER)
    number = fresh_number(start, taken)
    assert is_nhs_number(number)
    assert number.startswith("999")
    assert number not in taken


def test_no_number_is_left_when_all_are_taken():
    class Everything:
        def __contains__(self, number: object) -> bool:
            return True

    with pytest.raises(LookupError):
        fresh_number(1, Everything())


# --- the named patients ---------------------------------------------------------------------------------------------


def test_the_full_record_grew_in_three_versions():
    patient = BY_NUMBER[FULL_RECORD]
    assert kinds(FULL_RECORD) == [StepKind.INITIAL, StepKind.UPLOAD, StepKind.UPLOAD]
    assert patient.demographics["name"] == {"given": "Mary", "family": "Sample"}
    assert "Problems and Issues" in text_of(patient.steps[-1])
    assert "Problems and Issues" not in text_of(patient.steps[1])
    for earlier, later in zip(patient.steps, patient.steps[1:], strict=False):
        replaced = etree.fromstring(later.document).find(".//{*}replacementOf//{*}id")
        assert replaced is not None
        assert replaced.get("root") == earlier.event_id


def test_the_other_named_patients_are_as_documented():
    assert kinds(CONSENT_NO) == [StepKind.UPLOAD, StepKind.CONSENT]
    assert BY_NUMBER[CONSENT_NO].steps[-1].consent is Consent.NO
    assert kinds(NO_RECORD) == []
    assert kinds(CORE_ONLY) == [StepKind.UPLOAD]
    assert "Diagnoses" not in text_of(BY_NUMBER[CORE_ONLY].steps[0])


def test_the_merged_number_points_to_its_survivor_in_the_index():
    entry = BY_NUMBER[MERGED].entry
    assert (entry.status, entry.survivor) == ("merged", FULL_RECORD)
    assert entry.demographics == BY_NUMBER[FULL_RECORD].demographics
    assert all(patient.entry.status == "current" for patient in PATIENTS if patient.nhs_number != MERGED)


# --- the states -----------------------------------------------------------------------------------------------------


def test_every_state_has_its_turn():
    for state, patients in ((state, of_state(state)) for state in list(State)[:TURNS]):
        assert len(patients) == (5 if state is State.CORE else 4)
        expected = {
            State.INITIAL_ONLY: [StepKind.INITIAL],
            State.NO_SIGNIFICANT_DATA: [StepKind.INITIAL],
            State.WITHDRAWN: [StepKind.UPLOAD, StepKind.WITHDRAW],
            State.OPTED_OUT: [StepKind.UPLOAD, StepKind.UPLOAD, StepKind.CONSENT],
        }.get(state, [StepKind.UPLOAD])
        assert all([step.kind for step in patient.steps] == expected for patient in patients)


@pytest.mark.parametrize("state", [State.CORE, State.ADDITIONAL])
def test_a_complete_record_has_something_in_every_core_section(state):
    for patient in of_state(state):
        text = text_of(patient.steps[0])
        assert "The practice system holds no" not in text
        assert all(heading in text for heading in CORE_HEADINGS)
        assert ("Diagnoses" in text) is (state is State.ADDITIONAL)


def test_the_states_say_what_viewers_tell_them_apart_by():
    for patient in of_state(State.NO_SIGNIFICANT_DATA):
        assert NO_CONTENT in text_of(patient.steps[0])
    for patient in of_state(State.SECTION_EMPTY):
        assert "The practice system holds no Acute Medication" in text_of(patient.steps[0])
    for patient in of_state(State.SECTION_ABSENT):
        assert "Discontinued" not in text_of(patient.steps[0])
    for patient in of_state(State.OPTED_OUT):
        assert DISSENT in text_of(patient.steps[1])
        assert patient.steps[2].consent is Consent.NO
    for patient in of_state(State.NEWLY_REGISTERED):
        assert NEWLY_REGISTERED in " ".join(text_of(patient.steps[0]).split())
    for patient in of_state(State.WITHDRAWN):
        upload, withdrawal = patient.steps
        assert (withdrawal.target, withdrawal.target_type) == (upload.event_id, GP_SUMMARY)
        assert withdrawal.reason in {"01", "02", "03"}


def test_only_old_records_are_older_than_ninety_days():
    for number in demo_numbers():
        index = demo_numbers().index(number)
        newest = max(step.at.date() for step in BY_NUMBER[number].steps)
        assert (TODAY - newest > timedelta(days=90)) is (index % 10 == State.OLD)


# --- all of them ----------------------------------------------------------------------------------------------------


def test_every_document_is_valid_by_both_published_schemas():
    for patient in PATIENTS:
        for step in patient.steps:
            if step.document:
                payload = PAYLOAD_IDS[UPLOAD if step.kind is StepKind.UPLOAD else INITIAL_UPLOAD]
                for schema in summary_schemas(payload):
                    schema.assertValid(etree.fromstring(step.document))


def test_documents_are_about_the_patient_and_carry_the_step_s_id():
    for patient in PATIENTS:
        for step in patient.steps:
            assert is_uuid(step.event_id)
            if step.document:
                root = etree.fromstring(step.document)
                assert root.find("{*}id").get("root") == step.event_id
                assert root.find("{*}recordTarget//{*}id").get("extension") == patient.nhs_number
    ids = Counter(step.event_id for patient in PATIENTS for step in patient.steps)
    assert set(ids.values()) == {1}


@settings(max_examples=25)
@given(DAYS)
def test_steps_are_in_order_and_over_before_today(today):
    midnight = datetime.combine(today, time(), tzinfo=LONDON)
    for patient in population(today)[:25]:
        moments = [step.at for step in patient.steps]
        assert moments == sorted(moments)
        assert all(moment < midnight for moment in moments)


@settings(max_examples=25)
@given(DAYS)
def test_event_ids_do_not_depend_on_the_day(today):
    ids = [[step.event_id for step in patient.steps] for patient in population(today)]
    assert ids == [[step.event_id for step in patient.steps] for patient in PATIENTS]


def test_the_same_arguments_give_the_same_world_and_another_seed_another():
    assert population(TODAY) == PATIENTS
    assert [p.demographics for p in population(TODAY, seed=2)][5:] != [p.demographics for p in PATIENTS][5:]


def test_records_have_the_sizes_of_real_ones():
    for patient in of_state(State.CORE):
        assert 6_000 < len(patient.steps[0].document) < 30_000
    for patient in of_state(State.ADDITIONAL):
        assert 20_000 < len(patient.steps[0].document) < 100_000


def test_demographics_have_the_form_of_the_patient_index():
    for patient in PATIENTS:
        demographics = patient.demographics
        assert set(demographics) == {"name", "birth_date", "gender", "address", "practice"}
        assert set(demographics["name"]) == {"given", "family"}
        assert date.fromisoformat(demographics["birth_date"]) < TODAY
        assert demographics["gender"] in {"male", "female"}
        assert set(demographics["address"]) == {"lines", "city", "postcode"}
        assert demographics["practice"] == PRACTICE.ods
    assert AUTHOR.user_id == "555000000101"


def test_what_a_complete_record_holds_it_has_held_for_eighty_days():
    """The acute, the current and the discontinued medicine are there whenever a story of the demo sends its summary."""
    for patient in (*of_state(State.SECTION_EMPTY), *of_state(State.OPTED_OUT)):
        text = text_of(patient.steps[0])
        assert text.count("The practice system holds no") == (patient.state is State.SECTION_EMPTY)


def test_one_patient_alone_is_the_same_as_in_the_population():
    assert synthetic_patient(CORE_ONLY, State.CORE, TODAY) == BY_NUMBER[CORE_ONLY]
