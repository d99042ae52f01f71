"""The medicine that synthetic patients draw from: conditions, what treats them, what is measured, what happens beside.

SNOMED CT and dm+d codes are illustrative, as in every test record: a terminology release decides what they mean.
Doses and quantities are those of ordinary adult prescriptions, so that a record reads as a real one would.

Spec: 80 §1.1, §2.
"""

from dataclasses import dataclass
from typing import Final

from openscr.testbench.content import Coded


@dataclass(frozen=True, slots=True)
class Course:
    """A medicine as it is prescribed: product, dose, quantity and the unit it is counted in."""

    product: Coded
    dose: str
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class Measure:
    """A laboratory value: UCUM unit, printed unit, the span drawn from, decimals, and the reference range."""

    code: Coded
    unit: str
    printed_unit: str
    lowest: float
    highest: float
    decimals: int = 0
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Condition:
    """A long-term condition.

    ``former`` is what ``repeat`` took the place of. ``avoids`` names conditions and allergies (by code) that it, or
    what treats it, does not go together with.
    """

    diagnosis: Coded
    from_age: int
    repeat: Course
    former: Course | None = None
    measure: Measure | None = None
    note: str = ""
    avoids: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Episode:
    """A short illness and what was prescribed for it; ``instead`` is for patients allergic to penicillins."""

    finding: Coded
    course: Course
    instead: Course | None = None


PENICILLIN: Final = Coded("91936005", "Allergy to penicillin")
ASPIRIN: Final = Coded("293586001", "Allergy to aspirin")
NO_KNOWN_ALLERGY: Final = Coded("716186003", "No known allergy")

ALLERGIES: Final = (
    (PENICILLIN, "Certain", "Moderate", "Widespread rash on second day of treatment"),
    (Coded("91935009", "Allergy to peanut"), "Certain", "Severe", "Facial swelling; carries adrenaline auto-injector"),
    (ASPIRIN, "Likely", "Moderate", "Wheeze within the hour"),
    (Coded("300916003", "Latex allergy"), "Certain", "Mild", "Contact urticaria from gloves"),
    (Coded("300913006", "Allergy to shellfish"), "Likely", "Moderate", "Urticaria and vomiting"),
)

CREATININE: Final = Measure(
    Coded("1000731000000107", "Serum creatinine level"), "umol/L", "umol/L", 62, 98, 0, "59", "104"
)
_HBA1C: Final = Measure(
    Coded("999791000000106", "Haemoglobin A1c level (IFCC standardised)"), "mmol/mol", "mmol/mol", 46, 66, 0, "20", "41"
)
_CHOLESTEROL: Final = Measure(Coded("1005671000000105", "Serum cholesterol level"), "mmol/L", "mmol/L", 3.4, 5.2, 1)
_TSH: Final = Measure(
    Coded("61167004", "Thyroid stimulating hormone measurement"), "m[IU]/L", "mIU/L", 0.6, 4.1, 1, "0.4", "4.5"
)

_SALBUTAMOL: Final = Course(
    Coded("39113611000001102", "Salbutamol 100micrograms/dose inhaler CFC free"),
    "Two puffs when required up to four times a day",
    "1",
    "inhaler",
)
ASTHMA: Final = Coded("195967001", "Asthma")
COPD: Final = Coded("13645005", "Chronic obstructive pulmonary disease")
HYPERTENSION: Final = Coded("38341003", "Essential hypertension")
DIABETES: Final = Coded("44054006", "Type 2 diabetes mellitus")
OSTEOARTHRITIS: Final = Coded("396275006", "Osteoarthritis")
_ISCHAEMIC_HEART: Final = Coded("414545008", "Ischaemic heart disease")
_REFLUX: Final = Coded("235595009", "Gastro-oesophageal reflux disease")

CONDITIONS: Final = (
    Condition(
        HYPERTENSION,
        42,
        Course(Coded("319283006", "Amlodipine 5mg tablets"), "One daily", "28", "tablet"),
        Course(Coded("317919004", "Bendroflumethiazide 2.5mg tablets"), "One each morning", "28", "tablet"),
        CREATININE,
        "Home readings agree with those at the practice",
    ),
    Condition(
        DIABETES,
        44,
        Course(Coded("325278007", "Metformin 500mg tablets"), "One twice a day with meals", "56", "tablet"),
        Course(Coded("325279004", "Metformin 850mg tablets"), "One twice a day with meals", "56", "tablet"),
        _HBA1C,
        "Diet and exercise advice given at diagnosis",
    ),
    Condition(
        Coded("55822004", "Hyperlipidaemia"),
        45,
        Course(Coded("320030001", "Atorvastatin 20mg tablets"), "One at night", "28", "tablet"),
        Course(Coded("320029006", "Atorvastatin 10mg tablets"), "One at night", "28", "tablet"),
        _CHOLESTEROL,
    ),
    Condition(
        Coded("40930008", "Hypothyroidism"),
        30,
        Course(
            Coded("374295007", "Levothyroxine sodium 50microgram tablets"), "One daily before breakfast", "28", "tablet"
        ),
        None,
        _TSH,
        "Confirmed on repeat bloods",
    ),
    Condition(ASTHMA, 18, _SALBUTAMOL, None, None, "Reviewed yearly by practice nurse", frozenset({COPD.code})),
    Condition(COPD, 55, _SALBUTAMOL, None, None, "Confirmed by spirometry", frozenset({ASTHMA.code})),
    Condition(
        _REFLUX,
        30,
        Course(
            Coded("317291008", "Omeprazole 20mg gastro-resistant capsules"), "One daily before food", "28", "capsule"
        ),
        avoids=frozenset({OSTEOARTHRITIS.code}),
    ),
    Condition(
        OSTEOARTHRITIS,
        55,
        Course(
            Coded("330274004", "Ibuprofen 10% gel"),
            "Apply to the affected joint up to three times a day",
            "100",
            "gram",
        ),
        Course(Coded("329653008", "Ibuprofen 400mg tablets"), "One three times a day with food", "84", "tablet"),
        None,
        "Right hip",
        frozenset({ASTHMA.code, _REFLUX.code, _ISCHAEMIC_HEART.code, ASPIRIN.code}),
    ),
    Condition(
        Coded("35489007", "Depressive disorder"),
        22,
        Course(Coded("321949006", "Fluoxetine 20mg capsules"), "One each morning", "30", "capsule"),
        None,
        None,
        "Mood stable at last review",
    ),
    Condition(
        _ISCHAEMIC_HEART,
        56,
        Course(Coded("319781007", "Aspirin 75mg gastro-resistant tablets"), "One daily", "28", "tablet"),
        None,
        CREATININE,
        "",
        frozenset({OSTEOARTHRITIS.code, ASPIRIN.code}),
    ),
)

EPISODES: Final = (
    Episode(
        Coded("10509002", "Acute bronchitis"),
        Course(Coded("323510009", "Amoxicillin 500mg capsules"), "One three times a day for 5 days", "15", "capsule"),
        Course(
            Coded("324059006", "Doxycycline 100mg capsules"), "Take two on the first day then one daily", "8", "capsule"
        ),
    ),
    Episode(
        Coded("279039007", "Low back pain"),
        Course(
            Coded("3805611000001109", "Co-codamol 15mg/500mg tablets"),
            "One or two up to four times a day when required; no more than 8 in 24 hours",
            "30",
            "tablet",
        ),
    ),
    Episode(
        Coded("61582004", "Allergic rhinitis"),
        Course(
            Coded("3326511000001109", "Loratadine 10mg tablets (Actavis UK Ltd)"),
            "One daily when required",
            "30",
            "tablet",
        ),
    ),
)

SMOKER: Final = Coded("77176002", "Smoker")
SMOKING: Final = (Coded("266919005", "Never smoked tobacco"), Coded("8517006", "Ex-smoker"), SMOKER)
FAMILY_HISTORY: Final = (
    Coded("275104002", "Family history of stroke"),
    Coded("160303001", "Family history of diabetes mellitus"),
    Coded("266897007", "Family history of myocardial infarction"),
)
FAMILY_NOTES: Final = ("Mother, aged 71", "Father, aged 66", "Brother")
INFLUENZA_VACCINATION: Final = Coded("86198006", "Influenza vaccination")
PNEUMOCOCCAL_VACCINATION: Final = Coded("12866006", "Pneumococcal vaccination")
COVID_VACCINATION: Final = Coded("1324681000000101", "Administration of first dose of SARS-CoV-2 vaccine")
APPENDICECTOMY: Final = Coded("80146002", "Appendicectomy")
CHECK_UP: Final = Coded("185349003", "Encounter for check up")
DIABETIC_REVIEW: Final = Coded("170777000", "Annual diabetic review")
CHEST_X_RAY: Final = Coded("399208008", "Plain chest X-ray")
COLONOSCOPY: Final = Coded("73761001", "Colonoscopy")
BODY_WEIGHT: Final = Coded("27113001", "Body weight")
LIVES_ALONE: Final = Coded("105529008", "Lives alone")
CARER: Final = Coded("133932002", "Caregiver")
SMOKING_ADVICE: Final = Coded("225323000", "Smoking cessation education")
EXERCISE_ADVICE: Final = Coded("304549008", "Giving encouragement to exercise")
PREFERRED_PLACE: Final = Coded("110481000000108", "Preferred place of death: home")
NOT_FOR_RESUSCITATION: Final = Coded("304253006", "Not for resuscitation")

GIVEN_NAMES: Final = {
    "female": (
        "Amina",
        "Bronwen",
        "Carol",
        "Dorothy",
        "Eilidh",
        "Farida",
        "Grace",
        "Hannah",
        "Ivy",
        "Joan",
        "Leanne",
        "Priya",
    ),
    "male": (
        "Alan",
        "Bilal",
        "Callum",
        "Derek",
        "Ewan",
        "Francis",
        "Gareth",
        "Harjit",
        "Ian",
        "Joseph",
        "Kwame",
        "Leon",
    ),
}
FAMILY_NAMES: Final = (
    "Testerson", "Samplewood", "Mockridge", "Fixturely", "Dummond", "Placeholm", "Trialby", "Demoford", "Stubbington",
    "Synthwaite", "Examplar", "Protoman", "Pseudley", "Artificio", "Fabrick", "Contrivance",
)  # fmt: skip
STREETS: Final = ("Example Lane", "Sample Street", "Fixture Road", "Trial Close", "Mock Hill", "Demo Gardens")
