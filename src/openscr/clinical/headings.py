"""The headings of a GP Summary: their codes, names, and the order in which they are written.

Spec: 10 §7, §9.1; 80 §2; 00 §6.2.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Heading:
    """One heading (CRE type): member name, SNOMED CT code, ``displayName``, and the usual type of its entries."""

    member: str
    code: str
    display: str
    default_type: str


MEDICATION: Final = "185361000000102"
"""Code of the one coded heading that is printed as three. Spec: 10 §7."""

HEADINGS: Final = (
    Heading("allergies", "163221000000102", "Allergies and Adverse Reactions", "Allergy"),
    Heading("medications", MEDICATION, "Medication", ""),
    Heading("problems", "162991000000102", "Problems and Issues", "Problem"),
    Heading("care_events", "162951000000105", "Care Events", "CareEvent"),
    Heading("preferences", "162961000000108", "Personal Preferences", "PersonalPreference"),
    Heading("diagnoses", "163001000000103", "Diagnoses", "Diagnosis"),
    Heading("circumstances", "163021000000107", "Social and Personal Circumstances", "SocialOrPersonalCircumstance"),
    Heading("services", "163031000000109", "Services, Care Professionals and Carers", "Service"),
    Heading("lifestyle", "163041000000100", "Lifestyle", "LifeStyle"),
    Heading("family_history", "163051000000102", "Family History", "FamilyHistory"),
    Heading("treatments", "163071000000106", "Treatments", "Treatment"),
    Heading("administrative_procedures", "163091000000105", "Administrative Procedures", "AdministrativeProcedure"),
    Heading("observations", "163131000000108", "Clinical Observations and Findings", "Finding"),
    Heading("investigation_results", "163141000000104", "Investigation Results", "Finding"),
    Heading("investigations", "163081000000108", "Investigations", "Investigation"),
    Heading(
        "advice",
        "163101000000102",
        "Provision of Advice and Information to Patients and Carers",
        "ProvisionOfAdviceAndInformation",
    ),
    Heading("documents", "163171000000105", "Care Professional Documentation", "CareProfessionalDocumentation"),
    Heading("patient_correspondence", "163181000000107", "Patient/Carer Correspondence", "PatientCarerCorrespondence"),
    Heading("third_party_correspondence", "163191000000109", "Third Party Correspondence", "ThirdPartyCorrespondence"),
    Heading("risks_to_patient", "163231000000100", "Risks to Patient", "RiskToPatient"),
    Heading("risks_to_others", "163241000000109", "Risks to Care Professional or Third Party", "RiskToPerson"),
    Heading("links", "181331000000109", "Link Assertion", "LinkAssertion"),
)
"""Every heading in the order in which a summary is written. Spec: 00 §6.2 "Written order"."""

HEADING_BY_CODE: Final = {heading.code: heading for heading in HEADINGS}

MEDICATION_LISTS: Final = {
    "acute": "AcuteMedication",
    "current_repeat": "CurrentRepeatMedication",
    "discontinued": "DiscontinuedRepeatMedication",
    "administrations": "MedicationAdministration",
}
"""The four lists of the heading Medication, in written order, with the usual type of their entries."""
