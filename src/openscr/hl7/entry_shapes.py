"""The shapes of every record element: the tables of the specification, child by child, in the order of the schema.

Spec: 10 §8.
"""

from typing import Final

from openscr.clinical import entries as clinical
from openscr.hl7.datatypes import (
    AMOUNT,
    ANY,
    CODED_EQUIVALENT,
    CODED_VALUE,
    DATA,
    INT,
    INTERPRETATION,
    INTERVAL,
    MOMENT,
    OID,
    TEXT,
    UUID_IF_KNOWN,
    UUID_OF_ANY_FORM,
    CodeOnly,
)
from openscr.hl7.entry_parts import (
    ENTRY_CODE,
    ENTRY_ID,
    FINDINGS,
    FULL_STATUS,
    MEDICATIONS,
    OBSERVATION,
    PD,
    PDN,
    PN,
    REF_17,
    SHORT_STATUS,
    SUPPORT,
    P,
    authored,
    entry_shape,
    fixed_code,
    informed,
    performed,
    pertinent,
    points_at,
    points_by_id,
    separable,
    status_of,
    template,
    time_of,
)
from openscr.hl7.medication_shapes import MEDICATION_SHAPES
from openscr.hl7.participant_shapes import (
    NON_AGENT_ROLE,
    ORGANISATION,
    PERSON,
    PLACE,
    SDS_ORGANISATION,
    SDS_PERSON,
    participation,
)
from openscr.hl7.shapes import Choice, Content, Fixed, Latitude, Leaf, Node, Shape, Sub, Within

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
                        latitude=Latitude(interval=True),
                    ),
                    Leaf("interpretationCode", "interpretation", INTERPRETATION, required=False),
                    Leaf("text", "text", DATA, required=False),
                ),
            ),
        ),
        of=clinical.ReferenceRange,
    ),
)
_FINDING_END: Final = (authored(PD), informed(), performed(P, MOMENT, many=True), SUPPORT)
_FINDING: Final = (_ANY_VALUE, ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), _RANGE, *_FINDING_END)


def _component(*nodes: Node) -> Content:
    return Content(template("component"), separable(), *nodes)


_COMPONENT: Final = {"typeCode": "COMP", "inversionInd": "false", "negationInd": "false"}


def _pressure(name: str, member: str, code: str, identifier: Leaf) -> Sub:
    words = f"{member.capitalize()} blood pressure"
    value = Content(
        Leaf("value", "value", AMOUNT), identifier, fixed_code(code, words), Leaf("effectiveTime", "time", MOMENT)
    )
    inside = _component(Within(f"{member}Pressure", OBSERVATION, value))
    return Sub(member, Shape(name, _COMPONENT, inside, of=clinical.Pressure), required=True)


def _measurement(of: type) -> Shape:
    nodes = (Leaf("value", "value", AMOUNT), ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(MOMENT), *_FINDING_END)
    return entry_shape(f"UKCT_MT144043UK02.{of.__name__}", of, "OBS", *nodes)


_FINDING_SHAPES: Final = (
    entry_shape("UKCT_MT144043UK02.Finding", clinical.Finding, "OBS", *_FINDING),
    entry_shape(
        "UKCT_MT144043UK02.BloodPressure",
        clinical.BloodPressure,
        "BATTERY",
        ENTRY_ID,
        ENTRY_CODE,
        FULL_STATUS,
        time_of(MOMENT),
        _pressure("component1", "diastolic", "271650006", Leaf("id", "id", UUID_OF_ANY_FORM)),
        _pressure("component2", "systolic", "271649006", ENTRY_ID),
        *_FINDING_END,
    ),
    _measurement(clinical.Weight),
    _measurement(clinical.Height),
    _measurement(clinical.Temperature),
    entry_shape(
        "UKCT_MT144043UK02.FindingOrganizer",
        clinical.FindingOrganizer,
        "ENTRY",
        ENTRY_ID,
        ENTRY_CODE,
        FULL_STATUS,
        time_of(MOMENT),
        Sub(
            "members",
            Shape(
                "component",
                _COMPONENT,
                _component(Within("finding", OBSERVATION, Content(*_FINDING))),
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
        ENTRY_ID,
        ENTRY_CODE,
        status,
        time_of(INTERVAL),
        authored(P),
        informed(P, time_required=False),
        performed(P, INTERVAL, many=True),
        SUPPORT,
        points_at("pertinentInformation1", "related", MEDICATIONS, pertinent(), "sourceOf1", many=True),
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
                    Leaf("id", "id", OID),
                    Fixed("code", {"code": "P"}),
                    Sub(
                        "material",
                        Shape(
                            "specimenMaterial",
                            {"classCode": "MAT"},
                            Content(
                                Leaf("id", "id", UUID_IF_KNOWN, required=False),
                                Leaf("code", "code", CODED_EQUIVALENT, required=False),
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
    nodes = (value, ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(PN), informed(), SUPPORT)
    return entry_shape(f"UKCT_MT144036UK01.{of.__name__}", of, "OBS", *nodes)


_AMOUNT_VALUE: Final = Leaf("value", "value", AMOUNT, required=False)


def _document(of: type, author: Sub) -> Shape:
    return entry_shape(
        f"UKCT_MT144035UK01.{of.__name__}",
        of,
        "DOC",
        Leaf("versionNumber", "version", INT, required=False),
        ENTRY_ID,
        ENTRY_CODE,
        Leaf("text", "text", DATA),
        Leaf("title", "title", TEXT, required=False),
        status_of("active", "nullified"),
        time_of(MOMENT),
        author,
    )


def _link(of: type, code: Node, *relations: Sub) -> Shape:
    nodes = (ENTRY_ID, code, SHORT_STATUS, time_of(INTERVAL), *relations, authored(P))
    return entry_shape(f"UKCT_MT144039UK02.{of.__name__}", of, "OBS", *nodes)


_ALLERGY: Final = (
    ENTRY_ID,
    ENTRY_CODE,
    SHORT_STATUS,
    time_of(INTERVAL),
    authored(PN),
    informed(),
    performed(PN, MOMENT),
    SUPPORT,
)

ENTRY_SHAPES: Final = (
    entry_shape("UKCT_MT144053UK02.Allergy", clinical.Allergy, "OBS", *_ALLERGY),
    entry_shape("UKCT_MT144048UK02.AllergyDE", clinical.AllergyDE, "OBS", *_ALLERGY, FINDINGS),
    *MEDICATION_SHAPES,
    entry_shape(
        "UKCT_MT144042UK01.Diagnosis",
        clinical.Diagnosis,
        "OBS",
        *(_ANY_VALUE, ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(P), informed(), SUPPORT, FINDINGS),
    ),
    entry_shape(
        "UKCT_MT144038UK02.Problem",
        clinical.Problem,
        "CNOD",
        ENTRY_ID,
        fixed_code("181301000000103", "Abstract problem node"),
        status_of("nullified", "active", "completed"),
        time_of(INTERVAL),
        authored(P),
        points_at("pertinentInformation", "about", REF_17, pertinent(), "sourceOf", required=True),
    ),
    *_FINDING_SHAPES,
    entry_shape(
        "UKCT_MT144045UK01.Investigation",
        clinical.Investigation,
        "PROC",
        *_procedure(FULL_STATUS, _SPECIMEN),
        mood=None,
    ),
    entry_shape(
        "UKCT_MT144055UK01.Treatment",
        clinical.Treatment,
        "PROC",
        *_procedure(status_of("normal", "nullified", "active", "completed", "aborted")),
        mood=None,
    ),
    entry_shape(
        "UKCT_MT144054UK01.RiskToPatient",
        clinical.RiskToPatient,
        "OBS",
        ENTRY_ID,
        fixed_code("222701000000104", "Risk to patient"),
        FULL_STATUS,
        time_of(INTERVAL),
        authored(PN),
        informed(PN, INTERVAL),
        points_at(
            "pertinentInformation1",
            "about",
            "PersonalPreference Finding Problem SocialContext FamilyHistory Diagnosis Treatment Investigation "
            "Medication AllergiesAndAdverseReactionsDE AllergiesAndAdverseReactionsIdent",
            pertinent(),
            "sourceOf1",
            required=True,
            many=True,
        ),
    ),
    entry_shape(
        "UKCT_MT144041UK01.RiskToPerson",
        clinical.RiskToPerson,
        "OBS",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(PN), informed()),
        points_at(
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
    entry_shape(
        "UKCT_MT144044UK01.FamilyHistory",
        clinical.FamilyHistory,
        "OBS",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(PN), informed(), SUPPORT),
    ),
    entry_shape(
        "UKCT_MT144046UK01.PersonalPreference",
        clinical.PersonalPreference,
        "OBS",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(PN, time_required=False), informed(), SUPPORT),
    ),
    entry_shape(
        "UKCT_MT144047UK01.Service",
        clinical.Service,
        "PCPR",
        *(
            ENTRY_ID,
            ENTRY_CODE,
            FULL_STATUS,
            time_of(INTERVAL),
            authored(PN, time_required=False),
            performed(PN, None),
            SUPPORT,
        ),
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
    entry_shape(
        "UKCT_MT144037UK01.CareEvent",
        clinical.CareEvent,
        "ENC",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(PDN)),
        Sub("location", Shape("location", _LOCATION, Content(Choice((SDS_ORGANISATION, ORGANISATION, PLACE))))),
        Within(
            "location1",
            _LOCATION,
            Content(
                Within(
                    "dedicatedServiceDeliveryLocation",
                    {"classCode": "DSDLOC"},
                    Content(Leaf("code", "service_location", CODED_VALUE)),
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
        performed(PDN, INTERVAL, many=True),
        SUPPORT,
        points_at(
            "pertinentInformation1",
            "related",
            _RELATED_TO_CARE,
            pertinent(),
            "sourceOf1",
            many=True,
            separate="true",
            latitude=Latitude(free=frozenset({"typeCode"})),
        ),
        mood=None,
    ),
    entry_shape(
        "UKCT_MT144050UK01.AdministrativeProcedure",
        clinical.AdministrativeProcedure,
        "ACT",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(P), performed(P, INTERVAL), SUPPORT),
        mood=None,
    ),
    entry_shape(
        "UKCT_MT144049UK01.ProvisionOfAdviceAndInformation",
        clinical.ProvisionOfAdviceAndInformation,
        "INFRM",
        *(ENTRY_ID, ENTRY_CODE, FULL_STATUS, time_of(INTERVAL), authored(P), SUPPORT),
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
    _document(clinical.ThirdPartyCorrespondence, authored(PN)),
    _document(clinical.PatientCarerCorrespondence, authored((NON_AGENT_ROLE,), time_required=False)),
    _link(
        clinical.LinkAssertion,
        ENTRY_CODE,
        points_at("pertinentInformation1", "source", REF_17, pertinent("true"), "sourceOf", required=True),
        points_at("pertinentInformation2", "target", REF_17, pertinent(), "sourceOf", required=True),
    ),
    _link(
        clinical.ProblemMemberAssertion,
        fixed_code("416271009", "Has problem member"),
        points_by_id("pertinentInformation3", "problem", "pertinentProblem", pertinent("true"), "sourceOf", many=False),
        points_at("pertinentInformation4", "member", REF_17, pertinent(), "sourceOf", required=True),
    ),
    _link(
        clinical.ProblemLinkAssertion,
        fixed_code("181311000000101", "Problem link"),
        points_by_id("pertinentInformation5", "problem", "pertinentProblem", pertinent("true"), "sourceOf", many=False),
        points_by_id(
            "pertinentInformation6", "linked_problem", "pertinentProblem", pertinent(), "sourceOf", many=False
        ),
    ),
    entry_shape(
        "UKCT_MT144056UK01.Refusal",
        clinical.Refusal,
        "OBS",
        ENTRY_ID,
        fixed_code("416308001", "refused consent for upload to national shared electronic record"),
        time_of(MOMENT),
    ),
)
"""Every record element. Spec: 10 §8.5."""
