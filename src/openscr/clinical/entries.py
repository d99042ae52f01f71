"""Every record element of a GP Summary as a typed value: what is coded under the headings.

An entry has exactly the members that its table in the specification gives it. What is fixed (class codes, template ids,
the codes of medications and problems) is not a member. An entry points at another one of the same summary by a
`Reference`, or simply by the entry itself: ids are given when the summary is completed.

Spec: 10 §8, 00 §6.2.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from openscr.clinical.participants import (
    Agent,
    AgentOrDevice,
    AgentOrNonAgent,
    AnyParticipant,
    NonAgent,
    Organisation,
    Person,
    Place,
    SdsOrganisation,
    SdsPerson,
)
from openscr.clinical.values import Coded, Identifier, Interval, Quantity, Range, Time, Value
from openscr.codes import OID_INTERPRETATION

_REQUIRED = {"required": True}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What every record element has: an ``id``, a UUID unique in the summary. Spec: 10 §8."""

    refers_as: ClassVar[str | None] = None
    """The kind of a reference to such an entry, where the specification gives it one. Spec: 10 §8.3."""

    id: str | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """A pointer to another entry: its ``kind`` (an element name of 10 §8.3), its id, and its mood where it has one."""

    kind: str
    id: str
    mood: str = "EVN"


Link = Reference | Entry
"""A reference, or the entry that is meant."""


POINTERS_BY_ID = frozenset({"findings", "problem", "linked_problem"})
"""Members that hold ids of entries, not references. Spec: 00 §6.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CodedEntry(Entry):
    """An entry that a code names. Spec: 10 §8.5."""

    code: Coded
    time: Time | Interval


# --- allergies, medications -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Allergy(CodedEntry):
    """An allergy or adverse reaction as one coded event. Spec: 10 §8.5 UKCT_MT144053UK02."""

    refers_as = "AllergiesAndAdverseReactionsIdent"
    status: str = "completed"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    performer: AgentOrNonAgent | None = None
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AllergyDE(CodedEntry):
    """An allergy with the findings that it rests on. Spec: 10 §8.5 UKCT_MT144048UK02."""

    refers_as = "AllergiesAndAdverseReactionsDE"
    status: str = "completed"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    performer: AgentOrNonAgent | None = None
    supporting_text: str | None = None
    findings: tuple[str | Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """How long a supply lasts. Spec: 10 §8.4 MED-SUPPLY."""

    time: Time | Interval
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Medication(Entry):
    """What all medications share: the product, how much, for how long, why. Spec: 10 §8.4."""

    product: Coded
    author: Agent | None = None
    quantity: Quantity | None = None
    supporting_text: str | None = None
    supply: Supply | None = None
    reasons: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRepeatMedication(Medication):
    """A medicine that is repeated. Spec: 10 §8.5 UKCT_MT144040UK01."""

    refers_as = "Medication"
    dosage: str
    status: str = "active"
    time: Time | Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class AcuteMedication(Medication):
    """A medicine that was prescribed once. Spec: 10 §8.5 UKCT_MT144040UK01."""

    refers_as = "Medication"
    dosage: str
    status: str = "completed"
    time: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscontinuedRepeatMedication(Medication):
    """A medicine that is no longer repeated, and why. Spec: 10 §8.5 UKCT_MT144040UK01."""

    refers_as = "Medication"
    dosage: str
    status: str = "completed"
    time: Time | Interval
    discontinuation_reasons: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MedicationAdministration(Medication):
    """A medicine that was given: a vaccination, an injection. Spec: 10 §8.5 UKCT_MT144040UK01."""

    refers_as = "MedicationAdministration"
    code: Coded
    administration: str
    status: str = "completed"
    time: Time | Interval
    performer: AgentOrNonAgent | None = None


# --- problems and findings ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis(CodedEntry):
    """A diagnosis. Spec: 10 §8.5 UKCT_MT144042UK01."""

    refers_as = "Diagnosis"
    value: Value | None = None
    status: str = "normal"
    author: Agent | None = None
    informant: AgentOrNonAgent | None = None
    supporting_text: str | None = None
    findings: tuple[str | Entry, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem(Entry):
    """A problem: it says of another entry that it is one. Spec: 10 §8.5 UKCT_MT144038UK02."""

    refers_as = "Problem"
    status: str = "active"
    time: Time | Interval
    author: Agent | None = None
    about: Link | None = field(default=None, metadata=_REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceRange:
    """What is normal, and how the result compares. ``interpretation``: Appendix E. Spec: 10 §8.5 Finding."""

    low: Quantity | None = None
    high: Quantity | None = None
    interpretation: Coded | None = field(default=None, metadata={"system": OID_INTERPRETATION})
    text: str | None = None

    @property
    def printed(self) -> str:
        """The range as a summary prints it."""
        return Range(self.low, self.high).printed or self.text or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(CodedEntry):
    """An observation or a result. Spec: 10 §8.5 UKCT_MT144043UK02."""

    refers_as = "Finding"
    value: Value | None = None
    status: str = "completed"
    reference_range: ReferenceRange | None = None
    author: AgentOrDevice | None = None
    informant: AgentOrNonAgent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressure:
    """One of the two numbers of a blood pressure; without a time it is that of the entry. Spec: 10 §8.5."""

    value: Quantity
    id: str | None = None
    time: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BloodPressure(Entry):
    """A blood pressure. Spec: 10 §8.5 UKCT_MT144043UK02."""

    refers_as = "Finding"
    code: Coded
    status: str = "completed"
    time: Time
    diastolic: Pressure
    systolic: Pressure
    author: AgentOrDevice | None = None
    informant: AgentOrNonAgent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement(Entry):
    """What weight, height and temperature share. Spec: 10 §8.5 UKCT_MT144043UK02."""

    refers_as = "Finding"
    value: Quantity
    code: Coded
    status: str = "completed"
    time: Time
    author: AgentOrDevice | None = None
    informant: AgentOrNonAgent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight(Measurement):
    """A body weight. Spec: 10 §8.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Height(Measurement):
    """A body height. Spec: 10 §8.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperature(Measurement):
    """A body temperature. Spec: 10 §8.5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FindingOrganizer(Entry):
    """Findings that belong together: a battery of results. Spec: 10 §8.5 UKCT_MT144043UK02."""

    refers_as = "Finding"
    code: Coded
    status: str = "completed"
    time: Time
    members: tuple[Finding, ...] = field(default=(), metadata=_REQUIRED)
    author: AgentOrDevice | None = None
    informant: AgentOrNonAgent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None


# --- what was done --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a specimen is made of. Spec: 10 §8.5 Investigation."""

    id: str | None = None
    code: Coded | None = None
    determiner: str = "INSTANCE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Specimen:
    """A specimen that an investigation took. Spec: 10 §8.5 Investigation."""

    id: Identifier
    material: Material | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Investigation(CodedEntry):
    """An investigation that was made or is planned (``mood``). Spec: 10 §8.5 UKCT_MT144045UK01."""

    refers_as = "Investigation"
    mood: str = "EVN"
    status: str = "normal"
    author: Agent | None = None
    informant: Agent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None
    related: tuple[Link, ...] = ()
    specimens: tuple[Specimen, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Treatment(CodedEntry):
    """A treatment or procedure. Spec: 10 §8.5 UKCT_MT144055UK01."""

    refers_as = "Treatment"
    mood: str = "EVN"
    status: str = "normal"
    author: Agent | None = None
    informant: Agent | None = None
    performers: tuple[Agent, ...] = ()
    supporting_text: str | None = None
    related: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Service(CodedEntry):
    """A service or professional who cares for the patient. Spec: 10 §8.5 UKCT_MT144047UK01."""

    refers_as = "Service"
    mood: str = "EVN"
    status: str = "normal"
    author: AgentOrNonAgent | None = None
    performer: AgentOrNonAgent | None = None
    supporting_text: str | None = None
    responsible: SdsOrganisation | Organisation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CareEvent(CodedEntry):
    """A contact with care: an admission, a consultation. Spec: 10 §8.5 UKCT_MT144037UK01."""

    refers_as = "CareEvent"
    mood: str = "EVN"
    status: str = "normal"
    author: AnyParticipant | None = None
    location: SdsOrganisation | Organisation | Place | None = None
    service_location: Coded | None = field(default=None, metadata=_REQUIRED)
    participants: tuple[SdsPerson | Person | SdsOrganisation | Organisation, ...] = ()
    performers: tuple[AnyParticipant, ...] = ()
    supporting_text: str | None = None
    related: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AdministrativeProcedure(CodedEntry):
    """An administrative step. Spec: 10 §8.5 UKCT_MT144050UK01."""

    refers_as = "AdministrativeProcedure"
    mood: str = "EVN"
    status: str = "normal"
    author: Agent | None = None
    performer: Agent | None = None
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProvisionOfAdviceAndInformation(CodedEntry):
    """Advice that was given, and to whom. Spec: 10 §8.5 UKCT_MT144049UK01."""

    refers_as = "ProvisionOfAdviceAndInformation"
    status: str = "normal"
    author: Agent | None = None
    supporting_text: str | None = None
    receiver: NonAgent | None = field(default=None, metadata=_REQUIRED)


# --- risks, circumstances, preferences ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskToPatient(Entry):
    """What puts the patient at risk: the entries that say it. Spec: 10 §8.5 UKCT_MT144054UK01."""

    refers_as = "RiskToPatient"
    status: str = "normal"
    time: Time | Interval
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    about: tuple[Link, ...] = field(default=(), metadata=_REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskToPerson(CodedEntry):
    """What puts others at risk. Spec: 10 §8.5 UKCT_MT144041UK01."""

    refers_as = "RiskToPerson"
    status: str = "normal"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    about: tuple[Link, ...] = field(default=(), metadata=_REQUIRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstance(CodedEntry):
    """What life style and circumstances share. Spec: 10 §8.5 UKCT_MT144036UK01."""

    refers_as = "SocialContext"
    status: str = "normal"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LifeStyle(Circumstance):
    """A habit. Spec: 10 §8.5."""

    value: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SocialOrPersonalCircumstance(Circumstance):
    """How the patient lives: alone, with a carer. Spec: 10 §8.5."""

    value: Value | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoking(Circumstance):
    """How much the patient smokes. Spec: 10 §8.5."""

    value: Quantity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlcoholIntake(Circumstance):
    """How much the patient drinks. Spec: 10 §8.5."""

    value: Quantity | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyHistory(CodedEntry):
    """What runs in the family. Spec: 10 §8.5 UKCT_MT144044UK01."""

    refers_as = "FamilyHistory"
    status: str = "normal"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonalPreference(CodedEntry):
    """What the patient wants. Spec: 10 §8.5 UKCT_MT144046UK01."""

    refers_as = "PersonalPreference"
    status: str = "normal"
    author: AgentOrNonAgent | None = None
    informant: AgentOrNonAgent | None = None
    supporting_text: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal(Entry):
    """The patient has refused consent for the upload: such a summary is a dissent. Spec: 10 §8.5, §9.2."""

    time: Time


# --- documents ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Document(Entry):
    """What documents share: a title and a text. Spec: 10 §8.5 UKCT_MT144035UK01."""

    refers_as = "Document"
    version: int | None = None
    code: Coded
    text: str | None = field(default=None, metadata=_REQUIRED)
    title: str | None = None
    status: str = "active"
    time: Time


@dataclass(frozen=True, slots=True, kw_only=True)
class CareProfessionalDocumentation(Document):
    """A document of a care professional. Spec: 10 §8.5."""

    authors: tuple[Agent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ThirdPartyCorrespondence(Document):
    """A letter of a third party. Spec: 10 §8.5."""

    author: AgentOrNonAgent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientCarerCorrespondence(Document):
    """A letter of the patient or a carer. Spec: 10 §8.5."""

    author: NonAgent | None = None


# --- links ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAssertion(CodedEntry):
    """A link from one entry to another; ``code`` says which. Spec: 10 §8.5 UKCT_MT144039UK02."""

    status: str = "completed"
    source: Link | None = field(default=None, metadata=_REQUIRED)
    target: Link | None = field(default=None, metadata=_REQUIRED)
    author: Agent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemMemberAssertion(Entry):
    """An entry belongs to a problem. Spec: 10 §8.5 UKCT_MT144039UK02."""

    status: str = "completed"
    time: Time | Interval
    problem: str | Entry | None = field(default=None, metadata=_REQUIRED)
    member: Link | None = field(default=None, metadata=_REQUIRED)
    author: Agent | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemLinkAssertion(Entry):
    """Two problems belong together. Spec: 10 §8.5 UKCT_MT144039UK02."""

    status: str = "completed"
    time: Time | Interval
    problem: str | Entry | None = field(default=None, metadata=_REQUIRED)
    linked_problem: str | Entry | None = field(default=None, metadata=_REQUIRED)
    author: Agent | None = None


ENTRY_TYPES: dict[str, type[Entry]] = {
    kind.__name__: kind
    for kind in (
        Allergy, AllergyDE, AcuteMedication, CurrentRepeatMedication, DiscontinuedRepeatMedication,
        MedicationAdministration, Diagnosis, Problem, Finding, BloodPressure, Weight, Height, Temperature,
        FindingOrganizer, Investigation, Treatment, RiskToPatient, RiskToPerson, LifeStyle,
        SocialOrPersonalCircumstance, Smoking, AlcoholIntake, FamilyHistory, PersonalPreference, Service, CareEvent,
        AdministrativeProcedure, ProvisionOfAdviceAndInformation, CareProfessionalDocumentation,
        ThirdPartyCorrespondence, PatientCarerCorrespondence, LinkAssertion, ProblemMemberAssertion,
        ProblemLinkAssertion, Refusal,
    )
}  # fmt: skip
"""Every record element by its name after the dot. Spec: 10 §8.5."""

REFERENCE_KINDS = frozenset(kind.refers_as for kind in ENTRY_TYPES.values() if kind.refers_as)
"""The kinds of reference. Spec: 10 §8.3."""
