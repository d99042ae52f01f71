"""The shapes of every record element: the tables of the specification, child by child, in the order of the schema.

Spec: 10 §8.
"""

from typing import Final

from openscr.clinical import entries as clinical
from openscr.codes import OID_MEDICATION_TEXT, OID_SNOMED, OID_TEMPLATE, OID_TEXT_CODE
from openscr.hl7.datatypes import (
    AMOUNT,
    ANY,
    CODED,
    II,
    INT,
    INTERVAL,
    MOMENT,
    TEXT,
    UUID,
    CodeOnly,
    Datatype,
)
from openscr.hl7.participant_shapes import (
    DEVICE,
    NON_AGENT,
    NON_AGENT_ROLE,
    ORGANISATION,
    PERSON,
    PLACE,
    SDS_ORGANISATION,
    SDS_PERSON,
    participation,
)
from openscr.hl7.shapes import SELF, Choice, Content, Fixed, Leaf, Node, Shape, Sub, Within

_OBSERVATION: Final = {"classCode": "OBS", "moodCode": "EVN"}
_INTENTS: Final = {"moodCode": "mood"}

# --- what many have in common ---------------------------------------------------------------------------------------


def template(extension: str, family: str = "CSAB") -> Fixed:
    """Return the ``templateId`` of a relationship. Spec: 10 §8."""
    return Fixed("templateId", {"root": OID_TEMPLATE, "extension": f"{family}_RM-NPfITUK10.{extension}"})


def separable(value: str = "false") -> Fixed:
    """Return ``seperatableInd``, spelled as the schema spells it."""
    return Fixed("seperatableInd", {"value": value})


def fixed_code(code: str, display: str, system: str = OID_SNOMED) -> Fixed:
    """Return a ``code`` that is always the same."""
    return Fixed("code", {"code": code, "codeSystem": system, "displayName": display})


def _pertinent(inversion: str = "false") -> dict[str, str]:
    return {"typeCode": "PERT", "inversionInd": inversion, "negationInd": "false"}


def _status(*values: str) -> Leaf:
    return Leaf("statusCode", "status", CodeOnly(frozenset(values)))


def _time(datatype: Datatype) -> Leaf:
    return Leaf("effectiveTime", "time", datatype)


_ID: Final = Leaf("id", "id", UUID)
_CODE: Final = Leaf("code", "code", CODED)
_FULL_STATUS: Final = _status("normal", "nullified", "active", "completed")
_SHORT_STATUS: Final = _status("nullified", "completed")
_PERT_CONTEXT: Final = {"typeCode": "PERT", "contextConductionInd": "true"}

SUPPORT: Final = Within(
    "pertinentInformation",
    _PERT_CONTEXT,
    Content(
        separable(),
        Within(
            "pertinentSupportingInfo",
            _OBSERVATION,
            Content(
                Leaf("value", "supporting_text", TEXT),
                fixed_code("SupportingText", "Supporting Text", OID_TEXT_CODE),
            ),
        ),
    ),
    required=False,
)
"""Free text that supports an entry. Spec: 10 §8.2."""

P: Final = (SDS_PERSON, PERSON)
PN: Final = (*P, NON_AGENT)
PD: Final = (*P, DEVICE)
PDN: Final = (*P, DEVICE, NON_AGENT)


def _author(agents: tuple[Shape, ...], *, time_required: bool = True) -> Sub:
    return Sub("author", participation("author", "AUT", agents, MOMENT, time_required=time_required))


def _informant(agents: tuple[Shape, ...] = PN, datatype: Datatype = MOMENT, *, time_required: bool = True) -> Sub:
    return Sub("informant", participation("informant", "INF", agents, datatype, time_required=time_required))


def _performer(agents: tuple[Shape, ...], datatype: Datatype | None, *, many: bool = False) -> Sub:
    shape = participation("performer", "PRF", agents, datatype, mode=True)
    return Sub("performers" if many else "performer", shape, many=many)


# --- references to other entries ------------------------------------------------------------------------------------

_REFERENCES: Final = {
    **dict.fromkeys(
        (
            "PersonalPreference",
            "Finding",
            "SocialContext",
            "FamilyHistory",
            "Diagnosis",
            "RiskToPerson",
            "RiskToPatient",
            "AllergiesAndAdverseReactionsDE",
            "AllergiesAndAdverseReactionsIdent",
        ),
        ("OBS", "EVN"),
    ),
    "Problem": ("CNOD", "EVN"),
    "Medication": ("SBADM", "RQO"),
    "MedicationAdministration": ("SBADM", "EVN"),
    "Document": ("DOC", "EVN"),
    "ProvisionOfAdviceAndInformation": ("INFRM", "EVN"),
    "Investigation": ("PROC", None),
    "Treatment": ("PROC", None),
    "Service": ("PCPR", None),
    "AdministrativeProcedure": ("ACT", None),
    "CareEvent": ("ENC", None),
}
"""Class code and mood of each reference element; no mood means that the reference says it. Spec: 10 §8.3."""

REFERENCE_KINDS: Final = frozenset(_REFERENCES)
"""Every kind of reference. Spec: 10 §8.3."""


def _reference(kind: str) -> Shape:
    class_code, mood = _REFERENCES[kind]
    return Shape(
        kind,
        {"classCode": class_code or "", **({"moodCode": mood} if mood else {})},
        Content(_ID),
        of=clinical.Reference,
        bound={} if mood else _INTENTS,
        constants={"kind": kind},
    )


def _points_at(
    name: str,
    member: str,
    kinds: str,
    attributes: dict[str, str],
    source: str,
    *,
    required: bool = False,
    many: bool = False,
    separate: str = "false",
) -> Sub:
    """Return a relationship to one entry, whose kind is one of those named."""
    choice = Choice(tuple(_reference(kind) for kind in kinds.split()))
    shape = Shape(name, attributes, Content(template(source), separable(separate), choice))
    return Sub(member, shape, required=required, many=many)


_REF_17: Final = (
    "PersonalPreference Finding SocialContext FamilyHistory Diagnosis Medication MedicationAdministration "
    "AllergiesAndAdverseReactionsDE AllergiesAndAdverseReactionsIdent RiskToPerson RiskToPatient Investigation Service "
    "ProvisionOfAdviceAndInformation AdministrativeProcedure Treatment CareEvent"
)
_REASONS: Final = (
    "PersonalPreference Finding FamilyHistory Diagnosis AllergiesAndAdverseReactionsDE "
    "AllergiesAndAdverseReactionsIdent RiskToPatient Investigation Treatment CareEvent"
)
_MEDICATIONS: Final = "MedicationAdministration Medication"


def _points_by_id(name: str, member: str, target: str, attributes: dict[str, str], source: str, *, many: bool) -> Sub:
    """Return a relationship that names nothing but the id of an entry."""
    inside = Within(target, _OBSERVATION, Content(Leaf("id", SELF, UUID)))
    shape = Shape(name, attributes, Content(template(source), separable(), inside))
    return Sub(member, shape, required=not many, many=many)


_FINDINGS: Final = _points_by_id(
    "pertinentInformation1", "findings", "pertinentFinding", _pertinent(), "sourceOf1", many=True
)

# --- medications ----------------------------------------------------------------------------------------------------


def _instructions(name: str, inside: str, member: str, code: str, display: str) -> Within:
    observation = Content(Leaf("value", member, TEXT), fixed_code(code, display, OID_MEDICATION_TEXT))
    return Within(name, _PERT_CONTEXT, Content(separable(), Within(inside, _OBSERVATION, observation)))


def _reason(name: str, member: str) -> Sub:
    attributes = {"typeCode": "RSON", "inversionInd": "false", "negationInd": "false"}
    return _points_at(name, member, _REASONS, attributes, "sourceOf1", many=True)


_DOSE: Final = _instructions(
    "pertinentInformation1", "pertinentDosageInstructions", "dosage", "DI", "Dose Instructions"
)
_QUANTITY: Final = Within(
    "component",
    {"typeCode": "COMP"},
    Content(
        separable(),
        Within(
            "medicationQuantity",
            {"classCode": "SPLY", "moodCode": "RQO"},
            Content(Leaf("quantity", "quantity", AMOUNT), fixed_code("246205007", "Quantity")),
        ),
    ),
    required=False,
)
_PRODUCT: Final = Within(
    "consumable",
    {"typeCode": "CSM", "contextControlCode": "OP"},
    Content(
        Within(
            "manufacturedProduct",
            {"classCode": "MANU"},
            Content(
                Within(
                    "manufacturedManufacturedMaterial",
                    {"classCode": "MMAT", "determinerCode": "KIND"},
                    Content(Leaf("code", "product", CODED)),
                )
            ),
        )
    ),
)
_SUPPLY: Final = Sub(
    "supply",
    Shape(
        "pertinentInformation3",
        _pertinent(),
        Content(
            template("sourceOf2"),
            separable(),
            Within(
                "pertinentDaysSupply",
                {"classCode": "SPLY", "moodCode": "RQO"},
                Content(
                    Leaf("expectedUseTime", "time", INTERVAL),
                    _ID,
                    fixed_code("228864003", "Duration of Course of Treatment"),
                ),
            ),
        ),
        of=clinical.Supply,
    ),
)
_MEDICATION_END: Final = (_author(P), _QUANTITY, _PRODUCT, SUPPORT, _SUPPLY, _reason("reason", "reasons"))


def _entry(name: str, of: type, class_code: str, *nodes: Node, mood: str | None = "EVN") -> Shape:
    """Return the shape of a record element; without a mood the entry says it."""
    fixed = {"classCode": class_code, **({"moodCode": mood} if mood else {})}
    return Shape(name, fixed, Content(*nodes), of=of, bound={} if mood else _INTENTS)


def _prescribed(name: str, of: type, code: Fixed, status: Leaf, time: Leaf, *after_dose: Node) -> Shape:
    nodes = (_ID, code, status, time, _DOSE, *after_dose, *_MEDICATION_END)
    return _entry(f"UKCT_MT144040UK01.{name}", of, "SBADM", *nodes, mood="RQO")


_MEDICATION_SHAPES: Final = (
    _prescribed(
        "CurrentRepeatMedication",
        clinical.CurrentRepeatMedication,
        fixed_code("222681000000101", "Repeat medication"),
        _status("normal", "active", "nullified"),
        _time(INTERVAL),
    ),
    _prescribed(
        "AcuteMedication",
        clinical.AcuteMedication,
        fixed_code("222671000000103", "Acute medication"),
        _status("normal", "active", "nullified", "completed", "aborted"),
        _time(MOMENT),
    ),
    _prescribed(
        "DiscontinuedRepeatMedication",
        clinical.DiscontinuedRepeatMedication,
        fixed_code("222691000000104", "Discontinued repeat medication"),
        _status("normal", "nullified", "completed", "aborted"),
        _time(INTERVAL),
        _reason("reason1", "discontinuation_reasons"),
    ),
    _entry(
        "UKCT_MT144040UK01.MedicationAdministration",
        clinical.MedicationAdministration,
        "SBADM",
        _ID,
        _CODE,
        _status("normal", "active", "nullified", "completed", "aborted"),
        _time(INTERVAL),
        _performer(PN, INTERVAL),
        _instructions(
            "pertinentInformation2",
            "pertinentAdministrationDetails",
            "administration",
            "AD",
            "Medication administration Instructions",
        ),
        *_MEDICATION_END,
    ),
)

# --- findings -------------------------------------------------------------------------------------------------------

_ANY_VALUE: Final = Leaf("value", "value", ANY, required=False)
_RANGE: Final = Sub(
    "reference_range",
    Shape(
        "referenceRange",
        {"typeCode": "REFV", "contextConductionInd": "true"},
        Content(
            separable(),
            Within(
                "referenceReferenceValue",
                {"classCode": "OBS", "moodCode": "EVN.CRT"},
                Content(
                    Within(
                        "value",
                        {},
                        Content(
                            Leaf("low", "low", AMOUNT, required=False), Leaf("high", "high", AMOUNT, required=False)
                        ),
                        required=False,
                    ),
                    Leaf("interpretationCode", "interpretation", CODED, required=False),
                    Leaf("text", "text", TEXT, required=False),
                ),
            ),
        ),
        of=clinical.ReferenceRange,
    ),
)
_FINDING_END: Final = (_author(PD), _informant(), _performer(P, MOMENT, many=True), SUPPORT)
_FINDING: Final = (_ANY_VALUE, _ID, _CODE, _FULL_STATUS, _time(INTERVAL), _RANGE, *_FINDING_END)


def _component(*nodes: Node) -> Content:
    return Content(template("component"), separable(), *nodes)


_COMPONENT: Final = {"typeCode": "COMP", "inversionInd": "false", "negationInd": "false"}


def _pressure(name: str, member: str, code: str) -> Sub:
    words = f"{member.capitalize()} blood pressure"
    value = Content(Leaf("value", "value", AMOUNT), _ID, fixed_code(code, words), Leaf("effectiveTime", "time", MOMENT))
    inside = _component(Within(f"{member}Pressure", _OBSERVATION, value))
    return Sub(member, Shape(name, _COMPONENT, inside, of=clinical.Pressure), required=True)


def _measurement(of: type) -> Shape:
    nodes = (Leaf("value", "value", AMOUNT), _ID, _CODE, _FULL_STATUS, _time(MOMENT), *_FINDING_END)
    return _entry(f"UKCT_MT144043UK02.{of.__name__}", of, "OBS", *nodes)


_FINDING_SHAPES: Final = (
    _entry("UKCT_MT144043UK02.Finding", clinical.Finding, "OBS", *_FINDING),
    _entry(
        "UKCT_MT144043UK02.BloodPressure",
        clinical.BloodPressure,
        "BATTERY",
        _ID,
        _CODE,
        _FULL_STATUS,
        _time(MOMENT),
        _pressure("component1", "diastolic", "271650006"),
        _pressure("component2", "systolic", "271649006"),
        *_FINDING_END,
    ),
    _measurement(clinical.Weight),
    _measurement(clinical.Height),
    _measurement(clinical.Temperature),
    _entry(
        "UKCT_MT144043UK02.FindingOrganizer",
        clinical.FindingOrganizer,
        "ENTRY",
        _ID,
        _CODE,
        _FULL_STATUS,
        _time(MOMENT),
        Sub(
            "members",
            Shape(
                "component",
                _COMPONENT,
                _component(Within("finding", _OBSERVATION, Content(*_FINDING))),
                of=clinical.Finding,
            ),
            required=True,
            many=True,
        ),
        *_FINDING_END,
    ),
)

# --- what was done --------------------------------------------------------------------------------------------------


def _procedure(status: Leaf, *ends: Node) -> tuple[Node, ...]:
    return (
        _ID,
        _CODE,
        status,
        _time(INTERVAL),
        _author(P),
        _informant(P, time_required=False),
        _performer(P, INTERVAL, many=True),
        SUPPORT,
        _points_at("pertinentInformation1", "related", _MEDICATIONS, _pertinent(), "sourceOf1", many=True),
        *ends,
    )


_LOCATION: Final = {"typeCode": "LOC", "contextControlCode": "OP"}
_SPECIMEN: Final = Sub(
    "specimens",
    Shape(
        "product",
        {"typeCode": "PRD", "contextControlCode": "OP"},
        Content(
            Within(
                "specimenRole",
                {"classCode": "SPEC"},
                Content(
                    Leaf("id", "id", II),
                    Fixed("code", {"code": "P"}),
                    Sub(
                        "material",
                        Shape(
                            "specimenMaterial",
                            {"classCode": "MAT"},
                            Content(
                                Leaf("id", "id", UUID, required=False), Leaf("code", "code", CODED, required=False)
                            ),
                            of=clinical.Material,
                            bound={"determinerCode": "determiner"},
                        ),
                    ),
                ),
            )
        ),
        of=clinical.Specimen,
    ),
    many=True,
)
_RELATED_TO_CARE: Final = (
    "PersonalPreference Finding Problem SocialContext FamilyHistory Diagnosis Investigation Medication "
    "MedicationAdministration Document RiskToPerson AllergiesAndAdverseReactionsDE AdministrativeProcedure "
    "RiskToPatient Service ProvisionOfAdviceAndInformation Treatment AllergiesAndAdverseReactionsIdent"
)


def _circumstance(of: type, value: Leaf) -> Shape:
    nodes = (value, _ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PN), _informant(), SUPPORT)
    return _entry(f"UKCT_MT144036UK01.{of.__name__}", of, "OBS", *nodes)


_AMOUNT_VALUE: Final = Leaf("value", "value", AMOUNT, required=False)


def _document(of: type, author: Sub) -> Shape:
    return _entry(
        f"UKCT_MT144035UK01.{of.__name__}",
        of,
        "DOC",
        Leaf("versionNumber", "version", INT, required=False),
        _ID,
        _CODE,
        Leaf("text", "text", TEXT),
        Leaf("title", "title", TEXT, required=False),
        _status("active", "nullified"),
        _time(MOMENT),
        author,
    )


def _link(of: type, code: Node, *relations: Sub) -> Shape:
    nodes = (_ID, code, _SHORT_STATUS, _time(INTERVAL), *relations, _author(P))
    return _entry(f"UKCT_MT144039UK02.{of.__name__}", of, "OBS", *nodes)


_ALLERGY: Final = (
    _ID,
    _CODE,
    _SHORT_STATUS,
    _time(INTERVAL),
    _author(PN),
    _informant(),
    _performer(PN, MOMENT),
    SUPPORT,
)

ENTRY_SHAPES: Final = (
    _entry("UKCT_MT144053UK02.Allergy", clinical.Allergy, "OBS", *_ALLERGY),
    _entry("UKCT_MT144048UK02.AllergyDE", clinical.AllergyDE, "OBS", *_ALLERGY, _FINDINGS),
    *_MEDICATION_SHAPES,
    _entry(
        "UKCT_MT144042UK01.Diagnosis",
        clinical.Diagnosis,
        "OBS",
        *(_ANY_VALUE, _ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(P), _informant(), SUPPORT, _FINDINGS),
    ),
    _entry(
        "UKCT_MT144038UK02.Problem",
        clinical.Problem,
        "CNOD",
        _ID,
        fixed_code("181301000000103", "Abstract problem node"),
        _status("nullified", "active", "completed"),
        _time(INTERVAL),
        _author(P),
        _points_at("pertinentInformation", "about", _REF_17, _pertinent(), "sourceOf", required=True),
    ),
    *_FINDING_SHAPES,
    _entry(
        "UKCT_MT144045UK01.Investigation",
        clinical.Investigation,
        "PROC",
        *_procedure(_FULL_STATUS, _SPECIMEN),
        mood=None,
    ),
    _entry(
        "UKCT_MT144055UK01.Treatment",
        clinical.Treatment,
        "PROC",
        *_procedure(_status("normal", "nullified", "active", "completed", "aborted")),
        mood=None,
    ),
    _entry(
        "UKCT_MT144054UK01.RiskToPatient",
        clinical.RiskToPatient,
        "OBS",
        _ID,
        fixed_code("222701000000104", "Risk to patient"),
        _FULL_STATUS,
        _time(INTERVAL),
        _author(PN),
        _informant(PN, INTERVAL),
        _points_at(
            "pertinentInformation1",
            "about",
            "PersonalPreference Finding Problem SocialContext FamilyHistory Diagnosis Treatment Investigation "
            "Medication AllergiesAndAdverseReactionsDE AllergiesAndAdverseReactionsIdent",
            _pertinent(),
            "sourceOf1",
            required=True,
            many=True,
        ),
    ),
    _entry(
        "UKCT_MT144041UK01.RiskToPerson",
        clinical.RiskToPerson,
        "OBS",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PN), _informant()),
        _points_at(
            "subject",
            "about",
            "Finding SocialContext Diagnosis",
            {"typeCode": "SUBJ", "contextConductionInd": "false", "negationInd": "false"},
            "sourceOf1",
            required=True,
            many=True,
        ),
    ),
    _circumstance(clinical.LifeStyle, _ANY_VALUE),
    _circumstance(clinical.SocialOrPersonalCircumstance, _ANY_VALUE),
    _circumstance(clinical.Smoking, _AMOUNT_VALUE),
    _circumstance(clinical.AlcoholIntake, _AMOUNT_VALUE),
    _entry(
        "UKCT_MT144044UK01.FamilyHistory",
        clinical.FamilyHistory,
        "OBS",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PN), _informant(), SUPPORT),
    ),
    _entry(
        "UKCT_MT144046UK01.PersonalPreference",
        clinical.PersonalPreference,
        "OBS",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PN, time_required=False), _informant(), SUPPORT),
    ),
    _entry(
        "UKCT_MT144047UK01.Service",
        clinical.Service,
        "PCPR",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PN, time_required=False), _performer(PN, None), SUPPORT),
        Sub(
            "responsible",
            Shape(
                "responsibleParty",
                {"typeCode": "RESP", "contextControlCode": "OP"},
                Content(Leaf("modeCode", "mode", CodeOnly(), required=False), Choice((SDS_ORGANISATION, ORGANISATION))),
            ),
        ),
        mood=None,
    ),
    _entry(
        "UKCT_MT144037UK01.CareEvent",
        clinical.CareEvent,
        "ENC",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(PDN)),
        Sub("location", Shape("location", _LOCATION, Content(Choice((SDS_ORGANISATION, ORGANISATION, PLACE))))),
        Within(
            "location1",
            _LOCATION,
            Content(
                Within(
                    "dedicatedServiceDeliveryLocation",
                    {"classCode": "DSDLOC"},
                    Content(Leaf("code", "service_location", CODED)),
                )
            ),
        ),
        Sub(
            "participants",
            participation(
                "participant", None, (SDS_PERSON, PERSON, SDS_ORGANISATION, ORGANISATION), INTERVAL, mode=True
            ),
            many=True,
        ),
        _performer(PDN, INTERVAL, many=True),
        SUPPORT,
        _points_at(
            "pertinentInformation1", "related", _RELATED_TO_CARE, _pertinent(), "sourceOf1", many=True, separate="true"
        ),
        mood=None,
    ),
    _entry(
        "UKCT_MT144050UK01.AdministrativeProcedure",
        clinical.AdministrativeProcedure,
        "ACT",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(P), _performer(P, INTERVAL), SUPPORT),
        mood=None,
    ),
    _entry(
        "UKCT_MT144049UK01.ProvisionOfAdviceAndInformation",
        clinical.ProvisionOfAdviceAndInformation,
        "INFRM",
        *(_ID, _CODE, _FULL_STATUS, _time(INTERVAL), _author(P), SUPPORT),
        Sub(
            "receiver",
            Shape("receiver", {"typeCode": "RCV", "contextControlCode": "OP"}, Content(Choice((NON_AGENT_ROLE,)))),
            required=True,
        ),
    ),
    _document(
        clinical.CareProfessionalDocumentation,
        Sub("authors", participation("author", "AUT", P, MOMENT), many=True),
    ),
    _document(clinical.ThirdPartyCorrespondence, _author(PN)),
    _document(clinical.PatientCarerCorrespondence, _author((NON_AGENT_ROLE,), time_required=False)),
    _link(
        clinical.LinkAssertion,
        _CODE,
        _points_at("pertinentInformation1", "source", _REF_17, _pertinent("true"), "sourceOf", required=True),
        _points_at("pertinentInformation2", "target", _REF_17, _pertinent(), "sourceOf", required=True),
    ),
    _link(
        clinical.ProblemMemberAssertion,
        fixed_code("416271009", "Has problem member"),
        _points_by_id(
            "pertinentInformation3", "problem", "pertinentProblem", _pertinent("true"), "sourceOf", many=False
        ),
        _points_at("pertinentInformation4", "member", _REF_17, _pertinent(), "sourceOf", required=True),
    ),
    _link(
        clinical.ProblemLinkAssertion,
        fixed_code("181311000000101", "Problem link"),
        _points_by_id(
            "pertinentInformation5", "problem", "pertinentProblem", _pertinent("true"), "sourceOf", many=False
        ),
        _points_by_id(
            "pertinentInformation6", "linked_problem", "pertinentProblem", _pertinent(), "sourceOf", many=False
        ),
    ),
    _entry(
        "UKCT_MT144056UK01.Refusal",
        clinical.Refusal,
        "OBS",
        _ID,
        fixed_code("416308001", "refused consent for upload to national shared electronic record"),
        _time(MOMENT),
    ),
)
"""Every record element. Spec: 10 §8.5."""
