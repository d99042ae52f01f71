"""What the shapes of many record elements share: ids, codes, times, who took part, supporting text, references.

Spec: 10 §8.1-§8.3.
"""

from typing import Final

from openscr.clinical import entries as clinical
from openscr.codes import OID_SNOMED, OID_TEMPLATE, OID_TEXT_CODE
from openscr.hl7.datatypes import CODED, MOMENT, TEXT, UUID, CodeOnly, Datatype
from openscr.hl7.participant_shapes import DEVICE, NON_AGENT, PERSON, SDS_PERSON, participation
from openscr.hl7.shapes import SELF, Choice, Content, Fixed, Latitude, Leaf, Node, Shape, Sub, Within

OBSERVATION: Final = {"classCode": "OBS", "moodCode": "EVN"}
INTENTS: Final = {"moodCode": "mood"}

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


def pertinent(inversion: str = "false") -> dict[str, str]:
    """Return the attributes of a pertinent relationship."""
    return {"typeCode": "PERT", "inversionInd": inversion, "negationInd": "false"}


def status_of(*values: str) -> Leaf:
    """Return the status of an entry, one of ``values``."""
    return Leaf("statusCode", "status", CodeOnly(frozenset(values)))


def time_of(datatype: Datatype) -> Leaf:
    """Return the time of an entry: a point (`MOMENT`) or also an interval (`INTERVAL`)."""
    return Leaf("effectiveTime", "time", datatype)


ENTRY_ID: Final = Leaf("id", "id", UUID)
ENTRY_CODE: Final = Leaf("code", "code", CODED)
FULL_STATUS: Final = status_of("normal", "nullified", "active", "completed")
SHORT_STATUS: Final = status_of("nullified", "completed")
PERT_CONTEXT: Final = {"typeCode": "PERT", "contextConductionInd": "true"}

SUPPORT: Final = Within(
    "pertinentInformation",
    PERT_CONTEXT,
    Content(
        separable(),
        Within(
            "pertinentSupportingInfo",
            OBSERVATION,
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


def authored(agents: tuple[Shape, ...], *, time_required: bool = True) -> Sub:
    """Return the author of an entry, one of ``agents``. Spec: 10 §8.1."""
    return Sub("author", participation("author", "AUT", agents, MOMENT, time_required=time_required))


def informed(agents: tuple[Shape, ...] = PN, datatype: Datatype = MOMENT, *, time_required: bool = True) -> Sub:
    """Return the informant of an entry, one of ``agents``. Spec: 10 §8.1."""
    return Sub("informant", participation("informant", "INF", agents, datatype, time_required=time_required))


def performed(agents: tuple[Shape, ...], datatype: Datatype | None, *, many: bool = False) -> Sub:
    """Return the performer of an entry, or with ``many`` any number of them. Spec: 10 §8.1."""
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
        Content(ENTRY_ID),
        of=clinical.Reference,
        bound={} if mood else INTENTS,
        constants={"kind": kind},
        latitude=Latitude(verbatim=True),
    )


def points_at(
    name: str,
    member: str,
    kinds: str,
    attributes: dict[str, str],
    source: str,
    *,
    required: bool = False,
    many: bool = False,
    separate: str = "false",
    latitude: Latitude | None = None,
) -> Sub:
    """Return a relationship to one entry, whose kind is one of those named."""
    choice = Choice(tuple(_reference(kind) for kind in kinds.split()))
    shape = Shape(name, attributes, Content(template(source), separable(separate), choice), latitude=latitude)
    return Sub(member, shape, required=required, many=many)


REF_17: Final = (
    "PersonalPreference Finding SocialContext FamilyHistory Diagnosis Medication MedicationAdministration "
    "AllergiesAndAdverseReactionsDE AllergiesAndAdverseReactionsIdent RiskToPerson RiskToPatient Investigation Service "
    "ProvisionOfAdviceAndInformation AdministrativeProcedure Treatment CareEvent"
)
REASONS: Final = (
    "PersonalPreference Finding FamilyHistory Diagnosis AllergiesAndAdverseReactionsDE "
    "AllergiesAndAdverseReactionsIdent RiskToPatient Investigation Treatment CareEvent"
)
MEDICATIONS: Final = "MedicationAdministration Medication"


def points_by_id(name: str, member: str, target: str, attributes: dict[str, str], source: str, *, many: bool) -> Sub:
    """Return a relationship that names nothing but the id of an entry."""
    inside = Within(target, OBSERVATION, Content(Leaf("id", SELF, UUID)))
    shape = Shape(name, attributes, Content(template(source), separable(), inside))
    return Sub(member, shape, required=not many, many=many)


FINDINGS: Final = points_by_id(
    "pertinentInformation1", "findings", "pertinentFinding", pertinent(), "sourceOf1", many=True
)


def entry_shape(name: str, of: type, class_code: str, *nodes: Node, mood: str | None = "EVN") -> Shape:
    """Return the shape of a record element; without a mood the entry says it."""
    fixed = {"classCode": class_code, **({"moodCode": mood} if mood else {})}
    return Shape(name, fixed, Content(*nodes), of=of, bound={} if mood else INTENTS)
