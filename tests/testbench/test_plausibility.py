"""Synthetic patients make clinical sense, rule by rule, over hundreds of them.

What is judged is what a reader of the record sees: the documents, read back into the clinical model, beside the line of
the patient index. What fits a rule is written down here once more, so that the tables are judged and not repeated.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from lxml import etree

from openscr.clinical import (
    AcuteMedication,
    BloodPressure,
    CurrentRepeatMedication,
    Diagnosis,
    DiscontinuedRepeatMedication,
    Entry,
    Finding,
    FindingOrganizer,
    Height,
    Interval,
    Quantity,
    Summary,
    Weight,
)
from openscr.clinical.entries import Medication
from openscr.codes import INITIAL_UPLOAD, PAYLOAD_IDS, UPLOAD
from openscr.hl7.presentation import presentation_of
from openscr.hl7.summary_reader import read_summary
from openscr.testbench import formulary
from openscr.testbench.documents import PRACTICES
from openscr.testbench.made_population import DEFAULT_DAY, made_population
from openscr.testbench.population import number_of_prefix
from openscr.testbench.stories import Bearing, State, StepKind, Story, SyntheticPatient, tell
from shared import summary_schemas

COUNT = 500


@dataclass(frozen=True)
class Sent:
    """A summary that was sent, read back, and the patient as the index has them."""

    state: State
    kind: StepKind
    sex: str
    born: date
    made: date
    practice: str
    document: bytes
    summary: Summary

    def age(self, on: date) -> int:
        return on.year - self.born.year - ((on.month, on.day) < (self.born.month, self.born.day))

    def entries(self, kind: Any) -> list[Any]:
        return [entry for entry in every_entry(self.summary) if isinstance(entry, kind)]


def every_entry(summary: Summary) -> Iterator[Entry]:
    for entry in summary.entries():
        yield entry
        if isinstance(entry, FindingOrganizer):
            yield from entry.members


def day(text: str) -> date:
    return datetime.strptime(text[:8], "%Y%m%d").date()


def start(entry: Any) -> date:
    return day(entry.time.low if isinstance(entry.time, Interval) else entry.time)


@cache
def sent() -> tuple[Sent, ...]:
    """The population that is judged."""
    return tuple(read_back(made_population(COUNT, 21)))


@cache
def children() -> tuple[Sent, ...]:
    """Patients of two to eleven years: in a population there are too few of them to try every dose."""
    bearing = Bearing(ages=(2, 11), size=20_000, enriched=True, whole=False)
    numbers = filter(None, map(number_of_prefix, range(700_000, 700_220)))
    stories = (Story(number, "children", DEFAULT_DAY, bearing) for number in numbers)
    patients = (SyntheticPatient(s.nhs_number, s.demographics, tell(s, State.CORE)) for s in stories)
    return tuple(read_back(patients))


def read_back(patients: Iterable[SyntheticPatient]) -> Iterator[Sent]:
    for patient in patients:
        about = patient.demographics
        for step in patient.steps:
            if step.document:
                reading = read_summary(step.document)
                assert reading.lost == ()
                born = date.fromisoformat(about["birth_date"])
                made = day(str(reading.summary.created))
                practice = about["practice"]
                summary = reading.summary
                yield Sent(patient.state, step.kind, about["gender"], born, made, practice, step.document, summary)


def medicines(each: Sent) -> list[Medication]:
    return each.entries(Medication)


def named(each: Sent) -> set[str]:
    """The terms of everything coded."""
    codes = [getattr(entry, "code", None) or getattr(entry, "product", None) for entry in every_entry(each.summary)]
    return {code.display or "" for code in codes if code is not None}


def age_at(each: Sent, entry: Any) -> int:
    return each.age(start(entry))


# --- form -----------------------------------------------------------------------------------------------------------


def test_every_document_is_valid_by_both_published_schemas() -> None:
    for each in sent():
        payload = PAYLOAD_IDS[UPLOAD if each.kind is StepKind.UPLOAD else INITIAL_UPLOAD]
        for schema in summary_schemas(payload):
            schema.assertValid(etree.fromstring(each.document))


def test_what_is_coded_is_printed() -> None:
    for each in sent():
        text = " ".join(presentation_of(each.document).text(10_000).split())
        for entry in every_entry(each.summary):
            for member in ("code", "product"):
                coded = getattr(entry, member, None)
                if coded is not None and not hasattr(entry, "title"):
                    assert (coded.display or "") in text
            for member in ("dosage", "supporting_text", "title", "text"):
                assert " ".join((getattr(entry, member, None) or "").split()) in text


def test_the_author_belongs_to_the_practice_and_several_practices_write() -> None:
    authors = {
        practice.ods: {person.role_profile_id for person in practice.authors} | {practice.ods} for practice in PRACTICES
    }
    seen = set()
    for each in sent():
        author: Any = each.summary.author
        identity = author.ods if each.summary.initial else author.role_profile_id
        assert identity in authors[each.practice]
        seen.add(identity)
    assert len(seen) > 6


# --- dates ----------------------------------------------------------------------------------------------------------


def test_nothing_lies_before_birth_or_after_the_summary() -> None:
    for each in sent():
        assert each.born < each.made < DEFAULT_DAY
        for entry in every_entry(each.summary):
            if hasattr(entry, "time"):
                assert each.born < start(entry) <= each.made
                if isinstance(entry.time, Interval) and entry.time.high:
                    assert start(entry) < day(entry.time.high) <= each.made


def test_the_diagnosis_comes_before_its_medicine() -> None:
    explained = 0
    for each in sent():
        by_id = {entry.id: entry for entry in every_entry(each.summary)}
        for medicine in medicines(each):
            for reason in medicine.reasons:
                explained += 1
                assert start(by_id[reason.id]) <= start(medicine)
                if not isinstance(medicine, AcuteMedication):
                    assert start(by_id[reason.id]) < start(medicine)
    assert explained > COUNT


def test_a_repeat_was_last_issued_after_it_began_and_not_long_ago() -> None:
    for each in sent():
        for medicine in each.entries(CurrentRepeatMedication):
            words = re.search(r"Last issued (\S+)", medicine.supporting_text)
            assert words is not None
            last = datetime.strptime(words[1], "%d-%b-%Y").date()
            assert start(medicine) <= last <= each.made
            assert (each.made - last).days < 366


def test_a_discontinued_medicine_ended_within_six_months_and_has_a_successor_or_none() -> None:
    for each in sent():
        for medicine in each.entries(DiscontinuedRepeatMedication):
            assert 0 <= (each.made - day(medicine.time.high)).days <= 184
        for medicine in each.entries(AcuteMedication):
            assert 0 <= (each.made - start(medicine)).days <= 366


def test_versions_of_one_record_were_made_one_after_the_other() -> None:
    grown = 0
    for patient in made_population(COUNT, 21):
        times = [read_summary(step.document).summary.created for step in patient.steps if step.document]
        assert all(str(earlier) < str(later) for earlier, later in pairwise(times))
        grown += len(times) > 1
    assert grown > COUNT // 10


# --- medicines ------------------------------------------------------------------------------------------------------


def test_in_a_record_with_additional_information_every_medicine_has_its_reason() -> None:
    for each in sent():
        if each.entries(Diagnosis):
            by_id = {entry.id: entry for entry in every_entry(each.summary)}
            for medicine in medicines(each):
                (reason,) = medicine.reasons
                # The text of the record names it: the reference resolves to a coded entry.
                assert by_id[reason.id].code.display


TREATS = {
    "Amlodipine": "hypertension",
    "Bendroflumethiazide": "hypertension",
    "Ramipril": "hypertension|heart failure",
    "Metformin": "diabetes",
    "Levothyroxine": "hypothyroidism",
    "Salbutamol": "asthma|pulmonary",
    "Atorvastatin": "hyperlipidaemia|heart disease",
    "Fluoxetine": "depressive",
    "Sertraline": "depressive",
    "Alendronic": "osteoporosis",
    "Allopurinol": "gout",
    "Tamsulosin": "prostatic",
    "Estradiol": "menopausal",
    "Desogestrel": "contraception",
    "Donepezil": "dementia",
    "Methotrexate": "rheumatoid",
    "Adrenaline": "allergy",
    "Amoxicillin": "bronchitis|otitis|respiratory",
    "Nitrofurantoin": "cystitis|urinary",
    "Apixaban": "atrial fibrillation",
}


def test_medicines_are_given_for_what_they_treat() -> None:
    seen = set()
    for each in sent():
        by_id = {entry.id: entry for entry in every_entry(each.summary)}
        for medicine in medicines(each):
            for reason in medicine.reasons:
                substance, why = medicine.product.display.split()[0], by_id[reason.id].code.display
                if substance in TREATS:
                    seen.add(substance)
                    assert re.search(TREATS[substance], why.lower()), why
    assert len(seen) > 14


CONTRADICTS = {
    "penicillin": r"Amoxicillin|Phenoxymethylpenicillin|Flucloxacillin",
    "Amoxicillin": r"Amoxicillin|Phenoxymethylpenicillin|Flucloxacillin",
    "aspirin": r"Aspirin|Ibuprofen|Naproxen",
    "Statin": r"Atorvastatin",
    "Trimethoprim": r"Trimethoprim",
    "Ace inhibitor": r"Ramipril",
    "Codeine": r"[Cc]odeine|[Cc]o-codamol",
    "Macrolide": r"Clarithromycin",
}


def test_no_medicine_contradicts_an_allergy() -> None:
    allergic = 0
    for each in sent():
        allergies = [entry.code.display for entry in each.summary.allergies]
        products = " ".join(medicine.product.display for medicine in medicines(each))
        for word, forbidden in CONTRADICTS.items():
            if any(word in allergy for allergy in allergies):
                allergic += 1
                assert not re.search(forbidden, products), (allergies, products)
        assert not ("No known allergy" in allergies and len(allergies) > 1)
    assert allergic > COUNT // 20


FORBIDDEN_WITH = {
    "Asthma": r"Propranolol|Bisoprolol|Ibuprofen|Naproxen|Aspirin",
    "Chronic kidney disease stage 3": r"Ibuprofen|Naproxen|Metformin|Nitrofurantoin",
    "Heart failure": r"Ibuprofen|Naproxen|Amlodipine",
    "Ischaemic heart disease": r"Sumatriptan|Estradiol|Ethinyl|Ibuprofen|Naproxen",
    "Atrial fibrillation": r"Aspirin|Ibuprofen|Naproxen|Clopidogrel",
    "Migraine with aura": r"Ethinyl|Estradiol",
    "Gastro-oesophageal reflux disease": r"Ibuprofen|Naproxen|Aspirin|Alendronic",
    "Epilepsy": r"Ethinyl|Desogestrel",
    "Gout": r"Bendroflumethiazide|Furosemide",
}


def test_no_medicine_contradicts_a_condition() -> None:
    seen = set()
    for each in sent():
        diagnoses = {entry.code.display for entry in each.entries(Diagnosis)}
        products = " ".join(medicine.product.display for medicine in medicines(each))
        for condition in diagnoses & set(FORBIDDEN_WITH):
            seen.add(condition)
            assert not re.search(FORBIDDEN_WITH[condition], products), (condition, products)
        assert not {"Asthma", "Chronic obstructive pulmonary disease"} <= diagnoses
    assert len(seen) > 6


NOT_AT_ONCE = (
    (r"Apixaban", r"Aspirin|Clopidogrel|Ibuprofen|Naproxen|Clarithromycin"),
    (r"Fluoxetine|Sertraline", r"Sumatriptan|Ibuprofen|Naproxen|Co-codamol"),
    (r"Ramipril|Losartan", r"Ibuprofen|Naproxen"),
    (r"Ramipril", r"Losartan"),
    (r"Methotrexate", r"Trimethoprim|Amoxicillin|Ibuprofen|Naproxen"),
    (r"Atorvastatin", r"Clarithromycin"),
    (r"Estradiol", r"Desogestrel|Ethinyl"),
)


def test_no_two_medicines_are_given_that_do_not_go_together() -> None:
    for each in sent():
        products = " ".join(medicine.product.display for medicine in medicines(each))
        for one, other in NOT_AT_ONCE:
            assert not (re.search(one, products) and re.search(other, products)), products


def test_no_substance_is_current_twice() -> None:
    for each in sent():
        products = [medicine.product.display for medicine in each.entries(CurrentRepeatMedication)]
        # The same substance in the nose and in the lungs are two medicines.
        substances = [(product.split()[0], "nasal" in product) for product in products]
        assert len(substances) == len(set(substances))


def test_women_and_men_have_their_own_conditions_operations_and_medicines() -> None:
    female = r"Menopaus|Contraception|Hysterectomy|Caesarean|cervix|mammography|Cystitis|Estradiol|Desogestrel|Ethinyl"
    male = r"[Pp]rostat|Vasectomy|Tamsulosin|Finasteride"
    seen = set()
    for each in sent():
        terms = " ".join(named(each))
        assert not re.search(male if each.sex == "female" else female, terms), terms
        if re.search(female if each.sex == "female" else male, terms):
            seen.add(each.sex)
    assert seen == {"female", "male"}


FOR_CHILDREN = re.compile(
    r"paediatric|125mg/5ml|250mg/5ml|1mg/ml oral|150micrograms/0.15ml|Beclometasone 50micrograms/dose inhaler"
)
FOR_ADULTS = re.compile(r"tablets|Doxycycline|Naproxen|[Cc]o-codamol|Estradiol|capsules")


def test_children_have_their_doses_and_adults_theirs() -> None:
    children = 0
    for each in sent():
        for medicine in medicines(each):
            # What a child was given first and takes still is judged by the age of today.
            age = age_at(each, medicine) if isinstance(medicine, AcuteMedication) else each.age(each.made)
            product = medicine.product.display
            if age >= 12:
                assert not FOR_CHILDREN.search(product), (age, product)
                assert "spacer" not in medicine.dosage
            else:
                children += 1
                assert not FOR_ADULTS.search(product), (age, product)
    assert children > 5


DOSES_OF_CHILDREN = {
    ("Amoxicillin 125mg/5ml", "5ml three"): (0, 0),
    ("Amoxicillin 250mg/5ml", "5ml three"): (1, 4),
    ("Amoxicillin 250mg/5ml", "10ml three"): (5, 11),
    ("Clarithromycin 125mg/5ml", "5ml twice"): (3, 6),
    ("Clarithromycin 250mg/5ml", "5ml twice"): (7, 11),
    ("Paracetamol 120mg/5ml", "5ml up to four"): (0, 1),
    ("Paracetamol 120mg/5ml", "10ml up to four"): (4, 5),
    ("Paracetamol 250mg/5ml", "7.5ml up to four"): (8, 9),
}


def test_a_child_s_dose_is_that_of_its_age() -> None:
    seen = set()
    for patient in children():
        for medicine in patient.entries(AcuteMedication):
            for (product, dose), (lowest, highest) in DOSES_OF_CHILDREN.items():
                if medicine.product.display.startswith(product) and medicine.dosage.startswith(dose):
                    seen.add((product, dose))
                    assert lowest <= age_at(patient, medicine) <= highest, (medicine, age_at(patient, medicine))
    assert len(seen) > 4


AGE_OF_ONSET = {
    "Essential hypertension": 30,
    "Chronic obstructive pulmonary disease": 45,
    "Dementia": 72,
    "Osteoporosis": 58,
    "Benign prostatic hyperplasia": 50,
    "Menopausal symptoms": 46,
    "Heart failure": 60,
    "Acute bronchitis": 12,
    "Cystitis": 18,
    "Contraception": 17,
    "Type 2 diabetes mellitus": 30,
}


def test_conditions_begin_at_their_age() -> None:
    seen = set()
    for each in sent():
        for entry in each.entries(Diagnosis):
            if entry.code.display in AGE_OF_ONSET:
                seen.add(entry.code.display)
                assert age_at(each, entry) >= AGE_OF_ONSET[entry.code.display]
            if entry.code.display == "Acute otitis media":
                assert age_at(each, entry) <= 11
            if entry.code.display in ("Contraception", "Menopausal symptoms"):
                assert age_at(each, entry) <= 57
    assert len(seen) > 7


TIMES = {
    "once a week": 1 / 7,
    "One daily": 1,
    "One each morning": 1,
    "One at night": 1,
    "One twice a day": 2,
    "One three times a day": 3,
    "One four times a day": 4,
    "Two four times a day": 8,
}


def test_the_quantity_is_the_dose_for_a_reasonable_time() -> None:
    """Counted forms: what is taken a day, for three days to three months, comes to the quantity."""
    judged = 0
    for each in sent():
        for medicine in medicines(each):
            assert medicine.quantity is not None
            assert float(medicine.quantity.value) > 0
            dose = medicine.dosage
            per_day = next((n for words, n in TIMES.items() if dose.startswith(words)), None)
            if per_day is None or medicine.quantity.text not in ("tablet", "capsule") or "days without" in dose:
                continue
            judged += 1
            days = float(medicine.quantity.value) / per_day
            stated = re.search(r"for (\d+) days", dose)
            part = re.search(r"on days (\d+) to (\d+)", dose)
            usual = (int(stated[1]),) if stated else (int(part[2]) - int(part[1]) + 1,) if part else (28, 30, 84, 7)
            assert days in usual, (dose, medicine.quantity)
    assert judged > COUNT


def test_each_form_is_measured_in_its_unit() -> None:
    forms = {
        "tablets": "tablet", "capsules": "capsule", "inhaler": "inhaler", "cream": "gram", "gel": "gram",
        "ointment": "gram", "oral suspension": "ml", "eye drops": "ml", "patches": "patch", "nasal spray": "spray",
        "ampoules": "ampoule", "auto-injectors": "auto-injector",
    }  # fmt: skip
    seen = set()
    for each in sent():
        for medicine in medicines(each):
            form = max((f for f in forms if f in medicine.product.display), key=len, default="")
            if form:
                seen.add(form)
                assert medicine.quantity is not None
                assert medicine.quantity.text == forms[form]
    assert len(seen) > 7


# --- measurements ---------------------------------------------------------------------------------------------------

SPANS = {
    "Serum sodium level": ("mmol/L", 125, 150),
    "Serum potassium level": ("mmol/L", 3.0, 6.0),
    "Serum urea level": ("mmol/L", 2, 25),
    "Serum creatinine level": ("umol/L", 40, 250),
    "Estimated glomerular filtration rate": ("mL/min", 20, 120),
    "Haemoglobin estimation": ("g/L", 80, 185),
    "Total white cell count": ("10*9/L", 3, 15),
    "Platelet count": ("10*9/L", 120, 500),
    "Mean corpuscular volume": ("fL", 65, 110),
    "Serum cholesterol level": ("mmol/L", 2.5, 9),
    "Serum alanine aminotransferase level": ("U/L", 5, 120),
    "Haemoglobin A1c level (IFCC standardised)": ("mmol/mol", 28, 120),
    "Thyroid stimulating hormone measurement": ("m[IU]/L", 0.1, 20),
    "Serum urate level": ("umol/L", 120, 650),
    "Prostate specific antigen level": ("ug/L", 0, 10),
    "Peak expiratory flow rate": ("L/min", 150, 650),
}


def test_results_have_plausible_values_and_units() -> None:
    seen = set()
    for each in sent():
        for finding in each.entries(Finding):
            content: Any = finding.value.content
            assert isinstance(content, Quantity)
            name = finding.code.display
            if name in SPANS:
                seen.add(name)
                unit, lowest, highest = SPANS[name]
                assert content.unit == unit
                assert lowest <= float(content.value) <= highest, (name, content)
    assert len(seen) == len(SPANS)


def test_a_result_outside_its_range_says_so_and_no_other_does() -> None:
    outside = 0
    for each in sent():
        for finding in each.entries(Finding):
            reference = finding.reference_range
            if reference is None:
                continue
            value = float(finding.value.content.value)
            low, high = (float(limit.value) if limit else None for limit in (reference.low, reference.high))
            expected = "HI" if high is not None and value > high else "LO" if low is not None and value < low else None
            assert (reference.interpretation.code if reference.interpretation else None) == expected
            outside += expected is not None
    assert outside > 50


def test_diabetes_shows_in_the_blood_and_its_absence_too() -> None:
    diabetic = 0
    for each in sent():
        begun = [start(entry) for entry in each.entries(Diagnosis) if "diabetes" in entry.code.display]
        for finding in each.entries(Finding):
            if finding.code.display.startswith("Haemoglobin A1c"):
                diabetic += 1
                assert begun
                assert begun[0] < start(finding)
                assert float(finding.value.content.value) >= 46
    assert diabetic > 20


def test_blood_pressures_are_of_people_who_are_well_enough() -> None:
    judged = 0
    for each in sent():
        for entry in each.entries(BloodPressure):
            upper, lower = int(entry.systolic.value.value), int(entry.diastolic.value.value)
            assert entry.systolic.value.unit == entry.diastolic.value.unit == "mm[Hg]"
            assert 95 <= upper <= 160
            assert 25 <= upper - lower <= 70
            assert age_at(each, entry) >= 16
            judged += 1
    assert judged > 100


def test_weight_and_height_are_those_of_the_age() -> None:
    children = 0
    for each in sent():
        for entry in each.entries(Weight):
            age, kilograms = age_at(each, entry), int(entry.value.value)
            assert entry.value.unit == "kg"
            assert (7 + 2 * age <= kilograms <= 16 + 4 * age) if age < 16 else 40 <= kilograms <= 130, (age, kilograms)
            children += age < 16
        for entry in each.entries(Height):
            age, centimetres = age_at(each, entry), int(entry.value.value)
            assert age < 16
            assert 65 + 6 * age <= centimetres <= 90 + 7 * age, (age, centimetres)
    assert children > 3


# --- prevention -----------------------------------------------------------------------------------------------------

VACCINES = {
    "six in one": (0, 0),
    "meningitis B": (0, 0),
    "measles": (1, 3),
    "pre-school": (3, 3),
    "papillomavirus": (12, 13),
    "school leaver": (14, 14),
    "shingles": (70, 71),
    "Pneumococcal vaccination": (65, 66),
    "SARS-CoV-2": (18, 110),
}


def test_vaccines_are_given_at_their_age() -> None:
    seen = set()
    for each in sent():
        for entry in every_entry(each.summary):
            term = getattr(getattr(entry, "code", None), "display", "") or ""
            for word, (lowest, highest) in VACCINES.items():
                if word in term:
                    seen.add(word)
                    assert lowest <= age_at(each, entry) <= highest, (term, age_at(each, entry))
    assert len(seen) > 6


def test_a_vaccine_of_the_calendar_is_given_once() -> None:
    for each in sent():
        terms = [entry.code.display for entry in each.summary.treatments]
        once = [term for term in terms if term != "Influenza vaccination"]
        assert len(once) == len(set(once))


def test_screening_is_offered_to_those_it_is_for() -> None:
    ages = {"cervix": (24, 65), "mammography": (49, 71), "large intestine": (59, 75), "Health Check": (39, 75)}
    seen = set()
    for each in sent():
        diabetic = [start(entry) for entry in each.entries(Diagnosis) if "diabetes" in entry.code.display]
        lost = any("Hysterectomy" in term for term in named(each))
        for entry in every_entry(each.summary):
            term = getattr(getattr(entry, "code", None), "display", "") or ""
            if "retinopathy" in term:
                assert diabetic
                assert diabetic[0] < start(entry)
            assert not (lost and "cervix" in term)
            for word, (lowest, highest) in ages.items():
                if word in term:
                    seen.add(word)
                    assert lowest <= age_at(each, entry) <= highest
    assert seen == set(ages)


# --- the tables -----------------------------------------------------------------------------------------------------


def verhoeff(code: str) -> bool:
    table = ("0123456789", "1576283094")
    permutations = [table[0], table[1]]
    for _ in range(6):
        permutations.append("".join(permutations[-1][int(table[1][digit])] for digit in range(10)))
    check = 0
    for place, digit in enumerate(reversed(code)):
        permuted = int(permutations[place % 8][int(digit)])
        turn, flip = check % 5, check >= 5
        other, other_flip = permuted % 5, permuted >= 5
        check = ((turn - other) if flip else (turn + other)) % 5 + 5 * (flip ^ other_flip)
    return check == 0


def codes_of(value: Any) -> Iterator[tuple[str, str]]:
    match value:
        case formulary.Coded():
            if value != formulary.SELF:
                yield value.code, value.display or ""
        case tuple():
            for part in value:
                yield from codes_of(part)
        case dict():
            yield from codes_of(tuple(value.values()))
        case _ if hasattr(value, "__dataclass_fields__"):
            yield from codes_of(tuple(getattr(value, name) for name in value.__dataclass_fields__))


def test_every_code_has_the_form_and_check_digit_of_snomed_ct_and_one_meaning() -> None:
    tables = [value for name, value in vars(formulary).items() if name.isupper()]
    codes = {pair for table in tables for pair in codes_of(table)}
    assert len(codes) > 150
    assert [code for code, _ in codes if not (re.fullmatch(r"[1-9][0-9]{5,17}", code) and verhoeff(code))] == []
    meanings: dict[str, set[str]] = {}
    for code, display in codes:
        meanings.setdefault(code, set()).add(display)
    assert {code: terms for code, terms in meanings.items() if len(terms) > 1} == {}


def test_the_tables_name_each_other_rightly() -> None:
    conditions = {condition.key for condition in formulary.CONDITIONS}
    classes = {class_ for course in formulary.COURSES.values() for class_ in course.classes}
    assert {clinic for c in formulary.CONDITIONS if (clinic := c.clinic)} <= set(formulary.LETTERS)
    assert {panel for c in formulary.CONDITIONS for panel in c.panels} <= {m.panel for m in formulary.MEASURES}
    assert {key for c in formulary.CONDITIONS for key in c.excludes} <= conditions
    assert {m.moved_by for m in formulary.MEASURES if m.moved_by} <= conditions
    forbidden = {class_ for each in (*formulary.CONDITIONS, *formulary.ALLERGENS) for class_ in each.forbids}
    assert forbidden | {class_ for pair in formulary.NOT_TOGETHER for class_ in pair} <= classes
    used = {course.key for c in formulary.CONDITIONS for course in (*c.steps, *c.beside)}
    used |= {course.key for episode in formulary.EPISODES for course in episode.courses}
    used |= {course.key for allergen in formulary.ALLERGENS for course in allergen.carries}
    assert used <= set(formulary.COURSES)


def test_a_missing_rule_would_be_noticed() -> None:
    """The population has what the rules are about: children, the old, and both sexes."""
    ages = [each.age(each.made) for each in sent()]
    assert min(ages) < 6
    assert max(ages) > 88
    assert {each.sex for each in sent()} == {"female", "male"}


@pytest.mark.parametrize("state", set(State) - {State.NO_RECORD})
def test_every_state_is_among_those_that_are_judged(state: State) -> None:
    assert any(each.state is state for each in sent())
